/* test_tls - contexts from files and what is wrong with them, handshakes with every kind of client,
 * identities, reloads, bytes that are no TLS, lack of memory. Client and server exchange bytes in
 * memory, as few at a time as the test wants. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/tls.h"
#include "tests/lib/tls_fixture.h"

static char dir[256];
static struct test_ca ca;
static struct test_ca other_ca;

static const char *file(const char *name)
{
    static char paths[8][512];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, 512, "%s/%s", dir, name);
    return path;
}

static void write_text(const char *name, const char *text)
{
    FILE *f = fopen(file(name), "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
}

static int make_files(void **state)
{
    (void)state;
    log_set_level(LOG_FATAL);
    test_dir_make(dir, sizeof(dir));
    test_ca_make(&ca, "good authority");
    test_ca_make(&other_ca, "other authority");
    test_ca_write(&ca, file("ca.pem"));
    test_ca_write(&other_ca, file("other-ca.pem"));
    test_cert_write(&ca, &(struct test_cert){.common_name = "server"}, file("server.pem"),
                    file("server.key"));
    test_cert_write(&ca, &(struct test_cert){.common_name = "twin"}, file("twin.pem"),
                    file("twin.key"));
    const struct test_cert client = {
        .common_name = "alice",
        .organizations = {"system:masters", "d\xc3\xa9veloppement"},
        .names = "DNS:alice.example,IP:10.1.2.3,IP:2001:db8::7,URI:spiffe://x/alice,"
                 "email:alice@example.org,RID:1.2.3",
    };
    test_cert_write(&ca, &client, file("alice.pem"), file("alice.key"));
    test_cert_write(&other_ca, &client, file("stranger.pem"), file("stranger.key"));
    test_cert_write(&ca, &(struct test_cert){.from_days = -9, .until_days = -2}, file("old.pem"),
                    file("old.key"));
    test_cert_write(&ca, &(struct test_cert){.usage = "serverAuth"}, file("unfit.pem"),
                    file("unfit.key"));
    test_cert_write(&ca, &(struct test_cert){.common_name = "root\0x", .common_name_len = 6},
                    file("nul.pem"), file("nul.key"));
    return 0;
}

static int remove_files(void **state)
{
    (void)state;
    test_ca_free(&ca);
    test_ca_free(&other_ca);
    test_dir_remove(dir);
    return 0;
}

static struct tls_context *context(enum tls_client_auth auth)
{
    struct errmsg e = {""};
    const struct tls_options o = {.cert_file = file("server.pem"),
                                  .key_file = file("server.key"),
                                  .ca_file = auth != TLS_CLIENT_NONE ? file("ca.pem") : NULL,
                                  .client_auth = auth};
    struct tls_context *x = tls_context_new(&o, &e);
    if (x == NULL) {
        fail_msg("%s", e.text);
    }
    return x;
}

/* ---- a pair of ends -------------------------------------------------------------------------- */

struct pair {
    struct tls *server;
    SSL_CTX *client_context;
    SSL *client;
    size_t step; /* bytes moved at a time */
    enum tls_result handshake;
    int client_result; /* of SSL_do_handshake */
    struct buf received;
    enum tls_result last_read;
};

