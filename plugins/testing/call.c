/* call.c - asynchronous calls: counted, held, made to fail; effect first, answer later. */
#include <stdio.h>
#include <string.h>

#include "include/kvplugin-test.h"
#include "plugins/testing/world.h"

static struct call_name call_names[] = {
    {.name = "get"},         {.name = "range"},        {.name = "put"},
    {.name = "put_if"},      {.name = "del"},          {.name = "del_if"},
    {.name = "txn_commit"},  {.name = "watch"},        {.name = "lease_grant"},
    {.name = "lease_renew"}, {.name = "lease_revoke"}, {.name = "timer"},
    {.name = "cache_open"},  {.name = "queue_open"},   {.name = "controller"},
    {.name = "post"},        {.name = "offload"},      {.name = "object"},
    {.name = "authorize"},   {.name = "http_listen"}};
#define CALL_NAMES (sizeof(call_names) / sizeof(call_names[0]))

static struct call_name *call_name_get(const char *name)
{
    for (size_t i = 0; i < CALL_NAMES; i++) {
        if (strcmp(call_names[i].name, name) == 0) {
            return &call_names[i];
        }
    }
    return NULL;
}

struct call_name *call_name_find(const char *name)
{
    struct call_name *n = call_name_get(name);
    if (n == NULL) {
        fail_test(world->file, world->line, "kvplugin-test: no call is named \"%s\"", name);
        return &call_names[0];
    }
    return n;
}

void call_names_clear(void)
{
    for (size_t i = 0; i < CALL_NAMES; i++) {
        call_names[i] = (struct call_name){.name = call_names[i].name};
    }
}

/* ---- faults -------------------------------------------------------------------------------- */

/* What may come back instead of an answer, for chaos. */
static const int32_t call_chaos_refusals[] = {KVP_UNAVAILABLE, KVP_TIMEOUT, KVP_BUSY,
                                              KVP_NO_MEMORY};

static enum fault_how call_chaos(int32_t *reason)
{
    if (world->chaos == 0 || chance_below(100) >= world->chaos) {
        return FAULT_NONE;
    }
    *reason = call_chaos_refusals[chance_below(4)];
    switch (chance_below(4)) {
    case 0:
        *reason = chance_below(2) == 0 ? KVP_BUSY : KVP_NO_MEMORY;
        return FAULT_CALL;
    case 1:
        return FAULT_REFUSED;
    case 2:
        return FAULT_UNKNOWN_DONE;
    default:
        return FAULT_UNKNOWN_LOST;
    }
}

enum fault_how call_fault(struct call_name *n, int32_t *reason)
{
    n->made++;
    LIST_FOREACH (it, &world->faults) {
        struct fault *f = LIST_ENTRY(it, struct fault, link);
        if (f->name == n && f->at == n->made) {
            enum fault_how how = f->how;
            *reason = f->reason;
            list_remove(&f->link);
            mem_free(f);
            return how;
        }
    }
    return call_chaos(reason);
}

static void call_fault_add(const char *call, unsigned n, enum fault_how how, int32_t reason)
{
    world_need("t_fail");
    struct fault *f = quiet_zalloc(sizeof(*f));
    f->name = call_name_find(call);
    f->at = f->name->made + n;
    f->how = how;
    f->reason = reason;
    list_push_back(&world->faults, &f->link);
}

void t_fail(const char *call, unsigned n, int32_t reason)
{
    call_fault_add(call, n, FAULT_REFUSED, reason);
}

void t_fail_call(const char *call, unsigned n, int32_t reason)
{
    call_fault_add(call, n, FAULT_CALL, reason);
}

void t_fail_unknown(const char *call, unsigned n, int happened)
{
    call_fault_add(call, n, happened ? FAULT_UNKNOWN_DONE : FAULT_UNKNOWN_LOST, KVP_UNAVAILABLE);
}

void t_chaos(unsigned percent)
{
    world_need("t_chaos")->chaos = percent > 100 ? 100 : percent;
}

void t_hold(const char *call)
{
    world_need("t_hold");
    call_name_find(call)->held = true;
}

void t_release(const char *call)
{
    world_need("t_release");
    calls_release(call_name_find(call));
}

size_t t_in_flight(const char *call)
{
    world_need("t_in_flight");
    return call_name_find(call)->in_flight;
}

size_t t_calls(const char *call)
{
    world_need("t_calls");
    return call_name_find(call)->made;
}

int call_simple(struct kvp_ctx *ctx, const char *name)
{
    int reason = ctx_enter(ctx, name);
    if (reason != 0) {
        return reason;
    }
    int32_t drawn = 0;
    struct call_name *n = call_name_get(name);
    return n != NULL && call_fault(n, &drawn) == FAULT_CALL ? drawn : 0;
}

/* ---- calls with an answer ------------------------------------------------------------------ */

struct call *call_new(struct kvp_ctx *ctx, const char *name, int *reason)
{
    *reason = ctx_enter(ctx, name);
    if (*reason != 0) {
        return NULL;
    }
    struct call_name *n = call_name_get(name);
    int32_t drawn = 0;
    enum fault_how fault = call_fault(n, &drawn);
    if (fault == FAULT_CALL) {
        *reason = drawn;
        return NULL;
    }
    struct call *c = mem_zalloc(sizeof(*c));
    if (c == NULL) {
        *reason = KVP_NO_MEMORY;
        return NULL;
    }
    c->ctx = ctx;
    c->name = n;
    c->fault = fault;
    c->fault_reason = drawn;
    c->held = n->held;
    c->result = (struct kvp_result){.size = sizeof(c->result), .text = ""};
    arena_init(&c->memory, 0);
    list_push_back(&ctx->calls, &c->link);
    n->in_flight++;
    return c;
}

