/* slice_writer.h - writing the EndpointSlices of services: what the controllers that make slices
 * share.
 *
 * Names of new slices are the server's, so creating one twice would make two: after creating, a
 * service is left alone until the informer shows what was created, and a new leader waits until it
 * shows what the former one created. */
#ifndef KVD_CONTROLLERS_SLICE_WRITER_H
#define KVD_CONTROLLERS_SLICE_WRITER_H

#include "plugins/controllers/catchup.h"
#include "plugins/controllers/controllers.h"
#include "plugins/controllers/handlers.h"
#include "plugins/controllers/slice_plan.h"

struct slice_writer {
    struct informer *slices;
    const char *manager;      /* value of label SLICE_LABEL_MANAGER of its slices */
    struct works *works;      /* of the controller: keys "namespace/name" of services */
    struct handlers handlers; /* of the controller */
    struct expects *expects;
    struct catchup *catchup;
    bool caught_up;
};

/* After works is open and handlers.term is set. ready(data): all that the former leader wrote shows
 * now, and keys may be added. 0 or a reason; close it in any case. */
int slice_writer_open(struct slice_writer *w, struct controllers *all, const char *manager,
                      void (*ready)(void *data), void *data);
/* Takes the handlers off and closes works. */
void slice_writer_close(struct slice_writer *w);
/* Whether a key may be worked on now; else *later is what reconcile returns. */
bool slice_writer_may(struct slice_writer *w, struct slice key, int64_t *later);
void slice_writer_forget(struct slice_writer *w, struct slice key);
/* Plans and sends; args without slices. 0 or a reason: again with backoff. */
int slice_writer_sync(struct slice_writer *w, struct work *work, struct slice key,
                      struct slice_plan_args *args);
/* Deletes all slices of a service that this controller manages. As slice_writer_sync. */
int slice_writer_clear(struct slice_writer *w, struct work *work, struct slice key);

#endif
