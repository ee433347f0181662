/* trust.h - the leader tells others whom this API server believes: the ConfigMap
 * kube-system/extension-apiserver-authentication, which components read at their start to accept
 * the same client certificates. */
#ifndef KVD_APISERVER_TRUST_H
#define KVD_APISERVER_TRUST_H

#include "plugins/apiserver/apiserver.h"

/* Begins to see to it that the ConfigMap is there and its client-ca-file is the authority of
 * clients' certificates, once all members have the same one; looks again every minute. Other keys
 * are left alone. 0 or a reason. */
int trust_start(struct apiserver *api, struct kvp_ctx *term);
/* After the term: frees what start made. */
void trust_stop(struct apiserver *api);

#endif
