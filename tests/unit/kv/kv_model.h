/* kv_model.h - the database as a plain list of versions, slow and obvious, to compare the real one
 * with. Answers are built with the generated structs and compared byte for byte. */
#ifndef KVD_TESTS_KV_MODEL_H
#define KVD_TESTS_KV_MODEL_H

#include "kv_fixture.h"

#include "base/rand.h"
#include "kv/record.h"

#define MODEL_KEYS   48
#define MODEL_LEASES 6

/* One version of one key, in the order of revisions. */
struct mversion {
    int key; /* place in model.names: byte order */
    struct rev rev;
    bool tombstone;
    int64_t create;
    int64_t version;
    int64_t lease;
    uint8_t *value;
    size_t value_len;
    bool superseded;
    int64_t superseded_at;
};

struct model {
    struct arena arena; /* values, answers */
    struct slice names[MODEL_KEYS];
    struct mversion *versions;
    size_t len;
    size_t cap;
    int64_t revision;
    int64_t floor;
    int64_t leases[MODEL_LEASES]; /* ids; 0 = free */
    int64_t ttls[MODEL_LEASES];
    uint32_t subs; /* changes of the operation being applied */
};

static int name_order(const void *a, const void *b)
{
    return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

static void model_init(struct model *m, struct rand *rnd)
{
    memset(m, 0, sizeof(*m));
    arena_init(&m->arena, 0);
    m->revision = 1;
    m->floor = -1;
    for (int i = 0; i < MODEL_KEYS; i++) {
        /* Short keys of few letters, zero bytes and 0xff among them, all different. */
        static const uint8_t letters[] = {0, 1, 'a', 'b', 0xff};
        bool again = true;
        while (again) {
            uint8_t key[5];
            size_t len = 1 + rand_below(rnd, sizeof(key));
            for (size_t j = 0; j < len; j++) {
                key[j] = letters[rand_below(rnd, sizeof(letters))];
            }
            m->names[i] = arena_dup(&m->arena, slice_of(key, len));
            again = false;
            for (int j = 0; j < i; j++) {
                again = again || slice_eq(m->names[j], m->names[i]);
            }
        }
    }
    qsort(m->names, MODEL_KEYS, sizeof(m->names[0]), name_order);
}

static void model_close(struct model *m)
{
    free(m->versions);
    arena_close(&m->arena);
}

/* The newest version with main <= at; tombstones included. */
static struct mversion *model_newest(struct model *m, int key, int64_t at)
{
    for (size_t i = m->len; i-- > 0;) {
        if (m->versions[i].key == key && m->versions[i].rev.main <= at) {
            return &m->versions[i];
        }
    }
    return NULL;
}

static struct mversion *model_live(struct model *m, int key, int64_t at)
{
    struct mversion *v = model_newest(m, key, at);
    return v == NULL || v->tombstone ? NULL : v;
}

static int model_key(const struct model *m, struct slice name)
{
    for (int i = 0; i < MODEL_KEYS; i++) {
        if (slice_eq(m->names[i], name)) {
            return i;
        }
    }
    return -1;
}

static bool in_range(struct slice name, ProtobufCBinaryData key, ProtobufCBinaryData end)
{
    struct slice from = slice_of(key.data, key.len);
    struct slice to = slice_of(end.data, end.len);
    if (to.len == 0) {
        return slice_eq(name, from);
    }
    if (to.len == 1 && to.data[0] == 0) {
        return slice_cmp(name, from) >= 0;
    }
    return slice_cmp(name, from) >= 0 && slice_cmp(name, to) < 0;
}

static Mvccpb__KeyValue *model_kv(struct model *m, const struct mversion *v)
{
    Mvccpb__KeyValue *kv = arena_alloc(&m->arena, sizeof(*kv));
    mvccpb__key_value__init(kv);
    kv->key = bin_of(m->names[v->key]);
    kv->create_revision = v->create;
    kv->mod_revision = v->rev.main;
    kv->version = v->version;
    kv->value = (ProtobufCBinaryData){.data = v->value, .len = v->value_len};
    kv->lease = v->lease;
    return kv;
}

/* ---- ranges: etcd's executeRange, step by step
 * --------------------------------------------------- */

struct msort {
    Mvccpb__KeyValue *kv;
    size_t place;
    Etcdserverpb__RangeRequest__SortTarget target;
    bool descending;
};

static int64_t msort_number(const struct msort *s)
{
    switch (s->target) {
    case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VERSION:
        return s->kv->version;
    case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__CREATE:
        return s->kv->create_revision;
    default:
        return s->kv->mod_revision;
    }
}

static int msort_cmp(const void *x, const void *y)
{
    const struct msort *a = x;
    const struct msort *b = y;
    int order = 0;
    if (a->target == ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY) {
        order = slice_cmp(slice_of(a->kv->key.data, a->kv->key.len),
                          slice_of(b->kv->key.data, b->kv->key.len));
    } else if (a->target == ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE) {
        order = slice_cmp(slice_of(a->kv->value.data, a->kv->value.len),
                          slice_of(b->kv->value.data, b->kv->value.len));
    } else {
        int64_t p = msort_number(a);
        int64_t q = msort_number(b);
        order = p < q ? -1 : p > q;
    }
    if (order != 0) {
        return a->descending ? -order : order;
    }
    return a->place < b->place ? -1 : a->place > b->place;
}

/* The answer at a visible revision, with a header when `header` > 0. */
static Etcdserverpb__RangeResponse *
model_range(struct model *m, const Etcdserverpb__RangeRequest *q, int64_t visible, int64_t header)
{
    enum {
        NONE = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__NONE,
        ASCEND = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__ASCEND,
        DESCEND = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND,
        KEY = ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY,
        VALUE = ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE
    };
    Etcdserverpb__RangeResponse *a = arena_alloc(&m->arena, sizeof(*a));
    etcdserverpb__range_response__init(a);
    if (header > 0) {
        a->header = arena_alloc(&m->arena, sizeof(*a->header));
        etcdserverpb__response_header__init(a->header);
        a->header->revision = header;
    }
    int64_t at = q->revision > 0 ? q->revision : visible;
    bool filters = q->min_mod_revision != 0 || q->max_mod_revision != 0 ||
                   q->min_create_revision != 0 || q->max_create_revision != 0;
    int asked = (int)q->sort_order;
    int target = (int)q->sort_target;
    bool natural = asked == NONE || (target == KEY && asked == ASCEND);
    int64_t fetch = natural && !filters && q->limit > 0 ? q->limit : 0;
    struct msort rows[MODEL_KEYS];
    size_t n = 0;
    for (int k = 0; k < MODEL_KEYS; k++) {
        struct mversion *v = model_live(m, k, at);
        if (v == NULL || !in_range(m->names[k], q->key, q->range_end)) {
            continue;
        }
        a->count++;
        if (q->count_only || (fetch > 0 && (int64_t)n > fetch)) {
            continue; /* limit + 1 are fetched */
        }
        rows[n] = (struct msort){.kv = model_kv(m, v), .place = n, .target = q->sort_target};
        if (q->keys_only && target != VALUE) {
            rows[n].kv->value.len = 0;
            rows[n].kv->lease = 0;
        }
        n++;
    }
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        const Mvccpb__KeyValue *kv = rows[i].kv;
        if ((q->max_mod_revision != 0 && kv->mod_revision > q->max_mod_revision) ||
            (q->min_mod_revision != 0 && kv->mod_revision < q->min_mod_revision) ||
            (q->max_create_revision != 0 && kv->create_revision > q->max_create_revision) ||
            (q->min_create_revision != 0 && kv->create_revision < q->min_create_revision)) {
            continue;
        }
        rows[kept++] = rows[i];
    }
    n = kept;
    int order = target != KEY && asked == NONE ? ASCEND : asked;
    for (size_t i = 0; i < n; i++) {
        rows[i].descending = order == DESCEND;
        rows[i].place = i;
    }
    if (order != NONE) {
        qsort(rows, n, sizeof(rows[0]), msort_cmp);
    }
    if (q->limit > 0 && (int64_t)n > q->limit) {
        n = (size_t)q->limit;
        a->more = 1;
    }
    a->n_kvs = n;
    a->kvs = arena_alloc(&m->arena, (n + 1) * sizeof(a->kvs[0]));
    for (size_t i = 0; i < n; i++) {
        a->kvs[i] = rows[i].kv;
        if (q->keys_only) {
            a->kvs[i]->value.len = 0;
        }
    }
    return a;
}

