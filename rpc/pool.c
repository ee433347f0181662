/* pool.c - free lists by size class; see pool.h. */
#include "rpc/pool.h"

#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"

/* In front of every block. 16 bytes, so what follows keeps the allocator's alignment. */
struct pool_block {
    union {
        struct pool_block *next; /* in a free list */
        size_t size;             /* handed out: usable bytes */
    };
    size_t class; /* POOL_CLASSES: too large for a class */
};
_Static_assert(sizeof(struct pool_block) == 16, "blocks stay 16-byte aligned");

#define POOL_SMALLEST 64u

static size_t pool_class(size_t size)
{
    if (size <= POOL_SMALLEST) {
        return 0;
    }
    size_t class = (size_t)(64 - __builtin_clzll((unsigned long long)(size - 1) / POOL_SMALLEST));
    return class < POOL_CLASSES ? class : POOL_CLASSES;
}

void pool_init(struct pool *p)
{
    memset(p, 0, sizeof(*p));
#ifndef KVD_DEBUG
    p->kept_max = RPC_POOL_BYTES_MAX;
#endif
}

void pool_close(struct pool *p)
{
    for (size_t i = 0; i < POOL_CLASSES; i++) {
        while (p->free[i] != NULL) {
            struct pool_block *b = p->free[i];
            p->free[i] = b->next;
            mem_free(b);
        }
    }
    p->kept = 0;
    p->kept_max = 0;
}

void *pool_alloc(struct pool *p, size_t size)
{
    size_t class = pool_class(size);
    if (class < POOL_CLASSES && p->free[class] != NULL) {
        struct pool_block *b = p->free[class];
        p->free[class] = b->next;
        b->size = (size_t)POOL_SMALLEST << class;
        p->kept -= b->size;
        return b + 1;
    }
    /* Without free lists the block is exact, so that a sanitizer sees an overrun of one byte. */
    size_t usable =
        class < POOL_CLASSES && p->kept_max != 0 ? (size_t)POOL_SMALLEST << class : size;
    if (usable > SIZE_MAX - sizeof(struct pool_block)) {
        return NULL;
    }
    struct pool_block *b = mem_alloc(sizeof(*b) + usable);
    if (b == NULL) {
        return NULL;
    }
    b->size = usable;
    b->class = class;
    return b + 1;
}

void *pool_zalloc(struct pool *p, size_t size)
{
    void *block = pool_alloc(p, size);
    if (block != NULL) {
        memset(block, 0, size);
    }
    return block;
}

void *pool_realloc(struct pool *p, void *old, size_t size)
{
    if (old == NULL) {
        return pool_alloc(p, size);
    }
    struct pool_block *b = (struct pool_block *)old - 1;
    if (size <= b->size && p->kept_max != 0) {
        return old;
    }
    void *fresh = pool_alloc(p, size);
    if (fresh == NULL) {
        return NULL;
    }
    memcpy(fresh, old, b->size < size ? b->size : size);
    pool_free(p, old);
    return fresh;
}

void pool_free(struct pool *p, void *block)
{
    if (block == NULL) {
        return;
    }
    struct pool_block *b = (struct pool_block *)block - 1;
    if (b->class >= POOL_CLASSES || p->kept + b->size > p->kept_max) {
        mem_free(b);
        return;
    }
    p->kept += b->size;
    b->next = p->free[b->class];
    p->free[b->class] = b;
}
