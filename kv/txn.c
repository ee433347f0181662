/* txn.c - checking and running the steps of a program. */
#include "kv/txn.h"

#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "kv/lease.h"
#include "kv/state.h"
#include "proto/codec.h"

/* Field numbers of ResponseOp in TxnResponse and of its variants. */
#define FIELD_RESPONSES    3
#define FIELD_RANGE        1
#define FIELD_PUT          2
#define FIELD_DELETE_RANGE 3
#define FIELD_TXN          4

/* Rows one put or delete may read and write: record, index row, two lease rows, the search. A slice
 * with less left ends. */
#define KEY_ROWS_MAX 5u

void txn_init(struct txn *t, struct kv *kv, struct store_view *view, struct mvcc_reader *reader,
              struct arena *arena, struct result *result)
{
    /* The stack's frames are written before they are read: leave them out. */
    memset(t, 0, offsetof(struct txn, stack));
    memset((char *)t + offsetof(struct txn, depth), 0, sizeof(*t) - offsetof(struct txn, depth));
    t->kv = kv;
    t->view = view;
    t->reader = reader;
    t->arena = arena;
    t->result = result;
    if (kv != NULL) {
        t->begin = kv->revision;
        t->floor = kv->compact_revision;
    } else {
        const struct store_point *point = store_view_point(view);
        t->begin = point->revision;
        t->floor = point->compact_revision;
    }
    t->phase = TXN_PHASE_CHECK;
}

int txn_set_put(struct txn *t, const Etcdserverpb__PutRequest *put)
{
    return txn_push_step(t, (struct txn_step){.kind = TXN_PUT, .u.put = put});
}

int txn_set_delete(struct txn *t, const Etcdserverpb__DeleteRangeRequest *delete_range)
{
    return txn_push_step(t, (struct txn_step){.kind = TXN_DELETE, .u.delete_range = delete_range});
}

int txn_set_range(struct txn *t, const Etcdserverpb__RangeRequest *range)
{
    return txn_push_step(t, (struct txn_step){.kind = TXN_RANGE, .u.range = range});
}

int txn_set_revoke(struct txn *t, int64_t lease)
{
    return txn_push_step(t, (struct txn_step){.kind = TXN_REVOKE, .u.lease = lease});
}

void txn_close(struct txn *t)
{
    if (t->walking) {
        mvcc_iter_close(&t->iter);
        t->walking = false;
    }
    if (t->cursor != NULL) {
        store_cursor_close(t->cursor);
        t->cursor = NULL;
    }
    if (t->ranging) {
        range_close(&t->range);
        t->ranging = false;
    }
}

int txn_read_failed(const struct txn *t, int err)
{
    if (t->kv != NULL) {
        kv_stop(err, "apply: reading for a transaction");
    }
    return err;
}

/* What reads inside see now (contract R-09). */
static int64_t txn_visible(const struct txn *t)
{
    return t->kv != NULL ? change_visible(t->kv) : t->begin;
}

/* ---- CHECK
 * --------------------------------------------------------------------------------------- */

static int txn_check_put(struct txn *t, const Etcdserverpb__PutRequest *put)
{
    struct slice key = slice_of(put->key.data, put->key.len);
    if (t->kv == NULL) {
        return ERR_INVALID;
    }
    if (key.len == 0) {
        return ERR_EMPTY_KEY;
    }
    if (put->lease != 0 && lessor_find(&t->kv->lessor, put->lease) == NULL) {
        return ERR_LEASE_NOT_FOUND;
    }
    if (put->ignore_value || put->ignore_lease) {
        struct version v;
        if (!change_find(t->kv, key, &v) || v.tombstone) {
            return ERR_KEY_NOT_FOUND;
        }
    }
    return 0;
}

static int txn_check_range(const struct txn *t, const Etcdserverpb__RangeRequest *range)
{
    int err = range_validate(range);
    if (err != 0 || range->revision == 0) {
        return err;
    }
    if (range->revision > t->begin) {
        return ERR_FUTURE_REV;
    }
    if (!t->nested && range->revision < 0) {
        return 0; /* outside transactions a negative revision is the latest (contract K-04) */
    }
    return range->revision < t->floor ? ERR_COMPACTED : 0;
}

