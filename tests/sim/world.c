/* world.c - one run: set up, faults, healing, convergence, verification. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hashmap.h"
#include "kv/epoch.h"
#include "tests/sim/plane.h"
#include "tests/sim/plugin_scribe.h"
#include "tests/sim/plugins.h"

enum {
    CONVERGE_MS_MAX = 90000,
    PLANE_CONVERGE_MS_MAX = 600000, /* controllers wait longer after failures */
    QUIET_AFTER_MS = 5000           /* clients go on so long after healing */
};

static void step(struct world *w)
{
    w->now_ms++;
    faults_step(w);
    for (unsigned i = 1; i <= SIM_MEMBERS_MAX; i++) {
        /* frames for a paused member wait in the network until it runs again */
        sim_net_pause(w->net, i, w->members[i].paused_until_ms > w->now_ms);
    }
    sim_net_run(w->net, w->now_ms);
    client_step(w);
    for (unsigned i = 1; i <= SIM_MEMBERS_MAX && !w->history.failed; i++) {
        member_step(&w->members[i]);
    }
    if (w->plugin_model != NULL) {
        plugin_model_follow(w->plugin_model);
    }
}

static struct member *leader_of(struct world *w)
{
    for (unsigned i = 1; i <= SIM_MEMBERS_MAX; i++) {
        struct member *m = &w->members[i];
        if (m->alive && !m->stopping && node_leader_ready(m->node)) {
            return m;
        }
    }
    return NULL;
}

/* Members that belong to the final configuration. */
static bool belongs(struct member *leader, unsigned number)
{
    struct node_member list[SIM_MEMBERS_MAX + 1];
    size_t n = node_members(leader->node, list, SIM_MEMBERS_MAX + 1);
    for (size_t i = 0; i < n; i++) {
        if (list[i].id == number && list[i].kind != NODE_SPARE) {
            return true;
        }
    }
    return false;
}

/* Looked at last, when all else is quiet. */
static bool plugins_converged(struct world *w, struct member *leader, char *why, size_t size)
{
    if (w->plugin_model == NULL && w->plane == NULL) {
        return true;
    }
    if (w->plugin_model != NULL ? !plugin_model_settled(w->plugin_model)
                                : !plane_model_settled(w->plane, why, size)) {
        return false;
    }
    for (unsigned i = 1; i <= SIM_MEMBERS_MAX; i++) {
        struct member *m = &w->members[i];
        if (m->exists && belongs(leader, i) && !plugins_quiet(m, why, size)) {
            return false;
        }
    }
    return true;
}

static bool converged(struct world *w)
{
    char why[200];
    struct member *leader = leader_of(w);
    if (leader == NULL || leader->changing) {
        return false;
    }
    uint64_t commit = node_commit_index(leader->node);
    for (unsigned i = 1; i <= SIM_MEMBERS_MAX; i++) {
        struct member *m = &w->members[i];
        if (!m->exists || !belongs(leader, i)) {
            continue;
        }
        if (!m->alive || kv_applied_index(m->kv) != commit || kv_applying(m->kv) ||
            m->watcher == NULL || !kv_watch_synced(m->kv, m->watcher) || m->checkpoint_ms != 0) {
            return false;
        }
        LIST_FOREACH (link, &m->ops) {
            return false; /* somebody still waits for an answer */
        }
    }
    return node_last_index(leader->node) == commit &&
           plugins_converged(w, leader, why, sizeof(why));
}

static void not_converged(struct world *w)
{
    char text[400];
    size_t at = 0;
    for (unsigned i = 1; i <= SIM_MEMBERS_MAX && at < sizeof(text); i++) {
        struct member *m = &w->members[i];
        if (!m->exists) {
            continue;
        }
        at += (size_t)snprintf(
            text + at, sizeof(text) - at,
            " [%u%s role %d term %llu commit %llu last %llu applied %llu watch %lld ckpt %llu%s]",
            i, m->alive ? "" : " down", m->alive ? (int)node_role(m->node) : -1,
            (unsigned long long)m->term,
            m->alive ? (unsigned long long)node_commit_index(m->node) : 0,
            m->alive ? (unsigned long long)node_last_index(m->node) : 0,
            m->alive ? (unsigned long long)kv_applied_index(m->kv) : 0,
            (long long)m->watch_revision, (unsigned long long)m->checkpoint_ms,
            m->fetching ? " fetching" : "");
    }
    if (w->plugin_model != NULL && !plugin_model_settled(w->plugin_model) && at < sizeof(text)) {
        snprintf(text + at, sizeof(text) - at, " keys of plugins are not as they leave them");
    }
    char why[200] = "";
    struct member *leader = leader_of(w);
    if (w->plane != NULL && leader != NULL) {
        (void)plugins_converged(w, leader, why, sizeof(why));
    }
    history_fail(&w->history, "no convergence:%s %s", text, why);
}

