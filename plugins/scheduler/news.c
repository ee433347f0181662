/* news.c - what informers show, into the books and the queue; see scheduler.h.
 *
 * News that cannot be noted for want of memory are not lost: a little later all that the informers
 * have is noted once more. */
#include "plugins/scheduler/scheduler.h"

#define NEWS_REPAIR_MS 1000u

static void news_damaged(struct scheduler *s)
{
    s->damaged = true;
    alarm_set(&s->repair, NEWS_REPAIR_MS);
}

void scheduler_event(struct scheduler *s, unsigned kinds, const struct sched_node *node,
                     const struct sched_pod *pod)
{
    struct sched_event e = {.kinds = kinds, .cluster = &s->cluster, .node = node, .pod = pod};
    if (s->leading && kinds != 0 && sched_queue_event(&s->queue, &e, scheduler_now_ms(s)) > 0) {
        scheduler_wake(s);
    }
}

bool scheduler_is_pending(const struct scheduler *s, const struct sched_pod *p)
{
    return p->node_name.len == 0 && !p->ended && !p->deleted && !p->assumed &&
           slice_eq(p->scheduler, slice_str(s->conf->scheduler_name));
}

/* ---- nodes -------------------------------------------------------------------------------------
 */

static bool news_differs(const struct object *a, const struct object *b, const char *path)
{
    const struct value *x = object_get(a, path);
    const struct value *y = object_get(b, path);
    return (x != NULL || y != NULL) && (x == NULL || y == NULL || !value_equal(NULL, x, y));
}

/* Taints and conditions are messages, which a comparison without their type takes as they are. */
static unsigned news_node_kinds(const struct object *before, const struct object *now)
{
    unsigned kinds = 0;
    if (before == NULL) {
        return SCHED_NODE_ADDED;
    }
    kinds |= news_differs(before, now, "status.allocatable") ? SCHED_NODE_ALLOCATABLE : 0;
    kinds |= news_differs(before, now, "metadata.labels") ? SCHED_NODE_LABELS : 0;
    kinds |= news_differs(before, now, "spec.taints") ||
                     object_bool(before, "spec.unschedulable", false) !=
                         object_bool(now, "spec.unschedulable", false)
                 ? SCHED_NODE_TAINTS
                 : 0;
    return kinds;
}

/* Zones are taken from labels: nodes take other turns then. */
static void news_node(void *data, const struct object *before, const struct object *now)
{
    struct scheduler *s = data;
    struct sched_node *n = NULL;
    if (now == NULL) {
        sched_cluster_node_gone(&s->cluster, object_name(before));
        return;
    }
    unsigned kinds = news_node_kinds(before, now);
    if (before != NULL && kinds == 0 && !news_differs(before, now, "status.images")) {
        return; /* a sign of life */
    }
    if (sched_cluster_node_set(&s->cluster, now, &n) != 0) {
        news_damaged(s);
        return;
    }
    if (kinds & SCHED_NODE_LABELS) {
        s->cluster.stale = true;
        s->cluster.version++;
    }
    scheduler_event(s, kinds, n, NULL);
}

/* ---- pods --------------------------------------------------------------------------------------
 */

/* Takes a pod out of the queue, and out of the turn. */
static void news_unqueue(struct scheduler *s, struct sched_pod *p)
{
    if (p->waiting != NULL) {
        s->current = s->current == p->waiting ? NULL : s->current;
        sched_queue_remove(&s->queue, p->waiting);
    }
}

static void news_pod_gone(struct scheduler *s, struct slice key)
{
    struct sched_pod *p = sched_cluster_pod(&s->cluster, key);
    if (p == NULL) {
        return;
    }
    news_unqueue(s, p);
    if (p->on != NULL || p->nominee != NULL) {
        scheduler_event(s, SCHED_POD_GONE, NULL, p);
    }
    sched_cluster_pod_gone(&s->cluster, p);
}

/* Anything but its status. before NULL = not known. */
static bool news_material(const struct object *before, const struct object *now)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_POD_SPEC);
    const struct value *a = before == NULL ? NULL : object_get(before, "spec");
    const struct value *b = object_get(now, "spec");
    return a == NULL || b == NULL || !value_equal(t, a, b) ||
           news_differs(before, now, "metadata.labels") ||
           object_is_deleted(before) != object_is_deleted(now);
}

/* What it means to others that a pod became this. was: on a node before. */
static unsigned news_pod_kinds(const struct object *before, const struct sched_pod *p, bool was,
                               const struct object *now)
{
    bool is = p->node_name.len > 0 && !p->ended;
    unsigned kinds = 0;
    if (is && !was) {
        return SCHED_POD_PLACED;
    }
    if (!is || before == NULL) {
        return 0;
    }
    kinds |= news_differs(before, now, "metadata.labels") ? SCHED_POD_LABELS : 0;
    kinds |= news_differs(before, now, "spec.containers") ? SCHED_POD_SMALLER : 0;
    return kinds;
}

static void news_queue(struct scheduler *s, struct sched_pod *p, bool material)
{
    if (!s->leading) {
        return;
    }
    if (p->waiting != NULL && (p->node_name.len > 0 || p->ended)) {
        news_unqueue(s, p);
    } else if (p->waiting != NULL) {
        s->begun = s->begun && p->waiting != s->current; /* it looks at the old state */
        sched_queue_changed(&s->queue, p, material, scheduler_now_ms(s));
        scheduler_wake(s);
    } else if (scheduler_is_pending(s, p)) {
        if (sched_queue_add(&s->queue, p, scheduler_now_ms(s)) != 0) {
            news_damaged(s);
        }
        scheduler_wake(s);
    }
}

