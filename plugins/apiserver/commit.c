/* commit.c - conditional writes, as small as the conditions allow. */
#include "plugins/apiserver/commit.h"

#include "plugins/apiserver/stored.h"

/* ---- one row, nothing else ----------------------------------------------------------------- */

static void commit_row_done(void *data, const struct kvp_result *r)
{
    struct commit *c = data;
    if (r->outcome == KVP_REFUSED && r->reason == KVP_CONFLICT) {
        if (exchange_back(c->ex)) {
            c->done(c, COMMIT_CHANGED, 0, r->row);
        }
    } else if (exchange_back_well(c->ex, r)) {
        c->done(c, COMMIT_DONE, r->revision, NULL);
    }
}

static void commit_row(struct commit *c)
{
    struct exchange *ex = c->ex;
    const struct kvp_host *host = ex->api->host;
    struct kvp_put put = {
        .size = sizeof put, .key = kvp_of_slice(c->key), .value = kvp_of_slice(c->value)};
    exchange_call(ex);
    int reason = c->remove ? host->del_if(ex->ctx, put.key, c->revision, commit_row_done, c)
                           : host->put_if(ex->ctx, &put, c->revision, commit_row_done, c);
    if (reason != 0) {
        exchange_not_called(ex, reason);
    }
}

/* ---- a transaction ------------------------------------------------------------------------- */

static const struct kvp_row *commit_row_of(const struct kvp_op_result *op)
{
    return op->row_count > 0 ? &op->rows[0] : NULL;
}

/* What was to be given back and is not the owner's stays as it is. True: there was such. */
static bool commit_keep(struct commit *c, struct claim *one, const struct kvp_row *row)
{
    if (one->way != CLAIM_GIVE_BACK ||
        (row != NULL && slice_eq(slice_of_kvp(row->value), c->owner))) {
        return false;
    }
    one->way = CLAIM_KEEP;
    return true;
}

/* Which condition did not hold. */
static void commit_refused(struct commit *c, const struct kvp_txn_result *t)
{
    const struct kvp_row *row = commit_row_of(&t->ops[0]);
    size_t at = 1;
    if ((row == NULL ? 0 : row->mod_revision) != c->revision) {
        c->done(c, COMMIT_CHANGED, 0, row);
        return;
    }
    if (c->space_revision != 0) {
        row = commit_row_of(&t->ops[at++]);
        if ((row == NULL ? 0 : row->mod_revision) != c->space_revision) {
            c->done(c, COMMIT_SPACE, 0, row);
            return;
        }
    }
    bool again = false;
    for (size_t i = 0; c->claims != NULL && i < c->claims->count; i++) {
        struct claim *one = &c->claims->items[i];
        row = one->way == CLAIM_KEEP ? NULL : commit_row_of(&t->ops[at++]);
        if (one->way == CLAIM_TAKE && row != NULL) {
            c->taken = i;
            c->done(c, COMMIT_TAKEN, 0, NULL);
            return;
        }
        again = commit_keep(c, one, row) || again;
    }
    if (again) {
        commit_run(c); /* each time with fewer claims */
        return;
    }
    if (c->guard_count > 0) {
        c->done(c, COMMIT_GUESSED, 0, NULL);
        return;
    }
    exchange_fail(c->ex, status_internal(&c->ex->arena, "a condition failed and holds"));
}

static void commit_txn_done(void *data, const struct kvp_result *r, const struct kvp_txn_result *t)
{
    struct commit *c = data;
    if (!exchange_back_well(c->ex, r)) {
        return;
    }
    if (t->succeeded) {
        c->done(c, COMMIT_DONE, r->revision, NULL);
    } else {
        commit_refused(c, t);
    }
}

/* A condition, and its row when it does not hold. */
static int commit_compare(struct exchange *ex, struct kvp_txn *txn,
                          const struct kvp_compare *compare)
{
    struct kvp_range get = {.size = sizeof get, .key = compare->key, .limit = 1};
    int rc = ex->api->host->txn_compare(txn, compare);
    return rc == 0 ? ex->api->host->txn_get(txn, KVP_ELSE, &get) : rc;
}

