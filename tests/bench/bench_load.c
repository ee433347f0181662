/* bench_load.c - a load generator for one etcd-compatible endpoint: many clients on few
 * connections.
 *
 *   bench_load --port P --op put|range|page --connections C --clients N --requests R
 *              [--keys K] [--value BYTES] [--order sequential|random] [--revision V] [--warmup R]
 *              [--watchers W --watch-connections C]
 *
 * Each client sends one request, waits for the answer, sends the next (a closed loop), as etcd's
 * own benchmark does. A page is a range over all keys from a random one on, limited to 500; in
 * sequential order the pages follow each other at the revision given, as one listing does. With
 * watchers, W watch streams over all keys are opened first, and the run ends when each has got
 * an event for each put. Prints one JSON object: requests, errors, seconds, p50/p99/max in
 * microseconds, events. One thread, epoll, nghttp2; cheap enough not to hide the server it
 * measures. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <nghttp2/nghttp2.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/rand.h"

enum { KEY_BYTES = 16, VALUE_BYTES_MAX = 1 << 20, OUT_BYTES = 1 << 16, PAGE_ROWS = 500 };
enum op { OP_PUT, OP_RANGE, OP_PAGE, OP_WATCH };

/* All keys, as [KEY_FIRST, KEY_END). */
#define KEY_FIRST "bench"
#define KEY_END   "benci"

struct connection {
    int fd;
    nghttp2_session *session;
    uint8_t *out; /* bytes nghttp2 gave that the socket did not take */
    size_t out_len, out_at;
    bool writable;
};

/* A closed loop of requests, or one watch stream. */
struct client {
    struct connection *connection;
    enum op op;
    uint64_t started_ns;
    uint8_t *body;
    size_t body_len, body_sent;
    bool ok;
    uint8_t *answer; /* a watcher's message that came in part */
    size_t answer_len, answer_room;
};

static struct {
    uint16_t port;
    enum op op;
    unsigned connections, clients, watchers, watch_connections;
    uint64_t requests, warmup, keys, revision;
    size_t value_bytes;
    bool sequential;
} options = {2379, OP_PUT, 1, 1, 0, 1, 10000, 0, 100000, 0, 256, false};

static struct rand dice;
static uint64_t begun, finished, errors, next_key;
static uint64_t watches_created, events_seen;
static uint64_t *latencies;
static uint64_t measured_from_ns;

