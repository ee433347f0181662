/* txn.c - transactions: built part by part, checked like a client's, then proposed or only read. */
#include "plugins/host/host_impl.h"
#include "proto/codec.h"
#include "rpc/txn_check.h"

struct kvp_txn {
    struct kvp_ctx *ctx;
    struct buf parts; /* fields of TxnRequest, in the order they were given */
    bool writes;
    int failed; /* the first filler's reason */
};

static struct kvp_txn *host_txn_new(struct kvp_ctx *ctx)
{
    if (ctx_check(ctx) != 0) {
        return NULL;
    }
    struct kvp_txn *t = mem_zalloc(sizeof(*t));
    if (t != NULL) {
        t->ctx = ctx;
        buf_init(&t->parts);
    }
    return t;
}

static void host_txn_free(struct kvp_txn *t)
{
    if (t != NULL) {
        buf_close(&t->parts);
        mem_free(t);
    }
}

static int txn_fail(struct kvp_txn *t, int reason)
{
    t->failed = t->failed != 0 ? t->failed : reason;
    return reason;
}

/* Appends a finished part as field `field`; part is closed. */
static int txn_add(struct kvp_txn *t, uint32_t field, struct buf *part, bool valid)
{
    int reason = 0;
    size_t before = t->parts.len;
    if (!valid) {
        reason = txn_fail(t, KVP_INVALID);
    } else if (before + part->len > PLUGIN_REQUEST_BYTES_MAX) {
        reason = txn_fail(t, KVP_TOO_LARGE);
    } else {
        wire_put_header(&t->parts, field, part->len);
        buf_append_slice(&t->parts, buf_slice(part));
        if (part->failed || t->parts.failed) {
            reason = txn_fail(t, KVP_NO_MEMORY);
        }
    }
    buf_close(part);
    return reason;
}

static int host_txn_compare(struct kvp_txn *t, const struct kvp_compare *c)
{
    static const uint32_t number_fields[] = {4, 5, 6, 7, 8};
    struct buf part;
    buf_init(&part);
    bool valid = c != NULL && c->size >= sizeof(*c) && c->target <= KVP_CMP_LEASE &&
                 c->relation <= KVP_NOT_EQUAL && (c->flags & ~KVP_PREFIX) == 0;
    if (valid) {
        wire_put_uint(&part, 1, c->relation);
        wire_put_uint(&part, 2, c->target);
        valid = encode_range_bounds(&part, 3, 64, c->key, c->end, (struct kvp_bytes){0},
                                    (c->flags & KVP_PREFIX) != 0);
        if (c->target == KVP_CMP_VALUE) {
            wire_put_header(&part, 7, c->value.len); /* also when empty: it is a oneof */
            buf_append_slice(&part, bytes_slice(c->value));
        } else {
            wire_put_uint(&part, number_fields[c->target], (uint64_t)c->number);
        }
    }
    return txn_add(t, 1, &part, valid);
}

/* One RequestOp of field op_field, in list THEN or ELSE. */
static int txn_add_op(struct kvp_txn *t, uint32_t list, uint32_t op_field, struct buf *request,
                      bool valid)
{
    struct buf op;
    buf_init(&op);
    wire_put_header(&op, op_field, request->len);
    buf_append_slice(&op, buf_slice(request));
    op.failed |= request->failed;
    buf_close(request);
    return txn_add(t, list == KVP_THEN ? 2 : 3, &op, valid && list <= KVP_ELSE);
}

static int host_txn_put(struct kvp_txn *t, uint32_t list, const struct kvp_put *p)
{
    struct buf b;
    buf_init(&b);
    t->writes = true;
    bool valid = p != NULL && encode_put(&b, p);
    return txn_add_op(t, list, 2, &b, valid);
}

static int host_txn_del(struct kvp_txn *t, uint32_t list, const struct kvp_del *d)
{
    struct buf b;
    buf_init(&b);
    t->writes = true;
    bool valid = d != NULL && encode_del(&b, d);
    return txn_add_op(t, list, 3, &b, valid);
}

static int host_txn_get(struct kvp_txn *t, uint32_t list, const struct kvp_range *r)
{
    struct buf b;
    buf_init(&b);
    bool valid = r != NULL && encode_range(&b, r);
    return txn_add_op(t, list, 1, &b, valid);
}

/* ---- home --------------------------------------------------------------------------------------
 */

static void txn_on_read(struct service_read *read, int err, int64_t revision, struct slice body,
                        uint64_t total, bool (*produce)(void *data, struct buf *out, size_t room),
                        void (*done)(void *data), void *produce_data)
{
    struct request *r = read->data;
    (void)total;
    if (produce != NULL) { /* transactions are answered in one piece */
        done(produce_data);
        err = ERR_REQUEST_TOO_LARGE;
    }
    request_answer(r, err, revision, body);
}