static void pair_open(struct pair *p, struct tls_context *x, const char *client_name,
                      const char *trust, const char *alpn)
{
    char cert[32];
    char key[32];
    memset(p, 0, sizeof(*p));
    p->step = SIZE_MAX;
    p->server = tls_new(x);
    assert_non_null(p->server);
    if (client_name != NULL) {
        snprintf(cert, sizeof(cert), "%s.pem", client_name);
        snprintf(key, sizeof(key), "%s.key", client_name);
    }
    p->client_context = test_client_context(file(trust), client_name != NULL ? file(cert) : NULL,
                                            client_name != NULL ? file(key) : NULL);
    p->client = test_client(p->client_context, alpn);
    SSL_set_bio(p->client, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    BIO_set_mem_eof_return(SSL_get_rbio(p->client), -1);
}

static void pair_close(struct pair *p)
{
    tls_free(p->server);
    SSL_free(p->client);
    SSL_CTX_free(p->client_context);
    buf_close(&p->received);
}

/* The server looks at what came, as a connection does. */
static void pair_serve(struct pair *p, struct slice bytes)
{
    uint8_t plain[16384];
    size_t n;
    tls_input(p->server, bytes);
    if (!tls_established(p->server)) {
        p->handshake = tls_handshake(p->server);
        if (p->handshake != TLS_OK) {
            return;
        }
    }
    while ((p->last_read = tls_read(p->server, plain, sizeof(plain), &n)) == TLS_OK) {
        buf_append(&p->received, plain, n);
    }
}

static bool pair_move(struct pair *p)
{
    bool moved = false;
    char *data;
    long len = BIO_get_mem_data(SSL_get_wbio(p->client), &data);
    if (len > 0) {
        uint8_t bytes[65536];
        size_t n = (size_t)len < p->step ? (size_t)len : p->step;
        n = n < sizeof(bytes) ? n : sizeof(bytes);
        BIO_read(SSL_get_wbio(p->client), bytes, (int)n);
        pair_serve(p, slice_of(bytes, n));
        moved = true;
    }
    struct slice out = tls_output(p->server);
    if (out.len > 0) {
        size_t n = out.len < p->step ? out.len : p->step;
        BIO_write(SSL_get_rbio(p->client), out.data, (int)n);
        tls_output_taken(p->server, n);
        moved = true;
    }
    return moved;
}

static void pair_run(struct pair *p)
{
    do {
        p->client_result = SSL_do_handshake(p->client);
    } while (pair_move(p));
    p->client_result = SSL_do_handshake(p->client);
}

static void expect_talk(struct pair *p)
{
    pair_run(p);
    if (p->handshake != TLS_OK) {
        fail_msg("%s", tls_error(p->server));
    }
    assert_int_equal(p->client_result, 1);
    assert_int_equal(SSL_write(p->client, "hello", 5), 5);
    while (pair_move(p)) {
    }
    assert_int_equal(p->received.len, 5);
    assert_memory_equal(p->received.data, "hello", 5);
    assert_int_equal(p->last_read, TLS_WANT);
    static uint8_t big[100000];
    memset(big, 'b', sizeof(big));
    assert_int_equal(tls_write(p->server, big, sizeof(big)), TLS_OK);
    size_t got = 0;
    for (;;) {
        char bytes[16384];
        int n = SSL_read(p->client, bytes, sizeof(bytes));
        if (n > 0) {
            got += (size_t)n;
        } else if (!pair_move(p)) {
            break;
        }
    }
    assert_int_equal(got, sizeof(big));
    assert_int_equal(tls_output(p->server).len, 0);
}

static void expect_refused(struct pair *p, const char *why, int alert)
{
    pair_run(p);
    assert_int_equal(p->handshake, TLS_FAILED);
    assert_string_equal(tls_error(p->server), why);
    assert_null(tls_peer(p->server));
    assert_false(tls_established(p->server));
    /* A TLS 1.3 client learns it with its first read. */
    char byte;
    ERR_clear_error();
    if (p->client_result == 1) {
        assert_true(SSL_read(p->client, &byte, 1) <= 0);
    } else {
        assert_int_not_equal(SSL_do_handshake(p->client), 1);
    }
    unsigned long code = ERR_peek_last_error();
    if (alert != 0 && code != 0) {
        assert_int_equal(ERR_GET_REASON(code), SSL_AD_REASON_OFFSET + alert);
    }
    /* What is called now does nothing. */
    assert_int_equal(tls_write(p->server, (const uint8_t *)"x", 1), TLS_FAILED);
    tls_close_notify(p->server);
}

/* ---- handshakes ------------------------------------------------------------------------------ */

static void versions_protocols_and_cuts(void **state)
{
    (void)state;
    struct tls_context *x = context(TLS_CLIENT_NONE);
    static const char *const protocols[] = {NULL, "h2", "http/1.1"};
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        for (size_t i = 0; i < 3; i++) {
            struct pair p;
            pair_open(&p, x, NULL, "ca.pem", protocols[i]);
            p.step = i == 1 ? 1 : i == 2 ? 7 : SIZE_MAX;
            SSL_set_min_proto_version(p.client, version);
            SSL_set_max_proto_version(p.client, version);
            expect_talk(&p);
            assert_int_equal(SSL_version(p.client), version);
            assert_null(tls_peer(p.server));
            const unsigned char *alpn;
            unsigned len;
            SSL_get0_alpn_selected(p.client, &alpn, &len);
            assert_int_equal(len, protocols[i] != NULL ? strlen(protocols[i]) : 0);
            if (len > 0) {
                assert_memory_equal(alpn, protocols[i], len);
            }
            pair_close(&p);
        }
    }
    tls_context_free(x);
}

