/* faults.c - what goes wrong, when, and how long: all drawn from the seed. */
#include "tests/sim/world.h"

static struct member *any_member(struct world *w)
{
    return &w->members[1 + rand_below(&w->rand, SIM_MEMBERS_MAX)];
}

static void crash_some(struct world *w)
{
    struct member *m = any_member(w);
    if (!m->alive || m->stopping || m->leaving) {
        return;
    }
    uint64_t back = w->now_ms + 50 + rand_below(&w->rand, 1500);
    if (rand_chance(&w->rand, 0.2)) {
        member_stop(m, back);
    } else {
        member_crash(m, rand_chance(&w->rand, 0.5), back);
    }
}

static void crash_all(struct world *w)
{
    for (unsigned i = 1; i <= SIM_MEMBERS_MAX; i++) {
        struct member *m = &w->members[i];
        if (m->alive) {
            member_crash(m, true, w->now_ms + 50 + rand_below(&w->rand, 300));
        }
    }
}

static void pause_some(struct world *w)
{
    struct member *m = any_member(w);
    w->counts.pauses++;
    if (rand_chance(&w->rand, 0.5)) {
        m->paused_until_ms = w->now_ms + 200 + rand_below(&w->rand, 3000);
    } else {
        m->store_until_ms = w->now_ms + 200 + rand_below(&w->rand, 3000);
    }
}

static void pause_leader(struct world *w)
{
    for (unsigned i = 1; i <= SIM_MEMBERS_MAX; i++) {
        struct member *m = &w->members[i];
        if (m->alive && m->role == NODE_LEADER) {
            w->counts.pauses++;
            m->paused_until_ms = w->now_ms + 1500 + rand_below(&w->rand, 1500);
        }
    }
}

static void cut(struct world *w, unsigned from, unsigned to, bool on)
{
    w->cut[from][to] = on;
    sim_net_cut(w->net, from, to, on);
}

static void partition_some(struct world *w)
{
    unsigned lone = 1 + (unsigned)rand_below(&w->rand, SIM_MEMBERS_MAX);
    w->counts.partitions++;
    for (unsigned i = 1; i <= SIM_MEMBERS_MAX; i++) {
        bool both = rand_chance(&w->rand, 0.7);
        if (i != lone) {
            cut(w, lone, i, true);
            cut(w, i, lone, both);
        }
    }
}

static void mend_links(struct world *w)
{
    for (unsigned i = 1; i <= SIM_MEMBERS_MAX; i++) {
        for (unsigned k = 1; k <= SIM_MEMBERS_MAX; k++) {
            if (i != k) {
                cut(w, i, k, false);
            }
        }
    }
}

/* The network as bad as this seed wants it, or good once faults are over. */
struct sim_net_options faults_network(const struct world *w)
{
    struct sim_net_options o = {.seed = w->options.seed};
    if (w->faults) {
        o.drop_chance = (double)(w->options.seed % 3) * 0.01;
        o.repeat_chance = 0.01;
        o.late_chance = 0.03;
    }
    return o;
}

static void toggle_full_disk(struct world *w)
{
    struct member *m = any_member(w);
    bool full = rand_chance(&w->rand, 0.5);
    if (m->disk != NULL) {
        w->counts.disk_full += full;
        sim_disk_set_room(m->disk, full ? sim_disk_used(m->disk) : 0);
        sim_disk_set_full_writes(m->disk, full && rand_chance(&w->rand, 0.3));
    }
}

/* ---- membership and leadership
 * ------------------------------------------------------------------- */

static void on_changed(struct node_change *c, int err)
{
    struct member *m = c->data;
    m->changing = false;
    if (err == 0) {
        m->world->counts.changes++;
    }
}

static struct member *ready_leader(struct world *w)
{
    for (unsigned i = 1; i <= SIM_MEMBERS_MAX; i++) {
        struct member *m = &w->members[i];
        if (member_running(m) && !m->stopping && node_leader_ready(m->node)) {
            return m;
        }
    }
    return NULL;
}

