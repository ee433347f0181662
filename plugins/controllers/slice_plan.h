/* slice_plan.h - which EndpointSlices of a service have to be written so that they list what they
 * should, with as few writes as can be. Pure. */
#ifndef KVD_CONTROLLERS_SLICE_PLAN_H
#define KVD_CONTROLLERS_SLICE_PLAN_H

#include "plugins/controllers/service_pods.h"

#define SLICE_LABEL_SERVICE "kubernetes.io/service-name"
#define SLICE_LABEL_MANAGER "endpointslice.kubernetes.io/managed-by"

struct slice_plan_args;
struct slice_wants; /* being filled */
/* Adds an endpoint that should be listed: an Endpoint message with a list of EndpointPort messages,
 * and what it is known by in slices (slice_key_fn). 0 or ERR_NOMEM. */
int slice_wants_add(struct slice_wants *w, struct value ports, struct value endpoint,
                    struct slice key);
/* Adds all of a family of addresses. 0 or an error. */
typedef int slice_wants_fn(const struct slice_plan_args *args, enum service_family family,
                           struct arena *a, struct slice_wants *out);
/* What an Endpoint message is known by: no two that are wanted have the same. */
typedef struct slice slice_key_fn(const struct value *endpoint);

struct slice_plan_args {
    const struct object *owner;   /* the Service or the Endpoints: it names and owns the slices */
    const char *manager;          /* value of label SLICE_LABEL_MANAGER */
    bool headless;                /* gets the label that says so */
    bool placeholder;             /* without endpoints there is one empty slice for each family */
    bool ipv4, ipv6;              /* families that are wanted; slices of others go */
    const struct object **slices; /* those labelled as the owner's and this manager's */
    size_t slice_count;
    size_t endpoints_max; /* in one slice */
    int64_t trigger_s;    /* which change caused this one, seconds since 1970; 0 = not known */
    slice_wants_fn *wants;
    slice_key_fn *key;
    void *data; /* of wants */
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

/* Plans. Slices of another owner of the same name go; what would be deleted is used for what would
 * be created. Everything lies in the arena or is shared with the objects given. 0 or ERR_NOMEM. */
int slice_plan(const struct slice_plan_args *args, struct arena *a, struct slice_plan *out);

#endif
