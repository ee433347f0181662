/* change.c - reload, enable and disable of one plugin, step by step.
 *
 *   LOADING    a pool thread copies and opens the file; the plugin works on
 *   WAITING    options alone change, in place: a step of the plugin is still under way
 *   RELOADING  its reload callback runs
 *   ENDING     the old instance stops and ends: fini comes before the next init, so that the two
 * never meet (routes, metrics, breadcrumb) STARTING   init of the new one, and start where this
 * member leads UNDOING    its init failed: the old code with the old options is started again
 *
 * Everything that can be checked is checked before ENDING: the file, its ABI, its name, the
 * options. disable is ENDING alone, enable begins at LOADING with nothing to end. */
#include "plugins/host/change.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "plugins/host/admin.h"
#include "plugins/host/host_impl.h"
#include "plugins/host/loader.h"
#include "plugins/host/options.h"
#include "plugins/host/settings.h"

enum change_kind { CHANGE_RELOAD, CHANGE_ENABLE, CHANGE_DISABLE };

enum change_phase {
    CHANGE_LOADING,
    CHANGE_WAITING,
    CHANGE_RELOADING,
    CHANGE_ENDING,
    CHANGE_STARTING,
    CHANGE_UNDOING
};

struct change {
    struct plugin *p;
    struct plugin_admin_req *req; /* NULL: nobody is told */
    enum change_kind kind;
    enum change_phase phase;
    bool has_settings;
    char *set_options; /* plugin.set_options when it is done */
    uv_work_t work;
    char plugins_dir[HOST_PATH_MAX];
    struct loaded fresh;
    int load_err;
    struct errmsg load_why;
    struct loaded old; /* descriptor NULL: nothing ran before */
    struct errmsg why; /* of the init that failed */
};

/* ---- the end -----------------------------------------------------------------------------------
 */

static void change_free(struct change *c)
{
    c->p->change = NULL;
    mem_free(c->set_options);
    mem_free(c);
}

/* Tells how it went, and c is gone. err 0: what was asked for is in force. */
static void change_finish(struct change *c, int err, const char *why)
{
    struct plugin *p = c->p;
    struct plugin_admin_req *req = c->req;
    struct loaded old = c->old;
    struct plugin_info info;
    if (err == 0 && c->kind != CHANGE_DISABLE) {
        mem_free(p->set_options);
        p->set_options = c->set_options;
        c->set_options = NULL;
    }
    if (err != 0) {
        LOG(LOG_WARN, "a plugin was not changed", F_STR("plugin", plugin_shown_name(p)),
            F_STR("why", why));
    }
    change_free(c);
    if (req == NULL) {
        return;
    }
    struct plugin_admin_result result = {.err = err, .why = why};
    if (err == 0) {
        admin_info(p, &info);
        result.plugins = &info;
        result.count = 1;
        if (old.descriptor != NULL) {
            result.previous_version = old.descriptor->version;
            result.previous_sha256 = old.sha256;
        }
    }
    req->cb(req, &result);
}

static void change_fail(struct change *c, int err, const struct errmsg *e)
{
    struct errmsg why = *e; /* may lie inside c */
    change_finish(c, err, why.text);
}

/* ---- the new instance --------------------------------------------------------------------------
 */

/* Starts this code with these options; true: init is on its way. */
static bool change_install(struct change *c, const struct loaded *code, const char *set_options,
                           struct errmsg *e)
{
    struct plugin *p = c->p;
    char *text = settings_merge(p->flag_options, set_options);
    int err = text != NULL ? plugin_install(p, code, text, e)
                           : errmsg_set(e, ERR_NOMEM, "%s: out of memory", p->path);
    mem_free(text);
    return err == 0;
}

