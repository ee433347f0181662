/* rule_node_affinity.c - NodeAffinity: the node selector, and what node affinity requires or likes.
 */
#include "plugins/scheduler/cycle.h"

/* Names that a term's requirement of metadata.name allows; NULL when it has no such. */
static const struct label_requirement *rule_named(const struct sched_node_term *t)
{
    for (size_t i = 0; i < t->fields.count; i++) {
        if (t->fields.items[i].op == LABEL_IN &&
            slice_eq(t->fields.items[i].key, slice_str("metadata.name"))) {
            return &t->fields.items[i];
        }
    }
    return NULL;
}

/* Does the term's every requirement of metadata.name allow this name? */
static bool rule_name_allowed(const struct sched_node_term *t, struct slice name)
{
    struct value pair[2] = {value_text(slice_str("metadata.name")), value_text(name)};
    struct value fields = {.kind = VALUE_MAP, .len = 1, .items = pair};
    return label_selector_matches(&t->fields, &fields);
}

/* When every required term names nodes, only those come into question. */
static enum sched_go rule_node_affinity_pre(struct sched_cycle *c)
{
    const struct sched_terms *terms = c->pod->terms;
    if (terms == NULL || (!terms->node_required.given && value_len(&terms->node_selector) == 0)) {
        return SCHED_SKIP;
    }
    size_t room = 0;
    for (size_t i = 0; i < terms->node_required.count; i++) {
        const struct label_requirement *q = rule_named(&terms->node_required.items[i]);
        if (q == NULL) {
            return SCHED_GO;
        }
        room += q->count;
    }
    struct slice *names = sched_cycle_alloc(c, room * sizeof *names);
    if (names == NULL || terms->node_required.count == 0) {
        return SCHED_GO;
    }
    for (size_t i = 0; i < terms->node_required.count; i++) {
        const struct label_requirement *q = rule_named(&terms->node_required.items[i]);
        for (size_t k = 0; k < q->count; k++) {
            if (rule_name_allowed(&terms->node_required.items[i], q->values[k])) {
                names[c->only_count++] = q->values[k];
            }
        }
    }
    c->only = names;
    c->narrowed = true;
    c->rejection = slice_str("pod affinity terms conflict");
    return c->only_count == 0 ? SCHED_REJECT : SCHED_GO;
}

static enum sched_code rule_node_affinity_filter(struct sched_cycle *c, struct sched_node *n,
                                                 struct sched_verdict *v)
{
    static const struct slice reason =
        SCHED_TEXT("node(s) didn't match Pod's node affinity/selector");
    return sched_terms_match_node(c->pod->terms, &n->labels, n->name)
               ? SCHED_FITS
               : sched_refuse(v, SCHED_UNRESOLVABLE, &reason, 1);
}

static bool rule_node_affinity_hint(const struct sched_pod *pod, const struct sched_event *e)
{
    return sched_terms_match_node(pod->terms, &e->node->labels, e->node->name);
}

static enum sched_go rule_node_affinity_pre_score(struct sched_cycle *c)
{
    const struct sched_terms *t = c->pod->terms;
    return t == NULL || t->node_preferred.count == 0 ? SCHED_SKIP : SCHED_GO;
}

static int64_t rule_node_affinity_score(struct sched_cycle *c, struct sched_node *n)
{
    const struct sched_node_terms *preferred = &c->pod->terms->node_preferred;
    int64_t sum = 0;
    for (size_t i = 0; i < preferred->count; i++) {
        bool matches = sched_node_term_matches(&preferred->items[i], &n->labels, n->name);
        sum += matches ? preferred->items[i].weight : 0;
    }
    return sum;
}

static void rule_node_affinity_normalize(struct sched_cycle *c, int64_t *scores, size_t count)
{
    sched_normalize(scores, count, false);
}

const struct sched_rule sched_rule_node_affinity = {
    .name = "NodeAffinity",
    .events = SCHED_NODE_ADDED | SCHED_NODE_LABELS,
    .hint = rule_node_affinity_hint,
    .pre = rule_node_affinity_pre,
    .filter = rule_node_affinity_filter,
    .pre_score = rule_node_affinity_pre_score,
    .score = rule_node_affinity_score,
    .normalize = rule_node_affinity_normalize,
    .weight = 2,
};
