/* decode_keep.c - which fields are wanted. */
#include "plugins/object/decode.h"

#include <string.h>

void decode_keep_field(struct decode_kept *k, const char *name)
{
    const struct schema_field *f = schema_find(k->type, slice_str(name));
    if (f != NULL) {
        unsigned index = (unsigned)(f - schema_fields(k->type));
        k->fields[index / 64] |= (uint64_t)1 << (index % 64);
    }
}

/* The entry of a type, made when there is room. */
static struct decode_kept *keep_type(struct decode_kept *types, size_t max, size_t *count,
                                     const struct schema_type *t)
{
    for (size_t i = 0; i < *count; i++) {
        if (types[i].type == t) {
            return &types[i];
        }
    }
    if (*count == max) {
        return NULL;
    }
    types[*count] = (struct decode_kept){.type = t};
    return &types[(*count)++];
}

void decode_keep_path(struct decode_kept *types, size_t max, size_t *count,
                      const struct schema_type *t, struct slice path)
{
    while (t != NULL && path.len > 0) {
        const uint8_t *dot = memchr(path.data, '.', path.len);
        size_t n = dot == NULL ? path.len : (size_t)(dot - path.data);
        const struct schema_field *f = schema_find(t, slice_of(path.data, n));
        struct decode_kept *k = f == NULL ? NULL : keep_type(types, max, count, t);
        if (k == NULL) {
            return;
        }
        unsigned index = (unsigned)(f - schema_fields(t));
        k->fields[index / 64] |= (uint64_t)1 << (index % 64);
        n += dot != NULL;
        path = slice_of(path.data + n, path.len - n);
        t = f->kind == SCHEMA_MESSAGE ? schema_field_type(f) : NULL;
    }
}
