/* svc_watch.c - Watch: many watchers on one stream (contract section 3).
 *
 * Happy path: a create request makes a watcher in the hub and a `created` answer; events come from
 * the hub through watch_on_events, whole revisions at a time, and leave as one response whose event
 * bodies are the hub's blobs (encoded once, shared by all watchers). Everything of a stream goes
 * through one queue in order, so progress answers never overtake events and nothing follows a
 * `canceled`.
 *
 * Slow clients: while the call is below its high water mark responses go straight to it. Above,
 * they wait in `queue` (references to blobs, at most WATCH_RESPONSES_BUFFERED_MAX responses or
 * WATCH_BYTES_BUFFERED_MAX); when that is full the hub is refused and the watcher waits in
 * `refused` until the queue has drained: it then rereads from the store. Nothing is dropped or
 * copied twice. Control answers (created, canceled, progress) can't be refused: they have a limit
 * of their own, and a client that never reads them loses its stream.
 *
 * Half-close does not end the stream: etcd's goes on serving, and its clients count on it. */
#include <string.h>

#include "base/hashmap.h"
#include "base/limits.h"
#include "base/rand.h"
#include "proto/etcd/rpc.pb-c.h"
#include "rpc/svc_common.h"

/* Progress intervals below this are raised (WA-17). */
#define WATCH_PROGRESS_MS_MIN 100u
/* Watch id of failures and of progress for a whole stream. */
#define WATCH_ID_NONE (-1)
/* Everything of a response but its events: header, ids, flags and a short reason. */
#define WATCH_PREFIX_BYTES_MAX 192u
/* Parts of a message that need no allocation. */
#define WATCH_PARTS_ON_STACK 17u

struct watch_stream {
    struct svc *svc;
    struct rpc_call *call;
    struct hashmap by_id;
    struct list watches;
    struct list refused; /* watches the hub was told to wait with */
    struct list queue;   /* struct watch_response, oldest first */
    size_t queued;       /* responses with events */
    size_t queued_bytes; /* of their events */
    size_t control_bytes;
    int64_t next_id;
    struct rpc_timer tick; /* progress notification */
    struct rpc_timer end;  /* see watch_end_soon */
    struct svc_leader_link leader;
};

struct watch {
    struct list link;         /* watch_stream.watches */
    struct list refused_link; /* self-linked unless refused */
    struct hash_node node;
    struct watch_stream *stream;
    struct service_watcher *watcher;
    int64_t id;
    bool fragment;
    bool progress_notify;
    bool progress_due; /* no event since the last tick */
};

/* A response that waits for the call to have room. */
struct watch_response {
    struct list link;
    uint32_t prefix_len;
    uint32_t event_count; /* 0 = control answer */
    size_t bytes;
    uint8_t prefix[WATCH_PREFIX_BYTES_MAX];
    struct watch_event events[]; /* each with a reference */
};

/* ---- encoding ----------------------------------------------------------------------------------
 */

static size_t watch_put_uint(uint8_t *out, uint32_t field, uint64_t value)
{
    size_t n = 0;
    out[n++] = (uint8_t)(field << 3 | WIRE_VARINT);
    do {
        out[n++] = (uint8_t)(value & 0x7f) | (value > 0x7f ? 0x80 : 0);
        value >>= 7;
    } while (value != 0);
    return n;
}

struct watch_flags {
    int64_t watch_id;
    bool created;
    bool canceled;
    bool fragment;
    int64_t compact_revision;
    const char *reason;
};

/* All fields before `events`, in number order. Returns the size, at most WATCH_PREFIX_BYTES_MAX. */
static size_t watch_prefix(struct svc *s, int64_t revision, const struct watch_flags *f,
                           uint8_t *out)
{
    size_t n = svc_header(s, revision, out);
    if (f->watch_id != 0) {
        n += watch_put_uint(out + n, 2, (uint64_t)f->watch_id);
    }
    if (f->created) {
        n += watch_put_uint(out + n, 3, 1);
    }
    if (f->canceled) {
        n += watch_put_uint(out + n, 4, 1);
    }
    if (f->compact_revision != 0) {
        n += watch_put_uint(out + n, 5, (uint64_t)f->compact_revision);
    }
    if (f->reason != NULL) {
        size_t len = strlen(f->reason); /* our own texts, below 128 bytes */
        out[n++] = 6 << 3 | WIRE_BYTES;
        out[n++] = (uint8_t)len;
        memcpy(out + n, f->reason, len);
        n += len;
    }
    if (f->fragment) {
        n += watch_put_uint(out + n, 7, 1);
    }
    return n;
}

