/* server.c - everything of one node, started in order and stopped in reverse.
 *
 * Start: data directory -> serve (store, checkpoint thread) -> raft thread (reads the log) ->
 * services. The rest happens on the loop: raft elects itself, its barrier is applied, serve says
 * ready, the listeners open. They do not open before, so that whoever connects gets answers
 * (contract trap 22). Plugins are loaded last and stopped first, while the store still answers
 * them. Stop: plugins -> GOAWAY and a grace time for calls in flight -> connections -> services
 * -> raft, whose last commits are still applied -> serve -> data directory. */
#include "kvd/server.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/rand.h"
#include "base/tls.h"
#include "kvd/data_dir.h"
#include "kvd/dev_reload.h"
#include "kvd/node_metrics.h"
#include "kvd/raft_link.h"
#include "kvd/release.h"
#include "kvd/serve.h"
#include "plugins/host/host.h"
#include "rpc/server.h"
#include "rpc/svc.h"

/* Running calls may take so long after a stop was asked for (G-01: the whole stop in 1.5 s). */
#define SERVER_GRACE_MS 500u

struct kvd_server {
    const struct kvd_config *cfg;
    uv_loop_t *loop;
    struct kvd_server_callbacks callbacks;
    struct data_dir dir;
    struct raft_link link;
    struct serve *serve;
    struct plugin_host *host; /* NULL: it could not be made, or has stopped */
    struct dev_reload *dev;   /* NULL without --dev */
    struct svc *svc;
    struct rpc_server *clients;
    struct rpc_server *metrics; /* NULL without --listen-metrics-urls */
    struct tls_context *tls;    /* NULL without a URL that needs it */
    int servers_left;           /* to be shut down, then to be closed */
    bool ready;
    bool stopping;
    void (*stopped)(void *data);
    void *stopped_data;
};

/* ---- ready -------------------------------------------------------------------------------------
 */

static void server_fatal(void *data, const char *why)
{
    struct kvd_server *s = data;
    s->callbacks.fatal(s->callbacks.data, why);
}

static bool server_url_is_secure(const struct kvd_url *u)
{
    return u->scheme == KVD_HTTPS || u->scheme == KVD_UNIXS;
}

static bool server_url_is_path(const struct kvd_url *u)
{
    return u->scheme == KVD_UNIX || u->scheme == KVD_UNIXS;
}

/* Is the same address also listed with TLS, or without it? One listener then serves both (W-04). */
static bool server_has_twin(const struct kvd_urls *urls, const struct kvd_url *u)
{
    for (size_t i = 0; i < urls->count; i++) {
        const struct kvd_url *other = &urls->urls[i];
        if (server_url_is_secure(other) != server_url_is_secure(u) &&
            server_url_is_path(other) == server_url_is_path(u) && other->port == u->port &&
            strcmp(other->host, u->host) == 0) {
            return true;
        }
    }
    return false;
}

static int server_listen(struct rpc_server *rpc, const struct kvd_urls *urls,
                         struct tls_context *tls, struct errmsg *e)
{
    for (size_t i = 0; i < urls->count; i++) {
        const struct kvd_url *u = &urls->urls[i];
        bool secure = server_url_is_secure(u);
        bool twin = server_has_twin(urls, u);
        char path[256];
        const char *host = u->host;
        if (twin && !secure) {
            continue; /* the other one's listener serves it */
        }
        if (server_url_is_path(u)) {
            snprintf(path, sizeof(path), "unix:%s", u->host);
            host = path;
        }
        int err = secure ? rpc_server_listen_tls(rpc, host, u->port, tls, twin, e)
                         : rpc_server_listen(rpc, host, u->port, e);
        if (err != 0) {
            return err;
        }
    }
    return 0;
}

static void server_announce(const struct kvd_urls *urls)
{
    for (size_t i = 0; i < urls->count; i++) {
        const char *text = server_url_is_secure(&urls->urls[i])
                               ? "serving client traffic securely"
                               : "serving client traffic insecurely; this is strongly discouraged!";
        LOG(LOG_INFO, text, F_STR("traffic", "grpc+http"), F_STR("address", urls->urls[i].text));
    }
}

