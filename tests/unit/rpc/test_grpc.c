/* test_grpc - gRPC calls over a real socket: answers, refusals and their exact texts, deadlines,
 * streams, and the promise that `closed` comes exactly once (checked by front_stop everywhere). */
#include "tests/unit/rpc/front_fixture.h"

#include <stdio.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/limits.h"

static struct front front;
static struct h2_client client;

static int start(void **state)
{
    (void)state;
    front_start(&front, NULL);
    memset(&client, 0, sizeof(client));
    h2_client_open(&client, &front.loop, front.port);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    front_stop(&front);
    h2_client_close(&client);
    return 0;
}

static struct h2_reply *raw_call(const char *path, const struct h2_header *headers, const char *hex,
                                 size_t len, bool end)
{
    return h2_client_call(&client, path, headers, slice_of(hex, len), end);
}

static void expect_status(struct h2_reply *r, int code, const char *text)
{
    assert_true(h2_client_wait(&client, &r->closed, FRONT_WAIT_MS));
    assert_int_equal(r->grpc_status, code);
    assert_string_equal(r->grpc_message, text);
    assert_string_equal(r->content_type, "application/grpc");
}

/* ---- answers --------------------------------------------------------------------------------- */

static void unary_answer_is_headers_data_trailers(void **state)
{
    (void)state;
    struct h2_reply *r = front_call(&client, "/t.Echo/Unary", NULL, slice_str("hello"));
    struct slice m;
    expect_status(r, GRPC_OK, "");
    assert_string_equal(r->http_status, "200");
    assert_int_equal(r->header_blocks, 2);
    assert_true(h2_reply_message(r, &m));
    assert_true(slice_eq(m, slice_str("hello")));
    assert_int_equal(r->error_code, 0);
    assert_int_equal(front.opens, 1);
    assert_int_equal(front.messages, 1);
    assert_int_equal(front.last_code, GRPC_OK);
}

static void empty_message_is_a_message(void **state)
{
    (void)state;
    struct h2_reply *r = front_call(&client, "/t.Echo/Unary", NULL, slice_of(NULL, 0));
    expect_status(r, GRPC_OK, "");
    assert_int_equal(r->data.len, 5);
}

/* END_STREAM may come in an empty DATA frame after the message: the message waits for it. */
static void end_of_stream_may_come_later(void **state)
{
    (void)state;
    struct h2_reply *r = raw_call("/t.Echo/Unary", NULL, "\0\0\0\0\3abc", 8, false);
    h2_client_run(&client, 20);
    assert_int_equal(front.messages, 0);
    h2_client_send(&client, r, slice_of(NULL, 0), true);
    expect_status(r, GRPC_OK, "");
    assert_int_equal(front.messages, 1);
    assert_int_equal(front.message_bytes, 3);
}

/* The message may come in any pieces. */
static void message_may_come_byte_by_byte(void **state)
{
    (void)state;
    static const char bytes[] = "\0\0\0\0\5hello";
    struct h2_reply *r = raw_call("/t.Echo/Unary", NULL, bytes, 1, false);
    for (size_t i = 1; i < 10; i++) {
        h2_client_run(&client, 2);
        h2_client_send(&client, r, slice_of(bytes + i, 1), i == 9);
    }
    struct slice m;
    expect_status(r, GRPC_OK, "");
    assert_true(h2_reply_message(r, &m));
    assert_true(slice_eq(m, slice_str("hello")));
}

static void many_calls_share_a_connection(void **state)
{
    (void)state;
    struct h2_reply *r[500];
    for (size_t i = 0; i < 500; i++) {
        struct buf body;
        buf_init(&body);
        char text[16];
        int len = snprintf(text, sizeof(text), "%zu", i);
        grpc_frame(&body, slice_of(text, (size_t)len));
        r[i] = h2_client_call(&client, "/t.Echo/Unary", NULL, buf_slice(&body), true);
        buf_close(&body);
    }
    for (size_t i = 0; i < 500; i++) {
        char text[16];
        int len = snprintf(text, sizeof(text), "%zu", i);
        struct slice m;
        expect_status(r[i], GRPC_OK, "");
        assert_true(h2_reply_message(r[i], &m));
        assert_true(slice_eq(m, slice_of(text, (size_t)len)));
    }
}

/* ---- refusals -------------------------------------------------------------------------------- */

