/* test_h2 - HTTP/2 rules of a connection: keepalive, too many pings and resets, GOAWAY at shutdown,
 * windows, large uploads, slow readers, bounds on input. */
#include "tests/unit/rpc/front_fixture.h"

#include <stdio.h>

#include "base/bytes.h"
#include "base/limits.h"
#include "rpc/intake.h"
#include "rpc/server_impl.h"

static struct front front;
static struct h2_client client;

static void begin(const struct rpc_server_options *o)
{
    front_start(&front, o);
    memset(&client, 0, sizeof(client));
}

static void connect_client(void)
{
    h2_client_open(&client, &front.loop, front.port);
}

static void end(void)
{
    front_stop(&front);
    h2_client_close(&client);
}

static void expect_unary_works(struct h2_client *c)
{
    struct h2_reply *r = front_call(c, "/t.Echo/Unary", NULL, slice_str("fine"));
    assert_int_equal(r->grpc_status, GRPC_OK);
}

static void expect_eof(struct h2_client *c)
{
    assert_true(h2_client_wait(c, &c->eof, FRONT_WAIT_MS));
}

/* ---- pings ----------------------------------------------------------------------------------- */

static void ping(struct h2_client *c)
{
    nghttp2_submit_ping(c->session, NGHTTP2_FLAG_NONE, (const uint8_t *)"12345678");
    int before = c->ping_acks;
    uint64_t until = test_now_ms() + FRONT_WAIT_MS;
    while (c->ping_acks == before && !c->eof && test_now_ms() < until) {
        h2_client_pump(c);
        test_turn(c->loop);
        h2_client_pump(c);
    }
}

/* Without an open call: the first ping is free, three more are strikes, the third ends it. */
static void too_many_idle_pings_end_the_connection(void **state)
{
    (void)state;
    begin(NULL);
    connect_client();
    for (int i = 0; i < 3; i++) {
        ping(&client);
        assert_int_equal(client.ping_acks, i + 1);
        assert_int_equal(client.goaways, 0);
    }
    ping(&client);
    expect_eof(&client);
    assert_int_equal(client.goaways, 1);
    assert_int_equal(client.goaway_code, NGHTTP2_ENHANCE_YOUR_CALM);
    assert_string_equal(client.goaway_debug, "too_many_pings");
    end();
}

/* With an open call pings may come every keepalive_min_ms, and HEADERS or DATA clear the strikes.
 */
static void pings_of_a_busy_client_are_fine(void **state)
{
    (void)state;
    const struct rpc_server_options o = {.keepalive_min_ms = 10};
    begin(&o);
    connect_client();
    h2_client_call(&client, "/t.Echo/Bidi", NULL, slice_of("\0\0\0\0\1x", 6), false);
    front_wait_count(&client, &front.messages, 1);
    for (int i = 0; i < 6; i++) {
        ping(&client);
        h2_client_run(&client, 15);
    }
    for (int i = 0; i < 20; i++) {
        ping(&client);
        expect_unary_works(&client);
    }
    assert_int_equal(client.goaways, 0);
    /* Faster than that, and nothing is sent meanwhile: strikes. */
    for (int i = 0; i < 5; i++) {
        ping(&client);
    }
    expect_eof(&client);
    assert_string_equal(client.goaway_debug, "too_many_pings");
    end();
}

static void silent_client_is_pinged(void **state)
{
    (void)state;
    const struct rpc_server_options o = {.keepalive_interval_ms = 20, .keepalive_timeout_ms = 300};
    begin(&o);
    connect_client();
    front_wait_count(&client, &client.pings, 3);
    expect_unary_works(&client);
    assert_false(client.eof);
    end();
}

static void dead_client_is_closed(void **state)
{
    (void)state;
    const struct rpc_server_options o = {.keepalive_interval_ms = 20, .keepalive_timeout_ms = 30};
    begin(&o);
    client.ping_no_ack = true;
    connect_client();
    h2_client_call(&client, "/t.Echo/Bidi", NULL, slice_of("\0\0\0\0\1x", 6), false);
    expect_eof(&client);
    assert_int_equal(client.pings, 1);
    front_wait_count(&client, &front.closes, 1);
    end();
}

