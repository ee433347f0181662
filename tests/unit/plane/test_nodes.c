/* test_nodes.c - nodes that fall silent, and what becomes of their pods, at the real times. */
#include "plugins/controllers/conditions.h"
#include "plugins/controllers/taint.h"
#include "tests/unit/plane/nodes.h"

static const char *const three[] = {"n1", "n2", "n3"};

static bool node_has_taint(const char *node, const char *key, const char *effect)
{
    const struct object *o = plane_get(SCHEMA_CORE_V1_NODE, NULL, node);
    return o != NULL && taint_has(o, key, effect);
}

static const char *ready_of(const char *node)
{
    return plane_text(SCHEMA_CORE_V1_NODE, NULL, node, "status.conditions[0].status");
}

static void three_nodes(void)
{
    plane_open("apiserver", "controllers", NULL);
    for (size_t i = 0; i < 3; i++) {
        node_join(three[i]);
    }
    pod_run("p", "n1", 300, "10.0.0.1", "{}");
    pod_run("stays", "n1", -1, "10.0.0.2", "{}");
    nodes_live(60000, 3, three);
    assert_string_equal(ready_of("n1"), "True");
    assert_false(node_has_taint("n1", "node.kubernetes.io/unreachable", "NoExecute"));
}

/* 40 s after its last sign of life the node is Unknown; five minutes later its pods are deleted,
 * and stay Terminating, for nobody confirms their end. */
static void a_stopped_node_is_evicted(void **state)
{
    (void)state;
    three_nodes();
    nodes_live(39000, 2, three + 1);
    assert_string_equal(ready_of("n1"), "True");
    nodes_live(7000, 2, three + 1);
    assert_string_equal(ready_of("n1"), "Unknown");
    plane_expect(SCHEMA_CORE_V1_NODE, NULL, "n1", "status.conditions[0].reason",
                 "NodeStatusUnknown");
    plane_expect(SCHEMA_CORE_V1_NODE, NULL, "n1", "status.conditions[0].message",
                 "Kubelet stopped posting node status.");
    assert_true(node_has_taint("n1", "node.kubernetes.io/unreachable", "NoSchedule"));
    plane_expect(SCHEMA_CORE_V1_POD, "default", "p", "status.conditions[0].status", "False");
    nodes_live(5000, 2, three + 1);
    assert_true(node_has_taint("n1", "node.kubernetes.io/unreachable", "NoExecute"));
    assert_int_equal(plane_events("default", "n1", "NodeNotReady"), 1);
    assert_int_equal(plane_events("default", "p", "NodeNotReady"), 1);
    assert_int_equal(plane_events("default", "n1", "RegisteredNode"), 1);
    nodes_live(290000, 2, three + 1);
    assert_false(pod_is_ending("p"));
    nodes_live(12000, 2, three + 1);
    assert_true(pod_is_ending("p"));
    struct condition c =
        conditions_find(plane_get(SCHEMA_CORE_V1_POD, "default", "p"), "DisruptionTarget");
    assert_true(conditions_is(c, "True"));
    assert_true(slice_eq(conditions_text(c, "reason"), slice_str("DeletionByTaintManager")));
    assert_int_equal(plane_events("default", "p", "TaintManagerEviction"), 1);
    nodes_live(600000, 2, three + 1);
    assert_true(pod_is_ending("p"));
    assert_false(pod_is_ending("stays"));
    plane_close();
}

/* When no node is ready it is more likely that the network is down. */
static void all_nodes_down_evicts_nothing(void **state)
{
    (void)state;
    three_nodes();
    plane_advance(60000);
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(ready_of(three[i]), "Unknown");
        assert_true(node_has_taint(three[i], "node.kubernetes.io/unreachable", "NoSchedule"));
    }
    plane_advance(1800000);
    assert_false(node_has_taint("n1", "node.kubernetes.io/unreachable", "NoExecute"));
    assert_false(pod_is_ending("p"));
    plane_close();
}

/* A node that is down first loses its taint when the others follow, and has a full time again once
 * one of them is back. */
static void full_disruption_takes_back(void **state)
{
    (void)state;
    three_nodes();
    nodes_live(55000, 2, three + 1);
    assert_true(node_has_taint("n1", "node.kubernetes.io/unreachable", "NoExecute"));
    plane_advance(60000);
    assert_false(node_has_taint("n1", "node.kubernetes.io/unreachable", "NoExecute"));
    plane_advance(400000);
    assert_false(pod_is_ending("p"));
    node_ready("n2", "True");
    nodes_live(30000, 1, three + 1);
    assert_true(node_has_taint("n1", "node.kubernetes.io/unreachable", "NoExecute"));
    nodes_live(320000, 1, three + 1);
    assert_true(pod_is_ending("p"));
    plane_close();
}

static void a_node_that_returns_keeps_its_pods(void **state)
{
    (void)state;
    three_nodes();
    nodes_live(200000, 2, three + 1);
    assert_true(node_has_taint("n1", "node.kubernetes.io/unreachable", "NoExecute"));
    node_ready("n1", "True");
    nodes_live(10000, 3, three);
    assert_string_equal(plane_text(SCHEMA_CORE_V1_NODE, NULL, "n1", "spec.taints"), "");
    nodes_live(400000, 3, three);
    assert_false(pod_is_ending("p"));
    assert_int_equal(plane_events("default", "p", "TaintManagerEviction"), 1);
    plane_close();
}

