/* terms.h - the rules a pod brings along, parsed: node selectors, pod affinity, spreading.
 *
 * Made once per pod into its arena; texts are copied there. Pure. */
#ifndef KVD_SCHEDULER_TERMS_H
#define KVD_SCHEDULER_TERMS_H

#include "plugins/object/labels.h"
#include "plugins/object/object.h"

/* One term of a node selector: all of both must hold. */
struct sched_node_term {
    struct label_selector labels;
    struct label_selector fields; /* of metadata.name */
    bool empty;                   /* matches nothing */
    int32_t weight;               /* of a preferred one */
};

struct sched_node_terms {
    struct sched_node_term *items;
    size_t count;
    bool given; /* one of them must match; none at all: nothing does */
};

/* A term of pod (anti-)affinity. */
struct sched_pod_term {
    struct label_selector labels;
    struct slice *spaces; /* namespaces by name */
    size_t space_count;
    struct label_selector space_labels; /* namespaces by labels; `nothing` when not given */
    struct slice topology_key;
    int32_t weight; /* of a preferred one */
};

struct sched_pod_terms {
    struct sched_pod_term *items;
    size_t count;
};

struct sched_spread {
    struct label_selector labels;
    struct slice topology_key;
    int32_t skew_max;
    int32_t domains_min; /* 0 = not given */
    bool hard;           /* DoNotSchedule */
    bool honor_affinity; /* nodes that the pod's node affinity excludes do not count */
    bool honor_taints;
};

/* What most pods have none of. */
struct sched_terms {
    struct value node_selector; /* VALUE_MAP */
    struct sched_node_terms node_required;
    struct sched_node_terms node_preferred;
    struct sched_pod_terms near_required, near_preferred; /* podAffinity */
    struct sched_pod_terms far_required, far_preferred;   /* podAntiAffinity */
    struct sched_spread *spreads;
    size_t spread_count;
};

/* Has the pod any of it? */
bool sched_terms_needed(const struct object *pod);
/* 0 or ERR_NOMEM. What the API server would not have let in is left out, and matches nothing. */
int sched_terms_read(const struct object *pod, struct arena *arena, struct sched_terms *out);

/* labels: a map or NULL. name: of the node. */
bool sched_node_term_matches(const struct sched_node_term *t, const struct value *labels,
                             struct slice name);
/* nodeSelector and required node affinity; NULL terms match. */
bool sched_terms_match_node(const struct sched_terms *t, const struct value *labels,
                            struct slice name);
/* Does the term mean a pod of that namespace with these labels? space_labels: the namespace's own
 * labels, or NULL. */
bool sched_pod_term_matches(const struct sched_pod_term *t, struct slice space,
                            const struct value *space_labels, const struct value *labels);

#endif
