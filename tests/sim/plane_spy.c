/* plane_spy.c - stands between the host and each plugin of the control plane: every object request
 * is answered exactly once, never inside the call, and before its context ends; start and stop
 * alternate; nothing is left in the end. */
#include <stdio.h>

#include "base/alloc.h"
#include "plugins/host/host_impl.h"
#include "tests/sim/plane.h"
#include "tests/sim/plugins.h"
#include "tests/sim/world.h"

#define PLANE_ENTRY(name) __attribute__((weak)) const struct kvp_plugin *plane_entry_##name(void)
PLANE_ENTRY(apiserver);
PLANE_ENTRY(controllers);
PLANE_ENTRY(scheduler);
PLANE_ENTRY(hollow_node);

struct plane_spy {
    struct list link; /* plugins.plane */
    struct plugins *plugins;
    const struct kvp_plugin *real;
    void *self;
    struct kvp_host table;
    const struct kvp_host *host;
    struct kvp_ctx *root;
    struct list asked; /* struct plane_asked */
    bool started;
};

struct plane_asked {
    struct list link;
    struct plane_spy *spy;
    struct kvp_object *object;
    bool is_term, is_watch, inside;
    uint32_t verb;
    uint64_t since_ms;
    char resource[32];
    void (*done)(void *data, const struct kvp_result *r, const struct kvp_object_answer *a);
    void (*event)(void *data, struct kvp_bytes type, struct kvp_bytes object, int64_t revision);
    void *data;
};

static void fail(const struct plane_spy *s, const char *what)
{
    history_fail(&s->plugins->member->world->history, "member %u: plugin %s: %s",
                 s->plugins->member->number, s->real->name, what);
}

static struct plane_spy *spy_of(const struct kvp_ctx *ctx)
{
    struct plugins *p = spies_turning();
    LIST_FOREACH (link, &p->plane) {
        struct plane_spy *s = LIST_ENTRY(link, struct plane_spy, link);
        if (s->root->instance == ctx->instance) {
            return s;
        }
    }
    return NULL;
}

/* ---- requests ------------------------------------------------------------------------------ */

static void asked_free(struct plane_asked *x)
{
    list_remove(&x->link);
    mem_free(x);
}

static void asked_done(void *data, const struct kvp_result *r, const struct kvp_object_answer *a)
{
    struct plane_asked *x = data;
    if (x->inside) {
        fail(x->spy, "was answered inside its call");
    }
    void (*done)(void *, const struct kvp_result *, const struct kvp_object_answer *) = x->done;
    void *user = x->data;
    asked_free(x); /* a second answer would be seen by AddressSanitizer */
    done(user, r, a);
}

static void asked_event(void *data, struct kvp_bytes type, struct kvp_bytes object,
                        int64_t revision)
{
    struct plane_asked *x = data;
    x->event(x->data, type, object, revision);
}

static int spy_object(struct kvp_ctx *ctx, const struct kvp_object_args *a, struct kvp_object **out)
{
    struct plane_spy *s = spy_of(ctx);
    struct plane_asked *x = mem_xzalloc(sizeof(*x));
    struct kvp_object_args own = *a;
    *x = (struct plane_asked){.spy = s,
                              .is_term = ctx != s->root,
                              .is_watch = a->request.verb == KVP_VERB_WATCH,
                              .inside = true,
                              .verb = a->request.verb,
                              .since_ms = s->plugins->member->world->now_ms,
                              .done = a->done,
                              .event = a->event,
                              .data = a->data};
    snprintf(x->resource, sizeof(x->resource), "%.*s", (int)a->request.resource.len,
             (const char *)a->request.resource.data);
    list_push_back(&s->asked, &x->link);
    own.done = asked_done;
    own.event = a->event != NULL ? asked_event : NULL;
    own.data = x;
    int reason = s->host->object(ctx, &own, &x->object);
    x->inside = false;
    if (reason != 0) {
        asked_free(x);
    } else if (out != NULL) {
        *out = x->object;
    }
    return reason;
}

static void spy_object_cancel(struct kvp_object *o)
{
    struct plugins *p = spies_turning();
    LIST_FOREACH (link, &p->plane) {
        struct plane_spy *s = LIST_ENTRY(link, struct plane_spy, link);
        LIST_FOREACH (at, &s->asked) {
            struct plane_asked *x = LIST_ENTRY(at, struct plane_asked, link);
            if (x->object == o) {
                s->host->object_cancel(o);
                asked_free(x);
                return;
            }
        }
    }
    history_fail(&p->member->world->history, "member %u: a request was canceled that is over",
                 p->member->number);
}

static void asked_check(struct plane_spy *s, bool all)
{
    LIST_FOREACH (at, &s->asked) {
        if (all || LIST_ENTRY(at, struct plane_asked, link)->is_term) {
            fail(s, "a request was not answered before its context ended");
        }
    }
}

/* ---- life ---------------------------------------------------------------------------------- */

static int spy_init(const struct kvp_plugin *real, struct kvp_ctx *ctx, const struct kvp_host *host,
                    const void *conf, void **self, struct kvp_errmsg *e)
{
    struct plane_spy *s = mem_xzalloc(sizeof(*s));
    s->plugins = spies_turning();
    s->real = real;
    s->host = host;
    s->root = ctx;
    list_init(&s->asked);
    s->table = *host;
    s->table.object = spy_object;
    s->table.object_cancel = spy_object_cancel;
    list_push_back(&s->plugins->plane, &s->link);
    *self = s;
    int result = real->init(ctx, &s->table, conf, &s->self, e);
    if (result != 0) {
        history_fail(&s->plugins->member->world->history, "member %u: plugin %s: init: %s",
                     s->plugins->member->number, real->name, e->text);
    }
    return result;
}

