/* test_node_health.c - signs of life of nodes, zones and their rates. */
#include "tests/unit/controllers/fixture.h"

#include "plugins/controllers/conditions.h"
#include "plugins/controllers/node_health.h"
#include "plugins/controllers/zone.h"

static const struct node_health_limits limits = {.grace_ms = 40000, .startup_ms = 60000};

#define BEAT1                                                                                   \
    "{'status':{'conditions':[{'type':'Ready','status':'True','lastHeartbeatTime':'2026-01-01T" \
    "00:00:00Z'}]}}"
#define BEAT2                                                                                   \
    "{'status':{'conditions':[{'type':'Ready','status':'True','lastHeartbeatTime':'2026-01-01T" \
    "00:00:10Z'}]}}"

static struct object node(struct fixture *f, const char *json)
{
    return decoded(f, SCHEMA_CORE_V1_NODE, json);
}

static void silence_counts_from_the_last_change(void **state)
{
    struct fixture *f = *state;
    struct object one = node(f, BEAT1);
    struct object two = node(f, BEAT2);
    struct node_health h = {0};
    assert_false(node_health_look(&h, &one, 0, 1000, &limits));
    assert_false(node_health_look(&h, &one, 0, 41000, &limits));
    assert_true(node_health_look(&h, &one, 0, 41001, &limits));
    assert_false(node_health_look(&h, &two, 0, 50000, &limits)); /* its status changed */
    assert_true(node_health_look(&h, &two, 0, 90001, &limits));
    assert_false(node_health_look(&h, &two, 5, 90002, &limits)); /* its lease was renewed */
    assert_false(node_health_look(&h, &two, 5, 130002, &limits));
    assert_true(node_health_look(&h, &two, 5, 130003, &limits));
    assert_true(node_health_look(&h, &two, 4, 130004, &limits)); /* backwards is no renewal */
    node_health_reset(&h, 130005);
    assert_false(node_health_look(&h, &two, 4, 170005, &limits));
}

static void a_node_that_never_reported_gets_longer(void **state)
{
    struct fixture *f = *state;
    struct object none = node(f, "{}");
    struct object one = node(f, BEAT1);
    struct node_health h = {0};
    assert_int_equal(node_health_ready(&none), NODE_UNREPORTED);
    assert_false(node_health_look(&h, &none, 0, 0, &limits));
    assert_false(node_health_look(&h, &none, 0, 60000, &limits));
    assert_true(node_health_look(&h, &none, 0, 60001, &limits));
    assert_false(node_health_look(&h, &one, 0, 60002, &limits));
}

static struct slice reason(struct object *o, const char *type)
{
    return conditions_text(conditions_find(o, type), "reason");
}

static void conditions_turn_unknown(void **state)
{
    struct fixture *f = *state;
    struct object o = node(f, "{'metadata':{'name':'n','creationTimestamp':'2026-01-01T00:00:00Z'},"
                              "'status':{'conditions':[{'type':'NetworkUnavailable','status':"
                              "'False'},{'type':'Ready','status':'True','lastHeartbeatTime':"
                              "'2026-01-01T00:00:10Z','lastTransitionTime':"
                              "'2026-01-01T00:00:00Z'}]}}");
    bool changed;
    assert_int_equal(node_health_silence(&o, 1767225700, &changed), 0);
    assert_true(changed);
    assert_int_equal(node_health_ready(&o), NODE_UNKNOWN);
    assert_true(slice_eq(reason(&o, "Ready"), slice_str("NodeStatusUnknown")));
    assert_true(slice_eq(reason(&o, "MemoryPressure"), slice_str("NodeStatusNeverUpdated")));
    assert_true(slice_eq(reason(&o, "DiskPressure"), slice_str("NodeStatusNeverUpdated")));
    assert_true(slice_eq(reason(&o, "PIDPressure"), slice_str("NodeStatusNeverUpdated")));
    assert_true(conditions_is(conditions_find(&o, "NetworkUnavailable"), "False"));
    struct condition ready = conditions_find(&o, "Ready");
    assert_int_equal(conditions_time(ready, "lastTransitionTime"), 1767225700);
    assert_int_equal(conditions_time(ready, "lastHeartbeatTime"), 1767225610);
    assert_int_equal(conditions_time(conditions_find(&o, "PIDPressure"), "lastHeartbeatTime"),
                     1767225600);
    assert_int_equal(node_health_silence(&o, 1767225800, &changed), 0);
    assert_false(changed);
}

static void zones_and_their_rates(void **state)
{
    (void)state;
    const struct zone_conf conf = {
        .rate = 0.1, .secondary_rate = 0.01, .threshold = 0.55, .large = 50};
    assert_int_equal(zone_state(3, 0, &conf), ZONE_NORMAL);
    assert_int_equal(zone_state(0, 0, &conf), ZONE_NORMAL);
    assert_int_equal(zone_state(0, 1, &conf), ZONE_FULL);
    assert_int_equal(zone_state(1, 2, &conf), ZONE_NORMAL); /* two are no disruption */
    assert_int_equal(zone_state(2, 3, &conf), ZONE_PARTIAL);
    assert_int_equal(zone_state(3, 3, &conf), ZONE_NORMAL); /* half is not 55 % */
    assert_true(zone_rate(ZONE_NORMAL, 5, &conf) == 0.1);
    assert_true(zone_rate(ZONE_FULL, 5, &conf) == 0.1);
    assert_true(zone_rate(ZONE_PARTIAL, 50, &conf) == 0);
    assert_true(zone_rate(ZONE_PARTIAL, 51, &conf) == 0.01);
}

static void one_node_at_a_time(void **state)
{
    (void)state;
    struct zone_limiter l = {0};
    assert_false(zone_limiter_take(&l, 5));
    zone_limiter_set(&l, 0.1, 1000);
    assert_true(zone_limiter_take(&l, 1000));
    assert_false(zone_limiter_take(&l, 10999));
    assert_true(zone_limiter_take(&l, 11000));
    zone_limiter_set(&l, 0.01, 12000); /* the wait that is on begins anew */
    assert_false(zone_limiter_take(&l, 111999));
    assert_true(zone_limiter_take(&l, 112000));
    zone_limiter_set(&l, 0, 112001);
    assert_false(zone_limiter_take(&l, UINT64_MAX));
    zone_limiter_set(&l, 1e-300, 112002);
    assert_true(zone_limiter_take(&l, 112002));
    assert_false(zone_limiter_take(&l, 1000000000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(silence_counts_from_the_last_change, setup, teardown),
        cmocka_unit_test_setup_teardown(a_node_that_never_reported_gets_longer, setup, teardown),
        cmocka_unit_test_setup_teardown(conditions_turn_unknown, setup, teardown),
        cmocka_unit_test(zones_and_their_rates),
        cmocka_unit_test(one_node_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
