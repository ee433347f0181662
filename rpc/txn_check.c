/* txn_check.c - limits, validity and the overlap rule of transactions.
 *
 * The overlap rule (T-03) asks, level by level, that no key is put twice and no put lies in a range
 * deleted at the same level or around it. For each list of operations two sets are kept, sorted:
 * keys put, and the union of spans deleted. The order in which etcd merges nested transactions is
 * observable and kept: this level's deletes first, then nested transactions one after the other
 * (the puts of a later one meet the deletes of an earlier one, not the reverse), then this level's
 * puts. A delete whose range_end is not above its key (also "\0", from key on) covers nothing here,
 * as in the reference. Merging costs the size of both sets; the budget of T-01 bounds how often one
 * key is merged to max_ops. */
#include "rpc/txn_check.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/slice.h"

static struct slice txn_bytes(ProtobufCBinaryData d)
{
    return slice_of(d.data, d.len);
}

/* ---- validity ----------------------------------------------------------------------------------
 */

static int txn_check_range(const Etcdserverpb__RangeRequest *r)
{
    if (r->key.len == 0) {
        return ERR_EMPTY_KEY;
    }
    if ((int)r->sort_order < 0 || r->sort_order > 2 || (int)r->sort_target < 0 ||
        r->sort_target > 4) {
        return ERR_INVALID_SORT;
    }
    return 0;
}

static int txn_check_put(const Etcdserverpb__PutRequest *p)
{
    if (p->key.len == 0) {
        return ERR_EMPTY_KEY;
    }
    if (p->ignore_value && p->value.len != 0) {
        return ERR_VALUE_PROVIDED;
    }
    if (p->ignore_lease && p->lease != 0) {
        return ERR_LEASE_PROVIDED;
    }
    return 0;
}

static int txn_check_level(const Etcdserverpb__TxnRequest *txn, uint32_t max_ops, uint32_t depth);

static int txn_check_op(const Etcdserverpb__RequestOp *op, uint32_t max_ops, uint32_t depth)
{
    switch (op->request_case) {
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE:
        return txn_check_range(op->request_range);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
        return txn_check_put(op->request_put);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
        return op->request_delete_range->key.len == 0 ? ERR_EMPTY_KEY : 0;
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN:
        return depth >= TXN_DEPTH_MAX ? ERR_TOO_DEEP
                                      : txn_check_level(op->request_txn, max_ops, depth + 1);
    default:
        return ERR_KEY_NOT_FOUND;
    }
}

static int txn_check_level(const Etcdserverpb__TxnRequest *txn, uint32_t max_ops, uint32_t depth)
{
    size_t ops = txn->n_compare;
    ops = txn->n_success > ops ? txn->n_success : ops;
    ops = txn->n_failure > ops ? txn->n_failure : ops;
    if (ops > max_ops) {
        return ERR_TOO_MANY_OPS;
    }
    for (size_t i = 0; i < txn->n_compare; i++) {
        if (txn->compare[i]->key.len == 0) {
            return ERR_EMPTY_KEY;
        }
    }
    uint32_t left = max_ops - (uint32_t)ops;
    for (size_t i = 0; i < txn->n_success; i++) {
        int err = txn_check_op(txn->success[i], left, depth);
        if (err != 0) {
            return err;
        }
    }
    for (size_t i = 0; i < txn->n_failure; i++) {
        int err = txn_check_op(txn->failure[i], left, depth);
        if (err != 0) {
            return err;
        }
    }
    return 0;
}

/* ---- overlaps ----------------------------------------------------------------------------------
 */

struct txn_keys { /* sorted, distinct */
    struct slice *at;
    size_t count;
};

struct txn_span { /* [begin, end); end.data NULL: the key `begin` alone */
    struct slice begin;
    struct slice end;
};

struct txn_spans { /* sorted, disjoint */
    struct txn_span *at;
    size_t count;
};

struct txn_sets {
    struct txn_keys puts;
    struct txn_spans dels;
};

static void txn_sets_close(struct txn_sets *s)
{
    mem_free(s->puts.at);
    mem_free(s->dels.at);
    *s = (struct txn_sets){0};
}

