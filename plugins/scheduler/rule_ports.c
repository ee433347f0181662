/* rule_ports.c - NodePorts: ports of the host that the pod wants must be free. */
#include "plugins/scheduler/cycle.h"

static enum sched_go rule_ports_pre(struct sched_cycle *c)
{
    return c->pod->port_count == 0 ? SCHED_SKIP : SCHED_GO;
}

static bool rule_ports_meet(const struct sched_pod *a, const struct sched_pod *b)
{
    for (size_t i = 0; i < a->port_count; i++) {
        for (size_t k = 0; k < b->port_count; k++) {
            if (sched_ports_clash(&a->ports[i], &b->ports[k])) {
                return true;
            }
        }
    }
    return false;
}

static enum sched_code rule_ports_filter(struct sched_cycle *c, struct sched_node *n,
                                         struct sched_verdict *v)
{
    static const struct slice reason =
        SCHED_TEXT("node(s) didn't have free ports for the requested pod ports");
    for (size_t i = 0; i < n->pod_count && n->port_pods > 0; i++) {
        if (rule_ports_meet(c->pod, n->pods[i])) {
            return sched_refuse(v, SCHED_UNSCHEDULABLE, &reason, 1);
        }
    }
    return SCHED_FITS;
}

static bool rule_ports_hint(const struct sched_pod *pod, const struct sched_event *e)
{
    return e->pod == NULL || rule_ports_meet(pod, e->pod);
}

const struct sched_rule sched_rule_ports = {
    .name = "NodePorts",
    .events = SCHED_NODE_ADDED | SCHED_POD_GONE,
    .hint = rule_ports_hint,
    .pre = rule_ports_pre,
    .filter = rule_ports_filter,
};
