/* listener.c - listening sockets: addresses, unix paths, accepting.
 *
 * Running out of file descriptors needs no code here: libuv keeps one in reserve, and while accept
 * answers EMFILE it uses that one to take and close the waiting connections, so the loop neither
 * spins nor leaves clients hanging. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/log.h"
#include "rpc/server_impl.h"
#include "rpc/socket.h"

/* Connections that wait to be accepted; the kernel cuts it to net.core.somaxconn. */
#define LISTENER_BACKLOG 4096

struct listener {
    struct rpc_server *server;
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    struct tls_context *tls; /* NULL = none */
    bool plain_too;
    char *path; /* of a unix socket, removed at close; NULL for TCP */
    uint16_t port;
};

static void listener_connection(uv_stream_t *stream, int status)
{
    struct listener *l = stream->data;
    if (status < 0) {
        server_log_refusal(l->server, "", uv_strerror(status));
        return;
    }
    socket_accept(l->server, stream, l->tls, l->plain_too);
}

static void listener_closed(uv_handle_t *handle)
{
    struct listener *l = handle->data;
    struct rpc_server *s = l->server;
    mem_free(l->path);
    mem_free(l);
    s->open_handles--;
    server_settle(s);
}

static void listener_close(struct listener *l)
{
    if (l->path != NULL) {
        (void)unlink(l->path);
    }
    uv_close(&l->uv.handle, listener_closed);
}

void listener_close_all(struct rpc_server *s)
{
    for (size_t i = 0; i < s->listener_count; i++) {
        if (s->listeners[i] != NULL) {
            listener_close(s->listeners[i]);
            s->listeners[i] = NULL;
        }
    }
}

/* A socket file left by a process that died would make bind fail; other files are not ours to
 * remove. */
static void listener_remove_stale(const char *path)
{
    struct stat st;
    if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode)) {
        (void)unlink(path);
    }
}

/* uv_pipe_bind would call a missing folder "permission denied". Returns 0 or a libuv error. */
static int listener_bind_unix(struct listener *l, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return uv_translate_sys_error(errno);
    }
    int rv = bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0
                 ? uv_translate_sys_error(errno)
                 : uv_pipe_open(&l->uv.pipe, fd);
    if (rv != 0) {
        (void)close(fd);
    }
    return rv;
}

static int listener_open_unix(struct listener *l, const char *path, struct errmsg *e)
{
    int rv = uv_pipe_init(l->server->loop, &l->uv.pipe, 0);
    if (rv != 0) {
        return errmsg_set(e, ERR_IO, "listen unix %s: %s", path, uv_strerror(rv));
    }
    l->server->open_handles++;
    l->uv.handle.data = l;
    if (path[0] == '\0' || strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
        return errmsg_set(e, ERR_INVALID,
                          "listen unix %s: the path is empty or longer than %zu bytes", path,
                          sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
    }
    listener_remove_stale(path);
    rv = listener_bind_unix(l, path);
    if (rv != 0) {
        return errmsg_set(e, ERR_IO, "listen unix %s: bind: %s", path, uv_strerror(rv));
    }
    l->path = mem_strdup(path);
    if (l->path == NULL) {
        (void)unlink(path);
        return errmsg_set(e, ERR_NOMEM, "listen unix %s: out of memory", path);
    }
    rv = uv_listen(&l->uv.stream, LISTENER_BACKLOG, listener_connection);
    if (rv != 0) {
        return errmsg_set(e, ERR_IO, "listen unix %s: %s", path, uv_strerror(rv));
    }
    return 0;
}

/* "127.0.0.1", "::1", "[::1]", "localhost", "" (every address). */
static int listener_address(const char *host, uint16_t port, struct sockaddr_storage *out)
{
    char bare[INET6_ADDRSTRLEN + UV_IF_NAMESIZE];
    size_t len = strlen(host);
    if (len == 0) {
        return uv_ip6_addr("::", port, (struct sockaddr_in6 *)out);
    }
    if (strcmp(host, "localhost") == 0) {
        host = "127.0.0.1";
    } else if (host[0] == '[' && host[len - 1] == ']' && len - 2 < sizeof(bare)) {
        memcpy(bare, host + 1, len - 2);
        bare[len - 2] = '\0';
        host = bare;
    }
    if (uv_ip4_addr(host, port, (struct sockaddr_in *)out) == 0) {
        return 0;
    }
    return uv_ip6_addr(host, port, (struct sockaddr_in6 *)out);
}

static uint16_t listener_port(const struct sockaddr_storage *address)
{
    return ntohs(address->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)address)->sin6_port
                                                : ((const struct sockaddr_in *)address)->sin_port);
}

