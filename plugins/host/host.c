/* host.c - the host as kvd sees it: loading, role, list, metrics, and the end in order. */
#include "plugins/host/host.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "plugins/host/admin.h"
#include "plugins/host/blame.h"
#include "plugins/host/change.h"
#include "plugins/host/host_impl.h"
#include "plugins/host/loader.h"
#include "plugins/host/options.h"

#define HOST_STATIC_PREFIX "static:"

#ifdef KVD_DEBUG
unsigned host_bugs;
#endif

static const struct kvp_plugin *host_statics[PLUGINS_MAX];
static size_t host_static_count;

void host_register_static(const struct kvp_plugin *descriptor)
{
    for (size_t i = 0; i < host_static_count; i++) {
        if (strcmp(host_statics[i]->name, descriptor->name) == 0) {
            host_statics[i] = descriptor;
            return;
        }
    }
    if (host_static_count < PLUGINS_MAX) {
        host_statics[host_static_count++] = descriptor;
    }
}

/* ---- life --------------------------------------------------------------------------------------
 */

int host_new(const struct host_options *options, struct plugin_host **out, struct errmsg *e)
{
    struct plugin_host *h = mem_zalloc(sizeof(*h));
    if (h == NULL) {
        return errmsg_set(e, ERR_NOMEM, "plugins: out of memory");
    }
    h->o = *options;
    list_init(&h->plugins);
    list_init(&h->works);
    list_init(&h->providers);
    h->data_dir = mem_strdup(options->data_dir);
    int err = h->data_dir == NULL || !web_host_init(h)
                  ? errmsg_set(e, ERR_NOMEM, "plugins: out of memory")
              : options->loop != NULL ? lane_open_loop(&h->home, options->loop, e)
                                      : 0;
    if (err != 0) {
        web_host_close(h);
        mem_free(h->data_dir);
        mem_free(h);
        return err;
    }
    if (options->loop == NULL) {
        lane_open_manual(&h->home, options->seed);
    }
    admin_init(h);
    *out = h;
    return 0;
}

/* ---- messages that can wait --------------------------------------------------------------------
 */

static void host_on_nudge(struct lane_timer *t)
{
    struct plugin_host *h = LIST_ENTRY(t, struct plugin_host, nudge);
    LIST_FOREACH (it, &h->plugins) {
        struct plugin *p = LIST_ENTRY(it, struct plugin, link);
        if (p->instance != NULL) {
            lane_nudge(&p->instance->lane);
        }
    }
}

void host_post_quietly(struct plugin_host *h, struct lane *l, struct lane_msg *m)
{
    if (!lane_post_quietly(l, m) || lane_timer_is_set(&h->nudge)) {
        return;
    }
    h->nudge.fire = host_on_nudge;
    if (!lane_timer_set(&h->home, &h->nudge, lane_now(&h->home) + PLUGIN_NUDGE_MS)) {
        lane_nudge(l);
    }
}

/* ---- without a loop ----------------------------------------------------------------------------
 */

bool host_turn(struct plugin_host *h, uint64_t now_ms)
{
    bool ran = false;
    LIST_FOREACH (it, &h->plugins) {
        struct plugin *p = LIST_ENTRY(it, struct plugin, link);
        if (p->instance != NULL) {
            lane_set_clock(&p->instance->lane, now_ms);
            ran |= lane_run(&p->instance->lane); /* the instance may be gone after it */
        }
    }
    lane_set_clock(&h->home, now_ms);
    return lane_run(&h->home) || ran; /* h may be gone */
}

uint64_t host_next_ms(const struct plugin_host *h)
{
    uint64_t next = lane_next_ms(&h->home);
    LIST_FOREACH (it, &h->plugins) {
        const struct plugin *p = LIST_ENTRY(it, struct plugin, link);
        uint64_t at = p->instance != NULL ? lane_next_ms(&p->instance->lane) : UINT64_MAX;
        next = at < next ? at : next;
    }
    return next;
}

