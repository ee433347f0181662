/* test_parts - the small parts under the front end: pool, timers, method table, output queue. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/rand.h"
#include "rpc/flow.h"
#include "rpc/h1_out.h"
#include "rpc/method.h"
#include "rpc/pool.h"
#include "rpc/timer.h"

/* ---- pool ------------------------------------------------------------------------------------ */

static void pool_reuses_blocks_within_its_bound(void **state)
{
    (void)state;
    struct pool p;
    pool_init(&p);
    p.kept_max = 1000; /* also in builds that keep nothing by default */
    void *a = pool_alloc(&p, 100);
    pool_free(&p, a);
    assert_int_equal(p.kept, 128);
    assert_ptr_equal(pool_alloc(&p, 65), a);
    assert_int_equal(p.kept, 0);
    void *blocks[20];
    for (size_t i = 0; i < 20; i++) {
        blocks[i] = pool_alloc(&p, 64);
        assert_int_equal((uintptr_t)blocks[i] % 16, 0);
        memset(blocks[i], (int)i, 64);
    }
    for (size_t i = 0; i < 20; i++) {
        assert_int_equal(((uint8_t *)blocks[i])[63], i);
        pool_free(&p, blocks[i]);
        assert_true(p.kept <= 1000);
    }
    assert_true(p.kept > 900);
    pool_free(&p, a);
    pool_free(&p, NULL);
    pool_close(&p);
}

static void pool_blocks_grow_and_keep_their_bytes(void **state)
{
    (void)state;
    struct pool p;
    pool_init(&p);
    p.kept_max = RPC_POOL_BYTES_MAX;
    uint8_t *b = NULL;
    for (size_t size = 1; size < 10000; size = size * 3 / 2 + 1) {
        b = pool_realloc(&p, b, size);
        assert_non_null(b);
        b[size - 1] = (uint8_t)size;
        assert_int_equal(b[0], 1);
    }
    pool_free(&p, b);
    uint8_t *z = pool_zalloc(&p, 200);
    for (size_t i = 0; i < 200; i++) {
        assert_int_equal(z[i], 0);
    }
    pool_free(&p, z);
    assert_null(pool_alloc(&p, SIZE_MAX - 4));
    pool_close(&p);
}

/* ---- timers ---------------------------------------------------------------------------------- */

struct shot {
    struct rpc_timer timer;
    struct timers *timers;
    int fired;
    int order;
    bool again;
};

static int shots;

static void shot_fire(struct rpc_timer *t)
{
    struct shot *s = LIST_ENTRY(t, struct shot, timer);
    s->fired++;
    s->order = ++shots;
    assert_false(rpc_timer_is_set(t));
    if (s->again) {
        timers_set(s->timers, t, uv_now(s->timers->handle.loop));
    }
}

