/* preempt.h - which pods have to leave so that a more important one fits.
 *
 * After a cycle found no node: on nodes where it could help, the less important pods are lifted in
 * thought, and put back one by one, the most important first, as long as the pod still fits; the
 * rest are the victims. Of all candidates the one that hurts least is chosen. Nothing is changed
 * between steps. PodDisruptionBudgets are not known yet, so no victim violates one. */
#ifndef KVD_SCHEDULER_PREEMPT_H
#define KVD_SCHEDULER_PREEMPT_H

#include "plugins/scheduler/message.h"

struct sched_victim {
    struct slice key, uid; /* in the preemption's arena: the pod may be gone when it is used */
    int32_t priority;
    int64_t started_s; /* INT64_MAX = not yet */
};

struct sched_candidate {
    struct sched_node *node;
    struct sched_victim *victims; /* most important first */
    size_t count;
};

struct sched_preemption {
    struct sched_cycle *cycle;
    struct arena arena;
    size_t *nodes; /* indexes into the cluster's list where it could help */
    size_t node_count, offset, at;
    size_t wanted; /* candidates that are enough */
    struct sched_candidate *candidates;
    size_t candidate_count;
    struct sched_reasons reasons;
    size_t reasoned;                      /* nodes that have told why not */
    bool failed;                          /* out of memory */
    const struct sched_candidate *chosen; /* NULL = none */
};

/* Why a pod may not make others leave, as the message has it; NULL = it may. */
const char *sched_preempt_refusal(const struct sched_cycle *c);

void sched_preempt_init(struct sched_preemption *p);
void sched_preempt_close(struct sched_preemption *p);
/* For a cycle that ended with SCHED_NO_NODE or SCHED_REJECTED; it must live on. dice: any number.
 */
void sched_preempt_begin(struct sched_preemption *p, struct sched_cycle *c, uint64_t dice);
/* True when through: chosen, or the message tells why not. The cluster's list must be the same all
 * the time (cycle->version). */
bool sched_preempt_step(struct sched_preemption *p, int64_t *budget);
/* What stands behind "no new claims to deallocate, preemption: " when nothing was chosen. */
void sched_preempt_message(const struct sched_preemption *p, struct buf *out);

/* Which of two is the better choice? Pure, by kube-scheduler's order. */
bool sched_candidate_better(const struct sched_candidate *a, const struct sched_candidate *b);

#endif