static void fail(const char *what)
{
    fprintf(stderr, "bench_load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static size_t put_varint(uint8_t *out, uint64_t v)
{
    size_t n = 0;
    while (v >= 0x80) {
        out[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    out[n++] = (uint8_t)v;
    return n;
}

static uint8_t *put_range_end(uint8_t *p)
{
    *p++ = 0x12;
    *p++ = sizeof(KEY_END) - 1;
    memcpy(p, KEY_END, sizeof(KEY_END) - 1);
    return p + sizeof(KEY_END) - 1;
}

/* Completes a gRPC message: 5 bytes of framing, then what lies up to `end`. */
static void frame(struct client *c, const uint8_t *end)
{
    c->body_len = (size_t)(end - c->body);
    c->body[0] = 0;
    bytes_put_be32(c->body + 1, (uint32_t)(c->body_len - 5));
    c->body_sent = 0;
}

/* WatchRequest{create_request{key, range_end}} over all keys. */
static void build_watch(struct client *c)
{
    uint8_t *p = c->body + 7;
    *p++ = 0x0a;
    *p++ = sizeof(KEY_FIRST) - 1;
    memcpy(p, KEY_FIRST, sizeof(KEY_FIRST) - 1);
    p = put_range_end(p + sizeof(KEY_FIRST) - 1);
    c->body[5] = 0x0a;
    c->body[6] = (uint8_t)(p - c->body - 7);
    frame(c, p);
}

/* Page by page through all keys at one revision: each begins right behind the last key of the one
 * before, as listing clients do. */
static void build_next_page(struct client *c)
{
    uint64_t pages = options.keys / PAGE_ROWS > 0 ? options.keys / PAGE_ROWS : 1;
    uint64_t first = next_key++ % pages * PAGE_ROWS;
    char key[KEY_BYTES + 1] = KEY_FIRST;
    if (first > 0) {
        snprintf(key, sizeof(key), "bench%011" PRIu64, (uint64_t)((first - 1) % 100000000000ull));
    }
    size_t len = first > 0 ? KEY_BYTES + 1 : sizeof(KEY_FIRST) - 1; /* with its NUL, or without */
    uint8_t *p = c->body + 5;
    *p++ = 0x0a;
    *p++ = (uint8_t)len;
    memcpy(p, key, len);
    p = put_range_end(p + len);
    *p++ = 0x18;
    p += put_varint(p, PAGE_ROWS);
    *p++ = 0x20;
    p += put_varint(p, options.revision);
    frame(c, p);
}

/* PutRequest or RangeRequest. */
static void build(struct client *c)
{
    uint64_t numbers = options.keys;
    if (c->op == OP_PAGE && options.sequential) {
        build_next_page(c);
        return;
    }
    if (c->op == OP_PAGE && numbers > PAGE_ROWS) {
        numbers -= PAGE_ROWS; /* whole pages only */
    }
    uint64_t number = options.sequential ? next_key++ : rand_below(&dice, numbers);
    uint8_t *p = c->body + 5;
    *p++ = 0x0a;
    *p++ = KEY_BYTES;
    char key[KEY_BYTES + 1];
    snprintf(key, sizeof(key), "bench%011" PRIu64, (uint64_t)(number % 100000000000ull));
    memcpy(p, key, KEY_BYTES);
    p += KEY_BYTES;
    if (c->op == OP_PUT) {
        *p++ = 0x12;
        p += put_varint(p, options.value_bytes);
        memset(p, 'v', options.value_bytes);
        memcpy(p, key + 5, options.value_bytes < 11 ? options.value_bytes : 11);
        p += options.value_bytes;
    } else if (c->op == OP_PAGE) {
        p = put_range_end(p);
        *p++ = 0x18;
        p += put_varint(p, PAGE_ROWS);
    }
    frame(c, p);
}

static ssize_t read_body(nghttp2_session *session, int32_t stream, uint8_t *out, size_t room,
                         uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct client *c = source->ptr;
    size_t n = c->body_len - c->body_sent < room ? c->body_len - c->body_sent : room;
    memcpy(out, c->body + c->body_sent, n);
    c->body_sent += n;
    if (n == 0 && c->op == OP_WATCH) {
        return NGHTTP2_ERR_DEFERRED; /* the stream stays open */
    }
    if (c->body_sent == c->body_len && c->op != OP_WATCH) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    }
    return (ssize_t)n;
}

#define HEADER(n, v)                                                     \
    {                                                                    \
        (uint8_t *)(n), (uint8_t *)(v), sizeof(n) - 1, sizeof(v) - 1,    \
            NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE \
    }

static void submit(struct client *c)
{
#define HEADERS(path)                                                                      \
    {                                                                                      \
        HEADER(":method", "POST"), HEADER(":scheme", "http"), HEADER(":path", path),       \
            HEADER(":authority", "127.0.0.1"), HEADER("content-type", "application/grpc"), \
            HEADER("te", "trailers")                                                       \
    }
    static const nghttp2_nv headers[][6] = {[OP_PUT] = HEADERS("/etcdserverpb.KV/Put"),
                                            [OP_RANGE] = HEADERS("/etcdserverpb.KV/Range"),
                                            [OP_PAGE] = HEADERS("/etcdserverpb.KV/Range"),
                                            [OP_WATCH] = HEADERS("/etcdserverpb.Watch/Watch")};
    nghttp2_data_provider body = {.source.ptr = c, .read_callback = read_body};
    if (c->op == OP_WATCH) {
        build_watch(c);
    } else {
        build(c);
        begun++;
    }
    c->ok = false;
    c->started_ns = clock_mono_ns();
    if (nghttp2_submit_request(c->connection->session, NULL, headers[c->op], 6, &body, c) < 0) {
        fail("nghttp2_submit_request");
    }
}

static uint64_t varint(const uint8_t **p, const uint8_t *end)
{
    uint64_t v = 0;
    for (unsigned shift = 0; *p < end && shift < 64; shift += 7) {
        uint8_t byte = *(*p)++;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            return v;
        }
    }
    errno = EPROTO;
    fail("a WatchResponse");
    return 0;
}

/* Counts the events of a WatchResponse (field 11), and `created` (field 3). */
static void watch_response(const uint8_t *p, const uint8_t *end)
{
    while (p < end) {
        uint64_t tag = varint(&p, end);
        uint64_t value = varint(&p, end);
        if ((tag & 7) == 2) {
            if (value > (uint64_t)(end - p)) {
                errno = EPROTO;
                fail("a WatchResponse");
            }
            p += value;
        }
        events_seen += tag == (11 << 3 | 2);
        watches_created += tag == 3 << 3 && value == 1;
        if (tag == 4 << 3 && value == 1) {
            errno = ECANCELED;
            fail("a watch");
        }
    }
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data,
                   size_t len, void *user)
{
    struct client *c = nghttp2_session_get_stream_user_data(session, stream);
    if (c == NULL || c->op != OP_WATCH) {
        return 0;
    }
    if (c->answer_len + len > c->answer_room) {
        c->answer_room = 2 * (c->answer_len + len);
        c->answer = mem_xrealloc(c->answer, c->answer_room);
    }
    memcpy(c->answer + c->answer_len, data, len);
    c->answer_len += len;
    size_t at = 0;
    while (c->answer_len - at >= 5) {
        size_t message = bytes_be32(c->answer + at + 1);
        if (c->answer_len - at - 5 < message) {
            break;
        }
        watch_response(c->answer + at + 5, c->answer + at + 5 + message);
        at += 5 + message;
    }
    c->answer_len -= at;
    memmove(c->answer, c->answer + at, c->answer_len);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *user)
{
    if (name_len == 11 && memcmp(name, "grpc-status", 11) == 0) {
        struct client *c = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
        if (c != NULL) {
            c->ok = value_len == 1 && value[0] == '0';
        }
    }
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream, uint32_t code, void *user)
{
    struct client *c = nghttp2_session_get_stream_user_data(session, stream);
    if (c == NULL) {
        return 0;
    }
    if (c->op == OP_WATCH) {
        errno = ECONNRESET;
        fail("a watch ended");
    }
    uint64_t now = clock_mono_ns();
    if (finished >= options.warmup) {
        latencies[finished - options.warmup] = now - c->started_ns;
        errors += !c->ok;
    }
    finished++;
    if (finished == options.warmup) {
        measured_from_ns = now;
    }
    if (begun < options.requests + options.warmup) {
        submit(c);
    }
    return 0;
}

static void flush(struct connection *c)
{
    while (c->writable) {
        if (c->out_at == c->out_len) {
            c->out_at = c->out_len = 0;
            const uint8_t *data;
            ssize_t n;
            while (c->out_len < OUT_BYTES / 2 &&
                   (n = nghttp2_session_mem_send(c->session, &data)) > 0) {
                memcpy(c->out + c->out_len, data, (size_t)n);
                c->out_len += (size_t)n;
            }
            if (c->out_len == 0) {
                return;
            }
        }
        ssize_t sent = write(c->fd, c->out + c->out_at, c->out_len - c->out_at);
        if (sent < 0 && errno == EAGAIN) {
            c->writable = false;
        } else if (sent < 0) {
            fail("write");
        } else {
            c->out_at += (size_t)sent;
        }
    }
}

static void connection_open(struct connection *c, int epoll, nghttp2_session_callbacks *callbacks)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(options.port)};
    int on = 1;
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        fail("connect");
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    c->out = mem_xalloc(OUT_BYTES);
    c->writable = true;
    nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 20},
                                         {NGHTTP2_SETTINGS_ENABLE_PUSH, 0}};
    if (nghttp2_session_client_new(&c->session, callbacks, c) != 0 ||
        nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings, 2) != 0 ||
        nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, 1 << 24) != 0) {
        fail("nghttp2");
    }
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event) != 0) {
        fail("epoll_ctl");
    }
}

