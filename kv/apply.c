/* apply.c - decoding entries and dispatching operations.
 *
 * Happy path of an operation: decode into the arena -> fence, alarms -> run (in slices when it is
 * big) -> change_publish -> result to its proposer. An operation that is refused writes nothing;
 * the refusal is as deterministic as a success. What is not deterministic (no memory, disk errors,
 * damaged rows) stops the process. */
#include "kv/apply.h"

#include <inttypes.h>
#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/log.h"
#include "kv/lease.h"
#include "kv/quota.h"
#include "kv/state.h"
#include "proto/codec.h"

typedef Etcdserverpb__InternalRaftRequest raft_request;

void apply_init(struct apply *a)
{
    memset(a, 0, sizeof(*a));
    arena_init(&a->arena, 0);
    result_init(&a->result, TXN_RESULT_BYTES_MAX);
}

void apply_close(struct apply *a)
{
    txn_close(&a->txn);
    arena_close(&a->arena);
    result_close(&a->result);
}

int kv_payload_check(struct slice payload)
{
    struct batch_op op;
    struct arena arena;
    size_t position = 0;
    int more = 0;
    int err = 0;
    if (payload.len == 0) {
        return 0;
    }
    arena_init(&arena, 0);
    while (err == 0 && (more = batch_next(payload, &position, &op)) > 0) {
        void *request;
        err = codec_decode(&etcdserverpb__internal_raft_request__descriptor, op.request, &arena,
                           &request);
        arena_clear(&arena);
    }
    arena_close(&arena);
    return more < 0 ? ERR_MALFORMED : err;
}

void kv_apply_begin(struct kv *kv, uint64_t index, uint64_t term, struct slice payload)
{
    struct apply *a = &kv->apply;
    FATAL_IF(a->active, "an entry is begun while another is being applied");
    FATAL_IF(index != kv->applied_index + 1, "entries must be applied one after the other");
    a->active = true;
    a->index = index;
    a->term = term;
    a->payload = payload;
    a->position = 0;
    if (payload.len > 0) {
        struct batch_op op;
        size_t position = 0;
        int more;
        while ((more = batch_next(payload, &position, &op)) > 0) {
        }
        FATAL_IF(more < 0, "a raft entry is malformed or from a newer version of kvd: run the "
                           "version that wrote it, or replace this member's data");
    }
}

bool kv_applying(const struct kv *kv)
{
    return kv->apply.active;
}

/* ---- operations that are done at once
 * ------------------------------------------------------------ */

static int apply_compaction(struct kv *kv, const Etcdserverpb__CompactionRequest *r)
{
    if (r->revision <= kv->compact_revision) {
        return ERR_COMPACTED;
    }
    if (r->revision > kv->revision) {
        return ERR_FUTURE_REV;
    }
    accounting_compact(kv, r->revision);
    kv->compact_revision = r->revision;
    return 0;
}

static int apply_lease_grant(struct kv *kv, const Etcdserverpb__LeaseGrantRequest *r)
{
    struct result *result = &kv->apply.result;
    int64_t ttl = r->ttl;
    int err = lease_grant(kv, r->id, &ttl);
    if (err == 0 && result_live(result)) {
        wire_put_uint(&result->body, 2, (uint64_t)r->id);
        wire_put_uint(&result->body, 3, (uint64_t)ttl);
        result_check(result);
    }
    return err;
}

static int apply_alarm(struct kv *kv, const Etcdserverpb__AlarmRequest *r)
{
    struct result *result = &kv->apply.result;
    struct alarm a = {.type = (int32_t)r->alarm, .member = r->memberid};
    uint8_t key[ALARM_KEY_BYTES];
    bool full = false;
    bool show = true;
    alarm_key(key, a);
    switch (r->action) {
    case ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__GET:
        if (result_live(result)) {
            alarm_set_append(&kv->alarms, a.type, &result->body);
        }
        show = false;
        break;
    case ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE:
        show = a.type != ALARM_NONE;
        if (show && alarm_set_add(&kv->alarms, a, &full)) {
            change_row(kv, TABLE_ALARM, slice_of(key, sizeof(key)), slice_of(NULL, 0));
        }
        break;
    case ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__DEACTIVATE:
        show = alarm_set_remove(&kv->alarms, a);
        if (show) {
            change_erase(kv, TABLE_ALARM, slice_of(key, sizeof(key)));
        }
        break;
    default:
        show = false;
        break;
    }
    if (full) {
        return ERR_TOO_MANY_REQUESTS;
    }
    if (show && result_live(result)) {
        alarm_append(&result->body, a);
    }
    result_check(result);
    return 0;
}

/* ---- one operation
 * ------------------------------------------------------------------------------- */

static bool is_stampable(const raft_request *r)
{
    return r->range != NULL || r->put != NULL || r->delete_range != NULL || r->txn != NULL ||
           r->compaction != NULL || r->lease_grant != NULL || r->lease_revoke != NULL ||
           r->alarm != NULL;
}

/* Fence and alarms. */
static int apply_admit(struct kv *kv, const raft_request *r)
{
    if (r->epoch != NULL && is_stampable(r)) {
        struct epoch stamp = {.plugin = r->epoch->plugin,
                              .member = r->epoch->member,
                              .term = r->epoch->term,
                              .epoch = r->epoch->epoch};
        int err = epoch_check(kv, &stamp);
        if (err != 0) {
            return err;
        }
    }
    return quota_alarms(kv, r);
}

