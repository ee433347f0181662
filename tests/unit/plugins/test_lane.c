/* test_lane.c - mailboxes and timers: order, bounds, the clock, the end. */
#include "plugins/host/lane.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/list.h"

struct note {
    struct lane_msg msg;
    struct lane_timer timer;
    struct lane *lane;
    int number;
    int again; /* posts itself so often */
};

static int order[4096];
static size_t order_len;
static bool closed;

static void note_log(const struct note *n)
{
    assert_true(order_len < sizeof(order) / sizeof(order[0]));
    order[order_len++] = n->number;
}

static void note_run(struct lane_msg *m)
{
    struct note *n = LIST_ENTRY(m, struct note, msg);
    note_log(n);
    if (n->again-- > 0) {
        lane_post(n->lane, m);
    }
}

static void note_fire(struct lane_timer *t)
{
    struct note *n = LIST_ENTRY(t, struct note, timer);
    note_log(n);
    if (n->again-- > 0) {
        assert_true(lane_timer_set(n->lane, t, lane_now(n->lane)));
    }
}

static void on_closed(void *data)
{
    (void)data;
    closed = true;
}

static int setup(void **state)
{
    (void)state;
    order_len = 0;
    closed = false;
    return 0;
}

static void messages_run_in_order(void **state)
{
    (void)state;
    struct lane l;
    struct note notes[5] = {{.msg = {.run = note_run}}};
    lane_open_manual(&l, 1);
    assert_false(lane_run(&l));
    for (int i = 0; i < 5; i++) {
        notes[i] = (struct note){.msg = {.run = note_run}, .lane = &l, .number = i};
        lane_post(&l, &notes[i].msg);
    }
    assert_true(lane_run(&l));
    assert_false(lane_run(&l));
    assert_int_equal(order_len, 5);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(order[i], i);
    }
    lane_close(&l, on_closed, NULL);
    lane_run(&l);
    assert_true(closed);
}

/* One turn runs at most LANE_MESSAGES_PER_TURN_MAX, and what is left keeps its order. */
/* What can wait does not wake the lane, but keeps its place. */
static void quiet_messages_run_with_the_next_one(void **state)
{
    (void)state;
    struct lane l;
    struct note notes[4] = {{.msg = {.run = note_run}}};
    lane_open_manual(&l, 1);
    for (int i = 0; i < 4; i++) {
        notes[i] = (struct note){.msg = {.run = note_run}, .lane = &l, .number = i};
    }
    assert_true(lane_post_quietly(&l, &notes[0].msg));
    assert_false(lane_run(&l));
    lane_post(&l, &notes[1].msg);
    assert_false(lane_post_quietly(&l, &notes[2].msg)); /* the wake is under way */
    assert_true(lane_run(&l));
    assert_int_equal(order_len, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(order[i], i);
    }
    assert_true(lane_post_quietly(&l, &notes[3].msg));
    lane_nudge(&l);
    assert_true(lane_run(&l));
    assert_int_equal(order_len, 4);
    lane_nudge(&l); /* nothing is there */
    assert_false(lane_run(&l));
    lane_close(&l, on_closed, NULL);
    while (!closed) {
        lane_run(&l);
    }
}

static void turns_are_bounded(void **state)
{
    (void)state;
    enum { COUNT = LANE_MESSAGES_PER_TURN_MAX * 3 + 5 };
    static struct note notes[COUNT];
    struct lane l;
    lane_open_manual(&l, 1);
    for (int i = 0; i < COUNT; i++) {
        notes[i] = (struct note){.msg = {.run = note_run}, .lane = &l, .number = i};
        lane_post(&l, &notes[i].msg);
    }
    assert_true(lane_run(&l));
    assert_int_equal(order_len, LANE_MESSAGES_PER_TURN_MAX);
    unsigned turns = 1;
    while (lane_run(&l)) {
        turns++;
    }
    assert_int_equal(turns, 4);
    assert_int_equal(order_len, COUNT);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(order[i], i);
    }
    lane_close(&l, on_closed, NULL);
    lane_run(&l);
}

