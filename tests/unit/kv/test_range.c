/* test_range - large ranges: pieces, slices, sorts, limits, streams, damage. The model test
 * compares all options on small data. */
#include "kv_fixture.h"

#include "base/limits.h"
#include "kv/page_count.h"
#include "kv/record.h"
#include "kv/state.h"

enum { ROWS = 12000 };

static char big_value[200];

/* k00000.. with values of differing lengths; every third deleted and put again later. */
static void fill(struct kvf *f)
{
    struct buf payload;
    buf_init(&payload);
    memset(big_value, 'v', sizeof(big_value) - 1);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < ROWS; i++) {
            RAFT(r);
            Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
            char key[16];
            snprintf(key, sizeof(key), "k%05d", i);
            put.key = bin(key);
            put.value = bin(big_value + (i * 7 % 190));
            r.put = &put;
            if (round == 0 || i % 3 == 0) {
                kvf_batch(f, &payload, &r);
            }
        }
    }
    kvf_entry(f, buf_slice(&payload));
    buf_close(&payload);
}

static void encode(const Etcdserverpb__RangeRequest *q, struct buf *out)
{
    buf_clear(out);
    assert_true(codec_encode(q, out));
}

/* All ways of taking an answer give the same bytes. */
static void pieces_of_any_size_are_equal(void **state)
{
    struct kvf f;
    struct buf request;
    struct buf whole;
    struct buf out;
    kvf_open(&f);
    fill(&f);
    buf_init(&request);
    buf_init(&whole);
    buf_init(&out);
    for (int round = 0; round < 2; round++) {
        for (int kind = 0; kind < 5; kind++) {
            Etcdserverpb__RangeRequest q = ETCDSERVERPB__RANGE_REQUEST__INIT;
            q.key = bin("k");
            q.range_end = bin("l");
            q.keys_only = kind == 1;
            q.sort_target = kind == 2 ? 4 : kind == 3 ? 3 : 0;
            q.sort_order = kind == 2 ? 2 : kind == 3 ? 1 : 0;
            q.min_mod_revision = kind == 4 ? ROWS + 2 : 0;
            encode(&q, &request);
            buf_clear(&whole);
            assert_int_equal(kvf_range_raw(&f, buf_slice(&request), &whole, 1 << 30, NULL), 0);
            assert_true(whole.len > RANGE_SMALL_BYTES_MAX);
            static const size_t sizes[] = {1024, 4096, 65536, 1000003};
            for (size_t i = 0; i < 4; i++) {
                buf_clear(&out);
                assert_int_equal(kvf_range_raw(&f, buf_slice(&request), &out, sizes[i], NULL), 0);
                assert_true(slice_eq(buf_slice(&whole), buf_slice(&out)));
            }
            void *message;
            arena_clear(&f.arena);
            assert_int_equal(codec_decode(&etcdserverpb__range_response__descriptor,
                                          buf_slice(&whole), &f.arena, &message),
                             0);
            const Etcdserverpb__RangeResponse *a = message;
            assert_int_equal(a->count, ROWS);
            assert_int_equal(a->n_kvs, kind == 4 ? ROWS / 3 : ROWS);
            for (size_t i = 1; i < a->n_kvs; i++) {
                const Mvccpb__KeyValue *x = a->kvs[i - 1];
                const Mvccpb__KeyValue *y = a->kvs[i];
                int keys =
                    slice_cmp(slice_of(x->key.data, x->key.len), slice_of(y->key.data, y->key.len));
                int values = slice_cmp(slice_of(x->value.data, x->value.len),
                                       slice_of(y->value.data, y->value.len));
                if (kind == 2) {
                    assert_true(values > 0 || (values == 0 && keys < 0));
                } else if (kind == 3) {
                    assert_true(x->mod_revision < y->mod_revision);
                } else {
                    assert_true(keys < 0);
                }
            }
        }
        kvf_checkpoint(&f);
    }
    buf_close(&request);
    buf_close(&whole);
    buf_close(&out);
    kvf_close(&f);
}