static void old_versions_and_unknown_protocols_are_refused(void **state)
{
    (void)state;
    struct tls_context *x = context(TLS_CLIENT_NONE);
    struct pair p;
    pair_open(&p, x, NULL, "ca.pem", NULL);
    SSL_set_security_level(p.client, 0);
    SSL_set_min_proto_version(p.client, TLS1_1_VERSION);
    SSL_set_max_proto_version(p.client, TLS1_1_VERSION);
    expect_refused(&p, "tls: client offered only unsupported versions", 70);
    pair_close(&p);
    pair_open(&p, x, NULL, "ca.pem", "spdy/3");
    expect_refused(&p, "tls: client requested unsupported application protocols", 120);
    pair_close(&p);
    tls_context_free(x);
    struct errmsg e;
    const struct tls_options only13 = {
        .cert_file = file("server.pem"), .key_file = file("server.key"), .version_min = 13};
    x = tls_context_new(&only13, &e);
    assert_non_null(x);
    pair_open(&p, x, NULL, "ca.pem", NULL);
    SSL_set_max_proto_version(p.client, TLS1_2_VERSION);
    expect_refused(&p, "tls: client offered only unsupported versions", 70);
    pair_close(&p);
    tls_context_free(x);
}

static void cipher_suites_are_chosen(void **state)
{
    (void)state;
    struct errmsg e = {""};
    static const char *const one[] = {"TLS_AES_128_GCM_SHA256",
                                      "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", NULL};
    static const char *const none[] = {"TLS_AES_128_GCM_SHA256", NULL};
    static const char *const bad[] = {"TLS_NO_SUCH", NULL};
    struct tls_options o = {
        .cert_file = file("server.pem"), .key_file = file("server.key"), .cipher_suites = one};
    struct tls_context *x = tls_context_new(&o, &e);
    assert_non_null(x);
    struct pair p;
    pair_open(&p, x, NULL, "ca.pem", NULL);
    SSL_set_max_proto_version(p.client, TLS1_2_VERSION);
    expect_talk(&p);
    assert_string_equal(SSL_get_cipher_name(p.client), "ECDHE-ECDSA-CHACHA20-POLY1305");
    pair_close(&p);
    pair_open(&p, x, NULL, "ca.pem", NULL);
    SSL_set_max_proto_version(p.client, TLS1_2_VERSION);
    SSL_set_cipher_list(p.client, "ECDHE-ECDSA-AES128-GCM-SHA256");
    expect_refused(&p, "tls: no cipher suite supported by both client and server", 40);
    pair_close(&p);
    tls_context_free(x);
    o.cipher_suites = none;
    x = tls_context_new(&o, &e);
    pair_open(&p, x, NULL, "ca.pem", NULL);
    SSL_set_max_proto_version(p.client, TLS1_2_VERSION);
    expect_refused(&p, "tls: client offered only unsupported versions", 70);
    pair_close(&p);
    tls_context_free(x);
    o.cipher_suites = bad;
    assert_null(tls_context_new(&o, &e));
    assert_string_equal(e.text, "unexpected TLS cipher suite \"TLS_NO_SUCH\"");
}

