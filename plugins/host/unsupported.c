/* unsupported.c - calls of the table that this host does not offer yet. */
#include "plugins/host/host_impl.h"

static int none_http_listen(struct kvp_ctx *ctx, const struct kvp_listen_args *a,
                            struct kvp_listener **out, uint32_t *out_port, struct kvp_errmsg *e)
{
    (void)ctx, (void)a, (void)out, (void)out_port, (void)e;
    return KVP_UNSUPPORTED;
}

static int none_http_route(struct kvp_ctx *ctx, const struct kvp_route_args *a)
{
    (void)ctx, (void)a;
    return KVP_UNSUPPORTED;
}

static void none_http_set_data(struct kvp_http *x, void *data)
{
    (void)x, (void)data;
}

static void *none_http_data(struct kvp_http *x)
{
    (void)x;
    return NULL;
}

static int none_http_respond(struct kvp_http *x, uint32_t status, const struct kvp_pair *headers,
                             size_t count)
{
    (void)x, (void)status, (void)headers, (void)count;
    return KVP_UNSUPPORTED;
}

static int none_http_write(struct kvp_http *x, struct kvp_bytes bytes)
{
    (void)x, (void)bytes;
    return KVP_UNSUPPORTED;
}

static int none_http_finish(struct kvp_http *x)
{
    (void)x;
    return KVP_UNSUPPORTED;
}

static void none_http_abort(struct kvp_http *x)
{
    (void)x;
}

static void none_http_pause(struct kvp_http *x, int pause)
{
    (void)x, (void)pause;
}

static int none_object(struct kvp_ctx *ctx, const struct kvp_object_args *a,
                       struct kvp_object **out)
{
    (void)ctx, (void)a, (void)out;
    return KVP_UNSUPPORTED;
}

static void none_object_cancel(struct kvp_object *o)
{
    (void)o;
}

static int none_provide(struct kvp_ctx *ctx, const struct kvp_provide_args *a)
{
    (void)ctx, (void)a;
    return KVP_UNSUPPORTED;
}

static struct kvp_ctx *none_call_ctx(struct kvp_call *c)
{
    (void)c;
    return NULL;
}

static int none_call_event(struct kvp_call *c, struct kvp_bytes type, struct kvp_bytes object,
                           int64_t revision)
{
    (void)c, (void)type, (void)object, (void)revision;
    return KVP_UNSUPPORTED;
}

static int none_call_answer(struct kvp_call *c, const struct kvp_object_answer *a)
{
    (void)c, (void)a;
    return KVP_UNSUPPORTED;
}

static int none_authorize(struct kvp_ctx *ctx, const struct kvp_identity *identity, uint32_t verb,
                          struct kvp_bytes key, struct kvp_bytes end, kvp_done_fn *cb, void *data)
{
    (void)ctx, (void)identity, (void)verb, (void)key, (void)end, (void)cb, (void)data;
    return KVP_UNSUPPORTED;
}

void unsupported_calls(struct kvp_host *t)
{
    t->http_listen = none_http_listen;
    t->http_route = none_http_route;
    t->http_set_data = none_http_set_data;
    t->http_data = none_http_data;
    t->http_respond = none_http_respond;
    t->http_write = none_http_write;
    t->http_finish = none_http_finish;
    t->http_abort = none_http_abort;
    t->http_pause = none_http_pause;
    t->object = none_object;
    t->object_cancel = none_object_cancel;
    t->provide = none_provide;
    t->call_ctx = none_call_ctx;
    t->call_event = none_call_event;
    t->call_answer = none_call_answer;
    t->authorize = none_authorize;
}
