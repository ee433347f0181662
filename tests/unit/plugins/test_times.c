/* test_times - classes of times: quantiles are near, sums of counts exact; and option texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "plugins/host/settings.h"
#include "plugins/host/times.h"

static void one_time_is_its_own_quantile(void **state)
{
    (void)state;
    static const uint64_t times[] = {0,    1,     3,       4,          7,          8,
                                     1000, 65535, 1000000, 1000000000, 1ull << 41, UINT64_MAX};
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        struct times t;
        memset(&t, 0, sizeof(t));
        times_add(&t, times[i]);
        assert_int_equal(times_quantile(&t, 0.5), times[i]);
        assert_int_equal(times_quantile(&t, 0.99), times[i]);
    }
}

static void quantiles_are_at_most_a_quarter_above(void **state)
{
    (void)state;
    for (uint64_t ns = 1; ns < 1ull << 40; ns += ns / 7 + 1) {
        struct times t;
        memset(&t, 0, sizeof(t));
        times_add(&t, ns);
        times_add(&t, UINT64_MAX);
        uint64_t got = times_quantile(&t, 0.5);
        assert_true(got >= ns);
        assert_true(got <= ns + ns / 4);
    }
}

static void shares_are_counted(void **state)
{
    (void)state;
    struct times t;
    memset(&t, 0, sizeof(t));
    assert_int_equal(times_quantile(&t, 0.5), 0);
    for (int i = 0; i < 98; i++) {
        times_add(&t, 5);
    }
    times_add(&t, 6);
    times_add(&t, 7);
    assert_int_equal(times_quantile(&t, 0.5), 5);
    assert_int_equal(times_quantile(&t, 0.98), 5);
    assert_int_equal(times_quantile(&t, 0.99), 6);
    assert_int_equal(times_quantile(&t, 1), 7);
    assert_int_equal(t.longest_ns, 7);
}

/* ---- option texts ------------------------------------------------------------------------------
 */

static void assert_value(const char *text, const char *name, const char *want)
{
    struct slice got = settings_find(text, name);
    if (want == NULL) {
        assert_null(got.data);
        return;
    }
    assert_non_null(got.data);
    assert_true(slice_eq(got, slice_str(want)));
}

static void values_are_found_by_name(void **state)
{
    (void)state;
    assert_value("", "a", NULL);
    assert_value("a=1", "a", "1");
    assert_value("aa=1,a=2,b=", "a", "2");
    assert_value("aa=1,a=2,b=", "b", "");
    assert_value("a=b=c", "a", "b=c");
    assert_value("a=1", "", NULL);
    assert_value("a", "a", "");
    assert_value(",,a=1,", "a", "1");
}

static void assert_merged(const char *text, const char *over, const char *want)
{
    char *got = settings_merge(text, over);
    assert_non_null(got);
    assert_string_equal(got, want);
    mem_free(got);
}

static void later_settings_win(void **state)
{
    (void)state;
    assert_merged("", "", "");
    assert_merged("a=1,b=2", "", "a=1,b=2");
    assert_merged("", "a=1", "a=1");
    assert_merged("a=1,b=2,c=3", "b=5,d=4", "a=1,c=3,b=5,d=4");
    assert_merged("a=1", "a=", "a=");
    for (uint64_t n = 1;; n++) {
        mem_fail_after(n);
        char *got = settings_merge("a=1", "b=2");
        mem_fail_after(0);
        if (got != NULL) {
            mem_free(got);
            assert_true(n > 1);
            break;
        }
    }
}

static void settings_that_would_be_others_are_refused(void **state)
{
    (void)state;
    static const struct {
        struct plugin_setting settings[2];
        const char *text; /* or the sentence */
        int err;
    } rows[] = {
        {{{"a", "1"}, {"b", NULL}}, "a=1,b=", 0},
        {{{"a", "x=y"}, {"b", "2"}}, "a=x=y,b=2", 0},
        {{{"a", "1"}, {"a", "2"}}, "option a is given twice", ERR_INVALID},
        {{{"a", "1,b=2"}, {"c", ""}}, "option a: a value has no comma", ERR_INVALID},
        {{{"a,b", "1"}, {"c", ""}}, "\"a,b\" is no name of an option", ERR_INVALID},
        {{{"", "1"}, {"c", ""}}, "\"\" is no name of an option", ERR_INVALID},
        {{{"a=b", "1"}, {"c", ""}}, "\"a=b\" is no name of an option", ERR_INVALID},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct errmsg e = {""};
        int err = -1;
        char *text = settings_text(rows[i].settings, 2, &err, &e);
        assert_int_equal(err, rows[i].err);
        assert_string_equal(text != NULL ? text : e.text, rows[i].text);
        mem_free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_time_is_its_own_quantile),
        cmocka_unit_test(quantiles_are_at_most_a_quarter_above),
        cmocka_unit_test(shares_are_counted),
        cmocka_unit_test(values_are_found_by_name),
        cmocka_unit_test(later_settings_win),
        cmocka_unit_test(settings_that_would_be_others_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
