/* root_ca.c - every active namespace has the ConfigMap kube-root-ca.crt, by which pods check whom
 * they talk to.
 *
 * The file they come from (ca_file.h) is read when the term begins and looked at again from time to
 * time, so new certificates need no restart. Where there is no such file nothing is published. */
#include "base/alloc.h"
#include "plugins/controllers/ca_file.h"
#include "plugins/controllers/controllers.h"
#include "plugins/controllers/handlers.h"

#define ROOT_CA_NAME        "kube-root-ca.crt"
#define ROOT_CA_KEY         "ca.crt"
#define ROOT_CA_DESCRIPTION "kubernetes.io/description"

static const char root_ca_about[] =
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal "
    "endpoints such as the internal service IP or kubernetes.default.svc. No other usage is "
    "guaranteed across distributions of Kubernetes clusters.";

struct root_ca {
    struct controllers *all;
    struct client term;
    struct works *works; /* keys: names of namespaces */
    struct handlers handlers;
    struct ca_file file;
};

static int root_ca_set_data(struct object *o, struct slice pem)
{
    object_remove(o, "data");
    int rc = object_set_text(o, "data[" ROOT_CA_KEY "]", pem);
    return rc != 0
               ? rc
               : object_set_str(o, "metadata.annotations[" ROOT_CA_DESCRIPTION "]", root_ca_about);
}

/* The object as it should be: the one there is, or a new one. */
static int root_ca_wanted(struct slice space, const struct object *have, struct slice pem,
                          struct arena *a, struct object *o)
{
    int rc;
    if (have != NULL) {
        rc = object_copy(have, a, o);
    } else {
        rc = object_new(o, schema_type(SCHEMA_CORE_V1_CONFIG_MAP), a);
        rc = rc == 0 ? object_set_str(o, "metadata.name", ROOT_CA_NAME) : rc;
        rc = rc == 0 ? object_set_text(o, "metadata.namespace", space) : rc;
    }
    return rc == 0 ? root_ca_set_data(o, pem) : rc;
}

static bool root_ca_is_right(const struct object *have, struct slice pem)
{
    return value_len(object_get(have, "data")) == 1 &&
           slice_eq(object_text(have, "data[" ROOT_CA_KEY "]"), pem) &&
           object_text(have, "metadata.annotations[" ROOT_CA_DESCRIPTION "]").len > 0;
}

static int64_t root_ca_reconcile(void *data, struct work *w, struct slice key)
{
    struct root_ca *s = data;
    const struct object *space = informer_get(s->all->informers[WATCH_NAMESPACES], key);
    const struct object *have =
        informer_find(s->all->informers[WATCH_CONFIG_MAPS], key, slice_str(ROOT_CA_NAME));
    struct slice pem = buf_slice(&s->file.pem);
    if (space == NULL || object_is_deleted(space) || pem.len == 0 ||
        (have != NULL && root_ca_is_right(have, pem))) {
        return KVP_DONE;
    }
    struct arena a;
    struct object o;
    arena_init(&a, 0);
    int rc = root_ca_wanted(key, have, pem, &a, &o);
    if (rc == 0) {
        struct client_request r = {.verb = have == NULL ? KVP_VERB_CREATE : KVP_VERB_UPDATE,
                                   .type = o.type,
                                   .space = key,
                                   .name = slice_str(ROOT_CA_NAME),
                                   .object = &o};
        rc = work_send(
            w, &r, WORK_EXISTS_OK | WORK_CONFLICT_OK | WORK_NOT_FOUND_OK | WORK_NS_TERMINATING_OK);
    }
    arena_close(&a);
    return rc == 0 ? KVP_DONE : KVP_RETRY;
}

/* ---- the file ------------------------------------------------------------------------------- */

static int root_ca_add_space(void *data, const struct object *o)
{
    struct root_ca *s = data;
    handlers_queue_object(&s->handlers, s->works, o);
    return 0;
}

static void root_ca_look(void *data)
{
    struct root_ca *s = data;
    if (ca_file_look(&s->file)) {
        informer_each(s->all->informers[WATCH_NAMESPACES], root_ca_add_space, s);
    }
}

/* ---- life ----------------------------------------------------------------------------------- */

static void root_ca_space_changed(void *data, const struct object *before, const struct object *now)
{
    struct root_ca *s = data;
    (void)before;
    if (now != NULL) {
        handlers_queue_object(&s->handlers, s->works, now);
    }
}

static void root_ca_map_changed(void *data, const struct object *before, const struct object *now)
{
    struct root_ca *s = data;
    const struct object *o = now != NULL ? now : before;
    if (slice_eq(object_name(o), slice_str(ROOT_CA_NAME))) {
        handlers_queue(&s->handlers, s->works, object_namespace(o), 0);
    }
}

static void root_ca_close(void *self)
{
    struct root_ca *s = self;
    handlers_off(&s->handlers);
    works_close(s->works);
    ca_file_close(&s->file);
    mem_free(s);
}

static int root_ca_begin(struct root_ca *s)
{
    struct controllers *all = s->all;
    struct works_args a = {
        .name = root_ca_controller.name,
        .parallel = 1,
        .reconcile = root_ca_reconcile,
        .data = s,
        .informers = {all->informers[WATCH_NAMESPACES], all->informers[WATCH_CONFIG_MAPS]}};
    struct kvp_timer_args timer = {.size = sizeof timer,
                                   .after_ms = CA_FILE_REREAD_MS,
                                   .repeat_ms = CA_FILE_REREAD_MS,
                                   .fire = root_ca_look,
                                   .data = s};
    int rc = ca_file_open(&s->file, all, s->term);
    if (rc != 0 || !ca_file_exists(&s->file)) {
        return rc;
    }
    rc = works_open(s->term, &a, &s->works);
    if (rc != 0) {
        return rc;
    }
    root_ca_look(s);
    rc = handlers_add(&s->handlers, all->informers[WATCH_NAMESPACES], root_ca_space_changed, s);
    rc = rc != 0 ? rc
                 : handlers_add(&s->handlers, all->informers[WATCH_CONFIG_MAPS],
                                root_ca_map_changed, s);
    return rc != 0 ? rc : s->term.host->timer(s->term.ctx, &timer, NULL);
}

static int root_ca_open(struct controllers *all, struct client term, void **self)
{
    struct root_ca *s = mem_zalloc(sizeof *s);
    if (s == NULL) {
        return KVP_NO_MEMORY;
    }
    s->all = all;
    s->term = term;
    s->handlers.term = term;
    int rc = root_ca_begin(s);
    if (rc != 0) {
        root_ca_close(s);
        return rc;
    }
    *self = s;
    return 0;
}

const struct controller root_ca_controller = {.name = "root-ca-certificate-publisher-controller",
                                              .open = root_ca_open,
                                              .close = root_ca_close};
