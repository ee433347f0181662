/* test_scores.c - each score by its formula in numbers, and how a node is chosen. */
#include "tests/unit/scheduler/sched_fixture.h"

#define MIB (1024ll * 1024)

/* ((alloc - requested) * 100 / alloc of CPU + the same of memory) / 2, in integers. */
static void least_allocated(void **state)
{
    struct sched_fixture *f = *state;
    sched_node_of(f, "a", NULL, NULL, "'allocatable':{'cpu':'4','memory':'8000Mi','pods':'9'}");
    sched_node_of(f, "b", NULL, NULL, "'allocatable':{'cpu':'2','memory':'2000Mi','pods':'9'}");
    sched_pod_of(f, "there", NULL, POD_ASKS("1", "2000Mi", ",'nodeName':'a'"));
    assert_int_equal(sched_explain(f, sched_pod_of(f, "p", NULL, POD_ASKS("500m", "500Mi", ""))),
                     SCHED_CHOSEN);
    /* a: (4000 - 1500) * 100 / 4000 = 62; (8000 - 2500) * 100 / 8000 = 68; b: 75, 75 */
    assert_int_equal(sched_score(f, SCHED_FIT, "a"), 65);
    assert_int_equal(sched_score(f, SCHED_FIT, "b"), 75);
    /* Without requests 100m and 200Mi count. */
    assert_int_equal(sched_explain(f, sched_pod_of(f, "q", NULL, POD_PLAIN(""))), SCHED_CHOSEN);
    assert_int_equal(sched_score(f, SCHED_FIT, "b"), (95 + 90) / 2);
    assert_int_equal(sched_score(f, SCHED_BALANCED, "b"), -1); /* best effort */
}

/* (1 - half the distance of the two fractions) * 100, truncated. */
static void balanced_allocation(void **state)
{
    struct sched_fixture *f = *state;
    sched_node_of(f, "a", NULL, NULL, "'allocatable':{'cpu':'4','memory':'4000Mi','pods':'9'}");
    sched_node_of(f, "b", NULL, NULL, "'allocatable':{'cpu':'10','memory':'2000Mi','pods':'9'}");
    assert_int_equal(sched_explain(f, sched_pod_of(f, "p", NULL, POD_ASKS("1", "1000Mi", ""))),
                     SCHED_CHOSEN);
    assert_int_equal(sched_score(f, SCHED_BALANCED, "a"), 100);
    assert_int_equal(sched_score(f, SCHED_BALANCED, "b"), 80); /* 0.1 and 0.5 */
}

static void soft_taints(void **state)
{
    struct sched_fixture *f = *state;
    sched_node_of(f, "none", NULL, NULL, NULL);
    sched_node_of(f, "one", NULL, "'taints':[{'key':'a','effect':'PreferNoSchedule'}]", NULL);
    sched_node_of(f, "two", NULL,
                  "'taints':[{'key':'a','effect':'PreferNoSchedule'},"
                  "{'key':'b','effect':'PreferNoSchedule'}]",
                  NULL);
    struct sched_pod *p = sched_pod_of(f, "p", NULL, POD_PLAIN(""));
    assert_int_equal(sched_explain(f, p), SCHED_CHOSEN);
    assert_int_equal(sched_score(f, SCHED_TAINTS, "none"), 100);
    assert_int_equal(sched_score(f, SCHED_TAINTS, "one"), 50);
    assert_int_equal(sched_score(f, SCHED_TAINTS, "two"), 0);
    assert_string_equal(sched_choice(f, p), "none");
    struct sched_pod *q =
        sched_pod_of(f, "q", NULL, POD_PLAIN(",'tolerations':[{'operator':'Exists'}]"));
    assert_int_equal(sched_explain(f, q), SCHED_CHOSEN);
    assert_int_equal(sched_score(f, SCHED_TAINTS, "two"), 100);
}

static void preferred_nodes(void **state)
{
    struct sched_fixture *f = *state;
    sched_node_of(f, "a", "'disk':'ssd','zone':'a'", NULL, NULL);
    sched_node_of(f, "b", "'disk':'ssd'", NULL, NULL);
    sched_node_of(f, "c", NULL, NULL, NULL);
    struct sched_pod *p = sched_pod_of(
        f, "p", NULL,
        POD_PLAIN(",'affinity':{'nodeAffinity':{'preferredDuringSchedulingIgnoredDuringExecution':["
                  "{'weight':30,'preference':{'matchExpressions':[{'key':'disk','operator':'In',"
                  "'values':['ssd']}]}},{'weight':60,'preference':{'matchExpressions':[{'key':"
                  "'zone','operator':'Exists'}]}}]}}"));
    assert_int_equal(sched_explain(f, p), SCHED_CHOSEN);
    assert_int_equal(sched_score(f, SCHED_NODE_AFFINITY, "a"), 100);
    assert_int_equal(sched_score(f, SCHED_NODE_AFFINITY, "b"), 33);
    assert_int_equal(sched_score(f, SCHED_NODE_AFFINITY, "c"), 0);
}

