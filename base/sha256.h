/* sha256.h - SHA-256 (FIPS 180-4), to name files by what is in them. Any thread. */
#ifndef KVD_BASE_SHA256_H
#define KVD_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define SHA256_BYTES 32u

struct sha256 {
    uint32_t state[8];
    uint64_t len;
    uint8_t block[64];
};

void sha256_init(struct sha256 *s);
void sha256_add(struct sha256 *s, const void *data, size_t len);
/* The sum of all added; s must be initialised again before further use. */
void sha256_final(struct sha256 *s, uint8_t out[SHA256_BYTES]);

#endif
