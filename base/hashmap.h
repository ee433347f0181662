/* hashmap.h - an intrusive chained hash table; the caller compares and owns the nodes.
 * Hashes are keyed per process (hash_bytes), so no client can aim at one bucket. */
#ifndef KVD_BASE_HASHMAP_H
#define KVD_BASE_HASHMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct hash_node {
    struct hash_node *next;
    uint64_t hash;
};

struct hashmap {
    struct hash_node **buckets; /* NULL until the first insert */
    size_t bucket_count;        /* a power of two */
    size_t split;               /* buckets below are divided already while growing (hashmap.c) */
    size_t len;
    bool growing;
};

/* Keyed hash of bytes or of one integer; the key is drawn at start (hash_seed for simulations). */
uint64_t hash_bytes(struct slice bytes);
uint64_t hash_u64(uint64_t value);
void hash_seed(uint64_t seed);

void hashmap_init(struct hashmap *m);
void hashmap_close(struct hashmap *m); /* frees the buckets, not the nodes */
/* false when out of memory (map unchanged). Duplicates are the caller's business. */
bool hashmap_insert(struct hashmap *m, struct hash_node *n, uint64_t hash);
/* First node with this hash, then hashmap_next for the others; NULL at the end. */
struct hash_node *hashmap_first(const struct hashmap *m, uint64_t hash);
struct hash_node *hashmap_next(const struct hash_node *n, uint64_t hash);
void hashmap_remove(struct hashmap *m, struct hash_node *n);
/* Any iteration: call with *bucket = 0 and prev NULL first; returns NULL at the end. To remove
 * nodes on the way, take the next one first, then remove the one in hand. No inserts meanwhile. */
struct hash_node *hashmap_iter(const struct hashmap *m, size_t *bucket, struct hash_node *prev);

#endif