/* ---- the queue ---------------------------------------------------------------------------------
 */

static void watch_response_free(struct svc *s, struct watch_response *r)
{
    s->watch_pending -= r->event_count;
    for (uint32_t i = 0; i < r->event_count; i++) {
        blob_unref(r->events[i].body);
    }
    pool_free(&s->pool, r);
}

/* The stream cannot go on; ended from a timer, because the hub may be on the stack. */
static void watch_end_soon(struct watch_stream *ws)
{
    timers_set(&ws->svc->timers, &ws->end, uv_now(ws->svc->options.loop));
}

static void watch_on_end(struct rpc_timer *t)
{
    struct watch_stream *ws =
        (struct watch_stream *)((char *)t - offsetof(struct watch_stream, end));
    rpc_call_finish_err(ws->call, ERR_NOMEM);
}

/* Hands one response to the call. */
static void watch_send(struct watch_stream *ws, const uint8_t *prefix, size_t prefix_len,
                       const struct watch_event *events, size_t count)
{
    struct rpc_part few[WATCH_PARTS_ON_STACK];
    struct rpc_part *parts = few;
    if (count + 1 > WATCH_PARTS_ON_STACK) {
        parts = mem_alloc((count + 1) * sizeof(*parts));
        if (parts == NULL) {
            watch_end_soon(ws); /* it would miss events */
            return;
        }
    }
    parts[0] = (struct rpc_part){.bytes = slice_of(prefix, prefix_len)};
    for (size_t i = 0; i < count; i++) {
        parts[i + 1] =
            (struct rpc_part){.bytes = blob_slice(events[i].body), .blob = events[i].body};
    }
    svc_send(ws->call, parts, count + 1);
    ws->svc->watch_events += count;
    if (parts != few) {
        mem_free(parts);
    }
}

static bool watch_must_queue(const struct watch_stream *ws)
{
    return !list_empty(&ws->queue) || rpc_call_above_high_water(ws->call);
}

/* Queues a response; false when out of memory (nothing was taken). */
static bool watch_enqueue(struct watch_stream *ws, const uint8_t *prefix, size_t prefix_len,
                          const struct watch_event *events, size_t count)
{
    struct watch_response *r =
        pool_alloc(&ws->svc->pool, sizeof(*r) + count * sizeof(r->events[0]));
    if (r == NULL) {
        return false;
    }
    memcpy(r->prefix, prefix, prefix_len);
    r->prefix_len = (uint32_t)prefix_len;
    r->event_count = (uint32_t)count;
    r->bytes = 0;
    for (size_t i = 0; i < count; i++) {
        r->events[i] = events[i];
        blob_ref(events[i].body);
        r->bytes += events[i].body->len;
    }
    list_push_back(&ws->queue, &r->link);
    if (count > 0) {
        ws->queued++;
        ws->svc->watch_pending += count;
        ws->queued_bytes += r->bytes;
    } else {
        ws->control_bytes += sizeof(*r);
    }
    return true;
}

/* A control answer, in order behind what waits. */
static void watch_control(struct watch_stream *ws, int64_t revision, const struct watch_flags *f)
{
    uint8_t prefix[WATCH_PREFIX_BYTES_MAX];
    size_t len = watch_prefix(ws->svc, revision, f, prefix);
    if (!watch_must_queue(ws)) {
        watch_send(ws, prefix, len, NULL, 0);
        return;
    }
    if (ws->control_bytes > WATCH_CONTROL_BYTES_MAX || !watch_enqueue(ws, prefix, len, NULL, 0)) {
        watch_end_soon(ws);
    }
}

void svc_watch_writable(struct rpc_call *call)
{
    struct watch_stream *ws = rpc_call_data(call);
    if (ws == NULL) {
        return;
    }
    while (!list_empty(&ws->queue) && !rpc_call_above_high_water(call)) {
        struct watch_response *r =
            LIST_ENTRY(list_pop_front(&ws->queue), struct watch_response, link);
        watch_send(ws, r->prefix, r->prefix_len, r->events, r->event_count);
        if (r->event_count > 0) {
            ws->queued--;
            ws->queued_bytes -= r->bytes;
        } else {
            ws->control_bytes -= sizeof(*r);
        }
        watch_response_free(ws->svc, r);
    }
    if (!list_empty(&ws->queue)) {
        return;
    }
    struct list resumed; /* a resumed watcher may be refused again at once */
    list_init(&resumed);
    list_splice_back(&resumed, &ws->refused);
    struct service *service = ws->svc->service;
    for (struct list *it; (it = list_pop_front(&resumed)) != NULL;) {
        ws->svc->watch_slow--;
        service->watch_resume(service, LIST_ENTRY(it, struct watch, refused_link)->watcher);
    }
}

