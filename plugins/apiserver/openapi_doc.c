/* openapi_doc.c - which types and paths a document has, and its pieces in order. */
#include "plugins/apiserver/openapi_doc.h"

#include <string.h>

#include "base/err.h"
#include "plugins/apiserver/request.h"

/* Parts of a document in the order they are written. */
enum stage {
    STAGE_HEAD,
    STAGE_PATHS,
    STAGE_MIDDLE,
    STAGE_TYPES,
    STAGE_EXTRAS,
    STAGE_END,
    STAGE_OVER
};

#define OPENAPI_EXTRAS 7u

static const struct schema_type *kind_type(const struct schema_resource *kind)
{
    return schema_at(kind, kind->type);
}

/* Whether a kind belongs into the document. */
static bool openapi_has(const struct openapi_doc *d, const struct schema_resource *kind)
{
    const struct schema_type *t = kind_type(kind);
    return request_serves(kind, NULL) &&
           (!d->v3 || (strcmp(schema_text(t, t->group), d->group) == 0 &&
                       strcmp(schema_text(t, t->version), d->version) == 0));
}

/* Takes in a type and all it consists of. */
static void openapi_take(struct openapi_doc *d, const struct schema_type *t)
{
    if (t == NULL || t->form != SCHEMA_FORM_TYPE || d->types[t - schema_types] != 0) {
        return;
    }
    d->types[t - schema_types] = 1;
    for (size_t i = 0; i < t->field_count; i++) {
        const struct schema_field *f = schema_fields(t) + i;
        d->extras |= openapi_extra_of(f);
        if (f->kind == SCHEMA_MESSAGE) {
            openapi_take(d, schema_field_type(f));
        }
    }
}

static void openapi_take_kind(struct openapi_doc *d, const struct schema_resource *kind)
{
    const struct schema_sub *subs = schema_at(kind, kind->subs);
    openapi_take(d, kind_type(kind));
    openapi_take(d, schema_at(kind, kind->list_type));
    for (size_t i = 0; i < kind->sub_count; i++) {
        const struct schema_type *body = openapi_sub_type(kind, subs + i);
        if (request_serves(kind, subs + i) && !openapi_connects(body)) {
            openapi_take(d, body);
        }
    }
}

int openapi_doc_init(struct openapi_doc *d, const char *group, const char *version, struct arena *a)
{
    *d = (struct openapi_doc){.v3 = group != NULL, .group = group, .version = version};
    d->types = arena_zalloc(a, schema_type_count);
    if (d->types == NULL) {
        return ERR_NOMEM;
    }
    d->extras = OPENAPI_PATCH;
    openapi_take(d, schema_type(SCHEMA_META_V1_STATUS));
    openapi_take(d, schema_type(SCHEMA_META_V1_DELETE_OPTIONS));
    for (size_t i = 0; i < schema_resource_count; i++) {
        if (openapi_has(d, schema_resources + i)) {
            openapi_take_kind(d, schema_resources + i);
        }
    }
    return 0;
}

static void openapi_comma(struct openapi_doc *d, struct buf *out)
{
    buf_append_str(out, d->comma ? "," : "");
    d->comma = true;
}

/* The next item of the part that is being written; false: it has no more. */
static bool openapi_item(struct openapi_doc *d, struct buf *out)
{
    switch (d->stage) {
    case STAGE_PATHS:
        while (d->at < schema_resource_count) {
            const struct schema_resource *kind = schema_resources + d->at++;
            if (openapi_has(d, kind)) {
                openapi_comma(d, out);
                openapi_print_paths(d, kind, out);
                return true;
            }
        }
        return false;
    case STAGE_TYPES:
        while (d->at < schema_type_count) {
            size_t i = d->at++;
            if (d->types[i] != 0) {
                openapi_comma(d, out);
                openapi_print_type(d, schema_types + i, out);
                return true;
            }
        }
        return false;
    case STAGE_EXTRAS:
        while (d->at < OPENAPI_EXTRAS) {
            unsigned extra = 1u << d->at++;
            if (d->extras & extra) {
                openapi_comma(d, out);
                openapi_print_extra(d, (enum openapi_extra)extra, out);
                return true;
            }
        }
        return false;
    default:
        return false;
    }
}

/* What stands around the items. */
static const char *openapi_frame(const struct openapi_doc *d)
{
    switch (d->stage) {
    case STAGE_HEAD:
        return d->v3 ? "{\"openapi\":\"3.0.0\",\"info\":{\"title\":\"Kubernetes\",\"version\":"
                       "\"unversioned\"},\"paths\":{"
                     : "{\"swagger\":\"2.0\",\"info\":{\"title\":\"Kubernetes\",\"version\":"
                       "\"v1.35.4\"},\"paths\":{";
    case STAGE_MIDDLE:
        return d->v3 ? "},\"components\":{\"schemas\":{" : "},\"definitions\":{";
    case STAGE_END:
        return d->v3 ? "},\"securitySchemes\":{\"BearerToken\":{\"description\":\"Bearer token "
                       "authentication\",\"in\":\"header\",\"name\":\"authorization\",\"type\":"
                       "\"apiKey\"}}}}"
                     : "},\"securityDefinitions\":{\"BearerToken\":{\"description\":\"Bearer token "
                       "authentication\",\"in\":\"header\",\"name\":\"authorization\",\"type\":"
                       "\"apiKey\"}},\"security\":[{\"BearerToken\":[]}]}";
    default:
        return "";
    }
}

/* The next piece as JSON. */
static bool openapi_doc_json(struct openapi_doc *d, struct buf *out)
{
    while (d->stage != STAGE_OVER) {
        const char *frame = openapi_frame(d);
        if (frame[0] != 0) {
            d->stage++;
            d->at = 0;
            d->comma = false;
            return buf_append_str(out, frame) || true;
        }
        if (openapi_item(d, out)) {
            return true;
        }
        d->stage++;
        d->at = 0;
    }
    return false;
}

/* A piece as JSON that can be read alone: with what stands before and behind it. */
static void openapi_close_piece(unsigned stage, const struct buf *piece, struct buf *out)
{
    bool paths = stage == STAGE_PATHS || stage == STAGE_MIDDLE;
    bool alone = stage == STAGE_HEAD || stage == STAGE_END;
    const char *before = stage == STAGE_HEAD ? "" : paths ? "{\"paths\":{" : "{\"definitions\":{";
    struct slice text = buf_slice(piece);
    if (!alone && text.len > 0 && text.data[0] == ',') {
        text = slice_of(text.data + 1, text.len - 1);
    }
    buf_append_str(out, before);
    buf_append_slice(out, text);
    buf_append_str(out, stage == STAGE_END ? "" : "}}");
}

bool openapi_doc_next(struct openapi_doc *d, struct buf *out)
{
    struct buf piece;
    struct buf json;
    if (!d->protobuf) {
        return openapi_doc_json(d, out);
    }
    buf_init(&piece);
    buf_init(&json);
    bool more = openapi_doc_json(d, &piece);
    if (more) {
        /* A frame has moved on to the part behind it, an item has not. */
        unsigned stage = d->at == 0 && d->stage > STAGE_HEAD ? d->stage - 1 : d->stage;
        openapi_close_piece(stage, &piece, &json);
        bool failed = piece.failed || json.failed;
        out->failed = failed || openapi_protobuf(buf_slice(&json), out) != 0 || out->failed;
    }
    buf_close(&json);
    buf_close(&piece);
    return more;
}
