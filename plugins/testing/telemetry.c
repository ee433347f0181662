/* telemetry.c - metrics, log lines and notices of the test host. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "include/kvplugin-test.h"
#include "plugins/testing/world.h"

/* ---- metrics ------------------------------------------------------------------------------- */

struct metric_series {
    struct list link; /* first: in metric.series */
    uint32_t id;
    int64_t value; /* histogram: observations */
    char *values[KVP_LABELS_MAX];
};

struct metric {
    struct list link; /* first: in world.metrics */
    uint32_t type;
    uint32_t id;
    char *name;
    size_t label_count;
    struct list series;
};

static struct metric_series *metric_series_new(struct metric *m)
{
    struct metric_series *s = mem_zalloc(sizeof(*s));
    if (s != NULL) {
        s->id = ++world->series_count;
        list_push_back(&m->series, &s->link);
    }
    return s;
}

int t_call_metric(struct kvp_ctx *ctx, const struct kvp_metric_args *a, uint32_t *out_id)
{
    int reason = ctx_enter(ctx, "metric");
    if (reason != 0) {
        return reason;
    }
    if (!world->in_init || a == NULL || a->size == 0 || a->name == NULL || out_id == NULL ||
        a->type < KVP_COUNTER || a->type > KVP_HISTOGRAM || a->bound_count > 24) {
        misuse("metric: outside init, or an argument breaks its rule (KVP_INVALID)");
        return KVP_INVALID;
    }
    LIST_FOREACH (it, &world->metrics) {
        if (strcmp(LIST_ENTRY(it, struct metric, link)->name, a->name) == 0) {
            return KVP_EXISTS;
        }
    }
    if (strncmp(a->name, "workqueue_", 10) == 0) {
        return KVP_EXISTS; /* kvd's own */
    }
    struct metric *m = mem_zalloc(sizeof(*m));
    if (m == NULL) {
        return KVP_NO_MEMORY;
    }
    m->type = a->type;
    m->name = quiet_dup(a->name, strlen(a->name));
    list_init(&m->series);
    while (m->label_count < KVP_LABELS_MAX && a->labels[m->label_count] != NULL) {
        m->label_count++;
    }
    m->id = ++world->series_count;
    list_push_back(&world->metrics, &m->link);
    *out_id = m->id;
    if (m->label_count == 0) {
        uint64_t left = quiet_begin();
        *out_id = metric_series_new(m)->id;
        quiet_end(left);
        m->id = *out_id;
    }
    return 0;
}

static bool metric_series_is(const struct metric_series *s, const struct kvp_bytes *values,
                             size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!slice_eq(slice_str(s->values[i]), slice_of_kvp(values[i]))) {
            return false;
        }
    }
    return true;
}

int t_call_metric_series(struct kvp_ctx *ctx, uint32_t id, const struct kvp_bytes *values,
                         size_t count, uint32_t *out_series)
{
    int reason = ctx_enter(ctx, "metric_series");
    if (reason != 0) {
        return reason;
    }
    struct metric *m = NULL;
    LIST_FOREACH (it, &world->metrics) {
        struct metric *at = LIST_ENTRY(it, struct metric, link);
        m = at->id == id ? at : m;
    }
    if (m == NULL || m->label_count != count || count == 0 || out_series == NULL) {
        misuse("metric_series: no such metric, or not one value for each label (KVP_INVALID)");
        return KVP_INVALID;
    }
    LIST_FOREACH (it, &m->series) {
        struct metric_series *s = LIST_ENTRY(it, struct metric_series, link);
        if (metric_series_is(s, values, count)) {
            *out_series = s->id;
            return 0;
        }
    }
    struct metric_series *s = metric_series_new(m);
    if (s == NULL) {
        return KVP_NO_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        s->values[i] = quiet_dup(values[i].data, values[i].len);
    }
    *out_series = s->id;
    return 0;
}

/* Any thread. */
static void metric_change(uint32_t series, uint32_t types, int64_t n, bool set)
{
    pthread_mutex_lock(&world->lock);
    LIST_FOREACH (it, &world->metrics) {
        struct metric *m = LIST_ENTRY(it, struct metric, link);
        LIST_FOREACH (at, &m->series) {
            struct metric_series *s = LIST_ENTRY(at, struct metric_series, link);
            if (s->id == series && (types & (1u << m->type)) != 0) {
                s->value = set ? n : s->value + n;
            }
        }
    }
    pthread_mutex_unlock(&world->lock);
}

void t_call_metric_add(struct kvp_ctx *ctx, uint32_t series, int64_t n)
{
    (void)ctx;
    metric_change(series, 1u << KVP_COUNTER | 1u << KVP_GAUGE, n, false);
}

void t_call_metric_set(struct kvp_ctx *ctx, uint32_t series, int64_t value)
{
    (void)ctx;
    metric_change(series, 1u << KVP_GAUGE, value, true);
}

void t_call_metric_observe(struct kvp_ctx *ctx, uint32_t series, double value)
{
    (void)ctx;
    (void)value;
    metric_change(series, 1u << KVP_HISTOGRAM, 1, false);
}

