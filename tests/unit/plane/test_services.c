/* test_services.c - Endpoints and EndpointSlices list exactly the pods traffic may go to. */
#include "plugins/controllers/slice_plan.h"
#include "plugins/object/encode.h"
#include "tests/unit/plane/nodes.h"

#define APP "{\"app\":\"web\"}"

static void service_make(const char *more)
{
    plane_applyf("{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"s\","
                 "\"labels\":{\"team\":\"a\"}},\"spec\":{\"selector\":{\"app\":\"web\"},"
                 "\"ports\":[{\"name\":\"http\",\"port\":80,\"targetPort\":\"web\"}]%s}}",
                 more);
}

/* The addresses of a list in Endpoints "s", joined by blanks. */
static const char *addresses(const char *list)
{
    static char out[1024];
    char path[64];
    struct object *o = plane_get(SCHEMA_CORE_V1_ENDPOINTS, "default", "s");
    out[0] = 0;
    for (size_t i = 0; o != NULL && i < value_len(object_get(o, "subsets")); i++) {
        for (size_t j = 0;; j++) {
            snprintf(path, sizeof path, "subsets[%zu].%s[%zu].ip", i, list, j);
            struct slice ip = object_text(o, path);
            if (ip.len == 0) {
                break;
            }
            size_t at = strlen(out);
            snprintf(out + at, sizeof out - at, "%s%.*s", at > 0 ? " " : "", (int)ip.len,
                     (const char *)ip.data);
        }
    }
    return out;
}

static struct object *only_slice(void)
{
    size_t count;
    struct object **list =
        plane_list(SCHEMA_DISCOVERY_V1_ENDPOINT_SLICE, "default",
                   "labelSelector=endpointslice.kubernetes.io%2Fmanaged-by%3Dendpointslice-"
                   "controller.k8s.io",
                   &count);
    assert_int_equal(count, 1);
    return list[0];
}

static void endpoints_list_exactly_the_ready_pods(void **state)
{
    (void)state;
    plane_open("apiserver", "controllers", NULL);
    node_join("n1");
    service_make("");
    pod_run("a", "n1", -1, "10.0.0.1", APP);
    pod_run("b", "n1", -1, "10.0.0.2", APP);
    pod_run("c", "n1", -1, "10.0.0.3", "{\"app\":\"other\"}");
    PLANE_UNTIL(strcmp(addresses("addresses"), "10.0.0.1 10.0.0.2") == 0, 2000);
    plane_expect(SCHEMA_CORE_V1_ENDPOINTS, "default", "s", "subsets[0].ports[0].port", "8080");
    plane_expect(SCHEMA_CORE_V1_ENDPOINTS, "default", "s", "metadata.labels",
                 "{\"endpoints.kubernetes.io/managed-by\":\"endpoint-controller\",\"team\":\"a\"}");
    pod_ready("a", "False");
    PLANE_UNTIL(strcmp(addresses("notReadyAddresses"), "10.0.0.1") == 0, 2000);
    assert_string_equal(addresses("addresses"), "10.0.0.2");
    plane_delete(SCHEMA_CORE_V1_POD, "default", "b", NULL); /* ends slowly: nobody confirms */
    PLANE_UNTIL(addresses("addresses")[0] == 0, 2000);
    plane_patch(SCHEMA_CORE_V1_POD, "default", "c", NULL,
                "{\"metadata\":{\"labels\":{\"app\":\"web\"}}}");
    PLANE_UNTIL(strcmp(addresses("addresses"), "10.0.0.3") == 0, 2000);
    plane_patch(SCHEMA_CORE_V1_SERVICE, "default", "s", NULL,
                "{\"spec\":{\"publishNotReadyAddresses\":true}}");
    PLANE_UNTIL(strcmp(addresses("addresses"), "10.0.0.1 10.0.0.2 10.0.0.3") == 0, 2000);
    plane_delete(SCHEMA_CORE_V1_SERVICE, "default", "s", NULL);
    PLANE_UNTIL(plane_get(SCHEMA_CORE_V1_ENDPOINTS, "default", "s") == NULL, 2000);
    plane_close();
}

