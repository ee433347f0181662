/* watch.c - changes as they come: one store watch per client, from the revision it wants.
 *
 * Nothing is kept for a slow client but the events of one batch: when it does not read, its store
 * watch is given up, and begun again behind the last event that was written once it has caught up;
 * the store's history is the buffer. */
#include <inttypes.h>

#include "plugins/apiserver/listing.h"
#include "plugins/object/object.h"
#include "plugins/apiserver/shape.h"
#include "plugins/apiserver/stored.h"
#include "plugins/apiserver/verbs.h"

#define WATCH_BOOKMARK_MS   60000u
#define WATCH_SECONDS_MIN   1800u /* without timeoutSeconds: this to twice as long */
#define WATCH_SECONDS_LIMIT 86400

struct watching {
    struct exchange *ex;
    struct selection selection;
    struct listing listing; /* of the initial events */
    bool initial;           /* they are not all out yet */
    bool end_bookmark;      /* they end with a bookmark */
    bool shown;             /* an object went out: tables have told their columns */
    struct kvp_watch *store;
    struct kvp_timer *deadline, *bookmark;
    int64_t next; /* revision the store watch is to begin at; 0 = from now on */
    int64_t seen; /* everything up to here is written; 0 = not known yet */
    struct arena scratch;
};

static void watching_store(struct watching *w);

static void watching_close(struct watching *w)
{
    const struct kvp_host *host = w->ex->api->host;
    if (w->store != NULL) {
        host->unwatch(w->store);
    }
    if (w->deadline != NULL) {
        host->timer_cancel(w->deadline);
    }
    if (w->bookmark != NULL) {
        host->timer_cancel(w->bookmark);
    }
    w->store = NULL;
    w->deadline = NULL;
    w->bookmark = NULL;
    listing_close(&w->listing);
    arena_close(&w->scratch);
}

static void watching_gone(struct exchange *ex)
{
    watching_close(ex->op);
}

/* No more events: what is written goes out, then the stream ends. */
static void watching_end(struct watching *w)
{
    struct exchange *ex = w->ex;
    watching_close(w);
    ex->gone = NULL;
    ex->drained = NULL;
    exchange_end(ex);
}

/* ---- what is written ----------------------------------------------------------------------- */

static void watching_error(struct watching *w, struct status s)
{
    exchange_event_begin(w->ex, "ERROR", w->seen);
    status_print(&s, &w->ex->out);
    exchange_event_end(w->ex);
    watching_end(w);
}

/* False: the object cannot be written. */
static bool watching_write(struct watching *w, const char *type, struct slice value,
                           int64_t revision)
{
    struct buf *out = &w->ex->out;
    struct errmsg e;
    exchange_event_begin(w->ex, type, revision);
    int rc = shape_print(w->ex, value, revision, !w->shown, &w->scratch, out, &e);
    exchange_event_end(w->ex);
    if (rc != 0 || out->failed) {
        exchange_event_drop(w->ex);
        return false;
    }
    w->shown = true;
    return true;
}

/* False: out of memory, and nothing was written. */
static bool watching_write_bookmark(struct watching *w, bool ends_initial)
{
    struct buf *out = &w->ex->out;
    bool failed = out->failed;
    arena_clear(&w->scratch);
    exchange_event_begin(w->ex, "BOOKMARK", w->seen);
    int rc = shape_print_bookmark(w->ex, w->seen, ends_initial, !w->shown, &w->scratch, out);
    exchange_event_end(w->ex);
    if (rc != 0 || out->failed) {
        exchange_event_drop(w->ex);
        out->failed = failed;
        return false;
    }
    w->shown = true;
    return true;
}

/* ---- changes ------------------------------------------------------------------------------- */

/* 1, 0; -1: a value that cannot be read. */
static int watching_matches(struct watching *w, const struct kvp_row *row)
{
    arena_clear(&w->scratch);
    return selection_matches(&w->selection, w->ex->request.type, slice_of_kvp(row->value),
                             &w->scratch);
}

