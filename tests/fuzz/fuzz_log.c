/* fuzz_log - files of the raft log that are not what the log wrote.
 *
 * Byte 0 picks the log to begin with, written by the code itself: none, a small one, one with large
 * sectors, one behind a reset, one with a torn end. The rest is a script of edits, each picked by
 * its first byte: bits flipped, blocks zeroed, copied and patched, files resized, swapped, deleted
 * and brought along, items rewritten, slots of the term file made, and all checks sealed again, so
 * that the decoder behind the checks is reached. Then term file and log are opened. What must hold:
 *
 *   always     no memory error; refused with a sentence and nothing changed on the disk, or entries
 *              whose indexes go up by one, a term file that covers them, and a log that goes on:
 *              what is appended is found by the next open behind the same entries.
 *   unforged   (no bytes of the input's own in a block, no check sealed again) every entry told is
 *              one that was written at this index with this term and these bytes.
 *   flipped    (a few bits only: fewer than the check is sure to see) refused, or all is there. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "raft/record.h"
#include "raft/segment.h"

/* Fuzz targets link the program's libraries only. */
#include "tests/lib/logtest.c"
#include "tests/lib/sim_disk.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    BASES = 5,
    EDITS_MAX = 40,
    FILES_MAX = 24,
    FILE_BYTES_MAX = 64 * 1024,
    /* CRC-32C finds any five changed bits in a block of 512 bytes. */
    FLIPS_MAX = 5,
    WRITTEN_MAX = 256
};

/* A log as the code wrote it. Made once. */
struct base {
    struct disk *disk;
    struct logtest_state known; /* what it holds */
    uint64_t term;
    uint64_t vote;
    struct logtest_op written[WRITTEN_MAX]; /* every entry ever appended, by seed - 1 */
    size_t written_count;
};

static struct base bases[BASES];

static struct {
    const uint8_t *data;
    size_t left;
    const struct base *base;
    struct disk *disk;
    unsigned flips;
    bool forged;  /* bytes of the input's own, or checks sealed again */
    bool flipped; /* nothing but flips */
    /* the newest open */
    struct logtest_entry *found; /* seed: a hash of bytes and type */
    size_t found_count;
    size_t found_cap;
    uint64_t found_first;
    uint64_t max_term;
    struct errmsg e;
} z;

/* ---- the input ------------------------------------------------------------------------------- */

static uint8_t byte(void)
{
    if (z.left == 0) {
        return 0;
    }
    z.left--;
    return *z.data++;
}

static uint16_t two_bytes(void)
{
    uint16_t low = byte();
    return (uint16_t)(low | byte() << 8);
}

static struct slice some_bytes(size_t max)
{
    size_t n = two_bytes() % (max + 1);
    n = n < z.left ? n : z.left;
    struct slice s = slice_of(z.data, n);
    z.data += n;
    z.left -= n;
    return s;
}

/* A number near `base`, or one from the edges. */
static uint64_t near(uint64_t base)
{
    static const uint64_t edges[] = {
        0, 1, 255, UINT32_MAX, INT64_MAX - 1, INT64_MAX, (uint64_t)INT64_MAX + 1, UINT64_MAX};
    uint8_t b = byte();
    return b >= 248 ? edges[b - 248] : base + (uint64_t)(b % 32) - 16;
}

/* ---- logs as written ------------------------------------------------------------------------- */

/* Appends, remembers what, and waits. */
static void base_append(struct base *b, struct logtest *t, uint64_t term, size_t n, size_t len)
{
    size_t from = t->op_count;
    logtest_append(t, term, n, len);
    for (size_t i = from; i < t->op_count; i++) {
        FATAL_IF(b->written_count == WRITTEN_MAX || t->ops[i].entry.seed != b->written_count + 1,
                 "WRITTEN_MAX is too small");
        b->written[b->written_count++] = t->ops[i];
    }
    FATAL_IF(!logtest_settle(t), "the log does not settle");
}

static void base_fill(struct base *b, struct logtest *t)
{
    for (size_t i = 0; i < 6; i++) {
        base_append(b, t, 1, 1 + i % 3, 20 + 37 * i);
    }
    logtest_truncate(t, logtest_next(t) - 2);
    base_append(b, t, 2, 1, 4000); /* in parts */
    base_append(b, t, 3, 2, 100);
    base_append(b, t, 3, 1, 1200); /* the last record has several blocks */
}

