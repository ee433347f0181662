/* value.c - growing, searching, copying and comparing trees.
 *
 * A container's memory is exactly what decoding needed, so the first change moves it to a place
 * with room for as many more; the old place stays in the arena until that is cleared. */
#include "plugins/object/value.h"

#include <string.h>

#include "base/err.h"

#define VALUE_ROOM_MIN 4u
#define VALUE_ROOM_MAX 254u
/* Of a large container, whose room has no place here: its memory is for as many items as the next
 * power of two that is not below its length. */
#define VALUE_ROOM_POWER 255u
#define VALUE_LARGE      128u /* items */

static bool value_has_room(const struct value *c)
{
    return c->room == VALUE_ROOM_POWER ? (c->len & (c->len - 1)) != 0 : c->room > 0;
}

/* Makes place for one more item of `width` values. */
static bool value_grow(struct arena *a, struct value *c, size_t width)
{
    if (value_has_room(c)) {
        return true;
    }
    size_t room = c->len < VALUE_ROOM_MIN ? VALUE_ROOM_MIN : c->len;
    size_t all = c->len + room;
    if (c->len >= VALUE_LARGE) {
        room = VALUE_ROOM_POWER;
        all = 2 * (size_t)VALUE_LARGE;
        while (all <= c->len) {
            all *= 2;
        }
    }
    struct value *items = arena_alloc(a, all * width * sizeof *items);
    if (items == NULL) {
        return false;
    }
    if (c->len > 0) {
        memcpy(items, c->items, c->len * width * sizeof *items);
    }
    c->items = items;
    c->room = (uint8_t)room;
    return true;
}

/* Opens a gap of one item at position at. */
static struct value *value_gap(struct arena *a, struct value *c, size_t at, size_t width)
{
    if (!value_grow(a, c, width)) {
        return NULL;
    }
    struct value *p = c->items + at * width;
    memmove(p + width, p, (c->len - at) * width * sizeof *p);
    c->len++;
    if (c->room != VALUE_ROOM_POWER) {
        c->room--;
    }
    return p;
}

static void value_close_gap(struct value *c, size_t at, size_t width)
{
    struct value *p = c->items + at * width;
    c->len--;
    memmove(p, p + width, (c->len - at) * width * sizeof *p);
    if (c->room < VALUE_ROOM_MAX) {
        c->room++;
    }
}

