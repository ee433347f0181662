/* defaults.c - the walk that sets defaults.
 *
 * A type's function comes before its plain defaults and both before what is inside, so that a
 * function may still see what the user left open, and what it makes gets its own defaults. */
#include "plugins/object/defaults.h"

#include <string.h>

static int default_message(struct arena *a, const struct schema_type *t, struct value *m);

static struct value default_value(const struct schema_field *f)
{
    switch ((enum schema_kind)f->kind) {
    case SCHEMA_TEXT:
        return value_text(slice_str(schema_text(f, f->fallback)));
    case SCHEMA_BOOL:
        return value_bool(f->fallback_number != 0);
    case SCHEMA_MESSAGE:
        return value_empty(VALUE_MESSAGE);
    default:
        return value_int(f->fallback_number);
    }
}

/* A message that is absent but in Kubernetes always there: its defaults apply to nothing. */
static int default_absent(struct arena *a, struct value *m, unsigned index,
                          const struct schema_field *f)
{
    struct value inner = value_empty(VALUE_MESSAGE);
    int rc = default_message(a, schema_field_type(f), &inner);
    if (rc == 0 && inner.len > 0 && value_set_member(a, m, index, inner) == NULL) {
        rc = ERR_NOMEM;
    }
    return rc;
}

/* What is inside a field that is set. */
static int default_inside(struct arena *a, const struct schema_field *f, struct value *v)
{
    const struct schema_type *t = schema_field_type(f);
    if (f->shape == SCHEMA_ONE) {
        return default_message(a, t, v);
    }
    for (size_t i = 0; i < value_len(v); i++) {
        struct value *item = f->shape == SCHEMA_MAP ? value_map_at(v, i) : &v->items[i];
        int rc = default_message(a, t, item);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

static int default_message(struct arena *a, const struct schema_type *t, struct value *m)
{
    default_fn *function = default_function(t);
    if (function != NULL) {
        int rc = function(&(struct default_at){.arena = a, .type = t, .message = m});
        if (rc != 0) {
            return rc;
        }
    }
    const struct schema_field *fields = schema_fields(t);
    for (unsigned i = 0; i < t->field_count; i++) {
        const struct schema_field *f = fields + i;
        const struct schema_type *inner = f->kind == SCHEMA_MESSAGE ? schema_field_type(f) : NULL;
        bool deep = inner != NULL && (inner->flags & SCHEMA_TYPE_DEFAULTED);
        if (!deep && !(f->flags & SCHEMA_FIELD_DEFAULT)) {
            continue;
        }
        struct value *v = value_member(m, i);
        bool open =
            v == NULL || (!(f->flags & SCHEMA_FIELD_POINTER) && inner == NULL && value_is_zero(v));
        if (open && (f->flags & SCHEMA_FIELD_DEFAULT)) {
            v = value_set_member(a, m, i, default_value(f));
            if (v == NULL) {
                return ERR_NOMEM;
            }
        }
        int rc = 0;
        if (deep && v != NULL) {
            rc = default_inside(a, f, v);
        } else if (deep && f->shape == SCHEMA_ONE && !(f->flags & SCHEMA_FIELD_POINTER)) {
            rc = default_absent(a, m, i, f);
        }
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

int object_default(struct object *o)
{
    if (!(o->type->flags & SCHEMA_TYPE_DEFAULTED)) {
        return 0;
    }
    return default_message(o->arena, o->type, &o->root);
}
