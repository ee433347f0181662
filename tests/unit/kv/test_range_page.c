/* test_range_page - a range read page by page: the pages put together are the range, whatever their
 * bounds, and each step is bounded. */
#include "kv_fixture.h"

#include "base/limits.h"
#include "kv/range.h"
#include "kv/record.h"

enum { ROWS = 6000 };

static char big_value[4000];

static void put_rows(struct kvf *f, int from, int to, size_t value_bytes)
{
    struct buf payload;
    buf_init(&payload);
    memset(big_value, 'v', sizeof(big_value) - 1);
    for (int i = from; i < to; i++) {
        RAFT(r);
        Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
        char key[16];
        snprintf(key, sizeof(key), "k%05d", i);
        put.key = bin(key);
        put.value = bin(big_value + sizeof(big_value) - 1 - value_bytes);
        r.put = &put;
        kvf_batch(f, &payload, &r);
    }
    kvf_entry(f, buf_slice(&payload));
    buf_close(&payload);
}

/* What one page says; its rows live in the arena. */
struct page {
    int err;
    int slices;
    size_t bytes;
    int64_t revision;
    Etcdserverpb__RangeResponse *answer;
};

static struct page read_page(struct kvf *f, const Etcdserverpb__RangeRequest *q, size_t bytes)
{
    struct page p = {.slices = 1};
    struct buf request;
    struct buf out;
    struct kv_range *r = NULL;
    void *message = NULL;
    buf_init(&request);
    buf_init(&out);
    assert_true(codec_encode(q, &request));
    p.err = kv_range_open(f->kv, buf_slice(&request), &r);
    if (p.err == 0) {
        p.revision = kv_range_revision(r);
        while ((p.err = kv_range_page(r, bytes, &out)) == ERR_AGAIN) {
            p.slices++;
        }
        kv_range_close(r);
    }
    if (p.err == 0) {
        struct slice kept = arena_dup(&f->arena, buf_slice(&out));
        p.bytes = out.len;
        assert_int_equal(
            codec_decode(&etcdserverpb__range_response__descriptor, kept, &f->arena, &message), 0);
        p.answer = message;
    }
    buf_close(&request);
    buf_close(&out);
    return p;
}

static Etcdserverpb__RangeRequest all_rows(void)
{
    Etcdserverpb__RangeRequest q = ETCDSERVERPB__RANGE_REQUEST__INIT;
    q.key = bin("k");
    q.range_end = bin("l");
    return q;
}

/* Goes on behind the last row of a page. */
static void go_on(Etcdserverpb__RangeRequest *q, const struct page *p)
{
    static uint8_t next[64];
    const Mvccpb__KeyValue *last = p->answer->kvs[p->answer->n_kvs - 1];
    assert_true(last->key.len < sizeof(next));
    memcpy(next, last->key.data, last->key.len);
    next[last->key.len] = 0;
    q->key = (ProtobufCBinaryData){.data = next, .len = last->key.len + 1};
}

/* Rows of all pages are the rows of one range, at one revision, though each row is written again
 * and some are deleted in between; a page has no more than it may have, and little less. */
