/* leases.c - granting, renewing and expiring leases (contract section 4).
 *
 * Renewals are not replicated: the primary (a leader whose barrier is applied) just moves the
 * expiry. Everything that forbids that for a moment puts the renewal into `waiting`: no leader yet;
 * a loop that stood still for long and may no longer lead (it confirms first, L-06 and L-14); an
 * expired lease that awaits its revoke (L-07). Each apply, role change and tick looks at them
 * again. Expiry: every LEASES_TICK_MS the store says which leases are over, and each is revoked by
 * a proposal, so that all members delete the same keys in the same revision. */
#include "base/log.h"
#include "base/rand.h"
#include "kvd/node_metrics.h"
#include "kvd/serve_impl.h"
#include "proto/codec.h"

#define LEASES_TICK_MS 500u /* L-10 */

static void leases_on_tick(struct rpc_timer *t);

static struct keep_alive *keep_alive_of(struct service_write *w)
{
    return (struct keep_alive *)(void *)w->impl;
}

static struct service_write *keep_alive_write(struct keep_alive *k)
{
    return (struct service_write *)(void *)((char *)k - offsetof(struct service_write, impl));
}

void leases_init(struct serve *s)
{
    list_init(&s->leases.waiting);
    s->leases.tick.fire = leases_on_tick;
}

/* ---- grant -------------------------------------------------------------------------------------
 */

/* L-01: random, positive, 63 bits, not in use. */
static int64_t leases_pick_id(struct serve *s)
{
    struct kv_lease_info info;
    int64_t id;
    do {
        rand_system(&id, sizeof(id));
        id &= INT64_MAX;
    } while (id == 0 || kv_lease_lookup(s->kv, id, serve_now(s), &info));
    return id;
}

void leases_grant(struct service *service, struct service_write *w, int64_t id, int64_t ttl)
{
    leases_grant_as(service, w, id, ttl, NULL);
}

void leases_grant_as(struct service *service, struct service_write *w, int64_t id, int64_t ttl,
                     const struct service_stamp *stamp)
{
    struct serve *s = serve_of(service);
    if (id == 0) {
        id = leases_pick_id(s);
    }
    if (ttl < s->o.cfg->lease_min_ttl_s) {
        ttl = s->o.cfg->lease_min_ttl_s;
    }
    struct buf request;
    buf_init(&request);
    wire_put_uint(&request, 1, (uint64_t)ttl);
    wire_put_uint(&request, 2, (uint64_t)id);
    if (request.failed) {
        w->number = 0;
        w->cb(w, ERR_NOMEM, 0, slice_of(NULL, 0));
    } else {
        proposals_propose_as(service, w, SERVICE_LEASE_GRANT, buf_slice(&request), stamp);
    }
    buf_close(&request);
}

/* ---- renewals ----------------------------------------------------------------------------------
 */

static void keep_alive_answer(struct serve *s, struct keep_alive *k, int err, int64_t ttl)
{
    struct service_write *w = keep_alive_write(k);
    int64_t revision = k->revision;
    *k->ttl = ttl;
    list_remove(&k->link);
    (void)s;
    w->cb(w, err, revision, slice_of(NULL, 0));
}

/* Renews if that is possible now. true = answered. */
static bool keep_alive_try(struct serve *s, struct keep_alive *k)
{
    struct kv_lease_info info;
    int64_t ttl = 0;
    if (!s->primary || s->leases.stale) {
        return false;
    }
    int err = kv_lease_renew(s->kv, k->id, serve_now(s), &ttl);
    if (err == ERR_LEASE_NOT_FOUND) {
        if (kv_lease_lookup(s->kv, k->id, serve_now(s), &info)) {
            return false; /* its revoke is on the way */
        }
        keep_alive_answer(s, k, 0, 0);
        return true;
    }
    if (err == 0) {
        node_metrics_lease_renewed();
    }
    keep_alive_answer(s, k, err, ttl);
    return true;
}

static void leases_retry(struct serve *s)
{
    struct list again;
    list_init(&again);
    list_splice_back(&again, &s->leases.waiting);
    while (!list_empty(&again)) {
        struct keep_alive *k = LIST_ENTRY(list_pop_front(&again), struct keep_alive, link);
        if (!keep_alive_try(s, k)) {
            list_push_back(&s->leases.waiting, &k->link);
        }
    }
}

static void leases_arm(struct serve *s, uint64_t in_ms)
{
    if (!rpc_timer_is_set(&s->leases.tick)) {
        timers_set(&s->timers, &s->leases.tick, serve_now(s) + in_ms);
    }
}

void leases_keep_alive(struct service *service, struct service_write *w, int64_t id, int64_t *ttl)
{
    struct serve *s = serve_of(service);
    struct keep_alive *k = keep_alive_of(w);
    w->number = 0;
    *k = (struct keep_alive){
        .id = id, .ttl = ttl, .revision = kv_revision(s->kv), .start_ms = serve_now(s)};
    list_init(&k->link);
    if (s->stopping) {
        keep_alive_answer(s, k, ERR_STOPPED, 0);
        return;
    }
    if (!keep_alive_try(s, k)) {
        list_push_back(&s->leases.waiting, &k->link);
        leases_arm(s, LEASES_TICK_MS);
    }
}

bool leases_cancel(struct serve *s, struct service_write *w)
{
    (void)s;
    list_remove(&keep_alive_of(w)->link);
    return true;
}

/* Renewals that waited too long: a leader that cannot confirm itself sends clients elsewhere
 * (L-06). */
