/* svc_kv_check.h - the checks of single requests that need no store (contract K-01, P-01, D-01,
 * T-02), straight on the wire bytes. They accept exactly what codec_decode accepts. */
#ifndef KVD_RPC_SVC_KV_CHECK_H
#define KVD_RPC_SVC_KV_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

/* What the caller needs to know of a RangeRequest. */
struct svc_range_facts {
    bool serializable;
    bool default_order; /* NONE with any target, or KEY ascending (S-01) */
    bool filtered;      /* any min/max revision filter set */
};

/* 0, ERR_MALFORMED, or the row of the table that the client gets. */
int svc_check_put(struct slice request);
int svc_check_delete_range(struct slice request);
int svc_check_range(struct slice request, struct svc_range_facts *facts);

#endif