static void pages_are_the_range(void **state)
{
    static const struct {
        size_t bytes;
        int64_t limit;
    } bounds[] = {{1u << 20, 0}, {1u << 20, 500}, {100000, 500}, {5000, 0}, {1, 0}, {300, 7}};
    (void)state;
    for (size_t b = 0; b < sizeof(bounds) / sizeof(bounds[0]); b++) {
        struct kvf f;
        kvf_open(&f);
        int rows = bounds[b].bytes < 5000 ? 300 : ROWS;
        put_rows(&f, 0, rows, 190);
        Etcdserverpb__RangeRequest q = all_rows();
        int seen = 0;
        q.limit = bounds[b].limit;
        for (bool more = true; more;) {
            arena_clear(&f.arena);
            struct page p = read_page(&f, &q, bounds[b].bytes);
            assert_int_equal(p.err, 0);
            more = p.answer->more;
            assert_true(p.answer->n_kvs > 0);
            assert_true(p.answer->n_kvs == 1 ||
                        p.bytes <= bounds[b].bytes + RANGE_PAGE_TRAILER_BYTES);
            assert_true(q.limit == 0 || (int64_t)p.answer->n_kvs <= q.limit);
            bool full = (int64_t)p.answer->n_kvs == q.limit || p.bytes + 300 > bounds[b].bytes;
            assert_int_equal(more, full && seen + (int)p.answer->n_kvs < rows);
            /* Nothing behind the page is counted. */
            assert_int_equal(p.answer->count, more ? 0 : p.answer->n_kvs);
            for (size_t i = 0; i < p.answer->n_kvs; i++) {
                char key[16];
                snprintf(key, sizeof(key), "k%05d", seen++);
                assert_memory_equal(p.answer->kvs[i]->key.data, key, 6);
                assert_int_equal(p.answer->kvs[i]->version, 1);
                assert_int_equal(p.answer->kvs[i]->value.len, 190);
            }
            q.revision = p.revision > q.revision && q.revision == 0 ? p.revision : q.revision;
            go_on(&q, &p);
            kvf_put(&f, "k00250", "new");
            kvf_delete(&f, "k00100", "k00120");
            if (seen > rows / 2) {
                kvf_checkpoint(&f);
            }
        }
        assert_int_equal(seen, rows);
        kvf_close(&f);
    }
}

/* A page that its rows fill to the byte, one byte less, and a row that is larger than a page. */
static void edges_are_exact(void **state)
{
    struct kvf f;
    (void)state;
    kvf_open(&f);
    put_rows(&f, 0, 3, 1000);
    put_rows(&f, 3, 4, 3900);
    Etcdserverpb__RangeRequest q = all_rows();
    q.limit = 3;
    struct page three = read_page(&f, &q, 1u << 20);
    assert_int_equal(three.answer->n_kvs, 3);
    assert_true(three.answer->more); /* the limit is where the page ends, a row follows */
    size_t rows = three.bytes - 2;   /* without `more` */
    q.limit = 0;
    struct page p = read_page(&f, &q, rows);
    assert_int_equal(p.answer->n_kvs, 3);
    assert_true(p.answer->more);
    p = read_page(&f, &q, rows - 1);
    assert_int_equal(p.answer->n_kvs, 2);
    assert_true(p.answer->more);
    q.key = bin("k00003");
    p = read_page(&f, &q, 1000);
    assert_int_equal(p.answer->n_kvs, 1);
    assert_int_equal(p.answer->kvs[0]->value.len, 3900);
    assert_false(p.answer->more);
    assert_int_equal(p.answer->count, 1);
    /* The limit is reached and nothing follows: no more. */
    q = all_rows();
    q.limit = 4;
    p = read_page(&f, &q, 1u << 20);
    assert_int_equal(p.answer->n_kvs, 4);
    assert_false(p.answer->more);
    assert_int_equal(p.answer->count, 4);
    /* No row at all; one key; keys without values. */
    q.key = bin("l");
    q.range_end = bin("m");
    p = read_page(&f, &q, 1000);
    assert_int_equal(p.err, 0);
    assert_int_equal(p.bytes, 0);
    q.key = bin("k00001");
    q.range_end = (ProtobufCBinaryData){0};
    p = read_page(&f, &q, 1000);
    assert_int_equal(p.answer->n_kvs, 1);
    assert_false(p.answer->more);
    q = all_rows();
    q.keys_only = 1;
    p = read_page(&f, &q, 1000);
    assert_int_equal(p.answer->n_kvs, 4);
    assert_int_equal(p.answer->kvs[3]->value.len, 0);
    kvf_close(&f);
}

