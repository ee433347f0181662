/* txn.c - transactions of the test host. */
#include <string.h>

#include "base/buf.h"
#include "plugins/testing/range.h"
#include "plugins/testing/world.h"

struct txn_op {
    uint32_t op;
    struct kvp_put put;
    struct kvp_del del;
    struct kvp_range range;
};

struct kvp_txn {
    struct list link; /* in kvp_ctx.txns, then among the graves */
    struct kvp_ctx *ctx;
    bool over;
    int failed; /* a filler's reason */
    bool writes;
    struct arena memory;
    struct kvp_compare *compares;
    size_t compare_count;
    struct txn_op *ops[2];
    size_t op_count[2];
};

struct kvp_txn *t_call_txn_new(struct kvp_ctx *ctx)
{
    if (ctx_enter(ctx, "txn_new") != 0) {
        return NULL;
    }
    struct kvp_txn *t = mem_zalloc(sizeof(*t));
    if (t != NULL) {
        t->ctx = ctx;
        arena_init(&t->memory, 0);
        list_push_back(&ctx->txns, &t->link);
    }
    return t;
}

/* 0, or why the filler is refused; remembered for the commit. */
static int txn_fill(struct kvp_txn *t, const char *call, bool valid)
{
    if (t->over) {
        misuse("%s on a transaction that was committed or freed", call);
        return KVP_INVALID;
    }
    int reason = ctx_enter(t->ctx, call);
    if (reason == 0 && !valid) {
        misuse("%s: an argument breaks its rule (KVP_INVALID)", call);
        reason = KVP_INVALID;
    }
    if (reason == 0) {
        /* An allocation that t_fail_alloc can hit. */
        void *probe = mem_alloc(1);
        reason = probe == NULL ? KVP_NO_MEMORY : 0;
        mem_free(probe);
    }
    t->failed = t->failed != 0 ? t->failed : reason;
    return reason;
}

static struct kvp_bytes txn_keep(struct kvp_txn *t, struct kvp_bytes bytes)
{
    struct slice copy = arena_dup(&t->memory, slice_of_kvp(bytes));
    return kvp_of_slice(copy);
}

int t_call_txn_compare(struct kvp_txn *t, const struct kvp_compare *c)
{
    bool valid = c != NULL && c->size != 0 && c->key.len > 0 && c->target <= KVP_CMP_LEASE &&
                 c->relation <= KVP_NOT_EQUAL;
    int reason = txn_fill(t, "txn_compare", valid);
    if (reason != 0) {
        return reason;
    }
    uint64_t left = quiet_begin();
    t->compares = mem_xrealloc(t->compares, (t->compare_count + 1) * sizeof(*t->compares));
    struct kvp_compare *own = &t->compares[t->compare_count++];
    *own = *c;
    own->key = txn_keep(t, c->key);
    own->end = txn_keep(t, c->end);
    own->value = txn_keep(t, c->value);
    quiet_end(left);
    return 0;
}

/* The new operation; the caller is quiet. */
static struct txn_op *txn_op(struct kvp_txn *t, uint32_t list, uint32_t op)
{
    t->ops[list] = mem_xrealloc(t->ops[list], (t->op_count[list] + 1) * sizeof(struct txn_op));
    struct txn_op *own = &t->ops[list][t->op_count[list]++];
    *own = (struct txn_op){.op = op};
    t->writes = t->writes || op != KVP_OP_GET;
    return own;
}

static bool txn_puts(const struct kvp_txn *t, uint32_t list, struct kvp_bytes key)
{
    for (size_t i = 0; i < t->op_count[list]; i++) {
        if (t->ops[list][i].op == KVP_OP_PUT &&
            slice_eq(slice_of_kvp(t->ops[list][i].put.key), slice_of_kvp(key))) {
            return true;
        }
    }
    return false;
}

