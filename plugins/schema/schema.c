/* schema.c - looking things up in the tables. */
#include "plugins/schema/schema.h"

#include <string.h>

/* generate.py has the twin of this function. */
static uint64_t schema_field_key(struct slice name)
{
    uint64_t first = 0;
    uint64_t last = 0;
    if (name.len >= 8) {
        memcpy(&first, name.data, 8);
        memcpy(&last, name.data + name.len - 8, 8);
    } else {
        for (size_t i = 0; i < name.len; i++) {
            first |= (uint64_t)name.data[i] << (8 * i);
        }
        last = first;
    }
    return first ^ (last * 0x9E3779B97F4A7C15u) ^ name.len;
}

const struct schema_field *schema_find(const struct schema_type *t, struct slice name)
{
    if (t->field_count == 0) {
        return NULL;
    }
    uint64_t mixed = schema_field_key(name) * t->hash_seed;
    size_t at = t->hash_bits == 0 ? 0 : mixed >> (64 - t->hash_bits);
    unsigned index = ((const uint8_t *)schema_at(t, t->hash))[at];
    if (index == 0) {
        return NULL;
    }
    const struct schema_field *f = schema_fields(t) + index - 1;
    bool same = f->name_len == name.len && memcmp(schema_field_name(f), name.data, name.len) == 0;
    return same ? f : NULL;
}

static bool schema_is(const void *record, int32_t distance, struct slice text)
{
    return slice_eq(slice_str(schema_text(record, distance)), text);
}

const struct schema_type *schema_find_kind(struct slice group, struct slice version,
                                           struct slice kind)
{
    for (size_t i = 0; i < schema_type_count; i++) {
        const struct schema_type *t = schema_types + i;
        if ((t->flags & SCHEMA_TYPE_TYPED) && schema_is(t, t->name, kind) &&
            schema_is(t, t->group, group) && schema_is(t, t->version, version)) {
            return t;
        }
    }
    return NULL;
}

const struct schema_resource *schema_find_resource(struct slice group, struct slice version,
                                                   struct slice plural)
{
    for (size_t i = 0; i < schema_resource_count; i++) {
        const struct schema_resource *r = schema_resources + i;
        const struct schema_type *t = schema_at(r, r->type);
        if (schema_is(r, r->plural, plural) && schema_is(t, t->group, group) &&
            schema_is(t, t->version, version)) {
            return r;
        }
    }
    return NULL;
}

const char *schema_enum_value(const struct schema_type *t, size_t i)
{
    const int32_t *values = schema_at(t, t->values);
    return schema_text(&values[i], values[i]);
}

bool schema_enum_has(const struct schema_type *t, struct slice text)
{
    if (t->form != SCHEMA_FORM_ENUM) {
        return true;
    }
    for (size_t i = 0; i < t->value_count; i++) {
        if (slice_eq(slice_str(schema_enum_value(t, i)), text)) {
            return true;
        }
    }
    return false;
}
