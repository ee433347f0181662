/* txn_compare.c - the COMPARE phase: which branch of every transaction on the path, hence which
 * operations, in order. All compares see the state before the transaction (contract T-06). */
#include "base/err.h"
#include "kv/txn.h"

#define TARGET(x) ETCDSERVERPB__COMPARE__COMPARE_TARGET__##x
#define RESULT(x) ETCDSERVERPB__COMPARE__COMPARE_RESULT__##x
#define UNION(x)  ETCDSERVERPB__COMPARE__TARGET_UNION_##x
#define OP(x)     ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_##x

int txn_push_step(struct txn *t, struct txn_step step)
{
    if (t->len == t->cap) {
        size_t cap = t->cap == 0 ? 16 : t->cap * 2;
        struct txn_step *steps = arena_alloc(t->arena, cap * sizeof(*steps));
        if (steps == NULL) {
            return ERR_NOMEM;
        }
        for (size_t i = 0; i < t->len; i++) {
            steps[i] = t->steps[i];
        }
        t->steps = steps;
        t->cap = cap;
    }
    t->steps[t->len++] = step;
    return 0;
}

/* ---- one compare
 * --------------------------------------------------------------------------------- */

static bool judge_order(Etcdserverpb__Compare__CompareResult wanted, int order)
{
    switch (wanted) {
    case RESULT(EQUAL):
        return order == 0;
    case RESULT(NOT_EQUAL):
        return order != 0;
    case RESULT(GREATER):
        return order > 0;
    case RESULT(LESS):
        return order < 0;
    default:
        return true;
    }
}

static int compare_int(int64_t a, int64_t b)
{
    return a < b ? -1 : a > b;
}

/* The number the compare names; 0 when its union holds another target's (contract T-04). */
static int64_t wanted_number(const Etcdserverpb__Compare *c)
{
    switch (c->target) {
    case TARGET(VERSION):
        return c->target_union_case == UNION(VERSION) ? c->version : 0;
    case TARGET(CREATE):
        return c->target_union_case == UNION(CREATE_REVISION) ? c->create_revision : 0;
    case TARGET(MOD):
        return c->target_union_case == UNION(MOD_REVISION) ? c->mod_revision : 0;
    default:
        return c->target_union_case == UNION(LEASE) ? c->lease : 0;
    }
}

/* One live version against the compare. 1 = holds, 0 = does not, negative = -(enum err). */
static int compare_version(struct txn *t, const Etcdserverpb__Compare *c, const struct version *v)
{
    int order = 0;
    switch (c->target) {
    case TARGET(VERSION):
        order = compare_int(v->version, wanted_number(c));
        break;
    case TARGET(CREATE):
        order = compare_int(v->create, wanted_number(c));
        break;
    case TARGET(MOD):
        order = compare_int(v->rev.main, wanted_number(c));
        break;
    case TARGET(LEASE):
        order = compare_int(v->lease, wanted_number(c));
        break;
    case TARGET(VALUE): {
        struct record record;
        struct key_value kv;
        struct slice wanted = {0};
        int err = mvcc_record(t->view, v->rev, &record);
        if (err != 0 || !key_value_parse(record.kv, &kv)) {
            return err != 0 ? -err : -ERR_DAMAGED;
        }
        if (c->target_union_case == UNION(VALUE)) {
            wanted = slice_of(c->value.data, c->value.len);
        }
        order = slice_cmp(kv.value, wanted);
        break;
    }
    default:
        break;
    }
    return judge_order(c->result, order);
}

/* No key there: all numbers are 0, and no value compares as anything (contract T-04, T-05). */
static bool compare_absent(const Etcdserverpb__Compare *c)
{
    if (c->target == TARGET(VALUE)) {
        return false;
    }
    bool number = c->target == TARGET(VERSION) || c->target == TARGET(CREATE) ||
                  c->target == TARGET(MOD) || c->target == TARGET(LEASE);
    return judge_order(c->result, number ? compare_int(0, wanted_number(c)) : 0);
}

static int compare_one_key(struct txn *t, const Etcdserverpb__Compare *c)
{
    struct version v;
    struct rev at = {.main = t->begin, .sub = REV_SUB_MAX};
    int found = mvcc_find(t->reader, slice_of(c->key.data, c->key.len), at, &v);
    if (found < 0) {
        return found;
    }
    return found == 0 || v.tombstone ? compare_absent(c) : compare_version(t, c, &v);
}

