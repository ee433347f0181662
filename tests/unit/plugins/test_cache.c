/* test_cache.c - the informer cache: one revision at a time, whatever fails on the way. */
#include "plugins/host/cache.h"

#include "tests/unit/plugins/probe.h"

#define KEYS          12
#define REVISIONS_MAX 512

/* What each revision held: value of each key, 0 = none. */
static int history[REVISIONS_MAX][KEYS];
static struct kvp_cache *cache;
static int told[KEYS]; /* the rows as handlers were told */
static int64_t told_mod[KEYS];
static int synced_count;
static size_t changes;
static int objects; /* decoded and not released */
static uint64_t bad_value;
static bool with_index;

struct object {
    int value;
};

static int key_number(struct kvp_bytes key)
{
    int n = -1;
    assert_int_equal(sscanf(key.data, "/c/%d", &n), 1); /* the store's keys end in a NUL */
    return n;
}

static int decode(void *data, const struct kvp_row *row, void **out)
{
    (void)data;
    int value = -1;
    if (sscanf(row->value.data, "%d", &value) != 1) {
        return 99;
    }
    struct object *o = probe.host->alloc(probe.ctx, sizeof(*o));
    if (o == NULL) {
        return KVP_NO_MEMORY;
    }
    o->value = value;
    objects++;
    *out = o;
    return 0;
}

static void release(void *data, void *object)
{
    (void)data;
    objects--;
    probe.host->release(probe.ctx, object);
}

static void index_by_parity(void *data, const struct kvp_cached *c, struct kvp_emit *emit)
{
    (void)data;
    const struct object *o = c->object;
    probe.host->index_emit(emit, kvp_str(o->value % 2 == 0 ? "even" : "odd"));
    probe.host->index_emit(emit, kvp_str("all"));
    probe.host->index_emit(emit, kvp_str("all")); /* counts once */
}

static int collect(void *data, const struct kvp_cached *c)
{
    int *values = data;
    int n = key_number(c->key);
    assert_int_equal(values[n], 0);
    values[n] = ((const struct object *)c->object)->value;
    return 0;
}

static int check_order(void *data, const struct kvp_cached *c)
{
    struct slice *last = data;
    struct slice key = slice_of(c->key.data, c->key.len);
    assert_true(last->len == 0 || slice_cmp(*last, key) < 0);
    *last = key;
    return 0;
}

static int64_t index_revision_seen;

/* The cache, its indexes and each single lookup show exactly what the store held then. */
static void check_view(void)
{
    int64_t revision = probe.host->cache_revision(cache);
    int have[KEYS] = {0};
    int odd[KEYS] = {0};
    struct slice last = {0};
    assert_true(revision < REVISIONS_MAX);
    assert_int_equal(probe.host->cache_each(cache, collect, have), 0);
    assert_int_equal(probe.host->cache_each(cache, check_order, &last), 0);
    bool indexed =
        with_index && probe.host->cache_by_index(cache, 0, kvp_str("odd"), collect, odd) == 0;
    size_t len = 0;
    for (int k = 0; k < KEYS; k++) {
        char name[16];
        struct kvp_cached row = {.size = sizeof(row)};
        snprintf(name, sizeof(name), "/c/%d", k);
        int want = revision == 0 ? 0 : history[revision][k];
        if (have[k] != want) {
            t_fail_test("at revision %lld the cache has %d for %s, the store had %d",
                        (long long)revision, have[k], name, want);
        }
        assert_int_equal(probe.host->cache_get(cache, kvp_str(name), &row) == 0, want != 0);
        if (indexed) {
            assert_int_equal(odd[k], want % 2 != 0 ? want : 0);
            index_revision_seen = revision;
        }
        len += want != 0;
    }
    assert_int_equal(probe.host->cache_len(cache), len);
}

static void changed(void *data, const struct kvp_cached *before, const struct kvp_cached *now)
{
    (void)data;
    int k = key_number(now != NULL ? now->key : before->key);
    changes++;
    /* No change is skipped silently: each begins where the one before has ended. */
    assert_int_equal(told[k], before != NULL ? ((const struct object *)before->object)->value : 0);
    assert_int_equal(told_mod[k], before != NULL ? before->mod_revision : 0);
    told[k] = now != NULL ? ((const struct object *)now->object)->value : 0;
    told_mod[k] = now != NULL ? now->mod_revision : 0;
    check_view();
}

static void synced(void *data)
{
    (void)data;
    synced_count++;
    assert_int_equal(probe.host->cache_synced(cache), 1);
    check_view();
}

