/* http.c - the plugin's HTTP side in the test host: routes, exchanges, a client that reads or not.
 *
 * An exchange has one task. Each run of it is one callback: begin, a piece of the body, writable,
 * closed, whichever is due first. */
#include <stdio.h>
#include <strings.h>

#include "base/limits.h"
#include "include/kvplugin-test.h"
#include "plugins/testing/world.h"

/* Unread bytes of an answer beyond which http_write says BUSY. */
#define HTTP_QUEUE_BYTES 65536
#define HTTP_PIECE_BYTES 16384
#define HTTP_BODY_BYTES  (3u * 1024u * 1024u)

struct kvp_listener {
    struct list link; /* first: in world.listeners */
    uint32_t port;
    bool tls;  /* made with a certificate, which nobody looks at here */
    bool shut; /* the test wants that it could not be opened */
    struct task task;
    void (*opened)(void *data, struct kvp_listener *listener, const char *why);
    void *data;
};

struct route {
    struct list link; /* first: in world.routes */
    struct kvp_route_args args;
    char *method;
    char *pattern;
    uint32_t port;
};

struct kvp_http {
    struct list link; /* in world.exchanges */
    struct task task;
    struct arena memory;
    const struct route *route; /* NULL = 404 */
    struct kvp_http_request request;
    struct kvp_identity identity;
    struct kvp_bytes body;
    size_t body_given;
    void *data;
    uint32_t status;
    const struct kvp_pair *headers;
    size_t header_count;
    uint8_t *answer;
    size_t answer_len;
    size_t read; /* of the answer, by the client */
    bool stalled;
    bool began;
    bool body_done;
    bool paused;
    bool wants_writable;
    bool finished;
    bool broken; /* aborted, or the client is gone */
    bool closed;
};

/* ---- routes -------------------------------------------------------------------------------- */

/* The member is ready: init has returned 0. */
static void listener_open(struct task *t)
{
    struct kvp_listener *l = LIST_ENTRY(t, struct kvp_listener, task);
    callback_begin();
    l->opened(l->data, l, l->shut ? "the address is in use" : NULL);
    callback_end();
}

int t_call_http_listen(struct kvp_ctx *ctx, const struct kvp_listen_args *a,
                       struct kvp_listener **out, uint32_t *out_port, struct kvp_errmsg *e)
{
    int reason = ctx_enter(ctx, "http_listen");
    if (reason != 0) {
        return reason;
    }
    if (!world->in_init || a == NULL || a->size == 0 || a->address == NULL || out == NULL) {
        misuse("http_listen: outside init, or an argument breaks its rule (KVP_INVALID)");
        return KVP_INVALID;
    }
    uint32_t port = a->port != 0 ? a->port : world->next_port++;
    LIST_FOREACH (it, &world->listeners) {
        if (LIST_ENTRY(it, struct kvp_listener, link)->port == port) {
            snprintf(e->text, sizeof(e->text), "%s:%u is in use", a->address, port);
            return KVP_EXISTS;
        }
    }
    int32_t drawn = 0;
    enum fault_how fault = call_fault(call_name_find("http_listen"), &drawn);
    struct kvp_listener *l = fault == FAULT_CALL ? NULL : mem_zalloc(sizeof(*l));
    if (l == NULL) {
        snprintf(e->text, sizeof(e->text), "%s",
                 fault == FAULT_CALL ? "refused by the test" : "out of memory");
        return fault == FAULT_CALL ? drawn : KVP_NO_MEMORY;
    }
    l->shut = fault != FAULT_NONE;
    l->task.run = listener_open;
    l->opened = a->opened;
    l->data = a->data;
    if (l->opened != NULL) {
        task_soon(&l->task);
    }
    l->port = port;
    l->tls = a->cert_pem.len > 0;
    list_push_back(&world->listeners, &l->link);
    *out = l;
    if (out_port != NULL) {
        *out_port = port;
    }
    return 0;
}

int t_call_http_certificate(struct kvp_listener *listener, struct kvp_bytes cert_pem,
                            struct kvp_bytes key_pem, struct kvp_bytes client_ca_pem,
                            struct kvp_errmsg *e)
{
    (void)client_ca_pem;
    if (listener != NULL && listener->tls && cert_pem.len > 0 && key_pem.len > 0) {
        return 0;
    }
    if (e != NULL) {
        snprintf(e->text, sizeof(e->text), "%s",
                 listener != NULL && listener->tls ? "a certificate and its key are needed"
                                                   : "this port was made without a certificate");
    }
    return KVP_INVALID;
}

