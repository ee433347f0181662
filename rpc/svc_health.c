/* svc_health.c - grpc.health.v1: Check, Watch, List. The server as a whole ("") is the one service
 * known, and it serves as long as it answers at all. */
#include "proto/etcd/health.pb-c.h"
#include "rpc/svc_common.h"

enum { HEALTH_SERVING = 1, HEALTH_SERVICE_UNKNOWN = 3 };

static const uint8_t health_serving[] = {1 << 3 | WIRE_VARINT, HEALTH_SERVING};
static const uint8_t health_unknown[] = {1 << 3 | WIRE_VARINT, HEALTH_SERVICE_UNKNOWN};

static void health_send(struct rpc_call *call, const void *bytes, size_t len)
{
    struct rpc_part part = {.bytes = slice_of(bytes, len)};
    svc_send(call, &part, 1);
}

void svc_health_check(struct rpc_call *call, struct slice bytes)
{
    svc_count_received(call);
    Grpc__Health__V1__HealthCheckRequest *r =
        svc_decode(call, &grpc__health__v1__health_check_request__descriptor, bytes);
    if (r == NULL) {
        return;
    }
    if (r->service != NULL && r->service[0] != '\0') {
        rpc_call_finish(call, GRPC_NOT_FOUND, "unknown service");
        return;
    }
    health_send(call, health_serving, sizeof(health_serving));
    rpc_call_finish(call, GRPC_OK, NULL);
}

/* HealthListResponse{statuses: {"": {status: SERVING}}}: a map entry whose key is left out. */
void svc_health_list(struct rpc_call *call, struct slice bytes)
{
    static const uint8_t list[] = {
        1 << 3 | WIRE_BYTES, 4, 2 << 3 | WIRE_BYTES, 2, 1 << 3 | WIRE_VARINT, HEALTH_SERVING};
    (void)bytes;
    svc_count_received(call);
    health_send(call, list, sizeof(list));
    rpc_call_finish(call, GRPC_OK, NULL);
}

/* Watch: one status now, later ones when it changes - which it never does while we live. The stream
 * stays open until the client leaves. */
struct health_watch {
    struct svc *svc;
    struct svc_leader_link leader;
};

void svc_health_watch_open(struct rpc_call *call)
{
    if (!svc_open_stream(call)) {
        return;
    }
    struct svc *s = svc_of(call);
    struct health_watch *h = pool_zalloc(&s->pool, sizeof(*h));
    if (h == NULL) {
        rpc_call_finish_err(call, ERR_NOMEM);
        return;
    }
    h->svc = s;
    svc_leader_watch(call, &h->leader);
    rpc_call_set_data(call, h);
}

void svc_health_watch_message(struct rpc_call *call, struct slice bytes)
{
    svc_count_received(call);
    Grpc__Health__V1__HealthCheckRequest *r =
        svc_decode(call, &grpc__health__v1__health_check_request__descriptor, bytes);
    if (r == NULL) {
        return;
    }
    if (r->service != NULL && r->service[0] != '\0') {
        health_send(call, health_unknown, sizeof(health_unknown));
    } else {
        health_send(call, health_serving, sizeof(health_serving));
    }
}

void svc_health_watch_closed(struct rpc_call *call)
{
    struct health_watch *h = rpc_call_data(call);
    if (h != NULL) {
        svc_leader_unwatch(&h->leader);
        rpc_call_set_data(call, NULL);
        pool_free(&h->svc->pool, h);
    }
}
