/* test_hollow.c - hollow nodes with a real API server, in virtual time. */
#include "tests/unit/plane/plane.h"

#define SPACE "kube-node-lease"
#define LEASE SCHEMA_COORDINATION_V1_LEASE
#define NODE  SCHEMA_CORE_V1_NODE
#define POD   SCHEMA_CORE_V1_POD
/* Nobody makes the accounts that pods would need. */
#define APISERVER "apiserver,disable-admission-plugins=ServiceAccount"

static bool ready(const char *pod)
{
    char path[64];
    for (int i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "status.conditions[%d].type", i);
        if (strcmp(plane_text(POD, "default", pod, path), "Ready") == 0) {
            snprintf(path, sizeof path, "status.conditions[%d].status", i);
            return strcmp(plane_text(POD, "default", pod, path), "True") == 0;
        }
    }
    return false;
}

static void make_pod(const char *name, const char *node, const char *more)
{
    plane_applyf("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s\"},\"spec\":{"
                 "\"nodeName\":\"%s\",%s\"containers\":[{\"name\":\"a\",\"image\":\"b\"}]}}",
                 name, node, more);
}

static const char *renewed(const char *node)
{
    return plane_text(LEASE, SPACE, node, "spec.renewTime");
}

static void nodes_register_and_renew(void **state)
{
    (void)state;
    plane_open(APISERVER, "hollow-node", NULL);
    PLANE_UNTIL(plane_count(NODE, NULL, NULL) == 3 && plane_count(LEASE, SPACE, NULL) == 3, 2000);
    plane_expect(NODE, NULL, "hollow-node-2", "status.conditions[3].reason", "KubeletReady");
    plane_expect(LEASE, SPACE, "hollow-node-2", "spec.holderIdentity", "hollow-node-2");
    plane_expect(LEASE, SPACE, "hollow-node-2", "spec.leaseDurationSeconds", "40");
    /* Every ten seconds, give or take a kubelet's chance: never later than 10.4 s. */
    for (int i = 0; i < 20; i++) {
        const char *before = renewed("hollow-node-2");
        PLANE_UNTIL(strcmp(renewed("hollow-node-2"), before) != 0, 10600);
    }
    /* The status every five minutes. */
    const char *beat =
        plane_text(NODE, NULL, "hollow-node-2", "status.conditions[3].lastHeartbeatTime");
    const char *since =
        plane_text(NODE, NULL, "hollow-node-2", "status.conditions[3].lastTransitionTime");
    PLANE_UNTIL(
        strcmp(plane_text(NODE, NULL, "hollow-node-2", "status.conditions[3].lastHeartbeatTime"),
               beat) != 0,
        340000);
    plane_expect(NODE, NULL, "hollow-node-2", "status.conditions[3].lastTransitionTime", since);
    plane_close();
}

static void pods_live_and_die(void **state)
{
    (void)state;
    plane_open(APISERVER, "hollow-node", NULL);
    PLANE_UNTIL(plane_count(NODE, NULL, NULL) == 3, 2000);
    make_pod("p", "hollow-node-1", "");
    plane_settle();
    plane_expect(POD, "default", "p", "status.phase", "Pending");
    plane_expect(POD, "default", "p", "status.containerStatuses[0].state.waiting.reason",
                 "ContainerCreating");
    PLANE_UNTIL(ready("p"), 1000);
    plane_expect(POD, "default", "p", "status.phase", "Running");
    plane_expect(POD, "default", "p", "status.podIP", "10.244.0.2");
    make_pod("done", "hollow-node-1",
             "\"restartPolicy\":\"Never\",\"initContainers\":[{\"name\":\"i\",\"image\":\"b\","
             "\"command\":[\"sleep\",\"30\"]}],");
    plane_advance(29000);
    plane_expect(POD, "default", "done", "status.phase", "Pending");
    PLANE_UNTIL(ready("done"), 3000);
    plane_delete(POD, "default", "p", NULL);
    plane_settle();
    assert_string_not_equal(plane_text(POD, "default", "p", "metadata.deletionTimestamp"), "");
    PLANE_UNTIL(plane_get(POD, "default", "p") == NULL, 1000);
    /* Its address is free again. */
    make_pod("q", "hollow-node-1", "");
    PLANE_UNTIL(ready("q"), 1000);
    plane_expect(POD, "default", "q", "status.podIP", "10.244.0.2");
    plane_close();
}

/* Another leader, or the same one after a restart: nothing that has been reached is lost or done
 * again. */
