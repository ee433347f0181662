/* guard.c - may this write be proposed, and the NOSPACE alarm of this member (contract
 * MT-03..MT-05).
 *
 * Only replicated alarms change what apply refuses; this side proposes them: when the quota would
 * be exceeded, when the disk of the log or of the checkpoint is full, and before that: when the
 * rows that are still in memory would no longer fit. Room comes back only through a checkpoint
 * (nothing is compacted and no log is cut without one), so its room must never be given away. Run
 * as kvd, it also proposes to clear its own alarm, once there is room again (design section 4,
 * profiles). */
#include <sys/statvfs.h>

#include "base/log.h"
#include "kvd/serve_impl.h"
#include "proto/codec.h"

enum { ALARM_ACTIVATE = 1, ALARM_DEACTIVATE = 2, ALARM_TYPE_NOSPACE = 1 };

/* After an attempt failed, and between two looks at the disk. */
#define GUARD_TICK_MS 1000u
/* Room that ends a full disk: a tenth of the file system, or this much of a large one. */
#define GUARD_ROOM_BYTES (1024ull * 1024u * 1024u)
/* The disk is looked at whenever so many bytes more wait for a checkpoint. */
#define GUARD_STEP_BYTES (256u * 1024u)
/* Log segments a full disk must still have room for: those that deletions go into. */
#define GUARD_SEGMENTS 2u

static void guard_on_tick(struct rpc_timer *t);

void guard_init(struct serve *s)
{
    s->guard.tick.fire = guard_on_tick;
}

void guard_close(struct serve *s)
{
    timers_cancel(&s->timers, &s->guard.tick);
}

static void guard_arm(struct serve *s)
{
    if (!rpc_timer_is_set(&s->guard.tick)) {
        timers_set(&s->timers, &s->guard.tick, serve_now(s) + GUARD_TICK_MS);
    }
}

static void guard_on_alarm(struct serve *s, struct own_write *w, int err)
{
    s->guard.alarm = NULL;
    if (err != 0) {
        LOG(LOG_WARN, "failed to change the NOSPACE alarm", F_INT("action", w->id),
            F_STR("error", err_text(err)));
        s->guard.not_before_ms = serve_now(s) + GUARD_TICK_MS;
        guard_arm(s);
    }
}

static void guard_propose(struct serve *s, int action)
{
    if (s->guard.alarm != NULL || s->stopping || serve_now(s) < s->guard.not_before_ms) {
        return;
    }
    struct buf request;
    buf_init(&request);
    wire_put_uint(&request, 1, (uint64_t)action);
    wire_put_uint(&request, 2, s->service.ids.member_id);
    wire_put_uint(&request, 3, ALARM_TYPE_NOSPACE);
    if (!request.failed) {
        (void)proposals_own(s, SERVICE_ALARM, buf_slice(&request), action, guard_on_alarm,
                            &s->guard.alarm);
    }
    buf_close(&request);
}

static bool guard_disk_full(const struct serve *s)
{
    return s->guard.log_full || s->guard.checkpoint_full || s->guard.space_low;
}

/* Bytes the file system still gives and has in all. A read of counters in memory. */
static bool guard_space(const struct serve *s, uint64_t *room, uint64_t *total)
{
    struct statvfs v;
    if (statvfs(s->o.store_dir, &v) != 0) {
        return false;
    }
    *total = (uint64_t)v.f_blocks * v.f_frsize;
    *room = (uint64_t)v.f_bavail * v.f_frsize;
    return true;
}

static uint64_t guard_segments_bytes(const struct serve *s)
{
    return (uint64_t)GUARD_SEGMENTS * s->o.cfg->log_segment_bytes;
}

/* Is there room to let writes in again? Less than two memtables would let the first seal fill the
 * disk again; more than half of a small disk would never be there. */
static bool guard_has_room(const struct serve *s)
{
    uint64_t room;
    uint64_t total;
    if (!guard_space(s, &room, &total)) {
        return false;
    }
    const struct kvd_config *cfg = s->o.cfg;
    uint64_t tenth = total / 10 < GUARD_ROOM_BYTES ? total / 10 : GUARD_ROOM_BYTES;
    uint64_t seals = 2 * (uint64_t)cfg->seal_bytes + cfg->reserve_bytes + guard_segments_bytes(s);
    seals = seals < total / 2 ? seals : total / 2;
    return room >= (tenth > seals ? tenth : seals);
}

