/* cause.c - the sentences of causes, put together in one buffer each. */
#include "plugins/object/cause.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "plugins/object/encode.h"
#include "plugins/object/quote.h"

static const struct {
    const char *name;
    const char *text;
} cause_words[] = {
    [CAUSE_NOT_FOUND] = {"FieldValueNotFound", "Not found"},
    [CAUSE_REQUIRED] = {"FieldValueRequired", "Required value"},
    [CAUSE_DUPLICATE] = {"FieldValueDuplicate", "Duplicate value"},
    [CAUSE_INVALID] = {"FieldValueInvalid", "Invalid value"},
    [CAUSE_NOT_SUPPORTED] = {"FieldValueNotSupported", "Unsupported value"},
    [CAUSE_FORBIDDEN] = {"FieldValueForbidden", "Forbidden"},
    [CAUSE_TOO_LONG] = {"FieldValueTooLong", "Too long"},
    [CAUSE_TOO_MANY] = {"FieldValueTooMany", "Too many"},
    [CAUSE_INTERNAL] = {"InternalError", "Internal error"},
};

void causes_init(struct causes *c, struct arena *arena)
{
    c->arena = arena;
    c->count = 0;
    c->failed = false;
}

const char *cause_reason_name(enum cause_reason reason)
{
    return cause_words[reason].name;
}

void place_print(const struct place *p, struct buf *out)
{
    if (p == NULL) {
        return;
    }
    place_print(p->up, out);
    if (p->name != NULL) {
        if (out->len > 0) {
            buf_append_byte(out, '.');
        }
        buf_append_str(out, p->name);
    } else if (p->key.data != NULL) {
        buf_append_byte(out, '[');
        buf_append_slice(out, p->key);
        buf_append_byte(out, ']');
    } else {
        buf_printf(out, "[%zu]", p->index);
    }
}

/* Keeps one cause: "Reason: shown: detail", either part may be missing (NULL, ""). */
static void cause_keep(struct causes *c, enum cause_reason reason, const struct place *p,
                       const struct buf *shown, const char *detail)
{
    if (c->count == CAUSES_MAX) {
        return;
    }
    struct buf text;
    struct buf field;
    buf_init(&text);
    buf_init(&field);
    place_print(p, &field);
    buf_append_str(&text, cause_words[reason].text);
    if (shown != NULL) {
        buf_append_str(&text, ": ");
        buf_append_slice(&text, buf_slice(shown));
    }
    if (detail[0] != 0) {
        buf_append_str(&text, ": ");
        buf_append_str(&text, detail);
    }
    struct slice kept_text = arena_dup(c->arena, buf_slice(&text));
    struct slice kept_field = arena_dup(c->arena, buf_slice(&field));
    bool failed = text.failed || field.failed || (shown != NULL && shown->failed);
    if (failed || kept_text.data == NULL || kept_field.data == NULL) {
        c->failed = true;
    } else {
        c->items[c->count++] =
            (struct cause){.reason = reason, .field = kept_field, .message = kept_text};
    }
    buf_close(&text);
    buf_close(&field);
}

#define CAUSE_DETAIL_BYTES_MAX 1024

static void cause_keep_v(struct causes *c, enum cause_reason reason, const struct place *p,
                         const struct buf *shown, const char *format, va_list args)
{
    char detail[CAUSE_DETAIL_BYTES_MAX];
    vsnprintf(detail, sizeof detail, format, args);
    cause_keep(c, reason, p, shown, detail);
}

void cause_required(struct causes *c, const struct place *p, const char *detail)
{
    cause_keep(c, CAUSE_REQUIRED, p, NULL, detail);
}

void cause_invalid(struct causes *c, const struct place *p, const struct schema_field *f,
                   const struct value *v, const char *format, ...)
{
    struct buf shown;
    va_list args;
    buf_init(&shown);
    bool element = f != NULL && f->shape != SCHEMA_ONE && v != NULL && v->kind != VALUE_LIST &&
                   v->kind != VALUE_MAP;
    if (v != NULL && v->kind == VALUE_TEXT) {
        quote_go(value_slice(v), &shown);
    } else if (f != NULL && element && f->kind == SCHEMA_MESSAGE) {
        encode_json(schema_field_type(f), v, &shown);
    } else if (f != NULL && !element) {
        encode_field(f, v, &shown);
    } else if (v != NULL) {
        encode_json(NULL, v, &shown);
    } else {
        buf_append_str(&shown, "null");
    }
    va_start(args, format);
    cause_keep_v(c, CAUSE_INVALID, p, &shown, format, args);
    va_end(args);
    buf_close(&shown);
}

void cause_invalid_text(struct causes *c, const struct place *p, struct slice text,
                        const char *format, ...)
{
    struct buf shown;
    va_list args;
    buf_init(&shown);
    quote_go(text, &shown);
    va_start(args, format);
    cause_keep_v(c, CAUSE_INVALID, p, &shown, format, args);
    va_end(args);
    buf_close(&shown);
}

