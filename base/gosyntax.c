/* gosyntax.c - Go's spelling of values, see gosyntax.h. */
#include "base/gosyntax.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

enum go_result go_bool_parse(const char *text, bool *out)
{
    static const char *const yes[] = {"1", "t", "T", "true", "TRUE", "True"};
    static const char *const no[] = {"0", "f", "F", "false", "FALSE", "False"};
    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
        if (strcmp(text, yes[i]) == 0) {
            *out = true;
            return GO_OK;
        }
        if (strcmp(text, no[i]) == 0) {
            *out = false;
            return GO_OK;
        }
    }
    return GO_SYNTAX;
}

static int go_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return 99;
}

enum go_result go_uint_parse(const char *text, uint64_t *out)
{
    uint64_t base = 10;
    const char *p = text;
    if (p[0] == '0' && p[1] != '\0') {
        switch (p[1]) {
        case 'x':
        case 'X':
            base = 16;
            p += 2;
            break;
        case 'o':
        case 'O':
            base = 8;
            p += 2;
            break;
        case 'b':
        case 'B':
            base = 2;
            p += 2;
            break;
        default:
            base = 8;
            p += 1;
            break;
        }
    }
    if (*p == '\0') {
        return GO_SYNTAX;
    }
    uint64_t value = 0;
    bool over = false;
    for (; *p != '\0'; p++) {
        uint64_t digit = (uint64_t)go_digit(*p);
        if (digit >= base) {
            return GO_SYNTAX;
        }
        over = over || __builtin_mul_overflow(value, base, &value) ||
               __builtin_add_overflow(value, digit, &value);
    }
    if (over) {
        return GO_RANGE;
    }
    *out = value;
    return GO_OK;
}

enum go_result go_int_parse(const char *text, int64_t *out)
{
    bool negative = text[0] == '-';
    uint64_t size = 0;
    enum go_result result = go_uint_parse(text + (text[0] == '-' || text[0] == '+' ? 1 : 0), &size);
    if (result != GO_OK) {
        return result;
    }
    if (size > (uint64_t)INT64_MAX + (negative ? 1 : 0)) {
        return GO_RANGE;
    }
    *out = negative ? (int64_t)(0 - size) : (int64_t)size;
    return GO_OK;
}

/* ---- durations ---------------------------------------------------------------------------------
 */

struct go_unit {
    const char *name;
    uint64_t ns;
};

static const struct go_unit go_units[] = {
    {"ns", 1},       {"us", 1000},      {"\u00b5s", 1000},     {"\u03bcs", 1000},
    {"ms", 1000000}, {"s", 1000000000}, {"m", 60000000000ull}, {"h", 3600000000000ull},
};

/* The unit at *p: everything up to the next digit or dot. 0 when there is none of that name. */
static uint64_t go_unit_take(const char **p)
{
    size_t n = strcspn(*p, ".0123456789");
    for (size_t i = 0; i < sizeof(go_units) / sizeof(go_units[0]); i++) {
        if (strlen(go_units[i].name) == n && memcmp(*p, go_units[i].name, n) == 0) {
            *p += n;
            return go_units[i].ns;
        }
    }
    return 0;
}

/* One "12.5s" of a duration, added to *total. */
static enum go_result go_duration_term(const char **p, uint64_t *total)
{
    uint64_t whole = 0;
    const char *start = *p;
    bool over = false;
    for (; **p >= '0' && **p <= '9'; (*p)++) {
        over = over || __builtin_mul_overflow(whole, 10u, &whole) ||
               __builtin_add_overflow(whole, (uint64_t)(**p - '0'), &whole);
    }
    bool digits = *p != start;
    uint64_t fraction = 0;
    double scale = 1;
    if (**p == '.') {
        (*p)++;
        start = *p;
        for (; **p >= '0' && **p <= '9'; (*p)++) {
            /* Digits beyond what 64 bits hold are below a nanosecond of any unit. */
            if (fraction <= (uint64_t)INT64_MAX / 10) {
                fraction = fraction * 10 + (uint64_t)(**p - '0');
                scale *= 10;
            }
        }
        digits = digits || *p != start;
    }
    if (!digits) {
        return GO_SYNTAX;
    }
    uint64_t unit = go_unit_take(p);
    if (unit == 0) {
        return GO_SYNTAX;
    }
    uint64_t ns = 0;
    over = over || __builtin_mul_overflow(whole, unit, &ns);
    if (fraction > 0) {
        over = over || __builtin_add_overflow(
                           ns, (uint64_t)((double)fraction * ((double)unit / scale)), &ns);
    }
    over = over || __builtin_add_overflow(*total, ns, total) || *total > (uint64_t)INT64_MAX + 1;
    return over ? GO_RANGE : GO_OK;
}

