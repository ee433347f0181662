/* scan.c - tokens of JSON, and Go's words for what is wrong with them. */
#include "plugins/object/scan.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/limits.h"
#include "base/utf8.h"

/* Writes the name of a byte as Go quotes it, without the quotes. */
static void scan_quote(uint8_t c, char out[16])
{
    static const char special[] = "abtnvfr";
    if (c == '\'' || c == '\\') {
        snprintf(out, 16, "\\%c", c);
    } else if (c >= 7 && c <= 13) {
        snprintf(out, 16, "\\%c", special[c - 7]);
    } else if (c < 0x20 || c == 0x7f) {
        snprintf(out, 16, "\\x%02x", c);
    } else if (c < 0x7f) {
        snprintf(out, 16, "%c", c);
    } else if (c <= 0xa0 || c == 0xad) {
        snprintf(out, 16, "\\u%04x", c);
    } else {
        snprintf(out, 16, "%c%c", 0xc0 | c >> 6, 0x80 | (c & 0x3f));
    }
}

int scan_refuse(struct scan *s, const char *context)
{
    bool end = s->p >= s->end;
    /* Go's reader takes the end for a blank: only inside a token that is a wrong character. */
    bool inside = strncmp(context, "in ", 3) == 0 || strstr(context, " in numeric literal") != NULL;
    if (end && !(inside && strcmp(context, "in string literal") != 0)) {
        return errmsg_set(s->e, ERR_INVALID, "unexpected end of JSON input");
    }
    char name[16];
    scan_quote(end ? ' ' : *s->p, name);
    return errmsg_set(s->e, ERR_INVALID, "invalid character '%s' %s", name, context);
}

static int scan_hex(struct scan *s, uint32_t *out)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++, s->p++) {
        uint8_t c = s->p < s->end ? *s->p : 0;
        uint32_t digit;
        if (c >= '0' && c <= '9') {
            digit = c - '0';
        } else if ((c | 32) >= 'a' && (c | 32) <= 'f') {
            digit = (uint32_t)((c | 32) - 'a' + 10);
        } else {
            return scan_refuse(s, "in \\u hexadecimal character escape");
        }
        v = v << 4 | digit;
    }
    *out = v;
    return 0;
}

static uint8_t *scan_put_utf8(uint8_t *to, uint32_t c)
{
    if (c < 0x80) {
        *to++ = (uint8_t)c;
    } else if (c < 0x800) {
        *to++ = (uint8_t)(0xc0 | c >> 6);
        *to++ = (uint8_t)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        *to++ = (uint8_t)(0xe0 | c >> 12);
        *to++ = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        *to++ = (uint8_t)(0x80 | (c & 0x3f));
    } else {
        *to++ = (uint8_t)(0xf0 | c >> 18);
        *to++ = (uint8_t)(0x80 | (c >> 12 & 0x3f));
        *to++ = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        *to++ = (uint8_t)(0x80 | (c & 0x3f));
    }
    return to;
}

/* One escape; p is behind the backslash. Half a surrogate pair becomes U+FFFD. */
static int scan_escape(struct scan *s, uint8_t **to)
{
    static const char from[] = "\"\\/bfnrt";
    static const char into[] = "\"\\/\b\f\n\r\t";
    uint8_t c = s->p < s->end ? *s->p : 0;
    const char *known = c == 0 ? NULL : strchr(from, c);
    if (known != NULL) {
        *(*to)++ = (uint8_t)into[known - from];
        s->p++;
        return 0;
    }
    if (c != 'u') {
        return scan_refuse(s, "in string escape code");
    }
    s->p++;
    uint32_t code = 0;
    int rc = scan_hex(s, &code);
    if (rc != 0) {
        return rc;
    }
    if (code >= 0xd800 && code < 0xe000) {
        uint32_t low = 0;
        struct scan ahead = *s;
        struct errmsg ignored;
        ahead.e = &ignored;
        bool pair = code < 0xdc00 && s->end - s->p >= 6 && s->p[0] == '\\' && s->p[1] == 'u';
        ahead.p += 2;
        if (pair && scan_hex(&ahead, &low) == 0 && low >= 0xdc00 && low < 0xe000) {
            s->p = ahead.p;
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        } else {
            code = 0xfffd;
        }
    }
    *to = scan_put_utf8(*to, code);
    return 0;
}

