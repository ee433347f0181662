/* test_txn_check.c - limits, validity and the overlap rule of transactions (T-01..T-03, T-09,
 * T-10). */
#include "rpc/txn_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/rand.h"
#include "base/slice.h"

typedef Etcdserverpb__TxnRequest txn_t;
typedef Etcdserverpb__RequestOp op_t;

static struct arena arena;

static int teardown(void **state)
{
    (void)state;
    arena_close(&arena);
    return 0;
}

static ProtobufCBinaryData bin(const char *text)
{
    return (ProtobufCBinaryData){.len = strlen(text), .data = (uint8_t *)text};
}

static op_t *op_new(void)
{
    op_t *op = arena_alloc(&arena, sizeof(*op));
    etcdserverpb__request_op__init(op);
    return op;
}

static op_t *put(const char *key)
{
    op_t *op = op_new();
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    op->request_put = arena_alloc(&arena, sizeof(*op->request_put));
    etcdserverpb__put_request__init(op->request_put);
    op->request_put->key = bin(key);
    return op;
}

static op_t *del(const char *key, const char *end)
{
    op_t *op = op_new();
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    op->request_delete_range = arena_alloc(&arena, sizeof(*op->request_delete_range));
    etcdserverpb__delete_range_request__init(op->request_delete_range);
    op->request_delete_range->key = bin(key);
    if (end != NULL) {
        op->request_delete_range->range_end = bin(end);
    }
    return op;
}

static op_t *range(const char *key)
{
    op_t *op = op_new();
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    op->request_range = arena_alloc(&arena, sizeof(*op->request_range));
    etcdserverpb__range_request__init(op->request_range);
    op->request_range->key = bin(key);
    return op;
}

/* Makes a transaction of two NULL-terminated lists. */
static txn_t *txn_of(op_t **then, op_t **other)
{
    txn_t *t = arena_alloc(&arena, sizeof(*t));
    etcdserverpb__txn_request__init(t);
    for (size_t n = 0; then != NULL && then[n] != NULL; n++) {
        t->n_success = n + 1;
    }
    for (size_t n = 0; other != NULL && other[n] != NULL; n++) {
        t->n_failure = n + 1;
    }
    t->success = arena_alloc(&arena, (t->n_success + 1) * sizeof(op_t *));
    t->failure = arena_alloc(&arena, (t->n_failure + 1) * sizeof(op_t *));
    if (t->n_success > 0) {
        memcpy(t->success, then, t->n_success * sizeof(op_t *));
    }
    if (t->n_failure > 0) {
        memcpy(t->failure, other, t->n_failure * sizeof(op_t *));
    }
    return t;
}
#define OPS(...) ((op_t *[]){__VA_ARGS__, NULL})

static op_t *nested(op_t **then, op_t **other)
{
    op_t *op = op_new();
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN;
    op->request_txn = txn_of(then, other);
    return op;
}

static int check_ops(op_t **then)
{
    struct txn_facts facts;
    return txn_check(txn_of(then, NULL), 128, &facts);
}

/* The same keys and ranges that etcd's own tests of this rule use, and the corners around them. */
static void overlaps_as_etcd(void **state)
{
    (void)state;
    assert_int_equal(check_ops(OPS(put("a"), put("a"))), ERR_DUPLICATE_KEY);
    assert_int_equal(check_ops(OPS(put("a"), put("b"))), 0);
    assert_int_equal(check_ops(OPS(put("b"), put("a"), put("b"))), ERR_DUPLICATE_KEY);
    assert_int_equal(check_ops(OPS(put("a"), del("a", NULL))), ERR_DUPLICATE_KEY);
    assert_int_equal(check_ops(OPS(del("a", NULL), put("b"))), 0);
    assert_int_equal(check_ops(OPS(del("a", "c"), put("b"))), ERR_DUPLICATE_KEY);
    assert_int_equal(check_ops(OPS(del("a", "c"), put("c"))), 0); /* half open */
    assert_int_equal(check_ops(OPS(del("a", "c"), put("a"))), ERR_DUPLICATE_KEY);
    assert_int_equal(check_ops(OPS(del("a", "c"), del("b", "d"))), 0); /* two deletes are fine */
    assert_int_equal(check_ops(OPS(del("a", "c"), del("b", "d"), put("cc"))), ERR_DUPLICATE_KEY);
    assert_int_equal(check_ops(OPS(del("a", NULL), del("a", "b"), put("aa"))), ERR_DUPLICATE_KEY);
    assert_int_equal(check_ops(OPS(del("a", "b"), del("a", NULL), put("aa"))), ERR_DUPLICATE_KEY);
    assert_int_equal(check_ops(OPS(put("a"), range("a"))), 0);
    /* An empty range covers nothing; neither does "from key on" here, as in the reference. */
    assert_int_equal(check_ops(OPS(del("c", "a"), put("b"))), 0);
    op_t *from = del("a", NULL);
    from->request_delete_range->range_end =
        (ProtobufCBinaryData){.len = 1, .data = (uint8_t *)"\0"};
    assert_int_equal(check_ops(OPS(from, put("b"))), 0);
}

