/* account_token.c - serviceaccounts/NAME/token: a token for whoever may ask for it. */
#include <inttypes.h>
#include <stdio.h>

#include "plugins/apiserver/body.h"
#include "plugins/apiserver/issuer.h"
#include "plugins/apiserver/jwt.h"
#include "plugins/apiserver/pki.h"
#include "plugins/apiserver/stored.h"
#include "plugins/apiserver/sub.h"
#include "plugins/object/defaults.h"
#include "plugins/object/uuid.h"
#include "plugins/object/validate.h"

/* A pod's token asked for with exactly this lifetime holds a year: many libraries never read the
 * file again. It says itself when it should have been renewed. */
#define TOKEN_WARN_SECONDS     3607
#define TOKEN_EXTENDED_SECONDS (365ll * 86400)

struct token_request {
    struct object o;
    struct jwt_claims claims;
    struct slice account_uid;
};

static struct token_request *token_of(struct exchange *ex)
{
    return ex->op;
}

static void token_answer(struct exchange *ex, struct token_request *t)
{
    struct apiserver *api = ex->api;
    struct jwt_claims *c = &t->claims;
    struct buf text;
    char id[UUID_TEXT_BYTES];
    uint8_t random[16];
    if (!crypto_random(random, sizeof random)) {
        exchange_fail(ex, status_internal(&ex->arena, "no random numbers"));
        return;
    }
    uuid_print(random, id);
    int64_t seconds = object_int(&t->o, "spec.expirationSeconds", 3600);
    int64_t now = (int64_t)(api->host->wall_us(api->ctx) / 1000000u);
    bool ours = true;
    for (size_t i = 0; i < c->audience_count; i++) {
        ours = ours && issuer_has_audience(api->issuer, c->audiences[i]);
    }
    c->id = slice_of(id, sizeof id);
    c->issuer = api->issuer->name;
    c->issued = now;
    c->not_before = now;
    c->expires = now + seconds;
    if (seconds == TOKEN_WARN_SECONDS && ours && c->pod.name.len > 0) {
        c->warn_after = c->expires;
        c->expires = now + TOKEN_EXTENDED_SECONDS;
    }
    struct user user;
    if (!user_set_account(&user, c->space, c->account.name, c->account.uid, &ex->arena)) {
        exchange_no_memory(ex);
        return;
    }
    c->subject = user.name;
    buf_init(&text);
    bool made = jwt_make(c, issuer_key(api->issuer, 0), &text);
    int rc = made ? object_set_text(&t->o, "status.token", buf_slice(&text)) : ERR_INVALID;
    buf_close(&text);
    rc = rc == 0 ? object_set_int(&t->o, "status.expirationTimestamp", now + seconds) : rc;
    rc = rc == 0 ? object_set_text(&t->o, "metadata.name", ex->request.name) : rc;
    rc = rc == 0 ? object_set_text(&t->o, "metadata.namespace", ex->request.space) : rc;
    rc = rc == 0 ? object_set_int(&t->o, "metadata.creationTimestamp", now) : rc;
    if (rc != 0) {
        exchange_fail(ex, status_internal(&ex->arena, "the token could not be signed"));
        return;
    }
    sub_answer_object(ex, 201, &t->o);
}

/* ---- bound objects ------------------------------------------------------------------------- */

static const struct {
    const char *kind;
    enum schema_type_id type;
    size_t offset;
    bool namespaced;
} token_bounds[] = {
    {"Pod", SCHEMA_CORE_V1_POD, offsetof(struct jwt_claims, pod), true},
    {"Secret", SCHEMA_CORE_V1_SECRET, offsetof(struct jwt_claims, secret), true},
    {"Node", SCHEMA_CORE_V1_NODE, offsetof(struct jwt_claims, node), false},
};

static void token_conflict(struct exchange *ex, const char *kind, struct slice name,
                           struct slice wanted, struct slice uid)
{
    struct status_about about = {.resource = slice_str(kind), .name = name};
    exchange_fail(ex, status_conflict(&ex->arena, &about,
                                      "the UID in the bound object reference (%.*s) does not match "
                                      "the UID in record. The object might have been deleted and "
                                      "then recreated",
                                      (int)wanted.len, (const char *)wanted.data));
}

