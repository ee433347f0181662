/* test_subresources - binding, eviction, scale, and what a kubelet would answer. */
#include "base/alloc.h"
#include "tests/unit/apiserver/server.h"

#define SEEDS 8u
#define PODS  "/api/v1/namespaces/default/pods"
#define RSS   "/apis/apps/v1/namespaces/default/replicasets"

static void make_pod(const char *name, const char *more)
{
    char body[512];
    snprintf(body, sizeof body,
             "{\"metadata\":{\"name\":\"%s\"},\"spec\":{%s\"containers\":[{\"name\":\"c\","
             "\"image\":\"i\"}]}}",
             name, more);
    expect_answer("POST", PODS, body, 201, NULL);
}

#define BINDING(name) \
    "{\"metadata\":{\"name\":\"" name "\"},\"target\":{\"kind\":\"Node\",\"name\":\"n1\"}}"

static void bind_story(void)
{
    server_open_all();
    make_pod("p", "");
    make_pod("q", "");
    make_pod("gated", "\"schedulingGates\":[{\"name\":\"wait\"}],");
    struct asked a = ask("POST", PODS "/p/binding", BINDING("p"));
    expect_part(a, 201,
                "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":"
                "\"Success\",\"code\":201}");
    a = ask("GET", PODS "/p", "");
    expect_part(a, 200, "\"nodeName\":\"n1\"");
    expect_part(a, 200, "\"type\":\"PodScheduled\",\"status\":\"True\"");
    expect_part(a, 200, "\"generation\":1");
    /* Once. */
    a = ask("POST", PODS "/p/binding", BINDING("p"));
    expect_part(a, 409,
                "Operation cannot be fulfilled on pods/binding \\\"p\\\": pod p is already "
                "assigned to node \\\"n1\\\"");
    expect_part(a, 409,
                "\"reason\":\"Conflict\",\"details\":{\"name\":\"p\",\"kind\":\"pods/binding\"");
    expect_answer("POST", PODS "/gated/binding", BINDING("gated"), 409,
                  "pod gated has non-empty .spec.schedulingGates");
    expect_answer("POST", PODS "/r/binding", BINDING("r"), 404, "pods \\\"r\\\" not found");
    expect_answer("POST", PODS "/q/binding", BINDING("p"), 400,
                  "name in URL does not match name in Binding object");
    expect_answer("POST", PODS "/q/binding", "{\"metadata\":{\"name\":\"q\"},\"target\":{}}", 422,
                  "target.name: Required value");
    expect_answer("POST", PODS "/q/binding",
                  "{\"metadata\":{\"name\":\"q\"},\"target\":{\"kind\":\"Pod\",\"name\":\"n\"}}",
                  422, "target.kind: Unsupported value: \\\"Pod\\\"");
    expect_answer("POST", PODS "/q/binding",
                  "{\"metadata\":{\"name\":\"q\",\"uid\":\"u\"},\"target\":{\"name\":\"n\"}}", 409,
                  "Precondition failed: UID in precondition: u, UID in object meta: ");
    expect_answer("POST", PODS "/q/binding",
                  "{\"metadata\":{\"name\":\"q\",\"resourceVersion\":\"1\"},\"target\":{\"name\":"
                  "\"n\"}}",
                  409, "the object has been modified");
    expect_answer("POST", PODS "/q/binding", "{\"kind\":\"Pod\",\"apiVersion\":\"v1\"}", 400,
                  "cannot be handled as a Binding");
    expect_answer("GET", PODS "/q/binding", "", 405, NULL);
    /* Dry. */
    int64_t before = t_revision();
    expect_answer("POST", PODS "/q/binding?dryRun=All", BINDING("q"), 201, "Success");
    t_expect_int(t_revision(), before);
    /* The older way, with annotations. */
    expect_answer("POST", "/api/v1/namespaces/default/bindings",
                  "{\"kind\":\"Binding\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"q\","
                  "\"annotations\":{\"x\":\"1\"}},\"target\":{\"name\":\"n2\"}}",
                  201, "\"code\":201");
    a = ask("GET", PODS "/q", "");
    expect_part(a, 200, "\"nodeName\":\"n2\"");
    expect_part(a, 200, "\"annotations\":{\"x\":\"1\"}");
    expect_answer("POST", "/api/v1/namespaces/default/bindings", "{\"target\":{\"name\":\"n2\"}}",
                  400, "Name parameter required.");
    expect_answer("GET", "/api/v1/namespaces/default/bindings", "", 405, NULL);
    expect_answer(
        "GET", "/api/v1", "", 200,
        "{\"name\":\"bindings\",\"singularName\":\"binding\",\"namespaced\":true,\"kind\":"
        "\"Binding\",\"verbs\":[\"create\"]}");
    expect_answer("GET", "/api/v1", "", 200,
                  "{\"name\":\"pods/eviction\",\"singularName\":\"\",\"namespaced\":true,\"group\":"
                  "\"policy\",\"version\":\"v1\",\"kind\":\"Eviction\",\"verbs\":[\"create\"]}");
    /* Going pods get no node. */
    make_pod("going", "");
    a = ask_typed("PATCH", PODS "/going", "application/merge-patch+json",
                  "{\"metadata\":{\"finalizers\":[\"a/b\"]}}");
    expect_part(a, 200, NULL);
    expect_answer("DELETE", PODS "/going", "", 200, "deletionTimestamp");
    expect_answer("POST", PODS "/going/binding", BINDING("going"), 409,
                  "pod going is being deleted, cannot be assigned to a host");
    t_close();
}

