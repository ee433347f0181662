/* endpoint_slice.c - EndpointSlices list the pods of services, in pieces.
 *
 * Names of new slices are the server's, so creating one twice would make two: after creating, a
 * service is left alone until the informer shows what was created, and a new leader waits until it
 * shows what the former one created. The slices of a service that is
 * gone are collected as its dependents. */
#include <stdio.h>

#include "base/alloc.h"
#include "plugins/controllers/catchup.h"
#include "plugins/controllers/conf.h"
#include "plugins/controllers/controllers.h"
#include "plugins/controllers/handlers.h"
#include "plugins/controllers/service_gather.h"
#include "plugins/controllers/slice_plan.h"

#define SLICE_CHANGE_DELAY_MS 1000u  /* after somebody's change of a slice, several are one */
#define SLICE_UNSEEN_MS       30000u /* looks again at a service whose slices do not show up */

struct endpoint_slices {
    struct controllers *all;
    struct works *works; /* keys of services */
    struct expects *expects;
    struct catchup *catchup;
    bool caught_up;
    struct handlers handlers;
    struct service_triggers triggers;
};

/* Slices of a service, gathered from the informer. */
struct slice_gather {
    struct slice service;
    const struct object **items;
    size_t count, room;
};

static bool slice_is_ours(const struct object *o)
{
    return slice_eq(object_text(o, "metadata.labels[" SLICE_LABEL_MANAGER "]"),
                    slice_str(SLICE_MANAGER));
}

static struct slice slice_service(const struct object *o)
{
    return object_text(o, "metadata.labels[" SLICE_LABEL_SERVICE "]");
}

static int slice_gather_one(void *data, const struct object *o)
{
    struct slice_gather *g = data;
    if (!slice_is_ours(o) || !slice_eq(slice_service(o), g->service)) {
        return 0;
    }
    if (g->count == g->room) {
        size_t room = g->room == 0 ? 8 : g->room * 2;
        const struct object **items = mem_realloc(g->items, room * sizeof *items);
        if (items == NULL) {
            return KVP_NO_MEMORY;
        }
        g->items = items;
        g->room = room;
    }
    g->items[g->count++] = o;
    return 0;
}

static struct slice slice_node_zone(void *data, struct slice node)
{
    struct endpoint_slices *s = data;
    const struct object *o = informer_get(s->all->informers[WATCH_NODES], node);
    return o == NULL ? slice_of(NULL, 0)
                     : object_text(o, "metadata.labels[topology.kubernetes.io/zone]");
}

/* ---- writing -------------------------------------------------------------------------------- */

struct slice_created { /* a create under way */
    struct endpoint_slices *s;
    size_t len;
    char key[];
};

static void slice_create_done(void *data, const struct client_answer *a)
{
    struct slice_created *c = data;
    if (!a->ok) {
        expects_created(c->s->expects, slice_of(c->key, c->len));
    }
    mem_free(c);
}

static int slice_create(struct endpoint_slices *s, struct work *w, struct slice key,
                        struct client_request *r)
{
    struct slice_created *c = mem_zalloc(sizeof *c + key.len);
    if (c == NULL) {
        return KVP_NO_MEMORY;
    }
    c->s = s;
    c->len = key.len;
    memcpy(c->key, key.data, key.len);
    r->done = slice_create_done;
    r->data = c;
    int rc = work_send(w, r, WORK_NS_TERMINATING_OK | WORK_NOT_FOUND_OK);
    if (rc != 0) {
        mem_free(c);
    }
    return rc;
}

static int slice_act(struct endpoint_slices *s, struct work *w, struct slice key,
                     const struct slice_action *act)
{
    struct client_request r = {.type = schema_type(SCHEMA_DISCOVERY_V1_ENDPOINT_SLICE)};
    const struct object *o = act->have != NULL ? act->have : &act->o;
    r.space = object_namespace(o);
    r.name = object_name(o);
    switch (act->what) {
    case SLICE_KEEP:
        return 0;
    case SLICE_CREATE:
        r.verb = KVP_VERB_CREATE;
        r.object = &act->o;
        return slice_create(s, w, key, &r);
    case SLICE_UPDATE:
        r.verb = KVP_VERB_UPDATE;
        r.object = &act->o;
        return work_send(w, &r, WORK_NOT_FOUND_OK | WORK_CONFLICT_OK);
    case SLICE_DELETE:
        r.verb = KVP_VERB_DELETE;
        return work_send(w, &r, WORK_NOT_FOUND_OK);
    }
    return KVP_INVALID;
}

static int slice_carry_out(struct endpoint_slices *s, struct work *w, struct slice key,
                           const struct slice_plan *plan)
{
    int rc = plan->creates == 0 ? 0 : expects_creations(s->expects, key, plan->creates);
    for (size_t i = 0; i < plan->count && rc == 0; i++) {
        rc = slice_act(s, w, key, &plan->items[i]);
    }
    if (rc != 0) {
        expects_forget(s->expects, key); /* not all were sent: how many is not known any more */
    }
    return rc;
}

