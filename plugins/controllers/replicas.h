/* replicas.h - keeping a number of equal pods: one mechanism for replica sets and replication
 * controllers.
 *
 * A key is worked on so: count the owner's active pods (adopting and releasing on the way); make or
 * delete what is too few or too many, at most REPLICAS_BURST; when all of that is answered write
 * the status. Pods are made in batches of 1, 2, 4, ...: a batch with a failure is the last one, so
 * that what cannot work is tried once and not a thousand times. What was begun is expected to be
 * seen (expect.h) before the number is looked at again. */
#ifndef KVD_CONTROLLERS_REPLICAS_H
#define KVD_CONTROLLERS_REPLICAS_H

#include "plugins/controllers/controllers.h"
#include "plugins/object/labels.h"

#define REPLICAS_BURST 500u /* pods made or deleted in one go */

struct replicas_kind {
    const char *controller; /* its name */
    enum schema_type_id type;
    enum watched watch;
};

/* As struct controller's. parallel: owners in work at once. */
int replicas_open(struct controllers *all, struct client term, const struct replicas_kind *kind,
                  int64_t parallel, void **self);
void replicas_close(void *self);

/* The selector of an owner. Lies in the arena. 0, ERR_NOMEM, or ERR_INVALID: it is none. Pure. */
int replicas_selector(const struct object *owner, struct arena *a, struct label_selector *out);

#endif
