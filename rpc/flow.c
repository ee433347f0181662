/* flow.c - outgoing messages of a call; see flow.h.
 *
 * A message is one block: its segments, then the bytes that were copied. Copied parts that follow
 * each other (and the length prefix) make one segment, so an ordinary answer is one block with one
 * segment and leaves by one memcpy. */
#include "rpc/flow.h"

#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/limits.h"

struct flow_segment {
    const uint8_t *data;
    size_t len;
    struct blob *blob; /* holds one reference; NULL: the bytes are in the message's block */
};

/* What a message has in place of segments while it is produced. */
struct flow_source {
    bool (*produce)(void *data, struct buf *out, size_t room);
    void (*done)(void *data);
    void *data;
    uint64_t unproduced;
    struct buf stage; /* produced, not yet taken; starts with the length prefix */
};

/* A busy loop holds one per event and watcher, so it is kept small. Segments, or a source, follow
 * it in its block. */
struct flow_message {
    struct flow_message *next;
    size_t cost;    /* what it adds to flow.held */
    size_t offset;  /* taken from the current segment, or from the stage */
    uint32_t count; /* segments; 0 = it has a source */
    uint32_t at;    /* current segment */
};

static struct flow_segment *flow_segments(struct flow_message *m)
{
    return (struct flow_segment *)(void *)(m + 1);
}

static struct flow_source *flow_source(struct flow_message *m)
{
    return (struct flow_source *)(void *)(m + 1);
}

void flow_init(struct flow *f)
{
    memset(f, 0, sizeof(*f));
}

void flow_init_raw(struct flow *f)
{
    memset(f, 0, sizeof(*f));
    f->raw = true;
}

static void flow_push(struct flow *f, struct flow_message *m, uint64_t bytes, size_t cost)
{
    m->next = NULL;
    m->cost = cost;
    f->held += cost;
    if (f->tail != NULL) {
        f->tail->next = m;
    } else {
        f->head = m;
    }
    f->tail = m;
    f->queued += bytes;
    if (f->queued > RPC_CALL_HIGH_WATER_BYTES) {
        f->above_high = true;
    }
}

static void flow_prefix(uint8_t *out, uint64_t len)
{
    out[0] = 0;
    bytes_put_be32(out + 1, (uint32_t)len);
}

enum flow_result flow_send(struct flow *f, struct pool *pool, const struct rpc_part *parts,
                           size_t count)
{
    uint64_t total = 0;
    const size_t prefix = f->raw ? 0 : FLOW_PREFIX_BYTES;
    size_t copied = prefix;
    size_t segments = 1;
    bool shared = false; /* the last segment is a blob's */
    for (size_t i = 0; i < count; i++) {
        if (parts[i].bytes.len > RPC_SEND_BYTES_MAX - total) {
            return FLOW_TOO_LARGE;
        }
        total += parts[i].bytes.len;
        if (parts[i].bytes.len == 0) {
            continue;
        }
        if (parts[i].blob != NULL) {
            segments++;
            shared = true;
        } else {
            copied += parts[i].bytes.len;
            segments += shared;
            shared = false;
        }
    }
    if (segments > UINT32_MAX) {
        return FLOW_TOO_LARGE;
    }
    size_t fixed = sizeof(struct flow_message) + segments * sizeof(struct flow_segment);
    struct flow_message *m = pool_alloc(pool, fixed + copied);
    if (m == NULL) {
        return FLOW_NOMEM;
    }
    m->at = 0;
    m->offset = 0;
    uint8_t *to = (uint8_t *)m + fixed;
    if (prefix > 0) {
        flow_prefix(to, total);
    }
    struct flow_segment *s = flow_segments(m);
    *s = (struct flow_segment){.data = to, .len = prefix};
    to += prefix;
    for (size_t i = 0; i < count; i++) {
        struct slice bytes = parts[i].bytes;
        if (bytes.len == 0) {
            continue;
        }
        if (parts[i].blob != NULL) {
            *++s = (struct flow_segment){bytes.data, bytes.len, blob_ref(parts[i].blob)};
            continue;
        }
        memcpy(to, bytes.data, bytes.len);
        if (s->blob != NULL) {
            *++s = (struct flow_segment){.data = to};
        }
        s->len += bytes.len;
        to += bytes.len;
    }
    m->count = (uint32_t)segments;
    ASSERT(s + 1 == flow_segments(m) + segments);
    flow_push(f, m, total + prefix, fixed + copied);
    return FLOW_OK;
}

static size_t flow_source_cost(const struct flow_source *from)
{
    return sizeof(struct flow_message) + sizeof(*from) + from->stage.cap;
}

