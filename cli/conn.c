/* conn.c - HTTP/2 and gRPC for a client that waits; see conn.h. */
#include "cli/conn.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <nghttp2/nghttp2.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/limits.h"

/* Answers come as fast as the server likes; what is kept is bounded by message_bytes_max. */
#define CONN_WINDOW_BYTES (16 * 1024 * 1024)
/* A silent server is asked for a sign of life so often, and given so long. gRPC servers end
 * connections that ping more often than every five seconds. */
#define CONN_PING_MS      10000u
#define CONN_PING_WAIT_MS 6000u

struct conn {
    int fd;
    nghttp2_session *session;
    char *endpoint;
    char *authority;
    bool broken;
    bool settled;          /* the server's SETTINGS came: it speaks HTTP/2 and is awake */
    bool goodbye;          /* GOAWAY: no new calls */
    bool ping_pending;     /* one of ours is unanswered */
    uint64_t heard_ms;     /* when the last byte came */
    uint64_t ping_ms;      /* when ours was sent */
    const uint8_t *unsent; /* what the socket did not take yet; nghttp2's until it is asked again */
    size_t unsent_len;
    char why[ERRMSG_BYTES_MAX];
};

struct conn_call {
    struct conn *conn;
    int32_t id;
    size_t message_bytes_max;
    struct buf out; /* messages to send, framed */
    bool out_last;
    bool deferred;
    bool any_sent;
    struct buf in;   /* bytes received, framed */
    size_t consumed; /* of `in`, by the message handed out last */
    bool closed;
    bool refused;
    bool answered; /* the server sent a grpc-status */
    int http_status;
    int code; /* -1 = none yet */
    struct buf text;
};

/* ---- endpoints
 * ----------------------------------------------------------------------------------- */

struct conn_address {
    char host[256];
    char port[8];
    const char *path; /* unix socket */
};

static int conn_address_parse(const char *endpoint, struct conn_address *a, struct errmsg *e)
{
    const char *rest = endpoint;
    *a = (struct conn_address){.path = NULL};
    if (strncmp(rest, "https://", 8) == 0 || strncmp(rest, "unixs://", 8) == 0) {
        return errmsg_set(e, ERR_INVALID, "%s: TLS is not supported yet (see docs/status.md)",
                          endpoint);
    }
    if (strncmp(rest, "unix://", 7) == 0) {
        a->path = rest + 7;
        return *a->path != '\0' ? 0 : errmsg_set(e, ERR_INVALID, "%s: no path", endpoint);
    }
    if (strncmp(rest, "http://", 7) == 0) {
        rest += 7;
    } else if (strstr(rest, "://") != NULL) {
        return errmsg_set(e, ERR_INVALID, "%s: use host:port, http://host:port or unix://path",
                          endpoint);
    }
    const char *colon = strrchr(rest, ':');
    size_t n = colon != NULL ? (size_t)(colon - rest) : 0;
    bool bracketed = n >= 2 && rest[0] == '[' && rest[n - 1] == ']';
    /* getaddrinfo takes any number for a port and cuts it to 16 bits. */
    if (colon == NULL || strspn(colon + 1, "0123456789") != strlen(colon + 1) || colon[1] == '\0' ||
        strlen(colon + 1) > 5 || strtol(colon + 1, NULL, 10) > UINT16_MAX ||
        strtol(colon + 1, NULL, 10) == 0 || n >= sizeof(a->host)) {
        return errmsg_set(e, ERR_INVALID, "%s: an endpoint is host:port, like 127.0.0.1:2379",
                          endpoint);
    }
    snprintf(a->port, sizeof(a->port), "%s", colon + 1);
    snprintf(a->host, sizeof(a->host), "%.*s", bracketed ? (int)n - 2 : (int)n,
             bracketed ? rest + 1 : rest);
    if (a->host[0] == '\0') {
        snprintf(a->host, sizeof(a->host), "127.0.0.1");
    }
    return 0;
}

int conn_check_endpoint(const char *endpoint, struct errmsg *e)
{
    struct conn_address a;
    return conn_address_parse(endpoint, &a, e);
}