static void unknown_names_are_unimplemented(void **state)
{
    (void)state;
    expect_status(front_call(&client, "/no.Such/Thing", NULL, slice_str("")), GRPC_UNIMPLEMENTED,
                  "unknown service no.Such");
    expect_status(front_call(&client, "/t.Echo/Nothing", NULL, slice_str("")), GRPC_UNIMPLEMENTED,
                  "unknown method Nothing for service t.Echo");
    expect_status(front_call(&client, "/t.Echo", NULL, slice_str("")), GRPC_UNIMPLEMENTED,
                  "malformed method name: \"/t.Echo\"");
    expect_status(front_call(&client, "/", NULL, slice_str("")), GRPC_UNIMPLEMENTED,
                  "malformed method name: \"/\"");
    expect_status(front_call(&client, "/a/b/c", NULL, slice_str("")), GRPC_UNIMPLEMENTED,
                  "unknown service a/b");
    struct h2_reply *r = front_call(&client, "//", NULL, slice_str(""));
    expect_status(r, GRPC_UNIMPLEMENTED, "unknown service%20");
    assert_string_equal(r->http_status, "200");
    assert_int_equal(r->header_blocks, 1);
    assert_int_equal(front.opens, 0);
}

static void other_content_types_get_415(void **state)
{
    (void)state;
    const struct h2_header json[] = {{"content-type", "application/json"}, {NULL, NULL}};
    struct h2_reply *r = front_call(&client, "/t.Echo/Unary", json, slice_str(""));
    assert_string_equal(r->http_status, "415");
    expect_status(r, GRPC_INVALID_ARGUMENT,
                  "invalid gRPC request content-type \"application/json\"");
    const struct h2_header none[] = {{"content-type", NULL}, {NULL, NULL}};
    r = front_call(&client, "/t.Echo/Unary", none, slice_str(""));
    assert_string_equal(r->http_status, "415");
    const struct h2_header proto[] = {{"content-type", "application/grpc+proto"}, {NULL, NULL}};
    expect_status(front_call(&client, "/t.Echo/Unary", proto, slice_str("")), GRPC_OK, "");
}

static void only_post_is_a_call(void **state)
{
    (void)state;
    const struct h2_header get[] = {{":method", "GET"}, {NULL, NULL}};
    struct h2_reply *r = front_call(&client, "/t.Echo/Unary", get, slice_str(""));
    assert_string_equal(r->http_status, "405");
    expect_status(r, GRPC_INTERNAL,
                  "Received a HEADERS frame with :method \"GET\" which should be POST");
    assert_int_equal(front.opens, 0);
}

static void te_header_is_not_required(void **state)
{
    (void)state;
    const struct h2_header none[] = {{"te", NULL}, {NULL, NULL}};
    expect_status(front_call(&client, "/t.Echo/Unary", none, slice_str("")), GRPC_OK, "");
}

static void compression_is_refused(void **state)
{
    (void)state;
    const struct h2_header gzip[] = {{"grpc-encoding", "gzip"}, {NULL, NULL}};
    expect_status(front_call(&client, "/t.Echo/Unary", gzip, slice_str("")), GRPC_UNIMPLEMENTED,
                  "grpc: Decompressor is not installed for grpc-encoding \"gzip\"");
    const struct h2_header identity[] = {{"grpc-encoding", "identity"}, {NULL, NULL}};
    expect_status(front_call(&client, "/t.Echo/Unary", identity, slice_str("")), GRPC_OK, "");
    expect_status(raw_call("/t.Echo/Unary", NULL, "\1\0\0\0\1x", 6, true), GRPC_INTERNAL,
                  "grpc: compressed flag set with identity or empty encoding");
    expect_status(raw_call("/t.Echo/Unary", NULL, "\7\0\0\0\1x", 6, true), GRPC_INTERNAL,
                  "grpc: received unexpected payload format 7");
    assert_int_equal(front.messages, 1);
}

