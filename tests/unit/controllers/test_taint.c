/* test_taint.c - taints, tolerations, and the order of pods that are collected. */
#include "tests/unit/controllers/fixture.h"

#include "plugins/controllers/pod_gc.h"
#include "plugins/controllers/taint.h"

static struct object node_with(struct fixture *f, const char *taints)
{
    return decoded_f(f, SCHEMA_CORE_V1_NODE,
                     "{'metadata':{'name':'n','resourceVersion':'7'},'spec':{'taints':[%s]}}",
                     taints);
}

static struct object pod_with(struct fixture *f, const char *tolerations)
{
    return decoded_f(f, SCHEMA_CORE_V1_POD,
                     "{'spec':{'containers':[{'name':'c'}],'tolerations':[%s]}}", tolerations);
}

static bool tolerates(struct fixture *f, const char *toleration)
{
    struct object n = node_with(f, "{'key':'k','value':'v','effect':'NoExecute'}");
    struct object p = pod_with(f, toleration);
    return toleration_tolerates(&object_get(&p, "spec.tolerations")->items[0],
                                taint_find(&n, "k", NULL));
}

static void what_tolerates_what(void **state)
{
    struct fixture *f = *state;
    assert_true(tolerates(f, "{'key':'k','value':'v'}"));
    assert_true(tolerates(f, "{'key':'k','operator':'Equal','value':'v','effect':'NoExecute'}"));
    assert_true(tolerates(f, "{'key':'k','operator':'Exists'}"));
    assert_true(tolerates(f, "{'operator':'Exists'}"));
    assert_false(tolerates(f, "{'key':'k','value':'w'}"));
    assert_false(tolerates(f, "{'key':'k'}"));
    assert_false(tolerates(f, "{'key':'l','operator':'Exists'}"));
    assert_false(tolerates(f, "{'operator':'Exists','effect':'NoSchedule'}"));
    assert_false(tolerates(f, "{'key':'k','operator':'Odd','value':'v'}"));
}

static void verdicts(void **state)
{
    struct fixture *f = *state;
    struct object calm = node_with(f, "{'key':'a','effect':'NoSchedule'}");
    struct object bad = node_with(f, "{'key':'a','effect':'NoExecute','timeAdded':"
                                     "'2026-01-01T00:00:00Z'},{'key':'b','effect':'NoExecute',"
                                     "'timeAdded':'2026-01-01T00:01:00Z'}");
    struct object none = pod_with(f, "");
    struct object half = pod_with(f, "{'key':'a','operator':'Exists'}");
    struct object both = pod_with(f, "{'key':'a','operator':'Exists','tolerationSeconds':300},"
                                     "{'key':'b','operator':'Exists','tolerationSeconds':60}");
    struct object ever = pod_with(f, "{'operator':'Exists'}");
    struct object now = pod_with(f, "{'operator':'Exists','tolerationSeconds':-5}");
    assert_false(taint_judge(&calm, &none).tainted);
    assert_false(taint_judge(&bad, &none).tolerated);
    assert_false(taint_judge(&bad, &half).tolerated);
    struct taint_verdict v = taint_judge(&bad, &both);
    assert_true(v.tainted && v.tolerated && !v.forever);
    assert_int_equal(v.seconds, 60);
    assert_int_equal(v.started_s, 1767225660);
    v = taint_judge(&bad, &ever);
    assert_true(v.tainted && v.tolerated && v.forever);
    v = taint_judge(&bad, &now);
    assert_true(v.tolerated && !v.forever);
    assert_int_equal(v.seconds, 0);
}

static const char *patch_of(struct fixture *f, const struct object *node, const char *add,
                            const char *remove)
{
    const struct taint_id a[] = {{add, "NoExecute"}, {NULL, NULL}};
    const struct taint_id r[] = {{remove, "NoExecute"}, {NULL, NULL}};
    bool changed;
    buf_clear(&f->out);
    assert_int_equal(taint_patch(node, a, r, 1767225600, &f->arena, &f->out, &changed), 0);
    return changed ? plain(&f->out) : "nothing";
}

