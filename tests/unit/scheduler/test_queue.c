/* test_queue.c - where waiting pods are, and what moves them. */
#include "plugins/scheduler/queue.h"
#include "tests/unit/scheduler/sched_fixture.h"

struct queue_fixture {
    struct sched_fixture *f;
    struct sched_queue q;
    uint64_t now;
};

static int queue_setup(void **state)
{
    struct queue_fixture *t = mem_xzalloc(sizeof *t);
    void *f = NULL;
    sched_setup(&f);
    t->f = f;
    t->now = 1000000;
    sched_queue_init(&t->q, 1000, 10000);
    *state = t;
    return 0;
}

static int queue_teardown(void **state)
{
    struct queue_fixture *t = *state;
    void *f = t->f;
    sched_queue_close(&t->q);
    sched_teardown(&f);
    mem_free(t);
    return 0;
}

static struct sched_pod *add(struct queue_fixture *t, const char *name, const char *spec)
{
    struct sched_pod *p = sched_pod_of(t->f, name, NULL, spec);
    assert_int_equal(sched_queue_add(&t->q, p, t->now), 0);
    return p;
}

static void assert_pops(struct queue_fixture *t, const char *name)
{
    struct sched_waiting *w = sched_queue_pop(&t->q, t->now);
    if (name == NULL) {
        assert_null(w);
        return;
    }
    assert_non_null(w);
    assert_true(slice_eq(w->pod->name, slice_str(name)));
}

static void assert_place(const struct sched_pod *p, enum sched_place place)
{
    assert_int_equal(p->waiting->place, place);
}

static size_t event(struct queue_fixture *t, unsigned kinds, const struct sched_node *n,
                    const struct sched_pod *p)
{
    struct sched_event e = {.kinds = kinds, .cluster = &t->f->cluster, .node = n, .pod = p};
    return sched_queue_event(&t->q, &e, t->now);
}

#define PRIORITY(n) POD_PLAIN(",'priority':" n)

static void priority_then_time(void **state)
{
    struct queue_fixture *t = *state;
    add(t, "a", POD_PLAIN(""));
    add(t, "b", PRIORITY("5"));
    add(t, "c", PRIORITY("2000001000"));
    add(t, "d", PRIORITY("5"));
    add(t, "e", PRIORITY("-2147483648"));
    add(t, "f", POD_PLAIN(""));
    assert_pops(t, "c");
    assert_pops(t, "b");
    assert_pops(t, "d");
    assert_pops(t, "a");
    assert_pops(t, "f");
    assert_pops(t, "e");
    assert_pops(t, NULL);
    assert_int_equal(t->q.count[SCHED_FLYING], 6);
}

/* 1 s, doubled, up to 10 s; errors count for themselves. */
static void backoff_doubles(void **state)
{
    struct queue_fixture *t = *state;
    static const uint64_t want[] = {1000, 2000, 4000, 8000, 10000, 10000};
    struct sched_pod *p = add(t, "p", POD_PLAIN(""));
    for (size_t i = 0; i < 6; i++) {
        assert_pops(t, "p");
        sched_queue_failed(&t->q, p->waiting, 1u << SCHED_FIT, false, t->now);
        assert_place(p, SCHED_PARKED);
        assert_int_equal(sched_queue_backoff_ms(&t->q, p->waiting), want[i]);
        assert_int_equal(event(t, SCHED_POD_GONE, NULL, p), 1);
        assert_place(p, SCHED_BACKOFF); /* tried all the same while nobody else wants to be */
    }
    assert_pops(t, "p");
    sched_queue_failed(&t->q, p->waiting, 0, true, t->now);
    assert_place(p, SCHED_ERRORS);
    assert_int_equal(sched_queue_next_ms(&t->q), t->now + 1000);
    assert_pops(t, NULL); /* this backoff is kept */
    t->now += 999;
    assert_pops(t, NULL);
    t->now += 1;
    assert_pops(t, "p");
}

