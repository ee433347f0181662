/* preempt.c - choosing victims; see preempt.h. */
#include "plugins/scheduler/preempt.h"

#include <stdlib.h>

/* At least so many nodes are tried, and at least this part of them. */
#define PREEMPT_NODES_MIN   100u
#define PREEMPT_PERCENT_MIN 10u
#define PREEMPT_RANK_OFFSET ((int64_t)1 << 31)

const char *sched_preempt_refusal(const struct sched_cycle *c)
{
    const struct sched_node *n = c->pod->nominee;
    if (c->pod->never_preempts) {
        return "not eligible due to preemptionPolicy=Never.";
    }
    if (n == NULL || !n->present || c->verdicts == NULL ||
        c->verdicts[n->index].code == SCHED_UNRESOLVABLE) {
        return NULL;
    }
    for (size_t i = 0; i < n->pod_count; i++) {
        if (n->pods[i]->priority < c->pod->priority && n->pods[i]->preempted) {
            return "not eligible due to a terminating pod on the nominated node.";
        }
    }
    return NULL;
}

void sched_preempt_init(struct sched_preemption *p)
{
    *p = (struct sched_preemption){0};
    arena_init(&p->arena, 0);
}

void sched_preempt_close(struct sched_preemption *p)
{
    sched_reasons_close(&p->reasons);
    arena_close(&p->arena);
}

static void *preempt_alloc(struct sched_preemption *p, size_t size)
{
    void *memory = arena_zalloc(&p->arena, size);
    p->failed = p->failed || memory == NULL;
    return memory;
}

void sched_preempt_begin(struct sched_preemption *p, struct sched_cycle *c, uint64_t dice)
{
    struct arena arena = p->arena;
    arena_clear(&arena);
    sched_reasons_close(&p->reasons);
    *p = (struct sched_preemption){.cycle = c, .arena = arena};
    size_t count = c->result == SCHED_NO_NODE ? c->cluster->count : 0;
    p->nodes = preempt_alloc(p, count * sizeof *p->nodes);
    for (size_t i = 0; i < count && p->nodes != NULL; i++) {
        if (c->verdicts[i].code == SCHED_UNSCHEDULABLE) {
            p->nodes[p->node_count++] = i;
        }
    }
    p->wanted = p->node_count * PREEMPT_PERCENT_MIN / 100;
    p->wanted = p->wanted < PREEMPT_NODES_MIN ? PREEMPT_NODES_MIN : p->wanted;
    p->wanted = p->wanted > p->node_count ? p->node_count : p->wanted;
    p->candidates = preempt_alloc(p, p->wanted * sizeof *p->candidates);
    p->offset = p->node_count == 0 ? 0 : dice % p->node_count;
}

/* ---- one node ----------------------------------------------------------------------------------
 */

/* More important: higher priority, then the longer it runs. */
static int preempt_order(const void *a, const void *b)
{
    const struct sched_pod *const *x = a;
    const struct sched_pod *const *y = b;
    if ((*x)->priority != (*y)->priority) {
        return (*x)->priority > (*y)->priority ? -1 : 1;
    }
    if ((*x)->started_s != (*y)->started_s) {
        return (*x)->started_s < (*y)->started_s ? -1 : 1;
    }
    return slice_cmp((*x)->key, (*y)->key);
}

static void preempt_lift(struct sched_cycle *c, struct sched_node *n, struct sched_pod *pod)
{
    sched_cycle_moved(c, n, pod, -1);
    sched_cluster_lift(c->cluster, pod);
}

static void preempt_drop(struct sched_cycle *c, struct sched_node *n, struct sched_pod *pod)
{
    sched_cluster_drop(c->cluster, pod, n);
    sched_cycle_moved(c, n, pod, 1);
}

static size_t preempt_lift_all(struct sched_cycle *c, struct sched_node *n, struct sched_pod **pods)
{
    size_t count = 0;
    for (size_t i = 0; i < n->pod_count; i++) {
        if (n->pods[i]->priority < c->pod->priority) {
            pods[count++] = n->pods[i];
        }
    }
    for (size_t i = 0; i < count; i++) {
        preempt_lift(c, n, pods[i]);
    }
    return count;
}

static void preempt_explain(struct sched_preemption *p, const struct sched_verdict *v)
{
    static const struct slice none = SCHED_TEXT("No preemption victims found for incoming pod");
    p->reasoned++;
    if (v == NULL) {
        sched_reasons_add(&p->reasons, none, 1);
        return;
    }
    for (size_t i = 0; i < v->reason_count; i++) {
        sched_reasons_add(&p->reasons, v->reasons[i], 1);
    }
}

