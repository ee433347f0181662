/* sha1.c - SHA-1, see sha1.h. */
#include "kvd/sha1.h"

#include <string.h>

#include "base/bytes.h"

static uint32_t sha1_rotate(uint32_t x, unsigned n)
{
    return x << n | x >> (32 - n);
}

static void sha1_block(struct sha1 *s)
{
    uint32_t w[80];
    for (int t = 0; t < 16; t++) {
        w[t] = bytes_be32(s->block + 4 * t);
    }
    for (int t = 16; t < 80; t++) {
        w[t] = sha1_rotate(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
    }
    uint32_t a = s->state[0];
    uint32_t b = s->state[1];
    uint32_t c = s->state[2];
    uint32_t d = s->state[3];
    uint32_t e = s->state[4];
    for (int t = 0; t < 80; t++) {
        uint32_t f;
        uint32_t k;
        if (t < 20) {
            f = (b & c) | (~b & d);
            k = 0x5a827999;
        } else if (t < 40) {
            f = b ^ c ^ d;
            k = 0x6ed9eba1;
        } else if (t < 60) {
            f = (b & c) | (b & d) | (c & d);
            k = 0x8f1bbcdc;
        } else {
            f = b ^ c ^ d;
            k = 0xca62c1d6;
        }
        uint32_t next = sha1_rotate(a, 5) + f + e + k + w[t];
        e = d;
        d = c;
        c = sha1_rotate(b, 30);
        b = a;
        a = next;
    }
    s->state[0] += a;
    s->state[1] += b;
    s->state[2] += c;
    s->state[3] += d;
    s->state[4] += e;
}

void sha1_init(struct sha1 *s)
{
    *s = (struct sha1){.state = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0}};
}

void sha1_add(struct sha1 *s, const void *data, size_t len)
{
    const uint8_t *p = data;
    while (len > 0) {
        size_t at = s->len % 64;
        size_t n = len < 64 - at ? len : 64 - at;
        memcpy(s->block + at, p, n);
        s->len += n;
        p += n;
        len -= n;
        if (s->len % 64 == 0) {
            sha1_block(s);
        }
    }
}

void sha1_end(struct sha1 *s, uint8_t digest[SHA1_BYTES])
{
    static const uint8_t padding[64] = {0x80};
    uint8_t bits[8];
    bytes_put_be64(bits, s->len * 8);
    sha1_add(s, padding, 1 + (119 - s->len % 64) % 64);
    sha1_add(s, bits, sizeof(bits));
    for (int i = 0; i < 5; i++) {
        bytes_put_be32(digest + 4 * i, s->state[i]);
    }
}
