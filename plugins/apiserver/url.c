/* url.c - percent-encoding. */
#include "plugins/apiserver/url.h"

#include "base/err.h"

static int url_hex(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int url_decode(struct slice text, bool plus, struct arena *a, struct slice *out)
{
    size_t i = 0;
    while (i < text.len && text.data[i] != '%' && !(plus && text.data[i] == '+')) {
        i++;
    }
    if (i == text.len) {
        *out = text;
        return 0;
    }
    uint8_t *to = arena_alloc(a, text.len);
    if (to == NULL) {
        return ERR_NOMEM;
    }
    size_t n = 0;
    for (i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c == '%') {
            int high = i + 2 < text.len ? url_hex(text.data[i + 1]) : -1;
            int low = high >= 0 ? url_hex(text.data[i + 2]) : -1;
            if (low < 0) {
                return ERR_INVALID;
            }
            to[n++] = (uint8_t)(high << 4 | low);
            i += 2;
        } else {
            to[n++] = plus && c == '+' ? ' ' : c;
        }
    }
    *out = slice_of(to, n);
    return 0;
}

int url_next_pair(struct slice *query, struct arena *a, struct slice *name, struct slice *value)
{
    while (query->len > 0) {
        const uint8_t *end = memchr(query->data, '&', query->len);
        size_t len = end == NULL ? query->len : (size_t)(end - query->data);
        struct slice pair = slice_of(query->data, len);
        size_t taken = len + (end != NULL);
        *query = slice_of(query->data + taken, query->len - taken);
        if (len == 0 || memchr(pair.data, ';', len) != NULL) {
            continue;
        }
        const uint8_t *equal = memchr(pair.data, '=', len);
        size_t head = equal == NULL ? len : (size_t)(equal - pair.data);
        struct slice tail =
            equal == NULL ? slice_of(pair.data + len, 0) : slice_of(equal + 1, len - head - 1);
        int rc = url_decode(slice_of(pair.data, head), true, a, name);
        rc = rc == 0 ? url_decode(tail, true, a, value) : rc;
        if (rc != ERR_INVALID) {
            return rc;
        }
    }
    return ERR_NOT_FOUND;
}

void url_encode(struct slice text, struct buf *out)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '-' || c == '_' || c == '.' || c == '~' || c == ':';
        if (!plain) {
            buf_append_byte(out, '%');
            buf_append_byte(out, (uint8_t)hex[c >> 4]);
            c = (uint8_t)hex[c & 15];
        }
        buf_append_byte(out, c);
    }
}
