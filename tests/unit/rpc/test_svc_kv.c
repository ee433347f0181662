/* test_svc_kv.c - KV requests and answers over a fake node: validation, headers, large results,
 * cancellation, metadata rules. */
#include "tests/unit/rpc/svc_fake.h"

#include "base/rand.h"
#include "rpc/svc_kv_check.h"

static void put_reaches_the_node_verbatim(void **state)
{
    struct fake *f = *state;
    /* Unknown fields and odd field order stay as the client sent them. */
    static const uint8_t request[] = {0x12, 1, 'v', 0xfa, 0x3f, 2, 'x', 'y', 0x0a, 1, 'k'};
    struct rpc_call *call = call_new(f, "etcdserverpb.KV/Put");
    call_open(call);
    call_message(call, slice_of(request, sizeof(request)));
    assert_non_null(f->write);
    assert_int_equal(f->op, SERVICE_PUT);
    assert_true(slice_eq(buf_slice(&f->request), slice_of(request, sizeof(request))));
    assert_false(call->finished);

    f->write->cb(f->write, 0, 42, slice_of(NULL, 0));
    assert_true(call->finished);
    assert_int_equal(call->code, 0);
    assert_int_equal(call->count, 1);
    Etcdserverpb__PutResponse *r = call_answer(call, 0, &etcdserverpb__put_response__descriptor);
    assert_header(r->header, 42);
    assert_null(r->prev_kv);
    call_free(call);
    assert_int_equal(f->canceled, 0);
}

/* The header is byte for byte what a protobuf encoder writes. */
static void header_bytes_are_canonical(void **state)
{
    struct fake *f = *state;
    static const int64_t revisions[] = {0, 1, 127, 128, 300, INT64_MAX, -1};
    for (size_t i = 0; i < sizeof(revisions) / sizeof(revisions[0]); i++) {
        Etcdserverpb__ResponseHeader h = ETCDSERVERPB__RESPONSE_HEADER__INIT;
        h.cluster_id = 0x1234;
        h.member_id = 0x5678;
        h.revision = revisions[i];
        h.raft_term = 3;
        Etcdserverpb__PutResponse r = ETCDSERVERPB__PUT_RESPONSE__INIT;
        r.header = &h;
        struct buf expected = {0};
        assert_true(codec_encode(&r, &expected));
        uint8_t out[SVC_HEADER_BYTES_MAX];
        size_t len = svc_header(f->svc, revisions[i], out);
        assert_true(slice_eq(slice_of(out, len), buf_slice(&expected)));
        buf_close(&expected);
    }
}

static void errors_of_apply_reach_the_client(void **state)
{
    struct fake *f = *state;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = (ProtobufCBinaryData)BIN("k");
    put.lease = 9;
    struct rpc_call *call = call_start(f, "etcdserverpb.KV/Put", &put);
    f->write->cb(f->write, ERR_LEASE_NOT_FOUND, 0, slice_of(NULL, 0));
    assert_error(call, ERR_LEASE_NOT_FOUND);
    call_free(call);
}

/* A client that leaves detaches its request; the node is told once and answers nobody. */
static void leaving_cancels(void **state)
{
    struct fake *f = *state;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = (ProtobufCBinaryData)BIN("k");
    call_free(call_start(f, "etcdserverpb.KV/Put", &put));
    assert_int_equal(f->canceled, 1);
    assert_null(f->write);

    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    range.key = (ProtobufCBinaryData)BIN("k");
    call_free(call_start(f, "etcdserverpb.KV/Range", &range));
    assert_int_equal(f->canceled, 2);

    Etcdserverpb__CompactionRequest compaction = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    call_free(call_start(f, "etcdserverpb.KV/Compact", &compaction));
    assert_int_equal(f->canceled, 3);

    call_free(call_start(f, "etcdserverpb.KV/RangeStream", &range));
    assert_true(f->stream_canceled);
}

