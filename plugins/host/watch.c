/* watch.c - watches: the hub's events, by reference, to the plugin's lane, with credit coming back.
 *
 * Happy path: the hub calls watch_on_events on the store loop; a batch with references to its
 * encoded events is posted to the lane, which decodes and calls the plugin, then posts the batch
 * back as credit. With too much outstanding the hub is told to wait; the credit that brings it
 * below half resumes it, and it rereads from the store. Ends: the lane alone decides (unwatch, end
 * of the context, or after `ended`) and posts `leave`; home leaves the hub and posts `left`, behind
 * every batch; then the watch is freed. Batches that arrive for a dead watch are dropped. */
#include "plugins/host/host_impl.h"
#include "proto/codec.h"

struct kvp_watch {
    struct kvp_ctx *ctx;
    struct kvp_watch_args args; /* key and end are not valid any more */
    struct list link;           /* kvp_ctx.watches (lane) */
    bool dead;                  /* lane: no callback any more */
    struct lane_msg join;       /* lane -> home */
    struct lane_msg over;       /* home -> lane: compacted, out of memory */
    struct lane_msg leave;      /* lane -> home */
    struct lane_msg left;       /* home -> lane */
    int over_err;
    int64_t over_revision;

    /* home */
    struct list home_link; /* kvp_ctx.home_watches */
    struct buf key;
    struct buf end;
    struct service_watcher *watcher; /* NULL: not made, or gone */
    size_t events_out;
    size_t bytes_out;
    bool refused;
    struct lane_timer progress;
    bool quiet; /* no event since the last tick */
};

struct watch_batch {
    struct lane_msg msg;
    struct kvp_watch *watch;
    int64_t revision;
    size_t count;
    size_t bytes;
    struct watch_event events[];
};

/* ---- the lane ----------------------------------------------------------------------------------
 */

static void watch_bury(struct kvp_watch *w)
{
    w->dead = true;
    list_remove(&w->link);
    atomic_fetch_sub(&w->ctx->instance->watches, 1);
    lane_post(&w->ctx->instance->host->home, &w->leave);
}

static void watch_tell_over(struct kvp_watch *w, int err, int64_t revision)
{
    struct kvp_result result;
    struct instance *in = w->ctx->instance;
    watch_bury(w);
    answer_result(&result, err, false, revision);
    if (w->args.ended != NULL) {
        callback_enter(in, "watch ended", slice_of(NULL, 0), revision);
        w->args.ended(w->args.data, &result);
        callback_leave(in);
    }
}

static void watch_on_over(struct lane_msg *m)
{
    struct kvp_watch *w = LIST_ENTRY(m, struct kvp_watch, over);
    if (!w->dead) {
        watch_tell_over(w, w->over_err, w->over_revision);
    }
}

void watch_end_all(struct kvp_ctx *ctx)
{
    while (!list_empty(&ctx->watches)) {
        watch_tell_over(LIST_ENTRY(ctx->watches.next, struct kvp_watch, link), ERR_STOPPED, 0);
    }
}

void watch_silence_all(struct kvp_ctx *ctx)
{
    while (!list_empty(&ctx->watches)) {
        watch_bury(LIST_ENTRY(ctx->watches.next, struct kvp_watch, link));
    }
}

static void watch_on_left(struct lane_msg *m)
{
    struct kvp_watch *w = LIST_ENTRY(m, struct kvp_watch, left);
    buf_close(&w->key);
    buf_close(&w->end);
    mem_free(w);
}

static void watch_batch_free(struct watch_batch *b)
{
    for (size_t i = 0; i < b->count; i++) {
        blob_unref(b->events[i].body);
    }
    mem_free(b);
}

/* A blob is field 11 of WatchResponse: Event { type 1, kv 2, prev_kv 3 }. */
static bool watch_decode(struct slice body, struct kvp_event *out)
{
    struct wire_field outer, f;
    int more;
    memset(out, 0, sizeof(*out));
    if (wire_next(&body, &outer) <= 0) {
        return false;
    }
    while ((more = wire_next(&outer.bytes, &f)) > 0) {
        if (f.number == 1) {
            out->type = (uint32_t)f.value;
        } else if (f.number == 2 && !answer_row(f.bytes, &out->row)) {
            return false;
        } else if (f.number == 3) {
            out->has_prev = 1;
            if (!answer_row(f.bytes, &out->prev)) {
                return false;
            }
        }
    }
    return more == 0;
}

