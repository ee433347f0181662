/* cache_rows.h - the rows of a cache in key order, and their indexes. Private to cache*.c.
 *
 * A skip list keeps the order, one hash table all values of all indexes. Making a row (which may
 * fail) is separate from linking it in (which may not), so that a revision can be applied whole. */
#ifndef KVD_PLUGINS_HOST_CACHE_ROWS_H
#define KVD_PLUGINS_HOST_CACHE_ROWS_H

#include "base/hashmap.h"
#include "base/list.h"
#include "base/rand.h"
#include "plugins/host/scope.h"

/* With a quarter of the rows on each further level, 12 levels carry 16 million. */
#define CACHE_LEVELS_MAX 12

/* A value of an index. */
struct cache_value {
    struct hash_node node;
    struct list postings; /* linked ones, oldest first */
    const void *last;     /* the row that emitted it last: a second emit of it is dropped */
    uint32_t refs;        /* postings made, linked or not */
    uint32_t index;
    uint32_t len;
    uint8_t bytes[];
};

/* A row under a value. */
struct cache_posting {
    struct list link; /* in cache_value.postings */
    struct cache_posting *next;
    struct cache_value *value;
    struct cache_row *row;
};

struct cache_row {
    void *object;
    int64_t create_revision, mod_revision, version, lease;
    struct cache_posting *postings;
    uint32_t key_len;
    uint8_t levels;
    bool owned;               /* object lies behind the key, in this allocation */
    struct cache_row *next[]; /* levels of them, then the key */
};

struct cache_rows {
    struct cache_row *head[CACHE_LEVELS_MAX];
    size_t len;
    struct hashmap values;
};

/* What rows need of their cache. */
struct cache_owner {
    const struct scope_part *part;
    int (*decode)(void *data, const struct kvp_row *row, void **out_object);
    void (*release)(void *data, void *object);
    const struct kvp_index *indexes;
    size_t index_count;
    void *data;
    struct rand dice;
};

/* Where emits of one values() call go. */
struct kvp_emit {
    struct cache_owner *owner;
    struct cache_rows *rows;
    struct cache_row *row;
    uint32_t index;
    bool failed;
};

void cache_rows_init(struct cache_rows *t);
/* Frees all rows and values. */
void cache_rows_close(struct cache_rows *t, struct cache_owner *o);

/* Makes a row for t, not linked yet. NULL: *refused tells whether decode left it out (then it is
 * decode's answer) or memory ran out (0). */
struct cache_row *cache_row_new(struct cache_rows *t, struct cache_owner *o,
                                const struct kvp_row *row, int *refused);
/* row must not be linked. */
void cache_row_free(struct cache_rows *t, struct cache_owner *o, struct cache_row *row);
/* Returns the row of that key that was there before, unlinked now, or NULL. */
struct cache_row *cache_row_link(struct cache_rows *t, struct cache_row *row);
struct cache_row *cache_row_unlink(struct cache_rows *t, struct slice key); /* NULL: none */

/* The first row with a key >= key (or > key when after). NULL at the end. */
struct cache_row *cache_rows_seek(const struct cache_rows *t, struct slice key, bool after);
struct cache_value *cache_value_find(const struct cache_rows *t, uint32_t index,
                                     struct slice value);

static inline struct slice cache_row_key(const struct cache_row *r)
{
    return slice_of(&r->next[r->levels], r->key_len);
}

static inline struct kvp_cached cache_row_shown(const struct cache_row *r)
{
    return (struct kvp_cached){.size = sizeof(struct kvp_cached),
                               .key = kvp_of_slice(cache_row_key(r)),
                               .object = r->object,
                               .create_revision = r->create_revision,
                               .mod_revision = r->mod_revision,
                               .version = r->version,
                               .lease = r->lease};
}

#endif
