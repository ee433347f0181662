/* loop.c - the store loop's side of the raft thread: gathering requests, draining deliveries.
 *
 * Memory: a proposal's bytes move from the gathered request into a batch on the raft thread; a
 * committed entry is copied once, into its delivery. Everything between is a pointer in a list. */
#include "raft/loop.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/limits.h"
#include "raft/disk_posix.h"
#include "raft/loop_impl.h"

void delivery_free(struct raft_loop *l, struct delivery *d)
{
    size_t size = sizeof(*d) + d->len;
    size_t before = atomic_fetch_sub_explicit(&l->delivery_bytes, size, memory_order_relaxed);
    mem_free(d);
    /* The raft thread made no entries meanwhile: tell it once that it may again. */
    if (!l->closing && before - size <= RAFT_DELIVERY_BYTES_MAX / 2 &&
        atomic_load_explicit(&l->holding, memory_order_relaxed) &&
        atomic_exchange(&l->holding, false)) {
        wake_send(&l->request_wake);
    }
}

/* ---- requests ----------------------------------------------------------------------------- */

static struct request *request_new(struct raft_loop *l, enum request_kind kind)
{
    struct request *q = mem_zalloc(sizeof(*q));
    if (q != NULL) {
        q->kind = kind;
        q->loop = l;
        buf_init(&q->ops);
        q->reads_tail = &q->reads;
        list_push_back(&l->gathered, &q->link);
    }
    return q;
}

/* The request gathered last, when it is of this kind: proposals and reads of a turn grow one. */
static struct request *request_last(struct raft_loop *l, enum request_kind kind)
{
    if (list_empty(&l->gathered)) {
        return NULL;
    }
    struct request *q = LIST_ENTRY(l->gathered.prev, struct request, link);
    return q->kind == kind ? q : NULL;
}

void raft_loop_flush(struct raft_loop *l)
{
    if (list_empty(&l->gathered)) {
        return;
    }
    pthread_mutex_lock(&l->mutex);
    bool quiet = list_empty(&l->requests);
    list_splice_back(&l->requests, &l->gathered);
    if (l->closing) {
        /* Once the raft thread has the last request it may close the very handle we signal: it
         * can't have it before the mutex is free. */
        wake_send(&l->request_wake);
        quiet = false;
    }
    pthread_mutex_unlock(&l->mutex);
    if (quiet) {
        wake_send(&l->request_wake);
    }
}

static void loop_gather(uv_prepare_t *prepare)
{
    raft_loop_flush(prepare->data);
}

/* An answer that needs no word from the raft thread still comes in order, inside drain. */
static void loop_refuse(struct raft_loop *l, uint64_t first, uint64_t last, int err)
{
    struct delivery *d = delivery_new(l, DELIVERY_DROPPED, 0);
    d->err = err;
    d->a = first;
    d->b = last;
    list_push_back(&l->taken, &d->link);
    wake_send(&l->delivery_wake);
}

void raft_loop_propose(struct raft_loop *l, struct slice ops, uint64_t first, uint64_t last)
{
    if (l->closing) {
        loop_refuse(l, first, last, ERR_STOPPED);
        return;
    }
    size_t waiting = atomic_load_explicit(&l->request_bytes, memory_order_relaxed);
    struct request *q = request_last(l, REQUEST_PROPOSE);
    if (q == NULL || q->last + 1 != first) {
        q = request_new(l, REQUEST_PROPOSE);
        if (q != NULL) {
            q->first = first;
            q->last = first - 1;
        }
    }
    if (q == NULL || waiting + ops.len > RAFT_REQUEST_BYTES_MAX ||
        !buf_append_slice(&q->ops, ops)) {
        if (q != NULL && q->last < q->first) {
            list_remove(&q->link);
            buf_close(&q->ops);
            mem_free(q);
        } else if (q != NULL) {
            q->ops.failed = false; /* what was appended before is whole */
        }
        loop_refuse(l, first, last, ERR_TOO_MANY_REQUESTS);
        return;
    }
    q->last = last;
    atomic_fetch_add_explicit(&l->request_bytes, ops.len, memory_order_relaxed);
}

