/* test_compact - what is dropped when, slices, restarts in the middle, accounting. */
#include "kv_fixture.h"

#include "base/limits.h"
#include "kv/record.h"
#include "kv/state.h"

/* Rows of a table as stored now. */
static size_t rows(struct kvf *f, enum store_table table)
{
    struct store_view *view;
    struct store_cursor *cursor;
    size_t count = 0;
    assert_int_equal(store_view_open(kv_store(f->kv), &view), 0);
    assert_int_equal(store_cursor_open(view, table, &cursor), 0);
    int found = store_cursor_seek(cursor, slice_of(NULL, 0));
    while (found > 0) {
        count++;
        found = store_cursor_next(cursor);
    }
    assert_int_equal(found, 0);
    store_cursor_close(cursor);
    store_view_close(view);
    return count;
}

static void fill(struct kvf *f, int versions, int keys)
{
    struct buf payload;
    buf_init(&payload);
    for (int i = 0; i < versions; i++) {
        RAFT(r);
        Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
        char key[16];
        snprintf(key, sizeof(key), "k%05d", i % keys);
        put.key = bin(key);
        put.value = bin("some value");
        r.put = &put;
        kvf_batch(f, &payload, &r);
    }
    kvf_entry(f, buf_slice(&payload));
    buf_close(&payload);
}

/* Contract C-01, C-02: bounds, and the logical effect is immediate. */
static void the_floor_moves_at_once(void **state)
{
    struct kvf f;
    kvf_open(&f);
    kvf_put(&f, "a", "1");
    kvf_put(&f, "a", "2");
    kvf_put(&f, "a", "3");
    assert_int_equal(kvf_compact(&f, 5), ERR_FUTURE_REV);
    assert_int_equal(kvf_compact(&f, 3), 0);
    assert_int_equal(f.revision, 4);
    assert_int_equal(kv_compact_revision(f.kv), 3);
    assert_int_equal(kvf_compact(&f, 3), ERR_COMPACTED);
    assert_int_equal(kvf_compact(&f, 2), ERR_COMPACTED);
    assert_string_equal(kvf_list(&f, "a", "", 2), "COMPACTED");
    assert_string_equal(kvf_list(&f, "a", "", 3), "a=2");
    assert_int_equal(rows(&f, TABLE_RECORD), 3);
    assert_int_equal(kv_compact_done(f.kv), -1);
    assert_int_equal(kvf_compact(&f, 4), 0);
    kvf_close(&f);
}

/* C-03: survivors are the newest live versions and the tombstones exactly at the floor. */
static void the_right_rows_go(void **state)
{
    struct kvf f;
    kvf_open(&f);
    kvf_put(&f, "a", "1");   /* 2 */
    kvf_put(&f, "a", "2");   /* 3 */
    kvf_put(&f, "b", "1");   /* 4 */
    kvf_delete(&f, "b", ""); /* 5 */
    kvf_put(&f, "c", "1");   /* 6 */
    kvf_delete(&f, "c", ""); /* 7 */
    kvf_put(&f, "b", "2");   /* 8 */
    kvf_compact(&f, 7);
    kvf_checkpoint(&f);
    assert_int_equal(kv_compact_done(f.kv), 7);
    /* a@3, c's tombstone @7, b@8 */
    assert_int_equal(rows(&f, TABLE_RECORD), 3);
    assert_int_equal(rows(&f, TABLE_INDEX), 3);
    assert_string_equal(kvf_list(&f, "a", "z", 7), "a=2");
    assert_string_equal(kvf_list(&f, "a", "z", 0), "a=2 b=2");
    kvf_compact(&f, 8);
    kvf_checkpoint(&f);
    assert_int_equal(rows(&f, TABLE_RECORD), 2);
    assert_int_equal(rows(&f, TABLE_INDEX), 2);
    kvf_close(&f);
}

/* Nothing is dropped before a checkpoint holds it; revisions never go back (C-04). */
static void everything_may_be_dropped(void **state)
{
    struct kvf f;
    kvf_open(&f);
    kvf_put(&f, "a", "1");
    kvf_delete(&f, "a", "");
    kvf_compact(&f, 3);
    kvf_checkpoint(&f);
    assert_int_equal(rows(&f, TABLE_RECORD), 1);
    kvf_crash(&f);
    assert_int_equal(kv_revision(f.kv), 3);
    kvf_put(&f, "a", "2");
    assert_int_equal(kv_revision(f.kv), 4);
    kvf_compact(&f, 4);
    kvf_delete(&f, "a", "");
    kvf_compact(&f, 5);
    kvf_checkpoint(&f);
    kvf_crash(&f);
    assert_int_equal(kv_revision(f.kv), 5);
    kvf_close(&f);
}

/* A large compaction takes several transactions; a restart in the middle goes on, the floor stays.
 */
static void slices_resume_after_a_restart(void **state)
{
    enum { VERSIONS = 35000, KEYS = 50 };
    struct kvf f;
    int err;
    kvf_open(&f);
    fill(&f, VERSIONS, KEYS);
    kvf_delete(&f, "k00000", "k00010");
    kvf_compact(&f, kv_revision(f.kv) - 1);
    int64_t floor = kv_compact_revision(f.kv);
    assert_true(kv_seal(f.kv, 0, true));
    assert_int_equal(kv_checkpoint_step(f.kv, &err), KV_MORE);
    int64_t done = kv_compact_done(f.kv);
    assert_true(done > 0 && done < floor);
    assert_int_equal(rows(&f, TABLE_RECORD), rows(&f, TABLE_INDEX));
    size_t left = rows(&f, TABLE_RECORD);
    assert_true(left < VERSIONS && left > KEYS + 10);
    kvf_crash(&f);
    assert_int_equal(kv_compact_done(f.kv), done);
    assert_int_equal(kv_compact_revision(f.kv), floor);
    int steps = 1;
    while (kv_checkpoint_step(f.kv, &err) == KV_MORE) {
        steps++;
    }
    assert_int_equal(err, 0);
    assert_true(steps >= VERSIONS / (int)COMPACT_SLICE_ROWS_MAX - 1);
    assert_int_equal(kv_compact_done(f.kv), floor);
    /* The newest of each key, and the deletion above the floor. */
    assert_int_equal(rows(&f, TABLE_RECORD), KEYS + 10);
    assert_int_equal(rows(&f, TABLE_INDEX), KEYS + 10);
    kvf_close(&f);
}

