/* upkeep.h - what all share that keep an object of the system as it should be while they lead:
 * bootstrap, reach, trust. Callbacks of the lane. */
#ifndef KVD_APISERVER_UPKEEP_H
#define KVD_APISERVER_UPKEEP_H

#include "plugins/apiserver/apiserver.h"
#include "plugins/object/object.h"

#define UPKEEP_OBJECTS_MAX 8u

struct upkeep {
    struct apiserver *api;
    struct kvp_ctx *ctx; /* of the term */
    uint8_t failures[UPKEEP_OBJECTS_MAX];
};

/* The term is over: whoever leads now goes on. */
bool upkeep_is_over(const struct kvp_result *r);
/* What is to be stored of o, as a creation (old NULL) or an update makes it; as it is stored: row,
 * NULL = it is not. Nothing in out: it is there already. 0, or an error. */
int upkeep_encode(struct upkeep *u, struct object *o, const struct object *old,
                  const struct kvp_row *row, struct buf *out);
/* Into a transaction: the key gets this value if its row still has this revision; 0 = there is
 * none. 0 or a reason. */
int upkeep_put(struct upkeep *u, struct kvp_txn *txn, struct kvp_bytes key, struct kvp_bytes value,
               int64_t revision);

/* Object number `which` could not be kept, for this reason of the host: a person is told, once,
 * when it will hardly change or happened some times in a row. */
void upkeep_failed(struct upkeep *u, unsigned which, const char *object, int32_t reason,
                   const char *why);
/* The same for what does not change by trying again. */
void upkeep_refused(struct upkeep *u, unsigned which, const char *object, const char *why);
/* It is as it should be. */
void upkeep_well(struct upkeep *u, unsigned which);

#endif
