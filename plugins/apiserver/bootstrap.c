/* bootstrap.c - the objects of the system, one after the other, once a minute. */
#include "plugins/apiserver/bootstrap.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/alloc.h"
#include "plugins/apiserver/service.h"
#include "plugins/apiserver/stored.h"
#include "plugins/apiserver/strategy.h"
#include "plugins/object/defaults.h"
#include "plugins/object/metadata.h"

#define BOOTSTRAP_RETRY_MS  1000u
#define BOOTSTRAP_REPEAT_MS 60000u

#define NAMESPACE(name)                                                              \
    {                                                                                \
        SCHEMA_CORE_V1_NAMESPACE, "", name, "{\"metadata\":{\"name\":\"" name "\"}}" \
    }
#define CLASS(name, value, about)                                                                \
    {                                                                                            \
        SCHEMA_SCHEDULING_V1_PRIORITY_CLASS, "", name,                                           \
            "{\"metadata\":{\"name\":\"" name "\"},\"value\":" value ",\"description\":\"" about \
            "\"}"                                                                                \
    }

static const struct wanted {
    enum schema_type_id type;
    const char *space, *name;
    const char *json; /* NULL: the service */
} wanted[] = {
    NAMESPACE("kube-system"),
    NAMESPACE("kube-public"),
    NAMESPACE("kube-node-lease"),
    NAMESPACE("default"),
    CLASS("system-cluster-critical", "2000000000",
          "Used for system critical pods that must run in the cluster, but can be moved to another "
          "node if necessary."),
    CLASS("system-node-critical", "2000001000",
          "Used for system critical pods that must not be moved from their current node."),
    {SCHEMA_CORE_V1_SERVICE, "default", "kubernetes", NULL},
};
#define WANTED_COUNT (sizeof wanted / sizeof wanted[0])

struct bootstrap {
    struct apiserver *api;
    struct kvp_ctx *ctx; /* of the term */
    size_t next;         /* of wanted */
};

static void bootstrap_next(void *data);

static void bootstrap_later(struct bootstrap *b, uint64_t ms)
{
    struct kvp_timer_args timer = {
        .size = sizeof timer, .after_ms = ms, .fire = bootstrap_next, .data = b};
    if (b->api->host->timer(b->ctx, &timer, NULL) != 0) {
        b->api->host->fail(b->ctx, "the objects of the system could not be made");
    }
}

static void bootstrap_done(struct bootstrap *b)
{
    b->next = (b->next + 1) % WANTED_COUNT;
    if (b->next == 0) {
        bootstrap_later(b, BOOTSTRAP_REPEAT_MS);
    } else {
        bootstrap_next(b);
    }
}

/* False: the term is over, or it is tried again later. */
static bool bootstrap_back(struct bootstrap *b, const struct kvp_result *r)
{
    if (r->reason == KVP_STOPPED || r->reason == KVP_FENCED || r->reason == KVP_NOT_LEADER) {
        return false;
    }
    if (r->outcome != KVP_OK) {
        bootstrap_later(b, BOOTSTRAP_RETRY_MS);
        return false;
    }
    return true;
}

/* Written, or somebody else was quicker. */
static void bootstrap_written(void *data, const struct kvp_result *r,
                              const struct kvp_txn_result *t)
{
    if (bootstrap_back(data, r)) {
        bootstrap_done(data);
    }
}

/* ---- one object ---------------------------------------------------------------------------- */

static void bootstrap_service(const struct apiserver *api, struct buf *json)
{
    char address[ADDRESS_TEXT_BYTES];
    address_print(&api->ranges.addresses, 0, address);
    buf_printf(json,
               "{\"metadata\":{\"name\":\"kubernetes\",\"namespace\":\"default\",\"labels\":{"
               "\"component\":\"apiserver\",\"provider\":\"kubernetes\"}},\"spec\":{\"clusterIP\":"
               "\"%s\",\"ports\":[{\"name\":\"https\",\"port\":443,\"targetPort\":%" PRIu32 "}]}}",
               address, api->reach_port != 0 ? api->reach_port : (uint32_t)api->conf->port);
}

/* The object as a create would make it. */
static int bootstrap_value(struct bootstrap *b, const struct wanted *w, struct arena *a,
                           struct buf *out)
{
    const struct kvp_host *host = b->api->host;
    struct object o;
    struct errmsg e;
    struct metadata_facts facts;
    struct causes *c = arena_alloc(a, sizeof *c);
    struct buf json;
    facts.now_seconds = (int64_t)(host->wall_us(b->ctx) / 1000000u);
    host->random(b->ctx, facts.random, sizeof facts.random);
    buf_init(&json);
    if (w->json != NULL) {
        buf_append_str(&json, w->json);
    } else {
        bootstrap_service(b->api, &json);
    }
    int rc = json.failed || c == NULL
                 ? ERR_NOMEM
                 : object_decode(&o, schema_type(w->type), a, buf_slice(&json), NULL, &e);
    buf_close(&json);
    rc = rc == 0 ? object_default(&o) : rc;
    rc = rc == 0 ? strategy_create(&o) : rc;
    if (rc == 0) {
        causes_init(c, a);
        rc = service_complete(&b->api->ranges, &o, c);
    }
    rc = rc == 0 ? metadata_prepare_create(&o, &facts) : rc;
    return rc == 0 ? stored_encode(&o, out) : rc;
}