static void watch_give(struct kvp_watch *w, struct watch_batch *b)
{
    struct instance *in = w->ctx->instance;
    struct kvp_event *events = NULL;
    if (b->count > 0) {
        events = mem_alloc(b->count * sizeof(*events));
        bool ok = events != NULL;
        for (size_t i = 0; ok && i < b->count; i++) {
            ok = watch_decode(blob_slice(b->events[i].body), &events[i]);
        }
        if (!ok) { /* events must not be missed: the plugin starts anew from a list */
            mem_free(events);
            watch_tell_over(w, ERR_NOMEM, 0);
            return;
        }
    }
    struct kvp_batch batch = {
        .size = sizeof(batch), .revision = b->revision, .events = events, .count = b->count};
    callback_enter(in, "watch events",
                   b->count > 0 ? bytes_slice(events[0].row.key) : slice_of(NULL, 0), b->revision);
    w->args.events(w->args.data, &batch);
    callback_leave(in);
    atomic_fetch_add_explicit(&in->events, b->count, memory_order_relaxed);
    mem_free(events);
}

static void watch_on_credit(struct lane_msg *m);

static void watch_on_batch(struct lane_msg *m)
{
    struct watch_batch *b = LIST_ENTRY(m, struct watch_batch, msg);
    struct kvp_watch *w = b->watch;
    if (!w->dead) {
        watch_give(w, b);
    }
    if (w->dead) { /* credit would come behind `leave` */
        watch_batch_free(b);
        return;
    }
    b->msg.run = watch_on_credit;
    lane_post(&w->ctx->instance->host->home, &b->msg);
}

/* ---- home --------------------------------------------------------------------------------------
 */

static void watch_on_credit(struct lane_msg *m)
{
    struct watch_batch *b = LIST_ENTRY(m, struct watch_batch, msg);
    struct kvp_watch *w = b->watch;
    struct service *s = w->ctx->instance->host->o.service;
    w->events_out -= b->count;
    w->bytes_out -= b->bytes;
    watch_batch_free(b);
    if (w->refused && w->watcher != NULL && w->events_out < PLUGIN_WATCH_EVENTS_MAX / 2 &&
        w->bytes_out < PLUGIN_WATCH_BYTES_MAX / 2) {
        w->refused = false;
        s->watch_resume(s, w->watcher);
    }
}

static bool watch_post_batch(struct kvp_watch *w, int64_t revision,
                             const struct watch_event *events, size_t count)
{
    struct watch_batch *b = mem_alloc(sizeof(*b) + count * sizeof(b->events[0]));
    if (b == NULL) {
        return false;
    }
    b->watch = w;
    b->count = count;
    b->bytes = 0;
    b->revision = revision;
    for (size_t i = 0; i < count; i++) {
        b->events[i] = events[i];
        blob_ref(events[i].body);
        b->bytes += events[i].body->len;
    }
    w->events_out += count;
    w->bytes_out += b->bytes;
    b->msg.run = watch_on_batch;
    if (b->bytes <= LANE_QUICK_BYTES_MAX) {
        lane_post_quick(&w->ctx->instance->lane, &b->msg);
    } else {
        lane_post(&w->ctx->instance->lane, &b->msg);
    }
    return true;
}

static bool watch_on_events(void *data, void *watcher_data, int64_t revision,
                            const struct watch_event *events, size_t count)
{
    struct kvp_watch *w = watcher_data;
    (void)data, (void)revision;
    w->quiet = false;
    if (w->events_out > 0 &&
        (w->events_out >= PLUGIN_WATCH_EVENTS_MAX || w->bytes_out >= PLUGIN_WATCH_BYTES_MAX)) {
        w->refused = true;
        return false;
    }
    /* `revision` may be the store's; what this watch has been given ends with its last event. */
    if (!watch_post_batch(w, events[count - 1].revision, events, count)) {
        w->refused = true;
        /* Without credit to come back nobody would resume it: look again at the next tick. */
        struct instance *in = w->ctx->instance;
        lane_timer_set(&in->host->home, &w->progress, lane_now(&in->host->home) + 100);
        return false;
    }
    return true;
}

static void watch_home_over(struct kvp_watch *w, int err, int64_t revision)
{
    w->watcher = NULL;
    w->over_err = err;
    w->over_revision = revision;
    lane_post(&w->ctx->instance->lane, &w->over);
}

static void watch_on_compacted(void *data, void *watcher_data, int64_t compact_revision)
{
    (void)data;
    /* Events of the compaction's own revision are still there. */
    watch_home_over(watcher_data, ERR_COMPACTED, compact_revision);
}

static const struct watch_sink plugin_watch_sink = {.events = watch_on_events,
                                                    .compacted = watch_on_compacted};

static void watch_arm_progress(struct kvp_watch *w)
{
    struct plugin_host *h = w->ctx->instance->host;
    uint64_t interval = h->o.service->progress_notify_ms;
    if ((w->args.flags & KVP_PROGRESS) != 0 && interval > 0) {
        lane_timer_set(&h->home, &w->progress, lane_now(&h->home) + interval);
    }
}

static void watch_on_progress(struct lane_timer *t)
{
    struct kvp_watch *w = LIST_ENTRY(t, struct kvp_watch, progress);
    struct service *s = w->ctx->instance->host->o.service;
    if (w->watcher == NULL) {
        return;
    }
    if (w->refused && w->events_out == 0) {
        w->refused = false;
        s->watch_resume(s, w->watcher);
    } else if (w->quiet && w->events_out == 0 && !w->refused && s->watch_synced(s, w->watcher)) {
        (void)watch_post_batch(w, s->revision(s), NULL, 0);
    }
    w->quiet = true;
    watch_arm_progress(w);
}

