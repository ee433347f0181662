/* test_apply - puts, deletes, results, revisions, restarts, slices, fences, the running hash. */
#include "kv_fixture.h"

#include "base/limits.h"
#include "kv/state.h"

static Etcdserverpb__PutResponse *put_response(struct kvf *f)
{
    return kvf_body(f, &etcdserverpb__put_response__descriptor);
}

static Etcdserverpb__DeleteRangeResponse *delete_response(struct kvf *f)
{
    return kvf_body(f, &etcdserverpb__delete_range_response__descriptor);
}

static void assert_kv(const Mvccpb__KeyValue *kv, const char *key, const char *value,
                      int64_t create, int64_t mod, int64_t version)
{
    assert_non_null(kv);
    assert_int_equal(kv->key.len, strlen(key));
    assert_memory_equal(kv->key.data, key, kv->key.len);
    assert_int_equal(kv->value.len, strlen(value));
    if (kv->value.len > 0) {
        assert_memory_equal(kv->value.data, value, kv->value.len);
    }
    assert_int_equal(kv->create_revision, create);
    assert_int_equal(kv->mod_revision, mod);
    assert_int_equal(kv->version, version);
}

/* Contract R-01..R-05: the empty store is at revision 1; each effective write takes one revision.
 */
static void revisions_follow_effective_writes(void **state)
{
    struct kvf f;
    kvf_open(&f);
    assert_int_equal(kv_revision(f.kv), 1);
    assert_int_equal(kv_compact_revision(f.kv), -1);
    assert_int_equal(kvf_put(&f, "a", "1"), 0);
    assert_int_equal(f.revision, 2);
    assert_int_equal(kvf_put(&f, "a", "2"), 0);
    assert_int_equal(f.revision, 3);
    assert_int_equal(kvf_delete(&f, "nothing", ""), 0);
    assert_int_equal(f.revision, 3);
    assert_int_equal(delete_response(&f)->deleted, 0);
    assert_int_equal(kvf_delete(&f, "a", ""), 0);
    assert_int_equal(f.revision, 4);
    assert_int_equal(delete_response(&f)->deleted, 1);
    assert_int_equal(kvf_put(&f, "a", "3"), 0);
    Etcdserverpb__RangeRequest q = ETCDSERVERPB__RANGE_REQUEST__INIT;
    Etcdserverpb__RangeResponse *a;
    q.key = bin("a");
    assert_int_equal(kvf_range(&f, &q, &a), 0);
    assert_kv(a->kvs[0], "a", "3", 5, 5, 1);
    q.revision = 3;
    assert_int_equal(kvf_range(&f, &q, &a), 0);
    assert_kv(a->kvs[0], "a", "2", 2, 3, 2);
    q.revision = 4;
    assert_int_equal(kvf_range(&f, &q, &a), 0);
    assert_int_equal(a->n_kvs, 0);
    kvf_close(&f);
}

/* Contract P-01..P-05. */
static void puts_answer_as_asked(void **state)
{
    struct kvf f;
    RAFT(r);
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    kvf_open(&f);
    r.put = &put;
    assert_int_equal(kvf_apply(&f, &r), ERR_EMPTY_KEY);
    put.key = bin("k");
    put.value = bin("one");
    put.prev_kv = 1;
    assert_int_equal(kvf_apply(&f, &r), 0);
    assert_null(put_response(&f)->prev_kv);
    assert_null(put_response(&f)->header);
    put.value = bin("");
    assert_int_equal(kvf_apply(&f, &r), 0);
    assert_kv(put_response(&f)->prev_kv, "k", "one", 2, 2, 1);
    put.prev_kv = 0;
    assert_int_equal(kvf_apply(&f, &r), 0);
    assert_int_equal(f.body.len, 0);
    put.lease = 99;
    assert_int_equal(kvf_apply(&f, &r), ERR_LEASE_NOT_FOUND);
    assert_int_equal(f.revision, 4);
    put.lease = 0;
    put.ignore_value = 1;
    put.value = bin("");
    put.key = bin("absent");
    assert_int_equal(kvf_apply(&f, &r), ERR_KEY_NOT_FOUND);
    assert_int_equal(kvf_grant(&f, 5, 60), 0);
    assert_int_equal(kvf_put_lease(&f, "k", "kept", 5), 0);
    put.key = bin("k");
    assert_int_equal(kvf_apply(&f, &r), 0); /* keeps the value, loses the lease */
    assert_string_equal(kvf_list(&f, "k", "", 0), "k=kept");
    struct kv_lease_info info;
    assert_true(kv_lease_lookup(f.kv, 5, 0, &info));
    assert_int_equal(info.key_count, 0);
    assert_int_equal(kvf_put_lease(&f, "k", "kept", 5), 0);
    put.ignore_value = 0;
    put.ignore_lease = 1;
    put.value = bin("new");
    assert_int_equal(kvf_apply(&f, &r), 0);
    assert_string_equal(kvf_list(&f, "k", "", 0), "k=new");
    assert_true(kv_lease_lookup(f.kv, 5, 0, &info));
    assert_int_equal(info.key_count, 1);
    kvf_close(&f);
}

