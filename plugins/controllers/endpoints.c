/* endpoints.c - Endpoints list exactly the pods that a service's traffic may go to.
 *
 * A service without selector has Endpoints of its user's: they are left alone. The Endpoints of a
 * service that is gone go too. */
#include "base/alloc.h"
#include "base/hashmap.h"
#include "plugins/controllers/conf.h"
#include "plugins/controllers/controllers.h"
#include "plugins/controllers/endpoints_subsets.h"
#include "plugins/controllers/handlers.h"
#include "plugins/controllers/service_gather.h"

struct endpoints {
    struct controllers *all;
    struct works *works; /* keys of services */
    struct handlers handlers;
    struct service_triggers triggers;
};

/* ---- reconcile ------------------------------------------------------------------------------ */

static int64_t endpoints_remove(struct endpoints *s, struct work *w, struct slice space,
                                struct slice name)
{
    if (informer_find(s->all->informers[WATCH_ENDPOINTS], space, name) == NULL) {
        return KVP_DONE;
    }
    struct client_request r = {.verb = KVP_VERB_DELETE,
                               .type = schema_type(SCHEMA_CORE_V1_ENDPOINTS),
                               .space = space,
                               .name = name};
    return work_send(w, &r, WORK_NOT_FOUND_OK) == 0 ? KVP_DONE : KVP_RETRY;
}

/* What differs apart from the trigger time, which alone is no reason to write. */
static bool endpoints_differ(const struct object *a, const struct object *b)
{
    const struct schema_type *meta = schema_type(SCHEMA_META_V1_OBJECT_META);
    static const char over[] = "metadata.annotations[endpoints.kubernetes.io/over-capacity]";
    return !value_equal_field(schema_find(a->type, slice_str("subsets")), object_get(a, "subsets"),
                              object_get(b, "subsets")) ||
           !value_equal_field(schema_find(meta, slice_str("labels")),
                              object_get(a, "metadata.labels"), object_get(b, "metadata.labels")) ||
           (object_get(a, over) == NULL) != (object_get(b, over) == NULL);
}

/* The Endpoints as they should be. have may be NULL. */
static int endpoints_wanted(struct object *o, const struct object *have,
                            const struct object *service, struct service_gather *g,
                            int64_t trigger_s, struct arena *a)
{
    bool truncated;
    int rc = have != NULL ? object_copy(have, a, o)
                          : object_new(o, schema_type(SCHEMA_CORE_V1_ENDPOINTS), a);
    if (rc == 0 && have == NULL) {
        rc = object_set_text(o, "metadata.name", object_name(service));
        rc = rc == 0 ? object_set_text(o, "metadata.namespace", object_namespace(service)) : rc;
    }
    rc = rc == 0 ? endpoints_set_subsets(o, service, g->pods, g->count, &truncated) : rc;
    return rc == 0 ? endpoints_set_metadata(o, service, truncated, trigger_s) : rc;
}

static int64_t endpoints_write(struct endpoints *s, struct work *w, const struct object *service,
                               struct service_gather *g, int64_t trigger_s)
{
    struct slice space = object_namespace(service);
    struct slice name = object_name(service);
    const struct object *have = informer_find(s->all->informers[WATCH_ENDPOINTS], space, name);
    struct arena a;
    struct object o;
    arena_init(&a, 0);
    int rc = endpoints_wanted(&o, have, service, g, trigger_s, &a);
    if (rc == 0 && (have == NULL || endpoints_differ(have, &o))) {
        struct client_request r = {.verb = have == NULL ? KVP_VERB_CREATE : KVP_VERB_UPDATE,
                                   .type = o.type,
                                   .space = space,
                                   .name = name,
                                   .object = &o};
        rc = work_send(
            w, &r, WORK_EXISTS_OK | WORK_CONFLICT_OK | WORK_NOT_FOUND_OK | WORK_NS_TERMINATING_OK);
    }
    arena_close(&a);
    return rc == 0 ? KVP_DONE : KVP_RETRY;
}

