/* codec_types.h - what decoder and encoder both know about protobuf-c's field types. Private. */
#ifndef KVD_PROTO_CODEC_TYPES_H
#define KVD_PROTO_CODEC_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "proto/codec.h"

/* How one value of the type travels; packed lists travel as WIRE_BYTES. */
static inline enum wire_type codec_wire_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return WIRE_FIXED32;
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return WIRE_FIXED64;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return WIRE_BYTES;
    default:
        return WIRE_VARINT;
    }
}

/* Size of one value inside a generated struct or array. */
static inline size_t codec_value_bytes(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    default:
        return 4; /* bool and enum are int-sized in protobuf-c */
    }
}

static inline bool codec_is_oneof(const ProtobufCFieldDescriptor *f)
{
    return (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
}

/* Number of elements of a repeated field, or the number of a oneof's set member. */
static inline size_t *codec_count(void *msg, const ProtobufCFieldDescriptor *f)
{
    return (size_t *)((char *)msg + f->quantifier_offset);
}

static inline uint32_t *codec_case(void *msg, const ProtobufCFieldDescriptor *f)
{
    return (uint32_t *)((char *)msg + f->quantifier_offset);
}

static inline void *codec_member(void *msg, const ProtobufCFieldDescriptor *f)
{
    return (char *)msg + f->offset;
}

/* Reads one varint at p. Returns what follows it, or NULL when it is cut short or over 64 bits. */
static inline const uint8_t *codec_varint(const uint8_t *p, const uint8_t *end, uint64_t *value)
{
    if (__builtin_expect(p < end && *p < 0x80, 1)) {
        *value = *p;
        return p + 1;
    }
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64 && p < end; shift += 7) {
        uint64_t byte = *p++;
        if (shift == 63 && byte > 1) {
            return NULL;
        }
        v |= (byte & 0x7f) << shift;
        if (byte < 0x80) {
            *value = v;
            return p;
        }
    }
    return NULL;
}

#endif
