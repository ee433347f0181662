/* read.c - get and list. */
#include <inttypes.h>

#include "plugins/apiserver/answer.h"
#include "plugins/apiserver/carrier.h"
#include "plugins/apiserver/listing.h"
#include "plugins/object/encode.h"
#include "plugins/object/object.h"
#include "plugins/apiserver/shape.h"
#include "plugins/apiserver/stored.h"
#include "plugins/apiserver/token.h"
#include "plugins/apiserver/verbs.h"
#include "plugins/apiserver/waiting.h"

/* An object as JSON is its value and a resourceVersion. */
#define ANSWER_BYTES_MORE 64u

void answer_stored(struct exchange *ex, int code, struct slice value, int64_t revision)
{
    struct buf out;
    struct errmsg e = {.text = ""};
    buf_init(&out);
    ex->revision = revision;
    if (!shape_allows_object(ex)) {
        return;
    }
    buf_reserve(&out, value.len + ANSWER_BYTES_MORE);
    int rc = shape_print(ex, value, revision, true, &ex->arena, &out, &e);
    if (rc != 0 || out.failed) {
        exchange_fail(ex, status_internal(&ex->arena, "%s", out.failed ? "out of memory" : e.text));
    } else {
        exchange_json(ex, code, buf_slice(&out));
    }
    buf_close(&out);
}

/* ---- get ----------------------------------------------------------------------------------- */

static void get_answer(void *data, const struct kvp_result *r, const struct kvp_rows *rows)
{
    struct exchange *ex = data;
    struct status_about about;
    if (!exchange_back_well(ex, r)) {
        return;
    }
    if (ex->query.revision > r->revision) {
        wait_for_revision(ex, ex->query.revision, r->revision, verb_get);
        return;
    }
    about = request_about(&ex->request);
    if (rows->count == 0) {
        exchange_fail(ex, status_not_found(&ex->arena, &about));
        return;
    }
    answer_value(ex, 200, slice_of_kvp(rows->rows[0].value), rows->rows[0].mod_revision);
}

void verb_get(struct exchange *ex)
{
    struct buf key;
    bool stale = ex->query.has_revision && ex->query.revision == 0;
    if (ex->query.exports) {
        exchange_fail(ex, status_bad_request(&ex->arena, "the export parameter, deprecated since "
                                                         "v1.14, is no longer supported"));
        return;
    }
    buf_init(&key);
    stored_key(ex->request.type, ex->request.space, ex->request.name, &key);
    struct kvp_range range = {.size = sizeof range,
                              .flags = stale ? KVP_SERIALIZABLE : 0,
                              .key = kvp_bytes_of(key.data, key.len)};
    if (key.failed) {
        exchange_no_memory(ex);
    } else {
        exchange_call(ex);
        int reason = ex->api->host->range(ex->ctx, &range, get_answer, ex);
        if (reason != 0) {
            exchange_not_called(ex, reason);
        }
    }
    buf_close(&key);
}

/* ---- list ---------------------------------------------------------------------------------- */

/* A list of one page is answered at once. A longer one that has no limit is sent page by page, each
 * when the client has taken the one before: all at one revision, and no more than a page of it is
 * in memory. What goes wrong after the first page can only be told by breaking off. */
struct list {
    struct listing listing;
    struct selection selection;
    struct buf items;  /* not handed on yet */
    bool some;         /* an item was printed */
    bool streams;      /* the answer has begun */
    bool waits;        /* for the client to take what it was given */
    int64_t remaining; /* rows behind it; -1 = not told */
};

#define LIST_ROW_MORE_BYTES 32u

static const char expired_list[] = "The resourceVersion for the provided list is too old.";
static const char expired_token[] =
    "The provided continue parameter is too old to display a consistent list result. You can start "
    "a new list without the continue parameter, or use the continue token in this response to "
    "retrieve the remainder of the results. Continuing with the provided token results in an "
    "inconsistent list - objects that were created, modified, or deleted between the time the "
    "first chunk was returned and now may show up in the list.";

static void list_free(struct listing *walk)
{
    struct list *l = walk->data;
    buf_close(&l->items);
}

