/* cluster.c - the books about nodes and pods; see cluster.h. */
#include "plugins/scheduler/cluster.h"

#include <stdlib.h>

#include "plugins/scheduler/queue.h"

void sched_cluster_init(struct sched_cluster *c)
{
    *c = (struct sched_cluster){0};
    hashmap_init(&c->nodes);
    hashmap_init(&c->pods);
    list_init(&c->assumed);
}

/* ---- nodes -------------------------------------------------------------------------------------
 */

struct sched_node *sched_cluster_node(const struct sched_cluster *c, struct slice name)
{
    uint64_t hash = hash_bytes(name);
    for (struct hash_node *h = hashmap_first(&c->nodes, hash); h != NULL;
         h = hashmap_next(h, hash)) {
        struct sched_node *n = LIST_ENTRY(h, struct sched_node, by_name);
        if (slice_eq(n->name, name)) {
            return n;
        }
    }
    return NULL;
}

static struct sched_node *cluster_node_make(struct sched_cluster *c, struct slice name)
{
    struct sched_node *n = sched_cluster_node(c, name);
    if (n != NULL) {
        return n;
    }
    n = sched_node_make(name);
    if (n != NULL && !hashmap_insert(&c->nodes, &n->by_name, hash_bytes(name))) {
        sched_node_free(n);
        return NULL;
    }
    return n;
}

/* Nodes of which nobody knows anything any more go. */
static void cluster_node_tidy(struct sched_cluster *c, struct sched_node *n)
{
    if (!n->present && n->pod_count == 0 && list_empty(&n->nominated)) {
        hashmap_remove(&c->nodes, &n->by_name);
        sched_node_free(n);
    }
}

static void cluster_list_changed(struct sched_cluster *c)
{
    c->stale = true;
    c->version++;
}

int sched_cluster_node_set(struct sched_cluster *c, const struct object *o, struct sched_node **out)
{
    struct sched_node *n = cluster_node_make(c, object_text(o, "metadata.name"));
    if (n == NULL) {
        return ERR_NOMEM;
    }
    bool was = n->present;
    bool had_images = n->image_count > 0;
    if (sched_node_set(n, o) != 0) {
        cluster_node_tidy(c, n);
        return ERR_NOMEM;
    }
    c->image_nodes -= had_images ? 1 : 0;
    c->image_nodes += n->image_count > 0 ? 1 : 0;
    if (!was) {
        n->order = c->orders++;
        cluster_list_changed(c);
    }
    if (out != NULL) {
        *out = n;
    }
    return 0;
}

void sched_cluster_node_gone(struct sched_cluster *c, struct slice name)
{
    struct sched_node *n = sched_cluster_node(c, name);
    if (n == NULL || !n->present) {
        return;
    }
    c->image_nodes -= n->image_count > 0 ? 1 : 0;
    sched_node_clear(n);
    cluster_list_changed(c);
    cluster_node_tidy(c, n);
}

/* A node while the list is made. */
struct cluster_place {
    struct sched_node *node;
    uint64_t zone; /* order of the zone's first node */
    size_t rank;   /* within its zone */
};

static int cluster_by_zone(const void *a, const void *b)
{
    const struct cluster_place *x = a;
    const struct cluster_place *y = b;
    int order = slice_cmp(x->node->zone, y->node->zone);
    if (order != 0) {
        return order;
    }
    return x->node->order < y->node->order ? -1 : x->node->order > y->node->order;
}

static int cluster_by_rank(const void *a, const void *b)
{
    const struct cluster_place *x = a;
    const struct cluster_place *y = b;
    if (x->rank != y->rank) {
        return x->rank < y->rank ? -1 : 1;
    }
    return x->zone < y->zone ? -1 : x->zone > y->zone;
}

/* Numbers the nodes of each zone as they came; places are sorted by zone. */
static void cluster_rank(struct cluster_place *places, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bool same = i > 0 && slice_eq(places[i - 1].node->zone, places[i].node->zone);
        places[i].rank = same ? places[i - 1].rank + 1 : 0;
        places[i].zone = same ? places[i - 1].zone : places[i].node->order;
    }
}

static size_t cluster_places(struct sched_cluster *c, struct cluster_place *places)
{
    size_t bucket = 0;
    size_t count = 0;
    struct hash_node *h = NULL;
    while ((h = hashmap_iter(&c->nodes, &bucket, h)) != NULL) {
        struct sched_node *n = LIST_ENTRY(h, struct sched_node, by_name);
        if (n->present) {
            places[count++] = (struct cluster_place){.node = n};
        }
    }
    return count;
}

