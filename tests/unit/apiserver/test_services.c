/* test_services - services get addresses and ports, each of which belongs to one service only. */
#include "plugins/apiserver/address.h"
#include "plugins/apiserver/pool.h"
#include "tests/unit/apiserver/server.h"

#define SEEDS    8u
#define SVCS     "/api/v1/namespaces/default/services"
#define PCS      "/apis/scheduling.k8s.io/v1/priorityclasses"
#define IPS      "/registry/kvd.io/serviceips/"
#define NOT_KEPT "an object of the system cannot be kept"
#define PORTS    "/registry/kvd.io/nodeports/"

static char body_[1024];

/* A service of one port; spec: more of it, with a comma at the end. */
static const char *svc(const char *name, const char *spec)
{
    snprintf(body_, sizeof body_,
             "{\"metadata\":{\"name\":\"%s\"},\"spec\":{%s\"ports\":[{\"port\":80}]}}", name, spec);
    return body_;
}

static void ranges_are_read(void **state)
{
    static const struct {
        const char *text, *first, *last;
        uint32_t count;
    } good[] = {
        {"10.96.0.0/12", "10.96.0.1", "10.111.255.254", (1u << 20) - 2},
        {"10.0.0.0/29", "10.0.0.1", "10.0.0.6", 6},
        {"fd00::/108", "fd00::1", "fd00::f:ffff", (1u << 20) - 1},
        {"fd00:0:0:0:0:0:0:1230/125", "fd00::1231", "fd00::1237", 7},
    };
    static const char *const bad[] = {"",           "10.96.0.0",   "10.96.0.0/",  "10.96.0.0/x",
                                      "10.0.0.0/8", "10.0.0.0/30", "10.0.0.1/24", "fd00::/64",
                                      "a/24",       "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/24x"};
    struct address_range r;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        char text[ADDRESS_TEXT_BYTES];
        uint32_t n;
        assert_null(address_range_parse(good[i].text, &r));
        assert_int_equal(r.count, good[i].count);
        address_print(&r, 0, text);
        assert_string_equal(text, good[i].first);
        assert_true(address_number(&r, slice_str(text), &n));
        assert_int_equal(n, 0);
        address_print(&r, r.count - 1, text);
        assert_string_equal(text, good[i].last);
        assert_true(address_number(&r, slice_str(text), &n));
        assert_int_equal(n, r.count - 1);
        address_print(&r, r.count, text);
        assert_false(address_number(&r, slice_str(text), &n));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_non_null(address_range_parse(bad[i], &r));
    }
    assert_null(address_range_parse("10.0.0.0/29", &r));
    uint32_t n;
    assert_false(address_number(&r, slice_str("10.0.0.0"), &n));
    assert_false(address_number(&r, slice_str("10.0.0.7"), &n));
    assert_false(address_number(&r, slice_str("::1"), &n));
    assert_false(address_number(&r, slice_str("x"), &n));
}

static void pools_empty_from_above(void **state)
{
    struct arena a;
    struct pool p = {.count = 10, .lower = 4};
    uint32_t n;
    arena_init(&a, 0);
    assert_true(pool_pick(&p, 5, &n)); /* a guess */
    assert_int_equal(n, 9);
    assert_int_equal(pool_learn(&p, &a), 0);
    pool_take(&p, 9);
    pool_take(&p, 100);
    for (unsigned i = 0; i < 9; i++) {
        assert_true(pool_pick(&p, i * 7919, &n));
        assert_true(i < 5 ? n >= 4 : n < 4);
    }
    assert_false(pool_pick(&p, 1, &n));
    arena_close(&a);
}

