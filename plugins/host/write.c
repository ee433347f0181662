/* write.c - put, put_if, del, del_if. The conditional ones are transactions of one comparison whose
 * else-part reads the row that was in the way. */
#include "plugins/host/host_impl.h"
#include "proto/codec.h"

static void write_start(struct request *r)
{
    request_propose(r, (enum service_op)r->op);
}

/* ---- plain -------------------------------------------------------------------------------------
 */

static void write_finish(struct request *r, struct kvp_result *result)
{
    if (r->op == SERVICE_DELETE_RANGE && r->err == 0) {
        struct slice body = buf_slice(&r->body);
        struct wire_field f;
        while (wire_next(&body, &f) > 0) {
            if (f.number == 2) {
                result->count = (int64_t)f.value;
            }
        }
    }
    if (r->cb.done != NULL) {
        r->cb.done(r->data, result);
    }
}

static const struct request_kind write_kind = {.name = "write",
                                               .is_write = true,
                                               .start = write_start,
                                               .cancel = request_cancel_write,
                                               .finish = write_finish};

static int host_put(struct kvp_ctx *ctx, const struct kvp_put *p, kvp_done_fn *cb, void *data)
{
    int reason = ctx_check_write(ctx);
    if (reason != 0) {
        return reason;
    }
    struct request *r = request_new(ctx, &write_kind, data, &reason);
    if (r == NULL) {
        return reason;
    }
    r->cb.done = cb;
    r->op = SERVICE_PUT;
    if (p == NULL || !encode_put(&r->request, p)) {
        request_free(r);
        return KVP_INVALID;
    }
    return request_submit(r);
}

static int host_del(struct kvp_ctx *ctx, const struct kvp_del *d, kvp_done_fn *cb, void *data)
{
    int reason = ctx_check_write(ctx);
    if (reason != 0) {
        return reason;
    }
    struct request *r = request_new(ctx, &write_kind, data, &reason);
    if (r == NULL) {
        return reason;
    }
    r->cb.done = cb;
    r->op = SERVICE_DELETE_RANGE;
    if (d == NULL || !encode_del(&r->request, d)) {
        request_free(r);
        return KVP_INVALID;
    }
    return request_submit(r);
}

/* ---- conditional -------------------------------------------------------------------------------
 */

struct conditional {
    bool succeeded;
    bool has_row;
    int64_t deleted;
    struct kvp_row row;
};

/* TxnResponse: succeeded = 2, responses = 3 { range = 1, put = 2, delete = 3 }. */
static bool conditional_read(struct slice body, struct conditional *out)
{
    struct wire_field f, op, inner;
    memset(out, 0, sizeof(*out));
    int more;
    while ((more = wire_next(&body, &f)) > 0) {
        if (f.number == 2) {
            out->succeeded = f.value != 0;
        }
        if (f.number != 3 || wire_next(&f.bytes, &op) <= 0) {
            continue;
        }
        while (wire_next(&op.bytes, &inner) > 0) {
            if (op.number == 1 && inner.number == 2) {
                out->has_row = answer_row(inner.bytes, &out->row);
            } else if (op.number == 3 && inner.number == 2) {
                out->deleted = (int64_t)inner.value;
            }
        }
    }
    return more == 0;
}

static void conditional_finish(struct request *r, struct kvp_result *result)
{
    struct conditional c = {0};
    if (r->err == 0 && !conditional_read(buf_slice(&r->body), &c)) {
        answer_result(result, ERR_NOMEM, true, r->revision);
    } else if (r->err == 0 && !c.succeeded) {
        result->outcome = KVP_REFUSED;
        result->reason = KVP_CONFLICT;
        result->text = "the row has another revision";
        result->row = c.has_row ? &c.row : NULL;
    } else {
        result->count = c.deleted;
    }
    if (r->cb.done != NULL) {
        r->cb.done(r->data, result);
    }
}

static const struct request_kind conditional_kind = {.name = "write",
                                                     .is_write = true,
                                                     .start = write_start,
                                                     .cancel = request_cancel_write,
                                                     .finish = conditional_finish};

/* `then` is RequestOp's field `op_field`. */
static bool conditional_encode(struct buf *out, struct kvp_bytes key, int64_t mod_revision,
                               uint32_t op_field, const struct buf *then)
{
    struct buf part;
    buf_init(&part);
    wire_put_uint(&part, 2, KVP_CMP_MOD_REVISION);
    wire_put_bytes(&part, 3, bytes_slice(key));
    wire_put_uint(&part, 6, (uint64_t)mod_revision);
    wire_put_bytes(out, 1, buf_slice(&part));

    wire_put_header(out, 2,
                    1 + wire_varint_size(then->len) + then->len); /* RequestOp's tag is one byte */
    wire_put_header(out, op_field, then->len);
    buf_append(out, then->data, then->len);

    buf_clear(&part);
    wire_put_bytes(&part, 1, bytes_slice(key)); /* RangeRequest of the row */
    wire_put_header(out, 3, 1 + wire_varint_size(part.len) + part.len);
    wire_put_header(out, 1, part.len);
    buf_append(out, part.data, part.len);
    bool ok = !part.failed && !out->failed;
    buf_close(&part);
    return ok;
}

/* Takes over `then`. */
static int conditional_submit(struct kvp_ctx *ctx, struct kvp_bytes key, int64_t mod_revision,
                              uint32_t op_field, struct buf *then, kvp_done_fn *cb, void *data)
{
    int reason = 0;
    struct request *r = request_new(ctx, &conditional_kind, data, &reason);
    if (r != NULL) {
        r->cb.done = cb;
        r->op = SERVICE_TXN;
        if (then->failed || !conditional_encode(&r->request, key, mod_revision, op_field, then)) {
            r->request.failed = true;
        }
        reason = request_submit(r);
    }
    buf_close(then);
    return reason;
}

static int host_put_if(struct kvp_ctx *ctx, const struct kvp_put *p, int64_t mod_revision,
                       kvp_done_fn *cb, void *data)
{
    struct buf then;
    int reason = ctx_check_write(ctx);
    if (reason != 0) {
        return reason;
    }
    buf_init(&then);
    if (p == NULL || mod_revision < 0 || !encode_put(&then, p)) {
        buf_close(&then);
        return KVP_INVALID;
    }
    return conditional_submit(ctx, p->key, mod_revision, 2, &then, cb, data);
}

static int host_del_if(struct kvp_ctx *ctx, struct kvp_bytes key, int64_t mod_revision,
                       kvp_done_fn *cb, void *data)
{
    struct kvp_del d = {.size = sizeof(d), .key = key};
    struct buf then;
    int reason = ctx_check_write(ctx);
    if (reason != 0) {
        return reason;
    }
    buf_init(&then);
    if (mod_revision < 0 || !encode_del(&then, &d)) {
        buf_close(&then);
        return KVP_INVALID;
    }
    return conditional_submit(ctx, key, mod_revision, 3, &then, cb, data);
}

void write_calls(struct kvp_host *t)
{
    t->put = host_put;
    t->put_if = host_put_if;
    t->del = host_del;
    t->del_if = host_del_if;
}
