/* loop.h - one raft member on a thread of its own, for the real process.
 *
 * The raft loop (thread "kvd-raft", libuv) runs node.h over the files of one directory. Everything
 * here is called on the store loop's thread, and every callback comes there, in order: requests
 * cross in one queue, deliveries in the other, each with one wake-up per loop turn. Proposals and
 * reads of one store loop turn travel together, leaving in the turn's uv_prepare phase or at
 * raft_loop_flush.
 *
 * Nothing waits: the raft thread never blocks on the store. When deliveries pile up beyond
 * RAFT_DELIVERY_BYTES_MAX, entries no longer leave the proposal queue until the store caught up,
 * and once that is full too proposals are refused with ERR_TOO_MANY_REQUESTS.
 *
 * Frames to other members are dropped for now: real peers arrive with their own issue. */
#ifndef KVD_RAFT_LOOP_H
#define KVD_RAFT_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "base/err.h"
#include "base/slice.h"
#include "raft/node.h"

struct raft_loop;

/* All on the store loop, inside raft_loop_drain except `wake`. */
struct raft_loop_callbacks {
    void *data;
    /* Deliveries wait: call raft_loop_drain soon, here or when a slice is free. Not repeated while
     * some still wait. */
    void (*wake)(void *data);
    /* As node_callbacks.commit. true: done with the payload, go on. false: the payload is still
     * needed (apply goes in slices): drain returns at once, the bytes stay until the next
     * raft_loop_drain, which goes on behind this entry. */
    bool (*commit)(void *data, uint64_t index, uint64_t term, struct slice payload);
    /* The others as in node_callbacks. */
    void (*configuration)(void *data, uint64_t index, struct slice encoded);
    void (*role)(void *data, enum node_role role, uint64_t term, uint64_t leader);
    void (*dropped)(void *data, uint64_t first, uint64_t last, int err);
    void (*fatal)(void *data, const char *why);
    void (*disk_full)(void *data, bool is_full); /* may be NULL */
};

struct raft_loop_options {
    uv_loop_t *store_loop;
    struct raft_loop_callbacks callbacks;
    const char *dir;      /* exists; of the log's own */
    bool disk_thread;     /* never KAIO */
    bool unsafe_no_fsync; /* tests and --unsafe-no-fsync */
    uint64_t id;
    const char *address;
    /* A new cluster's members; used when dir is fresh and applied_index is 0. 0 = join one. */
    const struct node_member *initial;
    size_t initial_n;
    uint32_t heartbeat_ms;
    uint32_t election_ms;
    uint64_t incarnation;
    /* From the newest checkpoint, as in node_options. */
    uint64_t applied_index;
    uint64_t applied_term;
    uint64_t configuration_index;
    struct slice configuration;
    uint64_t trailing_bytes;
    uint64_t trailing_entries;
    uint64_t snapshot_entries;
    uint32_t segment_bytes;
};

/* Starts the thread, opens disk and log, starts the node; waits for that (strings and slices in the
 * options are not needed afterwards). Deliveries may wait at once. */
int raft_loop_start(const struct raft_loop_options *options, struct raft_loop **out,
                    struct errmsg *e);
/* Stops: queued proposals are refused, what is in flight is waited for (not on a full disk), all
 * that was committed is still delivered through raft_loop_drain, then cb, and the loop is freed.
 * Reads not answered get ERR_STOPPED. */
void raft_loop_close(struct raft_loop *l, void (*cb)(void *data), void *data);

/* Calls callbacks for what waits, until nothing does or about `bytes` of commits were handed over
 * (SIZE_MAX = all). true: more waits. Not from inside a callback of its own. */
bool raft_loop_drain(struct raft_loop *l, size_t bytes);

/* As node_propose; copied. */
void raft_loop_propose(struct raft_loop *l, struct slice ops, uint64_t first, uint64_t last);

/* As node_read_index. The struct stays until cb, which comes inside raft_loop_drain, after the
 * commits that were handed out before it. */
struct raft_loop_read {
    void *data;
    void (*cb)(struct raft_loop_read *r, int err, uint64_t index);
    struct raft_loop_read *next;
};
void raft_loop_read(struct raft_loop *l, struct raft_loop_read *r);

/* node_decides_alone: reads need not be asked for. Any time; true holds at this moment, for what
 * the store loop has applied. */
bool raft_loop_alone(const struct raft_loop *l);

/* As node_durable. */
void raft_loop_durable(struct raft_loop *l, uint64_t applied_index);
/* As node_transfer (to 0 = any voter); cb inside raft_loop_drain. One at a time: ERR_BUSY. */
void raft_loop_transfer(struct raft_loop *l, uint64_t to, void (*cb)(void *data, int err),
                        void *data);
/* Sends what is gathered now instead of at the end of the turn. */
void raft_loop_flush(struct raft_loop *l);

/* As of the raft loop's last turn. Any thread. */
struct raft_loop_status {
    enum node_role role;
    bool ready; /* node_leader_ready */
    uint64_t term;
    uint64_t leader;
    uint64_t commit_index;
    uint64_t last_index;
    uint64_t log_bytes;       /* on disk */
    uint64_t delivery_bytes;  /* waiting for the store loop */
    uint64_t proposals_bytes; /* waiting for a batch */
};
void raft_loop_status(const struct raft_loop *l, struct raft_loop_status *out);
/* "kaio" or "thread". */
const char *raft_loop_disk_mode(const struct raft_loop *l);

#endif