static void give_story(void)
{
    char ip[64];
    char path[128];
    server_open_all();
    struct asked a = ask("POST", SVCS, svc("a", ""));
    expect_part(a, 201, "\"clusterIP\":\"10.");
    expect_part(a, 201, "\"ipFamilies\":[\"IPv4\"],\"ipFamilyPolicy\":\"SingleStack\"");
    pick(a.body, "\"clusterIP\":\"", ip, sizeof ip);
    snprintf(path, sizeof path, "\"clusterIPs\":[\"%s\"]", ip);
    expect_part(a, 201, path);
    snprintf(path, sizeof path, IPS "%s", ip);
    t_expect_value(path, "default/a");
    /* A change keeps it, also when it is not mentioned. */
    a = ask("PUT", SVCS "/a", svc("a", "\"selector\":{\"x\":\"y\"},"));
    expect_part(a, 200, ip);
    t_expect_value(path, "default/a");
    a = ask("PUT", SVCS "/a", svc("a", "\"clusterIP\":\"10.96.0.9\","));
    expect_part(a, 422,
                "spec.clusterIPs[0]: Invalid value: [\\\"10.96.0.9\\\"]: may not change once set");
    /* Asked for. */
    snprintf(
        body_, sizeof body_,
        "{\"metadata\":{\"name\":\"b\"},\"spec\":{\"clusterIP\":\"%s\",\"ports\":[{\"port\":1}]"
        "}}",
        ip);
    a = ask("POST", SVCS, body_);
    expect_part(a, 422, "failed to allocate IP");
    expect_part(a, 422, "provided IP is already allocated");
    expect_answer("POST", SVCS, svc("b", "\"clusterIP\":\"10.96.0.10\","), 201,
                  "\"clusterIPs\":[\"10.96.0.10\"]");
    t_expect_value(IPS "10.96.0.10", "default/b");
    expect_answer(
        "POST", SVCS, svc("c", "\"clusterIP\":\"1.2.3.4\","), 422,
        "Service \\\"c\\\" is invalid: spec.clusterIPs: Invalid value: [\\\"1.2.3.4\\\"]: "
        "failed to allocate IP 1.2.3.4: the provided IP (1.2.3.4) is not in the valid "
        "range. The range of valid IPs is 10.96.0.0/12");
    expect_answer("POST", SVCS, svc("c", "\"clusterIP\":\"x\","), 422,
                  "spec.clusterIPs[0]: Invalid value: \\\"x\\\": must be a valid IP address");
    expect_answer("POST", SVCS, svc("c", "\"clusterIP\":\"10.96.0.11\",\"clusterIPs\":[\"None\"],"),
                  422, "first value must match `clusterIP`");
    expect_answer("POST", SVCS, svc("c", "\"clusterIPs\":[\"10.96.0.11\"],"), 422,
                  "must be empty when `clusterIP` is not specified");
    expect_answer("POST", SVCS, svc("c", "\"ipFamilyPolicy\":\"RequireDualStack\","), 422,
                  "spec.ipFamilyPolicy: Invalid value: \\\"RequireDualStack\\\": this cluster is "
                  "not configured for dual-stack services");
    expect_answer(
        "POST", SVCS, svc("c", "\"ipFamilies\":[\"IPv6\"],"), 422,
        "spec.ipFamilies[0]: Invalid value: \\\"IPv6\\\": not configured on this cluster");
    /* None. */
    expect_answer("POST", SVCS, svc("h", "\"clusterIP\":\"None\",\"selector\":{\"a\":\"b\"},"), 201,
                  "\"clusterIP\":\"None\",\"clusterIPs\":[\"None\"]");
    expect_answer("POST", SVCS, svc("f", "\"clusterIP\":\"None\","), 201,
                  "\"ipFamilies\":[\"IPv4\",\"IPv6\"],\"ipFamilyPolicy\":\"RequireDualStack\"");
    a = ask("POST", SVCS,
            "{\"metadata\":{\"name\":\"e\"},\"spec\":{\"type\":\"ExternalName\",\"externalName\":"
            "\"example.com\"}}");
    expect_part(a, 201, "\"externalName\":\"example.com\"");
    t_expect(strstr(a.body, "clusterIP") == NULL && strstr(a.body, "ipFamilies") == NULL);
    t_expect_int(t_count(IPS), 3);
    /* To an external name and back. */
    expect_answer("PUT", SVCS "/a", svc("a", "\"type\":\"ExternalName\",\"externalName\":\"x.y\","),
                  200, "ExternalName");
    t_expect_value(path, NULL);
    expect_answer("PUT", SVCS "/a", svc("a", "\"clusterIP\":\"10.96.0.10\","), 422,
                  "already allocated");
    expect_answer("PUT", SVCS "/a", svc("a", ""), 200, "\"clusterIP\":\"10.");
    t_expect_int(t_count(IPS), 3);
    /* Given back. */
    expect_answer("DELETE", SVCS "/b?dryRun=All", "", 200, NULL);
    t_expect_value(IPS "10.96.0.10", "default/b");
    expect_answer("DELETE", SVCS "/b", "", 200, "Success");
    t_expect_value(IPS "10.96.0.10", NULL);
    expect_answer("POST", SVCS "?dryRun=All", svc("d", ""), 201, "\"clusterIP\":\"10.");
    expect_answer("POST", SVCS, svc("b", "\"clusterIP\":\"10.96.0.10\","), 201, NULL);
    /* What is somebody else's by now, or nobody's, stays so. */
    t_put(IPS "10.96.0.10", "default/other");
    expect_answer("DELETE", SVCS "/b", "", 200, "Success");
    t_expect_value(IPS "10.96.0.10", "default/other");
    t_delete(IPS "10.96.0.10");
    expect_answer("POST", SVCS, svc("b", "\"clusterIP\":\"10.96.0.10\","), 201, NULL);
    t_put(IPS "10.96.0.10", "default/other");
    expect_answer("PUT", SVCS "/b", svc("b", "\"type\":\"ExternalName\",\"externalName\":\"x.y\","),
                  200, "ExternalName");
    t_expect_value(IPS "10.96.0.10", "default/other");
    t_delete(IPS "10.96.0.10");
    expect_answer("DELETE", SVCS "/b", "", 200, "Success");
    expect_answer("POST", SVCS, svc("b", "\"clusterIP\":\"10.96.0.10\","), 201, NULL);
    t_delete(IPS "10.96.0.10");
    expect_answer("DELETE", SVCS "?fieldSelector=metadata.name%3Db", "", 200, "10.96.0.10");
    expect_answer("POST", SVCS, svc("b", "\"clusterIP\":\"10.96.0.10\","), 201, NULL);
    /* Held until the last finalizer is gone. */
    a = ask_typed("PATCH", SVCS "/b", "application/merge-patch+json",
                  "{\"metadata\":{\"finalizers\":[\"a/b\"]}}");
    expect_part(a, 200, NULL);
    expect_answer("DELETE", SVCS "/b", "", 200, "deletionTimestamp");
    t_expect_value(IPS "10.96.0.10", "default/b");
    a = ask_typed("PATCH", SVCS "/b", "application/merge-patch+json",
                  "{\"metadata\":{\"finalizers\":null}}");
    expect_part(a, 200, NULL);
    t_expect_value(IPS "10.96.0.10", NULL);
    expect_answer("DELETE", SVCS, "", 200, "ServiceList");
    t_expect_int(t_count(IPS), 0);
    t_close();
}