static int txn_check_step(struct txn *t, const struct txn_step *step)
{
    switch (step->kind) {
    case TXN_PUT:
        return txn_check_put(t, step->u.put);
    case TXN_DELETE:
        return t->kv == NULL ? ERR_INVALID : step->u.delete_range->key.len == 0 ? ERR_EMPTY_KEY : 0;
    case TXN_RANGE:
        return txn_check_range(t, step->u.range);
    case TXN_REVOKE:
        return lessor_find(&t->kv->lessor, step->u.lease) == NULL ? ERR_LEASE_NOT_FOUND : 0;
    case TXN_ENTER:
    case TXN_LEAVE:
        break;
    }
    return 0;
}

/* ---- RUN
 * ----------------------------------------------------------------------------------------- */

/* Opens the response of one operation; alone it is the body itself. */
static void txn_answer_enter(struct txn *t, uint32_t field, int64_t revision)
{
    if (t->nested && result_live(t->result)) {
        result_enter(t->result, FIELD_RESPONSES);
        result_enter(t->result, field);
        result_header(t->result, revision);
    }
}

static void txn_answer_leave(struct txn *t)
{
    if (t->nested) {
        result_leave(t->result);
        result_leave(t->result);
    }
}

/* Appends a KeyValue as `field` of the answer. */
static void txn_answer_kv(struct txn *t, uint32_t field, struct slice kv)
{
    if (result_live(t->result)) {
        struct buf *body = &t->result->body;
        if (wire_put_header(body, field, kv.len)) {
            buf_append_slice(body, kv);
        }
        result_check(t->result);
    }
}

static void txn_read_record(struct txn *t, const struct version *v, struct record *record)
{
    int err = mvcc_record(t->view, v->rev, record);
    if (err != 0) {
        txn_read_failed(t, err);
    }
}

static void txn_run_put(struct txn *t, const Etcdserverpb__PutRequest *put)
{
    struct slice key = slice_of(put->key.data, put->key.len);
    struct slice value = slice_of(put->value.data, put->value.len);
    int64_t lease = put->lease;
    struct version prev;
    struct record record;
    bool live = change_find(t->kv, key, &prev);
    const struct version *known = live ? &prev : NULL;
    live = live && !prev.tombstone;
    bool show = put->prev_kv && live && result_live(t->result);
    if (live && (show || put->ignore_value)) {
        txn_read_record(t, &prev, &record);
    }
    if (put->ignore_value) {
        /* The check saw the key live. If an operation of this very transaction removed it since,
         * which validation does not let through, there is nothing to keep. */
        struct key_value fields = {0};
        if (live && !key_value_parse(record.kv, &fields)) {
            txn_read_failed(t, ERR_DAMAGED);
        }
        value = fields.value;
    }
    if (put->ignore_lease) {
        lease = live ? prev.lease : 0;
    }
    txn_answer_enter(t, FIELD_PUT, change_revision(t->kv));
    if (show) {
        txn_answer_kv(t, 2, record.kv);
    }
    txn_answer_leave(t);
    change_put(t->kv, key, value, lease, known);
}

/* One live key of a DeleteRange. */
static void txn_delete_key(struct txn *t, bool show)
{
    if (show && result_live(t->result)) {
        struct record record;
        txn_read_record(t, &t->iter.version, &record);
        txn_answer_kv(t, 3, record.kv);
    }
    change_delete(t->kv, t->iter.key, &t->iter.version);
    t->deleted++;
}

static bool txn_run_delete(struct txn *t, const Etcdserverpb__DeleteRangeRequest *d,
                           uint32_t *budget)
{
    if (!t->walking) {
        struct slice key = slice_of(d->key.data, d->key.len);
        struct slice end = slice_of(d->range_end.data, d->range_end.len);
        int err = mvcc_iter_open(&t->iter, t->view, key, end, txn_visible(t));
        if (err != 0) {
            txn_read_failed(t, err);
        }
        t->walking = true;
        t->deleted = 0;
        if (t->nested) {
            result_enter(t->result, FIELD_RESPONSES);
            result_enter(t->result, FIELD_DELETE_RANGE);
            /* The header is known at the end only: reserve its revision as a mark of its own. */
            result_enter(t->result, 1);
            t->deleted_mark = result_count(t->result, 3);
            result_leave(t->result);
        }
        uint32_t mark = result_count(t->result, 2);
        t->deleted_mark = t->nested ? t->deleted_mark : mark;
    }
    for (;;) {
        int found = *budget < KEY_ROWS_MAX ? 2 : mvcc_iter_next(&t->iter, budget);
        if (found == 2) {
            return false;
        }
        if (found < 0) {
            txn_read_failed(t, -found);
        }
        if (found == 0) {
            break;
        }
        uint32_t rows = t->kv->change.rows;
        txn_delete_key(t, d->prev_kv);
        rows = t->kv->change.rows - rows;
        *budget -= rows < *budget ? rows : *budget;
    }
    mvcc_iter_close(&t->iter);
    t->walking = false;
    t->kv->counts.deletes++;
    if (t->nested) {
        result_set(t->result, t->deleted_mark, (uint64_t)txn_visible(t));
        result_set(t->result, t->deleted_mark + 1, (uint64_t)t->deleted);
    } else {
        result_set(t->result, t->deleted_mark, (uint64_t)t->deleted);
    }
    txn_answer_leave(t);
    return true;
}