/* Who changed the Endpoints of a service by hand finds them put right; those of a service without
 * selector are his own. */
static void endpoints_are_put_right(void **state)
{
    (void)state;
    plane_open("apiserver", "controllers", NULL);
    node_join("n1");
    service_make("");
    pod_run("a", "n1", -1, "10.0.0.1", APP);
    PLANE_UNTIL(strcmp(addresses("addresses"), "10.0.0.1") == 0, 2000);
    plane_patch(SCHEMA_CORE_V1_ENDPOINTS, "default", "s", NULL, "{\"subsets\":null}");
    PLANE_UNTIL(strcmp(addresses("addresses"), "10.0.0.1") == 0, 2000);
    plane_delete(SCHEMA_CORE_V1_ENDPOINTS, "default", "s", NULL);
    PLANE_UNTIL(strcmp(addresses("addresses"), "10.0.0.1") == 0, 2000);
    plane_apply("{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"own\"},"
                "\"spec\":{\"ports\":[{\"port\":80}]}}");
    plane_apply("{\"apiVersion\":\"v1\",\"kind\":\"Endpoints\",\"metadata\":{\"name\":\"own\"},"
                "\"subsets\":[{\"addresses\":[{\"ip\":\"192.0.2.1\"}],\"ports\":[{\"port\":1}]}]}");
    plane_advance(10000);
    plane_expect(SCHEMA_CORE_V1_ENDPOINTS, "default", "own", "subsets[0].addresses[0].ip",
                 "192.0.2.1");
    plane_close();
}

static const char *slice_text(const char *path)
{
    return plane_text_of(only_slice(), path);
}

static void slices_list_pods_and_their_conditions(void **state)
{
    (void)state;
    plane_open("apiserver", "controllers", NULL);
    node_join("n1");
    plane_patch(SCHEMA_CORE_V1_NODE, NULL, "n1", NULL,
                "{\"metadata\":{\"labels\":{\"topology.kubernetes.io/zone\":\"z1\"}}}");
    service_make("");
    plane_advance(1500);
    assert_string_equal(slice_text("endpoints"), "");
    pod_run("a", "n1", -1, "10.0.0.1", APP);
    PLANE_UNTIL(strcmp(slice_text("endpoints[0].addresses[0]"), "10.0.0.1") == 0, 3000);
    struct object *o = only_slice();
    assert_string_equal(plane_text_of(o, "endpoints[0].conditions.ready"), "true");
    assert_string_equal(plane_text_of(o, "endpoints[0].conditions.terminating"), "false");
    assert_string_equal(plane_text_of(o, "endpoints[0].nodeName"), "n1");
    assert_string_equal(plane_text_of(o, "endpoints[0].zone"), "z1");
    assert_string_equal(plane_text_of(o, "endpoints[0].targetRef.name"), "a");
    assert_string_equal(plane_text_of(o, "ports[0].port"), "8080");
    assert_string_equal(plane_text_of(o, "metadata.labels[" SLICE_LABEL_SERVICE "]"), "s");
    assert_string_equal(plane_text_of(o, "metadata.labels[team]"), "a");
    assert_string_equal(plane_text_of(o, "metadata.ownerReferences[0].kind"), "Service");
    plane_delete(SCHEMA_CORE_V1_POD, "default", "a", NULL);
    PLANE_UNTIL(strcmp(slice_text("endpoints[0].conditions.terminating"), "true") == 0, 3000);
    assert_string_equal(slice_text("endpoints[0].conditions.serving"), "true");
    assert_string_equal(slice_text("endpoints[0].conditions.ready"), "false");
    plane_delete(SCHEMA_CORE_V1_POD, "default", "a", "{\"gracePeriodSeconds\":0}");
    PLANE_UNTIL(slice_text("endpoints")[0] == 0, 3000);
    plane_close();
}

