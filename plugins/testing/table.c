/* table.c - the table of calls plugins get from the test host. */
#include "plugins/host/cache.h"
#include "plugins/host/controller.h"
#include "plugins/host/queue.h"
#include "plugins/testing/world.h"

static int table_leader(struct kvp_ctx *ctx, struct kvp_role *out)
{
    int reason = ctx_enter(ctx, "leader");
    if (reason == KVP_WRONG_THREAD) {
        return reason;
    }
    if (out == NULL || out->size < sizeof(*out)) {
        misuse("leader: out->size is not set (KVP_INVALID)");
        return KVP_INVALID;
    }
    const struct kvp_ctx *term = ctx->is_term ? ctx : world->leading;
    *out = (struct kvp_role){.size = sizeof(*out),
                             .is_leader = term != NULL && !term->stopped,
                             .term = term != NULL ? term->term : 0,
                             .epoch = ctx->epoch,
                             .member = 1};
    return 0;
}

static uint64_t table_now_ms(struct kvp_ctx *ctx)
{
    (void)ctx;
    return world->now_ms;
}

/* The clock on the wall began long before the monotonic one. */
static uint64_t table_wall_us(struct kvp_ctx *ctx)
{
    (void)ctx;
    return 1700000000000000ull + world->now_ms * 1000;
}

static void table_random(struct kvp_ctx *ctx, void *out, size_t len)
{
    (void)ctx;
    for (size_t i = 0; i < len; i++) {
        ((uint8_t *)out)[i] = (uint8_t)chance_below(256);
    }
}

static int table_cache_open(struct kvp_ctx *ctx, const struct kvp_cache_args *a,
                            struct kvp_cache **out)
{
    int reason = call_simple(ctx, "cache_open");
    return reason != 0 ? reason : cache_open(&ctx->scope, a, out);
}

static int table_queue_open(struct kvp_ctx *ctx, const struct kvp_queue_args *a,
                            struct kvp_queue **out)
{
    int reason = call_simple(ctx, "queue_open");
    return reason != 0 ? reason : queue_open(&ctx->scope, a, out);
}

static int table_controller(struct kvp_ctx *ctx, const struct kvp_controller_args *a,
                            struct kvp_controller **out)
{
    int reason = call_simple(ctx, "controller");
    return reason != 0 ? reason : controller_open(&ctx->scope, a, out);
}

static const char *table_data_dir(struct kvp_ctx *ctx)
{
    (void)ctx;
    return "";
}

const struct kvp_host t_host = {
    .size = sizeof(struct kvp_host),
    .abi_major = KVP_ABI_MAJOR,
    .abi_minor = KVP_ABI_MINOR,
    .version = "test",
    .get = t_call_get,
    .range = t_call_range,
    .put = t_call_put,
    .put_if = t_call_put_if,
    .del = t_call_del,
    .del_if = t_call_del_if,
    .txn_new = t_call_txn_new,
    .txn_compare = t_call_txn_compare,
    .txn_put = t_call_txn_put,
    .txn_del = t_call_txn_del,
    .txn_get = t_call_txn_get,
    .txn_commit = t_call_txn_commit,
    .txn_free = t_call_txn_free,
    .watch = t_call_watch,
    .unwatch = t_call_unwatch,
    .lease_grant = t_call_lease_grant,
    .lease_renew = t_call_lease_renew,
    .lease_revoke = t_call_lease_revoke,
    .leader = table_leader,
    .now_ms = table_now_ms,
    .wall_us = table_wall_us,
    .random = table_random,
    .timer = t_call_timer,
    .timer_cancel = t_call_timer_cancel,
    .cache_open = table_cache_open,
    .cache_on = cache_on,
    .cache_get = cache_get,
    .cache_each = cache_each,
    .cache_by_index = cache_by_index,
    .cache_synced = cache_synced,
    .cache_revision = cache_revision,
    .cache_len = cache_len,
    .cache_close = cache_close,
    .index_emit = cache_emit,
    .queue_open = table_queue_open,
    .queue_add = queue_add,
    .queue_add_after = queue_add_after,
    .queue_add_limited = queue_add_limited,
    .queue_forget = queue_forget,
    .queue_done = queue_done,
    .queue_len = queue_len,
    .queue_close = queue_close,
    .controller = table_controller,
    .controller_add = controller_add,
    .controller_add_after = controller_add_after,
    .controller_close = controller_close,
    .item_put = controller_item_put,
    .item_put_if = controller_item_put_if,
    .item_txn = controller_item_txn,
    .item_done = controller_item_done,
    .http_listen = t_call_http_listen,
    .http_route = t_call_http_route,
    .http_certificate = t_call_http_certificate,
    .data_dir = table_data_dir,
    .http_set_data = t_call_http_set_data,
    .http_data = t_call_http_data,
    .http_respond = t_call_http_respond,
    .http_write = t_call_http_write,
    .http_finish = t_call_http_finish,
    .http_abort = t_call_http_abort,
    .http_pause = t_call_http_pause,
    .object = t_call_object,
    .object_cancel = t_call_object_cancel,
    .provide = t_call_provide,
    .call_ctx = t_call_call_ctx,
    .call_event = t_call_call_event,
    .call_answer = t_call_call_answer,
    .authorize = t_call_authorize,
    .metric = t_call_metric,
    .metric_series = t_call_metric_series,
    .metric_add = t_call_metric_add,
    .metric_set = t_call_metric_set,
    .metric_observe = t_call_metric_observe,
    .log = t_call_log,
    .log_enabled = t_call_log_enabled,
    .notice = t_call_notice,
    .post = t_call_post,
    .offload = t_call_offload,
    .fail = t_call_fail,
    .alloc = block_alloc,
    .dup = block_dup,
    .release = block_release,
};
