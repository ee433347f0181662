/* lead.h - what a leader does besides libraft's core.
 *
 * Guard G3: a barrier is appended right after winning; until it is stored here, successes of
 * followers are withheld (libraft 0.15 would commit entries of older terms by counting them, figure
 * 8 of the paper). Reads and proposals start once it is committed. */
#ifndef KVD_RAFT_LEAD_H
#define KVD_RAFT_LEAD_H

#include <stdbool.h>
#include <stdint.h>

#include <raft.h>

struct node;

struct lead {
    uint64_t term;          /* the term we lead, 0 = none noticed yet */
    uint64_t barrier_index; /* of that term's barrier, 0 = not appended yet */
    bool barrier_pending;   /* its callback is outstanding */
    struct raft_barrier barrier;
    uint64_t stored_ms;    /* when our disk last had nothing pending or finished something */
    uint64_t stored_index; /* what was stored then */
    struct raft_transfer hand_over;
};

/* Notices won and lost elections, appends the barrier, releases withheld successes. */
void lead_step(struct node *n);
/* The own-term barrier is committed: reads, proposals and changes may start. */
bool lead_ready(const struct node *n);
/* Guard G3: must successes of followers wait? */
bool lead_withholding(const struct node *n);
/* A leader whose disk stores nothing for an election timeout can commit nothing either (libraft
 * counts only what it stored itself), though its heartbeats keep everyone quiet: it hands over. */
void lead_tick(struct node *n);
/* Tells followers that are otherwise idle about a moved commit index (an empty AppendEntries), so
 * that their watches don't lag by a heartbeat. */
void lead_announce(struct node *n);

#endif
