/* output_plugin_top.c - what plugins cost, as columns sorted by time; see output_plugin.h.
 *
 * With an answer from before, the columns that count (time, calls, events) are of the time between
 * both; without one, of all the time since each plugin was loaded. */
#include "cli/output_plugin.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct top_row {
    const char *endpoint;
    const Kvdpb__PluginLoad *load;
    double seconds; /* between the two answers; 0 = since it was loaded */
    uint64_t time_ns;
    uint64_t callbacks;
    uint64_t events;
};

static int top_compare(const void *left, const void *right)
{
    const struct top_row *a = left;
    const struct top_row *b = right;
    if (a->time_ns != b->time_ns) {
        return a->time_ns > b->time_ns ? -1 : 1;
    }
    if (a->load->time_sum_ns != b->load->time_sum_ns) {
        return a->load->time_sum_ns > b->load->time_sum_ns ? -1 : 1;
    }
    int order = strcmp(a->load->name, b->load->name);
    return order != 0 ? order : strcmp(a->endpoint, b->endpoint);
}

static const Kvdpb__PluginLoad *top_find(const Kvdpb__PluginTopResponse *r, const char *name)
{
    for (size_t i = 0; i < r->n_loads; i++) {
        if (strcmp(r->loads[i]->name, name) == 0) {
            return r->loads[i];
        }
    }
    return NULL;
}

static struct top_row top_row_of(const struct output_plugin *answer, const Kvdpb__PluginLoad *load)
{
    struct top_row row = {.endpoint = answer->endpoint,
                          .load = load,
                          .time_ns = load->time_sum_ns,
                          .callbacks = load->callbacks,
                          .events = load->events};
    if (answer->top_before == NULL || answer->top->now_mono_ns <= answer->top_before->now_mono_ns) {
        return row; /* the first look, or the member was started again */
    }
    row.seconds = (double)(answer->top->now_mono_ns - answer->top_before->now_mono_ns) / 1e9;
    const Kvdpb__PluginLoad *before = top_find(answer->top_before, load->name);
    /* Counters that went back belong to code that was loaded in between: all of it is new. */
    if (before != NULL && before->callbacks <= load->callbacks &&
        before->time_sum_ns <= load->time_sum_ns && before->events <= load->events) {
        row.time_ns -= before->time_sum_ns;
        row.callbacks -= before->callbacks;
        row.events -= before->events;
    }
    return row;
}

static void top_time(struct output_table *t, uint64_t ns)
{
    char text[OUTPUT_TIME_BYTES_MAX];
    output_plugin_time(ns, text);
    output_table_cell(t, "%s", text);
}

/* A count, or how many per second. */
static void top_count(struct output_table *t, uint64_t count, double seconds)
{
    if (seconds > 0) {
        output_table_cell(t, "%.0f/s", (double)count / seconds);
    } else {
        output_table_cell(t, "%" PRIu64, count);
    }
}

static void top_cells(struct output_table *t, const struct top_row *row)
{
    const Kvdpb__PluginLoad *l = row->load;
    char memory[OUTPUT_TIME_BYTES_MAX];
    output_table_cell(t, "%s", l->name);
    output_table_cell(t, "%s", output_plugin_state((int)l->state));
    if (row->seconds > 0) {
        output_table_cell(t, "%.1f%%", (double)row->time_ns / row->seconds / 1e7);
    } else {
        top_time(t, row->time_ns);
    }
    top_count(t, row->callbacks, row->seconds);
    top_time(t, l->time_p50_ns);
    top_time(t, l->time_p99_ns);
    top_time(t, l->time_max_ns);
    output_table_cell(t, "%" PRIu64, l->queue);
    output_table_cell(t, "%" PRIu64, l->retries);
    top_count(t, row->events, row->seconds);
    output_table_cell(t, "%" PRIu64, l->requests);
    output_table_cell(t, "%" PRIu64, l->writes);
    output_table_cell(t, "%" PRIu64, l->watches);
    output_table_cell(t, "%" PRIu64, l->timers);
    output_size(l->memory_bytes > INT64_MAX ? INT64_MAX : (int64_t)l->memory_bytes, memory,
                sizeof(memory));
    output_table_cell(t, "%s", memory);
    if (*l->running != '\0') {
        char took[OUTPUT_TIME_BYTES_MAX];
        output_plugin_time(l->running_ms * 1000000, took);
        output_table_cell(t, "%s %s", l->running, took);
    } else {
        output_table_cell(t, "%s", "");
    }
}

void output_plugin_top(const struct output *o, const struct output_plugin *answers, size_t count,
                       struct buf *out)
{
    static const char *const titles[] = {
        "endpoint", "name",   "state", "time",   "calls",   "p50",    "p99",    "max",    "queue",
        "retries",  "events", "reads", "writes", "watches", "timers", "memory", "running"};
    const size_t skip = count > 1 ? 0 : 1;
    struct output_table t;
    size_t total = 0;
    size_t at = 0;
    if (o->form == OUTPUT_JSON) {
        output_json_plugin_top(out, answers, count);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        total += answers[i].top->n_loads;
    }
    struct top_row *rows = mem_alloc((total + 1) * sizeof(*rows));
    if (rows == NULL) {
        out->failed = true;
        return;
    }
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < answers[i].top->n_loads; k++) {
            rows[at++] = top_row_of(&answers[i], answers[i].top->loads[k]);
        }
    }
    qsort(rows, total, sizeof(*rows), top_compare);
    output_table_init(&t, titles + skip, COUNT(titles) - skip);
    for (size_t i = 0; i < total; i++) {
        if (skip == 0) {
            output_table_cell(&t, "%s", rows[i].endpoint);
        }
        top_cells(&t, &rows[i]);
    }
    if (o->form == OUTPUT_TABLE) {
        output_table_framed(&t, out);
    } else {
        output_table_columns(&t, out);
    }
    output_table_close(&t);
    mem_free(rows);
}