static void assert_refused(struct fake *f, const char *method, const void *msg, int err)
{
    struct rpc_call *call = call_start(f, method, msg);
    assert_error(call, err);
    call_free(call);
    assert_null(f->write);
    assert_null(f->read);
}

static void validates_put(void **state)
{
    struct fake *f = *state;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    assert_refused(f, "etcdserverpb.KV/Put", &put, ERR_EMPTY_KEY);
    put.key = (ProtobufCBinaryData)BIN("k");
    put.value = (ProtobufCBinaryData)BIN("v");
    put.ignore_value = true;
    assert_refused(f, "etcdserverpb.KV/Put", &put, ERR_VALUE_PROVIDED);
    put.ignore_value = false;
    put.ignore_lease = true;
    put.lease = -1;
    assert_refused(f, "etcdserverpb.KV/Put", &put, ERR_LEASE_PROVIDED);
}

static void validates_range_and_delete(void **state)
{
    struct fake *f = *state;
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    assert_refused(f, "etcdserverpb.KV/Range", &range, ERR_EMPTY_KEY);
    range.key = (ProtobufCBinaryData)BIN("k");
    range.sort_order = 3;
    assert_refused(f, "etcdserverpb.KV/Range", &range, ERR_INVALID_SORT);
    range.sort_order = 0;
    range.sort_target = 5;
    assert_refused(f, "etcdserverpb.KV/Range", &range, ERR_INVALID_SORT);
    range.sort_target = -1;
    assert_refused(f, "etcdserverpb.KV/Range", &range, ERR_INVALID_SORT);
    Etcdserverpb__DeleteRangeRequest del = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    assert_refused(f, "etcdserverpb.KV/DeleteRange", &del, ERR_EMPTY_KEY);
}

static void refuses_malformed_bytes(void **state)
{
    struct fake *f = *state;
    static const char *const methods[] = {
        "etcdserverpb.KV/Put", "etcdserverpb.KV/Range",   "etcdserverpb.KV/DeleteRange",
        "etcdserverpb.KV/Txn", "etcdserverpb.KV/Compact", "etcdserverpb.KV/RangeStream",
    };
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        struct rpc_call *call = call_new(f, methods[i]);
        call_open(call);
        call_message(call, slice_of("\x0a\x7fshort", 7));
        assert_error(call, ERR_MALFORMED);
        call_free(call);
    }
}

static void range_says_whether_it_is_local(void **state)
{
    struct fake *f = *state;
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    range.key = (ProtobufCBinaryData)BIN("k");
    struct rpc_call *call = call_start(f, "etcdserverpb.KV/Range", &range);
    assert_false(f->serializable);
    /* body: count = 1 */
    f->read->cb(f->read, 0, 8, slice_of("\x20\x01", 2), 2, NULL, NULL, NULL);
    f->read = NULL;
    Etcdserverpb__RangeResponse *r =
        call_answer(call, 0, &etcdserverpb__range_response__descriptor);
    assert_header(r->header, 8);
    assert_int_equal(r->count, 1);
    call_free(call);

    range.serializable = true;
    call = call_start(f, "etcdserverpb.KV/Range", &range);
    assert_true(f->serializable);
    f->read->cb(f->read, ERR_COMPACTED, 0, slice_of(NULL, 0), 0, NULL, NULL, NULL);
    f->read = NULL;
    assert_error(call, ERR_COMPACTED);
    call_free(call);
}

struct producer {
    size_t left;
    bool done;
};

static bool produce_zeros(void *data, struct buf *out, size_t room)
{
    struct producer *p = data;
    size_t n = p->left < room ? p->left : room;
    for (size_t i = 0; i < n; i++) {
        buf_append_byte(out, 7);
    }
    p->left -= n;
    return true;
}

static void produce_done(void *data)
{
    ((struct producer *)data)->done = true;
}

