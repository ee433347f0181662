/* test_controller.c - items from the cache to the end of their writes, under faults. */
#include "tests/unit/plugins/probe.h"

#define KEYS 8

static struct kvp_cache *cache;
static struct kvp_controller *controller;
static struct kvp_controller_args args;
static int64_t answer; /* of reconcile */
static struct kvp_item *kept;
static unsigned reconciled;
static unsigned running[KEYS]; /* items of a key that are not finished */
static uint64_t last_at;

static int64_t reconcile_answer(void *data, struct kvp_item *item, struct kvp_bytes key)
{
    (void)data;
    (void)key;
    reconciled++;
    last_at = t_now();
    kept = item;
    return answer;
}

static int open_cache(void)
{
    struct kvp_cache_args a = {.size = sizeof(a), .prefix = kvp_str("/k/")};
    return probe.host->cache_open(probe.ctx, &a, &cache);
}

static int open_controller(void)
{
    args.size = sizeof(args);
    args.cache = cache;
    return probe.host->controller(probe.term, &args, &controller);
}

static bool open_world(void)
{
    t_on_failure(_fail);
    reconciled = 0;
    memset(running, 0, sizeof(running));
    probe = (struct probe){.on_init = open_cache, .on_start = open_controller};
    return t_open(&probe_plugin, NULL) == 0;
}

static int setup(void **state)
{
    (void)state;
    args = (struct kvp_controller_args){.reconcile = reconcile_answer};
    answer = KVP_DONE;
    return 0;
}

static void step_until(unsigned count)
{
    uint64_t end = t_now() + 3600000;
    while (reconciled < count) {
        assert_true(t_step() && t_now() < end);
    }
}

/* All keys once when it begins, then each that changes; nothing after stop. */
static void keys_are_reconciled(void **state)
{
    (void)state;
    open_world();
    t_put("/k/a", "1");
    t_put("/k/b", "1");
    t_advance(1000);
    assert_int_equal(reconciled, 0);
    t_lead(1);
    t_advance(1000);
    assert_int_equal(reconciled, 2);
    t_put("/k/a", "2");
    t_advance(1000);
    t_delete("/k/b");
    t_advance(1000);
    assert_int_equal(reconciled, 4);
    t_depose();
    t_put("/k/a", "3");
    t_advance(100000);
    assert_int_equal(reconciled, 4);
    assert_int_equal(probe.stop_reason, KVP_NOT_LEADER);
    t_lead(2);
    t_advance(1000);
    assert_int_equal(reconciled, 5);
    t_close();
    assert_int_equal(probe.stop_reason, KVP_STOPPED);
}

/* Leading from the first moment: nothing is reconciled before the cache is synced. */
static unsigned unsynced;
static int64_t reconcile_synced(void *data, struct kvp_item *item, struct kvp_bytes key)
{
    unsynced += probe.host->cache_synced(cache) != 1;
    return reconcile_answer(data, item, key);
}

static int open_controller_and_add(void)
{
    int status = open_controller();
    assert_int_equal(probe.host->cache_synced(cache), 0);
    return status != 0 ? status : probe.host->controller_add(controller, kvp_str("/k/more"));
}

static void synced_comes_first(void **state)
{
    (void)state;
    args.reconcile = reconcile_synced;
    unsynced = 0;
    open_world();
    probe.on_start = open_controller_and_add;
    t_put("/k/a", "1");
    t_hold("range");
    t_lead(1);
    t_advance(1000);
    assert_int_equal(reconciled, 0);
    t_release("range");
    t_put("/k/b", "1");
    t_advance(1000);
    assert_int_equal(reconciled, 3);
    assert_int_equal(unsynced, 0);
    t_close();
}

static void more_keys_than_a_slice(void **state)
{
    (void)state;
    args.parallel = 10;
    open_world();
    char name[16];
    for (int i = 0; i < 1300; i++) {
        snprintf(name, sizeof(name), "/k/%d", i);
        t_put(name, "1");
    }
    t_lead(1);
    t_advance(5000);
    assert_int_equal(reconciled, 1300);
    t_close();
}

static void a_number_asks_for_later(void **state)
{
    (void)state;
    open_world();
    answer = 7000;
    t_put("/k/a", "1");
    t_lead(1);
    step_until(1);
    uint64_t first = last_at;
    step_until(2);
    assert_int_equal(last_at - first, 7000);
    answer = KVP_DONE;
    step_until(3);
    t_advance(100000);
    assert_int_equal(reconciled, 3);
    t_close();
}

