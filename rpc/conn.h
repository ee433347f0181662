/* conn.h - one connection, without saying what carries its bytes.
 *
 * Bytes come in by conn_input, answers leave through struct conn_ops; socket.c binds these to uv
 * streams, tests and fuzzers to memory. The connection finds out what is spoken (detection), hands
 * the bytes to h2 or h1, and writes once per loop turn what they have to say. Private to rpc/.
 *
 *   DETECT --first bytes--> H2 | H1 --last answer written--> LINGER --peer closed, or time-->
 * CLOSED
 *      \________________ broken, refused, shutdown ______________________________________/
 *
 * Rules: conn_destroy may only be called from the outside (a uv callback, the flush), never from a
 * service's callback, so nothing is freed under a caller. The memory goes in conn_free, which the
 * carrier calls when its handle is closed. */
#ifndef KVD_RPC_CONN_H
#define KVD_RPC_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/list.h"
#include "base/slice.h"
#include "rpc/server_impl.h"
#include "rpc/timer.h"

struct conn;
struct h1;
struct h2;
struct secure;

/* The carrier. Every function gets the connection embedded in the carrier's own struct. */
struct conn_ops {
    /* Writes what the peer takes at once of these parts (1..RPC_WRITE_PARTS_MAX). Bytes taken, 0 =
     * none now, negative = broken. A carrier that keeps bytes it has taken and writes them by
     * itself says so by conn_wait. */
    ssize_t (*try_write)(struct conn *c, const struct slice *parts, size_t count);
    /* Starts to write all of it; data stays valid until the carrier calls conn_written (later,
     * never from inside). Negative = broken. */
    int (*write)(struct conn *c, const uint8_t *data, size_t len);
    void (*read_start)(struct conn *c);
    void (*read_stop)(struct conn *c);
    /* No more will be written: tell the peer (FIN). */
    void (*finish)(struct conn *c);
    /* Starts to close; calls conn_free in the end. */
    void (*close)(struct conn *c);
    /* Writes "127.0.0.1:51234" or the like. */
    void (*peer)(struct conn *c, char *text, size_t size);
};

enum conn_state { CONN_DETECT, CONN_H2, CONN_H1, CONN_LINGER, CONN_CLOSED };

#define CONN_PREFACE     "PRI * HTTP/2.0"
#define CONN_PREFACE_LEN 14
#define CONN_PEER_BYTES  64

struct conn {
    struct rpc_server *server;
    const struct conn_ops *ops;
    struct list all;   /* server->conns */
    struct list dirty; /* server->dirty, or alone */
    enum conn_state state;
    bool write_pending; /* ops->write has not completed, or conn_wait was told */
    bool read_stopped;
    bool flushing_last; /* when all is written: LINGER */
    uint8_t detected;   /* bytes of the preface seen so far */
    struct h1 *h1;
    struct h2 *h2;
    struct secure *security; /* TLS between it and its carrier; NULL = plain */
    uint8_t *pending;        /* what is being written by ops->write; NULL: the carrier keeps it */
    size_t pending_len;
    uint64_t pending_since_ms;
    uint64_t output_bytes;  /* queued by its calls */
    struct rpc_timer timer; /* its meaning depends on the state */
    char peer[CONN_PEER_BYTES];
};

/* Enters the server's list and starts the handshake timer. false when out of memory (c is then
 * untouched and the carrier closes by itself). */
bool conn_init(struct conn *c, struct rpc_server *s, const struct conn_ops *ops);
/* Bytes from the peer, valid during the call. */
void conn_input(struct conn *c, const uint8_t *data, size_t len);
/* The peer will send no more. */
void conn_eof(struct conn *c);
/* What ops->write got is written (status 0) or the connection broke (negative). */
void conn_written(struct conn *c, int status);
/* By try_write: all was taken, but `bytes` of it wait for the peer: conn_written follows. */
void conn_wait(struct conn *c, size_t bytes);
/* Ends the connection now: its calls are closed, then the carrier. Harmless when done already. */
void conn_destroy(struct conn *c);
/* By the carrier, when its handle is closed: c's resources are gone, its memory is the carrier's.
 */
void conn_free(struct conn *c);

/* For h1 and h2: there is something to write, or to be looked at after the callback. */
void conn_mark_dirty(struct conn *c);
/* Write what there is, then linger and close; what comes in is thrown away. */
void conn_finish_after_flush(struct conn *c);
/* Sets or moves the connection's timer, `in_ms` from now. A connection whose timer cannot be set
 * (out of memory) ends after the flush. */
void conn_set_timer(struct conn *c, uint64_t in_ms);
const char *conn_peer(struct conn *c);
/* Drops or takes up reading by how much is unsent. */
void conn_balance_reading(struct conn *c);
/* Writes what there is for this connection; part of server_flush. */
void conn_flush(struct conn *c);
/* The server stops: idle connections end, others finish what they have. */
void conn_shutdown(struct conn *c);

#endif
