/* test_guards.c - one real member among scripted ones: each repaired bug of libraft 0.15, message
 * by message, with the guard and (in builds with KVD_DEBUG) without it. */
#include "raft/node.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/limits.h"
#include "base/log.h"
#include "proto/batch.h"
#include "raft/configuration.h"
#include "raft/node_impl.h"
#include "raft/wire.h"
#include "tests/lib/sim_disk.h"

/* ---- the stage: member 1 is real, 2 and 3 are us ------------------------------------------ */

struct sent {
    uint64_t to;
    struct frame f;
    uint8_t *bytes;
};

static struct {
    uint64_t now;
    struct disk *disk;
    struct node *node;
    struct rand rand;
    struct node_transport transport;
    size_t queued; /* what the transport says about every member */
    struct sent sent[4096];
    size_t sent_n;
    uint64_t commits;
    uint64_t last_term;
    bool fatal;
    uint64_t fetch_index;
    enum node_role role;
} t;

static void on_commit(void *data, uint64_t index, uint64_t term, struct slice payload)
{
    assert_int_equal(index, t.commits + 1);
    t.commits = index;
    t.last_term = term;
}

static void on_configuration(void *data, uint64_t index, struct slice encoded)
{
}

static void on_role(void *data, enum node_role role, uint64_t term, uint64_t leader)
{
    t.role = role;
}

static void on_dropped(void *data, uint64_t first, uint64_t last, int err)
{
}

static void on_fetch(void *data, uint64_t from, const char *address, uint64_t index)
{
    t.fetch_index = index;
}

static void on_install(void *data)
{
}

static void on_fatal(void *data, const char *why)
{
    t.fatal = true;
}

static uint64_t on_now(void *data)
{
    return t.now;
}

static void on_send(struct node_transport *tr, uint64_t to, const char *address, struct slice frame)
{
    assert_true(t.sent_n < sizeof(t.sent) / sizeof(t.sent[0]));
    struct sent *s = &t.sent[t.sent_n++];
    s->to = to;
    s->bytes = malloc(frame.len);
    memcpy(s->bytes, frame.data, frame.len);
    assert_true(frame_get(slice_of(s->bytes, frame.len), &s->f));
}

static size_t on_queued(struct node_transport *tr, uint64_t to)
{
    return t.queued;
}

static void forget_sent(void)
{
    for (size_t i = 0; i < t.sent_n; i++) {
        free(t.sent[i].bytes);
    }
    t.sent_n = 0;
}

/* The last frame of a type to a member (0 = any); NULL when there is none. */
static const struct frame *last_sent(uint64_t to, enum frame_type type)
{
    for (size_t i = t.sent_n; i > 0; i--) {
        if (t.sent[i - 1].f.type == type && (to == 0 || t.sent[i - 1].to == to)) {
            return &t.sent[i - 1].f;
        }
    }
    return NULL;
}

static size_t count_sent(uint64_t to, enum frame_type type)
{
    size_t n = 0;
    for (size_t i = 0; i < t.sent_n; i++) {
        n += t.sent[i].to == to && t.sent[i].f.type == type;
    }
    return n;
}

static struct node_options stage_options(void)
{
    return (struct node_options){.id = 1,
                                 .address = "m1",
                                 .disk = t.disk,
                                 .transport = &t.transport,
                                 .callbacks = {.commit = on_commit,
                                               .configuration = on_configuration,
                                               .role = on_role,
                                               .dropped = on_dropped,
                                               .snapshot_fetch = on_fetch,
                                               .snapshot_install = on_install,
                                               .fatal = on_fatal},
                                 .now_ms = on_now,
                                 .rand = &t.rand,
                                 .snapshot_entries = 5,
                                 .trailing_entries = 2,
                                 .segment_bytes = 65536};
}

/* kinds: of members 1, 2, 3. */
static void stage(const int kinds[3])
{
    static const char *const names[] = {"m1", "m2", "m3"};
    struct node_member list[3];
    struct errmsg e = {""};
    memset(&t, 0, sizeof(t));
    t.now = 100000;
    rand_init(&t.rand, 5);
    t.transport = (struct node_transport){.send = on_send, .queued = on_queued};
    t.disk = sim_disk_new(&(struct sim_disk_options){.seed = 1, .latency_ms_max = 1});
    sim_disk_run(t.disk, t.now);
    for (unsigned i = 0; i < 3; i++) {
        list[i] = (struct node_member){.id = i + 1, .address = names[i], .kind = kinds[i]};
    }
    struct node_options o = stage_options();
    assert_int_equal(node_bootstrap(&o, list, 3, &e), 0);
    assert_int_equal(node_start(&o, &t.node, &e), 0);
}

static const int all_voters[3] = {NODE_VOTER, NODE_VOTER, NODE_VOTER};

static void disk_works(void)
{
    for (unsigned i = 0; i < 20; i++) {
        t.now++;
        sim_disk_run(t.disk, t.now);
    }
    node_flush(t.node);
}

static int setup(void **state)
{
    stage(all_voters);
    disk_works();
    return 0;
}

static int teardown(void **state)
{
#ifdef KVD_DEBUG
    node_bugs = 0;
#endif
    node_abandon(t.node);
    sim_disk_free(t.disk);
    forget_sent();
    return 0;
}

