/* node_metrics.c - the node's static metrics, and those read at the time of a scrape. */
#include "kvd/node_metrics.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/metrics.h"
#include "kvd/serve_impl.h"
#include "raft/log_metrics.h"
#include "raft/tick_metrics.h"
#include "rpc/version.h"

#define COUNTER(name_, help_)                                    \
    {                                                            \
        .name = (name_), .help = (help_), .type = METRIC_COUNTER \
    }
#define GAUGE(name_, help_)                                    \
    {                                                          \
        .name = (name_), .help = (help_), .type = METRIC_GAUGE \
    }
#define SECONDS(name_, help_)                                                                     \
    {                                                                                             \
        .name = (name_), .help = (help_), .type = METRIC_HISTOGRAM, .bounds = METRIC_BOUNDS_DISK, \
        .bound_count = 14                                                                         \
    }

enum {
    COMMITTED,
    APPLIED,
    SLOW_APPLY,
    PROPOSALS_FAILED,
    READ_INDEX_FAILED,
    SLOW_READ_INDEX,
    LEADER_CHANGES,
    LEASE_RENEWED,
    LEASE_EXPIRED,
    CHECKPOINT_SECONDS,
    DEFRAG_SECONDS,
    DEFRAG_INFLIGHT,
    HASH_SECONDS,
    HASH_KV_SECONDS,
    METRICS
};

/* etcd's for hashes: 0.01 * 2^k s. */
static const double hash_bounds[] = {0.01, 0.02, 0.04,  0.08,  0.16,  0.32,  0.64,  1.28,
                                     2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84};
#define HASHES(name_, help_)                                                               \
    {                                                                                      \
        .name = (name_), .help = (help_), .type = METRIC_HISTOGRAM, .bounds = hash_bounds, \
        .bound_count = sizeof(hash_bounds) / sizeof(hash_bounds[0])                        \
    }

static struct metric metrics[METRICS] = {
    [COMMITTED] = GAUGE("etcd_server_proposals_committed_total",
                        "The total number of consensus proposals committed."),
    [APPLIED] = GAUGE("etcd_server_proposals_applied_total",
                      "The total number of consensus proposals applied."),
    [SLOW_APPLY] = COUNTER("etcd_server_slow_apply_total",
                           "The total number of slow apply requests (likely overloaded from slow "
                           "disk)."),
    [PROPOSALS_FAILED] =
        COUNTER("etcd_server_proposals_failed_total", "The total number of failed proposals seen."),
    [READ_INDEX_FAILED] = COUNTER("etcd_server_read_indexes_failed_total",
                                  "The total number of failed read indexes seen."),
    [SLOW_READ_INDEX] = COUNTER("etcd_server_slow_read_indexes_total",
                                "The total number of pending read indexes not in sync with "
                                "leader's or timed out read index requests."),
    [LEADER_CHANGES] =
        COUNTER("etcd_server_leader_changes_seen_total", "The number of leader changes seen."),
    [LEASE_RENEWED] = COUNTER("etcd_debugging_lease_renewed_total",
                              "The number of renewed leases seen by the leader."),
    [LEASE_EXPIRED] =
        COUNTER("etcd_debugging_server_lease_expired_total", "The total number of expired leases."),
    [CHECKPOINT_SECONDS] = SECONDS("etcd_disk_backend_commit_duration_seconds",
                                   "The latency distributions of commit called by backend."),
    [DEFRAG_SECONDS] = SECONDS("etcd_disk_backend_defrag_duration_seconds",
                               "The latency distribution of backend defragmentation."),
    [DEFRAG_INFLIGHT] = GAUGE("etcd_disk_defrag_inflight",
                              "Whether or not defrag is active on the member. 1 means active, 0 "
                              "means not."),
    [HASH_SECONDS] = HASHES("etcd_mvcc_hash_duration_seconds",
                            "The latency distribution of storage hash operation."),
    [HASH_KV_SECONDS] = HASHES("etcd_mvcc_hash_rev_duration_seconds",
                               "The latency distribution of storage hash by revision operation."),
};

