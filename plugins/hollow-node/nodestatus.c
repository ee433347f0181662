/* nodestatus.c - what a hollow node says about itself, and its lease. */
#include <inttypes.h>
#include <stdio.h>

#include "base/json.h"
#include "plugins/hollow-node/hollow.h"
#include "plugins/object/decode.h"
#include "plugins/object/instant.h"

#define HOLLOW_LEASE_S  40
#define KUBELET_VERSION "v1.35.4"

#if defined(__aarch64__)
#define HOLLOW_ARCH "arm64"
#else
#define HOLLOW_ARCH "amd64"
#endif

static void pair(struct json *j, const char *key, const char *text)
{
    json_key(j, key);
    json_cstr(j, text);
}

static void put_time(struct json *j, const char *key, int64_t seconds)
{
    char text[INSTANT_TEXT_BYTES_MAX];
    json_key(j, key);
    json_str(j, slice_of(text, instant_print(seconds, text)));
}

static void put_micros(struct json *j, const char *key, uint64_t wall_us)
{
    char text[INSTANT_TEXT_BYTES_MAX];
    json_key(j, key);
    json_str(j, slice_of(text, instant_print_micros((int64_t)wall_us, text)));
}

/* ---- status --------------------------------------------------------------------------------- */

static const struct {
    const char *type, *status, *reason, *message;
} conditions[] = {
    {"MemoryPressure", "False", "KubeletHasSufficientMemory",
     "kubelet has sufficient memory available"},
    {"DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"},
    {"PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"},
    {"Ready", "True", "KubeletReady", "kubelet is posting ready status"},
};

/* A condition of a Node; NULL: not there, or no node. */
static const struct value *node_condition(const struct object *node, const char *type)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_NODE_CONDITION);
    const struct value *list = node == NULL ? NULL : object_get(node, "status.conditions");
    for (size_t i = 0; i < value_len(list); i++) {
        if (value_is_text(value_at(t, &list->items[i], "type"), type)) {
            return &list->items[i];
        }
    }
    return NULL;
}

bool hollow_node_is_ready(const struct object *node)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_NODE_CONDITION);
    const struct value *c = node_condition(node, "Ready");
    return c != NULL && value_is_text(value_at(t, c, "status"), "True");
}

static void put_conditions(struct json *j, const struct object *now, int64_t wall_s)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_NODE_CONDITION);
    json_key(j, "conditions");
    json_array(j);
    for (size_t i = 0; i < sizeof conditions / sizeof conditions[0]; i++) {
        const struct value *c = node_condition(now, conditions[i].type);
        bool same = c != NULL && value_is_text(value_at(t, c, "status"), conditions[i].status);
        const struct value *since = same ? value_at(t, c, "lastTransitionTime") : NULL;
        json_object(j);
        pair(j, "type", conditions[i].type);
        pair(j, "status", conditions[i].status);
        put_time(j, "lastHeartbeatTime", wall_s);
        put_time(j, "lastTransitionTime", since == NULL ? wall_s : since->integer);
        pair(j, "reason", conditions[i].reason);
        pair(j, "message", conditions[i].message);
        json_object_end(j);
    }
    json_array_end(j);
}

static void put_amounts(struct json *j, const char *key, const struct hollow_conf *conf)
{
    char pods[24];
    snprintf(pods, sizeof pods, "%" PRId64, conf->pods);
    json_key(j, key);
    json_object(j);
    pair(j, "cpu", conf->cpu);
    pair(j, "ephemeral-storage", "100Gi");
    pair(j, "memory", conf->memory);
    pair(j, "pods", pods);
    json_object_end(j);
}

static void put_info(struct json *j, const struct hollow_node *n)
{
    char id[40];
    snprintf(id, sizeof id, "00000000-0000-4000-8000-%012u", n->number);
    json_key(j, "nodeInfo");
    json_object(j);
    pair(j, "machineID", id);
    pair(j, "systemUUID", id);
    pair(j, "bootID", id);
    pair(j, "kernelVersion", "0.0.0-hollow");
    pair(j, "osImage", "hollow (no containers run here)");
    pair(j, "containerRuntimeVersion", "hollow://0.1");
    pair(j, "kubeletVersion", KUBELET_VERSION);
    pair(j, "kubeProxyVersion", KUBELET_VERSION);
    pair(j, "operatingSystem", "linux");
    pair(j, "architecture", HOLLOW_ARCH);
    json_object_end(j);
}

