/* validate.h - whether an object may be stored, and if not, all that is wrong with it.
 *
 * What one field says of itself (needed, enum, min, format, immutable) is checked from the schema,
 * what fields say of each other by C functions, one per type that the schema calls `checked`.
 * Objects are validated after defaulting. */
#ifndef KVD_OBJECT_VALIDATE_H
#define KVD_OBJECT_VALIDATE_H

#include "plugins/object/cause.h"
#include "plugins/object/names.h"
#include "plugins/object/object.h"

/* Adds what is wrong with a new object to c; nothing when it may be stored. */
void validate_create(const struct object *o, struct causes *c);
/* The same for a change from old to new of one type. */
void validate_update(const struct object *new, const struct object *old, struct causes *c);

/* What the walk hands to a type's function: one message of it, and its place. */
struct validate_at {
    struct causes *causes;
    const struct schema_type *type;
    const struct value *message;
    const struct value *old; /* NULL: created, or inside a list */
    const struct place *place;
};
typedef void validate_fn(const struct validate_at *at);
/* The function of a type; NULL when it has none. */
validate_fn *validate_function(const struct schema_type *t);

/* ---- for those functions ---- */
/* Values below the message, as object_get and its like. */
const struct value *validate_get(const struct validate_at *at, const char *path);
struct slice validate_text(const struct validate_at *at, const char *path);
int64_t validate_int(const struct validate_at *at, const char *path, int64_t fallback);
/* Checks a name; each complaint is a cause at place. */
void validate_name(struct causes *c, enum name_rule rule, const struct place *p, struct slice text);
/* Keys and values of labels. */
void validate_labels(struct causes *c, const struct place *p, const struct value *map);

#endif
