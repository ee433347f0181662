/* slice_mirror.c - addresses of Endpoints as endpoints of slices. */
#include "plugins/controllers/slice_mirror.h"

#include "plugins/client/client.h"
#include "plugins/controllers/message.h"

bool slice_mirror_wanted(const struct object *endpoints, const struct object *service)
{
    return endpoints != NULL && service != NULL && !object_is_deleted(endpoints) &&
           !object_is_deleted(service) && value_len(object_get(service, "spec.selector")) == 0 &&
           !slice_eq(
               object_text(endpoints, "metadata.labels[endpointslice.kubernetes.io/skip-mirror]"),
               slice_str("true")) &&
           object_get(endpoints,
                      "metadata.annotations[control-plane.alpha.kubernetes.io/leader]") == NULL;
}

static int slice_mirror_ports(const struct value *subset, struct arena *a, struct value *out)
{
    const struct schema_type *from = schema_type(SCHEMA_CORE_V1_ENDPOINT_PORT);
    const struct schema_type *to = schema_type(SCHEMA_DISCOVERY_V1_ENDPOINT_PORT);
    const struct value *ports =
        value_find(schema_type(SCHEMA_CORE_V1_ENDPOINT_SUBSET), subset, "ports");
    int rc = 0;
    *out = value_empty(VALUE_LIST);
    for (size_t i = 0; i < value_len(ports) && rc == 0; i++) {
        const struct value *p = &ports->items[i];
        const struct value *number = value_find(from, p, "port");
        struct slice protocol = value_slice(value_find(from, p, "protocol"));
        struct value m = value_empty(VALUE_MESSAGE);
        rc = message_set(a, to, &m, "name", value_text(value_slice(value_find(from, p, "name"))));
        rc = rc == 0 ? message_set(a, to, &m, "protocol",
                                   value_text(protocol.len > 0 ? protocol : slice_str("TCP")))
                     : rc;
        rc = rc == 0
                 ? message_set(a, to, &m, "port", value_int(number == NULL ? 0 : number->integer))
                 : rc;
        rc = rc == 0 ? message_set_text(a, to, &m, "appProtocol",
                                        value_slice(value_find(from, p, "appProtocol")))
                     : rc;
        rc = rc == 0 && value_append(a, out, m) == NULL ? ERR_NOMEM : rc;
    }
    return rc;
}

static int slice_mirror_endpoint(const struct value *address, bool ready, struct arena *a,
                                 struct value *out)
{
    const struct schema_type *from = schema_type(SCHEMA_CORE_V1_ENDPOINT_ADDRESS);
    const struct schema_type *to = schema_type(SCHEMA_DISCOVERY_V1_ENDPOINT);
    const struct value *reference = value_find(from, address, "targetRef");
    struct value addresses = value_empty(VALUE_LIST);
    struct value conditions = value_empty(VALUE_MESSAGE);
    *out = value_empty(VALUE_MESSAGE);
    int rc = value_append(a, &addresses,
                          value_text(value_slice(value_find(from, address, "ip")))) == NULL
                 ? ERR_NOMEM
                 : 0;
    rc = rc == 0 ? message_set(a, schema_type(SCHEMA_DISCOVERY_V1_ENDPOINT_CONDITIONS), &conditions,
                               "ready", value_bool(ready))
                 : rc;
    rc = rc == 0 ? message_set(a, to, out, "addresses", addresses) : rc;
    rc = rc == 0 ? message_set(a, to, out, "conditions", conditions) : rc;
    rc = rc == 0 ? message_set_text(a, to, out, "hostname",
                                    value_slice(value_find(from, address, "hostname")))
                 : rc;
    rc = rc == 0 && reference != NULL ? message_set(a, to, out, "targetRef", *reference) : rc;
    return rc == 0 ? message_set_text(a, to, out, "nodeName",
                                      value_slice(value_find(from, address, "nodeName")))
                   : rc;
}

/* Adds the addresses of one list of a subset; *room is how many more may be. */
static int slice_mirror_list(const struct value *subset, const char *list,
                             enum service_family family, size_t *room, struct arena *a,
                             struct slice_wants *out)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_ENDPOINT_SUBSET);
    const struct value *addresses = value_find(t, subset, list);
    bool ready = strcmp(list, "addresses") == 0;
    int rc = 0;
    for (size_t i = 0; i < value_len(addresses) && *room > 0 && rc == 0; i++) {
        struct slice ip = value_slice(
            value_find(schema_type(SCHEMA_CORE_V1_ENDPOINT_ADDRESS), &addresses->items[i], "ip"));
        struct value ports;
        struct value endpoint;
        if (ip.len == 0 || service_ip_family(ip) != family) {
            continue;
        }
        (*room)--;
        rc = slice_mirror_ports(subset, a, &ports);
        rc = rc == 0 ? slice_mirror_endpoint(&addresses->items[i], ready, a, &endpoint) : rc;
        rc = rc == 0 ? slice_wants_add(out, ports, endpoint, ip) : rc;
    }
    return rc;
}

static int slice_mirror_wants(const struct slice_plan_args *args, enum service_family family,
                              struct arena *a, struct slice_wants *out)
{
    const struct value *subsets = object_get(args->owner, "subsets");
    int rc = 0;
    for (size_t i = 0; i < value_len(subsets) && rc == 0; i++) {
        const struct value *s = &subsets->items[i];
        size_t room = SLICE_MIRROR_ENDPOINTS_MAX;
        rc = slice_mirror_list(s, "addresses", family, &room, a, out);
        rc = rc == 0 ? slice_mirror_list(s, "notReadyAddresses", family, &room, a, out) : rc;
    }
    return rc;
}

static struct slice slice_mirror_key(const struct value *endpoint)
{
    const struct value *list =
        value_find(schema_type(SCHEMA_DISCOVERY_V1_ENDPOINT), endpoint, "addresses");
    return value_len(list) == 0 ? slice_of(NULL, 0) : value_slice(&list->items[0]);
}

void slice_mirror_plan(const struct object *endpoints, struct slice_plan_args *args)
{
    args->owner = endpoints;
    args->manager = SLICE_MIRROR_MANAGER;
    args->ipv4 = true;
    args->ipv6 = true;
    args->endpoints_max = SLICE_MIRROR_ENDPOINTS_MAX;
    args->wants = slice_mirror_wants;
    args->key = slice_mirror_key;
}
