/* web_fixture.h - the probe plugin with routes, on the client port and on one of its own, and raw
 * HTTP/1.1 clients of it in the test's thread. Include once per test program.
 *
 *   GET  /hello    answered in begin          POST /echo   what came, when all of it has come
 *   any  /hold/... kept in web.x for the test POST /slow   likewise, its body paused in begin */
#ifndef KVD_TESTS_UNIT_PLUGINS_WEB_FIXTURE_H
#define KVD_TESTS_UNIT_PLUGINS_WEB_FIXTURE_H

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>

#include "rpc/server.h"
#include "tests/lib/h2_client.h"
#include "tests/unit/plugins/host_fixture.h"

/* Written on the lane, read by the test: atomic, or looked at by inside(). */
static struct web {
    uint16_t port;
    struct kvp_listener *listener;
    uint32_t own_port;
    atomic_int opened, not_opened;
    struct kvp_http *_Atomic x; /* the newest one of /hold and /slow */
    atomic_int begins, writables, closes, completes, lasts;
    atomic_size_t body_bytes;
    atomic_int wrong; /* what a callback found that should not be */
    atomic_int answered_in_closed;
    char path[64], query[64], method[16], host[64], header[64];
    uint32_t major, authenticated;
    bool server_closed;
} web;

/* ---- handlers ----------------------------------------------------------------------------------
 */

static void web_closed(void *data, struct kvp_http *x, int complete)
{
    const struct kvp_host *h = probe.host;
    (void)data;
    if (web.x == x) {
        web.x = NULL;
    }
    if (h->http_write(x, kvp_str("late")) != KVP_STOPPED) {
        atomic_fetch_add(&web.answered_in_closed, 1);
    }
    h->release(probe.root, h->http_data(x));
    atomic_fetch_add(&web.completes, complete);
    atomic_fetch_add(&web.closes, 1);
}

static void web_hello(void *data, struct kvp_http *x, const struct kvp_http_request *r)
{
    const struct kvp_host *h = probe.host;
    const struct kvp_pair type = {kvp_str("Content-Type"), kvp_str("text/plain")};
    (void)data, (void)r;
    atomic_fetch_add(&web.begins, 1);
    h->http_set_data(x, h->alloc(probe.root, 10));
    int rv = h->http_respond(x, 200, &type, 1);
    rv |= h->http_write(x, kvp_str("hel"));
    rv |= h->http_write(x, kvp_str("lo\n"));
    rv |= h->http_finish(x);
    if (rv != 0 && rv != KVP_STOPPED) {
        atomic_fetch_add(&web.wrong, 1);
    }
}

static void web_hold(void *data, struct kvp_http *x, const struct kvp_http_request *r)
{
    (void)data;
    text_of(web.path, sizeof(web.path), r->path);
    text_of(web.query, sizeof(web.query), r->query);
    text_of(web.method, sizeof(web.method), r->method);
    text_of(web.host, sizeof(web.host), r->authority);
    for (size_t i = 0; i < r->header_count; i++) {
        if (r->headers[i].name.len == 5 && memcmp(r->headers[i].name.data, "x-one", 5) == 0) {
            text_of(web.header, sizeof(web.header), r->headers[i].value);
        }
    }
    web.major = r->http_major;
    web.authenticated = r->identity->authenticated;
    web.x = x;
    atomic_fetch_add(&web.begins, 1);
}

static void web_slow(void *data, struct kvp_http *x, const struct kvp_http_request *r)
{
    probe.host->http_pause(x, 1);
    web_hold(data, x, r);
}

static void web_count_body(void *data, struct kvp_http *x, struct kvp_bytes bytes, int last)
{
    (void)data, (void)x;
    atomic_fetch_add(&web.body_bytes, bytes.len);
    atomic_fetch_add(&web.lasts, last);
}

struct web_echo {
    size_t len;
    char bytes[100000];
};

static void web_echo(void *data, struct kvp_http *x, const struct kvp_http_request *r)
{
    (void)data, (void)r;
    struct web_echo *e = probe.host->alloc(probe.root, sizeof(*e));
    e->len = 0;
    probe.host->http_set_data(x, e);
    atomic_fetch_add(&web.begins, 1);
}

