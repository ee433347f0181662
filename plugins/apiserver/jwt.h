/* jwt.h - tokens of service accounts: JSON Web Tokens in their compact form. Pure but for crypto's
 * keys; any thread. */
#ifndef KVD_APISERVER_JWT_H
#define KVD_APISERVER_JWT_H

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "plugins/apiserver/crypto.h"
#include "plugins/object/value.h"

#define JWT_BYTES_MAX     (16u * 1024u)
#define JWT_AUDIENCES_MAX 16u

/* An object that a token is bound to. */
struct jwt_bound {
    struct slice name, uid; /* name "" = not bound */
};

struct jwt_claims {
    struct slice issuer, subject, id;
    struct slice audiences[JWT_AUDIENCES_MAX];
    size_t audience_count;
    int64_t expires, not_before, issued; /* seconds since 1970; 0 = none */
    struct slice space;
    struct jwt_bound account, pod, secret, node;
    int64_t warn_after; /* 0 = none */
    bool legacy;        /* of a secret, in the form that has no end */
};

struct jwt {
    struct slice signed_part; /* of the text */
    struct slice signature;   /* decoded */
    struct slice algorithm, key_id;
    struct jwt_claims claims;
};

/* Takes a token apart; nothing of it is verified. Texts lie in the arena or in the text. 0;
 * ERR_INVALID: it is no token, or not one of a service account; ERR_NOMEM. */
int jwt_parse(struct slice text, struct arena *a, struct jwt *out);
/* Whether the key's signature is on it, by the key's own algorithm. */
bool jwt_is_signed_by(const struct jwt *t, const struct crypto_key *k);
/* Appends the token with these claims. False: out of memory, or OpenSSL could not. */
bool jwt_make(const struct jwt_claims *c, const struct crypto_key *k, struct buf *out);

#endif
