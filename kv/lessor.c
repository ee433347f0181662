/* lessor.c - expiries of a primary: a heap by the time each lease wants attention. */
#include "kv/lessor.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/err.h"

/* Leases that may come due in one second after a promotion before they are spread (contract L-11).
 */
#define REVOKES_PER_SECOND        1000u
#define SPREAD_REVOKES_PER_SECOND (3 * REVOKES_PER_SECOND / 4)
#define NO_MEMORY                 "out of memory for leases: kvd cannot go on without expiring them"

#define LEASE_OF(n)           LIST_ENTRY(n, struct lease, node)
#define LEASE_OF_DUE(n)       LIST_ENTRY(n, struct lease, due)
#define LEASE_OF_UNCLOCKED(n) LIST_ENTRY(n, struct lease, unclocked)

void lessor_init(struct lessor *l)
{
    hashmap_init(&l->leases);
    heap_init(&l->due);
    list_init(&l->unclocked);
    l->primary = false;
    l->now_ms = 0;
    l->unclocked_ttl = INT64_MAX;
}

void lessor_clear(struct lessor *l)
{
    size_t bucket = 0;
    struct hash_node *n = NULL;
    struct hash_node *doomed = NULL;
    while ((n = hashmap_iter(&l->leases, &bucket, n)) != NULL) {
        if (doomed != NULL) {
            mem_free(LEASE_OF(doomed));
        }
        doomed = n;
    }
    if (doomed != NULL) {
        mem_free(LEASE_OF(doomed));
    }
    hashmap_close(&l->leases);
    heap_close(&l->due);
    list_init(&l->unclocked);
    l->unclocked_ttl = INT64_MAX;
}

void lessor_close(struct lessor *l)
{
    lessor_clear(l);
}

struct lease *lessor_find(const struct lessor *l, int64_t id)
{
    uint64_t hash = hash_u64((uint64_t)id);
    struct hash_node *n = hashmap_first(&l->leases, hash);
    while (n != NULL && LEASE_OF(n)->id != id) {
        n = hashmap_next(n, hash);
    }
    return n == NULL ? NULL : LEASE_OF(n);
}

static void lessor_add_unclocked(struct lessor *l, struct lease *lease)
{
    list_push_back(&l->unclocked, &lease->unclocked);
    if (lease->ttl < l->unclocked_ttl) {
        l->unclocked_ttl = lease->ttl;
    }
}

struct lease *lessor_grant(struct lessor *l, int64_t id, int64_t ttl)
{
    struct lease *lease = mem_zalloc(sizeof(*lease));
    if (lease == NULL) {
        return NULL;
    }
    lease->id = id;
    lease->ttl = ttl;
    list_init(&lease->unclocked);
    if (!hashmap_insert(&l->leases, &lease->node, hash_u64((uint64_t)id))) {
        mem_free(lease);
        return NULL;
    }
    if (l->primary) {
        lease->expiry_ms = l->now_ms + (uint64_t)ttl * 1000; /* at the earliest */
        lessor_add_unclocked(l, lease);
    }
    return lease;
}

void lessor_revoke(struct lessor *l, struct lease *lease)
{
    hashmap_remove(&l->leases, &lease->node);
    heap_remove(&l->due, &lease->due);
    list_remove(&lease->unclocked);
    if (list_empty(&l->unclocked)) {
        l->unclocked_ttl = INT64_MAX;
    }
    mem_free(lease);
}

/* The lease runs its full TTL, and extra_ms, from now on. */
static void lessor_start(struct lessor *l, struct lease *lease, uint64_t now_ms, uint64_t extra_ms)
{
    /* A TTL may be 9e9 seconds: far below 2^63 ms. */
    lease->expiry_ms = now_ms + (uint64_t)lease->ttl * 1000 + extra_ms;
    FATAL_IF(!heap_set(&l->due, &lease->due, (int64_t)lease->expiry_ms), NO_MEMORY);
}

/* Learns the time; leases granted since the last call begin to run. */
static void lessor_clock(struct lessor *l, uint64_t now_ms)
{
    struct list *n;
    if (now_ms > l->now_ms) {
        l->now_ms = now_ms;
    }
    while (l->primary && (n = list_pop_front(&l->unclocked)) != NULL) {
        lessor_start(l, LEASE_OF_UNCLOCKED(n), l->now_ms, 0);
    }
    l->unclocked_ttl = INT64_MAX;
}

static int lease_by_expiry(const void *a, const void *b)
{
    const struct lease *x = *(struct lease *const *)a;
    const struct lease *y = *(struct lease *const *)b;
    if (x->expiry_ms != y->expiry_ms) {
        return x->expiry_ms < y->expiry_ms ? -1 : 1;
    }
    return x->id < y->id ? -1 : x->id > y->id;
}

