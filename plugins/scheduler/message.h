/* message.h - why a pod fits nowhere, in kube-scheduler's words. Pure. */
#ifndef KVD_SCHEDULER_MESSAGE_H
#define KVD_SCHEDULER_MESSAGE_H

#include "base/buf.h"
#include "plugins/scheduler/cycle.h"

/* Reasons and how many nodes have each. */
struct sched_reasons {
    struct sched_reason {
        struct slice text;
        size_t nodes;
    } * items;
    size_t count, room;
    bool failed; /* out of memory: some are missing */
};

void sched_reasons_close(struct sched_reasons *r);
/* The text is kept, not copied. */
void sched_reasons_add(struct sched_reasons *r, struct slice text, size_t nodes);
/* "0/3 nodes are available: 1 Insufficient memory, 2 Insufficient cpu." */
void sched_reasons_print(const struct sched_reasons *r, size_t nodes, struct buf *out);

/* The message of a cycle that ended without a node; post is what preemption has to say, "" =
 * nothing: "0/3 nodes are available: 3 Insufficient cpu. no new claims to deallocate, preemption:
 * ..." */
void sched_message(const struct sched_cycle *c, struct slice post, struct buf *out);

#endif
