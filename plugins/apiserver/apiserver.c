/* apiserver.c - the API server plugin: its options, and how its parts are joined.
 *
 * Every member serves: reads are linearizable, writes compare what they change (KVP_FOLLOW), so
 * nothing here depends on a role, except that the leader sees to the system's namespaces. */
#include "plugins/apiserver/apiserver.h"

#include <stdio.h>

#include "base/alloc.h"
#include "plugins/apiserver/admit.h"
#include "plugins/apiserver/bootstrap.h"
#include "plugins/apiserver/deadline.h"
#include "plugins/apiserver/issuer.h"
#include "plugins/apiserver/openapi.h"
#include "plugins/apiserver/pki.h"
#include "plugins/apiserver/provide.h"
#include "plugins/apiserver/remember.h"
#include "plugins/apiserver/reach.h"
#include "plugins/apiserver/serve.h"
#include "plugins/apiserver/service.h"
#include "plugins/apiserver/trust.h"

static const struct kvp_option options[] = {
    {"address", KVP_OPT_STRING, 0, offsetof(struct apiserver_conf, address), "127.0.0.1",
     .help = "IP address to serve on"},
    {"port", KVP_OPT_INT, 0, offsetof(struct apiserver_conf, port), "6443", 0, 65535,
     .help = "port to serve on; 0 = any free one"},
    {"advertise", KVP_OPT_STRING, 0, offsetof(struct apiserver_conf, advertise), "",
     .help = "host:port that discovery tells clients; empty: address and port"},
    {"insecure-allow-all", KVP_OPT_BOOL, 0, offsetof(struct apiserver_conf, insecure_allow_all),
     "false", .help = "let everybody do everything, without showing who he is"},
    {"insecure-http", KVP_OPT_BOOL, 0, offsetof(struct apiserver_conf, insecure_http), "false",
     .help = "serve without TLS: tokens can be read on the way"},
    {"anonymous-auth", KVP_OPT_BOOL, 0, offsetof(struct apiserver_conf, anonymous_auth), "true",
     .help = "callers who show nothing are system:anonymous; else they are refused"},
    {"tls-cert-file", KVP_OPT_STRING, 0, offsetof(struct apiserver_conf, tls_cert_file), "",
     .help = "the server's certificate; empty: signed by an authority of our own"},
    {"tls-private-key-file", KVP_OPT_STRING, 0,
     offsetof(struct apiserver_conf, tls_private_key_file), "", .help = "its key"},
    {"client-ca-file", KVP_OPT_STRING, 0, offsetof(struct apiserver_conf, client_ca_file), "",
     .help = "who signs clients' certificates; empty: our own authority"},
    {"service-account-key-file", KVP_OPT_STRING, 0,
     offsetof(struct apiserver_conf, service_account_key_file), "",
     .help = "further keys that tokens may be signed with, public or private"},
    {"service-account-signing-key-file", KVP_OPT_STRING, 0,
     offsetof(struct apiserver_conf, service_account_signing_key_file), "",
     .help = "the key that signs tokens, RSA or elliptic; empty: one of our own"},
    {"service-account-issuer", KVP_OPT_STRING, 0,
     offsetof(struct apiserver_conf, service_account_issuer),
     "https://kubernetes.default.svc.cluster.local", .help = "iss of tokens"},
    {"api-audiences", KVP_OPT_STRING, 0, offsetof(struct apiserver_conf, api_audiences), "",
     .help = "aud of tokens for this server, with blanks between; empty: the issuer"},
    {"service-cluster-ip-range", KVP_OPT_STRING, 0,
     offsetof(struct apiserver_conf, service_cluster_ip_range), "10.96.0.0/12",
     .help = "network that services get their addresses from"},
    {"service-node-port-range", KVP_OPT_STRING, 0,
     offsetof(struct apiserver_conf, service_node_port_range), "30000-32767",
     .help = "ports that services get on all nodes"},
    {"disable-admission-plugins", KVP_OPT_STRING, 0,
     offsetof(struct apiserver_conf, disable_admission_plugins), "",
     .help = "admission plugins that do not run, joined by +: ServiceAccount, Priority, "
             "DefaultTolerationSeconds, TaintNodesByCondition"},
    {0}};

