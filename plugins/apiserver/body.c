/* body.c - bodies into objects. */
#include "plugins/apiserver/body.h"

#include "plugins/apiserver/media.h"
#include "plugins/object/encode.h"
#include "plugins/object/protobuf.h"
#include "plugins/object/metadata.h"
#include "plugins/object/yamljson.h"

#define BODY_SHOWN_BYTES 30u /* of a body that is no object */
/* Bytes of JSON that one of protobuf may well stand for. */
#define BODY_PROTOBUF_GROWTH 8u

static bool is(struct slice s, const char *text)
{
    return slice_eq(s, slice_str(text));
}

/* Kind in version "v" cannot be handled as a Kind: why */
static void body_refuse(struct exchange *ex, struct slice version, struct slice kind,
                        const char *why)
{
    const char *wanted = schema_type_name(request_body_type(&ex->request));
    if (kind.len == 0) {
        size_t n = ex->body.len < BODY_SHOWN_BYTES ? ex->body.len : BODY_SHOWN_BYTES;
        exchange_fail(
            ex, status_bad_request(&ex->arena,
                                   "the object provided is unrecognized (must be of type %s): %s "
                                   "(%.*s%s)",
                                   wanted, why, (int)n, (const char *)ex->body.data,
                                   n < ex->body.len ? " ..." : ""));
        return;
    }
    exchange_fail(ex, status_bad_request(&ex->arena,
                                         "%.*s in version \"%.*s\" cannot be handled as a %s: %s",
                                         (int)kind.len, (const char *)kind.data, (int)version.len,
                                         (const char *)version.data, wanted, why));
}

/* The part behind the slash of apps/v1. */
static struct slice body_version(struct slice api_version)
{
    for (size_t i = 0; i < api_version.len; i++) {
        if (api_version.data[i] == '/') {
            return slice_of(api_version.data + i + 1, api_version.len - i - 1);
        }
    }
    return api_version;
}

/* The body says what it is, and it is what the path wants. */
static bool body_check_kind(struct exchange *ex, struct slice json, struct slice *kind)
{
    const struct schema_type *type = request_body_type(&ex->request);
    struct errmsg e = {.text = ""};
    struct slice api_version;
    struct slice want = object_api_version(type, &ex->arena);
    int rc = decode_type_meta(json, &ex->arena, &api_version, kind, &e);
    if (rc == ERR_NOMEM) {
        exchange_no_memory(ex);
        return false;
    }
    if (rc != 0) {
        body_refuse(ex, ex->request.version, slice_of("", 0), e.text);
        return false;
    }
    if (kind->len == 0 && api_version.len == 0) {
        *kind = slice_str(schema_type_name(type));
        return true;
    }
    if (kind->len == 0) {
        body_refuse(ex, slice_of("", 0), slice_of("", 0), "Object 'Kind' is missing");
        return false;
    }
    if (!slice_eq(api_version, want) && api_version.len > 0) {
        exchange_fail(ex, status_bad_request(&ex->arena,
                                             "the API version in the data (%.*s) does not match "
                                             "the expected API version (%.*s)",
                                             (int)api_version.len, (const char *)api_version.data,
                                             (int)want.len, (const char *)want.data));
        return false;
    }
    if (!is(*kind, schema_type_name(type))) {
        struct buf b;
        buf_init(&b);
        buf_printf(&b, "no kind \"%.*s\" is expected here%c", (int)kind->len,
                   (const char *)kind->data, 0);
        body_refuse(ex, body_version(want), *kind, b.failed ? "" : (const char *)b.data);
        buf_close(&b);
        return false;
    }
    return true;
}

/* The same of one that was decoded as what is wanted, when it says what it is. */
static bool body_is_wanted(struct exchange *ex, const struct object *o)
{
    struct slice want = object_api_version(o->type, &ex->arena);
    return (o->type->flags & SCHEMA_TYPE_TYPED) &&
           is(object_text(o, "kind"), schema_type_name(o->type)) &&
           slice_eq(object_text(o, "apiVersion"), want);
}

