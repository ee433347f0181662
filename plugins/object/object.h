/* object.h - an object and pleasant access to it by path.
 *
 * A path is what error messages show: spec.replicas, spec.containers[0].image,
 * metadata.labels[app.kubernetes.io/name]. A path that its schema does not have is a bug of the
 * caller and finds nothing. Getters never fail: what is absent reads as the given fallback. Setters
 * make the messages, lists and maps on the way, copy texts into the arena, and return 0, ERR_NOMEM
 * or ERR_INVALID (no such path, another kind of value, an index beyond the end).
 *
 * An object belongs to one thread; its arena is the caller's and outlives it. */
#ifndef KVD_OBJECT_OBJECT_H
#define KVD_OBJECT_OBJECT_H

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "plugins/object/decode.h"
#include "plugins/object/quantity.h"
#include "plugins/object/value.h"

struct object {
    const struct schema_type *type;
    struct value root; /* VALUE_MESSAGE */
    struct arena *arena;
};

/* An empty object of a type, with kind and apiVersion set where the type carries them. 0 or
 * ERR_NOMEM. */
int object_new(struct object *o, const struct schema_type *type, struct arena *arena);
/* Decodes JSON (see decode_json) into an object of a type. */
int object_decode(struct object *o, const struct schema_type *type, struct arena *arena,
                  struct slice json, struct decode_report *report, struct errmsg *e);
/* The same without managedFields (see decode_json_lean). */
int object_decode_lean(struct object *o, const struct schema_type *type, struct arena *arena,
                       struct slice json, struct errmsg *e);
/* The same with some fields only (see decode_json_some). */
int object_decode_some(struct object *o, const struct schema_type *type,
                       const struct decode_keep *keep, struct arena *arena, struct slice json,
                       struct errmsg *e);
/* Appends the JSON; out->failed tells of a failure. */
void object_encode(const struct object *o, struct buf *out);
/* A deep copy in another arena. 0 or ERR_NOMEM. */
int object_copy(const struct object *from, struct arena *arena, struct object *to);
bool object_equal(const struct object *a, const struct object *b);
/* Sets kind and apiVersion as the type says. 0 or ERR_NOMEM. */
int object_set_type_meta(struct object *o);
/* Group and version as apiVersion shows them, "apps/v1" or "v1", in the arena or for ever; data
 * NULL when out of memory. */
struct slice object_api_version(const struct schema_type *type, struct arena *arena);

/* ---- reading ---- */
/* Any value; NULL when absent. The second form starts at a message m of type t. */
struct value *object_get(const struct object *o, const char *path);
struct value *value_at(const struct schema_type *t, const struct value *m, const char *path);
struct slice object_text(const struct object *o, const char *path); /* absent: empty */
int64_t object_int(const struct object *o, const char *path, int64_t fallback);
bool object_bool(const struct object *o, const char *path, bool fallback);
bool object_quantity(const struct object *o, const char *path,
                     struct quantity *q); /* false: absent */

/* ---- writing ---- */
int object_set_text(struct object *o, const char *path, struct slice text);
int object_set_str(struct object *o, const char *path, const char *text);
int object_set_int(struct object *o, const char *path, int64_t v); /* also times */
int object_set_bool(struct object *o, const char *path, bool v);
/* v is a whole value as the schema wants it there; it is kept, not copied. */
int object_set(struct object *o, const char *path, struct value v);
/* Makes a message, list or map unless it is there. *out is where it lies until its parent changes.
 */
int object_make(struct object *o, const char *path, struct value **out);
/* Appends an element to a list (made if need be); *out is the new one: empty, or for messages an
 * empty message. */
int object_append(struct object *o, const char *path, struct value v, struct value **out);
/* Harmless when absent. */
void object_remove(struct object *o, const char *path);

#endif
