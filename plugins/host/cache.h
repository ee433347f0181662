/* cache.h - the informer cache behind kvp_host.cache_*: list, then watch, list again when
 * compacted.
 *
 * Rows are shown at one revision at a time: the events of a revision are applied together or, when
 * memory runs out, not at all (then the cache lists anew, and shows the old state meanwhile). A new
 * list is built beside the shown rows, takes their place at once, and the differences are told to
 * handlers in slices. Lookups are O(log n), a value of an index O(1), an event O(log n). A key
 * costs 67 bytes on average (tests/unit/plugins/test_cache.c measures) plus its bytes plus the
 * object; with no decode function also the value and 16 bytes. An index value costs 40 bytes for
 * each row it leads to, and 56 plus its bytes once. */
#ifndef KVD_PLUGINS_HOST_CACHE_H
#define KVD_PLUGINS_HOST_CACHE_H

#include "plugins/host/scope.h"

/* The table's calls, with the context's scope in place of the context. See kvplugin.h. */
int cache_open(struct scope *s, const struct kvp_cache_args *a, struct kvp_cache **out);
int cache_on(struct kvp_cache *c, const struct kvp_cache_handlers *h);
int cache_get(struct kvp_cache *c, struct kvp_bytes key, struct kvp_cached *out);
int cache_each(struct kvp_cache *c, kvp_each_fn *each, void *data);
int cache_by_index(struct kvp_cache *c, size_t index, struct kvp_bytes value, kvp_each_fn *each,
                   void *data);
int cache_synced(struct kvp_cache *c);
int64_t cache_revision(struct kvp_cache *c);
size_t cache_len(struct kvp_cache *c);
void cache_close(struct kvp_cache *c);
void cache_emit(struct kvp_emit *emit, struct kvp_bytes value); /* kvp_host.index_emit */

/* Rows of one page of a list [PLUGIN_CACHE_SLICE_ROWS]. The simulator makes it small, so that
 * writes come between pages. */
extern int64_t cache_page_rows;

/* ---- for controllers ----------------------------------------------------------------------- */

/* Listens like handlers do, but at any time, and can leave. Embedded by its owner. Each call may be
 * NULL. `closed`: the cache ends, the listener is out of it already. */
struct cache_listener {
    struct list link;
    void (*changed)(struct cache_listener *l, const struct kvp_cached *before,
                    const struct kvp_cached *now);
    void (*synced)(struct cache_listener *l);
    void (*closed)(struct cache_listener *l);
};
void cache_listen(struct kvp_cache *c, struct cache_listener *l);
void cache_unlisten(struct kvp_cache *c, struct cache_listener *l); /* also inside its callbacks */

/* The first row whose key is greater than `key` (with `from_start`: the first of all). False at the
 * end. Bytes in out live until the callback returns. */
bool cache_next(struct kvp_cache *c, bool from_start, struct slice key, struct kvp_cached *out);

struct cache_stats {
    uint64_t lists;    /* begun */
    uint64_t events;   /* applied */
    uint64_t left_out; /* rows decode refused */
};
void cache_stats(const struct kvp_cache *c, struct cache_stats *out);

#endif
