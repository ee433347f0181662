/* watch.c - creating and cancelling watchers, staging and publishing events. */
#include "kv/watch.h"

#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "kv/state.h"

#define WATCHER_OF_ALL(n)    LIST_ENTRY(n, struct kv_watcher, all)
#define WATCHER_OF_QUEUE(n)  LIST_ENTRY(n, struct kv_watcher, queue)
#define WATCHER_OF_MEMBER(m) LIST_ENTRY(m, struct kv_watcher, member)
#define COHORT_OF(n)         LIST_ENTRY(n, struct watch_cohort, link)

void watch_hub_init(struct watch_hub *h)
{
    memset(h, 0, sizeof(*h));
    watch_group_init(&h->live);
    list_init(&h->all);
    list_init(&h->waiting);
    list_init(&h->cohorts);
    list_init(&h->dead);
}

/* ---- states
 * -------------------------------------------------------------------------------------- */

void watcher_drop_pending(struct kv_watcher *w)
{
    for (size_t i = 0; i < w->pending.len; i++) {
        blob_unref(w->pending.events[i].body);
    }
    mem_free(w->pending.events);
    memset(&w->pending, 0, sizeof(w->pending));
}

void watcher_detach(struct watch_hub *h, struct kv_watcher *w)
{
    switch (w->state) {
    case WATCHER_SYNCED:
        watch_group_remove(&h->live, &w->member);
        break;
    case WATCHER_SWEEPING:
        watch_cohort_leave(w);
        break;
    default:
        break;
    }
    list_remove(&w->queue);
    watcher_drop_pending(w);
}

void watcher_wait(struct watch_hub *h, struct kv_watcher *w, int64_t next)
{
    watcher_detach(h, w);
    w->state = WATCHER_WAITING;
    w->next = next;
    list_push_back(&h->waiting, &w->queue);
}

void watcher_pause(struct watch_hub *h, struct kv_watcher *w, int64_t next)
{
    watcher_detach(h, w);
    w->state = WATCHER_PAUSED;
    w->next = next;
}

bool watcher_sync(struct watch_hub *h, struct kv_watcher *w, int64_t next)
{
    watcher_detach(h, w);
    w->next = next;
    if (!watch_group_add(&h->live, &w->member)) {
        w->state = WATCHER_WAITING;
        list_push_back(&h->waiting, &w->queue);
        return false;
    }
    w->state = WATCHER_SYNCED;
    return true;
}

static void watcher_free(struct kv_watcher *w)
{
    list_remove(&w->all);
    mem_free(w);
}

void watch_hub_enter(struct watch_hub *h)
{
    h->busy++;
}

void watch_hub_leave(struct watch_hub *h)
{
    ASSERT(h->busy > 0);
    if (--h->busy == 0) {
        while (!list_empty(&h->dead)) {
            watcher_free(WATCHER_OF_ALL(h->dead.next));
        }
    }
}

static void watcher_kill(struct watch_hub *h, struct kv_watcher *w)
{
    watcher_detach(h, w);
    w->state = WATCHER_DEAD;
    h->watcher_count--;
    list_remove(&w->all);
    if (h->busy > 0) {
        list_push_back(&h->dead, &w->all);
    } else {
        watcher_free(w);
    }
}

void watcher_compacted(struct kv *kv, struct kv_watcher *w)
{
    const struct watch_sink *sink = w->sink;
    void *sink_data = w->sink_data;
    void *data = w->data;
    watcher_kill(&kv->hub, w);
    watch_hub_enter(&kv->hub);
    sink->compacted(sink_data, data, kv->compact_revision);
    watch_hub_leave(&kv->hub);
}

void watch_hub_close(struct watch_hub *h)
{
    while (!list_empty(&h->all)) {
        watcher_kill(h, WATCHER_OF_ALL(h->all.next));
    }
    while (!list_empty(&h->cohorts)) {
        watch_cohort_free(h, COHORT_OF(h->cohorts.next));
    }
    for (size_t i = 0; i < h->staged_len; i++) {
        hub_event_drop(&h->staged[i]);
    }
    mem_free(h->staged);
    mem_free(h->touched);
    watch_ring_close(&h->ring);
    watch_group_close(&h->live);
}

