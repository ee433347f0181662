/* decode.c - one pass over a copy of the JSON, which then holds the tree's texts.
 *
 * Values under construction lie on a stack; when a container closes, its run moves to the arena in
 * one piece. Clients write fields in the order we do, so the field after the last one is tried
 * before the hash. A value of a wrong type is remembered and skipped, as Go does: a syntax error
 * later on is the one that is told. */
#include "plugins/apiserver/object/decode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "plugins/apiserver/object/instant.h"
#include "plugins/apiserver/object/quantity.h"
#include "plugins/apiserver/object/scan.h"

/* A step of the way to the value in hand. */
struct decode_step {
    const struct schema_type *owner; /* of a field; NULL for keys and indexes */
    struct slice name;               /* of a field or key */
    uint32_t index;                  /* when name.data is NULL */
};

struct decoder {
    struct scan s;
    struct arena *arena;
    struct decode_report *report; /* NULL: not strict */
    struct value *stack;
    size_t stack_len;
    size_t stack_cap;
    bool wrong_type; /* the caller's e holds the first value of a wrong type */
    struct errmsg *e;
    struct errmsg syntax;
    unsigned depth;
    struct decode_step steps[OBJECT_DEPTH_MAX + 2];
};

/* What a place expects. */
struct decode_want {
    enum schema_kind kind;
    const struct schema_type *type;
    const char *go_name; /* of the field, with [] or map[string] in front */
    bool element;        /* inside the list or map: go_name without that */
};

static int decode_any(struct decoder *d, struct value *out);
static int decode_message(struct decoder *d, const struct schema_type *t, struct value *out);

/* ---- complaints ---- */

static void decode_path(const struct decoder *d, struct buf *out)
{
    for (unsigned i = 0; i < d->depth; i++) {
        const struct decode_step *step = &d->steps[i];
        if (step->name.data == NULL) {
            buf_printf(out, "[%u]", step->index);
            continue;
        }
        if (out->len > 0) {
            buf_append_byte(out, '.');
        }
        buf_append_slice(out, step->name);
    }
}

/* Quotes a text as Go's %q does, as far as paths need it. */
static void decode_quote(struct buf *out, struct slice text)
{
    buf_append_byte(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c == '"' || c == '\\') {
            buf_append_byte(out, '\\');
            buf_append_byte(out, c);
        } else if (c == '\n') {
            buf_append_str(out, "\\n");
        } else if (c == '\t') {
            buf_append_str(out, "\\t");
        } else if (c < 0x20 || c == 0x7f) {
            buf_printf(out, "\\x%02x", c);
        } else {
            buf_append_byte(out, c);
        }
    }
    buf_append_byte(out, '"');
}

int decode_report_add(struct decode_report *report, struct arena *arena, struct slice text)
{
    if (report->count == DECODE_COMPLAINTS_MAX) {
        return 0;
    }
    for (size_t i = 0; i < report->count; i++) {
        if (slice_eq(report->texts[i], text)) {
            return 0;
        }
    }
    if (report->texts == NULL) {
        report->texts = arena_alloc(arena, DECODE_COMPLAINTS_MAX * sizeof *report->texts);
        if (report->texts == NULL) {
            return ERR_NOMEM;
        }
    }
    struct slice copy = arena_dup(arena, text);
    if (copy.data == NULL) {
        return ERR_NOMEM;
    }
    report->texts[report->count++] = copy;
    return 0;
}

void decode_report_text(const struct decode_report *report, struct buf *out)
{
    buf_append_str(out, "strict decoding error: ");
    for (size_t i = 0; i < report->count; i++) {
        if (i > 0) {
            buf_append_str(out, ", ");
        }
        buf_append_slice(out, report->texts[i]);
    }
}

