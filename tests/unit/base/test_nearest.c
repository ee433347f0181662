/* test_nearest - which known word was meant. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/nearest.h"

static unsigned edits(const char *a, const char *b)
{
    struct nearest n;
    nearest_init(&n, a);
    nearest_offer(&n, b);
    return n.edits;
}

static void edits_are_counted(void **state)
{
    (void)state;
    assert_int_equal(edits("", ""), 0);
    assert_int_equal(edits("hello", "hello"), 0);
    assert_int_equal(edits("", "abc"), 3);
    assert_int_equal(edits("abc", ""), 3);
    assert_int_equal(edits("helo", "hello"), 1);
    assert_int_equal(edits("hello", "helo"), 1);
    assert_int_equal(edits("hallo", "hello"), 1);
    assert_int_equal(edits("kitten", "sitting"), 3);
    assert_int_equal(edits("scheduler", "schedluer"), 2);
}

static void the_nearest_word_wins_and_the_first_of_equals(void **state)
{
    (void)state;
    struct nearest n;
    nearest_init(&n, "sheduler");
    assert_null(n.word);
    assert_int_equal(n.edits, UINT_MAX);
    nearest_offer(&n, "apiserver");
    nearest_offer(&n, "scheduler");
    nearest_offer(&n, "controllers");
    assert_string_equal(n.word, "scheduler");
    nearest_init(&n, "b");
    nearest_offer(&n, "a");
    nearest_offer(&n, "c");
    assert_string_equal(n.word, "a");
}

static void long_words_stay_inside(void **state)
{
    (void)state;
    char a[300];
    char b[300];
    memset(a, 'a', sizeof(a));
    memset(b, 'b', sizeof(b));
    a[sizeof(a) - 1] = b[sizeof(b) - 1] = '\0';
    assert_int_equal(edits(a, a), 0);
    assert_int_equal(edits(a, b), NEAREST_WORD_BYTES_MAX);
    assert_int_equal(edits(a, "a"), NEAREST_WORD_BYTES_MAX - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(edits_are_counted),
        cmocka_unit_test(the_nearest_word_wins_and_the_first_of_equals),
        cmocka_unit_test(long_words_stay_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
