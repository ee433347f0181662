/* reach.c - Endpoints and slice `kubernetes` of the members that are there. One transaction reads
 * all, another one writes what is different. */
#include "plugins/apiserver/reach.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "plugins/apiserver/stored.h"
#include "plugins/object/defaults.h"
#include "plugins/object/metadata.h"

#define REACH_EVERY_MS    10000u
#define REACH_MEMBERS_MAX 64u

struct reach {
    struct apiserver *api;
    struct kvp_ctx *ctx; /* of the term */
    struct kvp_watch *watch;
    bool busy;  /* a transaction is under way */
    bool again; /* something changed meanwhile */
};

static const enum schema_type_id kinds[] = {SCHEMA_CORE_V1_ENDPOINTS,
                                            SCHEMA_DISCOVERY_V1_ENDPOINT_SLICE};

static void reach_reconcile(void *data);

static void reach_over(struct reach *c)
{
    c->busy = false;
    if (c->again) {
        c->again = false;
        reach_reconcile(c);
    }
}

static void reach_key(enum schema_type_id type, struct buf *key)
{
    stored_key(schema_type(type), slice_str("default"), slice_str("kubernetes"), key);
}

/* ---- who is there -------------------------------------------------------------------------- */

struct reach_list {
    char text[REACH_MEMBERS_MAX][ADDRESS_TEXT_BYTES];
    size_t count;
    bool v6;
};

/* Adds an address in order, once; those of another port or family than the first are left out. */
static void reach_add(struct reach_list *l, const char *address)
{
    size_t at = 0;
    bool v6 = strchr(address, ':') != NULL;
    l->v6 = l->count == 0 ? v6 : l->v6;
    while (at < l->count && strcmp(l->text[at], address) < 0) {
        at++;
    }
    if (l->count == REACH_MEMBERS_MAX || v6 != l->v6 ||
        (at < l->count && strcmp(l->text[at], address) == 0)) {
        return;
    }
    memmove(l->text + at + 1, l->text + at, (l->count - at) * sizeof l->text[0]);
    snprintf(l->text[at], sizeof l->text[at], "%s", address);
    l->count++;
}

static void reach_read_row(const struct reach *c, const struct kvp_row *row, struct reach_list *l)
{
    char text[ADDRESS_TEXT_BYTES + 8];
    char plain[ADDRESS_TEXT_BYTES];
    snprintf(text, sizeof text, "%.*s", (int)(row->value.len & 0xff),
             (const char *)row->value.data);
    char *colon = strrchr(text, ':');
    if (colon == NULL || strtoul(colon + 1, NULL, 10) != c->api->reach_port) {
        return;
    }
    *colon = 0;
    size_t n = strlen(text);
    bool v6 = n > 2 && text[0] == '[';
    if (address_canonical(v6 ? slice_of(text + 1, n - 2) : slice_of(text, n), plain)) {
        reach_add(l, plain);
    }
}

static void reach_print(const struct reach *c, enum schema_type_id type, const struct reach_list *l,
                        struct buf *out)
{
    bool slice = type == SCHEMA_DISCOVERY_V1_ENDPOINT_SLICE;
    if (slice) {
        buf_printf(out,
                   "{\"metadata\":{\"name\":\"kubernetes\",\"namespace\":\"default\",\"labels\":{"
                   "\"kubernetes.io/service-name\":\"kubernetes\"}},\"addressType\":\"%s\","
                   "\"endpoints\":[",
                   l->v6 ? "IPv6" : "IPv4");
    } else {
        buf_append_str(
            out, "{\"metadata\":{\"name\":\"kubernetes\",\"namespace\":\"default\",\"labels\":"
                 "{\"endpointslice.kubernetes.io/skip-mirror\":\"true\"}},\"subsets\":[{"
                 "\"addresses\":[");
    }
    for (size_t i = 0; i < l->count; i++) {
        buf_printf(out,
                   slice ? "%s{\"addresses\":[\"%s\"],\"conditions\":{\"ready\":true}}"
                         : "%s{\"ip\":\"%s\"}",
                   i > 0 ? "," : "", l->text[i]);
    }
    buf_printf(out,
               "],\"ports\":[{\"name\":\"https\",\"port\":%" PRIu32 ",\"protocol\":\"TCP\"}]%s}",
               c->api->reach_port, slice ? "" : "}]");
}

/* ---- writing ------------------------------------------------------------------------------- */

/* What is to be stored of one kind; nothing in out: it is there already. */
static int reach_value(struct reach *c, enum schema_type_id type, const struct reach_list *l,
                       const struct kvp_row *row, struct arena *a, struct buf *out)
{
    const struct kvp_host *host = c->api->host;
    struct object new;
    struct object old;
    struct errmsg e;
    struct buf json;
    struct metadata_facts facts;
    buf_init(&json);
    reach_print(c, type, l, &json);
    int rc = json.failed ? ERR_NOMEM
                         : object_decode(&new, schema_type(type), a, buf_slice(&json), NULL, &e);
    buf_close(&json);
    rc = rc == 0 ? object_default(&new) : rc;
    if (rc == 0 && row == NULL) {
        facts.now_seconds = (int64_t)(host->wall_us(c->ctx) / 1000000u);
        host->random(c->ctx, facts.random, sizeof facts.random);
        rc = metadata_prepare_create(&new, &facts);
    } else if (rc == 0) {
        rc = stored_decode(schema_type(type), slice_of_kvp(row->value), row->mod_revision, a, &old,
                           &e);
        rc = rc == 0 ? metadata_prepare_update(&new, &old) : rc;
    }
    rc = rc == 0 ? stored_encode(&new, out) : rc;
    if (rc == 0 && row != NULL && slice_eq(buf_slice(out), slice_of_kvp(row->value))) {
        buf_clear(out);
    }
    return rc;
}

