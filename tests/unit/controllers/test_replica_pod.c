/* test_replica_pod.c - which pods count, and which one of two goes first. */
#include "tests/unit/controllers/fixture.h"

#include "plugins/controllers/replica_pod.h"

#define NOW_S 1700000000

static struct replica_fields fields;

static struct object pod(struct fixture *f, const char *json)
{
    return decoded(f, SCHEMA_CORE_V1_POD, json);
}

static struct replica_look look_at(struct fixture *f, const char *json)
{
    struct replica_look look;
    struct object o = pod(f, json);
    replica_look(&fields, &o, &look);
    assert_true(look.active == replica_pod_active(&o));
    return look;
}

static void active_and_ended(void **state)
{
    struct fixture *f = *state;
    struct object failed = pod(f, "{'status':{'phase':'Failed'}}");
    assert_true(replica_pod_ended(&failed));
    assert_true(look_at(f, "{'status':{'phase':'Running'}}").active);
    assert_true(look_at(f, "{}").active);
    assert_false(look_at(f, "{'status':{'phase':'Failed'}}").active);
    struct replica_look going = look_at(f, "{'metadata':{'deletionTimestamp':"
                                           "'2023-11-14T22:13:20Z'},'status':{'phase':'Running'}}");
    assert_true(going.deleted && going.terminating && !going.active);
    struct replica_look done = look_at(f, "{'metadata':{'deletionTimestamp':"
                                          "'2023-11-14T22:13:20Z'},"
                                          "'status':{'phase':'Succeeded'}}");
    assert_true(done.deleted && !done.terminating && !done.active);
}

static void labels_and_owners(void **state)
{
    struct fixture *f = *state;
    struct replica_look l =
        look_at(f, "{'metadata':{'labels':{'a':'b'},'ownerReferences':["
                   "{'apiVersion':'v1','kind':'X','name':'x','uid':'u1'},"
                   "{'apiVersion':'v1','kind':'X','name':'x','uid':'u2','controller':true}]}}");
    assert_true(slice_eq(l.owner_uid, slice_str("u2")));
    assert_true(value_is_text(value_map_cget(l.labels, "a"), "b"));
    l = look_at(f, "{'metadata':{'ownerReferences':["
                   "{'apiVersion':'v1','kind':'X','name':'x','uid':'u1','controller':false}]}}");
    assert_int_equal(l.owner_uid.len, 0);
    assert_null(l.labels);
}

static void ready_and_available(void **state)
{
    struct fixture *f = *state;
    /* Ready since NOW_S - 10. */
    struct replica_look ready =
        look_at(f, "{'status':{'conditions':[{'type':'Initialized','status':'True'},"
                   "{'type':'Ready','status':'True',"
                   "'lastTransitionTime':'2023-11-14T22:13:10Z'}]}}");
    struct replica_look timeless =
        look_at(f, "{'status':{'conditions':[{'type':'Ready','status':'True'}]}}");
    struct replica_look unready =
        look_at(f, "{'status':{'conditions':[{'type':'Ready','status':'False'}]}}");
    assert_true(ready.ready);
    assert_int_equal(ready.ready_s, NOW_S - 10);
    assert_true(timeless.ready);
    assert_true(timeless.ready_s == INSTANT_UNSET);
    assert_false(unready.ready);
    assert_int_equal(replica_available_in(&ready, 0, NOW_S), 0);
    assert_int_equal(replica_available_in(&ready, 10, NOW_S), 0);
    assert_int_equal(replica_available_in(&ready, 11, NOW_S), 1);
    assert_int_equal(replica_available_in(&timeless, 0, NOW_S), 0);
    assert_int_equal(replica_available_in(&timeless, 5, NOW_S), -1);
    assert_int_equal(replica_available_in(&unready, 0, NOW_S), -1);
}

#define READY_SINCE(t) \
    "'conditions':[{'type':'Ready','status':'True','lastTransitionTime':'" t "'}]"
#define RESTARTS(n) "'containerStatuses':[{'name':'c','restartCount':" n "}]"

