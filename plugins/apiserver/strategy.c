/* strategy.c - rules of single kinds. */
#include "plugins/apiserver/strategy.h"

static bool is_kind(const struct object *o, enum schema_type_id id)
{
    return o->type == schema_type(id);
}

bool strategy_has_status(const struct schema_type *t)
{
    const struct schema_resource *r = schema_resource_of(t);
    const struct schema_sub *subs = schema_at(r, r->subs);
    for (size_t i = 0; i < r->sub_count; i++) {
        if (strcmp(schema_text(subs + i, subs[i].name), "status") == 0) {
            return true;
        }
    }
    return false;
}

/* to's part is made from's, also when that has none. */
static int strategy_keep(struct object *to, const struct object *from, const char *path)
{
    const struct value *v = object_get(from, path);
    struct value copy;
    object_remove(to, path);
    if (v == NULL) {
        return 0;
    }
    int rc = value_copy(to->arena, v, &copy);
    return rc == 0 ? object_set(to, path, copy) : rc;
}

static bool list_has(const struct value *list, const char *text)
{
    for (size_t i = 0; i < value_len(list); i++) {
        if (value_is_text(&list->items[i], text)) {
            return true;
        }
    }
    return false;
}

/* As a pod's containers ask: all limits equal to requests, some, or none. */
static const char *pod_qos(const struct object *o)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_CONTAINER);
    static const char *const lists[] = {"spec.containers", "spec.initContainers"};
    bool some = false;
    bool all = true;
    for (size_t l = 0; l < 2; l++) {
        const struct value *list = object_get(o, lists[l]);
        for (size_t i = 0; i < value_len(list); i++) {
            const struct value *limits = value_at(t, &list->items[i], "resources.limits");
            const struct value *requests = value_at(t, &list->items[i], "resources.requests");
            static const char *const names[] = {"cpu", "memory"};
            for (size_t k = 0; k < 2; k++) {
                const struct value *limit = value_map_cget(limits, names[k]);
                const struct value *request = value_map_cget(requests, names[k]);
                some = some || limit != NULL || request != NULL;
                all = all && limit != NULL &&
                      (request == NULL || slice_eq(value_slice(limit), value_slice(request)));
            }
        }
    }
    return !some ? "BestEffort" : all ? "Guaranteed" : "Burstable";
}

void strategy_reset(struct object *o)
{
    /* Nodes register themselves with their status. */
    if (strategy_has_status(o->type) && !is_kind(o, SCHEMA_CORE_V1_NODE)) {
        object_remove(o, "status");
    }
}

int strategy_create(struct object *o)
{
    if (is_kind(o, SCHEMA_CORE_V1_POD)) {
        int rc = object_set_str(o, "status.phase", "Pending");
        return rc == 0 ? object_set_str(o, "status.qosClass", pod_qos(o)) : rc;
    }
    if (is_kind(o, SCHEMA_CORE_V1_NAMESPACE)) {
        int rc = object_set_str(o, "status.phase", "Active");
        if (rc == 0 && !list_has(object_get(o, "spec.finalizers"), "kubernetes")) {
            struct value *unused;
            rc = object_append(o, "spec.finalizers", value_text(slice_str("kubernetes")), &unused);
        }
        return rc;
    }
    return 0;
}

/* Everything but status and what the status way may say about metadata. */
static int strategy_update_status(struct object *new, const struct object *old)
{
    const struct schema_field *fields = schema_fields(old->type);
    int rc = 0;
    for (unsigned i = 0; i < old->type->field_count && rc == 0; i++) {
        const char *name = schema_field_name(fields + i);
        if (fields[i].number != 0 && strcmp(name, "metadata") != 0 && strcmp(name, "status") != 0) {
            rc = strategy_keep(new, old, name);
        }
    }
    if (rc == 0 && is_kind(new, SCHEMA_CORE_V1_POD)) {
        rc = strategy_keep(new, old, "metadata.ownerReferences");
    }
    if (rc == 0 && is_kind(new, SCHEMA_APPS_V1_DEPLOYMENT)) {
        rc = strategy_keep(new, old, "metadata.labels");
    }
    return rc;
}

int strategy_update(struct object *new, const struct object *old, struct slice sub)
{
    bool space = is_kind(new, SCHEMA_CORE_V1_NAMESPACE);
    if (slice_eq(sub, slice_str("status"))) {
        return strategy_update_status(new, old);
    }
    int rc = strategy_has_status(new->type) ? strategy_keep(new, old, "status") : 0;
    if (rc == 0 && space && sub.len == 0) {
        rc = strategy_keep(new, old, "spec.finalizers");
    }
    return rc;
}

int64_t strategy_grace(const struct object *o, int64_t asked)
{
    if (!is_kind(o, SCHEMA_CORE_V1_POD)) {
        return 0;
    }
    struct slice phase = object_text(o, "status.phase");
    if (object_text(o, "spec.nodeName").len == 0 || slice_eq(phase, slice_str("Succeeded")) ||
        slice_eq(phase, slice_str("Failed"))) {
        return 0;
    }
    int64_t grace = asked != -1 ? asked : object_int(o, "spec.terminationGracePeriodSeconds", 30);
    if (grace < 0) {
        grace = 1;
    }
    /* Deleted again: it may only be quicker. */
    if (object_get(o, "metadata.deletionTimestamp") != NULL) {
        int64_t before = object_int(o, "metadata.deletionGracePeriodSeconds", 0);
        grace = asked == -1 || before < grace ? before : grace;
    }
    return grace;
}

bool strategy_may_go(const struct object *o)
{
    return value_len(object_get(o, "metadata.finalizers")) == 0 &&
           (!is_kind(o, SCHEMA_CORE_V1_NAMESPACE) ||
            value_len(object_get(o, "spec.finalizers")) == 0);
}

bool strategy_is_immortal(const struct object *o)
{
    static const char *const names[] = {"default", "kube-system", "kube-public"};
    struct slice name = object_text(o, "metadata.name");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (is_kind(o, SCHEMA_CORE_V1_NAMESPACE) && slice_eq(name, slice_str(names[i]))) {
            return true;
        }
    }
    return false;
}

int strategy_mark_deleted(struct object *o)
{
    return is_kind(o, SCHEMA_CORE_V1_NAMESPACE) ? object_set_str(o, "status.phase", "Terminating")
                                                : 0;
}
