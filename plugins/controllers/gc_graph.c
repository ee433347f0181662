/* gc_graph.c - nodes and edges. */
#include "plugins/controllers/gc_graph.h"

#include <string.h>

#include "base/alloc.h"
#include "plugins/client/client.h"

void gc_graph_init(struct gc_graph *g)
{
    hashmap_init(&g->nodes);
}

static void gc_look(struct gc_graph *g, const struct gc_node *n)
{
    if (g->look != NULL && gc_node_seen(n)) {
        g->look(g->data, n);
    }
}

struct gc_node *gc_graph_get(const struct gc_graph *g, struct slice uid)
{
    uint64_t hash = hash_bytes(uid);
    for (struct hash_node *h = hashmap_first(&g->nodes, hash); h != NULL;
         h = hashmap_next(h, hash)) {
        struct gc_node *n = LIST_ENTRY(h, struct gc_node, hash);
        if (slice_eq(gc_node_uid(n), uid)) {
            return n;
        }
    }
    return NULL;
}

static struct gc_node *gc_node_make(struct gc_graph *g, struct slice uid)
{
    struct gc_node *n = mem_zalloc(sizeof *n + uid.len);
    if (n == NULL) {
        return NULL;
    }
    list_init(&n->dependents);
    n->uid_len = (uint32_t)uid.len;
    if (uid.len > 0) {
        memcpy(n->uid, uid.data, uid.len);
    }
    if (!hashmap_insert(&g->nodes, &n->hash, hash_bytes(uid))) {
        mem_free(n);
        return NULL;
    }
    return n;
}

static void gc_node_free(struct gc_graph *g, struct gc_node *n)
{
    hashmap_remove(&g->nodes, &n->hash);
    mem_free(n->owners);
    mem_free(n->key);
    mem_free(n);
}

/* One that nobody names and that says nothing itself. */
static void gc_node_drop_if_idle(struct gc_graph *g, struct gc_node *n)
{
    if (list_empty(&n->dependents) && n->owner_count == 0 && !n->foreground && !n->orphaning) {
        gc_node_free(g, n);
    }
}

void gc_graph_close(struct gc_graph *g)
{
    size_t bucket = 0;
    for (struct hash_node *h = hashmap_iter(&g->nodes, &bucket, NULL); h != NULL;) {
        struct hash_node *next = hashmap_iter(&g->nodes, &bucket, h);
        gc_node_free(g, LIST_ENTRY(h, struct gc_node, hash));
        h = next;
    }
    hashmap_close(&g->nodes);
}

/* ---- what an object says -------------------------------------------------------------------- */

static bool gc_has_finalizer(const struct object *o, const char *name)
{
    const struct value *list = object_get(o, "metadata.finalizers");
    for (size_t i = 0; i < value_len(list); i++) {
        if (value_is_text(&list->items[i], name)) {
            return true;
        }
    }
    return false;
}

/* Type, key and marks. */
static int gc_node_read(struct gc_node *n, const struct object *o)
{
    if (n->key == NULL) {
        struct buf key;
        buf_init(&key);
        bool ok = object_key(o, &key) == 0 && buf_append_byte(&key, 0);
        n->key = ok ? mem_dup(key.data, key.len) : NULL;
        buf_close(&key);
        if (n->key == NULL) {
            return ERR_NOMEM;
        }
    }
    n->type = o->type;
    n->gone = false;
    n->deleted = object_is_deleted(o);
    n->foreground = n->deleted && gc_has_finalizer(o, GC_FOREGROUND);
    n->orphaning = n->deleted && gc_has_finalizer(o, GC_ORPHAN);
    return 0;
}

static bool gc_flag(const struct value *reference, const char *member)
{
    const struct value *v =
        value_find(schema_type(SCHEMA_META_V1_OWNER_REFERENCE), reference, member);
    return v != NULL && v->kind == VALUE_BOOL && v->boolean;
}

/* ---- edges ---------------------------------------------------------------------------------- */

/* Takes all edges to owners away. */
static void gc_node_unlink(struct gc_node *n)
{
    for (size_t i = 0; i < n->owner_count; i++) {
        list_remove(&n->owners[i].link);
    }
    n->owner_count = 0;
}

