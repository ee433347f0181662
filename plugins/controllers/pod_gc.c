/* pod_gc.c - pods that nobody would remove otherwise.
 *
 * Every 20 seconds: ended pods above a number, the oldest first; pods of nodes that have been gone
 * for 40 seconds; ending pods that were never on a node; ending pods on a node that an operator
 * declared out of service. They are removed at once, without grace: nobody is there to end them. */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/hashmap.h"
#include "plugins/controllers/conf.h"
#include "plugins/controllers/controllers.h"
#include "plugins/controllers/node_health.h"
#include "plugins/controllers/pod_gc.h"
#include "plugins/controllers/pod_removal.h"
#include "plugins/controllers/taint.h"

#define POD_GC_PERIOD_MS 20000u
/* Pods removed in one callback, some milliseconds; the others follow soon. */
#define POD_GC_REMOVALS_MAX  100u
#define POD_GC_AGAIN_MS      200u
#define POD_GC_QUARANTINE_MS 40000u /* a node that is only missing in the cache comes back */

struct pod_gc {
    struct controllers *all;
    struct client term;
    struct hashmap absent; /* struct absent_node by name */
    uint64_t round;
    size_t removals; /* in this callback */
    bool again;      /* a look at the others is on its way */
};

struct absent_node { /* pods name it, the cache does not have it */
    struct hash_node node;
    struct pod_gc *gc;
    uint64_t since_ms;
    uint64_t round; /* last one it was named in */
    bool asked;     /* a GET is under way */
    size_t len;
    char name[];
};

/* Pods gathered in one pass; they live until it is over. */
struct pod_gc_pods {
    struct pod_gc *gc;
    const struct object **items;
    size_t count, room;
};

/* ---- rules ---------------------------------------------------------------------------------- */

bool pod_gc_is_ended(const struct object *pod)
{
    struct slice phase = object_text(pod, "status.phase");
    return slice_eq(phase, slice_str("Succeeded")) || slice_eq(phase, slice_str("Failed"));
}

static bool pod_gc_is_evicted(const struct object *pod)
{
    return slice_eq(object_text(pod, "status.phase"), slice_str("Failed")) &&
           slice_eq(object_text(pod, "status.reason"), slice_str("Evicted"));
}

int pod_gc_order(const struct object *a, const struct object *b)
{
    int evicted = (int)pod_gc_is_evicted(b) - (int)pod_gc_is_evicted(a);
    if (evicted != 0) {
        return evicted;
    }
    int64_t x = object_int(a, "metadata.creationTimestamp", 0);
    int64_t y = object_int(b, "metadata.creationTimestamp", 0);
    if (x != y) {
        return x < y ? -1 : 1;
    }
    int space = slice_cmp(object_namespace(a), object_namespace(b));
    return space != 0 ? space : slice_cmp(object_name(a), object_name(b));
}

bool pod_gc_is_out_of_service(const struct object *pod, const struct object *node)
{
    return object_is_deleted(pod) && node != NULL && node_health_ready(node) != NODE_READY &&
           taint_has(node, TAINT_OUT_OF_SERVICE, NULL);
}

/* ---- removal -------------------------------------------------------------------------------- */

/* What cannot be sent now is tried in the next round. */
static void pod_gc_remove(struct pod_gc *gc, const struct object *pod, bool node_gone)
{
    if (gc->removals++ >= POD_GC_REMOVALS_MAX) {
        return; /* pod_gc_check sees to it */
    }
    struct pod_removal_args a = {.client = gc->term,
                                 .pod = pod,
                                 .reason = node_gone ? "DeletionByPodGC" : NULL,
                                 .message = "PodGC: node no longer exists",
                                 .failed = true,
                                 .grace_s = 0,
                                 .now_s = controllers_wall_s(gc->all)};
    pod_removal_send(&a);
}

/* ---- ended pods ----------------------------------------------------------------------------- */

static int pod_gc_gather_ended(void *data, const struct object *pod)
{
    struct pod_gc_pods *p = data;
    if (!pod_gc_is_ended(pod)) {
        return 0;
    }
    if (p->count == p->room) {
        size_t room = p->room == 0 ? 256 : p->room * 2;
        const struct object **items = mem_realloc(p->items, room * sizeof *items);
        if (items == NULL) {
            return KVP_NO_MEMORY;
        }
        p->items = items;
        p->room = room;
    }
    p->items[p->count++] = pod;
    return 0;
}

static int pod_gc_compare(const void *a, const void *b)
{
    return pod_gc_order(*(const struct object *const *)a, *(const struct object *const *)b);
}

static void pod_gc_ended(struct pod_gc *gc)
{
    size_t keep = (size_t)gc->all->conf->terminated_pod_gc_threshold;
    struct informer *pods = gc->all->informers[WATCH_PODS];
    struct pod_gc_pods p = {.gc = gc};
    if (keep > 0 && informer_len(pods) > keep &&
        informer_each(pods, pod_gc_gather_ended, &p) == 0 && p.count > keep) {
        qsort(p.items, p.count, sizeof *p.items, pod_gc_compare);
        for (size_t i = 0; i < p.count - keep; i++) {
            pod_gc_remove(gc, p.items[i], false);
        }
    }
    mem_free(p.items);
}

/* ---- pods of nodes that are gone ------------------------------------------------------------ */

