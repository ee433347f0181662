/* plugin.c - the life of one plugin, as home sees it.
 *
 *   STARTING --init--> READY --leads: epoch registered, start--> LEADING --stop--> READY --fini-->
 * gone
 *
 * plugin_advance compares what is with what should be and takes one step; whatever ends calls it
 * again. At most one step is under way (`busy`). A failed start or `fail` waits in `retry`. */
#include "plugins/host/host_impl.h"

#include "base/log.h"
#include "plugins/host/change.h"
#include "proto/codec.h"

void plugin_set_state(struct plugin *p, enum host_state state)
{
    if (p->state != state || p->since_ms == 0) {
        p->state = state;
        p->since_ms = lane_wall_us(&p->host->home) / 1000u;
    }
}

void plugin_move(struct plugin *p)
{
    plugin_advance(p);
    if (p->change != NULL && !p->busy && p->instance != NULL) {
        change_settled(p);
    }
}

static void plugin_on_retry(struct lane_timer *t)
{
    struct plugin *p = LIST_ENTRY(t, struct plugin, retry);
    p->failed = false;
    plugin_move(p);
}

static void plugin_retry(struct plugin *p)
{
    p->failed = true;
    p->retry.fire = plugin_on_retry;
    p->retry_ms = p->retry_ms == 0                         ? PLUGIN_RETRY_MS_MIN
                  : p->retry_ms >= PLUGIN_RETRY_MS_MAX / 2 ? PLUGIN_RETRY_MS_MAX
                                                           : p->retry_ms * 2;
    struct lane *home = &p->host->home;
    if (!lane_timer_set(home, &p->retry, lane_now(home) + p->retry_ms)) {
        p->failed = false; /* the next change of leadership tries again */
    }
}

/* ---- leading -----------------------------------------------------------------------------------
 */

static void plugin_on_registered(struct service_write *w, int err, int64_t revision,
                                 struct slice body)
{
    struct plugin *p = w->data;
    struct plugin_host *h = p->host;
    (void)revision, (void)body;
    p->busy = p->registering = false;
    if (err == 0 && h->leads && h->term == p->term && !p->quit && !h->stopping) {
        struct service_stamp stamp = {.plugin = p->instance->name,
                                      .member = h->o.member_id,
                                      .term = p->term,
                                      .epoch = p->epoch};
        p->busy = true;
        plugin_set_state(p, HOST_STARTING);
        instance_run(p->instance, STEP_START, &stamp, 0);
        return;
    }
    if (err != 0 && h->leads && h->term == p->term) {
        LOG(LOG_WARN, "a plugin's leadership could not be registered; trying again",
            F_STR("plugin", p->name), F_UINT("term", p->term), F_STR("error", err_text(err)));
        plugin_retry(p);
    }
    plugin_move(p);
}

/* Planted bug: nobody waits for the registration. */
static void plugin_ignore(struct service_write *w, int err, int64_t revision, struct slice body)
{
    (void)w, (void)err, (void)revision, (void)body;
}

static void plugin_register(struct plugin *p)
{
    struct plugin_host *h = p->host;
    struct buf request;
    p->epoch = p->term == h->term ? p->epoch + 1 : 1;
    p->term = h->term;
    p->busy = p->registering = true;
    buf_init(&request);
    wire_put_bytes(&request, 1, slice_str(p->name));
    wire_put_uint(&request, 2, h->o.member_id);
    wire_put_uint(&request, 3, p->term);
    wire_put_uint(&request, 4, p->epoch);
    p->registration.data = p;
    p->registration.cb = HOST_BUG(HOST_BUG_EARLY_START) ? plugin_ignore : plugin_on_registered;
    if (request.failed) {
        plugin_on_registered(&p->registration, ERR_NOMEM, 0, slice_of(NULL, 0));
    } else {
        h->o.service->propose(h->o.service, &p->registration, SERVICE_EPOCH, buf_slice(&request));
    }
    buf_close(&request);
    if (HOST_BUG(HOST_BUG_EARLY_START)) {
        plugin_on_registered(&p->registration, 0, 0, slice_of(NULL, 0));
    }
}