/* ---- lines to say ------------------------------------------------------------------------- */

static void say(uint64_t from, const struct frame *f, const struct raft_entry *entries)
{
    struct buf out;
    buf_init(&out);
    assert_true(frame_put(&out, f));
    for (uint32_t i = 0; f->type == FRAME_APPEND && i < f->n; i++) {
        assert_true(frame_put_entry(&out, &entries[i]));
    }
    node_receive(t.node, from, buf_slice(&out));
    buf_close(&out);
}

/* AppendEntries with n commands of term et. */
static void append(uint64_t from, uint64_t term, uint64_t prev, uint64_t prev_term, uint64_t commit,
                   uint32_t n, uint64_t et)
{
    struct raft_entry e[8];
    for (uint32_t i = 0; i < n; i++) {
        e[i] = (struct raft_entry){
            .term = et, .type = RAFT_COMMAND, .buf = {.base = (void *)"\1\0\0\0", .len = 4}};
    }
    struct frame f = {
        .type = FRAME_APPEND, .term = term, .a = prev, .b = prev_term, .c = commit, .n = n};
    say(from, &f, e);
}

static void append_configuration(uint64_t from, uint64_t term, uint64_t prev, uint64_t prev_term,
                                 uint64_t commit, const int kinds[3])
{
    struct raft_configuration c;
    struct raft_buffer encoded;
    raft_configuration_init(&c);
    const char *const names[] = {"m1", "m2", "m3"};
    for (unsigned i = 0; i < 3; i++) {
        if (kinds[i] >= 0) {
            assert_int_equal(raft_configuration_add(&c, i + 1, names[i], kinds[i]), 0);
        }
    }
    assert_int_equal(raft_configuration_encode(&c, &encoded), 0);
    raft_configuration_close(&c);
    struct raft_entry e = {.term = term, .type = RAFT_CHANGE, .buf = encoded};
    struct frame f = {
        .type = FRAME_APPEND, .term = term, .a = prev, .b = prev_term, .c = commit, .n = 1};
    say(from, &f, &e);
    raft_free(encoded.base);
}

static void result(uint64_t from, uint64_t term, uint64_t rejected, uint64_t last)
{
    struct frame f = {.type = FRAME_APPEND_RESULT, .term = term, .a = rejected, .b = last};
    say(from, &f, NULL);
}

static void grant(uint64_t from, uint64_t term, bool pre_vote)
{
    struct frame f = {.type = FRAME_VOTE_RESULT,
                      .flags = (uint16_t)(FRAME_GRANTED | (pre_vote ? FRAME_PRE_VOTE : 0)),
                      .term = term};
    say(from, &f, NULL);
}

static void ask_vote(uint64_t from, uint64_t term, uint64_t last, uint64_t last_term,
                     unsigned flags)
{
    struct frame f = {.type = FRAME_VOTE,
                      .flags = (uint16_t)flags,
                      .term = term,
                      .a = last,
                      .b = last_term,
                      .c = from};
    say(from, &f, NULL);
}

/* Lets time pass with ticks, but without the disk. */
static void wait_ticking(uint64_t ms)
{
    for (uint64_t i = 0; i < ms; i += 50) {
        t.now += 50;
        node_tick(t.node);
    }
}

/* Makes the member leader by its own timer and our votes; its barrier isn't on the disk yet. */
static void elect(void)
{
    wait_ticking(2500);
    const struct frame *pre = last_sent(2, FRAME_VOTE);
    assert_non_null(pre);
    assert_true(pre->flags & FRAME_PRE_VOTE);
    grant(2, pre->term, true);
    const struct frame *vote = last_sent(2, FRAME_VOTE);
    assert_false(vote->flags & FRAME_PRE_VOTE);
    grant(2, vote->term, false);
    assert_int_equal(node_role(t.node), NODE_LEADER);
}

static void propose_value(uint64_t number, size_t len)
{
    static uint8_t value[1400 * 1024];
    struct batch_origin o = {.member = 1, .incarnation = 0, .number = number};
    struct buf ops;
    buf_init(&ops);
    assert_true(batch_add(&ops, o, slice_of(value, len)));
    node_propose(t.node, buf_slice(&ops), number, number);
    buf_close(&ops);
    node_flush(t.node);
}

static void set_bug(unsigned bug)
{
#ifdef KVD_DEBUG
    node_bugs = bug;
#else
    skip();
#endif
}

/* ---- G2 ----------------------------------------------------------------------------------- */

/* Log [1, 1, 2, 2]; the leader of term 3 asks about entry 2 only: that far and no further may we
 * say yes. */
static void over_acknowledge(uint64_t *acked)
{
    append(2, 1, 1, 1, 1, 1, 1);
    disk_works();
    append(2, 2, 2, 1, 1, 2, 2);
    disk_works();
    forget_sent();
    append(3, 3, 2, 1, 1, 0, 0);
    const struct frame *r = last_sent(3, FRAME_APPEND_RESULT);
    assert_non_null(r);
    assert_int_equal(r->a, 0);
    *acked = r->b;
}

static void unverified_tail_is_not_acknowledged(void **state)
{
    uint64_t acked;
    over_acknowledge(&acked);
    assert_int_equal(acked, 2);
}

