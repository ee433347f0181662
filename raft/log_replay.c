/* log_replay.c - see log_replay.h. */
#include "raft/log_replay.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/err.h"
#include "base/limits.h"

void log_replay_init(struct log_replay *r, uint64_t watch_index)
{
    memset(r, 0, sizeof *r);
    r->watch_index = watch_index;
    buf_init(&r->bytes);
}

void log_replay_close(struct log_replay *r)
{
    mem_free(r->cuts);
    buf_close(&r->bytes);
}

void log_replay_begin(struct log_replay *r, uint64_t next_index)
{
    r->first = next_index;
    r->next = next_index;
}

void log_replay_rewind(struct log_replay *r, int (*entry)(void *data, const struct log_entry *e),
                       void *entry_data)
{
    /* From here on a cut's low counts for all cuts behind it, too. */
    for (size_t i = r->cut_count; i-- > 1;) {
        if (r->cuts[i].low < r->cuts[i - 1].low) {
            r->cuts[i - 1].low = r->cuts[i].low;
        }
    }
    r->entry = entry;
    r->entry_data = entry_data;
    r->items = 0;
    r->cut_next = 0;
    r->partial = false;
    r->headless = false;
    r->seal = 0;
}

/* ---- cuts ------------------------------------------------------------------------------------ */

static int log_replay_cut(struct log_replay *r, uint64_t low)
{
    if (r->entry != NULL) {
        return 0;
    }
    if (r->cut_count == r->cut_cap) {
        size_t cap = r->cut_cap == 0 ? 16 : r->cut_cap * 2;
        struct log_replay_cut *cuts = mem_realloc(r->cuts, cap * sizeof *cuts);
        if (cuts == NULL) {
            return ERR_NOMEM;
        }
        r->cuts = cuts;
        r->cut_cap = cap;
    }
    r->cuts[r->cut_count++] = (struct log_replay_cut){.at = r->items, .low = low};
    return 0;
}

static int log_replay_truncate(struct log_replay *r, const struct record_item *item)
{
    if (item->index == 0 || item->index > r->next) {
        return ERR_DAMAGED;
    }
    r->next = item->index;
    r->first = r->first < r->next ? r->first : r->next;
    if (item->index <= r->watch_index) {
        r->watch_term = 0;
    }
    return log_replay_cut(r, item->index);
}

static int log_replay_reset(struct log_replay *r, const struct record_item *item)
{
    if (item->index > INT64_MAX) {
        return ERR_DAMAGED;
    }
    r->first = item->index + 1;
    r->next = r->first;
    r->watch_term = item->index == r->watch_index ? item->term : 0;
    return log_replay_cut(r, 0);
}

/* ---- entries --------------------------------------------------------------------------------- */

static bool log_replay_ends(const struct record_item *item)
{
    return item->offset + item->data.len == item->total;
}

static bool log_replay_fits(const struct log_replay *r, const struct record_item *item)
{
    const struct record_item *o = &r->open;
    if (item->term == 0 || item->index > INT64_MAX || item->index != r->next ||
        item->total > LOG_ENTRY_BYTES_MAX || item->offset > item->total ||
        item->data.len > item->total - item->offset) {
        return false;
    }
    /* The very first item may be a later part: the segments before were cut off with its entry. */
    return item->offset == 0 || r->items == 0 ||
           (r->partial && item->index == o->index && item->term == o->term &&
            item->type == o->type && item->total == o->total &&
            item->offset == o->offset + o->data.len);
}

/* Second pass: true when no later truncation or reset removed the entry. */
static bool log_replay_lives(struct log_replay *r, uint64_t index)
{
    while (r->cut_next < r->cut_count && r->cuts[r->cut_next].at < r->items) {
        r->cut_next++;
    }
    return r->cut_next == r->cut_count || index < r->cuts[r->cut_next].low;
}

static int log_replay_tell(struct log_replay *r, const struct record_item *item)
{
    bool whole = item->data.len == item->total;
    if (r->headless) {
        return 0;
    }
    if (item->offset == 0) {
        buf_clear(&r->bytes);
    }
    if (!whole && !buf_append_slice(&r->bytes, item->data)) {
        return ERR_NOMEM;
    }
    if (!log_replay_ends(item) || !log_replay_lives(r, item->index)) {
        return 0;
    }
    struct log_entry e = {.index = item->index,
                          .term = item->term,
                          .type = item->type,
                          .payload = whole ? item->data : buf_slice(&r->bytes)};
    return r->entry(r->entry_data, &e);
}

static int log_replay_entry(struct log_replay *r, const struct record_item *item)
{
    if (!log_replay_fits(r, item)) {
        return ERR_DAMAGED;
    }
    if (item->offset == 0 || r->items == 0) {
        r->headless = item->offset != 0;
    }
    r->open = *item;
    r->partial = !log_replay_ends(item);
    int err = r->entry == NULL ? 0 : log_replay_tell(r, item);
    if (err != 0 || r->partial) {
        return err;
    }
    r->next++;
    r->first = r->headless ? r->next : r->first;
    r->max_term = item->term > r->max_term ? item->term : r->max_term;
    if (item->index == r->watch_index) {
        r->watch_term = item->term;
    }
    return 0;
}

int log_replay_item(struct log_replay *r, const struct record_item *item)
{
    int err = 0;
    if (r->seal != 0) {
        return ERR_DAMAGED; /* a seal is the last item of its segment */
    }
    switch (item->kind) {
    case RECORD_ENTRY:
        err = log_replay_entry(r, item);
        break;
    case RECORD_TRUNCATE:
        r->partial = false;
        err = log_replay_truncate(r, item);
        break;
    case RECORD_RESET:
        r->partial = false;
        r->max_term = item->term > r->max_term ? item->term : r->max_term;
        err = log_replay_reset(r, item);
        break;
    case RECORD_SEAL:
        r->seal = item->index;
        err = item->index == 0 ? ERR_DAMAGED : 0;
        break;
    }
    r->items++;
    return err;
}
