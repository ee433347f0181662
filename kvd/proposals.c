/* proposals.c - writes on their way: numbered, packed, matched with their results.
 *
 * Happy path: propose checks limits and alarms, gives the request the next number, appends it to
 * this turn's buffer (the only copy) and remembers it in a table by number; flush hands the buffer
 * to raft once per turn; apply reports results by number, in order. A request nobody waits for any
 * more (canceled, timed out) just leaves the table: its result is then dropped. Failure: raft says
 * `dropped` with an error for numbers that will see no result. ERR_UNKNOWN_OUTCOME leaves them
 * waiting: the entry may still be applied here and answer; else the timeout does (E-03). */
#include "base/alloc.h"
#include "base/log.h"
#include "kvd/node_metrics.h"
#include "kvd/serve_impl.h"
#include "proto/batch.h"
#include "proto/codec.h"

/* AlarmType of contract MT-02. */
#define PROPOSAL_ALARM_NOSPACE 1
/* The number of a write that is refused and waits to be told so. */
#define PROPOSAL_REFUSED UINT64_MAX

/* What an InternalRaftRequest adds around a request in etcd: limits are compared with that in. */
#define PROPOSAL_WRAPPING_BYTES 18u
/* Bytes of one run handed to raft: several make an entry, and one too large would only delay
 * others. */
#define PROPOSAL_RUN_BYTES (256u * 1024u)
#define PROPOSAL_EXPIRY_MS 200u

static struct proposal *proposal_of(struct service_write *w)
{
    return (struct proposal *)(void *)w->impl;
}

static struct service_write *proposal_write(struct list *link)
{
    char *p = (char *)LIST_ENTRY(link, struct proposal, link);
    return (struct service_write *)(void *)(p - offsetof(struct service_write, impl));
}

static void proposals_on_expiry(struct rpc_timer *t);

void proposals_init(struct serve *s)
{
    struct proposals *p = &s->proposals;
    list_init(&p->pending);
    list_init(&p->refused);
    buf_init(&p->ops);
    p->next = 1;
    p->expiry.fire = proposals_on_expiry;
}

static struct service_write **proposals_slot(struct proposals *p, uint64_t number)
{
    return &p->slots[number % PROPOSALS_SLOTS];
}

static void proposals_remember(struct proposals *p, struct service_write *w)
{
    struct service_write **slot = proposals_slot(p, w->number);
    struct proposal *x = proposal_of(w);
    x->chain = *slot;
    *slot = w;
    list_push_back(&p->pending, &x->link);
    p->count++;
    p->bytes += x->bytes;
}

static void proposals_forget(struct proposals *p, struct service_write *w)
{
    struct service_write **at = proposals_slot(p, w->number);
    while (*at != w) {
        at = &proposal_of(*at)->chain;
    }
    struct proposal *x = proposal_of(w);
    *at = x->chain;
    list_remove(&x->link);
    p->count--;
    p->bytes -= x->bytes;
}

static struct service_write *proposals_find(struct proposals *p, uint64_t number)
{
    struct service_write *w = *proposals_slot(p, number);
    while (w != NULL && w->number != number) {
        w = proposal_of(w)->chain;
    }
    return w;
}

static void proposals_answer(struct service_write *w, int err)
{
    w->cb(w, err, 0, slice_of(NULL, 0));
}

/* ---- refused for space (contract MT-04) --------------------------------------------------------
 * Who is refused because of the quota finds the alarm raised, as with etcd: the answer waits until
 * the alarm's own proposal is through, whatever becomes of it. */

static bool proposals_alarm_is_coming(const struct serve *s)
{
    return s->guard.alarm != NULL && !kv_alarm_active(s->kv, PROPOSAL_ALARM_NOSPACE);
}

static void proposals_refuse_later(struct serve *s, struct service_write *w, uint64_t bytes)
{
    struct proposals *p = &s->proposals;
    struct proposal *x = proposal_of(w);
    w->number = PROPOSAL_REFUSED;
    x->bytes = bytes;
    list_push_back(&p->refused, &x->link);
    p->count++;
    p->bytes += bytes;
}