static int open_cache(void)
{
    static const struct kvp_index indexes[] = {{.name = "parity", .values = index_by_parity}};
    struct kvp_cache_args a = {.size = sizeof(a),
                               .prefix = kvp_str("/c/"),
                               .decode = decode,
                               .release = release,
                               .indexes = with_index ? indexes : NULL,
                               .index_count = with_index ? 1 : 0};
    struct kvp_cache_handlers h = {.size = sizeof(h), .changed = changed, .synced = synced};
    int status = probe.host->cache_open(probe.ctx, &a, &cache);
    return status != 0 ? status : probe.host->cache_on(cache, &h);
}

static void record(void)
{
    int64_t revision = t_revision();
    assert_true(revision < REVISIONS_MAX);
    for (int k = 0; k < KEYS; k++) {
        char name[16];
        snprintf(name, sizeof(name), "/c/%d", k);
        const char *value = t_get(name);
        int n = 0;
        if (value != NULL && sscanf(value, "%d", &n) != 1) {
            n = 0; /* decode leaves it out */
        }
        history[revision][k] = n;
    }
}

static void random_write(void)
{
    char name[16];
    char value[32];
    snprintf(name, sizeof(name), "/c/%d", (int)t_random(KEYS));
    snprintf(value, sizeof(value), "%d", 1 + (int)t_random(1000));
    switch (t_random(5)) {
    case 0:
        t_delete(name);
        break;
    case 1:
        t_put(name, "not a number");
        bad_value++;
        break;
    default:
        t_put(name, value);
        break;
    }
}

/* One revision, of one to three keys. */
static void random_revision(void)
{
    t_txn_begin();
    for (uint64_t i = 1 + t_random(3); i > 0; i--) {
        random_write();
    }
    t_txn_end();
    record();
}

static bool open_world(void)
{
    t_on_failure(_fail);
    memset(told, 0, sizeof(told));
    memset(told_mod, 0, sizeof(told_mod));
    memset(history, 0, sizeof(history));
    synced_count = 0;
    changes = 0;
    objects = 0;
    probe = (struct probe){.on_init = open_cache};
    return t_open(&probe_plugin, NULL) == 0;
}

static void check_now(void *data)
{
    (void)data;
    assert_int_equal(probe.host->cache_revision(cache), t_revision());
    check_view();
    for (int k = 0; k < KEYS; k++) {
        assert_int_equal(told[k], history[t_revision()][k]);
    }
}

static void close_world(void)
{
    t_close();
    assert_int_equal(objects, 0);
}

/* Everything goes well: rows of before and after, events, one synced. */
static void follows_the_store(void **state)
{
    (void)state;
    with_index = true;
    assert_true(open_world());
    for (int i = 0; i < 20; i++) {
        random_revision();
    }
    t_advance(1000);
    assert_int_equal(synced_count, 1);
    for (int i = 0; i < 50; i++) {
        random_revision();
        t_advance(t_random(6));
    }
    random_revision();
    t_put("/c/0", "7"); /* the last revision changes something the cache sees */
    record();
    t_advance(1000);
    inside(check_now, NULL);
    assert_int_equal(synced_count, 1);
    assert_true(index_revision_seen > 0);
    close_world();
}

static unsigned faults_run;
static void faults_story_by_turns(void)
{
    with_index = faults_run++ % 2 == 0;
    if (!open_world()) {
        t_close();
        return;
    }
    t_chaos((unsigned)t_random(40));
    for (int i = 0; i < 100; i++) {
        random_revision();
        t_advance(t_random(3) == 0 ? t_random(400) : t_random(5));
        if (t_random(8) == 0) {
            t_compact(0);
        }
    }
    t_chaos(0);
    t_put("/c/0", "7");
    record();
    t_advance(3600000);
    assert_int_equal(synced_count, 1);
    inside(check_now, NULL);
    close_world();
}

static void faults_do_not_show(void **state)
{
    (void)state;
    t_for_each_seed(200, faults_story_by_turns);
}

static void alloc_story(void)
{
    with_index = true;
    if (open_world()) {
        for (int i = 0; i < 5; i++) {
            random_revision();
        }
        t_advance(20000);
        for (int i = 0; i < 5; i++) {
            random_revision();
            t_advance(3);
        }
        t_compact(0);
        t_put("/c/0", "7");
        record();
        t_advance(20000);
        assert_int_equal(synced_count, 1);
        inside(check_now, NULL);
    }
    close_world();
}

/* Whichever single allocation fails, the cache is right again a little later. */
static void one_allocation_fails(void **state)
{
    (void)state;
    assert_true(t_for_each_alloc(alloc_story) > 50);
}

