/* quota.h - what a request costs, for the checks before proposing (contract MT-03).
 *
 * Apply never consults the quota: an entry that was committed is applied on every member alike, and
 * only replicated NOSPACE alarms change what apply refuses (design section 4, which overrides the
 * second check of contract MT-04). What counts are the accounted bytes of kv/change.h. */
#ifndef KVD_KV_QUOTA_H
#define KVD_KV_QUOTA_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/entry.pb-c.h"

struct kv;

int64_t quota_cost_put(const Etcdserverpb__PutRequest *put);
/* Of a transaction: its dearer branch. */
int64_t quota_cost_txn(const Etcdserverpb__TxnRequest *txn);
/* Would active alarms refuse this operation (contract MT-05, MT-06)? 0, ERR_NO_SPACE, ERR_CORRUPT.
 */
int quota_alarms(const struct kv *kv, const Etcdserverpb__InternalRaftRequest *request);

#endif
