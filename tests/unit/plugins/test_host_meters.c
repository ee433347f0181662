/* test_host_meters.c - what queues and controllers do is counted by name, with the meanings of
 * client-go's metrics, and goes on over terms. */
#include <stdlib.h>

#include "rpc/plugin_admin.h"
#include "tests/unit/plugins/host_fixture.h"

static struct kvp_queue *queue;
static unsigned worked;
static unsigned fail_first; /* so many times work ends in a retry */

/* The value of one line of /metrics. */
static double metric(const char *line)
{
    struct buf out;
    buf_init(&out);
    host_metrics_render(hf.host, &out);
    buf_append_byte(&out, '\0');
    char text[256];
    snprintf(text, sizeof(text), "\n%s ", line);
    const char *at = strstr((const char *)out.data, text);
    if (at == NULL) {
        fail_msg("no line %s in\n%s", line, (const char *)out.data);
    }
    double value = strtod(at + strlen(text), NULL);
    buf_close(&out);
    return value;
}

static void on_load(struct plugin_admin_req *r, const struct plugin_admin_result *result)
{
    assert_int_equal(result->count, 1);
    *(struct plugin_load *)r->data = result->plugins[0].load;
}

static struct plugin_load load(void)
{
    struct plugin_load out;
    struct plugin_admin_req req = {.data = &out, .cb = on_load};
    struct plugin_admin *a = host_admin(hf.host);
    a->read(a, &req, "probe", PLUGIN_READ_LOAD);
    return out;
}

static void on_work(void *data, struct kvp_queue *q, struct kvp_bytes key)
{
    (void)data;
    worked++;
    if (fail_first > 0) {
        fail_first--;
        assert_int_equal(probe.host->queue_add_limited(q, key), 0);
    } else {
        probe.host->queue_forget(q, key);
    }
    probe.host->queue_done(q, key);
}

static void open_queue(void *data)
{
    struct kvp_queue_args a = {.size = sizeof(a), .delay_min_ms = 1, .work = on_work};
    assert_int_equal(probe.host->queue_open(data, &a, &queue), 0);
}

static void add_three(void *data)
{
    (void)data;
    assert_int_equal(probe.host->queue_add(queue, kvp_str("a")), 0);
    assert_int_equal(probe.host->queue_add(queue, kvp_str("b")), 0);
    assert_int_equal(probe.host->queue_add(queue, kvp_str("b")), 0);
    assert_int_equal(probe.host->queue_add(queue, kvp_str("c")), 0);
    assert_int_equal(load().queue, 3);
    assert_true(metric("kvd_plugin_probe_workqueue_depth{name=\"probe\"}") == 3);
}

static void queues_count_under_the_plugins_name(void **state)
{
    (void)state;
    worked = 0;
    fail_first = 2;
    probe_load("");
    inside(open_queue, probe.root);
    inside(add_three, NULL);
    UNTIL(worked == 5);
    struct plugin_load l = load();
    assert_int_equal(l.queue, 0);
    assert_int_equal(l.retries, 2);
    assert_true(metric("kvd_plugin_probe_workqueue_adds_total{name=\"probe\"}") == 5);
    assert_true(metric("kvd_plugin_probe_workqueue_retries_total{name=\"probe\"}") == 2);
    assert_true(metric("kvd_plugin_probe_workqueue_work_duration_seconds_count{name=\"probe\"}") ==
                5);
    assert_true(metric("kvd_plugin_probe_workqueue_work_duration_seconds_bucket{name=\"probe\",le="
                       "\"+Inf\"}") == 5);
    assert_true(metric("kvd_plugin_probe_workqueue_work_duration_seconds_sum{name=\"probe\"}") > 0);
}

/* ---- controllers -------------------------------------------------------------------------------
 */

static struct kvp_cache *cache;
static unsigned reconciled;

static int64_t reconcile(void *data, struct kvp_item *item, struct kvp_bytes key)
{
    (void)data, (void)item, (void)key;
    reconciled++;
    return KVP_DONE;
}

