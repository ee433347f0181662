/* hollow.c - the hollow-node plugin: its options, its terms. */
#include "plugins/hollow-node/hollow.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

static const struct kvp_option options[] = {
    {"nodes", KVP_OPT_INT, KVP_OPT_RELOADABLE, offsetof(struct hollow_conf, nodes), "3", 0,
     HOLLOW_NODES_MAX,
     .help = "how many nodes there are; with less those with higher numbers stop"},
    {"name-prefix", KVP_OPT_STRING, 0, offsetof(struct hollow_conf, prefix), "hollow-node-",
     .help = "a node's name is this and its number, from 1"},
    {"cpu", KVP_OPT_STRING, KVP_OPT_RELOADABLE, offsetof(struct hollow_conf, cpu), "8",
     .help = "processors of each node, a quantity"},
    {"memory", KVP_OPT_STRING, KVP_OPT_RELOADABLE, offsetof(struct hollow_conf, memory), "16Gi",
     .help = "memory of each node, a quantity"},
    {"pods", KVP_OPT_INT, KVP_OPT_RELOADABLE, offsetof(struct hollow_conf, pods), "110", 1,
     HOLLOW_PODS_MAX, .help = "how many pods each node takes"},
    {"lease-interval", KVP_OPT_DURATION, KVP_OPT_RELOADABLE, offsetof(struct hollow_conf, lease_ms),
     "10s", 100, 3600000, .help = "how often a node renews its lease"},
    {"status-interval", KVP_OPT_DURATION, KVP_OPT_RELOADABLE,
     offsetof(struct hollow_conf, status_ms), "5m", 1000, 86400000,
     .help = "how often a node reports its status when nothing changes"},
    {"start-delay", KVP_OPT_DURATION, KVP_OPT_RELOADABLE, offsetof(struct hollow_conf, start_ms),
     "300ms", 0, 3600000,
     .help = "how long a pod takes to start, longer by chance by up to a half"},
    {"init-delay", KVP_OPT_DURATION, KVP_OPT_RELOADABLE, offsetof(struct hollow_conf, init_ms),
     "200ms", 0, 3600000, .help = "how long an init container runs whose command says nothing"},
    {"stop-delay", KVP_OPT_DURATION, KVP_OPT_RELOADABLE, offsetof(struct hollow_conf, stop_ms),
     "500ms", 0, 3600000,
     .help = "how long containers take to stop, at most the pod's grace period"},
    {"stopped", KVP_OPT_STRING, KVP_OPT_RELOADABLE, offsetof(struct hollow_conf, stopped), "",
     .help = "nodes that are off, joined by +"},
    {0}};

uint64_t hollow_jitter(const struct hollow *h, int64_t ms, unsigned percent)
{
    uint32_t dice = 0;
    uint64_t most = (uint64_t)ms * percent / 100;
    h->host->random(h->ctx, &dice, sizeof dice);
    return (uint64_t)ms + (most == 0 ? 0 : dice % (most + 1));
}

/* ---- options that the table cannot check ---------------------------------------------------- */

static int check_quantity(const char *name, const char *text, struct kvp_errmsg *e)
{
    struct quantity q;
    const char *why = "";
    if (quantity_parse(slice_str(text), &q, &why) != 0 || q.nano <= 0) {
        snprintf(e->text, sizeof e->text, "%s=%.60s is no amount such as 8, 500m or 16Gi", name,
                 text);
        return KVP_INVALID;
    }
    return 0;
}

static int check_conf(const struct hollow_conf *c, struct kvp_errmsg *e)
{
    size_t len = strlen(c->prefix);
    bool good = len > 0 && len + 4 < HOLLOW_NAME_BYTES_MAX;
    for (size_t i = 0; i < len && good; i++) {
        char b = c->prefix[i];
        good =
            (b >= 'a' && b <= 'z') || (b >= '0' && b <= '9') || (i > 0 && (b == '-' || b == '.'));
    }
    if (!good) {
        snprintf(
            e->text, sizeof e->text,
            "name-prefix=%.60s: up to %u lower case letters, digits, - and . that begin with a "
            "letter or digit",
            c->prefix, HOLLOW_NAME_BYTES_MAX - 5);
        return KVP_INVALID;
    }
    int rc = check_quantity("cpu", c->cpu, e);
    return rc == 0 ? check_quantity("memory", c->memory, e) : rc;
}

/* ---- life ----------------------------------------------------------------------------------- */

static int hollow_init(struct kvp_ctx *ctx, const struct kvp_host *host, const void *conf,
                       void **self, struct kvp_errmsg *e)
{
    int rc = check_conf(conf, e);
    if (rc != 0) {
        return rc;
    }
    struct hollow *h = mem_zalloc(sizeof *h);
    if (h != NULL) {
        h->host = host;
        h->ctx = ctx;
        h->conf = conf;
        hashmap_init(&h->pods);
    }
    if (h == NULL || hollow_nodes_apply(h) != 0) {
        if (h != NULL) {
            hollow_nodes_free(h);
        }
        mem_free(h);
        snprintf(e->text, sizeof e->text, "out of memory");
        return KVP_NO_MEMORY;
    }
    *self = h;
    return 0;
}

static void hollow_stop(void *self, int32_t reason)
{
    struct hollow *h = self;
    /* Informers and queues have ended with their context; closing frees what is left of them. */
    struct works *works[] = {h->pod_works, h->node_works};
    struct informer *informers[] = {h->pod_informer, h->node_informer};
    for (int i = 0; i < 2; i++) {
        if (works[i] != NULL) {
            works_close(works[i]);
        }
        if (informers[i] != NULL) {
            informer_close(informers[i]);
        }
    }
    h->pod_works = h->node_works = NULL;
    h->pod_informer = h->node_informer = NULL;
    hollow_pods_stop(h);
    h->term = (struct client){0};
}

static int hollow_start(void *self, struct kvp_ctx *term, uint64_t number)
{
    struct hollow *h = self;
    h->term = (struct client){.host = h->host, .ctx = term};
    int rc = hollow_nodes_start(h);
    return rc == 0 ? hollow_pods_start(h) : rc;
}

static int hollow_reload(void *self, const void *conf, struct kvp_errmsg *e)
{
    struct hollow *h = self;
    const struct hollow_conf *before = h->conf;
    int rc = check_conf(conf, e);
    if (rc != 0) {
        return rc;
    }
    h->conf = conf;
    rc = hollow_nodes_apply(h);
    if (rc != 0) {
        h->conf = before;
        snprintf(e->text, sizeof e->text, "out of memory");
    }
    return rc;
}

static void hollow_fini(void *self)
{
    struct hollow *h = self;
    hollow_nodes_free(h);
    hashmap_close(&h->pods);
    mem_free(h);
}

KVP_PLUGIN(.name = "hollow-node", .version = "0.1",
           .about = "pretends to be nodes: registers them and lets their pods live",
           .options = options, .conf_size = sizeof(struct hollow_conf), .init = hollow_init,
           .start = hollow_start, .stop = hollow_stop, .reload = hollow_reload,
           .fini = hollow_fini);
