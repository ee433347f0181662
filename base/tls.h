/* tls.h - TLS for a server, bytes in and bytes out: no sockets, no loop. OpenSSL is inside and not
 * seen by others.
 *
 * A context is what a listener is configured with: certificate, key, whom to trust. It may be
 * loaded again while it serves; connections keep what they began with. A struct tls is one
 * connection: ciphertext goes in by tls_input and comes out by tls_output, plaintext by tls_read
 * and tls_write. Neither copies more than it must: input is decrypted from where it lies.
 *
 * TLS 1.2 and 1.3, ALPN h2 and http/1.1, no renegotiation, no compression, no session tickets or
 * caches: a connection lives long, and a resumed session would pass by a changed trust. One thread
 * for a context and its connections; a context may be made on another one and handed over. */
#ifndef KVD_BASE_TLS_H
#define KVD_BASE_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

struct tls_context;
struct tls;

enum tls_client_auth {
    TLS_CLIENT_NONE,    /* clients are not asked for a certificate */
    TLS_CLIENT_REQUEST, /* asked; none, or one that cannot be verified, is let in: the peer's
                           `verified` says which */
    TLS_CLIENT_REQUIRE, /* only clients with a certificate that is verified */
};

/* Texts are copied. */
struct tls_options {
    const char *cert_file; /* PEM: the certificate, then its intermediates */
    const char *key_file;  /* PEM, without passphrase */
    const char *ca_file;   /* PEM: who may have signed clients' certificates, roots or
                              intermediates; NULL: the system's list when clients are required */
    /* Instead of the files, when cert_pem is not empty: the same as bytes, read during the call. */
    struct slice cert_pem;
    struct slice key_pem;
    struct slice ca_pem;
    enum tls_client_auth client_auth;
    /* TLS 1.2 suites by their IANA names (Go's, also its short ..._CHACHA20_POLY1305), ended by
     * NULL; NULL or empty: the default. Those of TLS 1.3 may be among them and change nothing, as
     * in Go; none but them means no TLS 1.2. */
    const char *const *cipher_suites;
    int version_min; /* 12 or 13; 0 = 12 */
    int version_max; /* 12 or 13; 0 = the newest */
};

/* Loads the files (blocks on them; they may have TLS_FILE_BYTES_MAX each). NULL with a sentence in
 * e: "server.pem: no start line", "key.pem: the key is encrypted", "cert.pem, key.pem: private key
 * does not match public key", 'unexpected TLS cipher suite "X"'. A certificate that has expired or
 * is not valid yet is loaded, with a warning in the log: the clock may be what is wrong. */
struct tls_context *tls_context_new(const struct tls_options *options, struct errmsg *e);
/* Connections that were made with it may live on. NULL is fine. */
void tls_context_free(struct tls_context *x);
/* Loads the files again. On failure the old ones stay; e has the sentence. */
int tls_context_reload(struct tls_context *x, struct errmsg *e);
/* Reloads when a file has changed; looks at most once in TLS_CHECK_MS. Called before a handshake,
 * so the cost is three stat calls per second. A failure is logged once per change, and tried again:
 * certificate and key are seldom replaced at the same instant. now_ms is monotonic. */
void tls_context_refresh(struct tls_context *x, uint64_t now_ms);
/* x goes on with the certificate, key, trust and versions of `from`, which is freed: connections
 * made from now on use them. */
void tls_context_take(struct tls_context *x, struct tls_context *from);
/* How often new files were taken up. */
uint64_t tls_context_reloads(const struct tls_context *x);

/* The server's end of one connection. NULL when out of memory. Borrows nothing of x. */
struct tls *tls_new(struct tls_context *x);
void tls_free(struct tls *t); /* NULL is fine */

enum tls_result {
    TLS_OK,
    TLS_WANT,   /* nothing (more) until tls_input brings something */
    TLS_EOF,    /* the peer has said that it will send no more */
    TLS_FAILED, /* over; tls_error has the reason, tls_output perhaps an alert */
};

/* Lends ciphertext, which must stay valid and be used up before the next: call tls_handshake until
 * it is done, then tls_read, until one of them says something else than TLS_OK. */
void tls_input(struct tls *t, struct slice bytes);
/* TLS_OK once established. */
enum tls_result tls_handshake(struct tls *t);
bool tls_established(const struct tls *t);
/* Up to `size` bytes of plaintext (a record's rest at a time). TLS_OK: *len > 0 bytes. */
enum tls_result tls_read(struct tls *t, uint8_t *out, size_t size, size_t *len);
/* Makes room for so many bytes at once: several writes follow, each of whole records but the last.
 */
void tls_expect(struct tls *t, size_t len);
/* Encrypts all of it (len > 0) into the output. TLS_OK or TLS_FAILED. */
enum tls_result tls_write(struct tls *t, const uint8_t *data, size_t len);
/* Says that no more will be written. Nothing after a failure. */
void tls_close_notify(struct tls *t);
/* Ciphertext for the peer; valid until the next call. */
struct slice tls_output(struct tls *t);
/* Gives the output away: *to, which is empty, is what tls_output told, its bytes in place. */
void tls_output_move(struct tls *t, struct buf *to);
/* The memory of *from is the output's from now on, if that has none; *from is then empty. */
void tls_output_lend(struct tls *t, struct buf *from);
/* The first n bytes of it were taken. */
void tls_output_taken(struct tls *t, size_t n);
/* After TLS_FAILED: why, in the words Go's crypto/tls has for it, which operators search for. */
const char *tls_error(const struct tls *t);

enum tls_name_kind { TLS_NAME_DNS, TLS_NAME_IP, TLS_NAME_URI, TLS_NAME_EMAIL };

struct tls_name {
    enum tls_name_kind kind;
    const char *text; /* IP addresses as text */
};

/* Who the client is, by its certificate. */
struct tls_peer {
    bool verified;            /* signed by one we trust, valid now, meant for clients */
    const char *verify_error; /* when not: why; else "" */
    const char *common_name;  /* "" = none */
    const char *const *organizations;
    size_t organization_count;
    const struct tls_name *names; /* subject alternative names of the kinds above */
    size_t name_count;
    int64_t not_after_s; /* seconds since 1970 */
    uint8_t sha256[32];  /* of the certificate (DER) */
};

/* NULL before the handshake's end, or without a client certificate. Lives as long as t. */
const struct tls_peer *tls_peer(const struct tls *t);

#endif