void plugin_unregister(struct plugin *p)
{
    struct service *s = p->host->o.service;
    if (p->registering) {
        s->cancel_write(s, &p->registration);
        p->busy = p->registering = false;
    }
}

static int32_t plugin_stop_reason(const struct plugin *p)
{
    return p->host->stopping ? KVP_STOPPED
           : p->failed       ? KVP_INTERNAL
           : p->quit         ? KVP_CANCELED
                             : KVP_NOT_LEADER;
}

/* ---- the end -----------------------------------------------------------------------------------
 */

static void plugin_on_closed(void *data)
{
    struct plugin *p = data;
    struct plugin_host *h = p->host;
    bool stopping = h->stopping;
    p->instance = NULL;
    p->busy = false;
    if (p->state == HOST_STOPPING) {
        plugin_set_state(p, HOST_REFUSED);
    }
    if (stopping && p->change != NULL) {
        change_drop(p);
    }
    host_instance_gone(h); /* stopping: p may be gone */
    if (!stopping && p->change != NULL) {
        change_closed(p);
    }
}

/* The place in the breadcrumb page; NULL: it has none. */
static struct crumb *plugin_crumb(struct plugin *p)
{
    struct plugin_host *h = p->host;
    return h->crumbs.crumbs != NULL && p->name[0] != '\0' ? crumb_find(&h->crumbs, p->name, false)
                                                          : NULL;
}

void plugin_refuse(struct plugin *p, const char *why)
{
    const struct crumb *c = plugin_crumb(p);
    if (c != NULL && c->disabled != 0) {
        plugin_set_state(p, HOST_DISABLED);
        snprintf(p->why, sizeof(p->why),
                 "an operator disabled it: `kvctl plugin enable %s` starts it", p->name);
    } else if (c != NULL && c->quarantined != 0) {
        plugin_set_state(p, HOST_QUARANTINED);
        crumb_why(c, p->why, sizeof(p->why));
    } else {
        plugin_set_state(p, HOST_REFUSED);
        snprintf(p->why, sizeof(p->why), "%s", why);
    }
}

void plugin_mark_disabled(struct plugin *p)
{
    struct crumb *c = plugin_crumb(p);
    if (c != NULL) {
        c->disabled = 1;
    }
}

void plugin_disabled(struct plugin *p)
{
    plugin_mark_disabled(p);
    plugin_refuse(p, "");
}

void plugin_lift(struct plugin *p)
{
    struct crumb *c = plugin_crumb(p);
    if (c != NULL) {
        crumb_lift(c);
        c->disabled = 0;
    }
}

void plugin_free(struct plugin *p)
{
    lane_timer_cancel(&p->host->home, &p->retry);
    mem_free(p->path);
    mem_free(p->flag_options);
    mem_free(p->set_options);
    mem_free(p);
}

/* ---- one step ----------------------------------------------------------------------------------
 */

void plugin_advance(struct plugin *p)
{
    struct plugin_host *h = p->host;
    bool quit = p->quit || h->stopping;
    if (p->busy || p->instance == NULL) {
        return;
    }
    if (p->state == HOST_LEADING) {
        if (quit || p->failed || !h->leads || h->term != p->term) {
            p->busy = true;
            plugin_set_state(p, HOST_STOPPING);
            instance_run(p->instance, STEP_STOP, NULL, plugin_stop_reason(p));
        }
        return;
    }
    if (quit) {
        p->busy = true;
        plugin_set_state(p, HOST_STOPPING);
        lane_timer_cancel(&h->home, &p->retry);
        instance_run(p->instance, STEP_FINI, NULL, KVP_STOPPED);
        return;
    }
    if (p->state == HOST_READY && h->leads && !p->failed) {
        plugin_register(p);
    }
}