/* A large answer: the total counts the header, which comes first. */
static void large_range_streams(void **state)
{
    struct fake *f = *state;
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    range.key = (ProtobufCBinaryData)BIN("k");
    struct rpc_call *call = call_start(f, "etcdserverpb.KV/Range", &range);
    struct producer p = {.left = 100000};
    f->read->cb(f->read, 0, 8, slice_of(NULL, 0), 100000, produce_zeros, produce_done, &p);
    f->read = NULL;
    assert_true(call->finished);
    uint8_t header[SVC_HEADER_BYTES_MAX];
    size_t header_len = svc_header(f->svc, 8, header);
    assert_int_equal(call->total, 100000 + header_len);
    struct buf all = {0};
    while (all.len < call->total) {
        assert_true(call->produce(call->produce_data, &all, 1024));
    }
    assert_int_equal(all.len, call->total);
    assert_memory_equal(all.data, header, header_len);
    assert_int_equal(all.data[header_len], 7);
    assert_false(p.done);
    call_free(call);
    assert_true(p.done);
    buf_close(&all);
}

static void txn_goes_where_it_belongs(void **state)
{
    struct fake *f = *state;
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    range.key = (ProtobufCBinaryData)BIN("k");
    range.serializable = true;
    Etcdserverpb__RequestOp op = ETCDSERVERPB__REQUEST_OP__INIT;
    op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    op.request_range = &range;
    Etcdserverpb__RequestOp *ops[] = {&op};
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    txn.success = ops;
    txn.n_success = 1;
    struct rpc_call *call = call_start(f, "etcdserverpb.KV/Txn", &txn);
    assert_non_null(f->read);
    assert_true(f->serializable);
    f->read->cb(f->read, 0, 8, slice_of("\x10\x01", 2), 2, NULL, NULL, NULL);
    f->read = NULL;
    Etcdserverpb__TxnResponse *r = call_answer(call, 0, &etcdserverpb__txn_response__descriptor);
    assert_header(r->header, 8);
    assert_true(r->succeeded);
    call_free(call);

    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = (ProtobufCBinaryData)BIN("k");
    op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    op.request_put = &put;
    call = call_start(f, "etcdserverpb.KV/Txn", &txn);
    assert_non_null(f->write);
    assert_int_equal(f->op, SERVICE_TXN);
    call_free(call);

    Etcdserverpb__RequestOp *twice[] = {&op, &op};
    txn.success = twice;
    txn.n_success = 2;
    assert_refused(f, "etcdserverpb.KV/Txn", &txn, ERR_DUPLICATE_KEY);
}

static void compact_waits_for_its_job(void **state)
{
    struct fake *f = *state;
    Etcdserverpb__CompactionRequest r = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    r.revision = 77;
    r.physical = true;
    struct rpc_call *call = call_start(f, "etcdserverpb.KV/Compact", &r);
    assert_string_equal(f->job_name, "compact");
    assert_int_equal(f->job_revision, 77);
    assert_true(f->job_physical);
    f->job->cb(f->job, 0, 90, NULL);
    Etcdserverpb__CompactionResponse *answer =
        call_answer(call, 0, &etcdserverpb__compaction_response__descriptor);
    assert_header(answer->header, 90);
    call_free(call);
}

/* ---- RangeStream -------------------------------------------------------------------------------
 */

static void range_stream_chunks(void **state)
{
    struct fake *f = *state;
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    range.key = (ProtobufCBinaryData)BIN("k");
    struct rpc_call *call = call_start(f, "etcdserverpb.KV/RangeStream", &range);
    /* kvs: {key: "a"} */
    assert_true(f->stream->chunk(f->stream, 0, 9, slice_of("\x12\x03\x0a\x01\x61", 5), false));
    call->above_high_water = true;
    assert_false(f->stream->chunk(f->stream, 0, 9, slice_of("\x12\x03\x0a\x01\x62", 5), false));
    call->above_high_water = false;
    call->method->writable(call);
    assert_int_equal(f->stream_resumes, 1);
    assert_true(f->stream->chunk(f->stream, 0, 9, slice_of("\x20\x02", 2), true)); /* count 2 */
    assert_true(call->finished);
    assert_int_equal(call->code, 0);
    assert_int_equal(call->count, 3);
    Etcdserverpb__RangeStreamResponse *r =
        call_answer(call, 0, &etcdserverpb__range_stream_response__descriptor);
    assert_null(r->range_response->header);
    assert_int_equal(r->range_response->n_kvs, 1);
    r = call_answer(call, 2, &etcdserverpb__range_stream_response__descriptor);
    assert_header(r->range_response->header, 9);
    assert_int_equal(r->range_response->count, 2);
    call_free(call);
    assert_false(f->stream_canceled);
}

