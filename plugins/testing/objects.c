/* objects.c - the objects group in the test host: the plugin asks, or answers, or both.
 *
 * An exchange has one task. Each run of it does one thing, whichever is due: the request takes
 * effect (a provider is told), the asker is told what came, the provider that there is room or that
 * the asker is gone. Exchanges stay until the instance ends, so that use of dead ones is told. */
#include <stdio.h>
#include <string.h>

#include "include/kvplugin-test.h"
#include "plugins/testing/world.h"

/* Unread bytes of events beyond which call_event says BUSY. */
#define OBJECT_QUEUE_BYTES 65536u
#define OBJECT_BYTES_MAX   (8u * 1024u * 1024u)

struct provider {
    struct list link; /* first: in world.providers or world.test_providers */
    struct kvp_provide_args args;
    t_provider_fn *test; /* NULL: the plugin's */
    char *group, *version, *resource;
};

struct note {
    struct list link; /* in kvp_object.notes, then .told; memory of the exchange */
    bool over;        /* the end: an answer, or a result without one */
    struct kvp_result result;
    int32_t status;
    int64_t revision;
    const char *type;
    struct kvp_bytes body;
};

struct kvp_call {
    struct kvp_ctx *ctx; /* of call_ctx, when it was asked for */
    bool dead;           /* answered, or `canceled` has run */
};

struct kvp_object {
    struct list link; /* in world.objects */
    struct task task;
    struct arena memory;
    struct kvp_object_request request;
    struct kvp_identity identity;

    /* the asker */
    struct kvp_ctx *ctx; /* NULL: the test */
    bool leads;          /* the test asks as a plugin that leads */
    void (*done)(void *data, const struct kvp_result *r, const struct kvp_object_answer *a);
    void (*event)(void *data, struct kvp_bytes type, struct kvp_bytes object, int64_t revision);
    void *data;
    bool left; /* has got its end, or went away */
    bool stalled;
    enum fault_how fault;
    int32_t fault_reason;
    bool held;
    bool counted; /* in flight */

    /* the provider */
    const struct provider *provider; /* NULL: not told yet, or nobody */
    bool effected;
    bool wants_writable;
    bool over; /* nothing more comes from it */
    struct kvp_call call;

    struct list notes; /* not told to the asker yet */
    struct list told;  /* the test's record */
    size_t unread;
    const struct note *end; /* of told */
};

static bool object_changes(const struct kvp_object *o)
{
    return o->request.verb >= KVP_VERB_CREATE;
}

/* ---- memory of an exchange ----------------------------------------------------------------- */

static struct kvp_bytes object_keep(struct kvp_object *o, struct kvp_bytes b)
{
    uint64_t left = quiet_begin();
    char *copy = arena_zalloc(&o->memory, b.len + 1);
    quiet_end(left);
    if (b.len > 0) {
        memcpy(copy, b.data, b.len);
    }
    return kvp_bytes_of(copy, b.len);
}

static void *object_make(struct kvp_object *o, size_t size)
{
    uint64_t left = quiet_begin();
    void *made = arena_zalloc(&o->memory, size);
    quiet_end(left);
    return made;
}

static void object_keep_identity(struct kvp_object *o, const struct kvp_identity *i)
{
    struct kvp_bytes *groups = object_make(o, (i->group_count + 1) * sizeof(*groups));
    struct kvp_pair *extra = object_make(o, (i->extra_count + 1) * sizeof(*extra));
    for (size_t k = 0; k < i->group_count; k++) {
        groups[k] = object_keep(o, i->groups[k]);
    }
    for (size_t k = 0; k < i->extra_count; k++) {
        extra[k].name = object_keep(o, i->extra[k].name);
        extra[k].value = object_keep(o, i->extra[k].value);
    }
    o->identity = *i;
    o->identity.size = sizeof(o->identity);
    o->identity.groups = groups;
    o->identity.extra = extra;
    o->identity.user = object_keep(o, i->user);
    o->identity.uid = object_keep(o, i->uid);
}

