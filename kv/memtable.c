/* memtable.c - the skiplist of memtable.h.
 *
 * Levels are drawn with probability 1/4 from a generator with a fixed seed, so two members that
 * apply the same log build the same list. Rows added behind all others (new records, the highest
 * table) are linked at the remembered tail without a search. */
#include "kv/memtable.h"

#include <string.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/assert.h"

#define MEMTABLE_BLOCK_BYTES_MIN (64u * 1024u)
#define MEMTABLE_BLOCK_BYTES_MAX (1024u * 1024u)
/* Older rows of one key are stepped over one by one up to here, then searched past. */
#define MEMTABLE_STEPS_MAX 8u

/* The descriptor is allocated apart from the mapped bytes, so that the fault hook and leak checkers
 * see every block. */
struct memtable_block {
    struct memtable_block *next;
    void *base;
    size_t size;
};

struct memtable {
    _Atomic(struct memtable_row *) head[MEMTABLE_HEIGHT_MAX];
    _Atomic uint32_t height; /* levels in use: searches start there */
    /* The rest belongs to the writer. */
    struct memtable_row *tail[MEMTABLE_HEIGHT_MAX]; /* last row per level; NULL = the head */
    uint64_t random;
    size_t bytes;
    size_t rows;
    struct memtable_block *blocks;
    uint8_t *free; /* in the newest shared block */
    size_t room;
    size_t block_size; /* of the next shared block */
};

struct memtable *memtable_new(void)
{
    struct memtable *m = mem_zalloc(sizeof *m);
    if (m == NULL) {
        return NULL;
    }
    m->random = 0x9e3779b97f4a7c15u;
    m->block_size = MEMTABLE_BLOCK_BYTES_MIN;
    atomic_store_explicit(&m->height, 1, memory_order_relaxed);
    return m;
}

void memtable_free(struct memtable *m)
{
    if (m == NULL) {
        return;
    }
    struct memtable_block *b = m->blocks;
    while (b != NULL) {
        struct memtable_block *next = b->next;
        munmap(b->base, b->size);
        mem_free(b);
        b = next;
    }
    mem_free(m);
}

size_t memtable_bytes(const struct memtable *m)
{
    return m->bytes;
}

size_t memtable_rows(const struct memtable *m)
{
    return m->rows;
}