/* Position of the first member that is not before field. */
static size_t value_member_at(const struct value *m, unsigned field)
{
    size_t low = 0;
    size_t high = m->len;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (m->items[middle].field < field) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct value *value_member(const struct value *m, unsigned field)
{
    if (m == NULL || m->kind != VALUE_MESSAGE) {
        return NULL;
    }
    size_t at = value_member_at(m, field);
    return at < m->len && m->items[at].field == field ? &m->items[at] : NULL;
}

struct value *value_find(const struct schema_type *t, const struct value *m, const char *name)
{
    const struct schema_field *f = schema_find(t, slice_str(name));
    return f == NULL ? NULL : value_member(m, (unsigned)(f - schema_fields(t)));
}

struct value *value_set_member(struct arena *a, struct value *m, unsigned field, struct value v)
{
    size_t at = value_member_at(m, field);
    bool there = at < m->len && m->items[at].field == field;
    struct value *p = there ? &m->items[at] : value_gap(a, m, at, 1);
    if (p == NULL) {
        return NULL;
    }
    *p = v;
    p->field = (uint16_t)field;
    return p;
}

void value_remove_member(struct value *m, unsigned field)
{
    size_t at = value_member_at(m, field);
    if (at < m->len && m->items[at].field == field) {
        value_close_gap(m, at, 1);
    }
}

struct value *value_append(struct arena *a, struct value *list, struct value v)
{
    return value_insert(a, list, list->len, v);
}

struct value *value_insert(struct arena *a, struct value *list, size_t at, struct value v)
{
    struct value *p = value_gap(a, list, at, 1);
    if (p != NULL) {
        *p = v;
        p->field = 0;
    }
    return p;
}

void value_remove_item(struct value *list, size_t at)
{
    value_close_gap(list, at, 1);
}

/* Position of the first pair whose key is not before key. */
static size_t value_pair_at(const struct value *map, struct slice key, bool *found)
{
    size_t low = 0;
    size_t high = map->len;
    *found = false;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = slice_cmp(value_map_key(map, middle), key);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct value *value_map_get(const struct value *map, struct slice key)
{
    if (map == NULL || map->kind != VALUE_MAP) {
        return NULL;
    }
    bool found;
    size_t at = value_pair_at(map, key, &found);
    return found ? value_map_at(map, at) : NULL;
}

struct value *value_map_reach(struct arena *a, struct value *map, struct slice key,
                              struct value fresh)
{
    bool found;
    size_t at = value_pair_at(map, key, &found);
    if (!found) {
        struct value *p = value_gap(a, map, at, 2);
        if (p == NULL) {
            return NULL;
        }
        p[0] = value_text(key);
        p[1] = fresh;
        p[1].field = 0;
    }
    return value_map_at(map, at);
}

struct value *value_map_set(struct arena *a, struct value *map, struct slice key, struct value v)
{
    struct value *p = value_map_reach(a, map, key, v);
    if (p != NULL) {
        *p = v;
        p->field = 0;
    }
    return p;
}

struct value *value_map_push(struct arena *a, struct value *map, struct slice key, struct value v)
{
    struct value *p = value_gap(a, map, map->len, 2);
    if (p == NULL) {
        return NULL;
    }
    p[0] = value_text(key);
    p[1] = v;
    p[1].field = 0;
    return &p[1];
}

/* Merges two sorted runs of pairs; of the same key the left one comes first. */
static void value_merge_runs(const struct value *from, size_t left, size_t right, size_t end,
                             struct value *to)
{
    size_t i = left;
    size_t k = right;
    for (size_t n = left; n < end; n++) {
        bool first = k == end || (i < right && slice_cmp(value_slice(&from[2 * i]),
                                                         value_slice(&from[2 * k])) <= 0);
        size_t taken = first ? i++ : k++;
        memcpy(&to[2 * n], &from[2 * taken], 2 * sizeof *to);
    }
}

int value_map_sort(struct arena *a, struct value *map)
{
    size_t n = map->len;
    bool sorted = true;
    for (size_t i = 1; i < n && sorted; i++) {
        sorted = slice_cmp(value_map_key(map, i - 1), value_map_key(map, i)) < 0;
    }
    if (sorted) {
        return 0;
    }
    struct value *from = map->items;
    struct value *to = arena_alloc(a, 2 * n * sizeof *to);
    if (to == NULL) {
        return ERR_NOMEM;
    }
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t left = 0; left < n; left += 2 * width) {
            size_t right = left + width < n ? left + width : n;
            value_merge_runs(from, left, right, right + width < n ? right + width : n, to);
        }
        struct value *swap = from;
        from = to;
        to = swap;
    }
    map->items = from;
    map->room = 0;
    map->len = 0;
    for (size_t i = 0; i < n; i++) {
        bool twin = i + 1 < n && slice_eq(value_slice(&from[2 * i]), value_slice(&from[2 * i + 2]));
        if (!twin) {
            memmove(&from[2 * map->len++], &from[2 * i], 2 * sizeof *from);
        }
    }
    return 0;
}

int value_map_add(struct arena *a, struct value *map, const struct value *added)
{
    for (size_t i = 0; i < added->len; i++) {
        if (value_map_push(a, map, value_map_key(added, i), *value_map_at(added, i)) == NULL) {
            return ERR_NOMEM;
        }
    }
    return value_map_sort(a, map);
}

void value_map_sweep(struct value *map)
{
    size_t kept = 0;
    for (size_t i = 0; i < map->len; i++) {
        if (map->items[2 * i + 1].kind != VALUE_GONE) {
            memmove(&map->items[2 * kept++], &map->items[2 * i], 2 * sizeof *map->items);
        }
    }
    map->len = (uint32_t)kept;
}

bool value_map_remove(struct value *map, struct slice key)
{
    if (map->kind != VALUE_MAP) {
        return false;
    }
    bool found;
    size_t at = value_pair_at(map, key, &found);
    if (found) {
        value_close_gap(map, at, 2);
    }
    return found;
}

/* Number of values that hang directly under v. */
static size_t value_children(const struct value *v)
{
    return v->kind == VALUE_MAP ? 2 * (size_t)v->len : value_len(v);
}