#define WEIGHTED(kind, weight)                                                               \
    POD_PLAIN(",'affinity':{'" kind "':{'preferredDuringSchedulingIgnoredDuringExecution':[" \
              "{'weight':" weight ",'podAffinityTerm':{'labelSelector':{'matchLabels':"      \
              "{'app':'db'}},'topologyKey':'zone'}}]}}")

static void preferred_pods(void **state)
{
    struct sched_fixture *f = *state;
    sched_node_of(f, "a", "'zone':'a'", NULL, NULL);
    sched_node_of(f, "b", "'zone':'b'", NULL, NULL);
    sched_node_of(f, "c", "'zone':'c'", NULL, NULL);
    sched_pod_of(f, "db1", "'app':'db'", POD_PLAIN(",'nodeName':'a'"));
    sched_pod_of(f, "db2", "'app':'db'", POD_PLAIN(",'nodeName':'a'"));
    sched_pod_of(f, "db3", "'app':'db'", POD_PLAIN(",'nodeName':'b'"));
    struct sched_pod *p = sched_pod_of(f, "p", NULL, WEIGHTED("podAffinity", "10"));
    assert_int_equal(sched_explain(f, p), SCHED_CHOSEN);
    assert_int_equal(sched_score(f, SCHED_POD_AFFINITY, "a"), 100);
    assert_int_equal(sched_score(f, SCHED_POD_AFFINITY, "b"), 50);
    assert_int_equal(sched_score(f, SCHED_POD_AFFINITY, "c"), 0);
    struct sched_pod *q = sched_pod_of(f, "q", NULL, WEIGHTED("podAntiAffinity", "10"));
    assert_int_equal(sched_explain(f, q), SCHED_CHOSEN);
    assert_int_equal(sched_score(f, SCHED_POD_AFFINITY, "a"), 0);
    assert_int_equal(sched_score(f, SCHED_POD_AFFINITY, "c"), 100);
    /* Those there already are heard, too. */
    sched_pod_of(f, "fan", NULL, WEIGHTED("podAffinity", "7") ",'nodeName':'c'");
    struct sched_pod *db = sched_pod_of(f, "db4", "'app':'db'", POD_PLAIN(""));
    assert_int_equal(sched_explain(f, db), SCHED_CHOSEN);
    assert_int_equal(sched_score(f, SCHED_POD_AFFINITY, "c"), 100);
    assert_int_equal(sched_score(f, SCHED_POD_AFFINITY, "a"), 0);
}

#define SPREAD(skew, key)                                                                     \
    POD_PLAIN(                                                                                \
        ",'topologySpreadConstraints':[{'maxSkew':" skew ",'topologyKey':'" key               \
        "','whenUnsatisfiable':'ScheduleAnyway','labelSelector':{'matchLabels':{'app':'w'}}}" \
        "]")

/* count * ln(domains + 2) + skew - 1, rounded; then 100 * (max + min - s) / max. */
static void spread(void **state)
{
    struct sched_fixture *f = *state;
    sched_node_of(f, "a", "'zone':'a'", NULL, NULL);
    sched_node_of(f, "b", "'zone':'b'", NULL, NULL);
    sched_node_of(f, "c", "'zone':'c'", NULL, NULL);
    sched_node_of(f, "x", NULL, NULL, NULL);
    for (int i = 0; i < 4; i++) {
        char name[8];
        snprintf(name, sizeof name, "w%d", i);
        sched_pod_of(f, name, "'app':'w'",
                     i < 3 ? POD_PLAIN(",'nodeName':'a'") : POD_PLAIN(",'nodeName':'b'"));
    }
    struct sched_pod *p = sched_pod_of(f, "p", "'app':'w'", SPREAD("1", "zone"));
    assert_int_equal(sched_explain(f, p), SCHED_CHOSEN);
    /* ln 5 = 1.609: a 4.83 -> 5, b 1.61 -> 2, c 0: 100 * (5 + 0 - s) / 5 */
    assert_int_equal(sched_score(f, SCHED_SPREAD, "a"), 0);
    assert_int_equal(sched_score(f, SCHED_SPREAD, "b"), 60);
    assert_int_equal(sched_score(f, SCHED_SPREAD, "c"), 100);
    assert_int_equal(sched_score(f, SCHED_SPREAD, "x"), 0); /* lacks the key */
}