/* The first pass never looks at much more than a slice's worth of rows at once. */
static void measuring_is_sliced(void **state)
{
    struct kvf f;
    struct buf request;
    kvf_open(&f);
    fill(&f);
    buf_init(&request);
    for (int kind = 0; kind < 4; kind++) {
        Etcdserverpb__RangeRequest q = ETCDSERVERPB__RANGE_REQUEST__INIT;
        struct kv_range *r;
        int err;
        int steps = 1;
        q.key = bin("k");
        q.range_end = bin("l");
        q.count_only = kind == 1;
        q.sort_target = kind == 2 ? 4 : 0;
        q.limit = kind == 3 ? 5 : 0;
        encode(&q, &request);
        assert_int_equal(kv_range_open(f.kv, buf_slice(&request), &r), 0);
        while (kv_range_measure(r, &err) == KV_MORE) {
            steps++;
        }
        assert_int_equal(err, 0);
        assert_true(steps >= ROWS / (int)SLICE_ROWS_MAX);
        kv_range_close(r);
    }
    buf_close(&request);
    kvf_close(&f);
}

/* A range closed at any point gives everything back (the sanitizer watches). */
static void ranges_may_be_dropped_anywhere(void **state)
{
    struct kvf f;
    struct buf request;
    struct buf out;
    kvf_open(&f);
    fill(&f);
    buf_init(&request);
    buf_init(&out);
    for (int kind = 0; kind < 3; kind++) {
        for (int stop = 0; stop < 40; stop += 3) {
            Etcdserverpb__RangeRequest q = ETCDSERVERPB__RANGE_REQUEST__INIT;
            struct kv_range *r;
            int err = 0;
            q.key = bin("k");
            q.range_end = bin("l");
            q.sort_target = kind == 1 ? 4 : 0;
            q.sort_order = kind == 2 ? 2 : 0;
            encode(&q, &request);
            assert_int_equal(kv_range_open(f.kv, buf_slice(&request), &r), 0);
            enum kv_progress progress = KV_MORE;
            for (int i = 0; i < stop; i++) {
                if (progress == KV_MORE) {
                    progress = kv_range_measure(r, &err);
                } else {
                    assert_true(kv_range_produce(r, &out, 1024));
                }
            }
            kv_range_close(r);
        }
    }
    buf_close(&request);
    buf_close(&out);
    kvf_close(&f);
}

/* A stream's chunks hold the rows asked for, and reading goes on at one revision. */
static void streams_read_one_revision(void **state)
{
    struct kvf f;
    struct buf request;
    struct buf out;
    struct buf whole;
    struct kv_range *r;
    bool last = false;
    int chunks = 0;
    kvf_open(&f);
    fill(&f);
    buf_init(&request);
    buf_init(&out);
    buf_init(&whole);
    Etcdserverpb__RangeRequest q = ETCDSERVERPB__RANGE_REQUEST__INIT;
    q.key = bin("k");
    q.range_end = bin("l");
    encode(&q, &request);
    assert_int_equal(kvf_range_raw(&f, buf_slice(&request), &whole, 0, NULL), 0);
    assert_int_equal(kv_range_open(f.kv, buf_slice(&request), &r), 0);
    int64_t revision = kv_range_revision(r);
    while (!last) {
        size_t before = out.len;
        int err = kv_range_chunk(r, chunks == 0 ? 10 : 100000, 50000, &out, &last);
        assert_true(err == 0 || err == ERR_AGAIN);
        if (chunks == 0) {
            void *message;
            assert_int_equal(codec_decode(&etcdserverpb__range_response__descriptor,
                                          buf_slice(&out), &f.arena, &message),
                             0);
            assert_int_equal(((Etcdserverpb__RangeResponse *)message)->n_kvs, 10);
        }
        assert_true(out.len - before < 50000 + 300);
        chunks++;
        kvf_delete(&f, "k", "l");
        kvf_put(&f, "k5", "new");
    }
    assert_true(slice_eq(buf_slice(&out), buf_slice(&whole)));
    assert_int_equal(kv_range_revision(r), revision);
    kv_range_close(r);
    buf_close(&request);
    buf_close(&out);
    buf_close(&whole);
    kvf_close(&f);
}

