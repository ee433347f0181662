/* test_hash - HashKV against the golden values of etcd's own tests, and against itself: physical
 * compaction, checkpoints and restarts must not show. */
#include "kv_fixture.h"

/* The key sequence etcd's hash tests use: a cycle of seven names with two rare ones. */
#define CYCLE 71

static const char *pick_key(int64_t i)
{
    static const char *const names[] = {"alice", "bob",       "celine", "dominik",
                                        "eve",   "frederica", "gorge"};
    if (i % (CYCLE * 2) == 30) {
        return "zenek";
    }
    return i % CYCLE == 30 ? "xavery" : names[i % 7];
}

static void put_numbers(struct kvf *f, int64_t from, int64_t count)
{
    for (int64_t i = from; i <= from + count; i++) {
        char value[24];
        snprintf(value, sizeof(value), "%lld", (long long)i);
        assert_int_equal(kvf_put(f, pick_key(i), value), 0);
    }
}

struct golden {
    uint32_t hash;
    int64_t compact;
    int64_t revision;
};

/* Hashes at a revision, compacts there. */
static void expect(struct kvf *f, int64_t revision, struct golden golden)
{
    uint32_t hash;
    int64_t compact;
    int64_t at;
    kvf_hash(f, revision, &hash, &compact, &at);
    assert_int_equal(hash, golden.hash);
    assert_int_equal(compact, golden.compact);
    assert_int_equal(at, golden.revision);
    assert_int_equal(kvf_compact(f, golden.revision), 0);
}

/* Values of TestHashByRevValue in etcd's server/storage/mvcc/hash_test.go. */
static void hashes_in_the_middle_equal_etcds(void **state)
{
    static const struct golden goldens[] = {
        {4082599214u, -1, 35},     {2279933401u, 35, 106},    {3284231217u, 106, 177},
        {126286495u, 177, 248},    {900108730u, 248, 319},    {2475485232u, 319, 390},
        {1226296507u, 390, 461},   {2503661030u, 461, 532},   {4155130747u, 532, 603},
        {106915399u, 603, 674},    {406914006u, 674, 745},    {1882211381u, 745, 816},
        {806177088u, 816, 887},    {664311366u, 887, 958},    {1496914449u, 958, 1029},
        {2434525091u, 1029, 1100}, {3988652253u, 1100, 1171}, {1122462288u, 1171, 1242},
        {724436716u, 1242, 1883}};
    for (int physical = 0; physical < 2; physical++) {
        struct kvf f;
        size_t n = 0;
        int64_t revision = 0;
        kvf_open(&f);
        for (; revision < 1210; revision += CYCLE) {
            put_numbers(&f, revision, CYCLE);
            expect(&f, revision + CYCLE / 2, goldens[n++]);
            if (physical && n % 3 == 0) {
                kvf_checkpoint(&f);
            }
        }
        put_numbers(&f, revision, 1210);
        expect(&f, revision + 1210 / 2, goldens[n++]);
        assert_int_equal(n, sizeof(goldens) / sizeof(goldens[0]));
        kvf_close(&f);
    }
}

/* Values of TestHashByRevValueLastRevision. */
static void hashes_at_the_end_equal_etcds(void **state)
{
    static const struct golden goldens[] = {
        {1913897190u, -1, 73},     {224860069u, 73, 145},     {1565167519u, 145, 217},
        {1566261620u, 217, 289},   {2037173024u, 289, 361},   {691659396u, 361, 433},
        {2713730748u, 433, 505},   {3919322507u, 505, 577},   {769967540u, 577, 649},
        {2909194793u, 649, 721},   {1576921157u, 721, 793},   {4067701532u, 793, 865},
        {2226384237u, 865, 937},   {2923408134u, 937, 1009},  {2680329256u, 1009, 1081},
        {1546717673u, 1081, 1153}, {2713657846u, 1153, 1225}, {1046575299u, 1225, 1297},
        {2017735779u, 1297, 2508}};
    struct kvf f;
    size_t n = 0;
    int64_t revision = 0;
    kvf_open(&f);
    for (; revision < 1210; revision += CYCLE) {
        put_numbers(&f, revision, CYCLE);
        expect(&f, 0, goldens[n++]);
        if (n % 4 == 0) {
            kvf_checkpoint(&f);
            kvf_crash(&f);
        }
    }
    put_numbers(&f, revision, 1210);
    expect(&f, 0, goldens[n++]);
    assert_int_equal(n, sizeof(goldens) / sizeof(goldens[0]));
    kvf_close(&f);
}

static uint32_t hash_at(struct kvf *f, int64_t revision)
{
    uint32_t hash;
    int64_t compact;
    int64_t at;
    kvf_hash(f, revision, &hash, &compact, &at);
    return hash;
}

/* With deletes: the hash stays the same when what was compacted is dropped from the disk, and after
 * a restart. (Compacting itself changes it: HashKV names the compaction revision it belongs to.) */
