/* test_log - the log on a healthy and on a full disk: order, grouping, segments, cutting,
 * reopening. */
#include "raft/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/rand.h"
#include "raft/segment.h"
#include "tests/lib/logtest.h"

enum { SEGMENT = 16 * 1024 };

static void reopen(struct logtest *t)
{
    logtest_shut(t);
    if (logtest_open(t) != 0) {
        fail_msg("reopen: %s", t->e.text);
    }
    assert_true(logtest_check(t));
}

static size_t segment_files(struct disk *d)
{
    size_t n = 0;
    uint64_t generation;
    for (size_t i = 0; sim_disk_name(d, i) != NULL; i++) {
        n += segment_name_parse(sim_disk_name(d, i), &generation);
    }
    return n;
}

/* A fresh log is empty, makes three small segments and nothing else. */
static void fresh_log_is_empty_and_small(void **state)
{
    (void)state;
    struct logtest t;
    logtest_init(&t, &(struct sim_disk_options){.seed = 1}, 0);
    assert_int_equal(t.first_index, 1);
    assert_int_equal(log_first_index(t.log), 1);
    assert_int_equal(log_last_index(t.log), 0);
    assert_false(log_pending(t.log));
    assert_true(logtest_settle(&t));
    assert_int_equal(segment_files(t.disk), 3);
    assert_int_equal(log_bytes(t.log), 3 * LOG_SEGMENT_BYTES_DEFAULT);
    uint64_t written = sim_disk_written(t.disk);
    logtest_run(&t, 3600 * 1000);
    assert_int_equal(sim_disk_written(t.disk), written); /* an idle log leaves the disk alone */
    reopen(&t);
    assert_int_equal(log_last_index(t.log), 0);
    logtest_close(&t);
}

/* What was appended is there after a reopen, with bytes, terms and types; on both sector sizes. */
static void appended_entries_come_back(void **state)
{
    (void)state;
    for (uint32_t sector = 512; sector <= 4096; sector *= 8) {
        struct logtest t;
        logtest_init(&t, &(struct sim_disk_options){.seed = 2, .sector_bytes = sector}, SEGMENT);
        for (size_t i = 0; i < 50; i++) {
            logtest_append(&t, 1 + i / 10, 1 + i % 3, 8 + i * 31);
            if (i % 4 == 0) {
                assert_true(logtest_settle(&t));
            }
        }
        assert_true(logtest_settle(&t));
        assert_int_equal(t.waiting, 0);
        uint64_t last = log_last_index(t.log);
        reopen(&t);
        assert_int_equal(log_last_index(t.log), last);
        assert_int_equal(log_first_index(t.log), 1);
        reopen(&t); /* reading changes nothing */
        logtest_close(&t);
    }
}

/* While one write is under way everything else is gathered into the next. */
static void queued_appends_share_a_write(void **state)
{
    (void)state;
    struct logtest t;
    logtest_init(&t, &(struct sim_disk_options){.seed = 3}, 0);
    assert_true(logtest_settle(&t));
    uint64_t ops = sim_disk_ops(t.disk);
    for (int i = 0; i < 1000; i++) {
        logtest_append(&t, 1, 1, 300);
    }
    assert_int_equal(sim_disk_ops(t.disk), ops + 1);
    assert_true(logtest_settle(&t));
    assert_int_equal(sim_disk_ops(t.disk), ops + 2);
    reopen(&t);
    logtest_close(&t);
}