/* Removes the keys of a lease in byte order, then the lease (contract L-04). */
static bool txn_run_revoke(struct txn *t, int64_t id, uint32_t *budget)
{
    uint8_t bytes[LEASE_ID_BYTES];
    lease_key(bytes, id);
    struct slice prefix = slice_of(bytes, sizeof(bytes));
    int found = 1;
    if (t->cursor == NULL) {
        int err = store_cursor_open(t->view, TABLE_LEASE_KEY, &t->cursor);
        if (err != 0) {
            txn_read_failed(t, err);
        }
        found = store_cursor_seek(t->cursor, prefix);
    }
    while (found > 0 && slice_starts_with(store_cursor_key(t->cursor), prefix)) {
        struct version v;
        struct slice row = store_cursor_key(t->cursor);
        struct slice key = slice_of(row.data + LEASE_ID_BYTES, row.len - LEASE_ID_BYTES);
        uint32_t rows = t->kv->change.rows;
        if (!change_find(t->kv, key, &v) || v.tombstone || v.lease != id) {
            kv_stop(ERR_DAMAGED, "apply: a lease names a key that is not attached to it");
        }
        change_delete(t->kv, key, &v);
        t->kv->counts.deletes++;
        rows = t->kv->change.rows - rows + 1;
        *budget -= rows < *budget ? rows : *budget;
        found = store_cursor_next(t->cursor);
        if (*budget < KEY_ROWS_MAX && found > 0) {
            return false;
        }
    }
    if (found < 0) {
        txn_read_failed(t, -found);
    }
    store_cursor_close(t->cursor);
    t->cursor = NULL;
    lease_drop(t->kv, lessor_find(&t->kv->lessor, id));
    return true;
}

/* Writes a slice of the measured range into the answer. false = there is more. */
static bool txn_write_range(struct txn *t, int *err)
{
    struct kv_range *r = &t->range;
    struct buf *body = &t->result->body;
    if (t->range_end == 0) {
        if (kv_range_total(r) > t->result->limit) {
            result_fail(t->result);
            return true;
        }
        txn_answer_enter(t, FIELD_RANGE, txn_visible(t));
        t->range_end = body->len + (size_t)kv_range_total(r);
    }
    size_t left = t->range_end - body->len;
    size_t room = left < SLICE_BYTES_MAX ? left : SLICE_BYTES_MAX;
    size_t before = body->len;
    if (!kv_range_produce(r, body, room) || body->len != before + room) {
        *err = body->failed ? ERR_NOMEM : ERR_DAMAGED;
        return true;
    }
    if (body->len < t->range_end) {
        return false;
    }
    result_check(t->result);
    txn_answer_leave(t);
    return true;
}

static bool txn_run_range(struct txn *t, const Etcdserverpb__RangeRequest *request,
                          uint32_t *budget, int *err)
{
    struct kv_range *r = &t->range;
    if (!result_live(t->result)) {
        *budget -= *budget > 0;
        return true; /* nobody reads it here, and it changes nothing */
    }
    if (!t->ranging) {
        memset(r, 0, sizeof(*r));
        if (t->kv != NULL) {
            t->kv->counts.ranges++;
        }
        t->ranging = true;
        t->range_end = 0;
        *err = range_open(r, t->view, false, request, txn_visible(t), t->floor);
    }
    if (*err == 0 && t->range_end == 0) {
        enum kv_progress progress = kv_range_measure(r, err);
        uint32_t rows = r->count < (int64_t)*budget ? (uint32_t)r->count + 1 : *budget;
        *budget -= progress == KV_MORE || rows > *budget ? *budget : rows;
        if (progress == KV_MORE) {
            return false;
        }
    }
    if (*err == 0 && !txn_write_range(t, err)) {
        return false;
    }
    range_close(r);
    t->ranging = false;
    return true;
}

