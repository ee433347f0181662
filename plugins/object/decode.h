/* decode.h - JSON into trees, guided by the schema, with the messages Kubernetes' clients know.
 *
 * Guided by a type, unknown fields are left out, null is absence, and integers, times, quantities
 * and base64 are checked; without one any JSON is taken as it is. Bounds: OBJECT_BYTES_MAX and
 * OBJECT_DEPTH_MAX of limits.h, and the arena's limit. */
#ifndef KVD_OBJECT_DECODE_H
#define KVD_OBJECT_DECODE_H

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "plugins/object/value.h"

/* What a strict decoding complains of: unknown and duplicate fields, in the order they came, each
 * once, at most DECODE_COMPLAINTS_MAX. */
#define DECODE_COMPLAINTS_MAX 100u
struct decode_report {
    struct slice *texts; /* such as: unknown field "spec.x"; in the arena */
    size_t count;
};

/* Decodes one JSON value. With a report, complaints are collected there (it starts empty); without,
 * unknown fields are skipped silently. The input is copied, nothing of it is kept.
 * Returns 0; ERR_INVALID with the sentence in e (a syntax error, else the first value of a wrong
 * type: "json: cannot unmarshal string into Go struct field PodSpec.spec.x of type int64");
 * ERR_TOO_DEEP, ERR_REQUEST_TOO_LARGE; ERR_NOMEM. *out is set on success only. */
int decode_json(struct slice json, const struct schema_type *type, struct arena *arena,
                struct value *out, struct decode_report *report, struct errmsg *e);
/* The same, not strict and without any managedFields, which are checked to be JSON and left out:
 * for who only looks at objects. They are a third of a pod. */
int decode_json_lean(struct slice json, const struct schema_type *type, struct arena *arena,
                     struct value *out, struct errmsg *e);
/* Fields of a message that are wanted. */
struct decode_kept {
    const struct schema_type *type;
    uint64_t fields[4]; /* bits, by index */
};
/* Which fields are wanted of messages of some types; of other types all are. */
struct decode_keep {
    const struct decode_kept *types;
    size_t count;
};
/* Adds a field to those wanted. Its type has it, or nothing happens. */
void decode_keep_field(struct decode_kept *k, const char *name);
/* Adds what lies on a path from a type, "spec.nodeName", to the first *count of types, which has
 * room for max. Types without room are wanted whole. */
void decode_keep_path(struct decode_kept *types, size_t max, size_t *count,
                      const struct schema_type *t, struct slice path);
/* Lean, and only with the fields that are wanted; the others are checked to be JSON. */
int decode_json_some(struct slice json, const struct schema_type *type,
                     const struct decode_keep *keep, struct arena *arena, struct value *out,
                     struct errmsg *e);
/* Reads apiVersion and kind of an object without decoding the rest (texts in the arena, empty when
 * missing). Returns as decode_json. */
int decode_type_meta(struct slice json, struct arena *arena, struct slice *api_version,
                     struct slice *kind, struct errmsg *e);
/* "strict decoding error: unknown field ..., duplicate field ..." into out. */
void decode_report_text(const struct decode_report *report, struct buf *out);
/* Appends a complaint unless it is there already or the report is full. ERR_NOMEM or 0. */
int decode_report_add(struct decode_report *report, struct arena *arena, struct slice text);

#endif
