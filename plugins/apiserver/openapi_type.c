/* openapi_type.c - types and their fields in OpenAPI's words. */
#include "plugins/apiserver/openapi_doc.h"

#include <inttypes.h>
#include <string.h>

#include "plugins/object/encode.h"

/* ---- names --------------------------------------------------------------------------------- */

static const struct {
    enum openapi_extra extra;
    const char *name;
    const char *v3, *v2; /* what describes it */
} extras[] = {
    {OPENAPI_TIME, "apis.meta.v1.Time",
     "\"type\":\"string\",\"format\":\"date-time\",\"description\":\"A time as RFC 3339 writes it, "
     "to the second.\"",
     NULL},
    {OPENAPI_MICROTIME, "apis.meta.v1.MicroTime",
     "\"type\":\"string\",\"format\":\"date-time\",\"description\":\"A time as RFC 3339 writes it, "
     "to the microsecond.\"",
     NULL},
    {OPENAPI_QUANTITY, "api.resource.Quantity",
     "\"oneOf\":[{\"type\":\"string\"},{\"type\":\"number\"}],\"description\":\"An amount of "
     "something, such as 500m, 2 or 1Gi.\"",
     "\"type\":\"string\",\"description\":\"An amount of something, such as 500m, 2 or 1Gi.\""},
    {OPENAPI_INT_OR_TEXT, "util.intstr.IntOrString",
     "\"format\":\"int-or-string\",\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"string\"}],"
     "\"description\":\"A number, or a text such as a percentage or a name.\"",
     "\"type\":\"string\",\"format\":\"int-or-string\",\"description\":\"A number, or a text such "
     "as a percentage or a name.\""},
    {OPENAPI_RAW, "runtime.RawExtension", "\"type\":\"object\",\"description\":\"Any object.\"",
     NULL},
    {OPENAPI_FIELDS, "apis.meta.v1.FieldsV1",
     "\"type\":\"object\",\"description\":\"A set of fields, as a tree.\"", NULL},
    {OPENAPI_PATCH, "apis.meta.v1.Patch",
     "\"type\":\"object\",\"description\":\"A change; its media type says of which form.\"", NULL},
};

static size_t extra_index(enum openapi_extra extra)
{
    size_t i = 0;
    while (extras[i].extra != extra) {
        i++;
    }
    return i;
}

static void print_name(const struct schema_type *t, struct buf *out)
{
    const char *group = schema_text(t, t->group);
    if (strcmp(group, "meta.k8s.io") == 0) {
        buf_append_str(out, "io.k8s.apimachinery.pkg.apis.meta");
    } else {
        buf_printf(out, "io.k8s.api.%.*s", group[0] == 0 ? 4 : (int)strcspn(group, "."),
                   group[0] == 0 ? "core" : group);
    }
    buf_printf(out, ".%s.%s", schema_text(t, t->version), schema_type_name(t));
}

static const char *ref_head(const struct openapi_doc *d)
{
    return d->v3 ? "{\"$ref\":\"#/components/schemas/" : "{\"$ref\":\"#/definitions/";
}

void openapi_print_ref(const struct openapi_doc *d, const struct schema_type *t, struct buf *out)
{
    buf_append_str(out, ref_head(d));
    print_name(t, out);
    buf_append_str(out, "\"}");
}

void openapi_print_extra_ref(const struct openapi_doc *d, enum openapi_extra extra, struct buf *out)
{
    buf_printf(out, "%sio.k8s.apimachinery.pkg.%s\"}", ref_head(d),
               extras[extra_index(extra)].name);
}

const struct schema_type *openapi_sub_type(const struct schema_resource *kind,
                                           const struct schema_sub *sub)
{
    const struct schema_type *own = schema_at(sub, sub->type);
    return own == NULL ? schema_at(kind, kind->type) : own;
}

