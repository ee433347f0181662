/* log_open.c - reading a log back: chain of segments, records, entries, and the state to go on
 * from.
 *
 * 1. List the files. No segments and no term file: a fresh directory, its first segment is made.
 * 2. Read all headers. The newest started segment is the chain's end; the chain goes back by the
 *    headers' prev_generation as far as there are files. Files before the chain are left-overs of
 * an interrupted removal. Segments behind its end must be blank.
 * 3. First pass over the records: every block is checked; records are numbered without gaps over
 * all segments; each segment but the last ends with a seal that names the next, whose header
 * repeats where this one ended. What the last one ends with may be torn, or, when it is sealed
 * already, what the segment it names begins with.
 * 4. The log must reach back to the checkpoint. If it ends before it, or contradicts it (snapshot
 *    installed, power lost before the reset), it restarts behind it by a reset, like log_reset.
 * 5. Second pass: tell the entries. Then repair (zeros over the torn record) and go on.
 *
 * Nothing is written before all checks are passed. A crash in step 5 leaves less of a torn record,
 * which is still one. */
#include "raft/log_impl.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/log.h"
#include "raft/log_replay.h"
#include "raft/term_impl.h"

struct open_file {
    uint64_t generation;
    uint64_t bytes;
    enum segment_state state;
    struct segment_head head; /* SEGMENT_STARTED */
    bool chained;
};

struct log_opening {
    const struct log_options *options;
    struct disk *disk;
    struct errmsg *e;
    struct log *log; /* being built */

    struct open_file *files; /* by generation */
    size_t file_count;
    size_t file_cap;
    bool no_memory;
    bool has_term_file;

    uint8_t *image;
    size_t image_cap;

    struct log_replay replay;
    uint64_t seq;    /* of the next record */
    uint32_t link;   /* of the last one */
    uint64_t offset; /* behind it, in the last segment read */
    uint64_t dirty_end;
    bool first_pass;
};

/* ---- complaints ------------------------------------------------------------------------------ */

static int open_damaged(struct log_opening *o, uint64_t generation, uint64_t offset,
                        const char *what)
{
    char name[SEGMENT_NAME_BYTES];
    segment_name(generation, name);
    return errmsg_set(o->e, ERR_DAMAGED,
                      "%s at byte %llu: %s; nothing was changed: restore this member from a "
                      "snapshot, or, in a cluster, remove it and add it again with an empty "
                      "data directory",
                      name, (unsigned long long)offset, what);
}

static int open_no_memory(struct log_opening *o)
{
    return errmsg_set(o->e, ERR_NOMEM, "out of memory reading the raft log");
}

/* ---- 1: files -------------------------------------------------------------------------------- */

static void open_name(void *data, const char *name, uint64_t size)
{
    struct log_opening *o = data;
    uint64_t generation;
    if (strcmp(name, TERM_FILE_NAME) == 0) {
        o->has_term_file = true;
        return;
    }
    if (!segment_name_parse(name, &generation)) {
        return;
    }
    if (o->file_count == o->file_cap) {
        size_t cap = o->file_cap == 0 ? 16 : o->file_cap * 2;
        struct open_file *files = mem_realloc(o->files, cap * sizeof *files);
        if (files == NULL) {
            o->no_memory = true;
            return;
        }
        o->files = files;
        o->file_cap = cap;
    }
    o->files[o->file_count++] = (struct open_file){.generation = generation, .bytes = size};
}

static int open_compare(const void *a, const void *b)
{
    const struct open_file *x = a;
    const struct open_file *y = b;
    return x->generation < y->generation ? -1 : x->generation > y->generation;
}

static int open_list(struct log_opening *o)
{
    if (o->disk->list(o->disk, open_name, o) != 0) {
        return errmsg_set(o->e, ERR_IO, "cannot list the raft log's directory");
    }
    if (o->no_memory) {
        return open_no_memory(o);
    }
    if (o->file_count == 0) {
        return 0;
    }
    qsort(o->files, o->file_count, sizeof *o->files, open_compare);
    uint64_t last = o->files[o->file_count - 1].generation;
    if (last > SEGMENT_GENERATION_MAX) {
        return open_damaged(o, last, 0, "no segment of a log has so high a number");
    }
    return 0;
}

