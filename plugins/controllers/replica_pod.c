/* replica_pod.c - active, ready, available; the order in which surplus pods go. */
#include "plugins/controllers/replica_pod.h"

#include <stdlib.h>
#include <string.h>

#define COST_ANNOTATION "controller.kubernetes.io/pod-deletion-cost"

bool replica_pod_ended(const struct object *pod)
{
    const struct value *phase = object_get(pod, "status.phase");
    return value_is_text(phase, "Succeeded") || value_is_text(phase, "Failed");
}

bool replica_pod_active(const struct object *pod)
{
    return !replica_pod_ended(pod) && object_get(pod, "metadata.deletionTimestamp") == NULL;
}

/* ---- all at once ---------------------------------------------------------------------------- */

static uint16_t replica_field(enum schema_type_id type, const char *name)
{
    const struct schema_type *t = schema_type(type);
    return (uint16_t)(schema_find(t, slice_str(name)) - schema_fields(t));
}

void replica_fields_init(struct replica_fields *f)
{
    *f = (struct replica_fields){
        .metadata = replica_field(SCHEMA_CORE_V1_POD, "metadata"),
        .spec = replica_field(SCHEMA_CORE_V1_POD, "spec"),
        .status = replica_field(SCHEMA_CORE_V1_POD, "status"),
        .node = replica_field(SCHEMA_CORE_V1_POD_SPEC, "nodeName"),
        .labels = replica_field(SCHEMA_META_V1_OBJECT_META, "labels"),
        .owners = replica_field(SCHEMA_META_V1_OBJECT_META, "ownerReferences"),
        .deletion = replica_field(SCHEMA_META_V1_OBJECT_META, "deletionTimestamp"),
        .phase = replica_field(SCHEMA_CORE_V1_POD_STATUS, "phase"),
        .conditions = replica_field(SCHEMA_CORE_V1_POD_STATUS, "conditions"),
        .condition_type = replica_field(SCHEMA_CORE_V1_POD_CONDITION, "type"),
        .condition_status = replica_field(SCHEMA_CORE_V1_POD_CONDITION, "status"),
        .condition_since = replica_field(SCHEMA_CORE_V1_POD_CONDITION, "lastTransitionTime"),
        .owner_uid = replica_field(SCHEMA_META_V1_OWNER_REFERENCE, "uid"),
        .owner_controller = replica_field(SCHEMA_META_V1_OWNER_REFERENCE, "controller"),
    };
}

static void replica_look_at_ready(const struct replica_fields *f, const struct value *conditions,
                                  struct replica_look *out)
{
    for (size_t i = 0; i < value_len(conditions); i++) {
        const struct value *c = &conditions->items[i];
        if (value_is_text(value_member(c, f->condition_type), "Ready")) {
            const struct value *since = value_member(c, f->condition_since);
            out->ready = value_is_text(value_member(c, f->condition_status), "True");
            out->ready_s = out->ready && since != NULL && since->kind == VALUE_INT ? since->integer
                                                                                   : INSTANT_UNSET;
            return;
        }
    }
}

void replica_look(const struct replica_fields *f, const struct object *pod,
                  struct replica_look *out)
{
    const struct value *meta = value_member(&pod->root, f->metadata);
    const struct value *status = value_member(&pod->root, f->status);
    const struct value *phase = value_member(status, f->phase);
    const struct value *owners = value_member(meta, f->owners);
    bool ended = value_is_text(phase, "Succeeded") || value_is_text(phase, "Failed");
    const struct value *node = value_member(value_member(&pod->root, f->spec), f->node);
    *out = (struct replica_look){.labels = value_member(meta, f->labels),
                                 .phase = phase,
                                 .node = value_slice(node),
                                 .ready_s = INSTANT_UNSET,
                                 .deleted = value_member(meta, f->deletion) != NULL};
    out->active = !ended && !out->deleted;
    out->terminating = !ended && out->deleted;
    for (size_t i = 0; i < value_len(owners); i++) {
        const struct value *flag = value_member(&owners->items[i], f->owner_controller);
        if (flag != NULL && flag->kind == VALUE_BOOL && flag->boolean) {
            out->owner_uid = value_slice(value_member(&owners->items[i], f->owner_uid));
            break;
        }
    }
    replica_look_at_ready(f, value_member(status, f->conditions), out);
}

int64_t replica_available_in(const struct replica_look *p, int64_t min_ready_s, int64_t now_s)
{
    if (!p->ready) {
        return -1;
    }
    if (min_ready_s <= 0) {
        return 0;
    }
    if (p->ready_s == INSTANT_UNSET) {
        return -1;
    }
    return p->ready_s + min_ready_s <= now_s ? 0 : p->ready_s + min_ready_s - now_s;
}

/* ---- which one goes first ------------------------------------------------------------------- */

