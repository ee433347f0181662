/* test_http - exchanges as handlers see them, on HTTP/1.1 and HTTP/2 alike: answers in pieces,
 * bodies in chunks, backpressure both ways, every way to end, routes that come and go, several
 * servers on one loop. */
#include "tests/unit/rpc/http_fixture.h"

#include "base/alloc.h"
#include "rpc/h2_exchange.h"
#include "tests/fuzz/mem_conn.h"

/* ---- answers in pieces ----------------------------------------------------------------------- */

static void pieces_arrive_as_they_are_written(void)
{
    web_ask("GET", "/stream?a=b", NULL, true);
    WEB_UNTIL(web.req != NULL);
    assert_true(slice_eq(http_method(web.req), slice_str("GET")));
    assert_true(slice_eq(http_path(web.req), slice_str("/stream")));
    assert_true(slice_eq(http_query(web.req), slice_str("a=b")));
    assert_true(slice_eq(http_header(web.req, "x-one"), slice_str("1")));
    assert_true(slice_eq(http_header(web.req, "host"), slice_str("localhost")));
    assert_int_equal(http_protocol(web.req), web.h2 ? 20 : 11);
    assert_memory_equal(http_peer(web.req), "127.0.0.1:", 10);
    const struct http_header_field headers[] = {
        {"X-Mine", "yes"}, {"Connection", "close"}, {"Content-Length", "3"}, {NULL, NULL}};
    http_begin(web.req, 200, "text/event-stream", headers, HTTP_BYTES_UNKNOWN);
    WEB_UNTIL(web_status() == 200);
    assert_true(web_has_header("X-Mine: yes\r\n", "x-mine: yes\n"));
    assert_true(web_has_header("Transfer-Encoding: chunked\r\n", "content-type: text/event-"));
    assert_false(web_has_header("Content-Length", "content-length"));
    assert_false(web_has_header("Connection", "connection"));
    assert_int_equal(http_write(web.req, slice_str("one ")), HTTP_WRITTEN);
    WEB_UNTIL(web.h2 ? web.reply->data.len == 4 : web_heard("4\r\none \r\n"));
    struct blob *b = blob_new(3);
    memcpy(b->data, "two", 3);
    const struct rpc_part parts[] = {
        {.bytes = blob_slice(b), .blob = b}, {.bytes = slice_str(" ")}, {.bytes = slice_str("3")}};
    assert_int_equal(http_write_parts(web.req, parts, 3), HTTP_WRITTEN);
    blob_unref(b);
    assert_int_equal(http_write(web.req, slice_of(NULL, 0)), HTTP_WRITTEN);
    http_finish(web.req);
    web.req = NULL;
    web_hear_all();
    assert_body("one two 3");
    assert_int_equal(web.closes, 0);
    /* The connection serves the next one. */
    web_ask("POST", "/echo", "again", true);
    web_hear_all();
    assert_body("again");
}
WEB_BOTH(pieces_arrive_as_they_are_written)

static void promised_length_is_sent_and_kept_to(void)
{
    web_ask("GET", "/stream", NULL, true);
    WEB_UNTIL(web.req != NULL);
    http_begin(web.req, 200, NULL, NULL, 6);
    WEB_UNTIL(web_status() == 200);
    http_write(web.req, slice_str("abc"));
    http_write(web.req, slice_str("def"));
    assert_int_equal(http_write(web.req, slice_str("!")), HTTP_GONE);
    /* One byte too much spoils it: the peer must not take it for whole. */
    WEB_UNTIL(web.req == NULL && (web.h2 ? web.reply->closed : web.eof));
    assert_true(web_has_header("Content-Length: 6\r\n", "content-length: 6\n"));
    assert_int_equal(web.closes, 1);
    if (web.h2) {
        assert_int_equal(web.reply->error_code, NGHTTP2_INTERNAL_ERROR);
    }
}
WEB_BOTH(promised_length_is_sent_and_kept_to)

static void short_answer_is_broken_off(void)
{
    web_ask("GET", "/stream", NULL, true);
    WEB_UNTIL(web.req != NULL);
    http_begin(web.req, 200, NULL, NULL, 6);
    http_write(web.req, slice_str("abc"));
    http_finish(web.req);
    web.req = NULL;
    WEB_UNTIL(web.h2 ? web.reply->closed : web.eof);
    assert_int_equal(web.closes, 0);
}
WEB_BOTH(short_answer_is_broken_off)

static void head_gets_no_body(void)
{
    web_ask("HEAD", "/stream", NULL, true);
    WEB_UNTIL(web.req != NULL);
    http_begin(web.req, 200, "text/plain", NULL, 5);
    assert_int_equal(http_write(web.req, slice_str("12345")), HTTP_WRITTEN);
    http_finish(web.req);
    web.req = NULL;
    WEB_UNTIL(web.h2 ? web.reply->ended : web_heard("\r\n\r\n"));
    assert_true(web_has_header("Content-Length: 5\r\n", "content-length: 5\n"));
    if (web.h2) {
        assert_int_equal(web.reply->data.len, 0);
    } else {
        assert_memory_equal(web.in.data + web.in.len - 4, "\r\n\r\n", 4);
        buf_clear(&web.in);
    }
    web_ask("POST", "/echo", "next", true);
    web_hear_all();
    assert_body("next");
}
WEB_BOTH(head_gets_no_body)

