/* conn.c - the life of a connection; see conn.h for the states and the rules. */
#include "rpc/conn.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/limits.h"
#include "base/log.h"
#include "rpc/h1.h"
#include "rpc/h2.h"
#include "rpc/secure.h"

/* A queued control frame holds about this much memory in the engine. */
#define CONN_FRAME_COST 64u

static void conn_timer_fired(struct rpc_timer *t);

bool conn_init(struct conn *c, struct rpc_server *s, const struct conn_ops *ops)
{
    *c = (struct conn){.server = s, .ops = ops, .state = CONN_DETECT};
    c->timer.fire = conn_timer_fired;
    if (!timers_set(&s->timers, &c->timer, server_now_ms(s) + s->options.handshake_timeout_ms)) {
        return false;
    }
    list_init(&c->dirty);
    list_push_back(&s->conns, &c->all);
    s->conn_count++;
    return true;
}

void conn_free(struct conn *c)
{
    struct rpc_server *s = c->server;
    ASSERT(c->state == CONN_CLOSED);
    mem_free(c->pending);
    c->pending = NULL;
    secure_free(c->security);
    c->security = NULL;
    list_remove(&c->all);
    s->conn_count--;
    server_settle(s);
}

/* Ends what is spoken; the calls and requests learn it. */
static void conn_drop_protocol(struct conn *c)
{
    struct h2 *h2 = c->h2;
    struct h1 *h1 = c->h1;
    c->h2 = NULL;
    c->h1 = NULL;
    if (h2 != NULL) {
        h2_free(h2);
    }
    if (h1 != NULL) {
        h1_free(h1);
    }
}

void conn_destroy(struct conn *c)
{
    if (c->state == CONN_CLOSED) {
        return;
    }
    c->state = CONN_CLOSED;
    conn_drop_protocol(c);
    timers_cancel(&c->server->timers, &c->timer);
    list_remove(&c->dirty);
    c->ops->close(c);
}

void conn_mark_dirty(struct conn *c)
{
    if (c->dirty.next == &c->dirty && c->state != CONN_CLOSED) {
        list_push_back(&c->server->dirty, &c->dirty);
    }
}

void conn_finish_after_flush(struct conn *c)
{
    c->flushing_last = true;
    conn_mark_dirty(c);
}

void conn_set_timer(struct conn *c, uint64_t in_ms)
{
    uint64_t now = server_now_ms(c->server);
    uint64_t at = in_ms > UINT64_MAX - now ? UINT64_MAX : now + in_ms;
    if (!timers_set(&c->server->timers, &c->timer, at)) {
        conn_finish_after_flush(c);
    }
}

const char *conn_peer(struct conn *c)
{
    if (c->peer[0] == '\0') {
        c->ops->peer(c, c->peer, sizeof(c->peer));
    }
    return c->peer;
}

static void conn_timer_fired(struct rpc_timer *t)
{
    struct conn *c = LIST_ENTRY(t, struct conn, timer);
    switch (c->state) {
    case CONN_H2:
        h2_timer(c->h2);
        break;
    case CONN_H1:
        h1_timer(c->h1);
        break;
    case CONN_DETECT:
        if (c->security != NULL && !secure_established(c->security)) {
            server_log_refusal(c->server, conn_peer(c), "tls: handshake timed out");
        }
        conn_destroy(c);
        break;
    case CONN_LINGER:
        conn_destroy(c);
        break;
    case CONN_CLOSED:
        break;
    }
}

/* ---- input ----------------------------------------------------------------------------------- */

static void conn_speak_h2(struct conn *c)
{
    c->h2 = h2_new(c);
    if (c->h2 == NULL) {
        conn_destroy(c);
        return;
    }
    c->state = CONN_H2;
}

static void conn_speak_h1(struct conn *c)
{
    c->h1 = h1_new(c);
    if (c->h1 == NULL) {
        conn_destroy(c);
        return;
    }
    c->state = CONN_H1;
}

/* Looks at the first bytes; returns how many it used. The bytes of a preface seen so far need no
 * buffer: they are the constant's, and are replayed from it. */