/* ---- writes
 * -------------------------------------------------------------------------------------- */

static int model_lease(const struct model *m, int64_t id)
{
    for (int i = 0; i < MODEL_LEASES; i++) {
        if (id != 0 && m->leases[i] == id) {
            return i;
        }
    }
    return -1;
}

static int64_t model_visible(const struct model *m)
{
    return m->revision + (m->subs > 0);
}

static struct mversion *model_change(struct model *m, int key)
{
    if (m->len == m->cap) {
        m->cap = m->cap == 0 ? 256 : m->cap * 2;
        m->versions = realloc(m->versions, m->cap * sizeof(m->versions[0]));
    }
    struct mversion *before = model_live(m, key, m->revision + 1);
    if (before != NULL) {
        before->superseded = true;
        before->superseded_at = m->revision + 1;
    }
    struct mversion *v = &m->versions[m->len];
    memset(v, 0, sizeof(*v));
    v->key = key;
    v->rev = (struct rev){.main = m->revision + 1, .sub = m->subs++};
    return v;
}

static Etcdserverpb__PutResponse *model_put(struct model *m, const Etcdserverpb__PutRequest *p,
                                            bool nested)
{
    Etcdserverpb__PutResponse *a = arena_alloc(&m->arena, sizeof(*a));
    etcdserverpb__put_response__init(a);
    int key = model_key(m, slice_of(p->key.data, p->key.len));
    struct mversion *live = model_live(m, key, m->revision + 1);
    struct mversion old = {0};
    if (live != NULL) {
        old = *live;
        if (p->prev_kv) {
            a->prev_kv = model_kv(m, live);
        }
    }
    struct mversion *v = model_change(m, key);
    struct slice value = slice_of(p->value.data, p->value.len);
    if (p->ignore_value) {
        value = slice_of(old.value, old.value_len);
    }
    v->value = (uint8_t *)arena_dup(&m->arena, value).data;
    v->value_len = value.len;
    v->lease = p->ignore_lease ? old.lease : p->lease;
    v->create = live != NULL ? old.create : m->revision + 1;
    v->version = live != NULL ? old.version + 1 : 1;
    m->len++;
    if (nested) {
        a->header = arena_alloc(&m->arena, sizeof(*a->header));
        etcdserverpb__response_header__init(a->header);
        a->header->revision = m->revision + 1;
    }
    return a;
}

