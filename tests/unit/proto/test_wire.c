/* test_wire - single fields by hand, and the batch inside a raft entry. */
#include "proto/codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "proto/batch.h"

#define BYTES(text) ((struct slice){.data = (const uint8_t *)(text), .len = sizeof(text) - 1})

static void sizes_match_what_is_written(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    static const uint32_t fields[] = {1, 15, 16, 2047, 2048, (1u << 29) - 1};
    for (size_t f = 0; f < sizeof fields / sizeof fields[0]; f++) {
        for (int bit = 0; bit < 64; bit++) {
            uint64_t value = (uint64_t)1 << bit;
            buf_clear(&b);
            assert_true(wire_put_uint(&b, fields[f], value));
            assert_int_equal(wire_uint_size(fields[f], value), b.len);
            buf_clear(&b);
            assert_true(buf_append_varint(&b, value - 1));
            assert_int_equal(wire_varint_size(value - 1), b.len);
        }
        static uint8_t body[300];
        for (size_t len = 0; len < 300; len++) {
            buf_clear(&b);
            assert_true(wire_put_bytes(&b, fields[f], slice_of(body, len)));
            assert_int_equal(wire_bytes_size(fields[f], len), b.len);
        }
    }
    buf_close(&b);
}

static void zeros_are_omitted_headers_are_not(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    assert_true(wire_put_uint(&b, 3, 0));
    assert_true(wire_put_bytes(&b, 3, slice_of(NULL, 0)));
    assert_int_equal(b.len, 0);
    assert_true(wire_put_header(&b, 11, 0));
    assert_true(slice_eq(buf_slice(&b), BYTES("\x5a\x00")));
    buf_clear(&b);
    b.failed = true; /* a failed buffer says so also for omitted fields */
    assert_false(wire_put_uint(&b, 3, 0));
    assert_false(wire_put_bytes(&b, 3, slice_of(NULL, 0)));
    buf_close(&b);
}

static void fields_are_walked(void **state)
{
    (void)state;
    struct slice in =
        BYTES("\x08\xac\x02\x12\x03key\x1d\x01\x00\x00\x80\x21\x02\x00\x00\x00\x00\x00"
              "\x00\x80");
    struct wire_field f;
    assert_int_equal(wire_next(&in, &f), 1);
    assert_true(f.number == 1 && f.type == WIRE_VARINT && f.value == 300);
    assert_int_equal(wire_next(&in, &f), 1);
    assert_true(f.number == 2 && f.type == WIRE_BYTES && slice_eq(f.bytes, BYTES("key")));
    assert_int_equal(wire_next(&in, &f), 1);
    assert_true(f.number == 3 && f.type == WIRE_FIXED32 && f.value == 0x80000001);
    assert_int_equal(wire_next(&in, &f), 1);
    assert_true(f.number == 4 && f.type == WIRE_FIXED64 && f.value == 0x8000000000000002);
    assert_int_equal(wire_next(&in, &f), 0);
    in = slice_of(NULL, 0);
    assert_int_equal(wire_next(&in, &f), 0);
}

