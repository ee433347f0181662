/* pool.h - small blocks for one loop: what calls, their messages and the HTTP/2 engine allocate
 * and free thousands of times per second.
 *
 * Freed blocks wait in a free list per size class instead of going back to the allocator; the lists
 * together keep at most RPC_POOL_BYTES_MAX. One thread. In debug and sanitizer builds every block
 * goes straight to base/alloc.h, so that a use after free is seen. */
#ifndef KVD_RPC_POOL_H
#define KVD_RPC_POOL_H

#include <stdbool.h>
#include <stddef.h>

#define POOL_CLASSES 6 /* 64, 128, ... 2048 bytes */

struct pool_block;

struct pool {
    struct pool_block *free[POOL_CLASSES];
    size_t kept;     /* bytes in the free lists */
    size_t kept_max; /* 0: keep nothing, every block is a fresh allocation */
};

/* Starts empty; see above for when nothing is kept. */
void pool_init(struct pool *p);
/* Frees the free lists. Blocks still out may be given back afterwards. */
void pool_close(struct pool *p);
/* Uninitialised, 16-byte aligned; NULL when out of memory. */
void *pool_alloc(struct pool *p, size_t size);
/* Zeroed. */
void *pool_zalloc(struct pool *p, size_t size);
/* As realloc: old stays valid on NULL. */
void *pool_realloc(struct pool *p, void *old, size_t size);
/* NULL is fine. */
void pool_free(struct pool *p, void *block);

#endif
