/* server_impl.h - the inside of struct rpc_server: what connections, calls and listeners of one
 * loop share. Private to rpc/. Everything here belongs to the loop thread. */
#ifndef KVD_RPC_SERVER_IMPL_H
#define KVD_RPC_SERVER_IMPL_H

#include <nghttp2/nghttp2.h>
#include <uv.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/slice.h"
#include "rpc/method.h"
#include "rpc/pool.h"
#include "rpc/server.h"
#include "rpc/timer.h"

struct conn;
struct listener;

struct rpc_server {
    uv_loop_t *loop;
    struct rpc_server_options options; /* defaults filled in */
    struct method_table methods;
    struct http_router router;
    struct pool pool;
    struct timers timers;
    /* Callbacks, options and allocator given to every HTTP/2 session. */
    nghttp2_session_callbacks *h2_callbacks;
    nghttp2_option *h2_options;
    nghttp2_mem h2_mem;
    uint8_t *read_buffer;  /* RPC_READ_BUFFER_BYTES, lent to one read at a time */
    uint8_t *write_buffer; /* RPC_WRITE_BUFFER_BYTES, filled and written by one flush at a time */
    uint8_t *plain_buffer; /* RPC_READ_BUFFER_BYTES: what TLS decrypts to; NULL without TLS */
    struct buf records;    /* memory of TLS output while no connection uses it */

    struct list conns;    /* every connection until its memory is freed */
    struct list dirty;    /* connections with something to write or to finish */
    struct list writable; /* calls whose queue fell to low water: `writable` is due */
    struct list http_due; /* HTTP exchanges with due callbacks */
    struct list untaken;  /* h2_exchange.untaken: with bytes of their answers queued; those of
                             which nothing was taken for longest first */
    struct rpc_timer untaken_timer;
    size_t conn_count;
    size_t call_count; /* HTTP/2 exchanges included */

    /* Half-received messages and bodies, and their memory: least recently fed first. */
    size_t input_bytes;
    struct list partials;
    /* Large messages that were let in, those that wait for it, and the promised bytes. */
    size_t granted_bytes;
    struct list waiting;
    struct rpc_timer stall_timer;
    /* Queued answers of all connections. */
    uint64_t output_bytes;

    uint64_t received_bytes; /* see rpc_server_stats */
    uint64_t sent_bytes;

    struct listener *listeners[RPC_LISTENERS_MAX];
    size_t listener_count;

    uv_check_t check;
    uv_prepare_t prepare;
    uv_idle_t idle; /* runs while a flush left work, so that poll does not block */
    size_t open_handles;

    bool stopping; /* shutdown began */
    bool closing;  /* rpc_server_close was called */
    struct rpc_timer grace_timer;
    void (*shutdown_cb)(void *data);
    void *shutdown_data;
    void (*close_cb)(void *data);
    void *close_data;

    uint64_t refusal_logged_ms; /* when a refused connection was last logged */
    uint64_t refusals_unlogged;
};

static inline uint64_t server_now_ms(const struct rpc_server *s)
{
    return uv_now(s->loop);
}

/* Writes what all dirty connections have to say and runs due `writable` callbacks. Once before and
 * once after poll, and by tests and fuzzers that have no loop running. */
void server_flush(struct rpc_server *s);
/* A connection or handle is gone: completes a shutdown or close that waited for it. */
void server_settle(struct rpc_server *s);
/* The memory of half-received input: false when the total would be passed. n may not be released
 * twice. */
bool server_charge_input(struct rpc_server *s, size_t n);
void server_release_input(struct rpc_server *s, size_t n);
/* May a line about something refused be logged now? A flood of refusals must not become one of
 * lines.
 */
bool server_refusal_due(struct rpc_server *s);
/* One line per second at most about connections turned away: why is one sentence, peer an address.
 */
void server_log_refusal(struct rpc_server *s, const char *peer, const char *why);

/* Does HTTP/2 carry plain HTTP on such a connection? */
static inline bool server_http_on_h2(const struct rpc_server *s, bool secure)
{
    return secure || s->options.h2c_http || s->methods.count == 0;
}

/* listener.c */
void listener_close_all(struct rpc_server *s);

#endif