static void server_on_ready(void *data)
{
    struct kvd_server *s = data;
    struct errmsg e = {""};
    if (s->stopping) {
        return;
    }
    int err = server_listen(s->clients, &s->cfg->listen_client, s->tls, &e);
    if (err == 0 && s->metrics != NULL) {
        err = server_listen(s->metrics, &s->cfg->listen_metrics, s->tls, &e);
    }
    if (err != 0) {
        LOG(LOG_ERROR, "cannot listen", F_STR("error", e.text));
        server_fatal(s, e.text);
        return;
    }
    s->ready = true;
    LOG(LOG_INFO, "ready to serve client requests", F_STR("name", s->cfg->name),
        F_HEX("member-id", s->dir.member_id), F_HEX("cluster-id", s->dir.cluster_id),
        F_INT("revision", kv_revision(serve_kv(s->serve))));
    server_announce(&s->cfg->listen_client);
    if (s->host != NULL) {
        host_ready(s->host);
    }
    s->callbacks.ready(s->callbacks.data);
}

/* ---- plugins -----------------------------------------------------------------------------------
 */

static void server_on_role(void *data, bool leads, uint64_t term)
{
    struct kvd_server *s = data;
    if (s->host != NULL) {
        host_role(s->host, leads, term);
    }
}

/* Plugins that cannot be loaded are logged and listed: the member serves without them. */
static void server_load_plugins(struct kvd_server *s)
{
    const struct kvd_config *cfg = s->cfg;
    struct host_options options = {.service = serve_service(s->serve),
                                   .loop = s->loop,
                                   .clients = s->clients,
                                   .data_dir = cfg->data_dir,
                                   .member_id = s->dir.member_id,
                                   .version = KVD_VERSION};
    struct errmsg e = {""};
    if (host_new(&options, &s->host, &e) != 0) {
        LOG(LOG_ERROR, "no plugins", F_STR("error", e.text));
        return;
    }
    svc_set_plugins(s->svc, host_admin(s->host));
    for (size_t i = 0; cfg->plugins[i] != NULL; i++) {
        (void)host_load(s->host, cfg->plugins[i], &e);
    }
    if (cfg->plugin_dir[0] != '\0' && host_load_dir(s->host, cfg->plugin_dir, &e) != 0) {
        LOG(LOG_ERROR, "not all of --plugin-dir could be loaded", F_STR("path", cfg->plugin_dir),
            F_STR("error", e.text));
    }
    if (cfg->dev) {
        s->dev = dev_reload_start(s->loop, host_admin(s->host));
    }
}

/* ---- start -------------------------------------------------------------------------------------
 */

static int server_open_dir(struct kvd_server *s, struct errmsg *e)
{
    const struct kvd_config *cfg = s->cfg;
    struct data_dir_identity identity = {.peer_urls = cfg->advertise_peer.texts,
                                         .peer_url_count = cfg->advertise_peer.count,
                                         .token = cfg->initial_cluster_token};
    return data_dir_open(&s->dir, cfg->data_dir, &identity, e);
}

static const struct http_route *server_metrics_routes(void)
{
    /* H-08: these pages only. */
    static struct http_route routes[16];
    size_t n = 0;
    for (const struct http_route *r = svc_routes(); r->path != NULL && n < 15; r++) {
        if (strcmp(r->path, "/version") != 0 && strcmp(r->path, "/debug/vars") != 0) {
            routes[n++] = *r;
        }
    }
    routes[n].path = NULL;
    return routes;
}

/* What serve knows, and the bytes of the client listeners. */
static void server_metrics(void *data, struct buf *out)
{
    struct kvd_server *s = data;
    struct rpc_server_stats stats;
    serve_metrics_render(s->serve, out);
    if (s->host != NULL) {
        host_metrics_render(s->host, out);
    }
    rpc_server_stats(s->clients, &stats);
    buf_printf(out,
               "# HELP etcd_network_client_grpc_received_bytes_total The total number of bytes "
               "received from grpc clients.\n"
               "# TYPE etcd_network_client_grpc_received_bytes_total counter\n"
               "etcd_network_client_grpc_received_bytes_total %" PRIu64 "\n"
               "# HELP etcd_network_client_grpc_sent_bytes_total The total number of bytes sent to "
               "grpc clients.\n"
               "# TYPE etcd_network_client_grpc_sent_bytes_total counter\n"
               "etcd_network_client_grpc_sent_bytes_total %" PRIu64 "\n"
               "# HELP kvd_rpc_connections Open client connections.\n"
               "# TYPE kvd_rpc_connections gauge\n"
               "kvd_rpc_connections %zu\n",
               stats.received_bytes, stats.sent_bytes, stats.connections);
}

