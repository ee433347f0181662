/* grpc_text.c - see grpc_text.h. */
#include "rpc/grpc_text.h"

#include <stdio.h>
#include <string.h>

/* Length of the UTF-8 character at p, 0 when there is none (RFC 3629: shortest form, no surrogates,
 * up to U+10FFFF). */
static size_t utf8_length(const uint8_t *p, size_t left)
{
    if (p[0] < 0x80) {
        return 1;
    }
    size_t len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || left < len) {
        return 0;
    }
    uint8_t low = 0x80;
    uint8_t high = 0xbf;
    switch (p[0]) {
    case 0xe0:
        low = 0xa0;
        break;
    case 0xed:
        high = 0x9f;
        break;
    case 0xf0:
        low = 0x90;
        break;
    case 0xf4:
        high = 0x8f;
        break;
    default:
        break;
    }
    if (p[1] < low || p[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return len;
}

static char *encode_bytes(const uint8_t *bytes, size_t len, char *out)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < len; i++) {
        *out++ = '%';
        *out++ = hex[bytes[i] >> 4];
        *out++ = hex[bytes[i] & 15];
    }
    return out;
}

size_t grpc_message_encode(const char *text, char *out, size_t size)
{
    static const uint8_t replacement[] = {0xef, 0xbf, 0xbd};
    const uint8_t *p = (const uint8_t *)text;
    size_t left = strlen(text);
    char *to = out;
    while (left > 0) {
        size_t room = size - 1 - (size_t)(to - out);
        size_t len = utf8_length(p, left);
        bool at_end = left == 1 || to == out;
        if (len == 1 && *p >= ' ' && *p <= '~' && *p != '%' && !(*p == ' ' && at_end)) {
            if (room < 1) {
                break;
            }
            *to++ = (char)*p;
        } else if (len > 0) {
            if (room < len * 3) {
                break;
            }
            to = encode_bytes(p, len, to);
        } else {
            if (room < sizeof(replacement) * 3) {
                break;
            }
            to = encode_bytes(replacement, sizeof(replacement), to);
            len = 1;
        }
        p += len;
        left -= len;
    }
    *to = '\0';
    return (size_t)(to - out);
}

bool grpc_content_type_ok(struct slice value)
{
    struct slice base = slice_str("application/grpc");
    if (!slice_starts_with(value, base)) {
        return false;
    }
    return value.len == base.len || value.data[base.len] == '+' || value.data[base.len] == ';';
}

enum grpc_timeout_result grpc_timeout_parse(struct slice value, uint64_t *ns)
{
    if (value.len < 2) {
        return GRPC_TIMEOUT_SHORT;
    }
    if (value.len > 9) {
        return GRPC_TIMEOUT_LONG;
    }
    uint64_t unit;
    switch (value.data[value.len - 1]) {
    case 'H':
        unit = 3600ull * 1000000000ull;
        break;
    case 'M':
        unit = 60ull * 1000000000ull;
        break;
    case 'S':
        unit = 1000000000ull;
        break;
    case 'm':
        unit = 1000000ull;
        break;
    case 'u':
        unit = 1000ull;
        break;
    case 'n':
        unit = 1ull;
        break;
    default:
        return GRPC_TIMEOUT_UNIT;
    }
    uint64_t number = 0;
    for (size_t i = 0; i + 1 < value.len; i++) {
        if (value.data[i] < '0' || value.data[i] > '9') {
            return GRPC_TIMEOUT_NUMBER;
        }
        number = number * 10 + (uint64_t)(value.data[i] - '0');
    }
    *ns = number > (uint64_t)INT64_MAX / unit ? (uint64_t)INT64_MAX : number * unit;
    return GRPC_TIMEOUT_OK;
}

void grpc_quote(struct slice value, char *out, size_t size)
{
    char *to = out;
    char *end = out + size - 1;
    /* Each step writes at most four characters; room for the closing quote is kept. */
    if (to < end) {
        *to++ = '"';
    }
    for (size_t i = 0; i < value.len && end - to > 5; i++) {
        uint8_t b = value.data[i];
        if (b == '"' || b == '\\') {
            *to++ = '\\';
            *to++ = (char)b;
        } else if (b >= ' ' && b <= '~') {
            *to++ = (char)b;
        } else {
            to += snprintf(to, (size_t)(end - to), "\\x%02x", b);
        }
    }
    if (to < end) {
        *to++ = '"';
    }
    *to = '\0';
}
