/* replica_pod.h - what a pod is to the controller that keeps it, and which one goes first when
 * there are too many. Pure; any thread. */
#ifndef KVD_CONTROLLERS_REPLICA_POD_H
#define KVD_CONTROLLERS_REPLICA_POD_H

#include "plugins/object/instant.h"
#include "plugins/object/object.h"

/* Counts as a replica: neither ended nor being deleted. */
bool replica_pod_active(const struct object *pod);
/* Being deleted and not ended yet. */
bool replica_pod_terminating(const struct object *pod);
/* Succeeded or Failed. */
bool replica_pod_ended(const struct object *pod);
/* Condition Ready is True. *since_s (may be NULL): seconds since 1970 when it became so,
 * INSTANT_UNSET when that is not said or the pod is not ready. */
bool replica_pod_ready(const struct object *pod, int64_t *since_s);
/* How many seconds from now_s on until a ready pod counts as available; 0 = it does; -1 = it is not
 * ready (or does not say since when): only an event can change that. */
int64_t replica_pod_available_in(const struct object *pod, int64_t min_ready_s, int64_t now_s);

/* What decides about a pod that is one too many, read once. */
struct rank_pod {
    const struct object *pod;
    struct slice uid, node;
    uint32_t together; /* active pods of related owners on its node; set by the caller */
    int32_t cost;      /* annotation controller.kubernetes.io/pod-deletion-cost */
    uint8_t phase;     /* 0 Pending, 1 Unknown, 2 Running and all else */
    bool ready;
    int64_t ready_s, created_s;      /* INSTANT_UNSET = not said */
    int64_t restarts, init_restarts; /* largest of its containers */
};
/* Reads all but `together`; texts point into the pod. */
void rank_read(struct rank_pod *r, const struct object *pod);
/* Negative: a goes before b. now_us: since 1970, for ages compared by their magnitude. */
int rank_compare(const struct rank_pod *a, const struct rank_pod *b, int64_t now_us);
/* First to go first. */
void rank_sort(struct rank_pod *pods, size_t count, int64_t now_us);

#endif
