/* uuid.h - random UUIDs, version 4, as texts. Pure; any thread. */
#ifndef KVD_OBJECT_UUID_H
#define KVD_OBJECT_UUID_H

#include <stdint.h>

#define UUID_TEXT_BYTES 36u

/* Writes 36 characters, without a NUL. random: 16 bytes of chance, of which 122 bits count. */
void uuid_print(const uint8_t random[16], char out[UUID_TEXT_BYTES]);

#endif
