/* gate.h - the one place where it is decided whether a caller may do what he asks for. */
#ifndef KVD_APISERVER_GATE_H
#define KVD_APISERVER_GATE_H

#include "plugins/apiserver/authorize.h"
#include "plugins/apiserver/exchange.h"

/* True: let the exchange's user pass. Else *refusal is the answer. */
bool gate_lets_pass(struct exchange *ex, struct status *refusal);
/* What a request is, in the words of authorization; texts are the request's. */
struct access gate_access(const struct exchange *ex);

#endif
