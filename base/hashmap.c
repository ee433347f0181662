/* hashmap.c - chained table that grows one bucket at a time, and the keyed hash.
 *
 * Growth is linear hashing: the array doubles at once (cheap, large reallocs move pages), but its
 * nodes follow bucket by bucket, a few per insert, so no insert ever rehashes a million nodes on a
 * loop thread. Buckets below `split` are already divided by the next bit of the hash.
 *
 * The hash is SipHash-1-3 (Aumasson and Bernstein) under a key drawn when the program starts.
 *
 * Removing while iterating: take the following node with hashmap_iter first, then remove the one in
 * hand. Inserting while iterating may show nodes twice or not at all. */
#include "base/hashmap.h"

#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/rand.h"

#define HASHMAP_BUCKETS_MIN       16u
#define HASHMAP_SPLITS_PER_INSERT 2

static uint64_t hash_key[2];

__attribute__((constructor)) static void hash_draw_key(void)
{
    rand_system(hash_key, sizeof hash_key);
}

void hash_seed(uint64_t seed)
{
    struct rand r;
    rand_init(&r, seed);
    hash_key[0] = rand_u64(&r);
    hash_key[1] = rand_u64(&r);
}

struct sip {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t sip_rotl(uint64_t x, int by)
{
    return (x << by) | (x >> (64 - by));
}

static inline void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v1 = sip_rotl(s->v1, 13) ^ s->v0;
    s->v0 = sip_rotl(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = sip_rotl(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = sip_rotl(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = sip_rotl(s->v1, 17) ^ s->v2;
    s->v2 = sip_rotl(s->v2, 32);
}

static inline void sip_start(struct sip *s)
{
    s->v0 = hash_key[0] ^ 0x736f6d6570736575u;
    s->v1 = hash_key[1] ^ 0x646f72616e646f6du;
    s->v2 = hash_key[0] ^ 0x6c7967656e657261u;
    s->v3 = hash_key[1] ^ 0x7465646279746573u;
}

static inline void sip_word(struct sip *s, uint64_t word)
{
    s->v3 ^= word;
    sip_round(s);
    s->v0 ^= word;
}

static inline uint64_t sip_finish(struct sip *s)
{
    s->v2 ^= 0xff;
    sip_round(s);
    sip_round(s);
    sip_round(s);
    return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

uint64_t hash_bytes(struct slice bytes)
{
    struct sip s;
    sip_start(&s);
    const uint8_t *p = bytes.data;
    size_t left = bytes.len;
    for (; left >= 8; left -= 8, p += 8) {
        sip_word(&s, bytes_le64(p));
    }
    uint64_t last = (uint64_t)bytes.len << 56;
    for (size_t i = 0; i < left; i++) {
        last |= (uint64_t)p[i] << (8 * i);
    }
    sip_word(&s, last);
    return sip_finish(&s);
}

uint64_t hash_u64(uint64_t value)
{
    struct sip s;
    sip_start(&s);
    sip_word(&s, value);
    sip_word(&s, (uint64_t)8 << 56);
    return sip_finish(&s);
}

void hashmap_init(struct hashmap *m)
{
    *m = (struct hashmap){0};
}

void hashmap_close(struct hashmap *m)
{
    mem_free(m->buckets);
    hashmap_init(m);
}

static inline struct hash_node **hashmap_bucket(const struct hashmap *m, uint64_t hash)
{
    size_t index = hash & (m->bucket_count - 1);
    if (index < m->split) {
        index = hash & (2 * m->bucket_count - 1);
    }
    return &m->buckets[index];
}

/* Divides the next undivided bucket between itself and its partner in the upper half. */
static void hashmap_split_one(struct hashmap *m)
{
    struct hash_node **low = &m->buckets[m->split];
    struct hash_node **high = &m->buckets[m->split + m->bucket_count];
    struct hash_node *n = *low;
    while (n != NULL) {
        struct hash_node *next = n->next;
        struct hash_node ***to = (n->hash & m->bucket_count) != 0 ? &high : &low;
        **to = n;
        *to = &n->next;
        n = next;
    }
    *low = NULL;
    *high = NULL;
    m->split++;
    if (m->split == m->bucket_count) {
        m->bucket_count *= 2;
        m->split = 0;
        m->growing = false;
    }
}

/* Keeps about one node per bucket. Without memory for that, chains get longer and work goes on. */
static void hashmap_grow(struct hashmap *m)
{
    if (!m->growing) {
        if (m->len < m->bucket_count) {
            return;
        }
        size_t bytes = 2 * m->bucket_count * sizeof(*m->buckets);
        struct hash_node **buckets = mem_realloc(m->buckets, bytes);
        if (buckets == NULL) {
            return;
        }
        m->buckets = buckets;
        m->growing = true;
    }
    for (int i = 0; i < HASHMAP_SPLITS_PER_INSERT && m->growing; i++) {
        hashmap_split_one(m);
    }
}

bool hashmap_insert(struct hashmap *m, struct hash_node *n, uint64_t hash)
{
    if (m->buckets == NULL) {
        m->buckets = mem_zalloc(HASHMAP_BUCKETS_MIN * sizeof(*m->buckets));
        if (m->buckets == NULL) {
            return false;
        }
        m->bucket_count = HASHMAP_BUCKETS_MIN;
    }
    hashmap_grow(m);
    struct hash_node **bucket = hashmap_bucket(m, hash);
    n->hash = hash;
    n->next = *bucket;
    *bucket = n;
    m->len++;
    return true;
}

static struct hash_node *hashmap_match(struct hash_node *n, uint64_t hash)
{
    while (n != NULL && n->hash != hash) {
        n = n->next;
    }
    return n;
}

struct hash_node *hashmap_first(const struct hashmap *m, uint64_t hash)
{
    return m->len == 0 ? NULL : hashmap_match(*hashmap_bucket(m, hash), hash);
}

struct hash_node *hashmap_next(const struct hash_node *n, uint64_t hash)
{
    return hashmap_match(n->next, hash);
}

void hashmap_remove(struct hashmap *m, struct hash_node *n)
{
    if (m->len == 0) {
        return;
    }
    for (struct hash_node **at = hashmap_bucket(m, n->hash); *at != NULL; at = &(*at)->next) {
        if (*at == n) {
            *at = n->next;
            n->next = NULL;
            m->len--;
            return;
        }
    }
}

struct hash_node *hashmap_iter(const struct hashmap *m, size_t *bucket, struct hash_node *prev)
{
    if (prev != NULL) {
        if (prev->next != NULL) {
            return prev->next;
        }
        (*bucket)++;
    }
    size_t end = m->buckets == NULL ? 0 : m->bucket_count + m->split;
    for (; *bucket < end; (*bucket)++) {
        if (m->buckets[*bucket] != NULL) {
            return m->buckets[*bucket];
        }
    }
    return NULL;
}