static void plugin_on_init(struct plugin *p, int err)
{
    if (err == 0) {
        plugin_set_state(p, HOST_READY);
        p->why[0] = '\0';
        instance_lend(p->instance);
        web_serve(p->instance);
        p->instance->providing = true;
        LOG(LOG_INFO, "plugin loaded", F_STR("plugin", p->name),
            F_STR("version", p->descriptor->version), F_STR("path", p->path),
            F_STR("sha256", p->sha256), F_UINT("abi-major", p->descriptor->abi_major),
            F_UINT("abi-minor", p->descriptor->abi_minor));
        return;
    }
    const char *why = p->instance->step_why.text;
    snprintf(p->why, sizeof(p->why), "%.300s: init failed: %.150s", p->path,
             why[0] != '\0' ? why : "it gave no reason");
    LOG(LOG_ERROR, "plugin refused", F_STR("plugin", p->name), F_STR("why", p->why));
    p->quit = true;
}

static void plugin_on_start(struct plugin *p, int err)
{
    /* Without memory for the context there is nothing to stop. */
    plugin_set_state(p, p->instance->home_term != NULL ? HOST_LEADING : HOST_READY);
    if (err == 0) {
        p->retry_ms = 0;
        p->why[0] = '\0';
        LOG(LOG_INFO, "plugin leads", F_STR("plugin", p->name), F_UINT("term", p->term),
            F_UINT("epoch", p->epoch));
        return;
    }
    LOG(LOG_ERROR, "a plugin could not start its term; trying again", F_STR("plugin", p->name),
        F_UINT("term", p->term), F_INT("result", err));
    snprintf(p->why, sizeof(p->why), "its start failed with %d, it is tried again", err);
    plugin_retry(p);
}

static void plugin_on_reload(struct plugin *p, int err)
{
    struct instance *in = p->instance;
    const char *why = in->step_why.text;
    if (err == 0) {
        mem_free(in->conf); /* the plugin has let go of it: kvplugin.h */
        in->conf = p->new_conf;
        LOG(LOG_INFO, "plugin has new options", F_STR("plugin", p->name));
    } else {
        mem_free(p->new_conf);
        why = why[0] != '\0' ? why : "the plugin gave no reason";
        LOG(LOG_WARN, "plugin keeps its old options", F_STR("plugin", p->name), F_STR("why", why));
    }
    void (*reloaded)(void *data, int err, const char *why) = p->reloaded;
    p->new_conf = NULL;
    p->reloaded = NULL;
    reloaded(p->reloaded_data, err == 0 ? 0 : ERR_INVALID, err == 0 ? "" : why);
}

void plugin_on_step(struct plugin *p)
{
    struct instance *in = p->instance;
    p->busy = false;
    switch (in->step) {
    case STEP_INIT:
        plugin_on_init(p, in->step_err);
        break;
    case STEP_START:
        plugin_on_start(p, in->step_err);
        break;
    case STEP_RELOAD:
        plugin_on_reload(p, in->step_err);
        break;
    case STEP_STOP:
        plugin_set_state(p, HOST_READY);
        LOG(LOG_INFO, "plugin leads no more", F_STR("plugin", p->name), F_UINT("term", p->term));
        break;
    case STEP_FINI:
        p->busy = true;
        instance_close(in, plugin_on_closed, p);
        return;
    }
    plugin_move(p);
}

void plugin_fail(struct plugin *p, uint64_t term, const char *why)
{
    if (p->state != HOST_LEADING || (term != 0 && term != p->term) || p->failed) {
        LOG(LOG_WARN, "a plugin asks to be restarted, but has no term to start again",
            F_STR("plugin", p->name), F_STR("why", why));
        return;
    }
    LOG(LOG_ERROR, "a plugin asks to be restarted", F_STR("plugin", p->name), F_STR("why", why));
    snprintf(p->why, sizeof(p->why), "it asked to be started again: %.300s", why);
    plugin_retry(p);
    plugin_advance(p);
}
