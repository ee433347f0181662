/* rule_spread.c - PodTopologySpread: pods of one kind are to be spread over hosts, zones, and so
 * on. */
#include <math.h>

#include "plugins/scheduler/cycle.h"

#define HOSTNAME_LABEL "kubernetes.io/hostname"
#define ZONE_LABEL     "topology.kubernetes.io/zone"

struct rule_spread_one {
    const struct sched_spread *want;
    struct sched_tally *counts; /* matching pods by value of the topology key */
    int64_t min;                /* of counts */
    bool min_known;
    bool self;        /* the pod itself matches */
    double weight;    /* scoring: the more domains the more */
    bool per_host;    /* scoring: counted at the node itself */
    int64_t *at_node; /* then: what is known of that already, by the node's index; -1 = nothing */
};

struct rule_spread_state {
    struct rule_spread_one *items;
    size_t count;
    bool all_keys; /* nodes without one of the keys do not count */
};

static bool rule_spread_has_keys(const struct rule_spread_state *s, const struct sched_node *n)
{
    for (size_t i = 0; i < s->count; i++) {
        if (sched_node_label(n, s->items[i].want->topology_key).data == NULL) {
            return false;
        }
    }
    return true;
}

/* Does the constraint look at nodes that the pod could not go to? */
static bool rule_spread_counts_node(const struct sched_cycle *c, const struct sched_spread *want,
                                    const struct sched_node *n)
{
    if (want->honor_affinity && !sched_terms_match_node(c->pod->terms, &n->labels, n->name)) {
        return false;
    }
    return !want->honor_taints || sched_node_repels(n, c->pod) == NULL;
}

static bool rule_spread_matches(const struct sched_spread *want, const struct sched_pod *p,
                                struct slice space)
{
    return !p->deleted && slice_eq(p->space, space) &&
           label_selector_matches(&want->labels, &p->labels);
}

static int64_t rule_spread_pods(const struct sched_cycle *c, const struct sched_spread *want,
                                const struct sched_node *n)
{
    int64_t count = 0;
    if (want->labels.count == 0) {
        return 0; /* also a selector of everything: as in kube-scheduler */
    }
    for (size_t i = 0; i < n->pod_count; i++) {
        count += rule_spread_matches(want, n->pods[i], c->pod->space) ? 1 : 0;
    }
    return count;
}

