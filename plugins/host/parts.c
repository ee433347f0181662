/* parts.c - caches, queues and controllers in the table of the real host.
 *
 * Each context has a scope (scope.h), made with its first part. It ends as a ctx_part, on the lane,
 * before the context's watches and timers; the shells of its parts stay, as the context does, until
 * the instance is freed: a stale pointer is refused, never followed. */
#include "plugins/host/cache.h"
#include "plugins/host/controller.h"
#include "plugins/host/host_impl.h"
#include "plugins/host/queue.h"
#include "plugins/host/scope.h"

struct parts {
    struct ctx_part part;
    struct scope scope;
};

static int parts_enter(struct kvp_ctx *ctx)
{
    return ctx_check(ctx);
}

static struct meter *parts_meter(struct kvp_ctx *ctx, const char *name)
{
    struct instance *in = ctx->instance;
    return meter_find(&in->meters, name != NULL ? name : in->name);
}

static void parts_end(struct ctx_part *part)
{
    struct parts *p = LIST_ENTRY(part, struct parts, part);
    struct instance *in = p->scope.ctx->instance;
    /* Objects of caches are released: the plugin's code runs. */
    callback_enter(in, "end of caches", slice_of(NULL, 0), 0);
    scope_end(&p->scope);
    callback_leave(in);
}

void parts_settle(struct kvp_ctx *ctx)
{
    if (ctx->scope != NULL) {
        scope_settle(ctx->scope);
    }
}

void parts_close(struct kvp_ctx *ctx)
{
    if (ctx->scope != NULL) {
        struct parts *p = LIST_ENTRY(ctx->scope, struct parts, scope);
        scope_close(&p->scope);
        mem_free(p);
        ctx->scope = NULL;
    }
}

/* 0 when a part may be opened in ctx now; then *out is its scope. */
static int parts_scope(struct kvp_ctx *ctx, struct scope **out)
{
    int reason = ctx_check(ctx);
    if (reason == 0 && ctx->scope == NULL) {
        struct parts *p = mem_zalloc(sizeof(*p));
        if (p == NULL) {
            return KVP_NO_MEMORY;
        }
        p->part.end = parts_end;
        p->scope = (struct scope){.host = host_table(NULL),
                                  .enter = parts_enter,
                                  .keep_dead = true,
                                  .meter = parts_meter};
        scope_init(&p->scope, ctx);
        list_push_back(&ctx->parts, &p->part.link);
        ctx->scope = &p->scope;
    }
    *out = reason == 0 ? ctx->scope : NULL;
    return reason;
}

static int parts_cache_open(struct kvp_ctx *ctx, const struct kvp_cache_args *a,
                            struct kvp_cache **out)
{
    struct scope *s;
    int reason = parts_scope(ctx, &s);
    return reason != 0 ? reason : cache_open(s, a, out);
}

static int parts_queue_open(struct kvp_ctx *ctx, const struct kvp_queue_args *a,
                            struct kvp_queue **out)
{
    struct scope *s;
    int reason = parts_scope(ctx, &s);
    return reason != 0 ? reason : queue_open(s, a, out);
}

static int parts_controller(struct kvp_ctx *ctx, const struct kvp_controller_args *a,
                            struct kvp_controller **out)
{
    struct scope *s;
    int reason = parts_scope(ctx, &s);
    return reason != 0 ? reason : controller_open(s, a, out);
}

void part_calls(struct kvp_host *t)
{
    t->cache_open = parts_cache_open;
    t->cache_on = cache_on;
    t->cache_get = cache_get;
    t->cache_each = cache_each;
    t->cache_by_index = cache_by_index;
    t->cache_synced = cache_synced;
    t->cache_revision = cache_revision;
    t->cache_len = cache_len;
    t->cache_close = cache_close;
    t->index_emit = cache_emit;
    t->queue_open = parts_queue_open;
    t->queue_add = queue_add;
    t->queue_add_after = queue_add_after;
    t->queue_add_limited = queue_add_limited;
    t->queue_forget = queue_forget;
    t->queue_done = queue_done;
    t->queue_len = queue_len;
    t->queue_close = queue_close;
    t->controller = parts_controller;
    t->controller_add = controller_add;
    t->controller_add_after = controller_add_after;
    t->controller_close = controller_close;
    t->item_put = controller_item_put;
    t->item_put_if = controller_item_put_if;
    t->item_txn = controller_item_txn;
    t->item_done = controller_item_done;
}
