/* admin.c - rpc/plugin_admin.h over the host: names and facts are read here, changes are
 * change.c's. */
#include "plugins/host/admin.h"

#include <string.h>

#include "base/clock.h"
#include "plugins/host/change.h"
#include "plugins/host/host_impl.h"
#include "plugins/host/settings.h"

/* ---- facts -------------------------------------------------------------------------------------
 */

static enum plugin_state admin_state(const struct plugin *p)
{
    switch (p->state) {
    case HOST_REFUSED:
        return PLUGIN_FAILED;
    case HOST_QUARANTINED:
        return PLUGIN_QUARANTINED;
    case HOST_DISABLED:
        return PLUGIN_DISABLED;
    case HOST_STARTING:
        return PLUGIN_STARTING;
    case HOST_LEADING:
        return PLUGIN_LEADING;
    case HOST_STOPPING:
        return PLUGIN_STOPPING;
    case HOST_READY:
        return p->failed                                  ? PLUGIN_STOPPED
               : (p->descriptor->flags & KVP_FOLLOW) != 0 ? PLUGIN_FOLLOWING
                                                          : PLUGIN_LOADED;
    }
    return PLUGIN_STATE_NONE;
}

/* Deaths that would still count at the next one. */
static uint32_t admin_strikes(struct plugin *p)
{
    struct plugin_host *h = p->host;
    uint32_t strikes = 0;
    const struct crumb *c =
        h->crumbs.crumbs != NULL ? crumb_find(&h->crumbs, p->name, false) : NULL;
    uint64_t now_ms = lane_wall_us(&h->home) / 1000u;
    for (size_t i = 0; c != NULL && p->name[0] != '\0' && i < PLUGIN_STRIKES_MAX; i++) {
        uint64_t at = c->strikes_ms[i];
        strikes += at != 0 && (c->quarantined != 0 || now_ms < at + PLUGIN_STRIKES_MS);
    }
    return strikes;
}

static void admin_load(struct instance *in, struct plugin_load *out)
{
    uint64_t requests = atomic_load(&in->requests);
    uint64_t since_ms = atomic_load(&in->callback_since_ms);
    uint64_t now_ms = clock_mono_ms();
    out->callbacks = atomic_load(&in->callbacks);
    out->callbacks_slow = atomic_load(&in->callbacks_slow);
    out->time_sum_ns = atomic_load(&in->callback_ns);
    out->time_p50_ns = times_quantile(&in->times, 0.5);
    out->time_p99_ns = times_quantile(&in->times, 0.99);
    out->time_max_ns = atomic_load(&in->times.longest_ns);
    out->events = atomic_load(&in->events);
    out->writes = atomic_load(&in->writes);
    /* Counted one after the other on another thread. */
    out->requests = requests > out->writes ? requests - out->writes : 0;
    meter_sum(&in->meters, &out->queue, &out->retries);
    out->watches = atomic_load(&in->watches);
    out->timers = atomic_load(&in->timers);
    out->memory_bytes = atomic_load(&in->memory_bytes);
    out->allocations = atomic_load(&in->allocations);
    out->running = atomic_load(&in->callback);
    if (out->running != NULL) {
        out->running_ms = now_ms > since_ms ? now_ms - since_ms : 0;
        out->running_revision = atomic_load(&in->callback_revision);
    }
}

void admin_info(struct plugin *p, struct plugin_info *out)
{
    const struct kvp_plugin *d = p->descriptor;
    *out = (struct plugin_info){.name = plugin_shown_name(p),
                                .file = p->path,
                                .sha256 = p->sha256,
                                .state = admin_state(p),
                                .why = p->why,
                                .since_unix_ms = p->since_ms,
                                .strikes = admin_strikes(p)};
    if (d != NULL) {
        bool loop = p->host->o.no_threads || p->host->o.loop == NULL || d->lanes == KVP_LANE_LOOP;
        out->version = d->version;
        out->about = d->about;
        out->abi_major = d->abi_major;
        out->abi_minor = d->abi_minor;
        out->follows = (d->flags & KVP_FOLLOW) != 0;
        out->lane = loop ? PLUGIN_LANE_LOOP : PLUGIN_LANE_THREAD;
    }
    if (p->state == HOST_LEADING) {
        out->term = p->term;
        out->epoch = p->epoch;
    }
    if (p->instance != NULL) {
        admin_load(p->instance, &out->load);
    }
}

/* ---- options -----------------------------------------------------------------------------------
 */

static const char *admin_default(const struct kvp_option *o)
{
    if (o->def != NULL) {
        return o->def;
    }
    switch (o->type) {
    case KVP_OPT_BOOL:
        return "false";
    case KVP_OPT_DURATION:
        return "0s";
    case KVP_OPT_STRING:
        return "";
    default:
        return "0";
    }
}

