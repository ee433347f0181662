/* test_log_powercut - power cuts, kills and disk errors at random moments of random use, also
 * inside recovery: the log always opens, with every acknowledged entry, in order, without gaps. */
#include "raft/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/log.h"
#include "base/rand.h"
#include "tests/lib/logtest.h"

/* KVD_SEEDS=first:count runs others, e.g. the long form of make check-all. */
enum { SEEDS_DEFAULT = 1500, CUTS_PER_SEED = 4 };

struct tally {
    uint64_t cuts;
    uint64_t kills;
    uint64_t errors;
    uint64_t recovery_cuts;
    uint64_t acknowledged;
    uint64_t full;
};

static struct tally tally;

static void on_fatal(void *data, const char *why)
{
    (void)data;
    (void)why;
    tally.errors++;
}

static void on_full(void *data, bool is_full)
{
    (void)data;
    tally.full += is_full;
}

/* One random operation. False when the log is dead. */
static void act(struct logtest *t, struct rand *r, uint64_t *term)
{
    uint64_t next = logtest_next(t);
    uint64_t safe = logtest_safe(t);
    uint64_t dice = rand_below(r, 100);
    if (dice < 45) {
        logtest_append(t, *term, 1 + rand_below(r, 6), rand_below(r, 900));
    } else if (dice < 50) {
        logtest_append(t, *term, 1, rand_below(r, 30000));
    } else if (dice < 57 && next > t->cut + 1) {
        logtest_truncate(t, t->cut + 1 + rand_below(r, next - t->cut - 1));
        ++*term;
    } else if (dice < 65 && safe > t->cut) {
        /* The checkpoint is durable before the log is cut to it. */
        uint64_t at = t->cut + 1 + rand_below(r, safe - t->cut);
        t->options.applied_index = at;
        logtest_cut(t, at);
    } else if (dice < 67) {
        uint64_t at = next + rand_below(r, 20);
        t->options.applied_index = at;
        t->cut = at;
        logtest_reset(t, at, *term);
    } else if (dice < 70) {
        uint64_t used = sim_disk_used(t->disk);
        bool full = rand_chance(r, 0.5);
        sim_disk_set_room(t->disk, full ? used + rand_below(r, 20000) : 0);
        sim_disk_set_full_writes(t->disk, full && rand_chance(r, 0.2));
    } else {
        logtest_run(t, rand_below(r, 12));
    }
}

/* Opens after a crash, with more power cuts on the way when it has something to repair. */
static void recover(struct logtest *t, struct rand *r, uint64_t seed)
{
    for (int attempt = 0;; attempt++) {
        bool cut = attempt < 4 && rand_chance(r, 0.5);
        sim_disk_cut_in_write_now(t->disk, cut ? 1 + rand_below(r, 2) : 0);
        int err = logtest_open(t);
        if (err == 0) {
            break;
        }
        if (!cut || err != ERR_IO) {
            fail_msg("seed %llu: %s", (unsigned long long)seed, t->e.text);
        }
        tally.recovery_cuts++;
        sim_disk_crash(t->disk);
    }
    sim_disk_cut_in_write_now(t->disk, 0);
    if (!logtest_check(t)) {
        fail_msg("seed %llu: wrong content", (unsigned long long)seed);
    }
}

static void run_seed(uint64_t seed)
{
    struct rand r;
    struct logtest t;
    rand_init(&r, seed);
    struct sim_disk_options o = {.seed = seed,
                                 .sector_bytes = 512u << rand_below(&r, 4),
                                 .latency_ms_max = 1 + (uint32_t)rand_below(&r, 10),
                                 .slow_chance = rand_chance(&r, 0.3) ? 0.1 : 0,
                                 .slow_ms_max = 200};
    logtest_init(&t, &o, 4096u << rand_below(&r, 4));
    t.options.fatal = on_fatal;
    t.options.full = on_full;
    logtest_shut(&t);
    recover(&t, &r, seed);
    uint64_t term = 1;
    for (int cut = 0; cut < CUTS_PER_SEED; cut++) {
        uint64_t actions = 1 + rand_below(&r, 60);
        uint64_t errors = tally.errors;
        if (rand_chance(&r, 0.1)) {
            sim_disk_fail_at(t.disk, 1 + rand_below(&r, 40));
        }
        for (uint64_t i = 0; i < actions && tally.errors == errors; i++) {
            act(&t, &r, &term);
        }
        tally.acknowledged += t.acked;
        if (rand_chance(&r, 0.2)) {
            tally.kills++;
            sim_disk_kill(t.disk);
        } else {
            tally.cuts++;
            sim_disk_crash(t.disk);
        }
        logtest_shut(&t);
        recover(&t, &r, seed);
    }
    /* And it still works. */
    sim_disk_set_room(t.disk, 0);
    sim_disk_set_full_writes(t.disk, false);
    logtest_append(&t, term, 5, 100);
    assert_true(logtest_settle(&t));
    logtest_close(&t);
}

