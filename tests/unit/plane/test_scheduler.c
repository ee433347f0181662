/* test_scheduler.c - pods get their nodes: the scheduler with the API server, in virtual time. */
#include "tests/unit/plane/plane.h"

#define POD SCHEMA_CORE_V1_POD

/* Pods need an account; there is no controller to make one. */
static void open_with(const char *scheduler)
{
    plane_open("apiserver", scheduler, NULL);
    plane_apply("{\"apiVersion\":\"v1\",\"kind\":\"ServiceAccount\",\"metadata\":{\"name\":"
                "\"default\"}}");
}

static void node(const char *name, const char *cpu, const char *spec)
{
    plane_applyf(
        "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"%s\",\"labels\":"
        "{\"kubernetes.io/hostname\":\"%s\"}},\"spec\":{%s}}",
        name, name, spec);
    char status[256];
    snprintf(status, sizeof status,
             "{\"status\":{\"allocatable\":{\"cpu\":\"%s\",\"memory\":\"8Gi\",\"pods\":\"110\"}}}",
             cpu);
    plane_patch(SCHEMA_CORE_V1_NODE, NULL, name, "status", status);
    /* It is ready: the taint that every new node gets goes, as the controllers would see to. */
    snprintf(status, sizeof status, "{\"spec\":{%s}}",
             strstr(spec, "taints") != NULL ? spec : "\"taints\":null");
    plane_patch(SCHEMA_CORE_V1_NODE, NULL, name, NULL, status);
}

static void pod(const char *name, const char *cpu, const char *spec)
{
    plane_applyf("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s\"},\"spec\":{"
                 "%s\"containers\":[{\"name\":\"c\",\"image\":\"web\",\"resources\":{\"requests\":{"
                 "\"cpu\":\"%s\"}}}]}}",
                 name, spec, cpu);
}

static const char *where(const char *name)
{
    return plane_text(POD, "default", name, "spec.nodeName");
}

/* A member of the condition PodScheduled. */
static const char *scheduled(const char *name, const char *member)
{
    for (int i = 0; i < 8; i++) {
        char path[64];
        snprintf(path, sizeof path, "status.conditions[%d].type", i);
        if (strcmp(plane_text(POD, "default", name, path), "PodScheduled") == 0) {
            snprintf(path, sizeof path, "status.conditions[%d].%s", i, member);
            return plane_text(POD, "default", name, path);
        }
    }
    return "";
}

static void pods_get_nodes(void **state)
{
    open_with("scheduler");
    node("n1", "4", "");
    node("n2", "4", "");
    for (int i = 0; i < 8; i++) {
        char name[8];
        snprintf(name, sizeof name, "p%d", i);
        pod(name, "1", "");
    }
    for (int i = 0; i < 8; i++) {
        char name[8];
        snprintf(name, sizeof name, "p%d", i);
        PLANE_UNTIL(where(name)[0], 2000);
        assert_string_equal(scheduled(name, "status"), "True");
        PLANE_UNTIL(plane_events("default", name, "Scheduled") == 1, 5000);
        assert_int_equal(plane_events("default", name, "FailedScheduling"), 0);
    }
    assert_int_equal(plane_count(POD, "default", "fieldSelector=spec.nodeName%3Dn1"), 4);
    assert_int_equal(plane_count(POD, "default", "fieldSelector=spec.nodeName%3Dn2"), 4);
    plane_close();
}

/* The exact message, one event, and a node when there is room. */
static void a_pod_too_big_waits_for_room(void **state)
{
    open_with("scheduler");
    node("n1", "2", "");
    node("n2", "2", "\"unschedulable\":true");
    pod("small", "1", "");
    PLANE_UNTIL(where("small")[0], 2000);
    pod("big", "2", "");
    PLANE_UNTIL(scheduled("big", "status")[0], 2000);
    assert_string_equal(scheduled("big", "status"), "False");
    assert_string_equal(scheduled("big", "reason"), "Unschedulable");
    assert_string_equal(
        scheduled("big", "message"),
        "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) were unschedulable. no new claims "
        "to deallocate, preemption: 0/2 nodes are available: 1 No preemption victims found for "
        "incoming pod, 1 Preemption is not helpful for scheduling.");
    plane_expect(POD, "default", "big", "status.phase", "Pending");
    PLANE_UNTIL(plane_events("default", "big", "FailedScheduling") == 1, 5000);
    plane_advance(60000);
    assert_string_equal(where("big"), "");
    assert_int_equal(plane_events("default", "big", "FailedScheduling"), 1); /* nothing happened */
    plane_delete(POD, "default", "small", "{\"gracePeriodSeconds\":0}");
    PLANE_UNTIL(where("big")[0], 2000);
    assert_string_equal(where("big"), "n1");
    assert_string_equal(scheduled("big", "status"), "True");
    plane_close();
}