static Etcdserverpb__DeleteRangeResponse *
model_delete(struct model *m, const Etcdserverpb__DeleteRangeRequest *d, bool nested)
{
    Etcdserverpb__DeleteRangeResponse *a = arena_alloc(&m->arena, sizeof(*a));
    etcdserverpb__delete_range_response__init(a);
    a->prev_kvs = arena_alloc(&m->arena, MODEL_KEYS * sizeof(a->prev_kvs[0]));
    int64_t visible = model_visible(m);
    for (int k = 0; k < MODEL_KEYS; k++) {
        struct mversion *live = model_live(m, k, visible);
        if (live == NULL || !in_range(m->names[k], d->key, d->range_end)) {
            continue;
        }
        if (d->prev_kv) {
            a->prev_kvs[a->n_prev_kvs++] = model_kv(m, live);
        }
        model_change(m, k)->tombstone = true;
        m->len++;
        a->deleted++;
    }
    if (nested) {
        a->header = arena_alloc(&m->arena, sizeof(*a->header));
        etcdserverpb__response_header__init(a->header);
        a->header->revision = model_visible(m);
    }
    return a;
}

/* ---- transactions
 * -------------------------------------------------------------------------------- */

static bool model_compare_kv(const Etcdserverpb__Compare *c, const Mvccpb__KeyValue *kv)
{
    int64_t have = 0;
    int64_t want = 0;
    int order = 0;
    switch (c->target) {
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE: {
        struct slice value = {0};
        if (c->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE) {
            value = slice_of(c->value.data, c->value.len);
        }
        order = slice_cmp(slice_of(kv->value.data, kv->value.len), value);
        break;
    }
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE:
        have = kv->create_revision;
        want = c->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION
                   ? c->create_revision
                   : 0;
        break;
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD:
        have = kv->mod_revision;
        want = c->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION
                   ? c->mod_revision
                   : 0;
        break;
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION:
        have = kv->version;
        want = c->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION ? c->version : 0;
        break;
    default:
        have = kv->lease;
        want = c->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE ? c->lease : 0;
        break;
    }
    order = order != 0 ? order : have < want ? -1 : have > want;
    switch (c->result) {
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL:
        return order == 0;
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__NOT_EQUAL:
        return order != 0;
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER:
        return order > 0;
    default:
        return order < 0;
    }
}