/* The node of an owner, made when it is named for the first time. */
static struct gc_node *gc_owner_node(struct gc_graph *g, const struct value *reference,
                                     struct slice space)
{
    struct slice uid = reference_text(reference, "uid");
    struct gc_node *n = gc_graph_get(g, uid);
    if (n != NULL) {
        return n;
    }
    n = gc_node_make(g, uid);
    const struct object *o = n == NULL ? NULL : g->find(g->data, reference, space);
    if (o != NULL && slice_eq(object_uid(o), uid) && gc_node_read(n, o) != 0) {
        gc_node_free(g, n);
        return NULL;
    }
    return n;
}

static int gc_node_link(struct gc_graph *g, struct gc_node *n, const struct object *o)
{
    const struct value *list = object_get(o, "metadata.ownerReferences");
    size_t count = value_len(list);
    struct gc_edge *edges = count == 0 ? NULL : mem_zalloc(count * sizeof *edges);
    if (count > 0 && edges == NULL) {
        return ERR_NOMEM;
    }
    mem_free(n->owners);
    n->owners = edges;
    n->owner_count = 0;
    for (size_t i = 0; i < count; i++) {
        struct gc_edge *e = &edges[n->owner_count];
        e->owner = gc_owner_node(g, &list->items[i], object_namespace(o));
        if (e->owner == NULL) {
            return ERR_NOMEM;
        }
        e->dependent = n;
        e->blocks = gc_flag(&list->items[i], "blockOwnerDeletion");
        list_push_back(&e->owner->dependents, &e->link);
        n->owner_count++;
    }
    return 0;
}

/* Whether the edges are what the object says. */
static bool gc_node_is_linked(const struct gc_node *n, const struct object *o)
{
    const struct value *list = object_get(o, "metadata.ownerReferences");
    if (value_len(list) != n->owner_count) {
        return false;
    }
    for (size_t i = 0; i < n->owner_count; i++) {
        if (!slice_eq(reference_text(&list->items[i], "uid"), gc_node_uid(n->owners[i].owner)) ||
            gc_flag(&list->items[i], "blockOwnerDeletion") != n->owners[i].blocks) {
            return false;
        }
    }
    return true;
}

/* Owners that wait may have waited for this one. */
static void gc_look_at_waiting_owners(struct gc_graph *g, const struct gc_node *n)
{
    for (size_t i = 0; i < n->owner_count; i++) {
        if (n->owners[i].owner->foreground) {
            gc_look(g, n->owners[i].owner);
        }
    }
}

static void gc_look_at_dependents(struct gc_graph *g, const struct gc_node *n)
{
    LIST_FOREACH (it, &n->dependents) {
        gc_look(g, LIST_ENTRY(it, struct gc_edge, link)->dependent);
    }
}

/* Edges are made anew. Owners that nobody names any more go; the others may have waited. */
static int gc_node_relink(struct gc_graph *g, struct gc_node *n, const struct object *o)
{
    size_t count = n->owner_count;
    struct gc_node **old = count == 0 ? NULL : mem_alloc(count * sizeof(struct gc_node *));
    if (count > 0 && old == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        old[i] = n->owners[i].owner;
    }
    gc_look_at_waiting_owners(g, n);
    gc_node_unlink(n);
    int rc = gc_node_link(g, n, o);
    for (size_t i = 0; i < count; i++) {
        bool again = false; /* named twice: it is looked at once */
        for (size_t k = 0; k < i; k++) {
            again = again || old[k] == old[i];
        }
        if (!again && old[i] != n) {
            gc_node_drop_if_idle(g, old[i]);
        }
    }
    mem_free(old);
    return rc;
}

/* ---- events --------------------------------------------------------------------------------- */

static struct slice gc_node_space(const struct gc_node *n)
{
    struct slice space;
    struct slice unused;
    object_key_split(slice_str(n->key), &space, &unused);
    return space;
}

/* The owner lives where the dependent cannot have one. */
static bool gc_edge_is_foreign(const struct gc_edge *e)
{
    struct slice space = gc_node_space(e->owner);
    return space.len > 0 && !slice_eq(space, gc_node_space(e->dependent));
}

bool gc_node_needs_look(const struct gc_node *n)
{
    if (!gc_node_seen(n)) {
        return false;
    }
    if (n->foreground || n->orphaning) {
        return true;
    }
    for (size_t i = 0; i < n->owner_count && !n->deleted; i++) {
        const struct gc_edge *e = &n->owners[i];
        if (!gc_node_seen(e->owner) || e->owner->foreground || gc_edge_is_foreign(e)) {
            return true;
        }
    }
    return false;
}

