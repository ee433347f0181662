/* mvcc.c - the index walked key by key, version by version. */
#include "kv/mvcc.h"

#include <string.h>

#include "base/err.h"

/* Steps tried before seeking: neighbours usually share a page, a seek costs about ten steps. */
#define NEXT_TRIES 8

void mvcc_reader_init(struct mvcc_reader *r, struct store_view *view)
{
    memset(r, 0, sizeof(*r));
    r->view = view;
    buf_init(&r->seek);
}

void mvcc_reader_close(struct mvcc_reader *r)
{
    if (r->cursor != NULL) {
        store_cursor_close(r->cursor);
        r->cursor = NULL;
    }
    buf_close(&r->seek);
}

/* Writes the index key of the newest row of `key` with revision <= at. */
static bool seek_key(struct buf *out, struct slice key, struct rev at)
{
    buf_clear(out);
    return index_escape(out, key) && index_terminate(out) && index_rev(out, at);
}

int mvcc_find(struct mvcc_reader *r, struct slice key, struct rev at, struct version *out)
{
    struct slice escaped;
    if (r->cursor == NULL) {
        int err = store_cursor_open(r->view, TABLE_INDEX, &r->cursor);
        if (err != 0) {
            r->cursor = NULL;
            return -err;
        }
    }
    if (!seek_key(&r->seek, key, at)) {
        return -ERR_NOMEM;
    }
    int found = store_cursor_seek(r->cursor, buf_slice(&r->seek));
    if (found <= 0) {
        return found;
    }
    struct slice row = store_cursor_key(r->cursor);
    struct slice prefix = slice_of(r->seek.data, r->seek.len - INDEX_REV_BYTES);
    if (!slice_starts_with(row, prefix)) {
        return 0;
    }
    int err = index_split(row, &escaped, &out->rev);
    if (err == 0) {
        err = index_parse(row, store_cursor_value(r->cursor), out);
    }
    return err == 0 ? 1 : -err;
}

int mvcc_record(struct store_view *view, struct rev rev, struct record *out)
{
    uint8_t bytes[RECORD_KEY_BYTES];
    struct slice value;
    record_key(bytes, rev);
    struct slice key = slice_of(bytes, sizeof(bytes));
    int found = store_get(view, TABLE_RECORD, key, &value);
    if (found <= 0) {
        return found < 0 ? -found : ERR_DAMAGED;
    }
    return record_parse(key, value, out);
}

int mvcc_iter_open(struct mvcc_iter *it, struct store_view *view, struct slice key,
                   struct slice range_end, int64_t at)
{
    memset(it, 0, sizeof(*it));
    it->view = view;
    it->at = at;
    buf_init(&it->seek);
    buf_init(&it->end);
    buf_init(&it->current);
    buf_init(&it->scratch);
    bool ok;
    if (range_end.len == 0) {
        struct rev newest = {.main = at, .sub = REV_SUB_MAX};
        it->bounded = it->single = true;
        /* The bound is the same key with a terminator one higher: behind all of its rows. */
        ok = seek_key(&it->seek, key, newest) && index_escape(&it->end, key) &&
             index_terminate(&it->end);
        if (ok) {
            it->end.data[it->end.len - 1]++;
        }
    } else {
        ok = index_escape(&it->seek, key);
        it->bounded = range_end.len != 1 || range_end.data[0] != 0;
        ok = ok && (!it->bounded || index_escape(&it->end, range_end));
    }
    if (!ok) {
        return ERR_NOMEM;
    }
    return store_cursor_open(view, TABLE_INDEX, &it->cursor);
}

void mvcc_iter_close(struct mvcc_iter *it)
{
    if (it->cursor != NULL) {
        store_cursor_close(it->cursor);
        it->cursor = NULL;
    }
    buf_close(&it->seek);
    buf_close(&it->end);
    buf_close(&it->current);
    buf_close(&it->scratch);
}

int mvcc_iter_jump(struct mvcc_iter *it, struct slice key)
{
    buf_clear(&it->seek);
    it->state = MVCC_ITER_START;
    return index_escape(&it->seek, key) ? 0 : ERR_NOMEM;
}

int mvcc_iter_skip(struct mvcc_iter *it, struct slice key)
{
    if (mvcc_iter_jump(it, key) != 0 || !index_terminate(&it->seek)) {
        return ERR_NOMEM;
    }
    it->seek.data[it->seek.len - 1]++;
    return 0;
}

