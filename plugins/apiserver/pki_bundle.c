/* pki_bundle.c - what members share: one text, put together and taken apart, and the hash by which
 * a member remembers the one that all agreed on. */
#include "plugins/apiserver/pki.h"

#include <stdio.h>

#include "plugins/apiserver/cert.h"
#include "plugins/apiserver/pki_file.h"

/* With a line's end behind it, which files of operators may lack. */
static bool pki_append_lines(struct buf *out, const struct buf *pem)
{
    buf_append_slice(out, buf_slice(pem));
    return pem->len == 0 || pem->data[pem->len - 1] == '\n' || buf_append_byte(out, '\n');
}

bool pki_set_bundle(const struct pki_set *s, struct buf *out)
{
    pki_append_lines(out, &s->ca_cert);
    pki_append_lines(out, &s->ca_key);
    return pki_append_lines(out, &s->sa_key) && !out->failed;
}

/* The text up to mark, or with it, is taken off. */
static bool pki_take(struct slice *text, const char *mark, bool with, struct buf *out)
{
    const uint8_t *at = text->len == 0 ? NULL : memmem(text->data, text->len, mark, strlen(mark));
    if (at == NULL) {
        return false;
    }
    size_t taken = (size_t)(at - text->data) + (with ? strlen(mark) : 0);
    buf_clear(out);
    buf_append(out, text->data, taken);
    *text = slice_of(text->data + taken, text->len - taken);
    return !out->failed;
}

bool pki_set_unbundle(struct pki_set *s, struct slice text)
{
    /* Of certificates there may be more than one: an authority before and the one after it. */
    if (!pki_take(&text, "-----BEGIN PRIVATE KEY-----\n", false, &s->ca_cert) ||
        !pki_take(&text, "-----END PRIVATE KEY-----\n", true, &s->ca_key) ||
        !pki_take(&text, "-----END PRIVATE KEY-----\n", true, &s->sa_key)) {
        return false;
    }
    struct crypto_key *ca = crypto_key_read(buf_slice(&s->ca_key), 0);
    struct crypto_key *sa = crypto_key_read(buf_slice(&s->sa_key), 0);
    bool ok = ca != NULL && sa != NULL && cert_is_of(buf_slice(&s->ca_cert), ca);
    crypto_key_free(ca);
    crypto_key_free(sa);
    return ok;
}

bool pki_set_agreed(struct slice bundle, struct buf *out)
{
    uint8_t hash[CRYPTO_HASH_BYTES];
    if (!crypto_hash(bundle, hash)) {
        return false;
    }
    for (size_t i = 0; i < sizeof hash; i++) {
        buf_printf(out, "%02x", hash[i]);
    }
    return buf_append_byte(out, '\n');
}

bool pki_set_load_agreed(const struct pki_plan *p, struct buf *out)
{
    char path[PKI_PATH_BYTES];
    struct errmsg none;
    int n = snprintf(path, sizeof path, "%s/" PKI_AGREED, p->dir);
    if (p->dir[0] != 0 && n < (int)sizeof path && pki_file_read(path, out, &none) != 0) {
        bool failed = out->failed;
        buf_clear(out);
        return !failed;
    }
    return true;
}

bool pki_set_is_replaced(const struct pki_set *s, struct slice agreed, struct slice row)
{
    struct buf own;
    struct buf own_hash;
    struct buf row_hash;
    buf_init(&own);
    buf_init(&own_hash);
    buf_init(&row_hash);
    bool ok = agreed.len > 0 && pki_set_bundle(s, &own) &&
              pki_set_agreed(buf_slice(&own), &own_hash) && pki_set_agreed(row, &row_hash);
    bool replaced =
        ok && slice_eq(buf_slice(&row_hash), agreed) && !slice_eq(buf_slice(&own_hash), agreed);
    buf_close(&own);
    buf_close(&own_hash);
    buf_close(&row_hash);
    return replaced;
}