/* Contract S-06: an empty range and a count are one message each. */
static void streams_of_nothing(void **state)
{
    struct kvf f;
    struct buf request;
    struct buf out;
    struct kv_range *r;
    bool last;
    kvf_open(&f);
    kvf_put(&f, "a", "1");
    buf_init(&request);
    buf_init(&out);
    Etcdserverpb__RangeRequest q = ETCDSERVERPB__RANGE_REQUEST__INIT;
    q.key = bin("b");
    q.range_end = bin("c");
    encode(&q, &request);
    assert_int_equal(kv_range_open(f.kv, buf_slice(&request), &r), 0);
    assert_int_equal(kv_range_chunk(r, 10, 1000, &out, &last), 0);
    assert_true(last);
    assert_int_equal(out.len, 0);
    kv_range_close(r);
    q.key = bin("a");
    q.count_only = 1;
    encode(&q, &request);
    assert_int_equal(kv_range_open(f.kv, buf_slice(&request), &r), 0);
    assert_int_equal(kv_range_chunk(r, 10, 1000, &out, &last), 0);
    assert_true(last);
    assert_int_equal(out.len, 2);
    kv_range_close(r);
    buf_close(&request);
    buf_close(&out);
    kvf_close(&f);
}

/* Contract K-01, K-04. */
static void bad_ranges_are_refused(void **state)
{
    struct kvf f;
    Etcdserverpb__RangeRequest q = ETCDSERVERPB__RANGE_REQUEST__INIT;
    Etcdserverpb__RangeResponse *a;
    struct kv_range *r;
    kvf_open(&f);
    kvf_put(&f, "a", "1");
    kvf_put(&f, "a", "2");
    kvf_compact(&f, 3);
    assert_int_equal(kvf_range(&f, &q, &a), ERR_EMPTY_KEY);
    q.key = bin("a");
    q.sort_order = 3;
    assert_int_equal(kvf_range(&f, &q, &a), ERR_INVALID_SORT);
    q.sort_order = 0;
    q.sort_target = 5;
    assert_int_equal(kvf_range(&f, &q, &a), ERR_INVALID_SORT);
    q.sort_target = -1;
    assert_int_equal(kvf_range(&f, &q, &a), ERR_INVALID_SORT);
    q.sort_target = 0;
    q.revision = 4;
    assert_int_equal(kvf_range(&f, &q, &a), ERR_FUTURE_REV);
    q.revision = 2;
    assert_int_equal(kvf_range(&f, &q, &a), ERR_COMPACTED);
    q.revision = 3;
    assert_int_equal(kvf_range(&f, &q, &a), 0);
    q.revision = -7;
    assert_int_equal(kvf_range(&f, &q, &a), 0);
    assert_int_equal(kv_range_open(f.kv, slice_of("\xff", 1), &r), ERR_MALFORMED);
    kvf_close(&f);
}

