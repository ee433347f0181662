/* cells.c - which functions make which kind's cells, and what they all use. */
#include "plugins/apiserver/cells.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "plugins/object/instant.h"

#define CELLS_FEW 3u /* entries shown of lists that may be long */

static const struct {
    enum schema_type_id type;
    const struct cells_column *columns;
} kinds[] = {
    {SCHEMA_CORE_V1_POD, cells_pod},
    {SCHEMA_CORE_V1_POD_TEMPLATE, cells_pod_template},
    {SCHEMA_CORE_V1_REPLICATION_CONTROLLER, cells_replicas},
    {SCHEMA_APPS_V1_REPLICA_SET, cells_replicas},
    {SCHEMA_APPS_V1_DEPLOYMENT, cells_deployment},
    {SCHEMA_AUTOSCALING_V1_SCALE, cells_scale},
    {SCHEMA_CORE_V1_SERVICE, cells_service},
    {SCHEMA_CORE_V1_ENDPOINTS, cells_endpoints},
    {SCHEMA_DISCOVERY_V1_ENDPOINT_SLICE, cells_endpoint_slice},
    {SCHEMA_CORE_V1_NODE, cells_node},
    {SCHEMA_CORE_V1_EVENT, cells_event},
    {SCHEMA_EVENTS_V1_EVENT, cells_event},
    {SCHEMA_CORE_V1_NAMESPACE, cells_namespace},
    {SCHEMA_CORE_V1_CONFIG_MAP, cells_config_map},
    {SCHEMA_CORE_V1_SECRET, cells_secret},
    {SCHEMA_SCHEDULING_V1_PRIORITY_CLASS, cells_priority_class},
    {SCHEMA_COORDINATION_V1_LEASE, cells_lease},
};

static const struct cells_column *cells_find_in(const struct cells_column *columns,
                                                const char *name)
{
    for (; columns->name != NULL; columns++) {
        if (strcmp(columns->name, name) == 0) {
            return columns;
        }
    }
    return NULL;
}

const struct cells_column *cells_find(const struct schema_type *type, const char *name)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (type == schema_type(kinds[i].type)) {
            const struct cells_column *own = cells_find_in(kinds[i].columns, name);
            if (own != NULL) {
                return own;
            }
        }
    }
    return cells_find_in(cells_common, name);
}

/* ---- what all use -------------------------------------------------------------------------- */

void cells_put_or(struct cells *c, struct slice text, const char *instead)
{
    cells_put_slice(c, text.len > 0 ? text : slice_str(instead));
}

void cells_put_int(struct cells *c, int64_t v)
{
    buf_append_int(c->out, v);
}

void cells_put_path(struct cells *c, const char *path, const char *instead)
{
    cells_put_or(c, object_text(c->object, path), instead);
}

void cells_put_int_path(struct cells *c, const char *path)
{
    cells_put_int(c, object_int(c->object, path, 0));
}

int64_t cells_micros(const struct value *seconds)
{
    int64_t micros;
    bool bad =
        seconds == NULL || __builtin_mul_overflow(seconds->integer, INT64_C(1000000), &micros);
    return bad ? INSTANT_UNSET : micros;
}

/* "3d4h": a large unit and, where it is few of them, what is left over in a smaller one. */
static void cells_put_units(struct cells *c, int64_t large, char unit, int64_t small,
                            char small_unit)
{
    buf_append_int(c->out, large);
    buf_append_byte(c->out, (uint8_t)unit);
    if (small != 0) {
        buf_append_int(c->out, small);
        buf_append_byte(c->out, (uint8_t)small_unit);
    }
}

void cells_put_since(struct cells *c, int64_t micros)
{
    int64_t gone;
    if (micros == INSTANT_UNSET || __builtin_sub_overflow(c->now_us, micros, &gone)) {
        cells_put(c, "<unknown>");
        return;
    }
    int64_t seconds = gone / 1000000;
    int64_t minutes = seconds / 60;
    int64_t hours = minutes / 60;
    int64_t days = hours / 24;
    if (seconds < -1) {
        cells_put(c, "<invalid>");
    } else if (seconds < 0) {
        cells_put(c, "0s");
    } else if (seconds < 120) {
        cells_put_units(c, seconds, 's', 0, 0);
    } else if (minutes < 10) {
        cells_put_units(c, minutes, 'm', seconds % 60, 's');
    } else if (minutes < 180) {
        cells_put_units(c, minutes, 'm', 0, 0);
    } else if (hours < 8) {
        cells_put_units(c, hours, 'h', minutes % 60, 'm');
    } else if (hours < 48) {
        cells_put_units(c, hours, 'h', 0, 0);
    } else if (days < 8) {
        cells_put_units(c, days, 'd', hours % 24, 'h');
    } else if (days < 2 * 365) {
        cells_put_units(c, days, 'd', 0, 0);
    } else if (days < 8 * 365) {
        cells_put_units(c, days / 365, 'y', days % 365, 'd');
    } else {
        cells_put_units(c, days / 365, 'y', 0, 0);
    }
}

void cells_put_labels(struct cells *c, const struct value *map)
{
    for (size_t i = 0; i < value_len(map); i++) {
        cells_put(c, i > 0 ? "," : "");
        cells_put_slice(c, value_map_key(map, i));
        cells_put(c, "=");
        cells_put_slice(c, value_slice(value_map_at(map, i)));
    }
    cells_put(c, value_len(map) == 0 ? "<none>" : "");
}

bool cells_next_of_few(struct cells *c, size_t *count)
{
    bool shown = *count < CELLS_FEW;
    cells_put(c, shown && *count > 0 ? "," : "");
    ++*count;
    return shown;
}

void cells_end_of_few(struct cells *c, size_t count)
{
    if (count > CELLS_FEW) {
        buf_printf(c->out, " + %zu more...", count - CELLS_FEW);
    }
}

struct slice cells_format(struct cells *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = n < 0 ? NULL : arena_alloc(c->arena, (size_t)n + 1);
    if (text == NULL) {
        c->out->failed = true;
        return slice_of("", 0);
    }
    va_start(args, format);
    vsnprintf(text, (size_t)n + 1, format, args);
    va_end(args);
    return slice_of(text, (size_t)n);
}

static int compare_texts(const void *a, const void *b)
{
    return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

void cells_put_sorted(struct cells *c, struct slice *texts, size_t count, bool *first)
{
    qsort(texts, count, sizeof *texts, compare_texts);
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || !slice_eq(texts[i - 1], texts[i])) {
            cells_put_next(c, texts[i], first);
        }
    }
}

void cells_put_next(struct cells *c, struct slice text, bool *first)
{
    cells_put(c, *first ? "" : ",");
    cells_put_slice(c, text);
    *first = false;
}

/* ---- common columns ------------------------------------------------------------------------ */

static void print_name(struct cells *c)
{
    cells_put_path(c, "metadata.name", "");
}

static void print_age(struct cells *c)
{
    cells_put_since(c, cells_micros(object_get(c->object, "metadata.creationTimestamp")));
}

static void print_created_at(struct cells *c)
{
    char text[INSTANT_TEXT_BYTES_MAX];
    const struct value *v = object_get(c->object, "metadata.creationTimestamp");
    if (v == NULL) {
        cells_put(c, "0001-01-01T00:00:00Z");
    } else {
        cells_put_slice(c, slice_of(text, instant_print(v->integer, text)));
    }
}

const struct cells_column cells_common[] = {
    {"Name", print_name, false},
    {"Age", print_age, false},
    {"Created At", print_created_at, false},
    {0},
};
