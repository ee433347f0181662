/* test_store - puts, publishing, views, seals, checkpoints, reopening, maintenance. */
#include "store_fixture.h"

#include <signal.h>
#include <sys/mman.h>

/* Rows appear with the publication of their operation, all at once, and not before. */
static void rows_become_visible_at_publish(void **state)
{
    struct fixture f;
    fixture_init(&f);
    struct store_view *before = fixture_view(&f);
    fixture_put(&f, TABLE_INDEX, "a", "1");
    fixture_put(&f, TABLE_LEASE, "b", "2");
    fixture_expect_now(&f, TABLE_INDEX, "a", NULL);
    fixture_expect_now(&f, TABLE_LEASE, "b", NULL);
    fixture_publish(&f);
    struct store_view *after = fixture_view(&f);
    fixture_expect(after, TABLE_INDEX, "a", "1");
    fixture_expect(after, TABLE_LEASE, "b", "2");
    fixture_expect(after, TABLE_INDEX, "b", NULL);
    fixture_expect(after, TABLE_LEASE, "a", NULL);
    fixture_expect(before, TABLE_INDEX, "a", NULL);
    assert_int_equal(store_view_point(after)->revision, 1);
    assert_int_equal(store_view_point(after)->applied_index, 1);
    store_view_close(before);
    store_view_close(after);
    fixture_close(&f);
}

static void the_writers_view_sees_its_own_rows(void **state)
{
    struct fixture f;
    char list[200];
    fixture_init(&f);
    fixture_put(&f, TABLE_INDEX, "a", "1");
    fixture_publish(&f);
    fixture_checkpoint(&f);
    fixture_expect(store_writer_view(f.store), TABLE_INDEX, "a", "1");
    fixture_put(&f, TABLE_INDEX, "a", "2");
    fixture_put(&f, TABLE_INDEX, "b", "3");
    fixture_expect(store_writer_view(f.store), TABLE_INDEX, "a", "2");
    fixture_expect(store_writer_view(f.store), TABLE_INDEX, "b", "3");
    fixture_erase(&f, TABLE_INDEX, "a");
    fixture_expect(store_writer_view(f.store), TABLE_INDEX, "a", NULL);
    fixture_list(store_writer_view(f.store), TABLE_INDEX, "", list, sizeof list);
    assert_string_equal(list, "b=3");
    fixture_expect_now(&f, TABLE_INDEX, "a", "1");
    fixture_publish(&f);
    fixture_seal(&f);
    fixture_expect(store_writer_view(f.store), TABLE_INDEX, "b", "3");
    assert_int_equal(store_checkpoint(f.store), 0);
    /* Within one operation the view stays the same one, whatever the checkpoint thread does. */
    fixture_expect(store_writer_view(f.store), TABLE_INDEX, "b", "3");
    fixture_publish(&f);
    fixture_expect(store_writer_view(f.store), TABLE_INDEX, "b", "3");
    fixture_expect(store_writer_view(f.store), TABLE_INDEX, "a", NULL);
    fixture_close(&f);
}

static void the_second_write_of_an_operation_wins(void **state)
{
    struct fixture f;
    fixture_init(&f);
    fixture_put(&f, TABLE_INDEX, "k", "1");
    fixture_put(&f, TABLE_INDEX, "k", "2");
    fixture_put(&f, TABLE_INDEX, "e", "1");
    fixture_erase(&f, TABLE_INDEX, "e");
    fixture_erase(&f, TABLE_INDEX, "p");
    fixture_put(&f, TABLE_INDEX, "p", "3");
    fixture_publish(&f);
    for (int round = 0; round < 2; round++) {
        fixture_expect_now(&f, TABLE_INDEX, "k", "2");
        fixture_expect_now(&f, TABLE_INDEX, "e", NULL);
        fixture_expect_now(&f, TABLE_INDEX, "p", "3");
        fixture_checkpoint(&f);
    }
    fixture_close(&f);
}

