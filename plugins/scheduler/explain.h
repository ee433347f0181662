/* explain.h - a cycle that was run for people, written down. Pure. */
#ifndef KVD_SCHEDULER_EXPLAIN_H
#define KVD_SCHEDULER_EXPLAIN_H

#include "base/buf.h"
#include "plugins/scheduler/cycle.h"
#include "plugins/scheduler/queue.h"

/* Larger clusters are shown in part: the nodes that fit best, then those that do not fit. */
#define SCHED_EXPLAIN_NODES_MAX 5000u

struct sched_explanation {
    const struct sched_cycle *cycle; /* through, with args.explain */
    const struct sched_pod *pod;
    const struct sched_node *node; /* it is on; NULL = none */
    const char *scheduler_name;    /* of this scheduler */
    uint64_t now_ms;
    bool leading;
};

/* For people, several lines. False when out of memory. */
bool sched_explain_text(const struct sched_explanation *e, struct buf *out);
/* One JSON object and a line end. */
bool sched_explain_json(const struct sched_explanation *e, struct buf *out);

#endif