static void client_certificates_are_required(void **state)
{
    (void)state;
    struct tls_context *x = context(TLS_CLIENT_REQUIRE);
    static const struct {
        const char *client, *why;
        int alert;
    } rows[] = {
        {"stranger",
         "tls: failed to verify certificate: x509: certificate signed by unknown authority", 42},
        {"old",
         "tls: failed to verify certificate: x509: certificate has expired or is not yet valid",
         42},
        {"unfit",
         "tls: failed to verify certificate: x509: certificate specifies an incompatible key usage",
         42},
        {"nul", "tls: failed to verify certificate: x509: a name has a NUL byte in it", 0},
    };
    struct pair p;
    pair_open(&p, x, "alice", "ca.pem", "h2");
    expect_talk(&p);
    assert_true(tls_peer(p.server)->verified);
    pair_close(&p);
    pair_open(&p, x, NULL, "ca.pem", NULL);
    expect_refused(&p, "tls: client didn't provide a certificate", 116);
    pair_close(&p);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        pair_open(&p, x, rows[i].client, "ca.pem", NULL);
        expect_refused(&p, rows[i].why, rows[i].alert);
        pair_close(&p);
    }
    tls_context_free(x);
}

static void requested_certificates_are_judged_but_let_in(void **state)
{
    (void)state;
    struct tls_context *x = context(TLS_CLIENT_REQUEST);
    struct pair p;
    pair_open(&p, x, NULL, "ca.pem", NULL);
    expect_talk(&p);
    assert_null(tls_peer(p.server));
    pair_close(&p);
    pair_open(&p, x, "alice", "ca.pem", NULL);
    expect_talk(&p);
    assert_true(tls_peer(p.server)->verified);
    assert_string_equal(tls_peer(p.server)->verify_error, "");
    pair_close(&p);
    pair_open(&p, x, "stranger", "ca.pem", NULL);
    expect_talk(&p);
    assert_false(tls_peer(p.server)->verified);
    assert_string_equal(tls_peer(p.server)->common_name, "alice");
    assert_string_equal(tls_peer(p.server)->verify_error,
                        "certificate signed by unknown authority");
    pair_close(&p);
    tls_context_free(x);
}

static void identity_is_read(void **state)
{
    (void)state;
    struct tls_context *x = context(TLS_CLIENT_REQUIRE);
    struct pair p;
    pair_open(&p, x, "alice", "ca.pem", NULL);
    expect_talk(&p);
    const struct tls_peer *peer = tls_peer(p.server);
    assert_string_equal(peer->common_name, "alice");
    assert_int_equal(peer->organization_count, 2);
    assert_string_equal(peer->organizations[0], "system:masters");
    assert_string_equal(peer->organizations[1], "d\xc3\xa9veloppement");
    static const struct tls_name names[] = {
        {TLS_NAME_DNS, "alice.example"},       {TLS_NAME_IP, "10.1.2.3"},
        {TLS_NAME_IP, "2001:db8::7"},          {TLS_NAME_URI, "spiffe://x/alice"},
        {TLS_NAME_EMAIL, "alice@example.org"},
    };
    assert_int_equal(peer->name_count, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(peer->names[i].kind, names[i].kind);
        assert_string_equal(peer->names[i].text, names[i].text);
    }
    uint8_t digest[32];
    unsigned len;
    X509_digest(SSL_get_certificate(p.client), EVP_sha256(), digest, &len);
    assert_memory_equal(peer->sha256, digest, 32);
    struct tm tm;
    ASN1_TIME_to_tm(X509_get0_notAfter(SSL_get_certificate(p.client)), &tm);
    assert_int_equal(peer->not_after_s, timegm(&tm));
    pair_close(&p);
    tls_context_free(x);
}

static void end_is_told(void **state)
{
    (void)state;
    struct tls_context *x = context(TLS_CLIENT_NONE);
    struct pair p;
    pair_open(&p, x, NULL, "ca.pem", NULL);
    expect_talk(&p);
    tls_close_notify(p.server);
    while (pair_move(&p)) {
    }
    char byte;
    assert_int_equal(SSL_read(p.client, &byte, 1), 0);
    assert_int_equal(SSL_get_error(p.client, 0), SSL_ERROR_ZERO_RETURN);
    SSL_shutdown(p.client);
    while (pair_move(&p)) {
    }
    assert_int_equal(p.last_read, TLS_EOF);
    pair_close(&p);
    tls_context_free(x);
}

