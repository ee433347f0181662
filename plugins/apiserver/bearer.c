/* bearer.c - tokens of service accounts are checked. */
#include "plugins/apiserver/bearer.h"

#include "plugins/apiserver/issuer.h"
#include "plugins/apiserver/pki.h"
#include "plugins/apiserver/stored.h"

#define BEARER_LEGACY_ISSUER "kubernetes/serviceaccount"
/* Tokens of something that is being deleted hold so much longer. */
#define BEARER_LEEWAY_S 60

static const char gone[] = "service account token has been invalidated";

static void bearer_next(struct bearer *b);

static void bearer_bad(struct bearer *b, const char *why)
{
    b->good = false;
    b->error = why;
    b->done(b);
}

static int64_t bearer_now(const struct bearer *b)
{
    const struct apiserver *api = b->ex->api;
    return (int64_t)(api->host->wall_us(api->ctx) / 1000000u);
}

/* Which of the wanted audiences the token has. */
static bool bearer_match_audiences(struct bearer *b)
{
    const struct issuer *s = b->ex->api->issuer;
    const struct jwt_claims *c = &b->jwt.claims;
    const struct slice *wanted = b->audience_count > 0 ? b->audiences : s->audiences;
    size_t n = b->audience_count > 0 ? b->audience_count : s->audience_count;
    for (size_t i = 0; i < n; i++) {
        bool has = c->legacy && c->audience_count == 0 && issuer_has_audience(s, wanted[i]);
        for (size_t k = 0; k < c->audience_count; k++) {
            has = has || slice_eq(c->audiences[k], wanted[i]);
        }
        if (has && b->matched_count < JWT_AUDIENCES_MAX) {
            b->matched[b->matched_count++] = wanted[i];
        }
    }
    return b->matched_count > 0;
}

/* ---- what it is bound to ------------------------------------------------------------------- */

static const struct {
    enum schema_type_id type;
    size_t offset; /* of the struct jwt_bound in the claims */
    bool namespaced;
} bearer_steps[] = {
    {SCHEMA_CORE_V1_SERVICE_ACCOUNT, offsetof(struct jwt_claims, account), true},
    {SCHEMA_CORE_V1_POD, offsetof(struct jwt_claims, pod), true},
    {SCHEMA_CORE_V1_SECRET, offsetof(struct jwt_claims, secret), true},
    {SCHEMA_CORE_V1_NODE, offsetof(struct jwt_claims, node), false},
};
#define BEARER_STEPS (sizeof bearer_steps / sizeof bearer_steps[0])

static const struct jwt_bound *bearer_bound(const struct bearer *b)
{
    const char *claims = (const char *)&b->jwt.claims;
    return (const struct jwt_bound *)(const void *)(claims + bearer_steps[b->step].offset);
}

/* Is the row what the token means? -1: out of memory. */
static int bearer_row_fits(struct bearer *b, const struct kvp_row *row)
{
    const struct jwt_bound *want = bearer_bound(b);
    struct arena scratch;
    struct object o;
    struct errmsg e;
    arena_init(&scratch, 0);
    int rc = stored_decode(schema_type(bearer_steps[b->step].type), slice_of_kvp(row->value),
                           row->mod_revision, &scratch, &o, &e);
    int fits = rc == ERR_NOMEM ? -1 : 0;
    if (rc == 0) {
        int64_t deleted = object_int(&o, "metadata.deletionTimestamp", INT64_MAX);
        /* Tokens of the old form name their secret without its uid. */
        bool uid = want->uid.len == 0 ? b->jwt.claims.legacy
                                      : slice_eq(object_text(&o, "metadata.uid"), want->uid);
        if (b->jwt.claims.legacy && bearer_steps[b->step].type == SCHEMA_CORE_V1_SECRET) {
            /* It counts as long as its secret holds it. */
            uid = uid && slice_eq(value_slice(object_get(&o, "data[token]")), b->token);
        }
        fits = uid && (deleted == INT64_MAX || deleted + BEARER_LEEWAY_S > bearer_now(b));
    }
    arena_close(&scratch);
    return fits;
}

static void bearer_row(void *data, const struct kvp_result *r, const struct kvp_rows *rows)
{
    struct bearer *b = data;
    if (!exchange_back_well(b->ex, r)) {
        return;
    }
    int fits = rows->count == 0 ? 0 : bearer_row_fits(b, &rows->rows[0]);
    if (fits < 0) {
        exchange_no_memory(b->ex);
    } else if (fits == 0 && b->fresh) {
        bearer_bad(b, gone);
    } else {
        b->step += fits > 0;
        b->fresh = fits == 0;
        bearer_next(b);
    }
}

