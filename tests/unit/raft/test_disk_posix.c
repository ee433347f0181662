/* test_disk_posix - the log's disk on real files, through native AIO where it works and through the
 * thread: bytes, order of completion, crash-safe creation, forgetting, a whole log on top. */
#include "raft/disk_posix.h"

#include <setjmp.h>
#include <stdarg.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/log.h"
#include "base/rand.h"
#include "raft/disk_files.h"
#include "raft/log.h"

struct fixture {
    uv_loop_t loop;
    char dir[64];
    struct disk *disk;
    bool force_thread;
};

static void fixture_open(struct fixture *f)
{
    struct errmsg e = {""};
    int err = disk_posix_open(&f->loop, f->dir, f->force_thread, false, &f->disk, &e);
    if (err != 0) {
        fail_msg("%s", e.text);
    }
}

static void fixture_init(struct fixture *f, bool force_thread)
{
    const char *base = getenv("TMPDIR");
    snprintf(f->dir, sizeof f->dir, "%s/kvd-disk-XXXXXX", base == NULL ? "/tmp" : base);
    assert_non_null(mkdtemp(f->dir));
    assert_int_equal(uv_loop_init(&f->loop), 0);
    f->force_thread = force_thread;
    fixture_open(f);
    assert_true(!force_thread || strcmp(disk_posix_mode(f->disk), "thread") == 0);
}

static void on_closed(void *data)
{
    *(bool *)data = true;
}

static void fixture_close_disk(struct fixture *f)
{
    bool closed = false;
    disk_posix_close(f->disk, on_closed, &closed);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_true(closed);
}

static void remove_one(void *data, const char *name, uint64_t size)
{
    struct fixture *f = data;
    char path[400];
    (void)size;
    snprintf(path, sizeof path, "%s/%s", f->dir, name);
    unlink(path);
}

static void fixture_close(struct fixture *f)
{
    f->disk->list(f->disk, remove_one, f);
    fixture_close_disk(f);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    assert_int_equal(rmdir(f->dir), 0); /* so nothing is left over, temporary files neither */
}

/* A request that counts its completion. */
struct waiter {
    struct disk_req req;
    int done;
    int err;
};

static void on_done(struct disk_req *req, int err)
{
    struct waiter *w = req->data;
    w->done++;
    w->err = err;
}

static void waiter_init(struct waiter *w)
{
    memset(w, 0, sizeof *w);
    w->req.data = w;
    w->req.cb = on_done;
}

static int wait_for(struct fixture *f, struct waiter *w)
{
    while (w->done == 0) {
        uv_run(&f->loop, UV_RUN_ONCE);
    }
    assert_int_equal(w->done, 1);
    return w->err;
}

static struct disk_file *create(struct fixture *f, const char *name, uint64_t size)
{
    struct waiter w;
    struct disk_file *file = NULL;
    waiter_init(&w);
    f->disk->create(f->disk, &w.req, name, size, &file);
    assert_int_equal(w.done, 0);
    assert_int_equal(wait_for(f, &w), 0);
    assert_non_null(file);
    return file;
}

/* ---- one operation after the other ------------------------------------------------------------
 */

static void check_writes(bool force_thread)
{
    enum { SIZE = 256 * 1024, WRITES = 300 };
    static uint8_t model[SIZE];
    struct fixture f;
    fixture_init(&f, force_thread);
    memset(model, 0, SIZE);
    struct disk_file *file = create(&f, "log-1", SIZE);
    uint8_t *bytes = aligned_alloc(4096, 64 * 1024);
    uint32_t sector = f.disk->sector_bytes;
    struct rand r;
    rand_init(&r, 1);
    for (int i = 0; i < WRITES; i++) {
        struct waiter w;
        size_t len = sector * (1 + (size_t)rand_below(&r, 8));
        size_t at = sector * (size_t)rand_below(&r, (SIZE - len) / sector);
        for (size_t k = 0; k < len; k++) {
            bytes[k] = (uint8_t)rand_u64(&r);
        }
        waiter_init(&w);
        f.disk->write(f.disk, &w.req, file, at, bytes, len);
        assert_int_equal(w.done, 0); /* never inside the call */
        assert_int_equal(wait_for(&f, &w), 0);
        memcpy(model + at, bytes, len);
    }
    f.disk->close(f.disk, file);
    fixture_close_disk(&f);
    fixture_open(&f);
    uint8_t *back = malloc(SIZE);
    size_t got = 0;
    assert_int_equal(f.disk->read(f.disk, "log-1", 0, back, SIZE, &got), 0);
    assert_int_equal(got, SIZE);
    assert_memory_equal(back, model, SIZE);
    assert_int_equal(f.disk->read(f.disk, "log-1", SIZE - 100, back, SIZE, &got), 0);
    assert_int_equal(got, 100); /* short only at the end */
    assert_int_equal(f.disk->read(f.disk, "log-2", 0, back, 1, &got), ERR_IO);
    free(back);
    free(bytes);
    fixture_close(&f);
}

