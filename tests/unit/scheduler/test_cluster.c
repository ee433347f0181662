/* test_cluster.c - the books: what is counted where, assumptions, and news in any order. */
#include "tests/unit/scheduler/sched_fixture.h"

static struct sched_pod *pod(struct sched_fixture *f, const char *name)
{
    char key[32];
    snprintf(key, sizeof key, "default/%s", name);
    return sched_cluster_pod(&f->cluster, slice_str(key));
}

/* Pods are shown before their node, and outlive it. */
static void pods_before_and_after_their_node(void **state)
{
    struct sched_fixture *f = *state;
    sched_pod_of(f, "p", NULL, POD_ASKS("1", "1Gi", ",'nodeName':'n'"));
    assert_int_equal(sched_cluster_nodes(&f->cluster), 0);
    assert_int_equal(f->cluster.count, 0);
    struct sched_node *n = sched_node_of(f, "n", NULL, NULL, NULL);
    assert_int_equal(n->requested.cpu_m, 1000);
    assert_int_equal(n->pod_count, 1);
    sched_cluster_node_gone(&f->cluster, slice_str("n"));
    assert_int_equal(sched_cluster_nodes(&f->cluster), 0);
    assert_int_equal(f->cluster.count, 0);
    assert_ptr_equal(sched_node_of(f, "n", NULL, NULL, NULL), n);
    assert_int_equal(n->requested.cpu_m, 1000);
    sched_cluster_node_gone(&f->cluster, slice_str("n"));
    sched_cluster_pod_gone(&f->cluster, pod(f, "p"));
    assert_null(sched_cluster_node(&f->cluster, slice_str("n")));
}

static void assumed_then_confirmed(void **state)
{
    struct sched_fixture *f = *state;
    struct sched_node *n = sched_node_of(f, "n", NULL, NULL, NULL);
    struct sched_pod *p = sched_pod_of(f, "p", NULL, POD_ASKS("1", "1Gi", ""));
    assert_int_equal(sched_cluster_assume(&f->cluster, p, n), 0);
    assert_int_equal(n->requested.cpu_m, 1000);
    /* News of the pod that do not show the binding yet change nothing about it. */
    p = sched_pod_of(f, "p", NULL, POD_ASKS("1", "1Gi", ""));
    assert_true(p->assumed);
    assert_ptr_equal(p->on, n);
    assert_int_equal(n->pod_count, 1);
    p = sched_pod_of(f, "p", NULL, POD_ASKS("1", "1Gi", ",'nodeName':'n'"));
    assert_false(p->assumed);
    assert_true(list_empty(&f->cluster.assumed));
    assert_int_equal(n->pod_count, 1);
    assert_int_equal(n->requested.cpu_m, 1000);
    /* It was bound elsewhere: the news are right. */
    struct sched_node *m = sched_node_of(f, "m", NULL, NULL, NULL);
    struct sched_pod *q = sched_pod_of(f, "q", NULL, POD_ASKS("1", "1Gi", ""));
    assert_int_equal(sched_cluster_assume(&f->cluster, q, n), 0);
    q = sched_pod_of(f, "q", NULL, POD_ASKS("1", "1Gi", ",'nodeName':'m'"));
    assert_int_equal(n->requested.cpu_m, 1000);
    assert_int_equal(m->requested.cpu_m, 1000);
}

/* Only what the informer has passed without showing it, and only after 30 s. */
static void assumptions_expire(void **state)
{
    struct sched_fixture *f = *state;
    struct sched_node *n = sched_node_of(f, "n", NULL, NULL, NULL);
    struct sched_pod *p = sched_pod_of(f, "p", NULL, POD_ASKS("1", "1Gi", ""));
    assert_int_equal(sched_cluster_assume(&f->cluster, p, n), 0);
    assert_int_equal(sched_cluster_expire(&f->cluster, 1000000, 1000), 0); /* not answered */
    sched_cluster_bound(p, 77, 5000);
    assert_int_equal(sched_cluster_expire(&f->cluster, 34999, 1000), 0);
    assert_int_equal(sched_cluster_expire(&f->cluster, 35000, 76), 0);
    assert_int_equal(n->pod_count, 1);
    assert_int_equal(sched_cluster_expire(&f->cluster, 35000, 77), 1);
    assert_int_equal(n->pod_count, 0);
    assert_int_equal(n->requested.cpu_m, 0);
    assert_null(p->on);
}