/* Pods that say nothing spread with what their service selects: hosts skew 3, zones skew 5. */
static void spread_by_default(void **state)
{
    struct sched_fixture *f = *state;
    struct label_selector selector;
    struct errmsg e;
    sched_node_of(f, "a", "'topology.kubernetes.io/zone':'a'", NULL, NULL);
    sched_node_of(f, "b", "'topology.kubernetes.io/zone':'b'", NULL, NULL);
    sched_pod_of(f, "w", "'app':'w'", POD_PLAIN(",'nodeName':'a'"));
    struct sched_pod *p = sched_pod_of(f, "p", "'app':'w'", POD_PLAIN(""));
    assert_int_equal(label_selector_parse(slice_str("app=w"), &f->arena, &selector, &e), 0);
    struct sched_cycle_args a = sched_args(f, p);
    a.spread_selector = &selector;
    assert_int_equal(sched_run(f, &a), SCHED_CHOSEN);
    /* ln 4 = 1.386 twice, + 2 + 4: a 8.77 -> 9, b 6: 100 * (9 + 6 - s) / 9 */
    assert_int_equal(sched_score(f, SCHED_SPREAD, "a"), 66);
    assert_int_equal(sched_score(f, SCHED_SPREAD, "b"), 100);
    a.spread_selector = NULL;
    assert_int_equal(sched_run(f, &a), SCHED_CHOSEN);
    assert_int_equal(sched_score(f, SCHED_SPREAD, "a"), -1);
}

#define IMAGES(name, mib)                                                            \
    "'allocatable':{'cpu':'4','memory':'8Gi','pods':'9'},'images':[{'names':['" name \
    "'],'sizeBytes':" mib "}]"

static void images(void **state)
{
    struct sched_fixture *f = *state;
    sched_node_of(f, "a", NULL, NULL, IMAGES("web:latest", "629145600")); /* 600 Mi */
    sched_node_of(f, "b", NULL, NULL, IMAGES("other:1", "629145600"));
    assert_int_equal(sched_explain(f, sched_pod_of(f, "p", NULL, POD_PLAIN(""))), SCHED_CHOSEN);
    /* Half of the nodes have it: 300 Mi count. (300 - 23) * 100 / (1000 - 23) */
    assert_int_equal(sched_score(f, SCHED_IMAGES, "a"), 28);
    assert_int_equal(sched_score(f, SCHED_IMAGES, "b"), 0);
}

/* Equal nodes are chosen by dice, each as likely. */
static void ties(void **state)
{
    struct sched_fixture *f = *state;
    size_t chosen[4] = {0};
    for (char i = 0; i < 4; i++) {
        char name[2] = {(char)('a' + i), '\0'};
        sched_node_of(f, name, NULL, NULL, NULL);
    }
    struct sched_pod *p = sched_pod_of(f, "p", NULL, POD_ASKS("1", "1Gi", ""));
    for (f->dice = 0; f->dice < 12 * 100; f->dice++) {
        struct sched_cycle_args a = sched_args(f, p);
        assert_int_equal(sched_run(f, &a), SCHED_CHOSEN);
        assert_int_equal(f->cycle.decision, SCHED_BY_DICE);
        assert_int_equal(f->cycle.ties, 4);
        chosen[f->cycle.chosen->name.data[0] - 'a']++;
    }
    /* One number thrown for all: 12 outcomes of it, repeated. */
    for (size_t i = 0; i < 4; i++) {
        assert_in_range(chosen[i], 200, 500);
    }
    sched_pod_of(f, "there", NULL, POD_ASKS("1", "1Gi", ",'nodeName':'a'"));
    sched_node_of(f, "big", NULL, NULL, "'allocatable':{'cpu':'64','memory':'128Gi','pods':'9'}");
    assert_string_equal(sched_choice(f, p), "big");
    assert_int_equal(f->cycle.decision, SCHED_BY_SCORE);
}

