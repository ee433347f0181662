/* service_account.c - every active namespace has its account "default", without which no pod can be
 * made there. */
#include "base/alloc.h"
#include "plugins/controllers/controllers.h"
#include "plugins/controllers/handlers.h"

#define ACCOUNT_NAME "default"

struct accounts {
    struct controllers *all;
    struct works *works; /* keys: names of namespaces */
    struct handlers handlers;
};

static int64_t account_reconcile(void *data, struct work *w, struct slice key)
{
    struct accounts *s = data;
    const struct object *space = informer_get(s->all->informers[WATCH_NAMESPACES], key);
    if (space == NULL || object_is_deleted(space) ||
        informer_find(s->all->informers[WATCH_SERVICE_ACCOUNTS], key, slice_str(ACCOUNT_NAME)) !=
            NULL) {
        return KVP_DONE;
    }
    struct arena a;
    struct object o;
    arena_init(&a, 0);
    int rc = object_new(&o, schema_type(SCHEMA_CORE_V1_SERVICE_ACCOUNT), &a);
    rc = rc == 0 ? object_set_str(&o, "metadata.name", ACCOUNT_NAME) : rc;
    rc = rc == 0 ? object_set_text(&o, "metadata.namespace", key) : rc;
    if (rc == 0) {
        struct client_request r = {.verb = KVP_VERB_CREATE,
                                   .type = o.type,
                                   .space = key,
                                   .name = slice_str(ACCOUNT_NAME),
                                   .object = &o};
        rc = work_send(w, &r, WORK_EXISTS_OK | WORK_NS_TERMINATING_OK | WORK_NOT_FOUND_OK);
    }
    arena_close(&a);
    return rc == 0 ? KVP_DONE : KVP_RETRY;
}

static void account_space_changed(void *data, const struct object *before, const struct object *now)
{
    struct accounts *s = data;
    (void)before;
    if (now != NULL) {
        handlers_queue_object(&s->handlers, s->works, now);
    }
}

static void account_changed(void *data, const struct object *before, const struct object *now)
{
    struct accounts *s = data;
    if (now == NULL && slice_eq(object_name(before), slice_str(ACCOUNT_NAME))) {
        handlers_queue(&s->handlers, s->works, object_namespace(before), 0);
    }
}

static void account_close(void *self)
{
    struct accounts *s = self;
    handlers_off(&s->handlers);
    works_close(s->works);
    mem_free(s);
}

static int account_open(struct controllers *all, struct client term, void **self)
{
    struct accounts *s = mem_zalloc(sizeof *s);
    if (s == NULL) {
        return KVP_NO_MEMORY;
    }
    s->all = all;
    s->handlers.term = term;
    struct works_args a = {
        .name = service_account_controller.name,
        .parallel = 1,
        .reconcile = account_reconcile,
        .data = s,
        .informers = {all->informers[WATCH_NAMESPACES], all->informers[WATCH_SERVICE_ACCOUNTS]}};
    int rc = works_open(term, &a, &s->works);
    rc = rc != 0 ? rc
                 : handlers_add(&s->handlers, all->informers[WATCH_NAMESPACES],
                                account_space_changed, s);
    rc = rc != 0 ? rc
                 : handlers_add(&s->handlers, all->informers[WATCH_SERVICE_ACCOUNTS],
                                account_changed, s);
    if (rc != 0) {
        account_close(s);
        return rc;
    }
    *self = s;
    return 0;
}

const struct controller service_account_controller = {
    .name = "serviceaccount-controller", .open = account_open, .close = account_close};