static size_t conn_detect(struct conn *c, const uint8_t *data, size_t len)
{
    if (c->detected == 0 && data[0] == SECURE_FIRST_BYTE && c->security == NULL) {
        server_log_refusal(c->server, conn_peer(c),
                           "the client spoke TLS to a listener without TLS: use http:// there");
        conn_destroy(c);
        return len;
    }
    size_t used = 0;
    while (used < len && c->detected < CONN_PREFACE_LEN &&
           data[used] == (uint8_t)CONN_PREFACE[c->detected]) {
        used++;
        c->detected++;
    }
    if (used == len && c->detected < CONN_PREFACE_LEN) {
        return used;
    }
    struct slice seen = slice_of(CONN_PREFACE, c->detected);
    if (c->detected == CONN_PREFACE_LEN) {
        conn_speak_h2(c);
        if (c->state == CONN_H2 && !h2_input(c->h2, seen)) {
            conn_finish_after_flush(c);
        }
    } else {
        conn_speak_h1(c);
        if (c->state == CONN_H1 && seen.len > 0) {
            h1_input(c->h1, seen);
        }
    }
    return used;
}

void conn_input(struct conn *c, const uint8_t *data, size_t len)
{
    if (len > 0 && c->state == CONN_DETECT) {
        size_t used = conn_detect(c, data, len);
        data += used;
        len -= used;
    }
    if (len == 0 || c->flushing_last) {
        return;
    }
    if (c->state == CONN_H2) {
        if (!h2_input(c->h2, slice_of(data, len))) {
            conn_finish_after_flush(c);
        }
        if (h2_wants_output(c->h2) || h2_done(c->h2)) {
            conn_mark_dirty(c);
        }
    } else if (c->state == CONN_H1) {
        h1_input(c->h1, slice_of(data, len));
    }
    conn_balance_reading(c);
}

void conn_eof(struct conn *c)
{
    /* Answers already made are still written: a peer may close its side early, as `nc -N` does.
     * Nothing else is waited for. */
    if (c->state == CONN_H1) {
        if (!c->flushing_last) {
            h1_eof(c->h1);
            conn_finish_after_flush(c);
        }
        if (!c->write_pending) {
            conn_flush(c);
        }
        if (c->state == CONN_H1 && (c->write_pending || h1_has_output(c->h1))) {
            c->ops->read_stop(c);
            c->read_stopped = true;
            return;
        }
    }
    conn_destroy(c);
}

void conn_balance_reading(struct conn *c)
{
    if (c->state == CONN_CLOSED || c->flushing_last) {
        return;
    }
    bool pause = false;
    if (c->state == CONN_H2 && c->write_pending) {
        /* Only while the peer's TCP window is the cause: when HTTP/2 windows are, we must go on
         * reading to learn that they opened. */
        uint64_t unsent =
            c->output_bytes + c->pending_len + (uint64_t)h2_frames_queued(c->h2) * CONN_FRAME_COST;
        pause = unsent > (c->read_stopped ? RPC_CONN_PAUSE_BYTES / 2 : RPC_CONN_PAUSE_BYTES);
    } else if (c->state == CONN_H1) {
        pause = h1_wants_pause(c->h1);
    }
    if (pause == c->read_stopped) {
        return;
    }
    c->read_stopped = pause;
    if (pause) {
        c->ops->read_stop(c);
    } else {
        c->ops->read_start(c);
    }
}

/* ---- output ---------------------------------------------------------------------------------- */

void conn_written(struct conn *c, int status)
{
    c->write_pending = false;
    mem_free(c->pending);
    c->pending = NULL;
    c->pending_len = 0;
    if (c->state == CONN_CLOSED) {
        return;
    }
    if (status < 0) {
        conn_destroy(c);
        return;
    }
    conn_mark_dirty(c);
    conn_balance_reading(c);
}

static void conn_waits(struct conn *c)
{
    c->pending_since_ms = server_now_ms(c->server);
    if (c->state == CONN_H1) {
        h1_rearm(c->h1);
    }
    conn_balance_reading(c);
}

void conn_wait(struct conn *c, size_t bytes)
{
    c->pending_len = bytes;
    c->write_pending = true;
}

/* What the peer did not take of these parts is copied aside: the shared buffer is needed by others.
 */
