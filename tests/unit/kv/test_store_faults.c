/* test_store_faults - failing commits, full disks and maps, exhausted memory, damaged or newer
 * files, and what a crash in the middle of a swap leaves behind. */
#include "store_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <sched.h>
#include <sys/mount.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "kv/store_test.h"

static int quiet(void **state)
{
    log_set_level(LOG_FATAL); /* the failures here are on purpose */
    return 0;
}

static void fixture_path(const struct fixture *f, const char *name, char *out, size_t size)
{
    assert_true((size_t)snprintf(out, size, "%s/%s", f->dir, name) < size);
}

static bool fixture_has(const struct fixture *f, const char *name)
{
    char path[400];
    fixture_path(f, name, path, sizeof path);
    return access(path, F_OK) == 0;
}

/* ---- commits that fail
 * --------------------------------------------------------------------------- */

static void a_failed_commit_changes_nothing(void **state)
{
    static const int faults[][2] = {
        {ENOSPC, ERR_NO_SPACE}, {EDQUOT, ERR_NO_SPACE}, {EIO, ERR_IO}, {ENOMEM, ERR_NOMEM}};
    struct fixture f;
    fixture_init(&f);
    fixture_put(&f, TABLE_INDEX, "old", "1");
    fixture_publish(&f);
    fixture_checkpoint(&f);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        uint64_t durable = store_durable_index(f.store);
        fixture_put(&f, TABLE_INDEX, "new", "2");
        fixture_erase(&f, TABLE_INDEX, "old");
        fixture_publish(&f);
        assert_true(fixture_seal(&f));
        f.fault = faults[i][0];
        assert_int_equal(store_checkpoint(f.store), faults[i][1]);
        assert_true(store_sealed(f.store));
        assert_int_equal(store_durable_index(f.store), durable);
        fixture_expect_now(&f, TABLE_INDEX, "new", "2");
        fixture_expect_now(&f, TABLE_INDEX, "old", NULL);
        f.fault = 0;
        assert_int_equal(store_checkpoint(f.store), 0);
        assert_int_equal(store_durable_index(f.store), f.index);
        fixture_expect_now(&f, TABLE_INDEX, "new", "2");
        fixture_put(&f, TABLE_INDEX, "old", "1");
        fixture_publish(&f);
        fixture_checkpoint(&f);
    }
    f.fault = ENOSPC;
    fixture_put(&f, TABLE_INDEX, "lost", "3");
    fixture_publish(&f);
    assert_true(fixture_seal(&f));
    assert_int_equal(store_checkpoint(f.store), ERR_NO_SPACE);
    f.fault = 0;
    fixture_reopen(&f);
    fixture_expect_now(&f, TABLE_INDEX, "old", "1");
    fixture_expect_now(&f, TABLE_INDEX, "lost", NULL);
    fixture_close(&f);
}

static int erase_one(struct store_txn *t, void *data)
{
    return store_txn_erase(t, TABLE_RECORD, slice_str("r"));
}

static void a_failed_maintenance_changes_nothing(void **state)
{
    struct fixture f;
    fixture_init(&f);
    fixture_put(&f, TABLE_RECORD, "r", "1");
    fixture_publish(&f);
    fixture_checkpoint(&f);
    f.fault = ENOSPC;
    assert_int_equal(store_maintain(f.store, erase_one, NULL), ERR_NO_SPACE);
    fixture_expect_now(&f, TABLE_RECORD, "r", "1");
    f.fault = 0;
    assert_int_equal(store_maintain(f.store, erase_one, NULL), 0);
    fixture_expect_now(&f, TABLE_RECORD, "r", NULL);
    fixture_close(&f);
}

/* A map that is too small answers like a full disk, and a larger one takes what waited. */
static void a_full_map_is_no_space(void **state)
{
    struct fixture f;
    char value[4000];
    memset(value, 'v', sizeof value);
    fixture_init(&f);
    store_close(f.store);
    f.options.map_bytes = 256 * 1024;
    fixture_open(&f);
    for (int i = 0; i < 100; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i);
        assert_int_equal(
            store_put(f.store, TABLE_INDEX, slice_str(key), slice_of(value, sizeof value)), 0);
    }
    fixture_publish(&f);
    assert_true(fixture_seal(&f));
    assert_int_equal(store_checkpoint(f.store), ERR_NO_SPACE);
    assert_true(store_sealed(f.store));
    struct store_view *v = fixture_view(&f);
    struct slice found;
    assert_int_equal(store_get(v, TABLE_INDEX, slice_str("99"), &found), 1);
    store_view_close(v);
    fixture_reopen(&f);
    fixture_expect_now(&f, TABLE_INDEX, "99", NULL);
    fixture_put(&f, TABLE_INDEX, "small", "fits");
    fixture_publish(&f);
    fixture_checkpoint(&f);
    f.options.map_bytes = MAP_BYTES;
    fixture_reopen(&f);
    fixture_expect_now(&f, TABLE_INDEX, "small", "fits");
    fixture_close(&f);
}