/* A decimal of 32 bits without "+" and leading zeros; all else counts as 0. */
static int32_t rank_cost(const struct object *pod)
{
    struct slice s =
        value_slice(value_map_cget(object_get(pod, "metadata.annotations"), COST_ANNOTATION));
    bool negative = s.len > 0 && s.data[0] == '-';
    size_t i = negative ? 1 : 0;
    int64_t v = 0;
    if (s.len - i == 0 || s.len - i > 10 || (s.data[i] == '0' && s.len > 1)) {
        return 0;
    }
    for (; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9') {
            return 0;
        }
        v = v * 10 + (s.data[i] - '0');
    }
    v = negative ? -v : v;
    return v < INT32_MIN || v > INT32_MAX ? 0 : (int32_t)v;
}

static int64_t rank_restarts_of(const struct value *status)
{
    const struct value *v =
        value_find(schema_type(SCHEMA_CORE_V1_CONTAINER_STATUS), status, "restartCount");
    return v != NULL && v->kind == VALUE_INT ? v->integer : 0;
}

/* Whether an init container keeps running beside the others. */
static bool rank_is_sidecar(const struct object *pod, struct slice name)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_CONTAINER);
    const struct value *list = object_get(pod, "spec.initContainers");
    for (size_t i = 0; i < value_len(list); i++) {
        if (slice_eq(value_slice(value_find(t, &list->items[i], "name")), name)) {
            return value_is_text(value_find(t, &list->items[i], "restartPolicy"), "Always");
        }
    }
    return false;
}

void rank_read(struct rank_pod *r, const struct replica_fields *f, const struct object *pod)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_CONTAINER_STATUS);
    struct replica_look look;
    replica_look(f, pod, &look);
    *r = (struct rank_pod){.pod = pod,
                           .uid = object_text(pod, "metadata.uid"),
                           .node = look.node,
                           .cost = rank_cost(pod),
                           .created_s =
                               object_int(pod, "metadata.creationTimestamp", INSTANT_UNSET)};
    r->phase = look.phase == NULL || value_is_text(look.phase, "Pending") ? 0
               : value_is_text(look.phase, "Unknown")                     ? 1
                                                                          : 2;
    r->ready = look.ready;
    r->ready_s = look.ready_s;
    const struct value *list = object_get(pod, "status.containerStatuses");
    for (size_t i = 0; i < value_len(list); i++) {
        int64_t n = rank_restarts_of(&list->items[i]);
        r->restarts = n > r->restarts ? n : r->restarts;
    }
    list = object_get(pod, "status.initContainerStatuses");
    for (size_t i = 0; i < value_len(list); i++) {
        int64_t n = rank_restarts_of(&list->items[i]);
        if (n > r->init_restarts &&
            rank_is_sidecar(pod, value_slice(value_find(t, &list->items[i], "name")))) {
            r->init_restarts = n;
        }
    }
}

/* The magnitude of an age: the whole part of log2 of its nanoseconds, -1 when there is none. */
static int rank_magnitude(int64_t since_s, int64_t now_us)
{
    int64_t age_us = now_us - since_s * 1000000;
    if (age_us <= 0) {
        return -1;
    }
    uint64_t ns = age_us > INT64_MAX / 1000 ? (uint64_t)INT64_MAX : (uint64_t)age_us * 1000;
    return 63 - __builtin_clzll(ns);
}

/* The later one goes first; one that is not said goes before all. Ages of one magnitude are as good
 * as equal, and the uid, which is random, decides. 0: the times are the same. */
static int rank_compare_times(int64_t a_s, int64_t b_s, const struct rank_pod *a,
                              const struct rank_pod *b, int64_t now_us)
{
    if (a_s == b_s) {
        return 0;
    }
    if (a_s == INSTANT_UNSET || b_s == INSTANT_UNSET) {
        return a_s == INSTANT_UNSET ? -1 : 1;
    }
    int diff = rank_magnitude(a_s, now_us) - rank_magnitude(b_s, now_us);
    return diff != 0 ? diff : slice_cmp(a->uid, b->uid);
}

static int rank_order(int64_t a, int64_t b)
{
    return a < b ? -1 : a > b;
}

int rank_compare(const struct rank_pod *a, const struct rank_pod *b, int64_t now_us)
{
    int c = rank_order(a->node.len > 0, b->node.len > 0);
    c = c != 0 ? c : rank_order(a->phase, b->phase);
    c = c != 0 ? c : rank_order(a->ready, b->ready);
    c = c != 0 ? c : rank_order(a->cost, b->cost);
    c = c != 0 ? c : rank_order(b->together, a->together);
    if (c == 0 && a->ready && b->ready) {
        c = rank_compare_times(a->ready_s, b->ready_s, a, b, now_us);
    }
    c = c != 0 ? c : rank_order(b->restarts, a->restarts);
    c = c != 0 ? c : rank_order(b->init_restarts, a->init_restarts);
    return c != 0 ? c : rank_compare_times(a->created_s, b->created_s, a, b, now_us);
}

static int rank_qsort(const void *a, const void *b, void *now_us)
{
    return rank_compare(a, b, *(const int64_t *)now_us);
}

void rank_sort(struct rank_pod *pods, size_t count, int64_t now_us)
{
    if (count > 1) {
        qsort_r(pods, count, sizeof *pods, rank_qsort, &now_us);
    }
}
