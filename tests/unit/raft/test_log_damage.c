/* test_log_damage - no byte of the log can change, no file be lost or swapped, without being
 * noticed.
 *
 * The rule: after damage log_open refuses, names the file, and changes nothing; or the damage is of
 * no consequence, and every entry is there. What cannot be noticed is listed at the end, as tests
 * too. */
#include "raft/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/rand.h"
#include "raft/record.h"
#include "raft/segment.h"
#include "tests/lib/logtest.h"

/* ---- a small log with everything in it ---------------------------------------------------------
 */

enum { SEGMENT = 4096 };

/* Several segments of tiny records, truncations, a large entry in parts, a reset, and two spares.
 */
static void build(struct logtest *t, uint32_t sector)
{
    logtest_init(t, &(struct sim_disk_options){.seed = 1, .sector_bytes = sector},
                 sector == 512 ? SEGMENT : 4 * sector);
    for (int i = 0; i < 8; i++) {
        logtest_append(t, 1, 1 + (size_t)i % 3, 20 + 37 * (size_t)i);
        assert_true(logtest_settle(t));
    }
    logtest_truncate(t, 9);
    logtest_append(t, 2, 1, 6000);
    assert_true(logtest_settle(t));
    logtest_append(t, 3, 3, 100);
    logtest_append(t, 3, 1, 1200); /* the last record has several blocks */
    assert_true(logtest_settle(t));
    logtest_shut(t);
    assert_int_equal(logtest_open(t), 0);
    assert_true(logtest_check(t));
    assert_true(logtest_settle(t));
    logtest_shut(t);
}

static bool same_files(struct disk *a, struct disk *b)
{
    for (size_t i = 0;; i++) {
        const char *x = sim_disk_name(a, i);
        const char *y = sim_disk_name(b, i);
        if (x == NULL || y == NULL) {
            return x == y;
        }
        size_t m = 0;
        size_t n = 0;
        const uint8_t *p = sim_disk_file(a, x, &m);
        const uint8_t *q = sim_disk_file(b, y, &n);
        if (strcmp(x, y) != 0 || m != n || memcmp(p, q, n) != 0) {
            return false;
        }
    }
}

/* Opens a copy of `disk` and compares with what t knows. Returns log_open's answer, the message is
 * in t->e. *same: opened, and all entries are as they were. */
static int try_open(struct logtest *t, struct disk *disk, bool *same)
{
    struct logtest u = *t;
    u.disk = sim_disk_copy(disk, 2);
    memset(&u.found, 0, sizeof u.found);
    int err = logtest_open(&u);
    *same = err == 0 && u.found.first == t->known.first && u.found.n == t->known.n &&
            memcmp(u.found.entries, t->known.entries, u.found.n * sizeof *u.found.entries) == 0;
    t->e = u.e;
    log_close(u.log);
    if (err != 0 && !same_files(disk, u.disk)) {
        fail_msg("a log that is refused was changed");
    }
    free(u.found.entries);
    sim_disk_free(u.disk);
    return err;
}

static void expect_damage(struct logtest *t, struct disk *disk, const char *names)
{
    bool same;
    int err = try_open(t, disk, &same);
    if (err != ERR_DAMAGED) {
        fail_msg("%s: answer %d instead of damage", names, err);
    }
    if (strstr(t->e.text, names) == NULL) {
        fail_msg("%s is not named in: %s", names, t->e.text);
    }
}

/* ---- changed bytes -----------------------------------------------------------------------------
 */

/* Changes one byte to `value`, opens, puts it back. */
static void check_byte(struct logtest *t, const char *name, size_t at, uint8_t value)
{
    size_t len;
    uint8_t *file = sim_disk_file(t->disk, name, &len);
    uint8_t before = file[at];
    if (before == value) {
        return;
    }
    file[at] = value;
    expect_damage(t, t->disk, name);
    file[at] = before;
}

