/* node_health.h - is a node alive? What the monitor remembers of one, and what it concludes. Pure:
 * the clock is the caller's.
 *
 * A node shows that it lives by a newer renewTime of its Lease in kube-node-lease or by a changed
 * Ready condition. Only that something changed counts, and when the monitor saw it, by its own
 * clock: the node's clock may be wrong. */
#ifndef KVD_CONTROLLERS_NODE_HEALTH_H
#define KVD_CONTROLLERS_NODE_HEALTH_H

#include "plugins/object/object.h"

enum node_ready {
    NODE_READY,
    NODE_NOT_READY,
    NODE_UNKNOWN,
    NODE_UNREPORTED /* has no condition */
};

struct node_health {     /* starts zeroed */
    uint64_t probe_ms;   /* the monitor's clock when it last saw a sign of life */
    int64_t heartbeat_s; /* lastHeartbeatTime of Ready seen last */
    int64_t lease_us;    /* renewTime seen last; 0 = none */
    bool seen;           /* has been looked at */
    bool reported;       /* had a Ready condition then */
};

struct node_health_limits {
    uint64_t grace_ms;   /* silence after which a node is not ready */
    uint64_t startup_ms; /* the same for one without Ready condition */
};

/* What Ready is in a node's status. */
enum node_ready node_health_ready(const struct object *node);
/* Takes note of signs of life at now_ms; lease_us: renewTime of its Lease, 0 = none. True: the node
 * has been silent for too long. */
bool node_health_look(struct node_health *h, const struct object *node, int64_t lease_us,
                      uint64_t now_ms, const struct node_health_limits *limits);
/* Turns the conditions Ready, MemoryPressure, DiskPressure and PIDPressure of a silent node to
 * Unknown. *changed: whether any was not. 0 or ERR_NOMEM. */
int node_health_silence(struct object *node, int64_t now_s, bool *changed);
/* The node gets its full time again, as after a disruption of everything. */
void node_health_reset(struct node_health *h, uint64_t now_ms);

#endif
