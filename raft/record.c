/* record.c - blocks, records and items as bytes. */
#include "raft/record.h"

#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/crc32c.h"

/* Bytes 5..7 of every block. With the kind before them no change of a single byte, not even next to
 * a check that happens to be zero, turns a written block into zeros. */
static const uint8_t RECORD_MARK[3] = {'k', 'v', 'd'};

/* ---- blocks ---------------------------------------------------------------------------------- */

/* The check's start: what the block must not be mistaken for another one by. */
static uint32_t record_seed(const struct record_id *id)
{
    uint8_t bytes[20];
    bytes_put_le64(bytes, id->generation);
    bytes_put_le64(bytes + 8, id->seq);
    bytes_put_le32(bytes + 16, id->link);
    return crc32c(0, bytes, sizeof bytes);
}

static uint32_t record_check(const uint8_t *block, uint32_t seed, uint32_t block_number)
{
    uint8_t bytes[4];
    bytes_put_le32(bytes, block_number);
    return crc32c(crc32c(seed, bytes, sizeof bytes), block + 4, RECORD_BLOCK_BYTES - 4);
}

static void record_seal_seeded(uint8_t *block, enum record_block kind, uint32_t seed,
                               uint32_t block_number)
{
    block[4] = (uint8_t)kind;
    memcpy(block + 5, RECORD_MARK, sizeof RECORD_MARK);
    bytes_put_le32(block, record_check(block, seed, block_number));
}

static enum record_block_state record_check_seeded(const uint8_t *block, enum record_block kind,
                                                   uint32_t seed, uint32_t block_number)
{
    if (block[4] == (uint8_t)kind && memcmp(block + 5, RECORD_MARK, sizeof RECORD_MARK) == 0 &&
        bytes_le32(block) == record_check(block, seed, block_number)) {
        return RECORD_BLOCK_GOOD;
    }
    return record_is_zero(block, RECORD_BLOCK_BYTES) ? RECORD_BLOCK_ZERO : RECORD_BLOCK_BAD;
}

void record_block_seal(uint8_t *block, enum record_block kind, const struct record_id *id,
                       uint32_t block_number)
{
    record_seal_seeded(block, kind, record_seed(id), block_number);
}

enum record_block_state record_block_check(const uint8_t *block, enum record_block kind,
                                           const struct record_id *id, uint32_t block_number)
{
    return record_check_seeded(block, kind, record_seed(id), block_number);
}

bool record_is_zero(const void *bytes, size_t len)
{
    const uint8_t *p = bytes;
    /* Bytes that equal their neighbours all equal the first. */
    return len == 0 || (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0);
}

/* ---- writing --------------------------------------------------------------------------------- */

size_t record_content_max(size_t bytes)
{
    ASSERT(bytes >= RECORD_BLOCK_BYTES);
    return bytes / RECORD_BLOCK_BYTES * RECORD_BLOCK_ROOM - RECORD_HEAD_BYTES;
}

size_t record_disk_bytes(size_t content)
{
    size_t blocks = (RECORD_HEAD_BYTES + content + RECORD_BLOCK_ROOM - 1) / RECORD_BLOCK_ROOM;
    return blocks * RECORD_BLOCK_BYTES;
}

void record_begin(struct record_writer *w, uint8_t *out, size_t cap)
{
    ASSERT(cap >= RECORD_BLOCK_BYTES && cap % RECORD_BLOCK_BYTES == 0);
    w->out = out;
    w->cap = cap;
    w->at = RECORD_HEAD_BYTES;
}

size_t record_room(const struct record_writer *w)
{
    return w->cap / RECORD_BLOCK_BYTES * RECORD_BLOCK_ROOM - w->at;
}

void record_put(struct record_writer *w, const void *bytes, size_t n)
{
    FATAL_IF(n > record_room(w), "a log record is larger than its buffer");
    const uint8_t *from = bytes;
    while (n > 0) {
        size_t in_block = w->at % RECORD_BLOCK_ROOM;
        size_t piece = RECORD_BLOCK_ROOM - in_block;
        piece = piece < n ? piece : n;
        uint8_t *block = w->out + w->at / RECORD_BLOCK_ROOM * RECORD_BLOCK_BYTES;
        memcpy(block + RECORD_BLOCK_HEAD_BYTES + in_block, from, piece);
        w->at += piece;
        from += piece;
        n -= piece;
    }
}

