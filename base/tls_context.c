/* tls_context.c - certificates, keys and trust from files, and their reload; see tls.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/tls_impl.h"

enum { TLS_CERT, TLS_KEY, TLS_CA, TLS_FILES };

/* By what a change of a file is seen. */
struct tls_stamp {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec changed;
};

struct tls_context {
    SSL_CTX *ssl;
    char *files[TLS_FILES]; /* NULL = none */
    enum tls_client_auth client_auth;
    char *ciphers; /* OpenSSL's form; NULL = the default */
    int version_min;
    int version_max;
    struct tls_stamp loaded[TLS_FILES];  /* as they were when `ssl` was made */
    struct tls_stamp refused[TLS_FILES]; /* as they were when a failure was last logged */
    bool checked;
    uint64_t checked_ms;
    uint64_t reloads;
};

SSL_CTX *tls_context_ssl(const struct tls_context *x)
{
    return x->ssl;
}

enum tls_client_auth tls_context_auth(const struct tls_context *x)
{
    return x->client_auth;
}

uint64_t tls_context_reloads(const struct tls_context *x)
{
    return x->reloads;
}

/* ---- files ----------------------------------------------------------------------------------- */

static int tls_read_file(const char *path, struct buf *out, struct errmsg *e)
{
    buf_init(out);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        int err = errmsg_set(e, ERR_IO, "open %s: %s", path, strerror(errno));
        if (fd >= 0) {
            (void)close(fd);
        }
        return err;
    }
    int err = 0;
    if (!S_ISREG(st.st_mode)) {
        err = errmsg_set(e, ERR_INVALID, "%s: not a file", path);
    } else if (st.st_size > (off_t)TLS_FILE_BYTES_MAX) {
        err = errmsg_set(e, ERR_INVALID, "%s: larger than %u bytes", path, TLS_FILE_BYTES_MAX);
    }
    /* It may grow meanwhile: no more than the bound is read, and the stamp is then another. */
    while (err == 0 && out->len <= TLS_FILE_BYTES_MAX) {
        if (!buf_reserve(out, 4096)) {
            err = errmsg_set(e, ERR_NOMEM, "%s: out of memory", path);
            break;
        }
        ssize_t n = read(fd, out->data + out->len, out->cap - out->len);
        if (n < 0 && errno != EINTR) {
            err = errmsg_set(e, ERR_IO, "read %s: %s", path, strerror(errno));
        }
        if (n <= 0) {
            break;
        }
        out->len += (size_t)n;
    }
    (void)close(fd);
    if (err != 0) {
        buf_close(out);
    }
    return err;
}

static void tls_stamp_of(const char *path, struct tls_stamp *out)
{
    struct stat st;
    memset(out, 0, sizeof(*out));
    if (path != NULL && stat(path, &st) == 0) {
        out->device = st.st_dev;
        out->inode = st.st_ino;
        out->size = st.st_size;
        out->changed = st.st_mtim;
    }
}

static void tls_stamps(const struct tls_context *x, struct tls_stamp out[TLS_FILES])
{
    for (int i = 0; i < TLS_FILES; i++) {
        tls_stamp_of(x->files[i], &out[i]);
    }
}

static bool tls_stamps_equal(const struct tls_stamp *a, const struct tls_stamp *b)
{
    for (int i = 0; i < TLS_FILES; i++) {
        if (a[i].device != b[i].device || a[i].inode != b[i].inode || a[i].size != b[i].size ||
            a[i].changed.tv_sec != b[i].changed.tv_sec ||
            a[i].changed.tv_nsec != b[i].changed.tv_nsec) {
            return false;
        }
    }
    return true;
}

/* The last thing OpenSSL complained about. */
static const char *tls_reason(void)
{
    const char *text = ERR_reason_error_string(ERR_peek_last_error());
    return text != NULL ? text : "unknown error";
}

/* ---- loading --------------------------------------------------------------------------------- */

static void tls_warn_about_time(const X509 *cert, const char *path)
{
    if (X509_cmp_current_time(X509_get0_notAfter(cert)) < 0) {
        LOG(LOG_WARN, "the server certificate has expired: clients will refuse it",
            F_STR("file", path));
    } else if (X509_cmp_current_time(X509_get0_notBefore(cert)) > 0) {
        LOG(LOG_WARN, "the server certificate is not valid yet: clients will refuse it",
            F_STR("file", path));
    }
}

