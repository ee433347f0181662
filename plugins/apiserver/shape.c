/* shape.c - objects as tables and as metadata. */
#include "plugins/apiserver/shape.h"

#include <inttypes.h>
#include <stdio.h>

#include "plugins/apiserver/cells_keep.h"
#include "plugins/apiserver/media.h"
#include "plugins/apiserver/stored.h"
#include "plugins/apiserver/table.h"
#include "plugins/object/encode.h"

/* ---- the choice ---------------------------------------------------------------------------- */

/* What a request's resource can be shown as: kinds that are not stored have no tables, and a
 * subresource with a type of its own is shown as it is, unless that is a scale. */
static unsigned shape_can(const struct request *r)
{
    const struct schema_type *body = request_body_type(r);
    bool stored = (r->kind->verbs & SCHEMA_VERB_GET) != 0;
    bool own = body != r->type && body != schema_type(SCHEMA_AUTOSCALING_V1_SCALE);
    return own ? 0 : MEDIA_CAN_PARTIAL | (stored ? MEDIA_CAN_TABLE : 0);
}

bool shape_choose(struct exchange *ex)
{
    struct slice include = ex->query.include;
    if (!media_choose(ex->accept, shape_can(&ex->request), &ex->media)) {
        exchange_fail(ex, status_not_acceptable(&ex->arena, MEDIA_ANSWERS));
        return false;
    }
    if (ex->media.shape == MEDIA_TABLE && include.len > 0 &&
        !slice_eq(include, slice_str("None")) && !slice_eq(include, slice_str("Metadata")) &&
        !slice_eq(include, slice_str("Object"))) {
        exchange_fail(ex, status_bad_request(
                              &ex->arena,
                              "Unable to convert to Table as requested: includeObject: Invalid "
                              "value: \"%.*s\": must be 'Metadata', 'Object', 'None', or empty",
                              (int)include.len, (const char *)include.data));
        return false;
    }
    return true;
}

/* 406 that names the Go type, as Kubernetes does. */
static void shape_refuse(struct exchange *ex, const char *wanted, const char *found)
{
    const struct schema_type *type = ex->request.type;
    const char *group = schema_text(type, type->group);
    struct status s = status_not_acceptable(&ex->arena, "");
    struct buf b;
    buf_init(&b);
    buf_printf(&b, "you requested %s, but the requested object is %s (*%.*s.%s%s)", wanted, found,
               group[0] == 0 ? 4 : (int)strcspn(group, "."), group[0] == 0 ? "core" : group,
               schema_type_name(type), strcmp(found, "a list") == 0 ? "List" : "");
    struct slice copy = b.failed ? slice_of(NULL, 0) : arena_dup(&ex->arena, buf_slice(&b));
    s.message = copy.data == NULL ? slice_of("", 0) : copy;
    buf_close(&b);
    exchange_fail(ex, s);
}

bool shape_allows_object(struct exchange *ex)
{
    if (ex->media.shape != MEDIA_PARTIAL_LIST) {
        return true;
    }
    shape_refuse(ex, "PartialObjectMetadataList", "not a list");
    return false;
}

bool shape_allows_list(struct exchange *ex)
{
    if (ex->media.shape != MEDIA_PARTIAL) {
        return true;
    }
    shape_refuse(ex, "PartialObjectMetadata", "a list");
    return false;
}

/* ---- single objects ------------------------------------------------------------------------ */

/* {"kind":K,"apiVersion":"meta.k8s.io/V" */
static void shape_head(struct exchange *ex, const char *kind, struct buf *out)
{
    buf_append_str(out, "{\"kind\":\"");
    buf_append_str(out, kind);
    buf_append_str(out, "\",\"apiVersion\":\"meta.k8s.io/");
    buf_append_str(out, ex->media.version);
    buf_append_byte(out, '"');
}

static void shape_partial(struct exchange *ex, const struct object *o, struct buf *out)
{
    shape_head(ex, "PartialObjectMetadata", out);
    buf_append_str(out, ",\"metadata\":");
    const struct value *metadata = object_get(o, "metadata");
    struct value nothing = value_empty(VALUE_MESSAGE);
    encode_json(schema_type(SCHEMA_META_V1_OBJECT_META), metadata == NULL ? &nothing : metadata,
                out);
    buf_append_byte(out, '}');
}

