/* replicas_impl.h - what replicas.c and replica_sync.c share. */
#ifndef KVD_CONTROLLERS_REPLICAS_IMPL_H
#define KVD_CONTROLLERS_REPLICAS_IMPL_H

#include "base/list.h"
#include "plugins/controllers/catchup.h"
#include "plugins/controllers/handlers.h"
#include "plugins/controllers/replica_status.h"
#include "plugins/controllers/replicas.h"

/* Requests of one owner under way: what one callback sends takes it a millisecond or two. */
#define REPLICAS_IN_FLIGHT_MAX 64u

/* One kind of owners, for a term. */
struct replicas {
    struct controllers *all;
    const struct replicas_kind *kind;
    struct informer *owners, *pods;
    struct works *works;
    struct expects *expects;
    struct recorder *recorder;
    struct handlers handlers;
    struct catchup *catchup;
    struct replica_fields fields;
    bool caught_up;    /* before that nothing is decided; then every owner is looked at */
    struct list syncs; /* those in work */
};

/* One owner in work, from the first decision to the status. */
struct replica_sync {
    struct list link;
    struct replicas *c;
    struct work *work;
    struct arena arena;
    struct slice key;
    struct object owner; /* as it was decided on */
    struct replica_counts counts;
    struct slice body; /* creating: the pod to be */
    uint32_t left;     /* creating, deleting: not begun yet */
    uint32_t batch;    /* creating: size of the next one */
    uint32_t begun;    /* creating: of this batch; deleting: of all */
    struct replica_victim *victims;
    uint32_t in_flight; /* requests not answered */
    const char *failed; /* reason of condition ReplicaFailure; NULL = none failed */
    struct slice why;   /* what failed first */
};

int64_t replica_reconcile(void *data, struct work *w, struct slice key);
void replica_sync_free(struct replica_sync *s);

#endif
