/* receive.c - frames into libraft: what may enter, when, and what is repaired on the way. */
#include "raft/receive.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/log.h"
#include "raft/configuration.h"
#include "raft/io.h"
#include "raft/memlog.h"
#include "raft/node_impl.h"

/* A frame waiting for the disk. */
struct held_frame {
    struct list link;
    uint64_t from;
    size_t len;
    uint8_t bytes[];
};

/* Guard G1. A candidate could win on a log that isn't on its disk yet, a follower could answer a
 * new leader about entries of an old one: libraft 0.15 does not keep these apart, so it never sees
 * the combination. A leader's own appends are safe against anything of its term. */
static bool receive_must_hold(const struct node *n, const struct frame *f)
{
    if (snapshot_blocking(n)) {
        return true;
    }
    if (NODE_BUG(NODE_BUG_NO_FREEZE) || !io_pending(n)) {
        return false;
    }
    return !(n->raft.state == RAFT_LEADER && f->term <= n->raft.current_term);
}

bool receive_tickable(const struct node *n)
{
    if (snapshot_blocking(n)) {
        return false;
    }
    return n->raft.state == RAFT_LEADER || NODE_BUG(NODE_BUG_NO_FREEZE) ||
           (!io_pending(n) && list_empty(&n->held));
}

void receive_deliver(struct node *n, struct raft_message *message)
{
    n->again = true;
    n->recv(&n->io, message);
}

/* ---- one frame of each kind --------------------------------------------------------------- */

/* Copies the entries into memory libraft frees: one batch, since it frees only the first's. false:
 * no memory, the frame is dropped like one lost by the network. */
static bool append_entries(const struct frame *f, struct raft_append_entries *ae)
{
    ae->n_entries = f->n;
    ae->entries = NULL;
    if (f->n == 0) {
        return true;
    }
    uint8_t *batch = raft_malloc(f->body.len);
    ae->entries = raft_malloc(f->n * sizeof(*ae->entries));
    if (batch == NULL || ae->entries == NULL) {
        raft_free(batch);
        raft_free(ae->entries);
        return false;
    }
    size_t at = 0;
    size_t used = 0;
    for (uint32_t i = 0; i < f->n; i++) {
        struct frame_entry e;
        frame_next_entry(f, &at, &e);
        if (e.payload.len > 0) {
            memcpy(batch + used, e.payload.data, e.payload.len);
        }
        ae->entries[i] = (struct raft_entry){.term = e.term,
                                             .type = e.type,
                                             .buf = {.base = batch + used, .len = e.payload.len},
                                             .batch = batch};
        used += e.payload.len;
    }
    return true;
}

/* libraft 0.15 takes entries that left its memory for new ones and appends them at the end: a
 * repeated first AppendEntries would do after a snapshot. Such entries are committed, and so is all
 * up to our commit index; what a leader has at or above our term agrees with it. So compare from
 * there. */
static void append_skip_compacted(const struct raft *r, struct raft_append_entries *ae)
{
    uint64_t prev = ae->prev_log_index;
    if (r->log.offset == 0 || prev > r->log.offset || prev == r->log.snapshot.last_index) {
        return;
    }
    uint64_t known = r->commit_index;
    unsigned skip = ae->n_entries < known - prev ? ae->n_entries : (unsigned)(known - prev);
    ae->n_entries -= skip;
    if (ae->n_entries > 0) {
        memmove(ae->entries, ae->entries + skip, ae->n_entries * sizeof(*ae->entries));
    } else if (ae->entries != NULL) {
        raft_free(ae->entries[0].batch);
        raft_free(ae->entries);
        ae->entries = NULL;
    }
    ae->prev_log_index = known;
    ae->prev_log_term = memlog_term(r, known);
}

static void receive_append(struct node *n, struct raft_message *m, const struct frame *f)
{
    struct raft_append_entries *ae = &m->append_entries;
    *ae = (struct raft_append_entries){
        .term = f->term, .prev_log_index = f->a, .prev_log_term = f->b};
    if (!append_entries(f, ae)) {
        LOG(LOG_WARN, "out of memory: dropped entries from the leader", F_UINT("entries", f->n));
        return;
    }
    m->type = RAFT_IO_APPEND_ENTRIES;
    append_skip_compacted(&n->raft, ae);
    /* Nothing beyond this frame's last entry was compared with the leader's log. */
    uint64_t end = ae->prev_log_index + ae->n_entries;
    ae->leader_commit = f->c < end ? f->c : end;
    membership_prepare_append(n, ae);
    n->acking = true;
    n->ack_limit = end;
    n->ack_term = ae->prev_log_term;
    receive_deliver(n, m);
    n->acking = false;
}