static int listener_open_tcp(struct listener *l, const char *host, uint16_t port, struct errmsg *e)
{
    struct sockaddr_storage address;
    const char *left = strchr(host, ':') != NULL && host[0] != '[' ? "[" : "";
    const char *right = left[0] != '\0' ? "]" : "";
    int rv = uv_tcp_init(l->server->loop, &l->uv.tcp);
    if (rv != 0) {
        return errmsg_set(e, ERR_IO, "listen tcp: %s", uv_strerror(rv));
    }
    l->server->open_handles++;
    l->uv.handle.data = l;
    if (listener_address(host, port, &address) != 0) {
        return errmsg_set(e, ERR_INVALID, "listen tcp %s%s%s:%u: not an IP address", left, host,
                          right, port);
    }
    rv = uv_tcp_bind(&l->uv.tcp, (const struct sockaddr *)&address, 0);
    if (rv != 0 && host[0] == '\0' &&
        uv_ip4_addr("0.0.0.0", port, (struct sockaddr_in *)&address) == 0) {
        /* "Every address" on a kernel without IPv6. */
        rv = uv_tcp_bind(&l->uv.tcp, (const struct sockaddr *)&address, 0);
    }
    if (rv == 0) {
        /* libuv reports "address in use" only here. */
        rv = uv_listen(&l->uv.stream, LISTENER_BACKLOG, listener_connection);
    }
    if (rv != 0) {
        return errmsg_set(e, ERR_IO, "listen tcp %s%s%s:%u: bind: %s", left, host, right, port,
                          uv_strerror(rv));
    }
    int size = sizeof(address);
    if (uv_tcp_getsockname(&l->uv.tcp, (struct sockaddr *)&address, &size) == 0) {
        l->port = listener_port(&address);
    }
    return 0;
}

int rpc_server_listen(struct rpc_server *s, const char *host, uint16_t port, struct errmsg *e)
{
    return rpc_server_listen_tls(s, host, port, NULL, false, e);
}

static int listener_new(struct rpc_server *s, const char *host, struct tls_context *tls,
                        bool plain_too, struct listener **out, struct errmsg *e)
{
    if (tls != NULL && s->plain_buffer == NULL) {
        s->plain_buffer = mem_alloc(RPC_READ_BUFFER_BYTES);
        if (s->plain_buffer == NULL) {
            return errmsg_set(e, ERR_NOMEM, "listen %s: out of memory", host);
        }
    }
    if (s->listener_count == RPC_LISTENERS_MAX) {
        return errmsg_set(e, ERR_INVALID, "listen %s: more than %u listeners", host,
                          RPC_LISTENERS_MAX);
    }
    struct listener *l = mem_zalloc(sizeof(*l));
    if (l == NULL) {
        return errmsg_set(e, ERR_NOMEM, "listen %s: out of memory", host);
    }
    l->server = s;
    l->tls = tls;
    l->plain_too = plain_too;
    *out = l;
    return 0;
}

/* Keeps a listener that is open, or lets it go. */
static void listener_settle(struct rpc_server *s, struct listener *l, int err)
{
    if (err == 0) {
        s->listeners[s->listener_count++] = l;
    } else if (l->uv.handle.data != NULL) {
        uv_close(&l->uv.handle, listener_closed);
    } else {
        mem_free(l);
    }
}

int rpc_server_listen_tls(struct rpc_server *s, const char *host, uint16_t port,
                          struct tls_context *tls, bool plain_too, struct errmsg *e)
{
    struct listener *l;
    int err = listener_new(s, host, tls, plain_too, &l, e);
    if (err != 0) {
        return err;
    }
    err = strncmp(host, "unix:", 5) == 0 ? listener_open_unix(l, host + 5, e)
                                         : listener_open_tcp(l, host, port, e);
    listener_settle(s, l, err);
    return err;
}

/* ---- sockets bound beforehand ---------------------------------------------------------------- */

int rpc_bind(const char *host, uint16_t port, int *out_fd, uint16_t *out_port, struct errmsg *e)
{
    struct sockaddr_storage address = {0};
    const char *left = strchr(host, ':') != NULL && host[0] != '[' ? "[" : "";
    const char *right = left[0] != '\0' ? "]" : "";
    if (listener_address(host, port, &address) != 0) {
        return errmsg_set(e, ERR_INVALID, "listen tcp %s%s%s:%u: not an IP address", left, host,
                          right, port);
    }
    socklen_t size =
        address.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    int on = 1;
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(fd, (const struct sockaddr *)&address, size) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
        int err = errmsg_set(e, ERR_IO, "listen tcp %s%s%s:%u: bind: %s", left, host, right, port,
                             uv_strerror(uv_translate_sys_error(errno)));
        if (fd >= 0) {
            (void)close(fd);
        }
        return err;
    }
    *out_fd = fd;
    *out_port = listener_port(&address);
    return 0;
}

int rpc_server_listen_fd(struct rpc_server *s, int fd, struct tls_context *tls, struct errmsg *e)
{
    struct listener *l;
    int err = listener_new(s, "tcp", tls, false, &l, e);
    if (err != 0) {
        (void)close(fd);
        return err;
    }
    int rv = uv_tcp_init(s->loop, &l->uv.tcp);
    if (rv == 0) {
        s->open_handles++;
        l->uv.handle.data = l;
        rv = uv_tcp_open(&l->uv.tcp, fd);
    }
    if (rv != 0) {
        (void)close(fd);
    } else {
        rv = uv_listen(&l->uv.stream, LISTENER_BACKLOG, listener_connection);
    }
    struct sockaddr_storage address;
    int size = sizeof(address);
    if (rv == 0 && uv_tcp_getsockname(&l->uv.tcp, (struct sockaddr *)&address, &size) == 0) {
        l->port = listener_port(&address);
    }
    err = rv == 0 ? 0 : errmsg_set(e, ERR_IO, "listen tcp: %s", uv_strerror(rv));
    listener_settle(s, l, err);
    return err;
}

uint16_t rpc_server_port(const struct rpc_server *s, size_t i)
{
    return i < s->listener_count && s->listeners[i] != NULL ? s->listeners[i]->port : 0;
}
