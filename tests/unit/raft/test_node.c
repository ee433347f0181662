/* test_node.c - members on virtual time: one, three, crashes, partitions, reads, changes, installs.
 */
#include "raft/node.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/log.h"
#include "proto/batch.h"
#include "raft/configuration.h"
#include "raft/node_impl.h"
#include "tests/lib/raft_cluster.h"

static struct raft_cluster c;

static int teardown(void **state)
{
    raft_cluster_close(&c);
    return 0;
}

#define ASSERT_SOUND()             \
    do {                           \
        if (c.broken) {            \
            fail_msg("%s", c.why); \
        }                          \
    } while (0)

static void start(size_t n, size_t voters, uint64_t seed)
{
    raft_cluster_init(&c, n, voters, seed);
    raft_cluster_start(&c, voters);
    assert_true(raft_cluster_until(&c, 10000, raft_cluster_has_leader));
    ASSERT_SOUND();
}

/* Proposes at the leader and waits until it is acknowledged there. */
static uint64_t put(void)
{
    uint64_t leader = raft_cluster_leader(&c);
    assert_int_not_equal(leader, 0);
    uint64_t value = raft_cluster_propose(&c, leader);
    for (unsigned i = 0; i < 5000 && !raft_cluster_acked(&c, value); i++) {
        raft_cluster_step(&c);
    }
    ASSERT_SOUND();
    assert_true(raft_cluster_acked(&c, value));
    return value;
}

static void converge(void)
{
    bool same = raft_cluster_until(&c, 20000, raft_cluster_converged);
    ASSERT_SOUND();
    assert_true(same);
}

/* ---- one member --------------------------------------------------------------------------- */

/* A fresh single member leads at once, commits and survives a restart. */
static void single_member_commits_and_restarts(void **state)
{
    start(1, 1, 1);
    struct raft_member *m = &c.members[0];
    assert_true(c.now_ms < 1100);
    assert_int_equal(m->leader, 1);
    uint64_t sum = 0;
    for (unsigned i = 0; i < 20; i++) {
        sum += put();
    }
    assert_int_equal(m->state.sum, sum);
    uint64_t term = m->term;
    raft_cluster_stop(&c, 1);
    raft_cluster_up(&c, 1);
    assert_true(raft_cluster_until(&c, 1000, raft_cluster_has_leader));
    assert_int_equal(m->state.sum, sum);
    assert_true(m->term > term);
    raft_cluster_checkpoint(&c, 1);
    sum += put();
    raft_cluster_crash(&c, 1);
    raft_cluster_up(&c, 1);
    assert_true(raft_cluster_until(&c, 1000, raft_cluster_has_leader));
    assert_int_equal(m->state.sum, sum);
    ASSERT_SOUND();
}

/* The first configuration is written once: a crash at any moment of the first start loses nothing,
 * and the file that carried it goes away. */
static void bootstrap_survives_a_crash_at_any_moment(void **state)
{
    raft_cluster_init(&c, 1, 1, 2);
    raft_cluster_start(&c, 1);
    for (unsigned after = 0; after < 25; after++) {
        raft_cluster_run(&c, after);
        raft_cluster_crash(&c, 1);
        raft_cluster_up(&c, 1);
        ASSERT_SOUND();
    }
    assert_true(raft_cluster_until(&c, 1000, raft_cluster_has_leader));
    put();
    raft_cluster_run(&c, 100);
    size_t len;
    assert_null(sim_disk_file(c.members[0].disk, "bootstrap", &len));
}

/* Bootstrapping twice, or a directory that has been used, is refused. */
static void bootstrap_refuses_a_used_directory(void **state)
{
    start(1, 1, 3);
    put();
    raft_cluster_run(&c, 100);
    raft_cluster_stop(&c, 1);
    struct node_member me = {.id = 1, .address = "x", .kind = NODE_VOTER};
    struct node_options o = {.id = 1, .address = "x", .disk = c.members[0].disk};
    struct errmsg e = {""};
    assert_int_equal(node_bootstrap(&o, &me, 1, &e), ERR_INVALID);
    assert_string_not_equal(e.text, "");
}

static void invalid_members_are_refused(void **state)
{
    raft_cluster_init(&c, 1, 1, 4);
    c.members[0].disk = sim_disk_new(&(struct sim_disk_options){.seed = 1});
    struct node_options o = {.id = 1, .address = "x", .disk = c.members[0].disk};
    struct errmsg e = {""};
    const struct node_member twice[2] = {{.id = 1, .address = "a"}, {.id = 1, .address = "b"}};
    const struct node_member address[2] = {{.id = 1, .address = "a"}, {.id = 2, .address = "a"}};
    const struct node_member learner = {.id = 1, .address = "a", .kind = NODE_LEARNER};
    const struct node_member zero = {.id = 0, .address = "a"};
    assert_int_equal(node_bootstrap(&o, twice, 2, &e), ERR_INVALID);
    assert_int_equal(node_bootstrap(&o, address, 2, &e), ERR_INVALID);
    assert_int_equal(node_bootstrap(&o, &learner, 1, &e), ERR_INVALID);
    assert_int_equal(node_bootstrap(&o, &zero, 1, &e), ERR_INVALID);
    assert_int_equal(node_bootstrap(&o, NULL, 0, &e), ERR_INVALID);
}