/* Milliseconds for poll until the deadline; 0 when it passed. */
static int conn_left(uint64_t deadline_ms)
{
    if (deadline_ms == CONN_NEVER) {
        return -1;
    }
    uint64_t now = clock_mono_ms();
    uint64_t left = now < deadline_ms ? deadline_ms - now : 0;
    return left > 60000 ? 60000 : (int)left;
}

/* Connects one socket; the fd, or -1 with errno. */
static int conn_socket(int family, const struct sockaddr *to, socklen_t len, uint64_t deadline_ms)
{
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    if (connect(fd, to, len) != 0) {
        int err = errno;
        socklen_t size = sizeof(err);
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        int ready = 1;
        if (err == EINPROGRESS) {
            do {
                ready = poll(&p, 1, conn_left(deadline_ms));
            } while ((ready < 0 && errno == EINTR) || (ready == 0 && conn_left(deadline_ms) != 0));
            err = ETIMEDOUT;
            if (ready > 0) {
                (void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &size);
            }
        }
        if (err != 0) {
            close(fd);
            errno = err;
            return -1;
        }
    }
    int on = 1;
    if (family != AF_UNIX) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }
    return fd;
}

static int conn_connect(const char *endpoint, uint64_t deadline_ms, int *fd, struct errmsg *e)
{
    struct conn_address a;
    int err = conn_address_parse(endpoint, &a, e);
    if (err != 0) {
        return err;
    }
    if (a.path != NULL) {
        struct sockaddr_un to = {.sun_family = AF_UNIX};
        if (strlen(a.path) >= sizeof(to.sun_path)) {
            return errmsg_set(e, ERR_INVALID, "%s: the path is too long", endpoint);
        }
        memcpy(to.sun_path, a.path, strlen(a.path));
        *fd = conn_socket(AF_UNIX, (struct sockaddr *)&to, sizeof(to), deadline_ms);
    } else {
        struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
        struct addrinfo *list = NULL;
        int rc = getaddrinfo(a.host, a.port, &hints, &list);
        if (rc != 0) {
            return errmsg_set(e, ERR_IO, "%s: %s", endpoint, gai_strerror(rc));
        }
        errno = ECONNREFUSED;
        *fd = -1;
        for (struct addrinfo *at = list; at != NULL && *fd < 0; at = at->ai_next) {
            *fd = conn_socket(at->ai_family, at->ai_addr, at->ai_addrlen, deadline_ms);
        }
        int saved = errno;
        freeaddrinfo(list);
        errno = saved;
    }
    if (*fd < 0) {
        return errmsg_set(e, errno == ETIMEDOUT ? ERR_DEADLINE : ERR_IO, "%s: %s", endpoint,
                          strerror(errno));
    }
    return 0;
}

/* ---- HTTP/2 callbacks
 * ----------------------------------------------------------------------------- */

static struct conn_call *conn_find(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

/* A decimal header value of at most three digits; -1 otherwise. */
static int conn_number(const uint8_t *value, size_t len)
{
    int number = 0;
    for (size_t i = 0; i < len; i++) {
        if (len > 3 || value[i] < '0' || value[i] > '9') {
            return -1;
        }
        number = number * 10 + (value[i] - '0');
    }
    return len > 0 ? number : -1;
}

static int conn_hex(uint8_t c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* grpc-message is percent-encoded. */
static void conn_unescape(struct buf *out, const uint8_t *value, size_t len)
{
    buf_clear(out);
    for (size_t i = 0; i < len; i++) {
        if (value[i] == '%' && i + 2 < len && conn_hex(value[i + 1]) >= 0 &&
            conn_hex(value[i + 2]) >= 0) {
            buf_append_byte(out, (uint8_t)(conn_hex(value[i + 1]) << 4 | conn_hex(value[i + 2])));
            i += 2;
        } else {
            buf_append_byte(out, value[i]);
        }
    }
}

static int conn_on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                          size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                          void *data)
{
    struct conn_call *call = conn_find(session, frame->hd.stream_id);
    struct slice key = slice_of(name, name_len);
    if (call == NULL) {
        return 0;
    }
    if (slice_eq(key, slice_str(":status"))) {
        call->http_status = conn_number(value, value_len);
    } else if (slice_eq(key, slice_str("grpc-status"))) {
        int code = conn_number(value, value_len);
        call->code = code < 0 ? GRPC_UNKNOWN : code;
        call->answered = true;
    } else if (slice_eq(key, slice_str("grpc-message"))) {
        conn_unescape(&call->text, value, value_len);
    }
    return 0;
}

static int conn_on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes,
                        size_t len, void *data)
{
    struct conn_call *call = conn_find(session, id);
    if (call == NULL || call->code > 0) {
        return 0;
    }
    if (call->in.len - call->consumed + len > call->message_bytes_max + 5 + CONN_WINDOW_BYTES ||
        !buf_append(&call->in, bytes, len)) {
        call->code = GRPC_RESOURCE_EXHAUSTED;
        buf_clear(&call->text);
        buf_append_str(&call->text, "the answer does not fit into memory");
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
    }
    return 0;
}

