/* stored.c - keys and values. */
#include "plugins/apiserver/stored.h"

#include <inttypes.h>
#include <stdio.h>

#include "plugins/object/encode.h"
#include "plugins/object/registry.h"

/* What an object takes, as a rule. */
#define STORED_BYTES 4096u

/* ---- keys ---------------------------------------------------------------------------------- */

void stored_key(const struct schema_type *type, struct slice space, struct slice name,
                struct buf *out)
{
    registry_key(type, space, name, out);
}

/* ---- events of two groups ------------------------------------------------------------------ */

static const char *const renamed[][2] = {
    /* core, events.k8s.io */
    {"involvedObject", "regarding"},
    {"message", "note"},
    {"source", "deprecatedSource"},
    {"firstTimestamp", "deprecatedFirstTimestamp"},
    {"lastTimestamp", "deprecatedLastTimestamp"},
    {"count", "deprecatedCount"},
    {"reportingComponent", "reportingController"},
};

static const struct schema_type *stored_type(const struct schema_type *type)
{
    return type == schema_type(SCHEMA_EVENTS_V1_EVENT) ? schema_type(SCHEMA_CORE_V1_EVENT) : type;
}

/* An event of one group as one of the other; what the fields hold has the same form in both. */
static int stored_convert(const struct object *from, const struct schema_type *type,
                          struct arena *a, struct object *to)
{
    int rc = object_new(to, type, a);
    bool to_core = type == schema_type(SCHEMA_CORE_V1_EVENT);
    for (size_t i = 0; i < value_len(&from->root) && rc == 0; i++) {
        const struct value *v = &from->root.items[i];
        const struct schema_field *f = schema_fields(from->type) + v->field;
        const char *name = schema_field_name(f);
        for (size_t k = 0; k < sizeof renamed / sizeof renamed[0]; k++) {
            name = strcmp(name, renamed[k][to_core]) == 0 ? renamed[k][!to_core] : name;
        }
        const struct schema_field *g = schema_find(type, slice_str(name));
        if (f->number == 0 || g == NULL) {
            continue;
        }
        struct value copy;
        rc = value_copy_shared(a, v, &copy);
        if (rc == 0 &&
            value_set_member(a, &to->root, (unsigned)(g - schema_fields(type)), copy) == NULL) {
            rc = ERR_NOMEM;
        }
    }
    return rc;
}

/* ---- values -------------------------------------------------------------------------------- */

int stored_encode(struct object *o, struct buf *out)
{
    struct object core;
    struct object *stored = o;
    int rc = 0;
    if (stored_type(o->type) != o->type) {
        stored = &core;
        rc = stored_convert(o, stored_type(o->type), o->arena, &core);
    }
    if (rc != 0) {
        return rc;
    }
    struct slice version = object_text(stored, "metadata.resourceVersion");
    object_remove(stored, "metadata.resourceVersion");
    rc = object_set_type_meta(stored);
    if (rc == 0) {
        buf_reserve(out, STORED_BYTES);
        object_encode(stored, out);
        rc = out->failed ? ERR_NOMEM : 0;
    }
    return rc == 0 && version.len > 0 ? object_set_text(stored, "metadata.resourceVersion", version)
                                      : rc;
}

static int stored_read(const struct schema_type *type, struct slice value, int64_t revision,
                       bool lean, struct arena *a, struct object *out, struct errmsg *e)
{
    char text[24];
    struct object o;
    int rc = lean ? object_decode_lean(&o, stored_type(type), a, value, e)
                  : object_decode(&o, stored_type(type), a, value, NULL, e);
    if (rc != 0) {
        return rc == ERR_NOMEM ? rc : errmsg_wrap(e, ERR_INVALID, "a stored object");
    }
    if (type != o.type) {
        rc = stored_convert(&o, type, a, out);
    } else {
        *out = o;
    }
    snprintf(text, sizeof text, "%" PRId64, revision);
    rc = rc == 0 ? object_set_str(out, "metadata.resourceVersion", text) : rc;
    return rc == 0 ? object_set_type_meta(out) : rc;
}

int stored_decode(const struct schema_type *type, struct slice value, int64_t revision,
                  struct arena *a, struct object *out, struct errmsg *e)
{
    return stored_read(type, value, revision, false, a, out, e);
}

int stored_decode_lean(const struct schema_type *type, struct slice value, int64_t revision,
                       struct arena *a, struct object *out, struct errmsg *e)
{
    return stored_read(type, value, revision, true, a, out, e);
}