static void timers_follow_the_clock(void **state)
{
    (void)state;
    struct lane l;
    lane_open_manual(&l, 1);
    struct note late = {.timer = {.fire = note_fire}, .lane = &l, .number = 2};
    struct note early = {.timer = {.fire = note_fire}, .lane = &l, .number = 1};
    struct note never = {.timer = {.fire = note_fire}, .lane = &l, .number = 3};
    assert_int_equal(lane_next_ms(&l), UINT64_MAX);
    assert_true(lane_timer_set(&l, &late.timer, 1100));
    assert_true(lane_timer_set(&l, &early.timer, 1050));
    assert_true(lane_timer_set(&l, &never.timer, 1010));
    lane_timer_cancel(&l, &never.timer);
    lane_timer_cancel(&l, &never.timer);
    assert_int_equal(lane_next_ms(&l), 1050);
    assert_false(lane_run(&l));
    lane_set_clock(&l, 1049);
    assert_false(lane_run(&l));
    lane_set_clock(&l, 2000);
    lane_set_clock(&l, 5); /* never back */
    assert_true(lane_run(&l));
    assert_int_equal(order_len, 2);
    assert_int_equal(order[0], 1);
    assert_int_equal(order[1], 2);
    assert_int_equal(lane_now(&l), 2000);
    lane_close(&l, on_closed, NULL);
    lane_run(&l);
}

/* A timer that sets itself for "now" does not hold up the lane. */
static void a_timer_for_now_waits_for_the_next_turn(void **state)
{
    (void)state;
    struct lane l;
    lane_open_manual(&l, 1);
    struct note n = {.timer = {.fire = note_fire}, .lane = &l, .again = 3};
    struct note far[3] = {{.timer = {.fire = note_fire}}};
    for (int i = 0; i < 3; i++) {
        far[i] = (struct note){.timer = {.fire = note_fire}, .lane = &l};
        assert_true(lane_timer_set(&l, &far[i].timer, 1000000)); /* others, not due */
    }
    assert_true(lane_timer_set(&l, &n.timer, 0));
    assert_true(lane_run(&l));
    assert_int_equal(order_len, 1);
    while (lane_run(&l)) {
    }
    assert_int_equal(order_len, 4);
    lane_close(&l, on_closed, NULL);
    lane_run(&l);
}

/* The same seed, the same dice. */
static void chance_is_repeatable(void **state)
{
    (void)state;
    struct lane a;
    struct lane b;
    uint8_t left[13];
    uint8_t right[13];
    lane_open_manual(&a, 7);
    lane_open_manual(&b, 7);
    lane_dice(&a, left, sizeof(left));
    lane_dice(&b, right, sizeof(right));
    assert_memory_equal(left, right, sizeof(left));
    lane_close(&a, on_closed, NULL);
    lane_close(&b, on_closed, NULL);
    lane_run(&a);
    lane_run(&b);
}

/* ---- on a uv loop ------------------------------------------------------------------------------
 */

static void a_loop_lane_lives_on_a_given_loop(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct lane l;
    struct errmsg e;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(lane_open_loop(&l, &loop, &e), 0);
    struct note m = {.msg = {.run = note_run}, .lane = &l, .number = 1, .again = 1000};
    struct note t = {.timer = {.fire = note_fire}, .lane = &l, .number = 2};
    lane_post(&l, &m.msg);
    assert_true(lane_timer_set(&l, &t.timer, lane_now(&l) + 1));
    while (order_len < 1002) {
        uv_run(&loop, UV_RUN_ONCE);
    }
    lane_close(&l, on_closed, NULL);
    uv_run(&loop, UV_RUN_DEFAULT); /* ends: nothing of it is left on the loop */
    assert_true(closed);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void abandoned_lanes_drop_posts(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct lane l;
    struct errmsg e;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(lane_open_loop(&l, &loop, &e), 0);
    struct note m = {.msg = {.run = note_run}, .lane = &l};
    lane_abandon(&l);
    lane_post(&l, &m.msg);
    lane_close(&l, on_closed, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(closed);
    assert_int_equal(order_len, 0);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(messages_run_in_order, setup),
        cmocka_unit_test_setup(quiet_messages_run_with_the_next_one, setup),
        cmocka_unit_test_setup(turns_are_bounded, setup),
        cmocka_unit_test_setup(timers_follow_the_clock, setup),
        cmocka_unit_test_setup(a_timer_for_now_waits_for_the_next_turn, setup),
        cmocka_unit_test_setup(chance_is_repeatable, setup),
        cmocka_unit_test_setup(a_loop_lane_lives_on_a_given_loop, setup),
        cmocka_unit_test_setup(abandoned_lanes_drop_posts, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
