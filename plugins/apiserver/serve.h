/* serve.h - from a request to its verb; and the HTTP routes. */
#ifndef KVD_APISERVER_SERVE_H
#define KVD_APISERVER_SERVE_H

#include "plugins/apiserver/exchange.h"

/* Reads what is asked and whether it may be: what comes before the body. All texts are copied.
 * False: answered. */
bool serve_read(struct exchange *ex, struct slice method, struct slice path, struct slice query,
                const struct kvp_identity *identity);
/* Does it, once the body is there. */
void serve_verb(struct exchange *ex);

/* Opens the port and takes all its paths. In init. 0, or a reason with the sentence in e;
 * KVP_UNSUPPORTED: this host has no network. */
int serve_open(struct apiserver *api, struct kvp_errmsg *e);

#endif
