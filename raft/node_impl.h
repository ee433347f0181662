/* node_impl.h - the inside of struct node, shared by the files of raft/ and their tests.
 *
 * One rule orders everything: libraft is entered from few places (a frame, a tick, a finished disk
 * write, a proposal, a barrier, a membership change), nothing of ours calls back into it from
 * inside one of its own callbacks, and after each entry node_settle() runs until nothing moves any
 * more. So a callback from libraft only notes what happened, and callbacks to the outside run from
 * node_settle and node_flush, where they may call any node_* function that only queues. */
#ifndef KVD_RAFT_NODE_IMPL_H
#define KVD_RAFT_NODE_IMPL_H

#include <raft.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/list.h"
#include "raft/lead.h"
#include "raft/membership.h"
#include "raft/node.h"
#include "raft/propose.h"
#include "raft/readindex.h"
#include "raft/snapshot.h"
#include "raft/wire.h"

/* States of libraft's raft_progress, which its public header leaves unnamed. */
enum { PROGRESS_PROBE = 0, PROGRESS_PIPELINE = 1, PROGRESS_SNAPSHOT = 2 };

/* What a leader remembers of a member besides libraft's progress. */
struct node_peer {
    uint64_t id;
    uint64_t commit_sent; /* highest commit index a frame of this term told it */
    uint64_t rewind;      /* first index left unsent for want of room, 0 = none */
    uint64_t ack;         /* G3: highest success withheld until the barrier is stored, 0 = none */
};

struct boot_first;

/* Entries read at start-up, on their way into libraft. */
struct node_boot {
    struct raft_entry *entries; /* raft_malloc; libraft frees them */
    size_t n;
    size_t cap;
    uint64_t first;
    bool file;     /* the bootstrap file exists */
    bool removing; /* ... and is being removed */
    struct disk_req remove;
    struct boot_first *writing; /* entry 1 on its way to the disk */
};

struct node {
    struct node_options options; /* defaults filled in; address and configuration are copies */
    char *address;

    /* libraft's core and our side of it (io.c) */
    struct raft raft;
    struct raft_io io;
    struct raft_fsm fsm;
    raft_io_tick_cb tick;
    raft_io_recv_cb recv;
    struct log *log;
    struct term_file *terms;
    bool running;  /* raft_start succeeded, not failed, not closed */
    bool failed;   /* fatal was reported */
    bool log_dead; /* ... because of the log: it calls nobody back any more */
    bool broken;   /* term or vote could not be stored: says and writes nothing more */
    bool settling; /* inside node_settle */
    bool again;    /* libraft was entered: settle once more */
    struct raft_io_send **sends; /* completed by the next settle */
    size_t sends_n;
    size_t sends_cap;
    size_t appends;      /* appends libraft waits for */
    bool acking;         /* G2: an AppendEntries or its completion is being handled ... */
    uint64_t ack_limit;  /* ... whose last entry is this */
    uint64_t ack_term;   /* ... and whose previous entry had this term */
    struct list pending; /* struct io_append, in order */
    struct buf out;      /* the frame being encoded */

    /* frames held by guard G1 (receive.c) */
    struct list held;
    size_t held_bytes;
    bool draining; /* log_drain is armed */

    uint64_t tick_ms; /* when node_tick was called last */
    uint64_t handed;  /* last index given to callbacks.commit */

    /* The newest committed configuration: rollback target, stub snapshots. */
    uint64_t committed_index;
    struct buf committed;

    /* What was last reported through callbacks.role. */
    enum node_role role;
    uint64_t role_term;
    uint64_t role_leader;

    struct node_peer peers[MEMBERS_MAX];
    size_t peers_n;

    struct node_boot boot;
    struct lead lead;
    struct propose propose;
    struct readindex reads;
    struct membership membership;
    struct snapshot snapshot;

    bool closing;
    void (*close_cb)(void *data);
    void *close_data;
};

#ifdef KVD_DEBUG
#define NODE_BUG(bit) ((node_bugs & (bit)) != 0)
#else
#define NODE_BUG(bit) false
#endif

/* libraft was entered: run what follows from it. Called by everyone who enters it. */
void node_settle(struct node *n);
/* Reports fatal, once; nothing enters libraft from now on. */
void node_fail(struct node *n, const char *why);
/* Continues node_close once nothing is pending any more. */
void node_close_step(struct node *n);
/* Starts libraft on what io_load hands it; also after a snapshot install (boot.c). 0 or an error.
 */
int node_core_start(struct node *n, struct errmsg *e);
/* Ends libraft's core in place; nothing may be pending on the disk. */
void node_core_stop(struct node *n);
/* Remembers the committed configuration. */
void node_set_committed(struct node *n, uint64_t index, struct slice encoded);

static inline uint64_t node_now(const struct node *n)
{
    return n->options.now_ms(n->options.clock_data);
}

static inline bool node_is_leader(const struct node *n)
{
    return n->running && n->raft.state == RAFT_LEADER;
}

/* Our record of a member, made on first use; NULL when the table is full of others. */
struct node_peer *node_peer(struct node *n, uint64_t id);
/* libraft's record of a member; NULL when not leader or not a member. */
struct raft_progress *node_progress(struct node *n, uint64_t id);
/* The member's peer address, "" when unknown. */
const char *node_address(const struct node *n, uint64_t id);
/* Entries libraft has in flight on our behalf: batches, barrier, configuration (guard G4). */
unsigned node_in_flight(const struct node *n);
/* Sends the frame in n->out. */
void node_send(struct node *n, uint64_t to, const char *address);
/* Encodes a frame without entries and sends it. */
void node_send_frame(struct node *n, uint64_t to, const struct frame *f);

#endif