void node_metrics_register(void)
{
    static bool registered;
    if (registered) {
        return;
    }
    registered = true;
    for (int i = 0; i < METRICS; i++) {
        metrics_register(&metrics[i]);
    }
    log_metrics_register();
    tick_metrics_register();
}

void node_metrics_committed(uint64_t index)
{
    metric_set(&metrics[COMMITTED], (int64_t)index);
}

void node_metrics_applied(uint64_t index, uint64_t took_ns)
{
    (void)took_ns;
    metric_set(&metrics[APPLIED], (int64_t)index);
}

void node_metrics_slow_apply(void)
{
    metric_add(&metrics[SLOW_APPLY], 1);
}

void node_metrics_proposal_failed(void)
{
    metric_add(&metrics[PROPOSALS_FAILED], 1);
}

void node_metrics_read_index_failed(void)
{
    metric_add(&metrics[READ_INDEX_FAILED], 1);
}

void node_metrics_slow_read_index(void)
{
    metric_add(&metrics[SLOW_READ_INDEX], 1);
}

void node_metrics_leader_changed(void)
{
    metric_add(&metrics[LEADER_CHANGES], 1);
}

void node_metrics_lease_renewed(void)
{
    metric_add(&metrics[LEASE_RENEWED], 1);
}

void node_metrics_lease_expired(void)
{
    metric_add(&metrics[LEASE_EXPIRED], 1);
}

void node_metrics_checkpointed(uint64_t took_ns)
{
    metric_observe_ns(&metrics[CHECKPOINT_SECONDS], took_ns);
}

void node_metrics_defragment_began(void)
{
    metric_set(&metrics[DEFRAG_INFLIGHT], 1);
}

void node_metrics_defragmented(uint64_t took_ns)
{
    metric_set(&metrics[DEFRAG_INFLIGHT], 0);
    metric_observe_ns(&metrics[DEFRAG_SECONDS], took_ns);
}

void node_metrics_hashed(uint64_t took_ns)
{
    metric_observe_ns(&metrics[HASH_SECONDS], took_ns);
}

void node_metrics_hashed_kv(uint64_t took_ns)
{
    metric_observe_ns(&metrics[HASH_KV_SECONDS], took_ns);
}

/* ---- read at the time of a scrape --------------------------------------------------------------
 */

static void gauge(struct buf *out, const char *name, const char *help, int64_t value)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s gauge\n%s %" PRId64 "\n", name, help, name, name,
               value);
}

static void labelled(struct buf *out, const char *name, const char *help, const char *label,
                     const char *value)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s gauge\n%s{%s=\"%s\"} 1\n", name, help, name, name,
               label, value);
}

static void counter(struct buf *out, const char *name, const char *help, uint64_t value)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s counter\n%s %" PRIu64 "\n", name, help, name, name,
               value);
}

static void render_counts(struct serve *s, struct buf *out)
{
    const struct kv_counts *c = kv_counts(s->kv);
    int64_t keys;
    counter(out, "etcd_mvcc_range_total", "Total number of ranges seen by this member.",
            c->ranges + s->ranges);
    counter(out, "etcd_mvcc_put_total", "Total number of puts seen by this member.", c->puts);
    counter(out, "etcd_mvcc_delete_total", "Total number of deletes seen by this member.",
            c->deletes);
    counter(out, "etcd_mvcc_txn_total", "Total number of txns seen by this member.", c->txns);
    gauge(out, "etcd_debugging_mvcc_total_put_size_in_bytes",
          "The total size of put kv pairs seen by this member.", (int64_t)c->put_bytes);
    counter(out, "etcd_debugging_mvcc_db_compaction_keys_total",
            "Total number of db keys compacted.", kv_compact_dropped(s->kv));
    counter(out, "etcd_debugging_lease_granted_total", "The total number of granted leases.",
            c->leases_granted);
    counter(out, "etcd_debugging_lease_revoked_total", "The total number of revoked leases.",
            c->leases_revoked);
    if (key_count_now(s, &keys)) {
        gauge(out, "etcd_debugging_mvcc_keys_total", "Total number of keys.", keys);
    }
}

