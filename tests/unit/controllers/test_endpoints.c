/* test_endpoints.c - which addresses a service has: subsets, ports by name, a thousand at most. */
#include "tests/unit/controllers/fixture.h"

#include "plugins/controllers/endpoints_subsets.h"
#include "plugins/controllers/service_pods.h"

#define PODS_MAX 1200

struct world {
    struct fixture *f;
    struct object pods[PODS_MAX];
    const struct object *list[PODS_MAX];
    size_t count;
    struct object out;
    bool truncated;
};

static struct world *world_new(void **state)
{
    struct fixture *f = *state;
    struct world *w = arena_zalloc(&f->arena, sizeof *w);
    assert_non_null(w);
    w->f = f;
    return w;
}

static void world_pod(struct world *w, const char *name, const char *ip, const char *ready,
                      const char *spec)
{
    struct object *o = &w->pods[w->count];
    *o = decoded_f(w->f, SCHEMA_CORE_V1_POD,
                   "{'metadata':{'name':'%s','namespace':'d','uid':'u-%s'},'spec':{%s'nodeName':"
                   "'n1'},'status':{'podIP':'%s','podIPs':[{'ip':'%s'}],'conditions':[{'type':"
                   "'Ready','status':'%s'}]}}",
                   name, name, spec, ip, ip, ready);
    w->list[w->count++] = o;
}

static struct object service(struct world *w, const char *spec)
{
    return decoded_f(w->f, SCHEMA_CORE_V1_SERVICE,
                     "{'metadata':{'name':'s','namespace':'d'},'spec':{'clusterIP':'10.0.0.1',%s}}",
                     spec);
}

/* The subsets as JSON, without the references to the pods. */
static const char *subsets(struct world *w, const struct object *svc)
{
    char path[64];
    assert_int_equal(object_new(&w->out, schema_type(SCHEMA_CORE_V1_ENDPOINTS), &w->f->arena), 0);
    assert_int_equal(endpoints_set_subsets(&w->out, svc, w->list, w->count, &w->truncated), 0);
    for (size_t i = 0; i < value_len(object_get(&w->out, "subsets")); i++) {
        static const char *const lists[] = {"addresses", "notReadyAddresses"};
        for (size_t l = 0; l < 2; l++) {
            snprintf(path, sizeof path, "subsets[%zu].%s", i, lists[l]);
            size_t len = value_len(object_get(&w->out, path));
            for (size_t j = 0; j < len; j++) {
                snprintf(path, sizeof path, "subsets[%zu].%s[%zu].targetRef", i, lists[l], j);
                assert_non_null(object_get(&w->out, path));
                object_remove(&w->out, path);
            }
        }
    }
    const struct schema_field *f = schema_find(w->out.type, slice_str("subsets"));
    buf_clear(&w->f->out);
    encode_field(f, object_get(&w->out, "subsets"), &w->f->out);
    return plain(&w->f->out);
}

#define PORT "'ports':[{'name':'http','port':80,'targetPort':8080,'protocol':'TCP'}]"

static void ready_and_not(void **state)
{
    struct world *w = world_new(state);
    struct object svc = service(w, PORT);
    world_pod(w, "b", "10.1.0.2", "True", "");
    world_pod(w, "a", "10.1.0.1", "False", "");
    world_pod(w, "c", "10.1.0.10", "True", "'hostname':'h','subdomain':'s',");
    assert_string_equal(
        subsets(w, &svc),
        "[{'addresses':[{'ip':'10.1.0.10','hostname':'h','nodeName':'n1'},{'ip':'10.1.0.2',"
        "'nodeName':'n1'}],'notReadyAddresses':[{'ip':'10.1.0.1','nodeName':'n1'}],'ports':[{"
        "'name':'http','port':8080,'protocol':'TCP'}]}]");
    assert_false(w->truncated);
    svc = service(w, "'publishNotReadyAddresses':true," PORT);
    assert_non_null(strstr(subsets(w, &svc), "'addresses':[{'ip':'10.1.0.1'"));
}

