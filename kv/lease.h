/* lease.h - the replicated part of leases: which exist and which keys are attached.
 *
 * Rows: TABLE_LEASE id -> ttl; TABLE_LEASE_KEY id, user key -> nothing, so a revoke finds its keys
 * in byte order and attachments survive restarts. Called by apply only, inside an operation. */
#ifndef KVD_KV_LEASE_H
#define KVD_KV_LEASE_H

#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "kv/store.h"

struct kv;
struct lease;

/* What one lease adds to the accounted bytes (contract MT-03). */
#define LEASE_COST_BYTES 64

#define LEASE_ID_BYTES 8u
void lease_key(uint8_t out[LEASE_ID_BYTES], int64_t id);

/* 0, ERR_LEASE_NOT_FOUND (id 0), ERR_LEASE_EXIST, ERR_LEASE_TTL_TOO_LARGE. *ttl is made >= 1. */
int lease_grant(struct kv *kv, int64_t id, int64_t *ttl);
/* Forgets a lease whose keys are gone. */
void lease_drop(struct kv *kv, struct lease *lease);
/* A key's lease changes; 0 = none. Equal ids: nothing to do. `after` must exist. */
void lease_move_key(struct kv *kv, struct slice key, int64_t before, int64_t after);

/* Rebuilds kv->lessor from the rows. 0 or an enum err. */
int lease_open(struct kv *kv, struct store_view *view);

#endif