/* The new one does not run: back to the old one, if there was one. c->why says what happened. */
static void change_undo(struct change *c)
{
    struct plugin *p = c->p;
    struct errmsg e = {""};
    if (c->old.descriptor == NULL) {
        plugin_refuse(p, c->why.text);
        change_fail(c, ERR_REFUSED, &c->why);
        return;
    }
    c->phase = CHANGE_UNDOING;
    if (!change_install(c, &c->old, p->set_options, &e)) {
        plugin_refuse(p, e.text);
        errmsg_wrap(&e, ERR_REFUSED, "%.200s; the code before cannot be started again",
                    c->why.text);
        change_fail(c, ERR_REFUSED, &e);
    }
}

static void change_start_new(struct change *c)
{
    c->phase = CHANGE_STARTING;
    if (!change_install(c, &c->fresh, c->set_options, &c->why)) {
        change_undo(c);
    }
}

static void change_end_old(struct change *c)
{
    struct plugin *p = c->p;
    c->phase = CHANGE_ENDING;
    if (p->instance == NULL) {
        change_closed(p);
        return;
    }
    p->quit = true;
    plugin_unregister(p);
    plugin_advance(p);
}

void change_closed(struct plugin *p)
{
    struct change *c = p->change;
    p->quit = p->failed = false;
    p->retry_ms = 0;
    if (c->kind == CHANGE_DISABLE) {
        plugin_disabled(p);
        LOG(LOG_INFO, "plugin disabled", F_STR("plugin", p->name));
        change_finish(c, 0, NULL);
    } else if (c->phase == CHANGE_STARTING) {
        errmsg_set(&c->why, 0, "%s", p->why);
        change_undo(c);
    } else if (c->phase == CHANGE_UNDOING) {
        struct errmsg e;
        errmsg_set(&e, 0, "%.200s; the code before cannot be started again: %.200s", c->why.text,
                   p->why);
        change_fail(c, ERR_REFUSED, &e);
    } else {
        change_start_new(c);
    }
}

/* ---- options alone -----------------------------------------------------------------------------
 */

static void change_on_reloaded(void *data, int err, const char *why)
{
    struct change *c = data;
    struct errmsg e;
    errmsg_set(&e, err, "plugin %s keeps its old options: %s", c->p->name, why);
    change_finish(c, err == 0 ? 0 : ERR_REFUSED, err == 0 ? NULL : e.text);
}

/* Nothing is under way: gives it the options, as host_reload does. */
static void change_reload_in_place(struct change *c)
{
    struct plugin *p = c->p;
    struct errmsg e = {""};
    c->phase = CHANGE_RELOADING;
    char *text = settings_merge(p->flag_options, c->set_options);
    int err = text != NULL ? plugin_reload(p, text, change_on_reloaded, c, &e)
                           : errmsg_set(&e, ERR_NOMEM, "out of memory");
    mem_free(text);
    if (err != 0) {
        change_fail(c, err, &e);
    }
}

void change_settled(struct plugin *p)
{
    struct change *c = p->change;
    struct errmsg e;
    switch (c->phase) {
    case CHANGE_WAITING:
        change_reload_in_place(c);
        break;
    case CHANGE_STARTING:
        change_finish(c, 0, NULL);
        break;
    case CHANGE_UNDOING:
        errmsg_set(&e, 0, "%.300s; the code before works on", c->why.text);
        change_fail(c, ERR_REFUSED, &e);
        break;
    default:
        break;
    }
}

/* ---- the file ----------------------------------------------------------------------------------
 */

/* Can the code that was opened take the place of what runs? 0, or an error with the sentence. */
static int change_check(struct change *c, void **conf, struct errmsg *e)
{
    struct plugin *p = c->p;
    const struct kvp_plugin *d = c->fresh.descriptor;
    struct errmsg why = {""};
    if (p->name[0] != '\0' && strcmp(p->name, d->name) != 0) {
        return errmsg_set(e, ERR_REFUSED, "%s holds plugin %s now, not %s: load it with --plugin",
                          p->path, d->name, p->name);
    }
    const struct plugin *other = host_find(p->host, d->name, p);
    if (other != NULL) {
        return errmsg_set(e, ERR_REFUSED, "%s: a plugin named %s is loaded already, from %s",
                          p->path, d->name, other->path);
    }
    char *text = settings_merge(p->flag_options, c->set_options);
    int err = text != NULL ? options_parse(d, text, conf, &why)
                           : errmsg_set(&why, ERR_NOMEM, "out of memory");
    mem_free(text);
    return err != 0 ? errmsg_set(e, err, "plugin %s: %s", d->name, why.text) : 0;
}

