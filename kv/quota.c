/* quota.c - costs and refusals. */
#include "kv/quota.h"

#include "base/err.h"
#include "kv/lease.h"
#include "kv/state.h"
#include "proto/codec.h"

/* etcd's estimate of what storing one pair takes beside its bytes. */
#define PUT_COST_BYTES 256
/* A put inside a transaction takes at least this much of the request. */
#define TXN_PUT_WIRE_BYTES_MIN 4

/* Field numbers of InternalRaftRequest. */
enum {
    OP_PUT = 4,
    OP_DELETE_RANGE = 5,
    OP_TXN = 6,
    OP_COMPACTION = 7,
    OP_LEASE_GRANT = 8,
    OP_LEASE_REVOKE = 9
};

int64_t quota_cost_put(const Etcdserverpb__PutRequest *put)
{
    return PUT_COST_BYTES + (int64_t)(put->key.len + put->value.len);
}

static int64_t quota_cost_ops(Etcdserverpb__RequestOp **ops, size_t count)
{
    int64_t cost = 0;
    for (size_t i = 0; i < count; i++) {
        if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT) {
            cost += quota_cost_put(ops[i]->request_put);
        } else if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN) {
            /* The decoder's depth limit bounds this recursion. */
            cost += quota_cost_txn(ops[i]->request_txn);
        }
    }
    return cost;
}

int64_t quota_cost_txn(const Etcdserverpb__TxnRequest *txn)
{
    int64_t success = quota_cost_ops(txn->success, txn->n_success);
    int64_t failure = quota_cost_ops(txn->failure, txn->n_failure);
    return success > failure ? success : failure;
}

int quota_alarms(const struct kv *kv, const Etcdserverpb__InternalRaftRequest *r)
{
    if (kv->alarms.active[ALARM_CORRUPT] > 0 &&
        (r->put != NULL || r->delete_range != NULL || r->txn != NULL || r->compaction != NULL ||
         r->lease_grant != NULL || r->lease_revoke != NULL)) {
        return ERR_CORRUPT;
    }
    if (kv->alarms.active[ALARM_NOSPACE] > 0 && (r->put != NULL || r->lease_grant != NULL ||
                                                 (r->txn != NULL && quota_cost_txn(r->txn) > 0))) {
        return ERR_NO_SPACE;
    }
    return 0;
}

/* Decodes an encoded TxnRequest to learn its cost; -1 when that is impossible (the proposal will be
 * answered by whoever decodes it for real). */
static int64_t quota_decode_txn(struct slice request)
{
    void *txn;
    struct arena arena;
    arena_init(&arena, 0);
    int err = codec_decode(&etcdserverpb__txn_request__descriptor, request, &arena, &txn);
    int64_t cost = err == 0 ? quota_cost_txn(txn) : -1;
    arena_close(&arena);
    return cost;
}

int kv_check_alarms(struct kv *kv, uint32_t op_field, struct slice request)
{
    if (kv->alarms.active[ALARM_CORRUPT] > 0 && op_field >= OP_PUT && op_field <= OP_LEASE_REVOKE) {
        return ERR_CORRUPT;
    }
    if (kv->alarms.active[ALARM_NOSPACE] == 0) {
        return 0;
    }
    if (op_field == OP_PUT || op_field == OP_LEASE_GRANT) {
        return ERR_NO_SPACE;
    }
    return op_field == OP_TXN && quota_decode_txn(request) != 0 ? ERR_NO_SPACE : 0;
}

/* Below 90 % an alarm of our own may end. */
static bool quota_has_room(const struct kv *kv)
{
    int64_t quota = kv->options.quota_bytes;
    return quota <= 0 || kv->accounting.bytes < quota / 10 * 9;
}

int kv_check_quota(struct kv *kv, uint32_t op_field, struct slice request, bool *raise_alarm)
{
    int64_t quota = kv->options.quota_bytes;
    int64_t used = kv->accounting.bytes;
    int64_t cost;
    *raise_alarm = false;
    if (quota <= 0) {
        return 0;
    }
    switch (op_field) {
    case OP_PUT:
        /* The encoding is a few bytes more than key and value: close enough to skip decoding, and
         * never less than etcd's figure. */
        cost = PUT_COST_BYTES + (int64_t)request.len;
        break;
    case OP_TXN:
        /* No need to decode what fits even if all of it were empty puts. */
        cost = (int64_t)request.len * (1 + PUT_COST_BYTES / TXN_PUT_WIRE_BYTES_MIN);
        if (used + cost >= quota) {
            cost = quota_decode_txn(request);
        }
        break;
    case OP_LEASE_GRANT:
        cost = LEASE_COST_BYTES;
        break;
    default:
        return 0;
    }
    if (cost <= 0 || used + cost < quota) {
        return 0;
    }
    /* An alarm that clears itself is not raised where it would be cleared at once: one request
     * that is too large for an almost empty database must not refuse everybody's small ones. */
    struct alarm own = {.type = ALARM_NOSPACE, .member = kv->options.member_id};
    *raise_alarm = !alarm_set_has(&kv->alarms, own) &&
                   !(kv->options.alarm_self_clearing && quota_has_room(kv));
    return ERR_NO_SPACE;
}

bool kv_should_clear_alarm(struct kv *kv)
{
    struct alarm own = {.type = ALARM_NOSPACE, .member = kv->options.member_id};
    return kv->options.alarm_self_clearing && alarm_set_has(&kv->alarms, own) && quota_has_room(kv);
}

bool kv_alarm_active(const struct kv *kv, int alarm_type)
{
    return alarm_type > 0 && alarm_type < 3 && kv->alarms.active[alarm_type] > 0;
}

bool kv_alarm_at(const struct kv *kv, size_t i, int *alarm_type, uint64_t *member)
{
    if (i >= kv->alarms.len) {
        return false;
    }
    *alarm_type = kv->alarms.alarms[i].type;
    *member = kv->alarms.alarms[i].member;
    return true;
}

void kv_alarm_list(struct kv *kv, int alarm_type, struct buf *out)
{
    alarm_set_append(&kv->alarms, alarm_type, out);
}