/* Starts an operation; *program = the rest is txn_run's. */
static int apply_dispatch(struct kv *kv, const raft_request *r, bool *program)
{
    struct apply *a = &kv->apply;
    int err = apply_admit(kv, r);
    *program = false;
    if (err != 0) {
        return err;
    }
    if (r->compaction != NULL) {
        return apply_compaction(kv, r->compaction);
    }
    if (r->lease_grant != NULL) {
        return apply_lease_grant(kv, r->lease_grant);
    }
    if (r->alarm != NULL) {
        return apply_alarm(kv, r->alarm);
    }
    struct mvcc_reader *reader = change_reader(kv);
    *program = true;
    txn_init(&a->txn, kv, reader->view, reader, &a->arena, &a->result);
    if (r->put != NULL) {
        return txn_set_put(&a->txn, r->put);
    }
    if (r->delete_range != NULL) {
        return txn_set_delete(&a->txn, r->delete_range);
    }
    if (r->txn != NULL) {
        return txn_set_txn(&a->txn, r->txn);
    }
    if (r->lease_revoke != NULL) {
        return txn_set_revoke(&a->txn, r->lease_revoke->id);
    }
    if (r->range != NULL) {
        return txn_set_range(&a->txn, r->range);
    }
    *program = false;
    if (r->epoch != NULL) {
        struct epoch e = {.plugin = r->epoch->plugin,
                          .member = r->epoch->member,
                          .term = r->epoch->term,
                          .epoch = r->epoch->epoch};
        return epoch_register(kv, &e);
    }
    return ERR_UNIMPLEMENTED;
}

/* Operations executed so far, each part of a transaction counted. */
static uint64_t apply_executed(const struct kv *kv)
{
    return kv->counts.puts + kv->counts.deletes + kv->counts.ranges;
}

/* Publishes and answers the operation in hand. */
static void apply_finish_op(struct kv *kv, int err)
{
    struct apply *a = &kv->apply;
    bool last = a->position == a->payload.len;
    struct slice body = {0};
    kv->counts.txns += apply_executed(kv) - a->executed > 1;
    if (err == ERR_NOMEM || err == ERR_IO || err == ERR_DAMAGED) {
        kv_stop(err, "apply: an operation");
    }
    txn_close(&a->txn);
    change_publish(kv, last ? a->index : a->index - 1);
    a->in_op = false;
    if (a->result.wanted && kv->options.result != NULL) {
        if (err == 0) {
            body = result_finish(&a->result);
            if (body.data == NULL) {
                /* It happened, only the answer cannot be built; a refusal may say so only if
                 * nothing was changed. */
                err = kv->revision != a->begin ? ERR_UNKNOWN_OUTCOME : ERR_REQUEST_TOO_LARGE;
            }
        }
        kv->options.result(kv->options.data, a->op.origin.number, err, kv->revision, body);
    }
    arena_clear(&a->arena);
}

/* Decodes and starts the next operation. KV_MORE: it needs (more) slices. */
static void apply_start_op(struct kv *kv)
{
    struct apply *a = &kv->apply;
    void *request;
    bool program;
    a->begin = kv->revision;
    a->executed = apply_executed(kv);
    bool wanted = a->op.origin.member == kv->options.member_id &&
                  a->op.origin.incarnation == kv->options.incarnation;
    result_clear(&a->result, wanted);
    int err = codec_decode(&etcdserverpb__internal_raft_request__descriptor, a->op.request,
                           &a->arena, &request);
    if (err != 0) {
        kv_stop(err, "apply: decoding an operation of a raft entry");
    }
    const raft_request *r = request;
    change_begin(kv, slice_of(r->origin.data, r->origin.len));
    err = apply_dispatch(kv, r, &program);
    if (err != 0 || !program) {
        apply_finish_op(kv, err);
    } else {
        a->in_op = true;
    }
}

static void apply_finish_entry(struct kv *kv)
{
    struct apply *a = &kv->apply;
    if (a->payload.len <= BATCH_HEADER_BYTES) {
        /* Barriers and configurations: readers waiting for the index must see it. */
        change_begin(kv, slice_of(NULL, 0));
        change_publish(kv, a->index);
    }
    uint8_t index[8];
    for (int i = 0; i < 8; i++) {
        index[i] = (uint8_t)(a->index >> (8 * i));
    }
    kv->change.hash =
        running_hash(kv->change.hash, 0, slice_of(index, sizeof(index)), slice_of(NULL, 0));
    kv->running_hash = kv->change.hash;
    kv->applied_index = a->index;
    kv->applied_term = a->term;
    a->active = false;
    a->payload = slice_of(NULL, 0);
}

enum kv_progress kv_apply_step(struct kv *kv)
{
    struct apply *a = &kv->apply;
    uint32_t budget = SLICE_ROWS_MAX;
    FATAL_IF(!a->active, "no entry is being applied");
    while (budget > 0) {
        if (!a->in_op) {
            int more = a->payload.len == 0 ? 0 : batch_next(a->payload, &a->position, &a->op);
            if (more == 0) {
                apply_finish_entry(kv);
                return KV_DONE;
            }
            apply_start_op(kv);
            budget--;
        }
        if (a->in_op) {
            int err = 0;
            if (txn_run(&a->txn, &budget, &err) == KV_MORE) {
                return KV_MORE;
            }
            apply_finish_op(kv, err);
        }
    }
    return KV_MORE;
}
