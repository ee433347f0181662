/* h2_client.c - see h2_client.h. */
#include "tests/lib/h2_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/bytes.h"
#include "base/clock.h"

uint64_t test_now_ms(void)
{
    return clock_mono_ms();
}

int test_connect(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    FATAL_IF(fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) != 0, "cannot connect");
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

void test_turn(uv_loop_t *loop)
{
    struct pollfd p = {.fd = uv_backend_fd(loop), .events = POLLIN};
    int timeout = uv_backend_timeout(loop);
    /* The loop's own descriptor is readable when it has work: a wait that an event ends. */
    (void)poll(&p, 1, timeout >= 0 && timeout < 2 ? timeout : 2);
    uv_run(loop, UV_RUN_NOWAIT);
}

/* ---- session callbacks ----------------------------------------------------------------------- */

static struct h2_reply *reply_of(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

static void copy_text(char *to, size_t size, const uint8_t *value, size_t len)
{
    size_t n = len < size - 1 ? len : size - 1;
    if (n > 0) {
        memcpy(to, value, n);
    }
    to[n] = '\0';
}

static int client_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                         size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                         void *user)
{
    (void)flags;
    (void)user;
    struct h2_reply *r = reply_of(session, frame->hd.stream_id);
    if (r == NULL) {
        return 0;
    }
    struct slice n = slice_of(name, name_len);
    buf_append_slice(&r->headers, n);
    buf_append_str(&r->headers, ": ");
    buf_append(&r->headers, value, value_len);
    buf_append_byte(&r->headers, '\n');
    if (slice_eq(n, slice_str(":status"))) {
        copy_text(r->http_status, sizeof(r->http_status), value, value_len);
    } else if (slice_eq(n, slice_str("content-type"))) {
        copy_text(r->content_type, sizeof(r->content_type), value, value_len);
    } else if (slice_eq(n, slice_str("grpc-status"))) {
        char text[8];
        copy_text(text, sizeof(text), value, value_len);
        r->grpc_status = (int)strtol(text, NULL, 10);
    } else if (slice_eq(n, slice_str("grpc-message"))) {
        copy_text(r->grpc_message, sizeof(r->grpc_message), value, value_len);
    }
    return 0;
}

static int client_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                       size_t len, void *user)
{
    (void)flags;
    (void)user;
    struct h2_reply *r = reply_of(session, id);
    if (r != NULL) {
        buf_append(&r->data, data, len);
    }
    return 0;
}

static int client_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2_client *c = user;
    struct h2_reply *r = reply_of(session, frame->hd.stream_id);
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
    case NGHTTP2_DATA:
        if (r != NULL) {
            r->header_blocks += frame->hd.type == NGHTTP2_HEADERS;
            r->ended = r->ended || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
        }
        break;
    case NGHTTP2_GOAWAY:
        c->goaways++;
        c->goaway_code = frame->goaway.error_code;
        c->goaway_last = frame->goaway.last_stream_id;
        copy_text(c->goaway_debug, sizeof(c->goaway_debug), frame->goaway.opaque_data,
                  frame->goaway.opaque_data_len);
        break;
    case NGHTTP2_PING:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) {
            c->ping_acks++;
        } else {
            c->pings++;
        }
        break;
    default:
        break;
    }
    return 0;
}

static int client_closed(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    (void)user;
    struct h2_reply *r = reply_of(session, id);
    if (r != NULL) {
        r->closed = true;
        r->error_code = code;
    }
    return 0;
}

static ssize_t client_read(nghttp2_session *session, int32_t id, uint8_t *out, size_t len,
                           uint32_t *flags, nghttp2_data_source *source, void *user)
{
    (void)session;
    (void)id;
    (void)user;
    struct h2_reply *r = source->ptr;
    size_t left = r->upload.len - r->uploaded;
    size_t n = left < len ? left : len;
    if (n > 0) {
        memcpy(out, r->upload.data + r->uploaded, n);
        r->uploaded += n;
    }
    if (n == left && r->upload_end) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    } else if (n == 0) {
        return NGHTTP2_ERR_DEFERRED;
    }
    return (ssize_t)n;
}

