/* instance.c - one running plugin: its lane, its self, and the four lifecycle callbacks. */
#include "plugins/host/host_impl.h"

#include "base/clock.h"
#include "base/log.h"
#include "plugins/host/blame.h"

static _Thread_local struct instance *callback_instance;
static _Thread_local uint64_t callback_started_ns;

struct instance *callback_current(void)
{
    return callback_instance;
}

void callback_enter(struct instance *in, const char *what, struct slice key, int64_t revision)
{
    struct crumb *c = in->crumb;
    callback_instance = in;
    callback_started_ns = clock_mono_ns();
    c->key_hash = key.len > 0 ? hash_bytes(key) : 0;
    c->revision = revision;
    atomic_store_explicit(&in->callback_revision, revision, memory_order_relaxed);
    strncpy(c->callback, what, sizeof(c->callback) - 1);
    atomic_store(&in->callback_since_ms, callback_started_ns / 1000000u);
    atomic_store(&in->callback, what);
    blame_begin(c, CRUMB_DIED_CALLBACK);
}

void callback_leave(struct instance *in)
{
    uint64_t ns = clock_mono_ns() - callback_started_ns;
    blame_end();
    if (atomic_load_explicit(&in->crumb->died, memory_order_relaxed) != 0) {
        atomic_store(&in->crumb->died, 0); /* it hung, and has come back */
    }
    const char *what = atomic_exchange(&in->callback, NULL);
    in->crumb->callback[0] = '\0';
    callback_instance = NULL;
    if (!list_empty(&in->web_said)) {
        web_send(in);
    }
    atomic_fetch_add_explicit(&in->callbacks, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&in->callback_ns, ns, memory_order_relaxed);
    times_add(&in->times, ns);
    uint64_t budget_ms = in->frozen || in->descriptor->lanes == KVP_LANE_LOOP
                             ? PLUGIN_CALLBACK_MS_MAX
                             : PLUGIN_INIT_MS_MAX;
    if (ns / 1000000u > budget_ms) {
        atomic_fetch_add_explicit(&in->callbacks_slow, 1, memory_order_relaxed);
        LOG(LOG_WARN, "a plugin's callback took too long: move its work to offload",
            F_STR("plugin", in->name), F_STR("callback", what),
            F_MS("took", (double)ns / 1000000.0), F_UINT("budget-ms", budget_ms));
    }
}

/* ---- steps on the lane -------------------------------------------------------------------------
 */

static void instance_on_stepped(struct lane_msg *m)
{
    plugin_on_step(LIST_ENTRY(m, struct instance, step_msg)->plugin);
}

static void instance_step_done(struct instance *in, int err)
{
    in->step_err = err;
    in->step_msg.run = instance_on_stepped;
    lane_post(&in->host->home, &in->step_msg);
}

static void instance_init(struct instance *in)
{
    int err;
    in->step_why.text[0] = '\0';
    callback_enter(in, "init", slice_of(NULL, 0), 0);
    err = in->descriptor->init(&in->root, host_table(in->host->o.version), in->conf, &in->self,
                               &in->step_why);
    callback_leave(in);
    in->step_why.text[sizeof(in->step_why.text) - 1] = '\0';
    in->inited = err == 0;
    in->frozen = true;
    if (err != 0) {
        ctx_silence(&in->root);
    }
    instance_step_done(in, err);
}

static void instance_start(struct instance *in)
{
    int err = 0;
    in->term = in->home_term;
    if (in->descriptor->start != NULL) {
        callback_enter(in, "start", slice_of(NULL, 0), 0);
        err = in->descriptor->start(in->self, in->term, in->term->stamp.term);
        callback_leave(in);
    }
    instance_step_done(in, err);
}

static void instance_term_ended(struct kvp_ctx *ctx)
{
    struct instance *in = ctx->instance;
    if (in->descriptor->stop != NULL) {
        callback_enter(in, "stop", slice_of(NULL, 0), 0);
        in->descriptor->stop(in->self, ctx->reason);
        callback_leave(in);
    }
    in->term = NULL;
    instance_step_done(in, 0);
}

static void instance_root_ended(struct kvp_ctx *ctx)
{
    struct instance *in = ctx->instance;
    if (in->inited && in->descriptor->fini != NULL) {
        callback_enter(in, "fini", slice_of(NULL, 0), 0);
        in->descriptor->fini(in->self);
        callback_leave(in);
    }
    log_tell_dropped(in);
    size_t left = atomic_load(&in->allocations);
    if (left > 0) {
        LOG(LOG_WARN, "a plugin left memory behind", F_STR("plugin", in->name),
            F_UINT("allocations", left), F_UINT("bytes", atomic_load(&in->memory_bytes)));
    }
    instance_step_done(in, 0);
}

