/* membership.h - adding, promoting and removing members, and leadership transfer.
 *
 * libraft takes one change at a time but doesn't check that an entry of the own term is committed
 * first, without which two majorities may not overlap: changes wait here until that holds, no other
 * configuration is uncommitted and one of the two entry slots is free. Adding takes libraft two or
 * three entries (spare, then standby, then voter); a repeated node_add goes on where an earlier one
 * stopped. */
#ifndef KVD_RAFT_MEMBERSHIP_H
#define KVD_RAFT_MEMBERSHIP_H

#include <stdbool.h>

#include <raft.h>

#include "base/list.h"

struct node;
struct node_change;
struct change;

struct membership {
    struct list waiting;     /* changes not begun */
    struct change *active;   /* the one under way */
    struct change *transfer; /* a transfer asked for or under way */
};

void membership_init(struct membership *m);
/* Begins, advances and finishes changes. */
void membership_step(struct node *n);
/* Is one of the two entry slots taken by a configuration? */
bool membership_in_flight(const struct node *n);
/* Fails those not begun, for node_close. */
void membership_stop(struct node *n);
/* Frees what changes hold and lets `cb` end them instead of their owners, for node_abandon. */
void membership_abandon(struct membership *m, void (*cb)(struct node_change *c, int err));
/* After an AppendEntries conflict below an uncommitted configuration: see the .c file. */
void membership_prepare_append(struct node *n, const struct raft_append_entries *args);

#endif
