/* bootstrap.h - what the leader sees to: objects that are always there. */
#ifndef KVD_APISERVER_BOOTSTRAP_H
#define KVD_APISERVER_BOOTSTRAP_H

#include "plugins/apiserver/apiserver.h"

/* Begins making what is missing: the system's namespaces, the priority classes of the system, and
 * the service `kubernetes` with the first service address; looks again every minute. A failed write
 * is tried again. 0 or a reason. */
int bootstrap_start(struct apiserver *api, struct kvp_ctx *term);
/* After the term: frees what start made. */
void bootstrap_stop(struct apiserver *api);

#endif
