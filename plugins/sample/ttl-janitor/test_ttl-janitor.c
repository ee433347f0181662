/* test_ttl-janitor.c - keys go when their time has come, not before, whoever leads. */
#include <kvplugin-test.h>
#include <stdio.h>
#include <string.h>

static void keys_go_after_their_time(void)
{
    t_open(kvplugin_entry(), NULL);
    t_lead(1);
    t_put("/ttl/a", "30s");
    t_put("/ttl/b", "2m");
    t_put("/ttl/c", "soon");
    t_advance(29000);
    t_expect_value("/ttl/a", "30s");
    t_expect_int(t_metric("keys", "leased", NULL), 2);
    t_expect_int(t_metric("keys", "unreadable", NULL), 1);
    t_advance(2000);
    t_expect_value("/ttl/a", NULL);
    t_expect_value("/ttl/b", "2m");
    t_advance(120000);
    t_expect_value("/ttl/b", NULL);
    t_expect_value("/ttl/c", "soon");
    t_expect_int(t_leases(), 0);
    t_close();
}

/* A value written anew is a new time. */
static void a_new_value_begins_anew(void)
{
    t_open(kvplugin_entry(), NULL);
    t_lead(1);
    t_put("/ttl/a", "10s");
    t_advance(8000);
    t_put("/ttl/a", "10s");
    t_advance(8000);
    t_expect_value("/ttl/a", "10s");
    t_advance(3000);
    t_expect_value("/ttl/a", NULL);
    t_close();
}

/* The time runs on when the leadership is lost. */
static void nobody_needs_to_lead(void)
{
    t_open(kvplugin_entry(), NULL);
    t_lead(1);
    t_put("/ttl/a", "10s");
    t_advance(1000);
    t_depose();
    t_put("/ttl/b", "10s");
    t_advance(20000);
    t_expect_value("/ttl/a", NULL);
    t_expect_value("/ttl/b", "10s"); /* nobody has seen it yet */
    t_lead(2);
    t_advance(11000);
    t_expect_value("/ttl/b", NULL);
    t_close();
}

/* A write between lease and put: the lease is given back. */
static void no_lease_is_left_over(void)
{
    t_open(kvplugin_entry(), NULL);
    t_lead(1);
    t_hold("put_if");
    t_put("/ttl/a", "1h");
    t_advance(100);
    t_put("/ttl/a", "forever");
    t_release("put_if");
    t_advance(1000);
    t_expect_value("/ttl/a", "forever");
    t_expect_int(t_leases(), 0);
    t_close();
}

static void one_allocation_fails(void)
{
    if (t_open(kvplugin_entry(), NULL) == 0) {
        t_put("/ttl/a", "60s");
        t_lead(1);
        t_advance(30000);
        t_expect_value("/ttl/a", "60s");
        t_advance(60000);
        t_expect_value("/ttl/a", NULL);
        t_expect_int(t_leases(), 0);
    }
    t_close();
}

/* Whatever goes wrong: no key goes before its time, all go in the end. */
static void model(void)
{
    static const char *const keys[] = {"/ttl/a", "/ttl/b", "/ttl/c"};
    uint64_t due[3] = {0}; /* not before; 0 = not there */
    if (t_open(kvplugin_entry(), NULL) != 0) {
        t_close();
        return;
    }
    t_chaos(15);
    for (int i = 0; i < 60; i++) {
        size_t k = t_random(3);
        if (t_random(4) == 0) {
            t_put(keys[k], "20s");
            due[k] = t_now() + 20000;
        } else if (t_random(8) == 0) {
            t_change_leader();
        } else if (t_random(8) == 0) {
            t_compact(0);
        }
        t_advance(t_random(3000));
        for (k = 0; k < 3; k++) {
            t_expect(t_now() >= due[k] || t_get(keys[k]) != NULL);
        }
    }
    t_chaos(0);
    if (!t_is_leader()) {
        t_change_leader();
    }
    t_advance(600000);
    t_expect_int(t_count("/ttl/"), 0);
    t_expect_int(t_leases(), 0);
    t_close();
}

int main(void)
{
    t_open_refused(kvplugin_entry(), "report=1ms", "report");
    t_for_each_seed(50, keys_go_after_their_time);
    t_for_each_seed(50, a_new_value_begins_anew);
    t_for_each_seed(50, nobody_needs_to_lead);
    t_for_each_seed(50, no_lease_is_left_over);
    printf("%u allocations failed, one at a time\n", t_for_each_alloc(one_allocation_fails));
    t_for_each_seed(200, model);
    puts("ttl-janitor: passed");
    return 0;
}
