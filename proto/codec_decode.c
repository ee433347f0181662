/* codec_decode.c - the decoder: one walk over the input, driven by the type's descriptor.
 *
 * Each field: read tag and payload, find the field, store. Where Go's decoder has a choice, so have
 * we the same one: a known field with a foreign wire type is an unknown field; well-formed groups
 * are skipped; a message seen twice is merged, also inside a oneof; field numbers above 2^29-1 and
 * varints above 64 bits are malformed. Lists grow by doubling inside the arena, so what they leave
 * behind is at most as large as they are. */
#include "proto/codec.h"

#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "proto/codec_types.h"

#define DECODE_FIELD_NUMBER_MAX ((1u << 29) - 1)
#define DECODE_WIRE_GROUP       3
#define DECODE_WIRE_GROUP_END   4
#define DECODE_LIST_MIN         4u

static int decode_message(ProtobufCMessage *msg, const uint8_t *p, const uint8_t *end,
                          struct arena *arena, unsigned depth);

/* The field numbered `number`, NULL when the type has none. *hint is the index expected next:
 * encoders write in number order. */
static const ProtobufCFieldDescriptor *decode_find(const ProtobufCMessageDescriptor *type,
                                                   uint32_t number, unsigned *hint)
{
    const ProtobufCFieldDescriptor *fields = type->fields;
    unsigned i = *hint;
    if (i < type->n_fields && fields[i].id == number) {
        return &fields[i];
    }
    /* Most types number their fields 1, 2, 3... */
    if (number - 1 < type->n_fields && fields[number - 1].id == number) {
        *hint = number - 1;
        return &fields[number - 1];
    }
    unsigned low = 0;
    unsigned high = type->n_fields;
    while (low < high) {
        unsigned mid = low + (high - low) / 2;
        if (fields[mid].id < number) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    if (low < type->n_fields && fields[low].id == number) {
        *hint = low;
        return &fields[low];
    }
    return NULL;
}

/* Skips the payload of one field that is not a group. NULL when malformed. */
static const uint8_t *decode_skip_plain(const uint8_t *p, const uint8_t *end, unsigned wire)
{
    uint64_t value;
    size_t fixed = 0;
    switch (wire) {
    case WIRE_VARINT:
        return codec_varint(p, end, &value);
    case WIRE_BYTES:
        p = codec_varint(p, end, &value);
        return p != NULL && value <= (size_t)(end - p) ? p + value : NULL;
    case WIRE_FIXED64:
        fixed = 8;
        break;
    case WIRE_FIXED32:
        fixed = 4;
        break;
    default:
        return NULL;
    }
    return (size_t)(end - p) >= fixed ? p + fixed : NULL;
}

static const uint8_t *decode_tag(const uint8_t *p, const uint8_t *end, uint32_t *number,
                                 unsigned *wire)
{
    uint64_t tag;
    p = codec_varint(p, end, &tag);
    if (p == NULL || tag >> 3 == 0 || tag >> 3 > DECODE_FIELD_NUMBER_MAX) {
        return NULL;
    }
    *number = (uint32_t)(tag >> 3);
    *wire = (unsigned)(tag & 7);
    return p;
}

/* Skips a group whose start tag was just read, with all groups inside. */
static int decode_skip_group(const uint8_t **at, const uint8_t *end, uint32_t number,
                             unsigned depth)
{
    uint32_t open[MESSAGE_DEPTH_MAX];
    unsigned count = 0;
    const uint8_t *p = *at;
    open[count++] = number;
    while (count > 0) {
        unsigned wire;
        p = decode_tag(p, end, &number, &wire);
        if (p == NULL) {
            return ERR_MALFORMED;
        }
        if (wire == DECODE_WIRE_GROUP) {
            if (depth + count >= MESSAGE_DEPTH_MAX) {
                return ERR_TOO_DEEP;
            }
            open[count++] = number;
        } else if (wire == DECODE_WIRE_GROUP_END) {
            if (open[--count] != number) {
                return ERR_MALFORMED;
            }
        } else {
            p = decode_skip_plain(p, end, wire);
            if (p == NULL) {
                return ERR_MALFORMED;
            }
        }
    }
    *at = p;
    return 0;
}

static void decode_store(ProtobufCType type, void *to, uint64_t raw)
{
    uint32_t low = (uint32_t)raw;
    switch (type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        memcpy(to, &raw, 8);
        return;
    case PROTOBUF_C_TYPE_SINT64:
        raw = (raw >> 1) ^ -(raw & 1);
        memcpy(to, &raw, 8);
        return;
    case PROTOBUF_C_TYPE_SINT32:
        low = (low >> 1) ^ -(low & 1);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        low = raw != 0;
        break;
    default: /* 32-bit integers and enums keep the low half, as Go does */
        break;
    }
    memcpy(to, &low, 4);
}

/* The number of elements a list of `count` has room for: a power of two. */
static size_t decode_list_room(size_t count)
{
    if (count == 0) {
        return 0;
    }
    if (count <= DECODE_LIST_MIN) {
        return DECODE_LIST_MIN;
    }
    return (size_t)1 << (64 - __builtin_clzll(count - 1));
}

/* Makes room for `more` elements at the end of a repeated field and returns the first of them;
 * the caller fills and counts them. NULL when out of memory. */
static void *decode_list_extend(void *msg, const ProtobufCFieldDescriptor *f, size_t more,
                                struct arena *arena)
{
    size_t each = codec_value_bytes(f->type);
    size_t count = *codec_count(msg, f);
    void **list = codec_member(msg, f);
    if (count + more > decode_list_room(count)) {
        size_t bytes;
        if (__builtin_mul_overflow(decode_list_room(count + more), each, &bytes)) {
            return NULL;
        }
        void *grown = arena_alloc(arena, bytes);
        if (grown == NULL) {
            return NULL;
        }
        if (count > 0) {
            memcpy(grown, *list, count * each);
        }
        *list = grown;
    }
    return (char *)*list + count * each;
}

/* Numbers in one length-delimited run. */
static int decode_packed(void *msg, const ProtobufCFieldDescriptor *f, const uint8_t *p,
                         const uint8_t *end, struct arena *arena)
{
    if (p == end) {
        return 0;
    }
    enum wire_type wire = codec_wire_of(f->type);
    size_t width = wire == WIRE_FIXED64 ? 8 : 4;
    size_t count = 0;
    if (wire == WIRE_VARINT) {
        for (const uint8_t *q = p; q < end; q++) {
            count += *q < 0x80;
        }
        if (count == 0) {
            return ERR_MALFORMED;
        }
    } else {
        if ((size_t)(end - p) % width != 0) {
            return ERR_MALFORMED;
        }
        count = (size_t)(end - p) / width;
    }
    char *to = decode_list_extend(msg, f, count, arena);
    if (to == NULL) {
        return ERR_NOMEM;
    }
    size_t each = codec_value_bytes(f->type);
    for (size_t i = 0; i < count; i++, to += each) {
        uint64_t raw;
        if (wire == WIRE_VARINT) {
            p = codec_varint(p, end, &raw);
            if (p == NULL) {
                return ERR_MALFORMED;
            }
        } else {
            raw = width == 8 ? bytes_le64(p) : bytes_le32(p);
            p += width;
        }
        decode_store(f->type, to, raw);
    }
    *codec_count(msg, f) += count;
    return p == end ? 0 : ERR_MALFORMED; /* a last varint without its last byte */
}

static int decode_string(char **to, const uint8_t *p, size_t len, struct arena *arena)
{
    if (!utf8_valid(slice_of(p, len))) {
        return ERR_BAD_UTF8;
    }
    if (len > 0 && memchr(p, 0, len) != NULL) {
        return ERR_MALFORMED;
    }
    char *text = arena_alloc(arena, len + 1);
    if (text == NULL) {
        return ERR_NOMEM;
    }
    memcpy(text, p, len);
    text[len] = '\0';
    *to = text;
    return 0;
}

static int decode_submessage(ProtobufCMessage **to, const ProtobufCMessageDescriptor *type,
                             const uint8_t *p, size_t len, struct arena *arena, unsigned depth)
{
    if (depth + 1 >= MESSAGE_DEPTH_MAX) {
        return ERR_TOO_DEEP;
    }
    ProtobufCMessage *msg = *to;
    if (msg == NULL) {
        msg = arena_alloc(arena, type->sizeof_message);
        if (msg == NULL) {
            return ERR_NOMEM;
        }
        type->message_init(msg);
        *to = msg;
    }
    return decode_message(msg, p, p + len, arena, depth + 1);
}

/* Where the field's value goes: a new list element, the oneof's union, or the member. NULL when out
 * of memory. */
static void *decode_slot(void *msg, const ProtobufCFieldDescriptor *f, struct arena *arena)
{
    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        return decode_list_extend(msg, f, 1, arena);
    }
    void *member = codec_member(msg, f);
    if (codec_is_oneof(f) && *codec_case(msg, f) != f->id) {
        memset(member, 0, codec_value_bytes(f->type));
        *codec_case(msg, f) = f->id;
    }
    return member;
}