static void instance_reload(struct instance *in)
{
    in->step_why.text[0] = '\0';
    callback_enter(in, "reload", slice_of(NULL, 0), 0);
    int err = in->descriptor->reload(in->self, in->plugin->new_conf, &in->step_why);
    callback_leave(in);
    in->step_why.text[sizeof(in->step_why.text) - 1] = '\0';
    instance_step_done(in, err);
}

static void instance_on_step(struct lane_msg *m)
{
    struct instance *in = LIST_ENTRY(m, struct instance, step_msg);
    if (in->step == STEP_INIT) {
        instance_init(in);
    } else if (in->step == STEP_RELOAD) {
        instance_reload(in);
    } else {
        instance_start(in);
    }
}

void instance_run(struct instance *in, enum instance_step step, const struct service_stamp *stamp,
                  int32_t reason)
{
    in->step = step;
    in->step_msg.run = instance_on_step;
    switch (step) {
    case STEP_STOP:
        ctx_end(in->home_term, reason, instance_term_ended);
        return;
    case STEP_FINI:
        ctx_end(&in->root, reason, instance_root_ended);
        return;
    case STEP_START:
        in->home_term = mem_alloc(sizeof(*in->home_term));
        if (in->home_term == NULL) {
            instance_step_done(in, KVP_NO_MEMORY);
            return;
        }
        ctx_init(in->home_term, in, stamp);
        list_push_back(&in->terms, &in->home_term->link);
        break;
    default:
        break;
    }
    lane_post(&in->lane, &in->step_msg);
}

/* ---- life --------------------------------------------------------------------------------------
 */

struct instance_closing {
    struct instance *instance;
    void (*cb)(void *data);
    void *data;
};

static void instance_free(struct instance *in)
{
    for (struct list *it; (it = list_pop_front(&in->terms)) != NULL;) {
        struct kvp_ctx *ctx = LIST_ENTRY(it, struct kvp_ctx, link);
        ctx_close(ctx);
        mem_free(ctx);
    }
    ctx_close(&in->root);
    web_close(in);
    object_close(in);
    metric_set_close(&in->metrics);
    meter_set_close(&in->meters);
    mem_free(in->conf);
    mem_free(in);
}

static void instance_on_closed(void *data)
{
    struct instance_closing *c = data;
    void (*cb)(void *) = c->cb;
    void *cb_data = c->data;
    instance_free(c->instance);
    mem_free(c);
    cb(cb_data);
}

void instance_close(struct instance *in, void (*cb)(void *data), void *data)
{
    struct instance_closing *c = mem_xalloc(sizeof(*c)); /* 24 bytes at the end of a plugin */
    *c = (struct instance_closing){.instance = in, .cb = cb, .data = data};
    lane_close(&in->lane, instance_on_closed, c);
}

static int instance_open_lane(struct instance *in, bool thread, struct errmsg *e)
{
    struct plugin_host *h = in->host;
    if (h->o.loop == NULL) {
        lane_open_manual(&in->lane, h->o.seed ^ hash_bytes(slice_str(in->name)));
        lane_set_clock(&in->lane, lane_now(&h->home));
        return 0;
    }
    return thread ? lane_open_thread(&in->lane, &h->home, in->name, e)
                  : lane_open_loop(&in->lane, h->o.loop, e);
}

void instance_lend(struct instance *in)
{
    bool both = in->descriptor->lanes == (KVP_LANE_THREAD | KVP_LANE_LOOP);
    if (both && in->host->o.loop != NULL && !in->host->o.no_threads) {
        lane_lend(&in->lane, &in->host->home);
    }
}

int instance_new(struct plugin *p, void *conf, struct instance **out, struct errmsg *e)
{
    struct plugin_host *h = p->host;
    struct instance *in = mem_zalloc(sizeof(*in));
    if (in == NULL) {
        return errmsg_set(e, ERR_NOMEM, "out of memory");
    }
    in->plugin = p;
    in->host = h;
    in->descriptor = p->descriptor;
    in->crumb = crumb_find(&h->crumbs, p->name, true);
    memcpy(in->name, p->name, sizeof(in->name));
    bool thread = !h->o.no_threads && p->descriptor->lanes != KVP_LANE_LOOP;
    int err = in->crumb == NULL
                  ? errmsg_set(e, ERR_TOO_MANY_REQUESTS, "more than %u plugins", PLUGINS_MAX)
                  : instance_open_lane(in, thread, e);
    if (err != 0) {
        mem_free(in);
        return err;
    }
    in->conf = conf;
    ctx_init(&in->root, in, NULL);
    list_init(&in->terms);
    metric_set_init(&in->metrics);
    web_init(in);
    list_init(&in->calls);
    meter_set_init(&in->meters);
    *out = in;
    h->instances++;
    hang_watch(h);
    instance_run(in, STEP_INIT, NULL, 0);
    return 0;
}
