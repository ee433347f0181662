/* value.h - a decoded object as a compact tree of 16-byte values in an arena.
 *
 * A message is its set fields in the order of its schema; what is absent takes no room. A map is
 * sorted by key, as JSON shows it. The same tree without a schema (type NULL) holds any JSON:
 * patches, custom data. Texts point into the arena, or to memory the caller keeps as long as the
 * tree.
 *
 * Where a function takes a type, it is the schema of the message given. Values are not thread-safe;
 * a tree that nobody changes may be read by all. */
#ifndef KVD_OBJECT_VALUE_H
#define KVD_OBJECT_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/slice.h"
#include "plugins/schema/schema.h"

enum value_kind {
    VALUE_NULL, /* untyped trees only: typed ones leave it out */
    VALUE_BOOL,
    VALUE_INT, /* also times: seconds, or microseconds for MicroTime, since 1970 */
    VALUE_DOUBLE,
    VALUE_TEXT,    /* UTF-8; quantities in canonical form */
    VALUE_BYTES,   /* not base64 any more */
    VALUE_RAW,     /* JSON as it is */
    VALUE_LIST,    /* items */
    VALUE_MAP,     /* 2 * len items: key, value, key, value */
    VALUE_MESSAGE, /* items are fields, ascending */
};

struct value {
    uint8_t kind;   /* enum value_kind */
    uint8_t room;   /* of containers: unused places behind the last item (value.c) */
    uint16_t field; /* inside a message: number of its field in the type's array */
    uint32_t len;   /* bytes, or items (pairs of a map) */
    union {
        bool boolean;
        int64_t integer;
        double number;
        const uint8_t *text;
        struct value *items;
    };
};

_Static_assert(sizeof(struct value) == 16, "trees are sized by this");

static inline struct value value_null(void)
{
    return (struct value){.kind = VALUE_NULL};
}
static inline struct value value_bool(bool b)
{
    return (struct value){.kind = VALUE_BOOL, .boolean = b};
}
static inline struct value value_int(int64_t i)
{
    return (struct value){.kind = VALUE_INT, .integer = i};
}
static inline struct value value_text(struct slice s)
{
    return (struct value){.kind = VALUE_TEXT, .len = (uint32_t)s.len, .text = s.data};
}
static inline struct value value_bytes(struct slice s)
{
    return (struct value){.kind = VALUE_BYTES, .len = (uint32_t)s.len, .text = s.data};
}
static inline struct value value_empty(enum value_kind kind)
{
    return (struct value){.kind = (uint8_t)kind};
}
/* The bytes of a text, bytes or raw value; empty for anything else and for NULL. */
static inline struct slice value_slice(const struct value *v)
{
    bool has = v != NULL && v->kind >= VALUE_TEXT && v->kind <= VALUE_RAW;
    return has ? slice_of(v->text, v->len) : slice_of(NULL, 0);
}
/* Items of a list, pairs of a map, fields of a message; 0 for anything else and for NULL. */
static inline size_t value_len(const struct value *v)
{
    return v != NULL && v->kind >= VALUE_LIST ? v->len : 0;
}
static inline bool value_is_text(const struct value *v, const char *text)
{
    return v != NULL && v->kind == VALUE_TEXT && slice_eq(value_slice(v), slice_str(text));
}

/* ---- messages ---- */
/* A field by its number in the type's array, or by name; NULL when unset. m may be NULL. */
struct value *value_member(const struct value *m, unsigned field);
struct value *value_find(const struct schema_type *t, const struct value *m, const char *name);
/* Sets a field (v is copied, what it points to is not). Returns where it lies until the message
 * changes again, NULL when out of memory (m unchanged). */
struct value *value_set_member(struct arena *a, struct value *m, unsigned field, struct value v);
void value_remove_member(struct value *m, unsigned field);

/* ---- lists ---- */
/* Appends. Returns where it lies until the list changes again, NULL when out of memory. */
struct value *value_append(struct arena *a, struct value *list, struct value v);
/* Puts v at position at (0 <= at <= len). */
struct value *value_insert(struct arena *a, struct value *list, size_t at, struct value v);
void value_remove_item(struct value *list, size_t at);

/* ---- maps ---- */
/* The value of a key; NULL when missing. m may be NULL. */
struct value *value_map_get(const struct value *map, struct slice key);
static inline struct value *value_map_cget(const struct value *map, const char *key)
{
    return value_map_get(map, slice_str(key));
}
/* Sets a key; the key's bytes are kept, not copied. NULL when out of memory. */
struct value *value_map_set(struct arena *a, struct value *map, struct slice key, struct value v);
/* The value of a key, which is put there, with its key's bytes kept, when it is missing. NULL when
 * out of memory. */
struct value *value_map_reach(struct arena *a, struct value *map, struct slice key,
                              struct value fresh);
/* For many pairs at once: puts one at the end, whatever its key; the map is none until
 * value_map_sort, which keeps the last pair of each key. The key's bytes are kept. NULL, ERR_NOMEM:
 * out of memory. */
struct value *value_map_push(struct arena *a, struct value *map, struct slice key, struct value v);
int value_map_sort(struct arena *a, struct value *map);
/* Puts all pairs of another map, none of whose keys this one has. 0 or ERR_NOMEM. */
int value_map_add(struct arena *a, struct value *map, const struct value *added);
/* Takes away all pairs of whose values the kind was set to VALUE_GONE. */
#define VALUE_GONE 0xffu
void value_map_sweep(struct value *map);
/* False when the key was not there. */
bool value_map_remove(struct value *map, struct slice key);
static inline struct slice value_map_key(const struct value *map, size_t i)
{
    return value_slice(&map->items[2 * i]);
}
static inline struct value *value_map_at(const struct value *map, size_t i)
{
    return &map->items[2 * i + 1];
}

/* ---- whole trees ---- */
/* A deep copy in the arena, texts included. 0 or ERR_NOMEM. */
int value_copy(struct arena *a, const struct value *from, struct value *to);
/* Like value_copy, but texts are shared: they must outlive the copy. */
int value_copy_shared(struct arena *a, const struct value *from, struct value *to);
/* Same content. Absent and empty lists, maps and messages are the same where the schema says no
 * difference (t NULL: untyped, everything counts). */
bool value_equal(const struct schema_type *t, const struct value *a, const struct value *b);
/* The same for two values of one field, either of which may be NULL. */
bool value_equal_field(const struct schema_field *f, const struct value *a, const struct value *b);
/* True for what a field without ? cannot tell from absent: zero, "", an empty container, NULL. */
bool value_is_zero(const struct value *v);

#endif