static void deletes_return_what_they_removed(void **state)
{
    struct kvf f;
    RAFT(r);
    Etcdserverpb__DeleteRangeRequest d = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    kvf_open(&f);
    kvf_put(&f, "b", "2");
    kvf_put(&f, "a", "1");
    kvf_put(&f, "c", "3");
    r.delete_range = &d;
    assert_int_equal(kvf_apply(&f, &r), ERR_EMPTY_KEY);
    d.key = bin("a");
    d.range_end = bin("c");
    d.prev_kv = 1;
    assert_int_equal(kvf_apply(&f, &r), 0);
    Etcdserverpb__DeleteRangeResponse *a = delete_response(&f);
    assert_int_equal(a->deleted, 2);
    assert_int_equal(a->n_prev_kvs, 2);
    assert_kv(a->prev_kvs[0], "a", "1", 3, 3, 1);
    assert_kv(a->prev_kvs[1], "b", "2", 2, 2, 1);
    assert_string_equal(kvf_list(&f, "a", "z", 0), "c=3");
    assert_string_equal(kvf_list(&f, "a", "z", 4), "a=1 b=2 c=3");
    kvf_close(&f);
}

/* Keys with zero bytes, keys that are prefixes of each other, long keys: bytewise order. */
static void keys_keep_bytewise_order(void **state)
{
    struct kvf f;
    static const char *const keys[] = {"\0",  "\0\0", "\0\1",  "\0\xff", "\1",
                                       "a",   "a\0",  "a\0\0", "a\0\1",  "a\0b",
                                       "a\1", "ab",   "b",     "\xff",   "\xff\xff"};
    static const uint8_t lens[] = {1, 2, 2, 2, 1, 1, 2, 3, 3, 3, 2, 2, 1, 1, 2};
    enum { COUNT = sizeof(lens) };
    kvf_open(&f);
    for (int i = COUNT - 1; i >= 0; i--) {
        RAFT(r);
        Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
        put.key = bin_of(slice_of(keys[i], lens[i]));
        put.value = bin("v");
        r.put = &put;
        assert_int_equal(kvf_apply(&f, &r), 0);
    }
    for (int round = 0; round < 2; round++) {
        Etcdserverpb__RangeRequest q = ETCDSERVERPB__RANGE_REQUEST__INIT;
        Etcdserverpb__RangeResponse *a;
        q.key = bin_zero();
        q.range_end = bin_zero();
        assert_int_equal(kvf_range(&f, &q, &a), 0);
        assert_int_equal(a->n_kvs, COUNT);
        for (int i = 0; i < COUNT; i++) {
            assert_int_equal(a->kvs[i]->key.len, lens[i]);
            assert_memory_equal(a->kvs[i]->key.data, keys[i], lens[i]);
            q.key = bin_of(slice_of(keys[i], lens[i]));
            q.range_end = bin("");
            Etcdserverpb__RangeResponse *one;
            assert_int_equal(kvf_range(&f, &q, &one), 0);
            assert_int_equal(one->n_kvs, 1);
            q.range_end = bin_zero();
            assert_int_equal(kvf_range(&f, &q, &one), 0);
            assert_int_equal(one->count, COUNT - i);
        }
        kvf_checkpoint(&f);
    }
    kvf_close(&f);
}

