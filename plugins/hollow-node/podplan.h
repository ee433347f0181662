/* podplan.h - what a pretended container does: for how long it runs, and how it ends.
 *
 * Nothing is executed. A command that is understood decides: `true`, `false`, `exit N`, `sleep N`
 * (also 1.5, 5s, 2m, 1h), alone or as `sh -c "..."` with these joined by ; and &&. The annotations
 * of a pod kvd.io/hollow-exit-after (seconds) and kvd.io/hollow-exit-code decide instead, for all
 * its containers but init ones. Any other container runs until it is stopped. Pure; any thread. */
#ifndef KVD_HOLLOW_NODE_PODPLAN_H
#define KVD_HOLLOW_NODE_PODPLAN_H

#include "plugins/object/object.h"

#define PODPLAN_EXIT_AFTER "kvd.io/hollow-exit-after"
#define PODPLAN_EXIT_CODE  "kvd.io/hollow-exit-code"

struct podplan {
    bool ends;         /* by itself */
    int32_t code;      /* then with this exit code */
    uint64_t after_ms; /* so long after it has started */
    uint64_t ready_ms; /* ready so long after it has started */
    bool sidecar;      /* an init container that runs along: restartPolicy Always */
};

/* The plan of spec.containers[i] or, init, of spec.initContainers[i], which is there. */
void podplan_of(const struct object *pod, bool init, size_t i, struct podplan *plan);

#endif
