/* svc_plugin_answer.c - the host's structs as messages, field by field; see svc_plugin_answer.h. */
#include "rpc/svc_plugin_answer.h"

#include <string.h>

#include "base/buf.h"
#include "base/gosyntax.h"
#include "base/utf8.h"

/* Both sides keep their own names for the same numbers. */
#define SAME(ours, wire) _Static_assert((int)(ours) == (int)(wire), #ours)
SAME(PLUGIN_STATE_NONE, KVDPB__PLUGIN_STATE__PLUGIN_STATE_UNKNOWN);
SAME(PLUGIN_STARTING, KVDPB__PLUGIN_STATE__STARTING);
SAME(PLUGIN_LOADED, KVDPB__PLUGIN_STATE__LOADED);
SAME(PLUGIN_FOLLOWING, KVDPB__PLUGIN_STATE__FOLLOWING);
SAME(PLUGIN_LEADING, KVDPB__PLUGIN_STATE__LEADING);
SAME(PLUGIN_STOPPING, KVDPB__PLUGIN_STATE__STOPPING);
SAME(PLUGIN_STOPPED, KVDPB__PLUGIN_STATE__STOPPED);
SAME(PLUGIN_DISABLED, KVDPB__PLUGIN_STATE__DISABLED);
SAME(PLUGIN_QUARANTINED, KVDPB__PLUGIN_STATE__QUARANTINED);
SAME(PLUGIN_FAILED, KVDPB__PLUGIN_STATE__FAILED);
SAME(PLUGIN_LANE_THREAD, KVDPB__PLUGIN_LANE__LANE_THREAD);
SAME(PLUGIN_LANE_LOOP, KVDPB__PLUGIN_LANE__LANE_LOOP);
SAME(PLUGIN_OPTION_BOOL, KVDPB__PLUGIN_OPTION_TYPE__OPTION_BOOL);
SAME(PLUGIN_OPTION_INT, KVDPB__PLUGIN_OPTION_TYPE__OPTION_INT);
SAME(PLUGIN_OPTION_DURATION, KVDPB__PLUGIN_OPTION_TYPE__OPTION_DURATION);
SAME(PLUGIN_OPTION_SIZE, KVDPB__PLUGIN_OPTION_TYPE__OPTION_SIZE);
SAME(PLUGIN_OPTION_STRING, KVDPB__PLUGIN_OPTION_TYPE__OPTION_STRING);
SAME(PLUGIN_FROM_DEFAULT, KVDPB__PLUGIN_OPTION_SOURCE__SOURCE_DEFAULT);
SAME(PLUGIN_FROM_FLAG, KVDPB__PLUGIN_OPTION_SOURCE__SOURCE_FLAG);
SAME(PLUGIN_FROM_RELOAD, KVDPB__PLUGIN_OPTION_SOURCE__SOURCE_RELOAD);

char *svc_plugin_text(struct arena *a, const char *text)
{
    if (text == NULL) {
        return (char *)"";
    }
    if (utf8_valid(slice_str(text))) {
        return (char *)text;
    }
    struct buf visible;
    char *out = NULL;
    buf_init(&visible);
    go_visible(&visible, slice_str(text));
    buf_append_byte(&visible, 0);
    if (!visible.failed) {
        out = (char *)arena_dup(a, buf_slice(&visible)).data;
    }
    buf_close(&visible);
    return out;
}

Kvdpb__PluginInfo *svc_plugin_info(struct arena *a, const struct plugin_info *p)
{
    Kvdpb__PluginInfo *m = arena_alloc(a, sizeof(*m));
    if (m == NULL) {
        return NULL;
    }
    kvdpb__plugin_info__init(m);
    m->name = svc_plugin_text(a, p->name);
    m->version = svc_plugin_text(a, p->version);
    m->about = svc_plugin_text(a, p->about);
    m->file = svc_plugin_text(a, p->file);
    m->sha256 = svc_plugin_text(a, p->sha256);
    m->why = svc_plugin_text(a, p->why);
    m->lane = (Kvdpb__PluginLane)p->lane;
    m->abi_major = p->abi_major;
    m->abi_minor = p->abi_minor;
    m->follows = p->follows;
    m->state = (Kvdpb__PluginState)p->state;
    m->since_unix_ms = (int64_t)p->since_unix_ms;
    m->term = p->term;
    m->epoch = p->epoch;
    m->strikes = p->strikes;
    bool whole = m->name != NULL && m->version != NULL && m->about != NULL && m->file != NULL &&
                 m->sha256 != NULL && m->why != NULL;
    return whole ? m : NULL;
}

Kvdpb__PluginLoad *svc_plugin_load(struct arena *a, const struct plugin_info *p)
{
    const struct plugin_load *l = &p->load;
    Kvdpb__PluginLoad *m = arena_alloc(a, sizeof(*m));
    if (m == NULL) {
        return NULL;
    }
    kvdpb__plugin_load__init(m);
    m->name = svc_plugin_text(a, p->name);
    m->state = (Kvdpb__PluginState)p->state;
    m->callbacks = l->callbacks;
    m->callbacks_slow = l->callbacks_slow;
    m->time_sum_ns = l->time_sum_ns;
    m->time_p50_ns = l->time_p50_ns;
    m->time_p99_ns = l->time_p99_ns;
    m->time_max_ns = l->time_max_ns;
    m->queue = l->queue;
    m->retries = l->retries;
    m->events = l->events;
    m->requests = l->requests;
    m->writes = l->writes;
    m->watches = l->watches;
    m->timers = l->timers;
    m->memory_bytes = l->memory_bytes;
    m->allocations = l->allocations;
    m->running = svc_plugin_text(a, l->running);
    m->running_ms = l->running_ms;
    m->running_revision = l->running_revision;
    return m->name != NULL && m->running != NULL ? m : NULL;
}

static Kvdpb__PluginOption *svc_plugin_option(struct arena *a, const struct plugin_option *o)
{
    Kvdpb__PluginOption *m = arena_alloc(a, sizeof(*m));
    if (m == NULL) {
        return NULL;
    }
    kvdpb__plugin_option__init(m);
    m->name = svc_plugin_text(a, o->name);
    m->type = (Kvdpb__PluginOptionType)o->type;
    /* The last place before the wire: a host that hands a secret over does not give it away. */
    m->value = svc_plugin_text(a, o->secret ? NULL : o->value);
    m->default_value = svc_plugin_text(a, o->secret ? NULL : o->default_value);
    m->minimum = o->minimum;
    m->maximum = o->maximum;
    m->words = svc_plugin_text(a, o->words);
    m->help = svc_plugin_text(a, o->help);
    m->reloadable = o->reloadable;
    m->required = o->required;
    m->secret = o->secret;
    m->source = (Kvdpb__PluginOptionSource)o->source;
    bool whole = m->name != NULL && m->value != NULL && m->default_value != NULL &&
                 m->words != NULL && m->help != NULL;
    return whole ? m : NULL;
}

Kvdpb__PluginOption **svc_plugin_options(struct arena *a, const struct plugin_info *p,
                                         size_t *count, bool *failed)
{
    *count = 0;
    if (p->option_count == 0) {
        return NULL;
    }
    Kvdpb__PluginOption **list = arena_alloc(a, p->option_count * sizeof(*list));
    for (size_t i = 0; list != NULL && i < p->option_count; i++) {
        list[i] = svc_plugin_option(a, &p->options[i]);
        if (list[i] == NULL) {
            list = NULL;
        }
    }
    *failed = *failed || list == NULL;
    *count = list != NULL ? p->option_count : 0;
    return list;
}