static void weights(void **state)
{
    struct sched_fixture *f = *state;
    sched_node_of(f, "big", NULL, "'taints':[{'key':'a','effect':'PreferNoSchedule'}]",
                  "'allocatable':{'cpu':'64','memory':'128Gi','pods':'9'}");
    sched_node_of(f, "small", NULL, NULL, "'allocatable':{'cpu':'2','memory':'2Gi','pods':'9'}");
    struct sched_pod *p = sched_pod_of(f, "p", NULL, POD_ASKS("1", "1Gi", ""));
    assert_string_equal(sched_choice(f, p), "small"); /* 3 * 100 for the taint that is not there */
    f->weights.of[SCHED_TAINTS] = 0;
    assert_string_equal(sched_choice(f, p), "big");
}

/* How many nodes are looked for, and where the search goes on. */
static void large_clusters(void **state)
{
    struct sched_fixture *f = *state;
    assert_int_equal(sched_nodes_wanted(99, 0), 99);
    assert_int_equal(sched_nodes_wanted(100, 0), 100);
    assert_int_equal(sched_nodes_wanted(1000, 0), 420);
    assert_int_equal(sched_nodes_wanted(5000, 0), 500);
    assert_int_equal(sched_nodes_wanted(6000, 0), 300);
    assert_int_equal(sched_nodes_wanted(1000, 5), 100);
    assert_int_equal(sched_nodes_wanted(1000, 70), 700);
    for (int i = 0; i < 300; i++) {
        char name[8];
        snprintf(name, sizeof name, "n%d", i);
        sched_node_of(f, name, NULL, NULL, NULL);
    }
    f->weights.percentage = 40;
    struct sched_pod *p = sched_pod_of(f, "p", NULL, POD_PLAIN(""));
    struct sched_cycle_args a = sched_args(f, p);
    assert_int_equal(sched_run(f, &a), SCHED_CHOSEN);
    assert_int_equal(f->cycle.fit_count, 120);
    assert_int_equal(f->start, 120);
    assert_int_equal(sched_run(f, &a), SCHED_CHOSEN);
    assert_int_equal(f->start, 240);
    assert_int_equal(sched_run(f, &a), SCHED_CHOSEN);
    assert_int_equal(f->start, 60);
}

/* Nodes take turns by zone. */
static void zones_take_turns(void **state)
{
    struct sched_fixture *f = *state;
    static const char *const names[] = {"a1", "a2", "a3", "b1", "b2", "c1"};
    static const char *const want[] = {"a1", "b1", "c1", "a2", "b2", "a3"};
    for (size_t i = 0; i < 6; i++) {
        char labels[64];
        snprintf(labels, sizeof labels, "'topology.kubernetes.io/zone':'%c'", names[i][0]);
        sched_node_of(f, names[i], labels, NULL, NULL);
    }
    assert_int_equal(sched_cluster_nodes(&f->cluster), 0);
    assert_int_equal(f->cluster.count, 6);
    for (size_t i = 0; i < 6; i++) {
        assert_true(slice_eq(f->cluster.list[i]->name, slice_str(want[i])));
    }
}

/* A cycle that is interrupted by a node's end begins anew, and never looks at it. */
static void nodes_leave_meanwhile(void **state)
{
    struct sched_fixture *f = *state;
    sched_node_of(f, "a", NULL, NULL, "'allocatable':{'cpu':'64','memory':'128Gi','pods':'9'}");
    sched_node_of(f, "b", NULL, NULL, NULL);
    sched_node_of(f, "c", NULL, NULL, NULL);
    struct sched_pod *p = sched_pod_of(f, "p", NULL, POD_ASKS("1", "1Gi", ""));
    for (int steps = 1; steps < 12; steps++) {
        struct sched_cycle_args a = sched_args(f, p);
        enum sched_result result = SCHED_MORE;
        sched_cycle_begin(&f->cycle, &a);
        for (int i = 0; i < steps && result == SCHED_MORE; i++) {
            int64_t budget = 1;
            result = sched_cycle_step(&f->cycle, &budget);
        }
        if (result == SCHED_MORE) {
            sched_cluster_node_gone(&f->cluster, slice_str("a"));
            int64_t budget = 1000;
            assert_int_equal(sched_cycle_step(&f->cycle, &budget), SCHED_CHOSEN);
            assert_int_equal(f->cycle.fit_count, 2);
            sched_node_of(f, "a", NULL, NULL,
                          "'allocatable':{'cpu':'64','memory':'128Gi','pods':'9'}");
        }
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, sched_setup, sched_teardown)
    const struct CMUnitTest tests[] = {
        T(least_allocated),
        T(balanced_allocation),
        T(soft_taints),
        T(preferred_nodes),
        T(preferred_pods),
        T(spread),
        T(spread_by_default),
        T(images),
        T(ties),
        T(weights),
        T(large_clusters),
        T(zones_take_turns),
        T(nodes_leave_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
