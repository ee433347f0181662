/* log.c - the queue of the log and its one write.
 *
 * The happy path: log_append, log_truncate and log_reset queue operations; when no write is under
 * way log_kick composes a record of as many as fit, hands it to the disk, and log_written, when it
 * is durable, takes them off the queue, starts the next write and then calls back in order. What is
 * queued during a write therefore shares the next one.
 *
 * At a segment's end the record also names the next segment (a seal) if it is known then that more
 * will come; otherwise a record of its own does so before the first write there: one sector is
 * always kept for it. A segment's header is written together with its first record. An entry larger
 * than what a fresh segment holds is written in parts; it exists once its last part is durable.
 *
 * When it goes wrong: no prepared segment (the disk is slow or full): the queue waits for
 * log_created. ERR_NO_SPACE on a write: the same bytes go to the same place again, at ticks or when
 * segments were removed. ERR_IO: log_die, nothing is called back any more. */
#include "raft/log_impl.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "raft/log_metrics.h"

/* A record takes part of an entry only when it would hold at least this share of a fresh segment's
 * record: a smaller rest is left empty instead of costing a write. */
#define LOG_PART_SHARE 4

void log_die(struct log *l, const char *why)
{
    if (l->dead) {
        return;
    }
    l->dead = true;
    LOG(LOG_ERROR, "the raft log cannot go on; check the disk of the data directory",
        F_STR("error", why));
    FATAL_IF(l->options.fatal == NULL, why);
    l->options.fatal(l->options.data, why);
}

/* ---- queue ----------------------------------------------------------------------------------- */

struct log_op *log_op_at(const struct log *l, size_t i)
{
    return &l->ops[(l->ops_head + i) & (l->ops_cap - 1)];
}

bool log_ops_reserve(struct log *l, size_t more)
{
    size_t cap = l->ops_cap == 0 ? 64 : l->ops_cap;
    while (cap < l->ops_len + more) {
        cap *= 2;
    }
    if (cap == l->ops_cap) {
        return true;
    }
    struct log_op *ops = mem_alloc(cap * sizeof *ops);
    if (ops == NULL) {
        return false;
    }
    for (size_t i = 0; i < l->ops_len; i++) {
        ops[i] = *log_op_at(l, i);
    }
    mem_free(l->ops);
    l->ops = ops;
    l->ops_cap = cap;
    l->ops_head = 0;
    return true;
}

static void log_push(struct log *l, const struct log_op *op)
{
    *log_op_at(l, l->ops_len) = *op;
    l->ops_len++;
}

/* Operations cannot be refused (libraft 0.15 does not survive a failed append): no memory for a few
 * words of queue ends the process like a failed disk. */
static bool log_make_room(struct log *l, size_t more)
{
    if (l->dead) {
        return false;
    }
    if (!log_ops_reserve(l, more)) {
        log_die(l, "out of memory for the log's queue");
        return false;
    }
    return true;
}

void log_append(struct log *l, struct log_append *req, const struct log_entry *entries, size_t n)
{
    FATAL_IF(n == 0, "an append needs entries");
    if (!log_make_room(l, n)) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        FATAL_IF(entries[i].index != l->next_index, "an append leaves a gap in the log");
        FATAL_IF(entries[i].payload.len > LOG_ENTRY_BYTES_MAX, "an entry is too large");
        log_push(l, &(struct log_op){.kind = RECORD_ENTRY,
                                     .type = entries[i].type,
                                     .index = entries[i].index,
                                     .term = entries[i].term,
                                     .payload = entries[i].payload,
                                     .req = i + 1 == n ? req : NULL});
        l->next_index++;
    }
    req->last_index = l->next_index - 1;
    log_kick(l);
}

void log_truncate(struct log *l, uint64_t index)
{
    FATAL_IF(index == 0 || index > l->next_index, "a truncation behind the log's end");
    if (index == l->next_index || !log_make_room(l, 1)) {
        return;
    }
    log_push(l, &(struct log_op){.kind = RECORD_TRUNCATE, .index = index});
    l->next_index = index;
    l->first_index = index < l->first_index ? index : l->first_index;
    log_kick(l);
}

