/* bench_api.c - a load generator for a Kubernetes API server: many connections over TLS, each a
 * closed loop of one request, HTTP/1.1 with keep-alive.
 *
 *   bench_api --port P --pem FILE --method M --path PATH [--body FILE] [--accept TYPE]
 *             [--first N] [--objects N] --connections C --requests R
 *             [--watch PATH --watchers W --events E]
 *
 * FILE of --pem has the client's certificate and key. Every @ in path and body becomes a number:
 * first, first + 1, ... and after `objects` of them from first again. With --watch, W connections
 * watch that path meanwhile, and the run ends when each of them has got E events. The server's
 * certificate is not verified: it is our own on loopback, and what is measured is its CPU.
 *
 * Prints "ready" when all connections are up (and the watches answered), waits for a line on
 * standard input, works, prints one JSON object: requests, errors, seconds, p50/p99/max in
 * microseconds, bytes of bodies, events. Between the two lines the caller may look at the server's
 * CPU time, which then has no handshakes in it. One thread, epoll; answers are counted, not read.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"

enum { HEAD_BYTES_MAX = 8192, READ_BYTES = 1 << 16, SILENCE_MS_MAX = 120000 };
enum state { HEAD, LENGTH, CHUNK_SIZE, CHUNK, CHUNK_END, TRAILER };

struct connection {
    int fd;
    SSL *ssl;
    bool watcher, answered;
    uint64_t started_ns;
    enum state state;
    char head[HEAD_BYTES_MAX + 1];
    size_t head_len;
    uint64_t left; /* of the body or the chunk */
    int status;
    uint64_t events;
};

static struct {
    uint16_t port;
    const char *pem, *method, *path, *body, *accept, *watch;
    uint64_t first, objects, connections, requests, watchers, events;
} options = {.method = "GET", .accept = "application/json", .objects = UINT64_MAX};

static struct buf body;
static uint64_t begun, finished, errors, body_bytes, events_seen, watches_answered, watches_done;
static uint64_t *latencies;