static void change_on_loaded(struct change *c)
{
    struct plugin *p = c->p;
    struct errmsg e = c->load_why;
    void *conf = NULL;
    /* Its file being bad is the plugin's state, not a mistake in the request. */
    int err = c->load_err == 0 || c->load_err == ERR_NOMEM ? c->load_err : ERR_REFUSED;
    if (err == 0) {
        err = change_check(c, &conf, &e);
    }
    if (err != 0) {
        if (p->instance == NULL) {
            plugin_refuse(p, e.text);
        }
        change_fail(c, err, &e);
        return;
    }
    bool in_place = p->instance != NULL && !p->quit && c->has_settings &&
                    p->descriptor == c->fresh.descriptor && p->descriptor->reload != NULL &&
                    conf != NULL &&
                    options_fixed_change(p->descriptor, p->instance->conf, conf) == NULL;
    mem_free(conf);
    if (p->instance != NULL) {
        c->old.descriptor = p->descriptor;
        memcpy(c->old.sha256, p->sha256, sizeof(p->sha256));
    }
    if (!in_place) {
        change_end_old(c);
        return;
    }
    c->phase = CHANGE_WAITING;
    if (!p->busy) {
        change_settled(p);
    }
}

static void change_on_pool(uv_work_t *work)
{
    struct change *c = LIST_ENTRY(work, struct change, work);
    c->load_err = loader_open(c->p->path, c->plugins_dir, &c->fresh, &c->load_why);
}

static void change_on_pooled(uv_work_t *work, int status)
{
    struct change *c = LIST_ENTRY(work, struct change, work);
    struct plugin_host *h = c->p->host;
    (void)status; /* never canceled */
    if (h->stopping) {
        change_free(c);
    } else {
        change_on_loaded(c);
    }
    host_instance_gone(h);
}

/* Reading and opening a file takes as long as a disk takes: not on the store loop. */
static void change_load(struct change *c)
{
    struct plugin_host *h = c->p->host;
    c->phase = CHANGE_LOADING;
    c->load_err = host_prepare(h, c->plugins_dir, &c->load_why);
    if (c->load_err == 0 && (host_is_static(c->p->path) || h->o.loop == NULL)) {
        c->load_err = host_open(c->p->path, c->plugins_dir, &c->fresh, &c->load_why);
    } else if (c->load_err == 0) {
        h->instances++; /* the host waits for it */
        if (uv_queue_work(h->o.loop, &c->work, change_on_pool, change_on_pooled) == 0) {
            return;
        }
        h->instances--;
        c->load_err = errmsg_set(&c->load_why, ERR_NOMEM, "%s: no thread to load it", c->p->path);
    }
    change_on_loaded(c);
}

/* ---- beginning ---------------------------------------------------------------------------------
 */

static void change_refuse(struct plugin_admin_req *r, int err, const char *why)
{
    const struct plugin_admin_result result = {.err = err, .why = why};
    r->cb(r, &result);
}

/* There is nothing to do: as it is now. */
static void change_done_already(struct plugin *p, struct plugin_admin_req *r)
{
    struct plugin_info info;
    admin_info(p, &info);
    const struct plugin_admin_result result = {.plugins = &info, .count = 1};
    r->cb(r, &result);
}