static void receive(struct connection *c)
{
    static uint8_t buffer[1 << 18];
    for (;;) {
        ssize_t n = read(c->fd, buffer, sizeof(buffer));
        if (n < 0 && errno == EAGAIN) {
            return;
        }
        if (n <= 0) {
            fail("the server closed a connection");
        }
        if (nghttp2_session_mem_recv(c->session, buffer, (size_t)n) < 0) {
            fail("nghttp2_session_mem_recv");
        }
    }
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static uint64_t number(const char *text)
{
    char *end;
    uint64_t n = strtoull(text, &end, 10);
    if (*text == '\0' || *end != '\0') {
        fprintf(stderr, "bench_load: \"%s\" is not a number\n", text);
        exit(2);
    }
    return n;
}

static void parse(int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *name = argv[i];
        const char *value = argv[i + 1];
        if (strcmp(name, "--port") == 0) {
            options.port = (uint16_t)number(value);
        } else if (strcmp(name, "--op") == 0) {
            options.op = strcmp(value, "put") == 0    ? OP_PUT
                         : strcmp(value, "page") == 0 ? OP_PAGE
                                                      : OP_RANGE;
        } else if (strcmp(name, "--connections") == 0) {
            options.connections = (unsigned)number(value);
        } else if (strcmp(name, "--clients") == 0) {
            options.clients = (unsigned)number(value);
        } else if (strcmp(name, "--watchers") == 0) {
            options.watchers = (unsigned)number(value);
        } else if (strcmp(name, "--watch-connections") == 0) {
            options.watch_connections = (unsigned)number(value);
        } else if (strcmp(name, "--requests") == 0) {
            options.requests = number(value);
        } else if (strcmp(name, "--warmup") == 0) {
            options.warmup = number(value);
        } else if (strcmp(name, "--keys") == 0) {
            options.keys = number(value);
        } else if (strcmp(name, "--value") == 0) {
            options.value_bytes = number(value);
        } else if (strcmp(name, "--revision") == 0) {
            options.revision = number(value);
        } else if (strcmp(name, "--order") == 0) {
            options.sequential = strcmp(value, "sequential") == 0;
        } else {
            fprintf(stderr, "bench_load: unknown option %s\n", name);
            exit(2);
        }
    }
    if (options.value_bytes > VALUE_BYTES_MAX || options.connections == 0 || options.keys == 0 ||
        options.watch_connections == 0 || options.clients < options.connections) {
        fprintf(stderr, "bench_load: options out of range\n");
        exit(2);
    }
}