static int server_make_tls(struct kvd_server *s, struct errmsg *e)
{
    const struct kvd_config *cfg = s->cfg;
    if (!cfg->tls) {
        return 0;
    }
    const struct tls_options options = {
        .cert_file = cfg->cert_file,
        .key_file = cfg->key_file,
        .ca_file = cfg->trusted_ca_file,
        .client_auth = cfg->client_cert_required ? TLS_CLIENT_REQUIRE : TLS_CLIENT_NONE,
        .cipher_suites = cfg->cipher_suites,
        .version_min = cfg->tls_version_min,
        .version_max = cfg->tls_version_max,
    };
    s->tls = tls_context_new(&options, e);
    return s->tls != NULL ? 0 : ERR_INVALID;
}

static int server_make_services(struct kvd_server *s, struct errmsg *e)
{
    const struct kvd_config *cfg = s->cfg;
    struct svc_options options = {.service = serve_service(s->serve),
                                  .loop = s->loop,
                                  .election_ms = cfg->election_ms,
                                  .slow_request_ms = cfg->warning_unary_ms,
                                  .extensive_metrics = cfg->extensive_metrics,
                                  .metrics = server_metrics,
                                  .metrics_data = s};
    s->svc = svc_new(&options);
    if (s->svc == NULL) {
        return errmsg_set(e, ERR_NOMEM, "services: out of memory");
    }
    struct rpc_server_options rpc = {
        .methods = svc_methods(),
        .routes = svc_routes(),
        .data = s->svc,
        .message_bytes_max = cfg->max_request_bytes + REQUEST_OVERHEAD_BYTES,
        .concurrent_streams_max = cfg->max_concurrent_streams,
        .connections_max = cfg->max_connections,
        .keepalive_min_ms = cfg->keepalive_min_ms,
        .keepalive_interval_ms = cfg->keepalive_interval_ms,
        .keepalive_timeout_ms = cfg->keepalive_timeout_ms,
        .cors = cfg->cors,
        .host_whitelist = cfg->host_whitelist,
        .on_finished = svc_on_finished,
    };
    s->clients = rpc_server_new(s->loop, &rpc);
    if (s->clients == NULL) {
        return errmsg_set(e, ERR_NOMEM, "rpc server: out of memory");
    }
    if (cfg->listen_metrics.count > 0) {
        static const struct rpc_method none[] = {{.service = NULL}};
        rpc.methods = none;
        rpc.routes = server_metrics_routes();
        s->metrics = rpc_server_new(s->loop, &rpc);
        if (s->metrics == NULL) {
            return errmsg_set(e, ERR_NOMEM, "metrics server: out of memory");
        }
    }
    return 0;
}

/* Undoes a start that failed: nothing of it answered anybody yet. The process is about to end, but
 * its handles are closed and its threads joined like in any stop. */
static void server_undo(struct kvd_server *s);

int kvd_server_start(const struct kvd_config *cfg, uv_loop_t *loop,
                     const struct kvd_server_callbacks *callbacks, struct kvd_server **out,
                     struct errmsg *e)
{
    struct kvd_server *s = mem_zalloc(sizeof(*s));
    if (s == NULL) {
        return errmsg_set(e, ERR_NOMEM, "out of memory");
    }
    s->cfg = cfg;
    s->loop = loop;
    s->callbacks = *callbacks;
    node_metrics_register();
    raft_link_init(&s->link, server_fatal, s);
    int err = server_make_tls(s, e);
    if (err == 0) {
        err = server_open_dir(s, e);
    }
    if (err != 0) {
        raft_link_close(&s->link);
        tls_context_free(s->tls);
        mem_free(s);
        return err;
    }
    uint64_t incarnation;
    rand_system(&incarnation, sizeof(incarnation));
    struct serve_options options = {
        .cfg = cfg,
        .loop = loop,
        .raft = &s->link.raft,
        .ids = {.cluster_id = s->dir.cluster_id, .member_id = s->dir.member_id},
        .incarnation = incarnation,
        .store_dir = s->dir.db_dir,
        .ready = server_on_ready,
        .role = server_on_role,
        .fatal = server_fatal,
        .data = s,
    };
    err = serve_new(&options, &s->serve, e);
    if (err == 0) {
        err = server_make_services(s, e);
    }
    if (err == 0) {
        struct raft_link_options raft = {.cfg = cfg,
                                         .loop = loop,
                                         .log_dir = s->dir.log_dir,
                                         .member_id = s->dir.member_id,
                                         .incarnation = incarnation,
                                         .fresh = s->dir.fresh};
        err = raft_link_start(&s->link, s->serve, &raft, e);
    }
    if (err == 0 && s->dir.fresh) {
        err = data_dir_finish(&s->dir, e);
    }
    if (err != 0) {
        server_undo(s);
        return err;
    }
    server_load_plugins(s);
    *out = s;
    return 0;
}