static void without_the_clamp_it_is(void **state)
{
    uint64_t acked;
    set_bug(NODE_BUG_NO_CLAMP);
    over_acknowledge(&acked);
    assert_int_equal(acked, 4);
}

/* The same on the way of a write: entry 3 is stored while entries 4 and 5 of an old leader lie
 * behind it; and a commit index beyond what was compared is not believed. */
static void commit_index_stops_where_the_frame_ends(void **state)
{
    append(2, 1, 1, 1, 1, 4, 1);
    disk_works();
    append(3, 2, 2, 1, 9, 0, 0);
    assert_int_equal(node_commit_index(t.node), 2);
    append(3, 2, 2, 1, 9, 1, 1);
    assert_int_equal(node_commit_index(t.node), 3);
}

/* ---- G3 ----------------------------------------------------------------------------------- */

/* Figure 8 of the paper: an entry of term 2 on a majority may still be lost; a leader of term 3
 * must not commit it by counting. */
static void count_old_term(void)
{
    append(2, 2, 1, 1, 1, 1, 2);
    disk_works();
    elect();
    uint64_t term = node_term(t.node);
    assert_true(term > 2);
    result(2, term, 0, 2);
    node_flush(t.node);
}

static void old_terms_are_not_committed_by_counting(void **state)
{
    count_old_term();
    assert_int_equal(node_commit_index(t.node), 1);
    disk_works(); /* the barrier is stored: the withheld success counts, for entry 2 only */
    assert_int_equal(node_commit_index(t.node), 1);
    assert_false(node_leader_ready(t.node));
    result(2, node_term(t.node), 0, 3);
    assert_int_equal(node_commit_index(t.node), 3);
    assert_true(node_leader_ready(t.node));
    assert_int_equal(t.commits, 3);
    assert_int_equal(t.role, NODE_LEADER);
}

static void without_the_barrier_they_are(void **state)
{
    set_bug(NODE_BUG_NO_BARRIER);
    count_old_term();
    assert_int_equal(node_commit_index(t.node), 2);
}

/* A withheld success keeps the leader in office and makes it send at once when released. */
static void withheld_successes_are_not_lost(void **state)
{
    append(2, 2, 1, 1, 1, 1, 2);
    disk_works();
    elect();
    uint64_t term = node_term(t.node);
    result(2, term, 0, 2);
    forget_sent();
    disk_works();
    const struct frame *f = last_sent(2, FRAME_APPEND);
    assert_non_null(f); /* the barrier goes out without waiting for a heartbeat */
    assert_int_equal(f->n, 1);
    assert_int_equal(f->a, 2);
}

/* ---- G4 ----------------------------------------------------------------------------------- */

static uint64_t in_flight_after(unsigned proposals)
{
    elect();
    disk_works();
    uint64_t term = node_term(t.node);
    result(2, term, 0, 2);
    assert_true(node_leader_ready(t.node));
    uint64_t before = node_last_index(t.node);
    for (unsigned i = 1; i <= proposals; i++) {
        propose_value(i, 10);
    }
    disk_works();
    return node_last_index(t.node) - before;
}

static void two_entries_are_in_flight(void **state)
{
    assert_int_equal(in_flight_after(6), 2);
    uint64_t term = node_term(t.node);
    result(2, term, 0, 4);
    disk_works();
    assert_int_equal(t.commits, 4);
    assert_int_equal(node_last_index(t.node), 5); /* the other four became one batch */
    result(2, term, 0, 5);
    disk_works();
    assert_int_equal(t.commits, 5);
}

/* A follower one entry behind a leader that keeps storing: nothing commits. */
static void without_the_limit_commit_starves(void **state)
{
    set_bug(NODE_BUG_NO_FLIGHT_LIMIT);
    assert_int_equal(in_flight_after(6), 6);
    uint64_t term = node_term(t.node);
    result(2, term, 0, 4);
    disk_works();
    assert_int_equal(t.commits, 2);
}

/* ---- G1 ----------------------------------------------------------------------------------- */

/* An append of leader 2 (term 2) is on its way to the disk when leader 3 (term 3) shows up. libraft
 * 0.15 sends the result of the first to the second, in its term: an acknowledgement of an entry
 * that leader does not have. */
static void change_leader_during_write(void)
{
    append(2, 2, 1, 1, 1, 2, 2);
    forget_sent();
    append(3, 3, 1, 1, 1, 0, 0);
}

static void write_is_answered_to_the_leader_that_asked(void **state)
{
    change_leader_during_write();
    assert_int_equal(t.sent_n, 0);
    disk_works();
    const struct frame *a = last_sent(2, FRAME_APPEND_RESULT);
    assert_non_null(a);
    assert_int_equal(a->term, 2);
    assert_int_equal(a->b, 3);
    const struct frame *b = last_sent(3, FRAME_APPEND_RESULT);
    assert_non_null(b);
    assert_int_equal(b->term, 3);
    assert_int_equal(b->b, 1);
}

static void without_the_freeze_the_wrong_leader_hears_it(void **state)
{
    set_bug(NODE_BUG_NO_FREEZE | NODE_BUG_NO_CLAMP);
    change_leader_during_write();
    disk_works();
    assert_null(last_sent(2, FRAME_APPEND_RESULT));
    const struct frame *b = last_sent(3, FRAME_APPEND_RESULT);
    assert_non_null(b);
    assert_int_equal(b->term, 3);
    assert_int_equal(b->b, 3); /* entries 2 and 3 are leader 2's */
}

