/* provide.h - objects for the other plugins of this process: the objects group of kvplugin.h.
 *
 * A request of a plugin becomes the HTTP request that would mean the same and goes through the same
 * verbs; only its reads and writes are made with the call's context, which carries the asker's
 * leadership. CREATE takes the name from the object; DELETE without a name means the collection;
 * BIND means POST to the subresource binding. */
#ifndef KVD_APISERVER_PROVIDE_H
#define KVD_APISERVER_PROVIDE_H

#include "plugins/apiserver/apiserver.h"

/* In init: declares that all objects are provided here. 0 or a reason; KVP_UNSUPPORTED: this host
 * has no objects. */
int provide_open(struct apiserver *api);
/* Before fini ends. */
void provide_close(struct apiserver *api);

#endif
