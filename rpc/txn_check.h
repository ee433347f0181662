/* txn_check.h - what a transaction must satisfy before it is proposed (contract T-01..T-03, T-09).
 */
#ifndef KVD_RPC_TXN_CHECK_H
#define KVD_RPC_TXN_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/etcd/rpc.pb-c.h"

struct txn_facts {
    bool read_only;    /* both top-level lists hold ranges only: needs no log entry */
    bool serializable; /* each of those ranges is; true when there are none (T-10) */
};

/* 0 or ERR_TOO_MANY_OPS, ERR_EMPTY_KEY, ERR_KEY_NOT_FOUND (an op without a variant), the errors of
 * single requests, ERR_DUPLICATE_KEY, ERR_TOO_DEEP (TXN_DEPTH_MAX), ERR_NOMEM. Time is bounded by
 * (size of the request) x max_ops. */
int txn_check(const Etcdserverpb__TxnRequest *txn, uint32_t max_ops, struct txn_facts *facts);

#endif
