/* alloc.c - malloc with a fault hook, and arenas of doubling blocks.
 *
 * An arena's blocks double from 4 KiB to 64 KiB; what is larger than a quarter of the next block
 * gets a block of its own behind the newest one, so that a big value does not waste the rest of it.
 * Under AddressSanitizer the free part of a block is poisoned and 16 bytes stay unused after each
 * allocation: overruns inside arenas are found as they are on the heap. */
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_ASAN 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define ARENA_ASAN 1
#endif

#ifdef ARENA_ASAN
#include <sanitizer/asan_interface.h>
#define ARENA_POISON(p, n)   ASAN_POISON_MEMORY_REGION((p), (n))
#define ARENA_UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION((p), (n))
#define ARENA_RED_ZONE       16u
#else
#define ARENA_POISON(p, n)   ((void)0)
#define ARENA_UNPOISON(p, n) ((void)0)
#define ARENA_RED_ZONE       0u
#endif

#define ARENA_ALIGN           16u
#define ARENA_BLOCK_BYTES_MIN 4096u
#define ARENA_BLOCK_BYTES_MAX 65536u

/* Allocations left until one fails; 0 = never. Per thread, so a test disturbs only itself. */
static _Thread_local uint64_t mem_fail_countdown;

void mem_fail_after(uint64_t count)
{
    mem_fail_countdown = count;
}

uint64_t mem_fail_left(void)
{
    return mem_fail_countdown;
}

static inline bool mem_fails_now(void)
{
    if (__builtin_expect(mem_fail_countdown != 0, 0)) {
        mem_fail_countdown--;
        return mem_fail_countdown == 0;
    }
    return false;
}

void *mem_alloc(size_t size)
{
    if (mem_fails_now()) {
        return NULL;
    }
    return malloc(size == 0 ? 1 : size);
}

void *mem_zalloc(size_t size)
{
    if (mem_fails_now()) {
        return NULL;
    }
    return calloc(1, size == 0 ? 1 : size);
}

void *mem_realloc(void *old, size_t size)
{
    if (mem_fails_now()) {
        return NULL;
    }
    return realloc(old, size == 0 ? 1 : size);
}

void mem_free(void *ptr)
{
    free(ptr);
}

void *mem_xalloc(size_t size)
{
    void *p = mem_alloc(size);
    FATAL_IF(p == NULL, "out of memory");
    return p;
}

void *mem_xzalloc(size_t size)
{
    void *p = mem_zalloc(size);
    FATAL_IF(p == NULL, "out of memory");
    return p;
}

void *mem_xrealloc(void *old, size_t size)
{
    void *p = mem_realloc(old, size);
    FATAL_IF(p == NULL, "out of memory");
    return p;
}

char *mem_strdup(const char *text)
{
    return mem_dup(text, strlen(text) + 1);
}

void *mem_dup(const void *data, size_t len)
{
    void *p = mem_alloc(len);
    if (p != NULL && len > 0) {
        memcpy(p, data, len);
    }
    return p;
}

struct arena_block {
    struct arena_block *next;
    size_t size; /* of data */
    _Alignas(ARENA_ALIGN) uint8_t data[];
};

void arena_init(struct arena *a, size_t limit)
{
    *a = (struct arena){.limit = limit};
}

static void arena_block_free(struct arena_block *b)
{
    ARENA_UNPOISON(b->data, b->size);
    mem_free(b);
}

static void arena_block_use(struct arena *a, struct arena_block *b)
{
    a->next = b->data;
    a->room = b->size;
    ARENA_POISON(b->data, b->size);
}

/* A block of its own for one large allocation. */
static void *arena_alloc_alone(struct arena *a, size_t size)
{
    struct arena_block *b = mem_alloc(sizeof *b + size);
    if (b == NULL) {
        return NULL;
    }
    b->size = size;
    if (a->blocks == NULL) {
        b->next = NULL;
        a->blocks = b;
    } else {
        b->next = a->blocks->next;
        a->blocks->next = b;
    }
    return b->data;
}

/* The size of the next shared block: twice the newest, between the bounds. */
static size_t arena_block_bytes(const struct arena *a)
{
    size_t bytes = ARENA_BLOCK_BYTES_MIN;
    if (a->blocks != NULL) {
        bytes = (a->blocks->size + sizeof *a->blocks) * 2;
        bytes = bytes < ARENA_BLOCK_BYTES_MIN ? ARENA_BLOCK_BYTES_MIN : bytes;
        bytes = bytes > ARENA_BLOCK_BYTES_MAX ? ARENA_BLOCK_BYTES_MAX : bytes;
    }
    return bytes;
}

static void *arena_alloc_slow(struct arena *a, size_t size, size_t rounded)
{
    size_t bytes = arena_block_bytes(a);
    if (rounded > bytes / 4) {
        return arena_alloc_alone(a, size);
    }
    struct arena_block *b = mem_alloc(bytes);
    if (b == NULL) {
        return NULL;
    }
    b->size = bytes - sizeof *b;
    b->next = a->blocks;
    a->blocks = b;
    arena_block_use(a, b);
    uint8_t *p = a->next;
    ARENA_UNPOISON(p, size);
    a->next += rounded;
    a->room -= rounded;
    return p;
}

void *arena_alloc(struct arena *a, size_t size)
{
    if (size > SIZE_MAX / 2) {
        return NULL;
    }
    size_t charge = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    charge = charge == 0 ? ARENA_ALIGN : charge;
    if (a->limit != 0 && (a->used > a->limit || charge > a->limit - a->used)) {
        return NULL;
    }
    size_t rounded = charge + ARENA_RED_ZONE;
    void *p = a->next;
    if (__builtin_expect(rounded <= a->room, 1)) {
        ARENA_UNPOISON(p, size);
        a->next += rounded;
        a->room -= rounded;
    } else {
        p = arena_alloc_slow(a, size, rounded);
        if (p == NULL) {
            return NULL;
        }
    }
    a->used += charge;
    return p;
}

void *arena_zalloc(struct arena *a, size_t size)
{
    void *p = arena_alloc(a, size);
    if (p != NULL) {
        memset(p, 0, size);
    }
    return p;
}

struct slice arena_dup(struct arena *a, struct slice bytes)
{
    void *p = arena_alloc(a, bytes.len);
    if (p == NULL) {
        return slice_of(NULL, 0);
    }
    if (bytes.len > 0) {
        memcpy(p, bytes.data, bytes.len);
    }
    return slice_of(p, bytes.len);
}

void arena_clear(struct arena *a)
{
    struct arena_block *keep = NULL;
    struct arena_block *b = a->blocks;
    while (b != NULL) {
        struct arena_block *next = b->next;
        /* The largest shared block stays: a reused arena then allocates nothing. */
        if (b->size <= ARENA_BLOCK_BYTES_MAX && (keep == NULL || b->size > keep->size)) {
            if (keep != NULL) {
                arena_block_free(keep);
            }
            keep = b;
        } else {
            arena_block_free(b);
        }
        b = next;
    }
    a->blocks = keep;
    a->used = 0;
    a->next = NULL;
    a->room = 0;
    if (keep != NULL) {
        keep->next = NULL;
        arena_block_use(a, keep);
    }
}

void arena_close(struct arena *a)
{
    struct arena_block *b = a->blocks;
    while (b != NULL) {
        struct arena_block *next = b->next;
        arena_block_free(b);
        b = next;
    }
    *a = (struct arena){.limit = a->limit};
}
