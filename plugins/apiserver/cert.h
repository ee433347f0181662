/* cert.h - certificates: our own authority, and what it signs. Any thread.
 *
 * All certificates are PEM texts. A time is in seconds since 1970. */
#ifndef KVD_APISERVER_CERT_H
#define KVD_APISERVER_CERT_H

#include "plugins/apiserver/crypto.h"

#define CERT_GROUPS_MAX 4u

struct cert_wanted {
    const char *user;                    /* CN */
    const char *groups[CERT_GROUPS_MAX]; /* O; NULL-padded */
    /* Names of a server, "DNS:localhost,IP:127.0.0.1"; NULL: a client's certificate. */
    const char *names;
    int64_t now;
    int64_t seconds; /* it is valid for */
};

/* Appends a certificate of an authority, signed by itself. 0; ERR_NOMEM; ERR_INVALID. */
int cert_make_authority(const struct crypto_key *key, const char *name, int64_t now,
                        int64_t seconds, struct buf *pem);
/* Appends a certificate for key, signed by ca. 0; ERR_NOMEM; ERR_INVALID with the sentence: ca is
 * none, ca_key is not its key, a name is none. */
int cert_make(const struct cert_wanted *w, const struct crypto_key *key, struct slice ca,
              const struct crypto_key *ca_key, struct buf *pem, struct errmsg *e);
/* Whether cert is still what cert_make would make: of that key, signed by ca, with these names, and
 * valid until `until` at least. */
bool cert_fits(struct slice cert, const struct crypto_key *key, struct slice ca, const char *names,
               int64_t until);
/* When the first certificate of a PEM text ends, in seconds since 1970. False: it is none. */
bool cert_end(struct slice cert, int64_t *out);
/* Whether the first certificate of a PEM text is of this key. */
bool cert_is_of(struct slice cert, const struct crypto_key *key);

#endif