static bool model_compare(struct model *m, const Etcdserverpb__Compare *c)
{
    bool any = false;
    for (int k = 0; k < MODEL_KEYS; k++) {
        struct mversion *v = model_live(m, k, m->revision);
        if (v != NULL && in_range(m->names[k], c->key, c->range_end)) {
            any = true;
            if (!model_compare_kv(c, model_kv(m, v))) {
                return false;
            }
        }
    }
    Mvccpb__KeyValue nothing = MVCCPB__KEY_VALUE__INIT;
    return any || (c->target != ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE &&
                   model_compare_kv(c, &nothing));
}

/* Which branch every transaction of the tree takes, in the order they are met. */
static void model_path(struct model *m, const Etcdserverpb__TxnRequest *t, bool *path, size_t *len)
{
    bool ok = true;
    for (size_t i = 0; i < t->n_compare && ok; i++) {
        ok = model_compare(m, t->compare[i]);
    }
    path[(*len)++] = ok;
    Etcdserverpb__RequestOp **ops = ok ? t->success : t->failure;
    for (size_t i = 0; i < (ok ? t->n_success : t->n_failure); i++) {
        if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN) {
            model_path(m, ops[i]->request_txn, path, len);
        }
    }
}

static int model_check(struct model *m, const Etcdserverpb__TxnRequest *t, const bool **path)
{
    bool ok = *(*path)++;
    Etcdserverpb__RequestOp **ops = ok ? t->success : t->failure;
    for (size_t i = 0; i < (ok ? t->n_success : t->n_failure); i++) {
        int err = 0;
        if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN) {
            err = model_check(m, ops[i]->request_txn, path);
        } else if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE) {
            int64_t revision = ops[i]->request_range->revision;
            err = revision > m->revision                 ? ERR_FUTURE_REV
                  : revision != 0 && revision < m->floor ? ERR_COMPACTED
                                                         : 0;
        } else if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT) {
            const Etcdserverpb__PutRequest *p = ops[i]->request_put;
            int key = model_key(m, slice_of(p->key.data, p->key.len));
            if (p->lease != 0 && model_lease(m, p->lease) < 0) {
                err = ERR_LEASE_NOT_FOUND;
            } else if ((p->ignore_value || p->ignore_lease) &&
                       model_live(m, key, m->revision) == NULL) {
                err = ERR_KEY_NOT_FOUND;
            }
        }
        if (err != 0) {
            return err;
        }
    }
    return 0;
}

static Etcdserverpb__TxnResponse *model_run(struct model *m, const Etcdserverpb__TxnRequest *t,
                                            const bool **path, bool nested)
{
    bool ok = *(*path)++;
    Etcdserverpb__RequestOp **ops = ok ? t->success : t->failure;
    size_t n = ok ? t->n_success : t->n_failure;
    Etcdserverpb__TxnResponse *a = arena_alloc(&m->arena, sizeof(*a));
    etcdserverpb__txn_response__init(a);
    a->succeeded = ok;
    a->n_responses = n;
    a->responses = arena_alloc(&m->arena, (n + 1) * sizeof(a->responses[0]));
    if (nested) {
        a->header = arena_alloc(&m->arena, sizeof(*a->header));
        etcdserverpb__response_header__init(a->header);
    }
    for (size_t i = 0; i < n; i++) {
        Etcdserverpb__ResponseOp *r = arena_alloc(&m->arena, sizeof(*r));
        etcdserverpb__response_op__init(r);
        a->responses[i] = r;
        switch (ops[i]->request_case) {
        case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE:
            r->response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE;
            r->response_range =
                model_range(m, ops[i]->request_range, model_visible(m), model_visible(m));
            break;
        case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
            r->response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT;
            r->response_put = model_put(m, ops[i]->request_put, true);
            break;
        case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
            r->response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE;
            r->response_delete_range = model_delete(m, ops[i]->request_delete_range, true);
            break;
        default:
            r->response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_TXN;
            r->response_txn = model_run(m, ops[i]->request_txn, path, true);
            break;
        }
    }
    return a;
}

