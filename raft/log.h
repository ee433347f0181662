/* log.h - the durable raft log: segments of records over a struct disk, and term/vote.
 *
 * Rules (libraft-notes section 5): every record carries a CRC32C, its entries' indexes and terms,
 * and the segment's generation; records are whole sectors; ONE write is in flight and everything
 * queued meanwhile goes into the next (group commit). Truncations are records too, so order is the
 * log's. A *tear* is a bad record at the very end some of whose sectors still hold their content
 * from before the write (zeros): it is cut, nothing acknowledged goes with it. Anything else bad is
 * *damage*, also in the last record: log_open says file and offset and refuses. A full disk:
 * appends wait and are retried (a reserve segment keeps room for the entries that free space); an
 * I/O error stops the process - a failed append is never reported to libraft. */
#ifndef KVD_RAFT_LOG_H
#define KVD_RAFT_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"
#include "raft/disk.h"

struct log;

struct log_entry {
    uint64_t index;
    uint64_t term;
    uint16_t type; /* enum raft_entry_type: RAFT_COMMAND, RAFT_BARRIER, RAFT_CHANGE */
    struct slice payload;
};

struct log_options {
    struct disk *disk;
    uint32_t segment_bytes; /* size of a new segment [1 MiB]; a larger entry spans several */
    /* The newest checkpoint's applied index: entries up to it may be missing. If the log ends
     * before it the log restarts at it (design section 5: LMDB ahead of the log's end). */
    uint64_t applied_index;
    uint64_t applied_term; /* 0 = not known: not compared with the log's */
    /* Told when the disk is full (true: the next segment could not be made; appends go on while
     * prepared segments last, then wait) and when that is over (false). May be NULL. */
    void (*full)(void *data, bool is_full);
    /* Told once when nothing can be made durable any more (input/output error). The log is dead
     * then: no callback comes any more, only log_close is allowed. NULL: the process aborts. */
    void (*fatal)(void *data, const char *why);
    void *data;
};

/* Reads and checks all segments, cuts a tear, and calls `entry` for each entry in index order (the
 * payload is valid during the call). *first_index: index of the first entry, or of the next one
 * when there are none. 0, ERR_DAMAGED, ERR_TOO_NEW, ERR_IO, ERR_NOMEM, or what `entry` returned. */
int log_open(const struct log_options *options, int (*entry)(void *data, const struct log_entry *e),
             void *entry_data, struct log **out, uint64_t *first_index, struct errmsg *e);
/* Frees; what is queued is dropped without callback. May wait for a disk operation in flight, and
 * must not be called from an append's callback: close from log_drain's, or when the node has
 * failed, the disk is full (log_full) or gone. */
void log_close(struct log *l);
/* Call it every 20 to 100 ms: retries what a full disk refused, gives unused buffers back. */
void log_tick(struct log *l);

struct log_append {
    void *data;
    void (*cb)(struct log_append *req); /* durable; always success, see above */
    void *impl[4];
    uint64_t last_index;
};

/* Queues n > 0 entries with consecutive indexes starting at the log's next index. Payloads stay the
 * caller's until cb, the array only for the call. Callbacks come in order, never inside the call.
 */
void log_append(struct log *l, struct log_append *req, const struct log_entry *entries, size_t n);
/* Queues the removal of entries >= index; ordered after queued appends and before later ones. The
 * next append starts at index. */
void log_truncate(struct log *l, uint64_t index);
/* Queues dropping everything: the next append starts at index + 1, after an entry (index, term)
 * that lives in the checkpoint only (snapshot install). cb when durable. */
void log_reset(struct log *l, struct log_append *req, uint64_t index, uint64_t term);
/* Whole segments whose entries are all <= index may be removed, now or later. Never cuts above the
 * index of a fully synced checkpoint: the caller's duty. */
void log_cut(struct log *l, uint64_t index);
/* Any append, truncation or reset queued or in flight (guard G1). True right after log_open where
 * the log restarts behind the checkpoint. */
bool log_pending(const struct log *l);
/* The disk is full: what is queued may wait for long. */
bool log_full(const struct log *l);
/* Calls cb once nothing is pending, at once when nothing is. One waiter at a time. */
void log_drain(struct log *l, void (*cb)(void *data), void *data);

uint64_t log_first_index(const struct log *l);
uint64_t log_last_index(const struct log *l); /* last queued; first - 1 when empty */
uint64_t log_bytes(const struct log *l);      /* of all segments on disk */

/* ---- term and vote: two slots with checks in one file, written in turn, durable on return ---- */

struct term_file;
/* A fresh directory gives term 0, vote 0. A slot is one sector, which a crash leaves old or new but
 * never bad: a bad one is ERR_DAMAGED, never a silent step back to the other one's older vote. The
 * log checks its half: entries without a term file, or of a later term, are damage too. So set the
 * term before the first append, and after log_open. */
int term_file_open(struct disk *disk, struct term_file **out, struct errmsg *e);
void term_file_close(struct term_file *t);
uint64_t term_file_term(const struct term_file *t);
uint64_t term_file_vote(const struct term_file *t);
int term_file_set(struct term_file *t, uint64_t term,
                  uint64_t vote); /* 0 or ERR_IO, ERR_NO_SPACE */

#endif
