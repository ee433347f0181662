/* labels.c - a recursive reader of at most one token ahead, and the matching. */
#include "plugins/object/labels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugins/object/names.h"
#include "plugins/object/quote.h"
#include "plugins/object/scan.h"

enum label_token {
    TOKEN_END,
    TOKEN_ERROR,
    TOKEN_WORD,
    TOKEN_OPEN,
    TOKEN_CLOSE,
    TOKEN_COMMA,
    TOKEN_NOT,
    TOKEN_EQUALS,
    TOKEN_DOUBLE_EQUALS,
    TOKEN_NOT_EQUALS,
    TOKEN_GREATER,
    TOKEN_LESS,
    TOKEN_IN,
    TOKEN_NOT_IN
};

struct label_reader {
    struct slice text;
    size_t at;
    struct arena *arena;
    struct errmsg *e;
    enum label_token token; /* the next one, when ahead */
    struct slice literal;
    bool ahead;
};

static bool label_is_special(uint8_t c)
{
    return c == '=' || c == '!' || c == '(' || c == ')' || c == ',' || c == '>' || c == '<';
}

static bool label_is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* == and != are one token; everything else of one character. */
static void label_lex_special(struct label_reader *r)
{
    uint8_t c = r->text.data[r->at];
    bool twice = r->at + 1 < r->text.len && r->text.data[r->at + 1] == '=';
    size_t len = (c == '=' || c == '!') && twice ? 2 : 1;
    switch (c) {
    case '(':
        r->token = TOKEN_OPEN;
        break;
    case ')':
        r->token = TOKEN_CLOSE;
        break;
    case ',':
        r->token = TOKEN_COMMA;
        break;
    case '>':
        r->token = TOKEN_GREATER;
        break;
    case '<':
        r->token = TOKEN_LESS;
        break;
    case '=':
        r->token = len == 2 ? TOKEN_DOUBLE_EQUALS : TOKEN_EQUALS;
        break;
    default:
        r->token = len == 2 ? TOKEN_NOT_EQUALS : TOKEN_NOT;
        break;
    }
    r->literal = slice_of(r->text.data + r->at, len);
    r->at += len;
}

static void label_lex(struct label_reader *r)
{
    while (r->at < r->text.len && label_is_blank(r->text.data[r->at])) {
        r->at++;
    }
    if (r->at == r->text.len || r->text.data[r->at] == 0) {
        r->token = TOKEN_END;
        r->literal = slice_of("", 0);
        return;
    }
    if (label_is_special(r->text.data[r->at])) {
        label_lex_special(r);
        return;
    }
    size_t begin = r->at;
    while (r->at < r->text.len && r->text.data[r->at] != 0 &&
           !label_is_special(r->text.data[r->at]) && !label_is_blank(r->text.data[r->at])) {
        r->at++;
    }
    r->literal = slice_of(r->text.data + begin, r->at - begin);
    r->token = slice_eq(r->literal, slice_str("in"))      ? TOKEN_IN
               : slice_eq(r->literal, slice_str("notin")) ? TOKEN_NOT_IN
                                                          : TOKEN_WORD;
}

/* The next token without taking it. Only where an operator may stand are in and notin words of the
 * language. */
static enum label_token label_peek(struct label_reader *r, bool operators)
{
    if (!r->ahead) {
        label_lex(r);
        r->ahead = true;
    }
    bool word = r->token == TOKEN_IN || r->token == TOKEN_NOT_IN;
    return word && !operators ? TOKEN_WORD : r->token;
}

static enum label_token label_take(struct label_reader *r, bool operators, struct slice *literal)
{
    enum label_token t = label_peek(r, operators);
    r->ahead = false;
    *literal = r->literal;
    return t;
}

static int label_unexpected(struct label_reader *r, struct slice found, const char *expected)
{
    return errmsg_set(r->e, ERR_INVALID, "found '%.*s', expected: %s", (int)found.len,
                      (const char *)found.data, expected);
}