void raft_loop_read(struct raft_loop *l, struct raft_loop_read *r)
{
    struct request *q = request_last(l, REQUEST_READ);
    r->next = NULL;
    if (q == NULL && !l->closing) {
        q = request_new(l, REQUEST_READ);
    }
    if (q == NULL || l->closing) {
        r->cb(r, l->closing ? ERR_STOPPED : ERR_NOMEM, 0);
        return;
    }
    *q->reads_tail = r;
    q->reads_tail = &r->next;
}

void raft_loop_durable(struct raft_loop *l, uint64_t applied_index)
{
    struct request *q = l->closing ? NULL : request_new(l, REQUEST_DURABLE);
    if (q != NULL) { /* else: the next checkpoint says it again */
        q->number = applied_index;
    }
}

void raft_loop_transfer(struct raft_loop *l, uint64_t to, void (*cb)(void *data, int err),
                        void *data)
{
    struct request *q = NULL;
    int err = l->closing ? ERR_STOPPED : l->transferring ? ERR_BUSY : ERR_NOMEM;
    if (!l->closing && !l->transferring) {
        q = request_new(l, REQUEST_TRANSFER);
    }
    if (q == NULL) {
        cb(data, err);
        return;
    }
    q->number = to;
    q->cb = cb;
    q->data = data;
    l->transferring = true;
}

/* ---- deliveries --------------------------------------------------------------------------- */

static void loop_reads_done(struct request *q, int err, uint64_t index)
{
    struct raft_loop_read *r = q->reads;
    while (r != NULL) {
        struct raft_loop_read *next = r->next;
        r->cb(r, err, index);
        r = next;
    }
    mem_free(q);
}

static void loop_handle_closed(uv_handle_t *handle)
{
    struct raft_loop *l = handle->data;
    if (--l->handles > 0) {
        return;
    }
    pthread_mutex_destroy(&l->mutex);
    void (*cb)(void *data) = l->close_cb;
    void *data = l->close_data;
    mem_free(l);
    if (cb != NULL) {
        cb(data);
    }
}

static void loop_closed(struct raft_loop *l)
{
    pthread_join(l->thread, NULL);
    wake_close(&l->delivery_wake, loop_handle_closed);
    uv_close((uv_handle_t *)&l->gather, loop_handle_closed);
}

/* true = done with the delivery. */
static bool loop_handle(struct raft_loop *l, struct delivery *d)
{
    const struct raft_loop_callbacks *c = &l->callbacks;
    switch (d->kind) {
    case DELIVERY_COMMIT:
        return c->commit(c->data, d->a, d->b, slice_of(d->bytes, d->len));
    case DELIVERY_CONFIGURATION:
        c->configuration(c->data, d->a, slice_of(d->bytes, d->len));
        break;
    case DELIVERY_ROLE:
        c->role(c->data, (enum node_role)d->err, d->a, d->b);
        break;
    case DELIVERY_DROPPED:
        c->dropped(c->data, d->a, d->b, d->err);
        break;
    case DELIVERY_READ:
        loop_reads_done(d->request, d->err, d->a);
        break;
    case DELIVERY_TRANSFER:
        l->transferring = false;
        d->request->cb(d->request->data, d->err);
        mem_free(d->request);
        break;
    case DELIVERY_FATAL:
        c->fatal(c->data, (const char *)d->bytes);
        break;
    case DELIVERY_FULL:
        if (c->disk_full != NULL) {
            c->disk_full(c->data, d->err != 0);
        }
        break;
    case DELIVERY_CLOSED:
        loop_closed(l);
        break;
    }
    return true;
}

static void loop_take(struct raft_loop *l)
{
    pthread_mutex_lock(&l->mutex);
    list_splice_back(&l->taken, &l->deliveries);
    pthread_mutex_unlock(&l->mutex);
}