/* Keys with very many versions, and reads in the middle of their history. */
static void long_histories_are_skipped(void **state)
{
    enum { VERSIONS = 3000 };
    struct kvf f;
    struct buf payload;
    kvf_open(&f);
    buf_init(&payload);
    for (int i = 0; i < VERSIONS; i++) {
        RAFT(r);
        Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
        char value[16];
        snprintf(value, sizeof(value), "%d", i);
        put.key = bin(i % 2 == 0 ? "a" : "b");
        put.value = bin(value);
        r.put = &put;
        kvf_batch(&f, &payload, &r);
    }
    kvf_entry(&f, buf_slice(&payload));
    for (int round = 0; round < 2; round++) {
        for (int i = 1; i < VERSIONS; i += 97) {
            char want[64];
            int even = i % 2 == 0 ? i : i - 1;
            int odd = i % 2 == 1 ? i : i - 1;
            snprintf(want, sizeof(want), "a=%d b=%d", even, odd);
            assert_string_equal(kvf_list(&f, "a", "c", i + 2), want);
        }
        kvf_checkpoint(&f);
    }
    buf_close(&payload);
    kvf_close(&f);
}

static void put_many(struct kvf *f, int from, int to, const char *value)
{
    struct buf payload;
    buf_init(&payload);
    for (int i = from; i < to; i++) {
        RAFT(r);
        Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
        char key[16];
        snprintf(key, sizeof(key), "k%05d", i);
        put.key = bin(key);
        put.value = bin(value);
        r.put = &put;
        kvf_batch(f, &payload, &r);
    }
    kvf_entry(f, buf_slice(&payload));
    buf_close(&payload);
}

/* Runs of deleted keys inside a large range are not walked again while it is being sent. */
static void deleted_runs_are_jumped_over(void **state)
{
    struct kvf f;
    struct buf request;
    struct buf out;
    struct kv_range *r;
    int err;
    kvf_open(&f);
    memset(big_value, 'v', sizeof(big_value) - 1);
    put_many(&f, 0, 30000, "x");
    kvf_delete(&f, "k00500", "k29990");
    put_many(&f, 0, 500, big_value);
    put_many(&f, 15000, 15003, big_value);
    buf_init(&request);
    buf_init(&out);
    for (int round = 0; round < 2; round++) {
        Etcdserverpb__RangeRequest q = ETCDSERVERPB__RANGE_REQUEST__INIT;
        q.key = bin("k");
        q.range_end = bin("l");
        encode(&q, &request);
        assert_int_equal(kv_range_open(f.kv, buf_slice(&request), &r), 0);
        while (kv_range_measure(r, &err) == KV_MORE) {
        }
        assert_int_equal(err, 0);
        buf_clear(&out);
        while (out.len < kv_range_total(r)) {
            assert_true(kv_range_produce(r, &out, 1024));
        }
        assert_true(r->longest > 0 && r->longest < 50);
        assert_int_equal(r->gap_count, 2);
        void *message;
        arena_clear(&f.arena);
        assert_int_equal(codec_decode(&etcdserverpb__range_response__descriptor, buf_slice(&out),
                                      &f.arena, &message),
                         0);
        const Etcdserverpb__RangeResponse *a = message;
        assert_int_equal(a->n_kvs, 513);
        assert_int_equal(a->count, 513);
        assert_memory_equal(a->kvs[500]->key.data, "k15000", 6);
        assert_memory_equal(a->kvs[503]->key.data, "k29990", 6);
        assert_memory_equal(a->kvs[512]->key.data, "k29999", 6);
        kv_range_close(r);
        kvf_checkpoint(&f);
    }
    buf_close(&request);
    buf_close(&out);
    kvf_close(&f);
}

