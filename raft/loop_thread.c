/* loop_thread.c - the raft loop's own thread.
 *
 * A turn: libuv calls back for requests, the tick, the disk; then, in the prepare phase before it
 * sleeps, the node is flushed once and what the turn produced goes to the store loop with one
 * wake-up. Closing: node_close waits for the disk; the disk's handles close next, then ours; the
 * loop runs out and the last delivery says so. */
#include "raft/loop_impl.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "raft/disk_posix.h"

/* ---- deliveries --------------------------------------------------------------------------- */

struct delivery *delivery_new(struct raft_loop *l, enum delivery_kind kind, size_t len)
{
    struct delivery *d = mem_xalloc(sizeof(*d) + len);
    *d = (struct delivery){.kind = kind, .len = len};
    list_init(&d->link);
    atomic_fetch_add_explicit(&l->delivery_bytes, sizeof(*d) + len, memory_order_relaxed);
    return d;
}

static struct delivery *thread_deliver(struct raft_loop *l, enum delivery_kind kind, size_t len)
{
    struct delivery *d = delivery_new(l, kind, len);
    list_push_back(&l->made, &d->link);
    return d;
}

static void thread_commit(void *data, uint64_t index, uint64_t term, struct slice payload)
{
    struct delivery *d = thread_deliver(data, DELIVERY_COMMIT, payload.len);
    d->a = index;
    d->b = term;
    if (payload.len > 0) {
        memcpy(d->bytes, payload.data, payload.len);
    }
}

static void thread_configuration(void *data, uint64_t index, struct slice encoded)
{
    struct delivery *d = thread_deliver(data, DELIVERY_CONFIGURATION, encoded.len);
    d->a = index;
    memcpy(d->bytes, encoded.data, encoded.len);
}

static void thread_role(void *data, enum node_role role, uint64_t term, uint64_t leader)
{
    struct delivery *d = thread_deliver(data, DELIVERY_ROLE, 0);
    d->err = (int)role;
    d->a = term;
    d->b = leader;
}

static void thread_dropped(void *data, uint64_t first, uint64_t last, int err)
{
    struct delivery *d = thread_deliver(data, DELIVERY_DROPPED, 0);
    d->err = err;
    d->a = first;
    d->b = last;
}

static void thread_fatal(void *data, const char *why)
{
    size_t len = strlen(why) + 1;
    struct delivery *d = thread_deliver(data, DELIVERY_FATAL, len);
    memcpy(d->bytes, why, len);
}

static void thread_full(void *data, bool is_full)
{
    struct delivery *d = thread_deliver(data, DELIVERY_FULL, 0);
    d->err = is_full;
}

/* No peers yet, so no snapshots to fetch either. */
static void thread_fetch(void *data, uint64_t from, const char *address, uint64_t index)
{
    struct raft_loop *l = data;
    node_snapshot_failed(l->node);
}

static void thread_install(void *data)
{
}

static void thread_send(struct node_transport *t, uint64_t to, const char *address,
                        struct slice frame)
{
}

static size_t thread_queued(struct node_transport *t, uint64_t to)
{
    return 0;
}

static uint64_t thread_now(void *data)
{
    struct raft_loop *l = data;
    return uv_now(&l->loop);
}

/* ---- requests ----------------------------------------------------------------------------- */

static void thread_read_done(struct node_read *r, int err, uint64_t index)
{
    struct request *q = r->data;
    struct delivery *d = thread_deliver(q->loop, DELIVERY_READ, 0);
    d->err = err;
    d->a = index;
    d->request = q;
}

static void thread_transfer_done(struct node_change *c, int err)
{
    struct request *q = c->data;
    struct delivery *d = thread_deliver(q->loop, DELIVERY_TRANSFER, 0);
    d->err = err;
    d->request = q;
}

static void thread_node_closed(void *data)
{
    struct raft_loop *l = data;
    l->node = NULL;
    l->node_closed = true;
}

