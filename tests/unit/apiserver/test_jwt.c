/* test_jwt.c - keys, signatures, certificates, and what is in a token. */
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "plugins/apiserver/base64url.h"
#include "plugins/apiserver/cert.h"
#include "plugins/apiserver/issuer.h"
#include "plugins/apiserver/jwt.h"
#include "tests/unit/apiserver/fixture.h"

static struct jwt_claims claims(void)
{
    return (struct jwt_claims){.issuer = slice_str("https://here"),
                               .subject = slice_str("system:serviceaccount:ns:web"),
                               .id = slice_str("1"),
                               .audiences = {slice_str("a"), slice_str("b")},
                               .audience_count = 2,
                               .expires = 200,
                               .not_before = 100,
                               .issued = 100,
                               .space = slice_str("ns"),
                               .account = {slice_str("web"), slice_str("u1")},
                               .pod = {slice_str("p"), slice_str("u2")},
                               .warn_after = 150};
}

static void assert_text(struct slice s, const char *text)
{
    if (!slice_eq(s, slice_str(text))) {
        fail_msg("%.*s instead of %s", (int)s.len, (const char *)s.data, text);
    }
}

static void a_token_says_what_it_was_made_of(void **state)
{
    struct fixture *f = *state;
    struct crypto_key *k = crypto_key_new();
    struct jwt_claims c = claims();
    struct jwt t;
    assert_true(jwt_make(&c, k, &f->out));
    assert_int_equal(jwt_parse(buf_slice(&f->out), &f->arena, &t), 0);
    assert_text(t.algorithm, "ES256");
    assert_text(t.key_id, crypto_key_id(k));
    assert_text(t.claims.issuer, "https://here");
    assert_text(t.claims.subject, "system:serviceaccount:ns:web");
    assert_int_equal(t.claims.audience_count, 2);
    assert_text(t.claims.audiences[1], "b");
    assert_int_equal(t.claims.expires, 200);
    assert_int_equal(t.claims.not_before, 100);
    assert_int_equal(t.claims.warn_after, 150);
    assert_text(t.claims.space, "ns");
    assert_text(t.claims.account.uid, "u1");
    assert_text(t.claims.pod.name, "p");
    assert_int_equal(t.claims.secret.name.len, 0);
    assert_false(t.claims.legacy);
    assert_true(jwt_is_signed_by(&t, k));
    /* Another key has not signed it. */
    struct crypto_key *other = crypto_key_new();
    assert_false(jwt_is_signed_by(&t, other));
    crypto_key_free(other);
    /* Nor has this one any other text: each byte counts. */
    size_t first = strcspn((const char *)f->out.data, ".");
    for (size_t i = 0; i < f->out.len; i += 7) {
        uint8_t was = f->out.data[i];
        f->out.data[i] = was == 'A' ? 'B' : 'A';
        int rc = jwt_parse(buf_slice(&f->out), &f->arena, &t);
        assert_true(rc != 0 || !jwt_is_signed_by(&t, k) || i < first);
        f->out.data[i] = was;
    }
    crypto_key_free(k);
}

static void put_token(struct fixture *f, const char *header, const char *body)
{
    buf_clear(&f->out);
    base64url_encode(slice_str(header), &f->out);
    buf_append_byte(&f->out, '.');
    base64url_encode(slice_str(body), &f->out);
    buf_append_str(&f->out, ".AAAA");
}

#define BODY \
    "{\"kubernetes.io\":{\"namespace\":\"n\",\"serviceaccount\":{\"name\":\"a\",\"uid\":\"u\"}}}"

static void what_is_no_token_is_refused(void **state)
{
    struct fixture *f = *state;
    struct jwt t;
    static const char *const bad[] = {
        "", ".", "..", "a.b", "a.b.c", "a.b.c.d", "e30.e30.", "e30.e30.e30", "\xff.\xff.\xff"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(jwt_parse(slice_str(bad[i]), &f->arena, &t), ERR_INVALID);
    }
    put_token(f, "{\"alg\":\"ES256\"}", BODY);
    assert_int_equal(jwt_parse(buf_slice(&f->out), &f->arena, &t), 0);
    put_token(f, "{\"alg\":\"ES256\",\"crit\":[\"x\"]}", BODY);
    assert_int_equal(jwt_parse(buf_slice(&f->out), &f->arena, &t), ERR_INVALID);
    put_token(f, "{\"alg\":7}", BODY);
    assert_int_equal(jwt_parse(buf_slice(&f->out), &f->arena, &t), ERR_INVALID);
    put_token(f, "{\"alg\":\"ES256\"}", "{\"exp\":\"soon\"}");
    assert_int_equal(jwt_parse(buf_slice(&f->out), &f->arena, &t), ERR_INVALID);
    put_token(f, "{\"alg\":\"ES256\"}", "{\"sub\":\"alice\"}");
    assert_int_equal(jwt_parse(buf_slice(&f->out), &f->arena, &t), ERR_INVALID);
}

