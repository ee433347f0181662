/* controller.c - reconciles the keys of a cache.
 *
 * Keys come from three sources: events of the cache, a walk over all its keys (once it is synced,
 * each resync_ms, and after an add that failed), and the author. A walk goes in slices; it keeps
 * the key it has come to, so that rows may come and go meanwhile. */
#include "plugins/host/controller.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/buf.h"
#include "base/limits.h"
#include "plugins/host/cache.h"
#include "plugins/host/queue.h"

struct kvp_item {
    struct list link; /* in kvp_controller.items */
    struct kvp_controller *c;
    struct kvp_bytes key; /* the queue's copy: stays while the queue is open */
    int64_t result;       /* of reconcile or item_done */
    uint32_t writes;      /* item_* calls not answered yet */
    bool failed;          /* one of them was not OK */
    bool called;          /* an item_* call or item_done was made: PENDING waits for nothing else */
    bool reconciling;
    bool waiting; /* for item_done */
};

struct kvp_controller {
    struct scope_part part;
    struct kvp_controller_args args;
    struct cache_listener listener;
    struct kvp_cache *cache; /* NULL once it has ended */
    struct kvp_queue *queue;
    struct list items;
    size_t item_count;
    struct buf walked; /* key the walk has come to */
    bool walking;
    bool walk_from_start;
    bool walk_again; /* from the start, when this walk is through */
    bool missed;     /* an add failed: walk at the next pulse */
    uint64_t resync_at;
    uint64_t reconciles;
    uint64_t failures;
};

/* ---- sources of keys ----------------------------------------------------------------------- */

static void controller_walk(struct kvp_controller *c)
{
    c->missed = false;
    if (c->walking) {
        c->walk_again = true;
        return;
    }
    c->walking = true;
    c->walk_from_start = true;
    part_wake(&c->part, part_now(&c->part));
}

/* A key was lost for want of memory. */
static void controller_miss(struct kvp_controller *c)
{
    c->missed = true;
    part_wake(&c->part, part_now(&c->part) + PLUGIN_PULSE_MS);
}

static int controller_note(struct kvp_controller *c, int reason)
{
    if (reason == KVP_NO_MEMORY) {
        controller_miss(c);
    }
    return reason;
}

static void controller_changed(struct kvp_controller *c, const struct kvp_cached *before,
                               const struct kvp_cached *now)
{
    if (c->args.changed != NULL) {
        c->args.changed(c->args.data, c, before, now);
    } else {
        controller_note(c, queue_add(c->queue, now != NULL ? now->key : before->key));
    }
}

static void controller_heard(struct cache_listener *l, const struct kvp_cached *before,
                             const struct kvp_cached *now)
{
    struct kvp_controller *c = LIST_ENTRY(l, struct kvp_controller, listener);
    if (c->part.closed || !cache_synced(c->cache)) {
        return; /* the walk after synced brings them */
    }
    part_hold(&c->part);
    controller_changed(c, before, now);
    part_release(&c->part);
}

static void controller_synced(struct cache_listener *l)
{
    struct kvp_controller *c = LIST_ENTRY(l, struct kvp_controller, listener);
    queue_pause(c->queue, false);
    controller_walk(c);
}

static void controller_cache_closed(struct cache_listener *l)
{
    struct kvp_controller *c = LIST_ENTRY(l, struct kvp_controller, listener);
    c->cache = NULL;
    part_close(&c->part);
}

static void controller_walk_slice(struct kvp_controller *c)
{
    for (uint32_t i = 0; i < PLUGIN_CACHE_SLICE_ROWS; i++) {
        struct kvp_cached row;
        if (!cache_next(c->cache, c->walk_from_start, buf_slice(&c->walked), &row)) {
            c->walking = false;
            buf_clear(&c->walked);
            if (c->walk_again) {
                c->walk_again = false;
                controller_walk(c);
            }
            return;
        }
        size_t had = c->walked.len;
        if (!buf_append_slice(&c->walked, slice_of_kvp(row.key))) {
            c->walking = false;
            buf_clear(&c->walked);
            controller_miss(c);
            return;
        }
        buf_consume(&c->walked, had);
        c->walk_from_start = false;
        /* As an update that changed nothing, or (first) an addition. */
        controller_changed(c, NULL, &row);
        if (c->part.closed) {
            return;
        }
    }
    part_wake(&c->part, part_now(&c->part));
}