static void proposals_forget_refused(struct proposals *p, struct service_write *w)
{
    struct proposal *x = proposal_of(w);
    list_remove(&x->link);
    p->count--;
    p->bytes -= x->bytes;
}

static void proposals_answer_refused(struct serve *s, int err)
{
    struct proposals *p = &s->proposals;
    while (!list_empty(&p->refused)) {
        struct service_write *w = proposal_write(p->refused.next);
        proposals_forget_refused(p, w);
        proposals_answer(w, err);
    }
}

/* ---- proposing --------------------------------------------------------------------------------
 */

/* 0 or why this write may not be proposed now. */
static int proposals_admit(struct serve *s, enum service_op op, struct slice request)
{
    const struct proposals *p = &s->proposals;
    if (s->stopping) {
        return ERR_STOPPED;
    }
    if (request.len + PROPOSAL_WRAPPING_BYTES > s->service.max_request_bytes) {
        return ERR_REQUEST_TOO_LARGE;
    }
    if (p->count >= PROPOSALS_PENDING_MAX || p->bytes > PROPOSALS_PENDING_BYTES_MAX) {
        return ERR_TOO_MANY_REQUESTS;
    }
    struct store *store = kv_store(s->kv);
    if (store_active_bytes(store) >= MEMTABLE_BYTES_MAX && store_sealed(store)) {
        return ERR_TOO_MANY_REQUESTS;
    }
    return guard_check(s, op, request);
}

/* Appends the operation; with a stamp it has three fields instead of one. */
static bool proposals_pack(struct proposals *p, struct batch_origin origin, enum service_op op,
                           struct slice request, const struct service_stamp *stamp)
{
    if (stamp == NULL) {
        return batch_add_field(&p->ops, origin, (uint32_t)op, request);
    }
    struct batch_stamp b = {.plugin = slice_str(stamp->plugin),
                            .member = stamp->member,
                            .term = stamp->term,
                            .epoch = stamp->epoch};
    return batch_add_stamped(&p->ops, origin, (uint32_t)op, request, &b);
}

void proposals_propose(struct service *service, struct service_write *w, enum service_op op,
                       struct slice request)
{
    proposals_propose_as(service, w, op, request, NULL);
}

void proposals_propose_as(struct service *service, struct service_write *w, enum service_op op,
                          struct slice request, const struct service_stamp *stamp)
{
    struct serve *s = serve_of(service);
    struct proposals *p = &s->proposals;
    int err = proposals_admit(s, op, request);
    if (err == ERR_NO_SPACE && proposals_alarm_is_coming(s)) {
        proposals_refuse_later(s, w, request.len);
        return;
    }
    if (err != 0) {
        proposals_answer(w, err);
        return;
    }
    if (p->ops.len > 0 && p->ops.len + request.len > PROPOSAL_RUN_BYTES) {
        proposals_flush(s);
    }
    struct batch_origin origin = {
        .member = service->ids.member_id, .incarnation = s->o.incarnation, .number = p->next};
    size_t before = p->ops.len;
    if (!proposals_pack(p, origin, op, request, stamp)) {
        p->ops.len = before;
        p->ops.failed = false;
        proposals_answer(w, ERR_NOMEM);
        return;
    }
    if (before == 0) {
        p->first = p->next;
        serve_wake(s);
    }
    w->number = p->next++;
    struct proposal *x = proposal_of(w);
    x->start_ms = serve_now(s);
    x->bytes = request.len;
    x->op = op;
    proposals_remember(p, w);
    if (!rpc_timer_is_set(&p->expiry)) {
        timers_set(&s->timers, &p->expiry, x->start_ms + PROPOSAL_EXPIRY_MS);
    }
}

void proposals_flush(struct serve *s)
{
    struct proposals *p = &s->proposals;
    if (p->ops.len == 0) {
        return;
    }
    s->o.raft->propose(s->o.raft, buf_slice(&p->ops), p->first, p->next - 1);
    buf_clear(&p->ops);
}