static void malformed_fields_end_the_walk(void **state)
{
    (void)state;
    static const struct slice cases[] = {
        BYTES("\x08"),                                         /* no value */
        BYTES("\x08\x80"),                                     /* cut value */
        BYTES("\x80"),                                         /* cut tag */
        BYTES("\x00\x00"),                                     /* number 0 */
        BYTES("\x80\x80\x80\x80\x10\x00"),                     /* number 2^29 */
        BYTES("\x12\x04key"),                                  /* long body */
        BYTES("\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), /* absurd body */
        BYTES("\x1d\x01\x02\x03"),                             /* cut fixed32 */
        BYTES("\x21\x01\x02\x03\x04\x05\x06\x07"),             /* cut fixed64 */
        BYTES("\x0b\x0c"),                                     /* groups */
        BYTES("\x0e"),                                         /* reserved types */
        BYTES("\x0f"),
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct slice in = cases[i];
        struct wire_field f;
        assert_int_equal(wire_next(&in, &f), -1);
    }
}

static void batches_round_trip(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    assert_true(batch_start(&b));
    struct batch_origin o = {.member = 0x1122334455667788, .incarnation = 9, .number = 1};
    assert_true(batch_add(&b, o, slice_str("first")));
    o.number = 2;
    assert_true(batch_add(&b, o, slice_of(NULL, 0)));
    assert_int_equal(b.len, BATCH_HEADER_BYTES + 2 * BATCH_OP_BYTES + 5);
    size_t position = 0;
    struct batch_op op;
    assert_int_equal(batch_next(buf_slice(&b), &position, &op), 1);
    assert_true(slice_eq(op.request, slice_str("first")));
    assert_int_equal(op.origin.member, 0x1122334455667788);
    assert_int_equal(op.origin.incarnation, 9);
    assert_int_equal(op.origin.number, 1);
    assert_int_equal(batch_next(buf_slice(&b), &position, &op), 1);
    assert_int_equal(op.request.len, 0);
    assert_int_equal(op.origin.number, 2);
    assert_int_equal(batch_next(buf_slice(&b), &position, &op), 0);
    assert_int_equal(batch_next(buf_slice(&b), &position, &op), 0);
    buf_close(&b);
}

/* A client's message becomes one field of an InternalRaftRequest without being decoded. */
static void a_message_is_packed_as_a_field(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    static uint8_t body[300];
    for (size_t len = 0; len < sizeof body; len += 13) {
        buf_clear(&b);
        assert_true(batch_start(&b));
        struct batch_origin o = {.member = 1, .incarnation = 2, .number = 3};
        assert_true(batch_add_field(&b, o, 1203, slice_of(body, len)));
        size_t position = 0;
        struct batch_op op;
        assert_int_equal(batch_next(buf_slice(&b), &position, &op), 1);
        assert_int_equal(position, b.len);
        assert_int_equal(op.origin.number, 3);
        struct wire_field f;
        assert_int_equal(wire_next(&op.request, &f), 1);
        assert_true(f.number == 1203 && f.type == WIRE_BYTES);
        assert_true(slice_eq(f.bytes, slice_of(body, len)));
        assert_int_equal(op.request.len, 0);
    }
    buf_close(&b);
}

/* Operations added until 100 are there or memory fails, the first with a body of `pad` bytes. */
static int add_until_failure(struct buf *b, size_t pad)
{
    static uint8_t body[64];
    struct batch_origin o = {.number = 1};
    int added = 0;
    while (added < 100) {
        bool ok = added == 0       ? batch_add(b, o, slice_of(body, pad))
                  : added % 2 == 0 ? batch_add(b, o, BYTES("xyz"))
                                   : batch_add_field(b, o, 4, BYTES("xy"));
        if (!ok) {
            break;
        }
        added++;
    }
    return added;
}

/* Without memory an operation is added whole or not at all, wherever the buffer happens to end:
 * those before it stay good. */
/* A request with a stamp: the request's own field, EpochRequest 2000, origin 2001. */
static void stamps_stand_beside_the_request(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    assert_true(batch_start(&b));
    struct batch_stamp stamp = {slice_str("hello"), 7, 300, 2};
    struct batch_origin o = {.member = 1, .incarnation = 2, .number = 3};
    assert_true(batch_add_stamped(&b, o, 4, slice_str("request"), &stamp));
    size_t position = 0;
    struct batch_op op;
    assert_int_equal(batch_next(buf_slice(&b), &position, &op), 1);
    assert_int_equal(op.origin.number, 3);
    struct wire_field f, inner;
    assert_int_equal(wire_next(&op.request, &f), 1);
    assert_int_equal(f.number, 4);
    assert_true(slice_eq(f.bytes, slice_str("request")));
    assert_int_equal(wire_next(&op.request, &f), 1);
    assert_int_equal(f.number, 2000);
    assert_int_equal(wire_next(&f.bytes, &inner), 1);
    assert_true(slice_eq(inner.bytes, slice_str("hello")));
    static const uint64_t numbers[] = {7, 300, 2};
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(wire_next(&f.bytes, &inner), 1);
        assert_int_equal(inner.number, i + 2);
        assert_int_equal(inner.value, numbers[i]);
    }
    assert_int_equal(wire_next(&op.request, &f), 1);
    assert_int_equal(f.number, 2001);
    assert_true(slice_eq(f.bytes, slice_str("hello")));
    assert_int_equal(wire_next(&op.request, &f), 0);
    size_t before = b.len;
    for (uint64_t n = 1; n <= 3; n++) { /* of the two messages and of the batch */
        mem_fail_after(n);
        bool added = batch_add_stamped(&b, o, 4, slice_str("request"), &stamp);
        mem_fail_after(0);
        assert_true(added || b.len == before);
        b.failed = false;
        b.len = before;
    }
    buf_close(&b);
}

static void batches_survive_each_failure(void **state)
{
    (void)state;
    for (size_t pad = 0; pad < 64; pad++) {
        int added = 0;
        for (uint64_t n = 1; added < 100; n++) {
            struct buf b;
            buf_init(&b);
            assert_true(batch_start(&b));
            mem_fail_after(n);
            added = add_until_failure(&b, pad);
            mem_fail_after(0);
            size_t position = 0;
            int seen = 0;
            struct batch_op op;
            int more;
            while ((more = batch_next(buf_slice(&b), &position, &op)) == 1) {
                seen++;
            }
            assert_int_equal(more, 0);
            assert_int_equal(seen, added);
            buf_close(&b);
            assert_true(added < 100 || n > 3);
        }
    }
}

static void broken_batches_are_refused(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    assert_true(batch_start(&b));
    assert_true(batch_add(&b, (struct batch_origin){.number = 1}, slice_str("op")));
    struct batch_op op;
    /* Cut anywhere but at an operation's end. */
    for (size_t len = 0; len <= b.len; len++) {
        size_t position = 0;
        int n = batch_next(slice_of(b.data, len), &position, &op);
        assert_int_equal(n, len == b.len ? 1 : len == BATCH_HEADER_BYTES ? 0 : -1);
    }
    /* A version above ours, and a length beyond the end. */
    size_t position = 0;
    b.data[0] = BATCH_VERSION + 1;
    assert_int_equal(batch_next(buf_slice(&b), &position, &op), -1);
    b.data[0] = BATCH_VERSION;
    b.data[BATCH_HEADER_BYTES + 3] = 0xff;
    position = 0;
    assert_int_equal(batch_next(buf_slice(&b), &position, &op), -1);
    buf_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_match_what_is_written),
        cmocka_unit_test(zeros_are_omitted_headers_are_not),
        cmocka_unit_test(fields_are_walked),
        cmocka_unit_test(malformed_fields_end_the_walk),
        cmocka_unit_test(batches_round_trip),
        cmocka_unit_test(stamps_stand_beside_the_request),
        cmocka_unit_test(a_message_is_packed_as_a_field),
        cmocka_unit_test(batches_survive_each_failure),
        cmocka_unit_test(broken_batches_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
