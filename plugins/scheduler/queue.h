/* queue.h - pods that wait for a node.
 *
 *   active         to be tried: highest priority first, then the longest waiting
 *   backoff        something happened that may help, but it failed a moment ago; tried when active
 * is empty errors         failed for a reason that is not the pod's: tried when the backoff is over
 *   unschedulable  no node fits; leaves when an event may help (hints of the rules), or after 5 min
 *   gated          has scheduling gates
 *   flying         given out by sched_queue_pop, until sched_queue_failed or sched_queue_remove
 *
 * Times are milliseconds of the caller's clock. One thread. */
#ifndef KVD_SCHEDULER_QUEUE_H
#define KVD_SCHEDULER_QUEUE_H

#include "base/heap.h"
#include "plugins/scheduler/rules.h"

#define SCHED_UNSCHEDULABLE_MS (5u * 60u * 1000u) /* then it is tried without any event */

enum sched_place {
    SCHED_FLYING,
    SCHED_ACTIVE,
    SCHED_BACKOFF,
    SCHED_ERRORS,
    SCHED_PARKED, /* unschedulable */
    SCHED_GATED,
    SCHED_PLACES
};

/* A pod in the queue: reached from the pod (waiting) and back. */
struct sched_waiting {
    struct sched_pod *pod;
    int32_t priority; /* the pod's, when it took its place */
    enum sched_place place;
    struct heap_node in_heap;
    struct list in_list; /* parked, gated, flying */
    struct list in_all;
    uint32_t turn;       /* who came first */
    uint32_t attempts;   /* tried so often */
    uint32_t failures;   /* no node fitted so often, */
    uint32_t errors;     /* other failures in a row */
    uint64_t since_ms;   /* of the last failure, or of coming */
    uint64_t added_ms;   /* came into the queue */
    unsigned refused_by; /* rules: bits */
    unsigned seen;       /* kinds of events while it was flying */
    bool changed;        /* while it was flying */
};

struct sched_queue {
    struct heap active, backoff, errors;
    struct list parked, gated, flying, all;
    size_t len;
    size_t count[SCHED_PLACES];
    uint32_t turns;
    uint64_t backoff_min_ms, backoff_max_ms;
};

void sched_queue_init(struct sched_queue *q, uint64_t backoff_min_ms, uint64_t backoff_max_ms);
void sched_queue_close(struct sched_queue *q); /* pods keep living, without a place */
/* Adds a pod that has none, to active or gated. 0 or ERR_NOMEM. */
int sched_queue_add(struct sched_queue *q, struct sched_pod *p, uint64_t now_ms);
/* The pod has another state (the cluster has set p->waiting and its pod): material = not only its
 * status. */
void sched_queue_changed(struct sched_queue *q, struct sched_pod *p, bool material,
                         uint64_t now_ms);
/* The next one to try; NULL = none now. It flies. */
struct sched_waiting *sched_queue_pop(struct sched_queue *q, uint64_t now_ms);
/* It did not work out. refused_by: bits of rules. error: not for want of a node. */
void sched_queue_failed(struct sched_queue *q, struct sched_waiting *w, unsigned refused_by,
                        bool error, uint64_t now_ms);
/* Gives a flying one back as if it had not been taken. */
void sched_queue_return(struct sched_queue *q, struct sched_waiting *w);
/* Takes the pod out, from wherever it is. NULL is fine. */
void sched_queue_remove(struct sched_queue *q, struct sched_waiting *w);
/* Something happened: moves what it may help. Returns how many. */
size_t sched_queue_event(struct sched_queue *q, const struct sched_event *e, uint64_t now_ms);
/* Makes a parked pod be tried again. */
void sched_queue_activate(struct sched_queue *q, struct sched_waiting *w, uint64_t now_ms);
/* What time alone moves. */
void sched_queue_flush(struct sched_queue *q, uint64_t now_ms);
/* When sched_queue_flush has something to do next; UINT64_MAX = never. */
uint64_t sched_queue_next_ms(const struct sched_queue *q);
/* Is there one to try? */
static inline bool sched_queue_ready(const struct sched_queue *q)
{
    return q->active.len + q->backoff.len > 0;
}
/* How long it has to wait after its last failure. */
uint64_t sched_queue_backoff_ms(const struct sched_queue *q, const struct sched_waiting *w);

#endif