/* A unary method gets exactly one message; other numbers are answered without running it. */
static void message_count_of_unary_calls_is_checked(void **state)
{
    (void)state;
    expect_status(raw_call("/t.Echo/Unary", NULL, "", 0, true), GRPC_INTERNAL,
                  "cardinality violation: received no request message from "
                  "non-client-streaming RPC");
    expect_status(raw_call("/t.Echo/Unary", NULL, "\0\0\0\0\1a\0\0\0\0\1b", 12, true),
                  GRPC_INTERNAL,
                  "cardinality violation: received multiple request messages for "
                  "non-client-streaming RPC");
    struct h2_reply *r = raw_call("/t.Echo/Unary", NULL, "\0\0\0\0\1a", 6, false);
    h2_client_run(&client, 10);
    h2_client_send(&client, r, slice_of("\0\0\0\0\1b", 6), true);
    expect_status(r, GRPC_INTERNAL,
                  "cardinality violation: received multiple request messages for "
                  "non-client-streaming RPC");
    expect_status(raw_call("/t.Echo/Unary", NULL, "\0\0\0\0\5ab", 7, true), GRPC_INTERNAL,
                  "unexpected EOF");
    expect_status(raw_call("/t.Echo/Unary", NULL, "\0\0", 2, true), GRPC_INTERNAL,
                  "unexpected EOF");
    expect_status(raw_call("/t.Echo/Bidi", NULL, "\0\0\0\0\1a\0", 7, true), GRPC_INTERNAL,
                  "unexpected EOF");
    assert_int_equal(front.messages, 1); /* Bidi's first */
}

/* The length prefix alone decides: nothing of the message need arrive. */
static void too_large_message_is_refused_at_its_prefix(void **state)
{
    (void)state;
    struct h2_reply *r = raw_call("/t.Echo/Unary", NULL, "\0\0\x20\0\1", 5, false);
    expect_status(r, GRPC_RESOURCE_EXHAUSTED,
                  "grpc: received message larger than max (2097153 vs. 2097152)");
    assert_int_equal(r->error_code, NGHTTP2_NO_ERROR);
    r = raw_call("/t.Echo/Bidi", NULL, "\0\xff\xff\xff\xff", 5, false);
    expect_status(r, GRPC_RESOURCE_EXHAUSTED,
                  "grpc: received message larger than max (4294967295 vs. 2097152)");
}

static void largest_message_passes(void **state)
{
    (void)state;
    struct buf big;
    buf_init(&big);
    assert_true(buf_reserve(&big, 2097152));
    memset(big.data, 'z', 2097152);
    big.len = 2097152;
    struct h2_reply *r = front_call(&client, "/t.Echo/Unary", NULL, buf_slice(&big));
    struct slice m;
    expect_status(r, GRPC_OK, "");
    assert_true(h2_reply_message(r, &m));
    assert_true(slice_eq(m, buf_slice(&big)));
    buf_close(&big);
}

static void refusal_in_open_reaches_the_client(void **state)
{
    (void)state;
    struct h2_reply *r = front_call(&client, "/t.Echo/Refuse", NULL, slice_str("x"));
    expect_status(r, GRPC_UNAVAILABLE, "etcdserver: no leader");
    assert_int_equal(front.messages, 0);
    assert_int_equal(front.half_closes, 0);
    /* The same while the client is still sending: it is told to stop. */
    r = raw_call("/t.Echo/Refuse", NULL, "\0", 1, false);
    expect_status(r, GRPC_UNAVAILABLE, "etcdserver: no leader");
    assert_int_equal(r->error_code, NGHTTP2_NO_ERROR);
    assert_int_equal(front.last_code, GRPC_UNAVAILABLE);
}

static void fail_oddly(struct rpc_call *call, struct slice bytes)
{
    (void)bytes;
    rpc_call_finish(call, GRPC_UNKNOWN, "50% of\n\xc3\xa9t\xc3\xa9 \xff");
    /* All of these come too late and must be ignored. */
    struct rpc_part part = {.bytes = slice_str("late")};
    assert_false(rpc_call_send(call, &part, 1));
    rpc_call_finish(call, GRPC_OK, NULL);
    rpc_call_send_headers(call);
}

static void status_message_is_percent_encoded(void **state)
{
    (void)state;
    front.on_message = fail_oddly;
    struct h2_reply *r = front_call(&client, "/t.Echo/Keep", NULL, slice_str("x"));
    expect_status(r, GRPC_UNKNOWN, "50%25 of%0A%C3%A9t%C3%A9 %EF%BF%BD");
    assert_int_equal(r->header_blocks, 1);
    assert_int_equal(r->data.len, 0);
}

static void fail_long(struct rpc_call *call, struct slice bytes)
{
    (void)bytes;
    static char text[10000];
    memset(text, 'm', sizeof(text) - 1);
    rpc_call_finish(call, GRPC_UNKNOWN, text);
}