/* The five minutes go on when leadership moves. */
static void eviction_survives_a_new_leader(void **state)
{
    (void)state;
    three_nodes();
    nodes_live(52000, 2, three + 1);
    assert_true(node_has_taint("n1", "node.kubernetes.io/unreachable", "NoExecute"));
    for (int i = 0; i < 28; i++) {
        nodes_live(5000, 2, three + 1);
        plane_follow();
        plane_lead();
        nodes_live(5000, 2, three + 1);
    }
    assert_false(pod_is_ending("p"));
    nodes_live(30000, 2, three + 1);
    assert_true(pod_is_ending("p"));
    plane_close();
}

/* A node is tainted against scheduling as its conditions and its user say. */
static void conditions_become_taints(void **state)
{
    (void)state;
    three_nodes();
    plane_patch(SCHEMA_CORE_V1_NODE, NULL, "n2", "status",
                "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"False\"},"
                "{\"type\":\"DiskPressure\",\"status\":\"True\"}]}}");
    plane_patch(SCHEMA_CORE_V1_NODE, NULL, "n3", NULL, "{\"spec\":{\"unschedulable\":true}}");
    plane_advance(1000);
    assert_true(node_has_taint("n2", "node.kubernetes.io/not-ready", "NoSchedule"));
    assert_true(node_has_taint("n2", "node.kubernetes.io/disk-pressure", "NoSchedule"));
    assert_true(node_has_taint("n3", "node.kubernetes.io/unschedulable", "NoSchedule"));
    plane_advance(11000);
    assert_true(node_has_taint("n2", "node.kubernetes.io/not-ready", "NoExecute"));
    node_ready("n2", "True");
    plane_patch(SCHEMA_CORE_V1_NODE, NULL, "n3", NULL, "{\"spec\":{\"unschedulable\":null}}");
    plane_advance(6000);
    assert_string_equal(plane_text(SCHEMA_CORE_V1_NODE, NULL, "n2", "spec.taints"), "");
    assert_string_equal(plane_text(SCHEMA_CORE_V1_NODE, NULL, "n3", "spec.taints"), "");
    plane_expect(SCHEMA_CORE_V1_NODE, NULL, "n1", "metadata.labels[beta.kubernetes.io/os]",
                 "linux");
    plane_expect(SCHEMA_CORE_V1_NODE, NULL, "n1",
                 "metadata.annotations[node.alpha.kubernetes.io/ttl]", "0");
    plane_close();
}

/* Pods of a node that is gone go too, but not at once. */
static void pods_of_a_lost_node_are_collected(void **state)
{
    (void)state;
    three_nodes();
    plane_applyf("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"other\"},"
                 "\"spec\":{\"nodeName\":\"n2\",\"containers\":[{\"name\":\"c\",\"image\":"
                 "\"i\"}]}}");
    plane_delete(SCHEMA_CORE_V1_NODE, NULL, "n1", NULL);
    nodes_live(35000, 2, three + 1);
    assert_non_null(plane_get(SCHEMA_CORE_V1_POD, "default", "p"));
    nodes_live(50000, 2, three + 1);
    assert_null(plane_get(SCHEMA_CORE_V1_POD, "default", "p"));
    assert_null(plane_get(SCHEMA_CORE_V1_POD, "default", "stays"));
    assert_non_null(plane_get(SCHEMA_CORE_V1_POD, "default", "other"));
    assert_int_equal(plane_events("default", "n1", "RemovingNode"), 1);
    plane_close();
}

static void ended_pods_are_kept_up_to_a_number(void **state)
{
    (void)state;
    plane_open("apiserver", "controllers,terminated-pod-gc-threshold=2", NULL);
    node_join("n1");
    for (int i = 0; i < 4; i++) {
        char name[8];
        snprintf(name, sizeof name, "p%d", i);
        pod_run(name, "n1", -1, "10.0.0.1", "{}");
        plane_patch(SCHEMA_CORE_V1_POD, "default", name, "status",
                    i == 0 ? "{\"status\":{\"phase\":\"Running\"}}"
                           : "{\"status\":{\"phase\":\"Succeeded\"}}");
        plane_advance(2000);
    }
    plane_advance(30000);
    assert_non_null(plane_get(SCHEMA_CORE_V1_POD, "default", "p0"));
    assert_null(plane_get(SCHEMA_CORE_V1_POD, "default", "p1"));
    assert_non_null(plane_get(SCHEMA_CORE_V1_POD, "default", "p2"));
    assert_non_null(plane_get(SCHEMA_CORE_V1_POD, "default", "p3"));
    plane_close();
}

/* More than are removed in one callback go within the same round. */
static void many_ended_pods_go(void **state)
{
    (void)state;
    plane_open("apiserver", "controllers,terminated-pod-gc-threshold=2", NULL);
    node_join("n1");
    for (int i = 0; i < 130; i++) {
        char name[8];
        snprintf(name, sizeof name, "p%d", i);
        pod_run(name, "n1", -1, "10.0.0.1", "{}");
        plane_patch(SCHEMA_CORE_V1_POD, "default", name, "status",
                    "{\"status\":{\"phase\":\"Succeeded\"}}");
    }
    PLANE_UNTIL(plane_count(SCHEMA_CORE_V1_POD, "default", NULL) < 130, 21000);
    plane_advance(2000);
    assert_int_equal(plane_count(SCHEMA_CORE_V1_POD, "default", NULL), 2);
    plane_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLANE_TEST(a_stopped_node_is_evicted),
        PLANE_TEST(all_nodes_down_evicts_nothing),
        PLANE_TEST(full_disruption_takes_back),
        PLANE_TEST(a_node_that_returns_keeps_its_pods),
        PLANE_TEST(eviction_survives_a_new_leader),
        PLANE_TEST(conditions_become_taints),
        PLANE_TEST(pods_of_a_lost_node_are_collected),
        PLANE_TEST(ended_pods_are_kept_up_to_a_number),
        PLANE_TEST(many_ended_pods_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
