/* pack.h - a decoded object in one block of memory of exactly its size, for keeping.
 *
 * An arena's blocks are made for objects that come and go; thousands that stay are cheaper in a
 * block each: the tree in front, its texts behind without gaps. Read only. Any thread. */
#ifndef KVD_CLIENT_PACK_H
#define KVD_CLIENT_PACK_H

#include "base/list.h"
#include "plugins/object/object.h"

struct packed {
    struct list link;     /* the owner's */
    struct object object; /* arena NULL: nothing may be set in it */
};

/* A copy of o. NULL = out of memory. */
struct packed *packed_new(const struct object *o);
void packed_free(struct packed *p); /* NULL is fine */

#endif