/* No candidacy on a log that isn't on the disk yet. */
static void no_candidacy_before_the_write_ends(void **state)
{
    append(2, 2, 1, 1, 1, 2, 2);
    forget_sent();
    wait_ticking(5000);
    assert_int_equal(t.sent_n, 0);
    disk_works();
    wait_ticking(2500);
    const struct frame *f = last_sent(2, FRAME_VOTE);
    assert_non_null(f);
    assert_int_equal(f->a, 3);
}

static void without_the_freeze_it_stands_at_once(void **state)
{
    set_bug(NODE_BUG_NO_FREEZE);
    append(2, 2, 1, 1, 1, 2, 2);
    forget_sent();
    wait_ticking(5000);
    const struct frame *f = last_sent(2, FRAME_VOTE);
    assert_non_null(f);
    assert_int_equal(f->a, 3); /* claims entries a power cut would take */
}

/* A leader whose own write is pending goes on with its term's messages, holds those of a higher
 * one. */
static void leader_holds_only_higher_terms(void **state)
{
    elect();
    uint64_t term = node_term(t.node);
    result(3, term, 0, 1);
    forget_sent();
    ask_vote(3, term + 5, 50, term, FRAME_DISRUPT);
    assert_int_equal(node_term(t.node), term);
    assert_int_equal(count_sent(3, FRAME_VOTE_RESULT), 0);
    disk_works();
    assert_int_equal(node_term(t.node), term + 5);
    assert_int_equal(count_sent(3, FRAME_VOTE_RESULT), 1);
    assert_int_equal(node_role(t.node), NODE_FOLLOWER);
}

/* Confirmations are answered while everything else waits. */
static void confirmations_pass_the_freeze(void **state)
{
    append(2, 2, 1, 1, 1, 2, 2);
    forget_sent();
    struct frame f = {.type = FRAME_CONFIRM, .term = 2, .a = 17};
    say(2, &f, NULL);
    const struct frame *r = last_sent(2, FRAME_CONFIRMED);
    assert_non_null(r);
    assert_int_equal(r->term, 2);
    assert_int_equal(r->a, 17);
}

/* What a frozen member keeps is bounded, and the newest is what gets lost. */
static void held_frames_are_bounded(void **state)
{
    append(2, 2, 1, 1, 1, 1, 2);
    static uint8_t big[1024 * 1024];
    struct raft_entry e = {
        .term = 2, .type = RAFT_COMMAND, .buf = {.base = big, .len = sizeof(big)}};
    for (uint64_t i = 0; i < 40; i++) {
        struct frame f = {.type = FRAME_APPEND, .term = 2, .a = 2 + i, .b = 2, .c = 1, .n = 1};
        say(2, &f, &e);
        assert_true(t.node->held_bytes <= RAFT_HELD_BYTES_MAX);
    }
    assert_true(t.node->held_bytes > RAFT_HELD_BYTES_MAX / 2);
    for (unsigned i = 0; i < 200; i++) {
        disk_works();
    }
    assert_int_equal(t.node->held_bytes, 0);
    assert_true(node_last_index(t.node) > 10);
}

/* ---- an early acknowledgement ------------------------------------------------------------- */

static void nothing_is_acknowledged_before_it_is_durable(void **state)
{
    append(2, 2, 1, 1, 1, 2, 2);
    assert_int_equal(count_sent(2, FRAME_APPEND_RESULT), 0);
    disk_works();
    assert_int_equal(last_sent(2, FRAME_APPEND_RESULT)->b, 3);
}

static void the_planted_bug_acknowledges_early(void **state)
{
    set_bug(NODE_BUG_EARLY_ACK);
    append(2, 2, 1, 1, 1, 2, 2);
    assert_int_equal(last_sent(2, FRAME_APPEND_RESULT)->b, 3);
    sim_disk_crash(t.disk);
    node_abandon(t.node);
    struct errmsg e = {""};
    struct node_options o = stage_options();
    t.commits = 0;
    assert_int_equal(node_start(&o, &t.node, &e), 0);
    assert_int_equal(node_last_index(t.node), 1);
}

/* Term and vote that can't be stored end the member before it says or writes anything in the new
 * term (libraft 0.15 frees a wild pointer when it is told so in the middle of a candidacy). */
static void unstored_terms_end_the_member_silently(void **state)
{
    wait_ticking(2500);
    const struct frame *pre = last_sent(2, FRAME_VOTE);
    assert_non_null(pre);
    uint64_t term = pre->term;
    forget_sent();
    sim_disk_fail_at(t.disk, 1);
    grant(2, term, true);
    assert_true(t.fatal);
    assert_int_equal(t.sent_n, 0);
    append(2, term + 3, 1, 1, 1, 1, term);
    ask_vote(3, term + 4, 9, term, 0);
    wait_ticking(3000);
    assert_int_equal(t.sent_n, 0);
    assert_int_equal(node_role(t.node), NODE_UNAVAILABLE);
}

