/* test_secure - HTTP/1.1, HTTP/2 and gRPC over TLS: identities, one port for both, refusals, slow
 * and broken handshakes, slow readers, reload while serving, lack of memory. */
#include "tests/unit/rpc/http_fixture.h"

#include <openssl/err.h>

#include "base/alloc.h"
#include "base/tls.h"
#include "rpc/secure.h"
#include "tests/lib/tls_fixture.h"

static char dir[256];
static struct test_ca ca;
static struct tls_context *tls;
static SSL_CTX *client_context;
static SSL *ssl; /* of the raw client */

static const char *file(const char *name)
{
    static char paths[8][512];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, 512, "%s/%s", dir, name);
    return path;
}

static int make_files(void **state)
{
    (void)state;
    test_dir_make(dir, sizeof(dir));
    test_ca_make(&ca, "authority");
    test_ca_write(&ca, file("ca.pem"));
    test_cert_write(&ca, &(struct test_cert){.common_name = "server"}, file("server.pem"),
                    file("server.key"));
    test_cert_write(&ca,
                    &(struct test_cert){.common_name = "alice", .organizations = {"admins", "ops"}},
                    file("alice.pem"), file("alice.key"));
    return 0;
}

static int remove_files(void **state)
{
    (void)state;
    test_ca_free(&ca);
    test_dir_remove(dir);
    return 0;
}

/* ---- the server and its client --------------------------------------------------------------- */

static void who(struct rpc_call *call, struct slice bytes)
{
    (void)bytes;
    const struct tls_peer *peer = rpc_call_peer_identity(call);
    const struct rpc_part part = {.bytes = slice_str(peer != NULL ? peer->common_name : "nobody")};
    rpc_call_send(call, &part, 1);
    rpc_call_finish(call, 0, NULL);
}

static const struct rpc_method methods[] = {
    {.service = "t.Who", .method = "Ami", .message = who},
    {.service = NULL},
};

static size_t connections(void)
{
    struct rpc_server_stats stats;
    rpc_server_stats(web.server, &stats);
    return stats.connections;
}

/* A server whose second listener (web.port) has TLS. */
static void begin(enum tls_client_auth auth, bool plain_too, struct rpc_server_options o)
{
    struct errmsg e = {{0}};
    const struct tls_options options = {.cert_file = file("server.pem"),
                                        .key_file = file("server.key"),
                                        .ca_file = file("ca.pem"),
                                        .client_auth = auth};
    tls = tls_context_new(&options, &e);
    assert_non_null(tls);
    o.methods = methods;
    web_start_with(o, false);
    web_settle();
    close(web.fd);
    WEB_UNTIL((test_turn(&web.loop), connections() == 0));
    if (rpc_server_listen_tls(web.server, "127.0.0.1", 0, tls, plain_too, &e) != 0) {
        fail_msg("%s", e.text);
    }
    web.port = rpc_server_port(web.server, 1);
    web.fd = test_connect(web.port);
}

static void use_client(const char *name, const char *alpn)
{
    char cert[32];
    char key[32];
    if (name != NULL) {
        snprintf(cert, sizeof(cert), "%s.pem", name);
        snprintf(key, sizeof(key), "%s.key", name);
    }
    client_context = test_client_context(file("ca.pem"), name != NULL ? file(cert) : NULL,
                                         name != NULL ? file(key) : NULL);
    ssl = test_client(client_context, alpn);
    SSL_set_fd(ssl, web.fd);
    SSL_set_mode(ssl, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_ENABLE_PARTIAL_WRITE);
}

static void end(void)
{
    SSL_free(ssl);
    ssl = NULL;
    SSL_CTX_free(client_context);
    client_context = NULL;
    web_stop();
    tls_context_free(tls);
    ERR_clear_error();
}

static void secure_pump(void)
{
    static char bytes[16384];
    test_turn(&web.loop);
    ERR_clear_error();
    int n = SSL_read(ssl, bytes, sizeof(bytes));
    if (n > 0) {
        buf_append(&web.in, bytes, (size_t)n);
    } else {
        int err = SSL_get_error(ssl, n);
        web.eof = web.eof || (err != SSL_ERROR_WANT_READ && err != SSL_ERROR_WANT_WRITE);
    }
}

