/* controllers.c - the controllers plugin: its options, its informers, the list of controllers.
 *
 * Informers live as long as the instance, so a new leader finds them warm. Controllers live for a
 * term: they are opened in the order of the list and closed in the opposite one. */
#include "plugins/controllers/controllers.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "plugins/controllers/claim.h"
#include "plugins/controllers/conf.h"

/* All there are, in the order they are opened. A new one: its file, a line in controllers.h, a line
 * here. */
/* clang-format off */
static const struct controller *const controllers_list[] = {
    &node_lifecycle_controller,
    &taint_eviction_controller,
    &ttl_controller,
    &pod_gc_controller,
    &namespace_controller,
    &service_account_controller,
    &service_account_token_controller,
    &root_ca_controller,
    &endpoints_controller,
    &endpoint_slice_controller,
    &endpoint_mirror_controller,
    &replicaset_controller,
    &replication_controller,
    &deployment_controller,
    &garbage_collector,
};
/* clang-format on */
#define CONTROLLERS_COUNT (sizeof controllers_list / sizeof controllers_list[0])

#define AT(member) offsetof(struct controllers_conf, member)
#define DAY_MS     86400000

static const struct kvp_option options[] = {
    {"controllers", KVP_OPT_STRING, 0, AT(controllers), "*",
     .help = "names of controllers to run, separated by colons; * = all, -name = not this one"},
    {"node-monitor-period", KVP_OPT_DURATION, 0, AT(node_monitor_period_ms), "5s", 10, DAY_MS,
     .help = "how often the nodes are looked at"},
    {"node-monitor-grace-period", KVP_OPT_DURATION, 0, AT(node_monitor_grace_period_ms), "40s", 10,
     DAY_MS, .help = "a node that is silent for so long is not ready"},
    {"node-startup-grace-period", KVP_OPT_DURATION, 0, AT(node_startup_grace_period_ms), "1m", 10,
     DAY_MS, .help = "the same for a node that has never reported"},
    {"node-eviction-rate", KVP_OPT_STRING, 0, AT(node_eviction_rate), "0.1",
     .help = "nodes a second whose pods are evicted, in a healthy zone"},
    {"secondary-node-eviction-rate", KVP_OPT_STRING, 0, AT(secondary_node_eviction_rate), "0.01",
     .help = "the same in an unhealthy zone of a large cluster; in a small one it is 0"},
    {"unhealthy-zone-threshold", KVP_OPT_STRING, 0, AT(unhealthy_zone_threshold), "0.55",
     .help = "part of a zone's nodes (at least 3) that makes it unhealthy when not ready"},
    {"large-cluster-size-threshold", KVP_OPT_INT, 0, AT(large_cluster_size_threshold), "50", 0,
     1000000, .help = "a zone with more nodes than this is large"},
    {"terminated-pod-gc-threshold", KVP_OPT_INT, 0, AT(terminated_pod_gc_threshold), "12500", 0,
     100000000, .help = "ended pods that are kept; 0 = all"},
    {"max-endpoints-per-slice", KVP_OPT_INT, 0, AT(max_endpoints_per_slice), "100", 1, 1000,
     .help = "endpoints in one EndpointSlice"},
    {"endpoint-updates-batch-period", KVP_OPT_DURATION, 0, AT(endpoints_updates_batch_period_ms),
     "0s", 0, DAY_MS, .help = "how long changes of pods are collected before Endpoints change"},
    {"endpointslice-updates-batch-period", KVP_OPT_DURATION, 0,
     AT(endpointslice_updates_batch_period_ms), "0s", 0, DAY_MS,
     .help = "the same for EndpointSlices"},
    {"namespace-sync-period", KVP_OPT_DURATION, 0, AT(namespace_sync_period_ms), "5m", 1000, DAY_MS,
     .help = "how often ending namespaces are looked at again in any case"},
    {"root-ca-file", KVP_OPT_STRING, 0, AT(root_ca_file), "",
     .help = "certificates (PEM) that pods trust the API server by; empty: its own authority's"},
    {"concurrent-deployment-syncs", KVP_OPT_INT, 0, AT(concurrent_deployment_syncs), "5", 1, 1000,
     .help = "deployments in work at once"},
    {"concurrent-replicaset-syncs", KVP_OPT_INT, 0, AT(concurrent_replicaset_syncs), "5", 1, 1000,
     .help = "replica sets in work at once"},
    {"concurrent-rc-syncs", KVP_OPT_INT, 0, AT(concurrent_rc_syncs), "5", 1, 1000,
     .help = "replication controllers in work at once"},
    {"concurrent-gc-syncs", KVP_OPT_INT, 0, AT(concurrent_gc_syncs), "20", 1, 1000,
     .help = "objects the garbage collector works on at once"},
    {"concurrent-endpoint-syncs", KVP_OPT_INT, 0, AT(concurrent_endpoint_syncs), "5", 1, 1000,
     .help = "services whose Endpoints are in work at once"},
    {"concurrent-service-endpoint-syncs", KVP_OPT_INT, 0, AT(concurrent_service_endpoint_syncs),
     "5", 1, 1000, .help = "services whose EndpointSlices are in work at once"},
    {"concurrent-namespace-syncs", KVP_OPT_INT, 0, AT(concurrent_namespace_syncs), "10", 1, 1000,
     .help = "namespaces in work at once"},
    {0}};