static void host_on_home_closed(void *data)
{
    struct plugin_host *h = data;
    void (*cb)(void *) = h->stopped;
    void *cb_data = h->stopped_data;
    if (h->instances == 0) { /* else one was left behind and may still look at it */
        for (struct list *it; (it = list_pop_front(&h->plugins)) != NULL;) {
            struct plugin *p = LIST_ENTRY(it, struct plugin, link);
            mem_free(p->path);
            mem_free(p->flag_options);
            mem_free(p->set_options);
            mem_free(p);
        }
        if (h->crumbs.crumbs != NULL) {
            crumb_close(&h->crumbs);
        }
        web_host_close(h);
        mem_free(h->data_dir);
        mem_free(h);
    }
    cb(cb_data);
}

static void host_end(struct plugin_host *h)
{
    lane_timer_cancel(&h->home, &h->patience);
    lane_timer_cancel(&h->home, &h->hang);
    lane_close(&h->home, host_on_home_closed, h);
}

void host_settle(struct plugin_host *h)
{
    if (h->stopping && h->instances == 0 && h->web_ports == 0) {
        host_end(h);
    }
}

void host_instance_gone(struct plugin_host *h)
{
    h->instances--;
    host_settle(h);
}

/* Names each plugin that is still there, then goes on without it. */
static void host_on_impatient(struct lane_timer *t)
{
    struct plugin_host *h = LIST_ENTRY(t, struct plugin_host, patience);
    LIST_FOREACH (it, &h->plugins) {
        struct plugin *p = LIST_ENTRY(it, struct plugin, link);
        if (p->instance == NULL) {
            continue;
        }
        const char *what = atomic_load(&p->instance->callback);
        LOG(LOG_ERROR, "a plugin does not end; the process ends without it",
            F_STR("plugin", p->name), F_STR("callback", what != NULL ? what : "none"),
            F_UINT("requests", atomic_load(&p->instance->requests)),
            F_MS("waited", PLUGIN_STOP_MS_MAX));
        lane_abandon(&p->instance->lane);
    }
    lane_abandon(&h->home);
    host_end(h);
}

void host_stop(struct plugin_host *h, void (*cb)(void *data), void *data)
{
    h->stopping = true;
    h->stopped = cb;
    h->stopped_data = data;
    LIST_FOREACH (it, &h->plugins) {
        struct plugin *p = LIST_ENTRY(it, struct plugin, link);
        if (p->change != NULL) {
            change_stop(p);
        }
    }
    if (h->instances == 0) {
        host_settle(h);
        return;
    }
    h->patience.fire = host_on_impatient;
    if (!lane_timer_set(&h->home, &h->patience, lane_now(&h->home) + PLUGIN_STOP_MS_MAX)) {
        LOG(LOG_WARN, "no memory for the time limit of stopping plugins");
    }
    LIST_FOREACH (it, &h->plugins) {
        struct plugin *p = LIST_ENTRY(it, struct plugin, link);
        plugin_unregister(p);
        plugin_advance(p);
    }
}

void host_ready(struct plugin_host *h)
{
    h->ready = true;
    LIST_FOREACH (it, &h->plugins) {
        struct plugin *p = LIST_ENTRY(it, struct plugin, link);
        if (p->instance != NULL && (p->state == HOST_READY || p->state == HOST_LEADING)) {
            web_serve(p->instance);
        }
    }
}

void host_role(struct plugin_host *h, bool leads, uint64_t term)
{
    if (h->leads == leads && h->term == term) {
        return;
    }
    h->leads = leads;
    h->term = term;
    LIST_FOREACH (it, &h->plugins) {
        struct plugin *p = LIST_ENTRY(it, struct plugin, link);
        plugin_unregister(p);
        plugin_move(p);
    }
}

/* ---- loading -----------------------------------------------------------------------------------
 */

