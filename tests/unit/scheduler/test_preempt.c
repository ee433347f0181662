/* test_preempt.c - who has to leave, where, and what is said when nobody can. */
#include "tests/unit/scheduler/sched_fixture.h"

#define PRIORITY(n) ",'priority':" n

/* Runs a cycle that finds nothing, and the preemption, one look at a time. */
static const struct sched_candidate *preempt(struct sched_fixture *f, struct sched_pod *p)
{
    int64_t budget = 1;
    sched_refusal(f, p);
    sched_preempt_begin(&f->preemption, &f->cycle, f->dice);
    while (!sched_preempt_step(&f->preemption, &budget)) {
        budget = 1;
    }
    assert_false(f->preemption.failed);
    return f->preemption.chosen;
}

/* The whole message when nobody can be made to leave. */
static const char *message(struct sched_fixture *f)
{
    struct buf post;
    buf_init(&post);
    buf_append_str(&post, "no new claims to deallocate, preemption: ");
    sched_preempt_message(&f->preemption, &post);
    buf_clear(&f->out);
    sched_message(&f->cycle, buf_slice(&post), &f->out);
    buf_append_byte(&f->out, 0);
    assert_false(f->out.failed);
    buf_close(&post);
    return (const char *)f->out.data;
}

static void assert_victims(const struct sched_candidate *c, const char *node, const char *names)
{
    char text[256] = "";
    assert_non_null(c);
    for (size_t i = 0; i < c->count; i++) {
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%.*s", i > 0 ? " " : "",
                 (int)(c->victims[i].key.len - 8), (const char *)c->victims[i].key.data + 8);
    }
    assert_string_equal(text, names);
    assert_true(slice_eq(c->node->name, slice_str(node)));
}

static void nobody_can_leave(void **state)
{
    struct sched_fixture *f = *state;
    sched_node_of(f, "a", NULL, NULL, "'allocatable':{'cpu':'2','memory':'8Gi','pods':'9'}");
    sched_node_of(f, "b", NULL, NULL, "'allocatable':{'cpu':'2','memory':'8Gi','pods':'9'}");
    sched_node_of(f, "c", NULL, NULL, "'allocatable':{'cpu':'4','memory':'2Gi','pods':'9'}");
    sched_pod_of(f, "p1", NULL, POD_ASKS("1", "1Gi", ",'nodeName':'a'"));
    sched_pod_of(f, "p2", NULL, POD_ASKS("1", "1Gi", ",'nodeName':'b'"));
    sched_pod_of(f, "p3", NULL, POD_ASKS("1", "1Gi", ",'nodeName':'c'"));
    assert_null(preempt(f, sched_pod_of(f, "q", NULL, POD_ASKS("2", "2Gi", ""))));
    assert_string_equal(message(f),
                        "0/3 nodes are available: 1 Insufficient memory, 2 Insufficient cpu. "
                        "no new claims to deallocate, preemption: 0/3 nodes are available: "
                        "3 No preemption victims found for incoming pod.");
    /* More than a node has at all: leaving would not help there. */
    assert_null(preempt(f, sched_pod_of(f, "r", NULL, POD_ASKS("3", "1500Mi", ""))));
    assert_string_equal(message(f),
                        "0/3 nodes are available: 1 Insufficient memory, 2 Insufficient cpu. "
                        "no new claims to deallocate, preemption: 0/3 nodes are available: "
                        "1 No preemption victims found for incoming pod, "
                        "2 Preemption is not helpful for scheduling.");
    assert_null(preempt(f, sched_pod_of(f, "s", NULL, POD_ASKS("30", "1Gi", PRIORITY("9")))));
    assert_string_equal(message(f),
                        "0/3 nodes are available: 3 Insufficient cpu. "
                        "no new claims to deallocate, preemption: 0/3 nodes are available: "
                        "3 Preemption is not helpful for scheduling.");
}

