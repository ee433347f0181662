/* strategy.h - what kinds do besides the common rules when their objects are written: which fields
 * a request may not set, what creation begins with, how long deletion takes. Pure; any thread. */
#ifndef KVD_APISERVER_STRATEGY_H
#define KVD_APISERVER_STRATEGY_H

#include "plugins/object/object.h"

/* Whether a kind's status is written through a way of its own. */
bool strategy_has_status(const struct schema_type *t);
/* First thing with a new object: its status goes, unless the kind brings one. */
void strategy_reset(struct object *o);
/* Before validation of a new object: its status begins empty (or as the kind wants). 0 or
 * ERR_NOMEM. */
int strategy_create(struct object *o);
/* Before validation of a change through the main resource (sub empty), status or finalize: what
 * that way may not change is old's again. 0 or ERR_NOMEM. */
int strategy_update(struct object *new, const struct object *old, struct slice sub);
/* Seconds until a deleted object may go; asked: of the request, -1 = none. */
int64_t strategy_grace(const struct object *o, int64_t asked);
/* True when nobody has to clean up any more: no finalizers are left. */
bool strategy_may_go(const struct object *o);
/* Whether this object can never be deleted. */
bool strategy_is_immortal(const struct object *o);
/* Before an object that stays for its finalizers is written. 0 or ERR_NOMEM. */
int strategy_mark_deleted(struct object *o);

#endif
