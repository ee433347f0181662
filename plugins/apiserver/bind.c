/* bind.c - pods/binding: a pod gets its node, once. */
#include "plugins/apiserver/body.h"
#include "plugins/apiserver/condition.h"
#include "plugins/apiserver/sub.h"
#include "plugins/apiserver/update.h"

/* The binding says what is needed. False: answered. */
static bool bind_check(struct exchange *ex, const struct object *binding)
{
    const struct place *target = PLACE_FIELD(NULL, "target");
    struct slice kind = object_text(binding, "target.kind");
    struct causes *c = arena_alloc(&ex->arena, sizeof *c);
    if (c == NULL) {
        exchange_no_memory(ex);
        return false;
    }
    causes_init(c, &ex->arena);
    if (kind.len > 0 && !slice_eq(kind, slice_str("Node"))) {
        cause_not_supported(c, PLACE_FIELD(target, "kind"), kind, "<empty>,Node");
    }
    if (object_text(binding, "target.name").len == 0) {
        cause_required(c, PLACE_FIELD(target, "name"), "");
    }
    if (c->count > 0) {
        exchange_fail(ex, status_invalid(&ex->arena, slice_of("", 0), slice_str("Binding"),
                                         object_text(binding, "metadata.name"), c));
        return false;
    }
    return true;
}

/* The pod is the one that is meant, and has no node yet. False: answered. */
static bool bind_check_pod(struct exchange *ex, const struct object *binding,
                           const struct object *pod)
{
    struct status_about about = request_about(&ex->request);
    struct slice name = ex->request.name;
    struct slice node = object_text(pod, "spec.nodeName");
    struct slice version = object_text(binding, "metadata.resourceVersion");
    if (!update_check_uid(ex, object_text(binding, "metadata.uid"), pod)) {
        return false;
    }
    if (version.len > 0 && !slice_eq(version, object_text(pod, "metadata.resourceVersion"))) {
        exchange_fail(ex, status_modified(&ex->arena, &about));
        return false;
    }
    about.resource = slice_str("pods/binding");
    if (object_get(pod, "metadata.deletionTimestamp") != NULL) {
        exchange_fail(ex, status_conflict(&ex->arena, &about,
                                          "pod %.*s is being deleted, cannot be assigned to a host",
                                          (int)name.len, (const char *)name.data));
        return false;
    }
    if (node.len > 0) {
        exchange_fail(ex, status_conflict(&ex->arena, &about,
                                          "pod %.*s is already assigned to node \"%.*s\"",
                                          (int)name.len, (const char *)name.data, (int)node.len,
                                          (const char *)node.data));
        return false;
    }
    if (value_len(object_get(pod, "spec.schedulingGates")) > 0) {
        exchange_fail(ex, status_conflict(&ex->arena, &about,
                                          "pod %.*s has non-empty .spec.schedulingGates",
                                          (int)name.len, (const char *)name.data));
        return false;
    }
    return true;
}

/* Adds the binding's labels or annotations to the pod's. */
static int bind_merge(struct object *pod, const struct object *binding, const char *path)
{
    const struct value *more = object_get(binding, path);
    struct value *map;
    if (value_len(more) == 0) {
        return 0;
    }
    int rc = object_make(pod, path, &map);
    for (size_t i = 0; i < value_len(more) && rc == 0; i++) {
        rc = value_map_set(pod->arena, map, value_map_key(more, i), *value_map_at(more, i)) == NULL
                 ? ERR_NOMEM
                 : 0;
    }
    return rc;
}

static bool bind_make(struct update *u, const struct object *old, struct object *new)
{
    struct exchange *ex = u->ex;
    struct condition scheduled = {.type = "PodScheduled", .status = "True"};
    if (!bind_check_pod(ex, &u->given, old)) {
        return false;
    }
    int rc = object_copy(old, &ex->arena, new);
    rc =
        rc == 0 ? object_set_text(new, "spec.nodeName", object_text(&u->given, "target.name")) : rc;
    rc = rc == 0 ? bind_merge(new, &u->given, "metadata.annotations") : rc;
    rc = rc == 0 ? bind_merge(new, &u->given, "metadata.labels") : rc;
    rc = rc == 0 ? condition_set(new, &scheduled, u->seconds) : rc;
    if (rc != 0) {
        exchange_no_memory(ex);
        return false;
    }
    object_remove(new, "status.nominatedNodeName");
    return true;
}

static void bind_answer(struct update *u, struct object *now, int64_t revision)
{
    sub_answer_done(u->ex, revision);
}

static void bind_run(struct exchange *ex, struct update *u)
{
    if (bind_check(ex, &u->given)) {
        u->make = bind_make;
        u->answer = bind_answer;
        u->bare = true;
        update_run(u);
    }
}

static bool bind_decode(struct exchange *ex, void *data)
{
    struct update *u = data;
    return body_decode(ex, &u->given);
}

static void bind_decoded(void *data)
{
    struct update *u = data;
    if (sub_check_name(u->ex, &u->given, "Binding")) {
        bind_run(u->ex, u);
    }
}

void sub_bind(struct exchange *ex)
{
    struct update *u = update_new(ex);
    if (u != NULL && body_check_options(ex, "CreateOptions")) {
        exchange_work(ex, body_bytes(ex), bind_decode, bind_decoded, u);
    }
}

static void bind_legacy_decoded(void *data)
{
    struct update *u = data;
    struct exchange *ex = u->ex;
    ex->request.name = object_text(&u->given, "metadata.name");
    if (ex->request.name.len == 0) {
        exchange_fail(ex, status_bad_request(&ex->arena, "Name parameter required."));
        return;
    }
    /* From here on it is about the pod. */
    ex->request.type = schema_type(SCHEMA_CORE_V1_POD);
    ex->request.kind = schema_resource_of(ex->request.type);
    ex->request.resource = slice_str("pods");
    ex->request.sub = slice_str("binding");
    bind_run(ex, u);
}

void sub_bind_legacy(struct exchange *ex)
{
    struct update *u = update_new(ex);
    if (u != NULL && body_check_options(ex, "CreateOptions")) {
        exchange_work(ex, body_bytes(ex), bind_decode, bind_legacy_decoded, u);
    }
}
