/* defaults_kinds.c - the defaults that depend on other fields. */
#include <string.h>

#include "plugins/object/defaults.h"

static struct value *get(const struct default_at *at, const char *path)
{
    return value_at(at->type, at->message, path);
}

/* Sets a field of the message by name. */
static int set(const struct default_at *at, const char *name, struct value v)
{
    const struct schema_field *f = schema_find(at->type, slice_str(name));
    unsigned index = (unsigned)(f - schema_fields(at->type));
    return value_set_member(at->arena, at->message, index, v) == NULL ? ERR_NOMEM : 0;
}

static int set_text_if_open(const struct default_at *at, const char *name, const char *text)
{
    return value_is_zero(get(at, name)) ? set(at, name, value_text(slice_str(text))) : 0;
}

/* Copies the pairs of one map that another lacks. */
static int fill_map(struct arena *a, struct value *to, const struct value *from)
{
    for (size_t i = 0; i < value_len(from); i++) {
        struct slice key = value_map_key(from, i);
        if (value_map_get(to, key) == NULL &&
            value_map_set(a, to, key, *value_map_at(from, i)) == NULL) {
            return ERR_NOMEM;
        }
    }
    return 0;
}

static int default_namespace(const struct default_at *at)
{
    struct slice name = value_slice(get(at, "metadata.name"));
    if (name.len == 0) {
        return 0;
    }
    struct object o = {.type = at->type, .root = *at->message, .arena = at->arena};
    int rc = object_set(&o, "metadata.labels[kubernetes.io/metadata.name]", value_text(name));
    *at->message = o.root;
    return rc;
}

static int default_node_status(const struct default_at *at)
{
    const struct value *capacity = get(at, "capacity");
    struct value copy;
    if (capacity == NULL || get(at, "allocatable") != NULL) {
        return 0;
    }
    int rc = value_copy_shared(at->arena, capacity, &copy);
    return rc != 0 ? rc : set(at, "allocatable", copy);
}

/* Requests a container leaves open are its limits. Not in templates. */
static int default_requests(struct arena *a, struct value *container)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_CONTAINER);
    const struct schema_type *inner = schema_type(SCHEMA_CORE_V1_RESOURCE_REQUIREMENTS);
    struct value *resources = value_find(t, container, "resources");
    const struct value *limits = resources == NULL ? NULL : value_find(inner, resources, "limits");
    if (value_len(limits) == 0) {
        return 0;
    }
    struct value *requests = value_find(inner, resources, "requests");
    if (requests == NULL) {
        const struct schema_field *f = schema_find(inner, slice_str("requests"));
        requests = value_set_member(a, resources, (unsigned)(f - schema_fields(inner)),
                                    value_empty(VALUE_MAP));
        if (requests == NULL) {
            return ERR_NOMEM;
        }
        limits = value_find(inner, resources, "limits"); /* the message may have moved */
    }
    return fill_map(a, requests, limits);
}

/* On the node's network a port of the container is one of the node. */
static int default_host_ports(struct arena *a, struct value *container)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_CONTAINER);
    const struct schema_type *inner = schema_type(SCHEMA_CORE_V1_CONTAINER_PORT);
    struct value *ports = value_find(t, container, "ports");
    for (size_t i = 0; i < value_len(ports); i++) {
        struct default_at at = {a, inner, &ports->items[i]};
        const struct value *port = get(&at, "containerPort");
        if (port != NULL && value_is_zero(get(&at, "hostPort"))) {
            int rc = set(&at, "hostPort", *port);
            if (rc != 0) {
                return rc;
            }
        }
    }
    return 0;
}

