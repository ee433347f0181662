/* plugins.h - the plugins of one simulated member: the real plugins/host, hello, ttl-janitor and
 * the simulator's scribe, all linked in, on virtual time.
 *
 * Each plugin's descriptor is wrapped (plugin_spy.c): the spies check what the ABI promises while
 * everything goes wrong around it. A crash abandons the host as it is, like the rest of a member.
 */
#ifndef KVD_TESTS_SIM_PLUGINS_H
#define KVD_TESTS_SIM_PLUGINS_H

#include "plugins/host/host.h"
#include "tests/sim/plugin_check.h"
#include "tests/sim/plugin_service.h"

struct plugins {
    struct member *member;
    struct sim_service service;
    struct plugin_host *host; /* NULL: stopped */
    struct list spies;        /* struct spy: initialised, not ended */
    struct list plane;        /* struct plane_spy: the same, in runs with a control plane */
    uint64_t late_until_ms;   /* the plugins' threads get no time */
    bool stopping;
    uint64_t stop_ms;
};

/* The member runs: loads the plugins. */
void plugins_start(struct member *m);
/* Some turns of host and plugins, or none. */
void plugins_step(struct member *m);
void plugins_role(struct member *m, bool leads, uint64_t term);
/* Stops host and plugins; m->plugins->host is NULL when they have. */
void plugins_stop(struct member *m);
/* The process died. */
void plugins_abandon(struct member *m);
/* Nothing is under way, every plugin is ready or leads, and every cache shows what the store holds.
 * When not, why (size bytes) may say what is missing. */
bool plugins_quiet(struct member *m, char *why, size_t size);

/* plugin_spy.c */
void spies_register(void);
/* The host whose callbacks run from now on; NULL = none. */
void spies_turn(struct plugins *p);
struct plugins *spies_turning(void);
/* Has every spied cache looked at; after a turn spies_same tells. */
void spies_compare(struct plugins *p);
bool spies_same(const struct plugins *p);
/* Has some spied caches compared with the history as of the revision they say they show. */
void spies_audit(struct plugins *p);
void spies_abandon(struct plugins *p);

#endif