static void unstored_terms_take_no_entries(void **state)
{
    sim_disk_fail_at(t.disk, 1);
    append(2, 7, 1, 1, 1, 3, 7);
    assert_true(t.fatal);
    assert_int_equal(t.sent_n, 0);
    disk_works();
    assert_int_equal(log_last_index(t.node->log), 1);
    assert_int_equal(t.commits, 1);
}

/* The log's disk fails while we lead: nothing more is said, and close doesn't wait for it. */
static void failed_log_writes_end_the_member(void **state)
{
    elect();
    disk_works();
    result(2, node_term(t.node), 0, 2);
    sim_disk_fail_at(t.disk, 1);
    propose_value(1, 10);
    disk_works();
    assert_true(t.fatal);
    forget_sent();
    wait_ticking(1000);
    result(2, node_term(t.node), 0, 3);
    result(3, node_term(t.node), 0, 3);
    assert_int_equal(t.sent_n, 0);
    assert_int_equal(t.commits, 2);
}

/* ---- votes -------------------------------------------------------------------------------- */

/* A leader that hands over to member 2 has voted for itself in this term. */
static void ask_for_a_second_vote(void)
{
    static struct node_change change;
    elect();
    disk_works();
    result(2, node_term(t.node), 0, 2);
    assert_true(node_leader_ready(t.node));
    change = (struct node_change){.cb = NULL};
    node_transfer(t.node, &change, 2);
    assert_non_null(last_sent(2, FRAME_TIMEOUT_NOW));
    forget_sent();
    ask_vote(2, node_term(t.node), 50, node_term(t.node), FRAME_DISRUPT);
}

static void nobody_votes_twice_in_a_term(void **state)
{
    ask_for_a_second_vote();
    const struct frame *r = last_sent(2, FRAME_VOTE_RESULT);
    assert_true(r == NULL || !(r->flags & FRAME_GRANTED));
}

static void without_the_filter_a_leader_votes_twice(void **state)
{
    set_bug(NODE_BUG_DOUBLE_VOTE);
    ask_for_a_second_vote();
    const struct frame *r = last_sent(2, FRAME_VOTE_RESULT);
    assert_non_null(r);
    assert_true(r->flags & FRAME_GRANTED);
}

static int setup_learner(void **state)
{
    static const int kinds[3] = {NODE_LEARNER, NODE_VOTER, NODE_VOTER};
    stage(kinds);
    disk_works();
    return 0;
}

/* Promoted behind its back a learner must vote, or the promotion can block for ever; it never
 * stands. */
static void learners_vote_but_do_not_stand(void **state)
{
    wait_ticking(5000);
    assert_int_equal(t.sent_n, 0);
    ask_vote(2, 5, 9, 4, FRAME_PRE_VOTE);
    assert_true(last_sent(2, FRAME_VOTE_RESULT)->flags & FRAME_GRANTED);
    forget_sent();
    ask_vote(2, 5, 9, 4, 0);
    assert_true(last_sent(2, FRAME_VOTE_RESULT)->flags & FRAME_GRANTED);
    forget_sent();
    ask_vote(3, 5, 9, 4, 0);
    assert_int_equal(t.sent_n, 0); /* one vote a term */
    struct node_member list[3];
    assert_int_equal(node_members(t.node, list, 3), 3);
    assert_int_equal(list[0].kind, NODE_LEARNER);
}

/* The same for a voter whose log holds an uncommitted removal of itself. */
static void uncommitted_removal_does_not_take_the_vote(void **state)
{
    static const int without_1[3] = {-1, RAFT_VOTER, RAFT_VOTER};
    append_configuration(2, 2, 1, 1, 1, without_1);
    disk_works();
    wait_ticking(5000);
    forget_sent();
    ask_vote(3, 3, 9, 2, 0);
    const struct frame *r = last_sent(3, FRAME_VOTE_RESULT);
    assert_non_null(r);
    assert_true(r->flags & FRAME_GRANTED);
    struct node_member list[3];
    assert_int_equal(node_members(t.node, list, 3), 2);
}

/* A candidate behind in term but ahead in log: the refusal of its pre-vote tells it our term, or
 * neither could ever win. */
static void refused_pre_votes_tell_the_term(void **state)
{
    append(2, 6, 1, 1, 1, 0, 0);
    wait_ticking(1200);
    forget_sent();
    ask_vote(3, 3, 90, 2, FRAME_PRE_VOTE);
    const struct frame *r = last_sent(3, FRAME_VOTE_RESULT);
    assert_non_null(r);
    assert_false(r->flags & FRAME_GRANTED);
    assert_int_equal(r->term, 6);
    assert_int_equal(node_term(t.node), 6);
}

/* A member that stopped hearing its leader supports another after the minimum election timeout,
 * long before it would stand itself; a learner, which never stands, too. */
static void silence_frees_the_vote(void **state)
{
    append(2, 2, 1, 1, 1, 1, 2);
    disk_works();
    wait_ticking(900);
    ask_vote(3, 3, 9, 2, FRAME_PRE_VOTE);
    assert_false(last_sent(3, FRAME_VOTE_RESULT)->flags & FRAME_GRANTED);
    wait_ticking(150);
    ask_vote(3, 3, 9, 2, FRAME_PRE_VOTE);
    assert_true(last_sent(3, FRAME_VOTE_RESULT)->flags & FRAME_GRANTED);
}