/* An entry larger than a segment spans several, and comes back whole. */
static void large_entries_span_segments(void **state)
{
    (void)state;
    struct logtest t;
    logtest_init(&t, &(struct sim_disk_options){.seed = 4}, SEGMENT);
    logtest_append(&t, 1, 1, 100);
    logtest_append(&t, 1, 1, 5 * SEGMENT + 77);
    logtest_append(&t, 2, 3, 100);
    logtest_append(&t, 2, 2, SEGMENT);
    assert_true(logtest_settle(&t));
    reopen(&t);
    assert_int_equal(log_last_index(t.log), 7);
    logtest_close(&t);
    /* And with the default sizes, through the largest write. */
    logtest_init(&t, &(struct sim_disk_options){.seed = 4, .sector_bytes = 4096}, 0);
    logtest_append(&t, 1, 1, LOG_SEGMENT_BYTES_DEFAULT);
    logtest_append(&t, 1, 3, 700 * 1000);
    logtest_append(&t, 1, 1, 9 * 1000 * 1000);
    assert_true(logtest_settle(&t));
    reopen(&t);
    assert_int_equal(log_last_index(t.log), 5);
    logtest_close(&t);
}

/* Truncations take effect in order with appends, also across segments and below the first index. */
static void truncation_is_ordered(void **state)
{
    (void)state;
    struct logtest t;
    logtest_init(&t, &(struct sim_disk_options){.seed = 5}, SEGMENT);
    logtest_append(&t, 1, 10, 1000);
    logtest_truncate(&t, 6);
    assert_int_equal(log_last_index(t.log), 5);
    assert_true(log_pending(t.log));
    logtest_append(&t, 2, 60, 1000);
    assert_true(logtest_settle(&t));
    logtest_truncate(&t, 3);
    assert_true(logtest_settle(&t)); /* a lone truncation is written too */
    reopen(&t);
    assert_int_equal(log_last_index(t.log), 2);
    logtest_append(&t, 3, 5, 100);
    logtest_truncate(&t, 1);
    logtest_append(&t, 4, 2, 100);
    assert_true(logtest_settle(&t));
    reopen(&t);
    assert_int_equal(log_last_index(t.log), 2);
    /* Nothing to remove, nothing written. */
    uint64_t ops = sim_disk_ops(t.disk);
    log_truncate(t.log, 3);
    assert_int_equal(sim_disk_ops(t.disk), ops);
    logtest_close(&t);
}

/* log_cut removes whole segments, oldest first, never one with a later entry. */
static void cutting_removes_whole_segments(void **state)
{
    (void)state;
    struct logtest t;
    logtest_init(&t, &(struct sim_disk_options){.seed = 6}, SEGMENT);
    logtest_append(&t, 1, 100, 1000);
    assert_true(logtest_settle(&t));
    size_t files = segment_files(t.disk);
    assert_true(files > 7);
    logtest_cut(&t, 50);
    assert_true(logtest_settle(&t));
    uint64_t first = log_first_index(t.log);
    assert_in_range(first, 35, 51);
    assert_true(segment_files(t.disk) < files);
    t.options.applied_index = 50;
    t.options.applied_term = 1;
    reopen(&t);
    assert_int_equal(log_first_index(t.log), first);
    logtest_cut(&t, 100);
    assert_true(logtest_settle(&t));
    assert_int_equal(segment_files(t.disk), 3); /* active, next, reserve */
    /* Cutting what was truncated and rewritten in a later segment keeps the rewritten part. */
    t.options.applied_index = 100;
    reopen(&t);
    logtest_append(&t, 1, 40, 1000);
    logtest_truncate(&t, 110);
    logtest_append(&t, 2, 40, 1000);
    assert_true(logtest_settle(&t));
    logtest_cut(&t, 120);
    assert_true(logtest_settle(&t));
    t.options.applied_index = 120;
    t.options.applied_term = 2;
    reopen(&t);
    assert_int_equal(log_last_index(t.log), 149);
    logtest_close(&t);
}

/* A reset drops everything, also what is queued before it. */
static void reset_starts_over(void **state)
{
    (void)state;
    struct logtest t;
    logtest_init(&t, &(struct sim_disk_options){.seed = 7}, SEGMENT);
    logtest_append(&t, 1, 50, 1000);
    logtest_reset(&t, 1000, 5);
    assert_int_equal(log_first_index(t.log), 1001);
    assert_int_equal(log_last_index(t.log), 1000);
    logtest_append(&t, 5, 2, 100);
    assert_true(logtest_settle(&t));
    assert_int_equal(segment_files(t.disk), 3);
    t.options.applied_index = 1000;
    t.options.applied_term = 5;
    reopen(&t);
    assert_int_equal(log_first_index(t.log), 1001);
    assert_int_equal(log_last_index(t.log), 1002);
    logtest_close(&t);
}

