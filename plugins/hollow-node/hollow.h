/* hollow.h - the hollow-node plugin: pretend nodes, and what its files share.
 *
 * All work is done in a term, by the leader: nodes.c registers nodes and keeps their leases and
 * status fresh, pods.c lets the pods bound to them live. Both are queues of keys to reconcile
 * (plugins/client/work.h), which also keep the time: a key that is to be looked at later waits
 * there. Only nodes with the label kvd.io/hollow=true are touched, and only pods bound to them. All
 * callbacks are serial. */
#ifndef KVD_HOLLOW_NODE_HOLLOW_H
#define KVD_HOLLOW_NODE_HOLLOW_H

#include "base/hashmap.h"
#include "plugins/client/work.h"
#include "plugins/hollow-node/podlife.h"

#define HOLLOW_NODES_MAX      1000u
#define HOLLOW_NAME_BYTES_MAX 64u /* of a node: prefix and number */
#define HOLLOW_PODS_MAX       250 /* of a node: addresses of its range */

#define HOLLOW_LABEL      "kvd.io/hollow"
#define HOLLOW_ANNOTATION "kvd.io/hollow" /* "stopped": the node is off */

struct hollow_conf {
    int64_t nodes;
    const char *prefix;
    const char *cpu, *memory; /* quantities */
    int64_t pods;
    int64_t lease_ms, status_ms;
    int64_t start_ms, init_ms, stop_ms;
    const char *stopped; /* names joined by + */
};

struct hollow;

/* A node; lives until fini, also when the option `nodes` becomes smaller. */
struct hollow_node {
    struct hollow *all;
    unsigned number; /* from 1 */
    char name[HOLLOW_NAME_BYTES_MAX];
    char address[16];
    bool off;          /* by options: beyond `nodes`, or in `stopped` */
    bool annotated;    /* by the annotation */
    bool seen;         /* its Node has been there: when it goes now, it stays away */
    bool foreign;      /* the name belongs to a node that is not ours */
    bool lease_known;  /* there is a lease to renew */
    bool status_stale; /* to be written now */
    uint64_t lease_due_ms, status_due_ms;
    uint8_t addresses[32]; /* of its pods: bit n is taken for .n */
};

struct hollow {
    const struct kvp_host *host;
    struct kvp_ctx *ctx; /* of the instance */
    const struct hollow_conf *conf;
    struct hollow_node *nodes[HOLLOW_NODES_MAX]; /* NULL from node_count on */
    size_t node_count;
    /* Of the term; NULL outside. */
    struct client term;
    struct informer *node_informer, *pod_informer;
    struct works *node_works, *pod_works;
    struct hashmap pods; /* pods.c */
};

/* A key that cannot be remembered would be missed for ever, so the term ends: the next one is told
 * of everything. reason: what works_add returned. */
static inline void hollow_check(const struct hollow *h, int reason)
{
    if (reason != 0 && reason != KVP_STOPPED) {
        /* In parentheses: test frameworks have a macro fail. */
        (h->host->fail)(h->term.ctx, "a change could not be remembered: out of memory");
    }
}

static inline struct podlife_now hollow_now(const struct hollow *h)
{
    return (struct podlife_now){.ms = h->host->now_ms(h->ctx),
                                .wall_s = (int64_t)(h->host->wall_us(h->ctx) / 1000000)};
}
/* ms, longer by a random 0 to percent of it. */
uint64_t hollow_jitter(const struct hollow *h, int64_t ms, unsigned percent);

/* ---- nodes.c ---- */
/* Makes nodes so that there are conf->nodes, and sets which are off; in a term those that changed
 * are looked at. 0 or KVP_NO_MEMORY. */
int hollow_nodes_apply(struct hollow *h);
void hollow_nodes_free(struct hollow *h);
/* Of a term. 0 or a reason. */
int hollow_nodes_start(struct hollow *h);
/* The node of a name; NULL: none of ours. */
struct hollow_node *hollow_node_find(struct hollow *h, struct slice name);
/* Whether it does what a kubelet does: on, registered, ours. */
bool hollow_node_acts(const struct hollow_node *n);
/* Addresses of pods: takes a free one (0 = none left) or one that is known; gives it back. kept:
 * bits as n->addresses, of pods that have one and were not met yet. */
unsigned hollow_address_take(struct hollow_node *n, const uint8_t kept[32]);
bool hollow_address_claim(struct hollow_node *n, struct slice text, unsigned *number);
void hollow_address_give(struct hollow_node *n, unsigned number);
void hollow_address_print(const struct hollow_node *n, unsigned number, char out[16]);

/* ---- nodestatus.c ---- */
/* The Node to create. 0 or ERR_NOMEM. */
int hollow_node_object(const struct hollow_node *n, int64_t wall_s, struct object *o);
/* A strategic merge patch of its status. now is what the API server has. */
void hollow_node_patch(const struct hollow_node *n, const struct object *now, int64_t wall_s,
                       struct buf *out);
/* Is the node's condition Ready true? */
bool hollow_node_is_ready(const struct object *node);
/* Its Lease, to create. uid: of the Node, may be empty. 0 or ERR_NOMEM. */
int hollow_lease_object(const struct hollow_node *n, struct slice uid, uint64_t wall_us,
                        struct object *o);
void hollow_lease_patch(uint64_t wall_us, struct buf *out);

/* ---- pods.c ---- */
int hollow_pods_start(struct hollow *h);
void hollow_pods_stop(struct hollow *h);
/* All pods of a node are looked at: it has been started. */
void hollow_pods_wake(struct hollow *h, const struct hollow_node *n);

#endif
