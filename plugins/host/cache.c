/* cache.c - the cache seen by its readers and handlers. How it is filled: cache_fill.c. */
#include "plugins/host/cache.h"

#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "plugins/host/cache_impl.h"

/* Handlers of an author, as a listener. */
struct cache_handlers {
    struct cache_listener listener;
    struct kvp_cache *cache;
    struct kvp_cache_handlers h;
};

static void cache_part_close(struct scope_part *p)
{
    struct kvp_cache *c = (struct kvp_cache *)p;
    cache_fill_stop(c);
    while (!list_empty(&c->listeners)) {
        struct cache_listener *l = LIST_ENTRY(c->listeners.next, struct cache_listener, link);
        cache_unlisten(c, l);
        if (l->closed != NULL) {
            l->closed(l);
        }
    }
}

static void cache_part_clear(struct scope_part *p)
{
    struct kvp_cache *c = (struct kvp_cache *)p;
    cache_fill_clear(c);
    cache_rows_close(&c->rows, &c->owner);
    part_free(p, (void *)c->prefix.data);
    part_free(p, (void *)c->owner.indexes);
}

static void cache_part_wake(struct scope_part *p)
{
    cache_fill_wake((struct kvp_cache *)p);
}

static const struct scope_kind cache_kind = {
    .close = cache_part_close, .clear = cache_part_clear, .wake = cache_part_wake};

static bool cache_args_valid(const struct kvp_cache_args *a)
{
    if (a == NULL || a->size == 0 || a->flags != 0 || (a->indexes == NULL && a->index_count > 0) ||
        a->index_count > PLUGIN_CACHE_INDEXES_MAX ||
        (a->prefix.data == NULL && a->prefix.len > 0)) {
        return false;
    }
    for (size_t i = 0; i < a->index_count; i++) {
        if (a->indexes[i].values == NULL) {
            return false;
        }
    }
    return true;
}

/* Copies what a points at; false when out of memory (clear frees what is there). */
static bool cache_copy_args(struct kvp_cache *c, const struct kvp_cache_args *a)
{
    const struct kvp_host *host = c->part.scope->host;
    void *prefix = host->dup(c->part.scope->ctx, a->prefix);
    c->prefix = kvp_bytes_of(prefix, a->prefix.len);
    if (prefix == NULL) {
        return false;
    }
    if (a->index_count > 0) {
        struct kvp_bytes bytes = kvp_bytes_of(a->indexes, a->index_count * sizeof(*a->indexes));
        c->owner.indexes = host->dup(c->part.scope->ctx, bytes);
        if (c->owner.indexes == NULL) {
            return false;
        }
    }
    c->owner.index_count = a->index_count;
    return true;
}

int cache_open(struct scope *s, const struct kvp_cache_args *a, struct kvp_cache **out)
{
    if (!cache_args_valid(a) || out == NULL) {
        return KVP_INVALID;
    }
    int reason;
    struct kvp_cache *c = part_new(s, &cache_kind, sizeof(*c), &reason);
    if (c == NULL) {
        return reason;
    }
    uint64_t seed;
    s->host->random(s->ctx, &seed, sizeof(seed));
    c->owner = (struct cache_owner){
        .part = &c->part, .decode = a->decode, .release = a->release, .data = a->data};
    rand_init(&c->owner.dice, seed);
    cache_rows_init(&c->rows);
    list_init(&c->listeners);
    cache_fill_init(c);
    if (!cache_copy_args(c, a)) {
        part_close(&c->part);
        return KVP_NO_MEMORY;
    }
    part_wake(&c->part, part_now(&c->part)); /* lists from there */
    *out = c;
    return 0;
}

void cache_close(struct kvp_cache *c)
{
    if (c != NULL && part_may_close(&c->part, "cache_close")) {
        part_close(&c->part);
    }
}

/* ---- readers ------------------------------------------------------------------------------- */

int cache_get(struct kvp_cache *c, struct kvp_bytes key, struct kvp_cached *out)
{
    if (c == NULL || out == NULL || out->size == 0) {
        return KVP_INVALID;
    }
    int reason = part_enter(&c->part, "cache_get");
    if (reason != 0) {
        return reason;
    }
    struct cache_row *r = cache_rows_seek(&c->rows, slice_of_kvp(key), false);
    if (r == NULL || !slice_eq(cache_row_key(r), slice_of_kvp(key))) {
        return KVP_NOT_FOUND;
    }
    struct kvp_cached shown = cache_row_shown(r);
    uint32_t size = out->size < sizeof(shown) ? out->size : (uint32_t)sizeof(shown);
    shown.size = size;
    memcpy(out, &shown, size);
    return 0;
}

int cache_each(struct kvp_cache *c, kvp_each_fn *each, void *data)
{
    if (c == NULL || each == NULL) {
        return KVP_INVALID;
    }
    int reason = part_enter(&c->part, "cache_each");
    if (reason != 0) {
        return reason;
    }
    part_hold(&c->part);
    for (struct cache_row *r = c->rows.head[0]; r != NULL && !c->part.closed; r = r->next[0]) {
        struct kvp_cached shown = cache_row_shown(r);
        if (each(data, &shown) != 0) {
            break;
        }
    }
    part_release(&c->part);
    return 0;
}

