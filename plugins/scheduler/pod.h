/* pod.h - what scheduling needs to know of a pod, in a few hundred bytes.
 *
 * Made of the object when an informer shows it, never changed but for where it is (node.h,
 * cluster.h): another state of the object is another sched_pod. */
#ifndef KVD_SCHEDULER_POD_H
#define KVD_SCHEDULER_POD_H

#include "base/hashmap.h"
#include "base/list.h"
#include "plugins/scheduler/amounts.h"
#include "plugins/scheduler/terms.h"

struct sched_node;
struct sched_waiting; /* queue.h */

struct sched_port {
    struct slice address;  /* "" = all */
    struct slice protocol; /* "TCP" */
    int32_t port;
};

struct sched_toleration {
    struct slice key;    /* "" with exists: all */
    struct slice value;  /* unless exists */
    struct slice effect; /* "" = all */
    bool exists;
};

struct sched_pod {
    struct hash_node by_key; /* cluster.h */
    struct slice key;        /* namespace/name */
    struct slice space, name, uid;
    struct slice scheduler;
    struct slice node_name;              /* spec.nodeName */
    struct slice nominated;              /* status.nominatedNodeName */
    struct slice owner_kind, owner_name; /* of the controller; "" = none */
    int32_t priority;
    bool never_preempts;
    bool gated;        /* has scheduling gates */
    bool deleted;      /* has a deletionTimestamp */
    bool ended;        /* Succeeded or Failed: takes nothing any more */
    bool preempted;    /* ending because it was preempted */
    int64_t started_s; /* INT64_MAX = not yet */
    int64_t generation;
    struct sched_amounts request;
    int64_t score_cpu_m, score_memory; /* with defaults for what is not requested */
    struct value labels;               /* VALUE_MAP */
    struct sched_port *ports;
    size_t port_count;
    struct sched_toleration *tolerations;
    size_t toleration_count;
    struct slice *images; /* of all containers, with :tag */
    size_t image_count;
    struct slice claim;        /* the first PersistentVolumeClaim it wants; "" = none */
    bool claim_made;           /* that claim is to be made for it: an ephemeral volume */
    struct sched_terms *terms; /* NULL = none */
    struct arena arena;        /* of terms and of extra resources */

    /* Where it is; cluster.h sets these. */
    uint64_t serial;            /* of this state of it, among all that came */
    struct sched_node *on;      /* assigned or assumed; NULL = nowhere */
    size_t at;                  /* its place in on->pods */
    bool assumed;               /* put there by us, the informer does not show it yet */
    int64_t assumed_revision;   /* of the binding; 0 = not answered yet */
    uint64_t assumed_until_ms;  /* see sched_cluster_expire; 0 = for ever */
    struct list by_assumption;  /* of the cluster's list */
    struct list by_nomination;  /* of the nominated node's list; self-linked = none */
    struct sched_node *nominee; /* that node */
    struct sched_waiting *waiting;
};

/* NULL = out of memory. */
struct sched_pod *sched_pod_make(const struct object *o);
void sched_pod_free(struct sched_pod *p); /* NULL is fine; it must be nowhere */

struct sched_taint {
    struct slice key, value, effect;
};
bool sched_tolerates(const struct sched_toleration *t, const struct sched_taint *taint);
/* Does any of the pod's tolerations? */
bool sched_pod_tolerates(const struct sched_pod *p, const struct sched_taint *taint);
/* Clash: the same protocol and port at the same address, or one of them at all addresses. */
bool sched_ports_clash(const struct sched_port *a, const struct sched_port *b);
/* Names without a tag mean :latest. Appends the name to out. */
void sched_image_name(struct slice image, struct buf *out);
/* Has it terms of pod affinity of that sort? */
bool sched_pod_has_affinity(const struct sched_pod *p);
bool sched_pod_has_anti_affinity(const struct sched_pod *p); /* required */

#endif
