/* context.c - contexts of the test host: who may call, and how one ends. */
#include "plugins/testing/world.h"

static int ctx_scope_enter(struct kvp_ctx *ctx)
{
    return ctx_enter(ctx, "a call on a cache, queue or controller");
}

static void ctx_scope_misuse(struct kvp_ctx *ctx, const char *call)
{
    (void)ctx;
    misuse("%s: that cache, queue or controller has ended", call);
}

struct kvp_ctx *ctx_new(bool is_term)
{
    struct kvp_ctx *ctx = quiet_zalloc(sizeof(*ctx));
    ctx->is_term = is_term;
    ctx->may_write = is_term || (world->plugin->flags & KVP_FOLLOW) != 0;
    ctx->scope = (struct scope){
        .host = &t_host, .enter = ctx_scope_enter, .misuse = ctx_scope_misuse, .keep_dead = true};
    scope_init(&ctx->scope, ctx);
    list_init(&ctx->calls);
    list_init(&ctx->timers);
    list_init(&ctx->watches);
    list_init(&ctx->txns);
    list_init(&ctx->works);
    list_init(&ctx->posts);
    list_push_back(&world->contexts, &ctx->link);
    return ctx;
}

int ctx_enter(struct kvp_ctx *ctx, const char *call)
{
    if (!pthread_equal(pthread_self(), world->thread)) {
        misuse("%s was called from a thread of the plugin's own: use post", call);
        return KVP_WRONG_THREAD;
    }
    if (world->working) {
        misuse("%s was called inside offloaded work", call);
        return KVP_WRONG_THREAD;
    }
    if (world->depth == 0) {
        misuse("%s was called from outside a callback", call);
        return KVP_WRONG_THREAD;
    }
    return ctx->stopped ? KVP_STOPPED : 0;
}

void ctx_end(struct kvp_ctx *ctx)
{
    callback_begin();
    scope_end(&ctx->scope);
    callback_end();
    ctx->stopped = true;
    timers_end(ctx);
    calls_end(ctx);
    objects_end(ctx);
    watches_end(ctx);
    works_end(ctx);
    leases_end(ctx);
    callback_begin();
    scope_settle(&ctx->scope);
    callback_end();
}

void ctx_free(struct kvp_ctx *ctx)
{
    callback_begin();
    scope_close(&ctx->scope);
    callback_end();
    txns_end(ctx);
    list_remove(&ctx->link);
    mem_free(ctx);
}