static bool token_check_bound(struct exchange *ex, size_t i, const struct object *o)
{
    struct token_request *t = token_of(ex);
    struct slice wanted = object_text(&t->o, "spec.boundObjectRef.uid");
    struct slice uid = object_text(o, "metadata.uid");
    struct slice name = object_text(o, "metadata.name");
    if (wanted.len > 0 && !slice_eq(wanted, uid)) {
        token_conflict(ex, token_bounds[i].kind, name, wanted, uid);
        return false;
    }
    if (token_bounds[i].type == SCHEMA_CORE_V1_POD) {
        if (!slice_eq(object_text(o, "spec.serviceAccountName"), ex->request.name)) {
            exchange_fail(ex, status_bad_request(&ex->arena,
                                                 "cannot bind token for serviceaccount \"%.*s\" to "
                                                 "pod running with different serviceaccount name.",
                                                 (int)ex->request.name.len,
                                                 (const char *)ex->request.name.data));
            return false;
        }
        t->claims.node.name = arena_dup(&ex->arena, object_text(o, "spec.nodeName"));
    }
    struct jwt_bound *bound =
        (struct jwt_bound *)(void *)((char *)&t->claims + token_bounds[i].offset);
    bound->name = arena_dup(&ex->arena, name);
    bound->uid = arena_dup(&ex->arena, uid);
    return true;
}

static size_t token_bound_index(const struct token_request *t)
{
    struct slice kind = object_text(&t->o, "spec.boundObjectRef.kind");
    struct slice version = object_text(&t->o, "spec.boundObjectRef.apiVersion");
    size_t n = sizeof token_bounds / sizeof token_bounds[0];
    for (size_t i = 0; i < n; i++) {
        if (slice_eq(kind, slice_str(token_bounds[i].kind)) &&
            (version.len == 0 || slice_eq(version, slice_str("v1")))) {
            return i;
        }
    }
    return n;
}

/* Reads an object for what has asked; ex->op is the request. */
static void token_read(struct exchange *ex, enum schema_type_id type, struct slice space,
                       struct slice name, kvp_rows_fn *then)
{
    struct buf key;
    buf_init(&key);
    stored_key(schema_type(type), space, name, &key);
    exchange_call(ex);
    int reason = key.failed
                     ? KVP_NO_MEMORY
                     : ex->api->host->get(ex->ctx, kvp_bytes_of(key.data, key.len), then, ex);
    buf_close(&key);
    if (reason != 0) {
        exchange_not_called(ex, reason);
    }
}

/* The object of a row, in the exchange's arena. False: answered. */
static bool token_row(struct exchange *ex, const struct schema_type *type, struct slice name,
                      const struct kvp_rows *rows, struct object *o)
{
    struct errmsg e = {.text = ""};
    if (rows->count == 0) {
        const struct schema_resource *r = schema_resource_of(type);
        struct status_about about = {.resource = slice_str(schema_text(r, r->plural)),
                                     .name = name};
        exchange_fail(ex, status_not_found(&ex->arena, &about));
        return false;
    }
    struct slice value = arena_dup(&ex->arena, slice_of_kvp(rows->rows[0].value));
    int rc = value.data == NULL
                 ? ERR_NOMEM
                 : stored_decode(type, value, rows->rows[0].mod_revision, &ex->arena, o, &e);
    if (rc != 0) {
        exchange_fail(
            ex, status_internal(&ex->arena, "%s", rc == ERR_NOMEM ? "out of memory" : e.text));
    }
    return rc == 0;
}

/* The node a bound pod runs on: its uid goes into the token; without the node, only the name. */
static void token_node(void *data, const struct kvp_result *r, const struct kvp_rows *rows)
{
    struct exchange *ex = data;
    struct token_request *t = token_of(ex);
    struct object o;
    if (!exchange_back_well(ex, r)) {
        return;
    }
    if (rows->count == 0) {
        t->claims.node = (struct jwt_bound){0};
    } else if (token_row(ex, schema_type(SCHEMA_CORE_V1_NODE), t->claims.node.name, rows, &o)) {
        t->claims.node.uid = arena_dup(&ex->arena, object_text(&o, "metadata.uid"));
    } else {
        return;
    }
    token_answer(ex, t);
}

static void token_bound(void *data, const struct kvp_result *r, const struct kvp_rows *rows)
{
    struct exchange *ex = data;
    struct token_request *t = token_of(ex);
    size_t i = token_bound_index(t);
    struct object o;
    if (!exchange_back_well(ex, r) ||
        !token_row(ex, schema_type(token_bounds[i].type),
                   object_text(&t->o, "spec.boundObjectRef.name"), rows, &o) ||
        !token_check_bound(ex, i, &o)) {
        return;
    }
    if (token_bounds[i].type == SCHEMA_CORE_V1_POD && t->claims.node.name.len > 0) {
        token_read(ex, SCHEMA_CORE_V1_NODE, slice_of("", 0), t->claims.node.name, token_node);
    } else {
        token_answer(ex, t);
    }
}

