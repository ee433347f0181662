/* snapshot.c - trimming libraft's log, and installing the leader's store on a follower. */
#include "raft/snapshot.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/log.h"
#include "raft/configuration.h"
#include "raft/memlog.h"
#include "raft/node_impl.h"

/* What libraft spends on an entry besides its payload: the entry, its reference count, malloc. */
#define ENTRY_OVERHEAD_BYTES 100u

void snapshot_init(struct snapshot *s)
{
    *s = (struct snapshot){0};
    buf_init(&s->configuration);
}

bool snapshot_blocking(const struct node *n)
{
    return n->snapshot.state == INSTALL_STORE || n->snapshot.state == INSTALL_RESET;
}

bool snapshot_installing(const struct node *n)
{
    return n->snapshot.state != INSTALL_IDLE;
}

/* ---- taking stubs ------------------------------------------------------------------------- */

void snapshot_count(struct node *n, const struct raft_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        n->snapshot.bytes += entries[i].buf.len + ENTRY_OVERHEAD_BYTES;
    }
}

/* Nobody could ever need our old entries. */
static bool snapshot_solo(const struct node *n)
{
    return n->raft.configuration.n <= 1;
}

/* The first entry to keep when everything up to `upto` is in the checkpoint: the trailing part
 * serves followers that are a little behind. */
static uint64_t snapshot_floor(const struct node *n, uint64_t upto)
{
    if (snapshot_solo(n)) {
        return upto + 1;
    }
    uint64_t bytes = 0;
    uint64_t first = upto + 1;
    while (upto + 1 - first < n->options.trailing_entries) {
        const struct raft_entry *e = memlog_get(&n->raft, first - 1);
        if (e == NULL) {
            break;
        }
        bytes += e->buf.len + ENTRY_OVERHEAD_BYTES;
        if (bytes > n->options.trailing_bytes) {
            break;
        }
        first--;
    }
    return first;
}

/* The disk log may go where both the checkpoint and the trailing part allow. */
static void snapshot_cut_log(struct node *n)
{
    log_cut(n->log, snapshot_floor(n, n->snapshot.durable) - 1);
}

void node_durable(struct node *n, uint64_t applied_index)
{
    if (applied_index > n->handed) {
        applied_index = n->handed;
    }
    if (applied_index <= n->snapshot.durable || n->closing || !n->running) {
        return;
    }
    n->snapshot.durable = applied_index;
    snapshot_cut_log(n);
    node_settle(n);
}

/* libraft asks after applying, once its threshold is reached; the answer must be "busy" while a
 * configuration is uncommitted, because libraft would store it as committed. */
int snapshot_take(struct node *n, struct raft_buffer **bufs, unsigned *bufs_n)
{
    if (n->raft.configuration_uncommitted_index != 0 || snapshot_installing(n)) {
        return RAFT_BUSY;
    }
    *bufs = raft_malloc(sizeof(**bufs));
    void *stub = raft_calloc(1, 8);
    if (*bufs == NULL || stub == NULL) {
        raft_free(*bufs);
        raft_free(stub);
        return RAFT_BUSY;
    }
    **bufs = (struct raft_buffer){.base = stub, .len = 8};
    *bufs_n = 1;
    return 0;
}

int snapshot_put(struct node *n, struct raft_io_snapshot_put *req,
                 const struct raft_snapshot *snapshot)
{
    n->snapshot.put = req;
    n->snapshot.put_index = snapshot->index;
    return 0;
}

int snapshot_get(struct node *n, struct raft_io_snapshot_get *req)
{
    struct snapshot *s = &n->snapshot;
    if (s->gets_n == MEMBERS_MAX) {
        return RAFT_BUSY;
    }
    s->gets[s->gets_n++] = req;
    n->again = true;
    return 0;
}

static void snapshot_recount(struct node *n)
{
    n->snapshot.bytes = 0;
    for (uint64_t i = memlog_first(&n->raft); i <= memlog_last(&n->raft); i++) {
        snapshot_count(n, memlog_get(&n->raft, i), 1);
    }
}

static void snapshot_finish_put(struct node *n)
{
    struct snapshot *s = &n->snapshot;
    struct raft_io_snapshot_put *req = s->put;
    s->put = NULL;
    uint64_t keep = s->put_index + 1 - snapshot_floor(n, s->put_index);
    raft_set_snapshot_trailing(&n->raft, (unsigned)keep);
    n->again = true;
    req->cb(req, 0);
    snapshot_recount(n);
    snapshot_cut_log(n);
}