/* what: "unknown field" or "duplicate field" */
static int decode_complain(struct decoder *d, const char *what, struct slice name)
{
    if (d->report == NULL || d->report->count == DECODE_COMPLAINTS_MAX) {
        return 0;
    }
    struct buf path;
    struct buf text;
    buf_init(&path);
    buf_init(&text);
    decode_path(d, &path);
    if (path.len > 0) {
        buf_append_byte(&path, '.');
    }
    buf_append_slice(&path, name);
    buf_printf(&text, "%s ", what);
    decode_quote(&text, buf_slice(&path));
    int rc = path.failed || text.failed ? ERR_NOMEM
                                        : decode_report_add(d->report, d->arena, buf_slice(&text));
    buf_close(&path);
    buf_close(&text);
    return rc;
}

/* Remembers a value that does not fit; `found` is Go's word for it. The text comes from a field's
 * place or, for the root, from its type alone. */
static void decode_wrong(struct decoder *d, const struct decode_want *want, const char *found)
{
    if (d->wrong_type) {
        return;
    }
    d->wrong_type = true;
    const char *name = want->go_name;
    if (want->element) {
        name += strncmp(name, "[]", 2) == 0 ? 2 : strncmp(name, "map[string]", 11) == 0 ? 11 : 0;
        name = strcmp(want->go_name, "v1.ResourceList") == 0 ? "resource.Quantity" : name;
    }
    struct buf path;
    buf_init(&path);
    const char *owner = NULL;
    for (unsigned i = 0; i < d->depth; i++) {
        if (d->steps[i].owner != NULL) {
            if (owner != NULL) {
                buf_append_byte(&path, '.');
            }
            owner = schema_type_name(d->steps[i].owner);
            buf_append_slice(&path, d->steps[i].name);
        }
    }
    if (owner == NULL) {
        errmsg_set(d->e, ERR_INVALID, "json: cannot unmarshal %s into Go value of type %s", found,
                   name);
    } else {
        errmsg_set(d->e, ERR_INVALID,
                   "json: cannot unmarshal %s into Go struct field %s.%.*s of type %s", found,
                   owner, (int)path.len, (const char *)path.data, name);
    }
    buf_close(&path);
}

/* A value whose own reader refused it: the sentence stands alone. */
static void decode_refused(struct decoder *d, const char *sentence)
{
    if (!d->wrong_type) {
        d->wrong_type = true;
        errmsg_set(d->e, ERR_INVALID, "%s", sentence);
    }
}

/* Go's word for the JSON value that begins with c. */
static const char *decode_word(uint8_t c)
{
    switch (c) {
    case '{':
        return "object";
    case '[':
        return "array";
    case '"':
        return "string";
    case 't':
    case 'f':
        return "bool";
    default:
        return "number";
    }
}

/* Skips the value in hand and remembers that it does not fit. */
static int decode_skip_wrong(struct decoder *d, const struct decode_want *want, const char *found)
{
    decode_wrong(d, want, found);
    return scan_skip(&d->s, d->depth);
}

/* ---- the stack ---- */

static struct value *decode_push(struct decoder *d)
{
    if (d->stack_len == d->stack_cap) {
        size_t cap = d->stack_cap == 0 ? 256 : d->stack_cap * 2;
        struct value *stack = mem_realloc(d->stack, cap * sizeof *stack);
        if (stack == NULL) {
            return NULL;
        }
        d->stack = stack;
        d->stack_cap = cap;
    }
    return &d->stack[d->stack_len++];
}

/* Moves what lies above `base` to the arena. */
static int decode_close(struct decoder *d, size_t base, enum value_kind kind, size_t width,
                        struct value *out)
{
    size_t n = d->stack_len - base;
    *out = value_empty(kind);
    if (n > 0) {
        out->items = arena_alloc(d->arena, n * sizeof *out->items);
        if (out->items == NULL) {
            return ERR_NOMEM;
        }
        memcpy(out->items, d->stack + base, n * sizeof *out->items);
    }
    out->len = (uint32_t)(n / width);
    d->stack_len = base;
    return 0;
}

static int decode_enter(struct decoder *d, struct decode_step step)
{
    if (d->depth >= OBJECT_DEPTH_MAX) {
        return errmsg_set(&d->syntax, ERR_TOO_DEEP, "exceeded max depth");
    }
    d->steps[d->depth++] = step;
    return 0;
}

