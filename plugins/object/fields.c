/* fields.c - field selectors. */
#include "plugins/object/fields.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugins/object/object.h"

static int field_slice_order(const void *a, const void *b)
{
    return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

/* Splits at commas that are not escaped. */
static int field_split(struct slice text, struct arena *arena, struct slice **out, size_t *count)
{
    size_t n = 1;
    for (size_t i = 0; i < text.len; i++) {
        n += text.data[i] == ',';
    }
    struct slice *parts = arena_alloc(arena, n * sizeof *parts);
    if (parts == NULL) {
        return ERR_NOMEM;
    }
    size_t begin = 0;
    size_t made = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '\\') {
            i++;
        } else if (text.data[i] == ',') {
            parts[made++] = slice_of(text.data + begin, i - begin);
            begin = i + 1;
        }
    }
    parts[made++] = slice_of(text.data + begin, text.len - begin);
    qsort(parts, made, sizeof *parts, field_slice_order);
    *out = parts;
    *count = made;
    return 0;
}

static int field_unescape(struct slice in, struct arena *arena, struct slice *out, struct errmsg *e)
{
    uint8_t *to = arena_alloc(arena, in.len);
    size_t n = 0;
    if (to == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < in.len; i++) {
        uint8_t c = in.data[i];
        if (c == '=' || c == ',') {
            return errmsg_set(e, ERR_INVALID,
                              "invalid field selector: unescaped character in value: %c", c);
        }
        if (c == '\\') {
            i++;
            c = i < in.len ? in.data[i] : 0;
            if (c != '\\' && c != ',' && c != '=') {
                int shown = i < in.len ? 2 : 1;
                return errmsg_set(e, ERR_INVALID,
                                  "invalid field selector: invalid escape sequence: %.*s", shown,
                                  (const char *)in.data + i - 1);
            }
        }
        to[n++] = c;
    }
    *out = slice_of(to, n);
    return 0;
}

static int field_term(struct slice all, struct slice part, struct arena *arena,
                      struct field_term *out, struct errmsg *e)
{
    for (size_t i = 0; i < part.len; i++) {
        bool next = i + 1 < part.len && part.data[i + 1] == '=';
        bool not = part.data[i] == '!' && next;
        if (part.data[i] != '=' && !not ) {
            continue;
        }
        size_t len = not || (part.data[i] == '=' && next) ? 2 : 1;
        out->field = slice_of(part.data, i);
        out->not_equal = not ;
        return field_unescape(slice_of(part.data + i + len, part.len - i - len), arena, &out->value,
                              e);
    }
    return errmsg_set(e, ERR_INVALID, "invalid selector: '%.*s'; can't understand '%.*s'",
                      (int)all.len, (const char *)all.data, (int)part.len, (const char *)part.data);
}

int field_selector_parse(struct slice text, struct arena *arena, struct field_selector *out,
                         struct errmsg *e)
{
    struct slice copy = arena_dup(arena, text);
    struct slice *parts;
    size_t count;
    *out = (struct field_selector){0};
    if (copy.data == NULL) {
        return ERR_NOMEM;
    }
    int rc = field_split(copy, arena, &parts, &count);
    if (rc != 0) {
        return rc;
    }
    out->items = arena_alloc(arena, count * sizeof *out->items);
    if (out->items == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        if (parts[i].len == 0) {
            continue;
        }
        rc = field_term(copy, parts[i], arena, &out->items[out->count], e);
        if (rc != 0) {
            return rc;
        }
        out->count++;
    }
    return 0;
}

static bool field_is_known(const struct schema_resource *r, struct slice field)
{
    if (slice_eq(field, slice_str("metadata.name")) ||
        ((r == NULL || (r->rules & SCHEMA_RULE_NAMESPACED)) &&
         slice_eq(field, slice_str("metadata.namespace")))) {
        return true;
    }
    const char *list = r == NULL ? "" : schema_text(r, r->selectors);
    while (*list != 0) {
        size_t n = strcspn(list, ",");
        if (slice_eq(slice_of(list, n), field)) {
            return true;
        }
        list += n + (list[n] == ',');
    }
    return false;
}

int field_selector_check(const struct field_selector *s, const struct schema_type *kind,
                         struct errmsg *e)
{
    for (size_t i = 0; i < s->count; i++) {
        if (!field_is_known(schema_resource_of(kind), s->items[i].field)) {
            return errmsg_set(e, ERR_INVALID, "field label not supported: %.*s",
                              (int)s->items[i].field.len, (const char *)s->items[i].field.data);
        }
    }
    return 0;
}

/* The text a field selector compares: numbers and booleans as written, absent as zero, and of a
 * list of addresses the first. */
static struct slice field_text(const struct schema_type *kind, const struct value *object,
                               struct slice field, char scratch[32])
{
    char path[128];
    if (field.len >= sizeof path) {
        return slice_of(NULL, 0);
    }
    memcpy(path, field.data, field.len);
    path[field.len] = 0;
    if (strcmp(path, "source") == 0) {
        memcpy(path, "source.component", sizeof "source.component");
    }
    const struct value *v = value_at(kind, object, path);
    const struct schema_type *t = kind;
    const struct schema_field *f = NULL;
    for (const char *at = path; *at != 0 && t != NULL;) {
        size_t n = strcspn(at, ".");
        f = schema_find(t, slice_of(at, n));
        t = f == NULL ? NULL : schema_field_type(f);
        at += n + (at[n] == '.');
    }
    if (v != NULL && v->kind == VALUE_LIST) {
        v = v->len == 0 || v->items[0].len == 0 ? NULL : &v->items[0].items[0];
    }
    if (v != NULL && v->kind == VALUE_TEXT) {
        return value_slice(v);
    }
    if (f != NULL && f->kind == SCHEMA_BOOL) {
        return slice_str(v != NULL && v->boolean ? "true" : "false");
    }
    if (f != NULL && (f->kind == SCHEMA_INT32 || f->kind == SCHEMA_INT64)) {
        int n = snprintf(scratch, 32, "%" PRId64, v == NULL ? 0 : v->integer);
        return slice_of(scratch, (size_t)n);
    }
    return slice_of("", 0);
}

bool field_selector_matches(const struct field_selector *s, const struct schema_type *kind,
                            const struct value *object)
{
    for (size_t i = 0; i < s->count; i++) {
        char scratch[32];
        struct slice text = field_text(kind, object, s->items[i].field, scratch);
        if (slice_eq(text, s->items[i].value) == s->items[i].not_equal) {
            return false;
        }
    }
    return true;
}

struct slice field_selector_exact(const struct field_selector *s, const char *field)
{
    for (size_t i = 0; i < s->count; i++) {
        if (!s->items[i].not_equal && slice_eq(s->items[i].field, slice_str(field))) {
            return s->items[i].value;
        }
    }
    return slice_of(NULL, 0);
}

void field_selector_print(const struct field_selector *s, struct buf *out)
{
    for (size_t i = 0; i < s->count; i++) {
        const struct field_term *t = &s->items[i];
        buf_printf(out, "%s%.*s%s", i > 0 ? "," : "", (int)t->field.len,
                   (const char *)t->field.data, t->not_equal ? "!=" : "=");
        for (size_t k = 0; k < t->value.len; k++) {
            uint8_t c = t->value.data[k];
            if (c == '\\' || c == ',' || c == '=') {
                buf_append_byte(out, '\\');
            }
            buf_append_byte(out, c);
        }
    }
}