/* "none" and the other key's algorithm are not what the key says. */
static void the_key_says_the_algorithm(void **state)
{
    struct fixture *f = *state;
    struct crypto_key *k = crypto_key_new();
    static const char *const headers[] = {"{\"alg\":\"none\"}", "{\"alg\":\"HS256\"}",
                                          "{\"alg\":\"RS256\"}", "{\"alg\":\"es256\"}"};
    struct jwt t;
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        put_token(f, headers[i], BODY);
        assert_int_equal(jwt_parse(buf_slice(&f->out), &f->arena, &t), 0);
        assert_false(jwt_is_signed_by(&t, k));
        t.signature = slice_of("", 0);
        assert_false(jwt_is_signed_by(&t, k));
    }
    crypto_key_free(k);
}

/* A signature is looked at once, until the keys change. */
static void good_signatures_are_remembered(void **state)
{
    struct fixture *f = *state;
    struct issuer *s = mem_xzalloc(sizeof *s);
    struct jwt_claims c = claims();
    struct jwt t;
    struct buf pem;
    buf_init(&pem);
    struct crypto_key *k = crypto_key_new();
    assert_true(crypto_key_write(k, false, &pem));
    assert_int_equal(issuer_set_own_key(s, buf_slice(&pem)), 0);
    assert_true(jwt_make(&c, k, &f->out));
    struct slice text = buf_slice(&f->out);
    assert_int_equal(jwt_parse(text, &f->arena, &t), 0);
    for (int i = 0; i < 5; i++) {
        assert_true(issuer_has_signed(s, &t, text));
    }
    assert_int_equal(s->verified, 1);
    /* What is bad is not remembered as good, nor instead of it. */
    struct jwt bad = t;
    bad.signature = slice_of(t.signature.data, t.signature.len - 1);
    for (int i = 0; i < 5; i++) {
        assert_false(issuer_has_signed(s, &bad, slice_of(text.data, text.len - 1)));
    }
    assert_int_equal(s->verified, 6);
    assert_true(issuer_has_signed(s, &t, text));
    assert_int_equal(s->verified, 6);
    crypto_key_free(k);
    k = crypto_key_new();
    buf_clear(&pem);
    assert_true(crypto_key_write(k, false, &pem));
    assert_int_equal(issuer_set_own_key(s, buf_slice(&pem)), 0);
    assert_false(issuer_has_signed(s, &t, text));
    crypto_key_free(k);
    crypto_key_free(s->own);
    mem_free(s);
    buf_close(&pem);
}

/* A new RSA key, by way of PEM as a file would bring it. */
static struct crypto_key *rsa_key(void)
{
    EVP_PKEY *pkey = EVP_RSA_gen(2048);
    BIO *out = BIO_new(BIO_s_mem());
    char *text = NULL;
    assert_int_equal(PEM_write_bio_PrivateKey(out, pkey, NULL, NULL, 0, NULL, NULL), 1);
    long len = BIO_get_mem_data(out, &text);
    struct crypto_key *k = crypto_key_read(slice_of(text, (size_t)len), 0);
    BIO_free(out);
    EVP_PKEY_free(pkey);
    return k;
}

static void rsa_keys_sign_too(void **state)
{
    struct fixture *f = *state;
    struct crypto_key *k = rsa_key();
    struct jwt_claims c = claims();
    struct jwt t;
    struct buf pem;
    assert_non_null(k);
    assert_string_equal(crypto_key_algorithm(k), "RS256");
    assert_true(crypto_key_is_private(k));
    assert_true(jwt_make(&c, k, &f->out));
    assert_int_equal(jwt_parse(buf_slice(&f->out), &f->arena, &t), 0);
    assert_text(t.algorithm, "RS256");
    /* Its public half is enough to verify, and not to sign. */
    buf_init(&pem);
    assert_true(crypto_key_write(k, true, &pem));
    struct crypto_key *public = crypto_key_read(buf_slice(&pem), 0);
    assert_non_null(public);
    assert_false(crypto_key_is_private(public));
    assert_string_equal(crypto_key_id(public), crypto_key_id(k));
    assert_true(jwt_is_signed_by(&t, public));
    buf_clear(&f->out);
    assert_false(jwt_make(&c, public, &f->out));
    buf_clear(&f->out);
    crypto_key_print_jwk(public, &f->out);
    assert_non_null(strstr(text_of(&f->out), "\"kty\":\"RSA\""));
    assert_non_null(strstr((const char *)f->out.data, "\"e\":\"AQAB\""));
    buf_close(&pem);
    crypto_key_free(public);
    crypto_key_free(k);
}

