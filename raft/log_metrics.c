/* log_metrics.c - etcd's names for them (contract 8.4). A write is synced as part of itself, so the
 * time of a sync is that of the whole write. */
#include "raft/log_metrics.h"

#include "base/metrics.h"

static struct metric log_sync_seconds = {
    .name = "etcd_disk_wal_fsync_duration_seconds",
    .help = "The latency distributions of durable writes of the raft log.",
    .type = METRIC_HISTOGRAM,
    .bounds = METRIC_BOUNDS_DISK,
    .bound_count = 14,
};
/* Writing and syncing are one here: the same figures under etcd's other name. */
static struct metric log_write_seconds = {
    .name = "etcd_disk_wal_write_duration_seconds",
    .help = "The latency distributions of writes of the raft log.",
    .type = METRIC_HISTOGRAM,
    .bounds = METRIC_BOUNDS_DISK,
    .bound_count = 14,
};
static struct metric log_write_bytes = {
    .name = "etcd_disk_wal_write_bytes_total",
    .help = "Total number of bytes written to the raft log.",
    .type = METRIC_COUNTER,
};

void log_metrics_register(void)
{
    metrics_register(&log_sync_seconds);
    metrics_register(&log_write_seconds);
    metrics_register(&log_write_bytes);
}

void log_metrics_written(size_t bytes, uint64_t took_ns)
{
    metric_observe_ns(&log_sync_seconds, took_ns);
    metric_observe_ns(&log_write_seconds, took_ns);
    metric_add(&log_write_bytes, (int64_t)bytes);
}
