/* service.h - what the RPC services need from the node; kvd/serve.c implements it over raft and kv.
 *
 * This table keeps rpc/ ignorant of LMDB and raft. svc_*.c decode, check what can be checked
 * without the store (contract sections 2-5), call through it, and encode answers. Everything
 * asynchronous is a request struct embedded by the caller that completes exactly once, on the same
 * loop thread, possibly before the call returns. Bodies are encoded responses WITHOUT the header
 * field; the services put the ResponseHeader in front. */
#ifndef KVD_RPC_SERVICE_H
#define KVD_RPC_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "proto/event.h"

struct service;

/* Fields of ResponseHeader that belong to this member. */
struct service_ids {
    uint64_t cluster_id;
    uint64_t member_id;
};

/* ---- writes ---------------------------------------------------------------------------------- */

/* The InternalRaftRequest field numbers of proposals (proto/entry.proto). */
enum service_op {
    SERVICE_PUT = 4,
    SERVICE_DELETE_RANGE = 5,
    SERVICE_TXN = 6,
    SERVICE_COMPACTION = 7,
    SERVICE_LEASE_GRANT = 8,
    SERVICE_LEASE_REVOKE = 9,
    SERVICE_ALARM = 10,
    SERVICE_EPOCH = 2000 /* EpochRequest: registers a plugin's leadership (kv/epoch.h) */
};

/* A plugin's leadership: apply refuses a write that carries an older one (ERR_FENCED). */
struct service_stamp {
    const char *plugin;
    uint64_t member;
    uint64_t term;
    uint64_t epoch;
};

struct service_write {
    void *data;
    /* err: 0 or a row of the table; revision: for the header; body: valid during the call.
     * The struct is the caller's again when cb runs: it may be freed inside. */
    void (*cb)(struct service_write *w, int err, int64_t revision, struct slice body);
    /* private to the implementation */
    void *impl[6];
    uint64_t number;
};

/* ---- reads ----------------------------------------------------------------------------------- */

struct service_read {
    void *data;
    /* Small result: body holds the whole answer (header field excluded) and produce is NULL.
     * Large result (> 64 KiB): body is empty, `total` bytes come from `produce` as in
     * rpc_call_send_produced; the caller must call `done(produce_data)` exactly once. */
    void (*cb)(struct service_read *r, int err, int64_t revision, struct slice body, uint64_t total,
               bool (*produce)(void *data, struct buf *out, size_t room), void (*done)(void *data),
               void *produce_data);
    void *impl[10];
};

/* One chunk of a RangeStream; see `range_stream` below. */
struct service_stream {
    void *data;
    /* A chunk body (kvs; on the last also more and count), valid during the call. May come from
     * inside range_stream and range_stream_resume. Return false to pause: the service calls
     * range_stream_resume when its call is writable again. last=true: no more callbacks. err != 0:
     * no more callbacks either. revision: store revision when the stream started. */
    bool (*chunk)(struct service_stream *s, int err, int64_t revision, struct slice body,
                  bool last);
    void *impl[12];
};

/* ---- watch ----------------------------------------------------------------------------------- */

struct service_watcher; /* opaque: one watcher of the hub; options, events, sink: proto/event.h */

/* ---- maintenance ----------------------------------------------------------------------------- */

struct service_status {
    int64_t db_size;
    int64_t db_size_in_use;
    int64_t db_size_quota;
    uint64_t leader;
    uint64_t raft_index;
    uint64_t raft_term;
    uint64_t raft_applied_index;
    bool is_learner;
    bool alarm_nospace;
    bool alarm_corrupt;
};

struct service_hash {
    uint32_t hash;
    int64_t compact_revision;
    int64_t hash_revision;
};

/* Completion of compact(physical), defragment, hash_kv: err, current revision, result. */
struct service_job {
    void *data;
    void (*cb)(struct service_job *j, int err, int64_t revision, const struct service_hash *hash);
    void *impl[6];
};

struct service_lease {
    int64_t id;
    int64_t ttl;         /* remaining whole seconds; -1 unknown lease */
    int64_t granted_ttl; /* seconds */
};

struct service_member {
    uint64_t id;
    const char *name;
    const char *const *peer_urls;
    size_t peer_url_count;
    const char *const *client_urls;
    size_t client_url_count;
    bool is_learner;
};

struct service {
    void *impl;
    struct service_ids ids;
    uint32_t max_request_bytes;
    uint32_t max_txn_ops;
    uint64_t progress_notify_ms;

