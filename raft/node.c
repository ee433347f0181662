/* node.c - one member: start, drive, settle, facts, close.
 *
 * node_settle is the heart. Each turn: complete what libraft sent, notice a won or lost election,
 * hand out what got committed, answer snapshot requests, tell outcomes, move changes and reads on,
 * report the role, let one held frame in. It ends when a turn entered libraft nowhere. */
#include "raft/node.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/log.h"
#include "raft/boot.h"
#include "raft/configuration.h"
#include "raft/io.h"
#include "raft/memlog.h"
#include "raft/node_impl.h"
#include "raft/receive.h"

#ifdef KVD_DEBUG
unsigned node_bugs;
#endif

/* ---- members ------------------------------------------------------------------------------ */

/* Forgets members that left when the table is full. */
static void node_prune_peers(struct node *n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n->peers_n; i++) {
        if (configuration_get(&n->raft.configuration, n->peers[i].id) != NULL) {
            n->peers[kept++] = n->peers[i];
        }
    }
    n->peers_n = kept;
}

struct node_peer *node_peer(struct node *n, uint64_t id)
{
    for (size_t i = 0; i < n->peers_n; i++) {
        if (n->peers[i].id == id) {
            return &n->peers[i];
        }
    }
    if (n->peers_n == MEMBERS_MAX) {
        node_prune_peers(n);
    }
    if (n->peers_n == MEMBERS_MAX) {
        return NULL;
    }
    struct node_peer *peer = &n->peers[n->peers_n++];
    *peer = (struct node_peer){.id = id};
    return peer;
}

struct raft_progress *node_progress(struct node *n, uint64_t id)
{
    if (!node_is_leader(n) || id == n->options.id) {
        return NULL;
    }
    unsigned i = configuration_index_of(&n->raft.configuration, id);
    return i == n->raft.configuration.n ? NULL : &n->raft.leader_state.progress[i];
}

const char *node_address(const struct node *n, uint64_t id)
{
    const struct raft_server *s = configuration_get(&n->raft.configuration, id);
    return s == NULL ? "" : s->address;
}

unsigned node_in_flight(const struct node *n)
{
    return n->propose.in_flight + n->lead.barrier_pending + membership_in_flight(n);
}

void node_send(struct node *n, uint64_t to, const char *address)
{
    if (n->broken) {
        return;
    }
    if (n->out.failed) {
        LOG(LOG_WARN, "out of memory: dropped a frame to a member", F_HEX("to", to));
        return;
    }
    n->options.transport->send(n->options.transport, to, address, buf_slice(&n->out));
}

void node_send_frame(struct node *n, uint64_t to, const struct frame *f)
{
    buf_clear(&n->out);
    frame_put(&n->out, f);
    node_send(n, to, node_address(n, to));
}

void node_set_committed(struct node *n, uint64_t index, struct slice encoded)
{
    n->committed_index = index;
    buf_clear(&n->committed);
    FATAL_IF(!buf_append_slice(&n->committed, encoded),
             "out of memory while keeping the committed configuration");
}

/* ---- settling ----------------------------------------------------------------------------- */

static void node_hand_out(struct node *n)
{
    const struct node_callbacks *c = &n->options.callbacks;
    while (n->handed < n->raft.last_applied) {
        uint64_t index = n->handed + 1;
        const struct raft_entry *e = memlog_get(&n->raft, index);
        FATAL_IF(e == NULL, "a committed entry left the log before it was handed out");
        struct slice payload = slice_of(e->buf.base, e->buf.len);
        n->handed = index;
        if (e->type == RAFT_CHANGE) {
            node_set_committed(n, index, payload);
            c->configuration(c->data, index, payload);
        }
        c->commit(c->data, index, e->term, e->type == RAFT_COMMAND ? payload : slice_of(NULL, 0));
    }
}

