/* managed.h - metadata.managedFields: who wrote which field, kept at every update. Pure. */
#ifndef KVD_APISERVER_MANAGED_H
#define KVD_APISERVER_MANAGED_H

#include "plugins/object/object.h"

/* Sets new's managedFields: those of old (NULL: created), where fields whose value changed or that
 * are new go to `manager`, and fields that are gone leave all. What a client sent as managedFields
 * counts for nothing. sub: the subresource written through. Nothing changes when no field did. 0 or
 * ERR_NOMEM. */
int managed_update(struct object *new, const struct object *old, struct slice manager,
                   struct slice sub, int64_t now_seconds);

#endif
