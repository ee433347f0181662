/* namespace.c - a namespace that is being deleted is emptied, then it goes.
 *
 * One walk: the namespace is read anew; its pods are deleted, and nothing else before they are
 * gone; then kind by kind everything else is deleted and counted; the status tells what remains;
 * when nothing does, the namespace's own finalizer is taken off and the server removes it. A walk
 * is a chain of requests, each sent by the answer to the one before. */
#include "base/alloc.h"
#include "plugins/controllers/conf.h"
#include "plugins/controllers/controllers.h"
#include "plugins/controllers/handlers.h"
#include "plugins/controllers/namespace_report.h"

#define NAMESPACE_GRACE_MS  5000u /* last-minute creations elsewhere have been seen by then */
#define NAMESPACE_FINALIZER "kubernetes"

struct namespaces {
    struct controllers *all;
    struct works *works; /* keys: names */
    struct handlers handlers;
};

struct emptying { /* one walk */
    struct namespaces *s;
    struct work *work;
    struct arena arena;
    struct object space; /* as read */
    size_t kind;         /* number in schema_resources; SIZE_MAX = pods */
    struct namespace_report report;
};

static void emptying_next(struct emptying *e);

static void emptying_end(struct emptying *e, int64_t result)
{
    struct work *w = e->work;
    arena_close(&e->arena);
    mem_free(e);
    work_release(w, result);
}

/* Something is still there: when to look again. */
static int64_t emptying_wait_ms(const struct emptying *e)
{
    int64_t ms = (e->report.wait_s / 2 + 1) * 1000;
    int64_t most = e->s->all->conf->namespace_sync_period_ms;
    return ms < most ? ms : most;
}

static void emptying_failed(struct emptying *e, const char *what, const struct client_answer *a)
{
    struct buf text;
    buf_init(&text);
    buf_printf(&text, "%s: %.*s", what, (int)a->message.len, (const char *)a->message.data);
    namespace_report_error(&e->report, buf_slice(&text));
    buf_close(&text);
}

/* Sends the next request of the walk. */
static void emptying_send(struct emptying *e, struct client_request *r)
{
    r->data = e;
    if (work_send(e->work, r, WORK_NOT_FOUND_OK) != 0) {
        emptying_end(e, KVP_RETRY);
    }
}

/* ---- the end of a walk ---------------------------------------------------------------------- */

static void emptying_finalized(void *data, const struct client_answer *a)
{
    struct emptying *e = data;
    emptying_end(e, a->ok || a->status == 404 ? KVP_DONE : KVP_RETRY);
}

static void emptying_finalize(struct emptying *e)
{
    struct value *list = object_get(&e->space, "spec.finalizers");
    for (size_t i = value_len(list); i-- > 0;) {
        if (value_is_text(&list->items[i], NAMESPACE_FINALIZER)) {
            value_remove_item(list, i);
        }
    }
    struct client_request r = {.verb = KVP_VERB_UPDATE,
                               .type = e->space.type,
                               .sub = "finalize",
                               .name = object_name(&e->space),
                               .object = &e->space,
                               .done = emptying_finalized};
    emptying_send(e, &r);
}

static void emptying_decide(struct emptying *e)
{
    if (namespace_report_is_empty(&e->report)) {
        emptying_finalize(e);
    } else {
        emptying_end(e, e->report.error_count > 0 ? KVP_RETRY : emptying_wait_ms(e));
    }
}

static int emptying_read(struct emptying *e, struct slice body)
{
    struct errmsg unused;
    return object_decode(&e->space, schema_type(SCHEMA_CORE_V1_NAMESPACE), &e->arena, body, NULL,
                         &unused);
}

static void emptying_told(void *data, const struct client_answer *a)
{
    struct emptying *e = data;
    if (a->ok && emptying_read(e, a->body) == 0) {
        emptying_decide(e);
    } else {
        emptying_end(e, a->status == 404 ? KVP_DONE : KVP_RETRY);
    }
}

