/* test_tick_metrics.c - the lateness of ticks: the most since the last scrape, whole and without
 * the wait for a processor. */
#include "raft/tick_metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/metrics.h"

#define MS 1000000u

/* Both gauges as one scrape shows them. */
static void scrape(double *late, double *held)
{
    struct buf text;
    buf_init(&text);
    metrics_render(&text);
    buf_append_byte(&text, '\0');
    const char *l = strstr((char *)text.data, "\nkvd_raft_tick_late_seconds_max ");
    const char *h = strstr((char *)text.data, "\nkvd_raft_tick_held_seconds_max ");
    assert_non_null(l);
    assert_non_null(h);
    *late = atof(strchr(l, ' '));
    *held = atof(strchr(h, ' '));
    buf_close(&text);
}

static void expect(double late, double held)
{
    double l;
    double h;
    scrape(&l, &h);
    assert_true(l > late - 1e-9 && l < late + 1e-9);
    assert_true(h > held - 1e-9 && h < held + 1e-9);
}

static void the_most_since_the_last_scrape(void **state)
{
    expect(0, 0);
    tick_metrics_came(50 * MS, 50 * MS, 0);
    tick_metrics_came(49 * MS, 50 * MS, 0);
    expect(0, 0);
    tick_metrics_came(70 * MS, 50 * MS, 0);
    tick_metrics_came(55 * MS, 50 * MS, 0);
    expect(0.020, 0.020);
    expect(0, 0);
    tick_metrics_came(51 * MS, 50 * MS, 0);
    expect(0.001, 0.001);
}

static void waits_for_a_processor_are_not_the_loops(void **state)
{
    tick_metrics_came(150 * MS, 50 * MS, 80 * MS);
    expect(0.100, 0.020);
    tick_metrics_came(150 * MS, 50 * MS, 130 * MS);
    expect(0.100, 0);
    /* The two maxima may come from different ticks. */
    tick_metrics_came(150 * MS, 50 * MS, 100 * MS);
    tick_metrics_came(90 * MS, 50 * MS, 0);
    expect(0.100, 0.040);
}

static void ticks_are_counted_from_the_last_one(void **state)
{
    struct tick_watch w;
    tick_watch_open(&w, 50, 1000 * MS);
    tick_watch_tick(&w, 1050 * MS);
    expect(0, 0);
    tick_watch_close(&w);
    /* Without the kernel's figures both are the same. */
    tick_watch_tick(&w, 1200 * MS);
    expect(0.100, 0.100);
    tick_watch_tick(&w, 1250 * MS);
    expect(0, 0);
}

int main(void)
{
    tick_metrics_register();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_most_since_the_last_scrape),
        cmocka_unit_test(waits_for_a_processor_are_not_the_loops),
        cmocka_unit_test(ticks_are_counted_from_the_last_one),
    };
    return cmocka_run_group_tests_name("tick_metrics", tests, NULL, NULL);
}
