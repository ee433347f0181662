/* test_codec_hostile - what the decoder answers to bytes no honest encoder writes. */
#include "proto/codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/limits.h"
#include "proto/etcd/rpc.pb-c.h"
#include "tests/unit/proto/all_types.h"

#define BYTES(text) ((struct slice){.data = (const uint8_t *)(text), .len = sizeof(text) - 1})

/* The decoder's answer, with the input in memory of its exact size so that reads past its end are
 * caught. On success *out lies in `a`, else it is NULL. */
static int decode(const ProtobufCMessageDescriptor *type, struct slice input, struct arena *a,
                  void **out)
{
    uint8_t *copy = arena_alloc(a, input.len);
    assert_non_null(copy);
    memcpy(copy, input.data, input.len);
    *out = a;
    int rc = codec_decode(type, slice_of(copy, input.len), a, out);
    assert_int_equal(rc == 0, *out != NULL);
    return rc;
}

static int verdict(const ProtobufCMessageDescriptor *type, struct slice input)
{
    struct arena a;
    void *out;
    arena_init(&a, 0);
    int rc = decode(type, input, &a, &out);
    arena_close(&a);
    return rc;
}

static int put_verdict(struct slice input)
{
    return verdict(&etcdserverpb__put_request__descriptor, input);
}

static int all_verdict(struct slice input)
{
    return verdict(&all_types_descriptor, input);
}

/* TxnRequest > RequestOp > TxnRequest ... written from the inside out. Returns the nesting reached.
 */
static unsigned nest_txns(struct buf *b, unsigned levels, size_t bytes_max)
{
    struct buf outer;
    buf_init(&outer);
    unsigned level = 1;
    for (; level < levels && b->len < bytes_max; level++) {
        buf_clear(&outer);
        /* Odd levels wrap in RequestOp.request_txn, even ones in TxnRequest.success. */
        assert_true(wire_put_header(&outer, level % 2 == 1 ? 4 : 2, b->len));
        assert_true(buf_append_slice(&outer, buf_slice(b)));
        struct buf swap = *b;
        *b = outer;
        outer = swap;
    }
    buf_close(&outer);
    return level;
}

/* 90 KB of nested transactions overflow the stack of protobuf-c's own unpacker. */
static void nesting_is_bounded(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    unsigned deep = nest_txns(&b, 1000000, 90000);
    assert_true(deep > 10 * MESSAGE_DEPTH_MAX);
    const ProtobufCMessageDescriptor *type = deep % 2 == 1 ? &etcdserverpb__txn_request__descriptor
                                                           : &etcdserverpb__request_op__descriptor;
    assert_int_equal(verdict(type, buf_slice(&b)), ERR_TOO_DEEP);
    buf_clear(&b);
    /* The limit counts messages, the outermost included. */
    assert_int_equal(MESSAGE_DEPTH_MAX % 2, 0);
    assert_int_equal(nest_txns(&b, MESSAGE_DEPTH_MAX, 90000), MESSAGE_DEPTH_MAX);
    assert_int_equal(verdict(&etcdserverpb__request_op__descriptor, buf_slice(&b)), 0);
    buf_clear(&b);
    assert_int_equal(nest_txns(&b, MESSAGE_DEPTH_MAX + 1, 90000), MESSAGE_DEPTH_MAX + 1);
    assert_int_equal(verdict(&etcdserverpb__txn_request__descriptor, buf_slice(&b)), ERR_TOO_DEEP);
    buf_close(&b);
}

static void groups_nest_only_so_deep(void **state)
{
    (void)state;
    struct buf b;
    for (unsigned depth = MESSAGE_DEPTH_MAX - 1; depth <= 2 * MESSAGE_DEPTH_MAX; depth += 1) {
        buf_init(&b);
        for (unsigned i = 0; i < depth; i++) {
            buf_append_byte(&b, 100 % 16 << 3 | 3);
        }
        for (unsigned i = 0; i < depth; i++) {
            buf_append_byte(&b, 100 % 16 << 3 | 4);
        }
        assert_int_equal(put_verdict(buf_slice(&b)), depth <= MESSAGE_DEPTH_MAX ? 0 : ERR_TOO_DEEP);
        buf_close(&b);
    }
}