static void web_echo_body(void *data, struct kvp_http *x, struct kvp_bytes bytes, int last)
{
    const struct kvp_host *h = probe.host;
    struct web_echo *e = h->http_data(x);
    (void)data;
    if (e->len + bytes.len <= sizeof(e->bytes) && bytes.len > 0) {
        memcpy(e->bytes + e->len, bytes.data, bytes.len);
    }
    e->len += bytes.len;
    if (last) {
        h->http_respond(x, 200, NULL, 0);
        h->http_write(x, kvp_bytes_of(e->bytes, e->len));
        h->http_finish(x);
    }
}

static void web_writable(void *data, struct kvp_http *x)
{
    (void)data, (void)x;
    atomic_fetch_add(&web.writables, 1);
}

static void web_on_opened(void *data, struct kvp_listener *l, const char *why)
{
    (void)l;
    if (data != &web) {
        atomic_fetch_add(&web.wrong, 1);
    }
    atomic_fetch_add(why == NULL ? &web.opened : &web.not_opened, 1);
}

static int web_route(struct kvp_listener *listener, const char *method, const char *pattern,
                     void (*begin)(void *, struct kvp_http *, const struct kvp_http_request *),
                     void (*body)(void *, struct kvp_http *, struct kvp_bytes, int))
{
    const struct kvp_route_args a = {.size = sizeof(a),
                                     .body_bytes_max = 8 * 1024 * 1024,
                                     .listener = listener,
                                     .method = method,
                                     .pattern = pattern,
                                     .begin = begin,
                                     .body = body,
                                     .writable = web_writable,
                                     .closed = web_closed};
    return probe.host->http_route(probe.root, &a);
}

static void web_routes(struct kvp_listener *listener)
{
    assert_int_equal(web_route(listener, "GET", "/hello", web_hello, NULL), 0);
    assert_int_equal(web_route(listener, "POST", "/echo", web_echo, web_echo_body), 0);
    assert_int_equal(web_route(listener, "*", "/hold/*", web_hold, web_count_body), 0);
    assert_int_equal(web_route(listener, "POST", "/slow", web_slow, web_count_body), 0);
}

static void web_on_init(void)
{
    struct kvp_errmsg e = {""};
    struct kvp_listen_args a = {
        .size = sizeof(a), .address = "127.0.0.1", .opened = web_on_opened, .data = &web};
    web_routes(NULL);
    assert_int_equal(probe.host->http_listen(probe.root, &a, &web.listener, &web.own_port, &e), 0);
    assert_int_not_equal(web.own_port, 0);
    web_routes(web.listener);
}

/* ---- the servers -------------------------------------------------------------------------------
 */

static void web_health(struct http_request *req)
{
    http_respond(req, 200, NULL, NULL, slice_str("well"));
}

static int web_setup_on(void **state, bool no_threads)
{
    static const struct rpc_method methods[] = {{.service = NULL}};
    static const struct http_route routes[] = {
        {.path = "/health", .methods = {"GET"}, .handler = web_health}, {.path = NULL}};
    const struct rpc_server_options o = {.methods = methods, .routes = routes};
    struct errmsg e = {""};
    assert_int_equal(fixture_setup(state), 0);
    memset(&web, 0, sizeof(web));
    signal(SIGPIPE, SIG_IGN);
    hf.f = *state;
    hf.clients = rpc_server_new(&hf.f->loop, &o);
    assert_non_null(hf.clients);
    assert_int_equal(rpc_server_listen(hf.clients, "127.0.0.1", 0, &e), 0);
    web.port = rpc_server_port(hf.clients, 0);
    host_fixture_open(no_threads);
    return 0;
}

static void web_on_server_closed(void *data)
{
    *(bool *)data = true;
}

static int web_teardown(void **state)
{
    host_fixture_close();
    rpc_server_close(hf.clients, web_on_server_closed, &web.server_closed);
    run_until(hf.f, &web.server_closed);
    hf.clients = NULL;
    return fixture_teardown(state);
}

/* Loads the probe with its routes; both ports are open when it returns. */
static void web_load(void)
{
    probe.on_init = web_on_init;
    probe_load("");
    assert_int_equal(web.opened, 0); /* not before the member is ready */
    host_ready(hf.host);
    UNTIL(web.opened == 1);
}

