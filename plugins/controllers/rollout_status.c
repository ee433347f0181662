/* rollout_status.c - a deployment's status: counts, and conditions Available, Progressing and
 * ReplicaFailure. */
#include <stdio.h>

#include "plugins/controllers/rollout.h"

/* ---- conditions ----------------------------------------------------------------------------- */

static const struct schema_type *rollout_condition_type(void)
{
    return schema_type(SCHEMA_APPS_V1_DEPLOYMENT_CONDITION);
}

/* Position of a condition; -1 = it is not there. */
static int rollout_find_condition(const struct object *d, const char *type)
{
    const struct value *list = object_get(d, "status.conditions");
    for (size_t i = 0; i < value_len(list); i++) {
        if (value_is_text(value_find(rollout_condition_type(), &list->items[i], "type"), type)) {
            return (int)i;
        }
    }
    return -1;
}

static const struct value *rollout_condition_at(const struct object *d, const char *type,
                                                const char *member)
{
    int at = rollout_find_condition(d, type);
    return at < 0 ? NULL
                  : value_find(rollout_condition_type(),
                               &object_get(d, "status.conditions")->items[at], member);
}

struct slice rollout_condition_text(const struct object *d, const char *type, const char *member)
{
    return value_slice(rollout_condition_at(d, type, member));
}

static bool rollout_condition_is(const struct object *d, const char *type, const char *member,
                                 const char *text)
{
    return value_is_text(rollout_condition_at(d, type, member), text);
}

static int64_t rollout_condition_time(const struct object *d, const char *type, const char *member)
{
    const struct value *v = rollout_condition_at(d, type, member);
    return v != NULL && v->kind == VALUE_INT ? v->integer : 0;
}

static void rollout_drop_condition(struct object *d, const char *type)
{
    int at = rollout_find_condition(d, type);
    if (at >= 0) {
        value_remove_item(object_get(d, "status.conditions"), (size_t)at);
    }
}

/* Behind the others, with both times given. */
static int rollout_add_condition(struct object *d, const char *type, struct slice status,
                                 struct slice reason, struct slice message, int64_t update_s,
                                 int64_t transition_s)
{
    struct value *unused;
    char path[64];
    size_t at = value_len(object_get(d, "status.conditions"));
    int rc = object_append(d, "status.conditions", value_empty(VALUE_MESSAGE), &unused);
    struct {
        const char *name;
        struct slice text;
    } texts[] = {
        {"type", slice_str(type)}, {"status", status}, {"reason", reason}, {"message", message}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0] && rc == 0; i++) {
        snprintf(path, sizeof path, "status.conditions[%zu].%s", at, texts[i].name);
        rc = object_set_text(d, path, texts[i].text);
    }
    snprintf(path, sizeof path, "status.conditions[%zu].lastUpdateTime", at);
    rc = rc == 0 ? object_set_int(d, path, update_s) : rc;
    snprintf(path, sizeof path, "status.conditions[%zu].lastTransitionTime", at);
    return rc == 0 ? object_set_int(d, path, transition_s) : rc;
}

/* A condition that says the same already stays; one of the same status keeps when it came to it. */
static int rollout_set_condition(struct object *d, const char *type, struct slice status,
                                 struct slice reason, struct slice message, int64_t update_s,
                                 int64_t transition_s)
{
    bool same = slice_eq(rollout_condition_text(d, type, "status"), status);
    if (same && slice_eq(rollout_condition_text(d, type, "reason"), reason)) {
        return 0;
    }
    if (same) {
        transition_s = rollout_condition_time(d, type, "lastTransitionTime");
    }
    rollout_drop_condition(d, type);
    return rollout_add_condition(d, type, status, reason, message, update_s, transition_s);
}

int rollout_condition(struct object *d, const char *type, const char *status, const char *reason,
                      struct slice message, int64_t now_s)
{
    return rollout_set_condition(d, type, slice_str(status), slice_str(reason), message, now_s,
                                 now_s);
}

bool rollout_has_deadline(const struct object *d)
{
    return object_int(d, "spec.progressDeadlineSeconds", INT32_MAX) != INT32_MAX;
}

int rollout_note_paused(struct rollout *r)
{
    bool paused = object_bool(&r->d, "spec.paused", false);
    bool noted = rollout_condition_is(&r->d, "Progressing", "reason", "DeploymentPaused");
    int64_t now_s = r->now_us / 1000000;
    if (!rollout_has_deadline(&r->d) ||
        rollout_condition_is(&r->d, "Progressing", "reason", "ProgressDeadlineExceeded") ||
        paused == noted) {
        return 0;
    }
    return paused ? rollout_condition(&r->d, "Progressing", "Unknown", "DeploymentPaused",
                                      slice_str("Deployment is paused"), now_s)
                  : rollout_condition(&r->d, "Progressing", "Unknown", "DeploymentResumed",
                                      slice_str("Deployment is resumed"), now_s);
}