static void leases_expire_waiting(struct serve *s, uint64_t now)
{
    while (!list_empty(&s->leases.waiting)) {
        struct keep_alive *k = LIST_ENTRY(s->leases.waiting.next, struct keep_alive, link);
        if (now - k->start_ms < s->o.cfg->request_timeout_ms) {
            return;
        }
        int err = s->leases.stale ? ERR_NOT_LEADER : s->leader == 0 ? ERR_NO_LEADER : ERR_TIMEOUT;
        keep_alive_answer(s, k, err, 0);
    }
}

/* ---- looking -----------------------------------------------------------------------------------
 */

bool leases_time_to_live(struct service *service, int64_t id, struct service_lease *out,
                         void (*key)(void *data, struct slice key), void *data)
{
    struct serve *s = serve_of(service);
    struct kv_lease_info info;
    if (!s->primary) {
        return false;
    }
    *out = (struct service_lease){.id = id, .ttl = -1};
    if (!kv_lease_lookup(s->kv, id, serve_now(s), &info)) {
        return true;
    }
    out->ttl = info.remaining_ms > 0 ? info.remaining_ms / 1000 : 0;
    out->granted_ttl = info.granted_ttl;
    if (key != NULL) {
        kv_lease_keys(s->kv, id, key, data);
    }
    return true;
}

void leases_list(struct service *service, void (*lease)(void *data, int64_t id), void *data)
{
    kv_lease_list(serve_of(service)->kv, lease, data);
}

/* ---- expiry ------------------------------------------------------------------------------------
 */

static void leases_on_revoked(struct serve *s, struct own_write *w, int err)
{
    (void)s;
    if (err == 0) {
        node_metrics_lease_expired();
    } else if (err != ERR_LEASE_NOT_FOUND && err != ERR_STOPPED) {
        LOG(LOG_WARN, "failed to revoke lease", F_HEX("lease-id", (uint64_t)w->id),
            F_STR("error", err_text(err)));
    }
}

static void leases_on_expired(void *data, int64_t id)
{
    struct serve *s = data;
    struct buf request;
    buf_init(&request);
    wire_put_uint(&request, 1, (uint64_t)id);
    if (!request.failed) {
        (void)proposals_own(s, SERVICE_LEASE_REVOKE, buf_slice(&request), id, leases_on_revoked,
                            NULL); /* without memory: the store reports it again */
    }
    buf_close(&request);
}

static void leases_ask(struct serve *s)
{
    if (s->leases.ticket == 0) {
        uint64_t ticket = s->reads.next_ticket++;
        s->leases.ticket = s->o.raft->confirm(s->o.raft, ticket) ? ticket : 0;
    }
}

static void leases_on_tick(struct rpc_timer *t)
{
    struct serve *s = (struct serve *)((char *)t - offsetof(struct serve, leases.tick));
    struct leases *l = &s->leases;
    uint64_t now = serve_now(s);
    if (s->stopping) {
        return;
    }
    if (l->last_tick_ms != 0 &&
        now - l->last_tick_ms > LEASES_TICK_MS + 3ull * s->o.cfg->heartbeat_ms) {
        l->stale = true; /* we stood still: others may lead by now */
    }
    l->last_tick_ms = now;
    if (s->primary && l->stale) {
        leases_ask(s);
    }
    if (s->primary && !l->stale) {
        kv_lease_expired(s->kv, now, s->o.cfg->request_timeout_ms, LEASE_REVOKES_PER_PASS_MAX,
                         leases_on_expired, s);
        leases_retry(s);
    }
    leases_expire_waiting(s, now);
    if ((s->primary && kv_lease_next_ms(s->kv) != UINT64_MAX) || !list_empty(&l->waiting)) {
        leases_arm(s, LEASES_TICK_MS);
    } else {
        l->last_tick_ms = 0;
    }
}

bool leases_confirmed(struct serve *s, uint64_t ticket, int err)
{
    struct leases *l = &s->leases;
    if (ticket != l->ticket || ticket == 0) {
        return false;
    }
    l->ticket = 0;
    if (err == 0) {
        l->stale = false;
        leases_retry(s);
    }
    return true; /* else the next tick asks again */
}

void leases_applied(struct serve *s)
{
    if (!s->primary) {
        return;
    }
    if (!list_empty(&s->leases.waiting)) {
        leases_retry(s);
    }
    if (!rpc_timer_is_set(&s->leases.tick) && kv_lease_next_ms(s->kv) != UINT64_MAX) {
        s->leases.last_tick_ms = 0;
        leases_arm(s, 0); /* a new lease's clock starts with the first tick */
    }
}

void leases_role(struct serve *s)
{
    bool primary =
        s->role == SERVE_LEADER && s->ready_index != 0 && kv_applied_index(s->kv) >= s->ready_index;
    if (primary == s->primary) {
        return;
    }
    s->primary = primary;
    if (!primary) {
        kv_lessor_demote(s->kv);
        s->leases.stale = false;
        s->leases.ticket = 0;
        return;
    }
    kv_lessor_promote(s->kv, serve_now(s), s->o.cfg->election_ms);
    leases_applied(s);
    leases_retry(s);
}

void leases_close(struct serve *s)
{
    while (!list_empty(&s->leases.waiting)) {
        keep_alive_answer(s, LIST_ENTRY(s->leases.waiting.next, struct keep_alive, link),
                          ERR_STOPPED, 0);
    }
    timers_cancel(&s->timers, &s->leases.tick);
}
