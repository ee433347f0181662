/* remember.h - rows that one request after the other looks at, decoded once for each revision of
 * them: namespaces, accounts, priority classes. Bounded; the least used ones go first. */
#ifndef KVD_APISERVER_REMEMBER_H
#define KVD_APISERVER_REMEMBER_H

#include "plugins/apiserver/exchange.h"
#include "plugins/object/object.h"

/* How many of the last ones looked up are good at a time. */
#define REMEMBER_GOOD 4u

/* As stored_decode. What comes out may be shared: it is not to be changed, and good until this
 * callback returns or REMEMBER_GOOD others were looked up. In a step of work that is away nothing
 * is remembered. */
int remember_decode(struct exchange *ex, const struct schema_type *type, const struct kvp_row *row,
                    struct object *out, struct errmsg *e);
/* The newest object of a key that is remembered, and the revision of its row; NULL = none. As
 * above. That it is still so is for the write to say (struct guard). */
const struct object *remember_find(struct apiserver *api, const struct schema_type *type,
                                   struct slice key, int64_t *revision);
/* At which revision no priority class was the default; 0 = not known. */
void remember_no_default(struct apiserver *api, int64_t revision);
int64_t remember_when_no_default(const struct apiserver *api);
void remember_close(struct apiserver *api);

#endif
