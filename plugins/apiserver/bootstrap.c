/* bootstrap.c - the system's namespaces, one after the other. */
#include "plugins/apiserver/bootstrap.h"

#include "base/alloc.h"
#include "plugins/object/defaults.h"
#include "plugins/object/metadata.h"
#include "plugins/apiserver/stored.h"
#include "plugins/apiserver/strategy.h"

#define BOOTSTRAP_RETRY_MS 1000u

static const char *const names[] = {"kube-system", "kube-public", "kube-node-lease", "default"};

struct bootstrap {
    struct apiserver *api;
    struct kvp_ctx *ctx; /* of the term */
    size_t next;         /* of names */
};

static void bootstrap_next(void *data);

static void bootstrap_later(struct bootstrap *b)
{
    struct kvp_timer_args timer = {
        .size = sizeof timer, .after_ms = BOOTSTRAP_RETRY_MS, .fire = bootstrap_next, .data = b};
    if (b->api->host->timer(b->ctx, &timer, NULL) != 0) {
        b->api->host->fail(b->ctx, "the namespaces of the system could not be made");
    }
}

static void bootstrap_done(void *data, const struct kvp_result *r)
{
    struct bootstrap *b = data;
    if (r->reason == KVP_STOPPED || r->reason == KVP_FENCED || r->reason == KVP_NOT_LEADER) {
        return;
    }
    /* A conflict says that it is there. */
    if (r->outcome == KVP_OK || r->reason == KVP_CONFLICT) {
        b->next++;
        bootstrap_next(b);
    } else {
        bootstrap_later(b);
    }
}

/* The namespace as a create would make it. */
static int bootstrap_value(struct bootstrap *b, const char *name, struct arena *a, struct buf *out)
{
    const struct kvp_host *host = b->api->host;
    struct object o;
    struct metadata_facts facts;
    facts.now_seconds = (int64_t)(host->wall_us(b->ctx) / 1000000u);
    host->random(b->ctx, facts.random, sizeof facts.random);
    int rc = object_new(&o, schema_type(SCHEMA_CORE_V1_NAMESPACE), a);
    rc = rc == 0 ? object_set_str(&o, "metadata.name", name) : rc;
    rc = rc == 0 ? object_default(&o) : rc;
    rc = rc == 0 ? strategy_create(&o) : rc;
    rc = rc == 0 ? metadata_prepare_create(&o, &facts) : rc;
    return rc == 0 ? stored_encode(&o, out) : rc;
}

static void bootstrap_next(void *data)
{
    struct bootstrap *b = data;
    struct arena a;
    struct buf key;
    struct buf value;
    if (b->next == sizeof names / sizeof names[0]) {
        return;
    }
    arena_init(&a, 0);
    buf_init(&key);
    buf_init(&value);
    stored_key(schema_type(SCHEMA_CORE_V1_NAMESPACE), slice_of("", 0), slice_str(names[b->next]),
               &key);
    int rc = bootstrap_value(b, names[b->next], &a, &value);
    struct kvp_put put = {.size = sizeof put,
                          .key = kvp_bytes_of(key.data, key.len),
                          .value = kvp_bytes_of(value.data, value.len)};
    if (rc != 0 || key.failed || b->api->host->put_if(b->ctx, &put, 0, bootstrap_done, b) != 0) {
        bootstrap_later(b);
    }
    arena_close(&a);
    buf_close(&key);
    buf_close(&value);
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