/* Joins what is wrong with a text, in the form of a cause at `field`. */
static int label_bad_text(struct errmsg *e, const char *field, struct slice text,
                          const char *const complaints[], size_t n)
{
    struct buf joined;
    buf_init(&joined);
    quote_go(text, &joined);
    for (size_t i = 0; i < n; i++) {
        buf_printf(&joined, "%s%s", i > 0 ? "; " : ": ", complaints[i]);
    }
    errmsg_set(e, ERR_INVALID, "%s: Invalid value: %.*s", field, (int)joined.len,
               (const char *)joined.data);
    buf_close(&joined);
    return ERR_INVALID;
}

static int label_slice_order(const void *a, const void *b)
{
    return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

/* Adds a value; the array doubles in the arena. */
static int label_add(struct arena *a, struct label_requirement *q, size_t *room, struct slice text)
{
    if (q->count == *room) {
        size_t more = *room == 0 ? 4 : *room * 2;
        struct slice *values = arena_alloc(a, more * sizeof *values);
        if (values == NULL) {
            return ERR_NOMEM;
        }
        if (q->count > 0) {
            memcpy(values, q->values, q->count * sizeof *values);
        }
        q->values = values;
        *room = more;
    }
    q->values[q->count++] = text;
    return 0;
}

/* Sorts values and drops twins. */
static void label_tidy(struct label_requirement *q)
{
    if (q->count < 2) {
        return;
    }
    qsort(q->values, q->count, sizeof *q->values, label_slice_order);
    size_t kept = 1;
    for (size_t i = 1; i < q->count; i++) {
        if (!slice_eq(q->values[kept - 1], q->values[i])) {
            q->values[kept++] = q->values[i];
        }
    }
    q->count = kept;
}

/* What stands in brackets, p behind the opening one: empty places are empty values. */
static int label_read_list(struct label_reader *r, struct label_requirement *q, size_t *room)
{
    struct slice literal;
    for (;;) {
        enum label_token t = label_take(r, false, &literal);
        int rc = 0;
        if (t == TOKEN_WORD) {
            rc = label_add(r->arena, q, room, literal);
            enum label_token next = label_peek(r, false);
            if (rc != 0 || next == TOKEN_CLOSE) {
                return rc;
            }
            if (next != TOKEN_COMMA) {
                return label_unexpected(r, r->literal, "',' or ')'");
            }
        } else if (t == TOKEN_COMMA) {
            enum label_token next = label_peek(r, false);
            if (q->count == 0 || next == TOKEN_CLOSE || next == TOKEN_COMMA) {
                rc = label_add(r->arena, q, room, slice_of("", 0));
            }
            if (rc != 0 || next == TOKEN_CLOSE) {
                return rc;
            }
        } else {
            return label_unexpected(r, literal, "',', or identifier");
        }
    }
}

static int label_read_values(struct label_reader *r, struct label_requirement *q)
{
    struct slice literal;
    size_t room = 0;
    if (label_take(r, false, &literal) != TOKEN_OPEN) {
        return errmsg_set(r->e, ERR_INVALID, "found '%.*s' expected: '('", (int)literal.len,
                          (const char *)literal.data);
    }
    enum label_token t = label_peek(r, false);
    int rc;
    if (t == TOKEN_CLOSE) {
        rc = label_add(r->arena, q, &room, slice_of("", 0));
    } else if (t == TOKEN_WORD || t == TOKEN_COMMA) {
        rc = label_read_list(r, q, &room);
    } else {
        return label_unexpected(r, r->literal, "',', ')' or identifier");
    }
    if (rc == 0 && label_take(r, false, &literal) != TOKEN_CLOSE) {
        return label_unexpected(r, literal, "')'");
    }
    label_tidy(q);
    return rc;
}

static int label_read_one_value(struct label_reader *r, struct label_requirement *q)
{
    struct slice literal = slice_of("", 0);
    size_t room = 0;
    enum label_token t = label_peek(r, false);
    if (t != TOKEN_END && t != TOKEN_COMMA) {
        if (label_take(r, false, &literal) != TOKEN_WORD) {
            return label_unexpected(r, literal, "identifier");
        }
    }
    return label_add(r->arena, q, &room, literal);
}

/* The rules for keys and values, in the words of a requirement. */
static int label_check(struct label_reader *r, const struct label_requirement *q)
{
    const char *complaints[NAME_COMPLAINTS_MAX];
    for (size_t i = 0; i < q->count; i++) {
        int64_t number;
        char field[300];
        if ((q->op == LABEL_GREATER || q->op == LABEL_LESS) && !scan_int64(q->values[i], &number)) {
            return errmsg_set(r->e, ERR_INVALID,
                              "values[%zu]: Invalid value: \"%.*s\": for 'Gt', 'Lt' operators, the "
                              "value must be an integer",
                              i, (int)q->values[i].len, (const char *)q->values[i].data);
        }
        size_t n = name_check(NAME_LABEL_VALUE, q->values[i], complaints);
        if (n > 0) {
            snprintf(field, sizeof field, "values[%zu][%.*s]", i, (int)q->key.len,
                     (const char *)q->key.data);
            return label_bad_text(r->e, field, q->values[i], complaints, n);
        }
    }
    return 0;
}

static int label_read_operator(struct label_reader *r, struct label_requirement *q)
{
    struct slice literal;
    switch (label_take(r, true, &literal)) {
    case TOKEN_IN:
        q->op = LABEL_IN;
        return label_read_values(r, q);
    case TOKEN_NOT_IN:
        q->op = LABEL_NOT_IN;
        return label_read_values(r, q);
    case TOKEN_EQUALS:
        q->op = LABEL_EQUALS;
        return label_read_one_value(r, q);
    case TOKEN_DOUBLE_EQUALS:
        q->op = LABEL_DOUBLE_EQUALS;
        return label_read_one_value(r, q);
    case TOKEN_NOT_EQUALS:
        q->op = LABEL_NOT_EQUALS;
        return label_read_one_value(r, q);
    case TOKEN_GREATER:
        q->op = LABEL_GREATER;
        return label_read_one_value(r, q);
    case TOKEN_LESS:
        q->op = LABEL_LESS;
        return label_read_one_value(r, q);
    default:
        return label_unexpected(r, literal, "in, notin, =, ==, !=, gt, lt");
    }
}

static int label_read_requirement(struct label_reader *r, struct label_requirement *q)
{
    const char *complaints[NAME_COMPLAINTS_MAX];
    *q = (struct label_requirement){.op = LABEL_EXISTS};
    enum label_token t = label_take(r, false, &q->key);
    if (t == TOKEN_NOT) {
        q->op = LABEL_NOT_EXISTS;
        t = label_take(r, false, &q->key);
    }
    if (t != TOKEN_WORD) {
        return label_unexpected(r, q->key, "identifier");
    }
    size_t n = name_check(NAME_QUALIFIED, q->key, complaints);
    if (n > 0) {
        return label_bad_text(r->e, "<nil>", q->key, complaints, n);
    }
    t = label_peek(r, false);
    if (q->op == LABEL_NOT_EXISTS || t == TOKEN_END || t == TOKEN_COMMA) {
        return 0;
    }
    int rc = label_read_operator(r, q);
    return rc != 0 ? rc : label_check(r, q);
}

static int label_requirement_order(const void *a, const void *b)
{
    const struct label_requirement *x = a;
    const struct label_requirement *y = b;
    return slice_cmp(x->key, y->key);
}

static int label_push(struct arena *a, struct label_selector *s, size_t *room,
                      const struct label_requirement *q)
{
    if (s->count == *room) {
        size_t more = *room == 0 ? 4 : *room * 2;
        struct label_requirement *items = arena_alloc(a, more * sizeof *items);
        if (items == NULL) {
            return ERR_NOMEM;
        }
        if (s->count > 0) {
            memcpy(items, s->items, s->count * sizeof *items);
        }
        s->items = items;
        *room = more;
    }
    s->items[s->count++] = *q;
    return 0;
}

static void label_sort(struct label_selector *s)
{
    if (s->count > 1) {
        qsort(s->items, s->count, sizeof *s->items, label_requirement_order);
    }
}

int label_selector_parse(struct slice text, struct arena *arena, struct label_selector *out,
                         struct errmsg *e)
{
    struct slice copy = arena_dup(arena, text);
    if (copy.data == NULL) {
        return ERR_NOMEM;
    }
    struct label_reader r = {.text = copy, .arena = arena, .e = e};
    struct label_selector s = {0};
    size_t room = 0;
    struct slice literal;
    enum label_token t = label_peek(&r, false);
    while (t != TOKEN_END) {
        struct label_requirement q;
        if (t != TOKEN_WORD && t != TOKEN_NOT) {
            return label_unexpected(&r, r.literal,
                                    s.count == 0 ? "!, identifier, or 'end of string'"
                                                 : "identifier after ','");
        }
        int rc = label_read_requirement(&r, &q);
        if (rc != 0) {
            return rc == ERR_INVALID ? errmsg_wrap(e, rc, "unable to parse requirement") : rc;
        }
        rc = label_push(arena, &s, &room, &q);
        if (rc != 0) {
            return rc;
        }
        t = label_take(&r, false, &literal);
        if (t == TOKEN_END) {
            break;
        }
        if (t != TOKEN_COMMA) {
            return label_unexpected(&r, literal, "',' or 'end of string'");
        }
        t = label_peek(&r, false);
        if (t == TOKEN_END) {
            return label_unexpected(&r, r.literal, "identifier after ','");
        }
    }
    label_sort(&s);
    *out = s;
    return 0;
}

int label_selector_from_map(const struct value *map, struct arena *arena,
                            struct label_selector *out)
{
    size_t room = 0;
    *out = (struct label_selector){0};
    for (size_t i = 0; i < value_len(map); i++) {
        struct label_requirement q = {.op = LABEL_EQUALS, .key = value_map_key(map, i)};
        size_t values = 0;
        int rc = label_add(arena, &q, &values, value_slice(value_map_at(map, i)));
        rc = rc == 0 ? label_push(arena, out, &room, &q) : rc;
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

/* Whether key and values may be those of labels. */
static bool label_fits(const struct label_requirement *q)
{
    bool fits = name_is(NAME_QUALIFIED, q->key);
    for (size_t i = 0; i < q->count && fits; i++) {
        fits = name_is(NAME_LABEL_VALUE, q->values[i]);
    }
    return fits;
}

int label_selector_from(const struct value *message, struct arena *arena,
                        struct label_selector *out, struct errmsg *e)
{
    static const char *const names[] = {[LABEL_IN] = "In",
                                        [LABEL_NOT_IN] = "NotIn",
                                        [LABEL_EXISTS] = "Exists",
                                        [LABEL_NOT_EXISTS] = "DoesNotExist"};
    const struct schema_type *t = schema_type(SCHEMA_META_V1_LABEL_SELECTOR);
    const struct schema_type *rt = schema_type(SCHEMA_META_V1_LABEL_SELECTOR_REQUIREMENT);
    *out = (struct label_selector){.nothing = message == NULL};
    if (message == NULL) {
        return 0;
    }
    int rc = label_selector_from_map(value_find(t, message, "matchLabels"), arena, out);
    size_t room = out->count;
    const struct value *list = value_find(t, message, "matchExpressions");
    for (size_t i = 0; i < value_len(list) && rc == 0; i++) {
        struct label_requirement q = {.key = value_slice(value_find(rt, &list->items[i], "key"))};
        struct slice name = value_slice(value_find(rt, &list->items[i], "operator"));
        const struct value *values = value_find(rt, &list->items[i], "values");
        size_t op = 0;
        while (op <= LABEL_NOT_EXISTS &&
               (names[op] == NULL || !slice_eq(slice_str(names[op]), name))) {
            op++;
        }
        if (op > LABEL_NOT_EXISTS) {
            return errmsg_set(e, ERR_INVALID, "\"%.*s\" is not a valid label selector operator",
                              (int)name.len, (const char *)name.data);
        }
        q.op = (enum label_operator)op;
        bool set = q.op == LABEL_IN || q.op == LABEL_NOT_IN;
        if (set == (value_len(values) == 0)) {
            return errmsg_set(e, ERR_INVALID, "values do not fit the operator");
        }
        size_t have = 0;
        for (size_t k = 0; k < value_len(values) && rc == 0; k++) {
            rc = label_add(arena, &q, &have, value_slice(&values->items[k]));
        }
        label_tidy(&q);
        rc = rc == 0 ? label_push(arena, out, &room, &q) : rc;
    }
    for (size_t i = 0; i < out->count && rc == 0; i++) {
        rc = label_fits(&out->items[i]) ? 0 : errmsg_set(e, ERR_INVALID, "not a label");
    }
    label_sort(out);
    return rc;
}

static bool label_has_value(const struct label_requirement *q, struct slice text)
{
    for (size_t i = 0; i < q->count; i++) {
        if (slice_eq(q->values[i], text)) {
            return true;
        }
    }
    return false;
}

static bool label_requirement_matches(const struct label_requirement *q, const struct value *labels)
{
    const struct value *v = value_map_get(labels, q->key);
    int64_t has;
    int64_t bound;
    switch (q->op) {
    case LABEL_IN:
    case LABEL_EQUALS:
    case LABEL_DOUBLE_EQUALS:
        return v != NULL && label_has_value(q, value_slice(v));
    case LABEL_NOT_IN:
    case LABEL_NOT_EQUALS:
        return v == NULL || !label_has_value(q, value_slice(v));
    case LABEL_EXISTS:
        return v != NULL;
    case LABEL_NOT_EXISTS:
        return v == NULL;
    case LABEL_GREATER:
    case LABEL_LESS:
        return v != NULL && q->count == 1 && scan_int64(value_slice(v), &has) &&
               scan_int64(q->values[0], &bound) &&
               (q->op == LABEL_GREATER ? has > bound : has < bound);
    }
    return false;
}

bool label_selector_matches(const struct label_selector *s, const struct value *labels)
{
    if (s->nothing) {
        return false;
    }
    for (size_t i = 0; i < s->count; i++) {
        if (!label_requirement_matches(&s->items[i], labels)) {
            return false;
        }
    }
    return true;
}

void label_selector_print(const struct label_selector *s, struct buf *out)
{
    static const char *const signs[] = {
        [LABEL_IN] = " in (",         [LABEL_NOT_IN] = " notin (", [LABEL_EQUALS] = "=",
        [LABEL_DOUBLE_EQUALS] = "==", [LABEL_NOT_EQUALS] = "!=",   [LABEL_EXISTS] = "",
        [LABEL_NOT_EXISTS] = "",      [LABEL_GREATER] = ">",       [LABEL_LESS] = "<"};
    for (size_t i = 0; i < s->count; i++) {
        const struct label_requirement *q = &s->items[i];
        buf_printf(out, "%s%s%.*s%s", i > 0 ? "," : "", q->op == LABEL_NOT_EXISTS ? "!" : "",
                   (int)q->key.len, (const char *)q->key.data, signs[q->op]);
        for (size_t k = 0; k < q->count; k++) {
            buf_printf(out, "%s%.*s", k > 0 ? "," : "", (int)q->values[k].len,
                       (const char *)q->values[k].data);
        }
        if (q->op == LABEL_IN || q->op == LABEL_NOT_IN) {
            buf_append_byte(out, ')');
        }
    }
}