/* ---- kv.h
 * ---------------------------------------------------------------------------------------- */

struct kv_watcher *kv_watch(struct kv *kv, const struct watch_options *options,
                            const struct watch_sink *sink, void *sink_data, void *watcher_data)
{
    static const uint8_t first_key[1] = {0};
    struct watch_hub *h = &kv->hub;
    struct slice key = options->key.len > 0 ? options->key : slice_of(first_key, 1);
    struct slice end = options->range_end;
    bool to_end = end.len == 1 && end.data[0] == 0;
    if (to_end) {
        end = slice_of(NULL, 0);
    }
    struct kv_watcher *w = mem_zalloc(sizeof(*w) + key.len + end.len);
    if (w == NULL) {
        return NULL;
    }
    uint8_t *bytes = (uint8_t *)(w + 1);
    memcpy(bytes, key.data, key.len);
    if (end.len > 0) {
        memcpy(bytes + key.len, end.data, end.len);
    }
    w->member.key = slice_of(bytes, key.len);
    w->member.end = slice_of(bytes + key.len, end.len);
    w->member.to_end = to_end;
    list_init(&w->member.link);
    list_init(&w->queue);
    w->no_put = options->no_put;
    w->no_delete = options->no_delete;
    w->prev_kv = options->prev_kv;
    w->start = options->start_revision;
    w->next = w->start > 0 ? w->start : kv->revision + 1;
    w->sink = sink;
    w->sink_data = sink_data;
    w->data = watcher_data;
    w->state = WATCHER_WAITING;
    if (w->start < 0) {
        w->next = w->start; /* below every floor, if there is one */
    }
    if (h->watcher_count == 0) {
        /* Nothing was kept while nobody watched. */
        watch_ring_clear(&h->ring, kv->revision + 1);
    }
    list_push_back(&h->all, &w->all);
    h->watcher_count++;
    if (w->next > kv->revision) {
        watcher_sync(h, w, w->next);
    } else {
        list_push_back(&h->waiting, &w->queue);
    }
    return w;
}

void kv_watch_cancel(struct kv *kv, struct kv_watcher *w)
{
    if (w->state != WATCHER_DEAD) {
        watcher_kill(&kv->hub, w);
    }
}

void kv_watch_resume(struct kv *kv, struct kv_watcher *w)
{
    if (w->state == WATCHER_PAUSED) {
        watcher_wait(&kv->hub, w, w->next);
    }
}

bool kv_watch_synced(const struct kv *kv, const struct kv_watcher *w)
{
    return w->state == WATCHER_SYNCED && w->start <= kv->revision;
}

enum kv_progress kv_watch_step(struct kv *kv)
{
    struct watch_hub *h = &kv->hub;
    uint32_t budget = SLICE_ROWS_MAX;
    struct list again;
    list_init(&again);
    watch_hub_enter(h);
    while (budget > 0 && !list_empty(&h->waiting)) {
        struct kv_watcher *w = WATCHER_OF_QUEUE(h->waiting.next);
        uint32_t rows = 1;
        if (w->next < kv->compact_revision) {
            watcher_compacted(kv, w);
        } else if (w->next > kv->revision) {
            if (!watcher_sync(h, w, w->next)) {
                break;
            }
        } else if (w->next >= h->ring.oldest) {
            rows += watch_ring_serve(kv, w);
        } else if (!watch_cohort_join(kv, w)) {
            list_remove(&w->queue);
            list_push_back(&again, &w->queue);
        }
        budget -= rows < budget ? rows : budget;
    }
    list_splice_back(&h->waiting, &again);
    watch_cohort_step(kv);
    watch_hub_leave(h);
    return list_empty(&h->waiting) && list_empty(&h->cohorts) ? KV_DONE : KV_MORE;
}

/* ---- events
 * -------------------------------------------------------------------------------------- */