static int conn_on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *data)
{
    struct conn_call *call = conn_find(session, id);
    if (call == NULL) {
        return 0;
    }
    call->closed = true;
    call->refused = error == NGHTTP2_REFUSED_STREAM;
    if (call->code < 0) {
        call->code = error == NGHTTP2_REFUSED_STREAM ? GRPC_UNAVAILABLE : GRPC_INTERNAL;
        buf_clear(&call->text);
        if (call->http_status != 200 && call->http_status > 0) {
            buf_printf(&call->text, "%s answers HTTP status %d: is it an etcd endpoint?",
                       call->conn->endpoint, call->http_status);
        } else {
            buf_printf(&call->text, "stream terminated by RST_STREAM with error code: %s",
                       nghttp2_http2_strerror(error));
        }
    }
    return 0;
}

static int conn_on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
    struct conn *c = data;
    if (frame->hd.type == NGHTTP2_SETTINGS) {
        c->settled = true;
    }
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        c->goodbye = true;
    }
    /* The server said its last word while we could go on (a watch): that ends the call, whether it
     * resets the stream as well or not. */
    if ((frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
        (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 &&
        nghttp2_session_get_stream_local_close(session, frame->hd.stream_id) == 0) {
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                  NGHTTP2_NO_ERROR);
    }
    if (frame->hd.type == NGHTTP2_PING && (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) {
        c->ping_pending = false;
    }
    return 0;
}

static ssize_t conn_on_read(nghttp2_session *session, int32_t id, uint8_t *out, size_t len,
                            uint32_t *flags, nghttp2_data_source *source, void *data)
{
    struct conn_call *call = source->ptr;
    size_t n = call->out.len < len ? call->out.len : len;
    if (n > 0) {
        memcpy(out, call->out.data, n);
        buf_consume(&call->out, n);
        call->any_sent = true;
    }
    if (call->out.len == 0 && call->out_last) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    } else if (n == 0) {
        call->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    return (ssize_t)n;
}

/* ---- moving bytes
 * -------------------------------------------------------------------------------- */

static void conn_break(struct conn *c, const char *why)
{
    if (!c->broken) {
        c->broken = true;
        snprintf(c->why, sizeof(c->why), "%s: %s", c->endpoint, why);
    }
}

/* Writes what the session has, as far as the socket takes it; the rest stays in `unsent`. */
static void conn_write(struct conn *c)
{
    while (!c->broken) {
        if (c->unsent_len == 0) {
            ssize_t len = nghttp2_session_mem_send(c->session, &c->unsent);
            if (len < 0) {
                conn_break(c, nghttp2_strerror((int)len));
            }
            if (len <= 0) {
                return;
            }
            c->unsent_len = (size_t)len;
        }
        ssize_t n = send(c->fd, c->unsent, c->unsent_len, MSG_NOSIGNAL);
        if (n > 0) {
            c->unsent += n;
            c->unsent_len -= (size_t)n;
        } else if (errno == EAGAIN) {
            return;
        } else if (errno != EINTR) {
            conn_break(c, strerror(errno));
        }
    }
}

/* Reads once; the caller knows that there is something. */
static void conn_read(struct conn *c)
{
    static uint8_t bytes[64 * 1024];
    ssize_t n = recv(c->fd, bytes, sizeof(bytes), 0);
    if (n == 0) {
        conn_break(c, "the server closed the connection");
    } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
        conn_break(c, strerror(errno));
    } else if (n > 0) {
        c->heard_ms = clock_mono_ms();
        ssize_t taken = nghttp2_session_mem_recv(c->session, bytes, (size_t)n);
        if (taken < 0) {
            conn_break(c, taken == NGHTTP2_ERR_BAD_CLIENT_MAGIC || taken == NGHTTP2_ERR_PROTO
                              ? "the server does not speak HTTP/2"
                              : nghttp2_strerror((int)taken));
        }
    }
}

