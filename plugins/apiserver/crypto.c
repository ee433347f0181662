/* crypto.c - keys and signatures by OpenSSL 3. */
#include "plugins/apiserver/crypto.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "plugins/apiserver/base64url.h"

#define CRYPTO_ID_BYTES     44u /* base64url of 32 bytes, and NUL */
#define CRYPTO_NUMBER_BYTES 66u /* of P-521 */
#define CRYPTO_RSA_BITS_MIN 2048
#define CRYPTO_BIGNUM_BYTES 2048u /* of RSA's modulus: 16,384 bits */
#define CRYPTO_PEM_KEYS_MAX 64u

struct crypto_key {
    EVP_PKEY *pkey;
    bool is_private;
    const struct crypto_kind *kind;
    char id[CRYPTO_ID_BYTES];
};

/* What can sign tokens. */
struct crypto_kind {
    const char *algorithm;
    const char *curve; /* as OpenSSL names it; NULL: RSA */
    const char *jwk;   /* as JWKs name it */
    const char *digest;
    size_t number_bytes; /* half a signature */
};
static const struct crypto_kind kinds[] = {
    {"RS256", NULL, NULL, "SHA256", 0},
    {"ES256", "prime256v1", "P-256", "SHA256", 32},
    {"ES384", "secp384r1", "P-384", "SHA384", 48},
    {"ES512", "secp521r1", "P-521", "SHA512", 66},
};

static const struct crypto_kind *crypto_kind_of(EVP_PKEY *pkey)
{
    char curve[64] = "";
    if (EVP_PKEY_is_a(pkey, "RSA")) {
        return EVP_PKEY_get_bits(pkey) >= CRYPTO_RSA_BITS_MIN ? &kinds[0] : NULL;
    }
    if (!EVP_PKEY_is_a(pkey, "EC") ||
        EVP_PKEY_get_group_name(pkey, curve, sizeof curve, NULL) != 1) {
        return NULL;
    }
    for (size_t i = 1; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(curve, kinds[i].curve) == 0) {
            return &kinds[i];
        }
    }
    return NULL;
}

static bool crypto_set_id(struct crypto_key *k)
{
    uint8_t *der = NULL;
    uint8_t hash[32];
    int n = i2d_PUBKEY(k->pkey, &der);
    struct buf text;
    buf_init(&text);
    bool ok = n > 0 && EVP_Digest(der, (size_t)n, hash, NULL, EVP_sha256(), NULL) == 1;
    if (ok) {
        base64url_encode(slice_of(hash, sizeof hash), &text);
        ok = !text.failed && text.len + 1 == sizeof k->id;
    }
    if (ok) {
        memcpy(k->id, text.data, text.len);
    }
    buf_close(&text);
    OPENSSL_free(der);
    return ok;
}

/* Takes pkey over; NULL when it is none of the kinds. */
static struct crypto_key *crypto_key_of(EVP_PKEY *pkey, bool is_private)
{
    const struct crypto_kind *kind = pkey == NULL ? NULL : crypto_kind_of(pkey);
    struct crypto_key *k = kind == NULL ? NULL : mem_zalloc(sizeof *k);
    if (k == NULL) {
        EVP_PKEY_free(pkey);
        ERR_clear_error();
        return NULL;
    }
    *k = (struct crypto_key){.pkey = pkey, .is_private = is_private, .kind = kind};
    if (!crypto_set_id(k)) {
        crypto_key_free(k);
        return NULL;
    }
    return k;
}

struct crypto_key *crypto_key_new(void)
{
    return crypto_key_of(EVP_EC_gen("P-256"), true);
}

