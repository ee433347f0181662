/* crypto.h - keys and signatures. OpenSSL is in this file's and cert.h's implementation only.
 *
 * A key is the private half, or the public one alone. Keys may be read by several threads; whoever
 * made one frees it. */
#ifndef KVD_APISERVER_CRYPTO_H
#define KVD_APISERVER_CRYPTO_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

struct crypto_key;

/* A new private key on the curve P-256. NULL: OpenSSL could not. About a tenth of a millisecond. */
struct crypto_key *crypto_key_new(void);
/* Number `index` of the keys in a PEM text: private ones, public ones, those of certificates. NULL:
 * there are no more, or it is none that can sign tokens (RSA from 2048 bits, P-256, P-384, P-521).
 */
struct crypto_key *crypto_key_read(struct slice pem, size_t index);
void crypto_key_free(struct crypto_key *k); /* NULL is fine */
/* Appends the key as PEM: PKCS 8, or with public_half SubjectPublicKeyInfo. False: out of memory.
 */
bool crypto_key_write(const struct crypto_key *k, bool public_half, struct buf *pem);
bool crypto_key_is_private(const struct crypto_key *k);
/* "ES256", "RS256", ...: the JWS algorithm of this key. */
const char *crypto_key_algorithm(const struct crypto_key *k);
/* base64url of the SHA-256 of the public half: what tokens name it by. */
const char *crypto_key_id(const struct crypto_key *k);
/* Appends the public half as a JWK. */
void crypto_key_print_jwk(const struct crypto_key *k, struct buf *out);

/* JWS signatures by the key's algorithm: of ECDSA the two numbers one behind the other. */
bool crypto_sign(const struct crypto_key *k, struct slice text, struct buf *signature);
bool crypto_verify(const struct crypto_key *k, struct slice text, struct slice signature);

#define CRYPTO_HASH_BYTES 32u
/* SHA-256. False: OpenSSL could not. */
bool crypto_hash(struct slice text, uint8_t out[CRYPTO_HASH_BYTES]);

/* What the host's chance is not good enough for. False: OpenSSL could not. */
bool crypto_random(void *out, size_t len);

/* Inside of crypto.c and cert.c: an EVP_PKEY. */
void *crypto_key_handle(const struct crypto_key *k);

#endif