/* A store ahead of the log's end, or in contradiction to it, restarts the log behind itself. */
static void store_ahead_restarts_the_log(void **state)
{
    (void)state;
    struct logtest t;
    logtest_init(&t, &(struct sim_disk_options){.seed = 8}, SEGMENT);
    logtest_append(&t, 3, 20, 1000);
    assert_true(logtest_settle(&t));
    logtest_shut(&t);
    for (int contradicts = 0; contradicts < 2; contradicts++) {
        struct disk *before = t.disk;
        t.disk = sim_disk_copy(before, 9);
        t.options.applied_index = contradicts ? 15 : 21;
        t.options.applied_term = contradicts ? 4 : 3;
        assert_int_equal(logtest_open(&t), 0);
        assert_int_equal(t.found.n, 0);
        assert_int_equal(t.first_index, t.options.applied_index + 1);
        assert_int_equal(log_last_index(t.log), t.options.applied_index);
        assert_true(log_pending(t.log));
        /* Power lost before the reset was durable: the same decision again. */
        sim_disk_crash(t.disk);
        logtest_shut(&t);
        assert_int_equal(logtest_open(&t), 0);
        assert_int_equal(t.first_index, t.options.applied_index + 1);
        assert_true(logtest_settle(&t));
        logtest_shut(&t);
        assert_int_equal(logtest_open(&t), 0);
        assert_false(log_pending(t.log));
        assert_int_equal(t.first_index, t.options.applied_index + 1);
        logtest_shut(&t);
        sim_disk_free(t.disk);
        t.disk = before;
    }
    /* At the log's end exactly, and inside with the right term, nothing is dropped. */
    t.options.applied_index = 20;
    t.options.applied_term = 3;
    assert_int_equal(logtest_open(&t), 0);
    assert_int_equal(t.found.n, 20);
    logtest_close(&t);
}

/* A data directory made from a snapshot: no log yet, the store has an index. */
static void fresh_log_begins_behind_the_store(void **state)
{
    (void)state;
    struct logtest t;
    memset(&t, 0, sizeof t);
    t.disk = sim_disk_new(&(struct sim_disk_options){.seed = 10});
    t.options.applied_index = 77;
    t.options.applied_term = 2;
    assert_int_equal(logtest_open(&t), 0);
    assert_int_equal(t.first_index, 78);
    assert_false(log_pending(t.log));
    logtest_close(&t);
}

/* ---- full disk ------------------------------------------------------------------------------- */

static int full_events[16];
static size_t full_count;

static void on_full(void *data, bool is_full)
{
    (void)data;
    assert_true(full_count < 16);
    full_events[full_count++] = is_full;
}

/* The first refusal is told while the reserve still takes appends; then they wait; room, made by
 * cutting or by others, lets them go on. */
static void full_disk_is_told_early_and_waited_for(void **state)
{
    (void)state;
    for (int by_cut = 0; by_cut < 2; by_cut++) {
        struct logtest t;
        full_count = 0;
        logtest_init(&t, &(struct sim_disk_options){.seed = 11}, SEGMENT);
        t.options.full = on_full;
        assert_true(logtest_settle(&t));
        reopen(&t);
        assert_true(logtest_settle(&t));
        sim_disk_set_room(t.disk, sim_disk_used(t.disk));
        size_t accepted = 0;
        size_t accepted_when_told = 0;
        for (int i = 0; i < 100; i++) {
            logtest_append(&t, 1, 1, 1000);
            logtest_run(&t, 20);
            accepted += t.waiting == 0;
            accepted_when_told += t.waiting == 0 && full_count == 0;
        }
        assert_int_equal(full_count, 1);
        assert_true(full_events[0]);
        assert_true(log_full(t.log));
        assert_in_range(accepted_when_told, 5, 16);
        assert_in_range(accepted - accepted_when_told, 20, 32); /* two segments' worth */
        assert_true(t.waiting > 0);
        if (!by_cut) {
            sim_disk_set_room(t.disk, 0);
        }
        for (int i = 0; by_cut && i < 100; i++) {
            logtest_cut(&t, t.acked);
            logtest_run(&t, 20);
        }
        assert_true(logtest_settle(&t));
        assert_int_equal(t.waiting, 0);
        assert_false(log_full(t.log));
        assert_false(full_events[full_count - 1]);
        t.options.applied_index = t.acked;
        t.options.applied_term = 1;
        reopen(&t);
        assert_int_equal(log_last_index(t.log), 100);
        logtest_close(&t);
    }
}

