/* patch_strategic.c - strategic merge patches.
 *
 * Maps merge by key, null removes. A list whose schema names a merge key merges item by item, one
 * of plain values that merges is a set, any other list is replaced. Directives inside the patch:
 * $patch (replace, delete, merge) on maps and items, $retainKeys, $setElementOrder/<list>,
 * $deleteFromPrimitiveList/<list>. */
#include <string.h>

#include "plugins/object/patch.h"

static const char order_prefix[] = "$setElementOrder/";
static const char delete_prefix[] = "$deleteFromPrimitiveList/";

struct strategic {
    struct arena *arena;
    struct errmsg *e;
    size_t comparisons; /* of items: lists are searched from the front */
};

static bool key_is_directive(struct slice key)
{
    return slice_eq(key, slice_str("$patch")) || slice_eq(key, slice_str("$retainKeys")) ||
           slice_starts_with(key, slice_str(order_prefix)) ||
           slice_starts_with(key, slice_str(delete_prefix));
}

static const struct value *directive(const struct value *patch, const char *name)
{
    return value_map_cget(patch, name);
}

/* A directive about one list: prefix and the list's name. */
static const struct value *list_directive(const struct value *patch, const char *prefix,
                                          struct slice key)
{
    for (size_t i = 0; i < value_len(patch); i++) {
        struct slice k = value_map_key(patch, i);
        size_t n = strlen(prefix);
        if (k.len == n + key.len && slice_starts_with(k, slice_str(prefix)) &&
            slice_eq(slice_of(k.data + n, key.len), key)) {
            return value_map_at(patch, i);
        }
    }
    return NULL;
}

/* A copy without directives and nulls, for what the document does not have yet. */
static int strip(struct strategic *s, const struct value *patch, struct value *out)
{
    int rc = 0;
    if (patch->kind == VALUE_MAP) {
        *out = value_empty(VALUE_MAP);
        for (size_t i = 0; i < patch->len && rc == 0; i++) {
            struct value copy;
            const struct value *v = value_map_at(patch, i);
            if (key_is_directive(value_map_key(patch, i)) || v->kind == VALUE_NULL) {
                continue;
            }
            rc = strip(s, v, &copy);
            if (rc == 0 && value_map_set(s->arena, out, value_map_key(patch, i), copy) == NULL) {
                rc = ERR_NOMEM;
            }
        }
        return rc;
    }
    if (patch->kind != VALUE_LIST) {
        *out = *patch;
        return 0;
    }
    *out = value_empty(VALUE_LIST);
    for (size_t i = 0; i < patch->len && rc == 0; i++) {
        struct value copy;
        const struct value *item = &patch->items[i];
        const struct value *how = directive(item, "$patch");
        if (value_is_text(how, "delete") || (how != NULL && item->len == 1)) {
            continue;
        }
        rc = strip(s, item, &copy);
        if (rc == 0 && value_append(s->arena, out, copy) == NULL) {
            rc = ERR_NOMEM;
        }
    }
    return rc;
}

static int merge_map(struct strategic *s, const struct schema_type *t, struct value *doc,
                     const struct value *patch);

/* ---- lists ---- */

/* What identifies an item: its merge key, or the plain value itself. NULL when the key is missing.
 */
static const struct value *item_identity(const struct value *item, const char *key)
{
    return key == NULL ? item : value_map_cget(item, key);
}

/* The position of an item with this identity; SIZE_MAX when there is none. */
static size_t find_item(const struct value *list, const char *key, const struct value *identity)
{
    for (size_t i = 0; i < value_len(list); i++) {
        const struct value *other = item_identity(&list->items[i], key);
        if (other != NULL && value_equal(NULL, other, identity)) {
            return i;
        }
    }
    return SIZE_MAX;
}

