/* endpoint_slice.c - EndpointSlices list the pods of services, in pieces. The slices of a service
 * that is gone are collected as its dependents. */
#include "base/alloc.h"
#include "plugins/controllers/conf.h"
#include "plugins/controllers/service_gather.h"
#include "plugins/controllers/slice_pods.h"
#include "plugins/controllers/slice_writer.h"

struct endpoint_slices {
    struct controllers *all;
    struct slice_writer writer;
    struct service_triggers triggers;
};

static struct slice slice_node_zone(void *data, struct slice node)
{
    struct endpoint_slices *s = data;
    const struct object *o = informer_get(s->all->informers[WATCH_NODES], node);
    return o == NULL ? slice_of(NULL, 0)
                     : object_text(o, "metadata.labels[topology.kubernetes.io/zone]");
}

static int slice_sync(struct endpoint_slices *s, struct work *w, struct slice key,
                      const struct object *service)
{
    struct service_gather pods = {0};
    struct slice_pods src = {.service = service, .zone = slice_node_zone, .data = s};
    struct slice_plan_args args = {.endpoints_max = (size_t)s->all->conf->max_endpoints_per_slice};
    int rc = service_gather(&pods, s->all->informers[WATCH_PODS], service);
    rc = rc == 0 ? service_triggers_time(&s->triggers, service, &pods, &args.trigger_s) : rc;
    src.pods = pods.pods;
    src.count = pods.count;
    slice_pods_plan(&src, &args);
    rc = rc == 0 ? slice_writer_sync(&s->writer, w, key, &args) : rc;
    service_gather_close(&pods);
    return rc;
}

static int64_t slice_reconcile(void *data, struct work *w, struct slice key)
{
    struct endpoint_slices *s = data;
    const struct object *service = informer_get(s->all->informers[WATCH_SERVICES], key);
    int64_t later;
    if (service == NULL) {
        service_triggers_forget(&s->triggers, key);
        slice_writer_forget(&s->writer, key);
        return KVP_DONE;
    }
    if (!service_is_selecting(service) || object_is_deleted(service)) {
        return KVP_DONE;
    }
    if (!slice_writer_may(&s->writer, key, &later)) {
        return later;
    }
    return slice_sync(s, w, key, service) == 0 ? KVP_DONE : KVP_RETRY;
}

/* ---- changes -------------------------------------------------------------------------------- */

static int slice_add_service(void *data, const struct object *service)
{
    struct endpoint_slices *s = data;
    handlers_queue_object(&s->writer.handlers, s->writer.works, service);
    return 0;
}

static void slice_service_changed(void *data, const struct object *before, const struct object *now)
{
    slice_add_service(data, now != NULL ? now : before);
}

static void slice_pod_changed(void *data, const struct object *before, const struct object *now)
{
    struct endpoint_slices *s = data;
    service_pod_changed(s->all->informers[WATCH_SERVICES], &s->triggers, &s->writer.handlers,
                        s->writer.works,
                        (uint64_t)s->all->conf->endpointslice_updates_batch_period_ms, before, now);
}

static void slice_caught_up(void *data)
{
    struct endpoint_slices *s = data;
    s->writer.caught_up = true;
    informer_each(s->all->informers[WATCH_SERVICES], slice_add_service, s);
}

/* ---- life ----------------------------------------------------------------------------------- */

static void slice_close(void *self)
{
    struct endpoint_slices *s = self;
    slice_writer_close(&s->writer);
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
    struct handlers *h = &s->writer.handlers;
    s->all = all;
    h->term = term;
    service_triggers_init(&s->triggers);
    int rc = works_open(term, &a, &s->writer.works);
    rc = rc != 0 ? rc : slice_writer_open(&s->writer, all, SLICE_PODS_MANAGER, slice_caught_up, s);
    rc = rc != 0 ? rc : handlers_add(h, all->informers[WATCH_SERVICES], slice_service_changed, s);
    rc = rc != 0 ? rc : handlers_add(h, all->informers[WATCH_PODS], slice_pod_changed, s);
    if (rc != 0) {
        slice_close(s);
        return rc;
    }
    *self = s;
    return 0;
}

const struct controller endpoint_slice_controller = {
    .name = "endpointslice-controller", .open = slice_open, .close = slice_close};
