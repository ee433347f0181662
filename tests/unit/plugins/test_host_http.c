/* test_host_http.c - http of plugins: routes, exchanges, backpressure both ways, and every order of
 * going away; each on the store loop and on a thread of its own. */
#include "tests/unit/plugins/web_fixture.h"

static int loop_setup(void **state)
{
    return web_setup_on(state, true);
}

static int thread_setup(void **state)
{
    return web_setup_on(state, false);
}

/* The store loop does what is quick. */
static int lent_setup(void **state)
{
    int rv = web_setup_on(state, false);
    probe_plugin.lanes = KVP_LANE_THREAD | KVP_LANE_LOOP;
    return rv;
}

static void assert_settled(int exchanges)
{
    UNTIL(web.closes == exchanges);
    assert_int_equal(web.begins, exchanges);
    assert_int_equal(web.wrong, 0);
    assert_int_equal(web.answered_in_closed, 0);
}

/* ---- registration ------------------------------------------------------------------------------
 */

static void check_registration(void)
{
    struct kvp_errmsg e = {""};
    struct kvp_listener *l = NULL;
    uint32_t port;
    struct kvp_listen_args a = {.size = sizeof(a), .address = "127.0.0.1"};
    const struct kvp_host *h = probe.host;
    web_on_init();
    /* kvd's own, and our own, patterns are taken; another method is not the same. */
    assert_int_equal(web_route(NULL, "GET", "/health", web_hello, NULL), KVP_EXISTS);
    assert_int_equal(web_route(NULL, "*", "/health", web_hello, NULL), KVP_EXISTS);
    assert_int_equal(web_route(NULL, "GET", "/hello", web_hello, NULL), KVP_EXISTS);
    assert_int_equal(web_route(web.listener, "GET", "/hello", web_hello, NULL), KVP_EXISTS);
    assert_int_equal(web_route(NULL, "POST", "/hello", web_hello, NULL), 0);
    assert_int_equal(web_route(NULL, "GET", "/hello/*", web_hello, NULL), 0);
    /* Mistakes. */
    assert_int_equal(web_route(NULL, "GET", "hello", web_hello, NULL), KVP_INVALID);
    assert_int_equal(web_route(NULL, "GET", "/a*", web_hello, NULL), KVP_INVALID);
    assert_int_equal(web_route(NULL, "GET", "/*/b", web_hello, NULL), KVP_INVALID);
    assert_int_equal(web_route(NULL, "get", "/b", web_hello, NULL), KVP_INVALID);
    assert_int_equal(web_route(NULL, "GET", "/b", NULL, NULL), KVP_INVALID);
    a.address = "nowhere";
    assert_int_equal(h->http_listen(probe.root, &a, &l, &port, &e), KVP_INVALID);
    assert_string_equal(e.text, "listen tcp nowhere:0: not an IP address");
    a.address = "127.0.0.1";
    a.port = web.port; /* the test's server has it */
    assert_int_equal(h->http_listen(probe.root, &a, &l, &port, &e), KVP_EXISTS);
    assert_non_null(strstr(e.text, "bind: address already in use"));
    a.port = web.own_port; /* bound by ourselves, not open yet */
    assert_int_equal(h->http_listen(probe.root, &a, &l, &port, &e), KVP_EXISTS);
    a.port = 0;
    a.flags = KVP_CLIENT_CERT_REQUIRED;
    assert_int_equal(h->http_listen(probe.root, &a, &l, &port, &e), KVP_INVALID);
    a.flags = 0;
    a.cert_pem = kvp_str("x");
    a.key_pem = kvp_str("y");
    assert_int_equal(h->http_listen(probe.root, &a, &l, &port, &e), KVP_INVALID);
    assert_string_equal(e.text, "certificate: no start line");
    assert_int_equal(h->http_certificate(web.listener, kvp_str("x"), kvp_str("y"), kvp_str(""), &e),
                     KVP_INVALID);
    assert_string_equal(e.text, "this listener has no certificate");
}