static void overlaps_between_levels(void **state)
{
    (void)state;
    /* then and else of one transaction exclude each other */
    assert_int_equal(check_ops(OPS(nested(OPS(put("a")), OPS(put("a"))))), 0);
    /* a put inside and one outside */
    assert_int_equal(check_ops(OPS(put("a"), nested(OPS(put("a")), NULL))), ERR_DUPLICATE_KEY);
    assert_int_equal(check_ops(OPS(put("a"), nested(NULL, OPS(put("a"))))), ERR_DUPLICATE_KEY);
    assert_int_equal(check_ops(OPS(put("a"), nested(OPS(put("b")), OPS(put("c"))))), 0);
    /* siblings */
    assert_int_equal(check_ops(OPS(nested(OPS(put("a")), NULL), nested(NULL, OPS(put("a"))))),
                     ERR_DUPLICATE_KEY);
    /* a delete around a put, either way round */
    assert_int_equal(check_ops(OPS(del("a", "z"), nested(OPS(put("b")), NULL))), ERR_DUPLICATE_KEY);
    assert_int_equal(check_ops(OPS(put("b"), nested(OPS(del("a", "z")), NULL))), ERR_DUPLICATE_KEY);
    /* the order in which siblings are merged is etcd's */
    assert_int_equal(check_ops(OPS(nested(OPS(del("a", "z")), NULL), nested(OPS(put("b")), NULL))),
                     ERR_DUPLICATE_KEY);
    assert_int_equal(check_ops(OPS(nested(OPS(put("b")), NULL), nested(OPS(del("a", "z")), NULL))),
                     0);
    /* only the failing list matters to itself */
    struct txn_facts facts;
    assert_int_equal(txn_check(txn_of(OPS(put("a")), OPS(put("a"))), 128, &facts), 0);
    assert_int_equal(txn_check(txn_of(OPS(put("a")), OPS(put("b"), put("b"))), 128, &facts),
                     ERR_DUPLICATE_KEY);
}

static void validates_each_op(void **state)
{
    (void)state;
    assert_int_equal(check_ops(OPS(put(""))), ERR_EMPTY_KEY);
    assert_int_equal(check_ops(OPS(range(""))), ERR_EMPTY_KEY);
    assert_int_equal(check_ops(OPS(del("", NULL))), ERR_EMPTY_KEY);
    assert_int_equal(check_ops(OPS(op_new())), ERR_KEY_NOT_FOUND); /* T-02: yes, that text */
    assert_int_equal(check_ops(OPS(nested(OPS(put("")), NULL))), ERR_EMPTY_KEY);
    op_t *op = put("a");
    op->request_put->ignore_value = true;
    op->request_put->value = bin("v");
    assert_int_equal(check_ops(OPS(op)), ERR_VALUE_PROVIDED);
    op = put("a");
    op->request_put->ignore_lease = true;
    op->request_put->lease = 4;
    assert_int_equal(check_ops(OPS(op)), ERR_LEASE_PROVIDED);
    op = range("a");
    op->request_range->sort_target = 5;
    assert_int_equal(check_ops(OPS(op)), ERR_INVALID_SORT);
    op->request_range->sort_target = 0;
    op->request_range->sort_order = -1;
    assert_int_equal(check_ops(OPS(op)), ERR_INVALID_SORT);

    txn_t *t = txn_of(OPS(put("a")), NULL);
    Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT;
    Etcdserverpb__Compare *list[] = {&compare};
    t->compare = list;
    t->n_compare = 1;
    struct txn_facts facts;
    assert_int_equal(txn_check(t, 128, &facts), ERR_EMPTY_KEY);
    compare.key = bin("k");
    assert_int_equal(txn_check(t, 128, &facts), 0);
}

/* T-01: the budget of a nested transaction is what the largest list around it left. */
static void budget_shrinks_inwards(void **state)
{
    (void)state;
    struct txn_facts facts;
    assert_int_equal(txn_check(txn_of(OPS(put("a"), put("b"), put("c")), NULL), 2, &facts),
                     ERR_TOO_MANY_OPS);
    assert_int_equal(txn_check(txn_of(OPS(put("a"), put("b")), NULL), 2, &facts), 0);
    op_t *inner = nested(OPS(put("x"), put("y")), NULL);
    assert_int_equal(txn_check(txn_of(OPS(inner), NULL), 3, &facts), 0);
    assert_int_equal(txn_check(txn_of(OPS(inner), NULL), 2, &facts), ERR_TOO_MANY_OPS);
    assert_int_equal(txn_check(txn_of(OPS(inner, put("a")), NULL), 3, &facts), ERR_TOO_MANY_OPS);
}

