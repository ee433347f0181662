/* front_fixture.h - a front end on loopback with a service made for tests, for the rpc unit tests.
 *
 * Service t.Echo:  Unary echoes its message. Keep keeps the call open in f->kept and remembers the
 * message's length. Bidi echoes every message and ends at half-close. Refuse ends in `open`. Stream
 * takes one message and keeps the call for a test that sends. Every callback is counted. */
#ifndef KVD_TESTS_UNIT_RPC_FRONT_FIXTURE_H
#define KVD_TESTS_UNIT_RPC_FRONT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <uv.h>

#include "base/err.h"
#include "base/log.h"
#include "rpc/server.h"
#include "tests/lib/h2_client.h"

#define FRONT_KEPT_MAX 20000
#define FRONT_WAIT_MS  20000

struct front {
    uv_loop_t loop;
    struct rpc_server *server;
    uint16_t port;
    struct rpc_call *kept[FRONT_KEPT_MAX]; /* NULL once closed */
    size_t kept_count;
    int opens, messages, half_closes, writables, closes, finishes;
    size_t message_bytes; /* of the last message */
    int last_code;        /* of on_finished */
    bool down;            /* shutdown completed */
    bool freed;           /* close completed */
    bool (*on_writable)(struct rpc_call *call);
    void (*on_message)(struct rpc_call *call, struct slice bytes);
    struct http_request *http_kept;
    int http_closed;
};

static inline struct front *front_of(struct rpc_call *call)
{
    return rpc_call_server_data(call);
}

static inline void front_open(struct rpc_call *call)
{
    front_of(call)->opens++;
}

static inline void front_closed(struct rpc_call *call)
{
    struct front *f = front_of(call);
    f->closes++;
    for (size_t i = 0; i < f->kept_count; i++) {
        if (f->kept[i] == call) {
            f->kept[i] = NULL;
        }
    }
}

static inline void front_half_close(struct rpc_call *call)
{
    front_of(call)->half_closes++;
}

static inline void front_echo(struct rpc_call *call, struct slice bytes)
{
    struct front *f = front_of(call);
    f->messages++;
    f->message_bytes = bytes.len;
    struct rpc_part part = {.bytes = bytes};
    rpc_call_send(call, &part, 1);
}

static inline void front_unary(struct rpc_call *call, struct slice bytes)
{
    front_echo(call, bytes);
    rpc_call_finish(call, GRPC_OK, NULL);
}

static inline void front_keep(struct rpc_call *call, struct slice bytes)
{
    struct front *f = front_of(call);
    f->messages++;
    f->message_bytes = bytes.len;
    f->kept[f->kept_count++] = call;
    if (f->on_message != NULL) {
        f->on_message(call, bytes);
    }
}

static inline void front_bidi_end(struct rpc_call *call)
{
    front_half_close(call);
    rpc_call_finish(call, GRPC_OK, NULL);
}

static inline void front_refuse(struct rpc_call *call)
{
    front_open(call);
    rpc_call_finish_err(call, ERR_NO_LEADER);
}

static inline void front_writable(struct rpc_call *call)
{
    struct front *f = front_of(call);
    f->writables++;
    if (f->on_writable != NULL) {
        f->on_writable(call);
    }
}

static inline void front_finished(void *data, const struct rpc_method *method, int code)
{
    struct front *f = data;
    (void)method;
    f->finishes++;
    f->last_code = code;
}

#define FRONT_METHOD(name, cs, ss, on_open, on_message, on_half)                               \
    {                                                                                          \
        .service = "t.Echo", .method = (name), .client_streams = (cs), .server_streams = (ss), \
        .open = (on_open), .message = (on_message), .half_close = (on_half),                   \
        .writable = front_writable, .closed = front_closed                                     \
    }

static const struct rpc_method front_methods[] = {
    FRONT_METHOD("Unary", false, false, front_open, front_unary, front_half_close),
    FRONT_METHOD("Keep", false, false, front_open, front_keep, NULL),
    FRONT_METHOD("Bidi", true, true, front_open, front_echo, front_bidi_end),
    FRONT_METHOD("Refuse", false, false, front_refuse, front_unary, front_half_close),
    FRONT_METHOD("Stream", false, true, front_open, front_keep, NULL),
    {.service = NULL},
};

