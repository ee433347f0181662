/* test_rand - the generator's published sequence, fairness of the helpers, the clocks' units. */
#include "base/rand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "base/clock.h"

/* First outputs of xoshiro256** from the state 1, 2, 3, 4 (computed by hand from its definition).
 */
static void sequence_is_xoshiros(void **state)
{
    (void)state;
    struct rand r = {.state = {1, 2, 3, 4}};
    assert_int_equal(rand_u64(&r), 11520);
    assert_int_equal(rand_u64(&r), 0);
    assert_int_equal(rand_u64(&r), 1509978240);
    assert_int_equal(rand_u64(&r), 1215971899390074240);
}

static void seeds_repeat_and_differ(void **state)
{
    (void)state;
    struct rand a, b, c;
    rand_init(&a, 42);
    rand_init(&b, 42);
    rand_init(&c, 43);
    int same = 0;
    for (int i = 0; i < 100; i++) {
        uint64_t x = rand_u64(&a);
        assert_int_equal(x, rand_u64(&b));
        same += x == rand_u64(&c);
    }
    assert_int_equal(same, 0);
    rand_init(&a, 0); /* zero is a seed like any other: the state must not be all zero */
    assert_int_not_equal(a.state[0] | a.state[1] | a.state[2] | a.state[3], 0);
}

static void below_is_in_range_and_even(void **state)
{
    (void)state;
    struct rand r;
    rand_init(&r, 5);
    int seen[10] = {0};
    for (int i = 0; i < 100000; i++) {
        uint64_t x = rand_below(&r, 10);
        assert_true(x < 10);
        seen[x]++;
    }
    for (int i = 0; i < 10; i++) {
        assert_in_range(seen[i], 9500, 10500);
    }
    assert_int_equal(rand_below(&r, 1), 0);
    /* A bound above half the range: a plain modulo would favour small results two to one. */
    uint64_t bound = 0xc000000000000000u;
    int low = 0;
    for (int i = 0; i < 30000; i++) {
        uint64_t x = rand_below(&r, bound);
        assert_true(x < bound);
        low += x < bound / 3;
    }
    assert_in_range(low, 9500, 10500);
}

static void chance_keeps_its_word(void **state)
{
    (void)state;
    struct rand r;
    rand_init(&r, 6);
    int hits = 0;
    for (int i = 0; i < 100000; i++) {
        assert_false(rand_chance(&r, 0));
        assert_true(rand_chance(&r, 1));
        hits += rand_chance(&r, 0.25);
    }
    assert_in_range(hits, 24000, 26000);
}

static void system_randomness_fills_everything(void **state)
{
    (void)state;
    uint8_t a[1000] = {0};
    uint8_t zero[8] = {0};
    rand_system(a, sizeof a);
    for (size_t i = 0; i + 8 <= sizeof a; i += 8) {
        assert_memory_not_equal(a + i, zero, 8); /* fails once in 10^17 runs */
    }
    rand_system(a, 0);
}

static void clocks_have_their_units(void **state)
{
    (void)state;
    uint64_t before = clock_mono_ns();
    uint64_t ms = clock_mono_ms();
    uint64_t after = clock_mono_ns();
    assert_true(before <= after);
    assert_in_range(ms, before / 1000000, after / 1000000);
    uint64_t from = (uint64_t)time(NULL);
    uint64_t us = clock_wall_us();
    assert_in_range(us / 1000000, from > 0 ? from - 1 : 0, from + 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sequence_is_xoshiros),
        cmocka_unit_test(seeds_repeat_and_differ),
        cmocka_unit_test(below_is_in_range_and_even),
        cmocka_unit_test(chance_keeps_its_word),
        cmocka_unit_test(system_randomness_fills_everything),
        cmocka_unit_test(clocks_have_their_units),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
