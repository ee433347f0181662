/* kv.h - the database: an MVCC key-value store with leases, alarms and watches, as a state machine.
 *
 * kv_apply_* is a pure function of the log: no clock, socket, random number, disk or quota state of
 * this member (design section 1). Time enters through the lessor's arguments, ids through the
 * entry. One thread (the store loop, or the simulator) calls everything here except where "any
 * thread" is said. Big work is done in slices: functions returning KV_MORE want to be called again.
 */
#ifndef KVD_KV_KV_H
#define KVD_KV_KV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "kv/store.h"
#include "proto/event.h"

struct kv;

enum kv_progress { KV_DONE = 0, KV_MORE = 1 };

struct kv_options {
    struct store_options store;
    uint64_t member_id;       /* whose proposals' results are wanted */
    uint64_t incarnation;     /* of this process start */
    int64_t quota_bytes;      /* accounted bytes; <= 0 = no limit. NOT consulted by apply of others'
                                 entries: see kv/quota.h */
    bool alarm_self_clearing; /* profile: kvd true, etcd false (design section 4) */
    void *data;
    /* The result of one of this member's proposals, in apply order. body: encoded response without
     * its header field, valid during the call. */
    void (*result)(void *data, uint64_t number, int err, int64_t revision, struct slice body);
};

/* Opens the store, rebuilds leases and alarms from it. e: a sentence on failure. */
int kv_open(const struct kv_options *options, struct kv **out, struct errmsg *e);
void kv_close(struct kv *kv);
struct store *kv_store(struct kv *kv);

/* ---- apply ----------------------------------------------------------------------------------- */

/* Starts applying one committed entry: index must be applied_index + 1. payload (proto/batch.h;
 * empty for barriers and configurations) must stay until the entry is done. A malformed payload or
 * one from a newer version stops the process with a clear sentence: every member would diverge. */
void kv_apply_begin(struct kv *kv, uint64_t index, uint64_t term, struct slice payload);
/* For bytes of doubtful origin (fuzzing, tools): 0 when kv_apply_begin would accept the payload,
 * else the first problem. */
int kv_payload_check(struct slice payload);
/* One slice. KV_DONE: the entry is applied, published, its events are with the hub. */
enum kv_progress kv_apply_step(struct kv *kv);
bool kv_applying(const struct kv *kv);
/* Raft's configuration as of this index, for checkpoints (encoded by raft/, opaque here). */
void kv_set_configuration(struct kv *kv, uint64_t index, struct slice configuration);

uint64_t kv_applied_index(const struct kv *kv);
uint64_t kv_applied_term(const struct kv *kv);
int64_t kv_revision(const struct kv *kv);
int64_t kv_compact_revision(const struct kv *kv); /* -1 = never */
uint64_t kv_running_hash(const struct kv *kv);    /* equal on members with equal applied_index */
int64_t kv_accounted_bytes(const struct kv *kv);

/* What was done since kv_open, for metrics; not part of the state. The store loop writes. */
struct kv_counts {
    uint64_t puts;      /* operations executed, alone or inside transactions */
    uint64_t deletes;   /* the same; a revoked lease counts each key */
    uint64_t ranges;    /* inside transactions */
    uint64_t txns;      /* of more than one operation */
    uint64_t put_bytes; /* keys and values */
    uint64_t events;
    int64_t live; /* keys made minus keys removed: a difference, not a total */
    uint64_t leases_granted;
    uint64_t leases_revoked;
};
const struct kv_counts *kv_counts(const struct kv *kv);
/* Versions dropped by compaction since kv_open. Any thread. */
uint64_t kv_compact_dropped(const struct kv *kv);

/* ---- checkpoints ----------------------------------------------------------------------------- */

/* Seals the memtable when it reached `seal_bytes`, or `force`. Between entries only. true = sealed:
 * wake the checkpoint thread. */
