/* removal.h - one object that is to go: at once, or marked until its grace is over and its
 * finalizers are gone.
 *
 * What delete, deletecollection and eviction share. All of it runs in callbacks of the lane, but
 * for removal_init, removal_read_options and `mark`: these may run in a step of work
 * (exchange_work). */
#ifndef KVD_APISERVER_REMOVAL_H
#define KVD_APISERVER_REMOVAL_H

#include "plugins/apiserver/service.h"
#include "plugins/object/object.h"

struct removal {
    struct exchange *ex;
    int64_t grace_s; /* -1 = unset */
    struct slice propagation;
    struct slice uid, version; /* preconditions; "" = none */
    bool dry_run;
    struct arena *memory; /* of object and value: the exchange's; of many objects, one for each */
    struct slice key;
    struct slice name; /* for messages */
    unsigned tries;
    int64_t seconds;      /* since 1970 */
    int64_t revision;     /* of the row */
    struct object object; /* as it was, or as it stays */
    struct slice value;   /* of it */
    bool gone;            /* else it stays for its finalizers */
    bool unchanged;
    /* Changes an object that stays besides marking it; NULL = nothing. 0 or ERR_NOMEM. */
    int (*mark)(struct removal *rm, int64_t now_seconds);
    /* Through: gone, marked, or not there (missing). */
    void (*done)(struct removal *rm, bool missing, int64_t revision);
    void *data;
    struct allocation allocation;
    struct commit commit;
};

/* Fills rm from the query, and from DeleteOptions (NULL = none given). False: answered. */
bool removal_init(struct removal *rm, struct exchange *ex, const struct object *options);
/* The same with the body as options. False: answered. */
bool removal_read_options(struct removal *rm, struct exchange *ex);
/* Reads the object of rm->key and removes it; ends in rm->done, or the exchange is answered. */
void removal_run(struct removal *rm);
/* For the object the request names: makes the key, then as removal_run. */
void removal_run_named(struct removal *rm);

#endif