void *call_keep_all(struct call *c, const void *data, size_t size)
{
    uint64_t left = quiet_begin();
    struct slice copy = arena_dup(&c->memory, slice_of(data, size));
    quiet_end(left);
    return (void *)copy.data;
}

struct kvp_bytes call_keep(struct call *c, struct kvp_bytes bytes)
{
    return kvp_bytes_of(call_keep_all(c, bytes.data, bytes.len), bytes.len);
}

void call_refuse(struct call *c, int32_t reason, const char *text)
{
    c->result.outcome = KVP_REFUSED;
    c->result.reason = reason;
    c->result.text = text;
}

static void call_deliver(struct call *c)
{
    list_remove(&c->link);
    c->name->in_flight--;
    callback_begin();
    c->deliver(c, &c->result);
    callback_end();
    uint64_t left = quiet_begin();
    arena_close(&c->memory);
    mem_free(c);
    quiet_end(left);
}

static void call_answer_task(struct task *t)
{
    call_deliver(LIST_ENTRY(t, struct call, task));
}

/* Fenced writes are refused whatever else was planned for them. */
static bool call_fenced(struct call *c)
{
    if (c->writes && c->ctx->is_term && c->ctx->epoch < world->epoch) {
        call_refuse(c, KVP_FENCED, "a newer leadership of this plugin exists");
        return true;
    }
    return false;
}

static void call_unknown(struct call *c, int32_t reason)
{
    c->result = (struct kvp_result){.size = sizeof(c->result),
                                    .outcome = KVP_UNKNOWN,
                                    .reason = reason,
                                    .text = "the answer was lost on the way"};
    c->rows = (struct kvp_rows){.size = sizeof(c->rows)};
    c->txn_result = (struct kvp_txn_result){.size = sizeof(c->txn_result)};
}

static void call_take_effect(struct call *c)
{
    c->effected = true;
    if (c->fault == FAULT_REFUSED || (c->fault != FAULT_NONE && !c->writes)) {
        /* A read that goes wrong simply did not happen. */
        call_refuse(c, c->fault_reason != 0 ? c->fault_reason : KVP_UNAVAILABLE,
                    "refused by the test");
        if (c->fault_reason == KVP_COMPACTED) {
            c->result.revision = world->store.revision;
        }
    } else if (call_fenced(c)) {
        return;
    } else if (c->fault == FAULT_UNKNOWN_LOST) {
        call_unknown(c, KVP_UNAVAILABLE);
    } else {
        c->effect(c);
        if (c->fault == FAULT_UNKNOWN_DONE) {
            call_unknown(c, KVP_UNAVAILABLE);
        }
    }
}

static void call_effect_task(struct task *t)
{
    struct call *c = LIST_ENTRY(t, struct call, task);
    call_take_effect(c);
    c->task.run = call_answer_task;
    task_soon(&c->task);
}

void call_go(struct call *c)
{
    c->task.run = call_effect_task;
    if (!c->held) {
        task_soon(&c->task);
    }
}

void calls_release(struct call_name *n)
{
    n->held = false;
    works_release();
    objects_release();
    LIST_FOREACH (ctx, &world->contexts) {
        LIST_FOREACH (it, &LIST_ENTRY(ctx, struct kvp_ctx, link)->calls) {
            struct call *c = LIST_ENTRY(it, struct call, link);
            if (c->name == n && c->held) {
                c->held = false;
                task_soon(&c->task);
            }
        }
    }
}

/* Writes on their way: some happened, of some of those even the answer came in time. */
static void call_end(struct call *c)
{
    task_cancel(&c->task);
    if (!c->writes) {
        call_refuse(c, KVP_STOPPED, "the context has ended");
        c->rows = (struct kvp_rows){.size = sizeof(c->rows)};
        c->txn_result = (struct kvp_txn_result){.size = sizeof(c->txn_result)};
    } else if (!c->effected || chance_below(2) == 0) {
        call_unknown(c, KVP_STOPPED);
    }
    call_deliver(c);
}

void calls_end(struct kvp_ctx *ctx)
{
    for (size_t left; !list_empty(&ctx->calls);) {
        /* In any order. */
        left = 0;
        LIST_FOREACH (it, &ctx->calls) {
            left++;
        }
        struct list *it = ctx->calls.next;
        for (uint64_t skip = chance_below(left); skip > 0; skip--) {
            it = it->next;
        }
        call_end(LIST_ENTRY(it, struct call, link));
    }
}

/* ---- authorize: the store has no users and roles here -------------------------------------- */

static void call_authorize_effect(struct call *c)
{
    (void)c; /* everybody may do all, unless the test refuses it */
}

static void call_authorize_deliver(struct call *c, const struct kvp_result *r)
{
    c->cb.done(c->data, r);
}

int t_call_authorize(struct kvp_ctx *ctx, const struct kvp_identity *identity, uint32_t verb,
                     struct kvp_bytes key, struct kvp_bytes end, kvp_done_fn *cb, void *data)
{
    int reason = 0;
    (void)end;
    if (identity == NULL || cb == NULL || key.len == 0 ||
        (verb != KVP_VERB_GET && verb != KVP_VERB_UPDATE)) {
        misuse("authorize: an argument breaks its rule (KVP_INVALID)");
        return KVP_INVALID;
    }
    struct call *c = call_new(ctx, "authorize", &reason);
    if (c == NULL) {
        return reason;
    }
    c->cb.done = cb;
    c->data = data;
    c->effect = call_authorize_effect;
    c->deliver = call_authorize_deliver;
    call_go(c);
    return 0;
}
