/* taint.h - taints of nodes and what pods tolerate. Pure. */
#ifndef KVD_CONTROLLERS_TAINT_H
#define KVD_CONTROLLERS_TAINT_H

#include "base/buf.h"
#include "plugins/object/object.h"

#define TAINT_NOT_READY      "node.kubernetes.io/not-ready"
#define TAINT_UNREACHABLE    "node.kubernetes.io/unreachable"
#define TAINT_OUT_OF_SERVICE "node.kubernetes.io/out-of-service"
#define TAINT_NO_SCHEDULE    "NoSchedule"
#define TAINT_NO_EXECUTE     "NoExecute"

/* A text member of a taint message: key, value, effect. */
struct slice taint_text(const struct value *taint, const char *member);
/* When it was added, seconds since 1970; 0 = it does not say. */
int64_t taint_added_s(const struct value *taint);
/* The node's taint of this key (and effect, unless NULL); NULL = none. */
const struct value *taint_find(const struct object *node, const char *key, const char *effect);
static inline bool taint_has(const struct object *node, const char *key, const char *effect)
{
    return taint_find(node, key, effect) != NULL;
}

/* Whether a Toleration message tolerates a taint. */
bool toleration_tolerates(const struct value *toleration, const struct value *taint);

/* What the NoExecute taints of a node mean for a pod. */
struct taint_verdict {
    bool tainted;      /* the node has such taints */
    bool tolerated;    /* all of them; else the pod has to go now */
    bool forever;      /* tolerated without end */
    int64_t seconds;   /* tolerated for so long, 0 = has to go now; unless forever */
    int64_t started_s; /* when the newest of the tolerated taints was added; 0 = they do not say */
};
struct taint_verdict taint_judge(const struct object *node, const struct object *pod);

/* A change of spec.taints: what is in `remove` goes, what is in `add` comes with timeAdded = now_s
 * unless a taint of that key and effect is there. Both end with key NULL. */
struct taint_id {
    const char *key;
    const char *effect;
};
/* Writes the merge patch that does it, comparing the node's resourceVersion, into body; *changed
 * false: there is nothing to do (body untouched). 0 or ERR_NOMEM. */
int taint_patch(const struct object *node, const struct taint_id *add,
                const struct taint_id *remove, int64_t now_s, struct arena *a, struct buf *body,
                bool *changed);
#define TAINT_LIST_MAX 8u
/* The NoSchedule taints a node's conditions and spec.unschedulable ask for: those it lacks into
 * add, those it has without cause into remove; each TAINT_LIST_MAX long, ended by key NULL. */
void taint_wanted(const struct object *node, struct taint_id *add, struct taint_id *remove);

#endif
