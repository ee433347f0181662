/* test_store_model - random operations on the store against sorted arrays.
 *
 * Puts, erasures, publications, seals, checkpoints, defragmentations, copies, installs and restarts
 * come in random order; up to eight views stay open across them, each with the array as it was. */
#include "store_fixture.h"

#include <errno.h>

#include "base/rand.h"

#define MODEL_ROWS_MAX 700
#define VIEWS_MAX      8
#define KEYS           220
#define TABLES         2

static const enum store_table tables[TABLES] = {TABLE_INDEX, TABLE_RECORD};

struct row {
    uint16_t table; /* index into tables */
    uint16_t key;   /* index into the sorted pool */
    uint32_t value; /* what the value is made from */
};

struct model {
    struct row rows[MODEL_ROWS_MAX]; /* by table, key */
    size_t count;
};

struct world {
    struct fixture f;
    struct rand random;
    struct slice keys[KEYS]; /* sorted, unique */
    struct model now;        /* unpublished rows included */
    struct model published;
    struct model sealed;
    struct model durable;
    struct model copied;
    uint64_t sealed_index;
    uint64_t copied_index;
    bool have_copy;
    char copy[300];
    struct store_view *views[VIEWS_MAX];
    struct model *view_models[VIEWS_MAX];
    uint32_t next_value;
    uint8_t value[6000];
};

