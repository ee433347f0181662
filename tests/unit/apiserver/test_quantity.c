/* test_quantity - amounts and times in their canonical forms, arithmetic and its bounds. */
#include "plugins/object/quantity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "plugins/object/instant.h"

static void texts_become_canonical(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"0", "0"},
        {"0Mi", "0"},
        {"1500m", "1500m"},
        {"0.5", "500m"},
        {"1024Mi", "1Gi"},
        {"1e3", "1e3"},
        {"1000m", "1"},
        {"100000", "100k"},
        {"1.5Gi", "1536Mi"},
        {"1025Mi", "1025Mi"},
        {"0.1", "100m"},
        {"0.1n", "1n"},
        {"-1500m", "-1500m"},
        {"1.500", "1.500"},
        {"12.345k", "12.345k"},
        {"1.000", "1"},
        {"100E", "100E"},
        {"1Ei", "1Ei"},
        {"8Ei", "9223372036854775807"},
        {"20Ei", "9223372036854775807"},
        {"0.5Mi", "512Ki"},
        {"0.5Ki", "512"},
        {"512Ki", "512Ki"},
        {"12e4", "120e3"},
        {"1E3", "1E3"},
        {"1E", "1E"},
        {"1000000", "1M"},
        {"1Gi", "1Gi"},
        {"3Gi", "3Gi"},
        {"2048", "2048"},
        {"1.1Ki", "1126400m"},
        {"123456789012345678901n", "123456789012345678901n"},
        {"0.0000000001", "1n"},
        {"1e-10", "1e-9"},
        {"-0.1n", "-1n"},
        {"007", "007"},
        {"1.", "1."},
        {"10000000000000000000000", "10000E"},
        {"5e0", "5e0"},
        {"0.001k", "1"},
        {"Ki", "0"},
        {"+5", "+5"},
        {"-0", "0"},
        {"0.3Ki", "307200m"},
        {".5", "500m"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[QUANTITY_TEXT_BYTES_MAX + 1];
        size_t len;
        const char *why;
        assert_int_equal(quantity_canonical(slice_str(cases[i][0]), out, &len, &why), 0);
        out[len] = 0;
        assert_string_equal(out, cases[i][1]);
    }
}

static void what_is_no_quantity_is_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {"",   " 1",  "1 ",  "one",  "1..2", "1x",   "1Kii",
                                        "1e", "1ee", "1e+", "1Mii", "--1",  "1e1.5"};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct quantity q;
        const char *why = NULL;
        assert_int_equal(quantity_parse(slice_str(cases[i]), &q, &why), ERR_INVALID);
        assert_non_null(why);
    }
    struct quantity q;
    const char *why;
    assert_int_equal(quantity_parse(slice_str("1e40"), &q, &why), ERR_INVALID);
    assert_string_equal(why, "unable to parse numeric part of quantity");
}

static struct quantity quantity(const char *text)
{
    struct quantity q;
    const char *why;
    assert_int_equal(quantity_parse(slice_str(text), &q, &why), 0);
    return q;
}

static void sums_are_exact(void **state)
{
    (void)state;
    struct quantity a = quantity("100m");
    struct quantity b = quantity("1n");
    assert_true(quantity_add(&a, &b));
    char out[QUANTITY_TEXT_BYTES_MAX + 1];
    out[quantity_print(&a, out)] = 0;
    assert_string_equal(out, "100000001n");
    assert_true(quantity_sub(&a, &b));
    out[quantity_print(&a, out)] = 0;
    assert_string_equal(out, "100m");
    struct quantity zero = quantity("0");
    struct quantity gi = quantity("1Gi");
    assert_true(quantity_add(&zero, &gi));
    out[quantity_print(&zero, out)] = 0;
    assert_string_equal(out, "1Gi");
    assert_int_equal(quantity_units(&gi), 1073741824);
    b = quantity("1500m");
    assert_int_equal(quantity_units(&b), 2);
    b = quantity("-1500m");
    assert_int_equal(quantity_units(&b), -2);
    assert_int_equal(quantity_millis(&b), -1500);
    struct quantity large = quantity("100000000000E");
    assert_int_equal(quantity_units(&large), INT64_MAX);
    assert_true(quantity_cmp(&gi, &large) < 0);
    struct quantity sum = large;
    assert_true(quantity_add(&sum, &large) ? quantity_cmp(&sum, &large) > 0
                                           : quantity_cmp(&sum, &large) == 0);
}

static void times_survive_a_round_trip(void **state)
{
    (void)state;
    char out[INSTANT_TEXT_BYTES_MAX + 1];
    struct errmsg e;
    /* Every 40 days and a bit, over centuries: leap years on the way. */
    for (int64_t s = -62135596800; s < 253402300800; s += 3500001) {
        out[instant_print(s, out)] = 0;
        int64_t micros;
        assert_int_equal(instant_parse(slice_str(out), false, &micros, &e), 0);
        assert_int_equal(micros, s * 1000000);
    }
    int64_t micros;
    assert_int_equal(instant_parse(slice_str("1969-12-31T23:59:59.999999Z"), false, &micros, &e),
                     0);
    assert_int_equal(micros, -1);
    assert_int_equal(instant_parse(slice_str("1969-12-31T23:59:59.999999Z"), true, &micros, &e), 0);
    assert_int_equal(instant_parse(slice_str("2000-01-01T00:00:00.1Z"), true, &micros, &e),
                     ERR_INVALID);
    assert_string_equal(
        e.text, "parsing time \"2000-01-01T00:00:00.1Z\" as "
                "\"2006-01-02T15:04:05.000000Z07:00\": cannot parse \".1Z\" as \".000000\"");
    micros = -1;
    out[instant_print_micros(micros, out)] = 0;
    assert_string_equal(out, "1969-12-31T23:59:59.999999Z");
    assert_int_equal(instant_parse(slice_str("2000-02-29T00:00:00-02:30"), false, &micros, &e), 0);
    assert_int_equal(micros / 1000000, 951791400);
    assert_int_equal(instant_parse(slice_str("2000-01-01T24:00:00Z"), false, &micros, &e),
                     ERR_INVALID);
    assert_string_equal(e.text, "parsing time \"2000-01-01T24:00:00Z\": hour out of range");
    assert_int_equal(instant_parse(slice_str("2000-01-01T00:00:00"), false, &micros, &e),
                     ERR_INVALID);
    assert_string_equal(e.text, "parsing time \"2000-01-01T00:00:00\" as "
                                "\"2006-01-02T15:04:05Z07:00\": cannot parse \"\" as \"Z07:00\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_become_canonical),
        cmocka_unit_test(what_is_no_quantity_is_refused),
        cmocka_unit_test(sums_are_exact),
        cmocka_unit_test(times_survive_a_round_trip),
    };
    return cmocka_run_group_tests_name("apiserver/quantity", tests, NULL, NULL);
}
