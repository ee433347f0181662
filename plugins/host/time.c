/* time.c - role, clocks, chance and timers: answered on the plugin's own lane. */
#include "plugins/host/host_impl.h"

struct kvp_timer {
    struct list link; /* kvp_ctx.timers */
    struct lane_timer timer;
    struct kvp_ctx *ctx;
    struct kvp_timer_args args;
    bool firing;
    bool dead; /* canceled while it fires */
};

static int host_leader(struct kvp_ctx *ctx, struct kvp_role *out)
{
    if (ctx == NULL || out == NULL || out->size < sizeof(*out)) {
        return KVP_INVALID;
    }
    struct instance *in = ctx->instance;
    if (callback_current() != in) {
        return KVP_WRONG_THREAD;
    }
    const struct kvp_ctx *term = ctx->is_term ? ctx : in->term;
    out->is_leader = term != NULL && !atomic_load(&term->closed);
    out->term = term != NULL ? term->stamp.term : 0;
    out->epoch = ctx->is_term ? ctx->stamp.epoch : 0;
    out->member = in->host->o.member_id;
    return 0;
}

static uint64_t host_now_ms(struct kvp_ctx *ctx)
{
    return lane_now(&ctx->instance->lane);
}

static uint64_t host_wall_us(struct kvp_ctx *ctx)
{
    return lane_wall_us(&ctx->instance->lane);
}

static void host_random(struct kvp_ctx *ctx, void *out, size_t len)
{
    lane_dice(&ctx->instance->lane, out, len);
}

/* ---- timers ------------------------------------------------------------------------------------
 */

static void timer_free(struct kvp_timer *t)
{
    list_remove(&t->link);
    atomic_fetch_sub(&t->ctx->instance->timers, 1);
    lane_timer_cancel(&t->ctx->instance->lane, &t->timer);
    mem_free(t);
}

static bool timer_arm(struct kvp_timer *t, uint64_t ms)
{
    struct lane *lane = &t->ctx->instance->lane;
    uint64_t jitter = 0;
    if (t->args.jitter_percent > 0 && ms > 0) {
        lane_dice(lane, &jitter, sizeof(jitter));
        jitter %= ms / 100 * t->args.jitter_percent + ms % 100 * t->args.jitter_percent / 100 + 1;
    }
    uint64_t now = lane_now(lane);
    uint64_t latest = INT64_MAX - now; /* heap keys are int64_t */
    ms = ms > latest ? latest : ms;
    jitter = jitter > latest - ms ? latest - ms : jitter;
    return lane_timer_set(lane, &t->timer, now + ms + jitter);
}

static void timer_on_fire(struct lane_timer *lt)
{
    struct kvp_timer *t = LIST_ENTRY(lt, struct kvp_timer, timer);
    struct instance *in = t->ctx->instance;
    t->firing = true;
    callback_enter(in, "timer", slice_of(NULL, 0), 0);
    t->args.fire(t->args.data);
    callback_leave(in);
    t->firing = false;
    /* The heap has just given up its place, so setting it again cannot fail. */
    if (t->dead || t->args.repeat_ms == 0 || !timer_arm(t, t->args.repeat_ms)) {
        timer_free(t);
    }
}

void timer_end_all(struct kvp_ctx *ctx)
{
    while (!list_empty(&ctx->timers)) {
        timer_free(LIST_ENTRY(ctx->timers.next, struct kvp_timer, link));
    }
}

static int host_timer(struct kvp_ctx *ctx, const struct kvp_timer_args *a, struct kvp_timer **out)
{
    int reason = ctx_check(ctx);
    if (reason != 0) {
        return reason;
    }
    if (a == NULL || a->size < sizeof(*a) || a->fire == NULL || a->jitter_percent > 100) {
        return KVP_INVALID;
    }
    if (atomic_load(&ctx->instance->timers) >= PLUGIN_TIMERS_MAX) {
        return KVP_BUSY;
    }
    struct kvp_timer *t = mem_zalloc(sizeof(*t));
    if (t == NULL) {
        return KVP_NO_MEMORY;
    }
    t->ctx = ctx;
    t->args = *a;
    t->timer.fire = timer_on_fire;
    if (!timer_arm(t, a->after_ms)) {
        mem_free(t);
        return KVP_NO_MEMORY;
    }
    list_push_back(&ctx->timers, &t->link);
    atomic_fetch_add(&ctx->instance->timers, 1);
    if (out != NULL) {
        *out = t;
    }
    return 0;
}

static void host_timer_cancel(struct kvp_timer *t)
{
    if (t == NULL) {
        return;
    }
    if (t->firing) {
        t->dead = true;
        return;
    }
    timer_free(t);
}

void time_calls(struct kvp_host *t)
{
    t->leader = host_leader;
    t->now_ms = host_now_ms;
    t->wall_us = host_wall_us;
    t->random = host_random;
    t->timer = host_timer;
    t->timer_cancel = host_timer_cancel;
}
