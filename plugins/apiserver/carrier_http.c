/* carrier_http.c - answers to HTTP clients. */
#include "plugins/apiserver/carrier.h"

#include "plugins/object/uuid.h"

/* http_write takes a piece of any size when it is idle; a page of a list, which is what follows
 * each other without end, is to be one. */
#define CARRIER_PIECE_BYTES     (384u * 1024u)
#define CARRIER_AUDIT_BYTES_MAX 1024u
#define CARRIER_HEADERS         (8u + EXCHANGE_WARNINGS_MAX)

static struct kvp_pair http_pair(const char *name, struct slice value)
{
    return (struct kvp_pair){kvp_str(name), kvp_of_slice(value)};
}

static bool http_respond(struct exchange *ex, int code, const char *content_type)
{
    struct kvp_pair headers[CARRIER_HEADERS];
    size_t n = 0;
    headers[n++] = http_pair("content-type", slice_str(content_type));
    struct slice cache = slice_str(ex->etag.len > 0 ? "public" : "no-cache, private");
    headers[n++] =
        http_pair("cache-control", ex->cache_control.len > 0 ? ex->cache_control : cache);
    headers[n++] = http_pair("audit-id", ex->audit_id);
    if (ex->etag.len > 0) {
        headers[n++] = http_pair("etag", ex->etag);
        headers[n++] = http_pair("vary", slice_str("Accept"));
    }
    if (ex->expires.len > 0) {
        headers[n++] = http_pair("expires", ex->expires);
    }
    if (ex->location.len > 0) {
        headers[n++] = http_pair("location", ex->location);
    }
    /* Of work that is away they are not known yet. */
    for (size_t i = 0; !ex->work.away && i < ex->warning_count; i++) {
        headers[n++] = http_pair("warning", ex->warnings[i]);
    }
    return ex->api->host->http_respond(ex->peer, (uint32_t)code, headers, n) == 0;
}

static bool http_hand_on(struct exchange *ex)
{
    while (ex->sent < ex->out.len) {
        size_t left = ex->out.len - ex->sent;
        size_t len = left < CARRIER_PIECE_BYTES ? left : CARRIER_PIECE_BYTES;
        struct kvp_bytes piece = kvp_bytes_of(ex->out.data + ex->sent, len);
        int reason = ex->api->host->http_write(ex->peer, piece);
        if (reason != 0) {
            if (reason != KVP_BUSY) { /* then nobody says when to try again */
                ex->finished = true;
                ex->last = true;
                ex->api->host->http_abort(ex->peer);
            }
            return false;
        }
        ex->sent += len;
    }
    return true;
}

static void http_finish(struct exchange *ex)
{
    if (ex->api->host->http_finish(ex->peer) != 0) {
        ex->api->host->http_abort(ex->peer);
    }
}

static void http_break_off(struct exchange *ex)
{
    ex->api->host->http_abort(ex->peer);
}

static void http_event_begin(struct exchange *ex, const char *type, int64_t revision)
{
    buf_printf(&ex->out, "{\"type\":\"%s\",\"object\":", type);
}

static void http_event_end(struct exchange *ex)
{
    buf_append_str(&ex->out, "}\n");
}

static const struct carrier carrier_http = {.speaks_http = true,
                                            .respond = http_respond,
                                            .hand_on = http_hand_on,
                                            .finish = http_finish,
                                            .break_off = http_break_off,
                                            .event_begin = http_event_begin,
                                            .event_end = http_event_end};

static struct slice http_header(struct exchange *ex, const struct kvp_http_request *r,
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
static bool http_is_human(struct slice user_agent)
{
    return slice_starts_with(user_agent, slice_str("curl")) ||
           slice_starts_with(user_agent, slice_str("Wget")) ||
           slice_starts_with(user_agent, slice_str("Mozilla/5.0"));
}

/* The caller's, when it is not too long to be told back, or a new one. */
static void http_set_audit_id(struct exchange *ex)
{
    char text[UUID_TEXT_BYTES];
    uint8_t random[16];
    if (ex->audit_id.len > 0 && ex->audit_id.len <= CARRIER_AUDIT_BYTES_MAX) {
        return;
    }
    ex->api->host->random(ex->api->ctx, random, sizeof random);
    uuid_print(random, text);
    struct slice copy = arena_dup(&ex->arena, slice_of(text, sizeof text));
    ex->audit_id = copy.data == NULL ? slice_of("", 0) : copy;
}

struct exchange *carrier_http_begin(struct apiserver *api, struct kvp_http *x,
                                    const struct kvp_http_request *r)
{
    struct exchange *ex = exchange_new(api, &carrier_http, x, api->ctx);
    if (ex == NULL) {
        return NULL;
    }
    ex->accept = http_header(ex, r, "accept");
    ex->content_type = http_header(ex, r, "content-type");
    ex->audit_id = http_header(ex, r, "audit-id");
    ex->none_match = http_header(ex, r, "if-none-match");
    ex->manager = http_header(ex, r, "user-agent");
    ex->human = http_is_human(ex->manager);
    for (size_t i = 0; i < ex->manager.len; i++) {
        if (ex->manager.data[i] == '/') {
            ex->manager.len = i;
        }
    }
    http_set_audit_id(ex);
    ex->head = slice_eq(slice_of_kvp(r->method), slice_str("HEAD"));
    return ex;
}