static void thread_request(struct raft_loop *l, struct request *q)
{
    switch (q->kind) {
    case REQUEST_PROPOSE:
        atomic_fetch_sub_explicit(&l->request_bytes, q->ops.len, memory_order_relaxed);
        node_propose(l->node, buf_slice(&q->ops), q->first, q->last);
        buf_close(&q->ops);
        mem_free(q);
        break;
    case REQUEST_READ:
        q->read = (struct node_read){.data = q, .cb = thread_read_done};
        node_read_index(l->node, &q->read);
        break;
    case REQUEST_DURABLE:
        node_durable(l->node, q->number);
        mem_free(q);
        break;
    case REQUEST_TRANSFER:
        atomic_store(&l->alone, false); /* before it does anything; the turn's end looks again */
        q->change = (struct node_change){.data = q, .cb = thread_transfer_done};
        node_transfer(l->node, &q->change, q->number);
        break;
    case REQUEST_CLOSE:
        atomic_store(&l->alone, false);
        mem_free(q);
        node_close(l->node, thread_node_closed, l);
        break;
    }
}

static void thread_requests(struct wake *w)
{
    struct raft_loop *l = w->data;
    struct list now;
    list_init(&now);
    pthread_mutex_lock(&l->mutex);
    list_splice_back(&now, &l->requests);
    pthread_mutex_unlock(&l->mutex);
    struct list *link;
    while ((link = list_pop_front(&now)) != NULL) {
        thread_request(l, LIST_ENTRY(link, struct request, link));
    }
}

/* ---- the turn ----------------------------------------------------------------------------- */

static void thread_status(struct raft_loop *l)
{
    struct node *n = l->node;
    atomic_store_explicit(&l->status.role, node_role(n), memory_order_relaxed);
    atomic_store_explicit(&l->status.ready, node_leader_ready(n), memory_order_relaxed);
    atomic_store_explicit(&l->status.term, node_term(n), memory_order_relaxed);
    atomic_store_explicit(&l->status.leader, node_leader(n), memory_order_relaxed);
    atomic_store_explicit(&l->status.commit, node_commit_index(n), memory_order_relaxed);
    atomic_store_explicit(&l->status.last, node_last_index(n), memory_order_relaxed);
    atomic_store_explicit(&l->status.log, node_log_bytes(n), memory_order_relaxed);
    atomic_store_explicit(&l->status.queued, node_queued_bytes(n), memory_order_relaxed);
}

/* One wake-up per turn, and none while the store loop has not even looked yet. */
static void thread_hand_over(struct raft_loop *l)
{
    if (list_empty(&l->made)) {
        return;
    }
    pthread_mutex_lock(&l->mutex);
    bool quiet = list_empty(&l->deliveries);
    list_splice_back(&l->deliveries, &l->made);
    pthread_mutex_unlock(&l->mutex);
    if (quiet) {
        wake_send(&l->delivery_wake);
    }
}

static void thread_disk_closed(void *data)
{
    struct raft_loop *l = data;
    uv_close((uv_handle_t *)&l->tick, NULL);
    uv_close((uv_handle_t *)&l->turn, NULL);
    wake_close(&l->request_wake, NULL);
}

static void thread_turn(uv_prepare_t *prepare)
{
    struct raft_loop *l = prepare->data;
    if (l->node != NULL) {
        size_t behind = atomic_load_explicit(&l->delivery_bytes, memory_order_relaxed);
        bool hold = behind > RAFT_DELIVERY_BYTES_MAX;
        atomic_store(&l->holding, hold);
        node_hold(l->node, hold);
        node_flush(l->node);
        thread_status(l);
        atomic_store(&l->alone, node_decides_alone(l->node));
    } else if (l->node_closed) {
        l->node_closed = false;
        disk_posix_close(l->disk, thread_disk_closed, l);
    }
    thread_hand_over(l);
}

static void thread_tick(uv_timer_t *timer)
{
    struct raft_loop *l = timer->data;
    tick_watch_tick(&l->tick_watch, uv_hrtime());
    if (l->node != NULL) {
        node_tick(l->node);
    }
}

/* ---- start and run ------------------------------------------------------------------------ */

static void thread_note_name(void *data, const char *name, uint64_t size)
{
    *(bool *)data = false;
}