static void backoff_over_goes_to_active(void **state)
{
    struct queue_fixture *t = *state;
    struct sched_pod *p = add(t, "p", POD_PLAIN(""));
    assert_pops(t, "p");
    sched_queue_failed(&t->q, p->waiting, 1u << SCHED_FIT, false, t->now);
    t->now += 1000;
    assert_int_equal(event(t, SCHED_POD_GONE, NULL, p), 1);
    assert_place(p, SCHED_ACTIVE);
    add(t, "q", POD_PLAIN(""));
    assert_pops(t, "p"); /* it has waited longer than q */
    assert_pops(t, "q");
}

/* Only what a rule that refused the pod listens to, and only if it may help. */
static void hints(void **state)
{
    struct queue_fixture *t = *state;
    struct sched_node *small = sched_node_of(t->f, "small", NULL, NULL,
                                             "'allocatable':{'cpu':'1','memory':'1Gi','pods':'9'}");
    struct sched_node *large = sched_node_of(t->f, "large", NULL, NULL, NULL);
    struct sched_node *tainted =
        sched_node_of(t->f, "tainted", NULL, "'taints':[{'key':'k','effect':'NoSchedule'}]", NULL);
    struct sched_pod *other = sched_pod_of(t->f, "other", NULL, POD_PLAIN(",'nodeName':'large'"));
    struct sched_pod *big = add(t, "big", POD_ASKS("2", "1Gi", ""));
    struct sched_pod *picky = add(t, "picky", POD_PLAIN(",'nodeSelector':{'disk':'ssd'}"));
    struct sched_pod *shy = add(t, "shy", POD_PLAIN(""));
    assert_pops(t, "big");
    assert_pops(t, "picky");
    assert_pops(t, "shy");
    sched_queue_failed(&t->q, big->waiting, 1u << SCHED_FIT, false, t->now);
    sched_queue_failed(&t->q, picky->waiting, 1u << SCHED_NODE_AFFINITY, false, t->now);
    sched_queue_failed(&t->q, shy->waiting, 1u << SCHED_TAINTS, false, t->now);
    assert_int_equal(event(t, SCHED_NODE_ADDED, small, NULL), 1); /* shy: no taint there */
    assert_place(shy, SCHED_BACKOFF);
    assert_int_equal(event(t, SCHED_NODE_LABELS, large, NULL), 0);
    assert_int_equal(event(t, SCHED_NODE_TAINTS, tainted, NULL), 0);
    assert_int_equal(event(t, SCHED_POD_PLACED, NULL, other), 0);
    assert_int_equal(event(t, SCHED_NODE_ALLOCATABLE, small, NULL), 0); /* too small at all */
    assert_int_equal(event(t, SCHED_NODE_ALLOCATABLE, large, NULL), 1);
    assert_place(big, SCHED_BACKOFF);
    struct sched_node *ssd = sched_node_of(t->f, "ssd", "'disk':'ssd'", NULL, NULL);
    assert_int_equal(event(t, SCHED_NODE_LABELS, ssd, NULL), 1);
    assert_place(picky, SCHED_BACKOFF);
}

/* What happened while the pod was being looked at is not missed. */
static void events_while_flying(void **state)
{
    struct queue_fixture *t = *state;
    struct sched_pod *other = sched_pod_of(t->f, "other", NULL, POD_PLAIN(""));
    struct sched_pod *p = add(t, "p", POD_PLAIN(""));
    assert_pops(t, "p");
    event(t, SCHED_POD_PLACED, NULL, other);
    sched_queue_failed(&t->q, p->waiting, 1u << SCHED_FIT, false, t->now);
    assert_place(p, SCHED_PARKED); /* not what this rule listens to */
    event(t, SCHED_POD_GONE, NULL, other);
    assert_pops(t, "p");
    event(t, SCHED_POD_GONE, NULL, other);
    sched_queue_failed(&t->q, p->waiting, 1u << SCHED_FIT, false, t->now);
    assert_place(p, SCHED_BACKOFF);
}

