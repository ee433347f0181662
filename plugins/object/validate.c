/* validate.c - the walk along the schema.
 *
 * The functions compare items of a list with each other: a list longer than OBJECT_ITEMS_MAX is
 * refused where the schema does not allow it more. */
#include "plugins/object/validate_kinds.h"

#include "base/limits.h"

static const struct value validate_nothing = {.kind = VALUE_MESSAGE};

static bool validate_message(struct causes *c, const struct schema_type *t, const struct value *m,
                             const struct value *old, const struct place *p);

const struct value *validate_get(const struct validate_at *at, const char *path)
{
    return value_at(at->type, at->message, path);
}

struct slice validate_text(const struct validate_at *at, const char *path)
{
    return value_slice(validate_get(at, path));
}

int64_t validate_int(const struct validate_at *at, const char *path, int64_t fallback)
{
    const struct value *v = validate_get(at, path);
    return v != NULL && v->kind == VALUE_INT ? v->integer : fallback;
}

void validate_name(struct causes *c, enum name_rule rule, const struct place *p, struct slice text)
{
    const char *complaints[NAME_COMPLAINTS_MAX];
    size_t n = name_check(rule, text, complaints);
    for (size_t i = 0; i < n; i++) {
        cause_invalid_text(c, p, text, "%s", complaints[i]);
    }
}

static void validate_format(struct causes *c, const struct schema_field *f, const struct value *v,
                            const struct place *p)
{
    static const enum name_rule rules[] = {
        [SCHEMA_FORMAT_LABEL] = NAME_LABEL,
        [SCHEMA_FORMAT_SUBDOMAIN] = NAME_SUBDOMAIN,
        [SCHEMA_FORMAT_LABELKEY] = NAME_QUALIFIED,
    };
    if (f->format != SCHEMA_FORMAT_NONE && value_slice(v).len > 0) {
        validate_name(c, rules[f->format], p, value_slice(v));
    }
}

/* What a field says of itself. False when it is missing or too long: no more is said of it then. */
static bool validate_field(struct causes *c, const struct schema_field *f, const struct value *v,
                           const struct place *p)
{
    bool empty_message = v != NULL && v->kind == VALUE_MESSAGE;
    if ((f->flags & SCHEMA_FIELD_NEEDED) && value_is_zero(v) && !empty_message) {
        cause_required(c, p, "");
        return false;
    }
    if (v == NULL) {
        return true;
    }
    const struct schema_type *t = schema_field_type(f);
    bool checked = !(f->flags & SCHEMA_FIELD_UNCHECKED);
    if (checked && t != NULL && t->form == SCHEMA_FORM_ENUM && f->shape == SCHEMA_ONE &&
        v->len > 0 && !schema_enum_has(t, value_slice(v))) {
        cause_not_in_enum(c, p, value_slice(v), t);
    }
    if ((f->flags & SCHEMA_FIELD_MIN) && v->kind == VALUE_INT && v->integer < f->min) {
        if (f->min == 0) {
            cause_invalid_int(c, p, v->integer, "must be greater than or equal to 0");
        } else {
            cause_invalid_int(c, p, v->integer, "must be greater than or equal to %d", f->min);
        }
    }
    size_t most = f->max_items > 0 ? f->max_items : OBJECT_ITEMS_MAX;
    if (f->shape == SCHEMA_LIST && value_len(v) > most) {
        cause_too_many(c, p, value_len(v), most);
        return false;
    }
    validate_format(c, f, v, p);
    return true;
}

/* False when a list in there is too long. */
static bool validate_inside(struct causes *c, const struct schema_field *f, const struct value *v,
                            const struct value *old, const struct place *p)
{
    const struct schema_type *t = schema_field_type(f);
    bool bounded = true;
    if (f->shape == SCHEMA_ONE) {
        bool always = !(f->flags & SCHEMA_FIELD_POINTER);
        return (v == NULL && !always) ||
               validate_message(c, t, v == NULL ? &validate_nothing : v, old, p);
    }
    for (size_t i = 0; i < value_len(v); i++) {
        bool one = f->shape == SCHEMA_LIST
                       ? validate_message(c, t, &v->items[i], NULL, PLACE_INDEX(p, i))
                       : validate_message(c, t, value_map_at(v, i), NULL,
                                          PLACE_KEY(p, value_map_key(v, i)));
        bounded = bounded && one;
    }
    return bounded;
}

/* old NULL: there was none. False when a list in it is too long: functions are not called then, up
 * to the root. */
static bool validate_message(struct causes *c, const struct schema_type *t, const struct value *m,
                             const struct value *old, const struct place *p)
{
    if (!(t->flags & SCHEMA_TYPE_CHECKED)) {
        return true;
    }
    const struct schema_field *fields = schema_fields(t);
    bool bounded = true;
    size_t at = 0; /* of the next member, which come in the order of fields */
    for (unsigned i = 0; i < t->field_count; i++) {
        const struct schema_field *f = fields + i;
        bool set = at < value_len(m) && m->items[at].field == i;
        const struct value *v = set ? &m->items[at++] : NULL;
        if (v == NULL && old == NULL && !(f->flags & SCHEMA_FIELD_NEEDED) &&
            (f->kind != SCHEMA_MESSAGE || f->shape != SCHEMA_ONE ||
             (f->flags & SCHEMA_FIELD_POINTER))) {
            continue; /* nearly always */
        }
        const struct place *here = PLACE_FIELD(p, schema_field_name(f));
        const struct value *before = value_member(old, i);
        bool there = validate_field(c, f, v, here);
        bounded = bounded && (there || v == NULL || value_len(v) == 0);
        if ((f->flags & SCHEMA_FIELD_IMMUTABLE) && old != NULL &&
            !value_equal_field(f, v, before)) {
            cause_invalid(c, here, f, v, "field is immutable");
        }
        if (there && f->kind == SCHEMA_MESSAGE) {
            bool inside = validate_inside(c, f, v, before, here);
            bounded = bounded && inside;
        }
    }
    validate_fn *function = validate_function(t);
    if (function != NULL && bounded) {
        function(
            &(struct validate_at){.causes = c, .type = t, .message = m, .old = old, .place = p});
    }
    return bounded;
}

void validate_create(const struct object *o, struct causes *c)
{
    validate_meta_create(o, c);
    validate_message(c, o->type, &o->root, NULL, NULL);
}

void validate_update(const struct object *new, const struct object *old, struct causes *c)
{
    validate_meta_update(new, old, c);
    validate_message(c, new->type, &new->root, &old->root, NULL);
}
