/* test_txn - transactions: the contract's rules one by one, hostile bytes, slices, answers too
 * large. */
#include "kv_fixture.h"

#include "base/limits.h"
#include "kv/state.h"

typedef Etcdserverpb__RequestOp rop;
typedef Etcdserverpb__Compare cmp;

static rop op_put(Etcdserverpb__PutRequest *p, const char *key, const char *value)
{
    rop o = ETCDSERVERPB__REQUEST_OP__INIT;
    etcdserverpb__put_request__init(p);
    p->key = bin(key);
    p->value = bin(value);
    o.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    o.request_put = p;
    return o;
}

static rop op_range(Etcdserverpb__RangeRequest *q, const char *key, const char *end)
{
    rop o = ETCDSERVERPB__REQUEST_OP__INIT;
    etcdserverpb__range_request__init(q);
    q->key = bin(key);
    q->range_end = bin(end);
    o.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    o.request_range = q;
    return o;
}

static rop op_delete(Etcdserverpb__DeleteRangeRequest *d, const char *key, const char *end)
{
    rop o = ETCDSERVERPB__REQUEST_OP__INIT;
    etcdserverpb__delete_range_request__init(d);
    d->key = bin(key);
    d->range_end = bin(end);
    o.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    o.request_delete_range = d;
    return o;
}

static rop op_txn(Etcdserverpb__TxnRequest *t)
{
    rop o = ETCDSERVERPB__REQUEST_OP__INIT;
    o.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN;
    o.request_txn = t;
    return o;
}

static cmp compare_version(const char *key, int64_t version)
{
    cmp c = ETCDSERVERPB__COMPARE__INIT;
    c.key = bin(key);
    c.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION;
    c.version = version;
    return c;
}

static Etcdserverpb__TxnResponse *answer(struct kvf *f)
{
    return kvf_body(f, &etcdserverpb__txn_response__descriptor);
}

/* Contract T-10: an empty transaction succeeds and changes nothing. */
static void an_empty_one_succeeds(void **state)
{
    struct kvf f;
    Etcdserverpb__TxnRequest t = ETCDSERVERPB__TXN_REQUEST__INIT;
    kvf_open(&f);
    assert_int_equal(kvf_txn(&f, &t), 0);
    assert_int_equal(f.revision, 1);
    assert_true(answer(&f)->succeeded);
    assert_int_equal(answer(&f)->n_responses, 0);
    kvf_close(&f);
}

/* T-08: operations see each other, share a revision, headers tell what is visible. */
static void operations_run_in_order(void **state)
{
    struct kvf f;
    Etcdserverpb__TxnRequest t = ETCDSERVERPB__TXN_REQUEST__INIT;
    Etcdserverpb__PutRequest p[2];
    Etcdserverpb__RangeRequest q[2];
    Etcdserverpb__DeleteRangeRequest d[2];
    rop ops[6] = {op_range(&q[0], "a", "z"),   op_delete(&d[0], "nothing", ""),
                  op_put(&p[0], "b", "1"),     op_put(&p[1], "c", "1"),
                  op_delete(&d[1], "a", "bb"), op_range(&q[1], "a", "z")};
    rop *list[6];
    for (int i = 0; i < 6; i++) {
        list[i] = &ops[i];
    }
    kvf_open(&f);
    kvf_put(&f, "a", "0");
    t.n_success = 6;
    t.success = list;
    d[1].prev_kv = 1;
    assert_int_equal(kvf_txn(&f, &t), 0);
    assert_int_equal(f.revision, 3);
    Etcdserverpb__TxnResponse *a = answer(&f);
    assert_null(a->header);
    assert_int_equal(a->n_responses, 6);
    assert_int_equal(a->responses[0]->response_range->header->revision, 2);
    assert_int_equal(a->responses[0]->response_range->count, 1);
    assert_int_equal(a->responses[1]->response_delete_range->header->revision, 2);
    assert_int_equal(a->responses[2]->response_put->header->revision, 3);
    assert_int_equal(a->responses[4]->response_delete_range->deleted, 2);
    assert_int_equal(a->responses[4]->response_delete_range->n_prev_kvs, 2);
    assert_int_equal(a->responses[4]->response_delete_range->header->revision, 3);
    assert_int_equal(a->responses[5]->response_range->header->revision, 3);
    assert_int_equal(a->responses[5]->response_range->count, 1);
    assert_int_equal(a->responses[5]->response_range->kvs[0]->mod_revision, 3);
    assert_string_equal(kvf_list(&f, "a", "z", 0), "c=1");
    kvf_close(&f);
}