void snapshot_cancel(struct node *n)
{
    struct snapshot *s = &n->snapshot;
    struct raft_io_snapshot_put *put = s->put;
    s->put = NULL;
    if (put != NULL) {
        put->cb(put, RAFT_CANCELED);
    }
    while (s->gets_n > 0) {
        struct raft_io_snapshot_get *get = s->gets[--s->gets_n];
        get->cb(get, NULL, RAFT_CANCELED);
    }
}

static struct raft_snapshot *snapshot_stub(struct node *n)
{
    struct raft_snapshot *s = raft_calloc(1, sizeof(*s));
    struct raft_buffer *buf = raft_malloc(sizeof(*buf));
    void *stub = raft_calloc(1, 8);
    if (s == NULL || buf == NULL || stub == NULL ||
        configuration_decode(buf_slice(&n->committed), &s->configuration) != 0) {
        raft_free(s);
        raft_free(buf);
        raft_free(stub);
        return NULL;
    }
    *buf = (struct raft_buffer){.base = stub, .len = 8};
    s->index = n->raft.log.snapshot.last_index;
    s->term = n->raft.log.snapshot.last_term;
    s->configuration_index = n->committed_index;
    s->bufs = buf;
    s->n_bufs = 1;
    return s;
}

static void snapshot_answer_gets(struct node *n)
{
    struct snapshot *s = &n->snapshot;
    while (s->gets_n > 0) {
        struct raft_io_snapshot_get *get = s->gets[--s->gets_n];
        struct raft_snapshot *stub = snapshot_stub(n);
        n->again = true;
        get->cb(get, stub, stub == NULL ? RAFT_NOMEM : 0);
    }
}

/* libraft only counts entries; its threshold is our switch. */
static void snapshot_decide(struct node *n)
{
    const struct snapshot *s = &n->snapshot;
    uint64_t limit = snapshot_solo(n) ? RAFT_SOLO_LOG_BYTES : n->options.trailing_bytes / 2 * 3;
    uint64_t since = n->raft.last_applied - n->raft.log.snapshot.last_index;
    bool want = s->put == NULL && (since >= n->options.snapshot_entries || s->bytes > limit);
    raft_set_snapshot_threshold(&n->raft, want ? 1 : UINT32_MAX);
}

/* ---- installing --------------------------------------------------------------------------- */

static void snapshot_acknowledge(struct node *n, uint64_t leader, uint64_t index)
{
    struct frame f = {.type = FRAME_APPEND_RESULT, .term = n->raft.current_term, .b = index};
    node_send_frame(n, leader, &f);
}

void snapshot_offered(struct node *n, uint64_t from, const struct frame *f)
{
    struct snapshot *s = &n->snapshot;
    const struct raft *r = &n->raft;
    if (f->term != r->current_term || s->state != INSTALL_IDLE || r->state == RAFT_LEADER) {
        return; /* stale, or a repetition; a new term's leader is heard of by its heartbeats first
                 */
    }
    if (f->a <= r->commit_index || (f->a <= r->last_stored && memlog_term(r, f->a) == f->b)) {
        snapshot_acknowledge(n, from, f->a);
        return;
    }
    s->state = INSTALL_FETCHING;
    s->leader = from;
    s->wanted = f->a;
    char address[MEMBER_ADDRESS_BYTES_MAX + 1] = "";
    if (f->body.len > 0) {
        memcpy(address, f->body.data, f->body.len);
    }
    LOG(LOG_INFO, "too far behind the leader's log; fetching its store", F_HEX("leader", from),
        F_UINT("index", f->a), F_UINT("applied", r->last_applied));
    n->options.callbacks.snapshot_fetch(n->options.callbacks.data, from, address, f->a);
}

void node_snapshot_failed(struct node *n)
{
    /* Results stop saying "installing": the leader offers again after a while. */
    if (n->snapshot.state == INSTALL_FETCHING || n->snapshot.state == INSTALL_READY) {
        n->snapshot.state = INSTALL_IDLE;
    }
}

