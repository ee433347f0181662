/* cert.c - certificates by OpenSSL 3. */
#include "plugins/apiserver/cert.h"

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <time.h>

/* Clocks of clients may be a little behind. */
#define CERT_EARLY_SECONDS 300

static X509 *cert_read(struct slice pem)
{
    if (pem.len == 0 || pem.len > INT32_MAX) {
        return NULL;
    }
    BIO *in = BIO_new_mem_buf(pem.data, (int)pem.len);
    X509 *cert = in == NULL ? NULL : PEM_read_bio_X509(in, NULL, NULL, NULL);
    BIO_free(in);
    ERR_clear_error();
    return cert;
}

static bool cert_write(X509 *cert, struct buf *pem)
{
    BIO *out = BIO_new(BIO_s_mem());
    char *text = NULL;
    bool ok = out != NULL && PEM_write_bio_X509(out, cert) == 1;
    long len = ok ? BIO_get_mem_data(out, &text) : 0;
    ok = ok && len > 0 && buf_append(pem, text, (size_t)len);
    BIO_free(out);
    return ok;
}

static bool cert_add_name(X509_NAME *name, const char *field, const char *text)
{
    return X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, (const uint8_t *)text, -1, -1,
                                      0) == 1;
}

static bool cert_extend(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *x = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool ok = x != NULL && X509_add_ext(cert, x, -1) == 1;
    X509_EXTENSION_free(x);
    return ok;
}

static bool cert_set_serial(X509 *cert)
{
    uint8_t bytes[16];
    BIGNUM *n = NULL;
    bool ok = crypto_random(bytes, sizeof bytes);
    bytes[0] = (uint8_t)((bytes[0] & 0x7f) | 0x40); /* positive, and never shorter */
    n = ok ? BN_bin2bn(bytes, sizeof bytes, NULL) : NULL;
    ok = n != NULL && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert)) != NULL;
    BN_free(n);
    return ok;
}

/* All but names of the subject, extensions and the signature. NULL: OpenSSL could not. */
static X509 *cert_new(const struct crypto_key *key, int64_t now, int64_t seconds)
{
    X509 *cert = X509_new();
    if (cert != NULL && X509_set_version(cert, X509_VERSION_3) == 1 && cert_set_serial(cert) &&
        ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)(now - CERT_EARLY_SECONDS)) != NULL &&
        ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)(now + seconds)) != NULL &&
        X509_set_pubkey(cert, crypto_key_handle(key)) == 1) {
        return cert;
    }
    X509_free(cert);
    return NULL;
}

int cert_make_authority(const struct crypto_key *key, const char *name, int64_t now,
                        int64_t seconds, struct buf *pem)
{
    X509 *cert = cert_new(key, now, seconds);
    bool ok = cert != NULL && cert_add_name(X509_get_subject_name(cert), "CN", name) &&
              X509_set_issuer_name(cert, X509_get_subject_name(cert)) == 1 &&
              cert_extend(cert, cert, NID_basic_constraints, "critical,CA:TRUE") &&
              cert_extend(cert, cert, NID_key_usage,
                          "critical,digitalSignature,keyEncipherment,keyCertSign") &&
              cert_extend(cert, cert, NID_subject_key_identifier, "hash") &&
              X509_sign(cert, crypto_key_handle(key), EVP_sha256()) > 0 && cert_write(cert, pem);
    X509_free(cert);
    ERR_clear_error();
    return ok ? 0 : ERR_NOMEM;
}

static bool cert_extend_leaf(X509 *cert, X509 *ca, const struct cert_wanted *w)
{
    return cert_extend(cert, ca, NID_basic_constraints, "critical,CA:FALSE") &&
           cert_extend(cert, ca, NID_key_usage, "critical,digitalSignature,keyEncipherment") &&
           cert_extend(cert, ca, NID_ext_key_usage,
                       w->names != NULL ? "serverAuth" : "clientAuth") &&
           cert_extend(cert, ca, NID_authority_key_identifier, "keyid") &&
           (w->names == NULL || cert_extend(cert, ca, NID_subject_alt_name, w->names));
}

int cert_make(const struct cert_wanted *w, const struct crypto_key *key, struct slice ca_pem,
              const struct crypto_key *ca_key, struct buf *pem, struct errmsg *e)
{
    X509 *ca = cert_read(ca_pem);
    X509 *cert = cert_new(key, w->now, w->seconds);
    X509_NAME *subject = cert == NULL ? NULL : X509_get_subject_name(cert);
    int rc = 0;
    bool ok = subject != NULL;
    if (ca == NULL || X509_check_private_key(ca, crypto_key_handle(ca_key)) != 1) {
        rc = errmsg_set(e, ERR_INVALID,
                        ca == NULL ? "the CA is no certificate"
                                   : "the CA's key is not that of its certificate");
    }
    for (size_t i = 0; ok && i < CERT_GROUPS_MAX && w->groups[i] != NULL; i++) {
        ok = cert_add_name(subject, "O", w->groups[i]);
    }
    ok = ok && cert_add_name(subject, "CN", w->user);
    if (rc == 0 && ok && !cert_extend_leaf(cert, ca, w)) {
        rc = errmsg_set(e, ERR_INVALID, "a name cannot be in a certificate: %.300s",
                        w->names == NULL ? w->user : w->names);
    }
    if (rc == 0) {
        ok = ok && X509_set_issuer_name(cert, X509_get_subject_name(ca)) == 1 &&
             X509_sign(cert, crypto_key_handle(ca_key), EVP_sha256()) > 0 && cert_write(cert, pem);
        rc = ok ? 0 : errmsg_set(e, ERR_NOMEM, "a certificate could not be made");
    }
    X509_free(ca);
    X509_free(cert);
    ERR_clear_error();
    return rc;
}

static bool cert_has_names(X509 *cert, const char *names)
{
    X509_EXTENSION *want = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, names);
    int at = X509_get_ext_by_NID(cert, NID_subject_alt_name, -1);
    bool same = want != NULL && at >= 0 &&
                ASN1_OCTET_STRING_cmp(X509_EXTENSION_get_data(want),
                                      X509_EXTENSION_get_data(X509_get_ext(cert, at))) == 0;
    X509_EXTENSION_free(want);
    return same;
}

bool cert_fits(struct slice cert_pem, const struct crypto_key *key, struct slice ca_pem,
               const char *names, int64_t until)
{
    X509 *cert = cert_read(cert_pem);
    X509 *ca = cert_read(ca_pem);
    time_t end = (time_t)until;
    bool ok = cert != NULL && ca != NULL &&
              X509_check_private_key(cert, crypto_key_handle(key)) == 1 &&
              X509_verify(cert, X509_get0_pubkey(ca)) == 1 &&
              X509_cmp_time(X509_get0_notAfter(cert), &end) > 0 &&
              (names == NULL || cert_has_names(cert, names));
    X509_free(cert);
    X509_free(ca);
    ERR_clear_error();
    return ok;
}

bool cert_end(struct slice cert_pem, int64_t *out)
{
    X509 *cert = cert_read(cert_pem);
    struct tm tm;
    bool ok = cert != NULL && ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm) == 1;
    if (ok) {
        *out = (int64_t)timegm(&tm);
    }
    X509_free(cert);
    ERR_clear_error();
    return ok;
}

bool cert_is_of(struct slice cert_pem, const struct crypto_key *key)
{
    X509 *cert = cert_read(cert_pem);
    bool ok = cert != NULL && X509_check_private_key(cert, crypto_key_handle(key)) == 1;
    X509_free(cert);
    ERR_clear_error();
    return ok;
}
