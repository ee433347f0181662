/* io.c - struct raft_io over log, term file and transport, with the guards that live below libraft.
 */
#include "raft/io.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/log.h"
#include "raft/boot.h"
#include "raft/configuration.h"
#include "raft/memlog.h"
#include "raft/node_impl.h"

/* One append of libraft's. The entries' payloads stay libraft's until its callback ran. */
struct io_append {
    struct log_append log;
    struct list link; /* n->pending */
    struct node *node;
    struct raft_io_append *req; /* NULL once confirmed early (a planted bug) */
    uint64_t ack_limit;         /* G2: how far a result caused by this append may go */
    struct log_entry entries[];
};

static struct node *io_node(const struct raft_io *io)
{
    return io->impl;
}

bool io_pending(const struct node *n)
{
    return n->appends > 0 || log_pending(n->log) || snapshot_blocking(n);
}

/* ---- disk --------------------------------------------------------------------------------- */

static void io_confirm(struct io_append *a)
{
    struct node *n = a->node;
    struct raft_io_append *req = a->req;
    a->req = NULL;
    n->appends--;
    n->acking = true;
    n->ack_limit = a->ack_limit;
    n->again = true;
    req->cb(req, 0);
    n->acking = false;
}

/* Confirms everything pending, in order. */
static void io_confirm_all(struct node *n)
{
    LIST_FOREACH (link, &n->pending) {
        struct io_append *a = LIST_ENTRY(link, struct io_append, link);
        if (a->req != NULL) {
            io_confirm(a);
        }
    }
}

static void io_appended(struct log_append *log)
{
    struct io_append *a = LIST_ENTRY(log, struct io_append, log);
    struct node *n = a->node;
    list_remove(&a->link);
    if (a->req != NULL) {
        io_confirm(a);
    }
    mem_free(a);
    node_settle(n);
}

#ifdef KVD_DEBUG
/* The planted bug answers before the write ends, after which libraft may free the payloads. */
static void io_copy_payloads(struct io_append *a, unsigned n, uint8_t *space)
{
    for (unsigned i = 0; i < n; i++) {
        size_t len = a->entries[i].payload.len;
        if (len > 0) {
            memcpy(space, a->entries[i].payload.data, len);
        }
        a->entries[i].payload.data = space;
        space += len;
    }
}
#endif

/* libraft fills neither a configuration's padding nor a barrier's eight bytes: they hold what the
 * heap held before. Entries pass here before they leave for the disk or for a member. */
static void io_clear_heap(const struct raft_entry *e)
{
    if (e->type == RAFT_CHANGE) {
        configuration_clear_padding(e->buf.base, e->buf.len);
    } else if (e->type == RAFT_BARRIER && e->buf.len > 0) {
        memset(e->buf.base, 0, e->buf.len);
    }
}

static int io_append(struct raft_io *io, struct raft_io_append *req,
                     const struct raft_entry entries[], unsigned count, raft_io_append_cb cb)
{
    struct node *n = io_node(io);
    uint64_t first = log_last_index(n->log) + 1;
    /* libraft appends to its memory before it appends to the disk, always at both ends. */
    FATAL_IF(!n->broken && first + count - 1 != memlog_last(&n->raft),
             "the log in memory and the log on disk are out of step");
    size_t payloads = 0;
    if (NODE_BUG(NODE_BUG_EARLY_ACK)) {
        for (unsigned i = 0; i < count; i++) {
            payloads += entries[i].buf.len;
        }
    }
    size_t head = sizeof(struct io_append) + count * sizeof(struct log_entry);
    struct io_append *a = mem_alloc(head + payloads);
    if (a == NULL) {
        return RAFT_NOMEM;
    }
    *a = (struct io_append){.log.data = a,
                            .log.cb = io_appended,
                            .node = n,
                            .req = req,
                            .ack_limit = n->acking ? n->ack_limit : UINT64_MAX};
    list_push_back(&n->pending, &a->link);
    req->cb = cb;
    for (unsigned i = 0; i < count; i++) {
        io_clear_heap(&entries[i]);
        a->entries[i] =
            (struct log_entry){.index = first + i,
                               .term = entries[i].term,
                               .type = entries[i].type,
                               .payload = slice_of(entries[i].buf.base, entries[i].buf.len)};
    }
    n->appends++;
    snapshot_count(n, entries, count);
#ifdef KVD_DEBUG
    if (NODE_BUG(NODE_BUG_EARLY_ACK)) {
        io_copy_payloads(a, count, (uint8_t *)a + head);
        n->again = true;
    }
#endif
    if (!n->broken) { /* else: never written, never confirmed; io_close frees it */
        log_append(n->log, &a->log, a->entries, count);
    }
    return 0;
}

