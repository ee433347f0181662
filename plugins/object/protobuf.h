/* protobuf.h - objects in protobuf, as Kubernetes' typed clients send and ask for them.
 *
 * The numbers of fields stand in the schema; the wire forms of times, quantities and the like are
 * those of Kubernetes' generated.proto files. Decoding takes untrusted bytes: bounds are
 * OBJECT_BYTES_MAX and OBJECT_DEPTH_MAX of limits.h and the arena's limit. Fields that the schema
 * does not know are skipped, a field that comes twice counts the second time. Pure; any thread. */
#ifndef KVD_OBJECT_PROTOBUF_H
#define KVD_OBJECT_PROTOBUF_H

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "plugins/object/value.h"

/* What every body and answer is wrapped in: "k8s", a NUL byte, then this. */
struct protobuf_envelope {
    struct slice api_version, kind;
    struct slice object; /* the message */
};

/* Takes an envelope apart; *out points into bytes. 0, or ERR_INVALID with the sentence. */
int protobuf_open(struct slice bytes, struct protobuf_envelope *out, struct errmsg *e);
/* Appends the envelope of an object whose message is m. Failure is out's. */
void protobuf_wrap(struct slice api_version, struct slice kind, struct slice m, struct buf *out);

/* Decodes a message of type t; texts are copied into the arena. kind and apiVersion are not in it:
 * they stay unset. 0; ERR_INVALID with the sentence, ERR_TOO_DEEP, ERR_REQUEST_TOO_LARGE,
 * ERR_NOMEM. *out is set on success only. */
int decode_protobuf(struct slice bytes, const struct schema_type *t, struct arena *arena,
                    struct value *out, struct errmsg *e);
/* ---- writing a message by hand; failures are out's ---- */
/* Begins a field that is a message; protobuf_end, with what this returned, puts its length in
 * front. */
size_t protobuf_begin(struct buf *out, unsigned number);
void protobuf_end(struct buf *out, size_t begin);
void protobuf_put_bytes(unsigned number, struct slice bytes, struct buf *out);
/* Also booleans. */
void protobuf_put_int(unsigned number, int64_t v, struct buf *out);

/* Appends v, a message of type t (NULL: nothing is set in it). Failure is out's. */
void encode_protobuf(const struct schema_type *t, const struct value *v, struct buf *out);

#endif
