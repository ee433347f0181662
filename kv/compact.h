/* compact.h - dropping what compaction has given up, on the checkpoint thread.
 *
 * The floor moves when apply says so; rows go later, once a durable checkpoint holds every record
 * up to it. Then a walk over the records of [done, floor] drops what each one superseded, and the
 * tombstones below the floor; a tombstone exactly at the floor stays until the next compaction
 * (contract C-03). Which rows are still there is therefore never visible: reads refuse revisions
 * below the floor, and HashKV skips by rule. A walk that is cut short starts again at what the meta
 * row says: dropping twice is harmless. */
#ifndef KVD_KV_COMPACT_H
#define KVD_KV_COMPACT_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"
#include "kv/record.h"

struct kv;

struct compactor {
    /* Floor of the memtable that is sealed: written by the apply thread while none is, read by the
     * checkpoint thread while one is. */
    _Atomic int64_t sealed_floor;
    _Atomic int64_t done; /* checkpoint thread writes */

    /* checkpoint thread */
    int64_t durable_floor;         /* of the newest checkpoint */
    int64_t target;                /* of the walk in progress; -1 = none */
    int64_t from;                  /* `done` when it began */
    struct rev position;           /* next record to look at */
    uint64_t dropped;              /* versions, by this walk */
    _Atomic uint64_t dropped_ever; /* by all of them, for metrics */
    struct buf key;                /* scratch */
};

/* From the checkpoint's meta. No checkpoint may be running. */
void compactor_open(struct compactor *c, int64_t floor, int64_t done);
void compactor_close(struct compactor *c);

#endif
