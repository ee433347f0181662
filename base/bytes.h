/* bytes.h - fixed-width integers in byte strings, either endianness, unaligned. */
#ifndef KVD_BASE_BYTES_H
#define KVD_BASE_BYTES_H

#include <stdint.h>
#include <string.h>

static inline uint32_t bytes_le32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}

static inline uint64_t bytes_le64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

static inline uint32_t bytes_be32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return __builtin_bswap32(v);
}

static inline uint64_t bytes_be64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return __builtin_bswap64(v);
}

static inline void bytes_put_le32(void *p, uint32_t v)
{
    memcpy(p, &v, 4);
}

static inline void bytes_put_le64(void *p, uint64_t v)
{
    memcpy(p, &v, 8);
}

static inline void bytes_put_be32(void *p, uint32_t v)
{
    v = __builtin_bswap32(v);
    memcpy(p, &v, 4);
}

static inline void bytes_put_be64(void *p, uint64_t v)
{
    v = __builtin_bswap64(v);
    memcpy(p, &v, 8);
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "kvd runs on little-endian machines");

#endif
