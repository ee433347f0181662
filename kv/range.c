/* range.c - ranges: find, count, pick, sort, size; then encode. */
#include "kv/range.h"

#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "kv/page_count.h"
#include "kv/state.h"
#include "proto/codec.h"

#define ORDER(x)  ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__##x
#define TARGET(x) ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__##x

int range_validate(const Etcdserverpb__RangeRequest *request)
{
    if (request->key.len == 0) {
        return ERR_EMPTY_KEY;
    }
    int order = (int)request->sort_order;
    int target = (int)request->sort_target;
    return order < ORDER(NONE) || order > ORDER(DESCEND) || target < TARGET(KEY) ||
                   target > TARGET(VALUE)
               ? ERR_INVALID_SORT
               : 0;
}

static struct range_plan range_plan_of(const Etcdserverpb__RangeRequest *request)
{
    struct range_plan p = {.limit = request->limit,
                           .min_mod = request->min_mod_revision,
                           .max_mod = request->max_mod_revision,
                           .min_create = request->min_create_revision,
                           .max_create = request->max_create_revision,
                           .target = request->sort_target,
                           .keys_only = request->keys_only,
                           .count_only = request->count_only};
    p.filtered = p.min_mod != 0 || p.max_mod != 0 || p.min_create != 0 || p.max_create != 0;
    p.descending = request->sort_order == ORDER(DESCEND);
    p.sorted = p.target != TARGET(KEY) || p.descending;
    p.limit_first = p.sorted && request->sort_order == ORDER(NONE) && !p.filtered;
    p.by_ref = p.sorted || p.filtered;
    p.keep_lease = p.target == TARGET(VALUE);
    return p;
}

int range_open(struct kv_range *r, struct store_view *view, bool own,
               const Etcdserverpb__RangeRequest *request, int64_t current, int64_t floor)
{
    r->view = view;
    r->own_view = own;
    r->plan = range_plan_of(request);
    r->revision = current;
    r->at = request->revision > 0 ? request->revision : current;
    if (r->at > current) {
        return ERR_FUTURE_REV;
    }
    if (r->at < floor) {
        return ERR_COMPACTED;
    }
    return mvcc_iter_open(&r->iter, view, slice_of(request->key.data, request->key.len),
                          slice_of(request->range_end.data, request->range_end.len), r->at);
}

void range_close(struct kv_range *r)
{
    mvcc_iter_close(&r->iter);
    if (r->own_view && r->view != NULL) {
        store_view_close(r->view);
    }
    r->view = NULL;
    mem_free(r->refs);
    mem_free(r->sort.from);
    mem_free(r->sort.to);
    buf_close(&r->small);
    buf_close(&r->resume);
    buf_close(&r->piece);
    arena_close(&r->arena);
}

/* A page's count may be known from the page before it, and tells that of the next one. */
static int range_count_by_pages(struct kv_range *r, struct page_counts *counts,
                                const Etcdserverpb__RangeRequest *request)
{
    struct slice end = slice_of(request->range_end.data, request->range_end.len);
    if (r->plan.limit <= 0 || r->plan.by_ref || r->plan.count_only || end.len == 0) {
        return 0;
    }
    r->counts = counts;
    r->end = arena_dup(&r->arena, end);
    if (r->end.data == NULL) {
        return ERR_NOMEM;
    }
    if (!page_counts_find(counts, r->at, slice_of(request->key.data, request->key.len), end,
                          &r->known)) {
        r->known = -1;
    }
    return 0;
}

int kv_range_open(struct kv *kv, struct slice request, struct kv_range **out)
{
    void *message;
    struct store_view *view;
    struct kv_range *r = mem_zalloc(sizeof(*r));
    if (r == NULL) {
        return ERR_NOMEM;
    }
    arena_init(&r->arena, 0);
    int err = codec_decode(&etcdserverpb__range_request__descriptor, request, &r->arena, &message);
    if (err == 0) {
        err = range_validate(message);
    }
    if (err == 0) {
        err = store_view_open(kv->store, &view);
    }
    if (err == 0) {
        const struct store_point *point = store_view_point(view);
        err = range_open(r, view, true, message, point->revision, point->compact_revision);
    }
    if (err == 0) {
        err = range_count_by_pages(r, &kv->page_counts, message);
    }
    if (err != 0) {
        kv_range_close(r);
        return err;
    }
    *out = r;
    return 0;
}

