/* message.h - filling messages of a tree by the names of their members. */
#ifndef KVD_CONTROLLERS_MESSAGE_H
#define KVD_CONTROLLERS_MESSAGE_H

#include "base/err.h"
#include "plugins/object/value.h"

/* Sets a member of a message of type t. Texts are kept, not copied. 0 or ERR_NOMEM. A name t does
 * not have: ERR_INVALID. */
static inline int message_set(struct arena *a, const struct schema_type *t, struct value *m,
                              const char *name, struct value v)
{
    const struct schema_field *f = schema_find(t, slice_str(name));
    if (f == NULL) {
        return ERR_INVALID;
    }
    return value_set_member(a, m, (unsigned)(f - schema_fields(t)), v) == NULL ? ERR_NOMEM : 0;
}

/* The same for a text; an empty one stays absent. */
static inline int message_set_text(struct arena *a, const struct schema_type *t, struct value *m,
                                   const char *name, struct slice text)
{
    return text.len == 0 ? 0 : message_set(a, t, m, name, value_text(text));
}

#endif
