/* object.c - walking paths through a tree, beside its schema. */
#include "plugins/object/object.h"

#include <string.h>

#include "plugins/object/encode.h"

/* Where a walk stands: a value, and what its schema says of it. */
struct object_place {
    struct value *value; /* NULL: absent */
    const struct schema_field *field;
    const struct schema_type *type; /* of a message */
    bool element;                   /* inside field's list or map */
};

/* One step of a path: a field's name or what stands in brackets. False at the end. */
static bool object_step(const char **path, struct slice *step, bool *bracket)
{
    const char *p = *path;
    if (*p == 0) {
        return false;
    }
    *bracket = *p == '[';
    const char *end;
    if (*bracket) {
        p++;
        end = strchr(p, ']');
        end = end == NULL ? p + strlen(p) : end;
        *path = *end == 0 ? end : end + 1;
    } else {
        p += *p == '.';
        for (end = p; *end != 0 && *end != '.' && *end != '['; end++) {
        }
        *path = end;
    }
    *step = slice_of(p, (size_t)(end - p));
    return true;
}

static bool object_index(struct slice step, size_t *out)
{
    size_t v = 0;
    if (step.len == 0 || step.len > 9) {
        return false;
    }
    for (size_t i = 0; i < step.len; i++) {
        if (step.data[i] < '0' || step.data[i] > '9') {
            return false;
        }
        v = v * 10 + (size_t)(step.data[i] - '0');
    }
    *out = v;
    return true;
}

/* What an unset place becomes when something below it is set. */
static struct value object_empty(const struct object_place *at)
{
    const struct schema_field *f = at->field;
    if (!at->element && f->shape != SCHEMA_ONE) {
        return value_empty(f->shape == SCHEMA_LIST ? VALUE_LIST : VALUE_MAP);
    }
    return f->kind == SCHEMA_WRAPPER ? value_empty(VALUE_LIST) : value_empty(VALUE_MESSAGE);
}

/* Steps into a field. make: in this arena, when it is not there. */
static int object_enter_field(struct object_place *at, struct slice name, struct arena *make)
{
    const struct schema_type *t = at->type;
    const struct schema_field *f = t == NULL ? NULL : schema_find(t, name);
    if (f == NULL) {
        return ERR_INVALID;
    }
    unsigned index = (unsigned)(f - schema_fields(t));
    struct value *parent = at->value;
    at->value = value_member(parent, index);
    at->field = f;
    at->element = false;
    bool message = f->kind == SCHEMA_MESSAGE;
    at->type = message && f->shape == SCHEMA_ONE ? schema_field_type(f) : NULL;
    if (at->value == NULL && make != NULL) {
        at->value = value_set_member(make, parent, index, object_empty(at));
        return at->value == NULL ? ERR_NOMEM : 0;
    }
    return 0;
}

/* Steps into an element of a list or map. Only a map's elements are made. */
static int object_enter_element(struct object_place *at, struct slice step, struct arena *make)
{
    const struct schema_field *f = at->field;
    if (f == NULL || at->element || f->shape == SCHEMA_ONE) {
        return ERR_INVALID;
    }
    struct value *parent = at->value;
    at->element = true;
    at->type = f->kind == SCHEMA_MESSAGE ? schema_field_type(f) : NULL;
    at->value = NULL;
    if (f->shape == SCHEMA_LIST) {
        size_t i;
        if (!object_index(step, &i)) {
            return ERR_INVALID;
        }
        at->value = i < value_len(parent) ? &parent->items[i] : NULL;
        return at->value == NULL && make != NULL ? ERR_INVALID : 0;
    }
    at->value = value_map_get(parent, step);
    if (at->value == NULL && make != NULL) {
        struct slice key = arena_dup(make, step);
        at->value = key.data == NULL ? NULL : value_map_set(make, parent, key, object_empty(at));
        return at->value == NULL ? ERR_NOMEM : 0;
    }
    return 0;
}

/* Walks all of a path. */
static int object_walk(struct object_place *at, const char *path, struct arena *make)
{
    struct slice step;
    bool bracket;
    while (object_step(&path, &step, &bracket)) {
        int rc =
            bracket ? object_enter_element(at, step, make) : object_enter_field(at, step, make);
        if (rc != 0) {
            return rc;
        }
        if (at->value == NULL) {
            return 0;
        }
    }
    return 0;
}

struct value *value_at(const struct schema_type *t, const struct value *m, const char *path)
{
    size_t n = strcspn(path, ".[");
    if (n > 0 && path[n] == 0 && t != NULL) { /* of one step, as most are */
        const struct schema_field *f = schema_find(t, slice_of(path, n));
        return f == NULL ? NULL : value_member(m, (unsigned)(f - schema_fields(t)));
    }
    struct object_place at = {.value = (struct value *)(uintptr_t)m, .type = t};
    return object_walk(&at, path, NULL) == 0 ? at.value : NULL;
}

struct value *object_get(const struct object *o, const char *path)
{
    return value_at(o->type, &o->root, path);
}