static void controller_wake(struct scope_part *p)
{
    struct kvp_controller *c = (struct kvp_controller *)p;
    uint64_t now = part_now(p);
    if (!cache_synced(c->cache)) {
        return; /* synced starts the first walk */
    }
    if (c->missed || now >= c->resync_at) {
        controller_walk(c);
    }
    if (now >= c->resync_at) {
        c->resync_at = now + c->args.resync_ms;
    }
    if (c->walking) {
        controller_walk_slice(c);
    }
    if (c->resync_at != UINT64_MAX) {
        part_wake(p, c->resync_at);
    }
}

/* ---- items --------------------------------------------------------------------------------- */

static void controller_finish(struct kvp_controller *c, struct kvp_bytes key, int64_t result)
{
    if (result < 0) {
        c->failures++;
        controller_note(c, queue_add_limited(c->queue, key));
    } else {
        queue_forget(c->queue, key);
        if (result > 0) {
            controller_note(c, queue_add_after(c->queue, key, (uint64_t)result));
        }
    }
    queue_done(c->queue, key);
}

/* Ends the item when nothing more is to come. */
static void item_settle(struct kvp_item *item)
{
    struct kvp_controller *c = item->c;
    if (item->reconciling || item->writes > 0 || item->waiting) {
        return;
    }
    int64_t result = item->failed ? KVP_RETRY : item->result;
    if (!c->part.closed) {
        controller_finish(c, item->key, result);
    }
    list_remove(&item->link);
    c->item_count--;
    part_free(&c->part, item);
    part_release(&c->part);
}

static void controller_work(void *data, struct kvp_queue *q, struct kvp_bytes key)
{
    struct kvp_controller *c = data;
    struct kvp_item *item = part_alloc(&c->part, sizeof(*item));
    (void)q;
    if (item == NULL) {
        controller_finish(c, key, KVP_RETRY);
        return;
    }
    *item = (struct kvp_item){.c = c, .key = key, .reconciling = true};
    list_push_back(&c->items, &item->link);
    c->item_count++;
    part_hold(&c->part);
    c->reconciles++;
    int64_t result = c->args.reconcile(c->args.data, item, key);
    item->reconciling = false;
    if (result == KVP_PENDING) {
        item->waiting = !item->called;
    } else {
        item->result = result;
    }
    item_settle(item);
}

/* Items are touched on the plugin's lane only; calls from elsewhere do nothing. */
static bool item_elsewhere(const struct kvp_item *item)
{
    const struct scope *s = item->c->part.scope;
    return s->enter(s->ctx) == KVP_WRONG_THREAD;
}

/* Whether the item may write; if not, it ends as failed. */
static bool item_begin(struct kvp_item *item)
{
    if (item_elsewhere(item)) {
        return false;
    }
    item->called = true;
    item->waiting = false;
    if (item->c->part.closed) {
        item->failed = true;
        item_settle(item);
        return false;
    }
    item->writes++;
    return true;
}

static void item_written(void *data, const struct kvp_result *r)
{
    struct kvp_item *item = data;
    item->writes--;
    item->failed = item->failed || r->outcome != KVP_OK;
    item_settle(item);
}

static void item_committed(void *data, const struct kvp_result *r, const struct kvp_txn_result *t)
{
    struct kvp_item *item = data;
    item->writes--;
    item->failed = item->failed || r->outcome != KVP_OK || !t->succeeded;
    item_settle(item);
}

/* After the host took the write (0) or not. */
static int64_t item_begun(struct kvp_item *item, int reason)
{
    if (reason != 0) {
        item->writes--;
        item->failed = true;
        item_settle(item);
    }
    return KVP_PENDING;
}

int64_t controller_item_put(struct kvp_item *item, const struct kvp_put *p)
{
    const struct scope *s = item->c->part.scope;
    return item_begin(item) ? item_begun(item, s->host->put(s->ctx, p, item_written, item))
                            : KVP_PENDING;
}

int64_t controller_item_put_if(struct kvp_item *item, const struct kvp_put *p, int64_t mod_revision)
{
    const struct scope *s = item->c->part.scope;
    return item_begin(item)
               ? item_begun(item, s->host->put_if(s->ctx, p, mod_revision, item_written, item))
               : KVP_PENDING;
}

int64_t controller_item_txn(struct kvp_item *item, struct kvp_txn *txn)
{
    const struct scope *s = item->c->part.scope;
    if (!item_begin(item)) {
        s->host->txn_free(txn);
        return KVP_PENDING;
    }
    return item_begun(item,
                      txn == NULL ? KVP_NO_MEMORY : s->host->txn_commit(txn, item_committed, item));
}

