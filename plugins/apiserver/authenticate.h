/* authenticate.h - who asks: by a client certificate, a token of a service account, or by nothing.
 * Sets the exchange's user. */
#ifndef KVD_APISERVER_AUTHENTICATE_H
#define KVD_APISERVER_AUTHENTICATE_H

#include "plugins/apiserver/exchange.h"

/* An HTTP client. then: now or later; not when the client has left or was answered: 401 for a token
 * that is not good, and for nothing where anonymous-auth is off. */
void authenticate_http(struct exchange *ex, const struct kvp_http_request *r,
                       void (*then)(struct exchange *ex));
/* Another plugin. False: answered. */
bool authenticate_plugin(struct exchange *ex, const struct kvp_identity *identity);

#endif