/* A list of several pages, while rows come, change and go between its pages. */
static void long_list_is_one_revision(void **state)
{
    (void)state;
    char name[32];
    with_index = false;
    assert_true(open_world());
    t_txn_begin();
    for (int i = 0; i < 1700; i++) {
        snprintf(name, sizeof(name), "/c/%d", i % KEYS);
        t_put(name, "1");
    }
    t_txn_end();
    record();
    t_advance(1000);
    inside(check_now, NULL);
    close_world();
}

/* ---- without decode, many rows -------------------------------------------------------------- */

static struct kvp_cache *plain;
static size_t rows_told;

static void count_told(void *data, const struct kvp_cached *before, const struct kvp_cached *now)
{
    (void)data;
    rows_told += now != NULL && before == NULL;
}

static int open_plain(void)
{
    struct kvp_cache_args a = {.size = sizeof(a), .prefix = kvp_str("/p/")};
    struct kvp_cache_handlers h = {.size = sizeof(h), .changed = count_told};
    rows_told = 0;
    int status = probe.host->cache_open(probe.ctx, &a, &plain);
    return status != 0 ? status : probe.host->cache_on(plain, &h);
}

static int count_each(void *data, const struct kvp_cached *c)
{
    const struct kvp_bytes *value = c->object;
    assert_int_equal(value->len, 5);
    assert_memory_equal(value->data, "value", 6); /* a NUL behind */
    (*(size_t *)data)++;
    return 0;
}

static int stop_at_once(void *data, const struct kvp_cached *c)
{
    (void)c;
    (*(size_t *)data)++;
    return 1;
}

static void count_plain(void *data)
{
    size_t stopped = 0;
    assert_int_equal(probe.host->cache_each(plain, count_each, data), 0);
    assert_int_equal(probe.host->cache_each(plain, stop_at_once, &stopped), 0);
    assert_int_equal(stopped, 1);
    assert_int_equal(probe.host->cache_by_index(plain, 0, kvp_str("x"), stop_at_once, &stopped),
                     KVP_INVALID);
}

static void put_rows(const char *prefix, int from, int to)
{
    char name[64];
    t_txn_begin();
    for (int i = from; i < to; i++) {
        snprintf(name, sizeof(name), "%s%06d", prefix, i);
        t_put(name, "value");
    }
    t_txn_end();
}

/* Pages, slices of comparing, and between the pages writes that the list must not see. */
static void many_rows(void **state)
{
    (void)state;
    t_on_failure(_fail);
    probe = (struct probe){.on_init = open_plain};
    t_open(&probe_plugin, NULL);
    put_rows("/p/", 0, 3000);
    while (t_calls("range") < 2) {
        assert_true(t_step());
    }
    put_rows("/p/", 2000, 4000);
    t_delete("/p/000000"); /* of a page that is in already */
    t_advance(1000);
    size_t seen = 0;
    inside(count_plain, &seen);
    assert_int_equal(seen, 3999);
    assert_int_equal(rows_told, 4000);
    /* A new list finds half of them gone. */
    t_chaos(0);
    for (int i = 0; i < 2000; i++) {
        char name[32];
        snprintf(name, sizeof(name), "/p/%06d", i);
        t_delete(name);
        t_compact(0);
    }
    t_advance(5000);
    seen = 0;
    inside(count_plain, &seen);
    assert_int_equal(seen, 2000);
    t_close();
}

static void open_and_close(void *data)
{
    struct kvp_cache_args a = {.size = sizeof(a), .prefix = kvp_str("/p/")};
    struct kvp_cache *c;
    (void)data;
    assert_int_equal(probe.host->cache_open(probe.ctx, &a, &c), 0);
    probe.host->cache_close(c);
}

static int close_inside_each(void *data, const struct kvp_cached *c)
{
    (*(size_t *)data)++;
    assert_non_null(c->object);
    probe.host->cache_close(plain);
    assert_memory_equal(((const struct kvp_bytes *)c->object)->data, "value", 5);
    return 0;
}

static void each_that_closes(void *data)
{
    assert_int_equal(probe.host->cache_each(plain, close_inside_each, data), 0);
}

/* Closed with its list under way, and while it is being read. */
static void closed_at_any_time(void **state)
{
    (void)state;
    for (int steps = 0; steps < 12; steps++) {
        probe = (struct probe){.on_init = open_plain};
        t_open(&probe_plugin, NULL);
        put_rows("/p/", 0, 600);
        inside(open_and_close, NULL);
        for (int i = 0; i < steps; i++) {
            t_step();
        }
        size_t seen = 0;
        inside(each_that_closes, &seen);
        assert_true(seen <= 1);
        if (seen == 0) {
            t_advance(1000);
            inside(each_that_closes, &seen);
            assert_int_equal(seen, 1);
        }
        t_put("/p/x", "value");
        t_advance(1000);
        t_close();
    }
}