void controller_item_done(struct kvp_item *item, int64_t result)
{
    if (item_elsewhere(item)) {
        return;
    }
    item->called = true;
    item->waiting = false;
    item->result = result == KVP_PENDING ? KVP_RETRY : result;
    item_settle(item);
}

/* ---- opened and closed --------------------------------------------------------------------- */

static void controller_part_close(struct scope_part *p)
{
    struct kvp_controller *c = (struct kvp_controller *)p;
    if (c->cache != NULL) {
        cache_unlisten(c->cache, &c->listener);
        c->cache = NULL;
    }
    if (c->queue != NULL) {
        part_close((struct scope_part *)c->queue);
        c->queue = NULL;
    }
}

static void controller_part_clear(struct scope_part *p)
{
    struct kvp_controller *c = (struct kvp_controller *)p;
    /* Items whose item_done never came: only the end of the context brings us here with some. */
    for (struct list *it; (it = list_pop_front(&c->items)) != NULL;) {
        part_free(p, LIST_ENTRY(it, struct kvp_item, link));
    }
    buf_close(&c->walked);
    part_free(p, (void *)c->args.name);
}

static const struct scope_kind controller_kind = {
    .close = controller_part_close, .clear = controller_part_clear, .wake = controller_wake};

/* The parts a controller is made of. */
static int controller_fill(struct kvp_controller *c)
{
    const struct kvp_controller_args *a = &c->args;
    struct scope *s = c->part.scope;
    if (a->name != NULL) {
        c->args.name = s->host->dup(s->ctx, kvp_str(a->name));
        if (c->args.name == NULL) {
            return KVP_NO_MEMORY;
        }
    }
    struct kvp_queue_args qa = {.size = sizeof(qa),
                                .parallel = a->parallel,
                                .delay_min_ms = a->delay_min_ms,
                                .delay_max_ms = a->delay_max_ms,
                                .rate_per_s = a->rate_per_s,
                                .burst = a->burst,
                                .work = controller_work,
                                .data = c};
    return queue_open_named(s, &qa, a->name, &c->queue);
}

int controller_open(struct scope *s, const struct kvp_controller_args *a,
                    struct kvp_controller **out)
{
    if (a == NULL || a->size == 0 || a->cache == NULL || a->reconcile == NULL || out == NULL) {
        return KVP_INVALID;
    }
    int reason = part_enter((struct scope_part *)a->cache, "controller with a cache");
    if (reason != 0) {
        return reason;
    }
    struct kvp_controller *c = part_new(s, &controller_kind, sizeof(*c), &reason);
    if (c == NULL) {
        return reason;
    }
    c->args = *a;
    list_init(&c->items);
    buf_init(&c->walked);
    c->resync_at = a->resync_ms != 0 ? part_now(&c->part) + a->resync_ms : UINT64_MAX;
    reason = controller_fill(c);
    if (reason != 0) {
        part_close(&c->part);
        return reason;
    }
    c->listener = (struct cache_listener){.changed = controller_heard,
                                          .synced = controller_synced,
                                          .closed = controller_cache_closed};
    c->cache = a->cache;
    cache_listen(c->cache, &c->listener);
    queue_pause(c->queue, true);
    if (cache_synced(c->cache)) {
        controller_synced(&c->listener);
    }
    *out = c;
    return 0;
}

int controller_add(struct kvp_controller *c, struct kvp_bytes key)
{
    if (c == NULL) {
        return KVP_INVALID;
    }
    int reason = part_enter(&c->part, "controller_add");
    return reason != 0 ? reason : controller_note(c, queue_add(c->queue, key));
}

int controller_add_after(struct kvp_controller *c, struct kvp_bytes key, uint64_t ms)
{
    if (c == NULL) {
        return KVP_INVALID;
    }
    int reason = part_enter(&c->part, "controller_add_after");
    return reason != 0 ? reason : controller_note(c, queue_add_after(c->queue, key, ms));
}

void controller_close(struct kvp_controller *c)
{
    if (c != NULL && part_may_close(&c->part, "controller_close")) {
        part_close(&c->part);
    }
}

void controller_stats(const struct kvp_controller *c, struct controller_stats *out)
{
    struct queue_stats q = {0};
    if (c->queue != NULL) {
        queue_stats(c->queue, &q);
    }
    *out = (struct controller_stats){.name = c->args.name,
                                     .reconciles = c->reconciles,
                                     .failures = c->failures,
                                     .waiting = q.waiting,
                                     .delayed = q.delayed,
                                     .in_work = c->item_count};
}