static void base_make(unsigned which)
{
    struct base *b = &bases[which];
    struct logtest t;
    uint32_t sector = which == 2 ? 4096 : 512;
    logtest_init(&t, &(struct sim_disk_options){.seed = 7, .sector_bytes = sector},
                 which == 2 ? 16384 : 4096);
    base_fill(b, &t);
    if (which == 3) {
        logtest_reset(&t, 100, 3);
        FATAL_IF(!logtest_settle(&t), "the log does not settle");
        base_fill(b, &t);
    }
    if (which == 4) {
        /* Power is lost in a write of seven blocks. */
        size_t from = t.op_count;
        logtest_append(&t, 3, 2, 1500);
        for (size_t i = from; i < t.op_count; i++) {
            b->written[b->written_count++] = t.ops[i];
        }
        sim_disk_crash(t.disk);
    }
    logtest_shut(&t);
    b->disk = sim_disk_copy(t.disk, 1);
    t.options.applied_index = which == 3 ? 100 : 0;
    FATAL_IF(logtest_open(&t) != 0 || !logtest_check(&t), "a log just written does not open");
    logtest_shut(&t);
    b->known = t.known;
    t.known.entries = NULL;
    b->term = 1000000;
    b->vote = 1;
    logtest_close(&t);
}

static void bases_make(void)
{
    log_set_level(LOG_FATAL);
    bases[0].disk = sim_disk_new(&(struct sim_disk_options){.seed = 7});
    bases[0].known.first = 1;
    for (unsigned i = 1; i < BASES; i++) {
        base_make(i);
    }
}

/* ---- edits ----------------------------------------------------------------------------------- */

static size_t file_count(void)
{
    size_t n = 0;
    while (sim_disk_name(z.disk, n) != NULL) {
        n++;
    }
    return n;
}

/* A file of the disk, NULL when there is none or it is empty. */
static uint8_t *pick_file(const char **name, size_t *len)
{
    size_t n = file_count();
    *len = 0;
    if (n == 0) {
        return NULL;
    }
    *name = sim_disk_name(z.disk, byte() % n);
    uint8_t *file = sim_disk_file(z.disk, *name, len);
    return *len == 0 ? NULL : file;
}

static uint8_t *pick_block(void)
{
    const char *name;
    size_t len;
    uint8_t *file = pick_file(&name, &len);
    size_t block = byte();
    return file == NULL || len < RECORD_BLOCK_BYTES
               ? NULL
               : file + block % (len / RECORD_BLOCK_BYTES) * RECORD_BLOCK_BYTES;
}

static void edit_flip(void)
{
    const char *name;
    size_t len;
    uint8_t *file = pick_file(&name, &len);
    size_t at = two_bytes();
    uint8_t bit = (uint8_t)(1u << byte() % 8);
    if (file != NULL && z.flips < FLIPS_MAX) {
        file[at % len] ^= bit;
        z.flips++;
    }
}

static void edit_patch(void)
{
    uint8_t *block = pick_block();
    size_t at = two_bytes() % RECORD_BLOCK_BYTES;
    struct slice bytes = some_bytes(32);
    if (block != NULL) {
        memcpy(block + at, bytes.data,
               bytes.len < RECORD_BLOCK_BYTES - at ? bytes.len : RECORD_BLOCK_BYTES - at);
    }
    z.forged = true;
}

static void edit_zero(void)
{
    uint8_t *block = pick_block();
    if (block != NULL) {
        memset(block, 0, RECORD_BLOCK_BYTES);
    }
}

static void edit_copy(void)
{
    const uint8_t *from = pick_block();
    uint8_t *to = pick_block();
    if (from != NULL && to != NULL) {
        memmove(to, from, RECORD_BLOCK_BYTES);
    }
}

static void edit_resize(void)
{
    uint8_t bytes[FILE_BYTES_MAX] = {0};
    const char *name;
    size_t len;
    const uint8_t *file = pick_file(&name, &len);
    size_t wanted = (size_t)(byte() % 129) * 512 + byte() % 2;
    wanted = wanted < sizeof bytes ? wanted : sizeof bytes;
    if (file != NULL) {
        memcpy(bytes, file, len < wanted ? len : wanted);
        char copy[64];
        snprintf(copy, sizeof copy, "%s", name);
        sim_disk_put(z.disk, copy, bytes, wanted);
    }
}

