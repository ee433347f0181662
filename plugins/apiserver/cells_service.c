/* cells_service.c - the cells of services and of the endpoints behind them. */
#include "plugins/apiserver/cells.h"

#include <inttypes.h>

/* ---- services ------------------------------------------------------------------------------ */

static void print_type(struct cells *c)
{
    cells_put_path(c, "spec.type", "");
}

static void print_cluster_ip(struct cells *c)
{
    const struct value *list = object_get(c->object, "spec.clusterIPs");
    cells_put_slice(c, value_len(list) > 0 ? value_slice(&list->items[0]) : slice_str("<none>"));
}

/* The addresses of a load balancer, sorted, each once. */
static void put_balancer(struct cells *c, bool *first)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_LOAD_BALANCER_INGRESS);
    const struct value *list = object_get(c->object, "status.loadBalancer.ingress");
    struct slice *addresses = arena_alloc(c->arena, (value_len(list) + 1) * sizeof *addresses);
    size_t n = 0;
    if (addresses == NULL) {
        c->out->failed = true;
        return;
    }
    for (size_t i = 0; i < value_len(list); i++) {
        struct slice ip = value_slice(value_find(t, &list->items[i], "ip"));
        struct slice host = value_slice(value_find(t, &list->items[i], "hostname"));
        if (ip.len > 0 || host.len > 0) {
            addresses[n++] = ip.len > 0 ? ip : host;
        }
    }
    cells_put_sorted(c, addresses, n, first);
}

static void print_external_ip(struct cells *c)
{
    struct slice type = object_text(c->object, "spec.type");
    const struct value *external = object_get(c->object, "spec.externalIPs");
    bool balancer = slice_eq(type, slice_str("LoadBalancer"));
    bool first = true;
    if (slice_eq(type, slice_str("ExternalName"))) {
        cells_put_path(c, "spec.externalName", "");
        return;
    }
    if (!balancer && !slice_eq(type, slice_str("ClusterIP")) &&
        !slice_eq(type, slice_str("NodePort"))) {
        cells_put(c, "<unknown>");
        return;
    }
    if (balancer) {
        put_balancer(c, &first);
    }
    for (size_t i = 0; i < value_len(external); i++) {
        cells_put_next(c, value_slice(&external->items[i]), &first);
    }
    if (first) {
        cells_put(c, balancer ? "<pending>" : "<none>");
    }
}

static void print_service_ports(struct cells *c)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_SERVICE_PORT);
    const struct value *list = object_get(c->object, "spec.ports");
    for (size_t i = 0; i < value_len(list); i++) {
        const struct value *port = value_find(t, &list->items[i], "port");
        const struct value *node_port = value_find(t, &list->items[i], "nodePort");
        cells_put(c, i > 0 ? "," : "");
        cells_put_int(c, port == NULL ? 0 : port->integer);
        if (node_port != NULL && node_port->integer > 0) {
            buf_printf(c->out, ":%" PRId64, node_port->integer);
        }
        cells_put(c, "/");
        cells_put_slice(c, value_slice(value_find(t, &list->items[i], "protocol")));
    }
    cells_put(c, value_len(list) == 0 ? "<none>" : "");
}

static void print_selector(struct cells *c)
{
    cells_put_labels(c, object_get(c->object, "spec.selector"));
}

const struct cells_column cells_service[] = {
    {"Type", print_type, false},
    {"Cluster-IP", print_cluster_ip, false},
    {"External-IP", print_external_ip, false},
    {"Port(s)", print_service_ports, false},
    {"Selector", print_selector, false},
    {0},
};

/* ---- endpoints ----------------------------------------------------------------------------- */

/* The addresses of a subset, each with the port (NULL: none). */
static void put_addresses(struct cells *c, const struct value *addresses, const struct value *port,
                          size_t *count)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_ENDPOINT_ADDRESS);
    for (size_t i = 0; i < value_len(addresses); i++) {
        struct slice ip = value_slice(value_find(t, &addresses->items[i], "ip"));
        bool v6 = port != NULL && ip.len > 0 && memchr(ip.data, ':', ip.len) != NULL;
        if (!cells_next_of_few(c, count)) {
            continue;
        }
        cells_put(c, v6 ? "[" : "");
        cells_put_slice(c, ip);
        cells_put(c, v6 ? "]" : "");
        if (port != NULL) {
            const struct value *number =
                value_find(schema_type(SCHEMA_CORE_V1_ENDPOINT_PORT), port, "port");
            buf_printf(c->out, ":%" PRId64, number == NULL ? 0 : number->integer);
        }
    }
}

static void print_endpoints(struct cells *c)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_ENDPOINT_SUBSET);
    const struct value *subsets = object_get(c->object, "subsets");
    size_t count = 0;
    if (value_len(subsets) == 0) {
        cells_put(c, "<none>");
        return;
    }
    for (size_t i = 0; i < value_len(subsets); i++) {
        const struct value *ports = value_find(t, &subsets->items[i], "ports");
        const struct value *addresses = value_find(t, &subsets->items[i], "addresses");
        if (value_len(ports) == 0) {
            put_addresses(c, addresses, NULL, &count);
        }
        for (size_t k = 0; k < value_len(ports); k++) {
            put_addresses(c, addresses, &ports->items[k], &count);
        }
    }
    cells_end_of_few(c, count);
}

const struct cells_column cells_endpoints[] = {
    {"Endpoints", print_endpoints, false},
    {0},
};

/* ---- endpoint slices ----------------------------------------------------------------------- */

static void print_address_type(struct cells *c)
{
    cells_put_path(c, "addressType", "");
}

static void print_slice_ports(struct cells *c)
{
    const struct schema_type *t = schema_type(SCHEMA_DISCOVERY_V1_ENDPOINT_PORT);
    const struct value *list = object_get(c->object, "ports");
    size_t before = c->out->len;
    size_t count = 0;
    for (size_t i = 0; i < value_len(list); i++) {
        const struct value *port = value_find(t, &list->items[i], "port");
        const struct value *name = value_find(t, &list->items[i], "name");
        if (!cells_next_of_few(c, &count)) {
            continue;
        }
        if (port != NULL) {
            cells_put_int(c, port->integer);
        } else {
            cells_put_slice(c, name == NULL ? slice_str("*") : value_slice(name));
        }
    }
    cells_end_of_few(c, count);
    cells_put(c, c->out->len == before ? "<unset>" : "");
}

static void print_slice_endpoints(struct cells *c)
{
    const struct schema_type *t = schema_type(SCHEMA_DISCOVERY_V1_ENDPOINT);
    const struct value *list = object_get(c->object, "endpoints");
    size_t before = c->out->len;
    size_t count = 0;
    for (size_t i = 0; i < value_len(list); i++) {
        const struct value *addresses = value_find(t, &list->items[i], "addresses");
        for (size_t k = 0; k < value_len(addresses); k++) {
            if (cells_next_of_few(c, &count)) {
                cells_put_slice(c, value_slice(&addresses->items[k]));
            }
        }
    }
    cells_end_of_few(c, count);
    cells_put(c, c->out->len == before ? "<unset>" : "");
}

const struct cells_column cells_endpoint_slice[] = {
    {"AddressType", print_address_type, false},
    {"Ports", print_slice_ports, false},
    {"Endpoints", print_slice_endpoints, false},
    {0},
};
