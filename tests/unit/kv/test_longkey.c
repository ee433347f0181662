/* test_longkey - keys around and beyond LMDB's 511 bytes against a sorted array. */
#include "store_fixture.h"

#include "base/rand.h"
#include "kv/env.h"
#include "kv/longkey.h"

#define TABLE      0x20
#define MODEL_ROWS 600

struct model_row {
    uint8_t *key;
    size_t len;
    uint32_t value;
};

struct long_fixture {
    char dir[256];
    struct env env;
    uint64_t next_directory;
    struct model_row rows[MODEL_ROWS];
    size_t count;
    struct rand random;
};

static void long_open(struct long_fixture *f, uint64_t seed)
{
    struct errmsg e = {""};
    memset(f, 0, sizeof *f);
    fixture_make_dir(f->dir, sizeof f->dir);
    assert_int_equal(env_open(&f->env, f->dir, MAP_BYTES, true, &e), 0);
    f->next_directory = 1;
    rand_init(&f->random, seed);
}

static void long_close(struct long_fixture *f)
{
    for (size_t i = 0; i < f->count; i++) {
        free(f->rows[i].key);
    }
    env_close(&f->env);
    fixture_remove(f->dir);
}

/* Index of the first row >= key. */
static size_t model_seek(const struct long_fixture *f, struct slice key)
{
    size_t low = 0;
    size_t high = f->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (slice_cmp(slice_of(f->rows[middle].key, f->rows[middle].len), key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool model_has(const struct long_fixture *f, size_t at, struct slice key)
{
    return at < f->count && slice_eq(slice_of(f->rows[at].key, f->rows[at].len), key);
}

static void model_put(struct long_fixture *f, struct slice key, uint32_t value)
{
    size_t at = model_seek(f, key);
    if (!model_has(f, at, key)) {
        assert_true(f->count < MODEL_ROWS);
        memmove(&f->rows[at + 1], &f->rows[at], (f->count - at) * sizeof f->rows[0]);
        f->rows[at].key = malloc(key.len + 1);
        memcpy(f->rows[at].key, key.data, key.len);
        f->rows[at].len = key.len;
        f->count++;
    }
    f->rows[at].value = value;
}

static bool model_erase(struct long_fixture *f, struct slice key)
{
    size_t at = model_seek(f, key);
    if (!model_has(f, at, key)) {
        return false;
    }
    free(f->rows[at].key);
    memmove(&f->rows[at], &f->rows[at + 1], (f->count - at - 1) * sizeof f->rows[0]);
    f->count--;
    return true;
}

/* Lengths where a level ends, one less, one more; the rest anywhere up to 20,000. */
static size_t long_draw_length(struct long_fixture *f)
{
    static const size_t edges[] = {509, 509 + 501, 509 + 2 * 501, 509 + 3 * 501, 509 + 30 * 501};
    switch (rand_below(&f->random, 5)) {
    case 0:
        return 1 + rand_below(&f->random, 30);
    case 1:
        return 1 + rand_below(&f->random, 20000);
    default:
        return edges[rand_below(&f->random, 5)] - 2 + rand_below(&f->random, 5);
    }
}

/* Few different bytes and few places where they differ: long common prefixes. */
static struct slice long_draw_key(struct long_fixture *f, uint8_t *space)
{
    if (f->count > 0 && rand_chance(&f->random, 0.2)) {
        const struct model_row *row = &f->rows[rand_below(&f->random, f->count)];
        memcpy(space, row->key, row->len);
        size_t len = row->len;
        switch (rand_below(&f->random, 4)) {
        case 0:
            space[len++] = 'a';
            break;
        case 1:
            len -= len > 1;
            break;
        case 2:
            space[len - 1]++;
            break;
        default:
            break;
        }
        return slice_of(space, len);
    }
    size_t len = long_draw_length(f);
    memset(space, 'a', len);
    for (int i = 0; i < 2; i++) {
        static const uint8_t bytes[] = {0x00, 0x01, 'b', 0xff};
        if (rand_chance(&f->random, 0.5)) {
            size_t at = rand_chance(&f->random, 0.5) ? len - 1 : rand_below(&f->random, len);
            space[at] = bytes[rand_below(&f->random, sizeof bytes)];
        }
    }
    return slice_of(space, len);
}

static void long_check_row(const struct long_fixture *f, size_t at, const struct longkey_cursor *c)
{
    assert_true(model_has(f, at, c->key));
    assert_int_equal(c->value.len, 4);
    assert_memory_equal(c->value.data, &f->rows[at].value, 4);
}

static void long_check(struct long_fixture *f, MDB_txn *txn, uint8_t *space)
{
    struct longkey_cursor c;
    longkey_cursor_init(&c);
    assert_int_equal(longkey_cursor_open(&c, txn, f->env.dbi, TABLE), 0);
    size_t at = 0;
    int rc = longkey_cursor_seek(&c, slice_of("", 0));
    for (; rc == 1; rc = longkey_cursor_next(&c)) {
        long_check_row(f, at++, &c);
    }
    assert_int_equal(rc, 0);
    assert_int_equal(at, f->count);
    for (int i = 0; i < 60; i++) {
        struct slice key = long_draw_key(f, space);
        at = model_seek(f, key);
        struct slice value;
        assert_int_equal(longkey_get(txn, f->env.dbi, TABLE, key, &value), model_has(f, at, key));
        rc = longkey_cursor_seek(&c, key);
        for (int step = 0; step < 5; step++, at++) {
            assert_int_equal(rc, at < f->count);
            if (rc == 0) {
                break;
            }
            long_check_row(f, at, &c);
            rc = longkey_cursor_next(&c);
        }
    }
    longkey_cursor_close(&c);
}

/* Random inserts, erasures and walks; neighbours in other tables stay unseen; at the end everything
 * is erased and no directory is left. */
static void walk_equals_sorted_array(void **state)
{
    static uint8_t space[32768];
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct long_fixture f;
        MDB_txn *txn;
        MDB_cursor *mc;
        long_open(&f, seed);
        memset(space, 'a', 2000);
        for (unsigned round = 0; round < 12; round++) {
            assert_int_equal(mdb_txn_begin(f.env.env, NULL, 0, &txn), 0);
            assert_int_equal(mdb_cursor_open(txn, f.env.dbi, &mc), 0);
            if (round == 0) {
                memset(space, 'a', 2000);
                for (int t = -1; t <= 1; t += 2) {
                    assert_int_equal(longkey_put(mc, (uint8_t)(TABLE + t), slice_of(space, 2000),
                                                 slice_str("x"), &f.next_directory),
                                     0);
                    assert_int_equal(longkey_put(mc, (uint8_t)(TABLE + t), slice_of(space, 20),
                                                 slice_str("x"), &f.next_directory),
                                     0);
                }
            }
            for (unsigned i = 0; i < 60; i++) {
                bool put = f.count == 0 || (f.count < MODEL_ROWS - 1 &&
                                            rand_chance(&f.random, round < 8 ? 0.7 : 0.3));
                struct slice key = long_draw_key(&f, space);
                if (put) {
                    uint32_t value = round * 1000 + i;
                    assert_int_equal(
                        longkey_put(mc, TABLE, key, slice_of(&value, 4), &f.next_directory), 0);
                    model_put(&f, key, value);
                } else {
                    if (rand_chance(&f.random, 0.7)) {
                        const struct model_row *row = &f.rows[rand_below(&f.random, f.count)];
                        memcpy(space, row->key, row->len);
                        key = slice_of(space, row->len);
                    }
                    int rc = longkey_erase(mc, TABLE, key);
                    assert_int_equal(rc, model_erase(&f, key) ? 0 : MDB_NOTFOUND);
                }
            }
            long_check(&f, txn, space);
            mdb_cursor_close(mc);
            assert_int_equal(mdb_txn_commit(txn), 0);
            assert_int_equal(mdb_txn_begin(f.env.env, NULL, MDB_RDONLY, &txn), 0);
            long_check(&f, txn, space);
            mdb_txn_abort(txn);
        }
        assert_int_equal(mdb_txn_begin(f.env.env, NULL, 0, &txn), 0);
        assert_int_equal(mdb_cursor_open(txn, f.env.dbi, &mc), 0);
        while (f.count > 0) {
            const struct model_row *row = &f.rows[rand_below(&f.random, f.count)];
            struct slice key = slice_of(row->key, row->len);
            memcpy(space, row->key, row->len);
            assert_int_equal(longkey_erase(mc, TABLE, key), 0);
            model_erase(&f, slice_of(space, key.len));
        }
        memset(space, 'a', 2000);
        for (int t = -1; t <= 1; t += 2) {
            assert_int_equal(longkey_erase(mc, (uint8_t)(TABLE + t), slice_of(space, 2000)), 0);
            assert_int_equal(longkey_erase(mc, (uint8_t)(TABLE + t), slice_of(space, 20)), 0);
        }
        mdb_cursor_close(mc);
        MDB_stat st;
        assert_int_equal(mdb_stat(txn, f.env.dbi, &st), 0);
        assert_int_equal(st.ms_entries, 0);
        mdb_txn_abort(txn);
        long_close(&f);
    }
}

/* The longest key a request can carry, and its neighbours. */
static void the_longest_keys_work(void **state)
{
    struct long_fixture f;
    MDB_txn *txn;
    MDB_cursor *mc;
    size_t len = 1600 * 1024;
    uint8_t *key = malloc(len + 1);
    memset(key, 'k', len + 1);
    long_open(&f, 1);
    assert_int_equal(mdb_txn_begin(f.env.env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_cursor_open(txn, f.env.dbi, &mc), 0);
    for (int more = -1; more <= 1; more++) {
        assert_int_equal(longkey_put(mc, TABLE, slice_of(key, len + (size_t)more),
                                     slice_of(&more, sizeof more), &f.next_directory),
                         0);
    }
    struct longkey_cursor c;
    longkey_cursor_init(&c);
    assert_int_equal(longkey_cursor_open(&c, txn, f.env.dbi, TABLE), 0);
    int rc = longkey_cursor_seek(&c, slice_of(key, 1));
    for (int more = -1; more <= 1; more++) {
        assert_int_equal(rc, 1);
        assert_int_equal(c.key.len, len + (size_t)more);
        assert_memory_equal(c.key.data, key, c.key.len);
        assert_memory_equal(c.value.data, &more, sizeof more);
        rc = longkey_cursor_next(&c);
    }
    assert_int_equal(rc, 0);
    assert_int_equal(longkey_cursor_seek(&c, slice_of(key, len)), 1);
    assert_int_equal(c.key.len, len);
    longkey_cursor_close(&c);
    for (int more = -1; more <= 1; more++) {
        assert_int_equal(longkey_erase(mc, TABLE, slice_of(key, len + (size_t)more)), 0);
    }
    MDB_stat st;
    assert_int_equal(mdb_stat(txn, f.env.dbi, &st), 0);
    assert_int_equal(st.ms_entries, 0);
    mdb_cursor_close(mc);
    mdb_txn_abort(txn);
    free(key);
    long_close(&f);
}

/* Appending falls back to an ordinary put for keys that are not the last. */
static void append_falls_back(void **state)
{
    struct long_fixture f;
    MDB_txn *txn;
    MDB_cursor *mc;
    bool append = true;
    long_open(&f, 1);
    assert_int_equal(mdb_txn_begin(f.env.env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_cursor_open(txn, f.env.dbi, &mc), 0);
    const char *keys[] = {"b", "d", "c", "e", "e"};
    for (int i = 0; i < 5; i++) {
        assert_int_equal(longkey_append(mc, 0x80, slice_str(keys[i]), slice_of(&i, sizeof i),
                                        &f.next_directory, &append),
                         0);
        assert_int_equal(append, i < 2);
    }
    struct slice value;
    assert_int_equal(longkey_get(txn, f.env.dbi, 0x80, slice_str("c"), &value), 1);
    int last = 4;
    assert_int_equal(longkey_get(txn, f.env.dbi, 0x80, slice_str("e"), &value), 1);
    assert_memory_equal(value.data, &last, sizeof last);
    mdb_cursor_close(mc);
    mdb_txn_abort(txn);
    long_close(&f);
}

/* A continuation that leads nowhere, or whose value is no directory, is damage, not a crash. */
static void broken_directories_are_damage(void **state)
{
    struct long_fixture f;
    MDB_txn *txn;
    MDB_cursor *mc;
    uint8_t key[1000];
    struct slice value;
    memset(key, 'a', sizeof key);
    long_open(&f, 1);
    assert_int_equal(mdb_txn_begin(f.env.env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_cursor_open(txn, f.env.dbi, &mc), 0);
    uint8_t physical[511];
    memset(physical, 'a', sizeof physical);
    physical[0] = TABLE;
    physical[510] = 1;
    for (int round = 0; round < 2; round++) {
        MDB_val k = {.mv_data = physical, .mv_size = sizeof physical};
        MDB_val v = {.mv_data = "12345678", .mv_size = round == 0 ? 8 : 7};
        assert_int_equal(mdb_cursor_put(mc, &k, &v, 0), 0);
        struct longkey_cursor c;
        longkey_cursor_init(&c);
        assert_int_equal(longkey_cursor_open(&c, txn, f.env.dbi, TABLE), 0);
        assert_int_equal(longkey_cursor_seek(&c, slice_str("")), -ERR_DAMAGED);
        longkey_cursor_close(&c);
        if (round == 1) {
            assert_int_equal(longkey_get(txn, f.env.dbi, TABLE, slice_of(key, sizeof key), &value),
                             -ERR_DAMAGED);
        }
    }
    mdb_cursor_close(mc);
    mdb_txn_abort(txn);
    long_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(walk_equals_sorted_array),
        cmocka_unit_test(the_longest_keys_work),
        cmocka_unit_test(append_falls_back),
        cmocka_unit_test(broken_directories_are_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