static void edit_delete(void)
{
    const char *name;
    size_t len;
    if (pick_file(&name, &len) != NULL) {
        sim_disk_delete(z.disk, name);
    }
}

static void edit_swap(void)
{
    const char *a;
    const char *b;
    size_t m;
    size_t n;
    uint8_t *p = pick_file(&a, &m);
    uint8_t *q = pick_file(&b, &n);
    for (size_t i = 0; p != NULL && q != NULL && i < m && i < n; i++) {
        uint8_t x = p[i];
        p[i] = q[i];
        q[i] = x;
    }
}

/* A file of the input's own, or zeros. */
static void edit_bring(void)
{
    uint8_t bytes[FILE_BYTES_MAX] = {0};
    char name[SEGMENT_NAME_BYTES];
    uint8_t kind = byte();
    if (kind % 8 == 7) {
        snprintf(name, sizeof name, kind < 128 ? "term" : "log-of-nobody");
    } else {
        segment_name(near(4), name);
    }
    size_t len = kind % 8 == 7 ? 8192 : (size_t)(1 + kind / 8 % 4) * 4096;
    struct slice content = some_bytes(2048);
    if (file_count() < FILES_MAX || sim_disk_file(z.disk, name, &(size_t){0}) != NULL) {
        memcpy(bytes, content.data, content.len);
        sim_disk_put(z.disk, name, bytes, len);
    }
    z.forged = true;
}

/* Where byte `at` of a record's content lies, the record beginning at `offset`. */
static size_t content_at(size_t offset, size_t at)
{
    return offset + at / RECORD_BLOCK_ROOM * RECORD_BLOCK_BYTES + RECORD_BLOCK_HEAD_BYTES +
           at % RECORD_BLOCK_ROOM;
}

/* The record of this number in a segment by the lengths it says; 0 when there are not so many. */
static size_t record_offset(const uint8_t *file, size_t len, unsigned number)
{
    size_t sector = bytes_le32(file + 20);
    size_t offset = sector >= 512 && sector <= 4096 ? sector : 512;
    sector = offset;
    for (; offset + RECORD_BLOCK_BYTES <= len && file[offset + 4] == RECORD_BLOCK_FIRST; number--) {
        if (number == 0) {
            return offset;
        }
        size_t bytes = record_disk_bytes(bytes_le32(file + content_at(offset, 8)));
        offset += (bytes + sector - 1) / sector * sector;
    }
    return 0;
}

/* Rewrites one field of one item. */
static void edit_item(void)
{
    static const struct {
        uint8_t offset;
        uint8_t bytes;
    } fields[] = {{0, 1}, {1, 1}, {2, 2}, {4, 4}, {8, 8}, {16, 8}, {24, 4}, {28, 4}};
    const char *name;
    size_t len;
    uint8_t *file = pick_file(&name, &len);
    size_t offset = 0;
    unsigned number = byte() % 8;
    if (file != NULL && len >= 2 * RECORD_BLOCK_BYTES) {
        offset = record_offset(file, len, number);
    }
    size_t at = RECORD_HEAD_BYTES;
    for (unsigned i = byte() % 3; offset != 0 && i > 0; i--) {
        uint8_t skip[4];
        for (size_t k = 0; k < 4; k++) {
            size_t p = content_at(offset, at + 4 + k);
            skip[k] = p < len ? file[p] : 0;
        }
        at += RECORD_ITEM_HEAD_BYTES + bytes_le32(skip) % FILE_BYTES_MAX;
    }
    unsigned field = byte() % (sizeof fields / sizeof fields[0]);
    uint8_t old[8] = {0};
    for (size_t k = 0; offset != 0 && k < fields[field].bytes; k++) {
        size_t p = content_at(offset, at + fields[field].offset + k);
        old[k] = p < len ? file[p] : 0;
    }
    uint64_t value = near(bytes_le64(old));
    for (size_t k = 0; offset != 0 && k < fields[field].bytes; k++) {
        size_t p = content_at(offset, at + fields[field].offset + k);
        if (p < len) {
            file[p] = (uint8_t)(value >> 8 * k);
        }
    }
    z.forged = true;
}

