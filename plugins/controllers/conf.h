/* conf.h - the options of the controllers plugin, named as kube-controller-manager's flags. */
#ifndef KVD_CONTROLLERS_CONF_H
#define KVD_CONTROLLERS_CONF_H

#include <stdbool.h>
#include <stdint.h>

struct controllers_conf {
    const char *controllers; /* see conf_controller_enabled */

    /* node lifecycle */
    int64_t node_monitor_period_ms;
    int64_t node_monitor_grace_period_ms;
    int64_t node_startup_grace_period_ms;
    const char *node_eviction_rate; /* nodes a second, a decimal number; as the next two */
    const char *secondary_node_eviction_rate;
    const char *unhealthy_zone_threshold;
    int64_t large_cluster_size_threshold; /* nodes */

    int64_t terminated_pod_gc_threshold; /* pods */
    int64_t max_endpoints_per_slice;
    int64_t endpoints_updates_batch_period_ms;
    int64_t endpointslice_updates_batch_period_ms;
    int64_t namespace_sync_period_ms;
    const char *root_ca_file; /* PEM; "" = the API server's own */

    /* how many keys of a kind are in work at once */
    int64_t concurrent_deployment_syncs;
    int64_t concurrent_replicaset_syncs;
    int64_t concurrent_rc_syncs;
    int64_t concurrent_gc_syncs;
    int64_t concurrent_endpoint_syncs;
    int64_t concurrent_service_endpoint_syncs;
    int64_t concurrent_namespace_syncs;
};

/* Whether the value of option `controllers` switches a controller on: names separated by colons or
 * blanks; "*" = all, "-name" = not this one. A name stands before "*". Pure. */
bool conf_controller_enabled(const char *list, const char *name);
/* A decimal number of 0 .. 1,000,000, such as 0.55. False: text is none. Pure. */
bool conf_rate(const char *text, double *out);

#endif