static void silence_before_the_preface_ends_the_connection(void **state)
{
    (void)state;
    const struct rpc_server_options o = {.handshake_timeout_ms = 30};
    begin(&o);
    connect_client();
    h2_client_run(&client, 5);
    int fd = test_connect(front.port);
    struct h2_client raw = {0};
    h2_client_adopt(&raw, &front.loop, fd);
    nghttp2_session_del(raw.session);
    raw.session = NULL;
    nghttp2_session_callbacks *cb;
    nghttp2_session_callbacks_new(&cb);
    nghttp2_session_server_new(&raw.session, cb, &raw); /* says nothing by itself */
    nghttp2_session_callbacks_del(cb);
    assert_int_equal(send(fd, "PRI * HTTP/2.0\r\n\r\nSM", 20, MSG_NOSIGNAL), 20);
    expect_eof(&raw);
    /* One that finished its handshake stays. */
    h2_client_run(&client, 60);
    expect_unary_works(&client);
    h2_client_close(&raw);
    end();
}

/* ---- abuse ----------------------------------------------------------------------------------- */

/* Cancelling thousands of calls is what a client with timeouts does. */
static void cancels_are_no_attack(void **state)
{
    (void)state;
    begin(NULL);
    connect_client();
    for (int round = 0; round < 25; round++) {
        struct h2_reply *r[200];
        for (int i = 0; i < 200; i++) {
            r[i] = h2_client_call(&client, "/t.Echo/Bidi", NULL, slice_of("\0\0\0\0\1x", 6), false);
        }
        front_wait_count(&client, &front.opens, (round + 1) * 200);
        for (int i = 0; i < 200; i++) {
            h2_client_rst(&client, r[i], NGHTTP2_CANCEL);
        }
        front_wait_count(&client, &front.closes, (round + 1) * 200);
    }
    assert_int_equal(client.goaways, 0);
    expect_unary_works(&client);
    end();
}

/* Rapid reset: HEADERS and RST_STREAM without end. */
static void rapid_resets_end_the_connection(void **state)
{
    (void)state;
    begin(NULL);
    connect_client();
    h2_client_run(&client, 5);
    struct buf attack;
    buf_init(&attack);
    /* :method POST, :scheme http, :authority a, :path /t.Echo/Bidi, content-type application/grpc.
     */
    static const uint8_t block[] = "\x83\x86\x01\x01"
                                   "a\x04\x0c/t.Echo/Bidi\x0f\x10\x10"
                                   "application/grpc";
    for (uint32_t id = 1; id < 80001; id += 2) {
        uint8_t frame[9] = {0, 0, sizeof(block) - 1, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS};
        bytes_put_be32(frame + 5, id);
        buf_append(&attack, frame, 9);
        buf_append(&attack, block, sizeof(block) - 1);
        uint8_t rst[13] = {0, 0, 4, NGHTTP2_RST_STREAM, 0};
        bytes_put_be32(rst + 5, id);
        rst[12] = NGHTTP2_CANCEL;
        buf_append(&attack, rst, 13);
    }
    h2_client_raw(&client, attack.data, attack.len);
    buf_close(&attack);
    uint64_t until = test_now_ms() + FRONT_WAIT_MS;
    while (!client.eof && !client.reset && test_now_ms() < until) {
        h2_client_run(&client, 1);
    }
    assert_true(client.eof || client.reset);
    if (client.goaways > 0) { /* lost when the kernel's RST overtook it */
        assert_int_equal(client.goaway_code, NGHTTP2_ENHANCE_YOUR_CALM);
    }
    struct h2_client other = {0};
    h2_client_open(&other, &front.loop, front.port);
    expect_unary_works(&other);
    h2_client_close(&other);
    end();
}