/* HashKV of the newest revision, which etcd's clients compare between members. */
static bool hash_of(struct world *w, struct member *m, uint32_t *hash, int64_t *revision)
{
    struct kv_hash *h = NULL;
    int64_t compact = 0;
    int err = kv_hash_open(m->kv, 0, &h);
    while (err == 0 && kv_hash_step(h, &err) == KV_MORE) {
        /* in slices */
    }
    if (err != 0) {
        history_fail(&w->history, "member %u: hash: %s", m->number, err_name(err));
        return false;
    }
    kv_hash_result(h, hash, &compact, revision);
    kv_hash_close(h);
    return true;
}

static void compare_hashes(struct world *w)
{
    struct member *leader = leader_of(w);
    uint32_t first = 0;
    int64_t first_revision = 0;
    bool have = false;
    for (unsigned i = 1; i <= SIM_MEMBERS_MAX && !w->history.failed; i++) {
        struct member *m = &w->members[i];
        uint32_t hash = 0;
        int64_t revision = 0;
        if (!m->exists || !belongs(leader, i) || !hash_of(w, m, &hash, &revision)) {
            continue;
        }
        if (have && (hash != first || revision != first_revision)) {
            history_fail(&w->history,
                         "HashKV differs at member %u: %08x at %lld, before %08x at %lld", i, hash,
                         (long long)revision, first, (long long)first_revision);
        }
        have = true;
        first = hash;
        first_revision = revision;
        if (kv_running_hash(m->kv) != kv_running_hash(leader->kv) ||
            kv_accounted_bytes(m->kv) != kv_accounted_bytes(leader->kv)) {
            history_fail(&w->history, "member %u ends in another state than the leader", i);
        }
    }
}

/* The plugins end in order everywhere: what they leave behind is seen then. */
static void end_plugins(struct world *w)
{
    uint64_t end = w->now_ms + CONVERGE_MS_MAX;
    bool running = true;
    for (unsigned i = 1; i <= SIM_MEMBERS_MAX; i++) {
        if (w->members[i].plugins != NULL) {
            plugins_stop(&w->members[i]);
        }
    }
    while (running && !w->history.failed) {
        step(w);
        running = false;
        for (unsigned i = 1; i <= SIM_MEMBERS_MAX; i++) {
            struct member *m = &w->members[i];
            running |= m->plugins != NULL && m->plugins->host != NULL;
        }
        if (w->now_ms >= end) {
            history_fail(&w->history, "plugins do not end");
        }
    }
}

bool world_run(struct world *w, const struct sim_options *options, const char *dir)
{
    memset(w, 0, sizeof(*w));
    w->options = *options;
    snprintf(w->dir, sizeof(w->dir), "%s", dir);
    rand_init(&w->rand, options->seed);
    hash_seed(options->seed);
    history_init(&w->history);
    w->now_ms = 1000;
#ifdef KVD_DEBUG
    node_bugs = options->bugs & 0xffff;
    epoch_test_no_fence = (options->bugs & SIM_BUG_NO_FENCE) != 0;
    host_bugs = ((options->bugs & SIM_BUG_EARLY_START) != 0 ? HOST_BUG_EARLY_START : 0) |
                ((options->bugs & SIM_BUG_NO_STAMP) != 0 ? HOST_BUG_NO_STAMP : 0);
#endif
    w->faults = w->clients = true;
    w->plane = options->plane ? plane_model_new(&w->history) : NULL;
    w->plugin_model = options->plugins && !options->plane ? plugin_model_new(&w->history) : NULL;
    scribe_quiet = plane_user_final = false;
    struct sim_net_options network = faults_network(w);
    w->net = sim_net_new(&network);
    for (unsigned i = 1; i <= SIM_MEMBERS_MAX; i++) {
        member_init(w, i);
    }
    w->disk_full_phase = options->seed % 5 == 1;
    for (unsigned i = 1; i <= options->members; i++) {
        member_start(&w->members[i], true);
    }
    uint64_t end = w->now_ms + options->fault_ms;
    while (w->now_ms < end && !w->history.failed) {
        step(w);
    }
    faults_heal(w);
    end = w->now_ms + QUIET_AFTER_MS;
    while (w->now_ms < end && !w->history.failed) {
        step(w);
    }
    w->clients = false;
    scribe_quiet = plane_user_final = true;
    end = w->now_ms + (w->plane != NULL ? PLANE_CONVERGE_MS_MAX : CONVERGE_MS_MAX);
    while (!w->history.failed && !converged(w)) {
        step(w);
        if (w->now_ms >= end) {
            not_converged(w);
        }
    }
    if (!w->history.failed) {
        compare_hashes(w);
    }
    if (!w->history.failed) {
        history_verify(&w->history, kv_revision(leader_of(w)->kv));
    }
    if (w->plugin_model != NULL || w->plane != NULL) {
        end_plugins(w);
    }
    return !w->history.failed;
}
