/* serve.c - the turn, the facts, and the table that ties the parts to rpc/service.h. */
#include "kvd/serve.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "kvd/node_metrics.h"
#include "kvd/serve_impl.h"

/* One turn's share of each kind of work. Together they bound how late a heartbeat or a small read
 * can be; each takes at least one slice. */
#define TURN_APPLY_NS 2000000u
#define TURN_READ_NS  1000000u

/* ---- the turn ----------------------------------------------------------------------------------
 */

static void serve_tell_role(struct serve *s)
{
    if (s->primary == s->primary_told && (!s->primary || s->term == s->term_told)) {
        return;
    }
    s->primary_told = s->primary;
    s->term_told = s->term;
    if (s->o.role != NULL) {
        s->o.role(s->o.data, s->primary, s->term);
    }
}

static void serve_applied(struct serve *s)
{
    if (s->role == SERVE_LEADER && !s->primary) {
        leases_role(s);
        maintain_role(s);
    }
    if (s->primary && !s->ready) {
        s->ready = true;
        s->o.ready(s->o.data);
    }
    serve_tell_role(s);
    leases_applied(s);
    guard_applied(s);
    reads_advance(s);
}

static void serve_turn(struct serve *s)
{
    if (!s->dirty || s->turning) {
        return;
    }
    s->turning = true;
    s->dirty = false;
    uint64_t applied = kv_applied_index(s->kv);
    bool more = applier_step(s, TURN_APPLY_NS);
    if (kv_applied_index(s->kv) != applied || !s->ready) {
        serve_applied(s);
    }
    if (!list_empty(&s->reads.running)) {
        more |= reads_step(s, clock_mono_ns() + TURN_READ_NS);
    }
    if (!list_empty(&s->reads.streams)) {
        more |= read_streams_step(s, clock_mono_ns() + TURN_READ_NS);
    }
    if (s->watch_work) {
        s->watch_work = kv_watch_step(s->kv) == KV_MORE;
        more |= s->watch_work;
    }
    more |= jobs_step(s);
    maintain_turn(s);
    proposals_flush(s);
    reads_flush(s);
    s->o.raft->flush(s->o.raft);
    s->turning = false;
    s->dirty |= more;
}

static void serve_on_idle(uv_idle_t *idle)
{
    (void)idle; /* it only keeps poll from waiting */
}

static void serve_after_turn(struct serve *s)
{
    if (s->dirty) {
        uv_idle_start(&s->idle, serve_on_idle);
    } else {
        uv_idle_stop(&s->idle);
    }
}

static void serve_on_check(uv_check_t *check)
{
    serve_turn(check->data);
    serve_after_turn(check->data);
}

static void serve_on_prepare(uv_prepare_t *prepare)
{
    struct serve *s = prepare->data;
    bool worked = s->dirty;
    serve_turn(s);
    serve_after_turn(s);
    if (worked) {
        /* libuv runs the front end's flush before this: what this turn answered leaves in the next
         * iteration, so poll must not wait. */
        uv_idle_start(&s->idle, serve_on_idle);
    }
}

/* ---- facts -------------------------------------------------------------------------------------
 */

static int64_t serve_revision(struct service *service)
{
    return kv_revision(serve_of(service)->kv);
}

static int serve_origin(struct service *service, struct slice key, int64_t revision,
                        struct buf *out)
{
    return kv_origin(serve_of(service)->kv, key, revision, out);
}

static uint64_t serve_raft_term(struct service *service)
{
    return serve_of(service)->term;
}

static bool serve_has_leader(struct service *service)
{
    return serve_of(service)->leader != 0;
}

static void serve_status(struct service *service, struct service_status *out)
{
    struct serve *s = serve_of(service);
    struct store *store = kv_store(s->kv);
    *out = (struct service_status){
        .db_size = (int64_t)store_bytes(store),
        .db_size_in_use = (int64_t)store_bytes_in_use(store),
        .db_size_quota = s->o.cfg->quota_bytes > 0 ? s->o.cfg->quota_bytes : 0,
        .leader = s->leader,
        .raft_index = s->applier.last_index,
        .raft_term = s->term,
        .raft_applied_index = kv_applied_index(s->kv),
        .alarm_nospace = kv_alarm_active(s->kv, 1),
        .alarm_corrupt = kv_alarm_active(s->kv, 2),
    };
}

