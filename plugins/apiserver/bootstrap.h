/* bootstrap.h - what the leader sees to: the namespaces that are always there. */
#ifndef KVD_APISERVER_BOOTSTRAP_H
#define KVD_APISERVER_BOOTSTRAP_H

#include "plugins/apiserver/apiserver.h"

/* Begins making default, kube-system, kube-public and kube-node-lease where they are missing; a
 * failed write is tried again. 0 or a reason. */
int bootstrap_start(struct apiserver *api, struct kvp_ctx *term);
/* After the term: frees what start made. */
void bootstrap_stop(struct apiserver *api);

#endif
