/* test_defaults - what is filled in, from the schema and across fields; a second time changes
 * nothing. */
#include "plugins/object/defaults.h"

#include "tests/unit/apiserver/fixture.h"

static void check(struct fixture *f, enum schema_type_id type, const char *from, const char *to)
{
    struct object o = decoded(f, type, from);
    assert_int_equal(object_default(&o), 0);
    assert_string_equal(encoded(f, &o), to);
    assert_int_equal(object_default(&o), 0);
    assert_string_equal(encoded(f, &o), to);
}

static void a_pod_gets_its_defaults(void **state)
{
    check(
        *state, SCHEMA_CORE_V1_POD,
        "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":"
        "\"nginx\","
        "\"ports\":[{\"containerPort\":80}],\"resources\":{\"limits\":{\"cpu\":\"1\",\"memory\":"
        "\"1Gi\"},\"requests\":{\"cpu\":\"500m\"}},\"livenessProbe\":{\"httpGet\":{\"port\":80}}}],"
        "\"volumes\":[{\"name\":\"v\"},{\"name\":\"s\",\"secret\":{\"secretName\":\"x\"}}],"
        "\"serviceAccountName\":\"sa\"}}",
        "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"volumes\":[{\"name\":\"v\",\"emptyDir\":{}},{"
        "\"name\":\"s\",\"secret\":{\"secretName\":\"x\",\"defaultMode\":420}}],\"containers\":[{"
        "\"name\":\"c\",\"image\":\"nginx\",\"ports\":[{\"containerPort\":80,\"protocol\":\"TCP\"}]"
        ","
        "\"resources\":{\"limits\":{\"cpu\":\"1\",\"memory\":\"1Gi\"},\"requests\":{\"cpu\":"
        "\"500m\","
        "\"memory\":\"1Gi\"}},\"livenessProbe\":{\"httpGet\":{\"path\":\"/"
        "\",\"port\":80,\"scheme\":"
        "\"HTTP\"},\"timeoutSeconds\":1,\"periodSeconds\":10,\"successThreshold\":1,"
        "\"failureThreshold\":3},\"terminationMessagePath\":\"/dev/termination-log\","
        "\"terminationMessagePolicy\":\"File\",\"imagePullPolicy\":\"Always\"}],\"restartPolicy\":"
        "\"Always\",\"terminationGracePeriodSeconds\":30,\"dnsPolicy\":\"ClusterFirst\","
        "\"serviceAccountName\":\"sa\",\"serviceAccount\":\"sa\",\"securityContext\":{},"
        "\"schedulerName\":\"default-scheduler\",\"enableServiceLinks\":true},\"status\":{}}");
}

/* Explicit zeros of pointers stay; requests come from limits in pods only. */
static void what_is_set_stays(void **state)
{
    check(*state, SCHEMA_APPS_V1_DEPLOYMENT,
          "{\"spec\":{\"replicas\":0,\"revisionHistoryLimit\":0,\"selector\":{},\"template\":{"
          "\"spec\":"
          "{\"terminationGracePeriodSeconds\":0,\"enableServiceLinks\":false,\"restartPolicy\":"
          "\"Never\",\"containers\":[{\"name\":\"c\",\"image\":\"a:1\",\"resources\":{\"limits\":{"
          "\"cpu\":\"1\"}}}]}}}}",
          "{\"metadata\":{},\"spec\":{\"replicas\":0,\"selector\":{},\"template\":{\"metadata\":{},"
          "\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"a:1\",\"resources\":{\"limits\":{"
          "\"cpu\":\"1\"}},\"terminationMessagePath\":\"/dev/termination-log\","
          "\"terminationMessagePolicy\":\"File\",\"imagePullPolicy\":\"IfNotPresent\"}],"
          "\"restartPolicy\":\"Never\",\"terminationGracePeriodSeconds\":0,\"dnsPolicy\":"
          "\"ClusterFirst\",\"securityContext\":{},\"schedulerName\":\"default-scheduler\","
          "\"enableServiceLinks\":false}},\"strategy\":{\"type\":\"RollingUpdate\","
          "\"rollingUpdate\":{"
          "\"maxUnavailable\":\"25%\",\"maxSurge\":\"25%\"}},\"revisionHistoryLimit\":0,"
          "\"progressDeadlineSeconds\":600},\"status\":{}}");
    check(*state, SCHEMA_APPS_V1_DEPLOYMENT_STRATEGY, "{\"type\":\"Recreate\"}",
          "{\"type\":\"Recreate\"}");
}