static void fail(const char *what)
{
    fprintf(stderr, "bench_api: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* Waits until the socket can do what SSL wanted; fails when it wanted nothing. */
static void await(struct connection *c, int result)
{
    int want = SSL_get_error(c->ssl, result);
    struct pollfd p = {.fd = c->fd, .events = want == SSL_ERROR_WANT_WRITE ? POLLOUT : POLLIN};
    if ((want != SSL_ERROR_WANT_WRITE && want != SSL_ERROR_WANT_READ) ||
        poll(&p, 1, SILENCE_MS_MAX) <= 0) {
        fail("the server does not take what is sent");
    }
}

static void append_numbered(struct buf *out, const char *text, size_t len, uint64_t n)
{
    for (size_t i = 0; i < len;) {
        const char *at = memchr(text + i, '@', len - i);
        size_t plain = at == NULL ? len - i : (size_t)(at - text) - i;
        buf_append(out, text + i, plain);
        i += plain;
        if (i < len) {
            buf_printf(out, "%" PRIu64, n);
            i++;
        }
    }
}

static void send_request(struct connection *c, const char *method, const char *path)
{
    static struct buf text, content;
    uint64_t n = options.first + (c->watcher ? 0 : begun++ % options.objects);
    buf_clear(&text);
    buf_clear(&content);
    if (!c->watcher) {
        append_numbered(&content, (const char *)body.data, body.len, n);
    }
    buf_printf(&text, "%s ", method);
    append_numbered(&text, path, strlen(path), n);
    buf_printf(&text,
               " HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench_api\r\nAccept: %s\r\n"
               "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
               c->watcher ? "application/json" : options.accept, content.len);
    buf_append_slice(&text, buf_slice(&content));
    c->state = HEAD;
    c->head_len = 0;
    c->started_ns = clock_mono_ns();
    int rc;
    while ((rc = SSL_write(c->ssl, text.data, (int)text.len)) <= 0) {
        await(c, rc);
    }
}

static void answer_over(struct connection *c)
{
    if (c->watcher) {
        errno = ECONNRESET;
        fail("a watch ended");
    }
    bool fine = c->status >= 200 && c->status < 300;
    if (!fine && errors == 0) {
        fprintf(stderr, "bench_api: the first refusal has status %d\n", c->status);
    }
    errors += !fine;
    latencies[finished++] = clock_mono_ns() - c->started_ns;
    if (begun < options.requests) {
        send_request(c, options.method, options.path);
    }
}

/* The head is complete. */
static void head_over(struct connection *c)
{
    bool chunked = false;
    c->left = 0;
    if (sscanf(c->head, "HTTP/1.1 %d", &c->status) != 1) {
        errno = EPROTO;
        fail("an answer");
    }
    for (char *line = strchr(c->head, '\n'); line != NULL; line = strchr(line + 1, '\n')) {
        if (strncasecmp(line + 1, "content-length:", 15) == 0) {
            c->left = strtoull(line + 16, NULL, 10);
        } else if (strncasecmp(line + 1, "transfer-encoding: chunked", 26) == 0) {
            chunked = true;
        }
    }
    if (c->watcher && !c->answered) {
        c->answered = true;
        watches_answered++;
        if (c->status != 200 || !chunked) {
            errno = EPROTO;
            fail("a watch");
        }
    }
    c->head_len = 0;
    c->state = chunked ? CHUNK_SIZE : LENGTH;
    if (!chunked && c->left == 0) {
        answer_over(c);
    }
}

static void count_events(struct connection *c, const char *data, size_t len)
{
    const char *end = data + len;
    while (data < end && (data = memchr(data, '\n', (size_t)(end - data))) != NULL) {
        data++;
        events_seen++;
        c->events++;
        watches_done += c->events == options.events;
    }
}

/* A line of head, chunk size or trailer gains a byte; true when it is complete. */
static bool line_complete(struct connection *c, char byte)
{
    if (c->head_len == HEAD_BYTES_MAX) {
        errno = EMSGSIZE;
        fail("an answer's head");
    }
    c->head[c->head_len++] = byte;
    c->head[c->head_len] = '\0';
    if (c->state == HEAD) {
        return c->head_len >= 4 && memcmp(c->head + c->head_len - 4, "\r\n\r\n", 4) == 0;
    }
    return byte == '\n';
}

static void feed_line(struct connection *c, char byte)
{
    if (!line_complete(c, byte)) {
        return;
    }
    if (c->state == HEAD) {
        head_over(c);
        return;
    }
    size_t len = c->head_len;
    c->head_len = 0;
    if (c->state == CHUNK_SIZE) {
        c->left = strtoull(c->head, NULL, 16);
        c->state = c->left > 0 ? CHUNK : TRAILER;
    } else if (c->state == CHUNK_END) {
        c->state = CHUNK_SIZE;
    } else if (len == 2) {
        answer_over(c);
    }
}

static void feed(struct connection *c, const char *data, size_t len)
{
    for (size_t i = 0; i < len;) {
        if (c->state != LENGTH && c->state != CHUNK) {
            feed_line(c, data[i++]);
            continue;
        }
        size_t n = c->left < len - i ? (size_t)c->left : len - i;
        body_bytes += n;
        if (c->watcher) {
            count_events(c, data + i, n);
        }
        i += n;
        c->left -= n;
        if (c->left == 0 && c->state == CHUNK) {
            c->state = CHUNK_END;
        } else if (c->left == 0) {
            answer_over(c);
        }
    }
}

static void receive(struct connection *c)
{
    static char buffer[READ_BYTES];
    for (;;) {
        int n = SSL_read(c->ssl, buffer, sizeof(buffer));
        if (n <= 0) {
            if (SSL_get_error(c->ssl, n) == SSL_ERROR_WANT_READ) {
                return;
            }
            fail("the server closed a connection");
        }
        feed(c, buffer, (size_t)n);
    }
}

static void connection_open(struct connection *c, SSL_CTX *tls, int epoll)
{
    static const unsigned char alpn[] = "\x08http/1.1";
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(options.port)};
    int on = 1;
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        fail("connect");
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    c->ssl = SSL_new(tls);
    if (c->ssl == NULL || SSL_set_fd(c->ssl, c->fd) != 1 ||
        SSL_set_alpn_protos(c->ssl, alpn, sizeof(alpn) - 1) != 0 || SSL_connect(c->ssl) != 1) {
        fail("the TLS handshake");
    }
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event) != 0) {
        fail("epoll_ctl");
    }
}

