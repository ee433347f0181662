/* validate_core.c - services, endpoints, nodes, configuration and events. */
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "plugins/object/decode.h"
#include "plugins/object/encode.h"
#include "plugins/object/validate_kinds.h"

/* Data of one ConfigMap or Secret. */
#define CONFIG_BYTES_MAX (1024u * 1024u)

static struct slice item_text(const struct schema_type *t, const struct value *list, size_t i,
                              const char *name)
{
    return value_slice(value_find(t, &list->items[i], name));
}

static int64_t item_int(const struct schema_type *t, const struct value *list, size_t i,
                        const char *name)
{
    const struct value *v = value_find(t, &list->items[i], name);
    return v != NULL && v->kind == VALUE_INT ? v->integer : 0;
}

/* ---- services ---- */

static void service_port(const struct validate_at *at, const struct value *ports, size_t i,
                         const struct place *p)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_SERVICE_PORT);
    struct causes *c = at->causes;
    struct slice name = item_text(t, ports, i, "name");
    if (name.len > 0) {
        validate_name(c, NAME_LABEL, PLACE_FIELD(p, "name"), name);
    } else if (value_len(ports) > 1) {
        cause_required(c, PLACE_FIELD(p, "name"), "");
    }
    struct slice app = item_text(t, ports, i, "appProtocol");
    if (app.len > 0) {
        validate_name(c, NAME_QUALIFIED, PLACE_FIELD(p, "appProtocol"), app);
    }
    for (size_t k = 0; k < i && name.len > 0; k++) {
        if (slice_eq(item_text(t, ports, k, "name"), name)) {
            cause_duplicate(c, PLACE_FIELD(p, "name"), name);
            break;
        }
    }
    validate_port_number(c, PLACE_FIELD(p, "port"), item_int(t, ports, i, "port"));
    validate_port_or_name(c, PLACE_FIELD(p, "targetPort"),
                          value_find(t, &ports->items[i], "targetPort"));
}

/* One port of one protocol once, on the service and on the nodes. */
static void service_port_twins(const struct validate_at *at, const struct value *ports, size_t i,
                               const struct place *p)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_SERVICE_PORT);
    struct slice protocol = item_text(t, ports, i, "protocol");
    int64_t node = item_int(t, ports, i, "nodePort");
    for (size_t k = 0; k < i; k++) {
        if (!slice_eq(item_text(t, ports, k, "protocol"), protocol)) {
            continue;
        }
        if (item_int(t, ports, k, "port") == item_int(t, ports, i, "port")) {
            char text[160];
            int n =
                snprintf(text, sizeof text,
                         "{\"Name\":\"\",\"Protocol\":\"%.*s\",\"AppProtocol\":null,\"Port\":%lld,"
                         "\"TargetPort\":0,\"NodePort\":0}",
                         (int)(protocol.len < 16 ? protocol.len : 16), (const char *)protocol.data,
                         (long long)item_int(t, ports, i, "port"));
            cause_duplicate_json(at->causes, p, slice_of(text, (size_t)n), "");
        }
        if (node != 0 && item_int(t, ports, k, "nodePort") == node) {
            char text[24];
            int n = snprintf(text, sizeof text, "%lld", (long long)node);
            cause_duplicate_json(at->causes, PLACE_FIELD(p, "nodePort"), slice_of(text, (size_t)n),
                                 "");
        }
    }
}

