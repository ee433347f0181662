/* encode.c - the JSON writer for trees. */
#include "plugins/object/encode.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"
#include "plugins/object/instant.h"

/* Bytes that stand for themselves: one look-up for each byte of all texts is what encoding costs
 * most. */
static const bool encode_plain[256] = {
    [0x20] = true, [0x21] = true,        ['#' ... '%'] = true,  ['\'' ... ';'] = true,
    ['='] = true,  ['?' ... '['] = true, [']' ... 0x7f] = true,
};

/* As buf_append_byte, which is called for every second thing that is written. */
static inline void encode_byte(struct buf *out, uint8_t byte)
{
    if (out->len < out->cap && !out->failed) {
        out->data[out->len++] = byte;
    } else {
        buf_append_byte(out, byte);
    }
}

static void encode_escape(uint8_t c, struct buf *out)
{
    static const char *const names[] = {"\\b", "\\t", "\\n", NULL, "\\f", "\\r"};
    if (c == '"' || c == '\\') {
        encode_byte(out, '\\');
        encode_byte(out, c);
    } else if (c >= 8 && c <= 13 && names[c - 8] != NULL) {
        buf_append_str(out, names[c - 8]);
    } else {
        buf_printf(out, "\\u%04x", c);
    }
}

void encode_text(struct slice text, struct buf *out)
{
    if (!buf_reserve(out, text.len + 2)) {
        return;
    }
    out->data[out->len++] = '"';
    size_t at = 0;
    while (at < text.len && encode_plain[text.data[at]]) {
        at++;
    }
    if (at == text.len && at > 0) { /* nearly always */
        memcpy(out->data + out->len, text.data, at);
        out->len += at;
        out->data[out->len++] = '"';
        return;
    }
    at = 0;
    while (at < text.len) {
        size_t from = at;
        while (at < text.len && encode_plain[text.data[at]]) {
            at++;
        }
        buf_append(out, text.data + from, at - from);
        if (at == text.len) {
            break;
        }
        const uint8_t *p = text.data + at;
        size_t n = utf8_length(p, text.len - at);
        if (n == 0) {
            buf_append_str(out, "\\ufffd");
            n = 1;
        } else if (n == 1) {
            encode_escape(*p, out);
        } else if (n == 3 && p[0] == 0xe2 && p[1] == 0x80 && (p[2] | 1) == 0xa9) {
            buf_append_str(out, p[2] == 0xa8 ? "\\u2028" : "\\u2029");
        } else {
            buf_append(out, p, n);
        }
        at += n;
    }
    encode_byte(out, '"');
}

/* The shortest digits that read back the same; an exponent only far from one, as Go has it. */
static void encode_double(double v, struct buf *out)
{
    char text[40];
    if (!isfinite(v)) {
        buf_append_str(out, "null");
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*e", digits - 1, v);
        if (strtod(text, NULL) == v) {
            double size = fabs(v);
            if (size == 0 || (size >= 1e-6 && size < 1e21)) {
                int exponent = (int)strtol(strchr(text, 'e') + 1, NULL, 10);
                int after = digits - 1 - exponent;
                snprintf(text, sizeof text, "%.*f", after > 0 ? after : 0, v);
            } else {
                /* Go writes e-7, not e-07. */
                char *e = strchr(text, 'e');
                long exponent = strtol(e + 1, NULL, 10);
                snprintf(e, sizeof text - (size_t)(e - text), "e%+ld", exponent);
            }
            break;
        }
    }
    buf_append_str(out, text);
}

static void encode_base64(struct slice bytes, struct buf *out)
{
    struct json j;
    json_init(&j, out);
    json_base64(&j, bytes);
}

static void encode_time(int64_t v, bool micros, struct buf *out)
{
    char text[INSTANT_TEXT_BYTES_MAX];
    size_t n = micros ? instant_print_micros(v, text) : instant_print(v, text);
    encode_byte(out, '"');
    buf_append(out, text, n);
    encode_byte(out, '"');
}

static void encode_message(const struct schema_type *t, const struct value *v, struct buf *out);
static void encode_any(const struct value *v, struct buf *out);

static void encode_texts(const struct value *list, struct buf *out)
{
    encode_byte(out, '[');
    for (size_t i = 0; i < value_len(list); i++) {
        if (i > 0) {
            encode_byte(out, ',');
        }
        encode_text(value_slice(&list->items[i]), out);
    }
    encode_byte(out, ']');
}

static void encode_one(const struct schema_field *f, const struct value *v, struct buf *out)
{
    switch ((enum schema_kind)f->kind) {
    case SCHEMA_MESSAGE:
        encode_message(schema_field_type(f), v, out);
        return;
    case SCHEMA_TIME:
    case SCHEMA_MICROTIME:
        if (v->kind == VALUE_INT) {
            encode_time(v->integer, f->kind == SCHEMA_MICROTIME, out);
            return;
        }
        break;
    case SCHEMA_BYTES:
        encode_base64(value_slice(v), out);
        return;
    case SCHEMA_WRAPPER:
        encode_texts(v, out);
        return;
    default:
        break;
    }
    encode_any(v, out);
}