int t_call_txn_put(struct kvp_txn *t, uint32_t list, const struct kvp_put *p)
{
    bool valid = list <= KVP_ELSE && put_check(p) == 0 && (t->over || !txn_puts(t, list, p->key));
    int reason = txn_fill(t, "txn_put", valid);
    if (reason != 0) {
        return reason;
    }
    uint64_t left = quiet_begin();
    struct txn_op *op = txn_op(t, list, KVP_OP_PUT);
    op->put = *p;
    op->put.key = txn_keep(t, p->key);
    op->put.value = txn_keep(t, p->value);
    quiet_end(left);
    return 0;
}

int t_call_txn_del(struct kvp_txn *t, uint32_t list, const struct kvp_del *d)
{
    int reason = txn_fill(t, "txn_del", list <= KVP_ELSE && del_check(d) == 0);
    if (reason != 0) {
        return reason;
    }
    uint64_t left = quiet_begin();
    struct txn_op *op = txn_op(t, list, KVP_OP_DEL);
    op->del = *d;
    op->del.key = txn_keep(t, d->key);
    op->del.end = txn_keep(t, d->end);
    quiet_end(left);
    return 0;
}

int t_call_txn_get(struct kvp_txn *t, uint32_t list, const struct kvp_range *r)
{
    int reason = txn_fill(t, "txn_get", list <= KVP_ELSE && range_check(r) == 0);
    if (reason != 0) {
        return reason;
    }
    uint64_t left = quiet_begin();
    struct txn_op *op = txn_op(t, list, KVP_OP_GET);
    op->range = *r;
    op->range.key = txn_keep(t, r->key);
    op->range.end = txn_keep(t, r->end);
    op->range.from = txn_keep(t, r->from);
    quiet_end(left);
    return 0;
}

/* ---- commit -------------------------------------------------------------------------------- */

static bool txn_relation(uint32_t relation, int order)
{
    switch (relation) {
    case KVP_EQUAL:
        return order == 0;
    case KVP_GREATER:
        return order > 0;
    case KVP_LESS:
        return order < 0;
    default:
        return order != 0;
    }
}

static bool txn_row_holds(const struct kvp_compare *c, const struct kvp_row *row)
{
    int64_t have = 0;
    switch (c->target) {
    case KVP_CMP_VALUE:
        return row != NULL && txn_relation(c->relation, slice_cmp(slice_of_kvp(row->value),
                                                                  slice_of_kvp(c->value)));
    case KVP_CMP_VERSION:
        have = row != NULL ? row->version : 0;
        break;
    case KVP_CMP_CREATE_REVISION:
        have = row != NULL ? row->create_revision : 0;
        break;
    case KVP_CMP_MOD_REVISION:
        have = row != NULL ? row->mod_revision : 0;
        break;
    default:
        have = row != NULL ? row->lease : 0;
        break;
    }
    return txn_relation(c->relation, have < c->number ? -1 : have > c->number);
}

static bool txn_compare_holds(const struct kvp_compare *c)
{
    const struct store *s = &world->store;
    struct span span = span_of(c->key, c->end, c->flags);
    if (!span.prefix && span.end.len == 0) {
        return txn_row_holds(c, store_row(s, span.key, 0));
    }
    size_t rows = 0;
    for (size_t i = store_seek(s, span.key); i < s->key_count && span_has(&span, s->keys[i]->bytes);
         i++) {
        const struct kvp_row *row = store_row_at(s, i, 0);
        if (row != NULL && !txn_row_holds(c, row)) {
            return false;
        }
        rows += row != NULL;
    }
    /* An empty range is compared as one missing row. */
    return rows > 0 || txn_row_holds(c, NULL);
}

static void txn_do(struct call *c, const struct txn_op *op, struct kvp_op_result *out)
{
    *out = (struct kvp_op_result){.op = op->op};
    if (op->op == KVP_OP_PUT) {
        put_do(&op->put);
    } else if (op->op == KVP_OP_DEL) {
        struct span span = span_of(op->del.key, op->del.end, op->del.flags);
        out->count = store_delete_span(&world->store, &span);
    } else {
        struct kvp_rows rows;
        range_read(&c->memory, &op->range, &rows);
        out->rows = rows.rows;
        out->row_count = rows.count;
        out->more = rows.more;
        out->count = rows.total;
    }
}