bool watcher_wants(const struct kv_watcher *w, const struct hub_event *e)
{
    return e->rev.main >= w->next && !(e->is_delete ? w->no_delete : w->no_put);
}

bool watcher_add(struct kv *kv, struct kv_watcher *w, struct hub_event *e)
{
    struct watch_pending *p = &w->pending;
    struct blob *body = hub_event_body(kv, e, w->prev_kv);
    if (body == NULL) {
        return false;
    }
    if (p->len == p->cap) {
        size_t cap = p->cap == 0 ? 4 : p->cap * 2;
        struct watch_event *events = mem_realloc(p->events, cap * sizeof(*events));
        if (events == NULL) {
            return false;
        }
        p->events = events;
        p->cap = cap;
    }
    p->events[p->len++] = (struct watch_event){.body = blob_ref(body), .revision = e->rev.main};
    p->bytes += body->len;
    return true;
}

bool watcher_flush(struct kv *kv, struct kv_watcher *w, int64_t revision)
{
    /* Taken out of the watcher: the callback may cancel it. */
    struct watch_pending p = w->pending;
    if (p.whole == 0) {
        return true;
    }
    memset(&w->pending, 0, sizeof(w->pending));
    watch_hub_enter(&kv->hub);
    bool taken = w->sink->events(w->sink_data, w->data, revision, p.events, p.whole);
    bool alive = w->state != WATCHER_DEAD;
    size_t gone = alive && taken ? p.whole : p.len;
    if (alive && taken) {
        w->next = p.events[p.whole - 1].revision + 1;
    } else if (alive) {
        watcher_pause(&kv->hub, w, p.events[0].revision);
    }
    for (size_t i = 0; i < gone; i++) {
        p.bytes -= p.events[i].body->len;
        blob_unref(p.events[i].body);
    }
    if (gone < p.len) {
        memmove(p.events, p.events + gone, (p.len - gone) * sizeof(p.events[0]));
        p.len -= gone;
        p.whole = 0;
        p.revisions = 0;
        w->pending = p;
    } else {
        mem_free(p.events);
    }
    watch_hub_leave(&kv->hub);
    return alive && taken;
}

void watch_hub_stage(struct watch_hub *h, const struct record *r, const struct key_value *fields)
{
    if (h->watcher_count == 0 || h->overflow) {
        /* Should a watcher appear before this operation is published, it reads it from the table.
         */
        h->overflow = true;
        return;
    }
    if (h->staged_len == h->staged_cap) {
        size_t cap = h->staged_cap == 0 ? 16 : h->staged_cap * 2;
        struct hub_event *staged = mem_realloc(h->staged, cap * sizeof(*staged));
        if (staged == NULL) {
            h->overflow = true;
            return;
        }
        h->staged = staged;
        h->staged_cap = cap;
    }
    struct hub_event *e = &h->staged[h->staged_len];
    if (h->staged_len >= WATCH_STAGED_EVENTS_MAX || h->staged_bytes >= WATCH_STAGED_BYTES_MAX ||
        !hub_event_make(e, r)) {
        h->overflow = true;
        return;
    }
    h->staged_len++;
    h->staged_bytes += e->plain->len;
    (void)fields;
}

/* A live watcher covers the event's key. */
struct live_visit {
    struct watch_hub *hub;
    struct hub_event *event;
    struct kv *kv;
    bool alone; /* the only event of its revision: nothing to collect per watcher */
    bool failed;
};

static void live_touch(void *data, struct watch_member *m)
{
    struct live_visit *v = data;
    struct watch_hub *h = v->hub;
    struct kv_watcher *w = WATCHER_OF_MEMBER(m);
    if (!watcher_wants(w, v->event) || v->failed) {
        return;
    }
    if (!w->touched) {
        if (h->touched_len == h->touched_cap) {
            size_t cap = h->touched_cap == 0 ? 64 : h->touched_cap * 2;
            struct kv_watcher **touched = mem_realloc(h->touched, cap * sizeof(*touched));
            if (touched == NULL) {
                v->failed = true;
                return;
            }
            h->touched = touched;
            h->touched_cap = cap;
        }
        h->touched[h->touched_len++] = w;
        w->touched = true;
    }
    if (!v->alone && !watcher_add(v->kv, w, v->event)) {
        v->failed = true;
    }
}

