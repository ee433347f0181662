/* decode_plain.c - the values that are no messages: texts, numbers, times, quantities, raw JSON. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugins/object/decoder.h"
#include "plugins/object/instant.h"
#include "plugins/object/quantity.h"

/* The next position that is no line end. */
static size_t base64_skip(struct slice in, size_t i)
{
    while (i < in.len && (in.data[i] == '\n' || in.data[i] == '\r')) {
        i++;
    }
    return i;
}

/* *bad is the offset Go names. */
static bool decode_base64(struct slice in, uint8_t *out, size_t *len, size_t *bad)
{
    size_t n = 0;
    uint32_t bits = 0;
    unsigned count = 0;
    size_t i = 0;
    for (; i < in.len && in.data[i] != '='; i++) {
        uint8_t c = in.data[i];
        uint32_t v;
        if (c >= 'A' && c <= 'Z') {
            v = c - 'A';
        } else if (c >= 'a' && c <= 'z') {
            v = (uint32_t)(c - 'a' + 26);
        } else if (c >= '0' && c <= '9') {
            v = (uint32_t)(c - '0' + 52);
        } else if (c == '+' || c == '/') {
            v = c == '+' ? 62 : 63;
        } else if (c == '\n' || c == '\r') {
            continue;
        } else {
            *bad = i;
            return false;
        }
        bits = bits << 6 | v;
        if (++count == 4) {
            out[n++] = (uint8_t)(bits >> 16);
            out[n++] = (uint8_t)(bits >> 8);
            out[n++] = (uint8_t)bits;
            count = 0;
            bits = 0;
        }
    }
    if (i == in.len) {
        *bad = i - count;
        *len = n;
        return count == 0;
    }
    /* Padding: one sign after three characters, two after two, then nothing but line ends. */
    if (count < 2) {
        *bad = i;
        return false;
    }
    i = base64_skip(in, i + 1);
    if (count == 2) {
        if (i == in.len || in.data[i] != '=') {
            *bad = i == in.len ? i : i - 1;
            return false;
        }
        i = base64_skip(in, i + 1);
    }
    if (i < in.len) {
        *bad = i;
        return false;
    }
    out[n++] = (uint8_t)(count == 3 ? bits >> 10 : bits >> 4);
    if (count == 3) {
        out[n++] = (uint8_t)(bits >> 2);
    }
    *len = n;
    return true;
}

static int decode_bytes(struct decoder *d, const struct decode_want *want, struct value *out)
{
    if (*d->s.p != '"') {
        return decode_skip_wrong(d, want);
    }
    d->s.p++;
    struct slice text;
    int rc = scan_text(&d->s, &text);
    if (rc != 0) {
        return rc;
    }
    /* In place: three bytes out of four. The text is part of our copy. */
    uint8_t *bytes = (uint8_t *)(uintptr_t)text.data;
    size_t len = 0;
    size_t bad = 0;
    if (!decode_base64(text, bytes, &len, &bad)) {
        char sentence[64];
        snprintf(sentence, sizeof sentence, "illegal base64 data at input byte %zu", bad);
        decode_refused(d, sentence);
        return 0;
    }
    *out = value_bytes(slice_of(bytes, len));
    return 0;
}

static int decode_text(struct decoder *d, const struct decode_want *want, struct value *out)
{
    if (*d->s.p != '"') {
        return decode_skip_wrong(d, want);
    }
    d->s.p++;
    struct slice text;
    int rc = scan_text(&d->s, &text);
    *out = value_text(text);
    return rc;
}

static int decode_bool(struct decoder *d, const struct decode_want *want, struct value *out)
{
    uint8_t c = *d->s.p;
    if (c != 't' && c != 'f') {
        return decode_skip_wrong(d, want);
    }
    *out = value_bool(c == 't');
    return scan_literal(&d->s, c == 't' ? "true" : "false");
}

/* A number for an integer of 32 or 64 bits. */
static int decode_int(struct decoder *d, const struct decode_want *want, struct value *out)
{
    uint8_t c = *d->s.p;
    if (c != '-' && (c < '0' || c > '9')) {
        return decode_skip_wrong(d, want);
    }
    struct slice digits;
    bool integer;
    int rc = scan_number(&d->s, &digits, &integer);
    if (rc != 0) {
        return rc;
    }
    int64_t v = 0;
    bool fits = integer && scan_int64(digits, &v) &&
                (want->kind != SCHEMA_INT32 || (v >= INT32_MIN && v <= INT32_MAX));
    if (!fits) {
        char found[80];
        snprintf(found, sizeof found, "number %.*s", (int)(digits.len > 64 ? 64 : digits.len),
                 (const char *)digits.data);
        decode_wrong(d, want, found);
        return 0;
    }
    *out = value_int(v);
    return 0;
}

/* strtod wants a NUL. */
double decode_strtod(struct slice digits)
{
    char text[64];
    size_t n = digits.len < sizeof text - 1 ? digits.len : sizeof text - 1;
    memcpy(text, digits.data, n);
    text[n] = 0;
    return strtod(text, NULL);
}

static int decode_double(struct decoder *d, const struct decode_want *want, struct value *out)
{
    uint8_t c = *d->s.p;
    if (c != '-' && (c < '0' || c > '9')) {
        return decode_skip_wrong(d, want);
    }
    struct slice digits;
    bool integer;
    int rc = scan_number(&d->s, &digits, &integer);
    if (rc == 0) {
        *out = (struct value){.kind = VALUE_DOUBLE, .number = decode_strtod(digits)};
    }
    return rc;
}