static void conn_write_rest(struct conn *c, const struct slice *parts, size_t count, size_t written,
                            size_t len)
{
    c->pending = mem_alloc(len - written);
    if (c->pending == NULL) {
        conn_destroy(c);
        return;
    }
    uint8_t *to = c->pending;
    for (size_t i = 0; i < count; i++) {
        size_t skip = written < parts[i].len ? written : parts[i].len;
        memcpy(to, parts[i].data + skip, parts[i].len - skip);
        to += parts[i].len - skip;
        written -= skip;
    }
    c->pending_len = (size_t)(to - c->pending);
    c->write_pending = true;
    if (c->ops->write(c, c->pending, c->pending_len) < 0) {
        c->write_pending = false;
        conn_destroy(c);
        return;
    }
    conn_waits(c);
}

/* Next bytes to write; 0 = nothing. Returns -1 when the connection is broken. */
static ssize_t conn_fill(struct conn *c, struct slice *parts, size_t *count, bool *more)
{
    struct rpc_server *s = c->server;
    ssize_t n;
    *more = false;
    switch (c->state) {
    case CONN_H2:
        n = h2_output(c->h2, s->write_buffer, RPC_WRITE_BUFFER_BYTES, more);
        parts[0] = slice_of(s->write_buffer, n > 0 ? (size_t)n : 0);
        *count = 1;
        return n;
    case CONN_H1:
        return (ssize_t)h1_output(c->h1, s->write_buffer, RPC_WRITE_BUFFER_BYTES, parts,
                                  RPC_WRITE_PARTS_MAX, count, more);
    default:
        return 0;
    }
}

/* All is written that will ever be. The peer gets FIN and a moment to read what we said before the
 * socket goes: closing with unread input would send RST, which can overtake our last words. */
static void conn_linger(struct conn *c)
{
    conn_drop_protocol(c);
    c->state = CONN_LINGER;
    c->ops->finish(c);
    if (c->read_stopped) {
        c->read_stopped = false;
        c->ops->read_start(c);
    }
    if (!timers_set(&c->server->timers, &c->timer, server_now_ms(c->server) + RPC_LINGER_MS)) {
        conn_destroy(c);
    }
}

static void conn_flushed(struct conn *c)
{
    if (c->state == CONN_H2 && h2_done(c->h2)) {
        c->flushing_last = true;
    }
    if (c->flushing_last && c->state != CONN_LINGER) {
        conn_linger(c);
        return;
    }
    if (c->state == CONN_H1) {
        h1_rearm(c->h1);
    }
    conn_balance_reading(c);
}

void conn_flush(struct conn *c)
{
    size_t budget = RPC_FLUSH_BYTES_MAX;
    if (c->state == CONN_H1) {
        h1_advance(c->h1);
    }
    while (c->state != CONN_CLOSED && !c->write_pending) {
        struct slice parts[RPC_WRITE_PARTS_MAX];
        size_t count = 0;
        bool more;
        ssize_t n = conn_fill(c, parts, &count, &more);
        ssize_t written = n > 0 ? c->ops->try_write(c, parts, count) : 0;
        if (n < 0 || written < 0) {
            conn_destroy(c);
            return;
        }
        if (c->write_pending) {
            conn_waits(c);
        } else if (written < n) {
            conn_write_rest(c, parts, count, (size_t)written, (size_t)n);
        }
        if (c->state == CONN_H1) {
            h1_given(c->h1);
        }
        if (c->write_pending || c->state == CONN_CLOSED) {
            return;
        }
        if (!more) {
            conn_flushed(c);
            return;
        }
        if (budget <= (size_t)n) {
            conn_mark_dirty(c);
            return;
        }
        budget -= (size_t)n;
    }
}

void conn_shutdown(struct conn *c)
{
    switch (c->state) {
    case CONN_DETECT:
        conn_destroy(c);
        break;
    case CONN_H2:
        if (!h2_shutdown(c->h2)) {
            conn_finish_after_flush(c);
        }
        conn_mark_dirty(c);
        break;
    case CONN_H1:
        if (!h1_shutdown(c->h1)) {
            conn_finish_after_flush(c);
        }
        break;
    case CONN_LINGER:
    case CONN_CLOSED:
        break;
    }
}
