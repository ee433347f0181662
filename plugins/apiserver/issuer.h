/* issuer.h - the keys of service accounts' tokens, and what stands in tokens about us. */
#ifndef KVD_APISERVER_ISSUER_H
#define KVD_APISERVER_ISSUER_H

#include "plugins/apiserver/apiserver.h"
#include "plugins/apiserver/crypto.h"

#define ISSUER_KEYS_MAX      16u
#define ISSUER_AUDIENCES_MAX 8u

struct issuer {
    struct crypto_key *own;                     /* sa.key, or that of the flag */
    bool own_is_given;                          /* by the flag: it does not change */
    struct crypto_key *others[ISSUER_KEYS_MAX]; /* of service-account-key-file */
    size_t other_count;
    struct slice name; /* iss; in the configuration */
    struct slice audiences[ISSUER_AUDIENCES_MAX];
    size_t audience_count;
};

/* Reads the flags' files (blocking); own: PEM of sa.key. Makes api->issuer. 0, or a reason with the
 * sentence in e. */
int issuer_open(struct apiserver *api, struct slice own, struct kvp_errmsg *e);
void issuer_close(struct apiserver *api);
/* Another sa.key, unless a flag gave one. 0 or an error: the old one stays. */
int issuer_set_own_key(struct issuer *s, struct slice pem);
/* Key number i of those that tokens may be signed with; NULL: no more. The first one signs. */
const struct crypto_key *issuer_key(const struct issuer *s, size_t i);
/* Whether this is one of the server's own audiences. */
bool issuer_has_audience(const struct issuer *s, struct slice audience);

#endif
