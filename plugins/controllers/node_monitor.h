/* node_monitor.h - the inside of the node lifecycle controller.
 *
 * Every node-monitor-period all nodes are looked at (node_monitor.c): the silent ones turn Unknown,
 * those that are not ready wait, zone by zone, for the taint that evicts their pods. What follows
 * from a node's state at once - taints against scheduling, labels, pods that are not ready - is
 * reconciled key by key (node_lifecycle.c). */
#ifndef KVD_CONTROLLERS_NODE_MONITOR_H
#define KVD_CONTROLLERS_NODE_MONITOR_H

#include "base/hashmap.h"
#include "base/list.h"
#include "plugins/controllers/controllers.h"
#include "plugins/controllers/handlers.h"
#include "plugins/controllers/node_health.h"
#include "plugins/controllers/zone.h"

struct zone {
    struct list link; /* in node_monitor.zones */
    char *name;       /* region and zone */
    size_t name_len;
    enum zone_state state;
    struct zone_limiter limiter;
    struct list waiting; /* nodes that are to be tainted NoExecute, in order */
    size_t ready, not_ready;
    size_t nodes; /* all, also those that do not count for disruptions */
};

struct monitored { /* one node */
    struct hash_node node;
    struct list waiting; /* in its zone's; self-linked = not there */
    struct zone *zone;
    struct node_health health;
    uint64_t look; /* number of the last look that saw it */
    char *name;
    size_t name_len;
};

struct node_monitor {
    struct controllers *all;
    struct client term;
    struct recorder *recorder;
    struct node_health_limits limits;
    struct zone_conf zone_conf;
    struct hashmap nodes; /* by name */
    struct list zones;
    uint64_t looks;
    bool all_down;                 /* no node of any zone is ready: nothing is evicted */
    struct kvp_timer *evict_timer; /* NULL = not running */
};

/* all and term are kept, the recorder is borrowed. Allocates nothing. */
void node_monitor_init(struct node_monitor *m, struct controllers *all, struct client term,
                       struct recorder *recorder);
/* Forgets all nodes. */
void node_monitor_close(struct node_monitor *m);
/* Looks at all nodes; what it sends nobody waits for: the next look sees what came of it. */
void node_monitor_look(struct node_monitor *m);
/* A node is gone. */
void node_monitor_forget(struct node_monitor *m, struct slice name);

#endif
