/* webhello.c - a page that shows keys as they change: http://HOST:2379/webhello
 *
 * The page opens /webhello/events, an endless answer of server-sent events: first the rows under
 * the prefix, then every change. Each browser has a watch of its own. A browser that reads too
 * slowly loses nothing: when http_write says BUSY its watch is given up, and begun again at the
 * revision that did not fit once the browser has caught up. Works on every member, needs no leader.
 * Shows: routes, streaming with backpressure, a watch with restart. */
#include <kvplugin.h>
#include <stdio.h>
#include <string.h>

struct conf {
    const char *prefix;
};
static const struct kvp_option options[] = {
    {"prefix", KVP_OPT_STRING, 0, offsetof(struct conf, prefix), "/hello/", .help = "keys to show"},
    {0}};

struct web {
    struct kvp_ctx *ctx;
    const struct kvp_host *host;
    const struct conf *conf;
    uint32_t browsers; /* gauge */
};

/* One browser, from begin to closed. */
struct browser {
    struct web *web;
    struct kvp_http *x; /* NULL: gone, an answer of range is still on its way */
    struct kvp_watch *watch;
    int64_t next; /* revision the watch is to begin at */
    int listing;
};

static const char page[] =
    "<!doctype html><meta charset=utf-8><title>webhello</title>\n"
    "<style>body{font:16px sans-serif;margin:2em}td{padding:.2em 1em}</style>\n"
    "<h1>Keys, as they change</h1><table id=t></table>\n"
    "<script>\n"
    "const rows=new Map(),s=new EventSource('/webhello/events');\n"
    "function draw(){t.replaceChildren(...[...rows].sort().map(r=>{\n"
    "  const tr=document.createElement('tr');\n"
    "  for(const c of r){tr.insertCell().textContent=c}return tr}))}\n"
    "s.addEventListener('reset',()=>{rows.clear();draw()});\n"
    "s.addEventListener('put',e=>{const[k,v]=e.data.split('\\t');rows.set(k,v);draw()});\n"
    "s.addEventListener('delete',e=>{rows.delete(e.data);draw()});\n"
    "</script>\n";

/* ---- text --------------------------------------------------------------------------------------
 */

struct text {
    char *bytes;
    size_t len;
};

static void add(struct text *t, const char *s, size_t len)
{
    memcpy(t->bytes + t->len, s, len);
    t->len += len;
}

/* Control bytes would end a line of the stream: they are shown as dots. */
static void add_shown(struct text *t, struct kvp_bytes b)
{
    const unsigned char *from = b.data;
    for (size_t i = 0; i < b.len; i++) {
        t->bytes[t->len++] = from[i] < ' ' ? '.' : (char)from[i];
    }
}

/* Room for one row's event: names, separators, key, value. */
static size_t room_of(const struct kvp_row *row)
{
    return 40 + row->key.len + row->value.len;
}

static void add_put(struct text *t, const struct kvp_row *row)
{
    add(t, "event: put\ndata: ", 17);
    add_shown(t, row->key);
    add(t, "\t", 1);
    add_shown(t, row->value);
    add(t, "\n\n", 2);
}

static void add_delete(struct text *t, const struct kvp_row *row)
{
    add(t, "event: delete\ndata: ", 20);
    add_shown(t, row->key);
    add(t, "\n\n", 2);
}

/* 0, or why nothing was sent. */
static int send_text(struct browser *b, struct text *t)
{
    int status = b->web->host->http_write(b->x, kvp_bytes_of(t->bytes, t->len));
    b->web->host->release(b->web->ctx, t->bytes);
    return status;
}

/* ---- the stream --------------------------------------------------------------------------------
 */

static void stream_list(struct browser *b);

static void stream_end(struct browser *b)
{
    b->web->host->http_finish(b->x);
}

static void stream_events(void *data, const struct kvp_batch *batch)
{
    struct browser *b = data;
    const struct kvp_host *host = b->web->host;
    struct text t = {0};
    size_t room = 1;
    for (size_t i = 0; i < batch->count; i++) {
        room += room_of(&batch->events[i].row);
    }
    t.bytes = host->alloc(b->web->ctx, room);
    if (t.bytes == NULL) {
        stream_end(b); /* the browser comes again by itself */
        return;
    }
    for (size_t i = 0; i < batch->count; i++) {
        const struct kvp_event *e = &batch->events[i];
        if (e->type == KVP_EVENT_PUT) {
            add_put(&t, &e->row);
        } else {
            add_delete(&t, &e->row);
        }
    }
    if (send_text(b, &t) == KVP_BUSY) {
        host->unwatch(b->watch); /* writable begins again, at b->next */
        b->watch = NULL;
        return;
    }
    b->next = batch->revision + 1;
}

static void stream_ended(void *data, const struct kvp_result *r)
{
    struct browser *b = data;
    b->watch = NULL;
    if (r->reason == KVP_COMPACTED) {
        stream_list(b);
    } else {
        stream_end(b);
    }
}

static void stream_watch(struct browser *b)
{
    struct kvp_watch_args a = {.size = sizeof(a),
                               .flags = KVP_PREFIX,
                               .key = kvp_str(b->web->conf->prefix),
                               .from_revision = b->next,
                               .events = stream_events,
                               .ended = stream_ended,
                               .data = b};
    if (b->web->host->watch(b->web->ctx, &a, &b->watch) != 0) {
        b->watch = NULL;
        stream_end(b);
    }
}