static void empty_answers_end_at_once(void)
{
    static const int codes[] = {204, 304, 200};
    for (size_t i = 0; i < 3; i++) {
        web_ask("GET", "/stream", NULL, true);
        WEB_UNTIL(web.req != NULL);
        http_respond(web.req, codes[i], NULL, NULL, slice_of(NULL, 0));
        web.req = NULL;
        WEB_UNTIL(web.h2 ? web.reply->ended : web_heard("\r\n\r\n"));
        assert_int_equal(web_status(), codes[i]);
        buf_clear(&web.in);
    }
}
WEB_BOTH(empty_answers_end_at_once)

static void http10_gets_the_body_until_the_end(void **state)
{
    (void)state;
    web_start(false);
    web_say("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    WEB_UNTIL(web.req != NULL);
    assert_int_equal(http_protocol(web.req), 10);
    http_begin(web.req, 200, NULL, NULL, HTTP_BYTES_UNKNOWN);
    http_write(web.req, slice_str("to the end"));
    http_finish(web.req);
    web.req = NULL;
    WEB_UNTIL(web.eof);
    assert_true(web_heard("HTTP/1.0 200 OK\r\n"));
    assert_true(web_heard("Connection: close\r\n"));
    assert_false(web_heard("chunked"));
    assert_memory_equal(web.in.data + web.in.len - 14, "\r\n\r\nto the end", 14);
    web_stop();
}

/* Writes until the queue is full while the peer does not read; what waits is bounded. */
static void slow_reader_fills_the_queue_and_room_is_told(void)
{
    static uint8_t block[16 * 1024];
    memset(block, 'w', sizeof(block));
    web_ask("GET", "/stream", NULL, true);
    WEB_UNTIL(web.req != NULL);
    web.client.paused = true;
    http_begin(web.req, 200, NULL, NULL, HTTP_BYTES_UNKNOWN);
    uint64_t sent = 0;
    int full = 0;
    while (full < 30 && sent < 100000000) {
        enum http_write_result r = http_write(web.req, slice_of(block, sizeof(block)));
        assert_int_not_equal(r, HTTP_GONE);
        sent += r == HTTP_WRITTEN ? sizeof(block) : 0;
        full += r == HTTP_FULL;
        if (r == HTTP_FULL) {
            web.writables = 0;
            test_turn(&web.loop);
            if (web.writables > 0) {
                full = 0;
            }
        }
        assert_true(web.server->output_bytes < 2 * RPC_CALL_HIGH_WATER_BYTES + 4096);
    }
    assert_true(sent < 100000000);
    assert_true(http_is_full(web.req));
    web.writables = 0;
    web.client.paused = false;
    WEB_UNTIL(web.writables > 0);
    assert_int_equal(http_write(web.req, slice_str("end")), HTTP_WRITTEN);
    sent += 3;
    http_finish(web.req);
    web.req = NULL;
    web_hear_all();
    assert_int_equal(web.got.len, sent);
    assert_memory_equal(web.got.data + sent - 3, "end", 3);
    assert_int_equal(web.server->output_bytes, 0);
}
WEB_BOTH(slow_reader_fills_the_queue_and_room_is_told)

/* ---- peers that take nothing ----------------------------------------------------------------- */

/* Another HTTP/2 client, with a window for each stream. */
static void reopen(uint32_t window, bool no_window_updates)
{
    h2_client_close(&web.client);
    memset(&web.client, 0, sizeof(web.client));
    web.client.window = window;
    web.client.no_window_updates = no_window_updates;
    h2_client_open(&web.client, &web.loop, web.port);
}

/* An exchange whose queue is full and stays so, or that has been broken off. */
static void fill(void)
{
    static const uint8_t block[16 * 1024];
    web_ask("GET", "/stream", NULL, true);
    WEB_UNTIL(web.req != NULL);
    web.client.paused = !web.client.no_window_updates;
    http_begin(web.req, 200, NULL, NULL, HTTP_BYTES_UNKNOWN);
    for (int full = 0; full < 30 && web.req != NULL;) {
        enum http_write_result r = http_write(web.req, slice_of(block, sizeof(block)));
        assert_int_not_equal(r, HTTP_GONE);
        full = r == HTTP_FULL ? full + 1 : 0;
        test_turn(&web.loop);
        if (web.client.no_window_updates) {
            h2_client_pump(&web.client);
        }
    }
}

/* The whole connection is not read: it ends. */
static void peers_that_do_not_read_are_left(void **state)
{
    (void)state;
    for (int h2 = 0; h2 < 2; h2++) {
        web_start_with((struct rpc_server_options){.no_cors = true, .answer_idle_ms = 60}, h2 != 0);
        if (h2) {
            /* Windows are no bound: TCP is. */
            reopen(1u << 30, false);
            assert_int_equal(
                nghttp2_session_set_local_window_size(web.client.session, 0, 0, 1 << 30), 0);
        }
        fill();
        for (uint64_t until = test_now_ms() + WEB_WAIT_MS; web.req != NULL;) {
            assert_true(test_now_ms() < until);
            test_turn(&web.loop);
        }
        assert_int_equal(web.closes, 1);
        assert_int_equal(web.server->output_bytes, 0);
        web.client.paused = false;
        WEB_UNTIL(h2 ? web.client.eof || web.client.reset : web.eof);
        web_stop();
    }
}

/* One stream is not read: it is reset, and the others go on. The time is made up. */
static void streams_that_are_not_read_are_reset(void **state)
{
    static const uint8_t large[100000];
    (void)state;
    web_start_with((struct rpc_server_options){.no_cors = true, .h2c_http = true}, true);
    reopen(10000, true);
    fill();
    struct h2_reply *stuck = web.reply;
    uint64_t now = uv_now(&web.loop);
    h2_exchange_sweep(web.server, now + RPC_HTTP_ANSWER_IDLE_MS / 2);
    assert_non_null(web.req);
    h2_exchange_sweep(web.server, now + RPC_HTTP_ANSWER_IDLE_MS + WEB_WAIT_MS);
    assert_null(web.req);
    assert_int_equal(web.closes, 1);
    WEB_UNTIL(stuck->closed);
    assert_int_equal(stuck->error_code, NGHTTP2_INTERNAL_ERROR);
    /* An answer that its handler is done with. */
    web_ask("GET", "/stream", NULL, true);
    WEB_UNTIL(web.req != NULL);
    stuck = web.reply;
    http_respond(web.req, 200, NULL, NULL, slice_of(large, sizeof(large)));
    web.req = NULL;
    WEB_UNTIL(stuck->data.len == 10000);
    assert_true(web.server->output_bytes > 80000);
    h2_exchange_sweep(web.server, uv_now(&web.loop) + RPC_HTTP_ANSWER_IDLE_MS + WEB_WAIT_MS);
    assert_int_equal(web.server->output_bytes, 0);
    WEB_UNTIL(stuck->closed);
    assert_int_equal(web.closes, 1);
    web_ask("POST", "/echo", "still here", true);
    web_hear_all();
    assert_body("still here");
    web_stop();
}

/* Whoever takes a little now and then has all the time he wants. */
static void slow_peers_are_waited_for(void **state)
{
    (void)state;
    web_start(true);
    fill();
    for (int i = 0; i < 5; i++) {
        uint64_t before = uv_now(&web.loop);
        web.writables = 0;
        web.client.paused = false;
        WEB_UNTIL(uv_now(&web.loop) > before && web.writables > 0);
        web.client.paused = true;
        while (!http_is_full(web.req)) {
            static const uint8_t block[16 * 1024];
            (void)http_write(web.req, slice_of(block, sizeof(block)));
            test_turn(&web.loop);
        }
        h2_exchange_sweep(web.server, before + RPC_HTTP_ANSWER_IDLE_MS);
        assert_non_null(web.req);
    }
    http_abort(web.req);
    web.req = NULL;
    web.client.paused = false;
    web_stop();
}
/* Large blobs, in chunks and with a length, to a reader who takes them slowly: nothing is lost or
 * mixed up, and the blobs are let go. */
static void blobs_reach_a_slow_reader_whole(void)
{
    struct blob *b = blob_new(100001);
    for (size_t i = 0; i < b->len; i++) {
        b->data[i] = (uint8_t)(i * 7 + i / 251);
    }
    for (int promised = 0; promised < 2; promised++) {
        const size_t times = 60;
        web_ask("GET", "/stream", NULL, true);
        WEB_UNTIL(web.req != NULL);
        http_begin(web.req, 200, NULL, NULL, promised ? times * b->len : HTTP_BYTES_UNKNOWN);
        for (size_t written = 0, turns = 0; written < times;) {
            struct rpc_part parts[3] = {{.bytes = slice_of(b->data, 10)},
                                        {.bytes = slice_of(b->data + 10, 99990), .blob = b},
                                        {.bytes = slice_of(b->data + 100000, 1), .blob = b}};
            enum http_write_result rc = http_write_parts(web.req, parts, 3);
            assert_int_not_equal(rc, HTTP_GONE);
            written += rc == HTTP_WRITTEN;
            web.client.paused = ++turns % 20 != 0;
            if (rc == HTTP_FULL) {
                test_turn(&web.loop);
            }
            if (rc == HTTP_FULL && !web.client.paused) {
                web_pump();
            }
        }
        web.client.paused = false;
        http_finish(web.req);
        web.req = NULL;
        web_hear_all();
        assert_int_equal(web.got.len, times * b->len);
        for (size_t i = 0; i < times; i++) {
            assert_memory_equal(web.got.data + i * b->len, b->data, b->len);
        }
        assert_int_equal(web.server->output_bytes, 0);
        assert_int_equal(b->refs, 1);
    }
    blob_unref(b);
}
WEB_BOTH(blobs_reach_a_slow_reader_whole)

/* ---- the end --------------------------------------------------------------------------------- */

static void leave(void)
{
    if (web.h2) {
        h2_client_rst(&web.client, web.reply, NGHTTP2_CANCEL);
    } else {
        close(web.fd);
        web.fd = test_connect(web.port);
    }
}

static void leaving_peer_is_told_once(void)
{
    for (int begun = 0; begun < 2; begun++) {
        web_ask("GET", "/stream", NULL, true);
        WEB_UNTIL(web.req != NULL);
        if (begun) {
            http_begin(web.req, 200, NULL, NULL, HTTP_BYTES_UNKNOWN);
            http_write(web.req, slice_str("x"));
        }
        leave();
        WEB_UNTIL(web.req == NULL);
        assert_int_equal(web.closes, begun + 1);
        web_settle();
        assert_int_equal(web.closes, begun + 1);
    }
    /* One that has ended is not told. */
    web_ask("GET", "/stream", NULL, true);
    WEB_UNTIL(web.req != NULL);
    http_respond(web.req, 200, NULL, NULL, slice_str("done"));
    web.req = NULL;
    leave();
    web_settle();
    assert_int_equal(web.closes, 2);
    /* The server's end is a peer that left. */
    if (web.h2) {
        web_ask("GET", "/stream", NULL, true);
    } else {
        buf_clear(&web.in);
        web.eof = false;
        web_ask("GET", "/stream", NULL, true);
    }
    WEB_UNTIL(web.req != NULL);
    http_begin(web.req, 200, NULL, NULL, HTTP_BYTES_UNKNOWN);
}
WEB_BOTH(leaving_peer_is_told_once)

static void abort_is_noticed(void)
{
    for (int begun = 0; begun < 2; begun++) {
        web_ask("GET", "/stream", NULL, true);
        WEB_UNTIL(web.req != NULL);
        if (begun) {
            http_begin(web.req, 200, NULL, NULL, HTTP_BYTES_UNKNOWN);
            http_write(web.req, slice_str("partial"));
            web_pump();
        }
        http_abort(web.req);
        web.req = NULL;
        WEB_UNTIL(web.h2 ? web.reply->closed : web.eof);
        if (web.h2) {
            assert_int_equal(web.reply->error_code, NGHTTP2_INTERNAL_ERROR);
            assert_false(web.reply->ended);
        } else {
            assert_false(web_heard("0\r\n\r\n"));
            close(web.fd);
            web.fd = test_connect(web.port);
            web.eof = false;
        }
    }
    assert_int_equal(web.closes, 0);
}
WEB_BOTH(abort_is_noticed)

/* ---- bodies in chunks ------------------------------------------------------------------------ */

static void body_comes_in_chunks_with_its_end(void)
{
    web_ask("PUT", "/stream", "first", false);
    WEB_UNTIL(web.req != NULL);
    web_settle();
    assert_int_equal(web.got.len, 0); /* not asked for yet */
    http_read_body(web.req, 1000, web_body);
    assert_int_equal(web.got.len, 0); /* never from inside */
    WEB_UNTIL(web.got.len == 5);
    web_send("second", 6, false);
    WEB_UNTIL(web.got.len == 11);
    assert_int_equal(web.ends, 0);
    /* The answer may begin before the body has ended. */
    http_begin(web.req, 200, NULL, NULL, HTTP_BYTES_UNKNOWN);
    http_write(web.req, slice_str("so far"));
    WEB_UNTIL(web_status() == 200);
    web_send("", 0, true);
    WEB_UNTIL(web.ends == 1);
    assert_body("firstsecond");
    http_finish(web.req);
    web.req = NULL;
    web_hear_all();
    assert_body("so far");
    /* And a request without a body has an end too. */
    web_ask("GET", "/stream", NULL, true);
    WEB_UNTIL(web.req != NULL);
    http_read_body(web.req, 0, web_body);
    WEB_UNTIL(web.ends == 1);
    http_respond(web.req, 200, NULL, NULL, slice_of(NULL, 0));
    web.req = NULL;
}
WEB_BOTH(body_comes_in_chunks_with_its_end)

/* A paused handler holds the sender back: the server keeps a window's worth at most. */
static void paused_handler_holds_the_sender_back(void)
{
    static uint8_t block[32 * 1024];
    memset(block, 'u', sizeof(block));
    web_ask("PUT", "/stream", "x", false);
    WEB_UNTIL(web.req != NULL);
    web.pause_at_once = true;
    http_read_body(web.req, UINT64_MAX, web_body);
    WEB_UNTIL(web.got.len == 1);
    size_t total = 8u * 1024 * 1024;
    if (web.h2) {
        for (size_t n = 0; n < total; n += sizeof(block)) {
            h2_client_send(&web.client, web.reply, slice_of(block, sizeof(block)),
                           n + sizeof(block) == total);
        }
        for (int i = 0; i < 50; i++) {
            web_pump();
        }
    } else {
        char size[32];
        snprintf(size, sizeof(size), "%zx\r\n", total);
        web_say(size);
        size_t sent = 0;
        for (int idle = 0; idle < 50 && sent < total;) {
            ssize_t n = send(web.fd, block, sizeof(block), MSG_NOSIGNAL);
            idle = n > 0 ? 0 : idle + 1;
            sent += n > 0 ? (size_t)n : 0;
            test_turn(&web.loop);
        }
        assert_true(sent < total);
        total = sent; /* the rest of the chunk stays unsent */
    }
    assert_int_equal(web.got.len, 1);
    assert_true(web.server->input_bytes <= RPC_STREAM_WINDOW_BYTES + 65536);
    /* Each resume lets one piece through. */
    http_resume_body(web.req);
    WEB_UNTIL(web.got.len > 1);
    size_t some = web.got.len;
    web_settle();
    assert_int_equal(web.got.len, some);
    web.pause_at_once = false;
    http_resume_body(web.req);
    WEB_UNTIL(web.got.len == total + 1);
    if (web.h2) {
        WEB_UNTIL(web.ends == 1);
    }
    http_respond(web.req, 200, NULL, NULL, slice_of(NULL, 0));
    web.req = NULL;
}
WEB_BOTH(paused_handler_holds_the_sender_back)

static void too_long_a_body_gets_413(void)
{
    web_ask("PUT", "/stream", "12345", false);
    WEB_UNTIL(web.req != NULL);
    http_read_body(web.req, 8, web_body);
    WEB_UNTIL(web.got.len == 5);
    web_send("6789", 4, false);
    WEB_UNTIL(web.req == NULL);
    assert_int_equal(web.closes, 1);
    WEB_UNTIL(web_status() == 413);
    assert_body("12345");
    if (web.h2) {
        WEB_UNTIL(web.reply->closed);
        web_ask("POST", "/echo", "fine", true);
        web_hear_all();
        assert_body("fine");
    } else {
        assert_true(web_heard("Connection: close\r\n"));
        WEB_UNTIL(web.eof);
    }
}
WEB_BOTH(too_long_a_body_gets_413)

static void declared_length_is_looked_at_first(void)
{
    if (web.h2) {
        const struct h2_header headers[] = {{"content-type", NULL},
                                            {"te", NULL},
                                            {"content-length", "1000"},
                                            {"expect", "100-continue"},
                                            {NULL, NULL}};
        web.reply = h2_client_call(&web.client, "/stream", headers, slice_of(NULL, 0), false);
    } else {
        web_say("POST /stream HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
                "Expect: 100-continue\r\n\r\n");
    }
    WEB_UNTIL(web.req != NULL);
    http_read_body(web.req, 999, web_body);
    WEB_UNTIL(web.req == NULL);
    WEB_UNTIL(web_status() == 413); /* and not 100 */
    assert_int_equal(web.closes, 1);
    assert_int_equal(web.got.len, 0);
}
WEB_BOTH(declared_length_is_looked_at_first)

static void continue_waits_for_the_handler(void)
{
    if (web.h2) {
        const struct h2_header headers[] = {
            {"content-type", NULL}, {"te", NULL}, {"expect", "100-continue"}, {NULL, NULL}};
        web.reply = h2_client_call(&web.client, "/stream", headers, slice_of(NULL, 0), false);
    } else {
        web_say("POST /stream HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
                "Expect: 100-continue\r\n\r\n");
    }
    WEB_UNTIL(web.req != NULL);
    web_settle();
    assert_int_equal(web_status(), 0);
    http_read_body(web.req, 100, web_body);
    WEB_UNTIL(web_status() == 100);
    buf_clear(&web.in);
    web_send("go", 2, true);
    WEB_UNTIL(web.ends == 1);
    http_respond(web.req, 200, NULL, NULL, slice_str("went"));
    web.req = NULL;
    web_hear_all();
    assert_body("went");
}
WEB_BOTH(continue_waits_for_the_handler)

static void other_expectations_get_417(void **state)
{
    (void)state;
    web_start(false);
    web_say("GET /stream HTTP/1.1\r\nHost: x\r\nExpect: miracles\r\n\r\n");
    WEB_UNTIL(web_status() == 417);
    web_stop();
}

/* An answer before the end of the body: a small rest is read away, a large one costs the
 * connection. */
static void early_answer_keeps_the_connection_when_cheap(void **state)
{
    (void)state;
    static char rest[4096];
    memset(rest, 'r', sizeof(rest));
    web_start(false);
    web_say("POST /stream HTTP/1.1\r\nHost: x\r\nContent-Length: 4100\r\n\r\nabcd");
    WEB_UNTIL(web.req != NULL);
    http_respond(web.req, 403, NULL, NULL, slice_str("no"));
    web.req = NULL;
    web_hear_all();
    assert_body("no");
    web_say_bytes(rest, sizeof(rest));
    web_ask("POST", "/echo", "kept", true);
    web_hear_all();
    assert_body("kept");
    web_say("POST /stream HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\nabcd");
    WEB_UNTIL(web.req != NULL);
    http_respond(web.req, 403, NULL, NULL, slice_str("no"));
    web.req = NULL;
    WEB_UNTIL(web.eof);
    assert_true(web_heard("Connection: close\r\n"));
    web_stop();
}

/* The same on HTTP/2: the stream is reset only when the rest is large or slow. */
static void early_answer_lets_a_small_body_end(void **state)
{
    (void)state;
    static uint8_t rest[RPC_HTTP_DRAIN_BYTES_MAX + 1];
    web_start(true);
    web_ask("PUT", "/nothing", "a", false);
    WEB_UNTIL(web_status() == 404);
    WEB_UNTIL(web.reply->ended);
    web_settle();
    h2_client_pump(&web.client);
    assert_false(web.reply->closed);
    web_send(rest, 1000, true);
    WEB_UNTIL(web.reply->closed);
    assert_int_equal(web.reply->error_code, NGHTTP2_NO_ERROR);
    WEB_UNTIL(web.server->call_count == 0);
    web_ask("PUT", "/nothing", "a", false);
    WEB_UNTIL(web_status() == 404);
    web_send(rest, sizeof(rest), false);
    WEB_UNTIL(web.reply->closed);
    web_ask("PUT", "/nothing", "a", false);
    WEB_UNTIL(web.reply->closed); /* in time */
    web_stop();
}

static void malformed_rest_of_a_body_is_told(void **state)
{
    (void)state;
    web_start(false);
    web_say(
        "POST /stream HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\nzz\r\n");
    WEB_UNTIL(web.req != NULL);
    http_read_body(web.req, 100, web_body);
    WEB_UNTIL(web.req == NULL);
    assert_body("ab");
    assert_int_equal(web.closes, 1);
    WEB_UNTIL(web_status() == 400);
    WEB_UNTIL(web.eof);
    web_stop();
}

static void slow_whole_body_gets_408(void)
{
    web_ask("POST", "/echo", "never ends", false);
    WEB_UNTIL(web_status() == 408);
    assert_int_equal(web.calls, 0);
}

static void slow_whole_body_gets_408_on_both(void **state)
{
    (void)state;
    for (int h2 = 0; h2 < 2; h2++) {
        const struct rpc_server_options o = {.handshake_timeout_ms = 60};
        web_start_with(o, h2 != 0);
        slow_whole_body_gets_408();
        web_stop();
    }
}

/* A streamed body may take its time, but not stand still, unless the handler holds it back. */
static void stalled_body_gets_408(void **state)
{
    (void)state;
    for (int h2 = 0; h2 < 2; h2++) {
        const struct rpc_server_options o = {.body_idle_ms = 80};
        web_start_with(o, h2 != 0);
        web_ask("PUT", "/stream", "a", false);
        WEB_UNTIL(web.req != NULL);
        http_read_body(web.req, 100, web_body);
        for (int i = 0; i < 10; i++) {
            uint64_t until = test_now_ms() + 20;
            while (test_now_ms() < until) {
                web_pump();
            }
            web_send("b", 1, false);
        }
        WEB_UNTIL(web.got.len == 11);
        assert_non_null(web.req);
        http_pause_body(web.req);
        uint64_t until = test_now_ms() + 150;
        while (test_now_ms() < until) {
            web_pump();
        }
        assert_non_null(web.req);
        http_resume_body(web.req);
        WEB_UNTIL(web.req == NULL);
        assert_int_equal(web.closes, 1);
        WEB_UNTIL(web_status() == 408);
        web_stop();
    }
}

/* ---- HTTP/2 ---------------------------------------------------------------------------------- */

static void upgrades_are_ordinary_requests(void **state)
{
    (void)state;
    web_start(false);
    web_say("GET /stream HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n");
    WEB_UNTIL(web.req != NULL);
    assert_true(slice_eq(http_header(web.req, "upgrade"), slice_str("SPDY/3.1")));
    http_respond(web.req, 400, NULL, NULL, slice_str("no upgrades here"));
    web.req = NULL;
    web_hear_all();
    web_ask("POST", "/echo", "still HTTP", true);
    web_hear_all();
    assert_body("still HTTP");
    web_stop();
}

static void grpc_u(struct rpc_call *call, struct slice bytes)
{
    const struct rpc_part part = {.bytes = bytes};
    rpc_call_send(call, &part, 1);
    rpc_call_finish(call, 0, NULL);
}

static const struct rpc_method web_methods[] = {
    {.service = "t.Echo", .method = "Unary", .message = grpc_u},
    {.service = NULL},
};

static void grpc_and_http_share_a_connection(void **state)
{
    (void)state;
    web_start_with((struct rpc_server_options){.methods = web_methods, .h2c_http = true}, true);
    web_ask("POST", "/echo", "plain", true);
    web_hear_all();
    assert_body("plain");
    struct buf message;
    buf_init(&message);
    grpc_frame(&message, slice_str("rpc"));
    struct h2_reply *r =
        h2_client_call(&web.client, "/t.Echo/Unary", NULL, buf_slice(&message), true);
    assert_true(h2_client_wait(&web.client, &r->closed, WEB_WAIT_MS));
    assert_int_equal(r->grpc_status, 0);
    /* gRPC's content type decides, also for a path of ours. */
    r = h2_client_call(&web.client, "/echo", NULL, buf_slice(&message), true);
    assert_true(h2_client_wait(&web.client, &r->closed, WEB_WAIT_MS));
    assert_int_equal(r->grpc_status, 12);
    /* And a method's path without it is no page. */
    web_ask("POST", "/t.Echo/Unary", "x", true);
    WEB_UNTIL(web_status() == 415);
    web_ask("GET", "/nothing", NULL, true);
    web_hear_all();
    assert_int_equal(web_status(), 404);
    assert_body("404 page not found\n");
    web_ask("PUT", "/echo", NULL, true);
    web_hear_all();
    assert_int_equal(web_status(), 405);
    assert_true(web_has_header("", "allow: POST\n"));
    buf_close(&message);
    web_stop();
}

static void large_heads_get_431_on_http2(void **state)
{
    (void)state;
    static char big[12000];
    memset(big, 'h', sizeof(big) - 1);
    web_start(true);
    const struct h2_header headers[] = {
        {"content-type", NULL}, {"te", NULL}, {"x-a", big}, {"x-b", big}, {NULL, NULL}};
    web.reply = h2_client_call(&web.client, "/echo", headers, slice_of(NULL, 0), true);
    WEB_UNTIL(web_status() == 431);
    WEB_UNTIL(web.reply->closed);
    assert_int_equal(web.server->input_bytes, 0);
    web_stop();
}

/* ---- routes ---------------------------------------------------------------------------------- */

static void answer_data(struct http_request *req)
{
    http_respond(req, 200, NULL, NULL, slice_str(http_route_data(req)));
}

static int add(const char *path, bool prefix, const char *method, const char *data,
               struct router_entry **out)
{
    struct errmsg e;
    const struct http_route route = {.path = path,
                                     .prefix = prefix,
                                     .methods = {method},
                                     .handler = answer_data,
                                     .data = (void *)(uintptr_t)data};
    return http_router_add(rpc_server_router(web.server), &route, out, &e);
}

static void expect_answer(const char *method, const char *path, int status, const char *body)
{
    web_ask(method, path, NULL, true);
    WEB_UNTIL(web_status() != 0);
    assert_int_equal(web_status(), status);
    web_hear_all();
    if (body != NULL) {
        assert_body(body);
    }
}

static void routes_come_and_go(void)
{
    struct router_entry *entries[6];
    assert_int_equal(add("/", true, NULL, "root", &entries[0]), 0);
    assert_int_equal(add("/api/", true, "GET", "api", &entries[1]), 0);
    assert_int_equal(add("/api/v1", false, "GET", "exact", &entries[2]), 0);
    assert_int_equal(add("/api/v1", true, "GET", "prefix", &entries[3]), 0);
    assert_int_equal(add("/api/v1", true, "PUT", "put", &entries[4]), 0);
    expect_answer("GET", "/", 200, "root");
    expect_answer("GET", "/api", 200, "root");
    expect_answer("GET", "/api/", 200, "api");
    expect_answer("DELETE", "/api/x", 405, NULL);
    expect_answer("GET", "/api/v1", 200, "exact");
    expect_answer("GET", "/api/v1/pods", 200, "prefix");
    expect_answer("PUT", "/api/v1/pods", 200, "put");
    assert_int_equal(add("/api/v1", true, "PUT", "again", &entries[5]), ERR_INVALID);
    assert_int_equal(add("/api/v1", true, NULL, "all", &entries[5]), ERR_INVALID);
    assert_int_equal(add("api", true, "GET", "no slash", &entries[5]), ERR_INVALID);
    http_router_remove(rpc_server_router(web.server), entries[3]);
    expect_answer("GET", "/api/v1/pods", 405, NULL);
    http_router_remove(rpc_server_router(web.server), entries[4]);
    expect_answer("GET", "/api/v1/pods", 200, "api");
    http_router_remove(rpc_server_router(web.server), entries[1]);
    http_router_remove(rpc_server_router(web.server), entries[2]);
    http_router_remove(rpc_server_router(web.server), entries[0]);
    expect_answer("GET", "/api/v1", 404, "404 page not found\n");
    /* One removed while a body is on its way to it. */
    assert_int_equal(add("/up", false, "POST", "up", &entries[0]), 0);
    web_ask("POST", "/up", "part", false);
    for (int i = 0; i < 10; i++) {
        web_pump();
    }
    http_router_remove(rpc_server_router(web.server), entries[0]);
    web_send("", 0, true);
    WEB_UNTIL(web_status() == 404);
    web_hear_all();
    assert_body("404 page not found\n");
}
WEB_BOTH(routes_come_and_go)

static void routes_are_bounded(void **state)
{
    (void)state;
    struct http_router r;
    http_router_init(&r);
    struct errmsg e;
    char path[32];
    struct http_route route = {.path = path, .handler = answer_data};
    for (unsigned i = 0; i < RPC_ROUTES_MAX; i++) {
        snprintf(path, sizeof(path), "/%u", i);
        assert_int_equal(http_router_add(&r, &route, NULL, &e), 0);
    }
    snprintf(path, sizeof(path), "/more");
    assert_int_equal(http_router_add(&r, &route, NULL, &e), ERR_NOMEM);
    struct buf allow;
    buf_init(&allow);
    struct router_entry *found = http_router_find(&r, slice_str("/17"), slice_str("GET"), &allow);
    assert_non_null(found);
    assert_string_equal(found->route.path, "/17");
    buf_close(&allow);
    http_router_close(&r);
}

/* ---- several servers ------------------------------------------------------------------------- */

static void set_flag(void *data)
{
    *(bool *)data = true;
}

static void one_server_stops_while_another_goes_on(void **state)
{
    (void)state;
    struct errmsg e;
    web_start_with((struct rpc_server_options){.methods = web_methods, .h2c_http = true}, true);
    static const struct http_route pages[] = {
        {.path = "/other", .handler = web_echo, .methods = {"GET"}}, {.path = NULL}};
    const struct rpc_server_options o = {.routes = pages, .connections_max = 1};
    struct rpc_server *other = rpc_server_new(&web.loop, &o);
    assert_non_null(other);
    assert_int_equal(rpc_server_listen(other, "127.0.0.1", 0, &e), 0);
    struct h2_client second = {0};
    h2_client_open(&second, &web.loop, rpc_server_port(other, 0));
    const struct h2_header get[] = {
        {":method", "GET"}, {"content-type", NULL}, {"te", NULL}, {NULL, NULL}};
    struct h2_reply *r = h2_client_call(&second, "/other", get, slice_of(NULL, 0), true);
    assert_true(h2_client_wait(&second, &r->closed, WEB_WAIT_MS));
    assert_string_equal(r->http_status, "200");
    /* Without methods even gRPC's content type is just a request. */
    r = h2_client_call(&second, "/t.Echo/Unary", NULL, slice_of(NULL, 0), true);
    assert_true(h2_client_wait(&second, &r->closed, WEB_WAIT_MS));
    assert_string_equal(r->http_status, "404");
    /* Its limit is its own. */
    struct h2_client third = {0};
    h2_client_open(&third, &web.loop, rpc_server_port(other, 0));
    WEB_UNTIL((h2_client_pump(&third), third.eof || third.reset));
    web_ask("POST", "/echo", "here", true);
    web_hear_all();
    assert_body("here");
    bool down = false;
    bool freed = false;
    rpc_server_shutdown(other, 1000, set_flag, &down);
    WEB_UNTIL((h2_client_pump(&second), down));
    rpc_server_close(other, set_flag, &freed);
    WEB_UNTIL(freed);
    web_ask("POST", "/echo", "still here", true);
    web_hear_all();
    assert_body("still here");
    h2_client_close(&second);
    h2_client_close(&third);
    web_stop();
}

/* While a server stops, routes may be gone before its connections are: what is asked for may exist,
 * so it is not called missing. */
static void a_server_that_stops_knows_nothing_of_what_is_missing(void **state)
{
    (void)state;
    bool down = false;
    web_start(false);
    web_say("GET /nothing HTTP/1.1\r\nHost: a\r\n"); /* begun: it is waited for */
    web_settle();
    rpc_server_shutdown(web.server, 60000, set_flag, &down);
    web_say("\r\n");
    WEB_UNTIL(web_heard("\r\n\r\n"));
    assert_int_equal(web_status(), 503);
    assert_true(web_has_header("Connection: close", ""));
    WEB_UNTIL(down);
    web_stop();
}

/* ---- memory ---------------------------------------------------------------------------------- */

static size_t mem_frame(uint8_t *out, uint8_t type, uint8_t flags, uint32_t id, const void *payload,
                        size_t len)
{
    const uint8_t head[9] = {0, (uint8_t)(len >> 8), (uint8_t)len, type, flags, 0, 0,
                             0, (uint8_t)id};
    memcpy(out, head, sizeof(head));
    memcpy(out + 9, payload, len);
    return len + 9;
}

/* Allocation number n fails, for each n of an exchange with a streamed body and a streamed answer:
 * no leak, and whoever got the exchange also got its end. */
static void memory_round(bool h2, uint64_t n, bool *whole)
{
    static uint8_t block[20000];
    web_start(false);
    struct mem_conn m = {0};
    mem_fail_after(n);
    bool open = mem_conn_open(&m, web.server);
    if (open && h2) {
        uint8_t bytes[600];
        static const char hello[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
        static const char head[] = "\x83\x86\x44\x07/stream\x41\x01x\x40\x01"
                                   "a\x01"
                                   "b";
        mem_conn_input(&m, (const uint8_t *)hello, sizeof(hello) - 1);
        size_t len = mem_frame(bytes, 1, 4, 1, head, sizeof(head) - 1);
        len += mem_frame(bytes + len, 0, 0, 1, "abc", 3);
        mem_conn_input(&m, bytes, len);
    } else if (open) {
        static const char request[] = "POST /stream HTTP/1.1\r\nHost: x\r\n"
                                      "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
        mem_conn_input(&m, (const uint8_t *)request, sizeof(request) - 1);
    }
    if (web.req != NULL) {
        http_read_body(web.req, 100, web_body);
        server_flush(web.server);
    }
    if (web.req != NULL) {
        http_begin(web.req, 200, "text/plain", NULL, HTTP_BYTES_UNKNOWN);
        (void)http_write(web.req, slice_of(block, sizeof(block)));
        m.room = 100;
        server_flush(web.server);
        mem_conn_settle(&m);
    }
    *whole = open && !m.freed && web.req != NULL && web.got.len == 3 && m.out.len > sizeof(block);
    if (web.req != NULL) {
        http_finish(web.req);
        web.req = NULL;
        m.room = SIZE_MAX;
        server_flush(web.server);
    }
    mem_fail_after(0);
    if (open) {
        mem_conn_shut(&m);
    }
    assert_int_equal(web.server->input_bytes, 0);
    assert_int_equal(web.server->output_bytes, 0);
    web_stop();
}

static void lack_of_memory_is_survived(void **state)
{
    (void)state;
    for (int h2 = 0; h2 < 2; h2++) {
        bool whole = false;
        uint64_t n = 1;
        for (; !whole; n++) {
            memory_round(h2 != 0, n, &whole);
            assert_true(n < 1000);
        }
        assert_true(n > 10);
    }
}

int main(void)
{
#define T(f)   cmocka_unit_test(f)
#define TWO(f) cmocka_unit_test(f##_on_http1), cmocka_unit_test(f##_on_http2)
    const struct CMUnitTest tests[] = {
        TWO(pieces_arrive_as_they_are_written),
        TWO(promised_length_is_sent_and_kept_to),
        TWO(short_answer_is_broken_off),
        TWO(head_gets_no_body),
        TWO(empty_answers_end_at_once),
        T(http10_gets_the_body_until_the_end),
        TWO(slow_reader_fills_the_queue_and_room_is_told),
        T(peers_that_do_not_read_are_left),
        T(streams_that_are_not_read_are_reset),
        T(slow_peers_are_waited_for),
        TWO(blobs_reach_a_slow_reader_whole),
        TWO(leaving_peer_is_told_once),
        TWO(abort_is_noticed),
        TWO(body_comes_in_chunks_with_its_end),
        TWO(paused_handler_holds_the_sender_back),
        TWO(too_long_a_body_gets_413),
        TWO(declared_length_is_looked_at_first),
        TWO(continue_waits_for_the_handler),
        T(other_expectations_get_417),
        T(early_answer_keeps_the_connection_when_cheap),
        T(early_answer_lets_a_small_body_end),
        T(a_server_that_stops_knows_nothing_of_what_is_missing),
        T(malformed_rest_of_a_body_is_told),
        T(slow_whole_body_gets_408_on_both),
        T(stalled_body_gets_408),
        T(upgrades_are_ordinary_requests),
        T(grpc_and_http_share_a_connection),
        T(large_heads_get_431_on_http2),
        TWO(routes_come_and_go),
        T(routes_are_bounded),
        T(one_server_stops_while_another_goes_on),
        T(lack_of_memory_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