static int list_row(struct listing *walk, struct slice key, struct slice value, int64_t revision)
{
    struct list *l = walk->data;
    struct errmsg e;
    if (l->items.len == 0 && walk->selection->all && walk->ex->media.shape == MEDIA_WHOLE) {
        /* Objects are printed as they are stored, but for some bytes. */
        buf_reserve(&l->items, walk->page_bytes + (size_t)walk->page_rows * LIST_ROW_MORE_BYTES);
    }
    if (l->some) {
        buf_append_byte(&l->items, ',');
    }
    l->some = true;
    return shape_list_item(walk->ex, value, revision, &walk->scratch, &l->items, &e);
}

/* The token for what comes behind this page. */
static struct slice list_token(struct listing *walk, int64_t revision)
{
    size_t n = walk->prefix.len;
    return token_make(revision, slice_of(walk->from.data + n, walk->from.len - n),
                      &walk->ex->arena);
}

/* Up to the first item. remaining: rows behind this page; -1 = not told. */
static void list_head(struct listing *walk, int64_t remaining, struct buf *out)
{
    shape_list_begin(walk->ex, out);
    buf_printf(out, "{\"resourceVersion\":\"%" PRId64 "\"", walk->revision);
    if (walk->more) {
        struct slice token = list_token(walk, walk->revision);
        buf_append_str(out, ",\"continue\":");
        encode_text(token, out);
        out->failed = out->failed || token.data == NULL;
        if (remaining > 0) {
            buf_printf(out, ",\"remainingItemCount\":%" PRId64, remaining);
        }
    }
    buf_append_byte(out, '}');
    shape_list_items(walk->ex, out);
}

static void list_gone(struct exchange *ex)
{
    struct list *l = ex->op;
    listing_close(&l->listing);
}

static void list_drained(struct exchange *ex)
{
    struct list *l = ex->op;
    if (l->waits) {
        l->waits = false;
        listing_page(&l->listing);
    }
}

/* Moves what was printed to the client's buffer. False: out of memory, broken off. */
static bool list_move(struct list *l)
{
    struct exchange *ex = l->listing.ex;
    if (ex->out.len == 0 && !l->items.failed) {
        struct buf empty = ex->out; /* its memory serves the next page */
        ex->out = l->items;
        l->items = empty;
        return true;
    }
    buf_append_slice(&ex->out, buf_slice(&l->items));
    if (!l->items.failed && !ex->out.failed) {
        buf_clear(&l->items);
        return true;
    }
    listing_close(&l->listing);
    exchange_no_memory(ex);
    return false;
}

/* A page that is not the last one. */
static bool list_page(struct listing *walk)
{
    struct list *l = walk->data;
    struct exchange *ex = walk->ex;
    bool whole =
        walk->limit > 0 || !ex->carrier->speaks_http || ex->pretty || ex->media.pretty || ex->head;
    if (whole && !l->items.failed) {
        return true;
    }
    if (!whole && !l->streams && !l->items.failed) {
        l->streams = true;
        ex->op = l;
        ex->gone = list_gone;
        ex->drained = list_drained;
        exchange_stream(ex, "application/json");
        list_head(walk, -1, &ex->out);
    }
    if (!list_move(l)) {
        return false;
    }
    l->waits = !exchange_pump(ex);
    return !l->waits;
}

/* The rest of a list that is sent page by page. */
static void list_end(struct list *l)
{
    struct exchange *ex = l->listing.ex;
    ex->gone = NULL;
    ex->drained = NULL;
    shape_list_end(&l->items);
    buf_append_byte(&l->items, '\n');
    if (list_move(l)) {
        listing_close(&l->listing);
        exchange_end(ex);
    }
}

/* Of what was printed. */
static bool list_answer_step(struct exchange *ex, void *data)
{
    struct list *l = data;
    struct listing *walk = &l->listing;
    struct buf out;
    buf_init(&out);
    list_head(walk, l->remaining, &out);
    buf_append_slice(&out, buf_slice(&l->items));
    shape_list_end(&out);
    if (out.failed || l->items.failed) {
        exchange_no_memory(ex);
    } else {
        ex->revision = walk->revision;
        exchange_json(ex, 200, buf_slice(&out));
    }
    buf_close(&out);
    listing_close(walk);
    return false;
}

static void list_answered(void *data)
{
}