/* ---- clients -----------------------------------------------------------------------------------
 */

struct peer {
    int fd;
    struct buf in;
    bool eof;
    size_t unsent_at;
};

static void peer_open(struct peer *p, uint16_t port)
{
    memset(p, 0, sizeof(*p));
    p->fd = test_connect(port);
}

static void peer_close(struct peer *p)
{
    close(p->fd);
    buf_close(&p->in);
}

/* Reads what there is; returns p->in.len. */
static size_t peer_read(struct peer *p)
{
    static uint8_t bytes[64 * 1024];
    ssize_t n;
    while ((n = recv(p->fd, bytes, sizeof(bytes), 0)) > 0) {
        buf_append(&p->in, bytes, (size_t)n);
    }
    p->eof = p->eof || n == 0 || (n < 0 && errno != EAGAIN);
    return p->in.len;
}

static void peer_say(struct peer *p, const char *text)
{
    size_t len = strlen(text);
    assert_int_equal(send(p->fd, text, len, MSG_NOSIGNAL), len);
}

/* Sends what the socket takes of a body made of one byte; returns how much of `len`. */
static size_t peer_send_some(struct peer *p, size_t len)
{
    static char bytes[64 * 1024];
    size_t sent = 0;
    memset(bytes, 'b', sizeof(bytes));
    while (sent < len) {
        size_t piece = len - sent < sizeof(bytes) ? len - sent : sizeof(bytes);
        ssize_t n = send(p->fd, bytes, piece, MSG_NOSIGNAL);
        if (n <= 0) {
            break;
        }
        sent += (size_t)n;
    }
    return sent;
}

static bool peer_heard(struct peer *p, const char *text)
{
    peer_read(p);
    return p->in.len > 0 && memmem(p->in.data, p->in.len, text, strlen(text)) != NULL;
}

static void peer_get(struct peer *p, const char *path)
{
    char head[256];
    snprintf(head, sizeof(head), "GET %s HTTP/1.1\r\nHost: here:1\r\nX-One: 1\r\n\r\n", path);
    peer_say(p, head);
}

static void peer_post(struct peer *p, const char *path, size_t length)
{
    char head[256];
    snprintf(head, sizeof(head), "POST %s HTTP/1.1\r\nHost: here\r\nContent-Length: %zu\r\n\r\n",
             path, length);
    peer_say(p, head);
}

/* ---- what a test says about web.x --------------------------------------------------------------
 */

struct say {
    enum { SAY_RESPOND, SAY_WRITE, SAY_FINISH, SAY_ABORT, SAY_PAUSE, SAY_RESUME, SAY_FILL } what;
    size_t len;
    const char *text;
    int reason;
    size_t taken;
};

static void say_inside(void *data)
{
    struct say *s = data;
    const struct kvp_host *h = probe.host;
    static char block[16 * 1024];
    struct kvp_http *x = web.x;
    if (x == NULL) {
        s->reason = -1;
        return;
    }
    switch (s->what) {
    case SAY_RESPOND:
        s->reason = h->http_respond(x, (uint32_t)s->len, NULL, 0);
        break;
    case SAY_WRITE:
        s->reason = h->http_write(x, kvp_str(s->text));
        break;
    case SAY_FINISH:
        s->reason = h->http_finish(x);
        break;
    case SAY_ABORT:
        h->http_abort(x);
        break;
    case SAY_PAUSE:
    case SAY_RESUME:
        h->http_pause(x, s->what == SAY_PAUSE);
        break;
    case SAY_FILL: /* until it is busy */
        memset(block, 'f', sizeof(block));
        while (s->taken < s->len &&
               (s->reason = h->http_write(x, kvp_bytes_of(block, sizeof(block)))) == 0) {
            s->taken += sizeof(block);
        }
        break;
    }
}

static int say(struct say s)
{
    inside(say_inside, &s);
    return s.reason;
}

/* Returns how many bytes were taken before http_write said BUSY (or `len` were). */
static size_t fill(size_t len)
{
    struct say s = {.what = SAY_FILL, .len = len};
    inside(say_inside, &s);
    return s.taken;
}

#endif
