/* metrics.h - counters, gauges and histograms with Prometheus text output.
 *
 * Metric names are etcd's where the meaning is the same. A metric is a static object registered
 * once at start-up; updates are relaxed atomics, any thread. Labels are fixed text per object: a
 * family with labels is several objects with the same name (registered one after the other). */
#ifndef KVD_BASE_METRICS_H
#define KVD_BASE_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

#define METRIC_BUCKETS_MAX 24

struct metric {
    const char *name;
    const char *help;
    const char *labels; /* inside the braces, e.g. "type=\"range\""; NULL = none */
    enum metric_type type;
    _Atomic int64_t value; /* counter, gauge */
    /* gauge read at scrape time when not NULL (scraping thread) */
    double (*read)(void *data);
    void *data;
    /* histogram: upper bounds in seconds, ascending, without +Inf */
    const double *bounds;
    int bound_count;
    _Atomic uint64_t buckets[METRIC_BUCKETS_MAX + 1];
    _Atomic uint64_t sum_ns;
    struct metric *next; /* registry */
};

/* The object must live for ever. Start-up only, one thread. */
void metrics_register(struct metric *m);
static inline void metric_add(struct metric *m, int64_t n)
{
    atomic_fetch_add_explicit(&m->value, n, memory_order_relaxed);
}
static inline void metric_set(struct metric *m, int64_t n)
{
    atomic_store_explicit(&m->value, n, memory_order_relaxed);
}
/* Records one duration. */
void metric_observe_ns(struct metric *m, uint64_t ns);
/* etcd's usual latency bounds: 0.001 * 2^k s, k = 0..13. */
extern const double METRIC_BOUNDS_DISK[14];
/* Appends the whole registry as Prometheus text (version 0.0.4). Any thread. */
void metrics_render(struct buf *out);

#endif