enum node_role node_role(const struct node *n)
{
    if (!n->running) {
        return NODE_UNAVAILABLE;
    }
    switch (n->raft.state) {
    case RAFT_FOLLOWER:
        return NODE_FOLLOWER;
    case RAFT_CANDIDATE:
        return NODE_CANDIDATE;
    case RAFT_LEADER:
        return NODE_LEADER;
    default:
        return NODE_UNAVAILABLE;
    }
}

uint64_t node_leader(const struct node *n)
{
    switch (node_role(n)) {
    case NODE_LEADER:
        return n->options.id;
    case NODE_FOLLOWER:
        return n->raft.follower_state.current_leader.id;
    default:
        return 0;
    }
}

static void node_report_role(struct node *n)
{
    enum node_role role = node_role(n);
    uint64_t leader = node_leader(n);
    if (role == NODE_LEADER && !lead_ready(n)) {
        role = NODE_CANDIDATE;
        leader = 0;
    }
    uint64_t term = n->raft.current_term;
    if (role == n->role && term == n->role_term && leader == n->role_leader) {
        return;
    }
    n->role = role;
    n->role_term = term;
    n->role_leader = leader;
    n->options.callbacks.role(n->options.callbacks.data, role, term, leader);
}

void node_fail(struct node *n, const char *why)
{
    n->running = false;
    if (!n->failed) {
        n->failed = true;
        LOG(LOG_ERROR, "raft cannot go on", F_STR("reason", why));
        n->options.callbacks.fatal(n->options.callbacks.data, why);
    }
}

static void node_check_failed(struct node *n)
{
    if (n->running && n->broken) {
        node_fail(n, "raft stopped: term and vote could not be stored");
    }
    if (n->running && n->raft.state == RAFT_UNAVAILABLE) {
        node_fail(n, "raft stopped: memory ran out, or the log contradicts the leader's");
    }
}

void node_settle(struct node *n)
{
    n->again = true;
    if (n->settling) {
        return;
    }
    n->settling = true;
    while (n->again) {
        n->again = false;
        io_complete(n);
        node_check_failed(n);
        lead_step(n);
        if (n->running) {
            node_hand_out(n);
        }
        snapshot_step(n);
        propose_step(n);
        membership_step(n);
        readindex_step(n);
        node_report_role(n);
        receive_release(n);
        n->again = n->again || n->sends_n > 0;
    }
    n->settling = false;
}

/* ---- driving ------------------------------------------------------------------------------ */

/* A sole voter that was a follower (the other one was just removed) would lead in the term it has,
 * which another leader may still be using: give it one of its own first, as in boot_load. */
static void node_renew_sole_term(struct node *n)
{
    struct raft *r = &n->raft;
    if (r->state != RAFT_FOLLOWER || !configuration_only_voter(&r->configuration, r->id) ||
        node_now(n) - r->election_timer_start < r->follower_state.randomized_election_timeout) {
        return;
    }
    n->io.set_term(&n->io, r->current_term + 1);
    n->io.set_vote(&n->io, r->id);
    r->current_term++;
    r->voted_for = r->id;
}

static void node_tick_core(struct node *n)
{
    node_renew_sole_term(n);
    if (!n->broken) {
        receive_forget_leader(n, 2 * (uint64_t)n->options.election_ms);
        n->tick(&n->io);
    }
    node_settle(n);
}

void node_tick(struct node *n)
{
    if (n->closing) {
        node_close_step(n); /* a disk may have filled up meanwhile */
        return;
    }
    if (!n->running) {
        return;
    }
    log_tick(n->log);
    uint64_t now = node_now(n);
    uint64_t gap = now - n->tick_ms;
    n->tick_ms = now;
    node_settle(n);
    lead_tick(n);
    /* After a stall the heartbeats of the meantime are still unread: don't take that for silence,
     * let one round of input pass first. */
    if (gap <= 3 * (uint64_t)n->options.heartbeat_ms && receive_tickable(n) && n->running) {
        node_tick_core(n);
    }
    readindex_tick(n);
}

void node_flush(struct node *n)
{
    if (n->closing) {
        return;
    }
    node_settle(n);
    propose_flush(n);
    readindex_flush(n);
    node_settle(n);
    lead_announce(n);
}