struct plugin *host_find(struct plugin_host *h, const char *name, const struct plugin *but)
{
    LIST_FOREACH (it, &h->plugins) {
        struct plugin *p = LIST_ENTRY(it, struct plugin, link);
        if (p != but && p->instance != NULL && strcmp(p->name, name) == 0) {
            return p;
        }
    }
    return NULL;
}

/* The directory and the breadcrumbs, when the first plugin comes: without plugins there is no
 * trace of them. */
int host_prepare(struct plugin_host *h, char *plugins_dir, struct errmsg *e)
{
    char path[HOST_PATH_MAX + 16];
    snprintf(plugins_dir, HOST_PATH_MAX, "%s/plugins.d", h->data_dir);
    if (h->crumbs.crumbs != NULL) {
        return 0;
    }
    if (h->o.loop != NULL) {
        blame_install();
    }
    int err = loader_prepare(plugins_dir, e);
    snprintf(path, sizeof(path), "%s/breadcrumbs", plugins_dir);
    if (err == 0 && !crumb_open(&h->crumbs, path, lane_wall_us(&h->home) / 1000u)) {
        err = errmsg_set(e, ERR_NOMEM, "%s: out of memory", path);
    }
    return err;
}

static int host_find_static(const char *name, struct loaded *out, struct errmsg *e)
{
    for (size_t i = 0; i < host_static_count; i++) {
        if (strcmp(host_statics[i]->name, name) == 0) {
            out->descriptor = host_statics[i];
            return loader_check(out->descriptor, name, e);
        }
    }
    return errmsg_set(e, ERR_NOT_FOUND, "%s: no plugin of that name is built into this kvd", name);
}

/* The first eight bytes of a sum in hex. */
static uint64_t host_file_number(const char *sha256)
{
    char digits[17];
    snprintf(digits, sizeof(digits), "%.16s", sha256);
    return strtoull(digits, NULL, 16);
}

bool host_is_static(const char *path)
{
    return strncmp(path, HOST_STATIC_PREFIX, strlen(HOST_STATIC_PREFIX)) == 0;
}

int host_open(const char *path, const char *plugins_dir, struct loaded *out, struct errmsg *e)
{
    return host_is_static(path) ? host_find_static(path + strlen(HOST_STATIC_PREFIX), out, e)
                                : loader_open(path, plugins_dir, out, e);
}

int plugin_install(struct plugin *p, const struct loaded *code, const char *options,
                   struct errmsg *e)
{
    struct plugin_host *h = p->host;
    const struct kvp_plugin *d = code->descriptor;
    struct errmsg why = {""};
    void *conf = NULL;
    memcpy(p->name, d->name, strlen(d->name) + 1);
    memcpy(p->sha256, code->sha256, sizeof(p->sha256));
    p->descriptor = d;
    int err = options_parse(d, options, &conf, &why);
    if (err != 0) {
        return errmsg_set(e, err, "%s: %s", p->path, why.text);
    }
    struct crumb *crumb = crumb_find(&h->crumbs, p->name, true);
    if (crumb == NULL) {
        mem_free(conf);
        return errmsg_set(e, ERR_TOO_MANY_REQUESTS, "%s: more than %u plugins", p->path,
                          PLUGINS_MAX);
    }
    crumb_file(crumb, host_file_number(p->sha256));
    if (crumb->disabled != 0 || crumb->quarantined != 0) {
        mem_free(conf);
        plugin_refuse(p, "");
        return errmsg_set(e, crumb->disabled != 0 ? ERR_REFUSED : ERR_BUSY, "%s: %s", p->path,
                          p->why);
    }
    plugin_set_state(p, HOST_STARTING);
    p->busy = true;
    err = instance_new(p, conf, &p->instance, &why);
    if (err != 0) {
        p->busy = false;
        mem_free(conf);
        return errmsg_set(e, err, "%s: %s", p->path, why.text);
    }
    return 0;
}