static int64_t endpoints_reconcile(void *data, struct work *w, struct slice key)
{
    struct endpoints *s = data;
    struct slice space;
    struct slice name;
    object_key_split(key, &space, &name);
    const struct object *service = informer_get(s->all->informers[WATCH_SERVICES], key);
    if (service == NULL) {
        service_triggers_forget(&s->triggers, key);
        return endpoints_remove(s, w, space, name);
    }
    if (!service_is_selecting(service) || object_is_deleted(service)) {
        return KVP_DONE;
    }
    struct service_gather g = {0};
    int64_t trigger_s = 0;
    int rc = service_gather(&g, s->all->informers[WATCH_PODS], service);
    rc = rc == 0 ? service_triggers_time(&s->triggers, service, &g, &trigger_s) : rc;
    int64_t result = rc == 0 ? endpoints_write(s, w, service, &g, trigger_s) : KVP_RETRY;
    service_gather_close(&g);
    return result;
}

/* ---- changes -------------------------------------------------------------------------------- */

static void endpoints_service_changed(void *data, const struct object *before,
                                      const struct object *now)
{
    struct endpoints *s = data;
    handlers_queue_object(&s->handlers, s->works, now != NULL ? now : before);
}

static void endpoints_pod_changed(void *data, const struct object *before, const struct object *now)
{
    struct endpoints *s = data;
    service_pod_changed(s->all->informers[WATCH_SERVICES], &s->triggers, &s->handlers, s->works,
                        (uint64_t)s->all->conf->endpoints_updates_batch_period_ms, before, now);
}

static bool endpoints_is_ours(const struct object *o)
{
    return slice_eq(object_text(o, "metadata.labels[endpoints.kubernetes.io/managed-by]"),
                    slice_str("endpoint-controller"));
}

/* Somebody else changed or removed ours, or some are left from before this term. */
static void endpoints_changed(void *data, const struct object *before, const struct object *now)
{
    struct endpoints *s = data;
    const struct object *o = now != NULL ? now : before;
    if (endpoints_is_ours(o) || (before != NULL && endpoints_is_ours(before))) {
        handlers_queue_object(&s->handlers, s->works, o);
    }
}

/* ---- life ----------------------------------------------------------------------------------- */

static void endpoints_close(void *self)
{
    struct endpoints *s = self;
    handlers_off(&s->handlers);
    works_close(s->works);
    service_triggers_close(&s->triggers);
    mem_free(s);
}

static int endpoints_open(struct controllers *all, struct client term, void **self)
{
    struct endpoints *s = mem_zalloc(sizeof *s);
    if (s == NULL) {
        return KVP_NO_MEMORY;
    }
    struct works_args a = {.name = endpoints_controller.name,
                           .parallel = (uint32_t)all->conf->concurrent_endpoint_syncs,
                           .reconcile = endpoints_reconcile,
                           .data = s,
                           .informers = {all->informers[WATCH_SERVICES], all->informers[WATCH_PODS],
                                         all->informers[WATCH_ENDPOINTS]}};
    s->all = all;
    s->handlers.term = term;
    service_triggers_init(&s->triggers);
    int rc = works_open(term, &a, &s->works);
    rc = rc != 0 ? rc
                 : handlers_add(&s->handlers, all->informers[WATCH_SERVICES],
                                endpoints_service_changed, s);
    rc = rc != 0 ? rc
                 : handlers_add(&s->handlers, all->informers[WATCH_PODS], endpoints_pod_changed, s);
    rc = rc != 0
             ? rc
             : handlers_add(&s->handlers, all->informers[WATCH_ENDPOINTS], endpoints_changed, s);
    if (rc != 0) {
        endpoints_close(s);
        return rc;
    }
    *self = s;
    return 0;
}

const struct controller endpoints_controller = {
    .name = "endpoints-controller", .open = endpoints_open, .close = endpoints_close};