/* ---- start -------------------------------------------------------------------------------- */

int node_core_start(struct node *n, struct errmsg *e)
{
    struct raft *r = &n->raft;
    memset(r, 0, sizeof(*r));
    io_init(n);
    if (raft_init(r, &n->io, &n->fsm, n->options.id, n->address) != 0) {
        return errmsg_set(e, ERR_NOMEM, "out of memory");
    }
    raft_set_election_timeout(r, n->options.election_ms);
    raft_set_heartbeat_timeout(r, n->options.heartbeat_ms);
    raft_set_install_snapshot_timeout(r, SNAPSHOT_INSTALL_MS_MAX);
    raft_set_pre_vote(r, true);
    raft_set_snapshot_threshold(r, UINT32_MAX);
    int rv = raft_start(r);
    if (rv != 0) {
        raft_close(r, NULL);
        return errmsg_set(e, ERR_IO, "start: %s", raft_strerror(rv));
    }
    boot_mark_uncommitted(n);
    n->running = true;
    n->again = true;
    return 0;
}

void node_core_stop(struct node *n)
{
    io_complete(n);
    snapshot_cancel(n);
    n->running = false;
    raft_close(&n->raft, NULL);
    io_complete(n);
}

static void node_defaults(struct node_options *o)
{
    o->heartbeat_ms = o->heartbeat_ms == 0 ? 100 : o->heartbeat_ms;
    o->election_ms = o->election_ms == 0 ? 1000 : o->election_ms;
    o->trailing_bytes = o->trailing_bytes == 0 ? 8u * 1024 * 1024 : o->trailing_bytes;
    o->trailing_entries = o->trailing_entries == 0 ? 5000 : o->trailing_entries;
    o->snapshot_entries = o->snapshot_entries == 0 ? 10000 : o->snapshot_entries;
    o->segment_bytes = o->segment_bytes == 0 ? 1024u * 1024 : o->segment_bytes;
}

static void node_free(struct node *n)
{
    boot_close(n);
    receive_clear(n);
    if (n->log != NULL) {
        log_close(n->log);
    }
    if (n->terms != NULL) {
        term_file_close(n->terms);
    }
    buf_close(&n->out);
    buf_close(&n->committed);
    buf_close(&n->snapshot.configuration);
    mem_free(n->sends);
    mem_free(n->address);
    mem_free(n);
}

static struct node *node_new(const struct node_options *options)
{
    struct node *n = mem_zalloc(sizeof(*n));
    if (n == NULL) {
        return NULL;
    }
    n->options = *options;
    node_defaults(&n->options);
    n->address = mem_strdup(options->address);
    buf_init(&n->out);
    buf_init(&n->committed);
    list_init(&n->held);
    list_init(&n->pending);
    propose_init(&n->propose);
    readindex_init(&n->reads);
    membership_init(&n->membership);
    snapshot_init(&n->snapshot);
    n->handed = options->applied_index;
    n->snapshot.durable = options->applied_index;
    n->tick_ms = node_now(n);
    n->committed_index = options->configuration_index;
    /* Room for any configuration, so that keeping a committed one can't fail later. */
    if (n->address == NULL || !buf_reserve(&n->committed, CONFIGURATION_BYTES_MAX) ||
        !buf_append_slice(&n->committed, options->configuration)) {
        node_free(n);
        return NULL;
    }
    n->options.address = n->address;
    n->options.configuration = buf_slice(&n->committed);
    return n;
}

int node_start(const struct node_options *options, struct node **out, struct errmsg *e)
{
    *out = NULL;
    if (options->id == 0 || strlen(options->address) > MEMBER_ADDRESS_BYTES_MAX ||
        options->election_ms > INT32_MAX / 2) {
        return errmsg_set(e, ERR_INVALID, "raft: id, address or election timeout out of range");
    }
    struct node *n = node_new(options);
    if (n == NULL) {
        return errmsg_set(e, ERR_NOMEM, "raft: out of memory");
    }
    int err = boot_open(n, e);
    if (err == 0) {
        err = node_core_start(n, e);
    }
    if (err != 0) {
        node_free(n);
        return errmsg_wrap(e, err, "raft");
    }
    n->options.configuration = slice_of(NULL, 0);
    *out = n;
    node_settle(n);
    return 0;
}

