/* request.c - one asynchronous call of a plugin: from its lane to the store loop and back. */
#include "plugins/host/host_impl.h"

#include "base/log.h"

static void request_on_home(struct lane_msg *m)
{
    struct request *r = LIST_ENTRY(m, struct request, msg);
    struct kvp_ctx *ctx = r->ctx;
    list_push_back(&ctx->home_requests, &r->home_link);
    if (ctx->home_ending) {
        request_answer(r, ERR_STOPPED, 0, slice_of(NULL, 0));
        return;
    }
    r->kind->start(r);
}

static void request_on_lane(struct lane_msg *m)
{
    struct request *r = LIST_ENTRY(m, struct request, msg);
    struct instance *in = r->ctx->instance;
    struct kvp_result result;
    list_remove(&r->link);
    answer_result(&result, r->err, r->unknown, r->revision);
    callback_enter(in, r->kind->name, slice_of(NULL, 0), r->revision);
    r->kind->finish(r, &result);
    callback_leave(in);
    request_free(r);
}

struct request *request_new(struct kvp_ctx *ctx, const struct request_kind *kind, void *data,
                            int *reason)
{
    struct instance *in = ctx->instance;
    if (atomic_load(&in->requests) >= PLUGIN_REQUESTS_MAX ||
        atomic_load(&in->request_bytes) >= PLUGIN_REQUEST_BYTES_MAX) {
        *reason = KVP_BUSY;
        return NULL;
    }
    struct request *r = mem_zalloc(sizeof(*r));
    if (r == NULL) {
        *reason = KVP_NO_MEMORY;
        return NULL;
    }
    r->ctx = ctx;
    r->kind = kind;
    r->data = data;
    list_init(&r->link);
    list_init(&r->home_link);
    atomic_fetch_add(&in->requests, 1);
    atomic_fetch_add(&in->writes, kind->is_write);
    return r;
}

void request_free(struct request *r)
{
    atomic_fetch_sub(&r->ctx->instance->requests, 1);
    atomic_fetch_sub(&r->ctx->instance->writes, r->kind->is_write);
    atomic_fetch_sub(&r->ctx->instance->request_bytes, r->counted_bytes);
    buf_close(&r->request);
    buf_close(&r->body);
    mem_free(r);
}

int request_submit(struct request *r)
{
    struct instance *in = r->ctx->instance;
    if (r->request.failed) {
        request_free(r);
        return KVP_NO_MEMORY;
    }
    r->counted_bytes = r->request.len;
    atomic_fetch_add(&in->request_bytes, r->counted_bytes);
    list_push_back(&r->ctx->requests, &r->link);
    r->msg.run = request_on_home;
    lane_post(&in->host->home, &r->msg);
    return 0;
}

void request_answer(struct request *r, int err, int64_t revision, struct slice body)
{
    struct kvp_ctx *ctx = r->ctx;
    r->err = err;
    r->revision = revision;
    /* What err.def does not call retryable may have happened, if it is a write. */
    r->unknown =
        r->unknown || (err != 0 && r->kind->is_write && !err_retryable(err) && err != ERR_STOPPED);
    if (body.len > 0 && !buf_append_slice(&r->body, body)) {
        /* It happened, or was read; only the answer cannot be given. */
        r->err = ERR_NOMEM;
        r->unknown = r->kind->is_write;
    }
    list_remove(&r->home_link);
    r->msg.run = request_on_lane;
    if (!r->kind->is_slow && r->body.len <= LANE_QUICK_BYTES_MAX) {
        lane_post_quick(&ctx->instance->lane, &r->msg);
    } else {
        lane_post(&ctx->instance->lane, &r->msg);
    }
    ctx_home_check(ctx);
}

const struct service_stamp *request_stamp(const struct request *r)
{
    return r->ctx->is_term && !HOST_BUG(HOST_BUG_NO_STAMP) ? &r->ctx->stamp : NULL;
}

static void request_on_written(struct service_write *w, int err, int64_t revision,
                               struct slice body)
{
    struct request *r = w->data;
    if (err == ERR_STOPPED) {
        r->unknown = true; /* it was proposed: the process ends before its result is known */
    }
    request_answer(r, err, revision, body);
}

void request_propose(struct request *r, enum service_op op)
{
    struct service *s = r->ctx->instance->host->o.service;
    r->u.write.data = r;
    r->u.write.cb = request_on_written;
    struct slice bytes = buf_slice(&r->request);
    const struct service_stamp *stamp = request_stamp(r);
    if (stamp != NULL) {
        s->propose_as(s, &r->u.write, op, bytes, stamp);
    } else {
        s->propose(s, &r->u.write, op, bytes);
    }
}

void request_cancel_write(struct request *r)
{
    struct service *s = r->ctx->instance->host->o.service;
    s->cancel_write(s, &r->u.write);
    r->unknown = true;
    request_answer(r, ERR_STOPPED, 0, slice_of(NULL, 0));
}

void request_cancel_all(struct kvp_ctx *ctx)
{
    /* Those that cannot be canceled (work on a pool thread) stay in the list. */
    for (struct list *it = ctx->home_requests.next, *next; it != &ctx->home_requests; it = next) {
        next = it->next;
        struct request *r = LIST_ENTRY(it, struct request, home_link);
        r->kind->cancel(r);
    }
}
