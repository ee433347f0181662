/* auto_compact.c - the clockwork of automatic compaction; no store, no timer in here. */
#include "kvd/auto_compact.h"

#include <string.h>

#include "base/alloc.h"

#define HOUR_MS              3600000ull
#define SAMPLES_PER_INTERVAL 10u
#define REVISION_MODE_MS     300000ull

static uint64_t interval_ms(const struct auto_compact *a)
{
    return a->period_ms < HOUR_MS ? a->period_ms : HOUR_MS;
}

bool auto_compact_set(struct auto_compact *a, enum kvd_compaction_mode mode, uint64_t period_ms,
                      int64_t keep)
{
    *a = (struct auto_compact){.mode = mode, .period_ms = period_ms, .keep = keep};
    if (mode == KVD_COMPACTION_REVISION) {
        a->tick_ms = keep > 0 ? REVISION_MODE_MS : 0;
    } else if (period_ms > 0) {
        a->tick_ms = interval_ms(a) / SAMPLES_PER_INTERVAL;
        a->tick_ms = a->tick_ms == 0 ? 1 : a->tick_ms;
        /* The oldest of so many is one period old at the next tick: at most ten per hour of it. */
        a->sample_cap = (size_t)(period_ms / a->tick_ms);
        a->samples = mem_alloc(a->sample_cap * sizeof(a->samples[0]));
        if (a->samples == NULL) {
            return false;
        }
    }
    return true;
}

static void auto_compact_sample(struct auto_compact *a, int64_t revision)
{
    if (a->sample_cap == 0) {
        return;
    }
    if (a->sample_count == a->sample_cap) {
        a->first = (a->first + 1) % a->sample_cap;
        a->sample_count--;
    }
    a->samples[(a->first + a->sample_count++) % a->sample_cap] = revision;
}

void auto_compact_restart(struct auto_compact *a, uint64_t now_ms, int64_t revision)
{
    a->sample_count = 0;
    a->first = 0;
    auto_compact_sample(a, revision);
    a->last = 0;
    a->since_ms = now_ms;
    a->wait_ms = a->period_ms; /* the first time a whole period */
}

void auto_compact_free(struct auto_compact *a)
{
    mem_free(a->samples);
    memset(a, 0, sizeof(*a));
}

int64_t auto_compact_tick(struct auto_compact *a, uint64_t now_ms, int64_t revision)
{
    if (a->tick_ms == 0) {
        return 0;
    }
    if (a->mode == KVD_COMPACTION_REVISION) {
        int64_t target = revision - a->keep;
        return target > 0 && target != a->last ? target : 0;
    }
    int64_t oldest = a->samples[a->first];
    bool due = now_ms - a->since_ms >= a->wait_ms && oldest != a->last;
    auto_compact_sample(a, revision);
    return due ? oldest : 0;
}

void auto_compact_done(struct auto_compact *a, uint64_t now_ms, int64_t revision)
{
    a->last = revision;
    a->since_ms = now_ms;
    if (a->mode == KVD_COMPACTION_PERIODIC) {
        a->wait_ms = interval_ms(a);
    }
}
