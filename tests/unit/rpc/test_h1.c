/* test_h1 - HTTP/1.1 over a raw socket: routes, methods, bodies, keep-alive, pipelining, bounds. */
#include "tests/unit/rpc/front_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/limits.h"
#include "rpc/server_impl.h"

static struct front front;
static int fd = -1;
static struct buf in; /* what the server said and was not taken yet */
static bool eof;

static int begin(const struct rpc_server_options *o)
{
    front_start(&front, o);
    fd = test_connect(front.port);
    buf_init(&in);
    eof = false;
    return 0;
}

static int start(void **state)
{
    (void)state;
    return begin(NULL);
}

static int stop(void **state)
{
    (void)state;
    front_stop(&front);
    close(fd);
    buf_close(&in);
    return 0;
}

static void reconnect(void)
{
    close(fd);
    fd = test_connect(front.port);
    buf_clear(&in);
    eof = false;
}

static void pump(void)
{
    static uint8_t bytes[256 * 1024];
    test_turn(&front.loop);
    ssize_t n = recv(fd, bytes, sizeof(bytes), 0);
    if (n > 0) {
        buf_append(&in, bytes, (size_t)n);
    } else if (n == 0 || errno == ECONNRESET) {
        eof = true;
    }
}

static void run(uint64_t ms)
{
    uint64_t until = test_now_ms() + ms;
    while (test_now_ms() < until) {
        pump();
    }
}

static void say_bytes(const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        if (n > 0) {
            bytes += n;
            len -= (size_t)n;
        } else if (errno != EAGAIN) {
            return;
        }
        pump();
    }
}

static void say(const char *text)
{
    say_bytes(text, strlen(text));
}

struct answer {
    int status;
    char head[4096];
    char body[70000];
    size_t body_len;
};

static const char *head_value(const struct answer *a, const char *name)
{
    static char value[256];
    char wanted[64];
    snprintf(wanted, sizeof(wanted), "\r\n%s: ", name);
    const char *p = strstr(a->head, wanted);
    if (p == NULL) {
        return NULL;
    }
    p += strlen(wanted);
    size_t n = strcspn(p, "\r");
    snprintf(value, sizeof(value), "%.*s", (int)n, p);
    return value;
}

/* Waits for one answer and takes it. has_body: HEAD answers have none although they tell a length.
 */
static const struct answer *hear_form(bool has_body)
{
    static struct answer a;
    memset(&a, 0, sizeof(a));
    uint64_t until = test_now_ms() + FRONT_WAIT_MS;
    uint8_t *end = NULL;
    while (end == NULL && test_now_ms() < until) {
        pump();
        end = in.len > 0 ? memmem(in.data, in.len, "\r\n\r\n", 4) : NULL;
        if (end == NULL && eof) {
            fail_msg("the server closed instead of answering: %.*s", (int)in.len, (char *)in.data);
        }
    }
    assert_non_null(end);
    size_t head = (size_t)(end - in.data) + 2;
    assert_true(head < sizeof(a.head));
    memcpy(a.head, in.data, head);
    assert_int_equal(sscanf(a.head, "HTTP/1.%*d %d", &a.status), 1);
    buf_consume(&in, head + 2);
    const char *length = head_value(&a, "Content-Length");
    a.body_len = length != NULL && has_body ? strtoul(length, NULL, 10) : 0;
    assert_true(a.body_len < sizeof(a.body));
    while (in.len < a.body_len && test_now_ms() < until) {
        pump();
    }
    assert_true(in.len >= a.body_len);
    memcpy(a.body, in.data != NULL ? in.data : (uint8_t *)"", a.body_len);
    buf_consume(&in, a.body_len);
    return &a;
}

static const struct answer *hear(void)
{
    return hear_form(true);
}

static void expect_closed(void)
{
    uint64_t until = test_now_ms() + FRONT_WAIT_MS;
    while (!eof && test_now_ms() < until) {
        pump();
    }
    assert_true(eof);
}

/* ---- routes and methods ---------------------------------------------------------------------- */