/* Would what is in memory still fit? A checkpoint fills free pages inside its file first, which
 * counts half: large values need runs of them. */
static bool guard_space_low(const struct serve *s)
{
    uint64_t room;
    uint64_t total;
    struct store *store = kv_store(s->kv);
    if (!guard_space(s, &room, &total)) {
        return false;
    }
    uint64_t bytes = store_bytes(store);
    uint64_t in_use = store_bytes_in_use(store);
    room += bytes > in_use ? (bytes - in_use) / 2 : 0;
    uint64_t unsaved = store_unsaved_bytes(store);
    return room < unsaved + unsaved / 8 + guard_segments_bytes(s);
}

/* Alarm on or off as it should be; looks again while it is on. */
static void guard_look(struct serve *s)
{
    bool active = kv_alarm_active(s->kv, ALARM_TYPE_NOSPACE);
    bool full = guard_disk_full(s);
    if (!active && full) {
        guard_propose(s, ALARM_ACTIVATE);
        guard_arm(s);
    } else if (s->guard.space_low) {
        guard_arm(s); /* nobody else tells when there is room again */
    } else if (active && s->primary && kv_should_clear_alarm(s->kv)) {
        /* A start on a full disk has met no failed write yet: this asks the disk. */
        if (s->guard.alarm == NULL && !full && guard_has_room(s)) {
            LOG(LOG_INFO, "there is room again: clearing the NOSPACE alarm");
            guard_propose(s, ALARM_DEACTIVATE);
        }
        guard_arm(s);
    } else if (active && s->o.cfg->alarm_self_clearing) {
        guard_arm(s);
    }
}

static void guard_on_tick(struct rpc_timer *t)
{
    struct serve *s = (struct serve *)((char *)t - offsetof(struct serve, guard.tick));
    if (s->guard.space_low && guard_has_room(s)) {
        guard_disk(s, &s->guard.space_low, false);
    }
    guard_look(s);
}

int guard_check(struct serve *s, enum service_op op, struct slice request)
{
    int err = kv_check_alarms(s->kv, (uint32_t)op, request);
    if (err != 0) {
        return err;
    }
    bool raise = false;
    err = kv_check_quota(s->kv, (uint32_t)op, request, &raise);
    if (raise && s->guard.alarm == NULL) {
        LOG(LOG_WARN, "the database quota is exceeded: raising the NOSPACE alarm",
            F_INT("quota-size-bytes", s->o.cfg->quota_bytes),
            F_INT("accounted-bytes", kv_accounted_bytes(s->kv)));
        guard_propose(s, ALARM_ACTIVATE);
    }
    return err;
}

void guard_applied(struct serve *s)
{
    size_t unsaved = store_unsaved_bytes(kv_store(s->kv));
    if (unsaved < s->guard.looked_bytes) {
        s->guard.looked_bytes = unsaved; /* a checkpoint took some */
    }
    if (unsaved - s->guard.looked_bytes >= GUARD_STEP_BYTES) {
        s->guard.looked_bytes = unsaved;
        if (guard_space_low(s)) {
            guard_disk(s, &s->guard.space_low, true);
        }
    }
    if (kv_alarm_active(s->kv, ALARM_TYPE_NOSPACE) && !rpc_timer_is_set(&s->guard.tick)) {
        guard_look(s);
    }
}

void guard_disk(struct serve *s, bool *which, bool is_full)
{
    if (*which == is_full) {
        return;
    }
    *which = is_full;
    const char *what = which == &s->guard.log_full          ? "log"
                       : which == &s->guard.checkpoint_full ? "checkpoint"
                                                            : "free space";
    if (is_full) {
        LOG(LOG_WARN, "the disk is full: writes that need room are refused, free some space",
            F_STR("what", what));
    } else {
        LOG(LOG_INFO, "the disk has room again", F_STR("what", what));
    }
    guard_look(s);
}
