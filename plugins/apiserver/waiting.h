/* waiting.h - waits until the store has reached a revision a client has heard of elsewhere. */
#ifndef KVD_APISERVER_WAITING_H
#define KVD_APISERVER_WAITING_H

#include "plugins/apiserver/exchange.h"

/* Calls then(ex) once the store's revision is at least this one, or answers 504 after three
 * seconds. current: what it is now, for the message. Nothing is called when the client leaves. */
void wait_for_revision(struct exchange *ex, int64_t revision, int64_t current,
                       void (*then)(struct exchange *ex));

#endif
