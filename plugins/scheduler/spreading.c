/* spreading.c - which pods belong together when they do not say so: those of the same services and
 * of the same owner. */
#include "plugins/scheduler/scheduler.h"

#include <string.h>

struct spreading {
    const struct sched_pod *pod;
    struct arena *arena;
    struct value labels; /* of all services' selectors: a map */
    bool failed;
};

/* Later ones win, as in kube-scheduler. */
static void spreading_merge(struct spreading *w, const struct value *map)
{
    for (size_t i = 0; i < value_len(map); i++) {
        w->failed = w->failed || value_map_set(w->arena, &w->labels, value_map_key(map, i),
                                               *value_map_at(map, i)) == NULL;
    }
}

static bool spreading_selects(const struct value *map, const struct value *labels)
{
    for (size_t i = 0; i < value_len(map); i++) {
        const struct value *has = value_map_get(labels, value_map_key(map, i));
        if (has == NULL || !slice_eq(value_slice(has), value_slice(value_map_at(map, i)))) {
            return false;
        }
    }
    return value_len(map) > 0;
}

static int spreading_service(void *data, const struct object *o)
{
    struct spreading *w = data;
    const struct value *selector = object_get(o, "spec.selector");
    if (spreading_selects(selector, &w->pod->labels)) {
        spreading_merge(w, selector);
    }
    return 0;
}

/* Requirements of both. */
static int spreading_join(struct arena *arena, struct label_selector *a,
                          const struct label_selector *b)
{
    struct label_requirement *items = arena_alloc(arena, (a->count + b->count) * sizeof *items);
    if (items == NULL) {
        return ERR_NOMEM;
    }
    if (a->count > 0) {
        memcpy(items, a->items, a->count * sizeof *items);
    }
    if (b->count > 0) {
        memcpy(items + a->count, b->items, b->count * sizeof *items);
    }
    a->items = items;
    a->count += b->count;
    return 0;
}

/* Texts are the informers' objects': they may be replaced before the cycle is over, so the selector
 * gets copies. */
static int spreading_copy(struct arena *arena, struct label_selector *s)
{
    for (size_t i = 0; i < s->count; i++) {
        struct label_requirement *q = &s->items[i];
        struct slice *values = arena_alloc(arena, q->count * sizeof *values);
        q->key = arena_dup(arena, q->key);
        if (values == NULL || q->key.data == NULL) {
            return ERR_NOMEM;
        }
        for (size_t k = 0; k < q->count; k++) {
            values[k] = arena_dup(arena, q->values[k]);
            if (values[k].data == NULL) {
                return ERR_NOMEM;
            }
        }
        q->values = values;
    }
    return 0;
}

static const struct object *spreading_owner(struct scheduler *s, const struct sched_pod *p,
                                            const char *kind, enum scheduler_watched watched)
{
    return slice_eq(p->owner_kind, slice_str(kind))
               ? informer_find(s->informers[watched], p->space, p->owner_name)
               : NULL;
}

const struct label_selector *scheduler_spreading(struct scheduler *s, const struct sched_pod *p,
                                                 struct arena *arena, struct label_selector *out)
{
    struct spreading w = {.pod = p, .arena = arena, .labels = value_empty(VALUE_MAP)};
    if (p->terms != NULL && p->terms->spread_count > 0) {
        return NULL; /* it says so itself */
    }
    informer_each_in(s->informers[SCHED_WATCH_SERVICES], p->space, spreading_service, &w);
    const struct object *rc =
        spreading_owner(s, p, "ReplicationController", SCHED_WATCH_REPLICATION_CONTROLLERS);
    const struct object *rs = spreading_owner(s, p, "ReplicaSet", SCHED_WATCH_REPLICA_SETS);
    if (rc != NULL) {
        spreading_merge(&w, object_get(rc, "spec.selector"));
    }
    int status = w.failed ? ERR_NOMEM : label_selector_from_map(&w.labels, arena, out);
    if (rs != NULL && status == 0) {
        struct label_selector own;
        struct errmsg e;
        status = label_selector_from(object_get(rs, "spec.selector"), arena, &own, &e);
        status = status == 0 ? spreading_join(arena, out, &own) : status;
    }
    status = status == 0 ? spreading_copy(arena, out) : status;
    return status == 0 && out->count > 0 ? out : NULL;
}
