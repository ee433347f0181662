/* defaults.h - filling in what an object leaves open.
 *
 * Plain defaults stand in the schema; those that depend on other fields are C functions, one per
 * type that the schema calls `defaulted`. Applied after decoding a request and again after reading
 * a stored object, as Kubernetes does: defaulting twice changes nothing. */
#ifndef KVD_OBJECT_DEFAULTS_H
#define KVD_OBJECT_DEFAULTS_H

#include "plugins/object/object.h"

/* Sets all defaults of an object. 0 or ERR_NOMEM (some may be set then). */
int object_default(struct object *o);

/* What the walk hands to a type's function: one message of it. */
struct default_at {
    struct arena *arena;
    const struct schema_type *type;
    struct value *message;
};
/* The function of a type; NULL when it has none. */
typedef int default_fn(const struct default_at *at);
default_fn *default_function(const struct schema_type *t);

#endif