static void check_file_bytes(struct logtest *t, const char *name, struct rand *r, size_t step)
{
    size_t len;
    uint8_t *file = sim_disk_file(t->disk, name, &len);
    for (size_t at = (size_t)rand_below(r, step); at < len; at += step) {
        uint8_t before = file[at];
        check_byte(t, name, at, before ^ (uint8_t)(1u << rand_below(r, 8)));
        check_byte(t, name, at, (uint8_t)rand_u64(r));
        if (before != 0) {
            check_byte(t, name, at, 0);
        }
    }
}

static void every_changed_byte_is_noticed(void **state)
{
    (void)state;
    struct logtest t;
    struct rand r;
    rand_init(&r, 3);
    build(&t, 512);
    uint64_t generation;
    size_t files = 0;
    for (size_t i = 0; sim_disk_name(t.disk, i) != NULL; i++) {
        if (segment_name_parse(sim_disk_name(t.disk, i), &generation)) {
            check_file_bytes(&t, sim_disk_name(t.disk, i), &r, 1);
            files++;
        }
    }
    assert_in_range(files, 6, 12);
    bool same;
    assert_int_equal(try_open(&t, t.disk, &same), 0);
    assert_true(same);
    logtest_close(&t);
}

/* With larger sectors there is padding behind headers and records: it counts, too. */
static void changed_padding_is_noticed(void **state)
{
    (void)state;
    struct logtest t;
    struct rand r;
    rand_init(&r, 4);
    build(&t, 4096);
    uint64_t generation;
    for (size_t i = 0; sim_disk_name(t.disk, i) != NULL; i++) {
        if (segment_name_parse(sim_disk_name(t.disk, i), &generation)) {
            check_file_bytes(&t, sim_disk_name(t.disk, i), &r, 31);
        }
    }
    logtest_close(&t);
}

/* All eight bits, where they carry lengths: the heads of the header, the records, their items. */
static void every_bit_of_the_heads_is_noticed(void **state)
{
    (void)state;
    struct logtest t;
    build(&t, 512);
    uint64_t generation;
    for (size_t i = 0; sim_disk_name(t.disk, i) != NULL; i++) {
        size_t len;
        const char *name = sim_disk_name(t.disk, i);
        const uint8_t *file = sim_disk_file(t.disk, name, &len);
        if (!segment_name_parse(name, &generation)) {
            continue;
        }
        for (size_t at = 0; at < len; at++) {
            for (unsigned bit = 0; at % 512 < 72 && bit < 8; bit++) {
                check_byte(&t, name, at, file[at] ^ (uint8_t)(1u << bit));
            }
        }
    }
    logtest_close(&t);
}

/* Several bytes at once, as bad cables and firmware do it: runs of noise, of zeros inside a block.
 */
static void runs_of_noise_are_noticed(void **state)
{
    (void)state;
    struct logtest t;
    struct rand r;
    rand_init(&r, 5);
    build(&t, 512);
    for (int i = 0; i < 20000; i++) {
        char name[SEGMENT_NAME_BYTES];
        uint8_t before[64];
        size_t len;
        segment_name(1 + rand_below(&r, 5), name);
        uint8_t *file = sim_disk_file(t.disk, name, &len);
        size_t n = 1 + (size_t)rand_below(&r, sizeof before);
        size_t at = (size_t)rand_below(&r, len - n);
        memcpy(before, file + at, n);
        int how = (int)rand_below(&r, 3);
        for (size_t k = 0; k < n; k++) {
            file[at + k] = how == 0 ? 0 : how == 1 ? 0xff : (uint8_t)rand_u64(&r);
        }
        if (memcmp(before, file + at, n) != 0) {
            expect_damage(&t, t.disk, name);
        }
        memcpy(file + at, before, n);
    }
    logtest_close(&t);
}

/* ---- blocks and files -------------------------------------------------------------------------
 */

/* Two blocks swapped, one written over another, a block of another segment: each is a good block in
 * the wrong place. */