static void long_status_message_is_cut(void **state)
{
    (void)state;
    front.on_message = fail_long;
    struct h2_reply *r = front_call(&client, "/t.Echo/Keep", NULL, slice_str("x"));
    assert_int_equal(r->grpc_status, GRPC_UNKNOWN);
    assert_int_equal(strlen(r->grpc_message), RPC_STATUS_TEXT_BYTES_MAX);
}

/* ---- metadata -------------------------------------------------------------------------------- */

static char seen[6][128];

static void see_metadata(struct rpc_call *call, struct slice bytes)
{
    (void)bytes;
    static const char *const names[] = {
        "token", "authorization", "hasleader", "client-api-version", "user-agent", "grpc-timeout"};
    for (size_t i = 0; i < 6; i++) {
        struct slice v = rpc_call_metadata(call, names[i]);
        snprintf(seen[i], sizeof(seen[i]), "%.*s", (int)v.len,
                 v.data != NULL ? (char *)v.data : "");
    }
    assert_null(rpc_call_metadata(call, "no-such-header").data);
    assert_non_null(strstr(rpc_call_peer(call), "127.0.0.1:"));
    assert_string_equal(rpc_call_method(call)->method, "Keep");
    assert_true(rpc_call_deadline_ns(call) > clock_mono_ns());
    rpc_call_finish(call, GRPC_OK, NULL);
}

static void metadata_is_kept(void **state)
{
    (void)state;
    front.on_message = see_metadata;
    char agent[101];
    memset(agent, 'u', 100);
    agent[100] = '\0';
    const struct h2_header headers[] = {
        {"token", "secret.1"},   {"token", "secret.2"},          {"authorization", "Bearer x"},
        {"hasleader", "true"},   {"client-api-version", "3.6"},  {"user-agent", agent},
        {"grpc-timeout", "20S"}, {"something-else", "whatever"}, {NULL, NULL},
    };
    expect_status(front_call(&client, "/t.Echo/Keep", headers, slice_str("")), GRPC_OK, "");
    assert_string_equal(seen[0], "secret.1"); /* the first of two */
    assert_string_equal(seen[1], "Bearer x");
    assert_string_equal(seen[2], "true");
    assert_string_equal(seen[3], "3.6");
    assert_string_equal(seen[4], agent);
    assert_string_equal(seen[5], "20S");
}

static void too_much_metadata_is_refused(void **state)
{
    (void)state;
    static char big[17000];
    memset(big, 'x', sizeof(big) - 1);
    const struct h2_header large[] = {{"x-large", big}, {NULL, NULL}};
    struct h2_reply *r = front_call(&client, "/t.Echo/Unary", large, slice_str(""));
    assert_string_equal(r->http_status, "431");
    assert_int_equal(r->grpc_status, GRPC_RESOURCE_EXHAUSTED);
    static char names[200][16];
    struct h2_header many[201] = {{0}};
    for (size_t i = 0; i < 200; i++) {
        snprintf(names[i], sizeof(names[i]), "x-%zu", i);
        many[i] = (struct h2_header){names[i], "v"};
    }
    r = front_call(&client, "/t.Echo/Unary", many, slice_str(""));
    assert_string_equal(r->http_status, "431");
    assert_int_equal(r->grpc_status, GRPC_RESOURCE_EXHAUSTED);
    expect_status(front_call(&client, "/t.Echo/Unary", NULL, slice_str("")), GRPC_OK, "");
}

/* ---- deadlines ------------------------------------------------------------------------------- */

static void deadline_ends_a_call(void **state)
{
    (void)state;
    const struct h2_header timeout[] = {{"grpc-timeout", "30m"}, {NULL, NULL}};
    uint64_t before = test_now_ms();
    struct h2_reply *r = front_call(&client, "/t.Echo/Keep", timeout, slice_str("x"));
    assert_true(test_now_ms() - before >= 29);
    expect_status(r, GRPC_DEADLINE_EXCEEDED, "context deadline exceeded");
    assert_int_equal(front.messages, 1);
    assert_null(front.kept[0]);
    assert_int_equal(front.last_code, GRPC_DEADLINE_EXCEEDED);
}

static void deadline_of_zero_is_over_at_once(void **state)
{
    (void)state;
    const struct h2_header timeout[] = {{"grpc-timeout", "0m"}, {NULL, NULL}};
    expect_status(front_call(&client, "/t.Echo/Keep", timeout, slice_str("x")),
                  GRPC_DEADLINE_EXCEEDED, "context deadline exceeded");
    assert_int_equal(front.opens, 0);
}

