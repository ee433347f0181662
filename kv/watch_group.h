/* watch_group.h - which watchers cover a key: exact keys in a hash table, ranges in an interval
 * tree. Watchers of the same key or range share one node. */
#ifndef KVD_KV_WATCH_GROUP_H
#define KVD_KV_WATCH_GROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hashmap.h"
#include "base/list.h"
#include "base/slice.h"

/* What someone watches; embedded in the watcher. key and end are the owner's and must not change.
 */
struct watch_member {
    struct slice key;
    struct slice end;        /* empty: one key */
    bool to_end;             /* all keys >= key */
    struct watch_node *node; /* NULL = in no group */
    struct list link;        /* node->members */
};

/* A key or range with its members; in the tree ordered by (key, end) and by random priority. */
struct watch_node {
    struct hash_node hash;   /* exact */
    struct watch_node *left; /* range */
    struct watch_node *right;
    uint64_t priority;
    struct slice max; /* largest end below and here */
    bool max_to_end;
    bool exact;
    bool to_end;
    struct slice key; /* copies, behind the node */
    struct slice end;
    struct list members;
};

struct watch_group {
    struct hashmap keys;
    struct watch_node *ranges;
    uint64_t seed;
    size_t len; /* members */
};

void watch_group_init(struct watch_group *g);
/* Must be empty. */
void watch_group_close(struct watch_group *g);
/* false when out of memory. */
bool watch_group_add(struct watch_group *g, struct watch_member *m);
void watch_group_remove(struct watch_group *g, struct watch_member *m);
/* Calls back for every member that covers the key. The callback must not change the group. */
void watch_group_visit(const struct watch_group *g, struct slice key,
                       void (*member)(void *data, struct watch_member *m), void *data);
/* Does the member cover the key? */
bool watch_member_covers(const struct watch_member *m, struct slice key);

#endif
