/* svc_kv.c - KV: Range, Put, DeleteRange, Txn, Compact (contract section 2).
 *
 * What can be known without the store is checked here, so that apply never meets a request it would
 * have to refuse as malformed. Put and DeleteRange are checked field by field on the wire and then
 * go into the raft entry as the very bytes the client sent: one pass, no struct, no copy here. */
#include "base/limits.h"
#include "proto/etcd/rpc.pb-c.h"
#include "rpc/svc_common.h"
#include "rpc/svc_kv_check.h"
#include "rpc/txn_check.h"

void svc_kv_put(struct rpc_call *call, struct slice bytes)
{
    svc_count_received(call);
    int err = svc_check_put(bytes);
    if (err != 0) {
        rpc_call_finish_err(call, err);
        return;
    }
    struct svc_unary *u = svc_unary_new(call, bytes);
    if (u != NULL) {
        svc_unary_propose(u, SERVICE_PUT, bytes);
    }
}

void svc_kv_delete_range(struct rpc_call *call, struct slice bytes)
{
    svc_count_received(call);
    int err = svc_check_delete_range(bytes);
    if (err != 0) {
        rpc_call_finish_err(call, err);
        return;
    }
    struct svc_unary *u = svc_unary_new(call, bytes);
    if (u != NULL) {
        svc_unary_propose(u, SERVICE_DELETE_RANGE, bytes);
    }
}

void svc_kv_range(struct rpc_call *call, struct slice bytes)
{
    svc_count_received(call);
    struct svc_range_facts facts;
    int err = svc_check_range(bytes, &facts);
    if (err != 0) {
        rpc_call_finish_err(call, err);
        return;
    }
    struct svc_unary *u = svc_unary_new(call, bytes);
    if (u == NULL) {
        return;
    }
    u->kind = SVC_UNARY_READ;
    u->req.read.data = u;
    u->req.read.cb = svc_unary_on_read;
    struct service *service = u->svc->service;
    service->range(service, &u->req.read, bytes, facts.serializable);
}

void svc_kv_txn(struct rpc_call *call, struct slice bytes)
{
    svc_count_received(call);
    struct svc *s = svc_of(call);
    Etcdserverpb__TxnRequest *txn = svc_decode(call, &etcdserverpb__txn_request__descriptor, bytes);
    if (txn == NULL) {
        return;
    }
    struct txn_facts facts;
    int err = txn_check(txn, s->service->max_txn_ops, &facts);
    if (err != 0) {
        rpc_call_finish_err(call, err);
        return;
    }
    struct svc_unary *u = svc_unary_new(call, bytes);
    if (u == NULL) {
        return;
    }
    if (!facts.read_only) {
        svc_unary_propose(u, SERVICE_TXN, bytes);
        return;
    }
    u->kind = SVC_UNARY_READ;
    u->req.read.data = u;
    u->req.read.cb = svc_unary_on_read;
    s->service->txn_read(s->service, &u->req.read, bytes, facts.serializable);
}

static void svc_kv_on_compacted(struct service_job *j, int err, int64_t revision,
                                const struct service_hash *hash)
{
    (void)hash;
    svc_unary_answer(j->data, err, revision, slice_of(NULL, 0));
}

void svc_kv_compact(struct rpc_call *call, struct slice bytes)
{
    svc_count_received(call);
    Etcdserverpb__CompactionRequest *request =
        svc_decode(call, &etcdserverpb__compaction_request__descriptor, bytes);
    if (request == NULL) {
        return;
    }
    struct svc_unary *u = svc_unary_new(call, bytes);
    if (u == NULL) {
        return;
    }
    u->kind = SVC_UNARY_JOB;
    u->req.job.data = u;
    u->req.job.cb = svc_kv_on_compacted;
    struct service *service = u->svc->service;
    service->compact(service, &u->req.job, request->revision, request->physical);
}
