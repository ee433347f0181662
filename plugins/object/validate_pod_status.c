/* validate_pod_status.c - what a pod's status may become. */
#include "plugins/object/validate_kinds.h"

static const struct value *status_of(const struct value *list, struct slice name)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_CONTAINER_STATUS);
    for (size_t i = 0; i < value_len(list); i++) {
        if (slice_eq(value_slice(value_find(t, &list->items[i], "name")), name)) {
            return &list->items[i];
        }
    }
    return NULL;
}

/* A container that has ended stays so, unless it is to be started again. */
static void container_states(const struct validate_at *at, const struct object *old,
                             const char *list, const char *path)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_CONTAINER_STATUS);
    const struct place *p = PLACE_FIELD(PLACE_FIELD(at->place, "status"), list);
    const struct value *now = validate_get(at, path);
    const struct value *before = object_get(old, path);
    struct slice policy = object_text(old, "spec.restartPolicy");
    if (slice_eq(policy, slice_str("Always"))) {
        return;
    }
    for (size_t i = 0; i < value_len(now); i++) {
        struct slice name = value_slice(value_find(t, &now->items[i], "name"));
        const struct value *was = status_of(before, name);
        if (was == NULL || value_at(t, was, "state.terminated") == NULL ||
            value_at(t, &now->items[i], "state.terminated") != NULL) {
            continue;
        }
        const struct value *code = value_at(t, was, "state.terminated.exitCode");
        bool failed = code != NULL && code->integer != 0;
        if (!(failed && slice_eq(policy, slice_str("OnFailure")))) {
            cause_forbidden(at->causes, PLACE_FIELD(PLACE_INDEX(p, i), "state"),
                            "may not be transitioned to non-terminated state");
        }
    }
}

void validate_pod_status_update(const struct validate_at *at, const struct object *old)
{
    struct slice nominated = validate_text(at, "status.nominatedNodeName");
    if (nominated.len > 0) {
        validate_name(at->causes, NAME_SUBDOMAIN,
                      PLACE_FIELD(PLACE_FIELD(at->place, "status"), "nominatedNodeName"),
                      nominated);
    }
    container_states(at, old, "containerStatuses", "status.containerStatuses");
    container_states(at, old, "initContainerStatuses", "status.initContainerStatuses");
}
