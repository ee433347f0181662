/* reads.c - ranges, read-only transactions and confirmations.
 *
 * While this member decides alone (a cluster of one), a read is answered at once from what is
 * applied: every acknowledgement was given here, after the write was applied. Otherwise:
 *
 * Happy path of a linearizable read: it joins the round of this loop turn (its request is copied
 * into the round's buffer); flush sends one confirmation for the whole round; the answer brings an
 * index; when that is applied the round's reads move to `running`, where they get slices in turn. A
 * point read takes one slice. A small result is answered whole; a large one is handed out as a
 * producer that encodes under the client's flow control (struct read_export) and keeps its view
 * open meanwhile. Failure: no leader - the question is repeated until the request timeout;
 * leadership lost while waiting - LEADER_CHANGED; a client that stops taking a large answer loses
 * it after READ_STALL_MS_MAX, because an open view pins memory and disk. */
#include "base/alloc.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "kvd/node_metrics.h"
#include "kvd/serve_impl.h"

#define READS_TICK_MS 250u

static void reads_on_tick(struct rpc_timer *t);

static struct service_read *read_request(struct read *x)
{
    return (struct service_read *)(void *)((char *)x - offsetof(struct service_read, impl));
}

void reads_init(struct serve *s)
{
    struct reads *r = &s->reads;
    list_init(&r->rounds);
    list_init(&r->running);
    list_init(&r->streams);
    list_init(&r->paused);
    list_init(&r->exports);
    r->next_ticket = 1;
    r->tick.fire = reads_on_tick;
    buf_init(&r->scratch);
}

/* ---- rounds ------------------------------------------------------------------------------------
 */

void reads_arm(struct serve *s)
{
    if (!rpc_timer_is_set(&s->reads.tick)) {
        timers_set(&s->timers, &s->reads.tick, serve_now(s) + READS_TICK_MS);
    }
}

/* The barrier of the own term is applied, and nobody else can have acknowledged anything since. */
static bool reads_alone(struct serve *s)
{
    return s->primary && s->o.raft->alone(s->o.raft);
}

/* A read made inside a turn (by the callback of a write that is being applied) waits for its end.
 */
bool reads_at_once(struct serve *s)
{
    return !s->turning && reads_alone(s);
}

struct read_round *reads_round(struct serve *s)
{
    struct reads *r = &s->reads;
    if (r->open != NULL) {
        return r->open;
    }
    struct read_round *round = r->spare;
    r->spare = NULL;
    if (round == NULL) {
        round = mem_zalloc(sizeof(*round));
        if (round == NULL) {
            return NULL;
        }
        buf_init(&round->bytes);
    }
    list_init(&round->link);
    list_init(&round->reads);
    list_init(&round->streams);
    round->ticket = 0;
    round->start_ms = serve_now(s);
    round->users = 0;
    round->confirmed = false;
    r->open = round;
    serve_wake(s);
    return round;
}

static void reads_round_free(struct serve *s, struct read_round *round)
{
    list_remove(&round->link);
    if (s->reads.spare == NULL && round->bytes.cap <= SLICE_BYTES_MAX) {
        buf_clear(&round->bytes);
        s->reads.spare = round;
        return;
    }
    buf_close(&round->bytes);
    mem_free(round);
}

void reads_round_leave(struct serve *s, struct read_round *round)
{
    round->users--;
    if (round->users == 0 && round != s->reads.open) {
        reads_round_free(s, round);
    }
}

static void reads_ask(struct serve *s, struct read_round *round)
{
    uint64_t ticket = s->reads.next_ticket++;
    /* Not sent for want of memory: the tick asks again. */
    round->ticket = s->o.raft->confirm(s->o.raft, ticket) ? ticket : 0;
}

/* The index is applied: the round's reads may look. They keep the round for their requests' bytes.
 */
static void reads_start_round(struct serve *s, struct read_round *round)
{
    round->users++;
    list_splice_back(&s->reads.running, &round->reads);
    list_splice_back(&s->reads.streams, &round->streams);
    list_remove(&round->link);
    reads_round_leave(s, round);
    serve_wake(s);
}

