/* test_auto_compact.c - when automatic compaction strikes, and how far (C-07). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "kvd/auto_compact.h"

#define MINUTE_MS 60000u
#define HOUR_MS   3600000u

/* Off means no tick at all. */
static void zero_is_off(void **state)
{
    (void)state;
    struct auto_compact a;
    assert_true(auto_compact_set(&a, KVD_COMPACTION_PERIODIC, 0, 0));
    assert_int_equal(a.tick_ms, 0);
    auto_compact_restart(&a, 0, 1);
    assert_int_equal(auto_compact_tick(&a, HOUR_MS, 100), 0);
    auto_compact_free(&a);
    assert_true(auto_compact_set(&a, KVD_COMPACTION_REVISION, 0, 0));
    assert_int_equal(a.tick_ms, 0);
    auto_compact_free(&a);
}

/* A store that gains ten revisions a minute for `minutes`, sampled as the node would. Each
 * compaction's time and revision is checked by `check`. Returns how many there were. */
static int live(struct auto_compact *a, uint64_t minutes,
                void (*check)(int n, uint64_t now_ms, int64_t revision))
{
    int n = 0;
    auto_compact_restart(a, 0, 1);
    for (uint64_t now = a->tick_ms; now <= minutes * MINUTE_MS; now += a->tick_ms) {
        int64_t revision = auto_compact_tick(a, now, 1 + (int64_t)(now / MINUTE_MS * 10));
        if (revision > 0) {
            check(n++, now, revision);
            auto_compact_done(a, now, revision);
        }
    }
    return n;
}

/* Five hours of history: nothing for five hours, then every hour to what was five hours before. */
static void check_five_hours(int n, uint64_t now_ms, int64_t revision)
{
    assert_int_equal(now_ms, (uint64_t)(5 + n) * HOUR_MS);
    assert_int_equal(revision, 1 + n * 600);
}

static void long_periods_strike_hourly(void **state)
{
    (void)state;
    struct auto_compact a;
    assert_true(auto_compact_set(&a, KVD_COMPACTION_PERIODIC, 5 * HOUR_MS, 0));
    assert_int_equal(a.tick_ms, 6 * MINUTE_MS);
    assert_int_equal(live(&a, 9 * 60, check_five_hours), 5);
    auto_compact_free(&a);
}

/* Ten minutes of history: every ten minutes. */
static void check_ten_minutes(int n, uint64_t now_ms, int64_t revision)
{
    assert_int_equal(now_ms, (uint64_t)(10 + n * 10) * MINUTE_MS);
    assert_int_equal(revision, 1 + n * 100);
}

static void short_periods_strike_once_each(void **state)
{
    (void)state;
    struct auto_compact a;
    assert_true(auto_compact_set(&a, KVD_COMPACTION_PERIODIC, 10 * MINUTE_MS, 0));
    assert_int_equal(a.tick_ms, MINUTE_MS);
    assert_int_equal(live(&a, 50, check_ten_minutes), 5);
    auto_compact_free(&a);
}

/* What failed is tried again a tenth of an interval later; a quiet store is left alone. */
static void failures_are_repeated(void **state)
{
    (void)state;
    struct auto_compact a;
    assert_true(auto_compact_set(&a, KVD_COMPACTION_PERIODIC, 10 * MINUTE_MS, 0));
    auto_compact_restart(&a, 0, 7);
    for (uint64_t minute = 1; minute < 10; minute++) {
        assert_int_equal(auto_compact_tick(&a, minute * MINUTE_MS, 7), 0);
    }
    assert_int_equal(auto_compact_tick(&a, 10 * MINUTE_MS, 7), 7); /* fails */
    assert_int_equal(auto_compact_tick(&a, 11 * MINUTE_MS, 7), 7);
    auto_compact_done(&a, 11 * MINUTE_MS, 7);
    for (uint64_t minute = 12; minute < 100; minute++) {
        assert_int_equal(auto_compact_tick(&a, minute * MINUTE_MS, 7), 0);
    }
    /* A new leader counts from its election on. */
    auto_compact_restart(&a, 100 * MINUTE_MS, 9);
    assert_int_equal(auto_compact_tick(&a, 101 * MINUTE_MS, 9), 0);
    auto_compact_free(&a);
}

static void revisions_are_counted(void **state)
{
    (void)state;
    struct auto_compact a;
    assert_true(auto_compact_set(&a, KVD_COMPACTION_REVISION, 0, 100));
    assert_int_equal(a.tick_ms, 5 * MINUTE_MS);
    auto_compact_restart(&a, 0, 1);
    assert_int_equal(auto_compact_tick(&a, 1, 100), 0);
    assert_int_equal(auto_compact_tick(&a, 2, 250), 150);
    auto_compact_done(&a, 2, 150);
    assert_int_equal(auto_compact_tick(&a, 3, 250), 0); /* nothing new */
    assert_int_equal(auto_compact_tick(&a, 4, 251), 151);
    auto_compact_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zero_is_off),
        cmocka_unit_test(long_periods_strike_hourly),
        cmocka_unit_test(short_periods_strike_once_each),
        cmocka_unit_test(failures_are_repeated),
        cmocka_unit_test(revisions_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
