/* node_monitor.c - the look at all nodes: silence, disruptions of zones, taints that evict. */
#include "plugins/controllers/node_monitor.h"

#include "base/alloc.h"
#include "plugins/controllers/conf.h"
#include "plugins/controllers/taint.h"

#define LABEL_REGION  "metadata.labels[topology.kubernetes.io/region]"
#define LABEL_ZONE    "metadata.labels[topology.kubernetes.io/zone]"
#define LABEL_EXCLUDE "metadata.labels[node.kubernetes.io/exclude-disruption]"

void node_monitor_init(struct node_monitor *m, struct controllers *all, struct client term,
                       struct recorder *recorder)
{
    const struct controllers_conf *conf = all->conf;
    *m = (struct node_monitor){.all = all, .term = term, .recorder = recorder};
    m->limits.grace_ms = (uint64_t)conf->node_monitor_grace_period_ms;
    m->limits.startup_ms = (uint64_t)conf->node_startup_grace_period_ms;
    /* The texts were checked at init. */
    conf_rate(conf->node_eviction_rate, &m->zone_conf.rate);
    conf_rate(conf->secondary_node_eviction_rate, &m->zone_conf.secondary_rate);
    conf_rate(conf->unhealthy_zone_threshold, &m->zone_conf.threshold);
    m->zone_conf.large = conf->large_cluster_size_threshold;
    hashmap_init(&m->nodes);
    list_init(&m->zones);
}

/* ---- zones ---------------------------------------------------------------------------------- */

static struct zone *node_zone(struct node_monitor *m, const struct object *node)
{
    struct slice region = object_text(node, LABEL_REGION);
    struct slice name = object_text(node, LABEL_ZONE);
    struct buf key;
    buf_init(&key);
    buf_append_slice(&key, region);
    buf_append_byte(&key, 0);
    buf_append_slice(&key, name);
    LIST_FOREACH (it, &m->zones) {
        struct zone *z = LIST_ENTRY(it, struct zone, link);
        if (slice_eq(slice_of(z->name, z->name_len), buf_slice(&key))) {
            buf_close(&key);
            return z;
        }
    }
    struct zone *z = key.failed ? NULL : mem_zalloc(sizeof *z);
    if (z == NULL) {
        buf_close(&key);
        return NULL;
    }
    z->name = (char *)key.data; /* the buffer's memory is the zone's now */
    z->name_len = key.len;
    list_init(&z->waiting);
    zone_limiter_set(&z->limiter, m->zone_conf.rate, controllers_now_ms(m->all));
    list_push_back(&m->zones, &z->link);
    return z;
}

/* ---- nodes ---------------------------------------------------------------------------------- */

static struct monitored *node_entry_find(struct node_monitor *m, struct slice name)
{
    uint64_t hash = hash_bytes(name);
    for (struct hash_node *n = hashmap_first(&m->nodes, hash); n != NULL;
         n = hashmap_next(n, hash)) {
        struct monitored *e = (struct monitored *)n;
        if (slice_eq(slice_of(e->name, e->name_len), name)) {
            return e;
        }
    }
    return NULL;
}

static struct monitored *node_entry_new(struct node_monitor *m, const struct object *node)
{
    struct slice name = object_name(node);
    struct monitored *e = mem_zalloc(sizeof *e);
    if (e == NULL) {
        return NULL;
    }
    e->name = mem_dup(name.data, name.len);
    e->name_len = name.len;
    list_init(&e->waiting);
    if (e->name == NULL || !hashmap_insert(&m->nodes, &e->node, hash_bytes(name))) {
        mem_free(e->name);
        mem_free(e);
        return NULL;
    }
    recorder_normal(m->recorder, node, "RegisteredNode",
                    "Node %.*s event: Registered Node %.*s in Controller", (int)name.len,
                    (const char *)name.data, (int)name.len, (const char *)name.data);
    return e;
}

static void node_entry_free(struct node_monitor *m, struct monitored *e)
{
    hashmap_remove(&m->nodes, &e->node);
    list_remove(&e->waiting);
    mem_free(e->name);
    mem_free(e);
}

void node_monitor_forget(struct node_monitor *m, struct slice name)
{
    struct monitored *e = node_entry_find(m, name);
    if (e != NULL) {
        node_entry_free(m, e);
    }
}

void node_monitor_close(struct node_monitor *m)
{
    size_t bucket = 0;
    struct hash_node *n = hashmap_iter(&m->nodes, &bucket, NULL);
    while (n != NULL) {
        struct hash_node *next = hashmap_iter(&m->nodes, &bucket, n);
        node_entry_free(m, (struct monitored *)n);
        n = next;
    }
    hashmap_close(&m->nodes);
    while (!list_empty(&m->zones)) {
        struct zone *z = LIST_ENTRY(list_pop_front(&m->zones), struct zone, link);
        mem_free(z->name);
        mem_free(z);
    }
}

/* ---- taints that evict ---------------------------------------------------------------------- */