static void bytes_that_are_no_tls(void **state)
{
    (void)state;
    static const struct {
        const char *bytes, *why;
    } rows[] = {
        {"GET / HTTP/1.1\r\n\r\n", "tls: first record does not look like a TLS handshake"},
        {"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80", ""},
        {"\x16\x03\x01\x7f\xff\x01\x02\x03\x04", ""},
        {"\x16\x09\x09\x01\x10\x01\x02\x03\x04\x05\x06", ""},
    };
    struct tls_context *x = context(TLS_CLIENT_NONE);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct tls *t = tls_new(x);
        tls_input(t, slice_str(rows[i].bytes));
        assert_int_equal(tls_handshake(t), TLS_FAILED);
        assert_int_equal(tls_handshake(t), TLS_FAILED);
        if (rows[i].why[0] != '\0') {
            assert_string_equal(tls_error(t), rows[i].why);
        } else {
            assert_memory_equal(tls_error(t), "tls: ", 5);
        }
        tls_free(t);
    }
    /* And in the middle of a good connection. */
    struct pair p;
    pair_open(&p, x, NULL, "ca.pem", NULL);
    expect_talk(&p);
    pair_serve(&p, slice_of("\x17\x03\x03\x00\x20garbagegarbagegarbagegarbagegarbage", 37));
    assert_int_equal(p.last_read, TLS_FAILED);
    assert_true(tls_output(p.server).len > 0); /* an alert */
    pair_close(&p);
    tls_context_free(x);
}

/* ---- files ----------------------------------------------------------------------------------- */

static void expect_error(const char *cert, const char *key, const char *trust, const char *why)
{
    struct errmsg e = {""};
    const struct tls_options o = {.cert_file = file(cert),
                                  .key_file = file(key),
                                  .ca_file = trust != NULL ? file(trust) : NULL,
                                  .client_auth = TLS_CLIENT_REQUIRE};
    struct tls_context *x = tls_context_new(&o, &e);
    assert_null(x);
    if (strstr(e.text, why) == NULL) {
        fail_msg("\"%s\" is not in \"%s\"", why, e.text);
    }
}

static void bad_files_are_named(void **state)
{
    (void)state;
    write_text("empty.pem", "");
    write_text("words.pem", "these are words\n");
    write_text("broken.pem", "-----BEGIN CERTIFICATE-----\nMIIBAAAA\n-----END CERTIFICATE-----\n");
    write_text("locked.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
                             "MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAiuPVnyG5WzKgICCAAw\n"
                             "DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEGZ5v4QEd3JTZyJQWy5pTvYEgZAb\n"
                             "-----END ENCRYPTED PRIVATE KEY-----\n");
    expect_error("none.pem", "server.key", NULL, "/none.pem: No such file or directory");
    expect_error("server.pem", "none.key", NULL, "/none.key: No such file or directory");
    expect_error("server.pem", "server.key", "none.pem", "/none.pem: No such file or directory");
    expect_error("empty.pem", "server.key", NULL, "/empty.pem: no start line");
    expect_error("words.pem", "server.key", NULL, "/words.pem: no start line");
    expect_error("broken.pem", "server.key", NULL, "/broken.pem: ");
    expect_error("server.pem", "words.pem", NULL, "/words.pem: no start line");
    expect_error("server.pem", "server.pem", NULL, "/server.pem: ");
    expect_error("server.pem", "server.key", "words.pem", "/words.pem: no start line");
    expect_error("server.pem", "server.key", "broken.pem", "/broken.pem: ");
    expect_error("server.pem", "twin.key", NULL,
                 "/twin.key: private key does not match public key");
    expect_error(".", "server.key", NULL, "/.: not a file");
    FILE *f = fopen(file("huge.pem"), "w");
    assert_non_null(f);
    assert_int_equal(ftruncate(fileno(f), TLS_FILE_BYTES_MAX + 1), 0);
    fclose(f);
    expect_error("huge.pem", "server.key", NULL, "/huge.pem: larger than 1048576 bytes");
    expect_error("server.pem", "locked.key", NULL, "/locked.key: ");
}