static int io_truncate(struct raft_io *io, raft_index index)
{
    if (!io_node(io)->broken) {
        log_truncate(io_node(io)->log, index);
    }
    return 0;
}

/* A failure is not told to libraft 0.15, which would free a wild pointer on its way out of a
 * candidacy. Nothing leaves this member from here on, and the next settle ends it. */
static int io_set_state(struct node *n, uint64_t term, uint64_t vote)
{
    int err = n->broken ? 0 : term_file_set(n->terms, term, vote);
    if (err != 0) {
        LOG(LOG_ERROR, "cannot store raft term and vote; check the data directory's disk",
            F_UINT("term", term), F_STR("error", err_text(err)));
        n->broken = true;
        n->again = true;
    }
    return 0;
}

static int io_set_term(struct raft_io *io, raft_term term)
{
    return io_set_state(io_node(io), term, 0);
}

static int io_set_vote(struct raft_io *io, raft_id id)
{
    struct node *n = io_node(io);
    return io_set_state(n, term_file_term(n->terms), id);
}

/* ---- network ------------------------------------------------------------------------------ */

/* Best hint for a leader whose previous entry we lack: our last entry it could share. Everything we
 * know committed is shared for sure. Without it libraft walks back one index per round. */
static uint64_t io_hint(const struct node *n, uint64_t rejected, uint64_t last)
{
    uint64_t hint = last < rejected ? last : rejected - 1;
    while (hint > n->raft.commit_index && memlog_term(&n->raft, hint) > n->ack_term) {
        hint--;
    }
    return hint;
}

static void io_send_result(struct node *n, const struct raft_message *m)
{
    const struct raft_append_entries_result *r = &m->append_entries_result;
    uint64_t last = r->last_log_index;
    if (r->rejected != 0) {
        last = n->acking ? io_hint(n, r->rejected, last) : last;
    } else if (n->acking && last > n->ack_limit && !NODE_BUG(NODE_BUG_NO_CLAMP)) {
        /* G2: the tail behind what this AppendEntries checked may differ from the leader's. */
        last = n->ack_limit;
    }
    struct frame f = {.type = FRAME_APPEND_RESULT,
                      .flags = snapshot_installing(n) ? FRAME_INSTALLING : 0,
                      .term = r->term,
                      .a = r->rejected,
                      .b = last};
    node_send_frame(n, m->server_id, &f);
}

/* Sends entries [*at, ...) as one frame of about APPEND_FRAME_BYTES. */
static void io_send_entries(struct node *n, const struct raft_message *m, unsigned *at)
{
    const struct raft_append_entries *ae = &m->append_entries;
    unsigned first = *at;
    size_t bytes = 0;
    do {
        bytes += frame_entry_size(&ae->entries[*at]);
        (*at)++;
    } while (*at < ae->n_entries &&
             bytes + frame_entry_size(&ae->entries[*at]) <= APPEND_FRAME_BYTES);
    struct frame f = {.type = FRAME_APPEND,
                      .term = ae->term,
                      .a = ae->prev_log_index + first,
                      .b = first == 0 ? ae->prev_log_term : ae->entries[first - 1].term,
                      .n = *at - first};
    uint64_t end = f.a + f.n;
    f.c = ae->leader_commit < end ? ae->leader_commit : end;
    buf_clear(&n->out);
    buf_reserve(&n->out, FRAME_HEADER_BYTES + bytes);
    frame_put(&n->out, &f);
    for (unsigned i = first; i < *at; i++) {
        frame_put_entry(&n->out, &ae->entries[i]);
    }
    struct node_peer *peer = node_peer(n, m->server_id);
    if (peer != NULL && f.c > peer->commit_sent) {
        peer->commit_sent = f.c;
    }
    node_send(n, m->server_id, node_address(n, m->server_id));
}

