/* fuzz_jwt - bearer tokens as anybody may send them. Byte 0 even: the rest is the token; odd: it is
 * header, NUL and claims in JSON, which are wrapped. What is read has an account with namespace and
 * uid, lies within its bounds, was signed by nobody's key, and made again says the same. */
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "plugins/apiserver/base64url.h"
#include "plugins/apiserver/jwt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One for the process. */
static const struct crypto_key *fuzz_key(void)
{
    static struct crypto_key *k;
    k = k == NULL ? crypto_key_new() : k;
    FATAL_IF(k == NULL, "no key");
    return k;
}

static void check_same(struct slice a, struct slice b)
{
    FATAL_IF(!slice_eq(a, b), "a claim is another one after writing and reading");
}

/* Written as we write tokens, the claims are the same. */
static void check_again(const struct jwt_claims *c, struct arena *a)
{
    struct buf text;
    struct jwt again;
    buf_init(&text);
    FATAL_IF(!jwt_make(c, fuzz_key(), &text), "a token that was read cannot be made");
    int rc = jwt_parse(buf_slice(&text), a, &again);
    /* Escapes may make it longer than a token may be. */
    FATAL_IF(rc != 0 && text.len <= JWT_BYTES_MAX, "a token that was made cannot be read");
    if (rc == 0) {
        FATAL_IF(!jwt_is_signed_by(&again, fuzz_key()), "a signature of ours does not count");
        check_same(again.claims.issuer, c->issuer);
        check_same(again.claims.account.uid, c->account.uid);
        check_same(again.claims.space, c->space);
        check_same(again.claims.pod.name, c->pod.name);
        FATAL_IF(again.claims.audience_count != c->audience_count, "audiences are lost");
        FATAL_IF(again.claims.expires != c->expires, "the end is another one");
    }
    buf_close(&text);
}

static void check_token(const struct jwt *t, struct slice text, struct arena *a)
{
    const struct jwt_claims *c = &t->claims;
    FATAL_IF(t->signed_part.len >= text.len, "the signature is part of what is signed");
    FATAL_IF(c->space.len == 0 || c->account.name.len == 0 || c->account.uid.len == 0,
             "nobody's token");
    FATAL_IF(c->audience_count > JWT_AUDIENCES_MAX, "too many audiences");
    FATAL_IF(c->expires < 0 || c->not_before < 0 || c->issued < 0 || c->warn_after < 0,
             "a time before 1970");
    FATAL_IF(jwt_is_signed_by(t, fuzz_key()), "a signature out of nothing");
    if (!c->legacy && c->expires > 0 && c->not_before > 0 && c->issued > 0) {
        check_again(c, a);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct buf wrapped;
    struct jwt t;
    if (size == 0) {
        return 0;
    }
    arena_init(&a, 64u << 20);
    buf_init(&wrapped);
    struct slice text = slice_of(data + 1, size - 1);
    if (data[0] & 1) {
        const uint8_t *nul = size > 1 ? memchr(text.data, 0, text.len) : NULL;
        size_t head = nul == NULL ? text.len : (size_t)(nul - text.data);
        base64url_encode(slice_of(text.data, head), &wrapped);
        buf_append_byte(&wrapped, '.');
        if (nul != NULL) {
            base64url_encode(slice_of(nul + 1, text.len - head - 1), &wrapped);
        }
        buf_append_str(&wrapped, ".AAAA");
        text = buf_slice(&wrapped);
    }
    int rc = jwt_parse(text, &a, &t);
    FATAL_IF(rc != 0 && rc != ERR_INVALID && rc != ERR_NOMEM, "an error of another kind");
    if (rc == 0) {
        check_token(&t, text, &a);
    }
    arena_close(&a);
    buf_close(&wrapped);
    return 0;
}
