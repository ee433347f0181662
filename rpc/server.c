/* server.c - what the connections of one loop share: options, buffers, the flush, the end.
 *
 * Writing: whatever has something to say marks its connection dirty. Once before and once after
 * each poll (timers run before it, sockets after it) server_flush lets every dirty connection write
 * once. Work left over (a fairness budget, `writable` callbacks that made more) starts the idle
 * handle, which keeps poll from blocking.
 *
 * The end: rpc_server_shutdown asks politely and waits for connections to go; rpc_server_close
 * tears everything down and frees when the last handle's close callback ran. */
#include "rpc/server.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/limits.h"
#include "base/log.h"
#include "rpc/conn.h"
#include "rpc/grpc.h"
#include "rpc/h2.h"
#include "rpc/h2_exchange.h"
#include "rpc/http_impl.h"
#include "rpc/intake.h"
#include "rpc/server_impl.h"

/* ---- the flush ------------------------------------------------------------------------------- */

static void server_idle(uv_idle_t *idle)
{
    (void)idle; /* its being active is its purpose */
}

static void server_flush_round(struct rpc_server *s)
{
    struct list due;
    list_init(&due);
    list_splice_back(&due, &s->dirty);
    struct list *it;
    while ((it = list_pop_front(&due)) != NULL) {
        conn_flush(LIST_ENTRY(it, struct conn, dirty));
    }
    /* After the writes, so that answers made here are seen by the next round. */
    list_splice_back(&due, &s->writable);
    while ((it = list_pop_front(&due)) != NULL) {
        grpc_writable(LIST_ENTRY(it, struct rpc_call, writable));
    }
    list_splice_back(&due, &s->http_due);
    while ((it = list_pop_front(&due)) != NULL) {
        http_run_due(LIST_ENTRY(it, struct http_request, due));
    }
}

void server_flush(struct rpc_server *s)
{
    for (unsigned i = 0; i < RPC_FLUSH_ROUNDS_MAX && !list_empty(&s->dirty); i++) {
        server_flush_round(s);
    }
}

static void server_turn(struct rpc_server *s)
{
    server_flush(s);
    bool work = !list_empty(&s->dirty);
    if (work != (uv_is_active((uv_handle_t *)&s->idle) != 0)) {
        if (work) {
            uv_idle_start(&s->idle, server_idle);
        } else {
            uv_idle_stop(&s->idle);
        }
    }
}

static void server_check(uv_check_t *check)
{
    server_turn(check->data);
}

static void server_prepare(uv_prepare_t *prepare)
{
    server_turn(prepare->data);
}

/* ---- shared accounts ------------------------------------------------------------------------- */

bool server_charge_input(struct rpc_server *s, size_t n)
{
    if (n > s->options.input_bytes_max - s->input_bytes) {
        return false;
    }
    s->input_bytes += n;
    return true;
}

void server_release_input(struct rpc_server *s, size_t n)
{
    ASSERT(n <= s->input_bytes);
    s->input_bytes -= n;
}

bool server_refusal_due(struct rpc_server *s)
{
    uint64_t now = server_now_ms(s);
    if (s->refusal_logged_ms != 0 &&
        now - s->refusal_logged_ms < 1000 / RPC_REFUSALS_LOGGED_PER_SECOND) {
        s->refusals_unlogged++;
        return false;
    }
    s->refusal_logged_ms = now;
    return true;
}

void server_log_refusal(struct rpc_server *s, const char *peer, const char *why)
{
    if (server_refusal_due(s)) {
        LOG(LOG_WARN, "rejected connection on client endpoint", F_STR("remote-addr", peer),
            F_STR("error", why), F_UINT("not-logged-before", s->refusals_unlogged));
        s->refusals_unlogged = 0;
    }
}

/* ---- start ----------------------------------------------------------------------------------- */

static void server_stall_timer(struct rpc_timer *t)
{
    intake_stall_timer(LIST_ENTRY(t, struct rpc_server, stall_timer));
}

