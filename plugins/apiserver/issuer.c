/* issuer.c - keys from files, names from flags. */
#include "plugins/apiserver/issuer.h"

#include <stdio.h>

#include "base/alloc.h"
#include "plugins/apiserver/pki_file.h"

static int issuer_refuse(struct kvp_errmsg *e, const char *text, const char *what)
{
    snprintf(e->text, sizeof e->text, "%s: %.200s", text, what);
    return KVP_INVALID;
}

static int issuer_read_signer(struct issuer *s, const char *path, struct kvp_errmsg *e)
{
    struct buf pem;
    struct errmsg why = {.text = ""};
    buf_init(&pem);
    int reason = 0;
    if (pki_file_read(path, &pem, &why) != 0) {
        reason = issuer_refuse(e, "service-account-signing-key-file", why.text);
    } else {
        s->own = crypto_key_read(buf_slice(&pem), 0);
        s->own_is_given = true;
        if (s->own == NULL || !crypto_key_is_private(s->own)) {
            reason = issuer_refuse(e, "service-account-signing-key-file has no private key", path);
        }
    }
    buf_close(&pem);
    return reason;
}

static int issuer_read_others(struct issuer *s, const char *path, struct kvp_errmsg *e)
{
    struct buf pem;
    struct errmsg why = {.text = ""};
    buf_init(&pem);
    int reason = 0;
    if (pki_file_read(path, &pem, &why) != 0) {
        reason = issuer_refuse(e, "service-account-key-file", why.text);
    }
    while (reason == 0 && s->other_count < ISSUER_KEYS_MAX) {
        struct crypto_key *k = crypto_key_read(buf_slice(&pem), s->other_count);
        if (k == NULL) {
            break;
        }
        s->others[s->other_count++] = k;
    }
    if (reason == 0 && s->other_count == 0) {
        reason = issuer_refuse(e, "service-account-key-file has no key", path);
    }
    buf_close(&pem);
    return reason;
}

static void issuer_set_names(struct issuer *s, const struct apiserver_conf *conf)
{
    s->name = slice_str(conf->service_account_issuer);
    for (const char *at = conf->api_audiences;
         *at != 0 && s->audience_count < ISSUER_AUDIENCES_MAX;) {
        size_t n = strcspn(at, " ;");
        if (n > 0) {
            s->audiences[s->audience_count++] = slice_of(at, n);
        }
        at += n + (at[n] != 0);
    }
    if (s->audience_count == 0) {
        s->audiences[s->audience_count++] = s->name;
    }
}

int issuer_open(struct apiserver *api, struct slice own, struct kvp_errmsg *e)
{
    const struct apiserver_conf *conf = api->conf;
    struct issuer *s = mem_zalloc(sizeof *s);
    if (s == NULL) {
        snprintf(e->text, sizeof e->text, "out of memory");
        return KVP_NO_MEMORY;
    }
    api->issuer = s;
    issuer_set_names(s, conf);
    int reason = 0;
    if (conf->service_account_signing_key_file[0] != 0) {
        reason = issuer_read_signer(s, conf->service_account_signing_key_file, e);
    } else if (issuer_set_own_key(s, own) != 0) {
        reason = issuer_refuse(e, "the key of tokens cannot be read", "sa.key");
    }
    if (reason == 0 && conf->service_account_key_file[0] != 0) {
        reason = issuer_read_others(s, conf->service_account_key_file, e);
    }
    return reason;
}

void issuer_close(struct apiserver *api)
{
    struct issuer *s = api->issuer;
    if (s != NULL) {
        crypto_key_free(s->own);
        for (size_t i = 0; i < s->other_count; i++) {
            crypto_key_free(s->others[i]);
        }
        mem_free(s);
        api->issuer = NULL;
    }
}

int issuer_set_own_key(struct issuer *s, struct slice pem)
{
    if (s->own_is_given) {
        return 0;
    }
    struct crypto_key *k = crypto_key_read(pem, 0);
    if (k == NULL || !crypto_key_is_private(k)) {
        crypto_key_free(k);
        return ERR_INVALID;
    }
    crypto_key_free(s->own);
    s->own = k;
    memset(s->seen, 0, sizeof s->seen);
    return 0;
}

const struct crypto_key *issuer_key(const struct issuer *s, size_t i)
{
    return i == 0 ? s->own : i - 1 < s->other_count ? s->others[i - 1] : NULL;
}

bool issuer_has_signed(struct issuer *s, const struct jwt *t, struct slice text)
{
    uint8_t hash[CRYPTO_HASH_BYTES];
    bool hashed = crypto_hash(text, hash);
    uint8_t *slot = s->seen[hashed ? hash[0] : 0];
    const struct crypto_key *k;
    if (hashed && memcmp(slot, hash, sizeof hash) == 0) {
        return true;
    }
    s->verified++;
    for (size_t i = 0; (k = issuer_key(s, i)) != NULL; i++) {
        if (jwt_is_signed_by(t, k)) {
            if (hashed) {
                memcpy(slot, hash, sizeof hash);
            }
            return true;
        }
    }
    return false;
}

bool issuer_has_audience(const struct issuer *s, struct slice audience)
{
    for (size_t i = 0; i < s->audience_count; i++) {
        if (slice_eq(s->audiences[i], audience)) {
            return true;
        }
    }
    return false;
}