/* Rewrites one field of a segment's head. */
static void edit_head(void)
{
    static const uint8_t fields[] = {16, 20, 24, 32, 40, 48, 56, 64};
    const char *name;
    size_t len;
    uint8_t *file = pick_file(&name, &len);
    unsigned field = byte() % sizeof fields;
    uint64_t value = near(0);
    if (file != NULL && len >= RECORD_BLOCK_BYTES) {
        value += bytes_le32(file + fields[field]);
        if (field < 2 || field == 7) {
            bytes_put_le32(file + fields[field], (uint32_t)value);
        } else {
            bytes_put_le64(file + fields[field], value);
        }
    }
    z.forged = true;
}

/* Seals the records of a segment from *id on, as far as their lengths lead. */
static void seal_records(uint8_t *file, size_t len, struct record_id *id)
{
    size_t offset;
    for (unsigned i = 0; (offset = record_offset(file, len, i)) != 0; i++) {
        size_t bytes = record_disk_bytes(bytes_le32(file + content_at(offset, 8)));
        if (bytes > len - offset) {
            return;
        }
        bytes_put_le64(file + content_at(offset, 0), id->seq);
        uint32_t link = id->link;
        for (size_t at = 0; at < bytes; at += RECORD_BLOCK_BYTES) {
            uint8_t *block = file + offset + at;
            record_block_seal(block, at == 0 ? RECORD_BLOCK_FIRST : RECORD_BLOCK_MORE, id,
                              (uint32_t)((offset + at) / RECORD_BLOCK_BYTES));
            link = crc32c(link, block, 4);
        }
        id->link = link;
        id->seq++;
    }
}

/* All checks of the segments and of the term file as if the bytes had been written so; `chain`: the
 * heads go on where the segments before them end. */
static void edit_seal(void)
{
    bool chain = byte() % 4 != 0;
    struct record_id id = {.generation = 0};
    for (size_t i = 0; sim_disk_name(z.disk, i) != NULL; i++) {
        const char *name = sim_disk_name(z.disk, i);
        size_t len = 0;
        uint8_t *file = sim_disk_file(z.disk, name, &len);
        uint64_t generation;
        if (strcmp(name, "term") == 0) {
            for (uint32_t at = 0; at + RECORD_BLOCK_BYTES <= len; at += 4096) {
                record_block_seal(file + at, RECORD_BLOCK_TERM, &(struct record_id){0}, at / 512);
            }
        }
        if (!segment_name_parse(name, &generation) || len < RECORD_BLOCK_BYTES ||
            record_is_zero(file, RECORD_BLOCK_BYTES)) {
            continue;
        }
        if (chain && id.generation != 0) {
            bytes_put_le64(file + 40, id.seq);
            bytes_put_le32(file + 64, id.link);
        }
        id = (struct record_id){
            .generation = generation, .seq = bytes_le64(file + 40), .link = bytes_le32(file + 64)};
        record_block_seal(file, RECORD_BLOCK_SEGMENT, &(struct record_id){.generation = generation},
                          0);
        seal_records(file, len, &id);
    }
    z.forged = true;
}

/* A term file with good slots. */
static void edit_terms(void)
{
    uint8_t file[8192] = {0};
    for (uint32_t i = 0; i < 2; i++) {
        uint8_t *slot = file + (size_t)i * 4096;
        memcpy(slot + 8, "kvdterm", 8);
        bytes_put_le32(slot + 16, byte() == 255 ? 2 : 1);
        bytes_put_le64(slot + 24, near(16 + i));
        bytes_put_le64(slot + 32, near(20));
        bytes_put_le64(slot + 40, byte());
        record_block_seal(slot, RECORD_BLOCK_TERM, &(struct record_id){0}, i * 8);
    }
    sim_disk_put(z.disk, "term", file, sizeof file);
    z.forged = true;
}

static void edit(void)
{
    static void (*const edits[])(void) = {
        edit_flip, edit_patch, edit_zero, edit_copy, edit_resize, edit_delete,
        edit_swap, edit_bring, edit_item, edit_head, edit_seal,   edit_terms,
    };
    unsigned kind = byte() % (sizeof edits / sizeof edits[0]);
    z.flipped = z.flipped && kind == 0;
    edits[kind]();
}

/* ---- opening --------------------------------------------------------------------------------- */

/* The entry is one that was written, whole and at its place. */
static bool was_written(const struct log_entry *e)
{
    uint64_t seed = 0;
    if (e->payload.len >= 8) {
        memcpy(&seed, e->payload.data, 8);
    }
    if (seed == 0 || seed > z.base->written_count) {
        return false;
    }
    const struct logtest_op *op = &z.base->written[seed - 1];
    static uint8_t wanted[FILE_BYTES_MAX];
    if (op->index != e->index || op->entry.term != e->term || op->entry.len != e->payload.len ||
        e->type != type_of(seed)) {
        return false;
    }
    logtest_fill(wanted, e->payload.len - 8, seed);
    return memcmp(wanted, e->payload.data + 8, e->payload.len - 8) == 0;
}