/* ---- a disk that is really full
 * ------------------------------------------------------------------ */

static void fill_disk(const char *path)
{
    static char block[4096];
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    assert_true(fd >= 0);
    while (write(fd, block, sizeof block) == (ssize_t)sizeof block) {
    }
    assert_int_equal(errno, ENOSPC);
    close(fd);
}

static void put_bytes(struct fixture *f, unsigned from, unsigned count)
{
    char value[3000];
    memset(value, 'v', sizeof value);
    for (unsigned i = from; i < from + count; i++) {
        char key[16];
        snprintf(key, sizeof key, "%u", i);
        assert_int_equal(
            store_put(f->store, TABLE_INDEX, slice_str(key), slice_of(value, sizeof value)), 0);
    }
    fixture_publish(f);
    fixture_seal(f);
}

/* On a disk with no block left a checkpoint goes into the reserve, says that the reserve is short,
 * lets erasures through, and recovers when there is room again. */
static void full_disk_run(const char *mount_point)
{
    struct fixture f = {0};
    char filler[300];
    snprintf(filler, sizeof filler, "%s/filler", mount_point);
    snprintf(f.dir, sizeof f.dir, "%.200s/store", mount_point);
    assert_int_equal(mkdir(f.dir, 0700), 0);
    f.options = (struct store_options){.dir = f.dir,
                                       .map_bytes = MAP_BYTES,
                                       .reserve_bytes = 512 * 1024,
                                       .commit_fault = fixture_fault,
                                       .fault_data = &f};
    fixture_open(&f);
    put_bytes(&f, 0, 10);
    assert_int_equal(store_checkpoint(f.store), 0);
    assert_false(store_reserve_short(f.store));
    /* A short write, with megabytes left: LMDB's EIO means a full disk here. */
    put_bytes(&f, 0, 10);
    f.fault = EIO;
    assert_int_equal(store_checkpoint(f.store), ERR_NO_SPACE);
    f.fault = 0;
    assert_int_equal(store_checkpoint(f.store), 0);
    fill_disk(filler);

    put_bytes(&f, 10, 40);
    assert_int_equal(store_checkpoint(f.store), 0);
    assert_true(store_reserve_short(f.store));
    for (unsigned i = 0; i < 20; i++) {
        char key[16];
        snprintf(key, sizeof key, "%u", i);
        fixture_erase(&f, TABLE_INDEX, key);
    }
    fixture_publish(&f);
    fixture_checkpoint(&f);

    /* More than the reserve: refused, retried in vain, accepted once there is room. */
    put_bytes(&f, 100, 400);
    assert_int_equal(store_checkpoint(f.store), ERR_NO_SPACE);
    assert_int_equal(store_checkpoint(f.store), ERR_NO_SPACE);
    fill_disk(filler); /* takes the quarter that was set free */
    assert_int_equal(store_defragment(f.store), ERR_NO_SPACE);
    assert_int_equal(store_checkpoint(f.store), ERR_NO_SPACE);
    assert_true(store_sealed(f.store));
    assert_true(store_reserve_short(f.store));
    assert_int_equal(unlink(filler), 0);
    assert_int_equal(store_checkpoint(f.store), 0);
    assert_false(store_reserve_short(f.store));
    fixture_expect_now(&f, TABLE_INDEX, "0", NULL);
    struct store_view *v = fixture_view(&f);
    struct slice value;
    assert_int_equal(store_get(v, TABLE_INDEX, slice_str("499"), &value), 1);
    assert_int_equal(store_get(v, TABLE_INDEX, slice_str("49"), &value), 1);
    store_view_close(v);
    store_close(f.store);
}

