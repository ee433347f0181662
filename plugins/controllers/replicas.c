/* replicas.c - the life of the mechanism: which events bring which owners to be worked on. */
#include "plugins/controllers/replicas.h"

#include "base/alloc.h"
#include "plugins/controllers/replicas_impl.h"

int replicas_selector(const struct object *owner, struct arena *a, struct label_selector *out)
{
    struct errmsg e;
    const struct value *selector = object_get(owner, "spec.selector");
    return owner->type == schema_type(SCHEMA_CORE_V1_REPLICATION_CONTROLLER)
               ? label_selector_from_map(selector, a, out)
               : label_selector_from(selector, a, out, &e);
}

/* ---- events of owners ----------------------------------------------------------------------- */

static void replicas_forget(struct replicas *c, const struct object *owner)
{
    struct buf key;
    buf_init(&key);
    if (object_key(owner, &key) == 0) {
        expects_forget(c->expects, buf_slice(&key));
    } else {
        handlers_check(&c->handlers, KVP_NO_MEMORY);
    }
    buf_close(&key);
}

static void replicas_owner_changed(void *data, const struct object *before,
                                   const struct object *now)
{
    struct replicas *c = data;
    bool other = before != NULL && (now == NULL || !slice_eq(object_uid(before), object_uid(now)));
    if (other) {
        replicas_forget(c, before);
    }
    handlers_queue_object(&c->handlers, c->works, now != NULL ? now : before);
}

/* ---- events of pods ------------------------------------------------------------------------- */

/* The owner that a pod names, when it is of our kind and still the same one. */
static const struct object *replicas_owner_of(struct replicas *c, const struct object *pod)
{
    const struct value *ref = object_controller(pod);
    const char *kind = schema_type_name(schema_type(c->kind->type));
    if (ref == NULL || !slice_eq(reference_text(ref, "kind"), slice_str(kind))) {
        return NULL;
    }
    const struct object *owner =
        informer_find(c->owners, object_namespace(pod), reference_text(ref, "name"));
    return owner != NULL && slice_eq(object_uid(owner), reference_text(ref, "uid")) ? owner : NULL;
}

struct orphaned {
    struct replicas *c;
    const struct object *pod;
};

static int replicas_add_if_matching(void *data, const struct object *owner)
{
    struct orphaned *o = data;
    struct label_selector s;
    struct arena a;
    arena_init(&a, 0);
    int rc = replicas_selector(owner, &a, &s);
    if (rc == ERR_NOMEM) {
        handlers_check(&o->c->handlers, KVP_NO_MEMORY);
    } else if (rc == 0 && label_selector_matches(&s, object_get(o->pod, "metadata.labels"))) {
        handlers_queue_object(&o->c->handlers, o->c->works, owner);
    }
    arena_close(&a);
    return 0;
}

/* All owners that might adopt it. */
static void replicas_orphan(struct replicas *c, const struct object *pod)
{
    struct orphaned o = {c, pod};
    if (object_get(pod, "metadata.labels") != NULL) {
        informer_each_in(c->owners, object_namespace(pod), replicas_add_if_matching, &o);
    }
}

static void replicas_observe(struct replicas *c, const struct object *owner,
                             const struct object *pod, bool deleted)
{
    struct buf key;
    buf_init(&key);
    if (object_key(owner, &key) != 0) {
        handlers_check(&c->handlers, KVP_NO_MEMORY);
    } else {
        if (deleted) {
            expects_deleted(c->expects, buf_slice(&key), object_uid(pod));
        } else {
            expects_created(c->expects, buf_slice(&key));
        }
        handlers_queue(&c->handlers, c->works, buf_slice(&key), 0);
    }
    buf_close(&key);
}

static void replicas_pod_gone(struct replicas *c, const struct object *pod)
{
    const struct object *owner = replicas_owner_of(c, pod);
    if (owner != NULL) {
        replicas_observe(c, owner, pod, true);
    }
}

static void replicas_pod_added(struct replicas *c, const struct object *pod)
{
    if (object_is_deleted(pod)) {
        replicas_pod_gone(c, pod);
    } else if (object_controller(pod) == NULL) {
        replicas_orphan(c, pod);
    } else {
        const struct object *owner = replicas_owner_of(c, pod);
        if (owner != NULL) {
            replicas_observe(c, owner, pod, false);
        }
    }
}

