/* openapi.h - /openapi/v2, /openapi/v3 and the documents of group versions below it. Callbacks of
 * the plugin's lane. */
#ifndef KVD_APISERVER_OPENAPI_H
#define KVD_APISERVER_OPENAPI_H

#include "plugins/apiserver/exchange.h"

/* Answers a path that is one of these, now or later. False: it is none. */
bool openapi_answer(struct exchange *ex, struct slice path);
/* Frees what was kept for later requests. */
void openapi_close(struct apiserver *api);

#endif