static int host_load_one(struct plugin_host *h, struct plugin *p, struct errmsg *e)
{
    char plugins_dir[HOST_PATH_MAX];
    struct loaded loaded = {0};
    int err = host_prepare(h, plugins_dir, e);
    err = err != 0 ? err : host_open(p->path, plugins_dir, &loaded, e);
    if (err != 0) {
        return err;
    }
    struct plugin *other = host_find(h, loaded.descriptor->name, p);
    if (other != NULL) {
        return errmsg_set(e, ERR_INVALID, "%s: a plugin named %s is loaded already, from %s",
                          p->path, loaded.descriptor->name, other->path);
    }
    return plugin_install(p, &loaded, p->flag_options, e);
}

int host_load(struct plugin_host *h, const char *spec, struct errmsg *e)
{
    size_t len = strcspn(spec, ",");
    const char *options = spec[len] == ',' ? spec + len + 1 : "";
    if (h->stopping) {
        return errmsg_set(e, ERR_STOPPED, "the server is stopping");
    }
    struct plugin *p = mem_zalloc(sizeof(*p));
    char *path = mem_dup(spec, len + 1);
    char *flag_options = mem_strdup(options);
    char *set_options = mem_strdup("");
    if (p == NULL || path == NULL || flag_options == NULL || set_options == NULL) {
        mem_free(p);
        mem_free(path);
        mem_free(flag_options);
        mem_free(set_options);
        return errmsg_set(e, ERR_NOMEM, "%s: out of memory", spec);
    }
    path[len] = '\0';
    p->host = h;
    p->path = path;
    p->flag_options = flag_options;
    p->set_options = set_options;
    list_push_back(&h->plugins, &p->link);
    int err = host_load_one(h, p, e);
    if (err != 0) {
        plugin_refuse(p, e->text);
        LOG(p->state == HOST_DISABLED ? LOG_INFO : LOG_ERROR, "plugin refused",
            F_STR("path", p->path), F_STR("why", p->why));
    }
    return err;
}

static int host_cmp_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int host_load_dir(struct plugin_host *h, const char *dir, struct errmsg *e)
{
    char *names[PLUGINS_MAX];
    char path[HOST_PATH_MAX];
    size_t count = 0;
    int err = 0;
    DIR *d = opendir(dir);
    if (d == NULL) {
        return errmsg_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s: cannot be read: %s",
                          dir, strerror(errno));
    }
    for (struct dirent *entry; (entry = readdir(d)) != NULL;) {
        size_t len = strlen(entry->d_name);
        if (len < 4 || entry->d_name[0] == '.' || strcmp(entry->d_name + len - 3, ".so") != 0) {
            continue;
        }
        if (count == PLUGINS_MAX) {
            err = errmsg_set(e, ERR_INVALID, "%s: has more than %u plugins", dir, PLUGINS_MAX);
            break;
        }
        names[count] = mem_strdup(entry->d_name);
        if (names[count] == NULL) {
            err = errmsg_set(e, ERR_NOMEM, "%s: out of memory", dir);
            break;
        }
        count++;
    }
    closedir(d);
    qsort(names, count, sizeof(names[0]), host_cmp_names);
    for (size_t i = 0; i < count; i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        int one = host_load(h, path, e);
        err = one != 0 ? one : err;
        mem_free(names[i]);
    }
    return err;
}

/* ---- looking -----------------------------------------------------------------------------------
 */

const char *host_state_name(enum host_state state)
{
    static const char *const names[] = {"refused", "quarantined", "starting", "ready",
                                        "leading", "stopping",    "disabled"};
    return names[state];
}