/* ---- close -------------------------------------------------------------------------------- */

static void node_drained(void *data)
{
    struct node *n = data;
    n->draining = false;
    node_settle(n);
    node_close_step(n);
}

void node_close_step(struct node *n)
{
    if (!n->closing || n->settling) {
        return;
    }
    /* A full disk may stay full, a dead one is dead: what is queued is given up. */
    bool wait = !n->log_dead && !n->broken && !log_full(n->log);
    if (wait && (n->boot.removing || n->draining)) {
        return;
    }
    if (wait && (n->appends > 0 || log_pending(n->log))) {
        n->draining = true;
        log_drain(n->log, node_drained, n);
        return;
    }
    node_core_stop(n);
    node_settle(n);
    void (*cb)(void *data) = n->close_cb;
    void *data = n->close_data;
    node_free(n);
    cb(data);
}

void node_close(struct node *n, void (*cb)(void *data), void *data)
{
    FATAL_IF(n->settling || n->closing, "node_close inside a callback, or twice");
    n->closing = true;
    n->close_cb = cb;
    n->close_data = data;
    propose_stop(n);
    readindex_stop(n);
    membership_stop(n);
    node_close_step(n);
}

/* ---- a simulated death -------------------------------------------------------------------- */

static void dead_commit(void *data, uint64_t index, uint64_t term, struct slice payload)
{
}

static void dead_configuration(void *data, uint64_t index, struct slice encoded)
{
}

static void dead_role(void *data, enum node_role role, uint64_t term, uint64_t leader)
{
}

static void dead_dropped(void *data, uint64_t first, uint64_t last, int err)
{
}

static void dead_send(struct node_transport *t, uint64_t to, const char *address,
                      struct slice frame)
{
}

static void dead_ask(struct node_change *c, int err)
{
}

void node_abandon(struct node *n)
{
    struct node_transport nowhere = {.send = dead_send};
    n->options.transport = &nowhere;
    n->options.callbacks = (struct node_callbacks){.commit = dead_commit,
                                                   .configuration = dead_configuration,
                                                   .role = dead_role,
                                                   .dropped = dead_dropped};
    n->closing = true;
    readindex_init(&n->reads);
    membership_abandon(&n->membership, dead_ask);
    propose_stop(n);
    node_core_stop(n);
    node_settle(n);
    node_free(n);
}

/* ---- facts -------------------------------------------------------------------------------- */

bool node_leader_ready(const struct node *n)
{
    return lead_ready(n);
}

bool node_decides_alone(const struct node *n)
{
    const struct raft *r = &n->raft;
    return lead_ready(n) && r->configuration_uncommitted_index == 0 &&
           configuration_only_voter(&r->configuration, n->options.id);
}

uint64_t node_term(const struct node *n)
{
    return n->raft.current_term;
}

uint64_t node_commit_index(const struct node *n)
{
    return n->raft.commit_index;
}

uint64_t node_last_index(const struct node *n)
{
    return memlog_last(&n->raft);
}

uint64_t node_log_bytes(const struct node *n)
{
    return log_bytes(n->log);
}

size_t node_members(const struct node *n, struct node_member *out, size_t max)
{
    const struct raft_configuration *c = &n->raft.configuration;
    size_t count = 0;
    for (unsigned i = 0; i < c->n && count < max; i++) {
        const struct raft_server *s = &c->servers[i];
        out[count++] = (struct node_member){.id = s->id,
                                            .address = s->address,
                                            .kind = s->role == RAFT_VOTER     ? NODE_VOTER
                                                    : s->role == RAFT_STANDBY ? NODE_LEARNER
                                                                              : NODE_SPARE};
    }
    return count;
}