static bool replicas_same_labels(const struct object *a, const struct object *b)
{
    const struct value *x = object_get(a, "metadata.labels");
    const struct value *y = object_get(b, "metadata.labels");
    const struct schema_type *t = schema_type(SCHEMA_META_V1_OBJECT_META);
    return value_equal_field(schema_find(t, slice_str("labels")), x, y);
}

static void replicas_pod_updated(struct replicas *c, const struct object *before,
                                 const struct object *now)
{
    const struct value *was = object_controller(before);
    const struct value *is = object_controller(now);
    bool moved = !slice_eq(was == NULL ? slice_of("", 0) : reference_text(was, "uid"),
                           is == NULL ? slice_of("", 0) : reference_text(is, "uid"));
    bool relabeled = !replicas_same_labels(before, now);
    if (object_is_deleted(now)) {
        /* It counts as gone from now on; nobody waits for its last moment. */
        replicas_pod_gone(c, now);
        if (moved || relabeled) {
            replicas_pod_gone(c, before);
        }
        return;
    }
    const struct object *old_owner = moved ? replicas_owner_of(c, before) : NULL;
    if (old_owner != NULL) {
        handlers_queue_object(&c->handlers, c->works, old_owner);
    }
    if (is == NULL) {
        if (moved || relabeled) {
            replicas_orphan(c, now);
        }
        return;
    }
    const struct object *owner = replicas_owner_of(c, now);
    if (owner != NULL) {
        handlers_queue_object(&c->handlers, c->works, owner);
    }
}

static void replicas_pod_changed(void *data, const struct object *before, const struct object *now)
{
    struct replicas *c = data;
    if (now == NULL) {
        replicas_pod_gone(c, before);
    } else if (before == NULL) {
        replicas_pod_added(c, now);
    } else if (!slice_eq(object_uid(before), object_uid(now))) {
        replicas_pod_gone(c, before);
        replicas_pod_added(c, now);
    } else {
        replicas_pod_updated(c, before, now);
    }
}

/* ---- life ----------------------------------------------------------------------------------- */

static int replicas_add(void *data, const struct object *owner)
{
    struct replicas *c = data;
    handlers_queue_object(&c->handlers, c->works, owner);
    return 0;
}

static void replicas_caught_up(void *data)
{
    struct replicas *c = data;
    c->caught_up = true;
    informer_each(c->owners, replicas_add, c);
}

void replicas_close(void *self)
{
    struct replicas *c = self;
    handlers_off(&c->handlers);
    works_close(c->works);
    catchup_close(c->catchup);
    while (!list_empty(&c->syncs)) {
        replica_sync_free(LIST_ENTRY(c->syncs.next, struct replica_sync, link));
    }
    expects_close(c->expects);
    recorder_close(c->recorder);
    mem_free(c);
}

int replicas_open(struct controllers *all, struct client term, const struct replicas_kind *kind,
                  int64_t parallel, void **self)
{
    struct replicas *c = mem_zalloc(sizeof *c);
    if (c == NULL) {
        return KVP_NO_MEMORY;
    }
    c->all = all;
    c->kind = kind;
    c->handlers.term = term;
    c->owners = all->informers[kind->watch];
    c->pods = all->informers[WATCH_PODS];
    list_init(&c->syncs);
    replica_fields_init(&c->fields);
    c->expects = expects_open(term);
    c->recorder = recorder_open(term, kind->controller);
    struct works_args a = {
        .name = kind->controller,
        .parallel = (uint32_t)parallel,
        .reconcile = replica_reconcile,
        .data = c,
        .informers = {c->owners, c->pods, all->informers[WATCH_REPLICASETS]},
    };
    int rc =
        c->expects == NULL || c->recorder == NULL ? KVP_NO_MEMORY : works_open(term, &a, &c->works);
    rc = rc != 0 ? rc : handlers_add(&c->handlers, c->owners, replicas_owner_changed, c);
    rc = rc != 0 ? rc : handlers_add(&c->handlers, c->pods, replicas_pod_changed, c);
    rc = rc != 0 ? rc
                 : catchup_open(term, c->pods, schema_type(SCHEMA_CORE_V1_POD),
                                &all->catchups[WATCH_PODS], replicas_caught_up, c, &c->catchup);
    if (rc != 0) {
        replicas_close(c);
        return rc;
    }
    *self = c;
    return 0;
}