/* Checked as the front end checks a client's: duplicate keys, too many operations. */
static int txn_admit(struct request *r, struct txn_facts *facts)
{
    struct service *s = r->ctx->instance->host->o.service;
    struct arena arena;
    void *txn;
    arena_init(&arena, 0);
    int err = codec_decode_inner(&etcdserverpb__txn_request__descriptor, buf_slice(&r->request), 1,
                                 &arena, &txn);
    if (err == 0) {
        err = txn_check(txn, s->max_txn_ops, facts);
    }
    arena_close(&arena);
    return err;
}

static void txn_start(struct request *r)
{
    struct service *s = r->ctx->instance->host->o.service;
    struct txn_facts facts;
    int err = txn_admit(r, &facts);
    if (err != 0) {
        request_answer(r, err, 0, slice_of(NULL, 0));
        return;
    }
    r->flag = facts.read_only;
    if (!r->flag) {
        request_propose(r, SERVICE_TXN);
        return;
    }
    r->u.read.data = r;
    r->u.read.cb = txn_on_read;
    s->txn_read(s, &r->u.read, buf_slice(&r->request), facts.serializable);
}

static void txn_cancel(struct request *r)
{
    struct service *s = r->ctx->instance->host->o.service;
    if (!r->flag) {
        request_cancel_write(r);
        return;
    }
    s->cancel_read(s, &r->u.read);
    request_answer(r, ERR_STOPPED, 0, slice_of(NULL, 0));
}

/* ---- the answer --------------------------------------------------------------------------------
 */

struct txn_answer {
    struct kvp_txn_result result;
    struct kvp_op_result *ops;
    struct answer_rows *rows; /* one for each operation */
    size_t count;
};

static void txn_answer_close(struct txn_answer *a)
{
    for (size_t i = 0; i < a->count; i++) {
        answer_rows_close(&a->rows[i]);
    }
    mem_free(a->ops);
    mem_free(a->rows);
}

static bool txn_answer_op(struct txn_answer *a, struct slice response)
{
    struct wire_field op, inner;
    struct kvp_op_result *out = &a->ops[a->count];
    struct answer_rows *rows = &a->rows[a->count];
    a->count++;
    if (wire_next(&response, &op) <= 0) {
        return false;
    }
    out->op = op.number; /* range 1, put 2, delete 3: as enum kvp_txn_op */
    if (op.number == KVP_OP_GET) {
        if (!answer_rows_open(rows, op.bytes)) {
            return false;
        }
        out->rows = rows->rows;
        out->row_count = rows->count;
        out->more = rows->more;
        out->count = rows->total;
    }
    while (op.number == KVP_OP_DEL && wire_next(&op.bytes, &inner) > 0) {
        if (inner.number == 2) {
            out->count = (int64_t)inner.value;
        }
    }
    return true;
}

static bool txn_answer_open(struct txn_answer *a, struct slice body)
{
    struct wire_field f;
    size_t ops = 0;
    memset(a, 0, sizeof(*a));
    for (struct slice walk = body; wire_next(&walk, &f) > 0;) {
        ops += f.number == 3;
    }
    if (ops > 0) {
        a->ops = mem_zalloc(ops * sizeof(*a->ops));
        a->rows = mem_zalloc(ops * sizeof(*a->rows));
        if (a->ops == NULL || a->rows == NULL) {
            return false;
        }
    }
    while (wire_next(&body, &f) > 0) {
        if (f.number == 2) {
            a->result.succeeded = f.value != 0;
        } else if (f.number == 3 && !txn_answer_op(a, f.bytes)) {
            return false;
        }
    }
    a->result.size = sizeof(a->result);
    a->result.ops = a->ops;
    a->result.count = a->count;
    return true;
}

static void txn_finish(struct request *r, struct kvp_result *result)
{
    struct txn_answer a = {0};
    if (r->err == 0 && !txn_answer_open(&a, buf_slice(&r->body))) {
        answer_result(result, ERR_NOMEM, !r->flag, r->revision);
    }
    if (r->cb.txn != NULL) {
        r->cb.txn(r->data, result, result->outcome == KVP_OK ? &a.result : NULL);
    }
    txn_answer_close(&a);
}

static const struct request_kind txn_kind = {.name = "txn",
                                             .is_write = true,
                                             .start = txn_start,
                                             .cancel = txn_cancel,
                                             .finish = txn_finish};

static int host_txn_commit(struct kvp_txn *t, kvp_txn_fn *cb, void *data)
{
    if (t == NULL) {
        return KVP_INVALID;
    }
    int reason = t->failed;
    if (reason == 0) {
        reason = t->writes ? ctx_check_write(t->ctx) : ctx_check(t->ctx);
    }
    struct request *r = reason == 0 ? request_new(t->ctx, &txn_kind, data, &reason) : NULL;
    if (r != NULL) {
        r->cb.txn = cb;
        r->request = t->parts;
        buf_init(&t->parts);
        reason = request_submit(r);
    }
    host_txn_free(t);
    return reason;
}

void txn_calls(struct kvp_host *t)
{
    t->txn_new = host_txn_new;
    t->txn_compare = host_txn_compare;
    t->txn_put = host_txn_put;
    t->txn_del = host_txn_del;
    t->txn_get = host_txn_get;
    t->txn_commit = host_txn_commit;
    t->txn_free = host_txn_free;
}