/* remaining: rows behind this page; -1 = not told. A large answer is put together, and laid out for
 * people, away from the lane. */
static void list_answer(struct listing *walk, int64_t remaining)
{
    struct list *l = walk->data;
    struct exchange *ex = walk->ex;
    l->remaining = remaining;
    ex->op = l;
    ex->gone = list_gone; /* also at the end, should the step never run */
    exchange_work(ex, l->items.len, list_answer_step, list_answered, l);
}

static void list_counted(void *data, const struct kvp_result *r, const struct kvp_rows *rows)
{
    struct listing *walk = data;
    struct exchange *ex = walk->ex;
    if (ex->peer == NULL) {
        listing_close(walk);
        exchange_back(ex);
        return;
    }
    exchange_back(ex);
    /* It is a courtesy: the page is right without it. */
    list_answer(walk, r->outcome == KVP_OK ? rows->total : -1);
}

static void list_done(struct listing *walk)
{
    struct list *l = walk->data;
    struct exchange *ex = walk->ex;
    if (l->streams) {
        list_end(l);
        return;
    }
    if (!walk->more || !walk->selection->all) {
        list_answer(walk, -1);
        return;
    }
    struct kvp_range range = {
        .size = sizeof range,
        .flags = KVP_PREFIX | KVP_COUNT_ONLY,
        .key = kvp_bytes_of(walk->prefix.data, walk->prefix.len),
        .from = kvp_bytes_of(walk->from.data, walk->from.len),
        .revision = walk->revision,
    };
    exchange_call(ex);
    if (ex->api->host->range(ex->ctx, &range, list_counted, walk) != 0) {
        exchange_back(ex);
        list_answer(walk, -1);
    }
}

static void list_compacted(struct listing *walk)
{
    struct exchange *ex = walk->ex;
    bool continued = ex->query.next.len > 0;
    struct status s = status_expired(&ex->arena, "%s", continued ? expired_token : expired_list);
    if (continued) {
        s.next = list_token(walk, TOKEN_NEWEST);
    }
    listing_close(walk);
    exchange_fail(ex, s);
}

/* Where and when the list begins. False: answered. */
static bool list_set_revision(struct exchange *ex, struct listing *walk)
{
    const struct query *q = &ex->query;
    struct errmsg e = {.text = ""};
    if (q->next.len > 0) {
        struct slice start;
        int64_t revision = 0;
        if (q->has_revision && q->revision != 0) {
            exchange_fail(ex, status_bad_request(&ex->arena,
                                                 "specifying resource version is not allowed when "
                                                 "using continue"));
            return false;
        }
        int rc = token_read(q->next, &ex->arena, &revision, &start, &e);
        if (rc != 0) {
            exchange_fail(ex, status_bad_request(&ex->arena, "invalid continue token: %s", e.text));
            return false;
        }
        walk->revision = revision == TOKEN_NEWEST ? 0 : revision;
        buf_append_slice(&walk->from, buf_slice(&walk->prefix));
        buf_append_slice(&walk->from, start);
        return true;
    }
    bool exact = q->match == QUERY_MATCH_EXACT ||
                 (q->match == QUERY_MATCH_UNSET && q->revision > 0 && q->limit > 0);
    if (exact) {
        walk->revision = q->revision;
    } else {
        walk->at_least = q->revision;
        walk->stale = q->has_revision && q->revision == 0;
    }
    return true;
}

void verb_list(struct exchange *ex)
{
    struct list *l = arena_zalloc(&ex->arena, sizeof *l);
    if (l == NULL) {
        exchange_no_memory(ex);
        return;
    }
    if (!selection_check_options(ex, false) || !shape_allows_list(ex) ||
        !selection_read(ex, &l->selection) || !listing_init(&l->listing, ex, &l->selection)) {
        return;
    }
    buf_init(&l->items);
    l->listing.limit = ex->query.limit > 0 ? ex->query.limit : 0;
    l->listing.row = list_row;
    l->listing.page = list_page;
    l->listing.done = list_done;
    l->listing.compacted = list_compacted;
    l->listing.restart = verb_list;
    l->listing.data = l;
    l->listing.closed = list_free;
    if (!list_set_revision(ex, &l->listing)) {
        listing_close(&l->listing);
        return;
    }
    listing_page(&l->listing);
}