static void put_status(struct json *j, const struct hollow_node *n, const struct object *now,
                       int64_t wall_s)
{
    json_key(j, "status");
    json_object(j);
    put_amounts(j, "capacity", n->all->conf);
    put_amounts(j, "allocatable", n->all->conf);
    put_conditions(j, now, wall_s);
    json_key(j, "addresses");
    json_array(j);
    json_object(j);
    pair(j, "type", "InternalIP");
    pair(j, "address", n->address);
    json_object_end(j);
    json_object(j);
    pair(j, "type", "Hostname");
    pair(j, "address", n->name);
    json_object_end(j);
    json_array_end(j);
    put_info(j, n);
    json_object_end(j);
}

void hollow_node_patch(const struct hollow_node *n, const struct object *now, int64_t wall_s,
                       struct buf *out)
{
    struct json j;
    json_init(&j, out);
    json_object(&j);
    put_status(&j, n, now, wall_s);
    json_object_end(&j);
}

/* Decodes what was just written. */
static int decode(enum schema_type_id id, struct buf *json, struct object *o)
{
    struct errmsg e;
    int rc = json->failed ? ERR_NOMEM
                          : object_decode(o, schema_type(id), o->arena, buf_slice(json), NULL, &e);
    buf_close(json);
    return rc;
}

int hollow_node_object(const struct hollow_node *n, int64_t wall_s, struct object *o)
{
    struct buf out;
    struct json j;
    char range[16];
    char text[24];
    buf_init(&out);
    json_init(&j, &out);
    json_object(&j);
    pair(&j, "apiVersion", "v1");
    pair(&j, "kind", "Node");
    json_key(&j, "metadata");
    json_object(&j);
    pair(&j, "name", n->name);
    json_key(&j, "labels");
    json_object(&j);
    pair(&j, HOLLOW_LABEL, "true");
    pair(&j, "kubernetes.io/hostname", n->name);
    pair(&j, "kubernetes.io/os", "linux");
    pair(&j, "kubernetes.io/arch", HOLLOW_ARCH);
    pair(&j, "beta.kubernetes.io/os", "linux");
    pair(&j, "beta.kubernetes.io/arch", HOLLOW_ARCH);
    json_object_end(&j);
    json_object_end(&j);
    json_key(&j, "spec");
    json_object(&j);
    hollow_address_print(n, 0, range);
    snprintf(text, sizeof text, "%s/24", range);
    pair(&j, "podCIDR", text);
    json_key(&j, "podCIDRs");
    json_array(&j);
    json_cstr(&j, text);
    json_array_end(&j);
    json_object_end(&j);
    put_status(&j, n, NULL, wall_s);
    json_object_end(&j);
    return decode(SCHEMA_CORE_V1_NODE, &out, o);
}

/* ---- lease ---------------------------------------------------------------------------------- */

int hollow_lease_object(const struct hollow_node *n, struct slice uid, uint64_t wall_us,
                        struct object *o)
{
    struct buf out;
    struct json j;
    buf_init(&out);
    json_init(&j, &out);
    json_object(&j);
    pair(&j, "apiVersion", "coordination.k8s.io/v1");
    pair(&j, "kind", "Lease");
    json_key(&j, "metadata");
    json_object(&j);
    pair(&j, "name", n->name);
    pair(&j, "namespace", "kube-node-lease");
    if (uid.len > 0) {
        json_key(&j, "ownerReferences");
        json_array(&j);
        json_object(&j);
        pair(&j, "apiVersion", "v1");
        pair(&j, "kind", "Node");
        pair(&j, "name", n->name);
        json_key(&j, "uid");
        json_str(&j, uid);
        json_object_end(&j);
        json_array_end(&j);
    }
    json_object_end(&j);
    json_key(&j, "spec");
    json_object(&j);
    pair(&j, "holderIdentity", n->name);
    json_key(&j, "leaseDurationSeconds");
    json_int(&j, HOLLOW_LEASE_S);
    put_micros(&j, "renewTime", wall_us);
    json_object_end(&j);
    json_object_end(&j);
    return decode(SCHEMA_COORDINATION_V1_LEASE, &out, o);
}

void hollow_lease_patch(uint64_t wall_us, struct buf *out)
{
    struct json j;
    json_init(&j, out);
    json_object(&j);
    json_key(&j, "spec");
    json_object(&j);
    put_micros(&j, "renewTime", wall_us);
    json_object_end(&j);
    json_object_end(&j);
}