int t_call_http_route(struct kvp_ctx *ctx, const struct kvp_route_args *a)
{
    int reason = ctx_enter(ctx, "http_route");
    if (reason != 0) {
        return reason;
    }
    if (!world->in_init || a == NULL || a->size == 0 || a->method == NULL || a->pattern == NULL ||
        a->pattern[0] != '/' || a->begin == NULL || a->closed == NULL) {
        misuse("http_route: outside init, or an argument breaks its rule (KVP_INVALID)");
        return KVP_INVALID;
    }
    uint32_t port = a->listener != NULL ? a->listener->port : 0;
    LIST_FOREACH (it, &world->routes) {
        struct route *r = LIST_ENTRY(it, struct route, link);
        if (r->port == port && strcmp(r->method, a->method) == 0 &&
            strcmp(r->pattern, a->pattern) == 0) {
            return KVP_EXISTS;
        }
    }
    struct route *r = mem_zalloc(sizeof(*r));
    if (r == NULL) {
        return KVP_NO_MEMORY;
    }
    r->args = *a;
    r->method = quiet_dup(a->method, strlen(a->method));
    r->pattern = quiet_dup(a->pattern, strlen(a->pattern));
    r->port = port;
    list_push_back(&world->routes, &r->link);
    return 0;
}

/* How well a route fits: 0 = not at all, the longer its pattern the better, exact is best. */
static size_t route_fits(const struct route *r, uint32_t port, struct kvp_bytes method,
                         struct kvp_bytes path)
{
    size_t len = strlen(r->pattern);
    bool tree = len > 0 && r->pattern[len - 1] == '*';
    struct slice have = slice_of_kvp(path);
    struct slice want = slice_of(r->pattern, tree ? len - 1 : len);
    bool method_fits =
        strcmp(r->method, "*") == 0 || slice_eq(slice_str(r->method), slice_of_kvp(method));
    if (r->port != port || !method_fits) {
        return 0;
    }
    if (tree) {
        return slice_starts_with(have, want) ? 2 * want.len : 0;
    }
    return slice_eq(have, want) ? 2 * want.len + 1 : 0;
}

static const struct route *route_find(uint32_t port, const struct kvp_http_request *q)
{
    const struct route *best = NULL;
    size_t best_fit = 0;
    LIST_FOREACH (it, &world->routes) {
        const struct route *r = LIST_ENTRY(it, struct route, link);
        size_t fit = route_fits(r, port, q->method, q->path);
        if (fit > best_fit) {
            best = r;
            best_fit = fit;
        }
    }
    return best;
}

/* ---- the exchange -------------------------------------------------------------------------- */

static bool http_due(const struct kvp_http *x)
{
    if (x->closed || x->route == NULL) {
        return false;
    }
    bool body = !x->body_done && !x->paused && x->route->args.body != NULL;
    bool writable = x->wants_writable && x->read == x->answer_len;
    bool over = x->broken || (x->finished && x->read == x->answer_len);
    return !x->began || over || body || writable;
}

static void http_go_on(struct kvp_http *x)
{
    if (http_due(x) && !task_is_set(&x->task)) {
        task_soon(&x->task);
    }
}

static void http_close(struct kvp_http *x, int complete)
{
    x->closed = true;
    task_cancel(&x->task);
    if (x->began) {
        callback_begin();
        x->route->args.closed(x->route->args.data, x, complete);
        callback_end();
    }
}

static void http_give_body(struct kvp_http *x)
{
    size_t len = x->body.len - x->body_given;
    len = len > HTTP_PIECE_BYTES ? 1 + chance_below(HTTP_PIECE_BYTES) : len;
    struct kvp_bytes piece = kvp_bytes_of((const char *)x->body.data + x->body_given, len);
    x->body_given += len;
    x->body_done = x->body_given == x->body.len;
    x->route->args.body(x->route->args.data, x, piece, x->body_done);
}

static void http_task(struct task *t)
{
    struct kvp_http *x = LIST_ENTRY(t, struct kvp_http, task);
    const struct kvp_route_args *a = &x->route->args;
    if (x->broken || (x->finished && x->read == x->answer_len)) {
        http_close(x, !x->broken);
        return;
    }
    callback_begin();
    if (!x->began) {
        x->began = true;
        a->begin(a->data, x, &x->request);
    } else if (x->wants_writable && x->read == x->answer_len) {
        x->wants_writable = false;
        if (a->writable != NULL) {
            a->writable(a->data, x);
        }
    } else if (!x->body_done && !x->paused && a->body != NULL) {
        http_give_body(x);
    }
    callback_end();
    http_go_on(x);
}