/* The port, and the other plugins' way in; a host may lack one of them (tests, simulations). */
static int api_open(struct apiserver *api, struct kvp_errmsg *e)
{
    int rc = pki_open(api, e);
    rc = rc == 0 ? issuer_open(api, pki_token_key(api->pki), e) : rc;
    if (rc != 0) {
        return rc;
    }
    int serves = serve_open(api, e);
    if (serves == 0) {
        KVP_LOG(api->host, api->ctx, KVP_INFO, "serving", kvp_f_str("address", api->conf->address),
                kvp_f_int("port", api->port));
    } else if (serves == KVP_UNSUPPORTED) {
        KVP_LOG(api->host, api->ctx, KVP_WARN, "only plugins are served",
                kvp_f_str("why", e->text));
    } else {
        return serves;
    }
    rc = pki_store(api, e);
    if (rc != 0) {
        return rc;
    }
    int provides = provide_open(api);
    if (provides == 0 || (provides == KVP_UNSUPPORTED && serves == 0)) {
        return 0;
    }
    snprintf(e->text, sizeof e->text, "objects cannot be provided to plugins (reason %d)",
             provides);
    return provides;
}

static int api_init(struct kvp_ctx *ctx, const struct kvp_host *host, const void *conf, void **self,
                    struct kvp_errmsg *e)
{
    struct apiserver *api = mem_zalloc(sizeof *api);
    if (api == NULL) {
        snprintf(e->text, sizeof e->text, "out of memory");
        return KVP_NO_MEMORY;
    }
    api->host = host;
    api->ctx = ctx;
    api->conf = conf;
    if (!admit_parse_disabled(api->conf->disable_admission_plugins, &api->admission_disabled)) {
        snprintf(e->text, sizeof e->text, "disable-admission-plugins: unknown plugin in %s",
                 api->conf->disable_admission_plugins);
        mem_free(api);
        return KVP_INVALID;
    }
    const char *why = service_ranges_parse(api->conf->service_cluster_ip_range,
                                           api->conf->service_node_port_range, &api->ranges);
    if (why != NULL) {
        snprintf(e->text, sizeof e->text,
                 "service-cluster-ip-range %s, service-node-port-range %s: %s",
                 api->conf->service_cluster_ip_range, api->conf->service_node_port_range, why);
        mem_free(api);
        return KVP_INVALID;
    }
    int rc = api_open(api, e);
    if (rc == 0 && (!admit_open(api) || reach_open(api) != 0)) {
        snprintf(e->text, sizeof e->text, "out of memory");
        provide_close(api);
        rc = KVP_NO_MEMORY;
    }
    if (rc != 0) {
        admit_close(api);
        issuer_close(api);
        pki_close(api);
        mem_free(api);
        return rc;
    }
    pki_begin(api);
    if (api->conf->insecure_allow_all) {
        KVP_LOG(host, ctx, KVP_WARN, "everybody may do everything",
                kvp_f_str("option", "insecure-allow-all"));
    }
    *self = api;
    return 0;
}

static int api_start(void *self, struct kvp_ctx *term, uint64_t number)
{
    struct apiserver *api = self;
    /* What a start that failed left behind. */
    bootstrap_stop(api);
    reach_stop(api);
    trust_stop(api);
    int rc = bootstrap_start(api, term);
    rc = rc == 0 ? reach_start(api, term) : rc;
    return rc == 0 ? trust_start(api, term) : rc;
}

static void api_stop(void *self, int32_t reason)
{
    bootstrap_stop(self);
    reach_stop(self);
    trust_stop(self);
}

static void api_fini(void *self)
{
    struct apiserver *api = self;
    bootstrap_stop(api);
    reach_stop(api);
    trust_stop(api);
    provide_close(api);
    reach_close(api);
    openapi_close(api);
    remember_close(api);
    admit_close(api);
    deadline_close(api);
    issuer_close(api);
    pki_close(api);
    mem_free(api);
}

KVP_PLUGIN(.name = "apiserver", .version = "0.1", .about = "serves the Kubernetes API",
           .flags = KVP_FOLLOW, .lanes = KVP_LANE_THREAD | KVP_LANE_LOOP, .options = options,
           .conf_size = sizeof(struct apiserver_conf), .init = api_init, .start = api_start,
           .stop = api_stop, .fini = api_fini);