/* Many proposals of one turn become few entries; at most two are in flight. */
static void proposals_are_batched(void **state)
{
    start(1, 1, 5);
    uint64_t before = node_last_index(c.members[0].node);
    for (unsigned i = 0; i < 3000; i++) {
        raft_cluster_propose(&c, 1);
    }
    assert_true(node_queued_bytes(c.members[0].node) > 3000 * 8);
    raft_cluster_run(&c, 200);
    assert_int_equal(c.acked, 3000);
    assert_int_equal(node_queued_bytes(c.members[0].node), 0);
    assert_true(node_last_index(c.members[0].node) - before <= 2);
    ASSERT_SOUND();
}

/* More than PROPOSALS_PENDING_MAX at once: the surplus is refused, exactly. */
static void too_many_proposals_are_refused(void **state)
{
    start(1, 1, 6);
    for (unsigned i = 0; i < PROPOSALS_PENDING_MAX + 10; i++) {
        raft_cluster_propose(&c, 1);
    }
    assert_int_equal(c.members[0].dropped[2], 10);
    raft_cluster_run(&c, 200);
    assert_int_equal(c.acked, PROPOSALS_PENDING_MAX);
}

/* A run of operations larger than a batch is cut at operation boundaries; its tail over the limit
 * is refused by number. */
static void long_runs_are_cut_into_batches(void **state)
{
    start(1, 1, 7);
    struct raft_member *m = &c.members[0];
    static uint8_t value[300 * 1024];
    struct buf ops;
    buf_init(&ops);
    for (uint64_t i = 1; i <= 10; i++) {
        value[0] = (uint8_t)i;
        struct batch_origin origin = {.member = 1, .incarnation = m->incarnation, .number = i};
        assert_true(batch_add(&ops, origin, slice_of(value, i == 5 ? 9 : sizeof(value))));
    }
    uint64_t before = node_last_index(m->node);
    c.next_value = 11;
    node_propose(m->node, buf_slice(&ops), 1, 10);
    raft_cluster_run(&c, 500);
    ASSERT_SOUND();
    assert_int_equal(m->state.sum, 55);
    assert_int_equal(c.acked, 10);
    uint64_t entries = node_last_index(m->node) - before;
    assert_true(entries >= 3 && entries <= 5);
    buf_close(&ops);
}

/* Stopping answers what is queued, and commits or calls unknown what is in flight. */
static void stop_answers_every_proposal(void **state)
{
    start(1, 1, 8);
    struct raft_member *m = &c.members[0];
    for (unsigned round = 0; round < 4; round++) {
        for (unsigned i = 0; i < 10; i++) {
            raft_cluster_propose(&c, 1);
        }
        node_flush(m->node);
    }
    raft_cluster_stop(&c, 1);
    assert_int_equal(c.acked + m->dropped[1] + m->dropped[3], 40);
    assert_true(m->dropped[3] > 0);
    ASSERT_SOUND();
}

/* The log in memory and on disk is trimmed behind checkpoints, and not before. */
static void log_is_trimmed_behind_checkpoints(void **state)
{
    raft_cluster_init(&c, 1, 1, 9);
    c.snapshot_entries = 50;
    raft_cluster_start(&c, 1);
    raft_cluster_until(&c, 1000, raft_cluster_has_leader);
    size_t len;
    for (unsigned i = 0; i < 1000; i++) {
        put();
    }
    uint64_t untrimmed = sim_disk_used(c.members[0].disk);
    assert_true(untrimmed > 5 * c.segment_bytes);
    for (unsigned i = 0; i < 200; i++) {
        put();
        if (i % 10 == 0) {
            raft_cluster_checkpoint(&c, 1);
        }
    }
    raft_cluster_run(&c, 100);
    assert_true(sim_disk_used(c.members[0].disk) <= 4 * c.segment_bytes);
    assert_null(sim_disk_file(c.members[0].disk, "bootstrap", &len));
    uint64_t sum = c.members[0].state.sum;
    raft_cluster_crash(&c, 1);
    raft_cluster_up(&c, 1);
    assert_true(raft_cluster_until(&c, 1000, raft_cluster_has_leader));
    assert_int_equal(c.members[0].state.sum, sum);
    put();
}

static void count_dropped(void *data, uint64_t first, uint64_t last, int err)
{
}

static void ignore_role(void *data, enum node_role role, uint64_t term, uint64_t leader)
{
}

static void ignore_commit(void *data, uint64_t index, uint64_t term, struct slice payload)
{
}

static void ignore_configuration(void *data, uint64_t index, struct slice encoded)
{
}

static uint64_t no_time(void *data)
{
    return 5;
}

/* Allocation number N fails while starting, for all N: an error, nothing leaked, and the next try
 * works. */
