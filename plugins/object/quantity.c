/* quantity.c - amounts as billionths in 128 bits. */
#include "plugins/object/quantity.h"

#include <string.h>

#include "base/err.h"

#define NANO       ((quantity_nano)1000000000)
#define UNITS_MAX  ((quantity_nano)INT64_MAX)
#define DIGITS_MAX 36u /* significant ones that are kept: 10^36 fits into 127 bits */

static const char quantity_bad_format[] = "quantities must match the regular expression "
                                          "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
static const char quantity_bad_suffix[] = "unable to parse quantity's suffix";
static const char quantity_bad_number[] = "unable to parse numeric part of quantity";

/* A text taken apart. */
struct quantity_parts {
    bool negative;
    struct slice whole; /* digits before the point, leading zeros stripped */
    struct slice fraction;
    struct slice suffix;
};

static bool quantity_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static struct slice quantity_take_digits(struct slice *s)
{
    size_t n = 0;
    while (n < s->len && quantity_digit(s->data[n])) {
        n++;
    }
    struct slice digits = slice_of(s->data, n);
    *s = slice_of(s->data + n, s->len - n);
    return digits;
}

static bool quantity_split(struct slice s, struct quantity_parts *parts)
{
    memset(parts, 0, sizeof *parts);
    if (s.len > 0 && (s.data[0] == '-' || s.data[0] == '+')) {
        parts->negative = s.data[0] == '-';
        s = slice_of(s.data + 1, s.len - 1);
    }
    while (s.len > 0 && s.data[0] == '0') {
        s = slice_of(s.data + 1, s.len - 1);
    }
    parts->whole = quantity_take_digits(&s);
    if (s.len > 0 && s.data[0] == '.') {
        s = slice_of(s.data + 1, s.len - 1);
        parts->fraction = quantity_take_digits(&s);
    }
    parts->suffix = s;
    size_t at = 0;
    while (at < s.len && strchr("eEinumkKMGTP", s.data[at]) != NULL && s.data[at] != 0) {
        at++;
    }
    if (at < s.len && (s.data[at] == '-' || s.data[at] == '+')) {
        at++;
    }
    while (at < s.len && quantity_digit(s.data[at])) {
        at++;
    }
    return at == s.len;
}

/* Base 10 or 2 and the power of a suffix. */
static bool quantity_suffix(struct slice s, int *power, enum quantity_format *format)
{
    static const struct {
        const char *text;
        int power;
        enum quantity_format format;
    } known[] = {
        {"", 0, QUANTITY_DECIMAL},   {"n", -9, QUANTITY_DECIMAL}, {"u", -6, QUANTITY_DECIMAL},
        {"m", -3, QUANTITY_DECIMAL}, {"k", 3, QUANTITY_DECIMAL},  {"M", 6, QUANTITY_DECIMAL},
        {"G", 9, QUANTITY_DECIMAL},  {"T", 12, QUANTITY_DECIMAL}, {"P", 15, QUANTITY_DECIMAL},
        {"E", 18, QUANTITY_DECIMAL}, {"Ki", 10, QUANTITY_BINARY}, {"Mi", 20, QUANTITY_BINARY},
        {"Gi", 30, QUANTITY_BINARY}, {"Ti", 40, QUANTITY_BINARY}, {"Pi", 50, QUANTITY_BINARY},
        {"Ei", 60, QUANTITY_BINARY},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (slice_eq(s, slice_str(known[i].text))) {
            *power = known[i].power;
            *format = known[i].format;
            return true;
        }
    }
    if (s.len < 2 || (s.data[0] != 'e' && s.data[0] != 'E')) {
        return false;
    }
    size_t at = s.data[1] == '-' || s.data[1] == '+' ? 2 : 1;
    if (at == s.len) {
        return false;
    }
    int exponent = 0;
    for (size_t i = at; i < s.len; i++) {
        if (!quantity_digit(s.data[i])) {
            return false;
        }
        exponent = exponent > 10000 ? exponent : exponent * 10 + (s.data[i] - '0');
    }
    *power = s.data[1] == '-' ? -exponent : exponent;
    *format = QUANTITY_EXPONENT;
    return true;
}

/* value * 10^power, rounded up where digits are lost; false when it does not fit. *sticky says that
 * something nonzero was dropped below value before. */