/* The same rows are seen while they move: active, sealed, in LMDB, after a restart. */
static void rows_survive_their_journey(void **state)
{
    struct fixture f;
    char list[300];
    fixture_init(&f);
    fixture_put(&f, TABLE_INDEX, "erased", "x");
    fixture_put(&f, TABLE_INDEX, "kept", "1");
    fixture_put(&f, TABLE_INDEX, "", "the empty key");
    fixture_put(&f, TABLE_INDEX, "void", "");
    fixture_publish(&f);
    fixture_checkpoint(&f);
    fixture_erase(&f, TABLE_INDEX, "erased");
    fixture_erase(&f, TABLE_INDEX, "never");
    fixture_put(&f, TABLE_INDEX, "new", "2");
    fixture_put(&f, TABLE_RECORD, "r", "3");
    fixture_publish(&f);
    for (int stage = 0; stage < 4; stage++) {
        struct store_view *v = fixture_view(&f);
        fixture_list(v, TABLE_INDEX, "", list, sizeof list);
        assert_string_equal(list, "=the empty key kept=1 new=2 void=");
        fixture_list(v, TABLE_INDEX, "kept", list, sizeof list);
        assert_string_equal(list, "kept=1 new=2 void=");
        fixture_list(v, TABLE_INDEX, "kept0", list, sizeof list);
        assert_string_equal(list, "new=2 void=");
        fixture_list(v, TABLE_RECORD, "", list, sizeof list);
        assert_string_equal(list, "r=3");
        fixture_list(v, TABLE_LEASE, "", list, sizeof list);
        assert_string_equal(list, "");
        fixture_expect(v, TABLE_INDEX, "erased", NULL);
        fixture_expect(v, TABLE_INDEX, "void", "");
        store_view_close(v);
        if (stage == 0) {
            assert_true(fixture_seal(&f));
            assert_true(store_sealed(f.store));
            assert_false(fixture_seal(&f));
        } else if (stage == 1) {
            assert_int_equal(store_checkpoint(f.store), 0);
            assert_false(store_sealed(f.store));
        } else if (stage == 2) {
            fixture_reopen(&f);
        }
    }
    fixture_close(&f);
}

/* What no checkpoint has is gone at close: the log brings it back, from the index in the meta. */
static void unsealed_rows_are_the_logs_business(void **state)
{
    struct fixture f;
    struct store_meta meta;
    fixture_init(&f);
    store_checkpoint_meta(f.store, &meta);
    assert_int_equal(meta.applied_index, 0);
    assert_int_equal(meta.revision, 1);
    assert_int_equal(meta.compact_revision, -1);
    assert_int_equal(meta.compact_done, -1);
    assert_int_equal(meta.configuration.len, 0);
    fixture_put(&f, TABLE_INDEX, "old", "1");
    fixture_publish(&f);
    fixture_checkpoint(&f);
    assert_int_equal(store_durable_index(f.store), 1);
    fixture_put(&f, TABLE_INDEX, "sealed", "2");
    fixture_publish(&f);
    assert_true(fixture_seal(&f));
    fixture_put(&f, TABLE_INDEX, "active", "3");
    fixture_publish(&f);
    assert_int_equal(store_durable_index(f.store), 1);
    fixture_reopen(&f);
    assert_int_equal(store_durable_index(f.store), 1);
    store_checkpoint_meta(f.store, &meta);
    assert_int_equal(meta.applied_index, 1);
    assert_int_equal(meta.applied_term, 3);
    assert_int_equal(meta.seq, 1);
    assert_true(slice_eq(meta.configuration, slice_str("members")));
    fixture_expect_now(&f, TABLE_INDEX, "old", "1");
    fixture_expect_now(&f, TABLE_INDEX, "sealed", NULL);
    fixture_expect_now(&f, TABLE_INDEX, "active", NULL);
    struct store_view *v = fixture_view(&f);
    assert_int_equal(store_view_point(v)->applied_index, 1);
    store_view_close(v);
    fixture_close(&f);
}

static void every_meta_field_survives(void **state)
{
    struct fixture f;
    struct store_meta meta;
    fixture_init(&f);
    const struct store_meta want = {.applied_index = 11,
                                    .applied_term = 12,
                                    .revision = 13,
                                    .compact_revision = 14,
                                    .compact_done = 15,
                                    .accounted_bytes = -16,
                                    .running_hash = 0xfedcba9876543210u,
                                    .configuration_index = 17,
                                    .configuration = slice_of("\0c", 2)};
    assert_true(store_seal(f.store, &want));
    assert_int_equal(store_checkpoint(f.store), 0);
    for (int round = 0; round < 2; round++) {
        store_checkpoint_meta(f.store, &meta);
        assert_int_equal(meta.applied_index, 11);
        assert_int_equal(meta.applied_term, 12);
        assert_int_equal(meta.seq, 0);
        assert_int_equal(meta.revision, 13);
        assert_int_equal(meta.compact_revision, 14);
        assert_int_equal(meta.compact_done, 15);
        assert_int_equal(meta.accounted_bytes, -16);
        assert_true(meta.running_hash == 0xfedcba9876543210u);
        assert_int_equal(meta.configuration_index, 17);
        assert_true(slice_eq(meta.configuration, want.configuration));
        fixture_reopen(&f);
    }
    fixture_close(&f);
}

