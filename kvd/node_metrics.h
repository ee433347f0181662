/* node_metrics.h - counters of the node under etcd's names (contract 8.4). Process-wide. */
#ifndef KVD_KVD_NODE_METRICS_H
#define KVD_KVD_NODE_METRICS_H

#include <stdint.h>

/* Adds them to the registry; later calls do nothing. Start-up, one thread. */
void node_metrics_register(void);

/* Any thread. */
void node_metrics_committed(uint64_t index);
void node_metrics_applied(uint64_t index, uint64_t took_ns);
void node_metrics_slow_apply(void);
void node_metrics_proposal_failed(void);
void node_metrics_read_index_failed(void);
void node_metrics_slow_read_index(void);
void node_metrics_leader_changed(void);
void node_metrics_lease_renewed(void);
void node_metrics_lease_expired(void);
void node_metrics_checkpointed(uint64_t took_ns);
void node_metrics_defragment_began(void);
void node_metrics_defragmented(uint64_t took_ns);
void node_metrics_hashed(uint64_t took_ns);    /* Hash */
void node_metrics_hashed_kv(uint64_t took_ns); /* HashKV */

#endif
