/* node_health.c - signs of life and their absence. */
#include "plugins/controllers/node_health.h"

#include <stdio.h>

#include "plugins/controllers/conditions.h"

enum node_ready node_health_ready(const struct object *node)
{
    struct condition c = conditions_find(node, "Ready");
    if (c.message == NULL) {
        return NODE_UNREPORTED;
    }
    if (conditions_is(c, "True")) {
        return NODE_READY;
    }
    return conditions_is(c, "False") ? NODE_NOT_READY : NODE_UNKNOWN;
}

bool node_health_look(struct node_health *h, const struct object *node, int64_t lease_us,
                      uint64_t now_ms, const struct node_health_limits *limits)
{
    struct condition c = conditions_find(node, "Ready");
    bool reported = c.message != NULL;
    int64_t heartbeat_s = conditions_time(c, "lastHeartbeatTime");
    if (!h->seen) {
        h->seen = true;
        h->probe_ms = now_ms;
    } else if (reported && (!h->reported || heartbeat_s != h->heartbeat_s)) {
        h->probe_ms = now_ms;
    }
    if (lease_us > h->lease_us) {
        h->probe_ms = now_ms;
        h->lease_us = lease_us;
    }
    h->reported = reported;
    h->heartbeat_s = heartbeat_s;
    return now_ms - h->probe_ms > (reported ? limits->grace_ms : limits->startup_ms);
}

void node_health_reset(struct node_health *h, uint64_t now_ms)
{
    h->probe_ms = now_ms;
}

/* A condition nobody has ever set. */
static int node_health_never(struct object *node, const char *type, int64_t now_s)
{
    struct condition_want want = {type, "Unknown", "NodeStatusNeverUpdated",
                                  "Kubelet never posted node status.", now_s};
    char path[64];
    int rc = conditions_set(node, &want, NULL);
    size_t last = value_len(object_get(node, "status.conditions")) - 1;
    snprintf(path, sizeof path, "status.conditions[%zu].lastHeartbeatTime", last);
    return rc != 0 ? rc
                   : object_set_int(node, path, object_int(node, "metadata.creationTimestamp", 0));
}

int node_health_silence(struct object *node, int64_t now_s, bool *changed)
{
    static const char *const types[] = {"Ready", "MemoryPressure", "DiskPressure", "PIDPressure"};
    int rc = 0;
    *changed = false;
    for (size_t i = 0; i < sizeof types / sizeof types[0] && rc == 0; i++) {
        struct condition c = conditions_find(node, types[i]);
        if (c.message == NULL) {
            *changed = true;
            rc = node_health_never(node, types[i], now_s);
        } else if (!conditions_is(c, "Unknown")) {
            struct condition_want want = {types[i], "Unknown", "NodeStatusUnknown",
                                          "Kubelet stopped posting node status.", now_s};
            *changed = true;
            rc = conditions_set(node, &want, NULL);
        }
    }
    return rc;
}