/* Writes what a change is to this client. False: it cannot be told. */
static bool watching_event(struct watching *w, const struct kvp_event *e)
{
    bool put = e->type == KVP_EVENT_PUT;
    int now = put ? watching_matches(w, &e->row) : 0;
    int before = 0;
    if (e->has_prev) {
        before = watching_matches(w, &e->prev);
    } else if (!put) {
        return false; /* what it was is forgotten, so whom it concerns is too */
    } else if (e->row.version > 1) {
        if (now == 0) {
            return false; /* it may have been one of those that the client knows */
        }
        before = now;
    }
    if (now < 0 || before < 0) {
        return false;
    }
    if (now == 0 && before == 0) {
        return true;
    }
    if (now == 0) {
        return watching_write(w, "DELETED", slice_of_kvp(e->prev.value), e->row.mod_revision);
    }
    return watching_write(w, before ? "MODIFIED" : "ADDED", slice_of_kvp(e->row.value),
                          e->row.mod_revision);
}

static void watching_events(void *data, const struct kvp_batch *batch)
{
    struct watching *w = data;
    for (size_t i = 0; i < batch->count; i++) {
        if (!watching_event(w, &batch->events[i])) {
            watching_error(w, status_expired(&w->ex->arena,
                                             "too old resource version: %" PRId64 " (%" PRId64 ")",
                                             w->seen, batch->revision));
            return;
        }
    }
    w->seen = batch->revision;
    w->next = batch->revision + 1;
    if (!exchange_pump(w->ex) && w->store != NULL) {
        w->ex->api->host->unwatch(w->store);
        w->store = NULL;
    }
}

static void watching_ended(void *data, const struct kvp_result *r)
{
    struct watching *w = data;
    w->store = NULL;
    if (r->outcome == KVP_REFUSED && r->reason == KVP_COMPACTED) {
        watching_error(w, status_expired(&w->ex->arena,
                                         "too old resource version: %" PRId64 " (%" PRId64 ")",
                                         w->next - 1, r->revision));
        return;
    }
    watching_end(w); /* the client comes again with what it has seen */
}

static void watching_store(struct watching *w)
{
    struct exchange *ex = w->ex;
    struct buf key;
    buf_init(&key);
    stored_key(ex->request.type, ex->request.space,
               w->listing.single ? w->selection.name : slice_of("", 0), &key);
    struct kvp_watch_args args = {
        .size = sizeof args,
        .flags = KVP_PREV_KV | KVP_PROGRESS | (w->listing.single ? 0 : KVP_PREFIX),
        .key = kvp_bytes_of(key.data, key.len),
        .from_revision = w->next,
        .events = watching_events,
        .ended = watching_ended,
        .data = w,
    };
    int reason = key.failed ? KVP_NO_MEMORY : ex->api->host->watch(ex->ctx, &args, &w->store);
    buf_close(&key);
    if (reason != 0) {
        w->store = NULL;
        watching_end(w);
    }
}

/* The client has read everything. */
static void watching_drained(struct exchange *ex)
{
    struct watching *w = ex->op;
    if (w->initial) {
        listing_page(&w->listing);
    } else if (w->store == NULL) {
        watching_store(w);
    }
}

/* ---- time ---------------------------------------------------------------------------------- */

static void watching_bookmark(void *data)
{
    struct watching *w = data;
    if (w->seen > 0 && !w->initial && w->ex->out.len == 0) {
        watching_write_bookmark(w, false);
        if (!exchange_pump(w->ex) && w->store != NULL) {
            w->ex->api->host->unwatch(w->store);
            w->store = NULL;
        }
    }
}

static void watching_late(void *data)
{
    struct watching *w = data;
    w->deadline = NULL;
    if (w->ex->query.bookmarks && w->seen > 0 && !w->initial) {
        watching_write_bookmark(w, false);
    }
    watching_end(w);
}

