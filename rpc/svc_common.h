/* svc_common.h - what the services share: struct svc, unary calls, headers, counting. Private to
 * rpc/.
 *
 * A unary call whose answer comes later is a struct svc_unary around one of service.h's request
 * structs. It exists between the request message and whichever comes first: the completion (it
 * answers and frees) or the call's `closed` (it cancels the request and frees). */
#ifndef KVD_RPC_SVC_COMMON_H
#define KVD_RPC_SVC_COMMON_H

#include "base/alloc.h"
#include "base/err.h"
#include "base/heap.h"
#include "base/list.h"
#include "proto/codec.h"
#include "rpc/pool.h"
#include "rpc/svc.h"
#include "rpc/timer.h"

/* Field 1 of every response: tag, length, four varints. */
#define SVC_HEADER_BYTES_MAX 48u
/* Rows of svc_methods(): bounds the counters. */
#define SVC_METHODS_MAX 96u
#define SVC_CODES       17u
/* Distinct client-api-version values counted apart; later ones share the row "other". */
#define SVC_CLIENT_VERSIONS_MAX 16u

struct svc_counts {
    uint64_t started;
    uint64_t received;
    uint64_t sent;
    uint64_t handled[SVC_CODES];
    uint64_t seconds_buckets[12]; /* grpc_server_handling_seconds, extensive metrics only */
    double seconds_sum;
};

struct svc_client_version {
    char text[48];
    uint8_t len;
    uint64_t unary;
    uint64_t stream;
};

struct svc {
    struct service *service;
    struct svc_options options;
    struct pool pool;
    struct timers timers;
    struct arena arena; /* scratch of the request being decoded */
    struct buf scratch; /* scratch of the answer being encoded */
    uint8_t ids[32];    /* cluster_id and member_id, encoded */
    size_t ids_len;
    /* Watch streams and others that must end when there is no leader (W-11). */
    struct list leader_streams;
    struct rpc_timer leader_timer;
    uint32_t leaderless_ticks;
    struct svc_counts counts[SVC_METHODS_MAX];
    struct svc_client_version versions[SVC_CLIENT_VERSIONS_MAX + 1];
    size_t version_count;
    uint64_t health_success;
    uint64_t health_failures;
    uint64_t checks[2][4][2]; /* livez/readyz, check, success/error */
    int8_t check_last[2][4];  /* last result: 1 ok, 0 failed, -1 never run */
    uint64_t watch_streams;
    uint64_t watchers;
    uint64_t watch_events;  /* handed to calls */
    uint64_t watch_pending; /* waiting in streams' queues */
    uint64_t watch_slow;    /* watchers waiting for room */
    void (*closed)(void *data);
    void *closed_data;
};

static inline struct svc *svc_of(const struct rpc_call *call)
{
    return rpc_call_server_data(call);
}

/* ---- calls -------------------------------------------------------------------------------------
 */

/* `open` of unary and of stream methods: counts, and refuses by W-10 and W-11. The stream form is
 * false when the call was finished. */
void svc_open_unary(struct rpc_call *call);
bool svc_open_stream(struct rpc_call *call);
/* Counting of messages in and out. */
void svc_count_received(struct rpc_call *call);
bool svc_send(struct rpc_call *call, const struct rpc_part *parts, size_t count);

/* Ends of calls that require a leader: registered by streams, ended together with NO_LEADER. */
struct svc_leader_link {
    struct list link; /* self-linked when not registered */
    struct rpc_call *call;
};
/* Registers when the call says hasleader: true. */
void svc_leader_watch(struct rpc_call *call, struct svc_leader_link *link);
void svc_leader_unwatch(struct svc_leader_link *link);

/* ---- headers -----------------------------------------------------------------------------------
 */

/* Writes ResponseHeader as field 1 into out[SVC_HEADER_BYTES_MAX]; returns its size. revision 0 is
 * left out, as Cluster answers and compaction cancels want it; callers that mean "current"
 * pass svc_revision(). */
size_t svc_header(struct svc *s, int64_t revision, uint8_t *out);
static inline int64_t svc_revision(struct svc *s)
{
    return s->service->revision(s->service);
}

/* ---- unary calls -------------------------------------------------------------------------------
 */

enum svc_unary_kind {
    SVC_UNARY_IDLE,
    SVC_UNARY_WRITE,
    SVC_UNARY_READ,
    SVC_UNARY_JOB,
    SVC_UNARY_PLUGIN
};

struct svc_unary {
    struct svc *svc;
    struct rpc_call *call;
    uint64_t start_ms;
    uint32_t request_bytes;
    enum svc_unary_kind kind; /* which request is pending, for cancellation */
    union {
        struct service_write write;
        struct service_read read;
        struct service_job job;
        struct plugin_admin_req plugin;
    } req;
    uint64_t extra; /* the method's own */
};

/* Makes the struct of this call and ties it to it; answers RESOURCE_EXHAUSTED and returns NULL when
 * out of memory. */
