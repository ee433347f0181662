/* apply.h - one entry after the other, one operation after the other: the state inside kv/.
 *
 * kv_apply_begin, then kv_apply_step until KV_DONE (kv/kv.h). An operation ends in exactly one
 * change_publish; only then its events go to the hub and its result to the proposer. */
#ifndef KVD_KV_APPLY_H
#define KVD_KV_APPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/alloc.h"
#include "kv/result.h"
#include "kv/txn.h"
#include "proto/batch.h"
#include "proto/entry.pb-c.h"

struct apply {
    bool active; /* between kv_apply_begin and KV_DONE */
    uint64_t index;
    uint64_t term;
    struct slice payload;
    size_t position; /* behind the operation in hand */

    bool in_op; /* an operation waits for its next slice */
    struct batch_op op;
    int64_t begin;      /* revision before it */
    uint64_t executed;  /* operations before it, for metrics */
    struct arena arena; /* the decoded operation, its program */
    struct result result;
    struct txn txn;
};

void apply_init(struct apply *a);
void apply_close(struct apply *a);

#endif
