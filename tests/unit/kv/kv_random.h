/* kv_random.h - random requests over the model's keys. Structs live in the model's arena. */
#ifndef KVD_TESTS_KV_RANDOM_H
#define KVD_TESTS_KV_RANDOM_H

#include "kv_model.h"

static ProtobufCBinaryData random_key(struct model *m, struct rand *rnd)
{
    return bin_of(m->names[rand_below(rnd, MODEL_KEYS)]);
}

/* Mostly one key, else a range, sometimes everything or an empty range. */
static ProtobufCBinaryData random_end(struct model *m, struct rand *rnd)
{
    switch (rand_below(rnd, 6)) {
    case 0:
        return bin_zero();
    case 1:
    case 2:
        return random_key(m, rnd);
    default:
        return (ProtobufCBinaryData){0};
    }
}

static ProtobufCBinaryData random_value(struct model *m, struct rand *rnd)
{
    static const char *const words[] = {"", "x", "y", "zz", "a longer value that varies little"};
    char text[64];
    snprintf(text, sizeof(text), "%s%u", words[rand_below(rnd, 5)], (unsigned)rand_below(rnd, 9));
    size_t len = rand_below(rnd, 4) == 0 ? 0 : strlen(text);
    return bin_of(arena_dup(&m->arena, slice_of(text, len)));
}

static int64_t random_revision(struct model *m, struct rand *rnd)
{
    switch (rand_below(rnd, 8)) {
    case 0:
        return -(int64_t)rand_below(rnd, 4);
    case 1:
        return (int64_t)rand_below(rnd, (uint64_t)m->revision + 3);
    case 2:
    case 3: {
        int64_t floor = m->floor > 0 ? m->floor : 0;
        return floor + (int64_t)rand_below(rnd, (uint64_t)(m->revision - floor) + 1);
    }
    default:
        return 0;
    }
}

static Etcdserverpb__RangeRequest *random_range(struct model *m, struct rand *rnd)
{
    Etcdserverpb__RangeRequest *q = arena_alloc(&m->arena, sizeof(*q));
    etcdserverpb__range_request__init(q);
    q->key = rand_below(rnd, 4) == 0 ? bin_zero() : random_key(m, rnd);
    q->range_end = rand_below(rnd, 3) == 0 ? (ProtobufCBinaryData){0} : random_end(m, rnd);
    if (q->range_end.len == 0 && rand_below(rnd, 2) == 0) {
        q->range_end = bin_zero();
    }
    q->revision = random_revision(m, rnd);
    q->limit = rand_below(rnd, 2) == 0 ? (int64_t)rand_below(rnd, 12) - 1 : 0;
    if (rand_below(rnd, 2) == 0) {
        q->sort_order = (Etcdserverpb__RangeRequest__SortOrder)rand_below(rnd, 3);
        q->sort_target = (Etcdserverpb__RangeRequest__SortTarget)rand_below(rnd, 5);
    }
    q->keys_only = rand_below(rnd, 4) == 0;
    q->count_only = rand_below(rnd, 8) == 0;
    if (rand_below(rnd, 4) == 0) {
        uint64_t top = (uint64_t)m->revision + 1;
        q->min_mod_revision = rand_below(rnd, 2) ? (int64_t)rand_below(rnd, top) : 0;
        q->max_mod_revision = rand_below(rnd, 2) ? (int64_t)rand_below(rnd, top) : 0;
        q->min_create_revision = rand_below(rnd, 2) ? (int64_t)rand_below(rnd, top) : 0;
        q->max_create_revision = rand_below(rnd, 2) ? (int64_t)rand_below(rnd, top) : 0;
    }
    return q;
}

static Etcdserverpb__PutRequest *random_put(struct model *m, struct rand *rnd)
{
    Etcdserverpb__PutRequest *p = arena_alloc(&m->arena, sizeof(*p));
    etcdserverpb__put_request__init(p);
    p->key = random_key(m, rnd);
    p->prev_kv = rand_below(rnd, 3) == 0;
    p->ignore_value = rand_below(rnd, 12) == 0;
    p->ignore_lease = rand_below(rnd, 12) == 0;
    if (!p->ignore_value) {
        p->value = random_value(m, rnd);
    }
    if (!p->ignore_lease && rand_below(rnd, 3) == 0) {
        p->lease = (int64_t)(1 + rand_below(rnd, MODEL_LEASES));
    }
    return p;
}

static Etcdserverpb__DeleteRangeRequest *random_delete(struct model *m, struct rand *rnd)
{
    Etcdserverpb__DeleteRangeRequest *d = arena_alloc(&m->arena, sizeof(*d));
    etcdserverpb__delete_range_request__init(d);
    d->key = random_key(m, rnd);
    d->range_end = rand_below(rnd, 3) == 0 ? random_end(m, rnd) : (ProtobufCBinaryData){0};
    d->prev_kv = rand_below(rnd, 2) == 0;
    return d;
}

