/* checkpointer.h - the thread "kvd-checkpoint", the only writer of LMDB.
 *
 * It sleeps until woken (a memtable was sealed, a compaction or a defragmentation is due), then
 * takes kv_checkpoint_step after step until nothing is left. What it finds out comes to the store
 * loop as events, in one wake-up. A full disk is an event, and the step is tried again with growing
 * pauses; other errors are fatal and end the thread. */
#ifndef KVD_KVD_CHECKPOINTER_H
#define KVD_KVD_CHECKPOINTER_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "base/err.h"
#include "kv/kv.h"

struct checkpointer;

/* All on the store loop. */
struct checkpointer_events {
    void *data;
    /* Something moved: read store_durable_index and kv_compact_done. */
    void (*progress)(void *data);
    /* The disk is full, or is not any more. */
    void (*full)(void *data, bool is_full);
    /* A defragmentation asked for earlier is over; one call may answer several. */
    void (*defragmented)(void *data, int err);
    /* err is no ERR_NO_SPACE: the node cannot go on. */
    void (*fatal)(void *data, int err);
};

/* Starts the thread, which sleeps. 0 or ERR_NOMEM, ERR_IO with a sentence. */
int checkpointer_start(uv_loop_t *loop, struct kv *kv, const struct checkpointer_events *events,
                       struct checkpointer **out, struct errmsg *e);
/* There may be work. Any thread. */
void checkpointer_wake(struct checkpointer *c);
/* Rewrites the database compactly, when the steps under way allow. Store loop. */
void checkpointer_defragment(struct checkpointer *c);
/* Is the thread in the middle of a step, or about to be? Store loop. */
bool checkpointer_busy(struct checkpointer *c);
/* Ends the thread after the step under way, then cb; c is freed by then. */
void checkpointer_stop(struct checkpointer *c, void (*cb)(void *data), void *data);

#endif