static int decode_bytes_field(void *msg, const ProtobufCFieldDescriptor *f, const uint8_t *p,
                              size_t len, struct arena *arena, unsigned depth)
{
    bool repeated = f->label == PROTOBUF_C_LABEL_REPEATED;
    void *slot = decode_slot(msg, f, arena);
    if (slot == NULL) {
        return ERR_NOMEM;
    }
    int rc = 0;
    switch (f->type) {
    case PROTOBUF_C_TYPE_BYTES:
        *(ProtobufCBinaryData *)slot = (ProtobufCBinaryData){.len = len, .data = (uint8_t *)p};
        break;
    case PROTOBUF_C_TYPE_STRING:
        rc = decode_string(slot, p, len, arena);
        break;
    default:
        if (repeated) {
            *(ProtobufCMessage **)slot = NULL;
        }
        rc = decode_submessage(slot, f->descriptor, p, len, arena, depth);
        break;
    }
    if (rc == 0 && repeated) {
        ++*codec_count(msg, f);
    }
    return rc;
}

static int decode_number_field(void *msg, const ProtobufCFieldDescriptor *f, uint64_t raw,
                               struct arena *arena)
{
    void *slot = decode_slot(msg, f, arena);
    if (slot == NULL) {
        return ERR_NOMEM;
    }
    decode_store(f->type, slot, raw);
    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        ++*codec_count(msg, f);
    }
    return 0;
}

