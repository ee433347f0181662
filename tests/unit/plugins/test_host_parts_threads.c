/* test_host_parts_threads.c - caches, queues and controllers on the real host: loop and thread
 * lanes. */
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "tests/unit/plugins/host_fixture.h"

static struct kvp_cache *cache;
static atomic_int objects;
static atomic_uint reconciled;
static atomic_uint synced;

static int decode(void *data, const struct kvp_row *row, void **out)
{
    (void)data;
    char *copy = probe.host->dup(probe.root, row->value);
    if (copy == NULL) {
        return KVP_NO_MEMORY;
    }
    atomic_fetch_add(&objects, 1);
    *out = copy;
    return 0;
}

static void release(void *data, void *object)
{
    (void)data;
    atomic_fetch_sub(&objects, 1);
    probe.host->release(probe.root, object);
}

static void by_value(void *data, const struct kvp_cached *c, struct kvp_emit *emit)
{
    (void)data;
    probe.host->index_emit(emit, kvp_str(c->object));
}

static void on_synced(void *data)
{
    (void)data;
    atomic_fetch_add(&synced, 1);
}

static void open_cache(void)
{
    static const struct kvp_index indexes[] = {{.name = "value", .values = by_value}};
    struct kvp_cache_args a = {.size = sizeof(a),
                               .prefix = kvp_str("/k/"),
                               .decode = decode,
                               .release = release,
                               .indexes = indexes,
                               .index_count = 1};
    struct kvp_cache_handlers h = {.size = sizeof(h), .synced = on_synced};
    assert_int_equal(probe.host->cache_open(probe.root, &a, &cache), 0);
    assert_int_equal(probe.host->cache_on(cache, &h), 0);
}

static int64_t reconcile(void *data, struct kvp_item *item, struct kvp_bytes key)
{
    struct kvp_cached row = {.size = sizeof(row)};
    (void)data;
    atomic_fetch_add(&reconciled, 1);
    if (probe.host->cache_get(cache, key, &row) != 0 || strcmp(row.object, "ok") == 0) {
        return KVP_DONE;
    }
    struct kvp_put p = {.size = sizeof(p), .key = key, .value = kvp_str("ok")};
    return probe.host->item_put_if(item, &p, row.mod_revision);
}

static void open_controller(void)
{
    struct kvp_controller *c;
    struct kvp_controller_args a = {
        .size = sizeof(a), .parallel = 4, .cache = cache, .reconcile = reconcile};
    assert_int_equal(probe.host->controller(probe.term, &a, &c), 0);
}

static int count_row(void *data, const struct kvp_cached *c)
{
    (void)c;
    (*(size_t *)data)++;
    return 0;
}

/* The fixture's inside() is for lanes on this thread: these report through atomics. */
struct order {
    const char *key; /* NULL: count */
    const char *value;
    size_t count;
    int32_t outcome;
    atomic_bool done;
};

static void order_written(void *data, const struct kvp_result *r)
{
    struct order *o = data;
    o->outcome = r->outcome;
    atomic_store(&o->done, true);
}

static void order_posted(void *data)
{
    struct order *o = data;
    if (o->key == NULL) {
        (void)probe.host->cache_by_index(cache, 0, kvp_str("ok"), count_row, &o->count);
        atomic_store(&o->done, true);
        return;
    }
    struct kvp_put p = {.size = sizeof(p), .key = kvp_str(o->key), .value = kvp_str(o->value)};
    assert_int_equal(probe.host->put(probe.term, &p, order_written, o), 0);
}

static void order(struct order *o)
{
    assert_int_equal(probe.host->post(probe.root, order_posted, o), 0);
    UNTIL(atomic_load(&o->done));
}

static void put(const char *key, const char *value)
{
    struct order o = {.key = key, .value = value};
    order(&o);
    assert_int_equal(o.outcome, KVP_OK);
}

/* Turns the loop until so many rows are as they should be. */
static void until_ok(size_t want)
{
    uint64_t end = uv_now(&hf.f->loop) + 10000;
    for (size_t count = SIZE_MAX; count != want;) {
        struct order o = {0};
        order(&o);
        count = o.count;
        assert_true(uv_now(&hf.f->loop) < end);
    }
}

/* Stops the host; it may not find memory of the plugin left behind. */
static void close_clean(void)
{
    char text[8192] = "";
    int standard = 2;
    int file = memfd_create("log", 0);
    assert_true(file >= 0);
    log_set_outputs(&file, 1);
    host_fixture_close();
    log_set_outputs(&standard, 1);
    assert_true(pread(file, text, sizeof(text) - 1, 0) >= 0);
    close(file);
    assert_null(strstr(text, "left memory behind"));
    assert_int_equal(atomic_load(&objects), 0);
}

/* Rows are made right in one term and in the next; nothing is left when the host has stopped. */
static void terms_reconcile(void **state)
{
    (void)state;
    char key[16];
    atomic_store(&objects, 0);
    probe.on_init = open_cache;
    probe.on_start = open_controller;
    probe_load("");
    probe_lead();
    for (int i = 0; i < 40; i++) {
        snprintf(key, sizeof(key), "/k/%d", i);
        put(key, "new");
    }
    until_ok(40);
    for (int term = 0; term < 3; term++) {
        put("/k/0", "again"); /* its item may be in work when the term ends */
        host_role(hf.host, false, hf.f->term);
        UNTIL(probe_state() == HOST_READY);
        hf.f->term++;
        probe_lead();
        put("/k/1", "again");
        until_ok(40);
    }
    assert_true(atomic_load(&reconciled) >= 43);
    UNTIL(atomic_load(&synced) > 0);
    close_clean();
    assert_int_equal(probe.stops, 4);
}

/* A stop that comes at once finds the list under way. */
static void stopped_at_once(void **state)
{
    (void)state;
    atomic_store(&objects, 0);
    probe.on_init = open_cache;
    probe.on_start = open_controller;
    probe_load("");
    probe_lead();
    close_clean();
}

/* A follower cannot confirm a read: its caches fill from what it has, so that they are warm when it
 * leads. */
static void a_follower_fills_its_caches(void **state)
{
    (void)state;
    atomic_store(&objects, 0);
    atomic_store(&synced, 0);
    hf.f->hold_reads = true;
    probe.on_init = open_cache;
    probe_load("");
    UNTIL(atomic_load(&synced) > 0);
    hf.f->hold_reads = false;
    close_clean();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(terms_reconcile, host_setup, host_teardown),
        cmocka_unit_test_setup_teardown(stopped_at_once, host_setup, host_teardown),
        cmocka_unit_test_setup_teardown(a_follower_fills_its_caches, host_setup, host_teardown),
        {"terms_reconcile_on_threads", terms_reconcile, host_setup_threads, host_teardown, NULL},
        {"stopped_at_once_on_threads", stopped_at_once, host_setup_threads, host_teardown, NULL},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