static void stream_listed(void *data, const struct kvp_result *r, const struct kvp_rows *rows)
{
    struct browser *b = data;
    const struct kvp_host *host = b->web->host;
    b->listing = 0;
    if (b->x == NULL) { /* closed meanwhile */
        host->release(b->web->ctx, b);
        return;
    }
    size_t room = 32;
    for (size_t i = 0; i < rows->count; i++) {
        room += room_of(&rows->rows[i]);
    }
    struct text t = {r->outcome == KVP_OK ? host->alloc(b->web->ctx, room) : NULL, 0};
    if (t.bytes == NULL) {
        stream_end(b);
        return;
    }
    add(&t, "event: reset\ndata:\n\n", 20);
    for (size_t i = 0; i < rows->count; i++) {
        add_put(&t, &rows->rows[i]);
    }
    int status = send_text(b, &t);
    b->next = r->revision + 1;
    if (status == 0) {
        stream_watch(b);
    } else if (status == KVP_BUSY) {
        b->next = 0; /* writable lists again */
    }
}

/* The first page of rows is what a page can show. */
static void stream_list(struct browser *b)
{
    struct kvp_range r = {.size = sizeof(r),
                          .flags = KVP_PREFIX | KVP_SERIALIZABLE,
                          .key = kvp_str(b->web->conf->prefix),
                          .limit = 1000};
    b->listing = b->web->host->range(b->web->ctx, &r, stream_listed, b) == 0;
    if (!b->listing) {
        stream_end(b);
    }
}

static void stream_writable(void *data, struct kvp_http *x)
{
    struct web *web = data;
    struct browser *b = web->host->http_data(x);
    if (b != NULL && b->watch == NULL && !b->listing) {
        if (b->next == 0) {
            stream_list(b);
        } else {
            stream_watch(b);
        }
    }
}

static void stream_begin(void *data, struct kvp_http *x, const struct kvp_http_request *r)
{
    struct web *web = data;
    struct kvp_pair headers[] = {{kvp_str("content-type"), kvp_str("text/event-stream")},
                                 {kvp_str("cache-control"), kvp_str("no-store")}};
    struct browser *b = web->host->alloc(web->ctx, sizeof(*b));
    (void)r;
    if (b == NULL) {
        web->host->http_respond(x, 503, NULL, 0);
        web->host->http_finish(x);
        return;
    }
    *b = (struct browser){.web = web, .x = x};
    web->host->http_set_data(x, b);
    web->host->metric_add(web->ctx, web->browsers, 1);
    web->host->http_respond(x, 200, headers, 2);
    stream_list(b);
}

static void stream_closed(void *data, struct kvp_http *x, int complete)
{
    struct web *web = data;
    struct browser *b = web->host->http_data(x);
    (void)complete;
    if (b == NULL) {
        return;
    }
    web->host->metric_add(web->ctx, web->browsers, -1);
    if (b->watch != NULL) {
        web->host->unwatch(b->watch);
    }
    b->x = NULL;
    if (!b->listing) {
        web->host->release(web->ctx, b);
    }
}

/* ---- the page, life ----------------------------------------------------------------------------
 */

static void page_begin(void *data, struct kvp_http *x, const struct kvp_http_request *r)
{
    struct web *web = data;
    struct kvp_pair headers[] = {{kvp_str("content-type"), kvp_str("text/html; charset=utf-8")}};
    (void)r;
    web->host->http_respond(x, 200, headers, 1);
    web->host->http_write(x, kvp_str(page));
    web->host->http_finish(x);
}

static void page_closed(void *data, struct kvp_http *x, int complete)
{
    (void)data, (void)x, (void)complete;
}

static int define(struct web *web)
{
    struct kvp_metric_args metric = {
        .size = sizeof(metric), .type = KVP_GAUGE, .name = "browsers", .help = "Open streams."};
    struct kvp_route_args stream = {.size = sizeof(stream),
                                    .method = "GET",
                                    .pattern = "/webhello/events",
                                    .begin = stream_begin,
                                    .writable = stream_writable,
                                    .closed = stream_closed,
                                    .data = web};
    struct kvp_route_args html = {.size = sizeof(html),
                                  .method = "GET",
                                  .pattern = "/webhello",
                                  .begin = page_begin,
                                  .closed = page_closed,
                                  .data = web};
    int status = web->host->metric(web->ctx, &metric, &web->browsers);
    status = status != 0 ? status : web->host->http_route(web->ctx, &stream);
    return status != 0 ? status : web->host->http_route(web->ctx, &html);
}

static int init(struct kvp_ctx *ctx, const struct kvp_host *host, const void *conf, void **self,
                struct kvp_errmsg *e)
{
    struct web *web = host->alloc(ctx, sizeof(*web));
    int status = KVP_NO_MEMORY;
    if (web != NULL) {
        *web = (struct web){.ctx = ctx, .host = host, .conf = conf};
        status = define(web);
        if (status == 0) {
            *self = web;
            return 0;
        }
        host->release(ctx, web);
    }
    snprintf(e->text, sizeof(e->text), "%s",
             status == KVP_UNSUPPORTED ? "this kvd serves no HTTP for plugins"
                                       : "no memory, or /webhello is taken by another plugin");
    return status;
}

static void fini(void *self)
{
    struct web *web = self;
    web->host->release(web->ctx, web);
}

KVP_PLUGIN(.name = "webhello", .version = "1.0", .about = "Shows keys in a browser, live.",
           .flags = KVP_FOLLOW, .options = options, .conf_size = sizeof(struct conf), .init = init,
           .fini = fini);
