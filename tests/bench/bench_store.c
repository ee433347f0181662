/* bench_store - the two storage layouts of design section 4, measured on the store itself.
 *
 * Layout A (kvd's): a record row per change with the value, and an index row per version of a key.
 * Layout B: one row per key with its newest value, the values before it moved to rows of their own
 * when they are overwritten, and a record row per change without value.
 * Both go through memtable, seal and checkpoint (full sync) on one thread, so CPU is all there is.
 * Prints one table; --full adds a million keys. Nothing but a temporary directory is written. */
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/rand.h"
#include "kv/store.h"

#define VALUE_BYTES   256u
#define KEY_BYTES     40u
#define COMMITS_MAX   4096u
#define ENTRY_OPS     100u       /* operations per published batch, as a raft entry brings them */
#define TABLE_OLD     TABLE_AUTH /* layout B: the values before the newest */
#define MICRO_LOOKUPS 300000u

struct bench {
    char dir[256];
    struct store *store;
    bool layout_b;
    uint64_t keys;
    uint64_t revision;
    struct rand random;
    double commit_ms[COMMITS_MAX];
    size_t commits;
    uint8_t value[VALUE_BYTES];
};

/* Everything here must work; there is nothing to recover. */
static void must(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "bench_store: %s failed: %s\n", what, strerror(errno));
        exit(1);
    }
}