int sched_cluster_nodes(struct sched_cluster *c)
{
    if (!c->stale) {
        return 0;
    }
    size_t room = c->nodes.len + 1;
    struct cluster_place *places = mem_alloc(room * sizeof *places);
    struct sched_node **list = mem_realloc(c->list, room * sizeof *list);
    c->list = list != NULL ? list : c->list;
    if (places != NULL && list != NULL) {
        c->count = cluster_places(c, places);
        qsort(places, c->count, sizeof *places, cluster_by_zone);
        cluster_rank(places, c->count);
        qsort(places, c->count, sizeof *places, cluster_by_rank);
        for (size_t i = 0; i < c->count; i++) {
            list[i] = places[i].node;
            list[i]->index = i;
        }
        c->stale = false;
    }
    mem_free(places);
    return c->stale ? ERR_NOMEM : 0;
}

/* ---- pods --------------------------------------------------------------------------------------
 */

struct sched_pod *sched_cluster_pod(const struct sched_cluster *c, struct slice key)
{
    uint64_t hash = hash_bytes(key);
    for (struct hash_node *h = hashmap_first(&c->pods, hash); h != NULL;
         h = hashmap_next(h, hash)) {
        struct sched_pod *p = LIST_ENTRY(h, struct sched_pod, by_key);
        if (slice_eq(p->key, key)) {
            return p;
        }
    }
    return NULL;
}

static void cluster_count(struct sched_cluster *c, const struct sched_pod *p, size_t one)
{
    c->affinity_pods += sched_pod_has_affinity(p) ? one : 0;
    c->anti_pods += sched_pod_has_anti_affinity(p) ? one : 0;
}

void sched_cluster_lift(struct sched_cluster *c, struct sched_pod *p)
{
    cluster_count(c, p, (size_t)-1);
    sched_node_remove(p->on, p);
}

void sched_cluster_drop(struct sched_cluster *c, struct sched_pod *p, struct sched_node *n)
{
    cluster_count(c, p, 1);
    sched_node_add(n, p);
}

static void cluster_unnominate(struct sched_cluster *c, struct sched_pod *p)
{
    if (p->nominee != NULL) {
        list_remove(&p->by_nomination);
        p->nominee = NULL;
        c->nominations--;
    }
}

/* Takes it out of everything but the tables of pods and nodes. Returns the node it was on. */
static struct sched_node *cluster_detach(struct sched_cluster *c, struct sched_pod *p)
{
    struct sched_node *n = p->on;
    if (n != NULL) {
        sched_cluster_lift(c, p);
    }
    list_remove(&p->by_assumption);
    return n;
}

/* The node the pod's object names, made if need be; *out NULL when it takes no room anywhere. */
static int cluster_home(struct sched_cluster *c, const struct sched_pod *p,
                        const struct sched_pod *before, struct sched_node **out)
{
    *out = NULL;
    if (p->ended) {
        return 0;
    }
    if (p->node_name.len > 0) {
        *out = cluster_node_make(c, p->node_name);
    } else if (before != NULL && before->assumed && slice_eq(before->uid, p->uid)) {
        *out = before->on;
    } else {
        return 0;
    }
    if (*out == NULL || !sched_node_reserve(*out, p)) {
        if (*out != NULL) {
            cluster_node_tidy(c, *out);
        }
        return ERR_NOMEM;
    }
    return 0;
}

int sched_cluster_pod_set(struct sched_cluster *c, struct sched_pod *p)
{
    struct sched_pod *before = sched_cluster_pod(c, p->key);
    struct sched_node *home = NULL;
    if (cluster_home(c, p, before, &home) != 0) {
        return ERR_NOMEM;
    }
    if (!hashmap_insert(&c->pods, &p->by_key, hash_bytes(p->key))) {
        if (home != NULL) {
            cluster_node_tidy(c, home);
        }
        return ERR_NOMEM;
    }
    struct slice nominated = p->nominated;
    p->serial = ++c->serials;
    if (before != NULL) {
        bool same = slice_eq(before->uid, p->uid);
        bool assumed = before->assumed && p->node_name.len == 0;
        struct sched_node *was = cluster_detach(c, before);
        struct sched_node *nominee = before->nominee;
        p->waiting = before->waiting;
        before->waiting = NULL;
        if (p->waiting != NULL) {
            p->waiting->pod = p;
        }
        if (same && home != NULL && assumed) {
            p->assumed = true;
            p->assumed_revision = before->assumed_revision;
            p->assumed_until_ms = before->assumed_until_ms;
            list_push_back(&c->assumed, &p->by_assumption);
        }
        cluster_unnominate(c, before);
        if (same && nominated.len == 0 && before->nominated.len == 0 && nominee != NULL) {
            nominated = nominee->name;
        }
        if (home == NULL && nominated.len > 0) {
            sched_cluster_nominate(c, p, nominated);
        }
        hashmap_remove(&c->pods, &before->by_key);
        sched_pod_free(before);
        if (home != NULL) {
            sched_cluster_drop(c, p, home);
        }
        if (was != NULL && was != home) {
            cluster_node_tidy(c, was);
        }
        if (nominee != NULL && nominee != was) {
            cluster_node_tidy(c, nominee);
        }
        return 0;
    }
    if (home != NULL) {
        sched_cluster_drop(c, p, home);
    } else if (nominated.len > 0) {
        sched_cluster_nominate(c, p, nominated);
    }
    return 0;
}

