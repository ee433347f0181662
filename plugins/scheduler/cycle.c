/* cycle.c - the phases of a cycle; see cycle.h. */
#include "plugins/scheduler/cycle.h"

#define CYCLE_FULL_NODES  100u /* fewer are all looked at */
#define CYCLE_PERCENT_MIN 5

const struct sched_rule *const sched_rules[SCHED_RULES] = {
    [SCHED_NODE_UNSCHEDULABLE] = &sched_rule_node_unschedulable,
    [SCHED_NODE_NAME] = &sched_rule_node_name,
    [SCHED_TAINTS] = &sched_rule_taints,
    [SCHED_NODE_AFFINITY] = &sched_rule_node_affinity,
    [SCHED_PORTS] = &sched_rule_ports,
    [SCHED_FIT] = &sched_rule_fit,
    [SCHED_VOLUMES] = &sched_rule_volumes,
    [SCHED_SPREAD] = &sched_rule_spread,
    [SCHED_POD_AFFINITY] = &sched_rule_pod_affinity,
    [SCHED_BALANCED] = &sched_rule_balanced,
    [SCHED_IMAGES] = &sched_rule_images,
};

void sched_weights_default(struct sched_weights *w)
{
    *w = (struct sched_weights){.hard_affinity = 1};
    for (size_t i = 0; i < SCHED_RULES; i++) {
        w->of[i] = sched_rules[i]->weight;
    }
}

size_t sched_nodes_wanted(size_t nodes, int64_t percentage)
{
    if (nodes < CYCLE_FULL_NODES) {
        return nodes;
    }
    if (percentage == 0) {
        percentage = 50 - (int64_t)(nodes / 125);
        percentage = percentage < CYCLE_PERCENT_MIN ? CYCLE_PERCENT_MIN : percentage;
    }
    size_t wanted = nodes * (size_t)percentage / 100;
    return wanted < CYCLE_FULL_NODES ? CYCLE_FULL_NODES : wanted;
}

void sched_normalize(int64_t *scores, size_t count, bool reverse)
{
    int64_t max = 0;
    for (size_t i = 0; i < count; i++) {
        max = scores[i] > max ? scores[i] : max;
    }
    for (size_t i = 0; i < count; i++) {
        int64_t s = max == 0 ? 0 : SCHED_SCORE_MAX * scores[i] / max;
        scores[i] = reverse ? SCHED_SCORE_MAX - s : s;
    }
}

/* ---- memory ------------------------------------------------------------------------------------
 */

void sched_cycle_init(struct sched_cycle *c)
{
    *c = (struct sched_cycle){0};
    arena_init(&c->arena, 0);
}

static void cycle_forget(struct sched_cycle *c)
{
    for (struct sched_tally *t = c->tallies; t != NULL; t = t->next) {
        sched_tally_close(t);
    }
    c->tallies = NULL;
}

void sched_cycle_close(struct sched_cycle *c)
{
    cycle_forget(c);
    arena_close(&c->arena);
}

void sched_cycle_begin(struct sched_cycle *c, const struct sched_cycle_args *a)
{
    struct arena arena = c->arena;
    cycle_forget(c);
    arena_clear(&arena);
    struct sched_cycle_args args = *a;
    *c = (struct sched_cycle){
        .args = args, .pod = args.pod, .cluster = args.cluster, .arena = arena};
}

void *sched_cycle_alloc(struct sched_cycle *c, size_t size)
{
    void *p = arena_zalloc(&c->arena, size);
    c->failed = p == NULL || c->failed;
    return p;
}

struct sched_tally *sched_cycle_tally(struct sched_cycle *c)
{
    struct sched_tally *t = sched_cycle_alloc(c, sizeof *t);
    if (t != NULL) {
        sched_tally_init(t, &c->arena);
        t->next = c->tallies;
        c->tallies = t;
    }
    return t;
}

/* ---- filters -----------------------------------------------------------------------------------
 */

/* The first rule that refuses decides. */
static enum sched_code cycle_filter_once(struct sched_cycle *c, struct sched_node *n,
                                         struct sched_verdict *v)
{
    for (size_t i = 0; i < SCHED_RULES; i++) {
        if (sched_rules[i]->filter == NULL || c->skip_filter[i]) {
            continue;
        }
        enum sched_code code = sched_rules[i]->filter(c, n, v);
        if (code != SCHED_FITS) {
            v->rule = (uint8_t)i;
            return code;
        }
    }
    *v = (struct sched_verdict){.code = SCHED_FITS};
    return SCHED_FITS;
}

