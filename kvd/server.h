/* server.h - one running kvd node, as main sees it: started from a configuration, stopped once.
 *
 * Start:  data directory (kvd/data_dir.h) -> kv_open -> raft loop -> replay -> leader ready
 * (own-term barrier applied) -> listeners open -> `ready`. Stop:   listeners closed, running calls
 * drained, proposals in flight applied, log and store closed, data directory unlocked -> `cb`.
 * Nothing here reads flags, handles signals or ends the process: that is main's part. All calls and
 * callbacks happen on the thread of `loop`, the store loop; the threads a server starts
 * ("kvd-raft", "kvd-checkpoint") are joined before stop's callback. */
#ifndef KVD_KVD_SERVER_H
#define KVD_KVD_SERVER_H

#include <uv.h>

#include "base/err.h"
#include "kvd/config.h"

struct kvd_server;

/* What main wants to know. Callbacks come from the loop, never from inside kvd_server_start. */
struct kvd_server_callbacks {
    void *data;
    /* Once: the node answers clients on all its listeners (sd_notify READY=1). */
    void (*ready)(void *data);
    /* At most once, at any time after start: the node cannot go on (disk error, raft unavailable, a
     * port taken when the listeners opened). `why` is logged already and valid during the call;
     * main exits non-zero without calling kvd_server_stop: nothing acknowledged is at stake. */
    void (*fatal)(void *data, const char *why);
};

/* Starts a node. cfg is borrowed and must stay unchanged until stop's callback. On success returns
 * 0 and *out; the rest happens on the loop. On failure returns an enum err with a sentence in e
 * that main logs; nothing stays behind (no thread, no handle, no lock). Opening reads the log from
 * disk: this call may take as long as that, before the loop runs. */
int kvd_server_start(const struct kvd_config *cfg, uv_loop_t *loop,
                     const struct kvd_server_callbacks *callbacks, struct kvd_server **out,
                     struct errmsg *e);

/* Stops gracefully (contract X-01), whether ready or not. cb comes exactly once, later on the loop;
 * the server is freed by then and none of its handles is left on the loop. */
void kvd_server_stop(struct kvd_server *s, void (*cb)(void *data), void *data);

#endif