/* Makes the first segment, with its header, so that from now on there always is one. */
static int open_fresh(struct log_opening *o)
{
    struct log *l = o->log;
    if (o->has_term_file) {
        return errmsg_set(o->e, ERR_DAMAGED,
                          "the raft log's segments are missing although a term was stored");
    }
    struct segment_head head = {.generation = 1,
                                .file_bytes = l->segment_bytes,
                                .first_seq = 1,
                                .next_index = o->options->applied_index + 1,
                                .sector_bytes = o->disk->sector_bytes};
    uint8_t *zeros = mem_zalloc(l->segment_bytes);
    struct open_file *files = mem_zalloc(sizeof *files);
    if (zeros == NULL || files == NULL) {
        mem_free(zeros);
        mem_free(files);
        return open_no_memory(o);
    }
    segment_head_encode(&head, zeros);
    char name[SEGMENT_NAME_BYTES];
    segment_name(1, name);
    int err = o->disk->write_now(o->disk, name, 0, zeros, l->segment_bytes);
    mem_free(zeros);
    if (err != 0) {
        mem_free(files);
        return errmsg_set(o->e, err, "cannot create %s: %s", name, err_text(err));
    }
    mem_free(o->files);
    files[0] = (struct open_file){.generation = 1, .bytes = l->segment_bytes};
    o->files = files;
    o->file_count = 1;
    return 0;
}

/* ---- 2: headers and chain -------------------------------------------------------------------- */

static int open_read(struct log_opening *o, const struct open_file *f, void *out, size_t len)
{
    char name[SEGMENT_NAME_BYTES];
    size_t got = 0;
    segment_name(f->generation, name);
    if (o->disk->read(o->disk, name, 0, out, len, &got) != 0) {
        return errmsg_set(o->e, ERR_IO, "cannot read %s", name);
    }
    if (got != len) {
        return open_damaged(o, f->generation, got, "the file ends early");
    }
    return 0;
}

static int open_heads(struct log_opening *o)
{
    for (size_t i = 0; i < o->file_count; i++) {
        struct open_file *f = &o->files[i];
        uint8_t block[RECORD_BLOCK_BYTES];
        if (!segment_size_valid(f->bytes, SEGMENT_SECTOR_BYTES_MIN)) {
            f->state = SEGMENT_BAD; /* a complaint only if the chain needs it */
            continue;
        }
        int err = open_read(o, f, block, sizeof block);
        if (err != 0) {
            return err;
        }
        f->state = segment_head_decode(block, f->generation, f->bytes, &f->head);
        if (f->state == SEGMENT_TOO_NEW) {
            return errmsg_set(o->e, ERR_TOO_NEW, "the raft log was written by a newer version");
        }
    }
    return 0;
}

static struct open_file *open_find(struct log_opening *o, uint64_t generation)
{
    struct open_file key = {.generation = generation};
    return bsearch(&key, o->files, o->file_count, sizeof *o->files, open_compare);
}

/* Marks the chain. *oldest and *newest: positions of its ends. */
static int open_chain(struct log_opening *o, size_t *oldest, size_t *newest)
{
    size_t i = o->file_count;
    while (i > 0 && o->files[i - 1].state != SEGMENT_STARTED) {
        i--;
        if (o->files[i].state == SEGMENT_BAD) {
            return open_damaged(o, o->files[i].generation, 0, "not the header of a segment");
        }
    }
    if (i == 0) {
        return open_damaged(o, o->files[0].generation, 0, "no segment of the log has a header");
    }
    *newest = i - 1;
    struct open_file *f = &o->files[i - 1];
    for (;;) {
        f->chained = true;
        *oldest = (size_t)(f - o->files);
        f = open_find(o, f->head.prev_generation);
        if (f == NULL) {
            return 0;
        }
        if (f->state != SEGMENT_STARTED) {
            return open_damaged(o, f->generation, 0, "not the header of a segment");
        }
    }
}

/* ---- 3: records ------------------------------------------------------------------------------ */