static void misplaced_blocks_are_noticed(void **state)
{
    (void)state;
    struct logtest t;
    struct rand r;
    rand_init(&r, 6);
    build(&t, 512);
    for (int i = 0; i < 5000; i++) {
        char from[SEGMENT_NAME_BYTES];
        char to[SEGMENT_NAME_BYTES];
        uint8_t before[512];
        size_t len;
        segment_name(1 + rand_below(&r, 5), from);
        segment_name(1 + rand_below(&r, 5), to);
        const uint8_t *source = sim_disk_file(t.disk, from, &len) + 512 * rand_below(&r, 8);
        uint8_t *target = sim_disk_file(t.disk, to, &len) + 512 * rand_below(&r, 8);
        if (record_is_zero(source, 512) || source == target) {
            continue;
        }
        memcpy(before, target, 512);
        memcpy(target, source, 512);
        expect_damage(&t, t.disk, to);
        memcpy(target, before, 512);
    }
    logtest_close(&t);
}

/* A zeroed block is damage everywhere but in the last record, where it is what a tear looks like.
 */
static void zeroed_blocks_are_noticed_before_the_last_record(void **state)
{
    (void)state;
    struct logtest t;
    build(&t, 512);
    uint64_t generation;
    size_t tears = 0;
    for (size_t i = 0; sim_disk_name(t.disk, i) != NULL; i++) {
        size_t len;
        const char *name = sim_disk_name(t.disk, i);
        uint8_t *file = sim_disk_file(t.disk, name, &len);
        for (size_t at = 0; segment_name_parse(name, &generation) && at < len; at += 512) {
            uint8_t before[512];
            bool same;
            memcpy(before, file + at, 512);
            if (record_is_zero(before, 512)) {
                continue;
            }
            memset(file + at, 0, 512);
            int err = try_open(&t, t.disk, &same);
            if (err == 0) {
                assert_false(same);
                tears++;
            } else {
                assert_int_equal(err, ERR_DAMAGED);
                assert_non_null(strstr(t.e.text, "log-"));
            }
            memcpy(file + at, before, 512);
        }
    }
    assert_int_equal(tears, 3); /* the last record: 16 + 32 + 1200 bytes */
    logtest_close(&t);
}

/* Every file deleted in turn. Only the spares may go. */
static void lost_files_are_noticed(void **state)
{
    (void)state;
    struct logtest t;
    build(&t, 512);
    size_t harmless = 0;
    for (size_t i = 0; sim_disk_name(t.disk, i) != NULL; i++) {
        char name[64];
        bool same;
        snprintf(name, sizeof name, "%s", sim_disk_name(t.disk, i));
        struct disk *d = sim_disk_copy(t.disk, 7);
        sim_disk_delete(d, name);
        int err = try_open(&t, d, &same);
        assert_true(err == ERR_DAMAGED || (err == 0 && same));
        harmless += err == 0;
        sim_disk_free(d);
    }
    assert_int_equal(harmless, 2);
    /* All segments at once, the term file still there. */
    struct disk *d = sim_disk_copy(t.disk, 8);
    while (strcmp(sim_disk_name(d, 0), "term") != 0) {
        sim_disk_delete(d, sim_disk_name(d, 0));
    }
    expect_damage(&t, d, "missing");
    sim_disk_free(d);
    logtest_close(&t);
}

/* Every pair of segments swapped, each file cut short or grown. */
static void swapped_and_resized_files_are_noticed(void **state)
{
    (void)state;
    struct logtest t;
    build(&t, 512);
    for (uint64_t a = 1; a <= 5; a++) {
        char one[SEGMENT_NAME_BYTES];
        char two[SEGMENT_NAME_BYTES];
        size_t len;
        uint8_t bytes[SEGMENT + 4096] = {0};
        uint8_t other[SEGMENT];
        segment_name(a, one);
        memcpy(bytes, sim_disk_file(t.disk, one, &len), SEGMENT);
        for (uint64_t b = a + 1; b <= 5; b++) {
            segment_name(b, two);
            struct disk *d = sim_disk_copy(t.disk, 9);
            memcpy(other, sim_disk_file(d, two, &len), SEGMENT);
            sim_disk_put(d, two, bytes, SEGMENT);
            sim_disk_put(d, one, other, SEGMENT);
            expect_damage(&t, d, "log-");
            sim_disk_free(d);
        }
        const size_t sizes[] = {0, 1, 511, 512, 2048, SEGMENT - 1, SEGMENT + 1, SEGMENT + 4096};
        for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
            struct disk *d = sim_disk_copy(t.disk, 10);
            sim_disk_put(d, one, bytes, sizes[k]);
            expect_damage(&t, d, "log-");
            sim_disk_free(d);
        }
    }
    logtest_close(&t);
}