void kv_range_close(struct kv_range *r)
{
    if (r != NULL) {
        range_close(r);
        mem_free(r);
    }
}

/* ---- first pass
 * ---------------------------------------------------------------------------------- */

static bool range_filter(const struct range_plan *p, const struct version *v)
{
    return !(p->max_mod != 0 && v->rev.main > p->max_mod) &&
           !(p->min_mod != 0 && v->rev.main < p->min_mod) &&
           !(p->max_create != 0 && v->create > p->max_create) &&
           !(p->min_create != 0 && v->create < p->min_create);
}

void range_spend(uint32_t *budget, size_t bytes)
{
    size_t rows = bytes / (SLICE_BYTES_MAX / SLICE_ROWS_MAX);
    *budget -= rows < *budget ? (uint32_t)rows : *budget;
}

/* The answer grew beyond what is kept: the second pass goes on from here. */
static int range_overflow(struct kv_range *r, struct slice key)
{
    r->overflowed = true;
    return buf_append_slice(&r->resume, key) ? 0 : ERR_NOMEM;
}

/* Remembers a row that is far behind the one before it, up to a fixed number: then the second pass
 * walks as the first did. */
static int range_note_gap(struct kv_range *r)
{
    uint32_t since = r->since;
    r->since = 0;
    if (!r->overflowed || since < RANGE_GAP_ROWS_MIN || r->gap_count == RANGE_GAPS_MAX) {
        return 0;
    }
    if (r->gaps == NULL) {
        r->gaps = arena_alloc(&r->arena, RANGE_GAPS_MAX * sizeof(r->gaps[0]));
        if (r->gaps == NULL) {
            return ERR_NOMEM;
        }
    }
    struct slice key = arena_dup(&r->arena, r->iter.key);
    r->gaps[r->gap_count] = (struct range_gap){.row = r->kept - 1, .key = key};
    r->gap_count++;
    return key.data == NULL ? ERR_NOMEM : 0;
}

static int range_keep_ref(struct kv_range *r, uint32_t *budget)
{
    const struct version *v = &r->iter.version;
    struct range_ref ref = {.main = v->rev.main, .sub = v->rev.sub, .order = (uint32_t)r->matched};
    ref.size = range_row_size(&r->plan, r->iter.key, v);
    switch (r->plan.target) {
    case TARGET(VERSION):
        ref.by.number = v->version;
        break;
    case TARGET(CREATE):
        ref.by.number = v->create;
        break;
    case TARGET(MOD):
        ref.by.number = v->rev.main;
        break;
    case TARGET(VALUE): {
        struct record record;
        struct key_value kv;
        int err = mvcc_record(r->view, v->rev, &record);
        if (err != 0 || !key_value_parse(record.kv, &kv)) {
            return err != 0 ? err : ERR_DAMAGED;
        }
        range_spend(budget, record.kv.len);
        ref.by.bytes = kv.value.data;
        ref.len = (uint32_t)kv.value.len;
        break;
    }
    default:
        ref.by.number = r->matched;
        break;
    }
    if (r->ref_count >= RANGE_SORT_ROWS_MAX) {
        return ERR_NOMEM;
    }
    return range_heap_offer(r, &ref) ? 0 : ERR_NOMEM;
}

/* One live key of the walk. */
static int range_visit(struct kv_range *r, uint32_t *budget)
{
    const struct range_plan *p = &r->plan;
    const struct version *v = &r->iter.version;
    r->count++;
    if (p->count_only || !range_filter(p, v)) {
        return 0;
    }
    r->matched++;
    if (p->by_ref) {
        bool beyond = p->limit > 0 && r->matched > p->limit;
        if (p->limit_first && beyond && r->matched - 1 > p->limit) {
            return 0;
        }
        return !p->sorted && beyond ? 0 : range_keep_ref(r, budget);
    }
    if (p->limit > 0 && r->matched > p->limit) {
        return 0;
    }
    r->kept++;
    r->total += range_row_size(p, r->iter.key, v);
    if (r->counts != NULL && r->kept == p->limit) {
        r->last = arena_dup(&r->arena, r->iter.key);
        if (r->last.data == NULL) {
            return ERR_NOMEM;
        }
    }
    int err = range_note_gap(r);
    if (err != 0 || r->overflowed) {
        return err;
    }
    size_t before = r->small.len;
    err = range_row_append(r, r->iter.key, v, &r->small);
    if (err != 0) {
        return err;
    }
    range_spend(budget, r->small.len - before);
    r->small_rows++;
    return r->small.len > RANGE_SMALL_BYTES_MAX ? range_overflow(r, r->iter.key) : 0;
}

