/* lease.c - leases: granted and revoked by proposals; the host renews those of a context at a third
 * of their time while the context lasts, then just stops, so that they expire. */
#include "plugins/host/host_impl.h"
#include "proto/codec.h"

/* Renewal that got no answer is tried again this soon. */
#define LEASE_AGAIN_MS 1000u

/* Home: one lease that is renewed. */
struct lease_kept {
    struct list link; /* kvp_ctx.home_leases; self-linked once lost */
    struct kvp_ctx *ctx;
    int64_t id;
    int64_t ttl;
    int64_t answer; /* of the renewal */
    struct lane_timer timer;
    struct service_write write;
    bool renewing;
    void (*lost)(void *data, int64_t id);
    void *data;
    struct lane_msg msg;
};

static void lease_kept_free(struct lease_kept *k)
{
    struct plugin_host *h = k->ctx->instance->host;
    list_remove(&k->link);
    lane_timer_cancel(&h->home, &k->timer);
    if (k->renewing) {
        h->o.service->cancel_write(h->o.service, &k->write);
    }
    mem_free(k);
}

void lease_home_end(struct kvp_ctx *ctx)
{
    while (!list_empty(&ctx->home_leases)) {
        lease_kept_free(LIST_ENTRY(ctx->home_leases.next, struct lease_kept, link));
    }
}

/* ---- renewing ----------------------------------------------------------------------------------
 */

static void lease_on_lost(struct lane_msg *m) /* lane */
{
    struct lease_kept *k = LIST_ENTRY(m, struct lease_kept, msg);
    struct instance *in = k->ctx->instance;
    if (!atomic_load(&k->ctx->closed)) {
        callback_enter(in, "lease lost", slice_of(NULL, 0), 0);
        k->lost(k->data, k->id);
        callback_leave(in);
    }
    mem_free(k);
}

static void lease_lose(struct lease_kept *k)
{
    list_remove(&k->link);
    if (k->lost == NULL) {
        mem_free(k);
        return;
    }
    k->msg.run = lease_on_lost;
    lane_post(&k->ctx->instance->lane, &k->msg);
}

static void lease_arm(struct lease_kept *k, uint64_t ms)
{
    struct lane *home = &k->ctx->instance->host->home;
    if (!lane_timer_set(home, &k->timer, lane_now(home) + ms)) {
        lease_lose(k); /* it cannot be kept: say so while it still lives */
    }
}

static uint64_t lease_third_ms(const struct lease_kept *k)
{
    return k->ttl > 0 ? (uint64_t)k->ttl * 1000u / 3u : LEASE_AGAIN_MS;
}

static void lease_on_renewed(struct service_write *w, int err, int64_t revision, struct slice body)
{
    struct lease_kept *k = w->data;
    (void)revision, (void)body;
    k->renewing = false;
    if (err == 0 && k->answer <= 0) {
        lease_lose(k);
        return;
    }
    lease_arm(k, err == 0 ? lease_third_ms(k) : LEASE_AGAIN_MS);
}

static void lease_on_timer(struct lane_timer *t)
{
    struct lease_kept *k = LIST_ENTRY(t, struct lease_kept, timer);
    struct service *s = k->ctx->instance->host->o.service;
    k->renewing = true;
    k->write.data = k;
    k->write.cb = lease_on_renewed;
    s->lease_keep_alive(s, &k->write, k->id, &k->answer);
}

static struct lease_kept *lease_find(const struct kvp_ctx *ctx, int64_t id)
{
    LIST_FOREACH (it, &ctx->home_leases) {
        struct lease_kept *k = LIST_ENTRY(it, struct lease_kept, link);
        if (k->id == id) {
            return k;
        }
    }
    return NULL;
}

/* ---- requests ----------------------------------------------------------------------------------
 * number: the id; number2: the ttl; extra: struct lease_kept, prepared by the lane. */

static void lease_on_granted(struct service_write *w, int err, int64_t revision, struct slice body)
{
    struct request *r = w->data;
    struct lease_kept *k = r->extra;
    struct wire_field f;
    r->extra = NULL;
    r->unknown = err == ERR_STOPPED;
    while (err == 0 && wire_next(&body, &f) > 0) { /* LeaseGrantResponse: ID 2, TTL 3 */
        if (f.number == 2) {
            r->number = (int64_t)f.value;
        } else if (f.number == 3) {
            r->number2 = (int64_t)f.value;
        }
    }
    if (k != NULL && err == 0) {
        k->id = r->number;
        k->ttl = r->number2;
        list_push_back(&r->ctx->home_leases, &k->link);
        lease_arm(k, lease_third_ms(k));
    } else {
        mem_free(k);
    }
    request_answer(r, err, revision, slice_of(NULL, 0));
}

