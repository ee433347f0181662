/* test_buf - appending, consuming, sticky failure; and blobs, the buffers shared by reference. */
#include "base/buf.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/blob.h"
#include "base/bytes.h"

static void appends_are_in_order(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    assert_true(buf_append(&b, "ab", 2));
    assert_true(buf_append(&b, NULL, 0));
    assert_true(buf_append_slice(&b, slice_str("cd")));
    assert_true(buf_append_byte(&b, 'e'));
    assert_true(buf_append_str(&b, "fg"));
    assert_true(buf_printf(&b, "%d-%s", 12, "x"));
    assert_true(slice_eq(buf_slice(&b), slice_str("abcdefg12-x")));
    buf_close(&b);
    assert_null(b.data);
}

static void printf_grows_for_long_text(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    char text[1000];
    memset(text, 'y', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    for (int i = 0; i < 70; i++) { /* crosses every remainder of the first capacity */
        assert_true(buf_printf(&b, "%.*s", i, text));
    }
    assert_int_equal(b.len, 69 * 70 / 2);
    assert_true(buf_printf(&b, "%s", text));
    assert_int_equal(b.len, 69 * 70 / 2 + 999);
    for (size_t i = 0; i < b.len; i++) {
        assert_int_equal(b.data[i], 'y');
    }
    buf_close(&b);
}

static void integers_have_their_byte_order(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    assert_true(buf_append_le32(&b, 0x01020304));
    assert_true(buf_append_le64(&b, 0x0102030405060708));
    assert_true(buf_append_be64(&b, 0x0102030405060708));
    assert_memory_equal(b.data, "\4\3\2\1\10\7\6\5\4\3\2\1\1\2\3\4\5\6\7\10", 20);
    assert_int_equal(bytes_le32(b.data), 0x01020304);
    assert_int_equal(bytes_be32(b.data), 0x04030201);
    assert_int_equal(bytes_le64(b.data + 4), 0x0102030405060708);
    assert_int_equal(bytes_be64(b.data + 12), 0x0102030405060708);
    buf_close(&b);
}

static void integers_are_decimal(void **state)
{
    (void)state;
    static const int64_t values[] = {0, 7, -1, 10, 99, 100, INT64_MAX, INT64_MIN};
    struct buf b;
    struct buf want;
    buf_init(&b);
    buf_init(&want);
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        buf_clear(&b);
        buf_clear(&want);
        assert_true(buf_append_int(&b, values[i]));
        assert_true(buf_printf(&want, "%lld", (long long)values[i]));
        assert_true(slice_eq(buf_slice(&b), buf_slice(&want)));
    }
    buf_close(&b);
    buf_close(&want);
}

static void varints_are_protobufs(void **state)
{
    (void)state;
    static const struct {
        uint64_t value;
        const char *bytes;
        size_t len;
    } cases[] = {
        {0, "\0", 1},
        {127, "\x7f", 1},
        {128, "\x80\x01", 2},
        {300, "\xac\x02", 2},
        {UINT32_MAX, "\xff\xff\xff\xff\x0f", 5},
        {UINT64_MAX, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf b;
        buf_init(&b);
        assert_true(buf_append_varint(&b, cases[i].value));
        assert_int_equal(b.len, cases[i].len);
        assert_memory_equal(b.data, cases[i].bytes, b.len);
        buf_close(&b);
    }
}

static void consume_removes_from_the_front(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    buf_consume(&b, 0);
    buf_append_str(&b, "hello world");
    buf_consume(&b, 0);
    buf_consume(&b, 6);
    assert_true(slice_eq(buf_slice(&b), slice_str("world")));
    buf_consume(&b, 5);
    assert_int_equal(b.len, 0);
    buf_close(&b);
}

/* Whichever allocation fails, what was there stays, and nothing is appended until buf_clear. */
static void failure_sticks_until_clear(void **state)
{
    (void)state;
    for (uint64_t n = 1;; n++) {
        struct buf b;
        buf_init(&b);
        mem_fail_after(n);
        bool ok = true;
        for (int i = 0; i < 300; i++) {
            size_t before = b.len;
            bool now = i % 3 == 0   ? buf_append_str(&b, "0123456789")
                       : i % 3 == 1 ? buf_printf(&b, "%010d", i)
                                    : buf_append_le64(&b, 7);
            if (!now) {
                assert_int_equal(b.len, before);
            }
            assert_false(now && !ok); /* no success after a failure */
            ok = now;
        }
        mem_fail_after(0);
        assert_int_equal(b.failed, !ok);
        if (b.len >= 10) {
            assert_memory_equal(b.data, "0123456789", 10);
        }
        if (!ok) {
            assert_false(buf_reserve(&b, 0));
            assert_false(buf_append_byte(&b, 1));
            assert_false(buf_append_varint(&b, 1));
            buf_clear(&b);
            assert_true(buf_append_byte(&b, 1));
        }
        buf_close(&b);
        if (ok) {
            assert_true(n > 3);
            break;
        }
    }
}

static void absurd_reserve_fails(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    assert_false(buf_reserve(&b, SIZE_MAX));
    assert_true(b.failed);
    buf_clear(&b);
    assert_false(buf_reserve(&b, SIZE_MAX - 10));
    buf_close(&b);
}

static void *blob_churn(void *data)
{
    for (int i = 0; i < 20000; i++) {
        struct blob *b = blob_ref(data);
        assert_int_equal(b->data[0], 'b');
        blob_unref(b);
    }
    blob_unref(data);
    return NULL;
}

/* References taken and dropped on several threads; the last one frees (the sanitizer looks). */
static void blob_counts_references_across_threads(void **state)
{
    (void)state;
    struct blob *b = blob_new(4);
    memcpy(b->data, "blob", 4);
    assert_true(slice_eq(blob_slice(b), slice_str("blob")));
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, blob_churn, blob_ref(b)), 0);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(atomic_load(&b->refs), 1);
    blob_unref(b);
    blob_unref(NULL);
    mem_fail_after(1);
    assert_null(blob_new(4));
    assert_null(blob_new(SIZE_MAX));
}

/* Order of keys as etcd has it. */
static void slices_compare_bytewise(void **state)
{
    (void)state;
    assert_true(slice_cmp(slice_str("a"), slice_str("b")) < 0);
    assert_true(slice_cmp(slice_str("a"), slice_str("aa")) < 0);
    assert_true(slice_cmp(slice_str("\xff"), slice_str("a")) > 0);
    assert_int_equal(slice_cmp(slice_of(NULL, 0), slice_str("")), 0);
    assert_true(slice_cmp(slice_of("a\0", 2), slice_str("a")) > 0);
    assert_true(slice_starts_with(slice_str("abc"), slice_str("ab")));
    assert_true(slice_starts_with(slice_str("abc"), slice_of(NULL, 0)));
    assert_false(slice_starts_with(slice_str("a"), slice_str("ab")));
    assert_false(slice_eq(slice_str("ab"), slice_str("ac")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_are_in_order),
        cmocka_unit_test(printf_grows_for_long_text),
        cmocka_unit_test(integers_have_their_byte_order),
        cmocka_unit_test(integers_are_decimal),
        cmocka_unit_test(varints_are_protobufs),
        cmocka_unit_test(consume_removes_from_the_front),
        cmocka_unit_test(failure_sticks_until_clear),
        cmocka_unit_test(absurd_reserve_fails),
        cmocka_unit_test(blob_counts_references_across_threads),
        cmocka_unit_test(slices_compare_bytewise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