static void render_alarms(struct serve *s, struct buf *out)
{
    static const char *const names[] = {"NONE", "NOSPACE", "CORRUPT"};
    uint64_t member;
    int type;
    for (size_t i = 0; kv_alarm_at(s->kv, i, &type, &member); i++) {
        if (i == 0) {
            buf_append_str(out, "# HELP etcd_debugging_server_alarms Alarms for every member in "
                                "cluster. 1 for 'server_id' label with current ID. 2 for "
                                "'alarm_type' label with type of this alarm\n"
                                "# TYPE etcd_debugging_server_alarms gauge\n");
        }
        buf_printf(out,
                   "etcd_debugging_server_alarms{alarm_type=\"%s\",server_id=\"%" PRIx64 "\"} 1\n",
                   type >= 0 && type < 3 ? names[type] : "UNKNOWN", member);
    }
}

/* What has one value here until there are users and other members. */
static void render_constants(struct buf *out)
{
    counter(out, "etcd_server_heartbeat_send_failures_total",
            "The total number of leader heartbeat send failures (likely overloaded from slow "
            "disk).",
            0);
    gauge(out, "etcd_server_snapshot_apply_in_progress_total",
          "1 if the server is applying the incoming snapshot. 0 if none.", 0);
    counter(out, "etcd_server_learner_promote_successes",
            "The total number of successful learner promotions while this member is leader.", 0);
    gauge(out, "etcd_debugging_auth_revision", "The current revision of auth store.", 1);
}

void serve_metrics_render(void *data, struct buf *out)
{
    struct serve *s = data;
    struct store *store = kv_store(s->kv);
    char id[20];
    snprintf(id, sizeof(id), "%" PRIx64, s->service.ids.member_id);
    labelled(out, "etcd_server_version", "Which version is running. 1 for 'server_version' label.",
             "server_version", SERVER_VERSION);
    labelled(out, "etcd_cluster_version",
             "Which version is running. 1 for 'cluster_version' label.", "cluster_version",
             CLUSTER_VERSION_SHORT);
    labelled(out, "etcd_server_id",
             "Server or member ID in hexadecimal format. 1 for 'server_id' "
             "label.",
             "server_id", id);
    gauge(out, "etcd_server_has_leader",
          "Whether or not a leader exists. 1 is existence, 0 is not.", s->leader != 0);
    gauge(out, "etcd_server_is_leader",
          "Whether or not this member is a leader. 1 if is, 0 otherwise.", s->role == SERVE_LEADER);
    gauge(out, "etcd_server_is_learner",
          "Whether or not this member is a learner. 1 if is, 0 otherwise.", 0);
    gauge(out, "etcd_server_proposals_pending",
          "The current number of pending proposals to commit.", (int64_t)s->proposals.count);
    gauge(out, "etcd_server_quota_backend_bytes", "Current backend storage quota size in bytes.",
          s->o.cfg->quota_bytes);
    gauge(out, "etcd_mvcc_db_total_size_in_bytes",
          "Total size of the underlying database physically allocated in bytes.",
          (int64_t)store_bytes(store));
    gauge(out, "etcd_mvcc_db_total_size_in_use_in_bytes",
          "Total size of the underlying database logically in use in bytes.",
          (int64_t)store_bytes_in_use(store));
    gauge(out, "etcd_debugging_mvcc_current_revision", "The current revision of store.",
          kv_revision(s->kv));
    gauge(out, "etcd_debugging_mvcc_compact_revision",
          "The revision of the last compaction in store.", kv_compact_revision(s->kv));
    render_counts(s, out);
    render_alarms(s, out);
    render_constants(out);
    gauge(out, "kvd_store_accounted_bytes",
          "Bytes counted against the quota, equal on all members.", kv_accounted_bytes(s->kv));
    gauge(out, "kvd_store_memtable_bytes", "Bytes in the active memtable.",
          (int64_t)store_active_bytes(store));
    gauge(out, "kvd_raft_applied_index", "Raft index of the newest entry applied.",
          (int64_t)kv_applied_index(s->kv));
}