static void nodes_that_come_later(void **state)
{
    open_with("scheduler");
    pod("p", "1", "");
    PLANE_UNTIL(scheduled("p", "message")[0], 2000);
    assert_string_equal(scheduled("p", "message"), "no nodes available to schedule pods");
    node("n", "4", "\"taints\":[{\"key\":\"k\",\"effect\":\"NoSchedule\"}]");
    PLANE_UNTIL(strcmp(scheduled("p", "message"), "no nodes available to schedule pods"), 20000);
    /* It has allocatable only a moment later, but the taint comes first. */
    assert_non_null(strstr(scheduled("p", "message"), "1 node(s) had untolerated taint(s)"));
    plane_patch(SCHEMA_CORE_V1_NODE, NULL, "n", NULL, "{\"spec\":{\"taints\":null}}");
    PLANE_UNTIL(where("p")[0], 20000);
    plane_close();
}

static void preemption(void **state)
{
    open_with("scheduler");
    node("n", "2", "");
    plane_apply("{\"apiVersion\":\"scheduling.k8s.io/v1\",\"kind\":\"PriorityClass\",\"metadata\":{"
                "\"name\":\"high\"},\"value\":1000}");
    plane_apply("{\"apiVersion\":\"scheduling.k8s.io/v1\",\"kind\":\"PriorityClass\",\"metadata\":{"
                "\"name\":\"polite\"},\"value\":2000,\"preemptionPolicy\":\"Never\"}");
    pod("low1", "1", "");
    pod("low2", "1", "");
    PLANE_UNTIL(where("low1")[0] && where("low2")[0], 2000);
    pod("polite", "1",
        "\"priority\":2000,\"preemptionPolicy\":\"Never\",\"priorityClassName\":\"polite\",");
    PLANE_UNTIL(scheduled("polite", "message")[0], 2000);
    assert_string_equal(scheduled("polite", "message"),
                        "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, "
                        "preemption: not eligible due to preemptionPolicy=Never.");
    plane_delete(POD, "default", "polite", NULL);
    pod("high", "2", "\"priority\":1000,\"priorityClassName\":\"high\",");
    PLANE_UNTIL(plane_text(POD, "default", "high", "status.nominatedNodeName")[0], 2000);
    plane_expect(POD, "default", "high", "status.nominatedNodeName", "n");
    PLANE_UNTIL(plane_text(POD, "default", "low1", "metadata.deletionTimestamp")[0], 2000);
    PLANE_UNTIL(plane_text(POD, "default", "low2", "metadata.deletionTimestamp")[0], 2000);
    PLANE_UNTIL(plane_events("default", "low1", "Preempted") == 1, 5000);
    bool marked = false;
    for (int i = 0; i < 4; i++) {
        char path[64];
        snprintf(path, sizeof path, "status.conditions[%d].message", i);
        marked = marked || strcmp(plane_text(POD, "default", "low1", path),
                                  "default-scheduler: preempting to accommodate a higher priority "
                                  "pod") == 0;
    }
    assert_true(marked);
    /* No kubelet is there: the test ends them, as one would. A newcomer does not take the room. */
    pod("late", "1", "");
    plane_delete(POD, "default", "low1", "{\"gracePeriodSeconds\":0}");
    plane_advance(3000);
    assert_string_equal(where("late"), "");
    assert_string_equal(where("high"), "");
    plane_delete(POD, "default", "low2", "{\"gracePeriodSeconds\":0}");
    PLANE_UNTIL(where("high")[0], 20000);
    plane_expect(POD, "default", "high", "status.nominatedNodeName", "");
    assert_string_equal(where("late"), "");
    plane_close();
}

/* Room that was made for one goes to a more important one that comes before it is used. */
static void a_nomination_is_taken_away(void **state)
{
    open_with("scheduler");
    node("n", "2", "");
    plane_apply("{\"apiVersion\":\"scheduling.k8s.io/v1\",\"kind\":\"PriorityClass\",\"metadata\":{"
                "\"name\":\"mid\"},\"value\":500}");
    plane_apply("{\"apiVersion\":\"scheduling.k8s.io/v1\",\"kind\":\"PriorityClass\",\"metadata\":{"
                "\"name\":\"high\"},\"value\":1000}");
    pod("low", "2", "");
    PLANE_UNTIL(where("low")[0], 2000);
    pod("mid", "2", "\"priorityClassName\":\"mid\",");
    PLANE_UNTIL(plane_text(POD, "default", "mid", "status.nominatedNodeName")[0], 2000);
    pod("high", "2", "\"priorityClassName\":\"high\",");
    PLANE_UNTIL(plane_text(POD, "default", "high", "status.nominatedNodeName")[0], 2000);
    PLANE_UNTIL(!plane_text(POD, "default", "mid", "status.nominatedNodeName")[0], 2000);
    plane_delete(POD, "default", "low", "{\"gracePeriodSeconds\":0}");
    PLANE_UNTIL(where("high")[0], 20000);
    assert_string_equal(where("mid"), "");
    plane_close();
}

