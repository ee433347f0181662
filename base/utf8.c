/* utf8.c - validation of UTF-8. */
#include "base/utf8.h"

#include "base/bytes.h"

static inline bool utf8_tail(uint8_t c)
{
    return (c & 0xc0) == 0x80;
}

size_t utf8_length(const uint8_t *p, size_t left)
{
    if (left == 0) {
        return 0;
    }
    uint8_t c = p[0];
    if (c < 0x80) {
        return 1;
    }
    if (c < 0xc2) { /* a tail byte, or a two-byte form of ASCII */
        return 0;
    }
    if (c < 0xe0) {
        return left >= 2 && utf8_tail(p[1]) ? 2 : 0;
    }
    if (c < 0xf0) {
        if (left < 3 || !utf8_tail(p[1]) || !utf8_tail(p[2])) {
            return 0;
        }
        bool too_long = c == 0xe0 && p[1] < 0xa0;
        bool surrogate = c == 0xed && p[1] >= 0xa0;
        return too_long || surrogate ? 0 : 3;
    }
    if (c > 0xf4 || left < 4 || !utf8_tail(p[1]) || !utf8_tail(p[2]) || !utf8_tail(p[3])) {
        return 0;
    }
    bool too_long = c == 0xf0 && p[1] < 0x90;
    bool too_large = c == 0xf4 && p[1] >= 0x90;
    return too_long || too_large ? 0 : 4;
}

bool utf8_valid(struct slice text)
{
    const uint8_t *p = text.data;
    size_t left = text.len;
    while (left > 0) {
        if (left >= 8 && (bytes_le64(p) & 0x8080808080808080u) == 0) {
            p += 8;
            left -= 8;
            continue;
        }
        size_t n = utf8_length(p, left);
        if (n == 0) {
            return false;
        }
        p += n;
        left -= n;
    }
    return true;
}