static void malformed_timeouts_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        const char *text;
    } rows[] = {
        {"5", "malformed grpc-timeout: transport: timeout string is too short: \"5\""},
        {"1234567890S", "malformed grpc-timeout: transport: timeout string is too long: "
                        "\"1234567890S\""},
        {"10s", "malformed grpc-timeout: transport: timeout unit is not recognized: \"10s\""},
        {"abS", "malformed grpc-timeout: strconv.ParseUint: parsing \"ab\": invalid syntax"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct h2_header timeout[] = {{"grpc-timeout", rows[i].value}, {NULL, NULL}};
        struct h2_reply *r = front_call(&client, "/t.Echo/Keep", timeout, slice_str("x"));
        assert_string_equal(r->http_status, "400");
        expect_status(r, GRPC_INTERNAL, rows[i].text);
    }
}

/* A deadline also ends a call whose answer the client does not let through. */
static void deadline_passes_a_closed_window(void **state)
{
    (void)state;
    struct h2_client narrow = {.window = 100, .no_window_updates = true};
    h2_client_open(&narrow, &front.loop, front.port);
    static uint8_t body[5 + 5000] = {0, 0, 0, 0x13, 0x88};
    const struct h2_header timeout[] = {{"grpc-timeout", "50m"}, {NULL, NULL}};
    struct h2_reply *r =
        h2_client_call(&narrow, "/t.Echo/Bidi", timeout, slice_of(body, sizeof(body)), false);
    assert_true(h2_client_wait(&narrow, &r->closed, FRONT_WAIT_MS));
    assert_int_equal(r->grpc_status, GRPC_DEADLINE_EXCEEDED);
    assert_int_equal(r->data.len, 100);
    h2_client_close(&narrow);
}

/* ---- streams --------------------------------------------------------------------------------- */

static void bidirectional_stream_echoes_and_ends(void **state)
{
    (void)state;
    struct h2_reply *r = raw_call("/t.Echo/Bidi", NULL, "\0\0\0\0\1a\0\0\0\0\2bc\0\0", 15, false);
    front_wait_count(&client, &front.messages, 2);
    h2_client_run(&client, 10);
    struct slice m;
    assert_true(h2_reply_message(r, &m));
    assert_true(slice_eq(m, slice_str("a")));
    assert_true(h2_reply_message(r, &m));
    assert_true(slice_eq(m, slice_str("bc")));
    assert_false(r->closed);
    h2_client_send(&client, r, slice_of("\0\0\1d", 4), true);
    expect_status(r, GRPC_OK, "");
    assert_true(h2_reply_message(r, &m));
    assert_true(slice_eq(m, slice_str("d")));
    assert_int_equal(front.half_closes, 1);
}

/* A stream that ends without any message is trailers-only. */
static void stream_without_messages_ends_with_ok(void **state)
{
    (void)state;
    struct h2_reply *r = raw_call("/t.Echo/Bidi", NULL, "", 0, true);
    expect_status(r, GRPC_OK, "");
    assert_int_equal(r->header_blocks, 1);
}