bool body_report(struct exchange *ex, const struct decode_report *report)
{
    struct slice level = ex->query.validation;
    if (report->count == 0 || is(level, "Ignore")) {
        return true;
    }
    if (!is(level, "Strict")) {
        for (size_t i = 0; i < report->count; i++) {
            exchange_warn(ex, report->texts[i]);
        }
        return true;
    }
    struct buf b;
    buf_init(&b);
    decode_report_text(report, &b);
    buf_append_byte(&b, 0);
    body_refuse(ex, ex->request.version,
                slice_str(schema_type_name(request_body_type(&ex->request))),
                b.failed ? "strict decoding error" : (const char *)b.data);
    buf_close(&b);
    return false;
}

/* ---- protobuf ------------------------------------------------------------------------------ */

/* What the envelope says it holds; NULL: no kind that is known. */
static const struct schema_type *body_enveloped_type(const struct protobuf_envelope *p)
{
    struct slice group = slice_of("", 0);
    struct slice version = body_version(p->api_version);
    if (version.len < p->api_version.len) {
        group = slice_of(p->api_version.data, p->api_version.len - version.len - 1);
    }
    if (is(p->kind, "DeleteOptions")) { /* in every group */
        return schema_type(SCHEMA_META_V1_DELETE_OPTIONS);
    }
    return schema_find_kind(group, version, p->kind);
}

static bool body_is_protobuf(const struct exchange *ex)
{
    return ex->body.len > 0 && media_body(ex->content_type) == MEDIA_BODY_PROTOBUF;
}

size_t body_bytes(const struct exchange *ex)
{
    const struct buf *b = &ex->body;
    bool yaml = b->len > 0 && media_body(ex->content_type) == MEDIA_BODY_YAML;
    return yaml && memchr(b->data, '*', b->len) != NULL ? SIZE_MAX : b->len;
}

size_t body_translate_bytes(const struct exchange *ex)
{
    return body_is_protobuf(ex) ? ex->body.len * BODY_PROTOBUF_GROWTH : 0;
}

bool body_translate(struct exchange *ex)
{
    struct protobuf_envelope p;
    struct errmsg e = {.text = ""};
    struct object o = {.arena = &ex->arena};
    struct buf json;
    if (!body_is_protobuf(ex)) {
        return true;
    }
    int rc = protobuf_open(buf_slice(&ex->body), &p, &e);
    o.type = rc == 0 ? body_enveloped_type(&p) : NULL;
    if (rc == 0 && o.type == NULL) {
        rc = errmsg_set(&e, ERR_INVALID, "no kind \"%.*s\" is registered for version \"%.*s\"",
                        (int)p.kind.len, (const char *)p.kind.data, (int)p.api_version.len,
                        (const char *)p.api_version.data);
    }
    if (rc == 0) {
        rc = decode_protobuf(p.object, o.type, &ex->arena, &o.root, &e);
    }
    if (rc == 0) {
        rc = object_set_text(&o, "kind", p.kind);
        rc = rc == 0 ? object_set_text(&o, "apiVersion", p.api_version) : rc;
    }
    buf_init(&json);
    if (rc == 0) {
        object_encode(&o, &json);
    }
    if (rc == ERR_NOMEM || json.failed) {
        exchange_no_memory(ex);
    } else if (rc != 0) {
        exchange_fail(ex, status_bad_request(&ex->arena, "%s", e.text));
    } else {
        buf_close(&ex->body); /* what the tree shares is in the arena, but for kind and version */
        ex->body = json;
        ex->content_type = slice_str("application/json");
        return true;
    }
    buf_close(&json);
    return false;
}

/* ---- what it says of itself ---------------------------------------------------------------- */

