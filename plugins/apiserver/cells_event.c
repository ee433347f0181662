/* cells_event.c - the cells of events, whose fields have two sets of names. */
#include "plugins/apiserver/cells.h"

#include "plugins/object/instant.h"

/* A value of an event of either group. */
static struct value *event_get(struct cells *c, const char *core, const char *events)
{
    bool is_core = c->object->type == schema_type(SCHEMA_CORE_V1_EVENT);
    return object_get(c->object, is_core ? core : events);
}

static int64_t exact(const struct value *micros)
{
    return micros == NULL ? INSTANT_UNSET : micros->integer;
}

static int64_t first_seen(struct cells *c)
{
    const struct value *first = event_get(c, "firstTimestamp", "deprecatedFirstTimestamp");
    return first != NULL ? cells_micros(first) : exact(object_get(c->object, "eventTime"));
}

static bool has_series(struct cells *c)
{
    return object_get(c->object, "series") != NULL;
}

static void print_first_seen(struct cells *c)
{
    cells_put_since(c, first_seen(c));
}

static void print_last_seen(struct cells *c)
{
    const struct value *last = event_get(c, "lastTimestamp", "deprecatedLastTimestamp");
    if (has_series(c)) {
        cells_put_since(c, exact(object_get(c->object, "series.lastObservedTime")));
    } else {
        cells_put_since(c, last != NULL ? cells_micros(last) : first_seen(c));
    }
}

static void print_type(struct cells *c)
{
    cells_put_path(c, "type", "");
}

static void print_reason(struct cells *c)
{
    cells_put_path(c, "reason", "");
}

static void print_object(struct cells *c)
{
    struct slice kind = value_slice(event_get(c, "involvedObject.kind", "regarding.kind"));
    struct slice name = value_slice(event_get(c, "involvedObject.name", "regarding.name"));
    for (size_t i = 0; i < kind.len; i++) {
        uint8_t byte = kind.data[i];
        buf_append_byte(c->out, byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte);
    }
    if (name.len > 0) {
        cells_put(c, "/");
        cells_put_slice(c, name);
    }
}

static void print_subobject(struct cells *c)
{
    cells_put_slice(c,
                    value_slice(event_get(c, "involvedObject.fieldPath", "regarding.fieldPath")));
}

static void print_source(struct cells *c)
{
    struct slice component =
        value_slice(event_get(c, "source.component", "deprecatedSource.component"));
    struct slice instance = value_slice(event_get(c, "source.host", "deprecatedSource.host"));
    if (component.len == 0) {
        component = value_slice(event_get(c, "reportingComponent", "reportingController"));
    }
    if (instance.len == 0) {
        instance = object_text(c->object, "reportingInstance");
    }
    cells_put_slice(c, component);
    if (instance.len > 0) {
        cells_put(c, ", ");
        cells_put_slice(c, instance);
    }
}

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

static void print_message(struct cells *c)
{
    struct slice text = value_slice(event_get(c, "message", "note"));
    while (text.len > 0 && is_blank(text.data[0])) {
        text = slice_of(text.data + 1, text.len - 1);
    }
    while (text.len > 0 && is_blank(text.data[text.len - 1])) {
        text.len--;
    }
    cells_put_slice(c, text);
}

static void print_count(struct cells *c)
{
    const struct value *count = event_get(c, "count", "deprecatedCount");
    if (has_series(c)) {
        cells_put_int_path(c, "series.count");
    } else {
        cells_put_int(c, count == NULL || count->integer == 0 ? 1 : count->integer);
    }
}

const struct cells_column cells_event[] = {
    {"Last Seen", print_last_seen, false}, {"Type", print_type, false},
    {"Reason", print_reason, false},       {"Object", print_object, false},
    {"Subobject", print_subobject, false}, {"Source", print_source, false},
    {"Message", print_message, false},     {"First Seen", print_first_seen, false},
    {"Count", print_count, true},          {0},
};
