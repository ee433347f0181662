/* boot.h - what a member starts from: bootstrap file, log, term file, checkpoint.
 *
 * The bootstrap file makes node_bootstrap synchronous and repeatable: it carries the first
 * configuration until that is durable as entry 1 of the log, and is removed then. Format:
 * "kvdboot1", u32 length, u32 CRC32C of the configuration, configuration (configuration.h). */
#ifndef KVD_RAFT_BOOT_H
#define KVD_RAFT_BOOT_H

#include <raft.h>

#include "base/err.h"

struct node;

/* Reads and checks everything into n->boot. On failure n->log and n->terms may be open. */
int boot_open(struct node *n, struct errmsg *e);
/* Frees what libraft did not take over. */
void boot_close(struct node *n);
/* raft_io's load: hands over n->boot, and the checkpoint as a stub snapshot. A sole voter gets a
 * new term here: libraft 0.15 would lead again in its old one, and two leaders of one term could
 * differ in an entry of the same index. */
int boot_load(struct node *n, raft_term *term, raft_id *voted_for, struct raft_snapshot **snapshot,
              raft_index *start_index, struct raft_entry *entries[], size_t *n_entries);
/* After raft_start: libraft takes the newest configuration of the log for committed; it may not be.
 */
void boot_mark_uncommitted(struct node *n);
/* The first configuration is durable: removes the file. */
void boot_remove_file(struct node *n);

#endif