/* An empty memtable is sealed only when the log could be cut further by it. */
static void an_empty_seal_moves_the_index(void **state)
{
    struct fixture f;
    fixture_init(&f);
    assert_false(fixture_seal(&f));
    assert_int_equal(store_checkpoint(f.store), 0);
    assert_int_equal(f.commits, 0);
    fixture_publish(&f);
    assert_int_equal(store_active_bytes(f.store), 0);
    assert_true(fixture_seal(&f));
    assert_int_equal(store_checkpoint(f.store), 0);
    assert_int_equal(store_durable_index(f.store), 1);
    assert_false(fixture_seal(&f));
    fixture_put(&f, TABLE_INDEX, "k", "v");
    fixture_publish(&f);
    assert_true(store_active_bytes(f.store) > 0);
    assert_true(fixture_seal(&f));
    assert_int_equal(store_active_bytes(f.store), 0);
    assert_int_equal(store_checkpoint(f.store), 0);
    fixture_close(&f);
}

/* Views opened at each step go on showing what they showed. */
static void views_stay_as_they_were(void **state)
{
    struct fixture f;
    struct store_view *views[12];
    char want[12][100];
    char list[100];
    unsigned count = 0;
    fixture_init(&f);
    for (unsigned i = 0; i < 12; i++) {
        char value[8];
        snprintf(value, sizeof value, "%u", i);
        fixture_put(&f, TABLE_INDEX, "a", value);
        if (i % 3 == 0) {
            fixture_erase(&f, TABLE_INDEX, "b");
        } else {
            fixture_put(&f, TABLE_INDEX, "b", value);
        }
        fixture_publish(&f);
        views[count] = fixture_view(&f);
        fixture_list(views[count], TABLE_INDEX, "", want[count], sizeof want[0]);
        assert_true(strlen(want[count]) >= 3);
        count++;
        if (i % 4 == 1) {
            fixture_seal(&f);
        } else if (i % 4 == 3) {
            fixture_checkpoint(&f);
        }
        for (unsigned j = 0; j < count; j++) {
            fixture_list(views[j], TABLE_INDEX, "", list, sizeof list);
            assert_string_equal(list, want[j]);
        }
    }
    assert_int_equal(store_checkpoint(f.store), 0);
    fixture_checkpoint(&f);
    for (unsigned j = 0; j < count; j++) {
        fixture_list(views[j], TABLE_INDEX, "", list, sizeof list);
        assert_string_equal(list, want[j]);
        store_view_close(views[j]);
    }
    fixture_close(&f);
}

/* ---- a reader held up inside LMDB
 * ---------------------------------------------------------------- */

#ifndef __SANITIZE_THREAD__ /* which forbids so much inside a signal */
static struct fixture *held_fixture;
static uint8_t *held_page;
static unsigned held_count;

/* Runs where LMDB, knowing the id of the newest commit, reads its header: two more commits happen.
 */
static void held_reader(int signal_number)
{
    assert_int_equal(mprotect(held_page, 2 * 4096, PROT_READ), 0);
    held_count++;
    for (int i = 0; i < 2; i++) {
        fixture_put(held_fixture, TABLE_INDEX, "k", i == 0 ? "2" : "3");
        fixture_publish(held_fixture);
        fixture_checkpoint(held_fixture);
    }
}

/* Where data.mdb is mapped. */
static uint8_t *mapped_file(const struct fixture *f)
{
    char line[600];
    char path[300];
    unsigned long from = 0;
    snprintf(path, sizeof path, "%s/1/data.mdb", f->dir);
    FILE *maps = fopen("/proc/self/maps", "r");
    assert_non_null(maps);
    while (fgets(line, sizeof line, maps) != NULL) {
        if (strstr(line, path) != NULL) {
            assert_int_equal(sscanf(line, "%lx-", &from), 1);
            break;
        }
    }
    fclose(maps);
    assert_true(from != 0);
    return (uint8_t *)from;
}

/* The header a reader copies may be two commits newer than the id it goes by (the proof in
 * store.c): the view must show what its point says all the same. */
