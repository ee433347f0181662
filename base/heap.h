/* heap.h - an intrusive binary min-heap keyed by int64_t: timers, lease expiry.
 * Equal keys come out in no particular order. Embed a heap_node; it must not move while inside. */
#ifndef KVD_BASE_HEAP_H
#define KVD_BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_node {
    int64_t key;
    size_t at; /* position + 1; 0 = not in a heap */
};

struct heap {
    struct heap_node **nodes;
    size_t len;
    size_t cap;
};

void heap_init(struct heap *h);
void heap_close(struct heap *h); /* frees the array, not the nodes */
/* Room for `len` nodes in all, so that heap_set cannot fail up to there. false when out of memory
 * (heap unchanged). */
bool heap_reserve(struct heap *h, size_t len);
/* Inserts, or moves when already inside. false when out of memory (heap unchanged). */
bool heap_set(struct heap *h, struct heap_node *n, int64_t key);
void heap_remove(struct heap *h, struct heap_node *n); /* harmless when not inside */
struct heap_node *heap_min(const struct heap *h);      /* NULL when empty */

#endif