static int on_found(void *data, const struct log_entry *e)
{
    if (z.found_count == 0) {
        z.found_first = e->index;
    }
    FATAL_IF(e->index != z.found_first + z.found_count, "entries come out of order");
    FATAL_IF(e->term == 0, "an entry without a term");
    FATAL_IF(!z.forged && !was_written(e), "an entry that nobody wrote");
    uint8_t type[2] = {(uint8_t)e->type, (uint8_t)(e->type >> 8)};
    z.found = test_grow(z.found, &z.found_cap, z.found_count, sizeof *z.found);
    z.found[z.found_count++] =
        (struct logtest_entry){.term = e->term,
                               .seed = crc32c(crc32c(0, type, 2), e->payload.data, e->payload.len),
                               .len = e->payload.len};
    z.max_term = e->term > z.max_term ? e->term : z.max_term;
    return 0;
}

static bool same_files(const struct disk *a, const struct disk *b)
{
    for (size_t i = 0;; i++) {
        const char *x = sim_disk_name(a, i);
        const char *y = sim_disk_name(b, i);
        if (x == NULL || y == NULL) {
            return x == y;
        }
        size_t m = 0;
        size_t n = 0;
        const uint8_t *p = sim_disk_file((struct disk *)a, x, &m);
        const uint8_t *q = sim_disk_file((struct disk *)b, y, &n);
        if (strcmp(x, y) != 0 || m != n || memcmp(p, q, n) != 0) {
            return false;
        }
    }
}

/* The log, or NULL when it was refused as it must be. */
static struct log *open_log(const struct log_options *o)
{
    struct disk *before = sim_disk_copy(z.disk, 1);
    struct log *l = NULL;
    uint64_t first = 0;
    z.e.text[0] = 0;
    z.found_count = 0;
    z.max_term = 0;
    int err = log_open(o, on_found, NULL, &l, &first, &z.e);
    FATAL_IF((err == 0) != (l != NULL), "answer and log disagree");
    if (err != 0) {
        FATAL_IF(err != ERR_DAMAGED && (err != ERR_TOO_NEW || !z.forged), "refused for no reason");
        FATAL_IF(z.e.text[0] == 0, "refused without a sentence");
        FATAL_IF(!same_files(before, z.disk), "a log that is refused was changed");
    } else {
        z.found_first = z.found_count == 0 ? first : z.found_first;
        FATAL_IF(log_first_index(l) != first, "two first indexes");
        FATAL_IF(!log_pending(l) && first != z.found_first, "the first entry is not the first");
        FATAL_IF(!log_pending(l) && log_last_index(l) + 1 != first + z.found_count,
                 "entries are counted that are not told");
    }
    sim_disk_free(before);
    return l;
}

static struct term_file *open_terms(void)
{
    struct disk *before = sim_disk_copy(z.disk, 1);
    struct term_file *terms = NULL;
    struct errmsg e = {""};
    int err = term_file_open(z.disk, &terms, &e);
    FATAL_IF((err == 0) != (terms != NULL), "answer and term file disagree");
    FATAL_IF(err != 0 && err != ERR_DAMAGED && (err != ERR_TOO_NEW || !z.forged),
             "refused for no reason");
    FATAL_IF(err != 0 && e.text[0] == 0, "refused without a sentence");
    FATAL_IF(!same_files(before, z.disk), "looking at the term file changes something");
    if (err == 0 && z.flipped) {
        FATAL_IF(term_file_term(terms) != z.base->term || term_file_vote(terms) != z.base->vote,
                 "another term or vote than stored");
    }
    sim_disk_free(before);
    return terms;
}

static void on_appended(struct log_append *a)
{
    *(bool *)a->data = true;
}

static void work(struct log *l, uint64_t *now)
{
    for (unsigned i = 0; i < 1000 && (log_pending(l) || sim_disk_in_flight(z.disk) > 0); i++) {
        *now += 10;
        sim_disk_run(z.disk, *now);
        log_tick(l);
    }
    FATAL_IF(log_pending(l), "the log does not go on");
}

