/* issuer.h - the keys of service accounts' tokens, and what stands in tokens about us. */
#ifndef KVD_APISERVER_ISSUER_H
#define KVD_APISERVER_ISSUER_H

#include "plugins/apiserver/apiserver.h"
#include "plugins/apiserver/crypto.h"
#include "plugins/apiserver/jwt.h"

#define ISSUER_KEYS_MAX      16u
#define ISSUER_AUDIENCES_MAX 8u
#define ISSUER_SEEN          256u /* tokens whose signature is known to be good: 8 KiB */

struct issuer {
    struct crypto_key *own;                     /* sa.key, or that of the flag */
    bool own_is_given;                          /* by the flag: it does not change */
    struct crypto_key *others[ISSUER_KEYS_MAX]; /* of service-account-key-file */
    size_t other_count;
    struct slice name; /* iss; in the configuration */
    struct slice audiences[ISSUER_AUDIENCES_MAX];
    size_t audience_count;
    uint8_t seen[ISSUER_SEEN][CRYPTO_HASH_BYTES]; /* of tokens; a slot of zeros is empty */
    uint64_t verified;                            /* signatures that were looked at */
};

/* Reads the flags' files (blocking); own: PEM of sa.key. Makes api->issuer. 0, or a reason with the
 * sentence in e. */
int issuer_open(struct apiserver *api, struct slice own, struct kvp_errmsg *e);
void issuer_close(struct apiserver *api);
/* Another sa.key, unless a flag gave one. 0 or an error: the old one stays. */
int issuer_set_own_key(struct issuer *s, struct slice pem);
/* Key number i of those that tokens may be signed with; NULL: no more. The first one signs. */
const struct crypto_key *issuer_key(const struct issuer *s, size_t i);
/* Whether one of the keys signed this token; text is all of it. A client shows the same token again
 * and again, so what was good is remembered until the keys change. */
bool issuer_has_signed(struct issuer *s, const struct jwt *t, struct slice text);
/* Whether this is one of the server's own audiences. */
bool issuer_has_audience(const struct issuer *s, struct slice audience);

#endif
