/* protobuf_encode.c - trees into protobuf, by the numbers of the schema.
 *
 * Fields are written in the order of their numbers' tables, what is unset or zero (and not a
 * pointer in Go) is left out. The length of a message is known when it has been written: its bytes
 * are moved by the few its length takes. */
#include <string.h>

#include "plugins/object/protobuf.h"

#define TAG(number, wire) ((uint64_t)(number) << 3 | (wire))

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2 };

size_t protobuf_begin(struct buf *out, unsigned number)
{
    buf_append_varint(out, TAG(number, WIRE_BYTES));
    return out->len;
}

void protobuf_end(struct buf *out, size_t begin)
{
    size_t len = out->len - begin;
    if (out->failed) {
        return;
    }
    buf_append_varint(out, len);
    size_t size = out->len - begin - len;
    uint8_t head[10];
    if (out->failed) {
        return;
    }
    memcpy(head, out->data + begin + len, size);
    memmove(out->data + begin + size, out->data + begin, len);
    memcpy(out->data + begin, head, size);
}

void protobuf_put_bytes(unsigned number, struct slice bytes, struct buf *out)
{
    buf_append_varint(out, TAG(number, WIRE_BYTES));
    buf_append_varint(out, bytes.len);
    buf_append_slice(out, bytes);
}

void protobuf_put_int(unsigned number, int64_t v, struct buf *out)
{
    buf_append_varint(out, TAG(number, WIRE_VARINT));
    buf_append_varint(out, (uint64_t)v);
}

static void protobuf_put_time(const struct schema_field *f, const struct value *v, struct buf *out)
{
    int64_t seconds = v->integer;
    int64_t nanos = 0;
    if (v->kind != VALUE_INT) {
        return;
    }
    if (f->kind == SCHEMA_MICROTIME) {
        int64_t micros = v->integer % 1000000;
        micros += micros < 0 ? 1000000 : 0;
        seconds = (v->integer - micros) / 1000000;
        nanos = micros * 1000;
    }
    protobuf_put_int(1, seconds, out);
    if (nanos != 0) {
        protobuf_put_int(2, nanos, out);
    }
}

static void protobuf_put_int_or_text(const struct value *v, struct buf *out)
{
    if (v->kind == VALUE_INT) {
        protobuf_put_int(1, 0, out);
        protobuf_put_int(2, v->integer, out);
    } else {
        protobuf_put_int(1, 1, out);
        protobuf_put_bytes(3, value_slice(v), out);
    }
}

static void protobuf_put_fields(const struct schema_type *t, const struct value *v, unsigned outer,
                                struct buf *out);

/* One value of a field under a number (in maps it is 2). */
static void protobuf_put(const struct schema_field *f, unsigned number, const struct value *v,
                         struct buf *out)
{
    size_t begin;
    switch ((enum schema_kind)f->kind) {
    case SCHEMA_TEXT:
    case SCHEMA_BYTES:
        protobuf_put_bytes(number, value_slice(v), out);
        return;
    case SCHEMA_BOOL:
        protobuf_put_int(number, v->boolean ? 1 : 0, out);
        return;
    case SCHEMA_INT32:
    case SCHEMA_INT64:
        protobuf_put_int(number, v->integer, out);
        return;
    case SCHEMA_DOUBLE: {
        uint64_t bits;
        memcpy(&bits, &v->number, sizeof bits);
        buf_append_varint(out, TAG(number, WIRE_FIXED64));
        buf_append_le64(out, bits);
        return;
    }
    default:
        break;
    }
    begin = protobuf_begin(out, number);
    switch ((enum schema_kind)f->kind) {
    case SCHEMA_TIME:
    case SCHEMA_MICROTIME:
        protobuf_put_time(f, v, out);
        break;
    case SCHEMA_QUANTITY:
    case SCHEMA_RAW:
        protobuf_put_bytes(1, value_slice(v), out);
        break;
    case SCHEMA_INT_OR_TEXT:
        protobuf_put_int_or_text(v, out);
        break;
    case SCHEMA_WRAPPER:
        for (size_t i = 0; i < value_len(v); i++) {
            protobuf_put_bytes(1, value_slice(&v->items[i]), out);
        }
        break;
    case SCHEMA_MESSAGE:
        encode_protobuf(schema_field_type(f), v, out);
        break;
    default:
        break;
    }
    protobuf_end(out, begin);
}

static void protobuf_put_field(const struct schema_field *f, const struct value *v, struct buf *out)
{
    if (f->shape == SCHEMA_LIST) {
        for (size_t i = 0; i < value_len(v); i++) {
            protobuf_put(f, f->number, &v->items[i], out);
        }
        return;
    }
    if (f->shape == SCHEMA_MAP) {
        for (size_t i = 0; i < value_len(v); i++) {
            size_t begin = protobuf_begin(out, f->number);
            protobuf_put_bytes(1, value_map_key(v, i), out);
            protobuf_put(f, 2, value_map_at(v, i), out);
            protobuf_end(out, begin);
        }
        return;
    }
    if ((f->flags & SCHEMA_FIELD_POINTER) || f->kind == SCHEMA_MESSAGE || f->kind == SCHEMA_TIME ||
        f->kind == SCHEMA_MICROTIME || !value_is_zero(v)) {
        protobuf_put(f, f->number, v, out);
    }
}

/* The fields that lie in message `outer` of t; those of t itself are 0, with the others inside. */
static void protobuf_put_fields(const struct schema_type *t, const struct value *v, unsigned outer,
                                struct buf *out)
{
    const struct schema_field *fields = schema_fields(t);
    unsigned inside = 0;
    for (size_t i = 0; i < value_len(v); i++) {
        const struct value *member = &v->items[i];
        const struct schema_field *f = fields + member->field;
        if (f->number == 0) {
            continue; /* kind and apiVersion */
        }
        if (f->outer == outer) {
            protobuf_put_field(f, member, out);
        } else if (outer == 0 && f->outer != inside) {
            /* The fields of one inlined message stand next to each other. */
            inside = f->outer;
            size_t begin = protobuf_begin(out, inside);
            protobuf_put_fields(t, v, inside, out);
            protobuf_end(out, begin);
        }
    }
}

void encode_protobuf(const struct schema_type *t, const struct value *v, struct buf *out)
{
    if (v != NULL) {
        protobuf_put_fields(t, v, 0, out);
    }
}

void protobuf_wrap(struct slice api_version, struct slice kind, struct slice m, struct buf *out)
{
    buf_append(out, "k8s", 4); /* its NUL belongs to it */
    size_t begin = protobuf_begin(out, 1);
    protobuf_put_bytes(1, api_version, out);
    protobuf_put_bytes(2, kind, out);
    protobuf_end(out, begin);
    protobuf_put_bytes(2, m, out);
}
