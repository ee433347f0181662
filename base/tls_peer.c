/* tls_peer.c - who a certificate says its owner is; see struct tls_peer in tls.h.
 *
 * Names decide what a client may do, so nothing is guessed: a name with a NUL byte inside, which
 * one reader would take for another name than the next, is refused. */
#include <arpa/inet.h>
#include <string.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/limits.h"
#include "base/tls_impl.h"

static const char *peer_refuse(struct tls *t, const char *why)
{
    (void)errmsg_set(&t->error, ERR_INVALID, "tls: failed to verify certificate: x509: %s", why);
    return NULL;
}

static const char *peer_text(struct tls *t, const uint8_t *data, size_t len)
{
    if (len > 0 && memchr(data, '\0', len) != NULL) {
        return peer_refuse(t, "a name has a NUL byte in it");
    }
    char *text = arena_alloc(&t->arena, len + 1);
    if (text == NULL) {
        return peer_refuse(t, "names are too long");
    }
    if (len > 0) {
        memcpy(text, data, len);
    }
    text[len] = '\0';
    return text;
}

/* A part of the subject as UTF-8. */
static const char *peer_entry(struct tls *t, X509_NAME *subject, int at)
{
    unsigned char *utf8 = NULL;
    int len =
        ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    if (len < 0) {
        return peer_refuse(t, "a name is not text");
    }
    const char *text = peer_text(t, utf8, (size_t)len);
    OPENSSL_free(utf8);
    return text;
}

static bool peer_read_subject(struct tls *t, X509 *cert)
{
    struct tls_peer *p = t->peer;
    X509_NAME *subject = X509_get_subject_name(cert);
    int entries = X509_NAME_entry_count(subject);
    const char **organizations =
        arena_zalloc(&t->arena, ((size_t)entries + 1) * sizeof(*organizations));
    p->common_name = "";
    p->organizations = organizations;
    if (organizations == NULL) {
        return peer_refuse(t, "names are too long") != NULL;
    }
    for (int at = -1; (at = X509_NAME_get_index_by_NID(subject, NID_commonName, at)) >= 0;) {
        p->common_name = peer_entry(t, subject, at); /* of several the last, as Go has it */
        if (p->common_name == NULL) {
            return false;
        }
    }
    for (int at = -1; (at = X509_NAME_get_index_by_NID(subject, NID_organizationName, at)) >= 0;) {
        organizations[p->organization_count] = peer_entry(t, subject, at);
        if (organizations[p->organization_count++] == NULL) {
            return false;
        }
    }
    return true;
}

/* false: refused. *out->text stays NULL for a kind we do not show. */
static bool peer_read_name(struct tls *t, const GENERAL_NAME *name, struct tls_name *out)
{
    char ip[INET6_ADDRSTRLEN];
    const ASN1_STRING *s = NULL;
    out->text = NULL;
    switch (name->type) {
    case GEN_DNS:
        out->kind = TLS_NAME_DNS;
        s = name->d.dNSName;
        break;
    case GEN_URI:
        out->kind = TLS_NAME_URI;
        s = name->d.uniformResourceIdentifier;
        break;
    case GEN_EMAIL:
        out->kind = TLS_NAME_EMAIL;
        s = name->d.rfc822Name;
        break;
    case GEN_IPADD: {
        out->kind = TLS_NAME_IP;
        const ASN1_STRING *bytes = name->d.iPAddress;
        int len = ASN1_STRING_length(bytes);
        int family = len == 4 ? AF_INET : AF_INET6;
        if ((len != 4 && len != 16) ||
            inet_ntop(family, ASN1_STRING_get0_data(bytes), ip, sizeof(ip)) == NULL) {
            return peer_refuse(t, "an IP address has an odd length") != NULL;
        }
        out->text = peer_text(t, (const uint8_t *)ip, strlen(ip));
        return out->text != NULL;
    }
    default:
        return true;
    }
    out->text = peer_text(t, ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s));
    return out->text != NULL;
}

static bool peer_read_names(struct tls *t, X509 *cert)
{
    struct tls_peer *p = t->peer;
    int critical;
    GENERAL_NAMES *all = X509_get_ext_d2i(cert, NID_subject_alt_name, &critical, NULL);
    if (all == NULL) {
        /* -1: there is none; else it is there and cannot be read. */
        return critical == -1 || peer_refuse(t, "its alternative names cannot be read") != NULL;
    }
    int count = sk_GENERAL_NAME_num(all);
    struct tls_name *names = arena_zalloc(&t->arena, ((size_t)count + 1) * sizeof(*names));
    bool ok = names != NULL || peer_refuse(t, "names are too long") != NULL;
    for (int i = 0; ok && i < count; i++) {
        ok = peer_read_name(t, sk_GENERAL_NAME_value(all, i), &names[p->name_count]);
        p->name_count += ok && names[p->name_count].text != NULL;
    }
    p->names = names;
    GENERAL_NAMES_free(all);
    return ok;
}

static int64_t peer_seconds(const ASN1_TIME *time)
{
    struct tm tm;
    return ASN1_TIME_to_tm(time, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

bool tls_peer_read(struct tls *t)
{
    X509 *cert = SSL_get1_peer_certificate(t->ssl);
    if (cert == NULL) {
        return true;
    }
    arena_init(&t->arena, TLS_PEER_BYTES_MAX);
    t->peer = arena_zalloc(&t->arena, sizeof(*t->peer));
    bool ok = t->peer != NULL || peer_refuse(t, "out of memory") != NULL;
    ok = ok && peer_read_subject(t, cert) && peer_read_names(t, cert);
    if (ok) {
        unsigned len = sizeof(t->peer->sha256);
        t->peer->verified = t->verify_error == X509_V_OK;
        t->peer->verify_error = t->peer->verified ? "" : tls_verify_text(t->verify_error);
        t->peer->not_after_s = peer_seconds(X509_get0_notAfter(cert));
        ok = X509_digest(cert, EVP_sha256(), t->peer->sha256, &len) == 1 ||
             peer_refuse(t, "out of memory") != NULL;
    }
    X509_free(cert);
    return ok;
}
