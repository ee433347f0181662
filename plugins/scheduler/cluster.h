/* cluster.h - nodes and pods as scheduling sees them: what informers show, and what was decided but
 * does not show yet.
 *
 * A pod that was given a node is assumed to be there from that moment on, so that the next one is
 * not given the same room; the informer's news of the binding confirms it. Pods are owned by the
 * cluster. One thread. */
#ifndef KVD_SCHEDULER_CLUSTER_H
#define KVD_SCHEDULER_CLUSTER_H

#include "plugins/scheduler/node.h"

/* An answered binding that the informer passed over without showing it is forgotten after this. */
#define SCHED_ASSUMED_MS 30000u

struct sched_cluster {
    struct hashmap nodes; /* by name */
    struct hashmap pods;  /* by key */
    struct list assumed;
    /* The nodes there are, one of each zone in turn; see sched_cluster_nodes. */
    struct sched_node **list;
    size_t count, room;
    bool stale;
    uint64_t version;                /* of the list: nodes came or went */
    uint64_t orders;                 /* given to nodes so far */
    uint64_t serials;                /* given to pods so far */
    size_t image_nodes;              /* nodes that tell of images */
    size_t affinity_pods, anti_pods; /* on nodes */
    size_t nominations;
    /* Labels of a namespace, NULL = not known. May be NULL itself. */
    const struct value *(*space_labels)(void *data, struct slice space);
    void *data;
};

void sched_cluster_init(struct sched_cluster *c);
void sched_cluster_close(struct sched_cluster *c); /* pods too */

/* A node's object came or changed. *out is it (may be NULL). 0 or ERR_NOMEM: as it was. */
int sched_cluster_node_set(struct sched_cluster *c, const struct object *o,
                           struct sched_node **out);
void sched_cluster_node_gone(struct sched_cluster *c, struct slice name);
struct sched_node *sched_cluster_node(const struct sched_cluster *c, struct slice name);
/* Makes `list` and each node's `index`. 0 or ERR_NOMEM. */
int sched_cluster_nodes(struct sched_cluster *c);

/* A pod came or changed: p is the cluster's now, and takes the place of the one with its key: also
 * assumption, nomination and place in the queue go over to it, where its object does not say
 * otherwise. The old one is freed. 0, or ERR_NOMEM: nothing happened, p is the caller's. */
int sched_cluster_pod_set(struct sched_cluster *c, struct sched_pod *p);
/* Frees it; its place in the queue must be empty. */
void sched_cluster_pod_gone(struct sched_cluster *c, struct sched_pod *p);
struct sched_pod *sched_cluster_pod(const struct sched_cluster *c, struct slice key);

/* From now on the pod counts as being there. 0 or ERR_NOMEM. */
int sched_cluster_assume(struct sched_cluster *c, struct sched_pod *p, struct sched_node *n);
/* The binding was answered: it is this revision. */
void sched_cluster_bound(struct sched_pod *p, int64_t revision, uint64_t now_ms);
/* It is not there after all. */
void sched_cluster_forget(struct sched_cluster *c, struct sched_pod *p);
/* Forgets what was bound SCHED_ASSUMED_MS ago while the informer has gone past that revision
 * without showing it. Returns how many. */
size_t sched_cluster_expire(struct sched_cluster *c, uint64_t now_ms, int64_t informer_revision);

/* The pod is to come to this node once there is room; "" = to none. */
void sched_cluster_nominate(struct sched_cluster *c, struct sched_pod *p, struct slice node);

/* For trying out: takes a pod from its node and puts it back, without any other effect. */
void sched_cluster_lift(struct sched_cluster *c, struct sched_pod *p);
void sched_cluster_drop(struct sched_cluster *c, struct sched_pod *p, struct sched_node *n);

#endif