/* ---- one operation
 * ------------------------------------------------------------------------------- */

/* Applies an operation to the model; *answer = the expected response, NULL for an empty one. */
static int model_apply(struct model *m, const Etcdserverpb__InternalRaftRequest *r, void **answer)
{
    *answer = NULL;
    m->subs = 0;
    int err = 0;
    if (r->put != NULL) {
        int key = model_key(m, slice_of(r->put->key.data, r->put->key.len));
        if (r->put->lease != 0 && model_lease(m, r->put->lease) < 0) {
            err = ERR_LEASE_NOT_FOUND;
        } else if ((r->put->ignore_value || r->put->ignore_lease) &&
                   model_live(m, key, m->revision) == NULL) {
            err = ERR_KEY_NOT_FOUND;
        } else {
            *answer = model_put(m, r->put, false);
        }
    } else if (r->delete_range != NULL) {
        *answer = model_delete(m, r->delete_range, false);
    } else if (r->txn != NULL) {
        bool path[256];
        size_t len = 0;
        const bool *at = path;
        model_path(m, r->txn, path, &len);
        err = model_check(m, r->txn, &at);
        if (err == 0) {
            at = path;
            *answer = model_run(m, r->txn, &at, false);
        }
    } else if (r->compaction != NULL) {
        err = r->compaction->revision <= m->floor     ? ERR_COMPACTED
              : r->compaction->revision > m->revision ? ERR_FUTURE_REV
                                                      : 0;
        if (err == 0) {
            m->floor = r->compaction->revision;
        }
    } else if (r->lease_grant != NULL) {
        int place = model_lease(m, r->lease_grant->id);
        if (place >= 0) {
            err = ERR_LEASE_EXIST;
        } else {
            for (place = 0; m->leases[place] != 0; place++) {
            }
            m->leases[place] = r->lease_grant->id;
            m->ttls[place] = r->lease_grant->ttl;
            Etcdserverpb__LeaseGrantResponse *a = arena_alloc(&m->arena, sizeof(*a));
            etcdserverpb__lease_grant_response__init(a);
            a->id = r->lease_grant->id;
            a->ttl = r->lease_grant->ttl;
            *answer = a;
        }
    } else if (r->lease_revoke != NULL) {
        int place = model_lease(m, r->lease_revoke->id);
        if (place < 0) {
            err = ERR_LEASE_NOT_FOUND;
        } else {
            for (int k = 0; k < MODEL_KEYS; k++) {
                struct mversion *v = model_live(m, k, m->revision + 1);
                if (v != NULL && v->lease == r->lease_revoke->id) {
                    model_change(m, k)->tombstone = true;
                    m->len++;
                }
            }
            m->leases[place] = 0;
        }
    }
    if (m->subs > 0) {
        m->revision++;
    }
    return err;
}

/* What the accounted bytes must be (README: accounting). */
static inline int64_t model_accounted(struct model *m)
{
    int64_t bytes = 0;
    for (size_t i = 0; i < m->len; i++) {
        const struct mversion *v = &m->versions[i];
        if ((v->superseded && v->superseded_at <= m->floor) ||
            (v->tombstone && v->rev.main < m->floor)) {
            continue;
        }
        struct key_value kv = {.key = m->names[v->key]};
        if (!v->tombstone) {
            kv.create = v->create;
            kv.mod = v->rev.main;
            kv.version = v->version;
            kv.value = slice_of(v->value, v->value_len);
            kv.lease = v->lease;
        }
        bytes += version_cost(kv.key.len, key_value_size(&kv));
    }
    for (int i = 0; i < MODEL_LEASES; i++) {
        bytes += m->leases[i] != 0 ? 64 : 0;
    }
    return bytes;
}

#endif