bool openapi_connects(const struct schema_type *body)
{
    static const char end[] = "Options";
    const char *name = schema_type_name(body);
    size_t n = strlen(name);
    return n >= sizeof end && strcmp(name + n - (sizeof end - 1), end) == 0;
}

unsigned openapi_extra_of(const struct schema_field *f)
{
    switch (f->kind) {
    case SCHEMA_TIME:
        return OPENAPI_TIME;
    case SCHEMA_MICROTIME:
        return OPENAPI_MICROTIME;
    case SCHEMA_QUANTITY:
        return OPENAPI_QUANTITY;
    case SCHEMA_INT_OR_TEXT:
        return OPENAPI_INT_OR_TEXT;
    case SCHEMA_RAW:
        return strcmp(schema_field_name(f), "fieldsV1") == 0 ? OPENAPI_FIELDS : OPENAPI_RAW;
    default:
        return 0;
    }
}

/* ---- values -------------------------------------------------------------------------------- */

static void print_enum(const struct schema_field *f, struct buf *out)
{
    const struct schema_type *t = schema_field_type(f);
    if (f->kind != SCHEMA_TEXT || t == NULL || t->form != SCHEMA_FORM_ENUM) {
        return;
    }
    buf_append_str(out, ",\"enum\":[");
    for (size_t i = 0; i < t->value_count; i++) {
        buf_append_str(out, i > 0 ? "," : "");
        encode_text(slice_str(schema_enum_value(t, i)), out);
    }
    buf_append_byte(out, ']');
}

/* The inside of a plain value's description; "" for one that has a name. */
static const char *plain_type(const struct schema_field *f)
{
    switch (f->kind) {
    case SCHEMA_TEXT:
        return "\"type\":\"string\"";
    case SCHEMA_BYTES:
        return "\"type\":\"string\",\"format\":\"byte\"";
    case SCHEMA_BOOL:
        return "\"type\":\"boolean\"";
    case SCHEMA_INT32:
        return "\"type\":\"integer\",\"format\":\"int32\"";
    case SCHEMA_INT64:
        return "\"type\":\"integer\",\"format\":\"int64\"";
    case SCHEMA_DOUBLE:
        return "\"type\":\"number\",\"format\":\"double\"";
    case SCHEMA_WRAPPER:
        return "\"type\":\"array\",\"items\":{\"type\":\"string\"}";
    default:
        return "";
    }
}

static void print_field_ref(const struct openapi_doc *d, const struct schema_field *f,
                            struct buf *out)
{
    if (f->kind == SCHEMA_MESSAGE) {
        openapi_print_ref(d, schema_field_type(f), out);
    } else {
        openapi_print_extra_ref(d, (enum openapi_extra)openapi_extra_of(f), out);
    }
}

static bool words_have(const char *words, const char *word)
{
    size_t len = strlen(word);
    while (*words != 0) {
        size_t n = strcspn(words, ",");
        if (n == len && memcmp(words, word, n) == 0) {
            return true;
        }
        words += n + (words[n] == ',');
    }
    return false;
}

/* Whether lists of type t have the field among their keys: then who merges them must know its
 * default, and only then Kubernetes tells it. */
static bool is_list_key(const struct schema_type *t, const struct schema_field *f)
{
    for (size_t i = 0; i < schema_type_count; i++) {
        const struct schema_field *fields = schema_fields(schema_types + i);
        for (size_t k = 0; k < schema_types[i].field_count; k++) {
            if (fields[k].merge == SCHEMA_MERGE_KEYED && schema_field_type(fields + k) == t &&
                words_have(schema_text(fields + k, fields[k].list_keys), schema_field_name(f))) {
                return true;
            }
        }
    }
    return false;
}

/* The default of a value that is always there: what it is when nobody sets it. Version 2 has
 * none. t: the type that has the field; NULL: it is an item of one. */
