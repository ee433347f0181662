/* output_plugin.c - plugins as columns and named lines; see output_plugin.h. */
#include "cli/output_plugin.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/gosyntax.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- words and numbers -------------------------------------------------------------------------
 */

static const char *plugin_word(const char *const *words, size_t count, int number)
{
    return number >= 0 && (size_t)number < count ? words[number] : "unknown";
}

const char *output_plugin_state(int state)
{
    static const char *const words[] = {"unknown",     "starting", "loaded",  "following",
                                        "leading",     "stopping", "stopped", "disabled",
                                        "quarantined", "failed"};
    return plugin_word(words, COUNT(words), state);
}

const char *output_plugin_lane(int lane)
{
    static const char *const words[] = {"unknown", "thread", "loop"};
    return plugin_word(words, COUNT(words), lane);
}

const char *output_plugin_type(int type)
{
    static const char *const words[] = {"unknown", "bool", "int", "duration", "size", "string"};
    return plugin_word(words, COUNT(words), type);
}

const char *output_plugin_source(int source)
{
    static const char *const words[] = {"default", "flag", "reload"};
    return plugin_word(words, COUNT(words), source);
}

/* Three digits are enough to compare. */
static void plugin_fraction(double value, const char *unit, char *out)
{
    int digits = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
    snprintf(out, OUTPUT_TIME_BYTES_MAX, "%.*f%s", digits, value, unit);
}

void output_plugin_time(uint64_t ns, char out[OUTPUT_TIME_BYTES_MAX])
{
    static const struct {
        uint64_t seconds;
        const char *unit;
        uint64_t part_seconds;
        const char *part;
    } rows[] = {{86400, "d", 3600, "h"}, {3600, "h", 60, "m"}, {60, "m", 1, "s"}};
    uint64_t seconds = ns / 1000000000;
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (seconds >= rows[i].seconds) {
            snprintf(out, OUTPUT_TIME_BYTES_MAX, "%" PRIu64 "%s%" PRIu64 "%s",
                     seconds / rows[i].seconds, rows[i].unit,
                     seconds % rows[i].seconds / rows[i].part_seconds, rows[i].part);
            return;
        }
    }
    if (ns < 1000) {
        snprintf(out, OUTPUT_TIME_BYTES_MAX, "%" PRIu64 "ns", ns);
    } else if (ns < 1000000) {
        plugin_fraction((double)ns / 1e3, "µs", out);
    } else if (ns < 1000000000) {
        plugin_fraction((double)ns / 1e6, "ms", out);
    } else {
        plugin_fraction((double)ns / 1e9, "s", out);
    }
}

/* How long since; "" when it is not known. Both times are the member's. */
static void plugin_age(int64_t since_ms, int64_t now_ms, char out[OUTPUT_TIME_BYTES_MAX])
{
    out[0] = '\0';
    if (since_ms > 0 && now_ms >= since_ms && now_ms - since_ms < INT64_MAX / 1000000) {
        /* Whole seconds: the rest is noise. */
        uint64_t seconds = (uint64_t)(now_ms - since_ms) / 1000;
        if (seconds < 60) {
            snprintf(out, OUTPUT_TIME_BYTES_MAX, "%" PRIu64 "s", seconds);
        } else {
            output_plugin_time(seconds * 1000000000, out);
        }
    }
}

static void plugin_number(int type, int64_t value, char *out, size_t room)
{
    static const struct {
        int64_t bytes;
        const char *unit;
    } units[] = {{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}};
    if (type == KVDPB__PLUGIN_OPTION_TYPE__OPTION_DURATION && value < INT64_MAX / 1000000 &&
        value > INT64_MIN / 1000000) {
        char text[GO_DURATION_BYTES_MAX];
        go_duration_print(value * 1000000, text);
        snprintf(out, room, "%s", text);
        return;
    }
    for (size_t i = 0; type == KVDPB__PLUGIN_OPTION_TYPE__OPTION_SIZE && i < COUNT(units); i++) {
        if (value != 0 && value % units[i].bytes == 0) {
            snprintf(out, room, "%" PRId64 "%s", value / units[i].bytes, units[i].unit);
            return;
        }
    }
    snprintf(out, room, "%" PRId64, value);
}

/* What values an option may have. */
static void plugin_bounds(const Kvdpb__PluginOption *option, char *out, size_t room)
{
    char low[GO_DURATION_BYTES_MAX];
    char high[GO_DURATION_BYTES_MAX];
    if (option->minimum == 0 && option->maximum == 0) {
        snprintf(out, room, "%s", option->words);
        return;
    }
    plugin_number((int)option->type, option->minimum, low, sizeof(low));
    plugin_number((int)option->type, option->maximum, high, sizeof(high));
    snprintf(out, room, "%s..%s", low, high);
}

/* ---- lists -------------------------------------------------------------------------------------
 */

static void plugin_rows(const struct output *o, struct output_table *t, struct buf *out)
{
    if (o->form == OUTPUT_TABLE) {
        output_table_framed(t, out);
    } else {
        output_table_columns(t, out);
    }
    output_table_close(t);
}

