/* cycle.h - finding a node for one pod, in steps of bounded work.
 *
 * Prepare (once per node), filter (nodes in turn from a rotating start until enough fit), prepare
 * scores, score, choose. A cycle can be interrupted between steps; when nodes come or go meanwhile
 * it begins anew. It changes nothing in the cluster: who asked assumes the pod. */
#ifndef KVD_SCHEDULER_CYCLE_H
#define KVD_SCHEDULER_CYCLE_H

#include "plugins/scheduler/rules.h"
#include "plugins/scheduler/tally.h"

struct sched_weights {
    int64_t of[SCHED_RULES];
    int64_t hard_affinity; /* hardPodAffinityWeight */
    int64_t percentage;    /* percentageOfNodesToScore; 0 = adaptive */
};
/* kube-scheduler's defaults. */
void sched_weights_default(struct sched_weights *w);

struct sched_cycle_args {
    struct sched_cluster *cluster;
    struct sched_pod *pod;
    const struct sched_weights *weights;
    /* Spreading of pods that bring no constraints: what their services and owners select; NULL =
     * none do. Lives as long as the cycle. */
    const struct label_selector *spread_selector;
    /* Dice: fills out with random bytes. */
    void (*random)(void *data, void *out, size_t len);
    void *data;
    size_t *start; /* where filtering begins; moved on. NULL = at 0 */
    /* For people: all nodes are filtered and scored, also when one would do. */
    bool explain;
};

enum sched_result {
    SCHED_MORE,      /* call again */
    SCHED_CHOSEN,    /* chosen */
    SCHED_NO_NODE,   /* verdicts say why */
    SCHED_REJECTED,  /* rejection says why */
    SCHED_NO_NODES,  /* there are none at all */
    SCHED_NO_MEMORY, /* try again later */
};

enum sched_decision {
    SCHED_BY_NONE,
    SCHED_BY_NOMINATION, /* room was made there for it */
    SCHED_BY_ONLY,       /* only one node fits */
    SCHED_BY_SCORE,      /* one has the highest score */
    SCHED_BY_DICE,       /* several have */
};

enum sched_phase {
    SCHED_PHASE_START,
    SCHED_PHASE_PRE,
    SCHED_PHASE_FILTER,
    SCHED_PHASE_PRE_SCORE,
    SCHED_PHASE_SCORE,
    SCHED_PHASE_END,
};

struct sched_cycle {
    struct sched_cycle_args args;
    struct sched_pod *pod; /* args.pod, for short */
    struct sched_cluster *cluster;
    struct arena arena; /* of this cycle */
    bool failed;        /* out of memory */
    enum sched_phase phase;
    enum sched_result result;
    uint64_t version; /* of the cluster's list it began with */
    struct sched_tally *tallies;
    void *state[SCHED_RULES];   /* of each rule: filtering, */
    void *scoring[SCHED_RULES]; /* and scoring */
    bool skip_filter[SCHED_RULES], skip_score[SCHED_RULES];
    size_t at; /* of the phase: next node */

    /* Some rule names the nodes that come into question: */
    const struct slice *only;
    size_t only_count;
    bool narrowed;
    struct slice rejection; /* why no node can do at all */
    uint8_t rejected_by;    /* enum sched_rule_id */

    struct sched_verdict *verdicts; /* of cluster->list */
    size_t looked_at;
    size_t wanted; /* as many that fit are enough */
    size_t *fits;  /* indexes into cluster->list */
    size_t fit_count;
    int64_t *scores[SCHED_RULES]; /* of fits, normalized; NULL = not scored */
    size_t score_at;              /* of the rule in hand: next of fits */
    int64_t *totals;              /* weighted */

    struct sched_node *chosen;
    enum sched_decision decision;
    size_t ties; /* nodes with the highest total */
};

void sched_cycle_init(struct sched_cycle *c);
void sched_cycle_close(struct sched_cycle *c);
/* Begins; what was under way is forgotten. */
void sched_cycle_begin(struct sched_cycle *c, const struct sched_cycle_args *a);
/* Works on, for about *budget looks at a node or pod, which it takes off. */
enum sched_result sched_cycle_step(struct sched_cycle *c, int64_t *budget);

/* All filters on one node, as things are; nominated pods that go before this one count as being
 * there, and must not be needed either. */
enum sched_code sched_cycle_filter(struct sched_cycle *c, struct sched_node *n,
                                   struct sched_verdict *v);
/* The filters' preparations follow: p was put on n (1) or lifted from it (-1). The cluster's own
 * books are the caller's business. */
void sched_cycle_moved(struct sched_cycle *c, struct sched_node *n, const struct sched_pod *p,
                       int times);
/* Rules that refused some node, or the pod: bits by enum sched_rule_id. */
unsigned sched_cycle_refusers(const struct sched_cycle *c);

/* How many nodes that fit are looked for among so many. */
size_t sched_nodes_wanted(size_t nodes, int64_t percentage);

/* ---- for rules ---- */
/* Zeroed memory of the cycle; NULL sets c->failed. */
void *sched_cycle_alloc(struct sched_cycle *c, size_t size);
/* A tally that is closed with the cycle; NULL sets c->failed. */
struct sched_tally *sched_cycle_tally(struct sched_cycle *c);
static inline void sched_cycle_count(struct sched_cycle *c, struct sched_tally *t, struct slice key,
                                     struct slice value, int64_t n)
{
    c->failed = !sched_tally_add(t, key, value, n) || c->failed;
}

#endif
