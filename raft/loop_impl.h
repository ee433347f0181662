/* loop_impl.h - inside of the raft loop; for loop.c (store loop's side) and loop_thread.c only.
 *
 * Two queues under one mutex, which is held for a few pointer operations only. A request or
 * delivery belongs to exactly one side at any time. Field groups say whose they are. */
#ifndef KVD_RAFT_LOOP_IMPL_H
#define KVD_RAFT_LOOP_IMPL_H

#include "raft/loop.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/rand.h"
#include "raft/tick_metrics.h"
#include "base/wake.h"

enum request_kind {
    REQUEST_PROPOSE,
    REQUEST_READ,
    REQUEST_DURABLE,
    REQUEST_TRANSFER,
    REQUEST_CLOSE
};

struct request {
    struct list link;
    enum request_kind kind;
    struct raft_loop *loop;
    /* PROPOSE */
    uint64_t first;
    uint64_t last;
    struct buf ops;
    /* READ: all reads of one turn share one node_read */
    struct node_read read;
    struct raft_loop_read *reads;
    struct raft_loop_read **reads_tail;
    /* DURABLE: applied index; TRANSFER: to */
    uint64_t number;
    struct node_change change;
    void (*cb)(void *data, int err);
    void *data;
};

enum delivery_kind {
    DELIVERY_COMMIT,
    DELIVERY_CONFIGURATION,
    DELIVERY_ROLE,
    DELIVERY_DROPPED,
    DELIVERY_READ,
    DELIVERY_TRANSFER,
    DELIVERY_FATAL,
    DELIVERY_FULL,
    DELIVERY_CLOSED
};

struct delivery {
    struct list link;
    enum delivery_kind kind;
    int err;                 /* DROPPED, READ, TRANSFER; ROLE: the role; FULL: is_full */
    uint64_t a;              /* index, first, term */
    uint64_t b;              /* term, last, leader */
    struct request *request; /* READ, TRANSFER */
    size_t len;
    uint8_t bytes[]; /* COMMIT, CONFIGURATION: payload; FATAL: the sentence */
};

struct raft_loop {
    /* set at start, constant */
    struct raft_loop_callbacks callbacks;
    uv_loop_t *store_loop;
    pthread_t thread;

    /* both sides, under the mutex */
    pthread_mutex_t mutex;
    struct list requests;
    struct list deliveries;

    /* both sides */
    _Atomic size_t delivery_bytes; /* queued or taken, not yet freed */
    _Atomic size_t request_bytes;
    _Atomic bool holding;      /* raft waits for delivery_bytes to fall */
    _Atomic bool alone;        /* node_decides_alone, never longer than that holds */
    struct wake request_wake;  /* of the raft loop */
    struct wake delivery_wake; /* of the store loop */
    struct {
        _Atomic uint64_t role, ready, term, leader, commit, last, log, queued;
    } status;

    /* store loop */
    uv_prepare_t gather;
    struct list gathered;
    struct list taken;
    struct delivery *lent; /* a commit whose payload is in use */
    bool draining;
    bool closing;
    bool transferring;
    unsigned handles; /* uv handles still open */
    void (*close_cb)(void *data);
    void *close_data;

    /* raft loop */
    uv_loop_t loop;
    uv_timer_t tick;
    uint64_t tick_ms;
    struct tick_watch tick_watch;
    uv_prepare_t turn;
    struct list made; /* deliveries of this turn */
    struct disk *disk;
    struct node *node;
    struct node_transport transport;
    struct rand rand;
    bool node_closed;
};

/* A delivery with `len` bytes of room; aborts without memory: an entry that was committed must not
 * get lost on the way to the store. Accounted in delivery_bytes. */
struct delivery *delivery_new(struct raft_loop *l, enum delivery_kind kind, size_t len);
void delivery_free(struct raft_loop *l, struct delivery *d);

/* The thread's side: opens everything (in the caller's thread), then runs. */
int loop_thread_open(struct raft_loop *l, const struct raft_loop_options *o, struct errmsg *e);
void *loop_thread_run(void *loop);

#endif
