/* watch_sweep.c - cohorts: watchers that read their past from the record table together.
 *
 * A cohort's sweep starts at the lowest revision of its members and goes up, a slice at a time;
 * each slice opens its own view, so nothing is pinned in between. A member gets its events in
 * responses of whole revisions. When the table ends, the members know everything up to the newest
 * revision and go live. A watcher that starts far below the others gets a cohort of its own, so
 * that nobody waits for somebody else's long past. */
#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "kv/state.h"

#define WATCHER_OF_QUEUE(n)  LIST_ENTRY(n, struct kv_watcher, queue)
#define WATCHER_OF_MEMBER(m) LIST_ENTRY(m, struct kv_watcher, member)
#define COHORT_OF(n)         LIST_ENTRY(n, struct watch_cohort, link)

/* A watcher joins a sweep that has at most this many revisions to go before it is of use to it. */
#define JOIN_REVISIONS_MAX 10000

/* Pending bytes count at least this much per event. */
#define EVENT_OVERHEAD_BYTES 64u

static struct watch_cohort *cohort_new(struct watch_hub *h, int64_t position)
{
    struct watch_cohort *c = mem_zalloc(sizeof(*c));
    if (c == NULL) {
        return NULL;
    }
    watch_group_init(&c->group);
    list_init(&c->members);
    c->position = position;
    list_push_back(&h->cohorts, &c->link);
    h->cohort_count++;
    return c;
}

void watch_cohort_free(struct watch_hub *h, struct watch_cohort *c)
{
    ASSERT(list_empty(&c->members));
    list_remove(&c->link);
    h->cohort_count--;
    watch_group_close(&c->group);
    mem_free(c->dirty);
    mem_free(c->touched);
    mem_free(c);
}

/* The sweep that reaches `next` soonest; NULL = none is at or below it. */
static struct watch_cohort *cohort_nearest(struct watch_hub *h, int64_t next)
{
    struct watch_cohort *best = NULL;
    LIST_FOREACH (it, &h->cohorts) {
        struct watch_cohort *c = COHORT_OF(it);
        /* In the middle of a revision a newcomer would miss its first part. */
        int64_t position = c->position + (c->sub > 0);
        if (position <= next && (best == NULL || c->position > best->position)) {
            best = c;
        }
    }
    return best;
}

bool watch_cohort_join(struct kv *kv, struct kv_watcher *w)
{
    struct watch_hub *h = &kv->hub;
    struct watch_cohort *c = cohort_nearest(h, w->next);
    bool near = c != NULL && w->next - c->position <= JOIN_REVISIONS_MAX;
    if (!near && h->cohort_count < WATCH_COHORTS_MAX) {
        c = cohort_new(h, w->next);
    }
    if (c == NULL || !watch_group_add(&c->group, &w->member)) {
        if (c != NULL && list_empty(&c->members)) {
            watch_cohort_free(h, c);
        }
        return false;
    }
    list_remove(&w->queue);
    list_push_back(&c->members, &w->queue);
    w->state = WATCHER_SWEEPING;
    w->cohort = c;
    w->dirty_at = 0;
    return true;
}

void watch_cohort_leave(struct kv_watcher *w)
{
    struct watch_cohort *c = w->cohort;
    watch_group_remove(&c->group, &w->member);
    list_remove(&w->queue);
    if (w->dirty_at > 0) {
        c->dirty[w->dirty_at - 1] = NULL;
        w->dirty_at = 0;
    }
    for (size_t i = 0; w->touched && i < c->touched_len; i++) {
        if (c->touched[i] == w) {
            c->touched[i] = NULL;
        }
    }
    w->touched = false;
    w->cohort = NULL;
}

/* ---- events
 * -------------------------------------------------------------------------------------- */

struct sweep_visit {
    struct kv *kv;
    struct watch_cohort *cohort;
    const struct record *record;
    struct hub_event event; /* made for the first member that wants it */
    bool failed;            /* out of memory */
};

