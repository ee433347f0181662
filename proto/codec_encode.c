/* codec_encode.c - the encoder: sizes first, then the bytes from the end to the start.
 *
 * A submessage's length stands before its body. Writing backwards the body is there first and its
 * length is a subtraction, so each message is sized once however deep it lies. */
#include "proto/codec.h"

#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "proto/codec_types.h"

static size_t encode_message_size(const ProtobufCMessage *msg);

/* A number as it travels: a varint's value, or the bits of a fixed-width one. */
static uint64_t encode_load(ProtobufCType type, const void *from)
{
    if (codec_value_bytes(type) == 8) {
        uint64_t wide;
        memcpy(&wide, from, 8);
        return type == PROTOBUF_C_TYPE_SINT64 ? (wide << 1) ^ -(wide >> 63) : wide;
    }
    uint32_t narrow;
    memcpy(&narrow, from, 4);
    switch (type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_ENUM:
        return (uint64_t)(int64_t)(int32_t)narrow; /* negative ones take ten bytes */
    case PROTOBUF_C_TYPE_SINT32:
        return (uint32_t)(narrow << 1) ^ -(narrow >> 31);
    case PROTOBUF_C_TYPE_BOOL:
        return narrow != 0;
    default:
        return narrow;
    }
}

static size_t encode_number_size(ProtobufCType type, uint64_t raw)
{
    switch (codec_wire_of(type)) {
    case WIRE_FIXED32:
        return 4;
    case WIRE_FIXED64:
        return 8;
    default:
        return wire_varint_size(raw);
    }
}

/* The bytes of a string, bytes or message value, without the length before them. */
static size_t encode_body_size(ProtobufCType type, const void *from)
{
    switch (type) {
    case PROTOBUF_C_TYPE_STRING: {
        const char *text = *(char *const *)from;
        return text == NULL ? 0 : strlen(text);
    }
    case PROTOBUF_C_TYPE_BYTES:
        return ((const ProtobufCBinaryData *)from)->len;
    default: {
        const ProtobufCMessage *sub = *(ProtobufCMessage *const *)from;
        return sub == NULL ? 0 : encode_message_size(sub);
    }
    }
}

static size_t encode_tag_size(const ProtobufCFieldDescriptor *f)
{
    return wire_varint_size((uint64_t)f->id << 3);
}

/* Most fields of most messages are zero: whether the member's memory is all zero answers for the
 * numbers (-0.0 counts as set, as in Go), for bytes by their length, for messages by the pointer.
 */
static inline bool encode_is_nonzero(const ProtobufCFieldDescriptor *f, const void *member)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_STRING: {
        const char *text = *(char *const *)member;
        return text != NULL && text[0] != '\0';
    }
    case PROTOBUF_C_TYPE_BYTES:
        return ((const ProtobufCBinaryData *)member)->len > 0;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
    case PROTOBUF_C_TYPE_MESSAGE: {
        uint64_t wide;
        memcpy(&wide, member, 8);
        return wide != 0;
    }
    default: {
        uint32_t narrow;
        memcpy(&narrow, member, 4);
        return narrow != 0;
    }
    }
}

/* True when a field that is no list has to be written: not zero, or the oneof's chosen member. A
 * message counts as set when there is one, also an empty one. A oneof's chosen message without an
 * object is a caller's slip; it travels as an empty one. */
static inline bool encode_is_set(void *msg, const ProtobufCFieldDescriptor *f)
{
    if (codec_is_oneof(f)) {
        return *codec_case(msg, f) == f->id;
    }
    return encode_is_nonzero(f, codec_member(msg, f));
}

_Static_assert(sizeof(void *) == 8, "a message pointer is read as 64 bits");

static size_t encode_packed_size(ProtobufCType type, const char *list, size_t count)
{
    size_t each = codec_value_bytes(type);
    enum wire_type wire = codec_wire_of(type);
    if (wire != WIRE_VARINT) {
        return count * (wire == WIRE_FIXED64 ? 8 : 4);
    }
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        size += wire_varint_size(encode_load(type, list + i * each));
    }
    return size;
}

static size_t encode_list_size(void *msg, const ProtobufCFieldDescriptor *f)
{
    size_t count = *codec_count(msg, f);
    if (count == 0) {
        return 0;
    }
    const char *list = *(char **)codec_member(msg, f);
    if (codec_wire_of(f->type) != WIRE_BYTES) {
        size_t body = encode_packed_size(f->type, list, count);
        return encode_tag_size(f) + wire_varint_size(body) + body;
    }
    size_t each = codec_value_bytes(f->type);
    size_t size = count * encode_tag_size(f);
    for (size_t i = 0; i < count; i++) {
        size_t body = encode_body_size(f->type, list + i * each);
        size += wire_varint_size(body) + body;
    }
    return size;
}