void node_snapshot_ready(struct node *n, uint64_t index, uint64_t term,
                         uint64_t configuration_index, struct slice configuration)
{
    struct snapshot *s = &n->snapshot;
    struct raft_configuration c;
    if (s->state != INSTALL_FETCHING) {
        return;
    }
    buf_clear(&s->configuration);
    bool sane =
        index >= s->wanted && index < FRAME_NUMBER_MAX && term > 0 && term < FRAME_NUMBER_MAX;
    if (!sane || configuration_decode(configuration, &c) != 0 ||
        !buf_append_slice(&s->configuration, configuration)) {
        LOG(LOG_WARN, "the fetched store is not what the leader offered; waiting for another offer",
            F_UINT("index", index), F_UINT("wanted", s->wanted));
        node_snapshot_failed(n);
        return;
    }
    raft_configuration_close(&c);
    s->index = index;
    s->term = term;
    s->configuration_index = configuration_index;
    s->state = INSTALL_READY;
    node_settle(n);
}

static void snapshot_begin_install(struct node *n)
{
    struct snapshot *s = &n->snapshot;
    if (n->appends > 0 || log_pending(n->log)) {
        return;
    }
    if (n->raft.state == RAFT_LEADER || s->index <= n->raft.last_applied) {
        s->state = INSTALL_IDLE; /* the log brought us here meanwhile */
        return;
    }
    s->state = INSTALL_STORE;
    n->options.callbacks.snapshot_install(n->options.callbacks.data);
}

/* Store and log now agree on the copy: start over from them, as after a restart. */
static void snapshot_restart(struct node *n)
{
    struct snapshot *s = &n->snapshot;
    struct errmsg e = {""};
    s->state = INSTALL_IDLE;
    node_core_stop(n);
    node_set_committed(n, s->configuration_index, buf_slice(&s->configuration));
    n->options.applied_index = s->index;
    n->options.applied_term = s->term;
    n->handed = s->index;
    s->durable = s->index;
    s->bytes = 0;
    n->boot.entries = NULL;
    n->boot.n = 0;
    n->boot.first = s->index + 1;
    if (node_core_start(n, &e) != 0) {
        LOG(LOG_ERROR, "cannot start raft on the installed store", F_STR("error", e.text));
        node_fail(n, "cannot start raft on the installed store");
        return;
    }
    LOG(LOG_INFO, "installed the leader's store", F_UINT("index", s->index),
        F_UINT("term", s->term));
    snapshot_acknowledge(n, s->leader, s->index);
}

static void snapshot_reset_done(struct log_append *req)
{
    struct node *n = req->data;
    if (n->closing || n->failed) {
        n->snapshot.state = INSTALL_IDLE;
    } else {
        snapshot_restart(n);
    }
    node_settle(n);
}

void node_snapshot_installed(struct node *n)
{
    struct snapshot *s = &n->snapshot;
    if (s->state != INSTALL_STORE) {
        return;
    }
    /* The copy may be of a newer term than the offer; a committed entry of it is reason enough to
     * enter that term, and the log must not hold a later one than the term file. */
    if (s->term > term_file_term(n->terms) && term_file_set(n->terms, s->term, 0) != 0) {
        node_fail(n, "cannot store the term of the installed store");
        return;
    }
    s->state = INSTALL_RESET;
    s->reset = (struct log_append){.data = n, .cb = snapshot_reset_done};
    log_reset(n->log, &s->reset, s->index, s->term);
}

bool snapshot_check_result(struct node *n, struct raft_progress *progress, const struct frame *f,
                           struct raft_append_entries_result *result)
{
    if (progress->state != PROGRESS_SNAPSHOT) {
        return true;
    }
    if (f->flags & FRAME_INSTALLING) {
        progress->recent_recv = true;
        return false;
    }
    /* It restarted, failed to fetch, or never saw the offer: libraft would wait for the whole
     * install timeout. A rejection of the snapshot's own index makes it probe again. */
    if (node_now(n) - progress->snapshot_last_send >= 2 * (uint64_t)n->options.election_ms) {
        result->rejected = progress->snapshot_index;
    }
    return true;
}

void snapshot_step(struct node *n)
{
    struct snapshot *s = &n->snapshot;
    /* Followers are offered the stub's index and must then find it in our checkpoint. With nobody
     * to offer it to, libraft's memory needn't wait for that; the disk log always does. */
    if (s->put != NULL && (s->durable >= s->put_index || snapshot_solo(n))) {
        snapshot_finish_put(n);
    }
    snapshot_answer_gets(n);
    if (n->running) {
        snapshot_decide(n);
    }
    if (s->state == INSTALL_READY && n->running && !n->closing) {
        snapshot_begin_install(n);
    }
}
