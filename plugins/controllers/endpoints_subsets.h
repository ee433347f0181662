/* endpoints_subsets.h - what an Endpoints object should say. Pure. */
#ifndef KVD_CONTROLLERS_ENDPOINTS_SUBSETS_H
#define KVD_CONTROLLERS_ENDPOINTS_SUBSETS_H

#include "plugins/object/object.h"

#define ENDPOINTS_ADDRESSES_MAX 1000u /* in one object; more are left out */

/* Sets the subsets of o, an Endpoints, to those of a service with these pods, which its selector
 * selects (the array is sorted here, pods that do not count are skipped). Addresses with the same
 * ports share a subset; addresses are in the order of IP and uid, ports and subsets in that of name
 * and number. *truncated: there were more than ENDPOINTS_ADDRESSES_MAX. Texts are shared with the
 * service and the pods. 0 or ERR_NOMEM. */
int endpoints_set_subsets(struct object *o, const struct object *service,
                          const struct object **pods, size_t count, bool *truncated);
/* Sets labels and annotations. trigger_s: 0 = no cause known. Texts are copied. 0 or ERR_NOMEM. */
int endpoints_set_metadata(struct object *o, const struct object *service, bool truncated,
                           int64_t trigger_s);

#endif