static void io_send_append(struct node *n, const struct raft_message *m)
{
    const struct raft_append_entries *ae = &m->append_entries;
    struct node_transport *t = n->options.transport;
    struct node_peer *peer = node_peer(n, m->server_id);
    if (ae->n_entries == 0) {
        struct frame f = {.type = FRAME_APPEND,
                          .term = ae->term,
                          .a = ae->prev_log_index,
                          .b = ae->prev_log_term,
                          .c = ae->leader_commit < ae->prev_log_index ? ae->leader_commit
                                                                      : ae->prev_log_index};
        if (peer != NULL && f.c > peer->commit_sent) {
            peer->commit_sent = f.c;
        }
        node_send_frame(n, m->server_id, &f);
        return;
    }
    struct raft_progress *progress = node_progress(n, m->server_id);
    bool pipeline = progress != NULL && progress->state == PROGRESS_PIPELINE;
    unsigned at = 0;
    while (at < ae->n_entries && t->queued(t, m->server_id) <= PEER_QUEUE_BYTES_MAX) {
        io_send_entries(n, m, &at);
        if (!pipeline) {
            break; /* one frame is enough to find out where the follower stands */
        }
    }
    /* libraft believes that all was sent; lead_step moves its next index back to here. */
    if (pipeline && at < ae->n_entries && peer != NULL) {
        peer->rewind = ae->prev_log_index + 1 + at;
    }
}

static void io_send_vote(struct node *n, const struct raft_message *m)
{
    const struct raft_request_vote *v = &m->request_vote;
    struct frame f = {.type = FRAME_VOTE,
                      .flags = (uint16_t)((v->pre_vote ? FRAME_PRE_VOTE : 0) |
                                          (v->disrupt_leader ? FRAME_DISRUPT : 0)),
                      .term = v->term,
                      .a = v->last_log_index,
                      .b = v->last_log_term,
                      .c = v->candidate_id};
    node_send_frame(n, m->server_id, &f);
}

static void io_send_vote_result(struct node *n, const struct raft_message *m)
{
    const struct raft_request_vote_result *v = &m->request_vote_result;
    uint64_t term = v->term;
    /* libraft 0.15 answers a pre-vote in the asker's own term. One whose log is ahead but whose
     * term is behind would never learn why it is refused, nor could we ever win against its log. */
    if (v->pre_vote == raft_tribool_true && !v->vote_granted && n->raft.current_term > term) {
        term = n->raft.current_term;
    }
    struct frame f = {.type = FRAME_VOTE_RESULT,
                      .flags = (uint16_t)((v->pre_vote == raft_tribool_true ? FRAME_PRE_VOTE : 0) |
                                          (v->vote_granted ? FRAME_GRANTED : 0)),
                      .term = term};
    node_send_frame(n, m->server_id, &f);
}

static void io_send_install(struct node *n, const struct raft_message *m)
{
    struct frame f = {.type = FRAME_INSTALL,
                      .term = m->install_snapshot.term,
                      .a = m->install_snapshot.last_index,
                      .b = m->install_snapshot.last_term,
                      .n = (uint32_t)strlen(n->address),
                      .body = slice_str(n->address)};
    node_send_frame(n, m->server_id, &f);
}

static void io_send_timeout_now(struct node *n, const struct raft_message *m)
{
    struct frame f = {.type = FRAME_TIMEOUT_NOW,
                      .term = m->timeout_now.term,
                      .a = m->timeout_now.last_log_index,
                      .b = m->timeout_now.last_log_term};
    node_send_frame(n, m->server_id, &f);
}

static void io_defer(struct node *n, struct raft_io_send *req)
{
    if (n->sends_n == n->sends_cap) {
        n->sends_cap = n->sends_cap == 0 ? 64 : 2 * n->sends_cap;
        n->sends = mem_xrealloc(n->sends, n->sends_cap * sizeof(struct raft_io_send *));
    }
    n->sends[n->sends_n++] = req;
}

/* Always 0: libraft 0.15 frees twice when a send fails. The message is encoded before this returns;
 * its callback waits for the next settle. TIMEOUT_NOW comes without callback and its request may
 * die with the transfer, so it is never looked at again. */
static int io_send(struct raft_io *io, struct raft_io_send *req, const struct raft_message *m,
                   raft_io_send_cb cb)
{
    struct node *n = io_node(io);
    switch (m->type) {
    case RAFT_IO_APPEND_ENTRIES:
        io_send_append(n, m);
        break;
    case RAFT_IO_APPEND_ENTRIES_RESULT:
        io_send_result(n, m);
        break;
    case RAFT_IO_REQUEST_VOTE:
        io_send_vote(n, m);
        break;
    case RAFT_IO_REQUEST_VOTE_RESULT:
        io_send_vote_result(n, m);
        break;
    case RAFT_IO_INSTALL_SNAPSHOT:
        io_send_install(n, m);
        break;
    case RAFT_IO_TIMEOUT_NOW:
        io_send_timeout_now(n, m);
        break;
    }
    if (cb != NULL) {
        req->cb = cb;
        io_defer(n, req);
    }
    return 0;
}