static void start_survives_allocation_failures(void **state)
{
    start(1, 1, 17);
    for (unsigned i = 0; i < 30; i++) {
        put();
    }
    raft_cluster_stop(&c, 1);
    struct rand rand;
    rand_init(&rand, 1);
    struct node_options o = {.id = 1,
                             .address = "m1",
                             .disk = c.members[0].disk,
                             .transport = sim_net_attach(c.net, 1, NULL, NULL),
                             .callbacks = {.commit = ignore_commit,
                                           .configuration = ignore_configuration,
                                           .role = ignore_role,
                                           .dropped = count_dropped},
                             .now_ms = no_time,
                             .rand = &rand};
    unsigned failures = 0;
    for (uint64_t n = 1; n < 1000; n++) {
        struct node *node = NULL;
        struct errmsg e = {""};
        mem_fail_after(n);
        int err = node_start(&o, &node, &e);
        mem_fail_after(0);
        if (err == 0) {
            sim_disk_kill(c.members[0].disk);
            node_abandon(node);
            break;
        }
        assert_null(node);
        assert_string_not_equal(e.text, "");
        failures++;
    }
    assert_true(failures >= 5);
    raft_cluster_up(&c, 1);
    ASSERT_SOUND();
    assert_true(raft_cluster_until(&c, 1000, raft_cluster_has_leader));
    put();
}

/* ---- three members ------------------------------------------------------------------------ */

static void three_members_elect_and_replicate(void **state)
{
    start(3, 3, 10);
    for (unsigned i = 0; i < 50; i++) {
        put();
    }
    converge();
    assert_int_equal(c.members[0].state.chain, c.members[1].state.chain);
    assert_int_equal(c.members[0].state.chain, c.members[2].state.chain);
    uint64_t leader = raft_cluster_leader(&c);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(c.members[i].leader, leader);
    }
}

/* Followers learn of a commit within a few milliseconds, not at the next heartbeat. */
static void followers_apply_without_waiting_for_a_heartbeat(void **state)
{
    start(3, 3, 11);
    put();
    converge();
    uint64_t worst = 0;
    for (unsigned i = 0; i < 20; i++) {
        raft_cluster_run(&c, 37);
        put();
        uint64_t acked = c.now_ms;
        converge();
        worst = c.now_ms - acked > worst ? c.now_ms - acked : worst;
    }
    assert_true(worst <= 15);
}

static void leader_crash_loses_nothing_acknowledged(void **state)
{
    start(3, 3, 12);
    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < 10; i++) {
            put();
        }
        uint64_t old = raft_cluster_leader(&c);
        uint64_t since = c.now_ms;
        raft_cluster_propose(&c, old);
        raft_cluster_run(&c, 2);
        raft_cluster_crash(&c, old);
        assert_true(raft_cluster_until(&c, 10000, raft_cluster_has_leader));
        assert_true(c.now_ms - since < 5000);
        put();
        raft_cluster_up(&c, old);
        converge();
    }
}

/* A leader cut off steps down, tells its proposals' fate, and catches up later. */
static void partitioned_leader_steps_down(void **state)
{
    start(3, 3, 13);
    put();
    uint64_t old = raft_cluster_leader(&c);
    struct raft_member *m = raft_cluster_member(&c, old);
    sim_net_isolate(c.net, old, true);
    raft_cluster_propose(&c, old);
    raft_cluster_run(&c, 1);
    for (unsigned i = 0; i < 3; i++) {
        raft_cluster_propose(&c, old);
        raft_cluster_run(&c, 1);
    }
    raft_cluster_run(&c, 4500);
    ASSERT_SOUND();
    assert_int_not_equal(m->role, NODE_LEADER);
    assert_int_equal(m->dropped[0] + m->dropped[1], 4);
    assert_true(m->dropped[1] >= 1);
    assert_int_not_equal(raft_cluster_leader(&c), old);
    raft_cluster_propose(&c, old);
    assert_int_equal(m->dropped[0] + m->dropped[1], 5);
    put();
    sim_net_heal(c.net);
    converge();
}

/* A stopped process that goes on does not disturb the others by an election. */
static void paused_follower_does_not_depose_the_leader(void **state)
{
    start(3, 3, 14);
    put();
    uint64_t leader = raft_cluster_leader(&c);
    uint64_t term = raft_cluster_member(&c, leader)->term;
    uint64_t follower = leader % 3 + 1;
    for (unsigned i = 0; i < 5; i++) {
        raft_cluster_pause(&c, follower, true);
        raft_cluster_run(&c, 3000);
        raft_cluster_pause(&c, follower, false);
        raft_cluster_run(&c, 500);
        put();
    }
    converge();
    assert_int_equal(raft_cluster_leader(&c), leader);
    assert_int_equal(raft_cluster_member(&c, leader)->term, term);
}

/* A leader whose disk hangs hands over, and is an ordinary follower once the disk is back. */
static void leader_with_a_stuck_disk_hands_over(void **state)
{
    start(3, 3, 15);
    put();
    uint64_t old = raft_cluster_leader(&c);
    raft_cluster_member(&c, old)->disk_stuck = true;
    raft_cluster_propose(&c, old);
    uint64_t since = c.now_ms;
    while (c.now_ms - since < 10000 && raft_cluster_leader(&c) == old) {
        raft_cluster_step(&c);
    }
    assert_int_not_equal(raft_cluster_leader(&c), old);
    assert_true(c.now_ms - since < 2000);
    put();
    raft_cluster_run(&c, 3000);
    put();
    raft_cluster_member(&c, old)->disk_stuck = false;
    converge();
}