/* nghttp2 answers nonsense by saying goodbye, and then hears nothing more. */
static void conn_mind_end(struct conn *c)
{
    if (nghttp2_session_want_read(c->session) != 0 || c->broken) {
        return;
    }
    conn_break(c, c->goodbye   ? "the server is going away"
                  : c->settled ? "the server broke the rules of HTTP/2"
                               : "the server does not speak HTTP/2");
}

/* Has the server said something that was not read yet? */
static bool conn_readable(const struct conn *c)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    return poll(&p, 1, 0) > 0;
}

/* A server that was silent for long is asked for a sign of life, once. Returns how long to wait. */
static int conn_mind_silence(struct conn *c, int wait)
{
    uint64_t now = clock_mono_ms();
    uint64_t next = c->ping_pending ? c->ping_ms + CONN_PING_WAIT_MS : c->heard_ms + CONN_PING_MS;
    if (now >= next && c->ping_pending) {
        /* It may be this side that was away: stopped, or busy with the command of a watch. */
        if (!conn_readable(c)) {
            conn_break(c, "the server is silent");
        }
        return 0;
    }
    if (now >= next) {
        nghttp2_submit_ping(c->session, NGHTTP2_FLAG_NONE, NULL);
        c->ping_pending = true;
        c->ping_ms = now;
        next = now + CONN_PING_WAIT_MS;
    }
    int left = (int)(next - now);
    return wait < 0 || wait > left ? left : wait;
}

/* Moves bytes until something came, or the deadline passed (then false). */
static bool conn_pump(struct conn *c, uint64_t deadline_ms)
{
    while (!c->broken) {
        int left = conn_left(deadline_ms);
        int wait = conn_mind_silence(c, left);
        conn_write(c);
        if (c->broken) {
            break;
        }
        struct pollfd p = {.fd = c->fd, .events = POLLIN};
        p.events |= c->unsent_len > 0 ? POLLOUT : 0;
        int ready = poll(&p, 1, wait);
        if (ready > 0 && (p.revents & ~POLLOUT) != 0) {
            conn_read(c);
            conn_write(c);
            conn_mind_end(c);
            return true;
        }
        if (left >= 0 && conn_left(deadline_ms) == 0) {
            return false;
        }
    }
    return true;
}

/* ---- connections
 * --------------------------------------------------------------------------------- */

static int conn_session(struct conn *c)
{
    nghttp2_session_callbacks *callbacks = NULL;
    if (nghttp2_session_callbacks_new(&callbacks) != 0) {
        return ERR_NOMEM;
    }
    nghttp2_session_callbacks_set_on_header_callback(callbacks, conn_on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, conn_on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, conn_on_stream_close);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, conn_on_frame);
    int rc = nghttp2_session_client_new(&c->session, callbacks, c);
    nghttp2_session_callbacks_del(callbacks);
    if (rc != 0) {
        return ERR_NOMEM;
    }
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, CONN_WINDOW_BYTES},
    };
    nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings, 2);
    nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, CONN_WINDOW_BYTES);
    return 0;
}