void sched_cycle_moved(struct sched_cycle *c, struct sched_node *n, const struct sched_pod *p,
                       int times)
{
    for (size_t i = 0; i < SCHED_RULES; i++) {
        if (sched_rules[i]->moved != NULL && !c->skip_filter[i]) {
            sched_rules[i]->moved(c, n, p, times);
        }
    }
}

/* Does a nominated pod count as being there already? */
static bool cycle_goes_before(const struct sched_cycle *c, const struct sched_pod *p)
{
    return p != c->pod && p->on == NULL && p->priority >= c->pod->priority;
}

/* Puts nominated pods on the node, or takes them away; returns how many. The node's sums are what
 * filters look at; its list of pods is as before when both have been called. */
static size_t cycle_nominated(struct sched_cycle *c, struct sched_node *n, bool put)
{
    size_t count = 0;
    LIST_FOREACH (it, &n->nominated) {
        struct sched_pod *p = LIST_ENTRY(it, struct sched_pod, by_nomination);
        if (put && cycle_goes_before(c, p) && sched_node_reserve(n, p)) {
            sched_cluster_drop(c->cluster, p, n);
            sched_cycle_moved(c, n, p, 1);
            count++;
        } else if (!put && p->on == n) {
            sched_cycle_moved(c, n, p, -1);
            sched_cluster_lift(c->cluster, p);
        }
    }
    return count;
}

enum sched_code sched_cycle_filter(struct sched_cycle *c, struct sched_node *n,
                                   struct sched_verdict *v)
{
    if (!list_empty(&n->nominated)) {
        size_t count = cycle_nominated(c, n, true);
        enum sched_code code = count > 0 ? cycle_filter_once(c, n, v) : SCHED_FITS;
        cycle_nominated(c, n, false);
        if (code != SCHED_FITS) {
            return code;
        }
    }
    return cycle_filter_once(c, n, v);
}

/* ---- phases ------------------------------------------------------------------------------------
 */

static enum sched_result cycle_end(struct sched_cycle *c, enum sched_result result)
{
    c->phase = SCHED_PHASE_END;
    c->result = c->failed ? SCHED_NO_MEMORY : result;
    return c->result;
}

/* Begins the preparations. */
static enum sched_result cycle_start(struct sched_cycle *c)
{
    if (sched_cluster_nodes(c->cluster) != 0) {
        return cycle_end(c, SCHED_NO_MEMORY);
    }
    size_t count = c->cluster->count;
    if (count == 0) {
        return cycle_end(c, SCHED_NO_NODES);
    }
    c->version = c->cluster->version;
    c->verdicts = sched_cycle_alloc(c, count * sizeof *c->verdicts);
    c->fits = sched_cycle_alloc(c, count * sizeof *c->fits);
    c->wanted = c->args.explain ? count : sched_nodes_wanted(count, c->args.weights->percentage);
    for (size_t i = 0; i < SCHED_RULES && !c->failed; i++) {
        enum sched_go go = sched_rules[i]->pre == NULL ? SCHED_GO : sched_rules[i]->pre(c);
        c->skip_filter[i] = go == SCHED_SKIP;
        if (go == SCHED_REJECT) {
            c->rejected_by = (uint8_t)i;
            return cycle_end(c, SCHED_REJECTED);
        }
    }
    c->phase = SCHED_PHASE_PRE;
    return c->failed ? cycle_end(c, SCHED_NO_MEMORY) : SCHED_MORE;
}

/* What visiting a node costs: rules that do so look at its pods. */
static int64_t cycle_cost(const struct sched_node *n)
{
    return 1 + (int64_t)n->pod_count;
}