static void txn_effect(struct call *c)
{
    struct kvp_txn *t = c->txn;
    bool holds = true;
    for (size_t i = 0; i < t->compare_count && holds; i++) {
        holds = txn_compare_holds(&t->compares[i]);
    }
    uint32_t list = holds ? KVP_THEN : KVP_ELSE;
    for (size_t i = 0; i < t->op_count[list]; i++) {
        const struct txn_op *op = &t->ops[list][i];
        int32_t reason = op->op == KVP_OP_PUT ? put_possible(&op->put) : 0;
        if (op->op == KVP_OP_GET && op->range.revision != 0) {
            reason = op->range.revision < world->store.compacted  ? KVP_COMPACTED
                     : op->range.revision > world->store.revision ? KVP_FUTURE
                                                                  : 0;
        }
        if (reason != 0) {
            call_refuse(c, reason, "an operation of the transaction cannot be done");
            return;
        }
    }
    struct kvp_op_result *results =
        arena_zalloc(&c->memory, (t->op_count[list] + 1) * sizeof(*results));
    store_begin(&world->store);
    for (size_t i = 0; i < t->op_count[list]; i++) {
        txn_do(c, &t->ops[list][i], &results[i]);
    }
    c->result.revision = store_end(&world->store);
    watches_feed();
    c->txn_result = (struct kvp_txn_result){.size = sizeof(c->txn_result),
                                            .succeeded = holds,
                                            .ops = results,
                                            .count = t->op_count[list]};
}

/* The shell stays among the graves. */
static void txn_bury(struct kvp_txn *t)
{
    uint64_t left = quiet_begin();
    mem_free(t->compares);
    mem_free(t->ops[0]);
    mem_free(t->ops[1]);
    arena_close(&t->memory);
    t->compares = NULL;
    t->ops[0] = t->ops[1] = NULL;
    quiet_end(left);
}

static void txn_deliver(struct call *c, const struct kvp_result *r)
{
    c->txn_result.size = sizeof(c->txn_result);
    if (c->cb.txn != NULL) {
        c->cb.txn(c->data, r, &c->txn_result);
    }
    txn_bury(c->txn);
}

static void txn_over(struct kvp_txn *t)
{
    t->over = true;
    list_remove(&t->link);
    list_push_back(&world->graves, &t->link);
}

int t_call_txn_commit(struct kvp_txn *t, kvp_txn_fn *cb, void *data)
{
    if (t->over) {
        misuse("txn_commit on a transaction that was committed or freed");
        return KVP_INVALID;
    }
    txn_over(t);
    int reason = t->failed;
    if (reason == 0 && t->writes) {
        reason = write_allowed(t->ctx);
    }
    struct call *c = reason == 0 ? call_new(t->ctx, "txn_commit", &reason) : NULL;
    if (c == NULL) {
        txn_bury(t);
        return reason;
    }
    c->writes = t->writes;
    c->txn = t;
    c->effect = txn_effect;
    c->deliver = txn_deliver;
    c->cb.txn = cb;
    c->data = data;
    call_go(c);
    return 0;
}

void t_call_txn_free(struct kvp_txn *t)
{
    if (t == NULL) {
        return;
    }
    if (t->over) {
        misuse("txn_free on a transaction that was committed or freed");
        return;
    }
    txn_over(t);
    txn_bury(t);
}

void txns_end(struct kvp_ctx *ctx)
{
    if (!list_empty(&ctx->txns)) {
        fail_test(world->file, world->line, "%s: a transaction was neither committed nor freed",
                  world->plugin->name);
    }
    while (!list_empty(&ctx->txns)) {
        struct kvp_txn *t = LIST_ENTRY(ctx->txns.next, struct kvp_txn, link);
        txn_over(t);
        txn_bury(t);
    }
}
