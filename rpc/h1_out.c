/* h1_out.c - see h1_out.h. A blob remembers its place as the number of text bytes in front of it.
 *
 * Each part becomes TLS records of its own, so parts are cut where records are: else every chunk of
 * a body would cost a small record for its head, and one for its end. */
#include "rpc/h1_out.h"

#include <string.h>

#include "base/limits.h"

struct h1_out_blob {
    struct list link;
    uint64_t at; /* h1_out.taken when it is its turn */
    struct slice bytes;
    struct blob *blob;
};

void h1_out_init(struct h1_out *o)
{
    *o = (struct h1_out){.at = 0};
    buf_init(&o->text);
    list_init(&o->blobs);
    list_init(&o->given);
}

static void blobs_drop(struct list *blobs, struct pool *pool)
{
    for (struct list *it; (it = list_pop_front(blobs)) != NULL;) {
        struct h1_out_blob *b = LIST_ENTRY(it, struct h1_out_blob, link);
        blob_unref(b->blob);
        pool_free(pool, b);
    }
}

void h1_out_close(struct h1_out *o, struct pool *pool)
{
    blobs_drop(&o->blobs, pool);
    blobs_drop(&o->given, pool);
    buf_close(&o->text);
    h1_out_init(o);
}

void h1_out_given(struct h1_out *o, struct pool *pool)
{
    blobs_drop(&o->given, pool);
}

void h1_out_add(struct h1_out *o, struct pool *pool, const struct rpc_part *part)
{
    if (part->blob == NULL || part->bytes.len < RPC_TLS_RECORD_BYTES) {
        buf_append_slice(&o->text, part->bytes);
        return;
    }
    struct h1_out_blob *b = pool_alloc(pool, sizeof(*b));
    if (b == NULL) {
        o->text.failed = true;
        return;
    }
    *b = (struct h1_out_blob){
        .at = o->taken + (o->text.len - o->at), .bytes = part->bytes, .blob = blob_ref(part->blob)};
    list_push_back(&o->blobs, &b->link);
    o->blob_bytes += b->bytes.len;
}

/* What is being given away. */
struct taking {
    uint8_t *copy;
    size_t copied;
    size_t total;
    size_t cap;
    struct slice *parts;
    size_t count;
    size_t max;
    bool open; /* the last part lies in copy and may grow */
};

static void take_copy(struct taking *t, const uint8_t *bytes, size_t n)
{
    if (!t->open) {
        t->parts[t->count++] = slice_of(t->copy + t->copied, 0);
        t->open = true;
    }
    memcpy(t->copy + t->copied, bytes, n);
    t->copied += n;
    t->parts[t->count - 1].len += n;
    t->total += n;
}

static void take_direct(struct taking *t, const uint8_t *bytes, size_t n)
{
    t->parts[t->count++] = slice_of(bytes, n);
    t->open = false;
    t->total += n;
}

/* false: what is left of it is for the next time. */
static bool take_blob(struct h1_out *o, struct h1_out_blob *b, struct taking *t)
{
    size_t room = t->cap - t->total;
    size_t n = b->bytes.len < room ? b->bytes.len : room;
    size_t begun = t->open ? t->parts[t->count - 1].len % RPC_TLS_RECORD_BYTES : 0;
    if (begun > 0) {
        size_t rest = RPC_TLS_RECORD_BYTES - begun;
        n = n < rest ? n : rest;
        take_copy(t, b->bytes.data, n);
    } else if (b->bytes.len < RPC_TLS_RECORD_BYTES || t->cap < RPC_TLS_RECORD_BYTES) {
        take_copy(t, b->bytes.data, n);
    } else if (n < RPC_TLS_RECORD_BYTES || t->count == t->max) {
        return false;
    } else {
        n -= n % RPC_TLS_RECORD_BYTES;
        take_direct(t, b->bytes.data, n);
    }
    b->bytes = slice_of(b->bytes.data + n, b->bytes.len - n);
    o->blob_bytes -= n;
    if (b->bytes.len == 0) {
        list_remove(&b->link);
        list_push_back(&o->given, &b->link);
    }
    return true;
}

static void take_text(struct h1_out *o, size_t n, struct taking *t)
{
    size_t room = t->cap - t->total;
    n = n < room ? n : room;
    take_copy(t, o->text.data + o->at, n);
    o->at += n;
    o->taken += n;
}

/* Memory goes when it is not needed: an idle connection keeps none. */
static void text_shrink(struct h1_out *o)
{
    bool failed = o->text.failed;
    if (o->at == o->text.len && list_empty(&o->blobs)) {
        buf_close(&o->text);
        o->at = 0;
    } else if (o->at == o->text.len ||
               (o->at > RPC_CALL_HIGH_WATER_BYTES && o->at > o->text.len / 2)) {
        buf_consume(&o->text, o->at);
        o->at = 0;
    }
    o->text.failed = failed;
}

size_t h1_out_take(struct h1_out *o, uint8_t *copy, size_t cap, struct slice *parts, size_t max,
                   size_t *count)
{
    struct taking t = {.copy = copy, .cap = cap, .parts = parts, .max = max};
    while (t.total < cap && (t.count < max || t.open)) {
        bool blobs = !list_empty(&o->blobs);
        struct h1_out_blob *b = blobs ? LIST_ENTRY(o->blobs.next, struct h1_out_blob, link) : NULL;
        size_t text = blobs ? (size_t)(b->at - o->taken) : o->text.len - o->at;
        if (text > 0) {
            take_text(o, text, &t);
        } else if (!blobs || !take_blob(o, b, &t)) {
            break;
        }
    }
    text_shrink(o);
    *count = t.count;
    return t.total;
}