static void five_minutes(void **state)
{
    struct queue_fixture *t = *state;
    struct sched_pod *p = add(t, "p", POD_PLAIN(""));
    assert_pops(t, "p");
    sched_queue_failed(&t->q, p->waiting, 1u << SCHED_FIT, false, t->now);
    assert_int_equal(sched_queue_next_ms(&t->q), t->now + SCHED_UNSCHEDULABLE_MS);
    t->now += SCHED_UNSCHEDULABLE_MS - 1;
    assert_pops(t, NULL);
    t->now += 1;
    assert_pops(t, "p");
    assert_int_equal(sched_queue_next_ms(&t->q), UINT64_MAX);
}

static void gates(void **state)
{
    struct queue_fixture *t = *state;
    struct sched_pod *p = add(t, "p", POD_PLAIN(",'schedulingGates':[{'name':'a.b/c'}]"));
    assert_place(p, SCHED_GATED);
    assert_pops(t, NULL);
    p = sched_pod_of(t->f, "p", NULL, POD_PLAIN("")); /* another state of it */
    sched_queue_changed(&t->q, p, true, t->now);
    assert_pops(t, "p");
}

/* A changed pod is tried again, one whose status changed is not. */
static void changes_of_the_pod(void **state)
{
    struct queue_fixture *t = *state;
    struct sched_pod *p = add(t, "p", POD_PLAIN(""));
    assert_pops(t, "p");
    sched_queue_failed(&t->q, p->waiting, 1u << SCHED_FIT, false, t->now);
    p = sched_pod_of(t->f, "p", NULL, POD_PLAIN(""));
    sched_queue_changed(&t->q, p, false, t->now);
    assert_place(p, SCHED_PARKED);
    sched_queue_changed(&t->q, p, true, t->now);
    assert_place(p, SCHED_BACKOFF);
    add(t, "q", PRIORITY("5"));
    p = sched_pod_of(t->f, "p", NULL, PRIORITY("9"));
    sched_queue_changed(&t->q, p, true, t->now);
    t->now += 1000;
    assert_pops(t, "q"); /* active goes before backoff */
    assert_pops(t, "p");
    assert_int_equal(t->q.len, 2);
    sched_queue_remove(&t->q, p->waiting);
    assert_null(p->waiting);
    assert_int_equal(t->q.len, 1);
}

/* Turns are numbered anew before the numbers run out. */
static void four_billion_turns(void **state)
{
    struct queue_fixture *t = *state;
    t->q.turns = UINT32_MAX - 2;
    add(t, "a", POD_PLAIN(""));
    add(t, "b", POD_PLAIN(""));
    add(t, "c", POD_PLAIN(""));
    add(t, "d", POD_PLAIN(""));
    assert_pops(t, "a");
    assert_pops(t, "b");
    add(t, "e", POD_PLAIN(""));
    assert_pops(t, "c");
    assert_pops(t, "d");
    assert_pops(t, "e");
    assert_in_range(t->q.turns, 1, 10);
}

/* A queue that cannot take a pod is as before. */
static void no_memory(void **state)
{
    struct queue_fixture *t = *state;
    struct sched_pod *p = sched_pod_of(t->f, "p", NULL, POD_PLAIN(""));
    int rc = ERR_NOMEM;
    unsigned failed = 0;
    while (rc != 0) {
        mem_fail_after(failed + 1);
        rc = sched_queue_add(&t->q, p, t->now);
        mem_fail_after(0);
        if (rc != 0) {
            failed++;
            assert_int_equal(t->q.len, 0);
            assert_null(p->waiting);
        }
    }
    assert_int_equal(failed, 3); /* the pod's place, then heaps; one that has grown stays so */
    assert_pops(t, "p");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, queue_setup, queue_teardown)
    const struct CMUnitTest tests[] = {
        T(priority_then_time),
        T(backoff_doubles),
        T(backoff_over_goes_to_active),
        T(hints),
        T(events_while_flying),
        T(five_minutes),
        T(gates),
        T(changes_of_the_pod),
        T(four_billion_turns),
        T(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
