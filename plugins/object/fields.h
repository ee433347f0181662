/* fields.h - field selectors: a=b, a==b, a!=b, joined by commas; \ escapes a comma, = or itself. */
#ifndef KVD_OBJECT_FIELDS_H
#define KVD_OBJECT_FIELDS_H

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "plugins/object/value.h"

struct field_term {
    struct slice field;
    struct slice value;
    bool not_equal;
};

struct field_selector {
    struct field_term *items; /* in the order of their texts, sorted */
    size_t count;
};

/* Reads a selector; texts lie in the arena. Returns 0, ERR_INVALID with the sentence in e,
 * ERR_NOMEM. */
int field_selector_parse(struct slice text, struct arena *arena, struct field_selector *out,
                         struct errmsg *e);
/* Refuses fields a kind has no selector for: 0 or ERR_INVALID. */
int field_selector_check(const struct field_selector *s, const struct schema_type *kind,
                         struct errmsg *e);
/* Whether an object of a kind, whose fields are checked, matches. */
bool field_selector_matches(const struct field_selector *s, const struct schema_type *kind,
                            const struct value *object);
/* The value the selector asks a field for exactly (metadata.name=x); data NULL when it does not. */
struct slice field_selector_exact(const struct field_selector *s, const char *field);
/* Appends the canonical text. */
void field_selector_print(const struct field_selector *s, struct buf *out);

#endif
