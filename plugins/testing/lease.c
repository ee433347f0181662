/* lease.c - leases of the test host: renewed while their context lasts, ended by the clock. */
#include "include/kvplugin-test.h"
#include "plugins/testing/world.h"

struct lease {
    struct list link; /* in world.leases */
    struct task task; /* when its time is up; not set while renewed */
    int64_t id;
    int64_t ttl_s;
    struct kvp_ctx *ctx; /* renews it; NULL = nobody */
    void (*lost)(void *data, int64_t id);
    void *data;
};

static struct lease *lease_find(int64_t id)
{
    LIST_FOREACH (it, &world->leases) {
        struct lease *l = LIST_ENTRY(it, struct lease, link);
        if (l->id == id) {
            return l;
        }
    }
    return NULL;
}

bool lease_known(int64_t id)
{
    return lease_find(id) != NULL;
}

static int64_t lease_delete_rows(int64_t id)
{
    struct store *s = &world->store;
    int64_t count = 0;
    store_begin(s);
    for (size_t i = 0; i < s->key_count; i++) {
        const struct kvp_row *row = store_row_at(s, i, 0);
        if (row != NULL && row->lease == id) {
            count += store_delete(s, slice_of_kvp(row->key));
        }
    }
    store_end(s);
    watches_feed();
    return count;
}

/* told: whether its owner hears of it. */
static void lease_end(struct lease *l, bool told)
{
    struct lease was = *l;
    task_cancel(&l->task);
    list_remove(&l->link);
    mem_free(l);
    lease_delete_rows(was.id);
    if (told && was.ctx != NULL && was.lost != NULL) {
        callback_begin();
        was.lost(was.data, was.id);
        callback_end();
    }
}

static void lease_task(struct task *t)
{
    lease_end(LIST_ENTRY(t, struct lease, task), true);
}

static void lease_until(struct lease *l)
{
    task_at(&l->task, world->now_ms + (uint64_t)l->ttl_s * 1000);
}

static void lease_grant_effect(struct call *c)
{
    int64_t id = c->lease.id != 0 ? c->lease.id : world->next_lease++;
    if (lease_known(id)) {
        call_refuse(c, KVP_EXISTS, "a lease of that id exists");
        return;
    }
    struct lease *l = mem_xzalloc(sizeof(*l));
    l->id = id;
    l->ttl_s = c->lease.ttl_s;
    l->lost = c->lease.lost;
    l->data = c->lease.data;
    l->task.run = lease_task;
    bool detached = (c->lease.flags & KVP_DETACHED) != 0;
    l->ctx = detached || c->ctx->stopped ? NULL : c->ctx;
    list_push_back(&world->leases, &l->link);
    if (l->ctx == NULL) {
        lease_until(l);
    }
    c->result.revision = world->store.revision;
    c->result.count = l->ttl_s;
    c->result.lease = id;
}

static void lease_renew_effect(struct call *c)
{
    struct lease *l = lease_find(c->number);
    if (l == NULL) {
        call_refuse(c, KVP_NOT_FOUND, "the lease has expired");
        return;
    }
    if (l->ctx == NULL) {
        lease_until(l);
    }
    c->result.count = l->ttl_s;
    c->result.lease = l->id;
}

static void lease_revoke_effect(struct call *c)
{
    struct lease *l = lease_find(c->number);
    if (l == NULL) {
        call_refuse(c, KVP_NOT_FOUND, "there is no such lease");
        return;
    }
    lease_end(l, false);
    c->result.revision = world->store.revision;
}

static void lease_deliver(struct call *c, const struct kvp_result *r)
{
    if (c->cb.done != NULL) {
        c->cb.done(c->data, r);
    }
}

static int lease_call(struct kvp_ctx *ctx, const char *name, void (*effect)(struct call *),
                      const struct kvp_lease_args *a, int64_t id, kvp_done_fn *cb, void *data)
{
    int reason = ctx->may_write ? 0 : KVP_NOT_LEADER;
    struct call *c = reason == 0 ? call_new(ctx, name, &reason) : NULL;
    if (c == NULL) {
        return reason;
    }
    c->writes = true;
    c->effect = effect;
    c->deliver = lease_deliver;
    c->cb.done = cb;
    c->data = data;
    c->number = id;
    if (a != NULL) {
        c->lease = *a;
    }
    call_go(c);
    return 0;
}

int t_call_lease_grant(struct kvp_ctx *ctx, const struct kvp_lease_args *a, kvp_done_fn *cb,
                       void *data)
{
    if (a == NULL || a->size == 0 || a->ttl_s <= 0 || a->id < 0) {
        misuse("lease_grant: an argument breaks its rule (KVP_INVALID)");
        return KVP_INVALID;
    }
    return lease_call(ctx, "lease_grant", lease_grant_effect, a, 0, cb, data);
}

int t_call_lease_renew(struct kvp_ctx *ctx, int64_t id, kvp_done_fn *cb, void *data)
{
    return lease_call(ctx, "lease_renew", lease_renew_effect, NULL, id, cb, data);
}

int t_call_lease_revoke(struct kvp_ctx *ctx, int64_t id, kvp_done_fn *cb, void *data)
{
    return lease_call(ctx, "lease_revoke", lease_revoke_effect, NULL, id, cb, data);
}

void leases_end(struct kvp_ctx *ctx)
{
    LIST_FOREACH (it, &world->leases) {
        struct lease *l = LIST_ENTRY(it, struct lease, link);
        if (l->ctx == ctx) {
            l->ctx = NULL;
            lease_until(l);
        }
    }
}

void leases_clear(void)
{
    for (struct list *it; (it = list_pop_front(&world->leases)) != NULL;) {
        struct lease *l = LIST_ENTRY(it, struct lease, link);
        task_cancel(&l->task);
        mem_free(l);
    }
}

int t_expire(int64_t id)
{
    world_need("t_expire");
    struct lease *l = lease_find(id);
    if (l == NULL) {
        return 0;
    }
    lease_end(l, true);
    return 1;
}

size_t t_leases(void)
{
    size_t count = 0;
    LIST_FOREACH (it, &world_need("t_leases")->leases) {
        count++;
    }
    return count;
}