/* Waits for the sockets once, moves what can be moved. */
static void turn(int epoll)
{
    struct epoll_event events[256];
    int n = epoll_wait(epoll, events, 256, 30000);
    if (n == 0) {
        errno = ETIMEDOUT;
        fail("no answer");
    }
    for (int i = 0; i < n; i++) {
        struct connection *c = events[i].data.ptr;
        if (events[i].events & EPOLLOUT) {
            c->writable = true;
        }
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
            receive(c);
        }
        flush(c);
    }
}

static void connections_open(struct connection *connections, unsigned count, int epoll,
                             nghttp2_session_callbacks *callbacks)
{
    for (unsigned i = 0; i < count; i++) {
        connection_open(&connections[i], epoll, callbacks);
    }
}

static void connections_flush(struct connection *connections, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        flush(&connections[i]);
    }
}

static void watchers_open(int epoll, nghttp2_session_callbacks *callbacks)
{
    unsigned count = options.watch_connections;
    struct connection *connections = mem_xzalloc(count * sizeof(*connections));
    struct client *watchers = mem_xzalloc(options.watchers * sizeof(*watchers));
    connections_open(connections, count, epoll, callbacks);
    for (unsigned i = 0; i < options.watchers; i++) {
        watchers[i] = (struct client){.connection = &connections[i % count], .op = OP_WATCH};
        watchers[i].body = mem_xalloc(64);
        submit(&watchers[i]);
    }
    connections_flush(connections, count);
    while (watches_created < options.watchers) {
        turn(epoll);
    }
}

int main(int argc, char **argv)
{
    parse(argc, argv);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    rand_init(&dice, 42);
    latencies = mem_xzalloc((options.requests + 1) * sizeof(*latencies));
    nghttp2_session_callbacks *callbacks;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    int epoll = epoll_create1(0);
    if (options.watchers > 0) {
        watchers_open(epoll, callbacks);
    }
    struct connection *connections = mem_xzalloc(options.connections * sizeof(*connections));
    struct client *clients = mem_xzalloc(options.clients * sizeof(*clients));
    connections_open(connections, options.connections, epoll, callbacks);
    measured_from_ns = clock_mono_ns();
    for (unsigned i = 0; i < options.clients && begun < options.requests + options.warmup; i++) {
        clients[i].connection = &connections[i % options.connections];
        clients[i].op = options.op;
        clients[i].body = mem_xalloc(64 + options.value_bytes);
        submit(&clients[i]);
    }
    connections_flush(connections, options.connections);
    uint64_t total = options.requests + options.warmup;
    while (finished < total || events_seen < total * options.watchers) {
        turn(epoll);
    }
    double seconds = (double)(clock_mono_ns() - measured_from_ns) / 1e9;
    qsort(latencies, options.requests, sizeof(*latencies), by_value);
    printf("{\"requests\": %" PRIu64 ", \"errors\": %" PRIu64 ", \"seconds\": %.3f, "
           "\"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f, \"events\": %" PRIu64 "}\n",
           options.requests, errors, seconds, (double)latencies[options.requests / 2] / 1e3,
           (double)latencies[options.requests * 99 / 100] / 1e3,
           (double)latencies[options.requests - 1] / 1e3, events_seen);
    return errors > 0;
}
