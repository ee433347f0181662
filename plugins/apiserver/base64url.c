/* base64url.c - three bytes are four characters. */
#include "plugins/apiserver/base64url.h"

#include "base/err.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void base64url_encode(struct slice bytes, struct buf *out)
{
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t have = bytes.len - i < 3 ? bytes.len - i : 3;
        uint32_t bits = 0;
        for (size_t k = 0; k < 3; k++) {
            bits = bits << 8 | (k < have ? bytes.data[i + k] : 0u);
        }
        for (size_t k = 0; k < have + 1; k++) {
            buf_append_byte(out, (uint8_t)digits[bits >> (18 - 6 * k) & 63]);
        }
    }
}

int base64url_decode(struct slice text, struct arena *a, struct slice *out)
{
    uint8_t *to = arena_alloc(a, text.len + 1);
    uint32_t bits = 0;
    unsigned held = 0;
    size_t n = 0;
    if (to == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < text.len; i++) {
        const char *at = text.data[i] == 0 ? NULL : strchr(digits, text.data[i]);
        if (at == NULL) {
            return ERR_INVALID;
        }
        bits = bits << 6 | (uint32_t)(at - digits);
        held += 6;
        if (held >= 8) {
            held -= 8;
            to[n++] = (uint8_t)(bits >> held);
            bits &= (1u << held) - 1;
        }
    }
    if (held >= 6 || bits != 0) {
        return ERR_INVALID;
    }
    *out = slice_of(to, n);
    return 0;
}