/* The same of a stored value, which need not be decoded for it. */
static int shape_partial_stored(struct exchange *ex, struct slice value, int64_t revision,
                                struct arena *scratch, struct buf *out, struct errmsg *e)
{
    shape_head(ex, "PartialObjectMetadata", out);
    buf_append_str(out, ",\"metadata\":");
    int rc = stored_print_metadata(ex->request.type, value, revision, scratch, out, e);
    buf_append_byte(out, '}');
    return rc == 0 && out->failed ? ERR_NOMEM : rc;
}

static void shape_row(struct exchange *ex, const struct object *o, bool metadata,
                      struct arena *scratch, struct buf *out)
{
    const struct kvp_host *host = ex->api->host;
    struct slice include = ex->query.include;
    buf_append_byte(out, '{');
    table_print_cells(o, host->wall_us(ex->api->ctx), scratch, out);
    buf_append_str(out, ",\"object\":");
    if (slice_eq(include, slice_str("Object"))) {
        object_encode(o, out);
    } else if (slice_eq(include, slice_str("None")) && !metadata) {
        buf_append_str(out, "null");
    } else {
        shape_partial(ex, o, out);
    }
    buf_append_byte(out, '}');
}

/* The row of a stored value of a list: only what its cells are made of is decoded. */
static int shape_row_stored(struct exchange *ex, struct slice value, int64_t revision,
                            struct arena *scratch, struct buf *out, struct errmsg *e)
{
    struct object o;
    struct slice include = ex->query.include;
    int rc = stored_decode_some(ex->request.type, value, cells_keep(), scratch, &o, e);
    if (rc != 0) {
        return rc;
    }
    buf_append_byte(out, '{');
    table_print_cells(&o, ex->api->host->wall_us(ex->api->ctx), scratch, out);
    buf_append_str(out, ",\"object\":");
    if (slice_eq(include, slice_str("Object"))) {
        rc = stored_print(ex->request.type, value, revision, false, scratch, out, e);
    } else if (slice_eq(include, slice_str("None"))) {
        buf_append_str(out, "null");
    } else {
        rc = shape_partial_stored(ex, value, revision, scratch, out, e);
    }
    buf_append_byte(out, '}');
    return rc == 0 && out->failed ? ERR_NOMEM : rc;
}

/* A table of one row. */
static void shape_table(struct exchange *ex, const struct object *o, bool first, bool metadata,
                        struct arena *scratch, struct buf *out)
{
    struct slice revision = object_text(o, "metadata.resourceVersion");
    shape_head(ex, "Table", out);
    buf_append_str(out, ",\"metadata\":{");
    if (revision.len > 0) {
        buf_append_str(out, "\"resourceVersion\":");
        encode_text(revision, out);
    }
    buf_append_str(out, "},\"columnDefinitions\":");
    if (first) {
        table_print_columns(o->type, out);
    } else {
        buf_append_str(out, "null");
    }
    buf_append_str(out, ",\"rows\":[");
    shape_row(ex, o, metadata, scratch, out);
    buf_append_str(out, "]}");
}

static void shape_object(struct exchange *ex, const struct object *o, bool first, bool metadata,
                         struct arena *scratch, struct buf *out)
{
    switch (ex->media.shape) {
    case MEDIA_TABLE:
        shape_table(ex, o, first, metadata, scratch, out);
        return;
    case MEDIA_PARTIAL:
        shape_partial(ex, o, out);
        return;
    case MEDIA_WHOLE:
    case MEDIA_PARTIAL_LIST: /* of a watch: nothing else can be done with it */
        object_encode(o, out);
        return;
    }
}

void shape_print_object(struct exchange *ex, const struct object *o, struct buf *out)
{
    shape_object(ex, o, true, false, &ex->arena, out);
}

static int shape_decode(struct exchange *ex, struct slice value, int64_t revision,
                        struct arena *scratch, struct object *o, struct errmsg *e)
{
    int rc = stored_decode(ex->request.type, value, revision, scratch, o, e);
    if (rc == 0 && revision == 0) {
        object_remove(o, "metadata.resourceVersion");
    }
    return rc;
}

