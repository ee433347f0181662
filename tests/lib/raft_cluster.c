/* raft_cluster.c - the toy state machine and the clock that drives everything. */
#include "tests/lib/raft_cluster.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/limits.h"
#include "proto/batch.h"
#include "raft/configuration.h"
#include "raft/memlog.h"
#include "raft/node_impl.h"
#include "raft/wire.h"

void raft_cluster_break(struct raft_cluster *c, const char *format, ...)
{
    if (c->broken) {
        return;
    }
    c->broken = true;
    va_list args;
    va_start(args, format);
    int n = snprintf(c->why, sizeof(c->why), "seed %llu, %llu ms: ", (unsigned long long)c->seed,
                     (unsigned long long)c->now_ms);
    vsnprintf(c->why + n, sizeof(c->why) - (size_t)n, format, args);
    va_end(args);
}

static uint64_t mix(uint64_t h, uint64_t v)
{
    h ^= v + 0x9e3779b97f4a7c15ull + (h << 6) + (h >> 2);
    return (h ^ (h >> 29)) * 0xbf58476d1ce4e5b9ull;
}

/* ---- the state machine -------------------------------------------------------------------- */

static void toy_value(struct raft_cluster *c, uint64_t value, unsigned mark)
{
    while (value >= c->seen_cap) {
        size_t cap = c->seen_cap == 0 ? 4096 : 2 * c->seen_cap;
        c->seen = realloc(c->seen, cap);
        FATAL_IF(c->seen == NULL, "the test machine is out of memory");
        memset(c->seen + c->seen_cap, 0, cap - c->seen_cap);
        c->seen_cap = cap;
    }
    c->seen[value] |= (uint8_t)mark;
}

static void toy_chain(struct raft_cluster *c, struct raft_member *m, uint64_t index, uint64_t chain)
{
    while (index >= c->chain_cap) {
        size_t cap = c->chain_cap == 0 ? 4096 : 2 * c->chain_cap;
        c->chain = realloc(c->chain, cap * sizeof(*c->chain));
        FATAL_IF(c->chain == NULL, "the test machine is out of memory");
        memset(c->chain + c->chain_cap, 0, (cap - c->chain_cap) * sizeof(*c->chain));
        c->chain_cap = cap;
    }
    if (c->chain[index] != 0 && c->chain[index] != chain) {
        raft_cluster_break(c, "member %llu applied something else at index %llu than others",
                           (unsigned long long)m->id, (unsigned long long)index);
    }
    c->chain[index] = chain;
    c->top = index > c->top ? index : c->top;
}

static void toy_commit(void *data, uint64_t index, uint64_t term, struct slice payload)
{
    struct raft_member *m = data;
    struct raft_cluster *c = m->cluster;
    struct raft_state *s = &m->state;
    if (index != s->applied + 1) {
        raft_cluster_break(c, "member %llu was handed index %llu after %llu",
                           (unsigned long long)m->id, (unsigned long long)index,
                           (unsigned long long)s->applied);
    }
    s->applied = index;
    s->term = term;
    s->chain = mix(mix(s->chain, index), term);
    size_t at = 0;
    struct batch_op op;
    while (payload.len > 0 && batch_next(payload, &at, &op) == 1) {
        uint64_t value = bytes_le64(op.request.data);
        s->chain = mix(s->chain, value);
        s->sum += value;
        toy_value(c, value, 4);
        if (op.origin.member == m->id && op.origin.incarnation == m->incarnation) {
            toy_value(c, value, 2);
            c->acked++;
            c->max_acked_index = index > c->max_acked_index ? index : c->max_acked_index;
        }
    }
    toy_chain(c, m, index, s->chain);
}

static void toy_configuration(void *data, uint64_t index, struct slice encoded)
{
    struct raft_member *m = data;
    FATAL_IF(encoded.len > sizeof(m->state.configuration), "configuration too large for the test");
    m->state.configuration_index = index;
    m->state.configuration_len = encoded.len;
    memcpy(m->state.configuration, encoded.data, encoded.len);
}