static void late_inside(void *data)
{
    struct kvp_listener *l = NULL;
    struct kvp_listen_args a = {.size = sizeof(a), .address = "127.0.0.1"};
    (void)data;
    assert_int_equal(web_route(NULL, "GET", "/late", web_hello, NULL), KVP_INVALID);
    assert_int_equal(probe.host->http_listen(probe.root, &a, &l, NULL, NULL), KVP_INVALID);
}

static void routes_and_ports_are_checked(void **state)
{
    (void)state;
    probe.on_init = check_registration;
    probe_load("");
    inside(late_inside, NULL);
}

static void a_failing_init_leaves_no_routes(void **state)
{
    struct errmsg e = {""};
    struct host_plugin rows[4];
    struct peer p;
    (void)state;
    probe.on_init = web_on_init;
    probe.init_result = 1;
    assert_int_equal(host_load(hf.host, "static:probe", &e), 0);
    UNTIL(host_list(hf.host, rows, 4) == 1 && rows[0].state == HOST_REFUSED);
    peer_open(&p, web.port);
    peer_get(&p, "/hello");
    UNTIL(peer_heard(&p, "404 page not found"));
    peer_close(&p);
    /* What it had taken is free again. */
    memset(&probe, 0, sizeof(probe));
    web_load();
    peer_open(&p, (uint16_t)web.own_port);
    peer_get(&p, "/hello");
    UNTIL(peer_heard(&p, "hello\n"));
    peer_close(&p);
    assert_settled(1);
}

static void a_port_that_cannot_open_is_told(void **state)
{
    (void)state;
    struct errmsg e = {""};
    int fd;
    uint16_t port;
    probe.on_init = web_on_init;
    probe_load("");
    /* Somebody else binds it the same way, and is faster to listen. */
    assert_int_equal(rpc_bind("127.0.0.1", (uint16_t)web.own_port, &fd, &port, &e), 0);
    assert_int_equal(listen(fd, 1), 0);
    host_ready(hf.host);
    UNTIL(web.not_opened == 1);
    assert_int_equal(web.opened, 0);
    close(fd);
}

/* ---- answers -----------------------------------------------------------------------------------
 */

static void requests_are_answered_on_both_ports(void **state)
{
    struct peer p;
    (void)state;
    web_load();
    for (int i = 0; i < 2; i++) {
        peer_open(&p, i == 0 ? web.port : (uint16_t)web.own_port);
        peer_get(&p, "/hello");
        UNTIL(peer_heard(&p, "\r\n\r\nhello\n"));
        assert_true(peer_heard(&p, "HTTP/1.1 200 OK\r\n"));
        assert_true(peer_heard(&p, "Content-Length: 6\r\n"));
        assert_true(peer_heard(&p, "Content-Type: text/plain\r\n"));
        buf_clear(&p.in);
        peer_post(&p, "/echo", 5);
        peer_say(&p, "abcde");
        UNTIL(peer_heard(&p, "\r\n\r\nabcde"));
        buf_clear(&p.in);
        peer_post(&p, "/hello", 0);
        UNTIL(peer_heard(&p, "HTTP/1.1 405"));
        buf_clear(&p.in);
        peer_get(&p, "/other");
        UNTIL(peer_heard(&p, "404 page not found"));
        peer_close(&p);
    }
    assert_settled(4);
    assert_int_equal(web.completes, 4);
}