static const char *admin_text(struct arena *a, struct slice text)
{
    char *out = arena_alloc(a, text.len + 1);
    if (out != NULL) {
        memcpy(out, text.data, text.len);
        out[text.len] = '\0';
    }
    return out;
}

static bool admin_option(struct arena *a, const struct plugin *p, const struct kvp_option *o,
                         struct plugin_option *out)
{
    bool required = (o->flags & KVP_OPT_REQUIRED) != 0;
    *out = (struct plugin_option){.name = o->name,
                                  .type = (enum plugin_option_type)o->type,
                                  .default_value = required ? "" : admin_default(o),
                                  .minimum = o->min,
                                  .maximum = o->max,
                                  .words = o->values,
                                  .help = o->help,
                                  .reloadable = (o->flags & KVP_OPT_RELOADABLE) != 0,
                                  .required = required,
                                  .secret = (o->flags & KVP_OPT_SECRET) != 0,
                                  .source = PLUGIN_FROM_RELOAD};
    struct slice value = settings_find(p->set_options, o->name);
    if (value.data == NULL) {
        value = settings_find(p->flag_options, o->name);
        out->source = PLUGIN_FROM_FLAG;
    }
    if (value.data == NULL) {
        out->source = PLUGIN_FROM_DEFAULT;
        out->value = out->default_value;
        return true;
    }
    out->value = admin_text(a, value);
    return out->value != NULL;
}

/* false = out of memory. */
static bool admin_options(struct arena *a, const struct plugin *p, struct plugin_info *out)
{
    size_t count = 0;
    const struct kvp_option *table = p->descriptor != NULL ? p->descriptor->options : NULL;
    while (table != NULL && table[count].name != NULL) {
        count++;
    }
    struct plugin_option *options = arena_alloc(a, (count + 1) * sizeof(*options));
    if (options == NULL) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (!admin_option(a, p, &table[i], &options[i])) {
            return false;
        }
    }
    out->options = options;
    out->option_count = count;
    return true;
}

/* ---- the table ---------------------------------------------------------------------------------
 */

static struct plugin *admin_find(struct plugin_host *h, const char *name)
{
    LIST_FOREACH (it, &h->plugins) {
        struct plugin *p = LIST_ENTRY(it, struct plugin, link);
        if (strcmp(plugin_shown_name(p), name) == 0) {
            return p;
        }
    }
    return NULL;
}

static void admin_names(struct plugin_admin *a, void (*name)(void *data, const char *name),
                        void *data)
{
    struct plugin_host *h = a->impl;
    LIST_FOREACH (it, &h->plugins) {
        name(data, plugin_shown_name(LIST_ENTRY(it, struct plugin, link)));
    }
}

static void admin_read(struct plugin_admin *a, struct plugin_admin_req *r, const char *name,
                       unsigned parts)
{
    struct plugin_host *h = a->impl;
    struct plugin_admin_result result = {.err = 0};
    struct arena arena;
    size_t all = 0;
    LIST_FOREACH (it, &h->plugins) {
        all++;
    }
    arena_init(&arena, 0);
    struct plugin_info *rows = arena_alloc(&arena, (all + 1) * sizeof(*rows));
    bool ok = rows != NULL;
    LIST_FOREACH (it, &h->plugins) {
        struct plugin *p = LIST_ENTRY(it, struct plugin, link);
        if (!ok || (name != NULL && strcmp(plugin_shown_name(p), name) != 0)) {
            continue;
        }
        struct plugin_info *row = &rows[result.count++];
        admin_info(p, row);
        ok = (parts & PLUGIN_READ_OPTIONS) == 0 || admin_options(&arena, p, row);
        if (name != NULL) {
            break;
        }
    }
    result.plugins = rows;
    result.err = !ok ? ERR_NOMEM : name != NULL && result.count == 0 ? ERR_NOT_FOUND : 0;
    r->cb(r, &result);
    arena_close(&arena);
}

static void admin_reload(struct plugin_admin *a, struct plugin_admin_req *r, const char *name,
                         const struct plugin_setting *settings, size_t count)
{
    change_reload(admin_find(a->impl, name), r, settings, count);
}

static void admin_enable(struct plugin_admin *a, struct plugin_admin_req *r, const char *name)
{
    change_enable(admin_find(a->impl, name), r);
}

static void admin_disable(struct plugin_admin *a, struct plugin_admin_req *r, const char *name)
{
    change_disable(admin_find(a->impl, name), r);
}

static void admin_cancel(struct plugin_admin *a, struct plugin_admin_req *r)
{
    (void)a;
    change_cancel(r);
}

void admin_init(struct plugin_host *h)
{
    h->admin = (struct plugin_admin){.impl = h,
                                     .names = admin_names,
                                     .read = admin_read,
                                     .reload = admin_reload,
                                     .enable = admin_enable,
                                     .disable = admin_disable,
                                     .cancel = admin_cancel};
}

struct plugin_admin *host_admin(struct plugin_host *h)
{
    return &h->admin;
}