static void object_keep_request(struct kvp_object *o, const struct kvp_object_request *r)
{
    o->request = *r;
    o->request.size = sizeof(o->request);
    struct kvp_bytes *texts[] = {
        &o->request.group,  &o->request.version, &o->request.resource, &o->request.subresource,
        &o->request.space,  &o->request.name,    &o->request.body,     &o->request.content_type,
        &o->request.accept, &o->request.query};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        *texts[i] = object_keep(o, *texts[i]);
    }
}

/* ---- who provides -------------------------------------------------------------------------- */

/* One name of a provider: 0 = does not fit, 1 = by "*", 2 = by itself. */
static unsigned provider_fits(const char *pattern, struct kvp_bytes name)
{
    if (strcmp(pattern, "*") == 0) {
        return 1;
    }
    return strlen(pattern) == name.len && memcmp(pattern, name.data, name.len) == 0 ? 2 : 0;
}

static void provider_best(struct list *all, const struct kvp_object_request *r, unsigned *best,
                          const struct provider **out)
{
    LIST_FOREACH (it, all) {
        const struct provider *p = LIST_ENTRY(it, struct provider, link);
        unsigned resource = provider_fits(p->resource, r->resource);
        unsigned group = provider_fits(p->group, r->group);
        unsigned version = provider_fits(p->version, r->version);
        if (resource == 0 || group == 0 || version == 0) {
            continue;
        }
        unsigned fit = 8 * (resource + group + version) + 4 * resource + 2 * group + version;
        if (fit > *best) {
            *best = fit;
            *out = p;
        }
    }
}

static const struct provider *provider_for(const struct kvp_object_request *r)
{
    unsigned best = 0;
    const struct provider *found = NULL;
    provider_best(&world->test_providers, r, &best, &found);
    provider_best(&world->providers, r, &best, &found);
    return found;
}

static struct provider *provider_new(struct list *all, struct kvp_bytes group,
                                     struct kvp_bytes version, struct kvp_bytes resource)
{
    struct provider *p = quiet_zalloc(sizeof(*p));
    p->group = quiet_dup(group.data, group.len);
    p->version = quiet_dup(version.data, version.len);
    p->resource = quiet_dup(resource.data, resource.len);
    list_push_back(all, &p->link);
    return p;
}

static void providers_clear(struct list *all)
{
    for (struct list *it; (it = list_pop_front(all)) != NULL;) {
        struct provider *p = LIST_ENTRY(it, struct provider, link);
        mem_free(p->group);
        mem_free(p->version);
        mem_free(p->resource);
        mem_free(p);
    }
}

int t_call_provide(struct kvp_ctx *ctx, const struct kvp_provide_args *a)
{
    int reason = ctx_enter(ctx, "provide");
    if (reason != 0) {
        return reason;
    }
    if (!world->in_init || a == NULL || a->size == 0 || a->request == NULL || a->version.len == 0 ||
        a->resource.len == 0) {
        misuse("provide: outside init, or an argument breaks its rule (KVP_INVALID)");
        return KVP_INVALID;
    }
    LIST_FOREACH (it, &world->providers) {
        const struct provider *p = LIST_ENTRY(it, struct provider, link);
        if (slice_eq(slice_str(p->group), slice_of_kvp(a->group)) &&
            slice_eq(slice_str(p->version), slice_of_kvp(a->version)) &&
            slice_eq(slice_str(p->resource), slice_of_kvp(a->resource))) {
            return KVP_EXISTS;
        }
    }
    provider_new(&world->providers, a->group, a->version, a->resource)->args = *a;
    return 0;
}

void t_provide(const char *group, const char *version, const char *resource, t_provider_fn *request,
               void *data)
{
    world_need("t_provide");
    struct provider *p =
        provider_new(&world->test_providers, kvp_str(group), kvp_str(version), kvp_str(resource));
    p->test = request;
    p->args.data = data;
}

