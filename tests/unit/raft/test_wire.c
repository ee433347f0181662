/* test_wire.c - peer frames: round trips, and hostile bytes that must be refused. */
#include "raft/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/rand.h"
#include "raft/configuration.h"

static struct buf out;

static int setup(void **state)
{
    buf_init(&out);
    return 0;
}

static int teardown(void **state)
{
    buf_close(&out);
    return 0;
}

static struct raft_entry entry(uint64_t term, unsigned short type, const void *bytes, size_t len)
{
    return (struct raft_entry){
        .term = term, .type = type, .buf = {.base = (void *)bytes, .len = len}};
}

/* An AppendEntries with three entries, one of them empty and one binary. */
static void put_append(void)
{
    struct frame f = {.type = FRAME_APPEND, .term = 9, .a = 41, .b = 7, .c = 40, .n = 3};
    struct raft_entry e[3] = {entry(7, RAFT_COMMAND, "a\0b", 3), entry(8, RAFT_BARRIER, "", 0),
                              entry(9, RAFT_COMMAND, "hello", 5)};
    buf_clear(&out);
    assert_true(frame_put(&out, &f));
    for (size_t i = 0; i < 3; i++) {
        assert_true(frame_put_entry(&out, &e[i]));
    }
}

/* What goes in comes out, entries included. */
static void append_round_trip(void **state)
{
    put_append();
    struct frame f;
    assert_true(frame_get(buf_slice(&out), &f));
    assert_int_equal(f.type, FRAME_APPEND);
    assert_int_equal(f.term, 9);
    assert_int_equal(f.a, 41);
    assert_int_equal(f.b, 7);
    assert_int_equal(f.c, 40);
    assert_int_equal(f.n, 3);
    size_t at = 0;
    struct frame_entry e;
    frame_next_entry(&f, &at, &e);
    assert_int_equal(e.term, 7);
    assert_int_equal(e.type, RAFT_COMMAND);
    assert_true(slice_eq(e.payload, slice_of("a\0b", 3)));
    frame_next_entry(&f, &at, &e);
    assert_int_equal(e.type, RAFT_BARRIER);
    assert_int_equal(e.payload.len, 0);
    frame_next_entry(&f, &at, &e);
    assert_int_equal(e.term, 9);
    assert_true(slice_eq(e.payload, slice_str("hello")));
    assert_int_equal(at, f.body.len);
}

static void put(const struct frame *f)
{
    buf_clear(&out);
    assert_true(frame_put(&out, f));
}

/* Every other kind, flags included. */
static void small_frames_round_trip(void **state)
{
    const struct frame frames[] = {
        {.type = FRAME_APPEND, .term = 1},
        {.type = FRAME_APPEND_RESULT, .flags = FRAME_INSTALLING, .term = 3, .a = 5, .b = 4},
        {.type = FRAME_VOTE,
         .flags = FRAME_PRE_VOTE | FRAME_DISRUPT,
         .term = 8,
         .a = 100,
         .b = 7,
         .c = 2},
        {.type = FRAME_VOTE_RESULT, .flags = FRAME_GRANTED, .term = 8},
        {.type = FRAME_INSTALL, .term = 8, .a = 10, .b = 3, .n = 4, .body = slice_str("host")},
        {.type = FRAME_TIMEOUT_NOW, .term = 8, .a = 10, .b = 3},
        {.type = FRAME_CONFIRM, .term = 8, .a = 77},
        {.type = FRAME_CONFIRMED, .term = 0, .a = 77}};
    for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
        struct frame f;
        put(&frames[i]);
        assert_true(frame_get(buf_slice(&out), &f));
        assert_int_equal(f.type, frames[i].type);
        assert_int_equal(f.flags, frames[i].flags);
        assert_int_equal(f.term, frames[i].term);
        assert_int_equal(f.a, frames[i].a);
        assert_int_equal(f.b, frames[i].b);
        assert_int_equal(f.c, frames[i].c);
        assert_true(slice_eq(f.body, frames[i].body));
        assert_string_not_equal(frame_name(f.type), "?");
    }
}

/* Every prefix of a good frame is bad, and so is a good frame with a byte behind it. */
static void truncated_and_trailing_bytes_are_refused(void **state)
{
    struct frame f;
    put_append();
    for (size_t len = 0; len < out.len; len++) {
        assert_false(frame_get(slice_of(out.data, len), &f));
    }
    buf_append_byte(&out, 0);
    assert_false(frame_get(buf_slice(&out), &f));
}

/* A count of four billion entries must not cost a loop, a length of 4 GiB not a wrap. */
static void lying_counts_are_refused(void **state)
{
    struct frame f;
    put_append();
    bytes_put_le32(out.data + 40, UINT32_MAX);
    assert_false(frame_get(buf_slice(&out), &f));
    put_append();
    bytes_put_le32(out.data + 40, 2);
    assert_false(frame_get(buf_slice(&out), &f));
    put_append();
    bytes_put_le32(out.data + FRAME_HEADER_BYTES + 8, UINT32_MAX);
    assert_false(frame_get(buf_slice(&out), &f));
    put_append();
    bytes_put_le32(out.data + FRAME_HEADER_BYTES + 8, UINT32_MAX - 15);
    assert_false(frame_get(buf_slice(&out), &f));
}

