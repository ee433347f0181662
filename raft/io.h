/* io.h - our struct raft_io: libraft's calls mapped onto the log, the term file and the transport.
 *
 * Guards kept here (libraft-notes section 3): G2 on every result sent, the rejection hint,
 * splitting and flow control of AppendEntries, the configuration rollback, send callbacks deferred
 * to the next settle (a synchronous one is a use after free), and no failure ever reported for an
 * append. */
#ifndef KVD_RAFT_IO_H
#define KVD_RAFT_IO_H

#include <stdbool.h>

struct node;

/* Fills n->io and n->fsm. */
void io_init(struct node *n);
/* Completes the sends and snapshot reads libraft started since the last time. */
void io_complete(struct node *n);
/* Is something pending on the disk, as guard G1 understands it? */
bool io_pending(const struct node *n);

#endif