void log_reset(struct log *l, struct log_append *req, uint64_t index, uint64_t term)
{
    if (!log_make_room(l, 1)) {
        return;
    }
    log_push(l, &(struct log_op){.kind = RECORD_RESET, .index = index, .term = term, .req = req});
    l->next_index = index + 1;
    l->first_index = index + 1;
    if (req != NULL) {
        req->last_index = index;
    }
    log_kick(l);
}

/* ---- composing a record ---------------------------------------------------------------------- */

/* What the next record takes from the queue. */
struct log_plan {
    size_t ops;     /* whole, after what is durable of the first */
    size_t part;    /* payload bytes of the one behind them */
    size_t content; /* bytes of the record's content */
};

static size_t log_left(const struct log *l, size_t i)
{
    return log_op_at(l, i)->payload.len - (i == 0 ? l->head_done : 0);
}

/* Whether an operation that needs this much content can begin in a record with at most `max`,
 * rather than in a fresh segment's with at most `fresh`: whole, or as a worthwhile part of a large
 * one. */
static bool log_fits(size_t need, size_t max, size_t fresh)
{
    return need <= max ||
           (need > fresh && max >= fresh / LOG_PART_SHARE && max > RECORD_ITEM_HEAD_BYTES);
}

/* max: content this record may have. fresh: content one in a fresh segment may have. */
static struct log_plan log_plan(const struct log *l, size_t max, size_t fresh)
{
    struct log_plan p = {0};
    while (p.ops < l->ops_len) {
        size_t need = RECORD_ITEM_HEAD_BYTES + log_left(l, p.ops);
        if (p.content + need > max) {
            break;
        }
        p.content += need;
        p.ops++;
    }
    if (p.ops == 0 && log_fits(RECORD_ITEM_HEAD_BYTES + log_left(l, 0), max, fresh)) {
        p.part = max - RECORD_ITEM_HEAD_BYTES;
        p.content = max;
    }
    return p;
}

static size_t log_content_max(size_t bytes)
{
    return bytes == 0 ? 0 : record_content_max(bytes);
}

static size_t log_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

bool log_buffer_resize(struct log *l, size_t bytes)
{
    bytes = (bytes + 4095) / 4096 * 4096;
    void *memory = mem_alloc(bytes + 4095);
    if (memory == NULL) {
        return false;
    }
    mem_free(l->buffer_memory);
    l->buffer_memory = memory;
    l->buffer = (uint8_t *)(((uintptr_t)memory + 4095) & ~(uintptr_t)4095);
    l->buffer_bytes = bytes;
    return true;
}

static void log_put_item(struct record_writer *w, const struct record_item *item)
{
    uint8_t head[RECORD_ITEM_HEAD_BYTES];
    record_item_encode(item, head);
    record_put(w, head, sizeof head);
    record_put(w, item->data.data, item->data.len);
}

static void log_put_op(const struct log *l, struct record_writer *w, size_t i, size_t bytes)
{
    const struct log_op *op = log_op_at(l, i);
    size_t done = i == 0 ? l->head_done : 0;
    struct record_item item = {
        .kind = op->kind, .type = op->type, .index = op->index, .term = op->term};
    if (op->kind == RECORD_ENTRY) {
        item.total = (uint32_t)op->payload.len;
        item.offset = (uint32_t)done;
        item.data = slice_of(bytes == 0 ? NULL : op->payload.data + done, bytes);
    }
    log_put_item(w, &item);
}

/* Fills the buffer with `plan`, a header in front of it when the segment begins, a seal behind it
 * if next is not NULL. start: where the record begins in the buffer. */