static void a_full_disk_leaves_the_reserve(void **state)
{
    char mount_point[200];
    fixture_make_dir(mount_point, sizeof mount_point);
    /* A mount namespace of its own: nothing stays mounted, whatever happens. */
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", mount_point, "tmpfs", 0, "size=4m") != 0) {
        fixture_remove(mount_point);
        skip(); /* not permitted here */
    }
    full_disk_run(mount_point);
    assert_int_equal(umount2(mount_point, MNT_DETACH), 0);
    fixture_remove(mount_point);
}

/* ---- files found at the start
 * -------------------------------------------------------------------- */

static void copy_file(const char *from, const char *to)
{
    static char block[65536];
    int in = open(from, O_RDONLY);
    int out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(in >= 0 && out >= 0);
    ssize_t n;
    while ((n = read(in, block, sizeof block)) > 0) {
        assert_int_equal(write(out, block, (size_t)n), n);
    }
    close(in);
    close(out);
}

/* dir/<to> becomes a copy of dir/<from>. */
static void copy_generation(const struct fixture *f, const char *from, const char *to)
{
    char path[400];
    char data[450];
    char data_to[450];
    fixture_path(f, to, path, sizeof path);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(data_to, sizeof data_to, "%s/data.mdb", path);
    fixture_path(f, from, path, sizeof path);
    snprintf(data, sizeof data, "%s/data.mdb", path);
    copy_file(data, data_to);
}

/* Every state a crash during a swap from 1 to 2 can leave. */
static void a_crash_in_a_swap_leaves_one_whole_generation(void **state)
{
    struct fixture f;
    char path[400];
    fixture_init(&f);
    fixture_put(&f, TABLE_INDEX, "k", "1");
    fixture_publish(&f);
    fixture_checkpoint(&f);

    /* An empty directory, then half a file: the swap never happened. */
    store_close(f.store);
    fixture_path(&f, "2.tmp", path, sizeof path);
    assert_int_equal(mkdir(path, 0700), 0);
    fixture_open(&f);
    assert_false(fixture_has(&f, "2.tmp"));
    store_close(f.store);
    copy_generation(&f, "1", "2.tmp");
    fixture_path(&f, "2.tmp/data.mdb", path, sizeof path);
    assert_int_equal(truncate(path, 5000), 0);
    fixture_open(&f);
    assert_false(fixture_has(&f, "2.tmp"));
    assert_true(fixture_has(&f, "1"));
    fixture_expect_now(&f, TABLE_INDEX, "k", "1");

    /* Renamed, the old one still there, whole or half removed: the swap happened. */
    store_close(f.store);
    copy_generation(&f, "1", "2");
    fixture_path(&f, "1/data.mdb", path, sizeof path);
    assert_int_equal(truncate(path, 100), 0);
    fixture_open(&f);
    assert_false(fixture_has(&f, "1"));
    fixture_expect_now(&f, TABLE_INDEX, "k", "1");
    store_close(f.store);
    fixture_path(&f, "1", path, sizeof path);
    assert_int_equal(mkdir(path, 0700), 0);
    fixture_open(&f);
    assert_false(fixture_has(&f, "1"));
    fixture_expect_now(&f, TABLE_INDEX, "k", "1");

    /* Names that are not ours stay. */
    store_close(f.store);
    static const char *const strangers[] = {"lost+found", "01", "3x", "0", "x.tmp", "3.tmp.old"};
    for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++) {
        fixture_path(&f, strangers[i], path, sizeof path);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    fixture_open(&f);
    for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++) {
        assert_true(fixture_has(&f, strangers[i]));
    }
    fixture_expect_now(&f, TABLE_INDEX, "k", "1");
    assert_int_equal(store_defragment(f.store), 0);
    assert_true(fixture_has(&f, "3/data.mdb"));
    assert_false(fixture_has(&f, "2"));
    fixture_reopen(&f);
    fixture_expect_now(&f, TABLE_INDEX, "k", "1");
    fixture_close(&f);
}

/* A crash before the first generation was renamed starts a new store. */
static void a_crash_in_the_first_start_starts_anew(void **state)
{
    struct fixture f;
    fixture_init(&f);
    store_close(f.store);
    char from[400];
    char to[400];
    fixture_path(&f, "1", from, sizeof from);
    fixture_path(&f, "1.tmp", to, sizeof to);
    assert_int_equal(rename(from, to), 0);
    fixture_open(&f);
    assert_true(fixture_has(&f, "1/data.mdb"));
    assert_false(fixture_has(&f, "1.tmp"));
    fixture_close(&f);
}

