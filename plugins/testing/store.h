/* store.h - the test host's store: all revisions of all keys, in memory, for a test's few rows.
 *
 * Nothing is forgotten before store_close; compaction only refuses what is below. Lookups O(log n),
 * a new key O(n). Running out of memory ends the process. */
#ifndef KVD_PLUGINS_TESTING_STORE_H
#define KVD_PLUGINS_TESTING_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "include/kvplugin.h"

struct store_key;

/* One change of a key: the row after it, or its deletion. Lives until store_close. */
struct store_change {
    struct kvp_row row; /* deletion: key and mod_revision */
    bool deleted;
    struct store_key *key;
    const struct store_change *before; /* the key's change before this one, NULL = none */
};

struct store_key {
    struct slice bytes;
    struct store_change *last;
};

struct store {
    struct store_key **keys; /* in key order */
    size_t key_count;
    struct store_change **log; /* in the order they happened */
    size_t log_count;
    int64_t revision;
    int64_t compacted; /* the lowest revision that can be read; 0 = all */
    /* a transaction being made */
    bool open;
    size_t changed;
};

/* A run of keys as calls describe it. */
struct span {
    struct slice key, end;
    bool prefix;
};

void store_init(struct store *s); /* revision 1, as etcd's empty store */
void store_close(struct store *s);

struct span span_of(struct kvp_bytes key, struct kvp_bytes end, uint32_t flags);
bool span_has(const struct span *span, struct slice key);

/* The row of a key at a revision (0 = the newest, with the open transaction); NULL = none. */
const struct kvp_row *store_row(const struct store *s, struct slice key, int64_t revision);
/* The position of the first key >= key. */
size_t store_seek(const struct store *s, struct slice key);
/* The row of key number i at a revision, NULL when it has none. */
const struct kvp_row *store_row_at(const struct store *s, size_t i, int64_t revision);

/* Changes between begin and end share a revision, which only exists when there is one. */
void store_begin(struct store *s);
void store_put(struct store *s, struct slice key, struct slice value, int64_t lease);
bool store_delete(struct store *s, struct slice key); /* false: there is no such row */
int64_t store_delete_span(struct store *s, const struct span *span);
int64_t store_end(struct store *s); /* the store's revision */

#endif