static void toy_role(void *data, enum node_role role, uint64_t term, uint64_t leader)
{
    struct raft_member *m = data;
    m->role = role;
    m->term = term;
    m->leader = leader;
    if (role != NODE_LEADER) {
        return;
    }
    struct raft_cluster *c = m->cluster;
    m->ready_terms++;
    FATAL_IF(term >= sizeof(c->leader_of), "too many terms for the test cluster");
    if (c->leader_of[term] != 0 && c->leader_of[term] != m->id) {
        raft_cluster_break(c, "members %u and %llu both lead term %llu", c->leader_of[term],
                           (unsigned long long)m->id, (unsigned long long)term);
    }
    c->leader_of[term] = (uint8_t)m->id;
}

static void toy_dropped(void *data, uint64_t first, uint64_t last, int err)
{
    struct raft_member *m = data;
    unsigned at = err == ERR_NOT_LEADER          ? 0
                  : err == ERR_UNKNOWN_OUTCOME   ? 1
                  : err == ERR_TOO_MANY_REQUESTS ? 2
                  : err == ERR_STOPPED           ? 3
                                                 : 4;
    m->dropped[at] += last - first + 1;
}

static void toy_fetch(void *data, uint64_t from, const char *address, uint64_t index)
{
    struct raft_member *m = data;
    if (m->fetching) {
        raft_cluster_break(m->cluster, "member %llu was told to fetch twice",
                           (unsigned long long)m->id);
    }
    m->fetching = true;
    m->fetch_from = from;
    m->fetch_index = index;
    m->fetch_done_ms = m->cluster->now_ms + m->cluster->fetch_ms;
}

static void toy_install(void *data)
{
    struct raft_member *m = data;
    m->install_done_ms = m->cluster->now_ms + m->cluster->install_ms;
}

static void toy_fatal(void *data, const char *why)
{
    struct raft_member *m = data;
    m->fatal = true;
}

static uint64_t toy_now(void *data)
{
    return ((struct raft_cluster *)data)->now_ms;
}

/* ---- truth of frames ---------------------------------------------------------------------- */

/* Success says: my log agrees with yours up to here, and is stored. */
static void oracle_result(struct raft_cluster *c, const struct raft_member *from,
                          const struct raft_member *to, const struct frame *f)
{
    const struct raft *mine = &from->node->raft;
    const struct raft *theirs = &to->node->raft;
    if (f->a != 0 || theirs->state != RAFT_LEADER || theirs->current_term != f->term ||
        f->b > memlog_last(theirs)) {
        return;
    }
    uint64_t my_term = memlog_term(mine, f->b);
    uint64_t their_term = memlog_term(theirs, f->b);
    if (my_term != 0 && their_term != 0 && my_term != their_term) {
        raft_cluster_break(
            c, "member %llu acknowledged entry %llu of term %llu, the leader's is of %llu",
            (unsigned long long)from->id, (unsigned long long)f->b, (unsigned long long)my_term,
            (unsigned long long)their_term);
    }
    if (f->b > mine->last_stored && f->b > mine->log.snapshot.last_index) {
        raft_cluster_break(c, "member %llu acknowledged entry %llu but stored %llu",
                           (unsigned long long)from->id, (unsigned long long)f->b,
                           (unsigned long long)mine->last_stored);
    }
}

static void oracle_vote(struct raft_cluster *c, uint64_t voter, uint64_t candidate, uint64_t term)
{
    FATAL_IF(term >= sizeof(c->leader_of), "too many terms for the test cluster");
    uint8_t *vote = &c->voted_for[voter][term];
    if (*vote != 0 && *vote != candidate) {
        raft_cluster_break(c, "member %llu voted for %u and %llu in term %llu",
                           (unsigned long long)voter, *vote, (unsigned long long)candidate,
                           (unsigned long long)term);
    }
    *vote = (uint8_t)candidate;
}

