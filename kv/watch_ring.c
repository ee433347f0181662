/* watch_ring.c - the newest revisions in memory, for watchers that are only a little behind. */
#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "kv/state.h"

static struct hub_event *ring_at(const struct watch_ring *r, size_t i)
{
    return &r->events[(r->first + i) & (r->cap - 1)];
}

/* The encoding with the value before, made when a watcher wants it, counts as well. */
static size_t ring_event_bytes(const struct hub_event *e)
{
    bool both = e->with_prev != NULL && e->with_prev != e->plain;
    return e->plain->len + (both ? e->with_prev->len : 0);
}

/* Forgets the oldest revision whole. */
static void ring_evict(struct watch_ring *r)
{
    int64_t revision = ring_at(r, 0)->rev.main;
    while (r->len > 0 && ring_at(r, 0)->rev.main == revision) {
        r->bytes -= ring_event_bytes(ring_at(r, 0));
        hub_event_drop(ring_at(r, 0));
        r->first = (r->first + 1) & (r->cap - 1);
        r->len--;
    }
    r->oldest = revision + 1;
}

void watch_ring_clear(struct watch_ring *r, int64_t oldest)
{
    while (r->len > 0) {
        ring_evict(r);
    }
    r->oldest = oldest;
}

void watch_ring_close(struct watch_ring *r)
{
    watch_ring_clear(r, 0);
    mem_free(r->events);
    memset(r, 0, sizeof(*r));
}

static bool ring_grow(struct watch_ring *r, size_t need)
{
    size_t cap = r->cap == 0 ? 64 : r->cap;
    while (cap < need) {
        cap *= 2;
    }
    if (cap == r->cap) {
        return true;
    }
    struct hub_event *events = mem_alloc(cap * sizeof(*events));
    if (events == NULL) {
        return false;
    }
    for (size_t i = 0; i < r->len; i++) {
        events[i] = *ring_at(r, i);
    }
    mem_free(r->events);
    r->events = events;
    r->cap = cap;
    r->first = 0;
    return true;
}

void watch_ring_push(struct watch_ring *r, struct hub_event *events, size_t len, int64_t revision)
{
    size_t bytes = 0;
    for (size_t i = 0; i < len; i++) {
        bytes += ring_event_bytes(&events[i]);
    }
    while (r->len > 0 &&
           (r->len + len > WATCH_RING_EVENTS_MAX || r->bytes + bytes > WATCH_RING_BYTES_MAX)) {
        ring_evict(r);
    }
    if (len > WATCH_RING_EVENTS_MAX || bytes > WATCH_RING_BYTES_MAX ||
        !ring_grow(r, r->len + len)) {
        for (size_t i = 0; i < len; i++) {
            hub_event_drop(&events[i]);
        }
        watch_ring_clear(r, revision + 1);
        return;
    }
    for (size_t i = 0; i < len; i++) {
        *ring_at(r, r->len + i) = events[i];
    }
    r->len += len;
    r->bytes += bytes;
}

/* Place of the first event with a revision >= `revision`. */
static size_t ring_place(const struct watch_ring *r, int64_t revision)
{
    size_t low = 0;
    size_t high = r->len;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (ring_at(r, middle)->rev.main < revision) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

uint32_t watch_ring_serve(struct kv *kv, struct kv_watcher *w)
{
    struct watch_hub *h = &kv->hub;
    struct watch_ring *r = &h->ring;
    size_t start = ring_place(r, w->next);
    ASSERT(w->next >= r->oldest);
    for (size_t i = start; i < r->len; i++) {
        struct hub_event *e = ring_at(r, i);
        bool begins = i == start || ring_at(r, i - 1)->rev.main != e->rev.main;
        if (begins && w->pending.len > w->pending.whole) {
            w->pending.whole = w->pending.len;
            w->pending.revisions++;
        }
        if (begins && w->pending.revisions >= WATCH_CATCHUP_REVISIONS_MAX &&
            !watcher_flush(kv, w, kv->revision)) {
            return (uint32_t)(i - start);
        }
        if (!watcher_wants(w, e) || !watch_member_covers(&w->member, e->key)) {
            continue;
        }
        size_t before = ring_event_bytes(e);
        bool added = watcher_add(kv, w, e);
        r->bytes += ring_event_bytes(e) - before;
        if (!added) {
            /* Out of memory: from the first event it has not got, later. */
            int64_t next = w->pending.len > 0 ? w->pending.events[0].revision : e->rev.main;
            watcher_wait(h, w, next);
            return (uint32_t)(r->len);
        }
    }
    uint32_t served = (uint32_t)(r->len - start);
    w->pending.whole = w->pending.len;
    if (watcher_flush(kv, w, kv->revision)) {
        watcher_sync(h, w, kv->revision + 1);
    }
    while (r->len > 0 && r->bytes > WATCH_RING_BYTES_MAX) {
        ring_evict(r);
    }
    return served;
}
