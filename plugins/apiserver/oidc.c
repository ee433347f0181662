/* oidc.c - OpenID discovery of tokens' issuer. */
#include "plugins/apiserver/oidc.h"

#include "plugins/apiserver/issuer.h"
#include "plugins/object/encode.h"

static void oidc_print_document(const struct issuer *s, const struct slice url, struct buf *out)
{
    const struct crypto_key *k;
    buf_append_str(out, "{\"issuer\":");
    encode_text(s->name, out);
    buf_append_str(out, ",\"jwks_uri\":");
    encode_text(url, out);
    buf_append_str(out, ",\"response_types_supported\":[\"id_token\"],\"subject_types_supported\":"
                        "[\"public\"],\"id_token_signing_alg_values_supported\":[");
    for (size_t i = 0; (k = issuer_key(s, i)) != NULL; i++) {
        bool told = false;
        for (size_t n = 0; n < i; n++) {
            told = told ||
                   strcmp(crypto_key_algorithm(issuer_key(s, n)), crypto_key_algorithm(k)) == 0;
        }
        if (!told) {
            buf_printf(out, "%s\"%s\"", i > 0 ? "," : "", crypto_key_algorithm(k));
        }
    }
    buf_append_str(out, "]}");
}

static void oidc_print_keys(const struct issuer *s, struct buf *out)
{
    const struct crypto_key *k;
    buf_append_str(out, "{\"keys\":[");
    for (size_t i = 0; (k = issuer_key(s, i)) != NULL; i++) {
        buf_append_str(out, i > 0 ? "," : "");
        crypto_key_print_jwk(k, out);
    }
    buf_append_str(out, "]}");
}

bool oidc_answer(struct exchange *ex, struct slice path)
{
    const struct apiserver *api = ex->api;
    bool keys = slice_eq(path, slice_str("/openid/v1/jwks"));
    struct buf out;
    struct buf url;
    if (!keys && !slice_eq(path, slice_str("/.well-known/openid-configuration"))) {
        return false;
    }
    buf_init(&out);
    buf_init(&url);
    if (keys) {
        oidc_print_keys(api->issuer, &out);
    } else {
        if (api->conf->advertise[0] != 0) {
            buf_printf(&url, "https://%s/openid/v1/jwks", api->conf->advertise);
        } else {
            buf_printf(&url, "https://%s:%u/openid/v1/jwks", api->conf->address, api->port);
        }
        oidc_print_document(api->issuer, buf_slice(&url), &out);
    }
    if (out.failed || url.failed) {
        exchange_no_memory(ex);
    } else {
        exchange_answer(ex, 200, keys ? "application/jwk-set+json" : "application/json",
                        buf_slice(&out));
    }
    buf_close(&out);
    buf_close(&url);
    return true;
}
