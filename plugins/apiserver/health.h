/* health.h - /healthz, /livez and /readyz: can requests be answered, and if not, what fails. */
#ifndef KVD_APISERVER_HEALTH_H
#define KVD_APISERVER_HEALTH_H

#include "plugins/apiserver/exchange.h"

/* True: the path is one of health's, an answer is given or on its way. Checks are ping, and etcd:
 * a linearizable read. ?verbose lists them, ?exclude=NAME leaves one out, /readyz/NAME asks one. */
bool health_answer(struct exchange *ex, struct slice path);

#endif