/* ---- two leaders of one term -------------------------------------------------------------- */

/* Cannot happen among honest members; libraft would take its leader's state for a follower's. */
static void a_second_leader_of_our_term_is_ignored(void **state)
{
    elect();
    disk_works();
    uint64_t term = node_term(t.node);
    append(3, term, 1, 1, 1, 1, term);
    struct frame f = {.type = FRAME_INSTALL, .term = term, .a = 50, .b = term};
    say(3, &f, NULL);
    assert_int_equal(node_role(t.node), NODE_LEADER);
    assert_int_equal(t.fetch_index, 0);
    result(2, term, 0, 2);
    assert_true(node_leader_ready(t.node));
}

/* ---- configuration rollback --------------------------------------------------------------- */

/* The committed configuration has left the log when an uncommitted one is overwritten: libraft 0.15
 * reads a NULL entry there. */
static void overwritten_configuration_rolls_back_after_compaction(void **state)
{
    static const int without_3[3] = {RAFT_VOTER, RAFT_VOTER, -1};
    append(2, 1, 1, 1, 1, 8, 1);
    disk_works();
    append(2, 1, 9, 1, 9, 8, 1);
    disk_works();
    append(2, 1, 17, 1, 17, 0, 0);
    node_durable(t.node, 17);
    append(2, 1, 17, 1, 17, 1, 1);
    disk_works();
    append(2, 1, 18, 1, 18, 0, 0);
    node_durable(t.node, 18);
    assert_true(t.node->raft.log.offset > 1); /* entry 1 is gone */
    append_configuration(2, 2, 18, 1, 18, without_3);
    disk_works();
    struct node_member list[3];
    assert_int_equal(node_members(t.node, list, 3), 2);
    append(3, 3, 18, 1, 18, 1, 3);
    disk_works();
    assert_int_equal(node_members(t.node, list, 3), 3);
    assert_int_equal(t.node->raft.configuration_uncommitted_index, 0);
    append(3, 3, 19, 3, 19, 0, 0);
    assert_int_equal(t.commits, 19);
    assert_false(t.fatal);
}

/* Two configurations in the log, only the second overwritten: the first one is in force, not the
 * committed one. And a restart knows that the newest may be uncommitted. */
static void rollback_stops_at_the_configuration_below(void **state)
{
    static const int learner_3[3] = {RAFT_VOTER, RAFT_VOTER, RAFT_STANDBY};
    static const int without_3[3] = {RAFT_VOTER, RAFT_VOTER, -1};
    struct node_member list[3];
    append_configuration(2, 2, 1, 1, 1, learner_3);
    disk_works();
    append_configuration(2, 2, 2, 2, 1, without_3);
    disk_works();
    assert_int_equal(node_members(t.node, list, 3), 2);
    sim_disk_crash(t.disk);
    node_abandon(t.node);
    struct errmsg e = {""};
    struct node_options o = stage_options();
    t.commits = 0;
    assert_int_equal(node_start(&o, &t.node, &e), 0);
    assert_int_equal(t.node->raft.configuration_uncommitted_index, 3);
    assert_int_equal(t.node->raft.configuration_index, 2);
    append(3, 3, 2, 2, 1, 1, 3);
    disk_works();
    assert_int_equal(node_members(t.node, list, 3), 3);
    assert_int_equal(list[2].kind, NODE_LEARNER);
    assert_int_equal(t.node->raft.configuration_uncommitted_index, 2);
    append(3, 3, 1, 1, 1, 1, 3);
    disk_works();
    assert_int_equal(node_members(t.node, list, 3), 3);
    assert_int_equal(list[2].kind, NODE_VOTER);
}

/* ---- AppendEntries on the wire ------------------------------------------------------------ */

/* Three big entries leave as frames of about a megabyte whose commit index never exceeds their end.
 */
static void appends_are_split(void **state)
{
    elect();
    disk_works();
    uint64_t term = node_term(t.node);
    result(2, term, 0, 2);
    forget_sent();
    for (unsigned i = 1; i <= 2; i++) {
        propose_value(i, 700 * 1024);
        disk_works();
    }
    result(2, term, 0, 2);
    result(3, term, 2, 1); /* lacks all but entry 1 */
    result(3, term, 0, 1);
    disk_works();
    size_t frames = 0;
    for (size_t i = 0; i < t.sent_n; i++) {
        const struct frame *f = &t.sent[i].f;
        if (f->type == FRAME_APPEND) {
            assert_true(f->c <= f->a + f->n);
            assert_true(f->body.len <= APPEND_FRAME_BYTES + FRAME_ENTRY_BYTES);
            frames += t.sent[i].to == 3 && f->n > 0;
        }
    }
    assert_true(frames >= 2);
}

