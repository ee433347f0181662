/* encode.h - trees as JSON, byte for byte as Kubernetes' servers write it. Any thread. */
#ifndef KVD_OBJECT_ENCODE_H
#define KVD_OBJECT_ENCODE_H

#include "base/buf.h"
#include "plugins/object/value.h"

/* Appends v: a message of type t in the schema's order with its rules about what is left out, or
 * (t NULL) an untyped tree. Failure is the buffer's: look at out->failed. */
void encode_json(const struct schema_type *t, const struct value *v, struct buf *out);
/* One value of a field, as it stands behind the colon; v NULL = unset. */
void encode_field(const struct schema_field *f, const struct value *v, struct buf *out);
/* A text with its quotes, with <, > and & escaped as Go does. */
void encode_text(struct slice text, struct buf *out);

#endif