/* "Only if the row has this revision." */
static int commit_if(struct exchange *ex, struct kvp_txn *txn, struct kvp_bytes key,
                     int64_t revision)
{
    struct kvp_compare compare = {.size = sizeof compare,
                                  .target = KVP_CMP_MOD_REVISION,
                                  .relation = KVP_EQUAL,
                                  .key = key,
                                  .number = revision};
    return commit_compare(ex, txn, &compare);
}

static int commit_put(struct commit *c, struct kvp_txn *txn, struct slice key, struct slice value)
{
    struct kvp_put put = {
        .size = sizeof put, .key = kvp_of_slice(key), .value = kvp_of_slice(value)};
    return c->ex->query.dry_run ? 0 : c->ex->api->host->txn_put(txn, KVP_THEN, &put);
}

static int commit_del(struct commit *c, struct kvp_txn *txn, struct slice key)
{
    struct kvp_del del = {.size = sizeof del, .key = kvp_of_slice(key)};
    return c->ex->query.dry_run ? 0 : c->ex->api->host->txn_del(txn, KVP_THEN, &del);
}

static int commit_claims(struct commit *c, struct kvp_txn *txn)
{
    int rc = 0;
    for (size_t i = 0; c->claims != NULL && i < c->claims->count && rc == 0; i++) {
        const struct claim *one = &c->claims->items[i];
        if (one->way == CLAIM_GIVE_BACK) {
            struct kvp_compare own = {.size = sizeof own,
                                      .target = KVP_CMP_VALUE,
                                      .relation = KVP_EQUAL,
                                      .key = kvp_of_slice(one->key),
                                      .value = kvp_of_slice(c->owner)};
            rc = commit_compare(c->ex, txn, &own);
            rc = rc == 0 ? commit_del(c, txn, one->key) : rc;
        } else if (one->way == CLAIM_TAKE) {
            rc = commit_if(c->ex, txn, kvp_of_slice(one->key), 0);
            rc = rc == 0 ? commit_put(c, txn, one->key, c->owner) : rc;
        }
    }
    return rc;
}

static int commit_guards(struct commit *c, struct kvp_txn *txn)
{
    int rc = 0;
    for (size_t i = 0; i < c->guard_count && rc == 0; i++) {
        const struct guard *g = &c->guards[i];
        struct kvp_compare compare = {.size = sizeof compare,
                                      .flags = g->all ? KVP_PREFIX : 0,
                                      .target = KVP_CMP_MOD_REVISION,
                                      .relation = g->all ? KVP_LESS : KVP_EQUAL,
                                      .key = kvp_of_slice(g->key),
                                      .number = g->all ? g->revision + 1 : g->revision};
        rc = c->ex->api->host->txn_compare(txn, &compare);
    }
    return rc;
}

static int commit_fill(struct commit *c, struct kvp_txn *txn)
{
    struct exchange *ex = c->ex;
    int rc = commit_if(ex, txn, kvp_of_slice(c->key), c->revision);
    if (rc == 0 && c->space_revision != 0) {
        struct buf space;
        buf_init(&space);
        stored_key(schema_type(SCHEMA_CORE_V1_NAMESPACE), slice_of("", 0), ex->request.space,
                   &space);
        rc = space.failed
                 ? KVP_NO_MEMORY
                 : commit_if(ex, txn, kvp_bytes_of(space.data, space.len), c->space_revision);
        buf_close(&space);
    }
    if (rc == 0) {
        rc = c->remove ? commit_del(c, txn, c->key) : commit_put(c, txn, c->key, c->value);
    }
    rc = rc == 0 ? commit_claims(c, txn) : rc;
    return rc == 0 ? commit_guards(c, txn) : rc;
}

void commit_run(struct commit *c)
{
    struct exchange *ex = c->ex;
    const struct kvp_host *host = ex->api->host;
    bool claims = c->claims != NULL && c->claims->count > 0;
    if (!claims && c->space_revision == 0 && c->guard_count == 0 && !ex->query.dry_run) {
        commit_row(c);
        return;
    }
    struct kvp_txn *txn = host->txn_new(ex->ctx);
    exchange_call(ex);
    if (txn == NULL) {
        exchange_not_called(ex, KVP_UNAVAILABLE);
        return;
    }
    int rc = commit_fill(c, txn);
    if (rc != 0) {
        host->txn_free(txn);
    } else {
        rc = host->txn_commit(txn, commit_txn_done, c);
    }
    if (rc != 0) {
        exchange_not_called(ex, rc);
    }
}