/* While a member's queue is full no entries are made for it; later it gets them all. */
static void stalled_members_get_no_entries(void **state)
{
    elect();
    disk_works();
    uint64_t term = node_term(t.node);
    result(2, term, 0, 2);
    result(3, term, 0, 2);
    t.queued = PEER_QUEUE_BYTES_MAX + 1;
    forget_sent();
    propose_value(1, 10);
    propose_value(2, 10);
    disk_works();
    wait_ticking(500);
    for (size_t i = 0; i < t.sent_n; i++) {
        assert_int_equal(t.sent[i].f.n, 0);
    }
    t.queued = 0;
    forget_sent();
    wait_ticking(200);
    const struct frame *f = last_sent(3, FRAME_APPEND);
    assert_non_null(f);
    bool all = false;
    for (size_t i = 0; i < t.sent_n; i++) {
        all = all || (t.sent[i].to == 3 && t.sent[i].f.a == 2 && t.sent[i].f.n == 2);
    }
    assert_true(all);
}

/* Ours: terms 1 1 2 2 2; the leader's entry 5 is of term 4 and it has nothing of term 2: the hint
 * sends it straight to entry 2. */
static void rejections_carry_a_hint(void **state)
{
    append(2, 1, 1, 1, 1, 1, 1);
    disk_works();
    append(2, 2, 2, 1, 1, 3, 2);
    disk_works();
    append(3, 4, 5, 4, 1, 0, 0);
    const struct frame *r = last_sent(3, FRAME_APPEND_RESULT);
    assert_int_equal(r->a, 5);
    assert_int_equal(r->b, 4); /* of term 2 <= 4: could be shared */
    append(3, 4, 4, 1, 1, 0, 0);
    r = last_sent(3, FRAME_APPEND_RESULT);
    assert_int_equal(r->a, 4);
    assert_int_equal(r->b, 2); /* the last of term <= 1 */
    append(3, 4, 90, 4, 1, 0, 0);
    assert_int_equal(last_sent(3, FRAME_APPEND_RESULT)->b, 5);
}

/* A leader follows the hint at once, not at the next heartbeat. */
static void leaders_probe_again_at_once(void **state)
{
    append(2, 2, 1, 1, 1, 5, 2);
    disk_works();
    elect();
    disk_works();
    uint64_t term = node_term(t.node);
    forget_sent();
    result(3, term, 6, 3);
    const struct frame *f = last_sent(3, FRAME_APPEND);
    assert_non_null(f);
    assert_int_equal(f->a, 3);
    assert_int_equal(f->n, 4);
}

/* The commit index reaches an idle follower with the next turn. */
static void commits_are_announced(void **state)
{
    elect();
    disk_works();
    uint64_t term = node_term(t.node);
    result(2, term, 0, 2);
    result(3, term, 0, 2);
    node_flush(t.node);
    forget_sent();
    propose_value(1, 10);
    disk_works();
    assert_int_equal(last_sent(3, FRAME_APPEND)->n, 1);
    result(2, term, 0, 3);
    node_flush(t.node);
    const struct frame *f = last_sent(3, FRAME_APPEND);
    assert_int_equal(f->n, 0);
    assert_int_equal(f->a, 3);
    assert_int_equal(f->c, 3);
    size_t before = t.sent_n;
    node_flush(t.node);
    assert_int_equal(t.sent_n, before);
}

/* ---- snapshots ---------------------------------------------------------------------------- */

/* Our entry 3 is of a higher term than the committed one the leader offers: libraft 0.15 would
 * answer "have it". */
static void conflicting_entries_are_no_reason_to_decline_a_snapshot(void **state)
{
    append(2, 5, 1, 1, 1, 2, 5);
    disk_works();
    forget_sent();
    append(3, 6, 90, 6, 1, 0, 0);
    forget_sent();
    struct frame f = {.type = FRAME_INSTALL, .term = 6, .a = 3, .b = 4};
    say(3, &f, NULL);
    assert_int_equal(count_sent(3, FRAME_APPEND_RESULT), 0);
    assert_int_equal(t.fetch_index, 3);
    /* from now on results say so */
    append(3, 6, 90, 6, 1, 0, 0);
    assert_true(last_sent(3, FRAME_APPEND_RESULT)->flags & FRAME_INSTALLING);
    node_snapshot_failed(t.node);
    append(3, 6, 90, 6, 1, 0, 0);
    assert_false(last_sent(3, FRAME_APPEND_RESULT)->flags & FRAME_INSTALLING);
}

/* What we have we acknowledge; an offer of another term we ignore. */
static void superfluous_offers_are_answered(void **state)
{
    append(2, 2, 1, 1, 1, 2, 2);
    disk_works();
    forget_sent();
    struct frame f = {.type = FRAME_INSTALL, .term = 2, .a = 3, .b = 2};
    say(2, &f, NULL);
    assert_int_equal(last_sent(2, FRAME_APPEND_RESULT)->b, 3);
    f.term = 1;
    f.b = 1;
    f.a = 30;
    say(2, &f, NULL);
    f.term = 9;
    say(2, &f, NULL);
    assert_int_equal(t.fetch_index, 0);
}

/* The first AppendEntries a joiner got, repeated by the network after its entries were compacted.
 */
