/* patch_json.c - JSON patch: six operations on places named by pointers. */
#include <string.h>

#include "base/limits.h"
#include "plugins/object/patch.h"

/* The run of one patch. */
struct json_patch {
    struct value *doc;
    struct arena *arena;
    struct errmsg *e;
    size_t copied;
    size_t moved; /* items and pairs that made place, as many as there may have been */
};

/* One step of a pointer, unescaped. */
struct json_token {
    uint8_t text[512];
    size_t len;
};

static struct slice token_slice(const struct json_token *t)
{
    return slice_of(t->text, t->len);
}

/* Takes the next step of a pointer; ~1 is /, ~0 is ~. False at its end or when it is too long. */
static bool token_next(struct slice *pointer, struct json_token *out)
{
    if (pointer->len == 0 || pointer->data[0] != '/') {
        return false;
    }
    size_t i = 1;
    out->len = 0;
    while (i < pointer->len && pointer->data[i] != '/') {
        uint8_t c = pointer->data[i++];
        if (c == '~' && i < pointer->len && (pointer->data[i] == '0' || pointer->data[i] == '1')) {
            c = pointer->data[i++] == '0' ? '~' : '/';
        }
        if (out->len == sizeof out->text) {
            return false;
        }
        out->text[out->len++] = c;
    }
    *pointer = slice_of(pointer->data + i, pointer->len - i);
    return true;
}

/* An index into a list of `len` items; negative ones count from the end. `beyond`: len itself is
 * one too, and so is "-". */
static bool token_index(const struct json_token *t, size_t len, bool beyond, size_t *out)
{
    bool negative = t->len > 1 && t->text[0] == '-';
    size_t v = 0;
    if (t->len == 1 && t->text[0] == '-') {
        *out = len;
        return beyond;
    }
    if (t->len == 0 || t->len > 9) {
        return false;
    }
    for (size_t i = negative; i < t->len; i++) {
        if (t->text[i] < '0' || t->text[i] > '9') {
            return false;
        }
        v = v * 10 + (size_t)(t->text[i] - '0');
    }
    size_t top = len + beyond;
    if (negative) {
        if (v == 0 || v > top) {
            return false;
        }
        v = top - v;
    }
    *out = v;
    return v < top;
}

static struct value *token_child(struct value *parent, const struct json_token *t)
{
    size_t i;
    if (parent->kind == VALUE_MAP) {
        return value_map_get(parent, token_slice(t));
    }
    return parent->kind == VALUE_LIST && token_index(t, parent->len, false, &i) ? &parent->items[i]
                                                                                : NULL;
}

/* The container of the last step and that step. NULL when the way there does not exist. */
static struct value *pointer_parent(struct value *doc, struct slice pointer,
                                    struct json_token *last)
{
    struct value *at = doc;
    if (!token_next(&pointer, last)) {
        return NULL;
    }
    while (pointer.len > 0) {
        at = token_child(at, last);
        if (at == NULL || !token_next(&pointer, last)) {
            return NULL;
        }
    }
    return at->kind == VALUE_MAP || at->kind == VALUE_LIST ? at : NULL;
}

static struct value *pointer_get(struct value *doc, struct slice pointer)
{
    struct json_token last;
    if (pointer.len == 0) {
        return doc;
    }
    struct value *parent = pointer_parent(doc, pointer, &last);
    return parent == NULL ? NULL : token_child(parent, &last);
}

static int patch_missing(struct json_patch *p, const char *operation, struct slice path)
{
    return errmsg_set(p->e, ERR_NOT_FOUND,
                      "%s operation does not apply: doc is missing path: \"%.*s\": missing value",
                      operation, (int)path.len, (const char *)path.data);
}

/* A change of a long list or map moves what lies behind: 0, or too much of that was done. */
static int patch_charge(struct json_patch *p, const struct value *parent)
{
    p->moved += parent->len;
    return p->moved <= PATCH_MOVES_MAX
               ? 0
               : errmsg_set(p->e, ERR_REQUEST_TOO_LARGE,
                            "the operations change too large lists or maps too often");
}

static unsigned patch_depth(const struct value *v)
{
    unsigned deepest = 0;
    if (v->kind < VALUE_LIST) {
        return 0;
    }
    size_t children = v->kind == VALUE_MAP ? 2 * (size_t)v->len : v->len;
    for (size_t i = 0; i < children; i++) {
        unsigned depth = patch_depth(&v->items[i]);
        deepest = depth > deepest ? depth : deepest;
    }
    return deepest + 1;
}

