/* cause.h - what validation complains of: causes with a field, a reason and Kubernetes' sentence.
 *
 * A place is a chain of steps on the stack, from the field in hand up to the root; it costs nothing
 * until something is wrong. All texts go to the arena of the list. */
#ifndef KVD_OBJECT_CAUSE_H
#define KVD_OBJECT_CAUSE_H

#include "base/alloc.h"
#include "base/buf.h"
#include "base/slice.h"
#include "plugins/object/value.h"

/* Causes kept of one object; more would only make a larger answer. */
#define CAUSES_MAX 256u

enum cause_reason {
    CAUSE_NOT_FOUND,
    CAUSE_REQUIRED,
    CAUSE_DUPLICATE,
    CAUSE_INVALID,
    CAUSE_NOT_SUPPORTED,
    CAUSE_FORBIDDEN,
    CAUSE_TOO_LONG,
    CAUSE_TOO_MANY,
    CAUSE_INTERNAL
};

struct cause {
    enum cause_reason reason;
    struct slice field;   /* spec.containers[0].name */
    struct slice message; /* Required value: ... */
};

struct causes {
    struct arena *arena;
    struct cause items[CAUSES_MAX];
    size_t count;
    bool failed; /* out of memory: the list is incomplete */
};

/* One step of a place. */
struct place {
    const struct place *up; /* NULL at the root */
    const char *name;       /* a field; NULL: a key or an index */
    struct slice key;       /* of a map, when data is not NULL */
    size_t index;
};

#define PLACE_FIELD(parent, text) (&(const struct place){.up = (parent), .name = (text)})
#define PLACE_INDEX(parent, i)    (&(const struct place){.up = (parent), .index = (i)})
#define PLACE_KEY(parent, k)      (&(const struct place){.up = (parent), .key = (k)})

void causes_init(struct causes *c, struct arena *arena);
/* As the cause's reason in a Status: FieldValueRequired and the like. */
const char *cause_reason_name(enum cause_reason reason);
/* Appends the place as text. */
void place_print(const struct place *p, struct buf *out);

/* detail may be "" where a format is taken. A value is shown as its kind wants: texts quoted,
 * numbers bare, others as JSON; f is the field it belongs to (NULL: untyped). */
void cause_required(struct causes *c, const struct place *p, const char *detail);
void cause_invalid(struct causes *c, const struct place *p, const struct schema_field *f,
                   const struct value *v, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
void cause_invalid_text(struct causes *c, const struct place *p, struct slice text,
                        const char *format, ...) __attribute__((format(printf, 4, 5)));
void cause_invalid_int(struct causes *c, const struct place *p, int64_t v, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void cause_duplicate(struct causes *c, const struct place *p, struct slice text);
/* shown is JSON, put as it is. */
void cause_duplicate_json(struct causes *c, const struct place *p, struct slice shown,
                          const char *detail);
void cause_not_found(struct causes *c, const struct place *p, struct slice text);
void cause_forbidden(struct causes *c, const struct place *p, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* names: comma-separated */
void cause_not_supported(struct causes *c, const struct place *p, struct slice text,
                         const char *names);
void cause_not_in_enum(struct causes *c, const struct place *p, struct slice text,
                       const struct schema_type *values);
void cause_too_long(struct causes *c, const struct place *p, size_t max);
void cause_too_many(struct causes *c, const struct place *p, size_t n, size_t max);

/* The message of a 422 answer: Pod "x" is invalid: [field: message, ...], twins told once.
 * kind is "Pod" or "Deployment.apps". */
void causes_message(const struct causes *c, const char *kind, struct slice name, struct buf *out);
/* The kind as that message shows it. */
void causes_kind(const struct schema_type *t, struct buf *out);

#endif