void proposals_cancel(struct service *service, struct service_write *w)
{
    struct serve *s = serve_of(service);
    if (w->number == 0) {
        (void)leases_cancel(s, w);
        return;
    }
    if (w->number == PROPOSAL_REFUSED) {
        proposals_forget_refused(&s->proposals, w);
        return;
    }
    proposals_forget(&s->proposals, w);
}

void proposals_result(void *data, uint64_t number, int err, int64_t revision, struct slice body)
{
    struct serve *s = data;
    struct service_write *w = proposals_find(&s->proposals, number);
    if (w == NULL) {
        return;
    }
    proposals_forget(&s->proposals, w);
    w->cb(w, err, revision, body);
}

void proposals_dropped(struct serve *s, uint64_t first, uint64_t last, int err)
{
    if (err == ERR_UNKNOWN_OUTCOME) {
        return; /* apply or the timeout answers */
    }
    for (uint64_t n = first; n <= last; n++) {
        struct service_write *w = proposals_find(&s->proposals, n);
        if (w != NULL) {
            proposals_forget(&s->proposals, w);
            node_metrics_proposal_failed();
            proposals_answer(w, err);
        }
    }
}

/* E-03: which timeout it was. */
static int proposals_timeout(const struct serve *s, uint64_t start_ms)
{
    uint64_t window = 2ull * s->o.cfg->election_ms;
    uint64_t elected = s->elected_ms;
    if (s->leader != 0 && elected != 0 && start_ms <= elected && start_ms + window >= elected) {
        return ERR_TIMEOUT_LEADER_FAIL;
    }
    return s->leader == 0 ? ERR_TIMEOUT_CONN_LOST : ERR_TIMEOUT;
}

static void proposals_on_expiry(struct rpc_timer *t)
{
    struct serve *s = (struct serve *)((char *)t - offsetof(struct serve, proposals.expiry));
    struct proposals *p = &s->proposals;
    uint64_t now = serve_now(s);
    while (!list_empty(&p->pending)) {
        struct service_write *w = proposal_write(p->pending.next);
        uint64_t start = proposal_of(w)->start_ms;
        if (now - start < s->o.cfg->request_timeout_ms) {
            timers_set(&s->timers, &p->expiry, now + PROPOSAL_EXPIRY_MS);
            return;
        }
        proposals_forget(p, w);
        node_metrics_proposal_failed();
        proposals_answer(w, proposals_timeout(s, start));
    }
}

/* ---- writes of our own
 * --------------------------------------------------------------------------- */

static void proposals_on_own(struct service_write *w, int err, int64_t revision, struct slice body)
{
    (void)revision, (void)body;
    struct own_write *own = w->data;
    struct serve *s = own->serve;
    own->done(s, own, err);
    pool_free(&s->pool, own);
    if (!proposals_alarm_is_coming(s)) {
        proposals_answer_refused(s, ERR_NO_SPACE);
    }
}

bool proposals_own(struct serve *s, enum service_op op, struct slice request, int64_t id,
                   void (*done)(struct serve *s, struct own_write *w, int err),
                   struct own_write **out)
{
    struct own_write *own = pool_zalloc(&s->pool, sizeof(*own));
    if (own == NULL) {
        return false;
    }
    own->serve = s;
    own->done = done;
    own->id = id;
    own->write.data = own;
    own->write.cb = proposals_on_own;
    if (out != NULL) {
        *out = own; /* before: it may be over when propose returns */
    }
    proposals_propose(&s->service, &own->write, op, request);
    return true;
}

void proposals_close(struct serve *s)
{
    struct proposals *p = &s->proposals;
    while (!list_empty(&p->pending)) {
        struct service_write *w = proposal_write(p->pending.next);
        proposals_forget(p, w);
        proposals_answer(w, ERR_STOPPED);
    }
    proposals_answer_refused(s, ERR_NO_SPACE);
    timers_cancel(&s->timers, &p->expiry);
    buf_close(&p->ops);
}
