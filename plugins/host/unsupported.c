/* unsupported.c - calls of the table that this host does not offer yet. */
#include "plugins/host/host_impl.h"

static int none_cache_open(struct kvp_ctx *ctx, const struct kvp_cache_args *a,
                           struct kvp_cache **out)
{
    (void)ctx, (void)a, (void)out;
    return KVP_UNSUPPORTED;
}

static int none_cache_on(struct kvp_cache *c, const struct kvp_cache_handlers *h)
{
    (void)c, (void)h;
    return KVP_UNSUPPORTED;
}

static int none_cache_get(struct kvp_cache *c, struct kvp_bytes key, struct kvp_cached *out)
{
    (void)c, (void)key, (void)out;
    return KVP_UNSUPPORTED;
}

static int none_cache_each(struct kvp_cache *c, kvp_each_fn *each, void *data)
{
    (void)c, (void)each, (void)data;
    return KVP_UNSUPPORTED;
}

static int none_cache_by_index(struct kvp_cache *c, size_t index, struct kvp_bytes value,
                               kvp_each_fn *each, void *data)
{
    (void)c, (void)index, (void)value, (void)each, (void)data;
    return KVP_UNSUPPORTED;
}

static int none_cache_synced(struct kvp_cache *c)
{
    (void)c;
    return 0;
}

static int64_t none_cache_revision(struct kvp_cache *c)
{
    (void)c;
    return 0;
}

static size_t none_cache_len(struct kvp_cache *c)
{
    (void)c;
    return 0;
}

static void none_cache_close(struct kvp_cache *c)
{
    (void)c;
}

static void none_index_emit(struct kvp_emit *emit, struct kvp_bytes value)
{
    (void)emit, (void)value;
}

static int none_queue_open(struct kvp_ctx *ctx, const struct kvp_queue_args *a,
                           struct kvp_queue **out)
{
    (void)ctx, (void)a, (void)out;
    return KVP_UNSUPPORTED;
}

static int none_queue_add(struct kvp_queue *q, struct kvp_bytes key)
{
    (void)q, (void)key;
    return KVP_UNSUPPORTED;
}

static int none_queue_add_after(struct kvp_queue *q, struct kvp_bytes key, uint64_t ms)
{
    (void)q, (void)key, (void)ms;
    return KVP_UNSUPPORTED;
}

static int none_queue_add_limited(struct kvp_queue *q, struct kvp_bytes key)
{
    (void)q, (void)key;
    return KVP_UNSUPPORTED;
}

static void none_queue_forget(struct kvp_queue *q, struct kvp_bytes key)
{
    (void)q, (void)key;
}

static void none_queue_done(struct kvp_queue *q, struct kvp_bytes key)
{
    (void)q, (void)key;
}

static size_t none_queue_len(struct kvp_queue *q)
{
    (void)q;
    return 0;
}

static void none_queue_close(struct kvp_queue *q)
{
    (void)q;
}

static int none_controller(struct kvp_ctx *ctx, const struct kvp_controller_args *a,
                           struct kvp_controller **out)
{
    (void)ctx, (void)a, (void)out;
    return KVP_UNSUPPORTED;
}

static int none_controller_add(struct kvp_controller *c, struct kvp_bytes key)
{
    (void)c, (void)key;
    return KVP_UNSUPPORTED;
}

static int none_controller_add_after(struct kvp_controller *c, struct kvp_bytes key, uint64_t ms)
{
    (void)c, (void)key, (void)ms;
    return KVP_UNSUPPORTED;
}

static void none_controller_close(struct kvp_controller *c)
{
    (void)c;
}

static int64_t none_item_put(struct kvp_item *item, const struct kvp_put *p)
{
    (void)item, (void)p;
    return KVP_RETRY;
}

static int64_t none_item_put_if(struct kvp_item *item, const struct kvp_put *p,
                                int64_t mod_revision)
{
    (void)item, (void)p, (void)mod_revision;
    return KVP_RETRY;
}

static int64_t none_item_txn(struct kvp_item *item, struct kvp_txn *txn)
{
    (void)item, (void)txn;
    return KVP_RETRY;
}

static void none_item_done(struct kvp_item *item, int64_t result)
{
    (void)item, (void)result;
}

void unsupported_calls(struct kvp_host *t)
{
    t->cache_open = none_cache_open;
    t->cache_on = none_cache_on;
    t->cache_get = none_cache_get;
    t->cache_each = none_cache_each;
    t->cache_by_index = none_cache_by_index;
    t->cache_synced = none_cache_synced;
    t->cache_revision = none_cache_revision;
    t->cache_len = none_cache_len;
    t->cache_close = none_cache_close;
    t->index_emit = none_index_emit;
    t->queue_open = none_queue_open;
    t->queue_add = none_queue_add;
    t->queue_add_after = none_queue_add_after;
    t->queue_add_limited = none_queue_add_limited;
    t->queue_forget = none_queue_forget;
    t->queue_done = none_queue_done;
    t->queue_len = none_queue_len;
    t->queue_close = none_queue_close;
    t->controller = none_controller;
    t->controller_add = none_controller_add;
    t->controller_add_after = none_controller_add_after;
    t->controller_close = none_controller_close;
    t->item_put = none_item_put;
    t->item_put_if = none_item_put_if;
    t->item_txn = none_item_txn;
    t->item_done = none_item_done;
}