#define INIT(name)                                                                             \
    static int init_##name(struct kvp_ctx *ctx, const struct kvp_host *host, const void *conf, \
                           void **self, struct kvp_errmsg *e)                                  \
    {                                                                                          \
        return spy_init(plane_entry_##name(), ctx, host, conf, self, e);                       \
    }
INIT(apiserver)
INIT(controllers)
INIT(scheduler)
INIT(hollow_node)

static int init_user(struct kvp_ctx *ctx, const struct kvp_host *host, const void *conf,
                     void **self, struct kvp_errmsg *e)
{
    return spy_init(plane_user_entry(), ctx, host, conf, self, e);
}

static int spy_start(void *self, struct kvp_ctx *term_ctx, uint64_t term)
{
    struct plane_spy *s = self;
    if (s->started) {
        fail(s, "start without a stop before it");
    }
    s->started = true;
    return s->real->start != NULL ? s->real->start(s->self, term_ctx, term) : 0;
}

static void spy_stop(void *self, int32_t reason)
{
    struct plane_spy *s = self;
    if (!s->started) {
        fail(s, "stop without a start");
    }
    s->started = false;
    asked_check(s, false);
    if (s->real->stop != NULL) {
        s->real->stop(s->self, reason);
    }
}

static void spy_fini(void *self)
{
    struct plane_spy *s = self;
    const struct instance *in = s->root->instance;
    asked_check(s, true);
    s->real->fini(s->self);
    if (atomic_load(&in->allocations) != 0 || atomic_load(&in->requests) != 0 ||
        atomic_load(&in->timers) != 0 || atomic_load(&in->watches) != 0) {
        fail(s, "left memory, requests, timers or watches behind");
    }
    list_remove(&s->link);
    mem_free(s);
}

static void wrap(struct kvp_plugin *out, const struct kvp_plugin *real,
                 int (*init)(struct kvp_ctx *, const struct kvp_host *, const void *, void **,
                             struct kvp_errmsg *))
{
    *out = *real;
    out->init = init;
    out->start = spy_start;
    out->stop = spy_stop;
    out->fini = spy_fini;
    out->reload = NULL;
    host_register_static(out);
}

static void register_all(void)
{
    static struct kvp_plugin wrapped[PLANE_PLUGINS];
    if (wrapped[0].size != 0) {
        return;
    }
    wrap(&wrapped[0], plane_entry_apiserver(), init_apiserver);
    wrap(&wrapped[1], plane_entry_controllers(), init_controllers);
    wrap(&wrapped[2], plane_entry_scheduler(), init_scheduler);
    wrap(&wrapped[3], plane_entry_hollow_node(), init_hollow_node);
    wrap(&wrapped[4], plane_user_entry(), init_user);
}

void plane_load(struct plugins *p)
{
    static const char *const specs[PLANE_PLUGINS] = {
        "static:apiserver,insecure-allow-all=true", "static:controllers", "static:scheduler",
        "static:hollow-node,nodes=2,start-delay=200ms", "static:user"};
    struct errmsg e = {""};
    if (plane_entry_apiserver == NULL || plane_entry_controllers == NULL ||
        plane_entry_scheduler == NULL || plane_entry_hollow_node == NULL) {
        history_fail(&p->member->world->history, "this build lacks plugins of the control plane");
        return;
    }
    register_all();
    for (size_t i = 0; i < PLANE_PLUGINS; i++) {
        if (host_load(p->host, specs[i], &e) != 0) {
            history_fail(&p->member->world->history, "member %u: %s", p->member->number, e.text);
        }
    }
}

bool plane_is_quiet(struct plugins *p, bool leads, char *why, size_t size)
{
    struct host_plugin rows[PLANE_PLUGINS];
    size_t n = host_list(p->host, rows, PLANE_PLUGINS);
    for (size_t i = 0; i < n; i++) {
        if (rows[i].state != (leads ? HOST_LEADING : HOST_READY)) {
            snprintf(why, size, "%s is %s", rows[i].name, host_state_name(rows[i].state));
            return false;
        }
    }
    LIST_FOREACH (link, &p->plane) {
        const struct plane_spy *s = LIST_ENTRY(link, struct plane_spy, link);
        LIST_FOREACH (at, &s->asked) {
            const struct plane_asked *x = LIST_ENTRY(at, struct plane_asked, link);
            if (!x->is_watch) {
                snprintf(why, size, "%s waits since %llu ms for verb %u on %s", s->real->name,
                         (unsigned long long)x->since_ms, x->verb, x->resource);
                return false;
            }
        }
    }
    return n == PLANE_PLUGINS;
}

bool plane_has_ended(const struct plugins *p)
{
    return list_empty(&p->plane);
}

void plane_abandon(struct plugins *p)
{
    while (!list_empty(&p->plane)) {
        struct plane_spy *s = LIST_ENTRY(list_pop_front(&p->plane), struct plane_spy, link);
        while (!list_empty(&s->asked)) {
            asked_free(LIST_ENTRY(s->asked.next, struct plane_asked, link));
        }
        mem_free(s);
    }
}
