/* test_codec - golden bytes (made with protobuf's own Python library), round trips, field types. */
#include "proto/codec.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "proto/entry.pb-c.h"
#include "proto/etcd/election.pb-c.h"
#include "proto/etcd/health.pb-c.h"
#include "proto/etcd/lease.pb-c.h"
#include "proto/etcd/lock.pb-c.h"
#include "proto/etcd/rpc.pb-c.h"
#include "tests/unit/proto/all_types.h"

#define BYTES(text) ((struct slice){.data = (const uint8_t *)(text), .len = sizeof(text) - 1})
#define BIN(text)   ((ProtobufCBinaryData){.len = sizeof(text) - 1, .data = (uint8_t *)(text)})

/* The message encodes to exactly these bytes, and those decode and encode to themselves. */
static void assert_golden(const void *msg, struct slice golden)
{
    struct buf b;
    buf_init(&b);
    assert_int_equal(codec_size(msg), golden.len);
    assert_true(codec_encode(msg, &b));
    assert_int_equal(b.len, golden.len);
    if (golden.len > 0) {
        assert_memory_equal(b.data, golden.data, golden.len);
    }
    struct arena a;
    arena_init(&a, 0);
    void *back;
    const ProtobufCMessageDescriptor *type = ((const ProtobufCMessage *)msg)->descriptor;
    assert_int_equal(codec_decode(type, golden, &a, &back), 0);
    buf_clear(&b);
    assert_true(codec_encode(back, &b));
    assert_true(slice_eq(buf_slice(&b), golden));
    arena_close(&a);
    buf_close(&b);
}

static void put_request_golden(void **state)
{
    (void)state;
    Etcdserverpb__PutRequest m = ETCDSERVERPB__PUT_REQUEST__INIT;
    m.key = BIN("foo");
    m.value = BIN("bar\0\xff");
    m.lease = -1;
    m.prev_kv = 1;
    assert_golden(&m, BYTES("\x0a\x03\x66\x6f\x6f\x12\x05\x62\x61\x72\x00\xff\x18\xff\xff\xff\xff"
                            "\xff\xff\xff\xff\xff\x01\x20\x01"));
    Etcdserverpb__PutRequest empty = ETCDSERVERPB__PUT_REQUEST__INIT;
    assert_golden(&empty, BYTES(""));
}

/* Oneofs with zero values, empty messages in lists, a field number of two bytes, nesting. */
static void txn_request_golden(void **state)
{
    (void)state;
    Etcdserverpb__Compare c1 = ETCDSERVERPB__COMPARE__INIT;
    c1.result = ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER;
    c1.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD;
    c1.key = BIN("k");
    c1.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
    c1.range_end = BIN("l");
    Etcdserverpb__Compare c2 = ETCDSERVERPB__COMPARE__INIT;
    c2.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = BIN("a");
    put.value = BIN("1");
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    Etcdserverpb__DeleteRangeRequest del = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    del.key = BIN("d");
    Etcdserverpb__RequestOp s1 = ETCDSERVERPB__REQUEST_OP__INIT;
    s1.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    s1.request_put = &put;
    Etcdserverpb__RequestOp s2 = ETCDSERVERPB__REQUEST_OP__INIT;
    s2.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    s2.request_range = &range;
    Etcdserverpb__RequestOp inner = ETCDSERVERPB__REQUEST_OP__INIT;
    inner.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    inner.request_delete_range = &del;
    Etcdserverpb__TxnRequest nested = ETCDSERVERPB__TXN_REQUEST__INIT;
    nested.n_success = 1;
    nested.success = (Etcdserverpb__RequestOp *[]){&inner};
    Etcdserverpb__RequestOp f1 = ETCDSERVERPB__REQUEST_OP__INIT;
    Etcdserverpb__RequestOp f2 = ETCDSERVERPB__REQUEST_OP__INIT;
    f2.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN;
    f2.request_txn = &nested;
    Etcdserverpb__TxnRequest m = ETCDSERVERPB__TXN_REQUEST__INIT;
    m.n_compare = 2;
    m.compare = (Etcdserverpb__Compare *[]){&c1, &c2};
    m.n_success = 2;
    m.success = (Etcdserverpb__RequestOp *[]){&s1, &s2};
    m.n_failure = 2;
    m.failure = (Etcdserverpb__RequestOp *[]){&f1, &f2};
    struct slice golden =
        BYTES("\x0a\x0d\x08\x01\x10\x02\x1a\x01\x6b\x30\x00\x82\x04\x01\x6c\x0a\x02\x3a\x00\x12\x08"
              "\x12\x06\x0a\x01\x61\x12\x01\x31\x12\x02\x0a\x00\x1a\x00\x1a\x09\x22\x07\x12\x05\x1a"
              "\x03\x0a\x01\x64");
    assert_golden(&m, golden);
    /* A chosen message without an object travels as an empty one. */
    s2.request_range = NULL;
    assert_golden(&m, golden);

    struct arena a;
    arena_init(&a, 0);
    void *out;
    assert_int_equal(codec_decode(&etcdserverpb__txn_request__descriptor, golden, &a, &out), 0);
    Etcdserverpb__TxnRequest *t = out;
    assert_int_equal(t->n_compare, 2);
    assert_int_equal(t->compare[0]->target_union_case,
                     ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION);
    assert_int_equal(t->compare[0]->mod_revision, 0);
    assert_int_equal(t->compare[0]->range_end.len, 1);
    assert_int_equal(t->compare[1]->target_union_case, ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE);
    assert_int_equal(t->failure[0]->request_case, ETCDSERVERPB__REQUEST_OP__REQUEST__NOT_SET);
    Etcdserverpb__DeleteRangeRequest *d =
        t->failure[1]->request_txn->success[0]->request_delete_range;
    assert_int_equal(d->key.data[0], 'd');
    /* Bytes are not copied: they lie in the input. */
    assert_true(d->key.data > golden.data && d->key.data < golden.data + golden.len);
    arena_close(&a);
}

