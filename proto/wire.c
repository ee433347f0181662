/* wire.c - single fields written and read by hand. */
#include "proto/codec.h"

#include "base/bytes.h"
#include "proto/codec_types.h"

#define WIRE_FIELD_NUMBER_MAX ((1u << 29) - 1)

size_t wire_varint_size(uint64_t value)
{
    /* ceil(bits / 7), with one bit for zero. */
    unsigned bits = 64 - (unsigned)__builtin_clzll(value | 1);
    return (bits + 6) / 7;
}

size_t wire_uint_size(uint32_t field, uint64_t value)
{
    return value == 0 ? 0 : wire_varint_size((uint64_t)field << 3) + wire_varint_size(value);
}

size_t wire_bytes_size(uint32_t field, size_t len)
{
    return len == 0 ? 0 : wire_varint_size((uint64_t)field << 3) + wire_varint_size(len) + len;
}

bool wire_put_uint(struct buf *out, uint32_t field, uint64_t value)
{
    if (value == 0) {
        return !out->failed;
    }
    return buf_append_varint(out, (uint64_t)field << 3 | WIRE_VARINT) &&
           buf_append_varint(out, value);
}

bool wire_put_header(struct buf *out, uint32_t field, size_t len)
{
    return buf_append_varint(out, (uint64_t)field << 3 | WIRE_BYTES) && buf_append_varint(out, len);
}

bool wire_put_bytes(struct buf *out, uint32_t field, struct slice bytes)
{
    if (bytes.len == 0) {
        return !out->failed;
    }
    return wire_put_header(out, field, bytes.len) && buf_append_slice(out, bytes);
}

int wire_next(struct slice *input, struct wire_field *field)
{
    const uint8_t *p = input->data;
    if (input->len == 0) {
        return 0;
    }
    const uint8_t *end = p + input->len;
    uint64_t tag;
    p = codec_varint(p, end, &tag);
    if (p == NULL || tag >> 3 == 0 || tag >> 3 > WIRE_FIELD_NUMBER_MAX) {
        return -1;
    }
    *field = (struct wire_field){.number = (uint32_t)(tag >> 3), .type = (enum wire_type)(tag & 7)};
    size_t left = (size_t)(end - p);
    switch (field->type) {
    case WIRE_VARINT:
        p = codec_varint(p, end, &field->value);
        if (p == NULL) {
            return -1;
        }
        break;
    case WIRE_FIXED64:
        if (left < 8) {
            return -1;
        }
        field->value = bytes_le64(p);
        p += 8;
        break;
    case WIRE_FIXED32:
        if (left < 4) {
            return -1;
        }
        field->value = bytes_le32(p);
        p += 4;
        break;
    case WIRE_BYTES: {
        uint64_t len;
        p = codec_varint(p, end, &len);
        if (p == NULL || len > (size_t)(end - p)) {
            return -1;
        }
        field->bytes = slice_of(p, (size_t)len);
        p += len;
        break;
    }
    default: /* groups and reserved types: nothing of ours has them */
        return -1;
    }
    *input = slice_of(p, (size_t)(end - p));
    return 1;
}