static void range_stream_refuses(void **state)
{
    struct fake *f = *state;
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    assert_refused(f, "etcdserverpb.KV/RangeStream", &range, ERR_EMPTY_KEY);
    range.key = (ProtobufCBinaryData)BIN("k");
    range.sort_order = 2;
    struct rpc_call *call = call_start(f, "etcdserverpb.KV/RangeStream", &range);
    assert_int_equal(call->code, GRPC_UNIMPLEMENTED);
    assert_string_equal(call->text, "RangeStream does not support custom sort orders");
    call_free(call);
    range.sort_order = 1;
    range.sort_target = 3;
    call = call_start(f, "etcdserverpb.KV/RangeStream", &range);
    assert_string_equal(call->text, "RangeStream does not support custom sort orders");
    call_free(call);
    range.sort_order = 0; /* NONE with any target is the default order (S-01) */
    range.max_create_revision = 1;
    call = call_start(f, "etcdserverpb.KV/RangeStream", &range);
    assert_string_equal(call->text, "RangeStream does not support revision filters");
    call_free(call);
    range.max_create_revision = 0;
    call = call_start(f, "etcdserverpb.KV/RangeStream", &range);
    assert_false(call->finished);
    assert_false(f->stream->chunk(f->stream, ERR_FUTURE_REV, 0, slice_of(NULL, 0), false));
    assert_error(call, ERR_FUTURE_REV);
    call_free(call);
}

/* ---- metadata ----------------------------------------------------------------------------------
 */

static void leader_required(void **state)
{
    struct fake *f = *state;
    f->has_leader = false;
    struct rpc_call *call = call_new(f, "etcdserverpb.KV/Put");
    call_open(call);
    assert_false(call->finished); /* nobody asked */
    call_free(call);
    call = call_new(f, "etcdserverpb.KV/Put");
    call->hasleader = "true";
    call_open(call);
    assert_error(call, ERR_NO_LEADER);
    call_free(call);
    f->has_leader = true;
    call = call_new(f, "etcdserverpb.KV/Put");
    call->hasleader = "true";
    call_open(call);
    assert_false(call->finished);
    call_free(call);
}

/* An open stream that requires a leader survives a short gap and ends after three timeouts (W-11).
 */
static void leader_lost_ends_streams(void **state)
{
    struct fake *f = *state;
    struct rpc_call *strict = call_new(f, "etcdserverpb.Watch/Watch");
    strict->hasleader = "true";
    call_open(strict);
    struct rpc_call *lax = call_new(f, "etcdserverpb.Watch/Watch");
    call_open(lax);
    f->has_leader = false;
    uint64_t start = uv_now(&f->loop);
    while (!strict->finished) {
        uv_run(&f->loop, UV_RUN_ONCE);
    }
    assert_true(uv_now(&f->loop) - start >= 40); /* election_ms is 20 here */
    assert_error(strict, ERR_NO_LEADER);
    assert_false(lax->finished);
    call_free(strict);
    call_free(lax);
}