static EVP_PKEY *crypto_read_block(const char *name, const uint8_t *der, long len, bool *is_private)
{
    const uint8_t *at = der;
    *is_private = strstr(name, "PRIVATE KEY") != NULL;
    if (*is_private) {
        return d2i_AutoPrivateKey(NULL, &at, len);
    }
    if (strcmp(name, "PUBLIC KEY") == 0) {
        return d2i_PUBKEY(NULL, &at, len);
    }
    if (strcmp(name, "RSA PUBLIC KEY") == 0) {
        return d2i_PublicKey(EVP_PKEY_RSA, NULL, &at, len);
    }
    if (strcmp(name, "CERTIFICATE") == 0) {
        X509 *cert = d2i_X509(NULL, &at, len);
        EVP_PKEY *pkey = cert == NULL ? NULL : X509_get_pubkey(cert);
        X509_free(cert);
        return pkey;
    }
    return NULL;
}

struct crypto_key *crypto_key_read(struct slice pem, size_t index)
{
    struct crypto_key *found = NULL;
    if (pem.len == 0 || pem.len > INT32_MAX) {
        return NULL;
    }
    BIO *in = BIO_new_mem_buf(pem.data, (int)pem.len);
    for (size_t i = 0; in != NULL && found == NULL && i < CRYPTO_PEM_KEYS_MAX; i++) {
        char *name = NULL;
        char *header = NULL;
        uint8_t *der = NULL;
        long len = 0;
        bool is_private = false;
        if (PEM_read_bio(in, &name, &header, &der, &len) != 1) {
            break;
        }
        EVP_PKEY *pkey = crypto_read_block(name, der, len, &is_private);
        struct crypto_key *k = crypto_key_of(pkey, is_private);
        if (k != NULL && index == 0) {
            found = k;
        } else if (k != NULL) {
            index--;
            crypto_key_free(k);
        }
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_clear_free(der, (size_t)len);
    }
    BIO_free(in);
    ERR_clear_error();
    return found;
}

void crypto_key_free(struct crypto_key *k)
{
    if (k != NULL) {
        EVP_PKEY_free(k->pkey);
        mem_free(k);
    }
}

bool crypto_key_write(const struct crypto_key *k, bool public_half, struct buf *pem)
{
    BIO *out = BIO_new(BIO_s_mem());
    char *text = NULL;
    bool ok = out != NULL && (public_half ? PEM_write_bio_PUBKEY(out, k->pkey)
                                          : PEM_write_bio_PKCS8PrivateKey(out, k->pkey, NULL, NULL,
                                                                          0, NULL, NULL)) == 1;
    long len = ok ? BIO_get_mem_data(out, &text) : 0;
    ok = ok && len > 0 && buf_append(pem, text, (size_t)len);
    BIO_free(out);
    ERR_clear_error();
    return ok;
}

bool crypto_key_is_private(const struct crypto_key *k)
{
    return k->is_private;
}

const char *crypto_key_algorithm(const struct crypto_key *k)
{
    return k->kind->algorithm;
}

const char *crypto_key_id(const struct crypto_key *k)
{
    return k->id;
}

void *crypto_key_handle(const struct crypto_key *k)
{
    return k->pkey;
}

/* A number of the public half, big-endian, at least min bytes long. */
static void crypto_print_number(const struct crypto_key *k, const char *param, size_t min,
                                struct buf *out)
{
    uint8_t bytes[CRYPTO_BIGNUM_BYTES];
    BIGNUM *n = NULL;
    int len = -1;
    if (EVP_PKEY_get_bn_param(k->pkey, param, &n) == 1) {
        int want = BN_num_bytes(n) > (int)min ? BN_num_bytes(n) : (int)min;
        len = want <= (int)sizeof bytes ? BN_bn2binpad(n, bytes, want) : -1;
    }
    BN_free(n);
    if (len < 0) {
        out->failed = true;
        return;
    }
    base64url_encode(slice_of(bytes, (size_t)len), out);
}