/* A stored byte that changed is an error, never an answer. */
static void damage_is_told(void **state)
{
    struct kvf f;
    uint8_t key[RECORD_KEY_BYTES];
    struct slice value;
    struct store_view *view;
    Etcdserverpb__RangeRequest q = ETCDSERVERPB__RANGE_REQUEST__INIT;
    Etcdserverpb__RangeResponse *a;
    kvf_open(&f);
    kvf_put(&f, "key", "value");
    record_key(key, (struct rev){.main = 2});
    assert_int_equal(store_view_open(kv_store(f.kv), &view), 0);
    assert_int_equal(store_get(view, TABLE_RECORD, slice_of(key, sizeof(key)), &value), 1);
    uint8_t good[64];
    size_t len = value.len;
    assert_true(len < sizeof(good));
    memcpy(good, value.data, len);
    store_view_close(view);
    q.key = bin("key");
    for (size_t i = 0; i < len; i++) {
        uint8_t bad[64];
        memcpy(bad, good, len);
        bad[i] ^= 1u << (i % 8);
        assert_int_equal(
            store_put(kv_store(f.kv), TABLE_RECORD, slice_of(key, sizeof(key)), slice_of(bad, len)),
            0);
        struct store_point point = {.revision = 2, .compact_revision = -1, .applied_index = 1};
        store_publish(kv_store(f.kv), &point);
        assert_int_equal(kvf_range(&f, &q, &a), ERR_DAMAGED);
    }
    kvf_close(&f);
}

/* One page of the keys from `from` on; the steps it took, and what it answers. */
static int page(struct kvf *f, struct slice from, int64_t limit, int64_t revision, bool count_only,
                Etcdserverpb__RangeResponse **out, struct arena *arena)
{
    struct buf request;
    struct kv_range *r;
    int steps = 1;
    int err;
    Etcdserverpb__RangeRequest q = ETCDSERVERPB__RANGE_REQUEST__INIT;
    q.key = (ProtobufCBinaryData){.data = (uint8_t *)from.data, .len = from.len};
    q.range_end = bin("l");
    q.limit = limit;
    q.revision = revision;
    q.count_only = count_only;
    q.keys_only = true;
    buf_init(&request);
    encode(&q, &request);
    assert_int_equal(kv_range_open(f->kv, buf_slice(&request), &r), 0);
    while (kv_range_measure(r, &err) == KV_MORE) {
        steps++;
    }
    assert_int_equal(err, 0);
    struct buf answer;
    buf_init(&answer);
    while (answer.len < kv_range_total(r)) {
        assert_true(kv_range_produce(r, &answer, 65536));
    }
    struct slice kept = arena_dup(arena, buf_slice(&answer));
    assert_int_equal(
        codec_decode(&etcdserverpb__range_response__descriptor, kept, arena, (void **)out), 0);
    kv_range_close(r);
    buf_close(&request);
    buf_close(&answer);
    return steps;
}

/* Pages at one revision tell what a walk would count, whatever is written in between, and only the
 * first of them walks; other revisions and other bounds are not taken for it. */
static void pages_know_their_count(void **state)
{
    struct kvf f;
    struct arena arena;
    kvf_open(&f);
    fill(&f);
    arena_init(&arena, 0);
    Etcdserverpb__RangeResponse *got;
    Etcdserverpb__RangeResponse *walked;
    int64_t revision = kv_revision(f.kv);
    struct slice from = slice_str("k");
    int pages = 0;
    int64_t left = 0;
    for (bool more = true; more; pages++) {
        int steps = page(&f, from, 500, revision, false, &got, &arena);
        page(&f, from, 0, revision, true, &walked, &arena);
        assert_int_equal(got->count, walked->count);
        assert_int_equal(steps > 1, pages == 0);
        assert_true(pages == 0 || got->count == left);
        left = got->count - (int64_t)got->n_kvs;
        more = got->more;
        assert_int_equal(more, left > 0);
        /* A write and a delete of a live key behind this page; and the same page as of now. */
        struct slice last =
            slice_of(got->kvs[got->n_kvs - 1]->key.data, got->kvs[got->n_kvs - 1]->key.len);
        char key[64];
        snprintf(key, sizeof key, "kz%d", pages);
        kvf_put(&f, key, "new");
        if (more) {
            page(&f, from, 0, 0, true, &walked, &arena);
            page(&f, from, 500, 0, false, &got, &arena);
            assert_int_equal(got->count, walked->count);
        }
        uint8_t *next = arena_alloc(&arena, last.len + 1);
        memcpy(next, last.data, last.len);
        next[last.len] = 0;
        from = slice_of(next, last.len + 1);
    }
    assert_true(pages >= 4);
    arena_close(&arena);
    kvf_close(&f);
}

