/* node.h - one raft member: libraft's core behind our own raft_io, guards and batching.
 *
 * Everything runs on one thread, the raft loop, which never touches LMDB or the memtable; the
 * simulator runs it on virtual time. The state machine lives elsewhere: committed entries are
 * handed out by `commit` in index order without gaps, and its progress comes back through
 * node_durable. "Applied" here always means the store's applied index, never libraft's
 * last_applied. Rules followed: libraft-notes sections 1-7 (guards G1-G4, the double-vote filter,
 * stub snapshots, term-confirmed reads, barrier then epoch). */
#ifndef KVD_RAFT_NODE_H
#define KVD_RAFT_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/rand.h"
#include "base/slice.h"
#include "raft/disk.h"
#include "raft/log.h"

struct node;

enum node_role { NODE_FOLLOWER, NODE_CANDIDATE, NODE_LEADER, NODE_UNAVAILABLE };

struct node_member {
    uint64_t id;
    const char *address; /* peer address; <= 255 bytes */
    enum { NODE_VOTER, NODE_LEARNER, NODE_SPARE } kind;
};

/* How frames reach other members. Best effort: a frame may be lost, late or repeated, never altered
 * (the transport checks integrity). */
struct node_transport {
    void *impl;
    /* Sends one frame; bytes are copied. Order is kept per destination while the link lives. */
    void (*send)(struct node_transport *t, uint64_t to, const char *address, struct slice frame);
    /* Bytes queued towards a member: above PEER_QUEUE_BYTES_MAX no AppendEntries are made for it.
     */
    size_t (*queued)(struct node_transport *t, uint64_t to);
};

struct node_callbacks {
    void *data;
    /* Entry `index` is committed. payload: proto/batch.h, empty for barriers and configurations;
     * borrowed, copy it. Indexes come in order, each once per process, starting after
     * options.applied_index; after an install they go on from its index + 1. */
    void (*commit)(void *data, uint64_t index, uint64_t term, struct slice payload);
    /* The configuration as of `index` is committed: for kv_set_configuration, before the commit
     * call of the same index. */
    void (*configuration)(void *data, uint64_t index, struct slice encoded);
    /* Role, term or known leader changed. leader 0 = none known. A new leader is reported as
     * NODE_LEADER only once its own-term barrier is committed. */
    void (*role)(void *data, enum node_role role, uint64_t term, uint64_t leader);
    /* Proposals numbered first..last will get no result from commit on their own account:
     * ERR_NOT_LEADER, ERR_TOO_MANY_REQUESTS = certainly not proposed; ERR_UNKNOWN_OUTCOME = may
     * still commit (and is then found by its number); ERR_STOPPED. */
    void (*dropped)(void *data, uint64_t first, uint64_t last, int err);
    /* This member is too far behind: fetch a copy of the store from `from` whose applied_index is
     * at least `index`, out of band; then call node_snapshot_ready or node_snapshot_failed.
     * Repeated requests while one runs are swallowed by the node. */
    void (*snapshot_fetch)(void *data, uint64_t from, const char *address, uint64_t index);
    /* All earlier commits were handed out; install the fetched copy now, then call
     * node_snapshot_installed. No commit is handed out in between. */
    void (*snapshot_install)(void *data);
    /* libraft cannot go on (state UNAVAILABLE, I/O error): say why and exit. */
    void (*fatal)(void *data, const char *why);
    /* The log's disk is full (true): proposals wait; raise the NOSPACE alarm. Or has room again.
     * May be NULL. */
    void (*disk_full)(void *data, bool is_full);
};

struct node_options {
    uint64_t id;
    const char *address;
    struct disk *disk;
    struct node_transport *transport;
    struct node_callbacks callbacks;
    uint64_t (*now_ms)(void *data); /* monotonic */
    void *clock_data;
    struct rand *rand;     /* election jitter; owned by the caller */
    uint32_t heartbeat_ms; /* [100] */
    uint32_t election_ms;  /* [1000] */
    uint64_t incarnation;  /* of this process start, in proposals' origin */
    /* From the newest checkpoint (store_meta); zeros on a fresh member. */
    uint64_t applied_index;
    uint64_t applied_term;
    uint64_t configuration_index;
    struct slice configuration;
    /* Log kept behind the checkpoint for slow followers, in bytes and entries [8 MiB, 5000]. */
    uint64_t trailing_bytes;
    uint64_t trailing_entries;
    uint64_t snapshot_entries; /* take a stub snapshot each so many entries [10000] */
    uint32_t segment_bytes;    /* log_options */
};

/* First start of a new cluster: writes the initial configuration as entry 1 of an empty directory.
 * Synchronous. ERR_INVALID when the directory has a log already. */
int node_bootstrap(const struct node_options *options, const struct node_member *members, size_t n,
                   struct errmsg *e);
/* Loads log, term and vote, starts libraft. Committed entries may be handed out before it returns.
 */