static int default_pod(const struct default_at *at)
{
    static const char *const lists[] = {"spec.containers", "spec.initContainers"};
    const struct value *host = get(at, "spec.hostNetwork");
    struct object o = {.type = at->type, .root = *at->message, .arena = at->arena};
    if (object_get(&o, "spec.enableServiceLinks") == NULL) {
        int links = object_set_bool(&o, "spec.enableServiceLinks", true);
        *at->message = o.root;
        if (links != 0) {
            return links;
        }
        host = get(at, "spec.hostNetwork");
    }
    for (size_t l = 0; l < 2; l++) {
        struct value *list = get(at, lists[l]);
        for (size_t i = 0; i < value_len(list); i++) {
            int rc = default_requests(at->arena, &list->items[i]);
            rc = rc == 0 && !value_is_zero(host) ? default_host_ports(at->arena, &list->items[i])
                                                 : rc;
            if (rc != 0) {
                return rc;
            }
        }
    }
    return 0;
}

/* The old name of the service account mirrors the new one. */
static int default_pod_spec(const struct default_at *at)
{
    const struct value *name = get(at, "serviceAccountName");
    const struct value *old = get(at, "serviceAccount");
    if (!value_is_zero(name)) {
        return set(at, "serviceAccount", *name);
    }
    return value_is_zero(old) ? 0 : set(at, "serviceAccountName", *old);
}

/* Images of no tag or the tag latest may change: always pulled. */
static const char *default_pull_policy(struct slice image)
{
    if (image.len == 0) {
        return "IfNotPresent";
    }
    bool digest = memchr(image.data, '@', image.len) != NULL;
    size_t end = digest ? (size_t)((const uint8_t *)memchr(image.data, '@', image.len) - image.data)
                        : image.len;
    size_t at = end;
    while (at > 0 && image.data[at - 1] != ':' && image.data[at - 1] != '/') {
        at--;
    }
    bool tagged = at > 0 && image.data[at - 1] == ':';
    struct slice tag = tagged ? slice_of(image.data + at, end - at) : slice_of(NULL, 0);
    bool latest = tagged ? slice_eq(tag, slice_str("latest")) : !digest;
    return latest ? "Always" : "IfNotPresent";
}

static int default_container(const struct default_at *at)
{
    return set_text_if_open(at, "imagePullPolicy",
                            default_pull_policy(value_slice(get(at, "image"))));
}

static int default_image_volume(const struct default_at *at)
{
    return set_text_if_open(at, "pullPolicy",
                            default_pull_policy(value_slice(get(at, "reference"))));
}

/* A volume without a source is an empty directory. Its fields are name and sources. */
static int default_volume(const struct default_at *at)
{
    size_t named = get(at, "name") != NULL;
    return at->message->len > named ? 0 : set(at, "emptyDir", value_empty(VALUE_MESSAGE));
}

static int default_service_affinity(const struct default_at *at)
{
    struct object o = {.type = at->type, .root = *at->message, .arena = at->arena};
    int rc = 0;
    if (!value_is_text(get(at, "sessionAffinity"), "ClientIP")) {
        object_remove(&o, "sessionAffinityConfig");
    } else if (object_get(&o, "sessionAffinityConfig.clientIP.timeoutSeconds") == NULL) {
        rc = object_set_int(&o, "sessionAffinityConfig.clientIP.timeoutSeconds", 10800);
    }
    *at->message = o.root;
    return rc;
}

static int default_service_spec(const struct default_at *at)
{
    const struct value *type = get(at, "type");
    bool balancer = value_is_text(type, "LoadBalancer");
    bool node_port = value_is_text(type, "NodePort");
    bool cluster_ip = value_is_zero(type) || value_is_text(type, "ClusterIP");
    bool outside = balancer || node_port || (cluster_ip && value_len(get(at, "externalIPs")) > 0);
    int rc = outside ? set_text_if_open(at, "externalTrafficPolicy", "Cluster") : 0;
    if (rc == 0 && get(at, "internalTrafficPolicy") == NULL &&
        (balancer || node_port || cluster_ip)) {
        rc = set(at, "internalTrafficPolicy", value_text(slice_str("Cluster")));
    }
    if (rc == 0 && balancer && get(at, "allocateLoadBalancerNodePorts") == NULL) {
        rc = set(at, "allocateLoadBalancerNodePorts", value_bool(true));
    }
    return rc == 0 ? default_service_affinity(at) : rc;
}