static void writes_arrive_through_aio(void **state)
{
    (void)state;
    check_writes(false);
}

static void writes_arrive_through_the_thread(void **state)
{
    (void)state;
    check_writes(true);
}

/* Which way this machine's file system goes: a test that silently never tried AIO proves little. */
static void probe_says_what_it_found(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, false);
    printf("disk of %s: mode %s, sectors of %u bytes\n", f.dir, disk_posix_mode(f.disk),
           f.disk->sector_bytes);
    assert_in_range(f.disk->sector_bytes, 512, 4096);
    fixture_close(&f);
}

static void write_now_overwrites_and_creates(void **state)
{
    (void)state;
    struct fixture f;
    uint8_t back[64];
    size_t got = 0;
    fixture_init(&f, false);
    assert_int_equal(f.disk->write_now(f.disk, "term", 0, "0123456789", 10), 0);
    assert_int_equal(f.disk->write_now(f.disk, "term", 4, "xy", 2), 0);
    assert_int_equal(f.disk->read(f.disk, "term", 0, back, sizeof back, &got), 0);
    assert_int_equal(got, 10);
    assert_memory_equal(back, "0123xy6789", 10);
    assert_int_equal(f.disk->write_now(f.disk, "other", 5, "x", 1), ERR_IO);
    assert_null(f.disk->open(f.disk, "other"));
    fixture_close(&f);
}

/* ---- creating and removing ---------------------------------------------------------------------
 */

static void count_one(void *data, const char *name, uint64_t size)
{
    (void)name;
    (void)size;
    ++*(int *)data;
}

static int count_files(struct fixture *f)
{
    int n = 0;
    assert_int_equal(f->disk->list(f->disk, count_one, &n), 0);
    return n;
}

static void created_files_are_zeros_and_removed_for_good(void **state)
{
    (void)state;
    for (int thread = 0; thread < 2; thread++) {
        struct fixture f;
        struct waiter w;
        static uint8_t back[1024 * 1024];
        size_t got = 0;
        fixture_init(&f, thread);
        for (int i = 0; i < 4; i++) {
            char name[8] = {'l', (char)('0' + i), 0};
            f.disk->close(f.disk, create(&f, name, sizeof back));
        }
        assert_int_equal(f.disk->read(f.disk, "l2", 0, back, sizeof back, &got), 0);
        assert_int_equal(got, sizeof back);
        assert_true(back[0] == 0 && memcmp(back, back + 1, sizeof back - 1) == 0);
        assert_int_equal(count_files(&f), 4);
        waiter_init(&w);
        f.disk->remove(f.disk, &w.req, (const char *[]){"l0", "never-was", "l3", NULL});
        assert_int_equal(w.done, 0);
        assert_int_equal(wait_for(&f, &w), 0);
        assert_int_equal(count_files(&f), 2);
        fixture_close(&f);
    }
}

/* A creation never replaces a file, and one that cannot be done leaves nothing. */
static void failed_creation_leaves_nothing(void **state)
{
    (void)state;
    struct fixture f;
    struct waiter w;
    struct disk_file *file = NULL;
    uint8_t back[4];
    size_t got;
    fixture_init(&f, true);
    assert_int_equal(f.disk->write_now(f.disk, "l1", 0, "data", 4), 0);
    waiter_init(&w);
    f.disk->create(f.disk, &w.req, "l1", 4096, &file);
    assert_int_equal(wait_for(&f, &w), ERR_IO);
    assert_null(file);
    assert_int_equal(f.disk->read(f.disk, "l1", 0, back, 4, &got), 0);
    assert_memory_equal(back, "data", 4);
    assert_int_equal(count_files(&f), 1);
    waiter_init(&w);
    f.disk->create(f.disk, &w.req, "l2", UINT64_C(1) << 55, &file);
    assert_int_not_equal(wait_for(&f, &w), 0);
    assert_int_equal(count_files(&f), 1);
    fixture_close(&f);
}

/* What a crash in the middle of a creation leaves is gone after the next start. */
static void leftovers_are_removed_at_start(void **state)
{
    (void)state;
    struct fixture f;
    char path[128];
    fixture_init(&f, true);
    snprintf(path, sizeof path, "%s/log-7.new", f.dir);
    FILE *half = fopen(path, "w");
    assert_non_null(half);
    fputs("half", half);
    fclose(half);
    assert_int_equal(count_files(&f), 0);
    fixture_close_disk(&f);
    fixture_open(&f);
    assert_int_equal(access(path, F_OK), -1);
    fixture_close(&f);
}

