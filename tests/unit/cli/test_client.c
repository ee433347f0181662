/* test_client - calls against a server whose bytes the test chooses: honest ones, cut ones, hostile
 * ones. Every call ends, says why, and takes no more memory than it was allowed. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/rand.h"
#include "cli/cli.h"
#include "proto/codec.h"

#define PREFACE_BYTES 24
#define FRAME_HEAD    9

/* ---- the server: one connection at a time, in a thread -----------------------------------------
 */

static struct server {
    int listener;
    char endpoint[64];
    pthread_t thread;
    struct buf hello;  /* sent at once */
    struct buf answer; /* sent when a request's HEADERS and the end of its DATA came */
    bool hang_up;      /* closes after the answer, else reads until the client closes */
    bool chatter;      /* PINGs for ever, each answered before the next */
    int connections;
} server;

static bool server_send(int fd, const void *data, size_t len)
{
    const uint8_t *at = data;
    while (len > 0) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
        if (n <= 0) {
            return false;
        }
        at += n;
        len -= (size_t)n;
    }
    return true;
}

/* Does what was received hold a frame that ends stream 1? */
static bool server_has_request(const struct buf *in)
{
    for (size_t at = PREFACE_BYTES; at + FRAME_HEAD <= in->len;) {
        const uint8_t *head = in->data + at;
        size_t len = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
        if ((head[3] == 0 || head[3] == 1) && (head[4] & 1) != 0 &&
            at + FRAME_HEAD + len <= in->len) {
            return true;
        }
        at += FRAME_HEAD + len;
    }
    return false;
}

static bool server_read(int fd, struct buf *in)
{
    uint8_t bytes[4096];
    ssize_t n = recv(fd, bytes, sizeof(bytes), 0);
    return n > 0 && buf_append(in, bytes, (size_t)n);
}

static void server_talk(int fd)
{
    static const uint8_t ping[] = {0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8};
    struct buf in;
    buf_init(&in);
    bool well = server_send(fd, server.hello.data, server.hello.len);
    while (well && !server_has_request(&in)) {
        well = server_read(fd, &in);
    }
    well = well && server_send(fd, server.answer.data, server.answer.len);
    if (server.hang_up) {
        shutdown(fd, SHUT_WR);
    }
    while (well) {
        buf_clear(&in);
        well = (!server.chatter || server_send(fd, ping, sizeof(ping))) && server_read(fd, &in);
    }
    buf_close(&in);
}

static void *server_run(void *arg)
{
    (void)arg;
    for (;;) {
        int fd = accept(server.listener, NULL, NULL);
        if (fd < 0) {
            return NULL;
        }
        __atomic_add_fetch(&server.connections, 1, __ATOMIC_RELAXED);
        server_talk(fd);
        close(fd);
    }
}

static int server_open(void **state)
{
    (void)state;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(to);
    memset(&server, 0, sizeof(server));
    server.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server.listener, (struct sockaddr *)&to, sizeof(to)), 0);
    assert_int_equal(listen(server.listener, 16), 0);
    assert_int_equal(getsockname(server.listener, (struct sockaddr *)&to, &len), 0);
    snprintf(server.endpoint, sizeof(server.endpoint), "127.0.0.1:%d", ntohs(to.sin_port));
    buf_init(&server.hello);
    buf_init(&server.answer);
    return pthread_create(&server.thread, NULL, server_run, NULL);
}

static int server_close(void **state)
{
    (void)state;
    shutdown(server.listener, SHUT_RDWR);
    pthread_join(server.thread, NULL);
    close(server.listener);
    buf_close(&server.hello);
    buf_close(&server.answer);
    return 0;
}

/* ---- frames
 * -------------------------------------------------------------------------------------- */

static void frame(struct buf *to, uint8_t type, uint8_t flags, uint32_t stream,
                  struct slice payload)
{
    const uint8_t head[FRAME_HEAD] = {(uint8_t)(payload.len >> 16),
                                      (uint8_t)(payload.len >> 8),
                                      (uint8_t)payload.len,
                                      type,
                                      flags,
                                      (uint8_t)(stream >> 24),
                                      (uint8_t)(stream >> 16),
                                      (uint8_t)(stream >> 8),
                                      (uint8_t)stream};
    buf_append(to, head, sizeof(head));
    buf_append_slice(to, payload);
}

static void field(struct buf *to, const char *name, const char *value)
{
    buf_append_byte(to, 0);
    buf_append_byte(to, (uint8_t)strlen(name));
    buf_append_str(to, name);
    buf_append_byte(to, (uint8_t)strlen(value));
    buf_append_str(to, value);
}