/* Moves behind all rows of the escaped user key in it->current. */
static int skip_current(struct mvcc_iter *it, uint32_t *budget)
{
    struct slice current = buf_slice(&it->current);
    for (int i = 0; i < NEXT_TRIES; i++) {
        *budget -= *budget > 0;
        int found = store_cursor_next(it->cursor);
        if (found <= 0 || !slice_starts_with(store_cursor_key(it->cursor), current)) {
            return found;
        }
    }
    *budget -= *budget > 0;
    it->current.data[it->current.len - 1]++;
    int found = store_cursor_seek(it->cursor, buf_slice(&it->current));
    it->current.data[it->current.len - 1]--;
    return found;
}

static bool set_current(struct mvcc_iter *it, struct slice escaped)
{
    buf_clear(&it->current);
    return buf_append_slice(&it->current, escaped);
}

/* The cursor stands on a row newer than `at`: finds the key's first row that is not. 1 = on a row
 * of this or a later key. */
static int skip_newer(struct mvcc_iter *it, struct slice escaped, uint32_t *budget)
{
    struct rev rev;
    struct rev at = {.main = it->at, .sub = REV_SUB_MAX};
    if (!set_current(it, escaped)) {
        return -ERR_NOMEM;
    }
    for (int i = 0; i < NEXT_TRIES; i++) {
        *budget -= *budget > 0;
        int found = store_cursor_next(it->cursor);
        if (found <= 0) {
            return found;
        }
        struct slice row = store_cursor_key(it->cursor);
        if (!slice_starts_with(row, buf_slice(&it->current))) {
            return 1;
        }
        if (index_split(row, &escaped, &rev) != 0) {
            return -ERR_DAMAGED;
        }
        if (rev.main <= it->at) {
            return 1;
        }
    }
    *budget -= *budget > 0;
    if (!index_rev(&it->current, at)) {
        return -ERR_NOMEM;
    }
    return store_cursor_seek(it->cursor, buf_slice(&it->current));
}

/* Leaves the row the iterator stands on and all others of its key. */
static int leave_key(struct mvcc_iter *it, uint32_t *budget)
{
    struct slice escaped;
    struct rev rev;
    if (index_split(store_cursor_key(it->cursor), &escaped, &rev) != 0) {
        return -ERR_DAMAGED;
    }
    return set_current(it, escaped) ? skip_current(it, budget) : -ERR_NOMEM;
}

/* Judges the row under the cursor. 1 = a live key, 2 = not it: *found tells what follows. */
static int judge(struct mvcc_iter *it, uint32_t *budget, int *found)
{
    struct slice row = store_cursor_key(it->cursor);
    struct slice escaped;
    if (it->bounded && slice_cmp(row, buf_slice(&it->end)) >= 0) {
        return 0;
    }
    if (index_split(row, &escaped, &it->version.rev) != 0) {
        return -ERR_DAMAGED;
    }
    if (it->version.rev.main > it->at) {
        *found = skip_newer(it, escaped, budget);
        return *found < 0 ? *found : 2;
    }
    int err = index_parse(row, store_cursor_value(it->cursor), &it->version);
    if (err != 0) {
        return -err;
    }
    if (!it->version.tombstone) {
        err = index_unescape(escaped, &it->scratch, &it->key);
        return err == 0 ? 1 : -err;
    }
    *found = leave_key(it, budget);
    return *found < 0 ? *found : 2;
}

int mvcc_iter_next(struct mvcc_iter *it, uint32_t *budget)
{
    int found = 1;
    switch (it->state) {
    case MVCC_ITER_START:
        found = store_cursor_seek(it->cursor, buf_slice(&it->seek));
        *budget -= *budget > 0;
        break;
    case MVCC_ITER_USED:
        found = it->single ? 0 : leave_key(it, budget);
        break;
    case MVCC_ITER_FRESH:
        break;
    case MVCC_ITER_END:
        return 0;
    }
    while (found > 0) {
        int verdict = judge(it, budget, &found);
        if (verdict == 1) {
            it->state = MVCC_ITER_USED;
            return 1;
        }
        if (verdict <= 0) {
            found = verdict;
            break;
        }
        if (found > 0 && *budget == 0) {
            it->state = MVCC_ITER_FRESH;
            return 2;
        }
    }
    it->state = MVCC_ITER_END;
    return found;
}