static void headers_can_go_before_messages(void **state)
{
    (void)state;
    struct h2_reply *r = raw_call("/t.Echo/Stream", NULL, "\0\0\0\0\0", 5, true);
    front_wait_count(&client, &front.messages, 1);
    rpc_call_send_headers(front.kept[0]);
    rpc_call_send_headers(front.kept[0]);
    h2_client_run(&client, 20);
    assert_int_equal(r->header_blocks, 1);
    assert_string_equal(r->http_status, "200");
    struct rpc_part part = {.bytes = slice_str("later")};
    assert_true(rpc_call_send(front.kept[0], &part, 1));
    h2_client_run(&client, 20);
    struct slice m;
    assert_true(h2_reply_message(r, &m));
    rpc_call_finish_err(front.kept[0], ERR_COMPACTED);
    expect_status(r, GRPC_OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted");
    assert_int_equal(r->header_blocks, 2);
}

/* Parts of a message: copied bytes and references to blobs, in order. */
static void message_is_made_of_parts(void **state)
{
    (void)state;
    struct h2_reply *r = raw_call("/t.Echo/Stream", NULL, "\0\0\0\0\0", 5, true);
    front_wait_count(&client, &front.messages, 1);
    struct blob *b = blob_new(40000);
    memset(b->data, 'b', b->len);
    char head[] = "head";
    const struct rpc_part parts[] = {
        {.bytes = slice_str(head)},  {.bytes = blob_slice(b), .blob = b},
        {.bytes = slice_str("mid")}, {.bytes = slice_of(NULL, 0)},
        {.bytes = slice_str("dle")}, {.bytes = slice_of(b->data + 1, 2), .blob = b},
    };
    assert_true(rpc_call_send(front.kept[0], parts, 6));
    memset(head, 'X', 4); /* copied before the call returned */
    assert_int_equal(b->refs, 3);
    assert_true(rpc_call_send(front.kept[0], NULL, 0));
    rpc_call_finish(front.kept[0], GRPC_OK, NULL);
    expect_status(r, GRPC_OK, "");
    assert_int_equal(b->refs, 1);
    struct slice m;
    assert_true(h2_reply_message(r, &m));
    assert_int_equal(m.len, 4 + 40000 + 6 + 2);
    assert_memory_equal(m.data, "headb", 5);
    assert_memory_equal(m.data + 4 + 40000, "middlebb", 8);
    assert_true(h2_reply_message(r, &m));
    assert_int_equal(m.len, 0);
    assert_false(h2_reply_message(r, &m));
    blob_unref(b);
}

static void reset_by_the_service_is_rst_stream(void **state)
{
    (void)state;
    struct h2_reply *r = raw_call("/t.Echo/Stream", NULL, "\0\0\0\0\0", 5, true);
    front_wait_count(&client, &front.messages, 1);
    rpc_call_reset(front.kept[0], NGHTTP2_CANCEL);
    assert_true(h2_client_wait(&client, &r->closed, FRONT_WAIT_MS));
    assert_int_equal(r->error_code, NGHTTP2_CANCEL);
    assert_int_equal(r->grpc_status, -1);
    assert_int_equal(front.last_code, GRPC_CANCELED);
}

static void reset_by_the_client_closes_the_call(void **state)
{
    (void)state;
    struct h2_reply *r = raw_call("/t.Echo/Stream", NULL, "\0\0\0\0\0", 5, true);
    front_wait_count(&client, &front.messages, 1);
    h2_client_rst(&client, r, NGHTTP2_CANCEL);
    front_wait_count(&client, &front.closes, 1);
    assert_int_equal(front.last_code, GRPC_CANCELED);
    expect_status(front_call(&client, "/t.Echo/Unary", NULL, slice_str("on")), GRPC_OK, "");
}

static void lost_connection_closes_its_calls(void **state)
{
    (void)state;
    struct h2_client other = {0};
    h2_client_open(&other, &front.loop, front.port);
    for (int i = 0; i < 10; i++) {
        h2_client_call(&other, "/t.Echo/Stream", NULL, slice_of("\0\0\0\0\0", 5), true);
        h2_client_call(&other, "/t.Echo/Bidi", NULL, slice_of("\0\0\0\1\1x", 6), false);
    }
    front_wait_count(&other, &front.opens, 20);
    h2_client_close(&other);
    front_wait_count(&client, &front.closes, 20);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, start, stop)
    const struct CMUnitTest tests[] = {
        T(unary_answer_is_headers_data_trailers),
        T(empty_message_is_a_message),
        T(end_of_stream_may_come_later),
        T(message_may_come_byte_by_byte),
        T(many_calls_share_a_connection),
        T(unknown_names_are_unimplemented),
        T(other_content_types_get_415),
        T(only_post_is_a_call),
        T(te_header_is_not_required),
        T(compression_is_refused),
        T(message_count_of_unary_calls_is_checked),
        T(too_large_message_is_refused_at_its_prefix),
        T(largest_message_passes),
        T(refusal_in_open_reaches_the_client),
        T(status_message_is_percent_encoded),
        T(long_status_message_is_cut),
        T(metadata_is_kept),
        T(too_much_metadata_is_refused),
        T(deadline_ends_a_call),
        T(deadline_of_zero_is_over_at_once),
        T(malformed_timeouts_are_refused),
        T(deadline_passes_a_closed_window),
        T(bidirectional_stream_echoes_and_ends),
        T(stream_without_messages_ends_with_ok),
        T(headers_can_go_before_messages),
        T(message_is_made_of_parts),
        T(reset_by_the_service_is_rst_stream),
        T(reset_by_the_client_closes_the_call),
        T(lost_connection_closes_its_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