/* A file system that refuses even overwrites (copy-on-write): the same write is repeated. */
static void refused_writes_are_repeated(void **state)
{
    (void)state;
    struct logtest t;
    full_count = 0;
    logtest_init(&t, &(struct sim_disk_options){.seed = 12}, SEGMENT);
    t.options.full = on_full;
    assert_true(logtest_settle(&t));
    reopen(&t);
    sim_disk_set_full_writes(t.disk, true);
    logtest_append(&t, 1, 20, 1000);
    logtest_append(&t, 1, 20, 1000);
    logtest_run(&t, 3000);
    assert_int_equal(t.waiting, 2);
    assert_true(log_full(t.log));
    assert_int_equal(full_count, 1);
    /* The process may end here, and find nothing bad later. */
    struct disk *copy = sim_disk_copy(t.disk, 13);
    struct logtest u;
    memset(&u, 0, sizeof u);
    u.disk = copy;
    u.options.segment_bytes = SEGMENT;
    sim_disk_set_full_writes(t.disk, false);
    assert_true(logtest_settle(&t));
    assert_int_equal(full_count, 2);
    assert_false(full_events[1]);
    reopen(&t);
    assert_int_equal(log_last_index(t.log), 40);
    logtest_close(&t);
    assert_int_equal(logtest_open(&u), 0);
    logtest_close(&u);
}

/* ---- failures -------------------------------------------------------------------------------- */

static int fatals;

static void on_fatal(void *data, const char *why)
{
    (void)data;
    assert_non_null(strstr(why, "error"));
    fatals++;
}

/* An input/output error at any write or creation ends the log: told once, no acknowledgement after
 * it, and all acknowledged entries are there when the disk is read again. */
static void io_error_is_fatal_and_loses_nothing(void **state)
{
    (void)state;
    int ended = 0;
    for (uint64_t n = 1; n < 60; n++) {
        struct logtest t;
        fatals = 0;
        logtest_init(&t, &(struct sim_disk_options){.seed = n}, SEGMENT);
        t.options.fatal = on_fatal;
        assert_true(logtest_settle(&t));
        reopen(&t);
        assert_true(logtest_settle(&t));
        sim_disk_fail_at(t.disk, n);
        for (int i = 0; i < 40; i++) {
            logtest_append(&t, 1, 1 + (size_t)i % 3, 700);
            logtest_run(&t, 3);
            logtest_cut(&t, t.acked);
        }
        logtest_run(&t, 5000);
        assert_true(fatals <= 1);
        assert_true(fatals == 1 || t.waiting == 0);
        ended += fatals;
        sim_disk_crash(t.disk);
        t.options.applied_index = t.cut;
        t.options.applied_term = 1;
        reopen(&t);
        logtest_close(&t);
    }
    assert_in_range(ended, 30, 58); /* all but failed removals, which are only tried again */
}

