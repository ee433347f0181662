/* batch.h - the payload of one raft entry: a batch of operations.
 *
 *   offset  size  field
 *   0       1     version, 1
 *   1       3     zero
 *   4...          operations, back to back:
 *     +0    4     length n of the operation, little endian
 *     +4    8     number: counts proposals of one incarnation, little endian
 *     +12   8     member: who proposed it
 *     +20   8     incarnation: a member's start, so that old numbers mean nothing to a new process
 *     +28   n     InternalRaftRequest (proto/entry.proto)
 *
 * (member, incarnation, number) tells the proposer which of its requests has just been applied. The
 * log record around the payload carries the checksum. A member refuses versions above its own. */
#ifndef KVD_PROTO_BATCH_H
#define KVD_PROTO_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

#define BATCH_VERSION      1
#define BATCH_HEADER_BYTES 4u
#define BATCH_OP_BYTES     28u

struct batch_origin {
    uint64_t member;
    uint64_t incarnation;
    uint64_t number;
};

struct batch_op {
    struct batch_origin origin;
    struct slice request; /* points into the payload */
};

/* Starts a payload in an empty buffer. false when out of memory (so are the others). */
bool batch_start(struct buf *b);
/* Appends one encoded operation. Operations encoded this way may also be concatenated as bytes. */
bool batch_add(struct buf *b, struct batch_origin origin, struct slice request);
/* The same for an InternalRaftRequest of one field: `message`, encoded, becomes field `field`. One
 * copy, no struct: the way of every client's write. */
bool batch_add_field(struct buf *b, struct batch_origin origin, uint32_t field,
                     struct slice message);
/* A plugin's leadership beside a request: apply refuses the request when it is not the newest. */
struct batch_stamp {
    struct slice plugin; /* its name */
    uint64_t member;
    uint64_t term;
    uint64_t epoch;
};
/* The same with a stamp; the plugin is the record's origin too. false leaves *b as it was. */
bool batch_add_stamped(struct buf *b, struct batch_origin origin, uint32_t field,
                       struct slice message, const struct batch_stamp *stamp);
/* Walks the operations: *position starts at 0. 1 = *op is set, 0 = end, -1 = malformed or of a
 * version above ours (nothing of it may be applied). */
int batch_next(struct slice payload, size_t *position, struct batch_op *op);

#endif
