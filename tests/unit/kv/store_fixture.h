/* store_fixture.h - a directory, a store in it, and short words for its calls. */
#ifndef KVD_TESTS_UNIT_KV_STORE_FIXTURE_H
#define KVD_TESTS_UNIT_KV_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kv/store.h"

#define MAP_BYTES ((size_t)1 << 30)

struct fixture {
    char dir[256];
    struct store_options options;
    struct store *store;
    int fault;        /* errno the next commits fail with */
    unsigned commits; /* asked for */
    uint64_t index;   /* raft index of the last published operation */
};

static int fixture_remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static inline void fixture_remove(const char *path)
{
    nftw(path, fixture_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static inline int fixture_fault(void *data)
{
    struct fixture *f = data;
    f->commits++;
    return f->fault;
}

static inline void fixture_make_dir(char *path, size_t size)
{
    const char *root = getenv("TMPDIR");
    snprintf(path, size, "%s/kvd-store-XXXXXX", root == NULL ? "/tmp" : root);
    assert_non_null(mkdtemp(path));
}

static inline void fixture_open(struct fixture *f)
{
    struct errmsg e = {""};
    int err = store_open(&f->options, &f->store, &e);
    if (err != 0) {
        fail_msg("store_open: %s", e.text);
    }
    struct store_meta meta;
    store_checkpoint_meta(f->store, &meta);
    f->index = meta.applied_index;
}

static inline void fixture_init(struct fixture *f)
{
    memset(f, 0, sizeof *f);
    fixture_make_dir(f->dir, sizeof f->dir);
    f->options = (struct store_options){.dir = f->dir,
                                        .map_bytes = MAP_BYTES,
                                        .unsafe_no_fsync = true,
                                        .commit_fault = fixture_fault,
                                        .fault_data = f};
    fixture_open(f);
}

static inline void fixture_close(struct fixture *f)
{
    store_close(f->store);
    fixture_remove(f->dir);
}

static inline void fixture_reopen(struct fixture *f)
{
    store_close(f->store);
    fixture_open(f);
}

static inline void fixture_put(struct fixture *f, enum store_table table, const char *key,
                               const char *value)
{
    assert_int_equal(store_put(f->store, table, slice_str(key), slice_str(value)), 0);
}

static inline void fixture_erase(struct fixture *f, enum store_table table, const char *key)
{
    assert_int_equal(store_erase(f->store, table, slice_str(key)), 0);
}

static inline void fixture_publish(struct fixture *f)
{
    f->index++;
    struct store_point point = {
        .revision = (int64_t)f->index, .compact_revision = -1, .applied_index = f->index};
    store_publish(f->store, &point);
}

static inline bool fixture_seal(struct fixture *f)
{
    struct store_meta meta = {.applied_index = f->index,
                              .applied_term = 3,
                              .revision = (int64_t)f->index,
                              .compact_revision = -1,
                              .compact_done = -1,
                              .configuration = slice_str("members")};
    return store_seal(f->store, &meta);
}

static inline void fixture_checkpoint(struct fixture *f)
{
    fixture_seal(f);
    assert_int_equal(store_checkpoint(f->store), 0);
    assert_false(store_sealed(f->store));
}

static inline struct store_view *fixture_view(struct fixture *f)
{
    struct store_view *v = NULL;
    assert_int_equal(store_view_open(f->store, &v), 0);
    return v;
}

/* value NULL: the row must be absent. */
static inline void fixture_expect(struct store_view *v, enum store_table table, const char *key,
                                  const char *value)
{
    struct slice found;
    int rc = store_get(v, table, slice_str(key), &found);
    if (value == NULL) {
        assert_int_equal(rc, 0);
        return;
    }
    assert_int_equal(rc, 1);
    assert_int_equal(found.len, strlen(value));
    assert_memory_equal(found.data, value, found.len);
}

/* As fixture_expect on a view of its own. */
static inline void fixture_expect_now(struct fixture *f, enum store_table table, const char *key,
                                      const char *value)
{
    struct store_view *v = fixture_view(f);
    fixture_expect(v, table, key, value);
    store_view_close(v);
}

/* The table's rows as "key=value key=value". */
static inline void fixture_list(struct store_view *v, enum store_table table, const char *from,
                                char *out, size_t size)
{
    struct store_cursor *c;
    size_t used = 0;
    out[0] = '\0';
    assert_int_equal(store_cursor_open(v, table, &c), 0);
    for (int rc = store_cursor_seek(c, slice_str(from)); rc != 0; rc = store_cursor_next(c)) {
        assert_int_equal(rc, 1);
        struct slice key = store_cursor_key(c);
        struct slice value = store_cursor_value(c);
        int n = snprintf(out + used, size - used, "%s%.*s=%.*s", used == 0 ? "" : " ", (int)key.len,
                         (const char *)key.data, (int)value.len, (const char *)value.data);
        assert_true(n > 0 && (size_t)n < size - used);
        used += (size_t)n;
    }
    store_cursor_close(c);
}

#endif
