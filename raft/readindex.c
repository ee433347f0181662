/* readindex.c - rounds of "is your term still mine?". */
#include "raft/readindex.h"

#include "base/assert.h"
#include "raft/configuration.h"
#include "raft/node_impl.h"

_Static_assert(sizeof(struct list) <= sizeof(((struct node_read *)0)->impl), "impl holds a link");

static struct list *read_link(struct node_read *r)
{
    return (struct list *)(void *)r->impl;
}

static struct node_read *read_of(struct list *link)
{
    return LIST_ENTRY(link, struct node_read, impl);
}

void readindex_init(struct readindex *r)
{
    *r = (struct readindex){0};
    list_init(&r->waiting);
    list_init(&r->confirming);
}

void node_read_index(struct node *n, struct node_read *r)
{
    r->index = 0;
    /* 0 marks a read made on a member that doesn't lead: told apart from a lost leadership. */
    r->term = node_is_leader(n) ? n->raft.current_term : 0;
    list_push_back(&n->reads.waiting, read_link(r));
}

static void readindex_answer(struct list *from, int err, uint64_t index)
{
    /* A callback may ask again at once: that read belongs to the next round. */
    struct list now;
    list_init(&now);
    list_splice_back(&now, from);
    struct list *link;
    while ((link = list_pop_front(&now)) != NULL) {
        struct node_read *r = read_of(link);
        r->index = index;
        r->cb(r, err, index);
    }
}

static void readindex_fail_waiting(struct node *n, int err)
{
    struct list now;
    list_init(&now);
    list_splice_back(&now, &n->reads.waiting);
    struct list *link;
    while ((link = list_pop_front(&now)) != NULL) {
        struct node_read *r = read_of(link);
        int why = err != 0 ? err : r->term == 0 ? ERR_NOT_LEADER : ERR_LEADER_CHANGED;
        r->cb(r, why, 0);
    }
}

static bool readindex_majority(const struct node *n)
{
    const struct raft_configuration *c = &n->raft.configuration;
    unsigned votes = configuration_is_voter(c, n->options.id);
    for (size_t i = 0; i < n->reads.acked_n; i++) {
        votes += configuration_is_voter(c, n->reads.acked[i]);
    }
    return votes > configuration_voters(c) / 2;
}

void readindex_step(struct node *n)
{
    struct readindex *s = &n->reads;
    if (list_empty(&s->confirming)) {
        return;
    }
    if (!node_is_leader(n) || n->raft.current_term != s->term) {
        readindex_answer(&s->confirming, ERR_LEADER_CHANGED, 0);
    } else if (readindex_majority(n) || NODE_BUG(NODE_BUG_NO_CONFIRM)) {
        readindex_answer(&s->confirming, 0, s->index);
    }
}

/* Asks the voters that have not answered yet. */
static void readindex_ask(struct node *n)
{
    struct readindex *s = &n->reads;
    const struct raft_configuration *c = &n->raft.configuration;
    struct frame f = {.type = FRAME_CONFIRM, .term = s->term, .a = s->round};
    s->sent_ms = node_now(n);
    for (unsigned i = 0; i < c->n; i++) {
        const struct raft_server *server = &c->servers[i];
        bool answered = false;
        for (size_t k = 0; k < s->acked_n; k++) {
            answered = answered || s->acked[k] == server->id;
        }
        if (server->role == RAFT_VOTER && server->id != n->options.id && !answered) {
            node_send_frame(n, server->id, &f);
        }
    }
}

void readindex_flush(struct node *n)
{
    struct readindex *s = &n->reads;
    if (!node_is_leader(n)) {
        readindex_fail_waiting(n, 0);
        return;
    }
    if (list_empty(&s->waiting) || !list_empty(&s->confirming) ||
        !(lead_ready(n) || NODE_BUG(NODE_BUG_NO_OWN_TERM))) {
        return;
    }
    /* R first, the questions after it: the proof rests on this order. */
    s->index = n->raft.commit_index;
    s->term = n->raft.current_term;
    s->round++;
    s->acked_n = 0;
    list_splice_back(&s->confirming, &s->waiting);
    readindex_ask(n);
    readindex_step(n);
}

void readindex_tick(struct node *n)
{
    if (!list_empty(&n->reads.confirming) && node_is_leader(n) &&
        node_now(n) - n->reads.sent_ms >= n->options.heartbeat_ms) {
        readindex_ask(n);
    }
}

void readindex_confirmed(struct node *n, uint64_t from, uint64_t term, uint64_t round)
{
    struct readindex *s = &n->reads;
    if (list_empty(&s->confirming) || round != s->round || term != s->term ||
        s->acked_n == MEMBERS_MAX) {
        return;
    }
    for (size_t i = 0; i < s->acked_n; i++) {
        if (s->acked[i] == from) {
            return;
        }
    }
    s->acked[s->acked_n++] = from;
}

void readindex_stop(struct node *n)
{
    readindex_answer(&n->reads.confirming, ERR_STOPPED, 0);
    readindex_fail_waiting(n, ERR_STOPPED);
}
