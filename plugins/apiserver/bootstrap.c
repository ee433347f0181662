/* bootstrap.c - the objects of the system, one after the other, once a minute. */
#include "plugins/apiserver/bootstrap.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/alloc.h"
#include "plugins/apiserver/service.h"
#include "plugins/apiserver/stored.h"
#include "plugins/apiserver/strategy.h"
#include "plugins/apiserver/upkeep.h"
#include "plugins/object/defaults.h"

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

_Static_assert(WANTED_COUNT <= UPKEEP_OBJECTS_MAX, "complaints are counted for each");

struct bootstrap {
    struct upkeep keep;
    unsigned next; /* of wanted */
};

static void bootstrap_next(void *data);

static void bootstrap_later(struct bootstrap *b, uint64_t ms)
{
    const struct kvp_host *host = b->keep.api->host;
    struct kvp_timer_args timer = {
        .size = sizeof timer, .after_ms = ms, .fire = bootstrap_next, .data = b};
    if (host->timer(b->keep.ctx, &timer, NULL) != 0) {
        host->fail(b->keep.ctx, "the objects of the system could not be made");
    }
}

static void bootstrap_failed(struct bootstrap *b, int32_t reason, const char *why)
{
    const struct wanted *w = &wanted[b->next];
    char object[96];
    snprintf(object, sizeof object, "%s %s", schema_type_name(schema_type(w->type)), w->name);
    upkeep_failed(&b->keep, b->next, object, reason, why);
    bootstrap_later(b, BOOTSTRAP_RETRY_MS);
}

/* To the next one. */
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
    if (upkeep_is_over(r)) {
        return false;
    }
    if (r->outcome != KVP_OK) {
        bootstrap_failed(b, r->reason, r->text);
        return false;
    }
    return true;
}

/* Written, or somebody else was quicker; or the service's address is somebody else's. */
static void bootstrap_written(void *data, const struct kvp_result *r,
                              const struct kvp_txn_result *t)
{
    struct bootstrap *b = data;
    if (!bootstrap_back(b, r)) {
        return;
    }
    if (!t->succeeded && t->count > 0 && t->ops[0].row_count > 0) {
        char why[160];
        struct kvp_bytes owner = t->ops[0].rows[0].value;
        snprintf(why, sizeof why, "its address belongs to service %.*s: delete that one",
                 owner.len < 100 ? (int)owner.len : 100, (const char *)owner.data);
        upkeep_refused(&b->keep, b->next, "Service kubernetes", why);
    } else {
        upkeep_well(&b->keep, b->next);
    }
    bootstrap_done(b);
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
    struct object o;
    struct errmsg e;
    struct causes *c = arena_alloc(a, sizeof *c);
    struct buf json;
    buf_init(&json);
    if (w->json != NULL) {
        buf_append_str(&json, w->json);
    } else {
        bootstrap_service(b->keep.api, &json);
    }
    int rc = json.failed || c == NULL
                 ? ERR_NOMEM
                 : object_decode(&o, schema_type(w->type), a, buf_slice(&json), NULL, &e);
    buf_close(&json);
    rc = rc == 0 ? object_default(&o) : rc;
    rc = rc == 0 ? strategy_create(&o) : rc;
    if (rc == 0) {
        causes_init(c, a);
        rc = service_complete(&b->keep.api->ranges, &o, c);
    }
    return rc == 0 ? upkeep_encode(&b->keep, &o, NULL, NULL, out) : rc;
}

static int bootstrap_fill(struct bootstrap *b, struct kvp_txn *txn, const struct wanted *w,
                          struct kvp_bytes key, struct kvp_bytes value)
{
    int rc = upkeep_put(&b->keep, txn, key, value, 0);
    if (rc != 0 || w->type != SCHEMA_CORE_V1_SERVICE) {
        return rc;
    }
    /* Its address is never picked, but somebody may have asked for it meanwhile. */
    char address[ADDRESS_TEXT_BYTES];
    struct buf claim;
    address_print(&b->keep.api->ranges.addresses, 0, address);
    buf_init(&claim);
    service_address_key(slice_str(address), &claim);
    struct kvp_range get = {
        .size = sizeof get, .key = kvp_bytes_of(claim.data, claim.len), .limit = 1};
    rc = claim.failed ? KVP_NO_MEMORY
                      : upkeep_put(&b->keep, txn, get.key, kvp_str("default/kubernetes"), 0);
    rc = rc == 0 ? b->keep.api->host->txn_get(txn, KVP_ELSE, &get) : rc;
    buf_close(&claim);
    return rc;
}

static void bootstrap_write(struct bootstrap *b)
{
    const struct kvp_host *host = b->keep.api->host;
    const struct wanted *w = &wanted[b->next];
    struct arena a;
    struct buf key;
    struct buf value;
    arena_init(&a, 0);
    buf_init(&key);
    buf_init(&value);
    stored_key(schema_type(w->type), slice_str(w->space), slice_str(w->name), &key);
    int rc = bootstrap_value(b, w, &a, &value);
    struct kvp_txn *txn = rc == 0 && !key.failed ? host->txn_new(b->keep.ctx) : NULL;
    rc = txn == NULL ? KVP_NO_MEMORY
                     : bootstrap_fill(b, txn, w, kvp_bytes_of(key.data, key.len),
                                      kvp_bytes_of(value.data, value.len));
    if (rc == 0) {
        rc = host->txn_commit(txn, bootstrap_written, b);
    } else if (txn != NULL) {
        host->txn_free(txn);
    }
    if (rc != 0 && rc != KVP_STOPPED) {
        bootstrap_failed(b, rc, "the request was not accepted");
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
        upkeep_well(&b->keep, b->next);
        bootstrap_done(b);
    } else {
        bootstrap_write(b);
    }
}

static void bootstrap_next(void *data)
{
    struct bootstrap *b = data;
    const struct kvp_host *host = b->keep.api->host;
    const struct wanted *w = &wanted[b->next];
    struct kvp_txn *txn = host->txn_new(b->keep.ctx);
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
        bootstrap_failed(b, rc, "the request was not accepted");
    }
}

int bootstrap_start(struct apiserver *api, struct kvp_ctx *term)
{
    struct bootstrap *b = mem_zalloc(sizeof *b);
    if (b == NULL) {
        return KVP_NO_MEMORY;
    }
    b->keep = (struct upkeep){.api = api, .ctx = term};
    api->bootstrap = b;
    bootstrap_next(b);
    return 0;
}

void bootstrap_stop(struct apiserver *api)
{
    mem_free(api->bootstrap);
    api->bootstrap = NULL;
}