/* ---- plain values ---- */

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
    unsigned padding = 0;
    size_t first = i;
    for (; i < in.len; i++) {
        bool end_of_line = in.data[i] == '\n' || in.data[i] == '\r';
        if (!end_of_line && (in.data[i] != '=' || ++padding > 2)) {
            *bad = i;
            return false;
        }
    }
    if (count == 1 || (count != 0 ? count + padding != 4 : padding != 0)) {
        *bad = count == 1 || padding != 0 ? first : in.len;
        return false;
    }
    if (count >= 2) {
        out[n++] = (uint8_t)(count == 3 ? bits >> 10 : bits >> 4);
    }
    if (count == 3) {
        out[n++] = (uint8_t)(bits >> 2);
    }
    *len = n;
    return true;
}

static int decode_bytes(struct decoder *d, const struct decode_want *want, struct value *out)
{
    if (*d->s.p != '"') {
        return decode_skip_wrong(d, want, decode_word(*d->s.p));
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
        return decode_skip_wrong(d, want, decode_word(*d->s.p));
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
        return decode_skip_wrong(d, want, decode_word(c));
    }
    *out = value_bool(c == 't');
    return scan_literal(&d->s, c == 't' ? "true" : "false");
}

/* A number for an integer of 32 or 64 bits. */
static int decode_int(struct decoder *d, const struct decode_want *want, struct value *out)
{
    uint8_t c = *d->s.p;
    if (c != '-' && (c < '0' || c > '9')) {
        return decode_skip_wrong(d, want, decode_word(c));
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
static double decode_strtod(struct slice digits)
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
        return decode_skip_wrong(d, want, decode_word(c));
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
        decode_wrong(d, &text, decode_word(*d->s.p));
        d->depth = depth;
        return scan_skip(&d->s, d->depth);
    }
    d->s.p++;
    struct slice text;
    int rc = scan_text(&d->s, &text);
    if (rc != 0) {
        return rc;
    }
    int64_t v;
    struct errmsg why;
    if (instant_parse(text, &v, &why) != 0) {
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

/* ---- lists and maps ---- */

static int decode_list(struct decoder *d, const struct decode_want *want, struct value *out);

/* One value, not null; *out stays VALUE_NULL when it did not fit. */
static int decode_one(struct decoder *d, const struct decode_want *want, struct value *out)
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
    case SCHEMA_MESSAGE:
        if (*d->s.p != '{') {
            return decode_skip_wrong(d, want, decode_word(*d->s.p));
        }
        return decode_message(d, want->type, out);
    case SCHEMA_WRAPPER: {
        struct decode_want inner = {SCHEMA_TEXT, NULL, "string", false};
        if (*d->s.p != '[') {
            return decode_skip_wrong(d, want, decode_word(*d->s.p));
        }
        return decode_list(d, &inner, out);
    }
    }
    return ERR_INVALID;
}

/* What stands for null, and for what did not fit, where a value must be. */
static struct value decode_zero(enum schema_kind kind)
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

/* One value or null, never absent afterwards. */
static int decode_element(struct decoder *d, const struct decode_want *want, struct value *out)
{
    *out = value_null();
    uint8_t c = scan_peek(&d->s);
    int rc;
    if (c == 'n' && want->kind != SCHEMA_RAW) {
        rc = scan_literal(&d->s, "null");
    } else if (d->s.p >= d->s.end || strchr("{[\"tfn-0123456789", c) == NULL || c == 0) {
        rc = scan_refuse(&d->s, "looking for beginning of value");
    } else {
        rc = decode_one(d, want, out);
    }
    if (out->kind == VALUE_NULL) {
        *out = decode_zero(want->kind);
    }
    return rc;
}