static enum kv_progress range_walk(struct kv_range *r, uint32_t *budget, int *err)
{
    for (;;) {
        if (*budget == 0) {
            return KV_MORE;
        }
        uint32_t before = *budget;
        int found = mvcc_iter_next(&r->iter, budget);
        r->since += before - *budget;
        if (found == 2) {
            return KV_MORE;
        }
        if (found < 0) {
            *err = -found;
            return KV_DONE;
        }
        if (found == 0) {
            break;
        }
        *err = range_visit(r, budget);
        if (*err != 0) {
            return KV_DONE;
        }
        if (r->counts != NULL && r->known >= 0 && r->matched > r->plan.limit) {
            r->count = r->known;
            break;
        }
    }
    int64_t limit = r->plan.limit;
    r->more = limit > 0 && r->matched > limit;
    if (r->counts != NULL && r->more) {
        page_counts_keep(r->counts, r->at, r->last, r->end, r->count - r->kept);
    }
    if (r->plan.by_ref) {
        r->kept = limit > 0 && (int64_t)r->ref_count > limit ? limit : (int64_t)r->ref_count;
        r->phase = r->plan.sorted ? RANGE_SORT : RANGE_ENCODE;
    } else {
        r->phase = RANGE_ENCODE;
    }
    return KV_DONE;
}

/* Sizes of the rows kept by reference, and their bytes while they are few; then the trailer. */
static enum kv_progress range_encode(struct kv_range *r, uint32_t *budget, int *err)
{
    while (r->plan.by_ref && (int64_t)r->summed < r->kept) {
        const struct range_ref *ref = &r->refs[r->summed];
        if (*budget == 0) {
            return KV_MORE;
        }
        (*budget)--;
        r->total += ref->size;
        r->summed++;
        if (r->overflowed) {
            continue;
        }
        *err = range_row_begin_ref(r, ref);
        if (*err == 0 && (!buf_append_slice(&r->small, buf_slice(&r->piece)) ||
                          !buf_append_slice(&r->small, r->body))) {
            *err = ERR_NOMEM;
        }
        if (*err != 0) {
            return KV_DONE;
        }
        range_spend(budget, ref->size);
        r->small_rows++;
        r->overflowed = r->small.len > RANGE_SMALL_BYTES_MAX;
    }
    r->total += range_trailer_size(r);
    if (!r->overflowed && !range_trailer(r, &r->small)) {
        *err = ERR_NOMEM;
        return KV_DONE;
    }
    buf_clear(&r->piece);
    r->body = slice_of(NULL, 0);
    r->phase = RANGE_MEASURED;
    return KV_DONE;
}

enum kv_progress kv_range_measure(struct kv_range *r, int *err)
{
    uint32_t budget = SLICE_ROWS_MAX;
    enum kv_progress progress = KV_DONE;
    *err = 0;
    while (r->phase != RANGE_MEASURED && progress == KV_DONE && *err == 0) {
        if (r->phase == RANGE_WALK) {
            progress = range_walk(r, &budget, err);
        } else if (r->phase == RANGE_SORT) {
            progress = range_sort_step(r, &budget, err);
            if (progress == KV_DONE) {
                r->phase = RANGE_ENCODE;
            }
        } else {
            progress = range_encode(r, &budget, err);
        }
    }
    return *err != 0 ? KV_DONE : progress;
}

uint64_t kv_range_total(const struct kv_range *r)
{
    return r->total;
}

int64_t kv_range_revision(const struct kv_range *r)
{
    return r->revision;
}

struct slice kv_range_small(const struct kv_range *r)
{
    static const uint8_t nothing[1];
    if (r->overflowed || r->phase != RANGE_MEASURED) {
        return slice_of(NULL, 0);
    }
    return r->small.len == 0 ? slice_of(nothing, 0) : buf_slice(&r->small);
}

/* ---- second pass
 * --------------------------------------------------------------------------------- */

