/* service.h - what the server gives to services: addresses of the cluster and ports of all nodes,
 * each to one service only.
 *
 * Each that is given is a row of its own, /registry/kvd.io/serviceips/10.96.0.10 or
 * /registry/kvd.io/nodeports/30123, with the owner's namespace/name; a commit takes and gives back
 * such rows together with the service (commit.h). What is picked at random and turns out to be
 * taken is picked again; after some guesses all rows are read, so the last free one is found too.
 *
 * All functions do nothing for other kinds. They run in callbacks of the lane. */
#ifndef KVD_APISERVER_SERVICE_H
#define KVD_APISERVER_SERVICE_H

#include "plugins/apiserver/commit.h"
#include "plugins/apiserver/pool.h"
#include "plugins/object/object.h"

/* Reads the options: "10.96.0.0/12" and "30000-32767". NULL, or what is wrong (static). */
const char *service_ranges_parse(const char *addresses, const char *ports,
                                 struct service_ranges *r);

/* A change, after defaults: what was given and is not mentioned stays, what the new type has no use
 * for goes. 0 or ERR_NOMEM. */
int service_carry(struct object *new, const struct object *old);
/* Before validation: families and both forms of the address. Adds what cannot be. 0 or ERR_NOMEM.
 */
int service_complete(const struct service_ranges *r, struct object *o, struct causes *c);

/* What one write takes and gives back. */
struct allocation {
    struct claims claims;
    struct pool addresses, ports;
    unsigned tries;
    struct exchange *ex;
    bool ports_next; /* while reading what is taken */
    void (*then)(void *data);
    void *data;
};

/* Before the first try. */
void allocation_init(struct allocation *a);
/* After validation: picks what is missing in new and lists the claims that lead from old (NULL:
 * created) to new (NULL: removed). False: answered, with 422 for what
 * was asked for and cannot be had. */
bool service_allocate(struct exchange *ex, struct allocation *a, struct object *new,
                      const struct object *old);
/* After COMMIT_TAKEN: `then` is called when all of it may be tried again, else it is answered. o is
 * the object that was to be written. */
void service_taken(struct exchange *ex, struct allocation *a, const struct object *o, size_t taken,
                   void (*then)(void *data), void *data);
/* What claims of an object hold: namespace/name, in the arena; data NULL when out of memory. */
struct slice service_owner(const struct object *o, struct arena *a);
/* The key of an address' row. */
void service_address_key(struct slice address, struct buf *out);

#endif