static Etcdserverpb__Compare *random_compare(struct model *m, struct rand *rnd)
{
    Etcdserverpb__Compare *c = arena_alloc(&m->arena, sizeof(*c));
    etcdserverpb__compare__init(c);
    c->key = random_key(m, rnd);
    c->range_end = rand_below(rnd, 4) == 0 ? random_end(m, rnd) : (ProtobufCBinaryData){0};
    c->result = (Etcdserverpb__Compare__CompareResult)rand_below(rnd, 4);
    c->target = (Etcdserverpb__Compare__CompareTarget)rand_below(rnd, 5);
    switch (rand_below(rnd, 7)) {
    case 0:
        break; /* no value in the union */
    case 1:
        c->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION;
        c->version = (int64_t)rand_below(rnd, 4);
        break;
    case 2:
        c->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE;
        c->lease = (int64_t)rand_below(rnd, MODEL_LEASES);
        break;
    case 3:
        c->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE;
        c->value = random_value(m, rnd);
        break;
    case 4:
        c->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION;
        c->create_revision = (int64_t)rand_below(rnd, (uint64_t)m->revision);
        break;
    default:
        c->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
        c->mod_revision = (int64_t)rand_below(rnd, (uint64_t)m->revision);
        break;
    }
    return c;
}

static Etcdserverpb__TxnRequest *random_txn(struct model *m, struct rand *rnd, int depth,
                                            bool read_only);

static Etcdserverpb__RequestOp *random_op(struct model *m, struct rand *rnd, int depth,
                                          bool read_only)
{
    Etcdserverpb__RequestOp *o = arena_alloc(&m->arena, sizeof(*o));
    etcdserverpb__request_op__init(o);
    uint64_t kind = read_only ? 0 : rand_below(rnd, depth < 3 ? 8 : 7);
    if (kind < 2) {
        o->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
        o->request_range = random_range(m, rnd);
        if (rand_below(rnd, 4) != 0) {
            o->request_range->revision = 0;
        }
    } else if (kind < 5) {
        o->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
        o->request_put = random_put(m, rnd);
        if (rand_below(rnd, 4) != 0) {
            o->request_put->lease = 0;
        }
    } else if (kind < 7) {
        o->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
        o->request_delete_range = random_delete(m, rnd);
    } else {
        o->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN;
        o->request_txn = random_txn(m, rnd, depth + 1, false);
    }
    return o;
}

static Etcdserverpb__TxnRequest *random_txn(struct model *m, struct rand *rnd, int depth,
                                            bool read_only)
{
    Etcdserverpb__TxnRequest *t = arena_alloc(&m->arena, sizeof(*t));
    etcdserverpb__txn_request__init(t);
    t->n_compare = rand_below(rnd, 3);
    t->compare = arena_alloc(&m->arena, 4 * sizeof(t->compare[0]));
    t->success = arena_alloc(&m->arena, 4 * sizeof(t->success[0]));
    t->failure = arena_alloc(&m->arena, 4 * sizeof(t->failure[0]));
    for (size_t i = 0; i < t->n_compare; i++) {
        t->compare[i] = random_compare(m, rnd);
    }
    t->n_success = rand_below(rnd, 5);
    t->n_failure = rand_below(rnd, 5);
    for (size_t i = 0; i < t->n_success; i++) {
        t->success[i] = random_op(m, rnd, depth, read_only);
    }
    for (size_t i = 0; i < t->n_failure; i++) {
        t->failure[i] = random_op(m, rnd, depth, read_only);
    }
    return t;
}

/* Any operation that changes something, with the weights of a busy cluster. */
static void random_request(struct model *m, struct rand *rnd, Etcdserverpb__InternalRaftRequest *r)
{
    etcdserverpb__internal_raft_request__init(r);
    uint64_t kind = rand_below(rnd, 100);
    if (kind < 40) {
        r->put = random_put(m, rnd);
    } else if (kind < 55) {
        r->delete_range = random_delete(m, rnd);
    } else if (kind < 82) {
        r->txn = random_txn(m, rnd, 0, false);
    } else if (kind < 90) {
        r->lease_grant = arena_alloc(&m->arena, sizeof(*r->lease_grant));
        etcdserverpb__lease_grant_request__init(r->lease_grant);
        r->lease_grant->id = (int64_t)(1 + rand_below(rnd, MODEL_LEASES));
        r->lease_grant->ttl = (int64_t)(1 + rand_below(rnd, 100));
    } else if (kind < 95) {
        r->lease_revoke = arena_alloc(&m->arena, sizeof(*r->lease_revoke));
        etcdserverpb__lease_revoke_request__init(r->lease_revoke);
        r->lease_revoke->id = (int64_t)(1 + rand_below(rnd, MODEL_LEASES));
    } else {
        r->compaction = arena_alloc(&m->arena, sizeof(*r->compaction));
        etcdserverpb__compaction_request__init(r->compaction);
        int64_t floor = m->floor > 0 ? m->floor : 0;
        r->compaction->revision = floor + (int64_t)rand_below(rnd, 30);
    }
}

#endif
