/* texts.h - which texts were seen, and a number for each: so that nothing is searched from the
 * front in lists that a client has made as long as it liked. */
#ifndef KVD_OBJECT_TEXTS_H
#define KVD_OBJECT_TEXTS_H

#include "base/alloc.h"
#include "base/slice.h"

struct texts_slot;

struct texts {
    struct texts_slot *slots;
    size_t mask;
};

/* For at most count texts; memory is the arena's. 0 or ERR_NOMEM. */
int texts_init(struct texts *t, struct arena *a, size_t count);
/* The number of a text, 0 when it is new; its bytes are kept, not copied. */
size_t *texts_put(struct texts *t, struct slice text);
/* The number of a text; 0: it is not there. */
size_t texts_get(const struct texts *t, struct slice text);

#endif
