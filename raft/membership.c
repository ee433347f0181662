/* membership.c - changes of the configuration and of the leader, one at a time each.
 *
 * A change waits until it may begin (change_may_begin), then goes through the libraft calls it
 * needs: add learner     raft_add (spare), raft_assign standby add voter       raft_add (spare),
 * raft_assign standby, raft_assign voter promote         raft_assign voter, after a look at how far
 * the learner is remove          raft_remove Each is one entry; between two of them the gate is
 * asked again. Lost leadership before the first call means "not done", later "unknown": the new
 * leader may commit what was appended. */
#include "raft/membership.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/log.h"
#include "raft/configuration.h"
#include "raft/memlog.h"
#include "raft/node_impl.h"

enum change_kind { CHANGE_ADD, CHANGE_PROMOTE, CHANGE_REMOVE, CHANGE_TRANSFER };

/* Lives in node_change.impl. */
struct change {
    struct list link;
    struct node_change *owner;
    struct node *node;
    enum change_kind kind;
    int role; /* of libraft, wanted by CHANGE_ADD */
    uint64_t id;
    char *address; /* CHANGE_ADD: a copy */
    bool begun;    /* at least one entry may be in the log */
    bool calling;  /* libraft holds req or transfer */
    bool called;   /* libraft called back with status */
    int status;
    union {
        struct raft_change req;
        struct raft_transfer transfer;
    };
};

_Static_assert(sizeof(struct change) <= sizeof(((struct node_change *)0)->impl),
               "impl holds a change");

void membership_init(struct membership *m)
{
    *m = (struct membership){0};
    list_init(&m->waiting);
}

static struct change *change_new(struct node *n, struct node_change *owner, enum change_kind kind,
                                 uint64_t id)
{
    struct change *c = (struct change *)(void *)owner->impl;
    *c = (struct change){.owner = owner, .node = n, .kind = kind, .id = id};
    list_init(&c->link);
    return c;
}

static void change_finish(struct change *c, int err)
{
    struct node_change *owner = c->owner;
    struct membership *m = &c->node->membership;
    list_remove(&c->link);
    if (m->active == c) {
        m->active = NULL;
    }
    if (m->transfer == c) {
        m->transfer = NULL;
    }
    mem_free(c->address);
    owner->cb(owner, err);
}

/* ---- one libraft call --------------------------------------------------------------------- */

static void change_called(struct raft_change *req, int status)
{
    struct change *c = req->data;
    c->called = true;
    c->status = status;
}

bool membership_in_flight(const struct node *n)
{
    const struct change *c = n->membership.active;
    return c != NULL && c->calling;
}

/* What libraft itself does not ask: a committed entry of our term, and a free slot (guard G4). */
static bool change_may_call(const struct node *n)
{
    return lead_ready(n) && n->raft.transfer == NULL &&
           n->raft.configuration_uncommitted_index == 0 && n->raft.leader_state.promotee_id == 0 &&
           node_in_flight(n) < BATCHES_IN_FLIGHT_MAX;
}

/* libraft says RAFT_OK to a learner that just joined; etcd wants 90 % of the leader's log first. */
static bool change_caught_up(const struct node *n, uint64_t id)
{
    unsigned i = configuration_index_of(&n->raft.configuration, id);
    const struct raft_progress *p = &n->raft.leader_state.progress[i];
    return p->recent_recv && p->state != PROGRESS_SNAPSHOT &&
           p->match_index >= memlog_last(&n->raft) / 10 * 9;
}

static int change_error(int rv)
{
    switch (rv) {
    case 0:
        return 0;
    case RAFT_DUPLICATEID:
        return ERR_MEMBER_EXIST;
    case RAFT_DUPLICATEADDRESS:
        return ERR_PEER_URL_EXIST;
    case RAFT_NOTFOUND:
    case RAFT_BADID:
        return ERR_MEMBER_NOT_FOUND;
    case RAFT_NOCONNECTION:
        return ERR_LEARNER_NOT_READY;
    case RAFT_NOTLEADER:
        return ERR_NOT_LEADER;
    case RAFT_CANTCHANGE:
        return ERR_BUSY;
    case RAFT_LEADERSHIPLOST:
    case RAFT_SHUTDOWN:
        return ERR_UNKNOWN_OUTCOME;
    default:
        return ERR_NOMEM;
    }
}

/* After a failed call (out of memory) libraft 0.15 may keep the request it was given. */
static void change_forget(struct node *n, struct change *c)
{
    if (node_is_leader(n) && n->raft.leader_state.change == &c->req) {
        n->raft.leader_state.change = NULL;
    }
}