void output_plugin_list(const struct output *o, const struct output_plugin *answers, size_t count,
                        struct buf *out)
{
    static const char *const titles[] = {"endpoint", "name", "version", "state",
                                         "for",      "term", "lane",    "about or why"};
    const size_t skip = count > 1 ? 0 : 1; /* one endpoint needs no column */
    struct output_table t;
    if (o->form == OUTPUT_JSON) {
        output_json_plugin_list(out, answers, count);
        return;
    }
    output_table_init(&t, titles + skip, COUNT(titles) - skip);
    for (size_t i = 0; i < count; i++) {
        const Kvdpb__PluginListResponse *r = answers[i].list;
        for (size_t k = 0; k < r->n_plugins; k++) {
            const Kvdpb__PluginInfo *p = r->plugins[k];
            char age[OUTPUT_TIME_BYTES_MAX];
            if (skip == 0) {
                output_table_cell(&t, "%s", answers[i].endpoint);
            }
            plugin_age(p->since_unix_ms, r->now_unix_ms, age);
            output_table_cell(&t, "%s", p->name);
            output_table_cell(&t, "%s", p->version);
            output_table_cell(&t, "%s", output_plugin_state((int)p->state));
            output_table_cell(&t, "%s", age);
            if (p->term != 0) {
                output_table_cell(&t, "%" PRIu64, p->term);
            } else {
                output_table_cell(&t, "%s", "");
            }
            output_table_cell(&t, "%s", p->lane != 0 ? output_plugin_lane((int)p->lane) : "");
            output_table_cell(&t, "%s", *p->why != '\0' ? p->why : p->about);
        }
    }
    plugin_rows(o, &t, out);
}

static void plugin_option_cells(struct output_table *t, const Kvdpb__PluginOption *option)
{
    char bounds[256];
    bool given = option->source != KVDPB__PLUGIN_OPTION_SOURCE__SOURCE_DEFAULT;
    plugin_bounds(option, bounds, sizeof(bounds));
    output_table_cell(t, "%s", option->name);
    output_table_cell(t, "%s", !option->secret ? option->value : given ? "(secret)" : "");
    output_table_cell(t, "%s", output_plugin_source((int)option->source));
    output_table_cell(t, "%s", option->required ? "(required)" : option->default_value);
    output_table_cell(t, "%s", output_plugin_type((int)option->type));
    output_table_cell(t, "%s", bounds);
    output_table_cell(t, "%s", option->reloadable ? "reload" : "restart");
    output_table_cell(t, "%s", option->help);
}

#define PLUGIN_OPTION_TITLES \
    "option", "value", "from", "default", "type", "bounds", "change", "help"

void output_plugin_config(const struct output *o, const struct output_plugin *answers, size_t count,
                          struct buf *out)
{
    static const char *const titles[] = {"endpoint", PLUGIN_OPTION_TITLES};
    const size_t skip = count > 1 ? 0 : 1;
    struct output_table t;
    if (o->form == OUTPUT_JSON) {
        output_json_plugin_config(out, answers, count);
        return;
    }
    output_table_init(&t, titles + skip, COUNT(titles) - skip);
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < answers[i].config->n_options; k++) {
            if (skip == 0) {
                output_table_cell(&t, "%s", answers[i].endpoint);
            }
            plugin_option_cells(&t, answers[i].config->options[k]);
        }
    }
    plugin_rows(o, &t, out);
}

/* ---- one plugin --------------------------------------------------------------------------------
 */

/* "Title:      text", nothing when there is no text. The text is the server's: escaped. */
static void plugin_line(struct buf *out, const char *title, const char *text)
{
    if (*text != '\0') {
        buf_printf(out, "%s:%*s", title, (int)(11 - strlen(title)), "");
        go_visible(out, slice_str(text));
        buf_append_byte(out, '\n');
    }
}

static void plugin_describe_load(const Kvdpb__PluginLoad *l, struct buf *out)
{
    char sum[OUTPUT_TIME_BYTES_MAX];
    char p50[OUTPUT_TIME_BYTES_MAX];
    char p99[OUTPUT_TIME_BYTES_MAX];
    char most[OUTPUT_TIME_BYTES_MAX];
    char memory[OUTPUT_TIME_BYTES_MAX];
    output_plugin_time(l->time_sum_ns, sum);
    output_plugin_time(l->time_p50_ns, p50);
    output_plugin_time(l->time_p99_ns, p99);
    output_plugin_time(l->time_max_ns, most);
    output_size(l->memory_bytes > INT64_MAX ? INT64_MAX : (int64_t)l->memory_bytes, memory,
                sizeof(memory));
    buf_printf(out, "Callbacks:  %" PRIu64 " in %s; p50 %s, p99 %s, longest %s; %" PRIu64 " slow\n",
               l->callbacks, sum, p50, p99, most, l->callbacks_slow);
    buf_printf(out,
               "Under way:  %" PRIu64 " requests, %" PRIu64 " writes, %" PRIu64 " watches, %" PRIu64
               " timers, %" PRIu64 " keys queued\n",
               l->requests, l->writes, l->watches, l->timers, l->queue);
    buf_printf(out, "Done:       %" PRIu64 " events, %" PRIu64 " retries\n", l->events, l->retries);
    buf_printf(out, "Memory:     %s in %" PRIu64 " allocations\n", memory, l->allocations);
    if (*l->running != '\0') {
        char took[OUTPUT_TIME_BYTES_MAX];
        output_plugin_time(l->running_ms * 1000000, took);
        buf_append_str(out, "Running:    ");
        go_visible(out, slice_str(l->running));
        buf_printf(out, " for %s", took);
        if (l->running_revision != 0) {
            buf_printf(out, ", revision %" PRId64, l->running_revision);
        }
        buf_append_byte(out, '\n');
    }
}