#define SECURE_UNTIL(condition)                          \
    do {                                                 \
        uint64_t until_ = test_now_ms() + WEB_WAIT_MS;   \
        while (!(condition) && test_now_ms() < until_) { \
            secure_pump();                               \
        }                                                \
        assert_true(condition);                          \
    } while (0)

static void secure_say(const char *text)
{
    size_t len = strlen(text);
    uint64_t until = test_now_ms() + WEB_WAIT_MS;
    while (len > 0 && test_now_ms() < until) {
        ERR_clear_error();
        int n = SSL_write(ssl, text, (int)len);
        if (n > 0) {
            text += n;
            len -= (size_t)n;
        }
        test_turn(&web.loop);
    }
    assert_int_equal(len, 0);
}

static void adopt_h2(const char *name)
{
    use_client(name, "h2");
    web.client.ssl = ssl;
    ssl = NULL;
    h2_client_adopt(&web.client, &web.loop, web.fd);
    web.h2 = true;
}

/* ---- serving --------------------------------------------------------------------------------- */

static void http1_is_served_with_the_peers_identity(void **state)
{
    (void)state;
    begin(TLS_CLIENT_REQUIRE, false, (struct rpc_server_options){.no_cors = true});
    use_client("alice", "http/1.1");
    secure_say("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    WEB_UNTIL(web.req != NULL);
    assert_true(http_is_tls(web.req));
    const struct tls_peer *peer = http_peer_identity(web.req);
    assert_non_null(peer);
    assert_true(peer->verified);
    assert_string_equal(peer->common_name, "alice");
    assert_int_equal(peer->organization_count, 2);
    assert_string_equal(peer->organizations[1], "ops");
    assert_memory_equal(http_peer(web.req), "127.0.0.1:", 10);
    http_begin(web.req, 200, NULL, NULL, HTTP_BYTES_UNKNOWN);
    http_write(web.req, slice_str("secret"));
    SECURE_UNTIL(web_heard("6\r\nsecret\r\n"));
    http_finish(web.req);
    web.req = NULL;
    SECURE_UNTIL(web_heard("0\r\n\r\n"));
    const unsigned char *alpn;
    unsigned len;
    SSL_get0_alpn_selected(ssl, &alpn, &len);
    assert_int_equal(len, 8);
    end();
}

static void http2_and_grpc_are_served(void **state)
{
    (void)state;
    begin(TLS_CLIENT_REQUEST, false, (struct rpc_server_options){0});
    adopt_h2("alice");
    /* Over TLS plain HTTP needs no option. */
    web_ask("POST", "/echo", "over TLS", true);
    web_hear_all();
    assert_body("over TLS");
    struct buf message;
    buf_init(&message);
    grpc_frame(&message, slice_of(NULL, 0));
    struct h2_reply *r = h2_client_call(&web.client, "/t.Who/Ami", NULL, buf_slice(&message), true);
    assert_true(h2_client_wait(&web.client, &r->closed, WEB_WAIT_MS));
    struct slice text;
    assert_true(h2_reply_message(r, &text));
    assert_true(slice_eq(text, slice_str("alice")));
    buf_close(&message);
    end();
}

static void anonymous_is_let_in_when_only_asked(void **state)
{
    (void)state;
    begin(TLS_CLIENT_REQUEST, false, (struct rpc_server_options){0});
    use_client(NULL, NULL);
    secure_say("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    WEB_UNTIL(web.req != NULL);
    assert_true(http_is_tls(web.req));
    assert_null(http_peer_identity(web.req));
    http_respond(web.req, 200, NULL, NULL, slice_of(NULL, 0));
    web.req = NULL;
    SECURE_UNTIL(web_heard("200 OK"));
    end();
}

/* W-04: the first byte decides. */
static void one_port_speaks_both_when_told_to(void **state)
{
    (void)state;
    begin(TLS_CLIENT_NONE, true, (struct rpc_server_options){0});
    web_ask("GET", "/stream", NULL, true);
    WEB_UNTIL(web.req != NULL);
    assert_false(http_is_tls(web.req));
    http_respond(web.req, 200, NULL, NULL, slice_str("plain"));
    web.req = NULL;
    WEB_UNTIL(web_heard("plain"));
    close(web.fd);
    web.fd = test_connect(web.port);
    use_client(NULL, NULL);
    secure_say("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    WEB_UNTIL(web.req != NULL);
    assert_true(http_is_tls(web.req));
    http_respond(web.req, 200, NULL, NULL, slice_str("covered"));
    web.req = NULL;
    SECURE_UNTIL(web_heard("covered"));
    end();
}

static void plain_requests_are_told_to_use_tls(void **state)
{
    (void)state;
    begin(TLS_CLIENT_NONE, false, (struct rpc_server_options){0});
    web_say("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    WEB_UNTIL(web.eof);
    assert_true(web_heard("400 Bad Request"));
    assert_true(web_heard("Client sent an HTTP request to an HTTPS server."));
    assert_int_equal(web.calls, 0);
    end();
}

static void host_lists_are_for_plain_requests(void **state)
{
    (void)state;
    static const char *const hosts[] = {"good", NULL};
    begin(TLS_CLIENT_NONE, true, (struct rpc_server_options){.host_whitelist = hosts});
    use_client(NULL, NULL);
    secure_say("GET /nothing HTTP/1.1\r\nHost: evil\r\n\r\n");
    SECURE_UNTIL(web_heard("404 page not found"));
    end();
}

/* ---- handshakes that go wrong ---------------------------------------------------------------- */

static void client_without_certificate_is_refused(void **state)
{
    (void)state;
    begin(TLS_CLIENT_REQUIRE, false, (struct rpc_server_options){0});
    use_client(NULL, NULL);
    SECURE_UNTIL(web.eof);
    unsigned long code = ERR_peek_last_error();
    assert_int_equal(ERR_GET_REASON(code), SSL_AD_REASON_OFFSET + 116);
    close(web.fd);
    web.fd = -1;
    WEB_UNTIL((test_turn(&web.loop), connections() == 0));
    end();
}

static void slow_and_silent_handshakes_time_out(void **state)
{
    (void)state;
    begin(TLS_CLIENT_NONE, false, (struct rpc_server_options){.handshake_timeout_ms = 60});
    uint64_t before = test_now_ms();
    uint8_t byte = SECURE_FIRST_BYTE;
    (void)send(web.fd, &byte, 1, MSG_NOSIGNAL);
    WEB_UNTIL(web.eof);
    assert_true(test_now_ms() - before >= 50);
    WEB_UNTIL(connections() == 0);
    end();
}

static void handshake_may_come_byte_by_byte(void **state)
{
    (void)state;
    begin(TLS_CLIENT_NONE, false, (struct rpc_server_options){0});
    client_context = test_client_context(file("ca.pem"), NULL, NULL);
    ssl = test_client(client_context, "http/1.1");
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    BIO_set_mem_eof_return(SSL_get_rbio(ssl), -1);
    bool asked = false;
    uint64_t until = test_now_ms() + WEB_WAIT_MS;
    char plain[4096];
    while (test_now_ms() < until) {
        if (!asked && SSL_do_handshake(ssl) == 1) {
            static const char text[] = "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n";
            SSL_write(ssl, text, sizeof(text) - 1);
            asked = true;
        }
        uint8_t byte;
        if (BIO_read(SSL_get_wbio(ssl), &byte, 1) == 1) {
            web_say_bytes(&byte, 1);
        } else {
            web_pump();
        }
        if (web.in.len > 0) {
            BIO_write(SSL_get_rbio(ssl), web.in.data, (int)web.in.len);
            buf_clear(&web.in);
        }
        int n = asked ? SSL_read(ssl, plain, sizeof(plain) - 1) : 0;
        if (n > 0) {
            plain[n] = '\0';
            break;
        }
    }
    assert_true(asked);
    assert_non_null(strstr(plain, "404 page not found"));
    end();
}

static void garbage_ends_the_connection_alone(void **state)
{
    (void)state;
    static const char *const garbage[] = {
        "\x16garbage that is no record at all, long enough to be looked at",
        "\x16\x03\x01\x40\x01\x01 a record longer than any may be",
        "\x16\x03\x01\x01\x02\x01\x02\x03\x04\x05\x06\x07 half a hello",
    };
    begin(TLS_CLIENT_NONE, true, (struct rpc_server_options){.handshake_timeout_ms = 100});
    for (size_t i = 0; i < 3; i++) {
        web_say(garbage[i]);
        WEB_UNTIL(web.eof);
        close(web.fd);
        web.fd = test_connect(web.port);
        web.eof = false;
        buf_clear(&web.in);
    }
    /* In the middle of a good connection, with an exchange open. */
    use_client(NULL, NULL);
    secure_say("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    WEB_UNTIL(web.req != NULL);
    (void)send(web.fd, "\x17\x03\x03\x00\x10garbage garbage ", 21, MSG_NOSIGNAL);
    SECURE_UNTIL(web.eof);
    WEB_UNTIL(web.req == NULL);
    assert_int_equal(web.closes, 1);
    end();
}

/* ---- much to send ---------------------------------------------------------------------------- */

static void last_answer_arrives_whole(void **state)
{
    (void)state;
    static uint8_t big[24 * 1024 * 1024];
    memset(big, 'b', sizeof(big));
    begin(TLS_CLIENT_NONE, false, (struct rpc_server_options){0});
    use_client(NULL, NULL);
    secure_say("GET /stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    WEB_UNTIL(web.req != NULL);
    http_respond(web.req, 200, NULL, NULL, slice_of(big, sizeof(big)));
    web.req = NULL;
    /* The reader takes its time: the kernel is full, what is left waits in us. */
    web_settle();
    assert_true(web.server->output_bytes > 0);
    SECURE_UNTIL(web.eof);
    assert_true(web.in.len > sizeof(big));
    uint8_t *body = memmem(web.in.data, web.in.len, "\r\n\r\n", 4);
    assert_int_equal(web.in.len - (size_t)(body - web.in.data) - 4, sizeof(big));
    assert_memory_equal(body + 4, big, sizeof(big));
    /* And then the end is told by TLS, so that a cut would be seen. */
    assert_int_equal(SSL_get_shutdown(ssl) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
    assert_int_equal(web.server->output_bytes, 0);
    end();
}

static void slow_reader_holds_a_writer_back(void **state)
{
    (void)state;
    static uint8_t block[16 * 1024];
    for (size_t i = 0; i < sizeof(block); i++) {
        block[i] = (uint8_t)i;
    }
    begin(TLS_CLIENT_NONE, false, (struct rpc_server_options){0});
    use_client(NULL, NULL);
    secure_say("GET /stream HTTP/1.0\r\n\r\n");
    WEB_UNTIL(web.req != NULL);
    http_begin(web.req, 200, NULL, NULL, HTTP_BYTES_UNKNOWN);
    struct blob *blob = blob_new(3 * sizeof(block));
    for (size_t i = 0; i < 3; i++) {
        memcpy(blob->data + i * sizeof(block), block, sizeof(block));
    }
    size_t sent = 0;
    size_t wanted = 20u * 1024 * 1024;
    int idle = 0;
    while (sent < wanted) {
        /* Copied, and from where it lies, a record too short for what comes before it. */
        struct rpc_part part = {.bytes = slice_of(block, sizeof(block))};
        if (sent % 5 != 0) {
            part = (struct rpc_part){.bytes = blob_slice(blob), .blob = blob};
        }
        if (http_write_parts(web.req, &part, 1) == HTTP_WRITTEN) {
            sent += part.bytes.len;
            idle = 0;
            continue;
        }
        assert_true(web.server->output_bytes < 200000);
        if (idle++ < 20) {
            test_turn(&web.loop);
        } else {
            secure_pump();
        }
    }
    http_finish(web.req);
    web.req = NULL;
    SECURE_UNTIL(web.eof);
    uint8_t *body = memmem(web.in.data, web.in.len, "\r\n\r\n", 4);
    size_t len = web.in.len - (size_t)(body - web.in.data) - 4;
    assert_int_equal(len, sent);
    for (size_t i = 0; i < len; i += sizeof(block)) {
        assert_memory_equal(body + 4 + i, block, sizeof(block));
    }
    assert_int_equal(blob->refs, 1);
    blob_unref(blob);
    end();
}

static void uploads_are_read_through(void **state)
{
    (void)state;
    static char body[300000];
    memset(body, 'u', sizeof(body) - 1);
    begin(TLS_CLIENT_NONE, false, (struct rpc_server_options){0});
    adopt_h2(NULL);
    web_ask("POST", "/echo", body, true);
    web_hear_all();
    assert_body(body);
    end();
}

/* ---- reload, shutdown, memory ---------------------------------------------------------------- */

static void expect_server_name(const char *name)
{
    char got[64] = "";
    web.fd = test_connect(web.port);
    web.eof = false;
    buf_clear(&web.in);
    ssl = test_client(client_context, NULL);
    SSL_set_fd(ssl, web.fd);
    secure_say("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n");
    SECURE_UNTIL(web_heard("404 page not found"));
    X509 *cert = SSL_get1_peer_certificate(ssl);
    X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, got, sizeof(got));
    X509_free(cert);
    assert_string_equal(got, name);
    SSL_free(ssl);
    ssl = NULL;
    close(web.fd);
    web.fd = -1;
}

static void new_certificate_is_shown_to_new_connections(void **state)
{
    (void)state;
    begin(TLS_CLIENT_NONE, false, (struct rpc_server_options){0});
    close(web.fd);
    client_context = test_client_context(file("ca.pem"), NULL, NULL);
    expect_server_name("server");
    test_cert_write(&ca, &(struct test_cert){.common_name = "renewed"}, file("server.pem"),
                    file("server.key"));
    struct errmsg e;
    assert_int_equal(tls_context_reload(tls, &e), 0);
    expect_server_name("renewed");
    test_cert_write(&ca, &(struct test_cert){.common_name = "server"}, file("server.pem"),
                    file("server.key"));
    end();
}

static void shutdown_says_goodbye(void **state)
{
    (void)state;
    begin(TLS_CLIENT_NONE, false, (struct rpc_server_options){0});
    use_client(NULL, NULL);
    secure_say("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n");
    SECURE_UNTIL(web_heard("404 page not found"));
    rpc_server_shutdown(web.server, 10000, web_freed, NULL);
    SECURE_UNTIL(web.eof);
    assert_int_equal(SSL_get_shutdown(ssl) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
    SSL_shutdown(ssl);
    close(web.fd);
    web.fd = -1;
    WEB_UNTIL((test_turn(&web.loop), web.freed));
    web.freed = false;
    end();
}

/* Allocation number n fails: the connection ends or is served, nothing leaks, the next is fine. */
static void lack_of_memory_is_survived(void **state)
{
    (void)state;
    int served = 0;
    int failed = 0;
    /* The first one is the accepted socket's: its client waits for the next accept. */
    for (uint64_t n = 2; n < 60; n++) {
        begin(TLS_CLIENT_REQUIRE, false, (struct rpc_server_options){0});
        use_client("alice", "http/1.1");
        static const char text[] = "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n";
        bool asked = false;
        mem_fail_after(n);
        uint64_t until = test_now_ms() + WEB_WAIT_MS;
        while (!web.eof && !web_heard("404 page not found") && test_now_ms() < until) {
            /* The client's own buffer is not what is tested. */
            if (!asked && SSL_is_init_finished(ssl)) {
                asked = SSL_write(ssl, text, sizeof(text) - 1) > 0;
            }
            static char bytes[4096];
            test_turn(&web.loop);
            ERR_clear_error();
            int got = SSL_read(ssl, bytes, sizeof(bytes) - 1);
            if (got > 0 && memmem(bytes, (size_t)got, "HTTP/1.1", 8) != NULL) {
                served++;
                break;
            }
            int err = got > 0 ? 0 : SSL_get_error(ssl, got);
            web.eof = err != 0 && err != SSL_ERROR_WANT_READ && err != SSL_ERROR_WANT_WRITE;
        }
        failed += web.eof;
        mem_fail_after(0);
        end();
    }
    assert_true(served > 5);
    assert_true(failed > 5);
    assert_int_equal(served + failed, 58);
}

int main(void)
{
#define T(f) cmocka_unit_test(f)
    const struct CMUnitTest tests[] = {
        T(http1_is_served_with_the_peers_identity),
        T(http2_and_grpc_are_served),
        T(anonymous_is_let_in_when_only_asked),
        T(one_port_speaks_both_when_told_to),
        T(plain_requests_are_told_to_use_tls),
        T(host_lists_are_for_plain_requests),
        T(client_without_certificate_is_refused),
        T(slow_and_silent_handshakes_time_out),
        T(handshake_may_come_byte_by_byte),
        T(garbage_ends_the_connection_alone),
        T(last_answer_arrives_whole),
        T(slow_reader_holds_a_writer_back),
        T(uploads_are_read_through),
        T(new_certificate_is_shown_to_new_connections),
        T(shutdown_says_goodbye),
        T(lack_of_memory_is_survived),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