static void service_type(const struct validate_at *at, const struct place *spec, bool headless)
{
    struct slice type = validate_text(at, "spec.type");
    const struct value *ports = validate_get(at, "spec.ports");
    bool balancer = slice_eq(type, slice_str("LoadBalancer"));
    bool node_port = slice_eq(type, slice_str("NodePort"));
    if (headless && (balancer || node_port)) {
        cause_invalid_text(at->causes, PLACE_INDEX(PLACE_FIELD(spec, "clusterIPs"), 0),
                           slice_str("None"), "may not be set to 'None' for %s services",
                           balancer ? "LoadBalancer" : "NodePort");
    }
    if (slice_eq(type, slice_str("ExternalName"))) {
        struct slice name = validate_text(at, "spec.externalName");
        if (validate_text(at, "spec.clusterIP").len > 0) {
            cause_forbidden(at->causes, PLACE_FIELD(spec, "clusterIPs"),
                            "may not be set for ExternalName services");
        }
        if (name.len == 0) {
            cause_required(at->causes, PLACE_FIELD(spec, "externalName"), "");
        } else {
            validate_name(at->causes, NAME_SUBDOMAIN, PLACE_FIELD(spec, "externalName"), name);
        }
    }
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_SERVICE_PORT);
    for (size_t i = 0; i < value_len(ports) && slice_eq(type, slice_str("ClusterIP")); i++) {
        if (item_int(t, ports, i, "nodePort") != 0) {
            cause_forbidden(at->causes,
                            PLACE_FIELD(PLACE_INDEX(PLACE_FIELD(spec, "ports"), i), "nodePort"),
                            "may not be used when `type` is 'ClusterIP'");
        }
    }
    if (!balancer && value_len(validate_get(at, "spec.loadBalancerSourceRanges")) > 0) {
        cause_forbidden(at->causes, PLACE_FIELD(spec, "LoadBalancerSourceRanges"),
                        "may only be used when `type` is 'LoadBalancer'");
    }
    if (!balancer && validate_get(at, "spec.allocateLoadBalancerNodePorts") != NULL) {
        cause_forbidden(at->causes, PLACE_FIELD(spec, "allocateLoadBalancerNodePorts"),
                        "may only be used when `type` is 'LoadBalancer'");
    }
}

/* The first address stays, unless the service becomes or was an external name. */
static void service_address_update(const struct validate_at *at, const struct place *spec)
{
    struct slice before = value_slice(value_at(at->type, at->old, "spec.clusterIP"));
    struct slice now = validate_text(at, "spec.clusterIP");
    const struct value *old_type = value_at(at->type, at->old, "spec.type");
    bool external = value_is_text(old_type, "ExternalName") ||
                    value_is_text(validate_get(at, "spec.type"), "ExternalName");
    if (!external && before.len > 0 && !slice_eq(before, now)) {
        cause_invalid(at->causes, PLACE_INDEX(PLACE_FIELD(spec, "clusterIPs"), 0), NULL,
                      &(const struct value){.kind = VALUE_LIST,
                                            .len = 1,
                                            .items = &(struct value){.kind = VALUE_TEXT,
                                                                     .len = (uint32_t)now.len,
                                                                     .text = now.data}},
                      "may not change once set");
    }
}

void validate_service(const struct validate_at *at)
{
    const struct place *spec = PLACE_FIELD(at->place, "spec");
    const struct place *p = PLACE_FIELD(spec, "ports");
    const struct value *ports = validate_get(at, "spec.ports");
    bool headless = value_is_text(validate_get(at, "spec.clusterIP"), "None");
    bool external = value_is_text(validate_get(at, "spec.type"), "ExternalName");
    if (value_len(ports) == 0 && !headless && !external) {
        cause_required(at->causes, p, "");
    }
    service_type(at, spec, headless);
    for (size_t i = 0; i < value_len(ports); i++) {
        service_port(at, ports, i, PLACE_INDEX(p, i));
        service_port_twins(at, ports, i, PLACE_INDEX(p, i));
    }
    validate_labels(at->causes, PLACE_FIELD(spec, "selector"), validate_get(at, "spec.selector"));
    const struct value *outside = validate_get(at, "spec.externalIPs");
    for (size_t i = 0; i < value_len(outside); i++) {
        validate_reachable(at->causes, PLACE_INDEX(PLACE_FIELD(spec, "externalIPs"), i),
                           value_slice(&outside->items[i]));
    }
    struct slice policy = validate_text(at, "spec.externalTrafficPolicy");
    bool reachable = value_is_text(validate_get(at, "spec.type"), "NodePort") ||
                     value_is_text(validate_get(at, "spec.type"), "LoadBalancer") ||
                     (!external && value_len(outside) > 0);
    if (policy.len > 0 && !reachable) {
        cause_invalid_text(at->causes, PLACE_FIELD(spec, "externalTrafficPolicy"), policy,
                           "may only be set for externally-accessible services");
    }
    const struct value *timeout =
        validate_get(at, "spec.sessionAffinityConfig.clientIP.timeoutSeconds");
    if (timeout != NULL && (timeout->integer <= 0 || timeout->integer > 86400)) {
        cause_invalid_int(
            at->causes,
            PLACE_FIELD(PLACE_FIELD(PLACE_FIELD(spec, "sessionAffinityConfig"), "clientIP"),
                        "timeoutSeconds"),
            timeout->integer, "must be greater than 0 and less than 86400");
    }
    if (at->old != NULL) {
        service_address_update(at, spec);
    }
}

/* ---- endpoints ---- */

