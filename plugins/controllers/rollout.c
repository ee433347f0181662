/* rollout.c - the order of decisions. */
#include "plugins/controllers/rollout.h"

#include <stdlib.h>

void rollout_set_read(struct rollout_set *s, const struct object *copy)
{
    *s = (struct rollout_set){.o = *copy,
                              .was = (int32_t)object_int(copy, "spec.replicas", 1),
                              .actual = (int32_t)object_int(copy, "status.replicas", 0),
                              .ready = (int32_t)object_int(copy, "status.readyReplicas", 0),
                              .available = (int32_t)object_int(copy, "status.availableReplicas", 0),
                              .terminating =
                                  (int32_t)object_int(copy, "status.terminatingReplicas", -1)};
    s->want = s->was;
}

static int rollout_by_creation(const void *a, const void *b)
{
    const struct rollout_set *x = a;
    const struct rollout_set *y = b;
    int64_t t = object_int(&x->o, "metadata.creationTimestamp", 0);
    int64_t u = object_int(&y->o, "metadata.creationTimestamp", 0);
    if (t != u) {
        return t < u ? -1 : 1;
    }
    return slice_cmp(object_text(&x->o, "metadata.name"), object_text(&y->o, "metadata.name"));
}

void rollout_begin(struct rollout *r)
{
    if (r->count > 1) {
        qsort(r->sets, r->count, sizeof *r->sets, rollout_by_creation);
    }
    r->fresh = rollout_find_fresh(r);
}

int rollout_decide(struct rollout *r)
{
    bool deleted = object_get(&r->d, "metadata.deletionTimestamp") != NULL;
    bool paused = object_bool(&r->d, "spec.paused", false);
    int rc = 0;
    if (deleted) {
        return rollout_fresh(r) != NULL ? rollout_sync_revision(r, false) : 0;
    }
    rc = rollout_note_paused(r);
    if (rc == 0 && rollout_fresh(r) != NULL) {
        rc = rollout_sync_revision(r, false);
    }
    if (rc != 0) {
        return rc;
    }
    if (paused || rollout_is_scaling(r)) {
        rc = rollout_scale(r);
        rc = rc == 0 && paused ? rollout_clean_up(r) : rc;
    } else {
        r->step_only = true;
        rc = rollout_is_rolling(r) ? rollout_step_rolling(r) : rollout_step_recreate(r);
    }
    return rc == 0 ? rollout_note_sizes(r) : rc;
}
