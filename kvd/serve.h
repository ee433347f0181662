/* serve.h - one table of requests: rpc/service.h over consensus and the store, on the store loop.
 *
 *                 struct service (rpc/svc_*)
 *       writes |            reads |             watch, lease, jobs |
 *   proposals.c            reads.c              watches, leases.c, jobs.c
 *       | one buffer, one round per loop turn       |
 *   struct serve_raft (server.c over raft/loop.h; tests have their own)
 *       | committed entries, outcomes, confirmations
 *   applier.c -> kv_apply_step in slices -> results -> proposals -> callbacks
 *   checkpointer.c: the thread that writes LMDB
 *
 * A loop turn: callbacks of sockets and of raft come in (poll), then serve_turn (uv check and
 * prepare): apply within a budget, reads whose index is reached, slices of long work, then one
 * proposal buffer and one confirmation round leave. While work is left an idle handle keeps the
 * loop turning. Everything here is on the store loop's thread except what checkpointer.h says. */
#ifndef KVD_KVD_SERVE_H
#define KVD_KVD_SERVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "kv/kv.h"
#include "kvd/config.h"
#include "rpc/service.h"

struct serve;

/* What serve needs of consensus: raft/loop.h in the process, something simpler in tests. Calls do
 * not block; only drain calls back. */
struct serve_raft {
    void *impl;
    /* Operations first..last as batch_add writes them; copied. Outcome: an entry with them is
     * committed (serve_commit), or serve_dropped. */
    void (*propose)(struct serve_raft *r, struct slice ops, uint64_t first, uint64_t last);
    /* A linearizable read's round; answered by serve_confirmed with the same ticket. false = out of
     * memory, no answer will come. */
    bool (*confirm)(struct serve_raft *r, uint64_t ticket);
    /* No other member can have acknowledged anything that is not applied here (raft/node.h): reads
     * need no round. */
    bool (*alone)(struct serve_raft *r);
    /* The checkpoint holds everything up to index. */
    void (*durable)(struct serve_raft *r, uint64_t index);
    /* End of a turn: what was proposed and asked leaves. */
    void (*flush)(struct serve_raft *r);
    /* Hands over what was delivered (serve_commit, serve_role_changed, ...), about `bytes` of
     * entries. true = more waits. */
    bool (*drain)(struct serve_raft *r, size_t bytes);
};

struct serve_options {
    const struct kvd_config *cfg;
    uv_loop_t *loop;
    struct serve_raft *raft;
    struct service_ids ids;
    uint64_t incarnation;
    const char *store_dir; /* kv_options.store.dir */
    /* The own-term barrier is applied here for the first time: clients can be served. */
    void (*ready)(void *data);
    /* This member leads and has applied the barrier of `term`; or no longer does. May be NULL. */
    void (*role)(void *data, bool leads, uint64_t term);
    /* Cannot go on (disk error in the checkpoint); logged already. */
    void (*fatal)(void *data, const char *why);
    void *data;
};

/* Opens the store (kv_open) and starts the checkpoint thread. 0 or an error with a sentence. */
int serve_new(const struct serve_options *options, struct serve **out, struct errmsg *e);
struct service *serve_service(struct serve *s);
struct kv *serve_kv(struct serve *s);

/* ---- from consensus: store loop ----------------------------------------------------------------
 */

enum serve_role { SERVE_FOLLOWER, SERVE_CANDIDATE, SERVE_LEADER };

/* Deliveries wait: serve drains them in its next turn. */
void serve_delivered(struct serve *s);
/* A committed entry, in index order. true: applied, go on. false: it takes more turns; payload must
 * stay until the next drain, which goes on behind it. */
bool serve_commit(struct serve *s, uint64_t index, uint64_t term, struct slice payload);
/* The configuration as of the entry committed next. */
void serve_configuration(struct serve *s, uint64_t index, struct slice encoded);
/* LEADER only once the own-term barrier is committed, after serve_commit of it. */
void serve_role_changed(struct serve *s, enum serve_role role, uint64_t term, uint64_t leader);
/* No result will come from apply for these: err as in raft/node.h. */
void serve_dropped(struct serve *s, uint64_t first, uint64_t last, int err);
void serve_confirmed(struct serve *s, uint64_t ticket, int err, uint64_t index);
/* The log's disk is full, or has room again. */
void serve_log_full(struct serve *s, bool is_full);

/* ---- stopping ----------------------------------------------------------------------------------
 */

/* From now on new writes and reads answer STOPPED. */
void serve_stop(struct serve *s);
/* No proposal waits for a result. */
bool serve_quiet(const struct serve *s);
/* Ends the checkpoint thread, answers what is left with STOPPED, closes handles, then the store; cb
 * when s is freed. No call of serve_* may come after it. */
void serve_close(struct serve *s, void (*cb)(void *data), void *data);

/* Registers the process-wide metrics of the node (once) and appends to /metrics what is read at the
 * time of a scrape; for svc_options.metrics, data is the struct serve. */
void serve_metrics_render(void *data, struct buf *out);

#endif