static int default_service_port(const struct default_at *at)
{
    const struct value *port = get(at, "port");
    return port != NULL && value_is_zero(get(at, "targetPort")) ? set(at, "targetPort", *port) : 0;
}

/* The template's labels stand for missing selector and labels. */
static int default_replication_controller(const struct default_at *at)
{
    const struct value *labels = get(at, "spec.template.metadata.labels");
    static const char *const paths[] = {"spec.selector", "metadata.labels"};
    struct object o = {.type = at->type, .root = *at->message, .arena = at->arena};
    for (size_t i = 0; i < 2; i++) {
        struct value copy;
        if (value_len(labels) == 0 || value_len(object_get(&o, paths[i])) > 0) {
            continue;
        }
        int rc = value_copy_shared(at->arena, labels, &copy);
        rc = rc == 0 ? object_set(&o, paths[i], copy) : rc;
        *at->message = o.root;
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

/* Texts given in stringData become data. */
static int default_secret(const struct default_at *at)
{
    const struct value *texts = get(at, "stringData");
    if (texts == NULL) {
        return 0;
    }
    struct object o = {.type = at->type, .root = *at->message, .arena = at->arena};
    struct value *data;
    struct value kept = *texts;
    int rc = object_make(&o, "data", &data);
    for (size_t i = 0; i < value_len(&kept) && rc == 0; i++) {
        struct value bytes = value_bytes(value_slice(value_map_at(&kept, i)));
        rc = value_map_set(at->arena, data, value_map_key(&kept, i), bytes) == NULL ? ERR_NOMEM : 0;
    }
    if (rc == 0) {
        object_remove(&o, "stringData");
    }
    *at->message = o.root;
    return rc;
}

static int default_strategy(const struct default_at *at)
{
    const struct value *type = get(at, "type");
    bool rolling = value_is_zero(type) || value_is_text(type, "RollingUpdate");
    return rolling && get(at, "rollingUpdate") == NULL
               ? set(at, "rollingUpdate", value_empty(VALUE_MESSAGE))
               : 0;
}

static int default_rolling_update(const struct default_at *at)
{
    static const char *const names[] = {"maxUnavailable", "maxSurge"};
    for (size_t i = 0; i < 2; i++) {
        if (get(at, names[i]) == NULL) {
            int rc = set(at, names[i], value_text(slice_str("25%")));
            if (rc != 0) {
                return rc;
            }
        }
    }
    return 0;
}

default_fn *default_function(const struct schema_type *t)
{
    static default_fn *const functions[SCHEMA_TYPE_COUNT_] = {
        [SCHEMA_CORE_V1_NAMESPACE] = default_namespace,
        [SCHEMA_CORE_V1_NODE_STATUS] = default_node_status,
        [SCHEMA_CORE_V1_POD] = default_pod,
        [SCHEMA_CORE_V1_POD_SPEC] = default_pod_spec,
        [SCHEMA_CORE_V1_CONTAINER] = default_container,
        [SCHEMA_CORE_V1_EPHEMERAL_CONTAINER] = default_container,
        [SCHEMA_CORE_V1_IMAGE_VOLUME_SOURCE] = default_image_volume,
        [SCHEMA_CORE_V1_VOLUME] = default_volume,
        [SCHEMA_CORE_V1_SERVICE_SPEC] = default_service_spec,
        [SCHEMA_CORE_V1_SERVICE_PORT] = default_service_port,
        [SCHEMA_CORE_V1_REPLICATION_CONTROLLER] = default_replication_controller,
        [SCHEMA_CORE_V1_SECRET] = default_secret,
        [SCHEMA_APPS_V1_DEPLOYMENT_STRATEGY] = default_strategy,
        [SCHEMA_APPS_V1_ROLLING_UPDATE_DEPLOYMENT] = default_rolling_update,
    };
    bool built_in = t >= schema_types && t < schema_types + schema_type_count;
    return built_in ? functions[t - schema_types] : NULL;
}
