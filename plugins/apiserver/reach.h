/* reach.h - where the API server is reached: each member says so in a row that lasts as long as it
 * does, and the leader makes Endpoints and the slice of the service `kubernetes` of them. */
#ifndef KVD_APISERVER_REACH_H
#define KVD_APISERVER_REACH_H

#include "plugins/apiserver/apiserver.h"

#define REACH_ROWS "/registry/kvd.io/apiservers/"

/* In init, once the port is known (0: nothing is served, nothing is said). 0 or a reason. */
int reach_open(struct apiserver *api);
void reach_close(struct apiserver *api);
/* The leader's part, in start and stop. 0 or a reason. */
int reach_start(struct apiserver *api, struct kvp_ctx *term);
void reach_stop(struct apiserver *api);

#endif