static void ended_pods_take_nothing(void **state)
{
    struct sched_fixture *f = *state;
    struct sched_node *n = sched_node_of(f, "n", NULL, NULL, NULL);
    sched_pod_of(f, "p", NULL, POD_ASKS("1", "1Gi", ",'nodeName':'n'"));
    struct object o = sched_pod_object(f, "p", NULL, POD_ASKS("1", "1Gi", ",'nodeName':'n'"));
    assert_int_equal(object_set_str(&o, "status.phase", "Succeeded"), 0);
    assert_int_equal(sched_cluster_pod_set(&f->cluster, sched_pod_make(&o)), 0);
    assert_int_equal(n->pod_count, 0);
    assert_int_equal(n->requested.cpu_m, 0);
    assert_int_equal(n->score_cpu_m, 0);
}

/* A nomination that only we know of outlives news of the pod; what the object says wins. */
static void nominations_survive_news(void **state)
{
    struct sched_fixture *f = *state;
    struct sched_node *n = sched_node_of(f, "n", NULL, NULL, NULL);
    struct sched_node *m = sched_node_of(f, "m", NULL, NULL, NULL);
    struct sched_pod *p = sched_pod_of(f, "p", NULL, POD_PLAIN(""));
    sched_cluster_nominate(&f->cluster, p, slice_str("n"));
    p = sched_pod_of(f, "p", NULL, POD_PLAIN(""));
    assert_ptr_equal(p->nominee, n);
    struct object o = sched_pod_object(f, "p", NULL, POD_PLAIN(""));
    assert_int_equal(object_set_str(&o, "status.nominatedNodeName", "m"), 0);
    assert_int_equal(sched_cluster_pod_set(&f->cluster, sched_pod_make(&o)), 0);
    assert_ptr_equal(pod(f, "p")->nominee, m);
    assert_true(list_empty(&n->nominated));
    sched_pod_of(f, "p", NULL, POD_PLAIN("")); /* the nomination was taken away */
    assert_null(pod(f, "p")->nominee);
    assert_int_equal(f->cluster.nominations, 0);
}

/* News that cannot be noted leave the books as they were. */
static void no_memory(void **state)
{
    struct sched_fixture *f = *state;
    struct sched_node *n = sched_node_of(f, "n", NULL, NULL, NULL);
    struct object o = sched_pod_object(
        f, "p", "'a':'b'",
        "'nodeName':'n','nodeSelector':{'x':'y'},'containers':[{'name':'c','image':'web',"
        "'resources':{'requests':{'cpu':'1','example.com/gpu':'1'}}}]");
    int rc = ERR_NOMEM;
    for (uint64_t i = 1; rc != 0; i++) {
        mem_fail_after(i);
        struct sched_pod *p = sched_pod_make(&o);
        rc = p == NULL ? ERR_NOMEM : sched_cluster_pod_set(&f->cluster, p);
        mem_fail_after(0);
        if (rc != 0) {
            sched_pod_free(p);
            assert_int_equal(n->pod_count, 0);
            assert_int_equal(n->requested.cpu_m, 0);
            assert_null(pod(f, "p"));
            assert_in_range(i, 1, 100);
        }
    }
    assert_int_equal(n->pod_count, 1);
    assert_int_equal(sched_amounts_extra(&n->requested, slice_str("example.com/gpu")), 1);
    /* A whole cycle: every allocation fails once, and says so. */
    struct sched_pod *q = sched_pod_of(f, "q", NULL, POD_ASKS("1", "1Gi", ""));
    sched_node_of(f, "m", NULL, NULL, NULL);
    struct sched_cycle_args a = sched_args(f, q);
    enum sched_result result = SCHED_NO_MEMORY;
    for (uint64_t i = 1; result != SCHED_CHOSEN; i++) {
        sched_cycle_close(&f->cycle);
        sched_cycle_init(&f->cycle);
        f->cluster.stale = true;
        mem_fail_after(i);
        result = sched_run(f, &a);
        mem_fail_after(0);
        assert_true(result == SCHED_CHOSEN || result == SCHED_NO_MEMORY);
        assert_in_range(i, 1, 200);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, sched_setup, sched_teardown)
    const struct CMUnitTest tests[] = {
        T(pods_before_and_after_their_node), T(assumed_then_confirmed),   T(assumptions_expire),
        T(ended_pods_take_nothing),          T(nominations_survive_news), T(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
