/* plane.h - the Kubernetes control plane in the simulator: what it may do to the store, and what it
 * must have made of it in the end.
 *
 * In a run with a plane every member has apiserver, controllers, scheduler and hollow-node instead
 * of the samples, and a plugin "user" that changes deployments while everything goes wrong. The
 * model reads the same events as the history; it shares no code with the controllers. */
#ifndef KVD_TESTS_SIM_PLANE_H
#define KVD_TESTS_SIM_PLANE_H

#include "base/slice.h"
#include "tests/sim/history.h"

#define PLANE_PLUGINS     5u
#define PLANE_DEPLOYMENTS 3u

struct world;
struct member;
struct plugins;
struct kvp_host;
struct plane_model;

struct plane_model *plane_model_new(struct history *history);
void plane_model_free(struct plane_model *p);
/* An event nobody has reported before; value empty and deleted: the row went. */
void plane_model_event(struct plane_model *p, struct slice key, struct slice value, bool deleted,
                       int64_t revision);
/* What stands in the history for such an event: its key is none of PLUGIN_KEYS_END and below. */
struct history_event plane_history_event(struct slice key, struct slice value, bool deleted,
                                         int64_t revision);
/* All deployments are as the user wants them in the end, their pods run and endpoints list them.
 * When not, why (size bytes) says what is missing. */
bool plane_model_settled(const struct plane_model *p, char *why, size_t size);

struct plane_counts {
    uint64_t pods, bound, ready, replicasets, events; /* ever seen */
};
struct plane_counts plane_model_counts(const struct plane_model *p);

/* ---- what members run ---------------------------------------------------------------------- */

void plane_load(struct plugins *p);
/* Every plugin is ready or leads, and none waits for an answer. When not, why (size bytes) says who
 * does not. */
bool plane_is_quiet(struct plugins *p, bool leads, char *why, size_t size);
/* No plugin of this member is left. */
bool plane_has_ended(const struct plugins *p);
void plane_abandon(struct plugins *p);

/* ---- the user (plane_user.c) --------------------------------------------------------------- */

const struct kvp_plugin *plane_user_entry(void);
/* From now on it wants the same for ever: deployment number i has plane_final_replicas(i) pods. */
extern bool plane_user_final;
int plane_final_replicas(unsigned i);

#endif