/* ---- the exchange -------------------------------------------------------------------------- */

static bool object_to_tell(const struct kvp_object *o)
{
    return !o->left && !list_empty(&o->notes) && !o->stalled;
}

/* The plugin provides and does not know yet that it is over. */
static bool object_provided(const struct kvp_object *o)
{
    return o->provider != NULL && o->provider->test == NULL && !o->over;
}

static bool object_due(const struct kvp_object *o)
{
    return (!o->effected && !o->held && !o->left) || object_to_tell(o) ||
           (object_provided(o) &&
            (o->left || o->call.dead || (o->wants_writable && o->unread == 0)));
}

static void object_go_on(struct kvp_object *o)
{
    if (object_due(o) && !task_is_set(&o->task)) {
        task_soon(&o->task);
    }
}

static struct note *object_note(struct kvp_object *o)
{
    struct note *n = object_make(o, sizeof(*n));
    n->result = (struct kvp_result){.size = sizeof(n->result), .text = ""};
    list_push_back(&o->notes, &n->link);
    return n;
}

/* The end without an answer of a provider. */
static void object_over(struct kvp_object *o, int32_t outcome, int32_t reason, const char *text)
{
    struct note *n = object_note(o);
    n->over = true;
    n->result.outcome = outcome;
    n->result.reason = reason;
    n->result.text = text;
}

static void object_begin(struct kvp_object *o)
{
    o->provider = provider_for(&o->request);
    if (o->provider == NULL) {
        object_over(o, KVP_REFUSED, KVP_NOT_FOUND, "nobody provides that resource");
    } else if (o->provider->test != NULL) {
        o->provider->test(o->provider->args.data, (struct t_call *)o, &o->request, &o->identity);
    } else {
        callback_begin();
        o->provider->args.request(o->provider->args.data, &o->call, &o->request, &o->identity);
        callback_end();
    }
}

static void object_take_effect(struct kvp_object *o)
{
    o->effected = true;
    bool reads = !object_changes(o);
    if (o->fault == FAULT_REFUSED || (o->fault != FAULT_NONE && reads)) {
        object_over(o, KVP_REFUSED, o->fault_reason != 0 ? o->fault_reason : KVP_UNAVAILABLE,
                    "refused by the test");
    } else if (o->fault == FAULT_UNKNOWN_LOST) {
        object_over(o, KVP_UNKNOWN, KVP_UNAVAILABLE, "the answer was lost on the way");
    } else {
        object_begin(o);
    }
}

static void object_leave(struct kvp_object *o)
{
    o->left = true;
    if (o->counted) {
        o->counted = false;
        call_name_find("object")->in_flight--;
    }
}

/* Tells a plugin that asked. */
static void object_done(struct kvp_object *o, const struct note *n)
{
    const struct kvp_object_answer answer = {.size = sizeof(answer),
                                             .status = n->status,
                                             .content_type = kvp_str(n->type),
                                             .body = n->body,
                                             .revision = n->revision};
    struct kvp_result result = n->result;
    result.revision = n->revision;
    object_leave(o);
    if (o->fault == FAULT_UNKNOWN_DONE) {
        result = (struct kvp_result){.size = sizeof(result),
                                     .outcome = KVP_UNKNOWN,
                                     .reason = KVP_UNAVAILABLE,
                                     .text = "the answer was lost on the way"};
    }
    callback_begin();
    o->done(o->data, &result, result.outcome == KVP_OK ? &answer : NULL);
    callback_end();
}

static void object_tell(struct kvp_object *o)
{
    struct note *n = LIST_ENTRY(list_pop_front(&o->notes), struct note, link);
    o->unread -= n->over ? 0 : n->body.len;
    if (o->ctx == NULL) {
        list_push_back(&o->told, &n->link);
        o->end = n->over ? n : NULL;
        if (n->over) {
            object_leave(o);
        }
    } else if (n->over) {
        object_done(o, n);
    } else {
        callback_begin();
        o->event(o->data, kvp_str(n->type), n->body, n->revision);
        callback_end();
    }
}