static void retries_back_off_and_are_forgotten(void **state)
{
    (void)state;
    open_world();
    answer = KVP_RETRY;
    t_put("/k/a", "1");
    t_lead(1);
    step_until(1);
    uint64_t want = 5;
    for (unsigned i = 2; i < 8; i++) {
        uint64_t before = last_at;
        step_until(i);
        assert_int_equal(last_at - before, want);
        want *= 2;
    }
    answer = KVP_DONE;
    step_until(8);
    answer = KVP_RETRY;
    t_put("/k/a", "2");
    step_until(9);
    uint64_t before = last_at;
    answer = KVP_DONE;
    step_until(10);
    assert_int_equal(last_at - before, 5);
    t_close();
}

static void finish_kept(void *result)
{
    probe.host->item_done(kept, *(int64_t *)result);
}

/* PENDING keeps the key away from others until item_done. */
static void pending_waits_for_item_done(void **state)
{
    (void)state;
    open_world();
    answer = KVP_PENDING;
    t_put("/k/a", "1");
    t_lead(1);
    step_until(1);
    t_put("/k/a", "2");
    t_advance(100000);
    assert_int_equal(reconciled, 1);
    int64_t done = KVP_DONE;
    inside(finish_kept, &done);
    t_advance(1);
    assert_int_equal(reconciled, 2); /* the change of meanwhile */
    int64_t later = 500;
    inside(finish_kept, &later);
    t_advance(490);
    assert_int_equal(reconciled, 2);
    answer = KVP_DONE;
    t_advance(20);
    assert_int_equal(reconciled, 3);
    t_close();
}

/* An item nobody finished goes with its term. */
static void pending_at_the_end_is_no_leak(void **state)
{
    (void)state;
    open_world();
    answer = KVP_PENDING;
    t_put("/k/a", "1");
    t_lead(1);
    step_until(1);
    t_depose();
    t_lead(2);
    t_advance(100);
    assert_int_equal(reconciled, 2);
    t_close();
}

static int64_t reconcile_done_inside(void *data, struct kvp_item *item, struct kvp_bytes key)
{
    reconcile_answer(data, item, key);
    probe.host->item_done(item, 300);
    return KVP_PENDING;
}

static void item_done_inside_reconcile(void **state)
{
    (void)state;
    args.reconcile = reconcile_done_inside;
    open_world();
    t_put("/k/a", "1");
    t_lead(1);
    step_until(1);
    uint64_t first = last_at;
    step_until(2);
    assert_int_equal(last_at - first, 300);
    t_close();
}

/* ---- writes ---------------------------------------------------------------------------------- */

static bool use_txn;
static bool twice;

static int64_t write_txn(struct kvp_item *item, struct kvp_bytes key, int64_t mod)
{
    struct kvp_txn *t = probe.host->txn_new(probe.term);
    struct kvp_compare c = {.size = sizeof(c),
                            .target = KVP_CMP_MOD_REVISION,
                            .relation = KVP_EQUAL,
                            .key = key,
                            .number = mod};
    struct kvp_put p = {.size = sizeof(p), .key = key, .value = kvp_str("ok")};
    if (t != NULL) {
        probe.host->txn_compare(t, &c);
        probe.host->txn_put(t, KVP_THEN, &p);
    }
    return probe.host->item_txn(item, t);
}

/* "ok" is as it should be. */
static int64_t reconcile_write(void *data, struct kvp_item *item, struct kvp_bytes key)
{
    struct kvp_cached row = {.size = sizeof(row)};
    (void)data;
    reconciled++;
    if (probe.host->cache_get(cache, key, &row) != 0 ||
        strcmp(((const struct kvp_bytes *)row.object)->data, "ok") == 0) {
        return KVP_DONE;
    }
    if (use_txn) {
        return write_txn(item, key, row.mod_revision);
    }
    struct kvp_put p = {.size = sizeof(p), .key = key, .value = kvp_str("ok")};
    if (twice) {
        struct kvp_put also = {.size = sizeof(also), .key = kvp_str("/also"), .value = p.value};
        probe.host->item_put(item, &also);
    }
    return probe.host->item_put_if(item, &p, row.mod_revision);
}

static void write_story(const char *call)
{
    args.reconcile = reconcile_write;
    open_world();
    t_put("/k/a", "");
    t_fail(call, 1, KVP_UNAVAILABLE);
    t_fail_call(call, 2, KVP_BUSY);
    t_fail_unknown(call, 3, 0);
    t_fail_unknown(call, 4, 1);
    t_lead(1);
    t_advance(60000);
    t_expect_value("/k/a", "ok");
    assert_int_equal(t_calls(call), 4); /* the fourth had happened: seen in the cache */
    /* Somebody else is faster: a conflict, read again. */
    t_hold(call);
    t_put("/k/a", "1");
    t_advance(100);
    assert_int_equal(t_in_flight(call), 1);
    t_put("/k/a", "2");
    t_release(call);
    t_advance(1000);
    t_expect_value("/k/a", "ok");
    assert_int_equal(t_calls(call), 6);
    t_close();
}