void validate_endpoint_subset(const struct validate_at *at)
{
    const struct value *ports = validate_get(at, "ports");
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_ENDPOINT_PORT);
    if (value_len(validate_get(at, "addresses")) == 0 &&
        value_len(validate_get(at, "notReadyAddresses")) == 0) {
        cause_required(at->causes, at->place, "must specify `addresses` or `notReadyAddresses`");
    }
    for (size_t i = 0; value_len(ports) > 1 && i < value_len(ports); i++) {
        if (item_text(t, ports, i, "name").len == 0) {
            cause_required(at->causes,
                           PLACE_FIELD(PLACE_INDEX(PLACE_FIELD(at->place, "ports"), i), "name"),
                           "");
        }
    }
}

void validate_endpoint_address(const struct validate_at *at)
{
    struct slice host = validate_text(at, "hostname");
    struct slice node = validate_text(at, "nodeName");
    validate_reachable(at->causes, PLACE_FIELD(at->place, "ip"), validate_text(at, "ip"));
    if (host.len > 0) {
        validate_name(at->causes, NAME_LABEL, PLACE_FIELD(at->place, "hostname"), host);
    }
    if (node.len > 0) {
        validate_name(at->causes, NAME_SUBDOMAIN, PLACE_FIELD(at->place, "nodeName"), node);
    }
}

void validate_endpoint_port(const struct validate_at *at)
{
    struct slice name = validate_text(at, "name");
    if (name.len > 0) {
        validate_name(at->causes, NAME_LABEL, PLACE_FIELD(at->place, "name"), name);
    }
    validate_port_number(at->causes, PLACE_FIELD(at->place, "port"), validate_int(at, "port", 0));
}

/* ---- configuration ---- */

static size_t config_keys(const struct validate_at *at, const char *field)
{
    const struct value *map = validate_get(at, field);
    const struct place *p = PLACE_FIELD(at->place, field);
    size_t bytes = 0;
    for (size_t i = 0; i < value_len(map); i++) {
        struct slice key = value_map_key(map, i);
        validate_name(at->causes, NAME_CONFIG_KEY, PLACE_KEY(p, key), key);
        bytes += value_slice(value_map_at(map, i)).len;
    }
    return bytes;
}

/* What `immutable` froze. */
static void config_frozen(const struct validate_at *at, const char *const fields[], size_t count)
{
    const struct value *frozen =
        at->old == NULL ? NULL : value_find(at->type, at->old, "immutable");
    if (value_is_zero(frozen)) {
        return;
    }
    if (value_is_zero(validate_get(at, "immutable"))) {
        cause_forbidden(at->causes, PLACE_FIELD(at->place, "immutable"),
                        "field is immutable when `immutable` is set");
    }
    for (size_t i = 0; i < count; i++) {
        const struct schema_field *f = schema_find(at->type, slice_str(fields[i]));
        if (!value_equal_field(f, validate_get(at, fields[i]),
                               value_find(at->type, at->old, fields[i]))) {
            cause_forbidden(at->causes, PLACE_FIELD(at->place, fields[i]),
                            "field is immutable when `immutable` is set");
        }
    }
}

void validate_config_map(const struct validate_at *at)
{
    static const char *const fields[] = {"data", "binaryData"};
    const struct value *data = validate_get(at, "data");
    const struct value *binary = validate_get(at, "binaryData");
    size_t bytes = config_keys(at, "data") + config_keys(at, "binaryData");
    for (size_t i = 0; i < value_len(data); i++) {
        struct slice key = value_map_key(data, i);
        if (value_map_get(binary, key) != NULL) {
            cause_invalid_text(at->causes, PLACE_KEY(PLACE_FIELD(at->place, "data"), key), key,
                               "duplicate of key present in binaryData");
        }
    }
    if (bytes > CONFIG_BYTES_MAX) {
        cause_too_long(at->causes, PLACE_FIELD(at->place, ""), CONFIG_BYTES_MAX);
    }
    config_frozen(at, fields, 2);
}

static void secret_needs(const struct validate_at *at, const char *key)
{
    if (value_map_get(validate_get(at, "data"), slice_str(key)) == NULL) {
        cause_required(at->causes, PLACE_KEY(PLACE_FIELD(at->place, "data"), slice_str(key)), "");
    }
}

