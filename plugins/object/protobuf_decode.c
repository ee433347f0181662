/* protobuf_decode.c - protobuf into trees, by the numbers of the schema. */
#include <string.h>

#include "base/limits.h"
#include "base/utf8.h"
#include "plugins/object/decoder.h"
#include "plugins/object/encode.h"
#include "plugins/object/protobuf.h"
#include "plugins/object/quantity.h"

enum wire { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

/* One field as it stands on the wire. */
struct wire_part {
    uint64_t number;
    enum wire wire;
    uint64_t integer; /* VARINT, FIXED64, FIXED32 */
    struct slice bytes;
};

struct protobuf_reader {
    struct arena *arena;
    struct errmsg *e;
    unsigned depth;
};

static const char magic[4] = {'k', '8', 's', 0};

/* ---- the wire ------------------------------------------------------------------------------ */

static bool wire_varint(struct slice *in, uint64_t *out)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 70 && in->len > 0; shift += 7) {
        uint8_t byte = *in->data;
        *in = slice_of(in->data + 1, in->len - 1);
        if (shift == 63 && byte > 1) {
            return false;
        }
        v |= (uint64_t)(byte & 127) << (shift < 63 ? shift : 63);
        if (byte < 128) {
            *out = v;
            return true;
        }
    }
    return false;
}

static bool wire_fixed(struct slice *in, size_t size, uint64_t *out)
{
    if (in->len < size) {
        return false;
    }
    *out = 0;
    for (size_t i = 0; i < size; i++) {
        *out |= (uint64_t)in->data[i] << (8 * i);
    }
    *in = slice_of(in->data + size, in->len - size);
    return true;
}

/* The next field; false: bytes that are none. */
static bool wire_read(struct slice *in, struct wire_part *out)
{
    uint64_t tag;
    uint64_t len;
    *out = (struct wire_part){0};
    if (!wire_varint(in, &tag) || tag >> 3 == 0) {
        return false;
    }
    out->number = tag >> 3;
    out->wire = (enum wire)(tag & 7);
    switch (out->wire) {
    case WIRE_VARINT:
        return wire_varint(in, &out->integer);
    case WIRE_FIXED64:
        return wire_fixed(in, 8, &out->integer);
    case WIRE_FIXED32:
        return wire_fixed(in, 4, &out->integer);
    case WIRE_BYTES:
        if (!wire_varint(in, &len) || len > in->len) {
            return false;
        }
        out->bytes = slice_of(in->data, (size_t)len);
        *in = slice_of(in->data + len, in->len - (size_t)len);
        return true;
    default:
        return false; /* groups, which nobody sends */
    }
}

/* ---- refusals ------------------------------------------------------------------------------ */

static int protobuf_no_memory(struct protobuf_reader *r)
{
    return errmsg_set(r->e, ERR_NOMEM, "out of memory");
}

static int protobuf_broken(struct protobuf_reader *r, const struct schema_type *t)
{
    return errmsg_set(r->e, ERR_INVALID, "protobuf: a %s is cut short or no message",
                      schema_type_name(t));
}

static int protobuf_refuse(struct protobuf_reader *r, const struct schema_field *f, const char *why)
{
    return errmsg_set(r->e, ERR_INVALID, "protobuf: field %s: %s", schema_field_name(f), why);
}

/* ---- values -------------------------------------------------------------------------------- */

static int protobuf_message(struct protobuf_reader *r, const struct schema_type *t, unsigned outer,
                            struct slice bytes, struct value *m);

/* Two numbers of a small message of Kubernetes' own: fields 1 and 2, and a text, field 3. */
struct protobuf_small {
    uint64_t one, two;
    struct slice text; /* of field 3, or 1 when that is one */
};

static bool protobuf_read_small(struct slice bytes, struct protobuf_small *out)
{
    *out = (struct protobuf_small){.text = slice_of("", 0)};
    while (bytes.len > 0) {
        struct wire_part p;
        if (!wire_read(&bytes, &p)) {
            return false;
        }
        if (p.number == 1 && p.wire == WIRE_VARINT) {
            out->one = p.integer;
        } else if (p.number == 2 && p.wire == WIRE_VARINT) {
            out->two = p.integer;
        } else if (p.wire == WIRE_BYTES && (p.number == 1 || p.number == 3)) {
            out->text = p.bytes;
        }
    }
    return true;
}

static int protobuf_text(struct protobuf_reader *r, const struct schema_field *f, struct slice s,
                         struct value *out)
{
    if (!utf8_valid(s)) {
        return protobuf_refuse(r, f, "the text is no UTF-8");
    }
    struct slice copy = arena_dup(r->arena, s);
    *out = value_text(copy);
    return copy.data == NULL ? protobuf_no_memory(r) : 0;
}

