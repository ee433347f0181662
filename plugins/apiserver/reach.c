/* reach.c - Endpoints and slice `kubernetes` of the members that are there. One transaction reads
 * all, another one writes what is different. */
#include "plugins/apiserver/reach.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "plugins/apiserver/stored.h"
#include "plugins/apiserver/upkeep.h"
#include "plugins/object/defaults.h"

#define REACH_EVERY_MS    10000u
#define REACH_MEMBERS_MAX 64u

struct reach {
    struct upkeep keep;
    struct kvp_watch *watch;
    bool busy;  /* a transaction is under way */
    bool again; /* something changed meanwhile */
};

static const enum schema_type_id kinds[] = {SCHEMA_CORE_V1_ENDPOINTS,
                                            SCHEMA_DISCOVERY_V1_ENDPOINT_SLICE};
#define REACH_KINDS (sizeof kinds / sizeof kinds[0])

static void reach_reconcile(void *data);

/* The timer comes again. */
static void reach_failed(struct reach *c, size_t which, int32_t reason, const char *why)
{
    static const char *const objects[] = {"Endpoints kubernetes", "EndpointSlice kubernetes"};
    if (reason == KVP_FENCED || reason == KVP_NOT_LEADER) {
        return; /* the term is about to end */
    }
    upkeep_failed(&c->keep, (unsigned)which, objects[which], reason, why);
}

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
    if (colon == NULL || strtoul(colon + 1, NULL, 10) != c->keep.api->reach_port) {
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
               c->keep.api->reach_port, slice ? "" : "}]");
}

/* ---- writing ------------------------------------------------------------------------------- */

/* What is to be stored of one kind; nothing in out: it is there already. */
static int reach_value(struct reach *c, enum schema_type_id type, const struct reach_list *l,
                       const struct kvp_row *row, struct arena *a, struct buf *out)
{
    struct object new;
    struct object old;
    struct errmsg e;
    struct buf json;
    buf_init(&json);
    reach_print(c, type, l, &json);
    int rc = json.failed ? ERR_NOMEM
                         : object_decode(&new, schema_type(type), a, buf_slice(&json), NULL, &e);
    buf_close(&json);
    rc = rc == 0 ? object_default(&new) : rc;
    if (rc == 0 && row != NULL) {
        rc = stored_decode(schema_type(type), slice_of_kvp(row->value), row->mod_revision, a, &old,
                           &e);
    }
    return rc == 0 ? upkeep_encode(&c->keep, &new, row == NULL ? NULL : &old, row, out) : rc;
}

/* Adds the writes of one kind; true: some. */
static bool reach_fill(struct reach *c, struct kvp_txn *txn, size_t which,
                       const struct kvp_row *row, const struct reach_list *l)
{
    struct arena a;
    struct buf key;
    struct buf value;
    arena_init(&a, 0);
    buf_init(&key);
    buf_init(&value);
    reach_key(kinds[which], &key);
    int rc = reach_value(c, kinds[which], l, row, &a, &value);
    bool unreadable = rc == ERR_INVALID;
    bool writes = rc == 0 && value.len > 0;
    rc = rc != 0 || key.failed ? KVP_NO_MEMORY : 0;
    if (rc == 0 && writes) {
        rc = upkeep_put(&c->keep, txn, kvp_bytes_of(key.data, key.len),
                        kvp_bytes_of(value.data, value.len), row == NULL ? 0 : row->mod_revision);
    }
    if (rc != 0) {
        reach_failed(c, which, unreadable ? KVP_INVALID : rc,
                     unreadable ? "what is stored cannot be read" : "the write was not accepted");
    } else if (!writes) {
        upkeep_well(&c->keep, (unsigned)which);
    }
    arena_close(&a);
    buf_close(&key);
    buf_close(&value);
    return rc == 0 && writes;
}

/* Written; or refused, or failed: the timer comes again. */
static void reach_written(void *data, const struct kvp_result *r, const struct kvp_txn_result *t)
{
    struct reach *c = data;
    if (r->reason == KVP_STOPPED) {
        return;
    }
    for (size_t i = 0; i < REACH_KINDS && r->outcome != KVP_OK; i++) {
        reach_failed(c, i, r->reason, r->text);
    }
    reach_over(c);
}

static void reach_read(void *data, const struct kvp_result *r, const struct kvp_txn_result *t)
{
    struct reach *c = data;
    const struct kvp_host *host = c->keep.api->host;
    bool writes = false;
    if (r->reason == KVP_STOPPED) {
        return;
    }
    if (r->outcome != KVP_OK) {
        reach_failed(c, 0, r->reason, r->text);
    }
    struct reach_list *l = r->outcome == KVP_OK ? mem_zalloc(sizeof *l) : NULL;
    for (size_t i = 0; l != NULL && i < t->ops[0].row_count; i++) {
        reach_read_row(c, &t->ops[0].rows[i], l);
    }
    struct kvp_txn *txn = l != NULL && l->count > 0 ? host->txn_new(c->keep.ctx) : NULL;
    for (size_t i = 0; i < REACH_KINDS && txn != NULL; i++) {
        const struct kvp_op_result *op = &t->ops[i + 1];
        writes = reach_fill(c, txn, i, op->row_count > 0 ? &op->rows[0] : NULL, l) || writes;
    }
    if (writes) {
        writes = host->txn_commit(txn, reach_written, c) == 0;
    } else if (txn != NULL) {
        host->txn_free(txn);
    }
    mem_free(l);
    if (!writes) {
        reach_over(c);
    }
}

static void reach_reconcile(void *data)
{
    struct reach *c = data;
    const struct kvp_host *host = c->keep.api->host;
    if (c->busy) {
        c->again = true;
        return;
    }
    struct kvp_txn *txn = host->txn_new(c->keep.ctx);
    if (txn == NULL) {
        return;
    }
    struct kvp_range rows = {.size = sizeof rows, .flags = KVP_PREFIX, .key = kvp_str(REACH_ROWS)};
    int rc = host->txn_get(txn, KVP_THEN, &rows);
    for (size_t i = 0; i < REACH_KINDS && rc == 0; i++) {
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
    c->keep = (struct upkeep){.api = api, .ctx = term};
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