/* Every key of the range. 2 = budget used up. */
static int compare_range(struct txn *t, const Etcdserverpb__Compare *c, uint32_t *budget)
{
    int verdict = 1;
    if (!t->walking) {
        int err = mvcc_iter_open(&t->iter, t->view, slice_of(c->key.data, c->key.len),
                                 slice_of(c->range_end.data, c->range_end.len), t->begin);
        t->walking = true;
        t->any = false;
        if (err != 0) {
            return -err;
        }
    }
    while (verdict == 1) {
        int found = *budget == 0 ? 2 : mvcc_iter_next(&t->iter, budget);
        if (found == 2) {
            return 2;
        }
        if (found <= 0) {
            verdict = found < 0 ? found : t->any ? 1 : compare_absent(c);
            break;
        }
        t->any = true;
        verdict = compare_version(t, c, &t->iter.version);
    }
    mvcc_iter_close(&t->iter);
    t->walking = false;
    return verdict;
}

/* ---- the path
 * ------------------------------------------------------------------------------------ */

static int txn_push_frame(struct txn *t, const Etcdserverpb__TxnRequest *request)
{
    if (t->depth == TXN_DEPTH_MAX) {
        return ERR_TOO_DEEP;
    }
    t->stack[t->depth++] = (struct txn_frame){.request = request};
    return 0;
}

static int txn_choose(struct txn *t, struct txn_frame *f, bool succeeded)
{
    f->chosen = true;
    f->ops = succeeded ? f->request->success : f->request->failure;
    f->op_count = succeeded ? f->request->n_success : f->request->n_failure;
    return txn_push_step(t, (struct txn_step){.kind = TXN_ENTER, .succeeded = succeeded});
}

static int txn_list_op(struct txn *t, const Etcdserverpb__RequestOp *op)
{
    switch (op->request_case) {
    case OP(RANGE):
        return txn_push_step(t, (struct txn_step){.kind = TXN_RANGE, .u.range = op->request_range});
    case OP(PUT):
        return txn_push_step(t, (struct txn_step){.kind = TXN_PUT, .u.put = op->request_put});
    case OP(DELETE_RANGE):
        return txn_push_step(
            t, (struct txn_step){.kind = TXN_DELETE, .u.delete_range = op->request_delete_range});
    case OP(TXN):
        return txn_push_frame(t, op->request_txn);
    default:
        return ERR_KEY_NOT_FOUND; /* an operation without a variant (contract T-02) */
    }
}

int txn_set_txn(struct txn *t, const Etcdserverpb__TxnRequest *txn)
{
    t->nested = true;
    t->phase = TXN_PHASE_COMPARE;
    return txn_push_frame(t, txn);
}

/* One compare of the frame, or its choice. *more = budget used up. */
static int txn_compare_step(struct txn *t, struct txn_frame *f, uint32_t *budget, bool *more)
{
    if (f->compare == f->request->n_compare) {
        return txn_choose(t, f, true);
    }
    const Etcdserverpb__Compare *c = f->request->compare[f->compare];
    if (c->key.len == 0) {
        return ERR_EMPTY_KEY;
    }
    int verdict = c->range_end.len > 0 ? compare_range(t, c, budget) : compare_one_key(t, c);
    *budget -= *budget > 0;
    if (verdict < 0) {
        return txn_read_failed(t, -verdict);
    }
    if (verdict == 2) {
        *more = true;
        return 0;
    }
    f->compare++;
    return verdict == 1 ? 0 : txn_choose(t, f, false);
}

enum kv_progress txn_compare(struct txn *t, uint32_t *budget, int *err)
{
    bool more = false;
    while (t->depth > 0 && *err == 0) {
        struct txn_frame *f = &t->stack[t->depth - 1];
        if (*budget == 0 || more) {
            return KV_MORE;
        }
        if (!f->chosen) {
            *err = txn_compare_step(t, f, budget, &more);
        } else if (f->op < f->op_count) {
            (*budget)--;
            *err = txn_list_op(t, f->ops[f->op++]);
        } else {
            *err = txn_push_step(t, (struct txn_step){.kind = TXN_LEAVE});
            t->depth--;
        }
    }
    return KV_DONE;
}