/* Times at zero are unset: out stays as it is. */
static int protobuf_time(struct protobuf_reader *r, const struct schema_field *f, struct slice s,
                         struct value *out)
{
    struct protobuf_small t;
    if (!protobuf_read_small(s, &t)) {
        return protobuf_refuse(r, f, "no time");
    }
    int64_t seconds = (int64_t)t.one;
    int64_t nanos = (int64_t)t.two;
    /* Years 1 to 9999, as RFC 3339 has them. */
    if (seconds < -62135596800 || seconds > 253402300799 || nanos < 0 || nanos > 999999999) {
        return protobuf_refuse(r, f, "the time is out of range");
    }
    if (seconds != 0 || nanos != 0) {
        *out = value_int(f->kind == SCHEMA_MICROTIME ? seconds * 1000000 + nanos / 1000 : seconds);
    }
    return 0;
}

static int protobuf_quantity(struct protobuf_reader *r, const struct schema_field *f,
                             struct slice s, struct value *out)
{
    struct protobuf_small q;
    char text[QUANTITY_TEXT_BYTES_MAX];
    size_t len;
    const char *why;
    if (!protobuf_read_small(s, &q)) {
        return protobuf_refuse(r, f, "no quantity");
    }
    if (quantity_canonical(q.text.len > 0 ? q.text : slice_of("0", 1), text, &len, &why) != 0) {
        return protobuf_refuse(r, f, why);
    }
    struct slice copy = arena_dup(r->arena, slice_of(text, len));
    *out = value_text(copy);
    return copy.data == NULL ? protobuf_no_memory(r) : 0;
}

static int protobuf_int_or_text(struct protobuf_reader *r, const struct schema_field *f,
                                struct slice s, struct value *out)
{
    struct protobuf_small v;
    if (!protobuf_read_small(s, &v)) {
        return protobuf_refuse(r, f, "neither a number nor a text");
    }
    if (v.one == 1) {
        return protobuf_text(r, f, v.text, out);
    }
    *out = value_int((int32_t)v.two);
    return 0;
}

/* JSON inside protobuf: {1 raw}. Written anew, so that it is as compact as all JSON here. */
static int protobuf_raw(struct protobuf_reader *r, const struct schema_field *f, struct slice s,
                        struct value *out)
{
    struct protobuf_small raw;
    struct value v;
    struct errmsg why;
    struct buf b;
    if (!protobuf_read_small(s, &raw)) {
        return protobuf_refuse(r, f, "no JSON");
    }
    if (raw.text.len == 0) {
        return 0;
    }
    if (decode_json(raw.text, NULL, r->arena, &v, NULL, &why) != 0) {
        return protobuf_refuse(r, f, why.text);
    }
    buf_init(&b);
    encode_json(NULL, &v, &b);
    struct slice copy = b.failed ? slice_of(NULL, 0) : arena_dup(r->arena, buf_slice(&b));
    buf_close(&b);
    *out = (struct value){.kind = VALUE_RAW, .len = (uint32_t)copy.len, .text = copy.data};
    return copy.data == NULL ? protobuf_no_memory(r) : 0;
}