static int value_copy_tree(struct arena *a, const struct value *from, struct value *to, bool texts)
{
    struct value out = *from;
    out.room = 0;
    if (from->kind >= VALUE_LIST) {
        size_t n = value_children(from);
        out.items = NULL;
        if (n > 0) {
            out.items = arena_alloc(a, n * sizeof *out.items);
            if (out.items == NULL) {
                return ERR_NOMEM;
            }
        }
        for (size_t i = 0; i < n; i++) {
            int rc = value_copy_tree(a, &from->items[i], &out.items[i], texts);
            if (rc != 0) {
                return rc;
            }
        }
    } else if (from->kind >= VALUE_TEXT && texts && from->len > 0) {
        out.text = arena_dup(a, value_slice(from)).data;
        if (out.text == NULL) {
            return ERR_NOMEM;
        }
    }
    *to = out;
    return 0;
}

int value_copy(struct arena *a, const struct value *from, struct value *to)
{
    return value_copy_tree(a, from, to, true);
}

int value_copy_shared(struct arena *a, const struct value *from, struct value *to)
{
    return value_copy_tree(a, from, to, false);
}

bool value_is_zero(const struct value *v)
{
    if (v == NULL) {
        return true;
    }
    switch ((enum value_kind)v->kind) {
    case VALUE_NULL:
        return true;
    case VALUE_BOOL:
        return !v->boolean;
    case VALUE_INT:
        return v->integer == 0;
    case VALUE_DOUBLE:
        return v->number == 0;
    case VALUE_MESSAGE:
        return v->len == 0;
    default:
        return v->len == 0;
    }
}

static bool value_equal_untyped(const struct value *a, const struct value *b)
{
    if (a->kind != b->kind) {
        return false;
    }
    switch ((enum value_kind)a->kind) {
    case VALUE_NULL:
        return true;
    case VALUE_BOOL:
        return a->boolean == b->boolean;
    case VALUE_INT:
        return a->integer == b->integer;
    case VALUE_DOUBLE:
        return a->number == b->number;
    case VALUE_TEXT:
    case VALUE_BYTES:
    case VALUE_RAW:
        return slice_eq(value_slice(a), value_slice(b));
    default:
        break;
    }
    if (a->len != b->len) {
        return false;
    }
    size_t n = value_children(a);
    for (size_t i = 0; i < n; i++) {
        if (a->items[i].field != b->items[i].field ||
            !value_equal_untyped(&a->items[i], &b->items[i])) {
            return false;
        }
    }
    return true;
}

static bool value_equal_message(const struct schema_type *t, const struct value *a,
                                const struct value *b)
{
    const struct schema_field *fields = schema_fields(t);
    size_t i = 0;
    size_t k = 0;
    size_t na = value_len(a);
    size_t nb = value_len(b);
    while (i < na || k < nb) {
        unsigned fa = i < na ? a->items[i].field : UINT16_MAX;
        unsigned fb = k < nb ? b->items[k].field : UINT16_MAX;
        const struct value *va = fa <= fb ? &a->items[i++] : NULL;
        const struct value *vb = fb <= fa ? &b->items[k++] : NULL;
        if (!value_equal_field(fields + (fa < fb ? fa : fb), va, vb)) {
            return false;
        }
    }
    return true;
}

bool value_equal(const struct schema_type *t, const struct value *a, const struct value *b)
{
    if (t == NULL || a->kind != VALUE_MESSAGE || b->kind != VALUE_MESSAGE) {
        return value_equal_untyped(a, b);
    }
    return value_equal_message(t, a, b);
}

bool value_equal_field(const struct schema_field *f, const struct value *a, const struct value *b)
{
    bool pointer = f->flags & SCHEMA_FIELD_POINTER;
    bool record = f->kind == SCHEMA_MESSAGE && f->shape == SCHEMA_ONE && !pointer;
    if (a == NULL || b == NULL) {
        const struct value *one = a != NULL ? a : b;
        if (one == NULL || pointer) {
            return one == NULL;
        }
        return record ? value_equal_message(schema_field_type(f), a, b) : value_is_zero(one);
    }
    if (f->kind != SCHEMA_MESSAGE) {
        return value_equal_untyped(a, b);
    }
    if (f->shape == SCHEMA_ONE) {
        return value_equal(schema_field_type(f), a, b);
    }
    if (a->kind != b->kind || a->len != b->len) {
        return false;
    }
    size_t n = value_children(a);
    for (size_t i = 0; i < n; i++) {
        if (!value_equal(schema_field_type(f), &a->items[i], &b->items[i])) {
            return false;
        }
    }
    return true;
}