void reads_flush(struct serve *s)
{
    struct read_round *round = s->reads.open;
    if (round == NULL) {
        return;
    }
    s->reads.open = NULL;
    if (round->users == 0) {
        reads_round_free(s, round);
        return;
    }
    list_push_back(&s->reads.rounds, &round->link);
    if (reads_alone(s)) {
        reads_start_round(s, round);
        return;
    }
    reads_ask(s, round);
    reads_arm(s);
}

/* ---- ends of reads -----------------------------------------------------------------------------
 */

/* Takes x out of everything; its struct is the caller's afterwards. */
static void read_leave(struct serve *s, struct read *x)
{
    list_remove(&x->link);
    if (x->round != NULL) {
        reads_round_leave(s, x->round);
        x->round = NULL;
    }
}

static void read_fail(struct serve *s, struct read *x, int err)
{
    kv_range_close(x->range);
    read_leave(s, x);
    struct service_read *r = read_request(x);
    r->cb(r, err, 0, slice_of(NULL, 0), 0, NULL, NULL, NULL);
}

/* Everybody in a round fails. The round may be freed by its last user, so it is held meanwhile. */
static void reads_fail_round(struct serve *s, struct read_round *round, int err)
{
    round->users++;
    while (!list_empty(&round->reads)) {
        read_fail(s, LIST_ENTRY(round->reads.next, struct read, link), err);
    }
    while (!list_empty(&round->streams)) {
        read_stream_fail(s, LIST_ENTRY(round->streams.next, struct read_stream, link), err);
    }
    reads_round_leave(s, round);
}

/* ---- large answers -----------------------------------------------------------------------------
 */

struct read_export {
    struct list link;
    struct serve *serve;
    struct kv_range *range; /* NULL: given up, the next piece breaks the call off */
    uint64_t progress_ms;
};

static bool read_export_produce(void *data, struct buf *out, size_t room)
{
    struct read_export *e = data;
    e->progress_ms = serve_now(e->serve);
    return e->range != NULL && kv_range_produce(e->range, out, room);
}

static void read_export_done(void *data)
{
    struct read_export *e = data;
    list_remove(&e->link);
    kv_range_close(e->range);
    pool_free(&e->serve->pool, e);
}

static void read_exports_expire(struct serve *s, uint64_t now_ms)
{
    LIST_FOREACH (it, &s->reads.exports) {
        struct read_export *e = LIST_ENTRY(it, struct read_export, link);
        if (e->range != NULL && now_ms - e->progress_ms > READ_STALL_MS_MAX) {
            LOG(LOG_WARN, "gave up a large range: its client stopped reading",
                F_INT("stalled-ms", (int64_t)(now_ms - e->progress_ms)));
            kv_range_close(e->range);
            e->range = NULL;
        }
    }
}

static void read_answer_large(struct serve *s, struct read *x)
{
    struct read_export *e = pool_alloc(&s->pool, sizeof(*e));
    if (e == NULL) {
        read_fail(s, x, ERR_NOMEM);
        return;
    }
    e->serve = s;
    e->range = x->range;
    e->progress_ms = serve_now(s);
    list_push_back(&s->reads.exports, &e->link);
    reads_arm(s);
    uint64_t total = kv_range_total(x->range);
    int64_t revision = kv_range_revision(x->range);
    read_leave(s, x);
    struct service_read *r = read_request(x);
    r->cb(r, 0, revision, slice_of(NULL, 0), total, read_export_produce, read_export_done, e);
}

/* ---- slices ------------------------------------------------------------------------------------
 */

static void read_answer_range(struct serve *s, struct read *x)
{
    struct kv_range *range = x->range;
    struct slice small = kv_range_small(range);
    uint64_t total = kv_range_total(range);
    if (small.len != total) {
        read_answer_large(s, x);
        return;
    }
    int64_t revision = kv_range_revision(range);
    read_leave(s, x);
    struct service_read *r = read_request(x);
    r->cb(r, 0, revision, small, total, NULL, NULL, NULL);
    kv_range_close(range);
}

