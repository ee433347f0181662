/* svc_maintenance.c - Maintenance: Status, Alarm, Defragment, Hash, HashKV (contract 5.2). */
#include <stdio.h>

#include "base/log.h"
#include "proto/etcd/rpc.pb-c.h"
#include "rpc/svc_alarm.h"
#include "rpc/svc_common.h"
#include "rpc/version.h"

void svc_maintenance_alarm(struct rpc_call *call, struct slice bytes)
{
    svc_count_received(call);
    Etcdserverpb__AlarmRequest *r =
        svc_decode(call, &etcdserverpb__alarm_request__descriptor, bytes);
    if (r == NULL) {
        return;
    }
    struct svc_unary *u = svc_unary_new(call, bytes);
    if (u != NULL) {
        svc_unary_propose(u, SERVICE_ALARM, bytes);
    }
}

static void svc_status_put_alarm(void *data, uint64_t member, int type)
{
    struct buf *out = data;
    char text[80];
    int len = snprintf(text, sizeof(text), "memberID:%llu alarm:%s", (unsigned long long)member,
                       svc_alarm_name(type));
    wire_put_bytes(out, 8, slice_of(text, (size_t)len));
}

void svc_maintenance_status(struct rpc_call *call, struct slice bytes)
{
    svc_count_received(call);
    struct svc *s = svc_of(call);
    if (svc_decode(call, &etcdserverpb__status_request__descriptor, bytes) == NULL) {
        return;
    }
    struct service_status st = {0};
    s->service->status(s->service, &st);
    struct buf *out = &s->scratch;
    buf_clear(out);
    wire_put_bytes(out, 2, slice_str(SERVER_VERSION));
    wire_put_uint(out, 3, (uint64_t)st.db_size);
    wire_put_uint(out, 4, st.leader);
    wire_put_uint(out, 5, st.raft_index);
    wire_put_uint(out, 6, st.raft_term);
    wire_put_uint(out, 7, st.raft_applied_index);
    if (st.leader == 0) {
        wire_put_bytes(out, 8, slice_str(err_text(ERR_NO_LEADER)));
    }
    svc_alarms_each(s, svc_status_put_alarm, out);
    wire_put_uint(out, 9, (uint64_t)st.db_size_in_use);
    wire_put_uint(out, 10, st.is_learner);
    wire_put_bytes(out, 11, slice_str(STORAGE_VERSION));
    wire_put_uint(out, 12, (uint64_t)st.db_size_quota);
    wire_put_header(out, 13, 0); /* downgradeInfo, present and empty */
    if (out->failed) {
        rpc_call_finish_err(call, ERR_NOMEM);
        return;
    }
    svc_reply(call, svc_revision(s), buf_slice(out));
}

static void svc_on_defragmented(struct service_job *j, int err, int64_t revision,
                                const struct service_hash *hash)
{
    (void)revision, (void)hash;
    if (err != 0) {
        LOG(LOG_WARN, "failed to defragment", F_STR("error", err_text(err)));
    } else {
        LOG(LOG_INFO, "finished defragment");
    }
    svc_unary_answer_bare(j->data, err, slice_of(NULL, 0)); /* no header: R-08 */
}

void svc_maintenance_defragment(struct rpc_call *call, struct slice bytes)
{
    svc_count_received(call);
    if (svc_decode(call, &etcdserverpb__defragment_request__descriptor, bytes) == NULL) {
        return;
    }
    struct svc_unary *u = svc_unary_new(call, bytes);
    if (u == NULL) {
        return;
    }
    LOG(LOG_INFO, "starting defragment");
    u->kind = SVC_UNARY_JOB;
    u->req.job.data = u;
    u->req.job.cb = svc_on_defragmented;
    u->svc->service->defragment(u->svc->service, &u->req.job);
}

static void svc_on_hash(struct service_job *j, int err, int64_t revision,
                        const struct service_hash *hash)
{
    struct svc_unary *u = j->data;
    struct buf *out = &u->svc->scratch;
    buf_clear(out);
    if (err == 0) {
        wire_put_uint(out, 2, hash->hash);
    }
    svc_unary_answer(u, err, revision, buf_slice(out));
}

static void svc_on_hash_kv(struct service_job *j, int err, int64_t revision,
                           const struct service_hash *hash)
{
    struct svc_unary *u = j->data;
    struct buf *out = &u->svc->scratch;
    buf_clear(out);
    if (err == 0) {
        wire_put_uint(out, 2, hash->hash);
        wire_put_uint(out, 3, (uint64_t)hash->compact_revision);
        wire_put_uint(out, 4, (uint64_t)hash->hash_revision);
    }
    svc_unary_answer(u, err, revision, buf_slice(out));
}

void svc_maintenance_hash(struct rpc_call *call, struct slice bytes)
{
    svc_count_received(call);
    if (svc_decode(call, &etcdserverpb__hash_request__descriptor, bytes) == NULL) {
        return;
    }
    struct svc_unary *u = svc_unary_new(call, bytes);
    if (u == NULL) {
        return;
    }
    u->kind = SVC_UNARY_JOB;
    u->req.job.data = u;
    u->req.job.cb = svc_on_hash;
    u->svc->service->hash(u->svc->service, &u->req.job);
}

void svc_maintenance_hash_kv(struct rpc_call *call, struct slice bytes)
{
    svc_count_received(call);
    Etcdserverpb__HashKVRequest *r =
        svc_decode(call, &etcdserverpb__hash_kvrequest__descriptor, bytes);
    if (r == NULL) {
        return;
    }
    struct svc_unary *u = svc_unary_new(call, bytes);
    if (u == NULL) {
        return;
    }
    u->kind = SVC_UNARY_JOB;
    u->req.job.data = u;
    u->req.job.cb = svc_on_hash_kv;
    u->svc->service->hash_kv(u->svc->service, &u->req.job, r->revision);
}