    /* Proposes one write. `request` is the encoded client message (PutRequest, TxnRequest, ...),
     * already validated; copied before the return. Completes with the result of apply. Too large,
     * too many pending, alarms and quota are answered from here. */
    void (*propose)(struct service *s, struct service_write *w, enum service_op op,
                    struct slice request);
    /* The same with a stamp, copied too; the record's origin is the plugin. */
    void (*propose_as)(struct service *s, struct service_write *w, enum service_op op,
                       struct slice request, const struct service_stamp *stamp);
    /* LeaseGrant: id 0 picks one, ttl is raised to the minimum before proposing. */
    void (*lease_grant)(struct service *s, struct service_write *w, int64_t id, int64_t ttl);
    /* The same with a stamp; NULL = without. */
    void (*lease_grant_as)(struct service *s, struct service_write *w, int64_t id, int64_t ttl,
                           const struct service_stamp *stamp);
    /* Forgets the callback: the write goes on without an audience. Only for requests whose cb has
     * not run; the same holds for cancel_read and cancel_job. */
    void (*cancel_write)(struct service *s, struct service_write *w);

    /* One RangeRequest (encoded, validated); serializable repeats its field: no quorum is asked. */
    void (*range)(struct service *s, struct service_read *r, struct slice request,
                  bool serializable);
    /* The same for whoever goes on by itself: a page of at most so many bytes (or one larger row),
     * neither sorted nor filtered nor only counted, as kv_range_page has it: without a count when
     * there is more. Its bytes are appended to *out, which is empty and stays in place until cb or
     * cancel_read; cb gets neither body nor produce. */
    void (*range_page)(struct service *s, struct service_read *r, struct slice request,
                       bool serializable, size_t bytes, struct buf *out);
    /* A read-only TxnRequest (contract T-09); serializable says whether every range is. */
    void (*txn_read)(struct service *s, struct service_read *r, struct slice request,
                     bool serializable);
    void (*cancel_read)(struct service *s, struct service_read *r);
    void (*range_stream)(struct service *s, struct service_stream *st, struct slice request,
                         bool serializable);
    void (*range_stream_resume)(struct service *s, struct service_stream *st);
    /* Ends a stream that has not seen its last chunk; also from inside `chunk`. */
    void (*range_stream_cancel)(struct service *s, struct service_stream *st);
    /* Confirms leadership, then calls back with the applied revision: MemberList, health. */
    void (*confirm)(struct service *s, struct service_read *r);

    /* Watch. NULL with *err set (ERR_NOMEM) when it cannot be made. start_revision below the
     * compaction floor succeeds and is then answered by sink.compacted. */
    struct service_watcher *(*watch)(struct service *s, const struct watch_options *o,
                                     const struct watch_sink *sink, void *sink_data,
                                     void *watcher_data, int *err);
    void (*watch_cancel)(struct service *s, struct service_watcher *w);
    /* The stream's queue has room again. */
    void (*watch_resume)(struct service *s, struct service_watcher *w);
    /* Synced, and not waiting for a future start revision (WA-17, WA-18). */
    bool (*watch_synced)(struct service *s, struct service_watcher *w);

    /* Store facts, answered at once. */
    int64_t (*revision)(struct service *s);
    uint64_t (*raft_term)(struct service *s);
    bool (*has_leader)(struct service *s);
    void (*status)(struct service *s, struct service_status *out);
    /* Appends the active alarms as field 2 (AlarmMember) of AlarmResponse, one per alarm. */
    void (*alarms)(struct service *s, struct buf *out);

    /* Leases. keep_alive completes through w: revision taken before the renewal, body unused, TTL
     * in *ttl when cb runs (0 = unknown or expired). */
    void (*lease_keep_alive)(struct service *s, struct service_write *w, int64_t id, int64_t *ttl);
    /* Answers at once; false when this member cannot know (no leader). keys (may be NULL): called
     * for each attached key. */
    bool (*lease_time_to_live)(struct service *s, int64_t id, struct service_lease *out,
                               void (*key)(void *data, struct slice key), void *data);
    void (*lease_list)(struct service *s, void (*lease)(void *data, int64_t id), void *data);

    void (*compact)(struct service *s, struct service_job *j, int64_t revision, bool physical);
    void (*hash)(struct service *s, struct service_job *j);
    void (*hash_kv)(struct service *s, struct service_job *j, int64_t revision);
    void (*defragment)(struct service *s, struct service_job *j);
    void (*cancel_job)(struct service *s, struct service_job *j);

    /* Answers at once: kv_origin. */
    int (*origin)(struct service *s, struct slice key, int64_t revision, struct buf *out);

    /* Members; pointers valid until the next loop turn. */
    size_t (*members)(struct service *s, struct service_member *out, size_t max);
};

#endif
