/* cache_fill.c - keeps a cache current: list, compare, watch.
 *
 *   IDLE -> LISTING: pages at one revision go into `other`, beside the shown rows
 *        -> COMPARING: they take the place of the shown rows; what differs is told to handlers in
 *           slices, while the cache stays at the list's revision
 *        -> LISTED -> WATCHING from the next revision on: the events of each revision are applied
 *           together, then told
 * A failed page or watch: wait (doubling), then go on from IDLE or LISTED. COMPACTED: IDLE at once.
 * Out of memory in a revision: it is not applied, the cache lists anew later. */
#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "plugins/host/cache_impl.h"

int64_t cache_page_rows = PLUGIN_CACHE_SLICE_ROWS;

void cache_fill_init(struct kvp_cache *c)
{
    c->state = CACHE_IDLE;
    c->retry_ms = PLUGIN_CACHE_RETRY_MS_MIN;
    cache_rows_init(&c->other);
}

void cache_fill_stop(struct kvp_cache *c)
{
    if (c->watch != NULL) {
        c->part.scope->host->unwatch(c->watch);
        c->watch = NULL;
    }
}

void cache_fill_clear(struct kvp_cache *c)
{
    cache_rows_close(&c->other, &c->owner);
}

static void cache_go(struct kvp_cache *c, enum cache_state state)
{
    c->state = state;
    part_wake(&c->part, part_now(&c->part));
}

/* After a failure: goes on in this state a little later. */
static void cache_go_later(struct kvp_cache *c, enum cache_state state)
{
    c->state = state;
    part_wake(&c->part, part_now(&c->part) + c->retry_ms);
    c->retry_ms =
        c->retry_ms * 2 < PLUGIN_CACHE_RETRY_MS_MAX ? c->retry_ms * 2 : PLUGIN_CACHE_RETRY_MS_MAX;
}

static void cache_left_out(struct kvp_cache *c, struct kvp_bytes key, int refused)
{
    c->stats.left_out++;
    /* Each power of two: a million rows of another format are 20 lines, not a million. */
    if ((c->stats.left_out & (c->stats.left_out - 1)) == 0) {
        const struct scope *s = c->part.scope;
        struct kvp_field fields[] = {kvp_f_bytes("key", key), kvp_f_int("decode", refused),
                                     kvp_f_int("left-out", (int64_t)c->stats.left_out)};
        s->host->log(s->ctx, KVP_WARN, "a row could not be decoded, the cache leaves it out",
                     fields, 3);
    }
}

/* ---- list ---------------------------------------------------------------------------------- */

static void cache_list_drop(struct kvp_cache *c)
{
    cache_rows_close(&c->other, &c->owner);
}

static void cache_listed(void *data, const struct kvp_result *r, const struct kvp_rows *rows);

static void cache_list_page(struct kvp_cache *c, struct kvp_bytes from)
{
    const struct scope *s = c->part.scope;
    struct kvp_range range = {
        .size = sizeof(range),
        /* What this member has: the watch goes on from there, and what it has never gets older. A
         * quorum would be asked for nothing, and a follower could not fill its cache. */
        .flags = KVP_PREFIX | KVP_SERIALIZABLE,
        .key = c->prefix,
        .from = from,
        .revision = c->list_revision,
        .limit = cache_page_rows};
    part_hold(&c->part);
    c->state = CACHE_LISTING;
    if (s->host->range(s->ctx, &range, cache_listed, c) != 0) {
        cache_list_drop(c);
        cache_go_later(c, CACHE_IDLE);
        part_release(&c->part);
    }
}

static bool cache_list_rows(struct kvp_cache *c, const struct kvp_rows *rows)
{
    for (size_t i = 0; i < rows->count && !c->part.closed; i++) {
        int refused;
        struct cache_row *r = cache_row_new(&c->other, &c->owner, &rows->rows[i], &refused);
        if (r != NULL) {
            struct cache_row *twin = cache_row_link(&c->other, r);
            if (twin != NULL) {
                cache_row_free(&c->other, &c->owner, twin);
            }
        } else if (refused != 0) {
            cache_left_out(c, rows->rows[i].key, refused);
        } else {
            return false;
        }
    }
    return true;
}

/* The list is whole: it is shown from here on. */
static void cache_list_show(struct kvp_cache *c)
{
    struct cache_rows old = c->rows;
    c->rows = c->other;
    c->other = old;
    c->told = c->rows.head[0];
    c->revision = c->list_revision;
    cache_go(c, CACHE_COMPARING);
}

static void cache_listed(void *data, const struct kvp_result *r, const struct kvp_rows *rows)
{
    struct kvp_cache *c = data;
    if (c->part.closed) {
        part_release(&c->part);
        return;
    }
    if (r->outcome != KVP_OK) {
        cache_list_drop(c);
        cache_go_later(c, CACHE_IDLE);
    } else if (!cache_list_rows(c, rows)) {
        cache_list_drop(c);
        cache_go_later(c, CACHE_IDLE);
    } else if (!c->part.closed) {
        c->list_revision = c->list_revision != 0 ? c->list_revision : r->revision;
        if (rows->more) {
            cache_list_page(c, rows->next);
        } else {
            cache_list_show(c);
        }
    }
    part_release(&c->part);
}

/* One step of merging old and shown rows by key. */
static void cache_compare_row(struct kvp_cache *c)
{
    struct cache_row *old = c->other.head[0];
    struct cache_row *now = c->told;
    int order = old == NULL   ? 1
                : now == NULL ? -1
                              : slice_cmp(cache_row_key(old), cache_row_key(now));
    if (order >= 0) {
        c->told = now->next[0];
    }
    if (order <= 0) {
        old = cache_row_unlink(&c->other, cache_row_key(old));
    }
    if (order < 0) {
        cache_tell_changed(c, old, NULL);
    } else if (order > 0) {
        cache_tell_changed(c, NULL, now);
    } else if (old->mod_revision != now->mod_revision) {
        cache_tell_changed(c, old, now);
    }
    if (order <= 0) {
        cache_row_free(&c->other, &c->owner, old);
    }
}