static bool list_watcher(struct kv_watcher ***list, size_t *len, size_t *cap, struct kv_watcher *w)
{
    if (*len == *cap) {
        size_t more = *cap == 0 ? 16 : *cap * 2;
        struct kv_watcher **grown = mem_realloc(*list, more * sizeof(*grown));
        if (grown == NULL) {
            return false;
        }
        *list = grown;
        *cap = more;
    }
    (*list)[(*len)++] = w;
    return true;
}

static bool cohort_mark(struct watch_cohort *c, struct kv_watcher *w)
{
    if (w->dirty_at == 0) {
        if (!list_watcher(&c->dirty, &c->dirty_len, &c->dirty_cap, w)) {
            return false;
        }
        w->dirty_at = c->dirty_len;
    }
    if (!w->touched) {
        if (!list_watcher(&c->touched, &c->touched_len, &c->touched_cap, w)) {
            return false;
        }
        w->touched = true;
    }
    return true;
}

static void sweep_member(void *data, struct watch_member *m)
{
    struct sweep_visit *v = data;
    struct kv_watcher *w = WATCHER_OF_MEMBER(m);
    const struct record *r = v->record;
    struct hub_event probe = {.rev = r->rev, .is_delete = r->op == RECORD_DELETE};
    if (v->failed || !watcher_wants(w, &probe)) {
        return;
    }
    if ((v->event.plain == NULL && !hub_event_make(&v->event, r)) || !cohort_mark(v->cohort, w) ||
        !watcher_add(v->kv, w, &v->event)) {
        v->failed = true;
        return;
    }
    v->cohort->pending_bytes += v->event.plain->len + EVENT_OVERHEAD_BYTES;
}

/* Sends all that is complete. */
static void cohort_flush(struct kv *kv, struct watch_cohort *c)
{
    size_t kept = 0;
    size_t bytes = 0;
    for (size_t i = 0; i < c->dirty_len; i++) {
        struct kv_watcher *w = c->dirty[i];
        /* Refused or cancelled: watch_cohort_leave has cleared its place. */
        if (w == NULL || !watcher_flush(kv, w, kv->revision) || c->dirty[i] == NULL) {
            continue;
        }
        c->dirty[i] = NULL;
        w->dirty_at = 0;
        if (w->pending.len > 0) {
            bytes += w->pending.bytes + w->pending.len * EVENT_OVERHEAD_BYTES;
            c->dirty[kept] = w;
            w->dirty_at = ++kept;
        }
    }
    c->dirty_len = kept;
    c->pending_bytes = bytes;
}

/* The revision at c->position is complete. */
static void cohort_boundary(struct kv *kv, struct watch_cohort *c)
{
    for (size_t i = 0; i < c->touched_len; i++) {
        struct kv_watcher *w = c->touched[i];
        if (w == NULL) {
            continue;
        }
        struct watch_pending *p = &w->pending;
        w->touched = false;
        p->whole = p->len;
        p->revisions++;
        if (p->revisions >= WATCH_CATCHUP_REVISIONS_MAX || p->bytes >= WATCH_CATCHUP_BYTES_MAX) {
            watcher_flush(kv, w, kv->revision);
        }
    }
    c->touched_len = 0;
    if (c->pending_bytes >= WATCH_COHORT_BYTES_MAX) {
        cohort_flush(kv, c);
    }
}

/* ---- the sweep
 * ----------------------------------------------------------------------------------- */

/* The floor has overtaken the sweep: members that wanted what is gone are told so. */
static void cohort_overtaken(struct kv *kv, struct watch_cohort *c)
{
    struct list *next;
    struct list members;
    list_init(&members);
    cohort_flush(kv, c);
    list_splice_back(&members, &c->members);
    while ((next = list_pop_front(&members)) != NULL) {
        struct kv_watcher *w = WATCHER_OF_QUEUE(next);
        list_push_back(&c->members, &w->queue);
        if (w->next < kv->compact_revision) {
            watcher_compacted(kv, w);
        }
    }
    c->touched_len = 0;
    c->position = kv->compact_revision;
    c->sub = 0;
}

