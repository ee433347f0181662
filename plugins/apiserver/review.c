/* review.c - reviews are answered. */
#include "plugins/apiserver/review.h"

#include <stdio.h>

#include "plugins/apiserver/bearer.h"
#include "plugins/apiserver/body.h"
#include "plugins/apiserver/gate.h"
#include "plugins/apiserver/issuer.h"
#include "plugins/apiserver/sub.h"
#include "plugins/object/object.h"

struct review {
    struct exchange *ex;
    void (*answer)(struct review *v);
    struct object o;
    struct causes causes;
    struct user user; /* whom it is about */
    struct access access;
    struct bearer bearer;
};

/* ---- users in objects ---------------------------------------------------------------------- */

static int review_add_text(struct object *o, const char *path, struct slice text)
{
    struct value *unused;
    return object_append(o, path, value_text(text), &unused);
}

/* UserInfo at a path that ends with a dot. */
static int review_set_user(struct object *o, const char *at, const struct user *u)
{
    char path[256];
    snprintf(path, sizeof path, "%susername", at);
    int rc = object_set_text(o, path, u->name);
    if (rc == 0 && u->uid.len > 0) {
        snprintf(path, sizeof path, "%suid", at);
        rc = object_set_text(o, path, u->uid);
    }
    snprintf(path, sizeof path, "%sgroups", at);
    for (size_t i = 0; i < u->group_count && rc == 0; i++) {
        rc = review_add_text(o, path, u->groups[i]);
    }
    snprintf(path, sizeof path, "%sextra", at);
    for (size_t i = 0; i < u->extra_count && rc == 0; i++) {
        struct value *map;
        rc = object_make(o, path, &map);
        struct value *list = rc == 0 ? value_map_get(map, u->extra[i].key) : NULL;
        if (rc == 0 && list == NULL) {
            list = value_map_set(o->arena, map, u->extra[i].key, value_empty(VALUE_LIST));
        }
        if (list == NULL || value_append(o->arena, list, value_text(u->extra[i].value)) == NULL) {
            rc = rc == 0 ? ERR_NOMEM : rc;
        }
    }
    return rc;
}

/* 201 with the review, or what went wrong. */
static void review_done(struct review *v, int rc)
{
    if (rc != 0) {
        exchange_fail(v->ex, rc == ERR_NOMEM
                                 ? status_internal(&v->ex->arena, "out of memory")
                                 : status_internal(&v->ex->arena, "the review cannot be written"));
        return;
    }
    sub_answer_object(v->ex, 201, &v->o);
}

/* False: answered, with all that is wrong. */
static bool review_is_valid(struct review *v)
{
    if (v->causes.count == 0) {
        return true;
    }
    exchange_fail(v->ex, status_invalid(&v->ex->arena, v->ex->request.group,
                                        slice_str(schema_type_name(v->o.type)), slice_of("", 0),
                                        &v->causes));
    return false;
}

/* ---- authentication ------------------------------------------------------------------------ */

static void review_self(struct review *v)
{
    review_done(v, review_set_user(&v->o, "status.userInfo.", &v->ex->user));
}

static void review_token_checked(struct bearer *b)
{
    struct review *v = b->data;
    struct object *o = &v->o;
    int rc = 0;
    if (b->good) {
        rc = object_set_bool(o, "status.authenticated", true);
        rc = rc == 0 ? review_set_user(o, "status.user.", &b->user) : rc;
        for (size_t i = 0; i < b->matched_count && rc == 0; i++) {
            rc = review_add_text(o, "status.audiences", b->matched[i]);
        }
    } else {
        bool bare = strcmp(b->error, "invalid bearer token") == 0;
        struct buf text;
        buf_init(&text);
        buf_printf(&text, bare ? "%s%s" : "[invalid bearer token, %s%s]", b->error, "");
        struct slice copy =
            text.failed ? slice_of(NULL, 0) : arena_dup(&v->ex->arena, buf_slice(&text));
        buf_close(&text);
        rc = copy.data == NULL ? ERR_NOMEM : object_set_text(o, "status.error", copy);
    }
    review_done(v, rc);
}

static void review_token(struct review *v)
{
    struct exchange *ex = v->ex;
    struct slice token = object_text(&v->o, "spec.token");
    const struct value *wanted = object_get(&v->o, "spec.audiences");
    if (token.len == 0) {
        exchange_fail(ex, status_bad_request(
                              &ex->arena, "token is required for TokenReview in authentication"));
        return;
    }
    v->bearer = (struct bearer){.ex = ex, .token = token, .done = review_token_checked, .data = v};
    for (size_t i = 0; i < value_len(wanted) && i < JWT_AUDIENCES_MAX; i++) {
        v->bearer.audiences[v->bearer.audience_count++] = value_slice(&wanted->items[i]);
    }
    bearer_check(&v->bearer);
}

/* ---- authorization ------------------------------------------------------------------------- */

/* What is asked about: exactly one of the two. */
static void review_read_access(struct review *v)
{
    const struct object *o = &v->o;
    const struct place *spec = PLACE_FIELD(NULL, "spec");
    bool resource = object_get(o, "spec.resourceAttributes") != NULL;
    bool path = object_get(o, "spec.nonResourceAttributes") != NULL;
    if (resource && path) {
        cause_invalid(&v->causes, PLACE_FIELD(spec, "nonResourceAttributes"), NULL, NULL,
                      "cannot be specified in combination with resourceAttributes");
    } else if (!resource && !path) {
        cause_invalid(&v->causes, PLACE_FIELD(spec, "resourceAttributes"), NULL, NULL,
                      "exactly one of nonResourceAttributes or resourceAttributes must be "
                      "specified");
    }
    v->access = (struct access){.is_resource = resource};
    if (resource) {
        v->access.verb = object_text(o, "spec.resourceAttributes.verb");
        v->access.group = object_text(o, "spec.resourceAttributes.group");
        v->access.resource = object_text(o, "spec.resourceAttributes.resource");
        v->access.sub = object_text(o, "spec.resourceAttributes.subresource");
        v->access.name = object_text(o, "spec.resourceAttributes.name");
        v->access.space = object_text(o, "spec.resourceAttributes.namespace");
    } else {
        v->access.verb = object_text(o, "spec.nonResourceAttributes.verb");
        v->access.path = object_text(o, "spec.nonResourceAttributes.path");
    }
}

