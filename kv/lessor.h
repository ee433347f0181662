/* lessor.h - leases in memory and their clock.
 *
 * Which leases exist is replicated (kv/lease.h writes the rows); when they expire is the leader's
 * business alone: only a primary has expiries, and it expires a lease by proposing a revoke. Time
 * comes in through arguments (design section 1). A lease granted on a primary starts to run at the
 * first call that brings the time, so it is never shorter than its TTL (contract GU-06). */
#ifndef KVD_KV_LESSOR_H
#define KVD_KV_LESSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hashmap.h"
#include "base/heap.h"
#include "base/list.h"

/* One lease: about 110 bytes with its places in the tables. */
struct lease {
    struct hash_node node;
    struct heap_node due;  /* on a primary: next time to look at it, ms */
    struct list unclocked; /* granted, waiting for the time; else self-linked */
    int64_t id;
    int64_t ttl;        /* seconds, >= 1 */
    uint64_t expiry_ms; /* on a primary, once clocked */
    uint32_t keys;      /* attached */
};

struct lessor {
    struct hashmap leases;
    struct heap due; /* on a primary: every clocked lease */
    struct list unclocked;
    bool primary;
    uint64_t now_ms;       /* latest time seen */
    int64_t unclocked_ttl; /* smallest TTL in `unclocked`; INT64_MAX when empty */
};

void lessor_init(struct lessor *l);
void lessor_close(struct lessor *l);
/* Forgets all leases; primary or not stays. */
void lessor_clear(struct lessor *l);
struct lease *lessor_find(const struct lessor *l, int64_t id);
/* A new lease (the id is free). NULL = out of memory. */
struct lease *lessor_grant(struct lessor *l, int64_t id, int64_t ttl);
void lessor_revoke(struct lessor *l, struct lease *lease);

/* The rest is kv.h's lease section on this struct. */
void lessor_promote(struct lessor *l, uint64_t now_ms, uint64_t extend_ms);
void lessor_demote(struct lessor *l);
int lessor_renew(struct lessor *l, int64_t id, uint64_t now_ms, int64_t *ttl);
int64_t lessor_remaining_ms(struct lessor *l, struct lease *lease, uint64_t now_ms);
size_t lessor_expired(struct lessor *l, uint64_t now_ms, uint64_t retry_ms, size_t max,
                      void (*expired)(void *data, int64_t id), void *data);
uint64_t lessor_next_ms(const struct lessor *l);
/* Ids by expiry on a primary, by id elsewhere; false when out of memory. */
bool lessor_list(struct lessor *l, void (*lease)(void *data, int64_t id), void *data);

#endif
