/* gate.h - the one place where it is decided whether a caller may do what he asks for. */
#ifndef KVD_APISERVER_GATE_H
#define KVD_APISERVER_GATE_H

#include "plugins/apiserver/exchange.h"

/* True: let it pass. Else *refusal is the answer: 401 for nobody, 403 for somebody who may not.
 * Until there is authorization, nobody may anything but read health and version, unless the option
 * insecure-allow-all says otherwise. */
bool gate_lets_pass(struct exchange *ex, const struct kvp_identity *identity,
                    struct status *refusal);

#endif
