/* ctx.c - contexts: what a plugin began through one ends with it.
 *
 * The end, in order: home sets `closed` (calls are refused from here on), cancels what it has under
 * way and posts `end`; the lane ends parts, watches and timers and posts `drain`, behind every
 * request it still sent; home answers those too, and when none is left posts `drained`, behind
 * every answer; so when the lane runs `drained`, nothing of the context can call back any more. */
#include "plugins/host/host_impl.h"

static void ctx_end_parts(struct kvp_ctx *ctx)
{
    for (struct list *it; (it = list_pop_front(&ctx->parts)) != NULL;) {
        struct ctx_part *part = LIST_ENTRY(it, struct ctx_part, link);
        part->end(part);
    }
}

void ctx_silence(struct kvp_ctx *ctx)
{
    atomic_store(&ctx->closed, true);
    ctx->silent = true;
    ctx_end_parts(ctx);
    watch_silence_all(ctx);
    timer_end_all(ctx);
    LIST_FOREACH (it, &ctx->requests) {
        struct request *r = LIST_ENTRY(it, struct request, link);
        memset(&r->cb, 0, sizeof(r->cb));
    }
}

/* Home. */
static void ctx_post(struct kvp_ctx *ctx, struct lane_msg *m)
{
    if (ctx->is_call) {
        lane_post_quick(&ctx->instance->lane, m);
    } else {
        lane_post(&ctx->instance->lane, m);
    }
}

static void ctx_on_end(struct lane_msg *m)
{
    struct kvp_ctx *ctx = LIST_ENTRY(m, struct kvp_ctx, end);
    struct instance *in = ctx->instance;
    ctx_end_parts(ctx);
    watch_end_all(ctx);
    timer_end_all(ctx);
    pthread_mutex_lock(&ctx->post_lock);
    ctx->post_closed = true; /* accepted posts are in the mailbox, before `drained` */
    pthread_mutex_unlock(&ctx->post_lock);
    lane_post(&in->host->home, &ctx->drain);
}

static void ctx_on_drain(struct lane_msg *m)
{
    struct kvp_ctx *ctx = LIST_ENTRY(m, struct kvp_ctx, drain);
    ctx->home_drain = true;
    ctx_home_check(ctx);
}

void ctx_home_check(struct kvp_ctx *ctx)
{
    if (ctx->home_drain && ctx->home_holds == 0 && list_empty(&ctx->home_requests) &&
        list_empty(&ctx->home_watches)) {
        ctx->home_drain = false; /* once */
        ctx_post(ctx, &ctx->drained);
    }
}

static void ctx_on_drained(struct lane_msg *m)
{
    struct kvp_ctx *ctx = LIST_ENTRY(m, struct kvp_ctx, drained);
    parts_settle(ctx);
    ctx->ended(ctx);
}

void ctx_init(struct kvp_ctx *ctx, struct instance *instance, const struct service_stamp *stamp)
{
    memset(ctx, 0, sizeof(*ctx));
    ctx->instance = instance;
    ctx->writer = instance->descriptor;
    if (stamp != NULL) {
        ctx->is_term = true;
        ctx->stamp = *stamp;
    }
    list_init(&ctx->link);
    list_init(&ctx->requests);
    list_init(&ctx->watches);
    list_init(&ctx->timers);
    list_init(&ctx->parts);
    list_init(&ctx->home_requests);
    list_init(&ctx->home_watches);
    list_init(&ctx->home_leases);
    pthread_mutex_init(&ctx->post_lock, NULL);
    ctx->end.run = ctx_on_end;
    ctx->drain.run = ctx_on_drain;
    ctx->drained.run = ctx_on_drained;
}

void ctx_close(struct kvp_ctx *ctx)
{
    parts_close(ctx);
    pthread_mutex_destroy(&ctx->post_lock);
}

void ctx_end(struct kvp_ctx *ctx, int32_t reason, void (*ended)(struct kvp_ctx *ctx))
{
    ctx->ended = ended;
    ctx->reason = reason;
    ctx->home_ending = true;
    atomic_store(&ctx->closed, true);
    request_cancel_all(ctx);
    watch_home_end(ctx);
    lease_home_end(ctx);
    if (ctx == &ctx->instance->root) {
        web_home_end(ctx->instance);
        object_home_end(ctx->instance);
    }
    ctx_post(ctx, &ctx->end);
}

int ctx_check(const struct kvp_ctx *ctx)
{
    if (ctx == NULL) {
        return KVP_INVALID;
    }
    if (callback_current() != ctx->instance) {
        return KVP_WRONG_THREAD;
    }
    return atomic_load(&ctx->closed) ? KVP_STOPPED : 0;
}

int ctx_check_write(const struct kvp_ctx *ctx)
{
    int reason = ctx_check(ctx);
    if (reason == 0 && !ctx->is_term && (ctx->writer->flags & KVP_FOLLOW) == 0) {
        reason = KVP_NOT_LEADER;
    }
    return reason;
}