/* A key that holds a JSON object. */
static void secret_needs_json(const struct validate_at *at, const char *key)
{
    const struct value *v = value_map_get(validate_get(at, "data"), slice_str(key));
    if (v == NULL) {
        secret_needs(at, key);
        return;
    }
    struct arena scratch;
    struct value tree;
    struct errmsg e = {.text = ""};
    arena_init(&scratch, 8u * CONFIG_BYTES_MAX);
    int rc = decode_json(value_slice(v), NULL, &scratch, &tree, NULL, &e);
    if (rc == 0 && tree.kind != VALUE_MAP) {
        errmsg_set(&e, ERR_INVALID,
                   "json: cannot unmarshal %s into Go value of type map[string]interface {}",
                   tree.kind == VALUE_LIST   ? "array"
                   : tree.kind == VALUE_TEXT ? "string"
                   : tree.kind == VALUE_BOOL ? "bool"
                                             : "number");
        rc = ERR_INVALID;
    }
    if (rc != 0) {
        cause_invalid_text(at->causes, PLACE_KEY(PLACE_FIELD(at->place, "data"), slice_str(key)),
                           slice_str("<secret contents redacted>"), "%s", e.text);
    }
    arena_close(&scratch);
}

void validate_secret(const struct validate_at *at)
{
    static const char *const fields[] = {"data"};
    struct slice type = validate_text(at, "type");
    if (config_keys(at, "data") > CONFIG_BYTES_MAX) {
        cause_too_long(at->causes, PLACE_FIELD(at->place, "data"), CONFIG_BYTES_MAX);
    }
    if (slice_eq(type, slice_str("kubernetes.io/service-account-token"))) {
        static const char key[] = "kubernetes.io/service-account.name";
        if (validate_text(at, "metadata.annotations[kubernetes.io/service-account.name]").len ==
            0) {
            cause_required(at->causes,
                           PLACE_KEY(PLACE_FIELD(PLACE_FIELD(at->place, "metadata"), "annotations"),
                                     slice_str(key)),
                           "");
        }
    } else if (slice_eq(type, slice_str("kubernetes.io/dockercfg"))) {
        secret_needs_json(at, ".dockercfg");
    } else if (slice_eq(type, slice_str("kubernetes.io/dockerconfigjson"))) {
        secret_needs_json(at, ".dockerconfigjson");
    } else if (slice_eq(type, slice_str("kubernetes.io/basic-auth"))) {
        const struct value *data = validate_get(at, "data");
        if (value_map_cget(data, "username") == NULL && value_map_cget(data, "password") == NULL) {
            secret_needs(at, "username");
            secret_needs(at, "password");
        }
    } else if (slice_eq(type, slice_str("kubernetes.io/ssh-auth"))) {
        if (value_len(validate_get(at, "data")) == 0 ||
            value_is_zero(value_map_cget(validate_get(at, "data"), "ssh-privatekey"))) {
            cause_required(at->causes,
                           PLACE_KEY(PLACE_FIELD(at->place, "data"), slice_str("ssh-privatekey")),
                           "");
        }
    } else if (slice_eq(type, slice_str("kubernetes.io/tls"))) {
        secret_needs(at, "tls.crt");
        secret_needs(at, "tls.key");
    }
    config_frozen(at, fields, 1);
}

/* ---- nodes ---- */

/* One taint; its JSON is that of Kubernetes' inner type. */
static void node_taint(const struct validate_at *at, const struct value *taints, size_t i,
                       const struct place *p)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_TAINT);
    struct causes *c = at->causes;
    struct slice key = item_text(t, taints, i, "key");
    struct slice value = item_text(t, taints, i, "value");
    struct slice effect = item_text(t, taints, i, "effect");
    validate_name(c, NAME_QUALIFIED, PLACE_FIELD(p, "key"), key);
    validate_name(c, NAME_LABEL_VALUE, PLACE_FIELD(p, "value"), value);
    if (effect.len == 0) {
        cause_required(c, PLACE_FIELD(p, "effect"), "");
    } else if (!schema_enum_has(schema_field_type(schema_find(t, slice_str("effect"))), effect)) {
        cause_not_in_enum(c, PLACE_FIELD(p, "effect"), effect,
                          schema_field_type(schema_find(t, slice_str("effect"))));
    }
    for (size_t k = 0; k < i; k++) {
        if (slice_eq(item_text(t, taints, k, "key"), key) &&
            slice_eq(item_text(t, taints, k, "effect"), effect)) {
            struct buf shown;
            buf_init(&shown);
            buf_append_str(&shown, "{\"Key\":");
            encode_text(key, &shown);
            buf_append_str(&shown, ",\"Value\":");
            encode_text(value, &shown);
            buf_append_str(&shown, ",\"Effect\":");
            encode_text(effect, &shown);
            buf_append_str(&shown, ",\"TimeAdded\":null}");
            cause_duplicate_json(c, p, buf_slice(&shown),
                                 "taints must be unique by key and effect pair");
            buf_close(&shown);
            return;
        }
    }
}

