/* record.h - the log's unit of writing: a batch of items in checked blocks of 512 bytes.
 *
 * One write to the disk carries one record, so at most one record can be torn. A record is cut into
 * blocks of 512 bytes, the smallest thing a disk writes as a whole. Every block has a check of its
 * own over generation, record number, block number and content, and is never all zeros. In a
 * segment that was zeros before, each block of an interrupted write is thus either its new self or
 * zeros, and anything else is recognised as damage, exactly, also in the last record. Byte tables:
 * raft/README.md, "On disk". Pure functions over bytes; any thread. */
#ifndef KVD_RAFT_RECORD_H
#define KVD_RAFT_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

#define RECORD_BLOCK_BYTES      512u
#define RECORD_BLOCK_HEAD_BYTES 8u
#define RECORD_BLOCK_ROOM       (RECORD_BLOCK_BYTES - RECORD_BLOCK_HEAD_BYTES)
#define RECORD_HEAD_BYTES       16u
#define RECORD_ITEM_HEAD_BYTES  32u

enum record_block {
    RECORD_BLOCK_SEGMENT = 'S',
    RECORD_BLOCK_FIRST = 'R',
    RECORD_BLOCK_MORE = 'C',
    RECORD_BLOCK_TERM = 'T' /* a slot of the term file */
};

/* ---- blocks ---------------------------------------------------------------------------------- */

enum record_block_state { RECORD_BLOCK_ZERO, RECORD_BLOCK_GOOD, RECORD_BLOCK_BAD };

/* What a block is checked against besides its own bytes and place: a good block that belongs
 * elsewhere is a bad one. */
struct record_id {
    uint64_t generation; /* of the segment */
    uint64_t seq;        /* of the record, counted over all segments; 0 = no record */
    uint32_t link;       /* of the record before: a running check over all blocks so far */
};

/* Completes a block whose bytes 8..511 are filled in: kind, mark and check. */
void record_block_seal(uint8_t *block, enum record_block kind, const struct record_id *id,
                       uint32_t block_number);
enum record_block_state record_block_check(const uint8_t *block, enum record_block kind,
                                           const struct record_id *id, uint32_t block_number);
bool record_is_zero(const void *bytes, size_t len);

/* ---- writing --------------------------------------------------------------------------------- */

struct record_writer {
    uint8_t *out;
    size_t cap; /* bytes at out, whole blocks */
    size_t at;  /* bytes put so far, the record's head included */
};

/* Content bytes that fit into `bytes` of disk (whole blocks, at least one). */
size_t record_content_max(size_t bytes);
/* Bytes of disk that a record with this much content takes, before padding to the sector. */
size_t record_disk_bytes(size_t content);

void record_begin(struct record_writer *w, uint8_t *out, size_t cap);
size_t record_room(const struct record_writer *w);                     /* content bytes left */
void record_put(struct record_writer *w, const void *bytes, size_t n); /* n <= record_room */
/* Completes all blocks and pads with zeros to a multiple of align. first_block: number of the block
 * at `out` within its segment. *link: this record's, for the next one. Returns the bytes to write.
 */
size_t record_finish(struct record_writer *w, const struct record_id *id, uint32_t first_block,
                     uint32_t align, uint32_t *link);

/* ---- reading --------------------------------------------------------------------------------- */

enum record_state {
    RECORD_WHOLE,
    RECORD_NONE,   /* zeros from here to the end of the segment */
    RECORD_TORN,   /* an interrupted write, the last thing in the segment */
    RECORD_DAMAGED /* neither of these */
};

struct record_found {
    struct slice
        content;      /* RECORD_WHOLE: the items, inside the image, which is rearranged for it */
    size_t next;      /* RECORD_WHOLE: offset of what follows */
    uint32_t link;    /* RECORD_WHOLE: for the next record */
    size_t dirty_end; /* RECORD_TORN: end of the last block that is not zero */
    size_t bad;       /* RECORD_DAMAGED: offset of the block that proves it */
};

/* What lies at `offset` (a multiple of 512) of a segment's image, if the record there would be id?
 * len is a multiple of 512. */
enum record_state record_find(uint8_t *image, size_t len, const struct record_id *id, size_t offset,
                              uint32_t align, struct record_found *out);
/* Whether an image that begins with zeros can be what an interrupted first write left: each block
 * zeros or a part of record id. *dirty_end: as above; *bad: a block that cannot. */
bool record_find_stray(const uint8_t *image, size_t len, const struct record_id *id,
                       size_t *dirty_end, size_t *bad);

/* ---- items ----------------------------------------------------------------------------------- */

enum record_item_kind { RECORD_ENTRY = 1, RECORD_TRUNCATE = 2, RECORD_RESET = 3, RECORD_SEAL = 4 };

/* An entry too large for one record comes in parts, each an item of its own. */
struct record_item {
    enum record_item_kind kind;
    uint16_t type;     /* of the entry */
    uint64_t index;    /* entry, truncation, reset; seal: the next segment's generation */
    uint64_t term;     /* entry, reset */
    uint32_t total;    /* bytes of the whole entry */
    uint32_t offset;   /* of this part in it */
    struct slice data; /* this part */
};

/* The head's RECORD_ITEM_HEAD_BYTES; data follows it in the record. */
void record_item_encode(const struct record_item *item, uint8_t *out);
/* Takes the next item off content; data lies inside it. False when the bytes make no sense. */
bool record_item_decode(struct slice *content, struct record_item *out);

#endif