/* A pod that changes so that it fits is tried at once. */
static void a_toleration_is_added(void **state)
{
    open_with("scheduler");
    node("n", "2", "\"taints\":[{\"key\":\"k\",\"effect\":\"NoSchedule\"}]");
    pod("p", "1", "");
    PLANE_UNTIL(scheduled("p", "message")[0], 2000);
    plane_patch(
        POD, "default", "p", NULL,
        "{\"spec\":{\"tolerations\":[{\"key\":\"k\",\"operator\":\"Exists\"},{\"effect\":"
        "\"NoExecute\",\"key\":\"node.kubernetes.io/not-ready\",\"operator\":\"Exists\","
        "\"tolerationSeconds\":300},{\"effect\":\"NoExecute\",\"key\":"
        "\"node.kubernetes.io/unreachable\",\"operator\":\"Exists\",\"tolerationSeconds\":300}]}}");
    PLANE_UNTIL(where("p")[0], 2000);
    plane_close();
}

static void gates_and_other_schedulers(void **state)
{
    open_with("scheduler");
    node("n", "2", "");
    pod("gated", "1", "\"schedulingGates\":[{\"name\":\"example.com/wait\"}],");
    pod("other", "1", "\"schedulerName\":\"another\",");
    pod("ours", "1", "");
    PLANE_UNTIL(where("ours")[0], 2000);
    plane_advance(10000);
    assert_string_equal(where("gated"), "");
    assert_string_equal(where("other"), "");
    plane_patch(POD, "default", "gated", NULL, "{\"spec\":{\"schedulingGates\":null}}");
    PLANE_UNTIL(where("gated")[0], 2000);
    assert_string_equal(where("other"), "");
    plane_close();
}

/* Leadership changes at every moment of a binding; each pod gets its node, once. */
static void leaders_change_in_the_middle(void **state)
{
    open_with("scheduler");
    node("n1", "8", "");
    node("n2", "8", "");
    for (int i = 0; i < 16; i++) {
        char name[8];
        snprintf(name, sizeof name, "p%d", i);
        pod(name, "1", "");
        for (int k = 0; k < i; k++) {
            plane_step(1);
        }
        plane_follow();
        plane_lead();
    }
    for (int i = 0; i < 16; i++) {
        char name[8];
        snprintf(name, sizeof name, "p%d", i);
        PLANE_UNTIL(where(name)[0], 20000);
    }
    assert_int_equal(plane_count(POD, "default", "fieldSelector=spec.nodeName%3Dn1"), 8);
    assert_int_equal(plane_count(POD, "default", "fieldSelector=spec.nodeName%3Dn2"), 8);
    plane_restart();
    pod("last", "1", "");
    PLANE_UNTIL(scheduled("last", "message")[0], 5000);
    assert_non_null(strstr(scheduled("last", "message"), "2 Insufficient cpu"));
    plane_close();
}

/* A binding that somebody else was faster with is no harm. */
static void somebody_else_binds(void **state)
{
    open_with("scheduler");
    node("n1", "4", "");
    node("n2", "4", "\"unschedulable\":true");
    pod("p", "1", "\"schedulerName\":\"another\",");
    struct plane_answer a =
        plane_ask(KVP_VERB_BIND, POD, "binding", "default", "p",
                  "{\"apiVersion\":\"v1\",\"kind\":\"Binding\",\"metadata\":{\"name\":\"p\"},"
                  "\"target\":{\"kind\":\"Node\",\"name\":\"n2\"}}",
                  NULL, NULL);
    assert_int_equal(a.status, 201);
    pod("q", "4", "");
    PLANE_UNTIL(where("q")[0], 2000);
    assert_string_equal(where("q"), "n1");
    assert_string_equal(where("p"), "n2");
    plane_close();
}

