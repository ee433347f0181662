/* svc_plugin.c - kvdpb.Plugin: List, Describe, Top, Config, Reload, Enable, Disable
 * (proto/kvd/plugin.proto) over the plugin host's plugin_admin.
 *
 * Steps of each: the host is there, the name is known, the request goes out, its result is encoded.
 * When the client leaves first the request is canceled: a change goes on, nobody is told. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/nearest.h"
#include "rpc/svc_common.h"
#include "rpc/svc_plugin_answer.h"

static int64_t svc_plugin_now_ms(void)
{
    return (int64_t)(clock_wall_us() / 1000);
}

/* ---- refusals ----------------------------------------------------------------------------------
 */

struct svc_plugin_search {
    struct nearest nearest;
    bool found;
};

static void svc_plugin_offer(void *data, const char *name)
{
    struct svc_plugin_search *search = data;
    nearest_offer(&search->nearest, name);
    search->found = search->found || strcmp(search->nearest.wanted, name) == 0;
}

static struct plugin_admin *svc_plugin_admin(struct rpc_call *call)
{
    struct plugin_admin *admin = svc_of(call)->options.plugins;
    if (admin == NULL) {
        rpc_call_finish(call, GRPC_UNIMPLEMENTED,
                        "kvd: this server has no plugin host, so there are no plugins to show or "
                        "to change (see docs/status.md)");
    }
    return admin;
}

/* Is there a plugin of this name? false: the call was finished with the error. */
static bool svc_plugin_known(struct rpc_call *call, struct plugin_admin *admin, const char *name)
{
    char text[512];
    struct svc_plugin_search search = {.found = false};
    if (*name == '\0') {
        rpc_call_finish(call, GRPC_INVALID_ARGUMENT, "kvd: the request names no plugin");
        return false;
    }
    nearest_init(&search.nearest, name);
    admin->names(admin, svc_plugin_offer, &search);
    if (search.found) {
        return true;
    }
    if (search.nearest.word == NULL) {
        snprintf(text, sizeof(text),
                 "kvd: there is no plugin \"%.100s\": none is loaded on this member", name);
    } else {
        struct arena arena;
        arena_init(&arena, 0);
        const char *near = svc_plugin_text(&arena, search.nearest.word);
        snprintf(text, sizeof(text),
                 "kvd: there is no plugin \"%.100s\" on this member; the nearest is \"%.200s\"",
                 name, near != NULL ? near : "");
        arena_close(&arena);
    }
    rpc_call_finish(call, GRPC_NOT_FOUND, text);
    return false;
}

/* Ends u with the host's error. */
static void svc_plugin_fail(struct svc_unary *u, const struct plugin_admin_result *result)
{
    char text[ERRMSG_BYTES_MAX + 8];
    struct arena arena;
    arena_init(&arena, 0);
    const char *why = svc_plugin_text(&arena, result->why);
    if (why == NULL || *why == '\0') {
        snprintf(text, sizeof(text), "%s", err_text(result->err));
    } else {
        snprintf(text, sizeof(text), "kvd: %s", why);
    }
    LOG(LOG_WARN, "plugin request failed", F_STR("method", rpc_call_method(u->call)->method),
        F_STR("error", text));
    svc_unary_fail(u, (int)err_grpc(result->err), text);
    arena_close(&arena);
}

/* ---- answers -----------------------------------------------------------------------------------
 */

/* Answers with a message made in the arena, whose header field is empty: it comes in front. NULL or
 * `failed`: out of memory. */
static void svc_plugin_answer(struct svc_unary *u, const void *message, bool failed)
{
    struct svc *s = u->svc;
    struct buf *out = &s->scratch;
    buf_clear(out);
    bool ok = message != NULL && !failed && codec_encode(message, out);
    svc_unary_answer(u, ok ? 0 : ERR_NOMEM, svc_revision(s),
                     ok ? buf_slice(out) : slice_of(NULL, 0));
}

static void svc_plugin_on_list(struct plugin_admin_req *r, const struct plugin_admin_result *result)
{
    Kvdpb__PluginListResponse m = KVDPB__PLUGIN_LIST_RESPONSE__INIT;
    struct arena arena;
    bool failed = false;
    if (result->err != 0) {
        svc_plugin_fail(r->data, result);
        return;
    }
    arena_init(&arena, 0);
    m.now_unix_ms = svc_plugin_now_ms();
    m.plugins = arena_alloc(&arena, (result->count + 1) * sizeof(*m.plugins));
    for (size_t i = 0; m.plugins != NULL && i < result->count; i++) {
        m.plugins[i] = svc_plugin_info(&arena, &result->plugins[i]);
        failed = failed || m.plugins[i] == NULL;
    }
    m.n_plugins = result->count;
    svc_plugin_answer(r->data, m.plugins != NULL ? &m : NULL, failed);
    arena_close(&arena);
}