static void acknowledged_entries_survive_power_cuts(void **state)
{
    (void)state;
    unsigned long long first = 1;
    unsigned long long count = SEEDS_DEFAULT;
    const char *seeds = getenv("KVD_SEEDS");
    if (seeds != NULL) {
        assert_int_equal(sscanf(seeds, "%llu:%llu", &first, &count), 2);
    }
    for (uint64_t seed = first; seed < first + count; seed++) {
        run_seed(seed);
    }
    printf("%llu power cuts, %llu kills, %llu disk errors, %llu cuts inside recovery, "
           "%llu times full, %llu acknowledged operations\n",
           (unsigned long long)tally.cuts, (unsigned long long)tally.kills,
           (unsigned long long)tally.errors, (unsigned long long)tally.recovery_cuts,
           (unsigned long long)tally.full, (unsigned long long)tally.acknowledged);
    if (seeds == NULL) {
        /* A run in which nothing happened proves nothing. */
        assert_true(tally.cuts > 1000);
        assert_true(tally.recovery_cuts > 100);
        assert_true(tally.full > 100);
        assert_true(tally.errors > 50);
        assert_true(tally.acknowledged > 10000);
    }
}

/* Every way a write of several sectors can be torn, one after the other: the entry is there when
 * all of it is, and else gone without a trace of damage. */
static void every_tear_of_a_record_is_cut(void **state)
{
    (void)state;
    enum { BLOCKS = 7 };
    for (unsigned kept = 0; kept < 1u << BLOCKS; kept++) {
        struct logtest t;
        logtest_init(&t, &(struct sim_disk_options){.seed = kept}, 16384);
        logtest_append(&t, 1, 2, 300);
        assert_true(logtest_settle(&t));
        size_t len = 0;
        uint8_t before[16384];
        uint8_t *file = sim_disk_file(t.disk, "log-0000000000000001", &len);
        assert_int_equal(len, sizeof before);
        memcpy(before, file, len);
        logtest_append(&t, 1, 1, BLOCKS * 500 - 30);
        assert_true(logtest_settle(&t));
        size_t at = 512 * 3; /* header, then a record of two blocks */
        assert_true(before[at] == 0 && file[at] != 0);
        assert_true(file[at + (BLOCKS - 1) * 512u] != 0 && file[at + BLOCKS * 512u] == 0);
        for (unsigned b = 0; b < BLOCKS; b++) {
            if (!(kept & 1u << b)) {
                memset(file + at + b * 512u, 0, 512);
            }
        }
        logtest_shut(&t);
        t.acked = 2;
        assert_int_equal(logtest_open(&t), 0);
        assert_int_equal(t.found.n, kept == (1u << BLOCKS) - 1 ? 3 : 2);
        assert_true(logtest_check(&t));
        /* The place is clean again: a shorter record there is followed by zeros. */
        logtest_append(&t, 2, 1, 20);
        assert_true(logtest_settle(&t));
        logtest_shut(&t);
        assert_int_equal(logtest_open(&t), 0);
        assert_true(logtest_check(&t));
        logtest_close(&t);
    }
}

int main(void)
{
    log_set_level(LOG_FATAL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_tear_of_a_record_is_cut),
        cmocka_unit_test(acknowledged_entries_survive_power_cuts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