/* Pods that have ended, are ending or have no address do not count. */
static void some_pods_do_not_count(void **state)
{
    struct world *w = world_new(state);
    struct object svc = service(w, PORT);
    world_pod(w, "a", "10.1.0.1", "True", "");
    world_pod(w, "b", "10.1.0.2", "True", "");
    world_pod(w, "c", "", "True", "");
    world_pod(w, "d", "2001:db8::1", "True", ""); /* another family */
    assert_int_equal(object_set_str(&w->pods[0], "status.phase", "Succeeded"), 0);
    assert_int_equal(object_set_int(&w->pods[1], "metadata.deletionTimestamp", 1), 0);
    assert_string_equal(subsets(w, &svc), "null");
}

/* A port by name may be another number at each pod; pods that lack it are left out. */
static void ports_by_name(void **state)
{
    struct world *w = world_new(state);
    struct object svc = service(
        w, "'ports':[{'name':'http','port':80,'targetPort':'web','protocol':'TCP'},{'name':'adm',"
           "'port':81,'targetPort':81,'protocol':'TCP'}]");
    world_pod(w, "a", "10.1.0.1", "True",
              "'containers':[{'name':'c','ports':[{'name':'web','containerPort':8080}]}],");
    world_pod(w, "b", "10.1.0.2", "True",
              "'containers':[{'name':'c','ports':[{'name':'web','containerPort':8081}]}],");
    world_pod(w, "c", "10.1.0.3", "True",
              "'initContainers':[{'name':'i','ports':[{'name':'web','containerPort':9}]}],");
    world_pod(w, "d", "10.1.0.4", "True",
              "'initContainers':[{'name':'i','restartPolicy':'Always','ports':[{'name':'web',"
              "'containerPort':8080,'protocol':'TCP'}]}],");
    assert_string_equal(
        subsets(w, &svc),
        "[{'addresses':[{'ip':'10.1.0.1','nodeName':'n1'},{'ip':'10.1.0.2','nodeName':'n1'},{'ip':"
        "'10.1.0.3','nodeName':'n1'},{'ip':'10.1.0.4','nodeName':'n1'}],'ports':[{'name':'adm',"
        "'port':81,'protocol':'TCP'}]},{'addresses':[{'ip':'10.1.0.1','nodeName':'n1'},{'ip':"
        "'10.1.0.4','nodeName':'n1'}],'ports':[{'name':'http','port':8080,'protocol':'TCP'}]},{"
        "'addresses':[{'ip':'10.1.0.2','nodeName':'n1'}],'ports':[{'name':'http','port':8081,"
        "'protocol':'TCP'}]}]");
}

static void no_ports_only_when_headless(void **state)
{
    struct world *w = world_new(state);
    struct object plain_service = service(w, "'sessionAffinity':'None'");
    struct object headless =
        decoded(w->f, SCHEMA_CORE_V1_SERVICE,
                "{'metadata':{'name':'s','namespace':'d'},'spec':{'clusterIP':'None'}}");
    world_pod(w, "a", "10.1.0.1", "True", "");
    assert_string_equal(subsets(w, &plain_service), "null");
    assert_string_equal(subsets(w, &headless),
                        "[{'addresses':[{'ip':'10.1.0.1','nodeName':'n1'}]}]");
}

static size_t count_of(struct world *w, const char *path)
{
    return value_len(object_get(&w->out, path));
}

static void a_thousand_at_most(void **state)
{
    struct world *w = world_new(state);
    struct object svc = service(w, PORT);
    char name[16];
    char ip[24];
    for (int i = 0; i < 1100; i++) {
        snprintf(name, sizeof name, "p%d", i);
        snprintf(ip, sizeof ip, "10.%d.%d.1", i / 250, i % 250);
        world_pod(w, name, ip, i < 900 ? "True" : "False", "");
    }
    subsets(w, &svc);
    assert_true(w->truncated);
    assert_int_equal(count_of(w, "subsets[0].addresses"), 900);
    assert_int_equal(count_of(w, "subsets[0].notReadyAddresses"), 100);
    w->count = 0;
    for (int i = 0; i < 1100; i++) {
        snprintf(name, sizeof name, "p%d", i);
        snprintf(ip, sizeof ip, "10.%d.%d.1", i / 250, i % 250);
        world_pod(w, name, ip, i < 1050 ? "True" : "False", "");
    }
    subsets(w, &svc);
    assert_true(w->truncated);
    assert_int_equal(count_of(w, "subsets[0].addresses"), 1000);
    assert_int_equal(count_of(w, "subsets[0].notReadyAddresses"), 0);
    assert_int_equal(endpoints_set_metadata(&w->out, &svc, true, 1767225600), 0);
    assert_string_equal(
        text_at(w->f, &w->out, "metadata.annotations[endpoints.kubernetes.io/over-capacity]"),
        "truncated");
    assert_string_equal(
        text_at(w->f, &w->out,
                "metadata.annotations[endpoints.kubernetes.io/last-change-trigger-time]"),
        "2026-01-01T00:00:00Z");
    assert_int_equal(endpoints_set_metadata(&w->out, &svc, false, 0), 0);
    assert_int_equal(value_len(object_get(&w->out, "metadata.annotations")), 0);
}

