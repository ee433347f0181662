/* controllers.h - the controllers plugin: what its controllers share.
 *
 * Each controller is a file with one `struct controller`, listed in controllers.c. Informers are
 * opened once, in init, with the instance's context (a new leader finds them warm); controllers are
 * opened when the term begins, with the term's client, and closed when it ends. All callbacks are
 * serial. */
#ifndef KVD_CONTROLLERS_CONTROLLERS_H
#define KVD_CONTROLLERS_CONTROLLERS_H

#include "plugins/client/expect.h"
#include "plugins/client/recorder.h"
#include "plugins/client/work.h"

/* The kinds that are watched; one informer each, shared by all controllers. */
enum watched {
    WATCH_PODS,
    WATCH_NODES,
    WATCH_LEASES, /* of namespace kube-node-lease */
    WATCH_NAMESPACES,
    WATCH_REPLICASETS,
    WATCH_REPLICATION_CONTROLLERS,
    WATCH_DEPLOYMENTS,
    WATCH_SERVICES,
    WATCH_ENDPOINTS,
    WATCH_ENDPOINT_SLICES,
    WATCH_SERVICE_ACCOUNTS,
    WATCH_CONFIG_MAPS,   /* named kube-root-ca.crt only */
    WATCH_TOKEN_SECRETS, /* Secrets of type kubernetes.io/service-account-token */
    WATCHED_COUNT
};

/* Indexes that informers have; index 0 of pods, replica sets: whose children they are
 * (claim_index). */
#define INDEX_CONTROLLER 0u
#define INDEX_POD_NODE   1u /* of pods: spec.nodeName, "" for those without */

struct controllers_conf; /* the options, controllers.c */
struct catchup_list;

struct controllers {
    const struct kvp_host *host;
    struct kvp_ctx *ctx; /* of the instance */
    const struct controllers_conf *conf;
    struct informer *informers[WATCHED_COUNT];
    struct catchup_list *catchups[WATCHED_COUNT]; /* of the term, shared by its controllers */
    void *open[32]; /* what each controller's open gave, in the order of the list; NULL = closed */
};

/* Clock and wall clock of the host. */
static inline uint64_t controllers_now_ms(const struct controllers *c)
{
    return c->host->now_ms(c->ctx);
}
static inline int64_t controllers_wall_s(const struct controllers *c)
{
    return (int64_t)(c->host->wall_us(c->ctx) / 1000000);
}

struct controller {
    const char *name; /* as in kube-controller-manager: "deployment-controller" */
    /* The term begins. *self is handed to close. 0 or a reason (the term is then started again). */
    int (*open)(struct controllers *all, struct client term, void **self);
    /* The term is over: everything of its context has ended. Handlers are taken off here. */
    void (*close)(void *self);
};

extern const struct controller replicaset_controller, replication_controller, deployment_controller,
    garbage_collector, node_lifecycle_controller, pod_gc_controller, endpoints_controller,
    endpoint_slice_controller, namespace_controller, service_account_controller, root_ca_controller,
    taint_eviction_controller, service_account_token_controller, ttl_controller,
    endpoint_mirror_controller;

#endif