static double wall_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double cpu_s(void)
{
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
           (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1e-6;
}

/* LMDB writes pages with these two only. Defined here they come before libc's, and count: the
 * kernel's own figure (write_bytes in /proc/self/io) takes whole folios for each page. */
static uint64_t written;

__attribute__((visibility("default"))) ssize_t writev(int fd, const struct iovec *parts, int count)
{
    ssize_t n = syscall(SYS_writev, fd, parts, count);
    written += n > 0 ? (uint64_t)n : 0;
    return n;
}

__attribute__((visibility("default"))) ssize_t pwrite(int fd, const void *data, size_t len,
                                                      off_t at)
{
    ssize_t n = syscall(SYS_pwrite64, fd, data, len, at);
    written += n > 0 ? (uint64_t)n : 0;
    return n;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

/* ---- rows
 * ---------------------------------------------------------------------------------------- */

static size_t make_key(uint64_t id, uint8_t out[KEY_BYTES + 16])
{
    int n = snprintf((char *)out, KEY_BYTES + 1, "/registry/pods/ns-%04u/pod-%010u",
                     (unsigned)(id % 97), (unsigned)id);
    return (size_t)n;
}

static size_t make_version_key(uint8_t *key, size_t len, uint64_t revision)
{
    key[len] = 0;
    key[len + 1] = 1;
    bytes_put_be64(key + len + 2, ~revision);
    memset(key + len + 10, 0xff, 4);
    return len + 14;
}

/* What both keep of a version besides the value: create, mod, version, lease, flags, CRC. */
#define META_BYTES 28u

static void put(struct bench *b, enum store_table table, const uint8_t *key, size_t key_len,
                const uint8_t *value, size_t len)
{
    must(store_put(b->store, table, slice_of(key, key_len), slice_of(value, len)) == 0, "put");
}

/* As apply does it: look for the newest version, then write record and index row. */
static void put_a(struct bench *b, uint64_t id)
{
    uint8_t key[KEY_BYTES + 16];
    uint8_t row[META_BYTES + KEY_BYTES + VALUE_BYTES];
    uint8_t record[12];
    struct store_cursor *c;
    size_t len = make_key(id, key);
    uint64_t create = b->revision;
    key[len] = 0;
    key[len + 1] = 1;
    must(store_cursor_open(store_writer_view(b->store), TABLE_INDEX, &c) == 0, "cursor");
    if (store_cursor_seek(c, slice_of(key, len + 2)) == 1 &&
        slice_starts_with(store_cursor_key(c), slice_of(key, len + 2))) {
        create = bytes_le64(store_cursor_value(c).data);
    }
    store_cursor_close(c);
    memset(row, 0, META_BYTES);
    bytes_put_le64(row, create);
    bytes_put_le64(row + 8, b->revision);
    size_t key_len = make_version_key(key, len, b->revision);
    put(b, TABLE_INDEX, key, key_len, row, META_BYTES);
    memcpy(row + META_BYTES, key, len);
    memcpy(row + META_BYTES + len, b->value, VALUE_BYTES);
    bytes_put_be64(record, b->revision);
    memset(record + 8, 0, 4);
    put(b, TABLE_RECORD, record, sizeof record, row, META_BYTES + len + VALUE_BYTES);
}

static void put_b(struct bench *b, uint64_t id)
{
    uint8_t key[KEY_BYTES + 16];
    uint8_t row[META_BYTES + KEY_BYTES + VALUE_BYTES];
    uint8_t record[12];
    struct slice old;
    size_t len = make_key(id, key);
    uint64_t create = b->revision;
    int rc = store_get(store_writer_view(b->store), TABLE_INDEX, slice_of(key, len), &old);
    must(rc >= 0, "get");
    if (rc == 1) {
        uint8_t old_key[KEY_BYTES + 16];
        memcpy(old_key, key, len);
        create = bytes_le64(old.data);
        size_t old_len = make_version_key(old_key, len, bytes_le64(old.data + 8));
        put(b, TABLE_OLD, old_key, old_len, old.data, old.len);
    }
    memset(row, 0, META_BYTES);
    bytes_put_le64(row, create);
    bytes_put_le64(row + 8, b->revision);
    memcpy(row + META_BYTES, b->value, VALUE_BYTES);
    put(b, TABLE_INDEX, key, len, row, META_BYTES + VALUE_BYTES);
    memcpy(row + META_BYTES, key, len);
    bytes_put_be64(record, b->revision);
    memset(record + 8, 0, 4);
    put(b, TABLE_RECORD, record, sizeof record, row, META_BYTES + len);
}

static void bench_publish(struct bench *b)
{
    struct store_point point = {.revision = (int64_t)b->revision, .applied_index = b->revision};
    store_publish(b->store, &point);
}

static void bench_checkpoint(struct bench *b)
{
    struct store_meta meta = {.applied_index = b->revision, .revision = (int64_t)b->revision};
    bench_publish(b);
    if (store_seal(b->store, &meta)) {
        double start = wall_s();
        must(store_checkpoint(b->store) == 0, "checkpoint");
        if (b->commits < COMMITS_MAX) {
            b->commit_ms[b->commits++] = (wall_s() - start) * 1e3;
        }
    }
}

static void bench_put(struct bench *b, uint64_t id)
{
    b->revision++;
    bytes_put_le64(b->value, b->revision);
    if (b->layout_b) {
        put_b(b, id);
    } else {
        put_a(b, id);
    }
    if (b->revision % ENTRY_OPS == 0) {
        bench_publish(b);
    }
}

/* ---- reads
 * --------------------------------------------------------------------------------------- */

/* Every key with its newest value, in order, as a range over everything does. */
static uint64_t scan(struct bench *b)
{
    struct store_view *v;
    struct store_cursor *c;
    uint64_t rows = 0;
    uint8_t last[KEY_BYTES + 16];
    size_t last_len = 0;
    must(store_view_open(b->store, &v) == 0, "view");
    must(store_cursor_open(v, TABLE_INDEX, &c) == 0, "cursor");
    for (int rc = store_cursor_seek(c, slice_of(NULL, 0)); rc == 1; rc = store_cursor_next(c)) {
        struct slice key = store_cursor_key(c);
        struct slice value = store_cursor_value(c);
        if (!b->layout_b) {
            if (key.len - 14 == last_len && memcmp(key.data, last, last_len) == 0) {
                continue; /* an older version */
            }
            last_len = key.len - 14;
            memcpy(last, key.data, last_len);
            uint8_t record[12];
            bytes_put_be64(record, bytes_le64(value.data + 8));
            memset(record + 8, 0, 4);
            must(store_get(v, TABLE_RECORD, slice_of(record, 12), &value) == 1, "record");
        }
        must(value.len >= META_BYTES + VALUE_BYTES, "value");
        rows++;
    }
    store_cursor_close(c);
    store_view_close(v);
    return rows;
}

static int order_ms(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* ---- one configuration
 * --------------------------------------------------------------------------- */

static void bench_open(struct bench *b)
{
    struct errmsg e = {""};
    struct store_options options = {.dir = b->dir};
    if (store_open(&options, &b->store, &e) != 0) {
        fprintf(stderr, "bench_store: %s\n", e.text);
        exit(1);
    }
}

static void bench_run(bool layout_b, uint64_t keys, uint64_t per_seal, uint64_t puts)
{
    struct bench *b = calloc(1, sizeof *b);
    must(b != NULL, "memory");
    const char *root = getenv("TMPDIR");
    snprintf(b->dir, sizeof b->dir, "%s/kvd-bench-XXXXXX", root == NULL ? "/tmp" : root);
    must(mkdtemp(b->dir) != NULL, "mkdtemp");
    b->layout_b = layout_b;
    b->keys = keys;
    rand_init(&b->random, 1);
    memset(b->value, 'v', sizeof b->value);
    bench_open(b);
    for (uint64_t i = 0; i < keys; i++) {
        bench_put(b, i * 2654435761u % keys);
        if (i % 25000 == 24999) {
            bench_checkpoint(b);
        }
    }
    bench_checkpoint(b);

    b->commits = 0;
    uint64_t bytes = written;
    double cpu = cpu_s();
    for (uint64_t i = 1; i <= puts; i++) {
        bench_put(b, rand_below(&b->random, keys));
        if (i % per_seal == 0) {
            bench_checkpoint(b);
        }
    }
    bench_checkpoint(b);
    cpu = (cpu_s() - cpu) * 1e6 / (double)puts;
    bytes = (written - bytes) / puts;
    qsort(b->commit_ms, b->commits, sizeof b->commit_ms[0], order_ms);
    double p99 = b->commits == 0 ? 0 : b->commit_ms[(b->commits * 99 + 99) / 100 - 1];

    scan(b); /* once to fault the pages in */
    double start = cpu_s();
    uint64_t rows = scan(b);
    double scanned = (cpu_s() - start) * 1e6 / (double)rows;
    must(rows == keys, "the scan's count");
    uint64_t size = store_bytes(b->store);
    store_close(b->store);
    start = wall_s();
    bench_open(b);
    double restart = (wall_s() - start) * 1e3;
    store_close(b->store);
    printf("| %s | %7" PRIu64 " | %6" PRIu64 " | %6.2f | %7" PRIu64
           " | %7.3f | %7.1f | %6.1f | %5" PRIu64 " |\n",
           layout_b ? "B" : "A", keys, per_seal, cpu, bytes, scanned, p99, restart, size >> 20);
    fflush(stdout);
    nftw(b->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(b);
}

/* ---- single calls
 * -------------------------------------------------------------------------------- */

static void micro_print(const char *what, double start, uint64_t count)
{
    printf("| %-44s | %6.3f |\n", what, (cpu_s() - start) * 1e6 / (double)count);
}

static void micro_gets(struct bench *b, const char *what, uint64_t revisions)
{
    struct store_view *v;
    struct slice value;
    uint8_t record[12] = {0};
    must(store_view_open(b->store, &v) == 0, "view");
    double start = cpu_s();
    for (uint64_t i = 0; i < MICRO_LOOKUPS; i++) {
        bytes_put_be64(record, 1 + rand_below(&b->random, revisions));
        must(store_get(v, TABLE_RECORD, slice_of(record, 12), &value) == 1, "get");
    }
    micro_print(what, start, MICRO_LOOKUPS);
    store_view_close(v);
}

static void micro_walk(struct bench *b, const char *what)
{
    struct store_view *v;
    struct store_cursor *c;
    uint64_t rows = 0;
    must(store_view_open(b->store, &v) == 0, "view");
    must(store_cursor_open(v, TABLE_INDEX, &c) == 0, "cursor");
    double start = cpu_s();
    for (int round = 0; round < 5; round++) {
        for (int rc = store_cursor_seek(c, slice_of(NULL, 0)); rc == 1; rc = store_cursor_next(c)) {
            rows++;
        }
    }
    micro_print(what, start, rows);
    store_cursor_close(c);
    store_view_close(v);
}

static void micro_run(void)
{
    struct bench *b = calloc(1, sizeof *b);
    must(b != NULL, "memory");
    const char *root = getenv("TMPDIR");
    snprintf(b->dir, sizeof b->dir, "%s/kvd-bench-XXXXXX", root == NULL ? "/tmp" : root);
    must(mkdtemp(b->dir) != NULL, "mkdtemp");
    b->keys = 50000;
    rand_init(&b->random, 1);
    bench_open(b);
    printf("\n| one call (50,000 keys)                       | us CPU |\n|---|---|\n");
    double start = cpu_s();
    for (uint64_t i = 0; i < b->keys; i++) {
        bench_put(b, i * 2654435761u % b->keys);
    }
    micro_print("a put of layout A into the memtable", start, b->keys);
    bench_publish(b);
    micro_gets(b, "store_get, row in the memtable", b->keys);
    micro_walk(b, "store_cursor_next, rows in the memtable");
    bench_checkpoint(b);
    micro_gets(b, "store_get, row in LMDB", b->keys);
    micro_walk(b, "store_cursor_next, rows in LMDB");
    for (uint64_t i = 0; i < b->keys / 10; i++) {
        bench_put(b, rand_below(&b->random, b->keys));
    }
    bench_publish(b);
    micro_gets(b, "store_get, LMDB below a memtable of 5,000", 50000);
    micro_walk(b, "store_cursor_next, LMDB and a memtable of 5,000");
    start = cpu_s();
    for (uint64_t i = 0; i < MICRO_LOOKUPS; i++) {
        struct store_view *v;
        must(store_view_open(b->store, &v) == 0, "view");
        store_view_close(v);
    }
    micro_print("store_view_open and close", start, MICRO_LOOKUPS);
    start = cpu_s();
    for (uint64_t i = 0; i < MICRO_LOOKUPS; i++) {
        store_writer_view(b->store);
        bench_publish(b);
    }
    micro_print("store_writer_view and store_publish", start, MICRO_LOOKUPS);
    store_close(b->store);
    nftw(b->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(b);
}

int main(int argc, char **argv)
{
    static const uint64_t seals[] = {1000, 6000, 25000};
    bool full = argc > 1 && strcmp(argv[1], "--full") == 0;
    printf("random overwrites of %u B values; one thread, full sync\n\n", VALUE_BYTES);
    printf("|   | keys | puts per seal | us CPU per put | bytes written per put | us CPU per "
           "scanned row "
           "| commit p99 ms | restart ms | file MB |\n|---|---|---|---|---|---|---|---|---|\n");
    for (int million = 0; million <= full; million++) {
        for (size_t i = 0; i < sizeof seals / sizeof seals[0]; i++) {
            uint64_t puts = seals[i] < 25000 ? 60000 : 100000;
            for (int layout_b = 0; layout_b < 2; layout_b++) {
                bench_run(layout_b, million ? 1000000 : 100000, seals[i], puts);
            }
        }
    }
    micro_run();
    return 0;
}
