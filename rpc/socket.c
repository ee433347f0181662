/* socket.c - binds struct conn to uv streams; see socket.h and conn.h. */
#include "rpc/socket.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/log.h"
#include "rpc/conn.h"
#include "rpc/secure.h"

/* Seconds of silence before the kernel asks whether the peer is there (etcd's listeners: 30). */
#define SOCKET_KEEPALIVE_SECONDS 30u

struct socket {
    struct conn conn;
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    uv_write_t write;
    struct tls_context *tls; /* of its listener; NULL = none, or the first byte was seen */
    bool plain_too;
    bool refused; /* over the limit: never became a connection */
};

static struct socket *socket_of(struct conn *c)
{
    return LIST_ENTRY(c, struct socket, conn);
}

static void socket_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    struct socket *k = handle->data;
    (void)suggested;
    *out = uv_buf_init((char *)k->conn.server->read_buffer, RPC_READ_BUFFER_BYTES);
}

/* The first byte on a listener with TLS. */
static void socket_choose(struct socket *k, const uint8_t *data, size_t len)
{
    struct tls_context *tls = k->tls;
    k->tls = NULL;
    if (data[0] == SECURE_FIRST_BYTE || !k->plain_too) {
        secure_begin(&k->conn, tls, data, len);
    }
}

static void socket_input(struct socket *k, const uint8_t *data, size_t len)
{
    if (k->tls != NULL) {
        socket_choose(k, data, len);
    }
    if (k->conn.security != NULL) {
        secure_input(k->conn.security, data, len);
    } else {
        conn_input(&k->conn, data, len);
    }
}

static void socket_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct socket *k = stream->data;
    if (n > 0) {
        socket_input(k, (const uint8_t *)buf->base, (size_t)n);
    } else if (n == UV_EOF) {
        if (k->conn.security != NULL) {
            secure_eof(k->conn.security);
        } else {
            conn_eof(&k->conn);
        }
    } else if (n < 0) {
        conn_destroy(&k->conn);
    }
}

static ssize_t socket_try_write(struct conn *c, const struct slice *parts, size_t count)
{
    uv_buf_t bufs[RPC_WRITE_PARTS_MAX];
    for (size_t i = 0; i < count; i++) {
        bufs[i] = uv_buf_init((char *)(uintptr_t)parts[i].data, (unsigned)parts[i].len);
    }
    int n = uv_try_write(&socket_of(c)->uv.stream, bufs, (unsigned)count);
    return n == UV_EAGAIN ? 0 : n;
}

static void socket_written(uv_write_t *req, int status)
{
    struct socket *k = req->data;
    if (k->conn.security != NULL) {
        secure_written(k->conn.security, status);
    } else {
        conn_written(&k->conn, status);
    }
}

static int socket_write(struct conn *c, const uint8_t *data, size_t len)
{
    struct socket *k = socket_of(c);
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)data, (unsigned)len);
    k->write.data = k;
    return uv_write(&k->write, &k->uv.stream, &buf, 1, socket_written);
}

static void socket_read_start(struct conn *c)
{
    (void)uv_read_start(&socket_of(c)->uv.stream, socket_alloc, socket_read);
}

static void socket_read_stop(struct conn *c)
{
    (void)uv_read_stop(&socket_of(c)->uv.stream);
}

static void socket_finish(struct conn *c)
{
    /* Everything is in the kernel already, so no uv_shutdown with its request is needed. */
    uv_os_fd_t fd;
    if (uv_fileno(&socket_of(c)->uv.handle, &fd) == 0) {
        (void)shutdown(fd, SHUT_WR);
    }
}

static void socket_closed(uv_handle_t *handle)
{
    struct socket *k = handle->data;
    struct rpc_server *s = k->conn.server;
    if (k->refused) {
        s->open_handles--;
        server_settle(s);
    } else {
        conn_free(&k->conn);
    }
    mem_free(k);
}

static void socket_close(struct conn *c)
{
    uv_close(&socket_of(c)->uv.handle, socket_closed);
}

static void socket_peer(struct conn *c, char *text, size_t size)
{
    struct socket *k = socket_of(c);
    struct sockaddr_storage a;
    int len = sizeof(a);
    char ip[INET6_ADDRSTRLEN] = "";
    snprintf(text, size, "@");
    if (k->uv.handle.type != UV_TCP ||
        uv_tcp_getpeername(&k->uv.tcp, (struct sockaddr *)&a, &len) != 0) {
        return;
    }
    if (a.ss_family == AF_INET) {
        const struct sockaddr_in *in4 = (const struct sockaddr_in *)&a;
        uv_ip4_name(in4, ip, sizeof(ip));
        snprintf(text, size, "%s:%u", ip, ntohs(in4->sin_port));
    } else if (a.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&a;
        uv_ip6_name(in6, ip, sizeof(ip));
        snprintf(text, size, "[%s]:%u", ip, ntohs(in6->sin6_port));
    }
}

static const struct conn_ops socket_ops = {
    .try_write = socket_try_write,
    .write = socket_write,
    .read_start = socket_read_start,
    .read_stop = socket_read_stop,
    .finish = socket_finish,
    .close = socket_close,
    .peer = socket_peer,
};

/* Closes one that did not become a connection. */
static void socket_refuse(struct socket *k, const char *why)
{
    struct rpc_server *s = k->conn.server;
    char peer[CONN_PEER_BYTES];
    socket_peer(&k->conn, peer, sizeof(peer));
    server_log_refusal(s, peer, why);
    k->refused = true;
    s->open_handles++;
    uv_close(&k->uv.handle, socket_closed);
}

void socket_accept(struct rpc_server *s, uv_stream_t *listening, struct tls_context *tls,
                   bool plain_too)
{
    struct socket *k = mem_zalloc(sizeof(*k));
    if (k == NULL) {
        /* The peer stays in the backlog; libuv asks again at the next connection. */
        LOG(LOG_WARN, "cannot accept a connection: out of memory");
        return;
    }
    k->conn.server = s;
    k->tls = tls;
    k->plain_too = plain_too;
    int rv = listening->type == UV_TCP ? uv_tcp_init(s->loop, &k->uv.tcp)
                                       : uv_pipe_init(s->loop, &k->uv.pipe, 0);
    if (rv != 0) {
        mem_free(k);
        return;
    }
    k->uv.handle.data = k;
    if (uv_accept(listening, &k->uv.stream) != 0) {
        socket_refuse(k, "accept failed");
        return;
    }
    if (s->conn_count >= s->options.connections_max) {
        socket_refuse(k, "too many connections, see the limit on connections");
        return;
    }
    if (listening->type == UV_TCP) {
        (void)uv_tcp_nodelay(&k->uv.tcp, 1);
        (void)uv_tcp_keepalive(&k->uv.tcp, 1, SOCKET_KEEPALIVE_SECONDS);
    }
    if (!conn_init(&k->conn, s, &socket_ops)) {
        socket_refuse(k, "out of memory");
        return;
    }
    socket_read_start(&k->conn);
}
