/* alloc.h - memory with a fault hook, and arenas.
 *
 * All of kvd allocates through mem_*; tests make allocation number N fail with mem_fail_after().
 * mem_* return NULL on exhaustion and callers answer with an error; the x-variants abort and are
 * for start-up and for places whose failure has no answer (documented there). */
#ifndef KVD_BASE_ALLOC_H
#define KVD_BASE_ALLOC_H

#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

void *mem_alloc(size_t size);                /* uninitialised; NULL when out of memory */
void *mem_zalloc(size_t size);               /* zeroed; NULL when out of memory */
void *mem_realloc(void *old, size_t size);   /* old stays valid on NULL */
void mem_free(void *ptr);                    /* NULL is fine */
void *mem_xalloc(size_t size);               /* aborts when out of memory */
void *mem_xzalloc(size_t size);              /* aborts when out of memory */
void *mem_xrealloc(void *old, size_t size);  /* aborts when out of memory */
char *mem_strdup(const char *text);          /* NULL when out of memory */
void *mem_dup(const void *data, size_t len); /* NULL when out of memory */

/* The Nth allocation from now on this thread fails once (1 = the next); 0 switches it off. Tests.
 */
void mem_fail_after(uint64_t count);
/* What is left of that count; 0 = off. Lets a test's own allocations pass by: read, switch off,
 * allocate, switch on again with what was read. */
uint64_t mem_fail_left(void);

/* An arena: many small allocations freed at once. Not thread-safe; one owner. */
struct arena_block;
struct arena {
    struct arena_block *blocks; /* newest first */
    uint8_t *next;              /* free space in the newest block */
    size_t room;                /* bytes left there */
    size_t used;                /* bytes handed out since init or clear */
    size_t limit;               /* largest `used` allowed; 0 = none */
};

/* limit: bytes this arena may hand out in all, 0 for no limit. Allocates nothing yet. */
void arena_init(struct arena *a, size_t limit);
/* 16-byte aligned, uninitialised; NULL when out of memory or over the limit (the arena stays
 * usable). Lives until arena_clear or arena_close. */
void *arena_alloc(struct arena *a, size_t size);
void *arena_zalloc(struct arena *a, size_t size);
/* Copies bytes into the arena; data NULL in the result means out of memory (len 0 is never NULL).
 */
struct slice arena_dup(struct arena *a, struct slice bytes);
/* Forgets all allocations, keeps one block for reuse. */
void arena_clear(struct arena *a);
/* Frees everything; the arena may be initialised again. */
void arena_close(struct arena *a);

#endif
