/* slice_endpoint.h - one endpoint, and the ports, of an EndpointSlice. Pure. */
#ifndef KVD_CONTROLLERS_SLICE_ENDPOINT_H
#define KVD_CONTROLLERS_SLICE_ENDPOINT_H

#include "plugins/controllers/service_pods.h"
#include "plugins/controllers/slice_plan.h"

/* A message Endpoint of a pod at its addresses of a family; *has false: it has none there. */
int slice_endpoint(const struct slice_plan_args *args, const struct object *pod,
                   enum service_family family, struct arena *a, struct value *out, bool *has);
/* The list of EndpointPort messages of a service at a pod. */
int slice_endpoint_ports(const struct object *service, const struct object *pod, struct arena *a,
                         struct value *out);
/* uid of the pod behind an Endpoint message. */
struct slice slice_endpoint_uid(const struct value *endpoint);

#endif