/* 0 when the plugin may use x now. */
static int http_enter(struct kvp_http *x, const char *call)
{
    if (x->closed) {
        misuse("%s on a request that was closed", call);
        return KVP_STOPPED;
    }
    int reason = ctx_enter(world->instance, call);
    return reason == 0 && x->broken ? KVP_STOPPED : reason;
}

void t_call_http_set_data(struct kvp_http *x, void *data)
{
    x->data = data;
}

void *t_call_http_data(struct kvp_http *x)
{
    return x->data;
}

int t_call_http_respond(struct kvp_http *x, uint32_t status, const struct kvp_pair *headers,
                        size_t count)
{
    int reason = http_enter(x, "http_respond");
    if (reason != 0) {
        return reason;
    }
    if (x->status != 0 || x->finished || status < 200 || status > 599) {
        misuse("http_respond: a second time, or with status %u (KVP_INVALID)", status);
        return KVP_INVALID;
    }
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += headers[i].name.len + headers[i].value.len + 2;
    }
    if (count > PLUGIN_HTTP_HEADERS_MAX || bytes > PLUGIN_HTTP_HEADER_BYTES_MAX) {
        return KVP_TOO_LARGE; /* as the host has it */
    }
    uint64_t left = quiet_begin();
    struct kvp_pair *copies = arena_zalloc(&x->memory, (count + 1) * sizeof(*copies));
    for (size_t i = 0; i < count; i++) {
        copies[i].name = kvp_of_slice(arena_dup(&x->memory, slice_of_kvp(headers[i].name)));
        char *value = arena_zalloc(&x->memory, headers[i].value.len + 1);
        memcpy(value, headers[i].value.data, headers[i].value.len);
        copies[i].value = kvp_bytes_of(value, headers[i].value.len);
    }
    quiet_end(left);
    x->status = status;
    x->headers = copies;
    x->header_count = count;
    return 0;
}

int t_call_http_write(struct kvp_http *x, struct kvp_bytes bytes)
{
    int reason = http_enter(x, "http_write");
    if (reason != 0) {
        return reason;
    }
    if (x->status == 0 || x->finished) {
        misuse("http_write before http_respond or after http_finish (KVP_INVALID)");
        return KVP_INVALID;
    }
    size_t unread = x->answer_len - x->read;
    if (unread > 0 && unread + bytes.len > HTTP_QUEUE_BYTES) {
        x->wants_writable = true;
        return KVP_BUSY;
    }
    uint64_t left = quiet_begin();
    x->answer = mem_xrealloc(x->answer, x->answer_len + bytes.len + 1);
    quiet_end(left);
    if (bytes.len > 0) {
        memcpy(x->answer + x->answer_len, bytes.data, bytes.len);
    }
    x->answer_len += bytes.len;
    x->answer[x->answer_len] = '\0';
    x->read = x->stalled ? x->read : x->answer_len;
    return 0;
}

int t_call_http_finish(struct kvp_http *x)
{
    int reason = http_enter(x, "http_finish");
    if (reason != 0) {
        return reason;
    }
    x->status = x->status != 0 ? x->status : 500;
    x->finished = true;
    http_go_on(x);
    return 0;
}

void t_call_http_abort(struct kvp_http *x)
{
    if (http_enter(x, "http_abort") == 0) {
        x->broken = true;
        http_go_on(x);
    }
}

void t_call_http_pause(struct kvp_http *x, int pause)
{
    if (http_enter(x, "http_pause") == 0) {
        x->paused = pause != 0;
        http_go_on(x);
    }
}

/* ---- the client ---------------------------------------------------------------------------- */

static struct kvp_bytes http_keep(struct kvp_http *x, struct kvp_bytes bytes)
{
    return kvp_of_slice(arena_dup(&x->memory, slice_of_kvp(bytes)));
}

static void http_fill_identity(struct kvp_http *x, const struct t_http_args *a)
{
    x->identity.size = sizeof(x->identity);
    x->identity.authenticated = a->user != NULL;
    x->identity.user = http_keep(x, kvp_str(a->user));
    if (a->group != NULL) {
        struct kvp_bytes *group = arena_zalloc(&x->memory, sizeof(*group));
        *group = http_keep(x, kvp_str(a->group));
        x->identity.groups = group;
        x->identity.group_count = 1;
    }
}

