/* objects_tree.c - untyped trees: reading, YAML, JSON, differences. */
#include <stdio.h>
#include <string.h>

#include "base/gosyntax.h"
#include "cli/objects.h"
#include "plugins/object/decode.h"
#include "plugins/object/encode.h"

const struct value *tree_get(const struct value *v, const char *path)
{
    while (v != NULL && *path != '\0') {
        size_t len = strcspn(path, ".");
        v = v->kind == VALUE_MAP ? value_map_get(v, slice_of(path, len)) : NULL;
        path += len + (path[len] == '.');
    }
    return v;
}

struct slice tree_text(const struct value *v, const char *path)
{
    const struct value *at = tree_get(v, path);
    return at != NULL && at->kind == VALUE_TEXT ? value_slice(at) : slice_of("", 0);
}

int tree_read(struct cli *cli, struct slice json, struct value *out)
{
    struct errmsg e = {""};
    if (decode_json(json, NULL, &cli->arena, out, NULL, &e) != 0) {
        return cli_fail(cli, CLI_FAILURE, "what the server sent is no JSON: %s", e.text);
    }
    return 0;
}

/* ---- YAML ------------------------------------------------------------------------------------ */

static bool is_word_of(struct slice text, const char *const *words)
{
    for (; *words != NULL; words++) {
        if (slice_eq(text, slice_str(*words))) {
            return true;
        }
    }
    return false;
}

/* How many bytes from `at` on are one of these. */
static size_t run_of(struct slice text, size_t at, const char *bytes)
{
    size_t n = 0;
    while (at + n < text.len && strchr(bytes, text.data[at + n]) != NULL &&
           text.data[at + n] != 0) {
        n++;
    }
    return n;
}

/* 12, -1.5, 1e6, 0x1f, 0o7, 12:30, 2006-01-02...: what YAML 1.1 reads as a number or a time. */
static bool looks_numeric(struct slice text)
{
    static const char digits[] = "0123456789_";
    size_t at = run_of(text, 0, "+-") > 0 ? 1 : 0;
    size_t whole = run_of(text, at, digits);
    if (whole == 0 && !(at < text.len && text.data[at] == '.')) {
        return false;
    }
    if (whole == 1 && text.data[at] == '0' && run_of(text, at + 1, "xob") > 0) {
        return run_of(text, at + 2, "0123456789abcdefABCDEF_") + at + 2 == text.len;
    }
    if (whole == 4 && run_of(text, at + 4, "-") == 1 && run_of(text, at + 5, digits) > 0) {
        return true;
    }
    at += whole;
    if (run_of(text, at, ":") == 1) {
        return at + run_of(text, at, "0123456789_:.") == text.len;
    }
    if (run_of(text, at, ".") > 0) {
        at++;
        size_t fraction = run_of(text, at, digits);
        if (whole + fraction == 0) {
            return false;
        }
        at += fraction;
    }
    if (run_of(text, at, "eE") > 0) {
        at++;
        at += run_of(text, at, "+-") > 0 ? 1 : 0;
        at += run_of(text, at, digits);
    }
    return at == text.len;
}

/* Would a reader of YAML take the plain text for something else than text? */
static bool looks_typed(struct slice text)
{
    static const char *const words[] = {
        "true", "True", "TRUE", "false", "False", "FALSE", "yes",   "Yes", "YES", "no", "No",
        "NO",   "on",   "On",   "ON",    "off",   "Off",   "OFF",   "y",   "Y",   "n",  "N",
        "null", "Null", "NULL", "~",     ".inf",  ".nan",  "-.inf", "=",   "<<",  NULL};
    return is_word_of(text, words) || looks_numeric(text);
}

static bool is_plain(struct slice text)
{
    static const char begins[] = "-?:,[]{}#&*!|>'\"%@` ";
    if (text.len == 0 || text.data[text.len - 1] == ' ' || looks_typed(text)) {
        return false;
    }
    if (memchr(begins, text.data[0], sizeof begins - 1) != NULL &&
        !(text.data[0] == '-' && text.len > 1 && text.data[1] != ' ' && text.data[1] != '-')) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        uint8_t b = text.data[i];
        bool blank_next = i + 1 == text.len || text.data[i + 1] == ' ';
        if (b < 0x20 || b >= 0x7f || (b == ':' && blank_next) ||
            (b == '#' && i > 0 && text.data[i - 1] == ' ')) {
            return false;
        }
    }
    return true;
}

