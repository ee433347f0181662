/* cache_impl.h - struct kvp_cache, shared by cache.c (readers) and cache_fill.c (list and watch).
 */
#ifndef KVD_PLUGINS_HOST_CACHE_IMPL_H
#define KVD_PLUGINS_HOST_CACHE_IMPL_H

#include "plugins/host/cache.h"
#include "plugins/host/cache_rows.h"

/* What fills the cache now. */
enum cache_state {
    CACHE_IDLE,      /* will list when woken: at first, and after a failure */
    CACHE_LISTING,   /* a page is asked for */
    CACHE_COMPARING, /* a list is in: handlers are told the differences, slice by slice */
    CACHE_LISTED,    /* will watch when woken */
    CACHE_WATCHING
};

struct kvp_cache {
    struct scope_part part;
    struct kvp_bytes prefix;
    struct cache_owner owner;
    struct cache_rows rows; /* what is shown */
    int64_t revision;       /* of it; 0 before the first list */
    bool synced;
    struct list listeners; /* struct cache_listener.link */
    struct list *telling;  /* the one to be told next */
    /* cache_fill.c */
    enum cache_state state;
    struct cache_rows other; /* LISTING: the new rows. COMPARING: the old ones left */
    struct cache_row *told;  /* COMPARING: the first shown row not compared yet */
    int64_t list_revision;
    uint64_t retry_ms; /* wait after the next failure */
    struct kvp_watch *watch;
    struct cache_stats stats;
};

void cache_tell_changed(struct kvp_cache *c, const struct cache_row *before,
                        const struct cache_row *now);
void cache_tell_synced(struct kvp_cache *c);

void cache_fill_init(struct kvp_cache *c);
void cache_fill_wake(struct kvp_cache *c);
void cache_fill_stop(struct kvp_cache *c);  /* at close: asks for nothing more */
void cache_fill_clear(struct kvp_cache *c); /* frees what is on the way */

#endif