static bool oracle(void *data, uint64_t from_id, uint64_t to_id, struct slice bytes)
{
    struct raft_cluster *c = data;
    const struct raft_member *from = raft_cluster_member(c, from_id);
    const struct raft_member *to = raft_cluster_member(c, to_id);
    struct frame f;
    FATAL_IF(!frame_get(bytes, &f), "a member sent a frame no member would accept");
    bool real_vote = (f.flags & FRAME_PRE_VOTE) == 0;
    if (f.type == FRAME_APPEND_RESULT && to->node != NULL && from->node != NULL) {
        oracle_result(c, from, to, &f);
    } else if (f.type == FRAME_VOTE_RESULT && real_vote && (f.flags & FRAME_GRANTED)) {
        oracle_vote(c, from_id, to_id, f.term);
    } else if (f.type == FRAME_VOTE && real_vote) {
        oracle_vote(c, from_id, from_id, f.term);
        if (from->node != NULL && f.a > from->node->raft.last_stored) {
            raft_cluster_break(c, "candidate %llu counts entry %llu but stored %llu",
                               (unsigned long long)from_id, (unsigned long long)f.a,
                               (unsigned long long)from->node->raft.last_stored);
        }
    }
    return true;
}

/* ---- members ------------------------------------------------------------------------------ */

struct raft_member *raft_cluster_member(struct raft_cluster *c, uint64_t id)
{
    FATAL_IF(id == 0 || id > c->n, "no such member");
    return &c->members[id - 1];
}

static void member_receive(void *data, uint64_t from, struct slice frame)
{
    struct raft_member *m = data;
    node_receive(m->node, from, frame);
}

static void member_options(struct raft_member *m, struct node_options *o)
{
    struct raft_cluster *c = m->cluster;
    *o = (struct node_options){.id = m->id,
                               .address = m->address,
                               .disk = m->disk,
                               .transport = sim_net_attach(c->net, m->id, member_receive, m),
                               .callbacks = {.data = m,
                                             .commit = toy_commit,
                                             .configuration = toy_configuration,
                                             .role = toy_role,
                                             .dropped = toy_dropped,
                                             .snapshot_fetch = toy_fetch,
                                             .snapshot_install = toy_install,
                                             .fatal = toy_fatal},
                               .now_ms = toy_now,
                               .clock_data = c,
                               .rand = &m->rand,
                               .incarnation = m->incarnation,
                               .applied_index = m->durable.applied,
                               .applied_term = m->durable.term,
                               .configuration_index = m->durable.configuration_index,
                               .configuration =
                                   slice_of(m->durable.configuration, m->durable.configuration_len),
                               .trailing_bytes = c->trailing_bytes,
                               .trailing_entries = c->trailing_entries,
                               .snapshot_entries = c->snapshot_entries,
                               .segment_bytes = c->segment_bytes};
}

void raft_cluster_init(struct raft_cluster *c, size_t n, size_t voters, uint64_t seed)
{
    FATAL_IF(n > RAFT_CLUSTER_MAX || voters > n, "too many members for the test cluster");
    *c = (struct raft_cluster){.now_ms = 1000,
                               .seed = seed,
                               .n = n,
                               .segment_bytes = 64 * 1024,
                               .fetch_ms = 50,
                               .install_ms = 3,
                               .next_value = 1};
    rand_init(&c->rand, seed);
    c->net = sim_net_new(&(struct sim_net_options){.seed = rand_u64(&c->rand)});
    sim_net_filter(c->net, oracle, c);
    for (size_t i = 0; i < n; i++) {
        struct raft_member *m = &c->members[i];
        m->cluster = c;
        m->id = i + 1;
        snprintf(m->address, sizeof(m->address), "m%zu", i + 1);
        rand_init(&m->rand, rand_u64(&c->rand));
    }
}

static void member_bootstrap(struct raft_cluster *c, struct raft_member *m, size_t voters)
{
    struct node_member list[RAFT_CLUSTER_MAX];
    for (size_t i = 0; i < voters; i++) {
        list[i] =
            (struct node_member){.id = i + 1, .address = c->members[i].address, .kind = NODE_VOTER};
    }
    struct node_options o;
    struct errmsg e = {""};
    member_options(m, &o);
    FATAL_IF(node_bootstrap(&o, list, voters, &e) != 0, "bootstrap failed");
}

