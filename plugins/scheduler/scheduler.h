/* scheduler.h - the plugin's own state, one per process, and what its files do for each other.
 *
 *   news.c      what informers show goes into the cluster's books and the queue
 *   turn.c      pods are taken from the queue and given a node, a bounded amount of work at a time
 *   binding.c   the decision is written, while the next pod is looked at
 *   outcome.c   no node: condition, event, preemption
 *   defaults    spreading.c: what a pod without constraints is spread with
 *   explain.c   the answer to `kvctl explain-schedule`
 *
 * Books and informers live as long as the instance, on every member; queue and decisions live for a
 * term. All callbacks are serial. */
#ifndef KVD_SCHEDULER_SCHEDULER_H
#define KVD_SCHEDULER_SCHEDULER_H

#include "plugins/client/alarm.h"
#include "plugins/client/informer.h"
#include "plugins/client/recorder.h"
#include "plugins/scheduler/preempt.h"
#include "plugins/scheduler/queue.h"

/* The options, as the table in scheduler.c fills them. */
struct scheduler_conf {
    const char *scheduler_name;
    int64_t backoff_min_ms, backoff_max_ms;
    struct sched_weights weights;
};

enum scheduler_watched {
    SCHED_WATCH_NAMESPACES,
    SCHED_WATCH_NODES,
    SCHED_WATCH_PODS,
    SCHED_WATCH_SERVICES,
    SCHED_WATCH_REPLICA_SETS,
    SCHED_WATCH_REPLICATION_CONTROLLERS,
    SCHED_WATCHES
};

enum scheduler_metric {
    SCHED_METRIC_SCHEDULED,     /* attempts by result */
    SCHED_METRIC_UNSCHEDULABLE, /* .. */
    SCHED_METRIC_ERROR,         /* .. */
    SCHED_METRIC_VICTIMS,
    SCHED_METRIC_WAIT, /* histogram: from coming into the queue to being bound */
    SCHED_METRIC_ACTIVE,
    SCHED_METRIC_BACKOFF,
    SCHED_METRIC_PARKED,
    SCHED_METRIC_GATED,
    SCHED_METRICS
};

/* Decisions that are being written; more wait. Events of bindings must not be dropped by the
 * recorder (RECORDER_PENDING_MAX). */
#define SCHED_BINDINGS_MAX 128u

struct scheduler {
    const struct kvp_host *host;
    struct kvp_ctx *ctx; /* of the instance */
    const struct scheduler_conf *conf;
    uint32_t metrics[SCHED_METRICS];
    struct informer *informers[SCHED_WATCHES];
    struct sched_cluster cluster;
    bool damaged;        /* news got lost for want of memory: they are read again */
    struct alarm repair; /* .. */

    /* The term. */
    bool leading;
    struct client term;
    struct recorder *recorder;
    struct alarm alarm; /* runs the next turn */
    struct sched_queue queue;
    size_t bindings; /* under way */
    size_t start;    /* where the search for nodes goes on */
    /* The pod in hand: NULL, or flying. */
    struct sched_waiting *current;
    bool begun;      /* its cycle has begun, and nothing has changed under it */
    bool preempting; /* the cycle is over, victims are looked for */
    struct sched_cycle cycle;
    struct sched_preemption preemption;
    struct arena spread_arena; /* of the selector in the cycle */
    struct label_selector spread_selector;
};

static inline uint64_t scheduler_now_ms(const struct scheduler *s)
{
    return s->host->now_ms(s->ctx);
}
static inline void scheduler_count(const struct scheduler *s, enum scheduler_metric m, int64_t n)
{
    s->host->metric_add(s->ctx, s->metrics[m], n);
}

/* news.c */
/* Opens the informers. 0 or a reason; then none is open. */
int scheduler_watch(struct scheduler *s);
void scheduler_unwatch(struct scheduler *s);
bool scheduler_synced(const struct scheduler *s);
/* Queues all pods that wait, when a term begins. */
void scheduler_queue_all(struct scheduler *s);
/* Tells the queue, and lets a turn come if that moved something. */
void scheduler_event(struct scheduler *s, unsigned kinds, const struct sched_node *node,
                     const struct sched_pod *pod);
/* Is the pod ours to schedule, and without a node? */
bool scheduler_is_pending(const struct scheduler *s, const struct sched_pod *p);

/* turn.c */
/* A turn soon. */
void scheduler_wake(struct scheduler *s);
void scheduler_turn(void *data);

/* spreading.c */
/* What services and the owner of a pod select, as kube-scheduler's default spreading has it; NULL =
 * nothing, or out of memory. Lives until the arena is cleared. */
const struct label_selector *scheduler_spreading(struct scheduler *s, const struct sched_pod *p,
                                                 struct arena *arena, struct label_selector *out);

/* binding.c */
/* Assumes and writes. The pod stays flying until the answer. */
void scheduler_bind(struct scheduler *s, struct sched_waiting *w, struct sched_node *n);

/* outcome.c */
/* The cycle found no node. post: what preemption has to say. chosen: who has to leave, NULL =
 * nobody. hopeless: preemption cannot help, so a nomination that the pod has is void. */
void scheduler_refuse(struct scheduler *s, struct sched_waiting *w, struct slice post,
                      const struct sched_candidate *chosen, bool hopeless);
/* Something else failed; why is for people, "" = nobody needs to know. */
void scheduler_fail(struct scheduler *s, struct sched_waiting *w, const char *why);
/* A pod that is being deleted is not scheduled. */
void scheduler_skip(struct scheduler *s, struct sched_waiting *w);
/* The object of a pod; NULL = gone. */
const struct object *scheduler_object(struct scheduler *s, const struct sched_pod *p);

/* explain.c */
int scheduler_explain_open(struct scheduler *s, struct kvp_errmsg *e);

#endif
