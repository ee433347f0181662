/* sha1.h - SHA-1 (FIPS 180-4), only because etcd derives member and cluster ids with it (contract
 * M-02). Not for anything that must resist an attacker. */
#ifndef KVD_KVD_SHA1_H
#define KVD_KVD_SHA1_H

#include <stddef.h>
#include <stdint.h>

#define SHA1_BYTES 20

struct sha1 {
    uint32_t state[5];
    uint64_t len; /* bytes taken */
    uint8_t block[64];
};

void sha1_init(struct sha1 *s);
void sha1_add(struct sha1 *s, const void *data, size_t len);
/* Ends; s must be initialised again before the next use. */
void sha1_end(struct sha1 *s, uint8_t digest[SHA1_BYTES]);

#endif