static void watch_messages_golden(void **state)
{
    (void)state;
    Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
    Etcdserverpb__WatchCreateRequest__FilterType filters[] = {0, 1, 1};
    create.key = BIN("k");
    create.start_revision = (int64_t)1 << 40;
    create.n_filters = 3;
    create.filters = filters;
    Etcdserverpb__WatchRequest m = ETCDSERVERPB__WATCH_REQUEST__INIT;
    m.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    m.create_request = &create;
    assert_golden(&m, BYTES("\x0a\x0f\x0a\x01\x6b\x18\x80\x80\x80\x80\x80\x20\x2a\x03\x00\x01"
                            "\x01"));

    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    Mvccpb__KeyValue kv = MVCCPB__KEY_VALUE__INIT;
    kv.key = BIN("x");
    Mvccpb__Event e1 = MVCCPB__EVENT__INIT;
    e1.type = MVCCPB__EVENT__EVENT_TYPE__DELETE;
    e1.kv = &kv;
    Mvccpb__Event e2 = MVCCPB__EVENT__INIT;
    Etcdserverpb__WatchResponse r = ETCDSERVERPB__WATCH_RESPONSE__INIT;
    r.header = &header;
    r.watch_id = -2;
    r.created = 1;
    r.cancel_reason = (char *)"gr\xc3\xbcn";
    r.n_events = 2;
    r.events = (Mvccpb__Event *[]){&e1, &e2};
    assert_golden(&r, BYTES("\x0a\x00\x10\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\x18\x01\x32\x05"
                            "\x67\x72\xc3\xbc\x6e\x5a\x07\x08\x01\x12\x03\x0a\x01\x78\x5a\x00"));
}

static void raft_entry_golden(void **state)
{
    (void)state;
    Etcdserverpb__RequestHeader header = ETCDSERVERPB__REQUEST_HEADER__INIT;
    header.username = (char *)"u";
    header.auth_revision = 3;
    Etcdserverpb__AuthEnableRequest enable = ETCDSERVERPB__AUTH_ENABLE_REQUEST__INIT;
    Etcdserverpb__EpochRequest epoch = ETCDSERVERPB__EPOCH_REQUEST__INIT;
    epoch.plugin = (char *)"scheduler";
    epoch.epoch = (uint64_t)1 << 63;
    Etcdserverpb__InternalRaftRequest m = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    m.id = 7;
    m.header = &header;
    m.auth_enable = &enable;
    m.epoch = &epoch;
    m.origin = BIN("o");
    assert_golden(&m, BYTES("\x08\x07\xa2\x06\x05\x12\x01\x75\x18\x03\xc2\x3e\x00\x82\x7d\x16\x0a"
                            "\x09\x73\x63\x68\x65\x64\x75\x6c\x65\x72\x20\x80\x80\x80\x80\x80\x80"
                            "\x80\x80\x80\x01\x8a\x7d\x01\x6f"));
}