bool raft_loop_drain(struct raft_loop *l, size_t bytes)
{
    FATAL_IF(l->draining, "raft_loop_drain inside one of its callbacks");
    l->draining = true;
    if (l->lent != NULL) {
        delivery_free(l, l->lent);
        l->lent = NULL;
    }
    loop_take(l);
    size_t handed = 0;
    while (!list_empty(&l->taken) && handed < bytes && l->lent == NULL) {
        struct delivery *d = LIST_ENTRY(list_pop_front(&l->taken), struct delivery, link);
        handed += d->len;
        if (loop_handle(l, d)) {
            delivery_free(l, d);
        } else {
            l->lent = d;
        }
    }
    l->draining = false;
    return !list_empty(&l->taken);
}

static void loop_wake(struct wake *w)
{
    struct raft_loop *l = w->data;
    l->callbacks.wake(l->callbacks.data);
}

/* ---- start and close ---------------------------------------------------------------------- */

int raft_loop_start(const struct raft_loop_options *options, struct raft_loop **out,
                    struct errmsg *e)
{
    *out = NULL;
    struct raft_loop *l = mem_zalloc(sizeof(*l));
    if (l == NULL) {
        return errmsg_set(e, ERR_NOMEM, "raft: out of memory");
    }
    l->callbacks = options->callbacks;
    l->store_loop = options->store_loop;
    pthread_mutex_init(&l->mutex, NULL);
    list_init(&l->requests);
    list_init(&l->deliveries);
    list_init(&l->gathered);
    list_init(&l->taken);
    list_init(&l->made);
    int err = loop_thread_open(l, options, e);
    if (err != 0) {
        pthread_mutex_destroy(&l->mutex);
        struct list *link;
        while ((link = list_pop_front(&l->made)) != NULL) {
            mem_free(LIST_ENTRY(link, struct delivery, link));
        }
        mem_free(l);
        return err;
    }
    FATAL_IF(wake_init(&l->delivery_wake, l->store_loop, loop_wake, l) != 0,
             "cannot watch an eventfd");
    uv_prepare_init(l->store_loop, &l->gather);
    l->gather.data = l;
    l->handles = 2;
    uv_prepare_start(&l->gather, loop_gather);
    FATAL_IF(pthread_create(&l->thread, NULL, loop_thread_run, l) != 0,
             "cannot start the raft thread");
    *out = l;
    return 0;
}

void raft_loop_close(struct raft_loop *l, void (*cb)(void *data), void *data)
{
    FATAL_IF(l->closing, "raft_loop_close twice");
    FATAL_IF(request_new(l, REQUEST_CLOSE) == NULL, "out of memory while stopping");
    l->closing = true;
    l->close_cb = cb;
    l->close_data = data;
    raft_loop_flush(l);
}

/* ---- facts -------------------------------------------------------------------------------- */

void raft_loop_status(const struct raft_loop *l, struct raft_loop_status *out)
{
    *out = (struct raft_loop_status){
        .role = (enum node_role)atomic_load_explicit(&l->status.role, memory_order_relaxed),
        .ready = atomic_load_explicit(&l->status.ready, memory_order_relaxed) != 0,
        .term = atomic_load_explicit(&l->status.term, memory_order_relaxed),
        .leader = atomic_load_explicit(&l->status.leader, memory_order_relaxed),
        .commit_index = atomic_load_explicit(&l->status.commit, memory_order_relaxed),
        .last_index = atomic_load_explicit(&l->status.last, memory_order_relaxed),
        .log_bytes = atomic_load_explicit(&l->status.log, memory_order_relaxed),
        .delivery_bytes = atomic_load_explicit(&l->delivery_bytes, memory_order_relaxed),
        .proposals_bytes = atomic_load_explicit(&l->status.queued, memory_order_relaxed)};
}

bool raft_loop_alone(const struct raft_loop *l)
{
    return atomic_load(&l->alone) && !l->closing;
}

const char *raft_loop_disk_mode(const struct raft_loop *l)
{
    return disk_posix_mode(l->disk);
}