/* Every prefix of a valid message is either shorter valid fields or malformed, never a crash. */
static void truncations_are_malformed(void **state)
{
    (void)state;
    struct slice whole = BYTES("\x0a\x03key\x12\x05value\x18\x80\x80\x01\x20\x01");
    assert_int_equal(put_verdict(whole), 0);
    static const size_t field_ends[] = {0, 5, 12, 16, 18};
    for (size_t len = 0; len <= whole.len; len++) {
        bool at_end = false;
        for (size_t i = 0; i < sizeof field_ends / sizeof field_ends[0]; i++) {
            at_end |= field_ends[i] == len;
        }
        assert_int_equal(put_verdict(slice_of(whole.data, len)), at_end ? 0 : ERR_MALFORMED);
    }
}

static void lengths_past_the_end_are_malformed(void **state)
{
    (void)state;
    assert_int_equal(put_verdict(BYTES("\x0a\x05key")), ERR_MALFORMED);
    assert_int_equal(put_verdict(BYTES("\x0a\xff\xff\xff\xff\x0fkey")), ERR_MALFORMED);
    /* 2^64-1 and 2^63: no wrap-around of pointers. */
    assert_int_equal(put_verdict(BYTES("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01x")),
                     ERR_MALFORMED);
    assert_int_equal(put_verdict(BYTES("\x0a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01x")),
                     ERR_MALFORMED);
    /* The same inside an unknown field, and in an inner message whose outer one is long enough. */
    assert_int_equal(put_verdict(BYTES("\x7a\x05key")), ERR_MALFORMED);
    assert_int_equal(all_verdict(BYTES("\x8a\x01\x03\x82\x01\x02xxxx")), ERR_MALFORMED);
}