static void the_request_is_seen_as_it_was_sent(void **state)
{
    struct peer p;
    (void)state;
    web_load();
    peer_open(&p, web.port);
    peer_get(&p, "/hold/a%20b?x=1&y");
    UNTIL(web.x != NULL);
    assert_string_equal(web.path, "/hold/a%20b");
    assert_string_equal(web.query, "x=1&y");
    assert_string_equal(web.method, "GET");
    assert_string_equal(web.host, "here:1");
    assert_string_equal(web.header, "1");
    assert_int_equal(web.major, 1);
    assert_int_equal(web.authenticated, 0);
    UNTIL(web.lasts == 1); /* a request without a body has an end, too */
    /* Order of the calls. */
    assert_int_equal(say((struct say){.what = SAY_WRITE, .text = "x"}), KVP_INVALID);
    assert_int_equal(say((struct say){.what = SAY_RESPOND, .len = 100}), KVP_INVALID);
    assert_int_equal(say((struct say){.what = SAY_RESPOND, .len = 201}), 0);
    assert_int_equal(say((struct say){.what = SAY_RESPOND, .len = 201}), KVP_INVALID);
    UNTIL(peer_heard(&p, "HTTP/1.1 201 Created"));
    assert_int_equal(say((struct say){.what = SAY_WRITE, .text = "one"}), 0);
    UNTIL(peer_heard(&p, "3\r\none\r\n"));
    assert_int_equal(say((struct say){.what = SAY_WRITE, .text = "three"}), 0);
    UNTIL(peer_heard(&p, "5\r\nthree\r\n"));
    assert_int_equal(say((struct say){.what = SAY_FINISH}), 0);
    UNTIL(peer_heard(&p, "0\r\n\r\n"));
    assert_settled(1);
    assert_int_equal(web.completes, 1);
    peer_close(&p);
}

static void finish_without_an_answer_is_500_and_abort_is_seen(void **state)
{
    struct peer p;
    (void)state;
    web_load();
    peer_open(&p, web.port);
    peer_get(&p, "/hold/1");
    UNTIL(web.x != NULL);
    assert_int_equal(say((struct say){.what = SAY_FINISH}), 0);
    UNTIL(peer_heard(&p, "HTTP/1.1 500") && web.closes == 1);
    buf_clear(&p.in);
    peer_get(&p, "/hold/2");
    UNTIL(web.x != NULL);
    assert_int_equal(say((struct say){.what = SAY_RESPOND, .len = 200}), 0);
    assert_int_equal(say((struct say){.what = SAY_WRITE, .text = "part"}), 0);
    UNTIL(peer_heard(&p, "part"));
    say((struct say){.what = SAY_ABORT});
    UNTIL((peer_read(&p), p.eof));
    assert_false(peer_heard(&p, "0\r\n\r\n"));
    assert_settled(2);
    assert_int_equal(web.completes, 1);
    peer_close(&p);
}

static void bad_headers_inside(void *data)
{
    const struct kvp_host *h = probe.host;
    const struct kvp_pair split = {kvp_str("A"), kvp_str("b\r\nC: d")};
    const struct kvp_pair name = {kvp_str("A b"), kvp_str("c")};
    const struct kvp_pair length = {kvp_str("content-Length"), kvp_str("5x")};
    static char big[20000];
    (void)data;
    memset(big, 'x', sizeof(big));
    const struct kvp_pair large = {kvp_str("A"), kvp_bytes_of(big, sizeof(big))};
    assert_int_equal(h->http_respond(web.x, 200, &split, 1), KVP_INVALID);
    assert_int_equal(h->http_respond(web.x, 200, &name, 1), KVP_INVALID);
    assert_int_equal(h->http_respond(web.x, 200, &length, 1), KVP_INVALID);
    assert_int_equal(h->http_respond(web.x, 200, &large, 1), KVP_TOO_LARGE);
    const struct kvp_pair good = {kvp_str("Content-Length"), kvp_str("4")};
    assert_int_equal(h->http_respond(web.x, 200, &good, 1), 0);
}

static void headers_are_checked_and_a_promised_length_is_kept(void **state)
{
    struct peer p;
    (void)state;
    web_load();
    peer_open(&p, web.port);
    peer_get(&p, "/hold/1");
    UNTIL(web.x != NULL);
    inside(bad_headers_inside, NULL);
    UNTIL(peer_heard(&p, "Content-Length: 4\r\n"));
    assert_int_equal(say((struct say){.what = SAY_WRITE, .text = "four"}), 0);
    assert_int_equal(say((struct say){.what = SAY_FINISH}), 0);
    UNTIL(peer_heard(&p, "\r\n\r\nfour"));
    assert_settled(1);
    peer_close(&p);
}