/* ---- stop --------------------------------------------------------------------------------------
 */

static void server_on_serve_closed(void *data)
{
    struct kvd_server *s = data;
    raft_link_close(&s->link);
    data_dir_close(&s->dir);
    tls_context_free(s->tls);
    void (*cb)(void *) = s->stopped;
    void *cb_data = s->stopped_data;
    mem_free(s);
    cb(cb_data);
}

static void server_on_raft_stopped(void *data)
{
    struct kvd_server *s = data;
    s->link.loop = NULL;
    if (s->serve == NULL) {
        server_on_serve_closed(s);
        return;
    }
    serve_close(s->serve, server_on_serve_closed, s);
}

static void server_on_svc_closed(void *data)
{
    struct kvd_server *s = data;
    if (s->link.loop == NULL) {
        server_on_raft_stopped(s);
        return;
    }
    raft_link_stop(&s->link, server_on_raft_stopped, s);
}

static void server_stop_svc(struct kvd_server *s)
{
    if (s->svc == NULL) {
        server_on_svc_closed(s);
        return;
    }
    svc_close(s->svc, server_on_svc_closed, s);
}

static void server_on_closed(void *data)
{
    struct kvd_server *s = data;
    if (--s->servers_left == 0) {
        server_stop_svc(s);
    }
}

static void server_close_listeners(struct kvd_server *s)
{
    if (s->serve != NULL) {
        serve_stop(s->serve);
    }
    s->servers_left = (s->clients != NULL) + (s->metrics != NULL);
    if (s->servers_left == 0) {
        server_stop_svc(s);
        return;
    }
    if (s->metrics != NULL) {
        rpc_server_close(s->metrics, server_on_closed, s);
    }
    if (s->clients != NULL) {
        rpc_server_close(s->clients, server_on_closed, s);
    }
}

static void server_on_shut_down(void *data)
{
    struct kvd_server *s = data;
    if (--s->servers_left == 0) {
        server_close_listeners(s);
    }
}

static void server_shut_down(struct kvd_server *s)
{
    if (!s->ready) {
        server_close_listeners(s);
        return;
    }
    s->servers_left = 1 + (s->metrics != NULL);
    if (s->metrics != NULL) {
        rpc_server_shutdown(s->metrics, SERVER_GRACE_MS, server_on_shut_down, s);
    }
    rpc_server_shutdown(s->clients, SERVER_GRACE_MS, server_on_shut_down, s);
}

static void server_on_host_stopped(void *data)
{
    struct kvd_server *s = data;
    s->host = NULL;
    svc_set_plugins(s->svc, NULL);
    server_shut_down(s);
}

void kvd_server_stop(struct kvd_server *s, void (*cb)(void *data), void *data)
{
    LOG(LOG_INFO, "closing the server", F_BOOL("ready", s->ready));
    s->stopping = true;
    s->stopped = cb;
    s->stopped_data = data;
    if (s->dev != NULL) {
        dev_reload_stop(s->dev);
        s->dev = NULL;
    }
    if (s->host != NULL) {
        host_stop(s->host, server_on_host_stopped, s);
        return;
    }
    server_shut_down(s);
}

static void server_on_undone(void *data)
{
    *(bool *)data = true;
}

static void server_undo(struct kvd_server *s)
{
    bool undone = false;
    uv_loop_t *loop = s->loop;
    s->stopping = true;
    s->stopped = server_on_undone;
    s->stopped_data = &undone;
    server_close_listeners(s);
    while (!undone) {
        uv_run(loop, UV_RUN_ONCE);
    }
}