static void leaders_change(void **state)
{
    (void)state;
    plane_open(APISERVER, "hollow-node", NULL);
    PLANE_UNTIL(plane_count(NODE, NULL, NULL) == 3, 2000);
    make_pod("p", "hollow-node-1", "");
    make_pod("q", "hollow-node-1", "");
    PLANE_UNTIL(ready("p") && ready("q"), 1000);
    const char *version = plane_text(POD, "default", "p", "metadata.resourceVersion");
    const char *uid = plane_text(NODE, NULL, "hollow-node-1", "metadata.uid");
    plane_follow();
    /* Who does not lead does nothing. */
    const char *before = renewed("hollow-node-1");
    plane_advance(30000);
    assert_string_equal(renewed("hollow-node-1"), before);
    plane_lead();
    PLANE_UNTIL(strcmp(renewed("hollow-node-1"), before) != 0, 6000);
    make_pod("r", "hollow-node-1", "");
    PLANE_UNTIL(ready("r"), 1000);
    plane_expect(POD, "default", "r", "status.podIP", "10.244.0.4");
    plane_restart();
    make_pod("s", "hollow-node-1", "");
    PLANE_UNTIL(ready("s"), 2000);
    plane_expect(POD, "default", "s", "status.podIP", "10.244.0.5");
    plane_expect(POD, "default", "p", "metadata.resourceVersion", version);
    plane_expect(NODE, NULL, "hollow-node-1", "metadata.uid", uid);
    plane_close();
}

/* A new start meets pods that are due for an address before those that have one: that one is taken
 * all the same. */
static void an_address_is_one_pods(void **state)
{
    (void)state;
    plane_open(APISERVER, "hollow-node,nodes=1", NULL);
    PLANE_UNTIL(plane_count(NODE, NULL, NULL) == 1, 2000);
    make_pod("p", "hollow-node-1", "");
    make_pod("q", "hollow-node-1", "");
    PLANE_UNTIL(ready("p") && ready("q"), 1000);
    make_pod("a", "hollow-node-1", "");
    make_pod("b", "hollow-node-1", "");
    PLANE_UNTIL(plane_text(POD, "default", "a", "status.startTime")[0] != 0 &&
                    plane_text(POD, "default", "b", "status.startTime")[0] != 0,
                1000);
    plane_expect(POD, "default", "a", "status.podIP", "");
    plane_disable("hollow-node");
    plane_advance(5000); /* they are due when it comes back, before anything else */
    plane_enable("hollow-node");
    PLANE_UNTIL(ready("a") && ready("b"), 2000);
    const char *const names[] = {"a", "b", "p", "q"};
    for (size_t i = 0; i < 4; i++) {
        char one[16];
        snprintf(one, sizeof one, "%s", plane_text(POD, "default", names[i], "status.podIP"));
        for (size_t k = 0; k < i; k++) {
            assert_string_not_equal(one, plane_text(POD, "default", names[k], "status.podIP"));
        }
    }
    /* What was kept for them is given back when they go. */
    char first[16];
    snprintf(first, sizeof first, "%s", plane_text(POD, "default", "p", "status.podIP"));
    plane_delete(POD, "default", "p", NULL);
    PLANE_UNTIL(plane_get(POD, "default", "p") == NULL, 60000);
    make_pod("r", "hollow-node-1", "");
    PLANE_UNTIL(ready("r"), 2000);
    plane_expect(POD, "default", "r", "status.podIP", first);
    plane_close();
}

static void a_stopped_node_does_nothing(void **state)
{
    (void)state;
    plane_open(APISERVER, "hollow-node,stopped=hollow-node-2+hollow-node-3", NULL);
    PLANE_UNTIL(plane_count(NODE, NULL, NULL) == 1, 2000);
    make_pod("p", "hollow-node-1", "");
    PLANE_UNTIL(ready("p"), 1000);
    plane_patch(NODE, NULL, "hollow-node-1", NULL,
                "{\"metadata\":{\"annotations\":{\"kvd.io/hollow\":\"stopped\"}}}");
    plane_settle();
    const char *before = renewed("hollow-node-1");
    plane_delete(POD, "default", "p", NULL);
    make_pod("q", "hollow-node-1", "");
    plane_advance(600000);
    assert_string_equal(renewed("hollow-node-1"), before);
    assert_non_null(plane_get(POD, "default", "p"));
    plane_expect(POD, "default", "q", "status.phase", "Pending");
    plane_patch(NODE, NULL, "hollow-node-1", NULL,
                "{\"metadata\":{\"annotations\":{\"kvd.io/hollow\":null}}}");
    PLANE_UNTIL(plane_get(POD, "default", "p") == NULL && ready("q"), 2000);
    assert_string_not_equal(renewed("hollow-node-1"), before);
    plane_close();
}

