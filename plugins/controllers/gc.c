/* gc.c - the garbage collector: objects whose owners are gone go, too.
 *
 * All kinds are watched into a graph of who owns whom (gc_graph.h); what the graph calls out of
 * order is looked at one object at a time, asking the API server anew before anything is deleted
 * (gc_item.c). Events are left out, as in Kubernetes: there are many, and they expire. */
#include "base/alloc.h"
#include "plugins/controllers/conf.h"
#include "plugins/controllers/gc_impl.h"

/* Kinds of which the plugin has an informer that shows all of them. */
static const struct {
    enum schema_type_id type;
    enum watched watch;
} gc_shared[] = {
    {SCHEMA_CORE_V1_POD, WATCH_PODS},
    {SCHEMA_CORE_V1_NODE, WATCH_NODES},
    {SCHEMA_CORE_V1_NAMESPACE, WATCH_NAMESPACES},
    {SCHEMA_APPS_V1_REPLICA_SET, WATCH_REPLICASETS},
    {SCHEMA_CORE_V1_REPLICATION_CONTROLLER, WATCH_REPLICATION_CONTROLLERS},
    {SCHEMA_APPS_V1_DEPLOYMENT, WATCH_DEPLOYMENTS},
    {SCHEMA_CORE_V1_SERVICE, WATCH_SERVICES},
    {SCHEMA_CORE_V1_ENDPOINTS, WATCH_ENDPOINTS},
    {SCHEMA_DISCOVERY_V1_ENDPOINT_SLICE, WATCH_ENDPOINT_SLICES},
    {SCHEMA_CORE_V1_SERVICE_ACCOUNT, WATCH_SERVICE_ACCOUNTS},
};

bool gc_is_namespaced(const struct schema_type *type)
{
    const struct schema_resource *r = schema_resource_of(type);
    return r != NULL && (r->rules & SCHEMA_RULE_NAMESPACED) != 0;
}

const struct schema_type *gc_type_of(const struct value *reference)
{
    struct slice version = reference_text(reference, "apiVersion");
    struct slice group = {0};
    for (size_t i = 0; i < version.len; i++) {
        if (version.data[i] == '/') {
            group = slice_of(version.data, i);
            version = slice_of(version.data + i + 1, version.len - i - 1);
            break;
        }
    }
    const struct schema_type *t =
        schema_find_kind(group, version, reference_text(reference, "kind"));
    const struct schema_resource *r = t == NULL ? NULL : schema_resource_of(t);
    return r != NULL && (r->verbs & SCHEMA_VERB_GET) != 0 ? t : NULL;
}

/* ---- the graph's questions ------------------------------------------------------------------ */

/* A gap in the graph or a node not looked at would be for ever; a new term reads everything again.
 */
static void gc_give_up(struct gc *gc)
{
    gc->client.host->fail(gc->client.ctx, "out of memory for the graph of owners");
}

static void gc_look(void *data, const struct gc_node *n)
{
    struct gc *gc = data;
    int rc = gc->ready ? works_add(gc->works, gc_node_uid(n)) : 0;
    if (rc != 0 && rc != KVP_STOPPED) {
        gc_give_up(gc);
    }
}

static const struct object *gc_find(void *data, const struct value *reference, struct slice space)
{
    struct gc *gc = data;
    const struct schema_type *t = gc_type_of(reference);
    for (size_t i = 0; t != NULL && i < gc->kind_count; i++) {
        if (gc->kinds[i].type == t) {
            return informer_find(gc->kinds[i].informer,
                                 gc_is_namespaced(t) ? space : slice_of("", 0),
                                 reference_text(reference, "name"));
        }
    }
    return NULL;
}

struct gc_sought {
    struct slice uid;
    const struct object *found;
};

static int gc_has_uid(void *data, const struct object *o)
{
    struct gc_sought *s = data;
    s->found = slice_eq(object_uid(o), s->uid) ? o : NULL;
    return s->found != NULL;
}

static const struct object *gc_seek(void *data, const struct value *reference)
{
    struct gc *gc = data;
    struct gc_sought s = {.uid = reference_text(reference, "uid")};
    const struct schema_type *t = gc_type_of(reference);
    for (size_t i = 0; t != NULL && i < gc->kind_count; i++) {
        if (gc->kinds[i].type == t) {
            (void)informer_each(gc->kinds[i].informer, gc_has_uid, &s);
        }
    }
    return s.found;
}