/* T-06, T-09: nested compares see the state before; a nested answer has an empty header. */
static void nested_compares_see_the_state_before(void **state)
{
    struct kvf f;
    Etcdserverpb__TxnRequest t = ETCDSERVERPB__TXN_REQUEST__INIT;
    Etcdserverpb__TxnRequest inner = ETCDSERVERPB__TXN_REQUEST__INIT;
    Etcdserverpb__PutRequest p[3];
    cmp c = compare_version("k", 0);
    cmp *compares[1] = {&c};
    rop yes = op_put(&p[1], "yes", "1");
    rop no = op_put(&p[2], "no", "1");
    rop *success[1] = {&yes};
    rop *failure[1] = {&no};
    rop ops[2] = {op_put(&p[0], "k", "1"), op_txn(&inner)};
    rop *list[2] = {&ops[0], &ops[1]};
    kvf_open(&f);
    inner.n_compare = 1;
    inner.compare = compares;
    inner.n_success = 1;
    inner.success = success;
    inner.n_failure = 1;
    inner.failure = failure;
    t.n_success = 2;
    t.success = list;
    assert_int_equal(kvf_txn(&f, &t), 0);
    Etcdserverpb__TxnResponse *a = answer(&f)->responses[1]->response_txn;
    assert_true(a->succeeded);
    assert_non_null(a->header);
    assert_int_equal(a->header->revision, 0);
    assert_string_equal(kvf_list(&f, "a", "z", 0), "k=1 yes=1");
    assert_int_equal(kvf_txn(&f, &t), 0);
    assert_string_equal(kvf_list(&f, "a", "z", 0), "k=1 no=1 yes=1");
    kvf_close(&f);
}

/* T-04: nothing compares with the value of an absent key, numbers compare with 0. */
static void absent_keys_compare_as_etcd_says(void **state)
{
    struct kvf f;
    static const int results[] = {0, 1, 2, 3};
    kvf_open(&f);
    for (int target = 0; target < 5; target++) {
        for (int i = 0; i < 4; i++) {
            Etcdserverpb__TxnRequest t = ETCDSERVERPB__TXN_REQUEST__INIT;
            cmp c = ETCDSERVERPB__COMPARE__INIT;
            cmp *compares[1] = {&c};
            c.key = bin("absent");
            c.target = (Etcdserverpb__Compare__CompareTarget)target;
            c.result = (Etcdserverpb__Compare__CompareResult)results[i];
            t.n_compare = 1;
            t.compare = compares;
            assert_int_equal(kvf_txn(&f, &t), 0);
            assert_int_equal(answer(&f)->succeeded, target != 3 && i == 0);
        }
    }
    kvf_close(&f);
}

/* T-07: whatever fails, fails before anything is written. */
static void a_refused_one_leaves_no_trace(void **state)
{
    struct kvf f;
    Etcdserverpb__TxnRequest t = ETCDSERVERPB__TXN_REQUEST__INIT;
    Etcdserverpb__PutRequest p[2];
    Etcdserverpb__RangeRequest q;
    rop first = op_put(&p[0], "a", "1");
    rop second = op_put(&p[1], "b", "1");
    rop *list[2] = {&first, &second};
    kvf_open(&f);
    kvf_put(&f, "x", "1");
    kvf_put(&f, "x", "2");
    kvf_put(&f, "x", "3");
    kvf_compact(&f, 3);
    uint64_t hash_rows = kv_accounted_bytes(f.kv);
    t.n_success = 2;
    t.success = list;
    p[1].lease = 5;
    assert_int_equal(kvf_txn(&f, &t), ERR_LEASE_NOT_FOUND);
    p[1].lease = 0;
    p[1].ignore_value = 1;
    p[1].value = bin("");
    assert_int_equal(kvf_txn(&f, &t), ERR_KEY_NOT_FOUND);
    second = op_range(&q, "x", "");
    q.revision = 5;
    assert_int_equal(kvf_txn(&f, &t), ERR_FUTURE_REV);
    q.revision = 2;
    assert_int_equal(kvf_txn(&f, &t), ERR_COMPACTED);
    q.revision = -1;
    assert_int_equal(kvf_txn(&f, &t), ERR_COMPACTED);
    assert_int_equal(f.revision, 4);
    assert_int_equal(kv_accounted_bytes(f.kv), hash_rows);
    assert_string_equal(kvf_list(&f, "a", "z", 0), "x=3");
    q.revision = 3;
    assert_int_equal(kvf_txn(&f, &t), 0);
    assert_int_equal(f.revision, 5);
    kvf_close(&f);
}