static void print_default(const struct openapi_doc *d, const struct schema_type *t,
                          const struct schema_field *f, struct buf *out)
{
    bool required = t == NULL || (f->flags & SCHEMA_FIELD_REQUIRED) != 0;
    bool own = t != NULL && (f->flags & SCHEMA_FIELD_DEFAULT) != 0 && d->v3 && is_list_key(t, f);
    if (!d->v3 || (f->flags & SCHEMA_FIELD_POINTER && !own)) {
        return;
    }
    switch (f->kind) {
    case SCHEMA_MESSAGE:
        buf_append_str(out, f->flags & SCHEMA_FIELD_POINTER ? "" : ",\"default\":{}");
        return;
    case SCHEMA_TEXT:
        if (own || required) {
            buf_append_str(out, ",\"default\":");
            encode_text(slice_str(own ? schema_text(f, f->fallback) : ""), out);
        }
        return;
    case SCHEMA_BOOL:
        if (own || required) {
            buf_printf(out, ",\"default\":%s", own && f->fallback_number ? "true" : "false");
        }
        return;
    case SCHEMA_INT32:
    case SCHEMA_INT64:
        if (own || required) {
            buf_printf(out, ",\"default\":%" PRId32, own ? f->fallback_number : 0);
        }
        return;
    default:
        return;
    }
}

/* One value: an item of a list or map. */
static void print_item(const struct openapi_doc *d, const struct schema_field *f, struct buf *out)
{
    const char *plain = plain_type(f);
    if (plain[0] != 0) {
        buf_printf(out, "{%s", plain);
        print_enum(f, out);
        print_default(d, NULL, f, out);
        buf_append_byte(out, '}');
    } else if (f->kind == SCHEMA_MESSAGE && d->v3) {
        buf_append_str(out, "{\"allOf\":[");
        print_field_ref(d, f, out);
        buf_append_str(out, "],\"default\":{}}");
    } else {
        print_field_ref(d, f, out);
    }
}

/* ---- how lists and maps are merged ---------------------------------------------------------- */

static void print_list_keys(const struct schema_field *f, struct buf *out)
{
    const char *keys = schema_text(f, f->list_keys);
    keys = keys[0] == 0 ? schema_text(f, f->merge_key) : keys;
    buf_append_str(out, ",\"x-kubernetes-list-map-keys\":[");
    for (bool first = true; *keys != 0; first = false) {
        size_t n = strcspn(keys, ",");
        buf_printf(out, "%s\"%.*s\"", first ? "" : ",", (int)n, keys);
        keys += n + (keys[n] == ',');
    }
    buf_append_str(out, "],\"x-kubernetes-list-type\":\"map\"");
}

static void print_merging(const struct schema_field *f, struct buf *out)
{
    bool merge = f->patch == SCHEMA_PATCH_MERGE;
    bool retain = (f->flags & SCHEMA_FIELD_RETAIN_KEYS) != 0;
    if (f->shape == SCHEMA_LIST && f->merge == SCHEMA_MERGE_KEYED) {
        print_list_keys(f, out);
    } else if (f->shape == SCHEMA_LIST) {
        buf_printf(out, ",\"x-kubernetes-list-type\":\"%s\"",
                   f->merge == SCHEMA_MERGE_SET ? "set" : "atomic");
    } else if (f->shape == SCHEMA_MAP && f->merge == SCHEMA_MERGE_ATOMIC) {
        buf_append_str(out, ",\"x-kubernetes-map-type\":\"atomic\"");
    }
    if (merge && schema_text(f, f->merge_key)[0] != 0) {
        buf_printf(out, ",\"x-kubernetes-patch-merge-key\":\"%s\"", schema_text(f, f->merge_key));
    }
    if (merge || retain) {
        buf_printf(out, ",\"x-kubernetes-patch-strategy\":\"%s\"",
                   merge && retain ? "merge,retainKeys"
                   : merge         ? "merge"
                                   : "retainKeys");
    }
}

/* ---- fields -------------------------------------------------------------------------------- */