/* Allocation number N fails in log_open: an error, no leak, and the next try works. */
static void open_survives_lack_of_memory(void **state)
{
    (void)state;
    for (int fresh = 0; fresh < 2; fresh++) {
        struct logtest t;
        logtest_init(&t, &(struct sim_disk_options){.seed = 14}, SEGMENT);
        logtest_append(&t, 1, 30, 1000);
        logtest_append(&t, 1, 1, 3 * SEGMENT);
        logtest_truncate(&t, 20);
        logtest_append(&t, 1, 3, 1000);
        assert_true(logtest_settle(&t));
        logtest_shut(&t);
        uint64_t n = 0;
        int err;
        do {
            struct disk *d = sim_disk_copy(t.disk, 15);
            for (size_t i = 0; fresh && sim_disk_name(d, 0) != NULL; i++) {
                sim_disk_delete(d, sim_disk_name(d, 0));
            }
            struct logtest u;
            memset(&u, 0, sizeof u);
            u.disk = d;
            u.options.segment_bytes = SEGMENT;
            mem_fail_after(++n);
            err = logtest_open(&u);
            mem_fail_after(0);
            assert_true(err == 0 || err == ERR_NOMEM);
            assert_true(err == 0 || u.log == NULL);
            assert_true(err == 0 || sim_disk_handles(d) == 0);
            logtest_close(&u);
        } while (err != 0);
        assert_true(n > 3);
        logtest_close(&t);
    }
}

/* Allocation number N fails while it runs: smaller writes and later segments, nothing is lost. Only
 * the queue itself cannot do without memory; it is made here before. */
static void appending_survives_lack_of_memory(void **state)
{
    (void)state;
    for (uint64_t n = 1; n < 20; n++) {
        struct logtest t;
        logtest_init(&t, &(struct sim_disk_options){.seed = n}, 0);
        assert_true(logtest_settle(&t));
        mem_fail_after(n);
        logtest_append(&t, 1, 1, 100);
        logtest_append(&t, 1, 40, 10000);
        logtest_append(&t, 1, 2, 3 * LOG_SEGMENT_BYTES_DEFAULT);
        assert_true(logtest_settle(&t));
        logtest_run(&t, 200);
        mem_fail_after(0);
        assert_true(logtest_settle(&t));
        reopen(&t);
        assert_int_equal(log_last_index(t.log), 43);
        logtest_close(&t);
    }
}

/* ---- the rest -------------------------------------------------------------------------------- */

static void on_drained(void *data)
{
    ++*(int *)data;
}

static void drain_waits_for_everything(void **state)
{
    (void)state;
    struct logtest t;
    int drained = 0;
    logtest_init(&t, &(struct sim_disk_options){.seed = 16}, SEGMENT);
    log_drain(t.log, on_drained, &drained);
    assert_int_equal(drained, 1);
    logtest_append(&t, 1, 100, 1000);
    logtest_truncate(&t, 50);
    log_drain(t.log, on_drained, &drained);
    assert_int_equal(drained, 1);
    assert_true(logtest_settle(&t));
    assert_int_equal(drained, 2);
    assert_int_equal(t.waiting, 0);
    logtest_close(&t);
}

/* A log closed with segments being prepared leaves the disk usable. */
static void closing_forgets_background_work(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 30; seed++) {
        struct logtest t;
        logtest_init(&t, &(struct sim_disk_options){.seed = seed}, SEGMENT);
        logtest_run(&t, seed % 5);
        reopen(&t);
        logtest_append(&t, 1, 40, 1000);
        logtest_run(&t, seed % 12);
        reopen(&t); /* with the write in flight, too */
        assert_true(logtest_settle(&t));
        logtest_close(&t);
    }
}

