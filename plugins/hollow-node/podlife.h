/* podlife.h - the life of one pod on a hollow node, as a kubelet would report it.
 *
 * A state machine without clock, chance or I/O: podlife_advance is told the time and moves on as
 * far as is due. What it has reached is written into the pod's status, and a new leader goes on
 * from there (podlife_open).
 *
 *   admitted (startTime) -> sandbox (podIP) -> init containers, one after the other
 *     -> containers run, become ready -> they may end, and start again as restartPolicy says
 *     -> all have ended: Succeeded or Failed
 *   deleted at any time -> containers are stopped after a while -> `stopped`: the pod may go
 *
 * Belongs to one thread. */
#ifndef KVD_HOLLOW_NODE_PODLIFE_H
#define KVD_HOLLOW_NODE_PODLIFE_H

#include "plugins/hollow-node/podplan.h"

#define PODLIFE_NEVER UINT64_MAX

enum podlife_state { PODLIFE_WAITING, PODLIFE_RUNNING, PODLIFE_ENDED };

struct podlife_container {
    enum podlife_state state;
    bool ready;
    bool again;        /* it ended before: `last_*` say how */
    int32_t restarts;  /* starts but the first */
    int32_t crashes;   /* ends in a row, for the back-off */
    uint64_t due_ms;   /* WAITING: starts (0 = not known yet). RUNNING: ends */
    uint64_t ready_ms; /* RUNNING: becomes ready */
    int64_t began_s;   /* wall clock; 0 = never */
    int64_t ended_s;
    int32_t code;
    int32_t last_code;
    int64_t last_began_s, last_ended_s;
};

/* In a kubelet's order. */
enum podlife_condition {
    PODLIFE_SANDBOX,
    PODLIFE_INITIALIZED,
    PODLIFE_READY,
    PODLIFE_CONTAINERS_READY,
    PODLIFE_SCHEDULED,
    PODLIFE_CONDITIONS
};

struct podlife {
    int64_t start_s; /* startTime; 0 = not admitted yet */
    uint64_t sandbox_ms;
    uint64_t stop_ms;               /* 0 = not asked to stop */
    bool sandbox;                   /* made: the pod has its address */
    bool failed;                    /* an init container ended it */
    bool done;                      /* Succeeded or Failed, for ever */
    bool stopped;                   /* deleted, and nothing of it runs */
    int8_t was[PODLIFE_CONDITIONS]; /* -1 = not reported yet, else 0 or 1; */
    int64_t since_s[PODLIFE_CONDITIONS];
    size_t init_count, count;             /* init containers, the others */
    struct podlife_container *containers; /* init ones first */
};

/* How long things take. */
struct podlife_times {
    uint64_t start_ms; /* until the sandbox is made */
    uint64_t init_ms;  /* an init container whose command says nothing */
    uint64_t stop_ms;  /* containers when asked to stop; never longer than the pod's grace */
};

/* What it is now. */
struct podlife_now {
    uint64_t ms;    /* monotonic */
    int64_t wall_s; /* since 1970 */
};

/* Begins, or goes on where the pod's status is. 0 or ERR_NOMEM. */
int podlife_open(struct podlife *l, const struct object *pod, const struct podlife_now *now);
void podlife_close(struct podlife *l);
/* Moves on. True when the status has changed. *next_ms: when to call again even if nothing happens;
 * PODLIFE_NEVER = not needed. */
bool podlife_advance(struct podlife *l, const struct object *pod, const struct podlife_times *times,
                     const struct podlife_now *now, uint64_t *next_ms);
/* "Pending", "Running", "Succeeded", "Failed". */
const char *podlife_phase(const struct podlife *l);
/* Whether a condition holds; pod: readiness gates are looked at there. */
bool podlife_holds(const struct podlife *l, const struct object *pod, enum podlife_condition c);
/* Does the pod's status show this life? Only what others might have written over is looked at:
 * phase and conditions. */
bool podlife_shows(const struct podlife *l, const struct object *pod);

/* podstatus.c: appends a strategic merge patch of the pod with its uid and this status. Times at
 * which conditions changed are noted in l. */
void podlife_patch(struct podlife *l, const struct object *pod, const char *host_ip,
                   const char *pod_ip, int64_t wall_s, struct buf *out);
/* The condition's type, "Ready". */
const char *podlife_condition_name(enum podlife_condition c);

#endif