void io_complete(struct node *n)
{
    for (size_t i = 0; i < n->sends_n; i++) {
        n->sends[i]->cb(n->sends[i], 0);
    }
    n->sends_n = 0;
#ifdef KVD_DEBUG
    if (NODE_BUG(NODE_BUG_EARLY_ACK)) {
        io_confirm_all(n);
    }
#endif
}

/* ---- the rest ----------------------------------------------------------------------------- */

static int io_init_hook(struct raft_io *io, raft_id id, const char *address)
{
    return 0;
}

/* node_close waits for the disk first, so that nothing is left here. After a simulated death
 * (node_abandon) libraft's requests are ended for the sake of their memory; it is UNAVAILABLE by
 * now and draws no conclusions. */
static void io_close(struct raft_io *io, raft_io_close_cb cb)
{
    struct node *n = io_node(io);
    io_confirm_all(n);
    struct list *link;
    while ((link = list_pop_front(&n->pending)) != NULL) {
        mem_free(LIST_ENTRY(link, struct io_append, link));
    }
    cb(io);
}

static int io_start(struct raft_io *io, unsigned ms, raft_io_tick_cb tick, raft_io_recv_cb recv)
{
    io_node(io)->tick = tick;
    io_node(io)->recv = recv;
    return 0;
}

static int io_load(struct raft_io *io, raft_term *term, raft_id *voted_for,
                   struct raft_snapshot **snapshot, raft_index *start_index,
                   struct raft_entry *entries[], size_t *n_entries)
{
    return boot_load(io_node(io), term, voted_for, snapshot, start_index, entries, n_entries);
}

/* node_bootstrap does this without libraft; recovery from a lost majority is another issue's. */
static int io_configure(struct raft_io *io, const struct raft_configuration *c)
{
    return RAFT_CANTBOOTSTRAP;
}

static int io_snapshot_put(struct raft_io *io, unsigned trailing, struct raft_io_snapshot_put *req,
                           const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb)
{
    req->cb = cb;
    return snapshot_put(io_node(io), req, snapshot);
}

static int io_snapshot_get(struct raft_io *io, struct raft_io_snapshot_get *req,
                           raft_io_snapshot_get_cb cb)
{
    req->cb = cb;
    return snapshot_get(io_node(io), req);
}

static raft_time io_time(struct raft_io *io)
{
    return node_now(io_node(io));
}

static int io_random(struct raft_io *io, int min, int max)
{
    return min + (int)rand_below(io_node(io)->options.rand, (uint64_t)(max - min) + 1);
}

/* Committed entries are handed out by node_settle, which reads libraft's log: this way barriers and
 * configurations, which libraft doesn't show to the state machine, come in order too. */
static int fsm_apply(struct raft_fsm *fsm, const struct raft_buffer *buf, void **result)
{
    *result = NULL;
    return 0;
}

static int fsm_snapshot(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n_bufs)
{
    return snapshot_take(fsm->data, bufs, n_bufs);
}

/* Only ever called for the stub of boot_load: the store is already there. */
static int fsm_restore(struct raft_fsm *fsm, struct raft_buffer *buf)
{
    raft_free(buf->base);
    return 0;
}

void io_init(struct node *n)
{
    n->io = (struct raft_io){.version = 1,
                             .impl = n,
                             .init = io_init_hook,
                             .close = io_close,
                             .load = io_load,
                             .start = io_start,
                             .bootstrap = io_configure,
                             .recover = io_configure,
                             .set_term = io_set_term,
                             .set_vote = io_set_vote,
                             .send = io_send,
                             .append = io_append,
                             .truncate = io_truncate,
                             .snapshot_put = io_snapshot_put,
                             .snapshot_get = io_snapshot_get,
                             .time = io_time,
                             .random = io_random};
    n->fsm = (struct raft_fsm){.version = 1,
                               .data = n,
                               .apply = fsm_apply,
                               .snapshot = fsm_snapshot,
                               .restore = fsm_restore};
}
