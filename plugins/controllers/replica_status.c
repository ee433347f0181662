/* replica_status.c - counting pods, and the status made of it. */
#include "plugins/controllers/replica_status.h"

#include <stdio.h>

void replica_count(struct replica_counts *n, const struct replica_look *pod,
                   const struct label_selector *template, int64_t min_ready_s, int64_t now_s)
{
    if (!pod->active) {
        n->terminating += pod->terminating;
        return;
    }
    int64_t in = replica_available_in(pod, min_ready_s, now_s);
    n->active++;
    n->labeled += label_selector_matches(template, pod->labels);
    n->ready += pod->ready;
    n->available += in == 0;
    if (in > 0 && (n->next_s == 0 || in < n->next_s)) {
        n->next_s = in;
    }
}

static int replica_set_count(struct object *o, const char *path, int64_t n)
{
    return object_set_int(o, path, n);
}

/* Position of condition ReplicaFailure; -1 = it is not there. */
static int replica_find_failure(const struct object *o)
{
    const struct value *list = object_get(o, "status.conditions");
    char path[64];
    for (size_t i = 0; i < value_len(list); i++) {
        snprintf(path, sizeof path, "status.conditions[%zu].type", i);
        if (value_is_text(object_get(o, path), "ReplicaFailure")) {
            return (int)i;
        }
    }
    return -1;
}

static int replica_add_failure(struct object *o, const char *reason, struct slice message,
                               int64_t now_s)
{
    struct value *unused;
    char path[64];
    size_t at = value_len(object_get(o, "status.conditions"));
    int rc = object_append(o, "status.conditions", value_empty(VALUE_MESSAGE), &unused);
    snprintf(path, sizeof path, "status.conditions[%zu].type", at);
    rc = rc == 0 ? object_set_str(o, path, "ReplicaFailure") : rc;
    snprintf(path, sizeof path, "status.conditions[%zu].status", at);
    rc = rc == 0 ? object_set_str(o, path, "True") : rc;
    snprintf(path, sizeof path, "status.conditions[%zu].lastTransitionTime", at);
    rc = rc == 0 ? object_set_int(o, path, now_s) : rc;
    snprintf(path, sizeof path, "status.conditions[%zu].reason", at);
    rc = rc == 0 ? object_set_str(o, path, reason) : rc;
    snprintf(path, sizeof path, "status.conditions[%zu].message", at);
    return rc == 0 ? object_set_text(o, path, message) : rc;
}

int replica_status_set(struct object *owner, const struct replica_counts *n, const char *failed,
                       struct slice message, int64_t now_s, bool *changed)
{
    const struct schema_field *field = schema_find(owner->type, slice_str("status"));
    const struct value *was = object_get(owner, "status");
    struct value before;
    *changed = false;
    int rc = was == NULL ? 0 : value_copy_shared(owner->arena, was, &before);
    rc = rc == 0 ? replica_set_count(owner, "status.replicas", n->active) : rc;
    rc = rc == 0 ? replica_set_count(owner, "status.fullyLabeledReplicas", n->labeled) : rc;
    rc = rc == 0 ? replica_set_count(owner, "status.readyReplicas", n->ready) : rc;
    rc = rc == 0 ? replica_set_count(owner, "status.availableReplicas", n->available) : rc;
    if (rc == 0 && owner->type == schema_type(SCHEMA_APPS_V1_REPLICA_SET)) {
        rc = replica_set_count(owner, "status.terminatingReplicas", n->terminating);
    }
    rc = rc == 0 ? object_set_int(owner, "status.observedGeneration",
                                  object_int(owner, "metadata.generation", 0))
                 : rc;
    int at = replica_find_failure(owner);
    if (rc == 0 && failed != NULL && at < 0) {
        rc = replica_add_failure(owner, failed, message, now_s);
    } else if (rc == 0 && failed == NULL && at >= 0) {
        value_remove_item(object_get(owner, "status.conditions"), (size_t)at);
    }
    *changed =
        rc == 0 && (was == NULL || !value_equal_field(field, &before, object_get(owner, "status")));
    return rc;
}