static int lease_by_id(const void *a, const void *b)
{
    const struct lease *x = *(struct lease *const *)a;
    const struct lease *y = *(struct lease *const *)b;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* All leases in an array of l->leases.len, to be freed; NULL when out of memory or empty. */
static struct lease **lessor_array(const struct lessor *l, int (*order)(const void *, const void *))
{
    size_t bucket = 0;
    size_t len = 0;
    struct hash_node *n = NULL;
    struct lease **all = l->leases.len == 0 ? NULL : mem_alloc(l->leases.len * sizeof(*all));
    if (all == NULL) {
        return NULL;
    }
    while ((n = hashmap_iter(&l->leases, &bucket, n)) != NULL) {
        all[len++] = LEASE_OF(n);
    }
    qsort(all, len, sizeof(*all), order);
    return all;
}

/* Leases that would come due together are moved apart, or they would eat the whole revoke rate
 * (contract L-11): 750 per second stay, each further one is delayed in proportion. */
static void lessor_spread(struct lessor *l, uint64_t now_ms, uint64_t extend_ms)
{
    struct lease **all = lessor_array(l, lease_by_expiry);
    if (all == NULL) {
        return;
    }
    int64_t base = (int64_t)(all[0]->expiry_ms - now_ms);
    int64_t next = base + 1000;
    uint64_t expires = 0;
    for (size_t i = 0; i < l->leases.len; i++) {
        int64_t remaining = (int64_t)(all[i]->expiry_ms - now_ms);
        if (remaining > next) {
            base = remaining;
            next = base + 1000;
            expires = 1;
            continue;
        }
        if (++expires <= SPREAD_REVOKES_PER_SECOND) {
            continue;
        }
        int64_t delay = (int64_t)(1000 * expires / SPREAD_REVOKES_PER_SECOND) - (remaining - base);
        delay = delay < 0 ? 0 : delay;
        next = base + delay;
        lessor_start(l, all[i], now_ms, extend_ms + (uint64_t)delay);
    }
    mem_free(all);
}

void lessor_promote(struct lessor *l, uint64_t now_ms, uint64_t extend_ms)
{
    size_t bucket = 0;
    struct hash_node *n = NULL;
    l->primary = true;
    lessor_clock(l, now_ms);
    while ((n = hashmap_iter(&l->leases, &bucket, n)) != NULL) {
        lessor_start(l, LEASE_OF(n), now_ms, extend_ms);
    }
    if (l->leases.len >= REVOKES_PER_SECOND) {
        lessor_spread(l, now_ms, extend_ms);
    }
}

void lessor_demote(struct lessor *l)
{
    struct heap_node *n;
    l->primary = false;
    while (l->due.len > 0) {
        /* From the end: no sifting. */
        n = l->due.nodes[l->due.len - 1];
        heap_remove(&l->due, n);
    }
    while (list_pop_front(&l->unclocked) != NULL) {
    }
    l->unclocked_ttl = INT64_MAX;
}

int lessor_renew(struct lessor *l, int64_t id, uint64_t now_ms, int64_t *ttl)
{
    if (!l->primary) {
        return ERR_NOT_LEADER;
    }
    lessor_clock(l, now_ms);
    struct lease *lease = lessor_find(l, id);
    if (lease == NULL || lease->expiry_ms <= now_ms) {
        return ERR_LEASE_NOT_FOUND;
    }
    lessor_start(l, lease, now_ms, 0);
    *ttl = lease->ttl;
    return 0;
}

int64_t lessor_remaining_ms(struct lessor *l, struct lease *lease, uint64_t now_ms)
{
    if (!l->primary) {
        return -1;
    }
    lessor_clock(l, now_ms);
    return lease->expiry_ms > now_ms ? (int64_t)(lease->expiry_ms - now_ms) : 0;
}

size_t lessor_expired(struct lessor *l, uint64_t now_ms, uint64_t retry_ms, size_t max,
                      void (*expired)(void *data, int64_t id), void *data)
{
    size_t count = 0;
    if (!l->primary) {
        return 0;
    }
    lessor_clock(l, now_ms);
    while (count < max) {
        struct heap_node *n = heap_min(&l->due);
        if (n == NULL || n->key > (int64_t)now_ms) {
            break;
        }
        struct lease *lease = LEASE_OF_DUE(n);
        FATAL_IF(!heap_set(&l->due, n, (int64_t)(now_ms + retry_ms)), NO_MEMORY);
        count++;
        expired(data, lease->id);
    }
    return count;
}

uint64_t lessor_next_ms(const struct lessor *l)
{
    uint64_t next = UINT64_MAX;
    struct heap_node *n = l->primary ? heap_min(&l->due) : NULL;
    if (n != NULL) {
        next = (uint64_t)n->key;
    }
    if (l->unclocked_ttl != INT64_MAX) {
        /* They started at or after now_ms. */
        uint64_t unclocked = l->now_ms + (uint64_t)l->unclocked_ttl * 1000;
        next = unclocked < next ? unclocked : next;
    }
    return next;
}

bool lessor_list(struct lessor *l, void (*callback)(void *data, int64_t id), void *data)
{
    struct lease **all = lessor_array(l, l->primary ? lease_by_expiry : lease_by_id);
    if (all == NULL) {
        return l->leases.len == 0;
    }
    for (size_t i = 0; i < l->leases.len; i++) {
        callback(data, all[i]->id);
    }
    mem_free(all);
    return true;
}