/* Many pods, few slices; never a second one for the same pods, whoever leads. */
static void slices_are_filled_once(void **state)
{
    (void)state;
    plane_open("apiserver", "controllers,max-endpoints-per-slice=10", NULL);
    node_join("n1");
    service_make("");
    for (int i = 0; i < 25; i++) {
        char name[8];
        char ip[16];
        snprintf(name, sizeof name, "p%d", i);
        snprintf(ip, sizeof ip, "10.0.1.%d", i + 1);
        pod_run(name, "n1", -1, ip, APP);
        if (i % 5 == 0) {
            plane_follow();
            plane_lead();
        }
    }
    plane_advance(15000);
    size_t slices;
    size_t endpoints = 0;
    struct object **list = plane_list(SCHEMA_DISCOVERY_V1_ENDPOINT_SLICE, "default",
                                      "labelSelector=kubernetes.io%2Fservice-name%3Ds", &slices);
    for (size_t i = 0; i < slices; i++) {
        size_t len = value_len(object_get(list[i], "endpoints"));
        assert_in_range(len, 1, 10);
        endpoints += len;
    }
    assert_int_equal(endpoints, 25);
    assert_in_range(slices, 3, 5);
    plane_close();
}

/* Of the service's slices by this manager, the text at a path of the only one; "" = none is there.
 */
static const char *mirrored(const char *path)
{
    size_t count;
    struct object **list = plane_list(SCHEMA_DISCOVERY_V1_ENDPOINT_SLICE, "default",
                                      "labelSelector=endpointslice.kubernetes.io%2Fmanaged-by%3D"
                                      "endpointslicemirroring-controller.k8s.io",
                                      &count);
    assert_in_range(count, 0, 1);
    return count == 0 ? "" : plane_text_of(list[0], path);
}

/* Endpoints that a user writes appear as slices, and go with his service. */
static void endpoints_of_users_are_mirrored(void **state)
{
    (void)state;
    plane_open("apiserver", "controllers", NULL);
    plane_apply("{\"apiVersion\":\"v1\",\"kind\":\"Endpoints\",\"metadata\":{\"name\":\"own\"},"
                "\"subsets\":[{\"addresses\":[{\"ip\":\"192.0.2.1\"}],\"notReadyAddresses\":[{"
                "\"ip\":\"192.0.2.2\"}],\"ports\":[{\"name\":\"p\",\"port\":7}]}]}");
    plane_advance(5000);
    assert_string_equal(mirrored("addressType"), ""); /* no service */
    plane_apply("{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"own\"},"
                "\"spec\":{\"ports\":[{\"port\":80}]}}");
    PLANE_UNTIL(strcmp(mirrored("endpoints[0].addresses[0]"), "192.0.2.1") == 0, 3000);
    assert_string_equal(mirrored("endpoints[0].conditions.ready"), "true");
    assert_string_equal(mirrored("endpoints[1].addresses[0]"), "192.0.2.2");
    assert_string_equal(mirrored("endpoints[1].conditions.ready"), "false");
    assert_string_equal(mirrored("ports[0].port"), "7");
    assert_string_equal(mirrored("metadata.ownerReferences[0].kind"), "Endpoints");
    plane_patch(SCHEMA_CORE_V1_ENDPOINTS, "default", "own", NULL,
                "{\"subsets\":[{\"addresses\":[{\"ip\":\"192.0.2.3\"}],\"ports\":[{\"name\":\"p\","
                "\"port\":7}]}]}");
    PLANE_UNTIL(strcmp(mirrored("endpoints[0].addresses[0]"), "192.0.2.3") == 0, 3000);
    plane_patch(SCHEMA_CORE_V1_SERVICE, "default", "own", NULL,
                "{\"spec\":{\"selector\":{\"a\":\"b\"}}}");
    PLANE_UNTIL(mirrored("addressType")[0] == 0, 3000);
    plane_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLANE_TEST(endpoints_list_exactly_the_ready_pods), PLANE_TEST(endpoints_are_put_right),
        PLANE_TEST(slices_list_pods_and_their_conditions), PLANE_TEST(slices_are_filled_once),
        PLANE_TEST(endpoints_of_users_are_mirrored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
