/* conditions.h - reading and setting one entry of status.conditions of nodes, pods and namespaces.
 * Pure. */
#ifndef KVD_CONTROLLERS_CONDITIONS_H
#define KVD_CONTROLLERS_CONDITIONS_H

#include "plugins/object/object.h"

/* The kinds of conditions are messages of their own: a condition and its schema go together. */
struct condition {
    const struct schema_type *type; /* SCHEMA_CORE_V1_NODE_CONDITION, ... */
    const struct value *message;    /* NULL = there is none */
};

/* The condition of this type, in status.conditions of o, which is a Node, Pod or Namespace. */
struct condition conditions_find(const struct object *o, const char *type);
/* Its text members; empty when absent. */
struct slice conditions_text(struct condition c, const char *member);
/* "True", "False", "Unknown"; "" = there is none. */
static inline struct slice conditions_status(struct condition c)
{
    return conditions_text(c, "status");
}
static inline bool conditions_is(struct condition c, const char *status)
{
    return c.message != NULL && slice_eq(conditions_status(c), slice_str(status));
}
/* Its times in seconds since 1970; 0 when absent. */
int64_t conditions_time(struct condition c, const char *member);

struct condition_want {
    const char *type;
    const char *status;
    const char *reason;
    const char *message; /* NULL: as it is */
    int64_t now_s;       /* lastTransitionTime, when the status changes */
};
/* Adds the condition or changes the one there is. *changed (may be NULL): whether anything differs
 * now. 0 or ERR_NOMEM. */
int conditions_set(struct object *o, const struct condition_want *want, bool *changed);

#endif