static void services_get_addresses(void **state)
{
    t_for_each_seed(SEEDS, give_story);
}

static void port_story(void)
{
    char port[16];
    char part[64];
    server_open_all();
    struct asked a = ask("POST", SVCS, svc("a", "\"type\":\"NodePort\","));
    expect_part(a, 201, "\"nodePort\":3");
    snprintf(port, sizeof port, "%.5s", strstr(a.body, "\"nodePort\":") + 11);
    snprintf(part, sizeof part, "\"nodePort\":%s", port);
    t_expect_int(t_count(PORTS), 1);
    a = ask("PUT", SVCS "/a", svc("a", "\"type\":\"NodePort\",\"selector\":{\"x\":\"y\"},"));
    expect_part(a, 200, part);
    expect_answer("POST", SVCS,
                  "{\"metadata\":{\"name\":\"b\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{"
                  "\"port\":80,\"nodePort\":80}]}}",
                  422,
                  "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid "
                  "range. The range of valid ports is 30000-32767");
    snprintf(
        body_, sizeof body_,
        "{\"metadata\":{\"name\":\"b\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":80,"
        "\"nodePort\":%s}]}}",
        port);
    a = ask("POST", SVCS, body_);
    expect_part(a, 422, "provided port is already allocated");
    /* One port in two protocols. */
    a = ask(
        "POST", SVCS,
        "{\"metadata\":{\"name\":\"dns\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"name\":"
        "\"u\",\"port\":53,\"protocol\":\"UDP\"},{\"name\":\"t\",\"port\":53,\"nodePort\":30053}"
        "]}}");
    expect_part(a, 201, "\"protocol\":\"UDP\",\"port\":53,\"targetPort\":53,\"nodePort\":30053");
    t_expect_value(PORTS "30053", "default/dns");
    t_expect_int(t_count(PORTS), 2);
    expect_answer("PUT", SVCS "/dns",
                  "{\"metadata\":{\"name\":\"dns\"},\"spec\":{\"type\":\"NodePort\",\"selector\":{"
                  "\"a\":\"b\"},\"ports\":[{\"name\":\"t\",\"port\":53}]}}",
                  200, "\"nodePort\":30053");
    t_expect_value(PORTS "30053", "default/dns");
    expect_answer("DELETE", SVCS "/dns", "", 200, NULL);
    t_expect_int(t_count(PORTS), 1);
    /* Balanced, with a port for health checks. */
    a = ask("POST", SVCS,
            svc("l", "\"type\":\"LoadBalancer\",\"externalTrafficPolicy\":\"Local\","));
    expect_part(a, 201, "\"healthCheckNodePort\":3");
    expect_part(a, 201, "\"allocateLoadBalancerNodePorts\":true");
    t_expect_int(t_count(PORTS), 3);
    expect_answer("POST", SVCS,
                  svc("n", "\"type\":\"LoadBalancer\",\"allocateLoadBalancerNodePorts\":false,"),
                  201, NULL);
    t_expect_int(t_count(PORTS), 3);
    /* Back to an inner one: what it has no use for is given back. */
    expect_answer("PUT", SVCS "/l", svc("l", "\"type\":\"ClusterIP\","), 200, NULL);
    a = ask("GET", SVCS "/l", "");
    t_expect(strstr(a.body, "\"nodePort\"") == NULL && strstr(a.body, "healthCheck\"") == NULL);
    t_expect_int(t_count(PORTS), 1);
    /* As kubectl patches the type alone. */
    a = ask_typed("PATCH", SVCS "/a", "application/merge-patch+json",
                  "{\"spec\":{\"type\":\"ClusterIP\"}}");
    expect_part(a, 200, "\"type\":\"ClusterIP\"");
    t_expect(strstr(a.body, "\"nodePort\"") == NULL);
    t_expect(strstr(a.body, "externalTrafficPolicy\"") == NULL);
    t_expect_int(t_count(PORTS), 0);
    t_close();
}