bool kv_seal(struct kv *kv, size_t seal_bytes, bool force);
/* On the checkpoint thread: writes what is sealed and does one slice of pending compaction; KV_MORE
 * while there is more to do. err: 0, ERR_NO_SPACE (try later), others: stop the process. Call it
 * once after kv_open too: a compaction that a restart interrupted goes on. */
enum kv_progress kv_checkpoint_step(struct kv *kv, int *err);
/* Compaction finished up to here on disk (-1 never). Any thread. */
int64_t kv_compact_done(const struct kv *kv);
/* Replaces the state by a snapshot file (store_install): leases, alarms, hub and ring are rebuilt,
 * every watcher is resynced from its next revision (contract WA-22). */
int kv_install(struct kv *kv, const char *path, struct errmsg *e);

/* ---- reads: any thread, each on its own struct ----------------------------------------------- */

/* One range in progress (RangeRequest, contract section 2.2). */
struct kv_range;
/* Opens a view and checks revision bounds. request: an encoded RangeRequest that was validated
 * (contract K-01). ERR_COMPACTED, ERR_FUTURE_REV, ERR_NOMEM, ERR_MALFORMED. */
int kv_range_open(struct kv *kv, struct slice request, struct kv_range **out);
void kv_range_close(struct kv_range *r);
/* First pass, in slices: finds, counts, sorts, sizes. After KV_DONE total and revision are known.
 * *err != 0 ends it. */
enum kv_progress kv_range_measure(struct kv_range *r, int *err);
/* Size of the encoded RangeResponse without its header field, and the store revision read at. */
uint64_t kv_range_total(const struct kv_range *r);
int64_t kv_range_revision(const struct kv_range *r);
/* The whole result when it is small (<= 64 KiB, kept from the first pass); data NULL otherwise. */
struct slice kv_range_small(const struct kv_range *r);
/* Second pass: appends the next 1..room bytes of the result (room >= 1024). false on failure. */
bool kv_range_produce(struct kv_range *r, struct buf *out, size_t room);
/* RangeStream (contract 2.3), instead of measure and produce: the next chunk's body appended to
 * *out, at most `rows` rows (at least one) and about `bytes` long; the last carries more and count
 * (*last). ERR_AGAIN: nothing yet, the slice is used up (deleted keys, or counting the rest): call
 * again. */
int kv_range_chunk(struct kv_range *r, size_t rows, size_t bytes, struct buf *out, bool *last);
/* A page, instead of measure and produce, for a range that is neither sorted nor filtered nor only
 * counted (ERR_UNIMPLEMENTED): appends its first rows to *out, which is empty before the first
 * call: as many as the limit allows and as make no more than `bytes`, but at least one. Then `more`
 * if there are further rows, else the count: what lies behind a page is not walked. One slice per
 * call; ERR_AGAIN: call again with the same arguments. */
int kv_range_page(struct kv_range *r, size_t bytes, struct buf *out);

/* A read-only TxnRequest (contract T-09, validated) on one view: appends the TxnResponse without
 * header to *out. Bounded by the request's own limits; runs whole. */
int kv_txn_read(struct kv *kv, struct slice request, int64_t *revision, struct buf *out);

/* Who wrote the version of key that this revision made: appends the plugin's name, nothing when it
 * was a client. One point read. 0, ERR_EMPTY_KEY, ERR_NOT_FOUND (that revision did not write the
 * key), ERR_COMPACTED, ERR_FUTURE_REV, ERR_NOMEM. */
int kv_origin(struct kv *kv, struct slice key, int64_t revision, struct buf *out);

/* HashKV at a revision (0 = current) in slices; bit-exact with etcd (contract MT-09). */
struct kv_hash;
int kv_hash_open(struct kv *kv, int64_t revision, struct kv_hash **out);
enum kv_progress kv_hash_step(struct kv_hash *h, int *err);
void kv_hash_result(const struct kv_hash *h, uint32_t *hash, int64_t *compact_revision,
                    int64_t *hash_revision);