/* An HPACK bomb: a 4 KB field in the table, then thousands of one-byte references to it. */
static void header_bomb_is_refused(void **state)
{
    (void)state;
    begin(NULL);
    connect_client();
    h2_client_run(&client, 5);
    struct buf block;
    buf_init(&block);
    buf_append(&block, "\x83\x86\x01\x01\x61\x84\x40\x01x\x7f\xa1\x1e", 12); /* x: 4000 bytes */
    uint8_t fill[4000];
    memset(fill, 'f', sizeof(fill));
    buf_append(&block, fill, sizeof(fill));
    for (int i = 0; i < 12000; i++) {
        buf_append_byte(&block, 0xbe);
    }
    uint8_t frame[9] = {(uint8_t)(block.len >> 16), (uint8_t)(block.len >> 8), (uint8_t)block.len,
                        NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM};
    bytes_put_be32(frame + 5, 1);
    h2_client_raw(&client, frame, 9);
    h2_client_raw(&client, block.data, block.len);
    buf_close(&block);
    h2_client_run(&client, 50);
    assert_int_equal(front.opens, 0);
    end();
}

static void garbage_ends_the_connection(void **state)
{
    (void)state;
    begin(NULL);
    connect_client();
    expect_unary_works(&client);
    static const uint8_t junk[100] = {0xff, 0xff, 0xff, 0x01, 0xff};
    h2_client_raw(&client, junk, sizeof(junk));
    expect_eof(&client);
    assert_int_equal(client.goaways, 1);
    end();
}

/* ---- shutdown -------------------------------------------------------------------------------- */

static void shutdown_lets_calls_end(void **state)
{
    (void)state;
    begin(NULL);
    connect_client();
    struct h2_client idle = {0};
    h2_client_open(&idle, &front.loop, front.port);
    expect_unary_works(&idle);
    struct h2_reply *r =
        h2_client_call(&client, "/t.Echo/Keep", NULL, slice_of("\0\0\0\0\1x", 6), true);
    front_wait_count(&client, &front.messages, 2);
    rpc_server_shutdown(front.server, 60000, front_down, &front);
    /* The idle connection ends at once with its last stream id. */
    expect_eof(&idle);
    assert_int_equal(idle.goaways, 1);
    assert_int_equal(idle.goaway_code, NGHTTP2_NO_ERROR);
    assert_int_equal(idle.goaway_last, 1);
    /* The busy one hears that it will end, then where. */
    front_wait_count(&client, &client.goaways, 2);
    assert_int_equal(client.goaway_last, 1);
    assert_false(client.eof);
    assert_false(front.down);
    struct rpc_part part = {.bytes = slice_str("done")};
    rpc_call_send(front.kept[0], &part, 1);
    rpc_call_finish(front.kept[0], GRPC_OK, NULL);
    assert_true(h2_client_wait(&client, &r->closed, FRONT_WAIT_MS));
    assert_int_equal(r->grpc_status, GRPC_OK);
    expect_eof(&client);
    h2_client_close(&idle);
    h2_client_close(&client);
    memset(&client, 0, sizeof(client));
    while (!front.down) {
        test_turn(&front.loop);
    }
    rpc_server_close(front.server, front_freed, &front);
    while (!front.freed) {
        uv_run(&front.loop, UV_RUN_ONCE);
    }
    assert_int_equal(uv_loop_close(&front.loop), 0);
    assert_int_equal(front.closes, front.opens);
}

static void shutdown_ends_streams_after_the_grace_time(void **state)
{
    (void)state;
    begin(NULL);
    connect_client();
    h2_client_call(&client, "/t.Echo/Bidi", NULL, slice_of("\0\0\0\0\1x", 6), false);
    front_wait_count(&client, &front.messages, 1);
    uint64_t before = test_now_ms();
    rpc_server_shutdown(front.server, 50, front_down, &front);
    expect_eof(&client);
    assert_true(test_now_ms() - before >= 45);
    assert_int_equal(front.closes, 1);
    while (!front.down) {
        test_turn(&front.loop);
    }
    end();
}

