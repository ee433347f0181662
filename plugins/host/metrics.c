/* metrics.c - counters, gauges and histograms of plugins, by id. */
#include "plugins/host/metrics.h"

#include <inttypes.h>
#include <string.h>

#include "plugins/host/host_impl.h"

struct plugin_metric {
    char *name;
    char *help;
    char *labels[KVP_LABELS_MAX];
    size_t label_count;
    uint32_t type;
    double bounds[24];
    size_t bound_count;
    size_t series_count;
};

struct plugin_series {
    uint32_t metric;
    uint32_t type;
    char *values[KVP_LABELS_MAX];
    _Atomic int64_t value;
    /* HISTOGRAM */
    const double *bounds;
    size_t bound_count;
    _Atomic uint64_t buckets[25];
    _Atomic double sum;
};

#define METRICS_MAX 256u

void metric_set_init(struct metric_set *m)
{
    memset(m, 0, sizeof(*m));
    pthread_mutex_init(&m->lock, NULL);
}

void metric_set_close(struct metric_set *m)
{
    for (size_t i = 0; i < m->series_count; i++) {
        struct plugin_series *s = m->series[i];
        for (size_t k = 0; k < KVP_LABELS_MAX; k++) {
            mem_free(s->values[k]);
        }
        mem_free(s);
    }
    for (size_t i = 0; i < m->metric_count; i++) {
        mem_free(m->metrics[i].name);
        mem_free(m->metrics[i].help);
        for (size_t k = 0; k < KVP_LABELS_MAX; k++) {
            mem_free(m->metrics[i].labels[k]);
        }
    }
    mem_free(m->metrics);
    mem_free(m->series);
    pthread_mutex_destroy(&m->lock);
}

/* ---- defining ----------------------------------------------------------------------------------
 */

static bool metric_name_ok(const char *name)
{
    if (name == NULL || *name == '\0' || strlen(name) > 64) {
        return false;
    }
    for (const char *p = name; *p != '\0'; p++) {
        if (!((*p >= 'a' && *p <= 'z') || *p == '_' || (p > name && *p >= '0' && *p <= '9'))) {
            return false;
        }
    }
    return true;
}

/* Both tables at their full size, once: ids must stay valid for readers without the lock. */
static bool metric_set_tables(struct metric_set *m)
{
    if (m->metrics == NULL) {
        m->metrics = mem_zalloc(METRICS_MAX * sizeof(*m->metrics));
    }
    if (m->series == NULL) {
        m->series = mem_zalloc(PLUGIN_SERIES_ALL_MAX * sizeof(*m->series));
    }
    return m->metrics != NULL && m->series != NULL;
}

static bool metric_args_ok(const struct kvp_metric_args *a)
{
    if (a == NULL || a->size < sizeof(*a) || a->type < KVP_COUNTER || a->type > KVP_HISTOGRAM ||
        !metric_name_ok(a->name) || a->help == NULL || a->bound_count > 24) {
        return false;
    }
    for (size_t i = 0; i < KVP_LABELS_MAX && a->labels[i] != NULL; i++) {
        if (!metric_name_ok(a->labels[i])) {
            return false;
        }
    }
    for (size_t i = 1; a->bounds != NULL && i < a->bound_count; i++) {
        if (!(a->bounds[i - 1] < a->bounds[i])) {
            return false;
        }
    }
    return true;
}

static int metric_fill(struct plugin_metric *p, const struct kvp_metric_args *a)
{
    p->type = a->type;
    p->name = mem_strdup(a->name);
    p->help = mem_strdup(a->help);
    bool ok = p->name != NULL && p->help != NULL;
    for (; p->label_count < KVP_LABELS_MAX && a->labels[p->label_count] != NULL; p->label_count++) {
        p->labels[p->label_count] = mem_strdup(a->labels[p->label_count]);
        ok = ok && p->labels[p->label_count] != NULL;
    }
    p->bound_count = a->bounds != NULL ? a->bound_count : 14;
    for (size_t i = 0; i < p->bound_count; i++) {
        p->bounds[i] = a->bounds != NULL ? a->bounds[i] : 0.001 * (double)(1u << i);
    }
    return ok ? 0 : KVP_NO_MEMORY;
}

