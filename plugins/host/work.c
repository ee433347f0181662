/* work.c - post, offload, fail, and memory counted per plugin. */
#include "plugins/host/host_impl.h"

#include <stdalign.h>

#include "base/log.h"
#include "plugins/host/blame.h"

/* ---- post --------------------------------------------------------------------------------------
 */

struct post {
    struct lane_msg msg;
    struct kvp_ctx *ctx;
    void (*fn)(void *data);
    void *data;
};

static void post_on_lane(struct lane_msg *m)
{
    struct post *p = LIST_ENTRY(m, struct post, msg);
    struct kvp_ctx *ctx = p->ctx;
    struct instance *in = ctx->instance;
    pthread_mutex_lock(&ctx->post_lock);
    ctx->posts--;
    pthread_mutex_unlock(&ctx->post_lock);
    if (!ctx->silent) {
        callback_enter(in, "post", slice_of(NULL, 0), 0);
        p->fn(p->data);
        callback_leave(in);
    }
    mem_free(p);
}

static int host_post(struct kvp_ctx *ctx, void (*fn)(void *data), void *data)
{
    if (ctx == NULL || fn == NULL) {
        return KVP_INVALID;
    }
    struct post *p = mem_alloc(sizeof(*p));
    if (p == NULL) {
        return KVP_NO_MEMORY;
    }
    *p = (struct post){.msg.run = post_on_lane, .ctx = ctx, .fn = fn, .data = data};
    pthread_mutex_lock(&ctx->post_lock);
    int reason = ctx->post_closed ? KVP_STOPPED : ctx->posts >= PLUGIN_POSTS_MAX ? KVP_BUSY : 0;
    if (reason == 0) {
        ctx->posts++;
        lane_post_quick(&ctx->instance->lane, &p->msg); /* under the lock: see ctx_on_end */
    }
    pthread_mutex_unlock(&ctx->post_lock);
    if (reason != 0) {
        mem_free(p);
    }
    return reason;
}

/* ---- offload -----------------------------------------------------------------------------------
 * extra: the work function; flag: it is on a pool thread; home_link is in the context's list all
 * the time, link2 in the host's while it waits. */

struct work_wait {
    struct list link; /* plugin_host.works */
    struct request *request;
    void (*work)(void *data);
};

static void work_on_pool(uv_work_t *work)
{
    struct request *r = work->data;
    struct work_wait *w = r->extra;
    blame_begin(r->ctx->instance->crumb, CRUMB_DIED_WORK);
    w->work(r->data);
    blame_end();
}

/* A host without a loop has no other threads either. */
static void work_after_inline(struct request *r)
{
    r->ctx->instance->host->works_running--;
    request_answer(r, 0, 0, slice_of(NULL, 0));
}

static void work_after(uv_work_t *work, int status)
{
    struct request *r = work->data;
    struct plugin_host *h = r->ctx->instance->host;
    h->works_running--;
    request_answer(r, status == 0 ? 0 : ERR_CANCELED, 0, slice_of(NULL, 0));
    work_next(h);
}

void work_next(struct plugin_host *h)
{
    while (h->works_running < PLUGIN_WORKS_RUNNING_MAX && !list_empty(&h->works)) {
        struct work_wait *w = LIST_ENTRY(list_pop_front(&h->works), struct work_wait, link);
        struct request *r = w->request;
        r->flag = true;
        r->u.work.data = r;
        h->works_running++;
        if (h->o.loop == NULL) {
            work_on_pool(&r->u.work);
            work_after_inline(r);
        } else if (uv_queue_work(h->o.loop, &r->u.work, work_on_pool, work_after) != 0) {
            h->works_running--;
            request_answer(r, ERR_CANCELED, 0, slice_of(NULL, 0));
        }
    }
}

static void work_start(struct request *r)
{
    struct plugin_host *h = r->ctx->instance->host;
    struct work_wait *w = r->extra;
    list_push_back(&h->works, &w->link);
    work_next(h);
}

static void work_cancel(struct request *r)
{
    struct work_wait *w = r->extra;
    if (r->flag) {
        (void)uv_cancel((uv_req_t *)&r->u.work); /* work_after answers, now or when it is done */
        return;
    }
    list_remove(&w->link);
    request_answer(r, ERR_CANCELED, 0, slice_of(NULL, 0));
}

