/* svc_lease.c - Lease: Grant, Revoke, KeepAlive, TimeToLive, Leases (contract section 4).
 *
 * KeepAlive answers one message per request, in order (L-05). A renewal may take time (leadership
 * to be confirmed, an expired lease awaiting its revoke), so a stream keeps its renewals in a queue
 * and answers from the front. */
#include "base/limits.h"
#include "proto/etcd/rpc.pb-c.h"
#include "rpc/svc_common.h"

/* ---- unary -------------------------------------------------------------------------------------
 */

void svc_lease_grant(struct rpc_call *call, struct slice bytes)
{
    svc_count_received(call);
    Etcdserverpb__LeaseGrantRequest *r =
        svc_decode(call, &etcdserverpb__lease_grant_request__descriptor, bytes);
    if (r == NULL) {
        return;
    }
    if (r->ttl > LEASE_TTL_SECONDS_MAX) {
        rpc_call_finish_err(call, ERR_LEASE_TTL_TOO_LARGE);
        return;
    }
    struct svc_unary *u = svc_unary_new(call, bytes);
    if (u == NULL) {
        return;
    }
    u->kind = SVC_UNARY_WRITE;
    u->req.write.data = u;
    u->req.write.cb = svc_unary_on_write;
    struct service *service = u->svc->service;
    service->lease_grant(service, &u->req.write, r->id, r->ttl);
}

void svc_lease_revoke(struct rpc_call *call, struct slice bytes)
{
    svc_count_received(call);
    Etcdserverpb__LeaseRevokeRequest *r =
        svc_decode(call, &etcdserverpb__lease_revoke_request__descriptor, bytes);
    if (r == NULL) {
        return;
    }
    struct svc_unary *u = svc_unary_new(call, bytes);
    if (u != NULL) {
        svc_unary_propose(u, SERVICE_LEASE_REVOKE, bytes);
    }
}

static void svc_lease_put_key(void *data, struct slice key)
{
    struct buf *out = data;
    wire_put_header(out, 5, key.len);
    buf_append_slice(out, key);
}

void svc_lease_time_to_live(struct rpc_call *call, struct slice bytes)
{
    svc_count_received(call);
    struct svc *s = svc_of(call);
    Etcdserverpb__LeaseTimeToLiveRequest *r =
        svc_decode(call, &etcdserverpb__lease_time_to_live_request__descriptor, bytes);
    if (r == NULL) {
        return;
    }
    struct service_lease lease = {0};
    struct buf keys;
    buf_init(&keys);
    bool known = s->service->lease_time_to_live(s->service, r->id, &lease,
                                                r->keys ? svc_lease_put_key : NULL, &keys);
    struct buf *out = &s->scratch;
    buf_clear(out);
    wire_put_uint(out, 2, (uint64_t)r->id);
    wire_put_uint(out, 3, (uint64_t)lease.ttl);
    wire_put_uint(out, 4, (uint64_t)lease.granted_ttl);
    buf_append_slice(out, buf_slice(&keys));
    if (!known) {
        rpc_call_finish_err(call, ERR_NO_LEADER);
    } else if (out->failed || keys.failed) {
        rpc_call_finish_err(call, ERR_NOMEM);
    } else {
        svc_reply(call, svc_revision(s), buf_slice(out));
    }
    buf_close(&keys);
}

static void svc_lease_put_status(void *data, int64_t id)
{
    struct buf *out = data;
    wire_put_header(out, 2, wire_uint_size(1, (uint64_t)id));
    wire_put_uint(out, 1, (uint64_t)id);
}

void svc_lease_leases(struct rpc_call *call, struct slice bytes)
{
    svc_count_received(call);
    struct svc *s = svc_of(call);
    if (svc_decode(call, &etcdserverpb__lease_leases_request__descriptor, bytes) == NULL) {
        return;
    }
    struct buf *out = &s->scratch;
    buf_clear(out);
    s->service->lease_list(s->service, svc_lease_put_status, out);
    if (out->failed) {
        rpc_call_finish_err(call, ERR_NOMEM);
        return;
    }
    svc_reply(call, svc_revision(s), buf_slice(out));
}

/* ---- KeepAlive ---------------------------------------------------------------------------------
 */

struct keep_alive_stream {
    struct svc *svc;
    struct rpc_call *call;
    struct list renewals; /* oldest first */
    size_t pending;
    bool half_closed;
    struct svc_leader_link leader;
};

struct keep_alive {
    struct list link;
    struct keep_alive_stream *stream;
    struct service_write write;
    int64_t id;
    int64_t ttl;
    int64_t revision;
    int err;
    bool done;
};