/* The root's answer is the body; a nested transaction's is one response, header present but empty.
 */
static void txn_run_enter(struct txn *t, bool succeeded)
{
    if (t->depth++ > 0) {
        result_enter(t->result, FIELD_RESPONSES);
        result_enter(t->result, FIELD_TXN);
        result_enter(t->result, 1);
        result_leave(t->result);
    }
    if (result_live(t->result)) {
        wire_put_uint(&t->result->body, 2, succeeded);
        result_check(t->result);
    }
}

static void txn_run_leave(struct txn *t)
{
    if (--t->depth > 0) {
        result_leave(t->result);
        result_leave(t->result);
    }
}

/* false = budget used up in the middle of the step. */
static bool txn_run_step(struct txn *t, const struct txn_step *step, uint32_t *budget, int *err)
{
    uint32_t rows = t->kv != NULL ? t->kv->change.rows : 0;
    switch (step->kind) {
    case TXN_PUT:
        txn_run_put(t, step->u.put);
        rows = t->kv->change.rows - rows + 1;
        *budget -= rows < *budget ? rows : *budget;
        return true;
    case TXN_DELETE:
        return txn_run_delete(t, step->u.delete_range, budget);
    case TXN_RANGE:
        return txn_run_range(t, step->u.range, budget, err);
    case TXN_REVOKE:
        return txn_run_revoke(t, step->u.lease, budget);
    case TXN_ENTER:
        txn_run_enter(t, step->succeeded);
        return true;
    case TXN_LEAVE:
        txn_run_leave(t);
        return true;
    }
    return true;
}

enum kv_progress txn_run(struct txn *t, uint32_t *budget, int *err)
{
    *err = 0;
    if (t->phase == TXN_PHASE_COMPARE) {
        if (txn_compare(t, budget, err) == KV_MORE) {
            return KV_MORE;
        }
        t->phase = TXN_PHASE_CHECK;
    }
    while (*err == 0 && t->phase == TXN_PHASE_CHECK && t->at < t->len) {
        if (*budget == 0) {
            return KV_MORE;
        }
        (*budget)--;
        *err = txn_check_step(t, &t->steps[t->at++]);
    }
    if (*err != 0) {
        t->phase = TXN_PHASE_DONE;
        return KV_DONE;
    }
    if (t->phase == TXN_PHASE_CHECK) {
        t->phase = TXN_PHASE_RUN;
        t->at = 0;
    }
    while (t->phase == TXN_PHASE_RUN && t->at < t->len) {
        if (*budget < KEY_ROWS_MAX || !txn_run_step(t, &t->steps[t->at], budget, err)) {
            return KV_MORE;
        }
        if (*err != 0) {
            /* Only reading a range for the answer can fail here; the writes stand on every member.
             */
            result_fail(t->result);
            if (t->kv == NULL) {
                break;
            }
            *err = 0;
        }
        t->at++;
    }
    t->phase = TXN_PHASE_DONE;
    return KV_DONE;
}

int kv_txn_read(struct kv *kv, struct slice request, int64_t *revision, struct buf *out)
{
    struct store_view *view;
    struct mvcc_reader reader;
    struct arena arena;
    struct result result;
    void *message = NULL;
    int err = store_view_open(kv->store, &view);
    if (err != 0) {
        return err;
    }
    arena_init(&arena, 0);
    mvcc_reader_init(&reader, view);
    result_init(&result, TXN_RESULT_BYTES_MAX);
    result_clear(&result, true);
    struct txn *t = arena_alloc(&arena, sizeof(*t));
    err = t == NULL
              ? ERR_NOMEM
              : codec_decode(&etcdserverpb__txn_request__descriptor, request, &arena, &message);
    if (err == 0) {
        txn_init(t, NULL, view, &reader, &arena, &result);
        err = txn_set_txn(t, message);
        enum kv_progress progress = KV_MORE;
        while (err == 0 && progress == KV_MORE) {
            uint32_t budget = SLICE_ROWS_MAX;
            progress = txn_run(t, &budget, &err);
        }
        txn_close(t);
    }
    if (err == 0) {
        struct slice body = result_finish(&result);
        *revision = store_view_point(view)->revision;
        err = body.data == NULL             ? ERR_REQUEST_TOO_LARGE
              : buf_append_slice(out, body) ? 0
                                            : ERR_NOMEM;
    }
    result_close(&result);
    mvcc_reader_close(&reader);
    store_view_close(view);
    arena_close(&arena);
    return err;
}