/* OpenSSL itself writes the encrypted key here, so that the passphrase is what is missing. */
static void keys_with_a_passphrase_are_refused(void **state)
{
    (void)state;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    FILE *f = fopen(file("secret.key"), "w");
    assert_non_null(f);
    BIO *bio = BIO_new_fp(f, BIO_NOCLOSE);
    assert_int_equal(
        PEM_write_bio_PKCS8PrivateKey(bio, key, EVP_aes_128_cbc(), "pass", 4, NULL, NULL), 1);
    BIO_free(bio);
    fclose(f);
    EVP_PKEY_free(key);
    expect_error("server.pem", "secret.key", NULL,
                 "the key is encrypted: kvd takes keys without a passphrase");
}

static void expired_server_certificates_are_loaded(void **state)
{
    (void)state;
    struct errmsg e = {""};
    const struct tls_options o = {.cert_file = file("old.pem"), .key_file = file("old.key")};
    struct tls_context *x = tls_context_new(&o, &e);
    assert_non_null(x);
    struct pair p;
    pair_open(&p, x, NULL, "ca.pem", NULL);
    expect_refused(&p, "remote error: tls: expired certificate", 0);
    pair_close(&p);
    tls_context_free(x);
}

static void expect_served_by(struct tls_context *x, const char *name)
{
    struct pair p;
    char got[64] = "";
    pair_open(&p, x, NULL, "ca.pem", NULL);
    expect_talk(&p);
    X509 *cert = SSL_get1_peer_certificate(p.client);
    X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, got, sizeof(got));
    X509_free(cert);
    assert_string_equal(got, name);
    pair_close(&p);
}

static struct slice pem(const char *name, struct buf *out)
{
    FILE *f = fopen(file(name), "r");
    assert_non_null(f);
    buf_init(out);
    assert_true(buf_reserve(out, 65536));
    out->len = fread(out->data, 1, 65536, f);
    fclose(f);
    return buf_slice(out);
}

/* Bytes instead of files, and others in their place while it serves. */
static void certificates_may_be_bytes(void **state)
{
    (void)state;
    struct errmsg e = {""};
    struct buf cert, key, other_key, trust;
    test_cert_write(&ca, &(struct test_cert){.common_name = "bytes"}, file("live.pem"),
                    file("live.key"));
    struct tls_options o = {.cert_pem = pem("live.pem", &cert),
                            .key_pem = pem("live.key", &key),
                            .ca_pem = pem("ca.pem", &trust),
                            .client_auth = TLS_CLIENT_REQUEST};
    struct tls_context *x = tls_context_new(&o, &e);
    assert_non_null(x);
    expect_served_by(x, "bytes");
    tls_context_refresh(x, 1000000); /* there is no file to look at */
    assert_int_equal(tls_context_reload(x, &e), ERR_INVALID);
    expect_served_by(x, "bytes");
    o.key_pem = pem("server.key", &other_key);
    assert_null(tls_context_new(&o, &e));
    assert_string_equal(e.text, "certificate, key: private key does not match public key");
    o.key_pem = slice_str("no key");
    assert_null(tls_context_new(&o, &e));
    assert_string_equal(e.text, "key: no start line");
    const struct tls_options from_files = {.cert_file = file("server.pem"),
                                           .key_file = file("server.key")};
    struct tls_context *next = tls_context_new(&from_files, &e);
    assert_non_null(next);
    tls_context_take(x, next);
    assert_int_equal(tls_context_reloads(x), 1);
    expect_served_by(x, "server");
    tls_context_free(x);
    buf_close(&cert);
    buf_close(&key);
    buf_close(&other_key);
    buf_close(&trust);
}

