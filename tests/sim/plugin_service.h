/* plugin_service.h - rpc/service.h over one simulated member, as far as the plugin host asks.
 *
 * The real kvd/serve needs a uv loop, a checkpoint thread, wall clock budgets and the system's
 * chance; so this does what serve does, on virtual time: proposals by number, reads behind a
 * confirmed index, watches on the hub that now and then refuse, timeouts. Requests that the host
 * never makes (maintenance, members, streams) are not here: their entries are NULL. */
#ifndef KVD_TESTS_SIM_PLUGIN_SERVICE_H
#define KVD_TESTS_SIM_PLUGIN_SERVICE_H

#include "base/list.h"
#include "rpc/service.h"
#include "tests/sim/world.h"

struct sim_service {
    struct service service;
    struct member *member;
    struct list writes;   /* proposed, without an answer */
    struct list reads;    /* struct sim_read */
    struct list watchers; /* struct service_watcher */
};

void sim_service_init(struct sim_service *s, struct member *m);
/* Answers what can be answered now, and what waited too long. */
void sim_service_step(struct sim_service *s);
void sim_service_result(struct sim_service *s, uint64_t number, int err, int64_t revision,
                        struct slice body);
void sim_service_dropped(struct sim_service *s, uint64_t first, uint64_t last, int err);
/* Nobody waits for anything. */
bool sim_service_idle(const struct sim_service *s);
/* The process died: forgets everything without a callback. The node is gone, the store not yet. */
void sim_service_abandon(struct sim_service *s);

#endif