/* A process killed without a checkpoint is the same again after the replay. */
static void a_replay_restores_everything(void **state)
{
    struct kvf f;
    kvf_open(&f);
    kvf_grant(&f, 7, 100);
    for (int i = 0; i < 40; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%02d", i % 13);
        assert_int_equal(kvf_put_lease(&f, key, "v", i % 3 == 0 ? 7 : 0), 0);
        if (i % 5 == 0) {
            kvf_delete(&f, "k03", "k05");
        }
        if (i == 20) {
            kvf_compact(&f, 12);
        }
        if (i == 25) {
            kvf_checkpoint(&f);
        }
        uint64_t hash = kv_running_hash(f.kv);
        int64_t revision = kv_revision(f.kv);
        int64_t accounted = kv_accounted_bytes(f.kv);
        struct kv_lease_info before;
        struct kv_lease_info after;
        assert_true(kv_lease_lookup(f.kv, 7, 0, &before));
        if (i % 7 == 0) {
            kvf_crash(&f);
        }
        assert_true(kv_lease_lookup(f.kv, 7, 0, &after));
        assert_int_equal(kv_running_hash(f.kv), hash);
        assert_int_equal(kv_revision(f.kv), revision);
        assert_int_equal(kv_accounted_bytes(f.kv), accounted);
        assert_int_equal(before.key_count, after.key_count);
    }
    kvf_close(&f);
}

/* Barriers and configurations have no payload; one entry may hold many operations. */
static void entries_of_none_and_of_many(void **state)
{
    struct kvf f;
    struct buf payload;
    kvf_open(&f);
    kvf_entry(&f, slice_of(NULL, 0));
    assert_int_equal(kv_applied_index(f.kv), 1);
    assert_int_equal(kv_applied_term(f.kv), 1);
    buf_init(&payload);
    for (int i = 0; i < 3000; i++) {
        RAFT(r);
        Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
        put.key = bin("k");
        put.value = bin("v");
        r.put = &put;
        kvf_batch(&f, &payload, &r);
    }
    kvf_entry(&f, buf_slice(&payload));
    assert_int_equal(f.results, 3000);
    assert_int_equal(kv_revision(f.kv), 3001);
    assert_int_equal(kv_applied_index(f.kv), 2);
    assert_true(f.steps > 1);
    struct store_view *view;
    assert_int_equal(store_view_open(kv_store(f.kv), &view), 0);
    assert_int_equal(store_view_point(view)->applied_index, 2);
    assert_int_equal(store_view_point(view)->revision, 3001);
    store_view_close(view);
    buf_close(&payload);
    kvf_close(&f);
}

/* Results are for the member and the start that asked; the state is the same either way. */
static void strangers_get_no_result(void **state)
{
    struct kvf f;
    struct kvf g;
    kvf_open(&f);
    kvf_open(&g);
    g.options.incarnation = INCARNATION + 1;
    kv_close(g.kv);
    kvf_start(&g);
    kvf_put(&f, "a", "1");
    kvf_put(&f, "b", "2");
    kvf_delete(&f, "a", "c");
    for (size_t i = 0; i < f.log_len; i++) {
        kvf_feed(&g, &f.log[i]);
    }
    assert_int_equal(f.results, 3);
    assert_int_equal(g.results, 0);
    assert_int_equal(kv_running_hash(f.kv), kv_running_hash(g.kv));
    kvf_close(&f);
    kvf_close(&g);
}

/* What this version does not know is refused, the same on every member, and changes nothing. */
static void unknown_operations_are_refused(void **state)
{
    struct kvf f;
    RAFT(r);
    Etcdserverpb__AuthEnableRequest enable = ETCDSERVERPB__AUTH_ENABLE_REQUEST__INIT;
    kvf_open(&f);
    assert_int_equal(kvf_apply(&f, &r), ERR_UNIMPLEMENTED);
    r.auth_enable = &enable;
    assert_int_equal(kvf_apply(&f, &r), ERR_UNIMPLEMENTED);
    assert_int_equal(f.revision, 1);
    kvf_close(&f);
}

static int epoch_op(struct kvf *f, uint64_t term, uint64_t epoch, const char *put_key)
{
    RAFT(r);
    Etcdserverpb__EpochRequest e = ETCDSERVERPB__EPOCH_REQUEST__INIT;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    e.plugin = (char *)"controllers";
    e.member = MEMBER;
    e.term = term;
    e.epoch = epoch;
    r.epoch = &e;
    if (put_key != NULL) {
        put.key = bin(put_key);
        r.put = &put;
    }
    return kvf_apply(f, &r);
}