/* Mapped rather than from the heap: freeing 16 MiB then really gives them back. */
static struct memtable_block *memtable_block_new(struct memtable *m, size_t size)
{
    struct memtable_block *b = mem_alloc(sizeof *b);
    if (b == NULL) {
        return NULL;
    }
    b->size = (size + 4095) & ~(size_t)4095;
    b->base = mmap(NULL, b->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (b->base == MAP_FAILED) {
        mem_free(b);
        return NULL;
    }
    b->next = m->blocks;
    m->blocks = b;
    return b;
}

/* size is a multiple of 8. */
static void *memtable_take(struct memtable *m, size_t size)
{
    if (size > m->room) {
        if (size > m->block_size / 4) {
            struct memtable_block *own = memtable_block_new(m, size);
            return own == NULL ? NULL : own->base;
        }
        struct memtable_block *b = memtable_block_new(m, m->block_size);
        if (b == NULL) {
            return NULL;
        }
        m->free = b->base;
        m->room = b->size;
        if (m->block_size < MEMTABLE_BLOCK_BYTES_MAX) {
            m->block_size *= 2;
        }
    }
    void *p = m->free;
    m->free += size;
    m->room -= size;
    return p;
}

static uint32_t memtable_draw_height(struct memtable *m)
{
    /* xorshift64: two bits per level. */
    m->random ^= m->random << 13;
    m->random ^= m->random >> 7;
    m->random ^= m->random << 17;
    uint32_t bits = (uint32_t)(m->random >> 20);
    uint32_t height = 1;
    while (height < MEMTABLE_HEIGHT_MAX && (bits & 3) == 0) {
        height++;
        bits >>= 2;
    }
    return height;
}

/* Order of a row's (table, key) against the one given. */
static inline int memtable_compare(const struct memtable_row *row, uint8_t table, struct slice key)
{
    const uint8_t *bytes = memtable_row_bytes(row);
    if (bytes[0] != table) {
        return bytes[0] < table ? -1 : 1;
    }
    size_t len = row->key_len - 1;
    size_t n = len < key.len ? len : key.len;
    int order = n == 0 ? 0 : memcmp(bytes + 1, key.data, n);
    if (order != 0) {
        return order;
    }
    return len < key.len ? -1 : len > key.len;
}

/* The first row whose order is >= `least` (0: at or after the key, 1: after it). When prev is given
 * it receives the link to follow at each level in use. */
static struct memtable_row *memtable_search(const struct memtable *m, uint8_t table,
                                            struct slice key, int least,
                                            _Atomic(struct memtable_row *) *prev[])
{
    uint32_t level = atomic_load_explicit(&m->height, memory_order_acquire);
    const _Atomic(struct memtable_row *) *links = m->head;
    struct memtable_row *known = NULL; /* already seen to be not before the place */
    struct memtable_row *row = NULL;
    while (level-- > 0) {
        for (;;) {
            row = atomic_load_explicit(&links[level], memory_order_acquire);
            if (row == NULL || row == known || memtable_compare(row, table, key) >= least) {
                break;
            }
            links = row->next;
        }
        known = row;
        if (prev != NULL) {
            prev[level] = (_Atomic(struct memtable_row *) *)&links[level];
        }
    }
    return row;
}

/* Is (table, key) behind every row? Then the tail is where it goes. */
static bool memtable_is_behind(const struct memtable *m, uint8_t table, struct slice key)
{
    return m->tail[0] == NULL || memtable_compare(m->tail[0], table, key) < 0;
}

bool memtable_add(struct memtable *m, uint8_t table, struct slice key, struct slice value,
                  uint64_t seq, bool erased)
{
    if (key.len > MEMTABLE_KEY_BYTES_MAX || value.len > UINT32_MAX) {
        return false;
    }
    uint32_t height = memtable_draw_height(m);
    size_t size =
        offsetof(struct memtable_row, next) + height * sizeof(void *) + 1 + key.len + value.len;
    size = (size + 7) & ~(size_t)7;
    struct memtable_row *row = memtable_take(m, size);
    if (row == NULL) {
        return false;
    }
    row->seq = seq;
    row->erased = erased;
    row->value_len = (uint32_t)value.len;
    row->key_len = (uint32_t)key.len + 1;
    row->height = height;
    uint8_t *bytes = (uint8_t *)&row->next[height];
    bytes[0] = table;
    if (key.len > 0) {
        memcpy(bytes + 1, key.data, key.len);
    }
    if (value.len > 0) {
        memcpy(bytes + 1 + key.len, value.data, value.len);
    }

    _Atomic(struct memtable_row *) *prev[MEMTABLE_HEIGHT_MAX];
    uint32_t levels = atomic_load_explicit(&m->height, memory_order_relaxed);
    if (memtable_is_behind(m, table, key)) {
        for (uint32_t i = 0; i < height; i++) {
            prev[i] = m->tail[i] == NULL ? &m->head[i] : &m->tail[i]->next[i];
        }
    } else {
        memtable_search(m, table, key, 0, prev);
        for (uint32_t i = levels; i < height; i++) {
            prev[i] = &m->head[i];
        }
    }
    for (uint32_t i = 0; i < height; i++) {
        struct memtable_row *next = atomic_load_explicit(prev[i], memory_order_relaxed);
        ASSERT(next == NULL || memtable_compare(next, table, key) > 0 || next->seq <= seq);
        atomic_init(&row->next[i], next);
        atomic_store_explicit(prev[i], row, memory_order_release);
        if (next == NULL) {
            m->tail[i] = row;
        }
    }
    if (height > levels) {
        atomic_store_explicit(&m->height, height, memory_order_release);
    }
    m->bytes += size;
    m->rows++;
    return true;
}

const struct memtable_row *memtable_first(const struct memtable *m)
{
    return atomic_load_explicit(&m->head[0], memory_order_acquire);
}

const struct memtable_row *memtable_seek(const struct memtable *m, uint8_t table, struct slice key)
{
    return memtable_search(m, table, key, 0, NULL);
}

const struct memtable_row *memtable_seek_after(const struct memtable *m, uint8_t table,
                                               struct slice key)
{
    return memtable_search(m, table, key, 1, NULL);
}

static bool memtable_same_key(const struct memtable_row *a, const struct memtable_row *b)
{
    return a->key_len == b->key_len &&
           memcmp(memtable_row_bytes(a), memtable_row_bytes(b), a->key_len) == 0;
}

const struct memtable_row *memtable_get(const struct memtable *m, uint8_t table, struct slice key,
                                        uint64_t seq)
{
    const struct memtable_row *row = memtable_search(m, table, key, 0, NULL);
    while (row != NULL && memtable_compare(row, table, key) == 0) {
        if (row->seq <= seq) {
            return row;
        }
        row = memtable_next(row);
    }
    return NULL;
}

const struct memtable_row *memtable_visible(const struct memtable *m,
                                            const struct memtable_row *row, uint8_t table,
                                            uint64_t seq)
{
    /* Rows newer than seq are passed; the first one that is not is the newest of its key, because
     * the caller arrives at the first row of a key. */
    while (row != NULL && memtable_row_table(row) == table) {
        if (row->seq <= seq) {
            return row;
        }
        row = memtable_next(row);
    }
    return NULL;
}

const struct memtable_row *memtable_next_key(const struct memtable *m,
                                             const struct memtable_row *row)
{
    const struct memtable_row *next = memtable_next(row);
    for (unsigned steps = 0; next != NULL && memtable_same_key(row, next); steps++) {
        if (steps == MEMTABLE_STEPS_MAX) {
            return memtable_seek_after(m, memtable_row_table(row), memtable_row_key(row));
        }
        next = memtable_next(next);
    }
    return next;
}