static void shutdown_without_connections_completes(void **state)
{
    (void)state;
    begin(NULL);
    rpc_server_shutdown(front.server, 60000, front_down, &front);
    assert_false(front.down);
    uint64_t until = test_now_ms() + FRONT_WAIT_MS;
    while (!front.down && test_now_ms() < until) {
        test_turn(&front.loop);
    }
    assert_true(front.down);
    rpc_server_close(front.server, front_freed, &front);
    while (!front.freed) {
        uv_run(&front.loop, UV_RUN_ONCE);
    }
    assert_int_equal(uv_loop_close(&front.loop), 0);
}

/* ---- input windows and bounds ---------------------------------------------------------------- */

static struct h2_reply *upload(struct h2_client *c, const char *path, size_t len, size_t send,
                               bool last)
{
    static uint8_t body[2 * 1024 * 1024 + 5];
    memset(body, 'u', sizeof(body));
    body[0] = 0;
    bytes_put_be32(body + 1, (uint32_t)len);
    return h2_client_call(c, path, NULL, slice_of(body, send), last);
}

static void large_requests_are_quick(void **state)
{
    (void)state;
    begin(NULL);
    client.window = 8 * 1024 * 1024;
    connect_client();
    uint64_t before = test_now_ms();
    for (int i = 0; i < 10; i++) {
        struct h2_reply *r = upload(&client, "/t.Echo/Unary", 1500000, 1500005, true);
        assert_true(h2_client_wait(&client, &r->closed, FRONT_WAIT_MS));
        assert_int_equal(r->grpc_status, GRPC_OK);
        assert_int_equal(r->data.len, 1500005);
    }
    /* 30 MB both ways; a window that opened only with a timer would take far longer. */
    assert_true(test_now_ms() - before < 10000);
    assert_int_equal(front.server->input_bytes, 0);
    end();
}

/* Many large uploads at once into a small budget: they take turns, none fails. */
static void large_uploads_take_turns(void **state)
{
    (void)state;
    /* 40 windows of 256 KiB are 10 MiB, grants may take 12: without turns it would be 60 MB. */
    const struct rpc_server_options o = {.input_bytes_max = 24 * 1024 * 1024};
    begin(&o);
    client.window = 8 * 1024 * 1024;
    connect_client();
    struct h2_reply *r[40];
    for (int i = 0; i < 40; i++) {
        r[i] = upload(&client, "/t.Echo/Unary", 1500000, 1500005, true);
    }
    size_t most = 0;
    for (int i = 0; i < 40; i++) {
        while (!r[i]->closed) {
            h2_client_run(&client, 0);
            size_t now = front.server->input_bytes;
            most = now > most ? now : most;
        }
        assert_int_equal(r[i]->grpc_status, GRPC_OK);
    }
    assert_true(most <= o.input_bytes_max);
    assert_true(most > 1500000);
    assert_int_equal(front.server->input_bytes, 0);
    assert_int_equal(front.server->granted_bytes, 0);
    end();
}

