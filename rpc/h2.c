/* h2.c - one HTTP/2 session over nghttp2: streams to calls, calls to frames; see h2.h.
 *
 * nghttp2 is told what to do inside its own callbacks (submit, reset, consume: allowed there) and
 * never re-entered. Data leaves with NO_COPY: nghttp2 asks how much there is (h2_read_data), then
 * has us put the frame header and the bytes into the shared write buffer (h2_send_data), so a body
 * is copied once on its way out. Input windows are ours to give back: the connection's at once (its
 * bytes are bounded by the streams' windows), a stream's when intake.c has room (see intake.h). */
#include "rpc/h2.h"

#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/list.h"
#include "rpc/conn.h"
#include "rpc/grpc.h"
#include "rpc/h2_exchange.h"
#include "rpc/h2_impl.h"
#include "rpc/h2_ping.h"

#define H2_FRAME_HEADER_BYTES 9u
/* With less room than this the rest waits for the next buffer instead of making a small frame. */
#define H2_FRAME_ROOM_MIN 4096u

/* ---- input callbacks ------------------------------------------------------------------------- */

static struct h2_stream *h2_stream_of(nghttp2_session *session, int32_t stream_id)
{
    return nghttp2_session_get_stream_user_data(session, stream_id);
}

static struct rpc_call *h2_call(struct h2_stream *stream)
{
    ASSERT(!stream->is_exchange);
    return LIST_ENTRY(stream, struct rpc_call, stream);
}

static struct h2_exchange *h2_exchange(struct h2_stream *stream)
{
    ASSERT(stream->is_exchange);
    return LIST_ENTRY(stream, struct h2_exchange, stream);
}

static void h2_end(struct h2_stream *stream)
{
    stream->half_closed = true;
    if (stream->is_exchange) {
        h2_exchange_end(h2_exchange(stream));
    } else {
        grpc_end(h2_call(stream));
    }
}

static void h2_closed(struct h2_stream *stream, uint32_t code)
{
    list_remove(&stream->in_conn);
    if (stream->is_exchange) {
        h2_exchange_closed(h2_exchange(stream));
    } else {
        grpc_closed(h2_call(stream), code);
    }
}

static int h2_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2 *h = user;
    struct rpc_server *s = h->conn->server;
    h->current = NULL;
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
        return 0;
    }
    struct rpc_call *call = NULL;
    if (s->call_count < RPC_CALLS_MAX) {
        call = grpc_new(s, h->conn);
    }
    if (call == NULL) {
        /* Clients may repeat a refused stream: nothing of it happened. */
        return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                         NGHTTP2_REFUSED_STREAM);
    }
    call->stream.h2 = h;
    call->stream.id = frame->hd.stream_id;
    list_push_back(&h->streams, &call->stream.in_conn);
    h->stream_count++;
    h->current = &call->stream;
    nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, &call->stream);
    return 0;
}

static int h2_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *user)
{
    struct h2 *h = user;
    (void)session;
    (void)flags;
    /* Trailers have no call here: what a client says after its messages is of no use to anyone. */
    if (h->current != NULL && h->current->id == frame->hd.stream_id) {
        grpc_header(h2_call(h->current), slice_of(name, name_len), slice_of(value, value_len));
    }
    return 0;
}

static int h2_data_chunk(nghttp2_session *session, uint8_t flags, int32_t stream_id,
                         const uint8_t *data, size_t len, void *user)
{
    struct h2 *h = user;
    h->received += len;
    struct h2_stream *stream = h2_stream_of(session, stream_id);
    if (stream != NULL && stream->is_exchange) {
        h2_exchange_data(h2_exchange(stream), slice_of(data, len));
    } else if (stream != NULL) {
        grpc_data(h2_call(stream), slice_of(data, len), (flags & NGHTTP2_FLAG_END_STREAM) != 0);
    }
    return 0;
}

static int h2_frame_received(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2 *h = user;
    bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    struct h2_stream *stream;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        stream = h2_stream_of(session, frame->hd.stream_id);
        if (stream != NULL && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
            h->current = NULL;
            stream->half_closed = end;
            grpc_headers_end(h2_call(stream));
        } else if (stream != NULL && end) {
            h2_end(stream);
        }
        break;
    case NGHTTP2_DATA:
        stream = h2_stream_of(session, frame->hd.stream_id);
        if (stream != NULL && end) {
            h2_end(stream);
        }
        break;
    case NGHTTP2_RST_STREAM:
        return h2_count_reset(h);
    case NGHTTP2_PING:
        return h2_ping_received(h, (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0,
                                frame->ping.opaque_data);
    case NGHTTP2_SETTINGS:
        h2_ping_started(h);
        break;
    default:
        break;
    }
    return 0;
}