static int reach_fill(struct reach *c, struct kvp_txn *txn, const struct kvp_txn_result *read,
                      const struct reach_list *l, bool *writes)
{
    const struct kvp_host *host = c->api->host;
    int rc = 0;
    for (size_t i = 0; i < 2 && rc == 0; i++) {
        const struct kvp_op_result *op = &read->ops[i + 1];
        const struct kvp_row *row = op->row_count > 0 ? &op->rows[0] : NULL;
        struct arena a;
        struct buf key;
        struct buf value;
        arena_init(&a, 0);
        buf_init(&key);
        buf_init(&value);
        reach_key(kinds[i], &key);
        rc = reach_value(c, kinds[i], l, row, &a, &value) != 0 || key.failed ? KVP_NO_MEMORY : 0;
        struct kvp_put put = {.size = sizeof put,
                              .key = kvp_bytes_of(key.data, key.len),
                              .value = kvp_bytes_of(value.data, value.len)};
        struct kvp_compare same = {.size = sizeof same,
                                   .target = KVP_CMP_MOD_REVISION,
                                   .relation = KVP_EQUAL,
                                   .key = put.key,
                                   .number = row == NULL ? 0 : row->mod_revision};
        if (rc == 0 && value.len > 0) {
            rc = host->txn_compare(txn, &same);
            rc = rc == 0 ? host->txn_put(txn, KVP_THEN, &put) : rc;
            *writes = true;
        }
        arena_close(&a);
        buf_close(&key);
        buf_close(&value);
    }
    return rc;
}

/* Written; or refused, or failed: the timer comes again. */
static void reach_written(void *data, const struct kvp_result *r, const struct kvp_txn_result *t)
{
    if (r->reason != KVP_STOPPED) {
        reach_over(data);
    }
}

static void reach_read(void *data, const struct kvp_result *r, const struct kvp_txn_result *t)
{
    struct reach *c = data;
    const struct kvp_host *host = c->api->host;
    bool writes = false;
    if (r->reason == KVP_STOPPED) {
        return;
    }
    struct reach_list *l = r->outcome == KVP_OK ? mem_zalloc(sizeof *l) : NULL;
    for (size_t i = 0; l != NULL && i < t->ops[0].row_count; i++) {
        reach_read_row(c, &t->ops[0].rows[i], l);
    }
    struct kvp_txn *txn = l != NULL && l->count > 0 ? host->txn_new(c->ctx) : NULL;
    if (txn != NULL) {
        int rc = reach_fill(c, txn, t, l, &writes);
        if (rc != 0 || !writes) {
            host->txn_free(txn);
            writes = false;
        } else {
            writes = host->txn_commit(txn, reach_written, c) == 0;
        }
    }
    mem_free(l);
    if (!writes) {
        reach_over(c);
    }
}

static void reach_reconcile(void *data)
{
    struct reach *c = data;
    const struct kvp_host *host = c->api->host;
    if (c->busy) {
        c->again = true;
        return;
    }
    struct kvp_txn *txn = host->txn_new(c->ctx);
    if (txn == NULL) {
        return;
    }
    struct kvp_range rows = {.size = sizeof rows, .flags = KVP_PREFIX, .key = kvp_str(REACH_ROWS)};
    int rc = host->txn_get(txn, KVP_THEN, &rows);
    for (size_t i = 0; i < 2 && rc == 0; i++) {
        struct buf key;
        buf_init(&key);
        reach_key(kinds[i], &key);
        struct kvp_range get = {.size = sizeof get, .key = kvp_bytes_of(key.data, key.len)};
        rc = key.failed ? KVP_NO_MEMORY : host->txn_get(txn, KVP_THEN, &get);
        buf_close(&key);
    }
    if (rc != 0) {
        host->txn_free(txn);
        return;
    }
    c->busy = host->txn_commit(txn, reach_read, c) == 0;
}

/* ---- when ---------------------------------------------------------------------------------- */

static void reach_events(void *data, const struct kvp_batch *batch)
{
    if (batch->count > 0) {
        reach_reconcile(data);
    }
}

/* The timer alone has to do. */
static void reach_unwatched(void *data, const struct kvp_result *r)
{
    struct reach *c = data;
    c->watch = NULL;
}

int reach_start(struct apiserver *api, struct kvp_ctx *term)
{
    if (api->reach_port == 0) {
        return 0;
    }
    struct reach *c = mem_zalloc(sizeof *c);
    if (c == NULL) {
        return KVP_NO_MEMORY;
    }
    c->api = api;
    c->ctx = term;
    api->reach = c;
    struct kvp_watch_args watch = {.size = sizeof watch,
                                   .flags = KVP_PREFIX,
                                   .key = kvp_str(REACH_ROWS),
                                   .events = reach_events,
                                   .ended = reach_unwatched,
                                   .data = c};
    struct kvp_timer_args timer = {.size = sizeof timer,
                                   .after_ms = REACH_EVERY_MS,
                                   .repeat_ms = REACH_EVERY_MS,
                                   .fire = reach_reconcile,
                                   .data = c};
    int rc = api->host->timer(term, &timer, NULL);
    rc = rc == 0 ? api->host->watch(term, &watch, &c->watch) : rc;
    if (rc == 0) {
        reach_reconcile(c);
    }
    return rc;
}

void reach_stop(struct apiserver *api)
{
    mem_free(api->reach);
    api->reach = NULL;
}