struct svc_unary *svc_unary_new(struct rpc_call *call, struct slice request);
/* Answers with header and body, or with the error, and frees u. */
void svc_unary_answer(struct svc_unary *u, int err, int64_t revision, struct slice body);
/* The same without a header in front. */
void svc_unary_answer_bare(struct svc_unary *u, int err, struct slice body);
/* Ends the call with this code and sentence (copied), and frees u. */
void svc_unary_fail(struct svc_unary *u, int grpc_code, const char *text);
/* Ready-made completions: header + body. */
void svc_unary_on_write(struct service_write *w, int err, int64_t revision, struct slice body);
void svc_unary_on_read(struct service_read *r, int err, int64_t revision, struct slice body,
                       uint64_t total, bool (*produce)(void *data, struct buf *out, size_t room),
                       void (*done)(void *data), void *produce_data);
/* `closed` of all unary methods. */
void svc_unary_closed(struct rpc_call *call);
/* Starts the request of u with the ready-made completion. */
void svc_unary_propose(struct svc_unary *u, enum service_op op, struct slice request);

/* Answers at once, no struct needed: header and body, or an error. */
void svc_reply(struct rpc_call *call, int64_t revision, struct slice body);

/* Decodes a request into the svc's arena (cleared first). NULL: the call was finished with the
 * error. */
void *svc_decode(struct rpc_call *call, const ProtobufCMessageDescriptor *type, struct slice bytes);

/* ---- the methods, by file; rows in svc_table.c --------------------------------------------------
 */

/* svc_kv.c */
void svc_kv_range(struct rpc_call *call, struct slice bytes);
void svc_kv_put(struct rpc_call *call, struct slice bytes);
void svc_kv_delete_range(struct rpc_call *call, struct slice bytes);
void svc_kv_txn(struct rpc_call *call, struct slice bytes);
void svc_kv_compact(struct rpc_call *call, struct slice bytes);
/* svc_range_stream.c */
void svc_range_stream_message(struct rpc_call *call, struct slice bytes);
void svc_range_stream_writable(struct rpc_call *call);
void svc_range_stream_closed(struct rpc_call *call);
/* svc_watch.c */
void svc_watch_open(struct rpc_call *call);
void svc_watch_message(struct rpc_call *call, struct slice bytes);
void svc_watch_writable(struct rpc_call *call);
void svc_watch_closed(struct rpc_call *call);
/* svc_lease.c */
void svc_lease_grant(struct rpc_call *call, struct slice bytes);
void svc_lease_revoke(struct rpc_call *call, struct slice bytes);
void svc_lease_time_to_live(struct rpc_call *call, struct slice bytes);
void svc_lease_leases(struct rpc_call *call, struct slice bytes);
void svc_keep_alive_open(struct rpc_call *call);
void svc_keep_alive_message(struct rpc_call *call, struct slice bytes);
void svc_keep_alive_half_close(struct rpc_call *call);
void svc_keep_alive_closed(struct rpc_call *call);
/* svc_cluster.c */
void svc_cluster_member_list(struct rpc_call *call, struct slice bytes);
/* svc_maintenance.c */
void svc_maintenance_alarm(struct rpc_call *call, struct slice bytes);
void svc_maintenance_status(struct rpc_call *call, struct slice bytes);
void svc_maintenance_defragment(struct rpc_call *call, struct slice bytes);
void svc_maintenance_hash(struct rpc_call *call, struct slice bytes);
void svc_maintenance_hash_kv(struct rpc_call *call, struct slice bytes);
/* svc_health.c */
void svc_health_check(struct rpc_call *call, struct slice bytes);
void svc_health_list(struct rpc_call *call, struct slice bytes);
void svc_health_watch_open(struct rpc_call *call);
void svc_health_watch_message(struct rpc_call *call, struct slice bytes);
void svc_health_watch_closed(struct rpc_call *call);
/* svc_record.c */
void svc_record_origin(struct rpc_call *call, struct slice bytes);

/* svc_plugin.c */
void svc_plugin_list(struct rpc_call *call, struct slice bytes);
void svc_plugin_describe(struct rpc_call *call, struct slice bytes);
void svc_plugin_top(struct rpc_call *call, struct slice bytes);
void svc_plugin_config(struct rpc_call *call, struct slice bytes);
void svc_plugin_reload(struct rpc_call *call, struct slice bytes);
void svc_plugin_enable(struct rpc_call *call, struct slice bytes);
void svc_plugin_disable(struct rpc_call *call, struct slice bytes);
/* svc_unimplemented.c */
void svc_auth_status(struct rpc_call *call, struct slice bytes);
void svc_unimplemented_message(struct rpc_call *call, struct slice bytes);
/* http_health.c, http_metrics.c */
void http_health(struct http_request *req);
void http_livez(struct http_request *req);
void http_readyz(struct http_request *req);
void http_version(struct http_request *req);
void http_metrics(struct http_request *req);
void http_debug_vars(struct http_request *req);
/* Appends the grpc_server_* families and client counters. */
void svc_metrics_render(struct svc *s, struct buf *out);

#endif