static void services_get_their_defaults(void **state)
{
    check(
        *state, SCHEMA_CORE_V1_SERVICE_SPEC, "{\"ports\":[{\"port\":80}]}",
        "{\"ports\":[{\"protocol\":\"TCP\",\"port\":80,\"targetPort\":80}],\"type\":\"ClusterIP\","
        "\"sessionAffinity\":\"None\",\"internalTrafficPolicy\":\"Cluster\"}");
    check(*state, SCHEMA_CORE_V1_SERVICE_SPEC,
          "{\"type\":\"LoadBalancer\",\"sessionAffinity\":\"ClientIP\",\"ports\":[{\"port\":80,"
          "\"targetPort\":\"web\"}]}",
          "{\"ports\":[{\"protocol\":\"TCP\",\"port\":80,\"targetPort\":\"web\"}],\"type\":"
          "\"LoadBalancer\",\"sessionAffinity\":\"ClientIP\",\"externalTrafficPolicy\":\"Cluster\","
          "\"sessionAffinityConfig\":{\"clientIP\":{\"timeoutSeconds\":10800}},"
          "\"allocateLoadBalancerNodePorts\":true,\"internalTrafficPolicy\":\"Cluster\"}");
    check(*state, SCHEMA_CORE_V1_SERVICE_SPEC,
          "{\"type\":\"ExternalName\",\"externalName\":\"a.b\"}",
          "{\"type\":\"ExternalName\",\"sessionAffinity\":\"None\",\"externalName\":\"a.b\"}");
}

static void other_kinds_get_theirs(void **state)
{
    check(*state, SCHEMA_CORE_V1_NAMESPACE, "{\"metadata\":{\"name\":\"n\"}}",
          "{\"metadata\":{\"name\":\"n\",\"labels\":{\"kubernetes.io/"
          "metadata.name\":\"n\"}},\"spec\":{}"
          ",\"status\":{\"phase\":\"Active\"}}");
    check(*state, SCHEMA_CORE_V1_SECRET,
          "{\"data\":{\"b\":\"eA==\"},\"stringData\":{\"a\":\"hi\",\"b\":\"yo\"}}",
          "{\"metadata\":{},\"data\":{\"a\":\"aGk=\",\"b\":\"eW8=\"},\"type\":\"Opaque\"}");
    check(
        *state, SCHEMA_CORE_V1_NODE_STATUS, "{\"capacity\":{\"cpu\":\"4\"}}",
        "{\"capacity\":{\"cpu\":\"4\"},\"allocatable\":{\"cpu\":\"4\"},\"daemonEndpoints\":{"
        "\"kubeletEndpoint\":{\"Port\":0}},\"nodeInfo\":{\"machineID\":\"\",\"systemUUID\":\"\","
        "\"bootID\":\"\",\"kernelVersion\":\"\",\"osImage\":\"\",\"containerRuntimeVersion\":\"\","
        "\"kubeletVersion\":\"\",\"kubeProxyVersion\":\"\",\"operatingSystem\":\"\","
        "\"architecture\":\"\"}}");
    struct fixture *f = *state;
    struct object rc =
        decoded(f, SCHEMA_CORE_V1_REPLICATION_CONTROLLER,
                "{\"spec\":{\"template\":{\"metadata\":{\"labels\":{\"a\":\"b\"}}}}}");
    assert_int_equal(object_default(&rc), 0);
    assert_true(slice_eq(object_text(&rc, "spec.selector[a]"), slice_str("b")));
    assert_true(slice_eq(object_text(&rc, "metadata.labels[a]"), slice_str("b")));
    assert_int_equal(object_int(&rc, "spec.replicas", 0), 1);
    struct object pc = decoded(f, SCHEMA_SCHEDULING_V1_PRIORITY_CLASS, "{\"value\":1}");
    assert_int_equal(object_default(&pc), 0);
    assert_true(slice_eq(object_text(&pc, "preemptionPolicy"), slice_str("PreemptLowerPriority")));
    struct object es = decoded(f, SCHEMA_DISCOVERY_V1_ENDPOINT_SLICE, "{\"ports\":[{\"port\":1}]}");
    assert_int_equal(object_default(&es), 0);
    assert_non_null(object_get(&es, "ports[0].name"));
    assert_true(slice_eq(object_text(&es, "ports[0].protocol"), slice_str("TCP")));
}

static void images_without_a_fixed_tag_are_always_pulled(void **state)
{
    static const char *const cases[][2] = {
        {"nginx", "Always"},
        {"nginx:latest", "Always"},
        {"nginx:1.2", "IfNotPresent"},
        {"host:5000/nginx", "Always"},
        {"host:5000/nginx:1", "IfNotPresent"},
        {"nginx@sha256:0123", "IfNotPresent"},
        {"nginx:latest@sha256:0123", "Always"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct object o = decoded(f, SCHEMA_CORE_V1_CONTAINER, "{}");
        assert_int_equal(object_set_str(&o, "image", cases[i][0]), 0);
        assert_int_equal(object_default(&o), 0);
        assert_true(slice_eq(object_text(&o, "imagePullPolicy"), slice_str(cases[i][1])));
    }
}

/* The schema must announce each function, or the walk would not come by. */
static void functions_are_announced(void **state)
{
    (void)state;
    for (size_t i = 0; i < schema_type_count; i++) {
        if (default_function(schema_types + i) != NULL) {
            assert_true(schema_types[i].flags & SCHEMA_TYPE_DEFAULTED);
        }
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_pod_gets_its_defaults),
        T(what_is_set_stays),
        T(services_get_their_defaults),
        T(other_kinds_get_theirs),
        T(images_without_a_fixed_tag_are_always_pulled),
        T(functions_are_announced),
    };
    return cmocka_run_group_tests_name("apiserver/defaults", tests, NULL, NULL);
}
