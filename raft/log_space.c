/* log_space.c - segments made ahead, removed behind, and the full disk.
 *
 * Two segments are always prepared (created, zero-filled, synced in the background): the next one,
 * so that appends need not wait for it, and a reserve for the time a full disk refuses another. The
 * first refusal is reported while the reserve is still there: the alarm entry, deletions and
 * compactions that make room still fit. Removing segments behind the cut goes oldest first; a
 * segment may go once its successor's header is durable, so the chain always has a beginning that
 * can be read. */
#include "raft/log_impl.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/log.h"

/* ---- segments -------------------------------------------------------------------------------- */

struct log_segment *log_segment_new(uint64_t generation, uint64_t bytes, uint32_t sector_bytes)
{
    struct log_segment *s = mem_zalloc(sizeof *s);
    if (s != NULL) {
        list_init(&s->node);
        s->generation = generation;
        s->bytes = bytes;
        s->sector_bytes = sector_bytes;
        s->low = UINT64_MAX;
    }
    return s;
}

void log_segment_free(struct log *l, struct log_segment *s)
{
    if (s != NULL) {
        if (s->file != NULL) {
            l->disk->close(l->disk, s->file);
        }
        list_remove(&s->node);
        mem_free(s);
    }
}

void log_segment_apply(struct list *segments, enum record_item_kind kind, uint64_t index)
{
    struct log_segment *last = LIST_ENTRY(segments->prev, struct log_segment, node);
    if (kind == RECORD_ENTRY) {
        last->max_index = index > last->max_index ? index : last->max_index;
        return;
    }
    ASSERT(kind == RECORD_TRUNCATE || kind == RECORD_RESET);
    uint64_t highest = kind == RECORD_RESET ? 0 : index - 1;
    LIST_FOREACH (it, segments) {
        struct log_segment *s = LIST_ENTRY(it, struct log_segment, node);
        s->max_index = s->max_index < highest ? s->max_index : highest;
    }
    if (kind == RECORD_RESET) {
        last->has_reset = true;
        last->low = index + 1;
    } else {
        last->low = last->low < index ? last->low : index;
    }
}

