/* secure.c - see secure.h.
 *
 * Out: try_write encrypts all it is given and passes the records on. What the carrier does not take
 * at once stays in the buffer where OpenSSL put it and is written by the carrier's asynchronous
 * write; the connection waits meanwhile (conn_wait). Handshake messages and alerts go the same way
 * without anybody waiting.
 *
 * In: the carrier's bytes are decrypted record by record into the loop's one buffer of plaintext,
 * each piece handed on at once; nothing is kept but a record that is not whole. */
#include "rpc/secure.h"

#include <string.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/limits.h"
#include "rpc/conn.h"

/* One buffer is kept for all connections: a write of RPC_WRITE_BUFFER_BYTES and what TLS adds. */
#define SECURE_KEPT_BYTES_MAX (2 * RPC_WRITE_BUFFER_BYTES)

struct secure {
    struct conn *conn;
    struct tls *tls;
    const struct conn_ops *raw;
    struct buf writing;  /* records in the carrier's asynchronous write */
    bool conn_waits;     /* for conn_written */
    bool finish_follows; /* FIN when what is being written is out */
    bool refused;        /* input is ignored */
};

bool secure_established(const struct secure *s)
{
    return s->tls != NULL && tls_established(s->tls);
}

const struct tls_peer *secure_peer(const struct secure *s)
{
    return s->tls != NULL ? tls_peer(s->tls) : NULL;
}

/* ---- output ---------------------------------------------------------------------------------- */

/* The output, or what was written of it, is of no use any more: its memory may serve others. */
static void secure_keep(struct secure *s, struct buf *written)
{
    struct buf *records = &s->conn->server->records;
    struct buf old = {.data = NULL};
    if (written != NULL) {
        old = *written;
        buf_init(written);
    } else {
        tls_output_move(s->tls, &old);
    }
    if (records->cap == 0 && old.cap <= SECURE_KEPT_BYTES_MAX) {
        *records = old;
    } else {
        buf_close(&old);
    }
}

/* Writes what TLS has to say, unless a write is under way. false: the carrier is broken. */
static bool secure_push(struct secure *s)
{
    struct conn *c = s->conn;
    if (s->writing.len > 0) {
        return true;
    }
    struct slice out = tls_output(s->tls);
    if (out.len == 0) {
        return true;
    }
    ssize_t n = s->raw->try_write(c, &out, 1);
    if (n < 0) {
        return false;
    }
    if ((size_t)n == out.len) {
        secure_keep(s, NULL);
        return true;
    }
    tls_output_move(s->tls, &s->writing);
    return s->raw->write(c, out.data + n, out.len - (size_t)n) >= 0;
}

/* All of it is encrypted, and so taken. */
static ssize_t secure_try_write(struct conn *c, const struct slice *parts, size_t count)
{
    struct secure *s = c->security;
    size_t len = 0;
    if (s->writing.len > 0) {
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        len += parts[i].len;
    }
    tls_output_lend(s->tls, &c->server->records);
    tls_expect(s->tls, len);
    for (size_t i = 0; i < count; i++) {
        if (tls_write(s->tls, parts[i].data, parts[i].len) != TLS_OK) {
            return -1;
        }
    }
    if (!secure_push(s)) {
        return -1;
    }
    if (s->writing.len > 0) {
        s->conn_waits = true;
        conn_wait(c, s->writing.len);
    }
    return (ssize_t)len;
}

/* Behind what TLS itself had to say and the peer has not taken yet. */
static int secure_write(struct conn *c, const uint8_t *data, size_t len)
{
    struct secure *s = c->security;
    ASSERT(s->writing.len > 0 && !s->conn_waits);
    if (tls_write(s->tls, data, len) != TLS_OK) {
        return -1;
    }
    s->conn_waits = true;
    return 0;
}

void secure_written(struct secure *s, int status)
{
    struct conn *c = s->conn;
    secure_keep(s, &s->writing);
    if (c->state == CONN_CLOSED) {
        return;
    }
    if (status < 0 || !secure_push(s)) {
        conn_destroy(c);
        return;
    }
    if (s->writing.len > 0) {
        return;
    }
    if (s->conn_waits) {
        s->conn_waits = false;
        conn_written(c, 0);
    }
    if (s->finish_follows && c->state != CONN_CLOSED) {
        s->finish_follows = false;
        s->raw->finish(c);
    }
}