/* The rest of a text with bytes that are not UTF-8: it may grow, so it moves. */
static int scan_text_moved(struct scan *s, const uint8_t *begin, uint8_t *to, struct slice *out)
{
    const uint8_t *close = s->p;
    while (close < s->end && *close != '"') {
        close += *close == '\\' ? 2 : 1;
    }
    size_t left = (size_t)((close < s->end ? close : s->end) - s->p);
    size_t done = (size_t)(to - begin);
    uint8_t *copy = arena_alloc(s->arena, done + left * 3); /* U+FFFD has three bytes */
    if (copy == NULL) {
        return ERR_NOMEM;
    }
    memcpy(copy, begin, done);
    to = copy + done;
    while (s->p < s->end && *s->p != '"') {
        size_t n = utf8_length(s->p, (size_t)(s->end - s->p));
        if (*s->p == '\\') {
            s->p++;
            int rc = scan_escape(s, &to);
            if (rc != 0) {
                return rc;
            }
        } else if (*s->p < 0x20) {
            return scan_refuse(s, "in string literal");
        } else if (n == 0) {
            to = scan_put_utf8(to, 0xfffd);
            s->p++;
        } else {
            memcpy(to, s->p, n);
            to += n;
            s->p += n;
        }
    }
    if (s->p >= s->end) {
        return scan_refuse(s, "");
    }
    s->p++;
    *out = slice_of(copy, (size_t)(to - copy));
    return 0;
}

#define SCAN_BYTES(c) (UINT64_C(0x0101010101010101) * (c))
#define SCAN_HIGH     SCAN_BYTES(0x80)

/* The high bits of those of eight bytes that are a quote, a backslash or below a blank; the lowest
 * one is right, others may be too many. Bytes from 0x80 on have none. */
static inline uint64_t scan_marks(uint64_t w)
{
    uint64_t quote = (w ^ SCAN_BYTES('"')) - SCAN_BYTES(1);
    uint64_t backslash = (w ^ SCAN_BYTES('\\')) - SCAN_BYTES(1);
    return (quote | backslash | (w - SCAN_BYTES(0x20))) & ~w & SCAN_HIGH;
}

const uint8_t *scan_plain(const uint8_t *p, const uint8_t *end)
{
    for (; end - p >= 8; p += 8) {
        uint64_t marks = scan_marks(bytes_le64(p));
        if (marks != 0) {
            return p + (unsigned)__builtin_ctzll(marks) / 8;
        }
    }
    while (p < end && *p >= 0x20 && *p != '"' && *p != '\\') {
        p++;
    }
    return p;
}

/* The same up to the first byte that is not ASCII. */
static const uint8_t *scan_ascii(const uint8_t *p, const uint8_t *end)
{
    for (; end - p >= 8; p += 8) {
        uint64_t w = bytes_le64(p);
        uint64_t marks = scan_marks(w) | (w & SCAN_HIGH);
        if (marks != 0) {
            return p + (unsigned)__builtin_ctzll(marks) / 8;
        }
    }
    while (p < end && *p >= 0x20 && *p < 0x80 && *p != '"' && *p != '\\') {
        p++;
    }
    return p;
}

int scan_text(struct scan *s, struct slice *out)
{
    uint8_t *begin = s->p;
    uint8_t *end = s->end;
    uint8_t *p = begin + (scan_ascii(begin, end) - begin); /* nearly always all of it */
    if (p < end && *p == '"') {
        *out = slice_of(begin, (size_t)(p - begin));
        s->p = p + 1;
        return 0;
    }
    uint8_t *to = p;
    s->p = p;
    while (s->p < end && *s->p != '"') {
        if (*s->p == '\\') {
            s->p++;
            int rc = scan_escape(s, &to);
            if (rc != 0) {
                return rc;
            }
            continue;
        }
        if (*s->p < 0x20) {
            return scan_refuse(s, "in string literal");
        }
        size_t n = utf8_length(s->p, (size_t)(end - s->p));
        if (n == 0) {
            return scan_text_moved(s, begin, to, out);
        }
        memmove(to, s->p, n);
        to += n;
        s->p += n;
    }
    if (s->p >= end) {
        return scan_refuse(s, "");
    }
    s->p++;
    *out = slice_of(begin, (size_t)(to - begin));
    return 0;
}

static bool scan_digits(struct scan *s)
{
    const uint8_t *begin = s->p;
    while (s->p < s->end && *s->p >= '0' && *s->p <= '9') {
        s->p++;
    }
    return s->p > begin;
}