static int open_image(struct log_opening *o, const struct open_file *f)
{
    if (!segment_size_valid(f->bytes, SEGMENT_SECTOR_BYTES_MIN)) {
        return open_damaged(o, f->generation, 0, "no segment has this size");
    }
    if (f->bytes > o->image_cap) {
        uint8_t *image = mem_realloc(o->image, f->bytes);
        if (image == NULL) {
            return open_no_memory(o);
        }
        o->image = image;
        o->image_cap = f->bytes;
    }
    return open_read(o, f, o->image, f->bytes);
}

static int open_items(struct log_opening *o, const struct open_file *f, struct slice content,
                      uint64_t offset)
{
    if (content.len == 0) {
        return open_damaged(o, f->generation, offset, "an empty record");
    }
    while (content.len > 0) {
        struct record_item item;
        int err =
            record_item_decode(&content, &item) ? log_replay_item(&o->replay, &item) : ERR_DAMAGED;
        if (err == ERR_DAMAGED) {
            return open_damaged(o, f->generation, offset, "the record makes no sense here");
        }
        if (err == ERR_NOMEM && o->first_pass) {
            return open_no_memory(o);
        }
        if (err != 0) {
            return err;
        }
        if (o->first_pass && item.kind != RECORD_SEAL) {
            log_segment_apply(&o->log->segments, item.kind, item.index);
        }
    }
    return 0;
}

/* Goes over the records from `offset` on. Ends behind the last whole one: o->offset. */
static int open_records(struct log_opening *o, const struct open_file *f, size_t offset,
                        uint32_t sector_bytes)
{
    struct record_found found;
    o->dirty_end = 0;
    for (;;) {
        struct record_id id = {.generation = f->generation, .seq = o->seq, .link = o->link};
        o->offset = offset;
        enum record_state state =
            record_find(o->image, f->bytes, &id, offset, sector_bytes, &found);
        if (state == RECORD_DAMAGED) {
            return open_damaged(o, f->generation, found.bad, "the data is damaged");
        }
        if (state == RECORD_TORN && o->replay.seal != 0) {
            return open_damaged(o, f->generation, offset, "data behind the segment's end");
        }
        if (state != RECORD_WHOLE) {
            o->dirty_end = state == RECORD_TORN ? found.dirty_end : 0;
            return 0;
        }
        int err = open_items(o, f, found.content, offset);
        if (err != 0) {
            return err;
        }
        o->seq++;
        o->link = found.link;
        offset = found.next;
    }
}

/* A started segment. last: of the chain. */
static int open_segment(struct log_opening *o, const struct open_file *f, bool last)
{
    int err = open_image(o, f);
    if (err != 0) {
        return err;
    }
    uint32_t sector = f->head.sector_bytes;
    if (!record_is_zero(o->image + RECORD_BLOCK_BYTES, sector - RECORD_BLOCK_BYTES)) {
        return open_damaged(o, f->generation, RECORD_BLOCK_BYTES, "data behind the header");
    }
    o->replay.seal = 0;
    err = open_records(o, f, sector, sector);
    if (err != 0 || last) {
        return err;
    }
    if (o->dirty_end != 0 || o->replay.seal == 0) {
        return open_damaged(o, f->generation, o->offset, "the end of the segment is missing");
    }
    return 0;
}

static int open_add_segment(struct log_opening *o, const struct open_file *f)
{
    uint32_t sector = f->state == SEGMENT_STARTED ? f->head.sector_bytes : o->disk->sector_bytes;
    struct log_segment *s = log_segment_new(f->generation, f->bytes, sector);
    if (s == NULL) {
        return open_no_memory(o);
    }
    s->started = f->state == SEGMENT_STARTED;
    s->next_index = o->replay.next + (o->replay.partial ? 1 : 0);
    list_push_back(&o->log->segments, &s->node);
    return 0;
}

/* The header must go on where the chain is. */
static int open_link(struct log_opening *o, const struct open_file *f)
{
    if (o->replay.seal != f->generation || f->head.prev_link != o->link ||
        f->head.first_seq != o->seq || f->head.next_index != o->replay.next) {
        return open_damaged(o, f->generation, 0, "does not continue the segment before it");
    }
    return 0;
}