static void a_reader_held_up_in_lmdb_starts_over(void **state)
{
    struct fixture f;
    struct sigaction action = {.sa_handler = held_reader};
    struct sigaction before;
    fixture_init(&f);
    fixture_put(&f, TABLE_INDEX, "k", "1");
    fixture_publish(&f);
    fixture_checkpoint(&f);
    fixture_expect_now(&f, TABLE_INDEX, "k", "1"); /* leaves a view to be renewed */
    held_fixture = &f;
    held_page = mapped_file(&f);
    held_count = 0;
    assert_int_equal(sigaction(SIGSEGV, &action, &before), 0);
    assert_int_equal(mprotect(held_page, 2 * 4096, PROT_NONE), 0);
    struct store_view *v = fixture_view(&f);
    assert_int_equal(sigaction(SIGSEGV, &before, NULL), 0);
    assert_int_equal(held_count, 1);
    char want[8];
    snprintf(want, sizeof want, "%d", (int)store_view_point(v)->applied_index);
    fixture_expect(v, TABLE_INDEX, "k", want);
    store_view_close(v);
    fixture_expect_now(&f, TABLE_INDEX, "k", "3");
    fixture_close(&f);
}
#endif

/* Values of 2 MB, keys of 1.6 MB, in memory, in LMDB, after a restart. */
static void large_rows_fit(void **state)
{
    struct fixture f;
    size_t value_len = 2u << 20;
    size_t key_len = 1600u << 10;
    uint8_t *bytes = malloc(value_len);
    memset(bytes, 'x', value_len);
    struct slice key = slice_of(bytes, key_len);
    fixture_init(&f);
    assert_int_equal(store_put(f.store, TABLE_INDEX, key, slice_of(bytes, value_len)), 0);
    fixture_publish(&f);
    for (int stage = 0; stage < 3; stage++) {
        struct store_view *v = fixture_view(&f);
        struct store_cursor *c;
        struct slice value;
        assert_int_equal(store_get(v, TABLE_INDEX, key, &value), 1);
        assert_true(slice_eq(value, slice_of(bytes, value_len)));
        assert_int_equal(store_get(v, TABLE_INDEX, slice_of(bytes, key_len - 1), &value), 0);
        assert_int_equal(store_cursor_open(v, TABLE_INDEX, &c), 0);
        assert_int_equal(store_cursor_seek(c, slice_of(bytes, key_len - 1)), 1);
        assert_true(slice_eq(store_cursor_key(c), key));
        assert_int_equal(store_cursor_next(c), 0);
        store_cursor_close(c);
        store_view_close(v);
        if (stage == 0) {
            fixture_checkpoint(&f);
        } else if (stage == 1) {
            fixture_reopen(&f);
        }
    }
    free(bytes);
    fixture_close(&f);
}

/* A cursor may be reused after its view closed and another opened, on any generation. */
static void cursors_are_reused(void **state)
{
    struct fixture f;
    char list[200];
    fixture_init(&f);
    fixture_put(&f, TABLE_INDEX, "a", "1");
    fixture_publish(&f);
    fixture_checkpoint(&f);
    for (int i = 0; i < 20; i++) {
        struct store_view *v = fixture_view(&f);
        struct store_cursor *open[6];
        for (int j = 0; j < 6; j++) {
            assert_int_equal(store_cursor_open(v, TABLE_INDEX, &open[j]), 0);
            assert_int_equal(store_cursor_seek(open[j], slice_str("")), 1);
            assert_true(slice_eq(store_cursor_value(open[j]), slice_str("1")));
        }
        for (int j = 0; j < 6; j++) {
            store_cursor_close(open[j]);
        }
        fixture_list(v, TABLE_INDEX, "", list, sizeof list);
        assert_string_equal(list, "a=1");
        store_view_close(v);
        if (i == 10) {
            assert_int_equal(store_defragment(f.store), 0);
        }
        fixture_publish(&f);
        fixture_checkpoint(&f);
    }
    fixture_close(&f);
}

/* ---- maintenance
 * --------------------------------------------------------------------------------- */

struct work {
    const char *erase;
    int64_t compact_done;
    int result;
    bool saw; /* the row to erase was there */
};