/* Half-sent messages beyond the budget are refused; nothing grows with what prefixes claim. */
static void partial_input_is_bounded(void **state)
{
    (void)state;
    const struct rpc_server_options o = {.input_bytes_max = 1024 * 1024};
    begin(&o);
    connect_client();
    struct h2_reply *claim = upload(&client, "/t.Echo/Unary", 2000000, 1000, false);
    h2_client_run(&client, 20);
    assert_true(front.server->input_bytes < 8192);
    struct h2_reply *r[40];
    for (int i = 0; i < 40; i++) {
        r[i] = upload(&client, "/t.Echo/Unary", 100000, 60000, false);
    }
    int refused = -1;
    front_wait_count(&client, &front.opens, 41);
    /* Until a while brings no more refusals: on a slow machine the first ones take long. */
    for (int before = -2; refused != before || refused == 0;) {
        before = refused;
        refused = 0;
        h2_client_run(&client, 100);
        for (int i = 0; i < 40; i++) {
            refused += r[i]->grpc_status == GRPC_RESOURCE_EXHAUSTED;
        }
    }
    assert_true(refused > 10 && refused < 40);
    assert_false(claim->closed);
    assert_true(front.server->input_bytes <= o.input_bytes_max);
    /* Those who were let in can finish once one of them has gone: how much of the budget is left
     * for them to grow depends on the pieces that arrived. */
    int gone = 0;
    while (r[gone]->closed) {
        gone++;
    }
    h2_client_rst(&client, r[gone], NGHTTP2_CANCEL);
    front_wait_count(&client, &front.closes, refused + 1);
    for (int i = 0; i < 40; i++) {
        if (!r[i]->closed && i != gone) {
            static uint8_t rest[40005];
            h2_client_send(&client, r[i], slice_of(rest, sizeof(rest)), true);
            assert_true(h2_client_wait(&client, &r[i]->closed, FRONT_WAIT_MS));
            assert_int_equal(r[i]->grpc_status, GRPC_OK);
        }
    }
    h2_client_rst(&client, claim, NGHTTP2_CANCEL);
    front_wait_count(&client, &front.closes, 41);
    assert_int_equal(front.server->input_bytes, 0);
    end();
}

/* The end of the stall time, without waiting for it: the message looks as old as that. */
static void make_stalled(struct intake *in)
{
    in->fed_ms -= RPC_INPUT_STALL_MS;
}

static struct intake *oldest_partial(void)
{
    return LIST_ENTRY(front.server->partials.next, struct intake, partial);
}

/* When memory is short a message that stands still gives way, one that moves does not. */
static void stalled_message_gives_way(void **state)
{
    (void)state;
    const struct rpc_server_options o = {.input_bytes_max = 700 * 1024};
    begin(&o);
    connect_client();
    struct h2_reply *stalled = upload(&client, "/t.Echo/Unary", 250000, 200000, false);
    front_wait_count(&client, &front.opens, 1);
    h2_client_run(&client, 20);
    struct h2_reply *moving = upload(&client, "/t.Echo/Unary", 250000, 200000, false);
    h2_client_run(&client, 20);
    struct h2_reply *refused = upload(&client, "/t.Echo/Unary", 250000, 250005, true);
    assert_true(h2_client_wait(&client, &refused->closed, FRONT_WAIT_MS));
    assert_int_equal(refused->grpc_status, GRPC_RESOURCE_EXHAUSTED);
    make_stalled(oldest_partial());
    struct h2_reply *served = upload(&client, "/t.Echo/Unary", 250000, 250005, true);
    assert_true(h2_client_wait(&client, &served->closed, FRONT_WAIT_MS));
    assert_int_equal(served->grpc_status, GRPC_OK);
    assert_true(h2_client_wait(&client, &stalled->closed, FRONT_WAIT_MS));
    assert_int_equal(stalled->grpc_status, GRPC_RESOURCE_EXHAUSTED);
    assert_false(moving->closed);
    end();
}

/* A large upload that stands still loses its grant to one that waits. */
static void stalled_upload_loses_its_grant(void **state)
{
    (void)state;
    const struct rpc_server_options o = {.input_bytes_max = 4 * 1024 * 1024};
    begin(&o);
    connect_client();
    struct h2_reply *stalled = upload(&client, "/t.Echo/Unary", 1500000, 300000, false);
    front_wait_count(&client, &front.opens, 1);
    h2_client_run(&client, 20);
    assert_int_equal(front.server->granted_bytes, 1500000);
    struct h2_reply *waiting = upload(&client, "/t.Echo/Unary", 1400000, 1400005, true);
    h2_client_run(&client, 50);
    assert_false(waiting->closed);
    assert_false(list_empty(&front.server->waiting));
    make_stalled(oldest_partial());
    assert_true(h2_client_wait(&client, &waiting->closed, FRONT_WAIT_MS));
    assert_int_equal(waiting->grpc_status, GRPC_OK);
    assert_int_equal(stalled->grpc_status, GRPC_RESOURCE_EXHAUSTED);
    assert_int_equal(front.server->granted_bytes, 0);
    end();
}

