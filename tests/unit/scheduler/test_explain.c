/* test_explain.c - a cycle written down for people and for programs. */
#include "plugins/scheduler/explain.h"
#include "tests/unit/scheduler/sched_fixture.h"

static const char *text(struct sched_fixture *f, const struct sched_pod *p, bool json)
{
    struct sched_explanation e = {.cycle = &f->cycle,
                                  .pod = p,
                                  .node = p->on,
                                  .scheduler_name = "default-scheduler",
                                  .now_ms = 13400,
                                  .leading = true};
    buf_clear(&f->out);
    assert_true(json ? sched_explain_json(&e, &f->out) : sched_explain_text(&e, &f->out));
    buf_append_byte(&f->out, 0);
    return (const char *)f->out.data;
}

#define OURS ",'schedulerName':'default-scheduler'"

static void equal_nodes(void **state)
{
    struct sched_fixture *f = *state;
    struct sched_queue q;
    sched_node_of(f, "b", NULL, NULL, NULL);
    sched_node_of(f, "a-long-name", NULL, NULL, NULL);
    sched_node_of(f, "closed", NULL, "'unschedulable':true", NULL);
    struct sched_pod *p = sched_pod_of(f, "p", NULL, POD_ASKS("1", "2Gi", OURS ",'priority':7"));
    sched_queue_init(&q, 1000, 10000);
    assert_int_equal(sched_queue_add(&q, p, 1000), 0);
    sched_queue_pop(&q, 1000);
    sched_queue_failed(&q, p->waiting, 1u << SCHED_FIT, false, 1000);
    sched_cluster_nominate(&f->cluster, p, slice_str("b"));
    assert_int_equal(sched_explain(f, p), SCHED_CHOSEN);
    f->cycle.chosen = f->cluster.list[0]; /* whichever the dice took */
    assert_string_equal(
        text(f, p, false),
        "Pod:       default/p (priority 7)\n"
        "State:     waits (unschedulable), tried 1 times, since 12.4 s\n"
        "Nominated: b, where room is being made\n"
        "Decision:  b or another of 2\n"
        "Rule:      2 nodes have the highest score: one of them at random\n"
        "\n"
        "NODE         RANK  TOTAL  SCORES, OR WHAT REFUSED IT\n"
        "a-long-name   9.5    475  TaintToleration 100*3, NodeResourcesFit 75*1, "
        "NodeResourcesBalancedAllocation 100*1\n"
        "b             9.5    475  TaintToleration 100*3, NodeResourcesFit 75*1, "
        "NodeResourcesBalancedAllocation 100*1\n"
        "closed          -      -  NodeUnschedulable: node(s) were unschedulable\n");
    assert_string_equal(
        text(f, p, true),
        "{\"namespace\":\"default\",\"name\":\"p\",\"uid\":\"uid-p\",\"priority\":7,"
        "\"state\":\"unschedulable\",\"nominated\":\"b\",\"attempts\":1,"
        "\"decision\":\"random-among-equals\",\"chosen\":\"b\",\"equals\":2,\"nodeCount\":3,"
        "\"nodes\":[{\"name\":\"a-long-name\",\"fits\":true,\"rank\":9.5,\"total\":475,\"scores\":{"
        "\"TaintToleration\":{\"score\":100,\"weight\":3},"
        "\"NodeResourcesFit\":{\"score\":75,\"weight\":1},"
        "\"NodeResourcesBalancedAllocation\":{\"score\":100,\"weight\":1}}},"
        "{\"name\":\"b\",\"fits\":true,\"rank\":9.5,\"total\":475,\"scores\":{"
        "\"TaintToleration\":{\"score\":100,\"weight\":3},"
        "\"NodeResourcesFit\":{\"score\":75,\"weight\":1},"
        "\"NodeResourcesBalancedAllocation\":{\"score\":100,\"weight\":1}}},"
        "{\"name\":\"closed\",\"fits\":false,\"refusedBy\":\"NodeUnschedulable\","
        "\"reasons\":[\"node(s) were unschedulable\"]}]}\n");
    sched_queue_close(&q);
}

static void the_only_node(void **state)
{
    struct sched_fixture *f = *state;
    sched_node_of(f, "n", NULL, NULL, NULL);
    sched_node_of(f, "m", NULL, NULL, "'allocatable':{'cpu':'1','memory':'1Gi','pods':'0'}");
    struct sched_pod *p = sched_pod_of(f, "p", NULL, POD_ASKS("2", "2Gi", ",'nodeName':'n'"));
    sched_cluster_lift(&f->cluster, p);
    assert_int_equal(sched_explain(f, p), SCHED_CHOSEN);
    sched_cluster_drop(&f->cluster, p, sched_cluster_node(&f->cluster, slice_str("n")));
    const char *said = text(f, p, false);
    assert_non_null(strstr(said,
                           "State:     assigned to n\nDecision:  n\n"
                           "Rule:      the only node that fits\nNote:      as things are now"));
    assert_non_null(strstr(said, "m        -      -  NodeResourcesFit: Too many pods, "
                                 "Insufficient cpu, Insufficient memory\n"));
}

static void no_node(void **state)
{
    struct sched_fixture *f = *state;
    struct sched_pod *p = sched_pod_of(f, "p", NULL, POD_PLAIN(",'schedulerName':'other'"));
    assert_int_equal(sched_explain(f, p), SCHED_NO_NODES);
    assert_string_equal(text(f, p, false), "Pod:       default/p (priority 0)\n"
                                           "State:     left to the scheduler other\n"
                                           "Decision:  no node\n"
                                           "Reason:    no nodes available to schedule pods\n");
    sched_node_of(f, "n", NULL, NULL, NULL);
    sched_node_of(f, "m", NULL, NULL, NULL);
    p = sched_pod_of(f, "q", NULL,
                     POD_PLAIN(",'affinity':{'nodeAffinity':{"
                               "'requiredDuringSchedulingIgnoredDuringExecution':{"
                               "'nodeSelectorTerms':[{'matchFields':[{'key':'metadata.name',"
                               "'operator':'In','values':['gone']}]}]}}}"));
    assert_int_equal(sched_explain(f, p), SCHED_NO_NODE);
    assert_non_null(strstr(text(f, p, false),
                           "n        -      -  NodeAffinity: not among the nodes "
                           "it names\n"));
    p = sched_pod_of(f, "r", NULL,
                     POD_PLAIN(",'volumes':[{'name':'v','persistentVolumeClaim':{'claimName':"
                               "'data'}}]"));
    assert_int_equal(sched_explain(f, p), SCHED_REJECTED);
    assert_non_null(strstr(text(f, p, true), "\"decision\":\"none\",\"message\":\"0/2 nodes are "
                                             "available: persistentvolumeclaim \\\"data\\\" not "
                                             "found.\",\"nodeCount\":0,\"nodes\":[]}"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, sched_setup, sched_teardown)
    const struct CMUnitTest tests[] = {T(equal_nodes), T(the_only_node), T(no_node)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