/* Changes byte `at` of the meta row (from its end when negative), with its CRC made right again
 * when asked to. */
static void edit_meta(const struct fixture *f, int at, uint8_t value, bool crc)
{
    char path[400];
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    uint8_t key = 0x01;
    uint8_t row[1000];
    MDB_val k = {.mv_data = &key, .mv_size = 1};
    MDB_val v;
    fixture_path(f, "1", path, sizeof path);
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_open(env, path, 0, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, NULL, 0, &dbi), 0);
    assert_int_equal(mdb_get(txn, dbi, &k, &v), 0);
    assert_true(v.mv_size <= sizeof row);
    memcpy(row, v.mv_data, v.mv_size);
    row[at < 0 ? (int)v.mv_size + at : at] = value;
    if (crc) {
        bytes_put_le32(row + v.mv_size - 4, crc32c(0, row, v.mv_size - 4));
    }
    v.mv_data = row;
    assert_int_equal(mdb_put(txn, dbi, &k, &v, 0), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

static void expect_open_fails(struct fixture *f, int want, const char *words)
{
    struct errmsg e = {""};
    assert_int_equal(store_open(&f->options, &f->store, &e), want);
    if (strstr(e.text, words) == NULL) {
        fail_msg("\"%s\" lacks \"%s\"", e.text, words);
    }
}

static void damaged_and_newer_files_are_refused(void **state)
{
    struct fixture f;
    char path[400];
    fixture_init(&f);
    fixture_put(&f, TABLE_INDEX, "k", "1");
    fixture_publish(&f);
    fixture_checkpoint(&f);
    store_close(f.store);

    edit_meta(&f, 8, 2, true);
    expect_open_fails(&f, ERR_TOO_NEW, "format 2");
    edit_meta(&f, 8, 1, true);
    for (int at = 0; at < 100; at += 9) {
        edit_meta(&f, at, 0xee, false);
        expect_open_fails(&f, ERR_DAMAGED, "meta row is damaged");
        fixture_remove(f.dir);
        assert_int_equal(mkdir(f.dir, 0700), 0);
        fixture_open(&f);
        store_close(f.store);
    }
    edit_meta(&f, 92, 200, true); /* the configuration would end outside */
    expect_open_fails(&f, ERR_DAMAGED, "meta row is damaged");
    edit_meta(&f, 92, 0, true);

    fixture_open(&f);
    for (int i = 0; i < 50; i++) {
        char key[600];
        memset(key, 'a' + i % 20, 500);
        snprintf(key + 500, sizeof key - 500, "%d", i);
        fixture_put(&f, TABLE_INDEX, key, "value");
    }
    fixture_publish(&f);
    fixture_checkpoint(&f);
    store_close(f.store);
    fixture_path(&f, "1/data.mdb", path, sizeof path);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(truncate(path, st.st_size - 4096), 0);
    expect_open_fails(&f, ERR_DAMAGED, "cut short");
    assert_int_equal(truncate(path, 9000), 0);
    expect_open_fails(&f, ERR_DAMAGED, "cut short");
    assert_int_equal(truncate(path, 5000), 0);
    expect_open_fails(&f, ERR_DAMAGED, "data.mdb");
    int fd = open(path, O_WRONLY | O_TRUNC);
    char garbage[9000];
    memset(garbage, 'g', sizeof garbage);
    assert_int_equal(write(fd, garbage, sizeof garbage), sizeof garbage);
    close(fd);
    expect_open_fails(&f, ERR_DAMAGED, "data.mdb");
    fixture_remove(f.dir);
    expect_open_fails(&f, ERR_IO, "No such file");
}

/* A snapshot that is no store is refused, and the store is as before. */
static void bad_snapshots_are_refused(void **state)
{
    struct fixture f;
    struct errmsg e = {""};
    char path[400];
    struct store_meta meta;
    struct buf configuration;
    buf_init(&configuration);
    fixture_init(&f);
    fixture_put(&f, TABLE_INDEX, "k", "copied");
    fixture_publish(&f);
    fixture_checkpoint(&f);
    snprintf(path, sizeof path, "%s.copy", f.dir);
    assert_int_equal(store_copy(f.store, path, &meta, &configuration), 0);
    assert_int_equal(meta.applied_index, 1);
    assert_true(slice_eq(meta.configuration, slice_str("members")));
    assert_true(slice_eq(buf_slice(&configuration), slice_str("members")));
    buf_close(&configuration);
    fixture_put(&f, TABLE_INDEX, "k", "now");
    fixture_publish(&f);

    char spoiled[420];
    snprintf(spoiled, sizeof spoiled, "%s.bad", path);
    copy_file(path, spoiled);
    struct stat st;
    assert_int_equal(stat(spoiled, &st), 0);
    assert_int_equal(truncate(spoiled, st.st_size - 4096), 0);
    assert_int_equal(store_install(f.store, spoiled, &e), ERR_DAMAGED);
    assert_non_null(strstr(e.text, "cut short"));
    assert_int_equal(truncate(spoiled, 0), 0);
    assert_int_not_equal(store_install(f.store, spoiled, &e), 0);
    unlink(spoiled);
    assert_int_equal(store_install(f.store, spoiled, &e), ERR_IO);
    fixture_expect_now(&f, TABLE_INDEX, "k", "now");
    assert_true(fixture_has(&f, "1"));
    assert_false(fixture_has(&f, "2"));
    assert_false(fixture_has(&f, "2.tmp"));

    struct store_view *old = fixture_view(&f);
    assert_int_equal(store_install(f.store, path, &e), 0);
    fixture_expect(old, TABLE_INDEX, "k", "now");
    fixture_expect_now(&f, TABLE_INDEX, "k", "copied");
    assert_false(fixture_has(&f, "1"));
    store_view_close(old);
    fixture_reopen(&f);
    fixture_expect_now(&f, TABLE_INDEX, "k", "copied");
    fixture_close(&f);
}

#ifdef KVD_DEBUG
/* Where LMDB refuses to compact, copies and defragmentation still work, page by page. */
static void copies_work_without_compaction(void **state)
{
    struct fixture f;
    struct errmsg e = {""};
    char path[400];
    struct store_meta meta;
    struct buf configuration;
    fixture_init(&f);
    for (int i = 0; i < 200; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i);
        fixture_put(&f, TABLE_INDEX, key, "value");
    }
    fixture_publish(&f);
    fixture_checkpoint(&f);
    atomic_store(&store_test_copy_plain, true);
    snprintf(path, sizeof path, "%s.copy", f.dir);
    buf_init(&configuration);
    assert_int_equal(store_copy(f.store, path, &meta, &configuration), 0);
    assert_int_equal(store_defragment(f.store), 0);
    atomic_store(&store_test_copy_plain, false);
    fixture_expect_now(&f, TABLE_INDEX, "199", "value");
    assert_int_equal(store_install(f.store, path, &e), 0);
    fixture_expect_now(&f, TABLE_INDEX, "199", "value");
    fixture_put(&f, TABLE_INDEX, "more", "1");
    fixture_publish(&f);
    fixture_checkpoint(&f);
    fixture_reopen(&f);
    fixture_expect_now(&f, TABLE_INDEX, "0", "value");
    fixture_expect_now(&f, TABLE_INDEX, "more", "1");
    buf_close(&configuration);
    fixture_close(&f);
}
#endif