/* Sends one event to one watcher without collecting it first. */
static void live_send_one(struct kv *kv, struct kv_watcher *w, struct hub_event *e)
{
    struct watch_event event = {.revision = e->rev.main};
    event.body = hub_event_body(kv, e, w->prev_kv);
    if (event.body == NULL) {
        watcher_wait(&kv->hub, w, e->rev.main);
    } else if (!w->sink->events(w->sink_data, w->data, e->rev.main, &event, 1) &&
               w->state != WATCHER_DEAD) {
        watcher_pause(&kv->hub, w, e->rev.main);
    }
}

/* Nobody gets this revision from memory: all live watchers that want it read it from the table. */
static void live_overflow(struct watch_hub *h, int64_t revision)
{
    struct list *next;
    for (struct list *it = h->all.next; it != &h->all; it = next) {
        struct kv_watcher *w = WATCHER_OF_ALL(it);
        next = it->next;
        w->touched = false;
        if (w->state == WATCHER_SYNCED && w->next <= revision) {
            watcher_wait(h, w, revision);
        }
    }
    h->touched_len = 0;
}

static void live_deliver(struct kv *kv, int64_t revision)
{
    struct watch_hub *h = &kv->hub;
    struct live_visit visit = {.hub = h, .kv = kv, .alone = h->staged_len == 1};
    h->touched_len = 0;
    for (size_t i = 0; i < h->staged_len && !visit.failed; i++) {
        visit.event = &h->staged[i];
        watch_group_visit(&h->live, visit.event->key, live_touch, &visit);
    }
    if (visit.failed) {
        live_overflow(h, revision);
        return;
    }
    for (size_t i = 0; i < h->touched_len; i++) {
        struct kv_watcher *w = h->touched[i];
        w->touched = false;
        if (w->state != WATCHER_SYNCED) {
            continue; /* a callback cancelled it */
        }
        if (visit.alone) {
            live_send_one(kv, w, &h->staged[0]);
        } else {
            w->pending.whole = w->pending.len;
            watcher_flush(kv, w, revision);
        }
    }
    h->touched_len = 0;
}

void watch_hub_publish(struct kv *kv, int64_t revision)
{
    struct watch_hub *h = &kv->hub;
    if (h->watcher_count == 0) {
        h->overflow = true;
    }
    watch_hub_enter(h);
    if (h->overflow) {
        live_overflow(h, revision);
    } else {
        live_deliver(kv, revision);
    }
    if (h->overflow) {
        for (size_t i = 0; i < h->staged_len; i++) {
            hub_event_drop(&h->staged[i]);
        }
        watch_ring_clear(&h->ring, revision + 1);
    } else {
        watch_ring_push(&h->ring, h->staged, h->staged_len, revision);
    }
    h->staged_len = 0;
    h->staged_bytes = 0;
    h->overflow = false;
    h->published = revision;
    watch_hub_leave(h);
}

void watch_hub_reset(struct kv *kv)
{
    struct watch_hub *h = &kv->hub;
    watch_ring_clear(&h->ring, kv->revision + 1);
    LIST_FOREACH (it, &h->all) {
        struct kv_watcher *w = WATCHER_OF_ALL(it);
        int64_t next = w->next;
        if (w->state == WATCHER_PAUSED) {
            continue;
        }
        if (w->state == WATCHER_SYNCED && h->published >= next) {
            next = h->published + 1;
        } else if (w->state == WATCHER_SWEEPING) {
            int64_t seen = w->pending.len > 0 ? w->pending.events[0].revision : w->cohort->position;
            next = seen > next ? seen : next;
        }
        watcher_wait(h, w, next);
    }
    h->published = kv->revision;
}
