/* rule_node.c - NodeUnschedulable and NodeName: the node is closed, or another one is asked for. */
#include "plugins/scheduler/cycle.h"

static const struct sched_taint unschedulable = {
    .key = SCHED_TEXT("node.kubernetes.io/unschedulable"),
    .effect = SCHED_TEXT("NoSchedule"),
};

static bool rule_node_open(const struct sched_node *n, const struct sched_pod *p)
{
    return !n->unschedulable || sched_pod_tolerates(p, &unschedulable);
}

static enum sched_code rule_unschedulable_filter(struct sched_cycle *c, struct sched_node *n,
                                                 struct sched_verdict *v)
{
    static const struct slice reason = SCHED_TEXT("node(s) were unschedulable");
    return rule_node_open(n, c->pod) ? SCHED_FITS : sched_refuse(v, SCHED_UNRESOLVABLE, &reason, 1);
}

static bool rule_unschedulable_hint(const struct sched_pod *pod, const struct sched_event *e)
{
    return rule_node_open(e->node, pod);
}

const struct sched_rule sched_rule_node_unschedulable = {
    .name = "NodeUnschedulable",
    .events = SCHED_NODE_ADDED | SCHED_NODE_TAINTS,
    .hint = rule_unschedulable_hint,
    .filter = rule_unschedulable_filter,
};

/* A pod that names its node is not scheduled as a rule; explanations ask all the same. */
static enum sched_code rule_name_filter(struct sched_cycle *c, struct sched_node *n,
                                        struct sched_verdict *v)
{
    static const struct slice reason = SCHED_TEXT("node(s) didn't match the requested node name");
    if (c->args.explain || c->pod->node_name.len == 0 || slice_eq(c->pod->node_name, n->name)) {
        return SCHED_FITS;
    }
    return sched_refuse(v, SCHED_UNRESOLVABLE, &reason, 1);
}

static bool rule_name_hint(const struct sched_pod *pod, const struct sched_event *e)
{
    return slice_eq(pod->node_name, e->node->name);
}

const struct sched_rule sched_rule_node_name = {
    .name = "NodeName",
    .events = SCHED_NODE_ADDED,
    .hint = rule_name_hint,
    .filter = rule_name_filter,
};
