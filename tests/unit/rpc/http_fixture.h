/* http_fixture.h - a server of plain HTTP whose exchanges the test itself drives, and two clients
 * of it: a raw HTTP/1.1 socket and an HTTP/2 connection. For test_http and test_secure.
 *
 * Routes: /stream takes any method with streams_body and keeps the exchange in web.req; /slow keeps
 * it with the whole body; /echo answers with the whole body. */
#ifndef KVD_TESTS_UNIT_RPC_HTTP_FIXTURE_H
#define KVD_TESTS_UNIT_RPC_HTTP_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/limits.h"
#include "base/log.h"
#include "rpc/server.h"
#include "rpc/server_impl.h"
#include "tests/lib/h2_client.h"

#define WEB_WAIT_MS 20000

static struct web {
    uv_loop_t loop;
    struct rpc_server *server;
    uint16_t port;
    bool freed;
    struct http_request *req; /* the newest one, NULL when it is gone */
    int calls, closes, writables, ends;
    struct buf got; /* of its body */
    bool pause_at_once;
    /* The raw client. */
    int fd;
    struct buf in;
    bool eof;
    /* The HTTP/2 client, when h2 is true. */
    struct h2_client client;
    bool h2;
    struct h2_reply *reply;
} web;

static inline void web_closed(struct http_request *req)
{
    assert_ptr_equal(web.req, req);
    web.req = NULL;
    web.closes++;
}

static inline void web_writable(struct http_request *req)
{
    assert_ptr_equal(web.req, req);
    assert_false(http_is_full(req));
    web.writables++;
}

static inline void web_body(struct http_request *req, struct slice bytes, bool end)
{
    assert_ptr_equal(web.req, req);
    assert_true(end == (bytes.len == 0));
    assert_int_equal(web.ends, 0);
    web.ends += end;
    buf_append_slice(&web.got, bytes);
    if (web.pause_at_once) {
        http_pause_body(req);
    }
}

static inline void web_keep(struct http_request *req)
{
    web.calls++;
    web.req = req;
    web.ends = 0;
    http_on_closed(req, web_closed);
    http_on_writable(req, web_writable);
}

static inline void web_echo(struct http_request *req)
{
    web.calls++;
    http_respond(req, 200, "text/plain", NULL, http_body(req));
}

static const struct http_route web_routes[] = {
    {.path = "/stream", .prefix = true, .streams_body = true, .handler = web_keep},
    {.path = "/slow", .handler = web_keep},
    {.path = "/echo", .methods = {"POST"}, .body_bytes_max = 1000000, .handler = web_echo},
    {.path = NULL},
};

static inline void web_start_with(struct rpc_server_options o, bool h2)
{
    struct errmsg e = {{0}};
    memset(&web, 0, sizeof(web));
    signal(SIGPIPE, SIG_IGN);
    log_set_level(LOG_FATAL);
    if (o.routes == NULL) {
        o.routes = web_routes;
    }
    assert_int_equal(uv_loop_init(&web.loop), 0);
    web.server = rpc_server_new(&web.loop, &o);
    assert_non_null(web.server);
    assert_int_equal(rpc_server_listen(web.server, "127.0.0.1", 0, &e), 0);
    web.port = rpc_server_port(web.server, 0);
    web.h2 = h2;
    web.fd = -1;
    if (h2) {
        h2_client_open(&web.client, &web.loop, web.port);
    } else {
        web.fd = test_connect(web.port);
    }
}

static inline void web_start(bool h2)
{
    web_start_with((struct rpc_server_options){.no_cors = true}, h2);
}

static inline void web_freed(void *data)
{
    (void)data;
    web.freed = true;
}

/* Checks that nothing is left, in the loop or in the accounts. */
static inline void web_stop(void)
{
    rpc_server_close(web.server, web_freed, NULL);
    while (!web.freed) {
        uv_run(&web.loop, UV_RUN_ONCE);
    }
    assert_int_equal(uv_loop_close(&web.loop), 0);
    assert_null(web.req);
    if (web.h2) {
        h2_client_close(&web.client);
    } else if (web.fd >= 0) {
        close(web.fd);
    }
    buf_close(&web.in);
    buf_close(&web.got);
}

static inline void web_pump(void)
{
    static uint8_t bytes[256 * 1024];
    test_turn(&web.loop);
    if (web.h2) {
        h2_client_pump(&web.client);
        return;
    }
    ssize_t n = recv(web.fd, bytes, sizeof(bytes), 0);
    if (n > 0) {
        buf_append(&web.in, bytes, (size_t)n);
    } else if (n == 0 || errno == ECONNRESET) {
        web.eof = true;
    }
}

/* Runs both sides until the condition holds. */
#define WEB_UNTIL(condition)                             \
    do {                                                 \
        uint64_t until_ = test_now_ms() + WEB_WAIT_MS;   \
        while (!(condition) && test_now_ms() < until_) { \
            web_pump();                                  \
        }                                                \
        assert_true(condition);                          \
    } while (0)

/* Runs the server alone until nothing moves: what can happen without the client has happened. */
static inline void web_settle(void)
{
    for (int i = 0; i < 20; i++) {
        test_turn(&web.loop);
    }
}

