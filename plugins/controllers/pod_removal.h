/* pod_removal.h - deleting a pod after its status says why: a status update, then the deletion. */
#ifndef KVD_CONTROLLERS_POD_REMOVAL_H
#define KVD_CONTROLLERS_POD_REMOVAL_H

#include "plugins/client/work.h"

#define POD_REMOVAL_GRACE_OWN (-1) /* the pod's own grace period */

struct pod_removal_args {
    struct client client;     /* used without a work */
    struct work *work;        /* the removal is part of it; NULL = nobody waits for it */
    const struct object *pod; /* only this one: its uid is compared */
    const char *reason;       /* condition DisruptionTarget is set to True with these; */
    const char *message;      /*   reason NULL = it is not */
    bool failed;              /* phase becomes Failed unless the pod has ended already */
    int64_t grace_s;          /* POD_REMOVAL_GRACE_OWN, or 0 = at once */
    int64_t now_s;            /* wall clock */
};
/* When the status is as it should be already, only the deletion is sent. Copies what it needs. 0 or
 * a reason of kvplugin.h: nothing was sent. */
int pod_removal_send(const struct pod_removal_args *a);

#endif