/* ---- events --------------------------------------------------------------------------------- */

static void gc_changed(void *data, const struct object *before, const struct object *now)
{
    struct gc_kind *k = data;
    struct gc *gc = k->gc;
    if (before != NULL && (now == NULL || !slice_eq(object_uid(before), object_uid(now)))) {
        gc_graph_remove(&gc->graph, object_uid(before));
    }
    if (now != NULL && gc_graph_put(&gc->graph, now) != 0) {
        gc_give_up(gc);
    }
}

static void gc_synced(void *data)
{
    struct gc_kind *k = data;
    struct gc *gc = k->gc;
    k->synced = true;
    for (size_t i = 0; i < gc->kind_count; i++) {
        if (!gc->kinds[i].synced) {
            return;
        }
    }
    gc->ready = true;
    gc_graph_look_at_all(&gc->graph);
}

/* ---- life ----------------------------------------------------------------------------------- */

static bool gc_wants(const struct schema_resource *r, const struct schema_type *t)
{
    uint32_t needed = SCHEMA_VERB_LIST | SCHEMA_VERB_WATCH | SCHEMA_VERB_DELETE;
    return (r->verbs & needed) == needed && t != schema_type(SCHEMA_CORE_V1_EVENT) &&
           t != schema_type(SCHEMA_EVENTS_V1_EVENT);
}

static int gc_watch(struct gc *gc, const struct schema_type *t)
{
    struct gc_kind *k = &gc->kinds[gc->kind_count];
    if (gc->kind_count == GC_KINDS_MAX) {
        return KVP_INTERNAL;
    }
    *k = (struct gc_kind){.type = t, .gc = gc};
    for (size_t i = 0; i < sizeof gc_shared / sizeof gc_shared[0]; i++) {
        if (schema_type(gc_shared[i].type) == t) {
            k->informer = gc->all->informers[gc_shared[i].watch];
        }
    }
    if (k->informer == NULL) {
        struct informer_args a = {.type = t, .metadata = true};
        int rc = informer_open(gc->client, &a, &k->informer);
        if (rc != 0) {
            return rc;
        }
        k->own = true;
    }
    gc->kind_count++;
    return 0;
}

static void gc_close(void *self)
{
    struct gc *gc = self;
    for (size_t i = 0; i < gc->kind_count; i++) {
        informer_off(gc->kinds[i].handler);
        if (gc->kinds[i].own) {
            informer_close(gc->kinds[i].informer);
        }
    }
    works_close(gc->works);
    while (!list_empty(&gc->runs)) {
        gc_run_free_first(gc);
    }
    recorder_close(gc->recorder);
    gc_graph_close(&gc->graph);
    mem_free(gc);
}

static int gc_start(struct gc *gc)
{
    struct works_args a = {.name = garbage_collector.name,
                           .parallel = (uint32_t)gc->all->conf->concurrent_gc_syncs,
                           .reconcile = gc_reconcile,
                           .data = gc};
    gc->recorder = recorder_open(gc->client, garbage_collector.name);
    int rc = gc->recorder == NULL ? KVP_NO_MEMORY : works_open(gc->client, &a, &gc->works);
    for (size_t i = 0; i < schema_resource_count && rc == 0; i++) {
        const struct schema_resource *r = schema_resources + i;
        const struct schema_type *t = schema_at(r, r->type);
        rc = t != NULL && gc_wants(r, t) ? gc_watch(gc, t) : 0;
    }
    for (size_t i = 0; i < gc->kind_count && rc == 0; i++) {
        struct gc_kind *k = &gc->kinds[i];
        rc = informer_on(k->informer, gc_changed, gc_synced, k, &k->handler);
    }
    return rc;
}

static int gc_open(struct controllers *all, struct client term, void **self)
{
    struct gc *gc = mem_zalloc(sizeof *gc);
    if (gc == NULL) {
        return KVP_NO_MEMORY;
    }
    gc->all = all;
    gc->client = term;
    gc->graph = (struct gc_graph){.look = gc_look, .find = gc_find, .seek = gc_seek, .data = gc};
    gc_graph_init(&gc->graph);
    list_init(&gc->runs);
    int rc = gc_start(gc);
    if (rc != 0) {
        gc_close(gc);
        return rc;
    }
    *self = gc;
    return 0;
}

const struct controller garbage_collector = {
    .name = "garbage-collector-controller", .open = gc_open, .close = gc_close};