/* All kinds have been seen to, or pods are still there. */
static void emptying_tell(struct emptying *e)
{
    bool changed;
    int rc =
        namespace_report_conditions(&e->report, &e->space, controllers_wall_s(e->s->all), &changed);
    if (rc != 0) {
        emptying_end(e, KVP_RETRY);
    } else if (!changed) {
        emptying_decide(e);
    } else {
        struct client_request r = {.verb = KVP_VERB_UPDATE,
                                   .type = e->space.type,
                                   .sub = "status",
                                   .name = object_name(&e->space),
                                   .object = &e->space,
                                   .done = emptying_told};
        emptying_send(e, &r);
    }
}

/* ---- kind by kind --------------------------------------------------------------------------- */

static const struct schema_type *emptying_kind(const struct emptying *e)
{
    const struct schema_resource *res = e->kind == SIZE_MAX
                                            ? schema_resource_of(schema_type(SCHEMA_CORE_V1_POD))
                                            : &schema_resources[e->kind];
    return schema_at(res, res->type);
}

static void emptying_listed(void *data, const struct client_answer *a)
{
    struct emptying *e = data;
    const struct schema_type *kind = emptying_kind(e);
    struct arena arena;
    struct object list;
    struct errmsg why;
    arena_init(&arena, 0);
    if (!a->ok) {
        emptying_failed(e, "list", a);
    } else if (object_decode(&list, schema_type(SCHEMA_META_V1_PARTIAL_OBJECT_METADATA_LIST),
                             &arena, a->body, NULL, &why) != 0) {
        namespace_report_error(&e->report, slice_str("a list could not be read"));
    } else {
        namespace_report_add(&e->report, kind, &list, object_name(&e->space),
                             object_int(&e->space, "metadata.deletionTimestamp", 0),
                             controllers_wall_s(e->s->all));
    }
    arena_close(&arena);
    emptying_next(e);
}

static void emptying_list(struct emptying *e)
{
    struct client_request r = {.verb = KVP_VERB_LIST,
                               .type = emptying_kind(e),
                               .space = object_name(&e->space),
                               .query = slice_str("limit=100"),
                               .metadata = true,
                               .done = emptying_listed};
    emptying_send(e, &r);
}

static void emptying_deleted(void *data, const struct client_answer *a)
{
    struct emptying *e = data;
    if (!a->ok && a->status != 404) {
        emptying_failed(e, "delete", a);
    }
    emptying_list(e);
}

static void emptying_delete(struct emptying *e)
{
    struct client_request r = {.verb = KVP_VERB_DELETE,
                               .type = emptying_kind(e),
                               .space = object_name(&e->space),
                               .collection = true,
                               .body = slice_str("{\"kind\":\"DeleteOptions\",\"apiVersion\":"
                                                 "\"v1\",\"propagationPolicy\":\"Background\"}"),
                               .done = emptying_deleted};
    emptying_send(e, &r);
}

/* Kinds whose objects lie in namespaces and are stored. */
static bool emptying_concerns(const struct schema_resource *res)
{
    const uint32_t verbs = SCHEMA_VERB_LIST | SCHEMA_VERB_DELETECOLLECTION;
    return (res->rules & SCHEMA_RULE_NAMESPACED) != 0 && (res->verbs & verbs) == verbs &&
           schema_at(res, res->type) != schema_type(SCHEMA_CORE_V1_POD);
}

/* From one kind to the next; the first one is pods. */
static void emptying_next(struct emptying *e)
{
    if (e->kind == SIZE_MAX && !namespace_report_is_empty(&e->report)) {
        emptying_tell(e);
        return;
    }
    do {
        e->kind++;
    } while (e->kind < schema_resource_count && !emptying_concerns(&schema_resources[e->kind]));
    if (e->kind == schema_resource_count) {
        emptying_tell(e);
    } else {
        emptying_delete(e);
    }
}

