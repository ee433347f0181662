/* jwt.c - header.claims.signature */
#include "plugins/apiserver/jwt.h"

#include <inttypes.h>

#include "plugins/apiserver/base64url.h"
#include "plugins/object/decode.h"
#include "plugins/object/encode.h"

/* ---- reading ------------------------------------------------------------------------------- */

static const struct value *jwt_member(const struct value *v, const char *name)
{
    return v != NULL && v->kind == VALUE_MAP ? value_map_cget(v, name) : NULL;
}

static struct slice jwt_text(const struct value *v, const char *name)
{
    const struct value *m = jwt_member(v, name);
    return m != NULL && m->kind == VALUE_TEXT ? value_slice(m) : slice_of("", 0);
}

/* A time: whole seconds, a fraction is cut off. False: it is something else. */
static bool jwt_seconds(const struct value *v, const char *name, int64_t *out)
{
    const struct value *m = jwt_member(v, name);
    *out = 0;
    if (m == NULL) {
        return true;
    }
    if (m->kind == VALUE_INT) {
        *out = m->integer;
    } else if (m->kind == VALUE_DOUBLE && m->number >= 0 && m->number < 1e15) {
        *out = (int64_t)m->number;
    } else {
        return false;
    }
    return *out > 0;
}

static bool jwt_audiences(const struct value *claims, struct jwt_claims *c)
{
    const struct value *m = jwt_member(claims, "aud");
    if (m == NULL) {
        return true;
    }
    if (m->kind == VALUE_TEXT) {
        c->audiences[c->audience_count++] = value_slice(m);
        return true;
    }
    if (m->kind != VALUE_LIST || m->len > JWT_AUDIENCES_MAX) {
        return false;
    }
    for (size_t i = 0; i < m->len; i++) {
        if (m->items[i].kind != VALUE_TEXT) {
            return false;
        }
        c->audiences[c->audience_count++] = value_slice(&m->items[i]);
    }
    return true;
}

static struct jwt_bound jwt_read_bound(const struct value *inner, const char *name)
{
    const struct value *m = jwt_member(inner, name);
    return (struct jwt_bound){.name = jwt_text(m, "name"), .uid = jwt_text(m, "uid")};
}

static int jwt_read_claims(const struct value *v, struct jwt_claims *c)
{
    *c = (struct jwt_claims){
        .issuer = jwt_text(v, "iss"), .subject = jwt_text(v, "sub"), .id = jwt_text(v, "jti")};
    if (!jwt_seconds(v, "exp", &c->expires) || !jwt_seconds(v, "nbf", &c->not_before) ||
        !jwt_seconds(v, "iat", &c->issued) || !jwt_audiences(v, c)) {
        return ERR_INVALID;
    }
    const struct value *inner = jwt_member(v, "kubernetes.io");
    c->legacy = inner == NULL;
    if (c->legacy) {
        c->space = jwt_text(v, "kubernetes.io/serviceaccount/namespace");
        c->account.name = jwt_text(v, "kubernetes.io/serviceaccount/service-account.name");
        c->account.uid = jwt_text(v, "kubernetes.io/serviceaccount/service-account.uid");
        c->secret.name = jwt_text(v, "kubernetes.io/serviceaccount/secret.name");
    } else {
        c->space = jwt_text(inner, "namespace");
        c->account = jwt_read_bound(inner, "serviceaccount");
        c->pod = jwt_read_bound(inner, "pod");
        c->secret = jwt_read_bound(inner, "secret");
        c->node = jwt_read_bound(inner, "node");
        if (!jwt_seconds(inner, "warnafter", &c->warn_after)) {
            return ERR_INVALID;
        }
    }
    return c->space.len > 0 && c->account.name.len > 0 && c->account.uid.len > 0 ? 0 : ERR_INVALID;
}

/* A part of the token: base64url of a JSON object. */
static int jwt_read_part(struct slice text, struct arena *a, struct value *out)
{
    struct slice json;
    struct errmsg e;
    int rc = base64url_decode(text, a, &json);
    rc = rc == 0 ? decode_json(json, NULL, a, out, NULL, &e) : rc;
    return rc == 0 && out->kind != VALUE_MAP ? ERR_INVALID : rc;
}