static bool quantity_scale10(quantity_nano *value, int power, bool sticky)
{
    quantity_nano v = *value;
    for (; power > 0 && v != 0; power--) {
        if (__builtin_mul_overflow(v, (quantity_nano)10, &v)) {
            return false;
        }
    }
    for (; power < 0 && v != 0; power++) {
        sticky = sticky || v % 10 != 0;
        v /= 10;
    }
    *value = v + (sticky ? 1 : 0);
    return true;
}

/* Digits of both parts as one number of at most DIGITS_MAX digits; *dropped is how many digits are
 * missing at its end, *sticky whether one of them was not 0. */
static quantity_nano quantity_digits(struct slice whole, struct slice fraction, int *dropped,
                                     bool *sticky)
{
    quantity_nano v = 0;
    unsigned count = 0;
    *dropped = 0;
    *sticky = false;
    for (int part = 0; part < 2; part++) {
        struct slice s = part == 0 ? whole : fraction;
        for (size_t i = 0; i < s.len; i++) {
            if (count == DIGITS_MAX) {
                (*dropped)++;
                *sticky = *sticky || s.data[i] != '0';
                continue;
            }
            v = v * 10 + (s.data[i] - '0');
            count += v != 0;
        }
    }
    return v;
}

static bool quantity_decimal(const struct quantity_parts *parts, int power, quantity_nano *nano)
{
    int dropped;
    bool sticky;
    *nano = quantity_digits(parts->whole, parts->fraction, &dropped, &sticky);
    return quantity_scale10(nano, power - (int)parts->fraction.len + dropped + 9, sticky);
}

/* Binary amounts are capped, so this cannot fail. */
static void quantity_binary(const struct quantity_parts *parts, int power, quantity_nano *nano)
{
    int dropped;
    bool sticky;
    const quantity_nano cap = UNITS_MAX * NANO;
    quantity_nano whole = quantity_digits(parts->whole, slice_of(NULL, 0), &dropped, &sticky);
    if (dropped > 0 || whole > UNITS_MAX >> power) {
        *nano = cap;
        return;
    }
    struct slice kept = parts->fraction;
    bool more = false;
    if (kept.len > 18) {
        for (size_t i = 18; i < kept.len; i++) {
            more = more || kept.data[i] != '0';
        }
        kept.len = 18;
    }
    quantity_nano part = quantity_digits(kept, slice_of(NULL, 0), &dropped, &sticky);
    part <<= power; /* below 10^18 * 2^60 */
    if (!quantity_scale10(&part, 9 - (int)kept.len, more)) {
        part = cap;
    }
    quantity_nano sum = (whole << power) * NANO + part;
    *nano = sum > cap ? cap : sum;
}

/* The rule by which a text is kept as it stands. */
static bool quantity_keeps_text(const struct quantity_parts *parts, int power,
                                enum quantity_format format)
{
    size_t whole = parts->whole.len == 0 ? 1 : parts->whole.len; /* "0" */
    size_t digits = whole + parts->fraction.len;
    if (format == QUANTITY_BINARY) {
        if (parts->fraction.len > 0 || (int)digits > 14 - power * 3 / 10) {
            return false;
        }
        int dropped;
        bool sticky;
        quantity_nano v = quantity_digits(parts->whole, slice_of(NULL, 0), &dropped, &sticky);
        return v <= UNITS_MAX >> power && (v & 7) != 0;
    }
    int scale = power - (int)parts->fraction.len;
    if (digits > 18 || scale < -9 || scale % 3 != 0 || parts->whole.len == 0) {
        return false;
    }
    bool zeros = digits >= 3;
    for (size_t i = digits; zeros && i > digits - 3; i--) {
        size_t at = i - 1;
        uint8_t c = at < whole ? parts->whole.data[at] : parts->fraction.data[at - whole];
        zeros = c == '0';
    }
    return !zeros;
}

static int quantity_read(struct slice text, struct quantity *q, bool *keep, const char **why)
{
    struct quantity_parts parts;
    int power;
    *keep = false;
    if (text.len == 0 || text.len > QUANTITY_TEXT_BYTES_MAX || !quantity_split(text, &parts)) {
        *why = quantity_bad_format;
        return ERR_INVALID;
    }
    if (!quantity_suffix(parts.suffix, &power, &q->format)) {
        *why = quantity_bad_suffix;
        return ERR_INVALID;
    }
    if (q->format == QUANTITY_BINARY) {
        quantity_binary(&parts, power, &q->nano);
    } else if (!quantity_decimal(&parts, power, &q->nano)) {
        *why = quantity_bad_number;
        return ERR_INVALID;
    }
    *keep = quantity_keeps_text(&parts, power, q->format);
    if (q->format == QUANTITY_BINARY && q->nano < NANO && q->nano > 0) {
        q->format = QUANTITY_DECIMAL;
    }
    if (parts.negative) {
        q->nano = -q->nano;
    }
    return 0;
}

