/* fuzz_front.h - what fuzz_h2 and fuzz_h1 share: a front end without sockets, an echo service that
 * does all a service may do, and the feeding of input in pieces that the input itself chooses.
 *
 * Checked at the end of each input: every opened call was told closed exactly once, the accounts of
 * memory are back at zero, nothing leaked. */
#ifndef KVD_TESTS_FUZZ_FUZZ_FRONT_H
#define KVD_TESTS_FUZZ_FUZZ_FRONT_H

#include <string.h>

#include <uv.h>

#include "base/err.h"
#include "base/log.h"
#include "rpc/server.h"
#include "tests/fuzz/mem_conn.h"

#define FUZZ_KEPT_MAX 64

static struct {
    uv_loop_t loop;
    bool ready;
    unsigned opens, closes, finishes, produced, done;
    struct rpc_call *kept[FUZZ_KEPT_MAX];
    struct http_request *http_kept;
    struct http_request *stream; /* the exchange a streaming handler has */
    unsigned streams, stream_ends;
} fuzz;

static void fuzz_open(struct rpc_call *call)
{
    (void)call;
    fuzz.opens++;
}

static void fuzz_closed(struct rpc_call *call)
{
    fuzz.closes++;
    for (size_t i = 0; i < FUZZ_KEPT_MAX; i++) {
        if (fuzz.kept[i] == call) {
            fuzz.kept[i] = NULL;
        }
    }
}

static bool fuzz_produce(void *data, struct buf *out, size_t room)
{
    (void)data;
    static const uint8_t bytes[1024];
    return buf_append(out, bytes, room < 1000 ? room : 1000);
}

static void fuzz_done(void *data)
{
    (void)data;
    fuzz.done++;
}

/* The first byte of a message says what to do with the call. */
static void fuzz_act(struct rpc_call *call, struct slice bytes)
{
    struct rpc_part part = {.bytes = bytes};
    switch (bytes.len > 0 ? bytes.data[0] % 8 : 0) {
    case 1:
        rpc_call_finish(call, bytes.data[0] / 8, "a t\xffxt %");
        break;
    case 2:
        rpc_call_reset(call, bytes.data[0] / 8);
        break;
    case 3:
        fuzz.produced++;
        rpc_call_send_produced(call, 3000, fuzz_produce, fuzz_done, NULL);
        rpc_call_finish(call, 0, NULL);
        break;
    case 4:
        rpc_call_send_headers(call);
        fuzz.kept[bytes.len % FUZZ_KEPT_MAX] = call;
        break;
    case 5: {
        struct blob *b = blob_new(70000);
        FATAL_IF(b == NULL, "out of memory");
        memset(b->data, 5, b->len);
        part = (struct rpc_part){.bytes = blob_slice(b), .blob = b};
        rpc_call_send(call, &part, 1);
        blob_unref(b);
        break;
    }
    case 6:
        for (size_t i = 0; i < FUZZ_KEPT_MAX; i++) {
            if (fuzz.kept[i] != NULL && fuzz.kept[i] != call) {
                rpc_call_send(fuzz.kept[i], &part, 1);
                rpc_call_finish_err(fuzz.kept[i], ERR_NO_LEADER);
            }
        }
        rpc_call_finish(call, 0, NULL);
        break;
    default:
        rpc_call_send(call, &part, 1);
        rpc_call_finish(call, 0, NULL);
        break;
    }
}

static void fuzz_echo(struct rpc_call *call, struct slice bytes)
{
    struct rpc_part part = {.bytes = bytes};
    rpc_call_send(call, &part, 1);
}

static void fuzz_half_close(struct rpc_call *call)
{
    rpc_call_finish(call, 0, NULL);
}

static void fuzz_refuse(struct rpc_call *call)
{
    fuzz.opens++;
    rpc_call_finish_err(call, ERR_NO_LEADER);
}

static void fuzz_writable(struct rpc_call *call)
{
    FATAL_IF(rpc_call_above_high_water(call), "writable above high water");
}