/* ---- informers ------------------------------------------------------------------------------ */

static void controllers_pod_node(void *data, const struct object *o, struct index_emit *emit)
{
    (void)data;
    informer_emit(emit, object_text(o, "spec.nodeName"));
}

struct watched_kind {
    enum schema_type_id type;
    const char *query;
    informer_index_fn *indexes[2];
};

static const struct watched_kind watched_kinds[WATCHED_COUNT] = {
    [WATCH_PODS] = {SCHEMA_CORE_V1_POD, NULL, {claim_index, controllers_pod_node}},
    [WATCH_NODES] = {SCHEMA_CORE_V1_NODE},
    [WATCH_LEASES] = {SCHEMA_COORDINATION_V1_LEASE,
                      "fieldSelector=metadata.namespace%3Dkube-node-lease"},
    [WATCH_NAMESPACES] = {SCHEMA_CORE_V1_NAMESPACE},
    [WATCH_REPLICASETS] = {SCHEMA_APPS_V1_REPLICA_SET, NULL, {claim_index}},
    [WATCH_REPLICATION_CONTROLLERS] = {SCHEMA_CORE_V1_REPLICATION_CONTROLLER},
    [WATCH_DEPLOYMENTS] = {SCHEMA_APPS_V1_DEPLOYMENT},
    [WATCH_SERVICES] = {SCHEMA_CORE_V1_SERVICE},
    [WATCH_ENDPOINTS] = {SCHEMA_CORE_V1_ENDPOINTS},
    [WATCH_ENDPOINT_SLICES] = {SCHEMA_DISCOVERY_V1_ENDPOINT_SLICE},
    [WATCH_SERVICE_ACCOUNTS] = {SCHEMA_CORE_V1_SERVICE_ACCOUNT},
    [WATCH_CONFIG_MAPS] = {SCHEMA_CORE_V1_CONFIG_MAP,
                           "fieldSelector=metadata.name%3Dkube-root-ca.crt"},
    [WATCH_TOKEN_SECRETS] = {SCHEMA_CORE_V1_SECRET,
                             "fieldSelector=type%3Dkubernetes.io%2Fservice-account-token"},
};

static void controllers_close_informers(struct controllers *c)
{
    for (size_t i = 0; i < WATCHED_COUNT; i++) {
        informer_close(c->informers[i]);
        c->informers[i] = NULL;
    }
}

static int controllers_open_informers(struct controllers *c)
{
    struct client all = {c->host, c->ctx};
    for (size_t i = 0; i < WATCHED_COUNT; i++) {
        const struct watched_kind *k = &watched_kinds[i];
        struct informer_args a = {.type = schema_type(k->type),
                                  .query = k->query,
                                  .indexes = {k->indexes[0], k->indexes[1]},
                                  .data = c};
        int rc = informer_open(all, &a, &c->informers[i]);
        if (rc != 0) {
            c->informers[i] = NULL;
            controllers_close_informers(c);
            return rc;
        }
    }
    return 0;
}

/* ---- options -------------------------------------------------------------------------------- */