/* p is at the bracket. want is what its items are. */
static int decode_list(struct decoder *d, const struct decode_want *want, struct value *out)
{
    size_t base = d->stack_len;
    d->s.p++;
    if (scan_peek(&d->s) == ']') {
        d->s.p++;
        return decode_close(d, base, VALUE_LIST, 1, out);
    }
    int rc = decode_enter(d, (struct decode_step){0});
    if (rc != 0) {
        return rc;
    }
    struct decode_step *step = &d->steps[d->depth - 1];
    for (step->index = 0;; step->index++) {
        struct value v;
        rc = want == NULL ? decode_any(d, &v) : decode_element(d, want, &v);
        if (rc != 0) {
            return rc;
        }
        struct value *place = decode_push(d);
        if (place == NULL) {
            return ERR_NOMEM;
        }
        *place = v;
        uint8_t c = scan_peek(&d->s);
        if (c != ',' && c != ']') {
            return scan_refuse(&d->s, "after array element");
        }
        d->s.p++;
        if (c == ']') {
            break;
        }
    }
    d->depth--;
    return decode_close(d, base, VALUE_LIST, 1, out);
}

static int decode_pair_order(const void *a, const void *b)
{
    const struct value *x = a;
    const struct value *y = b;
    int order = slice_cmp(value_slice(x), value_slice(y));
    /* Of two with one key the later one counts: it lies behind the other in our copy. */
    return order != 0 ? order : (x->text > y->text) - (x->text < y->text);
}

/* Sorts the pairs above base and drops all but the last of each key. */
static int decode_sort(struct decoder *d, size_t base)
{
    size_t n = (d->stack_len - base) / 2;
    if (n < 2) {
        return 0;
    }
    struct value *pairs = d->stack + base;
    bool sorted = true;
    for (size_t i = 1; i < n && sorted; i++) {
        sorted = slice_cmp(value_slice(&pairs[2 * i - 2]), value_slice(&pairs[2 * i])) < 0;
    }
    if (sorted) {
        return 0;
    }
    qsort(pairs, n, 2 * sizeof *pairs, decode_pair_order);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (i + 1 < n && slice_eq(value_slice(&pairs[2 * i]), value_slice(&pairs[2 * i + 2]))) {
            int rc = decode_complain(d, "duplicate field", value_slice(&pairs[2 * i]));
            if (rc != 0) {
                return rc;
            }
            continue;
        }
        memmove(&pairs[2 * kept], &pairs[2 * i], 2 * sizeof *pairs);
        kept++;
    }
    d->stack_len = base + 2 * kept;
    return 0;
}

/* A key and its colon. Sets *end when the object is over. */
static int decode_key(struct decoder *d, bool first, struct slice *key, bool *end)
{
    uint8_t c = scan_peek(&d->s);
    *end = false;
    if (c == '}' && first) {
        d->s.p++;
        *end = true;
        return 0;
    }
    if (c != '"') {
        return scan_refuse(&d->s, "looking for beginning of object key string");
    }
    d->s.p++;
    int rc = scan_text(&d->s, key);
    if (rc != 0) {
        return rc;
    }
    if (scan_peek(&d->s) != ':') {
        return scan_refuse(&d->s, "after object key");
    }
    d->s.p++;
    return 0;
}

/* What follows a value in an object. */
static int decode_more(struct decoder *d, bool *end)
{
    uint8_t c = scan_peek(&d->s);
    if (c != ',' && c != '}') {
        return scan_refuse(&d->s, "after object key:value pair");
    }
    d->s.p++;
    *end = c == '}';
    return 0;
}

/* p is at the brace. want is what its values are; NULL = anything. */
static int decode_map(struct decoder *d, const struct decode_want *want, struct value *out)
{
    size_t base = d->stack_len;
    d->s.p++;
    bool end = false;
    for (bool first = true; !end; first = false) {
        struct slice key;
        int rc = decode_key(d, first, &key, &end);
        if (rc != 0 || end) {
            if (rc != 0) {
                return rc;
            }
            break;
        }
        rc = decode_enter(d, (struct decode_step){.name = key});
        if (rc != 0) {
            return rc;
        }
        struct value v;
        rc = want == NULL ? decode_any(d, &v) : decode_element(d, want, &v);
        d->depth--;
        if (rc == 0) {
            struct value *place = decode_push(d);
            if (place != NULL) {
                *place = value_text(key);
                place = decode_push(d);
            }
            if (place == NULL) {
                return ERR_NOMEM;
            }
            *place = v;
            rc = decode_more(d, &end);
        }
        if (rc != 0) {
            return rc;
        }
    }
    int rc = decode_sort(d, base);
    return rc != 0 ? rc : decode_close(d, base, VALUE_MAP, 2, out);
}

