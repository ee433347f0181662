/* test_controllers_memory.c - one allocation fails, of the controllers or of the API server: what
 * was to be done is done all the same, a little later. */
#include "plugins/controllers/taint.h"
#include "tests/unit/plane/nodes.h"

#define APP        "{\"app\":\"web\"}"
#define STEP       1u /* each allocation; of the longest story every third */
#define PATIENT_MS 60000

static void send_inside(void *data)
{
    const struct client_request *r = data;
    assert_int_equal(client_send(plane_client(), r), 0);
}

static void start_patch(enum schema_type_id type, const char *space, const char *name,
                        const char *sub, const char *json)
{
    struct client_request r = {.verb = KVP_VERB_PATCH,
                               .type = schema_type(type),
                               .sub = sub,
                               .space = slice_str(space),
                               .name = slice_str(name),
                               .body = slice_str(json)};
    plane_inside_only(send_inside, &r);
}

static const char *ip_of(const char *list)
{
    char path[64];
    snprintf(path, sizeof path, "subsets[0].%s[0].ip", list);
    return plane_text(SCHEMA_CORE_V1_ENDPOINTS, "default", "s", path);
}

static bool slice_is(const char *ready)
{
    size_t count;
    struct object **list = plane_list(SCHEMA_DISCOVERY_V1_ENDPOINT_SLICE, "default",
                                      "labelSelector=kubernetes.io%2Fservice-name%3Ds", &count);
    return count == 1 &&
           strcmp(plane_text_of(list[0], "endpoints[0].conditions.ready"), ready) == 0;
}

/* A pod turns ready and not ready. */
static void services_follow(void **state)
{
    (void)state;
    bool ready = true;
    bool hit = true;
    unsigned rounds = 0;
    plane_open("apiserver", "controllers", NULL);
    node_join("n1");
    plane_apply("{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"s\"},"
                "\"spec\":{\"selector\":{\"app\":\"web\"},\"ports\":[{\"port\":80}]}}");
    pod_run("a", "n1", -1, "10.0.0.1", APP);
    PLANE_UNTIL(strcmp(ip_of("addresses"), "10.0.0.1") == 0 && slice_is("true"), 5000);
    for (uint64_t n = 1; hit; n += STEP, rounds++) {
        ready = !ready;
        start_patch(SCHEMA_CORE_V1_POD, "default", "a", "status",
                    ready ? "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":"
                            "\"True\"}]}}"
                          : "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":"
                            "\"False\"}]}}");
        hit = plane_settle_failing(n);
        node_renew("n1");
        pod_ready("a", ready ? "True" : "False"); /* in case the request was what failed */
        PLANE_UNTIL(strcmp(ip_of(ready ? "addresses" : "notReadyAddresses"), "10.0.0.1") == 0,
                    PATIENT_MS);
        PLANE_UNTIL(slice_is(ready ? "true" : "false"), PATIENT_MS);
    }
    assert_true(rounds > 10);
    plane_close();
}

/* A node is cordoned and not, and its pods have to go. */
static void nodes_follow(void **state)
{
    (void)state;
    bool hit = true;
    unsigned rounds = 0;
    plane_open("apiserver", "controllers", NULL);
    node_join("n1");
    for (uint64_t n = 1; hit; n += STEP, rounds++) {
        static const char taint[] = "{\"spec\":{\"unschedulable\":true,\"taints\":[{\"key\":"
                                    "\"k\",\"effect\":\"NoExecute\"}]}}";
        pod_run("a", "n1", -1, "10.0.0.1", "{}");
        node_renew("n1");
        start_patch(SCHEMA_CORE_V1_NODE, "", "n1", NULL, taint);
        hit = plane_settle_failing(n);
        if (!taint_has(plane_get(SCHEMA_CORE_V1_NODE, NULL, "n1"), "k", "NoExecute")) {
            plane_patch(SCHEMA_CORE_V1_NODE, NULL, "n1", NULL, taint);
        }
        PLANE_UNTIL(taint_has(plane_get(SCHEMA_CORE_V1_NODE, NULL, "n1"),
                              "node.kubernetes.io/unschedulable", "NoSchedule"),
                    PATIENT_MS);
        PLANE_UNTIL(pod_is_ending("a"), PATIENT_MS);
        plane_delete(SCHEMA_CORE_V1_POD, "default", "a", "{\"gracePeriodSeconds\":0}");
        plane_patch(SCHEMA_CORE_V1_NODE, NULL, "n1", NULL,
                    "{\"spec\":{\"unschedulable\":null,\"taints\":null}}");
        plane_settle();
    }
    assert_true(rounds > 10);
    plane_close();
}

/* A namespace is emptied. */
static void namespaces_go(void **state)
{
    (void)state;
    bool hit = true;
    unsigned rounds = 0;
    plane_open("apiserver", "controllers", NULL);
    node_join("n1");
    for (uint64_t n = 1; hit; n += 3 * STEP, rounds++) {
        struct client_request r = {.verb = KVP_VERB_DELETE,
                                   .type = schema_type(SCHEMA_CORE_V1_POD),
                                   .space = slice_str("x"),
                                   .name = slice_str("p"),
                                   .body = slice_str("{\"kind\":\"DeleteOptions\",\"apiVersion\":"
                                                     "\"v1\",\"gracePeriodSeconds\":0}")};
        plane_apply("{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":"
                    "\"x\"}}");
        plane_apply("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c\","
                    "\"namespace\":\"x\"}}");
        /* The failure before may have ended the controllers' term. */
        PLANE_UNTIL(plane_get(SCHEMA_CORE_V1_SERVICE_ACCOUNT, "x", "default") != NULL, PATIENT_MS);
        plane_apply("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\","
                    "\"namespace\":\"x\"},\"spec\":{\"nodeName\":\"n1\",\"containers\":[{"
                    "\"name\":\"c\",\"image\":\"i\"}]}}");
        plane_delete(SCHEMA_CORE_V1_NAMESPACE, NULL, "x", NULL);
        plane_advance(6000);
        plane_inside_only(send_inside, &r);
        hit = plane_settle_failing(n);
        if (plane_get(SCHEMA_CORE_V1_POD, "x", "p") != NULL) {
            plane_delete(SCHEMA_CORE_V1_POD, "x", "p", "{\"gracePeriodSeconds\":0}");
        }
        PLANE_UNTIL(plane_get(SCHEMA_CORE_V1_NAMESPACE, NULL, "x") == NULL, PATIENT_MS);
    }
    assert_true(rounds > 10);
    plane_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLANE_TEST(services_follow),
        PLANE_TEST(nodes_follow),
        PLANE_TEST(namespaces_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