enum go_result go_duration_parse(const char *text, int64_t *ns)
{
    const char *p = text;
    bool negative = *p == '-';
    if (*p == '-' || *p == '+') {
        p++;
    }
    if (strcmp(p, "0") == 0) {
        *ns = 0;
        return GO_OK;
    }
    if (*p == '\0') {
        return GO_SYNTAX;
    }
    uint64_t total = 0;
    while (*p != '\0') {
        enum go_result result = go_duration_term(&p, &total);
        if (result != GO_OK) {
            return result;
        }
    }
    if (!negative && total > (uint64_t)INT64_MAX) {
        return GO_RANGE;
    }
    *ns = negative ? (int64_t)(0 - total) : (int64_t)total;
    return GO_OK;
}

/* Prints value / 10^digits without trailing zeros. */
static int go_decimal_print(char *out, size_t room, uint64_t value, unsigned digits)
{
    uint64_t one = 1;
    for (unsigned i = 0; i < digits; i++) {
        one *= 10;
    }
    uint64_t rest = value % one;
    if (rest == 0) {
        return snprintf(out, room, "%" PRIu64, value / one);
    }
    while (rest % 10 == 0) {
        rest /= 10;
        digits--;
    }
    return snprintf(out, room, "%" PRIu64 ".%0*" PRIu64, value / one, (int)digits, rest);
}

void go_duration_print(int64_t ns, char *out)
{
    size_t room = GO_DURATION_BYTES_MAX;
    size_t at = 0;
    uint64_t size = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
    if (ns == 0) {
        snprintf(out, room, "0s");
        return;
    }
    if (ns < 0) {
        out[at++] = '-';
    }
    const char *unit = "s";
    if (size < 1000) {
        at += (size_t)go_decimal_print(out + at, room - at, size, 0);
        unit = "ns";
    } else if (size < 1000000) {
        at += (size_t)go_decimal_print(out + at, room - at, size, 3);
        unit = "\u00b5s";
    } else if (size < 1000000000) {
        at += (size_t)go_decimal_print(out + at, room - at, size, 6);
        unit = "ms";
    } else {
        uint64_t seconds = size / 1000000000;
        if (seconds >= 3600) {
            at += (size_t)snprintf(out + at, room - at, "%" PRIu64 "h", seconds / 3600);
        }
        if (seconds >= 60) {
            at += (size_t)snprintf(out + at, room - at, "%" PRIu64 "m", seconds / 60 % 60);
        }
        at += (size_t)go_decimal_print(out + at, room - at, size % 60000000000ull, 9);
    }
    snprintf(out + at, room - at, "%s", unit);
}

/* ---- quoting -----------------------------------------------------------------------------------
 */

static bool go_quote_byte(struct buf *out, uint8_t c)
{
    static const char named[] = "\aa\bb\ff\nn\rr\tt\vv\\\\\"\"";
    for (size_t i = 0; i + 1 < sizeof(named); i += 2) {
        if ((uint8_t)named[i] == c) {
            return buf_append_byte(out, '\\') && buf_append_byte(out, (uint8_t)named[i + 1]);
        }
    }
    if (c < 0x20 || c >= 0x7f) {
        return buf_printf(out, "\\x%02x", c);
    }
    return buf_append_byte(out, c);
}

/* Code points %q escapes although they are valid: C1 controls, and invisible ones people meet. */
static bool go_quote_hidden(struct buf *out, const uint8_t *p, size_t n)
{
    uint32_t point = 0;
    if (n == 2) {
        point = (uint32_t)(p[0] & 0x1f) << 6 | (p[1] & 0x3f);
    } else if (n == 3) {
        point = (uint32_t)(p[0] & 0x0f) << 12 | (uint32_t)(p[1] & 0x3f) << 6 | (p[2] & 0x3f);
    }
    bool hidden = (point >= 0x80 && point <= 0xa0) || point == 0xad || point == 0x2028 ||
                  point == 0x2029 || (point >= 0x200b && point <= 0x200f) || point == 0xfeff;
    if (hidden) {
        return buf_printf(out, "\\u%04x", point);
    }
    return buf_append(out, p, n);
}

static bool go_escape(struct buf *out, struct slice text, bool quoted)
{
    for (size_t i = 0; i < text.len;) {
        size_t n = utf8_length(text.data + i, text.len - i);
        if (n <= 1) {
            uint8_t c = text.data[i];
            if (!quoted && (c == '"' || c == '\\')) {
                buf_append_byte(out, c);
            } else {
                go_quote_byte(out, c);
            }
            i += 1;
        } else {
            go_quote_hidden(out, text.data + i, n);
            i += n;
        }
    }
    return !out->failed;
}

bool go_quote(struct buf *out, struct slice text)
{
    return buf_append_byte(out, '"') && go_escape(out, text, true) && buf_append_byte(out, '"');
}

bool go_visible(struct buf *out, struct slice text)
{
    return go_escape(out, text, false);
}