/* Pods of one replica set are spread over hosts and zones though they do not say so. */
static void replicas_are_spread(void **state)
{
    open_with("scheduler");
    static const char *const names[] = {"a1", "a2", "b1", "b2"};
    plane_apply(
        "{\"apiVersion\":\"apps/v1\",\"kind\":\"ReplicaSet\",\"metadata\":{\"name\":\"web\"},"
        "\"spec\":{\"replicas\":0,\"selector\":{\"matchLabels\":{\"app\":\"web\"}},\"template\":{"
        "\"metadata\":{\"labels\":{\"app\":\"web\"}},\"spec\":{\"containers\":[{\"name\":\"c\","
        "\"image\":\"web\"}]}}}}");
    for (size_t i = 0; i < 4; i++) {
        char zone[160];
        /* a1 is much larger than all others: left to resources alone it would get everything. */
        node(names[i], i == 0 ? "640" : "8", "");
        snprintf(zone, sizeof zone,
                 "{\"metadata\":{\"labels\":{\"topology.kubernetes.io/zone\":\"%c\"}}}",
                 names[i][0]);
        plane_patch(SCHEMA_CORE_V1_NODE, NULL, names[i], NULL, zone);
    }
    plane_advance(100);
    const char *uid = plane_text(SCHEMA_APPS_V1_REPLICA_SET, "default", "web", "metadata.uid");
    for (int i = 0; i < 8; i++) {
        char name[16];
        snprintf(name, sizeof name, "web-%d", i);
        plane_applyf(
            "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s\",\"labels\":{"
            "\"app\":\"web\"},\"ownerReferences\":[{\"apiVersion\":\"apps/v1\",\"kind\":"
            "\"ReplicaSet\",\"name\":\"web\",\"uid\":\"%s\",\"controller\":true}]},\"spec\":{"
            "\"containers\":[{\"name\":\"c\",\"image\":\"web\",\"resources\":{\"requests\":{"
            "\"cpu\":\"100m\"}}}]}}",
            name, uid);
        PLANE_UNTIL(where(name)[0], 2000);
    }
    for (size_t i = 0; i < 4; i++) {
        char query[64];
        snprintf(query, sizeof query, "fieldSelector=spec.nodeName%%3D%s", names[i]);
        assert_int_equal(plane_count(POD, "default", query), 2);
    }
    plane_close();
}

/* More work than a turn: cycles over hundreds of nodes are interrupted, and all pods get nodes. */
static void hundreds_of_nodes(void **state)
{
    open_with("scheduler,percentage-of-nodes-to-score=100");
    for (int i = 0; i < 300; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%d", i);
        node(name, "1", "");
    }
    for (int i = 0; i < 40; i++) {
        char name[16];
        snprintf(name, sizeof name, "p%d", i);
        pod(name, "1", "");
    }
    for (int i = 0; i < 40; i++) {
        char name[16];
        snprintf(name, sizeof name, "p%d", i);
        PLANE_UNTIL(where(name)[0], 5000);
        char query[64];
        snprintf(query, sizeof query, "fieldSelector=spec.nodeName%%3D%s", where(name));
        assert_int_equal(plane_count(POD, "default", query), 1);
    }
    plane_close();
}

/* Takes the gate off a pod, and does not wait. */
static void ungate(void *data)
{
    struct client_request r = {.verb = KVP_VERB_PATCH,
                               .type = schema_type(POD),
                               .space = slice_str("default"),
                               .name = slice_str(data),
                               .patch = CLIENT_PATCH_MERGE,
                               .body = slice_str("{\"spec\":{\"schedulingGates\":null}}")};
    assert_int_equal(client_send(plane_client(), &r), 0);
}

/* Each allocation between a pod's being free to go and its having a node fails once, in the API
 * server or the scheduler; it gets its node all the same, a little later. */
static void memory_runs_out(void **state)
{
    open_with("scheduler");
    node("n1", "64", "");
    plane_patch(SCHEMA_CORE_V1_NODE, NULL, "n1", "status",
                "{\"status\":{\"allocatable\":{\"pods\":\"10000\"}}}");
    bool failed = true;
    uint64_t n = 0;
    while (failed) {
        char name[16];
        snprintf(name, sizeof name, "p%llu", (unsigned long long)++n);
        pod(name, "1m", "\"schedulingGates\":[{\"name\":\"example.com/wait\"}],");
        plane_inside_only(ungate, name);
        failed = plane_settle_failing(n);
        if (plane_text(POD, "default", name, "spec.schedulingGates")[0]) {
            plane_inside(ungate, name); /* it was the API server's own */
        }
        PLANE_UNTIL(where(name)[0], 60000);
        plane_delete(POD, "default", name, "{\"gracePeriodSeconds\":0}");
    }
    assert_true(n > 100);
    plane_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLANE_TEST(pods_get_nodes),
        PLANE_TEST(a_pod_too_big_waits_for_room),
        PLANE_TEST(nodes_that_come_later),
        PLANE_TEST(preemption),
        PLANE_TEST(a_nomination_is_taken_away),
        PLANE_TEST(a_toleration_is_added),
        PLANE_TEST(gates_and_other_schedulers),
        PLANE_TEST(leaders_change_in_the_middle),
        PLANE_TEST(somebody_else_binds),
        PLANE_TEST(replicas_are_spread),
        PLANE_TEST(hundreds_of_nodes),
        PLANE_TEST(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