static void receive_result(struct node *n, struct raft_message *m, const struct frame *f)
{
    m->type = RAFT_IO_APPEND_ENTRIES_RESULT;
    m->append_entries_result = (struct raft_append_entries_result){
        .term = f->term, .rejected = f->a, .last_log_index = f->b};
    struct raft_progress *progress = node_progress(n, m->server_id);
    if (progress != NULL && f->term == n->raft.current_term) {
        if (f->a == 0 && lead_withholding(n)) {
            /* G3: keep the highest until the barrier is stored; the member is alive though. */
            struct node_peer *peer = node_peer(n, m->server_id);
            if (peer != NULL && f->b > peer->ack) {
                peer->ack = f->b;
            }
            progress->recent_recv = true;
            return;
        }
        if (f->a != 0) {
            if (!snapshot_check_result(n, progress, f, &m->append_entries_result)) {
                return;
            }
            /* Probe again at once: each round strictly lowers the next index, and libraft would
             * otherwise wait for the next heartbeat. */
            progress->last_send = 0;
        }
    }
    receive_deliver(n, m);
}

/* Votes are counted by the candidate's configuration, so a learner promoted behind its back must be
 * able to vote, and so must a voter whose own log holds an uncommitted removal of itself: without
 * them an election can be blocked for ever. libraft 0.15 asks the voter's own configuration; it
 * sees one with this member as voter while it decides. A member without any configuration has
 * nothing to vote with. */
static void receive_deliver_vote(struct node *n, struct raft_message *m)
{
    struct raft_configuration *c = &n->raft.configuration;
    struct raft_configuration own = *c;
    struct raft_server servers[MEMBERS_MAX + 1];
    if (c->n == 0 || configuration_is_voter(c, n->options.id)) {
        receive_deliver(n, m);
        return;
    }
    memcpy(servers, own.servers, own.n * sizeof(servers[0]));
    unsigned i = configuration_index_of(c, n->options.id);
    servers[i] =
        (struct raft_server){.id = n->options.id, .address = n->address, .role = RAFT_VOTER};
    *c = (struct raft_configuration){.servers = servers, .n = i == own.n ? own.n + 1 : own.n};
    receive_deliver(n, m);
    *c = own;
}

void receive_forget_leader(struct node *n, uint64_t silent_ms)
{
    struct raft *r = &n->raft;
    if (r->state == RAFT_FOLLOWER && node_now(n) - r->election_timer_start >= silent_ms) {
        r->follower_state.current_leader.id = 0;
    }
}

static void receive_vote(struct node *n, struct raft_message *m, const struct frame *f)
{
    bool pre_vote = (f->flags & FRAME_PRE_VOTE) != 0;
    if (f->c != m->server_id) {
        return;
    }
    /* The paper's rule (4.2.3): a leader protects itself for the minimum election timeout.
     * libraft's followers believe in it until their own timer fires, and learners for ever. */
    receive_forget_leader(n, n->options.election_ms);
    /* libraft 0.15 lets a leader that is handing over vote twice in its own term. */
    if (!pre_vote && f->term == n->raft.current_term && n->raft.voted_for != 0 &&
        n->raft.voted_for != f->c && !NODE_BUG(NODE_BUG_DOUBLE_VOTE)) {
        return;
    }
    m->type = RAFT_IO_REQUEST_VOTE;
    m->request_vote = (struct raft_request_vote){.term = f->term,
                                                 .candidate_id = f->c,
                                                 .last_log_index = f->a,
                                                 .last_log_term = f->b,
                                                 .disrupt_leader = f->flags & FRAME_DISRUPT,
                                                 .pre_vote = pre_vote};
    receive_deliver_vote(n, m);
}

static void receive_vote_result(struct node *n, struct raft_message *m, const struct frame *f)
{
    m->type = RAFT_IO_REQUEST_VOTE_RESULT;
    m->request_vote_result = (struct raft_request_vote_result){
        .term = f->term,
        .vote_granted = f->flags & FRAME_GRANTED,
        .pre_vote = f->flags & FRAME_PRE_VOTE ? raft_tribool_true : raft_tribool_false};
    receive_deliver(n, m);
}

