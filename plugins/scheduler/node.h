/* node.h - what scheduling needs to know of a node, and what its pods take of it.
 *
 * A sched_node stays where it is as long as the node or a pod on it is known; its facts are set
 * anew when the object changes. Sums are kept as pods come and go. */
#ifndef KVD_SCHEDULER_NODE_H
#define KVD_SCHEDULER_NODE_H

#include "plugins/scheduler/pod.h"

struct sched_image {
    struct slice name; /* with :tag */
    int64_t bytes;
};

struct sched_node {
    struct hash_node by_name; /* cluster.h */
    struct slice name;        /* in the block of the node itself */
    bool present;             /* the object is known; else only pods that name it are */
    uint64_t order;           /* when it came, among all */
    size_t index;             /* in the cluster's list, when present */
    /* The facts, in `arena`. */
    struct arena arena;
    struct value labels; /* VALUE_MAP */
    struct slice zone;   /* region and zone joined; "" = none */
    struct sched_taint *taints;
    size_t taint_count;
    bool unschedulable;
    struct sched_amounts allocatable;
    int64_t pods_max;
    struct sched_image *images; /* sorted by name */
    size_t image_count;
    /* Its pods; a pod's `at` is its place. */
    struct sched_pod **pods;
    size_t pod_count, pod_room;
    struct sched_amounts requested; /* names in `sums` */
    struct arena sums;
    int64_t score_cpu_m, score_memory; /* requested, with defaults */
    size_t port_pods;                  /* pods with host ports */
    size_t affinity_pods, anti_pods; /* pods with any affinity terms, with required ones against */
    struct list nominated;           /* pods that are to come here */
};

/* NULL = out of memory. The name is copied. */
struct sched_node *sched_node_make(struct slice name);
/* It has no pods any more. */
void sched_node_free(struct sched_node *n);
/* Takes the facts of an object; what was there stays when it returns ERR_NOMEM. 0 or ERR_NOMEM. */
int sched_node_set(struct sched_node *n, const struct object *o);
/* The object is gone. */
void sched_node_clear(struct sched_node *n);

/* Room for one more pod, and for its resources, so that sched_node_add cannot fail. */
bool sched_node_reserve(struct sched_node *n, const struct sched_pod *p);
/* Puts a pod there (reserved, or it has been there before) and takes it away. */
void sched_node_add(struct sched_node *n, struct sched_pod *p);
void sched_node_remove(struct sched_node *n, struct sched_pod *p);

/* A label's value; data NULL when it has no such label. */
struct slice sched_node_label(const struct sched_node *n, struct slice key);
/* Bytes of an image; -1 when it is not there. */
int64_t sched_node_image(const struct sched_node *n, struct slice name);
/* The first taint with effect NoSchedule or NoExecute that the pod does not tolerate; NULL = none.
 */
const struct sched_taint *sched_node_repels(const struct sched_node *n, const struct sched_pod *p);

#endif