/* ---- life ------------------------------------------------------------------------------------ */

void h2_client_adopt(struct h2_client *c, uv_loop_t *loop, int fd)
{
    c->loop = loop;
    c->fd = fd;
    nghttp2_session_callbacks *cb;
    nghttp2_option *option;
    nghttp2_session_callbacks_new(&cb);
    nghttp2_option_new(&option);
    nghttp2_session_callbacks_set_on_header_callback(cb, client_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, client_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, client_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, client_closed);
    nghttp2_option_set_no_auto_ping_ack(option, c->ping_no_ack);
    nghttp2_option_set_no_auto_window_update(option, c->no_window_updates);
    /* Many streams before the server's SETTINGS came. */
    nghttp2_option_set_peer_max_concurrent_streams(option, UINT32_MAX);
    nghttp2_session_client_new2(&c->session, cb, c, option);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(cb);
    uint32_t window = c->window != 0 ? c->window : 65535;
    if (c->ssl != NULL) {
        SSL_set_mode(c->ssl, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_ENABLE_PARTIAL_WRITE);
    }
    nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window},
    };
    nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings, 2);
    if (window > 65535) {
        nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, (int32_t)window);
    }
}

void h2_client_open(struct h2_client *c, uv_loop_t *loop, uint16_t port)
{
    h2_client_adopt(c, loop, test_connect(port));
}

void h2_client_close(struct h2_client *c)
{
    nghttp2_session_del(c->session);
    SSL_free(c->ssl);
    if (c->fd >= 0) {
        close(c->fd);
    }
    for (size_t i = 0; i < c->reply_count; i++) {
        buf_close(&c->replies[i]->headers);
        buf_close(&c->replies[i]->data);
        buf_close(&c->replies[i]->upload);
        mem_free(c->replies[i]);
    }
    c->reply_count = 0;
    buf_close(&c->unsent);
}

/* ---- calls ----------------------------------------------------------------------------------- */

static const char *header_value(const struct h2_header *headers, const char *name, const char *ours)
{
    for (; headers != NULL && headers->name != NULL; headers++) {
        if (strcmp(headers->name, name) == 0) {
            return headers->value;
        }
    }
    return ours;
}

static size_t add_header(nghttp2_nv *nv, size_t count, const char *name, const char *value)
{
    if (value == NULL) {
        return count;
    }
    nv[count] = (nghttp2_nv){
        .name = (uint8_t *)(uintptr_t)name,
        .namelen = strlen(name),
        .value = (uint8_t *)(uintptr_t)value,
        .valuelen = strlen(value),
    };
    return count + 1;
}

struct h2_reply *h2_client_call(struct h2_client *c, const char *path,
                                const struct h2_header *headers, struct slice body, bool end)
{
    static const struct h2_header ours[] = {
        {":method", "POST"},         {":scheme", "http"},
        {":authority", "localhost"}, {"content-type", "application/grpc"},
        {"te", "trailers"},
    };
    nghttp2_nv nv[512];
    size_t count = add_header(nv, 0, ":path", path);
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
        count =
            add_header(nv, count, ours[i].name, header_value(headers, ours[i].name, ours[i].value));
    }
    for (const struct h2_header *h = headers; h != NULL && h->name != NULL; h++) {
        bool known = false;
        for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
            known = known || strcmp(h->name, ours[i].name) == 0;
        }
        if (!known && count < 512) {
            count = add_header(nv, count, h->name, h->value);
        }
    }
    FATAL_IF(c->reply_count == H2_REPLIES_MAX, "the test makes too many calls");
    struct h2_reply *r = mem_xzalloc(sizeof(*r));
    c->replies[c->reply_count++] = r;
    r->grpc_status = -1;
    buf_append_slice(&r->upload, body);
    r->upload_end = end;
    nghttp2_data_provider provider = {.source.ptr = r, .read_callback = client_read};
    r->stream_id = nghttp2_submit_request(c->session, NULL, nv, count,
                                          end && body.len == 0 ? NULL : &provider, r);
    FATAL_IF(r->stream_id < 0, "nghttp2_submit_request failed");
    return r;
}

