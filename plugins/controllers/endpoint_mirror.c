/* endpoint_mirror.c - Endpoints that users write for services without selector appear as
 * EndpointSlices too, so that whoever reads slices need not read both. */
#include "base/alloc.h"
#include "plugins/controllers/slice_mirror.h"
#include "plugins/controllers/slice_writer.h"

struct mirrors {
    struct controllers *all;
    struct slice_writer writer; /* its keys are those of Endpoints and of their services */
};

static int64_t mirror_reconcile(void *data, struct work *w, struct slice key)
{
    struct mirrors *s = data;
    const struct object *endpoints = informer_get(s->all->informers[WATCH_ENDPOINTS], key);
    const struct object *service = informer_get(s->all->informers[WATCH_SERVICES], key);
    int64_t later;
    if (!slice_writer_may(&s->writer, key, &later)) {
        return later;
    }
    int rc;
    if (slice_mirror_wanted(endpoints, service)) {
        struct slice_plan_args args = {0};
        slice_mirror_plan(endpoints, &args);
        rc = slice_writer_sync(&s->writer, w, key, &args);
    } else {
        slice_writer_forget(&s->writer, key);
        rc = slice_writer_clear(&s->writer, w, key);
    }
    return rc == 0 ? KVP_DONE : KVP_RETRY;
}

/* ---- changes -------------------------------------------------------------------------------- */

static int mirror_add(void *data, const struct object *o)
{
    struct mirrors *s = data;
    handlers_queue_object(&s->writer.handlers, s->writer.works, o);
    return 0;
}

static void mirror_changed(void *data, const struct object *before, const struct object *now)
{
    mirror_add(data, now != NULL ? now : before);
}

static void mirror_caught_up(void *data)
{
    struct mirrors *s = data;
    s->writer.caught_up = true;
    informer_each(s->all->informers[WATCH_ENDPOINTS], mirror_add, s);
    informer_each(s->all->informers[WATCH_SERVICES], mirror_add, s);
}

/* ---- life ----------------------------------------------------------------------------------- */

static void mirror_close(void *self)
{
    struct mirrors *s = self;
    slice_writer_close(&s->writer);
    mem_free(s);
}

static int mirror_open(struct controllers *all, struct client term, void **self)
{
    struct mirrors *s = mem_zalloc(sizeof *s);
    if (s == NULL) {
        return KVP_NO_MEMORY;
    }
    struct informer *services = all->informers[WATCH_SERVICES];
    struct informer *endpoints = all->informers[WATCH_ENDPOINTS];
    struct works_args a = {
        .name = endpoint_mirror_controller.name,
        .reconcile = mirror_reconcile,
        .data = s,
        .informers = {services, endpoints, all->informers[WATCH_ENDPOINT_SLICES]},
        .delay_min_ms = 1000};
    struct handlers *h = &s->writer.handlers;
    s->all = all;
    h->term = term;
    int rc = works_open(term, &a, &s->writer.works);
    rc = rc != 0 ? rc
                 : slice_writer_open(&s->writer, all, SLICE_MIRROR_MANAGER, mirror_caught_up, s);
    rc = rc != 0 ? rc : handlers_add(h, services, mirror_changed, s);
    rc = rc != 0 ? rc : handlers_add(h, endpoints, mirror_changed, s);
    if (rc != 0) {
        mirror_close(s);
        return rc;
    }
    *self = s;
    return 0;
}

const struct controller endpoint_mirror_controller = {
    .name = "endpointslice-mirroring-controller", .open = mirror_open, .close = mirror_close};
