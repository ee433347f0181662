/* binding.c - the decision is written by the pod's binding; see scheduler.h.
 *
 * The pod is assumed to be on its node from the decision on. Written: the assumption lasts until
 * the informer shows it. Refused: the pod is forgotten there and tried again with backoff. Unknown
 * (the answer got lost): the pod is read, and tells. At the end of a term all is forgotten; the
 * next leader decides by what is in the store, and a binding that came through is never made twice:
 * the API server refuses a second one. */
#include "plugins/scheduler/scheduler.h"

#include <stdio.h>

#include "base/json.h"

struct scheduler_binding {
    struct scheduler *s;
    struct slice key, uid, node; /* behind the struct */
    uint64_t added_ms;
};

static struct slice binding_keep(uint8_t **at, struct slice text)
{
    struct slice kept = slice_of(*at, text.len);
    memcpy(*at, text.data, text.len);
    *at += text.len;
    return kept;
}

static struct scheduler_binding *binding_make(struct scheduler *s, const struct sched_waiting *w,
                                              const struct sched_node *n)
{
    const struct sched_pod *p = w->pod;
    struct scheduler_binding *b = mem_alloc(sizeof *b + p->key.len + p->uid.len + n->name.len + 1);
    if (b != NULL) {
        uint8_t *at = (uint8_t *)(b + 1);
        *b = (struct scheduler_binding){.s = s, .added_ms = w->added_ms};
        b->key = binding_keep(&at, p->key);
        b->uid = p->uid.len == 0 ? slice_of(at, 0) : binding_keep(&at, p->uid);
        b->node = binding_keep(&at, n->name);
    }
    return b;
}

static void binding_body(const struct scheduler_binding *b, struct buf *out)
{
    struct slice space;
    struct slice name;
    struct json j;
    object_key_split(b->key, &space, &name);
    json_init(&j, out);
    json_object(&j);
    json_key(&j, "apiVersion");
    json_cstr(&j, "v1");
    json_key(&j, "kind");
    json_cstr(&j, "Binding");
    json_key(&j, "metadata");
    json_object(&j);
    json_key(&j, "namespace");
    json_str(&j, space);
    json_key(&j, "name");
    json_str(&j, name);
    json_key(&j, "uid");
    json_str(&j, b->uid);
    json_object_end(&j);
    json_key(&j, "target");
    json_object(&j);
    json_key(&j, "kind");
    json_cstr(&j, "Node");
    json_key(&j, "name");
    json_str(&j, b->node);
    json_object_end(&j);
    json_object_end(&j);
}

/* The pod meant, if it is still there. */
static struct sched_pod *binding_pod(const struct scheduler_binding *b)
{
    struct sched_pod *p = sched_cluster_pod(&b->s->cluster, b->key);
    return p != NULL && slice_eq(p->uid, b->uid) ? p : NULL;
}

static void binding_close(struct scheduler_binding *b)
{
    b->s->bindings--;
    scheduler_wake(b->s);
    mem_free(b);
}

static void binding_written(struct scheduler_binding *b, int64_t revision)
{
    struct scheduler *s = b->s;
    struct sched_pod *p = binding_pod(b);
    uint64_t now = scheduler_now_ms(s);
    scheduler_count(s, SCHED_METRIC_SCHEDULED, 1);
    s->host->metric_observe(s->ctx, s->metrics[SCHED_METRIC_WAIT],
                            (double)(now - b->added_ms) / 1000);
    if (p != NULL) {
        const struct object *o = scheduler_object(s, p);
        sched_cluster_bound(p, revision, now);
        sched_queue_remove(&s->queue, p->waiting);
        if (o != NULL) {
            recorder_normal(s->recorder, o, "Scheduled", "Successfully assigned %.*s to %.*s",
                            (int)b->key.len, (const char *)b->key.data, (int)b->node.len,
                            (const char *)b->node.data);
        }
    }
    binding_close(b);
}

/* The room it was to take is free again. */
static void binding_refused(struct scheduler_binding *b, struct slice message)
{
    struct scheduler *s = b->s;
    struct sched_pod *p = binding_pod(b);
    if (p != NULL && p->assumed) {
        sched_cluster_forget(&s->cluster, p);
        scheduler_event(s, SCHED_POD_GONE, NULL, p);
    }
    if (p != NULL && p->waiting != NULL) {
        char why[512];
        snprintf(why, sizeof why, "binding rejected: running Bind plugin \"DefaultBinder\": %.*s",
                 (int)(message.len > 400 ? 400 : message.len), (const char *)message.data);
        scheduler_fail(s, p->waiting, why);
    }
    binding_close(b);
}

/* Answer of the read after an unknown outcome. */
static void binding_read(void *data, const struct client_answer *a)
{
    struct scheduler_binding *b = data;
    struct object o;
    struct arena arena;
    struct errmsg e;
    if (a->outcome != KVP_OK) {
        if (a->reason == KVP_STOPPED) {
            mem_free(b);
        } else {
            binding_refused(b, a->message);
        }
        return;
    }
    arena_init(&arena, 0);
    bool there =
        a->ok &&
        object_decode(&o, schema_type(SCHEMA_CORE_V1_POD), &arena, a->body, NULL, &e) == 0 &&
        slice_eq(object_uid(&o), b->uid) && slice_eq(object_text(&o, "spec.nodeName"), b->node);
    arena_close(&arena);
    if (there) {
        binding_written(b, a->revision);
    } else {
        binding_refused(b, slice_str("the binding was not written"));
    }
}

static void binding_ask(struct scheduler_binding *b)
{
    struct client_request r = {.verb = KVP_VERB_GET,
                               .type = schema_type(SCHEMA_CORE_V1_POD),
                               .done = binding_read,
                               .data = b};
    object_key_split(b->key, &r.space, &r.name);
    if (client_send(b->s->term, &r) != 0) {
        binding_refused(b, slice_str("its outcome is not known"));
    }
}

static void binding_done(void *data, const struct client_answer *a)
{
    struct scheduler_binding *b = data;
    if (a->reason == KVP_STOPPED && a->outcome != KVP_OK) {
        mem_free(b); /* the term is over: stop forgets */
    } else if (a->ok) {
        binding_written(b, a->revision);
    } else if (client_certainly_not(a)) {
        binding_refused(b, a->message);
    } else {
        binding_ask(b);
    }
}

void scheduler_bind(struct scheduler *s, struct sched_waiting *w, struct sched_node *n)
{
    struct scheduler_binding *b = binding_make(s, w, n);
    struct client_request r = {.verb = KVP_VERB_BIND,
                               .type = schema_type(SCHEMA_CORE_V1_POD),
                               .sub = "binding",
                               .done = binding_done,
                               .data = b};
    struct buf body;
    buf_init(&body);
    if (b == NULL || sched_cluster_assume(&s->cluster, w->pod, n) != 0) {
        mem_free(b);
        scheduler_fail(s, w, "");
        return;
    }
    binding_body(b, &body);
    r.body = buf_slice(&body);
    object_key_split(b->key, &r.space, &r.name);
    if (body.failed || client_send(s->term, &r) != 0) {
        sched_cluster_forget(&s->cluster, w->pod);
        scheduler_fail(s, w, "");
        mem_free(b);
    } else {
        s->bindings++;
    }
    buf_close(&body);
}
