/* world.h - a simulated cluster: virtual time, members, clients, faults, and one history.
 *
 * The real kv/ (with LMDB), the real raft/ and libraft run inside one thread; only the clock, the
 * disk under the log, the network and the scheduler are simulated, all drawn from one seed. A seed
 * reruns a failure exactly. Time moves in steps of one millisecond. */
#ifndef KVD_TESTS_SIM_WORLD_H
#define KVD_TESTS_SIM_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/rand.h"
#include "kv/kv.h"
#include "raft/node.h"
#include "tests/lib/sim_disk.h"
#include "tests/lib/sim_net.h"
#include "tests/sim/history.h"

#define SIM_MEMBERS_MAX 4u
#define LEASES_MAX      64u

struct world;
struct member;
struct plugins;
struct plugin_model;
struct plane_model;

/* Planted bugs beside those of enum node_bug. */
enum sim_bug {
    SIM_BUG_NO_FENCE = 1 << 16,    /* apply refuses no stamp */
    SIM_BUG_EARLY_START = 1 << 17, /* plugins start before their epoch is applied */
    SIM_BUG_NO_STAMP = 1 << 18     /* plugins' writes carry no stamp */
};

struct sim_options {
    uint64_t seed;
    unsigned members;  /* 1 or 3 voters at the start */
    uint64_t fault_ms; /* virtual time under faults */
    bool plugins;      /* every member runs some */
    bool plane;        /* every member runs the control plane instead */
    unsigned bugs;     /* planted bugs (enum node_bug, enum sim_bug), debug builds */
    bool verbose;
};

/* What one run did, to show that the faults really happened. */
struct sim_counts {
    uint64_t acked, unknown, refused, reads, reads_alone, crashes, power_cuts, pauses, partitions,
        installs;
    uint64_t checkpoints, leaders, changes, transfers, watch_events, disk_full;
};

/* One client request in flight at one member. */
struct op {
    struct list link; /* member's ops */
    enum {
        OP_PUT,
        OP_SWAP,
        OP_PAIR, /* one transaction writing two keys */
        OP_WIPE,
        OP_COMPACT,
        OP_GRANT,
        OP_REVOKE,
        OP_READ,     /* linearizable */
        OP_READ_OLD, /* serializable, maybe at an old revision */
        OP_PUT_LEASED,
        OP_TEXT, /* a put of `text` to a plugin's key; `value` stands for it in the history */
        OP_ERASE /* a delete of such a key */
    } kind;
    struct member *member;
    uint64_t number;
    uint64_t started_ms;
    uint32_t key;
    uint64_t value;
    int64_t previous; /* expected modification (SWAP), lease id (GRANT, REVOKE, LEASED) */
    int64_t floor;    /* acknowledged revision when it began (READ) */
    struct node_read read;
    bool confirmed;
    uint64_t index; /* READ: wait until applied */
    char text[24];
};

/* Something the raft side handed to the store side. */
struct delivery {
    struct list link;
    enum { DELIVER_COMMIT, DELIVER_CONFIGURATION, DELIVER_INSTALL, DELIVER_ROLE } kind;
    uint64_t index, term; /* ROLE: index is the role */
    size_t len;
    uint8_t bytes[];
};

struct member {
    struct world *world;
    unsigned number; /* 1.. ; also its id */
    bool exists;     /* ever started */
    bool alive;
    bool stopping; /* graceful stop under way */
    bool fatal;    /* its node cannot go on: dies at the next step */
    bool removed;
    uint64_t restart_ms;      /* when down: start again then */
    uint64_t paused_until_ms; /* the whole process */
    uint64_t store_until_ms;  /* only the store loop stalls */
    char dir[200];
    char address[16];
    struct disk *disk;
    struct node *node;
    struct kv *kv;
    uint64_t incarnation;
    uint64_t next_number;
    uint64_t next_tick_ms;
    struct list deliveries;
    struct delivery *applying;
    struct list ops;
    uint64_t seal_ms;       /* next seal by age */
    uint64_t checkpoint_ms; /* the checkpoint thread's next step; 0 = idle */
    bool fetching;
    bool fetched;
    unsigned fetch_from;
    uint64_t fetch_index, fetch_ms, fetch_give_up_ms;
    bool install_wanted;
    enum node_role role;
    uint64_t term;
    uint64_t committed_index; /* the last one delivered */
    uint64_t lead_index;      /* what it was when it became leader: the barrier */
    struct kv_watcher *watcher;
    size_t watch_at;        /* position in the history */
    int64_t watch_revision; /* last whole revision delivered */
    struct node_change change;
    bool changing;
    uint64_t lessor_ms;
    struct plugins *plugins; /* NULL = none */
    bool leaving;            /* its plugins end first, then the node is closed */
};

struct lease {
    int64_t id; /* 0 = free slot */
    int64_t ttl_s;
    uint64_t promised_ms; /* may not be revoked by expiry before */
};

/* A leader that loses its leadership and gets it back while its store loop sleeps. */
struct comeback {
    struct member *member; /* NULL = none under way */
    uint64_t until_ms, back_ms;
    bool back; /* asked for */
};

struct world {
    struct sim_options options;
    struct sim_counts counts;
    struct rand rand;
    uint64_t now_ms;
    struct history history;
    struct sim_net *net;
    struct member members[SIM_MEMBERS_MAX + 1]; /* [1..] */
    unsigned member_count;                      /* started so far */
    struct lease leases[LEASES_MAX];
    uint64_t next_value;
    int64_t next_lease;
    bool faults;
    bool clients;
    bool disk_full_phase;
    bool cut[SIM_MEMBERS_MAX + 1][SIM_MEMBERS_MAX + 1]; /* [from][to] */
    struct plugin_model *plugin_model;                  /* NULL = none of those in this run */
    struct plane_model *plane;                          /* NULL = no control plane in this run */
    struct comeback comeback;
    char dir[160];
};

/* Runs one seed; false with history.why set when something is violated. dir: an empty folder for
 * LMDB, removed by the caller. */
bool world_run(struct world *w, const struct sim_options *options, const char *dir);

/* member.c */
void member_init(struct world *w, unsigned number);
/* founding: bootstrap with these members; others join empty-handed. */
void member_start(struct member *m, bool founding);
void member_crash(struct member *m, bool power_cut, uint64_t restart_ms);
void member_stop(struct member *m, uint64_t restart_ms); /* graceful */
void member_step(struct member *m);
bool member_running(const struct member *m);
/* What kvd/reads.c asks: may a linearizable read look at what is applied, without a round? */
bool member_decides_alone(const struct member *m);

/* client.c */
void client_step(struct world *w);
void client_result(struct member *m, uint64_t number, int err, int64_t revision, struct slice body);
void client_dropped(struct member *m, uint64_t first, uint64_t last, int err);
void client_reads(struct member *m);         /* those whose index is applied */
void client_abandon(struct member *m);       /* the member died: outcomes unknown */
void client_expire_leases(struct member *m); /* leader: propose revokes */
uint32_t client_parse_key(struct slice key); /* HISTORY_KEYS when foreign */
uint64_t client_parse_value(struct slice value);

/* faults.c */
void faults_step(struct world *w);
void faults_heal(struct world *w);
struct sim_net_options faults_network(const struct world *w);

#endif
