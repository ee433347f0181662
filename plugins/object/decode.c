/* decode.c - one pass over a copy of the JSON, which then holds the tree's texts.
 *
 * Values under construction lie on a stack; when a container closes, its run moves to the arena in
 * one piece. Clients write fields in the order we do, so the field after the last one is tried
 * before the hash. A value of a wrong type is remembered and skipped, as Go does: a syntax error
 * later on is the one that is told. */
#include "plugins/object/decode.h"

#include <stdlib.h>
#include <string.h>

#include "plugins/object/decoder.h"

static int decode_any(struct decoder *d, struct value *out);
static int decode_message(struct decoder *d, const struct schema_type *t, struct value *out);

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

/* ---- lists and maps ---- */

static int decode_list(struct decoder *d, const struct decode_want *want, struct value *out);

/* One value, not null; *out stays VALUE_NULL when it did not fit. */
static int decode_one(struct decoder *d, const struct decode_want *want, struct value *out)
{
    if (want->kind == SCHEMA_MESSAGE) {
        if (*d->s.p != '{') {
            return decode_skip_wrong(d, want);
        }
        return decode_message(d, want->type, out);
    }
    if (want->kind == SCHEMA_WRAPPER) {
        struct decode_want inner = {SCHEMA_TEXT, NULL, "string", false};
        if (*d->s.p != '[') {
            return decode_skip_wrong(d, want);
        }
        return decode_list(d, &inner, out);
    }
    return decode_plain(d, want, out);
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
        return decode_skip_wrong(d, &want);
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
    } else if (d->lean && f->kind == SCHEMA_MESSAGE &&
               schema_field_type(f) == schema_type(SCHEMA_META_V1_MANAGED_FIELDS_ENTRY)) {
        rc = scan_skip(&d->s, d->depth);
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

/* The fields wanted of a type; NULL = all. */
static const struct decode_kept *decode_kept_of(const struct decoder *d,
                                                const struct schema_type *t)
{
    for (size_t i = 0; d->keep != NULL && i < d->keep->count; i++) {
        if (d->keep->types[i].type == t) {
            return &d->keep->types[i];
        }
    }
    return NULL;
}

static bool decode_keeps(const struct decode_kept *k, unsigned index)
{
    return k == NULL || (k->fields[index / 64] >> (index % 64) & 1) != 0;
}

/* p is at the brace. */
static int decode_message(struct decoder *d, const struct schema_type *t, struct value *out)
{
    size_t base = d->stack_len;
    uint64_t seen[4] = {0};
    const struct schema_field *fields = schema_fields(t);
    const struct schema_field *next = fields;
    const struct decode_kept *kept = decode_kept_of(d, t);
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
            rc = decode_keeps(kept, (unsigned)(f - fields)) ? decode_member(d, t, base, seen, f)
                                                            : scan_skip(&d->s, d->depth + 1);
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

static int decode_whole(struct slice json, const struct schema_type *type, struct arena *arena,
                        bool lean, const struct decode_keep *keep, struct value *out,
                        struct decode_report *report, struct errmsg *e)
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
    d.lean = lean;
    d.keep = keep;
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

int decode_json(struct slice json, const struct schema_type *type, struct arena *arena,
                struct value *out, struct decode_report *report, struct errmsg *e)
{
    return decode_whole(json, type, arena, false, NULL, out, report, e);
}

int decode_json_lean(struct slice json, const struct schema_type *type, struct arena *arena,
                     struct value *out, struct errmsg *e)
{
    return decode_whole(json, type, arena, true, NULL, out, NULL, e);
}

int decode_json_some(struct slice json, const struct schema_type *type,
                     const struct decode_keep *keep, struct arena *arena, struct value *out,
                     struct errmsg *e)
{
    return decode_whole(json, type, arena, true, keep, out, NULL, e);
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
