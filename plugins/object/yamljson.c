/* yamljson.c - from YAML's tree to JSON text. */
#include "plugins/object/yamljson.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/yaml.h"
#include "plugins/object/encode.h"

struct yaml_json {
    struct arena *arena;
    struct buf *out;
    struct buf twins; /* lines about keys given twice */
    struct errmsg *e;
};

static bool yaml_word_in(const char *text, const char *const *words)
{
    for (; *words != NULL; words++) {
        if (strcmp(text, *words) == 0) {
            return true;
        }
    }
    return false;
}

/* y and n are booleans as well in YAML 1.1. */
static bool yaml_plain_bool(const char *text, bool *out)
{
    static const char *const yes[] = {"y",    "Y",    "yes", "Yes", "YES", "true",
                                      "True", "TRUE", "on",  "On",  "ON",  NULL};
    static const char *const no[] = {"n",     "N",     "no",  "No",  "NO",  "false",
                                     "False", "FALSE", "off", "Off", "OFF", NULL};
    *out = yaml_word_in(text, yes);
    return *out || yaml_word_in(text, no);
}

/* Decimal, 0x, 0o, 0b, and octal by a leading 0; underscores do not count. */
static bool yaml_plain_int(const char *text, int64_t *out)
{
    char digits[72];
    size_t n = 0;
    bool negative = *text == '-';
    text += *text == '-' || *text == '+';
    for (; *text != 0; text++) {
        if (*text != '_' && n + 1 < sizeof digits) {
            digits[n++] = *text;
        } else if (*text != '_') {
            return false;
        }
    }
    digits[n] = 0;
    const char *p = digits;
    unsigned base = 10;
    if (p[0] == '0' && p[1] != 0) {
        char kind = (char)(p[1] | 32);
        base = kind == 'x' ? 16 : kind == 'b' ? 2 : 8;
        p += kind == 'x' || kind == 'b' || kind == 'o' ? 2 : 1;
    }
    uint64_t value = 0;
    uint64_t limit = negative ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX;
    if (*p == 0) {
        return false;
    }
    for (; *p != 0; p++) {
        unsigned digit = *p >= '0' && *p <= '9'                 ? (unsigned)(*p - '0')
                         : (*p | 32) >= 'a' && (*p | 32) <= 'f' ? (unsigned)((*p | 32) - 'a' + 10)
                                                                : 99;
        if (digit >= base || value > (limit - digit) / base) {
            return false;
        }
        value = value * base + digit;
    }
    *out = negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

/* [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)? */
static bool yaml_plain_double(const char *text, double *out)
{
    const char *p = text;
    p += *p == '-' || *p == '+';
    size_t whole = strspn(p, "0123456789");
    p += whole;
    size_t fraction = 0;
    if (*p == '.') {
        fraction = strspn(p + 1, "0123456789");
        p += 1 + fraction;
    }
    if (whole + fraction == 0) {
        return false;
    }
    if (*p == 'e' || *p == 'E') {
        p++;
        p += *p == '-' || *p == '+';
        size_t digits = strspn(p, "0123456789");
        if (digits == 0) {
            return false;
        }
        p += digits;
    }
    if (*p != 0) {
        return false;
    }
    *out = strtod(text, NULL);
    return isfinite(*out);
}

/* What a scalar is; texts point to the node's. */
static struct value yaml_scalar_value(const char *text, bool quoted)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
    bool b;
    int64_t i;
    double d;
    if (!quoted) {
        if (yaml_word_in(text, nulls)) {
            return value_null();
        }
        if (yaml_plain_bool(text, &b)) {
            return value_bool(b);
        }
        if (yaml_plain_int(text, &i)) {
            return value_int(i);
        }
        if (yaml_plain_double(text, &d)) {
            return (struct value){.kind = VALUE_DOUBLE, .number = d};
        }
    }
    return value_text(slice_str(text));
}

/* A key as JSON has it: a text always. */
static void yaml_key(struct yaml_json *y, const struct yaml_node *n)
{
    struct value v = yaml_scalar_value(n->key, n->key_quoted);
    if (v.kind == VALUE_TEXT || v.kind == VALUE_NULL) {
        encode_text(v.kind == VALUE_NULL ? slice_str("null") : value_slice(&v), y->out);
        return;
    }
    buf_append_byte(y->out, '"');
    encode_json(NULL, &v, y->out);
    buf_append_byte(y->out, '"');
}

static int yaml_write(struct yaml_json *y, const struct yaml_node *n);

/* An entry of a map on its way: where it stands counts when a key is given twice. */
struct yaml_entry {
    const struct yaml_node *node;
    size_t at;
};

static int yaml_entry_order(const void *a, const void *b)
{
    const struct yaml_entry *x = a;
    const struct yaml_entry *y = b;
    int order = strcmp(x->node->key, y->node->key);
    return order != 0 ? order : (x->at > y->at) - (x->at < y->at);
}

static bool yaml_is_merge(const struct yaml_node *n)
{
    return !n->key_quoted && strcmp(n->key, "<<") == 0 && n->type != YAML_TEXT;
}