static int h2_stream_closed(nghttp2_session *session, int32_t stream_id, uint32_t code, void *user)
{
    struct h2 *h = user;
    struct h2_stream *stream = h2_stream_of(session, stream_id);
    if (stream == NULL) {
        return 0;
    }
    nghttp2_session_set_stream_user_data(session, stream_id, NULL);
    if (h->current == stream) {
        h->current = NULL;
    }
    h->stream_count--;
    h2_closed(stream, code);
    return 0;
}

/* ---- output callbacks ------------------------------------------------------------------------ */

ssize_t h2_read_data(nghttp2_session *session, int32_t stream_id, uint8_t *unused, size_t wanted,
                     uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct h2 *h = user;
    struct h2_stream *stream = source->ptr;
    (void)session;
    (void)stream_id;
    (void)unused;
    size_t room = h->out_cap - h->out_len;
    if (room < H2_FRAME_ROOM_MIN) {
        h->out_full = true;
        return NGHTTP2_ERR_PAUSE;
    }
    room -= H2_FRAME_HEADER_BYTES;
    bool end;
    bool blocked;
    wanted = wanted < room ? wanted : room;
    size_t n = stream->is_exchange
                   ? h2_exchange_output_ready(h2_exchange(stream), wanted, &end, &blocked)
                   : grpc_output_ready(h2_call(stream), wanted, &end, &blocked);
    if (blocked) {
        stream->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (end) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (!stream->is_exchange) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM; /* trailers follow */
        }
    }
    return (ssize_t)n;
}

static int h2_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *header,
                        size_t len, nghttp2_data_source *source, void *user)
{
    struct h2 *h = user;
    (void)session;
    (void)frame; /* never padded: there is no padding callback */
    ASSERT(h->out_cap - h->out_len >= H2_FRAME_HEADER_BYTES + len);
    memcpy(h->out + h->out_len, header, H2_FRAME_HEADER_BYTES);
    h->out_len += H2_FRAME_HEADER_BYTES;
    struct h2_stream *stream = source->ptr;
    if (stream->is_exchange) {
        h2_exchange_output_take(h2_exchange(stream), h->out + h->out_len, len);
    } else {
        grpc_output_take(h2_call(stream), h->out + h->out_len, len);
    }
    h->out_len += len;
    h->strikes_reset = true;
    return 0;
}

static int h2_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2 *h = user;
    if (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) {
        h->strikes_reset = true;
        struct h2_stream *stream = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0
                                       ? h2_stream_of(session, frame->hd.stream_id)
                                       : NULL;
        if (stream != NULL && stream->is_exchange) {
            h2_exchange_answered(h2_exchange(stream));
        } else if (stream != NULL && !stream->half_closed) {
            /* Answered before the client was done: it need not send the rest. */
            return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                             NGHTTP2_NO_ERROR);
        }
    } else if (frame->hd.type == NGHTTP2_RST_STREAM) {
        switch (frame->rst_stream.error_code) {
        case NGHTTP2_PROTOCOL_ERROR:
        case NGHTTP2_FLOW_CONTROL_ERROR:
        case NGHTTP2_STREAM_CLOSED:
        case NGHTTP2_FRAME_SIZE_ERROR:
            /* A peer can make us reset streams as fast as it can reset them itself. */
            return h2_count_reset(h);
        default:
            break;
        }
    }
    return 0;
}

/* ---- sessions -------------------------------------------------------------------------------- */

static void *h2_malloc(size_t size, void *user)
{
    return pool_alloc(user, size);
}

static void h2_mem_free(void *ptr, void *user)
{
    pool_free(user, ptr);
}

static void *h2_calloc(size_t count, size_t size, void *user)
{
    return size != 0 && count > SIZE_MAX / size ? NULL : pool_zalloc(user, count * size);
}

static void *h2_realloc(void *ptr, size_t size, void *user)
{
    return pool_realloc(user, ptr, size);
}

