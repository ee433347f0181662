/* taint_eviction.c - pods leave nodes whose NoExecute taints they do not tolerate (any more).
 *
 * A pod that tolerates all of them for some seconds only is scheduled for deletion when they are
 * over; the first schedule stays while the taints do, and is canceled with them. Seconds count from
 * when the taint was added, as the taint says: so a new leader goes on where the old one was. A pod
 * younger than the taint counts from its creation. The pod is deleted as by a user: on a node that
 * is gone nobody confirms its end, and it stays Terminating. */
#include "base/alloc.h"
#include "base/hashmap.h"
#include "plugins/controllers/controllers.h"
#include "plugins/controllers/handlers.h"
#include "plugins/controllers/pod_removal.h"
#include "plugins/controllers/taint.h"

struct eviction { /* a pod that is to go at a time */
    struct hash_node node;
    uint64_t due_ms;
    size_t uid_len;
    size_t key_len;
    char text[]; /* uid, key */
};

struct evictions {
    struct controllers *all;
    struct recorder *recorder;
    struct works *works; /* keys of pods */
    struct handlers handlers;
    struct hashmap scheduled; /* struct eviction by key */
};

/* ---- schedule ------------------------------------------------------------------------------- */

static struct slice eviction_key(const struct eviction *e)
{
    return slice_of(e->text + e->uid_len, e->key_len);
}

static struct eviction *eviction_find(struct evictions *s, struct slice key)
{
    uint64_t hash = hash_bytes(key);
    for (struct hash_node *n = hashmap_first(&s->scheduled, hash); n != NULL;
         n = hashmap_next(n, hash)) {
        if (slice_eq(eviction_key((struct eviction *)n), key)) {
            return (struct eviction *)n;
        }
    }
    return NULL;
}

static void eviction_drop(struct evictions *s, struct eviction *e)
{
    hashmap_remove(&s->scheduled, &e->node);
    mem_free(e);
}

static struct eviction *eviction_new(struct evictions *s, struct slice key, struct slice uid,
                                     uint64_t due_ms)
{
    struct eviction *e = mem_zalloc(sizeof *e + uid.len + key.len);
    if (e == NULL) {
        return NULL;
    }
    e->due_ms = due_ms;
    e->uid_len = uid.len;
    e->key_len = key.len;
    memcpy(e->text, uid.data, uid.len);
    memcpy(e->text + uid.len, key.data, key.len);
    if (!hashmap_insert(&s->scheduled, &e->node, hash_bytes(key))) {
        mem_free(e);
        return NULL;
    }
    return e;
}

/* The pod may stay after all. */
static void eviction_cancel(struct evictions *s, struct slice key, const struct object *pod)
{
    struct eviction *e = eviction_find(s, key);
    if (e == NULL) {
        return;
    }
    eviction_drop(s, e);
    if (pod != NULL && !object_is_deleted(pod)) {
        recorder_normal(s->recorder, pod, "TaintManagerEviction", "Cancelling deletion of Pod %.*s",
                        (int)key.len, (const char *)key.data);
    }
}

/* ---- deletion ------------------------------------------------------------------------------- */

static int64_t eviction_begin(struct evictions *s, struct work *w, struct slice key,
                              const struct object *pod)
{
    struct pod_removal_args a = {.work = w,
                                 .pod = pod,
                                 .reason = "DeletionByTaintManager",
                                 .message = "Taint manager: deleting due to NoExecute taint",
                                 .grace_s = POD_REMOVAL_GRACE_OWN,
                                 .now_s = controllers_wall_s(s->all)};
    if (pod_removal_send(&a) != 0) {
        return KVP_RETRY;
    }
    recorder_normal(s->recorder, pod, "TaintManagerEviction", "Marking for deletion Pod %.*s",
                    (int)key.len, (const char *)key.data);
    return KVP_DONE;
}

/* ---- decision ------------------------------------------------------------------------------- */

/* When a pod that tolerates the taints for some time has to go. */
static uint64_t eviction_due(struct evictions *s, const struct object *pod,
                             const struct taint_verdict *v)
{
    uint64_t now_ms = controllers_now_ms(s->all);
    int64_t now_s = controllers_wall_s(s->all);
    int64_t created = object_int(pod, "metadata.creationTimestamp", 0);
    int64_t start = v->started_s > created ? v->started_s : created;
    int64_t gone = v->started_s > 0 && start < now_s ? now_s - start : 0;
    return now_ms + (v->seconds > gone ? (uint64_t)(v->seconds - gone) * 1000u : 0);
}