void kv_hash_close(struct kv_hash *h);

/* ---- checks before proposing (not part of apply) --------------------------------------------- */

/* Would apply refuse this InternalRaftRequest now because of alarms? 0, ERR_NO_SPACE, ERR_CORRUPT.
 */
int kv_check_alarms(struct kv *kv, uint32_t op_field, struct slice request);
/* Quota before proposing (contract MT-03): 0 or ERR_NO_SPACE; *raise_alarm when this member should
 * propose a NOSPACE alarm for itself: it has none, and would not clear it again at once. */
int kv_check_quota(struct kv *kv, uint32_t op_field, struct slice request, bool *raise_alarm);
/* Self-clearing profile: below 90 % of the quota with our own NOSPACE alarm active. */
bool kv_should_clear_alarm(struct kv *kv);
bool kv_alarm_active(const struct kv *kv, int alarm_type);
/* The i-th active alarm by type and member; false = there are no more. */
bool kv_alarm_at(const struct kv *kv, size_t i, int *alarm_type, uint64_t *member);
/* Appends an encoded AlarmMember list (field 2 of AlarmResponse). */
void kv_alarm_list(struct kv *kv, int alarm_type, struct buf *out);

/* ---- watch ----------------------------------------------------------------------------------- */

struct kv_watcher;
/* NULL = out of memory. start_revision < compact floor: sink.compacted comes at the next hub step.
 */
struct kv_watcher *kv_watch(struct kv *kv, const struct watch_options *options,
                            const struct watch_sink *sink, void *sink_data, void *watcher_data);
void kv_watch_cancel(struct kv *kv, struct kv_watcher *w);
void kv_watch_resume(struct kv *kv, struct kv_watcher *w); /* its sink has room again */
/* Has everything up to the store's revision, and waits for no future start_revision (WA-18). */
bool kv_watch_synced(const struct kv *kv, const struct kv_watcher *w);
/* One slice of catching up unsynced watchers. KV_MORE while some could go on. */
enum kv_progress kv_watch_step(struct kv *kv);

/* ---- leases ---------------------------------------------------------------------------------- */

struct kv_lease_info {
    int64_t id;
    int64_t granted_ttl;  /* seconds */
    int64_t remaining_ms; /* on a primary; -1 elsewhere */
    size_t key_count;
};

/* Becoming leader: every expiry = now + ttl + extend_ms (contract L-11). Losing it: demote. */
void kv_lessor_promote(struct kv *kv, uint64_t now_ms, uint64_t extend_ms);
void kv_lessor_demote(struct kv *kv);
bool kv_lessor_primary(const struct kv *kv);
/* 0, ERR_LEASE_NOT_FOUND (also: expired and awaiting its revoke), ERR_NOT_LEADER (not primary). */
int kv_lease_renew(struct kv *kv, int64_t id, uint64_t now_ms, int64_t *ttl);
bool kv_lease_lookup(struct kv *kv, int64_t id, uint64_t now_ms, struct kv_lease_info *out);
/* Keys attached, in byte order; the callback must not change the store. */
void kv_lease_keys(struct kv *kv, int64_t id, void (*key)(void *data, struct slice key),
                   void *data);
/* All ids, ordered by expiry on a primary, by id elsewhere. */
void kv_lease_list(struct kv *kv, void (*lease)(void *data, int64_t id), void *data);
/* Calls back for at most `max` expired leases to be revoked by proposal; each is reported again
 * only after retry_ms. Returns how many. */
size_t kv_lease_expired(struct kv *kv, uint64_t now_ms, uint64_t retry_ms, size_t max,
                        void (*expired)(void *data, int64_t id), void *data);
/* When kv_lease_expired has something next, or UINT64_MAX. */
uint64_t kv_lease_next_ms(const struct kv *kv);

#endif
