/* mvcc.h - finding versions of keys in a view.
 *
 * One user key has one index row per version, newest first; which one counts at revision R is the
 * first with main <= R. Used by ranges, transactions and apply alike; a view belongs to one thread,
 * so does everything here. */
#ifndef KVD_KV_MVCC_H
#define KVD_KV_MVCC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "kv/record.h"
#include "kv/store.h"

/* The largest sub revision: with a main it means "everything of that main revision". */
#define REV_SUB_MAX UINT32_MAX

/* A cursor over the index that is opened at the first use and kept while the view stays the same.
 */
struct mvcc_reader {
    struct store_view *view; /* borrowed */
    struct store_cursor *cursor;
    struct buf seek;
};

void mvcc_reader_init(struct mvcc_reader *r, struct store_view *view);
void mvcc_reader_close(struct mvcc_reader *r); /* before the view */
/* The newest version of `key` with revision <= `at`, tombstones included. 1 = found, 0 = the key
 * has none, negative = -(enum err). */
int mvcc_find(struct mvcc_reader *r, struct slice key, struct rev at, struct version *out);

/* Reads one record row. 0; ERR_DAMAGED also when it is not there. Slices live as long as the view.
 */
int mvcc_record(struct store_view *view, struct rev rev, struct record *out);

/* Walks the live keys of a range at a revision, in byte order. */
struct mvcc_iter {
    struct store_view *view;
    struct store_cursor *cursor;
    int64_t at;
    enum { MVCC_ITER_START, MVCC_ITER_USED, MVCC_ITER_FRESH, MVCC_ITER_END } state;
    bool bounded;
    bool single;        /* one key, so one step */
    struct buf seek;    /* where to start, or scratch */
    struct buf end;     /* escaped exclusive bound when `bounded` */
    struct buf current; /* escaped user key being skipped */
    struct buf scratch; /* user key with zero bytes, unescaped */
    struct slice key;   /* of the row returned last; valid until the next call */
    struct version version;
};

/* range_end as in RangeRequest: empty = one key, one zero byte = to the end (contract K-02). Copies
 * what it needs. 0 or ERR_NOMEM; close it also then. */
int mvcc_iter_open(struct mvcc_iter *it, struct store_view *view, struct slice key,
                   struct slice range_end, int64_t at);
void mvcc_iter_close(struct mvcc_iter *it); /* before the view; harmless when zeroed */
/* Steps to the next live key, taking from *budget one per row looked at. 1 = it->key and
 * it->version are set, 0 = end, 2 = budget used up: call again, negative = -(enum err). */
int mvcc_iter_next(struct mvcc_iter *it, uint32_t *budget);
/* Makes the next step start behind `key`, or at it. 0 or ERR_NOMEM. */
int mvcc_iter_skip(struct mvcc_iter *it, struct slice key);
int mvcc_iter_jump(struct mvcc_iter *it, struct slice key);

#endif