/* Everything is read: all members go live. */
static void cohort_done(struct kv *kv, struct watch_cohort *c)
{
    struct watch_hub *h = &kv->hub;
    cohort_boundary(kv, c);
    cohort_flush(kv, c);
    while (!list_empty(&c->members)) {
        struct kv_watcher *w = WATCHER_OF_QUEUE(c->members.next);
        int64_t next = kv->revision + 1;
        watcher_sync(h, w, w->next > next ? w->next : next);
    }
    watch_cohort_free(h, c);
}

/* Out of memory in the middle: everyone starts over from what was sent. */
static void cohort_dissolve(struct watch_hub *h, struct watch_cohort *c)
{
    while (!list_empty(&c->members)) {
        struct kv_watcher *w = WATCHER_OF_QUEUE(c->members.next);
        int64_t next = w->pending.len > 0 ? w->pending.events[0].revision : c->position;
        watcher_wait(h, w, w->next > next ? w->next : next);
    }
    watch_cohort_free(h, c);
}

/* One record of the table. */
static int cohort_record(struct kv *kv, struct watch_cohort *c, const struct record *r)
{
    struct key_value fields;
    if (!key_value_parse(r->kv, &fields)) {
        return ERR_DAMAGED;
    }
    if (r->rev.main != c->position && c->sub > 0) {
        cohort_boundary(kv, c);
    }
    struct sweep_visit v = {.kv = kv, .cohort = c, .record = r};
    watch_group_visit(&c->group, fields.key, sweep_member, &v);
    hub_event_drop(&v.event);
    c->position = r->rev.main;
    c->sub = r->rev.sub + 1;
    return v.failed ? ERR_NOMEM : 0;
}

/* Reads a slice. 1 = there is more, 0 = the table's end, negative = -(enum err). */
static int cohort_read(struct kv *kv, struct watch_cohort *c, struct store_view *view)
{
    struct store_cursor *cursor;
    uint8_t key[RECORD_KEY_BYTES];
    size_t bytes = 0;
    int err = store_cursor_open(view, TABLE_RECORD, &cursor);
    if (err != 0) {
        return -err;
    }
    int64_t from = c->position > 0 ? c->position : 0;
    record_key(key, (struct rev){.main = from, .sub = c->sub});
    int found = store_cursor_seek(cursor, slice_of(key, sizeof(key)));
    for (uint32_t rows = 0; found > 0 && rows < SLICE_ROWS_MAX && bytes < SLICE_BYTES_MAX; rows++) {
        struct record r;
        struct slice value = store_cursor_value(cursor);
        err = record_parse(store_cursor_key(cursor), value, &r);
        if (err == 0) {
            err = cohort_record(kv, c, &r);
        }
        if (err != 0) {
            found = -err;
            break;
        }
        bytes += value.len;
        if (list_empty(&c->members)) {
            found = 0;
            break;
        }
        found = store_cursor_next(cursor);
    }
    store_cursor_close(cursor);
    return found;
}

void watch_cohort_step(struct kv *kv)
{
    struct watch_hub *h = &kv->hub;
    struct store_view *view;
    struct list *first = list_pop_front(&h->cohorts);
    if (first == NULL) {
        return;
    }
    struct watch_cohort *c = COHORT_OF(first);
    list_push_back(&h->cohorts, &c->link);
    if (c->position < kv->compact_revision) {
        cohort_overtaken(kv, c);
    }
    if (list_empty(&c->members)) {
        watch_cohort_free(h, c);
        return;
    }
    int err = store_view_open(kv->store, &view);
    if (err != 0) {
        return; /* no memory or no reader slot: tried again at the next step */
    }
    int found = cohort_read(kv, c, view);
    store_view_close(view);
    if (found == 0) {
        cohort_done(kv, c);
    } else if (found == -ERR_NOMEM) {
        cohort_dissolve(h, c);
    } else if (found < 0) {
        kv_stop(-found, "watch: reading the past");
    }
}