static void watch_on_join(struct lane_msg *m)
{
    struct kvp_watch *w = LIST_ENTRY(m, struct kvp_watch, join);
    struct kvp_ctx *ctx = w->ctx;
    struct service *s = ctx->instance->host->o.service;
    int err = ERR_STOPPED;
    list_push_back(&ctx->home_watches, &w->home_link);
    if (ctx->home_ending) {
        return; /* the lane ends it */
    }
    struct watch_options o = {.key = buf_slice(&w->key),
                              .range_end = buf_slice(&w->end),
                              .start_revision = w->args.from_revision,
                              .no_put = (w->args.flags & KVP_NO_PUT) != 0,
                              .no_delete = (w->args.flags & KVP_NO_DELETE) != 0,
                              .prev_kv = (w->args.flags & KVP_PREV_KV) != 0};
    w->quiet = true;
    w->watcher = s->watch(s, &o, &plugin_watch_sink, NULL, w, &err);
    if (w->watcher == NULL) {
        watch_home_over(w, err, 0);
        return;
    }
    watch_arm_progress(w);
}

static void watch_home_leave(struct kvp_watch *w)
{
    struct plugin_host *h = w->ctx->instance->host;
    lane_timer_cancel(&h->home, &w->progress);
    if (w->watcher != NULL) {
        h->o.service->watch_cancel(h->o.service, w->watcher);
        w->watcher = NULL;
    }
}

void watch_home_end(struct kvp_ctx *ctx)
{
    LIST_FOREACH (it, &ctx->home_watches) {
        watch_home_leave(LIST_ENTRY(it, struct kvp_watch, home_link));
    }
}

static void watch_on_leave(struct lane_msg *m)
{
    struct kvp_watch *w = LIST_ENTRY(m, struct kvp_watch, leave);
    struct kvp_ctx *ctx = w->ctx;
    watch_home_leave(w);
    list_remove(&w->home_link);
    lane_post(&ctx->instance->lane, &w->left);
    ctx_home_check(ctx);
}

/* ---- calls -------------------------------------------------------------------------------------
 */

/* key and end as the hub wants them, from one encoding used everywhere. */
static bool watch_bounds(struct kvp_watch *w, const struct kvp_watch_args *a)
{
    struct buf b;
    struct wire_field f;
    buf_init(&b);
    bool valid = encode_range_bounds(&b, 1, 2, a->key, a->end, (struct kvp_bytes){0},
                                     (a->flags & KVP_PREFIX) != 0);
    struct slice walk = buf_slice(&b);
    while (valid && wire_next(&walk, &f) > 0) {
        buf_append_slice(f.number == 1 ? &w->key : &w->end, f.bytes);
    }
    w->key.failed |= b.failed;
    buf_close(&b);
    return valid;
}

static int host_watch(struct kvp_ctx *ctx, const struct kvp_watch_args *a, struct kvp_watch **out)
{
    static const uint32_t known =
        KVP_PREFIX | KVP_PREV_KV | KVP_NO_PUT | KVP_NO_DELETE | KVP_PROGRESS;
    int reason = ctx_check(ctx);
    if (reason != 0) {
        return reason;
    }
    if (a == NULL || a->size < sizeof(*a) || a->events == NULL || (a->flags & ~known) != 0 ||
        a->from_revision < 0) {
        return KVP_INVALID;
    }
    if (atomic_load(&ctx->instance->watches) >= PLUGIN_WATCHES_MAX) {
        return KVP_BUSY;
    }
    struct kvp_watch *w = mem_zalloc(sizeof(*w));
    if (w == NULL) {
        return KVP_NO_MEMORY;
    }
    bool valid = watch_bounds(w, a);
    if (!valid || w->key.failed || w->end.failed) {
        reason = valid ? KVP_NO_MEMORY : KVP_INVALID;
        watch_on_left(&w->left);
        return reason;
    }
    w->ctx = ctx;
    w->args = *a;
    w->join.run = watch_on_join;
    w->over.run = watch_on_over;
    w->leave.run = watch_on_leave;
    w->left.run = watch_on_left;
    w->progress.fire = watch_on_progress;
    list_push_back(&ctx->watches, &w->link);
    atomic_fetch_add(&ctx->instance->watches, 1);
    list_init(&w->home_link);
    lane_post(&ctx->instance->host->home, &w->join);
    if (out != NULL) {
        *out = w;
    }
    return 0;
}

static void host_unwatch(struct kvp_watch *w)
{
    if (w != NULL && !w->dead) {
        watch_bury(w);
    }
}

void watch_calls(struct kvp_host *t)
{
    t->watch = host_watch;
    t->unwatch = host_unwatch;
}
