/* node.c - a node's facts and sums; see node.h. */
#include "plugins/scheduler/node.h"

#include <stdlib.h>

struct sched_node *sched_node_make(struct slice name)
{
    struct sched_node *n = mem_zalloc(sizeof *n + name.len);
    if (n == NULL) {
        return NULL;
    }
    memcpy(n + 1, name.data, name.len);
    n->name = slice_of(n + 1, name.len);
    arena_init(&n->arena, 0);
    arena_init(&n->sums, 0);
    list_init(&n->nominated);
    return n;
}

void sched_node_free(struct sched_node *n)
{
    arena_close(&n->arena);
    arena_close(&n->sums);
    mem_free(n->pods);
    mem_free(n);
}

/* ---- facts -------------------------------------------------------------------------------------
 */

static int node_taints(struct sched_node *n, const struct object *o)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_TAINT);
    const struct value *list = object_get(o, "spec.taints");
    n->taints = arena_alloc(&n->arena, value_len(list) * sizeof *n->taints);
    if (n->taints == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < value_len(list); i++) {
        const struct value *m = &list->items[i];
        struct sched_taint *one = &n->taints[i];
        one->key = arena_dup(&n->arena, value_slice(value_find(t, m, "key")));
        one->value = arena_dup(&n->arena, value_slice(value_find(t, m, "value")));
        one->effect = arena_dup(&n->arena, value_slice(value_find(t, m, "effect")));
        if (one->key.data == NULL || one->value.data == NULL || one->effect.data == NULL) {
            return ERR_NOMEM;
        }
    }
    n->taint_count = value_len(list);
    return 0;
}

static int node_image_order(const void *a, const void *b)
{
    const struct sched_image *x = a;
    const struct sched_image *y = b;
    return slice_cmp(x->name, y->name);
}

static size_t node_image_names(const struct value *images)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_CONTAINER_IMAGE);
    size_t count = 0;
    for (size_t i = 0; i < value_len(images); i++) {
        count += value_len(value_find(t, &images->items[i], "names"));
    }
    return count;
}

static int node_images(struct sched_node *n, const struct object *o)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_CONTAINER_IMAGE);
    const struct value *list = object_get(o, "status.images");
    int rc = 0;
    struct buf name;
    n->images = arena_alloc(&n->arena, node_image_names(list) * sizeof *n->images);
    if (n->images == NULL) {
        return ERR_NOMEM;
    }
    buf_init(&name);
    for (size_t i = 0; i < value_len(list) && rc == 0; i++) {
        const struct value *names = value_find(t, &list->items[i], "names");
        const struct value *bytes = value_find(t, &list->items[i], "sizeBytes");
        for (size_t k = 0; k < value_len(names) && rc == 0; k++) {
            buf_clear(&name);
            sched_image_name(value_slice(&names->items[k]), &name);
            struct sched_image *one = &n->images[n->image_count++];
            one->bytes = bytes == NULL ? 0 : bytes->integer;
            one->name = arena_dup(&n->arena, buf_slice(&name));
            rc = name.failed || one->name.data == NULL ? ERR_NOMEM : 0;
        }
    }
    buf_close(&name);
    qsort(n->images, n->image_count, sizeof *n->images, node_image_order);
    return rc;
}

static struct slice node_either_label(const struct sched_node *n, const char *now,
                                      const char *before)
{
    struct slice v = sched_node_label(n, slice_str(now));
    return v.data != NULL ? v : sched_node_label(n, slice_str(before));
}

static int node_zone(struct sched_node *n)
{
    struct slice region = node_either_label(n, "topology.kubernetes.io/region",
                                            "failure-domain.beta.kubernetes.io/region");
    struct slice zone = node_either_label(n, "topology.kubernetes.io/zone",
                                          "failure-domain.beta.kubernetes.io/zone");
    if (region.len + zone.len == 0) {
        return 0;
    }
    uint8_t *text = arena_alloc(&n->arena, region.len + 1 + zone.len);
    if (text == NULL) {
        return ERR_NOMEM;
    }
    memcpy(text, region.len == 0 ? (const uint8_t *)"" : region.data, region.len);
    text[region.len] = 0;
    memcpy(text + region.len + 1, zone.len == 0 ? (const uint8_t *)"" : zone.data, zone.len);
    n->zone = slice_of(text, region.len + 1 + zone.len);
    return 0;
}

/* Into a node that has none. */
static int node_facts(struct sched_node *n, const struct object *o)
{
    const struct value *labels = object_get(o, "metadata.labels");
    const struct value *allocatable = object_get(o, "status.allocatable");
    struct value map = value_empty(VALUE_MAP);
    n->labels = value_empty(VALUE_MAP);
    if (labels != NULL && value_copy(&n->arena, labels, &n->labels) != 0) {
        return ERR_NOMEM;
    }
    if (allocatable != NULL && value_copy(&n->arena, allocatable, &map) != 0) {
        return ERR_NOMEM;
    }
    n->unschedulable = object_bool(o, "spec.unschedulable", false);
    if (!sched_amounts_of(&map, &n->arena, &n->allocatable, &n->pods_max)) {
        return ERR_NOMEM;
    }
    int rc = node_zone(n);
    rc = rc == 0 ? node_taints(n, o) : rc;
    return rc == 0 ? node_images(n, o) : rc;
}

