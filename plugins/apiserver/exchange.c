/* exchange.c - requests, answers, and the counting of what is under way for them. */
#include "plugins/apiserver/exchange.h"

#include <stdio.h>

#include "plugins/apiserver/pretty.h"
#include "plugins/object/quote.h"

/* What one object and its answer may cost: a body of 3 MiB as a tree, changed and written. */
#define EXCHANGE_BYTES_MAX   (256u * 1024u * 1024u)
#define EXCHANGE_PIECE_BYTES (64u * 1024u) /* http_write always takes so much when it is idle */
#define EXCHANGE_HEADERS     (8u + EXCHANGE_WARNINGS_MAX)

static struct slice exchange_header(struct exchange *ex, const struct kvp_http_request *r,
                                    const char *name)
{
    for (size_t i = 0; i < r->header_count; i++) {
        if (slice_eq(slice_of_kvp(r->headers[i].name), slice_str(name))) {
            struct slice copy = arena_dup(&ex->arena, slice_of_kvp(r->headers[i].value));
            return copy.data == NULL ? slice_of("", 0) : copy;
        }
    }
    return slice_of("", 0);
}

/* Browsers and the tools of terminals. */
static bool exchange_is_human(struct slice user_agent)
{
    return slice_starts_with(user_agent, slice_str("curl")) ||
           slice_starts_with(user_agent, slice_str("Wget")) ||
           slice_starts_with(user_agent, slice_str("Mozilla/5.0"));
}

/* The caller's, or a new one. */
static void exchange_set_audit_id(struct exchange *ex)
{
    char text[37];
    uint8_t u[16];
    if (ex->audit_id.len > 0) {
        return;
    }
    ex->api->host->random(ex->api->ctx, u, sizeof u);
    snprintf(text, sizeof text,
             "%02x%02x%02x%02x-%02x%02x-4%x%02x-a%x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1], u[2],
             u[3], u[4], u[5], u[6] & 15, u[7], u[8] & 15, u[9], u[10], u[11], u[12], u[13], u[14],
             u[15]);
    struct slice copy = arena_dup(&ex->arena, slice_str(text));
    ex->audit_id = copy.data == NULL ? slice_of("", 0) : copy;
}

struct exchange *exchange_new(struct apiserver *api, struct kvp_http *x,
                              const struct kvp_http_request *r)
{
    struct exchange *ex = mem_zalloc(sizeof *ex);
    if (ex == NULL) {
        return NULL;
    }
    ex->api = api;
    ex->x = x;
    arena_init(&ex->arena, EXCHANGE_BYTES_MAX);
    buf_init(&ex->body);
    buf_init(&ex->out);
    ex->accept = exchange_header(ex, r, "accept");
    ex->content_type = exchange_header(ex, r, "content-type");
    ex->audit_id = exchange_header(ex, r, "audit-id");
    ex->none_match = exchange_header(ex, r, "if-none-match");
    ex->manager = exchange_header(ex, r, "user-agent");
    ex->human = exchange_is_human(ex->manager);
    for (size_t i = 0; i < ex->manager.len; i++) {
        if (ex->manager.data[i] == '/') {
            ex->manager.len = i;
        }
    }
    exchange_set_audit_id(ex);
    ex->head = slice_eq(slice_of_kvp(r->method), slice_str("HEAD"));
    return ex;
}

static void exchange_free_when_done(struct exchange *ex)
{
    if (ex->x == NULL && ex->calls == 0) {
        arena_close(&ex->arena);
        buf_close(&ex->body);
        buf_close(&ex->out);
        mem_free(ex);
    }
}

void exchange_closed(struct exchange *ex)
{
    ex->x = NULL;
    if (ex->gone != NULL) {
        ex->gone(ex);
    }
    exchange_free_when_done(ex);
}

void exchange_call(struct exchange *ex)
{
    ex->calls++;
}

bool exchange_back(struct exchange *ex)
{
    bool there = ex->x != NULL;
    ex->calls--;
    exchange_free_when_done(ex);
    return there;
}

struct status exchange_status(struct exchange *ex, int reason, const char *text)
{
    struct arena *a = &ex->arena;
    switch (reason) {
    case KVP_TIMEOUT:
        return status_timeout(a, "request did not complete within the allotted timeout");
    case KVP_STOPPED:
    case KVP_CANCELED:
        return status_unavailable(a, "apiserver is shutting down");
    case KVP_TOO_LARGE:
        return status_too_large(a, "etcdserver: request is too large");
    case KVP_NO_SPACE:
        return status_unclassed(a, "etcdserver: mvcc: database space exceeded");
    case KVP_BUSY:
    case KVP_UNAVAILABLE:
    case KVP_NO_MEMORY: {
        struct status s = status_unavailable(a, "the store is not available right now: %s", text);
        s.retry_after_s = 1;
        return s;
    }
    default:
        return status_internal(a, "%s", text);
    }
}

void exchange_not_called(struct exchange *ex, int reason)
{
    exchange_fail(ex, exchange_status(ex, reason, "the call was not accepted"));
    exchange_back(ex);
}

