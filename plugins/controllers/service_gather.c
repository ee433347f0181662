/* service_gather.c - gathering pods and remembering their changes. */
#include "plugins/controllers/service_gather.h"

#include "base/alloc.h"

/* Changes of a service with more pods are collected: a millisecond for each, at most so many. */
#define SERVICE_MANY_PODS    100u
#define SERVICE_DELAY_MS_MAX 1000u

static int service_gather_one(void *data, const struct object *pod)
{
    struct service_gather *g = data;
    if (!service_selects(g->service, pod)) {
        return 0;
    }
    if (g->count == g->room) {
        size_t room = g->room == 0 ? 32 : g->room * 2;
        const struct object **pods = mem_realloc(g->pods, room * sizeof *pods);
        if (pods == NULL) {
            return KVP_NO_MEMORY;
        }
        g->pods = pods;
        g->room = room;
    }
    g->pods[g->count++] = pod;
    return 0;
}

int service_gather(struct service_gather *g, struct informer *pods, const struct object *service)
{
    g->service = service;
    return informer_each_in(pods, object_namespace(service), service_gather_one, g);
}

void service_gather_close(struct service_gather *g)
{
    mem_free(g->pods);
    *g = (struct service_gather){0};
}

/* ---- triggers ------------------------------------------------------------------------------- */

struct service_trigger_entry {
    struct hash_node node;
    struct service_trigger trigger;
    size_t pods; /* when it was last looked at */
    size_t len;
    char key[];
};

void service_triggers_init(struct service_triggers *t)
{
    hashmap_init(&t->map);
}

void service_triggers_close(struct service_triggers *t)
{
    size_t bucket = 0;
    struct hash_node *n = hashmap_iter(&t->map, &bucket, NULL);
    while (n != NULL) {
        struct hash_node *next = hashmap_iter(&t->map, &bucket, n);
        mem_free(n);
        n = next;
    }
    hashmap_close(&t->map);
}

static struct service_trigger_entry *service_triggers_find(const struct service_triggers *t,
                                                           struct slice key)
{
    uint64_t hash = hash_bytes(key);
    for (struct hash_node *n = hashmap_first(&t->map, hash); n != NULL; n = hashmap_next(n, hash)) {
        struct service_trigger_entry *e = (struct service_trigger_entry *)n;
        if (slice_eq(slice_of(e->key, e->len), key)) {
            return e;
        }
    }
    return NULL;
}

void service_triggers_forget(struct service_triggers *t, struct slice key)
{
    struct service_trigger_entry *e = service_triggers_find(t, key);
    if (e != NULL) {
        hashmap_remove(&t->map, &e->node);
        mem_free(e);
    }
}

static struct service_trigger_entry *service_triggers_make(struct service_triggers *t,
                                                           struct slice key)
{
    struct service_trigger_entry *e = service_triggers_find(t, key);
    if (e != NULL) {
        return e;
    }
    e = mem_zalloc(sizeof *e + key.len);
    if (e == NULL) {
        return NULL;
    }
    e->len = key.len;
    memcpy(e->key, key.data, key.len);
    if (!hashmap_insert(&t->map, &e->node, hash_bytes(key))) {
        mem_free(e);
        return NULL;
    }
    return e;
}

int service_triggers_time(struct service_triggers *t, const struct object *service,
                          const struct service_gather *g, int64_t *out)
{
    struct buf key;
    struct service_trigger_scan scan = {0};
    buf_init(&key);
    struct service_trigger_entry *e =
        object_key(service, &key) == 0 ? service_triggers_make(t, buf_slice(&key)) : NULL;
    buf_close(&key);
    if (e == NULL) {
        return KVP_NO_MEMORY;
    }
    for (size_t i = 0; i < g->count; i++) {
        service_trigger_pod(&e->trigger, &scan, g->pods[i]);
    }
    *out = service_trigger_time(&e->trigger, &scan, service);
    e->pods = g->count;
    return 0;
}

/* ---- changes -------------------------------------------------------------------------------- */

static uint64_t service_delay_ms(const struct service_triggers *t, struct slice key)
{
    const struct service_trigger_entry *e = service_triggers_find(t, key);
    if (e == NULL || e->pods <= SERVICE_MANY_PODS) {
        return 0;
    }
    return e->pods < SERVICE_DELAY_MS_MAX ? e->pods : SERVICE_DELAY_MS_MAX;
}

struct service_change {
    const struct service_triggers *triggers;
    const struct handlers *handlers;
    struct works *q;
    uint64_t delay_ms;
    const struct object *before, *now;
};

static int service_add_if_selected(void *data, const struct object *service)
{
    struct service_change *c = data;
    if (!service_is_selecting(service) ||
        !((c->before != NULL && service_selects(service, c->before)) ||
          (c->now != NULL && service_selects(service, c->now)))) {
        return 0;
    }
    struct buf key;
    buf_init(&key);
    if (object_key(service, &key) == 0) {
        uint64_t own = service_delay_ms(c->triggers, buf_slice(&key));
        handlers_queue(c->handlers, c->q, buf_slice(&key), own > c->delay_ms ? own : c->delay_ms);
    } else {
        handlers_check(c->handlers, KVP_NO_MEMORY);
    }
    buf_close(&key);
    return 0;
}

void service_pod_changed(struct informer *services, const struct service_triggers *t,
                         const struct handlers *h, struct works *q, uint64_t delay_ms,
                         const struct object *before, const struct object *now)
{
    struct service_change c = {t, h, q, delay_ms, before, now};
    if (before != NULL && now != NULL && !service_pod_differs(before, now)) {
        return;
    }
    informer_each_in(services, object_namespace(now != NULL ? now : before),
                     service_add_if_selected, &c);
}