static int txn_key_order(const void *a, const void *b)
{
    return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

static int txn_span_order(const void *a, const void *b)
{
    return slice_cmp(((const struct txn_span *)a)->begin, ((const struct txn_span *)b)->begin);
}

static bool txn_keys_have(const struct txn_keys *keys, struct slice key)
{
    return keys->count > 0 &&
           bsearch(&key, keys->at, keys->count, sizeof(key), txn_key_order) != NULL;
}

static bool txn_span_covers(const struct txn_span *span, struct slice key)
{
    return span->end.data == NULL
               ? slice_eq(span->begin, key)
               : slice_cmp(span->begin, key) <= 0 && slice_cmp(key, span->end) < 0;
}

/* The spans are disjoint: only the last one that begins at or before the key can cover it. */
static bool txn_spans_cover(const struct txn_spans *spans, struct slice key)
{
    size_t low = 0;
    size_t high = spans->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (slice_cmp(spans->at[middle].begin, key) <= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low > 0 && txn_span_covers(&spans->at[low - 1], key);
}

/* Appends a span that begins at or after the last one's begin, joining what overlaps. */
static void txn_spans_push(struct txn_spans *spans, struct txn_span span)
{
    if (spans->count > 0) {
        struct txn_span *last = &spans->at[spans->count - 1];
        if (txn_span_covers(last, span.begin)) {
            if (last->end.data == NULL) { /* a point under the start of a longer span */
                *last = span;
            } else if (span.end.data != NULL && slice_cmp(span.end, last->end) > 0) {
                last->end = span.end;
            }
            return;
        }
    }
    spans->at[spans->count++] = span;
}

/* *into becomes the union of both. 0 or ERR_NOMEM. */
static int txn_spans_merge(struct txn_spans *into, const struct txn_spans *more)
{
    if (more->count == 0) {
        return 0;
    }
    struct txn_spans sum = {0};
    sum.at = mem_alloc((into->count + more->count) * sizeof(*sum.at));
    if (sum.at == NULL) {
        return ERR_NOMEM;
    }
    size_t a = 0;
    size_t b = 0;
    while (a < into->count || b < more->count) {
        bool first = b == more->count ||
                     (a < into->count && txn_span_order(&into->at[a], &more->at[b]) <= 0);
        txn_spans_push(&sum, first ? into->at[a++] : more->at[b++]);
    }
    mem_free(into->at);
    *into = sum;
    return 0;
}

/* *into becomes the union of both; keys in both are taken once. 0 or ERR_NOMEM. */
static int txn_keys_merge(struct txn_keys *into, const struct txn_keys *more)
{
    if (more->count == 0) {
        return 0;
    }
    struct txn_keys sum = {0};
    sum.at = mem_alloc((into->count + more->count) * sizeof(*sum.at));
    if (sum.at == NULL) {
        return ERR_NOMEM;
    }
    size_t a = 0;
    size_t b = 0;
    while (a < into->count || b < more->count) {
        int order = a == into->count   ? 1
                    : b == more->count ? -1
                                       : slice_cmp(into->at[a], more->at[b]);
        sum.at[sum.count++] = order <= 0 ? into->at[a] : more->at[b];
        a += order <= 0;
        b += order >= 0;
    }
    mem_free(into->at);
    *into = sum;
    return 0;
}

/* The deletes of one list, as sorted disjoint spans. */
static int txn_collect_dels(Etcdserverpb__RequestOp **ops, size_t n, struct txn_spans *out)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        count += ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    }
    if (count == 0) {
        return 0;
    }
    struct txn_span *spans = mem_alloc(count * sizeof(*spans));
    if (spans == NULL) {
        return ERR_NOMEM;
    }
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        if (ops[i]->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE) {
            continue;
        }
        const Etcdserverpb__DeleteRangeRequest *d = ops[i]->request_delete_range;
        struct txn_span span = {.begin = txn_bytes(d->key)};
        if (d->range_end.len > 0) {
            span.end = txn_bytes(d->range_end);
            if (slice_cmp(span.begin, span.end) >= 0) {
                continue;
            }
        }
        spans[used++] = span;
    }
    qsort(spans, used, sizeof(*spans), txn_span_order);
    out->at = spans;
    for (size_t i = 0; i < used; i++) { /* in place: the written end never passes the read end */
        txn_spans_push(out, spans[i]);
    }
    return 0;
}

