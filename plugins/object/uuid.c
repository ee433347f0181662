/* uuid.c - UUIDs as texts; every object and every request has one, so without printf. */
#include "plugins/object/uuid.h"

void uuid_print(const uint8_t random[16], char out[UUID_TEXT_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    for (unsigned i = 0; i < 16; i++) {
        uint8_t byte = random[i];
        if (i == 6) {
            byte = (uint8_t)((byte & 0x0f) | 0x40);
        } else if (i == 8) {
            byte = (uint8_t)((byte & 0x3f) | 0x80);
        }
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            *out++ = '-';
        }
        *out++ = digits[byte >> 4];
        *out++ = digits[byte & 15];
    }
}