/* A page is read on at its moment though that is compacted meanwhile; the next one is refused. */
static void compaction_comes_between_pages(void **state)
{
    struct kvf f;
    struct buf request;
    struct buf out;
    struct kv_range *r;
    (void)state;
    kvf_open(&f);
    put_rows(&f, 0, ROWS, 190);
    Etcdserverpb__RangeRequest q = all_rows();
    int64_t revision = kv_revision(f.kv);
    q.revision = revision;
    buf_init(&request);
    buf_init(&out);
    assert_true(codec_encode(&q, &request));
    assert_int_equal(kv_range_open(f.kv, buf_slice(&request), &r), 0);
    assert_int_equal(kv_range_page(r, 1u << 20, &out), ERR_AGAIN);
    kvf_delete(&f, "k", "l");
    kvf_compact(&f, kv_revision(f.kv));
    kvf_checkpoint(&f);
    int err;
    while ((err = kv_range_page(r, 1u << 20, &out)) == ERR_AGAIN) {
    }
    assert_int_equal(err, 0);
    assert_true(out.len > (1u << 20) - 300);
    kv_range_close(r);
    buf_close(&request);
    buf_close(&out);
    assert_int_equal(read_page(&f, &q, 1000).err, ERR_COMPACTED);
    q.revision = kv_revision(f.kv) + 1;
    assert_int_equal(read_page(&f, &q, 1000).err, ERR_FUTURE_REV);
    kvf_close(&f);
}

/* No step does much more than a slice, neither of bytes nor of rows that are deleted. */
static void pages_are_sliced(void **state)
{
    struct kvf f;
    (void)state;
    kvf_open(&f);
    put_rows(&f, 0, 1000, 3900);
    Etcdserverpb__RangeRequest q = all_rows();
    struct page p = read_page(&f, &q, 1u << 20);
    assert_in_range(p.slices, (1u << 20) / SLICE_BYTES_MAX, (1u << 20) / SLICE_BYTES_MAX + 2);
    kvf_delete(&f, "k", "l");
    put_rows(&f, 20000, 20001, 10);
    arena_clear(&f.arena);
    put_rows(&f, 1000, 15000, 1);
    kvf_delete(&f, "k01000", "k15000");
    p = read_page(&f, &q, 1u << 20);
    assert_int_equal(p.answer->n_kvs, 1);
    assert_true(p.slices >= 14000 / (int)SLICE_ROWS_MAX);
    kvf_close(&f);
}

/* What a page cannot be is refused; damage is told; lack of memory is survived; and a page may be
 * given up at any step (the sanitizer watches). */
static void what_is_no_page_is_told(void **state)
{
    struct kvf f;
    (void)state;
    kvf_open(&f);
    put_rows(&f, 0, 600, 3000);
    for (int kind = 0; kind < 5; kind++) {
        Etcdserverpb__RangeRequest q = all_rows();
        q.sort_target = kind == 0 ? 4 : 0;
        q.sort_order = kind == 1 ? 2 : 0;
        q.min_mod_revision = kind == 2 ? 1 : 0;
        q.max_create_revision = kind == 3 ? 1 : 0;
        q.count_only = kind == 4;
        assert_int_equal(read_page(&f, &q, 1000).err, ERR_UNIMPLEMENTED);
    }
    Etcdserverpb__RangeRequest q = all_rows();
    struct buf request;
    buf_init(&request);
    assert_true(codec_encode(&q, &request));
    uint64_t n = 1;
    for (bool done = false; !done; n++) {
        struct kv_range *r = NULL;
        struct buf out;
        buf_init(&out);
        mem_fail_after(n);
        int err = kv_range_open(f.kv, buf_slice(&request), &r);
        if (err == 0) {
            while ((err = kv_range_page(r, 1u << 20, &out)) == ERR_AGAIN && n % 2 == 0) {
            }
            kv_range_close(r);
        }
        done = mem_fail_left() > 0;
        mem_fail_after(0);
        assert_true(err == 0 || err == ERR_NOMEM || (err == ERR_AGAIN && n % 2 == 1));
        buf_close(&out);
    }
    assert_true(n > 5);
    buf_close(&request);
    uint8_t key[RECORD_KEY_BYTES];
    record_key(key, (struct rev){.main = 2});
    assert_int_equal(store_put(kv_store(f.kv), TABLE_RECORD, slice_of(key, sizeof(key)),
                               slice_str("damaged record")),
                     0);
    struct store_point point = {
        .revision = kv_revision(f.kv), .compact_revision = -1, .applied_index = 1};
    store_publish(kv_store(f.kv), &point);
    assert_int_equal(read_page(&f, &q, 1000).err, ERR_DAMAGED);
    kvf_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_are_the_range),
        cmocka_unit_test(edges_are_exact),
        cmocka_unit_test(compaction_comes_between_pages),
        cmocka_unit_test(pages_are_sliced),
        cmocka_unit_test(what_is_no_page_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
