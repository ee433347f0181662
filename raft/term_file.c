/* term_file.c - term and vote in two slots, written in turn.
 *
 * A slot is one 512-byte block with a check, in a page of its own. Writing one leaves it old or
 * new, never bad, and the other one untouched: so after a crash both are good and their numbers
 * differ by one. Whatever else is found is damage. In particular the newest slot never just drops
 * out: that would be a silent return to an older vote, and two leaders in one term. */
#include "raft/log.h"

#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "raft/record.h"
#include "raft/term_impl.h"

#define TERM_SLOT_BYTES RECORD_BLOCK_BYTES
#define TERM_PAGE_BYTES 4096u
#define TERM_FILE_BYTES (2u * TERM_PAGE_BYTES)
#define TERM_VERSION    1u

static const char TERM_MAGIC[8] = "kvdterm";

static const struct record_id TERM_ID; /* no segment, no record */

struct term_slot {
    uint64_t number; /* of the change; its lowest bit says which slot */
    uint64_t term;
    uint64_t vote;
};

struct term_file {
    struct disk *disk;
    bool exists;
    struct term_slot now;
};

/* ---- bytes ----------------------------------------------------------------------------------- */

static uint32_t term_block_number(uint64_t number)
{
    return (uint32_t)(number % 2 * (TERM_PAGE_BYTES / TERM_SLOT_BYTES));
}

static void term_slot_encode(const struct term_slot *s, uint8_t *out)
{
    memset(out, 0, TERM_SLOT_BYTES);
    memcpy(out + 8, TERM_MAGIC, sizeof TERM_MAGIC);
    bytes_put_le32(out + 16, TERM_VERSION);
    bytes_put_le64(out + 24, s->number);
    bytes_put_le64(out + 32, s->term);
    bytes_put_le64(out + 40, s->vote);
    record_block_seal(out, RECORD_BLOCK_TERM, &TERM_ID, term_block_number(s->number));
}

static int term_slot_decode(const uint8_t *block, uint64_t slot, struct term_slot *out)
{
    if (record_block_check(block, RECORD_BLOCK_TERM, &TERM_ID, term_block_number(slot)) !=
            RECORD_BLOCK_GOOD ||
        memcmp(block + 8, TERM_MAGIC, sizeof TERM_MAGIC) != 0) {
        return ERR_DAMAGED;
    }
    if (bytes_le32(block + 16) != TERM_VERSION) {
        return bytes_le32(block + 16) > TERM_VERSION ? ERR_TOO_NEW : ERR_DAMAGED;
    }
    out->number = bytes_le64(block + 24);
    out->term = bytes_le64(block + 32);
    out->vote = bytes_le64(block + 40);
    return out->number % 2 == slot ? 0 : ERR_DAMAGED;
}

/* ---- reading --------------------------------------------------------------------------------- */

struct term_listing {
    bool found;
    uint64_t bytes;
};

static void term_name(void *data, const char *name, uint64_t size)
{
    struct term_listing *l = data;
    if (strcmp(name, TERM_FILE_NAME) == 0) {
        l->found = true;
        l->bytes = size;
    }
}

static int term_damaged(struct errmsg *e, const char *what)
{
    return errmsg_set(e, ERR_DAMAGED,
                      "the file " TERM_FILE_NAME " is damaged (%s): this member may vote twice; "
                      "restore it from a snapshot, or remove it from the cluster and add it again",
                      what);
}

static int term_read(struct disk *disk, struct term_slot *out, struct errmsg *e)
{
    struct term_listing listing = {.found = false};
    if (disk->list(disk, term_name, &listing) != 0) {
        return errmsg_set(e, ERR_IO, "cannot list the raft log's directory");
    }
    if (!listing.found) {
        return ERR_NOT_FOUND;
    }
    if (listing.bytes != TERM_FILE_BYTES) {
        return term_damaged(e, "size");
    }
    struct term_slot slots[2];
    for (uint64_t i = 0; i < 2; i++) {
        uint8_t block[TERM_SLOT_BYTES];
        size_t got = 0;
        if (disk->read(disk, TERM_FILE_NAME, i * TERM_PAGE_BYTES, block, sizeof block, &got) != 0) {
            return errmsg_set(e, ERR_IO, "cannot read the file " TERM_FILE_NAME);
        }
        int err = got == sizeof block ? term_slot_decode(block, i, &slots[i]) : ERR_DAMAGED;
        if (err == ERR_TOO_NEW) {
            return errmsg_set(e, err, "the file " TERM_FILE_NAME " is of a newer version");
        }
        if (err != 0) {
            return term_damaged(e, i == 0 ? "first slot" : "second slot");
        }
    }
    const struct term_slot *newest = &slots[slots[1].number > slots[0].number];
    const struct term_slot *older = newest == slots ? &slots[1] : slots;
    if (newest->number != older->number + 1 || newest->term < older->term) {
        return term_damaged(e, "the slots do not belong together");
    }
    *out = *newest;
    return 0;
}

int term_file_peek(struct disk *disk, uint64_t *term, struct errmsg *e)
{
    struct term_slot s;
    int err = term_read(disk, &s, e);
    if (err == 0) {
        *term = s.term;
    }
    return err;
}

/* ---- outside --------------------------------------------------------------------------------- */

int term_file_open(struct disk *disk, struct term_file **out, struct errmsg *e)
{
    struct term_slot now = {0};
    *out = NULL;
    int err = term_read(disk, &now, e);
    if (err != 0 && err != ERR_NOT_FOUND) {
        return err;
    }
    struct term_file *t = mem_zalloc(sizeof *t);
    if (t == NULL) {
        return errmsg_set(e, ERR_NOMEM, "out of memory");
    }
    t->disk = disk;
    t->exists = err == 0;
    t->now = now;
    *out = t;
    return 0;
}

void term_file_close(struct term_file *t)
{
    mem_free(t);
}

uint64_t term_file_term(const struct term_file *t)
{
    return t->now.term;
}

uint64_t term_file_vote(const struct term_file *t)
{
    return t->now.vote;
}

int term_file_set(struct term_file *t, uint64_t term, uint64_t vote)
{
    struct term_slot next = {.number = t->now.number + 1, .term = term, .vote = vote};
    uint8_t file[TERM_FILE_BYTES] = {0};
    uint64_t at = next.number % 2 * TERM_PAGE_BYTES;
    int err;
    term_slot_encode(&next, file + at);
    if (t->exists) {
        err = t->disk->write_now(t->disk, TERM_FILE_NAME, at, file + at, TERM_SLOT_BYTES);
    } else {
        /* Both slots at once, so that an empty one never is an excuse later. */
        term_slot_encode(&t->now, file);
        err = t->disk->write_now(t->disk, TERM_FILE_NAME, 0, file, sizeof file);
    }
    if (err != 0) {
        return err; /* old or new on the disk: the next attempt writes the same slot */
    }
    t->exists = true;
    t->now = next;
    return 0;
}
