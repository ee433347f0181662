/* log_metrics.h - how long the log's writes take, for all logs of the process. */
#ifndef KVD_RAFT_LOG_METRICS_H
#define KVD_RAFT_LOG_METRICS_H

#include <stddef.h>
#include <stdint.h>

/* Start-up, once; without it nothing is shown. */
void log_metrics_register(void);
/* A write of so many bytes became durable. Any thread. */
void log_metrics_written(size_t bytes, uint64_t took_ns);

#endif