/* Moves the facts of one node to another whose arena is empty. */
static void node_move_facts(struct sched_node *to, const struct sched_node *from)
{
    to->arena = from->arena;
    to->labels = from->labels;
    to->zone = from->zone;
    to->taints = from->taints;
    to->taint_count = from->taint_count;
    to->unschedulable = from->unschedulable;
    to->allocatable = from->allocatable;
    to->pods_max = from->pods_max;
    to->images = from->images;
    to->image_count = from->image_count;
}

int sched_node_set(struct sched_node *n, const struct object *o)
{
    struct sched_node fresh = {0};
    arena_init(&fresh.arena, 0);
    if (node_facts(&fresh, o) != 0) {
        arena_close(&fresh.arena);
        return ERR_NOMEM;
    }
    arena_close(&n->arena);
    node_move_facts(n, &fresh);
    n->present = true;
    return 0;
}

void sched_node_clear(struct sched_node *n)
{
    struct sched_node nothing = {0};
    arena_close(&n->arena);
    arena_init(&nothing.arena, 0);
    node_move_facts(n, &nothing);
    n->present = false;
}

/* ---- pods --------------------------------------------------------------------------------------
 */

bool sched_node_reserve(struct sched_node *n, const struct sched_pod *p)
{
    if (n->pod_count == n->pod_room) {
        size_t room = n->pod_room == 0 ? 4 : n->pod_room * 2;
        struct sched_pod **pods = mem_realloc(n->pods, room * sizeof *pods);
        if (pods == NULL) {
            return false;
        }
        n->pods = pods;
        n->pod_room = room;
    }
    for (size_t i = 0; i < p->request.extra_count; i++) {
        struct sched_amount *had = n->requested.extra;
        size_t count = n->requested.extra_count;
        size_t k = 0;
        while (k < count && !slice_eq(had[k].name, p->request.extra[i].name)) {
            k++;
        }
        if (k == count) {
            /* A name of the node's own: the pod's goes with the pod. */
            struct sched_amount one = {.name = arena_dup(&n->sums, p->request.extra[i].name)};
            struct sched_amounts add = {.extra_count = 1, .extra = &one};
            if (one.name.data == NULL || !sched_amounts_add(&n->requested, &add, 1, &n->sums)) {
                return false;
            }
        }
    }
    return true;
}

static void node_count(struct sched_node *n, const struct sched_pod *p, int times)
{
    size_t one = (size_t)(int64_t)times; /* 1, or all bits: one less */
    /* Cannot fail: the names are reserved. */
    (void)sched_amounts_add(&n->requested, &p->request, times, &n->sums);
    n->score_cpu_m += times * p->score_cpu_m;
    n->score_memory += times * p->score_memory;
    n->port_pods += p->port_count > 0 ? one : 0;
    n->affinity_pods += sched_pod_has_affinity(p) ? one : 0;
    n->anti_pods += sched_pod_has_anti_affinity(p) ? one : 0;
}

void sched_node_add(struct sched_node *n, struct sched_pod *p)
{
    p->on = n;
    p->at = n->pod_count;
    n->pods[n->pod_count++] = p;
    node_count(n, p, 1);
}

void sched_node_remove(struct sched_node *n, struct sched_pod *p)
{
    struct sched_pod *last = n->pods[--n->pod_count];
    n->pods[p->at] = last;
    last->at = p->at;
    p->on = NULL;
    node_count(n, p, -1);
}

/* ---- questions ---------------------------------------------------------------------------------
 */

struct slice sched_node_label(const struct sched_node *n, struct slice key)
{
    const struct value *v = value_map_get(&n->labels, key);
    if (v == NULL) {
        return slice_of(NULL, 0);
    }
    return v->len == 0 ? slice_str("") : value_slice(v);
}

int64_t sched_node_image(const struct sched_node *n, struct slice name)
{
    size_t low = 0;
    size_t high = n->image_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = slice_cmp(n->images[mid].name, name);
        if (order == 0) {
            return n->images[mid].bytes;
        }
        low = order < 0 ? mid + 1 : low;
        high = order < 0 ? high : mid;
    }
    return -1;
}

const struct sched_taint *sched_node_repels(const struct sched_node *n, const struct sched_pod *p)
{
    for (size_t i = 0; i < n->taint_count; i++) {
        const struct sched_taint *t = &n->taints[i];
        bool hard = slice_eq(t->effect, slice_str("NoSchedule")) ||
                    slice_eq(t->effect, slice_str("NoExecute"));
        if (hard && !sched_pod_tolerates(p, t)) {
            return t;
        }
    }
    return NULL;
}
