/* test_conn - connections: detection of what is spoken, slow and broken carriers, lack of memory at
 * every allocation, listeners, limits, thousands of idle connections, real clients when there are.
 */
#include "tests/unit/rpc/front_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "tests/fuzz/mem_conn.h"

static struct front front;

/* Waits until the peer's end of fd closed; what comes before is thrown away. */
static void expect_closed(int fd)
{
    uint64_t until = test_now_ms() + FRONT_WAIT_MS;
    char byte[4096];
    ssize_t n = -1;
    while (n != 0 && test_now_ms() < until) {
        test_turn(&front.loop);
        n = recv(fd, byte, sizeof(byte), 0);
        if (n < 0 && errno == ECONNRESET) {
            n = 0;
        }
    }
    assert_int_equal(n, 0);
}

/* ---- detection ------------------------------------------------------------------------------- */

static void http2_preface_may_come_byte_by_byte(void **state)
{
    (void)state;
    front_start(&front, NULL);
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    struct h2_client c = {0};
    h2_client_adopt(&c, &front.loop, fds[0]);
    int to = test_connect(front.port);
    /* A relay that passes the client's bytes on one at a time. */
    struct buf body;
    buf_init(&body);
    grpc_frame(&body, slice_str("drop by drop"));
    struct h2_reply *r = h2_client_call(&c, "/t.Echo/Unary", NULL, buf_slice(&body), true);
    buf_close(&body);
    uint64_t until = test_now_ms() + FRONT_WAIT_MS;
    while (!r->closed && test_now_ms() < until) {
        char bytes[65536];
        h2_client_pump(&c);
        if (recv(fds[1], bytes, 1, 0) == 1) {
            assert_int_equal(send(to, bytes, 1, MSG_NOSIGNAL), 1);
        }
        test_turn(&front.loop);
        ssize_t n = recv(to, bytes, sizeof(bytes), 0);
        if (n > 0) {
            assert_int_equal(send(fds[1], bytes, (size_t)n, MSG_NOSIGNAL), n);
        }
    }
    assert_true(r->closed);
    assert_int_equal(r->grpc_status, GRPC_OK);
    close(to);
    close(fds[1]);
    h2_client_close(&c);
    front_stop(&front);
}

static void tls_is_refused_with_a_log_line(void **state)
{
    (void)state;
    int pipefd[2];
    assert_int_equal(pipe(pipefd), 0);
    front_start(&front, NULL);
    log_set_level(LOG_WARN);
    log_set_outputs(&pipefd[1], 1);
    for (int i = 0; i < 20; i++) {
        int fd = test_connect(front.port);
        assert_int_equal(send(fd, "\x16\x03\x01\x02\x00\x01", 6, MSG_NOSIGNAL), 6);
        expect_closed(fd);
        close(fd);
    }
    front_stop(&front);
    const int standard[] = {2};
    log_set_outputs(standard, 1);
    close(pipefd[1]);
    char text[8192];
    ssize_t n = read(pipefd[0], text, sizeof(text) - 1);
    assert_true(n > 0);
    text[n] = '\0';
    close(pipefd[0]);
    assert_non_null(strstr(text, "\"msg\":\"rejected connection on client endpoint\""));
    assert_non_null(strstr(text, "\"remote-addr\":\"127.0.0.1:"));
    /* One line per second, not one per connection. */
    int lines = 0;
    for (const char *p = text; (p = strchr(p, '\n')) != NULL; p++) {
        lines++;
    }
    assert_true(lines >= 1 && lines <= 3);
}

/* ---- slow and broken carriers, in memory ----------------------------------------------------- */