static int controllers_check_rate(const char *name, const char *text, struct kvp_errmsg *e)
{
    double unused;
    if (conf_rate(text, &unused)) {
        return 0;
    }
    snprintf(e->text, sizeof e->text, "%s=%.64s: give a number such as 0.1", name, text);
    return KVP_INVALID;
}

/* A name that no controller has is a mistake worth hearing of at once. */
static int controllers_check_list(const char *list, struct kvp_errmsg *e)
{
    for (const char *p = list; *p != 0;) {
        p += strspn(p, ": \t");
        size_t len = strcspn(p, ": \t");
        const char *name = *p == '-' ? p + 1 : p;
        size_t name_len = len - (size_t)(name - p);
        bool known = len == 0 || (len == 1 && *p == '*');
        for (size_t i = 0; i < CONTROLLERS_COUNT && !known; i++) {
            const char *have = controllers_list[i]->name;
            known = strlen(have) == name_len && memcmp(have, name, name_len) == 0;
        }
        if (!known) {
            snprintf(e->text, sizeof e->text, "controllers: there is no controller \"%.*s\"",
                     (int)(name_len > 64 ? 64 : name_len), name);
            return KVP_INVALID;
        }
        p += len;
    }
    return 0;
}

static int controllers_check(const struct controllers_conf *conf, struct kvp_errmsg *e)
{
    int rc = controllers_check_list(conf->controllers, e);
    rc = rc != 0 ? rc : controllers_check_rate("node-eviction-rate", conf->node_eviction_rate, e);
    rc = rc != 0 ? rc
                 : controllers_check_rate("secondary-node-eviction-rate",
                                          conf->secondary_node_eviction_rate, e);
    return rc != 0 ? rc
                   : controllers_check_rate("unhealthy-zone-threshold",
                                            conf->unhealthy_zone_threshold, e);
}

/* ---- life ----------------------------------------------------------------------------------- */

static int controllers_init(struct kvp_ctx *ctx, const struct kvp_host *host, const void *conf,
                            void **self, struct kvp_errmsg *e)
{
    _Static_assert(CONTROLLERS_COUNT <= sizeof(((struct controllers *)0)->open) / sizeof(void *),
                   "there is a place for each");
    int rc = controllers_check(conf, e);
    if (rc != 0) {
        return rc;
    }
    struct controllers *c = mem_zalloc(sizeof *c);
    if (c == NULL) {
        snprintf(e->text, sizeof e->text, "out of memory");
        return KVP_NO_MEMORY;
    }
    c->host = host;
    c->ctx = ctx;
    c->conf = conf;
    rc = controllers_open_informers(c);
    if (rc != 0) {
        snprintf(e->text, sizeof e->text, "the caches of objects could not be opened (reason %d)",
                 rc);
        mem_free(c);
        return rc;
    }
    *self = c;
    return 0;
}

static void controllers_stop(void *self, int32_t reason)
{
    struct controllers *c = self;
    (void)reason;
    for (size_t i = CONTROLLERS_COUNT; i-- > 0;) {
        if (c->open[i] != NULL) {
            controllers_list[i]->close(c->open[i]);
            c->open[i] = NULL;
        }
    }
}

static int controllers_start(void *self, struct kvp_ctx *term, uint64_t number)
{
    struct controllers *c = self;
    (void)number;
    for (size_t i = 0; i < CONTROLLERS_COUNT; i++) {
        const struct controller *k = controllers_list[i];
        if (!conf_controller_enabled(c->conf->controllers, k->name)) {
            continue;
        }
        int rc = k->open(c, (struct client){c->host, term}, &c->open[i]);
        if (rc != 0) {
            /* What is open already is closed by stop, which follows. */
            c->open[i] = NULL;
            KVP_LOG(c->host, term, KVP_WARN, "controller not started",
                    kvp_f_str("controller", k->name), kvp_f_int("reason", rc));
            return rc;
        }
    }
    return 0;
}

static void controllers_fini(void *self)
{
    struct controllers *c = self;
    controllers_close_informers(c);
    mem_free(c);
}

KVP_PLUGIN(.name = "controllers", .version = "0.1",
           .about = "makes the cluster's objects what they should be", .options = options,
           .conf_size = sizeof(struct controllers_conf), .init = controllers_init,
           .start = controllers_start, .stop = controllers_stop, .fini = controllers_fini);