void cause_invalid_int(struct causes *c, const struct place *p, int64_t v, const char *format, ...)
{
    struct buf shown;
    va_list args;
    buf_init(&shown);
    buf_printf(&shown, "%" PRId64, v);
    va_start(args, format);
    cause_keep_v(c, CAUSE_INVALID, p, &shown, format, args);
    va_end(args);
    buf_close(&shown);
}

static void cause_about_text(struct causes *c, enum cause_reason reason, const struct place *p,
                             struct slice text, const char *detail)
{
    struct buf shown;
    buf_init(&shown);
    quote_go(text, &shown);
    cause_keep(c, reason, p, &shown, detail);
    buf_close(&shown);
}

void cause_duplicate(struct causes *c, const struct place *p, struct slice text)
{
    cause_about_text(c, CAUSE_DUPLICATE, p, text, "");
}

void cause_duplicate_json(struct causes *c, const struct place *p, struct slice shown,
                          const char *detail)
{
    struct buf text;
    buf_init(&text);
    buf_append_slice(&text, shown);
    cause_keep(c, CAUSE_DUPLICATE, p, &text, detail);
    buf_close(&text);
}

void cause_not_found(struct causes *c, const struct place *p, struct slice text)
{
    cause_about_text(c, CAUSE_NOT_FOUND, p, text, "");
}

void cause_forbidden(struct causes *c, const struct place *p, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    cause_keep_v(c, CAUSE_FORBIDDEN, p, NULL, format, args);
    va_end(args);
}

void cause_not_supported(struct causes *c, const struct place *p, struct slice text,
                         const char *names)
{
    char detail[CAUSE_DETAIL_BYTES_MAX];
    size_t len = (size_t)snprintf(detail, sizeof detail, "supported values: ");
    for (const char *at = names; *at != 0;) {
        size_t n = strcspn(at, ",");
        len += (size_t)snprintf(detail + len, sizeof detail - len, "%s\"%.*s\"",
                                at == names ? "" : ", ", (int)n, at);
        at += n + (at[n] == ',');
    }
    cause_about_text(c, CAUSE_NOT_SUPPORTED, p, text, detail);
}

void cause_not_in_enum(struct causes *c, const struct place *p, struct slice text,
                       const struct schema_type *values)
{
    char names[CAUSE_DETAIL_BYTES_MAX / 2];
    size_t len = 0;
    for (size_t i = 0; i < values->value_count && len < sizeof names; i++) {
        len += (size_t)snprintf(names + len, sizeof names - len, "%s%s", i > 0 ? "," : "",
                                schema_enum_value(values, i));
    }
    cause_not_supported(c, p, text, names);
}

void cause_too_long(struct causes *c, const struct place *p, size_t max)
{
    char detail[64];
    snprintf(detail, sizeof detail, "may not be more than %zu byte%s", max, max == 1 ? "" : "s");
    cause_keep(c, CAUSE_TOO_LONG, p, NULL, detail);
}

void cause_too_many(struct causes *c, const struct place *p, size_t n, size_t max)
{
    char detail[64];
    struct buf shown;
    buf_init(&shown);
    buf_printf(&shown, "%zu", n);
    snprintf(detail, sizeof detail, "must have at most %zu item%s", max, max == 1 ? "" : "s");
    cause_keep(c, CAUSE_TOO_MANY, p, &shown, detail);
    buf_close(&shown);
}

static bool cause_is_twin(const struct causes *c, size_t i)
{
    for (size_t k = 0; k < i; k++) {
        if (slice_eq(c->items[k].field, c->items[i].field) &&
            slice_eq(c->items[k].message, c->items[i].message)) {
            return true;
        }
    }
    return false;
}

void causes_message(const struct causes *c, const char *kind, struct slice name, struct buf *out)
{
    size_t different = 0;
    for (size_t i = 0; i < c->count; i++) {
        different += !cause_is_twin(c, i);
    }
    buf_append_str(out, kind);
    buf_append_byte(out, ' ');
    quote_go(name, out);
    buf_append_str(out, different > 1 ? " is invalid: [" : " is invalid: ");
    bool first = true;
    for (size_t i = 0; i < c->count; i++) {
        if (cause_is_twin(c, i)) {
            continue;
        }
        if (!first) {
            buf_append_str(out, ", ");
        }
        first = false;
        buf_append_slice(out, c->items[i].field);
        buf_append_str(out, ": ");
        buf_append_slice(out, c->items[i].message);
    }
    if (different > 1) {
        buf_append_byte(out, ']');
    }
}

void causes_kind(const struct schema_type *t, struct buf *out)
{
    const char *group = schema_text(t, t->group);
    buf_append_str(out, schema_type_name(t));
    if (group[0] != 0) {
        buf_append_byte(out, '.');
        buf_append_str(out, group);
    }
}
