/* plugin.c - the life of one plugin, as home sees it.
 *
 *   STARTING --init--> READY --leads: epoch registered, start--> LEADING --stop--> READY --fini-->
 * gone
 *
 * plugin_advance compares what is with what should be and takes one step; whatever ends calls it
 * again. At most one step is under way (`busy`). A failed start or `fail` waits in `retry`. */
#include "plugins/host/host_impl.h"

#include "base/log.h"
#include "proto/codec.h"

static void plugin_on_retry(struct lane_timer *t)
{
    struct plugin *p = LIST_ENTRY(t, struct plugin, retry);
    p->failed = false;
    plugin_advance(p);
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
        p->state = HOST_STARTING;
        instance_run(p->instance, STEP_START, &stamp, 0);
        return;
    }
    if (err != 0 && h->leads && h->term == p->term) {
        LOG(LOG_WARN, "a plugin's leadership could not be registered; trying again",
            F_STR("plugin", p->name), F_UINT("term", p->term), F_STR("error", err_text(err)));
        plugin_retry(p);
    }
    plugin_advance(p);
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
    p->registration.cb = plugin_on_registered;
    if (request.failed) {
        plugin_on_registered(&p->registration, ERR_NOMEM, 0, slice_of(NULL, 0));
    } else {
        h->o.service->propose(h->o.service, &p->registration, SERVICE_EPOCH, buf_slice(&request));
    }
    buf_close(&request);
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
    p->instance = NULL;
    p->busy = false;
    if (p->state == HOST_STOPPING) {
        p->state = HOST_REFUSED;
    }
    host_instance_gone(p->host);
}

void plugin_free(struct plugin *p)
{
    lane_timer_cancel(&p->host->home, &p->retry);
    mem_free(p->path);
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
            p->state = HOST_STOPPING;
            instance_run(p->instance, STEP_STOP, NULL, plugin_stop_reason(p));
        }
        return;
    }
    if (quit) {
        p->busy = true;
        p->state = HOST_STOPPING;
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
        p->state = HOST_READY;
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
    p->state = p->instance->home_term != NULL ? HOST_LEADING : HOST_READY;
    if (err == 0) {
        p->retry_ms = 0;
        LOG(LOG_INFO, "plugin leads", F_STR("plugin", p->name), F_UINT("term", p->term),
            F_UINT("epoch", p->epoch));
        return;
    }
    LOG(LOG_ERROR, "a plugin could not start its term; trying again", F_STR("plugin", p->name),
        F_UINT("term", p->term), F_INT("result", err));
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
    p->new_conf = NULL;
    p->reloaded(p->reloaded_data, err == 0 ? 0 : ERR_INVALID, err == 0 ? "" : why);
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
        p->state = HOST_READY;
        LOG(LOG_INFO, "plugin leads no more", F_STR("plugin", p->name), F_UINT("term", p->term));
        break;
    case STEP_FINI:
        p->busy = true;
        instance_close(in, plugin_on_closed, p);
        return;
    }
    plugin_advance(p);
}

void plugin_fail(struct plugin *p, uint64_t term, const char *why)
{
    if (p->state != HOST_LEADING || (term != 0 && term != p->term) || p->failed) {
        LOG(LOG_WARN, "a plugin asks to be restarted, but has no term to start again",
            F_STR("plugin", p->name), F_STR("why", why));
        return;
    }
    LOG(LOG_ERROR, "a plugin asks to be restarted", F_STR("plugin", p->name), F_STR("why", why));
    plugin_retry(p);
    plugin_advance(p);
}