static void news_pod(void *data, const struct object *before, const struct object *now)
{
    struct scheduler *s = data;
    struct sched_pod *p = now == NULL ? NULL : sched_pod_make(now);
    if (now == NULL) {
        struct buf key;
        buf_init(&key);
        if (object_key(before, &key) == 0) {
            news_pod_gone(s, buf_slice(&key));
        } else {
            news_damaged(s);
        }
        buf_close(&key);
        return;
    }
    if (p == NULL) {
        news_damaged(s);
        return;
    }
    struct sched_pod *old = sched_cluster_pod(&s->cluster, p->key);
    if (old != NULL && !slice_eq(old->uid, p->uid)) {
        news_pod_gone(s, p->key); /* another one of that name */
        old = NULL;
    }
    bool was = old != NULL && old->on != NULL && !old->assumed;
    unsigned kinds = news_pod_kinds(before, p, was, now);
    if (was && p->ended) {
        scheduler_event(s, SCHED_POD_GONE, NULL, old);
    }
    bool material = old == NULL || old->waiting == NULL || news_material(before, now);
    if (sched_cluster_pod_set(&s->cluster, p) != 0) {
        sched_pod_free(p);
        news_damaged(s);
        return;
    }
    news_queue(s, p, material);
    scheduler_event(s, kinds, NULL, p);
}

void scheduler_queue_all(struct scheduler *s)
{
    size_t bucket = 0;
    struct hash_node *h = NULL;
    while ((h = hashmap_iter(&s->cluster.pods, &bucket, h)) != NULL) {
        struct sched_pod *p = LIST_ENTRY(h, struct sched_pod, by_key);
        if (p->waiting == NULL && scheduler_is_pending(s, p) &&
            sched_queue_add(&s->queue, p, scheduler_now_ms(s)) != 0) {
            news_damaged(s);
        }
    }
    scheduler_wake(s);
}

/* ---- repair ------------------------------------------------------------------------------------
 */

static int news_again_node(void *data, const struct object *o)
{
    news_node(data, NULL, o);
    return 0;
}

static int news_again_pod(void *data, const struct object *o)
{
    news_pod(data, NULL, o);
    return 0;
}

/* Removing needs no memory but for the key: what the informer does not have any more goes here. */
static void news_drop_missing(struct scheduler *s)
{
    size_t bucket = 0;
    struct hash_node *next = hashmap_iter(&s->cluster.pods, &bucket, NULL);
    while (next != NULL) {
        struct hash_node *h = next;
        struct sched_pod *p = LIST_ENTRY(h, struct sched_pod, by_key);
        next = hashmap_iter(&s->cluster.pods, &bucket, h);
        if (informer_get(s->informers[SCHED_WATCH_PODS], p->key) == NULL) {
            news_pod_gone(s, p->key);
        }
    }
}

static void news_repair(void *data)
{
    struct scheduler *s = data;
    if (!s->damaged) {
        return;
    }
    s->damaged = false;
    news_drop_missing(s);
    informer_each(s->informers[SCHED_WATCH_NODES], news_again_node, s);
    informer_each(s->informers[SCHED_WATCH_PODS], news_again_pod, s);
    if (s->leading) {
        scheduler_queue_all(s);
    }
}

/* ---- informers ---------------------------------------------------------------------------------
 */

static void news_synced(void *data)
{
    scheduler_wake(data);
}

static const struct value *news_space_labels(void *data, struct slice space)
{
    struct scheduler *s = data;
    const struct object *o = informer_get(s->informers[SCHED_WATCH_NAMESPACES], space);
    return o == NULL ? NULL : object_get(o, "metadata.labels");
}

int scheduler_watch(struct scheduler *s)
{
    static const struct {
        enum schema_type_id type;
        informer_changed_fn *changed;
    } kinds[SCHED_WATCHES] = {
        [SCHED_WATCH_NAMESPACES] = {SCHEMA_CORE_V1_NAMESPACE, NULL},
        [SCHED_WATCH_NODES] = {SCHEMA_CORE_V1_NODE, news_node},
        [SCHED_WATCH_PODS] = {SCHEMA_CORE_V1_POD, news_pod},
        [SCHED_WATCH_SERVICES] = {SCHEMA_CORE_V1_SERVICE, NULL},
        [SCHED_WATCH_REPLICA_SETS] = {SCHEMA_APPS_V1_REPLICA_SET, NULL},
        [SCHED_WATCH_REPLICATION_CONTROLLERS] = {SCHEMA_CORE_V1_REPLICATION_CONTROLLER, NULL},
    };
    struct client root = {s->host, s->ctx};
    s->cluster.space_labels = news_space_labels;
    s->cluster.data = s;
    int rc = alarm_open(&s->repair, root, news_repair, s);
    for (size_t i = 0; i < SCHED_WATCHES && rc == 0; i++) {
        struct informer_args a = {.type = schema_type(kinds[i].type)};
        struct informer_handler *handler = NULL;
        rc = informer_open(root, &a, &s->informers[i]);
        rc =
            rc == 0 ? informer_on(s->informers[i], kinds[i].changed, news_synced, s, &handler) : rc;
    }
    if (rc != 0) {
        scheduler_unwatch(s);
    }
    return rc;
}

void scheduler_unwatch(struct scheduler *s)
{
    for (size_t i = 0; i < SCHED_WATCHES; i++) {
        informer_close(s->informers[i]);
        s->informers[i] = NULL;
    }
    alarm_close(&s->repair);
}

bool scheduler_synced(const struct scheduler *s)
{
    for (size_t i = 0; i < SCHED_WATCHES; i++) {
        if (!informer_synced(s->informers[i])) {
            return false;
        }
    }
    return true;
}