/* Each pair: the first goes first, by this rule alone. */
static void order(void **state)
{
    struct fixture *f = *state;
    static const char *const pairs[][2] = {
        /* 1 unassigned */
        {"{'metadata':{'uid':'z'},'status':{'phase':'Running'}}",
         "{'metadata':{'uid':'a'},'spec':{'nodeName':'n'}}"},
        /* 2 phase */
        {"{'spec':{'nodeName':'n'},'status':{'phase':'Pending'}}",
         "{'spec':{'nodeName':'n'},'status':{'phase':'Unknown'}}"},
        {"{'spec':{'nodeName':'n'},'status':{'phase':'Unknown'}}",
         "{'spec':{'nodeName':'n'},'status':{'phase':'Running'}}"},
        /* 3 ready, against a lower cost */
        {"{'metadata':{'annotations':{'controller.kubernetes.io/pod-deletion-cost':'100'}},"
         "'status':{'phase':'Running'}}",
         "{'status':{'phase':'Running'," READY_SINCE("2023-11-14T22:13:10Z") "}}"},
        /* 4 cost */
        {"{'metadata':{'annotations':{'controller.kubernetes.io/pod-deletion-cost':'-5'}}}", "{}"},
        {"{}", "{'metadata':{'annotations':{'controller.kubernetes.io/pod-deletion-cost':'5'}}}"},
        /* 6 ready for less time */
        {"{'status':{" READY_SINCE("2023-11-14T22:13:10Z") "}}",
         "{'status':{" READY_SINCE("2023-11-14T21:13:10Z") "}}"},
        /* 6 about as long: the uid */
        {"{'metadata':{'uid':'a'},'status':{" READY_SINCE("2023-11-14T20:13:10Z") "}}",
         "{'metadata':{'uid':'b'},'status':{" READY_SINCE("2023-11-14T20:13:20Z") "}}"},
        /* 7 restarts, against creation */
        {"{'metadata':{'creationTimestamp':'2023-11-13T22:13:10Z'},"
         "'status':{" RESTARTS("3") "}}",
         "{'metadata':{'creationTimestamp':'2023-11-14T22:13:10Z'},"
         "'status':{" RESTARTS("2") "}}"},
        /* 7 restarts of what runs beside the others */
        {"{'spec':{'containers':[],'initContainers':[{'name':'i','restartPolicy':'Always'}]},"
         "'status':{'initContainerStatuses':[{'name':'i','restartCount':3}]}}",
         "{'spec':{'containers':[],'initContainers':[{'name':'i'}]},"
         "'status':{'initContainerStatuses':[{'name':'i','restartCount':9}]}}"},
        /* 8 newer creation */
        {"{'metadata':{'uid':'z','creationTimestamp':'2023-11-14T22:13:10Z'}}",
         "{'metadata':{'uid':'a','creationTimestamp':'2023-11-13T22:13:10Z'}}"},
        {"{'metadata':{'uid':'a','creationTimestamp':'2023-11-13T22:13:10Z'}}",
         "{'metadata':{'uid':'z','creationTimestamp':'2023-11-13T22:13:20Z'}}"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        struct object a = pod(f, pairs[i][0]);
        struct object b = pod(f, pairs[i][1]);
        struct rank_pod ra;
        struct rank_pod rb;
        rank_read(&ra, &fields, &a);
        rank_read(&rb, &fields, &b);
        if (rank_compare(&ra, &rb, NOW_S * 1000000ll) >= 0) {
            fail_msg("pair %zu", i);
        }
        assert_true(rank_compare(&rb, &ra, NOW_S * 1000000ll) > 0);
    }
}

static void order_of_crowds(void **state)
{
    struct fixture *f = *state;
    struct object o[3];
    struct rank_pod r[3];
    for (int i = 0; i < 3; i++) {
        o[i] = decoded_f(f, SCHEMA_CORE_V1_POD, "{'metadata':{'name':'%c'}}", 'a' + i);
        rank_read(&r[i], &fields, &o[i]);
        r[i].together = (uint32_t)i; /* 5: the fullest node first */
    }
    rank_sort(r, 3, NOW_S * 1000000ll);
    assert_ptr_equal(r[0].pod, &o[2]);
    assert_ptr_equal(r[2].pod, &o[0]);
}

static void odd_costs_count_as_none(void **state)
{
    struct fixture *f = *state;
    static const char *const texts[] = {"",           "+1", "01", "1.5", "99999999999",
                                        "2147483648", "x",  "-",  "-0"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct rank_pod r;
        struct object o = decoded_f(f, SCHEMA_CORE_V1_POD,
                                    "{'metadata':{'annotations':{"
                                    "'controller.kubernetes.io/pod-deletion-cost':'%s'}}}",
                                    texts[i]);
        rank_read(&r, &fields, &o);
        assert_int_equal(r.cost, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(active_and_ended, setup, teardown),
        cmocka_unit_test_setup_teardown(labels_and_owners, setup, teardown),
        cmocka_unit_test_setup_teardown(ready_and_available, setup, teardown),
        cmocka_unit_test_setup_teardown(order, setup, teardown),
        cmocka_unit_test_setup_teardown(order_of_crowds, setup, teardown),
        cmocka_unit_test_setup_teardown(odd_costs_count_as_none, setup, teardown),
    };
    replica_fields_init(&fields);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