static void log_encode(struct log *l, const struct log_plan *plan, size_t start,
                       const struct log_segment *next)
{
    struct record_writer w;
    if (start > 0) {
        struct segment_head head = {.generation = l->active->generation,
                                    .file_bytes = l->active->bytes,
                                    .first_seq = l->seq,
                                    .next_index = l->durable_next,
                                    .prev_generation = l->prev_generation,
                                    .prev_link = l->link,
                                    .sector_bytes = l->active->sector_bytes};
        segment_head_encode(&head, l->buffer);
        l->active->next_index = l->durable_next + (l->head_done > 0 ? 1 : 0);
    }
    record_begin(&w, l->buffer + start, l->buffer_bytes - start);
    for (size_t i = 0; i < plan->ops; i++) {
        log_put_op(l, &w, i, log_left(l, i));
    }
    if (plan->part > 0) {
        log_put_op(l, &w, plan->ops, plan->part);
    }
    if (next != NULL) {
        log_put_item(&w, &(struct record_item){.kind = RECORD_SEAL, .index = next->generation});
    }
    struct record_id id = {.generation = l->active->generation, .seq = l->seq, .link = l->link};
    uint32_t first_block = (uint32_t)((l->offset + start) / RECORD_BLOCK_BYTES);
    l->write_bytes =
        start + record_finish(&w, &id, first_block, l->active->sector_bytes, &l->write_link);
    l->write_offset = l->offset;
    l->in_write = plan->ops;
    l->part_bytes = plan->part;
    l->write_seals = next != NULL;
    l->writing = true;
    l->peak_bytes = l->write_bytes > l->peak_bytes ? l->write_bytes : l->peak_bytes;
}

/* False when nothing can be written now. */
static bool log_compose(struct log *l)
{
    size_t sector = l->active->sector_bytes;
    size_t start = l->offset == 0 ? sector : 0;
    size_t rest = l->active->bytes - l->offset - start; /* of the file, for records */
    struct list *spare = l->spares.next;
    struct log_segment *next =
        spare == &l->spares ? NULL : LIST_ENTRY(spare, struct log_segment, node);
    ASSERT(rest >= sector);

    size_t max = log_content_max(log_min(rest - sector, LOG_WRITE_BYTES_MAX));
    size_t fresh = log_content_max(log_min(l->segment_bytes - 2 * sector, LOG_WRITE_BYTES_MAX));
    struct log_plan plan = log_plan(l, max, fresh);
    size_t need = start + record_disk_bytes(plan.content + RECORD_ITEM_HEAD_BYTES) + sector;
    if (need > l->buffer_bytes && !log_buffer_resize(l, need)) {
        /* No memory: smaller records will do. */
        size_t small = log_content_max(l->buffer_bytes - start - sector) - RECORD_ITEM_HEAD_BYTES;
        plan = log_plan(l, log_min(max, small), log_min(fresh, small));
    }
    bool seals = plan.content == 0;
    if (!seals && (plan.part > 0 || plan.ops < l->ops_len)) {
        /* More waits: name the next segment now if this record is the last that this one takes. */
        size_t content = plan.content + RECORD_ITEM_HEAD_BYTES;
        size_t bytes = (record_disk_bytes(content) + sector - 1) / sector * sector;
        size_t left = rest > bytes + sector ? rest - bytes - sector : 0;
        seals =
            bytes <= rest && !log_fits(RECORD_ITEM_HEAD_BYTES + log_left(l, plan.ops) - plan.part,
                                       log_content_max(log_min(left, LOG_WRITE_BYTES_MAX)), fresh);
    }
    if (plan.content == 0 && next == NULL) {
        return false;
    }
    log_encode(l, &plan, start, seals ? next : NULL);
    return true;
}

void log_submit(struct log *l)
{
    l->on_disk = true;
    l->write_began_ns = clock_mono_ns();
    l->disk->write(l->disk, &l->write_req, l->active->file, l->write_offset, l->buffer,
                   l->write_bytes);
}

void log_kick(struct log *l)
{
    if (l->writing || l->dead || l->ops_len == 0 || !log_compose(l)) {
        return;
    }
    log_submit(l);
}

/* ---- completion ------------------------------------------------------------------------------ */

/* Goes on in the segment that the seal just written names. */
static void log_switch(struct log *l)
{
    struct log_segment *old = l->active;
    l->prev_generation = old->generation;
    if (old->file != NULL) {
        l->disk->close(l->disk, old->file);
        old->file = NULL;
    }
    l->active = log_space_take(l);
    l->offset = 0;
    list_push_back(&l->segments, &l->active->node);
}