static void calls_over_the_limits_are_refused(void **state)
{
    (void)state;
    const struct rpc_server_options o = {.concurrent_streams_max = 777};
    begin(&o);
    connect_client();
    expect_unary_works(&client);
    assert_int_equal(nghttp2_session_get_remote_settings(client.session,
                                                         NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS),
                     777);
    assert_int_equal(
        nghttp2_session_get_remote_settings(client.session, NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE),
        16384);
    front.server->call_count += RPC_CALLS_MAX; /* as if so many were open */
    struct h2_reply *r = front_call(&client, "/t.Echo/Unary", NULL, slice_str("x"));
    assert_int_equal(r->error_code, NGHTTP2_REFUSED_STREAM);
    front.server->call_count -= RPC_CALLS_MAX;
    front.server->output_bytes += RPC_OUTPUT_BYTES_MAX + 1ull;
    r = front_call(&client, "/t.Echo/Unary", NULL, slice_str("x"));
    assert_int_equal(r->grpc_status, GRPC_RESOURCE_EXHAUSTED);
    front.server->output_bytes -= RPC_OUTPUT_BYTES_MAX + 1ull;
    expect_unary_works(&client);
    struct rpc_server_stats stats;
    rpc_server_stats(front.server, &stats);
    assert_int_equal(stats.connections, 1);
    assert_int_equal(stats.calls, 0);
    assert_int_equal(stats.received_bytes, 2 * (5 + 4));
    assert_int_equal(stats.sent_bytes, 2 * (5 + 4));
    end();
}

/* ---- output ---------------------------------------------------------------------------------- */

static bool always_more(struct rpc_call *call)
{
    static uint8_t chunk[8192];
    struct rpc_part part = {.bytes = slice_of(chunk, sizeof(chunk))};
    while (!rpc_call_above_high_water(call)) {
        rpc_call_send(call, &part, 1);
    }
    return true;
}

static void start_stream(struct rpc_call *call, struct slice bytes)
{
    (void)bytes;
    always_more(call);
}

/* A service that obeys the water marks cannot be made to queue more by a client that does not read.
 */
static void slow_reader_costs_bounded_memory(void **state)
{
    (void)state;
    begin(NULL);
    front.on_message = start_stream;
    front.on_writable = always_more;
    client.window = 100 * 1024 * 1024;
    connect_client();
    h2_client_run(&client, 5);
    struct h2_reply *r[10];
    for (int i = 0; i < 10; i++) {
        r[i] = h2_client_call(&client, "/t.Echo/Stream", NULL, slice_of("\0\0\0\0\0", 5), true);
    }
    h2_client_run(&client, 5);
    client.paused = true;
    /* Until the kernel's buffers are full and nothing moves any more. */
    int before = -1;
    while (before != front.writables) {
        before = front.writables;
        h2_client_run(&client, 30);
    }
    assert_true(front.server->output_bytes < 10 * (RPC_CALL_HIGH_WATER_BYTES + 16384));
    for (int i = 0; i < 10; i++) {
        assert_true(rpc_call_above_high_water(front.kept[i]));
    }
    /* Reading goes on where it stopped. */
    client.paused = false;
    h2_client_run(&client, 30);
    assert_true(front.writables > before);
    struct slice m;
    for (int i = 0; i < 10; i++) {
        size_t messages = 0;
        while (h2_reply_message(r[i], &m)) {
            assert_int_equal(m.len, 8192);
            messages++;
        }
        assert_true(messages > 10);
    }
    end();
}