static void fuzz_finished(void *data, const struct rpc_method *method, int code)
{
    (void)data;
    (void)method;
    (void)code;
    fuzz.finishes++;
}

static const struct rpc_method fuzz_methods[] = {
    {"e", "U", false, false, fuzz_open, fuzz_act, NULL, fuzz_writable, fuzz_closed},
    {"e", "B", true, true, fuzz_open, fuzz_echo, fuzz_half_close, fuzz_writable, fuzz_closed},
    {"e", "R", false, false, fuzz_refuse, fuzz_act, NULL, NULL, fuzz_closed},
    {.service = NULL},
};

static void fuzz_http_echo(struct http_request *req)
{
    char name[16];
    char value[16];
    size_t at = 0;
    while (http_query_next(req, &at, name, sizeof(name), value, sizeof(value))) {
        FATAL_IF(strnlen(name, 16) == 16 || strnlen(value, 16) == 16, "not terminated");
    }
    const struct http_header_field headers[] = {{"X-Echo", "1"}, {NULL, NULL}};
    http_respond(req, 200, "text/plain", headers, http_body(req));
}

static void fuzz_http_gone(struct http_request *req)
{
    FATAL_IF(fuzz.http_kept != req, "closed for a request that was answered");
    fuzz.http_kept = NULL;
}

static void fuzz_http_keep(struct http_request *req)
{
    fuzz.http_kept = req;
    http_on_closed(req, fuzz_http_gone);
}

/* A streaming handler whose acts are chosen by the bytes of the body. */
static void fuzz_stream_over(void)
{
    fuzz.stream = NULL;
    fuzz.stream_ends++;
}

static void fuzz_stream_closed(struct http_request *req)
{
    FATAL_IF(fuzz.stream != req, "closed for an exchange that has ended");
    fuzz_stream_over();
}

static void fuzz_stream_write(struct http_request *req, size_t len)
{
    static const uint8_t bytes[100000];
    enum http_write_result r = http_write(req, slice_of(bytes, len));
    FATAL_IF(r == HTTP_WRITTEN && len > sizeof(bytes), "more was taken than there is");
}

static void fuzz_stream_writable(struct http_request *req)
{
    FATAL_IF(fuzz.stream != req || http_is_full(req), "writable without room");
    fuzz_stream_write(req, 1000);
}

static void fuzz_stream_act(struct http_request *req, uint8_t what)
{
    static const struct http_header_field headers[] = {{"X-A", "b"}, {NULL, NULL}};
    switch (what % 8) {
    case 1:
        http_begin(req, 200, "text/plain", headers, HTTP_BYTES_UNKNOWN);
        break;
    case 2:
        http_begin(req, 200, NULL, NULL, what);
        break;
    case 3:
        fuzz_stream_write(req, (size_t)what * 300);
        break;
    case 4:
        http_pause_body(req);
        break;
    case 5:
        fuzz_stream_over();
        http_finish(req);
        break;
    case 6:
        fuzz_stream_over();
        http_abort(req);
        break;
    case 7:
        fuzz_stream_over();
        http_respond(req, 201, NULL, headers, slice_str("body"));
        break;
    default:
        break;
    }
}

static void fuzz_stream_body(struct http_request *req, struct slice bytes, bool end)
{
    FATAL_IF(fuzz.stream != req || (end && bytes.len > 0), "a body for nobody");
    for (size_t i = 0; i < bytes.len && i < 8 && fuzz.stream == req; i++) {
        fuzz_stream_act(req, bytes.data[i]);
    }
}

/* One at a time: a second one is refused. */
static void fuzz_stream(struct http_request *req)
{
    if (fuzz.stream != NULL) {
        http_respond(req, 429, NULL, NULL, slice_of(NULL, 0));
        return;
    }
    fuzz.stream = req;
    fuzz.streams++;
    http_on_closed(req, fuzz_stream_closed);
    http_on_writable(req, fuzz_stream_writable);
    struct slice query = http_query(req);
    http_read_body(req, query.len > 0 ? query.data[0] * 100u : 100000, fuzz_stream_body);
    for (size_t i = 1; i < query.len && fuzz.stream == req; i++) {
        fuzz_stream_act(req, query.data[i]);
    }
}

