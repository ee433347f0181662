/* log.c - lines and notices of plugins, in the process's log. */
#include "base/log.h"

#include <stdio.h>

#include "plugins/host/host_impl.h"

static enum log_level log_level_of(int level)
{
    /* A plugin cannot end the process by a line: panic and fatal are the host's. */
    return level <= KVP_DEBUG  ? LOG_DEBUG
           : level == KVP_INFO ? LOG_INFO
           : level == KVP_WARN ? LOG_WARN
                               : LOG_ERROR;
}

static struct log_field log_field_of(const struct kvp_field *f, char *scratch, size_t room)
{
    switch (f->type) {
    case KVP_FIELD_INT:
        return F_INT(f->name, f->v.i);
    case KVP_FIELD_UINT:
        return F_UINT(f->name, f->v.u);
    case KVP_FIELD_BYTES:
        return F_BYTES(f->name, bytes_slice(f->v.bytes));
    case KVP_FIELD_DOUBLE:
        snprintf(scratch, room, "%.10g", f->v.d);
        return F_STR(f->name, scratch);
    default:
        return F_STR(f->name, f->v.str != NULL ? f->v.str : "");
    }
}

void log_tell_dropped(struct instance *in)
{
    uint64_t dropped = atomic_load(&in->log_dropped);
    uint64_t told = atomic_exchange(&in->log_told, dropped);
    if (dropped > told) {
        LOG(LOG_WARN, "a plugin logs too much: lines were dropped", F_STR("plugin", in->name),
            F_UINT("dropped", dropped - told), F_UINT("lines-per-second", PLUGIN_LOG_LINES_PER_S));
    }
}

bool log_allowed(struct instance *in)
{
    uint64_t second = lane_now(&in->lane) / 1000u;
    uint64_t last = atomic_load(&in->log_second);
    if (second != last && atomic_compare_exchange_strong(&in->log_second, &last, second)) {
        atomic_store(&in->log_lines, 0);
        log_tell_dropped(in);
    }
    if (atomic_fetch_add(&in->log_lines, 1) < PLUGIN_LOG_LINES_PER_S) {
        return true;
    }
    atomic_fetch_add(&in->log_dropped, 1);
    return false;
}

static void host_log(struct kvp_ctx *ctx, int level, const char *event,
                     const struct kvp_field *fields, size_t count)
{
    struct log_field out[PLUGIN_LOG_FIELDS_MAX + 3];
    char numbers[PLUGIN_LOG_FIELDS_MAX][32];
    size_t n = 0;
    if (ctx == NULL || !log_enabled(log_level_of(level)) || !log_allowed(ctx->instance)) {
        return;
    }
    out[n++] = F_STR("plugin", ctx->instance->name);
    if (ctx->is_term) {
        out[n++] = F_UINT("term", ctx->stamp.term);
    }
    for (size_t i = 0; i < count && i < PLUGIN_LOG_FIELDS_MAX; i++) {
        if (fields[i].name != NULL) {
            out[n++] = log_field_of(&fields[i], numbers[i], sizeof(numbers[i]));
        }
    }
    out[n] = (struct log_field){.name = NULL};
    log_write(log_level_of(level), __FILE__, __LINE__, event, out);
}

static int host_log_enabled(struct kvp_ctx *ctx, int level)
{
    (void)ctx;
    return log_enabled(log_level_of(level));
}

void log_calls(struct kvp_host *t)
{
    t->log = host_log;
    t->log_enabled = host_log_enabled;
}
