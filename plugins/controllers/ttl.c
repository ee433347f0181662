/* ttl.c - how long a node's kubelet may keep Secrets and ConfigMaps without asking: the larger the
 * cluster, the longer. Written as an annotation on each node. */
#include <stdio.h>

#include "base/alloc.h"
#include "plugins/controllers/controllers.h"
#include "plugins/controllers/handlers.h"
#include "plugins/controllers/ttl.h"

#define TTL_ANNOTATION "node.alpha.kubernetes.io/ttl"

struct ttl {
    struct controllers *all;
    struct works *works; /* keys of nodes */
    struct handlers handlers;
    size_t step; /* of the cluster's size */
};

/* A step is left below `min` or above `max` nodes: they overlap, so that one node more or less does
 * not write to all of them again and again. */
static const struct {
    size_t min, max;
    unsigned seconds;
} ttl_steps[] = {
    {0, 100, 0}, {90, 500, 15}, {450, 1000, 30}, {900, 2000, 60}, {1800, SIZE_MAX, 300}};

size_t ttl_step(size_t step, size_t nodes)
{
    while (nodes > ttl_steps[step].max) {
        step++;
    }
    while (nodes < ttl_steps[step].min) {
        step--;
    }
    return step;
}

unsigned ttl_seconds(size_t step)
{
    return ttl_steps[step].seconds;
}

static int64_t ttl_reconcile(void *data, struct work *w, struct slice key)
{
    struct ttl *t = data;
    const struct object *node = informer_get(t->all->informers[WATCH_NODES], key);
    char text[16];
    snprintf(text, sizeof text, "%u", ttl_seconds(t->step));
    if (node == NULL ||
        slice_eq(object_text(node, "metadata.annotations[" TTL_ANNOTATION "]"), slice_str(text))) {
        return KVP_DONE;
    }
    char body[128];
    snprintf(body, sizeof body, "{\"metadata\":{\"annotations\":{\"" TTL_ANNOTATION "\":\"%s\"}}}",
             text);
    struct client_request r = {.verb = KVP_VERB_PATCH,
                               .type = node->type,
                               .name = key,
                               .patch = CLIENT_PATCH_MERGE,
                               .body = slice_str(body)};
    return work_send(w, &r, WORK_NOT_FOUND_OK) == 0 ? KVP_DONE : KVP_RETRY;
}

static int ttl_add(void *data, const struct object *node)
{
    struct ttl *t = data;
    handlers_queue_object(&t->handlers, t->works, node);
    return 0;
}

static void ttl_changed(void *data, const struct object *before, const struct object *now)
{
    struct ttl *t = data;
    struct informer *nodes = t->all->informers[WATCH_NODES];
    size_t step = ttl_step(t->step, informer_len(nodes));
    if (step != t->step) {
        t->step = step;
        informer_each(nodes, ttl_add, t);
    } else if (now != NULL) {
        ttl_add(t, now);
    }
    (void)before;
}

static void ttl_close(void *self)
{
    struct ttl *t = self;
    handlers_off(&t->handlers);
    works_close(t->works);
    mem_free(t);
}

static int ttl_open(struct controllers *all, struct client term, void **self)
{
    struct ttl *t = mem_zalloc(sizeof *t);
    if (t == NULL) {
        return KVP_NO_MEMORY;
    }
    struct works_args a = {.name = ttl_controller.name,
                           .reconcile = ttl_reconcile,
                           .data = t,
                           .informers = {all->informers[WATCH_NODES]}};
    t->all = all;
    t->handlers.term = term;
    int rc = works_open(term, &a, &t->works);
    rc = rc != 0 ? rc : handlers_add(&t->handlers, all->informers[WATCH_NODES], ttl_changed, t);
    if (rc != 0) {
        ttl_close(t);
        return rc;
    }
    *self = t;
    return 0;
}

const struct controller ttl_controller = {
    .name = "ttl-controller", .open = ttl_open, .close = ttl_close};