static void timers_fire_in_order_and_once(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct timers ts;
    uv_loop_init(&loop);
    timers_init(&ts, &loop);
    uint64_t now = uv_now(&loop);
    struct shot s[5] = {{{{0}}}};
    for (int i = 0; i < 5; i++) {
        s[i].timer.fire = shot_fire;
        s[i].timers = &ts;
        assert_true(timers_set(&ts, &s[i].timer, now + 50 - (uint64_t)i * 10));
    }
    timers_cancel(&ts, &s[3].timer);
    timers_cancel(&ts, &s[3].timer);
    timers_set(&ts, &s[4].timer, now + 60); /* moved: first becomes last */
    shots = 0;
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(shots, 4);
    assert_int_equal(s[2].order, 1);
    assert_int_equal(s[1].order, 2);
    assert_int_equal(s[0].order, 3);
    assert_int_equal(s[4].order, 4);
    assert_int_equal(s[3].fired, 0);
    assert_true(uv_now(&loop) >= now + 60);
    /* A timer that sets itself for "now" does not keep the loop inside one turn. */
    s[0].again = true;
    timers_set(&ts, &s[0].timer, uv_now(&loop));
    int before = s[0].fired;
    uv_run(&loop, UV_RUN_NOWAIT);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_true(s[0].fired - before <= 2);
    timers_close(&ts, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    timers_free(&ts);
    assert_int_equal(uv_loop_close(&loop), 0);
}

/* ---- methods --------------------------------------------------------------------------------- */

static void methods_are_found_by_path(void **state)
{
    (void)state;
    static struct rpc_method rows[101];
    static char names[100][16];
    for (size_t i = 0; i < 100; i++) {
        snprintf(names[i], sizeof(names[i]), "Method%zu", i);
        rows[i].service = i % 2 == 0 ? "some.Service" : "other.Service";
        rows[i].method = names[i];
    }
    struct method_table t;
    assert_true(method_table_init(&t, rows));
    for (size_t i = 0; i < 100; i++) {
        char path[64];
        snprintf(path, sizeof(path), "/%s/%s", rows[i].service, rows[i].method);
        assert_ptr_equal(method_find(&t, slice_str(path)), &rows[i]);
        path[1] = 'X';
        assert_null(method_find(&t, slice_str(path)));
    }
    assert_null(method_find(&t, slice_str("")));
    assert_null(method_find(&t, slice_str("/")));
    assert_null(method_find(&t, slice_str("/some.Service/Method100")));
    assert_true(method_service_known(&t, slice_str("some.Service")));
    assert_false(method_service_known(&t, slice_str("some.Servic")));
    method_table_close(&t);
    assert_true(method_table_init(&t, NULL));
    assert_null(method_find(&t, slice_str("/a/b")));
    assert_false(method_service_known(&t, slice_str("a")));
    method_table_close(&t);
}

/* ---- output queue ---------------------------------------------------------------------------- */

struct source {
    size_t made;
    int done;
};

static bool source_produce(void *data, struct buf *out, size_t room)
{
    struct source *s = data;
    size_t n = room < 333 ? room : 333;
    for (size_t i = 0; i < n && s->made < 5000; i++) {
        buf_append_byte(out, (uint8_t)s->made++);
    }
    return true;
}

static void source_done(void *data)
{
    ((struct source *)data)->done++;
}

/* Whatever is queued and however it is taken, the bytes are those of the messages in order. */
static void queue_gives_the_bytes_in_order(void **state)
{
    (void)state;
    struct rand r;
    rand_init(&r, 7);
    for (int round = 0; round < 300; round++) {
        struct pool pool;
        struct flow f;
        struct buf expected;
        struct buf got;
        pool_init(&pool);
        flow_init(&f);
        buf_init(&expected);
        buf_init(&got);
        struct blob *b = blob_new(3000);
        for (size_t i = 0; i < b->len; i++) {
            b->data[i] = (uint8_t)rand_u64(&r);
        }
        struct source sources[8] = {{0}};
        size_t produced = 0;
        size_t messages = 1 + rand_below(&r, 8);
        for (size_t m = 0; m < messages; m++) {
            uint8_t prefix[5] = {0};
            if (rand_below(&r, 4) == 0) {
                struct source *s = &sources[produced++];
                assert_int_equal(flow_produce(&f, &pool, 5000, source_produce, source_done, s),
                                 FLOW_OK);
                bytes_put_be32(prefix + 1, 5000);
                buf_append(&expected, prefix, 5);
                for (size_t i = 0; i < 5000; i++) {
                    buf_append_byte(&expected, (uint8_t)i);
                }
                continue;
            }
            struct rpc_part parts[6];
            size_t count = rand_below(&r, 7);
            size_t total = 0;
            size_t mark = expected.len;
            buf_append(&expected, prefix, 5);
            for (size_t i = 0; i < count; i++) {
                size_t len = rand_below(&r, 1000);
                parts[i] = (struct rpc_part){.bytes = slice_of(b->data + i, len)};
                parts[i].blob = rand_below(&r, 2) == 0 ? b : NULL;
                buf_append_slice(&expected, parts[i].bytes);
                total += len;
            }
            bytes_put_be32(expected.data + mark + 1, (uint32_t)total);
            assert_int_equal(flow_send(&f, &pool, parts, count), FLOW_OK);
        }
        assert_int_equal(f.queued, expected.len);
        bool give_up = rand_below(&r, 10) == 0;
        while (f.queued > 0 && !(give_up && got.len > 500)) {
            size_t wanted = 1 + rand_below(&r, 20000);
            size_t n = flow_ready(&f, wanted);
            assert_true(n > 0 && n <= wanted);
            n = 1 + rand_below(&r, n);
            uint8_t out[20000];
            flow_take(&f, &pool, out, n);
            buf_append(&got, out, n);
        }
        assert_true(slice_starts_with(buf_slice(&expected), buf_slice(&got)));
        assert_true(give_up || got.len == expected.len);
        flow_clear(&f, &pool);
        assert_int_equal(f.held, 0);
        assert_int_equal(f.produced, 0);
        for (size_t i = 0; i < produced; i++) {
            assert_int_equal(sources[i].done, 1);
        }
        assert_int_equal(b->refs, 1);
        blob_unref(b);
        buf_close(&expected);
        buf_close(&got);
        pool_close(&pool);
    }
}

static void queue_tells_its_water_marks(void **state)
{
    (void)state;
    struct pool pool;
    struct flow f;
    static uint8_t bytes[RPC_CALL_HIGH_WATER_BYTES];
    pool_init(&pool);
    flow_init(&f);
    struct rpc_part part = {.bytes = slice_of(bytes, RPC_CALL_HIGH_WATER_BYTES - 5)};
    flow_send(&f, &pool, &part, 1);
    assert_false(f.above_high);
    part.bytes.len = 1;
    flow_send(&f, &pool, &part, 1);
    assert_true(f.above_high);
    assert_false(flow_take(&f, &pool, bytes, RPC_CALL_HIGH_WATER_BYTES - RPC_CALL_LOW_WATER_BYTES));
    assert_true(f.above_high);
    assert_true(flow_take(&f, &pool, bytes, 10));
    assert_false(f.above_high);
    assert_false(flow_take(&f, &pool, bytes, 10));
    flow_clear(&f, &pool);
    pool_close(&pool);
}

static bool source_lies(void *data, struct buf *out, size_t room)
{
    (void)data;
    (void)room;
    static const uint8_t many[2000];
    return buf_append(out, many, sizeof(many));
}

/* A producer that makes more than it promised must not shift the messages after it. */
static void queue_breaks_off_a_lying_producer(void **state)
{
    (void)state;
    struct pool pool;
    struct flow f;
    struct source s = {0};
    uint8_t out[16];
    pool_init(&pool);
    flow_init(&f);
    flow_produce(&f, &pool, 1500, source_lies, source_done, &s);
    assert_int_equal(flow_ready(&f, 10000), 5);
    flow_take(&f, &pool, out, 5);
    assert_int_equal(flow_ready(&f, 10000), 0);
    assert_true(f.broken);
    flow_clear(&f, &pool);
    assert_int_equal(s.done, 1);
    pool_close(&pool);
}

static void queue_answers_lack_of_memory(void **state)
{
    (void)state;
    struct pool pool;
    struct flow f;
    struct source s = {0};
    struct blob *b = blob_new(10);
    memset(b->data, 0, 10);
    pool_init(&pool);
    flow_init(&f);
    struct rpc_part part = {.bytes = blob_slice(b), .blob = b};
    mem_fail_after(1);
    assert_int_equal(flow_send(&f, &pool, &part, 1), FLOW_NOMEM);
    assert_int_equal(b->refs, 1);
    for (uint64_t n = 1; n <= 2; n++) {
        mem_fail_after(n);
        assert_int_equal(flow_produce(&f, &pool, 10, source_produce, source_done, &s), FLOW_NOMEM);
    }
    mem_fail_after(0);
    assert_int_equal(s.done, 0);
    assert_int_equal(f.queued, 0);
    assert_int_equal(f.held, 0);
    assert_null(f.head);
    blob_unref(b);
    pool_close(&pool);
}

/* ---- output of HTTP/1.1 ---------------------------------------------------------------------- */

/* Whatever is queued and however it is taken, the bytes are those that were put in, in order; and
 * parts end where records do, unless that was all. */
static void h1_output_gives_the_bytes_in_order(void **state)
{
    (void)state;
    static uint8_t copy[RPC_WRITE_BUFFER_BYTES];
    struct rand r;
    rand_init(&r, 11);
    for (int round = 0; round < 200; round++) {
        struct pool pool;
        struct h1_out o;
        struct buf expected;
        struct buf got;
        pool_init(&pool);
        h1_out_init(&o);
        buf_init(&expected);
        buf_init(&got);
        struct blob *b = blob_new(300000);
        for (size_t i = 0; i < b->len; i++) {
            b->data[i] = (uint8_t)rand_u64(&r);
        }
        bool give_up = rand_below(&r, 10) == 0;
        for (int step = 0; step < 40 && !(give_up && step > 20); step++) {
            if (rand_below(&r, 2) == 0) {
                size_t from = rand_below(&r, 1000);
                static const size_t most[] = {1, 40, 20000, 3 * RPC_TLS_RECORD_BYTES, 290000};
                size_t len = rand_below(&r, most[rand_below(&r, 5)] + 1);
                struct rpc_part part = {.bytes = slice_of(b->data + from, len)};
                part.blob = rand_below(&r, 3) > 0 ? b : NULL;
                h1_out_add(&o, &pool, &part);
                buf_append_slice(&expected, part.bytes);
                continue;
            }
            size_t cap = rand_below(&r, 3) == 0 ? 1 + rand_below(&r, sizeof(copy)) : sizeof(copy);
            struct slice parts[RPC_WRITE_PARTS_MAX];
            size_t max = 2 + rand_below(&r, RPC_WRITE_PARTS_MAX - 1);
            size_t count;
            size_t queued = h1_out_queued(&o);
            assert_int_equal(queued, expected.len - got.len);
            size_t n = h1_out_take(&o, copy, cap, parts, max, &count);
            assert_true(n <= cap && count <= max);
            assert_int_equal(n == 0, queued == 0);
            assert_int_equal(h1_out_queued(&o), queued - n);
            size_t sum = 0;
            for (size_t i = 0; i < count; i++) {
                bool copied = parts[i].data >= copy && parts[i].data < copy + cap;
                assert_true(copied || (parts[i].data >= b->data &&
                                       parts[i].data + parts[i].len <= b->data + b->len));
                assert_true(copied || parts[i].len % RPC_TLS_RECORD_BYTES == 0);
                assert_true(i + 1 == count || parts[i].len % RPC_TLS_RECORD_BYTES == 0);
                assert_true(copied || cap >= RPC_TLS_RECORD_BYTES);
                buf_append_slice(&got, parts[i]);
                sum += parts[i].len;
            }
            assert_int_equal(sum, n);
            h1_out_given(&o, &pool);
        }
        for (size_t n = 1, count; n > 0 && !give_up;) {
            struct slice parts[RPC_WRITE_PARTS_MAX];
            n = h1_out_take(&o, copy, sizeof(copy), parts, RPC_WRITE_PARTS_MAX, &count);
            for (size_t i = 0; i < count; i++) {
                buf_append_slice(&got, parts[i]);
            }
            h1_out_given(&o, &pool);
        }
        assert_true(give_up || got.len == expected.len);
        assert_memory_equal(got.data == NULL ? (uint8_t *)"" : got.data,
                            expected.data == NULL ? (uint8_t *)"" : expected.data, got.len);
        if (!give_up) {
            assert_null(o.text.data); /* an idle connection keeps no memory */
        }
        h1_out_close(&o, &pool);
        assert_int_equal(b->refs, 1);
        blob_unref(b);
        buf_close(&expected);
        buf_close(&got);
        pool_close(&pool);
    }
}

static void h1_output_answers_lack_of_memory(void **state)
{
    (void)state;
    struct pool pool;
    struct h1_out o;
    struct blob *b = blob_new(RPC_TLS_RECORD_BYTES);
    struct rpc_part part = {.bytes = blob_slice(b), .blob = b};
    pool_init(&pool);
    h1_out_init(&o);
    mem_fail_after(1);
    h1_out_add(&o, &pool, &part);
    mem_fail_after(0);
    assert_true(o.text.failed);
    assert_int_equal(b->refs, 1);
    assert_int_equal(h1_out_queued(&o), 0);
    h1_out_close(&o, &pool);
    blob_unref(b);
    pool_close(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pool_reuses_blocks_within_its_bound),
        cmocka_unit_test(pool_blocks_grow_and_keep_their_bytes),
        cmocka_unit_test(timers_fire_in_order_and_once),
        cmocka_unit_test(methods_are_found_by_path),
        cmocka_unit_test(queue_gives_the_bytes_in_order),
        cmocka_unit_test(queue_tells_its_water_marks),
        cmocka_unit_test(queue_breaks_off_a_lying_producer),
        cmocka_unit_test(queue_answers_lack_of_memory),
        cmocka_unit_test(h1_output_gives_the_bytes_in_order),
        cmocka_unit_test(h1_output_answers_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
