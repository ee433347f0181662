/* pod_gc.h - the rules of pod garbage collection. Pure. */
#ifndef KVD_CONTROLLERS_POD_GC_H
#define KVD_CONTROLLERS_POD_GC_H

#include "plugins/client/client.h"

/* Phase Succeeded or Failed. */
bool pod_gc_is_ended(const struct object *pod);
/* Which of two ended pods goes first (< 0: a): evicted ones, then the older one. */
int pod_gc_order(const struct object *a, const struct object *b);
/* An ending pod on a node that is not ready and that an operator declared out of service. node may
 * be NULL. */
bool pod_gc_is_out_of_service(const struct object *pod, const struct object *node);

#endif