/* What validation does not let through must not hurt when it comes from the log. */
static void bytes_from_the_log_are_checked_again(void **state)
{
    struct kvf f;
    Etcdserverpb__TxnRequest t = ETCDSERVERPB__TXN_REQUEST__INIT;
    Etcdserverpb__PutRequest p[2];
    Etcdserverpb__RangeRequest q;
    Etcdserverpb__DeleteRangeRequest d;
    rop op = op_put(&p[0], "", "1");
    rop *list[2] = {&op, &op};
    cmp c = ETCDSERVERPB__COMPARE__INIT;
    cmp *compares[1] = {&c};
    kvf_open(&f);
    t.n_success = 1;
    t.success = list;
    assert_int_equal(kvf_txn(&f, &t), ERR_EMPTY_KEY);
    op = op_delete(&d, "", "x");
    assert_int_equal(kvf_txn(&f, &t), ERR_EMPTY_KEY);
    op = op_range(&q, "", "");
    assert_int_equal(kvf_txn(&f, &t), ERR_EMPTY_KEY);
    op = op_range(&q, "a", "");
    q.sort_order = 77;
    assert_int_equal(kvf_txn(&f, &t), ERR_INVALID_SORT);
    etcdserverpb__request_op__init(&op);
    assert_int_equal(kvf_txn(&f, &t), ERR_KEY_NOT_FOUND);
    t.n_compare = 1;
    t.compare = compares;
    assert_int_equal(kvf_txn(&f, &t), ERR_EMPTY_KEY);
    c.key = bin("k");
    c.target = 99;
    c.result = 99;
    op = op_put(&p[0], "dup", "1");
    t.n_success = 2;
    assert_int_equal(kvf_txn(&f, &t), 0); /* the same put twice: two changes of one revision */
    assert_int_equal(f.revision, 2);
    Etcdserverpb__RangeRequest one = ETCDSERVERPB__RANGE_REQUEST__INIT;
    Etcdserverpb__RangeResponse *a;
    one.key = bin("dup");
    assert_int_equal(kvf_range(&f, &one, &a), 0);
    assert_int_equal(a->kvs[0]->version, 2);
    kvf_close(&f);
}

static void nest(Etcdserverpb__TxnRequest *txns, rop *ops, rop **lists, int depth)
{
    for (int i = 0; i < depth; i++) {
        etcdserverpb__txn_request__init(&txns[i]);
        if (i + 1 < depth) {
            ops[i] = op_txn(&txns[i + 1]);
            lists[i] = &ops[i];
            txns[i].n_success = 1;
            txns[i].success = &lists[i];
        }
    }
}

/* Nesting up to the limit works, one more is refused. */
static void nesting_is_bounded(void **state)
{
    struct kvf f;
    Etcdserverpb__TxnRequest txns[TXN_DEPTH_MAX + 1];
    rop ops[TXN_DEPTH_MAX + 1];
    rop *lists[TXN_DEPTH_MAX + 1];
    kvf_open(&f);
    nest(txns, ops, lists, TXN_DEPTH_MAX);
    assert_int_equal(kvf_txn(&f, &txns[0]), 0);
    Etcdserverpb__TxnResponse *a = answer(&f);
    unsigned depth = 1;
    while (a->n_responses > 0) {
        a = a->responses[0]->response_txn;
        depth++;
    }
    assert_int_equal(depth, TXN_DEPTH_MAX);
    nest(txns, ops, lists, TXN_DEPTH_MAX + 1);
    assert_int_equal(kvf_txn(&f, &txns[0]), ERR_TOO_DEEP);
    kvf_close(&f);
}

static void fill(struct kvf *f, int keys)
{
    struct buf payload;
    buf_init(&payload);
    for (int i = 0; i < keys; i++) {
        RAFT(r);
        Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
        char key[16];
        snprintf(key, sizeof(key), "k%05d", i);
        put.key = bin(key);
        put.value = bin("some value");
        r.put = &put;
        kvf_batch(f, &payload, &r);
    }
    kvf_entry(f, buf_slice(&payload));
    buf_close(&payload);
}