static size_t encode_message_size(const ProtobufCMessage *const_msg)
{
    void *msg = (void *)const_msg; /* the accessors serve the decoder too; nothing is written */
    const ProtobufCMessageDescriptor *type = const_msg->descriptor;
    size_t size = 0;
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &type->fields[i];
        if (f->label == PROTOBUF_C_LABEL_REPEATED) {
            size += encode_list_size(msg, f);
        } else if (encode_is_set(msg, f)) {
            size += encode_tag_size(f);
            if (codec_wire_of(f->type) == WIRE_BYTES) {
                size_t body = encode_body_size(f->type, codec_member(msg, f));
                size += wire_varint_size(body) + body;
            } else {
                uint64_t raw = encode_load(f->type, codec_member(msg, f));
                size += encode_number_size(f->type, raw);
            }
        }
    }
    return size;
}

/* ---- writing backwards: each function gets the end and returns the start ---- */

static uint8_t *encode_varint(uint8_t *end, uint64_t value)
{
    if (value < 0x80) {
        *--end = (uint8_t)value;
        return end;
    }
    uint8_t *start = end - wire_varint_size(value);
    uint8_t *p = start;
    for (; value >= 0x80; value >>= 7) {
        *p++ = (uint8_t)(value | 0x80);
    }
    *p = (uint8_t)value;
    return start;
}

static uint8_t *encode_tag(uint8_t *end, const ProtobufCFieldDescriptor *f, enum wire_type wire)
{
    return encode_varint(end, (uint64_t)f->id << 3 | wire);
}

static uint8_t *encode_number(uint8_t *end, ProtobufCType type, uint64_t raw)
{
    switch (codec_wire_of(type)) {
    case WIRE_FIXED32:
        end -= 4;
        bytes_put_le32(end, (uint32_t)raw);
        return end;
    case WIRE_FIXED64:
        end -= 8;
        bytes_put_le64(end, raw);
        return end;
    default:
        return encode_varint(end, raw);
    }
}

static uint8_t *encode_copy(uint8_t *end, const void *data, size_t len)
{
    end -= len;
    if (len > 0) {
        memcpy(end, data, len);
    }
    return end;
}

static uint8_t *encode_message(uint8_t *end, const ProtobufCMessage *const_msg);

/* Tag, length and body of one string, bytes or message value. */
static uint8_t *encode_bytes_field(uint8_t *end, const ProtobufCFieldDescriptor *f,
                                   const void *from)
{
    uint8_t *start = end;
    switch (f->type) {
    case PROTOBUF_C_TYPE_STRING: {
        const char *text = *(char *const *)from;
        if (text != NULL) {
            start = encode_copy(end, text, strlen(text));
        }
        break;
    }
    case PROTOBUF_C_TYPE_BYTES: {
        const ProtobufCBinaryData *bytes = from;
        start = encode_copy(end, bytes->data, bytes->len);
        break;
    }
    default: {
        const ProtobufCMessage *sub = *(ProtobufCMessage *const *)from;
        if (sub != NULL) {
            start = encode_message(end, sub);
        }
        break;
    }
    }
    start = encode_varint(start, (uint64_t)(end - start));
    return encode_tag(start, f, WIRE_BYTES);
}

static uint8_t *encode_list(uint8_t *end, void *msg, const ProtobufCFieldDescriptor *f)
{
    size_t count = *codec_count(msg, f);
    if (count == 0) {
        return end;
    }
    const char *list = *(char **)codec_member(msg, f);
    size_t each = codec_value_bytes(f->type);
    uint8_t *start = end;
    if (codec_wire_of(f->type) == WIRE_BYTES) {
        for (size_t i = count; i-- > 0;) {
            start = encode_bytes_field(start, f, list + i * each);
        }
        return start;
    }
    for (size_t i = count; i-- > 0;) {
        start = encode_number(start, f->type, encode_load(f->type, list + i * each));
    }
    start = encode_varint(start, (uint64_t)(end - start));
    return encode_tag(start, f, WIRE_BYTES);
}

static uint8_t *encode_message(uint8_t *end, const ProtobufCMessage *const_msg)
{
    void *msg = (void *)const_msg;
    const ProtobufCMessageDescriptor *type = const_msg->descriptor;
    for (unsigned i = type->n_fields; i-- > 0;) {
        const ProtobufCFieldDescriptor *f = &type->fields[i];
        if (f->label == PROTOBUF_C_LABEL_REPEATED) {
            end = encode_list(end, msg, f);
        } else if (encode_is_set(msg, f)) {
            const void *member = codec_member(msg, f);
            enum wire_type wire = codec_wire_of(f->type);
            if (wire == WIRE_BYTES) {
                end = encode_bytes_field(end, f, member);
            } else {
                end = encode_number(end, f->type, encode_load(f->type, member));
                end = encode_tag(end, f, wire);
            }
        }
    }
    return end;
}

size_t codec_size(const void *msg)
{
    return encode_message_size(msg);
}

bool codec_encode(const void *msg, struct buf *out)
{
    size_t size = encode_message_size(msg);
    if (!buf_reserve(out, size)) {
        return false;
    }
    if (size > 0) {
        uint8_t *start = out->data + out->len;
        uint8_t *reached = encode_message(start + size, msg);
        FATAL_IF(reached != start, "a message changed while it was encoded");
        out->len += size;
    }
    return true;
}
