/* server.h - listeners and connections of one libuv loop.
 *
 * First bytes decide: 0x16 = TLS (where the listener has it), a prefix of the HTTP/2 preface =
 * HTTP/2, anything else = HTTP/1.1; bytes may arrive one at a time. Several servers may run on one
 * loop, each with its own listeners, routes, limits and end. Output of a loop turn leaves in
 * one write per connection. All functions are called on the loop thread, and not from a callback of
 * a call or request. */
#ifndef KVD_RPC_SERVER_H
#define KVD_RPC_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "base/err.h"
#include "rpc/call.h"
#include "rpc/http.h"
#include "rpc/router.h"

struct rpc_server;
struct tls_context;

/* Zero-initialise, then set; 0 means the default in brackets. */
struct rpc_server_options {
    const struct rpc_method *methods; /* ends with a NULL service */
    const struct http_route *routes;  /* ends with a NULL path; more by rpc_server_router */
    void *data;                       /* rpc_call_server_data, http_server_data */
    /* HTTP/2 without TLS carries plain HTTP too; else gRPC only, as etcd's plaintext port (W-02).
     * Over TLS, and on a server without methods, it always does. */
    bool h2c_http;
    bool no_cors;                    /* no CORS headers; OPTIONS is a method like others */
    size_t message_bytes_max;        /* largest received message [2 MiB] (W-07) */
    uint32_t concurrent_streams_max; /* per connection, SETTINGS [4294967295] (W-08) */
    uint32_t connections_max;        /* beyond: accept and close at once, logged [16384] */
    size_t input_bytes_max;          /* all connections' partial messages together [256 MiB] */
    size_t header_bytes_max;         /* per request, HPACK-decoded [16 KiB] */
    uint64_t keepalive_min_ms;       /* pings closer than this are strikes [5000] (W-09) */
    uint64_t keepalive_interval_ms;  /* idle: server ping after [7200000] */
    uint64_t keepalive_timeout_ms;   /* unanswered ping: close after [20000] */
    uint64_t handshake_timeout_ms;   /* no TLS and preface or HTTP/1 head within [10000] */
    uint64_t body_idle_ms;           /* streamed request body without progress [30000] */
    uint64_t answer_idle_ms;         /* plain HTTP answer of which nothing is taken [60000] */
    /* NULL-terminated lists for plain HTTP; NULL or a list with "*" allows all (the default). */
    const char *const *cors;           /* origins that may read answers (H-10) */
    const char *const *host_whitelist; /* values of the Host header without its port (H-09) */
    /* Called for each finished call, for metrics: method, grpc code. May be NULL. */
    void (*on_finished)(void *data, const struct rpc_method *method, int grpc_code);
};

/* NULL when out of memory. The loop must outlive rpc_server_close's callback. */
struct rpc_server *rpc_server_new(uv_loop_t *loop, const struct rpc_server_options *options);

/* Opens one listener: host is an IP address or "localhost" (both families' loopback as etcd does:
 * 127.0.0.1), or "unix:PATH". Returns 0, ERR_IO or ERR_INVALID with the reason in e
 * ("listen tcp 127.0.0.1:2379: bind: address already in use"). port 0 picks one. */
int rpc_server_listen(struct rpc_server *s, const char *host, uint16_t port, struct errmsg *e);
/* The same for TLS. `tls` is borrowed and must outlive the server; changed files are taken up at
 * handshakes (tls_context_refresh). plain_too: bytes that are no TLS are served as without it (the
 * same address in http:// and https:// URLs, W-04); else such connections are refused. */
int rpc_server_listen_tls(struct rpc_server *s, const char *host, uint16_t port,
                          struct tls_context *tls, bool plain_too, struct errmsg *e);
/* Binds a TCP socket that rpc_server_listen_fd takes, so that a wrong or taken address is known
 * before anything is served (one that is bound elsewhere and not listened on yet is found only by
 * rpc_server_listen_fd). *out_port: the port it has, also when 0 was asked for. 0, or ERR_INVALID,
 * ERR_IO with the sentence. Any thread. */
int rpc_bind(const char *host, uint16_t port, int *out_fd, uint16_t *out_port, struct errmsg *e);
/* Opens a listener on such a socket; tls NULL = none. Takes fd, also when it fails. */
int rpc_server_listen_fd(struct rpc_server *s, int fd, struct tls_context *tls, struct errmsg *e);
/* The port of listener number `i` in order of listening (useful with port 0). */
uint16_t rpc_server_port(const struct rpc_server *s, size_t i);

/* The routes of this server, to add to and remove from while it runs; options.routes are in it. */
struct http_router *rpc_server_router(struct rpc_server *s);

/* Facts for metrics; a snapshot. */
struct rpc_server_stats {
    size_t connections;      /* open */
    size_t calls;            /* open */
    size_t input_bytes;      /* memory of half-received messages and bodies */
    uint64_t output_bytes;   /* memory of unsent answers */
    uint64_t received_bytes; /* of gRPC messages, prefixes included, since the start */
    uint64_t sent_bytes;     /* likewise */
};
void rpc_server_stats(const struct rpc_server *s, struct rpc_server_stats *out);

/* Stops accepting, sends GOAWAY (maximum id, then after a PING the final id), lets running unary
 * calls end, closes idle connections at once, the rest after `grace_ms`; then `cb`. */
void rpc_server_shutdown(struct rpc_server *s, uint64_t grace_ms, void (*cb)(void *data),
                         void *data);
/* Frees everything; after the shutdown callback, or at once when the loop is to die. `cb` when the
 * last handle is closed. */
void rpc_server_close(struct rpc_server *s, void (*cb)(void *data), void *data);

#endif