/* The provider's part is over: the asker went, or it has answered. */
static void object_end_provider(struct kvp_object *o)
{
    o->over = true;
    if (!o->call.dead) {
        o->call.dead = true;
        if (o->provider->args.canceled != NULL) {
            callback_begin();
            o->provider->args.canceled(o->provider->args.data, &o->call);
            callback_end();
        }
    }
    if (o->call.ctx != NULL) {
        ctx_end(o->call.ctx);
    }
}

static void object_task(struct task *t)
{
    struct kvp_object *o = LIST_ENTRY(t, struct kvp_object, task);
    if (!o->effected && !o->held && !o->left) {
        object_take_effect(o);
    } else if (object_to_tell(o)) {
        object_tell(o);
    } else if (object_provided(o) && (o->left || o->call.dead)) {
        object_end_provider(o);
    } else if (object_provided(o) && o->wants_writable && o->unread == 0) {
        o->wants_writable = false;
        if (o->provider->args.writable != NULL) {
            callback_begin();
            o->provider->args.writable(o->provider->args.data, &o->call);
            callback_end();
        }
    }
    object_go_on(o);
}

static struct kvp_object *object_new(const struct kvp_object_request *r,
                                     const struct kvp_identity *i, const char *user)
{
    static const struct kvp_bytes groups[] = {{"kvd:plugins", sizeof("kvd:plugins") - 1}};
    const struct kvp_identity own = {.size = sizeof(own),
                                     .authenticated = 1,
                                     .user = kvp_str(user),
                                     .groups = groups,
                                     .group_count = 1};
    struct kvp_object *o = quiet_zalloc(sizeof(*o));
    arena_init(&o->memory, 0);
    list_init(&o->notes);
    list_init(&o->told);
    o->task.run = object_task;
    object_keep_request(o, r);
    object_keep_identity(o, i != NULL ? i : &own);
    list_push_back(&world->objects, &o->link);
    return o;
}

/* ---- the plugin asks ----------------------------------------------------------------------- */

int t_call_object(struct kvp_ctx *ctx, const struct kvp_object_args *a, struct kvp_object **out)
{
    char user[96];
    int32_t drawn = 0;
    int reason = ctx_enter(ctx, "object");
    if (reason != 0) {
        return reason;
    }
    const struct kvp_object_request *r = a != NULL ? &a->request : NULL;
    if (a == NULL || a->size == 0 || a->done == NULL || r->size == 0 || r->verb < KVP_VERB_GET ||
        r->verb > KVP_VERB_BIND || r->version.len == 0 || r->resource.len == 0 ||
        (r->verb == KVP_VERB_WATCH && a->event == NULL)) {
        misuse("object: an argument breaks its rule (KVP_INVALID)");
        return KVP_INVALID;
    }
    if (r->body.len > OBJECT_BYTES_MAX) {
        return KVP_TOO_LARGE;
    }
    struct call_name *n = call_name_find("object");
    enum fault_how fault = call_fault(n, &drawn);
    void *probe = fault != FAULT_CALL ? mem_zalloc(1) : NULL; /* meets the fault hook */
    if (probe == NULL) {
        return fault == FAULT_CALL ? drawn : KVP_NO_MEMORY;
    }
    mem_free(probe);
    snprintf(user, sizeof(user), "kvd:plugin:%s", world->plugin->name);
    struct kvp_object *o = object_new(r, a->identity, user);
    o->ctx = ctx;
    o->done = a->done;
    o->event = a->event;
    o->data = a->data;
    o->fault = fault;
    o->fault_reason = drawn;
    o->held = n->held;
    o->counted = true;
    n->in_flight++;
    object_go_on(o);
    if (out != NULL) {
        *out = o;
    }
    return 0;
}