/* One field whose tag has been read; *at moves past its payload. f may be NULL. */
static int decode_field(ProtobufCMessage *msg, const ProtobufCFieldDescriptor *f, uint32_t number,
                        unsigned wire, const uint8_t **at, const uint8_t *end, struct arena *arena,
                        unsigned depth)
{
    const uint8_t *p = *at;
    if (f != NULL) {
        enum wire_type expected = codec_wire_of(f->type);
        bool packed =
            wire == WIRE_BYTES && expected != WIRE_BYTES && f->label == PROTOBUF_C_LABEL_REPEATED;
        if (wire == WIRE_BYTES && (packed || expected == WIRE_BYTES)) {
            uint64_t len;
            p = codec_varint(p, end, &len);
            if (p == NULL || len > (size_t)(end - p)) {
                return ERR_MALFORMED;
            }
            *at = p + len;
            return packed ? decode_packed(msg, f, p, p + len, arena)
                          : decode_bytes_field(msg, f, p, (size_t)len, arena, depth);
        }
        if (wire == (unsigned)expected) {
            uint64_t raw;
            if (wire == WIRE_VARINT) {
                p = codec_varint(p, end, &raw);
                if (p == NULL) {
                    return ERR_MALFORMED;
                }
            } else {
                size_t width = wire == WIRE_FIXED64 ? 8 : 4;
                if ((size_t)(end - p) < width) {
                    return ERR_MALFORMED;
                }
                raw = width == 8 ? bytes_le64(p) : bytes_le32(p);
                p += width;
            }
            *at = p;
            return decode_number_field(msg, f, raw, arena);
        }
    }
    if (wire == DECODE_WIRE_GROUP) {
        return decode_skip_group(at, end, number, depth);
    }
    *at = decode_skip_plain(p, end, wire);
    return *at != NULL ? 0 : ERR_MALFORMED;
}

static int decode_message(ProtobufCMessage *msg, const uint8_t *p, const uint8_t *end,
                          struct arena *arena, unsigned depth)
{
    const ProtobufCMessageDescriptor *type = msg->descriptor;
    unsigned hint = 0;
    while (p < end) {
        uint32_t number;
        unsigned wire;
        p = decode_tag(p, end, &number, &wire);
        if (p == NULL) {
            return ERR_MALFORMED;
        }
        const ProtobufCFieldDescriptor *f = decode_find(type, number, &hint);
        int rc = decode_field(msg, f, number, wire, &p, end, arena, depth);
        if (rc != 0) {
            return rc;
        }
        /* A list's elements follow each other, other fields give way to the next. */
        if (f != NULL && f->label != PROTOBUF_C_LABEL_REPEATED) {
            hint++;
        }
    }
    return 0;
}

int codec_decode(const ProtobufCMessageDescriptor *type, struct slice input, struct arena *arena,
                 void **out)
{
    return codec_decode_inner(type, input, 0, arena, out);
}

int codec_decode_inner(const ProtobufCMessageDescriptor *type, struct slice input, unsigned levels,
                       struct arena *arena, void **out)
{
    *out = NULL;
    ProtobufCMessage *msg = arena_alloc(arena, type->sizeof_message);
    if (msg == NULL) {
        return ERR_NOMEM;
    }
    type->message_init(msg);
    if (input.len > 0) { /* no arithmetic on the NULL of an empty slice */
        int rc = decode_message(msg, input.data, input.data + input.len, arena, levels);
        if (rc != 0) {
            return rc;
        }
    }
    *out = msg;
    return 0;
}