static void outcomes_finish_the_item(void **state)
{
    (void)state;
    use_txn = twice = false;
    write_story("put_if");
    use_txn = true;
    write_story("txn_commit");
    use_txn = false;
}

/* The ELSE of a transaction is no success: again, although the row itself did not change. */
static int64_t reconcile_gate(void *data, struct kvp_item *item, struct kvp_bytes key)
{
    struct kvp_txn *t = probe.host->txn_new(probe.term);
    struct kvp_compare c = {.size = sizeof(c),
                            .target = KVP_CMP_VERSION,
                            .relation = KVP_GREATER,
                            .key = kvp_str("/gate")};
    struct kvp_put p = {.size = sizeof(p), .key = kvp_str("/done"), .value = key};
    (void)data;
    reconciled++;
    probe.host->txn_compare(t, &c);
    probe.host->txn_put(t, KVP_THEN, &p);
    return probe.host->item_txn(item, t);
}

static void else_is_tried_again(void **state)
{
    (void)state;
    args.reconcile = reconcile_gate;
    open_world();
    t_put("/k/a", "");
    t_lead(1);
    step_until(3);
    t_expect_value("/done", NULL);
    t_put("/gate", "");
    t_advance(60000);
    t_expect_value("/done", "/k/a");
    unsigned tries = reconciled;
    t_advance(60000);
    assert_int_equal(reconciled, tries);
    t_close();
}

/* Two writes of one item: it ends with the later answer. */
static void two_writes_of_an_item(void **state)
{
    (void)state;
    use_txn = false;
    twice = true;
    args.reconcile = reconcile_write;
    open_world();
    t_put("/k/a", "");
    t_hold("put");
    t_lead(1);
    t_advance(100);
    t_expect_value("/k/a", "ok");
    assert_int_equal(reconciled, 1); /* still in work, though its row has changed since */
    t_release("put");
    t_advance(100);
    assert_int_equal(reconciled, 2);
    t_expect_value("/also", "ok");
    twice = false;
    t_close();
}

/* ---- mapping, resync, closing ------------------------------------------------------------------
 */

static void changed_maps(void *data, struct kvp_controller *c, const struct kvp_cached *before,
                         const struct kvp_cached *now)
{
    (void)data;
    (void)before;
    (void)now;
    probe.host->controller_add(c, kvp_str("all"));
}

static char last_key[16];
static int64_t reconcile_name(void *data, struct kvp_item *item, struct kvp_bytes key)
{
    snprintf(last_key, sizeof(last_key), "%.*s", (int)key.len, (const char *)key.data);
    return reconcile_answer(data, item, key);
}

static void changes_are_mapped(void **state)
{
    (void)state;
    args.reconcile = reconcile_name;
    args.changed = changed_maps;
    open_world();
    t_txn_begin();
    t_put("/k/a", "1");
    t_put("/k/b", "1");
    t_put("/k/c", "1");
    t_txn_end();
    t_lead(1);
    t_advance(1000);
    assert_string_equal(last_key, "all");
    assert_int_equal(reconciled, 1);
    t_delete("/k/a");
    t_advance(1000);
    assert_int_equal(reconciled, 2);
    t_close();
}

static void resync_repeats(void **state)
{
    (void)state;
    args.resync_ms = 60000;
    open_world();
    t_put("/k/a", "1");
    t_lead(1);
    t_advance(601000);
    assert_int_equal(reconciled, 11);
    t_close();
}

static int64_t reconcile_close(void *data, struct kvp_item *item, struct kvp_bytes key)
{
    reconcile_answer(data, item, key);
    probe.host->controller_close(controller);
    struct kvp_put p = {.size = sizeof(p), .key = key, .value = kvp_str("late")};
    return probe.host->item_put(item, &p); /* does nothing any more */
}

static void closed_inside_reconcile(void **state)
{
    (void)state;
    args.reconcile = reconcile_close;
    open_world();
    t_put("/k/a", "1");
    t_put("/k/b", "1");
    t_lead(1);
    t_advance(10000);
    assert_int_equal(reconciled, 1);
    t_expect_value("/k/a", "1");
    t_close();
}

static void close_cache(void *data)
{
    (void)data;
    probe.host->cache_close(cache);
}

static void ends_with_its_cache(void **state)
{
    (void)state;
    answer = 10;
    open_world();
    t_put("/k/a", "1");
    t_lead(1);
    t_advance(1000);
    assert_true(reconciled > 10);
    inside(close_cache, NULL);
    unsigned before = reconciled;
    t_advance(10000);
    assert_int_equal(reconciled, before);
    t_close();
}