static uint64_t log_lower(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t log_space_first(const struct log *l)
{
    uint64_t first = LIST_ENTRY(l->segments.next, struct log_segment, node)->next_index;
    LIST_FOREACH (it, &l->segments) {
        struct log_segment *s = LIST_ENTRY(it, struct log_segment, node);
        first = s->has_reset ? s->low : log_lower(first, s->low);
    }
    for (size_t i = 0; i < l->ops_len; i++) {
        struct log_op *op = log_op_at(l, i);
        if (op->kind == RECORD_TRUNCATE) {
            first = log_lower(first, op->index);
        } else if (op->kind == RECORD_RESET) {
            first = op->index + 1;
        }
    }
    return first;
}

/* ---- full or not ----------------------------------------------------------------------------- */

void log_space_report(struct log *l)
{
    bool full = l->full_create || l->full_write;
    if (full == l->told_full) {
        return;
    }
    l->told_full = full;
    if (full) {
        LOG(LOG_WARN, "no room for the raft log; free space on its disk",
            F_UINT("log_bytes", log_bytes(l)));
    } else {
        LOG(LOG_INFO, "there is room for the raft log again");
    }
    if (l->options.full != NULL) {
        l->options.full(l->options.data, full);
    }
}

/* ---- making ---------------------------------------------------------------------------------- */

static void log_created(struct disk_req *req, int err)
{
    struct log *l = req->data;
    struct log_segment *s = l->creating;
    l->creating = NULL;
    if (l->dead) {
        log_segment_free(l, s);
        return;
    }
    if (err != 0) {
        log_segment_free(l, s);
        if (err != ERR_NO_SPACE) {
            log_die(l, "cannot create a log segment: input/output error");
            return;
        }
        l->full_create = true;
    } else {
        l->full_create = false;
        list_push_back(&l->spares, &s->node);
    }
    log_space_work(l);
    log_kick(l);
    log_space_report(l);
}

static void log_space_create(struct log *l)
{
    size_t spares = 0;
    LIST_FOREACH (it, &l->spares) {
        spares++;
    }
    if (l->creating != NULL || spares >= LOG_SPARE_SEGMENTS) {
        return;
    }
    struct log_segment *s =
        log_segment_new(l->next_generation, l->segment_bytes, l->disk->sector_bytes);
    if (s == NULL) {
        return; /* tried again at the next tick */
    }
    char name[SEGMENT_NAME_BYTES];
    segment_name(l->next_generation++, name);
    l->creating = s;
    l->create_req = (struct disk_req){.data = l, .cb = log_created};
    l->disk->create(l->disk, &l->create_req, name, s->bytes, &s->file);
}

struct log_segment *log_space_take(struct log *l)
{
    struct list *node = list_pop_front(&l->spares);
    return node == NULL ? NULL : LIST_ENTRY(node, struct log_segment, node);
}

/* ---- removing -------------------------------------------------------------------------------- */

static void log_free_all(struct log *l, struct list *segments)
{
    while (!list_empty(segments)) {
        log_segment_free(l, LIST_ENTRY(segments->next, struct log_segment, node));
    }
}

static void log_removed(struct disk_req *req, int err)
{
    struct log *l = req->data;
    l->removing = false;
    if (err != 0) {
        /* Nothing is lost by a file too many: tried again, with others, after a while. */
        LOG(LOG_WARN, "cannot remove segments of the raft log", F_STR("error", err_text(err)));
        list_splice_back(&l->strays, &l->doomed);
        return;
    }
    log_free_all(l, &l->doomed);
    if (l->dead) {
        return;
    }
    l->first_index = log_space_first(l);
    if (l->full_create) {
        log_space_create(l);
    }
    log_space_retry_write(l);
    log_space_work(l);
}

/* The oldest segment, if it may go. */
static struct log_segment *log_space_oldest(struct log *l)
{
    struct log_segment *s = LIST_ENTRY(l->segments.next, struct log_segment, node);
    if (s == l->active || s->max_index > l->cut_index) {
        return NULL;
    }
    struct log_segment *next = LIST_ENTRY(s->node.next, struct log_segment, node);
    return next->started ? s : NULL;
}

static void log_space_remove(struct log *l)
{
    char names[LOG_REMOVE_BATCH][SEGMENT_NAME_BYTES];
    const char *list[LOG_REMOVE_BATCH + 1] = {NULL};
    size_t n = 0;
    while (!l->removing && n < LOG_REMOVE_BATCH) {
        struct log_segment *s = log_space_oldest(l);
        if (!list_empty(&l->strays)) {
            s = LIST_ENTRY(l->strays.next, struct log_segment, node);
        }
        if (s == NULL) {
            break;
        }
        list_remove(&s->node);
        list_push_back(&l->doomed, &s->node);
        segment_name(s->generation, names[n]);
        list[n] = names[n];
        n++;
    }
    if (n > 0) {
        l->removing = true;
        l->remove_req = (struct disk_req){.data = l, .cb = log_removed};
        l->disk->remove(l->disk, &l->remove_req, list);
    }
}

/* ---- outside --------------------------------------------------------------------------------- */

void log_space_work(struct log *l)
{
    if (l->dead) {
        return;
    }
    /* Left-overs wait for a tick, so that a failing removal is not repeated at every turn. */
    if (log_space_oldest(l) != NULL) {
        log_space_remove(l);
    }
    if (!l->full_create) {
        log_space_create(l);
    }
}

void log_space_retry_write(struct log *l)
{
    if (l->writing && !l->on_disk) {
        log_submit(l);
    }
}

void log_space_tick(struct log *l)
{
    if (l->dead) {
        return;
    }
    if (l->ticks % LOG_FULL_RETRY_TICKS == 0) {
        log_space_remove(l);
        log_space_create(l);
        log_space_retry_write(l);
    }
    log_space_work(l);
}

void log_space_close(struct log *l)
{
    if (l->creating != NULL) {
        l->disk->forget(l->disk, &l->create_req);
        log_segment_free(l, l->creating);
    }
    if (l->removing) {
        l->disk->forget(l->disk, &l->remove_req);
    }
    log_free_all(l, &l->doomed);
    log_free_all(l, &l->strays);
    log_free_all(l, &l->spares);
    log_free_all(l, &l->segments);
}

void log_cut(struct log *l, uint64_t index)
{
    l->cut_index = index > l->cut_index ? index : l->cut_index;
    log_space_work(l);
}

bool log_full(const struct log *l)
{
    return l->full_create || l->full_write;
}

uint64_t log_bytes(const struct log *l)
{
    const struct list *lists[] = {&l->segments, &l->spares, &l->doomed, &l->strays};
    uint64_t bytes = 0;
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        LIST_FOREACH (it, lists[i]) {
            bytes += LIST_ENTRY(it, struct log_segment, node)->bytes;
        }
    }
    return bytes;
}
