/* quote.c - Go's escapes. */
#include "plugins/object/quote.h"

#include "base/utf8.h"

/* A character of one byte. */
static void quote_ascii(uint8_t c, struct buf *out)
{
    static const char names[] = "abtnvfr";
    if (c == '"' || c == '\\') {
        buf_append_byte(out, '\\');
        buf_append_byte(out, c);
    } else if (c >= 7 && c <= 13) {
        buf_append_byte(out, '\\');
        buf_append_byte(out, (uint8_t)names[c - 7]);
    } else if (c < 0x20 || c >= 0x7f) {
        buf_printf(out, "\\x%02x", c);
    } else {
        buf_append_byte(out, c);
    }
}

void quote_go(struct slice text, struct buf *out)
{
    buf_append_byte(out, '"');
    for (size_t i = 0; i < text.len;) {
        const uint8_t *p = text.data + i;
        size_t n = utf8_length(p, text.len - i);
        if (n <= 1) {
            quote_ascii(*p, out);
            n = 1;
        } else if (n == 2 && p[0] == 0xc2 && (p[1] <= 0xa0 || p[1] == 0xad)) {
            buf_printf(out, "\\u00%02x", p[1]);
        } else if (n == 3 && p[0] == 0xe2 && p[1] == 0x80 && (p[2] == 0xa8 || p[2] == 0xa9)) {
            buf_printf(out, "\\u20%02x", p[2] - 0x80);
        } else if (n == 3 && p[0] == 0xef && p[1] == 0xbb && p[2] == 0xbf) {
            buf_append_str(out, "\\ufeff");
        } else {
            buf_append(out, p, n);
        }
        i += n;
    }
    buf_append_byte(out, '"');
}