/* ---- messages ---- */

/* The value of a field, not null. */
static int decode_field(struct decoder *d, const struct schema_field *f, struct value *out)
{
    struct decode_want want = {f->kind, schema_field_type(f), schema_text(f, f->go_name), false};
    uint8_t c = *d->s.p;
    if (f->shape == SCHEMA_ONE) {
        return decode_one(d, &want, out);
    }
    if (c != (f->shape == SCHEMA_LIST ? '[' : '{')) {
        return decode_skip_wrong(d, &want, decode_word(c));
    }
    want.element = true;
    return f->shape == SCHEMA_LIST ? decode_list(d, &want, out) : decode_map(d, &want, out);
}

/* Puts v among the fields above base, which are ascending. */
static int decode_place(struct decoder *d, size_t base, unsigned index, struct value v)
{
    size_t at = d->stack_len;
    v.field = (uint16_t)index;
    while (at > base && d->stack[at - 1].field > index) {
        at--;
    }
    if (at > base && d->stack[at - 1].field == index) {
        d->stack[at - 1] = v;
        return 0;
    }
    if (decode_push(d) == NULL) {
        return ERR_NOMEM;
    }
    memmove(&d->stack[at + 1], &d->stack[at], (d->stack_len - 1 - at) * sizeof v);
    d->stack[at] = v;
    return 0;
}

static int decode_member(struct decoder *d, const struct schema_type *t, size_t base,
                         uint64_t seen[4], const struct schema_field *f)
{
    unsigned index = (unsigned)(f - schema_fields(t));
    struct slice name = slice_of(schema_field_name(f), f->name_len);
    if (seen[index / 64] >> (index % 64) & 1) {
        int rc = decode_complain(d, "duplicate field", name);
        if (rc != 0) {
            return rc;
        }
    }
    seen[index / 64] |= (uint64_t)1 << (index % 64);
    int rc = decode_enter(d, (struct decode_step){.owner = t, .name = name});
    if (rc != 0) {
        return rc;
    }
    struct value v = value_null();
    uint8_t c = scan_peek(&d->s);
    if (c == 'n') {
        rc = scan_literal(&d->s, "null");
    } else if (c == 0 || strchr("{[\"tf-0123456789", c) == NULL) {
        rc = scan_refuse(&d->s, "looking for beginning of value");
    } else {
        rc = decode_field(d, f, &v);
    }
    d->depth--;
    bool plain = !(f->flags & SCHEMA_FIELD_POINTER) && v.kind < VALUE_LIST &&
                 f->kind != SCHEMA_TIME && f->kind != SCHEMA_MICROTIME;
    if (rc == 0 && v.kind != VALUE_NULL && !(plain && value_is_zero(&v))) {
        rc = decode_place(d, base, index, v);
    }
    return rc;
}

/* p is at the brace. */
static int decode_message(struct decoder *d, const struct schema_type *t, struct value *out)
{
    size_t base = d->stack_len;
    uint64_t seen[4] = {0};
    const struct schema_field *fields = schema_fields(t);
    const struct schema_field *next = fields;
    d->s.p++;
    bool end = false;
    for (bool first = true; !end; first = false) {
        struct slice key;
        int rc = decode_key(d, first, &key, &end);
        if (rc != 0) {
            return rc;
        }
        if (end) {
            break;
        }
        const struct schema_field *f = NULL;
        if (next < fields + t->field_count && next->name_len == key.len &&
            memcmp(schema_field_name(next), key.data, key.len) == 0) {
            f = next;
        } else {
            f = schema_find(t, key);
        }
        if (f != NULL) {
            rc = decode_member(d, t, base, seen, f);
            next = f + 1;
        } else {
            rc = decode_complain(d, "unknown field", key);
            rc = rc == 0 ? scan_skip(&d->s, d->depth + 1) : rc;
        }
        rc = rc == 0 ? decode_more(d, &end) : rc;
        if (rc != 0) {
            return rc;
        }
    }
    return decode_close(d, base, VALUE_MESSAGE, 1, out);
}

