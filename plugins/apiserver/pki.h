/* pki.h - this member's keys and certificates.
 *
 * Made at the first start and kept in <data-dir>/pki: an authority (ca.crt, ca.key), the server's
 * certificate (apiserver.crt, apiserver.key), the administrator's (admin.crt, admin.key, and with
 * them <data-dir>/admin.kubeconfig), the key that signs service accounts' tokens (sa.key). What is
 * about to expire is made anew. Flags replace the server's, the clients' authority, and sa.key.
 *
 * Several members need the same authority and the same sa.key: the first one to come writes its own
 * to the store (PKI_ROW: three PEM texts), all others take them over, sign their own server
 * certificate with them, and keep them on disk. Each remembers on disk what all agreed on last: so
 * a member whose ca.crt, ca.key or sa.key were replaced since then knows that its own are the newer
 * ones, and changes the row. */
#ifndef KVD_APISERVER_PKI_H
#define KVD_APISERVER_PKI_H

#include "base/buf.h"
#include "base/err.h"
#include "plugins/apiserver/apiserver.h"

#define PKI_ROW    "/registry/kvd.io/pki"
#define PKI_AGREED "shared" /* the file with the hash of what all agreed on */

/* All PEM. */
struct pki_set {
    struct buf ca_cert, ca_key;
    struct buf server_cert, server_key;
    struct buf admin_cert, admin_key;
    struct buf sa_key;
};

/* What a set is made for; lives as long as the plugin. */
struct pki_plan {
    char dir[4096];   /* where the set lies; "" = nowhere */
    char names[1024]; /* of the server's certificate */
    char kubeconfig[4096];
    char url[320]; /* of this server, in it; "" = not known yet */
    const char *cert_file, *key_file, *client_ca_file; /* of flags; "" = our own */
};

/* ---- pki_set.c: files and certificates; blocking; any thread ---- */
void pki_set_init(struct pki_set *s);
void pki_set_close(struct pki_set *s);
/* Copies; false: out of memory (to is closed then). */
bool pki_set_copy(const struct pki_set *from, struct pki_set *to);
/* Files of keys are for nobody else: takes the rights of others away and appends the names of those
 * that had any, with blanks between. 0, or ERR_IO with the sentence: one is not ours to change. */
int pki_set_guard(const struct pki_plan *p, struct buf *corrected, struct errmsg *e);
/* Reads what is there; what is missing stays empty. 0 or ERR_IO with the sentence. */
int pki_set_load(struct pki_set *s, const struct pki_plan *p, struct errmsg *e);
/* Makes what is missing or does not fit any more. now: seconds since 1970. 0, or an error with the
 * sentence. */
int pki_set_make(struct pki_set *s, const struct pki_plan *p, int64_t now, struct errmsg *e);
/* Writes the files whose content differs, and the kubeconfig when the url is known; each is whole
 * or as it was. agreed: is remembered behind them, unless empty. flush: what is there is on the
 * disk, too. 0 or ERR_IO. */
int pki_set_store(const struct pki_set *s, const struct pki_plan *p, struct slice agreed,
                  bool flush, struct errmsg *e);

/* ---- pki_bundle.c: what is shared; reads a file; any thread ---- */
/* As one text; false: out of memory. And back: false: it is none. */
bool pki_set_bundle(const struct pki_set *s, struct buf *out);
bool pki_set_unbundle(struct pki_set *s, struct slice text);
/* Whether what is shared was replaced on this disk since all members agreed on `row`: then this
 * one has something new to say. agreed: as pki_set_agreed. */
bool pki_set_is_replaced(const struct pki_set *s, struct slice agreed, struct slice row);
/* What this member's disk remembers of the last bundle all agreed on: a hash; empty: never. And
 * that of a bundle. False: out of memory. */
bool pki_set_load_agreed(const struct pki_plan *p, struct buf *out);
bool pki_set_agreed(struct slice bundle, struct buf *out);

/* ---- pki.c: of the plugin ---- */
struct pki;
/* In init, before anything serves: makes api->pki. 0, or a reason with the sentence in e. */
int pki_open(struct apiserver *api, struct kvp_errmsg *e);
/* The port is known: writes all files. 0, or a reason with the sentence in e. */
int pki_store(struct apiserver *api, struct kvp_errmsg *e);
/* Last in init: begins to share with the other members, and to look after the certificates. */
void pki_begin(struct apiserver *api);
void pki_close(struct apiserver *api);

/* For http_listen; client_ca: empty when no client certificates are asked for. */
struct slice pki_server_cert(const struct pki *pki);
struct slice pki_server_key(const struct pki *pki);
struct slice pki_client_ca(const struct pki *pki);
struct slice pki_token_key(const struct pki *pki);
/* The authority that clients verify this server with. */
struct slice pki_server_ca(const struct pki *pki);
/* It is certain that all members have the same authority and keys. */
bool pki_is_settled(const struct pki *pki);

/* ---- pki_end.c: when certificates end ---- */
/* In init: the metric certificate_end_timestamp_seconds. */
void pki_end_open(struct pki *pki);
/* Sets it, and warns from a year before the authority's end on. */
void pki_end_tell(struct pki *pki);

/* ---- pki_share.c ---- */
void pki_share(struct pki *pki);
void pki_share_later(struct pki *pki);

#endif
