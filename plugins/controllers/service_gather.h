/* service_gather.h - the pods a service selects, out of the informer, and when the last change of
 * them was: what the Endpoints and EndpointSlice controllers begin with. */
#ifndef KVD_CONTROLLERS_SERVICE_GATHER_H
#define KVD_CONTROLLERS_SERVICE_GATHER_H

#include "base/hashmap.h"
#include "plugins/controllers/handlers.h"
#include "plugins/controllers/service_pods.h"

struct service_gather { /* starts zeroed */
    const struct object *service;
    const struct object **pods; /* live during the callback */
    size_t count, room;
};
/* 0 or KVP_NO_MEMORY; close it in any case. */
int service_gather(struct service_gather *g, struct informer *pods, const struct object *service);
void service_gather_close(struct service_gather *g);

/* struct service_trigger by key of the service. */
struct service_triggers {
    struct hashmap map;
};
void service_triggers_init(struct service_triggers *t);
void service_triggers_close(struct service_triggers *t);
void service_triggers_forget(struct service_triggers *t, struct slice key);
/* Which change of the service or these pods asks for a write now: seconds since 1970, 0 = none is
 * known. 0 or KVP_NO_MEMORY. */
int service_triggers_time(struct service_triggers *t, const struct object *service,
                          const struct service_gather *g, int64_t *out);

/* A pod has changed: the services that have or had it are added to queue q, after delay_ms, or
 * later when they have many pods: then many changes come, and one write is for all of them. before
 * or now may be NULL. */
void service_pod_changed(struct informer *services, const struct service_triggers *t,
                         const struct handlers *h, struct works *q, uint64_t delay_ms,
                         const struct object *before, const struct object *now);

#endif