/* Merges one item of a keyed list. */
static int merge_item(struct strategic *s, const struct schema_type *t, struct value *list,
                      const char *key, const struct value *item)
{
    const struct value *how = directive(item, "$patch");
    if (item->kind != VALUE_MAP) {
        return errmsg_set(s->e, ERR_INVALID, "expected map in list with merge key: %s", key);
    }
    const struct value *identity = item_identity(item, key);
    if (identity == NULL) {
        return errmsg_set(s->e, ERR_INVALID, "map: map[] does not contain declared merge key: %s",
                          key);
    }
    if (how != NULL && !value_is_text(how, "delete") && !value_is_text(how, "merge") &&
        !value_is_text(how, "replace")) {
        return errmsg_set(s->e, ERR_INVALID, "Unknown patch type found: %.*s",
                          (int)value_slice(how).len, (const char *)value_slice(how).data);
    }
    size_t at = find_item(list, key, identity);
    if (value_is_text(how, "delete")) {
        for (; at != SIZE_MAX; at = find_item(list, key, identity)) {
            value_remove_item(list, at);
        }
        return 0;
    }
    if (at != SIZE_MAX && list->items[at].kind == VALUE_MAP) {
        return merge_map(s, t, &list->items[at], item);
    }
    struct value copy;
    int rc = strip(s, item, &copy);
    return rc != 0 || value_append(s->arena, list, copy) != NULL ? rc : ERR_NOMEM;
}

/* An item that says the whole list is to be replaced. */
static bool list_is_replaced(const struct value *patch)
{
    for (size_t i = 0; i < value_len(patch); i++) {
        if (value_is_text(directive(&patch->items[i], "$patch"), "replace")) {
            return true;
        }
    }
    return false;
}