/* Calls the rules' functions for each node, pre_node or pre_score_node. */
static void cycle_visit(struct sched_cycle *c, bool scoring, int64_t *budget)
{
    const struct sched_rule *visitors[SCHED_RULES];
    size_t count = 0;
    for (size_t i = 0; i < SCHED_RULES; i++) {
        bool skip = scoring ? c->skip_score[i] : c->skip_filter[i];
        bool has =
            scoring ? sched_rules[i]->pre_score_node != NULL : sched_rules[i]->pre_node != NULL;
        if (has && !skip) {
            visitors[count++] = sched_rules[i];
        }
    }
    c->at = count == 0 ? c->cluster->count : c->at;
    while (c->at<c->cluster->count && * budget> 0) {
        struct sched_node *n = c->cluster->list[c->at++];
        *budget -= cycle_cost(n);
        for (size_t k = 0; k < count; k++) {
            (scoring ? visitors[k]->pre_score_node : visitors[k]->pre_node)(c, n);
        }
    }
}

static void cycle_look(struct sched_cycle *c, size_t index)
{
    c->looked_at++;
    if (sched_cycle_filter(c, c->cluster->list[index], &c->verdicts[index]) == SCHED_FITS) {
        c->fits[c->fit_count++] = index;
    }
}

/* Only a few nodes come into question. */
static void cycle_look_named(struct sched_cycle *c)
{
    for (size_t i = 0; i < c->only_count; i++) {
        struct sched_node *n = sched_cluster_node(c->cluster, c->only[i]);
        if (n != NULL && n->present && c->verdicts[n->index].code == SCHED_UNSEEN) {
            cycle_look(c, n->index);
        }
    }
}

/* The node where room was made for the pod goes before all others. */
static bool cycle_look_nominated(struct sched_cycle *c)
{
    struct sched_node *n = c->pod->nominee;
    if (n == NULL || !n->present || c->args.explain) {
        return false;
    }
    cycle_look(c, n->index);
    if (c->fit_count == 0) {
        c->verdicts[n->index] = (struct sched_verdict){0};
        c->looked_at = 0;
        return false;
    }
    c->decision = SCHED_BY_NOMINATION;
    return true;
}

static void cycle_filter_all(struct sched_cycle *c, int64_t *budget)
{
    size_t count = c->cluster->count;
    size_t start = c->args.start == NULL ? 0 : *c->args.start % count;
    while (c->at < count && c->fit_count<c->wanted && * budget> 0) {
        *budget -= 1;
        cycle_look(c, (start + c->at++) % count);
    }
    if (c->at == count || c->fit_count == c->wanted) {
        if (c->args.start != NULL) {
            *c->args.start = (start + c->looked_at) % count;
        }
        c->at = count;
    }
}

static enum sched_result cycle_choose_only(struct sched_cycle *c)
{
    c->chosen = c->cluster->list[c->fits[0]];
    c->ties = 1;
    c->decision = c->decision == SCHED_BY_NONE ? SCHED_BY_ONLY : c->decision;
    return cycle_end(c, SCHED_CHOSEN);
}

static enum sched_result cycle_begin_scores(struct sched_cycle *c)
{
    c->phase = SCHED_PHASE_PRE_SCORE;
    c->at = 0;
    for (size_t i = 0; i < SCHED_RULES && !c->failed; i++) {
        enum sched_go go =
            sched_rules[i]->pre_score == NULL ? SCHED_GO : sched_rules[i]->pre_score(c);
        c->skip_score[i] = go == SCHED_SKIP || c->args.weights->of[i] == 0;
    }
    return c->failed ? cycle_end(c, SCHED_NO_MEMORY) : SCHED_MORE;
}

static enum sched_result cycle_filters(struct sched_cycle *c, int64_t *budget)
{
    if (c->at == 0 && cycle_look_nominated(c)) {
        return cycle_choose_only(c);
    }
    if (c->narrowed) {
        cycle_look_named(c);
    } else {
        cycle_filter_all(c, budget);
        if (c->at < c->cluster->count) {
            return SCHED_MORE;
        }
    }
    if (c->failed || c->fit_count == 0) {
        return cycle_end(c, SCHED_NO_NODE);
    }
    if (c->fit_count == 1 && !c->args.explain) {
        return cycle_choose_only(c);
    }
    return cycle_begin_scores(c);
}

