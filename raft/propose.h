/* propose.h - proposals become batches, batches become raft entries.
 *
 * At most BATCHES_IN_FLIGHT_MAX entries are in flight (guard G4); what arrives meanwhile waits in
 * batches of about BATCH_BYTES_MAX. A batch is built in the very buffer libraft will own. */
#ifndef KVD_RAFT_PROPOSE_H
#define KVD_RAFT_PROPOSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

struct node;

struct propose {
    struct list queued;   /* struct batch, oldest first; the last one is open */
    struct list flight;   /* given to libraft */
    struct list finished; /* libraft called back; outcome not told yet */
    size_t queued_bytes;
    size_t queued_ops;
    size_t flight_ops;
    unsigned in_flight;
    bool hold; /* node_hold */
};

void propose_init(struct propose *p);
/* Tells outcomes of finished batches; refuses what is queued on a member that doesn't lead. */
void propose_step(struct node *n);
/* Turns queued batches into entries as far as the limits allow. */
void propose_flush(struct node *n);
/* Refuses all that is queued, for node_close. */
void propose_stop(struct node *n);

#endif
