/* rule_pod_affinity.c - InterPodAffinity: pods that must, must not, would like to be near others.
 */
#include "plugins/scheduler/cycle.h"

struct rule_near_state {
    struct sched_tally *against; /* existing pods that must not be near this one */
    struct sched_tally *near;    /* pods that all terms of its affinity mean */
    struct sched_tally *far;     /* pods that a term of its anti-affinity means */
    const struct value *space_labels;
};

static const struct value *rule_near_labels(const struct sched_cluster *cluster, struct slice space)
{
    return cluster->space_labels == NULL ? NULL : cluster->space_labels(cluster->data, space);
}

static bool rule_near_means(const struct sched_cluster *cluster, const struct sched_pod_term *t,
                            const struct sched_pod *p)
{
    return sched_pod_term_matches(t, p->space, rule_near_labels(cluster, p->space), &p->labels);
}

static bool rule_near_all(const struct sched_cluster *cluster, const struct sched_pod_terms *terms,
                          const struct sched_pod *p)
{
    for (size_t i = 0; i < terms->count; i++) {
        if (!rule_near_means(cluster, &terms->items[i], p)) {
            return false;
        }
    }
    return terms->count > 0;
}

/* ---- filter ------------------------------------------------------------------------------------
 */

static enum sched_go rule_near_pre(struct sched_cycle *c)
{
    const struct sched_terms *t = c->pod->terms;
    bool own = t != NULL && t->near_required.count + t->far_required.count > 0;
    /* Nominated pods may bring terms as well. */
    if (!own && c->cluster->anti_pods == 0 && c->cluster->nominations == 0) {
        return SCHED_SKIP;
    }
    struct rule_near_state *s = sched_cycle_alloc(c, sizeof *s);
    if (s != NULL) {
        s->against = sched_cycle_tally(c);
        s->near = sched_cycle_tally(c);
        s->far = sched_cycle_tally(c);
        s->space_labels = rule_near_labels(c->cluster, c->pod->space);
    }
    c->state[SCHED_POD_AFFINITY] = s;
    return SCHED_GO;
}

static void rule_near_count(struct sched_cycle *c, struct sched_tally *tally,
                            const struct sched_node *n, struct slice key, int64_t times)
{
    struct slice value = sched_node_label(n, key);
    if (value.data != NULL) {
        sched_cycle_count(c, tally, key, value, times);
    }
}

/* One pod on a node, with all it means to the three tables. */
static void rule_near_moved(struct sched_cycle *c, struct sched_node *n, const struct sched_pod *p,
                            int times)
{
    struct rule_near_state *s = c->state[SCHED_POD_AFFINITY];
    const struct sched_terms *own = c->pod->terms;
    for (size_t i = 0; p->terms != NULL && i < p->terms->far_required.count; i++) {
        const struct sched_pod_term *t = &p->terms->far_required.items[i];
        if (sched_pod_term_matches(t, c->pod->space, s->space_labels, &c->pod->labels)) {
            rule_near_count(c, s->against, n, t->topology_key, times);
        }
    }
    if (own != NULL && rule_near_all(c->cluster, &own->near_required, p)) {
        for (size_t i = 0; i < own->near_required.count; i++) {
            rule_near_count(c, s->near, n, own->near_required.items[i].topology_key, times);
        }
    }
    for (size_t i = 0; own != NULL && i < own->far_required.count; i++) {
        if (rule_near_means(c->cluster, &own->far_required.items[i], p)) {
            rule_near_count(c, s->far, n, own->far_required.items[i].topology_key, times);
        }
    }
}

static void rule_near_pre_node(struct sched_cycle *c, struct sched_node *n)
{
    const struct sched_terms *t = c->pod->terms;
    bool own = t != NULL && t->near_required.count + t->far_required.count > 0;
    if (!own && n->anti_pods == 0) {
        return;
    }
    for (size_t i = 0; i < n->pod_count; i++) {
        if (own || sched_pod_has_anti_affinity(n->pods[i])) {
            rule_near_moved(c, n, n->pods[i], 1);
        }
    }
}

static bool rule_near_satisfied(struct sched_cycle *c, const struct sched_node *n)
{
    const struct rule_near_state *s = c->state[SCHED_POD_AFFINITY];
    const struct sched_pod_terms *terms = &c->pod->terms->near_required;
    bool exist = true;
    for (size_t i = 0; i < terms->count; i++) {
        struct slice key = terms->items[i].topology_key;
        struct slice value = sched_node_label(n, key);
        if (value.data == NULL) {
            return false;
        }
        exist = exist && sched_tally_get(s->near, key, value) > 0;
    }
    /* The first of a group that wants to be together may go anywhere. */
    return exist || (s->near->nonzero == 0 && rule_near_all(c->cluster, terms, c->pod));
}

static bool rule_near_free(const struct sched_tally *tally, const struct sched_node *n,
                           struct slice key)
{
    struct slice value = sched_node_label(n, key);
    return value.data == NULL || sched_tally_get(tally, key, value) <= 0;
}