static void strings_and_small_numbers_golden(void **state)
{
    (void)state;
    Etcdserverpb__MemberAddRequest m = ETCDSERVERPB__MEMBER_ADD_REQUEST__INIT;
    m.n_peerurls = 3;
    m.peerurls = (char *[]){(char *)"http://a", (char *)"", (char *)"http://b"};
    m.islearner = 1;
    struct slice golden = BYTES("\x0a\x08\x68\x74\x74\x70\x3a\x2f\x2f\x61\x0a\x00\x0a\x08\x68\x74"
                                "\x74\x70\x3a\x2f\x2f\x62\x10\x01");
    assert_golden(&m, golden);
    m.peerurls[1] = NULL; /* counts as empty */
    assert_golden(&m, golden);
    Etcdserverpb__HashResponse h = ETCDSERVERPB__HASH_RESPONSE__INIT;
    h.hash = UINT32_MAX;
    assert_golden(&h, BYTES("\x10\xff\xff\xff\xff\x0f"));
}

/* The numbers of small messages elsewhere, against the contract's tables by hand. */
static void other_packages_have_their_numbers(void **state)
{
    (void)state;
    V3lockpb__LockRequest lock = V3LOCKPB__LOCK_REQUEST__INIT;
    lock.name = BIN("n");
    lock.lease = 5;
    assert_golden(&lock, BYTES("\x0a\x01n\x10\x05"));
    V3electionpb__LeaderKey key = V3ELECTIONPB__LEADER_KEY__INIT;
    key.name = BIN("n");
    key.key = BIN("k");
    key.rev = 3;
    key.lease = 4;
    V3electionpb__ProclaimRequest proclaim = V3ELECTIONPB__PROCLAIM_REQUEST__INIT;
    proclaim.leader = &key;
    proclaim.value = BIN("v");
    assert_golden(&proclaim, BYTES("\x0a\x0a\x0a\x01n\x12\x01k\x18\x03\x20\x04\x12\x01v"));
    Leasepb__Lease lease = LEASEPB__LEASE__INIT;
    lease.id = 1;
    lease.ttl = 2;
    lease.remainingttl = 3;
    assert_golden(&lease, BYTES("\x08\x01\x10\x02\x18\x03"));
    Grpc__Health__V1__HealthCheckResponse health = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    health.status = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN;
    assert_golden(&health, BYTES("\x08\x03"));
}

static void every_type_at_its_extreme_golden(void **state)
{
    (void)state;
    struct all_types sub = ALL_TYPES_INIT;
    struct all_types m = ALL_TYPES_INIT;
    assert_golden(&m, BYTES(""));
    m.f1 = m.f2 = m.f3 = INT32_MIN;
    m.f4 = m.f5 = m.f6 = INT64_MIN;
    m.f7 = m.f8 = UINT32_MAX;
    m.f9 = m.f10 = UINT64_MAX;
    m.f11 = -0.0f; /* not the zero that is omitted */
    m.f12 = -0.0;
    m.f13 = 5; /* any truth travels as 1 */
    m.f14 = -3;
    m.f15 = (char *)"\xc3\xa9";
    m.f16 = BIN("\0");
    m.f17 = &sub;
    assert_golden(
        &m, BYTES("\x08\x80\x80\x80\x80\xf8\xff\xff\xff\xff\x01\x10\xff\xff\xff\xff\x0f\x1d\x00"
                  "\x00\x00\x80\x20\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01\x28\xff\xff\xff\xff"
                  "\xff\xff\xff\xff\xff\x01\x31\x00\x00\x00\x00\x00\x00\x00\x80\x38\xff\xff\xff"
                  "\xff\x0f\x45\xff\xff\xff\xff\x48\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x51"
                  "\xff\xff\xff\xff\xff\xff\xff\xff\x5d\x00\x00\x00\x80\x61\x00\x00\x00\x00\x00"
                  "\x00\x00\x80\x68\x01\x70\xfd\xff\xff\xff\xff\xff\xff\xff\xff\x01\x7a\x02\xc3"
                  "\xa9\x82\x01\x01\x00\x8a\x01\x00"));
}