static void server_untaken_timer(struct rpc_timer *t)
{
    struct rpc_server *s = LIST_ENTRY(t, struct rpc_server, untaken_timer);
    h2_exchange_sweep(s, server_now_ms(s));
}

static void server_grace_over(struct rpc_timer *t);

static void server_default_u64(uint64_t *value, uint64_t otherwise)
{
    if (*value == 0) {
        *value = otherwise;
    }
}

static void server_set_options(struct rpc_server *s, const struct rpc_server_options *options)
{
    s->options = *options;
    struct rpc_server_options *o = &s->options;
    if (o->message_bytes_max == 0) {
        o->message_bytes_max = REQUEST_BYTES_MAX_DEFAULT + REQUEST_OVERHEAD_BYTES;
    }
    if (o->concurrent_streams_max == 0) {
        o->concurrent_streams_max = UINT32_MAX;
    }
    if (o->connections_max == 0) {
        o->connections_max = 16384;
    }
    if (o->input_bytes_max == 0) {
        o->input_bytes_max = 256u * 1024u * 1024u;
    }
    if (o->header_bytes_max == 0) {
        o->header_bytes_max = 16u * 1024u;
    }
    server_default_u64(&o->keepalive_min_ms, 5000);
    server_default_u64(&o->keepalive_interval_ms, 7200000);
    server_default_u64(&o->keepalive_timeout_ms, 20000);
    server_default_u64(&o->handshake_timeout_ms, 10000);
    server_default_u64(&o->body_idle_ms, RPC_HTTP_BODY_IDLE_MS);
    server_default_u64(&o->answer_idle_ms, RPC_HTTP_ANSWER_IDLE_MS);
}

/* The loop's handles keep nothing alive: listeners and connections do. */
static bool server_init_handles(struct rpc_server *s)
{
    if (timers_init(&s->timers, s->loop) != 0) {
        return false;
    }
    /* These three cannot fail (libuv documents only 0). */
    uv_check_init(s->loop, &s->check);
    uv_prepare_init(s->loop, &s->prepare);
    uv_idle_init(s->loop, &s->idle);
    s->check.data = s->prepare.data = s->idle.data = s;
    s->timers.handle.data = &s->timers;
    s->open_handles = 4;
    uv_check_start(&s->check, server_check);
    uv_prepare_start(&s->prepare, server_prepare);
    uv_unref((uv_handle_t *)&s->check);
    uv_unref((uv_handle_t *)&s->prepare);
    return true;
}

static void server_free(struct rpc_server *s)
{
    timers_free(&s->timers);
    h2_server_close(s);
    http_router_close(&s->router);
    method_table_close(&s->methods);
    pool_close(&s->pool);
    mem_free(s->read_buffer);
    mem_free(s->write_buffer);
    mem_free(s->plain_buffer);
    buf_close(&s->records);
    mem_free(s);
}

static bool server_add_routes(struct rpc_server *s)
{
    struct errmsg e;
    for (const struct http_route *r = s->options.routes; r != NULL && r->path != NULL; r++) {
        int err = http_router_add(&s->router, r, NULL, &e);
        FATAL_IF(err == ERR_INVALID, e.text); /* a table of the program's own */
        if (err != 0) {
            return false;
        }
    }
    return true;
}

struct http_router *rpc_server_router(struct rpc_server *s)
{
    return &s->router;
}

struct rpc_server *rpc_server_new(uv_loop_t *loop, const struct rpc_server_options *options)
{
    struct rpc_server *s = mem_zalloc(sizeof(*s));
    if (s == NULL) {
        return NULL;
    }
    s->loop = loop;
    server_set_options(s, options);
    pool_init(&s->pool);
    list_init(&s->conns);
    list_init(&s->dirty);
    list_init(&s->writable);
    list_init(&s->http_due);
    list_init(&s->untaken);
    http_router_init(&s->router);
    list_init(&s->partials);
    list_init(&s->waiting);
    heap_init(&s->timers.heap);
    s->stall_timer.fire = server_stall_timer;
    s->untaken_timer.fire = server_untaken_timer;
    s->grace_timer.fire = server_grace_over;
    s->read_buffer = mem_alloc(RPC_READ_BUFFER_BYTES);
    s->write_buffer = mem_alloc(RPC_WRITE_BUFFER_BYTES);
    if (s->read_buffer == NULL || s->write_buffer == NULL ||
        !method_table_init(&s->methods, s->options.methods) || !server_add_routes(s) ||
        !h2_server_init(s) || !server_init_handles(s)) {
        server_free(s);
        return NULL;
    }
    return s;
}

