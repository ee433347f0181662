/* slice_mirror.h - what the EndpointSlices of Endpoints that users write list. Pure. */
#ifndef KVD_CONTROLLERS_SLICE_MIRROR_H
#define KVD_CONTROLLERS_SLICE_MIRROR_H

#include "plugins/controllers/slice_plan.h"

#define SLICE_MIRROR_MANAGER       "endpointslicemirroring-controller.k8s.io"
#define SLICE_MIRROR_ENDPOINTS_MAX 1000u /* of one subset; more are left out */

/* Endpoints that are to be mirrored: of a service without selector, and nothing says otherwise.
 * Either may be NULL. */
bool slice_mirror_wanted(const struct object *endpoints, const struct object *service);
/* Sets what a plan for these Endpoints needs, but slices. endpoints is kept. */
void slice_mirror_plan(const struct object *endpoints, struct slice_plan_args *args);

#endif