static void services_get_ports(void **state)
{
    t_for_each_seed(SEEDS, port_story);
}

/* Six addresses, one of them of `kubernetes`, and three ports for more services than that, asked
 * for all at once. */
static void scarce_story(void)
{
    struct t_http *x[10];
    char name[16];
    size_t made = 0;
    server_open("insecure-allow-all=true,service-cluster-ip-range=10.0.0.0/29,"
                "service-node-port-range=31000-31002");
    for (size_t i = 0; i < 10; i++) {
        snprintf(name, sizeof name, "s%zu", i);
        x[i] = begin_typed("POST", SVCS, "application/json",
                           svc(name, i % 3 == 0 ? "\"type\":\"NodePort\"," : ""));
    }
    for (size_t i = 0; i < 10; i++) {
        struct asked a = finish(x[i]);
        made += a.status == 201;
        if (a.status != 201 && strstr(a.body, "range is full") == NULL &&
            strstr(a.body, "please try again") == NULL) {
            t_fail_test("%u: %s", a.status, a.body);
        }
    }
    t_expect_int(t_count("/registry/services/specs/default/"), made + 1);
    t_expect_int(t_count(IPS), made + 1);
    /* All that are left can be had, one after the other. */
    for (size_t i = 0; t_count(IPS) < 6 && i < 6; i++) {
        snprintf(name, sizeof name, "t%zu", i);
        expect_answer("POST", SVCS, svc(name, ""), 201, NULL);
    }
    expect_answer("POST", SVCS, svc("one-more", ""), 500,
                  "Internal error occurred: failed to allocate a serviceIP: range is full");
    expect_answer("DELETE", SVCS, "", 200, NULL);
    t_expect_int(t_count(IPS) + t_count(PORTS), 0);
    t_close();
}

static void the_last_one_is_found(void **state)
{
    t_for_each_seed(40, scarce_story);
}