void crypto_key_print_jwk(const struct crypto_key *k, struct buf *out)
{
    size_t n = k->kind->number_bytes;
    buf_printf(out, "{\"use\":\"sig\",\"kty\":\"%s\",\"kid\":\"%s\"", n > 0 ? "EC" : "RSA", k->id);
    if (n > 0) {
        buf_printf(out, ",\"crv\":\"%s\"", k->kind->jwk);
    }
    buf_printf(out, ",\"alg\":\"%s\",\"%s\":\"", k->kind->algorithm, n > 0 ? "x" : "n");
    crypto_print_number(k, n > 0 ? OSSL_PKEY_PARAM_EC_PUB_X : OSSL_PKEY_PARAM_RSA_N, n, out);
    buf_printf(out, "\",\"%s\":\"", n > 0 ? "y" : "e");
    crypto_print_number(k, n > 0 ? OSSL_PKEY_PARAM_EC_PUB_Y : OSSL_PKEY_PARAM_RSA_E, n, out);
    buf_append_str(out, "\"}");
}

/* ---- signatures ---------------------------------------------------------------------------- */

/* DER of a signature as the two numbers. */
static bool crypto_ec_numbers(const uint8_t *der, size_t len, size_t number_bytes,
                              struct buf *signature)
{
    uint8_t bytes[2 * CRYPTO_NUMBER_BYTES];
    const uint8_t *at = der;
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &at, (long)len);
    int n = (int)number_bytes;
    bool ok = sig != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(sig), bytes, n) == n &&
              BN_bn2binpad(ECDSA_SIG_get0_s(sig), bytes + n, n) == n &&
              buf_append(signature, bytes, 2 * number_bytes);
    ECDSA_SIG_free(sig);
    return ok;
}

bool crypto_sign(const struct crypto_key *k, struct slice text, struct buf *signature)
{
    uint8_t der[CRYPTO_BIGNUM_BYTES];
    size_t len = sizeof der;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool ok = k->is_private && md != NULL &&
              EVP_DigestSignInit_ex(md, NULL, k->kind->digest, NULL, NULL, k->pkey, NULL) == 1 &&
              EVP_DigestSign(md, der, &len, text.data, text.len) == 1;
    EVP_MD_CTX_free(md);
    if (ok) {
        size_t n = k->kind->number_bytes;
        ok = n > 0 ? crypto_ec_numbers(der, len, n, signature) : buf_append(signature, der, len);
    }
    ERR_clear_error();
    return ok;
}

/* The two numbers as DER; NULL when there are no two. */
static uint8_t *crypto_ec_der(struct slice signature, size_t number_bytes, int *len)
{
    uint8_t *der = NULL;
    *len = 0;
    if (signature.len != 2 * number_bytes) {
        return NULL;
    }
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(signature.data, (int)number_bytes, NULL);
    BIGNUM *s = BN_bin2bn(signature.data + number_bytes, (int)number_bytes, NULL);
    if (sig != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(sig, r, s) == 1) {
        *len = i2d_ECDSA_SIG(sig, &der);
    } else {
        BN_free(r);
        BN_free(s);
    }
    ECDSA_SIG_free(sig);
    return der;
}

bool crypto_verify(const struct crypto_key *k, struct slice text, struct slice signature)
{
    uint8_t *der = NULL;
    int len = 0;
    if (k->kind->number_bytes > 0) {
        der = crypto_ec_der(signature, k->kind->number_bytes, &len);
        if (der == NULL || len <= 0) {
            return false;
        }
        signature = slice_of(der, (size_t)len);
    }
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool ok = md != NULL &&
              EVP_DigestVerifyInit_ex(md, NULL, k->kind->digest, NULL, NULL, k->pkey, NULL) == 1 &&
              EVP_DigestVerify(md, signature.data, signature.len, text.data, text.len) == 1;
    EVP_MD_CTX_free(md);
    OPENSSL_free(der);
    ERR_clear_error();
    return ok;
}

bool crypto_random(void *out, size_t len)
{
    return len <= INT32_MAX && RAND_bytes(out, (int)len) == 1;
}

bool crypto_hash(struct slice text, uint8_t out[CRYPTO_HASH_BYTES])
{
    return EVP_Digest(text.data, text.len, out, NULL, EVP_sha256(), NULL) == 1;
}
