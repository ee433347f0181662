/* wire.h - frames between members: one message each, little endian, bounded when decoded.
 *
 *   offset  size  field
 *   0       1     version, 1
 *   1       1     type (enum frame_type)
 *   2       2     flags (enum frame_flag; unknown bits are ignored)
 *   4       4     zero
 *   8       8     term
 *   16      8     a      APPEND: previous index   VOTE: last index    INSTALL, TIMEOUT_NOW: last
 * index APPEND_RESULT: rejected index, 0 = success   CONFIRM, CONFIRMED: round 24      8     b
 * APPEND: previous term    VOTE: last term     INSTALL, TIMEOUT_NOW: last term APPEND_RESULT: last
 * index 32      8     c      APPEND: leader's commit index   VOTE: candidate 40      4     n
 * APPEND: entries   INSTALL: bytes of the sender's address   else 0 44      4     zero 48...
 * APPEND: n times { u64 term, u32 length, u8 type, u8[3] zero, payload } INSTALL: address
 *
 * Frames carry no checksum: the transport's (TLS) does. A member drops frames of other versions; a
 * new field gets a flag bit, a new meaning a new type. Membership in the cluster is checked by
 * whoever owns the connection. */
#ifndef KVD_RAFT_WIRE_H
#define KVD_RAFT_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <raft.h>

#include "base/buf.h"
#include "base/slice.h"

#define FRAME_VERSION      1
#define FRAME_HEADER_BYTES 48u
#define FRAME_ENTRY_BYTES  16u
/* No term or index of an honest cluster gets here (10^18); keeps sums of two from wrapping. */
#define FRAME_NUMBER_MAX ((uint64_t)1 << 60)

enum frame_type {
    FRAME_APPEND = 1,
    FRAME_APPEND_RESULT = 2,
    FRAME_VOTE = 3,
    FRAME_VOTE_RESULT = 4,
    FRAME_INSTALL = 5,
    FRAME_TIMEOUT_NOW = 6,
    FRAME_CONFIRM = 7,  /* "is your term still mine?" (libraft-notes section 7) */
    FRAME_CONFIRMED = 8 /* term: the answering member's */
};

enum frame_flag {
    FRAME_PRE_VOTE = 1,  /* VOTE, VOTE_RESULT */
    FRAME_DISRUPT = 2,   /* VOTE: a leadership transfer */
    FRAME_GRANTED = 4,   /* VOTE_RESULT */
    FRAME_INSTALLING = 8 /* APPEND_RESULT: the sender is fetching or installing a snapshot */
};

struct frame {
    enum frame_type type;
    uint16_t flags;
    uint64_t term;
    uint64_t a;
    uint64_t b;
    uint64_t c;
    uint32_t n;
    struct slice body; /* entries or address; borrowed */
};

struct frame_entry {
    uint64_t term;
    uint8_t type; /* RAFT_COMMAND, RAFT_BARRIER, RAFT_CHANGE */
    struct slice payload;
};

/* Appends the fixed part; n and body are those of a frame without either. false: no memory. */
bool frame_put(struct buf *out, const struct frame *f);
/* Appends one entry of an APPEND frame whose n was announced. */
bool frame_put_entry(struct buf *out, const struct raft_entry *e);
/* Bytes an entry takes in a frame. */
static inline size_t frame_entry_size(const struct raft_entry *e)
{
    return FRAME_ENTRY_BYTES + e->buf.len;
}

/* Checks everything that can be checked without context: sizes, ranges, entries whole with known
 * types and terms that do not fall or exceed the frame's, configurations that decode. false = drop
 * it. */
bool frame_get(struct slice in, struct frame *out);
/* Walks the entries of a frame that frame_get accepted; *at starts at 0. */
void frame_next_entry(const struct frame *f, size_t *at, struct frame_entry *out);
/* "append", "vote", ... for logs. */
const char *frame_name(enum frame_type type);

#endif