static void a_pod_is_bound_once(void **state)
{
    t_for_each_seed(SEEDS, bind_story);
}

/* Two schedulers: one wins, the other hears who. */
static void bind_race_story(void)
{
    server_open_all();
    make_pod("p", "");
    struct t_http *x = begin_typed("POST", PODS "/p/binding", "application/json", BINDING("p"));
    struct t_http *y = begin_typed("POST", PODS "/p/binding", "application/json",
                                   "{\"metadata\":{\"name\":\"p\"},\"target\":{\"name\":\"n2\"}}");
    struct asked a = finish(x);
    struct asked b = finish(y);
    t_expect_int(a.status + b.status, 201 + 409);
    expect_answer("GET", PODS "/p", "", 200,
                  a.status == 201 ? "\"nodeName\":\"n1\"" : "\"nodeName\":\"n2\"");
    t_close();
}

static void schedulers_compete(void **state)
{
    t_for_each_seed(40, bind_race_story);
}

static void evict_story(void)
{
    server_open_all();
    make_pod("p", "\"nodeName\":\"n\",");
    make_pod("q", "");
    expect_answer("POST", PODS "/p/eviction", "{\"metadata\":{\"name\":\"q\"}}", 400,
                  "name in URL does not match name in Eviction object");
    expect_answer(
        "POST", PODS "/p/eviction",
        "{\"kind\":\"Eviction\",\"apiVersion\":\"policy/v1\",\"metadata\":{\"name\":\"p\"},"
        "\"deleteOptions\":{\"preconditions\":{\"uid\":\"u\"}}}",
        409, "the UID in the precondition (u) does not match");
    int64_t before = t_revision();
    expect_answer("POST", PODS "/p/eviction",
                  "{\"metadata\":{\"name\":\"p\"},\"deleteOptions\":{\"dryRun\":[\"All\"]}}", 201,
                  NULL);
    t_expect_int(t_revision(), before);
    expect_answer("POST", PODS "/p/eviction",
                  "{\"metadata\":{\"name\":\"p\"},\"deleteOptions\":{\"gracePeriodSeconds\":7}}",
                  201, "\"status\":\"Success\",\"code\":201");
    struct asked a = ask("GET", PODS "/p", "");
    expect_part(a, 200, "\"deletionGracePeriodSeconds\":7");
    expect_part(a, 200, "\"reason\":\"EvictionByEvictionAPI\"");
    expect_answer("POST", PODS "/q/eviction", "{\"metadata\":{\"name\":\"q\"}}", 201, NULL);
    expect_answer("GET", PODS "/q", "", 404, NULL);
    expect_answer("POST", PODS "/q/eviction", "{\"metadata\":{\"name\":\"q\"}}", 404,
                  "pods \\\"q\\\" not found");
    t_close();
}