static const struct taint_id taint_none[] = {{NULL, NULL}};

static void node_taint(struct node_monitor *m, const struct object *node,
                       const struct taint_id *add, const struct taint_id *remove)
{
    struct arena a;
    struct buf body;
    bool changed;
    arena_init(&a, 0);
    buf_init(&body);
    if (taint_patch(node, add, remove, controllers_wall_s(m->all), &a, &body, &changed) == 0 &&
        changed) {
        client_patch(m->term, node, NULL, CLIENT_PATCH_MERGE, buf_slice(&body), NULL, NULL);
    }
    buf_close(&body);
    arena_close(&a);
}

/* The taint of a node that is not ready, instead of its opposite. */
static void node_taint_evict(struct node_monitor *m, const struct object *node)
{
    static const struct taint_id not_ready[] = {{TAINT_NOT_READY, TAINT_NO_EXECUTE}, {NULL, NULL}};
    static const struct taint_id unreachable[] = {{TAINT_UNREACHABLE, TAINT_NO_EXECUTE},
                                                  {NULL, NULL}};
    switch (node_health_ready(node)) {
    case NODE_NOT_READY:
        node_taint(m, node, not_ready, unreachable);
        break;
    case NODE_UNKNOWN:
        node_taint(m, node, unreachable, not_ready);
        break;
    case NODE_READY:
    case NODE_UNREPORTED:
        break;
    }
}

static void node_untaint(struct node_monitor *m, const struct object *node)
{
    static const struct taint_id both[] = {
        {TAINT_NOT_READY, TAINT_NO_EXECUTE}, {TAINT_UNREACHABLE, TAINT_NO_EXECUTE}, {NULL, NULL}};
    node_taint(m, node, taint_none, both);
}

/* What the state of a node asks for, as the informer shows it. */
static void node_decide(struct node_monitor *m, struct monitored *e, const struct object *node)
{
    bool not_ready = taint_has(node, TAINT_NOT_READY, TAINT_NO_EXECUTE);
    bool unreachable = taint_has(node, TAINT_UNREACHABLE, TAINT_NO_EXECUTE);
    enum node_ready ready = node_health_ready(node);
    if (ready == NODE_READY || m->all_down) {
        list_remove(&e->waiting);
        if (not_ready || unreachable) {
            node_untaint(m, node);
        }
    } else if ((ready == NODE_NOT_READY && unreachable) || (ready == NODE_UNKNOWN && not_ready)) {
        node_taint_evict(m, node); /* swapped at once */
    } else if (ready != NODE_UNREPORTED && !not_ready && !unreachable && list_empty(&e->waiting) &&
               e->zone != NULL) {
        list_push_back(&e->zone->waiting, &e->waiting);
    }
}

static void node_evict(void *data);

/* Comes back when the first zone may evict again. */
static void node_evict_later(struct node_monitor *m)
{
    uint64_t now = controllers_now_ms(m->all);
    uint64_t wait = UINT64_MAX;
    LIST_FOREACH (it, &m->zones) {
        struct zone *z = LIST_ENTRY(it, struct zone, link);
        if (!list_empty(&z->waiting) && z->limiter.rate > 0) {
            uint64_t ms = z->limiter.next_ms > now ? z->limiter.next_ms - now : 0;
            wait = ms < wait ? ms : wait;
        }
    }
    /* Without a timer the next look evicts. */
    if (wait != UINT64_MAX && wait < (uint64_t)m->all->conf->node_monitor_period_ms) {
        struct kvp_timer_args t = {
            .size = sizeof t, .after_ms = wait, .fire = node_evict, .data = m};
        if (m->term.host->timer(m->term.ctx, &t, &m->evict_timer) != 0) {
            m->evict_timer = NULL;
        }
    }
}

static void node_evict_zone(struct node_monitor *m, struct zone *z)
{
    uint64_t now = controllers_now_ms(m->all);
    while (!list_empty(&z->waiting) && zone_limiter_take(&z->limiter, now)) {
        struct monitored *e = LIST_ENTRY(list_pop_front(&z->waiting), struct monitored, waiting);
        const struct object *node =
            informer_get(m->all->informers[WATCH_NODES], slice_of(e->name, e->name_len));
        if (node != NULL) {
            node_taint_evict(m, node);
        }
    }
}

static void node_evict(void *data)
{
    struct node_monitor *m = data;
    m->evict_timer = NULL;
    LIST_FOREACH (it, &m->zones) {
        node_evict_zone(m, LIST_ENTRY(it, struct zone, link));
    }
    node_evict_later(m);
}

/* ---- disruptions ---------------------------------------------------------------------------- */

static void node_reset_all(struct node_monitor *m)
{
    size_t bucket = 0;
    uint64_t now = controllers_now_ms(m->all);
    for (struct hash_node *n = hashmap_iter(&m->nodes, &bucket, NULL); n != NULL;
         n = hashmap_iter(&m->nodes, &bucket, n)) {
        node_health_reset(&((struct monitored *)n)->health, now);
    }
}