static int thread_bootstrap(struct raft_loop *l, const struct raft_loop_options *o,
                            const struct node_options *no, struct errmsg *e)
{
    bool fresh = true;
    if (o->initial_n == 0 || o->applied_index > 0) {
        return 0;
    }
    if (l->disk->list(l->disk, thread_note_name, &fresh) != 0) {
        return errmsg_set(e, ERR_IO, "list %s", o->dir);
    }
    /* A first start that was cut short left the file behind; node_start goes on from it. */
    return fresh ? node_bootstrap(no, o->initial, o->initial_n, e) : 0;
}

static int thread_open_node(struct raft_loop *l, const struct raft_loop_options *o,
                            struct errmsg *e)
{
    uint64_t seed;
    rand_system(&seed, sizeof(seed));
    rand_init(&l->rand, seed);
    l->transport = (struct node_transport){.send = thread_send, .queued = thread_queued};
    struct node_options no = {.id = o->id,
                              .address = o->address,
                              .disk = l->disk,
                              .transport = &l->transport,
                              .callbacks = {.data = l,
                                            .commit = thread_commit,
                                            .configuration = thread_configuration,
                                            .role = thread_role,
                                            .dropped = thread_dropped,
                                            .snapshot_fetch = thread_fetch,
                                            .snapshot_install = thread_install,
                                            .fatal = thread_fatal,
                                            .disk_full = thread_full},
                              .now_ms = thread_now,
                              .clock_data = l,
                              .rand = &l->rand,
                              .heartbeat_ms = o->heartbeat_ms,
                              .election_ms = o->election_ms,
                              .incarnation = o->incarnation,
                              .applied_index = o->applied_index,
                              .applied_term = o->applied_term,
                              .configuration_index = o->configuration_index,
                              .configuration = o->configuration,
                              .trailing_bytes = o->trailing_bytes,
                              .trailing_entries = o->trailing_entries,
                              .snapshot_entries = o->snapshot_entries,
                              .segment_bytes = o->segment_bytes};
    int err = thread_bootstrap(l, o, &no, e);
    return err != 0 ? err : node_start(&no, &l->node, e);
}

/* Closes what was opened before a failure: runs the loop until it is empty. */
static void thread_unwind(struct raft_loop *l)
{
    uv_run(&l->loop, UV_RUN_DEFAULT);
    FATAL_IF(uv_loop_close(&l->loop) != 0, "the raft loop has handles left");
}

int loop_thread_open(struct raft_loop *l, const struct raft_loop_options *o, struct errmsg *e)
{
    if (uv_loop_init(&l->loop) != 0) {
        return errmsg_set(e, ERR_NOMEM, "raft: cannot make an event loop");
    }
    int err = disk_posix_open(&l->loop, o->dir, o->disk_thread, o->unsafe_no_fsync, &l->disk, e);
    if (err != 0) {
        thread_unwind(l);
        return errmsg_wrap(e, err, "raft");
    }
    FATAL_IF(wake_init(&l->request_wake, &l->loop, thread_requests, l) != 0,
             "cannot watch an eventfd");
    uv_timer_init(&l->loop, &l->tick);
    uv_prepare_init(&l->loop, &l->turn);
    l->tick.data = l->turn.data = l;
    err = thread_open_node(l, o, e);
    if (err != 0) {
        disk_posix_close(l->disk, thread_disk_closed, l);
        thread_unwind(l);
        return err;
    }
    uint32_t heartbeat = o->heartbeat_ms == 0 ? 100 : o->heartbeat_ms;
    l->tick_ms = heartbeat < 2 ? 1 : heartbeat / 2;
    uv_prepare_start(&l->turn, thread_turn);
    thread_status(l);
    return 0;
}

void *loop_thread_run(void *data)
{
    struct raft_loop *l = data;
    pthread_setname_np(pthread_self(), "kvd-raft");
    /* The first tick counts from here, not from before the log was read. */
    uv_update_time(&l->loop);
    uv_timer_start(&l->tick, thread_tick, l->tick_ms, l->tick_ms);
    tick_watch_open(&l->tick_watch, l->tick_ms, uv_hrtime());
    uv_run(&l->loop, UV_RUN_DEFAULT);
    tick_watch_close(&l->tick_watch);
    FATAL_IF(uv_loop_close(&l->loop) != 0, "the raft loop has handles left");
    thread_deliver(l, DELIVERY_CLOSED, 0);
    thread_hand_over(l);
    return NULL;
}