void rpc_server_stats(const struct rpc_server *s, struct rpc_server_stats *out)
{
    *out = (struct rpc_server_stats){
        .connections = s->conn_count,
        .calls = s->call_count,
        .input_bytes = s->input_bytes,
        .output_bytes = s->output_bytes,
        .received_bytes = s->received_bytes,
        .sent_bytes = s->sent_bytes,
    };
}

/* ---- end ------------------------------------------------------------------------------------- */

/* Calls f for every connection there is now; f may destroy its own. */
static void server_each_conn(struct rpc_server *s, void (*f)(struct conn *c))
{
    /* Connections stay in the list until their memory is freed, which no f does at once with a uv
     * stream; next is taken first for carriers in memory. */
    struct list *next;
    for (struct list *it = s->conns.next; it != &s->conns; it = next) {
        next = it->next;
        f(LIST_ENTRY(it, struct conn, all));
    }
}

static void server_grace_over(struct rpc_timer *t)
{
    struct rpc_server *s = LIST_ENTRY(t, struct rpc_server, grace_timer);
    server_each_conn(s, conn_destroy);
    server_settle(s);
}

void rpc_server_shutdown(struct rpc_server *s, uint64_t grace_ms, void (*cb)(void *data),
                         void *data)
{
    ASSERT(!s->stopping && !s->closing);
    s->stopping = true;
    s->shutdown_cb = cb;
    s->shutdown_data = data;
    listener_close_all(s);
    server_each_conn(s, conn_shutdown);
    if (!timers_set(&s->timers, &s->grace_timer, server_now_ms(s) + grace_ms)) {
        server_each_conn(s, conn_destroy);
    }
    if (s->conn_count == 0) {
        /* Nobody will settle it; the callback must not run inside this call. */
        timers_set(&s->timers, &s->grace_timer, server_now_ms(s));
    }
}

static void server_handle_closed(uv_handle_t *handle)
{
    struct rpc_server *s = handle->data;
    s->open_handles--;
    server_settle(s);
}

static void server_timers_closed(uv_handle_t *handle)
{
    struct timers *ts = handle->data;
    struct rpc_server *s = LIST_ENTRY(ts, struct rpc_server, timers);
    s->open_handles--;
    server_settle(s);
}

void rpc_server_close(struct rpc_server *s, void (*cb)(void *data), void *data)
{
    ASSERT(!s->closing);
    s->closing = true;
    s->close_cb = cb;
    s->close_data = data;
    listener_close_all(s);
    server_each_conn(s, conn_destroy);
    uv_close((uv_handle_t *)&s->check, server_handle_closed);
    uv_close((uv_handle_t *)&s->prepare, server_handle_closed);
    uv_close((uv_handle_t *)&s->idle, server_handle_closed);
    timers_close(&s->timers, server_timers_closed);
}

void server_settle(struct rpc_server *s)
{
    if (s->conn_count > 0) {
        return;
    }
    if (s->stopping && s->shutdown_cb != NULL) {
        void (*cb)(void *data) = s->shutdown_cb;
        s->shutdown_cb = NULL;
        timers_cancel(&s->timers, &s->grace_timer);
        cb(s->shutdown_data); /* may close s, which frees nothing before this returns */
    }
    if (s->closing && s->open_handles == 0) {
        void (*cb)(void *data) = s->close_cb;
        void *data = s->close_data;
        server_free(s);
        if (cb != NULL) {
            cb(data);
        }
    }
}
