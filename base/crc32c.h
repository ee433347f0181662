/* crc32c.h - CRC-32C (Castagnoli, RFC 3720 appendix B.4), in hardware where the CPU has it. */
#ifndef KVD_BASE_CRC32C_H
#define KVD_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Extends crc (0 to start) over the bytes: crc32c(crc32c(0, a), b) == crc32c(0, a + b). */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);
/* The same without the instruction; for CPUs that lack it, and for tests. */
uint32_t crc32c_portable(uint32_t crc, const void *data, size_t len);

#endif
