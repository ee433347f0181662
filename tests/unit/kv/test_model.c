/* test_model - random operations against the naive model: results, ranges at past revisions,
 * read-only transactions, accounting; and two databases that checkpoint, compact and crash at
 * different times but must stay equal. KV_MODEL_SEEDS=n runs more seeds. */
#include "kv_random.h"

static void expect_bytes(const char *what, struct slice have, const void *answer)
{
    struct buf want;
    buf_init(&want);
    if (answer != NULL) {
        assert_true(codec_encode(answer, &want));
    }
    if (!slice_eq(have, buf_slice(&want))) {
        for (size_t i = 0; i < want.len || i < have.len; i++) {
            print_error("%zu: %02x %02x\n", i, i < have.len ? have.data[i] : 0xfff,
                        i < want.len ? want.data[i] : 0xfff);
        }
        fail_msg("%s: %zu bytes, %zu expected", what, have.len, want.len);
    }
    buf_close(&want);
}

/* Reads at a random revision with random options, whole and in pieces. */
static void check_range(struct kvf *f, struct model *m, struct rand *rnd)
{
    struct buf request;
    struct buf out;
    int64_t revision = 0;
    Etcdserverpb__RangeRequest *q = random_range(m, rnd);
    int want = q->revision > m->revision                                  ? ERR_FUTURE_REV
               : (q->revision > 0 ? q->revision : m->revision) < m->floor ? ERR_COMPACTED
                                                                          : 0;
    buf_init(&request);
    buf_init(&out);
    assert_true(codec_encode(q, &request));
    size_t pieces = rand_below(rnd, 2) == 0 ? 0 : 1 + rand_below(rnd, 40);
    int err = kvf_range_raw(f, buf_slice(&request), &out, pieces, &revision);
    assert_int_equal(err, want);
    if (err == 0) {
        assert_int_equal(revision, m->revision);
        expect_bytes("range", buf_slice(&out), model_range(m, q, m->revision, 0));
    }
    buf_close(&out);
    buf_close(&request);
}

/* The chunks of a stream put together are the unary answer. */
static void check_stream(struct kvf *f, struct model *m, struct rand *rnd)
{
    struct buf request;
    struct buf out;
    struct kv_range *r;
    Etcdserverpb__RangeRequest *q = random_range(m, rnd);
    q->sort_order = 0;
    q->sort_target = 0;
    q->min_mod_revision = q->max_mod_revision = 0;
    q->min_create_revision = q->max_create_revision = 0;
    buf_init(&request);
    buf_init(&out);
    assert_true(codec_encode(q, &request));
    int err = kv_range_open(f->kv, buf_slice(&request), &r);
    if (err == 0) {
        bool last = false;
        while (!last) {
            size_t rows = 1 + rand_below(rnd, 10);
            err = kv_range_chunk(r, rows, 1 + rand_below(rnd, 200), &out, &last);
            assert_true(err == 0 || err == ERR_AGAIN);
        }
        expect_bytes("stream", buf_slice(&out), model_range(m, q, m->revision, 0));
        kv_range_close(r);
    }
    buf_close(&out);
    buf_close(&request);
}

static void check_txn_read(struct kvf *f, struct model *m, struct rand *rnd)
{
    struct buf request;
    struct buf out;
    int64_t revision = 0;
    bool path[8];
    size_t len = 0;
    const bool *at = path;
    Etcdserverpb__TxnRequest *t = random_txn(m, rnd, 9, true);
    buf_init(&request);
    buf_init(&out);
    assert_true(codec_encode(t, &request));
    m->subs = 0;
    model_path(m, t, path, &len);
    int want = model_check(m, t, &at);
    int err = kv_txn_read(f->kv, buf_slice(&request), &revision, &out);
    assert_int_equal(err, want);
    if (err == 0) {
        at = path;
        assert_int_equal(revision, m->revision);
        expect_bytes("txn", buf_slice(&out), model_run(m, t, &at, false));
    }
    buf_close(&out);
    buf_close(&request);
}

struct keys_seen {
    struct model *m;
    int64_t id;
    int last;
    size_t count;
};

static void key_seen(void *data, struct slice key)
{
    struct keys_seen *s = data;
    int k = model_key(s->m, key);
    assert_true(k > s->last);
    s->last = k;
    struct mversion *v = model_live(s->m, k, s->m->revision);
    assert_non_null(v);
    assert_int_equal(v->lease, s->id);
    s->count++;
}

