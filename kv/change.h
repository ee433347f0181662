/* change.h - the rows of one operation: the only place that writes to the store.
 *
 * change_begin; change_put, change_delete and change_row as often as needed, over as many slices as
 * needed; change_publish makes it visible as one revision. Every row runs through the running hash,
 * every version through the accounting. Failures end the process (kv_stop): apply may not fail. */
#ifndef KVD_KV_CHANGE_H
#define KVD_KV_CHANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "kv/mvcc.h"
#include "kv/record.h"
#include "kv/store.h"

struct kv;

/* Accounted bytes: what the versions that compaction has not given up cost (README: accounting).
 * Pure function of the log. */
struct accounting {
    int64_t bytes;
    /* All that compaction to the current revision would give up, counted from revision 1: versions
     * superseded up to it, tombstones below it. */
    int64_t garbage;
    int64_t tombstones;    /* cost of the tombstones at the current revision */
    int64_t floor_garbage; /* `garbage` as it was at the compaction floor */
};

struct change {
    struct mvcc_reader reader; /* on the writer's view */
    bool reading;
    uint32_t count;     /* changes of keys so far = the next sub revision */
    uint32_t rows;      /* rows written since change_begin */
    int64_t superseded; /* cost of versions superseded by this operation */
    int64_t tombstones; /* cost of its tombstones */
    uint64_t hash;      /* running hash including this operation */
    struct slice origin;
    struct buf key;
    struct buf value;
};

void change_init(struct change *c);
void change_close(struct change *c);
/* origin lives until change_publish. */
void change_begin(struct kv *kv, struct slice origin);
/* What the operation sees, its own rows included. Valid until change_publish. */
struct mvcc_reader *change_reader(struct kv *kv);
/* The revision its rows get, and the one reads inside it see now. */
int64_t change_revision(const struct kv *kv);
int64_t change_visible(const struct kv *kv);
/* The newest version of a key, tombstones included; false = none. */
bool change_find(struct kv *kv, struct slice key, struct version *out);

/* prev: what change_find said (NULL = none). */
void change_put(struct kv *kv, struct slice key, struct slice value, int64_t lease,
                const struct version *prev);
/* prev must be live. */
void change_delete(struct kv *kv, struct slice key, const struct version *prev);
/* A row of another table; value is sealed here. Erases when erase. */
void change_row(struct kv *kv, enum store_table table, struct slice key, struct slice value);
void change_erase(struct kv *kv, enum store_table table, struct slice key);

/* Makes all of it visible together with applied_index, then tells the hub. */
void change_publish(struct kv *kv, uint64_t applied_index);

/* Gives back what compaction to `revision` frees and writes down where that stands. Inside an
 * operation; kv->compact_revision still is the old floor, revision is above it. */
void accounting_compact(struct kv *kv, int64_t revision);
/* Rebuilds everything but `bytes` from the rows. 0 or an enum err. */
int accounting_open(struct kv *kv, struct store_view *view);

/* Extends the running hash over one row. */
uint64_t running_hash(uint64_t hash, uint8_t table, struct slice key, struct slice value);

#endif