static int watching_set_timers(struct watching *w)
{
    const struct kvp_host *host = w->ex->api->host;
    int64_t seconds = w->ex->query.timeout_s;
    if (seconds <= 0 || seconds > WATCH_SECONDS_LIMIT) {
        uint32_t more;
        host->random(w->ex->api->ctx, &more, sizeof more);
        seconds = WATCH_SECONDS_MIN + more % WATCH_SECONDS_MIN;
    }
    struct kvp_timer_args late = {.size = sizeof late,
                                  .after_ms = (uint64_t)seconds * 1000u,
                                  .fire = watching_late,
                                  .data = w};
    struct kvp_timer_args bookmark = {.size = sizeof bookmark,
                                      .jitter_percent = 10,
                                      .after_ms = WATCH_BOOKMARK_MS,
                                      .repeat_ms = WATCH_BOOKMARK_MS,
                                      .fire = watching_bookmark,
                                      .data = w};
    int rc = host->timer(w->ex->api->ctx, &late, &w->deadline);
    if (rc == 0 && w->ex->query.bookmarks) {
        rc = host->timer(w->ex->api->ctx, &bookmark, &w->bookmark);
    }
    return rc;
}

/* ---- the beginning ------------------------------------------------------------------------- */

static bool watching_begin(struct watching *w)
{
    struct exchange *ex = w->ex;
    ex->op = w;
    ex->gone = watching_gone;
    ex->drained = watching_drained;
    int rc = watching_set_timers(w);
    if (rc != 0) {
        struct status s = exchange_status(ex, rc, "no timer");
        watching_close(w);
        ex->gone = NULL;
        ex->drained = NULL;
        exchange_fail(ex, s);
        return false;
    }
    exchange_stream(ex, "application/json");
    return true;
}

static int initial_row(struct listing *l, struct slice key, struct slice value, int64_t revision)
{
    struct watching *w = l->data;
    if (!w->ex->answered && !watching_begin(w)) {
        return ERR_NOMEM;
    }
    arena_clear(&w->scratch);
    return watching_write(w, "ADDED", value, revision) ? 0 : ERR_NOMEM;
}

static bool initial_page(struct listing *l)
{
    struct watching *w = l->data;
    return !w->ex->answered || exchange_pump(w->ex);
}

static void initial_done(struct listing *l)
{
    struct watching *w = l->data;
    if (!w->ex->answered && !watching_begin(w)) {
        return;
    }
    w->initial = false;
    w->seen = l->revision;
    w->next = l->revision + 1;
    listing_close(l);
    if (w->end_bookmark && !watching_write_bookmark(w, true)) {
        watching_end(w); /* the client would wait for it */
        return;
    }
    if (exchange_pump(w->ex)) {
        watching_store(w);
    }
}

static void initial_compacted(struct listing *l)
{
    struct watching *w = l->data;
    struct status s =
        status_expired(&w->ex->arena, "too old resource version: %" PRId64 " (%" PRId64 ")",
                       l->revision, l->revision + 1);
    if (w->ex->answered) {
        watching_error(w, s);
    } else {
        watching_close(w);
        exchange_fail(w->ex, s);
    }
}

/* Whether what is there comes first, as changes. */
static bool watching_wants_initial(const struct query *q)
{
    return q->initial_events == QUERY_ON ||
           (q->initial_events == QUERY_UNSET && (!q->has_revision || q->revision == 0));
}

void verb_watch(struct exchange *ex)
{
    struct watching *w = arena_zalloc(&ex->arena, sizeof *w);
    const struct query *q = &ex->query;
    if (w == NULL) {
        exchange_no_memory(ex);
        return;
    }
    w->ex = ex;
    if (!selection_check_options(ex, true) || !selection_read(ex, &w->selection)) {
        return;
    }
    if (ex->head) { /* nobody would see the events */
        exchange_stream(ex, "application/json");
        exchange_end(ex);
        return;
    }
    if (!listing_init(&w->listing, ex, &w->selection)) {
        return;
    }
    arena_init(&w->scratch, 0);
    w->listing.row = initial_row;
    w->listing.page = initial_page;
    w->listing.done = initial_done;
    w->listing.compacted = initial_compacted;
    w->listing.restart = verb_watch;
    w->listing.data = w;
    if (watching_wants_initial(q)) {
        w->initial = true;
        w->end_bookmark = q->bookmarks;
        w->listing.at_least = q->revision;
        listing_page(&w->listing);
        return;
    }
    w->next = q->revision > 0 ? q->revision + 1 : 0;
    w->seen = q->revision;
    if (watching_begin(w)) {
        watching_store(w);
    }
}
