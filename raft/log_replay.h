/* log_replay.h - what a sequence of items amounts to: checked once, then told entry by entry.
 *
 * Two passes over the same items. The first follows the indexes, refuses nonsense and notes where
 * truncations and resets are; after log_replay_rewind the second hands out the entries that none of
 * them removed. */
#ifndef KVD_RAFT_LOG_REPLAY_H
#define KVD_RAFT_LOG_REPLAY_H

#include <stdbool.h>

#include "base/buf.h"
#include "raft/log.h"
#include "raft/record.h"

/* Items numbered below `at` lost what they said about indexes >= low. */
struct log_replay_cut {
    uint64_t at;
    uint64_t low;
};

struct log_replay {
    uint64_t first; /* index of the first entry, so far */
    uint64_t next;
    uint64_t max_term;
    uint64_t watch_index; /* the caller's; its term, when an item told it, is watch_term, else 0 */
    uint64_t watch_term;
    uint64_t seal; /* the generation the last item named; 0 = none */

    uint64_t items;
    struct log_replay_cut *cuts;
    size_t cut_count;
    size_t cut_cap;

    bool partial;            /* an entry's last part has not come yet */
    bool headless;           /* its first part was cut off: it counts but cannot be told */
    struct record_item open; /* its newest part; data is not valid any more */
    struct buf bytes;        /* second pass: its payload so far */

    int (*entry)(void *data, const struct log_entry *e); /* second pass */
    void *entry_data;
    size_t cut_next;
};

void log_replay_init(struct log_replay *r, uint64_t watch_index);
void log_replay_close(struct log_replay *r);
/* The first segment begins: the next entry has this index. */
void log_replay_begin(struct log_replay *r, uint64_t next_index);
/* 0, ERR_DAMAGED when it makes no sense here, ERR_NOMEM, or what `entry` returned. */
int log_replay_item(struct log_replay *r, const struct record_item *item);
/* Starts the second pass. */
void log_replay_rewind(struct log_replay *r, int (*entry)(void *data, const struct log_entry *e),
                       void *entry_data);

#endif