/* ---- from the hub ------------------------------------------------------------------------------
 */

/* Sends or queues one message of a response. */
static bool watch_emit(struct watch_stream *ws, const uint8_t *prefix, size_t prefix_len,
                       const struct watch_event *events, size_t count)
{
    if (watch_must_queue(ws)) {
        return watch_enqueue(ws, prefix, prefix_len, events, count);
    }
    watch_send(ws, prefix, prefix_len, events, count);
    return true;
}

/* WA-16: as many messages as needed, all but the last marked, at least one event in each. */
static void watch_emit_fragments(struct watch_stream *ws, struct watch_flags *f, int64_t revision,
                                 const struct watch_event *events, size_t count)
{
    size_t limit = ws->svc->service->max_request_bytes + REQUEST_OVERHEAD_BYTES;
    uint8_t prefix[WATCH_PREFIX_BYTES_MAX];
    size_t at = 0;
    while (at < count) {
        f->fragment = true;
        size_t bytes = watch_prefix(ws->svc, revision, f, prefix);
        size_t end = at;
        while (end < count && (end == at || bytes + events[end].body->len < limit)) {
            bytes += events[end++].body->len;
        }
        f->fragment = end < count;
        size_t len = watch_prefix(ws->svc, revision, f, prefix);
        if (!watch_emit(ws, prefix, len, events + at, end - at)) {
            watch_end_soon(ws);
            return; /* a response is never half sent: the stream ends */
        }
        at = end;
    }
}

/* It waits until the queue has drained. */
static void watch_refuse(struct watch *w)
{
    if (w->refused_link.next == &w->refused_link) {
        w->stream->svc->watch_slow++;
    }
    list_remove(&w->refused_link);
    list_push_back(&w->stream->refused, &w->refused_link);
}

static bool watch_on_events(void *data, void *watcher_data, int64_t revision,
                            const struct watch_event *events, size_t count)
{
    (void)data;
    struct watch *w = watcher_data;
    struct watch_stream *ws = w->stream;
    if (ws->queued > 0 && (ws->queued >= WATCH_RESPONSES_BUFFERED_MAX ||
                           ws->queued_bytes >= WATCH_BYTES_BUFFERED_MAX)) {
        watch_refuse(w);
        return false;
    }
    struct watch_flags flags = {.watch_id = w->id};
    uint8_t prefix[WATCH_PREFIX_BYTES_MAX];
    size_t len = watch_prefix(ws->svc, revision, &flags, prefix);
    if (w->fragment && count > 1) {
        size_t bytes = len;
        for (size_t i = 0; i < count; i++) {
            bytes += events[i].body->len;
        }
        if (bytes >= ws->svc->service->max_request_bytes + REQUEST_OVERHEAD_BYTES) {
            watch_emit_fragments(ws, &flags, revision, events, count);
            w->progress_due = false;
            return true;
        }
    }
    if (!watch_emit(ws, prefix, len, events, count)) {
        watch_refuse(w); /* out of memory: try again from the store */
        return false;
    }
    w->progress_due = false;
    return true;
}

static void watch_free(struct watch *w)
{
    struct watch_stream *ws = w->stream;
    hashmap_remove(&ws->by_id, &w->node);
    list_remove(&w->link);
    if (w->refused_link.next != &w->refused_link) {
        ws->svc->watch_slow--;
        list_remove(&w->refused_link);
    }
    ws->svc->watchers--;
    pool_free(&ws->svc->pool, w);
}

static void watch_on_compacted(void *data, void *watcher_data, int64_t compact_revision)
{
    (void)data;
    struct watch *w = watcher_data;
    /* Header revision 0 and no reason: clients go by compact_revision (trap 4). */
    struct watch_flags flags = {
        .watch_id = w->id, .canceled = true, .compact_revision = compact_revision};
    watch_control(w->stream, 0, &flags);
    watch_free(w);
}

static const struct watch_sink watch_sink = {.events = watch_on_events,
                                             .compacted = watch_on_compacted};

