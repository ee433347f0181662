/* raft_cluster.h - members of raft/node.h on simulated disks and network, with a toy state machine.
 *
 * For tests of raft/ alone (tests/sim runs the real kv/). Each member's state is a chain hash over
 * everything committed, a sum of the values proposed, and the committed configuration; a checkpoint
 * makes it durable, a crash falls back to the last one. Time moves in steps of one millisecond.
 * `broken` is set, with a sentence in `why`, as soon as members disagree about an index, a commit
 * leaves a gap, an acknowledged value is missing, a term has two leaders, or a frame tells an
 * untruth (an acknowledged entry differs from the leader's or isn't stored, a second vote in a
 * term, a candidate counts entries it has not stored); tests assert it either way. */
#ifndef KVD_TESTS_LIB_RAFT_CLUSTER_H
#define KVD_TESTS_LIB_RAFT_CLUSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rand.h"
#include "raft/node.h"
#include "tests/lib/sim_disk.h"
#include "tests/lib/sim_net.h"

#define RAFT_CLUSTER_MAX 8u

struct raft_state {
    uint64_t applied;
    uint64_t term;
    uint64_t chain; /* hash over all entries up to applied */
    uint64_t sum;   /* of all values */
    uint64_t configuration_index;
    uint8_t configuration[4096];
    size_t configuration_len;
};

struct raft_member {
    struct raft_cluster *cluster;
    uint64_t id;
    char address[32];
    struct disk *disk;
    struct node *node; /* NULL = down */
    struct rand rand;
    uint64_t incarnation;
    uint64_t next_number;
    struct raft_state state;
    struct raft_state durable;
    uint64_t next_tick_ms;
    uint64_t next_checkpoint_ms;
    bool paused;
    bool start_may_fail; /* raft_cluster_up leaves it down then, instead of breaking the test */
    bool disk_stuck;     /* nothing reaches its disk, though the member runs */

    /* what the callbacks told */
    enum node_role role;
    uint64_t term;
    uint64_t leader;
    uint64_t ready_terms; /* times NODE_LEADER was reported */
    uint64_t dropped[16]; /* counts: [0] not leader, [1] unknown, [2] too many, [3] stopped */
    bool fatal;

    /* snapshot install */
    bool fetching;
    uint64_t fetch_from;
    uint64_t fetch_index;
    uint64_t fetch_done_ms;
    struct raft_state staged;
    uint64_t install_done_ms; /* 0 = none under way */
    uint64_t installs;
};

struct raft_cluster {
    uint64_t now_ms;
    uint64_t seed;
    struct rand rand;
    struct sim_net *net;
    struct raft_member members[RAFT_CLUSTER_MAX];
    size_t n;

    /* knobs, set before raft_cluster_start */
    struct sim_disk_options disk;
    uint64_t trailing_bytes;
    uint64_t trailing_entries;
    uint64_t snapshot_entries;
    uint32_t segment_bytes;
    uint32_t checkpoint_ms; /* 0 = only by hand */
    uint32_t fetch_ms;      /* how long a copy of the store takes [50] */
    uint32_t install_ms;    /* how long swapping it in takes [3] */

    /* truth */
    uint64_t *chain; /* by index, 0 = nobody applied it yet */
    size_t chain_cap;
    uint8_t voted_for[RAFT_CLUSTER_MAX + 1][4096]; /* by member and term */
    uint8_t leader_of[4096];                       /* by term, 0 = nobody was told */
    uint64_t top;                                  /* highest index applied by anyone */
    uint8_t *seen; /* by value: 1 proposed, 2 acknowledged, 4 applied somewhere */
    size_t seen_cap;
    uint64_t next_value;
    uint64_t acked;
    uint64_t max_acked_index;
    bool broken;
    char why[256];
};

/* n members with ids 1..n, the first `voters` of them bootstrapped as the initial configuration;
 * the others have empty disks (raft_cluster_up starts them as joiners). Nothing runs yet. */
void raft_cluster_init(struct raft_cluster *c, size_t n, size_t voters, uint64_t seed);
/* Starts the bootstrapped members. */
void raft_cluster_start(struct raft_cluster *c, size_t voters);
void raft_cluster_close(struct raft_cluster *c);

struct raft_member *raft_cluster_member(struct raft_cluster *c, uint64_t id);
void raft_cluster_up(struct raft_cluster *c, uint64_t id);
/* Power cut: volatile state and what the disk hadn't finished are gone. */
void raft_cluster_crash(struct raft_cluster *c, uint64_t id);
/* node_close, waiting for its callback. */
void raft_cluster_stop(struct raft_cluster *c, uint64_t id);
/* A paused member neither ticks nor reads nor sees its disk, like SIGSTOP. */
void raft_cluster_pause(struct raft_cluster *c, uint64_t id, bool paused);
void raft_cluster_checkpoint(struct raft_cluster *c, uint64_t id);

/* One millisecond. */
void raft_cluster_step(struct raft_cluster *c);
void raft_cluster_run(struct raft_cluster *c, uint64_t ms);
/* Steps until `done` or the time is up; returns done's last answer. */
bool raft_cluster_until(struct raft_cluster *c, uint64_t ms, bool (*done)(struct raft_cluster *c));
/* The ready leader of the highest term, or 0. */
uint64_t raft_cluster_leader(const struct raft_cluster *c);
bool raft_cluster_has_leader(struct raft_cluster *c);
/* All running members applied the same, everything acknowledged is in it. */
bool raft_cluster_converged(struct raft_cluster *c);
/* Proposes a fresh value at a member; returns it. */
uint64_t raft_cluster_propose(struct raft_cluster *c, uint64_t id);
bool raft_cluster_acked(const struct raft_cluster *c, uint64_t value);
/* Sets broken when an acknowledged value was applied by nobody. */
void raft_cluster_check(struct raft_cluster *c);
void raft_cluster_break(struct raft_cluster *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
