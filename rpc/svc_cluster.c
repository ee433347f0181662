/* svc_cluster.c - Cluster: MemberList. Changing members is in svc_unimplemented.c until it exists.
 */
#include <string.h>

#include "proto/etcd/rpc.pb-c.h"
#include "rpc/svc_common.h"

/* Members shown; a cluster of more than a few is no etcd cluster. */
#define SVC_MEMBERS_MAX 64u

static size_t svc_member_size(const struct service_member *m)
{
    size_t size = wire_uint_size(1, m->id) + wire_bytes_size(2, strlen(m->name));
    for (size_t i = 0; i < m->peer_url_count; i++) {
        size += wire_bytes_size(3, strlen(m->peer_urls[i]));
    }
    for (size_t i = 0; i < m->client_url_count; i++) {
        size += wire_bytes_size(4, strlen(m->client_urls[i]));
    }
    return size + wire_uint_size(5, m->is_learner);
}

static void svc_put_member(struct buf *out, const struct service_member *m)
{
    wire_put_header(out, 2, svc_member_size(m));
    wire_put_uint(out, 1, m->id);
    wire_put_bytes(out, 2, slice_str(m->name));
    for (size_t i = 0; i < m->peer_url_count; i++) {
        wire_put_bytes(out, 3, slice_str(m->peer_urls[i]));
    }
    for (size_t i = 0; i < m->client_url_count; i++) {
        wire_put_bytes(out, 4, slice_str(m->client_urls[i]));
    }
    wire_put_uint(out, 5, m->is_learner);
}

static void svc_put_members(struct svc *s, struct buf *out)
{
    struct service_member members[SVC_MEMBERS_MAX];
    size_t count = s->service->members(s->service, members, SVC_MEMBERS_MAX);
    buf_clear(out);
    for (size_t i = 0; i < count; i++) {
        svc_put_member(out, &members[i]);
    }
}

static void svc_cluster_on_confirmed(struct service_read *r, int err, int64_t revision,
                                     struct slice body, uint64_t total,
                                     bool (*produce)(void *data, struct buf *out, size_t room),
                                     void (*done)(void *data), void *produce_data)
{
    (void)revision, (void)body, (void)total, (void)produce, (void)done, (void)produce_data;
    struct svc_unary *u = r->data;
    struct buf *out = &u->svc->scratch;
    svc_put_members(u->svc, out);
    /* Cluster answers carry no revision. */
    svc_unary_answer(u, err == 0 && out->failed ? ERR_NOMEM : err, 0, buf_slice(out));
}

void svc_cluster_member_list(struct rpc_call *call, struct slice bytes)
{
    svc_count_received(call);
    struct svc *s = svc_of(call);
    Etcdserverpb__MemberListRequest *r =
        svc_decode(call, &etcdserverpb__member_list_request__descriptor, bytes);
    if (r == NULL) {
        return;
    }
    if (!r->linearizable) {
        svc_put_members(s, &s->scratch);
        svc_reply(call, 0, buf_slice(&s->scratch));
        return;
    }
    struct svc_unary *u = svc_unary_new(call, bytes);
    if (u == NULL) {
        return;
    }
    u->kind = SVC_UNARY_READ;
    u->req.read.data = u;
    u->req.read.cb = svc_cluster_on_confirmed;
    s->service->confirm(s->service, &u->req.read);
}