static void depth_is_bounded(void **state)
{
    (void)state;
    struct txn_facts facts;
    op_t *op = put("a");
    for (unsigned i = 1; i < TXN_DEPTH_MAX; i++) {
        op = nested(OPS(op), NULL);
    }
    assert_int_equal(txn_check(txn_of(OPS(op), NULL), 128, &facts), 0);
    op = nested(OPS(op), NULL);
    assert_int_equal(txn_check(txn_of(OPS(op), NULL), 128, &facts), ERR_TOO_DEEP);
}

static void tells_reads_from_writes(void **state)
{
    (void)state;
    struct txn_facts facts;
    op_t *local = range("a");
    local->request_range->serializable = true;
    txn_check(txn_of(OPS(NULL), NULL), 128, &facts);
    assert_true(facts.read_only && facts.serializable); /* T-10 */
    txn_check(txn_of(OPS(local), OPS(local)), 128, &facts);
    assert_true(facts.read_only && facts.serializable);
    txn_check(txn_of(OPS(local), OPS(range("b"))), 128, &facts);
    assert_true(facts.read_only && !facts.serializable);
    txn_check(txn_of(OPS(local), OPS(put("b"))), 128, &facts);
    assert_false(facts.read_only);
    txn_check(txn_of(OPS(nested(OPS(local), NULL)), NULL), 128, &facts);
    assert_false(facts.read_only); /* trap 7 */
}

/* ---- against a slow, obvious model -------------------------------------------------------------
 */

/* Every (put, delete) and (put, put) pair of a flat list, one by one. */
static bool model_flat(op_t **ops, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (ops[i]->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT) {
            continue;
        }
        ProtobufCBinaryData k = ops[i]->request_put->key;
        struct slice key = slice_of(k.data, k.len);
        for (size_t j = 0; j < n; j++) {
            if (ops[j]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT) {
                ProtobufCBinaryData o = ops[j]->request_put->key;
                if (i != j && slice_eq(key, slice_of(o.data, o.len))) {
                    return true;
                }
                continue;
            }
            const Etcdserverpb__DeleteRangeRequest *d = ops[j]->request_delete_range;
            struct slice begin = slice_of(d->key.data, d->key.len);
            struct slice end = slice_of(d->range_end.data, d->range_end.len);
            if (end.len == 0 ? slice_eq(begin, key)
                             : slice_cmp(begin, key) <= 0 && slice_cmp(key, end) < 0) {
                return true;
            }
        }
    }
    return false;
}

static void agrees_with_model(void **state)
{
    (void)state;
    static const char *const keys[] = {"a", "aa", "ab", "b", "ba", "bb", "c", "ca", "d", "e"};
    struct rand r;
    rand_init(&r, 7);
    int hits = 0;
    for (int round = 0; round < 20000; round++) {
        op_t *ops[9] = {0};
        size_t n = 1 + rand_below(&r, 8);
        for (size_t i = 0; i < n; i++) {
            const char *key = keys[rand_below(&r, 10)];
            ops[i] = rand_chance(&r, 0.6)   ? put(key)
                     : rand_chance(&r, 0.5) ? del(key, NULL)
                                            : del(key, keys[rand_below(&r, 10)]);
        }
        bool expected = model_flat(ops, n);
        hits += expected;
        assert_int_equal(check_ops(ops), expected ? ERR_DUPLICATE_KEY : 0);
        /* The same list, split over a nested transaction in `then`, order kept by putting deletes
         * in front: a put inside and a delete outside meet as if on one level. */
        op_t *inner[2] = {ops[0], NULL};
        op_t *outer[10] = {nested(inner, NULL)};
        memcpy(outer + 1, ops + 1, (n - 1) * sizeof(op_t *));
        assert_int_equal(check_ops(outer), expected ? ERR_DUPLICATE_KEY : 0);
        arena_clear(&arena);
    }
    assert_in_range(hits, 2000, 19000);
}

/* Allocation N fails: the error is said and nothing leaks (the address sanitizer looks). */
static void survives_exhaustion(void **state)
{
    (void)state;
    op_t **ops = OPS(del("a", "b"), nested(OPS(put("x"), del("y", NULL)), OPS(put("z"))), put("q"),
                     put("r"));
    txn_t *t = txn_of(ops, NULL);
    struct txn_facts facts;
    int failures = 0;
    for (uint64_t n = 1;; n++) {
        mem_fail_after(n);
        int err = txn_check(t, 128, &facts);
        mem_fail_after(0);
        if (err == 0) {
            break;
        }
        assert_int_equal(err, ERR_NOMEM);
        failures++;
    }
    assert_true(failures > 3);
}

int main(void)
{
    arena_init(&arena, 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(overlaps_as_etcd),  cmocka_unit_test(overlaps_between_levels),
        cmocka_unit_test(validates_each_op), cmocka_unit_test(budget_shrinks_inwards),
        cmocka_unit_test(depth_is_bounded),  cmocka_unit_test(tells_reads_from_writes),
        cmocka_unit_test(agrees_with_model), cmocka_unit_test(survives_exhaustion),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