static void eviction_deletes(void **state)
{
    t_for_each_seed(SEEDS, evict_story);
}

static void scale_story(void)
{
    char version[32];
    char body[512];
    server_open_all();
    expect_answer(
        "POST", RSS,
        "{\"metadata\":{\"name\":\"w\"},\"spec\":{\"replicas\":2,\"selector\":{"
        "\"matchLabels\":{\"b\":\"1\",\"a\":\"2\"}},\"template\":{\"metadata\":{\"labels\":"
        "{\"a\":\"2\",\"b\":\"1\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":"
        "\"i\"}]}}}}",
        201, NULL);
    struct asked a = ask("GET", RSS "/w/scale", "");
    expect_part(
        a, 200,
        "{\"kind\":\"Scale\",\"apiVersion\":\"autoscaling/v1\",\"metadata\":{\"name\":\"w\","
        "\"namespace\":\"default\",\"uid\":\"");
    expect_part(a, 200,
                "\"spec\":{\"replicas\":2},\"status\":{\"replicas\":0,\"selector\":\"a=2,b=1\"}}");
    pick(a.body, "\"resourceVersion\":\"", version, sizeof version);
    a = ask_typed("PATCH", RSS "/w/scale", "application/merge-patch+json",
                  "{\"spec\":{\"replicas\":5}}");
    expect_part(a, 200, "\"spec\":{\"replicas\":5}");
    a = ask("GET", RSS "/w", "");
    expect_part(a, 200, "\"replicas\":5");
    expect_part(a, 200, "\"generation\":2");
    expect_part(a, 200, "\"fieldsV1\":{\"f:spec\":{\"f:replicas\":{}}},\"subresource\":\"scale\"");
    snprintf(body, sizeof body,
             "{\"kind\":\"Scale\",\"apiVersion\":\"autoscaling/v1\",\"metadata\":{\"name\":\"w\","
             "\"resourceVersion\":\"%s\"},\"spec\":{\"replicas\":1}}",
             version);
    expect_answer(
        "PUT", RSS "/w/scale", body, 409,
        "Operation cannot be fulfilled on replicasets.apps \\\"w\\\": the object has been "
        "modified");
    expect_answer("PUT", RSS "/w/scale",
                  "{\"metadata\":{\"name\":\"w\"},\"spec\":{\"replicas\":1}}", 200,
                  "\"spec\":{\"replicas\":1}");
    expect_answer(
        "PUT", RSS "/w/scale", "{\"metadata\":{\"name\":\"w\"},\"spec\":{\"replicas\":-1}}", 422,
        "Scale.autoscaling \\\"w\\\" is invalid: spec.replicas: Invalid value: -1: must be "
        "greater than or equal to 0");
    expect_answer("PUT", RSS "/w/scale", "{\"metadata\":{\"name\":\"v\"},\"spec\":{}}", 400,
                  "does not match the name on the URL");
    expect_answer("PUT", RSS "/v/scale", "{\"metadata\":{\"name\":\"v\"},\"spec\":{}}", 404,
                  "replicasets.apps \\\"v\\\" not found");
    expect_answer("PUT", RSS "/w/scale", "{\"metadata\":{\"name\":\"w\"},\"spec\":{}}", 200,
                  "\"spec\":{},\"status\":{\"replicas\":0");
    expect_answer("DELETE", RSS "/w/scale", "", 405, NULL);
    expect_answer(
        "GET", "/apis/apps/v1", "", 200,
        "{\"name\":\"replicasets/scale\",\"singularName\":\"\",\"namespaced\":true,"
        "\"group\":\"autoscaling\",\"version\":\"v1\",\"kind\":\"Scale\",\"verbs\":[\"get\","
        "\"patch\",\"update\"]}");
    t_close();
}

static void workloads_are_scaled(void **state)
{
    t_for_each_seed(SEEDS, scale_story);
}

