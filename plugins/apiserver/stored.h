/* stored.h - how objects lie in the store: their keys, and their bytes.
 *
 * Keys are those of kube-apiserver: /registry/<resource>/<namespace>/<name>, with the few names
 * that history made. Values are JSON as kube-apiserver writes it with --storage-media-type=
 * application/json: kind, apiVersion and the object without a resourceVersion, which is the row's
 * mod_revision. Answers are made of these bytes without decoding them. Events of both groups are
 * stored as core/v1. Pure; any thread. */
#ifndef KVD_APISERVER_STORED_H
#define KVD_APISERVER_STORED_H

#include "plugins/object/object.h"

/* Appends the key of an object, or of all objects of a namespace (name empty), or of a kind (both
 * empty): then with a slash at the end. */
void stored_key(const struct schema_type *type, struct slice space, struct slice name,
                struct buf *out);
/* Appends the value of an object, which is left with its kind and apiVersion set. 0 or ERR_NOMEM.
 */
int stored_encode(struct object *o, struct buf *out);
/* Decodes a value and sets resourceVersion. 0, ERR_NOMEM, or ERR_INVALID with the sentence. */
int stored_decode(const struct schema_type *type, struct slice value, int64_t revision,
                  struct arena *a, struct object *out, struct errmsg *e);
/* The same with some fields only, without managedFields (decode_json_some) and resourceVersion. */
int stored_decode_some(const struct schema_type *type, struct slice value,
                       const struct decode_keep *keep, struct arena *a, struct object *out,
                       struct errmsg *e);
/* Appends the JSON of an answer: the value with its resourceVersion, and without kind and
 * apiVersion when it is an item of a list. scratch is used (and not cleared) for values that
 * others wrote in another order. As stored_decode. */
int stored_print(const struct schema_type *type, struct slice value, int64_t revision, bool item,
                 struct arena *scratch, struct buf *out, struct errmsg *e);
/* Appends the JSON of a value's metadata alone, with its resourceVersion. As stored_print. */
int stored_print_metadata(const struct schema_type *type, struct slice value, int64_t revision,
                          struct arena *scratch, struct buf *out, struct errmsg *e);

#endif