static void dropping_rows_does_not_change_the_hash(void **state)
{
    struct kvf f;
    int64_t start = 0;
    kvf_open(&f);
    for (int round = 0; round < 12; round++, start += CYCLE) {
        int64_t stop = start + CYCLE;
        for (int64_t i = start; i <= stop; i++) {
            char value[24];
            snprintf(value, sizeof(value), "%lld", (long long)i);
            if (i % 67 == 0) {
                assert_int_equal(kvf_delete(&f, pick_key(i + 83), ""), 0);
            } else {
                assert_int_equal(kvf_put(&f, pick_key(i), value), 0);
            }
        }
        int64_t revision = stop <= kv_revision(f.kv) ? stop : kv_revision(f.kv);
        assert_int_equal(kvf_compact(&f, revision), 0);
        uint32_t hash = hash_at(&f, revision);
        kvf_checkpoint(&f);
        assert_int_equal(kv_compact_done(f.kv), revision);
        assert_int_equal(hash_at(&f, revision), hash);
        kvf_crash(&f);
        assert_int_equal(hash_at(&f, revision), hash);
    }
    kvf_close(&f);
}

/* Bounds: future and compacted revisions are refused, -1 is told before the first compaction. */
static void bounds_are_checked(void **state)
{
    struct kvf f;
    struct kv_hash *h;
    uint32_t hash;
    int64_t compact;
    int64_t at;
    kvf_open(&f);
    kvf_hash(&f, 0, &hash, &compact, &at);
    assert_int_equal(compact, -1);
    assert_int_equal(at, 1);
    assert_int_equal(kv_hash_open(f.kv, 2, &h), ERR_FUTURE_REV);
    kvf_put(&f, "a", "1");
    kvf_put(&f, "a", "2");
    kvf_put(&f, "a", "3");
    kvf_compact(&f, 3);
    assert_int_equal(kv_hash_open(f.kv, 2, &h), ERR_COMPACTED);
    kvf_hash(&f, 3, &hash, &compact, &at);
    assert_int_equal(compact, 3);
    kvf_close(&f);
}

/* When nothing is live etcd hashes what a finished compaction leaves; so do we, finished or not. */
static void an_empty_store_hashes_alike(void **state)
{
    struct kvf f;
    kvf_open(&f);
    kvf_put(&f, "a", "1");
    kvf_put(&f, "b", "1");
    kvf_put(&f, "a", "2");
    kvf_delete(&f, "b", "");
    kvf_compact(&f, 4);
    kvf_delete(&f, "a", "");
    uint32_t before = hash_at(&f, 0);
    kvf_checkpoint(&f);
    assert_int_equal(hash_at(&f, 0), before);
    kvf_compact(&f, 6);
    before = hash_at(&f, 0);
    kvf_checkpoint(&f);
    assert_int_equal(hash_at(&f, 0), before);
    kvf_close(&f);
}

static void txn_of_a_real_run(struct kvf *f)
{
    Etcdserverpb__TxnRequest t = ETCDSERVERPB__TXN_REQUEST__INIT;
    Etcdserverpb__PutRequest x = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__PutRequest y = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__DeleteRangeRequest c = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    Etcdserverpb__RequestOp ops[3] = {ETCDSERVERPB__REQUEST_OP__INIT,
                                      ETCDSERVERPB__REQUEST_OP__INIT,
                                      ETCDSERVERPB__REQUEST_OP__INIT};
    Etcdserverpb__RequestOp *list[3] = {&ops[0], &ops[1], &ops[2]};
    x.key = bin("x");
    x.value = bin("1");
    y.key = bin("y");
    y.value = bin("2");
    c.key = bin("c");
    ops[0].request_case = ops[1].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    ops[0].request_put = &x;
    ops[1].request_put = &y;
    ops[2].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    ops[2].request_delete_range = &c;
    t.n_success = 3;
    t.success = list;
    assert_int_equal(kvf_txn(f, &t), 0);
}

/* The answers of a real etcd (3.4.23) to the same operations: with leases, a transaction, an empty
 * value, deletions, compactions, and a moment when nothing is live. */
static void a_real_etcd_says_the_same(void **state)
{
    const int64_t lease = 7637438711866133516;
    struct kvf f;
    kvf_open(&f);
    kvf_put(&f, "a", "1");
    kvf_put(&f, "b", "1");
    kvf_put(&f, "a", "2");
    assert_int_equal(hash_at(&f, 0), 3086679940u);
    kvf_compact(&f, 3);
    assert_int_equal(hash_at(&f, 0), 2393049859u);
    kvf_delete(&f, "a", "");
    kvf_delete(&f, "b", "");
    assert_int_equal(hash_at(&f, 0), 1423040355u);
    assert_int_equal(hash_at(&f, 4), 2393049859u);
    kvf_grant(&f, lease, 1000);
    kvf_put_lease(&f, "c", "1", lease);
    kvf_checkpoint(&f);
    txn_of_a_real_run(&f);
    assert_int_equal(hash_at(&f, 0), 2649702731u);
    assert_int_equal(hash_at(&f, 7), 3960009273u);
    kvf_put(&f, "x", "");
    kvf_put(&f, "d", "5");
    kvf_delete(&f, "d", "");
    assert_int_equal(hash_at(&f, 0), 1397833928u);
    kvf_compact(&f, 9);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(hash_at(&f, 0), 1910064879u);
        assert_int_equal(hash_at(&f, 10), 1669683782u);
        kvf_checkpoint(&f);
    }
    kvf_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_in_the_middle_equal_etcds),
        cmocka_unit_test(hashes_at_the_end_equal_etcds),
        cmocka_unit_test(dropping_rows_does_not_change_the_hash),
        cmocka_unit_test(bounds_are_checked),
        cmocka_unit_test(an_empty_store_hashes_alike),
        cmocka_unit_test(a_real_etcd_says_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