int scan_number(struct scan *s, struct slice *out, bool *integer)
{
    uint8_t *begin = s->p;
    *integer = true;
    if (*s->p == '-') {
        s->p++;
    }
    if (s->p < s->end && *s->p == '0') {
        s->p++;
    } else if (!scan_digits(s)) {
        return scan_refuse(s, "in numeric literal");
    }
    if (s->p < s->end && *s->p == '.') {
        *integer = false;
        s->p++;
        if (!scan_digits(s)) {
            return scan_refuse(s, "after decimal point in numeric literal");
        }
    }
    if (s->p < s->end && (*s->p | 32) == 'e') {
        *integer = false;
        s->p++;
        if (s->p < s->end && (*s->p == '+' || *s->p == '-')) {
            s->p++;
        }
        if (!scan_digits(s)) {
            return scan_refuse(s, "in exponent of numeric literal");
        }
    }
    *out = slice_of(begin, (size_t)(s->p - begin));
    return 0;
}

int scan_literal(struct scan *s, const char *word)
{
    for (size_t i = 0; word[i] != 0; i++, s->p++) {
        if (s->p >= s->end || *s->p != (uint8_t)word[i]) {
            char context[64];
            snprintf(context, sizeof context, "in literal %s (expecting '%c')", word, word[i]);
            return scan_refuse(s, context);
        }
    }
    return 0;
}

/* A text that nobody wants: only its syntax counts. */
static int scan_skip_text(struct scan *s)
{
    for (;;) {
        s->p += scan_plain(s->p, s->end) - s->p;
        if (s->p >= s->end || *s->p == '"') {
            break;
        }
        if (*s->p < 0x20) {
            return scan_refuse(s, "in string literal");
        }
        s->p++;
        uint8_t spare[4];
        uint8_t *to = spare;
        int rc = scan_escape(s, &to);
        if (rc != 0) {
            return rc;
        }
    }
    if (s->p >= s->end) {
        return scan_refuse(s, "");
    }
    s->p++;
    return 0;
}

static int scan_skip_object(struct scan *s, unsigned depth)
{
    s->p++;
    if (scan_peek(s) == '}') {
        s->p++;
        return 0;
    }
    for (;;) {
        if (scan_peek(s) != '"') {
            return scan_refuse(s, "looking for beginning of object key string");
        }
        s->p++;
        int rc = scan_skip_text(s);
        if (rc != 0) {
            return rc;
        }
        if (scan_peek(s) != ':') {
            return scan_refuse(s, "after object key");
        }
        s->p++;
        rc = scan_skip(s, depth + 1);
        if (rc != 0) {
            return rc;
        }
        uint8_t c = scan_peek(s);
        if (c != ',' && c != '}') {
            return scan_refuse(s, "after object key:value pair");
        }
        s->p++;
        if (c == '}') {
            return 0;
        }
    }
}

static int scan_skip_array(struct scan *s, unsigned depth)
{
    s->p++;
    if (scan_peek(s) == ']') {
        s->p++;
        return 0;
    }
    for (;;) {
        int rc = scan_skip(s, depth + 1);
        if (rc != 0) {
            return rc;
        }
        uint8_t c = scan_peek(s);
        if (c != ',' && c != ']') {
            return scan_refuse(s, "after array element");
        }
        s->p++;
        if (c == ']') {
            return 0;
        }
    }
}

int scan_skip(struct scan *s, unsigned depth)
{
    struct slice number;
    bool integer;
    if (depth > OBJECT_DEPTH_MAX) {
        return errmsg_set(s->e, ERR_TOO_DEEP, "exceeded max depth");
    }
    switch (scan_peek(s)) {
    case '{':
        return scan_skip_object(s, depth);
    case '[':
        return scan_skip_array(s, depth);
    case '"':
        s->p++;
        return scan_skip_text(s);
    case 't':
        return scan_literal(s, "true");
    case 'f':
        return scan_literal(s, "false");
    case 'n':
        return scan_literal(s, "null");
    case '-':
    case '0' ... '9':
        return scan_number(s, &number, &integer);
    default:
        return scan_refuse(s, "looking for beginning of value");
    }
}

bool scan_int64(struct slice digits, int64_t *out)
{
    bool negative = digits.len > 0 && digits.data[0] == '-';
    size_t i = negative;
    int64_t v = 0;
    if (i == digits.len) {
        return false;
    }
    for (; i < digits.len; i++) {
        uint8_t c = digits.data[i];
        if (c < '0' || c > '9' || __builtin_mul_overflow(v, (int64_t)10, &v) ||
            __builtin_sub_overflow(v, (int64_t)(c - '0'), &v)) { /* negative: it has one more */
            return false;
        }
    }
    if (!negative) {
        if (v == INT64_MIN) {
            return false;
        }
        v = -v;
    }
    *out = v;
    return true;
}