static void repeated_compacted_entries_are_not_appended_again(void **state)
{
    append(2, 1, 1, 1, 1, 8, 1);
    disk_works();
    append(2, 1, 9, 1, 9, 8, 1);
    disk_works();
    append(2, 1, 17, 1, 17, 0, 0);
    node_durable(t.node, 17);
    append(2, 1, 17, 1, 17, 1, 1);
    disk_works();
    append(2, 1, 18, 1, 18, 0, 0);
    node_durable(t.node, 18);
    uint64_t offset = t.node->raft.log.offset;
    assert_true(offset > 8);
    for (uint64_t prev = 0; prev <= 18; prev++) {
        forget_sent();
        append(2, 1, prev, prev == 0 ? 0 : 1, 18, 8, 1);
        disk_works();
        const struct frame *r = last_sent(2, FRAME_APPEND_RESULT);
        assert_non_null(r);
        assert_int_equal(r->a, 0);
        uint64_t end = prev + 8 > 18 || prev <= offset ? prev + 8 : 18;
        assert_int_equal(r->b, end < 18 ? 18 : end);
        assert_int_equal(node_last_index(t.node), prev + 8 > 18 ? prev + 8 : 18);
    }
    assert_int_equal(t.commits, 18);
}

/* ---- reads -------------------------------------------------------------------------------- */

static int read_err;
static uint64_t read_index;
static unsigned reads_done;

static void on_read(struct node_read *r, int err, uint64_t index)
{
    read_err = err;
    read_index = index;
    reads_done++;
}

/* Answers of another round, of another term, from a stranger or twice from one don't count. */
static void only_fresh_answers_of_voters_confirm(void **state)
{
    struct node_read r = {.cb = on_read};
    reads_done = 0;
    elect();
    disk_works();
    uint64_t term = node_term(t.node);
    node_read_index(t.node, &r);
    node_flush(t.node);
    assert_null(last_sent(2, FRAME_CONFIRM)); /* not before the barrier is committed */
    result(2, term, 0, 2);
    node_flush(t.node);
    const struct frame *ask = last_sent(2, FRAME_CONFIRM);
    assert_non_null(ask);
    assert_int_equal(ask->term, term);
    struct frame a = {.type = FRAME_CONFIRMED, .term = term, .a = ask->a - 1};
    say(2, &a, NULL);
    a.a = ask->a;
    a.term = term - 1;
    say(2, &a, NULL);
    a.term = term;
    say(7, &a, NULL);
    assert_int_equal(reads_done, 0);
    wait_ticking(150);
    assert_int_equal(count_sent(3, FRAME_CONFIRM), 2); /* asked again */
    say(3, &a, NULL);
    assert_int_equal(reads_done, 1);
    assert_int_equal(read_err, 0);
    assert_int_equal(read_index, 2);
}

static void without_the_confirmation_reads_are_free(void **state)
{
    struct node_read r = {.cb = on_read};
    reads_done = 0;
    set_bug(NODE_BUG_NO_CONFIRM);
    elect();
    disk_works();
    result(2, node_term(t.node), 0, 2);
    node_read_index(t.node, &r);
    node_flush(t.node);
    assert_int_equal(reads_done, 1);
}

#define GUARD(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    log_set_level(LOG_FATAL);
    const struct CMUnitTest tests[] = {
        GUARD(unverified_tail_is_not_acknowledged),
        GUARD(without_the_clamp_it_is),
        GUARD(commit_index_stops_where_the_frame_ends),
        GUARD(old_terms_are_not_committed_by_counting),
        GUARD(without_the_barrier_they_are),
        GUARD(withheld_successes_are_not_lost),
        GUARD(two_entries_are_in_flight),
        GUARD(without_the_limit_commit_starves),
        GUARD(write_is_answered_to_the_leader_that_asked),
        GUARD(without_the_freeze_the_wrong_leader_hears_it),
        GUARD(no_candidacy_before_the_write_ends),
        GUARD(without_the_freeze_it_stands_at_once),
        GUARD(leader_holds_only_higher_terms),
        GUARD(confirmations_pass_the_freeze),
        GUARD(held_frames_are_bounded),
        GUARD(nothing_is_acknowledged_before_it_is_durable),
        GUARD(the_planted_bug_acknowledges_early),
        GUARD(unstored_terms_end_the_member_silently),
        GUARD(unstored_terms_take_no_entries),
        GUARD(failed_log_writes_end_the_member),
        GUARD(nobody_votes_twice_in_a_term),
        GUARD(without_the_filter_a_leader_votes_twice),
        cmocka_unit_test_setup_teardown(learners_vote_but_do_not_stand, setup_learner, teardown),
        GUARD(uncommitted_removal_does_not_take_the_vote),
        GUARD(refused_pre_votes_tell_the_term),
        GUARD(silence_frees_the_vote),
        cmocka_unit_test_setup_teardown(silence_frees_the_vote, setup_learner, teardown),
        GUARD(a_second_leader_of_our_term_is_ignored),
        GUARD(overwritten_configuration_rolls_back_after_compaction),
        GUARD(rollback_stops_at_the_configuration_below),
        GUARD(appends_are_split),
        GUARD(stalled_members_get_no_entries),
        GUARD(rejections_carry_a_hint),
        GUARD(leaders_probe_again_at_once),
        GUARD(commits_are_announced),
        GUARD(conflicting_entries_are_no_reason_to_decline_a_snapshot),
        GUARD(superfluous_offers_are_answered),
        GUARD(repeated_compacted_entries_are_not_appended_again),
        GUARD(only_fresh_answers_of_voters_confirm),
        GUARD(without_the_confirmation_reads_are_free),
    };
    return cmocka_run_group_tests_name("guards", tests, NULL, NULL);
}
