/* verbs.h - what is done for a request, once its body is there: one function for each verb. Each
 * answers the exchange, now or later. */
#ifndef KVD_APISERVER_VERBS_H
#define KVD_APISERVER_VERBS_H

#include "plugins/apiserver/exchange.h"
#include "plugins/object/object.h"

void verb_get(struct exchange *ex);
void verb_list(struct exchange *ex);
void verb_watch(struct exchange *ex);
void verb_create(struct exchange *ex);
void verb_update(struct exchange *ex); /* PUT and PATCH */
void verb_delete(struct exchange *ex);
void verb_delete_collection(struct exchange *ex);

/* Creates an object that is decoded: verb_create's second half, also for a PUT to a new name. */
void create_object(struct exchange *ex, struct object *o);
/* Answers with an object as it is stored; revision 0: it is not stored (a dry run). */
void answer_stored(struct exchange *ex, int code, struct slice value, int64_t revision);

#endif
