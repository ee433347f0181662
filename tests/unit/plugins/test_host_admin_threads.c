/* test_host_admin_threads.c - operators look at and change a plugin that works on a thread of its
 * own: the same contract as test_host_admin.c, seen by TSan. */
#include "tests/unit/plugins/host_fixture.h"

#include "rpc/plugin_admin.h"

static struct {
    struct plugin_admin_req req;
    unsigned count;
    int err;
    enum plugin_state state;
    struct plugin_load load;
} got;

static void on_answer(struct plugin_admin_req *r, const struct plugin_admin_result *result)
{
    (void)r;
    got.count++;
    got.err = result->err;
    if (result->count > 0) {
        got.state = result->plugins[0].state;
        got.load = result->plugins[0].load;
    }
}

static struct plugin_admin *admin(void)
{
    memset(&got, 0, sizeof(got));
    got.req.cb = on_answer;
    return host_admin(hf.host);
}

static void look(void)
{
    struct plugin_admin *a = admin();
    a->read(a, &got.req, "probe", PLUGIN_READ_LOAD | PLUGIN_READ_OPTIONS);
    assert_int_equal(got.count, 1);
    assert_int_equal(got.err, 0);
}

/* Every tick writes: timers, requests and events all the time. */
static void on_tick(void *data)
{
    (void)data;
    struct kvp_put put = {.size = sizeof(put), .key = kvp_str("tick"), .value = kvp_str("1")};
    (void)probe.host->put(probe.term, &put, NULL, NULL);
}

static void on_events(void *data, const struct kvp_batch *b)
{
    (void)data, (void)b;
}

static void busy_on_start(void)
{
    struct kvp_timer_args timer = {
        .size = sizeof(timer), .after_ms = 1, .repeat_ms = 1, .fire = on_tick};
    struct kvp_watch_args watch = {
        .size = sizeof(watch), .key = kvp_str("tick"), .events = on_events};
    (void)probe.host->timer(probe.term, &timer, NULL);
    (void)probe.host->watch(probe.term, &watch, NULL);
}

/* Looks until the plugin has done `events` more. */
static void work(uint64_t events)
{
    look();
    uint64_t enough = got.load.events + events;
    UNTIL((look(), got.load.events >= enough));
    assert_true(got.load.callbacks > got.load.events);
    assert_int_equal(got.load.watches, 1);
    assert_int_equal(got.load.timers, 1);
    assert_true(got.load.time_p50_ns <= got.load.time_max_ns);
}

static void a_working_plugin_is_looked_at_and_changed(void **state)
{
    (void)state;
    probe.on_start = busy_on_start;
    probe_load("");
    host_role(hf.host, true, hf.f->term);
    UNTIL(probe_state() == HOST_LEADING);
    work(50);
    for (unsigned i = 0; i < 5; i++) {
        struct plugin_admin *a = admin();
        a->reload(a, &got.req, "probe", NULL, 0);
        UNTIL(got.count > 0);
        assert_int_equal(got.err, 0);
        assert_int_equal(got.state, PLUGIN_LEADING);
        work(5);
        a = admin();
        a->disable(a, &got.req, "probe");
        UNTIL(got.count > 0);
        assert_int_equal(got.state, PLUGIN_DISABLED);
        assert_int_equal(got.load.callbacks, 0);
        a = admin();
        a->enable(a, &got.req, "probe");
        UNTIL(got.count > 0);
        assert_int_equal(got.state, PLUGIN_LEADING);
        work(5);
    }
}

static void a_stop_in_the_middle_of_a_change(void **state)
{
    (void)state;
    probe.on_start = busy_on_start;
    probe_load("");
    host_role(hf.host, true, hf.f->term);
    UNTIL(probe_state() == HOST_LEADING);
    struct plugin_admin *a = admin();
    a->reload(a, &got.req, "probe", NULL, 0);
    host_fixture_close();
    assert_int_equal(got.count, 1);
    assert_int_equal(got.err, ERR_STOPPED);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, host_setup_threads, host_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_working_plugin_is_looked_at_and_changed),
        TEST(a_stop_in_the_middle_of_a_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