/* Compares, ranges and deletes over many keys run in slices and come out as one revision. */
static void large_ones_are_sliced(void **state)
{
    enum { KEYS = 12000 };
    struct kvf f;
    Etcdserverpb__TxnRequest t = ETCDSERVERPB__TXN_REQUEST__INIT;
    Etcdserverpb__RangeRequest q[2];
    Etcdserverpb__DeleteRangeRequest d;
    Etcdserverpb__PutRequest p;
    rop ops[4] = {op_range(&q[0], "k", "l"), op_delete(&d, "k", "l"), op_put(&p, "k1", "v"),
                  op_range(&q[1], "k", "l")};
    rop *list[4] = {&ops[0], &ops[1], &ops[2], &ops[3]};
    cmp c = compare_version("k", 1);
    cmp *compares[1] = {&c};
    kvf_open(&f);
    fill(&f, KEYS);
    c.range_end = bin("l");
    d.prev_kv = 1;
    t.n_compare = 1;
    t.compare = compares;
    t.n_success = 4;
    t.success = list;
    assert_int_equal(kvf_txn(&f, &t), 0);
    assert_true(f.steps > 10);
    assert_int_equal(f.revision, KEYS + 2);
    Etcdserverpb__TxnResponse *a = answer(&f);
    assert_true(a->succeeded);
    assert_int_equal(a->responses[0]->response_range->n_kvs, KEYS);
    assert_int_equal(a->responses[1]->response_delete_range->deleted, KEYS);
    assert_int_equal(a->responses[1]->response_delete_range->n_prev_kvs, KEYS);
    assert_int_equal(a->responses[3]->response_range->n_kvs, 1);
    kvf_close(&f);
}

/* An answer beyond the limit: refused when nothing was written, else the outcome is unknown; the
 * effects are the same as anywhere. */
static void answers_too_large_are_told_apart(void **state)
{
    struct kvf f;
    Etcdserverpb__TxnRequest t = ETCDSERVERPB__TXN_REQUEST__INIT;
    Etcdserverpb__RangeRequest q;
    Etcdserverpb__PutRequest p;
    rop ops[2] = {op_range(&q, "k", "l"), op_put(&p, "z", "1")};
    rop *list[2] = {&ops[0], &ops[1]};
    kvf_open(&f);
    fill(&f, 3000);
    f.kv->apply.result.limit = 10000;
    t.n_success = 1;
    t.success = list;
    assert_int_equal(kvf_txn(&f, &t), ERR_REQUEST_TOO_LARGE);
    assert_int_equal(f.revision, 3001);
    t.n_success = 2;
    assert_int_equal(kvf_txn(&f, &t), ERR_UNKNOWN_OUTCOME);
    assert_int_equal(f.revision, 3002);
    RAFT(r);
    Etcdserverpb__DeleteRangeRequest d = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    d.key = bin("k");
    d.range_end = bin("l");
    d.prev_kv = 1;
    r.delete_range = &d;
    assert_int_equal(kvf_apply(&f, &r), ERR_UNKNOWN_OUTCOME);
    assert_string_equal(kvf_list(&f, "k", "zz", 0), "z=1");
    assert_int_equal(kvf_txn(&f, &t), 0);
    kvf_close(&f);
}

/* Reading transactions on a view of their own. */
static void reads_run_beside(void **state)
{
    struct kvf f;
    struct buf request;
    struct buf out;
    int64_t revision;
    Etcdserverpb__TxnRequest t = ETCDSERVERPB__TXN_REQUEST__INIT;
    Etcdserverpb__RangeRequest q;
    Etcdserverpb__PutRequest p;
    rop op = op_range(&q, "a", "");
    rop *list[1] = {&op};
    kvf_open(&f);
    kvf_put(&f, "a", "1");
    buf_init(&request);
    buf_init(&out);
    t.n_success = 1;
    t.success = list;
    assert_true(codec_encode(&t, &request));
    assert_int_equal(kv_txn_read(f.kv, buf_slice(&request), &revision, &out), 0);
    assert_int_equal(revision, 2);
    void *message;
    assert_int_equal(
        codec_decode(&etcdserverpb__txn_response__descriptor, buf_slice(&out), &f.arena, &message),
        0);
    Etcdserverpb__TxnResponse *a = message;
    assert_int_equal(a->responses[0]->response_range->count, 1);
    /* A writing one does not get through here. */
    op = op_put(&p, "a", "2");
    buf_clear(&request);
    assert_true(codec_encode(&t, &request));
    assert_int_equal(kv_txn_read(f.kv, buf_slice(&request), &revision, &out), ERR_INVALID);
    buf_close(&request);
    buf_close(&out);
    kvf_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_one_succeeds),
        cmocka_unit_test(operations_run_in_order),
        cmocka_unit_test(nested_compares_see_the_state_before),
        cmocka_unit_test(absent_keys_compare_as_etcd_says),
        cmocka_unit_test(a_refused_one_leaves_no_trace),
        cmocka_unit_test(bytes_from_the_log_are_checked_again),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(large_ones_are_sliced),
        cmocka_unit_test(answers_too_large_are_told_apart),
        cmocka_unit_test(reads_run_beside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