/* Nobody to hand over to: a single member waits for its disk. */
static void single_member_waits_for_a_stuck_disk(void **state)
{
    start(1, 1, 16);
    put();
    c.members[0].disk_stuck = true;
    uint64_t value = raft_cluster_propose(&c, 1);
    raft_cluster_run(&c, 10000);
    assert_false(raft_cluster_acked(&c, value));
    assert_int_equal(raft_cluster_leader(&c), 1);
    c.members[0].disk_stuck = false;
    raft_cluster_run(&c, 20);
    assert_true(raft_cluster_acked(&c, value));
}

/* ---- reads -------------------------------------------------------------------------------- */

struct test_read {
    struct node_read req;
    bool done;
    int err;
    uint64_t index;
};

static void read_done(struct node_read *r, int err, uint64_t index)
{
    struct test_read *t = r->data;
    t->done = true;
    t->err = err;
    t->index = index;
}

static void ask(uint64_t id, struct test_read *r)
{
    *r = (struct test_read){.req = {.data = r, .cb = read_done}};
    node_read_index(raft_cluster_member(&c, id)->node, &r->req);
}

/* A single voter answers within the turn, without a frame. */
static void single_member_reads_at_once(void **state)
{
    start(1, 1, 20);
    put();
    struct test_read r;
    ask(1, &r);
    assert_false(r.done);
    node_flush(c.members[0].node);
    assert_true(r.done);
    assert_int_equal(r.err, 0);
    assert_true(r.index >= c.max_acked_index);
    assert_int_equal(sim_net_sent(c.net), 0);
}

/* From the committed barrier on, until an entry that changes the members is appended. */
static void single_member_decides_alone(void **state)
{
    start(1, 1, 22);
    struct node *n = c.members[0].node;
    assert_int_equal(node_leader_ready(n), node_decides_alone(n));
    put();
    assert_true(node_decides_alone(n));
    c.members[0].disk_stuck = true;
    raft_cluster_run(&c, 100);
    assert_true(node_decides_alone(n)); /* what is not durable was not acknowledged */
    c.members[0].disk_stuck = false;
}

static void of_three_nobody_decides_alone(void **state)
{
    start(3, 3, 23);
    put();
    converge();
    for (unsigned i = 0; i < 3; i++) {
        assert_false(node_decides_alone(c.members[i].node));
    }
}

/* Reads of one turn share a round; one made after it was sent waits for the next. */
static void reads_share_a_round(void **state)
{
    start(3, 3, 21);
    put();
    converge();
    uint64_t leader = raft_cluster_leader(&c);
    struct node *n = raft_cluster_member(&c, leader)->node;
    struct test_read r[5];
    uint64_t sent = sim_net_sent(c.net);
    for (unsigned i = 0; i < 4; i++) {
        ask(leader, &r[i]);
    }
    node_flush(n);
    assert_int_equal(sim_net_sent(c.net) - sent, 2);
    ask(leader, &r[4]);
    node_flush(n);
    assert_int_equal(sim_net_sent(c.net) - sent, 2);
    for (unsigned i = 0; i < 20 && !r[3].done; i++) {
        assert_false(r[4].done);
        raft_cluster_step(&c);
    }
    for (unsigned i = 0; i < 4; i++) {
        assert_true(r[i].done);
        assert_int_equal(r[i].err, 0);
        assert_true(r[i].index >= c.max_acked_index);
    }
    assert_false(r[4].done);
    raft_cluster_run(&c, 20);
    assert_true(r[4].done);
}

static void reads_are_refused_where_they_must_be(void **state)
{
    start(3, 3, 22);
    put();
    uint64_t leader = raft_cluster_leader(&c);
    uint64_t follower = leader % 3 + 1;
    struct test_read a;
    struct test_read b;
    ask(follower, &a);
    raft_cluster_run(&c, 1);
    assert_true(a.done);
    assert_int_equal(a.err, ERR_NOT_LEADER);
    sim_net_isolate(c.net, leader, true);
    ask(leader, &b);
    raft_cluster_run(&c, 1900);
    assert_true(raft_cluster_leader(&c) != leader || !b.done);
    raft_cluster_run(&c, 2500);
    assert_true(b.done);
    assert_int_equal(b.err, ERR_LEADER_CHANGED);
}

/* Confirmations survive lost frames: they are asked again. */
static void reads_survive_lost_frames(void **state)
{
    start(3, 3, 23);
    sim_net_set(c.net, &(struct sim_net_options){.drop_chance = 0.3});
    unsigned good = 0;
    for (unsigned i = 0; i < 50; i++) {
        uint64_t leader = raft_cluster_leader(&c);
        struct test_read r;
        if (leader == 0) {
            raft_cluster_run(&c, 50);
            continue;
        }
        uint64_t floor = c.max_acked_index;
        ask(leader, &r);
        for (unsigned k = 0; k < 10000 && !r.done; k++) {
            raft_cluster_step(&c);
        }
        assert_true(r.done);
        good += r.err == 0;
        assert_true(r.err != 0 || r.index >= floor);
    }
    assert_true(good > 30);
    ASSERT_SOUND();
}

/* ---- membership --------------------------------------------------------------------------- */