/* Values put into values put into values: the stack bounds how deep a document may become. */
static int patch_check_depth(struct json_patch *p, struct slice path, const struct value *v)
{
    size_t depth = patch_depth(v);
    for (size_t i = 0; i < path.len; i++) {
        depth += path.data[i] == '/';
    }
    return depth <= OBJECT_DEPTH_MAX ? 0 : errmsg_set(p->e, ERR_TOO_DEEP, "exceeded max depth");
}

static int patch_add(struct json_patch *p, struct slice path, struct value v)
{
    struct json_token last;
    size_t i;
    if (path.len == 0) {
        *p->doc = v;
        return 0;
    }
    struct value *parent = pointer_parent(p->doc, path, &last);
    if (parent == NULL) {
        return patch_missing(p, "add", path);
    }
    int rc = patch_charge(p, parent);
    if (rc != 0) {
        return rc;
    }
    if (parent->kind == VALUE_MAP) {
        struct slice key = arena_dup(p->arena, token_slice(&last));
        return key.data == NULL || value_map_set(p->arena, parent, key, v) == NULL ? ERR_NOMEM : 0;
    }
    if (!token_index(&last, parent->len, true, &i)) {
        return errmsg_set(p->e, ERR_NOT_FOUND,
                          "add operation does not apply: Unable to access invalid index: %.*s: "
                          "invalid index referenced",
                          (int)last.len, (const char *)last.text);
    }
    return value_insert(p->arena, parent, i, v) == NULL ? ERR_NOMEM : 0;
}

/* operation: what the message is about, "remove" or "move". */
static int patch_remove(struct json_patch *p, const char *operation, struct slice path)
{
    struct json_token last;
    struct value *parent = pointer_parent(p->doc, path, &last);
    size_t i;
    if (parent == NULL) {
        return patch_missing(p, operation, path);
    }
    int rc = patch_charge(p, parent);
    if (rc != 0) {
        return rc;
    }
    if (parent->kind == VALUE_MAP) {
        return value_map_remove(parent, token_slice(&last)) ? 0 : patch_missing(p, operation, path);
    }
    if (!token_index(&last, parent->len, false, &i)) {
        return patch_missing(p, operation, path);
    }
    value_remove_item(parent, i);
    return 0;
}

/* What a tree takes, near enough. */
static size_t patch_size(const struct value *v)
{
    size_t n = sizeof *v;
    if (v->kind < VALUE_LIST) {
        return n + (v->kind >= VALUE_TEXT ? v->len : 0);
    }
    size_t children = v->kind == VALUE_MAP ? 2 * (size_t)v->len : v->len;
    for (size_t i = 0; i < children; i++) {
        n += patch_size(&v->items[i]);
    }
    return n;
}

static int patch_copy(struct json_patch *p, struct slice from, struct slice path)
{
    const struct value *v = pointer_get(p->doc, from);
    struct value copy;
    if (v == NULL) {
        return patch_missing(p, "copy", from);
    }
    p->copied += patch_size(v);
    if (p->copied > PATCH_COPY_BYTES_MAX) {
        return errmsg_set(p->e, ERR_REQUEST_TOO_LARGE,
                          "Unable to complete the copy, the accumulated size increase of copy is "
                          "%zu, exceeding the limit %u",
                          p->copied, PATCH_COPY_BYTES_MAX);
    }
    int rc = patch_check_depth(p, path, v);
    rc = rc == 0 ? value_copy_shared(p->arena, v, &copy) : rc;
    return rc != 0 ? rc : patch_add(p, path, copy);
}

static int patch_move(struct json_patch *p, struct slice from, struct slice path)
{
    const struct value *v = pointer_get(p->doc, from);
    if (v == NULL || from.len == 0) {
        return patch_missing(p, "move", from);
    }
    struct value moved = *v;
    p->moved += patch_size(v); /* it is walked, as for a copy */
    if (p->moved > PATCH_MOVES_MAX) {
        return errmsg_set(p->e, ERR_REQUEST_TOO_LARGE, "too much is moved");
    }
    int rc = patch_check_depth(p, path, v);
    rc = rc == 0 ? patch_remove(p, "move", from) : rc;
    return rc != 0 ? rc : patch_add(p, path, moved);
}

