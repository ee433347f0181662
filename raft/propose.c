/* propose.c - the queue of batches.
 *
 * A batch's life: queued (the newest is open, node_propose appends to it) -> flight (raft_apply
 * took its buffer) -> finished (libraft called back) -> freed once its outcome is told. Committed
 * batches need no word of ours: their results come from apply. Lost ones are "unknown": they may
 * still commit. */
#include "raft/propose.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/bytes.h"
#include "proto/batch.h"
#include "raft/node_impl.h"

/* Numbers of consecutive proposals. */
struct batch_range {
    uint64_t first;
    uint64_t last;
};

struct batch {
    struct list link;
    struct raft_apply req;
    struct node *node;
    int status;
    uint8_t *bytes; /* raft_malloc: libraft frees it once it took it */
    size_t len;
    size_t cap;
    size_t ops;
    struct batch_range *ranges;
    size_t ranges_n;
    size_t ranges_cap;
};

void propose_init(struct propose *p)
{
    *p = (struct propose){0};
    list_init(&p->queued);
    list_init(&p->flight);
    list_init(&p->finished);
}

void node_hold(struct node *n, bool hold)
{
    n->propose.hold = hold;
}

size_t node_queued_bytes(const struct node *n)
{
    return n->propose.queued_bytes;
}

static void propose_dropped(struct node *n, uint64_t first, uint64_t last, int err)
{
    n->options.callbacks.dropped(n->options.callbacks.data, first, last, err);
}

/* ---- building ----------------------------------------------------------------------------- */

static struct batch *batch_new(struct node *n)
{
    struct batch *b = mem_zalloc(sizeof(*b));
    if (b != NULL) {
        list_init(&b->link);
        b->node = n;
    }
    return b;
}

static void batch_free(struct batch *b)
{
    raft_free(b->bytes);
    mem_free(b->ranges);
    mem_free(b);
}

static bool batch_reserve(struct batch *b, size_t more)
{
    if (b->len + more <= b->cap) {
        return true;
    }
    size_t cap = b->cap == 0 ? 512 : b->cap;
    while (cap < b->len + more) {
        cap *= 2;
    }
    uint8_t *bytes = raft_realloc(b->bytes, cap);
    if (bytes == NULL) {
        return false;
    }
    b->bytes = bytes;
    b->cap = cap;
    return true;
}

static bool batch_add_range(struct batch *b, uint64_t first, uint64_t last)
{
    if (b->ranges_n > 0 && b->ranges[b->ranges_n - 1].last + 1 == first) {
        b->ranges[b->ranges_n - 1].last = last;
        return true;
    }
    if (b->ranges_n == b->ranges_cap) {
        size_t cap = b->ranges_cap == 0 ? 1 : 2 * b->ranges_cap;
        struct batch_range *ranges = mem_realloc(b->ranges, cap * sizeof(*ranges));
        if (ranges == NULL) {
            return false;
        }
        b->ranges = ranges;
        b->ranges_cap = cap;
    }
    b->ranges[b->ranges_n++] = (struct batch_range){first, last};
    return true;
}

/* Appends operations to one batch; false leaves it as it was. */
static bool batch_append(struct batch *b, struct slice ops, uint64_t first, uint64_t last)
{
    size_t head = b->len == 0 ? BATCH_HEADER_BYTES : 0;
    if (!batch_reserve(b, head + ops.len) || !batch_add_range(b, first, last)) {
        return false;
    }
    if (head > 0) {
        struct buf header;
        buf_init(&header);
        if (!batch_start(&header)) {
            b->ranges_n = 0;
            return false;
        }
        memcpy(b->bytes, header.data, BATCH_HEADER_BYTES);
        b->len = BATCH_HEADER_BYTES;
        buf_close(&header);
    }
    memcpy(b->bytes + b->len, ops.data, ops.len);
    b->len += ops.len;
    b->ops += (size_t)(last - first + 1);
    return true;
}

/* The open batch, if it has room for `more`; a new one otherwise. NULL: no memory. */
static struct batch *propose_open(struct node *n, size_t more)
{
    struct propose *p = &n->propose;
    if (!list_empty(&p->queued)) {
        struct batch *b = LIST_ENTRY(p->queued.prev, struct batch, link);
        if (b->len + more <= BATCH_BYTES_MAX) {
            return b;
        }
    }
    struct batch *b = batch_new(n);
    if (b != NULL) {
        list_push_back(&p->queued, &b->link);
    }
    return b;
}

static bool propose_append(struct node *n, struct slice ops, uint64_t first, uint64_t last)
{
    struct propose *p = &n->propose;
    struct batch *b = propose_open(n, ops.len);
    if (b == NULL) {
        return false;
    }
    if (!batch_append(b, ops, first, last)) {
        if (b->ops == 0) {
            list_remove(&b->link);
            batch_free(b);
        }
        return false;
    }
    p->queued_bytes += ops.len;
    p->queued_ops += (size_t)(last - first + 1);
    return true;
}

/* Bytes of the first operation of a run; 0 when the run is malformed. */
static size_t propose_op_size(struct slice ops)
{
    if (ops.len < BATCH_OP_BYTES) {
        return 0;
    }
    size_t size = BATCH_OP_BYTES + (size_t)bytes_le32(ops.data);
    return size <= ops.len ? size : 0;
}

