/* snapshot.h - stub snapshots and their installation.
 *
 * A snapshot here is a statement, not a copy: "the store is durable up to this index". It lets
 * libraft forget its log in memory (bounded by bytes, which libraft itself cannot do) and the disk
 * log be cut.
 *
 * Install, on the follower:
 *   IDLE -> FETCHING   INSTALL arrived and we lack its last entry: callbacks.snapshot_fetch
 *   FETCHING -> READY  node_snapshot_ready: the copy is here. Heartbeats flowed all the while.
 *   READY -> STORE     nothing is pending on the disk: guard G1 closes, callbacks.snapshot_install
 *   STORE -> RESET     node_snapshot_installed: the store is durable at the copy's index; log_reset
 *   RESET -> IDLE      the log starts behind it: libraft's core is started anew from both, and the
 *                      leader is told
 * A crash before STORE ends leaves the old state; after it, the store is ahead of the log, which
 * node_start resolves in the store's favour. Starting the core anew is exactly a restart, the best
 * tested path there is; libraft's own install path is not used (it acknowledges a conflicting entry
 * of a higher term at the snapshot's last index, and keeps a stale uncommitted configuration). */
#ifndef KVD_RAFT_SNAPSHOT_H
#define KVD_RAFT_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>

#include <raft.h>

#include "base/buf.h"
#include "base/limits.h"
#include "raft/log.h"
#include "raft/wire.h"

struct node;

enum install_state { INSTALL_IDLE, INSTALL_FETCHING, INSTALL_READY, INSTALL_STORE, INSTALL_RESET };

struct snapshot {
    /* taking stubs */
    uint64_t durable;                 /* the store's checkpoint */
    uint64_t bytes;                   /* of entries in memory, about */
    struct raft_io_snapshot_put *put; /* waits until durable >= put_index */
    uint64_t put_index;
    struct raft_io_snapshot_get *gets[MEMBERS_MAX]; /* followers to be offered a stub */
    size_t gets_n;

    /* installing one */
    enum install_state state;
    uint64_t leader; /* who offered it */
    uint64_t wanted; /* the index offered */
    uint64_t index;  /* the copy's */
    uint64_t term;
    uint64_t configuration_index;
    struct buf configuration;
    struct log_append reset;
};

void snapshot_init(struct snapshot *s);
/* Entries came into libraft's memory. */
void snapshot_count(struct node *n, const struct raft_entry *entries, size_t count);
/* libraft's hooks. */
int snapshot_take(struct node *n, struct raft_buffer **bufs, unsigned *bufs_n);
int snapshot_put(struct node *n, struct raft_io_snapshot_put *req,
                 const struct raft_snapshot *snapshot);
int snapshot_get(struct node *n, struct raft_io_snapshot_get *req);
/* Answers libraft's requests, decides whether the next applied entry should take a stub, and moves
 * an installation on. */
void snapshot_step(struct node *n);
/* Ends what libraft waits for, without effect: its core is about to stop. */
void snapshot_cancel(struct node *n);
/* An INSTALL frame arrived. */
void snapshot_offered(struct node *n, uint64_t from, const struct frame *f);
/* The store or the log is being replaced: everything else waits. */
bool snapshot_blocking(const struct node *n);
/* Fetching or installing: told to the leader in every result. */
bool snapshot_installing(const struct node *n);
/* Leader: a follower that is offered a snapshot rejected an AppendEntries. false = swallow it, the
 * follower is installing; true = deliver, perhaps changed to end an offer the follower has lost. */
bool snapshot_check_result(struct node *n, struct raft_progress *progress, const struct frame *f,
                           struct raft_append_entries_result *result);

#endif