static int patch_test(struct json_patch *p, struct slice path, const struct value *want)
{
    const struct value *v = pointer_get(p->doc, path);
    bool absent_is_null = v == NULL && want->kind == VALUE_NULL;
    if (absent_is_null || (v != NULL && value_equal(NULL, v, want))) {
        return 0;
    }
    return errmsg_set(p->e, ERR_NOT_FOUND, "testing value %.*s failed: test failed", (int)path.len,
                      (const char *)path.data);
}

/* A value of the patch, copied: later operations may change it in the document. */
static int patch_with_value(struct json_patch *p, const struct value *operation, bool replace,
                            struct slice path)
{
    const struct value *v = value_map_cget(operation, "value");
    struct value copy = value_null();
    if (replace && pointer_get(p->doc, path) == NULL) {
        return errmsg_set(p->e, ERR_NOT_FOUND,
                          "replace operation does not apply: doc is missing key: %.*s: missing "
                          "value",
                          (int)path.len, (const char *)path.data);
    }
    int rc = v == NULL ? 0 : patch_check_depth(p, path, v);
    rc = rc == 0 && v != NULL ? value_copy_shared(p->arena, v, &copy) : rc;
    if (rc != 0) {
        return rc;
    }
    if (!replace) {
        return patch_add(p, path, copy);
    }
    struct value *at = pointer_get(p->doc, path);
    *at = copy;
    return 0;
}

static int patch_operation(struct json_patch *p, const struct value *operation)
{
    static const struct value null = {.kind = VALUE_NULL};
    const struct value *name = value_map_cget(operation, "op");
    const struct value *path_value = value_map_cget(operation, "path");
    struct slice path = value_slice(path_value);
    struct slice from = value_slice(value_map_cget(operation, "from"));
    if (operation->kind != VALUE_MAP || path_value == NULL || path_value->kind != VALUE_TEXT) {
        return errmsg_set(p->e, ERR_INVALID, "operation missing path field: missing value");
    }
    if (path.len > 0 && path.data[0] != '/') {
        return patch_missing(p, value_is_text(name, "remove") ? "remove" : "add", path);
    }
    if (value_is_text(name, "add")) {
        return patch_with_value(p, operation, false, path);
    }
    if (value_is_text(name, "replace")) {
        return patch_with_value(p, operation, true, path);
    }
    if (value_is_text(name, "remove")) {
        return patch_remove(p, "remove", path);
    }
    if (value_map_cget(operation, "from") == NULL &&
        (value_is_text(name, "move") || value_is_text(name, "copy"))) {
        return errmsg_set(p->e, ERR_INVALID,
                          "%.*s operation failed to decode from: operation, missing from field: "
                          "missing value",
                          (int)value_slice(name).len, (const char *)value_slice(name).data);
    }
    if (value_is_text(name, "move")) {
        return patch_move(p, from, path);
    }
    if (value_is_text(name, "copy")) {
        return patch_copy(p, from, path);
    }
    if (value_is_text(name, "test")) {
        const struct value *want = value_map_cget(operation, "value");
        return patch_test(p, path, want == NULL ? &null : want);
    }
    struct slice op = value_slice(name);
    return errmsg_set(p->e, ERR_NOT_FOUND, "Unexpected kind: %.*s", (int)op.len,
                      (const char *)op.data);
}

int patch_apply_json(struct value *doc, const struct value *patch, struct arena *arena,
                     struct errmsg *e)
{
    struct json_patch p = {.doc = doc, .arena = arena, .e = e};
    if (patch->kind != VALUE_LIST) {
        return errmsg_set(e, ERR_INVALID,
                          "json: cannot unmarshal %s into Go value of type jsonpatch.Patch",
                          patch->kind == VALUE_MAP ? "object" : "value");
    }
    if (patch->len > PATCH_OPERATIONS_MAX) {
        return errmsg_set(e, ERR_REQUEST_TOO_LARGE,
                          "The allowed maximum operations in a JSON patch is %u, got %u",
                          PATCH_OPERATIONS_MAX, patch->len);
    }
    for (size_t i = 0; i < patch->len; i++) {
        int rc = patch_operation(&p, &patch->items[i]);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}