static const char h2_hello[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";

/* HEADERS and DATA of a unary call to `path` (12 characters) on stream `id`. */
static size_t h2_request(uint8_t *out, uint8_t id, const char *path, const char *message,
                         size_t len)
{
    uint8_t *p = out;
    static const uint8_t before[] = "\x83\x86\x01\x01"
                                    "a\x04";
    static const uint8_t after[] = "\x0f\x10\x10"
                                   "application/grpc";
    size_t path_len = strlen(path);
    size_t block = sizeof(before) - 1 + 1 + path_len + sizeof(after) - 1;
    const uint8_t head[9] = {0, 0, (uint8_t)block, 1, 4, 0, 0, 0, id};
    memcpy(p, head, 9);
    p += 9;
    memcpy(p, before, sizeof(before) - 1);
    p += sizeof(before) - 1;
    *p++ = (uint8_t)path_len;
    memcpy(p, path, path_len);
    p += path_len;
    memcpy(p, after, sizeof(after) - 1);
    p += sizeof(after) - 1;
    const uint8_t data[9] = {0, (uint8_t)((len + 5) >> 8), (uint8_t)(len + 5), 0, 1, 0, 0, 0, id};
    memcpy(p, data, 9);
    p += 9;
    const uint8_t prefix[5] = {0, 0, 0, (uint8_t)(len >> 8), (uint8_t)len};
    memcpy(p, prefix, 5);
    p += 5;
    memcpy(p, message, len);
    return (size_t)(p - out) + len;
}

/* However little the carrier takes at a time, the same bytes arrive in the same order. */
static void partial_writes_change_nothing(void **state)
{
    (void)state;
    struct buf expected;
    buf_init(&expected);
    static const size_t rooms[] = {SIZE_MAX, 0, 1, 10, 100, 9000};
    static char message[8000];
    memset(message, 'm', sizeof(message));
    for (size_t i = 0; i < sizeof(rooms) / sizeof(rooms[0]); i++) {
        front_start(&front, NULL);
        struct mem_conn m = {0};
        assert_true(mem_conn_open(&m, front.server));
        m.room = rooms[i];
        mem_conn_input(&m, (const uint8_t *)h2_hello, sizeof(h2_hello) - 1);
        for (uint8_t id = 1; id < 10; id += 2) {
            uint8_t bytes[9000];
            size_t len = h2_request(bytes, id, "/t.Echo/Unary", message, sizeof(message));
            /* While a write is under way nothing else may be written: mem_conn checks it. */
            mem_conn_input(&m, bytes, len);
            mem_conn_settle(&m);
        }
        while (m.writing != NULL) {
            mem_conn_settle(&m);
        }
        if (i == 0) {
            buf_append_slice(&expected, buf_slice(&m.out));
            assert_true(m.out.len > 5 * sizeof(message));
        }
        /* SETTINGS acknowledgement and answers may be cut differently, never reordered: with one
         * call at a time the bytes are the same. */
        assert_int_equal(m.out.len, expected.len);
        assert_int_equal(front.closes, 5);
        mem_conn_shut(&m);
        front_stop(&front);
    }
    buf_close(&expected);
}

static void broken_carrier_closes_the_calls(void **state)
{
    (void)state;
    front_start(&front, NULL);
    for (int late = 0; late < 2; late++) {
        struct mem_conn m = {0};
        assert_true(mem_conn_open(&m, front.server));
        mem_conn_input(&m, (const uint8_t *)h2_hello, sizeof(h2_hello) - 1);
        uint8_t bytes[200];
        size_t len = h2_request(bytes, 1, "/t.Echo/Keep", "x", 1);
        mem_conn_input(&m, bytes, len);
        len = h2_request(bytes, 3, "/t.Echo/Unary", "x", 1);
        if (late) {
            m.room = 3;
            mem_conn_input(&m, bytes, len);
            assert_non_null(m.writing);
            m.writing = NULL;
            conn_written(&m.conn, -32);
        } else {
            m.broken = true;
            mem_conn_input(&m, bytes, len);
        }
        assert_true(m.freed);
        assert_int_equal(front.closes, 2 * (late + 1));
        mem_conn_shut(&m);
    }
    front_stop(&front);
}

/* Allocation number n fails, for each n of a whole conversation: nothing leaks, every opened call
 * is closed once, and a later connection works. */
static void lack_of_memory_is_survived(void **state)
{
    (void)state;
    bool whole = false;
    int cut_short = 0;
    /* More than the conversation makes: the last rounds run whole. */
    for (uint64_t n = 1; n <= 200; n++) {
        front_start(&front, NULL);
        struct mem_conn m = {0};
        uint8_t bytes[500];
        mem_fail_after(n);
        bool open = mem_conn_open(&m, front.server);
        if (open) {
            mem_conn_input(&m, (const uint8_t *)h2_hello, sizeof(h2_hello) - 1);
            size_t len = h2_request(bytes, 1, "/t.Echo/Unary", "abc", 3);
            for (size_t i = 0; i < len; i += 7) { /* in pieces, so that they are collected */
                mem_conn_input(&m, bytes + i, len - i < 7 ? len - i : 7);
            }
            len = h2_request(bytes, 3, "/t.Echo/Refuse", "abc", 3);
            mem_conn_input(&m, bytes, len);
            len = h2_request(bytes, 5, "/t.Echo/None!", "abc", 3);
            mem_conn_input(&m, bytes, len);
            m.room = 2;
            len = h2_request(bytes, 7, "/t.Echo/Unary", "abc", 3);
            mem_conn_input(&m, bytes, len);
            mem_conn_settle(&m);
        }
        mem_fail_after(0);
        whole = open && !m.freed && front.messages == 2 && m.writing == NULL;
        cut_short += !whole;
        if (open) {
            mem_conn_shut(&m);
        }
        struct mem_conn later = {0};
        assert_true(mem_conn_open(&later, front.server));
        mem_conn_input(&later, (const uint8_t *)h2_hello, sizeof(h2_hello) - 1);
        int before = front.messages;
        size_t len = h2_request(bytes, 1, "/t.Echo/Unary", "abc", 3);
        mem_conn_input(&later, bytes, len);
        assert_int_equal(front.messages, before + 1);
        mem_conn_shut(&later);
        front_stop(&front);
    }
    assert_true(cut_short > 10);
    assert_true(whole);
}

static void lack_of_memory_is_survived_by_http1(void **state)
{
    (void)state;
    static const char request[] = "POST /echo?x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
                                  "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n";
    bool whole = false;
    for (uint64_t n = 1; !whole; n++) {
        front_start(&front, NULL);
        struct mem_conn m = {0};
        mem_fail_after(n);
        bool open = mem_conn_open(&m, front.server);
        if (open) {
            m.room = 40;
            mem_conn_input(&m, (const uint8_t *)request, 30);
            mem_conn_input(&m, (const uint8_t *)request + 30, sizeof(request) - 31);
            while (m.writing != NULL && !m.freed) {
                mem_conn_settle(&m);
            }
        }
        mem_fail_after(0);
        whole = open && !m.freed && !m.conn.flushing_last && m.out.len > 400;
        if (open) {
            mem_conn_shut(&m);
        }
        assert_int_equal(front.server->input_bytes, 0);
        assert_int_equal(front.server->output_bytes, 0);
        front_stop(&front);
        assert_true(n < 1000);
    }
}

static void lack_of_memory_at_start_is_an_answer(void **state)
{
    (void)state;
    uv_loop_t loop;
    uv_loop_init(&loop);
    struct rpc_server_options o = {.methods = front_methods};
    for (uint64_t n = 1;; n++) {
        mem_fail_after(n);
        struct rpc_server *s = rpc_server_new(&loop, &o);
        mem_fail_after(0);
        if (s != NULL) {
            assert_true(n > 5);
            rpc_server_close(s, NULL, NULL);
            uv_run(&loop, UV_RUN_DEFAULT);
            break;
        }
    }
    assert_int_equal(uv_loop_close(&loop), 0);
}

/* ---- listeners ------------------------------------------------------------------------------- */

static void expect_listen_error(const char *host, uint16_t port, int err, const char *text)
{
    struct errmsg e = {{0}};
    assert_int_equal(rpc_server_listen(front.server, host, port, &e), err);
    assert_string_equal(e.text, text);
}

static void listen_errors_say_what_is_wrong(void **state)
{
    (void)state;
    front_start(&front, NULL);
    char text[128];
    snprintf(text, sizeof(text), "listen tcp 127.0.0.1:%u: bind: address already in use",
             front.port);
    expect_listen_error("127.0.0.1", front.port, ERR_IO, text);
    expect_listen_error("no-address", 1, ERR_INVALID, "listen tcp no-address:1: not an IP address");
    expect_listen_error("unix:", 0, ERR_INVALID,
                        "listen unix : the path is empty or longer than 107 bytes");
    expect_listen_error("unix:/no/such/folder/socket", 0, ERR_IO,
                        "listen unix /no/such/folder/socket: bind: no such file or directory");
    struct errmsg e;
    assert_int_equal(rpc_server_listen(front.server, "localhost", 0, &e), 0);
    assert_int_not_equal(rpc_server_port(front.server, 1), 0);
    if (rpc_server_listen(front.server, "[::1]", 0, &e) == 0) { /* where there is IPv6 */
        assert_int_not_equal(rpc_server_port(front.server, 2), 0);
    }
    assert_int_equal(rpc_server_port(front.server, 99), 0);
    front_stop(&front);
}

static void unix_socket_is_served(void **state)
{
    (void)state;
    char folder[] = "/tmp/kvd-test-XXXXXX";
    assert_non_null(mkdtemp(folder));
    char host[64];
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(host, sizeof(host), "unix:%s/s:1", folder);
    snprintf(a.sun_path, sizeof(a.sun_path), "%s/s:1", folder);
    for (int round = 0; round < 2; round++) {
        front_start(&front, NULL);
        struct errmsg e;
        assert_int_equal(rpc_server_listen(front.server, host, 0, &e), 0);
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
        fcntl(fd, F_SETFL, O_NONBLOCK);
        struct h2_client c = {0};
        h2_client_adopt(&c, &front.loop, fd);
        struct h2_reply *r = front_call(&c, "/t.Echo/Unary", NULL, slice_str("unix"));
        assert_int_equal(r->grpc_status, GRPC_OK);
        h2_client_close(&c);
        front_stop(&front);
        /* The file went with the listener; put a dead one in its place for the next round. */
        struct stat st;
        assert_int_not_equal(stat(a.sun_path, &st), 0);
        int dead = socket(AF_UNIX, SOCK_STREAM, 0);
        assert_int_equal(bind(dead, (struct sockaddr *)&a, sizeof(a)), 0);
        close(dead);
    }
    unlink(a.sun_path);
    rmdir(folder);
}

/* ---- limits ---------------------------------------------------------------------------------- */

static void connections_over_the_limit_are_closed(void **state)
{
    (void)state;
    const struct rpc_server_options o = {.connections_max = 3};
    front_start(&front, &o);
    struct h2_client c = {0};
    h2_client_open(&c, &front.loop, front.port);
    assert_int_equal(front_call(&c, "/t.Echo/Unary", NULL, slice_str("1"))->grpc_status, GRPC_OK);
    int fds[2] = {test_connect(front.port), test_connect(front.port)};
    h2_client_run(&c, 20);
    assert_int_equal(front.server->conn_count, 3);
    int extra = test_connect(front.port);
    expect_closed(extra);
    close(extra);
    assert_int_equal(front.server->conn_count, 3);
    /* A place that becomes free is taken again. */
    close(fds[0]);
    uint64_t until = test_now_ms() + FRONT_WAIT_MS;
    while (front.server->conn_count > 2 && test_now_ms() < until) {
        test_turn(&front.loop);
    }
    extra = test_connect(front.port);
    h2_client_run(&c, 20);
    assert_int_equal(front.server->conn_count, 3);
    assert_int_equal(front_call(&c, "/t.Echo/Unary", NULL, slice_str("1"))->grpc_status, GRPC_OK);
    close(extra);
    close(fds[1]);
    h2_client_close(&c);
    front_stop(&front);
}

/* Without file descriptors the loop must neither spin nor stop serving those it has. */
static void lack_of_descriptors_does_not_spin(void **state)
{
    (void)state;
    front_start(&front, NULL);
    struct h2_client c = {0};
    h2_client_open(&c, &front.loop, front.port);
    assert_int_equal(front_call(&c, "/t.Echo/Unary", NULL, slice_str("1"))->grpc_status, GRPC_OK);
    int waiting = socket(AF_INET, SOCK_STREAM, 0);
    struct rlimit old;
    getrlimit(RLIMIT_NOFILE, &old);
    int used = dup(0);
    close(used);
    struct rlimit low = {.rlim_cur = (rlim_t)used, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(front.port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(waiting, (struct sockaddr *)&a, sizeof(a)), 0);
    fcntl(waiting, F_SETFL, O_NONBLOCK);
    h2_client_run(&c, 30);
    struct rusage before;
    struct rusage after;
    getrusage(RUSAGE_SELF, &before);
    uint64_t start = test_now_ms();
    struct pollfd p = {.fd = uv_backend_fd(&front.loop), .events = POLLIN};
    int wakeups = 0;
    while (test_now_ms() - start < 100) {
        wakeups += poll(&p, 1, 10) > 0;
        uv_run(&front.loop, UV_RUN_NOWAIT);
    }
    getrusage(RUSAGE_SELF, &after);
    assert_true(wakeups < 10);
    assert_int_equal(front_call(&c, "/t.Echo/Unary", NULL, slice_str("1"))->grpc_status, GRPC_OK);
    setrlimit(RLIMIT_NOFILE, &old);
    close(waiting);
    int fd = test_connect(front.port);
    static const char request[] = "GET /health HTTP/1.0\r\n\r\n";
    assert_int_equal(send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL), sizeof(request) - 1);
    expect_closed(fd);
    close(fd);
    h2_client_close(&c);
    front_stop(&front);
}

static size_t resident_bytes(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    unsigned long size = 0;
    unsigned long resident = 0;
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%lu %lu", &size, &resident), 2);
    fclose(f);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

/* Thousands of connections that did their HTTP/2 handshake and then nothing. */
static void idle_connections_are_cheap(void **state)
{
    (void)state;
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    struct rlimit high = limit;
    high.rlim_cur = limit.rlim_max < 24000 ? limit.rlim_max : 24000;
    setrlimit(RLIMIT_NOFILE, &high);
    size_t count = high.rlim_cur > 20100 ? 10000 : (size_t)high.rlim_cur / 2 - 50;
    front_start(&front, NULL);
    static int fds[10000];
    static uint8_t call[100];
    size_t call_len = h2_request(call, 1, "/t.Echo/Unary", "x", 1);
    size_t before = resident_bytes();
    for (size_t i = 0; i < count; i++) {
        fds[i] = test_connect(front.port);
        assert_int_equal(send(fds[i], h2_hello, sizeof(h2_hello) - 1, MSG_NOSIGNAL),
                         sizeof(h2_hello) - 1);
        assert_int_equal(send(fds[i], call, call_len, MSG_NOSIGNAL), call_len);
        uv_run(&front.loop, UV_RUN_NOWAIT);
    }
    uint64_t until = test_now_ms() + 4 * FRONT_WAIT_MS;
    while (front.closes < (int)count && test_now_ms() < until) {
        test_turn(&front.loop);
    }
    assert_int_equal(front.closes, count);
    assert_int_equal(front.server->conn_count, count);
    size_t each = (resident_bytes() - before) / count;
    print_message("%zu idle connections: %zu bytes each\n", count, each);
#ifndef KVD_DEBUG
    assert_true(each <= 16 * 1024);
#endif
    /* A turn of the loop costs nothing for them. */
    uint64_t start = test_now_ms();
    for (int i = 0; i < 1000; i++) {
        uv_run(&front.loop, UV_RUN_NOWAIT);
    }
    assert_true(test_now_ms() - start < 1000);
    struct h2_client c = {0};
    h2_client_open(&c, &front.loop, front.port);
    assert_int_equal(front_call(&c, "/t.Echo/Unary", NULL, slice_str("1"))->grpc_status, GRPC_OK);
    h2_client_close(&c);
    for (size_t i = 0; i < count; i++) {
        close(fds[i]);
    }
    front_stop(&front);
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* ---- real clients ---------------------------------------------------------------------------- */

/* Runs a command while the loop serves it; returns its exit status, its output in out. */
static int run_client(char *const argv[], char *out, size_t size)
{
    int pipefd[2];
    assert_int_equal(pipe(pipefd), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(pipefd[1], 1);
        int null = open("/dev/null", O_WRONLY);
        dup2(null, 2);
        execvp(argv[0], argv);
        _exit(127);
    }
    close(pipefd[1]);
    fcntl(pipefd[0], F_SETFL, O_NONBLOCK);
    size_t len = 0;
    int status = -1;
    uint64_t until = test_now_ms() + 60000;
    while (test_now_ms() < until) {
        test_turn(&front.loop);
        ssize_t n = read(pipefd[0], out + len, size - 1 - len);
        len += n > 0 ? (size_t)n : 0;
        if (n == 0 && waitpid(pid, &status, 0) == pid) {
            break;
        }
    }
    out[len] = '\0';
    close(pipefd[0]);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void curl_is_served(void **state)
{
    (void)state;
    char out[65536];
    char url[64];
    front_start(&front, NULL);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/health", front.port);
    char *get[] = {"curl", "-s", "-i", "--noproxy", "*", url, NULL};
    int status = run_client(get, out, sizeof(out));
    if (status == 127) {
        front_stop(&front);
        skip();
    }
    assert_int_equal(status, 0);
    assert_non_null(strstr(out, "HTTP/1.1 200 OK"));
    /* --http2 asks by Upgrade: h2c, which is ignored; two requests on one connection. */
    char *upgrade[] = {"curl", "-s", "-i", "--http2", "--noproxy", "*", url, url, NULL};
    assert_int_equal(run_client(upgrade, out, sizeof(out)), 0);
    assert_non_null(strstr(out, "HTTP/1.1 200 OK"));
    char *head[] = {"curl", "-s", "-I", "--noproxy", "*", url, NULL};
    assert_int_equal(run_client(head, out, sizeof(out)), 0);
    assert_non_null(strstr(out, "Content-Length: 5"));
    /* HTTP/2 without gRPC is refused as etcd's listener does. */
    char *known[] = {"curl", "-s", "-i", "--http2-prior-knowledge", "--noproxy", "*", url, NULL};
    assert_int_equal(run_client(known, out, sizeof(out)), 0);
    assert_non_null(strstr(out, "HTTP/2 415"));
    front_stop(&front);
}

static void grpc_python_is_served(void **state)
{
    (void)state;
    char out[65536];
    char target[64];
    front_start(&front, NULL);
    snprintf(target, sizeof(target), "127.0.0.1:%u", front.port);
    static char script[] =
        "import sys\n"
        "try:\n"
        "    import grpc\n"
        "except ImportError:\n"
        "    sys.exit(77)\n"
        "ch = grpc.insecure_channel(sys.argv[1], options=[('grpc.enable_http_proxy', 0),\n"
        "    ('grpc.max_receive_message_length', -1)])\n"
        "u = ch.unary_unary('/t.Echo/Unary')\n"
        "assert u(b'hello') == b'hello'\n"
        "assert u(b'') == b''\n"
        "big = b'x' * 1500000\n"
        "assert u(big) == big\n"
        "fs = [u.future(b'n%d' % i) for i in range(500)]\n"
        "assert [f.result() for f in fs] == [b'n%d' % i for i in range(500)]\n"
        "s = ch.stream_stream('/t.Echo/Bidi')\n"
        "assert list(s(iter([b'a', b'bb', b'']))) == [b'a', b'bb', b'']\n"
        "def code(f, *a, **k):\n"
        "    try:\n"
        "        f(*a, **k)\n"
        "    except grpc.RpcError as e:\n"
        "        return e.code().name + ': ' + e.details()\n"
        "print(code(ch.unary_unary('/t.Echo/Refuse'), b'x'))\n"
        "print(code(ch.unary_unary('/t.Echo/Nope'), b'x'))\n"
        "print(code(u, b'x' * 3000000))\n"
        "print(code(ch.unary_unary('/t.Echo/Keep'), b'x', timeout=0.1)[:17])\n" /* whose text: a
                                                                                   race */
        "print(code(u, b'x', compression=grpc.Compression.Gzip))\n"
        "print('done')\n";
    char *argv[] = {"/usr/bin/python3", "-c", script, target, NULL};
    int status = run_client(argv, out, sizeof(out));
    if (status == 127 || status == 77) {
        front_stop(&front);
        skip();
    }
    assert_string_equal(
        out, "UNAVAILABLE: etcdserver: no leader\n"
             "UNIMPLEMENTED: unknown method Nope for service t.Echo\n"
             "RESOURCE_EXHAUSTED: grpc: received message larger than max (3000000 vs. 2097152)\n"
             "DEADLINE_EXCEEDED\n"
             "UNIMPLEMENTED: grpc: Decompressor is not installed for grpc-encoding \"gzip\"\n"
             "done\n");
    assert_int_equal(status, 0);
    front_stop(&front);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(http2_preface_may_come_byte_by_byte),
        cmocka_unit_test(tls_is_refused_with_a_log_line),
        cmocka_unit_test(partial_writes_change_nothing),
        cmocka_unit_test(broken_carrier_closes_the_calls),
        cmocka_unit_test(lack_of_memory_is_survived),
        cmocka_unit_test(lack_of_memory_is_survived_by_http1),
        cmocka_unit_test(lack_of_memory_at_start_is_an_answer),
        cmocka_unit_test(listen_errors_say_what_is_wrong),
        cmocka_unit_test(unix_socket_is_served),
        cmocka_unit_test(connections_over_the_limit_are_closed),
        cmocka_unit_test(lack_of_descriptors_does_not_spin),
        cmocka_unit_test(idle_connections_are_cheap),
        cmocka_unit_test(curl_is_served),
        cmocka_unit_test(grpc_python_is_served),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