/* ---- exhausted memory
 * ---------------------------------------------------------------------------- */

static void open_survives_exhaustion(void **state)
{
    struct fixture f;
    fixture_init(&f);
    fixture_put(&f, TABLE_INDEX, "k", "1");
    fixture_publish(&f);
    fixture_checkpoint(&f);
    store_close(f.store);
    unsigned failures = 0;
    for (int fresh = 0; fresh < 2; fresh++) {
        if (fresh == 1) {
            fixture_remove(f.dir);
            assert_int_equal(mkdir(f.dir, 0700), 0);
        }
        for (uint64_t n = 1;; n++) {
            struct errmsg e = {""};
            mem_fail_after(n);
            int err = store_open(&f.options, &f.store, &e);
            mem_fail_after(0);
            if (err == 0) {
                break;
            }
            assert_int_equal(err, ERR_NOMEM);
            assert_true(e.text[0] != '\0');
            failures++;
        }
        fixture_expect_now(&f, TABLE_INDEX, "k", fresh == 0 ? "1" : NULL);
        store_close(f.store);
    }
    assert_true(failures > 10);
    fixture_open(&f);
    fixture_close(&f);
}

/* Every operation, its Nth allocation failing: an error or a retry, never a changed store. */
static void operations_survive_exhaustion(void **state)
{
    struct fixture f;
    char copy[300];
    fixture_init(&f);
    snprintf(copy, sizeof copy, "%s.copy", f.dir);
    fixture_put(&f, TABLE_INDEX, "k", "1");
    fixture_publish(&f);
    fixture_checkpoint(&f);
    unsigned failures = 0;
#ifdef KVD_DEBUG
    atomic_store(&store_test_trim_always, true);
#endif
    for (int operation = 0; operation < 10; operation++) {
        for (uint64_t n = 1;; n++) {
            struct store_view *v = NULL;
            struct store_cursor *c = NULL;
            struct store_meta meta;
            struct errmsg e = {""};
            struct buf configuration;
            buf_init(&configuration);
            int err = 0;
            if (operation == 2) {
                v = fixture_view(&f);
            }
            mem_fail_after(n);
            switch (operation) {
            case 0:
                err = store_put(f.store, TABLE_INDEX, slice_str("other"), slice_str("2"));
                break;
            case 1:
                err = store_view_open(f.store, &v);
                break;
            case 2:
                err = store_cursor_open(v, TABLE_INDEX, &c);
                break;
            case 3:
                fixture_publish(&f);
                fixture_put(&f, TABLE_RECORD, "r", "x");
                fixture_publish(&f);
                err = fixture_seal(&f) ? 0 : ERR_NOMEM;
                break;
            case 4:
                err = store_checkpoint(f.store);
                break;
            case 5:
                err = store_maintain(f.store, erase_one, NULL);
                break;
            case 6:
                err = store_defragment(f.store);
                break;
            case 7:
                err = store_copy(f.store, copy, &meta, &configuration);
                break;
            case 9:
                err = store_trim(f.store);
                break;
            case 8:
                err = store_install(f.store, copy, &e);
                break;
            }
            mem_fail_after(0);
            buf_close(&configuration);
            if (err == 0 && operation == 2) {
                store_cursor_close(c);
            }
            if (v != NULL) {
                fixture_expect(v, TABLE_INDEX, "k", "1");
                store_view_close(v);
            }
            fixture_expect_now(&f, TABLE_INDEX, "k", "1");
            if (err == 0) {
                break;
            }
            assert_int_equal(err, ERR_NOMEM);
            failures++;
        }
    }
    assert_true(failures > 15);
    fixture_expect_now(&f, TABLE_INDEX, "other", "2");
    fixture_expect_now(&f, TABLE_RECORD, "r", NULL);
    fixture_reopen(&f);
    fixture_expect_now(&f, TABLE_INDEX, "other", "2");
    fixture_close(&f);
}

