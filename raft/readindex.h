/* readindex.h - linearizable reads by a term-confirm round (libraft-notes section 7 has the proof).
 *
 * A leader whose own-term barrier is committed saves its commit index R, then asks all voters for
 * their current term. Once a majority answered with the leader's own, every read that was waiting
 * before the questions were sent may be served at R. Later reads wait for the next round. */
#ifndef KVD_RAFT_READINDEX_H
#define KVD_RAFT_READINDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/list.h"

struct node;

struct readindex {
    struct list waiting;         /* struct node_read, for the next round */
    struct list confirming;      /* of the round under way */
    uint64_t round;              /* number of the last round */
    uint64_t index;              /* R of the round under way */
    uint64_t term;               /* its term */
    uint64_t sent_ms;            /* when it was asked last */
    uint64_t acked[MEMBERS_MAX]; /* who answered with our term */
    size_t acked_n;
};

void readindex_init(struct readindex *r);
/* Fails the round of a lost leadership; completes one that has its majority. */
void readindex_step(struct node *n);
/* Starts a round for waiting reads, once per loop turn. */
void readindex_flush(struct node *n);
/* Asks again where an answer is missing. */
void readindex_tick(struct node *n);
/* Another member's answer. */
void readindex_confirmed(struct node *n, uint64_t from, uint64_t term, uint64_t round);
/* Fails all, for node_close. */
void readindex_stop(struct node *n);

#endif