static void hello(void)
{
    frame(&server.hello, 4, 0, 0, slice_of(NULL, 0));
}

static void headers(void)
{
    struct buf block;
    buf_init(&block);
    buf_append_byte(&block, 0x88);
    field(&block, "content-type", "application/grpc");
    frame(&server.answer, 1, 4, 1, buf_slice(&block));
    buf_close(&block);
}

static void trailers(const char *status, const char *text)
{
    struct buf block;
    buf_init(&block);
    field(&block, "grpc-status", status);
    if (text != NULL) {
        field(&block, "grpc-message", text);
    }
    frame(&server.answer, 1, 5, 1, buf_slice(&block));
    buf_close(&block);
}

/* A gRPC message that claims `len` bytes and brings `bytes`. */
static void data(uint8_t compressed, uint32_t len, struct slice bytes)
{
    struct buf body;
    buf_init(&body);
    const uint8_t head[5] = {compressed, (uint8_t)(len >> 24), (uint8_t)(len >> 16),
                             (uint8_t)(len >> 8), (uint8_t)len};
    buf_append(&body, head, sizeof(head));
    buf_append_slice(&body, bytes);
    frame(&server.answer, 0, 0, 1, buf_slice(&body));
    buf_close(&body);
}

static void message(struct slice bytes)
{
    data(0, (uint32_t)bytes.len, bytes);
}

/* A RangeResponse with `count` pairs. */
static void range_response(struct buf *to, int count)
{
    Etcdserverpb__RangeResponse r = ETCDSERVERPB__RANGE_RESPONSE__INIT;
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    Mvccpb__KeyValue kv = MVCCPB__KEY_VALUE__INIT;
    Mvccpb__KeyValue *kvs[64];
    header.revision = 5;
    kv.key = cli_bytes(slice_str("key"));
    kv.value = cli_bytes(slice_str("value"));
    for (int i = 0; i < count; i++) {
        kvs[i] = &kv;
    }
    r.header = &header;
    r.kvs = kvs;
    r.n_kvs = (size_t)count;
    r.count = count;
    assert_true(codec_encode(&r, to));
}

/* ---- one call
 * ------------------------------------------------------------------------------------ */

static struct errmsg said;
static struct arena arena;
static Etcdserverpb__RangeResponse *answer;

static int call_with(enum client_call_id id, uint64_t timeout_ms, size_t bytes_max)
{
    const char *endpoints[] = {server.endpoint};
    const struct client_options options = {.endpoints = endpoints,
                                           .endpoint_count = 1,
                                           .dial_timeout_ms = 5000,
                                           .command_timeout_ms = timeout_ms,
                                           .message_bytes_max = bytes_max};
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    struct client client;
    memset(&said, 0, sizeof(said));
    answer = NULL;
    arena_close(&arena);
    arena_init(&arena, 0);
    client_init(&client, &options);
    int code = client_call(&client, id, id == CLIENT_PUT ? (void *)&put : (void *)&range, &arena,
                           (void **)&answer, &said);
    client_close(&client);
    assert_int_equal(code != GRPC_OK, said.text[0] != '\0');
    return code;
}

static int call(void)
{
    return call_with(CLIENT_RANGE, 10000, 100000);
}

static void says(const char *text)
{
    if (strstr(said.text, text) == NULL) {
        fail_msg("\"%s\" is not in \"%s\"", text, said.text);
    }
}

/* ---- tests
 * --------------------------------------------------------------------------------------- */

static void an_answer_is_read(void **state)
{
    (void)state;
    struct buf encoded;
    buf_init(&encoded);
    range_response(&encoded, 3);
    hello();
    headers();
    message(buf_slice(&encoded));
    trailers("0", NULL);
    assert_int_equal(call(), GRPC_OK);
    assert_int_equal(answer->n_kvs, 3);
    assert_int_equal(answer->header->revision, 5);
    assert_int_equal(server.connections, 1);
    buf_close(&encoded);
}

static void an_empty_message_is_an_answer(void **state)
{
    (void)state;
    hello();
    headers();
    message(slice_of(NULL, 0));
    trailers("0", NULL);
    assert_int_equal(call(), GRPC_OK);
    assert_int_equal(answer->n_kvs, 0);
}