static void changed_files_are_taken_up(void **state)
{
    (void)state;
    struct errmsg e = {""};
    const struct tls_options o = {.cert_file = file("live.pem"), .key_file = file("live.key")};
    test_cert_write(&ca, &(struct test_cert){.common_name = "first"}, file("live.pem"),
                    file("live.key"));
    struct tls_context *x = tls_context_new(&o, &e);
    assert_non_null(x);
    uint64_t now = 5000;
    tls_context_refresh(x, now);
    expect_served_by(x, "first");
    struct pair old;
    pair_open(&old, x, NULL, "ca.pem", NULL);
    test_cert_write(&ca, &(struct test_cert){.common_name = "second"}, file("live.pem"),
                    file("live.key"));
    /* Not looked at yet. */
    tls_context_refresh(x, now + TLS_CHECK_MS - 1);
    assert_int_equal(tls_context_reloads(x), 0);
    expect_served_by(x, "first");
    now += TLS_CHECK_MS;
    tls_context_refresh(x, now);
    assert_int_equal(tls_context_reloads(x), 1);
    expect_served_by(x, "second");
    /* A connection that began before goes on with what it began with. */
    expect_talk(&old);
    pair_close(&old);
    now += TLS_CHECK_MS;
    tls_context_refresh(x, now);
    assert_int_equal(tls_context_reloads(x), 1);
    /* Half of a change: the old ones stay until the other half comes. */
    test_cert_write(&ca, &(struct test_cert){.common_name = "third"}, file("live.pem"),
                    file("next.key"));
    now += TLS_CHECK_MS;
    tls_context_refresh(x, now);
    expect_served_by(x, "second");
    assert_int_equal(tls_context_reload(x, &e), ERR_INVALID);
    assert_non_null(strstr(e.text, "private key does not match public key"));
    expect_served_by(x, "second");
    assert_int_equal(rename(file("next.key"), file("live.key")), 0);
    now += TLS_CHECK_MS;
    tls_context_refresh(x, now);
    assert_int_equal(tls_context_reloads(x), 2);
    expect_served_by(x, "third");
    /* And by call. */
    test_cert_write(&ca, &(struct test_cert){.common_name = "fourth"}, file("live.pem"),
                    file("live.key"));
    assert_int_equal(tls_context_reload(x, &e), 0);
    expect_served_by(x, "fourth");
    tls_context_free(x);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void lack_of_memory_is_an_answer(void **state)
{
    (void)state;
    bool whole = false;
    uint64_t n = 1;
    for (; !whole; n++) {
        struct errmsg e = {""};
        const struct tls_options o = {.cert_file = file("server.pem"),
                                      .key_file = file("server.key"),
                                      .ca_file = file("ca.pem"),
                                      .client_auth = TLS_CLIENT_REQUIRE};
        mem_fail_after(n);
        struct tls_context *x = tls_context_new(&o, &e);
        mem_fail_after(0);
        whole = x != NULL;
        assert_true(whole || e.text[0] != '\0');
        tls_context_free(x);
        assert_true(n < 100);
    }
    assert_true(n > 5);
    struct tls_context *x = context(TLS_CLIENT_REQUIRE);
    whole = false;
    for (n = 1; !whole; n++) {
        struct pair p;
        pair_open(&p, x, "alice", "ca.pem", NULL);
        mem_fail_after(n);
        pair_run(&p);
        mem_fail_after(0);
        whole = p.handshake == TLS_OK;
        assert_true(whole || tls_error(p.server)[0] != '\0');
        pair_close(&p);
        assert_true(n < 100);
    }
    assert_true(n > 3);
    tls_context_free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions_protocols_and_cuts),
        cmocka_unit_test(old_versions_and_unknown_protocols_are_refused),
        cmocka_unit_test(cipher_suites_are_chosen),
        cmocka_unit_test(client_certificates_are_required),
        cmocka_unit_test(requested_certificates_are_judged_but_let_in),
        cmocka_unit_test(identity_is_read),
        cmocka_unit_test(end_is_told),
        cmocka_unit_test(bytes_that_are_no_tls),
        cmocka_unit_test(bad_files_are_named),
        cmocka_unit_test(keys_with_a_passphrase_are_refused),
        cmocka_unit_test(expired_server_certificates_are_loaded),
        cmocka_unit_test(certificates_may_be_bytes),
        cmocka_unit_test(changed_files_are_taken_up),
        cmocka_unit_test(lack_of_memory_is_an_answer),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
