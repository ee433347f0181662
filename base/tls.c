/* tls.c - one connection; see tls.h. OpenSSL reads and writes through a BIO of our own, which lends
 * it the caller's bytes and collects its records in a buffer that can be given back: OpenSSL's own
 * memory BIO copies once more and keeps its largest size for ever. */
#include "base/tls.h"

#include <pthread.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/assert.h"
#include "base/tls_impl.h"

/* Plaintext of a record, and what encryption adds to it at most, in one piece of output. */
#define TLS_RECORD_BYTES      (16u * 1024u)
#define TLS_RECORD_MORE_BYTES 64u

/* ---- words ----------------------------------------------------------------------------------- */

const char *tls_verify_text(int verify_error)
{
    switch (verify_error) {
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
        return "certificate signed by unknown authority";
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return "certificate has expired or is not yet valid";
    case X509_V_ERR_INVALID_PURPOSE:
        return "certificate specifies an incompatible key usage";
    default:
        return X509_verify_cert_error_string(verify_error);
    }
}

static const char *tls_alert_text(int alert)
{
    static const struct {
        int alert;
        const char *text;
    } texts[] = {
        {10, "unexpected message"},
        {20, "bad record MAC"},
        {40, "handshake failure"},
        {42, "bad certificate"},
        {43, "unsupported certificate"},
        {44, "revoked certificate"},
        {45, "expired certificate"},
        {46, "unknown certificate"},
        {47, "illegal parameter"},
        {48, "unknown certificate authority"},
        {49, "access denied"},
        {50, "error decoding message"},
        {51, "error decrypting message"},
        {70, "protocol version not supported"},
        {71, "insufficient security level"},
        {80, "internal error"},
        {90, "user canceled"},
        {112, "unrecognized name"},
        {116, "certificate required"},
        {120, "no application protocol"},
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (texts[i].alert == alert) {
            return texts[i].text;
        }
    }
    return NULL;
}

static void tls_explain_reason(struct tls *t, int reason)
{
    switch (reason) {
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        (void)errmsg_set(&t->error, ERR_INVALID, "tls: client didn't provide a certificate");
        break;
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
        (void)errmsg_set(&t->error, ERR_INVALID, "tls: failed to verify certificate: x509: %s",
                         tls_verify_text(t->verify_error));
        break;
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
    case SSL_R_WRONG_VERSION_NUMBER:
        (void)errmsg_set(&t->error, ERR_INVALID,
                         "tls: first record does not look like a TLS handshake");
        break;
    case SSL_R_UNSUPPORTED_PROTOCOL:
        (void)errmsg_set(&t->error, ERR_INVALID, "tls: client offered only unsupported versions");
        break;
    case SSL_R_NO_SHARED_CIPHER:
        (void)errmsg_set(&t->error, ERR_INVALID,
                         "tls: no cipher suite supported by both client and server");
        break;
    case SSL_R_NO_APPLICATION_PROTOCOL:
        (void)errmsg_set(&t->error, ERR_INVALID,
                         "tls: client requested unsupported application protocols");
        break;
    default: {
        const char *text = ERR_reason_error_string(ERR_peek_error());
        (void)errmsg_set(&t->error, ERR_INVALID, "tls: %s", text != NULL ? text : "unknown error");
        break;
    }
    }
}

static enum tls_result tls_fail(struct tls *t)
{
    unsigned long code = ERR_peek_error();
    int reason = ERR_GET_REASON(code);
    t->failed = true;
    if (t->error.text[0] != '\0') {
        return TLS_FAILED;
    }
    if (ERR_GET_LIB(code) == ERR_LIB_SSL && reason >= SSL_AD_REASON_OFFSET) {
        const char *text = tls_alert_text(reason - SSL_AD_REASON_OFFSET);
        (void)errmsg_set(&t->error, ERR_INVALID, "remote error: tls: %s",
                         text != NULL ? text : ERR_reason_error_string(code));
    } else {
        tls_explain_reason(t, reason);
    }
    ERR_clear_error();
    return TLS_FAILED;
}

const char *tls_error(const struct tls *t)
{
    return t->error.text;
}

/* ---- the BIO --------------------------------------------------------------------------------- */

static int tls_bio_read(BIO *bio, char *out, size_t size, size_t *len)
{
    struct tls *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (t->input.len == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    *len = size < t->input.len ? size : t->input.len;
    memcpy(out, t->input.data, *len);
    t->input = slice_of(t->input.data + *len, t->input.len - *len);
    return 1;
}

static int tls_bio_write(BIO *bio, const char *data, size_t len, size_t *written)
{
    struct tls *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (!buf_append(&t->output, data, len)) {
        (void)errmsg_set(&t->error, ERR_NOMEM, "out of memory");
        return 0;
    }
    *written = len;
    return 1;
}

static long tls_bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

/* Made once, kept for the process's life. Loops of several threads may have listeners. */
static BIO_METHOD *tls_bio_method;
static pthread_once_t tls_bio_once = PTHREAD_ONCE_INIT;

static void tls_bio_make(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "kvd bytes");
    if (m != NULL && BIO_meth_set_read_ex(m, tls_bio_read) == 1 &&
        BIO_meth_set_write_ex(m, tls_bio_write) == 1 && BIO_meth_set_ctrl(m, tls_bio_ctrl) == 1) {
        tls_bio_method = m;
    }
}

