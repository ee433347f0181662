/* codec.h - protobuf wire format over protobuf-c descriptors, for untrusted bytes.
 *
 * protoc-c gives us structs and descriptors; its own unpacker has no depth limit and allocates 25
 * times a hostile input (frontend-notes section 1), so decoding is ours: into an arena, with bytes
 * and strings left in the input (zero copy), bounded depth and memory, UTF-8 checked, packed and
 * unpacked repeated scalars both accepted, last one wins for scalars and oneofs, unknown fields
 * skipped, message fields that occur twice merged as proto3 demands. Encoding writes fields in
 * number order, zero values omitted, repeated scalars packed: byte-identical to Go's output. */
#ifndef KVD_PROTO_CODEC_H
#define KVD_PROTO_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/slice.h"

/* Decodes `input` as a message of `type`. On success *out is an initialised struct in the arena
 * (cast it to the generated type); its bytes point into `input`, which must outlive it; strings are
 * NUL-terminated copies in the arena (a NUL inside a string is refused as MALFORMED).
 * Returns 0, ERR_MALFORMED, ERR_TOO_DEEP, ERR_BAD_UTF8 or ERR_NOMEM (also: arena over its limit);
 * on failure *out is NULL and the arena holds garbage that arena_clear frees. Any thread. */
int codec_decode(const ProtobufCMessageDescriptor *type, struct slice input, struct arena *arena,
                 void **out);

/* The same for a message that will lie `levels` deep inside others: what this accepts can be
 * decoded there too. Front ends use it for requests that raft entries wrap. */
int codec_decode_inner(const ProtobufCMessageDescriptor *type, struct slice input, unsigned levels,
                       struct arena *arena, void **out);

/* Encoded size in bytes. `msg` is a pointer to a generated struct. */
size_t codec_size(const void *msg);
/* Appends the encoding. false when out of memory (out->failed is then set). The struct is proto3's
 * (no required fields, no presence but oneofs and messages); NULL strings count as empty. */
bool codec_encode(const void *msg, struct buf *out);

/* The wire's building blocks, for code that writes or reads single fields by hand. */
enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };
/* Appends tag and varint when value != 0. */
bool wire_put_uint(struct buf *out, uint32_t field, uint64_t value);
/* Appends tag, length and bytes when len > 0. */
bool wire_put_bytes(struct buf *out, uint32_t field, struct slice bytes);
/* Appends tag and length only; the caller appends exactly `len` bytes next (also when 0). */
bool wire_put_header(struct buf *out, uint32_t field, size_t len);
size_t wire_varint_size(uint64_t value);
/* Sizes of the above, tag included; 0 for omitted zero values. */
size_t wire_uint_size(uint32_t field, uint64_t value);
size_t wire_bytes_size(uint32_t field, size_t len);

/* One field read from a message: the next tag and its payload. */
struct wire_field {
    uint32_t number;
    enum wire_type type;
    uint64_t value;     /* VARINT, FIXED32, FIXED64 */
    struct slice bytes; /* BYTES */
};
/* Advances *input past one field. 1 = a field, 0 = end, -1 = malformed (groups too). */
int wire_next(struct slice *input, struct wire_field *field);

#endif
