/* test_alloc - the fault hook, and arenas: alignment, limits, reuse, failure of every allocation.
 */
#include "base/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

/* The Nth allocation fails once, those before and after succeed; each entry point counts. */
static void fail_after_counts_every_entry_point(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 6; n++) {
        mem_fail_after(n);
        void *p[6] = {mem_alloc(8),         mem_zalloc(8),   mem_realloc(NULL, 8),
                      mem_strdup("abcdef"), mem_dup("x", 1), mem_alloc(0)};
        for (uint64_t i = 0; i < 6; i++) {
            if (i + 1 == n) {
                assert_null(p[i]);
            } else {
                assert_non_null(p[i]);
            }
            mem_free(p[i]);
        }
    }
    mem_fail_after(1);
    assert_int_equal(mem_fail_left(), 1);
    mem_fail_after(0);
    assert_int_equal(mem_fail_left(), 0);
    void *p = mem_alloc(1);
    assert_non_null(p);
    mem_free(p);
}

/* A failed realloc leaves the old block and its bytes. */
static void failed_realloc_keeps_the_old_block(void **state)
{
    (void)state;
    char *p = mem_strdup("still here");
    mem_fail_after(1);
    assert_null(mem_realloc(p, 1000));
    assert_string_equal(p, "still here");
    mem_free(p);
    mem_free(NULL);
}

static void zalloc_zeroes(void **state)
{
    (void)state;
    unsigned char *p = mem_zalloc(300);
    for (int i = 0; i < 300; i++) {
        assert_int_equal(p[i], 0);
    }
    mem_free(p);
}

/* Bytes handed out are aligned, distinct and keep what is written, across block sizes. */
static void arena_hands_out_aligned_distinct_memory(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 0);
    enum { COUNT = 3000 };
    static uint8_t *pieces[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        size_t size = i * 7 % 900;
        pieces[i] = arena_alloc(&a, size);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % 16, 0);
        memset(pieces[i], (int)(i & 0xff), size);
    }
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t k = 0; k < i * 7 % 900; k++) {
            assert_int_equal(pieces[i][k], i & 0xff);
        }
    }
    arena_close(&a);
    assert_null(a.blocks);
}

static void arena_zalloc_zeroes_reused_memory(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 0);
    memset(arena_alloc(&a, 2000), 0xff, 2000);
    memset(arena_alloc(&a, 100), 0xff, 100);
    arena_clear(&a);
    uint8_t *p = arena_zalloc(&a, 500);
    for (int i = 0; i < 500; i++) {
        assert_int_equal(p[i], 0);
    }
    arena_close(&a);
}

/* Over the limit: NULL, and smaller requests still succeed; clearing gives the room back. */
static void arena_limit_holds(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 1000);
    assert_non_null(arena_alloc(&a, 800));
    assert_null(arena_alloc(&a, 300));
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_alloc(&a, SIZE_MAX - 8));
    assert_null(arena_zalloc(&a, 300));
    assert_null(arena_dup(&a, slice_of(&a, 250)).data);
    assert_non_null(arena_alloc(&a, 100));
    assert_true(a.used <= 1000);
    arena_clear(&a);
    assert_int_equal(a.used, 0);
    assert_non_null(arena_alloc(&a, 900));
    arena_close(&a);
    /* Empty allocations count too, or a limit would not end them. */
    arena_init(&a, 160);
    int count = 0;
    while (arena_alloc(&a, 0) != NULL) {
        count++;
    }
    assert_int_equal(count, 10);
    arena_close(&a);
}

static void arena_dup_copies(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 0);
    char text[] = "kept";
    struct slice copy = arena_dup(&a, slice_of(text, 4));
    text[0] = 'x';
    assert_memory_equal(copy.data, "kept", 4);
    struct slice empty = arena_dup(&a, slice_of(NULL, 0));
    assert_non_null(empty.data);
    assert_int_equal(empty.len, 0);
    arena_close(&a);
}

/* A reused arena allocates nothing for the same small work. */
static void arena_clear_keeps_a_block(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 0);
    assert_non_null(arena_alloc(&a, 500));
    assert_non_null(arena_alloc(&a, 1000000));
    for (int round = 0; round < 3; round++) {
        arena_clear(&a);
        assert_non_null(a.blocks);
        mem_fail_after(1);
        assert_non_null(arena_alloc(&a, 500));
        assert_null(arena_alloc(&a, 1000000)); /* the armed failure: none happened before */
        assert_non_null(arena_alloc(&a, 400));
    }
    mem_fail_after(0);
    arena_close(&a);
}

/* Whichever allocation fails, the arena answers NULL once and goes on. */
static void arena_survives_each_failure(void **state)
{
    (void)state;
    uint64_t fails = 0;
    for (uint64_t n = 1;; n++) {
        struct arena a;
        arena_init(&a, 0);
        mem_fail_after(n);
        int missing = 0;
        for (size_t i = 0; i < 200; i++) {
            size_t used = a.used;
            uint8_t *p = arena_alloc(&a, i * 50);
            if (p == NULL) {
                missing++;
                assert_int_equal(a.used, used);
                p = arena_alloc(&a, i * 50);
                assert_non_null(p);
            }
            memset(p, 1, i * 50);
        }
        mem_fail_after(0);
        arena_close(&a);
        assert_true(missing <= 1);
        if (missing == 0) {
            break;
        }
        fails++;
    }
    assert_true(fails > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fail_after_counts_every_entry_point),
        cmocka_unit_test(failed_realloc_keeps_the_old_block),
        cmocka_unit_test(zalloc_zeroes),
        cmocka_unit_test(arena_hands_out_aligned_distinct_memory),
        cmocka_unit_test(arena_zalloc_zeroes_reused_memory),
        cmocka_unit_test(arena_limit_holds),
        cmocka_unit_test(arena_dup_copies),
        cmocka_unit_test(arena_clear_keeps_a_block),
        cmocka_unit_test(arena_survives_each_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