/* ---- memory ---------------------------------------------------------------------------------- */

static struct kvp_host counting;
static size_t counted_bytes;
static size_t counted_blocks;

static void *counting_alloc(struct kvp_ctx *ctx, size_t size)
{
    counted_bytes += size;
    counted_blocks++;
    return probe.host->alloc(ctx, size);
}

static int enter_always(struct kvp_ctx *ctx)
{
    (void)ctx;
    return 0;
}

static struct scope own_scope;
static int decode_nothing(void *data, const struct kvp_row *row, void **out)
{
    (void)row;
    *out = data;
    return 0;
}

static void index_by_value(void *data, const struct kvp_cached *c, struct kvp_emit *emit)
{
    (void)data;
    cache_emit(emit, kvp_bytes_of(c->key.data, 4));
}

static const struct kvp_index one_index[] = {{.name = "i", .values = index_by_value}};

static void open_counted(void *indexed)
{
    counting = *probe.host;
    counting.alloc = counting_alloc;
    own_scope = (struct scope){.host = &counting, .enter = enter_always};
    scope_init(&own_scope, probe.ctx);
    struct kvp_cache_args a = {.size = sizeof(a),
                               .prefix = kvp_str("/p/"),
                               .decode = decode_nothing,
                               .indexes = one_index,
                               .index_count = *(bool *)indexed};
    assert_int_equal(cache_open(&own_scope, &a, &plain), 0);
    counted_bytes = counted_blocks = 0;
}

static void end_counted(void *data)
{
    (void)data;
    scope_end(&own_scope);
    scope_close(&own_scope);
}

static double bytes_per_key(bool indexed)
{
    probe = (struct probe){0};
    t_open(&probe_plugin, NULL);
    put_rows("/p/", 0, 20000);
    inside(open_counted, &indexed);
    t_advance(5000);
    double each = ((double)counted_bytes) / 20000 - 9; /* without the key's own bytes */
    assert_true(counted_blocks >= 20000);
    inside(end_counted, NULL);
    t_close();
    return each;
}

/* What cache.h says about memory. */
static void memory_per_key(void **state)
{
    (void)state;
    double plain_row = bytes_per_key(false);
    double posting = bytes_per_key(true) - plain_row;
    printf("a cached key: %.1f bytes beside its own, an index value %.1f\n", plain_row, posting);
    assert_true(plain_row > 60 && plain_row < 75);
    assert_true(posting > 39 && posting < 42);
}

/* ---- arguments --------------------------------------------------------------------------------
 */

static void bad_arguments(void *data)
{
    struct kvp_cache *c;
    struct kvp_cache_args a = {.size = 0};
    struct kvp_cached row = {.size = sizeof(row)};
    struct kvp_cache_handlers h = {.size = sizeof(h)};
    struct kvp_index bad = {.name = "none"};
    (void)data;
    assert_int_equal(probe.host->cache_open(probe.ctx, &a, &c), KVP_INVALID);
    a.size = sizeof(a);
    a.flags = 1;
    assert_int_equal(probe.host->cache_open(probe.ctx, &a, &c), KVP_INVALID);
    a.flags = 0;
    a.indexes = &bad;
    a.index_count = 1;
    assert_int_equal(probe.host->cache_open(probe.ctx, &a, &c), KVP_INVALID);
    assert_int_equal(probe.host->cache_get(plain, kvp_str("/p/none"), &row), KVP_NOT_FOUND);
    row.size = 0;
    assert_int_equal(probe.host->cache_get(plain, kvp_str("/p/none"), &row), KVP_INVALID);
    /* Too late for handlers: they would miss what was told. */
    assert_int_equal(probe.host->cache_on(plain, &h), KVP_INVALID);
}

static void arguments_are_checked(void **state)
{
    (void)state;
    probe = (struct probe){.on_init = open_plain};
    t_open(&probe_plugin, NULL);
    t_advance(1000);
    inside(bad_arguments, NULL);
    t_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_the_store),
        cmocka_unit_test(faults_do_not_show),
        cmocka_unit_test(one_allocation_fails),
        cmocka_unit_test(long_list_is_one_revision),
        cmocka_unit_test(many_rows),
        cmocka_unit_test(closed_at_any_time),
        cmocka_unit_test(memory_per_key),
        cmocka_unit_test(arguments_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