static void client_versions_are_counted(void **state)
{
    struct fake *f = *state;
    struct rpc_call *call = call_new(f, "etcdserverpb.KV/Put");
    call->raw_version = slice_of("\xff\xfe", 2);
    call_open(call);
    assert_error(call, ERR_INVALID_CLIENT_API_VERSION);
    call_free(call);
    for (int i = 0; i < 40; i++) {
        char version[16];
        snprintf(version, sizeof(version), "3.%d", i);
        call = call_new(f, "etcdserverpb.KV/Put");
        call->raw_version = slice_str(version);
        call_open(call);
        call_free(call);
    }
    struct buf out = {0};
    svc_metrics_render(f->svc, &out);
    buf_append_byte(&out, 0);
    assert_non_null(strstr((char *)out.data, "etcd_server_client_requests_total{"
                                             "client_api_version=\"3.7\",type=\"unary\"} 1\n"));
    assert_non_null(strstr((char *)out.data, "client_api_version=\"other\",type=\"unary\"} 24\n"));
    assert_non_null(strstr((char *)out.data,
                           "grpc_server_started_total{grpc_method=\"Put\","
                           "grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"} 41\n"));
    assert_non_null(strstr((char *)out.data,
                           "grpc_server_handled_total{grpc_code=\"InvalidArgument\","
                           "grpc_method=\"Put\",grpc_service=\"etcdserverpb.KV\","
                           "grpc_type=\"unary\"} 1\n"));
    buf_close(&out);
}

/* ---- the wire checks against the decoder --------------------------------------------------------
 */

/* What the wire check accepts, the decoder accepts, with the same verdict; random damage included.
 */
static void checks_agree_with_decoder(void **state)
{
    (void)state;
    struct rand r;
    rand_init(&r, 3);
    int accepted = 0;
    for (int i = 0; i < 200000; i++) {
        uint8_t bytes[24];
        size_t len = 0;
        size_t fields = 1 + rand_below(&r, 4);
        for (size_t k = 0; k < fields && len < 16; k++) {
            uint8_t number = (uint8_t)(1 + rand_below(&r, 7));
            bool text = number <= 2 ? !rand_chance(&r, 0.05) : rand_chance(&r, 0.05);
            bytes[len++] = (uint8_t)(number << 3 | (text ? 2 : 0));
            bytes[len++] = (uint8_t)rand_below(&r, 3);
            if (text && bytes[len - 1] > 0) {
                uint8_t n = bytes[len - 1];
                memset(bytes + len, 'x', n);
                len += n;
            }
        }
        if (rand_chance(&r, 0.2)) {
            bytes[rand_below(&r, len)] = (uint8_t)rand_u64(&r);
        }
        struct slice input = slice_of(bytes, len);
        int err = svc_check_put(input);
        Etcdserverpb__PutRequest *p = NULL;
        arena_clear(&fake_arena);
        int decoded =
            codec_decode(&etcdserverpb__put_request__descriptor, input, &fake_arena, (void **)&p);
        if (err == ERR_MALFORMED) {
            continue; /* stricter than the decoder on foreign wire types: allowed */
        }
        assert_int_equal(decoded, 0);
        int expected = p->key.len == 0                        ? ERR_EMPTY_KEY
                       : p->ignore_value && p->value.len != 0 ? ERR_VALUE_PROVIDED
                       : p->ignore_lease && p->lease != 0     ? ERR_LEASE_PROVIDED
                                                              : 0;
        assert_int_equal(err, expected);
        accepted += err == 0;
    }
    assert_true(accepted > 10000);
}

static int teardown_arena(void **state)
{
    (void)state;
    arena_close(&fake_arena);
    return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fake_setup, fake_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(put_reaches_the_node_verbatim),
        TEST(header_bytes_are_canonical),
        TEST(errors_of_apply_reach_the_client),
        TEST(leaving_cancels),
        TEST(validates_put),
        TEST(validates_range_and_delete),
        TEST(refuses_malformed_bytes),
        TEST(range_says_whether_it_is_local),
        TEST(large_range_streams),
        TEST(txn_goes_where_it_belongs),
        TEST(compact_waits_for_its_job),
        TEST(range_stream_chunks),
        TEST(range_stream_refuses),
        TEST(leader_required),
        TEST(leader_lost_ends_streams),
        TEST(client_versions_are_counted),
        TEST(checks_agree_with_decoder),
    };
    return cmocka_run_group_tests(tests, NULL, teardown_arena);
}