int jwt_parse(struct slice text, struct arena *a, struct jwt *out)
{
    struct slice parts[3];
    size_t n = 0;
    size_t from = 0;
    struct value header;
    struct value claims;
    if (text.len > JWT_BYTES_MAX) {
        return ERR_INVALID;
    }
    for (size_t i = 0; i <= text.len; i++) {
        if (i == text.len || text.data[i] == '.') {
            if (n == 3) {
                return ERR_INVALID;
            }
            parts[n++] = slice_of(text.data + from, i - from);
            from = i + 1;
        }
    }
    if (n != 3) {
        return ERR_INVALID;
    }
    *out = (struct jwt){.signed_part = slice_of(text.data, parts[0].len + 1 + parts[1].len)};
    int rc = jwt_read_part(parts[0], a, &header);
    rc = rc == 0 ? jwt_read_part(parts[1], a, &claims) : rc;
    rc = rc == 0 ? base64url_decode(parts[2], a, &out->signature) : rc;
    if (rc != 0) {
        return rc == ERR_NOMEM ? rc : ERR_INVALID;
    }
    out->algorithm = jwt_text(&header, "alg");
    out->key_id = jwt_text(&header, "kid");
    /* "crit" names what must be understood, and nothing is. */
    if (out->algorithm.len == 0 || jwt_member(&header, "crit") != NULL) {
        return ERR_INVALID;
    }
    return jwt_read_claims(&claims, &out->claims);
}

bool jwt_is_signed_by(const struct jwt *t, const struct crypto_key *k)
{
    if (!slice_eq(t->algorithm, slice_str(crypto_key_algorithm(k))) ||
        (t->key_id.len > 0 && !slice_eq(t->key_id, slice_str(crypto_key_id(k))))) {
        return false;
    }
    return crypto_verify(k, t->signed_part, t->signature);
}

/* ---- making -------------------------------------------------------------------------------- */

static void jwt_print_text(struct buf *out, const char *name, struct slice text)
{
    buf_printf(out, "\"%s\":", name);
    encode_text(text, out);
}

static void jwt_print_bound(struct buf *out, const char *name, const struct jwt_bound *b)
{
    if (b->name.len > 0) {
        buf_printf(out, ",\"%s\":{", name);
        jwt_print_text(out, "name", b->name);
        buf_append_byte(out, ',');
        jwt_print_text(out, "uid", b->uid);
        buf_append_byte(out, '}');
    }
}

static void jwt_print_claims(const struct jwt_claims *c, struct buf *out)
{
    buf_append_str(out, "{\"aud\":[");
    for (size_t i = 0; i < c->audience_count; i++) {
        buf_append_str(out, i > 0 ? "," : "");
        encode_text(c->audiences[i], out);
    }
    buf_printf(out, "],\"exp\":%" PRId64 ",\"iat\":%" PRId64 ",", c->expires, c->issued);
    jwt_print_text(out, "iss", c->issuer);
    buf_append_byte(out, ',');
    jwt_print_text(out, "jti", c->id);
    buf_append_str(out, ",\"kubernetes.io\":{");
    jwt_print_text(out, "namespace", c->space);
    jwt_print_bound(out, "node", &c->node);
    jwt_print_bound(out, "pod", &c->pod);
    jwt_print_bound(out, "secret", &c->secret);
    jwt_print_bound(out, "serviceaccount", &c->account);
    if (c->warn_after > 0) {
        buf_printf(out, ",\"warnafter\":%" PRId64, c->warn_after);
    }
    buf_printf(out, "},\"nbf\":%" PRId64 ",", c->not_before);
    jwt_print_text(out, "sub", c->subject);
    buf_append_byte(out, '}');
}

bool jwt_make(const struct jwt_claims *c, const struct crypto_key *k, struct buf *out)
{
    struct buf text;
    struct buf signature;
    size_t from = out->len;
    buf_init(&text);
    buf_init(&signature);
    buf_printf(&text, "{\"alg\":\"%s\",\"kid\":\"%s\"}", crypto_key_algorithm(k), crypto_key_id(k));
    bool ok = !text.failed;
    base64url_encode(buf_slice(&text), out);
    buf_append_byte(out, '.');
    buf_clear(&text);
    jwt_print_claims(c, &text);
    ok = ok && !text.failed;
    base64url_encode(buf_slice(&text), out);
    ok = ok && !out->failed &&
         crypto_sign(k, slice_of(out->data + from, out->len - from), &signature);
    buf_append_byte(out, '.');
    base64url_encode(buf_slice(&signature), out);
    buf_close(&text);
    buf_close(&signature);
    return ok && !out->failed;
}