/* A second compaction while the first is being walked. */
static void compactions_may_overlap(void **state)
{
    enum { VERSIONS = 25000, KEYS = 10 };
    struct kvf f;
    int err;
    kvf_open(&f);
    fill(&f, VERSIONS, KEYS);
    kvf_delete(&f, "k00003", ""); /* the tombstone is exactly at the first floor */
    int64_t first = kv_revision(f.kv);
    kvf_compact(&f, first);
    kv_seal(f.kv, 0, true);
    kv_checkpoint_step(f.kv, &err);
    kvf_put(&f, "k00004", "x");
    kvf_delete(&f, "k00005", "");
    int64_t second = kv_revision(f.kv);
    kvf_compact(&f, second);
    kvf_checkpoint(&f);
    assert_int_equal(kv_compact_done(f.kv), second);
    assert_int_equal(rows(&f, TABLE_RECORD), KEYS - 1); /* 8 live, 1 tombstone at the floor */
    assert_int_equal(rows(&f, TABLE_INDEX), KEYS - 1);
    kvf_close(&f);
}

/* A single revision with more rows than a slice. */
static void huge_revisions_are_compacted(void **state)
{
    enum { KEYS = 24000 };
    struct kvf f;
    kvf_open(&f);
    fill(&f, KEYS, KEYS);
    kvf_delete(&f, "k", "l");
    kvf_compact(&f, kv_revision(f.kv));
    kvf_checkpoint(&f);
    assert_int_equal(rows(&f, TABLE_RECORD), KEYS); /* tombstones at the floor */
    kvf_put(&f, "a", "1");
    int64_t cost = kv_accounted_bytes(f.kv);
    kvf_compact(&f, kv_revision(f.kv));
    assert_true(kv_accounted_bytes(f.kv) < cost / 1000);
    kvf_checkpoint(&f);
    assert_int_equal(rows(&f, TABLE_RECORD), 1);
    kvf_close(&f);
}

/* Views opened before go on seeing what they saw. */
static void old_views_are_not_disturbed(void **state)
{
    struct kvf f;
    struct buf request;
    struct kv_range *r;
    int err;
    kvf_open(&f);
    kvf_put(&f, "a", "1");
    kvf_put(&f, "a", "2");
    kvf_checkpoint(&f);
    Etcdserverpb__RangeRequest q = ETCDSERVERPB__RANGE_REQUEST__INIT;
    q.key = bin("a");
    q.revision = 2;
    buf_init(&request);
    assert_true(codec_encode(&q, &request));
    assert_int_equal(kv_range_open(f.kv, buf_slice(&request), &r), 0);
    kvf_compact(&f, 3);
    kvf_checkpoint(&f);
    assert_int_equal(rows(&f, TABLE_RECORD), 1);
    assert_int_equal(kv_range_measure(r, &err), KV_DONE);
    assert_int_equal(err, 0);
    assert_true(kv_range_total(r) > 10);
    kv_range_close(r);
    buf_close(&request);
    kvf_close(&f);
}

/* The accounting is exact through restarts, with the floor at the newest revision and below it. */
static void accounting_survives(void **state)
{
    struct kvf f;
    kvf_open(&f);
    kvf_put(&f, "a", "1");
    int64_t one = kv_accounted_bytes(f.kv);
    kvf_put(&f, "a", "2");
    kvf_put(&f, "a", "3");
    assert_int_equal(kv_accounted_bytes(f.kv), 3 * one);
    kvf_compact(&f, 3);
    assert_int_equal(kv_accounted_bytes(f.kv), 2 * one);
    for (int round = 0; round < 6; round++) {
        if (round % 3 == 0) {
            kvf_checkpoint(&f);
        }
        kvf_crash(&f);
        kvf_put(&f, "a", "4");
        kvf_put(&f, "a", "5");
        kvf_compact(&f, kv_revision(f.kv) - round % 2);
        assert_int_equal(kv_accounted_bytes(f.kv), (1 + round % 2) * one);
        kvf_compact(&f, kv_revision(f.kv));
        assert_int_equal(kv_accounted_bytes(f.kv), one);
    }
    kvf_delete(&f, "a", "");
    int64_t dead = kv_accounted_bytes(f.kv) - one;
    kvf_checkpoint(&f);
    kvf_crash(&f);
    kvf_compact(&f, kv_revision(f.kv));
    assert_int_equal(kv_accounted_bytes(f.kv), dead);
    kvf_checkpoint(&f);
    kvf_crash(&f);
    kvf_put(&f, "b", "1");
    kvf_compact(&f, kv_revision(f.kv));
    assert_int_equal(kv_accounted_bytes(f.kv), one);
    kvf_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_floor_moves_at_once),
        cmocka_unit_test(the_right_rows_go),
        cmocka_unit_test(everything_may_be_dropped),
        cmocka_unit_test(slices_resume_after_a_restart),
        cmocka_unit_test(compactions_may_overlap),
        cmocka_unit_test(huge_revisions_are_compacted),
        cmocka_unit_test(old_views_are_not_disturbed),
        cmocka_unit_test(accounting_survives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
