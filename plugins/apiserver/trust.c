/* trust.c - ConfigMap kube-system/extension-apiserver-authentication. It is compared with what is
 * in force, and written where it differs; the transaction compares its namespace, which the leader
 * is about to make. */
#include "plugins/apiserver/trust.h"

#include "base/alloc.h"
#include "plugins/apiserver/pki.h"
#include "plugins/apiserver/stored.h"
#include "plugins/apiserver/upkeep.h"
#include "plugins/object/defaults.h"

#define TRUST_RETRY_MS  1000u
#define TRUST_REPEAT_MS 60000u

#define TRUST_SPACE "kube-system"
#define TRUST_NAME  "extension-apiserver-authentication"
#define TRUST_KEY   "data[client-ca-file]"

#define TRUST_OBJECT "ConfigMap " TRUST_SPACE "/" TRUST_NAME

struct trust {
    struct upkeep keep;
};

static void trust_look(void *data);

static void trust_later(struct trust *t, uint64_t ms)
{
    struct kvp_timer_args timer = {
        .size = sizeof timer, .after_ms = ms, .fire = trust_look, .data = t};
    if (t->keep.api->host->timer(t->keep.ctx, &timer, NULL) != 0) {
        t->keep.api->host->fail(t->keep.ctx, "the authority of clients cannot be told");
    }
}

static void trust_failed(struct trust *t, int32_t reason, const char *why)
{
    upkeep_failed(&t->keep, 0, TRUST_OBJECT, reason, why);
    trust_later(t, TRUST_RETRY_MS);
}

static void trust_key(struct buf *out)
{
    stored_key(schema_type(SCHEMA_CORE_V1_CONFIG_MAP), slice_str(TRUST_SPACE),
               slice_str(TRUST_NAME), out);
}

/* What is to be stored; nothing in out: it is there already. row NULL: there is none. */
static int trust_value(struct trust *t, const struct kvp_row *row, struct arena *a, struct buf *out)
{
    const struct schema_type *type = schema_type(SCHEMA_CORE_V1_CONFIG_MAP);
    struct slice authority = pki_client_ca(t->keep.api->pki);
    struct object old;
    struct object new;
    struct errmsg e;
    int rc = row == NULL
                 ? object_new(&new, type, a)
                 : stored_decode(type, slice_of_kvp(row->value), row->mod_revision, a, &old, &e);
    if (rc == 0 && row != NULL) {
        if (slice_eq(object_text(&old, TRUST_KEY), authority)) {
            return 0;
        }
        rc = object_copy(&old, a, &new);
    }
    rc = rc == 0 ? object_set_str(&new, "metadata.name", TRUST_NAME) : rc;
    rc = rc == 0 ? object_set_str(&new, "metadata.namespace", TRUST_SPACE) : rc;
    rc = rc == 0 ? object_set_text(&new, TRUST_KEY, authority) : rc;
    rc = rc == 0 ? object_default(&new) : rc;
    return rc == 0 ? upkeep_encode(&t->keep, &new, row == NULL ? NULL : &old, row, out) : rc;
}

static void trust_written(void *data, const struct kvp_result *r, const struct kvp_txn_result *txn)
{
    struct trust *t = data;
    if (upkeep_is_over(r)) {
        return;
    }
    if (r->outcome != KVP_OK) {
        trust_failed(t, r->reason, r->text);
    } else if (txn->succeeded) {
        upkeep_well(&t->keep, 0);
        trust_later(t, TRUST_REPEAT_MS);
    } else {
        trust_later(t, TRUST_RETRY_MS);
    }
}

/* Only over the row that was read, and into a namespace that is there. */
static int trust_fill(struct trust *t, struct kvp_txn *txn, const struct kvp_row *row,
                      struct slice value)
{
    struct buf key;
    struct buf space;
    buf_init(&key);
    buf_init(&space);
    trust_key(&key);
    stored_key(schema_type(SCHEMA_CORE_V1_NAMESPACE), slice_of("", 0), slice_str(TRUST_SPACE),
               &space);
    struct kvp_compare there = {.size = sizeof there,
                                .target = KVP_CMP_MOD_REVISION,
                                .relation = KVP_GREATER,
                                .key = kvp_bytes_of(space.data, space.len),
                                .number = 0};
    int rc = key.failed || space.failed
                 ? KVP_NO_MEMORY
                 : upkeep_put(&t->keep, txn, kvp_bytes_of(key.data, key.len), kvp_of_slice(value),
                              row == NULL ? 0 : row->mod_revision);
    rc = rc == 0 ? t->keep.api->host->txn_compare(txn, &there) : rc;
    buf_close(&key);
    buf_close(&space);
    return rc;
}

static void trust_read(void *data, const struct kvp_result *r, const struct kvp_rows *rows)
{
    struct trust *t = data;
    const struct kvp_host *host = t->keep.api->host;
    if (upkeep_is_over(r)) {
        return;
    }
    if (r->outcome != KVP_OK) {
        trust_failed(t, r->reason, r->text);
        return;
    }
    const struct kvp_row *row = rows->count > 0 ? &rows->rows[0] : NULL;
    struct arena a;
    struct buf value;
    arena_init(&a, 0);
    buf_init(&value);
    int rc = trust_value(t, row, &a, &value);
    bool same = rc == 0 && value.len == 0;
    bool unreadable = rc == ERR_INVALID;
    struct kvp_txn *txn = rc == 0 && !same ? host->txn_new(t->keep.ctx) : NULL;
    if (txn != NULL) {
        rc = trust_fill(t, txn, row, buf_slice(&value));
        if (rc != 0) {
            host->txn_free(txn);
        }
        rc = rc == 0 ? host->txn_commit(txn, trust_written, t) : rc;
    }
    if (same || unreadable) {
        if (same) {
            upkeep_well(&t->keep, 0);
        } else {
            upkeep_refused(&t->keep, 0, TRUST_OBJECT, "what is stored cannot be read");
        }
        trust_later(t, TRUST_REPEAT_MS);
    } else if (txn == NULL || (rc != 0 && rc != KVP_STOPPED)) {
        trust_failed(t, txn == NULL ? KVP_NO_MEMORY : rc, "the request was not accepted");
    }
    buf_close(&value);
    arena_close(&a);
}

static void trust_look(void *data)
{
    struct trust *t = data;
    struct buf key;
    if (!pki_is_settled(
            t->keep.api->pki)) { /* this member may be about to take over another one's */
        trust_later(t, TRUST_RETRY_MS);
        return;
    }
    buf_init(&key);
    trust_key(&key);
    int rc = key.failed ? KVP_NO_MEMORY
                        : t->keep.api->host->get(t->keep.ctx, kvp_bytes_of(key.data, key.len),
                                                 trust_read, t);
    buf_close(&key);
    if (rc != 0 && rc != KVP_STOPPED) {
        trust_failed(t, rc, "the request was not accepted");
    }
}

int trust_start(struct apiserver *api, struct kvp_ctx *term)
{
    struct trust *t = mem_zalloc(sizeof *t);
    if (t == NULL) {
        return KVP_NO_MEMORY;
    }
    t->keep = (struct upkeep){.api = api, .ctx = term};
    api->trust = t;
    trust_look(t);
    return 0;
}

void trust_stop(struct apiserver *api)
{
    mem_free(api->trust);
    api->trust = NULL;
}