static int open_pass(struct log_opening *o, size_t oldest, size_t newest)
{
    for (size_t i = oldest; i <= newest; i++) {
        const struct open_file *f = &o->files[i];
        int err = 0;
        if (!f->chained) {
            continue;
        }
        if (i == oldest) {
            o->seq = f->head.first_seq;
            o->link = f->head.prev_link;
            log_replay_begin(&o->replay, f->head.next_index);
        } else {
            err = open_link(o, f);
        }
        if (err == 0 && o->first_pass) {
            err = open_add_segment(o, f);
        }
        if (err == 0) {
            err = open_segment(o, f, i == newest);
        }
        if (err != 0) {
            return err;
        }
    }
    return 0;
}

/* Segments behind the chain's end: blank, but for what the first write into the one the seal names
 * may have left. That one becomes the active segment. */
static int open_blanks(struct log_opening *o, size_t newest)
{
    uint64_t sealed_to = o->replay.seal;
    uint64_t offset = o->offset;
    uint64_t dirty_end = o->dirty_end;
    bool found = false;
    for (size_t i = newest + 1; i < o->file_count; i++) {
        const struct open_file *f = &o->files[i];
        int err = open_image(o, f);
        if (err != 0) {
            return err;
        }
        struct record_id id = {.generation = f->generation, .seq = o->seq, .link = o->link};
        size_t dirty = 0;
        size_t bad = 0;
        if (!record_is_zero(o->image, f->bytes) &&
            (f->generation != sealed_to ||
             !record_find_stray(o->image, f->bytes, &id, &dirty, &bad))) {
            return open_damaged(o, f->generation, bad, "data in a segment that was not begun");
        }
        dirty_end = f->generation == sealed_to ? dirty : dirty_end;
        if (f->generation == sealed_to) {
            found = true;
            offset = 0;
            err = open_add_segment(o, f);
        }
        if (err != 0) {
            return err;
        }
    }
    o->offset = offset;
    o->dirty_end = dirty_end;
    if (sealed_to != 0 && !found) {
        return open_damaged(o, sealed_to, 0, "this segment of the log is missing");
    }
    return 0;
}

/* ---- 4: against term file and checkpoint -------------------------------------------------------
 */

static int open_check_term(struct log_opening *o)
{
    uint64_t term = 0;
    if (o->replay.max_term == 0) {
        return 0;
    }
    int err = term_file_peek(o->disk, &term, o->e);
    if (err == ERR_NOT_FOUND) {
        return errmsg_set(o->e, ERR_DAMAGED,
                          "the file " TERM_FILE_NAME " is missing although the log has entries: "
                          "this member may vote twice; remove it and add it again");
    }
    if (err == 0 && term < o->replay.max_term) {
        err = errmsg_set(o->e, ERR_DAMAGED,
                         "the file " TERM_FILE_NAME " says term %llu but the log has entries of "
                         "term %llu: it is not this log's; remove this member and add it again",
                         (unsigned long long)term, (unsigned long long)o->replay.max_term);
    }
    return err;
}

/* *restart: the checkpoint replaces the whole log. */
static int open_check_applied(struct log_opening *o, size_t oldest, bool *restart)
{
    const struct log_replay *r = &o->replay;
    uint64_t applied = o->options->applied_index;
    if (r->first > applied + 1) {
        char name[SEGMENT_NAME_BYTES];
        segment_name(o->files[oldest].generation, name);
        return errmsg_set(o->e, ERR_DAMAGED,
                          "the log begins with entry %llu in %s but the store ends at %llu: "
                          "segments before it, or the store's newest files, are missing",
                          (unsigned long long)r->first, name, (unsigned long long)applied);
    }
    bool ends_before = r->next <= applied;
    bool contradicts = applied > 0 && r->watch_term != 0 && o->options->applied_term != 0 &&
                       r->watch_term != o->options->applied_term;
    *restart = ends_before || contradicts;
    if (*restart) {
        LOG(LOG_WARN, "the store is ahead of the raft log, which restarts there",
            F_UINT("applied_index", applied), F_UINT("applied_term", o->options->applied_term),
            F_UINT("log_last_index", r->next - 1), F_UINT("log_term_there", r->watch_term));
    }
    return 0;
}