/* An object without a namespace gets the request's; one of another is refused. */
static bool body_set_space(struct exchange *ex, struct object *o)
{
    struct slice space = object_text(o, "metadata.namespace");
    if (slice_eq(space, ex->request.space)) {
        return true;
    }
    if (space.len > 0 && ex->request.space.len > 0) {
        exchange_fail(ex, status_bad_request(&ex->arena,
                                             "the namespace of the provided object does not match "
                                             "the namespace sent on the request"));
        return false;
    }
    if (ex->request.space.len == 0) {
        object_remove(o, "metadata.namespace");
        return true;
    }
    if (object_set_text(o, "metadata.namespace", ex->request.space) != 0) {
        exchange_no_memory(ex);
        return false;
    }
    return true;
}

bool body_decode(struct exchange *ex, struct object *out)
{
    enum media_body form = media_body(ex->content_type);
    struct errmsg e = {.text = ""};
    struct decode_report report = {0};
    struct slice twins = slice_of(NULL, 0);
    struct slice kind;
    struct buf json;
    bool ok = false;
    if (form != MEDIA_BODY_JSON && form != MEDIA_BODY_YAML) {
        exchange_fail(ex, status_unsupported_media(&ex->arena, MEDIA_BODIES));
        return false;
    }
    buf_init(&json);
    struct slice text = buf_slice(&ex->body);
    if (form == MEDIA_BODY_YAML) {
        int rc = yaml_to_json(text, &ex->arena, &json, &twins, &e);
        if (rc == ERR_NOMEM) {
            exchange_no_memory(ex);
            goto out;
        }
        if (rc != 0) {
            body_refuse(ex, ex->request.version, slice_of("", 0), e.text);
            goto out;
        }
        text = buf_slice(&json);
    }
    int rc = object_decode(out, request_body_type(&ex->request), &ex->arena, text, &report, &e);
    if (!(rc == 0 && body_is_wanted(ex, out)) && !body_check_kind(ex, text, &kind)) {
        goto out; /* whatever else is wrong with it */
    }
    if (rc == 0 && twins.data != NULL) {
        rc = decode_report_add(&report, &ex->arena, twins);
    }
    if (rc == ERR_NOMEM) {
        exchange_no_memory(ex);
        goto out;
    }
    if (rc != 0) {
        body_refuse(ex, ex->request.version, kind, e.text);
        goto out;
    }
    ok = body_report(ex, &report) && body_set_space(ex, out);
out:
    buf_close(&json);
    return ok;
}

bool body_dedupe_owners(struct exchange *ex, struct object *o, bool warn)
{
    struct buf uids;
    struct buf text;
    size_t dropped;
    buf_init(&uids);
    buf_init(&text);
    int rc = metadata_dedupe_owners(o, warn ? &uids : NULL, &dropped);
    if (rc == 0 && warn && dropped > 0) {
        buf_append_str(&text,
                       ".metadata.ownerReferences contains duplicate entries; API server dedups "
                       "owner references in 1.20+, and may reject such requests as early as 1.24; "
                       "please fix your requests; duplicate UID(s) observed: ");
        buf_append_slice(&text, buf_slice(&uids));
        exchange_warn(ex, text.failed ? slice_of("", 0) : buf_slice(&text));
    }
    buf_close(&uids);
    buf_close(&text);
    if (rc != 0) {
        exchange_no_memory(ex);
    }
    return rc == 0;
}

bool body_check_options(struct exchange *ex, const char *kind)
{
    struct causes *c = arena_alloc(&ex->arena, sizeof *c);
    if (c == NULL) {
        exchange_no_memory(ex);
        return false;
    }
    causes_init(c, &ex->arena);
    query_check_write(&ex->query, c);
    if (c->count == 0) {
        return true;
    }
    exchange_fail(ex, status_invalid(&ex->arena, slice_str("meta.k8s.io"), slice_str(kind),
                                     slice_of("", 0), c));
    return false;
}