/* Lines of printable text, the last one ended or not: a block shows them as they are. */
static bool is_block(struct slice text)
{
    bool lines = false;
    bool inked = false;
    if (text.len == 0 || text.data[0] == ' ' || text.data[0] == '\n' || text.data[0] == '\t') {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        uint8_t b = text.data[i];
        if ((b < 0x20 && b != '\n' && b != '\t') || b >= 0x7f ||
            (b == '\n' && i > 0 && (text.data[i - 1] == ' ' || text.data[i - 1] == '\t'))) {
            return false;
        }
        lines = lines || b == '\n';
        inked = inked || b > ' ';
    }
    return lines && inked && text.data[text.len - 1] != ' ' &&
           !(text.len > 1 && text.data[text.len - 1] == '\n' && text.data[text.len - 2] == '\n');
}

static void blanks(struct buf *out, unsigned count)
{
    while (count-- > 0) {
        buf_append_byte(out, ' ');
    }
}

static void put_block(struct slice text, unsigned indent, struct buf *out)
{
    bool ended = text.data[text.len - 1] == '\n';
    buf_append_str(out, ended ? "|\n" : "|-\n");
    for (size_t i = 0; i < text.len;) {
        size_t len = i;
        while (len < text.len && text.data[len] != '\n') {
            len++;
        }
        if (len > i) {
            blanks(out, indent);
            buf_append(out, text.data + i, len - i);
        }
        buf_append_byte(out, '\n');
        i = len + 1;
    }
}

static void put_text(struct slice text, unsigned indent, struct buf *out)
{
    if (is_plain(text)) {
        buf_append_slice(out, text);
        buf_append_byte(out, '\n');
    } else if (is_block(text)) {
        put_block(text, indent, out);
    } else {
        struct value v = value_text(text);
        encode_json(NULL, &v, out);
        buf_append_byte(out, '\n');
    }
}

static void put_yaml(const struct value *v, unsigned indent, struct buf *out);

static void put_map(const struct value *v, unsigned indent, bool inline_first, struct buf *out)
{
    for (size_t i = 0; i < v->len; i++) {
        struct slice key = value_map_key(v, i);
        const struct value *item = value_map_at(v, i);
        if (i > 0 || !inline_first) {
            blanks(out, indent);
        }
        if (is_plain(key)) {
            buf_append_slice(out, key);
        } else {
            struct value text = value_text(key);
            encode_json(NULL, &text, out);
        }
        bool deep = value_len(item) > 0;
        buf_append_str(out, deep ? ":\n" : ": ");
        /* Lists stand under their key without being moved in. */
        put_yaml(item, indent + (deep && item->kind == VALUE_LIST ? 0 : 2), out);
    }
}

/* Items of an item begin on its line. */
static void put_list(const struct value *v, unsigned indent, bool inline_first, struct buf *out)
{
    for (size_t i = 0; i < v->len; i++) {
        const struct value *item = &v->items[i];
        if (i > 0 || !inline_first) {
            blanks(out, indent);
        }
        buf_append_str(out, "- ");
        if (value_len(item) == 0) {
            put_yaml(item, indent + 2, out);
        } else if (item->kind == VALUE_MAP) {
            put_map(item, indent + 2, true, out);
        } else {
            put_list(item, indent + 2, true, out);
        }
    }
}

static void put_yaml(const struct value *v, unsigned indent, struct buf *out)
{
    if (v->kind == VALUE_TEXT) {
        put_text(value_slice(v), indent, out);
    } else if (value_len(v) == 0) {
        encode_json(NULL, v, out);
        buf_append_byte(out, '\n');
    } else if (v->kind == VALUE_MAP) {
        put_map(v, indent, false, out);
    } else {
        put_list(v, indent, false, out);
    }
}