/* ---- untyped ---- */

static int decode_any(struct decoder *d, struct value *out)
{
    uint8_t c = scan_peek(&d->s);
    struct slice text;
    bool integer;
    int rc;
    *out = value_null();
    switch (c) {
    case '{':
        return decode_map(d, NULL, out);
    case '[':
        return decode_list(d, NULL, out);
    case '"':
        d->s.p++;
        rc = scan_text(&d->s, &text);
        *out = value_text(text);
        return rc;
    case 't':
    case 'f':
        *out = value_bool(c == 't');
        return scan_literal(&d->s, c == 't' ? "true" : "false");
    case 'n':
        return scan_literal(&d->s, "null");
    case '-':
    case '0' ... '9':
        rc = scan_number(&d->s, &text, &integer);
        if (rc == 0 && !(integer && scan_int64(text, &out->integer))) {
            *out = (struct value){.kind = VALUE_DOUBLE, .number = decode_strtod(text)};
        } else {
            out->kind = VALUE_INT;
        }
        return rc;
    default:
        return scan_refuse(&d->s, "looking for beginning of value");
    }
}

/* ---- entry ---- */

static int decode_root(struct decoder *d, const struct schema_type *type, struct value *out)
{
    int rc;
    if (type == NULL) {
        rc = decode_any(d, out);
    } else {
        struct decode_want want = {SCHEMA_MESSAGE, type, schema_text(type, type->go_name), false};
        rc = decode_element(d, &want, out);
    }
    if (rc == 0 && scan_peek(&d->s) != 0) {
        rc = scan_refuse(&d->s, "after top-level value");
    } else if (rc == 0 && d->s.p < d->s.end) {
        rc = scan_refuse(&d->s, "after top-level value"); /* a NUL byte */
    }
    return rc;
}

int decode_json(struct slice json, const struct schema_type *type, struct arena *arena,
                struct value *out, struct decode_report *report, struct errmsg *e)
{
    if (report != NULL) {
        *report = (struct decode_report){0};
    }
    if (json.len > OBJECT_BYTES_MAX) {
        return errmsg_set(e, ERR_REQUEST_TOO_LARGE, "Request entity too large: limit is %u",
                          OBJECT_BYTES_MAX);
    }
    struct slice copy = arena_dup(arena, json);
    if (copy.data == NULL) {
        return errmsg_set(e, ERR_NOMEM, "out of memory");
    }
    struct decoder d;
    d.syntax.text[0] = 0;
    uint8_t *p = (uint8_t *)(uintptr_t)copy.data; /* ours: arena_dup made it */
    struct errmsg wrong;
    d.s = (struct scan){.p = p, .end = p + copy.len, .arena = arena, .e = &d.syntax};
    d.arena = arena;
    d.report = report;
    d.stack = NULL;
    d.stack_len = d.stack_cap = 0;
    d.wrong_type = false;
    d.e = &wrong;
    d.depth = 0;
    struct value root;
    int rc = decode_root(&d, type, &root);
    mem_free(d.stack);
    if (rc == ERR_NOMEM) {
        return errmsg_set(e, rc, "out of memory");
    }
    if (rc != 0) {
        return errmsg_set(e, rc, "%s", d.syntax.text);
    }
    if (d.wrong_type) {
        return errmsg_set(e, ERR_INVALID, "%s", wrong.text);
    }
    *out = root;
    return 0;
}

int decode_type_meta(struct slice json, struct arena *arena, struct slice *api_version,
                     struct slice *kind, struct errmsg *e)
{
    const struct schema_type *t = schema_type(SCHEMA_META_V1_TYPE_META);
    struct value v;
    int rc = decode_json(json, t, arena, &v, NULL, e);
    if (rc == 0) {
        *api_version = value_slice(value_find(t, &v, "apiVersion"));
        *kind = value_slice(value_find(t, &v, "kind"));
    }
    return rc;
}