/* Allocation after allocation of the plugin's own fails: each request is answered or broken off. */
static void every_allocation_may_fail(void **state)
{
    static const char *const ways[][3] = {
        {"POST", PODS "/p/binding", BINDING("p")},
        {"POST", PODS "/p/eviction", "{\"metadata\":{\"name\":\"p\"},\"deleteOptions\":{}}"},
        {"GET", RSS "/w/scale", ""},
        {"PUT", RSS "/w/scale", "{\"metadata\":{\"name\":\"w\"},\"spec\":{\"replicas\":1}}"},
        {"GET", PODS "/p/log", ""},
        {"POST", PODS,
         "{\"metadata\":{\"name\":\"n\"},\"spec\":{\"containers\":[{\"name\":\"c\","
         "\"image\":\"i\"}]}}"},
        {"POST", "/api/v1/namespaces/default/services",
         "{\"metadata\":{\"name\":\"s\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":1}]}"
         "}"},
    };
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        bool failed = true;
        uint64_t n;
        for (n = 1; failed && n < 1000; n++) {
            server_open_all();
            make_pod("p", "");
            expect_answer("POST", RSS,
                          "{\"metadata\":{\"name\":\"w\"},\"spec\":{\"selector\":{\"matchLabels\":{"
                          "\"a\":\"2\"}},\"template\":{\"metadata\":{\"labels\":{\"a\":\"2\"}},"
                          "\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}",
                          201, NULL);
            struct t_http *x = begin_typed(ways[i][0], ways[i][1], "application/json", ways[i][2]);
            mem_fail_after(n);
            t_advance(3000);
            failed = mem_fail_left() == 0;
            mem_fail_after(0);
            t_expect(t_http_ended(x) != 0);
            expect_answer("GET", PODS "?limit=1", "", 200, NULL);
            t_close();
        }
        assert_false(failed);
        assert_true(n > 4); /* some did fail */
    }
}

static void kubelet_story(void)
{
    server_open_all();
    make_pod("p", "\"nodeName\":\"n\",\"initContainers\":[{\"name\":\"x\",\"image\":\"i\"}],");
    make_pod("q", "");
    expect_answer("POST", PODS,
                  "{\"metadata\":{\"name\":\"two\"},\"spec\":{\"nodeName\":\"n\",\"containers\":[{"
                  "\"name\":\"a\",\"image\":\"i\"},{\"name\":\"b\",\"image\":\"i\"}]}}",
                  201, NULL);
    expect_answer("GET", PODS "/r/log", "", 404, "pods \\\"r\\\" not found");
    struct asked a = ask("GET", PODS "/q/log", "");
    expect_part(a, 200, NULL);
    t_expect(a.body[0] == 0);
    expect_answer("GET", PODS "/two/log", "", 400,
                  "a container name must be specified for pod two, choose one of: [a b]");
    expect_answer("GET", PODS "/two/log?container=z", "", 400,
                  "container z is not valid for pod two");
    expect_answer("GET", PODS "/two/log?container=b&follow=true", "", 503,
                  "pods/log needs the kubelet of node \\\"n\\\"");
    expect_answer("GET", PODS "/p/log?container=x", "", 503, "ServiceUnavailable");
    expect_answer("POST", PODS "/p/exec?command=ls&container=c", "", 503, "pods/exec needs the");
    expect_answer("POST", PODS "/q/exec?command=ls", "", 400,
                  "pod q does not have a host assigned");
    expect_answer("GET", PODS "/p/attach", "", 503, "pods/attach");
    expect_answer("POST", PODS "/p/portforward", "", 503, "pods/portforward");
    expect_answer("GET", PODS "/http:p:80/proxy/some/where/", "", 503, "pods/proxy");
    expect_answer("PUT", PODS "/p:80/proxy/", "", 503, "pods/proxy");
    expect_answer("GET", "/api/v1/nodes/n/proxy/metrics", "", 404, "nodes \\\"n\\\" not found");
    expect_answer("DELETE", PODS "/p/log", "", 405, "delete is not supported");
    expect_answer("GET", PODS "/p/log/x", "", 404, NULL);
    t_close();
}

static void without_kubelets_it_is_said(void **state)
{
    t_for_each_seed(SEEDS, kubelet_story);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pod_is_bound_once),
        cmocka_unit_test(schedulers_compete),
        cmocka_unit_test(eviction_deletes),
        cmocka_unit_test(workloads_are_scaled),
        cmocka_unit_test(without_kubelets_it_is_said),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
