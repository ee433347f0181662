/* validate_core.c - services, endpoints, nodes, configuration and events. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "plugins/apiserver/object/decode.h"
#include "plugins/apiserver/object/validate_kinds.h"

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
            char text[96];
            int n = snprintf(text, sizeof text, "{\"Name\":\"\",\"Protocol\":\"%.*s\"}",
                             (int)protocol.len, (const char *)protocol.data);
            cause_duplicate(at->causes, p, slice_of(text, (size_t)n));
        }
        if (node != 0 && item_int(t, ports, k, "nodePort") == node) {
            char text[24];
            int n = snprintf(text, sizeof text, "%lld", (long long)node);
            cause_duplicate(at->causes, PLACE_FIELD(p, "nodePort"), slice_of(text, (size_t)n));
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
        cause_forbidden(at->causes, PLACE_FIELD(spec, "loadBalancerSourceRanges"),
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

/* An address of version 4 or 6; *v6 tells which. */
static bool address_parse(struct slice text, uint8_t out[16], bool *v6)
{
    char copy[64];
    if (text.len == 0 || text.len >= sizeof copy) {
        return false;
    }
    memcpy(copy, text.data, text.len);
    copy[text.len] = 0;
    *v6 = memchr(text.data, ':', text.len) != NULL;
    return inet_pton(*v6 ? AF_INET6 : AF_INET, copy, out) == 1;
}

/* Addresses that mean something else on each machine are refused. */
static void address_reachable(struct causes *c, const struct place *p, struct slice text)
{
    uint8_t a[16];
    bool v6;
    static const uint8_t zero[16];
    static const uint8_t loop6[16] = {[15] = 1};
    if (!address_parse(text, a, &v6)) {
        cause_invalid_text(c, p, text,
                           "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
        return;
    }
    if (memcmp(a, zero, v6 ? 16 : 4) == 0) {
        cause_invalid_text(c, p, text, "may not be unspecified (%.*s)", (int)text.len,
                           (const char *)text.data);
    }
    if (v6 ? memcmp(a, loop6, 16) == 0 : a[0] == 127) {
        cause_invalid_text(c, p, text, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    if (v6 ? a[0] == 0xfe && (a[1] & 0xc0) == 0x80 : a[0] == 169 && a[1] == 254) {
        cause_invalid_text(c, p, text,
                           "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    if (v6 ? a[0] == 0xff && (a[1] & 0x0f) == 2 : a[0] == 224 && a[1] == 0 && a[2] == 0) {
        cause_invalid_text(
            c, p, text, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
    }
}

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
    address_reachable(at->causes, PLACE_FIELD(at->place, "ip"), validate_text(at, "ip"));
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
                   "json: cannot unmarshal into Go value of type map[string]interface {}");
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

static void node_taints(const struct validate_at *at)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_TAINT);
    const struct value *taints = validate_get(at, "spec.taints");
    /* Kubernetes names the place so. */
    const struct place *p = PLACE_FIELD(PLACE_FIELD(at->place, "metadata"), "taints");
    for (size_t i = 0; i < value_len(taints); i++) {
        struct slice key = item_text(t, taints, i, "key");
        struct slice effect = item_text(t, taints, i, "effect");
        validate_name(at->causes, NAME_LABEL_VALUE, PLACE_FIELD(PLACE_INDEX(p, i), "value"),
                      item_text(t, taints, i, "value"));
        for (size_t k = 0; k < i; k++) {
            if (slice_eq(item_text(t, taints, k, "key"), key) &&
                slice_eq(item_text(t, taints, k, "effect"), effect)) {
                cause_duplicate(at->causes, PLACE_FIELD(PLACE_INDEX(p, i), "key"), key);
                break;
            }
        }
    }
}

void validate_node(const struct validate_at *at)
{
    const struct place *spec = PLACE_FIELD(at->place, "spec");
    node_taints(at);
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