/* ---- backpressure ------------------------------------------------------------------------------
 */

/* A client that does not read makes http_write busy after a bounded amount; what was taken arrives
 * once it does, and `writable` comes. */
static void a_slow_client_makes_writing_busy(void **state)
{
    struct peer p;
    size_t taken = 0;
    (void)state;
    web_load();
    peer_open(&p, web.port);
    peer_get(&p, "/hold/1");
    UNTIL(web.x != NULL);
    assert_int_equal(say((struct say){.what = SAY_RESPOND, .len = 200}), 0);
    /* The kernel takes some megabytes first. */
    for (;;) {
        int before = web.writables;
        size_t n = fill(64u << 20);
        taken += n;
        assert_in_range(taken, 1, 48u << 20);
        /* The connection takes some of it on while more is written. */
        assert_in_range(n, 0, 4 * PLUGIN_FLOW_HIGH_BYTES);
        uint64_t patience = test_now_ms() + 300;
        while (web.writables == before && test_now_ms() < patience) {
            test_turn(&hf.f->loop);
        }
        if (web.writables == before && n == 0) {
            break; /* stuck: as it should be */
        }
    }
    assert_int_equal(fill(1), 0); /* still busy */
    int before = web.writables;
    UNTIL((peer_read(&p), web.writables > before));
    assert_int_equal(fill(16 * 1024), 16 * 1024);
    taken += 16 * 1024;
    assert_int_equal(say((struct say){.what = SAY_FINISH}), 0);
    UNTIL(peer_heard(&p, "\r\n0\r\n\r\n"));
    size_t bytes = 0;
    for (size_t i = 0; i < p.in.len; i++) {
        bytes += p.in.data[i] == 'f'; /* chunk sizes have some, too */
    }
    assert_in_range(bytes, taken, taken + 100000);
    peer_close(&p);
    assert_settled(1);
    assert_int_equal(web.completes, 1);
}

/* Sends until the server takes no more; returns how much. */
static size_t send_until_stuck(struct peer *p, size_t len)
{
    size_t sent = 0;
    uint64_t patience = test_now_ms() + 300;
    while (sent < len && test_now_ms() < patience) {
        size_t n = peer_send_some(p, len - sent);
        sent += n;
        patience = n > 0 ? test_now_ms() + 300 : patience;
        test_turn(&hf.f->loop);
    }
    return sent;
}

