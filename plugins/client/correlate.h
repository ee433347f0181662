/* correlate.h - which Events are the same, similar, or too many: client-go's correlator without
 * requests and texts. Bounded: at most CORRELATE_RECORDS_MAX of each kind are remembered, the ones
 * not used for longest are forgotten. */
#ifndef KVD_CLIENT_CORRELATE_H
#define KVD_CLIENT_CORRELATE_H

#include "base/hashmap.h"
#include "base/list.h"

#define CORRELATE_RECORDS_MAX 1024u
#define CORRELATE_SIMILAR_MAX 10u
#define CORRELATE_SIMILAR_MS  600000u
#define CORRELATE_BURST       25u
#define CORRELATE_TOKEN_MS    300000u /* one more every five minutes */

/* Records of one kind, found by the hash of what makes them equal (64 bits, keyed per process: two
 * different ones practically never meet). */
struct correlate_set {
    struct hashmap records;
    struct list used; /* the one used last in front */
};

/* One Event that is in the store, or on its way there. */
struct correlate_seen {
    struct hash_node node;
    struct list link;
    int64_t count;
    int64_t first_s; /* when it was first, wall clock */
    char name[];
};

struct correlator {
    struct correlate_set seen, similar, spam;
};

/* The parts of an Event that tell it from others, hashed. */
struct correlate_key {
    uint64_t object;  /* what it is about */
    uint64_t similar; /* and type and reason */
    uint64_t message;
};

struct correlate_verdict {
    bool dropped;   /* too many of this object */
    bool no_memory; /* could not be judged: drop it too */
    bool combined;  /* its message gets the prefix */
    uint64_t event; /* to be found under, correlate_seen */
    /* The Event it repeats, count raised by one; NULL: it is a new one. Valid until the next call.
     */
    struct correlate_seen *seen;
};

void correlator_init(struct correlator *c);
void correlator_close(struct correlator *c);
/* now_ms: monotonic. */
void correlator_judge(struct correlator *c, const struct correlate_key *key, uint64_t now_ms,
                      struct correlate_verdict *out);
/* Remembers a new Event, with count 1. false: out of memory. */
bool correlator_add(struct correlator *c, uint64_t event, const char *name, int64_t first_s);
/* The Event is not there any more (or was never made): the next one is new. */
void correlator_forget(struct correlator *c, uint64_t event);
struct correlate_seen *correlator_find(struct correlator *c, uint64_t event);

#endif