static int tls_load_chain(SSL_CTX *ssl, const char *path, struct slice text, struct errmsg *e)
{
    int err = 0;
    ERR_clear_error();
    BIO *bio = BIO_new_mem_buf(text.data, (int)text.len);
    X509 *cert = bio != NULL ? PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL) : NULL;
    if (cert == NULL || SSL_CTX_use_certificate(ssl, cert) != 1) {
        err = errmsg_set(e, ERR_INVALID, "%s: %s", path, tls_reason());
    } else {
        tls_warn_about_time(cert, path);
    }
    X509_free(cert);
    while (err == 0) {
        cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        if (cert == NULL) {
            /* The end looks like a missing start line; anything else is a broken certificate. */
            if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) {
                err = errmsg_set(e, ERR_INVALID, "%s: %s", path, tls_reason());
            }
            break;
        }
        if (SSL_CTX_add0_chain_cert(ssl, cert) != 1) {
            X509_free(cert);
            err = errmsg_set(e, ERR_INVALID, "%s: %s", path, tls_reason());
        }
    }
    ERR_clear_error();
    BIO_free(bio);
    return err;
}

/* There is nobody to ask for a passphrase. */
static int tls_no_passphrase(char *out, int size, int writing, void *data)
{
    (void)out, (void)size, (void)writing;
    *(bool *)data = true;
    return -1;
}

static int tls_load_key(SSL_CTX *ssl, const char *path, struct slice text, struct errmsg *e)
{
    int err = 0;
    ERR_clear_error();
    bool encrypted = false;
    BIO *bio = BIO_new_mem_buf(text.data, (int)text.len);
    EVP_PKEY *key =
        bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, tls_no_passphrase, &encrypted) : NULL;
    if (encrypted) {
        err = errmsg_set(e, ERR_INVALID,
                         "%s: the key is encrypted: kvd takes keys without a "
                         "passphrase",
                         path);
    } else if (key == NULL) {
        /* OpenSSL 3 has only "unsupported" for a text that is no key at all. */
        bool start = memmem(text.data, text.len, "-----BEGIN ", 11) != NULL;
        err = errmsg_set(e, ERR_INVALID, "%s: %s", path, start ? tls_reason() : "no start line");
    } else if (SSL_CTX_use_PrivateKey(ssl, key) != 1 &&
               ERR_GET_REASON(ERR_peek_last_error()) != X509_R_KEY_VALUES_MISMATCH &&
               ERR_GET_REASON(ERR_peek_last_error()) != X509_R_KEY_TYPE_MISMATCH) {
        err = errmsg_set(e, ERR_INVALID, "%s: %s", path, tls_reason());
    }
    ERR_clear_error();
    EVP_PKEY_free(key);
    BIO_free(bio);
    return err;
}

/* Every certificate of the file is trusted by itself, also an intermediate: as Go's pools are. */
static int tls_load_trust(SSL_CTX *ssl, const char *path, struct slice text, struct errmsg *e)
{
    int err = 0;
    ERR_clear_error();
    BIO *bio = BIO_new_mem_buf(text.data, (int)text.len);
    size_t count = 0;
    X509 *cert;
    while (err == 0 && bio != NULL && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        if (X509_STORE_add_cert(SSL_CTX_get_cert_store(ssl), cert) != 1 ||
            SSL_CTX_add_client_CA(ssl, cert) != 1) {
            err = errmsg_set(e, ERR_INVALID, "%s: %s", path, tls_reason());
        }
        X509_free(cert);
        count++;
    }
    if (err == 0 && (count == 0 || ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)) {
        err = errmsg_set(e, ERR_INVALID, "%s: %s", path, tls_reason());
    }
    ERR_clear_error();
    BIO_free(bio);
    return err;
}

/* The client's first protocol that we speak, h2 before http/1.1 whatever its order. */
static int tls_select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                           const unsigned char *in, unsigned in_len, void *data)
{
    static const unsigned char ours[] = "\x02h2\x08http/1.1";
    (void)ssl, (void)data;
    int rv = SSL_select_next_proto((unsigned char **)(uintptr_t)out, out_len, ours,
                                   sizeof(ours) - 1, in, in_len);
    return rv == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* Of TLS 1.3 we prefer what Go's servers do: AES with the shorter key is as safe here, and a tenth
 * faster, which is seen in long answers. */
static const char tls_suites_13[] =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

static int tls_protocol(int version)
{
    return version == 13 ? TLS1_3_VERSION : version == 12 ? TLS1_2_VERSION : 0;
}

static int tls_set_up(const struct tls_context *x, SSL_CTX *ssl, struct errmsg *e)
{
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_num_tickets(ssl, 0);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_alpn_select_cb(ssl, tls_select_alpn, NULL);
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ssl), X509_V_FLAG_PARTIAL_CHAIN);
    int least = tls_protocol(x->version_min);
    if (SSL_CTX_set_min_proto_version(ssl, least != 0 ? least : TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_max_proto_version(ssl, tls_protocol(x->version_max)) != 1) {
        return errmsg_set(e, ERR_INVALID, "TLS versions: %s", tls_reason());
    }
    if (SSL_CTX_set_ciphersuites(ssl, tls_suites_13) != 1) {
        return errmsg_set(e, ERR_INVALID, "TLS 1.3 cipher suites: %s", tls_reason());
    }
    if (x->ciphers != NULL && SSL_CTX_set_cipher_list(ssl, x->ciphers) != 1) {
        return errmsg_set(e, ERR_INVALID, "TLS cipher suites: %s", tls_reason());
    }
    if (x->client_auth != TLS_CLIENT_NONE) {
        int mode = SSL_VERIFY_PEER;
        if (x->client_auth == TLS_CLIENT_REQUIRE) {
            mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
        }
        SSL_CTX_set_verify(ssl, mode, tls_verify_callback);
    }
    return 0;
}