void t_call_object_cancel(struct kvp_object *o)
{
    if (o == NULL) {
        return;
    }
    if (o->left) {
        misuse("object_cancel of a request that is over");
        return;
    }
    object_leave(o);
    object_go_on(o);
}

void objects_release(void)
{
    bool held = call_name_find("object")->held;
    LIST_FOREACH (it, &world->objects) {
        struct kvp_object *o = LIST_ENTRY(it, struct kvp_object, link);
        o->held = o->held && held;
        object_go_on(o);
    }
}

void objects_end(struct kvp_ctx *ctx)
{
    LIST_FOREACH (it, &world->objects) {
        struct kvp_object *o = LIST_ENTRY(it, struct kvp_object, link);
        if (o->ctx == ctx && !o->left) {
            bool maybe = o->effected && object_changes(o);
            const struct note n = {.over = true,
                                   .result = {.size = sizeof(n.result),
                                              .outcome = maybe ? KVP_UNKNOWN : KVP_REFUSED,
                                              .reason = KVP_STOPPED,
                                              .text = "the context has ended"}};
            o->fault = FAULT_NONE;
            object_done(o, &n);
            object_go_on(o);
        }
    }
}

/* ---- the plugin answers -------------------------------------------------------------------- */

/* 0 when the plugin may use c now. */
static int call_enter(struct kvp_call *c, const char *call)
{
    int reason = ctx_enter(world->instance, call);
    if (reason == 0 && c->dead) {
        misuse("%s: that call was answered or canceled", call);
        return KVP_INVALID;
    }
    return reason;
}

struct kvp_ctx *t_call_call_ctx(struct kvp_call *c)
{
    struct kvp_object *o = LIST_ENTRY(c, struct kvp_object, call);
    if (call_enter(c, "call_ctx") != 0) {
        return NULL;
    }
    if (c->ctx == NULL) {
        const struct kvp_ctx *asker = o->ctx;
        c->ctx = ctx_new(asker != NULL ? asker->is_term : o->leads);
        c->ctx->epoch = asker != NULL ? asker->epoch : world->epoch;
        c->ctx->term = asker != NULL ? asker->term : world->term;
        c->ctx->may_write = asker == NULL || asker->may_write;
    }
    return c->ctx;
}

int t_call_call_event(struct kvp_call *c, struct kvp_bytes type, struct kvp_bytes object,
                      int64_t revision)
{
    struct kvp_object *o = LIST_ENTRY(c, struct kvp_object, call);
    int reason = call_enter(c, "call_event");
    if (reason != 0) {
        return reason;
    }
    if (o->request.verb != KVP_VERB_WATCH || type.len == 0) {
        misuse("call_event: not a watch, or no type (KVP_INVALID)");
        return KVP_INVALID;
    }
    if (o->unread > 0 && o->unread + object.len > OBJECT_QUEUE_BYTES) {
        o->wants_writable = true;
        return KVP_BUSY;
    }
    struct note *n = object_note(o);
    n->type = object_keep(o, type).data;
    n->body = object_keep(o, object);
    n->revision = revision;
    o->unread += n->body.len;
    object_go_on(o);
    return 0;
}

int t_call_call_answer(struct kvp_call *c, const struct kvp_object_answer *a)
{
    struct kvp_object *o = LIST_ENTRY(c, struct kvp_object, call);
    int reason = call_enter(c, "call_answer");
    if (reason != 0) {
        return reason;
    }
    if (a == NULL || a->size == 0 || a->status < 100 || a->status > 599) {
        misuse("call_answer: without a status (KVP_INVALID)");
        return KVP_INVALID;
    }
    c->dead = true;
    if (c->ctx != NULL) {
        c->ctx->stopped = true;
    }
    struct note *n = object_note(o);
    n->over = true;
    n->status = a->status;
    n->type = object_keep(o, a->content_type).data;
    n->body = object_keep(o, a->body);
    n->revision = a->revision;
    object_go_on(o);
    return 0;
}

/* ---- the test answers ---------------------------------------------------------------------- */