/* ---- everything goes wrong ---------------------------------------------------------------------
 * Each key counts upwards once per reconcile, by a write of its own that ends the item by hand. */

static void counted(void *data, const struct kvp_result *r)
{
    struct kvp_item *item = data;
    probe.host->item_done(item, r->outcome == KVP_OK ? KVP_DONE : KVP_RETRY);
}

static int64_t reconcile_any(void *data, struct kvp_item *item, struct kvp_bytes key)
{
    size_t k = (size_t)(((const char *)key.data)[3] - 'a');
    struct kvp_cached row = {.size = sizeof(row)};
    (void)data;
    reconciled++;
    assert_true(k < KEYS);
    if (probe.host->cache_get(cache, key, &row) != 0 ||
        strcmp(((const struct kvp_bytes *)row.object)->data, "ok") == 0) {
        return KVP_DONE;
    }
    struct kvp_put p = {.size = sizeof(p), .key = key, .value = kvp_str("ok")};
    switch (t_random(5)) {
    case 0:
        return KVP_RETRY;
    case 1:
        return 1 + (int64_t)t_random(1000);
    case 2:
        return write_txn(item, key, row.mod_revision);
    case 3:
        return probe.host->put_if(probe.term, &p, row.mod_revision, counted, item) == 0
                   ? KVP_PENDING
                   : KVP_RETRY;
    default:
        return probe.host->item_put_if(item, &p, row.mod_revision);
    }
}

static void chaos_story(void)
{
    bool leads = false;
    uint64_t term = 0;
    args = (struct kvp_controller_args){.reconcile = reconcile_any, .parallel = 3};
    if (!open_world()) {
        t_close();
        return;
    }
    t_chaos((unsigned)t_random(40));
    bool there[KEYS] = {false};
    for (int i = 0; i < 80; i++) {
        size_t k = t_random(KEYS);
        char name[8] = {'/', 'k', '/', (char)('a' + k), '\0'};
        switch (t_random(6)) {
        case 0:
            t_delete(name);
            there[k] = false;
            break;
        case 1:
            if (leads) {
                t_depose();
            } else {
                t_lead(++term);
            }
            leads = !leads;
            break;
        case 2:
            t_compact(0);
            t_advance(t_random(300));
            break;
        default:
            t_put(name, "new");
            there[k] = true;
            t_advance(t_random(6));
            break;
        }
    }
    t_chaos(0);
    if (!leads) {
        t_lead(++term);
    }
    t_advance(7200000);
    for (size_t k = 0; k < KEYS; k++) {
        char name[8] = {'/', 'k', '/', (char)('a' + k), '\0'};
        t_expect_value(name, there[k] ? "ok" : NULL);
    }
    t_close();
}

static void faults_never_lose_a_key(void **state)
{
    (void)state;
    t_on_failure(_fail);
    t_for_each_seed(200, chaos_story);
}

static void alloc_story(void)
{
    args = (struct kvp_controller_args){.reconcile = reconcile_write, .name = "named"};
    use_txn = true;
    if (open_world()) {
        t_put("/k/a", "");
        t_lead(1);
        t_advance(60000);
        t_put("/k/b", "");
        t_advance(60000);
        t_expect_value("/k/a", "ok");
        t_expect_value("/k/b", "ok");
    }
    t_close();
}

static void allocations_fail(void **state)
{
    (void)state;
    t_on_failure(_fail);
    assert_true(t_for_each_alloc(alloc_story) > 30);
    use_txn = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(keys_are_reconciled, setup),
        cmocka_unit_test_setup(synced_comes_first, setup),
        cmocka_unit_test_setup(more_keys_than_a_slice, setup),
        cmocka_unit_test_setup(a_number_asks_for_later, setup),
        cmocka_unit_test_setup(retries_back_off_and_are_forgotten, setup),
        cmocka_unit_test_setup(pending_waits_for_item_done, setup),
        cmocka_unit_test_setup(pending_at_the_end_is_no_leak, setup),
        cmocka_unit_test_setup(item_done_inside_reconcile, setup),
        cmocka_unit_test_setup(outcomes_finish_the_item, setup),
        cmocka_unit_test_setup(else_is_tried_again, setup),
        cmocka_unit_test_setup(two_writes_of_an_item, setup),
        cmocka_unit_test_setup(changes_are_mapped, setup),
        cmocka_unit_test_setup(resync_repeats, setup),
        cmocka_unit_test_setup(closed_inside_reconcile, setup),
        cmocka_unit_test_setup(ends_with_its_cache, setup),
        cmocka_unit_test_setup(faults_never_lose_a_key, setup),
        cmocka_unit_test_setup(allocations_fail, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