/* A stamp older than the newest registered leadership is refused, also after a restart. */
static void old_epochs_are_fenced(void **state)
{
    struct kvf f;
    kvf_open(&f);
    assert_int_equal(epoch_op(&f, 3, 1, "early"), 0);
    assert_int_equal(epoch_op(&f, 3, 1, NULL), 0);
    assert_int_equal(epoch_op(&f, 3, 1, NULL), 0);
    assert_int_equal(epoch_op(&f, 3, 1, "k"), 0);
    assert_int_equal(epoch_op(&f, 4, 0, NULL), 0);
    assert_int_equal(epoch_op(&f, 3, 9, NULL), ERR_FENCED);
    assert_int_equal(epoch_op(&f, 3, 9, "k"), ERR_FENCED);
    kvf_checkpoint(&f);
    kvf_crash(&f);
    assert_int_equal(epoch_op(&f, 3, 9, "k"), ERR_FENCED);
    assert_int_equal(epoch_op(&f, 4, 0, "k"), 0);
    assert_int_equal(epoch_op(&f, 4, 1, "k"), 0);
    assert_int_equal(f.revision, 5);
    kvf_close(&f);
}

/* A DeleteRange over very many keys works in slices and appears as one revision.
 * KV_HUGE_KEYS=1000000 for the long form. */
static void huge_deletes_are_sliced(void **state)
{
    const char *text = getenv("KV_HUGE_KEYS");
    int keys = text == NULL ? 60000 : (int)strtol(text, NULL, 10);
    struct kvf f;
    struct buf payload;
    kvf_open(&f);
    buf_init(&payload);
    for (int i = 0; i < keys; i++) {
        RAFT(r);
        Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
        char key[16];
        snprintf(key, sizeof(key), "k%07d", i);
        put.key = bin(key);
        r.put = &put;
        kvf_batch(&f, &payload, &r);
    }
    kvf_entry(&f, buf_slice(&payload));
    kvf_checkpoint(&f);
    buf_clear(&payload);
    RAFT(r);
    Etcdserverpb__DeleteRangeRequest d = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    d.key = bin("k");
    d.range_end = bin("l");
    r.delete_range = &d;
    kvf_batch(&f, &payload, &r);
    kv_apply_begin(f.kv, 2, 1, buf_slice(&payload));
    uint32_t steps = 0;
    uint32_t before = 0;
    enum kv_progress progress = KV_MORE;
    while (progress == KV_MORE) {
        progress = kv_apply_step(f.kv);
        assert_true(f.kv->change.rows - before <= SLICE_ROWS_MAX);
        before = f.kv->change.rows;
        steps++;
        /* Until the end the revision before is seen, whole. */
        assert_int_equal(kv_revision(f.kv), progress == KV_DONE ? keys + 2 : keys + 1);
        Etcdserverpb__RangeRequest q = ETCDSERVERPB__RANGE_REQUEST__INIT;
        Etcdserverpb__RangeResponse *a;
        q.key = bin("k0000000");
        assert_int_equal(kvf_range(&f, &q, &a), 0);
        assert_int_equal(a->n_kvs, progress == KV_DONE ? 0 : 1);
    }
    assert_int_equal(before, 2 * keys);
    assert_true(steps >= (uint32_t)keys * 3 / SLICE_ROWS_MAX); /* one row read per key, too */
    assert_int_equal(delete_response(&f)->deleted, keys);
    assert_string_equal(kvf_list(&f, "k", "l", 0), "");
    buf_close(&payload);
    kvf_close(&f);
}

/* The check for payloads of doubtful origin. */
static void bad_payloads_are_told(void **state)
{
    struct buf payload;
    buf_init(&payload);
    assert_int_equal(kv_payload_check(slice_of(NULL, 0)), 0);
    assert_int_equal(kv_payload_check(slice_of("\2\0\0\0", 4)), ERR_MALFORMED);
    assert_int_equal(kv_payload_check(slice_of("\1\0\0\0", 4)), 0);
    assert_int_equal(kv_payload_check(slice_of("\1\0\0\0x", 5)), ERR_MALFORMED);
    assert_true(batch_start(&payload));
    struct batch_origin origin = {0};
    assert_true(batch_add(&payload, origin, slice_of("\xff\xff", 2)));
    assert_int_not_equal(kv_payload_check(buf_slice(&payload)), 0);
    buf_close(&payload);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(revisions_follow_effective_writes),
        cmocka_unit_test(puts_answer_as_asked),
        cmocka_unit_test(deletes_return_what_they_removed),
        cmocka_unit_test(keys_keep_bytewise_order),
        cmocka_unit_test(a_replay_restores_everything),
        cmocka_unit_test(entries_of_none_and_of_many),
        cmocka_unit_test(strangers_get_no_result),
        cmocka_unit_test(unknown_operations_are_refused),
        cmocka_unit_test(old_epochs_are_fenced),
        cmocka_unit_test(huge_deletes_are_sliced),
        cmocka_unit_test(bad_payloads_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