static void cache_compare(struct kvp_cache *c)
{
    for (uint32_t i = 0; i < PLUGIN_CACHE_SLICE_ROWS && !c->part.closed; i++) {
        if (c->other.head[0] == NULL && c->told == NULL) {
            break;
        }
        cache_compare_row(c);
    }
    if (c->part.closed) {
        return;
    }
    if (c->other.head[0] != NULL || c->told != NULL) {
        cache_go(c, CACHE_COMPARING);
        return;
    }
    cache_rows_close(&c->other, &c->owner);
    cache_go(c, CACHE_LISTED);
    c->retry_ms = PLUGIN_CACHE_RETRY_MS_MIN;
    if (!c->synced) {
        c->synced = true;
        cache_tell_synced(c);
    }
}

/* ---- watch --------------------------------------------------------------------------------- */

struct cache_change {
    struct cache_row *before;
    struct cache_row *now;
};

/* Makes the rows of a revision's events; false = out of memory, nothing is left behind. */
static bool cache_prepare(struct kvp_cache *c, const struct kvp_event *events, size_t count,
                          struct cache_change *changes)
{
    for (size_t i = 0; i < count; i++) {
        changes[i] = (struct cache_change){0};
        if (events[i].type != KVP_EVENT_PUT) {
            continue;
        }
        int refused;
        changes[i].now = cache_row_new(&c->rows, &c->owner, &events[i].row, &refused);
        if (changes[i].now == NULL && refused != 0) {
            cache_left_out(c, events[i].row.key, refused);
        } else if (changes[i].now == NULL) {
            for (size_t k = 0; k < i; k++) {
                if (changes[k].now != NULL) {
                    cache_row_free(&c->rows, &c->owner, changes[k].now);
                }
            }
            return false;
        }
    }
    return true;
}

static void cache_commit(struct kvp_cache *c, const struct kvp_event *events, size_t count,
                         struct cache_change *changes)
{
    for (size_t i = 0; i < count; i++) {
        changes[i].before = changes[i].now != NULL
                                ? cache_row_link(&c->rows, changes[i].now)
                                : cache_row_unlink(&c->rows, slice_of_kvp(events[i].row.key));
    }
    c->revision = events[0].row.mod_revision;
    c->stats.events += count;
    for (size_t i = 0; i < count && !c->part.closed; i++) {
        if (changes[i].before != NULL || changes[i].now != NULL) {
            cache_tell_changed(c, changes[i].before, changes[i].now);
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (changes[i].before != NULL) {
            cache_row_free(&c->rows, &c->owner, changes[i].before);
        }
    }
}

/* All events of one revision. */
static bool cache_apply(struct kvp_cache *c, const struct kvp_event *events, size_t count)
{
    struct cache_change few[16];
    struct cache_change *changes = few;
    if (count > sizeof(few) / sizeof(few[0])) {
        changes = part_alloc(&c->part, count * sizeof(*changes));
        if (changes == NULL) {
            return false;
        }
    }
    bool ok = cache_prepare(c, events, count, changes);
    if (ok) {
        cache_commit(c, events, count, changes);
    }
    if (changes != few) {
        part_free(&c->part, changes);
    }
    return ok;
}

static void cache_events(void *data, const struct kvp_batch *batch)
{
    struct kvp_cache *c = data;
    part_hold(&c->part);
    bool ok = true;
    for (size_t i = 0; i < batch->count && ok && !c->part.closed;) {
        size_t end = i + 1;
        while (end < batch->count &&
               batch->events[end].row.mod_revision == batch->events[i].row.mod_revision) {
            end++;
        }
        ok = cache_apply(c, batch->events + i, end - i);
        i = end;
    }
    if (!c->part.closed && ok) {
        c->revision = batch->revision;
        c->retry_ms = PLUGIN_CACHE_RETRY_MS_MIN;
    } else if (!c->part.closed) {
        cache_fill_stop(c);
        cache_go_later(c, CACHE_IDLE);
    }
    part_release(&c->part);
}

static void cache_watch_ended(void *data, const struct kvp_result *r)
{
    struct kvp_cache *c = data;
    c->watch = NULL;
    if (r->reason == KVP_COMPACTED) {
        cache_go(c, CACHE_IDLE);
    } else if (r->reason != KVP_STOPPED) {
        cache_go_later(c, CACHE_LISTED);
    }
}

static void cache_watch(struct kvp_cache *c)
{
    const struct scope *s = c->part.scope;
    struct kvp_watch_args a = {.size = sizeof(a),
                               .flags = KVP_PREFIX | KVP_PROGRESS,
                               .key = c->prefix,
                               .from_revision = c->revision + 1,
                               .events = cache_events,
                               .ended = cache_watch_ended,
                               .data = c};
    c->state = CACHE_WATCHING;
    if (s->host->watch(s->ctx, &a, &c->watch) != 0) {
        c->watch = NULL;
        cache_go_later(c, CACHE_LISTED);
    }
}

void cache_fill_wake(struct kvp_cache *c)
{
    switch (c->state) {
    case CACHE_IDLE:
        c->stats.lists++;
        c->list_revision = 0;
        cache_list_page(c, kvp_bytes_of(NULL, 0));
        break;
    case CACHE_COMPARING:
        cache_compare(c);
        break;
    case CACHE_LISTED:
        cache_watch(c);
        break;
    case CACHE_LISTING:
    case CACHE_WATCHING:
        break; /* a wake of before */
    }
}
