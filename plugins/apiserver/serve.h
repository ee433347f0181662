/* serve.h - from a request to its verb; and the HTTP routes. */
#ifndef KVD_APISERVER_SERVE_H
#define KVD_APISERVER_SERVE_H

#include "plugins/apiserver/exchange.h"

/* Reads what is asked; whether it can be is told by serve_admit. All texts are copied. False:
 * answered. */
bool serve_read(struct exchange *ex, struct slice method, struct slice path, struct slice query);
/* The user is known: may he, and does it make sense? What comes before the body. False: answered.
 */
bool serve_admit(struct exchange *ex);
/* Does it, once the exchange is admitted and its body is done. */
void serve_go(struct exchange *ex);

/* Opens the port and takes all its paths. In init. 0, or a reason with the sentence in e;
 * KVP_UNSUPPORTED: this host has no network. */
int serve_open(struct apiserver *api, struct kvp_errmsg *e);

#endif