static void refusals_say_what_the_server_says(void **state)
{
    (void)state;
    static const struct {
        const char *status;
        const char *text;
        int code;
        const char *sentence;
    } rows[] = {
        {"3", "etcdserver: key is not provided", 3, "etcdserver: key is not provided"},
        {"5", "100%25 %", 5, "rpc error: code = NotFound desc = 100% %"},
        {"13", "a%0Ab%zz%4", 13, "rpc error: code = Internal desc = a\\nb%zz%4"},
        {"2", NULL, 2, "rpc error: code = Unknown desc = "},
        {"99", "x", 99, "desc = x"},
        {"-1", "x", GRPC_UNKNOWN, "desc = x"},
        {"1000000000000", "x", GRPC_UNKNOWN, "desc = x"},
        {"", "x", GRPC_UNKNOWN, "desc = x"},
        {"0", "fine, but no message", GRPC_INTERNAL, "sent an answer that cannot be read"},
    };
    hello();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        buf_clear(&server.answer);
        headers();
        trailers(rows[i].status, rows[i].text);
        assert_int_equal(call(), rows[i].code);
        says(rows[i].sentence);
    }
}

static void messages_that_are_none_are_refused(void **state)
{
    (void)state;
    hello();
    headers();
    message(slice_str("\xff\xff\xff"));
    trailers("0", NULL);
    assert_int_equal(call(), GRPC_INTERNAL);
    says("sent an answer that cannot be read");
    buf_clear(&server.answer);
    headers();
    message(slice_of(NULL, 0));
    message(slice_of(NULL, 0));
    trailers("0", NULL);
    assert_int_equal(call(), GRPC_INTERNAL);
    says("sent more than one answer");
    buf_clear(&server.answer);
    headers();
    data(1, 0, slice_of(NULL, 0));
    trailers("0", NULL);
    assert_int_equal(call(), GRPC_RESOURCE_EXHAUSTED);
    says("the answer is compressed");
}

static void claimed_lengths_allocate_nothing(void **state)
{
    (void)state;
    hello();
    headers();
    data(0, UINT32_MAX, slice_str("little"));
    assert_int_equal(call(), GRPC_RESOURCE_EXHAUSTED);
    says("received message larger than max (4294967295 vs. 100000)");
    /* Within the limit, but it never comes: memory is taken for what came. */
    buf_clear(&server.answer);
    headers();
    data(0, INT32_MAX, slice_str("little"));
    server.hang_up = true;
    assert_int_equal(call_with(CLIENT_RANGE, 10000, INT32_MAX), GRPC_UNAVAILABLE);
    says("the server closed the connection");
    assert_true(arena.used < 1000);
    /* Whole, and one byte too large. */
    static uint8_t zeros[16000];
    buf_clear(&server.answer);
    server.hang_up = false;
    headers();
    message(slice_of(zeros, sizeof(zeros)));
    trailers("0", NULL);
    assert_int_equal(call_with(CLIENT_RANGE, 10000, sizeof(zeros) - 1), GRPC_RESOURCE_EXHAUSTED);
    assert_int_equal(call_with(CLIENT_RANGE, 10000, sizeof(zeros)), GRPC_INTERNAL);
}

static void bytes_without_end_do_not_move_the_deadline(void **state)
{
    (void)state;
    hello();
    server.chatter = true;
    uint64_t start_ms = clock_mono_ms();
    assert_int_equal(call_with(CLIENT_RANGE, 100, 1000), GRPC_DEADLINE_EXCEEDED);
    says("context deadline exceeded: no answer from 127.0.0.1:");
    assert_true(strstr(said.text, "all the same") == NULL);
    assert_int_equal(call_with(CLIENT_PUT, 100, 1000), GRPC_DEADLINE_EXCEEDED);
    says("it may have been done all the same");
    assert_true(clock_mono_ms() - start_ms < 5000);
}

static void a_lost_write_is_not_sent_again(void **state)
{
    (void)state;
    hello();
    server.hang_up = true;
    assert_int_equal(call_with(CLIENT_PUT, 10000, 1000), GRPC_UNAVAILABLE);
    says("the server closed the connection");
    assert_int_equal(__atomic_load_n(&server.connections, __ATOMIC_RELAXED), 1);
    assert_int_equal(call(), GRPC_UNAVAILABLE);
    assert_true(__atomic_load_n(&server.connections, __ATOMIC_RELAXED) > 2);
}

static void a_refused_stream_was_not_looked_at(void **state)
{
    (void)state;
    static const uint8_t refused[] = {0, 0, 0, 7};
    static const uint8_t internal[] = {0, 0, 0, 2};
    hello();
    frame(&server.answer, 3, 0, 1, slice_of(refused, 4));
    assert_int_equal(call_with(CLIENT_PUT, 10000, 1000), GRPC_UNAVAILABLE);
    assert_int_equal(server.connections, 2);
    buf_clear(&server.answer);
    frame(&server.answer, 3, 0, 1, slice_of(internal, 4));
    assert_int_equal(call_with(CLIENT_PUT, 10000, 1000), GRPC_INTERNAL);
    says("stream terminated by RST_STREAM");
    assert_int_equal(server.connections, 3);
}