static int64_t eviction_reconcile(void *data, struct work *w, struct slice key)
{
    struct evictions *s = data;
    const struct object *pod = informer_get(s->all->informers[WATCH_PODS], key);
    const struct object *node = pod == NULL ? NULL
                                            : informer_get(s->all->informers[WATCH_NODES],
                                                           object_text(pod, "spec.nodeName"));
    struct eviction *e = eviction_find(s, key);
    if (e != NULL && pod != NULL && !slice_eq(slice_of(e->text, e->uid_len), object_uid(pod))) {
        eviction_drop(s, e); /* it was of another pod of that name */
        e = NULL;
    }
    if (pod == NULL || node == NULL || object_is_deleted(pod)) {
        eviction_cancel(s, key, pod);
        return KVP_DONE;
    }
    struct taint_verdict v = taint_judge(node, pod);
    if (!v.tainted || (v.tolerated && v.forever)) {
        eviction_cancel(s, key, pod);
        return KVP_DONE;
    }
    uint64_t now = controllers_now_ms(s->all);
    if (v.tolerated && v.seconds > 0) {
        e = e != NULL ? e : eviction_new(s, key, object_uid(pod), eviction_due(s, pod, &v));
        if (e == NULL) {
            return KVP_RETRY;
        }
        if (e->due_ms > now) {
            return (int64_t)(e->due_ms - now);
        }
    }
    if (e != NULL) {
        eviction_drop(s, e);
    }
    return eviction_begin(s, w, key, pod);
}

/* ---- changes -------------------------------------------------------------------------------- */

static int eviction_add(void *data, const struct object *pod)
{
    struct evictions *s = data;
    handlers_queue_object(&s->handlers, s->works, pod);
    return 0;
}

static void eviction_node_changed(void *data, const struct object *before, const struct object *now)
{
    struct evictions *s = data;
    const struct value *old = before == NULL ? NULL : object_get(before, "spec.taints");
    const struct value *taints = now == NULL ? NULL : object_get(now, "spec.taints");
    const struct schema_field *f =
        schema_find(schema_type(SCHEMA_CORE_V1_NODE_SPEC), slice_str("taints"));
    if (!value_equal_field(f, old, taints)) {
        informer_by_index(s->all->informers[WATCH_PODS], INDEX_POD_NODE,
                          object_name(now != NULL ? now : before), eviction_add, s);
    }
}

static void eviction_pod_changed(void *data, const struct object *before, const struct object *now)
{
    struct evictions *s = data;
    const struct object *pod = now != NULL ? now : before;
    if (object_text(pod, "spec.nodeName").len > 0) {
        eviction_add(s, pod);
    }
}

/* ---- life ----------------------------------------------------------------------------------- */

static void eviction_close(void *self)
{
    struct evictions *s = self;
    handlers_off(&s->handlers);
    works_close(s->works);
    recorder_close(s->recorder);
    size_t bucket = 0;
    struct hash_node *n = hashmap_iter(&s->scheduled, &bucket, NULL);
    while (n != NULL) {
        struct hash_node *next = hashmap_iter(&s->scheduled, &bucket, n);
        eviction_drop(s, (struct eviction *)n);
        n = next;
    }
    hashmap_close(&s->scheduled);
    mem_free(s);
}

static int eviction_open(struct controllers *all, struct client term, void **self)
{
    struct evictions *s = mem_zalloc(sizeof *s);
    if (s == NULL) {
        return KVP_NO_MEMORY;
    }
    struct informer *nodes = all->informers[WATCH_NODES];
    struct informer *pods = all->informers[WATCH_PODS];
    struct works_args a = {.name = taint_eviction_controller.name,
                           .parallel = 8,
                           .reconcile = eviction_reconcile,
                           .data = s,
                           .informers = {nodes, pods}};
    s->all = all;
    s->handlers.term = term;
    hashmap_init(&s->scheduled);
    s->recorder = recorder_open(term, taint_eviction_controller.name);
    int rc = s->recorder == NULL ? KVP_NO_MEMORY : works_open(term, &a, &s->works);
    rc = rc != 0 ? rc : handlers_add(&s->handlers, nodes, eviction_node_changed, s);
    rc = rc != 0 ? rc : handlers_add(&s->handlers, pods, eviction_pod_changed, s);
    if (rc != 0) {
        eviction_close(s);
        return rc;
    }
    *self = s;
    return 0;
}

const struct controller taint_eviction_controller = {
    .name = "taint-eviction-controller", .open = eviction_open, .close = eviction_close};