/* The running check goes on over the checks of a record's blocks, which cover the rest. */
static uint32_t record_link(uint32_t link, const uint8_t *blocks, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += RECORD_BLOCK_BYTES) {
        link = crc32c(link, blocks + at, 4);
    }
    return link;
}

size_t record_finish(struct record_writer *w, const struct record_id *id, uint32_t first_block,
                     uint32_t align, uint32_t *link)
{
    size_t content = w->at - RECORD_HEAD_BYTES;
    size_t bytes = record_disk_bytes(content);
    size_t padded = (bytes + align - 1) / align * align;
    FATAL_IF(padded > w->cap, "a log record is larger than its buffer");
    size_t used = w->at % RECORD_BLOCK_ROOM;
    if (used > 0) {
        memset(w->out + bytes - RECORD_BLOCK_ROOM + used, 0, RECORD_BLOCK_ROOM - used);
    }
    memset(w->out + bytes, 0, padded - bytes);
    uint8_t *head = w->out + RECORD_BLOCK_HEAD_BYTES;
    bytes_put_le64(head, id->seq);
    bytes_put_le32(head + 8, (uint32_t)content);
    bytes_put_le32(head + 12, 0);
    uint32_t seed = record_seed(id);
    for (size_t at = 0; at < bytes; at += RECORD_BLOCK_BYTES) {
        record_seal_seeded(w->out + at, at == 0 ? RECORD_BLOCK_FIRST : RECORD_BLOCK_MORE, seed,
                           first_block + (uint32_t)(at / RECORD_BLOCK_BYTES));
    }
    *link = record_link(id->link, w->out, bytes);
    return padded;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Classifies the blocks from `from` on as later parts of one interrupted record: zeros or good.
 * False, with out->bad, when one is neither. *dirty: end of the last good one, if there is any. */
static bool record_scan_rest(const uint8_t *image, size_t from, size_t to, uint32_t seed,
                             size_t *dirty, size_t *zeros, struct record_found *out)
{
    for (size_t at = from; at < to; at += RECORD_BLOCK_BYTES) {
        switch (record_check_seeded(image + at, RECORD_BLOCK_MORE, seed,
                                    (uint32_t)(at / RECORD_BLOCK_BYTES))) {
        case RECORD_BLOCK_GOOD:
            *dirty = at + RECORD_BLOCK_BYTES;
            break;
        case RECORD_BLOCK_ZERO:
            ++*zeros;
            break;
        case RECORD_BLOCK_BAD:
            out->bad = at;
            return false;
        }
    }
    return true;
}

/* True when [from, to) is zeros; otherwise out->bad is the first block that is not. */
static bool record_expect_zero(const uint8_t *image, size_t from, size_t to,
                               struct record_found *out)
{
    if (from >= to || record_is_zero(image + from, to - from)) {
        return true;
    }
    while (record_is_zero(image + from, RECORD_BLOCK_BYTES)) {
        from += RECORD_BLOCK_BYTES;
    }
    out->bad = from;
    return false;
}

/* The first block is zeros: nothing was written here, or the write was interrupted before it. */
static enum record_state record_find_headless(const uint8_t *image, size_t len, size_t offset,
                                              uint32_t seed, struct record_found *out)
{
    if (record_is_zero(image + offset, len - offset)) {
        return RECORD_NONE;
    }
    size_t zeros = 0;
    size_t dirty = offset;
    if (!record_scan_rest(image, offset, len, seed, &dirty, &zeros, out)) {
        return RECORD_DAMAGED;
    }
    out->dirty_end = dirty;
    return RECORD_TORN;
}

/* Moves the content of the blocks together, so that it is one run of bytes. */
static struct slice record_unpack(uint8_t *first, size_t content)
{
    uint8_t *to = first + RECORD_BLOCK_HEAD_BYTES + RECORD_BLOCK_ROOM;
    size_t have = RECORD_BLOCK_ROOM - RECORD_HEAD_BYTES;
    for (uint8_t *block = first + RECORD_BLOCK_BYTES; have < content; block += RECORD_BLOCK_BYTES) {
        memmove(to, block + RECORD_BLOCK_HEAD_BYTES, RECORD_BLOCK_ROOM);
        to += RECORD_BLOCK_ROOM;
        have += RECORD_BLOCK_ROOM;
    }
    return slice_of(first + RECORD_BLOCK_HEAD_BYTES + RECORD_HEAD_BYTES, content);
}

enum record_state record_find(uint8_t *image, size_t len, const struct record_id *id, size_t offset,
                              uint32_t align, struct record_found *out)
{
    ASSERT(len % RECORD_BLOCK_BYTES == 0 && offset % RECORD_BLOCK_BYTES == 0);
    memset(out, 0, sizeof *out);
    if (offset >= len) {
        return RECORD_NONE;
    }
    uint8_t *first = image + offset;
    uint32_t seed = record_seed(id);
    switch (record_check_seeded(first, RECORD_BLOCK_FIRST, seed,
                                (uint32_t)(offset / RECORD_BLOCK_BYTES))) {
    case RECORD_BLOCK_ZERO:
        return record_find_headless(image, len, offset, seed, out);
    case RECORD_BLOCK_BAD:
        out->bad = offset;
        return RECORD_DAMAGED;
    case RECORD_BLOCK_GOOD:
        break;
    }
    const uint8_t *head = first + RECORD_BLOCK_HEAD_BYTES;
    size_t content = bytes_le32(head + 8);
    size_t end = offset + record_disk_bytes(content);
    size_t padded = (end + align - 1) / align * align;
    size_t zeros = 0;
    size_t dirty = offset + RECORD_BLOCK_BYTES;
    out->bad = offset;
    if (bytes_le64(head) != id->seq || bytes_le32(head + 12) != 0 || padded > len) {
        return RECORD_DAMAGED;
    }
    if (!record_scan_rest(image, dirty, end, seed, &dirty, &zeros, out)) {
        return RECORD_DAMAGED;
    }
    if (!record_expect_zero(image, end, zeros == 0 ? padded : len, out)) {
        return RECORD_DAMAGED;
    }
    if (zeros > 0) {
        out->dirty_end = dirty;
        return RECORD_TORN;
    }
    out->link = record_link(id->link, first, end - offset);
    out->next = padded;
    out->content = record_unpack(first, content);
    return RECORD_WHOLE;
}

bool record_find_stray(const uint8_t *image, size_t len, const struct record_id *id,
                       size_t *dirty_end, size_t *bad)
{
    uint32_t seed = record_seed(id);
    *dirty_end = 0;
    for (size_t at = 0; at < len; at += RECORD_BLOCK_BYTES) {
        enum record_block kind =
            image[at + 4] == RECORD_BLOCK_FIRST ? RECORD_BLOCK_FIRST : RECORD_BLOCK_MORE;
        switch (record_check_seeded(image + at, kind, seed, (uint32_t)(at / RECORD_BLOCK_BYTES))) {
        case RECORD_BLOCK_GOOD:
            *dirty_end = at + RECORD_BLOCK_BYTES;
            break;
        case RECORD_BLOCK_ZERO:
            break;
        case RECORD_BLOCK_BAD:
            *bad = at;
            return false;
        }
    }
    return true;
}

/* ---- items ----------------------------------------------------------------------------------- */

void record_item_encode(const struct record_item *item, uint8_t *out)
{
    out[0] = (uint8_t)item->kind;
    out[1] = 0;
    out[2] = (uint8_t)item->type;
    out[3] = (uint8_t)(item->type >> 8);
    bytes_put_le32(out + 4, (uint32_t)item->data.len);
    bytes_put_le64(out + 8, item->index);
    bytes_put_le64(out + 16, item->term);
    bytes_put_le32(out + 24, item->total);
    bytes_put_le32(out + 28, item->offset);
}

bool record_item_decode(struct slice *content, struct record_item *out)
{
    if (content->len < RECORD_ITEM_HEAD_BYTES) {
        return false;
    }
    const uint8_t *p = content->data;
    size_t bytes = bytes_le32(p + 4);
    if (bytes > content->len - RECORD_ITEM_HEAD_BYTES || p[1] != 0) {
        return false;
    }
    *out = (struct record_item){
        .kind = p[0],
        .type = (uint16_t)(p[2] | p[3] << 8),
        .index = bytes_le64(p + 8),
        .term = bytes_le64(p + 16),
        .total = bytes_le32(p + 24),
        .offset = bytes_le32(p + 28),
        .data = slice_of(p + RECORD_ITEM_HEAD_BYTES, bytes),
    };
    content->data += RECORD_ITEM_HEAD_BYTES + bytes;
    content->len -= RECORD_ITEM_HEAD_BYTES + bytes;
    return out->kind >= RECORD_ENTRY && out->kind <= RECORD_SEAL &&
           (out->kind == RECORD_ENTRY || bytes == 0);
}