void sched_cluster_pod_gone(struct sched_cluster *c, struct sched_pod *p)
{
    struct sched_node *nominee = p->nominee;
    struct sched_node *n = cluster_detach(c, p);
    cluster_unnominate(c, p);
    if (n != NULL) {
        cluster_node_tidy(c, n);
    }
    if (nominee != NULL && nominee != n) {
        cluster_node_tidy(c, nominee);
    }
    hashmap_remove(&c->pods, &p->by_key);
    sched_pod_free(p);
}

void sched_cluster_nominate(struct sched_cluster *c, struct sched_pod *p, struct slice node)
{
    struct sched_node *n = node.len == 0 ? NULL : sched_cluster_node(c, node);
    cluster_unnominate(c, p);
    /* A nomination for a node nobody knows reserves nothing. */
    if (n != NULL && n->present) {
        list_push_back(&n->nominated, &p->by_nomination);
        p->nominee = n;
        c->nominations++;
    }
}

/* ---- assumptions -------------------------------------------------------------------------------
 */

int sched_cluster_assume(struct sched_cluster *c, struct sched_pod *p, struct sched_node *n)
{
    if (!sched_node_reserve(n, p)) {
        return ERR_NOMEM;
    }
    cluster_unnominate(c, p);
    sched_cluster_drop(c, p, n);
    p->assumed = true;
    p->assumed_revision = 0;
    p->assumed_until_ms = 0;
    list_push_back(&c->assumed, &p->by_assumption);
    return 0;
}

void sched_cluster_bound(struct sched_pod *p, int64_t revision, uint64_t now_ms)
{
    if (p->assumed) {
        p->assumed_revision = revision;
        p->assumed_until_ms = now_ms + SCHED_ASSUMED_MS;
    }
}

void sched_cluster_forget(struct sched_cluster *c, struct sched_pod *p)
{
    if (p->assumed) {
        struct sched_node *n = cluster_detach(c, p);
        p->assumed = false;
        cluster_node_tidy(c, n);
    }
}

size_t sched_cluster_expire(struct sched_cluster *c, uint64_t now_ms, int64_t informer_revision)
{
    size_t count = 0;
    struct list *next = NULL;
    for (struct list *it = c->assumed.next; it != &c->assumed; it = next) {
        struct sched_pod *p = LIST_ENTRY(it, struct sched_pod, by_assumption);
        next = it->next;
        if (p->assumed_until_ms != 0 && now_ms >= p->assumed_until_ms &&
            informer_revision >= p->assumed_revision) {
            sched_cluster_forget(c, p);
            count++;
        }
    }
    return count;
}

void sched_cluster_close(struct sched_cluster *c)
{
    size_t bucket = 0;
    struct hash_node *h = NULL;
    struct hash_node *next = hashmap_iter(&c->pods, &bucket, NULL);
    while ((h = next) != NULL) {
        struct sched_pod *p = LIST_ENTRY(h, struct sched_pod, by_key);
        next = hashmap_iter(&c->pods, &bucket, h);
        sched_cluster_pod_gone(c, p);
    }
    bucket = 0;
    next = hashmap_iter(&c->nodes, &bucket, NULL);
    while ((h = next) != NULL) {
        struct sched_node *n = LIST_ENTRY(h, struct sched_node, by_name);
        next = hashmap_iter(&c->nodes, &bucket, h);
        hashmap_remove(&c->nodes, h);
        sched_node_free(n);
    }
    hashmap_close(&c->pods);
    hashmap_close(&c->nodes);
    mem_free(c->list);
}
