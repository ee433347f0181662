/* read.c - get and range. number: the revision asked for. op: enum read_op. The service appends a
 * page's rows to the request's body where they stay: they are copied once on their way to the
 * plugin. */
#include "plugins/host/host_impl.h"
#include "proto/codec.h"

enum read_op { READ_PAGE, READ_COUNT };

static void read_on_done(struct service_read *read, int err, int64_t revision, struct slice body,
                         uint64_t total, bool (*produce)(void *data, struct buf *out, size_t room),
                         void (*done)(void *data), void *produce_data)
{
    struct request *r = read->data;
    (void)total;
    if (done != NULL) {
        done(produce_data); /* a count is never so large */
        err = err != 0 ? err : ERR_NOMEM;
    }
    request_answer(r, err, revision, body);
}

static void read_start(struct request *r)
{
    struct service *s = r->ctx->instance->host->o.service;
    r->u.read.data = r;
    r->u.read.cb = read_on_done;
    if (r->op == READ_COUNT) {
        s->range(s, &r->u.read, buf_slice(&r->request), r->flag);
    } else {
        s->range_page(s, &r->u.read, buf_slice(&r->request), r->flag, PLUGIN_PAGE_BYTES, &r->body);
    }
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
    if (r->err == 0 && !answer_rows_open(&a, buf_slice(&r->body))) {
        answer_result(result, ERR_NOMEM, false, r->revision);
    }
    struct kvp_rows rows = {.size = sizeof(rows),
                            .more = a.more,
                            .rows = a.rows,
                            .count = a.count,
                            .total = a.more ? -1 : a.total};
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
        result->revision = r->number; /* read at; the header's is the store's newest */
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
    r->op = (range->flags & KVP_COUNT_ONLY) != 0 ? READ_COUNT : READ_PAGE;
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