static inline void web_say_bytes(const void *bytes, size_t len)
{
    const char *p = bytes;
    while (len > 0) {
        ssize_t n = send(web.fd, p, len, MSG_NOSIGNAL);
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        } else if (errno != EAGAIN) {
            return;
        }
        web_pump();
    }
}

static inline void web_say(const char *text)
{
    web_say_bytes(text, strlen(text));
}

/* Has the raw client received this text? */
static inline bool web_heard(const char *text)
{
    return web.in.len > 0 && memmem(web.in.data, web.in.len, text, strlen(text)) != NULL;
}

/* A request by whichever client there is. `body` NULL: none; else its end is left open unless
 * `end`. */
static inline void web_ask(const char *method, const char *path, const char *body, bool end)
{
    if (web.h2) {
        const struct h2_header headers[] = {{":method", method},
                                            {"content-type", NULL},
                                            {"te", NULL},
                                            {"x-one", "1"},
                                            {NULL, NULL}};
        web.reply =
            h2_client_call(&web.client, path, headers,
                           body != NULL ? slice_str(body) : slice_of(NULL, 0), body == NULL || end);
        return;
    }
    char head[512];
    snprintf(head, sizeof(head), "%s %s HTTP/1.1\r\nHost: localhost\r\nX-One: 1\r\n%s\r\n", method,
             path, body != NULL ? "Transfer-Encoding: chunked\r\n" : "");
    web_say(head);
    if (body != NULL && body[0] != '\0') {
        snprintf(head, sizeof(head), "%zx\r\n%s\r\n%s", strlen(body), body, end ? "0\r\n\r\n" : "");
        web_say(head);
    }
}

/* More of an open body. */
static inline void web_send(const void *bytes, size_t len, bool end)
{
    if (web.h2) {
        h2_client_send(&web.client, web.reply, slice_of(bytes, len), end);
        h2_client_pump(&web.client);
        return;
    }
    char size[32];
    if (len > 0) {
        snprintf(size, sizeof(size), "%zx\r\n", len);
        web_say(size);
        web_say_bytes(bytes, len);
        web_say("\r\n");
    }
    if (end) {
        web_say("0\r\n\r\n");
    }
}

/* Status of the answer to the last request, 0 = none yet. */
static inline int web_status(void)
{
    int status = 0;
    if (web.h2) {
        return web.reply->headers.len > 0 ? (int)strtol(web.reply->http_status, NULL, 10) : 0;
    }
    if (web.in.len > 12) {
        status = (int)strtol((const char *)web.in.data + 9, NULL, 10);
    }
    return status;
}

static inline bool web_has_header(const char *h1_line, const char *h2_line)
{
    const struct buf *from = web.h2 ? &web.reply->headers : &web.in;
    const char *line = web.h2 ? h2_line : h1_line;
    return from->len > 0 && memmem(from->data, from->len, line, strlen(line)) != NULL;
}

/* Waits for the end of the answer; the body is in web.got then, decoded. */
static inline void web_hear_all(void)
{
    buf_clear(&web.got);
    if (web.h2) {
        WEB_UNTIL(web.reply->ended || web.reply->closed);
        buf_append_slice(&web.got, buf_slice(&web.reply->data));
        return;
    }
    WEB_UNTIL(web_heard("\r\n\r\n"));
    uint8_t *end = memmem(web.in.data, web.in.len, "\r\n\r\n", 4);
    size_t head = (size_t)(end - web.in.data) + 4;
    const char *length = memmem(web.in.data, head, "Content-Length: ", 16);
    if (length != NULL) {
        size_t n = strtoul(length + 16, NULL, 10);
        WEB_UNTIL(web.in.len >= head + n);
        buf_append(&web.got, web.in.data + head, n);
        buf_consume(&web.in, head + n);
        return;
    }
    size_t at = head;
    for (;;) {
        WEB_UNTIL(memmem(web.in.data + at, web.in.len - at, "\r\n", 2) != NULL);
        size_t n = strtoul((const char *)web.in.data + at, NULL, 16);
        at = (size_t)((uint8_t *)memmem(web.in.data + at, web.in.len - at, "\r\n", 2) -
                      web.in.data) +
             2;
        WEB_UNTIL(web.in.len >= at + n + 2);
        buf_append(&web.got, web.in.data + at, n);
        assert_memory_equal(web.in.data + at + n, "\r\n", 2);
        at += n + 2;
        if (n == 0) {
            buf_consume(&web.in, at);
            return;
        }
    }
}

static inline void assert_body(const char *text)
{
    assert_int_equal(web.got.len, strlen(text));
    if (web.got.len > 0) {
        assert_memory_equal(web.got.data, text, web.got.len);
    }
}

/* Runs one test body on both protocols. */
#define WEB_BOTH(name)                        \
    static void name##_on_http1(void **state) \
    {                                         \
        (void)state;                          \
        web_start(false);                     \
        name();                               \
        web_stop();                           \
    }                                         \
    static void name##_on_http2(void **state) \
    {                                         \
        (void)state;                          \
        web_start(true);                      \
        name();                               \
        web_stop();                           \
    }

#endif