static const struct slice lists_golden = BYTES(
    "\xaa\x01\x0d\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\xac\x02\xb2\x01\x07\x00\x01\xff\xff"
    "\xff\xff\x0f\xba\x01\x08\x00\x00\x00\x00\xff\xff\xff\xff\xc2\x01\x0a\x80\x80\x80\x80\x80\x80"
    "\x80\x80\x80\x01\xca\x01\x0c\x01\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\xd2\x01\x10\xfe"
    "\xff\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x00\x00\x00\xda\x01\x06\xff\xff\xff\xff\x0f"
    "\x00\xe2\x01\x04\x01\x00\x00\x00\xea\x01\x0a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01\xf2\x01"
    "\x10\x01\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\xfa\x01\x08\x00\x00\xc0"
    "\x3f\x00\x00\x00\x00\x82\x02\x08\x00\x00\x00\x00\x00\x00\x04\xc0\x8a\x02\x02\x01\x00\x92\x02"
    "\x0c\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x07\x9a\x02\x00\x9a\x02\x01\x61\xa2\x02\x00"
    "\xa2\x02\x01\x62\xaa\x02\x00\xaa\x02\x02\x08\x01");

static void every_list_golden(void **state)
{
    (void)state;
    struct all_types e1 = ALL_TYPES_INIT;
    struct all_types e2 = ALL_TYPES_INIT;
    e2.f1 = 1;
    struct all_types m = ALL_TYPES_INIT;
#define LIST(n, len, type, ...) \
    m.count##n = (len);         \
    m.f##n = (type[]){__VA_ARGS__}
    LIST(21, 3, int32_t, 0, -1, 300);
    LIST(22, 3, int32_t, 0, -1, INT32_MIN);
    LIST(23, 2, int32_t, 0, -1);
    LIST(24, 1, int64_t, INT64_MIN);
    LIST(25, 3, int64_t, -1, 1, INT64_MIN);
    LIST(26, 2, int64_t, -2, 2);
    LIST(27, 2, uint32_t, UINT32_MAX, 0);
    LIST(28, 1, uint32_t, 1);
    LIST(29, 1, uint64_t, (uint64_t)1 << 63);
    LIST(30, 2, uint64_t, 1, 2);
    LIST(31, 2, float, 1.5f, 0);
    LIST(32, 1, double, -2.5);
    LIST(33, 2, protobuf_c_boolean, 1, 0);
    LIST(34, 3, int, 0, -1, 7);
    LIST(35, 2, char *, (char *)"", (char *)"a");
    LIST(36, 2, ProtobufCBinaryData, BIN(""), BIN("b"));
    LIST(37, 2, struct all_types *, &e1, &e2);
    assert_golden(&m, lists_golden);
}

/* Decoded lists hold the values, not only the same bytes again. */
static void decoded_lists_hold_the_values(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 0);
    void *out;
    assert_int_equal(codec_decode(&all_types_descriptor, lists_golden, &a, &out), 0);
    struct all_types *m = out;
    assert_int_equal(m->count21, 3);
    assert_int_equal(m->f21[1], -1);
    assert_int_equal(m->f22[2], INT32_MIN);
    assert_int_equal(m->f25[0], -1);
    assert_int_equal(m->f25[2], INT64_MIN);
    assert_int_equal(m->f26[0], -2);
    assert_int_equal(m->f27[0], UINT32_MAX);
    assert_true(m->f31[0] == 1.5f && m->f32[0] == -2.5);
    assert_int_equal(m->f33[0], 1);
    assert_int_equal(m->f34[1], -1);
    assert_string_equal(m->f35[0], "");
    assert_string_equal(m->f35[1], "a");
    assert_int_equal(m->f36[1].data[0], 'b');
    assert_int_equal(m->f37[1]->f1, 1);
    arena_close(&a);
}