/* A segment as it was earlier (a restored file, a write that was confirmed but lost): noticed by
 * what comes after it in the chain. */
static void stale_segments_are_noticed(void **state)
{
    (void)state;
    struct logtest t;
    logtest_init(&t, &(struct sim_disk_options){.seed = 11}, SEGMENT);
    uint8_t old[SEGMENT];
    size_t len;
    logtest_append(&t, 1, 1, 100);
    assert_true(logtest_settle(&t));
    memcpy(old, sim_disk_file(t.disk, "log-0000000000000001", &len), SEGMENT);
    logtest_append(&t, 1, 30, 300);
    assert_true(logtest_settle(&t));
    logtest_shut(&t);
    sim_disk_put(t.disk, "log-0000000000000001", old, SEGMENT);
    expect_damage(&t, t.disk, "log-0000000000000001");
    logtest_close(&t);
}

/* Segments of another log that looks the same from outside: same names, sizes, indexes and records,
 * other bytes in one entry. */
static void segments_of_another_log_are_noticed(void **state)
{
    (void)state;
    struct logtest t[2];
    for (int i = 0; i < 2; i++) {
        logtest_init(&t[i], &(struct sim_disk_options){.seed = 15}, SEGMENT);
        assert_true(logtest_settle(&t[i]));
        t[i].seed += (uint64_t)i * 1000000; /* what the payloads are made of */
        logtest_append(&t[i], 1, 1, 100);
        for (int k = 0; k < 40; k++) {
            t[i].seed = 100 + (uint64_t)k;
            logtest_append(&t[i], 1, 1, 300);
            assert_true(logtest_settle(&t[i]));
        }
        logtest_shut(&t[i]);
    }
    for (uint64_t g = 1; g <= 6; g++) {
        char name[SEGMENT_NAME_BYTES];
        size_t len;
        segment_name(g, name);
        uint8_t *theirs = sim_disk_file(t[1].disk, name, &len);
        struct disk *d = sim_disk_copy(t[0].disk, 16);
        sim_disk_put(d, name, theirs, len);
        expect_damage(&t[0], d, "log-");
        sim_disk_free(d);
    }
    logtest_close(&t[0]);
    logtest_close(&t[1]);
}

/* Segments missing below the checkpoint are no loss, above it they are. */
static void gaps_count_from_the_checkpoint(void **state)
{
    (void)state;
    struct logtest t;
    logtest_init(&t, &(struct sim_disk_options){.seed = 12}, SEGMENT);
    for (int i = 0; i < 40; i++) {
        logtest_append(&t, 1, 1, 300);
        assert_true(logtest_settle(&t));
    }
    logtest_shut(&t);
    assert_int_equal(logtest_open(&t), 0);
    assert_true(logtest_check(&t));
    logtest_shut(&t);
    sim_disk_delete(t.disk, "log-0000000000000003");
    bool same;
    for (uint64_t applied = 0; applied <= 41; applied++) {
        t.options.applied_index = applied;
        t.options.applied_term = 1;
        int err = try_open(&t, t.disk, &same);
        /* Segments hold 6 to 7 records each. */
        assert_true(applied >= 18 || err == ERR_DAMAGED);
        assert_true(applied < 22 || err == 0);
    }
    logtest_close(&t);
}

/* A segment so numbered that no name is left for the next one: what would be written there could
 * not be found again. */