/* No more than needed leave, the least important; nothing is changed by finding out. */
static void as_few_as_needed(void **state)
{
    struct sched_fixture *f = *state;
    struct sched_node *n =
        sched_node_of(f, "n", NULL, NULL, "'allocatable':{'cpu':'4','memory':'8Gi','pods':'9'}");
    sched_pod_of(f, "low", NULL, POD_ASKS("1", "1Gi", ",'nodeName':'n'" PRIORITY("1")));
    sched_pod_of(f, "mid", NULL, POD_ASKS("1", "1Gi", ",'nodeName':'n'" PRIORITY("5")));
    sched_pod_of(f, "high", NULL, POD_ASKS("2", "1Gi", ",'nodeName':'n'" PRIORITY("50")));
    assert_victims(preempt(f, sched_pod_of(f, "a", NULL, POD_ASKS("1", "1Gi", PRIORITY("10")))),
                   "n", "low");
    assert_victims(preempt(f, sched_pod_of(f, "b", NULL, POD_ASKS("2", "1Gi", PRIORITY("10")))),
                   "n", "mid low");
    assert_null(preempt(f, sched_pod_of(f, "c", NULL, POD_ASKS("3", "1Gi", PRIORITY("10")))));
    assert_string_equal(message(f),
                        "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, "
                        "preemption: 0/1 nodes are available: 1 Insufficient cpu.");
    assert_null(preempt(f, sched_pod_of(f, "d", NULL, POD_ASKS("1", "1Gi", PRIORITY("1")))));
    assert_int_equal(n->pod_count, 3);
    assert_int_equal(n->requested.cpu_m, 4000);
    for (size_t i = 0; i < 3; i++) {
        assert_ptr_equal(n->pods[i]->on, n);
        assert_int_equal(n->pods[i]->at, i);
    }
}

static struct sched_candidate candidate(struct sched_victim *victims, size_t count)
{
    return (struct sched_candidate){.victims = victims, .count = count};
}

/* One criterion after the other. */
static void the_least_harm(void **state)
{
    struct sched_victim five[] = {{.priority = 5, .started_s = 100}};
    struct sched_victim seven[] = {{.priority = 7, .started_s = 100}};
    struct sched_victim five_and_one[] = {{.priority = 5, .started_s = 100},
                                          {.priority = 1, .started_s = 100}};
    struct sched_victim younger[] = {{.priority = 5, .started_s = 200}};
    struct sched_victim fives[] = {{.priority = 5, .started_s = 300},
                                   {.priority = -2147483647, .started_s = 50}};
    struct sched_victim fives_old[] = {{.priority = 5, .started_s = 300},
                                       {.priority = -2147483647, .started_s = 40}};
    struct sched_candidate c5 = candidate(five, 1);
    struct sched_candidate c7 = candidate(seven, 1);
    struct sched_candidate c51 = candidate(five_and_one, 2);
    struct sched_candidate cy = candidate(younger, 1);
    struct sched_candidate cf = candidate(fives, 2);
    struct sched_candidate cfo = candidate(fives_old, 2);
    assert_true(sched_candidate_better(&c51, &c7)); /* lowest of the highest priorities */
    assert_true(sched_candidate_better(&c5, &c51)); /* lowest sum */
    assert_true(sched_candidate_better(&cy, &c5));  /* the one that started last */
    assert_false(sched_candidate_better(&c5, &cy));
    assert_true(sched_candidate_better(&cy, &cf));
    assert_false(sched_candidate_better(&cf, &cfo)); /* only the most important ones' start */
    assert_false(sched_candidate_better(&cfo, &cf));
}

static void the_best_node(void **state)
{
    struct sched_fixture *f = *state;
    sched_node_of(f, "a", NULL, NULL, "'allocatable':{'cpu':'1','memory':'8Gi','pods':'9'}");
    sched_node_of(f, "b", NULL, NULL, "'allocatable':{'cpu':'1','memory':'8Gi','pods':'9'}");
    sched_pod_of(f, "pa", NULL, POD_ASKS("1", "1Gi", ",'nodeName':'a'" PRIORITY("7")));
    sched_pod_of(f, "pb", NULL, POD_ASKS("1", "1Gi", ",'nodeName':'b'" PRIORITY("5")));
    struct sched_pod *p = sched_pod_of(f, "p", NULL, POD_ASKS("1", "1Gi", PRIORITY("10")));
    for (f->dice = 0; f->dice < 2; f->dice++) {
        assert_victims(preempt(f, p), "b", "pb");
    }
}

