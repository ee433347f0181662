/* commit.h - one object is written on conditions: its row is still the one that was looked at, its
 * namespace too, and what it claims belongs to nobody else. All or nothing.
 *
 * A claim is a row of ours beside the object: an address, a port of all nodes. It is taken and
 * given back in the transaction of the object that owns it, so no two owners ever have it, however
 * many members write, and none is left over. What turns out to be another owner's is not given
 * back. */
#ifndef KVD_APISERVER_COMMIT_H
#define KVD_APISERVER_COMMIT_H

#include "plugins/apiserver/exchange.h"

/* Claims of one write: ports of a service, its addresses, all of it twice when they change. */
#define COMMIT_CLAIMS_MAX 100u

enum claim_way { CLAIM_TAKE, CLAIM_GIVE_BACK, CLAIM_KEEP };

struct claim {
    struct slice key;
    enum claim_way way;
    bool picked; /* by us: another one would do */
    size_t port; /* index of the service's port it is for; for its owner's messages */
};

struct claims {
    struct claim items[COMMIT_CLAIMS_MAX];
    size_t count;
};

/* What else has to be as it was: a row of this revision, or, when `all`, no row with this prefix
 * that is newer. */
struct guard {
    struct slice key;
    int64_t revision;
    bool all;
};
#define COMMIT_GUARDS_MAX 2u

enum commit_end {
    COMMIT_DONE,
    COMMIT_CHANGED, /* the object's row is another one */
    COMMIT_SPACE,   /* the namespace's row is another one */
    COMMIT_TAKEN,   /* a claim belongs to somebody else */
    COMMIT_GUESSED  /* a guard did not hold */
};

struct commit {
    struct exchange *ex;
    struct slice key, value;
    int64_t revision;       /* of the row that was looked at; 0 = there is none */
    bool remove;            /* the row goes; else it gets the value */
    int64_t space_revision; /* of the namespace's row; 0 = not looked at */
    struct claims *claims;  /* NULL = none; what is not the owner's becomes CLAIM_KEEP */
    struct guard guards[COMMIT_GUARDS_MAX];
    size_t guard_count;
    struct slice owner; /* what claims hold: namespace/name */
    /* Once, unless the exchange was answered because the store failed. revision: of the write. row:
     * CHANGED and SPACE: the row now, NULL = none. claim: TAKEN: which. */
    void (*done)(struct commit *c, enum commit_end end, int64_t revision,
                 const struct kvp_row *row);
    void *data;
    size_t taken; /* TAKEN: index of the claim */
};

/* Does it; in a dry run conditions are checked and nothing is written. c and what it points to stay
 * until done. */
void commit_run(struct commit *c);

#endif