/* Whatever fails: what is claimed is what the services have. */
static void chaos_story(void)
{
    struct t_http *x[12];
    char name[32];
    server_open("insecure-allow-all=true,service-cluster-ip-range=10.0.0.0/29,"
                "service-node-port-range=31000-31002");
    t_chaos(20);
    for (size_t i = 0; i < 12; i++) {
        snprintf(name, sizeof name, "s%zu", i % 4);
        char path[128];
        snprintf(path, sizeof path, SVCS "/%s", name);
        x[i] = i % 3 == 0   ? begin_typed("POST", SVCS, "application/json",
                                          svc(name, "\"type\":\"NodePort\","))
               : i % 3 == 1 ? begin_typed("PUT", path, "application/json", svc(name, ""))
                            : begin_typed("DELETE", path, "application/json", "");
        t_advance(t_random(6));
    }
    t_advance(10000);
    for (size_t i = 0; i < 12; i++) {
        t_expect(t_http_ended(x[i]) != 0);
    }
    t_chaos(0);
    expect_answer("DELETE", SVCS, "", 200, NULL);
    /* But for the service that the leader makes again. */
    t_expect_int(t_count(IPS) + t_count(PORTS), t_get(IPS "10.0.0.1") != NULL);
    t_close();
}

static void nothing_is_left_over(void **state)
{
    t_for_each_seed(60, chaos_story);
}

/* The leader makes the service `kubernetes` and says where it is reached, again when it is gone. */
static void kubernetes_story(void)
{
    server_open("insecure-allow-all=true,advertise=10.1.2.3:8443");
    struct asked a = ask("GET", SVCS "/kubernetes", "");
    expect_part(a, 200, "\"labels\":{\"component\":\"apiserver\",\"provider\":\"kubernetes\"}");
    expect_part(a, 200,
                "\"spec\":{\"ports\":[{\"name\":\"https\",\"protocol\":\"TCP\",\"port\":443,"
                "\"targetPort\":8443}],\"clusterIP\":\"10.96.0.1\",\"clusterIPs\":[\"10.96.0.1\"],"
                "\"type\":\"ClusterIP\",\"sessionAffinity\":\"None\",\"ipFamilies\":[\"IPv4\"],"
                "\"ipFamilyPolicy\":\"SingleStack\",\"internalTrafficPolicy\":\"Cluster\"}");
    t_expect_value(IPS "10.96.0.1", "default/kubernetes");
    expect_answer("GET", "/api/v1/namespaces/default/endpoints/kubernetes", "", 200,
                  "\"subsets\":[{\"addresses\":[{\"ip\":\"10.1.2.3\"}],\"ports\":[{\"name\":"
                  "\"https\",\"port\":8443,\"protocol\":\"TCP\"}]}]");
    const char *slice = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes";
    a = ask("GET", slice, "");
    expect_part(a, 200, "\"kubernetes.io/service-name\":\"kubernetes\"");
    expect_part(a, 200,
                "\"endpoints\":[{\"addresses\":[\"10.1.2.3\"],\"conditions\":{\"ready\":true}}],"
                "\"ports\":[{\"name\":\"https\",\"protocol\":\"TCP\",\"port\":8443}]");
    expect_answer("GET", PCS "/system-node-critical", "", 200, "\"value\":2000001000");
    /* Nothing to do: nothing is written. */
    int64_t before = t_revision();
    t_advance(120000);
    t_expect_int(t_revision(), before);
    /* Another member comes and goes. */
    t_put("/registry/kvd.io/apiservers/other", "10.1.2.1:8443");
    t_advance(1000);
    expect_answer("GET", slice, "", 200,
                  "\"endpoints\":[{\"addresses\":[\"10.1.2.1\"],\"conditions\":{\"ready\":true}},{"
                  "\"addresses\":[\"10.1.2.3\"]");
    t_put("/registry/kvd.io/apiservers/elsewhere", "10.1.2.9:7443");
    t_put("/registry/kvd.io/apiservers/nonsense", "x");
    t_delete("/registry/kvd.io/apiservers/other");
    t_advance(1000);
    expect_answer("GET", slice, "", 200, "\"endpoints\":[{\"addresses\":[\"10.1.2.3\"]");
    /* What is gone comes back. */
    expect_answer("DELETE", SVCS "/kubernetes", "", 200, NULL);
    expect_answer("DELETE", slice, "", 200, NULL);
    expect_answer("DELETE", PCS "/system-node-critical", "", 200, NULL);
    t_advance(61000);
    expect_answer("GET", SVCS "/kubernetes", "", 200, "10.96.0.1");
    expect_answer("GET", slice, "", 200, "10.1.2.3");
    expect_answer("GET", PCS "/system-node-critical", "", 200, NULL);
    /* Its address stays with who was quicker, and it waits for it. */
    expect_answer("DELETE", SVCS "/kubernetes", "", 200, NULL);
    expect_answer("POST", SVCS, svc("x", "\"clusterIP\":\"10.96.0.1\","), 201, NULL);
    t_advance(61000);
    expect_answer("GET", SVCS "/kubernetes", "", 404, NULL);
    t_expect_value(IPS "10.96.0.1", "default/x");
    t_advance(300000);
    t_expect_int(t_logged(NOT_KEPT), 1); /* once, not every minute */
    expect_answer("DELETE", SVCS "/x", "", 200, NULL);
    t_advance(61000);
    expect_answer("GET", SVCS "/kubernetes", "", 200, "10.96.0.1");
    t_expect_value(IPS "10.96.0.1", "default/kubernetes");
    /* What cannot be read does not hold up the other one, and is told once. */
    t_put("/registry/endpointslices/default/kubernetes", "nonsense");
    t_put("/registry/kvd.io/apiservers/other", "10.1.2.1:8443");
    t_advance(120000);
    expect_answer("GET", "/api/v1/namespaces/default/endpoints/kubernetes", "", 200, "10.1.2.1");
    t_expect_int(t_logged(NOT_KEPT), 2);
    t_delete("/registry/endpointslices/default/kubernetes");
    t_advance(11000);
    expect_answer("GET", slice, "", 200, "10.1.2.1");
    /* Nor is a full store told of all the time; a short hiccup is not at all. */
    t_fail("txn_commit", 1, KVP_UNAVAILABLE);
    t_advance(120000);
    t_expect_int(t_logged(NOT_KEPT), 2);
    expect_answer("DELETE", PCS "/system-node-critical", "", 200, NULL);
    for (int i = 0; i < 200; i++) {
        t_fail("txn_commit", 1, KVP_NO_SPACE);
        t_advance(1000);
    }
    t_expect_int(t_logged(NOT_KEPT), 4); /* one each */
    t_close();
}

