/* test_memtable - order, versions of one key, searches, exhaustion. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/rand.h"
#include "kv/memtable.h"

/* Rows come out by table, then key, then newest first, whatever the order they went in. */
static void rows_come_out_in_order(void **state)
{
    struct memtable *m = memtable_new();
    struct rand r;
    rand_init(&r, 1);
    for (uint64_t seq = 1; seq <= 20000; seq++) {
        uint8_t key[4];
        size_t len = rand_below(&r, sizeof key + 1);
        for (size_t i = 0; i < len; i++) {
            key[i] = (uint8_t)rand_below(&r, 5);
        }
        assert_true(memtable_add(m, (uint8_t)(1 + rand_below(&r, 3)), slice_of(key, len),
                                 slice_of(&seq, sizeof seq), seq, seq % 7 == 0));
    }
    assert_int_equal(memtable_rows(m), 20000);
    size_t rows = 0;
    const struct memtable_row *before = NULL;
    for (const struct memtable_row *row = memtable_first(m); row != NULL;
         row = memtable_next(row)) {
        uint64_t seq;
        assert_int_equal(memtable_row_value(row).len, sizeof seq);
        memcpy(&seq, memtable_row_value(row).data, sizeof seq);
        assert_int_equal(row->seq, seq);
        assert_int_equal(row->erased, seq % 7 == 0);
        if (before != NULL) {
            int order = (int)memtable_row_table(before) - memtable_row_table(row);
            if (order == 0) {
                order = slice_cmp(memtable_row_key(before), memtable_row_key(row));
            }
            assert_true(order < 0 || (order == 0 && before->seq > row->seq));
        }
        before = row;
        rows++;
    }
    assert_int_equal(rows, 20000);
    memtable_free(m);
}

static void a_reader_sees_the_newest_row_of_its_seq(void **state)
{
    struct memtable *m = memtable_new();
    struct slice key = slice_str("key");
    assert_true(memtable_add(m, 2, slice_str("kex"), slice_str("x"), 1, false));
    for (uint64_t seq = 10; seq <= 1000; seq += 10) {
        assert_true(memtable_add(m, 2, key, slice_of(&seq, sizeof seq), seq, false));
    }
    assert_true(memtable_add(m, 2, slice_str("kez"), slice_str("z"), 1001, false));
    for (uint64_t seq = 0; seq <= 1009; seq++) {
        const struct memtable_row *row = memtable_get(m, 2, key, seq);
        if (seq < 10) {
            assert_null(row);
        } else {
            assert_int_equal(row->seq, seq > 1000 ? 1000 : seq / 10 * 10);
        }
    }
    assert_null(memtable_get(m, 1, key, 2000));
    assert_null(memtable_get(m, 3, key, 2000));
    assert_null(memtable_get(m, 2, slice_str("ke"), 2000));
    assert_null(memtable_get(m, 2, slice_str("key1"), 2000));

    /* The next key is found behind a hundred versions, and behind three. */
    const struct memtable_row *row = memtable_seek(m, 2, key);
    assert_int_equal(row->seq, 1000);
    row = memtable_next_key(m, row);
    assert_true(slice_eq(memtable_row_key(row), slice_str("kez")));
    assert_null(memtable_next_key(m, row));
    row = memtable_visible(m, memtable_first(m), 2, 5);
    assert_true(slice_eq(memtable_row_key(row), slice_str("kex")));
    assert_null(memtable_visible(m, memtable_next_key(m, row), 2, 5));
    assert_null(memtable_visible(m, memtable_first(m), 1, 5));
    memtable_free(m);
}

/* The second row of one key and seq hides the first. */
static void the_later_row_of_one_seq_wins(void **state)
{
    struct memtable *m = memtable_new();
    assert_true(memtable_add(m, 9, slice_str("k"), slice_str("first"), 5, false));
    assert_true(memtable_add(m, 9, slice_str("k"), slice_str("second"), 5, false));
    assert_true(
        slice_eq(memtable_row_value(memtable_get(m, 9, slice_str("k"), 5)), slice_str("second")));
    assert_true(memtable_add(m, 9, slice_str("k"), slice_of(NULL, 0), 5, true));
    assert_true(memtable_get(m, 9, slice_str("k"), 5)->erased);
    memtable_free(m);
}