static void patches_swap_taints(void **state)
{
    struct fixture *f = *state;
    struct object n = node_with(f, "{'key':'x','value':'1','effect':'NoSchedule'},"
                                   "{'key':'a','effect':'NoExecute'}");
    assert_string_equal(
        patch_of(f, &n, "b", "a"),
        "{'metadata':{'resourceVersion':'7'},'spec':{'taints':[{'key':'x','value':'1','effect':"
        "'NoSchedule'},{'key':'b','effect':'NoExecute','timeAdded':'2026-01-01T00:00:00Z'}]}}");
    assert_string_equal(patch_of(f, &n, NULL, "x"), "nothing"); /* another effect */
    assert_string_equal(patch_of(f, &n, "a", NULL), "nothing"); /* it is there */
    struct object one = node_with(f, "{'key':'a','effect':'NoExecute'}");
    assert_string_equal(patch_of(f, &one, NULL, "a"),
                        "{'metadata':{'resourceVersion':'7'},'spec':{'taints':null}}");
}

static void taints_follow_conditions(void **state)
{
    struct fixture *f = *state;
    struct taint_id add[TAINT_LIST_MAX];
    struct taint_id remove[TAINT_LIST_MAX];
    struct object n = decoded(
        f, SCHEMA_CORE_V1_NODE,
        "{'spec':{'unschedulable':true,'taints':[{'key':'node.kubernetes.io/not-ready','effect':"
        "'NoSchedule'},{'key':'node.kubernetes.io/disk-pressure','effect':'NoSchedule'},{'key':"
        "'mine','effect':'NoSchedule'}]},'status':{'conditions':[{'type':'Ready','status':"
        "'Unknown'},{'type':'DiskPressure','status':'True'},{'type':'PIDPressure','status':"
        "'Unknown'}]}}");
    taint_wanted(&n, add, remove);
    assert_string_equal(add[0].key, TAINT_UNREACHABLE);
    assert_string_equal(add[1].key, "node.kubernetes.io/unschedulable");
    assert_null(add[2].key);
    assert_string_equal(remove[0].key, TAINT_NOT_READY);
    assert_null(remove[1].key);
}

static void ended_pods_go_in_order(void **state)
{
    struct fixture *f = *state;
    struct object evicted =
        decoded(f, SCHEMA_CORE_V1_POD,
                "{'metadata':{'name':'e','creationTimestamp':'2026-01-02T00:00:00Z'},"
                "'status':{'phase':'Failed','reason':'Evicted'}}");
    struct object old = decoded(f, SCHEMA_CORE_V1_POD,
                                "{'metadata':{'name':'o','creationTimestamp':"
                                "'2026-01-01T00:00:00Z'},'status':{'phase':'Succeeded'}}");
    struct object new = decoded(f, SCHEMA_CORE_V1_POD,
                                "{'metadata':{'name':'n','creationTimestamp':"
                                "'2026-01-03T00:00:00Z'},'status':{'phase':'Failed'}}");
    assert_true(pod_gc_order(&evicted, &old) < 0);
    assert_true(pod_gc_order(&new, &evicted) > 0);
    assert_true(pod_gc_order(&old, &new) < 0);
    assert_int_equal(pod_gc_order(&old, &old), 0);
    assert_true(pod_gc_is_ended(&old) && pod_gc_is_ended(&new));
}

static void out_of_service(void **state)
{
    struct fixture *f = *state;
    struct object ending =
        decoded(f, SCHEMA_CORE_V1_POD, "{'metadata':{'deletionTimestamp':'2026-01-01T00:00:00Z'}}");
    struct object running = decoded(f, SCHEMA_CORE_V1_POD, "{}");
    struct object out = node_with(f, "{'key':'node.kubernetes.io/out-of-service','effect':"
                                     "'NoExecute'}");
    struct object ready =
        decoded(f, SCHEMA_CORE_V1_NODE,
                "{'spec':{'taints':[{'key':'node.kubernetes.io/out-of-service','effect':"
                "'NoExecute'}]},'status':{'conditions':[{'type':'Ready','status':'True'}]}}");
    assert_true(pod_gc_is_out_of_service(&ending, &out));
    assert_false(pod_gc_is_out_of_service(&running, &out));
    assert_false(pod_gc_is_out_of_service(&ending, &ready));
    assert_false(pod_gc_is_out_of_service(&ending, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_tolerates_what, setup, teardown),
        cmocka_unit_test_setup_teardown(verdicts, setup, teardown),
        cmocka_unit_test_setup_teardown(patches_swap_taints, setup, teardown),
        cmocka_unit_test_setup_teardown(taints_follow_conditions, setup, teardown),
        cmocka_unit_test_setup_teardown(ended_pods_go_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(out_of_service, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