#define TRUST "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"

/* Components that verify the same client certificates read the authority here. */
static void trust_story(void)
{
    char authority[2048];
    char now[2048];
    server_open_all();
    struct asked a = ask("GET", TRUST, "");
    expect_part(a, 200, "\"client-ca-file\":\"-----BEGIN CERTIFICATE-----\\n");
    pick(a.body, "\"client-ca-file\":\"", authority, sizeof authority);
    expect_answer("DELETE", TRUST, "", 200, NULL);
    t_advance(61000);
    a = ask("GET", TRUST, "");
    pick(a.body, "\"client-ca-file\":\"", now, sizeof now);
    t_expect_int(strcmp(now, authority), 0);
    /* A wrong one is put right; what others wrote beside it stays. */
    a = ask_typed("PATCH", TRUST, "application/merge-patch+json",
                  "{\"data\":{\"client-ca-file\":\"x\",\"requestheader-client-ca-file\":\"y\"}}");
    expect_part(a, 200, "\"client-ca-file\":\"x\"");
    t_advance(61000);
    a = ask("GET", TRUST, "");
    expect_part(a, 200, "\"requestheader-client-ca-file\":\"y\"");
    pick(a.body, "\"client-ca-file\":\"", now, sizeof now);
    t_expect_int(strcmp(now, authority), 0);
    int64_t before = t_revision();
    t_advance(120000);
    t_expect_int(t_revision(), before);
    t_close();
}

static void the_authority_of_clients_is_told(void **state)
{
    t_for_each_seed(SEEDS, trust_story);
}

static void the_server_says_where_it_is(void **state)
{
    t_for_each_seed(SEEDS, kubernetes_story);
}

static void bad_ranges_are_refused(void **state)
{
    t_on_failure(server_failed);
    t_open_refused(kvplugin_entry(), "service-cluster-ip-range=10.0.0.0/8", "it is too large");
    t_open_refused(kvplugin_entry(), "service-node-port-range=5", "the ports are not a range");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_are_read),
        cmocka_unit_test(pools_empty_from_above),
        cmocka_unit_test(services_get_addresses),
        cmocka_unit_test(services_get_ports),
        cmocka_unit_test(the_last_one_is_found),
        cmocka_unit_test(nothing_is_left_over),
        cmocka_unit_test(bad_ranges_are_refused),
        cmocka_unit_test(the_server_says_where_it_is),
        cmocka_unit_test(the_authority_of_clients_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