/* With the lock. */
static int metric_series_new(struct metric_set *m, uint32_t metric, const struct kvp_bytes *values,
                             uint32_t *out)
{
    struct plugin_metric *p = &m->metrics[metric];
    if (m->series_count >= PLUGIN_SERIES_ALL_MAX) {
        return KVP_BUSY;
    }
    struct plugin_series *s = mem_zalloc(sizeof(*s));
    if (s == NULL) {
        return KVP_NO_MEMORY;
    }
    for (size_t i = 0; i < p->label_count; i++) {
        s->values[i] = mem_alloc(values[i].len + 1);
        if (s->values[i] == NULL) {
            for (size_t k = 0; k < i; k++) {
                mem_free(s->values[k]);
            }
            mem_free(s);
            return KVP_NO_MEMORY;
        }
        if (values[i].len > 0) {
            memcpy(s->values[i], values[i].data, values[i].len);
        }
        s->values[i][values[i].len] = '\0';
    }
    s->metric = metric;
    s->type = p->type;
    s->bounds = p->bounds;
    s->bound_count = p->bound_count;
    p->series_count++;
    *out = (uint32_t)m->series_count;
    atomic_store(&m->series[m->series_count++], s);
    return 0;
}

static int host_metric(struct kvp_ctx *ctx, const struct kvp_metric_args *a, uint32_t *out_id)
{
    int reason = ctx_check(ctx);
    if (reason != 0) {
        return reason;
    }
    struct instance *in = ctx->instance;
    struct metric_set *m = &in->metrics;
    if (in->frozen || out_id == NULL || !metric_args_ok(a)) {
        return KVP_INVALID;
    }
    if (strncmp(a->name, "workqueue_", 10) == 0) {
        return KVP_EXISTS; /* meter.h */
    }
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < m->metric_count && reason == 0; i++) {
        reason = strcmp(m->metrics[i].name, a->name) == 0 ? KVP_EXISTS : 0;
    }
    if (reason == 0 && !metric_set_tables(m)) {
        reason = KVP_NO_MEMORY;
    }
    if (reason == 0 && m->metric_count >= METRICS_MAX) {
        reason = KVP_BUSY;
    }
    if (reason == 0) {
        struct plugin_metric *p = &m->metrics[m->metric_count];
        *out_id = (uint32_t)m->metric_count++; /* also when it fails: closing frees what is there */
        reason = metric_fill(p, a);
        if (reason == 0 && p->label_count == 0) {
            /* A metric without labels is its only series; ids of the two kinds do not mix. */
            reason = metric_series_new(m, *out_id, NULL, out_id);
        }
    }
    pthread_mutex_unlock(&m->lock);
    return reason;
}

/* With the lock: the series of these values. */
static bool metric_series_find(const struct metric_set *m, uint32_t metric,
                               const struct kvp_bytes *values, size_t count, uint32_t *out)
{
    for (size_t i = 0; i < m->series_count; i++) {
        const struct plugin_series *s = m->series[i];
        bool same = s->metric == metric;
        for (size_t k = 0; same && k < count; k++) {
            same = slice_eq(slice_str(s->values[k]), bytes_slice(values[k]));
        }
        if (same) {
            *out = (uint32_t)i;
            return true;
        }
    }
    return false;
}

static int host_metric_series(struct kvp_ctx *ctx, uint32_t id, const struct kvp_bytes *values,
                              size_t count, uint32_t *out_series)
{
    if (ctx == NULL || values == NULL || out_series == NULL) {
        return KVP_INVALID;
    }
    struct metric_set *m = &ctx->instance->metrics;
    struct kvp_bytes other[KVP_LABELS_MAX];
    int reason = 0;
    pthread_mutex_lock(&m->lock);
    if (id >= m->metric_count || count == 0 || count != m->metrics[id].label_count) {
        reason = KVP_INVALID;
    } else if (!metric_series_find(m, id, values, count, out_series)) {
        if (m->metrics[id].series_count >= PLUGIN_SERIES_MAX) {
            for (size_t i = 0; i < count; i++) {
                other[i] = kvp_str("other");
            }
            values = other;
        }
        if (values != other || !metric_series_find(m, id, values, count, out_series)) {
            reason = metric_series_new(m, id, values, out_series);
        }
    }
    pthread_mutex_unlock(&m->lock);
    return reason;
}

/* ---- counting: any thread ----------------------------------------------------------------------
 */

static struct plugin_series *metric_at(struct kvp_ctx *ctx, uint32_t series)
{
    struct metric_set *m = &ctx->instance->metrics;
    if (m->series == NULL || series >= PLUGIN_SERIES_ALL_MAX) {
        return NULL;
    }
    return atomic_load_explicit(&m->series[series], memory_order_acquire);
}

