/* slice_plan.h - which EndpointSlices of a service have to be written so that they list its pods,
 * with as few writes as can be. Pure. */
#ifndef KVD_CONTROLLERS_SLICE_PLAN_H
#define KVD_CONTROLLERS_SLICE_PLAN_H

#include "plugins/object/object.h"

#define SLICE_LABEL_SERVICE "kubernetes.io/service-name"
#define SLICE_LABEL_MANAGER "endpointslice.kubernetes.io/managed-by"
#define SLICE_MANAGER       "endpointslice-controller.k8s.io"

struct slice_plan_args {
    const struct object *service;
    const struct object **pods; /* those its selector selects */
    size_t pod_count;
    const struct object **slices; /* those labelled as the service's and this controller's */
    size_t slice_count;
    size_t endpoints_max; /* in one slice */
    int64_t trigger_s;    /* which change caused this one, seconds since 1970; 0 = not known */
    /* The zone a node is in; empty: not known. NULL: none is. */
    struct slice (*zone)(void *data, struct slice node);
    void *data;
};

enum slice_what { SLICE_KEEP, SLICE_CREATE, SLICE_UPDATE, SLICE_DELETE };
struct slice_action {
    enum slice_what what;
    struct object o;           /* CREATE, UPDATE: as it should be */
    const struct object *have; /* UPDATE, DELETE, KEEP: as it is */
};

struct slice_plan {
    struct slice_action *items; /* KEEP among them, to be passed over */
    size_t count;
    size_t creates;
};

/* Plans. A service without endpoints keeps one empty slice for each family of addresses; slices of
 * another service of the same name go; what would be deleted is used for what would be created.
 * Everything lies in the arena or is shared with the objects given. 0 or ERR_NOMEM. */
int slice_plan(const struct slice_plan_args *args, struct arena *a, struct slice_plan *out);

#endif