void t_event(struct t_call *c, const char *type, const char *object, int64_t revision)
{
    struct kvp_object *o = (struct kvp_object *)c;
    if (o->over) {
        return;
    }
    struct note *n = object_note(o);
    n->type = object_keep(o, kvp_str(type)).data;
    n->body = object_keep(o, kvp_str(object));
    n->revision = revision;
    o->unread += n->body.len;
    object_go_on(o);
}

void t_answer(struct t_call *c, int32_t status, const char *body, int64_t revision)
{
    struct kvp_object *o = (struct kvp_object *)c;
    if (o->over) {
        return;
    }
    struct note *n = object_note(o);
    n->over = true;
    n->status = status;
    n->type = "application/json";
    n->body = object_keep(o, kvp_str(body));
    n->revision = revision;
    o->over = true;
    object_go_on(o);
}

int t_call_gone(const struct t_call *c)
{
    return ((const struct kvp_object *)c)->left;
}

/* ---- the test asks ------------------------------------------------------------------------- */

struct t_object *t_object_open(const struct t_object_args *a)
{
    world_need("t_object_open");
    struct kvp_object *o = object_new(&a->request, a->identity, "kvd:plugin:test");
    o->leads = a->leads != 0;
    object_go_on(o);
    return (struct t_object *)o;
}

int32_t t_object_status(const struct t_object *t)
{
    const struct kvp_object *o = (const struct kvp_object *)t;
    return o->end != NULL ? (o->end->result.outcome == KVP_OK ? o->end->status : -1) : 0;
}

int32_t t_object_reason(const struct t_object *t)
{
    const struct kvp_object *o = (const struct kvp_object *)t;
    return o->end != NULL ? o->end->result.reason : 0;
}

struct kvp_bytes t_object_body(const struct t_object *t)
{
    const struct kvp_object *o = (const struct kvp_object *)t;
    return o->end != NULL && o->end->body.data != NULL ? o->end->body : kvp_bytes_of("", 0);
}

int64_t t_object_revision(const struct t_object *t)
{
    const struct kvp_object *o = (const struct kvp_object *)t;
    return o->end != NULL ? o->end->revision : 0;
}

int t_object_event(const struct t_object *t, size_t i, struct t_event *out)
{
    const struct kvp_object *o = (const struct kvp_object *)t;
    LIST_FOREACH (it, &o->told) {
        const struct note *n = LIST_ENTRY(it, struct note, link);
        if (!n->over && i-- == 0) {
            *out = (struct t_event){n->type, n->body, n->revision};
            return 1;
        }
    }
    return 0;
}

void t_object_stall(struct t_object *t, int stall)
{
    struct kvp_object *o = (struct kvp_object *)t;
    o->stalled = stall != 0;
    object_go_on(o);
}

void t_object_cancel(struct t_object *t)
{
    struct kvp_object *o = (struct kvp_object *)t;
    object_leave(o);
    object_go_on(o);
}

/* ---- the end ------------------------------------------------------------------------------- */

void objects_end_provided(void)
{
    LIST_FOREACH (it, &world->objects) {
        struct kvp_object *o = LIST_ENTRY(it, struct kvp_object, link);
        if (object_provided(o)) {
            object_end_provider(o);
            if (o->ctx == NULL && !o->left) {
                object_over(o, object_changes(o) ? KVP_UNKNOWN : KVP_REFUSED, KVP_UNAVAILABLE,
                            "the provider has ended");
                while (!list_empty(&o->notes)) {
                    object_tell(o);
                }
            }
        }
    }
}

void objects_clear(void)
{
    for (struct list *it; (it = list_pop_front(&world->objects)) != NULL;) {
        struct kvp_object *o = LIST_ENTRY(it, struct kvp_object, link);
        task_cancel(&o->task);
        arena_close(&o->memory);
        mem_free(o);
    }
    providers_clear(&world->providers);
}

void objects_forget_providers(void)
{
    providers_clear(&world->test_providers);
}