static void keys_are_found_among_others(void **state)
{
    struct fixture *f = *state;
    struct crypto_key *a = crypto_key_new();
    struct crypto_key *b = crypto_key_new();
    buf_append_str(&f->out, "some words\n");
    assert_true(crypto_key_write(a, true, &f->out));
    assert_true(crypto_key_write(b, false, &f->out));
    struct crypto_key *first = crypto_key_read(buf_slice(&f->out), 0);
    struct crypto_key *second = crypto_key_read(buf_slice(&f->out), 1);
    assert_string_equal(crypto_key_id(first), crypto_key_id(a));
    assert_string_equal(crypto_key_id(second), crypto_key_id(b));
    assert_null(crypto_key_read(buf_slice(&f->out), 2));
    assert_null(crypto_key_read(slice_str("nothing"), 0));
    crypto_key_free(a);
    crypto_key_free(b);
    crypto_key_free(first);
    crypto_key_free(second);
}

static void certificates_fit_or_not(void **state)
{
    struct fixture *f = *state;
    struct crypto_key *ca_key = crypto_key_new();
    struct crypto_key *key = crypto_key_new();
    struct buf ca;
    struct cert_wanted w = {
        .user = "server", .names = "DNS:localhost,IP:127.0.0.1", .now = 1000000, .seconds = 1000};
    buf_init(&ca);
    assert_int_equal(cert_make_authority(ca_key, "us", 1000000, 5000, &ca), 0);
    assert_true(cert_is_of(buf_slice(&ca), ca_key));
    assert_false(cert_is_of(buf_slice(&ca), key));
    assert_int_equal(cert_make(&w, key, buf_slice(&ca), ca_key, &f->out, &f->e), 0);
    struct slice cert = buf_slice(&f->out);
    assert_true(cert_fits(cert, key, buf_slice(&ca), w.names, 1000999));
    assert_false(cert_fits(cert, key, buf_slice(&ca), w.names, 1001001));
    assert_false(cert_fits(cert, key, buf_slice(&ca), "DNS:localhost", 1000999));
    assert_false(cert_fits(cert, ca_key, buf_slice(&ca), w.names, 1000999));
    assert_false(cert_fits(slice_str("x"), key, buf_slice(&ca), w.names, 1000999));
    /* Another authority of the same name. */
    struct crypto_key *other = crypto_key_new();
    struct buf ca2;
    buf_init(&ca2);
    assert_int_equal(cert_make_authority(other, "us", 1000000, 5000, &ca2), 0);
    assert_false(cert_fits(cert, key, buf_slice(&ca2), w.names, 1000999));
    assert_int_equal(cert_make(&w, key, buf_slice(&ca), other, &ca2, &f->e), ERR_INVALID);
    assert_string_equal(f->e.text, "the CA's key is not that of its certificate");
    w.names = "IP:nowhere";
    assert_int_equal(cert_make(&w, key, buf_slice(&ca), ca_key, &ca2, &f->e), ERR_INVALID);
    buf_close(&ca2);
    buf_close(&ca);
    crypto_key_free(other);
    crypto_key_free(ca_key);
    crypto_key_free(key);
}

static void base64url_is_strict(void **state)
{
    struct fixture *f = *state;
    struct slice out;
    for (size_t n = 0; n < 40; n++) {
        uint8_t bytes[40];
        for (size_t i = 0; i < n; i++) {
            bytes[i] = (uint8_t)(255 - 7 * i);
        }
        buf_clear(&f->out);
        base64url_encode(slice_of(bytes, n), &f->out);
        assert_int_equal(base64url_decode(buf_slice(&f->out), &f->arena, &out), 0);
        assert_true(slice_eq(out, slice_of(bytes, n)));
    }
    static const char *const bad[] = {"A", "AAAAA", "AB", "A+", "AA==", "A A", "AAB"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(base64url_decode(slice_str(bad[i]), &f->arena, &out), ERR_INVALID);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_token_says_what_it_was_made_of),
        T(what_is_no_token_is_refused),
        T(the_key_says_the_algorithm),
        T(rsa_keys_sign_too),
        T(keys_are_found_among_others),
        T(certificates_fit_or_not),
        T(base64url_is_strict),
        T(good_signatures_are_remembered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
