/* expect.h - what a controller has done that its informers do not show yet.
 *
 * As client-go's UIDTrackingControllerExpectations: before it creates n children a controller
 * expects n; each one that appears (or fails) is counted off; until all have been seen, or five
 * minutes are over, it makes no further decisions about how many there should be. So a stale cache
 * never makes a pod twice. */
#ifndef KVD_CLIENT_EXPECT_H
#define KVD_CLIENT_EXPECT_H

#include "plugins/client/client.h"

struct expects;
struct expects *expects_open(struct client c); /* NULL = out of memory */
void expects_close(struct expects *e);         /* NULL is fine */
/* Sets what is expected for a key, instead of what was (deletions too), before the requests are
 * sent. 0 or KVP_NO_MEMORY: then send nothing. */
int expects_creations(struct expects *e, struct slice key, size_t count);
/* One more deletion. They are told apart by uid: seen twice counts once. 0 or KVP_NO_MEMORY. */
int expects_deletion(struct expects *e, struct slice key, struct slice uid);
void expects_created(struct expects *e, struct slice key); /* seen, or failed */
void expects_deleted(struct expects *e, struct slice key, struct slice uid);
/* All seen, or five minutes over since the last one was set, or nothing expected. */
bool expects_satisfied(struct expects *e, struct slice key);
/* After how many milliseconds that is so at the latest: then to look again, for perhaps no event
 * comes. 0 = now. */
uint64_t expects_left_ms(struct expects *e, struct slice key);
void expects_forget(struct expects *e, struct slice key);

#ifdef KVD_DEBUG
/* Planted bug: everything is satisfied always. unit/plane/test_workloads shows the twins. */
extern bool expects_blind;
#endif

#endif
