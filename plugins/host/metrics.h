/* metrics.h - metrics that one plugin instance defines (host_impl.h has the calls).
 *
 * Metrics are defined in init; series come when label values are first met. Ids are indexes into a
 * table that never moves, so that any thread may count without a lock. */
#ifndef KVD_PLUGINS_HOST_METRICS_H
#define KVD_PLUGINS_HOST_METRICS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/limits.h"
#include "include/kvplugin.h"

struct plugin_metric;
struct plugin_series;

struct metric_set {
    pthread_mutex_t lock; /* guards everything but the values */
    struct plugin_metric *metrics;
    size_t metric_count;
    _Atomic(struct plugin_series *) *series; /* PLUGIN_SERIES_ALL_MAX */
    size_t series_count;
};

void metric_set_init(struct metric_set *m);
void metric_set_close(struct metric_set *m);
/* Any thread. */
void metric_set_render(struct metric_set *m, const char *plugin, struct buf *out);

#endif