void tree_yaml(const struct value *v, struct buf *out)
{
    put_yaml(v, 0, out);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void put_json(const struct value *v, unsigned indent, struct buf *out)
{
    bool map = v->kind == VALUE_MAP;
    if (value_len(v) == 0) {
        encode_json(NULL, v, out);
        return;
    }
    buf_append_str(out, map ? "{\n" : "[\n");
    for (size_t i = 0; i < v->len; i++) {
        blanks(out, indent + 4);
        if (map) {
            encode_json(NULL, &v->items[2 * i], out);
            buf_append_str(out, ": ");
        }
        put_json(map ? value_map_at(v, i) : &v->items[i], indent + 4, out);
        buf_append_str(out, i + 1 < v->len ? ",\n" : "\n");
    }
    blanks(out, indent);
    buf_append_byte(out, map ? '}' : ']');
}

void tree_json(const struct value *v, struct buf *out)
{
    put_json(v, 0, out);
    buf_append_byte(out, '\n');
}

void tree_brief(const struct value *v, size_t most, struct buf *out)
{
    struct buf text;
    buf_init(&text);
    if (v == NULL) {
        buf_append_str(&text, "(none)");
    } else if (v->kind == VALUE_TEXT) {
        buf_append_slice(&text, value_slice(v));
    } else {
        encode_json(NULL, v, &text);
    }
    bool cut = text.len > most;
    go_visible(out, slice_of(text.data, cut ? most : text.len));
    buf_append_str(out, cut ? "..." : "");
    buf_close(&text);
}

/* ---- differences ----------------------------------------------------------------------------- */

struct differences {
    tree_differs_fn *differs;
    void *data;
    struct buf path;
};

static void diff_at(struct differences *d, const struct value *a, const struct value *b);

static void diff_member(struct differences *d, struct slice name, bool item, const struct value *a,
                        const struct value *b)
{
    size_t before = d->path.len;
    bool dotted = memchr(name.data, '.', name.len) != NULL;
    if (item || dotted) {
        buf_append_byte(&d->path, '[');
        buf_append_slice(&d->path, name);
        buf_append_byte(&d->path, ']');
    } else {
        buf_append_str(&d->path, before > 0 ? "." : "");
        buf_append_slice(&d->path, name);
    }
    diff_at(d, a, b);
    d->path.len = before;
}

static void diff_maps(struct differences *d, const struct value *a, const struct value *b)
{
    size_t i = 0;
    size_t k = 0;
    /* Both are sorted. */
    while (i < value_len(a) || k < value_len(b)) {
        int order = i == value_len(a)   ? 1
                    : k == value_len(b) ? -1
                                        : slice_cmp(value_map_key(a, i), value_map_key(b, k));
        diff_member(d, order <= 0 ? value_map_key(a, i) : value_map_key(b, k), false,
                    order <= 0 ? value_map_at(a, i) : NULL, order >= 0 ? value_map_at(b, k) : NULL);
        i += order <= 0;
        k += order >= 0;
    }
}

/* The member by which all items of both lists can be told apart; NULL = none. */
static const char *item_name(const struct value *a, const struct value *b)
{
    static const char *const names[] = {"name", "type", "key", "ip", "uid", NULL};
    const struct value *lists[] = {a, b};
    for (const char *const *n = names; *n != NULL; n++) {
        bool all = true;
        for (size_t l = 0; l < 2 && all; l++) {
            for (size_t i = 0; i < value_len(lists[l]) && all; i++) {
                struct slice own = tree_text(&lists[l]->items[i], *n);
                all = own.len > 0;
                for (size_t k = 0; k < i && all; k++) {
                    all = !slice_eq(own, tree_text(&lists[l]->items[k], *n));
                }
            }
        }
        if (all) {
            return *n;
        }
    }
    return NULL;
}

static const struct value *item_find(const struct value *list, const char *member,
                                     struct slice name)
{
    for (size_t i = 0; i < value_len(list); i++) {
        if (slice_eq(tree_text(&list->items[i], member), name)) {
            return &list->items[i];
        }
    }
    return NULL;
}

static void diff_lists(struct differences *d, const struct value *a, const struct value *b)
{
    const char *member = item_name(a, b);
    if (member != NULL) {
        for (size_t i = 0; i < value_len(a); i++) {
            struct slice name = tree_text(&a->items[i], member);
            diff_member(d, name, true, &a->items[i], item_find(b, member, name));
        }
        for (size_t i = 0; i < value_len(b); i++) {
            struct slice name = tree_text(&b->items[i], member);
            if (item_find(a, member, name) == NULL) {
                diff_member(d, name, true, NULL, &b->items[i]);
            }
        }
        return;
    }
    for (size_t i = 0; i < value_len(a) || i < value_len(b); i++) {
        char number[24];
        snprintf(number, sizeof number, "%zu", i);
        diff_member(d, slice_str(number), true, i < value_len(a) ? &a->items[i] : NULL,
                    i < value_len(b) ? &b->items[i] : NULL);
    }
}

static void diff_at(struct differences *d, const struct value *a, const struct value *b)
{
    if (a != NULL && b != NULL && value_equal(NULL, a, b)) {
        return;
    }
    bool both = a != NULL && b != NULL && a->kind == b->kind;
    if (both && a->kind == VALUE_MAP) {
        diff_maps(d, a, b);
    } else if (both && a->kind == VALUE_LIST) {
        diff_lists(d, a, b);
    } else {
        d->differs(d->data, buf_slice(&d->path), a, b);
    }
}

void tree_diff(const struct value *a, const struct value *b, tree_differs_fn *differs, void *data)
{
    struct differences d = {.differs = differs, .data = data};
    buf_init(&d.path);
    diff_at(&d, a, b);
    buf_close(&d.path);
}