/* NULL: r was answered. */
static struct change *change_new(struct plugin *p, struct plugin_admin_req *r,
                                 enum change_kind kind)
{
    char text[ERRMSG_BYTES_MAX];
    if (p == NULL || p->host->stopping) {
        change_refuse(r, p == NULL ? ERR_NOT_FOUND : ERR_STOPPED, NULL);
        return NULL;
    }
    if (p->change != NULL || p->reloaded != NULL || (p->quit && p->instance != NULL)) {
        const char *what = p->instance != NULL ? atomic_load(&p->instance->callback) : NULL;
        snprintf(text, sizeof(text), "another change of %s is under way%s%s: try again",
                 plugin_shown_name(p), what != NULL ? ", it is in " : "", what != NULL ? what : "");
        change_refuse(r, ERR_BUSY, text);
        return NULL;
    }
    struct change *c = mem_zalloc(sizeof(*c));
    if (c != NULL) {
        c->set_options = mem_strdup(p->set_options);
    }
    if (c == NULL || c->set_options == NULL) {
        mem_free(c);
        change_refuse(r, ERR_NOMEM, NULL);
        return NULL;
    }
    c->p = p;
    c->kind = kind;
    c->req = r;
    r->impl[0] = c;
    p->change = c;
    return c;
}

void change_reload(struct plugin *p, struct plugin_admin_req *r,
                   const struct plugin_setting *settings, size_t count)
{
    char text[ERRMSG_BYTES_MAX];
    struct errmsg e = {""};
    int err = 0;
    struct change *c = change_new(p, r, CHANGE_RELOAD);
    if (c == NULL) {
        return;
    }
    if (p->state == HOST_QUARANTINED || p->state == HOST_DISABLED) {
        snprintf(text, sizeof(text), "plugin %s is %s: enable it first", p->name,
                 host_state_name(p->state));
        change_finish(c, ERR_REFUSED, text);
        return;
    }
    char *over = settings_text(settings, count, &err, &e);
    char *all = over != NULL ? settings_merge(c->set_options, over) : NULL;
    mem_free(over);
    if (all == NULL) {
        change_fail(c, err != 0 ? err : ERR_NOMEM,
                    err != 0 ? &e : &(struct errmsg){"out of memory"});
        return;
    }
    mem_free(c->set_options);
    c->set_options = all;
    c->has_settings = count > 0;
    change_load(c);
}

void change_enable(struct plugin *p, struct plugin_admin_req *r)
{
    if (p != NULL && p->instance != NULL && p->change == NULL && !p->quit && !p->host->stopping) {
        change_done_already(p, r);
        return;
    }
    struct change *c = change_new(p, r, CHANGE_ENABLE);
    if (c != NULL) {
        plugin_lift(p);
        change_load(c);
    }
}

void change_disable(struct plugin *p, struct plugin_admin_req *r)
{
    if (p != NULL && p->state == HOST_DISABLED && p->change == NULL) {
        change_done_already(p, r);
        return;
    }
    struct change *c = change_new(p, r, CHANGE_DISABLE);
    if (c == NULL) {
        return;
    }
    if (p->name[0] == '\0') {
        change_finish(c, ERR_REFUSED, "it was never loaded, so there is nothing to disable");
        return;
    }
    plugin_mark_disabled(p); /* now: it may never end, and a restart must not bring it back */
    change_end_old(c);
}

void change_cancel(struct plugin_admin_req *r)
{
    struct change *c = r->impl[0];
    c->req = NULL;
}

void change_impatient(struct plugin *p, const char *callback, uint64_t ms)
{
    struct change *c = p->change;
    struct plugin_admin_req *req = c->req;
    char text[ERRMSG_BYTES_MAX];
    if (req == NULL || c->phase == CHANGE_LOADING) {
        return;
    }
    snprintf(text, sizeof(text),
             "plugin %s has been in %s for %llu s and does not come back: it is %s when it does, "
             "or when kvd is started again",
             plugin_shown_name(p), callback, (unsigned long long)(ms / 1000u),
             c->kind == CHANGE_DISABLE ? "disabled" : "changed");
    c->req = NULL;
    change_refuse(req, ERR_REFUSED, text);
}

void change_stop(struct plugin *p)
{
    struct plugin_admin_req *req = p->change->req;
    p->change->req = NULL;
    if (req != NULL) {
        change_refuse(req, ERR_STOPPED, NULL);
    }
}

void change_drop(struct plugin *p)
{
    if (p->change->phase != CHANGE_LOADING) { /* else the pool thread has it */
        change_free(p->change);
    }
}