static void work_finish(struct request *r, struct kvp_result *result)
{
    (void)result;
    mem_free(r->extra);
    if (r->cb.work != NULL) {
        r->cb.work(r->data, r->err != 0);
    }
}

static const struct request_kind work_kind = {.name = "offload",
                                              .is_slow = true,
                                              .start = work_start,
                                              .cancel = work_cancel,
                                              .finish = work_finish};

static int host_offload(struct kvp_ctx *ctx, void (*work)(void *data),
                        void (*done)(void *data, int canceled), void *data)
{
    int reason = ctx_check(ctx);
    if (reason != 0) {
        return reason;
    }
    if (work == NULL || done == NULL) {
        return KVP_INVALID;
    }
    struct request *r = request_new(ctx, &work_kind, data, &reason);
    if (r == NULL) {
        return reason;
    }
    struct work_wait *w = mem_zalloc(sizeof(*w));
    if (w == NULL) {
        request_free(r);
        return KVP_NO_MEMORY;
    }
    list_init(&w->link);
    w->request = r;
    w->work = work;
    r->extra = w;
    r->cb.work = done;
    return request_submit(r);
}

/* ---- fail --------------------------------------------------------------------------------------
 */

struct failure {
    struct lane_msg msg;
    struct instance *instance;
    uint64_t term;
    char why[ERRMSG_BYTES_MAX];
};

static void failure_on_home(struct lane_msg *m)
{
    struct failure *f = LIST_ENTRY(m, struct failure, msg);
    plugin_fail(f->instance->plugin, f->term, f->why);
    mem_free(f);
}

static void host_fail(struct kvp_ctx *ctx, const char *why)
{
    if (ctx_check(ctx) != 0) {
        return;
    }
    struct failure *f = mem_zalloc(sizeof(*f));
    if (f == NULL) {
        LOG(LOG_ERROR, "a plugin asks to be restarted, but there is no memory for it",
            F_STR("plugin", ctx->instance->name), F_STR("why", why));
        return;
    }
    f->msg.run = failure_on_home;
    f->instance = ctx->instance;
    f->term = ctx->is_term ? ctx->stamp.term : 0;
    strncpy(f->why, why != NULL ? why : "", sizeof(f->why) - 1);
    lane_post(&ctx->instance->host->home, &f->msg);
}

/* ---- memory ------------------------------------------------------------------------------------
 */

struct memory {
    size_t size;
    alignas(16) uint8_t bytes[];
};

static void *host_alloc(struct kvp_ctx *ctx, size_t size)
{
    if (size > SIZE_MAX - sizeof(struct memory)) {
        return NULL;
    }
    struct memory *m = mem_alloc(sizeof(*m) + size);
    if (m == NULL) {
        return NULL;
    }
    m->size = size;
    atomic_fetch_add(&ctx->instance->memory_bytes, size);
    atomic_fetch_add(&ctx->instance->allocations, 1);
    return m->bytes;
}

static void *host_dup(struct kvp_ctx *ctx, struct kvp_bytes bytes)
{
    uint8_t *copy = bytes.len < SIZE_MAX ? host_alloc(ctx, bytes.len + 1) : NULL;
    if (copy != NULL) {
        if (bytes.len > 0) {
            memcpy(copy, bytes.data, bytes.len);
        }
        copy[bytes.len] = 0;
    }
    return copy;
}

static void host_release(struct kvp_ctx *ctx, void *memory)
{
    if (memory == NULL) {
        return;
    }
    struct memory *m =
        (struct memory *)(void *)((uint8_t *)memory - offsetof(struct memory, bytes));
    atomic_fetch_sub(&ctx->instance->memory_bytes, m->size);
    atomic_fetch_sub(&ctx->instance->allocations, 1);
    mem_free(m);
}

static const char *host_data_dir(struct kvp_ctx *ctx)
{
    return ctx->instance->host->data_dir;
}

void work_calls(struct kvp_host *t)
{
    t->post = host_post;
    t->offload = host_offload;
    t->fail = host_fail;
    t->alloc = host_alloc;
    t->dup = host_dup;
    t->release = host_release;
    t->data_dir = host_data_dir;
}