/* Beyond STORE_VIEWS_MAX views the answer is an error, and closing one makes room. */
static void too_many_views_are_refused(void **state)
{
    struct fixture f;
    fixture_init(&f);
    size_t count = 0;
    struct store_view **views = calloc(5000, sizeof *views);
    int err = 0;
    while (count < 5000 && (err = store_view_open(f.store, &views[count])) == 0) {
        count++;
    }
    assert_int_equal(err, ERR_BUSY);
    assert_true(count > 4000);
    assert_int_equal(store_view_open(f.store, &views[count]), ERR_BUSY);
    fixture_put(&f, TABLE_INDEX, "k", "1");
    fixture_publish(&f);
    fixture_checkpoint(&f);
    while (count > 0) {
        fixture_expect(views[count - 1], TABLE_INDEX, "k", NULL);
        store_view_close(views[--count]);
    }
    fixture_expect_now(&f, TABLE_INDEX, "k", "1");
    free(views);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_commit_changes_nothing),
        cmocka_unit_test(a_failed_maintenance_changes_nothing),
        cmocka_unit_test(a_full_map_is_no_space),
        cmocka_unit_test(a_full_disk_leaves_the_reserve),
        cmocka_unit_test(a_crash_in_a_swap_leaves_one_whole_generation),
        cmocka_unit_test(a_crash_in_the_first_start_starts_anew),
        cmocka_unit_test(damaged_and_newer_files_are_refused),
        cmocka_unit_test(bad_snapshots_are_refused),
#ifdef KVD_DEBUG
        cmocka_unit_test(copies_work_without_compaction),
#endif
        cmocka_unit_test(open_survives_exhaustion),
        cmocka_unit_test(operations_survive_exhaustion),
        cmocka_unit_test(too_many_views_are_refused),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