static void get_answers_and_keeps_the_connection(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        say("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
        const struct answer *a = hear();
        assert_int_equal(a->status, 200);
        assert_string_equal(a->body, "fine\n");
        assert_string_equal(head_value(a, "Content-Type"), "text/plain");
        assert_string_equal(head_value(a, "Access-Control-Allow-Origin"), "*");
        assert_non_null(head_value(a, "Date"));
        assert_null(head_value(a, "Connection"));
    }
}

static void request_may_come_byte_by_byte(void **state)
{
    (void)state;
    /* 'P' is also the first byte of the HTTP/2 preface; PRI could be one until its fourth byte. */
    static const char *const requests[] = {
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
        "PUT /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        "2\r\nhe\r\n3\r\nllo\r\n0\r\nX-Trailer: y\r\n\r\n",
    };
    for (size_t i = 0; i < 2; i++) {
        for (const char *p = requests[i]; *p != '\0'; p++) {
            say_bytes(p, 1);
        }
        const struct answer *a = hear();
        assert_int_equal(a->status, 200);
        assert_int_equal(a->body_len, 5);
        assert_string_equal(a->body, "hello");
    }
    reconnect();
    say("PRIX / HTTP/1.1\r\n\r\n");
    assert_int_equal(hear()->status, 400);
}