/* ---- progress ----------------------------------------------------------------------------------
 */

static void watch_arm_tick(struct watch_stream *ws)
{
    uint64_t interval = ws->svc->service->progress_notify_ms;
    interval = interval < WATCH_PROGRESS_MS_MIN ? WATCH_PROGRESS_MS_MIN : interval;
    uint64_t jitter;
    rand_system(&jitter, sizeof(jitter));
    timers_set(&ws->svc->timers, &ws->tick,
               uv_now(ws->svc->options.loop) + interval + jitter % (interval / 10));
}

static void watch_on_tick(struct rpc_timer *t)
{
    struct watch_stream *ws =
        (struct watch_stream *)((char *)t - offsetof(struct watch_stream, tick));
    struct service *service = ws->svc->service;
    LIST_FOREACH (it, &ws->watches) {
        struct watch *w = LIST_ENTRY(it, struct watch, link);
        if (!w->progress_notify) {
            continue;
        }
        if (w->progress_due && !watch_must_queue(ws) &&
            service->watch_synced(service, w->watcher)) {
            watch_control(ws, svc_revision(ws->svc), &(struct watch_flags){.watch_id = w->id});
        }
        w->progress_due = true;
    }
    watch_arm_tick(ws);
}

/* WA-18: one answer for the whole stream, only when every watcher has everything. */
static void watch_progress_request(struct watch_stream *ws)
{
    struct service *service = ws->svc->service;
    if (list_empty(&ws->watches)) {
        return;
    }
    LIST_FOREACH (it, &ws->watches) {
        if (!service->watch_synced(service, LIST_ENTRY(it, struct watch, link)->watcher)) {
            return;
        }
    }
    watch_control(ws, svc_revision(ws->svc), &(struct watch_flags){.watch_id = WATCH_ID_NONE});
}

/* ---- requests ----------------------------------------------------------------------------------
 */

static struct watch *watch_find(const struct watch_stream *ws, int64_t id)
{
    uint64_t hash = hash_u64((uint64_t)id);
    for (struct hash_node *n = hashmap_first(&ws->by_id, hash); n != NULL;
         n = hashmap_next(n, hash)) {
        struct watch *w = (struct watch *)((char *)n - offsetof(struct watch, node));
        if (w->id == id) {
            return w;
        }
    }
    return NULL;
}

static void watch_refuse_create(struct watch_stream *ws, const char *reason)
{
    watch_control(
        ws, svc_revision(ws->svc),
        &(struct watch_flags){
            .watch_id = WATCH_ID_NONE, .created = true, .canceled = true, .reason = reason});
}

/* WA-03: 0 picks the lowest id of a counter that skips those in use. */
static bool watch_pick_id(struct watch_stream *ws, int64_t wanted, int64_t *id)
{
    if (wanted != 0) {
        *id = wanted;
        return watch_find(ws, wanted) == NULL;
    }
    while (watch_find(ws, ws->next_id) != NULL) {
        ws->next_id++;
    }
    *id = ws->next_id++;
    return true;
}

static int watch_start(struct watch_stream *ws, const Etcdserverpb__WatchCreateRequest *r,
                       const struct watch_options *options, int64_t id)
{
    struct svc *s = ws->svc;
    struct watch *w = pool_zalloc(&s->pool, sizeof(*w));
    if (w == NULL) {
        return ERR_NOMEM;
    }
    w->stream = ws;
    w->id = id;
    w->fragment = r->fragment;
    w->progress_notify = w->progress_due = r->progress_notify;
    list_init(&w->refused_link);
    if (!hashmap_insert(&ws->by_id, &w->node, hash_u64((uint64_t)id))) {
        pool_free(&s->pool, w);
        return ERR_NOMEM;
    }
    list_push_back(&ws->watches, &w->link);
    s->watchers++;
    /* Announced before the hub knows the watcher, so that no event can come first (WA-04). */
    watch_control(ws, svc_revision(s), &(struct watch_flags){.watch_id = id, .created = true});
    int err = 0;
    w->watcher = s->service->watch(s->service, options, &watch_sink, ws, w, &err);
    if (w->watcher == NULL) {
        watch_control(
            ws, svc_revision(s),
            &(struct watch_flags){.watch_id = id, .canceled = true, .reason = err_text(err)});
        watch_free(w);
    }
    return 0;
}

