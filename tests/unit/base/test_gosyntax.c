/* test_gosyntax - values as Go reads and prints them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/gosyntax.h"

static void booleans_have_twelve_spellings(void **state)
{
    (void)state;
    bool value = false;
    assert_int_equal(go_bool_parse("T", &value), GO_OK);
    assert_true(value);
    assert_int_equal(go_bool_parse("False", &value), GO_OK);
    assert_false(value);
    assert_int_equal(go_bool_parse("yes", &value), GO_SYNTAX);
    assert_int_equal(go_bool_parse("", &value), GO_SYNTAX);
    assert_int_equal(go_bool_parse("tRUE", &value), GO_SYNTAX);
}

static void integers_take_base_prefixes(void **state)
{
    (void)state;
    uint64_t u = 0;
    int64_t i = 0;
    assert_int_equal(go_uint_parse("18446744073709551615", &u), GO_OK);
    assert_true(u == UINT64_MAX);
    assert_int_equal(go_uint_parse("18446744073709551616", &u), GO_RANGE);
    assert_int_equal(go_uint_parse("0x10", &u), GO_OK);
    assert_int_equal(u, 16);
    assert_int_equal(go_uint_parse("017", &u), GO_OK);
    assert_int_equal(u, 15);
    assert_int_equal(go_uint_parse("0b101", &u), GO_OK);
    assert_int_equal(u, 5);
    assert_int_equal(go_uint_parse("0o17", &u), GO_OK);
    assert_int_equal(u, 15);
    assert_int_equal(go_uint_parse("0", &u), GO_OK);
    assert_int_equal(u, 0);
    assert_int_equal(go_uint_parse("0x", &u), GO_SYNTAX);
    assert_int_equal(go_uint_parse("-1", &u), GO_SYNTAX);
    assert_int_equal(go_uint_parse("08", &u), GO_SYNTAX);
    assert_int_equal(go_uint_parse("1 ", &u), GO_SYNTAX);
    assert_int_equal(go_uint_parse("", &u), GO_SYNTAX);
    assert_int_equal(go_int_parse("-9223372036854775808", &i), GO_OK);
    assert_true(i == INT64_MIN);
    assert_int_equal(go_int_parse("9223372036854775808", &i), GO_RANGE);
    assert_int_equal(go_int_parse("+7", &i), GO_OK);
    assert_int_equal(i, 7);
    assert_int_equal(go_int_parse("--7", &i), GO_SYNTAX);
}

static void durations_read_like_gos(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ns;
    } good[] = {
        {"0", 0},
        {"-0", 0},
        {"5s", 5000000000},
        {"100ms", 100000000},
        {"1m30s", 90000000000},
        {"1.5h", 5400000000000},
        {".5s", 500000000},
        {"1.s", 1000000000},
        {"-1.5h", -5400000000000},
        {"3us", 3000},
        {"3\u00b5s", 3000},
        {"1h2m3.004005006s", 3723004005006},
        {"2562047h47m16.854775807s", INT64_MAX},
        {"-2562047h47m16.854775808s", INT64_MIN},
        {"0.333333333333333333333h", 1200000000000},
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        int64_t ns = -7;
        assert_int_equal(go_duration_parse(good[i].text, &ns), GO_OK);
        assert_true(ns == good[i].ns);
    }
    static const char *const bad[] = {"",  "5",  "s",   "1x", "1s2", "+",
                                      "-", ".s", "1 s", "1S", "--1s"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int64_t ns = 0;
        assert_int_equal(go_duration_parse(bad[i], &ns), GO_SYNTAX);
    }
    int64_t ns = 0;
    assert_int_equal(go_duration_parse("2562047h47m16.854775808s", &ns), GO_RANGE);
    assert_int_equal(go_duration_parse("99999999999999999999s", &ns), GO_RANGE);
}

static void durations_print_like_gos(void **state)
{
    (void)state;
    static const struct {
        int64_t ns;
        const char *text;
    } rows[] = {
        {0, "0s"},
        {1, "1ns"},
        {1500, "1.5\u00b5s"},
        {300000000, "300ms"},
        {1234567, "1.234567ms"},
        {5000000000, "5s"},
        {60000000000, "1m0s"},
        {7200000000000, "2h0m0s"},
        {3723004005006, "1h2m3.004005006s"},
        {-1500000000, "-1.5s"},
        {INT64_MIN, "-2562047h47m16.854775808s"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char out[GO_DURATION_BYTES_MAX];
        go_duration_print(rows[i].ns, out);
        assert_string_equal(out, rows[i].text);
    }
}

static void quoting_escapes_what_would_not_print(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    assert_true(go_quote(&b, slice_of("a\"\\\n\x00\x7f\xff\xc3\xa9", 9)));
    assert_true(go_quote(&b, slice_str("\u2028\u00ad")));
    buf_append_byte(&b, 0);
    assert_string_equal((char *)b.data, "\"a\\\"\\\\\\n\\x00\\x7f\\xff\u00e9\"\"\\u2028\\u00ad\"");
    buf_close(&b);
}

static void text_for_a_terminal_cannot_act_on_it(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    assert_true(go_visible(&b, slice_of("\"a\\\x1b[2J\r\n\x00\x7f\xff\xc2\x9b\xc3\xa9", 16)));
    buf_append_byte(&b, 0);
    assert_string_equal((char *)b.data, "\"a\\\\x1b[2J\\r\\n\\x00\\x7f\\xff\\u009b\u00e9");
    buf_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(booleans_have_twelve_spellings),
        cmocka_unit_test(integers_take_base_prefixes),
        cmocka_unit_test(durations_read_like_gos),
        cmocka_unit_test(durations_print_like_gos),
        cmocka_unit_test(quoting_escapes_what_would_not_print),
        cmocka_unit_test(text_for_a_terminal_cannot_act_on_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