/* The directory moves to a disk with larger sectors, and back. */
static void larger_sectors_begin_a_new_segment(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct logtest t;
        logtest_init(&t, &(struct sim_disk_options){.seed = seed}, seed % 2 ? SEGMENT : 4096);
        for (uint32_t sector = 4096; sector >= 512; sector /= 2) {
            logtest_append(&t, 1, 3 + seed, 150);
            logtest_append(&t, 1, 1, 700);
            if (seed % 3 != 0) {
                assert_true(logtest_settle(&t));
            }
            logtest_run(&t, seed);
            sim_disk_crash(t.disk);
            logtest_shut(&t);
            struct disk *moved =
                sim_disk_new(&(struct sim_disk_options){.seed = seed, .sector_bytes = sector});
            for (size_t i = 0, len; sim_disk_name(t.disk, i) != NULL; i++) {
                const char *name = sim_disk_name(t.disk, i);
                const uint8_t *bytes = sim_disk_file(t.disk, name, &len);
                sim_disk_put(moved, name, bytes, len);
            }
            sim_disk_free(t.disk);
            t.disk = moved;
            t.options.segment_bytes = SEGMENT;
            if (logtest_open(&t) != 0) {
                fail_msg("%s", t.e.text);
            }
            assert_true(logtest_check(&t));
        }
        logtest_append(&t, 1, 30, 150);
        assert_true(logtest_settle(&t));
        reopen(&t);
        logtest_close(&t);
    }
}

/* Many random operations on a disk with slow spells against the model, reopened now and then. */
static void random_use_matches_the_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct logtest t;
        struct rand r;
        rand_init(&r, seed);
        logtest_init(&t,
                     &(struct sim_disk_options){.seed = seed,
                                                .sector_bytes = seed % 2 ? 512 : 4096,
                                                .slow_chance = 0.02,
                                                .slow_ms_max = 300},
                     SEGMENT * (1 + seed % 3));
        uint64_t term = 1;
        for (int i = 0; i < 300; i++) {
            uint64_t next = logtest_next(&t);
            uint64_t dice = rand_below(&r, 100);
            if (dice < 70) {
                logtest_append(&t, term, 1 + rand_below(&r, 5), rand_below(&r, 3000));
            } else if (dice < 75) {
                logtest_append(&t, term, 1, rand_below(&r, 60000));
            } else if (dice < 80 && next > t.cut + 1) {
                logtest_truncate(&t, t.cut + 1 + rand_below(&r, next - t.cut - 1));
                term++;
            } else if (dice < 85 && t.waiting == 0 && next > 1) {
                logtest_cut(&t, next - 1);
            } else if (dice < 86 && t.waiting == 0) {
                t.cut = next + rand_below(&r, 50);
                logtest_reset(&t, t.cut, term);
                assert_true(logtest_settle(&t));
            } else {
                logtest_run(&t, rand_below(&r, 30));
            }
            if (rand_chance(&r, 0.01)) {
                assert_true(logtest_settle(&t));
                t.options.applied_index = t.cut;
                logtest_shut(&t);
                if (logtest_open(&t) != 0) {
                    fail_msg("seed %llu: %s", (unsigned long long)seed, t.e.text);
                }
                assert_true(logtest_check(&t));
            }
        }
        assert_true(logtest_settle(&t));
        logtest_close(&t);
    }
}

int main(void)
{
    log_set_level(LOG_FATAL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fresh_log_is_empty_and_small),
        cmocka_unit_test(appended_entries_come_back),
        cmocka_unit_test(queued_appends_share_a_write),
        cmocka_unit_test(large_entries_span_segments),
        cmocka_unit_test(truncation_is_ordered),
        cmocka_unit_test(cutting_removes_whole_segments),
        cmocka_unit_test(reset_starts_over),
        cmocka_unit_test(store_ahead_restarts_the_log),
        cmocka_unit_test(fresh_log_begins_behind_the_store),
        cmocka_unit_test(full_disk_is_told_early_and_waited_for),
        cmocka_unit_test(refused_writes_are_repeated),
        cmocka_unit_test(io_error_is_fatal_and_loses_nothing),
        cmocka_unit_test(open_survives_lack_of_memory),
        cmocka_unit_test(appending_survives_lack_of_memory),
        cmocka_unit_test(drain_waits_for_everything),
        cmocka_unit_test(closing_forgets_background_work),
        cmocka_unit_test(larger_sectors_begin_a_new_segment),
        cmocka_unit_test(random_use_matches_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