static void watch_create(struct watch_stream *ws, const Etcdserverpb__WatchCreateRequest *r)
{
    static const uint8_t zero = 0;
    struct watch_options options = {
        .key = slice_of(r->key.data, r->key.len),
        .range_end = slice_of(r->range_end.data, r->range_end.len),
        .start_revision = r->start_revision,
        .prev_kv = r->prev_kv,
    };
    if (options.key.len == 0) {
        options.key = slice_of(&zero, 1);
    }
    for (size_t i = 0; i < r->n_filters; i++) {
        options.no_put |= r->filters[i] == ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NOPUT;
        options.no_delete |=
            r->filters[i] == ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NODELETE;
    }
    if (r->start_revision < 0) {
        watch_refuse_create(ws, err_text(ERR_COMPACTED));
        return;
    }
    bool from_key = options.range_end.len == 1 && options.range_end.data[0] == 0;
    if (options.range_end.len > 0 && !from_key && slice_cmp(options.range_end, options.key) <= 0) {
        watch_refuse_create(ws, "mvcc: watcher range is empty");
        return;
    }
    if (ws->by_id.len >= WATCHERS_PER_STREAM_MAX) {
        watch_refuse_create(ws, "kvd: too many watchers on this stream");
        return;
    }
    int64_t id;
    if (!watch_pick_id(ws, r->watch_id, &id)) {
        watch_refuse_create(ws, "mvcc: duplicate watch ID provided on the WatchStream");
        return;
    }
    int err = watch_start(ws, r, &options, id);
    if (err != 0) {
        watch_refuse_create(ws, err_text(err));
    }
}

static void watch_cancel(struct watch_stream *ws, int64_t id)
{
    struct watch *w = watch_find(ws, id);
    if (w == NULL) {
        return;
    }
    struct service *service = ws->svc->service;
    service->watch_cancel(service, w->watcher);
    watch_free(w);
    watch_control(ws, svc_revision(ws->svc),
                  &(struct watch_flags){.watch_id = id, .canceled = true});
}

/* ---- the call ----------------------------------------------------------------------------------
 */

void svc_watch_open(struct rpc_call *call)
{
    if (!svc_open_stream(call)) {
        return;
    }
    struct svc *s = svc_of(call);
    struct watch_stream *ws = pool_zalloc(&s->pool, sizeof(*ws));
    if (ws == NULL) {
        rpc_call_finish_err(call, ERR_NOMEM);
        return;
    }
    ws->svc = s;
    ws->call = call;
    hashmap_init(&ws->by_id);
    list_init(&ws->watches);
    list_init(&ws->refused);
    list_init(&ws->queue);
    ws->tick.fire = watch_on_tick;
    ws->end.fire = watch_on_end;
    svc_leader_watch(call, &ws->leader);
    rpc_call_set_data(call, ws);
    s->watch_streams++;
    watch_arm_tick(ws);
    rpc_call_send_headers(call);
}

void svc_watch_message(struct rpc_call *call, struct slice bytes)
{
    svc_count_received(call);
    struct watch_stream *ws = rpc_call_data(call);
    if (ws == NULL) {
        return;
    }
    Etcdserverpb__WatchRequest *r =
        svc_decode(call, &etcdserverpb__watch_request__descriptor, bytes);
    if (r == NULL) {
        return;
    }
    switch (r->request_union_case) {
    case ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST:
        watch_create(ws, r->create_request);
        break;
    case ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CANCEL_REQUEST:
        watch_cancel(ws, r->cancel_request->watch_id);
        break;
    case ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST:
        watch_progress_request(ws);
        break;
    default:
        break; /* WA-01: ignored */
    }
}

void svc_watch_closed(struct rpc_call *call)
{
    struct watch_stream *ws = rpc_call_data(call);
    if (ws == NULL) {
        return;
    }
    struct svc *s = ws->svc;
    for (struct list *it; !list_empty(&ws->watches);) {
        it = ws->watches.next;
        struct watch *w = LIST_ENTRY(it, struct watch, link);
        s->service->watch_cancel(s->service, w->watcher);
        watch_free(w);
    }
    for (struct list *it; (it = list_pop_front(&ws->queue)) != NULL;) {
        watch_response_free(s, LIST_ENTRY(it, struct watch_response, link));
    }
    timers_cancel(&s->timers, &ws->tick);
    timers_cancel(&s->timers, &ws->end);
    svc_leader_unwatch(&ws->leader);
    hashmap_close(&ws->by_id);
    s->watch_streams--;
    rpc_call_set_data(call, NULL);
    pool_free(&s->pool, ws);
}