static int key_order(const void *a, const void *b)
{
    return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

/* Mostly short keys with long common prefixes, every fifth one around or beyond 511 bytes. */
static void world_make_keys(struct world *w)
{
    for (size_t i = 0; i < KEYS; i++) {
        bool unique;
        do {
            bool long_one = rand_chance(&w->random, 0.2);
            size_t len = long_one
                             ? 505 + rand_below(&w->random, 10) + 501 * rand_below(&w->random, 4)
                             : rand_below(&w->random, 40);
            uint8_t *bytes = malloc(len + 1);
            memset(bytes, 'a', len);
            for (int j = 0; j < 3 && len > 0; j++) {
                bytes[rand_below(&w->random, len)] = (uint8_t)('a' + rand_below(&w->random, 3));
            }
            w->keys[i] = slice_of(bytes, len);
            unique = true;
            for (size_t j = 0; j < i; j++) {
                unique = unique && !slice_eq(w->keys[i], w->keys[j]);
            }
            if (!unique) {
                free(bytes);
            }
        } while (!unique);
    }
    qsort(w->keys, KEYS, sizeof w->keys[0], key_order);
}

static int row_order(const struct row *row, unsigned table, unsigned key)
{
    return row->table != table ? (int)row->table - (int)table : (int)row->key - (int)key;
}

static size_t model_seek(const struct model *m, unsigned table, unsigned key)
{
    size_t at = 0;
    while (at < m->count && row_order(&m->rows[at], table, key) < 0) {
        at++;
    }
    return at;
}

static bool model_has(const struct model *m, size_t at, unsigned table, unsigned key)
{
    return at < m->count && row_order(&m->rows[at], table, key) == 0;
}

static void model_put(struct model *m, unsigned table, unsigned key, uint32_t value)
{
    size_t at = model_seek(m, table, key);
    if (!model_has(m, at, table, key)) {
        assert_true(m->count < MODEL_ROWS_MAX);
        memmove(&m->rows[at + 1], &m->rows[at], (m->count - at) * sizeof m->rows[0]);
        m->count++;
    }
    m->rows[at] = (struct row){.table = (uint16_t)table, .key = (uint16_t)key, .value = value};
}

static void model_erase(struct model *m, unsigned table, unsigned key)
{
    size_t at = model_seek(m, table, key);
    if (model_has(m, at, table, key)) {
        memmove(&m->rows[at], &m->rows[at + 1], (m->count - at - 1) * sizeof m->rows[0]);
        m->count--;
    }
}

/* A value's bytes follow from its number; some are larger than a page. */
static struct slice world_value(struct world *w, uint32_t number)
{
    size_t len = number % 50 == 0 ? 5000 : number % 90;
    memset(w->value, (int)(number * 31), len);
    if (len >= 4) {
        memcpy(w->value, &number, 4);
    }
    return slice_of(w->value, len);
}

static void check_row(struct world *w, const struct model *m, size_t at, struct store_cursor *c)
{
    assert_true(slice_eq(store_cursor_key(c), w->keys[m->rows[at].key]));
    assert_true(slice_eq(store_cursor_value(c), world_value(w, m->rows[at].value)));
}

/* A view against the array that belongs to it: gets, a few seeks, now and then a whole walk. */
static void check_view(struct world *w, struct store_view *v, const struct model *m)
{
    for (int i = 0; i < 8; i++) {
        unsigned table = (unsigned)rand_below(&w->random, TABLES);
        unsigned key = (unsigned)rand_below(&w->random, KEYS);
        size_t at = model_seek(m, table, key);
        struct slice value;
        int rc = store_get(v, tables[table], w->keys[key], &value);
        assert_int_equal(rc, model_has(m, at, table, key));
        if (rc == 1) {
            assert_true(slice_eq(value, world_value(w, m->rows[at].value)));
        }
    }
    for (int i = 0; i < 3; i++) {
        unsigned table = (unsigned)rand_below(&w->random, TABLES);
        unsigned key = i == 0 ? 0 : (unsigned)rand_below(&w->random, KEYS);
        size_t steps = i == 0 && rand_chance(&w->random, 0.3) ? MODEL_ROWS_MAX : 6;
        size_t at = model_seek(m, table, key);
        struct store_cursor *c;
        assert_int_equal(store_cursor_open(v, tables[table], &c), 0);
        int rc = store_cursor_seek(c, i == 0 ? slice_of(NULL, 0) : w->keys[key]);
        for (size_t step = 0; step < steps; step++, at++) {
            assert_int_equal(rc, at < m->count && m->rows[at].table == table);
            if (rc == 0) {
                break;
            }
            check_row(w, m, at, c);
            rc = store_cursor_next(c);
        }
        store_cursor_close(c);
    }
}

static void world_close_view(struct world *w, unsigned i)
{
    if (w->views[i] != NULL) {
        store_view_close(w->views[i]);
        free(w->view_models[i]);
        w->views[i] = NULL;
    }
}

static void world_open_view(struct world *w, unsigned i)
{
    world_close_view(w, i);
    w->views[i] = fixture_view(&w->f);
    w->view_models[i] = malloc(sizeof(struct model));
    *w->view_models[i] = w->published;
    assert_int_equal(store_view_point(w->views[i])->applied_index, w->f.index);
}

static void world_write(struct world *w)
{
    unsigned rows = 1 + (unsigned)rand_below(&w->random, 8);
    for (unsigned i = 0; i < rows; i++) {
        unsigned table = (unsigned)rand_below(&w->random, TABLES);
        unsigned key = (unsigned)rand_below(&w->random, KEYS);
        if (rand_chance(&w->random, 0.6)) {
            uint32_t value = w->next_value++;
            model_put(&w->now, table, key, value);
            assert_int_equal(
                store_put(w->f.store, tables[table], w->keys[key], world_value(w, value)), 0);
        } else {
            model_erase(&w->now, table, key);
            assert_int_equal(store_erase(w->f.store, tables[table], w->keys[key]), 0);
        }
    }
}

static void world_publish(struct world *w)
{
    fixture_publish(&w->f);
    w->published = w->now;
}

static void world_seal(struct world *w)
{
    world_publish(w);
    if (fixture_seal(&w->f)) {
        w->sealed = w->published;
        w->sealed_index = w->f.index;
    }
}

static void world_checkpoint(struct world *w)
{
    bool sealed = store_sealed(w->f.store);
    w->f.fault = rand_chance(&w->random, 0.2) ? ENOSPC : 0;
    int err = store_checkpoint(w->f.store);
    assert_int_equal(err, sealed && w->f.fault != 0 ? ERR_NO_SPACE : 0);
    assert_int_equal(store_sealed(w->f.store), sealed && err != 0);
    if (sealed && err == 0) {
        w->durable = w->sealed;
        assert_int_equal(store_durable_index(w->f.store), w->sealed_index);
    }
    w->f.fault = 0;
}

static void world_restart(struct world *w)
{
    for (unsigned i = 0; i < VIEWS_MAX; i++) {
        world_close_view(w, i);
    }
    uint64_t durable = store_durable_index(w->f.store);
    fixture_reopen(&w->f);
    assert_int_equal(w->f.index, durable);
    w->now = w->published = w->durable;
}

static void world_copy(struct world *w)
{
    struct store_meta meta;
    struct buf configuration;
    buf_init(&configuration);
    assert_int_equal(store_copy(w->f.store, w->copy, &meta, &configuration), 0);
    assert_int_equal(meta.applied_index, store_durable_index(w->f.store));
    buf_close(&configuration);
    w->copied = w->durable;
    w->copied_index = meta.applied_index;
    w->have_copy = true;
}

static void world_install(struct world *w)
{
    struct errmsg e = {""};
    world_publish(w);
    assert_int_equal(store_install(w->f.store, w->copy, &e), 0);
    assert_int_not_equal(access(w->copy, F_OK), 0);
    w->have_copy = false;
    w->now = w->published = w->durable = w->copied;
    w->f.index = w->copied_index;
    assert_int_equal(store_durable_index(w->f.store), w->copied_index);
    assert_false(store_sealed(w->f.store));
}

static void world_step(struct world *w)
{
    uint64_t dice = rand_below(&w->random, 1000);
    if (dice < 450) {
        world_write(w);
    } else if (dice < 650) {
        world_publish(w);
    } else if (dice < 750) {
        world_open_view(w, (unsigned)rand_below(&w->random, VIEWS_MAX));
    } else if (dice < 800) {
        world_seal(w);
    } else if (dice < 860) {
        world_checkpoint(w);
    } else if (dice < 870) {
        assert_int_equal(store_defragment(w->f.store), 0);
    } else if (dice < 880) {
        world_copy(w);
    } else if (dice < 885 && w->have_copy) {
        world_install(w);
    } else if (dice < 890) {
        world_restart(w);
    } else {
        unsigned i = (unsigned)rand_below(&w->random, VIEWS_MAX);
        if (w->views[i] != NULL) {
            check_view(w, w->views[i], w->view_models[i]);
        }
        check_view(w, store_writer_view(w->f.store), &w->now);
    }
}

static void random_histories_equal_the_model(void **state)
{
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct world *w = calloc(1, sizeof *w);
        rand_init(&w->random, seed);
        world_make_keys(w);
        fixture_init(&w->f);
        snprintf(w->copy, sizeof w->copy, "%s.copy", w->f.dir);
        for (int step = 0; step < 1200; step++) {
            world_step(w);
        }
        world_publish(w);
        for (unsigned i = 0; i < VIEWS_MAX; i++) {
            if (w->views[i] != NULL) {
                check_view(w, w->views[i], w->view_models[i]);
            }
            world_close_view(w, i);
        }
        unlink(w->copy);
        fixture_close(&w->f);
        for (size_t i = 0; i < KEYS; i++) {
            free((void *)w->keys[i].data);
        }
        free(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_histories_equal_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