/* New states of the zones, from what was counted. Zones that have no nodes any more go. */
static void node_disruptions(struct node_monitor *m)
{
    uint64_t now = controllers_now_ms(m->all);
    bool all_down = !list_empty(&m->zones);
    for (struct list *it = m->zones.next, *next; it != &m->zones; it = next) {
        struct zone *z = LIST_ENTRY(it, struct zone, link);
        next = it->next;
        if (z->nodes == 0) {
            list_remove(&z->link);
            mem_free(z->name);
            mem_free(z);
            continue;
        }
        z->state = zone_state(z->ready, z->not_ready, &m->zone_conf);
        all_down = all_down && z->state == ZONE_FULL;
    }
    all_down = all_down && !list_empty(&m->zones);
    if (all_down != m->all_down) {
        KVP_LOG(m->term.host, m->term.ctx, KVP_WARN,
                all_down ? "all nodes are down: nothing is evicted" : "some node is ready again",
                kvp_f_int("nodes", (int64_t)m->nodes.len));
    }
    if (m->all_down && !all_down) {
        node_reset_all(m);
    }
    m->all_down = all_down;
    LIST_FOREACH (it, &m->zones) {
        struct zone *z = LIST_ENTRY(it, struct zone, link);
        double rate = all_down ? 0 : zone_rate(z->state, z->ready + z->not_ready, &m->zone_conf);
        zone_limiter_set(&z->limiter, rate, now);
    }
}

/* ---- the look ------------------------------------------------------------------------------- */

/* Writes that a silent node is Unknown. */
static void node_silence(struct node_monitor *m, const struct object *node)
{
    struct arena a;
    struct object o;
    bool changed = false;
    arena_init(&a, 0);
    int rc = object_copy(node, &a, &o);
    rc = rc == 0 ? node_health_silence(&o, controllers_wall_s(m->all), &changed) : rc;
    if (rc == 0 && changed) {
        struct slice name = object_name(node);
        client_update(m->term, &o, "status", NULL, NULL);
        if (node_health_ready(node) == NODE_READY) {
            recorder_normal(m->recorder, node, "NodeNotReady",
                            "Node %.*s status is now: NodeNotReady", (int)name.len,
                            (const char *)name.data);
        }
    }
    arena_close(&a);
}

static int node_look(void *data, const struct object *node)
{
    struct node_monitor *m = data;
    struct monitored *e = node_entry_find(m, object_name(node));
    e = e != NULL ? e : node_entry_new(m, node);
    if (e == NULL) {
        return 0; /* out of memory: at the next look */
    }
    struct zone *z = node_zone(m, node);
    if (z != e->zone) {
        list_remove(&e->waiting);
        e->zone = z;
    }
    const struct object *lease =
        informer_find(m->all->informers[WATCH_LEASES], slice_str("kube-node-lease"),
                      slice_of(e->name, e->name_len));
    int64_t renewed_us = lease == NULL ? 0 : object_int(lease, "spec.renewTime", 0);
    bool ready = node_health_ready(node) == NODE_READY;
    if (node_health_look(&e->health, node, renewed_us, controllers_now_ms(m->all), &m->limits)) {
        ready = false;
        node_silence(m, node);
    }
    e->look = m->looks;
    if (z != NULL) {
        z->nodes++;
    }
    if (z != NULL && object_get(node, LABEL_EXCLUDE) == NULL) {
        z->ready += ready;
        z->not_ready += !ready;
    }
    return 0;
}

static int node_look_decide(void *data, const struct object *node)
{
    struct node_monitor *m = data;
    struct monitored *e = node_entry_find(m, object_name(node));
    if (e != NULL) {
        node_decide(m, e, node);
    }
    return 0;
}

/* Nodes that went without a word. */
static void node_drop_unseen(struct node_monitor *m)
{
    size_t bucket = 0;
    struct hash_node *n = hashmap_iter(&m->nodes, &bucket, NULL);
    while (n != NULL) {
        struct hash_node *next = hashmap_iter(&m->nodes, &bucket, n);
        struct monitored *e = (struct monitored *)n;
        if (e->look != m->looks) {
            node_entry_free(m, e);
        }
        n = next;
    }
}

void node_monitor_look(struct node_monitor *m)
{
    struct informer *nodes = m->all->informers[WATCH_NODES];
    if (!informer_synced(nodes) || !informer_synced(m->all->informers[WATCH_LEASES])) {
        return;
    }
    LIST_FOREACH (it, &m->zones) {
        struct zone *z = LIST_ENTRY(it, struct zone, link);
        z->ready = z->not_ready = z->nodes = 0;
    }
    m->looks++;
    informer_each(nodes, node_look, m);
    node_drop_unseen(m);
    node_disruptions(m);
    informer_each(nodes, node_look_decide, m);
    if (m->evict_timer != NULL) {
        m->term.host->timer_cancel(m->evict_timer);
    }
    node_evict(m);
}