int conn_open(const char *endpoint, uint64_t deadline_ms, struct conn **out, struct errmsg *e)
{
    int fd = -1;
    int err = conn_connect(endpoint, deadline_ms, &fd, e);
    if (err != 0) {
        return err;
    }
    struct conn *c = mem_zalloc(sizeof(*c));
    if (c == NULL) {
        close(fd);
        return errmsg_set(e, ERR_NOMEM, "out of memory");
    }
    const char *scheme = strstr(endpoint, "://");
    c->fd = fd;
    c->heard_ms = clock_mono_ms();
    c->endpoint = mem_strdup(endpoint);
    c->authority = mem_strdup(strncmp(endpoint, "unix://", 7) == 0 ? "localhost"
                              : scheme != NULL                     ? scheme + 3
                                                                   : endpoint);
    if (c->endpoint == NULL || c->authority == NULL || conn_session(c) != 0) {
        conn_close(c);
        return errmsg_set(e, ERR_NOMEM, "out of memory");
    }
    /* A kernel takes connections for a process that hangs: only the server's own first frame tells
     * that somebody is there, and another endpoint may be better. */
    bool late = false;
    while (!c->settled && !c->broken && !late) {
        late = !conn_pump(c, deadline_ms) || conn_left(deadline_ms) == 0;
    }
    if (c->settled && c->goodbye) {
        conn_break(c, "the server is going away");
    }
    if (!c->settled || c->broken) {
        err = c->broken ? errmsg_set(e, ERR_IO, "%s", c->why)
                        : errmsg_set(e, ERR_DEADLINE, "%s: the server does not answer", endpoint);
        conn_close(c);
        return err;
    }
    *out = c;
    return 0;
}

void conn_close(struct conn *c)
{
    if (c == NULL) {
        return;
    }
    if (c->session != NULL && !c->broken) {
        nghttp2_session_terminate_session(c->session, NGHTTP2_NO_ERROR);
        conn_write(c);
    }
    nghttp2_session_del(c->session);
    close(c->fd);
    mem_free(c->endpoint);
    mem_free(c->authority);
    mem_free(c);
}

bool conn_alive(const struct conn *c)
{
    return !c->broken && !c->goodbye;
}

const char *conn_endpoint(const struct conn *c)
{
    return c->endpoint;
}

/* ---- calls
 * --------------------------------------------------------------------------------------- */

static nghttp2_nv conn_field(const char *name, const char *value)
{
    return (nghttp2_nv){.name = (uint8_t *)name,
                        .value = (uint8_t *)value,
                        .namelen = strlen(name),
                        .valuelen = strlen(value)};
}

struct conn_call *conn_call_start(struct conn *c, const struct conn_call_options *options)
{
    struct conn_call *call = mem_zalloc(sizeof(*call));
    char timeout[24];
    nghttp2_nv fields[10];
    size_t n = 0;
    if (call == NULL || !conn_alive(c)) {
        mem_free(call);
        return NULL;
    }
    call->conn = c;
    call->code = -1;
    call->message_bytes_max = options->message_bytes_max;
    buf_init(&call->out);
    buf_init(&call->in);
    buf_init(&call->text);
    fields[n++] = conn_field(":method", "POST");
    fields[n++] = conn_field(":scheme", "http");
    fields[n++] = conn_field(":path", options->path);
    fields[n++] = conn_field(":authority", c->authority);
    fields[n++] = conn_field("content-type", "application/grpc");
    fields[n++] = conn_field("user-agent", "kvctl");
    fields[n++] = conn_field("te", "trailers");
    if (options->timeout_ms > 0) {
        /* At most eight digits are allowed; seconds beyond them last for years. */
        if (options->timeout_ms <= 99999999) {
            snprintf(timeout, sizeof(timeout), "%" PRIu64 "m", options->timeout_ms);
        } else {
            uint64_t seconds = options->timeout_ms / 1000;
            snprintf(timeout, sizeof(timeout), "%" PRIu64 "S",
                     seconds < 99999999 ? seconds : 99999999);
        }
        fields[n++] = conn_field("grpc-timeout", timeout);
    }
    if (options->require_leader) {
        fields[n++] = conn_field("hasleader", "true");
    }
    const nghttp2_data_provider body = {.source = {.ptr = call}, .read_callback = conn_on_read};
    call->id = nghttp2_submit_request(c->session, NULL, fields, n, &body, call);
    if (call->id < 0) {
        mem_free(call);
        return NULL;
    }
    return call;
}