void h2_client_send(struct h2_client *c, struct h2_reply *r, struct slice body, bool end)
{
    buf_append_slice(&r->upload, body);
    r->upload_end = end;
    (void)nghttp2_session_resume_data(c->session, r->stream_id);
}

void h2_client_rst(struct h2_client *c, struct h2_reply *r, uint32_t code)
{
    nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, r->stream_id, code);
}

/* ---- input and output ------------------------------------------------------------------------ */

static void client_collect(struct h2_client *c)
{
    const uint8_t *data;
    ssize_t n;
    while (c->unsent.len < 4u * 1024 * 1024 &&
           (n = nghttp2_session_mem_send(c->session, &data)) > 0) {
        buf_append(&c->unsent, data, (size_t)n);
    }
}

void h2_client_raw(struct h2_client *c, const void *data, size_t len)
{
    client_collect(c);
    buf_append(&c->unsent, data, len);
}

static ssize_t client_send(struct h2_client *c)
{
    if (c->ssl == NULL) {
        return send(c->fd, c->unsent.data, c->unsent.len, MSG_NOSIGNAL);
    }
    return SSL_write(c->ssl, c->unsent.data, (int)c->unsent.len);
}

/* As recv: 0 at the end, -1 with EAGAIN when there is nothing now. */
static ssize_t client_recv(struct h2_client *c, void *in, size_t size)
{
    if (c->ssl == NULL) {
        return recv(c->fd, in, size, 0);
    }
    int n = SSL_read(c->ssl, in, (int)size);
    if (n > 0) {
        return n;
    }
    int err = SSL_get_error(c->ssl, n);
    errno = err == SSL_ERROR_WANT_READ || err == SSL_ERROR_WANT_WRITE ? EAGAIN : ECONNRESET;
    return err == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}

void h2_client_pump(struct h2_client *c)
{
    static uint8_t in[256 * 1024];
    client_collect(c);
    if (c->unsent.len > 0) {
        ssize_t n = client_send(c);
        if (n > 0) {
            buf_consume(&c->unsent, (size_t)n);
        }
    }
    while (!c->paused && !c->eof && !c->reset) {
        ssize_t n = client_recv(c, in, sizeof(in));
        if (n == 0) {
            c->eof = true;
        } else if (n > 0) {
            (void)nghttp2_session_mem_recv(c->session, in, (size_t)n);
        } else {
            c->reset = errno != EAGAIN && errno != EINTR;
            break;
        }
    }
}

bool h2_client_wait(struct h2_client *c, const bool *flag, uint64_t ms)
{
    uint64_t until = test_now_ms() + ms;
    do {
        h2_client_pump(c);
        test_turn(c->loop);
        h2_client_pump(c);
    } while (!*flag && test_now_ms() < until);
    return *flag;
}

void h2_client_run(struct h2_client *c, uint64_t ms)
{
    bool never = false;
    (void)h2_client_wait(c, &never, ms);
}

void grpc_frame(struct buf *out, struct slice message)
{
    uint8_t prefix[5] = {0};
    bytes_put_be32(prefix + 1, (uint32_t)message.len);
    buf_append(out, prefix, sizeof(prefix));
    buf_append_slice(out, message);
}

bool h2_reply_message(struct h2_reply *r, struct slice *out)
{
    size_t left = r->data.len - r->data_taken;
    if (left < 5) {
        return false;
    }
    const uint8_t *p = r->data.data + r->data_taken;
    uint32_t len = bytes_be32(p + 1);
    if (left - 5 < len) {
        return false;
    }
    *out = slice_of(p + 5, len);
    r->data_taken += 5 + len;
    return true;
}