int cache_by_index(struct kvp_cache *c, size_t index, struct kvp_bytes value, kvp_each_fn *each,
                   void *data)
{
    if (c == NULL || each == NULL) {
        return KVP_INVALID;
    }
    int reason = part_enter(&c->part, "cache_by_index");
    if (reason != 0) {
        return reason;
    }
    if (index >= c->owner.index_count) {
        return KVP_INVALID;
    }
    if (!c->synced) {
        return KVP_BUSY;
    }
    struct cache_value *v = cache_value_find(&c->rows, (uint32_t)index, slice_of_kvp(value));
    if (v == NULL) {
        return 0;
    }
    part_hold(&c->part);
    LIST_FOREACH (it, &v->postings) {
        struct kvp_cached shown = cache_row_shown(LIST_ENTRY(it, struct cache_posting, link)->row);
        if (each(data, &shown) != 0 || c->part.closed) {
            break;
        }
    }
    part_release(&c->part);
    return 0;
}

int cache_synced(struct kvp_cache *c)
{
    return c != NULL && part_enter(&c->part, "cache_synced") == 0 && c->synced;
}

int64_t cache_revision(struct kvp_cache *c)
{
    return c != NULL && part_enter(&c->part, "cache_revision") == 0 ? c->revision : 0;
}

size_t cache_len(struct kvp_cache *c)
{
    return c != NULL && part_enter(&c->part, "cache_len") == 0 ? c->rows.len : 0;
}

bool cache_next(struct kvp_cache *c, bool from_start, struct slice key, struct kvp_cached *out)
{
    struct cache_row *r = from_start ? c->rows.head[0] : cache_rows_seek(&c->rows, key, true);
    if (r == NULL) {
        return false;
    }
    *out = cache_row_shown(r);
    return true;
}

void cache_stats(const struct kvp_cache *c, struct cache_stats *out)
{
    *out = c->stats;
}

/* ---- handlers ------------------------------------------------------------------------------ */

void cache_listen(struct kvp_cache *c, struct cache_listener *l)
{
    list_push_back(&c->listeners, &l->link);
}

void cache_unlisten(struct kvp_cache *c, struct cache_listener *l)
{
    if (c->telling == &l->link) {
        c->telling = l->link.next;
    }
    list_remove(&l->link);
}

void cache_tell_changed(struct kvp_cache *c, const struct cache_row *before,
                        const struct cache_row *now)
{
    struct kvp_cached was;
    struct kvp_cached is;
    if (before != NULL) {
        was = cache_row_shown(before);
    }
    if (now != NULL) {
        is = cache_row_shown(now);
    }
    for (c->telling = c->listeners.next; c->telling != &c->listeners;) {
        struct cache_listener *l = LIST_ENTRY(c->telling, struct cache_listener, link);
        c->telling = c->telling->next;
        if (l->changed != NULL) {
            l->changed(l, before != NULL ? &was : NULL, now != NULL ? &is : NULL);
        }
    }
    c->telling = NULL;
}

void cache_tell_synced(struct kvp_cache *c)
{
    for (c->telling = c->listeners.next; c->telling != &c->listeners;) {
        struct cache_listener *l = LIST_ENTRY(c->telling, struct cache_listener, link);
        c->telling = c->telling->next;
        if (l->synced != NULL) {
            l->synced(l);
        }
    }
    c->telling = NULL;
}

static void cache_handlers_changed(struct cache_listener *l, const struct kvp_cached *before,
                                   const struct kvp_cached *now)
{
    struct cache_handlers *h = LIST_ENTRY(l, struct cache_handlers, listener);
    if (h->h.changed != NULL) {
        h->h.changed(h->h.data, before, now);
    }
}

static void cache_handlers_synced(struct cache_listener *l)
{
    struct cache_handlers *h = LIST_ENTRY(l, struct cache_handlers, listener);
    if (h->h.synced != NULL) {
        h->h.synced(h->h.data);
    }
}

static void cache_handlers_closed(struct cache_listener *l)
{
    struct cache_handlers *h = LIST_ENTRY(l, struct cache_handlers, listener);
    part_free(&h->cache->part, h);
}

int cache_on(struct kvp_cache *c, const struct kvp_cache_handlers *h)
{
    if (c == NULL || h == NULL || h->size == 0) {
        return KVP_INVALID;
    }
    int reason = part_enter(&c->part, "cache_on");
    if (reason != 0) {
        return reason;
    }
    /* Later ones would miss rows that were told already. */
    if (c->revision != 0) {
        return KVP_INVALID;
    }
    struct cache_handlers *own = part_alloc(&c->part, sizeof(*own));
    if (own == NULL) {
        return KVP_NO_MEMORY;
    }
    *own = (struct cache_handlers){.listener = {.changed = cache_handlers_changed,
                                                .synced = cache_handlers_synced,
                                                .closed = cache_handlers_closed},
                                   .cache = c,
                                   .h = *h};
    cache_listen(c, &own->listener);
    return 0;
}