static void receive_timeout_now(struct node *n, struct raft_message *m, const struct frame *f)
{
    /* A sole voter would lead without a new term (boot.c): it elects itself by its own timer. */
    if (configuration_only_voter(&n->raft.configuration, n->options.id)) {
        return;
    }
    m->type = RAFT_IO_TIMEOUT_NOW;
    m->timeout_now =
        (struct raft_timeout_now){.term = f->term, .last_log_index = f->a, .last_log_term = f->b};
    receive_deliver(n, m);
}

static void receive_dispatch(struct node *n, uint64_t from, const struct frame *f)
{
    /* libraft only keeps addresses to hand them back; ours come from the configuration by id. */
    struct raft_message m = {.server_id = from, .server_address = ""};
    bool from_leader = f->type == FRAME_APPEND || f->type == FRAME_INSTALL;
    if (from_leader && n->raft.state == RAFT_LEADER && f->term == n->raft.current_term) {
        /* libraft would take the union of its leader's state for a follower's. */
        LOG(LOG_ERROR,
            "dropped a frame of a second leader in our own term; two members may share "
            "an id, or one lost its data directory",
            F_HEX("from", from), F_UINT("term", f->term));
        return;
    }
    switch (f->type) {
    case FRAME_APPEND:
        receive_append(n, &m, f);
        break;
    case FRAME_APPEND_RESULT:
        receive_result(n, &m, f);
        break;
    case FRAME_VOTE:
        receive_vote(n, &m, f);
        break;
    case FRAME_VOTE_RESULT:
        receive_vote_result(n, &m, f);
        break;
    case FRAME_INSTALL:
        snapshot_offered(n, from, f);
        break;
    case FRAME_TIMEOUT_NOW:
        receive_timeout_now(n, &m, f);
        break;
    case FRAME_CONFIRM:
    case FRAME_CONFIRMED:
        break;
    }
}

/* ---- the freeze --------------------------------------------------------------------------- */

static void receive_drained(void *data)
{
    struct node *n = data;
    n->draining = false;
    node_settle(n);
    node_close_step(n);
}

static void receive_hold(struct node *n, uint64_t from, struct slice bytes)
{
    if (n->held_bytes + bytes.len > RAFT_HELD_BYTES_MAX) {
        return; /* the sender repeats what matters */
    }
    struct held_frame *h = mem_alloc(sizeof(*h) + bytes.len);
    if (h == NULL) {
        return;
    }
    h->from = from;
    h->len = bytes.len;
    memcpy(h->bytes, bytes.data, bytes.len);
    list_push_back(&n->held, &h->link);
    n->held_bytes += bytes.len;
    /* An append ends with a callback; a lone truncation only with the drain. */
    if (!n->draining && log_pending(n->log)) {
        n->draining = true;
        log_drain(n->log, receive_drained, n);
    }
}

/* One frame per turn of node_settle: what follows from it (a barrier after winning, above all) must
 * happen before the next one enters. */
void receive_release(struct node *n)
{
    if (!n->running || n->closing || list_empty(&n->held)) {
        return;
    }
    struct held_frame *h = LIST_ENTRY(n->held.next, struct held_frame, link);
    struct frame f;
    bool valid = frame_get(slice_of(h->bytes, h->len), &f);
    if (valid && receive_must_hold(n, &f)) {
        return;
    }
    list_remove(&h->link);
    n->held_bytes -= h->len;
    n->again = true;
    if (valid) {
        receive_dispatch(n, h->from, &f);
    }
    mem_free(h);
}

void receive_clear(struct node *n)
{
    struct list *link;
    while ((link = list_pop_front(&n->held)) != NULL) {
        mem_free(LIST_ENTRY(link, struct held_frame, link));
    }
    n->held_bytes = 0;
}

void node_receive(struct node *n, uint64_t from, struct slice frame)
{
    struct frame f;
    if (!n->running || n->closing) {
        return;
    }
    if (from == 0 || from == n->options.id || !frame_get(frame, &f)) {
        LOG(LOG_WARN, "dropped a malformed frame from a member; its version may be newer",
            F_HEX("from", from), F_UINT("bytes", frame.len));
        return;
    }
    if (f.type == FRAME_CONFIRM) {
        struct frame answer = {.type = FRAME_CONFIRMED, .term = n->raft.current_term, .a = f.a};
        node_send_frame(n, from, &answer);
        return;
    }
    if (f.type == FRAME_CONFIRMED) {
        readindex_confirmed(n, from, f.term, f.a);
    } else if (!list_empty(&n->held) || receive_must_hold(n, &f)) {
        receive_hold(n, from, frame);
    } else {
        receive_dispatch(n, from, &f);
    }
    node_settle(n);
}
