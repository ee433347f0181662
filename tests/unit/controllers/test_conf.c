/* test_conf.c - what the texts of options mean; what follows from a cluster's size. */
#include "tests/unit/controllers/fixture.h"

#include "plugins/controllers/conf.h"
#include "plugins/controllers/ttl.h"

static void lists_of_controllers(void **state)
{
    (void)state;
    assert_true(conf_controller_enabled("*", "a"));
    assert_false(conf_controller_enabled("", "a"));
    assert_false(conf_controller_enabled("*:-a", "a"));
    assert_false(conf_controller_enabled("-a:*", "a"));
    assert_true(conf_controller_enabled("*:-ab", "a"));
    assert_true(conf_controller_enabled("b:a", "a"));
    assert_true(conf_controller_enabled("b a", "a"));
    assert_false(conf_controller_enabled("b:aa:-", "a"));
    assert_true(conf_controller_enabled("a:-a", "a"));
    assert_false(conf_controller_enabled("-a:a", "a"));
}

static void rates(void **state)
{
    (void)state;
    double rate = -1;
    assert_true(conf_rate("0.1", &rate));
    assert_true(rate > 0.099 && rate < 0.101);
    assert_true(conf_rate("0", &rate));
    assert_true(rate == 0);
    assert_true(conf_rate("1000000", &rate));
    static const char *const bad[] = {"",    "-1",  "1e3",     ".",   "0.1.2", "nan",
                                      "inf", "0x1", "1000001", " 1.", "1 "};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(conf_rate(bad[i], &rate));
    }
    assert_true(rate == 1000000);
}

static void steps_of_size(void **state)
{
    (void)state;
    assert_int_equal(ttl_step(0, 0), 0);
    assert_int_equal(ttl_step(0, 100), 0);
    assert_int_equal(ttl_step(0, 101), 1);
    assert_int_equal(ttl_step(1, 95), 1); /* not back at once */
    assert_int_equal(ttl_step(1, 89), 0);
    assert_int_equal(ttl_step(0, 5000), 4);
    assert_int_equal(ttl_seconds(4), 300);
    assert_int_equal(ttl_step(4, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_of_controllers),
        cmocka_unit_test(rates),
        cmocka_unit_test(steps_of_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