static struct rule_spread_state *
rule_spread_make(struct sched_cycle *c, const struct sched_spread *list, size_t count, bool hard)
{
    struct rule_spread_state *s = sched_cycle_alloc(c, sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    s->items = sched_cycle_alloc(c, count * sizeof *s->items);
    for (size_t i = 0; i < count && s->items != NULL; i++) {
        if (list[i].hard == hard) {
            struct rule_spread_one *one = &s->items[s->count++];
            one->want = &list[i];
            one->counts = sched_cycle_tally(c);
            one->self = label_selector_matches(&list[i].labels, &c->pod->labels);
            one->per_host = slice_eq(list[i].topology_key, slice_str(HOSTNAME_LABEL));
        }
    }
    return c->failed ? NULL : s;
}

/* ---- filter ------------------------------------------------------------------------------------
 */

static enum sched_go rule_spread_pre(struct sched_cycle *c)
{
    const struct sched_terms *t = c->pod->terms;
    if (t == NULL || t->spread_count == 0) {
        return SCHED_SKIP;
    }
    struct rule_spread_state *s = rule_spread_make(c, t->spreads, t->spread_count, true);
    c->state[SCHED_SPREAD] = s;
    return s == NULL || s->count == 0 ? SCHED_SKIP : SCHED_GO;
}

static void rule_spread_pre_node(struct sched_cycle *c, struct sched_node *n)
{
    struct rule_spread_state *s = c->state[SCHED_SPREAD];
    if (!rule_spread_has_keys(s, n)) {
        return;
    }
    for (size_t i = 0; i < s->count; i++) {
        const struct sched_spread *want = s->items[i].want;
        if (rule_spread_counts_node(c, want, n)) {
            sched_cycle_count(c, s->items[i].counts, slice_of(NULL, 0),
                              sched_node_label(n, want->topology_key),
                              rule_spread_pods(c, want, n));
        }
    }
}

static void rule_spread_moved(struct sched_cycle *c, struct sched_node *n,
                              const struct sched_pod *p, int times)
{
    struct rule_spread_state *s = c->state[SCHED_SPREAD];
    if (!rule_spread_has_keys(s, n)) {
        return;
    }
    for (size_t i = 0; i < s->count; i++) {
        const struct sched_spread *want = s->items[i].want;
        if (want->labels.count > 0 && rule_spread_counts_node(c, want, n) &&
            rule_spread_matches(want, p, c->pod->space)) {
            sched_cycle_count(c, s->items[i].counts, slice_of(NULL, 0),
                              sched_node_label(n, want->topology_key), times);
            s->items[i].min_known = false;
        }
    }
}

static int64_t rule_spread_min(struct rule_spread_one *one)
{
    if (one->want->domains_min > 0 && one->counts->map.len < (size_t)one->want->domains_min) {
        return 0;
    }
    if (!one->min_known) {
        one->min = sched_tally_min(one->counts);
        one->min_known = true;
    }
    return one->min;
}

static enum sched_code rule_spread_filter(struct sched_cycle *c, struct sched_node *n,
                                          struct sched_verdict *v)
{
    static const struct slice skewed =
        SCHED_TEXT("node(s) didn't match pod topology spread constraints");
    static const struct slice unlabelled =
        SCHED_TEXT("node(s) didn't match pod topology spread constraints (missing required label)");
    struct rule_spread_state *s = c->state[SCHED_SPREAD];
    for (size_t i = 0; i < s->count; i++) {
        struct rule_spread_one *one = &s->items[i];
        struct slice value = sched_node_label(n, one->want->topology_key);
        if (value.data == NULL) {
            return sched_refuse(v, SCHED_UNRESOLVABLE, &unlabelled, 1);
        }
        int64_t count = sched_tally_get(one->counts, slice_of(NULL, 0), value);
        int64_t min = rule_spread_min(one);
        min = min == INT64_MAX ? INT32_MAX : min; /* no node counts at all */
        if (count + (one->self ? 1 : 0) - min > one->want->skew_max) {
            return sched_refuse(v, SCHED_UNSCHEDULABLE, &skewed, 1);
        }
    }
    return SCHED_FITS;
}

static bool rule_spread_hint(const struct sched_pod *pod, const struct sched_event *e)
{
    const struct sched_terms *t = pod->terms;
    for (size_t i = 0; t != NULL && i < t->spread_count; i++) {
        const struct sched_spread *want = &t->spreads[i];
        if (!want->hard) {
            continue;
        }
        if (e->pod != NULL && slice_eq(e->pod->space, pod->space) &&
            ((e->kinds & SCHED_POD_LABELS) ||
             label_selector_matches(&want->labels, &e->pod->labels))) {
            return true;
        }
        if (e->node != NULL && sched_node_label(e->node, want->topology_key).data == NULL) {
            return false;
        }
    }
    return e->node != NULL;
}

/* ---- score -------------------------------------------------------------------------------------
 */

/* Pods that say nothing are spread a little over hosts and zones, with those that have the same
 * service or owner. */
static const struct sched_spread *rule_spread_default(struct sched_cycle *c)
{
    struct sched_spread *list = sched_cycle_alloc(c, 2 * sizeof *list);
    if (list != NULL) {
        list[0] = (struct sched_spread){.labels = *c->args.spread_selector,
                                        .topology_key = slice_str(HOSTNAME_LABEL),
                                        .skew_max = 3,
                                        .honor_affinity = true};
        list[1] = list[0];
        list[1].topology_key = slice_str(ZONE_LABEL);
        list[1].skew_max = 5;
    }
    return list;
}

/* Counters for the places where the pod may go; the weight of a constraint by their number. */
static void rule_spread_domains(struct sched_cycle *c, struct rule_spread_state *s)
{
    size_t hosts = 0;
    for (size_t k = 0; k < c->fit_count; k++) {
        const struct sched_node *n = c->cluster->list[c->fits[k]];
        if (s->all_keys && !rule_spread_has_keys(s, n)) {
            continue;
        }
        hosts++;
        for (size_t i = 0; i < s->count; i++) {
            if (!s->items[i].per_host) {
                struct slice value = sched_node_label(n, s->items[i].want->topology_key);
                sched_cycle_count(c, s->items[i].counts, slice_of(NULL, 0), value, 0);
            }
        }
    }
    for (size_t i = 0; i < s->count; i++) {
        size_t domains = s->items[i].per_host ? hosts : s->items[i].counts->map.len;
        s->items[i].weight = log((double)(domains + 2));
        if (s->items[i].per_host && s->count > 1) {
            size_t bytes = c->cluster->count * sizeof *s->items[i].at_node;
            s->items[i].at_node = sched_cycle_alloc(c, bytes);
            if (s->items[i].at_node != NULL) {
                memset(s->items[i].at_node, 0xff, bytes);
            }
        }
    }
}

static enum sched_go rule_spread_pre_score(struct sched_cycle *c)
{
    const struct sched_terms *t = c->pod->terms;
    bool own = t != NULL && t->spread_count > 0;
    struct rule_spread_state *s = NULL;
    if (!own && (c->args.spread_selector == NULL || c->args.spread_selector->count == 0)) {
        return SCHED_SKIP;
    }
    const struct sched_spread *list = own ? t->spreads : rule_spread_default(c);
    if (list != NULL) {
        s = rule_spread_make(c, list, own ? t->spread_count : 2, false);
    }
    c->scoring[SCHED_SPREAD] = s;
    if (s == NULL || s->count == 0) {
        return SCHED_SKIP;
    }
    s->all_keys = own;
    rule_spread_domains(c, s);
    return SCHED_GO;
}

/* Pods of the node that the constraint means. Constraints with one selector share the count. */
static int64_t rule_spread_counted(struct sched_cycle *c, struct rule_spread_state *s, size_t i,
                                   const struct sched_node *n)
{
    const struct sched_spread *want = s->items[i].want;
    int64_t count = rule_spread_pods(c, want, n);
    for (size_t k = 0; k < s->count; k++) {
        if (s->items[k].at_node != NULL && s->items[k].want->labels.items == want->labels.items) {
            s->items[k].at_node[n->index] = count;
        }
    }
    return count;
}

static void rule_spread_pre_score_node(struct sched_cycle *c, struct sched_node *n)
{
    struct rule_spread_state *s = c->scoring[SCHED_SPREAD];
    if (s->all_keys && !rule_spread_has_keys(s, n)) {
        return;
    }
    for (size_t i = 0; i < s->count; i++) {
        const struct sched_spread *want = s->items[i].want;
        struct slice value = sched_node_label(n, want->topology_key);
        struct sched_tally_entry *e =
            s->items[i].per_host ? NULL
                                 : sched_tally_find(s->items[i].counts, slice_of(NULL, 0), value);
        if (e != NULL && rule_spread_counts_node(c, want, n)) {
            e->n += rule_spread_counted(c, s, i, n);
        }
    }
}

static int64_t rule_spread_at_node(struct sched_cycle *c, const struct rule_spread_one *one,
                                   const struct sched_node *n)
{
    bool known = one->at_node != NULL && one->at_node[n->index] >= 0;
    return known ? one->at_node[n->index] : rule_spread_pods(c, one->want, n);
}

/* -1: the node does not count. */
static int64_t rule_spread_score(struct sched_cycle *c, struct sched_node *n)
{
    const struct rule_spread_state *s = c->scoring[SCHED_SPREAD];
    double score = 0;
    if (s->all_keys && !rule_spread_has_keys(s, n)) {
        return -1;
    }
    for (size_t i = 0; i < s->count; i++) {
        const struct rule_spread_one *one = &s->items[i];
        struct slice value = sched_node_label(n, one->want->topology_key);
        if (value.data == NULL) {
            continue;
        }
        int64_t count = one->per_host ? rule_spread_at_node(c, one, n)
                                      : sched_tally_get(one->counts, slice_of(NULL, 0), value);
        score += (double)count * one->weight + (double)(one->want->skew_max - 1);
    }
    return (int64_t)round(score);
}

static void rule_spread_normalize(struct sched_cycle *c, int64_t *scores, size_t count)
{
    int64_t min = INT64_MAX;
    int64_t max = 0;
    for (size_t i = 0; i < count; i++) {
        if (scores[i] >= 0) {
            min = scores[i] < min ? scores[i] : min;
            max = scores[i] > max ? scores[i] : max;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (scores[i] < 0) {
            scores[i] = 0;
        } else {
            scores[i] =
                max == 0 ? SCHED_SCORE_MAX : SCHED_SCORE_MAX * (max + min - scores[i]) / max;
        }
    }
}

const struct sched_rule sched_rule_spread = {
    .name = "PodTopologySpread",
    .events = SCHED_NODE_ADDED | SCHED_NODE_LABELS | SCHED_NODE_TAINTS | SCHED_POD_PLACED |
              SCHED_POD_LABELS | SCHED_POD_GONE,
    .hint = rule_spread_hint,
    .pre = rule_spread_pre,
    .pre_node = rule_spread_pre_node,
    .filter = rule_spread_filter,
    .moved = rule_spread_moved,
    .pre_score = rule_spread_pre_score,
    .pre_score_node = rule_spread_pre_score_node,
    .score = rule_spread_score,
    .normalize = rule_spread_normalize,
    .weight = 2,
};