struct test_change {
    struct node_change req;
    bool done;
    int err;
};

static void change_done(struct node_change *change, int err)
{
    struct test_change *t = change->data;
    t->done = true;
    t->err = err;
}

static void change_start(struct test_change *t)
{
    *t = (struct test_change){.req = {.data = t, .cb = change_done}};
}

static int change_wait(struct test_change *t)
{
    for (unsigned i = 0; i < 20000 && !t->done && !c.broken; i++) {
        raft_cluster_step(&c);
    }
    ASSERT_SOUND();
    assert_true(t->done);
    return t->err;
}

static struct node *leader_node(void)
{
    assert_true(raft_cluster_until(&c, 10000, raft_cluster_has_leader));
    return raft_cluster_member(&c, raft_cluster_leader(&c))->node;
}

static int add(uint64_t id, int kind)
{
    struct test_change t;
    struct node_member m = {
        .id = id, .address = raft_cluster_member(&c, id)->address, .kind = kind};
    change_start(&t);
    node_add(leader_node(), &t.req, &m);
    return change_wait(&t);
}

static int promote(uint64_t id)
{
    struct test_change t;
    change_start(&t);
    node_promote(leader_node(), &t.req, id);
    return change_wait(&t);
}

static int drop(uint64_t id)
{
    struct test_change t;
    change_start(&t);
    node_remove(leader_node(), &t.req, id);
    return change_wait(&t);
}

static int kind_of(uint64_t at, uint64_t id)
{
    struct node_member list[8];
    size_t n = node_members(raft_cluster_member(&c, at)->node, list, 8);
    for (size_t i = 0; i < n; i++) {
        if (list[i].id == id) {
            return (int)list[i].kind;
        }
    }
    return -1;
}

/* The first entry that makes another voter ends it, before that entry is durable anywhere. */
static void whoever_adds_a_voter_decides_alone_no_more(void **state)
{
    struct test_change t;
    start(2, 1, 36);
    put();
    raft_cluster_up(&c, 2);
    struct node *n = leader_node();
    assert_true(node_decides_alone(n));
    assert_int_equal(add(2, NODE_LEARNER), 0);
    assert_true(node_decides_alone(n)); /* a learner does not vote */
    converge();
    change_start(&t);
    node_promote(n, &t.req, 2);
    assert_int_equal(change_wait(&t), 0);
    assert_false(node_decides_alone(n));
    assert_int_equal(drop(2), 0);
    assert_true(node_decides_alone(n));
    struct node_member m = {
        .id = 2, .address = raft_cluster_member(&c, 2)->address, .kind = NODE_VOTER};
    change_start(&t);
    node_add(n, &t.req, &m);
    for (unsigned i = 0; i < 2000 && !t.done; i++) {
        raft_cluster_run(&c, 1);
        bool two = configuration_voters(&n->raft.configuration) == 2;
        assert_false(two && node_decides_alone(n));
    }
    assert_false(node_decides_alone(n));
}

/* One member grows to three, learner by learner, and shrinks again. */
static void cluster_grows_and_shrinks(void **state)
{
    start(3, 1, 30);
    put();
    raft_cluster_up(&c, 2);
    assert_int_equal(add(2, NODE_LEARNER), 0);
    assert_int_equal(kind_of(1, 2), NODE_LEARNER);
    put();
    converge();
    assert_int_equal(promote(2), 0);
    assert_int_equal(kind_of(1, 2), NODE_VOTER);
    assert_int_equal(promote(2), ERR_MEMBER_NOT_LEARNER);
    assert_int_equal(add(2, NODE_LEARNER), ERR_MEMBER_EXIST);
    raft_cluster_up(&c, 3);
    assert_int_equal(add(3, NODE_VOTER), 0);
    assert_int_equal(kind_of(1, 3), NODE_VOTER);
    put();
    converge();
    assert_int_equal(promote(7), ERR_MEMBER_NOT_FOUND);
    assert_int_equal(drop(7), ERR_MEMBER_NOT_FOUND);
    assert_int_equal(drop(2), 0);
    assert_int_equal(kind_of(1, 2), -1);
    raft_cluster_stop(&c, 2);
    put();
    converge();
    assert_int_equal(c.members[0].state.configuration_index,
                     c.members[2].state.configuration_index);
}

/* Bytes of the encoded list without its padding. */
static size_t list_bytes(struct slice encoded)
{
    struct raft_configuration list;
    assert_int_equal(configuration_decode(encoded, &list), 0);
    size_t bytes = 9;
    for (unsigned i = 0; i < list.n; i++) {
        bytes += 8 + strlen(list.servers[i].address) + 1 + 1;
    }
    raft_configuration_close(&list);
    return bytes;
}

static void assert_padded_with_zeros(struct slice encoded)
{
    size_t used = list_bytes(encoded);
    assert_true(encoded.len > used); /* else this test proves nothing */
    for (size_t i = used; i < encoded.len; i++) {
        assert_int_equal(encoded.data[i], 0);
    }
}

static void *dirty_malloc(void *data, size_t size)
{
    void *p = malloc(size);
    return p == NULL ? NULL : memset(p, 0xa5, size);
}