/* The puts of one list, sorted. ERR_DUPLICATE_KEY when one key occurs twice. */
static int txn_collect_puts(Etcdserverpb__RequestOp **ops, size_t n, struct txn_keys *out)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        count += ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    }
    if (count == 0) {
        return 0;
    }
    out->at = mem_alloc(count * sizeof(*out->at));
    if (out->at == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT) {
            out->at[out->count++] = txn_bytes(ops[i]->request_put->key);
        }
    }
    qsort(out->at, out->count, sizeof(*out->at), txn_key_order);
    for (size_t i = 1; i < out->count; i++) {
        if (slice_eq(out->at[i - 1], out->at[i])) {
            return ERR_DUPLICATE_KEY;
        }
    }
    return 0;
}

/* Puts of an inner or this level against what the level has so far. `apart` (may be NULL): keys
 * that cannot run together with these, so meeting them is fine. */
static int txn_meet(const struct txn_sets *level, const struct txn_keys *puts,
                    const struct txn_keys *apart)
{
    for (size_t i = 0; i < puts->count; i++) {
        struct slice key = puts->at[i];
        if (txn_keys_have(&level->puts, key) && (apart == NULL || !txn_keys_have(apart, key))) {
            return ERR_DUPLICATE_KEY;
        }
        if (txn_spans_cover(&level->dels, key)) {
            return ERR_DUPLICATE_KEY;
        }
    }
    return 0;
}

static int txn_overlaps(Etcdserverpb__RequestOp **ops, size_t n, struct txn_sets *level);

/* One nested transaction into its level: then and else exclude each other. */
static int txn_overlaps_nested(const Etcdserverpb__TxnRequest *txn, struct txn_sets *level)
{
    struct txn_sets then = {0};
    struct txn_sets other = {0};
    int err = txn_overlaps(txn->success, txn->n_success, &then);
    if (err == 0) {
        err = txn_overlaps(txn->failure, txn->n_failure, &other);
    }
    if (err == 0) {
        err = txn_meet(level, &then.puts, NULL);
    }
    if (err == 0) {
        err = txn_keys_merge(&level->puts, &then.puts);
    }
    if (err == 0) {
        err = txn_meet(level, &other.puts, &then.puts);
    }
    if (err == 0) {
        err = txn_keys_merge(&level->puts, &other.puts);
    }
    if (err == 0) {
        err = txn_spans_merge(&level->dels, &then.dels);
    }
    if (err == 0) {
        err = txn_spans_merge(&level->dels, &other.dels);
    }
    txn_sets_close(&then);
    txn_sets_close(&other);
    return err;
}

/* Fills *level, which the caller closes in any case. */
static int txn_overlaps(Etcdserverpb__RequestOp **ops, size_t n, struct txn_sets *level)
{
    int err = txn_collect_dels(ops, n, &level->dels);
    for (size_t i = 0; i < n && err == 0; i++) {
        if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN) {
            err = txn_overlaps_nested(ops[i]->request_txn, level);
        }
    }
    struct txn_keys puts = {0};
    if (err == 0) {
        err = txn_collect_puts(ops, n, &puts);
    }
    if (err == 0) {
        err = txn_meet(level, &puts, NULL);
    }
    if (err == 0) {
        err = txn_keys_merge(&level->puts, &puts);
    }
    mem_free(puts.at);
    return err;
}

/* A list of one operation that is no transaction cannot overlap with itself. */
static int txn_check_overlaps(Etcdserverpb__RequestOp **ops, size_t n)
{
    if (n == 0 ||
        (n == 1 && ops[0]->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN)) {
        return 0;
    }
    struct txn_sets level = {0};
    int err = txn_overlaps(ops, n, &level);
    txn_sets_close(&level);
    return err;
}

/* ---- entry -------------------------------------------------------------------------------------
 */

static void txn_see_reads(Etcdserverpb__RequestOp **ops, size_t n, struct txn_facts *facts)
{
    for (size_t i = 0; i < n; i++) {
        if (ops[i]->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE) {
            facts->read_only = false;
        } else if (!ops[i]->request_range->serializable) {
            facts->serializable = false;
        }
    }
}

int txn_check(const Etcdserverpb__TxnRequest *txn, uint32_t max_ops, struct txn_facts *facts)
{
    int err = txn_check_level(txn, max_ops, 1);
    if (err == 0) {
        err = txn_check_overlaps(txn->success, txn->n_success);
    }
    if (err == 0) {
        err = txn_check_overlaps(txn->failure, txn->n_failure);
    }
    facts->read_only = facts->serializable = true;
    txn_see_reads(txn->success, txn->n_success, facts);
    txn_see_reads(txn->failure, txn->n_failure, facts);
    return err;
}
