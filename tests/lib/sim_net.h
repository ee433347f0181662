/* sim_net.h - the members' network in memory, on virtual time.
 *
 * Frames sent are delivered inside sim_net_run once their seeded delay has passed, never elsewhere.
 * Per link they keep their order unless reordering is switched on; on top: loss, repetition, long
 * delays, one-way and two-way cuts, members that don't read (paused), a queue that fills up. One
 * thread. Its own memory does not come from mem_*, so that mem_fail_after counts only the code
 * under test. */
#ifndef KVD_TESTS_LIB_SIM_NET_H
#define KVD_TESTS_LIB_SIM_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "raft/node.h"

#define SIM_NET_MEMBERS_MAX 16u

struct sim_net;

struct sim_net_options {
    uint64_t seed;
    uint32_t delay_ms_min; /* [1] */
    uint32_t delay_ms_max; /* [5] */
    double drop_chance;    /* 0..1 per frame */
    double repeat_chance;  /* a frame arrives twice */
    double late_chance;    /* a frame takes up to late_ms_max instead (implies overtaking) */
    uint32_t late_ms_max;  /* [200] */
    bool keep_order;       /* frames of one link never overtake each other */
    size_t queue_bytes;    /* what `queued` reports is the sum of frames under way; frames beyond
                              this many bytes on one link are dropped; 0 = no limit */
};

/* Never NULL. */
struct sim_net *sim_net_new(const struct sim_net_options *o);
void sim_net_free(struct sim_net *net);
/* Changes the chances and delays from now on; frames under way keep theirs. */
void sim_net_set(struct sim_net *net, const struct sim_net_options *o);

/* The transport of one member; receive is called by sim_net_run for each frame that reaches it. A
 * second call for the same id replaces `receive` (a restarted member); the transport stays. */
struct node_transport *
sim_net_attach(struct sim_net *net, uint64_t id,
               void (*receive)(void *data, uint64_t from, struct slice frame), void *data);
/* The member is down: frames to it vanish on arrival, frames from it that are under way stay. */
void sim_net_detach(struct sim_net *net, uint64_t id);
/* While paused a member receives nothing; its frames wait and arrive when it goes on. */
void sim_net_pause(struct sim_net *net, uint64_t id, bool paused);
/* Cuts or heals the way from one member to another (one direction; frames under way are lost). */
void sim_net_cut(struct sim_net *net, uint64_t from, uint64_t to, bool cut);
/* Both directions between one member and all others. */
void sim_net_isolate(struct sim_net *net, uint64_t id, bool cut);
void sim_net_heal(struct sim_net *net);

/* Delivers what is due at now_ms, in order of arrival. */
void sim_net_run(struct sim_net *net, uint64_t now_ms);
/* When the next frame is due; UINT64_MAX when nothing can be delivered. */
uint64_t sim_net_next_ms(const struct sim_net *net);

/* Sees every frame before it is sent; false swallows it. For tests of single messages. NULL = off.
 */
void sim_net_filter(struct sim_net *net,
                    bool (*filter)(void *data, uint64_t from, uint64_t to, struct slice frame),
                    void *data);
uint64_t sim_net_sent(const struct sim_net *net); /* frames since new */
uint64_t sim_net_delivered(const struct sim_net *net);
size_t sim_net_in_flight(const struct sim_net *net);

#endif