static void keep_alive_free(struct keep_alive *k)
{
    list_remove(&k->link);
    k->stream->pending--;
    pool_free(&k->stream->svc->pool, k);
}

static void keep_alive_send(struct keep_alive_stream *ks, const struct keep_alive *k)
{
    uint8_t header[SVC_HEADER_BYTES_MAX];
    size_t header_len = svc_header(ks->svc, k->revision, header);
    struct buf *out = &ks->svc->scratch;
    buf_clear(out);
    wire_put_uint(out, 2, (uint64_t)k->id);
    wire_put_uint(out, 3, (uint64_t)k->ttl);
    struct rpc_part parts[2] = {{.bytes = slice_of(header, header_len)}, {.bytes = buf_slice(out)}};
    svc_send(ks->call, parts, 2);
}

/* Answers what is done at the front. */
static void keep_alive_drain(struct keep_alive_stream *ks)
{
    while (!list_empty(&ks->renewals)) {
        struct keep_alive *k = LIST_ENTRY(ks->renewals.next, struct keep_alive, link);
        if (!k->done) {
            return;
        }
        int err = k->err;
        if (err == 0) {
            keep_alive_send(ks, k);
        }
        keep_alive_free(k);
        if (err == ERR_NOT_LEADER) {
            /* L-06: the client is to try another member; this code and text make it. */
            rpc_call_finish(ks->call, GRPC_UNKNOWN, "not a primary lessor");
            return;
        }
        if (err != 0) {
            rpc_call_finish_err(ks->call, err);
            return;
        }
    }
    if (ks->half_closed) {
        rpc_call_finish(ks->call, GRPC_OK, NULL);
    }
}

static void keep_alive_on_done(struct service_write *w, int err, int64_t revision,
                               struct slice body)
{
    (void)body;
    struct keep_alive *k = w->data;
    k->done = true;
    k->err = err;
    k->revision = revision;
    if (k->stream->renewals.next == &k->link) {
        keep_alive_drain(k->stream);
    }
}

void svc_keep_alive_open(struct rpc_call *call)
{
    if (!svc_open_stream(call)) {
        return;
    }
    struct svc *s = svc_of(call);
    struct keep_alive_stream *ks = pool_zalloc(&s->pool, sizeof(*ks));
    if (ks == NULL) {
        rpc_call_finish_err(call, ERR_NOMEM);
        return;
    }
    ks->svc = s;
    ks->call = call;
    list_init(&ks->renewals);
    svc_leader_watch(call, &ks->leader);
    rpc_call_set_data(call, ks);
}

void svc_keep_alive_message(struct rpc_call *call, struct slice bytes)
{
    svc_count_received(call);
    struct keep_alive_stream *ks = rpc_call_data(call);
    if (ks == NULL) {
        return;
    }
    struct svc *s = ks->svc;
    Etcdserverpb__LeaseKeepAliveRequest *r =
        svc_decode(call, &etcdserverpb__lease_keep_alive_request__descriptor, bytes);
    if (r == NULL) {
        return;
    }
    if (ks->pending >= KEEPALIVES_PENDING_MAX) {
        rpc_call_finish_err(call, ERR_TOO_MANY_REQUESTS);
        return;
    }
    struct keep_alive *k = pool_zalloc(&s->pool, sizeof(*k));
    if (k == NULL) {
        rpc_call_finish_err(call, ERR_NOMEM);
        return;
    }
    k->stream = ks;
    k->id = r->id;
    k->write.data = k;
    k->write.cb = keep_alive_on_done;
    list_push_back(&ks->renewals, &k->link);
    ks->pending++;
    s->service->lease_keep_alive(s->service, &k->write, k->id, &k->ttl);
}

void svc_keep_alive_half_close(struct rpc_call *call)
{
    struct keep_alive_stream *ks = rpc_call_data(call);
    if (ks != NULL) {
        ks->half_closed = true;
        keep_alive_drain(ks);
    }
}

void svc_keep_alive_closed(struct rpc_call *call)
{
    struct keep_alive_stream *ks = rpc_call_data(call);
    if (ks == NULL) {
        return;
    }
    struct svc *s = ks->svc;
    while (!list_empty(&ks->renewals)) {
        struct keep_alive *k = LIST_ENTRY(ks->renewals.next, struct keep_alive, link);
        if (!k->done) {
            s->service->cancel_write(s->service, &k->write);
        }
        keep_alive_free(k);
    }
    svc_leader_unwatch(&ks->leader);
    rpc_call_set_data(call, NULL);
    pool_free(&s->pool, ks);
}