void raft_cluster_start(struct raft_cluster *c, size_t voters)
{
    for (size_t i = 0; i < c->n; i++) {
        struct raft_member *m = &c->members[i];
        struct sim_disk_options o = c->disk;
        o.seed = rand_u64(&c->rand);
        m->disk = sim_disk_new(&o);
        sim_disk_run(m->disk, c->now_ms);
        if (i < voters) {
            member_bootstrap(c, m, voters);
        }
    }
    for (size_t i = 0; i < voters; i++) {
        raft_cluster_up(c, i + 1);
    }
}

void raft_cluster_up(struct raft_cluster *c, uint64_t id)
{
    struct raft_member *m = raft_cluster_member(c, id);
    struct node_options o;
    struct errmsg e = {""};
    FATAL_IF(m->node != NULL, "the member is running");
    m->incarnation++;
    m->state = m->durable;
    m->fatal = m->fetching = false;
    m->install_done_ms = 0;
    m->role = NODE_UNAVAILABLE;
    m->next_tick_ms = c->now_ms + rand_below(&c->rand, 50);
    m->next_checkpoint_ms = c->now_ms + c->checkpoint_ms;
    member_options(m, &o);
    int err = node_start(&o, &m->node, &e);
    if (err != 0) {
        sim_net_detach(c->net, id);
    }
    if (err != 0 && !m->start_may_fail) {
        raft_cluster_break(c, "member %llu does not start: %s", (unsigned long long)id, e.text);
    }
}

static void member_closed(void *data)
{
    *(bool *)data = true;
}

static void member_abandon(struct raft_cluster *c, struct raft_member *m)
{
    sim_net_detach(c->net, m->id);
    node_abandon(m->node);
    m->node = NULL;
    m->paused = false;
    m->role = NODE_UNAVAILABLE;
}

void raft_cluster_stop(struct raft_cluster *c, uint64_t id)
{
    struct raft_member *m = raft_cluster_member(c, id);
    bool closed = false;
    node_close(m->node, member_closed, &closed);
    sim_net_detach(c->net, m->id);
    for (unsigned i = 0; i < 60000 && !closed; i++) {
        c->now_ms++;
        sim_disk_run(m->disk, c->now_ms);
    }
    if (!closed) {
        raft_cluster_break(c, "node_close of member %llu never ended", (unsigned long long)id);
    }
    m->node = NULL;
    m->role = NODE_UNAVAILABLE;
}

void raft_cluster_crash(struct raft_cluster *c, uint64_t id)
{
    struct raft_member *m = raft_cluster_member(c, id);
    if (m->node != NULL) {
        sim_disk_crash(m->disk);
        member_abandon(c, m);
    }
}

void raft_cluster_pause(struct raft_cluster *c, uint64_t id, bool paused)
{
    raft_cluster_member(c, id)->paused = paused;
    sim_net_pause(c->net, id, paused);
}

void raft_cluster_checkpoint(struct raft_cluster *c, uint64_t id)
{
    struct raft_member *m = raft_cluster_member(c, id);
    m->durable = m->state;
    node_durable(m->node, m->durable.applied);
}

void raft_cluster_close(struct raft_cluster *c)
{
    for (size_t i = 0; i < c->n; i++) {
        struct raft_member *m = &c->members[i];
        raft_cluster_crash(c, m->id);
        sim_disk_free(m->disk);
    }
    sim_net_free(c->net);
    free(c->chain);
    free(c->seen);
}

/* ---- time --------------------------------------------------------------------------------- */

static void member_fetch(struct raft_cluster *c, struct raft_member *m)
{
    if (!m->fetching || c->now_ms < m->fetch_done_ms) {
        return;
    }
    struct raft_member *from = raft_cluster_member(c, m->fetch_from);
    m->fetching = false;
    if (from->node == NULL || from->durable.applied < m->fetch_index) {
        node_snapshot_failed(m->node);
        return;
    }
    m->staged = from->durable;
    node_snapshot_ready(m->node, m->staged.applied, m->staged.term, m->staged.configuration_index,
                        slice_of(m->staged.configuration, m->staged.configuration_len));
}