static int protobuf_wrapper(struct protobuf_reader *r, const struct schema_field *f,
                            struct slice bytes, struct value *out)
{
    *out = value_empty(VALUE_LIST);
    while (bytes.len > 0) {
        struct wire_part p;
        struct value text;
        if (!wire_read(&bytes, &p)) {
            return protobuf_refuse(r, f, "no list of texts");
        }
        if (p.number != 1 || p.wire != WIRE_BYTES) {
            continue;
        }
        int rc = protobuf_text(r, f, p.bytes, &text);
        if (rc == 0 && value_append(r->arena, out, text) == NULL) {
            rc = protobuf_no_memory(r);
        }
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

/* How a kind of value comes on the wire. */
static enum wire protobuf_wire(const struct schema_field *f)
{
    switch ((enum schema_kind)f->kind) {
    case SCHEMA_BOOL:
    case SCHEMA_INT32:
    case SCHEMA_INT64:
        return WIRE_VARINT;
    case SCHEMA_DOUBLE:
        return WIRE_FIXED64;
    default:
        return WIRE_BYTES;
    }
}

/* One value. *out stays as it is (VALUE_NULL) when there is none. */
static int protobuf_one(struct protobuf_reader *r, const struct schema_field *f,
                        const struct wire_part *p, struct value *out)
{
    *out = value_null();
    if (p->wire != protobuf_wire(f)) {
        return protobuf_refuse(r, f, "another type on the wire");
    }
    switch ((enum schema_kind)f->kind) {
    case SCHEMA_TEXT:
        return protobuf_text(r, f, p->bytes, out);
    case SCHEMA_BYTES: {
        struct slice copy = arena_dup(r->arena, p->bytes);
        *out = value_bytes(copy);
        return copy.data == NULL ? protobuf_no_memory(r) : 0;
    }
    case SCHEMA_BOOL:
        *out = value_bool(p->integer != 0);
        return 0;
    case SCHEMA_INT32:
        *out = value_int((int32_t)p->integer);
        return 0;
    case SCHEMA_INT64:
        *out = value_int((int64_t)p->integer);
        return 0;
    case SCHEMA_DOUBLE:
        *out = (struct value){.kind = VALUE_DOUBLE};
        memcpy(&out->number, &p->integer, sizeof out->number);
        return 0;
    case SCHEMA_TIME:
    case SCHEMA_MICROTIME:
        return protobuf_time(r, f, p->bytes, out);
    case SCHEMA_QUANTITY:
        return protobuf_quantity(r, f, p->bytes, out);
    case SCHEMA_INT_OR_TEXT:
        return protobuf_int_or_text(r, f, p->bytes, out);
    case SCHEMA_RAW:
        return protobuf_raw(r, f, p->bytes, out);
    case SCHEMA_WRAPPER:
        return protobuf_wrapper(r, f, p->bytes, out);
    case SCHEMA_MESSAGE:
        *out = value_empty(VALUE_MESSAGE);
        return protobuf_message(r, schema_field_type(f), 0, p->bytes, out);
    }
    return 0;
}

/* An entry of a map: {1 key, 2 value}. */
static int protobuf_entry(struct protobuf_reader *r, const struct schema_field *f,
                          struct slice bytes, struct value *map)
{
    struct value key = value_text(slice_of("", 0));
    struct value v = value_null();
    while (bytes.len > 0) {
        struct wire_part p;
        int rc = 0;
        if (!wire_read(&bytes, &p)) {
            return protobuf_refuse(r, f, "no entry of a map");
        }
        if (p.number == 1 && p.wire == WIRE_BYTES) {
            rc = protobuf_text(r, f, p.bytes, &key);
        } else if (p.number == 2) {
            rc = protobuf_one(r, f, &p, &v);
        }
        if (rc != 0) {
            return rc;
        }
    }
    v = v.kind == VALUE_NULL ? decode_zero((enum schema_kind)f->kind) : v;
    return value_map_push(r->arena, map, value_slice(&key), v) == NULL ? protobuf_no_memory(r) : 0;
}

/* ---- messages ------------------------------------------------------------------------------ */

/* The list or map of a field, made when it is the first time. */
static struct value *protobuf_container(struct protobuf_reader *r, struct value *m, unsigned index,
                                        const struct schema_field *f)
{
    struct value *v = value_member(m, index);
    return v != NULL
               ? v
               : value_set_member(r->arena, m, index,
                                  value_empty(f->shape == SCHEMA_LIST ? VALUE_LIST : VALUE_MAP));
}

/* Repeated numbers may come in one piece. */
static int protobuf_packed(struct protobuf_reader *r, const struct schema_field *f,
                           struct slice bytes, struct value *list)
{
    while (bytes.len > 0) {
        struct wire_part p = {.wire = protobuf_wire(f)};
        struct value v;
        bool good = p.wire == WIRE_VARINT ? wire_varint(&bytes, &p.integer)
                                          : wire_fixed(&bytes, 8, &p.integer);
        if (!good) {
            return protobuf_refuse(r, f, "numbers cut short");
        }
        int rc = protobuf_one(r, f, &p, &v);
        if (rc == 0 && value_append(r->arena, list, v) == NULL) {
            rc = protobuf_no_memory(r);
        }
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

static int protobuf_field(struct protobuf_reader *r, const struct schema_type *t,
                          const struct schema_field *f, const struct wire_part *p, struct value *m)
{
    unsigned index = (unsigned)(f - schema_fields(t));
    struct value v;
    int rc;
    if (f->shape != SCHEMA_ONE) {
        struct value *all = protobuf_container(r, m, index, f);
        if (all == NULL) {
            return protobuf_no_memory(r);
        }
        if (f->shape == SCHEMA_MAP) {
            return p->wire == WIRE_BYTES ? protobuf_entry(r, f, p->bytes, all)
                                         : protobuf_refuse(r, f, "another type on the wire");
        }
        if (p->wire == WIRE_BYTES && protobuf_wire(f) != WIRE_BYTES) {
            return protobuf_packed(r, f, p->bytes, all);
        }
        rc = protobuf_one(r, f, p, &v);
        if (rc != 0) {
            return rc;
        }
        v = v.kind == VALUE_NULL ? decode_zero((enum schema_kind)f->kind) : v;
        return value_append(r->arena, all, v) == NULL ? protobuf_no_memory(r) : 0;
    }
    rc = protobuf_one(r, f, p, &v);
    if (rc != 0) {
        return rc;
    }
    /* Zero is absent where the schema sees no difference, as when JSON is decoded. */
    bool plain = !(f->flags & SCHEMA_FIELD_POINTER) && v.kind < VALUE_LIST &&
                 f->kind != SCHEMA_TIME && f->kind != SCHEMA_MICROTIME;
    if (v.kind == VALUE_NULL || (plain && value_is_zero(&v))) {
        value_remove_member(m, index);
        return 0;
    }
    return value_set_member(r->arena, m, index, v) == NULL ? protobuf_no_memory(r) : 0;
}

/* A number is a field's, or that of a message whose fields JSON has among the others. */
static int protobuf_member(struct protobuf_reader *r, const struct schema_type *t, unsigned outer,
                           const struct wire_part *p, struct value *m)
{
    const struct schema_field *fields = schema_fields(t);
    for (unsigned i = 0; i < t->field_count; i++) {
        const struct schema_field *f = fields + i;
        if (f->number != 0 && f->number == p->number && f->outer == outer) {
            return protobuf_field(r, t, f, p, m);
        }
        if (outer == 0 && f->outer != 0 && f->outer == p->number && p->wire == WIRE_BYTES) {
            return protobuf_message(r, t, f->outer, p->bytes, m);
        }
    }
    return 0;
}

/* All entries of the maps of m are there. */
static int protobuf_sort_maps(struct protobuf_reader *r, const struct value *m)
{
    int rc = 0;
    for (size_t i = 0; i < m->len && rc == 0; i++) {
        if (m->items[i].kind == VALUE_MAP && value_map_sort(r->arena, &m->items[i]) != 0) {
            rc = protobuf_no_memory(r);
        }
    }
    return rc;
}

/* Fields of m whose messages is number `outer` of t; 0: t itself. */
static int protobuf_message(struct protobuf_reader *r, const struct schema_type *t, unsigned outer,
                            struct slice bytes, struct value *m)
{
    if (r->depth == OBJECT_DEPTH_MAX) {
        return errmsg_set(r->e, ERR_TOO_DEEP, "exceeded max depth");
    }
    r->depth++;
    int rc = 0;
    while (rc == 0 && bytes.len > 0) {
        struct wire_part p;
        rc = wire_read(&bytes, &p) ? protobuf_member(r, t, outer, &p, m) : protobuf_broken(r, t);
    }
    r->depth--;
    return rc == 0 && outer == 0 ? protobuf_sort_maps(r, m) : rc;
}

int decode_protobuf(struct slice bytes, const struct schema_type *t, struct arena *arena,
                    struct value *out, struct errmsg *e)
{
    struct protobuf_reader r = {.arena = arena, .e = e};
    struct value v = value_empty(VALUE_MESSAGE);
    if (bytes.len > OBJECT_BYTES_MAX) {
        return errmsg_set(e, ERR_REQUEST_TOO_LARGE, "Request entity too large: limit is %u",
                          OBJECT_BYTES_MAX);
    }
    int rc = protobuf_message(&r, t, 0, bytes, &v);
    if (rc == 0) {
        *out = v;
    }
    return rc;
}

/* ---- the envelope -------------------------------------------------------------------------- */

int protobuf_open(struct slice bytes, struct protobuf_envelope *out, struct errmsg *e)
{
    *out = (struct protobuf_envelope){slice_of("", 0), slice_of("", 0), slice_of("", 0)};
    if (bytes.len < sizeof magic || memcmp(bytes.data, magic, sizeof magic) != 0) {
        return errmsg_set(e, ERR_INVALID,
                          "provided data does not appear to be a protobuf message, expected prefix "
                          "[107 56 115 0]");
    }
    struct slice rest = slice_of(bytes.data + sizeof magic, bytes.len - sizeof magic);
    while (rest.len > 0) {
        struct wire_part p;
        struct wire_part inner;
        if (!wire_read(&rest, &p)) {
            return errmsg_set(e, ERR_INVALID, "protobuf: the envelope is cut short");
        }
        if (p.number == 2 && p.wire == WIRE_BYTES) {
            out->object = p.bytes;
        } else if (p.number == 1 && p.wire == WIRE_BYTES) {
            while (p.bytes.len > 0) {
                if (!wire_read(&p.bytes, &inner)) {
                    return errmsg_set(e, ERR_INVALID, "protobuf: the envelope is cut short");
                }
                if (inner.number == 1 && inner.wire == WIRE_BYTES) {
                    out->api_version = inner.bytes;
                } else if (inner.number == 2 && inner.wire == WIRE_BYTES) {
                    out->kind = inner.bytes;
                }
            }
        }
    }
    return 0;
}