static void dirty_free(void *data, void *p)
{
    free(p);
}

static void *dirty_calloc(void *data, size_t n, size_t size)
{
    return calloc(n, size);
}

static void *dirty_realloc(void *data, void *p, size_t size)
{
    return realloc(p, size);
}

/* No file of the member holds four bytes in a row as a fresh piece of the heap does. */
static void assert_clean_disk(struct disk *d)
{
    for (size_t i = 0; sim_disk_name(d, i) != NULL; i++) {
        size_t len;
        const uint8_t *bytes = sim_disk_file(d, sim_disk_name(d, i), &len);
        assert_null(memmem(bytes, len, "\xa5\xa5\xa5\xa5", 4));
    }
}

/* libraft leaves the padding of an encoded configuration, and the content of a barrier, as the heap
 * had it. What goes to the disk and to other members must not tell what the heap held before. */
static void configurations_carry_nothing_of_the_heap(void **state)
{
    static struct raft_heap heap = {.malloc = dirty_malloc,
                                    .free = dirty_free,
                                    .calloc = dirty_calloc,
                                    .realloc = dirty_realloc};
    raft_heap_set(&heap);
    raft_cluster_init(&c, 3, 1, 31);
    raft_cluster_start(&c, 1);
    size_t len;
    const uint8_t *file = sim_disk_file(c.members[0].disk, "bootstrap", &len);
    assert_non_null(file);
    assert_padded_with_zeros(slice_of(file + 16, len - 16));
    for (uint64_t id = 2; id <= 3; id++) {
        raft_cluster_up(&c, id);
        assert_int_equal(add(id, NODE_VOTER), 0);
        put();
        converge();
        for (uint64_t at = 1; at <= id; at++) {
            const struct raft_state *s = &raft_cluster_member(&c, at)->state;
            assert_padded_with_zeros(slice_of(s->configuration, s->configuration_len));
        }
    }
    assert_int_equal(drop(3), 0);
    const struct raft_state *s = &c.members[0].state;
    assert_padded_with_zeros(slice_of(s->configuration, s->configuration_len));
    assert_clean_disk(c.members[0].disk);
    assert_clean_disk(c.members[1].disk);
}

static int teardown_clean(void **state)
{
    raft_cluster_close(&c);
    raft_heap_set_default();
    return 0;
}

/* A leader removed from the configuration commits it, steps down, and another takes over. */
static void leader_removes_itself(void **state)
{
    start(3, 3, 31);
    put();
    uint64_t old = raft_cluster_leader(&c);
    assert_int_equal(drop(old), 0);
    raft_cluster_run(&c, 10);
    assert_int_not_equal(raft_cluster_member(&c, old)->role, NODE_LEADER);
    raft_cluster_stop(&c, old);
    assert_true(raft_cluster_until(&c, 10000, raft_cluster_has_leader));
    put();
    converge();
}

/* Two members; the leader removes itself and the other becomes sole voter: it must lead in a term
 * of its own, whatever it still hears from the old leader. */
static void last_voter_leads_in_a_new_term(void **state)
{
    for (uint64_t seed = 32; seed < 42; seed++) {
        start(2, 2, seed);
        put();
        uint64_t old = raft_cluster_leader(&c);
        uint64_t other = 3 - old;
        struct test_change t;
        change_start(&t);
        node_remove(leader_node(), &t.req, old);
        for (unsigned i = 0; i < 100 && kind_of(other, old) != -1; i++) {
            raft_cluster_step(&c);
        }
        assert_int_equal(kind_of(other, old), -1);
        sim_net_isolate(c.net, old, true); /* its acknowledgement may or may not have got through */
        raft_cluster_run(&c, 5000);
        ASSERT_SOUND(); /* raft_cluster notices two leaders of one term */
        assert_int_equal(raft_cluster_leader(&c), other);
        put();
        sim_net_heal(c.net);
        raft_cluster_run(&c, 3000);
        ASSERT_SOUND();
        put();
        if (seed != 41) {
            raft_cluster_close(&c);
        }
    }
}

/* An absent learner is not promoted; an absent new voter doesn't block for ever. */
static void promotion_waits_for_catch_up(void **state)
{
    start(3, 1, 43);
    put();
    assert_int_equal(add(2, NODE_LEARNER), 0);
    assert_int_equal(promote(2), ERR_LEARNER_NOT_READY);
    put();
    raft_cluster_up(&c, 2);
    converge();
    assert_int_equal(promote(2), 0);
    struct test_change t;
    struct node_member m = {.id = 3, .address = "m3", .kind = NODE_VOTER};
    change_start(&t);
    node_add(leader_node(), &t.req, &m);
    assert_int_equal(change_wait(&t), ERR_LEARNER_NOT_READY);
    assert_int_equal(kind_of(1, 3), NODE_LEARNER);
    put();
}

