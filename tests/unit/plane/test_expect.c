/* test_expect.c - expectations: what has been done and does not show yet. */
#include "plugins/client/expect.h"
#include "tests/unit/plane/plane.h"

static struct expects *e;

static struct slice key(const char *text)
{
    return slice_str(text);
}

static bool satisfied_result;

static void satisfied_inside(void *data)
{
    satisfied_result = expects_satisfied(e, slice_str(data));
}

static bool satisfied(const char *text)
{
    plane_inside(satisfied_inside, (void *)(uintptr_t)text);
    return satisfied_result;
}

static void open_expects(void)
{
    plane_open(NULL);
    e = expects_open(plane_client());
    assert_non_null(e);
}

static void close_expects(void)
{
    expects_close(e);
    plane_close();
}

static void counted_off_one_by_one(void **state)
{
    (void)state;
    open_expects();
    assert_true(satisfied("a"));
    expects_created(e, key("a")); /* nobody expects it */
    assert_int_equal(expects_creations(e, key("a"), 2), 0);
    assert_int_equal(expects_creations(e, key("b"), 1), 0);
    assert_false(satisfied("a"));
    expects_created(e, key("a"));
    assert_false(satisfied("a"));
    expects_created(e, key("a"));
    assert_true(satisfied("a"));
    expects_created(e, key("a"));
    assert_int_equal(expects_creations(e, key("a"), 1), 0);
    assert_false(satisfied("a")); /* what came too often does not count for later */
    assert_int_equal(expects_creations(e, key("a"), 0), 0);
    assert_true(satisfied("a"));
    assert_false(satisfied("b"));
    expects_forget(e, key("b"));
    expects_forget(e, key("b"));
    assert_true(satisfied("b"));
    close_expects();
}

static void deletions_are_told_apart(void **state)
{
    (void)state;
    open_expects();
    assert_int_equal(expects_deletion(e, key("a"), key("u1")), 0);
    assert_int_equal(expects_deletion(e, key("a"), key("u2")), 0);
    assert_int_equal(expects_deletion(e, key("a"), key("u2")), 0);
    expects_deleted(e, key("a"), key("u1"));
    expects_deleted(e, key("a"), key("u1")); /* once */
    expects_deleted(e, key("a"), key("u9"));
    expects_deleted(e, key("b"), key("u2"));
    assert_false(satisfied("a"));
    expects_deleted(e, key("a"), key("u2"));
    assert_true(satisfied("a"));
    /* A new expectation is instead of the old ones. */
    assert_int_equal(expects_deletion(e, key("a"), key("u3")), 0);
    assert_int_equal(expects_creations(e, key("a"), 1), 0);
    expects_created(e, key("a"));
    assert_true(satisfied("a"));
    close_expects();
}

static void five_minutes_are_enough(void **state)
{
    (void)state;
    open_expects();
    assert_int_equal(expects_creations(e, key("a"), 1), 0);
    assert_int_equal(expects_deletion(e, key("b"), key("u1")), 0);
    plane_advance(200000);
    assert_int_equal(expects_deletion(e, key("b"), key("u2")), 0);
    plane_advance(100000);
    assert_false(satisfied("a"));
    plane_advance(1);
    assert_true(satisfied("a"));
    assert_false(satisfied("b")); /* from the last one */
    plane_advance(200000);
    assert_true(satisfied("b"));
    /* What has run out does not come back with the next one. */
    assert_int_equal(expects_deletion(e, key("b"), key("u3")), 0);
    expects_deleted(e, key("b"), key("u3"));
    assert_true(satisfied("b"));
    close_expects();
}

static void memory_failures_change_nothing(void **state)
{
    (void)state;
    open_expects();
    bool hit = true;
    for (uint64_t n = 1; hit; n++) {
        char name[32];
        snprintf(name, sizeof(name), "k%d", (int)n);
        mem_fail_after(n);
        int rc = expects_creations(e, key(name), 1);
        int rd = expects_deletion(e, key(name), key("u"));
        hit = mem_fail_left() == 0;
        mem_fail_after(0);
        assert_true(rc == 0 || rc == KVP_NO_MEMORY);
        assert_true(rd == 0 || rd == KVP_NO_MEMORY);
        assert_int_equal(hit, rc != 0 || rd != 0);
        if (rc == 0) {
            expects_created(e, key(name));
        }
        assert_int_equal(satisfied(name), rd != 0);
    }
    close_expects();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLANE_TEST(counted_off_one_by_one),
        PLANE_TEST(deletions_are_told_apart),
        PLANE_TEST(five_minutes_are_enough),
        PLANE_TEST(memory_failures_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