static const struct http_route fuzz_routes[] = {
    {.path = "/s", .prefix = true, .streams_body = true, .handler = fuzz_stream},
    {.path = "/e", .methods = {"GET", "POST"}, .handler = fuzz_http_echo},
    {.path = "/k", .methods = {"GET"}, .handler = fuzz_http_keep},
    {.path = "/p/", .prefix = true, .methods = {"GET"}, .handler = fuzz_http_echo},
    {.path = NULL},
};

static void fuzz_server_gone(void *data)
{
    *(bool *)data = true;
}

/* Feeds `before`, then the input cut into pieces: each is as long as the byte of `data` before it
 * says (0 = let a pending write complete, 255 = the kept HTTP request is answered, 253 = a paused
 * body goes on). */
static void fuzz_front(const char *before, size_t before_len, const uint8_t *data, size_t size)
{
    static const char *const hosts[] = {"*", NULL};
    static const char *const origins[] = {"http://a", NULL};
    const struct rpc_server_options o = {
        .methods = fuzz_methods,
        .routes = fuzz_routes,
        .on_finished = fuzz_finished,
        .message_bytes_max = 100000,
        .input_bytes_max = 300000,
        .host_whitelist = hosts,
        .cors = origins,
        .h2c_http = true,
    };
    if (!fuzz.ready) {
        FATAL_IF(uv_loop_init(&fuzz.loop) != 0, "no loop");
        log_set_level(LOG_FATAL);
        fuzz.ready = true;
    }
    struct rpc_server *s = rpc_server_new(&fuzz.loop, &o);
    FATAL_IF(s == NULL, "no server");
    struct mem_conn m = {0};
    FATAL_IF(!mem_conn_open(&m, s), "no connection");
    if (size > 0) {
        m.room = data[0] < 128 ? SIZE_MAX : (size_t)(data[0] - 127) * 16;
        data++;
        size--;
    }
    mem_conn_input(&m, (const uint8_t *)before, before_len);
    while (size > 0 && !m.freed) {
        size_t piece = data[0];
        data++;
        size--;
        if (piece == 0) {
            mem_conn_settle(&m);
            continue;
        }
        if (piece == 255 && fuzz.http_kept != NULL) {
            struct http_request *req = fuzz.http_kept;
            fuzz.http_kept = NULL;
            http_respond(req, 200, NULL, NULL, slice_str("kept"));
            server_flush(s);
        }
        if (piece == 253 && fuzz.stream != NULL) {
            http_resume_body(fuzz.stream);
            server_flush(s);
        }
        piece = piece >= 254 ? piece * 64 : piece;
        piece = piece < size ? piece : size;
        mem_conn_input(&m, data, piece);
        data += piece;
        size -= piece;
    }
    mem_conn_settle(&m);
    if (!m.freed) {
        conn_eof(&m.conn);
    }
    mem_conn_shut(&m);
    FATAL_IF(fuzz.closes != fuzz.opens || fuzz.finishes != fuzz.opens,
             "a call was not closed once");
    FATAL_IF(fuzz.done != fuzz.produced, "a producer was not done once");
    FATAL_IF(s->input_bytes != 0 || s->output_bytes != 0 || s->granted_bytes != 0 ||
                 s->call_count != 0 || s->conn_count != 0,
             "an account is not settled");
    FATAL_IF(fuzz.stream != NULL || fuzz.streams != fuzz.stream_ends,
             "an exchange did not end once");
    FATAL_IF(fuzz.http_kept != NULL, "an HTTP request was not told closed");
    bool gone = false;
    rpc_server_close(s, fuzz_server_gone, &gone);
    while (!gone) {
        uv_run(&fuzz.loop, UV_RUN_ONCE);
    }
}

#endif