/* Makes the next libraft call of an ADD. 1 = called, 0 = nothing left to do, else an error. */
static int change_call_add(struct node *n, struct change *c, int *rv)
{
    const struct raft_server *s = configuration_get(&n->raft.configuration, c->id);
    if (s == NULL) {
        *rv = raft_add(&n->raft, &c->req, c->id, c->address, change_called);
        return 1;
    }
    if (!c->begun && s->role != RAFT_SPARE) {
        *rv = RAFT_DUPLICATEID;
        return 1;
    }
    if (s->role == c->role) {
        return 0;
    }
    int next = s->role == RAFT_SPARE ? RAFT_STANDBY : c->role;
    *rv = raft_assign(&n->raft, &c->req, c->id, next, change_called);
    return 1;
}

/* 1 = libraft was called and *rv is what it said; 0 = finished; -1 = finished with *rv, an err. */
static int change_call(struct node *n, struct change *c, int *rv)
{
    const struct raft_server *s = configuration_get(&n->raft.configuration, c->id);
    if (c->kind == CHANGE_ADD) {
        return change_call_add(n, c, rv);
    }
    if (c->begun) {
        return 0;
    }
    if (s == NULL) {
        *rv = ERR_MEMBER_NOT_FOUND;
        return -1;
    }
    if (c->kind == CHANGE_REMOVE) {
        *rv = raft_remove(&n->raft, &c->req, c->id, change_called);
        return 1;
    }
    if (s->role == RAFT_VOTER) {
        *rv = ERR_MEMBER_NOT_LEARNER;
        return -1;
    }
    if (!change_caught_up(n, c->id)) {
        *rv = ERR_LEARNER_NOT_READY;
        return -1;
    }
    *rv = raft_assign(&n->raft, &c->req, c->id, RAFT_VOTER, change_called);
    return 1;
}

/* Takes the active change one call further. */
static void change_advance(struct node *n, struct change *c)
{
    int rv = 0;
    c->called = false;
    c->req.data = c;
    int state = change_call(n, c, &rv);
    if (state != 1) {
        change_finish(c, rv);
    } else if (rv != 0) {
        change_forget(n, c);
        change_finish(c, change_error(rv));
    } else {
        c->begun = true;
        c->calling = true;
        n->again = true;
    }
}

static void membership_step_active(struct node *n)
{
    struct membership *m = &n->membership;
    if (m->active == NULL && !list_empty(&m->waiting)) {
        m->active = LIST_ENTRY(list_pop_front(&m->waiting), struct change, link);
    }
    struct change *c = m->active;
    if (c == NULL) {
        return;
    }
    if (c->calling && !c->called) {
        return;
    }
    if (c->calling && c->status != 0) {
        change_finish(c, change_error(c->status));
    } else if (c->calling) {
        c->calling = false;
        n->again = true;
    } else if (!node_is_leader(n)) {
        /* The last call of a removal of ourselves succeeded before we stepped down. */
        bool done = c->begun && c->kind != CHANGE_ADD;
        change_finish(c, done ? 0 : c->begun ? ERR_UNKNOWN_OUTCOME : ERR_NOT_LEADER);
        n->again = true;
    } else if (c->begun && c->kind != CHANGE_ADD) {
        change_finish(c, 0);
        n->again = true;
    } else if (change_may_call(n)) {
        change_advance(n, c);
        n->again = true;
    }
}

/* ---- transfer ----------------------------------------------------------------------------- */

static void transfer_called(struct raft_transfer *req)
{
    struct change *c = req->data;
    c->called = true;
}

static void membership_step_transfer(struct node *n)
{
    struct change *c = n->membership.transfer;
    if (c == NULL) {
        return;
    }
    if (c->called) {
        raft_id leader = 0;
        const char *address;
        raft_leader(&n->raft, &leader, &address);
        change_finish(c, leader == c->transfer.id ? 0 : n->closing ? ERR_STOPPED : ERR_TIMEOUT);
    } else if (!c->calling && !node_is_leader(n)) {
        change_finish(c, ERR_NOT_LEADER);
    } else if (!c->calling && lead_ready(n)) {
        c->transfer.data = c;
        int rv = raft_transfer(&n->raft, &c->transfer, c->id, transfer_called);
        n->again = true;
        if (rv == 0) {
            c->calling = true;
        } else {
            change_finish(c, rv == RAFT_NOTFOUND ? ERR_UNHEALTHY : ERR_BAD_LEADER_TRANSFEREE);
        }
    }
}

void membership_step(struct node *n)
{
    membership_step_transfer(n);
    membership_step_active(n);
}

void membership_stop(struct node *n)
{
    struct membership *m = &n->membership;
    while (!list_empty(&m->waiting)) {
        change_finish(LIST_ENTRY(m->waiting.next, struct change, link), ERR_STOPPED);
    }
    if (m->active != NULL && !m->active->calling) {
        change_finish(m->active, m->active->begun ? ERR_UNKNOWN_OUTCOME : ERR_STOPPED);
    }
    if (m->transfer != NULL && !m->transfer->calling) {
        change_finish(m->transfer, ERR_STOPPED);
    }
}

