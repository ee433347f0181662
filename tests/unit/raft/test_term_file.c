/* test_term_file - term and vote survive power cuts and never step back unnoticed. */
#include "raft/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/log.h"
#include "base/rand.h"
#include "raft/record.h"
#include "tests/lib/sim_disk.h"

static struct term_file *open_terms(struct disk *d)
{
    struct term_file *t;
    struct errmsg e = {""};
    int err = term_file_open(d, &t, &e);
    if (err != 0) {
        fail_msg("%s", e.text);
    }
    return t;
}

static void expect_now(struct disk *d, uint64_t term, uint64_t vote)
{
    struct term_file *t = open_terms(d);
    assert_int_equal(term_file_term(t), term);
    assert_int_equal(term_file_vote(t), vote);
    term_file_close(t);
}

static void fresh_directory_has_term_zero(void **state)
{
    (void)state;
    struct disk *d = sim_disk_new(&(struct sim_disk_options){.seed = 1});
    expect_now(d, 0, 0);
    assert_int_equal(sim_disk_used(d), 0); /* looking writes nothing */
    sim_disk_free(d);
}

static void the_newest_values_come_back(void **state)
{
    (void)state;
    struct disk *d = sim_disk_new(&(struct sim_disk_options){.seed = 2});
    struct term_file *t = open_terms(d);
    for (uint64_t i = 1; i < 50; i++) {
        assert_int_equal(term_file_set(t, i / 3, i * i), 0);
        assert_int_equal(term_file_term(t), i / 3);
        assert_int_equal(term_file_vote(t), i * i);
        expect_now(d, i / 3, i * i);
        if (i % 7 == 0) {
            term_file_close(t);
            t = open_terms(d);
        }
    }
    term_file_close(t);
    sim_disk_free(d);
}

/* Power lost inside a change leaves the old or the new values, also inside the very first, and also
 * when it happens again and again. */
static void power_cuts_leave_old_or_new(void **state)
{
    (void)state;
    size_t kept_old = 0;
    size_t kept_new = 0;
    for (uint64_t seed = 0; seed < 2000; seed++) {
        struct rand r;
        rand_init(&r, seed);
        struct disk *d = sim_disk_new(
            &(struct sim_disk_options){.seed = seed, .sector_bytes = seed % 2 ? 512 : 4096});
        uint64_t term = 0;
        uint64_t vote = 0;
        for (int round = 0; round < 4; round++) {
            struct term_file *t = open_terms(d);
            for (uint64_t i = rand_below(&r, 4); i > 0; i--) {
                assert_int_equal(term_file_set(t, ++term, vote = rand_u64(&r)), 0);
            }
            sim_disk_cut_in_write_now(d, 1);
            assert_int_equal(term_file_set(t, term + 1, 77), ERR_IO);
            assert_int_equal(term_file_term(t), term); /* not taken over */
            term_file_close(t);
            sim_disk_crash(d);
            t = open_terms(d);
            bool is_new = term_file_term(t) == term + 1 && term_file_vote(t) == 77;
            assert_true(is_new || (term_file_term(t) == term && term_file_vote(t) == vote));
            kept_new += is_new;
            kept_old += !is_new;
            term = term_file_term(t);
            vote = term_file_vote(t);
            term_file_close(t);
        }
        sim_disk_free(d);
    }
    assert_true(kept_old > 1000 && kept_new > 1000);
}

/* A change that fails (full disk, error) and is tried again counts once. */
static void failed_changes_can_be_repeated(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct disk *d = sim_disk_new(&(struct sim_disk_options){.seed = seed});
        struct term_file *t = open_terms(d);
        for (uint64_t i = 1; i < 10; i++) {
            sim_disk_fail_at(d, 1);
            assert_int_equal(term_file_set(t, i, 1), ERR_IO);
            assert_int_equal(term_file_set(t, i, 2), 0);
            expect_now(d, i, 2);
        }
        term_file_close(t);
        sim_disk_free(d);
    }
}

static void full_disk_is_told(void **state)
{
    (void)state;
    struct disk *d = sim_disk_new(&(struct sim_disk_options){.seed = 3, .room_bytes = 100});
    struct term_file *t = open_terms(d);
    assert_int_equal(term_file_set(t, 1, 1), ERR_NO_SPACE);
    sim_disk_set_room(d, 0);
    assert_int_equal(term_file_set(t, 1, 1), 0);
    term_file_close(t);
    sim_disk_free(d);
}