static int work_run(struct store_txn *t, void *data)
{
    struct work *w = data;
    struct slice key;
    struct slice value;
    if (w->erase != NULL) {
        int rc = store_txn_seek(t, TABLE_RECORD, slice_str(w->erase), &key, &value);
        assert_true(rc >= 0);
        w->saw = rc == 1 && slice_eq(key, slice_str(w->erase));
        assert_int_equal(store_txn_get(t, TABLE_RECORD, slice_str(w->erase), &value), w->saw);
        assert_int_equal(store_txn_erase(t, TABLE_RECORD, slice_str(w->erase)), 0);
        assert_int_equal(store_txn_get(t, TABLE_RECORD, slice_str(w->erase), &value), 0);
    }
    if (w->compact_done >= 0) {
        assert_int_equal(store_txn_set_compact_done(t, w->compact_done), 0);
    }
    return w->result;
}

static void maintenance_works_on_the_checkpoint(void **state)
{
    struct fixture f;
    struct store_meta meta;
    fixture_init(&f);
    fixture_put(&f, TABLE_RECORD, "1", "one");
    fixture_put(&f, TABLE_RECORD, "2", "two");
    fixture_publish(&f);
    fixture_checkpoint(&f);
    fixture_put(&f, TABLE_RECORD, "3", "three");
    fixture_publish(&f);
    struct store_view *old = fixture_view(&f);
    unsigned commits = f.commits;

    struct work w = {.erase = "1", .compact_done = 7};
    assert_int_equal(store_maintain(f.store, work_run, &w), 0);
    assert_true(w.saw);
    assert_int_equal(f.commits, commits + 1);
    store_checkpoint_meta(f.store, &meta);
    assert_int_equal(meta.compact_done, 7);
    assert_int_equal(meta.applied_index, 1);
    fixture_expect(old, TABLE_RECORD, "1", "one");
    store_view_close(old);
    fixture_expect_now(&f, TABLE_RECORD, "1", NULL);
    fixture_expect_now(&f, TABLE_RECORD, "2", "two");
    fixture_expect_now(&f, TABLE_RECORD, "3", "three");

    /* What is only in the memtable is not the checkpoint's. */
    w = (struct work){.erase = "3", .compact_done = -1};
    assert_int_equal(store_maintain(f.store, work_run, &w), 0);
    assert_false(w.saw);
    fixture_expect_now(&f, TABLE_RECORD, "3", "three");
    /* Nothing changed: nothing committed. */
    assert_int_equal(f.commits, commits + 1);

    /* Refused work leaves no trace. */
    w = (struct work){.erase = "2", .compact_done = 9, .result = ERR_BUSY};
    assert_int_equal(store_maintain(f.store, work_run, &w), ERR_BUSY);
    fixture_expect_now(&f, TABLE_RECORD, "2", "two");
    store_checkpoint_meta(f.store, &meta);
    assert_int_equal(meta.compact_done, 7);

    /* A later checkpoint whose seal knew less keeps the newer compact_done, also while sealed. */
    assert_true(fixture_seal(&f));
    w = (struct work){.erase = "2", .compact_done = 8};
    assert_int_equal(store_maintain(f.store, work_run, &w), 0);
    fixture_expect_now(&f, TABLE_RECORD, "2", NULL);
    fixture_expect_now(&f, TABLE_RECORD, "3", "three");
    assert_int_equal(store_checkpoint(f.store), 0);
    fixture_reopen(&f);
    store_checkpoint_meta(f.store, &meta);
    assert_int_equal(meta.compact_done, 8);
    assert_int_equal(meta.applied_index, 2);
    fixture_close(&f);
}

/* A new store is small enough for etcd's alarm tests (contract I-06), and sizes follow the data. */
static void sizes_are_told(void **state)
{
    struct fixture f;
    char value[4000];
    memset(value, 'v', sizeof value);
    fixture_init(&f);
    assert_true(store_bytes(f.store) > 0 && store_bytes(f.store) < 40 * 1024);
    assert_true(store_bytes_in_use(f.store) <= store_bytes(f.store));
    for (int i = 0; i < 256; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i);
        assert_int_equal(
            store_put(f.store, TABLE_INDEX, slice_str(key), slice_of(value, sizeof value)), 0);
    }
    fixture_publish(&f);
    fixture_checkpoint(&f);
    uint64_t full = store_bytes(f.store);
    assert_true(full > 256 * sizeof value);
    assert_true(store_bytes_in_use(f.store) > 256 * sizeof value);
    for (int i = 0; i < 256; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i);
        fixture_erase(&f, TABLE_INDEX, key);
    }
    fixture_publish(&f);
    fixture_checkpoint(&f);
    assert_true(store_bytes(f.store) >= full);
    assert_true(store_bytes_in_use(f.store) < 64 * 1024);
    assert_int_equal(store_defragment(f.store), 0);
    assert_true(store_bytes(f.store) < 40 * 1024);
    fixture_reopen(&f);
    assert_true(store_bytes(f.store) < 40 * 1024);
    fixture_close(&f);
}