static void token_account(void *data, const struct kvp_result *r, const struct kvp_rows *rows)
{
    struct exchange *ex = data;
    struct token_request *t = token_of(ex);
    struct object account;
    if (!exchange_back_well(ex, r) ||
        !token_row(ex, ex->request.type, ex->request.name, rows, &account)) {
        return;
    }
    t->claims.space = ex->request.space;
    t->claims.account.name = ex->request.name;
    t->claims.account.uid = object_text(&account, "metadata.uid");
    if (object_get(&t->o, "spec.boundObjectRef") == NULL) {
        token_answer(ex, t);
        return;
    }
    size_t i = token_bound_index(t);
    if (i == sizeof token_bounds / sizeof token_bounds[0]) {
        struct slice kind = object_text(&t->o, "spec.boundObjectRef.kind");
        struct slice version = object_text(&t->o, "spec.boundObjectRef.apiVersion");
        exchange_fail(ex, status_bad_request(&ex->arena,
                                             "cannot bind token to object of type %.*s, Kind=%.*s",
                                             (int)version.len, (const char *)version.data,
                                             (int)kind.len, (const char *)kind.data));
        return;
    }
    struct slice name = object_text(&t->o, "spec.boundObjectRef.name");
    if (name.len > 0 && memchr(name.data, '/', name.len) != NULL) {
        exchange_fail(ex, status_bad_request(&ex->arena, "the bound object's name is not valid"));
        return;
    }
    token_read(ex, token_bounds[i].type,
               token_bounds[i].namespaced ? ex->request.space : slice_of("", 0), name, token_bound);
}

/* ---- the request --------------------------------------------------------------------------- */

/* False: answered. */
static bool token_prepare(struct exchange *ex, struct token_request *t)
{
    struct object *o = &t->o;
    struct causes *c = arena_alloc(&ex->arena, sizeof *c);
    const struct schema_type *spec = schema_type(SCHEMA_AUTHENTICATION_V1_TOKEN_REQUEST_SPEC);
    object_remove(o, "status");
    if (c == NULL || object_default(o) != 0) {
        exchange_no_memory(ex);
        return false;
    }
    causes_init(c, &ex->arena);
    struct validate_at at = {.causes = c,
                             .type = spec,
                             .message = object_get(o, "spec"),
                             .place = PLACE_FIELD(NULL, "spec")};
    if (at.message != NULL) {
        validate_function(spec)(&at);
    }
    const struct value *audiences = object_get(o, "spec.audiences");
    if (value_len(audiences) > JWT_AUDIENCES_MAX) {
        cause_too_many(c, PLACE_FIELD(PLACE_FIELD(NULL, "spec"), "audiences"), value_len(audiences),
                       JWT_AUDIENCES_MAX);
    }
    if (c->count > 0) {
        exchange_fail(ex, status_invalid(&ex->arena, slice_str("authentication.k8s.io"),
                                         slice_str("TokenRequest"), slice_of("", 0), c));
        return false;
    }
    const struct issuer *s = ex->api->issuer;
    struct value *unused;
    for (size_t i = 0; value_len(audiences) == 0 && i < s->audience_count; i++) {
        t->claims.audiences[t->claims.audience_count++] = s->audiences[i];
        if (object_append(o, "spec.audiences", value_text(s->audiences[i]), &unused) != 0) {
            exchange_no_memory(ex);
            return false;
        }
    }
    for (size_t i = 0; t->claims.audience_count < value_len(audiences); i++) {
        t->claims.audiences[t->claims.audience_count++] = value_slice(&audiences->items[i]);
    }
    return true;
}

static bool token_decode(struct exchange *ex, void *data)
{
    return body_decode(ex, &token_of(ex)->o);
}

static void token_decoded(void *data)
{
    struct exchange *ex = data;
    struct token_request *t = token_of(ex);
    if (!ex->api->issuer->own_is_given && !pki_is_settled(ex->api->pki)) {
        /* Another member may have another key, and then it is this one that goes. */
        struct status s =
            status_unavailable(&ex->arena, "%s", "the keys of tokens are not known yet");
        s.retry_after_s = 1;
        exchange_fail(ex, s);
        return;
    }
    if ((object_text(&t->o, "metadata.name").len > 0 &&
         !sub_check_name(ex, &t->o, "TokenRequest")) ||
        !token_prepare(ex, t)) {
        return;
    }
    token_read(ex, SCHEMA_CORE_V1_SERVICE_ACCOUNT, ex->request.space, ex->request.name,
               token_account);
}

void sub_token(struct exchange *ex)
{
    struct token_request *t = arena_zalloc(&ex->arena, sizeof *t);
    if (t == NULL) {
        exchange_no_memory(ex);
        return;
    }
    if (body_check_options(ex, "CreateOptions")) {
        ex->op = t;
        exchange_work(ex, body_bytes(ex), token_decode, token_decoded, ex);
    }
}