enum flow_result flow_produce(struct flow *f, struct pool *pool, uint64_t total,
                              bool (*produce)(void *data, struct buf *out, size_t room),
                              void (*done)(void *data), void *data)
{
    if (total > RPC_SEND_BYTES_MAX) {
        return FLOW_TOO_LARGE;
    }
    struct flow_message *m = pool_zalloc(pool, sizeof(*m) + sizeof(struct flow_source));
    if (m == NULL) {
        return FLOW_NOMEM;
    }
    struct flow_source *from = flow_source(m);
    uint8_t prefix[FLOW_PREFIX_BYTES];
    flow_prefix(prefix, total);
    buf_init(&from->stage);
    if (!buf_append(&from->stage, prefix, sizeof(prefix))) {
        pool_free(pool, m);
        return FLOW_NOMEM;
    }
    from->produce = produce;
    from->done = done;
    from->data = data;
    from->unproduced = total;
    f->produced++;
    flow_push(f, m, total + FLOW_PREFIX_BYTES, flow_source_cost(from));
    return FLOW_OK;
}

/* Runs the producer once when nothing is staged. */
static void flow_stage(struct flow *f, struct flow_message *m)
{
    struct flow_source *from = flow_source(m);
    if (m->offset < from->stage.len || from->unproduced == 0) {
        return;
    }
    buf_clear(&from->stage);
    m->offset = 0;
    /* A producer may rely on 1 KiB of room even when less is left of its message. */
    size_t room =
        from->unproduced < RPC_PRODUCE_BYTES ? (size_t)from->unproduced : RPC_PRODUCE_BYTES;
    room = room < 1024 ? 1024 : room;
    bool on = from->produce(from->data, &from->stage, room);
    if (!on || from->stage.failed || from->stage.len == 0 || from->stage.len > from->unproduced) {
        /* More bytes than promised would be read as the next message: break off instead. */
        (void)WARN_IF(on && !from->stage.failed,
                      "a producer did not keep to the length it promised");
        buf_clear(&from->stage);
        f->broken = true;
        return;
    }
    from->unproduced -= from->stage.len;
    f->held -= m->cost;
    m->cost = flow_source_cost(from);
    f->held += m->cost;
}

static size_t flow_message_ready(struct flow_message *m)
{
    size_t ready = 0;
    for (uint32_t i = m->at; i < m->count; i++) {
        ready += flow_segments(m)[i].len;
    }
    return ready - m->offset;
}

size_t flow_ready(struct flow *f, size_t wanted)
{
    if (f->produced == 0) {
        return f->queued < wanted ? (size_t)f->queued : wanted;
    }
    size_t ready = 0;
    for (struct flow_message *m = f->head; m != NULL && ready < wanted; m = m->next) {
        if (m->count > 0) {
            ready += flow_message_ready(m);
            continue;
        }
        flow_stage(f, m);
        ready += flow_source(m)->stage.len - m->offset;
        if (flow_source(m)->unproduced != 0 || f->broken) {
            break;
        }
    }
    return ready < wanted ? ready : wanted;
}

static void flow_message_free(struct flow *f, struct pool *pool, struct flow_message *m)
{
    f->held -= m->cost;
    if (m->count == 0) {
        struct flow_source *from = flow_source(m);
        f->produced--;
        buf_close(&from->stage);
        from->done(from->data);
    }
    for (uint32_t i = m->at; i < m->count; i++) {
        blob_unref(flow_segments(m)[i].blob);
    }
    pool_free(pool, m);
}

/* Takes from one message; true when it is used up. */
static bool flow_message_take(struct flow_message *m, uint8_t **out, size_t *n)
{
    if (m->count == 0) {
        struct flow_source *from = flow_source(m);
        size_t left = from->stage.len - m->offset;
        size_t part = left < *n ? left : *n;
        memcpy(*out, from->stage.data + m->offset, part);
        m->offset += part;
        *out += part;
        *n -= part;
        return m->offset == from->stage.len && from->unproduced == 0;
    }
    while (*n > 0 && m->at < m->count) {
        struct flow_segment *s = &flow_segments(m)[m->at];
        size_t left = s->len - m->offset;
        size_t part = left < *n ? left : *n;
        memcpy(*out, s->data + m->offset, part);
        *out += part;
        *n -= part;
        if (part < left) {
            m->offset += part;
            return false;
        }
        blob_unref(s->blob);
        m->offset = 0;
        m->at++;
    }
    return m->at == m->count;
}

bool flow_take(struct flow *f, struct pool *pool, uint8_t *out, size_t n)
{
    f->queued -= n;
    while (f->head != NULL && n > 0) {
        struct flow_message *m = f->head;
        if (!flow_message_take(m, &out, &n)) {
            ASSERT(n == 0);
            break;
        }
        f->head = m->next;
        if (f->head == NULL) {
            f->tail = NULL;
        }
        flow_message_free(f, pool, m);
    }
    ASSERT(n == 0);
    if (f->above_high && f->queued <= RPC_CALL_LOW_WATER_BYTES) {
        f->above_high = false;
        return true;
    }
    return false;
}

void flow_clear(struct flow *f, struct pool *pool)
{
    struct flow_message *m = f->head;
    f->head = f->tail = NULL;
    f->queued = 0;
    f->above_high = false;
    while (m != NULL) {
        struct flow_message *next = m->next;
        flow_message_free(f, pool, m);
        m = next;
    }
}