/* A oneof's member is written also when zero. */
static void zero_oneof_members_golden(void **state)
{
    (void)state;
    static const struct {
        int pick;
        struct slice golden;
    } cases[] = {
        {41, BYTES("\xc8\x02\x00")}, {42, BYTES("\xd2\x02\x00")},
        {43, BYTES("\xda\x02\x00")}, {44, BYTES("\xe2\x02\x00")},
        {45, BYTES("\xe8\x02\x00")}, {46, BYTES("\xf1\x02\x00\x00\x00\x00\x00\x00\x00\x00")},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct all_types m = ALL_TYPES_INIT;
        m.pick = cases[i].pick;
        assert_golden(&m, cases[i].golden);
    }
}

/* Long lists: growth keeps every element, wastes no more than the list's size again. */
static void long_lists_grow_without_waste(void **state)
{
    (void)state;
    enum { COUNT = 100000 };
    struct buf b;
    buf_init(&b);
    for (uint64_t i = 0; i < COUNT; i++) { /* unpacked: one tag each */
        wire_put_uint(&b, 29, i + 1);
    }
    struct arena a;
    arena_init(&a, 0);
    void *out;
    assert_int_equal(codec_decode(&all_types_descriptor, buf_slice(&b), &a, &out), 0);
    struct all_types *m = out;
    assert_int_equal(m->count29, COUNT);
    for (uint64_t i = 0; i < COUNT; i++) {
        assert_int_equal(m->f29[i], i + 1);
    }
    assert_true(a.used < 4 * COUNT * sizeof(uint64_t));
    arena_close(&a);
    buf_close(&b);
}

/* An encoder without memory says so and leaves what was there. */
static void encoding_survives_failure(void **state)
{
    (void)state;
    Etcdserverpb__PutRequest m = ETCDSERVERPB__PUT_REQUEST__INIT;
    char value[1000] = {0};
    m.value = (ProtobufCBinaryData){.len = sizeof value, .data = (uint8_t *)value};
    struct buf b;
    buf_init(&b);
    buf_append_str(&b, "before");
    mem_fail_after(1);
    assert_false(codec_encode(&m, &b));
    mem_fail_after(0);
    assert_true(b.failed);
    assert_true(slice_eq(buf_slice(&b), slice_str("before")));
    buf_clear(&b);
    assert_true(codec_encode(&m, &b));
    assert_int_equal(b.len, codec_size(&m));
    buf_close(&b);
}

/* Whichever allocation fails, decoding says NOMEM; the input and the arena stay good. */
static void decoding_survives_each_failure(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    for (int i = 0; i < 2000; i++) {
        assert_true(buf_append_slice(&b, lists_golden));
    }
    for (uint64_t n = 1;; n++) {
        struct arena a;
        arena_init(&a, 0);
        void *out = &a;
        mem_fail_after(n);
        int rc = codec_decode(&all_types_descriptor, buf_slice(&b), &a, &out);
        mem_fail_after(0);
        if (rc == 0) {
            assert_int_equal(((struct all_types *)out)->count35, 4000);
            arena_close(&a);
            assert_true(n > 10);
            break;
        }
        assert_int_equal(rc, ERR_NOMEM);
        assert_null(out);
        arena_clear(&a);
        assert_int_equal(codec_decode(&all_types_descriptor, lists_golden, &a, &out), 0);
        arena_close(&a);
    }
    buf_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(put_request_golden),
        cmocka_unit_test(txn_request_golden),
        cmocka_unit_test(watch_messages_golden),
        cmocka_unit_test(raft_entry_golden),
        cmocka_unit_test(strings_and_small_numbers_golden),
        cmocka_unit_test(other_packages_have_their_numbers),
        cmocka_unit_test(every_type_at_its_extreme_golden),
        cmocka_unit_test(every_list_golden),
        cmocka_unit_test(decoded_lists_hold_the_values),
        cmocka_unit_test(zero_oneof_members_golden),
        cmocka_unit_test(long_lists_grow_without_waste),
        cmocka_unit_test(encoding_survives_failure),
        cmocka_unit_test(decoding_survives_each_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