static void member_install(struct raft_cluster *c, struct raft_member *m)
{
    if (m->install_done_ms == 0 || c->now_ms < m->install_done_ms) {
        return;
    }
    m->install_done_ms = 0;
    m->installs++;
    m->state = m->durable = m->staged;
    toy_chain(c, m, m->state.applied, m->state.chain);
    node_snapshot_installed(m->node);
}

static void member_step(struct raft_cluster *c, struct raft_member *m)
{
    if (!m->disk_stuck) {
        sim_disk_run(m->disk, c->now_ms);
    }
    member_fetch(c, m);
    member_install(c, m);
    if (c->now_ms >= m->next_tick_ms) {
        m->next_tick_ms = c->now_ms + 50;
        node_tick(m->node);
    }
    if (c->checkpoint_ms != 0 && c->now_ms >= m->next_checkpoint_ms && m->install_done_ms == 0) {
        m->next_checkpoint_ms = c->now_ms + c->checkpoint_ms;
        raft_cluster_checkpoint(c, m->id);
    }
    node_flush(m->node);
}

void raft_cluster_step(struct raft_cluster *c)
{
    c->now_ms++;
    sim_net_run(c->net, c->now_ms);
    for (size_t i = 0; i < c->n; i++) {
        struct raft_member *m = &c->members[i];
        if (m->node != NULL && !m->paused) {
            member_step(c, m);
        }
    }
}

void raft_cluster_run(struct raft_cluster *c, uint64_t ms)
{
    for (uint64_t i = 0; i < ms && !c->broken; i++) {
        raft_cluster_step(c);
    }
}

bool raft_cluster_until(struct raft_cluster *c, uint64_t ms, bool (*done)(struct raft_cluster *c))
{
    for (uint64_t i = 0; i < ms && !done(c) && !c->broken; i++) {
        raft_cluster_step(c);
    }
    return done(c);
}

uint64_t raft_cluster_leader(const struct raft_cluster *c)
{
    const struct raft_member *best = NULL;
    for (size_t i = 0; i < c->n; i++) {
        const struct raft_member *m = &c->members[i];
        if (m->node != NULL && m->role == NODE_LEADER && (best == NULL || m->term > best->term)) {
            best = m;
        }
    }
    return best == NULL ? 0 : best->id;
}

bool raft_cluster_has_leader(struct raft_cluster *c)
{
    return raft_cluster_leader(c) != 0;
}

void raft_cluster_check(struct raft_cluster *c)
{
    for (uint64_t v = 1; v < c->next_value && v < c->seen_cap; v++) {
        if ((c->seen[v] & 2) != 0 && (c->seen[v] & 4) == 0) {
            raft_cluster_break(c, "acknowledged value %llu was applied by nobody",
                               (unsigned long long)v);
        }
    }
}

bool raft_cluster_converged(struct raft_cluster *c)
{
    raft_cluster_check(c);
    for (size_t i = 0; i < c->n; i++) {
        const struct raft_member *m = &c->members[i];
        if (m->node != NULL && m->state.applied != c->top) {
            return false;
        }
    }
    return raft_cluster_leader(c) != 0;
}

uint64_t raft_cluster_propose(struct raft_cluster *c, uint64_t id)
{
    struct raft_member *m = raft_cluster_member(c, id);
    uint64_t value = c->next_value++;
    toy_value(c, value, 1);
    uint8_t bytes[8];
    bytes_put_le64(bytes, value);
    struct batch_origin origin = {
        .member = id, .incarnation = m->incarnation, .number = ++m->next_number};
    struct buf ops;
    buf_init(&ops);
    FATAL_IF(!batch_add(&ops, origin, slice_of(bytes, 8)), "the test machine is out of memory");
    node_propose(m->node, buf_slice(&ops), origin.number, origin.number);
    buf_close(&ops);
    return value;
}

bool raft_cluster_acked(const struct raft_cluster *c, uint64_t value)
{
    return value < c->seen_cap && (c->seen[value] & 2) != 0;
}
