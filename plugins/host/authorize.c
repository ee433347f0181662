/* authorize.c - may this identity do that? The store has no users and roles yet, which is what etcd
 * calls auth off: everybody may do all. The answer takes the way it will take then. */
#include "plugins/host/host_impl.h"

static void authorize_start(struct request *r)
{
    struct service *s = r->ctx->instance->host->o.service;
    request_answer(r, 0, s->revision(s), slice_of(NULL, 0));
}

/* Answered where it starts: nothing waits at home. */
static void authorize_cancel(struct request *r)
{
    request_answer(r, ERR_STOPPED, 0, slice_of(NULL, 0));
}

static void authorize_finish(struct request *r, struct kvp_result *result)
{
    r->cb.done(r->data, result);
}

static const struct request_kind authorize_kind = {.name = "authorize",
                                                   .start = authorize_start,
                                                   .cancel = authorize_cancel,
                                                   .finish = authorize_finish};

static int host_authorize(struct kvp_ctx *ctx, const struct kvp_identity *identity, uint32_t verb,
                          struct kvp_bytes key, struct kvp_bytes end, kvp_done_fn *cb, void *data)
{
    int reason = ctx_check(ctx);
    if (reason != 0) {
        return reason;
    }
    if (identity == NULL || identity->size < sizeof(*identity) || cb == NULL ||
        (verb != KVP_VERB_GET && verb != KVP_VERB_UPDATE)) {
        return KVP_INVALID;
    }
    struct request *r = request_new(ctx, &authorize_kind, data, &reason);
    if (r == NULL) {
        return reason;
    }
    r->cb.done = cb;
    if (!encode_range_bounds(&r->request, 1, 2, key, end, kvp_bytes_of(NULL, 0), false)) {
        request_free(r);
        return KVP_INVALID;
    }
    return request_submit(r);
}

void authorize_calls(struct kvp_host *t)
{
    t->authorize = host_authorize;
}
