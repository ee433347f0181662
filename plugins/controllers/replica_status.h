/* replica_status.h - what a replica set or replication controller says of its pods. Pure. */
#ifndef KVD_CONTROLLERS_REPLICA_STATUS_H
#define KVD_CONTROLLERS_REPLICA_STATUS_H

#include "plugins/controllers/replica_pod.h"
#include "plugins/object/labels.h"
#include "plugins/object/object.h"

struct replica_counts {
    uint32_t active, labeled, ready, available, terminating;
    int64_t
        next_s; /* seconds until the next ready pod becomes available; 0 = nothing to wait for */
};

/* Counts one pod of the owner. template: what the template's labels select. */
void replica_count(struct replica_counts *n, const struct replica_look *pod,
                   const struct label_selector *template, int64_t min_ready_s, int64_t now_s);
/* Writes them into an owner's status, with generation seen and condition ReplicaFailure: failed is
 * its reason (NULL = all went well, the condition goes), message what went wrong first; a condition
 * that is there stays as it is. *changed: the status is another one than before. 0 or ERR_NOMEM. */
int replica_status_set(struct object *owner, const struct replica_counts *n, const char *failed,
                       struct slice message, int64_t now_s, bool *changed);

#endif