static void change_membership(struct world *w)
{
    struct member *leader = ready_leader(w);
    if (leader == NULL || leader->changing || w->options.members == 1) {
        return;
    }
    leader->change = (struct node_change){.data = leader, .cb = on_changed};
    struct node_member list[SIM_MEMBERS_MAX + 1];
    size_t n = node_members(leader->node, list, SIM_MEMBERS_MAX + 1);
    struct member *spare = &w->members[SIM_MEMBERS_MAX];
    bool listed = false;
    bool voter = false;
    for (size_t i = 0; i < n; i++) {
        if (list[i].id == SIM_MEMBERS_MAX) {
            listed = true;
            voter = list[i].kind == NODE_VOTER;
        }
    }
    leader->changing = true;
    if (rand_chance(&w->rand, 0.5) || spare->removed) {
        w->counts.transfers++;
        node_transfer(leader->node, &leader->change, 0);
    } else if (!listed) {
        struct node_member m = {SIM_MEMBERS_MAX, spare->address, NODE_LEARNER};
        if (!spare->exists) {
            member_start(spare, false);
        }
        node_add(leader->node, &leader->change, &m);
    } else if (!voter) {
        node_promote(leader->node, &leader->change, SIM_MEMBERS_MAX);
    } else if (leader != spare) {
        node_remove(leader->node, &leader->change, SIM_MEMBERS_MAX);
    } else {
        leader->changing = false;
    }
}

/* A leader's store loop sleeps while another member leads for a while and then hands the leadership
 * back: what its plugins still have under way then meets a newer epoch (only with plugins). */
static void comeback_begin(struct world *w)
{
    struct member *leader = ready_leader(w);
    if (leader == NULL || leader->changing || w->comeback.member != NULL) {
        return;
    }
    w->comeback = (struct comeback){.member = leader, .until_ms = w->now_ms + 6000};
    leader->store_until_ms = w->comeback.until_ms;
    leader->change = (struct node_change){.data = leader, .cb = on_changed};
    leader->changing = true;
    w->counts.transfers++;
    node_transfer(leader->node, &leader->change, 0);
}

static void comeback_step(struct world *w)
{
    struct comeback *c = &w->comeback;
    struct member *leader = ready_leader(w);
    if (c->member == NULL) {
        return;
    }
    if (w->now_ms >= c->until_ms) {
        c->member = NULL;
    } else if (c->back && leader == c->member) {
        c->member->store_until_ms = w->now_ms; /* it leads again, and wakes up */
        c->member = NULL;
    } else if (leader != NULL && leader != c->member && c->back_ms == 0) {
        c->back_ms = w->now_ms + 100 + rand_below(&w->rand, 1500);
    } else if (leader != NULL && leader != c->member && w->now_ms >= c->back_ms &&
               !leader->changing && c->member->alive && !c->member->stopping) {
        c->back = true;
        c->back_ms = w->now_ms + 1500;
        leader->change = (struct node_change){.data = leader, .cb = on_changed};
        leader->changing = true;
        w->counts.transfers++;
        node_transfer(leader->node, &leader->change, c->member->number);
    }
}

void faults_step(struct world *w)
{
    struct rand *r = &w->rand;
    if (!w->faults) {
        return;
    }
    if (rand_chance(r, 0.0006)) {
        pause_some(w);
    }
    if (rand_chance(r, 0.0006)) {
        crash_some(w);
    }
    if (rand_chance(r, 0.0001)) {
        crash_all(w);
    }
    if (rand_chance(r, 0.0005)) {
        pause_leader(w);
    }
    if (w->options.members > 1) {
        if (rand_chance(r, 0.0006)) {
            partition_some(w);
        }
        if (rand_chance(r, 0.001)) {
            mend_links(w);
        }
        if (w->options.seed % 4 == 3 && rand_chance(r, 0.001)) {
            change_membership(w);
        } else if (rand_chance(r, 0.0001)) {
            change_membership(w);
        }
        if (w->plugin_model != NULL || w->plane != NULL) {
            if (rand_chance(r, 0.0004)) {
                comeback_begin(w);
            }
            comeback_step(w);
        }
    }
    if (w->disk_full_phase && rand_chance(r, 0.0008)) {
        toggle_full_disk(w);
    }
}

void faults_heal(struct world *w)
{
    w->faults = false;
    w->comeback.member = NULL;
    mend_links(w);
    struct sim_net_options good = faults_network(w);
    sim_net_set(w->net, &good);
    for (unsigned i = 1; i <= SIM_MEMBERS_MAX; i++) {
        struct member *m = &w->members[i];
        m->paused_until_ms = 0;
        m->store_until_ms = 0;
        if (m->disk != NULL) {
            sim_disk_set_room(m->disk, 0);
            sim_disk_set_full_writes(m->disk, false);
        }
    }
}