/* One entry is appended: the next open finds the same ones and this. */
static void go_on(const struct log_options *o, struct term_file *terms, struct log *l)
{
    uint64_t now = 1000;
    bool done = false;
    uint8_t payload[600];
    uint64_t term = z.max_term > term_file_term(terms) ? z.max_term : term_file_term(terms);
    /* The store may know of a newer term than was stored; the member stores it when it starts. */
    term = term > o->applied_term ? term : o->applied_term;
    struct log_append req = {.data = &done, .cb = on_appended};
    work(l, &now); /* a restart behind the checkpoint */
    struct log_entry e = {.index = log_last_index(l) + 1,
                          .term = term == 0 ? 1 : term,
                          .type = 1,
                          .payload = slice_of(payload, sizeof payload)};
    uint64_t first = log_first_index(l);
    if (e.index >= INT64_MAX) {
        return; /* no log gets there */
    }
    memset(payload, 'x', sizeof payload);
    FATAL_IF(term_file_set(terms, e.term, 7) != 0, "the term cannot be stored");
    log_append(l, &req, &e, 1);
    work(l, &now);
    FATAL_IF(!done, "the append is not called back");
    log_close(l);

    static struct logtest_entry before[FILE_BYTES_MAX];
    size_t count = e.index - first;
    FATAL_IF(count > FILE_BYTES_MAX, "more entries than bytes");
    if (count > 0 && count == z.found_count) {
        memcpy(before, z.found, count * sizeof *before);
    } else {
        FATAL_IF(count != 0, "the log counts other entries than it tells");
    }
    bool was_forged = z.forged;
    z.forged = true; /* the new entry is none of the base's */
    l = open_log(o);
    if (l == NULL) {
        fprintf(stderr, "%s\n", z.e.text);
        FATAL_IF(true, "a log that went on is refused");
    }
    FATAL_IF(log_last_index(l) != e.index, "the appended entry is lost");
    /* Old segments may have gone meanwhile, entries with them only where that was allowed. */
    size_t skip = z.found_first < first ? SIZE_MAX : z.found_first - first;
    FATAL_IF(skip > count, "the log begins elsewhere");
    FATAL_IF(skip > 0 && z.found_first > o->applied_index + 1, "entries are lost");
    FATAL_IF(count > skip && memcmp(before + skip, z.found, (count - skip) * sizeof *before) != 0,
             "entries changed");
    z.forged = was_forged;
    log_close(l);
    struct term_file *again = open_terms();
    FATAL_IF(again == NULL || term_file_term(again) != e.term || term_file_vote(again) != 7,
             "the stored term is lost");
    term_file_close(again);
}

static void check_complete(const struct log_options *o, const struct log *l)
{
    const struct logtest_state *k = &z.base->known;
    FATAL_IF(log_pending(l), "a log that is whole restarts");
    FATAL_IF(z.found_first != k->first || z.found_count != k->n, "entries are lost in silence");
}

static void run(void)
{
    const struct logtest_state *k = &z.base->known;
    uint8_t bound = byte();
    for (unsigned i = 0; i < EDITS_MAX && z.left > 0; i++) {
        edit();
    }
    struct log_options o = {.disk = z.disk, .segment_bytes = 4096};
    o.applied_index = k->first - 1 + bound % (k->n + 1);
    if (bound >= 240 && !z.flipped) {
        o.applied_index = k->first + k->n + bound - 240;
        o.applied_term = 1 + bound % 4;
    }
    struct term_file *terms = open_terms();
    struct log *l = open_log(&o);
    if (l != NULL && z.flipped) {
        check_complete(&o, l);
    }
    FATAL_IF(l != NULL && z.found_count > 0 && terms == NULL, "entries without a term");
    if (l != NULL && terms != NULL) {
        FATAL_IF(z.found_count > 0 && term_file_term(terms) < z.max_term,
                 "entries of a later term than the term file's");
        z.flipped = false;
        go_on(&o, terms, l);
    } else {
        log_close(l);
    }
    if (terms != NULL) {
        term_file_close(terms);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (bases[0].disk == NULL) {
        bases_make();
    }
    memset(&z, 0, sizeof z);
    z.data = data;
    z.left = size;
    z.flipped = true;
    z.base = &bases[byte() % BASES];
    z.disk = sim_disk_copy(z.base->disk, 1);
    run();
    sim_disk_free(z.disk);
    free(z.found);
    return 0;
}