/* A client that asks and asks without reading the answers is not read any more. */
static void requests_of_a_slow_reader_wait(void **state)
{
    (void)state;
    begin(NULL);
    client.window = 1000 * 1024 * 1024;
    connect_client();
    h2_client_run(&client, 5);
    client.paused = true;
    struct h2_reply *r[200];
    for (int i = 0; i < 200; i++) {
        r[i] = upload(&client, "/t.Echo/Unary", 200000, 200005, true);
    }
    int before = -1;
    while (before != front.messages) {
        before = front.messages;
        h2_client_run(&client, 50);
    }
    assert_true(front.messages < 200);
    assert_true(front.server->output_bytes < 16 * 1024 * 1024);
    client.paused = false;
    for (int i = 0; i < 200; i++) {
        assert_true(h2_client_wait(&client, &r[i]->closed, FRONT_WAIT_MS));
        assert_int_equal(r[i]->grpc_status, GRPC_OK);
        assert_int_equal(r[i]->data.len, 200005);
    }
    assert_int_equal(front.server->output_bytes, 0);
    end();
}

struct producer {
    uint64_t left;
    uint8_t next;
    int calls;
    int done;
    size_t step; /* bytes per call, 0 = all the room */
    bool fail_at_half;
    uint64_t total;
};

static bool produce(void *data, struct buf *out, size_t room)
{
    struct producer *p = data;
    p->calls++;
    assert_true(room >= 1024);
    if (p->fail_at_half && p->left < p->total / 2) {
        return false;
    }
    size_t n = p->step != 0 && p->step < room ? p->step : room;
    n = n < p->left ? n : (size_t)p->left;
    for (size_t i = 0; i < n; i++) {
        buf_append_byte(out, p->next++);
    }
    p->left -= n;
    return true;
}

static void produce_done(void *data)
{
    ((struct producer *)data)->done++;
}

static struct rpc_call *open_stream(struct h2_reply **r)
{
    int before = front.messages;
    *r = h2_client_call(&client, "/t.Echo/Stream", NULL, slice_of("\0\0\0\0\0", 5), true);
    front_wait_count(&client, &front.messages, before + 1);
    return front.kept[front.kept_count - 1];
}

static void produced_message_arrives_whole(void **state)
{
    (void)state;
    begin(NULL);
    connect_client();
    static const size_t steps[] = {0, 1, 700, 5000};
    for (size_t i = 0; i < 4; i++) {
        struct h2_reply *r;
        struct rpc_call *call = open_stream(&r);
        struct producer p = {.total = steps[i] == 1 ? 5000 : 1000000, .step = steps[i]};
        p.left = p.total;
        struct rpc_part small = {.bytes = slice_str("before")};
        rpc_call_send(call, &small, 1);
        assert_true(rpc_call_send_produced(call, p.total, produce, produce_done, &p));
        small.bytes = slice_str("after");
        rpc_call_send(call, &small, 1);
        rpc_call_finish(call, GRPC_OK, NULL);
        /* O(64 KiB) of memory, however large the message is. */
        assert_true(front.server->output_bytes < 4096);
        while (!r->closed) {
            h2_client_run(&client, 0);
            assert_true(front.server->output_bytes < 80 * 1024);
        }
        assert_int_equal(p.done, 1);
        assert_int_equal(r->grpc_status, GRPC_OK);
        struct slice m;
        assert_true(h2_reply_message(r, &m));
        assert_true(slice_eq(m, slice_str("before")));
        assert_true(h2_reply_message(r, &m));
        assert_int_equal(m.len, p.total);
        for (size_t k = 0; k < m.len; k++) {
            if (m.data[k] != (uint8_t)k) {
                fail_msg("byte %zu is wrong", k);
            }
        }
        assert_true(h2_reply_message(r, &m));
        assert_true(slice_eq(m, slice_str("after")));
    }
    end();
}

