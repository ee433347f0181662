/* rule_taints.c - TaintToleration: taints keep pods away that do not tolerate them, or would
 * rather. */
#include "plugins/scheduler/cycle.h"

static enum sched_code rule_taints_filter(struct sched_cycle *c, struct sched_node *n,
                                          struct sched_verdict *v)
{
    static const struct slice reason = SCHED_TEXT("node(s) had untolerated taint(s)");
    return sched_node_repels(n, c->pod) == NULL ? SCHED_FITS
                                                : sched_refuse(v, SCHED_UNRESOLVABLE, &reason, 1);
}

static bool rule_taints_hint(const struct sched_pod *pod, const struct sched_event *e)
{
    return sched_node_repels(e->node, pod) == NULL;
}

/* Taints that would rather not have the pod. */
static int64_t rule_taints_score(struct sched_cycle *c, struct sched_node *n)
{
    int64_t count = 0;
    for (size_t i = 0; i < n->taint_count; i++) {
        bool soft = slice_eq(n->taints[i].effect, slice_str("PreferNoSchedule"));
        count += soft && !sched_pod_tolerates(c->pod, &n->taints[i]) ? 1 : 0;
    }
    return count;
}

static void rule_taints_normalize(struct sched_cycle *c, int64_t *scores, size_t count)
{
    sched_normalize(scores, count, true);
}

const struct sched_rule sched_rule_taints = {
    .name = "TaintToleration",
    .events = SCHED_NODE_ADDED | SCHED_NODE_TAINTS,
    .hint = rule_taints_hint,
    .filter = rule_taints_filter,
    .score = rule_taints_score,
    .normalize = rule_taints_normalize,
    .weight = 3,
};
