/* test_lane_ask_threads.c - a lent lane's thread that comes by itself before the helper does. */
#include "plugins/host/lane.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static uv_loop_t loop;
static struct lane home, lent;
static bool closed_lent, closed_home;
static atomic_int first_ran, second_ran;
static struct lane_msg first_msg, second_msg, prepare_msg;
static struct lane_timer due;
static atomic_bool prepared;

static void first_run(struct lane_msg *m)
{
    (void)m;
    atomic_fetch_add(&first_ran, 1);
}

static void second_run(struct lane_msg *m)
{
    (void)m;
    atomic_fetch_add(&second_ran, 1);
}

static void due_fire(struct lane_timer *t)
{
    (void)t; /* that its thread came is what is wanted of it */
}

static void prepare_run(struct lane_msg *m)
{
    (void)m;
    due.fire = due_fire;
    assert_true(lane_timer_set(&lent, &due, lane_now(&lent) + 30));
    atomic_store(&prepared, true);
}

static void on_closed(void *data)
{
    *(bool *)data = true;
}

/* Nobody is inside and the mailbox is empty. */
static bool lent_is_idle(void)
{
    pthread_mutex_lock(&lent.lock);
    bool idle = lent.first == NULL && !lent.running && !lent.waking;
    pthread_mutex_unlock(&lent.lock);
    return idle;
}

static void a_thread_that_comes_first_leaves_nothing_to_help_twice(void **state)
{
    (void)state;
    struct errmsg e;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(lane_open_loop(&home, &loop, &e), 0);
    assert_int_equal(lane_open_thread(&lent, &home, "lent", &e), 0);
    lane_lend(&lent, &home);
    prepare_msg.run = prepare_run;
    first_msg.run = first_run;
    second_msg.run = second_run;
    lane_post(&lent, &prepare_msg);
    while (!atomic_load(&prepared) || !lent_is_idle()) {
        sched_yield();
    }
    lane_post_quick(&lent, &first_msg); /* home is asked to help */
    while (atomic_load(&first_ran) == 0 || !lent_is_idle()) {
        sched_yield(); /* the timer brings the thread */
    }
    lane_post_quick(&lent, &second_msg); /* home is asked again before it looked */
    assert_true(home.to_help.next == &lent.help_link && lent.help_link.next == &home.to_help);
    while (atomic_load(&second_ran) == 0) {
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    assert_true(list_empty(&home.to_help));
    lane_close(&lent, on_closed, &closed_lent);
    while (!closed_lent) {
        uv_run(&loop, UV_RUN_ONCE);
    }
    lane_close(&home, on_closed, &closed_home);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(closed_home);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thread_that_comes_first_leaves_nothing_to_help_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
