/* lane.c - the mailbox, the timers, and the driver that has no loop. lane_uv.c has the others. */
#include "plugins/host/lane.h"

#include <sched.h>
#include <string.h>

#include "base/limits.h"
#include "base/list.h"

/* ---- messages and timers -----------------------------------------------------------------------
 */

/* Under the lock. true: the caller wakes the lane, once it is outside: the lane would only wait for
 * the lock. One wake until the lane looks; none while it is at work. */
static bool lane_must_wake(struct lane *l)
{
    if (l->waking || l->running) {
        return false;
    }
    l->waking = true;
    atomic_fetch_add(&l->wakers, 1);
    return true;
}

static void lane_wake(struct lane *l)
{
    l->driver->wake(l);
    atomic_fetch_sub(&l->wakers, 1);
}

enum lane_how { LANE_QUIETLY, LANE_PLAIN, LANE_QUICK };

/* true: nothing is about to run it. */
static bool lane_add(struct lane *l, struct lane_msg *m, enum lane_how how)
{
    bool wake = false;
    m->next = NULL;
    m->quick = how != LANE_PLAIN;
    pthread_mutex_lock(&l->lock);
    bool idle = !l->waking && !l->running;
    if (!l->dead) {
        if (l->first == NULL) {
            l->first = m;
        } else {
            l->last->next = m;
        }
        l->last = m;
        bool asked = how == LANE_QUICK && idle && lane_ask_helper(l);
        wake = how != LANE_QUIETLY && !asked && lane_must_wake(l);
    }
    pthread_mutex_unlock(&l->lock);
    if (wake) {
        lane_wake(l);
    }
    return idle;
}

void lane_post(struct lane *l, struct lane_msg *m)
{
    (void)lane_add(l, m, LANE_PLAIN);
}

void lane_post_quick(struct lane *l, struct lane_msg *m)
{
    (void)lane_add(l, m, LANE_QUICK);
}

bool lane_post_quietly(struct lane *l, struct lane_msg *m)
{
    return lane_add(l, m, LANE_QUIETLY);
}

void lane_nudge(struct lane *l)
{
    pthread_mutex_lock(&l->lock);
    bool idle = l->first != NULL && !l->dead && !l->waking && !l->running;
    bool wake = idle && !(l->first->quick && lane_ask_helper(l)) && lane_must_wake(l);
    pthread_mutex_unlock(&l->lock);
    if (wake) {
        lane_wake(l);
    }
}

bool lane_enter(struct lane *l, bool guest, struct lane_msg **out)
{
    pthread_mutex_lock(&l->lock);
    bool free = !l->running;
    if (free) {
        l->running = true;
        l->guest = guest;
        l->waking = false;
        *out = l->first; /* all at once, so that the lock is taken once per batch */
        l->first = l->last = NULL;
    } else {
        l->missed = l->missed || !guest;
    }
    pthread_mutex_unlock(&l->lock);
    return free;
}

bool lane_leave(struct lane *l, struct lane_msg *rest, bool help)
{
    struct lane_msg *last = rest;
    while (last != NULL && last->next != NULL) {
        last = last->next;
    }
    pthread_mutex_lock(&l->lock);
    if (rest != NULL) { /* in front of what came meanwhile */
        last->next = l->first;
        l->last = l->first == NULL ? last : l->last;
        l->first = rest;
    }
    bool wake = false;
    bool more = l->first != NULL;
    l->running = false;
    if (l->guest) {
        l->guest = false;
        bool thread = l->missed || l->rearm; /* there is something only it can do */
        bool goes_on = more && help && !thread && l->first->quick && lane_ask_helper(l);
        wake = (more || thread) && !goes_on && !l->dead && lane_must_wake(l);
        l->missed = l->rearm = false;
    } else {
        l->waking = more; /* the driver comes again by itself */
    }
    pthread_mutex_unlock(&l->lock);
    if (wake) {
        lane_wake(l);
    }
    return more;
}

static void lane_arm(struct lane *l)
{
    if (l->guest) { /* the clock is the thread's */
        l->rearm = l->rearm || lane_next_ms(l) < l->armed_ms;
        return;
    }
    l->driver->arm(l, lane_next_ms(l));
}

static void lane_fire(struct lane *l)
{
    uint64_t now = lane_now(l);
    struct heap_node *n;
    l->round++;
    while ((n = heap_min(&l->timers)) != NULL && (uint64_t)n->key <= now) {
        struct lane_timer *t = LIST_ENTRY(n, struct lane_timer, node);
        if (t->round == l->round) {
            break; /* set by a callback for "now": it waits for the next turn */
        }
        heap_remove(&l->timers, n);
        t->fire(t);
    }
}

