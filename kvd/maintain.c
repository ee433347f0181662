/* maintain.c - seals, the checkpoint thread's progress, automatic compaction.
 *
 * The memtable is sealed when it is large (config seal_bytes), when its oldest change is seal_ms
 * old, or when somebody waits for the disk (compaction, defragmentation). Sealing is a pointer
 * swap; the thread does the work and reports back, and raft may then cut its log. */
#include "base/log.h"
#include "kvd/node_metrics.h"
#include "kvd/serve_impl.h"
#include "proto/codec.h"

static void maintain_on_seal_timer(struct rpc_timer *t);
static void maintain_on_compact_timer(struct rpc_timer *t);

/* ---- seals -------------------------------------------------------------------------------------
 */

static void maintain_sealed(struct serve *s)
{
    s->sealed_index = kv_applied_index(s->kv);
    timers_cancel(&s->timers, &s->seal_timer);
    checkpointer_wake(s->checkpointer);
}

/* A compaction was applied: the thread sees the new floor with the next seal. */
static void maintain_compaction(struct serve *s)
{
    int64_t floor = kv_compact_revision(s->kv);
    if (floor > s->compact_seen) {
        s->compact_seen = floor;
        s->seal_wanted = true;
    }
}

void maintain_turn(struct serve *s)
{
    if (s->applier.applying) {
        return; /* only between entries */
    }
    maintain_compaction(s);
    if (s->seal_wanted && !store_sealed(kv_store(s->kv))) {
        s->seal_wanted = false;
        if (kv_seal(s->kv, 0, true)) {
            maintain_sealed(s);
        }
        if (!list_empty(&s->jobs.defragments)) {
            checkpointer_defragment(s->checkpointer);
        }
    } else if (kv_seal(s->kv, s->o.cfg->seal_bytes, false)) {
        maintain_sealed(s);
    }
    if (kv_applied_index(s->kv) > s->sealed_index && !rpc_timer_is_set(&s->seal_timer)) {
        timers_set(&s->timers, &s->seal_timer, serve_now(s) + s->o.cfg->seal_ms);
    }
}

static void maintain_on_seal_timer(struct rpc_timer *t)
{
    struct serve *s = (struct serve *)((char *)t - offsetof(struct serve, seal_timer));
    s->seal_wanted = true;
    serve_wake(s);
}

/* ---- from the checkpoint thread ----------------------------------------------------------------
 */

static void maintain_on_progress(void *data)
{
    struct serve *s = data;
    uint64_t durable = store_durable_index(kv_store(s->kv));
    if (durable > s->durable_told) {
        s->durable_told = durable;
        s->o.raft->durable(s->o.raft, durable);
    }
    jobs_compacted(s, kv_compact_done(s->kv));
    serve_wake(s);
}

static void maintain_on_full(void *data, bool is_full)
{
    struct serve *s = data;
    guard_disk(s, &s->guard.checkpoint_full, is_full);
}

static void maintain_on_defragmented(void *data, int err)
{
    jobs_defragmented(data, err);
}

static void maintain_on_fatal(void *data, int err)
{
    struct serve *s = data;
    LOG(LOG_FATAL, "cannot write the database", F_STR("error", err_text(err)));
    s->o.fatal(s->o.data, err_text(err));
}

/* ---- automatic compaction ----------------------------------------------------------------------
 */

static void maintain_on_compacted(struct serve *s, struct own_write *w, int err)
{
    if (err == 0 || err == ERR_COMPACTED) { /* C-08 */
        LOG(LOG_INFO, "completed auto compaction", F_INT("revision", w->id));
        auto_compact_done(&s->auto_compact, serve_now(s), w->id);
    } else if (err != ERR_STOPPED) {
        LOG(LOG_WARN, "failed auto compaction", F_INT("revision", w->id),
            F_STR("error", err_text(err)));
    }
}

static void maintain_on_compact_timer(struct rpc_timer *t)
{
    struct serve *s = (struct serve *)((char *)t - offsetof(struct serve, auto_compact_timer));
    uint64_t now = serve_now(s);
    if (!s->primary || s->stopping) {
        return;
    }
    timers_set(&s->timers, &s->auto_compact_timer, now + s->auto_compact.tick_ms);
    int64_t revision = auto_compact_tick(&s->auto_compact, now, kv_revision(s->kv));
    if (revision <= 0) {
        return;
    }
    LOG(LOG_INFO, "starting auto compaction", F_INT("revision", revision));
    struct buf request;
    buf_init(&request);
    wire_put_uint(&request, 1, (uint64_t)revision);
    if (!request.failed) {
        (void)proposals_own(s, SERVICE_COMPACTION, buf_slice(&request), revision,
                            maintain_on_compacted, NULL);
    }
    buf_close(&request);
}

void maintain_role(struct serve *s)
{
    if (s->auto_compact.tick_ms == 0) {
        return;
    }
    if (!s->primary) {
        timers_cancel(&s->timers, &s->auto_compact_timer);
    } else if (!rpc_timer_is_set(&s->auto_compact_timer)) {
        auto_compact_restart(&s->auto_compact, serve_now(s), kv_revision(s->kv));
        timers_set(&s->timers, &s->auto_compact_timer, serve_now(s) + s->auto_compact.tick_ms);
    }
}

/* ---- life --------------------------------------------------------------------------------------
 */

bool maintain_init(struct serve *s, struct errmsg *e)
{
    static const struct checkpointer_events events = {.progress = maintain_on_progress,
                                                      .full = maintain_on_full,
                                                      .defragmented = maintain_on_defragmented,
                                                      .fatal = maintain_on_fatal};
    struct checkpointer_events mine = events;
    mine.data = s;
    s->seal_timer.fire = maintain_on_seal_timer;
    s->auto_compact_timer.fire = maintain_on_compact_timer;
    s->sealed_index = kv_applied_index(s->kv);
    s->durable_told = store_durable_index(kv_store(s->kv));
    s->compact_seen = kv_compact_revision(s->kv);
    const struct kvd_config *cfg = s->o.cfg;
    if (!auto_compact_set(&s->auto_compact, cfg->compaction_mode, cfg->compaction_period_ms,
                          cfg->compaction_revisions)) {
        errmsg_set(e, ERR_NOMEM, "automatic compaction: out of memory");
        return false;
    }
    if (checkpointer_start(s->o.loop, s->kv, &mine, &s->checkpointer, e) != 0) {
        return false;
    }
    checkpointer_wake(s->checkpointer); /* a compaction cut short goes on (C-04) */
    return true;
}

void maintain_close(struct serve *s)
{
    timers_cancel(&s->timers, &s->seal_timer);
    timers_cancel(&s->timers, &s->auto_compact_timer);
    auto_compact_free(&s->auto_compact);
}
