/* lead.c - winning, the barrier, withheld successes, rewinds and commit announcements. */
#include "raft/lead.h"

#include "base/log.h"
#include "raft/configuration.h"
#include "raft/memlog.h"
#include "raft/node_impl.h"
#include "raft/receive.h"

bool lead_ready(const struct node *n)
{
    const struct raft *r = &n->raft;
    if (!node_is_leader(n) || n->lead.term != r->current_term) {
        return false;
    }
    return NODE_BUG(NODE_BUG_NO_BARRIER) ||
           (n->lead.barrier_index != 0 && r->commit_index >= n->lead.barrier_index);
}

bool lead_withholding(const struct node *n)
{
    const struct raft *r = &n->raft;
    if (!node_is_leader(n) || NODE_BUG(NODE_BUG_NO_BARRIER)) {
        return false;
    }
    return n->lead.term != r->current_term || n->lead.barrier_index == 0 ||
           r->last_stored < n->lead.barrier_index;
}

static void lead_barrier_done(struct raft_barrier *req, int status)
{
    struct lead *l = req->data;
    l->barrier_pending = false;
}

/* Entries of older terms may be counted as committed only along with one of ours: the barrier. */
static void lead_append_barrier(struct node *n)
{
    struct lead *l = &n->lead;
    if (l->barrier_pending) {
        return;
    }
    l->barrier.data = l;
    l->barrier_pending = true;
    if (raft_barrier(&n->raft, &l->barrier, lead_barrier_done) == 0) {
        l->barrier_index = memlog_last(&n->raft);
        n->again = true;
    } else {
        /* Out of memory, or an old transfer not yet given up: the next tick tries again. */
        l->barrier_pending = false;
    }
}

static void lead_begin(struct node *n)
{
    n->lead.term = n->raft.current_term;
    n->lead.barrier_index = 0;
    for (size_t i = 0; i < n->peers_n; i++) {
        n->peers[i].commit_sent = 0;
        n->peers[i].rewind = 0;
        n->peers[i].ack = 0;
    }
    LOG(LOG_INFO, "elected leader; appending the barrier of the new term",
        F_HEX("member", n->options.id), F_UINT("term", n->raft.current_term));
}

/* Follower states are trusted again: replay the highest success of each. */
static void lead_release_acks(struct node *n)
{
    for (size_t i = 0; i < n->peers_n && !lead_withholding(n) && node_is_leader(n); i++) {
        struct node_peer *peer = &n->peers[i];
        if (peer->ack == 0) {
            continue;
        }
        struct raft_message m = {
            .type = RAFT_IO_APPEND_ENTRIES_RESULT,
            .server_id = peer->id,
            .server_address = "",
            .append_entries_result = {.term = n->raft.current_term, .last_log_index = peer->ack}};
        peer->ack = 0;
        receive_deliver(n, &m);
    }
}

static void lead_rewind(struct node *n)
{
    for (size_t i = 0; i < n->peers_n; i++) {
        struct node_peer *peer = &n->peers[i];
        struct raft_progress *p = node_progress(n, peer->id);
        if (peer->rewind != 0 && p != NULL && p->state == PROGRESS_PIPELINE &&
            p->next_index > peer->rewind) {
            p->next_index = peer->rewind;
        }
        peer->rewind = 0;
    }
}

void lead_step(struct node *n)
{
    if (!node_is_leader(n)) {
        n->lead.term = 0;
        n->lead.barrier_index = 0;
        return;
    }
    if (n->lead.term != n->raft.current_term) {
        lead_begin(n);
    }
    if (n->lead.barrier_index == 0 && !NODE_BUG(NODE_BUG_NO_BARRIER)) {
        lead_append_barrier(n);
    }
    lead_rewind(n);
    lead_release_acks(n);
}

static void lead_handed_over(struct raft_transfer *req)
{
}

void lead_tick(struct node *n)
{
    struct lead *l = &n->lead;
    struct raft *r = &n->raft;
    uint64_t now = node_now(n);
    if (!node_is_leader(n) || n->appends == 0 || r->last_stored != l->stored_index) {
        l->stored_ms = now;
        l->stored_index = r->last_stored;
        return;
    }
    if (now - l->stored_ms < n->options.election_ms || r->transfer != NULL ||
        configuration_voters(&r->configuration) < 2) {
        return;
    }
    LOG(LOG_WARN, "the raft log's disk stores nothing; handing the leadership over",
        F_UINT("for_ms", now - l->stored_ms), F_UINT("last_stored", r->last_stored));
    if (raft_transfer(r, &l->hand_over, 0, lead_handed_over) == 0) {
        n->again = true;
    }
}

void lead_announce(struct node *n)
{
    const struct raft *r = &n->raft;
    for (unsigned i = 0; node_is_leader(n) && i < r->configuration.n; i++) {
        const struct raft_server *s = &r->configuration.servers[i];
        const struct raft_progress *p = node_progress(n, s->id);
        struct node_peer *peer = s->id == n->options.id ? NULL : node_peer(n, s->id);
        if (peer == NULL || p == NULL || p->state != PROGRESS_PIPELINE) {
            continue;
        }
        uint64_t last_sent = p->next_index - 1;
        uint64_t commit = r->commit_index < last_sent ? r->commit_index : last_sent;
        uint64_t term = memlog_term(r, last_sent);
        if (commit <= peer->commit_sent || term == 0) {
            continue;
        }
        peer->commit_sent = commit;
        struct frame f = {
            .type = FRAME_APPEND, .term = r->current_term, .a = last_sent, .b = term, .c = commit};
        node_send_frame(n, s->id, &f);
    }
}