/* Terms fall, exceed the frame's, are zero; types are unknown; numbers could wrap. */
static void nonsense_is_refused(void **state)
{
    struct frame f;
    const struct {
        size_t at;
        uint64_t value;
    } bad[] = {{8, 0},                  /* term 0 */
               {8, FRAME_NUMBER_MAX},   /* term out of range */
               {8, 8},                  /* below the last entry's term */
               {16, FRAME_NUMBER_MAX},  /* index out of range */
               {16, 0},                 /* index 0 with a term */
               {24, 10},                /* previous term above the frame's */
               {24, 0},                 /* an index without term */
               {FRAME_HEADER_BYTES, 6}, /* below the previous entry's */
               {FRAME_HEADER_BYTES, 0},
               {FRAME_HEADER_BYTES, 10}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        put_append();
        bytes_put_le64(out.data + bad[i].at, bad[i].value);
        assert_false(frame_get(buf_slice(&out), &f));
    }
    for (unsigned type = 0; type < 256; type++) {
        put_append();
        out.data[FRAME_HEADER_BYTES + 12] = (uint8_t)type;
        bool known = type == RAFT_COMMAND || type == RAFT_BARRIER;
        assert_int_equal(frame_get(buf_slice(&out), &f), known);
    }
    put_append();
    out.data[0] = 2;
    assert_false(frame_get(buf_slice(&out), &f));
}

/* Configurations inside entries are decoded here, since libraft's own decoder trusts them. */
static void configurations_in_entries_are_checked(void **state)
{
    struct raft_configuration c;
    struct raft_buffer encoded;
    raft_configuration_init(&c);
    assert_int_equal(raft_configuration_add(&c, 1, "one", RAFT_VOTER), 0);
    assert_int_equal(raft_configuration_add(&c, 2, "two", RAFT_STANDBY), 0);
    assert_int_equal(raft_configuration_encode(&c, &encoded), 0);
    raft_configuration_close(&c);
    struct frame f = {.type = FRAME_APPEND, .term = 1, .n = 1};
    for (size_t len = 0; len <= encoded.len; len++) {
        struct raft_entry e = entry(1, RAFT_CHANGE, encoded.base, len);
        struct frame got;
        put(&f);
        assert_true(frame_put_entry(&out, &e));
        bool valid = frame_get(buf_slice(&out), &got);
        struct raft_configuration d;
        int err = configuration_decode(slice_of(encoded.base, len), &d);
        assert_int_equal(valid, err == 0);
        if (err == 0) {
            assert_int_equal(d.n, 2);
            assert_string_equal(d.servers[1].address, "two");
            assert_true(configuration_only_voter(&d, 1));
            assert_false(configuration_only_voter(&d, 2));
            raft_configuration_close(&d);
        }
    }
    assert_int_equal(configuration_decode(slice_of(encoded.base, encoded.len), &c), 0);
    raft_configuration_close(&c);
    raft_free(encoded.base);
}

/* A member twice, no member, too many, an unknown role, an endless address. */
static void configurations_are_bounded(void **state)
{
    struct raft_configuration c;
    uint8_t bytes[9 + 2 * 11];
    memset(bytes, 0, sizeof(bytes));
    bytes[0] = 1;
    assert_int_not_equal(configuration_decode(slice_of(bytes, 9), &c), 0);
    bytes_put_le64(bytes + 1, UINT64_MAX);
    assert_int_not_equal(configuration_decode(slice_of(bytes, sizeof(bytes)), &c), 0);
    bytes_put_le64(bytes + 1, 2);
    bytes_put_le64(bytes + 9, 1);
    bytes[17] = 'a';
    bytes[19] = RAFT_VOTER;
    bytes_put_le64(bytes + 20, 2);
    bytes[28] = 'b';
    bytes[30] = RAFT_VOTER;
    assert_int_equal(configuration_decode(slice_of(bytes, sizeof(bytes)), &c), 0);
    raft_configuration_close(&c);
    bytes[28] = 'a'; /* an address twice */
    assert_int_not_equal(configuration_decode(slice_of(bytes, sizeof(bytes)), &c), 0);
    bytes[28] = 'b';
    bytes[20] = 1; /* an id twice */
    assert_int_not_equal(configuration_decode(slice_of(bytes, sizeof(bytes)), &c), 0);
    bytes[20] = 2;
    bytes[30] = 3; /* a role of the future */
    assert_int_not_equal(configuration_decode(slice_of(bytes, sizeof(bytes)), &c), 0);
    uint8_t endless[400];
    memset(endless, 'x', sizeof(endless));
    memcpy(endless, bytes, 17);
    endless[1] = 1;
    endless[398] = 0;
    assert_int_not_equal(configuration_decode(slice_of(endless, sizeof(endless)), &c), 0);
}

/* Random damage to a good frame is either refused or still walks inside its bytes (ASan watches).
 */
static void random_damage_never_reads_outside(void **state)
{
    struct rand r;
    rand_init(&r, 7);
    for (unsigned i = 0; i < 200000; i++) {
        put_append();
        for (uint64_t k = rand_below(&r, 4); k < 4; k++) {
            out.data[rand_below(&r, out.len)] = (uint8_t)rand_u64(&r);
        }
        size_t len = rand_chance(&r, 0.2) ? rand_below(&r, out.len + 1) : out.len;
        struct frame f;
        if (!frame_get(slice_of(out.data, len), &f) || f.type != FRAME_APPEND) {
            continue;
        }
        size_t at = 0;
        for (uint32_t n = 0; n < f.n; n++) {
            struct frame_entry e;
            frame_next_entry(&f, &at, &e);
            assert_true(e.term >= 1 && e.term <= f.term);
        }
        assert_true(at <= f.body.len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(append_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(small_frames_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(truncated_and_trailing_bytes_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(lying_counts_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(nonsense_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(configurations_in_entries_are_checked, setup, teardown),
        cmocka_unit_test_setup_teardown(configurations_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(random_damage_never_reads_outside, setup, teardown),
    };
    return cmocka_run_group_tests_name("wire", tests, NULL, NULL);
}