static int bootstrap_fill(struct bootstrap *b, struct kvp_txn *txn, const struct wanted *w,
                          struct kvp_bytes key, struct kvp_bytes value)
{
    const struct kvp_host *host = b->api->host;
    struct kvp_compare absent = {.size = sizeof absent,
                                 .target = KVP_CMP_MOD_REVISION,
                                 .relation = KVP_EQUAL,
                                 .key = key,
                                 .number = 0};
    struct kvp_put put = {.size = sizeof put, .key = key, .value = value};
    int rc = host->txn_compare(txn, &absent);
    rc = rc == 0 ? host->txn_put(txn, KVP_THEN, &put) : rc;
    if (rc != 0 || w->type != SCHEMA_CORE_V1_SERVICE) {
        return rc;
    }
    /* Its address is never picked, but somebody may have asked for it meanwhile. */
    char address[ADDRESS_TEXT_BYTES];
    struct buf claim;
    address_print(&b->api->ranges.addresses, 0, address);
    buf_init(&claim);
    service_address_key(slice_str(address), &claim);
    put.key = absent.key = kvp_bytes_of(claim.data, claim.len);
    put.value = kvp_str("default/kubernetes");
    rc = claim.failed ? KVP_NO_MEMORY : host->txn_compare(txn, &absent);
    rc = rc == 0 ? host->txn_put(txn, KVP_THEN, &put) : rc;
    buf_close(&claim);
    return rc;
}

static void bootstrap_write(struct bootstrap *b)
{
    const struct kvp_host *host = b->api->host;
    const struct wanted *w = &wanted[b->next];
    struct arena a;
    struct buf key;
    struct buf value;
    arena_init(&a, 0);
    buf_init(&key);
    buf_init(&value);
    stored_key(schema_type(w->type), slice_str(w->space), slice_str(w->name), &key);
    int rc = bootstrap_value(b, w, &a, &value);
    struct kvp_txn *txn = rc == 0 && !key.failed ? host->txn_new(b->ctx) : NULL;
    rc = txn == NULL ? KVP_NO_MEMORY
                     : bootstrap_fill(b, txn, w, kvp_bytes_of(key.data, key.len),
                                      kvp_bytes_of(value.data, value.len));
    if (rc == 0) {
        rc = host->txn_commit(txn, bootstrap_written, b);
    } else if (txn != NULL) {
        host->txn_free(txn);
    }
    if (rc != 0 && rc != KVP_STOPPED) {
        bootstrap_later(b, BOOTSTRAP_RETRY_MS);
    }
    arena_close(&a);
    buf_close(&key);
    buf_close(&value);
}

static void bootstrap_read(void *data, const struct kvp_result *r, const struct kvp_txn_result *t)
{
    struct bootstrap *b = data;
    if (!bootstrap_back(b, r)) {
        return;
    }
    if (t->ops[0].count > 0) {
        bootstrap_done(b);
    } else {
        bootstrap_write(b);
    }
}

static void bootstrap_next(void *data)
{
    struct bootstrap *b = data;
    const struct kvp_host *host = b->api->host;
    const struct wanted *w = &wanted[b->next];
    struct kvp_txn *txn = host->txn_new(b->ctx);
    struct buf key;
    buf_init(&key);
    stored_key(schema_type(w->type), slice_str(w->space), slice_str(w->name), &key);
    struct kvp_range get = {
        .size = sizeof get, .flags = KVP_COUNT_ONLY, .key = kvp_bytes_of(key.data, key.len)};
    int rc = txn == NULL || key.failed ? KVP_NO_MEMORY : host->txn_get(txn, KVP_THEN, &get);
    if (rc == 0) {
        rc = host->txn_commit(txn, bootstrap_read, b);
    } else if (txn != NULL) {
        host->txn_free(txn);
    }
    buf_close(&key);
    if (rc != 0 && rc != KVP_STOPPED) {
        bootstrap_later(b, BOOTSTRAP_RETRY_MS);
    }
}

int bootstrap_start(struct apiserver *api, struct kvp_ctx *term)
{
    struct bootstrap *b = mem_zalloc(sizeof *b);
    if (b == NULL) {
        return KVP_NO_MEMORY;
    }
    b->api = api;
    b->ctx = term;
    api->bootstrap = b;
    bootstrap_next(b);
    return 0;
}

void bootstrap_stop(struct apiserver *api)
{
    mem_free(api->bootstrap);
    api->bootstrap = NULL;
}
