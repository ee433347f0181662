/* watch.h - the hub: who watches what, and how each of them gets every event once, in order.
 *
 * A watcher is in one of four states:
 *   SYNCED   in hub->live: gets events as they are published. Waits for a future start_revision
 * here. WAITING  wants revisions from `next` on; the next step serves it from the ring of recent
 * events, or puts it into a cohort. SWEEPING in a cohort: a sweep over the record table from its
 * lowest revision to the newest, shared by all its members, in slices; at the end of the table all
 * of them become SYNCED. That needs no further care, because sweeping and publishing happen on the
 * same thread. PAUSED   its sink is full: costs nothing until kv_watch_resume, then WAITING. Sinks
 * may create, cancel and resume watchers from inside their callbacks: cancelled watchers are freed
 * when the hub is left. */
#ifndef KVD_KV_WATCH_H
#define KVD_KV_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "kv/record.h"
#include "kv/store.h"
#include "kv/watch_group.h"
#include "proto/event.h"

struct kv;

/* A change ready to be sent: encoded on demand, once with and once without prev_kv. */
struct hub_event {
    struct rev rev;
    struct rev prev;
    bool has_prev;
    bool is_delete;
    struct blob *plain;
    struct blob *with_prev; /* may be `plain` once more */
    struct slice key;       /* in plain */
};

/* Events one watcher is about to get. */
struct watch_pending {
    struct watch_event *events; /* each holds a reference */
    size_t len;
    size_t cap;
    size_t whole; /* of them in revisions that are complete */
    size_t bytes;
    uint32_t revisions; /* complete ones */
};

enum watcher_state {
    WATCHER_SYNCED,
    WATCHER_WAITING,
    WATCHER_SWEEPING,
    WATCHER_PAUSED,
    WATCHER_DEAD
};

struct watch_cohort;

struct kv_watcher {
    struct watch_member member; /* of hub->live or a cohort's group: what it watches */
    struct list all;            /* hub->all, or hub->dead */
    struct list queue;          /* hub->waiting when WAITING, cohort->members when SWEEPING */
    enum watcher_state state;
    bool no_put;
    bool no_delete;
    bool prev_kv;
    bool touched;  /* by the revision being delivered, or being swept */
    int64_t start; /* as asked */
    int64_t next;  /* lowest revision it still wants, as of its last change of state */
    struct watch_cohort *cohort;
    size_t dirty_at; /* place in cohort->dirty + 1; 0 = not there */
    struct watch_pending pending;
    const struct watch_sink *sink;
    void *sink_data;
    void *data;
};

struct watch_cohort {
    struct list link; /* hub->cohorts: the next one to run is first */
    struct watch_group group;
    struct list members;
    int64_t position;          /* next revision to read */
    uint32_t sub;              /* inside it */
    struct kv_watcher **dirty; /* members with pending events; NULL = gone */
    size_t dirty_len;
    size_t dirty_cap;
    struct kv_watcher **touched; /* of them with events of the revision being read; NULL = gone */
    size_t touched_len;
    size_t touched_cap;
    size_t pending_bytes;
};

/* Recent events, whole revisions, oldest first, in a circle. */
struct watch_ring {
    struct hub_event *events;
    size_t cap; /* a power of two */
    size_t first;
    size_t len;
    size_t bytes;
    int64_t oldest; /* every event of revisions >= this one is here */
};

struct watch_hub {
    struct watch_group live;
    struct list all;
    struct list waiting;
    struct list cohorts;
    size_t cohort_count;
    size_t watcher_count;
    struct watch_ring ring;
    int64_t published; /* newest revision live watchers were told of */

    /* the operation being applied */
    struct hub_event *staged;
    size_t staged_len;
    size_t staged_cap;
    size_t staged_bytes;
    bool overflow; /* too much to stage: watchers read it from the table */

    struct kv_watcher **touched; /* by the revision being delivered */
    size_t touched_len;
    size_t touched_cap;
    unsigned busy; /* inside callbacks */
    struct list dead;
};

void watch_hub_init(struct watch_hub *h);
void watch_hub_close(struct watch_hub *h);
/* A change of the operation in progress. */
void watch_hub_stage(struct watch_hub *h, const struct record *r, const struct key_value *fields);
/* The operation's changes are visible as `revision`. */
void watch_hub_publish(struct kv *kv, int64_t revision);
/* The state was replaced (kv_install): nothing recent is known, everyone reads from the table. */
void watch_hub_reset(struct kv *kv);

/* ---- inside the hub ---- */
/* Makes a SYNCED, SWEEPING or WAITING watcher WAITING or PAUSED from revision `next` on. */
void watcher_detach(struct watch_hub *h, struct kv_watcher *w);
void watcher_wait(struct watch_hub *h, struct kv_watcher *w, int64_t next);
void watcher_pause(struct watch_hub *h, struct kv_watcher *w, int64_t next);
/* false = out of memory: it waits and will be tried again. */
bool watcher_sync(struct watch_hub *h, struct kv_watcher *w, int64_t next);
/* Tells it about the compaction and forgets it. */
void watcher_compacted(struct kv *kv, struct kv_watcher *w);
bool watcher_wants(const struct kv_watcher *w, const struct hub_event *e);
/* Takes a reference on the event. false = out of memory. */
bool watcher_add(struct kv *kv, struct kv_watcher *w, struct hub_event *e);
/* Sends the complete revisions pending. false = refused (w is PAUSED) or it died meanwhile. */
bool watcher_flush(struct kv *kv, struct kv_watcher *w, int64_t revision);
void watcher_drop_pending(struct kv_watcher *w);
/* Callbacks happen between these two. */
void watch_hub_enter(struct watch_hub *h);
void watch_hub_leave(struct watch_hub *h);

/* ---- watch_event.c ---- */
/* Encodes a change; false = out of memory. The caller owns e->plain. */
bool hub_event_make(struct hub_event *e, const struct record *r);
/* The encoding a watcher gets; NULL = out of memory. Borrowed. */
struct blob *hub_event_body(struct kv *kv, struct hub_event *e, bool prev_kv);
void hub_event_drop(struct hub_event *e);

/* ---- watch_ring.c ---- */
void watch_ring_clear(struct watch_ring *r, int64_t oldest);
void watch_ring_close(struct watch_ring *r);
/* Takes the events of one revision over, or forgets everything up to it when it cannot. */
void watch_ring_push(struct watch_ring *r, struct hub_event *events, size_t len, int64_t revision);
/* Serves one WAITING watcher (next >= ring.oldest) up to the newest revision. Returns rows looked
 * at. */
uint32_t watch_ring_serve(struct kv *kv, struct kv_watcher *w);

/* ---- watch_sweep.c ---- */
/* Puts a WAITING watcher into a cohort; false = no room now, or no memory. */
bool watch_cohort_join(struct kv *kv, struct kv_watcher *w);
void watch_cohort_leave(struct kv_watcher *w);
/* One slice of the next cohort. */
void watch_cohort_step(struct kv *kv);
void watch_cohort_free(struct watch_hub *h, struct watch_cohort *c);

#endif