/* ---- 5: repair, and go on ----------------------------------------------------------------------
 */

/* Zeros over what a torn write left, so that the next record finds them. */
static int open_repair(struct log_opening *o)
{
    if (o->dirty_end <= o->offset) {
        return 0;
    }
    char name[SEGMENT_NAME_BYTES];
    segment_name(o->log->active->generation, name);
    size_t bytes = o->dirty_end - o->offset;
    LOG(LOG_INFO, "cut an unfinished write off the log's end", F_STR("file", name),
        F_UINT("offset", o->offset), F_UINT("bytes", bytes));
    memset(o->image, 0, bytes); /* no larger than the segment, which was read into it */
    int err = o->disk->write_now(o->disk, name, o->offset, o->image, bytes);
    return err == 0 ? 0 : errmsg_set(o->e, err, "cannot repair %s: %s", name, err_text(err));
}

/* A directory from a disk with smaller sectors: the active segment's records end where this disk
 * cannot write, so it is closed here and the next one begins. */
static int open_adapt(struct log_opening *o)
{
    struct log *l = o->log;
    uint32_t sector = o->disk->sector_bytes;
    if (l->active->sector_bytes >= sector && segment_size_valid(l->active->bytes, sector)) {
        return 0;
    }
    if (!l->active->started) {
        l->active->sector_bytes = SEGMENT_SECTOR_BYTES_MIN;
    }
    int err = 0;
    if (list_empty(&l->spares)) {
        char name[SEGMENT_NAME_BYTES];
        segment_name(l->next_generation, name);
        struct log_segment *s = log_segment_new(l->next_generation++, l->segment_bytes, sector);
        uint8_t *zeros = mem_zalloc(l->segment_bytes);
        if (s == NULL || zeros == NULL) {
            mem_free(s);
            mem_free(zeros);
            return open_no_memory(o);
        }
        list_push_back(&l->spares, &s->node);
        err = o->disk->write_now(o->disk, name, 0, zeros, l->segment_bytes);
        mem_free(zeros);
    }
    err = err != 0 ? err : log_seal_now(l);
    return err == 0 ? 0 : errmsg_set(o->e, err, "cannot go on in a new segment: %s", err_text(err));
}

/* Prepared segments that are still of use, and left-overs that are not. */
static int open_spares(struct log_opening *o, size_t oldest)
{
    struct log *l = o->log;
    for (size_t i = 0; i < o->file_count; i++) {
        const struct open_file *f = &o->files[i];
        if (f->chained || f->generation == l->active->generation) {
            continue;
        }
        if (i > oldest && f->generation < l->active->generation) {
            int err = open_image(o, f);
            if (err != 0) {
                return err;
            }
            if (!record_is_zero(o->image, f->bytes)) {
                return open_damaged(o, f->generation, 0, "does not belong to the log");
            }
        }
        struct log_segment *s = log_segment_new(f->generation, f->bytes, o->disk->sector_bytes);
        if (s == NULL) {
            return open_no_memory(o);
        }
        bool useful = f->generation > l->active->generation && f->bytes == l->segment_bytes;
        list_push_back(useful ? &l->spares : &l->strays, &s->node);
    }
    return 0;
}

static int open_handle(struct log_opening *o, struct log_segment *s)
{
    char name[SEGMENT_NAME_BYTES];
    segment_name(s->generation, name);
    s->file = o->disk->open(o->disk, name);
    return s->file != NULL ? 0 : errmsg_set(o->e, ERR_IO, "cannot open %s for writing", name);
}

static int open_handles(struct log_opening *o)
{
    int err = open_handle(o, o->log->active);
    LIST_FOREACH (it, &o->log->spares) {
        err = err != 0 ? err : open_handle(o, LIST_ENTRY(it, struct log_segment, node));
    }
    return err;
}

static void open_state(struct log_opening *o)
{
    struct log *l = o->log;
    l->active = LIST_ENTRY(l->segments.prev, struct log_segment, node);
    l->offset = o->offset;
    l->seq = o->seq;
    l->link = o->link;
    l->first_index = o->replay.first;
    l->next_index = o->replay.next;
    l->durable_next = o->replay.next;
    l->next_generation = o->files[o->file_count - 1].generation + 1;
    if (!l->active->started) {
        struct list *before = l->active->node.prev;
        l->prev_generation = LIST_ENTRY(before, struct log_segment, node)->generation;
    }
}