int quantity_parse(struct slice text, struct quantity *q, const char **why)
{
    bool keep;
    return quantity_read(text, q, &keep, why);
}

static size_t quantity_put_number(char *out, quantity_nano v)
{
    char digits[48];
    size_t n = 0;
    bool negative = v < 0;
    do {
        int digit = (int)(v % 10);
        digits[n++] = (char)('0' + (digit < 0 ? -digit : digit));
        v /= 10;
    } while (v != 0);
    size_t len = 0;
    if (negative) {
        out[len++] = '-';
    }
    while (n > 0) {
        out[len++] = digits[--n];
    }
    return len;
}

static size_t quantity_put_text(char *out, size_t at, const char *text)
{
    size_t n = strlen(text);
    memcpy(out + at, text, n);
    return at + n;
}

static size_t quantity_print_binary(quantity_nano nano, char *out)
{
    static const char *const suffixes[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
    quantity_nano units = nano / NANO;
    size_t step = 0;
    while (step < 6 && units % 1024 == 0) {
        units /= 1024;
        step++;
    }
    size_t len = quantity_put_number(out, units);
    return quantity_put_text(out, len, suffixes[step]);
}

size_t quantity_print(const struct quantity *q, char out[QUANTITY_TEXT_BYTES_MAX])
{
    static const char *const decimal[] = {"n", "u", "m", "", "k", "M", "G", "T", "P", "E"};
    static const char *const exponents[] = {"e-9", "e-6", "e-3", "",    "e3",
                                            "e6",  "e9",  "e12", "e15", "e18"};
    quantity_nano v = q->nano;
    if (v == 0) {
        out[0] = '0';
        return 1;
    }
    const quantity_nano kibi = 1024 * NANO;
    /* What would lose digits shows as a decimal amount. */
    if (q->format == QUANTITY_BINARY && v % NANO == 0 && (v >= kibi || v <= -kibi)) {
        return quantity_print_binary(v, out);
    }
    size_t step = 0;
    while (step < 9 && v % 1000 == 0) {
        v /= 1000;
        step++;
    }
    size_t len = quantity_put_number(out, v);
    return quantity_put_text(out, len,
                             q->format == QUANTITY_EXPONENT ? exponents[step] : decimal[step]);
}

int quantity_canonical(struct slice text, char out[QUANTITY_TEXT_BYTES_MAX], size_t *len,
                       const char **why)
{
    struct quantity q;
    bool keep;
    int rc = quantity_read(text, &q, &keep, why);
    if (rc != 0) {
        return rc;
    }
    if (keep) {
        memcpy(out, text.data, text.len);
        *len = text.len;
    } else {
        *len = quantity_print(&q, out);
    }
    return 0;
}

/* Sums stay within what parsing takes. */
static bool quantity_shift(struct quantity *q, quantity_nano by, enum quantity_format format)
{
    quantity_nano sum;
    if (__builtin_add_overflow(q->nano, by, &sum)) {
        return false;
    }
    if (q->nano == 0) {
        q->format = format;
    }
    q->nano = sum;
    return true;
}

bool quantity_add(struct quantity *q, const struct quantity *more)
{
    return quantity_shift(q, more->nano, more->format);
}

bool quantity_sub(struct quantity *q, const struct quantity *less)
{
    return quantity_shift(q, -less->nano, less->format);
}

static int64_t quantity_rounded(quantity_nano v, quantity_nano unit)
{
    quantity_nano n = v / unit;
    if (v % unit != 0) {
        n += v < 0 ? -1 : 1;
    }
    return n > INT64_MAX ? INT64_MAX : n < INT64_MIN ? INT64_MIN : (int64_t)n;
}

int64_t quantity_units(const struct quantity *q)
{
    return quantity_rounded(q->nano, NANO);
}

int64_t quantity_millis(const struct quantity *q)
{
    return quantity_rounded(q->nano, NANO / 1000);
}