static void seeks_find_the_first_at_or_after(void **state)
{
    struct memtable *m = memtable_new();
    uint64_t seq = 0;
    for (unsigned i = 0; i < 5000; i += 2) {
        uint8_t key[2] = {(uint8_t)(i >> 8), (uint8_t)i};
        assert_true(memtable_add(m, 7, slice_of(key, 2), slice_of(NULL, 0), ++seq, false));
    }
    for (unsigned i = 0; i < 4998; i++) {
        uint8_t key[2] = {(uint8_t)(i >> 8), (uint8_t)i};
        unsigned at = (i + 1) / 2 * 2;
        unsigned after = i / 2 * 2 + 2;
        struct slice found = memtable_row_key(memtable_seek(m, 7, slice_of(key, 2)));
        assert_int_equal(found.data[0] << 8 | found.data[1], at);
        found = memtable_row_key(memtable_seek_after(m, 7, slice_of(key, 2)));
        assert_int_equal(found.data[0] << 8 | found.data[1], after);
    }
    assert_null(memtable_seek(m, 8, slice_of(NULL, 0)));
    assert_ptr_equal(memtable_seek(m, 6, slice_str("zzz")), memtable_first(m));
    memtable_free(m);
}

/* Values larger than any block, between small ones. */
static void large_values_fit(void **state)
{
    struct memtable *m = memtable_new();
    size_t size = 3u << 20;
    uint8_t *value = malloc(size);
    memset(value, 0xab, size);
    for (uint8_t i = 0; i < 4; i++) {
        assert_true(memtable_add(m, 1, slice_of(&i, 1), slice_of(value, size), i, false));
        assert_true(memtable_add(m, 2, slice_of(&i, 1), slice_str("small"), i, false));
    }
    for (uint8_t i = 0; i < 4; i++) {
        struct slice found = memtable_row_value(memtable_get(m, 1, slice_of(&i, 1), 9));
        assert_int_equal(found.len, size);
        assert_memory_equal(found.data, value, size);
    }
    assert_true(memtable_bytes(m) > 4 * size && memtable_bytes(m) < 4 * size + 4096);
    free(value);
    memtable_free(m);
}

/* A failed allocation changes nothing, the next try works. */
static void exhaustion_is_answered(void **state)
{
    mem_fail_after(1);
    assert_null(memtable_new());
    struct memtable *m = memtable_new();
    mem_fail_after(1);
    assert_false(memtable_add(m, 1, slice_str("a"), slice_str("b"), 1, false));
    mem_fail_after(0);
    assert_null(memtable_first(m));
    assert_int_equal(memtable_rows(m), 0);
    assert_int_equal(memtable_bytes(m), 0);
    assert_true(memtable_add(m, 1, slice_str("a"), slice_str("b"), 1, false));
    assert_non_null(memtable_get(m, 1, slice_str("a"), 1));
    memtable_free(m);
    memtable_free(NULL);
}

/* The design allows 60 bytes around a key and value; here it is under 40. */
static void the_overhead_is_small(void **state)
{
    struct memtable *m = memtable_new();
    for (uint64_t seq = 1; seq <= 10000; seq++) {
        assert_true(memtable_add(m, 1, slice_of(&seq, 8), slice_str("12345678"), seq, false));
    }
    assert_true(memtable_bytes(m) / 10000 - 16 < 40);
    memtable_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_come_out_in_order),
        cmocka_unit_test(a_reader_sees_the_newest_row_of_its_seq),
        cmocka_unit_test(the_later_row_of_one_seq_wins),
        cmocka_unit_test(seeks_find_the_first_at_or_after),
        cmocka_unit_test(large_values_fit),
        cmocka_unit_test(exhaustion_is_answered),
        cmocka_unit_test(the_overhead_is_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