static void http_fill_request(struct kvp_http *x, const struct t_http_args *a)
{
    struct kvp_http_request *q = &x->request;
    struct kvp_bytes path = http_keep(x, kvp_str(a->path));
    const char *mark = memchr(path.data, '?', path.len);
    size_t len = mark != NULL ? (size_t)(mark - (const char *)path.data) : path.len;
    q->size = sizeof(*q);
    q->http_major = 1 + (uint32_t)chance_below(2);
    q->method = http_keep(x, kvp_str(a->method != NULL ? a->method : "GET"));
    q->path = kvp_bytes_of(path.data, len);
    if (mark != NULL) {
        q->query = kvp_bytes_of(mark + 1, path.len - len - 1);
    }
    q->authority = kvp_str("localhost");
    q->peer = kvp_str("127.0.0.1:50000");
    q->identity = &x->identity;
    struct kvp_pair *headers = arena_zalloc(&x->memory, (a->header_count + 1) * sizeof(*headers));
    for (size_t i = 0; i < a->header_count; i++) {
        headers[i].name = http_keep(x, a->headers[i].name);
        headers[i].value = http_keep(x, a->headers[i].value);
    }
    q->headers = headers;
    q->header_count = a->header_count;
    x->body = http_keep(x, a->body);
}

/* A port that could not be opened: no request comes. */
static bool http_shut(uint32_t port)
{
    LIST_FOREACH (it, &world->listeners) {
        const struct kvp_listener *l = LIST_ENTRY(it, struct kvp_listener, link);
        if (l->port == port && l->shut) {
            return true;
        }
    }
    return false;
}

struct t_http *t_http_open(const struct t_http_args *a)
{
    world_need("t_http");
    struct kvp_http *x = mem_xzalloc(sizeof(*x));
    arena_init(&x->memory, 0);
    x->task.run = http_task;
    http_fill_identity(x, a);
    http_fill_request(x, a);
    list_push_back(&world->exchanges, &x->link);
    x->route = world->opened && !http_shut(a->port) ? route_find(a->port, &x->request) : NULL;
    uint32_t room = x->route != NULL && x->route->args.body_bytes_max != 0
                        ? x->route->args.body_bytes_max
                        : HTTP_BODY_BYTES;
    if (x->route == NULL || x->body.len > room) {
        x->status = x->route == NULL ? 404 : 413;
        x->route = NULL;
        x->finished = true;
        x->closed = true;
    }
    http_go_on(x);
    return (struct t_http *)x;
}

struct t_http *t_http(const char *method, const char *path)
{
    struct t_http_args a = {.size = sizeof(a), .method = method, .path = path};
    return t_http_open(&a);
}

uint32_t t_http_status(const struct t_http *x)
{
    return ((const struct kvp_http *)x)->status;
}

const char *t_http_header(const struct t_http *t, const char *name)
{
    const struct kvp_http *x = (const struct kvp_http *)t;
    for (size_t i = 0; i < x->header_count; i++) {
        if (x->headers[i].name.len == strlen(name) &&
            strncasecmp(x->headers[i].name.data, name, strlen(name)) == 0) {
            return x->headers[i].value.data;
        }
    }
    return NULL;
}

struct kvp_bytes t_http_body(struct t_http *t)
{
    struct kvp_http *x = (struct kvp_http *)t;
    return x->answer != NULL ? kvp_bytes_of(x->answer, x->read) : kvp_bytes_of("", 0);
}

int t_http_ended(const struct t_http *t)
{
    const struct kvp_http *x = (const struct kvp_http *)t;
    return x->broken ? -1 : x->finished && x->read == x->answer_len;
}

void t_http_stall(struct t_http *t, int stall)
{
    struct kvp_http *x = (struct kvp_http *)t;
    x->stalled = stall != 0;
    x->read = x->stalled ? x->read : x->answer_len;
    http_go_on(x);
}

void t_http_cancel(struct t_http *t)
{
    struct kvp_http *x = (struct kvp_http *)t;
    x->broken = true;
    http_go_on(x);
}

void http_end(void)
{
    LIST_FOREACH (it, &world->listeners) {
        task_cancel(&LIST_ENTRY(it, struct kvp_listener, link)->task);
    }
    LIST_FOREACH (it, &world->exchanges) {
        struct kvp_http *x = LIST_ENTRY(it, struct kvp_http, link);
        if (!x->closed) {
            x->broken = true;
            http_close(x, 0);
        }
        x->route = NULL;
    }
}

void http_clear(void)
{
    for (struct list *it; (it = list_pop_front(&world->exchanges)) != NULL;) {
        struct kvp_http *x = LIST_ENTRY(it, struct kvp_http, link);
        arena_close(&x->memory);
        mem_free(x->answer);
        mem_free(x);
    }
    for (struct list *it; (it = list_pop_front(&world->routes)) != NULL;) {
        struct route *r = LIST_ENTRY(it, struct route, link);
        mem_free(r->method);
        mem_free(r->pattern);
        mem_free(r);
    }
    for (struct list *it; (it = list_pop_front(&world->listeners)) != NULL;) {
        mem_free(LIST_ENTRY(it, struct kvp_listener, link));
    }
}
