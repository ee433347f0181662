/* discovery.h - everything that is no resource: what is served, the version, health. */
#ifndef KVD_APISERVER_DISCOVERY_H
#define KVD_APISERVER_DISCOVERY_H

#include "plugins/apiserver/exchange.h"

/* Answers a request without a resource; what is not there with the plain 404. */
void discovery_answer(struct exchange *ex);

#endif