static void turn(int epoll)
{
    struct epoll_event events[256];
    int n = epoll_wait(epoll, events, 256, SILENCE_MS_MAX);
    if (n == 0) {
        errno = ETIMEDOUT;
        fail("no answer");
    }
    for (int i = 0; i < n; i++) {
        receive(events[i].data.ptr);
    }
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void read_body(const char *path)
{
    char part[4096];
    size_t n;
    FILE *f = fopen(path, "r");
    if (f == NULL) {
        fail(path);
    }
    while ((n = fread(part, 1, sizeof(part), f)) > 0) {
        buf_append(&body, part, n);
    }
    fclose(f);
}

static void parse(int argc, char **argv)
{
    uint64_t port = 0;
    const struct {
        const char *name;
        const char **text;
        uint64_t *number;
    } known[] = {{"--pem", &options.pem, NULL},
                 {"--method", &options.method, NULL},
                 {"--path", &options.path, NULL},
                 {"--body", &options.body, NULL},
                 {"--accept", &options.accept, NULL},
                 {"--watch", &options.watch, NULL},
                 {"--port", NULL, &port},
                 {"--first", NULL, &options.first},
                 {"--objects", NULL, &options.objects},
                 {"--connections", NULL, &options.connections},
                 {"--requests", NULL, &options.requests},
                 {"--watchers", NULL, &options.watchers},
                 {"--events", NULL, &options.events}};
    for (int i = 1; i < argc; i += 2) {
        size_t k = 0;
        while (k < sizeof(known) / sizeof(*known) && strcmp(known[k].name, argv[i]) != 0) {
            k++;
        }
        char *end = NULL;
        if (k < sizeof(known) / sizeof(*known) && i + 1 < argc && known[k].text != NULL) {
            *known[k].text = argv[i + 1];
        } else if (k < sizeof(known) / sizeof(*known) && i + 1 < argc) {
            *known[k].number = strtoull(argv[i + 1], &end, 10);
        }
        if (k == sizeof(known) / sizeof(*known) || i + 1 == argc || (end != NULL && *end != '\0')) {
            fprintf(stderr, "bench_api: what is %s?\n", argv[i]);
            exit(2);
        }
    }
    options.port = (uint16_t)port;
    if (port == 0 || port > 65535 || options.pem == NULL || options.path == NULL ||
        options.connections == 0 || options.requests == 0 || options.objects == 0) {
        fprintf(stderr, "bench_api: port, pem, path, connections and requests are needed\n");
        exit(2);
    }
}

int main(int argc, char **argv)
{
    parse(argc, argv);
    if (options.body != NULL) {
        read_body(options.body);
    }
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
    if (tls == NULL || SSL_CTX_use_certificate_file(tls, options.pem, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_use_PrivateKey_file(tls, options.pem, SSL_FILETYPE_PEM) != 1) {
        fail(options.pem);
    }
    SSL_CTX_set_mode(tls, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    latencies = mem_xzalloc((options.requests + options.connections) * sizeof(*latencies));
    int epoll = epoll_create1(0);
    uint64_t count = options.connections + options.watchers;
    struct connection *connections = mem_xzalloc(count * sizeof(*connections));
    for (uint64_t i = 0; i < count; i++) {
        connections[i].watcher = i >= options.connections;
        connection_open(&connections[i], tls, epoll);
        if (connections[i].watcher) {
            send_request(&connections[i], "GET", options.watch);
        }
    }
    while (watches_answered < options.watchers) {
        turn(epoll);
    }
    char line[16];
    printf("ready\n");
    fflush(stdout);
    if (fgets(line, sizeof(line), stdin) == NULL) {
        return 1;
    }
    uint64_t start_ns = clock_mono_ns();
    for (uint64_t i = 0; i < options.connections && begun < options.requests; i++) {
        send_request(&connections[i], options.method, options.path);
    }
    while (finished < options.requests || watches_done < options.watchers) {
        turn(epoll);
    }
    double seconds = (double)(clock_mono_ns() - start_ns) / 1e9;
    qsort(latencies, finished, sizeof(*latencies), by_value);
    printf("{\"requests\": %" PRIu64 ", \"errors\": %" PRIu64 ", \"seconds\": %.3f, "
           "\"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f, \"bytes\": %" PRIu64
           ", \"events\": %" PRIu64 "}\n",
           finished, errors, seconds, (double)latencies[finished / 2] / 1e3,
           (double)latencies[finished * 99 / 100] / 1e3, (double)latencies[finished - 1] / 1e3,
           body_bytes, events_seen);
    return errors > 0;
}