static void print_about(const char *about, struct buf *out)
{
    if (about[0] != 0) {
        buf_append_str(out, ",\"description\":");
        encode_text(slice_str(about), out);
    }
}

/* A field that is a single value. What stands beside a $ref is lost in version 3.0, hence allOf. */
static void print_one(const struct openapi_doc *d, const struct schema_type *t,
                      const struct schema_field *f, struct buf *out)
{
    const char *plain = plain_type(f);
    if (plain[0] != 0) {
        buf_printf(out, "{%s", plain);
        print_enum(f, out);
    } else if (d->v3) {
        buf_append_str(out, "{\"allOf\":[");
        print_field_ref(d, f, out);
        buf_append_byte(out, ']');
    } else {
        print_field_ref(d, f, out);
        out->len -= out->failed ? 0 : 1; /* its brace: more follows */
    }
    print_default(d, t, f, out);
}

static void print_field(const struct openapi_doc *d, const struct schema_type *t,
                        const struct schema_field *f, bool items, struct buf *out)
{
    encode_text(slice_str(schema_field_name(f)), out);
    buf_append_byte(out, ':');
    if (f->shape == SCHEMA_ONE) {
        print_one(d, t, f, out);
    } else {
        buf_append_str(out, f->shape == SCHEMA_LIST
                                ? "{\"type\":\"array\",\"items\":"
                                : "{\"type\":\"object\",\"additionalProperties\":");
        print_item(d, f, out);
    }
    print_about(schema_text(f, f->about), out);
    if (!items) {
        print_merging(f, out);
    }
    buf_append_byte(out, '}');
}

static void print_required(const struct schema_type *t, struct buf *out)
{
    bool first = true;
    for (size_t i = 0; i < t->field_count; i++) {
        const struct schema_field *f = schema_fields(t) + i;
        if (f->flags & SCHEMA_FIELD_REQUIRED) {
            buf_printf(out, "%s\"%s\"", first ? ",\"required\":[" : ",", schema_field_name(f));
            first = false;
        }
    }
    buf_append_str(out, first ? "" : "]");
}

/* Types of meta are served in every group; clients look for them in the core group. */
static void print_kind(const struct schema_type *t, struct buf *out)
{
    const char *group = schema_text(t, t->group);
    if (t->flags & SCHEMA_TYPE_TYPED) {
        buf_printf(out,
                   ",\"x-kubernetes-group-version-kind\":[{\"group\":\"%s\",\"kind\":\"%s\","
                   "\"version\":\"%s\"}]",
                   strcmp(group, "meta.k8s.io") == 0 ? "" : group, schema_type_name(t),
                   schema_text(t, t->version));
    }
}

void openapi_print_type(const struct openapi_doc *d, const struct schema_type *t, struct buf *out)
{
    const struct schema_field *fields = schema_fields(t);
    buf_append_byte(out, '"');
    print_name(t, out);
    buf_append_str(out, "\":{\"type\":\"object\"");
    print_about(schema_text(t, t->about), out);
    for (size_t i = 0; i < t->field_count; i++) {
        bool items = (t->flags & SCHEMA_TYPE_TYPED) != 0 &&
                     strcmp(schema_field_name(fields + i), "items") == 0;
        buf_append_str(out, i == 0 ? ",\"properties\":{" : ",");
        print_field(d, t, fields + i, items, out);
    }
    buf_append_str(out, t->field_count > 0 ? "}" : "");
    print_required(t, out);
    print_kind(t, out);
    buf_append_str(out,
                   t->flags & SCHEMA_TYPE_ATOMIC ? ",\"x-kubernetes-map-type\":\"atomic\"}" : "}");
}

void openapi_print_extra(const struct openapi_doc *d, enum openapi_extra extra, struct buf *out)
{
    size_t i = extra_index(extra);
    buf_printf(out, "\"io.k8s.apimachinery.pkg.%s\":{%s}", extras[i].name,
               d->v3 || extras[i].v2 == NULL ? extras[i].v3 : extras[i].v2);
}