static void node_taints(const struct validate_at *at)
{
    const struct value *taints = validate_get(at, "spec.taints");
    /* Kubernetes names the place so. */
    const struct place *p = PLACE_FIELD(PLACE_FIELD(at->place, "metadata"), "taints");
    for (size_t i = 0; i < value_len(taints); i++) {
        node_taint(at, taints, i, PLACE_INDEX(p, i));
    }
}

static void node_amounts(const struct validate_at *at, const char *path, const char *field)
{
    const struct value *map = validate_get(at, path);
    const struct place *p = PLACE_FIELD(PLACE_FIELD(at->place, "status"), field);
    for (size_t i = 0; i < value_len(map); i++) {
        struct slice text = value_slice(value_map_at(map, i));
        struct slice key = value_map_key(map, i);
        char name[128];
        if (text.len == 0 || text.data[0] != '-' || key.len >= sizeof name) {
            continue;
        }
        memcpy(name, key.data, key.len);
        name[key.len] = 0;
        cause_invalid_text(at->causes, PLACE_FIELD(p, name), text,
                           "must be greater than or equal to 0");
    }
}

void validate_node(const struct validate_at *at)
{
    const struct place *spec = PLACE_FIELD(at->place, "spec");
    node_taints(at);
    node_amounts(at, "status.capacity", "capacity");
    node_amounts(at, "status.allocatable", "allocatable");
    if (at->old == NULL) {
        return;
    }
    struct slice provider = value_slice(value_at(at->type, at->old, "spec.providerID"));
    const struct value *cidrs = value_at(at->type, at->old, "spec.podCIDRs");
    const struct schema_type *st = schema_type(SCHEMA_CORE_V1_NODE_SPEC);
    if (value_len(cidrs) > 0 && !value_equal_field(schema_find(st, slice_str("podCIDRs")), cidrs,
                                                   validate_get(at, "spec.podCIDRs"))) {
        cause_forbidden(at->causes, PLACE_FIELD(spec, "podCIDRs"),
                        "node updates may not change podCIDR except from \"\" to valid");
    }
    if (provider.len > 0 && !slice_eq(provider, validate_text(at, "spec.providerID"))) {
        cause_forbidden(at->causes, PLACE_FIELD(spec, "providerID"),
                        "node updates may not change providerID except from \"\" to valid");
    }
    if (!slice_eq(value_slice(value_at(at->type, at->old, "spec.externalID")),
                  validate_text(at, "spec.externalID"))) {
        cause_forbidden(at->causes, PLACE_FIELD(spec, "externalID"), "may not be updated");
    }
}

/* ---- events ---- */

static void event_text(const struct validate_at *at, const char *field, size_t max, bool needed)
{
    struct slice text = validate_text(at, field);
    if (text.len == 0 && needed) {
        cause_required(at->causes, PLACE_FIELD(at->place, field), "");
    }
    if (text.len > max) {
        cause_invalid_text(at->causes, PLACE_FIELD(at->place, field), slice_str(""),
                           "can have at most %zu characters", max);
    }
}

/* Events of the core group: those with an eventTime say more. */
void validate_event(const struct validate_at *at)
{
    struct slice ns = validate_text(at, "metadata.namespace");
    struct slice about = validate_text(at, "involvedObject.namespace");
    const struct place *p = PLACE_FIELD(PLACE_FIELD(at->place, "involvedObject"), "namespace");
    bool home = ns.len == 0 || slice_eq(ns, slice_str("default"));
    bool new = validate_get(at, "eventTime") != NULL;
    bool system = new &&slice_eq(ns, slice_str("kube-system"));
    if (about.len == 0 ? !home && !system : !new && !slice_eq(ns, about)) {
        cause_invalid_text(at->causes, p, about, "does not match event.namespace");
    }
    if (!new) {
        return;
    }
    event_text(at, "reportingComponent", 253, true);
    event_text(at, "reportingInstance", 128, true);
    event_text(at, "action", 128, true);
    event_text(at, "reason", 128, true);
    event_text(at, "message", 1024, false);
}