/* Takes what is durable now off the queue. Returns the requests to call back, linked by impl[0]. */
static struct log_append *log_settle(struct log *l)
{
    struct log_append *first = NULL;
    struct log_append *last = NULL;
    l->active->started = true;
    l->offset = l->write_offset + l->write_bytes;
    l->seq++;
    l->link = l->write_link;
    for (size_t i = 0; i < l->in_write; i++) {
        struct log_op *op = log_op_at(l, i);
        log_segment_apply(&l->segments, op->kind, op->index);
        l->durable_next = op->kind == RECORD_TRUNCATE ? op->index : op->index + 1;
        if (op->req != NULL) {
            op->req->impl[0] = NULL;
            if (last != NULL) {
                last->impl[0] = op->req;
            } else {
                first = op->req;
            }
            last = op->req;
        }
    }
    if (l->part_bytes > 0) {
        /* A segment that holds a part stays as long as the entry is needed. */
        log_segment_apply(&l->segments, RECORD_ENTRY, log_op_at(l, l->in_write)->index);
    }
    l->head_done = (l->in_write > 0 ? 0 : l->head_done) + l->part_bytes;
    l->ops_head = (l->ops_head + l->in_write) & (l->ops_cap - 1);
    l->ops_len -= l->in_write;
    if (l->write_seals) {
        log_switch(l);
    }
    l->writing = false;
    return first;
}

int log_seal_now(struct log *l)
{
    char name[SEGMENT_NAME_BYTES];
    segment_name(l->active->generation, name);
    struct log_plan nothing = {0};
    size_t start = l->offset == 0 ? l->active->sector_bytes : 0;
    log_encode(l, &nothing, start, LIST_ENTRY(l->spares.next, struct log_segment, node));
    int err = l->disk->write_now(l->disk, name, l->write_offset, l->buffer, l->write_bytes);
    if (err == 0) {
        log_settle(l);
    }
    return err;
}

static void log_drained(struct log *l)
{
    void (*cb)(void *data) = l->drain_cb;
    if (cb != NULL && l->ops_len == 0) {
        l->drain_cb = NULL;
        cb(l->drain_data);
    }
}

void log_written(struct disk_req *req, int err)
{
    struct log *l = req->data;
    l->on_disk = false;
    if (l->dead) {
        return;
    }
    if (err == ERR_NO_SPACE) {
        l->full_write = true;
        log_space_report(l);
        return;
    }
    if (err != 0) {
        log_die(l, "cannot write to the raft log: input/output error");
        return;
    }
    l->full_write = false;
    log_metrics_written(l->write_bytes, clock_mono_ns() - l->write_began_ns);
    struct log_append *done = log_settle(l);
    log_space_work(l);
    log_kick(l);
    log_space_report(l);
    while (done != NULL && !l->dead) {
        struct log_append *next = done->impl[0];
        done->cb(done);
        done = next;
    }
    if (!l->dead) {
        log_drained(l);
    }
}

void log_drain(struct log *l, void (*cb)(void *data), void *data)
{
    FATAL_IF(l->drain_cb != NULL, "two wait for the log to drain");
    l->drain_cb = cb;
    l->drain_data = data;
    log_drained(l);
}

/* ---- the rest -------------------------------------------------------------------------------- */

void log_tick(struct log *l)
{
    l->ticks++;
    log_space_tick(l);
    if (l->ticks % LOG_SHRINK_TICKS != 0 || l->writing) {
        return;
    }
    if (l->buffer_bytes > LOG_BUFFER_BYTES_MIN && l->peak_bytes * 2 < l->buffer_bytes) {
        size_t to = l->peak_bytes > LOG_BUFFER_BYTES_MIN ? l->peak_bytes : LOG_BUFFER_BYTES_MIN;
        log_buffer_resize(l, to);
    }
    l->peak_bytes = 0;
}

void log_close(struct log *l)
{
    if (l == NULL) {
        return;
    }
    if (l->on_disk) {
        l->disk->forget(l->disk, &l->write_req);
    }
    log_space_close(l);
    mem_free(l->ops);
    mem_free(l->buffer_memory);
    mem_free(l);
}

bool log_pending(const struct log *l)
{
    return l->ops_len > 0;
}

uint64_t log_first_index(const struct log *l)
{
    return l->first_index;
}

uint64_t log_last_index(const struct log *l)
{
    return l->next_index - 1;
}