/* How an unset field looks that is shown nevertheless. */
static void encode_unset(const struct schema_field *f, struct buf *out)
{
    if ((f->flags & SCHEMA_FIELD_POINTER) || f->shape != SCHEMA_ONE) {
        buf_append_str(out, "null");
        return;
    }
    switch ((enum schema_kind)f->kind) {
    case SCHEMA_TEXT:
        buf_append_str(out, "\"\"");
        return;
    case SCHEMA_QUANTITY:
        buf_append_str(out, "\"0\"");
        return;
    case SCHEMA_BOOL:
        buf_append_str(out, "false");
        return;
    case SCHEMA_INT32:
    case SCHEMA_INT64:
    case SCHEMA_DOUBLE:
    case SCHEMA_INT_OR_TEXT:
        encode_byte(out, '0');
        return;
    case SCHEMA_MESSAGE:
        encode_message(schema_field_type(f), NULL, out);
        return;
    default:
        buf_append_str(out, "null");
        return;
    }
}

void encode_field(const struct schema_field *f, const struct value *v, struct buf *out)
{
    if (v == NULL) {
        encode_unset(f, out);
        return;
    }
    if (f->shape == SCHEMA_ONE) {
        encode_one(f, v, out);
        return;
    }
    bool map = f->shape == SCHEMA_MAP;
    encode_byte(out, map ? '{' : '[');
    for (size_t i = 0; i < value_len(v); i++) {
        if (i > 0) {
            encode_byte(out, ',');
        }
        if (map) {
            encode_text(value_map_key(v, i), out);
            encode_byte(out, ':');
        }
        encode_one(f, map ? value_map_at(v, i) : &v->items[i], out);
    }
    encode_byte(out, map ? '}' : ']');
}

/* Whether an unset or given value is shown. */
static bool encode_shows(const struct schema_field *f, const struct value *v)
{
    if (schema_field_always(f)) {
        return true;
    }
    if (v == NULL) {
        return false;
    }
    if (f->flags & (SCHEMA_FIELD_POINTER | SCHEMA_FIELD_OMITZERO)) {
        return true;
    }
    return f->shape == SCHEMA_ONE && f->kind == SCHEMA_MESSAGE ? true : !value_is_zero(v);
}

/* v NULL = no field is set. */
static void encode_message(const struct schema_type *t, const struct value *v, struct buf *out)
{
    const struct schema_field *fields = schema_fields(t);
    size_t at = 0;
    size_t n = value_len(v);
    bool comma = false;
    encode_byte(out, '{');
    for (unsigned i = 0; i < t->field_count; i++) {
        const struct schema_field *f = fields + i;
        const struct value *member = NULL;
        if (at < n && v->items[at].field == i) {
            member = &v->items[at++];
        }
        if (!encode_shows(f, member)) {
            continue;
        }
        if (!buf_reserve(out, f->name_len + 4u)) {
            return;
        }
        uint8_t *to = out->data + out->len;
        if (comma) {
            *to++ = ',';
        }
        *to++ = '"';
        memcpy(to, schema_field_name(f), f->name_len);
        to += f->name_len;
        *to++ = '"';
        *to++ = ':';
        out->len = (size_t)(to - out->data);
        comma = true;
        encode_field(f, member, out);
    }
    encode_byte(out, '}');
}

/* A value that needs no schema. */
static void encode_any(const struct value *v, struct buf *out)
{
    switch ((enum value_kind)v->kind) {
    case VALUE_NULL:
    case VALUE_MESSAGE:
        buf_append_str(out, "null");
        return;
    case VALUE_BOOL:
        buf_append_str(out, v->boolean ? "true" : "false");
        return;
    case VALUE_INT:
        buf_append_int(out, v->integer);
        return;
    case VALUE_DOUBLE:
        encode_double(v->number, out);
        return;
    case VALUE_TEXT:
        encode_text(value_slice(v), out);
        return;
    case VALUE_BYTES:
        encode_base64(value_slice(v), out);
        return;
    case VALUE_RAW:
        buf_append_slice(out, value_slice(v));
        return;
    case VALUE_LIST:
    case VALUE_MAP:
        break;
    }
    bool map = v->kind == VALUE_MAP;
    encode_byte(out, map ? '{' : '[');
    for (size_t i = 0; i < v->len; i++) {
        if (i > 0) {
            encode_byte(out, ',');
        }
        if (map) {
            encode_text(value_map_key(v, i), out);
            encode_byte(out, ':');
        }
        encode_any(map ? value_map_at(v, i) : &v->items[i], out);
    }
    encode_byte(out, map ? '}' : ']');
}

void encode_json(const struct schema_type *t, const struct value *v, struct buf *out)
{
    if (t == NULL) {
        encode_any(v, out);
    } else {
        encode_message(t, v, out);
    }
}