bool exchange_back_well(struct exchange *ex, const struct kvp_result *r)
{
    if (!exchange_back(ex)) {
        return false;
    }
    if (r->outcome == KVP_UNKNOWN) {
        exchange_fail(ex, status_timeout(&ex->arena, "the outcome of the write is not known"));
        return false;
    }
    if (r->outcome != KVP_OK) {
        exchange_fail(ex, exchange_status(ex, r->reason, r->text));
        return false;
    }
    return true;
}

/* ---- answers ------------------------------------------------------------------------------- */

void exchange_warn(struct exchange *ex, struct slice text)
{
    if (ex->warning_count == EXCHANGE_WARNINGS_MAX) {
        return;
    }
    struct buf b;
    buf_init(&b);
    buf_append_str(&b, "299 - ");
    quote_go(text, &b);
    struct slice copy = b.failed ? slice_of(NULL, 0) : arena_dup(&ex->arena, buf_slice(&b));
    buf_close(&b);
    if (copy.data != NULL) {
        ex->warnings[ex->warning_count++] = copy;
    }
}

static struct kvp_pair exchange_pair(const char *name, struct slice value)
{
    return (struct kvp_pair){kvp_str(name), kvp_of_slice(value)};
}

static bool exchange_respond(struct exchange *ex, int code, const char *content_type)
{
    struct kvp_pair headers[EXCHANGE_HEADERS];
    size_t n = 0;
    if (ex->x == NULL || ex->answered) {
        return false;
    }
    ex->answered = true;
    headers[n++] = exchange_pair("content-type", slice_str(content_type));
    struct slice cache = slice_str(ex->etag.len > 0 ? "public" : "no-cache, private");
    headers[n++] =
        exchange_pair("cache-control", ex->cache_control.len > 0 ? ex->cache_control : cache);
    headers[n++] = exchange_pair("audit-id", ex->audit_id);
    if (ex->etag.len > 0) {
        headers[n++] = exchange_pair("etag", ex->etag);
        headers[n++] = exchange_pair("vary", slice_str("Accept"));
    }
    if (ex->expires.len > 0) {
        headers[n++] = exchange_pair("expires", ex->expires);
    }
    if (ex->location.len > 0) {
        headers[n++] = exchange_pair("location", ex->location);
    }
    for (size_t i = 0; i < ex->warning_count; i++) {
        headers[n++] = exchange_pair("warning", ex->warnings[i]);
    }
    return ex->api->host->http_respond(ex->x, (uint32_t)code, headers, n) == 0;
}

bool exchange_pump(struct exchange *ex)
{
    const struct kvp_host *host = ex->api->host;
    while (ex->x != NULL && ex->sent < ex->out.len) {
        size_t left = ex->out.len - ex->sent;
        size_t len = left < EXCHANGE_PIECE_BYTES ? left : EXCHANGE_PIECE_BYTES;
        if (host->http_write(ex->x, kvp_bytes_of(ex->out.data + ex->sent, len)) != 0) {
            return false;
        }
        ex->sent += len;
    }
    if (ex->x == NULL) {
        return false;
    }
    buf_clear(&ex->out);
    ex->sent = 0;
    if (ex->last && !ex->finished) {
        ex->finished = true;
        host->http_finish(ex->x);
    }
    return true;
}

/* A body of two parts. */
static void exchange_answer_all(struct exchange *ex, int code, const char *content_type,
                                struct slice body, const char *tail)
{
    if (ex->x != NULL && ex->answered && !ex->last) {
        /* A stream has begun: all that can be said is that it broke. */
        ex->last = true;
        ex->finished = true;
        ex->api->host->http_abort(ex->x);
        return;
    }
    if (!exchange_respond(ex, code, content_type)) {
        return;
    }
    buf_clear(&ex->out);
    ex->sent = 0;
    if (!ex->head && (!buf_append_slice(&ex->out, body) || !buf_append_str(&ex->out, tail))) {
        ex->api->host->http_abort(ex->x);
        return;
    }
    ex->last = true;
    exchange_pump(ex);
}

void exchange_answer(struct exchange *ex, int code, const char *content_type, struct slice body)
{
    exchange_answer_all(ex, code, content_type, body, "");
}

void exchange_json(struct exchange *ex, int code, struct slice body)
{
    bool pretty = (ex->pretty || ex->media.pretty) && body.len <= PRETTY_BYTES_MAX;
    struct buf laid_out;
    buf_init(&laid_out);
    pretty = pretty && pretty_print(body, &laid_out) && !laid_out.failed;
    /* Go's encoder ends compact texts with a line, and only those. */
    exchange_answer_all(ex, code, "application/json", pretty ? buf_slice(&laid_out) : body,
                        pretty ? "" : "\n");
    buf_close(&laid_out);
}

void exchange_fail(struct exchange *ex, struct status s)
{
    struct buf b;
    buf_init(&b);
    status_print(&s, &b);
    exchange_json(ex, s.code, b.failed ? slice_of("", 0) : buf_slice(&b));
    buf_close(&b);
}

void exchange_no_memory(struct exchange *ex)
{
    exchange_fail(ex, status_internal(&ex->arena, "out of memory"));
}

void exchange_stream(struct exchange *ex, const char *content_type)
{
    exchange_respond(ex, 200, content_type);
}

void exchange_end(struct exchange *ex)
{
    ex->last = true;
    exchange_pump(ex);
}