int64_t t_metric(const char *name, ...)
{
    struct kvp_bytes values[KVP_LABELS_MAX];
    size_t count = 0;
    va_list args;
    va_start(args, name);
    for (const char *v; count < KVP_LABELS_MAX && (v = va_arg(args, const char *)) != NULL;) {
        values[count++] = kvp_str(v);
    }
    va_end(args);
    LIST_FOREACH (it, &world_need("t_metric")->metrics) {
        struct metric *m = LIST_ENTRY(it, struct metric, link);
        if (strcmp(m->name, name) != 0 || m->label_count != count) {
            continue;
        }
        LIST_FOREACH (at, &m->series) {
            struct metric_series *s = LIST_ENTRY(at, struct metric_series, link);
            if (metric_series_is(s, values, count)) {
                return s->value;
            }
        }
    }
    return -1;
}

void metrics_clear(void)
{
    for (struct list *it; (it = list_pop_front(&world->metrics)) != NULL;) {
        struct metric *m = LIST_ENTRY(it, struct metric, link);
        for (struct list *at; (at = list_pop_front(&m->series)) != NULL;) {
            struct metric_series *s = LIST_ENTRY(at, struct metric_series, link);
            for (size_t i = 0; i < KVP_LABELS_MAX; i++) {
                mem_free(s->values[i]);
            }
            mem_free(s);
        }
        mem_free(m->name);
        mem_free(m);
    }
}

/* ---- lines --------------------------------------------------------------------------------- */

struct line {
    struct list link; /* first: in world.lines */
    char kind;        /* 'l' log event, 'n' notice */
    size_t count;
    char text[];
};

static struct line *line_find(char kind, const char *text)
{
    LIST_FOREACH (it, &world->lines) {
        struct line *l = LIST_ENTRY(it, struct line, link);
        if (l->kind == kind && strcmp(l->text, text) == 0) {
            return l;
        }
    }
    return NULL;
}

void line_count(char kind, const char *text)
{
    pthread_mutex_lock(&world->lock);
    struct line *l = line_find(kind, text);
    if (l == NULL) {
        l = quiet_zalloc(sizeof(*l) + strlen(text) + 1);
        l->kind = kind;
        memcpy(l->text, text, strlen(text) + 1);
        list_push_back(&world->lines, &l->link);
    }
    l->count++;
    pthread_mutex_unlock(&world->lock);
}

static size_t line_counted(char kind, const char *text)
{
    pthread_mutex_lock(&world->lock);
    struct line *l = line_find(kind, text);
    size_t count = l != NULL ? l->count : 0;
    pthread_mutex_unlock(&world->lock);
    return count;
}

void lines_clear(void)
{
    for (struct list *it; (it = list_pop_front(&world->lines)) != NULL;) {
        mem_free(LIST_ENTRY(it, struct line, link));
    }
}

static void log_print(int level, const char *event, const struct kvp_field *fields, size_t count)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    fprintf(stderr, "%8llu %-5s %s", (unsigned long long)world->now_ms, names[level], event);
    for (size_t i = 0; i < count; i++) {
        const struct kvp_field *f = &fields[i];
        switch (f->type) {
        case KVP_FIELD_STR:
            fprintf(stderr, " %s=%s", f->name, f->v.str);
            break;
        case KVP_FIELD_INT:
            fprintf(stderr, " %s=%lld", f->name, (long long)f->v.i);
            break;
        case KVP_FIELD_UINT:
            fprintf(stderr, " %s=%llu", f->name, (unsigned long long)f->v.u);
            break;
        case KVP_FIELD_DOUBLE:
            fprintf(stderr, " %s=%g", f->name, f->v.d);
            break;
        default:
            fprintf(stderr, " %s=%.*s", f->name, (int)f->v.bytes.len,
                    (const char *)f->v.bytes.data);
            break;
        }
    }
    fputc('\n', stderr);
}

void t_call_log(struct kvp_ctx *ctx, int level, const char *event, const struct kvp_field *fields,
                size_t count)
{
    (void)ctx;
    if (event == NULL || level < KVP_DEBUG || level > KVP_ERROR || count > 24) {
        misuse("log: an argument breaks its rule");
        return;
    }
    line_count('l', event);
    if (getenv("KVP_TEST_LOG") != NULL) {
        log_print(level, event, fields, count);
    }
}

int t_call_log_enabled(struct kvp_ctx *ctx, int level)
{
    (void)ctx;
    return level >= KVP_DEBUG;
}

int t_call_notice(struct kvp_ctx *ctx, const struct kvp_notice *n)
{
    int reason = ctx_enter(ctx, "notice");
    if (reason != 0) {
        return reason;
    }
    if (n == NULL || n->size == 0 || n->reason == NULL || n->text == NULL) {
        misuse("notice: an argument breaks its rule (KVP_INVALID)");
        return KVP_INVALID;
    }
    line_count('n', n->reason);
    return 0;
}

size_t t_logged(const char *event)
{
    world_need("t_logged");
    return line_counted('l', event);
}

size_t t_noticed(const char *reason)
{
    world_need("t_noticed");
    return line_counted('n', reason);
}
