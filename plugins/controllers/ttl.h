/* ttl.h - steps of a cluster's size, and how long kubelets may keep things at each. Pure. */
#ifndef KVD_CONTROLLERS_TTL_H
#define KVD_CONTROLLERS_TTL_H

#include <stddef.h>

/* The step of so many nodes, coming from another one (0 at first). */
size_t ttl_step(size_t step, size_t nodes);
unsigned ttl_seconds(size_t step);

#endif
