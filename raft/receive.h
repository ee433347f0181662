/* receive.h - frames from members on their way into libraft: checks, guards and the freeze.
 *
 * Guard G1: while this member is not leader and its disk has work pending, frames and ticks wait;
 * on a leader only frames of a higher term do. Confirmations bypass it (they read one number). */
#ifndef KVD_RAFT_RECEIVE_H
#define KVD_RAFT_RECEIVE_H

#include <stdbool.h>
#include <stdint.h>

#include <raft.h>

struct node;

/* Delivers held frames as far as guard G1 allows now. */
void receive_release(struct node *n);
/* Forgets all held frames. */
void receive_clear(struct node *n);
/* May libraft be ticked now? */
bool receive_tickable(const struct node *n);
/* A follower that heard nothing for so long knows no leader any more. Only while nothing is pending
 * on the disk: a pending append's result still goes to that leader. */
void receive_forget_leader(struct node *n, uint64_t silent_ms);
/* Hands one message to libraft; the caller settles. */
void receive_deliver(struct node *n, struct raft_message *message);

#endif