static inline void front_http_ok(struct http_request *req)
{
    http_respond(req, 200, "text/plain", NULL, slice_str("fine\n"));
}

static inline void front_http_echo(struct http_request *req)
{
    struct slice body = http_body(req);
    http_respond(req, 200, "application/octet-stream", NULL, body);
}

static inline void front_http_gone(struct http_request *req)
{
    struct front *f = http_data(req);
    f->http_closed++;
    f->http_kept = NULL;
}

static inline void front_http_keep(struct http_request *req)
{
    struct front *f = http_server_data(req);
    f->http_kept = req;
    http_set_data(req, f);
    http_on_closed(req, front_http_gone);
}

static inline void front_http_big(struct http_request *req)
{
    static uint8_t big[3 * 1024 * 1024];
    memset(big, 'b', sizeof(big));
    http_respond(req, 200, "text/plain", NULL, slice_of(big, sizeof(big)));
}

static inline void front_http_query(struct http_request *req)
{
    struct buf out;
    buf_init(&out);
    size_t at = 0;
    char name[8];
    char value[8];
    while (http_query_next(req, &at, name, sizeof(name), value, sizeof(value))) {
        buf_printf(&out, "[%s=%s]", name, value);
    }
    http_respond(req, 200, "text/plain", NULL, buf_slice(&out));
    buf_close(&out);
}

static const struct http_route front_routes[] = {
    {.path = "/health", .methods = {"GET"}, .handler = front_http_ok},
    {.path = "/echo", .methods = {"POST", "PUT"}, .handler = front_http_echo},
    {.path = "/keep", .methods = {"GET"}, .handler = front_http_keep},
    {.path = "/big", .methods = {"GET"}, .handler = front_http_big},
    {.path = "/query", .methods = {"GET"}, .handler = front_http_query},
    {.path = "/tree/", .prefix = true, .methods = {"GET"}, .handler = front_http_ok},
    {.path = NULL},
};

/* o may be NULL; methods, routes, data and on_finished are filled in. */
static inline void front_start(struct front *f, const struct rpc_server_options *o)
{
    struct rpc_server_options options = {0};
    struct errmsg e = {{0}};
    if (o != NULL) {
        options = *o;
    }
    memset(f, 0, sizeof(*f));
    signal(SIGPIPE, SIG_IGN);
    log_set_level(LOG_FATAL);
    f->last_code = -1;
    options.methods = front_methods;
    options.routes = front_routes;
    options.data = f;
    options.on_finished = front_finished;
    assert_int_equal(uv_loop_init(&f->loop), 0);
    f->server = rpc_server_new(&f->loop, &options);
    assert_non_null(f->server);
    if (rpc_server_listen(f->server, "127.0.0.1", 0, &e) != 0) {
        fail_msg("%s", e.text);
    }
    f->port = rpc_server_port(f->server, 0);
}

static inline void front_down(void *data)
{
    ((struct front *)data)->down = true;
}

static inline void front_freed(void *data)
{
    ((struct front *)data)->freed = true;
}

/* Closes the server at once and checks that nothing is left in the loop. */
static inline void front_stop(struct front *f)
{
    rpc_server_close(f->server, front_freed, f);
    while (!f->freed) {
        uv_run(&f->loop, UV_RUN_ONCE);
    }
    assert_int_equal(uv_run(&f->loop, UV_RUN_NOWAIT), 0);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    assert_int_equal(f->closes, f->opens);
    assert_int_equal(f->finishes, f->opens);
}

/* Waits until a count reached a value, running client and server. */
static inline void front_wait_count(struct h2_client *c, const int *count, int wanted)
{
    uint64_t until = test_now_ms() + FRONT_WAIT_MS;
    while (*count < wanted && test_now_ms() < until) {
        h2_client_pump(c);
        test_turn(c->loop);
        h2_client_pump(c);
    }
    assert_int_equal(*count, wanted);
}

/* One call with one message, run to its end. */
static inline struct h2_reply *front_call(struct h2_client *c, const char *path,
                                          const struct h2_header *headers, struct slice message)
{
    struct buf body;
    buf_init(&body);
    grpc_frame(&body, message);
    struct h2_reply *r = h2_client_call(c, path, headers, buf_slice(&body), true);
    buf_close(&body);
    assert_true(h2_client_wait(c, &r->closed, FRONT_WAIT_MS));
    return r;
}

#endif