static void varints_end_at_64_bits(void **state)
{
    (void)state;
    struct arena a;
    void *out;
    arena_init(&a, 0);
    assert_int_equal(decode(&all_types_descriptor,
                            BYTES("\x48\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), &a, &out),
                     0);
    assert_int_equal(((struct all_types *)out)->f9, UINT64_MAX);
    /* Padded with zero groups: odd, but the same number. */
    assert_int_equal(decode(&all_types_descriptor,
                            BYTES("\x48\x85\x80\x80\x80\x80\x80\x80\x80\x80\x00"), &a, &out),
                     0);
    assert_int_equal(((struct all_types *)out)->f9, 5);
    arena_close(&a);
    assert_int_equal(all_verdict(BYTES("\x48\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02")),
                     ERR_MALFORMED);
    assert_int_equal(all_verdict(BYTES("\x48\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81\x00")),
                     ERR_MALFORMED);
    assert_int_equal(all_verdict(BYTES("\x48\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01")),
                     ERR_MALFORMED);
    /* 32-bit fields keep the low half, as Go does; any non-zero truth is true. */
    arena_init(&a, 0);
    assert_int_equal(decode(&all_types_descriptor,
                            BYTES("\x08\xff\xff\xff\xff\x1f\x38\x81\x80\x80\x80\x10\x68\x80\x80"
                                  "\x80\x80\x80\x02"),
                            &a, &out),
                     0);
    struct all_types *m = out;
    assert_int_equal(m->f1, -1);
    assert_int_equal(m->f7, 1);
    assert_int_equal(m->f13, 1);
    arena_close(&a);
}

static void field_numbers_are_checked(void **state)
{
    (void)state;
    for (int wire = 0; wire < 8; wire++) {
        uint8_t zero[] = {(uint8_t)wire, 0, 0, 0, 0, 0, 0, 0, 0, 0};
        assert_int_equal(put_verdict(slice_of(zero, sizeof zero)), ERR_MALFORMED);
    }
    /* 2^29-1 is the last number. */
    assert_int_equal(put_verdict(BYTES("\xf8\xff\xff\xff\x0f\x01")), 0);
    assert_int_equal(put_verdict(BYTES("\x80\x80\x80\x80\x10\x01")), ERR_MALFORMED);
    /* Numbers do not lose their high bits: 2^32 + 1 is not field 1. */
    assert_int_equal(put_verdict(BYTES("\x8a\x80\x80\x80\x80\x01\x01k")), ERR_MALFORMED);
}

static void unknown_fields_are_skipped(void **state)
{
    (void)state;
    struct arena a;
    void *out;
    arena_init(&a, 0);
    struct slice input =
        BYTES("\x78\xff\xff\x03"                     /* 15, varint */
              "\x79\x01\x02\x03\x04\x05\x06\x07\x08" /* 15, fixed64 */
              "\x7a\x02hi"                           /* 15, bytes */
              "\x7d\x01\x02\x03\x04"                 /* 15, fixed32 */
              "\x7b\x08\x01\x73\x74\x12\x00\x7c"     /* 15, group with a group inside */
              "\x0a\x01k");
    assert_int_equal(decode(&etcdserverpb__put_request__descriptor, input, &a, &out), 0);
    Etcdserverpb__PutRequest *m = out;
    assert_int_equal(m->key.len, 1);
    assert_int_equal(m->key.data[0], 'k');
    arena_close(&a);
}

static void broken_groups_are_malformed(void **state)
{
    (void)state;
    assert_int_equal(put_verdict(BYTES("\x7b")), ERR_MALFORMED);     /* never ends */
    assert_int_equal(put_verdict(BYTES("\x7b\x74")), ERR_MALFORMED); /* ends as another */
    assert_int_equal(put_verdict(BYTES("\x7c")), ERR_MALFORMED);     /* ends unopened */
    assert_int_equal(put_verdict(BYTES("\x7b\x12\x05x\x7c")), ERR_MALFORMED);
    assert_int_equal(put_verdict(BYTES("\x0c")), ERR_MALFORMED);     /* also as a known field */
    assert_int_equal(put_verdict(BYTES("\x7e\x00")), ERR_MALFORMED); /* types 6 and 7 */
    assert_int_equal(put_verdict(BYTES("\x0f\x00")), ERR_MALFORMED);
}

/* A known field with a foreign wire type is an unknown field, as in Go. */
static void foreign_wire_types_are_unknown_fields(void **state)
{
    (void)state;
    struct arena a;
    void *out;
    arena_init(&a, 0);
    struct slice input = BYTES("\x08\x05"             /* key as varint */
                               "\x1a\x01x"            /* lease as bytes: no list, so not packed */
                               "\x1d\x01\x02\x03\x04" /* lease as fixed32 */
                               "\x0b\x0c"             /* key as group */
                               "\x20\x01");
    assert_int_equal(decode(&etcdserverpb__put_request__descriptor, input, &a, &out), 0);
    Etcdserverpb__PutRequest *m = out;
    assert_int_equal(m->key.len, 0);
    assert_int_equal(m->lease, 0);
    assert_int_equal(m->prev_kv, 1);
    arena_close(&a);
}

static void packed_and_unpacked_mix(void **state)
{
    (void)state;
    struct arena a;
    void *out;
    arena_init(&a, 0);
    struct slice input = BYTES("\xa8\x01\x01"             /* f21 unpacked 1 */
                               "\xaa\x01\x03\x02\x80\x01" /* packed 2, 128 */
                               "\xaa\x01\x00"             /* packed, empty */
                               "\xa8\x01\x03"             /* unpacked 3 */
                               "\xbd\x01\x04\x00\x00\x00" /* f23 unpacked 4 */
                               "\xba\x01\x04\x05\x00\x00\x00" /* packed 5 */);
    assert_int_equal(decode(&all_types_descriptor, input, &a, &out), 0);
    struct all_types *m = out;
    assert_int_equal(m->count21, 4);
    assert_int_equal(m->f21[0], 1);
    assert_int_equal(m->f21[1], 2);
    assert_int_equal(m->f21[2], 128);
    assert_int_equal(m->f21[3], 3);
    assert_int_equal(m->count23, 2);
    assert_int_equal(m->f23[0], 4);
    assert_int_equal(m->f23[1], 5);
    arena_close(&a);
    assert_int_equal(all_verdict(BYTES("\xaa\x01\x01\x80")), ERR_MALFORMED); /* cut varint */
    assert_int_equal(all_verdict(BYTES("\xaa\x01\x02\x01\x80\x01")), ERR_MALFORMED);
    assert_int_equal(all_verdict(BYTES("\xba\x01\x03\x01\x02\x03")), ERR_MALFORMED); /* 3 of 4 */
    assert_int_equal(all_verdict(BYTES("\xf2\x01\x04\x01\x02\x03\x04")), ERR_MALFORMED);
    assert_int_equal(all_verdict(BYTES("\xea\x01\x0b\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")),
                     ERR_MALFORMED);
}

static void strings_are_checked(void **state)
{
    (void)state;
    const ProtobufCMessageDescriptor *type = &etcdserverpb__auth_user_add_request__descriptor;
    assert_int_equal(verdict(type, BYTES("\x0a\x02\xc3\xa9")), 0);
    assert_int_equal(verdict(type, BYTES("\x0a\x01\xff")), ERR_BAD_UTF8);
    assert_int_equal(verdict(type, BYTES("\x0a\x02\xc3\x28")), ERR_BAD_UTF8);
    assert_int_equal(verdict(type, BYTES("\x0a\x03\xed\xa0\x80")), ERR_BAD_UTF8);
    assert_int_equal(verdict(type, BYTES("\x0a\x03ro\0")), ERR_MALFORMED);
    assert_int_equal(all_verdict(BYTES("\x9a\x02\x01\xff")), ERR_BAD_UTF8); /* in a list */
    assert_int_equal(all_verdict(BYTES("\xda\x02\x01\xff")), ERR_BAD_UTF8); /* in a oneof */
    /* Bytes may be anything. */
    assert_int_equal(put_verdict(BYTES("\x0a\x03\xff\0\xc3")), 0);
}

static void last_value_wins_and_messages_merge(void **state)
{
    (void)state;
    struct arena a;
    void *out;
    arena_init(&a, 0);
    struct slice input = BYTES("\x08\x01\x08\x02"                 /* f1 = 1, then 2 */
                               "\x7a\x01x\x7a\x01y"               /* f15 */
                               "\x8a\x01\x04\x08\x05\x20\x06"     /* f17 {f1 5, f4 6} */
                               "\x8a\x01\x05\x08\x07\xa8\x01\x01" /* f17 {f1 7, f21 [1]} */
                               "\x8a\x01\x03\xa8\x01\x02");       /* f17 {f21 [2]} */
    assert_int_equal(decode(&all_types_descriptor, input, &a, &out), 0);
    struct all_types *m = out;
    assert_int_equal(m->f1, 2);
    assert_string_equal(m->f15, "y");
    assert_int_equal(m->f17->f1, 7);
    assert_int_equal(m->f17->f4, 6);
    assert_int_equal(m->f17->count21, 2);
    assert_int_equal(m->f17->f21[1], 2);
    arena_close(&a);
}

static void oneofs_keep_the_last_member(void **state)
{
    (void)state;
    struct arena a;
    void *out;
    arena_init(&a, 0);
    /* An integer, then a message in the same place: the integer must not be taken for a pointer. */
    struct slice input = BYTES("\xc8\x02\xff\xff\x03\xe2\x02\x02\x08\x01");
    assert_int_equal(decode(&all_types_descriptor, input, &a, &out), 0);
    struct all_types *m = out;
    assert_int_equal(m->pick, 44);
    assert_int_equal(m->f44->f1, 1);
    /* The same message twice merges. */
    input = BYTES("\xe2\x02\x02\x08\x01\xe2\x02\x02\x20\x02");
    assert_int_equal(decode(&all_types_descriptor, input, &a, &out), 0);
    m = out;
    assert_int_equal(m->f44->f1, 1);
    assert_int_equal(m->f44->f4, 2);
    /* Another member in between starts afresh. */
    input = BYTES("\xe2\x02\x02\x08\x01\xe8\x02\x01\xe2\x02\x02\x20\x02");
    assert_int_equal(decode(&all_types_descriptor, input, &a, &out), 0);
    m = out;
    assert_int_equal(m->pick, 44);
    assert_int_equal(m->f44->f1, 0);
    assert_int_equal(m->f44->f4, 2);
    input = BYTES("\xe2\x02\x02\x08\x01\xc8\x02\x00");
    assert_int_equal(decode(&all_types_descriptor, input, &a, &out), 0);
    m = out;
    assert_int_equal(m->pick, 41);
    assert_int_equal(m->f41, 0);
    arena_close(&a);
}

/* Fields out of order, sparse numbers, repeated in pieces. */
static void any_order_is_fine(void **state)
{
    (void)state;
    struct arena a;
    void *out;
    arena_init(&a, 0);
    struct slice input = BYTES("\x82\x04\x01z\x1a\x01k\x10\x03\x08\x01\x82\x04\x01y");
    assert_int_equal(decode(&etcdserverpb__compare__descriptor, input, &a, &out), 0);
    Etcdserverpb__Compare *m = out;
    assert_int_equal(m->range_end.data[0], 'y');
    assert_int_equal(m->key.data[0], 'k');
    assert_int_equal(m->target, ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE);
    assert_int_equal(m->result, ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER);
    arena_close(&a);
}

/* Two bytes of input can ask for a whole struct: the arena's limit is what stops it. */
static void memory_is_bounded_by_the_arena(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    for (int i = 0; i < 100000; i++) {
        assert_true(wire_put_header(&b, 37, 0));
    }
    struct arena a;
    void *out;
    arena_init(&a, 1 << 20);
    assert_int_equal(codec_decode(&all_types_descriptor, buf_slice(&b), &a, &out), ERR_NOMEM);
    assert_null(out);
    assert_true(a.used <= 1 << 20);
    arena_close(&a);
    /* Strings are copies and count too. */
    buf_clear(&b);
    assert_true(wire_put_header(&b, 15, 5000));
    for (int i = 0; i < 5000; i++) {
        buf_append_byte(&b, 'a');
    }
    arena_init(&a, 4000);
    assert_int_equal(codec_decode(&all_types_descriptor, buf_slice(&b), &a, &out), ERR_NOMEM);
    arena_close(&a);
    arena_init(&a, 1); /* not even the outer struct */
    assert_int_equal(codec_decode(&all_types_descriptor, slice_of(NULL, 0), &a, &out), ERR_NOMEM);
    arena_close(&a);
    buf_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(groups_nest_only_so_deep),
        cmocka_unit_test(truncations_are_malformed),
        cmocka_unit_test(lengths_past_the_end_are_malformed),
        cmocka_unit_test(varints_end_at_64_bits),
        cmocka_unit_test(field_numbers_are_checked),
        cmocka_unit_test(unknown_fields_are_skipped),
        cmocka_unit_test(broken_groups_are_malformed),
        cmocka_unit_test(foreign_wire_types_are_unknown_fields),
        cmocka_unit_test(packed_and_unpacked_mix),
        cmocka_unit_test(strings_are_checked),
        cmocka_unit_test(last_value_wins_and_messages_merge),
        cmocka_unit_test(oneofs_keep_the_last_member),
        cmocka_unit_test(any_order_is_fine),
        cmocka_unit_test(memory_is_bounded_by_the_arena),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