static struct absent_node *pod_gc_absent(struct pod_gc *gc, struct slice name)
{
    uint64_t hash = hash_bytes(name);
    for (struct hash_node *n = hashmap_first(&gc->absent, hash); n != NULL;
         n = hashmap_next(n, hash)) {
        struct absent_node *e = (struct absent_node *)n;
        if (slice_eq(slice_of(e->name, e->len), name)) {
            return e;
        }
    }
    struct absent_node *e = mem_zalloc(sizeof *e + name.len);
    if (e == NULL) {
        return NULL;
    }
    e->gc = gc;
    e->since_ms = controllers_now_ms(gc->all);
    e->len = name.len;
    memcpy(e->name, name.data, name.len);
    if (!hashmap_insert(&gc->absent, &e->node, hash)) {
        mem_free(e);
        return NULL;
    }
    return e;
}

static void pod_gc_check(struct pod_gc *gc);

static int pod_gc_remove_orphan(void *data, const struct object *pod)
{
    pod_gc_remove(data, pod, true);
    return 0;
}

static void pod_gc_node_asked(void *data, const struct client_answer *a)
{
    struct absent_node *e = data;
    struct pod_gc *gc = e->gc;
    struct slice name = slice_of(e->name, e->len);
    e->asked = false;
    gc->removals = 0;
    if (a->outcome != KVP_OK || a->status != 404) {
        e->since_ms = controllers_now_ms(gc->all);
    } else if (informer_get(gc->all->informers[WATCH_NODES], name) == NULL) {
        informer_by_index(gc->all->informers[WATCH_PODS], INDEX_POD_NODE, name,
                          pod_gc_remove_orphan, gc);
    }
    pod_gc_check(gc);
}

static void pod_gc_ask(struct pod_gc *gc)
{
    uint64_t now = controllers_now_ms(gc->all);
    size_t bucket = 0;
    struct hash_node *n = hashmap_iter(&gc->absent, &bucket, NULL);
    while (n != NULL) {
        struct hash_node *next = hashmap_iter(&gc->absent, &bucket, n);
        struct absent_node *e = (struct absent_node *)n;
        if (e->round != gc->round && !e->asked) {
            hashmap_remove(&gc->absent, &e->node);
            mem_free(e);
        } else if (now - e->since_ms >= POD_GC_QUARANTINE_MS && !e->asked) {
            struct client_request r = {.verb = KVP_VERB_GET,
                                       .type = schema_type(SCHEMA_CORE_V1_NODE),
                                       .name = slice_of(e->name, e->len),
                                       .done = pod_gc_node_asked,
                                       .data = e};
            e->asked = client_send(gc->term, &r) == 0;
        }
        n = next;
    }
}

/* ---- rounds --------------------------------------------------------------------------------- */

static int pod_gc_look(void *data, const struct object *pod)
{
    struct pod_gc *gc = data;
    struct slice name = object_text(pod, "spec.nodeName");
    if (name.len == 0) {
        if (object_is_deleted(pod)) {
            pod_gc_remove(gc, pod, false);
        }
        return 0;
    }
    const struct object *node = informer_get(gc->all->informers[WATCH_NODES], name);
    if (node == NULL) {
        struct absent_node *e = pod_gc_absent(gc, name);
        if (e != NULL) {
            e->round = gc->round;
        }
    } else if (pod_gc_is_out_of_service(pod, node)) {
        pod_gc_remove(gc, pod, false);
    }
    return 0;
}

static void pod_gc_round(void *data)
{
    struct pod_gc *gc = data;
    struct informer *pods = gc->all->informers[WATCH_PODS];
    if (!informer_synced(pods) || !informer_synced(gc->all->informers[WATCH_NODES])) {
        return;
    }
    gc->round++;
    gc->removals = 0;
    pod_gc_ended(gc);
    informer_each(pods, pod_gc_look, gc);
    pod_gc_ask(gc);
    pod_gc_check(gc);
}

static void pod_gc_others(void *data)
{
    struct pod_gc *gc = data;
    gc->again = false;
    pod_gc_round(gc);
}

/* More was to be removed than one callback does. Without a timer the next round does it. */
static void pod_gc_check(struct pod_gc *gc)
{
    struct kvp_timer_args t = {
        .size = sizeof t, .after_ms = POD_GC_AGAIN_MS, .fire = pod_gc_others, .data = gc};
    if (gc->removals > POD_GC_REMOVALS_MAX && !gc->again) {
        gc->again = gc->term.host->timer(gc->term.ctx, &t, NULL) == 0;
    }
}

/* ---- life ----------------------------------------------------------------------------------- */

static void pod_gc_close(void *self)
{
    struct pod_gc *gc = self;
    size_t bucket = 0;
    struct hash_node *n = hashmap_iter(&gc->absent, &bucket, NULL);
    while (n != NULL) {
        struct hash_node *next = hashmap_iter(&gc->absent, &bucket, n);
        mem_free(n);
        n = next;
    }
    hashmap_close(&gc->absent);
    mem_free(gc);
}

static int pod_gc_open(struct controllers *all, struct client term, void **self)
{
    struct pod_gc *gc = mem_zalloc(sizeof *gc);
    if (gc == NULL) {
        return KVP_NO_MEMORY;
    }
    gc->all = all;
    gc->term = term;
    hashmap_init(&gc->absent);
    struct kvp_timer_args timer = {.size = sizeof timer,
                                   .after_ms = POD_GC_PERIOD_MS,
                                   .repeat_ms = POD_GC_PERIOD_MS,
                                   .fire = pod_gc_round,
                                   .data = gc};
    int rc = term.host->timer(term.ctx, &timer, NULL);
    if (rc != 0) {
        pod_gc_close(gc);
        return rc;
    }
    *self = gc;
    return 0;
}

const struct controller pod_gc_controller = {
    .name = "pod-garbage-collector-controller", .open = pod_gc_open, .close = pod_gc_close};
