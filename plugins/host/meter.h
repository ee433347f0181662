/* meter.h - what the work queues of one name do, for metrics and `kvctl plugin top`.
 *
 * With the meanings of client-go's workqueue metrics. A meter belongs to an instance and lives as
 * long, so that counters go on over terms; queues of one name share it. The counting half is inline
 * on atomics: queue.c is also linked into the authors' test library, where there are no meters. */
#ifndef KVD_PLUGINS_HOST_METER_H
#define KVD_PLUGINS_HOST_METER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/list.h"

/* Upper bounds of work durations: 10 ns * 10^k, the last one 10 s; then the rest. */
#define METER_CLASSES 11u

struct meter {
    struct list link; /* meter_set.meters */
    atomic_size_t depth;
    atomic_uint_fast64_t adds;
    atomic_uint_fast64_t retries;
    atomic_uint_fast64_t work[METER_CLASSES];
    atomic_uint_fast64_t work_ns;
    char name[];
};

/* ---- counting: the lane; m may be NULL -----------------------------------------------------
 */

static inline void meter_line_up(struct meter *m)
{
    if (m != NULL) {
        atomic_fetch_add_explicit(&m->depth, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&m->adds, 1, memory_order_relaxed);
    }
}

/* count keys are in line no more. */
static inline void meter_leave_line(struct meter *m, size_t count)
{
    if (m != NULL) {
        atomic_fetch_sub_explicit(&m->depth, count, memory_order_relaxed);
    }
}

static inline void meter_retry(struct meter *m)
{
    if (m != NULL) {
        atomic_fetch_add_explicit(&m->retries, 1, memory_order_relaxed);
    }
}

/* When work on a key begins; give it to meter_worked at its end. */
static inline uint64_t meter_begin(const struct meter *m)
{
    return m != NULL ? clock_mono_ns() : 0;
}

static inline void meter_worked(struct meter *m, uint64_t began_ns)
{
    if (m != NULL) {
        uint64_t ns = clock_mono_ns() - began_ns;
        unsigned at = 0;
        for (uint64_t bound = 10; at < METER_CLASSES - 1 && ns > bound; bound *= 10) {
            at++;
        }
        atomic_fetch_add_explicit(&m->work[at], 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&m->work_ns, ns, memory_order_relaxed);
    }
}

/* ---- the meters of an instance: any thread -------------------------------------------------
 */

struct meter_set {
    pthread_mutex_t lock; /* guards the list, not the counts */
    struct list meters;
    size_t count;
};

void meter_set_init(struct meter_set *s);
void meter_set_close(struct meter_set *s);
/* The meter of that name, made when new; beyond PLUGIN_METERS_MAX that of "other". NULL = out of
 * memory: that queue is not measured. Valid until meter_set_close. */
struct meter *meter_find(struct meter_set *s, const char *name);
/* Keys waiting in all queues, and retries of all. */
void meter_sum(struct meter_set *s, uint64_t *depth, uint64_t *retries);
/* kvd_plugin_<plugin>_workqueue_*{name="..."}, as Prometheus text. */
void meter_set_render(struct meter_set *s, const char *plugin, struct buf *out);

#endif