/* {"kind":"K","apiVersion":"G/V", */
static size_t stored_head(const struct schema_type *type, char *out, size_t room)
{
    const char *group = schema_text(type, type->group);
    int n =
        snprintf(out, room, "{\"kind\":\"%s\",\"apiVersion\":\"%s%s%s\",", schema_type_name(type),
                 group, group[0] != 0 ? "/" : "", schema_text(type, type->version));
    return n > 0 && (size_t)n < room ? (size_t)n : 0;
}

/* The end of a JSON text that begins at `at` with its quote; 0 = there is none. */
static size_t stored_text_end(struct slice s, size_t at)
{
    if (at >= s.len || s.data[at] != '"') {
        return 0;
    }
    for (at++; at < s.len; at++) {
        if (s.data[at] == '\\') {
            at++;
        } else if (s.data[at] == '"') {
            return at + 1;
        }
    }
    return 0;
}

/* Where resourceVersion belongs: behind those of its elder siblings that are there. 0 = the value
 * is not in the order we write. */
static size_t stored_splice(struct slice s, size_t at)
{
    static const char meta[] = "\"metadata\":{";
    static const char *const before[] = {"\"name\"", "\"generateName\"", "\"namespace\"",
                                         "\"selfLink\"", "\"uid\""};
    if (!slice_starts_with(slice_of(s.data + at, s.len - at), slice_str(meta))) {
        return 0;
    }
    at += sizeof meta - 1;
    size_t end = 0;
    for (;;) {
        size_t name_end = stored_text_end(s, at);
        struct slice name = name_end == 0 ? slice_of("", 0) : slice_of(s.data + at, name_end - at);
        bool known = false;
        for (size_t i = 0; i < sizeof before / sizeof before[0]; i++) {
            known = known || slice_eq(name, slice_str(before[i]));
        }
        if (slice_eq(name, slice_str("\"resourceVersion\"")) || (!known && end == 0)) {
            return 0;
        }
        if (!known) {
            return end;
        }
        end = name_end < s.len && s.data[name_end] == ':' ? stored_text_end(s, name_end + 1) : 0;
        if (end == 0 || end >= s.len || s.data[end] != ',') {
            return end;
        }
        at = end + 1;
    }
}

/* Where the value that begins at `at` with a brace ends; 0 = nowhere. */
static size_t stored_object_end(struct slice s, size_t at)
{
    size_t depth = 0;
    while (at < s.len) {
        uint8_t byte = s.data[at];
        if (byte == '"') {
            at = stored_text_end(s, at);
            if (at == 0) {
                return 0;
            }
            continue;
        }
        depth += byte == '{';
        at++;
        if (byte == '}' && --depth == 0) {
            return at;
        }
    }
    return 0;
}

int stored_print_metadata(const struct schema_type *type, struct slice value, int64_t revision,
                          struct arena *scratch, struct buf *out, struct errmsg *e)
{
    char head[256];
    size_t n = stored_head(type, head, sizeof head);
    size_t at = n > 0 && slice_starts_with(value, slice_of(head, n)) ? stored_splice(value, n) : 0;
    size_t from = n + sizeof "\"metadata\":" - 1;
    size_t end = at > 0 ? stored_object_end(value, from) : 0;
    if (end > at) {
        buf_append(out, value.data + from, at - from);
        buf_printf(out, ",\"resourceVersion\":\"%" PRId64 "\"", revision);
        buf_append(out, value.data + at, end - at);
        return out->failed ? ERR_NOMEM : 0;
    }
    struct object o;
    int rc = stored_decode(type, value, revision, scratch, &o, e);
    if (rc == 0) {
        encode_json(schema_type(SCHEMA_META_V1_OBJECT_META), object_get(&o, "metadata"), out);
        rc = out->failed ? ERR_NOMEM : 0;
    }
    return rc;
}

int stored_print(const struct schema_type *type, struct slice value, int64_t revision, bool item,
                 struct arena *scratch, struct buf *out, struct errmsg *e)
{
    char head[256];
    size_t n = stored_head(type, head, sizeof head);
    size_t at = n > 0 && slice_starts_with(value, slice_of(head, n)) ? stored_splice(value, n) : 0;
    if (at > 0) {
        size_t from = item ? n : 0;
        buf_append_str(out, item ? "{" : "");
        buf_append(out, value.data + from, at - from);
        buf_printf(out, ",\"resourceVersion\":\"%" PRId64 "\"", revision);
        buf_append(out, value.data + at, value.len - at);
        return out->failed ? ERR_NOMEM : 0;
    }
    struct object o;
    int rc = stored_decode(type, value, revision, scratch, &o, e);
    if (rc == 0 && item) {
        object_remove(&o, "kind");
        object_remove(&o, "apiVersion");
    }
    if (rc == 0) {
        object_encode(&o, out);
        rc = out->failed ? ERR_NOMEM : 0;
    }
    return rc;
}
