/* admit_pod.h - what admission adds to pods and nodes. Each returns 0, ERR_NOMEM, or ERR_REFUSED
 * after it has answered. */
#ifndef KVD_APISERVER_ADMIT_POD_H
#define KVD_APISERVER_ADMIT_POD_H

#include "plugins/apiserver/admit.h"
#include "plugins/apiserver/exchange.h"
#include "plugins/object/object.h"

/* A mirror stands for a pod that its node made by itself. */
bool admit_pod_is_mirror(const struct object *pod);
int admit_pod_mirror(struct exchange *ex, const struct object *pod);
/* The name of its account. */
struct slice admit_pod_account(const struct object *pod);
/* Its account has to be there; it gives the pod pull secrets and a token. */
int admit_pod_service_account(struct exchange *ex, struct object *pod,
                              const struct kvp_op_result *account,
                              const uint8_t random[ADMIT_RANDOM_BYTES]);
/* By its class; without one by the default class. */
int admit_pod_priority(struct exchange *ex, struct object *pod,
                       const struct kvp_op_result *classes);
/* An update that does not mention it keeps it. */
int admit_pod_keep_priority(struct object *new, const struct object *old);
/* Five minutes on a node that is gone, unless the pod says otherwise. */
int admit_pod_tolerations(const struct apiserver *api, struct object *pod);
/* A new node is not ready. */
int admit_node_taint(const struct apiserver *api, struct object *node);

#endif