static void host_metric_add(struct kvp_ctx *ctx, uint32_t series, int64_t n)
{
    struct plugin_series *s = metric_at(ctx, series);
    if (s != NULL && (s->type == KVP_GAUGE || (s->type == KVP_COUNTER && n >= 0))) {
        atomic_fetch_add_explicit(&s->value, n, memory_order_relaxed);
    }
}

static void host_metric_set(struct kvp_ctx *ctx, uint32_t series, int64_t value)
{
    struct plugin_series *s = metric_at(ctx, series);
    if (s != NULL && s->type == KVP_GAUGE) {
        atomic_store_explicit(&s->value, value, memory_order_relaxed);
    }
}

static void host_metric_observe(struct kvp_ctx *ctx, uint32_t series, double value)
{
    struct plugin_series *s = metric_at(ctx, series);
    if (s == NULL || s->type != KVP_HISTOGRAM) {
        return;
    }
    size_t i = 0;
    while (i < s->bound_count && value > s->bounds[i]) {
        i++;
    }
    atomic_fetch_add_explicit(&s->buckets[i], 1, memory_order_relaxed);
    double sum = atomic_load_explicit(&s->sum, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&s->sum, &sum, sum + value, memory_order_relaxed,
                                                  memory_order_relaxed)) {
    }
}

/* ---- showing -----------------------------------------------------------------------------------
 */

static void metric_label(struct buf *out, const char *name, const char *value, bool first)
{
    buf_printf(out, "%s%s=\"", first ? "" : ",", name);
    for (const char *p = value; *p != '\0'; p++) {
        if (*p == '\\' || *p == '"') {
            buf_append_byte(out, '\\');
            buf_append_byte(out, (uint8_t)*p);
        } else if (*p == '\n') {
            buf_append_str(out, "\\n");
        } else {
            buf_append_byte(out, (uint8_t)*p);
        }
    }
    buf_append_byte(out, '"');
}

/* name, then {labels} with `le` when not NULL. */
static void metric_head(struct buf *out, const char *plugin, const struct plugin_metric *p,
                        const struct plugin_series *s, const char *suffix, const char *le)
{
    buf_printf(out, "kvd_plugin_%s_%s%s", plugin, p->name, suffix);
    if (p->label_count == 0 && le == NULL) {
        return;
    }
    buf_append_byte(out, '{');
    for (size_t i = 0; i < p->label_count; i++) {
        metric_label(out, p->labels[i], s->values[i], i == 0);
    }
    if (le != NULL) {
        metric_label(out, "le", le, p->label_count == 0);
    }
    buf_append_byte(out, '}');
}

static void metric_render_histogram(struct buf *out, const char *plugin,
                                    const struct plugin_metric *p, struct plugin_series *s)
{
    uint64_t count = 0;
    char le[32];
    for (size_t i = 0; i <= p->bound_count; i++) {
        count += atomic_load(&s->buckets[i]);
        if (i < p->bound_count) {
            snprintf(le, sizeof(le), "%.10g", p->bounds[i]);
        }
        metric_head(out, plugin, p, s, "_bucket", i < p->bound_count ? le : "+Inf");
        buf_printf(out, " %" PRIu64 "\n", count);
    }
    metric_head(out, plugin, p, s, "_sum", NULL);
    buf_printf(out, " %.10g\n", atomic_load(&s->sum));
    metric_head(out, plugin, p, s, "_count", NULL);
    buf_printf(out, " %" PRIu64 "\n", count);
}

void metric_set_render(struct metric_set *m, const char *plugin, struct buf *out)
{
    static const char *const types[] = {"", "counter", "gauge", "histogram"};
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < m->metric_count; i++) {
        const struct plugin_metric *p = &m->metrics[i];
        if (p->name == NULL || p->help == NULL) {
            continue;
        }
        buf_printf(out, "# HELP kvd_plugin_%s_%s %s\n# TYPE kvd_plugin_%s_%s %s\n", plugin, p->name,
                   p->help, plugin, p->name, types[p->type]);
        for (size_t k = 0; k < m->series_count; k++) {
            struct plugin_series *s = m->series[k];
            if (s->metric != i) {
                continue;
            }
            if (p->type == KVP_HISTOGRAM) {
                metric_render_histogram(out, plugin, p, s);
            } else {
                metric_head(out, plugin, p, s, "", NULL);
                buf_printf(out, " %" PRId64 "\n", atomic_load(&s->value));
            }
        }
    }
    pthread_mutex_unlock(&m->lock);
}

void metric_calls(struct kvp_host *t)
{
    t->metric = host_metric;
    t->metric_series = host_metric_series;
    t->metric_add = host_metric_add;
    t->metric_set = host_metric_set;
    t->metric_observe = host_metric_observe;
}