struct slice object_text(const struct object *o, const char *path)
{
    return value_slice(object_get(o, path));
}

int64_t object_int(const struct object *o, const char *path, int64_t fallback)
{
    const struct value *v = object_get(o, path);
    return v != NULL && v->kind == VALUE_INT ? v->integer : fallback;
}

bool object_bool(const struct object *o, const char *path, bool fallback)
{
    const struct value *v = object_get(o, path);
    return v != NULL && v->kind == VALUE_BOOL ? v->boolean : fallback;
}

bool object_quantity(const struct object *o, const char *path, struct quantity *q)
{
    const char *why;
    const struct value *v = object_get(o, path);
    return v != NULL && quantity_parse(value_slice(v), q, &why) == 0;
}

/* Splits a path at its last step. False when it has only one, or is too long. */
static bool object_split(const char *path, char parent[256], const char **last)
{
    size_t n = strlen(path);
    size_t at = n;
    if (n > 0 && path[n - 1] == ']') {
        while (at > 0 && path[at - 1] != '[') {
            at--;
        }
        at -= at > 0;
    } else {
        while (at > 0 && path[at - 1] != '.') {
            at--;
        }
        at -= at > 0;
    }
    if (at >= 256) {
        return false;
    }
    memcpy(parent, path, at);
    parent[at] = 0;
    *last = path + at;
    return true;
}

/* Whether a value is what the schema has at a place. */
static bool object_fits(const struct object_place *at, const struct value *v)
{
    const struct schema_field *f = at->field;
    if (!at->element && f->shape != SCHEMA_ONE) {
        return v->kind == (f->shape == SCHEMA_LIST ? VALUE_LIST : VALUE_MAP);
    }
    switch ((enum schema_kind)f->kind) {
    case SCHEMA_TEXT:
    case SCHEMA_QUANTITY:
        return v->kind == VALUE_TEXT;
    case SCHEMA_BYTES:
        return v->kind == VALUE_BYTES;
    case SCHEMA_BOOL:
        return v->kind == VALUE_BOOL;
    case SCHEMA_INT32:
        return v->kind == VALUE_INT && v->integer >= INT32_MIN && v->integer <= INT32_MAX;
    case SCHEMA_INT64:
    case SCHEMA_TIME:
    case SCHEMA_MICROTIME:
        return v->kind == VALUE_INT;
    case SCHEMA_DOUBLE:
        return v->kind == VALUE_DOUBLE;
    case SCHEMA_INT_OR_TEXT:
        return v->kind == VALUE_INT || v->kind == VALUE_TEXT;
    case SCHEMA_RAW:
        return v->kind == VALUE_RAW;
    case SCHEMA_MESSAGE:
        return v->kind == VALUE_MESSAGE;
    case SCHEMA_WRAPPER:
        return v->kind == VALUE_LIST;
    }
    return false;
}

/* Sets the last step of a path whose parent the walk stands on. */
static int object_put(struct object *o, struct object_place *at, const char *last, struct value v,
                      struct value **out)
{
    struct slice step;
    bool bracket;
    struct object_place parent = *at;
    if (!object_step(&last, &step, &bracket)) {
        return ERR_INVALID;
    }
    int rc = bracket ? object_enter_element(at, step, NULL) : object_enter_field(at, step, NULL);
    if (rc != 0 || !object_fits(at, &v)) {
        return ERR_INVALID;
    }
    if (at->value != NULL) {
        uint16_t field = at->value->field;
        *at->value = v;
        at->value->field = field;
    } else if (!bracket) {
        at->value = value_set_member(o->arena, parent.value,
                                     (unsigned)(at->field - schema_fields(parent.type)), v);
    } else if (at->field->shape == SCHEMA_LIST) {
        return ERR_INVALID;
    } else {
        struct slice key = arena_dup(o->arena, step);
        at->value = key.data == NULL ? NULL : value_map_set(o->arena, parent.value, key, v);
    }
    *out = at->value;
    return at->value == NULL ? ERR_NOMEM : 0;
}

static int object_set_at(struct object *o, const char *path, struct value v, struct value **out)
{
    char parent[256];
    const char *last;
    if (!object_split(path, parent, &last)) {
        return ERR_INVALID;
    }
    struct object_place at = {.value = &o->root, .type = o->type};
    int rc = object_walk(&at, parent, o->arena);
    return rc != 0 ? rc : object_put(o, &at, last, v, out);
}

int object_set(struct object *o, const char *path, struct value v)
{
    struct value *out;
    return object_set_at(o, path, v, &out);
}

int object_set_text(struct object *o, const char *path, struct slice text)
{
    struct slice copy = arena_dup(o->arena, text);
    return copy.data == NULL ? ERR_NOMEM : object_set(o, path, value_text(copy));
}

int object_set_str(struct object *o, const char *path, const char *text)
{
    return object_set_text(o, path, slice_str(text));
}

int object_set_int(struct object *o, const char *path, int64_t v)
{
    return object_set(o, path, value_int(v));
}