static void read_answer_txn(struct serve *s, struct read *x, struct slice request)
{
    struct buf *out = &s->reads.scratch;
    int64_t revision = 0;
    buf_clear(out);
    int err = kv_txn_read(s->kv, request, &revision, out);
    if (err == 0 && out->failed) {
        err = ERR_NOMEM;
    }
    if (err != 0) {
        read_fail(s, x, err);
        return;
    }
    read_leave(s, x);
    struct service_read *r = read_request(x);
    r->cb(r, 0, revision, buf_slice(out), out->len, NULL, NULL, NULL);
    if (out->cap > SLICE_BYTES_MAX) {
        buf_close(out);
    }
}

/* One slice; true = it is over (and x is no longer ours). `request` is only looked at in the first.
 */
static bool read_slice(struct serve *s, struct read *x, struct slice request)
{
    if (x->kind == READ_CONFIRM) {
        read_leave(s, x);
        struct service_read *r = read_request(x);
        r->cb(r, 0, kv_revision(s->kv), slice_of(NULL, 0), 0, NULL, NULL, NULL);
        return true;
    }
    if (x->kind == READ_TXN) {
        read_answer_txn(s, x, request);
        return true;
    }
    int err = 0;
    if (x->range == NULL) {
        s->ranges++;
        err = kv_range_open(s->kv, request, &x->range);
        if (err != 0) {
            x->range = NULL;
            read_fail(s, x, err);
            return true;
        }
    }
    enum kv_progress progress = kv_range_measure(x->range, &err);
    if (err != 0) {
        read_fail(s, x, err);
        return true;
    }
    if (progress == KV_MORE) {
        return false;
    }
    read_answer_range(s, x);
    return true;
}

bool reads_step(struct serve *s, uint64_t until_ns)
{
    struct list *running = &s->reads.running;
    while (!list_empty(running)) {
        struct read *x = LIST_ENTRY(list_pop_front(running), struct read, link);
        struct slice request = x->round == NULL
                                   ? slice_of(NULL, 0)
                                   : slice_of(x->round->bytes.data + x->offset, x->len);
        if (!read_slice(s, x, request)) {
            if (x->round != NULL) { /* the range has copied what it needs */
                reads_round_leave(s, x->round);
                x->round = NULL;
            }
            list_push_back(running, &x->link);
        }
        if (clock_mono_ns() >= until_ns) {
            break;
        }
    }
    return !list_empty(running);
}

/* ---- arrival -----------------------------------------------------------------------------------
 */

static void read_begin(struct serve *s, struct service_read *r, enum read_kind kind,
                       struct slice request, bool local)
{
    struct read *x = read_of(r);
    list_init(&x->link);
    x->round = NULL;
    x->range = NULL;
    x->kind = kind;
    if (s->stopping) {
        read_fail(s, x, ERR_STOPPED);
        return;
    }
    if (local || reads_at_once(s)) {
        if (!read_slice(s, x, request)) {
            list_push_back(&s->reads.running, &x->link);
            serve_wake(s);
        }
        return;
    }
    struct read_round *round = reads_round(s);
    if (round == NULL || !buf_append_slice(&round->bytes, request)) {
        if (round != NULL) {
            round->bytes.failed = false;
        }
        read_fail(s, x, ERR_NOMEM);
        return;
    }
    x->offset = round->bytes.len - request.len;
    x->len = request.len;
    x->round = round;
    round->users++;
    list_push_back(&round->reads, &x->link);
}

void reads_range(struct service *service, struct service_read *r, struct slice request,
                 bool serializable)
{
    read_begin(serve_of(service), r, READ_RANGE, request, serializable);
}

void reads_txn(struct service *service, struct service_read *r, struct slice request,
               bool serializable)
{
    read_begin(serve_of(service), r, READ_TXN, request, serializable);
}

void reads_confirm(struct service *service, struct service_read *r)
{
    read_begin(serve_of(service), r, READ_CONFIRM, slice_of(NULL, 0), false);
}

