/* range.h - one range read in progress, inside kv/ (the public half is in kv/kv.h).
 *
 * First pass (kv_range_measure): walk the keys, count, pick what the limit and the filters let
 * through, sort if asked, add up sizes; encode along the way as long as it stays small. Second pass
 * (kv_range_produce): encode the rest, any number of bytes at a time. Memory stays O(64 KiB)
 * without sorting; sorted ranges keep 32 bytes per row, or per row of the limit when that is small.
 * Chunks and pages (kv_range_chunk, kv_range_page) need one walk instead. */
#ifndef KVD_KV_RANGE_H
#define KVD_KV_RANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "kv/kv.h"
#include "kv/mvcc.h"
#include "proto/etcd/rpc.pb-c.h"

/* What a RangeRequest asks for, with etcd's quirks resolved. */
struct range_plan {
    int64_t limit;                                    /* <= 0: none */
    int64_t min_mod, max_mod, min_create, max_create; /* 0 = off */
    Etcdserverpb__RangeRequest__SortTarget target;
    bool filtered;
    bool sorted;
    bool by_ref; /* sorted, or filtered: rows to send may be far apart, so they are remembered */
    bool descending;
    bool limit_first; /* the limit applies in key order, then the sort (contract K-10) */
    bool keys_only;
    bool keep_lease; /* keys_only still shows the lease (contract K-08) */
    bool count_only;
};

/* A row of a sorted range. */
struct range_ref {
    union {
        int64_t number;
        const uint8_t *bytes; /* target VALUE: in the view */
    } by;
    uint32_t len;  /* of bytes */
    uint32_t size; /* encoded in the answer, tag and length included */
    int64_t main;
    uint32_t sub;
    uint32_t order; /* place in key order: makes every sort stable */
};

/* A long run of deleted keys in front of a row: the second pass jumps over it. */
struct range_gap {
    int64_t row; /* place of the row in the answer */
    struct slice key;
};

/* A bottom-up merge sort that can stop anywhere (range_sort.c). */
struct range_sort {
    struct range_ref *from;
    struct range_ref *to;
    size_t len;
    size_t width; /* sorted runs of this many rows; 0 = not begun */
    size_t low, left, right, out;
};

struct page_counts;

struct kv_range {
    struct store_view *view;
    bool own_view;
    struct range_plan plan;
    int64_t at;       /* revision read at */
    int64_t revision; /* of the store, for the header */
    struct mvcc_iter iter;
    enum { RANGE_WALK, RANGE_SORT, RANGE_ENCODE, RANGE_MEASURED } phase;

    /* first pass */
    int64_t count;   /* live keys */
    int64_t matched; /* of them, through the filters */
    int64_t kept;    /* of them, within the limit */
    bool more;
    uint64_t total;
    struct buf small;       /* the answer so far, while it is small */
    bool overflowed;        /* it was not; `small` holds the first rows of the answer */
    int64_t small_rows;     /* rows in `small` */
    struct buf resume;      /* the key of the last of them */
    struct range_gap *gaps; /* behind `resume`, in the arena */
    uint32_t gap_count;
    uint32_t since; /* index rows looked at since the last row of the answer */
    struct range_ref *refs;
    size_t ref_count, ref_cap;
    size_t summed; /* refs whose sizes are in `total` */
    struct range_sort sort;

    /* Counting without walking; counts is NULL when that cannot be. */
    struct page_counts *counts;
    struct slice end;  /* range_end as asked; in the arena */
    struct slice last; /* key of the last row within the limit; in the arena, empty = not yet */
    int64_t known;     /* live keys as remembered; -1 = not known */

    /* second pass */
    bool producing;
    size_t small_sent;
    int64_t produced; /* rows begun, those of `small` included */
    uint32_t gap;     /* next of `gaps` */
    uint32_t longest; /* most index rows looked at for one row */
    bool trailer_done;
    struct buf piece; /* header of the row in hand, or a whole made-up row */
    size_t piece_sent;
    struct slice body; /* rest of the row in hand, in the view */

    /* chunks (RangeStream) and pages */
    bool looked; /* the iterator stands on the next row to send */
    bool counting;
    struct arena arena; /* the decoded request, gaps */
};

/* Starts on an open view. txn: bounds were checked by the transaction's rules. `own`: close the
 * view with the range, also on failure. 0 or an enum err; range_close it in any case. */
int range_open(struct kv_range *r, struct store_view *view, bool own,
               const Etcdserverpb__RangeRequest *request, int64_t current, int64_t floor);
void range_close(struct kv_range *r);
/* K-01: 0, ERR_EMPTY_KEY, ERR_INVALID_SORT. */
int range_validate(const Etcdserverpb__RangeRequest *request);

/* ---- range_sort.c ---- */
int range_ref_cmp(const struct range_plan *plan, const struct range_ref *a,
                  const struct range_ref *b);
/* Keeps ref if it is among the first plan->limit in order: a heap with the worst on top. */
bool range_heap_offer(struct kv_range *r, const struct range_ref *ref);
/* Sorts refs; takes from *budget one per row moved. KV_MORE: call again. *err: ERR_NOMEM. */
enum kv_progress range_sort_step(struct kv_range *r, uint32_t *budget, int *err);

/* Work is counted in rows, and so many bytes fetched as one: takes them from *budget. */
void range_spend(uint32_t *budget, size_t bytes);

/* ---- range_row.c ---- */
/* Bytes one row takes in the answer. */
uint32_t range_row_size(const struct range_plan *plan, struct slice key, const struct version *v);
/* Sets r->piece and r->body to the row of one version. 0 or an enum err. */
int range_row_begin(struct kv_range *r, struct slice key, const struct version *v);
int range_row_begin_ref(struct kv_range *r, const struct range_ref *ref);
/* Appends a whole row. 0 or an enum err. */
int range_row_append(struct kv_range *r, struct slice key, const struct version *v,
                     struct buf *out);
/* more and count. */
bool range_trailer(const struct kv_range *r, struct buf *out);
size_t range_trailer_size(const struct kv_range *r);
/* At most so many bytes. */
#define RANGE_PAGE_TRAILER_BYTES 16u

#endif