/* Whom it is about. */
static void review_read_user(struct review *v)
{
    const struct value *groups = object_get(&v->o, "spec.groups");
    v->user = (struct user){.name = object_text(&v->o, "spec.user")};
    for (size_t i = 0; i < value_len(groups); i++) {
        if (!user_add_group(&v->user, value_slice(&groups->items[i]))) {
            cause_too_many(&v->causes, PLACE_FIELD(PLACE_FIELD(NULL, "spec"), "groups"),
                           value_len(groups), USER_GROUPS_MAX);
            return;
        }
    }
    if (v->user.name.len == 0 && v->user.group_count == 0) {
        cause_invalid_text(&v->causes, PLACE_FIELD(PLACE_FIELD(NULL, "spec"), "user"), v->user.name,
                           "at least one of user or group must be specified");
    }
}

static void review_decide(struct review *v, const struct user *u)
{
    struct object *o = &v->o;
    const char *reason = "insecure-allow-all";
    if (!review_is_valid(v)) {
        return;
    }
    bool allowed = v->ex->api->conf->insecure_allow_all || authorize_allows(u, &v->access, &reason);
    int rc = object_set_bool(o, "status.allowed", allowed);
    rc = rc == 0 && reason[0] != 0 ? object_set_str(o, "status.reason", reason) : rc;
    review_done(v, rc);
}

static void review_self_access(struct review *v)
{
    review_read_access(v);
    review_decide(v, &v->ex->user);
}

static void review_access(struct review *v)
{
    review_read_access(v);
    review_read_user(v);
    review_decide(v, &v->user);
}

static void review_local_access(struct review *v)
{
    const struct place *spec = PLACE_FIELD(NULL, "spec");
    review_read_access(v);
    if (v->access.is_resource && !slice_eq(v->access.space, v->ex->request.space)) {
        cause_invalid_text(&v->causes,
                           PLACE_FIELD(PLACE_FIELD(spec, "resourceAttributes"), "namespace"),
                           v->access.space, "must match metadata.namespace");
    } else if (!v->access.is_resource && v->causes.count == 0) {
        cause_invalid(&v->causes, PLACE_FIELD(spec, "nonResourceAttributes"), NULL, NULL,
                      "disallowed on this kind of request");
    }
    review_read_user(v);
    review_decide(v, &v->user);
}

static void review_rules(struct review *v)
{
    struct exchange *ex = v->ex;
    struct buf out;
    if (object_text(&v->o, "spec.namespace").len == 0) {
        exchange_fail(ex, status_bad_request(&ex->arena, "no namespace on request"));
        return;
    }
    struct errmsg e;
    struct object parsed;
    buf_init(&out);
    buf_append_str(&out, "{\"spec\":{},\"status\":{");
    authorize_print_rules(&ex->user, &out);
    buf_append_str(&out, ",\"incomplete\":false}}");
    int rc = out.failed ? ERR_NOMEM
                        : object_decode(&parsed, v->o.type, &ex->arena, buf_slice(&out), NULL, &e);
    buf_close(&out);
    const struct value *status = rc == 0 ? object_get(&parsed, "status") : NULL;
    rc = rc == 0 && status != NULL ? object_set(&v->o, "status", *status) : ERR_NOMEM;
    review_done(v, rc);
}

/* ---- which of them ------------------------------------------------------------------------- */

static const struct {
    enum schema_type_id type;
    void (*answer)(struct review *v);
} reviews[] = {
    {SCHEMA_AUTHENTICATION_V1_TOKEN_REVIEW, review_token},
    {SCHEMA_AUTHENTICATION_V1_SELF_SUBJECT_REVIEW, review_self},
    {SCHEMA_AUTHORIZATION_V1_SUBJECT_ACCESS_REVIEW, review_access},
    {SCHEMA_AUTHORIZATION_V1_LOCAL_SUBJECT_ACCESS_REVIEW, review_local_access},
    {SCHEMA_AUTHORIZATION_V1_SELF_SUBJECT_ACCESS_REVIEW, review_self_access},
    {SCHEMA_AUTHORIZATION_V1_SELF_SUBJECT_RULES_REVIEW, review_rules},
};

static bool review_decode(struct exchange *ex, void *data)
{
    struct review *v = data;
    return body_decode(ex, &v->o);
}

static void review_decoded(void *data)
{
    struct review *v = data;
    object_remove(&v->o, "status");
    v->answer(v);
}

bool review_answer(struct exchange *ex)
{
    const struct request *r = &ex->request;
    for (size_t i = 0; r->kind != NULL && i < sizeof reviews / sizeof reviews[0]; i++) {
        if (r->type != schema_type(reviews[i].type)) {
            continue;
        }
        struct review *v = arena_zalloc(&ex->arena, sizeof *v);
        if (v == NULL) {
            exchange_no_memory(ex);
        } else if (body_check_options(ex, "CreateOptions")) {
            v->ex = ex;
            v->answer = reviews[i].answer;
            causes_init(&v->causes, &ex->arena);
            exchange_work(ex, body_bytes(ex), review_decode, review_decoded, v);
        }
        return true;
    }
    return false;
}