static struct object ready_since(struct fixture *f, const char *at)
{
    return decoded_f(f, SCHEMA_CORE_V1_POD,
                     "{'status':{'conditions':[{'type':'Ready','status':'True',"
                     "'lastTransitionTime':'2026-01-01T00:00:%sZ'}]}}",
                     at);
}

#define T0 1767225600

static int64_t trigger(struct service_trigger *t, const struct object *svc,
                       const struct object *const *pods, size_t count)
{
    struct service_trigger_scan scan = {0};
    for (size_t i = 0; i < count; i++) {
        service_trigger_pod(t, &scan, pods[i]);
    }
    return service_trigger_time(t, &scan, svc);
}

static void trigger_times(void **state)
{
    struct fixture *f = *state;
    struct service_trigger t = {0};
    struct object svc = decoded(f, SCHEMA_CORE_V1_SERVICE,
                                "{'metadata':{'creationTimestamp':'2026-01-01T00:00:00Z'}}");
    struct object a = ready_since(f, "10");
    struct object b = ready_since(f, "20");
    struct object c = ready_since(f, "30");
    struct object d = ready_since(f, "30");
    const struct object *pods[] = {&a, &b, &c, &d};
    assert_int_equal(trigger(&t, &svc, pods, 1), T0); /* a new service: its own time */
    assert_int_equal(trigger(&t, &svc, pods, 1), 0);  /* nothing changed */
    assert_int_equal(trigger(&t, &svc, pods, 3), T0 + 20);
    assert_int_equal(trigger(&t, &svc, pods, 4), T0 + 30); /* in the same second */
    assert_int_equal(trigger(&t, &svc, pods, 4), 0);
    assert_int_equal(trigger(&t, &svc, pods, 1), 0); /* pods went */
}

static void selection(void **state)
{
    struct fixture *f = *state;
    struct object svc = decoded(f, SCHEMA_CORE_V1_SERVICE,
                                "{'metadata':{'namespace':'d'},'spec':{'selector':{'a':'1','b':"
                                "'2'}}}");
    struct object pod = decoded(f, SCHEMA_CORE_V1_POD,
                                "{'metadata':{'namespace':'d','labels':{'a':'1','b':'2','c':'3'}"
                                "}}");
    struct object elsewhere =
        decoded(f, SCHEMA_CORE_V1_POD, "{'metadata':{'namespace':'e','labels':{'a':'1','b':'2'}}}");
    struct object less =
        decoded(f, SCHEMA_CORE_V1_POD, "{'metadata':{'namespace':'d','labels':{'a':'1'}}}");
    struct object all = decoded(f, SCHEMA_CORE_V1_SERVICE, "{'metadata':{'namespace':'d'}}");
    assert_true(service_selects(&svc, &pod));
    assert_false(service_selects(&svc, &elsewhere));
    assert_false(service_selects(&svc, &less));
    assert_false(service_selects(&all, &pod));
    assert_true(service_is_selecting(&svc));
    assert_int_equal(object_set_str(&svc, "spec.type", "ExternalName"), 0);
    assert_false(service_is_selecting(&svc));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ready_and_not, setup, teardown),
        cmocka_unit_test_setup_teardown(some_pods_do_not_count, setup, teardown),
        cmocka_unit_test_setup_teardown(ports_by_name, setup, teardown),
        cmocka_unit_test_setup_teardown(no_ports_only_when_headless, setup, teardown),
        cmocka_unit_test_setup_teardown(a_thousand_at_most, setup, teardown),
        cmocka_unit_test_setup_teardown(trigger_times, setup, teardown),
        cmocka_unit_test_setup_teardown(selection, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
