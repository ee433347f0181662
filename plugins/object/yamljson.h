/* yamljson.h - objects sent as YAML: made JSON first, as Kubernetes does, then decoded like any. */
#ifndef KVD_OBJECT_YAMLJSON_H
#define KVD_OBJECT_YAMLJSON_H

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "plugins/object/object.h"

/* Appends the JSON of one YAML document. Plain words become null, booleans and numbers by
 * YAML 1.1's rules (yes, on, 0644); the last of keys given twice counts, and *twins, when asked
 * for, gets one text for all of them ("yaml: unmarshal errors:\n  line 3: key "a" already set in
 * map"), in the arena; else it has data NULL. Anchors, aliases and merge keys (<<) are read.
 * Returns 0, ERR_INVALID with "yaml: line 3: ..." in e, ERR_NOMEM. */
int yaml_to_json(struct slice yaml, struct arena *arena, struct buf *json, struct slice *twins,
                 struct errmsg *e);
/* Decodes an object from YAML; keys given twice come first in the report. As object_decode. */
int object_decode_yaml(struct object *o, const struct schema_type *type, struct arena *arena,
                       struct slice yaml, struct decode_report *report, struct errmsg *e);
#endif