static void lease_grant_start(struct request *r)
{
    struct service *s = r->ctx->instance->host->o.service;
    r->u.write.data = r;
    r->u.write.cb = lease_on_granted;
    s->lease_grant_as(s, &r->u.write, r->number, r->number2, request_stamp(r));
}

static void lease_finish(struct request *r, struct kvp_result *result)
{
    mem_free(r->extra); /* it never got to the service */
    result->lease = r->number;
    result->count = r->number2;
    if (r->cb.done != NULL) {
        r->cb.done(r->data, result);
    }
}

static const struct request_kind lease_grant_kind = {.name = "lease grant",
                                                     .is_write = true,
                                                     .start = lease_grant_start,
                                                     .cancel = request_cancel_write,
                                                     .finish = lease_finish};

static void lease_revoke_start(struct request *r)
{
    struct lease_kept *k = lease_find(r->ctx, r->number);
    if (k != NULL) {
        lease_kept_free(k);
    }
    request_propose(r, SERVICE_LEASE_REVOKE);
}

static const struct request_kind lease_revoke_kind = {.name = "lease revoke",
                                                      .is_write = true,
                                                      .start = lease_revoke_start,
                                                      .cancel = request_cancel_write,
                                                      .finish = lease_finish};

static void lease_on_asked(struct service_write *w, int err, int64_t revision, struct slice body)
{
    struct request *r = w->data;
    (void)body;
    if (err == 0 && r->number2 <= 0) {
        err = ERR_LEASE_NOT_FOUND;
    }
    request_answer(r, err, revision, slice_of(NULL, 0));
}

static void lease_renew_start(struct request *r)
{
    struct service *s = r->ctx->instance->host->o.service;
    r->u.write.data = r;
    r->u.write.cb = lease_on_asked;
    s->lease_keep_alive(s, &r->u.write, r->number, &r->number2);
}

static const struct request_kind lease_renew_kind = {.name = "lease renew",
                                                     .is_write = true,
                                                     .start = lease_renew_start,
                                                     .cancel = request_cancel_write,
                                                     .finish = lease_finish};

/* ---- calls -------------------------------------------------------------------------------------
 */

static struct lease_kept *lease_prepare(struct kvp_ctx *ctx, const struct kvp_lease_args *a)
{
    struct lease_kept *k = mem_zalloc(sizeof(*k));
    if (k != NULL) {
        list_init(&k->link);
        k->ctx = ctx;
        k->lost = a->lost;
        k->data = a->data;
        k->timer.fire = lease_on_timer;
    }
    return k;
}

static int host_lease_grant(struct kvp_ctx *ctx, const struct kvp_lease_args *a, kvp_done_fn *cb,
                            void *data)
{
    int reason = ctx_check_write(ctx);
    if (reason != 0) {
        return reason;
    }
    if (a == NULL || a->size < sizeof(*a) || (a->flags & ~KVP_DETACHED) != 0 || a->ttl_s <= 0 ||
        a->ttl_s > LEASE_TTL_SECONDS_MAX || a->id < 0 || cb == NULL) {
        return KVP_INVALID;
    }
    struct request *r = request_new(ctx, &lease_grant_kind, data, &reason);
    if (r == NULL) {
        return reason;
    }
    r->cb.done = cb;
    r->number = a->id;
    r->number2 = a->ttl_s;
    if ((a->flags & KVP_DETACHED) == 0) {
        r->extra = lease_prepare(ctx, a);
        if (r->extra == NULL) {
            request_free(r);
            return KVP_NO_MEMORY;
        }
    }
    return request_submit(r);
}

static int lease_simple(struct kvp_ctx *ctx, const struct request_kind *kind, int64_t id,
                        kvp_done_fn *cb, void *data)
{
    int reason = ctx_check_write(ctx);
    if (reason != 0) {
        return reason;
    }
    if (id <= 0) {
        return KVP_INVALID;
    }
    struct request *r = request_new(ctx, kind, data, &reason);
    if (r == NULL) {
        return reason;
    }
    r->cb.done = cb;
    r->number = id;
    wire_put_uint(&r->request, 1, (uint64_t)id); /* LeaseRevokeRequest */
    return request_submit(r);
}

static int host_lease_revoke(struct kvp_ctx *ctx, int64_t id, kvp_done_fn *cb, void *data)
{
    return lease_simple(ctx, &lease_revoke_kind, id, cb, data);
}

static int host_lease_renew(struct kvp_ctx *ctx, int64_t id, kvp_done_fn *cb, void *data)
{
    return lease_simple(ctx, &lease_renew_kind, id, cb, data);
}

void lease_calls(struct kvp_host *t)
{
    t->lease_grant = host_lease_grant;
    t->lease_revoke = host_lease_revoke;
    t->lease_renew = host_lease_renew;
}
