/* rules.h - what decides about nodes: one rule per plugin of kube-scheduler, in its order.
 *
 * A rule filters nodes, scores those that are left, or both. Its functions are pure: they look at
 * the cycle (pod, cluster, their own preparations in state) and a node, and nothing else. A rule is
 * one file rule_*.c with one `struct sched_rule`. */
#ifndef KVD_SCHEDULER_RULES_H
#define KVD_SCHEDULER_RULES_H

#include "plugins/scheduler/cluster.h"

struct sched_cycle;

/* The order of filters: a node is refused by the first that does not want it. */
enum sched_rule_id {
    SCHED_NODE_UNSCHEDULABLE,
    SCHED_NODE_NAME,
    SCHED_TAINTS,
    SCHED_NODE_AFFINITY,
    SCHED_PORTS,
    SCHED_FIT,
    SCHED_VOLUMES,
    SCHED_SPREAD,
    SCHED_POD_AFFINITY,
    SCHED_BALANCED,
    SCHED_IMAGES,
    SCHED_RULES
};

enum sched_code {
    SCHED_UNSEEN, /* not looked at */
    SCHED_FITS,
    SCHED_UNSCHEDULABLE, /* may change when pods leave */
    SCHED_UNRESOLVABLE,  /* does not change by preemption */
};

/* Why a node was refused. */
struct sched_verdict {
    uint8_t code; /* enum sched_code */
    uint8_t rule; /* enum sched_rule_id */
    uint16_t reason_count;
    const struct slice *reasons; /* constant, or in the cycle's arena */
};

/* What preparing says. */
enum sched_go {
    SCHED_GO,
    SCHED_SKIP,   /* this rule has nothing to say about this pod */
    SCHED_REJECT, /* no node can do; the cycle's `rejection` says why */
};

/* What may make a rule think again; kinds are bits. */
enum sched_event_kind {
    SCHED_NODE_ADDED = 1,
    SCHED_NODE_ALLOCATABLE = 2,
    SCHED_NODE_LABELS = 4,
    SCHED_NODE_TAINTS = 8, /* and unschedulable */
    SCHED_POD_PLACED = 16, /* a pod came onto a node */
    SCHED_POD_LABELS = 32, /* of a pod on a node */
    SCHED_POD_GONE = 64,   /* from a node */
    SCHED_POD_SMALLER = 128,
};
struct sched_event {
    unsigned kinds;
    const struct sched_cluster *cluster;
    const struct sched_node *node; /* of SCHED_NODE_*, as it is now */
    const struct sched_pod *pod;   /* of SCHED_POD_* */
};

#define SCHED_SCORE_MAX 100

struct sched_rule {
    const char *name; /* kube-scheduler's */
    unsigned events;  /* enum sched_event_kind: those that may make a refused pod fit */
    /* May it fit now that this happened? NULL: yes. */
    bool (*hint)(const struct sched_pod *pod, const struct sched_event *e);

    /* Before filtering; NULL = nothing to prepare. Then once per node, in any order. A failed
     * allocation sets c->failed. */
    enum sched_go (*pre)(struct sched_cycle *c);
    void (*pre_node)(struct sched_cycle *c, struct sched_node *n);
    /* NULL = filters nothing. Fills the verdict when it is not SCHED_FITS. */
    enum sched_code (*filter)(struct sched_cycle *c, struct sched_node *n, struct sched_verdict *v);
    /* For trying out: a pod was added to (1) or taken from (-1) a node. NULL = no matter. */
    void (*moved)(struct sched_cycle *c, struct sched_node *n, const struct sched_pod *p,
                  int times);

    /* Before scoring, the nodes that fit are known; then once per node of the cluster. */
    enum sched_go (*pre_score)(struct sched_cycle *c);
    void (*pre_score_node)(struct sched_cycle *c, struct sched_node *n);
    /* NULL = scores nothing. */
    int64_t (*score)(struct sched_cycle *c, struct sched_node *n);
    /* Brings scores to 0..100; NULL = they are. */
    void (*normalize)(struct sched_cycle *c, int64_t *scores, size_t count);
    int64_t weight; /* by default */
};

extern const struct sched_rule sched_rule_node_unschedulable, sched_rule_node_name,
    sched_rule_taints, sched_rule_node_affinity, sched_rule_ports, sched_rule_fit,
    sched_rule_volumes, sched_rule_spread, sched_rule_pod_affinity, sched_rule_balanced,
    sched_rule_images;
/* By enum sched_rule_id. */
extern const struct sched_rule *const sched_rules[SCHED_RULES];

/* A constant text as a slice, in initialisers. */
#define SCHED_TEXT(text)                                            \
    {                                                               \
        .data = (const uint8_t *)(text), .len = sizeof(text "") - 1 \
    }
/* Fills a verdict (rule is the cycle's business); returns code. */
static inline enum sched_code sched_refuse(struct sched_verdict *v, enum sched_code code,
                                           const struct slice *reasons, size_t count)
{
    v->code = (uint8_t)code;
    v->reasons = reasons;
    v->reason_count = (uint16_t)count;
    return code;
}
/* 100 * s / max, or reversed 100 - that; all 0 (reversed: 100) when max is 0. */
void sched_normalize(int64_t *scores, size_t count, bool reverse);

#endif
