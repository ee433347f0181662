/* tls_fixture.h - certificates made on the spot and a TLS client, for tests of base/tls and of the
 * front end over it. */
#ifndef KVD_TESTS_LIB_TLS_FIXTURE_H
#define KVD_TESTS_LIB_TLS_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>

struct test_ca {
    X509 *cert;
    EVP_PKEY *key;
};

/* What a certificate shall say; zero is a good server and client certificate of "test". */
struct test_cert {
    const char *common_name;
    const char *organizations[4];
    size_t common_name_len; /* 0 = strlen; else with NUL bytes inside */
    const char *names;      /* OpenSSL's form: "DNS:a,IP:127.0.0.1"; NULL = DNS:localhost and
                               IP:127.0.0.1 */
    const char *usage;      /* extended key usage; NULL = serverAuth,clientAuth */
    int from_days;          /* relative to now; both 0 = -1 and +30 */
    int until_days;
};

/* A folder of its own for a test's files; removed with all in it by test_dir_remove. */
void test_dir_make(char *path, size_t size);
void test_dir_remove(const char *path);

void test_ca_make(struct test_ca *ca, const char *name);
void test_ca_free(struct test_ca *ca);
/* Writes PEM files; replaces them by rename. Any path may be NULL. */
void test_ca_write(const struct test_ca *ca, const char *cert_path);
void test_cert_write(const struct test_ca *ca, const struct test_cert *what, const char *cert_path,
                     const char *key_path);

/* A client context that trusts ca_file and may have a certificate of its own (NULLs: none). */
SSL_CTX *test_client_context(const char *ca_file, const char *cert_file, const char *key_file);
/* A client that offers these protocols ("h2", "http/1.1", NULL = none). */
SSL *test_client(SSL_CTX *context, const char *alpn);

#endif
