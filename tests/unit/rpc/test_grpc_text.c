/* test_grpc_text - status messages, timeouts and content types of gRPC, as pure functions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "rpc/grpc_text.h"

static void check_encode(const char *text, const char *expected)
{
    char out[256];
    size_t len = grpc_message_encode(text, out, sizeof(out));
    assert_string_equal(out, expected);
    assert_int_equal(len, strlen(expected));
}

/* Printable ASCII stays, '%' and everything else is escaped; not-UTF-8 becomes U+FFFD. */
static void message_is_percent_encoded(void **state)
{
    (void)state;
    check_encode("", "");
    check_encode("etcdserver: key is not provided", "etcdserver: key is not provided");
    check_encode("100%", "100%25");
    check_encode(" a b ", "%20a b%20"); /* HTTP would strip spaces at the ends */
    check_encode(" ", "%20");
    check_encode("a\nb\x7f", "a%0Ab%7F");
    check_encode("\xc3\xa9", "%C3%A9");
    check_encode("\xf0\x9f\x98\x80", "%F0%9F%98%80");
    check_encode("x\xff", "x%EF%BF%BD");
    check_encode("\xc0\xaf", "%EF%BF%BD%EF%BF%BD");              /* overlong */
    check_encode("\xed\xa0\x80", "%EF%BF%BD%EF%BF%BD%EF%BF%BD"); /* surrogate */
    check_encode("\xf4\x90\x80\x80", "%EF%BF%BD%EF%BF%BD%EF%BF%BD%EF%BF%BD");
    check_encode("\xe2\x82", "%EF%BF%BD%EF%BF%BD"); /* cut short */
}

/* A message that does not fit is cut between characters, never inside an escape. */
static void message_is_cut_at_a_character(void **state)
{
    (void)state;
    char out[8];
    assert_int_equal(grpc_message_encode("abc\xc3\xa9", out, sizeof(out)), 3);
    assert_string_equal(out, "abc");
    assert_int_equal(grpc_message_encode("123456789", out, sizeof(out)), 7);
    assert_string_equal(out, "1234567");
    assert_int_equal(grpc_message_encode("x", out, 1), 0);
}

static void check_timeout(const char *text, enum grpc_timeout_result result, uint64_t expected)
{
    uint64_t ns = 0;
    assert_int_equal(grpc_timeout_parse(slice_str(text), &ns), result);
    assert_true(ns == expected);
}

/* All six units, the bounds on digits, and what is refused. */
static void timeouts_are_parsed(void **state)
{
    (void)state;
    check_timeout("1H", GRPC_TIMEOUT_OK, 3600000000000ull);
    check_timeout("2M", GRPC_TIMEOUT_OK, 120000000000ull);
    check_timeout("3S", GRPC_TIMEOUT_OK, 3000000000ull);
    check_timeout("4m", GRPC_TIMEOUT_OK, 4000000ull);
    check_timeout("5u", GRPC_TIMEOUT_OK, 5000ull);
    check_timeout("6n", GRPC_TIMEOUT_OK, 6ull);
    check_timeout("99999999n", GRPC_TIMEOUT_OK, 99999999ull);
    check_timeout("0S", GRPC_TIMEOUT_OK, 0);
    /* More than 292 years: cut, not wrapped. */
    check_timeout("99999999H", GRPC_TIMEOUT_OK, INT64_MAX);
    check_timeout("", GRPC_TIMEOUT_SHORT, 0);
    check_timeout("S", GRPC_TIMEOUT_SHORT, 0);
    check_timeout("123456789S", GRPC_TIMEOUT_LONG, 0);
    check_timeout("5x", GRPC_TIMEOUT_UNIT, 0);
    check_timeout("55", GRPC_TIMEOUT_UNIT, 0);
    check_timeout("-5S", GRPC_TIMEOUT_NUMBER, 0);
    check_timeout("+5S", GRPC_TIMEOUT_NUMBER, 0);
    check_timeout("5 S", GRPC_TIMEOUT_NUMBER, 0);
}

static void content_types_are_matched(void **state)
{
    (void)state;
    assert_true(grpc_content_type_ok(slice_str("application/grpc")));
    assert_true(grpc_content_type_ok(slice_str("application/grpc+proto")));
    assert_true(grpc_content_type_ok(slice_str("application/grpc;charset=x")));
    assert_false(grpc_content_type_ok(slice_str("application/grpc-web")));
    assert_false(grpc_content_type_ok(slice_str("application/json")));
    assert_false(grpc_content_type_ok(slice_str("application/grp")));
    assert_false(grpc_content_type_ok(slice_str("")));
}

static void values_are_quoted(void **state)
{
    (void)state;
    char out[32];
    grpc_quote(slice_str("a\"b\\c"), out, sizeof(out));
    assert_string_equal(out, "\"a\\\"b\\\\c\"");
    grpc_quote(slice_of("\x01\xff", 2), out, sizeof(out));
    assert_string_equal(out, "\"\\x01\\xff\"");
    grpc_quote(slice_of(NULL, 0), out, sizeof(out));
    assert_string_equal(out, "\"\"");
    char small[10];
    grpc_quote(slice_str("0123456789abcdef"), small, sizeof(small));
    assert_true(strlen(small) < sizeof(small));
    assert_int_equal(small[0], '"');
    assert_int_equal(small[strlen(small) - 1], '"');
    for (size_t size = 1; size < sizeof(out); size++) {
        grpc_quote(slice_of("\xff\xff\xff\xff\xff\xff\xff\xff", 8), out, size);
        assert_true(strlen(out) < size);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(message_is_percent_encoded),
        cmocka_unit_test(message_is_cut_at_a_character),
        cmocka_unit_test(timeouts_are_parsed),
        cmocka_unit_test(content_types_are_matched),
        cmocka_unit_test(values_are_quoted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