bool h2_server_init(struct rpc_server *s)
{
    s->h2_mem = (nghttp2_mem){&s->pool, h2_malloc, h2_mem_free, h2_calloc, h2_realloc};
    if (nghttp2_session_callbacks_new(&s->h2_callbacks) != 0) {
        return false;
    }
    nghttp2_session_callbacks *cb = s->h2_callbacks;
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, h2_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cb, h2_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, h2_data_chunk);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, h2_frame_received);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, h2_stream_closed);
    nghttp2_session_callbacks_set_send_data_callback(cb, h2_send_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, h2_frame_sent);
    if (nghttp2_option_new(&s->h2_options) != 0) {
        return false;
    }
    nghttp2_option *o = s->h2_options;
    nghttp2_option_set_no_auto_window_update(o, 1);
    nghttp2_option_set_no_closed_streams(o, 1);
    nghttp2_option_set_max_outbound_ack(o, RPC_OUTBOUND_ACKS_MAX);
    /* nghttp2's own limiter would end a healthy client that cancels 1,000 calls: h2_count_reset is
     * ours. */
    nghttp2_option_set_stream_reset_rate_limit(o, UINT32_MAX, UINT32_MAX);
    return true;
}

void h2_server_close(struct rpc_server *s)
{
    nghttp2_session_callbacks_del(s->h2_callbacks);
    nghttp2_option_del(s->h2_options);
    s->h2_callbacks = NULL;
    s->h2_options = NULL;
}

static int h2_submit_settings(struct h2 *h)
{
    const struct rpc_server_options *o = &h->conn->server->options;
    uint32_t header_list =
        o->header_bytes_max > UINT32_MAX ? UINT32_MAX : (uint32_t)o->header_bytes_max;
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, o->concurrent_streams_max},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, RPC_STREAM_WINDOW_BYTES},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, header_list},
    };
    int rv = nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings,
                                     sizeof(settings) / sizeof(settings[0]));
    if (rv != 0) {
        return rv;
    }
    return nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0,
                                                 RPC_CONN_WINDOW_BYTES);
}

struct h2 *h2_new(struct conn *c)
{
    struct rpc_server *s = c->server;
    struct h2 *h = pool_zalloc(&s->pool, sizeof(*h));
    if (h == NULL) {
        return NULL;
    }
    h->conn = c;
    h->last_input_ms = server_now_ms(s);
    list_init(&h->streams);
    if (nghttp2_session_server_new3(&h->session, s->h2_callbacks, h, s->h2_options, &s->h2_mem) !=
        0) {
        pool_free(&s->pool, h);
        return NULL;
    }
    if (h2_submit_settings(h) != 0) {
        nghttp2_session_del(h->session);
        pool_free(&s->pool, h);
        return NULL;
    }
    conn_mark_dirty(c);
    return h;
}

void h2_free(struct h2 *h)
{
    struct rpc_server *s = h->conn->server;
    h->dying = true;
    struct list *it;
    while ((it = list_pop_front(&h->streams)) != NULL) {
        h2_closed(LIST_ENTRY(it, struct h2_stream, in_conn), NGHTTP2_CANCEL);
    }
    nghttp2_session_del(h->session);
    pool_free(&s->pool, h);
}

bool h2_input(struct h2 *h, struct slice bytes)
{
    h->last_input_ms = server_now_ms(h->conn->server);
    h->received = 0;
    ssize_t n = nghttp2_session_mem_recv(h->session, bytes.data, bytes.len);
    if (n < 0) {
        return false;
    }
    return h->received == 0 || nghttp2_session_consume_connection(h->session, h->received) == 0;
}

ssize_t h2_output(struct h2 *h, uint8_t *out, size_t cap, bool *more)
{
    h->out = out;
    h->out_len = 0;
    h->out_cap = cap;
    h->out_full = false;
    while (!h->out_full) {
        if (h->carry_len == 0) {
            ssize_t n = nghttp2_session_mem_send(h->session, &h->carry);
            if (n < 0) {
                return -1;
            }
            if (n == 0) {
                break;
            }
            h->carry_len = (size_t)n;
        }
        /* What does not fit stays valid in nghttp2 until its next mem_send. */
        size_t room = cap - h->out_len;
        size_t part = h->carry_len < room ? h->carry_len : room;
        memcpy(out + h->out_len, h->carry, part);
        h->out_len += part;
        h->carry += part;
        h->carry_len -= part;
        h->out_full = h->carry_len > 0;
    }
    *more = h->out_full;
    return (ssize_t)h->out_len;
}

bool h2_wants_output(const struct h2 *h)
{
    return h->carry_len > 0 || nghttp2_session_want_write(h->session) != 0;
}

bool h2_done(const struct h2 *h)
{
    return !h2_wants_output(h) && nghttp2_session_want_read(h->session) == 0;
}

size_t h2_frames_queued(const struct h2 *h)
{
    return nghttp2_session_get_outbound_queue_size(h->session);
}