/* ---- counts --------------------------------------------------------------------------------- */

bool rollout_is_complete(const struct object *d)
{
    int64_t wanted = object_int(d, "spec.replicas", 1);
    return object_int(d, "status.updatedReplicas", 0) == wanted &&
           object_int(d, "status.replicas", 0) == wanted &&
           object_int(d, "status.availableReplicas", 0) == wanted &&
           object_int(d, "status.observedGeneration", 0) >= object_int(d, "metadata.generation", 0);
}

static int rollout_count(struct rollout *r)
{
    struct object *d = &r->d;
    const struct rollout_set *fresh = rollout_fresh(r);
    int64_t actual = 0;
    int64_t ready = 0;
    int64_t available = 0;
    int64_t terminating = -1;
    for (size_t i = 0; i < r->count; i++) {
        const struct rollout_set *s = &r->sets[i];
        actual += s->actual;
        ready += s->ready;
        available += s->available;
        if (s->terminating >= 0) {
            terminating = (terminating < 0 ? 0 : terminating) + s->terminating;
        }
    }
    int64_t missing = rollout_total(r) - available;
    int rc =
        object_set_int(d, "status.observedGeneration", object_int(d, "metadata.generation", 0));
    rc = rc == 0 ? object_set_int(d, "status.replicas", actual) : rc;
    rc = rc == 0 ? object_set_int(d, "status.updatedReplicas", fresh == NULL ? 0 : fresh->actual)
                 : rc;
    rc = rc == 0 ? object_set_int(d, "status.readyReplicas", ready) : rc;
    rc = rc == 0 ? object_set_int(d, "status.availableReplicas", available) : rc;
    rc = rc == 0 ? object_set_int(d, "status.unavailableReplicas", missing < 0 ? 0 : missing) : rc;
    if (rc == 0 && terminating >= 0) {
        rc = object_set_int(d, "status.terminatingReplicas", terminating);
    } else if (rc == 0) {
        object_remove(d, "status.terminatingReplicas");
    }
    if (rc != 0) {
        return rc;
    }
    int64_t now_s = r->now_us / 1000000;
    bool enough = available >= (int64_t)rollout_wanted(r) - rollout_max_unavailable(r);
    return enough ? rollout_condition(d, "Available", "True", "MinimumReplicasAvailable",
                                      slice_str("Deployment has minimum availability."), now_s)
                  : rollout_condition(d, "Available", "False", "MinimumReplicasUnavailable",
                                      slice_str("Deployment does not have minimum availability."),
                                      now_s);
}

/* ---- progress ------------------------------------------------------------------------------- */

/* More new pods, fewer old ones, more ready or available than before. */
static bool rollout_has_progressed(const struct object *now, const struct object *before)
{
    int64_t updated = object_int(now, "status.updatedReplicas", 0);
    int64_t was_updated = object_int(before, "status.updatedReplicas", 0);
    int64_t old = object_int(now, "status.replicas", 0) - updated;
    int64_t was_old = object_int(before, "status.replicas", 0) - was_updated;
    return updated > was_updated || old < was_old ||
           object_int(now, "status.readyReplicas", 0) >
               object_int(before, "status.readyReplicas", 0) ||
           object_int(now, "status.availableReplicas", 0) >
               object_int(before, "status.availableReplicas", 0);
}

static int64_t rollout_deadline_us(const struct object *d)
{
    return (rollout_condition_time(d, "Progressing", "lastUpdateTime") +
            object_int(d, "spec.progressDeadlineSeconds", 0)) *
           1000000;
}

static bool rollout_has_timed_out(const struct rollout *r)
{
    const struct object *d = &r->d;
    if (rollout_find_condition(d, "Progressing") < 0 ||
        rollout_condition_is(d, "Progressing", "reason", "NewReplicaSetAvailable")) {
        return false;
    }
    return rollout_condition_is(d, "Progressing", "reason", "ProgressDeadlineExceeded") ||
           rollout_deadline_us(d) < r->now_us;
}

/* A sentence about the new set, or about the deployment when there is none. */
static struct slice rollout_sentence(const struct rollout *r, const char *what, char *out,
                                     size_t room)
{
    const struct rollout_set *fresh = rollout_fresh(r);
    const struct object *o = fresh != NULL ? &fresh->o : &r->d;
    struct slice name = object_text(o, "metadata.name");
    snprintf(out, room, "%s \"%.*s\" has %s.", fresh != NULL ? "ReplicaSet" : "Deployment",
             (int)name.len, (const char *)name.data, what);
    return slice_str(out);
}