static void a_paused_body_slows_the_client_down(void **state)
{
    enum { LENGTH = 8 * 1024 * 1024 };
    struct peer p;
    (void)state;
    web_load();
    peer_open(&p, web.port);
    int small = 16 * 1024;
    setsockopt(p.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    peer_post(&p, "/slow", LENGTH);
    UNTIL(web.x != NULL);
    size_t sent = send_until_stuck(&p, LENGTH);
    assert_in_range(sent, 1, LENGTH - 1);
    assert_int_equal(web.body_bytes, 0);
    say((struct say){.what = SAY_RESUME});
    UNTIL((sent += peer_send_some(&p, LENGTH - sent), web.lasts == 1));
    assert_int_equal(sent, LENGTH);
    assert_int_equal(web.body_bytes, LENGTH);
    assert_int_equal(say((struct say){.what = SAY_RESPOND, .len = 204}), 0);
    assert_int_equal(say((struct say){.what = SAY_FINISH}), 0);
    UNTIL(peer_heard(&p, "HTTP/1.1 204"));
    peer_close(&p);
    assert_settled(1);
}

static void pausing_again_and_again_loses_nothing(void **state)
{
    enum { LENGTH = 1024 * 1024 };
    struct peer p;
    (void)state;
    web_load();
    peer_open(&p, web.port);
    peer_post(&p, "/hold/1", LENGTH);
    UNTIL(web.x != NULL);
    size_t sent = 0;
    while (web.lasts == 0) {
        say((struct say){.what = SAY_PAUSE});
        sent += peer_send_some(&p, LENGTH - sent < 30000 ? LENGTH - sent : 30000);
        test_turn(&hf.f->loop);
        say((struct say){.what = SAY_RESUME});
    }
    assert_int_equal(web.body_bytes, LENGTH);
    assert_int_equal(say((struct say){.what = SAY_FINISH}), 0);
    assert_settled(1);
    peer_close(&p);
}

static void too_large_bodies_are_413(void **state)
{
    struct peer p;
    (void)state;
    web_load();
    peer_open(&p, web.port);
    peer_post(&p, "/hold/1", 9 * 1024 * 1024);
    UNTIL(peer_heard(&p, "HTTP/1.1 413"));
    peer_close(&p);
    assert_settled(1);
    assert_int_equal(web.completes, 0);
}

/* ---- going away --------------------------------------------------------------------------------
 */

static void clients_go_at_any_time(void **state)
{
    struct peer p;
    (void)state;
    web_load();
    /* Before an answer. */
    peer_open(&p, web.port);
    peer_get(&p, "/hold/1");
    UNTIL(web.x != NULL);
    peer_close(&p);
    UNTIL(web.closes == 1);
    /* In the middle of one. */
    peer_open(&p, web.port);
    peer_get(&p, "/hold/2");
    UNTIL(web.x != NULL);
    assert_int_equal(say((struct say){.what = SAY_RESPOND, .len = 200}), 0);
    fill(10u << 20);
    peer_close(&p);
    UNTIL(web.closes == 2);
    /* In the middle of a body, paused: the socket is not read, so it is seen after that. */
    peer_open(&p, web.port);
    peer_post(&p, "/slow", 1000000);
    UNTIL(web.x != NULL);
    peer_send_some(&p, 200000);
    test_turn(&hf.f->loop);
    peer_close(&p);
    say((struct say){.what = SAY_RESUME});
    UNTIL(web.closes == 3);
    /* While the body goes on. */
    peer_open(&p, web.port);
    peer_post(&p, "/slow", 1000000);
    UNTIL(web.x != NULL);
    peer_send_some(&p, 100000);
    test_turn(&hf.f->loop);
    say((struct say){.what = SAY_RESUME});
    peer_close(&p);
    assert_settled(4);
    assert_int_equal(web.completes, 0);
}

/* The plugin ends while requests wait, stream and upload, and some are on their way to it. */
static void a_plugin_ends_in_the_middle(void **state)
{
    struct peer p[5];
    (void)state;
    web_load();
    for (int i = 0; i < 5; i++) {
        peer_open(&p[i], i % 2 == 0 ? web.port : (uint16_t)web.own_port);
    }
    peer_get(&p[0], "/hold/1");
    UNTIL(web.begins == 1);
    peer_get(&p[1], "/hold/2");
    UNTIL(web.begins == 2);
    assert_int_equal(say((struct say){.what = SAY_RESPOND, .len = 200}), 0);
    fill(1u << 20);
    peer_post(&p[2], "/slow", 1000000);
    peer_send_some(&p[2], 300000);
    UNTIL(web.begins == 3);
    peer_get(&p[3], "/hold/4");
    peer_get(&p[4], "/hello");
    host_fixture_close();
    assert_int_equal(web.closes, web.begins);
    assert_int_equal(probe.finis, 1);
    UNTIL(peer_heard(&p[0], "HTTP/1.1 503")); /* not begun: told so */
    UNTIL((peer_read(&p[1]), p[1].eof));      /* begun: broken off */
    assert_false(peer_heard(&p[1], "\r\n0\r\n\r\n"));
    for (int i = 0; i < 5; i++) {
        peer_close(&p[i]);
    }
    /* The client port lives on without the routes. */
    peer_open(&p[0], web.port);
    peer_get(&p[0], "/hello");
    UNTIL(peer_heard(&p[0], "HTTP/1.1 404"));
    peer_get(&p[0], "/health");
    UNTIL(peer_heard(&p[0], "well"));
    peer_close(&p[0]);
}

/* ---- many --------------------------------------------------------------------------------------
 */

static void pipelined_requests_keep_their_order(void **state)
{
    struct peer p;
    (void)state;
    web_load();
    peer_open(&p, web.port);
    for (int i = 0; i < 50; i++) {
        peer_get(&p, "/hello");
    }
    UNTIL(web.closes == 50);
    size_t found = 0;
    UNTIL(peer_read(&p) > 0 && ((found = 0), true));
    for (size_t i = 0; i + 6 <= p.in.len; i++) {
        found += memcmp(p.in.data + i, "hello\n", 6) == 0;
    }
    assert_int_equal(found, 50);
    peer_close(&p);
    assert_settled(50);
}

static void http2_streams_are_served(void **state)
{
    struct h2_client c = {0};
    struct h2_reply *replies[100];
    const struct h2_header headers[] = {
        {":method", "GET"}, {"content-type", NULL}, {"te", NULL}, {NULL, NULL}};
    (void)state;
    web_load();
    h2_client_open(&c, &hf.f->loop, (uint16_t)web.own_port);
    for (int i = 0; i < 100; i++) {
        replies[i] = h2_client_call(&c, "/hello", headers, slice_of(NULL, 0), true);
    }
    for (int i = 0; i < 100; i++) {
        UNTIL((h2_client_pump(&c), replies[i]->closed));
        assert_string_equal(replies[i]->http_status, "200");
        assert_int_equal(replies[i]->data.len, 6);
    }
    /* A reset in the middle, then a stream. */
    struct h2_reply *r = h2_client_call(&c, "/hold/1", headers, slice_of(NULL, 0), true);
    UNTIL((h2_client_pump(&c), web.x != NULL));
    assert_int_equal(web.major, 2);
    h2_client_rst(&c, r, 8);
    UNTIL((h2_client_pump(&c), web.closes == 101));
    r = h2_client_call(&c, "/hold/2", headers, slice_of(NULL, 0), true);
    UNTIL((h2_client_pump(&c), web.x != NULL));
    assert_int_equal(say((struct say){.what = SAY_RESPOND, .len = 200}), 0);
    size_t taken = 0;
    while (taken < 3u << 20) {
        taken += fill((3u << 20) - taken);
        UNTIL((h2_client_pump(&c), true));
    }
    assert_int_equal(say((struct say){.what = SAY_FINISH}), 0);
    UNTIL((h2_client_pump(&c), r->closed));
    assert_int_equal(r->data.len, taken);
    h2_client_close(&c);
    assert_settled(102);
}

#define ALL(test)                                                          \
    cmocka_unit_test_setup_teardown(test, loop_setup, web_teardown),       \
        cmocka_unit_test_setup_teardown(test, thread_setup, web_teardown), \
        cmocka_unit_test_setup_teardown(test, lent_setup, web_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ALL(routes_and_ports_are_checked),
        ALL(a_failing_init_leaves_no_routes),
        ALL(a_port_that_cannot_open_is_told),
        ALL(requests_are_answered_on_both_ports),
        ALL(the_request_is_seen_as_it_was_sent),
        ALL(finish_without_an_answer_is_500_and_abort_is_seen),
        ALL(headers_are_checked_and_a_promised_length_is_kept),
        ALL(a_slow_client_makes_writing_busy),
        ALL(a_paused_body_slows_the_client_down),
        ALL(pausing_again_and_again_loses_nothing),
        ALL(too_large_bodies_are_413),
        ALL(clients_go_at_any_time),
        ALL(a_plugin_ends_in_the_middle),
        ALL(pipelined_requests_keep_their_order),
        ALL(http2_streams_are_served),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