void reads_cancel(struct service *service, struct service_read *r)
{
    struct read *x = read_of(r);
    kv_range_close(x->range);
    read_leave(serve_of(service), x);
}

/* ---- confirmations -----------------------------------------------------------------------------
 */

void reads_advance(struct serve *s)
{
    uint64_t applied = kv_applied_index(s->kv);
    for (struct list *it = s->reads.rounds.next, *next; it != &s->reads.rounds; it = next) {
        struct read_round *round = LIST_ENTRY(it, struct read_round, link);
        next = it->next;
        if (round->confirmed && round->index <= applied) {
            reads_start_round(s, round);
        }
    }
}

void reads_confirmed(struct serve *s, uint64_t ticket, int err, uint64_t index)
{
    struct read_round *round = NULL;
    LIST_FOREACH (it, &s->reads.rounds) {
        struct read_round *r = LIST_ENTRY(it, struct read_round, link);
        if (r->ticket == ticket) {
            round = r;
            break;
        }
    }
    if (round == NULL) {
        return; /* timed out or empty meanwhile */
    }
    if (err == ERR_NOT_LEADER) {
        round->ticket = 0; /* K-12: without a leader reads wait; the tick asks again */
        return;
    }
    if (err != 0) {
        node_metrics_read_index_failed();
        reads_fail_round(s, round, err);
        return;
    }
    round->confirmed = true;
    round->index = index;
    if (index <= kv_applied_index(s->kv)) {
        reads_start_round(s, round);
    }
}

void reads_retry(struct serve *s)
{
    LIST_FOREACH (it, &s->reads.rounds) {
        struct read_round *round = LIST_ENTRY(it, struct read_round, link);
        if (round->ticket == 0) {
            reads_ask(s, round);
        }
    }
}

static void reads_expire(struct serve *s, uint64_t now)
{
    while (!list_empty(&s->reads.rounds)) {
        struct read_round *round = LIST_ENTRY(s->reads.rounds.next, struct read_round, link);
        if (now - round->start_ms < s->o.cfg->request_timeout_ms) {
            break;
        }
        node_metrics_slow_read_index();
        reads_fail_round(s, round, ERR_TIMEOUT);
    }
}

static void reads_on_tick(struct rpc_timer *t)
{
    struct serve *s = (struct serve *)((char *)t - offsetof(struct serve, reads.tick));
    uint64_t now = serve_now(s);
    reads_expire(s, now);
    reads_retry(s);
    read_exports_expire(s, now);
    read_streams_expire(s, now);
    if (!list_empty(&s->reads.rounds) || !list_empty(&s->reads.exports) ||
        !list_empty(&s->reads.paused)) {
        reads_arm(s);
    }
}

void reads_close(struct serve *s)
{
    struct reads *r = &s->reads;
    if (r->open != NULL) {
        list_push_back(&r->rounds, &r->open->link);
        r->open = NULL;
    }
    for (struct list *it = r->rounds.next, *next; it != &r->rounds; it = next) {
        struct read_round *round = LIST_ENTRY(it, struct read_round, link);
        next = it->next;
        if (round->users == 0) {
            reads_round_free(s, round);
        } else {
            reads_fail_round(s, round, ERR_STOPPED);
        }
    }
    while (!list_empty(&r->running)) {
        read_fail(s, LIST_ENTRY(r->running.next, struct read, link), ERR_STOPPED);
    }
    struct list *const lists[] = {&r->streams, &r->paused};
    for (size_t i = 0; i < 2; i++) {
        while (!list_empty(lists[i])) {
            read_stream_fail(s, LIST_ENTRY(lists[i]->next, struct read_stream, link), ERR_STOPPED);
        }
    }
    FATAL_IF(!list_empty(&r->exports), "large answers outlive their server");
    timers_cancel(&s->timers, &r->tick);
    if (r->spare != NULL) {
        buf_close(&r->spare->bytes);
        mem_free(r->spare);
        r->spare = NULL;
    }
    buf_close(&r->scratch);
}
