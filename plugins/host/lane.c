/* lane.c - the mailbox, the timers, and the driver that has no loop. lane_uv.c has the others. */
#include "plugins/host/lane.h"

#include <sched.h>
#include <string.h>

#include "base/limits.h"
#include "base/list.h"

/* ---- messages and timers -----------------------------------------------------------------------
 */

/* Under the lock. true: the caller wakes the lane, once it is outside: the lane would only wait for
 * the lock. One wake until the lane looks. */
static bool lane_must_wake(struct lane *l)
{
    if (l->waking) {
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

static bool lane_add(struct lane *l, struct lane_msg *m, bool wake)
{
    bool nudge = false;
    m->next = NULL;
    pthread_mutex_lock(&l->lock);
    if (!l->dead) {
        if (l->first == NULL) {
            l->first = m;
        } else {
            l->last->next = m;
        }
        l->last = m;
        nudge = !l->waking;
        wake = wake && lane_must_wake(l);
    } else {
        wake = false;
    }
    pthread_mutex_unlock(&l->lock);
    if (wake) {
        lane_wake(l);
    }
    return nudge;
}

void lane_post(struct lane *l, struct lane_msg *m)
{
    (void)lane_add(l, m, true);
}

bool lane_post_quietly(struct lane *l, struct lane_msg *m)
{
    return lane_add(l, m, false);
}

void lane_nudge(struct lane *l)
{
    pthread_mutex_lock(&l->lock);
    bool wake = l->first != NULL && !l->dead && lane_must_wake(l);
    pthread_mutex_unlock(&l->lock);
    if (wake) {
        lane_wake(l);
    }
}

/* The whole mailbox at once, so that the lock is taken once per batch. */
static struct lane_msg *lane_take(struct lane *l)
{
    pthread_mutex_lock(&l->lock);
    struct lane_msg *m = l->first;
    l->first = l->last = NULL;
    l->waking = false;
    pthread_mutex_unlock(&l->lock);
    return m;
}

/* Puts back what this turn did not get to, in front of what came meanwhile. */
static void lane_untake(struct lane *l, struct lane_msg *m)
{
    struct lane_msg *last = m;
    while (last->next != NULL) {
        last = last->next;
    }
    pthread_mutex_lock(&l->lock);
    l->waking = true; /* the driver comes again by itself */
    last->next = l->first;
    l->first = m;
    if (l->last == NULL) {
        l->last = last;
    }
    pthread_mutex_unlock(&l->lock);
}

static void lane_arm(struct lane *l)
{
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
    struct lane_msg *m = lane_take(l);
    bool more = false;
    for (unsigned left = LANE_MESSAGES_PER_TURN_MAX; m != NULL && !l->dead; left--) {
        if (left == 0) {
            lane_untake(l, m);
            more = true;
            break;
        }
        struct lane_msg *next = m->next;
        m->run(m);
        m = next;
    }
    lane_fire(l);
    if (l->closing && !more) {
        if (atomic_load(&l->wakers) > 0) {
            return true; /* somebody whose message is done is about to touch it once more */
        }
        l->driver->close(l);
        return false;
    }
    lane_arm(l);
    struct heap_node *n = heap_min(&l->timers);
    return more || (n != NULL && (uint64_t)n->key <= lane_now(l));
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