static void an_http_status_is_named(void **state)
{
    (void)state;
    hello();
    struct buf block;
    buf_init(&block);
    buf_append_byte(&block, 0x8d);
    frame(&server.answer, 1, 5, 1, buf_slice(&block));
    buf_close(&block);
    assert_int_equal(call(), GRPC_INTERNAL);
    says("answers HTTP status 404: is it an etcd endpoint?");
}

static void what_is_not_http2_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        const char *sentence;
    } rows[] = {
        {"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "does not speak HTTP/2"},
        {"\x15\x03\x01\x01\x02\x02\x16......", "does not speak HTTP/2"},
        {"220 mail ready\r\n", "does not speak HTTP/2"},
    };
    const char *endpoints[] = {server.endpoint};
    const struct client_options options = {
        .endpoints = endpoints, .endpoint_count = 1, .dial_timeout_ms = 100};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct client client;
        buf_clear(&server.hello);
        buf_append_str(&server.hello, rows[i].bytes);
        client_init(&client, &options);
        assert_int_equal(client_connect(&client, &said), ERR_IO);
        says(rows[i].sentence);
        says("cannot connect: 127.0.0.1:");
        client_close(&client);
    }
}

static void endpoints_are_checked(void **state)
{
    (void)state;
    static const char *const good[] = {"a:1",        "127.0.0.1:65535", "[::1]:2379",
                                       "http://a:1", ":2379",           "unix://x"};
    static const char *const bad[] = {
        "",         "a",        "a:",          "a:b",       "a:1x",    "a:0",       "a:65536",
        "a:123456", "http://a", "https://a:1", "unixs://x", "unix://", "ftp://a:1", "a:-1"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(conn_check_endpoint(good[i], &said), 0);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(conn_check_endpoint(bad[i], &said), ERR_INVALID);
    }
    static char host[1000];
    memset(host, 'h', sizeof(host) - 3);
    host[sizeof(host) - 3] = ':';
    host[sizeof(host) - 2] = '1';
    assert_int_equal(conn_check_endpoint(host, &said), ERR_INVALID);
}

/* A good answer with bytes changed, left out or cut: the call ends in some way. */
static void damaged_answers_end_the_call(void **state)
{
    (void)state;
    struct rand r;
    struct buf encoded;
    struct buf whole;
    int good = 0;
    rand_init(&r, 11);
    buf_init(&encoded);
    buf_init(&whole);
    range_response(&encoded, 20);
    hello();
    headers();
    message(buf_slice(&encoded));
    trailers("0", NULL);
    buf_append_slice(&whole, buf_slice(&server.answer));
    server.hang_up = true;
    for (int round = 0; round < 1500; round++) {
        buf_clear(&server.answer);
        buf_append_slice(&server.answer, buf_slice(&whole));
        for (uint64_t n = rand_below(&r, 4); n > 0; n--) {
            server.answer.data[rand_below(&r, whole.len)] = (uint8_t)rand_u64(&r);
        }
        if (rand_chance(&r, 0.2)) {
            server.answer.len = rand_below(&r, whole.len);
        }
        good += call_with(CLIENT_PUT, 10000, 100000) == GRPC_OK;
        assert_true(arena.used < 100000);
    }
    assert_true(good > 100);
    buf_close(&encoded);
    buf_close(&whole);
}

static void out_of_memory_is_told(void **state)
{
    (void)state;
    struct buf encoded;
    int failures = 0;
    buf_init(&encoded);
    range_response(&encoded, 20);
    hello();
    headers();
    message(buf_slice(&encoded));
    trailers("0", NULL);
    buf_close(&encoded);
    for (uint64_t n = 1;; n++) {
        mem_fail_after(n);
        int code = call();
        mem_fail_after(0);
        if (code == GRPC_OK) {
            break;
        }
        failures++;
    }
    assert_true(failures > 5);
}

static int close_arena(void **state)
{
    arena_close(&arena);
    return server_close(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, server_open, close_arena)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_answer_is_read),
        TEST(an_empty_message_is_an_answer),
        TEST(refusals_say_what_the_server_says),
        TEST(messages_that_are_none_are_refused),
        TEST(claimed_lengths_allocate_nothing),
        TEST(bytes_without_end_do_not_move_the_deadline),
        TEST(a_lost_write_is_not_sent_again),
        TEST(a_refused_stream_was_not_looked_at),
        TEST(an_http_status_is_named),
        TEST(what_is_not_http2_is_told),
        TEST(endpoints_are_checked),
        TEST(damaged_answers_end_the_call),
        TEST(out_of_memory_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