static void controller_on_init(void)
{
    struct kvp_cache_args a = {.size = sizeof(a), .prefix = kvp_str("k/")};
    assert_int_equal(probe.host->cache_open(probe.root, &a, &cache), 0);
}

static void controller_on_start(void)
{
    struct kvp_controller *c;
    struct kvp_controller_args a = {
        .size = sizeof(a), .name = "of \"k\"", .cache = cache, .reconcile = reconcile};
    assert_int_equal(probe.host->controller(probe.term, &a, &c), 0);
}

static void controllers_count_under_their_own_name_over_terms(void **state)
{
    (void)state;
    static const char adds[] = "kvd_plugin_probe_workqueue_adds_total{name=\"of \\\"k\\\"\"}";
    reconciled = 0;
    probe.on_init = controller_on_init;
    probe.on_start = controller_on_start;
    assert_int_equal(put_now(hf.f, "k/1", "v", 0, NULL), 0);
    assert_int_equal(put_now(hf.f, "k/2", "v", 0, NULL), 0);
    probe_load("");
    probe_lead();
    UNTIL(reconciled == 2);
    assert_true(metric(adds) == 2);
    host_role(hf.host, false, 0);
    UNTIL(probe_state() == HOST_READY);
    hf.f->term++;
    probe_lead();
    UNTIL(reconciled == 4);
    assert_true(metric(adds) == 4);
    assert_int_equal(load().queue, 0);
}

/* A queue that ends with keys in line leaves none behind in the depth. */
static void add_and_close(void *data)
{
    open_queue(probe.root);
    add_three(data);
    probe.host->queue_close(queue);
    assert_int_equal(load().queue, 0);
}

static void a_closed_queue_has_no_depth(void **state)
{
    (void)state;
    worked = fail_first = 0;
    probe_load("");
    inside(add_and_close, NULL);
    assert_int_equal(worked, 0);
}

/* ---- names -------------------------------------------------------------------------------------
 */

static void open_many(void *data)
{
    char name[32];
    (void)data;
    for (unsigned i = 0; i < PLUGIN_METERS_MAX + 20; i++) {
        struct kvp_controller *c;
        snprintf(name, sizeof(name), "c%u", i);
        struct kvp_controller_args a = {
            .size = sizeof(a), .name = name, .cache = cache, .reconcile = reconcile};
        assert_int_equal(probe.host->controller(probe.root, &a, &c), 0);
    }
}

static void names_beyond_the_limit_share_one(void **state)
{
    (void)state;
    probe.on_init = controller_on_init;
    probe_load("");
    inside(open_many, NULL);
    struct buf out;
    buf_init(&out);
    host_metrics_render(hf.host, &out);
    buf_append_byte(&out, '\0');
    unsigned rows = 0;
    for (const char *at = (const char *)out.data;
         (at = strstr(at, "\nkvd_plugin_probe_workqueue_depth{")) != NULL; at++) {
        rows++;
    }
    assert_int_equal(rows, PLUGIN_METERS_MAX);
    assert_non_null(strstr((const char *)out.data, "workqueue_depth{name=\"other\"} "));
    buf_close(&out);
}

static void taken_name_on_init(void)
{
    uint32_t id;
    struct kvp_metric_args a = {
        .size = sizeof(a), .type = KVP_GAUGE, .name = "workqueue_depth", .help = "Mine."};
    assert_int_equal(probe.host->metric(probe.root, &a, &id), KVP_EXISTS);
    a.name = "workqueue";
    assert_int_equal(probe.host->metric(probe.root, &a, &id), 0);
}

static void names_of_the_host_are_taken(void **state)
{
    (void)state;
    probe.on_init = taken_name_on_init;
    probe_load("");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, host_setup, host_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(queues_count_under_the_plugins_name),
        TEST(controllers_count_under_their_own_name_over_terms),
        TEST(a_closed_queue_has_no_depth),
        TEST(names_beyond_the_limit_share_one),
        TEST(names_of_the_host_are_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
