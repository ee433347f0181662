/* rollout_scale.c - bounds of a rollout, and sizes of sets when the wanted number changes. */
#include <math.h>
#include <stdlib.h>

#include "plugins/controllers/rollout.h"

bool rollout_is_rolling(const struct rollout *r)
{
    return value_is_text(object_get(&r->d, "spec.strategy.type"), "RollingUpdate");
}

/* A number, or a part of the whole in percent, rounded up or down. */
static int64_t rollout_part(const struct value *v, int64_t whole, bool up)
{
    if (v == NULL) {
        return 0;
    }
    if (v->kind == VALUE_INT) {
        return v->integer;
    }
    struct slice s = value_slice(v);
    int64_t percent = 0;
    for (size_t i = 0; i < s.len && i < 9 && s.data[i] >= '0' && s.data[i] <= '9'; i++) {
        percent = percent * 10 + (s.data[i] - '0');
    }
    return (percent * whole + (up ? 99 : 0)) / 100;
}

static void rollout_bounds(const struct rollout *r, int64_t *surge, int64_t *unavailable)
{
    int64_t wanted = rollout_wanted(r);
    *surge = rollout_part(object_get(&r->d, "spec.strategy.rollingUpdate.maxSurge"), wanted, true);
    *unavailable = rollout_part(object_get(&r->d, "spec.strategy.rollingUpdate.maxUnavailable"),
                                wanted, false);
    /* Both rounded to nothing would never end. */
    if (*surge == 0 && *unavailable == 0) {
        *unavailable = 1;
    }
}

int32_t rollout_max_surge(const struct rollout *r)
{
    int64_t surge;
    int64_t unavailable;
    if (!rollout_is_rolling(r)) {
        return 0;
    }
    rollout_bounds(r, &surge, &unavailable);
    return (int32_t)(surge > INT32_MAX ? INT32_MAX : surge);
}

int32_t rollout_max_unavailable(const struct rollout *r)
{
    int64_t surge;
    int64_t unavailable;
    int32_t wanted = rollout_wanted(r);
    if (!rollout_is_rolling(r) || wanted == 0) {
        return 0;
    }
    rollout_bounds(r, &surge, &unavailable);
    return unavailable > wanted ? wanted : (int32_t)unavailable;
}

int64_t rollout_total(const struct rollout *r)
{
    int64_t total = 0;
    for (size_t i = 0; i < r->count; i++) {
        total += r->sets[i].want;
    }
    return total;
}

int32_t rollout_fresh_size(const struct rollout *r, int32_t have)
{
    int32_t wanted = rollout_wanted(r);
    if (!rollout_is_rolling(r)) {
        return wanted;
    }
    int64_t room = (int64_t)wanted + rollout_max_surge(r) - rollout_total(r);
    int64_t more = wanted - have;
    if (room <= 0) {
        return have;
    }
    return have + (int32_t)(room < more ? room : more);
}

bool rollout_is_scaling(const struct rollout *r)
{
    int64_t desired;
    for (size_t i = 0; i < r->count; i++) {
        const struct rollout_set *s = &r->sets[i];
        if (s->was > 0 && rollout_number(&s->o, ROLLOUT_DESIRED, &desired) &&
            desired != rollout_wanted(r)) {
            return true;
        }
    }
    return false;
}

/* ---- proportions ---------------------------------------------------------------------------- */

/* The one set with pods, or without any the newest one; NULL = there are several, or no set. */
static struct rollout_set *rollout_active_or_latest(struct rollout *r)
{
    struct rollout_set *active = NULL;
    size_t count = 0;
    for (size_t i = 0; i < r->count; i++) {
        if (r->sets[i].want > 0) {
            active = &r->sets[i];
            count++;
        }
    }
    if (count == 0) {
        return rollout_fresh(r) != NULL ? rollout_fresh(r)
               : r->count > 0           ? &r->sets[r->count - 1]
                                        : NULL;
    }
    return count == 1 ? active : NULL;
}

static bool rollout_is_saturated(const struct rollout *r)
{
    const struct rollout_set *fresh = rollout_fresh(r);
    int64_t desired;
    return fresh != NULL && fresh->want == rollout_wanted(r) &&
           rollout_number(&fresh->o, ROLLOUT_DESIRED, &desired) && desired == fresh->want &&
           fresh->available == fresh->want;
}

/* What of `left` more (or fewer, when negative) pods is a set's part, by its size. */
static int64_t rollout_share(const struct rollout *r, const struct rollout_set *s, int64_t left)
{
    int64_t most = (int64_t)rollout_wanted(r) + rollout_max_surge(r);
    int64_t before;
    int64_t share;
    if (s->want == 0 || left == 0) {
        return 0;
    }
    if (rollout_wanted(r) == 0) {
        share = -(int64_t)s->want;
    } else {
        if (!rollout_number(&s->o, ROLLOUT_MAX, &before) || before == 0) {
            before = object_int(&r->d, "status.replicas", 0);
        }
        share = before == 0
                    ? 0
                    : (int64_t)round((double)s->want * (double)most / (double)before) - s->want;
    }
    return left > 0 ? (share < left ? share : left) : (share > left ? share : left);
}

struct rollout_by_size {
    struct rollout_set *set;
    bool newer_first;
};

/* Larger first; of equal ones the newer or the older. Sets lie in the order of their creation. */
static int rollout_compare_size(const void *a, const void *b)
{
    const struct rollout_by_size *x = a;
    const struct rollout_by_size *y = b;
    if (x->set->want != y->set->want) {
        return x->set->want > y->set->want ? -1 : 1;
    }
    return (x->set > y->set) == x->newer_first ? -1 : 1;
}

static int rollout_scale_all(struct rollout *r)
{
    int64_t wanted = rollout_wanted(r);
    int64_t total = rollout_total(r);
    int64_t allowed = wanted > 0 ? wanted + rollout_max_surge(r) : 0;
    int64_t add = allowed - total;
    int64_t added = 0;
    size_t count = 0;
    struct rollout_by_size *sets = arena_alloc(r->arena, (r->count + 1) * sizeof *sets);
    if (sets == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < r->count; i++) {
        if (r->sets[i].want > 0) {
            sets[count++] = (struct rollout_by_size){&r->sets[i], add > 0};
        }
    }
    if (add != 0) {
        qsort(sets, count, sizeof *sets, rollout_compare_size);
    }
    for (size_t i = 0; i < count && add != 0; i++) {
        int64_t share = rollout_share(r, sets[i].set, add - added);
        sets[i].set->want += (int32_t)share;
        added += share;
    }
    if (count > 0 && add != 0) {
        int64_t first = sets[0].set->want + add - added;
        sets[0].set->want = first < 0 ? 0 : (int32_t)first;
    }
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        rc = rollout_note_size(r, sets[i].set);
    }
    return rc;
}

int rollout_scale(struct rollout *r)
{
    struct rollout_set *only = rollout_active_or_latest(r);
    if (only != NULL) {
        only->want = rollout_wanted(r);
        return rollout_note_size(r, only);
    }
    if (rollout_is_saturated(r)) {
        for (size_t i = 0; i < r->count; i++) {
            r->sets[i].want = i == r->fresh ? r->sets[i].want : 0;
        }
        return rollout_note_size(r, rollout_fresh(r));
    }
    return rollout_is_rolling(r) ? rollout_scale_all(r) : 0;
}