/* Who must not be near may have to leave as well. */
static void anti_affinity_is_preempted(void **state)
{
    struct sched_fixture *f = *state;
    sched_node_of(f, "n", NULL, NULL, NULL);
    sched_pod_of(f, "db", "'app':'db'", POD_PLAIN(",'nodeName':'n'"));
    sched_pod_of(f, "web", "'app':'web'", POD_PLAIN(",'nodeName':'n'"));
    struct sched_pod *p = sched_pod_of(
        f, "p", NULL,
        POD_PLAIN(",'affinity':{'podAntiAffinity':{'requiredDuringSchedulingIgnoredDuringExecution'"
                  ":[{'labelSelector':{'matchLabels':{'app':'db'}},'topologyKey':"
                  "'kubernetes.io/hostname'}]}}" PRIORITY("3")));
    assert_victims(preempt(f, p), "n", "db");
}

static void who_may_not(void **state)
{
    struct sched_fixture *f = *state;
    sched_node_of(f, "n", NULL, NULL, "'allocatable':{'cpu':'1','memory':'8Gi','pods':'9'}");
    struct object leaving =
        sched_pod_object(f, "leaving", NULL, POD_ASKS("1", "1Gi", ",'nodeName':'n'"));
    assert_int_equal(object_set_int(&leaving, "metadata.deletionTimestamp", 1), 0);
    struct value *conditions = NULL;
    assert_int_equal(
        object_append(&leaving, "status.conditions", value_empty(VALUE_MESSAGE), &conditions), 0);
    assert_int_equal(object_set_str(&leaving, "status.conditions[0].type", "DisruptionTarget"), 0);
    assert_int_equal(object_set_str(&leaving, "status.conditions[0].status", "True"), 0);
    assert_int_equal(
        object_set_str(&leaving, "status.conditions[0].reason", "PreemptionByScheduler"), 0);
    assert_int_equal(sched_cluster_pod_set(&f->cluster, sched_pod_make(&leaving)), 0);
    struct sched_pod *p = sched_pod_of(f, "p", NULL, POD_ASKS("1", "1Gi", PRIORITY("10")));
    sched_refusal(f, p);
    assert_null(sched_preempt_refusal(&f->cycle));
    sched_cluster_nominate(&f->cluster, p, slice_str("n"));
    sched_refusal(f, p);
    assert_string_equal(sched_preempt_refusal(&f->cycle),
                        "not eligible due to a terminating pod on the nominated node.");
    struct sched_pod *never = sched_pod_of(
        f, "never", NULL, POD_ASKS("1", "1Gi", ",'preemptionPolicy':'Never'" PRIORITY("10")));
    sched_refusal(f, never);
    assert_string_equal(sched_preempt_refusal(&f->cycle),
                        "not eligible due to preemptionPolicy=Never.");
}

/* Room that was made for one is not given to another that is not more important. */
static void nominations_reserve(void **state)
{
    struct sched_fixture *f = *state;
    sched_node_of(f, "n", NULL, NULL, "'allocatable':{'cpu':'1','memory':'8Gi','pods':'9'}");
    struct sched_pod *first = sched_pod_of(f, "first", NULL, POD_ASKS("1", "1Gi", PRIORITY("5")));
    struct sched_pod *equal = sched_pod_of(f, "equal", NULL, POD_ASKS("1", "1Gi", PRIORITY("5")));
    struct sched_pod *above = sched_pod_of(f, "above", NULL, POD_ASKS("1", "1Gi", PRIORITY("6")));
    sched_cluster_nominate(&f->cluster, first, slice_str("n"));
    assert_string_equal(sched_refusal(f, equal), "0/1 nodes are available: 1 Insufficient cpu.");
    assert_string_equal(sched_choice(f, above), "n");
    assert_string_equal(sched_choice(f, first), "n");
    assert_int_equal(f->cycle.decision, SCHED_BY_NOMINATION);
    assert_int_equal(sched_cluster_node(&f->cluster, slice_str("n"))->pod_count, 0);
    assert_int_equal(sched_cluster_assume(&f->cluster, first, first->nominee), 0);
    assert_string_equal(sched_refusal(f, above), "0/1 nodes are available: 1 Insufficient cpu.");
    sched_cluster_forget(&f->cluster, first);
    assert_string_equal(sched_choice(f, equal), "n");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, sched_setup, sched_teardown)
    const struct CMUnitTest tests[] = {
        T(nobody_can_leave),    T(as_few_as_needed),           T(the_least_harm),
        T(the_best_node),       T(anti_affinity_is_preempted), T(who_may_not),
        T(nominations_reserve),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
