/* table.c - column definitions and rows. */
#include "plugins/apiserver/table.h"

#include <pthread.h>

#include "plugins/apiserver/cells.h"
#include "plugins/object/encode.h"

/* A column of a type that is no kind, and so has none in the schema. */
struct table_extra {
    const char *name, *type, *format, *about;
};

static const struct table_extra default_columns[] = {
    {"Name", "string", "name", ""},
    {"Created At", "date", "", ""},
};
static const struct table_extra scale_columns[] = {
    {"Name", "string", "", ""},
    {"Desired", "integer", "", "Replicas wanted."},
    {"Available", "integer", "", "Replicas there are."},
    {"Age", "string", "", ""},
};

/* The columns of a type that has none in the schema. */
static const struct table_extra *table_extra(const struct schema_type *type, size_t *count)
{
    if (type == schema_type(SCHEMA_AUTOSCALING_V1_SCALE)) {
        *count = sizeof scale_columns / sizeof scale_columns[0];
        return scale_columns;
    }
    *count = sizeof default_columns / sizeof default_columns[0];
    return default_columns;
}

/* What a column says about itself; names and ages are the metadata's. */
static const char *table_about(const char *name, const char *about)
{
    static const char *const borrowed[][2] = {
        {"Name", "name"}, {"Age", "creationTimestamp"}, {"Created At", "creationTimestamp"}};
    for (size_t i = 0; i < sizeof borrowed / sizeof borrowed[0] && about[0] == 0; i++) {
        if (strcmp(name, borrowed[i][0]) == 0) {
            const struct schema_field *f =
                schema_find(schema_type(SCHEMA_META_V1_OBJECT_META), slice_str(borrowed[i][1]));
            return schema_text(f, f->about);
        }
    }
    return about;
}

static void table_print_column(const char *name, const char *type, const char *format,
                               const char *about, int priority, struct buf *out)
{
    buf_append_str(out, "{\"name\":");
    encode_text(slice_str(name), out);
    buf_printf(out, ",\"type\":\"%s\",\"format\":\"%s\",\"description\":", type, format);
    encode_text(slice_str(table_about(name, about)), out);
    buf_printf(out, ",\"priority\":%d}", priority);
}

void table_print_columns(const struct schema_type *type, struct buf *out)
{
    const struct schema_resource *kind = schema_resource_of(type);
    size_t count = kind == NULL ? 0 : kind->column_count;
    const struct schema_column *columns = count == 0 ? NULL : schema_at(kind, kind->columns);
    buf_append_byte(out, '[');
    for (size_t i = 0; i < count; i++) {
        const struct schema_column *k = columns + i;
        buf_append_str(out, i > 0 ? "," : "");
        table_print_column(schema_text(k, k->name), schema_text(k, k->type),
                           schema_text(k, k->format), schema_text(k, k->about), k->priority, out);
    }
    if (count == 0) {
        const struct table_extra *extra = table_extra(type, &count);
        for (size_t i = 0; i < count; i++) {
            buf_append_str(out, i > 0 ? "," : "");
            table_print_column(extra[i].name, extra[i].type, extra[i].format, extra[i].about, 0,
                               out);
        }
    }
    buf_append_byte(out, ']');
}

/* The functions of the columns that the schema has, found once: a list asks for them for each of
 * its rows. */
#define TABLE_KINDS_MAX   96u
#define TABLE_COLUMNS_MAX 16u
static const struct cells_column *found[TABLE_KINDS_MAX][TABLE_COLUMNS_MAX];
static pthread_once_t found_once = PTHREAD_ONCE_INIT;

static void table_find_all(void)
{
    for (size_t i = 0; i < schema_resource_count && i < TABLE_KINDS_MAX; i++) {
        const struct schema_resource *kind = schema_resources + i;
        const struct schema_column *columns = schema_at(kind, kind->columns);
        for (size_t k = 0; k < kind->column_count && k < TABLE_COLUMNS_MAX; k++) {
            found[i][k] =
                cells_find(schema_at(kind, kind->type), schema_text(columns + k, columns[k].name));
        }
    }
}

/* The function of column k of a kind. */
static const struct cells_column *table_column(const struct schema_type *type,
                                               const struct schema_resource *kind, size_t k)
{
    size_t i = (size_t)(kind - schema_resources);
    (void)pthread_once(&found_once, table_find_all);
    if (i < TABLE_KINDS_MAX && k < TABLE_COLUMNS_MAX && schema_at(kind, kind->type) == type) {
        return found[i][k];
    }
    const struct schema_column *columns = schema_at(kind, kind->columns);
    return cells_find(type, schema_text(columns + k, columns[k].name));
}

/* One cell, by way of text, which is the caller's to use again. */
static void table_print_cell(struct cells *c, const struct cells_column *column, struct buf *out)
{
    if (column == NULL) {
        buf_append_str(out, "null");
        return;
    }
    buf_clear(c->out);
    column->print(c);
    if (column->json) {
        buf_append_slice(out, buf_slice(c->out));
    } else {
        encode_text(buf_slice(c->out), out);
    }
    out->failed = out->failed || c->out->failed;
}

/* Rows of pods that are through say so. */
static void table_print_conditions(const struct object *o, struct buf *out)
{
    const struct value *phase =
        o->type == schema_type(SCHEMA_CORE_V1_POD) ? object_get(o, "status.phase") : NULL;
    bool failed = value_is_text(phase, "Failed");
    if (failed || value_is_text(phase, "Succeeded")) {
        buf_printf(out,
                   ",\"conditions\":[{\"type\":\"Completed\",\"status\":\"True\",\"reason\":"
                   "\"%s\",\"message\":\"%s\"}]",
                   failed ? "Failed" : "Succeeded",
                   failed ? "The pod failed." : "The pod has completed successfully.");
    }
}

void table_print_cells(const struct object *o, int64_t now_us, struct arena *scratch,
                       struct buf *out)
{
    const struct schema_resource *kind = schema_resource_of(o->type);
    size_t count = kind == NULL ? 0 : kind->column_count;
    const struct table_extra *extra = count == 0 ? table_extra(o->type, &count) : NULL;
    struct buf text;
    buf_init(&text);
    struct cells c = {.object = o, .now_us = now_us, .arena = scratch, .out = &text};
    buf_append_str(out, "\"cells\":[");
    for (size_t i = 0; i < count; i++) {
        buf_append_str(out, i > 0 ? "," : "");
        table_print_cell(
            &c, extra != NULL ? cells_find(o->type, extra[i].name) : table_column(o->type, kind, i),
            out);
    }
    buf_append_byte(out, ']');
    table_print_conditions(o, out);
    buf_close(&text);
}