static void svc_plugin_on_top(struct plugin_admin_req *r, const struct plugin_admin_result *result)
{
    Kvdpb__PluginTopResponse m = KVDPB__PLUGIN_TOP_RESPONSE__INIT;
    struct arena arena;
    bool failed = false;
    if (result->err != 0) {
        svc_plugin_fail(r->data, result);
        return;
    }
    arena_init(&arena, 0);
    m.now_mono_ns = clock_mono_ns();
    m.loads = arena_alloc(&arena, (result->count + 1) * sizeof(*m.loads));
    for (size_t i = 0; m.loads != NULL && i < result->count; i++) {
        m.loads[i] = svc_plugin_load(&arena, &result->plugins[i]);
        failed = failed || m.loads[i] == NULL;
    }
    m.n_loads = result->count;
    svc_plugin_answer(r->data, m.loads != NULL ? &m : NULL, failed);
    arena_close(&arena);
}

static void svc_plugin_on_describe(struct plugin_admin_req *r,
                                   const struct plugin_admin_result *result)
{
    Kvdpb__PluginDescribeResponse m = KVDPB__PLUGIN_DESCRIBE_RESPONSE__INIT;
    struct arena arena;
    bool failed = false;
    if (result->err != 0) {
        svc_plugin_fail(r->data, result);
        return;
    }
    arena_init(&arena, 0);
    m.now_unix_ms = svc_plugin_now_ms();
    m.plugin = svc_plugin_info(&arena, &result->plugins[0]);
    m.load = svc_plugin_load(&arena, &result->plugins[0]);
    m.options = svc_plugin_options(&arena, &result->plugins[0], &m.n_options, &failed);
    svc_plugin_answer(r->data, &m, failed || m.plugin == NULL || m.load == NULL);
    arena_close(&arena);
}

static void svc_plugin_on_config(struct plugin_admin_req *r,
                                 const struct plugin_admin_result *result)
{
    Kvdpb__PluginConfigResponse m = KVDPB__PLUGIN_CONFIG_RESPONSE__INIT;
    struct arena arena;
    bool failed = false;
    if (result->err != 0) {
        svc_plugin_fail(r->data, result);
        return;
    }
    arena_init(&arena, 0);
    m.name = svc_plugin_text(&arena, result->plugins[0].name);
    m.options = svc_plugin_options(&arena, &result->plugins[0], &m.n_options, &failed);
    svc_plugin_answer(r->data, &m, failed || m.name == NULL);
    arena_close(&arena);
}

static void svc_plugin_on_changed(struct plugin_admin_req *r,
                                  const struct plugin_admin_result *result)
{
    Kvdpb__PluginChangeResponse m = KVDPB__PLUGIN_CHANGE_RESPONSE__INIT;
    struct arena arena;
    if (result->err != 0) {
        svc_plugin_fail(r->data, result);
        return;
    }
    arena_init(&arena, 0);
    m.now_unix_ms = svc_plugin_now_ms();
    m.plugin = svc_plugin_info(&arena, &result->plugins[0]);
    m.previous_version = svc_plugin_text(&arena, result->previous_version);
    m.previous_sha256 = svc_plugin_text(&arena, result->previous_sha256);
    svc_plugin_answer(r->data, &m,
                      m.plugin == NULL || m.previous_version == NULL || m.previous_sha256 == NULL);
    arena_close(&arena);
}

/* ---- methods -----------------------------------------------------------------------------------
 */

/* The request struct of this call. NULL: the call was finished with the error. */
static struct plugin_admin_req *
svc_plugin_request(struct rpc_call *call, struct slice bytes,
                   void (*cb)(struct plugin_admin_req *r, const struct plugin_admin_result *result))
{
    struct svc_unary *u = svc_unary_new(call, bytes);
    if (u == NULL) {
        return NULL;
    }
    u->kind = SVC_UNARY_PLUGIN;
    u->req.plugin.data = u;
    u->req.plugin.cb = cb;
    return &u->req.plugin;
}

/* Reads all plugins (name NULL), or one. */
static void
svc_plugin_read(struct rpc_call *call, struct slice bytes, const char *name, unsigned parts,
                void (*cb)(struct plugin_admin_req *r, const struct plugin_admin_result *result))
{
    struct plugin_admin *admin = svc_plugin_admin(call);
    if (admin == NULL || (name != NULL && !svc_plugin_known(call, admin, name))) {
        return;
    }
    struct plugin_admin_req *r = svc_plugin_request(call, bytes, cb);
    if (r != NULL) {
        admin->read(admin, r, name, parts);
    }
}