/* Progress counts from now on, also when the reason is the same as before. */
static int rollout_note_progress(struct rollout *r)
{
    struct object *d = &r->d;
    const struct rollout_set *fresh = rollout_fresh(r);
    struct slice name = object_text(fresh != NULL ? &fresh->o : d, "metadata.name");
    int64_t now_s = r->now_us / 1000000;
    int64_t since_s = now_s;
    char text[320];
    if (rollout_condition_is(d, "Progressing", "status", "True")) {
        since_s = rollout_condition_time(d, "Progressing", "lastTransitionTime");
    }
    snprintf(text, sizeof text, "%s \"%.*s\" is progressing.",
             fresh != NULL ? "ReplicaSet" : "Deployment", (int)name.len, (const char *)name.data);
    rollout_drop_condition(d, "Progressing");
    return rollout_add_condition(d, "Progressing", slice_str("True"),
                                 slice_str("ReplicaSetUpdated"), slice_str(text), now_s, since_s);
}

static int rollout_judge_progress(struct rollout *r, const struct object *before)
{
    struct object *d = &r->d;
    char text[320];
    int64_t now_s = r->now_us / 1000000;
    if (!rollout_has_deadline(d)) {
        rollout_drop_condition(d, "Progressing");
        return 0;
    }
    bool over = object_int(d, "status.replicas", 0) == object_int(d, "status.updatedReplicas", 0) &&
                rollout_condition_is(d, "Progressing", "reason", "NewReplicaSetAvailable");
    if (over) {
        return 0;
    }
    if (rollout_is_complete(d)) {
        return rollout_condition(d, "Progressing", "True", "NewReplicaSetAvailable",
                                 rollout_sentence(r, "successfully progressed", text, sizeof text),
                                 now_s);
    }
    if (rollout_has_progressed(d, before)) {
        return rollout_note_progress(r);
    }
    if (rollout_has_timed_out(r)) {
        return rollout_condition(d, "Progressing", "False", "ProgressDeadlineExceeded",
                                 rollout_sentence(r, "timed out progressing", text, sizeof text),
                                 now_s);
    }
    return 0;
}

/* ---- failures of sets ----------------------------------------------------------------------- */

static const struct value *rollout_set_failure(const struct rollout_set *s)
{
    const struct schema_type *t = schema_type(SCHEMA_APPS_V1_REPLICA_SET_CONDITION);
    const struct value *list = object_get(&s->o, "status.conditions");
    for (size_t i = 0; i < value_len(list); i++) {
        if (value_is_text(value_find(t, &list->items[i], "type"), "ReplicaFailure")) {
            return &list->items[i];
        }
    }
    return NULL;
}

/* The new set's failure, else the first of an old one, is the deployment's. */
static int rollout_copy_failure(struct rollout *r)
{
    const struct schema_type *t = schema_type(SCHEMA_APPS_V1_REPLICA_SET_CONDITION);
    const struct rollout_set *fresh = rollout_fresh(r);
    const struct value *c = fresh != NULL ? rollout_set_failure(fresh) : NULL;
    for (size_t i = 0; i < r->count && c == NULL; i++) {
        c = rollout_set_failure(&r->sets[i]);
    }
    if (c == NULL) {
        rollout_drop_condition(&r->d, "ReplicaFailure");
        return 0;
    }
    const struct value *since = value_find(t, c, "lastTransitionTime");
    int64_t since_s = since != NULL && since->kind == VALUE_INT ? since->integer : 0;
    return rollout_set_condition(&r->d, "ReplicaFailure", value_slice(value_find(t, c, "status")),
                                 value_slice(value_find(t, c, "reason")),
                                 value_slice(value_find(t, c, "message")), since_s, since_s);
}

/* ---- all of it ------------------------------------------------------------------------------ */

int rollout_status(struct rollout *r, const struct object *before, bool *changed, int64_t *again_ms)
{
    const struct schema_field *status = schema_find(r->d.type, slice_str("status"));
    int rc = rollout_count(r);
    *again_ms = 0;
    if (rc == 0 && r->step_only) {
        rc = rollout_judge_progress(r, before);
        rc = rc == 0 ? rollout_copy_failure(r) : rc;
    }
    *changed =
        rc == 0 &&
        (!value_equal_field(status, object_get(before, "status"), object_get(&r->d, "status")) ||
         !value_equal(schema_type(SCHEMA_META_V1_OBJECT_META), object_get(before, "metadata"),
                      object_get(&r->d, "metadata")));
    if (rc == 0 && !*changed && r->step_only && rollout_has_deadline(&r->d) &&
        rollout_find_condition(&r->d, "Progressing") >= 0 && !rollout_is_complete(&r->d) &&
        !rollout_condition_is(&r->d, "Progressing", "reason", "ProgressDeadlineExceeded")) {
        int64_t left_ms = (rollout_deadline_us(&r->d) - r->now_us) / 1000;
        *again_ms = (left_ms < 0 ? 0 : left_ms) + 1000;
    }
    return rc;
}