/* Whatever is under way when its owner goes: no callback, nothing touched, the disk closes. */
static void forgotten_operations_do_not_come_back(void **state)
{
    (void)state;
    for (int i = 0; i < 60; i++) {
        struct fixture f;
        struct waiter *w = malloc(3 * sizeof *w);
        struct disk_file **opened = calloc(1, sizeof *opened);
        uint8_t *bytes = aligned_alloc(4096, 8192);
        fixture_init(&f, i % 2);
        struct disk_file *file = create(&f, "a", 64 * 1024);
        memset(bytes, i, 8192);
        for (int k = 0; k < 3; k++) {
            waiter_init(&w[k]);
        }
        f.disk->create(f.disk, &w[0].req, "b", 64 * 1024, opened);
        f.disk->write(f.disk, &w[1].req, file, 0, bytes, 8192);
        f.disk->remove(f.disk, &w[2].req, (const char *[]){"x", NULL});
        for (int spin = 0; spin < i / 6; spin++) {
            uv_run(&f.loop, UV_RUN_NOWAIT);
        }
        for (int k = 0; k < 3; k++) {
            if (w[k].done == 0) {
                f.disk->forget(f.disk, &w[k].req);
            }
        }
        if (*opened != NULL) {
            f.disk->close(f.disk, *opened);
        }
        f.disk->close(f.disk, file);
        free(w);
        free(opened);
        free(bytes);
        uv_run(&f.loop, UV_RUN_NOWAIT);
        fixture_close(&f);
    }
}

/* ---- a log on it --------------------------------------------------------------------------------
 */

struct appender {
    struct log *log;
    struct log_append append;
    uint8_t payload[3000];
    int left;
    uint64_t durable;
};

static void append_next(struct log_append *req)
{
    struct appender *a = req->data;
    a->durable = req->last_index;
    if (a->left-- > 0) {
        uint64_t index = log_last_index(a->log) + 1;
        struct log_entry entries[3];
        for (unsigned i = 0; i < 3; i++) {
            entries[i] = (struct log_entry){.index = index + i,
                                            .term = 1,
                                            .type = 1,
                                            .payload = slice_of(a->payload, (index + i) % 3000)};
        }
        log_append(a->log, req, entries, 3);
    }
}

static int check_entry(void *data, const struct log_entry *e)
{
    uint64_t *next = data;
    uint8_t payload[3000];
    memset(payload, 0x5a, sizeof payload);
    bool good = e->index == *next && e->payload.len == e->index % 3000 &&
                memcmp(payload, e->payload.data, e->payload.len) == 0;
    ++*next;
    return good ? 0 : ERR_INVALID;
}

static void check_log(bool force_thread)
{
    struct fixture f;
    struct errmsg e = {""};
    struct term_file *terms;
    uint64_t next = 1;
    for (int round = 0; round < 3; round++) {
        if (round == 0) {
            fixture_init(&f, force_thread);
        } else {
            fixture_open(&f);
        }
        struct log_options options = {.disk = f.disk, .segment_bytes = 128 * 1024};
        static struct appender a;
        uint64_t first;
        uint64_t expect = 1;
        int err = log_open(&options, check_entry, &expect, &a.log, &first, &e);
        if (err != 0) {
            fail_msg("%s", e.text);
        }
        assert_int_equal(expect, next);
        assert_int_equal(log_last_index(a.log) + 1, next);
        assert_int_equal(term_file_open(f.disk, &terms, &e), 0);
        assert_int_equal(term_file_term(terms), round);
        assert_int_equal(term_file_set(terms, (uint64_t)round + 1, 7), 0);
        term_file_close(terms);
        memset(a.payload, 0x5a, sizeof a.payload);
        a.left = 200;
        a.append = (struct log_append){.data = &a, .cb = append_next};
        append_next(&a.append);
        while (log_pending(a.log)) {
            uv_run(&f.loop, UV_RUN_ONCE);
        }
        next += 600;
        assert_int_equal(a.durable, next - 1);
        log_close(a.log);
        if (round < 2) {
            fixture_close_disk(&f);
        }
    }
    fixture_close(&f);
}

static void log_works_through_aio(void **state)
{
    (void)state;
    check_log(false);
}

static void log_works_through_the_thread(void **state)
{
    (void)state;
    check_log(true);
}

static void opening_a_missing_directory_fails(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct disk *d;
    struct errmsg e = {""};
    uv_loop_init(&loop);
    assert_int_equal(disk_posix_open(&loop, "/nonexistent/x", false, false, &d, &e), ERR_IO);
    assert_non_null(strstr(e.text, "/nonexistent/x"));
    assert_null(d);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    log_set_level(LOG_FATAL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(probe_says_what_it_found),
        cmocka_unit_test(writes_arrive_through_aio),
        cmocka_unit_test(writes_arrive_through_the_thread),
        cmocka_unit_test(write_now_overwrites_and_creates),
        cmocka_unit_test(created_files_are_zeros_and_removed_for_good),
        cmocka_unit_test(failed_creation_leaves_nothing),
        cmocka_unit_test(leftovers_are_removed_at_start),
        cmocka_unit_test(forgotten_operations_do_not_come_back),
        cmocka_unit_test(log_works_through_aio),
        cmocka_unit_test(log_works_through_the_thread),
        cmocka_unit_test(opening_a_missing_directory_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
