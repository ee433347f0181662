/* meter.c - the meters of one instance, found by name and shown; see meter.h. */
#include "plugins/host/meter.h"

#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"

void meter_set_init(struct meter_set *s)
{
    pthread_mutex_init(&s->lock, NULL);
    list_init(&s->meters);
    s->count = 0;
}

void meter_set_close(struct meter_set *s)
{
    for (struct list *it; (it = list_pop_front(&s->meters)) != NULL;) {
        mem_free(LIST_ENTRY(it, struct meter, link));
    }
    pthread_mutex_destroy(&s->lock);
}

/* With the lock. */
static struct meter *meter_get(struct meter_set *s, const char *name)
{
    LIST_FOREACH (it, &s->meters) {
        struct meter *m = LIST_ENTRY(it, struct meter, link);
        if (strcmp(m->name, name) == 0) {
            return m;
        }
    }
    return NULL;
}

struct meter *meter_find(struct meter_set *s, const char *name)
{
    pthread_mutex_lock(&s->lock);
    struct meter *m = meter_get(s, name);
    if (m == NULL && s->count >= PLUGIN_METERS_MAX - 1) {
        name = "other";
        m = meter_get(s, name);
    }
    if (m == NULL) {
        size_t room = strlen(name) + 1;
        m = mem_zalloc(sizeof(*m) + room);
        if (m != NULL) {
            memcpy(m->name, name, room);
            list_push_back(&s->meters, &m->link);
            s->count++;
        }
    }
    pthread_mutex_unlock(&s->lock);
    return m;
}

void meter_sum(struct meter_set *s, uint64_t *depth, uint64_t *retries)
{
    *depth = *retries = 0;
    pthread_mutex_lock(&s->lock);
    LIST_FOREACH (it, &s->meters) {
        struct meter *m = LIST_ENTRY(it, struct meter, link);
        *depth += atomic_load_explicit(&m->depth, memory_order_relaxed);
        *retries += atomic_load_explicit(&m->retries, memory_order_relaxed);
    }
    pthread_mutex_unlock(&s->lock);
}

/* ---- showing -----------------------------------------------------------------------------------
 */

/* Names are the author's: any byte but NUL. */
static void meter_label(struct buf *out, const char *name)
{
    buf_append_str(out, "{name=\"");
    for (const char *p = name; *p != '\0'; p++) {
        if (*p == '\n') {
            buf_append_str(out, "\\n");
            continue;
        }
        if (*p == '\\' || *p == '"') {
            buf_append_byte(out, '\\');
        }
        buf_append_byte(out, (uint8_t)*p);
    }
    buf_append_byte(out, '"');
}

static uint64_t meter_depth(struct meter *m)
{
    return atomic_load(&m->depth);
}

static uint64_t meter_adds(struct meter *m)
{
    return atomic_load(&m->adds);
}

static uint64_t meter_retries(struct meter *m)
{
    return atomic_load(&m->retries);
}

static void meter_head(struct buf *out, const char *plugin, const char *name, const char *type,
                       const char *help)
{
    buf_printf(out, "# HELP kvd_plugin_%s_workqueue_%s %s\n# TYPE kvd_plugin_%s_workqueue_%s %s\n",
               plugin, name, help, plugin, name, type);
}

static void meter_family(struct meter_set *s, struct buf *out, const char *plugin, const char *name,
                         const char *type, const char *help, uint64_t (*value)(struct meter *m))
{
    meter_head(out, plugin, name, type, help);
    LIST_FOREACH (it, &s->meters) {
        struct meter *m = LIST_ENTRY(it, struct meter, link);
        buf_printf(out, "kvd_plugin_%s_workqueue_%s", plugin, name);
        meter_label(out, m->name);
        buf_printf(out, "} %" PRIu64 "\n", value(m));
    }
}

static void meter_durations(struct meter *m, struct buf *out, const char *plugin)
{
    static const char *const bounds[METER_CLASSES] = {
        "1e-08", "1e-07", "1e-06", "1e-05", "0.0001", "0.001", "0.01", "0.1", "1", "10", "+Inf"};
    uint64_t count = 0;
    for (unsigned i = 0; i < METER_CLASSES; i++) {
        count += atomic_load(&m->work[i]);
        buf_printf(out, "kvd_plugin_%s_workqueue_work_duration_seconds_bucket", plugin);
        meter_label(out, m->name);
        buf_printf(out, ",le=\"%s\"} %" PRIu64 "\n", bounds[i], count);
    }
    buf_printf(out, "kvd_plugin_%s_workqueue_work_duration_seconds_sum", plugin);
    meter_label(out, m->name);
    buf_printf(out, "} %.10g\n", (double)atomic_load(&m->work_ns) / 1e9);
    buf_printf(out, "kvd_plugin_%s_workqueue_work_duration_seconds_count", plugin);
    meter_label(out, m->name);
    buf_printf(out, "} %" PRIu64 "\n", count);
}

void meter_set_render(struct meter_set *s, const char *plugin, struct buf *out)
{
    pthread_mutex_lock(&s->lock);
    if (!list_empty(&s->meters)) {
        meter_family(s, out, plugin, "depth", "gauge", "Keys waiting in line.", meter_depth);
        meter_family(s, out, plugin, "adds_total", "counter", "Keys that got into line.",
                     meter_adds);
        meter_family(s, out, plugin, "retries_total", "counter",
                     "Keys added again with backoff after a failure.", meter_retries);
        meter_head(out, plugin, "work_duration_seconds", "histogram",
                   "From a key's being given to a worker until the worker is through with it.");
        LIST_FOREACH (it, &s->meters) {
            meter_durations(LIST_ENTRY(it, struct meter, link), out, plugin);
        }
    }
    pthread_mutex_unlock(&s->lock);
}