/* Anonymous memory of this process in KiB; 0 where the kernel does not tell, or a checker's own
 * allocator would be measured. */
static unsigned anonymous_kib(void)
{
    char line[128];
    unsigned kib = 0;
    const char *preload = getenv("LD_PRELOAD");
    FILE *f = fopen("/proc/self/smaps_rollup", "r");
    bool checked = preload != NULL && strstr(preload, "vgpreload") != NULL;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    checked = true;
#endif
    if (f != NULL && checked) {
        fclose(f);
        return 0;
    }
    if (f != NULL) {
        while (fgets(line, sizeof line, f) != NULL && sscanf(line, "Anonymous: %u", &kib) != 1) {
        }
        fclose(f);
    }
    return kib;
}

/* After a large commit LMDB keeps its pages' memory; trimming gives it back, but never while a view
 * is open, and everything goes on as before. */
static void trimming_gives_memory_back(void **state)
{
    struct fixture f;
    char value[3000];
    memset(value, 'v', sizeof value);
    fixture_init(&f);
    assert_int_equal(store_trim(f.store), 0);
    for (int i = 0; i < 4000; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i);
        assert_int_equal(store_put(f.store, TABLE_INDEX, slice_str(key), slice_of(value, i % 2000)),
                         0);
    }
    fixture_publish(&f);
    fixture_checkpoint(&f);
    struct store_view *v = fixture_view(&f);
    assert_int_equal(store_trim(f.store), ERR_BUSY);
    store_view_close(v);
    unsigned before = anonymous_kib();
    fixture_put(&f, TABLE_INDEX, "memtable", "1");
    fixture_publish(&f);
    assert_int_equal(store_trim(f.store), 0);
    assert_true(before == 0 || anonymous_kib() + 3000 < before);
    fixture_expect_now(&f, TABLE_INDEX, "memtable", "1");
    fixture_expect_now(&f, TABLE_INDEX, "0", "");
    fixture_checkpoint(&f);
    assert_int_equal(store_trim(f.store), 0); /* little to gain: nothing happens */
    fixture_reopen(&f);
    fixture_expect_now(&f, TABLE_INDEX, "memtable", "1");
    fixture_expect_now(&f, TABLE_INDEX, "2000", "");
    fixture_close(&f);
}

/* With real syncs, as users run it. */
static void synced_checkpoints_work(void **state)
{
    struct fixture f;
    fixture_init(&f);
    store_close(f.store);
    f.options.unsafe_no_fsync = false;
    f.options.reserve_bytes = 1 << 20;
    fixture_open(&f);
    for (int i = 0; i < 3; i++) {
        fixture_put(&f, TABLE_INDEX, "k", i == 0 ? "0" : i == 1 ? "1" : "2");
        fixture_publish(&f);
        fixture_checkpoint(&f);
    }
    assert_int_equal(store_defragment(f.store), 0);
    assert_false(store_reserve_short(f.store));
    fixture_reopen(&f);
    fixture_expect_now(&f, TABLE_INDEX, "k", "2");
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_become_visible_at_publish),
        cmocka_unit_test(the_writers_view_sees_its_own_rows),
        cmocka_unit_test(the_second_write_of_an_operation_wins),
        cmocka_unit_test(rows_survive_their_journey),
        cmocka_unit_test(unsealed_rows_are_the_logs_business),
        cmocka_unit_test(every_meta_field_survives),
        cmocka_unit_test(an_empty_seal_moves_the_index),
        cmocka_unit_test(views_stay_as_they_were),
#ifndef __SANITIZE_THREAD__
        cmocka_unit_test(a_reader_held_up_in_lmdb_starts_over),
#endif
        cmocka_unit_test(large_rows_fit),
        cmocka_unit_test(cursors_are_reused),
        cmocka_unit_test(maintenance_works_on_the_checkpoint),
        cmocka_unit_test(sizes_are_told),
        cmocka_unit_test(trimming_gives_memory_back),
        cmocka_unit_test(synced_checkpoints_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
