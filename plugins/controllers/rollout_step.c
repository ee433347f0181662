/* rollout_step.c - one step of a rollout: up, else down, else clean up. */
#include "plugins/controllers/rollout.h"

static int64_t rollout_old_total(const struct rollout *r)
{
    int64_t total = 0;
    for (size_t i = 0; i < r->count; i++) {
        total += i == r->fresh ? 0 : r->sets[i].want;
    }
    return total;
}

/* Pods that are there and available. A set whose status is older than its spec may count pods that
 * it is about to delete. */
static int64_t rollout_available(struct rollout *r)
{
    int64_t n = 0;
    for (size_t i = 0; i < r->count; i++) {
        n += r->sets[i].available;
        r->unsettled = r->unsettled || r->sets[i].available > r->sets[i].was;
    }
    return n;
}

static int32_t rollout_min(int64_t a, int64_t b)
{
    return (int32_t)(a < b ? a : b);
}

/* Pods of old sets that are not available go first: nobody misses them, and they could hold up the
 * rollout for ever. At most `most`. */
static void rollout_drop_unhealthy(struct rollout *r, int64_t most)
{
    for (size_t i = 0; i < r->count && most > 0; i++) {
        struct rollout_set *s = &r->sets[i];
        if (i == r->fresh || s->want == 0 || s->want <= s->available) {
            continue;
        }
        int32_t less = rollout_min(most, s->want - s->available);
        s->want -= less;
        most -= less;
    }
}

/* Old pods that others can stand in for, oldest sets first. */
static void rollout_drop_replaced(struct rollout *r, int64_t available)
{
    int64_t least = (int64_t)rollout_wanted(r) - rollout_max_unavailable(r);
    int64_t most = available - least;
    for (size_t i = 0; i < r->count && most > 0; i++) {
        struct rollout_set *s = &r->sets[i];
        if (i != r->fresh && s->want > 0) {
            int32_t less = rollout_min(most, s->want);
            s->want -= less;
            most -= less;
        }
    }
}

/* True: something changed. */
static bool rollout_shrink_old(struct rollout *r)
{
    const struct rollout_set *fresh = rollout_fresh(r);
    int64_t before = rollout_old_total(r);
    int64_t least = (int64_t)rollout_wanted(r) - rollout_max_unavailable(r);
    int64_t available = rollout_available(r);
    if (before == 0 || r->unsettled) {
        return false;
    }
    /* New pods that are not available yet stand in for nobody. */
    int64_t most = rollout_total(r) - least - (fresh->want - fresh->available);
    if (most <= 0) {
        return false;
    }
    rollout_drop_unhealthy(r, most);
    rollout_drop_replaced(r, available);
    return rollout_old_total(r) < before;
}

/* True: something changed. */
static bool rollout_grow_fresh(struct rollout *r)
{
    struct rollout_set *fresh = rollout_fresh(r);
    int32_t wanted = rollout_wanted(r);
    int32_t before = fresh->want;
    if (before == wanted) {
        return false;
    }
    fresh->want = before > wanted ? wanted : rollout_fresh_size(r, before);
    return fresh->want != before;
}

int rollout_step_rolling(struct rollout *r)
{
    /* A set that is still to be made is this step; its events bring the next. */
    if (rollout_fresh(r) == NULL) {
        return rollout_make_fresh(r);
    }
    if (rollout_grow_fresh(r) || rollout_shrink_old(r) || !rollout_is_complete(&r->d)) {
        return 0;
    }
    return rollout_clean_up(r);
}

int rollout_step_recreate(struct rollout *r)
{
    bool shrunk = false;
    bool there = r->old_pods;
    for (size_t i = 0; i < r->count; i++) {
        struct rollout_set *s = &r->sets[i];
        if (i != r->fresh) {
            shrunk = shrunk || s->want > 0;
            there = there || s->actual > 0;
            s->want = 0;
        }
    }
    if (shrunk || there) {
        return 0;
    }
    if (rollout_fresh(r) == NULL) {
        return rollout_make_fresh(r);
    }
    rollout_fresh(r)->want = rollout_wanted(r);
    return rollout_is_complete(&r->d) ? rollout_clean_up(r) : 0;
}