static int decode_int_or_text(struct decoder *d, struct value *out)
{
    static const struct decode_want text = {SCHEMA_TEXT, NULL, "string", false};
    static const struct decode_want number = {SCHEMA_INT32, NULL, "int32", false};
    unsigned depth = d->depth;
    d->depth = 0; /* its own reader: the message does not know the field */
    int rc = *d->s.p == '"' ? decode_text(d, &text, out) : decode_int(d, &number, out);
    d->depth = depth;
    return rc;
}

static int decode_time(struct decoder *d, bool micros, struct value *out)
{
    if (*d->s.p != '"') {
        static const struct decode_want text = {SCHEMA_TEXT, NULL, "string", false};
        unsigned depth = d->depth;
        d->depth = 0;
        int rc = decode_skip_wrong(d, &text);
        d->depth = depth;
        return rc;
    }
    d->s.p++;
    struct slice text;
    int rc = scan_text(&d->s, &text);
    if (rc != 0) {
        return rc;
    }
    int64_t v;
    struct errmsg why;
    if (instant_parse(text, micros, &v, &why) != 0) {
        decode_refused(d, why.text);
        return 0;
    }
    if (!micros) {
        int64_t rest = v % 1000000;
        v = v / 1000000 - (rest < 0 ? 1 : 0);
    }
    *out = value_int(v);
    return 0;
}

static int decode_quantity(struct decoder *d, struct value *out)
{
    uint8_t c = *d->s.p;
    struct slice text;
    bool integer;
    int rc;
    if (c == '"') {
        d->s.p++;
        rc = scan_text(&d->s, &text);
        while (rc == 0 && text.len > 0 && text.data[0] == ' ') {
            text = slice_of(text.data + 1, text.len - 1);
        }
        while (rc == 0 && text.len > 0 && text.data[text.len - 1] == ' ') {
            text.len--;
        }
    } else if (c == '-' || (c >= '0' && c <= '9')) {
        rc = scan_number(&d->s, &text, &integer);
    } else {
        text = slice_of(NULL, 0);
        rc = scan_skip(&d->s, d->depth);
    }
    if (rc != 0) {
        return rc;
    }
    char canonical[QUANTITY_TEXT_BYTES_MAX];
    size_t len;
    const char *why;
    if (quantity_canonical(text, canonical, &len, &why) != 0) {
        decode_refused(d, why);
        return 0;
    }
    struct slice kept = text;
    if (len != text.len || memcmp(canonical, text.data, len) != 0) {
        kept = arena_dup(d->arena, slice_of(canonical, len));
        if (kept.data == NULL) {
            return ERR_NOMEM;
        }
    }
    *out = value_text(kept);
    return 0;
}

/* Takes out blanks between tokens, in place. */
static size_t decode_compact(uint8_t *json, size_t len)
{
    size_t n = 0;
    bool text = false;
    for (size_t i = 0; i < len; i++) {
        uint8_t c = json[i];
        if (!text && (c == ' ' || c == '\n' || c == '\t' || c == '\r')) {
            continue;
        }
        json[n++] = c;
        if (text && c == '\\') {
            json[n++] = json[++i];
        } else if (c == '"') {
            text = !text;
        }
    }
    return n;
}

static int decode_raw(struct decoder *d, struct value *out)
{
    uint8_t *begin = d->s.p;
    int rc = scan_skip(&d->s, d->depth);
    if (rc != 0) {
        return rc;
    }
    size_t len = decode_compact(begin, (size_t)(d->s.p - begin));
    *out = (struct value){.kind = VALUE_RAW, .len = (uint32_t)len, .text = begin};
    return 0;
}

int decode_plain(struct decoder *d, const struct decode_want *want, struct value *out)
{
    switch (want->kind) {
    case SCHEMA_TEXT:
        return decode_text(d, want, out);
    case SCHEMA_BYTES:
        return decode_bytes(d, want, out);
    case SCHEMA_BOOL:
        return decode_bool(d, want, out);
    case SCHEMA_INT32:
    case SCHEMA_INT64:
        return decode_int(d, want, out);
    case SCHEMA_DOUBLE:
        return decode_double(d, want, out);
    case SCHEMA_TIME:
    case SCHEMA_MICROTIME:
        return decode_time(d, want->kind == SCHEMA_MICROTIME, out);
    case SCHEMA_QUANTITY:
        return decode_quantity(d, out);
    case SCHEMA_INT_OR_TEXT:
        return decode_int_or_text(d, out);
    case SCHEMA_RAW:
        return decode_raw(d, out);
    default:
        return ERR_INVALID;
    }
}

struct value decode_zero(enum schema_kind kind)
{
    switch (kind) {
    case SCHEMA_TEXT:
        return value_text(slice_of("", 0));
    case SCHEMA_QUANTITY:
        return value_text(slice_of("0", 1));
    case SCHEMA_BYTES:
        return value_bytes(slice_of("", 0));
    case SCHEMA_BOOL:
        return value_bool(false);
    case SCHEMA_DOUBLE:
        return (struct value){.kind = VALUE_DOUBLE};
    case SCHEMA_RAW:
        return (struct value){.kind = VALUE_RAW, .len = 4, .text = (const uint8_t *)"null"};
    case SCHEMA_MESSAGE:
        return value_empty(VALUE_MESSAGE);
    case SCHEMA_WRAPPER:
        return value_empty(VALUE_LIST);
    default:
        return value_int(0);
    }
}