/* One of certificate, key, trust: the bytes given, or the file's. */
static int tls_load_part(const struct tls_context *x, SSL_CTX *ssl, int which,
                         const struct slice *pem, struct errmsg *e)
{
    static const char *const names[] = {"certificate", "key", "client CA"};
    static int (*const loaders[])(SSL_CTX *, const char *, struct slice,
                                  struct errmsg *) = {tls_load_chain, tls_load_key, tls_load_trust};
    if (pem != NULL) {
        return pem[which].len > TLS_FILE_BYTES_MAX
                   ? errmsg_set(e, ERR_INVALID, "%s: larger than %u bytes", names[which],
                                TLS_FILE_BYTES_MAX)
                   : loaders[which](ssl, names[which], pem[which], e);
    }
    struct buf text;
    int err = tls_read_file(x->files[which], &text, e);
    if (err != 0) {
        return err;
    }
    err = loaders[which](ssl, x->files[which], buf_slice(&text), e);
    if (which == TLS_KEY && text.data != NULL) {
        OPENSSL_cleanse(text.data, text.cap);
    }
    buf_close(&text);
    return err;
}

/* pem: TLS_FILES slices, or NULL for the files. */
static int tls_load(const struct tls_context *x, const struct slice *pem, SSL_CTX **out,
                    struct errmsg *e)
{
    SSL_CTX *ssl = SSL_CTX_new(TLS_server_method());
    if (ssl == NULL) {
        return errmsg_set(e, ERR_NOMEM, "TLS: out of memory");
    }
    bool trust = pem != NULL ? pem[TLS_CA].len > 0 : x->files[TLS_CA] != NULL;
    int err = tls_set_up(x, ssl, e);
    if (err == 0) {
        err = tls_load_part(x, ssl, TLS_CERT, pem, e);
    }
    if (err == 0) {
        err = tls_load_part(x, ssl, TLS_KEY, pem, e);
    }
    if (err == 0 && SSL_CTX_check_private_key(ssl) != 1) {
        err = errmsg_set(e, ERR_INVALID, "%s, %s: private key does not match public key",
                         pem != NULL ? "certificate" : x->files[TLS_CERT],
                         pem != NULL ? "key" : x->files[TLS_KEY]);
    }
    if (err == 0 && trust) {
        err = tls_load_part(x, ssl, TLS_CA, pem, e);
    } else if (err == 0 && x->client_auth == TLS_CLIENT_REQUIRE) {
        (void)SSL_CTX_set_default_verify_paths(ssl);
    }
    ERR_clear_error();
    if (err != 0) {
        SSL_CTX_free(ssl);
        return err;
    }
    *out = ssl;
    return 0;
}

/* ---- contexts -------------------------------------------------------------------------------- */

void tls_context_free(struct tls_context *x)
{
    if (x == NULL) {
        return;
    }
    SSL_CTX_free(x->ssl);
    mem_free(x->ciphers);
    for (int i = 0; i < TLS_FILES; i++) {
        mem_free(x->files[i]);
    }
    mem_free(x);
}

/* "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" to "ECDHE-RSA-AES128-GCM-SHA256"; NULL: unknown. */
static const char *tls_cipher_name(const char *suite)
{
    char longer[128];
    const char *name = OPENSSL_cipher_name(suite);
    if (name == NULL || name[0] == '(') {
        snprintf(longer, sizeof(longer), "%s_SHA256", suite);
        name = OPENSSL_cipher_name(longer);
    }
    return name == NULL || name[0] == '(' ? NULL : name;
}

