/* scale.c - how many replicas a workload wants, in the same words for each kind. */
#include <stdio.h>

#include "plugins/apiserver/body.h"
#include "plugins/apiserver/sub.h"
#include "plugins/apiserver/update.h"
#include "plugins/object/labels.h"

/* The text of a workload's selector. */
static int scale_selector(const struct object *o, struct object *scale)
{
    const struct value *selector = object_get(o, "spec.selector");
    struct label_selector s = {0};
    struct errmsg e = {.text = ""};
    struct buf text;
    if (selector == NULL) {
        return 0;
    }
    bool plain = o->type == schema_type(SCHEMA_CORE_V1_REPLICATION_CONTROLLER);
    int rc = plain ? label_selector_from_map(selector, scale->arena, &s)
                   : label_selector_from(selector, scale->arena, &s, &e);
    if (rc != 0) {
        return rc;
    }
    buf_init(&text);
    label_selector_print(&s, &text);
    rc = text.failed ? ERR_NOMEM : object_set_text(scale, "status.selector", buf_slice(&text));
    buf_close(&text);
    return rc;
}

/* The scale of a workload, as clients see it. 0 or an error. */
static int scale_of(const struct object *o, struct object *scale)
{
    static const char *const same[] = {"metadata.name", "metadata.namespace", "metadata.uid",
                                       "metadata.resourceVersion"};
    int rc = object_new(scale, schema_type(SCHEMA_AUTOSCALING_V1_SCALE), o->arena);
    for (size_t i = 0; i < sizeof same / sizeof same[0] && rc == 0; i++) {
        rc = object_set_text(scale, same[i], object_text(o, same[i]));
    }
    rc = rc == 0 ? object_set_int(scale, "metadata.creationTimestamp",
                                  object_int(o, "metadata.creationTimestamp", 0))
                 : rc;
    rc = rc == 0 ? object_set_int(scale, "spec.replicas", object_int(o, "spec.replicas", 0)) : rc;
    rc = rc == 0 ? object_set_int(scale, "status.replicas", object_int(o, "status.replicas", 0))
                 : rc;
    return rc == 0 ? scale_selector(o, scale) : rc;
}

static void scale_answer(struct exchange *ex, const struct object *o)
{
    struct object scale;
    int rc = scale_of(o, &scale);
    if (rc == ERR_NOMEM) {
        exchange_no_memory(ex);
    } else if (rc != 0) {
        exchange_fail(ex, status_internal(&ex->arena, "the selector of the object is not valid"));
    } else {
        sub_answer_object(ex, 200, &scale);
    }
}

/* ---- update and patch ---- */

/* The scale that is wanted is possible. False: answered. */
static bool scale_check(struct exchange *ex, const struct object *scale)
{
    int64_t replicas = object_int(scale, "spec.replicas", 0);
    if (replicas >= 0) {
        return true;
    }
    struct causes *c = arena_alloc(&ex->arena, sizeof *c);
    if (c == NULL) {
        exchange_no_memory(ex);
        return false;
    }
    causes_init(c, &ex->arena);
    cause_invalid_int(c, PLACE_FIELD(PLACE_FIELD(NULL, "spec"), "replicas"), replicas,
                      "must be greater than or equal to 0");
    exchange_fail(ex, status_invalid(&ex->arena, slice_str("autoscaling"), slice_str("Scale"),
                                     ex->request.name, c));
    return false;
}

static bool scale_make(struct update *u, const struct object *old, struct object *new)
{
    struct exchange *ex = u->ex;
    struct object before;
    struct object wanted = u->given;
    if (u->patch) {
        if (scale_of(old, &before) != 0) {
            exchange_no_memory(ex);
            return false;
        }
        if (!update_patch(u, &before, &wanted) || !update_check_name(ex, &wanted)) {
            return false;
        }
    }
    if (!scale_check(ex, &wanted)) {
        return false;
    }
    static const char *const conditions[] = {"metadata.uid", "metadata.resourceVersion"};
    int rc = object_copy(old, &ex->arena, new);
    rc = rc == 0 ? object_set_int(new, "spec.replicas", object_int(&wanted, "spec.replicas", 0))
                 : rc;
    for (size_t i = 0; i < 2 && rc == 0; i++) {
        struct slice text = object_text(&wanted, conditions[i]);
        rc = text.len > 0 ? object_set_text(new, conditions[i], text) : 0;
    }
    if (rc != 0) {
        exchange_no_memory(ex);
        return false;
    }
    return true;
}

static void scale_done(struct update *u, struct object *now, int64_t revision)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)revision);
    u->ex->revision = revision;
    if (object_set_str(now, "metadata.resourceVersion", text) != 0) {
        exchange_no_memory(u->ex);
    } else {
        scale_answer(u->ex, now);
    }
}

static bool scale_decode(struct exchange *ex, void *data)
{
    struct update *u = data;
    return body_decode(ex, &u->given) && update_check_name(ex, &u->given);
}

void sub_scale(struct exchange *ex)
{
    bool patch = ex->request.verb == REQUEST_PATCH;
    if (ex->request.verb == REQUEST_GET) {
        sub_read(ex, scale_answer);
        return;
    }
    struct update *u = update_new(ex);
    if (u == NULL || (patch && !update_read_patch(u)) ||
        !body_check_options(ex, patch ? "PatchOptions" : "UpdateOptions")) {
        return;
    }
    u->make = scale_make;
    u->answer = scale_done;
    if (patch) {
        update_run(u);
    } else {
        exchange_work(ex, body_bytes(ex), scale_decode, update_go, u);
    }
}