int shape_print(struct exchange *ex, struct slice value, int64_t revision, bool first,
                struct arena *scratch, struct buf *out, struct errmsg *e)
{
    bool whole = ex->media.shape == MEDIA_WHOLE || ex->media.shape == MEDIA_PARTIAL_LIST;
    struct object o;
    if (whole && revision == 0) {
        buf_append_slice(out, value);
        return out->failed ? ERR_NOMEM : 0;
    }
    if (whole) {
        return stored_print(ex->request.type, value, revision, false, scratch, out, e);
    }
    if (ex->media.shape == MEDIA_PARTIAL && revision > 0) {
        return shape_partial_stored(ex, value, revision, scratch, out, e);
    }
    int rc = shape_decode(ex, value, revision, scratch, &o, e);
    if (rc == 0) {
        shape_object(ex, &o, first, false, scratch, out);
        rc = out->failed ? ERR_NOMEM : 0;
    }
    return rc;
}

int shape_print_bookmark(struct exchange *ex, int64_t revision, bool ends_initial, bool first,
                         struct arena *scratch, struct buf *out)
{
    struct object o;
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, revision);
    int rc = object_new(&o, ex->request.type, scratch);
    rc = rc == 0 ? object_set_str(&o, "metadata.resourceVersion", text) : rc;
    if (rc == 0 && ends_initial) {
        rc = object_set_str(&o, "metadata.annotations[k8s.io/initial-events-end]", "true");
    }
    if (rc != 0) {
        return rc;
    }
    if (ex->media.shape == MEDIA_TABLE || ex->media.shape == MEDIA_PARTIAL) {
        shape_object(ex, &o, first, ends_initial, scratch, out);
    } else {
        struct slice version = object_api_version(ex->request.type, scratch);
        buf_printf(out, "{\"kind\":\"%s\",\"apiVersion\":\"%.*s\",\"metadata\":",
                   schema_type_name(ex->request.type), (int)version.len,
                   (const char *)version.data);
        encode_json(schema_type(SCHEMA_META_V1_OBJECT_META), object_get(&o, "metadata"), out);
        buf_append_byte(out, '}');
    }
    return out->failed ? ERR_NOMEM : 0;
}

/* ---- lists --------------------------------------------------------------------------------- */

void shape_list_begin(struct exchange *ex, struct buf *out)
{
    const struct schema_type *type = ex->request.type;
    const char *group = schema_text(type, type->group);
    if (ex->media.shape == MEDIA_TABLE) {
        shape_head(ex, "Table", out);
    } else if (ex->media.shape == MEDIA_PARTIAL_LIST) {
        shape_head(ex, "PartialObjectMetadataList", out);
    } else {
        buf_printf(out, "{\"kind\":\"%sList\",\"apiVersion\":\"%s%s%s\"", schema_type_name(type),
                   group, group[0] != 0 ? "/" : "", schema_text(type, type->version));
    }
    buf_append_str(out, ",\"metadata\":");
}

void shape_list_items(struct exchange *ex, struct buf *out)
{
    if (ex->media.shape == MEDIA_TABLE) {
        buf_append_str(out, ",\"columnDefinitions\":");
        table_print_columns(ex->request.type, out);
        buf_append_str(out, ",\"rows\":[");
    } else {
        buf_append_str(out, ",\"items\":[");
    }
}

int shape_list_item(struct exchange *ex, struct slice value, int64_t revision,
                    struct arena *scratch, struct buf *out, struct errmsg *e)
{
    if (ex->media.shape == MEDIA_WHOLE || ex->media.shape == MEDIA_PARTIAL) {
        return stored_print(ex->request.type, value, revision, true, scratch, out, e);
    }
    if (ex->media.shape == MEDIA_PARTIAL_LIST) {
        return shape_partial_stored(ex, value, revision, scratch, out, e);
    }
    return shape_row_stored(ex, value, revision, scratch, out, e);
}

void shape_list_end(struct buf *out)
{
    buf_append_str(out, "]}");
}
