/* read.c - get and range. A large answer is taken only up to a page: the service produces its bytes
 * in row order, so cutting it loses nothing that the next page does not bring. number: the revision
 * asked for. */
#include "plugins/host/host_impl.h"
#include "proto/codec.h"

#define READ_CHUNK_BYTES (64u * 1024u)

/* Bytes that the first field takes, when its head is there; else one more than there is. */
static size_t read_first_row_bytes(const struct buf *b)
{
    uint64_t len = 0;
    size_t at = 1; /* the tag of field 2 has one byte */
    for (unsigned shift = 0; at < b->len && shift < 64; shift += 7) {
        uint8_t byte = b->data[at++];
        len |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            return at + len;
        }
    }
    return b->len + 1;
}

static void read_take(struct request *r, uint64_t total,
                      bool (*produce)(void *data, struct buf *out, size_t room), void *produce_data)
{
    while (r->body.len < total &&
           (r->body.len < PLUGIN_PAGE_BYTES || r->body.len < read_first_row_bytes(&r->body))) {
        if (!produce(produce_data, &r->body, READ_CHUNK_BYTES)) {
            r->err = ERR_NOMEM;
            return;
        }
    }
    r->cut = r->body.len < total;
}

static void read_on_done(struct service_read *read, int err, int64_t revision, struct slice body,
                         uint64_t total, bool (*produce)(void *data, struct buf *out, size_t room),
                         void (*done)(void *data), void *produce_data)
{
    struct request *r = read->data;
    if (produce != NULL) {
        read_take(r, total, produce, produce_data);
        done(produce_data);
        err = err != 0 ? err : r->err;
    }
    request_answer(r, err, revision, body);
}

static void read_start(struct request *r)
{
    struct service *s = r->ctx->instance->host->o.service;
    r->u.read.data = r;
    r->u.read.cb = read_on_done;
    s->range(s, &r->u.read, buf_slice(&r->request), r->flag);
}

static void read_cancel(struct request *r)
{
    struct service *s = r->ctx->instance->host->o.service;
    s->cancel_read(s, &r->u.read);
    request_answer(r, ERR_STOPPED, 0, slice_of(NULL, 0));
}

static void read_finish(struct request *r, struct kvp_result *result)
{
    struct answer_rows a = {0};
    struct buf next;
    buf_init(&next);
    if (r->err == 0 && !answer_rows_open(&a, buf_slice(&r->body), r->cut)) {
        answer_result(result, ERR_NOMEM, false, r->revision);
    }
    struct kvp_rows rows = {.size = sizeof(rows),
                            .more = a.more || r->cut,
                            .rows = a.rows,
                            .count = a.count,
                            .total = r->cut ? -1 : a.total};
    if (rows.more && a.count > 0) {
        buf_append_slice(&next, bytes_slice(a.rows[a.count - 1].key));
        buf_append_byte(&next, 0);
        rows.next = (struct kvp_bytes){.data = next.data, .len = next.len};
        if (next.failed) {
            answer_result(result, ERR_NOMEM, false, r->revision);
        }
    }
    bool ok = result->outcome == KVP_OK;
    if (ok && r->number != 0) {
        result->revision = r->number; /* the service tells the store's own, as etcd does */
    }
    result->count = ok ? (int64_t)a.count : 0;
    if (r->cb.rows != NULL) {
        r->cb.rows(r->data, result, ok ? &rows : NULL);
    }
    answer_rows_close(&a);
    buf_close(&next);
}

static const struct request_kind read_kind = {
    .name = "range", .start = read_start, .cancel = read_cancel, .finish = read_finish};

static int host_range(struct kvp_ctx *ctx, const struct kvp_range *range, kvp_rows_fn *cb,
                      void *data)
{
    int reason = ctx_check(ctx);
    if (reason != 0) {
        return reason;
    }
    if (range == NULL || cb == NULL) {
        return KVP_INVALID;
    }
    struct request *r = request_new(ctx, &read_kind, data, &reason);
    if (r == NULL) {
        return reason;
    }
    r->cb.rows = cb;
    r->flag = (range->flags & KVP_SERIALIZABLE) != 0;
    r->number = range->revision;
    if (!encode_range(&r->request, range)) {
        request_free(r);
        return KVP_INVALID;
    }
    return request_submit(r);
}

static int host_get(struct kvp_ctx *ctx, struct kvp_bytes key, kvp_rows_fn *cb, void *data)
{
    struct kvp_range range = {.size = sizeof(range), .key = key};
    return host_range(ctx, &range, cb, data);
}

void read_calls(struct kvp_host *t)
{
    t->get = host_get;
    t->range = host_range;
}
