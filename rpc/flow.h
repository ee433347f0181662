/* flow.h - the queue of outgoing messages of one call or exchange, and how its bytes leave.
 *
 * Messages are queued whole (copied, or as references to blobs) or as a promise to produce them
 * (flow_produce). The HTTP/2 engine asks how much is ready when flow control lets it write, then
 * takes that much. What is queued counts against the call's water marks and the server's total.
 * Private to rpc/. */
#ifndef KVD_RPC_FLOW_H
#define KVD_RPC_FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "rpc/call.h"
#include "rpc/pool.h"

struct flow_message;

struct flow {
    struct flow_message *head;
    struct flow_message *tail;
    uint64_t queued;   /* bytes not yet taken, what is still to be produced included */
    size_t held;       /* memory of the queue itself; blobs belong to whoever made them */
    uint32_t produced; /* messages in the queue that come from a producer */
    bool above_high;   /* was above high water, has not been below low water since */
    bool broken;       /* a producer gave up in the middle of its message */
    bool raw;          /* plain bytes: messages get no length prefix */
};

enum flow_result { FLOW_OK, FLOW_NOMEM, FLOW_TOO_LARGE };

/* A message's five bytes in front: not compressed, big-endian length. */
#define FLOW_PREFIX_BYTES 5

void flow_init(struct flow *f);
/* The same for bytes without gRPC's framing: HTTP bodies. Nothing may be produced in it. */
void flow_init_raw(struct flow *f);
/* Queues one message; see rpc_call_send. FLOW_TOO_LARGE: over RPC_SEND_BYTES_MAX. A raw message
 * must not be empty. */
enum flow_result flow_send(struct flow *f, struct pool *pool, const struct rpc_part *parts,
                           size_t count);
/* Queues a promise; see rpc_call_send_produced. On failure `done` was not called. */
enum flow_result flow_produce(struct flow *f, struct pool *pool, uint64_t total,
                              bool (*produce)(void *data, struct buf *out, size_t room),
                              void (*done)(void *data), void *data);
/* How many bytes, at most `wanted`, flow_take can give now; runs a producer when its staged bytes
 * are used up. 0: the queue is empty, or broken was set. */
size_t flow_ready(struct flow *f, size_t wanted);
/* Copies exactly n bytes (n <= the last flow_ready) to out. Returns true when the queue fell to low
 * water after having been above high water. */
bool flow_take(struct flow *f, struct pool *pool, uint8_t *out, size_t n);
/* Drops everything; producers' done is called. */
void flow_clear(struct flow *f, struct pool *pool);

#endif