static enum sched_code rule_near_filter(struct sched_cycle *c, struct sched_node *n,
                                        struct sched_verdict *v)
{
    static const struct slice near = SCHED_TEXT("node(s) didn't match pod affinity rules");
    static const struct slice far = SCHED_TEXT("node(s) didn't match pod anti-affinity rules");
    static const struct slice against =
        SCHED_TEXT("node(s) didn't satisfy existing pods anti-affinity rules");
    const struct rule_near_state *s = c->state[SCHED_POD_AFFINITY];
    const struct sched_terms *t = c->pod->terms;
    if (t != NULL && t->near_required.count > 0 && !rule_near_satisfied(c, n)) {
        return sched_refuse(v, SCHED_UNRESOLVABLE, &near, 1);
    }
    for (size_t i = 0; t != NULL && i < t->far_required.count && s->far->nonzero > 0; i++) {
        if (!rule_near_free(s->far, n, t->far_required.items[i].topology_key)) {
            return sched_refuse(v, SCHED_UNSCHEDULABLE, &far, 1);
        }
    }
    for (size_t i = 0; i < value_len(&n->labels) && s->against->nonzero > 0; i++) {
        if (!rule_near_free(s->against, n, value_map_key(&n->labels, i))) {
            return sched_refuse(v, SCHED_UNSCHEDULABLE, &against, 1);
        }
    }
    return SCHED_FITS;
}

static bool rule_near_any(const struct sched_cluster *cluster, const struct sched_pod_terms *terms,
                          const struct sched_pod *p)
{
    for (size_t i = 0; i < terms->count; i++) {
        if (rule_near_means(cluster, &terms->items[i], p)) {
            return true;
        }
    }
    return false;
}

static bool rule_near_hint(const struct sched_pod *pod, const struct sched_event *e)
{
    const struct sched_terms *t = pod->terms;
    if (e->pod == NULL) {
        return true;
    }
    if (t != NULL && rule_near_any(e->cluster, &t->near_required, e->pod)) {
        return true; /* came, or was the one in the way of being the first */
    }
    if (e->kinds & SCHED_POD_LABELS) {
        return t != NULL;
    }
    if (!(e->kinds & SCHED_POD_GONE)) {
        return false;
    }
    return (t != NULL && rule_near_any(e->cluster, &t->far_required, e->pod)) ||
           (e->pod->terms != NULL && rule_near_any(e->cluster, &e->pod->terms->far_required, pod));
}

/* ---- score -------------------------------------------------------------------------------------
 */

static bool rule_near_likes(const struct sched_terms *t)
{
    return t != NULL && t->near_preferred.count + t->far_preferred.count > 0;
}

static enum sched_go rule_near_pre_score(struct sched_cycle *c)
{
    if (!rule_near_likes(c->pod->terms) && c->cluster->affinity_pods == 0) {
        return SCHED_SKIP;
    }
    c->scoring[SCHED_POD_AFFINITY] = sched_cycle_tally(c);
    return SCHED_GO;
}

/* Adds times * weight of each of a's terms that mean b, at the node b or a is on. */
static void rule_near_weigh(struct sched_cycle *c, const struct sched_node *n,
                            const struct sched_pod_terms *terms, const struct sched_pod *b,
                            int64_t times)
{
    for (size_t i = 0; i < terms->count; i++) {
        const struct sched_pod_term *t = &terms->items[i];
        int64_t weight = t->weight == 0 ? 1 : t->weight; /* required ones have none */
        if (times != 0 && rule_near_means(c->cluster, t, b)) {
            rule_near_count(c, c->scoring[SCHED_POD_AFFINITY], n, t->topology_key, times * weight);
        }
    }
}

static void rule_near_pre_score_node(struct sched_cycle *c, struct sched_node *n)
{
    const struct sched_terms *own = c->pod->terms;
    bool likes = rule_near_likes(own);
    for (size_t i = 0; i < n->pod_count && (likes || n->affinity_pods > 0); i++) {
        const struct sched_pod *p = n->pods[i];
        if (likes) {
            rule_near_weigh(c, n, &own->near_preferred, p, 1);
            rule_near_weigh(c, n, &own->far_preferred, p, -1);
        }
        if (p->terms != NULL) {
            rule_near_weigh(c, n, &p->terms->near_required, c->pod, c->args.weights->hard_affinity);
            rule_near_weigh(c, n, &p->terms->near_preferred, c->pod, 1);
            rule_near_weigh(c, n, &p->terms->far_preferred, c->pod, -1);
        }
    }
}

static int64_t rule_near_score(struct sched_cycle *c, struct sched_node *n)
{
    const struct sched_tally *tally = c->scoring[SCHED_POD_AFFINITY];
    int64_t sum = 0;
    for (size_t i = 0; i < value_len(&n->labels) && tally->map.len > 0; i++) {
        sum += sched_tally_get(tally, value_map_key(&n->labels, i),
                               value_slice(value_map_at(&n->labels, i)));
    }
    return sum;
}

static void rule_near_normalize(struct sched_cycle *c, int64_t *scores, size_t count)
{
    int64_t min = INT64_MAX;
    int64_t max = INT64_MIN;
    for (size_t i = 0; i < count; i++) {
        min = scores[i] < min ? scores[i] : min;
        max = scores[i] > max ? scores[i] : max;
    }
    for (size_t i = 0; i < count; i++) {
        scores[i] =
            max == min
                ? 0
                : (int64_t)(SCHED_SCORE_MAX * ((double)(scores[i] - min) / (double)(max - min)));
    }
}

const struct sched_rule sched_rule_pod_affinity = {
    .name = "InterPodAffinity",
    .events =
        SCHED_NODE_ADDED | SCHED_NODE_LABELS | SCHED_POD_PLACED | SCHED_POD_LABELS | SCHED_POD_GONE,
    .hint = rule_near_hint,
    .pre = rule_near_pre,
    .pre_node = rule_near_pre_node,
    .filter = rule_near_filter,
    .moved = rule_near_moved,
    .pre_score = rule_near_pre_score,
    .pre_score_node = rule_near_pre_score_node,
    .score = rule_near_score,
    .normalize = rule_near_normalize,
    .weight = 2,
};