static void check_leases(struct kvf *f, struct model *m)
{
    for (int i = 0; i < MODEL_LEASES; i++) {
        struct kv_lease_info info;
        int64_t id = i + 1;
        size_t want = 0;
        for (int k = 0; k < MODEL_KEYS; k++) {
            struct mversion *v = model_live(m, k, m->revision);
            want += v != NULL && v->lease == id;
        }
        struct keys_seen seen = {.m = m, .id = id, .last = -1};
        kv_lease_keys(f->kv, id, key_seen, &seen);
        assert_int_equal(seen.count, want);
        assert_int_equal(kv_lease_lookup(f->kv, id, 0, &info), model_lease(m, id) >= 0);
        if (model_lease(m, id) >= 0) {
            assert_int_equal(info.key_count, want);
            assert_int_equal(info.granted_ttl, m->ttls[model_lease(m, id)]);
            assert_int_equal(info.remaining_ms, -1);
        }
    }
}

/* Moves one database along its own way: seals, checkpoint steps, crashes. */
static void disturb(struct kvf *f, struct rand *rnd)
{
    int err = 0;
    switch (rand_below(rnd, 12)) {
    case 0:
        kv_seal(f->kv, 0, true);
        break;
    case 1:
    case 2:
        kv_checkpoint_step(f->kv, &err);
        break;
    case 3:
        if (rand_below(rnd, 4) == 0) {
            kvf_checkpoint(f);
        }
        break;
    case 4:
        if (rand_below(rnd, 10) == 0) {
            kvf_crash(f);
        }
        break;
    default:
        break;
    }
    assert_int_equal(err, 0);
}

/* Feeds the other database what the first has applied. */
static void follow(struct kvf *g, const struct kvf *f)
{
    while (g->log_len < f->log_len) {
        const struct entry *e = &f->log[g->log_len];
        kvf_entry(g, slice_of(e->bytes, e->len));
    }
}

static void compare(struct kvf *f, struct kvf *g, struct rand *rnd)
{
    uint32_t hash[2];
    int64_t compact[2];
    int64_t at[2];
    assert_int_equal(kv_running_hash(f->kv), kv_running_hash(g->kv));
    assert_int_equal(kv_accounted_bytes(f->kv), kv_accounted_bytes(g->kv));
    assert_int_equal(kv_revision(f->kv), kv_revision(g->kv));
    int64_t floor = kv_compact_revision(f->kv) < 1 ? 1 : kv_compact_revision(f->kv);
    int64_t revision = floor + (int64_t)rand_below(rnd, (uint64_t)(kv_revision(f->kv) - floor) + 1);
    kvf_hash(f, revision, &hash[0], &compact[0], &at[0]);
    kvf_hash(g, revision, &hash[1], &compact[1], &at[1]);
    assert_int_equal(hash[0], hash[1]);
    assert_int_equal(compact[0], compact[1]);
}

static void run_seed(uint64_t seed, int operations)
{
    struct rand rnd;
    struct rand other;
    struct model m;
    struct kvf f;
    struct kvf g;
    rand_init(&rnd, seed);
    rand_init(&other, seed + 1000000);
    model_init(&m, &rnd);
    kvf_open(&f);
    kvf_open(&g);
    g.options.member_id = MEMBER + 1;
    kv_close(g.kv);
    kvf_start(&g);
    for (int i = 0; i < operations; i++) {
        Etcdserverpb__InternalRaftRequest r;
        void *answer;
        random_request(&m, &rnd, &r);
        int want = model_apply(&m, &r, &answer);
        int err = kvf_apply(&f, &r);
        assert_int_equal(err, want);
        assert_int_equal(f.revision, m.revision);
        expect_bytes("result", buf_slice(&f.body), answer);
        assert_int_equal(kv_accounted_bytes(f.kv), model_accounted(&m));
        for (int j = 0; j < 3; j++) {
            check_range(&f, &m, &rnd);
        }
        check_stream(&f, &m, &rnd);
        check_txn_read(&f, &m, &rnd);
        disturb(&f, &rnd);
        if (i % 10 == 0) {
            check_leases(&f, &m);
            follow(&g, &f);
            compare(&f, &g, &rnd);
        }
        disturb(&g, &other);
    }
    kvf_checkpoint(&f);
    follow(&g, &f);
    compare(&f, &g, &rnd);
    for (int j = 0; j < 200; j++) {
        check_range(&f, &m, &rnd);
    }
    kvf_close(&f);
    kvf_close(&g);
    model_close(&m);
}

static void random_operations_match_the_model(void **state)
{
    const char *text = getenv("KV_MODEL_SEEDS");
    const char *first = getenv("KV_MODEL_FIRST");
    uint64_t from = first == NULL ? 1 : strtoull(first, NULL, 10);
    uint64_t seeds = text == NULL ? 8 : strtoull(text, NULL, 10);
    for (uint64_t seed = from; seed < from + seeds; seed++) {
        print_message("seed %llu\n", (unsigned long long)seed);
        run_seed(seed, 300);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_operations_match_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
