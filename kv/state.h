/* state.h - struct kv: what the files of the database share. Nobody outside kv/ includes it.
 *
 * Everything here belongs to the store loop except what says "atomic". */
#ifndef KVD_KV_STATE_H
#define KVD_KV_STATE_H

#include <stdatomic.h>

#include "base/alloc.h"
#include "kv/alarm.h"
#include "kv/apply.h"
#include "kv/change.h"
#include "kv/compact.h"
#include "kv/epoch.h"
#include "kv/kv.h"
#include "kv/lessor.h"
#include "kv/page_count.h"
#include "kv/watch.h"

struct kv {
    struct kv_options options;
    struct store *store;

    /* As of the last whole operation. */
    int64_t revision;
    int64_t compact_revision;
    struct accounting accounting;
    /* As of the last whole entry. */
    uint64_t applied_index;
    uint64_t applied_term;
    uint64_t running_hash;
    uint64_t configuration_index;
    struct buf configuration;

    struct lessor lessor;
    struct alarm_set alarms;
    struct epoch_set epochs;
    struct change change; /* of the operation being applied */
    struct apply apply;
    struct watch_hub hub;
    struct compactor compactor;
    struct kv_counts counts;
    struct page_counts page_counts; /* any thread */
};

/* Ends the process: apply may not fail, and going on would split this member from the others. */
_Noreturn void kv_stop(int err, const char *doing);

#endif