static void the_last_number_is_refused(void **state)
{
    (void)state;
    struct logtest t;
    uint8_t zeros[SEGMENT] = {0};
    build(&t, 512);
    struct disk *d = sim_disk_copy(t.disk, 15);
    sim_disk_put(d, "log-7fffffffffffffff", zeros, sizeof zeros);
    expect_damage(&t, d, "log-7fffffffffffffff");
    sim_disk_free(d);
    logtest_close(&t);
}

/* ---- term file ---------------------------------------------------------------------------------
 */

/* The log knows that a term file must be there, and of which term at least. */
static void foreign_term_files_are_noticed(void **state)
{
    (void)state;
    struct logtest t;
    struct term_file *terms;
    build(&t, 512);
    struct disk *d = sim_disk_copy(t.disk, 13);
    sim_disk_delete(d, "term");
    expect_damage(&t, d, "term is missing");
    struct errmsg e = {""};
    assert_int_equal(term_file_open(d, &terms, &e), 0);
    assert_int_equal(term_file_set(terms, 2, 9), 0); /* the log has entries of term 3 */
    expect_damage(&t, d, "term 2");
    assert_int_equal(term_file_set(terms, 3, 9), 0);
    bool same;
    assert_int_equal(try_open(&t, d, &same), 0);
    assert_true(same);
    term_file_close(terms);
    sim_disk_free(d);
    logtest_close(&t);
}

/* ---- versions ----------------------------------------------------------------------------------
 */

static void newer_segments_are_refused_as_such(void **state)
{
    (void)state;
    struct logtest t;
    build(&t, 512);
    size_t len;
    uint8_t *file = sim_disk_file(t.disk, "log-0000000000000002", &len);
    bytes_put_le32(file + 16, SEGMENT_VERSION + 1);
    record_block_seal(file, RECORD_BLOCK_SEGMENT, &(struct record_id){.generation = 2}, 0);
    bool same;
    assert_int_equal(try_open(&t, t.disk, &same), ERR_TOO_NEW);
    logtest_close(&t);
}

/* ---- the limits of it ---------------------------------------------------------------------------
 */

/* A disk that confirms a write, loses all or some sectors of it, and was never written to again,
 * looks exactly like a disk that lost power: this cannot be told apart by anything in the log. */
static void a_lost_last_write_looks_like_a_tear(void **state)
{
    (void)state;
    struct logtest t;
    logtest_init(&t, &(struct sim_disk_options){.seed = 14}, SEGMENT);
    uint8_t old[SEGMENT];
    size_t len;
    logtest_append(&t, 1, 2, 100);
    assert_true(logtest_settle(&t));
    memcpy(old, sim_disk_file(t.disk, "log-0000000000000001", &len), SEGMENT);
    logtest_append(&t, 1, 2, 100);
    assert_true(logtest_settle(&t));
    logtest_shut(&t);
    sim_disk_put(t.disk, "log-0000000000000001", old, SEGMENT);
    assert_int_equal(logtest_open(&t), 0);
    assert_int_equal(t.found.n, 2);
    logtest_close(&t);
}

int main(void)
{
    log_set_level(LOG_FATAL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_changed_byte_is_noticed),
        cmocka_unit_test(changed_padding_is_noticed),
        cmocka_unit_test(every_bit_of_the_heads_is_noticed),
        cmocka_unit_test(runs_of_noise_are_noticed),
        cmocka_unit_test(misplaced_blocks_are_noticed),
        cmocka_unit_test(zeroed_blocks_are_noticed_before_the_last_record),
        cmocka_unit_test(lost_files_are_noticed),
        cmocka_unit_test(swapped_and_resized_files_are_noticed),
        cmocka_unit_test(stale_segments_are_noticed),
        cmocka_unit_test(segments_of_another_log_are_noticed),
        cmocka_unit_test(gaps_count_from_the_checkpoint),
        cmocka_unit_test(the_last_number_is_refused),
        cmocka_unit_test(foreign_term_files_are_noticed),
        cmocka_unit_test(newer_segments_are_refused_as_such),
        cmocka_unit_test(a_lost_last_write_looks_like_a_tear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