void membership_abandon(struct membership *m, void (*cb)(struct node_change *c, int err))
{
    LIST_FOREACH (link, &m->waiting) {
        LIST_ENTRY(link, struct change, link)->owner->cb = cb;
    }
    if (m->active != NULL) {
        m->active->owner->cb = cb;
    }
    if (m->transfer != NULL) {
        m->transfer->owner->cb = cb;
    }
    while (!list_empty(&m->waiting)) {
        change_finish(LIST_ENTRY(m->waiting.next, struct change, link), ERR_STOPPED);
    }
}

/* ---- calls from outside ------------------------------------------------------------------- */

static void membership_submit(struct node *n, struct change *c)
{
    if (n->closing || !node_is_leader(n)) {
        change_finish(c, n->closing ? ERR_STOPPED : ERR_NOT_LEADER);
        return;
    }
    list_push_back(&n->membership.waiting, &c->link);
    node_settle(n);
}

void node_add(struct node *n, struct node_change *owner, const struct node_member *member)
{
    struct change *c = change_new(n, owner, CHANGE_ADD, member->id);
    c->role = member->kind == NODE_VOTER     ? RAFT_VOTER
              : member->kind == NODE_LEARNER ? RAFT_STANDBY
                                             : RAFT_SPARE;
    size_t len = strlen(member->address);
    bool full = n->raft.configuration.n >= MEMBERS_MAX &&
                configuration_get(&n->raft.configuration, member->id) == NULL;
    if (member->id == 0 || len > MEMBER_ADDRESS_BYTES_MAX) {
        change_finish(c, ERR_INVALID);
        return;
    }
    c->address = mem_strdup(member->address);
    if (c->address == NULL || full) {
        change_finish(c, full ? ERR_TOO_MANY_LEARNERS : ERR_NOMEM);
        return;
    }
    membership_submit(n, c);
}

void node_promote(struct node *n, struct node_change *owner, uint64_t id)
{
    membership_submit(n, change_new(n, owner, CHANGE_PROMOTE, id));
}

void node_remove(struct node *n, struct node_change *owner, uint64_t id)
{
    membership_submit(n, change_new(n, owner, CHANGE_REMOVE, id));
}

void node_transfer(struct node *n, struct node_change *owner, uint64_t to)
{
    struct change *c = change_new(n, owner, CHANGE_TRANSFER, to);
    if (n->membership.transfer != NULL || n->closing) {
        change_finish(c, n->closing ? ERR_STOPPED : ERR_BUSY);
        return;
    }
    n->membership.transfer = c;
    node_settle(n);
}

/* ---- configuration rollback --------------------------------------------------------------- */

/* The first entry of this AppendEntries that contradicts ours, 0 = none: what libraft will find. */
static uint64_t append_conflict(const struct node *n, const struct raft_append_entries *args)
{
    for (unsigned i = 0; i < args->n_entries; i++) {
        uint64_t index = args->prev_log_index + 1 + i;
        uint64_t ours = memlog_term(&n->raft, index);
        if (ours == 0) {
            return 0;
        }
        if (ours != args->entries[i].term) {
            return index;
        }
    }
    return 0;
}

/* The configuration in force below `index`: that of the newest configuration entry still in the log
 * above the committed one, else the committed one. */
static struct slice configuration_below(const struct node *n, uint64_t index, uint64_t *at)
{
    for (uint64_t i = index - 1; i > n->committed_index; i--) {
        const struct raft_entry *e = memlog_get(&n->raft, i);
        if (e == NULL) {
            break;
        }
        if (e->type == RAFT_CHANGE) {
            *at = i;
            return slice_of(e->buf.base, e->buf.len);
        }
    }
    *at = 0;
    return buf_slice(&n->committed);
}

/* libraft 0.15 rolls an overwritten configuration back by reading the committed one from its log,
 * where it may have been compacted (SIGSEGV), and passes over an intermediate one. So do it first:
 * with configuration_uncommitted_index below the conflict, libraft leaves the configuration alone.
 */
void membership_prepare_append(struct node *n, const struct raft_append_entries *args)
{
    struct raft *r = &n->raft;
    if (r->configuration_uncommitted_index == 0 || args->term < r->current_term ||
        (args->prev_log_index != 0 &&
         memlog_term(r, args->prev_log_index) != args->prev_log_term)) {
        return;
    }
    uint64_t conflict = append_conflict(n, args);
    if (conflict == 0 || conflict > r->configuration_uncommitted_index ||
        conflict <= r->commit_index) {
        return;
    }
    struct raft_configuration c;
    uint64_t at;
    int err = configuration_decode(configuration_below(n, conflict, &at), &c);
    FATAL_IF(err != 0, "the committed configuration does not decode");
    LOG(LOG_INFO, "an uncommitted configuration was overwritten by a new leader; rolled back",
        F_UINT("index", r->configuration_uncommitted_index), F_UINT("members", c.n));
    raft_configuration_close(&r->configuration);
    r->configuration = c;
    r->configuration_uncommitted_index = at;
}