size_t host_list(struct plugin_host *h, struct host_plugin *out, size_t max)
{
    size_t n = 0;
    LIST_FOREACH (it, &h->plugins) {
        struct plugin *p = LIST_ENTRY(it, struct plugin, link);
        struct instance *in = p->instance;
        if (n < max) {
            out[n] = (struct host_plugin){.name = p->name[0] != '\0' ? p->name : p->path,
                                          .path = p->path,
                                          .sha256 = p->sha256,
                                          .why = p->why,
                                          .state = p->state,
                                          .version = "",
                                          .about = ""};
            if (p->descriptor != NULL) {
                out[n].version = p->descriptor->version != NULL ? p->descriptor->version : "";
                out[n].about = p->descriptor->about != NULL ? p->descriptor->about : "";
            }
            if (p->state == HOST_LEADING) {
                out[n].term = p->term;
                out[n].epoch = p->epoch;
            }
            if (in != NULL) {
                out[n].callback = atomic_load(&in->callback);
                out[n].requests = atomic_load(&in->requests);
                out[n].memory_bytes = atomic_load(&in->memory_bytes);
                out[n].callbacks = atomic_load(&in->callbacks);
            }
        }
        n++;
    }
    return n;
}

int plugin_reload(struct plugin *p, const char *options,
                  void (*cb)(void *data, int err, const char *why), void *data, struct errmsg *e)
{
    struct errmsg why = {""};
    void *conf = NULL;
    if (p->busy || p->quit || p->host->stopping) {
        return errmsg_set(e, ERR_BUSY, "plugin %s is %s: try again", p->name,
                          host_state_name(p->state));
    }
    if (p->descriptor->reload == NULL || p->descriptor->conf_size == 0) {
        return errmsg_set(e, ERR_INVALID, "plugin %s cannot change its options while it runs",
                          p->name);
    }
    int err = options_parse(p->descriptor, options, &conf, &why);
    if (err != 0) {
        return errmsg_set(e, err, "plugin %s: %s", p->name, why.text);
    }
    const char *fixed = options_fixed_change(p->descriptor, p->instance->conf, conf);
    if (fixed != NULL) {
        mem_free(conf);
        return errmsg_set(e, ERR_INVALID,
                          "plugin %s: option %s cannot change while it runs: restart kvd", p->name,
                          fixed);
    }
    p->new_conf = conf;
    p->reloaded = cb;
    p->reloaded_data = data;
    p->busy = true;
    instance_run(p->instance, STEP_RELOAD, NULL, 0);
    return 0;
}

int host_reload(struct plugin_host *h, const char *name, const char *options,
                void (*cb)(void *data, int err, const char *why), void *data, struct errmsg *e)
{
    struct plugin *p = host_find(h, name, NULL);
    if (p == NULL) {
        return errmsg_set(e, ERR_NOT_FOUND, "no plugin named %s is loaded", name);
    }
    if (p->change != NULL) {
        return errmsg_set(e, ERR_BUSY, "plugin %s is being changed: try again", name);
    }
    return plugin_reload(p, options, cb, data, e);
}

static void host_metric_family(struct plugin_host *h, struct buf *out, const char *name,
                               const char *type, const char *help,
                               double (*value)(struct plugin *p))
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
    LIST_FOREACH (it, &h->plugins) {
        struct plugin *p = LIST_ENTRY(it, struct plugin, link);
        if (p->name[0] != '\0') {
            buf_printf(out, "%s{plugin=\"%s\"} %.10g\n", name, p->name, value(p));
        }
    }
}

static void host_metric_states(struct plugin_host *h, struct buf *out)
{
    static const char name[] = "kvd_plugin_state";
    buf_printf(out, "# HELP %s 1: it is in this state.\n# TYPE %s gauge\n", name, name);
    LIST_FOREACH (it, &h->plugins) {
        struct plugin *p = LIST_ENTRY(it, struct plugin, link);
        for (int i = HOST_REFUSED; p->name[0] != '\0' && i <= HOST_DISABLED; i++) {
            buf_printf(out, "%s{plugin=\"%s\",state=\"%s\"} %d\n", name, p->name,
                       host_state_name((enum host_state)i), (int)p->state == i);
        }
    }
}