static BIO *tls_bio_new(struct tls *t)
{
    (void)pthread_once(&tls_bio_once, tls_bio_make);
    BIO *bio = tls_bio_method != NULL ? BIO_new(tls_bio_method) : NULL;
    if (bio != NULL) {
        BIO_set_data(bio, t);
        BIO_set_init(bio, 1);
    }
    return bio;
}

/* ---- life ------------------------------------------------------------------------------------ */

int tls_verify_callback(int ok, X509_STORE_CTX *store)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls *t = SSL_get_app_data(ssl);
    if (ok == 1) {
        return 1;
    }
    if (t->verify_error == X509_V_OK) {
        t->verify_error = X509_STORE_CTX_get_error(store);
    }
    if (t->client_auth == TLS_CLIENT_REQUEST) {
        return 1; /* remembered, and told by the peer's `verified` */
    }
    /* The alert is then bad_certificate, as Go servers send it for all of these. */
    X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);
    return 0;
}

struct tls *tls_new(struct tls_context *x)
{
    struct tls *t = mem_zalloc(sizeof(*t));
    if (t == NULL) {
        return NULL;
    }
    arena_init(&t->arena, 0);
    t->client_auth = tls_context_auth(x);
    t->verify_error = X509_V_OK;
    t->ssl = SSL_new(tls_context_ssl(x));
    BIO *bio = tls_bio_new(t);
    if (t->ssl == NULL || bio == NULL) {
        BIO_free(bio);
        SSL_free(t->ssl);
        mem_free(t);
        ERR_clear_error();
        return NULL;
    }
    SSL_set_bio(t->ssl, bio, bio); /* takes it */
    SSL_set_app_data(t->ssl, t);
    SSL_set_accept_state(t->ssl);
    return t;
}

void tls_free(struct tls *t)
{
    if (t != NULL) {
        SSL_free(t->ssl);
        arena_close(&t->arena);
        buf_close(&t->output);
        mem_free(t);
    }
}

/* ---- bytes ----------------------------------------------------------------------------------- */

void tls_input(struct tls *t, struct slice bytes)
{
    ASSERT(t->input.len == 0 || t->failed);
    t->input = bytes;
}

enum tls_result tls_handshake(struct tls *t)
{
    if (t->failed) {
        return TLS_FAILED;
    }
    if (t->established) {
        return TLS_OK;
    }
    ERR_clear_error();
    int rv = SSL_do_handshake(t->ssl);
    if (rv != 1) {
        return SSL_get_error(t->ssl, rv) == SSL_ERROR_WANT_READ ? TLS_WANT : tls_fail(t);
    }
    if (!tls_peer_read(t)) {
        t->peer = NULL;
        return tls_fail(t);
    }
    t->established = true;
    return TLS_OK;
}

bool tls_established(const struct tls *t)
{
    return t->established;
}

enum tls_result tls_read(struct tls *t, uint8_t *out, size_t size, size_t *len)
{
    if (t->failed) {
        return TLS_FAILED;
    }
    ERR_clear_error();
    int rv = SSL_read_ex(t->ssl, out, size, len);
    if (rv == 1) {
        return TLS_OK;
    }
    *len = 0;
    switch (SSL_get_error(t->ssl, rv)) {
    case SSL_ERROR_WANT_READ:
        return TLS_WANT;
    case SSL_ERROR_ZERO_RETURN:
        return TLS_EOF;
    default:
        return tls_fail(t);
    }
}

void tls_expect(struct tls *t, size_t len)
{
    if (!t->failed) {
        (void)buf_reserve(&t->output, len + (len / TLS_RECORD_BYTES + 1) * TLS_RECORD_MORE_BYTES);
    }
}

enum tls_result tls_write(struct tls *t, const uint8_t *data, size_t len)
{
    if (t->failed) {
        return TLS_FAILED;
    }
    size_t written = 0;
    ERR_clear_error();
    /* The output grows as needed, so nothing is ever written in part. */
    if (SSL_write_ex(t->ssl, data, len, &written) != 1 || written != len) {
        return tls_fail(t);
    }
    return TLS_OK;
}

void tls_close_notify(struct tls *t)
{
    if (t->established && !t->failed) {
        ERR_clear_error();
        (void)SSL_shutdown(t->ssl);
        ERR_clear_error();
    }
}

struct slice tls_output(struct tls *t)
{
    return buf_slice(&t->output);
}

void tls_output_move(struct tls *t, struct buf *to)
{
    *to = t->output;
    buf_init(&t->output);
}

void tls_output_lend(struct tls *t, struct buf *from)
{
    if (t->output.cap == 0 && !t->output.failed) {
        buf_clear(from);
        t->output = *from;
        buf_init(from);
    }
}

void tls_output_taken(struct tls *t, size_t n)
{
    if (n == t->output.len) {
        buf_close(&t->output); /* an idle connection keeps no buffer */
    } else {
        buf_consume(&t->output, n);
    }
}

const struct tls_peer *tls_peer(const struct tls *t)
{
    return t->established ? t->peer : NULL;
}