/* A real node of the name a hollow one would have is not touched; pods of other nodes neither. */
static void what_is_not_hollow_is_left_alone(void **state)
{
    (void)state;
    /* Its name is taken while nobody leads. */
    plane_open(APISERVER, "hollow-node,nodes=2,stopped=hollow-node-1", NULL);
    plane_apply("{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":"
                "\"hollow-node-1\"}}");
    plane_apply("{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"real\"}}");
    make_pod("there", "real", "");
    make_pod("taken", "hollow-node-1", "");
    PLANE_UNTIL(plane_get(NODE, NULL, "hollow-node-2") != NULL, 2000);
    plane_advance(120000);
    plane_expect(POD, "default", "there", "status.startTime", "");
    plane_expect(POD, "default", "taken", "status.startTime", "");
    plane_expect(NODE, NULL, "hollow-node-1", "status.nodeInfo.kubeletVersion", "");
    plane_expect(LEASE, SPACE, "hollow-node-1", "spec.renewTime", "");
    plane_close();
}

/* A new leader finds a node of the name that is not ours. */
static void a_name_that_is_taken(void **state)
{
    (void)state;
    plane_open(APISERVER, "hollow-node,nodes=2", NULL);
    PLANE_UNTIL(plane_count(NODE, NULL, NULL) == 2, 2000);
    plane_delete(NODE, NULL, "hollow-node-1", NULL);
    plane_advance(30000);
    assert_null(plane_get(NODE, NULL, "hollow-node-1"));
    plane_apply("{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":"
                "\"hollow-node-1\"}}");
    const char *version = plane_text(NODE, NULL, "hollow-node-1", "metadata.resourceVersion");
    const char *before = renewed("hollow-node-1");
    plane_follow();
    plane_lead();
    make_pod("p", "hollow-node-1", "");
    plane_advance(200000);
    plane_expect(NODE, NULL, "hollow-node-1", "metadata.resourceVersion", version);
    plane_expect(POD, "default", "p", "status.startTime", "");
    assert_string_equal(renewed("hollow-node-1"), before);
    plane_close();
}

static size_t renewals_now(size_t nodes, char (*seen)[40])
{
    size_t changed = 0;
    for (size_t i = 0; i < nodes; i++) {
        char name[32];
        snprintf(name, sizeof name, "hollow-node-%zu", i + 1);
        const char *now = renewed(name);
        changed += strcmp(now, seen[i]) != 0;
        snprintf(seen[i], sizeof seen[i], "%s", now);
    }
    return changed;
}

/* The renewals of many nodes do not come in bursts, also not after a change of leaders. */
static void renewals_are_spread(void **state)
{
    (void)state;
    static char seen[60][40];
    plane_open(APISERVER, "hollow-node,nodes=60", NULL);
    PLANE_UNTIL(plane_count(LEASE, SPACE, NULL) == 60, 5000);
    plane_follow();
    plane_lead();
    plane_advance(20000);
    (void)renewals_now(60, seen);
    size_t most = 0;
    size_t all = 0;
    for (int second = 0; second < 10; second++) {
        plane_advance(1000);
        size_t n = renewals_now(60, seen);
        most = n > most ? n : most;
        all += n;
    }
    assert_true(all >= 50 && all <= 60);
    assert_true(most <= 20);
    plane_close();
}

static void send_pod(const char *name)
{
    char body[512];
    snprintf(body, sizeof body,
             "{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"nodeName\":\"hollow-node-1\","
             "\"containers\":[{\"name\":\"a\",\"image\":\"b\"}]}}",
             name);
    plane_send(POD, "default", body);
}

/* Each allocation of the plugins fails once on the way of a pod; all comes right in the end. */
static void out_of_memory(void **state)
{
    (void)state;
    plane_open(APISERVER, "hollow-node,start-delay=0s,stop-delay=0s", NULL);
    PLANE_UNTIL(plane_count(NODE, NULL, NULL) == 3, 2000);
    for (uint64_t n = 1;; n += 1 + n / 100) {
        char name[16];
        snprintf(name, sizeof name, "p%u", (unsigned)n);
        send_pod(name);
        bool hit = plane_settle_failing(n);
        if (plane_get(POD, "default", name) == NULL) {
            send_pod(name); /* it was the request that could not be dealt with */
        }
        PLANE_UNTIL(ready(name), 60000);
        plane_delete(POD, "default", name, NULL);
        PLANE_UNTIL(plane_get(POD, "default", name) == NULL, 60000);
        if (!hit) {
            break;
        }
    }
    plane_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLANE_TEST(nodes_register_and_renew),
        PLANE_TEST(pods_live_and_die),
        PLANE_TEST(leaders_change),
        PLANE_TEST(an_address_is_one_pods),
        PLANE_TEST(a_stopped_node_does_nothing),
        PLANE_TEST(what_is_not_hollow_is_left_alone),
        PLANE_TEST(a_name_that_is_taken),
        PLANE_TEST(renewals_are_spread),
        PLANE_TEST(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