int object_set_bool(struct object *o, const char *path, bool v)
{
    return object_set(o, path, value_bool(v));
}

int object_make(struct object *o, const char *path, struct value **out)
{
    struct object_place at = {.value = &o->root, .type = o->type};
    int rc = object_walk(&at, path, o->arena);
    *out = at.value;
    return rc != 0 ? rc : at.value->kind < VALUE_LIST ? ERR_INVALID : 0;
}

int object_append(struct object *o, const char *path, struct value v, struct value **out)
{
    struct object_place at = {.value = &o->root, .type = o->type};
    int rc = object_walk(&at, path, o->arena);
    if (rc != 0) {
        return rc;
    }
    struct object_place element = {.field = at.field, .element = true};
    /* A wrapper is a list of texts, where other kinds have one value. */
    bool wrapper = at.field != NULL && at.field->kind == SCHEMA_WRAPPER &&
                   (at.element || at.field->shape == SCHEMA_ONE);
    bool list = at.field != NULL && !at.element && at.field->shape == SCHEMA_LIST;
    if (!(wrapper && v.kind == VALUE_TEXT) && !(list && object_fits(&element, &v))) {
        return ERR_INVALID;
    }
    *out = value_append(o->arena, at.value, v);
    return *out == NULL ? ERR_NOMEM : 0;
}

void object_remove(struct object *o, const char *path)
{
    char parent[256];
    const char *last;
    struct slice step;
    bool bracket;
    struct object_place at = {.value = &o->root, .type = o->type};
    if (!object_split(path, parent, &last) || object_walk(&at, parent, NULL) != 0 ||
        at.value == NULL || !object_step(&last, &step, &bracket)) {
        return;
    }
    size_t i;
    if (!bracket) {
        const struct schema_field *f = at.type == NULL ? NULL : schema_find(at.type, step);
        if (f != NULL) {
            value_remove_member(at.value, (unsigned)(f - schema_fields(at.type)));
        }
    } else if (at.value->kind == VALUE_MAP) {
        value_map_remove(at.value, step);
    } else if (at.value->kind == VALUE_LIST && object_index(step, &i) && i < at.value->len) {
        value_remove_item(at.value, i);
    }
}

struct slice object_api_version(const struct schema_type *type, struct arena *arena)
{
    const char *group = schema_text(type, type->group);
    struct slice version = slice_str(schema_text(type, type->version));
    /* Options and answers of the meta group speak for every group: as v1. */
    if (group[0] == 0 || strcmp(group, "meta.k8s.io") == 0) {
        return version;
    }
    size_t n = strlen(group);
    uint8_t *text = arena_alloc(arena, n + 1 + version.len);
    if (text == NULL) {
        return slice_of(NULL, 0);
    }
    memcpy(text, group, n);
    text[n] = '/';
    memcpy(text + n + 1, version.data, version.len);
    return slice_of(text, n + 1 + version.len);
}

int object_set_type_meta(struct object *o)
{
    if (!(o->type->flags & SCHEMA_TYPE_TYPED)) {
        return 0;
    }
    struct slice version = object_api_version(o->type, o->arena);
    if (version.data == NULL) {
        return ERR_NOMEM;
    }
    int rc = object_set(o, "kind", value_text(slice_str(schema_type_name(o->type))));
    return rc != 0 ? rc : object_set(o, "apiVersion", value_text(version));
}

int object_new(struct object *o, const struct schema_type *type, struct arena *arena)
{
    *o = (struct object){.type = type, .root = value_empty(VALUE_MESSAGE), .arena = arena};
    return object_set_type_meta(o);
}

int object_decode(struct object *o, const struct schema_type *type, struct arena *arena,
                  struct slice json, struct decode_report *report, struct errmsg *e)
{
    *o = (struct object){.type = type, .root = value_empty(VALUE_MESSAGE), .arena = arena};
    return decode_json(json, type, arena, &o->root, report, e);
}

int object_decode_lean(struct object *o, const struct schema_type *type, struct arena *arena,
                       struct slice json, struct errmsg *e)
{
    *o = (struct object){.type = type, .root = value_empty(VALUE_MESSAGE), .arena = arena};
    return decode_json_lean(json, type, arena, &o->root, e);
}

int object_decode_some(struct object *o, const struct schema_type *type,
                       const struct decode_keep *keep, struct arena *arena, struct slice json,
                       struct errmsg *e)
{
    *o = (struct object){.type = type, .root = value_empty(VALUE_MESSAGE), .arena = arena};
    return decode_json_some(json, type, keep, arena, &o->root, e);
}

void object_encode(const struct object *o, struct buf *out)
{
    encode_json(o->type, &o->root, out);
}

int object_copy(const struct object *from, struct arena *arena, struct object *to)
{
    *to = (struct object){.type = from->type, .arena = arena};
    return value_copy(arena, &from->root, &to->root);
}

bool object_equal(const struct object *a, const struct object *b)
{
    return a->type == b->type && value_equal(a->type, &a->root, &b->root);
}