static int merge_keyed(struct strategic *s, const struct schema_field *f, struct value *list,
                       const struct value *patch)
{
    const char *key = schema_text(f, f->merge_key);
    if (list_is_replaced(patch)) {
        return strip(s, patch, list);
    }
    for (size_t i = 0; i < patch->len; i++) {
        int rc = merge_item(s, schema_field_type(f), list, key, &patch->items[i]);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

static int merge_set(struct strategic *s, struct value *list, const struct value *patch)
{
    for (size_t i = 0; i < patch->len; i++) {
        if (find_item(list, NULL, &patch->items[i]) == SIZE_MAX &&
            value_append(s->arena, list, patch->items[i]) == NULL) {
            return ERR_NOMEM;
        }
    }
    return 0;
}

/* The position of an item in a list of identities: maps of the key alone, or plain values. */
static size_t order_of(const struct value *order, const char *key, const struct value *item)
{
    const struct value *identity = item_identity(item, key);
    return identity == NULL ? SIZE_MAX : find_item(order, key, identity);
}

/* Puts the items the patch names into its order; the others keep their places among those they
 * stood with before (`before` is the list as it was). */
static int reorder(struct strategic *s, struct value *list, const char *key,
                   const struct value *order, const struct value *before)
{
    size_t n = list->len;
    struct value *named = arena_alloc(s->arena, (2 * n + 1) * sizeof *named);
    if (named == NULL) {
        return ERR_NOMEM;
    }
    struct value *others = named + n;
    size_t named_len = 0;
    size_t others_len = 0;
    for (size_t i = 0; i < value_len(order); i++) {
        const struct value *identity = item_identity(&order->items[i], key);
        size_t at = identity == NULL ? SIZE_MAX : find_item(list, key, identity);
        if (at != SIZE_MAX && find_item(order, key, identity) == i) {
            named[named_len++] = list->items[at];
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (order_of(order, key, &list->items[i]) == SIZE_MAX) {
            others[others_len++] = list->items[i];
        }
    }
    if (named_len + others_len != n) {
        return 0; /* twins in the list: leave it alone */
    }
    size_t i = 0;
    size_t k = 0;
    while (i < named_len || k < others_len) {
        bool take = k == others_len;
        if (!take && i < named_len) {
            size_t a = order_of(before, key, &named[i]);
            size_t b = order_of(before, key, &others[k]);
            take = a == SIZE_MAX || b == SIZE_MAX || a < b;
        }
        list->items[i + k] = take ? named[i] : others[k];
        i += take;
        k += !take;
    }
    return 0;
}

/* An order is a list of identities, and what the patch has of the list must stand in that order. */
static int check_order(struct strategic *s, const char *key, const struct value *order,
                       const struct value *patch)
{
    if (order->kind != VALUE_LIST) {
        return errmsg_set(s->e, ERR_INVALID, "invalid patch format of setElementOrder list");
    }
    for (size_t i = 0; i < order->len; i++) {
        if (key != NULL && item_identity(&order->items[i], key) == NULL) {
            return errmsg_set(s->e, ERR_INVALID,
                              "map: map[] does not contain declared merge key: %s", key);
        }
    }
    size_t next = 0;
    for (size_t i = 0; i < value_len(patch); i++) {
        const struct value *item = &patch->items[i];
        if (directive(item, "$patch") != NULL) {
            continue;
        }
        size_t at = order_of(order, key, item);
        if (at == SIZE_MAX || at < next) {
            return errmsg_set(s->e, ERR_INVALID,
                              "The order in patch list doesn't match $setElementOrder list");
        }
        next = at + 1;
    }
    return 0;
}

/* All that a patch says of one list: items to delete, items to merge, their order. patch may be
 * NULL. */
static int merge_list(struct strategic *s, const struct schema_field *f, struct value *list,
                      const struct value *patch, const struct value *order,
                      const struct value *deleted)
{
    const char *key = f->merge_key != 0 ? schema_text(f, f->merge_key) : NULL;
    struct value before;
    size_t n = (size_t)list->len + value_len(patch) + value_len(order) + value_len(deleted);
    s->comparisons += n * n;
    if (s->comparisons > PATCH_COMPARISONS_MAX) {
        return errmsg_set(s->e, ERR_REQUEST_TOO_LARGE, "lists to merge are too long");
    }
    for (size_t i = 0; key == NULL && i < value_len(deleted); i++) {
        for (size_t at; (at = find_item(list, NULL, &deleted->items[i])) != SIZE_MAX;) {
            value_remove_item(list, at);
        }
    }
    int rc = value_copy_shared(s->arena, list, &before);
    if (rc == 0 && patch != NULL) {
        rc = key != NULL ? merge_keyed(s, f, list, patch) : merge_set(s, list, patch);
        rc = rc == 0 ? reorder(s, list, key, patch, &before) : rc;
    }
    if (rc == 0 && order != NULL) {
        rc = check_order(s, key, order, patch);
    }
    if (rc == 0 && order != NULL) {
        rc = reorder(s, list, key, order, &before);
    }
    return rc;
}

/* ---- maps ---- */

/* Of the current keys only those named stay. */
static int retain_keys(struct strategic *s, struct value *doc, const struct value *patch,
                       const struct value *keys)
{
    if (keys->kind != VALUE_LIST) {
        return errmsg_set(s->e, ERR_INVALID, "invalid patch format of retainKeys");
    }
    s->comparisons += (size_t)keys->len * ((size_t)patch->len + doc->len);
    if (s->comparisons > PATCH_COMPARISONS_MAX) {
        return errmsg_set(s->e, ERR_REQUEST_TOO_LARGE, "the list of retainKeys is too long");
    }
    for (size_t i = 0; i < patch->len; i++) {
        struct value key = value_text(value_map_key(patch, i));
        const struct value *v = value_map_at(patch, i);
        if (!key_is_directive(value_slice(&key)) && v->kind != VALUE_NULL &&
            find_item(keys, NULL, &key) == SIZE_MAX) {
            return errmsg_set(s->e, ERR_INVALID,
                              "retainKeys list doesn't contain a field present in the patch: %.*s",
                              (int)key.len, (const char *)key.text);
        }
    }
    for (size_t i = doc->len; i > 0; i--) {
        struct value key = value_text(value_map_key(doc, i - 1));
        if (find_item(keys, NULL, &key) == SIZE_MAX) {
            value_map_remove(doc, value_slice(&key));
        }
    }
    return 0;
}

/* One key that both have. */
static int merge_both(struct strategic *s, const struct schema_field *f, struct value *at,
                      const struct value *patch, struct slice key, const struct value *v)
{
    if (at->kind == VALUE_MAP && v->kind == VALUE_MAP) {
        bool message = f != NULL && f->kind == SCHEMA_MESSAGE && f->shape == SCHEMA_ONE;
        return merge_map(s, message ? schema_field_type(f) : NULL, at, v);
    }
    if (at->kind == VALUE_LIST && v->kind == VALUE_LIST && f != NULL &&
        f->patch == SCHEMA_PATCH_MERGE) {
        return merge_list(s, f, at, v, list_directive(patch, order_prefix, key),
                          list_directive(patch, delete_prefix, key));
    }
    return strip(s, v, at);
}

static int merge_key(struct strategic *s, const struct schema_type *t, struct value *doc,
                     const struct value *patch, size_t i, struct value *added)
{
    struct slice key = value_map_key(patch, i);
    const struct value *v = value_map_at(patch, i);
    const struct schema_field *f = t == NULL ? NULL : schema_find(t, key);
    struct value *at = value_map_get(doc, key);
    if (v->kind == VALUE_NULL) {
        patch_drop(at);
        return 0;
    }
    if (at != NULL) {
        return merge_both(s, f, at, patch, key, v);
    }
    struct value copy;
    int rc = strip(s, v, &copy);
    return rc != 0 || value_map_push(s->arena, added, key, copy) != NULL ? rc : ERR_NOMEM;
}

/* Directives about lists that the patch does not contain itself. */
static int lone_directives(struct strategic *s, const struct schema_type *t, struct value *doc,
                           const struct value *patch)
{
    for (size_t i = 0; i < patch->len; i++) {
        struct slice key = value_map_key(patch, i);
        bool order = slice_starts_with(key, slice_str(order_prefix));
        bool deletes = slice_starts_with(key, slice_str(delete_prefix));
        if (!order && !deletes) {
            continue;
        }
        size_t skip = order ? sizeof order_prefix - 1 : sizeof delete_prefix - 1;
        struct slice name = slice_of(key.data + skip, key.len - skip);
        const struct schema_field *f = t == NULL ? NULL : schema_find(t, name);
        struct value *list = value_map_get(doc, name);
        if (f == NULL && t != NULL) {
            return errmsg_set(s->e, ERR_INVALID,
                              "unable to find api field in struct %s for the json field \"%.*s\"",
                              schema_type_name(t), (int)name.len, (const char *)name.data);
        }
        if (f == NULL || f->patch != SCHEMA_PATCH_MERGE || list == NULL ||
            list->kind != VALUE_LIST || value_map_get(patch, name) != NULL) {
            continue;
        }
        int rc = merge_list(s, f, list, NULL, order ? value_map_at(patch, i) : NULL,
                            deletes ? value_map_at(patch, i) : NULL);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

static int merge_map(struct strategic *s, const struct schema_type *t, struct value *doc,
                     const struct value *patch)
{
    const struct value *how = directive(patch, "$patch");
    const struct value *keys = directive(patch, "$retainKeys");
    int rc = 0;
    if (value_is_text(how, "replace")) {
        return strip(s, patch, doc);
    }
    if (value_is_text(how, "delete")) {
        *doc = value_empty(VALUE_MAP);
        return 0;
    }
    if (how != NULL && !value_is_text(how, "merge")) {
        return errmsg_set(s->e, ERR_INVALID, "Unknown patch type found: %.*s",
                          (int)value_slice(how).len, (const char *)value_slice(how).data);
    }
    if (keys != NULL) {
        rc = retain_keys(s, doc, patch, keys);
    }
    struct value added = value_empty(VALUE_MAP);
    for (size_t i = 0; i < patch->len && rc == 0; i++) {
        if (!key_is_directive(value_map_key(patch, i))) {
            rc = merge_key(s, t, doc, patch, i, &added);
        }
    }
    rc = rc == 0 ? patch_finish_map(doc, &added, s->arena) : rc;
    return rc == 0 ? lone_directives(s, t, doc, patch) : rc;
}

int patch_apply_strategic(const struct schema_type *type, struct value *doc,
                          const struct value *patch, struct arena *arena, struct errmsg *e)
{
    struct strategic s = {.arena = arena, .e = e};
    return merge_map(&s, type, doc, patch);
}