static void head_is_get_without_body(void **state)
{
    (void)state;
    say("HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n");
    const struct answer *a = hear_form(false);
    assert_int_equal(a->status, 200);
    assert_string_equal(head_value(a, "Content-Length"), "5");
    run(10);
    assert_int_equal(in.len, 0);
    say("HEAD /echo HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(hear_form(false)->status, 405);
}

static void unknown_paths_get_404(void **state)
{
    (void)state;
    static const char *const paths[] = {"/nothing", "/", "/healthy", "/tree", "*"};
    for (size_t i = 0; i < 5; i++) {
        char text[128];
        snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", paths[i]);
        say(text);
        const struct answer *a = hear();
        assert_int_equal(a->status, 404);
        assert_string_equal(a->body, "404 page not found\n");
        assert_string_equal(head_value(a, "X-Content-Type-Options"), "nosniff");
    }
}

static void prefix_routes_and_full_urls_match(void **state)
{
    (void)state;
    static const char *const targets[] = {"/tree/", "/tree/a/b?c=d", "http://x:1/health?y"};
    for (size_t i = 0; i < 3; i++) {
        char text[128];
        snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", targets[i]);
        say(text);
        assert_int_equal(hear()->status, 200);
    }
}

static void other_methods_get_405_with_allow(void **state)
{
    (void)state;
    say("DELETE /health HTTP/1.1\r\nHost: x\r\n\r\n");
    const struct answer *a = hear();
    assert_int_equal(a->status, 405);
    assert_string_equal(head_value(a, "Allow"), "GET");
    assert_string_equal(a->body, "Method Not Allowed\n");
    say("GET /echo HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_string_equal(head_value(hear(), "Allow"), "POST, PUT");
}

static void options_gets_cors_headers(void **state)
{
    (void)state;
    say("OPTIONS /anything HTTP/1.1\r\nHost: x\r\nOrigin: http://page\r\n\r\n");
    const struct answer *a = hear();
    assert_int_equal(a->status, 200);
    assert_int_equal(a->body_len, 0);
    assert_string_equal(head_value(a, "Access-Control-Allow-Origin"), "*");
    assert_string_equal(head_value(a, "Access-Control-Allow-Methods"),
                        "POST, GET, OPTIONS, PUT, DELETE");
    assert_string_equal(head_value(a, "Access-Control-Allow-Headers"),
                        "accept, content-type, authorization");
}

static void query_is_decoded(void **state)
{
    (void)state;
    say("GET /query?a=1&b=%41+%zz&&c&longname=longvalue&=x HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_string_equal(hear()->body, "[a=1][b=A %zz][c=][longnam=longval][=x]");
}

/* ---- hosts and origins ----------------------------------------------------------------------- */

static void host_and_origin_lists_are_checked(void **state)
{
    (void)state;
    static const char *const hosts[] = {"good", "::1", NULL};
    static const char *const origins[] = {"http://a", "http://b", NULL};
    const struct rpc_server_options o = {.host_whitelist = hosts, .cors = origins};
    begin(&o);
    say("GET /health HTTP/1.1\r\nHost: good:2379\r\nOrigin: http://b\r\n\r\n");
    const struct answer *a = hear();
    assert_int_equal(a->status, 200);
    assert_string_equal(head_value(a, "Access-Control-Allow-Origin"), "http://b");
    say("GET /health HTTP/1.1\r\nHost: [::1]:2379\r\nOrigin: http://c\r\n\r\n");
    a = hear();
    assert_int_equal(a->status, 200);
    assert_null(head_value(a, "Access-Control-Allow-Origin"));
    say("GET /health HTTP/1.1\r\nHost: evil\r\n\r\n");
    a = hear();
    assert_int_equal(a->status, 421);
    assert_non_null(strstr(a->body, "--host-whitelist"));
    stop(NULL);
}

static void host_header_is_required(void **state)
{
    (void)state;
    say("GET /health HTTP/1.1\r\n\r\n");
    assert_int_equal(hear()->status, 400);
    say("GET /health HTTP/1.0\r\n\r\n");
    assert_int_equal(hear()->status, 200);
    expect_closed();
}

/* ---- connections ----------------------------------------------------------------------------- */

static void versions_and_connection_headers_are_obeyed(void **state)
{
    (void)state;
    say("GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    const struct answer *a = hear();
    assert_memory_equal(a->head, "HTTP/1.0 200", 12);
    assert_string_equal(head_value(a, "Connection"), "keep-alive");
    say("GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    a = hear();
    assert_string_equal(head_value(a, "Connection"), "close");
    expect_closed();
    reconnect();
    say("GET /health HTTP/2.0\r\nHost: x\r\n\r\n");
    assert_int_equal(hear()->status, 505);
    expect_closed();
}

static void upgrade_is_ignored(void **state)
{
    (void)state;
    say("GET /health HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n");
    assert_int_equal(hear()->status, 200);
    say("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(hear()->status, 200);
    say("CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(hear()->status, 404);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    (void)state;
    say("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na"
        "GET /keep HTTP/1.1\r\nHost: x\r\n\r\n"
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nb"
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nc");
    assert_string_equal(hear()->body, "a");
    run(20);
    assert_int_equal(in.len, 0);
    http_respond(front.http_kept, 200, "text/plain", NULL, slice_str("later"));
    assert_string_equal(hear()->body, "later");
    assert_string_equal(hear()->body, "b");
    assert_string_equal(hear()->body, "c");
}

/* Requests behind one that is being answered wait in the kernel, not in our memory. */
static void pipeline_is_bounded(void **state)
{
    (void)state;
    say("GET /keep HTTP/1.1\r\nHost: x\r\n\r\n");
    run(10);
    static const char request[] = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
    size_t sent = 0;
    int idle = 0;
    while (idle < 50) {
        ssize_t n = send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL);
        idle = n < 0 ? idle + 1 : 0;
        sent += n > 0 ? 1 : 0;
        if (n < 0 || sent % 1000 == 0) {
            pump();
        }
        if (n > 0 && n < (ssize_t)sizeof(request) - 1) {
            size_t rest = sizeof(request) - 1 - (size_t)n;
            say_bytes(request + n, 0);
            while (rest > 0 && idle < 50) {
                n = send(fd, request + sizeof(request) - 1 - rest, rest, MSG_NOSIGNAL);
                rest -= n > 0 ? (size_t)n : 0;
                idle = n < 0 ? idle + 1 : 0;
                pump();
            }
            break; /* the kernel is full: its last request may be cut, which ends the test's input
                    */
        }
        if (sent > 200000) {
            fail_msg("the server reads on and on");
        }
    }
    assert_true(front.server->input_bytes < 100000);
    http_respond(front.http_kept, 200, "text/plain", NULL, slice_str("x"));
    assert_int_equal(hear()->status, 200);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(hear()->status, 200);
    }
}

static void kept_request_learns_that_the_peer_left(void **state)
{
    (void)state;
    say("GET /keep HTTP/1.1\r\nHost: x\r\n\r\n");
    run(10);
    assert_non_null(front.http_kept);
    close(fd);
    uint64_t until = test_now_ms() + FRONT_WAIT_MS;
    while (front.http_closed == 0 && test_now_ms() < until) {
        test_turn(&front.loop);
    }
    assert_int_equal(front.http_closed, 1);
    fd = test_connect(front.port);
    /* And at the server's end. */
    say("GET /keep HTTP/1.1\r\nHost: x\r\n\r\n");
    run(10);
    assert_non_null(front.http_kept);
}

static void half_closing_client_gets_its_answer(void **state)
{
    (void)state;
    say("GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /big HTTP/1.1\r\nHost: x\r\n\r\n");
    shutdown(fd, SHUT_WR);
    assert_int_equal(hear()->status, 200);
    expect_closed();
    assert_true(in.len > 3 * 1024 * 1024);
}

static void large_answer_arrives_whole(void **state)
{
    (void)state;
    say("GET /big HTTP/1.1\r\nHost: x\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n"
        "Connection: close\r\n\r\n");
    expect_closed();
    uint8_t *end = memmem(in.data, in.len, "\r\n\r\n", 4);
    assert_non_null(end);
    size_t head = (size_t)(end - in.data) + 4;
    assert_true(in.len > head + 3 * 1024 * 1024);
    assert_memory_equal(in.data + head + 3 * 1024 * 1024, "HTTP/1.1 200", 12);
    assert_memory_equal(in.data + in.len - 5, "fine\n", 5);
    assert_int_equal(front.server->output_bytes, 0);
}

/* ---- bodies and bounds ----------------------------------------------------------------------- */

static void continue_is_sent_when_expected(void **state)
{
    (void)state;
    say("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    assert_int_equal(hear()->status, 100);
    say("abc");
    assert_string_equal(hear()->body, "abc");
}

static void large_bodies_get_413(void **state)
{
    (void)state;
    static char body[65536];
    memset(body, 'x', sizeof(body));
    say("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 65536\r\n\r\n");
    say_bytes(body, sizeof(body));
    const struct answer *a = hear();
    assert_int_equal(a->status, 200);
    assert_int_equal(a->body_len, 65536);
    say("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 65537\r\nExpect: 100-continue\r\n\r\n");
    assert_int_equal(hear()->status, 413);
    expect_closed();
    reconnect();
    say("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n10001\r\n");
    say_bytes(body, sizeof(body));
    say("x\r\n0\r\n\r\n");
    assert_int_equal(hear()->status, 413);
    expect_closed();
    assert_int_equal(front.server->input_bytes, 0);
}

static void large_heads_get_431(void **state)
{
    (void)state;
    static char big[20000];
    memset(big, 'h', sizeof(big) - 1);
    say("GET /health HTTP/1.1\r\nHost: x\r\nX-Big: ");
    say(big);
    assert_int_equal(hear()->status, 431);
    expect_closed();
    reconnect();
    say("GET /");
    say(big);
    assert_int_equal(hear()->status, 431);
    reconnect();
    say("GET /health HTTP/1.1\r\nHost: x\r\n");
    for (int i = 0; i < 200; i++) {
        say("a: b\r\n");
    }
    say("\r\n");
    assert_int_equal(hear()->status, 431);
    assert_int_equal(front.server->input_bytes, 0);
}

static void malformed_requests_get_400(void **state)
{
    (void)state;
    static const char *const requests[] = {
        "NONSENSE\r\n\r\n",
        "GET / HTTP/9.9x\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost x\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: "
        "chunked\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    };
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        say(requests[i]);
        const struct answer *a = hear();
        assert_int_equal(a->status, 400);
        assert_string_equal(head_value(a, "Connection"), "close");
        expect_closed();
        reconnect();
    }
}

/* ---- time ------------------------------------------------------------------------------------ */

static void slow_request_ends_the_connection(void **state)
{
    (void)state;
    const struct rpc_server_options o = {.handshake_timeout_ms = 60};
    begin(&o);
    uint64_t before = test_now_ms();
    say("GET /health HTTP/1.1\r\n");
    uint64_t dripped = before;
    while (!eof && in.len == 0 && test_now_ms() < before + FRONT_WAIT_MS) {
        /* Dripping does not help. A byte per millisecond: a fast machine would otherwise reach the
         * limit on heads first. */
        if (test_now_ms() != dripped) {
            dripped = test_now_ms();
            (void)send(fd, "a", 1, MSG_NOSIGNAL);
        }
        pump();
    }
    assert_int_equal(hear()->status, 408);
    assert_true(test_now_ms() - before >= 50);
    expect_closed();
    /* Nothing at all. */
    reconnect();
    expect_closed();
    /* A slow body. */
    reconnect();
    say("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
    assert_int_equal(hear()->status, 408);
    /* A quick request, then silence: the connection is kept, and so is one whose answer takes long.
     */
    reconnect();
    say("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(hear()->status, 200);
    run(100);
    assert_false(eof);
    say("GET /keep HTTP/1.1\r\nHost: x\r\n\r\n");
    run(100);
    assert_false(eof);
    http_respond(front.http_kept, 200, "text/plain", NULL, slice_str("slow"));
    assert_string_equal(hear()->body, "slow");
    stop(NULL);
}

static void shutdown_ends_idle_connections_and_lets_answers_out(void **state)
{
    (void)state;
    say("GET /keep HTTP/1.1\r\nHost: x\r\n\r\n");
    run(10);
    int idle = test_connect(front.port);
    run(10);
    rpc_server_shutdown(front.server, 60000, front_down, &front);
    uint8_t byte;
    uint64_t until = test_now_ms() + FRONT_WAIT_MS;
    ssize_t n = -1;
    while (n != 0 && test_now_ms() < until) {
        test_turn(&front.loop);
        n = recv(idle, &byte, 1, 0);
    }
    assert_int_equal(n, 0);
    close(idle);
    assert_false(front.down);
    http_respond(front.http_kept, 200, "text/plain", NULL, slice_str("last"));
    const struct answer *a = hear();
    assert_string_equal(a->body, "last");
    expect_closed();
    close(fd);
    while (!front.down && test_now_ms() < until) {
        test_turn(&front.loop);
    }
    assert_true(front.down);
    fd = -1;
}

static void headers_with_line_breaks_are_left_out(void **state)
{
    (void)state;
    say("GET /keep HTTP/1.1\r\nHost: x\r\n\r\n");
    run(10);
    const struct http_header_field headers[] = {
        {"X-Good", "1"}, {"X-Bad", "1\r\nSet-Cookie: evil"}, {NULL, NULL}};
    http_respond(front.http_kept, 201, "text/plain", headers, slice_of(NULL, 0));
    const struct answer *a = hear();
    assert_int_equal(a->status, 201);
    assert_string_equal(head_value(a, "X-Good"), "1");
    assert_null(head_value(a, "X-Bad"));
    assert_null(head_value(a, "Set-Cookie"));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, start, stop)
    const struct CMUnitTest tests[] = {
        T(get_answers_and_keeps_the_connection),
        T(request_may_come_byte_by_byte),
        T(head_is_get_without_body),
        T(unknown_paths_get_404),
        T(prefix_routes_and_full_urls_match),
        T(other_methods_get_405_with_allow),
        T(options_gets_cors_headers),
        T(query_is_decoded),
        cmocka_unit_test(host_and_origin_lists_are_checked),
        T(host_header_is_required),
        T(versions_and_connection_headers_are_obeyed),
        T(upgrade_is_ignored),
        T(pipelined_requests_are_answered_in_order),
        T(pipeline_is_bounded),
        T(kept_request_learns_that_the_peer_left),
        T(half_closing_client_gets_its_answer),
        T(large_answer_arrives_whole),
        T(continue_is_sent_when_expected),
        T(large_bodies_get_413),
        T(large_heads_get_431),
        T(malformed_requests_get_400),
        cmocka_unit_test(slow_request_ends_the_connection),
        T(shutdown_ends_idle_connections_and_lets_answers_out),
        T(headers_with_line_breaks_are_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
