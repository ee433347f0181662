/* condition.h - conditions in the status of objects the server itself changes. Pure. */
#ifndef KVD_APISERVER_CONDITION_H
#define KVD_APISERVER_CONDITION_H

#include "plugins/object/object.h"

struct condition {
    const char *type, *status;
    const char *reason, *message; /* NULL = none */
};

/* Sets a condition in status.conditions; lastTransitionTime is now_seconds when its status is
 * another one than before. 0 or ERR_NOMEM. */
int condition_set(struct object *o, const struct condition *c, int64_t now_seconds);

#endif
