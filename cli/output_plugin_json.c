/* output_plugin_json.c - plugins as JSON: one array, an object per endpoint; see output_plugin.h.
 */
#include "cli/output_plugin.h"

static void json_text(struct json *j, const char *name, const char *value)
{
    json_key(j, name);
    json_cstr(j, value);
}

static void json_number(struct json *j, const char *name, uint64_t value)
{
    json_key(j, name);
    json_uint(j, value);
}

static void json_signed(struct json *j, const char *name, int64_t value)
{
    json_key(j, name);
    json_int(j, value);
}

static void json_truth(struct json *j, const char *name, bool value)
{
    json_key(j, name);
    json_bool(j, value);
}

static void json_plugin_info(struct json *j, const Kvdpb__PluginInfo *p)
{
    json_object(j);
    json_text(j, "name", p->name);
    json_text(j, "version", p->version);
    json_text(j, "about", p->about);
    json_text(j, "file", p->file);
    json_text(j, "sha256", p->sha256);
    json_text(j, "lane", output_plugin_lane((int)p->lane));
    json_number(j, "abi_major", p->abi_major);
    json_number(j, "abi_minor", p->abi_minor);
    json_truth(j, "follows", p->follows);
    json_text(j, "state", output_plugin_state((int)p->state));
    json_text(j, "why", p->why);
    json_signed(j, "since_unix_ms", p->since_unix_ms);
    json_number(j, "term", p->term);
    json_number(j, "epoch", p->epoch);
    json_number(j, "strikes", p->strikes);
    json_object_end(j);
}

static void json_plugin_load(struct json *j, const Kvdpb__PluginLoad *l)
{
    json_object(j);
    json_text(j, "name", l->name);
    json_text(j, "state", output_plugin_state((int)l->state));
    json_number(j, "callbacks", l->callbacks);
    json_number(j, "callbacks_slow", l->callbacks_slow);
    json_number(j, "time_sum_ns", l->time_sum_ns);
    json_number(j, "time_p50_ns", l->time_p50_ns);
    json_number(j, "time_p99_ns", l->time_p99_ns);
    json_number(j, "time_max_ns", l->time_max_ns);
    json_number(j, "queue", l->queue);
    json_number(j, "retries", l->retries);
    json_number(j, "events", l->events);
    json_number(j, "requests", l->requests);
    json_number(j, "writes", l->writes);
    json_number(j, "watches", l->watches);
    json_number(j, "timers", l->timers);
    json_number(j, "memory_bytes", l->memory_bytes);
    json_number(j, "allocations", l->allocations);
    json_text(j, "running", l->running);
    json_number(j, "running_ms", l->running_ms);
    json_signed(j, "running_revision", l->running_revision);
    json_object_end(j);
}

static void json_plugin_options(struct json *j, Kvdpb__PluginOption **options, size_t count)
{
    json_key(j, "options");
    json_array(j);
    for (size_t i = 0; i < count; i++) {
        const Kvdpb__PluginOption *o = options[i];
        json_object(j);
        json_text(j, "name", o->name);
        json_text(j, "type", output_plugin_type((int)o->type));
        json_text(j, "value", o->value);
        json_text(j, "default_value", o->default_value);
        json_signed(j, "minimum", o->minimum);
        json_signed(j, "maximum", o->maximum);
        json_text(j, "words", o->words);
        json_text(j, "help", o->help);
        json_truth(j, "reloadable", o->reloadable);
        json_truth(j, "required", o->required);
        json_truth(j, "secret", o->secret);
        json_text(j, "source", output_plugin_source((int)o->source));
        json_object_end(j);
    }
    json_array_end(j);
}

static void json_plugin_start(struct json *j, const char *endpoint,
                              const Etcdserverpb__ResponseHeader *header)
{
    json_object(j);
    json_text(j, "endpoint", endpoint);
    output_json_header(j, header);
}

static void json_plugin_end(struct json *j, struct buf *out)
{
    json_array_end(j);
    buf_append_byte(out, '\n');
}

void output_json_plugin_list(struct buf *out, const struct output_plugin *answers, size_t count)
{
    struct json j;
    json_init(&j, out);
    json_array(&j);
    for (size_t i = 0; i < count; i++) {
        const Kvdpb__PluginListResponse *r = answers[i].list;
        json_plugin_start(&j, answers[i].endpoint, r->header);
        json_signed(&j, "now_unix_ms", r->now_unix_ms);
        json_key(&j, "plugins");
        json_array(&j);
        for (size_t k = 0; k < r->n_plugins; k++) {
            json_plugin_info(&j, r->plugins[k]);
        }
        json_array_end(&j);
        json_object_end(&j);
    }
    json_plugin_end(&j, out);
}

void output_json_plugin_top(struct buf *out, const struct output_plugin *answers, size_t count)
{
    struct json j;
    json_init(&j, out);
    json_array(&j);
    for (size_t i = 0; i < count; i++) {
        const Kvdpb__PluginTopResponse *r = answers[i].top;
        json_plugin_start(&j, answers[i].endpoint, r->header);
        json_number(&j, "now_mono_ns", r->now_mono_ns);
        json_key(&j, "loads");
        json_array(&j);
        for (size_t k = 0; k < r->n_loads; k++) {
            json_plugin_load(&j, r->loads[k]);
        }
        json_array_end(&j);
        json_object_end(&j);
    }
    json_plugin_end(&j, out);
}

void output_json_plugin_config(struct buf *out, const struct output_plugin *answers, size_t count)
{
    struct json j;
    json_init(&j, out);
    json_array(&j);
    for (size_t i = 0; i < count; i++) {
        const Kvdpb__PluginConfigResponse *r = answers[i].config;
        json_plugin_start(&j, answers[i].endpoint, r->header);
        json_text(&j, "name", r->name);
        json_plugin_options(&j, r->options, r->n_options);
        json_object_end(&j);
    }
    json_plugin_end(&j, out);
}

void output_json_plugin_describe(struct buf *out, const struct output_plugin *answers, size_t count)
{
    struct json j;
    json_init(&j, out);
    json_array(&j);
    for (size_t i = 0; i < count; i++) {
        const Kvdpb__PluginDescribeResponse *r = answers[i].describe;
        json_plugin_start(&j, answers[i].endpoint, r->header);
        json_signed(&j, "now_unix_ms", r->now_unix_ms);
        if (r->plugin != NULL) {
            json_key(&j, "plugin");
            json_plugin_info(&j, r->plugin);
        }
        json_plugin_options(&j, r->options, r->n_options);
        if (r->load != NULL) {
            json_key(&j, "load");
            json_plugin_load(&j, r->load);
        }
        json_object_end(&j);
    }
    json_plugin_end(&j, out);
}

void output_json_plugin_change(struct buf *out, const struct output_plugin *answers, size_t count)
{
    struct json j;
    json_init(&j, out);
    json_array(&j);
    for (size_t i = 0; i < count; i++) {
        const Kvdpb__PluginChangeResponse *r = answers[i].change;
        json_plugin_start(&j, answers[i].endpoint, r->header);
        json_signed(&j, "now_unix_ms", r->now_unix_ms);
        if (r->plugin != NULL) {
            json_key(&j, "plugin");
            json_plugin_info(&j, r->plugin);
        }
        json_text(&j, "previous_version", r->previous_version);
        json_text(&j, "previous_sha256", r->previous_sha256);
        json_object_end(&j);
    }
    json_plugin_end(&j, out);
}