static void bearer_read(struct bearer *b)
{
    struct exchange *ex = b->ex;
    const struct jwt_claims *c = &b->jwt.claims;
    struct buf key;
    buf_init(&key);
    stored_key(schema_type(bearer_steps[b->step].type),
               bearer_steps[b->step].namespaced ? c->space : slice_of("", 0), bearer_bound(b)->name,
               &key);
    struct kvp_range range = {.size = sizeof range,
                              .flags = b->fresh ? 0 : KVP_SERIALIZABLE,
                              .key = kvp_bytes_of(key.data, key.len)};
    exchange_call(ex);
    int reason = key.failed ? KVP_NO_MEMORY : ex->api->host->range(ex->ctx, &range, bearer_row, b);
    buf_close(&key);
    if (reason != 0) {
        exchange_not_called(ex, reason);
    }
}

static void bearer_extra(struct bearer *b, const char *key, struct slice value)
{
    if (value.len > 0) {
        user_add_extra(&b->user, slice_str(key), value);
    }
}

static void bearer_good(struct bearer *b)
{
    const struct jwt_claims *c = &b->jwt.claims;
    struct arena *a = &b->ex->arena;
    if (!user_set_account(&b->user, c->space, c->account.name, c->account.uid, a)) {
        exchange_no_memory(b->ex);
        return;
    }
    if (c->id.len > 0) {
        uint8_t *text = arena_alloc(a, c->id.len + 4);
        if (text != NULL) {
            memcpy(text, "JTI=", 4);
            memcpy(text + 4, c->id.data, c->id.len);
            bearer_extra(b, "authentication.kubernetes.io/credential-id",
                         slice_of(text, c->id.len + 4));
        }
    }
    bearer_extra(b, "authentication.kubernetes.io/node-name", c->node.name);
    bearer_extra(b, "authentication.kubernetes.io/node-uid", c->node.uid);
    bearer_extra(b, "authentication.kubernetes.io/pod-name", c->pod.name);
    bearer_extra(b, "authentication.kubernetes.io/pod-uid", c->pod.uid);
    b->good = true;
    b->done(b);
}

static void bearer_next(struct bearer *b)
{
    /* A pod's token tells of its node, but is not bound to that. */
    bool pod = b->jwt.claims.pod.name.len > 0;
    while (b->step < BEARER_STEPS && (bearer_bound(b)->name.len == 0 ||
                                      (pod && bearer_steps[b->step].type == SCHEMA_CORE_V1_NODE))) {
        b->step++;
    }
    if (b->step == BEARER_STEPS) {
        bearer_good(b);
    } else {
        bearer_read(b);
    }
}

/* ---- the token ----------------------------------------------------------------------------- */

/* A name becomes part of a key: it may not look like several. */
static bool bearer_names_are_plain(const struct jwt_claims *c)
{
    const struct slice names[] = {c->space, c->account.name, c->pod.name, c->secret.name,
                                  c->node.name};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (names[i].len > 0 && memchr(names[i].data, '/', names[i].len) != NULL) {
            return false;
        }
    }
    return true;
}

/* Two clocks may differ by so much. */
#define BEARER_SKEW_S 10

void bearer_check(struct bearer *b)
{
    struct exchange *ex = b->ex;
    const struct jwt_claims *c = &b->jwt.claims;
    int64_t now = bearer_now(b);
    int rc = jwt_parse(b->token, &ex->arena, &b->jwt);
    if (rc == ERR_NOMEM) {
        exchange_no_memory(ex);
        return;
    }
    bool ours = rc == 0 && (c->legacy ? slice_eq(c->issuer, slice_str(BEARER_LEGACY_ISSUER))
                                      : slice_eq(c->issuer, ex->api->issuer->name));
    bool is_signed = ours && issuer_has_signed(ex->api->issuer, &b->jwt, b->token);
    if (ours && !is_signed && !pki_is_settled(ex->api->pki)) {
        struct status s =
            status_unavailable(&ex->arena, "%s", "the keys of tokens are not known yet");
        s.retry_after_s = 1;
        exchange_fail(ex, s);
    } else if (!is_signed || !bearer_names_are_plain(c) || (c->legacy && c->secret.name.len == 0)) {
        bearer_bad(b, "invalid bearer token");
    } else if (!c->legacy && (c->expires == 0 || now - BEARER_SKEW_S >= c->expires)) {
        bearer_bad(b, "service account token has expired");
    } else if (c->not_before > now + BEARER_SKEW_S) {
        bearer_bad(b, "service account token is not valid yet");
    } else if (!bearer_match_audiences(b)) {
        bearer_bad(b, "the token is not for this audience");
    } else {
        bearer_next(b);
    }
}
