/* applier.c - committed entries in order, applied in slices so that the loop keeps serving.
 *
 * Each turn drains what raft delivered and applies for at most its budget, looking at the clock
 * between slices. A huge delete is thus many turns of one entry: what it changes is published when
 * whole, and reads meanwhile see the state before it. */
#include "base/clock.h"
#include "base/log.h"
#include "kvd/node_metrics.h"
#include "kvd/serve_impl.h"

/* Entries handed over between two looks at the clock. */
#define APPLIER_DRAIN_BYTES (64u * 1024u)

void applier_init(struct serve *s)
{
    s->applier.last_index = kv_applied_index(s->kv);
}

void serve_delivered(struct serve *s)
{
    s->applier.delivered = true;
    serve_wake(s);
}

void serve_configuration(struct serve *s, uint64_t index, struct slice encoded)
{
    kv_set_configuration(s->kv, index, encoded);
}

/* The entry in hand is done. */
static void applier_done(struct serve *s, uint64_t now_ns)
{
    struct applier *a = &s->applier;
    uint64_t took_ns = now_ns - a->started_ns;
    a->applying = false;
    node_metrics_applied(a->index, took_ns);
    if (took_ns / 1000000 > s->o.cfg->warning_apply_ms) {
        LOG(LOG_WARN, "apply request took too long", F_MS("took", (double)took_ns / 1e6),
            F_MS("expected-duration", (double)s->o.cfg->warning_apply_ms),
            F_INT("size", (int64_t)a->bytes), F_UINT("index", a->index));
        node_metrics_slow_apply();
    }
}

/* Slices of the entry in hand until it is done (true) or the budget is. */
static bool applier_slices(struct serve *s)
{
    for (;;) {
        enum kv_progress progress = kv_apply_step(s->kv);
        uint64_t now = clock_mono_ns();
        if (progress == KV_DONE) {
            applier_done(s, now);
            return true;
        }
        if (now >= s->applier.until_ns) {
            return false;
        }
    }
}

bool serve_commit(struct serve *s, uint64_t index, uint64_t term, struct slice payload)
{
    struct applier *a = &s->applier;
    a->last_index = index;
    a->index = index;
    a->bytes = payload.len;
    a->started_ns = clock_mono_ns();
    a->applying = true;
    node_metrics_committed(index);
    kv_apply_begin(s->kv, index, term, payload);
    return applier_slices(s);
}

bool applier_step(struct serve *s, uint64_t budget_ns)
{
    struct applier *a = &s->applier;
    if (!a->applying && !a->delivered) {
        return false;
    }
    a->until_ns = clock_mono_ns() + budget_ns;
    if (a->applying && !applier_slices(s)) {
        return true;
    }
    while (a->delivered) {
        a->delivered = false; /* set again by serve_delivered, also from inside */
        if (s->o.raft->drain(s->o.raft, APPLIER_DRAIN_BYTES) || a->applying) {
            a->delivered = true;
        }
        if (a->applying || clock_mono_ns() >= a->until_ns) {
            break;
        }
    }
    return a->applying || a->delivered;
}