/* Scores nodes by one rule as long as the budget lasts. True when all have been. */
static bool cycle_score_rule(struct sched_cycle *c, size_t rule, int64_t *budget)
{
    int64_t *scores = c->scores[rule];
    if (scores == NULL) {
        scores = c->scores[rule] = sched_cycle_alloc(c, c->fit_count * sizeof *scores);
        c->score_at = 0;
    }
    while (scores != NULL && c->score_at<c->fit_count && * budget> 0) {
        size_t k = c->score_at++;
        scores[k] = sched_rules[rule]->score(c, c->cluster->list[c->fits[k]]);
        *budget -= k % 4 == 0 ? 1 : 0;
    }
    if (scores == NULL || c->score_at < c->fit_count) {
        return false;
    }
    if (sched_rules[rule]->normalize != NULL) {
        sched_rules[rule]->normalize(c, scores, c->fit_count);
    }
    for (size_t k = 0; k < c->fit_count; k++) {
        c->totals[k] += scores[k] * c->args.weights->of[rule];
    }
    return true;
}

/* The highest total; among equals the dice decide, each as likely as the others. */
static enum sched_result cycle_choose(struct sched_cycle *c)
{
    size_t best = 0;
    for (size_t k = 0; k < c->fit_count; k++) {
        if (c->ties == 0 || c->totals[k] > c->totals[best]) {
            best = k;
            c->ties = 1;
        } else if (c->totals[k] == c->totals[best]) {
            uint64_t dice = 0;
            c->ties++;
            if (c->args.random != NULL) {
                c->args.random(c->args.data, &dice, sizeof dice);
                best = dice % c->ties == 0 ? k : best;
            }
        }
    }
    c->chosen = c->cluster->list[c->fits[best]];
    c->decision = c->fit_count == 1 ? SCHED_BY_ONLY : c->ties > 1 ? SCHED_BY_DICE : SCHED_BY_SCORE;
    return cycle_end(c, SCHED_CHOSEN);
}

/* `at` counts rules here. */
static enum sched_result cycle_scores(struct sched_cycle *c, int64_t *budget)
{
    if (c->totals == NULL) {
        c->totals = sched_cycle_alloc(c, c->fit_count * sizeof *c->totals);
    }
    while (c->at < SCHED_RULES && !c->failed && *budget > 0) {
        bool scores = sched_rules[c->at]->score != NULL && !c->skip_score[c->at];
        c->at += !scores || cycle_score_rule(c, c->at, budget) ? 1 : 0;
    }
    if (c->failed) {
        return cycle_end(c, SCHED_NO_MEMORY);
    }
    return c->at < SCHED_RULES ? SCHED_MORE : cycle_choose(c);
}

static enum sched_result cycle_phase(struct sched_cycle *c, int64_t *budget)
{
    switch (c->phase) {
    case SCHED_PHASE_START:
        return cycle_start(c);
    case SCHED_PHASE_PRE:
    case SCHED_PHASE_PRE_SCORE:
        cycle_visit(c, c->phase == SCHED_PHASE_PRE_SCORE, budget);
        if (c->failed) {
            return cycle_end(c, SCHED_NO_MEMORY);
        }
        if (c->at == c->cluster->count) {
            c->phase = c->phase == SCHED_PHASE_PRE ? SCHED_PHASE_FILTER : SCHED_PHASE_SCORE;
            c->at = 0;
        }
        return SCHED_MORE;
    case SCHED_PHASE_FILTER:
        return cycle_filters(c, budget);
    case SCHED_PHASE_SCORE:
        return cycle_scores(c, budget);
    case SCHED_PHASE_END:
        break;
    }
    return c->result;
}

enum sched_result sched_cycle_step(struct sched_cycle *c, int64_t *budget)
{
    enum sched_result result = SCHED_MORE;
    if (c->phase != SCHED_PHASE_START && c->phase != SCHED_PHASE_END &&
        c->version != c->cluster->version) {
        struct sched_cycle_args args = c->args;
        sched_cycle_begin(c, &args);
    }
    while (result == SCHED_MORE && *budget > 0) {
        result = cycle_phase(c, budget);
    }
    return result;
}

unsigned sched_cycle_refusers(const struct sched_cycle *c)
{
    unsigned bits = 0;
    if (c->result == SCHED_REJECTED) {
        return 1u << c->rejected_by;
    }
    if (c->result != SCHED_NO_NODE) {
        return 0;
    }
    bits = c->narrowed ? 1u << SCHED_NODE_AFFINITY : 0;
    for (size_t i = 0; i < c->cluster->count; i++) {
        if (c->verdicts[i].code >= SCHED_UNSCHEDULABLE) {
            bits |= 1u << c->verdicts[i].rule;
        }
    }
    return bits;
}