bool conn_call_send(struct conn_call *call, struct slice message, bool last)
{
    uint8_t head[5] = {0};
    bytes_put_be32(head + 1, (uint32_t)message.len);
    bool ok = buf_append(&call->out, head, sizeof(head)) && buf_append_slice(&call->out, message);
    call->out_last = last;
    if (call->deferred && !call->closed) {
        call->deferred = false;
        nghttp2_session_resume_data(call->conn->session, call->id);
    }
    return ok;
}

static void conn_call_fail(struct conn_call *call, int code, const char *text)
{
    call->closed = true;
    call->code = code;
    buf_clear(&call->text);
    buf_append_str(&call->text, text);
}

/* A whole message at the front of what came? */
static bool conn_call_take(struct conn_call *call, struct slice *message)
{
    if (call->consumed > 0) {
        buf_consume(&call->in, call->consumed);
        call->consumed = 0;
    }
    if (call->in.len < 5) {
        return false;
    }
    size_t len = bytes_be32(call->in.data + 1);
    if (call->in.data[0] != 0 || len > call->message_bytes_max) {
        char text[128];
        snprintf(text, sizeof(text),
                 call->in.data[0] != 0 ? "the answer is compressed, which was not asked for"
                                       : "received message larger than max (%zu vs. %zu)",
                 len, call->message_bytes_max);
        if (!call->closed) {
            nghttp2_submit_rst_stream(call->conn->session, NGHTTP2_FLAG_NONE, call->id,
                                      NGHTTP2_CANCEL);
        }
        buf_clear(&call->in);
        conn_call_fail(call, GRPC_RESOURCE_EXHAUSTED, text);
        return false;
    }
    if (call->in.len - 5 < len) {
        return false;
    }
    *message = slice_of(call->in.data + 5, len);
    call->consumed = 5 + len;
    return true;
}

enum conn_result conn_call_next(struct conn_call *call, uint64_t deadline_ms, struct slice *message)
{
    /* Bytes that make no message do not move the deadline. */
    bool late = false;
    for (;;) {
        if (conn_call_take(call, message)) {
            return CONN_MESSAGE;
        }
        if (call->closed) {
            return CONN_END;
        }
        if (call->conn->broken) {
            conn_call_fail(call, GRPC_UNAVAILABLE, call->conn->why);
            return CONN_END;
        }
        if (late) {
            return CONN_TIMEOUT;
        }
        late = !conn_pump(call->conn, deadline_ms) || conn_left(deadline_ms) == 0;
    }
}

int conn_call_code(const struct conn_call *call)
{
    return call->code;
}

const char *conn_call_text(const struct conn_call *call)
{
    struct buf *text = (struct buf *)&call->text;
    /* Room for the NUL was made when the text was; a failed buffer has no text at all. */
    if (text->failed || !buf_reserve(text, 1)) {
        return "";
    }
    text->data[text->len] = '\0';
    return (const char *)text->data;
}

bool conn_call_answered(const struct conn_call *call)
{
    return call->answered;
}

bool conn_call_unsent(const struct conn_call *call)
{
    return call->refused || (!call->any_sent && call->closed && call->code == GRPC_UNAVAILABLE);
}

void conn_call_end(struct conn_call *call)
{
    if (call == NULL) {
        return;
    }
    nghttp2_session *session = call->conn->session;
    if (!call->closed && !call->conn->broken) {
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, call->id, NGHTTP2_CANCEL);
        conn_write(call->conn);
    }
    nghttp2_session_set_stream_user_data(session, call->id, NULL);
    buf_close(&call->out);
    buf_close(&call->in);
    buf_close(&call->text);
    mem_free(call);
}
