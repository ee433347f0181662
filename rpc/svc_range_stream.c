/* svc_range_stream.c - KV/RangeStream: one range in chunks (contract 2.3).
 *
 * The store makes chunks while the call's queue is below high water; when it is above, the stream
 * pauses until `writable`. Nothing of the answer is held here. */
#include "base/limits.h"
#include "proto/etcd/rpc.pb-c.h"
#include "rpc/svc_common.h"
#include "rpc/svc_kv_check.h"

struct range_stream {
    struct svc *svc;
    struct rpc_call *call;
    struct service_stream stream;
    struct svc_leader_link leader;
    bool paused;
};

static void range_stream_free(struct range_stream *rs)
{
    svc_leader_unwatch(&rs->leader);
    rpc_call_set_data(rs->call, NULL);
    pool_free(&rs->svc->pool, rs);
}

/* RangeStreamResponse{range_response: {header on the last chunk, body}}. */
static void range_stream_send(struct range_stream *rs, int64_t revision, struct slice body,
                              bool last)
{
    uint8_t header[SVC_HEADER_BYTES_MAX];
    size_t header_len = last ? svc_header(rs->svc, revision, header) : 0;
    struct buf *head = &rs->svc->scratch;
    buf_clear(head);
    wire_put_header(head, 1, header_len + body.len);
    buf_append(head, header, header_len);
    struct rpc_part parts[2] = {{.bytes = buf_slice(head)}, {.bytes = body}};
    svc_send(rs->call, parts, body.len > 0 ? 2 : 1);
}

static bool range_stream_on_chunk(struct service_stream *st, int err, int64_t revision,
                                  struct slice body, bool last)
{
    struct range_stream *rs = st->data;
    struct rpc_call *call = rs->call;
    if (err != 0) {
        range_stream_free(rs);
        rpc_call_finish_err(call, err);
        return false;
    }
    range_stream_send(rs, revision, body, last);
    if (last) {
        range_stream_free(rs);
        rpc_call_finish(call, GRPC_OK, NULL);
        return true;
    }
    rs->paused = rpc_call_above_high_water(call);
    return !rs->paused;
}

void svc_range_stream_message(struct rpc_call *call, struct slice bytes)
{
    svc_count_received(call);
    struct svc *s = svc_of(call);
    struct svc_range_facts facts;
    int err = svc_check_range(bytes, &facts);
    if (err != 0) {
        rpc_call_finish_err(call, err);
        return;
    }
    if (!facts.default_order) {
        rpc_call_finish(call, GRPC_UNIMPLEMENTED,
                        "RangeStream does not support custom sort orders");
        return;
    }
    if (facts.filtered) {
        rpc_call_finish(call, GRPC_UNIMPLEMENTED, "RangeStream does not support revision filters");
        return;
    }
    struct range_stream *rs = pool_zalloc(&s->pool, sizeof(*rs));
    if (rs == NULL) {
        rpc_call_finish_err(call, ERR_NOMEM);
        return;
    }
    rs->svc = s;
    rs->call = call;
    rs->stream.data = rs;
    rs->stream.chunk = range_stream_on_chunk;
    svc_leader_watch(call, &rs->leader);
    rpc_call_set_data(call, rs);
    s->service->range_stream(s->service, &rs->stream, bytes, facts.serializable);
}

void svc_range_stream_writable(struct rpc_call *call)
{
    struct range_stream *rs = rpc_call_data(call);
    if (rs != NULL && rs->paused) {
        rs->paused = false;
        rs->svc->service->range_stream_resume(rs->svc->service, &rs->stream);
    }
}

void svc_range_stream_closed(struct rpc_call *call)
{
    struct range_stream *rs = rpc_call_data(call);
    if (rs != NULL) {
        rs->svc->service->range_stream_cancel(rs->svc->service, &rs->stream);
        range_stream_free(rs);
    }
}
