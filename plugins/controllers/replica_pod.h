/* replica_pod.h - what a pod is to the controller that keeps it, and which one goes first when
 * there are too many. Pure; any thread. */
#ifndef KVD_CONTROLLERS_REPLICA_POD_H
#define KVD_CONTROLLERS_REPLICA_POD_H

#include "plugins/object/instant.h"
#include "plugins/object/object.h"

/* Counts as a replica: neither ended nor being deleted. */
bool replica_pod_active(const struct object *pod);
/* Succeeded or Failed. */
bool replica_pod_ended(const struct object *pod);

/* What a controller of a thousand pods asks of each of them, again and again: read in one go, by
 * the numbers of fields instead of their names. */
struct replica_fields {
    uint16_t metadata, spec, status, labels, owners, deletion, node, phase, conditions;
    uint16_t condition_type, condition_status, condition_since, owner_uid, owner_controller;
};
void replica_fields_init(struct replica_fields *f);

struct replica_look {
    const struct value *labels;
    const struct value *phase;
    struct slice node;      /* spec.nodeName */
    struct slice owner_uid; /* of the controlling owner; empty = nobody's */
    bool active;            /* as replica_pod_active */
    bool deleted;           /* has a deletionTimestamp */
    bool terminating;       /* deleted, but not ended */
    bool ready;             /* condition Ready is True */
    int64_t ready_s; /* since then, seconds since 1970; INSTANT_UNSET = not said, not ready */
};
/* Points into the pod. */
void replica_look(const struct replica_fields *f, const struct object *pod,
                  struct replica_look *out);
/* How many seconds from now_s on until a ready pod counts as available; 0 = it does; -1 = it is not
 * ready (or does not say since when): only an event can change that. */
int64_t replica_available_in(const struct replica_look *p, int64_t min_ready_s, int64_t now_s);

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
void rank_read(struct rank_pod *r, const struct replica_fields *f, const struct object *pod);
/* Negative: a goes before b. now_us: since 1970, for ages compared by their magnitude. */
int rank_compare(const struct rank_pod *a, const struct rank_pod *b, int64_t now_us);
/* First to go first. */
void rank_sort(struct rank_pod *pods, size_t count, int64_t now_us);

#endif
