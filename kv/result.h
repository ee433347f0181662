/* result.h - building the encoded answer of an operation front to back.
 *
 * Lengths of nested messages, and counts that stand before what they count, are only known later.
 * So the body is written without them, marks remember where they belong, and result_finish puts
 * them in: one copy, and none at all when there are no marks. */
#ifndef KVD_KV_RESULT_H
#define KVD_KV_RESULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

struct result_mark {
    size_t start;   /* in the body */
    size_t end;     /* of a message */
    size_t extra;   /* bytes of marks inside, once known */
    uint64_t value; /* of a count */
    uint32_t parent;
    uint32_t field;
    bool message; /* else a count: a varint field */
};

struct result {
    bool wanted; /* nobody waits for it: everything is a no-op */
    bool failed; /* out of memory or beyond `limit`: the body is gone */
    size_t limit;
    struct buf body;
    struct buf whole;
    struct result_mark *marks;
    uint32_t len;
    uint32_t cap;
    uint32_t open; /* innermost open message + 1; 0 = none */
};

void result_init(struct result *r, size_t limit);
void result_close(struct result *r);
/* For the next operation; keeps small buffers. */
void result_clear(struct result *r, bool wanted);
/* Is there still a body to build? */
static inline bool result_live(const struct result *r)
{
    return r->wanted && !r->failed;
}
void result_fail(struct result *r);
/* Checks the limit and the buffer after appends to r->body. */
void result_check(struct result *r);
/* A nested message of a length not known yet, until result_leave. */
void result_enter(struct result *r, uint32_t field);
void result_leave(struct result *r);
/* A varint field whose value comes later: returns its handle for result_set. Zero is omitted. */
uint32_t result_count(struct result *r, uint32_t field);
void result_set(struct result *r, uint32_t handle, uint64_t value);
/* ResponseHeader with only the revision set (contract R-09), as field 1. */
void result_header(struct result *r, int64_t revision);
/* The finished bytes, valid until the next call; data NULL when it failed. */
struct slice result_finish(struct result *r);

#endif
