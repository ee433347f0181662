/* h2_ping.c - see h2_ping.h. */
#include "rpc/h2_ping.h"

#include <string.h>

#include "base/limits.h"
#include "base/log.h"
#include "rpc/conn.h"
#include "rpc/h2.h"
#include "rpc/h2_impl.h"

static const uint8_t ping_keepalive[8] = "kvdalive";
static const uint8_t ping_stopping[8] = "kvd stop";

/* GOAWAY with a reason, then the end: queued frames are still written, input is ignored. */
static int h2_end_with(struct h2 *h, uint32_t code, const char *reason)
{
    int32_t last = nghttp2_session_get_last_proc_stream_id(h->session);
    (void)nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE, last, code, (const uint8_t *)reason,
                                strlen(reason));
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int h2_ping_judge(struct h2 *h)
{
    const struct rpc_server *s = h->conn->server;
    uint64_t now = server_now_ms(s);
    uint64_t last = h->last_ping_ms;
    h->last_ping_ms = now;
    if (h->strikes_reset) {
        h->strikes_reset = false;
        h->strikes = 0;
        return 0;
    }
    uint64_t least = h->stream_count > 0 ? s->options.keepalive_min_ms : RPC_PING_IDLE_MS;
    if (last != 0 && now - last < least) {
        h->strikes++;
    }
    if (h->strikes <= RPC_PING_STRIKES_MAX) {
        return 0;
    }
    LOG(LOG_DEBUG, "closing connection: too many pings", F_STR("remote-addr", conn_peer(h->conn)));
    return h2_end_with(h, NGHTTP2_ENHANCE_YOUR_CALM, "too_many_pings");
}

int h2_ping_received(struct h2 *h, bool ack, const uint8_t data[8])
{
    if (!ack) {
        return h2_ping_judge(h);
    }
    if (h->stopping && memcmp(data, ping_stopping, sizeof(ping_stopping)) == 0) {
        /* What the client sent before it knew has arrived by now: this is the last stream. */
        int32_t last = nghttp2_session_get_last_proc_stream_id(h->session);
        return nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, NULL,
                                     0);
    }
    return 0;
}

void h2_ping_started(struct h2 *h)
{
    if (!h->started) {
        h->started = true;
        conn_set_timer(h->conn, h->conn->server->options.keepalive_interval_ms);
    }
}

int h2_count_reset(struct h2 *h)
{
    uint64_t now = server_now_ms(h->conn->server);
    if (now - h->resets_since_ms >= 1000) {
        h->resets_since_ms = now;
        h->resets = 0;
    }
    if (++h->resets <= RPC_RESETS_PER_SECOND_MAX) {
        return 0;
    }
    server_log_refusal(h->conn->server, conn_peer(h->conn), "too many stream resets");
    return h2_end_with(h, NGHTTP2_ENHANCE_YOUR_CALM, "too_many_resets");
}

void h2_timer(struct h2 *h)
{
    struct conn *c = h->conn;
    const struct rpc_server_options *o = &c->server->options;
    if (!h->started) {
        conn_destroy(c);
        return;
    }
    uint64_t now = server_now_ms(c->server);
    if (h->ping_sent && h->last_input_ms < h->ping_sent_ms) {
        LOG(LOG_DEBUG, "closing connection: keepalive ping not answered",
            F_STR("remote-addr", conn_peer(c)));
        conn_destroy(c);
        return;
    }
    h->ping_sent = false;
    uint64_t idle = now - h->last_input_ms;
    if (idle < o->keepalive_interval_ms) {
        conn_set_timer(c, o->keepalive_interval_ms - idle);
        return;
    }
    if (nghttp2_submit_ping(h->session, NGHTTP2_FLAG_NONE, ping_keepalive) != 0) {
        conn_finish_after_flush(c);
        return;
    }
    h->ping_sent = true;
    h->ping_sent_ms = now;
    conn_mark_dirty(c);
    conn_set_timer(c, o->keepalive_timeout_ms);
}

bool h2_shutdown(struct h2 *h)
{
    if (h->stream_count == 0) {
        int32_t last = nghttp2_session_get_last_proc_stream_id(h->session);
        (void)nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, NULL, 0);
        return false;
    }
    /* Without memory for the notice the client learns at the end of the grace time. */
    h->stopping = nghttp2_submit_shutdown_notice(h->session) == 0 &&
                  nghttp2_submit_ping(h->session, NGHTTP2_FLAG_NONE, ping_stopping) == 0;
    return true;
}