/* Collects a map's entries; those of merged maps come first, so that the map's own win. */
static size_t yaml_collect(const struct yaml_node *map, struct yaml_entry *out, size_t n)
{
    for (const struct yaml_node *c = map->first; c != NULL; c = c->next) {
        if (!yaml_is_merge(c)) {
            continue;
        }
        if (c->type == YAML_MAP) {
            n = yaml_collect(c, out, n);
        }
        for (const struct yaml_node *m = c->type == YAML_LIST ? c->last : NULL; m != NULL;) {
            /* The first of several wins: it goes last. Lists are linked one way only. */
            if (m->type == YAML_MAP) {
                n = yaml_collect(m, out, n);
            }
            const struct yaml_node *before = NULL;
            for (const struct yaml_node *k = c->first; k != m; k = k->next) {
                before = k;
            }
            m = before;
        }
    }
    for (const struct yaml_node *c = map->first; c != NULL; c = c->next) {
        if (!yaml_is_merge(c)) {
            if (out != NULL) {
                out[n] = (struct yaml_entry){.node = c, .at = n};
            }
            n++;
        }
    }
    return n;
}

/* Notes keys that the map itself gives twice. */
static void yaml_note_twins(struct yaml_json *y, const struct yaml_entry *entries, size_t n,
                            size_t own)
{
    for (size_t i = 1; i < n; i++) {
        if (entries[i - 1].at >= own &&
            strcmp(entries[i - 1].node->key, entries[i].node->key) == 0) {
            buf_printf(&y->twins, "\n  line %u: key \"%s\" already set in map",
                       entries[i].node->line, entries[i].node->key);
        }
    }
}

static int yaml_write_map(struct yaml_json *y, const struct yaml_node *map)
{
    size_t n = yaml_collect(map, NULL, 0);
    struct yaml_entry *entries = arena_alloc(y->arena, (n + 1) * sizeof *entries);
    if (entries == NULL) {
        return ERR_NOMEM;
    }
    yaml_collect(map, entries, 0);
    size_t own = 0;
    for (const struct yaml_node *c = map->first; c != NULL; c = c->next) {
        own += !yaml_is_merge(c);
    }
    qsort(entries, n, sizeof *entries, yaml_entry_order);
    yaml_note_twins(y, entries, n, n - own);
    bool comma = false;
    buf_append_byte(y->out, '{');
    for (size_t i = 0; i < n; i++) {
        if (i + 1 < n && strcmp(entries[i].node->key, entries[i + 1].node->key) == 0) {
            continue;
        }
        if (comma) {
            buf_append_byte(y->out, ',');
        }
        comma = true;
        yaml_key(y, entries[i].node);
        buf_append_byte(y->out, ':');
        int rc = yaml_write(y, entries[i].node);
        if (rc != 0) {
            return rc;
        }
    }
    buf_append_byte(y->out, '}');
    return 0;
}

static int yaml_write(struct yaml_json *y, const struct yaml_node *n)
{
    if (y->out->len > OBJECT_BYTES_MAX) {
        return errmsg_set(y->e, ERR_REQUEST_TOO_LARGE, "Request entity too large: limit is %u",
                          OBJECT_BYTES_MAX);
    }
    if (n->type == YAML_MAP) {
        return yaml_write_map(y, n);
    }
    if (n->type == YAML_TEXT) {
        struct value v = yaml_scalar_value(n->text, n->quoted);
        encode_json(NULL, &v, y->out);
        return 0;
    }
    buf_append_byte(y->out, '[');
    for (const struct yaml_node *c = n->first; c != NULL; c = c->next) {
        if (c != n->first) {
            buf_append_byte(y->out, ',');
        }
        int rc = yaml_write(y, c);
        if (rc != 0) {
            return rc;
        }
    }
    buf_append_byte(y->out, ']');
    return 0;
}

int yaml_to_json(struct slice yaml, struct arena *arena, struct buf *json, struct slice *twins,
                 struct errmsg *e)
{
    static const struct yaml_rules rules = {.bytes_max = OBJECT_BYTES_MAX,
                                            .depth_max = YAML_DEPTH_CEILING,
                                            .nodes_max = OBJECT_YAML_NODES_MAX,
                                            .aliases = true,
                                            .twins = true};
    struct yaml_json y = {.arena = arena, .out = json, .e = e};
    struct yaml_node *root;
    if (twins != NULL) {
        *twins = slice_of(NULL, 0);
    }
    int rc = yaml_load_rules(yaml, &rules, arena, &root, e);
    if (rc != 0) {
        return rc == ERR_INVALID ? errmsg_wrap(e, rc, "yaml") : rc;
    }
    buf_init(&y.twins);
    rc = yaml_write(&y, root);
    if (rc == 0 && twins != NULL && y.twins.len > 0) {
        struct buf all;
        buf_init(&all);
        buf_append_str(&all, "yaml: unmarshal errors:");
        buf_append_slice(&all, buf_slice(&y.twins));
        *twins = arena_dup(arena, buf_slice(&all));
        rc = all.failed || y.twins.failed || twins->data == NULL ? ERR_NOMEM : 0;
        buf_close(&all);
    }
    buf_close(&y.twins);
    rc = rc == 0 && json->failed ? ERR_NOMEM : rc;
    return rc == ERR_NOMEM ? errmsg_set(e, rc, "out of memory") : rc;
}

int object_decode_yaml(struct object *o, const struct schema_type *type, struct arena *arena,
                       struct slice yaml, struct decode_report *report, struct errmsg *e)
{
    struct buf json;
    struct slice twins;
    buf_init(&json);
    int rc = yaml_to_json(yaml, arena, &json, report == NULL ? NULL : &twins, e);
    rc = rc == 0 ? object_decode(o, type, arena, buf_slice(&json), report, e) : rc;
    if (rc == 0 && report != NULL && twins.data != NULL) {
        struct decode_report unknown = *report;
        *report = (struct decode_report){0};
        rc = decode_report_add(report, arena, twins);
        for (size_t i = 0; i < unknown.count && rc == 0; i++) {
            rc = decode_report_add(report, arena, unknown.texts[i]);
        }
    }
    buf_close(&json);
    return rc;
}
