/* hello.c - the smallest useful plugin: /hello/NAME with an empty value becomes `stamped`. */
#include <kvplugin.h>
#include <stdio.h>

struct conf {
    const char *prefix;
};
static const struct kvp_option options[] = {{"prefix", KVP_OPT_STRING, 0,
                                             offsetof(struct conf, prefix), "/hello/",
                                             .help = "keys to stamp"},
                                            {0}};

struct hello {
    struct kvp_ctx *ctx;
    const struct kvp_host *host;
    struct kvp_cache *cache;
    uint32_t stamped; /* a counter */
};

/* Makes one key as it should be. Any failure on the way: called again, a little later each time. */
static int64_t reconcile(void *data, struct kvp_item *item, struct kvp_bytes key)
{
    struct hello *self = data;
    struct kvp_cached row = {.size = sizeof(row)};
    if (self->host->cache_get(self->cache, key, &row) != 0 ||
        ((const struct kvp_bytes *)row.object)->len > 0) {
        return KVP_DONE; /* gone, or stamped already */
    }
    self->host->metric_add(self->ctx, self->stamped, 1);
    struct kvp_put put = {.size = sizeof(put), .key = key, .value = kvp_str("stamped")};
    return self->host->item_put_if(item, &put, row.mod_revision);
}

static int init(struct kvp_ctx *ctx, const struct kvp_host *host, const void *conf, void **self,
                struct kvp_errmsg *e)
{
    struct hello *h = host->alloc(ctx, sizeof(*h));
    struct kvp_metric_args metric = {
        .size = sizeof(metric), .type = KVP_COUNTER, .name = "stamped", .help = "Stamps tried."};
    struct kvp_cache_args cache = {.size = sizeof(cache),
                                   .prefix = kvp_str(((const struct conf *)conf)->prefix)};
    if (h != NULL && host->metric(ctx, &metric, &h->stamped) == 0 &&
        host->cache_open(ctx, &cache, &h->cache) == 0) {
        h->ctx = ctx;
        h->host = host;
        *self = h;
        return 0;
    }
    host->release(ctx, h);
    snprintf(e->text, sizeof(e->text), "out of memory");
    return 1;
}

static int start(void *self, struct kvp_ctx *term_ctx, uint64_t term)
{
    struct hello *h = self;
    struct kvp_controller *controller;
    struct kvp_controller_args args = {
        .size = sizeof(args), .cache = h->cache, .reconcile = reconcile, .data = h};
    (void)term; /* the host adds it to the line */
    KVP_LOG(h->host, term_ctx, KVP_INFO, "stamping",
            kvp_f_int("keys", (int64_t)h->host->cache_len(h->cache)));
    return h->host->controller(term_ctx, &args, &controller);
}

static void fini(void *self)
{
    struct hello *h = self;
    h->host->release(h->ctx, h);
}

KVP_PLUGIN(.name = "hello", .version = "1.0", .about = "Stamps empty keys.", .options = options,
           .conf_size = sizeof(struct conf), .init = init, .start = start, .fini = fini);
