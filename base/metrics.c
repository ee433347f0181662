/* metrics.c - the registry of metrics and its Prometheus text form.
 *
 * The registry is a list in order of registration, members of one family next to each other, since
 * the text form wants a family's lines together under one HELP and TYPE. It only grows and only at
 * start-up, so rendering needs no lock. */
#include "base/metrics.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

const double METRIC_BOUNDS_DISK[14] = {0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064,
                                       0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192};

static struct metric *_Atomic metrics_first;

void metrics_register(struct metric *m)
{
    FATAL_IF(m->bound_count > METRIC_BUCKETS_MAX, "a histogram has more buckets than fit");
    struct metric *last = NULL;
    struct metric *family = NULL;
    for (struct metric *it = metrics_first; it != NULL; it = it->next) {
        if (it == m) {
            return;
        }
        last = it;
        if (strcmp(it->name, m->name) == 0) {
            family = it;
        }
    }
    struct metric *after = family != NULL ? family : last;
    if (after == NULL) {
        m->next = NULL;
        metrics_first = m;
    } else {
        m->next = after->next;
        after->next = m;
    }
}

void metric_observe_ns(struct metric *m, uint64_t ns)
{
    double seconds = (double)ns / 1e9;
    int i = 0;
    while (i < m->bound_count && seconds > m->bounds[i]) {
        i++;
    }
    atomic_fetch_add_explicit(&m->buckets[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&m->sum_ns, ns, memory_order_relaxed);
}

/* The shortest digits that read back as the same number. */
static void metrics_put_double(struct buf *out, double value)
{
    if (isnan(value)) {
        buf_append_str(out, "NaN");
        return;
    }
    if (isinf(value)) {
        buf_append_str(out, value < 0 ? "-Inf" : "+Inf");
        return;
    }
    size_t start = out->len;
    for (int digits = 15; digits <= 17; digits++) {
        out->len = start;
        if (!buf_printf(out, "%.*g", digits, value) || !buf_append_byte(out, 0)) {
            return;
        }
        out->len--;
        if (strtod((const char *)out->data + start, NULL) == value) {
            return;
        }
    }
}

static void metrics_put_head(struct buf *out, const struct metric *m)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    buf_printf(out, "# HELP %s ", m->name);
    for (const char *p = m->help == NULL ? "" : m->help; *p != '\0'; p++) {
        if (*p == '\n') {
            buf_append_str(out, "\\n");
        } else if (*p == '\\') {
            buf_append_str(out, "\\\\");
        } else {
            buf_append_byte(out, (uint8_t)*p);
        }
    }
    buf_printf(out, "\n# TYPE %s %s\n", m->name, types[m->type]);
}

static void metrics_put_labels(struct buf *out, const struct metric *m)
{
    if (m->labels != NULL) {
        buf_printf(out, "{%s}", m->labels);
    }
}

static void metrics_put_histogram(struct buf *out, const struct metric *m)
{
    const char *labels = m->labels == NULL ? "" : m->labels;
    const char *comma = m->labels == NULL ? "" : ",";
    uint64_t total = 0;
    /* The sum is read first: an observation counted here may be missing there, never the reverse
     * by more than the ones in flight. */
    uint64_t sum_ns = atomic_load_explicit(&m->sum_ns, memory_order_relaxed);
    for (int i = 0; i < m->bound_count; i++) {
        total += atomic_load_explicit(&m->buckets[i], memory_order_relaxed);
        buf_printf(out, "%s_bucket{%s%sle=\"", m->name, labels, comma);
        metrics_put_double(out, m->bounds[i]);
        buf_printf(out, "\"} %" PRIu64 "\n", total);
    }
    total += atomic_load_explicit(&m->buckets[m->bound_count], memory_order_relaxed);
    buf_printf(out, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", m->name, labels, comma, total);
    buf_printf(out, "%s_sum", m->name);
    metrics_put_labels(out, m);
    buf_append_byte(out, ' ');
    metrics_put_double(out, (double)sum_ns / 1e9);
    buf_printf(out, "\n%s_count", m->name);
    metrics_put_labels(out, m);
    buf_printf(out, " %" PRIu64 "\n", total);
}

static void metrics_put_value(struct buf *out, const struct metric *m)
{
    buf_append_str(out, m->name);
    metrics_put_labels(out, m);
    buf_append_byte(out, ' ');
    if (m->read != NULL) {
        metrics_put_double(out, m->read(m->data));
    } else {
        buf_printf(out, "%" PRId64, atomic_load_explicit(&m->value, memory_order_relaxed));
    }
    buf_append_byte(out, '\n');
}

void metrics_render(struct buf *out)
{
    const char *family = NULL;
    for (const struct metric *m = metrics_first; m != NULL; m = m->next) {
        if (family == NULL || strcmp(family, m->name) != 0) {
            metrics_put_head(out, m);
            family = m->name;
        }
        if (m->type == METRIC_HISTOGRAM) {
            metrics_put_histogram(out, m);
        } else {
            metrics_put_value(out, m);
        }
    }
}
