/* tls_fixture.c - see tls_fixture.h. */
#include "tests/lib/tls_fixture.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/assert.h"

void test_dir_make(char *path, size_t size)
{
    const char *base = getenv("TMPDIR");
    snprintf(path, size, "%s/kvd-tls.XXXXXX", base != NULL ? base : "/tmp");
    FATAL_IF(mkdtemp(path) == NULL, "no temporary folder");
}

void test_dir_remove(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *e;
    while (dir != NULL && (e = readdir(dir)) != NULL) {
        char file[1024];
        snprintf(file, sizeof(file), "%s/%s", path, e->d_name);
        (void)unlink(file);
    }
    if (dir != NULL) {
        closedir(dir);
    }
    (void)rmdir(path);
}

/* ---- certificates ---------------------------------------------------------------------------- */

static X509 *test_x509(EVP_PKEY *key, int from_days, int until_days)
{
    static long serial = 1;
    X509 *x = X509_new();
    FATAL_IF(x == NULL, "out of memory");
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), serial++);
    X509_time_adj_ex(X509_getm_notBefore(x), from_days, 0, NULL);
    X509_time_adj_ex(X509_getm_notAfter(x), until_days, 0, NULL);
    X509_set_pubkey(x, key);
    return x;
}

static void test_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    FATAL_IF(e == NULL, "a bad extension");
    X509_add_ext(x, e, -1);
    X509_EXTENSION_free(e);
}

static void test_name(X509_NAME *to, const char *field, const char *value, int len)
{
    FATAL_IF(X509_NAME_add_entry_by_txt(to, field, MBSTRING_UTF8, (const unsigned char *)value, len,
                                        -1, 0) != 1,
             "a bad name");
}

void test_ca_make(struct test_ca *ca, const char *name)
{
    ca->key = EVP_EC_gen("P-256");
    FATAL_IF(ca->key == NULL, "no key");
    ca->cert = test_x509(ca->key, -1, 30);
    test_name(X509_get_subject_name(ca->cert), "CN", name, -1);
    X509_set_issuer_name(ca->cert, X509_get_subject_name(ca->cert));
    test_extension(ca->cert, ca->cert, NID_basic_constraints, "critical,CA:TRUE");
    test_extension(ca->cert, ca->cert, NID_key_usage, "critical,keyCertSign");
    FATAL_IF(X509_sign(ca->cert, ca->key, EVP_sha256()) == 0, "cannot sign");
}

void test_ca_free(struct test_ca *ca)
{
    X509_free(ca->cert);
    EVP_PKEY_free(ca->key);
}

static void test_pem(const char *path, X509 *cert, EVP_PKEY *key)
{
    char draft[1024];
    snprintf(draft, sizeof(draft), "%s.new", path);
    FILE *f = fopen(draft, "w");
    FATAL_IF(f == NULL, "cannot write a test file");
    bool ok = cert != NULL ? PEM_write_X509(f, cert) == 1
                           : PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) == 1;
    FATAL_IF(!ok || fclose(f) != 0 || rename(draft, path) != 0, "cannot write a test file");
}

void test_ca_write(const struct test_ca *ca, const char *cert_path)
{
    test_pem(cert_path, ca->cert, NULL);
}

void test_cert_write(const struct test_ca *ca, const struct test_cert *what, const char *cert_path,
                     const char *key_path)
{
    bool always = what->from_days == 0 && what->until_days == 0;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    FATAL_IF(key == NULL, "no key");
    X509 *x = test_x509(key, always ? -1 : what->from_days, always ? 30 : what->until_days);
    X509_NAME *subject = X509_get_subject_name(x);
    for (size_t i = 0; i < 4 && what->organizations[i] != NULL; i++) {
        test_name(subject, "O", what->organizations[i], -1);
    }
    test_name(subject, "CN", what->common_name != NULL ? what->common_name : "test",
              what->common_name_len > 0 ? (int)what->common_name_len : -1);
    X509_set_issuer_name(x, X509_get_subject_name(ca->cert));
    test_extension(x, ca->cert, NID_subject_alt_name,
                   what->names != NULL ? what->names : "DNS:localhost,IP:127.0.0.1");
    test_extension(x, ca->cert, NID_ext_key_usage,
                   what->usage != NULL ? what->usage : "serverAuth,clientAuth");
    FATAL_IF(X509_sign(x, ca->key, EVP_sha256()) == 0, "cannot sign");
    if (cert_path != NULL) {
        test_pem(cert_path, x, NULL);
    }
    if (key_path != NULL) {
        test_pem(key_path, NULL, key);
    }
    X509_free(x);
    EVP_PKEY_free(key);
}

/* ---- clients --------------------------------------------------------------------------------- */

SSL_CTX *test_client_context(const char *ca_file, const char *cert_file, const char *key_file)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    FATAL_IF(ctx == NULL, "out of memory");
    if (ca_file != NULL) {
        FATAL_IF(SSL_CTX_load_verify_file(ctx, ca_file) != 1, "no such authority");
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    }
    if (cert_file != NULL) {
        FATAL_IF(SSL_CTX_use_certificate_chain_file(ctx, cert_file) != 1 ||
                     SSL_CTX_use_PrivateKey_file(ctx, key_file, SSL_FILETYPE_PEM) != 1,
                 "no such certificate");
    }
    return ctx;
}

SSL *test_client(SSL_CTX *context, const char *alpn)
{
    SSL *ssl = SSL_new(context);
    FATAL_IF(ssl == NULL, "out of memory");
    if (alpn != NULL) {
        unsigned char wire[64];
        size_t len = strlen(alpn);
        FATAL_IF(len > 60, "too long a protocol");
        wire[0] = (unsigned char)len;
        memcpy(wire + 1, alpn, len);
        SSL_set_alpn_protos(ssl, wire, (unsigned)len + 1);
    }
    SSL_set_connect_state(ssl);
    return ssl;
}