/* How many leading operations fit into a batch with `room` bytes left: at least one. */
static size_t propose_cut(struct slice ops, size_t room, uint64_t max_ops, uint64_t *count)
{
    size_t bytes = 0;
    *count = 0;
    while (bytes < ops.len && *count < max_ops) {
        size_t size = propose_op_size(slice_of(ops.data + bytes, ops.len - bytes));
        if (size == 0) {
            return 0;
        }
        if (*count > 0 && bytes + size > room) {
            break;
        }
        bytes += size;
        (*count)++;
    }
    return bytes;
}

static size_t propose_room(const struct node *n)
{
    const struct propose *p = &n->propose;
    if (list_empty(&p->queued)) {
        return BATCH_BYTES_MAX - BATCH_HEADER_BYTES;
    }
    size_t len = LIST_ENTRY(p->queued.prev, struct batch, link)->len;
    return len < BATCH_BYTES_MAX ? BATCH_BYTES_MAX - len : BATCH_BYTES_MAX - BATCH_HEADER_BYTES;
}

void node_propose(struct node *n, struct slice ops, uint64_t first, uint64_t last)
{
    struct propose *p = &n->propose;
    if (n->closing || !node_is_leader(n)) {
        propose_dropped(n, first, last, n->closing ? ERR_STOPPED : ERR_NOT_LEADER);
        return;
    }
    size_t pending = p->queued_ops + p->flight_ops;
    uint64_t allowed = pending < PROPOSALS_PENDING_MAX ? PROPOSALS_PENDING_MAX - pending : 0;
    while (first <= last) {
        uint64_t left = last - first + 1;
        uint64_t count = left;
        size_t bytes = ops.len;
        size_t room = propose_room(n);
        if (left > allowed || bytes > room) {
            bytes = propose_cut(ops, room, left < allowed ? left : allowed, &count);
        }
        if (bytes == 0 || p->queued_bytes + bytes > PROPOSALS_QUEUED_BYTES_MAX ||
            !propose_append(n, slice_of(ops.data, bytes), first, first + count - 1)) {
            propose_dropped(n, first, last, ERR_TOO_MANY_REQUESTS);
            return;
        }
        ops = slice_of(ops.data + bytes, ops.len - bytes);
        first += count;
        allowed -= count;
    }
}

/* ---- proposing ---------------------------------------------------------------------------- */

static void batch_done(struct raft_apply *req, int status, void *result)
{
    struct batch *b = req->data;
    struct propose *p = &b->node->propose;
    b->status = status;
    b->bytes = NULL; /* libraft's */
    list_remove(&b->link);
    list_push_back(&p->finished, &b->link);
    p->in_flight--;
    p->flight_ops -= b->ops;
}

static void propose_tell(struct node *n, const struct batch *b, int err)
{
    for (size_t i = 0; i < b->ranges_n; i++) {
        propose_dropped(n, b->ranges[i].first, b->ranges[i].last, err);
    }
}

static void propose_unqueue(struct node *n, struct batch *b)
{
    list_remove(&b->link);
    n->propose.queued_bytes -= b->len - BATCH_HEADER_BYTES;
    n->propose.queued_ops -= b->ops;
}

static void propose_refuse_queued(struct node *n, int err)
{
    while (!list_empty(&n->propose.queued)) {
        struct batch *b = LIST_ENTRY(n->propose.queued.next, struct batch, link);
        propose_unqueue(n, b);
        propose_tell(n, b, err);
        batch_free(b);
    }
}

void propose_step(struct node *n)
{
    struct list *link;
    while ((link = list_pop_front(&n->propose.finished)) != NULL) {
        struct batch *b = LIST_ENTRY(link, struct batch, link);
        if (b->status != 0) {
            propose_tell(n, b, ERR_UNKNOWN_OUTCOME);
        }
        batch_free(b);
    }
    if (!node_is_leader(n)) {
        propose_refuse_queued(n, ERR_NOT_LEADER);
    }
}

void propose_stop(struct node *n)
{
    propose_refuse_queued(n, ERR_STOPPED);
}

static void propose_submit(struct node *n, struct batch *b)
{
    struct propose *p = &n->propose;
    propose_unqueue(n, b);
    /* The buffer stays in libraft's log for long: don't keep what doubling left unused. */
    uint8_t *exact = raft_realloc(b->bytes, b->len);
    if (exact != NULL) {
        b->bytes = exact;
    }
    struct raft_buffer buf = {.base = b->bytes, .len = b->len};
    b->req.data = b;
    list_push_back(&p->flight, &b->link);
    p->in_flight++;
    p->flight_ops += b->ops;
    n->again = true;
    if (raft_apply(&n->raft, &b->req, &buf, 1, batch_done) != 0) {
        /* Out of memory: libraft undid everything and the buffer is still ours. */
        list_remove(&b->link);
        p->in_flight--;
        p->flight_ops -= b->ops;
        propose_tell(n, b, ERR_TOO_MANY_REQUESTS);
        batch_free(b);
    }
}

void propose_flush(struct node *n)
{
    /* While leadership is being handed over libraft takes nothing: proposals wait for the outcome.
     */
    while (!n->propose.hold && lead_ready(n) && n->raft.transfer == NULL &&
           !list_empty(&n->propose.queued) &&
           (node_in_flight(n) < BATCHES_IN_FLIGHT_MAX || NODE_BUG(NODE_BUG_NO_FLIGHT_LIMIT))) {
        propose_submit(n, LIST_ENTRY(n->propose.queued.next, struct batch, link));
    }
}