/* Every bit of the file: noticed, or of no consequence. Never an older term or vote. */
static void every_flipped_bit_is_noticed_or_harmless(void **state)
{
    (void)state;
    for (uint64_t changes = 1; changes <= 4; changes++) {
        struct disk *d = sim_disk_new(&(struct sim_disk_options){.seed = 4});
        struct term_file *t = open_terms(d);
        for (uint64_t i = 1; i <= changes; i++) {
            assert_int_equal(term_file_set(t, i, 10 + i), 0);
        }
        term_file_close(t);
        size_t len;
        size_t noticed = 0;
        uint8_t *file = sim_disk_file(d, "term", &len);
        for (size_t bit = 0; bit < 8 * len; bit++) {
            struct errmsg e = {""};
            file[bit / 8] ^= (uint8_t)(1u << bit % 8);
            int err = term_file_open(d, &t, &e);
            if (err == 0) {
                assert_int_equal(term_file_term(t), changes);
                assert_int_equal(term_file_vote(t), 10 + changes);
                term_file_close(t);
            } else {
                assert_int_equal(err, ERR_DAMAGED);
                assert_non_null(strstr(e.text, "term"));
                noticed++;
            }
            file[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        assert_int_equal(noticed, 2 * 512 * 8);
        sim_disk_free(d);
    }
}

/* A slot lost as a whole, both swapped, one of another time, the file cut: all damage. */
static void lost_and_foreign_slots_are_noticed(void **state)
{
    (void)state;
    uint8_t slots[5][8192];
    size_t len;
    struct term_file *t;
    struct errmsg e = {""};
    struct disk *d = sim_disk_new(&(struct sim_disk_options){.seed = 5});
    t = open_terms(d);
    for (uint64_t i = 0; i < 5; i++) {
        assert_int_equal(term_file_set(t, i + 1, 7), 0);
        memcpy(slots[i], sim_disk_file(d, "term", &len), sizeof slots[i]);
        assert_int_equal(len, sizeof slots[i]);
    }
    term_file_close(t);
    uint8_t *file = sim_disk_file(d, "term", &len);
    for (size_t slot = 0; slot < 8192; slot += 4096) {
        memset(file + slot, 0, 512);
        assert_int_equal(term_file_open(d, &t, &e), ERR_DAMAGED);
        memcpy(file, slots[4], sizeof slots[4]);
    }
    for (int older = 0; older < 3; older++) {
        memcpy(file + 4096, slots[older] + 4096, 512);
        memcpy(file, slots[4], 512);
        bool belongs = memcmp(file, slots[3], 4608) == 0 || memcmp(file, slots[4], 4608) == 0;
        assert_int_equal(term_file_open(d, &t, &e), belongs ? 0 : ERR_DAMAGED);
        term_file_close(t);
        memcpy(file, slots[4], sizeof slots[4]);
    }
    memcpy(file, slots[4] + 4096, 512);
    memcpy(file + 4096, slots[4], 512);
    assert_int_equal(term_file_open(d, &t, &e), ERR_DAMAGED);
    for (size_t bytes = 0; bytes <= 8193; bytes += 2731) {
        if (bytes != 8192) {
            sim_disk_put(d, "term", slots[4], bytes > 8192 ? 4096 : bytes);
            assert_int_equal(term_file_open(d, &t, &e), ERR_DAMAGED);
        }
    }
    sim_disk_free(d);
}

static void newer_versions_are_refused_as_such(void **state)
{
    (void)state;
    struct disk *d = sim_disk_new(&(struct sim_disk_options){.seed = 6});
    struct term_file *t = open_terms(d);
    struct errmsg e = {""};
    size_t len;
    assert_int_equal(term_file_set(t, 1, 1), 0);
    term_file_close(t);
    uint8_t *file = sim_disk_file(d, "term", &len);
    bytes_put_le32(file + 16, 2);
    record_block_seal(file, RECORD_BLOCK_TERM, &(struct record_id){.seq = 0}, 0);
    assert_int_equal(term_file_open(d, &t, &e), ERR_TOO_NEW);
    sim_disk_free(d);
}

static void lack_of_memory_is_told(void **state)
{
    (void)state;
    struct disk *d = sim_disk_new(&(struct sim_disk_options){.seed = 7});
    struct term_file *t;
    struct errmsg e = {""};
    mem_fail_after(1);
    assert_int_equal(term_file_open(d, &t, &e), ERR_NOMEM);
    assert_null(t);
    sim_disk_free(d);
}

int main(void)
{
    log_set_level(LOG_FATAL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fresh_directory_has_term_zero),
        cmocka_unit_test(the_newest_values_come_back),
        cmocka_unit_test(power_cuts_leave_old_or_new),
        cmocka_unit_test(failed_changes_can_be_repeated),
        cmocka_unit_test(full_disk_is_told),
        cmocka_unit_test(every_flipped_bit_is_noticed_or_harmless),
        cmocka_unit_test(lost_and_foreign_slots_are_noticed),
        cmocka_unit_test(newer_versions_are_refused_as_such),
        cmocka_unit_test(lack_of_memory_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
