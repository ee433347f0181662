/* lane_lend.c - a loop's lane helps a sleeping thread with what is quick; lane.h says why. */
#include "base/clock.h"
#include "base/limits.h"
#include "plugins/host/lane.h"

void lane_lend(struct lane *l, struct lane *helper)
{
    pthread_mutex_lock(&l->lock);
    l->helper = helper;
    pthread_mutex_unlock(&l->lock);
}

void lane_lend_end(struct lane *l)
{
    list_remove(&l->help_link);
}

bool lane_ask_helper(struct lane *l)
{
    struct lane *helper = l->helper;
    if (helper == NULL || !lane_is_here(helper)) {
        return false;
    }
    l->waking = true;
    if (list_empty(&l->help_link)) { /* else it is there still: its thread came first */
        list_push_back(&helper->to_help, &l->help_link);
    }
    helper->driver->wake(helper);
    return true;
}

/* false: there is no time left. */
static bool lane_help_one(struct lane *l, uint64_t until_ns)
{
    struct lane_msg *m;
    bool time = true;
    if (l->dead || !lane_enter(l, true, &m)) {
        return true; /* the thread has come by itself, and looks again */
    }
    uint_fast64_t ran = 0;
    while (m != NULL && m->quick && time && !l->dead) {
        struct lane_msg *next = m->next;
        m->run(m);
        m = next;
        ran++;
        time = clock_mono_ns() < until_ns;
    }
    atomic_fetch_add_explicit(&l->helped, ran, memory_order_relaxed);
    (void)lane_leave(l, m, time);
    return time;
}

bool lane_help(struct lane *helper)
{
    struct list *it;
    if (list_empty(&helper->to_help)) {
        return false;
    }
    uint64_t until_ns = clock_mono_ns() + LANE_HELP_US_MAX * 1000u;
    while ((it = list_pop_front(&helper->to_help)) != NULL) {
        struct lane *l = LIST_ENTRY(it, struct lane, help_link);
        if (!lane_help_one(l, until_ns)) {
            break;
        }
    }
    return true;
}