static void serve_alarms(struct service *service, struct buf *out)
{
    kv_alarm_list(serve_of(service)->kv, 0, out);
}

/* A cluster of one: this member, as configured. */
static size_t serve_members(struct service *service, struct service_member *out, size_t max)
{
    struct serve *s = serve_of(service);
    const struct kvd_config *cfg = s->o.cfg;
    if (max == 0) {
        return 0;
    }
    out[0] = (struct service_member){.id = service->ids.member_id,
                                     .name = cfg->name,
                                     .peer_urls = cfg->advertise_peer.texts,
                                     .peer_url_count = cfg->advertise_peer.count,
                                     .client_urls = cfg->advertise_client.texts,
                                     .client_url_count = cfg->advertise_client.count};
    return 1;
}

/* ---- watch: the hub does the work --------------------------------------------------------------
 */

static struct service_watcher *serve_watch(struct service *service, const struct watch_options *o,
                                           const struct watch_sink *sink, void *sink_data,
                                           void *watcher_data, int *err)
{
    struct serve *s = serve_of(service);
    struct kv_watcher *w = kv_watch(s->kv, o, sink, sink_data, watcher_data);
    if (w == NULL) {
        *err = ERR_NOMEM;
    }
    s->watch_work = true;
    serve_wake(s);
    return (struct service_watcher *)w;
}

static void serve_watch_cancel(struct service *service, struct service_watcher *w)
{
    kv_watch_cancel(serve_of(service)->kv, (struct kv_watcher *)w);
}

static void serve_watch_resume(struct service *service, struct service_watcher *w)
{
    struct serve *s = serve_of(service);
    kv_watch_resume(s->kv, (struct kv_watcher *)w);
    s->watch_work = true;
    serve_wake(s);
}

static bool serve_watch_synced(struct service *service, struct service_watcher *w)
{
    return kv_watch_synced(serve_of(service)->kv, (struct kv_watcher *)w);
}

/* ---- from consensus ----------------------------------------------------------------------------
 */

void serve_role_changed(struct serve *s, enum serve_role role, uint64_t term, uint64_t leader)
{
    if (leader != 0 && leader != s->leader) {
        s->elected_ms = serve_now(s);
        node_metrics_leader_changed();
    }
    s->role = role;
    s->term = term;
    s->leader = leader;
    s->ready_index = role == SERVE_LEADER ? s->applier.last_index : 0;
    leases_role(s);
    maintain_role(s);
    serve_tell_role(s);
    reads_retry(s);
    serve_wake(s);
}

void serve_dropped(struct serve *s, uint64_t first, uint64_t last, int err)
{
    proposals_dropped(s, first, last, err);
}

void serve_confirmed(struct serve *s, uint64_t ticket, int err, uint64_t index)
{
    if (!leases_confirmed(s, ticket, err)) {
        reads_confirmed(s, ticket, err, index);
    }
}

void serve_log_full(struct serve *s, bool is_full)
{
    guard_disk(s, &s->guard.log_full, is_full);
}

/* ---- life --------------------------------------------------------------------------------------
 */

static const struct service serve_table = {
    .propose = proposals_propose,
    .propose_as = proposals_propose_as,
    .lease_grant = leases_grant,
    .lease_grant_as = leases_grant_as,
    .cancel_write = proposals_cancel,
    .range = reads_range,
    .range_page = reads_page,
    .txn_read = reads_txn,
    .cancel_read = reads_cancel,
    .range_stream = read_stream_open,
    .range_stream_resume = read_stream_resume,
    .range_stream_cancel = read_stream_cancel,
    .confirm = reads_confirm,
    .watch = serve_watch,
    .watch_cancel = serve_watch_cancel,
    .watch_resume = serve_watch_resume,
    .watch_synced = serve_watch_synced,
    .revision = serve_revision,
    .raft_term = serve_raft_term,
    .has_leader = serve_has_leader,
    .status = serve_status,
    .alarms = serve_alarms,
    .lease_keep_alive = leases_keep_alive,
    .lease_time_to_live = leases_time_to_live,
    .lease_list = leases_list,
    .compact = jobs_compact,
    .hash = jobs_hash,
    .hash_kv = jobs_hash_kv,
    .defragment = jobs_defragment,
    .cancel_job = jobs_cancel,
    .origin = serve_origin,
    .members = serve_members,
};

