/* json.c - the JSON writer. */
#include "base/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

/* Characters with a meaning to terminals, editors or JavaScript: controls, also those above ASCII,
 * line separators, byte order marks and non-characters. */
static bool json_is_special(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029 || c == 0xfeff ||
           c == 0xfffe || c == 0xffff;
}

/* Writes the escape of the code point of n <= 3 bytes at p. Returns its length, 0 = needs none. */
static size_t json_escape_one(char text[8], const uint8_t *p, size_t n)
{
    uint32_t c = p[0];
    if (n == 2) {
        c = (c & 0x1f) << 6 | (p[1] & 0x3f);
    } else if (n == 3) {
        c = (c & 0x0f) << 12 | (uint32_t)(p[1] & 0x3f) << 6 | (p[2] & 0x3f);
    }
    text[0] = '\\';
    switch (c) {
    case '"':
    case '\\':
        text[1] = (char)c;
        return 2;
    case '\n':
        text[1] = 'n';
        return 2;
    case '\r':
        text[1] = 'r';
        return 2;
    case '\t':
        text[1] = 't';
        return 2;
    default:
        return json_is_special(c) ? (size_t)snprintf(text, 8, "\\u%04x", c & 0xffff) : 0;
    }
}

size_t json_escape(char *out, size_t room, struct slice text, size_t *taken)
{
    size_t at = 0;
    size_t len = 0;
    while (at < text.len) {
        const uint8_t *p = text.data + at;
        if (*p >= 0x20 && *p < 0x7f && *p != '"' && *p != '\\') { /* nearly always */
            if (len == room) {
                break;
            }
            out[len++] = (char)*p;
            at++;
            continue;
        }
        char escape[8];
        const char *from = (const char *)p;
        size_t n = utf8_length(p, text.len - at);
        size_t step = n;
        if (n == 0) {
            memcpy(escape, "\\ufffd", 6);
            from = escape;
            n = 6;
            step = 1;
        } else if (n <= 3) {
            size_t escaped = json_escape_one(escape, p, n);
            if (escaped > 0) {
                from = escape;
                n = escaped;
            }
        }
        if (n > room - len) {
            break;
        }
        memcpy(out + len, from, n);
        len += n;
        at += step;
    }
    *taken = at;
    return len;
}

void json_init(struct json *j, struct buf *out)
{
    *j = (struct json){.out = out};
}

/* Before any value or key. */
static void json_separate(struct json *j)
{
    if (j->comma) {
        buf_append_byte(j->out, ',');
    }
    j->comma = true;
}

void json_object(struct json *j)
{
    json_separate(j);
    buf_append_byte(j->out, '{');
    j->comma = false;
}

void json_object_end(struct json *j)
{
    buf_append_byte(j->out, '}');
    j->comma = true;
}

void json_array(struct json *j)
{
    json_separate(j);
    buf_append_byte(j->out, '[');
    j->comma = false;
}

void json_array_end(struct json *j)
{
    buf_append_byte(j->out, ']');
    j->comma = true;
}

static void json_quote(struct json *j, struct slice text)
{
    struct buf *out = j->out;
    buf_append_byte(out, '"');
    while (text.len > 0) {
        /* Room for the plain case; a round per refill otherwise. */
        if (!buf_reserve(out, text.len < 6 ? 6 : text.len)) {
            return;
        }
        size_t taken;
        out->len += json_escape((char *)out->data + out->len, out->cap - out->len, text, &taken);
        text = slice_of(text.data + taken, text.len - taken);
    }
    buf_append_byte(out, '"');
}

void json_key(struct json *j, const char *name)
{
    json_separate(j);
    json_quote(j, slice_str(name));
    buf_append_byte(j->out, ':');
    j->comma = false;
}

void json_str(struct json *j, struct slice text)
{
    json_separate(j);
    json_quote(j, text);
}

void json_cstr(struct json *j, const char *text)
{
    json_str(j, slice_str(text == NULL ? "" : text));
}

void json_int(struct json *j, int64_t value)
{
    json_separate(j);
    buf_printf(j->out, "%" PRId64, value);
}

void json_uint(struct json *j, uint64_t value)
{
    json_separate(j);
    buf_printf(j->out, "%" PRIu64, value);
}

void json_int_str(struct json *j, int64_t value)
{
    json_separate(j);
    buf_printf(j->out, "\"%" PRId64 "\"", value);
}

void json_uint_str(struct json *j, uint64_t value)
{
    json_separate(j);
    buf_printf(j->out, "\"%" PRIu64 "\"", value);
}

void json_double(struct json *j, double value)
{
    if (!isfinite(value)) {
        json_null(j);
        return;
    }
    json_separate(j);
    buf_printf(j->out, "%.17g", value);
}

void json_bool(struct json *j, bool value)
{
    json_separate(j);
    buf_append_str(j->out, value ? "true" : "false");
}

void json_null(struct json *j)
{
    json_separate(j);
    buf_append_str(j->out, "null");
}

void json_base64(struct json *j, struct slice bytes)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    json_separate(j);
    struct buf *out = j->out;
    if (bytes.len > SIZE_MAX / 4 || !buf_reserve(out, (bytes.len + 2) / 3 * 4 + 2)) {
        out->failed = true;
        return;
    }
    uint8_t *to = out->data + out->len;
    *to++ = '"';
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t left = bytes.len - i;
        uint32_t three = (uint32_t)bytes.data[i] << 16;
        three |= left > 1 ? (uint32_t)bytes.data[i + 1] << 8 : 0;
        three |= left > 2 ? bytes.data[i + 2] : 0;
        *to++ = (uint8_t)letters[three >> 18];
        *to++ = (uint8_t)letters[three >> 12 & 63];
        *to++ = (uint8_t)(left > 1 ? letters[three >> 6 & 63] : '=');
        *to++ = (uint8_t)(left > 2 ? letters[three & 63] : '=');
    }
    *to++ = '"';
    out->len = (size_t)(to - out->data);
}