static double metric_up(struct plugin *p)
{
    return p->state == HOST_READY || p->state == HOST_LEADING;
}

static double metric_leads(struct plugin *p)
{
    return p->state == HOST_LEADING;
}

static double metric_callbacks(struct plugin *p)
{
    return p->instance != NULL ? (double)atomic_load(&p->instance->callbacks) : 0;
}

static double metric_callback_seconds(struct plugin *p)
{
    return p->instance != NULL ? (double)atomic_load(&p->instance->callback_ns) / 1e9 : 0;
}

static double metric_helped(struct plugin *p)
{
    return p->instance != NULL ? (double)atomic_load(&p->instance->lane.helped) : 0;
}

static double metric_callbacks_slow(struct plugin *p)
{
    return p->instance != NULL ? (double)atomic_load(&p->instance->callbacks_slow) : 0;
}

static double metric_requests(struct plugin *p)
{
    return p->instance != NULL ? (double)atomic_load(&p->instance->requests) : 0;
}

static double metric_exchanges(struct plugin *p)
{
    return p->instance != NULL ? (double)p->instance->web_exchange_count : 0;
}

static double metric_web_bytes(struct plugin *p)
{
    return p->instance != NULL ? (double)atomic_load(&p->instance->web_bytes) : 0;
}

static double metric_log_dropped(struct plugin *p)
{
    return p->instance != NULL ? (double)atomic_load(&p->instance->log_dropped) : 0;
}

static double metric_memory(struct plugin *p)
{
    return p->instance != NULL ? (double)atomic_load(&p->instance->memory_bytes) : 0;
}

void host_metrics_render(struct plugin_host *h, struct buf *out)
{
    if (list_empty(&h->plugins)) {
        return;
    }
    host_metric_family(h, out, "kvd_plugin_up", "gauge", "1: loaded and initialised.", metric_up);
    host_metric_states(h, out);
    host_metric_family(h, out, "kvd_plugin_leads", "gauge", "1: between start and stop.",
                       metric_leads);
    host_metric_family(h, out, "kvd_plugin_callbacks_total", "counter", "Callbacks run.",
                       metric_callbacks);
    host_metric_family(h, out, "kvd_plugin_messages_helped_total", "counter",
                       "Messages that the store loop ran for the plugin's sleeping thread.",
                       metric_helped);
    host_metric_family(h, out, "kvd_plugin_callback_seconds_total", "counter",
                       "Time spent in callbacks.", metric_callback_seconds);
    host_metric_family(h, out, "kvd_plugin_callbacks_slow_total", "counter",
                       "Callbacks over their budget.", metric_callbacks_slow);
    host_metric_family(h, out, "kvd_plugin_requests", "gauge", "Requests under way.",
                       metric_requests);
    host_metric_family(h, out, "kvd_plugin_http_exchanges", "gauge", "HTTP requests under way.",
                       metric_exchanges);
    host_metric_family(h, out, "kvd_plugin_http_queued_bytes", "gauge",
                       "Bytes of HTTP answers that wait for their clients.", metric_web_bytes);
    host_metric_family(h, out, "kvd_plugin_memory_bytes", "gauge", "Memory from alloc and dup.",
                       metric_memory);
    host_metric_family(h, out, "kvd_plugin_log_lines_dropped_total", "counter",
                       "Lines not logged because there were too many.", metric_log_dropped);
    LIST_FOREACH (it, &h->plugins) {
        struct plugin *p = LIST_ENTRY(it, struct plugin, link);
        if (p->instance != NULL) {
            char name[PLUGIN_NAME_BYTES_MAX + 1]; /* metric names have no '-' */
            for (size_t i = 0; i <= strlen(p->name); i++) {
                name[i] = p->name[i] == '-' ? '_' : p->name[i];
            }
            metric_set_render(&p->instance->metrics, name, out);
            meter_set_render(&p->instance->meters, name, out);
        }
    }
}