static int tls_set_ciphers(struct tls_context *x, const char *const *suites, struct errmsg *e)
{
    struct buf list;
    bool any = false;
    int err = 0;
    buf_init(&list);
    for (; err == 0 && suites != NULL && *suites != NULL; suites++) {
        const char *name = tls_cipher_name(*suites);
        any = true;
        if (name == NULL) {
            err = errmsg_set(e, ERR_INVALID, "unexpected TLS cipher suite \"%s\"", *suites);
        } else if (strncmp(name, "TLS_", 4) != 0) { /* TLS 1.3 has one kind of name */
            buf_append_str(&list, list.len > 0 ? ":" : "");
            buf_append_str(&list, name);
        }
    }
    if (err == 0 && any && list.len == 0) {
        x->version_min = 13;
    } else if (err == 0 && any) {
        buf_append_byte(&list, '\0');
        x->ciphers = list.failed ? NULL : mem_strdup((const char *)list.data);
        err = x->ciphers != NULL ? 0 : errmsg_set(e, ERR_NOMEM, "TLS: out of memory");
    }
    buf_close(&list);
    return err;
}

struct tls_context *tls_context_new(const struct tls_options *options, struct errmsg *e)
{
    const struct slice pem[TLS_FILES] = {options->cert_pem, options->key_pem, options->ca_pem};
    const bool bytes = pem[TLS_CERT].len > 0;
    const char *files[TLS_FILES] = {bytes ? NULL : options->cert_file,
                                    bytes ? NULL : options->key_file,
                                    bytes ? NULL : options->ca_file};
    struct tls_context *x = mem_zalloc(sizeof(*x));
    if (x == NULL) {
        (void)errmsg_set(e, ERR_NOMEM, "TLS: out of memory");
        return NULL;
    }
    x->client_auth = options->client_auth;
    x->version_min = options->version_min;
    x->version_max = options->version_max;
    for (int i = 0; i < TLS_FILES; i++) {
        x->files[i] = files[i] != NULL ? mem_strdup(files[i]) : NULL;
        if (files[i] != NULL && x->files[i] == NULL) {
            (void)errmsg_set(e, ERR_NOMEM, "TLS: out of memory");
            tls_context_free(x);
            return NULL;
        }
    }
    tls_stamps(x, x->loaded);
    if (tls_set_ciphers(x, options->cipher_suites, e) != 0 ||
        tls_load(x, bytes ? pem : NULL, &x->ssl, e) != 0) {
        tls_context_free(x);
        return NULL;
    }
    return x;
}

static int tls_context_load(struct tls_context *x, const struct tls_stamp *stamps, struct errmsg *e)
{
    SSL_CTX *ssl;
    int err = tls_load(x, NULL, &ssl, e);
    if (err != 0) {
        return err;
    }
    SSL_CTX_free(x->ssl);
    x->ssl = ssl;
    memcpy(x->loaded, stamps, sizeof(x->loaded));
    x->reloads++;
    return 0;
}

void tls_context_take(struct tls_context *x, struct tls_context *from)
{
    struct tls_context old = *x;
    *x = *from;
    x->reloads = old.reloads + 1;
    *from = old;
    tls_context_free(from);
}

int tls_context_reload(struct tls_context *x, struct errmsg *e)
{
    if (x->files[TLS_CERT] == NULL) {
        return errmsg_set(e, ERR_INVALID, "the certificate was given as bytes");
    }
    /* Looked at before they are read: a change in between is seen as one later. */
    struct tls_stamp stamps[TLS_FILES];
    tls_stamps(x, stamps);
    return tls_context_load(x, stamps, e);
}

void tls_context_refresh(struct tls_context *x, uint64_t now_ms)
{
    if (x->files[TLS_CERT] == NULL || (x->checked && now_ms - x->checked_ms < TLS_CHECK_MS)) {
        return;
    }
    x->checked = true;
    x->checked_ms = now_ms;
    struct tls_stamp stamps[TLS_FILES];
    struct errmsg e;
    tls_stamps(x, stamps);
    if (tls_stamps_equal(stamps, x->loaded)) {
        return;
    }
    if (tls_context_load(x, stamps, &e) == 0) {
        LOG(LOG_INFO, "took up changed TLS files", F_STR("cert-file", x->files[TLS_CERT]),
            F_STR("key-file", x->files[TLS_KEY]));
    } else if (!tls_stamps_equal(stamps, x->refused)) {
        memcpy(x->refused, stamps, sizeof(x->refused));
        LOG(LOG_WARN, "cannot take up changed TLS files, the old ones stay in use",
            F_STR("error", e.text));
    }
}
