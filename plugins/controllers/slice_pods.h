/* slice_pods.h - what the EndpointSlices of a service with a selector list: its pods. Pure. */
#ifndef KVD_CONTROLLERS_SLICE_PODS_H
#define KVD_CONTROLLERS_SLICE_PODS_H

#include "plugins/controllers/slice_plan.h"

#define SLICE_PODS_MANAGER "endpointslice-controller.k8s.io"

struct slice_pods {
    const struct object *service;
    const struct object **pods; /* those its selector selects */
    size_t count;
    /* The zone a node is in; empty: not known. NULL: none is. */
    struct slice (*zone)(void *data, struct slice node);
    void *data; /* of zone */
};

/* Sets what a plan for this service needs, but slices, endpoints_max and trigger_s. src is kept. */
void slice_pods_plan(struct slice_pods *src, struct slice_plan_args *args);

#endif