static int slice_sync(struct endpoint_slices *s, struct work *w, struct slice key,
                      const struct object *service)
{
    struct service_gather pods = {0};
    struct slice_gather slices = {.service = object_name(service)};
    struct slice_plan_args args = {.service = service,
                                   .endpoints_max = (size_t)s->all->conf->max_endpoints_per_slice,
                                   .zone = slice_node_zone,
                                   .data = s};
    struct slice_plan plan;
    struct arena a;
    arena_init(&a, 0);
    int rc = service_gather(&pods, s->all->informers[WATCH_PODS], service);
    rc = rc == 0 ? informer_each_in(s->all->informers[WATCH_ENDPOINT_SLICES],
                                    object_namespace(service), slice_gather_one, &slices)
                 : rc;
    rc = rc == 0 ? service_triggers_time(&s->triggers, service, &pods, &args.trigger_s) : rc;
    args.pods = pods.pods;
    args.pod_count = pods.count;
    args.slices = slices.items;
    args.slice_count = slices.count;
    rc = rc == 0 ? slice_plan(&args, &a, &plan) : rc;
    rc = rc == 0 ? slice_carry_out(s, w, key, &plan) : rc;
    arena_close(&a);
    mem_free(slices.items);
    service_gather_close(&pods);
    return rc;
}

static int64_t slice_reconcile(void *data, struct work *w, struct slice key)
{
    struct endpoint_slices *s = data;
    const struct object *service = informer_get(s->all->informers[WATCH_SERVICES], key);
    if (service == NULL) {
        service_triggers_forget(&s->triggers, key);
        expects_forget(s->expects, key);
        return KVP_DONE;
    }
    if (!s->caught_up || !service_is_selecting(service) || object_is_deleted(service)) {
        return KVP_DONE;
    }
    if (!expects_satisfied(s->expects, key)) {
        return SLICE_UNSEEN_MS;
    }
    return slice_sync(s, w, key, service) == 0 ? KVP_DONE : KVP_RETRY;
}

/* ---- changes -------------------------------------------------------------------------------- */

static void slice_service_changed(void *data, const struct object *before, const struct object *now)
{
    struct endpoint_slices *s = data;
    handlers_queue_object(&s->handlers, s->works, now != NULL ? now : before);
}

static void slice_pod_changed(void *data, const struct object *before, const struct object *now)
{
    struct endpoint_slices *s = data;
    service_pod_changed(s->all->informers[WATCH_SERVICES], &s->handlers, s->works,
                        (uint64_t)s->all->conf->endpointslice_updates_batch_period_ms, before, now);
}

static void slice_changed(void *data, const struct object *before, const struct object *now)
{
    struct endpoint_slices *s = data;
    const struct object *o = now != NULL ? now : before;
    struct slice space = object_namespace(o);
    struct slice name = slice_service(o);
    if (!slice_is_ours(o) || name.len == 0) {
        return;
    }
    struct buf key;
    buf_init(&key);
    buf_append_slice(&key, space);
    buf_append_byte(&key, '/');
    buf_append_slice(&key, name);
    if (key.failed) {
        handlers_check(&s->handlers, KVP_NO_MEMORY);
    } else if (before == NULL) {
        bool waited = !expects_satisfied(s->expects, buf_slice(&key));
        expects_created(s->expects, buf_slice(&key));
        if (waited && expects_satisfied(s->expects, buf_slice(&key))) {
            handlers_queue(&s->handlers, s->works, buf_slice(&key), 0);
        }
    }
    if (!key.failed) {
        handlers_queue(&s->handlers, s->works, buf_slice(&key), SLICE_CHANGE_DELAY_MS);
    }
    buf_close(&key);
}

static int slice_add_service(void *data, const struct object *service)
{
    struct endpoint_slices *s = data;
    handlers_queue_object(&s->handlers, s->works, service);
    return 0;
}

static void slice_caught_up(void *data)
{
    struct endpoint_slices *s = data;
    s->caught_up = true;
    informer_each(s->all->informers[WATCH_SERVICES], slice_add_service, s);
}

/* ---- life ----------------------------------------------------------------------------------- */

static void slice_close(void *self)
{
    struct endpoint_slices *s = self;
    handlers_off(&s->handlers);
    works_close(s->works);
    catchup_close(s->catchup);
    expects_close(s->expects);
    service_triggers_close(&s->triggers);
    mem_free(s);
}

static int slice_open(struct controllers *all, struct client term, void **self)
{
    struct endpoint_slices *s = mem_zalloc(sizeof *s);
    if (s == NULL) {
        return KVP_NO_MEMORY;
    }
    struct works_args a = {.name = endpoint_slice_controller.name,
                           .parallel = (uint32_t)all->conf->concurrent_service_endpoint_syncs,
                           .reconcile = slice_reconcile,
                           .data = s,
                           .informers = {all->informers[WATCH_SERVICES], all->informers[WATCH_PODS],
                                         all->informers[WATCH_NODES],
                                         all->informers[WATCH_ENDPOINT_SLICES]},
                           .delay_min_ms = 1000};
    s->all = all;
    s->handlers.term = term;
    service_triggers_init(&s->triggers);
    s->expects = expects_open(term);
    int rc = s->expects == NULL ? KVP_NO_MEMORY : works_open(term, &a, &s->works);
    rc = rc != 0
             ? rc
             : handlers_add(&s->handlers, all->informers[WATCH_SERVICES], slice_service_changed, s);
    rc =
        rc != 0 ? rc : handlers_add(&s->handlers, all->informers[WATCH_PODS], slice_pod_changed, s);
    rc = rc != 0
             ? rc
             : handlers_add(&s->handlers, all->informers[WATCH_ENDPOINT_SLICES], slice_changed, s);
    rc = rc != 0 ? rc
                 : catchup_open(term, all->informers[WATCH_ENDPOINT_SLICES],
                                schema_type(SCHEMA_DISCOVERY_V1_ENDPOINT_SLICE), slice_caught_up, s,
                                &s->catchup);
    if (rc != 0) {
        slice_close(s);
        return rc;
    }
    *self = s;
    return 0;
}

const struct controller endpoint_slice_controller = {
    .name = "endpointslice-controller", .open = slice_open, .close = slice_close};