int node_start(const struct node_options *options, struct node **out, struct errmsg *e);
/* Stops: drops queued proposals (ERR_STOPPED), waits for the disk unless that is full, then cb; the
 * node is freed. Those in flight are ERR_UNKNOWN_OUTCOME. Go on calling node_tick until cb. Not
 * from inside a callback. */
void node_close(struct node *n, void (*cb)(void *data), void *data);

/* Frees the node as if its process had died: no callback is called, requests of the caller's
 * (node_read, node_change) are forgotten, nothing more reaches the disk. For simulators, after
 * sim_disk_crash. */
void node_abandon(struct node *n);

/* Drive: call each heartbeat_ms / 2 or so (virtual or real), and for each frame received (bytes
 * borrowed; a malformed frame is dropped with a log line). */
void node_tick(struct node *n);
void node_receive(struct node *n, uint64_t from, struct slice frame);
/* Once per loop turn, after all input: batches become entries, reads a confirmation round, frames
 * leave. The simulator calls it after every step. */
void node_flush(struct node *n);

/* Queues proposals: `ops` is a run of operations as batch_add writes them (without the batch
 * header), numbered first..last of this incarnation; copied. Becomes part of an entry while fewer
 * than BATCHES_IN_FLIGHT_MAX are in flight. Refusals come through callbacks.dropped. */
void node_propose(struct node *n, struct slice ops, uint64_t first, uint64_t last);
/* While held, nothing queued becomes an entry: the store is too far behind to be given more. */
void node_hold(struct node *n, bool hold);
/* Bytes waiting in the open batch. */
size_t node_queued_bytes(const struct node *n);

/* Linearizable read (libraft-notes section 7): cb(err, index): the store may be read once its
 * applied index >= index. ERR_NOT_LEADER, ERR_LEADER_CHANGED, ERR_STOPPED. Reads made in one turn
 * share one confirmation round. */
struct node_read {
    void *data;
    void (*cb)(struct node_read *r, int err, uint64_t index);
    void *impl[4];
    uint64_t index;
    uint64_t term;
};
void node_read_index(struct node *n, struct node_read *r);

/* The store's checkpoint is durable up to here: the log may be cut behind it (keeping the trailing
 * part), stub snapshots may be taken. */
void node_durable(struct node *n, uint64_t applied_index);

/* Snapshot install, follower's side (see callbacks). The copy's own meta. */
void node_snapshot_ready(struct node *n, uint64_t index, uint64_t term,
                         uint64_t configuration_index, struct slice configuration);
void node_snapshot_failed(struct node *n);
void node_snapshot_installed(struct node *n);

/* Membership and leadership, leader only, one change at a time, gated on a committed entry of the
 * own term. cb exactly once. */
struct node_change {
    void *data;
    void (*cb)(struct node_change *c, int err);
    void *impl[24];
};
void node_add(struct node *n, struct node_change *c, const struct node_member *m); /* as learner or
                                                                                      voter */
void node_promote(struct node *n, struct node_change *c, uint64_t id);
void node_remove(struct node *n, struct node_change *c, uint64_t id);
void node_transfer(struct node *n, struct node_change *c, uint64_t to); /* 0 = any voter */

/* Facts. */
enum node_role
node_role(const struct node *n); /* NODE_LEADER also before the barrier is committed */
bool node_leader_ready(const struct node *n);
/* Nothing can be committed but by this member: it leads, its own-term barrier is committed, and it
 * is the only voter of a configuration that is committed too. Then all that was ever acknowledged
 * was acknowledged here, and reads need no round. Ends before the first entry that changes it is
 * appended; whoever keeps the answer forgets it before node_receive and membership calls. */
bool node_decides_alone(const struct node *n);
uint64_t node_term(const struct node *n);
uint64_t node_leader(const struct node *n);
uint64_t node_commit_index(const struct node *n);
uint64_t node_last_index(const struct node *n);
uint64_t node_log_bytes(const struct node *n); /* of the log's files */
/* Members of the newest configuration; address pointers live until it changes. */
size_t node_members(const struct node *n, struct node_member *out, size_t max);

/* Planted bugs: the simulator proves that it finds each (design section 9). Bits. Only builds with
 * KVD_DEBUG have them; the names are there in all, so that tests compile. */
enum node_bug {
    NODE_BUG_NO_FREEZE = 1,       /* G1 off */
    NODE_BUG_NO_CLAMP = 2,        /* G2 off */
    NODE_BUG_NO_BARRIER = 4,      /* G3 off */
    NODE_BUG_NO_FLIGHT_LIMIT = 8, /* G4 off */
    NODE_BUG_NO_CONFIRM = 16,     /* reads answered without the round */
    NODE_BUG_NO_OWN_TERM = 32,    /* reads before the own-term barrier */
    NODE_BUG_DOUBLE_VOTE = 64,    /* filter off */
    NODE_BUG_EARLY_ACK = 128      /* append acknowledged before it is durable */
};
#ifdef KVD_DEBUG
extern unsigned node_bugs;
#endif

#endif
