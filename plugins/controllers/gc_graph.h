/* gc_graph.h - who owns whom: what the garbage collector remembers of all objects.
 *
 * A node is an object that has owners, is named as an owner, or waits for its dependents while it
 * is deleted; all others take no memory. A node that was named but never seen is `unseen`: perhaps
 * its owner is gone, perhaps the event is on its way, so its dependents are looked at.
 *
 * Pure: what should be looked at is told through a callback, at once and perhaps more than once. */
#ifndef KVD_CONTROLLERS_GC_GRAPH_H
#define KVD_CONTROLLERS_GC_GRAPH_H

#include "base/hashmap.h"
#include "base/list.h"
#include "plugins/object/object.h"

#define GC_FOREGROUND "foregroundDeletion"
#define GC_ORPHAN     "orphan"

struct gc_node;

/* A dependent names an owner. */
struct gc_edge {
    struct list link; /* owner's dependents */
    struct gc_node *owner, *dependent;
    bool blocks; /* blockOwnerDeletion */
};

struct gc_node {
    struct hash_node hash;
    struct list dependents; /* gc_edge.link */
    struct gc_edge *owners;
    size_t owner_count;
    const struct schema_type *type; /* NULL: unseen */
    char *key;                      /* as informers have it, with a NUL; NULL: unseen */
    bool deleted;                   /* has a deletionTimestamp */
    bool foreground;                /* deleted, and waits until blocking dependents are gone */
    bool orphaning;                 /* deleted, and waits until dependents are let go */
    bool gone;                      /* unseen, because it was removed, or sought in vain */
    uint32_t uid_len;
    char uid[];
};

static inline struct slice gc_node_uid(const struct gc_node *n)
{
    return slice_of(n->uid, n->uid_len);
}
static inline bool gc_node_seen(const struct gc_node *n)
{
    return n->type != NULL;
}

struct gc_graph {
    struct hashmap nodes;
    /* This one should be looked at. May not change the graph. */
    void (*look)(void *data, const struct gc_node *n);
    /* An owner is named for the first time: the object, when it is known; NULL = not. reference: an
     * OwnerReference of an object of this namespace. */
    const struct object *(*find)(void *data, const struct value *reference, struct slice space);
    /* The object of the reference's kind and uid in any namespace; NULL = none. Looks at them all.
     */
    const struct object *(*seek)(void *data, const struct value *reference);
    void *data;
};

void gc_graph_init(struct gc_graph *g);
void gc_graph_close(struct gc_graph *g);
struct gc_node *gc_graph_get(const struct gc_graph *g, struct slice uid);
/* An object was added or changed. 0, or ERR_NOMEM: the graph is not complete any more. */
int gc_graph_put(struct gc_graph *g, const struct object *o);
/* The object of this uid is gone. */
void gc_graph_remove(struct gc_graph *g, struct slice uid);
/* Whether an owner that is not in the namespace of its dependent is in another one. Objects are
 * looked at once for each owner, however many dependents name it. */
bool gc_graph_is_elsewhere(struct gc_graph *g, const struct value *reference, struct slice space);
/* Tells of every node that is not as it should be; for the start, when all objects are known. */
void gc_graph_look_at_all(struct gc_graph *g);
/* Whether something waits for it or it waits for something. */
bool gc_node_needs_look(const struct gc_node *n);
/* A dependent that the owner's deletion in the foreground waits for is there. */
bool gc_node_is_blocked(const struct gc_node *n);

#endif