static void gc_look_at_foreign(struct gc_graph *g, const struct gc_node *n)
{
    LIST_FOREACH (it, &n->dependents) {
        const struct gc_edge *e = LIST_ENTRY(it, struct gc_edge, link);
        if (gc_node_seen(e->dependent) && gc_edge_is_foreign(e)) {
            gc_look(g, e->dependent);
        }
    }
}

bool gc_node_is_blocked(const struct gc_node *n)
{
    LIST_FOREACH (it, &n->dependents) {
        if (LIST_ENTRY(it, struct gc_edge, link)->blocks) {
            return true;
        }
    }
    return false;
}

int gc_graph_put(struct gc_graph *g, const struct object *o)
{
    struct slice uid = object_uid(o);
    struct gc_node *n = gc_graph_get(g, uid);
    bool waits = object_is_deleted(o) &&
                 (gc_has_finalizer(o, GC_FOREGROUND) || gc_has_finalizer(o, GC_ORPHAN));
    bool owned = value_len(object_get(o, "metadata.ownerReferences")) > 0;
    if (n == NULL && !waits && !owned) {
        return 0;
    }
    n = n == NULL ? gc_node_make(g, uid) : n;
    if (n == NULL) {
        return ERR_NOMEM;
    }
    bool waited = n->foreground;
    bool known = gc_node_seen(n);
    int rc = gc_node_read(n, o);
    if (rc == 0 && !gc_node_is_linked(n, o)) {
        rc = gc_node_relink(g, n, o);
    }
    if (rc != 0) {
        return rc;
    }
    if (n->foreground && !waited) {
        gc_look_at_dependents(g, n);
    } else if (!known) {
        gc_look_at_foreign(g, n);
    }
    if (gc_node_needs_look(n)) {
        gc_look(g, n);
    }
    gc_node_drop_if_idle(g, n);
    return 0;
}

void gc_graph_remove(struct gc_graph *g, struct slice uid)
{
    struct gc_node *n = gc_graph_get(g, uid);
    if (n == NULL) {
        return;
    }
    size_t count = n->owner_count;
    struct gc_edge *edges = n->owners;
    n->owners = NULL;
    n->owner_count = 0;
    for (size_t i = 0; i < count; i++) {
        struct gc_node *owner = edges[i].owner;
        bool again = false;
        list_remove(&edges[i].link);
        for (size_t k = i + 1; k < count; k++) {
            again = again || edges[k].owner == owner;
        }
        if (again || owner == n) {
            continue;
        }
        if (owner->foreground) {
            gc_look(g, owner);
        }
        gc_node_drop_if_idle(g, owner);
    }
    mem_free(edges);
    mem_free(n->key);
    n->key = NULL;
    n->type = NULL;
    n->deleted = n->foreground = n->orphaning = false;
    n->gone = true;
    gc_look_at_dependents(g, n);
    gc_node_drop_if_idle(g, n);
}

bool gc_graph_is_elsewhere(struct gc_graph *g, const struct value *reference, struct slice space)
{
    struct gc_node *n = gc_graph_get(g, reference_text(reference, "uid"));
    if (n != NULL && gc_node_seen(n)) {
        return !slice_eq(gc_node_space(n), space);
    }
    if (n != NULL && n->gone) {
        return false;
    }
    const struct object *o = g->seek(g->data, reference);
    if (n != NULL && o == NULL) {
        n->gone = true;
    } else if (n != NULL) {
        /* It has neither owners nor waits, or it had been seen. Without memory it is sought again.
         */
        (void)gc_node_read(n, o);
    }
    return o != NULL && !slice_eq(object_namespace(o), space);
}

void gc_graph_look_at_all(struct gc_graph *g)
{
    size_t bucket = 0;
    for (struct hash_node *h = hashmap_iter(&g->nodes, &bucket, NULL); h != NULL;
         h = hashmap_iter(&g->nodes, &bucket, h)) {
        const struct gc_node *n = LIST_ENTRY(h, struct gc_node, hash);
        if (gc_node_needs_look(n)) {
            gc_look(g, n);
        }
    }
}