static void secure_read_start(struct conn *c)
{
    c->security->raw->read_start(c);
}

static void secure_read_stop(struct conn *c)
{
    c->security->raw->read_stop(c);
}

static void secure_finish(struct conn *c)
{
    struct secure *s = c->security;
    tls_close_notify(s->tls);
    if (secure_push(s) && s->writing.len > 0) {
        s->finish_follows = true;
    } else {
        s->raw->finish(c);
    }
}

static void secure_close(struct conn *c)
{
    c->security->raw->close(c);
}

static void secure_peer_text(struct conn *c, char *text, size_t size)
{
    c->security->raw->peer(c, text, size);
}

static const struct conn_ops secure_ops = {
    .try_write = secure_try_write,
    .write = secure_write,
    .read_start = secure_read_start,
    .read_stop = secure_read_stop,
    .finish = secure_finish,
    .close = secure_close,
    .peer = secure_peer_text,
};

/* ---- life ------------------------------------------------------------------------------------ */

/* What Go's servers tell who forgot the s of https. */
static void secure_refuse_http(struct secure *s)
{
    static const char text[] = "HTTP/1.0 400 Bad Request\r\n\r\n"
                               "Client sent an HTTP request to an HTTPS server.\n";
    const struct slice part = slice_str(text);
    (void)s->raw->try_write(s->conn, &part, 1);
}

void secure_begin(struct conn *c, struct tls_context *tls, const uint8_t *data, size_t len)
{
    struct secure *s = pool_zalloc(&c->server->pool, sizeof(*s));
    if (s == NULL) {
        conn_destroy(c);
        return;
    }
    s->conn = c;
    s->raw = c->ops;
    tls_context_refresh(tls, server_now_ms(c->server));
    s->tls = tls_new(tls);
    if (s->tls == NULL) {
        pool_free(&c->server->pool, s);
        conn_destroy(c);
        return;
    }
    c->security = s;
    c->ops = &secure_ops;
    if (len > 0 && data[0] >= 'A' && data[0] <= 'Z') {
        secure_refuse_http(s);
    }
}

void secure_free(struct secure *s)
{
    if (s != NULL) {
        tls_free(s->tls);
        buf_close(&s->writing);
        pool_free(&s->conn->server->pool, s);
    }
}

/* ---- input ----------------------------------------------------------------------------------- */

/* The alert, if there is one, still goes out. */
static void secure_failed(struct secure *s)
{
    struct conn *c = s->conn;
    s->refused = true;
    if (!tls_established(s->tls)) {
        server_log_refusal(c->server, conn_peer(c), tls_error(s->tls));
    }
    conn_finish_after_flush(c);
}

/* Hands on what can be decrypted. */
static void secure_read(struct secure *s)
{
    struct conn *c = s->conn;
    uint8_t *plain = c->server->plain_buffer;
    enum tls_result r = TLS_OK;
    while (r == TLS_OK && c->state != CONN_CLOSED) {
        size_t n;
        r = tls_read(s->tls, plain, RPC_READ_BUFFER_BYTES, &n);
        if (r == TLS_OK) {
            conn_input(c, plain, n);
        }
    }
    if (c->state == CONN_CLOSED) {
        return;
    }
    if (r == TLS_FAILED) {
        secure_failed(s);
    } else if (r == TLS_EOF) {
        s->refused = true;
        conn_eof(c);
    }
}

void secure_input(struct secure *s, const uint8_t *data, size_t len)
{
    struct conn *c = s->conn;
    if (s->refused || c->state == CONN_CLOSED) {
        return;
    }
    tls_input(s->tls, slice_of(data, len));
    if (!tls_established(s->tls) && tls_handshake(s->tls) == TLS_FAILED) {
        secure_failed(s);
    }
    if (tls_established(s->tls)) {
        secure_read(s);
    }
    if (c->state == CONN_CLOSED) {
        return;
    }
    if (!secure_push(s) || tls_output(s->tls).len > RPC_TLS_UNSENT_BYTES_MAX) {
        conn_destroy(c);
    }
}

void secure_eof(struct secure *s)
{
    struct conn *c = s->conn;
    if (!tls_established(s->tls) && !s->refused) {
        server_log_refusal(c->server, conn_peer(c), "EOF");
    }
    conn_eof(c);
}