/* Changes are refused elsewhere than at the leader, and lost with it. */
static void changes_end_with_the_leadership(void **state)
{
    start(3, 3, 44);
    put();
    uint64_t old = raft_cluster_leader(&c);
    struct test_change a;
    struct test_change b;
    change_start(&a);
    node_remove(raft_cluster_member(&c, old % 3 + 1)->node, &a.req, 1);
    assert_true(a.done);
    assert_int_equal(a.err, ERR_NOT_LEADER);
    sim_net_isolate(c.net, old, true);
    change_start(&b);
    node_remove(raft_cluster_member(&c, old)->node, &b.req, old % 3 + 1);
    change_start(&a);
    node_remove(raft_cluster_member(&c, old)->node, &a.req, old % 3 + 1);
    assert_int_equal(change_wait(&b), ERR_UNKNOWN_OUTCOME);
    assert_int_equal(change_wait(&a), ERR_NOT_LEADER);
    assert_int_equal(kind_of(old, old % 3 + 1), -1); /* its own log says so, uncommitted */
    assert_true(raft_cluster_until(&c, 10000, raft_cluster_has_leader));
    put();
    sim_net_heal(c.net);
    converge();
    assert_int_equal(kind_of(old, old % 3 + 1), NODE_VOTER); /* rolled back */
}

/* ---- transfer ----------------------------------------------------------------------------- */

static void leadership_is_transferred(void **state)
{
    start(3, 3, 50);
    put();
    for (unsigned round = 0; round < 6; round++) {
        uint64_t old = raft_cluster_leader(&c);
        uint64_t to = round % 2 == 0 ? old % 3 + 1 : 0;
        struct test_change t;
        change_start(&t);
        uint64_t since = c.now_ms;
        node_transfer(leader_node(), &t.req, to);
        raft_cluster_propose(&c, old); /* held, then refused: certainly not proposed */
        assert_int_equal(change_wait(&t), 0);
        assert_true(raft_cluster_until(&c, 1000, raft_cluster_has_leader));
        assert_true(c.now_ms - since < 500);
        uint64_t now = raft_cluster_leader(&c);
        assert_true(now != old && (to == 0 || now == to));
        put();
        converge();
    }
}

/* An unreachable target: the leader goes on after an election timeout, held proposals are made. */
static void failed_transfer_resumes(void **state)
{
    start(3, 3, 51);
    put();
    uint64_t old = raft_cluster_leader(&c);
    uint64_t to = old % 3 + 1;
    sim_net_isolate(c.net, to, true);
    struct test_change t;
    change_start(&t);
    node_transfer(leader_node(), &t.req, to);
    raft_cluster_run(&c, 5);
    uint64_t value = raft_cluster_propose(&c, old);
    assert_int_equal(change_wait(&t), ERR_TIMEOUT);
    raft_cluster_run(&c, 100);
    assert_true(raft_cluster_acked(&c, value));
    assert_int_equal(raft_cluster_leader(&c), old);
    change_start(&t);
    node_transfer(leader_node(), &t.req, 77);
    assert_int_equal(change_wait(&t), ERR_BAD_LEADER_TRANSFEREE);
}

static void single_member_cannot_transfer(void **state)
{
    start(1, 1, 52);
    struct test_change t;
    change_start(&t);
    node_transfer(leader_node(), &t.req, 0);
    assert_int_equal(change_wait(&t), ERR_UNHEALTHY);
    put();
}

/* ---- snapshots ---------------------------------------------------------------------------- */

static void start_small_log(size_t n, size_t voters, uint64_t seed)
{
    raft_cluster_init(&c, n, voters, seed);
    c.trailing_entries = 10;
    c.snapshot_entries = 20;
    c.checkpoint_ms = 100;
    c.segment_bytes = 16 * 1024;
    raft_cluster_start(&c, voters);
    assert_true(raft_cluster_until(&c, 10000, raft_cluster_has_leader));
}

/* A follower that was away for longer than the log reaches gets the store and goes on from there.
 */
static void lagging_follower_installs_a_snapshot(void **state)
{
    start_small_log(3, 3, 60);
    put();
    uint64_t leader = raft_cluster_leader(&c);
    uint64_t away = leader % 3 + 1;
    raft_cluster_crash(&c, away);
    for (unsigned i = 0; i < 300; i++) {
        put();
    }
    raft_cluster_run(&c, 500);
    raft_cluster_up(&c, away);
    for (unsigned i = 0; i < 50; i++) {
        put();
    }
    converge();
    assert_true(raft_cluster_member(&c, away)->installs >= 1);
    raft_cluster_crash(&c, away);
    raft_cluster_up(&c, away);
    put();
    converge();
}

/* A new member begins with an install: it has no configuration and no log. */
static void joiner_installs_a_snapshot(void **state)
{
    start_small_log(2, 1, 61);
    for (unsigned i = 0; i < 200; i++) {
        put();
    }
    raft_cluster_up(&c, 2);
    assert_int_equal(add(2, NODE_LEARNER), 0);
    put();
    converge();
    assert_int_equal(c.members[1].installs, 1);
    assert_int_equal(promote(2), 0);
    put();
    raft_cluster_crash(&c, 2);
    raft_cluster_up(&c, 2);
    converge();
}

