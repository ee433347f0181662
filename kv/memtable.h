/* memtable.h - the newest rows in memory: an insert-only skiplist with one writer and any readers.
 *
 * Order is (table, key, newest first). A row once linked never changes and never moves until the
 * whole memtable is freed, so readers walk without locks: the writer fills a row, then links it
 * with release stores, readers follow with acquire loads. Rows live in mapped blocks that grow from
 * 64 KiB to 1 MiB and return to the system at memtable_free.
 *
 * Several rows of one key differ in seq; the writer's seq never goes down, so a new row is always
 * put before the older ones of its key. */
#ifndef KVD_KV_MEMTABLE_H
#define KVD_KV_MEMTABLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

#define MEMTABLE_HEIGHT_MAX    12u /* 4^12 rows before searches become longer */
#define MEMTABLE_KEY_BYTES_MAX ((1u << 27) - 2)

/* 16 bytes, then height pointers (1.33 on average), then table byte, key and value. */
struct memtable_row {
    uint64_t seq : 63;
    uint64_t erased : 1;
    uint32_t value_len;
    uint32_t key_len : 27; /* with the table byte */
    uint32_t height : 5;
    _Atomic(struct memtable_row *) next[];
};

struct memtable;

/* An empty memtable without any block; NULL = out of memory. */
struct memtable *memtable_new(void);
/* No reader may hold a row any more. NULL is fine. */
void memtable_free(struct memtable *m);

/* Writer only. Copies the bytes. seq: at least that of every earlier row. false = out of memory
 * (nothing changed) or a key or value beyond what the row can say. */
bool memtable_add(struct memtable *m, uint8_t table, struct slice key, struct slice value,
                  uint64_t seq, bool erased);
/* Bytes of the rows, headers included / number of rows. Writer, or anyone once it is frozen. */
size_t memtable_bytes(const struct memtable *m);
size_t memtable_rows(const struct memtable *m);

/* Any thread. The first row of all; the first with (table, key) >= the one given; the first with
 * (table, key) > it; NULL = none. */
const struct memtable_row *memtable_first(const struct memtable *m);
const struct memtable_row *memtable_seek(const struct memtable *m, uint8_t table, struct slice key);
const struct memtable_row *memtable_seek_after(const struct memtable *m, uint8_t table,
                                               struct slice key);
/* The row of exactly this key that a reader at `seq` sees (it may be an erasure); NULL = none. */
const struct memtable_row *memtable_get(const struct memtable *m, uint8_t table, struct slice key,
                                        uint64_t seq);
/* `row` or the first row after it that belongs to `table` and is the newest of its key at `seq`;
 * NULL = none. row may be NULL. */
const struct memtable_row *memtable_visible(const struct memtable *m,
                                            const struct memtable_row *row, uint8_t table,
                                            uint64_t seq);
/* The first row of the next key (any table); NULL = none. */
const struct memtable_row *memtable_next_key(const struct memtable *m,
                                             const struct memtable_row *row);

static inline const struct memtable_row *memtable_next(const struct memtable_row *row)
{
    return atomic_load_explicit(&row->next[0], memory_order_acquire);
}

static inline const uint8_t *memtable_row_bytes(const struct memtable_row *row)
{
    return (const uint8_t *)&row->next[row->height];
}

static inline uint8_t memtable_row_table(const struct memtable_row *row)
{
    return memtable_row_bytes(row)[0];
}

static inline struct slice memtable_row_key(const struct memtable_row *row)
{
    return slice_of(memtable_row_bytes(row) + 1, row->key_len - 1);
}

static inline struct slice memtable_row_value(const struct memtable_row *row)
{
    return slice_of(memtable_row_bytes(row) + row->key_len, row->value_len);
}

#endif