static void plugin_describe_info(const Kvdpb__PluginInfo *p, int64_t now_ms, struct buf *out)
{
    char age[OUTPUT_TIME_BYTES_MAX];
    plugin_age(p->since_unix_ms, now_ms, age);
    plugin_line(out, "Name", p->name);
    plugin_line(out, "Version", p->version);
    plugin_line(out, "About", p->about);
    buf_printf(out, "State:      %s", output_plugin_state((int)p->state));
    buf_printf(out, *age != '\0' ? " for %s\n" : "%s\n", age);
    plugin_line(out, "Why", p->why);
    if (p->term != 0) {
        buf_printf(out, "Term:       %" PRIu64 ", epoch %" PRIu64 "\n", p->term, p->epoch);
    }
    plugin_line(out, "File", p->file);
    plugin_line(out, "SHA-256", p->sha256);
    if (p->abi_major != 0) {
        buf_printf(out, "ABI:        %" PRIu32 ".%" PRIu32 "\n", p->abi_major, p->abi_minor);
    }
    if (p->lane != 0) {
        buf_printf(out, "Lane:       %s\n", output_plugin_lane((int)p->lane));
    }
    buf_printf(out, "Works on:   %s\n", p->follows ? "every member" : "the leader");
    buf_printf(out, "Strikes:    %" PRIu32 "\n", p->strikes);
}

void output_plugin_describe(const struct output *o, const struct output_plugin *answers,
                            size_t count, struct buf *out)
{
    static const char *const titles[] = {PLUGIN_OPTION_TITLES};
    if (o->form == OUTPUT_JSON) {
        output_json_plugin_describe(out, answers, count);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const Kvdpb__PluginDescribeResponse *r = answers[i].describe;
        if (i > 0) {
            buf_append_byte(out, '\n');
        }
        if (count > 1) {
            plugin_line(out, "Endpoint", answers[i].endpoint);
        }
        if (r->plugin != NULL) {
            plugin_describe_info(r->plugin, r->now_unix_ms, out);
        }
        if (r->load != NULL) {
            plugin_describe_load(r->load, out);
        }
        if (r->n_options > 0) {
            struct output_table t;
            output_table_init(&t, titles, COUNT(titles));
            for (size_t k = 0; k < r->n_options; k++) {
                plugin_option_cells(&t, r->options[k]);
            }
            buf_append_byte(out, '\n');
            output_table_columns(&t, out);
            output_table_close(&t);
        }
    }
}

/* What a reload did to the code, "" when nothing is known. */
static void plugin_code_change(const Kvdpb__PluginChangeResponse *r, struct buf *out)
{
    const Kvdpb__PluginInfo *p = r->plugin;
    if (*r->previous_version == '\0' && *r->previous_sha256 == '\0') {
        return;
    }
    buf_append_str(out, ": version ");
    go_visible(out, slice_str(p->version));
    if (strcmp(p->version, r->previous_version) != 0) {
        buf_append_str(out, " (was ");
        go_visible(out, slice_str(r->previous_version));
        buf_append_byte(out, ')');
    }
    if (*r->previous_sha256 != '\0') {
        buf_append_str(out, strcmp(p->sha256, r->previous_sha256) != 0 ? ", new code"
                                                                       : ", the same code");
    }
}

void output_plugin_change(const struct output *o, const char *done,
                          const struct output_plugin *answers, size_t count, struct buf *out)
{
    if (o->form == OUTPUT_JSON) {
        output_json_plugin_change(out, answers, count);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const Kvdpb__PluginInfo *p = answers[i].change->plugin;
        if (p == NULL) {
            continue;
        }
        if (count > 1) {
            buf_printf(out, "%s: ", answers[i].endpoint);
        }
        go_visible(out, slice_str(p->name));
        buf_printf(out, " %s", done);
        plugin_code_change(answers[i].change, out);
        buf_printf(out, "; it is %s", output_plugin_state((int)p->state));
        if (*p->why != '\0') {
            buf_append_str(out, " (");
            go_visible(out, slice_str(p->why));
            buf_append_byte(out, ')');
        }
        buf_append_byte(out, '\n');
    }
}
