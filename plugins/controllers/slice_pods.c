/* slice_pods.c - pods as endpoints. */
#include "plugins/controllers/slice_pods.h"

#include "plugins/controllers/message.h"

static int slice_pods_addresses(const struct object *pod, enum service_family family,
                                struct arena *a, struct value *out)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_POD_IP);
    const struct value *list = object_get(pod, "status.podIPs");
    *out = value_empty(VALUE_LIST);
    for (size_t i = 0; i < value_len(list); i++) {
        struct slice ip = value_slice(value_find(t, &list->items[i], "ip"));
        if (ip.len > 0 && service_ip_family(ip) == family &&
            value_append(a, out, value_text(ip)) == NULL) {
            return ERR_NOMEM;
        }
    }
    struct slice ip = service_pod_ip(pod, family);
    if (value_len(out) == 0 && ip.len > 0 && value_append(a, out, value_text(ip)) == NULL) {
        return ERR_NOMEM;
    }
    return 0;
}

static int slice_pods_conditions(const struct object *service, const struct object *pod,
                                 struct arena *a, struct value *out)
{
    const struct schema_type *t = schema_type(SCHEMA_DISCOVERY_V1_ENDPOINT_CONDITIONS);
    bool serving = service_pod_ready(pod);
    bool ending = object_is_deleted(pod);
    bool publish = object_bool(service, "spec.publishNotReadyAddresses", false);
    *out = value_empty(VALUE_MESSAGE);
    int rc = message_set(a, t, out, "ready", value_bool(publish || (serving && !ending)));
    rc = rc == 0 ? message_set(a, t, out, "serving", value_bool(serving)) : rc;
    return rc == 0 ? message_set(a, t, out, "terminating", value_bool(ending)) : rc;
}

/* A message Endpoint of a pod at its addresses of a family; *has false: it has none there. */
static int slice_pods_endpoint(const struct slice_pods *src, const struct object *pod,
                               enum service_family family, struct arena *a, struct value *out,
                               bool *has)
{
    const struct schema_type *t = schema_type(SCHEMA_DISCOVERY_V1_ENDPOINT);
    struct value addresses;
    struct value conditions;
    struct value reference;
    struct slice node = object_text(pod, "spec.nodeName");
    struct slice zone = slice_of(NULL, 0);
    int rc = slice_pods_addresses(pod, family, a, &addresses);
    *has = rc == 0 && value_len(&addresses) > 0;
    if (!*has) {
        return rc;
    }
    if (node.len > 0 && src->zone != NULL) {
        zone = src->zone(src->data, node);
    }
    *out = value_empty(VALUE_MESSAGE);
    rc = slice_pods_conditions(src->service, pod, a, &conditions);
    rc = rc == 0 ? service_pod_reference(a, pod, &reference) : rc;
    rc = rc == 0 ? message_set(a, t, out, "addresses", addresses) : rc;
    rc = rc == 0 ? message_set(a, t, out, "conditions", conditions) : rc;
    rc =
        rc == 0 ? message_set_text(a, t, out, "hostname", service_hostname(src->service, pod)) : rc;
    rc = rc == 0 ? message_set(a, t, out, "targetRef", reference) : rc;
    rc = rc == 0 ? message_set_text(a, t, out, "nodeName", node) : rc;
    return rc == 0 ? message_set_text(a, t, out, "zone", zone) : rc;
}

/* The list of EndpointPort messages of a service at a pod. */
static int slice_pods_ports(const struct object *service, const struct object *pod, struct arena *a,
                            struct value *out)
{
    const struct schema_type *t = schema_type(SCHEMA_DISCOVERY_V1_ENDPOINT_PORT);
    const struct value *ports = object_get(service, "spec.ports");
    int rc = 0;
    *out = value_empty(VALUE_LIST);
    for (size_t i = 0; i < value_len(ports) && rc == 0; i++) {
        const struct value *port = &ports->items[i];
        int64_t number = service_port_number(port, pod);
        struct slice protocol = service_port_text(port, "protocol");
        if (number == 0) {
            continue;
        }
        struct value m = value_empty(VALUE_MESSAGE);
        rc = message_set(a, t, &m, "name", value_text(service_port_text(port, "name")));
        rc = rc == 0 ? message_set(a, t, &m, "protocol",
                                   value_text(protocol.len > 0 ? protocol : slice_str("TCP")))
                     : rc;
        rc = rc == 0 ? message_set(a, t, &m, "port", value_int(number)) : rc;
        rc = rc == 0
                 ? message_set_text(a, t, &m, "appProtocol", service_port_text(port, "appProtocol"))
                 : rc;
        rc = rc == 0 && value_append(a, out, m) == NULL ? ERR_NOMEM : rc;
    }
    return rc;
}

/* uid of the pod behind an Endpoint message. */
static struct slice slice_pods_key(const struct value *endpoint)
{
    const struct value *ref =
        value_find(schema_type(SCHEMA_DISCOVERY_V1_ENDPOINT), endpoint, "targetRef");
    return value_slice(value_find(schema_type(SCHEMA_CORE_V1_OBJECT_REFERENCE), ref, "uid"));
}

static int slice_pods_wants(const struct slice_plan_args *args, enum service_family family,
                            struct arena *a, struct slice_wants *out)
{
    const struct slice_pods *src = args->data;
    int rc = 0;
    for (size_t i = 0; i < src->count && rc == 0; i++) {
        const struct object *pod = src->pods[i];
        struct value endpoint;
        struct value ports;
        bool has = false;
        if (!service_pod_counts(pod, true)) {
            continue;
        }
        rc = slice_pods_endpoint(src, pod, family, a, &endpoint, &has);
        if (rc != 0 || !has) {
            continue;
        }
        rc = slice_pods_ports(src->service, pod, a, &ports);
        rc = rc == 0 ? slice_wants_add(out, ports, endpoint, object_uid(pod)) : rc;
    }
    return rc;
}

void slice_pods_plan(struct slice_pods *src, struct slice_plan_args *args)
{
    struct service_families f = service_families(src->service);
    args->owner = src->service;
    args->manager = SLICE_PODS_MANAGER;
    args->headless = service_is_headless(src->service);
    args->placeholder = true;
    args->ipv4 = f.ipv4;
    args->ipv6 = f.ipv6;
    args->wants = slice_pods_wants;
    args->key = slice_pods_key;
    args->data = src;
}
