/* test_lane_threads.c - a lane with a thread, lent to a loop: one of the two at a time, each
 * poster's order, no message and no timer lost, whoever runs them. */
#include "plugins/host/lane.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/rand.h"

enum { HOME, SELF, OTHER, POSTERS };
enum { MESSAGES = 20000, TIMERS = 2000 };

struct note {
    struct lane_msg msg;
    struct lane_timer timer;
    int poster;
    int number;
    bool sets_timer;
};

static uv_loop_t loop;
static struct lane home, lent;
static uv_idle_t feeder;
static uv_timer_t pauser;
static atomic_int inside;
static atomic_int ran; /* messages and timers */
static int last[POSTERS];
static int timers_set, timers_fired;
static int on_home, on_thread;
static pthread_t main_thread;
static struct rand dice;
static struct note *from_home, *from_self, *from_other;
static int next_home, next_self;
static bool closed_lent, closed_home;

static void enter(void)
{
    assert_int_equal(atomic_fetch_add(&inside, 1), 0);
    if (pthread_equal(pthread_self(), main_thread)) {
        on_home++;
    } else {
        on_thread++;
    }
}

static void leave(void)
{
    assert_int_equal(atomic_fetch_sub(&inside, 1), 1);
    atomic_fetch_add(&ran, 1);
}

static void note_fire(struct lane_timer *t)
{
    struct note *n = LIST_ENTRY(t, struct note, timer);
    enter();
    assert_true(n->sets_timer);
    assert_false(pthread_equal(pthread_self(), main_thread)); /* timers are the thread's */
    timers_fired++;
    leave();
}

static void note_run(struct lane_msg *m)
{
    struct note *n = LIST_ENTRY(m, struct note, msg);
    enter();
    assert_int_equal(n->number, last[n->poster] + 1);
    last[n->poster] = n->number;
    if (!m->quick) {
        assert_false(pthread_equal(pthread_self(), main_thread));
    }
    if (n->poster == HOME && n->number % (MESSAGES / TIMERS) == 0) {
        n->sets_timer = true;
        n->timer.fire = note_fire;
        timers_set++;
        assert_true(lane_timer_set(&lent, &n->timer, lane_now(&lent) + (uint64_t)n->number % 3));
    }
    if (n->poster == HOME && n->number % 3 == 0 && next_self < MESSAGES) {
        struct note *own = &from_self[next_self];
        own->poster = SELF;
        own->number = ++next_self;
        own->msg.run = note_run;
        if (own->number % 5 == 0) {
            lane_post(&lent, &own->msg);
        } else {
            lane_post_quick(&lent, &own->msg);
        }
    }
    leave();
}

static void *other_main(void *data)
{
    (void)data;
    struct rand r;
    rand_init(&r, 7);
    for (int i = 0; i < MESSAGES; i++) {
        struct note *n = &from_other[i];
        *n = (struct note){.msg = {.run = note_run}, .poster = OTHER, .number = i + 1};
        if (rand_below(&r, 4) == 0) {
            lane_post(&lent, &n->msg);
        } else {
            lane_post_quick(&lent, &n->msg); /* not the helper's thread: wakes the lane's own */
        }
        for (uint64_t k = rand_below(&r, 200); k > 190; k--) {
            sched_yield();
        }
    }
    return NULL;
}

static void on_lent_closed(void *data)
{
    (void)data;
    closed_lent = true;
}

static void on_home_closed(void *data)
{
    (void)data;
    closed_home = true;
}

/* Some messages, then now and then a pause in which the thread falls asleep. */
static void feed(uv_idle_t *handle);

static void on_pause_over(uv_timer_t *handle)
{
    (void)handle;
    uv_idle_start(&feeder, feed);
}

static void feed(uv_idle_t *handle)
{
    uint64_t some = 1 + rand_below(&dice, 8);
    while (some-- > 0 && next_home < MESSAGES) {
        struct note *n = &from_home[next_home];
        *n = (struct note){.msg = {.run = note_run}, .poster = HOME, .number = ++next_home};
        uint64_t how = rand_below(&dice, 16);
        if (how == 0) {
            lane_post(&lent, &n->msg);
        } else if (how == 1) {
            if (lane_post_quietly(&lent, &n->msg)) {
                lane_nudge(&lent);
            }
        } else {
            lane_post_quick(&lent, &n->msg);
        }
    }
    if (next_home == MESSAGES) {
        uv_idle_stop(handle);
    } else if (rand_below(&dice, 50) == 0) {
        uv_idle_stop(handle);
        uv_timer_start(&pauser, on_pause_over, 1, 0);
    }
}

static void nobody_is_lost_between_helper_and_thread(void **state)
{
    (void)state;
    struct errmsg e;
    pthread_t other;
    main_thread = pthread_self();
    rand_init(&dice, 3);
    from_home = mem_xzalloc(sizeof(*from_home) * MESSAGES);
    from_self = mem_xzalloc(sizeof(*from_self) * MESSAGES);
    from_other = mem_xzalloc(sizeof(*from_other) * MESSAGES);
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(lane_open_loop(&home, &loop, &e), 0);
    assert_int_equal(lane_open_thread(&lent, &home, "lent", &e), 0);
    lane_lend(&lent, &home);
    uv_idle_init(&loop, &feeder);
    uv_timer_init(&loop, &pauser);
    uv_idle_start(&feeder, feed);
    assert_int_equal(pthread_create(&other, NULL, other_main, NULL), 0);
    /* Each of home's messages, those it led to, the other thread's, and all timers. */
    int wanted = MESSAGES + MESSAGES / 3 + MESSAGES + MESSAGES / (MESSAGES / TIMERS);
    while (atomic_load(&ran) < wanted) {
        uv_run(&loop, UV_RUN_NOWAIT);
        sched_yield();
    }
    pthread_join(other, NULL);
    lane_close(&lent, on_lent_closed, NULL);
    while (!closed_lent) {
        uv_run(&loop, UV_RUN_ONCE);
    }
    assert_int_equal(timers_fired, timers_set);
    assert_true(on_home > 0);
    assert_true(on_thread > 0);
    assert_int_equal(on_home, (int)atomic_load(&lent.helped));
    uv_close((uv_handle_t *)&feeder, NULL);
    uv_close((uv_handle_t *)&pauser, NULL);
    lane_close(&home, on_home_closed, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(closed_home);
    assert_int_equal(uv_loop_close(&loop), 0);
    mem_free(from_home);
    mem_free(from_self);
    mem_free(from_other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_is_lost_between_helper_and_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