/* Nothing is produced while the client's window is closed. */
static void producer_waits_for_the_window(void **state)
{
    (void)state;
    begin(NULL);
    client.window = 40000;
    client.no_window_updates = true;
    connect_client();
    struct h2_reply *r;
    struct rpc_call *call = open_stream(&r);
    struct producer p = {.total = 1000000, .left = 1000000};
    rpc_call_send_produced(call, p.total, produce, produce_done, &p);
    h2_client_run(&client, 50);
    assert_int_equal(r->data.len, 40000);
    assert_true(p.total - p.left <= 40000 + RPC_PRODUCE_BYTES);
    int calls = p.calls;
    h2_client_run(&client, 20);
    assert_int_equal(p.calls, calls);
    nghttp2_session_consume(client.session, r->stream_id, 40000);
    h2_client_run(&client, 50);
    assert_int_equal(r->data.len, 80000);
    assert_int_equal(p.done, 0);
    h2_client_rst(&client, r, NGHTTP2_CANCEL);
    front_wait_count(&client, &front.closes, 1);
    assert_int_equal(p.done, 1);
    end();
}

static void producer_can_break_off(void **state)
{
    (void)state;
    begin(NULL);
    connect_client();
    struct h2_reply *r;
    struct rpc_call *call = open_stream(&r);
    struct producer p = {.total = 300000, .left = 300000, .fail_at_half = true};
    rpc_call_send_produced(call, p.total, produce, produce_done, &p);
    rpc_call_finish(call, GRPC_OK, NULL);
    assert_true(h2_client_wait(&client, &r->closed, FRONT_WAIT_MS));
    assert_int_equal(p.done, 1);
    assert_true(r->data.len < 300005);
    /* finish came before the break: the status it gave is replaced, success would be a lie. */
    assert_int_equal(r->grpc_status, GRPC_INTERNAL);
    /* A call that is over takes no message, but done is still called. */
    call = open_stream(&r);
    rpc_call_finish(call, GRPC_OK, NULL);
    struct producer late = {.total = 10, .left = 10};
    assert_false(rpc_call_send_produced(call, 10, produce, produce_done, &late));
    assert_int_equal(late.done, 1);
    assert_int_equal(late.calls, 0);
    assert_true(h2_client_wait(&client, &r->closed, FRONT_WAIT_MS));
    end();
}

static void messages_over_the_send_limit_are_refused(void **state)
{
    (void)state;
    begin(NULL);
    connect_client();
    struct h2_reply *r;
    struct rpc_call *call = open_stream(&r);
    struct producer p = {0};
    assert_false(rpc_call_send_produced(call, 2147483648ull, produce, produce_done, &p));
    assert_int_equal(p.done, 1);
    assert_true(h2_client_wait(&client, &r->closed, FRONT_WAIT_MS));
    assert_int_equal(r->grpc_status, GRPC_RESOURCE_EXHAUSTED);
    assert_string_equal(r->grpc_message,
                        "trying to send message larger than max (2147483648 vs. 2147483647)");
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(too_many_idle_pings_end_the_connection),
        cmocka_unit_test(pings_of_a_busy_client_are_fine),
        cmocka_unit_test(silent_client_is_pinged),
        cmocka_unit_test(dead_client_is_closed),
        cmocka_unit_test(silence_before_the_preface_ends_the_connection),
        cmocka_unit_test(cancels_are_no_attack),
        cmocka_unit_test(rapid_resets_end_the_connection),
        cmocka_unit_test(header_bomb_is_refused),
        cmocka_unit_test(garbage_ends_the_connection),
        cmocka_unit_test(shutdown_lets_calls_end),
        cmocka_unit_test(shutdown_ends_streams_after_the_grace_time),
        cmocka_unit_test(shutdown_without_connections_completes),
        cmocka_unit_test(large_requests_are_quick),
        cmocka_unit_test(large_uploads_take_turns),
        cmocka_unit_test(partial_input_is_bounded),
        cmocka_unit_test(stalled_message_gives_way),
        cmocka_unit_test(stalled_upload_loses_its_grant),
        cmocka_unit_test(calls_over_the_limits_are_refused),
        cmocka_unit_test(slow_reader_costs_bounded_memory),
        cmocka_unit_test(requests_of_a_slow_reader_wait),
        cmocka_unit_test(produced_message_arrives_whole),
        cmocka_unit_test(producer_waits_for_the_window),
        cmocka_unit_test(producer_can_break_off),
        cmocka_unit_test(messages_over_the_send_limit_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
