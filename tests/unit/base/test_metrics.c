/* test_metrics - the Prometheus text form of each kind of metric. */
#include "base/metrics.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"

static struct metric puts_total = {
    .name = "t_put_total", .help = "Puts.\nSecond \\ line.", .type = METRIC_COUNTER};
static struct metric handled_range = {.name = "t_handled_total",
                                      .help = "Handled.",
                                      .labels = "type=\"range\"",
                                      .type = METRIC_COUNTER};
static struct metric handled_put = {.name = "t_handled_total",
                                    .help = "Handled.",
                                    .labels = "type=\"put\"",
                                    .type = METRIC_COUNTER};
static struct metric keys = {.name = "t_keys", .help = "Keys.", .type = METRIC_GAUGE};

static double read_double(void *data)
{
    return *(double *)data;
}

static double read_value = 0.1;
static struct metric read_gauge = {.name = "t_read",
                                   .help = "Read when scraped.",
                                   .type = METRIC_GAUGE,
                                   .read = read_double,
                                   .data = &read_value};

static const double bounds[] = {0.001, 0.5, 2};
static struct metric latency = {.name = "t_seconds",
                                .help = "Latency.",
                                .type = METRIC_HISTOGRAM,
                                .bounds = bounds,
                                .bound_count = 3};
static struct metric latency_labelled = {.name = "t_seconds",
                                         .help = "Latency.",
                                         .labels = "op=\"x\"",
                                         .type = METRIC_HISTOGRAM,
                                         .bounds = bounds,
                                         .bound_count = 3};

static int register_all(void **state)
{
    (void)state;
    metrics_register(&puts_total);
    metrics_register(&handled_range);
    metrics_register(&keys);
    metrics_register(&handled_put); /* not next to its family: sorted there */
    metrics_register(&latency);
    metrics_register(&read_gauge);
    metrics_register(&latency_labelled);
    metrics_register(&keys); /* twice is once */
    return 0;
}

/* The page from this file's first metric on; others may be registered before it. */
static const char *page(struct buf *b)
{
    buf_clear(b);
    metrics_render(b);
    buf_append_byte(b, 0);
    const char *from = strstr((char *)b->data, "# HELP t_put_total");
    assert_non_null(from);
    return from;
}

static void page_has_prometheus_form(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    metric_add(&puts_total, 2);
    metric_add(&puts_total, 1);
    metric_set(&keys, -5);
    metric_add(&handled_put, 1);
    metric_observe_ns(&latency, 1000000);    /* on the first bound: inside */
    metric_observe_ns(&latency, 1000001);    /* just above */
    metric_observe_ns(&latency, 3000000000); /* above all */
    assert_string_equal(page(&b), "# HELP t_put_total Puts.\\nSecond \\\\ line.\n"
                                  "# TYPE t_put_total counter\n"
                                  "t_put_total 3\n"
                                  "# HELP t_handled_total Handled.\n"
                                  "# TYPE t_handled_total counter\n"
                                  "t_handled_total{type=\"range\"} 0\n"
                                  "t_handled_total{type=\"put\"} 1\n"
                                  "# HELP t_keys Keys.\n"
                                  "# TYPE t_keys gauge\n"
                                  "t_keys -5\n"
                                  "# HELP t_seconds Latency.\n"
                                  "# TYPE t_seconds histogram\n"
                                  "t_seconds_bucket{le=\"0.001\"} 1\n"
                                  "t_seconds_bucket{le=\"0.5\"} 2\n"
                                  "t_seconds_bucket{le=\"2\"} 2\n"
                                  "t_seconds_bucket{le=\"+Inf\"} 3\n"
                                  "t_seconds_sum 3.002000001\n"
                                  "t_seconds_count 3\n"
                                  "t_seconds_bucket{op=\"x\",le=\"0.001\"} 0\n"
                                  "t_seconds_bucket{op=\"x\",le=\"0.5\"} 0\n"
                                  "t_seconds_bucket{op=\"x\",le=\"2\"} 0\n"
                                  "t_seconds_bucket{op=\"x\",le=\"+Inf\"} 0\n"
                                  "t_seconds_sum{op=\"x\"} 0\n"
                                  "t_seconds_count{op=\"x\"} 0\n"
                                  "# HELP t_read Read when scraped.\n"
                                  "# TYPE t_read gauge\n"
                                  "t_read 0.1\n");
    buf_close(&b);
}

static void doubles_read_back(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {0, "t_read 0\n"},
        {1e15, "t_read 1e+15\n"},
        {1.0 / 3, "t_read 0.3333333333333333\n"},
        {NAN, "t_read NaN\n"},
        {INFINITY, "t_read +Inf\n"},
        {-INFINITY, "t_read -Inf\n"},
    };
    struct buf b;
    buf_init(&b);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        read_value = cases[i].value;
        assert_non_null(strstr(page(&b), cases[i].text));
    }
    buf_close(&b);
}

static void disk_bounds_double(void **state)
{
    (void)state;
    for (int i = 0; i < 13; i++) {
        assert_true(fabs(METRIC_BOUNDS_DISK[i + 1] - 2 * METRIC_BOUNDS_DISK[i]) < 1e-12);
    }
    assert_true(METRIC_BOUNDS_DISK[0] == 0.001);
}

static void *add_many(void *data)
{
    (void)data;
    for (int i = 0; i < 20000; i++) {
        metric_add(&puts_total, 1);
        metric_observe_ns(&latency_labelled, 1);
    }
    return NULL;
}

static void updates_from_threads_add_up(void **state)
{
    (void)state;
    int64_t before = atomic_load(&puts_total.value);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, add_many, NULL), 0);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(atomic_load(&puts_total.value) - before, 60000);
    assert_int_equal(atomic_load(&latency_labelled.buckets[0]), 60000);
    assert_int_equal(atomic_load(&latency_labelled.sum_ns), 60000);
}

static void rendering_survives_each_failure(void **state)
{
    (void)state;
    for (uint64_t n = 1;; n++) {
        struct buf b;
        buf_init(&b);
        mem_fail_after(n);
        metrics_render(&b);
        mem_fail_after(0);
        bool failed = b.failed;
        buf_close(&b);
        if (!failed) {
            assert_true(n > 3);
            break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(page_has_prometheus_form),
        cmocka_unit_test(doubles_read_back),
        cmocka_unit_test(disk_bounds_double),
        cmocka_unit_test(updates_from_threads_add_up),
        cmocka_unit_test(rendering_survives_each_failure),
    };
    return cmocka_run_group_tests(tests, register_all, NULL);
}