/* Remembers those that stayed lifted as victims. */
static void preempt_remember(struct sched_preemption *p, struct sched_node *n,
                             struct sched_pod *const *pods, size_t count)
{
    struct sched_candidate *new = &p->candidates[p->candidate_count];
    *new = (struct sched_candidate){.node = n};
    new->victims = preempt_alloc(p, count * sizeof *new->victims);
    for (size_t i = 0; i < count && new->victims != NULL; i++) {
        struct sched_victim *v = &new->victims[new->count++];
        v->key = arena_dup(&p->arena, pods[i]->key);
        v->uid = arena_dup(&p->arena, pods[i]->uid);
        v->priority = pods[i]->priority;
        v->started_s = pods[i]->started_s;
        p->failed = p->failed || v->key.data == NULL || v->uid.data == NULL;
    }
    p->candidate_count += p->failed ? 0 : 1;
}

static void preempt_try(struct sched_preemption *p, struct sched_node *n, int64_t *budget)
{
    struct sched_cycle *c = p->cycle;
    struct sched_verdict v = {0};
    struct sched_pod **pods = preempt_alloc(p, n->pod_count * sizeof *pods);
    *budget -= 1 + (int64_t)n->pod_count;
    if (pods == NULL) {
        return;
    }
    size_t count = preempt_lift_all(c, n, pods);
    if (count == 0) {
        preempt_explain(p, NULL);
        return;
    }
    size_t victims = count;
    bool fits = sched_cycle_filter(c, n, &v) == SCHED_FITS;
    if (fits) {
        qsort(pods, count, sizeof(struct sched_pod *), preempt_order);
        victims = 0;
        for (size_t i = 0; i < count; i++) {
            preempt_drop(c, n, pods[i]);
            if (sched_cycle_filter(c, n, &v) != SCHED_FITS) {
                preempt_lift(c, n, pods[i]);
                pods[victims++] = pods[i];
            }
        }
        if (victims > 0 && p->candidates != NULL) {
            preempt_remember(p, n, pods, victims);
        }
    } else {
        preempt_explain(p, &v);
    }
    for (size_t i = 0; i < victims; i++) {
        preempt_drop(c, n, pods[i]);
    }
    p->failed = p->failed || c->failed;
}

/* ---- choice ------------------------------------------------------------------------------------
 */

static int64_t preempt_sum(const struct sched_candidate *c)
{
    int64_t sum = 0;
    for (size_t i = 0; i < c->count; i++) {
        sum += c->victims[i].priority + PREEMPT_RANK_OFFSET;
    }
    return sum;
}

/* When the first of the most important victims started. */
static int64_t preempt_earliest(const struct sched_candidate *c)
{
    int64_t earliest = INT64_MAX;
    for (size_t i = 0; i < c->count && c->victims[i].priority == c->victims[0].priority; i++) {
        earliest = c->victims[i].started_s < earliest ? c->victims[i].started_s : earliest;
    }
    return earliest;
}

bool sched_candidate_better(const struct sched_candidate *a, const struct sched_candidate *b)
{
    if (a->victims[0].priority != b->victims[0].priority) {
        return a->victims[0].priority < b->victims[0].priority;
    }
    if (preempt_sum(a) != preempt_sum(b)) {
        return preempt_sum(a) < preempt_sum(b);
    }
    if (a->count != b->count) {
        return a->count < b->count;
    }
    return preempt_earliest(a) > preempt_earliest(b);
}

bool sched_preempt_step(struct sched_preemption *p, int64_t *budget)
{
    while (!p->failed && p->at < p->node_count && p->candidate_count < p->wanted) {
        if (*budget <= 0) {
            return false;
        }
        size_t index = p->nodes[(p->offset + p->at++) % p->node_count];
        preempt_try(p, p->cycle->cluster->list[index], budget);
    }
    for (size_t i = 0; i < p->candidate_count && !p->failed; i++) {
        if (p->chosen == NULL || sched_candidate_better(&p->candidates[i], p->chosen)) {
            p->chosen = &p->candidates[i];
        }
    }
    return true;
}

void sched_preempt_message(const struct sched_preemption *p, struct buf *out)
{
    size_t nodes = p->cycle->cluster->count;
    struct sched_reasons all = {0};
    for (size_t i = 0; i < p->reasons.count; i++) {
        sched_reasons_add(&all, p->reasons.items[i].text, p->reasons.items[i].nodes);
    }
    if (nodes > p->reasoned) {
        sched_reasons_add(&all, slice_str("Preemption is not helpful for scheduling"),
                          nodes - p->reasoned);
    }
    sched_reasons_print(&all, nodes, out);
    sched_reasons_close(&all);
}
