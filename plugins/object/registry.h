/* registry.h - under which keys objects lie in the store: those of kube-apiserver. Any thread. */
#ifndef KVD_OBJECT_REGISTRY_H
#define KVD_OBJECT_REGISTRY_H

#include "base/buf.h"
#include "base/slice.h"
#include "plugins/schema/schema.h"

/* Appends /registry/<resource>/<namespace>/<name>, with the few names that history made; of all
 * objects of a namespace (name empty), or of a kind (both empty): then with a slash at the end. */
void registry_key(const struct schema_type *type, struct slice space, struct slice name,
                  struct buf *out);

#endif