/* ---- the beginning -------------------------------------------------------------------------- */

static void emptying_begin(void *data, const struct client_answer *a)
{
    struct emptying *e = data;
    if (!a->ok || emptying_read(e, a->body) != 0) {
        emptying_end(e, a->status == 404 ? KVP_DONE : KVP_RETRY);
    } else if (!object_is_deleted(&e->space) ||
               value_len(object_get(&e->space, "spec.finalizers")) == 0) {
        emptying_end(e, KVP_DONE);
    } else {
        emptying_delete(e);
    }
}

static int64_t namespace_reconcile(void *data, struct work *w, struct slice key)
{
    struct namespaces *s = data;
    const struct object *space = informer_get(s->all->informers[WATCH_NAMESPACES], key);
    if (space == NULL || !object_is_deleted(space)) {
        return KVP_DONE;
    }
    int64_t early = object_int(space, "metadata.deletionTimestamp", 0) +
                    (int64_t)(NAMESPACE_GRACE_MS / 1000) - controllers_wall_s(s->all);
    if (early > 0) {
        /* The clock of who deleted it may be ahead of ours: no longer than the grace itself. */
        return (early < (int64_t)(NAMESPACE_GRACE_MS / 1000) ? early * 1000 : NAMESPACE_GRACE_MS);
    }
    struct emptying *e = mem_zalloc(sizeof *e);
    if (e == NULL) {
        return KVP_RETRY;
    }
    e->s = s;
    e->work = w;
    e->kind = SIZE_MAX;
    arena_init(&e->arena, 0);
    work_hold(w);
    struct client_request r = {
        .verb = KVP_VERB_GET, .type = space->type, .name = key, .done = emptying_begin};
    emptying_send(e, &r);
    return KVP_DONE;
}

/* ---- changes -------------------------------------------------------------------------------- */

static void namespace_changed(void *data, const struct object *before, const struct object *now)
{
    struct namespaces *s = data;
    if (now != NULL && object_is_deleted(now) && (before == NULL || !object_is_deleted(before))) {
        handlers_queue_object(&s->handlers, s->works, now);
    }
}

/* The last pods of an ending namespace are gone: it need not wait out their grace. */
static void namespace_pod_changed(void *data, const struct object *before, const struct object *now)
{
    struct namespaces *s = data;
    if (now != NULL) {
        return;
    }
    struct slice name = object_namespace(before);
    const struct object *space = informer_get(s->all->informers[WATCH_NAMESPACES], name);
    if (space != NULL && object_is_deleted(space)) {
        handlers_queue(&s->handlers, s->works, name, 0);
    }
}

/* ---- life ----------------------------------------------------------------------------------- */

static void namespace_close(void *self)
{
    struct namespaces *s = self;
    handlers_off(&s->handlers);
    works_close(s->works);
    mem_free(s);
}

static int namespace_open(struct controllers *all, struct client term, void **self)
{
    struct namespaces *s = mem_zalloc(sizeof *s);
    if (s == NULL) {
        return KVP_NO_MEMORY;
    }
    struct works_args a = {.name = namespace_controller.name,
                           .parallel = (uint32_t)all->conf->concurrent_namespace_syncs,
                           .reconcile = namespace_reconcile,
                           .data = s,
                           .informers = {all->informers[WATCH_NAMESPACES]}};
    s->all = all;
    s->handlers.term = term;
    int rc = works_open(term, &a, &s->works);
    rc = rc != 0
             ? rc
             : handlers_add(&s->handlers, all->informers[WATCH_NAMESPACES], namespace_changed, s);
    rc = rc != 0 ? rc
                 : handlers_add(&s->handlers, all->informers[WATCH_PODS], namespace_pod_changed, s);
    if (rc != 0) {
        namespace_close(s);
        return rc;
    }
    *self = s;
    return 0;
}

const struct controller namespace_controller = {
    .name = "namespace-controller", .open = namespace_open, .close = namespace_close};