void svc_plugin_list(struct rpc_call *call, struct slice bytes)
{
    svc_count_received(call);
    if (svc_decode(call, &kvdpb__plugin_list_request__descriptor, bytes) != NULL) {
        svc_plugin_read(call, bytes, NULL, 0, svc_plugin_on_list);
    }
}

void svc_plugin_describe(struct rpc_call *call, struct slice bytes)
{
    svc_count_received(call);
    Kvdpb__PluginDescribeRequest *r =
        svc_decode(call, &kvdpb__plugin_describe_request__descriptor, bytes);
    if (r != NULL) {
        svc_plugin_read(call, bytes, r->name, PLUGIN_READ_OPTIONS | PLUGIN_READ_LOAD,
                        svc_plugin_on_describe);
    }
}

void svc_plugin_top(struct rpc_call *call, struct slice bytes)
{
    svc_count_received(call);
    Kvdpb__PluginTopRequest *r = svc_decode(call, &kvdpb__plugin_top_request__descriptor, bytes);
    if (r != NULL) {
        svc_plugin_read(call, bytes, *r->name != '\0' ? r->name : NULL, PLUGIN_READ_LOAD,
                        svc_plugin_on_top);
    }
}

void svc_plugin_config(struct rpc_call *call, struct slice bytes)
{
    svc_count_received(call);
    Kvdpb__PluginConfigRequest *r =
        svc_decode(call, &kvdpb__plugin_config_request__descriptor, bytes);
    if (r != NULL) {
        svc_plugin_read(call, bytes, r->name, PLUGIN_READ_OPTIONS, svc_plugin_on_config);
    }
}

/* Who asked for what: the only trace of a change that an operator's mistake was behind. Values may
 * be secrets. */
static void svc_plugin_log(struct rpc_call *call, const char *name, size_t settings)
{
    LOG(LOG_INFO, "plugin change requested", F_STR("method", rpc_call_method(call)->method),
        F_STR("plugin", name), F_INT("settings", (int64_t)settings),
        F_STR("remote", rpc_call_peer(call)));
}

void svc_plugin_reload(struct rpc_call *call, struct slice bytes)
{
    svc_count_received(call);
    struct plugin_admin *admin = NULL;
    Kvdpb__PluginReloadRequest *r =
        svc_decode(call, &kvdpb__plugin_reload_request__descriptor, bytes);
    if (r == NULL || (admin = svc_plugin_admin(call)) == NULL ||
        !svc_plugin_known(call, admin, r->name)) {
        return;
    }
    struct plugin_setting settings[PLUGIN_SETTINGS_MAX];
    if (r->n_settings > PLUGIN_SETTINGS_MAX) {
        rpc_call_finish(call, GRPC_INVALID_ARGUMENT, "kvd: too many settings in one reload");
        return;
    }
    for (size_t i = 0; i < r->n_settings; i++) {
        settings[i] = (struct plugin_setting){r->settings[i]->name, r->settings[i]->value};
        if (*settings[i].name == '\0') {
            rpc_call_finish(call, GRPC_INVALID_ARGUMENT, "kvd: a setting has no name");
            return;
        }
    }
    struct plugin_admin_req *req = svc_plugin_request(call, bytes, svc_plugin_on_changed);
    if (req != NULL) {
        svc_plugin_log(call, r->name, r->n_settings);
        admin->reload(admin, req, r->name, settings, r->n_settings);
    }
}

void svc_plugin_enable(struct rpc_call *call, struct slice bytes)
{
    svc_count_received(call);
    struct plugin_admin *admin = NULL;
    Kvdpb__PluginEnableRequest *r =
        svc_decode(call, &kvdpb__plugin_enable_request__descriptor, bytes);
    if (r == NULL || (admin = svc_plugin_admin(call)) == NULL ||
        !svc_plugin_known(call, admin, r->name)) {
        return;
    }
    struct plugin_admin_req *req = svc_plugin_request(call, bytes, svc_plugin_on_changed);
    if (req != NULL) {
        svc_plugin_log(call, r->name, 0);
        admin->enable(admin, req, r->name);
    }
}

void svc_plugin_disable(struct rpc_call *call, struct slice bytes)
{
    svc_count_received(call);
    struct plugin_admin *admin = NULL;
    Kvdpb__PluginDisableRequest *r =
        svc_decode(call, &kvdpb__plugin_disable_request__descriptor, bytes);
    if (r == NULL || (admin = svc_plugin_admin(call)) == NULL ||
        !svc_plugin_known(call, admin, r->name)) {
        return;
    }
    struct plugin_admin_req *req = svc_plugin_request(call, bytes, svc_plugin_on_changed);
    if (req != NULL) {
        svc_plugin_log(call, r->name, 0);
        admin->disable(admin, req, r->name);
    }
}
