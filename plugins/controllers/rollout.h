/* rollout.h - what a deployment and its replica sets should become: decisions, without I/O.
 *
 * A rollout is a deployment and copies of its replica sets, as informers showed them at one moment.
 * rollout_decide looks at them and writes down what has to change: `want` pods and annotations of
 * sets, a new set to make, old ones to remove, and into the deployment's copy its revision. Whoever
 * called then does that, and asks rollout_status for the status that follows from it. Each step
 * changes little: the sets' own events bring the next one.
 *
 *   rollout.c            the order of decisions
 *   rollout_sets.c       new set and old ones, hash, revisions, annotations, history
 *   rollout_scale.c      bounds, proportions, sizes of the new set
 *   rollout_step.c       one step of RollingUpdate or Recreate
 *   rollout_status.c     counts and conditions
 *
 * All of it is pure. Functions return 0 or ERR_NOMEM. */
#ifndef KVD_CONTROLLERS_ROLLOUT_H
#define KVD_CONTROLLERS_ROLLOUT_H

#include "plugins/object/object.h"

#define ROLLOUT_HASH_LABEL   "pod-template-hash"
#define ROLLOUT_REVISION     "deployment.kubernetes.io/revision"
#define ROLLOUT_HISTORY      "deployment.kubernetes.io/revision-history"
#define ROLLOUT_DESIRED      "deployment.kubernetes.io/desired-replicas"
#define ROLLOUT_MAX          "deployment.kubernetes.io/max-replicas"
#define ROLLOUT_ROLLBACK_TO  "deprecated.deployment.rollback.to"
#define ROLLOUT_LAST_APPLIED "kubectl.kubernetes.io/last-applied-configuration"
/* Earlier revisions listed on a set: bytes. */
#define ROLLOUT_HISTORY_BYTES_MAX 2000u
#define ROLLOUT_HASH_BYTES        10u

struct rollout_set {
    struct object o;   /* a copy; annotations and minReadySeconds may be changed in it */
    int32_t was, want; /* spec.replicas: stored, and to be */
    int32_t actual, ready, available;
    int32_t terminating; /* -1 = not said */
    bool changed;        /* something besides the number */
    bool removed;        /* to be deleted */
};

struct rollout {
    struct arena *arena;
    struct object d;          /* a copy; status and revision are changed in it */
    int64_t now_us;           /* since 1970 */
    struct rollout_set *sets; /* by creation, oldest first; room for one more */
    size_t count;
    size_t fresh;   /* the set of d's template; count = there is none */
    bool create;    /* it is the last of sets and has to be made first */
    bool old_pods;  /* given: pods of old sets that have not ended are there */
    bool step_only; /* decided: a rollout goes on, so its progress is judged */
    /* Status of a set is older than its spec, so nothing can be said: its next event decides. */
    bool unsettled;
};

/* What the deployment selects, as the sets: set from copies in the arena, ordered. room: at least
 * one more than count. */
void rollout_begin(struct rollout *r);
/* One replica set's copy with its numbers. */
void rollout_set_read(struct rollout_set *s, const struct object *copy);

int rollout_decide(struct rollout *r);
/* Writes the status that follows into r->d. *changed: it is another one than that of `before`.
 * *again_ms: when to look again because of the progress deadline; 0 = only events matter. */
int rollout_status(struct rollout *r, const struct object *before, bool *changed,
                   int64_t *again_ms);
/* Whether all is rolled out, as the deployment's status says it. */
bool rollout_is_complete(const struct object *d);
/* Condition Progressing because the new set could not be made. */
int rollout_create_failed(struct rollout *r, struct slice message);
/* The new set was made. */
int rollout_created(struct rollout *r);
/* Another set has the name and is not ours: the next hash is another one. */
int rollout_collided(struct rollout *r);

/* ---- for the files above, and their tests ---- */
static inline struct rollout_set *rollout_fresh(const struct rollout *r)
{
    return r->fresh < r->count ? &r->sets[r->fresh] : NULL;
}
static inline int32_t rollout_wanted(const struct rollout *r)
{
    return (int32_t)object_int(&r->d, "spec.replicas", 1);
}
bool rollout_is_rolling(const struct rollout *r);
int32_t rollout_max_surge(const struct rollout *r);
int32_t rollout_max_unavailable(const struct rollout *r);
int64_t rollout_total(const struct rollout *r); /* wanted of all sets together */

/* The template of a set and of the deployment are the same but for the hash. */
bool rollout_same_template(const struct object *d, const struct object *set);
size_t rollout_find_fresh(const struct rollout *r);
/* FNV-1a of the template and the count of collisions, in letters that make no words. */
int rollout_hash(const struct object *d, char out[ROLLOUT_HASH_BYTES]);
/* Puts the new set behind the others, with everything but its owner. */
int rollout_make_fresh(struct rollout *r);
/* Annotations and revision of the new set and the deployment. */
int rollout_sync_revision(struct rollout *r, bool created);
/* Sets beyond the history limit go. */
int rollout_clean_up(struct rollout *r);
/* A number in an annotation. False: none. */
bool rollout_number(const struct object *o, const char *annotation, int64_t *out);
/* A text into an annotation; *changed becomes true if it was another one. */
int rollout_annotate(struct object *o, struct slice name, struct slice value, bool *changed);

/* How many the new set may have now. */
int32_t rollout_fresh_size(const struct rollout *r, int32_t have);
/* Whether the wanted number is another one than the sets were made for. */
bool rollout_is_scaling(const struct rollout *r);
/* All sets to the wanted number, in proportion. */
int rollout_scale(struct rollout *r);
/* What number of pods a set was made for, in its annotations; of all whose size changes. */
int rollout_note_size(struct rollout *r, struct rollout_set *s);
int rollout_note_sizes(struct rollout *r);

int rollout_step_rolling(struct rollout *r);
int rollout_step_recreate(struct rollout *r);

int rollout_condition(struct object *d, const char *type, const char *status, const char *reason,
                      struct slice message, int64_t now_s);
/* A member of a condition, as text; empty when there is none of that type. */
struct slice rollout_condition_text(const struct object *d, const char *type, const char *member);
bool rollout_has_deadline(const struct object *d);
/* Conditions of a deployment that was paused or resumed. */
int rollout_note_paused(struct rollout *r);

#endif