/* Reads and checks everything; the log's segments, spares and strays are made. */
static int open_load(struct log_opening *o, int (*entry)(void *data, const struct log_entry *e),
                     void *entry_data, bool *restart)
{
    size_t oldest = 0;
    size_t newest = 0;
    int err = open_list(o);
    if (err == 0 && o->file_count == 0) {
        err = open_fresh(o);
    }
    err = err != 0 ? err : open_heads(o);
    err = err != 0 ? err : open_chain(o, &oldest, &newest);
    err = err != 0 ? err : open_pass(o, oldest, newest);
    err = err != 0 ? err : open_blanks(o, newest);
    err = err != 0 ? err : open_check_term(o);
    err = err != 0 ? err : open_check_applied(o, oldest, restart);
    if (err != 0) {
        return err;
    }
    open_state(o);
    uint64_t dirty_end = o->dirty_end;
    uint64_t offset = o->offset;
    if (!*restart && o->replay.first < o->replay.next) {
        o->first_pass = false;
        log_replay_rewind(&o->replay, entry, entry_data);
        err = open_pass(o, oldest, newest);
    }
    o->dirty_end = dirty_end;
    o->offset = offset;
    err = err != 0 ? err : open_spares(o, oldest);
    err = err != 0 ? err : open_repair(o);
    err = err != 0 ? err : open_adapt(o);
    return err != 0 ? err : open_handles(o);
}

static struct log *open_new(const struct log_options *options)
{
    struct log *l = mem_zalloc(sizeof *l);
    if (l == NULL) {
        return NULL;
    }
    uint64_t bytes =
        options->segment_bytes == 0 ? LOG_SEGMENT_BYTES_DEFAULT : options->segment_bytes;
    uint64_t least = (uint64_t)options->disk->sector_bytes * SEGMENT_SECTORS_MIN;
    bytes = (bytes + SEGMENT_SECTOR_BYTES_MAX - 1) / SEGMENT_SECTOR_BYTES_MAX *
            SEGMENT_SECTOR_BYTES_MAX;
    bytes = bytes < least ? least : bytes;
    l->options = *options;
    l->disk = options->disk;
    l->segment_bytes = bytes < LOG_SEGMENT_BYTES_MAX ? bytes : LOG_SEGMENT_BYTES_MAX;
    l->write_req = (struct disk_req){.data = l, .cb = log_written};
    list_init(&l->segments);
    list_init(&l->spares);
    list_init(&l->doomed);
    list_init(&l->strays);
    if (!log_ops_reserve(l, 1) || !log_buffer_resize(l, LOG_BUFFER_BYTES_MIN)) {
        log_close(l);
        return NULL;
    }
    return l;
}

int log_open(const struct log_options *options, int (*entry)(void *data, const struct log_entry *e),
             void *entry_data, struct log **out, uint64_t *first_index, struct errmsg *e)
{
    uint32_t sector = options->disk->sector_bytes;
    FATAL_IF(sector < SEGMENT_SECTOR_BYTES_MIN || sector > SEGMENT_SECTOR_BYTES_MAX ||
                 (sector & (sector - 1)) != 0,
             "the disk's sector is not 512 to 4096 bytes");
    struct log_opening o = {.options = options, .disk = options->disk, .e = e, .first_pass = true};
    *out = NULL;
    log_replay_init(&o.replay, options->applied_index);
    o.log = open_new(options);
    bool restart = false;
    int err = o.log == NULL ? open_no_memory(&o) : open_load(&o, entry, entry_data, &restart);
    log_replay_close(&o.replay);
    mem_free(o.files);
    mem_free(o.image);
    if (err != 0) {
        log_close(o.log);
        return err;
    }
    if (restart) {
        log_reset(o.log, NULL, options->applied_index, options->applied_term);
    }
    log_space_work(o.log);
    *first_index = o.log->first_index;
    *out = o.log;
    return 0;
}
