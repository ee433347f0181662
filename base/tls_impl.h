/* tls_impl.h - the inside of contexts and connections, for tls.c, tls_context.c and tls_peer.c. */
#ifndef KVD_BASE_TLS_IMPL_H
#define KVD_BASE_TLS_IMPL_H

#include <openssl/ssl.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/tls.h"

struct tls {
    SSL *ssl;
    struct slice input; /* ciphertext lent by tls_input, what is left of it */
    struct buf output;  /* ciphertext not taken yet */
    enum tls_client_auth client_auth;
    int verify_error; /* X509_V_..., the first one */
    bool established;
    bool failed;
    struct arena arena; /* of peer */
    struct tls_peer *peer;
    struct errmsg error;
};

/* tls_context.c: what a new connection uses. */
SSL_CTX *tls_context_ssl(const struct tls_context *x);
enum tls_client_auth tls_context_auth(const struct tls_context *x);
/* tls.c: OpenSSL's callback for each problem of a peer's certificate. */
int tls_verify_callback(int ok, X509_STORE_CTX *store);
/* tls.c: Go's words for a verification result. */
const char *tls_verify_text(int verify_error);
/* tls_peer.c: reads the peer's certificate into t->peer. false: out of memory, or a name that is
 * no text; t->error says which. */
bool tls_peer_read(struct tls *t);

#endif
