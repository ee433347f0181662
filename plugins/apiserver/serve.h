/* serve.h - the HTTP routes of the plugin: from a request to its verb. */
#ifndef KVD_APISERVER_SERVE_H
#define KVD_APISERVER_SERVE_H

#include "plugins/apiserver/apiserver.h"

/* Opens the port and takes all its paths. In init. 0, or a reason with the sentence in e. */
int serve_open(struct apiserver *api, struct kvp_errmsg *e);

#endif