/* The table of counts keeps the ones used last, and takes no long keys. */
static void counts_of_pages_are_bounded(void **state)
{
    static struct page_counts counts;
    static const char long_key[PAGE_COUNT_KEY_BYTES_MAX + 1] = "k";
    int64_t count = 0;
    page_counts_init(&counts);
    for (int64_t i = 1; i <= 2 * PAGE_COUNTS_MAX; i++) {
        page_counts_keep(&counts, i, slice_str("a"), slice_str("b"), 5000 + i);
        assert_true(page_counts_find(&counts, 1, slice_of("a", 2), slice_str("b"), &count));
        assert_int_equal(count, 5001);
    }
    for (int64_t i = 2; i <= 2 * PAGE_COUNTS_MAX; i++) {
        assert_int_equal(page_counts_find(&counts, i, slice_of("a", 2), slice_str("b"), &count),
                         i > PAGE_COUNTS_MAX + 1);
    }
    assert_false(page_counts_find(&counts, 1, slice_str("a"), slice_str("b"), &count));
    assert_false(page_counts_find(&counts, 1, slice_of("a", 2), slice_str("c"), &count));
    page_counts_keep(&counts, 1, slice_of(long_key, sizeof long_key), slice_str("b"), 5000);
    page_counts_keep(&counts, 99, slice_str("a"), slice_str("b"), PAGE_COUNT_ROWS_MIN - 1);
    assert_false(page_counts_find(&counts, 99, slice_of("a", 2), slice_str("b"), &count));
    page_counts_clear(&counts);
    assert_false(page_counts_find(&counts, 1, slice_of("a", 2), slice_str("b"), &count));
    page_counts_close(&counts);
}

/* Every allocation of a read may fail: the answer is an error, and nothing leaks. */
static void reads_survive_exhaustion(void **state)
{
    struct kvf f;
    struct buf request;
    kvf_open(&f);
    for (int i = 0; i < 30; i++) {
        char key[8];
        snprintf(key, sizeof(key), "k%d", i);
        kvf_put(&f, key, "v");
    }
    buf_init(&request);
    for (int kind = 0; kind < 3; kind++) {
        Etcdserverpb__RangeRequest q = ETCDSERVERPB__RANGE_REQUEST__INIT;
        q.key = bin("k");
        q.range_end = bin("l");
        q.sort_target = kind == 1 ? 4 : 0;
        q.limit = kind == 2 ? 3 : 0;
        encode(&q, &request);
        uint64_t n = 1;
        for (bool done = false; !done; n++) {
            struct kv_range *r = NULL;
            mem_fail_after(n);
            int err = kv_range_open(f.kv, buf_slice(&request), &r);
            if (err == 0) {
                while (kv_range_measure(r, &err) == KV_MORE) {
                }
                kv_range_close(r);
            }
            assert_true(err == 0 || err == ERR_NOMEM);
            done = err == 0;
            mem_fail_after(0);
        }
        assert_true(n > 3);
    }
    buf_close(&request);
    kvf_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_of_any_size_are_equal),
        cmocka_unit_test(measuring_is_sliced),
        cmocka_unit_test(ranges_may_be_dropped_anywhere),
        cmocka_unit_test(streams_read_one_revision),
        cmocka_unit_test(streams_of_nothing),
        cmocka_unit_test(bad_ranges_are_refused),
        cmocka_unit_test(long_histories_are_skipped),
        cmocka_unit_test(deleted_runs_are_jumped_over),
        cmocka_unit_test(damage_is_told),
        cmocka_unit_test(pages_know_their_count),
        cmocka_unit_test(counts_of_pages_are_bounded),
        cmocka_unit_test(reads_survive_exhaustion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
