/* lane_uv.c - lanes on a uv loop: one that is there already, or one in a thread of its own.
 *
 * lane_post wakes for the first message of a batch only, by an eventfd, or on the loop's own thread
 * by the idle handle. A turn is bounded, and while more waits an idle handle runs the next one in
 * the loop's next round, so that a busy plugin does not hold up its neighbours on a shared loop.
 */
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/rand.h"
#include "plugins/host/blame.h"
#include "plugins/host/lane.h"

/* Deep enough for any plugin; the default of a thread may be 8 MiB of address space. */
#define LANE_STACK_BYTES (1024u * 1024u)

static void uv_lane_turn(struct lane *l);

static void uv_lane_on_idle(uv_idle_t *handle)
{
    uv_lane_turn(handle->data);
}

static void uv_lane_turn(struct lane *l)
{
    bool more = lane_turn(l);
    for (unsigned i = 0; i < LANE_HELP_ROUNDS_MAX && lane_help(l); i++) {
        more = lane_turn(l); /* what those lanes asked for */
    }
    if (uv_is_closing((uv_handle_t *)&l->idle)) {
        return;
    }
    more = more || !list_empty(&l->to_help);
    if (more) {
        uv_idle_start(&l->idle, uv_lane_on_idle);
    } else {
        uv_idle_stop(&l->idle);
    }
}

static void uv_lane_on_mail(struct wake *w)
{
    uv_lane_turn(w->data);
}

static void uv_lane_on_timer(uv_timer_t *handle)
{
    uv_lane_turn(handle->data);
}

static void uv_lane_wake(struct lane *l)
{
    if (lane_is_here(l)) {
        uv_idle_start(&l->idle, uv_lane_on_idle);
    } else {
        wake_send(&l->mail);
    }
}

static void uv_lane_arm(struct lane *l, uint64_t at_ms)
{
    bool armed = uv_is_active((uv_handle_t *)&l->timer) != 0;
    if (armed && at_ms >= l->armed_ms) {
        return; /* it fires too early, and is set again then: most timers are canceled before */
    }
    l->armed_ms = at_ms;
    if (at_ms == UINT64_MAX) {
        return;
    }
    uint64_t now = clock_mono_ms();
    uv_update_time(l->loop);
    uv_timer_start(&l->timer, uv_lane_on_timer, at_ms > now ? at_ms - now : 0, 0);
}

static uint64_t uv_lane_now(struct lane *l)
{
    (void)l;
    return clock_mono_ms();
}

static uint64_t uv_lane_wall(struct lane *l)
{
    (void)l;
    return clock_wall_us();
}

static void uv_lane_random(struct lane *l, void *out, size_t len)
{
    (void)l;
    rand_system(out, len);
}

static void uv_lane_on_handle_closed(uv_handle_t *handle)
{
    struct lane *l = handle->data;
    if (--l->handles == 0 && l->home == NULL) {
        lane_closed(l); /* a thread's loop just runs dry instead */
    }
}

static void uv_lane_close(struct lane *l)
{
    if (uv_is_closing((uv_handle_t *)&l->idle)) {
        return;
    }
    l->handles = 3;
    wake_close(&l->mail, uv_lane_on_handle_closed);
    uv_close((uv_handle_t *)&l->timer, uv_lane_on_handle_closed);
    uv_close((uv_handle_t *)&l->idle, uv_lane_on_handle_closed);
}

static const struct lane_driver uv_driver = {.wake = uv_lane_wake,
                                             .arm = uv_lane_arm,
                                             .now_ms = uv_lane_now,
                                             .wall_us = uv_lane_wall,
                                             .roll = uv_lane_random,
                                             .close = uv_lane_close};

static int uv_lane_open(struct lane *l, uv_loop_t *loop, struct errmsg *e)
{
    int rv = wake_init(&l->mail, loop, uv_lane_on_mail, l);
    if (rv != 0) {
        return errmsg_set(e, ERR_IO, "a plugin's mailbox: %s", uv_strerror(rv));
    }
    uv_timer_init(loop, &l->timer);
    uv_idle_init(loop, &l->idle);
    l->timer.data = l->idle.data = l;
    l->armed_ms = UINT64_MAX;
    pthread_mutex_init(&l->lock, NULL);
    heap_init(&l->timers);
    list_init(&l->help_link);
    list_init(&l->to_help);
    l->loop = loop;
    l->driver = &uv_driver;
    return 0;
}

int lane_open_loop(struct lane *l, uv_loop_t *loop, struct errmsg *e)
{
    memset(l, 0, sizeof(*l));
    l->owner = pthread_self();
    l->owned = true;
    return uv_lane_open(l, loop, e);
}

/* ---- a thread of its own -----------------------------------------------------------------------
 */

static void thread_lane_on_joined(struct lane_msg *m)
{
    struct lane *l = (struct lane *)((char *)m - offsetof(struct lane, joined));
    uv_thread_join(&l->thread);
    uv_loop_close(&l->own_loop);
    lane_closed(l);
}

static void thread_lane_main(void *data)
{
    struct lane *l = data;
    struct blame_stack stack;
    pthread_setname_np(pthread_self(), l->name);
    blame_stack_open(&stack);
    uv_run(l->loop, UV_RUN_DEFAULT);
    blame_stack_close(&stack);
    lane_post(l->home, &l->joined);
}

int lane_open_thread(struct lane *l, struct lane *home, const char *name, struct errmsg *e)
{
    memset(l, 0, sizeof(*l));
    uv_loop_t *loop = &l->own_loop;
    int rv = uv_loop_init(loop);
    if (rv != 0) {
        return errmsg_set(e, ERR_IO, "a plugin's loop: %s", uv_strerror(rv));
    }
    int err = uv_lane_open(l, loop, e);
    if (err != 0) {
        uv_loop_close(loop);
        return err;
    }
    l->home = home;
    l->joined.run = thread_lane_on_joined;
    strncpy(l->name, name, sizeof(l->name) - 1);
    uv_thread_options_t options = {.flags = UV_THREAD_HAS_STACK_SIZE,
                                   .stack_size = LANE_STACK_BYTES};
    rv = uv_thread_create_ex(&l->thread, &options, thread_lane_main, l);
    if (rv != 0) {
        uv_lane_close(l);
        uv_run(loop, UV_RUN_DEFAULT);
        uv_loop_close(loop);
        pthread_mutex_destroy(&l->lock);
        heap_close(&l->timers);
        return errmsg_set(e, ERR_IO, "a plugin's thread: %s", uv_strerror(rv));
    }
    return 0;
}
