/* intake.h - puts a call's messages together from the chunks that arrive. Private to rpc/.
 *
 * A message that lies whole in one chunk is handed on where it lies. Otherwise its bytes are
 * collected in a buffer that grows with what has really arrived, never with what the length prefix
 * claims. All such buffers together stay within options.input_bytes_max:
 *   - a message larger than the stream window needs a grant of its whole size before its sender
 * gets more window; grants together stay within half the total and are given in order of asking;
 *   - when the total is reached, the message that made no progress for longest gives way if it
 *     stalled for RPC_INPUT_STALL_MS, else the one that asks. */
#ifndef KVD_RPC_INTAKE_H
#define KVD_RPC_INTAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/slice.h"

struct rpc_call;
struct rpc_server;

struct intake {
    uint8_t prefix[5];
    uint8_t prefix_len; /* bytes of it seen */
    bool has_grant;
    bool complete; /* unary: the message is whole and waits for the end of the stream */
    uint32_t need; /* length of the message, once the prefix is whole */
    uint8_t *data; /* collected bytes, cap of them charged to the server */
    size_t len;
    size_t cap;
    size_t held;         /* bytes of stream window not given back: waits for a grant */
    uint64_t messages;   /* whole ones so far */
    uint64_t fed_ms;     /* last progress */
    struct list partial; /* server->partials while data is held */
    struct list waiting; /* server->waiting */
};

void intake_init(struct intake *in);
/* Bytes of the body; `last`: the stream ends with them. May end the call. */
void intake_data(struct rpc_call *call, struct slice bytes, bool last);
/* The stream has ended. Returns false when the call was ended because of it. */
bool intake_end(struct rpc_call *call);
/* Frees what is held; later data is ignored. */
void intake_close(struct rpc_call *call);
/* The server's stall timer: see above. */
void intake_stall_timer(struct rpc_server *s);

#endif
