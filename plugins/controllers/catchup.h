/* catchup.h - a new leader acts only once its informer shows what the former one did.
 *
 * An informer of the instance is warm, and may be a moment behind the store: pods that the former
 * leader made in its last moment may be missing, and would be made again. At the term's begin the
 * metadata of all objects is listed anew, once for all who wait for the same kind; the newest
 * change in it is what the informer has to show first. */
#ifndef KVD_CONTROLLERS_CATCHUP_H
#define KVD_CONTROLLERS_CATCHUP_H

#include "plugins/client/informer.h"

struct catchup;
struct catchup_list; /* shared by those who wait; comes and goes with them */

/* ready is called once, later, when i shows all that was there now, and the handlers that were put
 * on i before this call have been told of it. Lists again with backoff while that fails. type: the
 * kind of i. *shared: one for each informer and term, NULL before the first call, and stays where
 * it is. 0 or a reason of kvplugin.h. i outlives it. */
int catchup_open(struct client term, struct informer *i, const struct schema_type *type,
                 struct catchup_list **shared, void (*ready)(void *data), void *data,
                 struct catchup **out);
/* At any time; NULL is fine. */
void catchup_close(struct catchup *c);

#endif