/* A follower that dies while fetching is offered the snapshot again soon, not after minutes. */
static void interrupted_fetch_starts_over(void **state)
{
    start_small_log(3, 3, 62);
    put();
    uint64_t leader = raft_cluster_leader(&c);
    uint64_t away = leader % 3 + 1;
    struct raft_member *m = raft_cluster_member(&c, away);
    raft_cluster_crash(&c, away);
    for (unsigned i = 0; i < 300; i++) {
        put();
    }
    raft_cluster_run(&c, 500);
    c.fetch_ms = 100000;
    raft_cluster_up(&c, away);
    for (unsigned i = 0; i < 3000 && !m->fetching; i++) {
        raft_cluster_step(&c);
    }
    assert_true(m->fetching);
    raft_cluster_run(&c, 6000);
    assert_true(m->fetching);
    uint64_t term = raft_cluster_member(&c, leader)->term;
    assert_int_equal(raft_cluster_leader(&c), leader);
    c.fetch_ms = 50;
    raft_cluster_crash(&c, away);
    raft_cluster_up(&c, away);
    converge();
    assert_int_equal(raft_cluster_member(&c, leader)->term, term);
    assert_int_equal(m->installs, 1);
}

/* Crashes at every stage of an install leave a state that starts. */
static void crash_during_install_is_safe(void **state)
{
    start_small_log(3, 3, 63);
    c.install_ms = 10;
    put();
    uint64_t away = raft_cluster_leader(&c) % 3 + 1;
    struct raft_member *m = raft_cluster_member(&c, away);
    for (unsigned stage = 0; stage < 25; stage++) {
        raft_cluster_crash(&c, away);
        for (unsigned i = 0; i < 100; i++) {
            put();
        }
        raft_cluster_run(&c, 300);
        raft_cluster_up(&c, away);
        uint64_t installs = m->installs;
        for (unsigned i = 0; i < 5000 && m->install_done_ms == 0; i++) {
            raft_cluster_step(&c);
        }
        assert_int_not_equal(m->install_done_ms, 0);
        raft_cluster_run(&c, stage);
        raft_cluster_crash(&c, away);
        raft_cluster_up(&c, away);
        ASSERT_SOUND();
        assert_true(stage < 10 || m->installs > installs);
    }
    put();
    converge();
}

int main(void)
{
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(single_member_commits_and_restarts, teardown),
        cmocka_unit_test_teardown(bootstrap_survives_a_crash_at_any_moment, teardown),
        cmocka_unit_test_teardown(bootstrap_refuses_a_used_directory, teardown),
        cmocka_unit_test_teardown(invalid_members_are_refused, teardown),
        cmocka_unit_test_teardown(proposals_are_batched, teardown),
        cmocka_unit_test_teardown(too_many_proposals_are_refused, teardown),
        cmocka_unit_test_teardown(long_runs_are_cut_into_batches, teardown),
        cmocka_unit_test_teardown(stop_answers_every_proposal, teardown),
        cmocka_unit_test_teardown(log_is_trimmed_behind_checkpoints, teardown),
        cmocka_unit_test_teardown(start_survives_allocation_failures, teardown),
        cmocka_unit_test_teardown(three_members_elect_and_replicate, teardown),
        cmocka_unit_test_teardown(followers_apply_without_waiting_for_a_heartbeat, teardown),
        cmocka_unit_test_teardown(leader_crash_loses_nothing_acknowledged, teardown),
        cmocka_unit_test_teardown(partitioned_leader_steps_down, teardown),
        cmocka_unit_test_teardown(paused_follower_does_not_depose_the_leader, teardown),
        cmocka_unit_test_teardown(leader_with_a_stuck_disk_hands_over, teardown),
        cmocka_unit_test_teardown(single_member_waits_for_a_stuck_disk, teardown),
        cmocka_unit_test_teardown(single_member_reads_at_once, teardown),
        cmocka_unit_test_teardown(single_member_decides_alone, teardown),
        cmocka_unit_test_teardown(of_three_nobody_decides_alone, teardown),
        cmocka_unit_test_teardown(whoever_adds_a_voter_decides_alone_no_more, teardown),
        cmocka_unit_test_teardown(reads_share_a_round, teardown),
        cmocka_unit_test_teardown(reads_are_refused_where_they_must_be, teardown),
        cmocka_unit_test_teardown(reads_survive_lost_frames, teardown),
        cmocka_unit_test_teardown(cluster_grows_and_shrinks, teardown),
        cmocka_unit_test_teardown(configurations_carry_nothing_of_the_heap, teardown_clean),
        cmocka_unit_test_teardown(leader_removes_itself, teardown),
        cmocka_unit_test_teardown(last_voter_leads_in_a_new_term, teardown),
        cmocka_unit_test_teardown(promotion_waits_for_catch_up, teardown),
        cmocka_unit_test_teardown(changes_end_with_the_leadership, teardown),
        cmocka_unit_test_teardown(leadership_is_transferred, teardown),
        cmocka_unit_test_teardown(failed_transfer_resumes, teardown),
        cmocka_unit_test_teardown(single_member_cannot_transfer, teardown),
        cmocka_unit_test_teardown(lagging_follower_installs_a_snapshot, teardown),
        cmocka_unit_test_teardown(joiner_installs_a_snapshot, teardown),
        cmocka_unit_test_teardown(interrupted_fetch_starts_over, teardown),
        cmocka_unit_test_teardown(crash_during_install_is_safe, teardown),
    };
    return cmocka_run_group_tests_name("node", tests, NULL, NULL);
}
