/* test_story.c - the whole control plane at its real times: a deployment behind a service, nodes
 * that die and come back, leaders that change. */
#include "plugins/controllers/conditions.h"
#include "tests/unit/plane/plane.h"

#define POD      SCHEMA_CORE_V1_POD
#define NODE     SCHEMA_CORE_V1_NODE
#define REPLICAS 6u

static void open_story(void)
{
    plane_open("apiserver", "controllers", "scheduler", "hollow-node", NULL);
    plane_apply("{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"web\"},"
                "\"spec\":{\"selector\":{\"app\":\"web\"},\"ports\":[{\"port\":80,"
                "\"targetPort\":8080}]}}");
    plane_applyf("{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":"
                 "\"web\"},\"spec\":{\"replicas\":%u,\"selector\":{\"matchLabels\":{\"app\":"
                 "\"web\"}},\"template\":{\"metadata\":{\"labels\":{\"app\":\"web\"}},\"spec\":{"
                 "\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"ports\":[{"
                 "\"containerPort\":8080}]}]}}}}",
                 REPLICAS);
}

static void node_switch(const char *name, bool on)
{
    plane_patch(NODE, NULL, name, NULL,
                on ? "{\"metadata\":{\"annotations\":{\"kvd.io/hollow\":null}}}"
                   : "{\"metadata\":{\"annotations\":{\"kvd.io/hollow\":\"stopped\"}}}");
}

static bool node_is(const char *name, const char *status)
{
    const struct object *o = plane_get(NODE, NULL, name);
    return o != NULL && conditions_is(conditions_find(o, "Ready"), status);
}

/* What the API server shows of the pods. */
struct seen {
    size_t active, ready, ending, on_node; /* on_node: active ones on the node asked for */
};

static struct seen look(const char *node)
{
    size_t count;
    struct seen s = {0};
    struct object **pods = plane_list(POD, "default", "labelSelector=app%3Dweb", &count);
    for (size_t i = 0; i < count; i++) {
        bool ready = conditions_is(conditions_find(pods[i], "Ready"), "True");
        if (object_is_deleted(pods[i])) {
            s.ending++;
            continue;
        }
        s.active++;
        s.ready += ready;
        s.on_node += slice_eq(object_text(pods[i], "spec.nodeName"), slice_str(node));
    }
    return s;
}

static bool endpoints_has(const struct object *o, struct slice ip)
{
    char path[64];
    for (size_t i = 0;; i++) {
        snprintf(path, sizeof path, "subsets[0].addresses[%zu].ip", i);
        struct slice have = object_text(o, path);
        if (have.len == 0 || slice_eq(have, ip)) {
            return have.len > 0;
        }
    }
}

/* The Endpoints list the ready pods that are not ending, and no others. */
static bool endpoints_are_exact(void)
{
    size_t count;
    size_t ready = 0;
    const struct object *o = plane_get(SCHEMA_CORE_V1_ENDPOINTS, "default", "web");
    struct object **pods = plane_list(POD, "default", "labelSelector=app%3Dweb", &count);
    for (size_t i = 0; o != NULL && i < count; i++) {
        bool wanted =
            !object_is_deleted(pods[i]) && conditions_is(conditions_find(pods[i], "Ready"), "True");
        ready += wanted;
        if (wanted && !endpoints_has(o, object_text(pods[i], "status.podIP"))) {
            return false;
        }
    }
    return o != NULL && value_len(object_get(o, "subsets[0].addresses")) == ready;
}

static void all_run(void)
{
    PLANE_UNTIL(look("").ready == REPLICAS && endpoints_are_exact(), 30000);
    assert_int_equal(look("").active, REPLICAS);
}

/* A node dies. 40 s later it is NotReady and its pods get no traffic; 5 minutes later they are
 * replaced, and stay Terminating until the node is back. */
static void pods_of_a_dead_node_are_replaced(void **state)
{
    (void)state;
    open_story();
    all_run();
    size_t lost = look("hollow-node-1").on_node;
    assert_in_range(lost, 1, REPLICAS - 1);
    node_switch("hollow-node-1", false);
    plane_advance(30000); /* at most 10 s of it are from before its last renewal */
    assert_true(node_is("hollow-node-1", "True"));
    PLANE_UNTIL(node_is("hollow-node-1", "Unknown"), 16000);
    PLANE_UNTIL(look("").ready == REPLICAS - lost && endpoints_are_exact(), 2000);
    plane_advance(290000);
    assert_int_equal(look("").ending, 0);
    assert_int_equal(look("").active, REPLICAS);
    PLANE_UNTIL(look("").ending == lost, 30000);
    PLANE_UNTIL(look("").ready == REPLICAS && endpoints_are_exact(), 30000);
    assert_int_equal(look("hollow-node-1").on_node, 0);
    plane_advance(600000);
    assert_int_equal(look("").ending, lost);
    assert_int_equal(look("").active, REPLICAS);
    node_switch("hollow-node-1", true);
    PLANE_UNTIL(node_is("hollow-node-1", "True"), 30000);
    PLANE_UNTIL(look("").ending == 0, 60000);
    assert_int_equal(look("").active, REPLICAS);
    assert_true(endpoints_are_exact());
    plane_close();
}

/* All nodes die: nothing is evicted, and when they are back the same pods run on. */
static void nothing_is_evicted_when_all_are_down(void **state)
{
    (void)state;
    static const char *const names[] = {"hollow-node-1", "hollow-node-2", "hollow-node-3"};
    open_story();
    all_run();
    for (size_t i = 0; i < 3; i++) {
        node_switch(names[i], false);
    }
    PLANE_UNTIL(look("").ready == 0 && endpoints_are_exact(), 60000);
    plane_advance(1800000);
    assert_int_equal(look("").active, REPLICAS);
    assert_int_equal(look("").ending, 0);
    for (size_t i = 0; i < 3; i++) {
        node_switch(names[i], true);
    }
    PLANE_UNTIL(look("").ready == REPLICAS && endpoints_are_exact(), 60000);
    plane_advance(600000);
    assert_int_equal(look("").active, REPLICAS);
    assert_int_equal(look("").ending, 0);
    plane_close();
}

/* The same death while leaders change every minute: no pod twice, none lost. */
static void leaders_change_meanwhile(void **state)
{
    (void)state;
    open_story();
    for (int i = 0; i < 5; i++) {
        plane_advance(500);
        plane_follow();
        plane_lead();
    }
    all_run();
    size_t lost = look("hollow-node-2").on_node;
    node_switch("hollow-node-2", false);
    for (int i = 0; i < 10; i++) {
        plane_advance(60000);
        plane_follow();
        plane_advance(2000);
        plane_lead();
        assert_int_equal(look("").active, REPLICAS);
    }
    PLANE_UNTIL(look("").ready == REPLICAS && endpoints_are_exact(), 60000);
    assert_int_equal(look("").ending, lost);
    plane_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLANE_TEST(pods_of_a_dead_node_are_replaced),
        PLANE_TEST(nothing_is_evicted_when_all_are_down),
        PLANE_TEST(leaders_change_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
