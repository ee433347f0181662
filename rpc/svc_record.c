/* svc_record.c - kvdpb.Record: Origin (proto/kvd/record.proto). */
#include "proto/kvd/record.pb-c.h"
#include "rpc/svc_common.h"

void svc_record_origin(struct rpc_call *call, struct slice bytes)
{
    svc_count_received(call);
    struct svc *s = svc_of(call);
    Kvdpb__OriginResponse answer = KVDPB__ORIGIN_RESPONSE__INIT;
    Kvdpb__OriginRequest *r = svc_decode(call, &kvdpb__origin_request__descriptor, bytes);
    if (r == NULL) {
        return;
    }
    struct buf name;
    struct buf *out = &s->scratch;
    buf_init(&name);
    buf_clear(out);
    int err = s->service->origin(s->service, slice_of(r->key.data, r->key.len), r->revision, &name);
    if (err == 0) {
        buf_append_byte(&name, 0);
        answer.plugin = (char *)name.data;
        err = name.failed || !codec_encode(&answer, out) ? ERR_NOMEM : 0;
    }
    if (err == ERR_NOT_FOUND) {
        rpc_call_finish(call, GRPC_NOT_FOUND, "kvd: that revision did not write the key");
    } else if (err != 0) {
        rpc_call_finish_err(call, err);
    } else {
        svc_reply(call, svc_revision(s), buf_slice(out));
    }
    buf_close(&name);
}
