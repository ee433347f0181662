/* test_hello.c - hello in a host without kvd: order by dice, time by hand, faults on purpose. */
#include <kvplugin-test.h>
#include <stdio.h>
#include <string.h>

/* Two keys are stamped, others left alone. */
static void stamps(void)
{
    t_open(kvplugin_entry(), NULL);
    t_put("/hello/a", "");
    t_put("/hello/b", "mine");
    t_put("/other/c", "");
    t_lead(5);
    t_advance(1000);
    t_expect_value("/hello/a", "stamped");
    t_expect_value("/hello/b", "mine");
    t_expect_value("/other/c", "");
    t_put("/hello/d", "");
    t_advance(1000);
    t_expect_value("/hello/d", "stamped");
    t_expect_int(t_metric("stamped", NULL), 2);
    t_close();
}

/* Only the leader writes. */
static void followers_only_watch(void)
{
    t_open(kvplugin_entry(), "prefix=/x/");
    t_put("/x/a", "");
    t_advance(10000);
    t_expect_value("/x/a", "");
    t_lead(1);
    t_advance(1000);
    t_expect_value("/x/a", "stamped");
    t_close();
}

/* A write that was on its way when the leadership was lost does not happen later. */
static void no_stale_stamp(void)
{
    t_open(kvplugin_entry(), NULL);
    t_put("/hello/a", "");
    t_hold("put_if");
    t_lead(5);
    t_advance(1000);
    t_expect_int(t_in_flight("put_if"), 1);
    t_depose();
    t_release("put_if");
    t_advance(1000);
    t_expect_value("/hello/a", "");
    t_lead(7);
    t_advance(1000);
    t_expect_value("/hello/a", "stamped");
    t_close();
}

/* Another member leads and this one does not know: everything is refused. */
static void fenced(void)
{
    t_open(kvplugin_entry(), NULL);
    t_lead(5);
    t_advance(100);
    t_lead_elsewhere();
    t_put("/hello/a", "");
    t_advance(1000);
    t_expect(t_calls("put_if") > 0);
    t_expect_value("/hello/a", "");
    t_close();
}

/* One allocation fails, whichever: init refuses, or all comes right a little later. */
static void one_allocation_fails(void)
{
    if (t_open(kvplugin_entry(), NULL) == 0) {
        t_put("/hello/a", "");
        t_lead(5);
        t_advance(60000);
        t_expect_value("/hello/a", "stamped");
        t_put("/hello/b", "");
        t_advance(60000);
        t_expect_value("/hello/b", "stamped");
    }
    t_close();
}

/* The revision of the cache's list is gone before its watch begins. */
static void compaction_between_list_and_watch(void)
{
    t_open(kvplugin_entry(), NULL);
    t_put("/hello/a", "1");
    t_lead(5);
    while (t_calls("watch") == 0) {
        t_put("/hello/a", "2");
        t_compact(0);
        t_step();
    }
    t_put("/hello/b", "");
    t_put("/hello/a", "");
    t_compact(0);
    t_advance(1000);
    t_expect_value("/hello/a", "stamped");
    t_expect_value("/hello/b", "stamped");
    t_close();
}

/* Faults and leaders come and go by the dice; at the end every key is what a model of it says: what
 * a client wrote last, or a stamp when that was empty. */
static void model(void)
{
    static const char *const keys[] = {"/hello/a", "/hello/b", "/hello/c", "/hello/d"};
    const char *last[4] = {NULL};
    if (t_open(kvplugin_entry(), NULL) != 0) {
        t_close();
        return;
    }
    t_chaos(20);
    for (int i = 0; i < 60; i++) {
        size_t k = t_random(4);
        switch (t_random(6)) {
        case 0:
            t_put(keys[k], last[k] = "");
            break;
        case 1:
            t_put(keys[k], last[k] = "mine");
            break;
        case 2:
            t_delete(keys[k]);
            last[k] = NULL;
            break;
        case 3:
            t_compact(0);
            break;
        case 4:
            t_advance(t_random(50));
            break;
        default:
            t_change_leader();
            break;
        }
    }
    t_chaos(0);
    if (!t_is_leader()) {
        t_change_leader();
    }
    t_advance(3600000);
    for (size_t k = 0; k < 4; k++) {
        t_expect_value(keys[k], last[k] != NULL && last[k][0] == '\0' ? "stamped" : last[k]);
    }
    t_close();
}

int main(void)
{
    t_for_each_seed(50, stamps);
    followers_only_watch();
    t_for_each_seed(50, no_stale_stamp);
    t_for_each_seed(50, fenced);
    printf("%u allocations failed, one at a time\n", t_for_each_alloc(one_allocation_fails));
    t_for_each_seed(50, compaction_between_list_and_watch);
    t_for_each_seed(200, model);
    puts("hello: passed");
    return 0;
}
