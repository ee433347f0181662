/* crc32c.c - CRC-32C: the crc32 instruction of SSE4.2, or eight tables. */
#include "base/crc32c.h"

#include <stdbool.h>

#include "base/bytes.h"

#define CRC32C_POLYNOMIAL 0x82f63b78u /* reflected */

static uint32_t crc32c_table[8][256];

static void crc32c_fill_tables(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++) {
            c = (c >> 1) ^ ((c & 1) != 0 ? CRC32C_POLYNOMIAL : 0);
        }
        crc32c_table[0][i] = c;
    }
    for (int t = 1; t < 8; t++) {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t c = crc32c_table[t - 1][i];
            crc32c_table[t][i] = (c >> 8) ^ crc32c_table[0][c & 0xff];
        }
    }
}

uint32_t crc32c_portable(uint32_t crc, const void *data, size_t len)
{
    const uint8_t *p = data;
    uint32_t c = ~crc;
    for (; len >= 8; len -= 8, p += 8) {
        uint64_t word = bytes_le64(p) ^ c;
        c = 0;
        for (int i = 0; i < 8; i++) {
            c ^= crc32c_table[7 - i][(word >> (8 * i)) & 0xff];
        }
    }
    for (; len > 0; len--, p++) {
        c = (c >> 8) ^ crc32c_table[0][(c ^ *p) & 0xff];
    }
    return ~c;
}

#if defined(__x86_64__)

/* The instruction takes three cycles but one may start each cycle: runs are computed as three
 * interleaved streams whose results are joined by shifting the first ones over the length of one
 * stream, which is linear and therefore four table lookups. Long streams join seldom; short ones
 * are for what is left of them, and for records of a few KiB. */
#define CRC32C_LONG_BYTES  1024u
#define CRC32C_SHORT_BYTES 128u

struct crc32c_shift {
    uint32_t table[4][256];
};

static struct crc32c_shift crc32c_long, crc32c_short;

/* The crc register after `c` has been pushed through so many zero bytes. */
static uint32_t crc32c_shift_slow(uint32_t c, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        c = (c >> 8) ^ crc32c_table[0][c & 0xff];
    }
    return c;
}

static bool crc32c_hardware;

static void crc32c_fill_shift(struct crc32c_shift *s, size_t bytes)
{
    for (int t = 0; t < 4; t++) {
        for (uint32_t bit = 1; bit < 256; bit <<= 1) {
            s->table[t][bit] = crc32c_shift_slow(bit << (8 * t), bytes);
            for (uint32_t i = 1; i < bit; i++) {
                s->table[t][bit + i] = s->table[t][bit] ^ s->table[t][i];
            }
        }
    }
}

static inline uint32_t crc32c_shift(const struct crc32c_shift *s, uint32_t c)
{
    return s->table[0][c & 0xff] ^ s->table[1][(c >> 8) & 0xff] ^ s->table[2][(c >> 16) & 0xff] ^
           s->table[3][c >> 24];
}

/* Three streams of so many bytes. */
__attribute__((target("sse4.2"), always_inline)) static inline uint64_t
crc32c_three(uint64_t c, const uint8_t *p, size_t bytes, const struct crc32c_shift *s)
{
    uint64_t c1 = 0;
    uint64_t c2 = 0;
    for (size_t i = 0; i < bytes; i += 8) {
        c = __builtin_ia32_crc32di(c, bytes_le64(p + i));
        c1 = __builtin_ia32_crc32di(c1, bytes_le64(p + i + bytes));
        c2 = __builtin_ia32_crc32di(c2, bytes_le64(p + i + 2 * bytes));
    }
    return crc32c_shift(s, crc32c_shift(s, (uint32_t)c) ^ (uint32_t)c1) ^ c2;
}

__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(uint32_t crc, const uint8_t *p,
                                                               size_t len)
{
    uint64_t c = (uint32_t)~crc;
    for (; len >= 3 * CRC32C_LONG_BYTES; p += 3 * CRC32C_LONG_BYTES, len -= 3 * CRC32C_LONG_BYTES) {
        c = crc32c_three(c, p, CRC32C_LONG_BYTES, &crc32c_long);
    }
    for (; len >= 3 * CRC32C_SHORT_BYTES;
         p += 3 * CRC32C_SHORT_BYTES, len -= 3 * CRC32C_SHORT_BYTES) {
        c = crc32c_three(c, p, CRC32C_SHORT_BYTES, &crc32c_short);
    }
    for (; len >= 8; len -= 8, p += 8) {
        c = __builtin_ia32_crc32di(c, bytes_le64(p));
    }
    uint32_t c32 = (uint32_t)c;
    for (; len > 0; len--, p++) {
        c32 = __builtin_ia32_crc32qi(c32, *p);
    }
    return ~c32;
}
#endif

__attribute__((constructor)) static void crc32c_start(void)
{
    crc32c_fill_tables();
#if defined(__x86_64__)
    crc32c_fill_shift(&crc32c_long, CRC32C_LONG_BYTES);
    crc32c_fill_shift(&crc32c_short, CRC32C_SHORT_BYTES);
    __builtin_cpu_init();
    crc32c_hardware = __builtin_cpu_supports("sse4.2");
#endif
}

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
#if defined(__x86_64__)
    if (__builtin_expect(crc32c_hardware, 1)) {
        return crc32c_sse42(crc, data, len);
    }
#endif
    return crc32c_portable(crc, data, len);
}