bool lane_turn(struct lane *l)
{
    struct lane_msg *m;
    if (!lane_enter(l, false, &m)) {
        return false; /* the helper is inside, and wakes us when it leaves */
    }
    for (unsigned left = LANE_MESSAGES_PER_TURN_MAX; m != NULL && left > 0 && !l->dead; left--) {
        struct lane_msg *next = m->next;
        m->run(m);
        m = next;
    }
    lane_fire(l);
    if (l->closing && (m == NULL || l->dead)) {
        if (atomic_load(&l->wakers) > 0) {
            (void)lane_leave(l, NULL, false);
            return true; /* somebody whose message is done is about to touch it once more */
        }
        l->driver->close(l);
        return false;
    }
    lane_arm(l);
    struct heap_node *n = heap_min(&l->timers);
    bool due = n != NULL && (uint64_t)n->key <= lane_now(l);
    return lane_leave(l, l->dead ? NULL : m, false) || due;
}

bool lane_timer_set(struct lane *l, struct lane_timer *t, uint64_t at_ms)
{
    uint64_t before = lane_next_ms(l);
    t->round = l->round;
    if (!heap_set(&l->timers, &t->node, (int64_t)at_ms)) {
        return false;
    }
    if (at_ms < before) {
        lane_arm(l);
    }
    return true;
}

void lane_timer_cancel(struct lane *l, struct lane_timer *t)
{
    heap_remove(&l->timers, &t->node);
}

uint64_t lane_next_ms(const struct lane *l)
{
    struct heap_node *n = heap_min(&l->timers);
    return n == NULL ? UINT64_MAX : (uint64_t)n->key;
}

uint64_t lane_now(struct lane *l)
{
    return l->driver->now_ms(l);
}

uint64_t lane_wall_us(struct lane *l)
{
    return l->driver->wall_us(l);
}

void lane_dice(struct lane *l, void *out, size_t len)
{
    l->driver->roll(l, out, len);
}

void lane_abandon(struct lane *l)
{
    pthread_mutex_lock(&l->lock);
    l->dead = true;
    pthread_mutex_unlock(&l->lock);
}

static void lane_on_close(struct lane_msg *m)
{
    LIST_ENTRY(m, struct lane, closer)->closing = true;
}

void lane_close(struct lane *l, void (*cb)(void *data), void *data)
{
    l->on_closed = cb;
    l->closed_data = data;
    if (l->dead) {
        while (atomic_load(&l->wakers) > 0) {
            sched_yield(); /* an eventfd is being written */
        }
        l->closing = true; /* its own thread: nothing else is waited for */
        l->driver->close(l);
        return;
    }
    l->closer.run = lane_on_close;
    lane_post(l, &l->closer);
}

void lane_closed(struct lane *l)
{
    void (*cb)(void *) = l->on_closed;
    void *data = l->closed_data;
    lane_lend_end(l);
    heap_close(&l->timers);
    if (!l->dead) { /* else somebody may yet try to post */
        pthread_mutex_destroy(&l->lock);
    }
    cb(data);
}

/* ---- the manual driver -------------------------------------------------------------------------
 */

static void manual_wake(struct lane *l)
{
    l->woken = true;
}

static void manual_arm(struct lane *l, uint64_t at_ms)
{
    (void)l, (void)at_ms; /* lane_next_ms tells */
}

static uint64_t manual_now(struct lane *l)
{
    return l->clock_ms;
}

static uint64_t manual_wall(struct lane *l)
{
    return l->clock_ms * 1000u;
}

static void manual_random(struct lane *l, void *out, size_t len)
{
    uint8_t *p = out;
    while (len > 0) {
        uint64_t word = rand_u64(&l->dice);
        size_t n = len < sizeof(word) ? len : sizeof(word);
        memcpy(p, &word, n);
        p += n;
        len -= n;
    }
}

static const struct lane_driver manual_driver = {.wake = manual_wake,
                                                 .arm = manual_arm,
                                                 .now_ms = manual_now,
                                                 .wall_us = manual_wall,
                                                 .roll = manual_random,
                                                 .close = lane_closed};

void lane_open_manual(struct lane *l, uint64_t seed)
{
    memset(l, 0, sizeof(*l));
    pthread_mutex_init(&l->lock, NULL);
    heap_init(&l->timers);
    list_init(&l->help_link);
    list_init(&l->to_help);
    l->driver = &manual_driver;
    l->clock_ms = 1000;
    rand_init(&l->dice, seed);
}

void lane_set_clock(struct lane *l, uint64_t now_ms)
{
    l->clock_ms = now_ms > l->clock_ms ? now_ms : l->clock_ms;
}

bool lane_run(struct lane *l)
{
    if (!l->woken && lane_next_ms(l) > l->clock_ms) {
        return false;
    }
    l->woken = false;
    if (lane_turn(l)) {
        l->woken = true;
    }
    return true;
}