/* Sets piece and body to the next row of the answer. */
static int range_next_row(struct kv_range *r)
{
    if (!r->producing) {
        r->producing = true;
        r->produced = r->small_rows;
        if (!r->plan.by_ref) {
            int err = mvcc_iter_skip(&r->iter, buf_slice(&r->resume));
            if (err != 0) {
                return err;
            }
        }
    }
    if (r->plan.by_ref) {
        return range_row_begin_ref(r, &r->refs[r->produced++]);
    }
    if (r->gap < r->gap_count && r->gaps[r->gap].row == r->produced) {
        int err = mvcc_iter_jump(&r->iter, r->gaps[r->gap++].key);
        if (err != 0) {
            return err;
        }
    }
    uint32_t budget = UINT32_MAX;
    int found = mvcc_iter_next(&r->iter, &budget);
    r->longest = UINT32_MAX - budget > r->longest ? UINT32_MAX - budget : r->longest;
    if (found <= 0 || found == 2) {
        return found < 0 ? -found : ERR_DAMAGED; /* the first pass saw this row */
    }
    r->produced++;
    return range_row_begin(r, r->iter.key, &r->iter.version);
}

/* Copies what fits of *from to out. */
static bool range_copy(struct buf *out, size_t end, struct slice *from)
{
    size_t n = end - out->len < from->len ? end - out->len : from->len;
    if (!buf_append(out, from->data, n)) {
        return false;
    }
    *from = slice_of(from->data + n, from->len - n);
    return true;
}

bool kv_range_produce(struct kv_range *r, struct buf *out, size_t room)
{
    size_t end = out->len + room;
    while (out->len < end) {
        if (r->small_sent < r->small.len) {
            struct slice rest =
                slice_of(r->small.data + r->small_sent, r->small.len - r->small_sent);
            if (!range_copy(out, end, &rest)) {
                return false;
            }
            r->small_sent = r->small.len - rest.len;
        } else if (!r->overflowed) {
            return true;
        } else if (r->piece_sent < r->piece.len) {
            struct slice rest =
                slice_of(r->piece.data + r->piece_sent, r->piece.len - r->piece_sent);
            if (!range_copy(out, end, &rest)) {
                return false;
            }
            r->piece_sent = r->piece.len - rest.len;
        } else if (r->body.len > 0) {
            if (!range_copy(out, end, &r->body)) {
                return false;
            }
        } else if ((r->producing ? r->produced : r->small_rows) < r->kept) {
            if (range_next_row(r) != 0) {
                return false;
            }
        } else if (!r->trailer_done) {
            r->trailer_done = true;
            buf_clear(&r->piece);
            r->piece_sent = 0;
            if (!range_trailer(r, &r->piece)) {
                return false;
            }
        } else {
            return true;
        }
    }
    return true;
}

/* ---- chunks
 * -------------------------------------------------------------------------------------- */

/* Counts the rest of the range; at its end the last chunk's trailer. */
static int range_count_rest(struct kv_range *r, uint32_t *budget, struct buf *out, bool *last)
{
    int found = 1;
    while (*budget > 0 && (found = mvcc_iter_next(&r->iter, budget)) == 1) {
        r->count++;
    }
    if (found < 0) {
        return -found;
    }
    if (found > 0) {
        return ERR_AGAIN;
    }
    *last = true;
    return range_trailer(r, out) ? 0 : ERR_NOMEM;
}

int kv_range_chunk(struct kv_range *r, size_t rows, size_t bytes, struct buf *out, bool *last)
{
    uint32_t budget = SLICE_ROWS_MAX;
    size_t start = out->len;
    size_t sent = 0;
    *last = false;
    r->counting = r->counting || r->plan.count_only;
    while (!r->counting) {
        if (!r->looked) {
            int found = budget == 0 ? 2 : mvcc_iter_next(&r->iter, &budget);
            if (found < 0) {
                return -found;
            }
            if (found == 2) {
                return sent > 0 ? 0 : ERR_AGAIN;
            }
            if (found == 0) {
                *last = true;
                return range_trailer(r, out) ? 0 : ERR_NOMEM;
            }
            r->looked = true;
        }
        if (r->plan.limit > 0 && r->kept >= r->plan.limit) {
            r->more = true;
            r->count++;
            r->looked = false;
            r->counting = true;
            break;
        }
        if (sent > 0 && (sent >= rows || out->len - start >= bytes)) {
            return 0;
        }
        size_t before = out->len;
        int err = range_row_append(r, r->iter.key, &r->iter.version, out);
        if (err != 0) {
            return err;
        }
        r->looked = false;
        r->kept++;
        r->count++;
        sent++;
        range_spend(&budget, out->len - before);
    }
    int err = range_count_rest(r, &budget, out, last);
    return err == ERR_AGAIN && sent > 0 ? 0 : err;
}
