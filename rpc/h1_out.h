/* h1_out.h - what an HTTP/1.1 connection has to say and has not given away: text that was copied,
 * and large blobs that leave from where they lie. Private to rpc/. */
#ifndef KVD_RPC_H1_OUT_H
#define KVD_RPC_H1_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/slice.h"
#include "rpc/call.h"
#include "rpc/pool.h"

struct h1_out {
    struct buf text;   /* append to it what is copied; failed: something of the answer is missing */
    size_t at;         /* bytes of text already given away */
    uint64_t taken;    /* bytes of text given away since the start */
    struct list blobs; /* struct h1_out_blob, in order, each behind some byte of the text */
    size_t blob_bytes; /* of them, not given away */
    struct list given; /* used up, but their bytes may still be looked at */
};

void h1_out_init(struct h1_out *o);
/* Drops all; o is as after init. */
void h1_out_close(struct h1_out *o, struct pool *pool);
/* Bytes not given away. */
static inline size_t h1_out_queued(const struct h1_out *o)
{
    return o->text.len - o->at + o->blob_bytes;
}
/* Queues a part of a body: a large blob's bytes by a reference, others copied. Out of memory:
 * text.failed. */
void h1_out_add(struct h1_out *o, struct pool *pool, const struct rpc_part *part);
/* Gives away the next bytes, at most cap, as at most `max` (>= 2) parts; returns how many bytes.
 * Text, ends of blobs, and what makes a TLS record whole lie in copy (cap bytes), the rest in the
 * blobs, until h1_out_given. 0: there is nothing. */
size_t h1_out_take(struct h1_out *o, uint8_t *copy, size_t cap, struct slice *parts, size_t max,
                   size_t *count);
/* Nobody looks at what was given away any more. */
void h1_out_given(struct h1_out *o, struct pool *pool);

#endif