static int serve_open_store(struct serve *s, struct errmsg *e)
{
    const struct kvd_config *cfg = s->o.cfg;
    struct kv_options options = {
        .store = {.dir = s->o.store_dir,
                  .map_bytes = cfg->map_bytes,
                  .reserve_bytes = cfg->reserve_bytes,
                  .unsafe_no_fsync = cfg->unsafe_no_fsync},
        .member_id = s->o.ids.member_id,
        .incarnation = s->o.incarnation,
        .quota_bytes = cfg->quota_bytes,
        .alarm_self_clearing = cfg->alarm_self_clearing,
        .data = s,
        .result = proposals_result,
    };
    return kv_open(&options, &s->kv, e);
}

static void serve_free(struct serve *s)
{
    kv_close(s->kv);
    pool_close(&s->pool);
    timers_free(&s->timers);
    mem_free(s);
}

int serve_new(const struct serve_options *options, struct serve **out, struct errmsg *e)
{
    struct serve *s = mem_zalloc(sizeof(*s));
    if (s == NULL) {
        return errmsg_set(e, ERR_NOMEM, "out of memory");
    }
    s->o = *options;
    s->service = serve_table;
    s->service.impl = s;
    s->service.ids = options->ids;
    s->service.max_request_bytes = options->cfg->max_request_bytes;
    s->service.max_txn_ops = options->cfg->max_txn_ops;
    s->service.progress_notify_ms = options->cfg->progress_notify_ms;
    pool_init(&s->pool);
    int rv = serve_open_store(s, e);
    if (rv != 0) {
        goto err_after_pool;
    }
    rv = timers_init(&s->timers, options->loop);
    if (rv != 0) {
        rv = errmsg_set(e, ERR_IO, "timer: %s", uv_strerror(rv));
        goto err_after_store;
    }
    proposals_init(s);
    applier_init(s);
    reads_init(s);
    leases_init(s);
    jobs_init(s);
    guard_init(s);
    if (!maintain_init(s, e)) {
        rv = ERR_IO;
        goto err_after_timers;
    }
    /* None of these can fail. */
    uv_check_init(options->loop, &s->check);
    uv_prepare_init(options->loop, &s->prepare);
    uv_idle_init(options->loop, &s->idle);
    s->check.data = s->prepare.data = s->idle.data = s;
    uv_check_start(&s->check, serve_on_check);
    uv_prepare_start(&s->prepare, serve_on_prepare);
    *out = s;
    return 0;

err_after_timers:
    auto_compact_free(&s->auto_compact);
    timers_close(&s->timers, NULL);
    uv_run(options->loop, UV_RUN_NOWAIT); /* nothing else is on it yet */
    timers_free(&s->timers);
err_after_store:
    kv_close(s->kv);
err_after_pool:
    pool_close(&s->pool);
    mem_free(s);
    return rv;
}

struct service *serve_service(struct serve *s)
{
    return &s->service;
}

struct kv *serve_kv(struct serve *s)
{
    return s->kv;
}

void serve_stop(struct serve *s)
{
    s->stopping = true;
}

bool serve_quiet(const struct serve *s)
{
    return s->proposals.count == 0 && !s->applier.applying;
}

static void serve_on_handle_closed(uv_handle_t *handle)
{
    struct serve *s = handle->type == UV_TIMER
                          ? (struct serve *)((char *)handle - offsetof(struct serve, timers.handle))
                          : handle->data;
    if (--s->handles > 0) {
        return;
    }
    void (*cb)(void *) = s->closed;
    void *data = s->closed_data;
    serve_free(s);
    cb(data);
}

static void serve_on_checkpointer_stopped(void *data)
{
    struct serve *s = data;
    proposals_close(s);
    reads_close(s);
    leases_close(s);
    jobs_close(s);
    guard_close(s);
    maintain_close(s);
    s->handles = 4;
    uv_close((uv_handle_t *)&s->check, serve_on_handle_closed);
    uv_close((uv_handle_t *)&s->prepare, serve_on_handle_closed);
    uv_close((uv_handle_t *)&s->idle, serve_on_handle_closed);
    timers_close(&s->timers, serve_on_handle_closed);
}

void serve_close(struct serve *s, void (*cb)(void *data), void *data)
{
    s->stopping = true;
    s->closed = cb;
    s->closed_data = data;
    uv_check_stop(&s->check);
    uv_prepare_stop(&s->prepare);
    uv_idle_stop(&s->idle);
    checkpointer_stop(s->checkpointer, serve_on_checkpointer_stopped, s);
}
