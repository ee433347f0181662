/* service_fields.c - the fields of a service that depend on what the server gives. */
#include <stdio.h>
#include <stdlib.h>

#include "plugins/apiserver/service.h"

#define SERVICE_PATH_BYTES 64u

const char *service_ranges_parse(const char *addresses, const char *ports, struct service_ranges *r)
{
    char *end;
    const char *why = address_range_parse(addresses, &r->addresses);
    long first = strtol(ports, &end, 10);
    if (why != NULL) {
        return why;
    }
    if (end == ports || *end != '-') {
        return "the ports are not a range as 30000-32767";
    }
    const char *second = end + 1;
    long last = strtol(second, &end, 10);
    if (end == second || *end != 0 || first < 1 || last > 65535 || last < first) {
        return "the ports are not a range as 30000-32767";
    }
    r->port_first = (uint32_t)first;
    r->port_count = (uint32_t)(last - first) + 1;
    return NULL;
}

static bool is_service(const struct object *o)
{
    return o->type == schema_type(SCHEMA_CORE_V1_SERVICE);
}

static bool type_is(const struct object *o, const char *type)
{
    return slice_eq(object_text(o, "spec.type"), slice_str(type));
}

static bool has_address(const struct object *o)
{
    return !type_is(o, "ExternalName");
}

static bool has_node_ports(const struct object *o)
{
    return type_is(o, "NodePort") || (type_is(o, "LoadBalancer") &&
                                      object_bool(o, "spec.allocateLoadBalancerNodePorts", true));
}

static bool has_health_port(const struct object *o)
{
    return type_is(o, "LoadBalancer") &&
           slice_eq(object_text(o, "spec.externalTrafficPolicy"), slice_str("Local"));
}

static bool same(const struct object *a, const struct object *b, const char *path)
{
    const struct value *x = object_get(a, path);
    const struct value *y = object_get(b, path);
    return value_is_zero(x) ? value_is_zero(y) : !value_is_zero(y) && value_equal(NULL, x, y);
}

static int copy(struct object *to, const struct object *from, const char *path)
{
    const struct value *v = object_get(from, path);
    struct value made;
    if (v == NULL) {
        return 0;
    }
    int rc = value_copy(to->arena, v, &made);
    return rc == 0 ? object_set(to, path, made) : rc;
}

static int keep_if_open(struct object *new, const struct object *old, const char *path)
{
    return value_is_zero(object_get(new, path)) ? copy(new, old, path) : 0;
}

static void drop_if_same(struct object *new, const struct object *old, const char *path)
{
    if (same(new, old, path)) {
        object_remove(new, path);
    }
}

static int carry_address(struct object *new, const struct object *old)
{
    int rc = 0;
    if (has_address(old) && has_address(new)) {
        rc = keep_if_open(new, old, "spec.clusterIP");
        rc = rc == 0 ? keep_if_open(new, old, "spec.ipFamilies") : rc;
        rc = rc == 0 ? keep_if_open(new, old, "spec.ipFamilyPolicy") : rc;
        if (rc == 0 && same(new, old, "spec.clusterIP")) {
            rc = keep_if_open(new, old, "spec.clusterIPs");
        } else if (same(new, old, "spec.clusterIPs")) {
            /* Only the older field was changed. */
            object_remove(new, "spec.clusterIPs");
        }
    } else if (has_address(old) && same(new, old, "spec.clusterIP") &&
               same(new, old, "spec.clusterIPs")) {
        object_remove(new, "spec.clusterIP");
        object_remove(new, "spec.clusterIPs");
    }
    if (has_address(old) && !has_address(new)) {
        drop_if_same(new, old, "spec.ipFamilies");
        drop_if_same(new, old, "spec.ipFamilyPolicy");
        drop_if_same(new, old, "spec.internalTrafficPolicy");
    }
    return rc;
}

static int64_t port_field(const struct object *o, size_t i, const char *field)
{
    char path[SERVICE_PATH_BYTES];
    snprintf(path, sizeof path, "spec.ports[%zu].%s", i, field);
    return object_int(o, path, 0);
}

static struct slice port_text(const struct object *o, size_t i, const char *field)
{
    char path[SERVICE_PATH_BYTES];
    snprintf(path, sizeof path, "spec.ports[%zu].%s", i, field);
    return object_text(o, path);
}

static int set_node_port(struct object *o, size_t i, int64_t port)
{
    char path[SERVICE_PATH_BYTES];
    snprintf(path, sizeof path, "spec.ports[%zu].nodePort", i);
    return object_set_int(o, path, port);
}

static size_t port_count(const struct object *o)
{
    return value_len(object_get(o, "spec.ports"));
}

static bool uses_node_port(const struct object *o, int64_t port)
{
    for (size_t i = 0; i < port_count(o); i++) {
        if (port_field(o, i, "nodePort") == port) {
            return true;
        }
    }
    return false;
}

/* The port of the old service that port i of the new one is: by name, else by number and protocol.
 * 0 = none. */
static int64_t port_before(const struct object *new, size_t i, const struct object *old)
{
    struct slice name = port_text(new, i, "name");
    for (size_t k = 0; k < port_count(old); k++) {
        if (slice_eq(port_text(old, k, "name"), name) &&
            (name.len > 0 || port_field(old, k, "port") == port_field(new, i, "port")) &&
            slice_eq(port_text(old, k, "protocol"), port_text(new, i, "protocol"))) {
            return port_field(old, k, "nodePort");
        }
    }
    for (size_t k = 0; k < port_count(old); k++) {
        if (port_field(old, k, "port") == port_field(new, i, "port") &&
            slice_eq(port_text(old, k, "protocol"), port_text(new, i, "protocol"))) {
            return port_field(old, k, "nodePort");
        }
    }
    return 0;
}

static bool same_node_ports(const struct object *new, const struct object *old)
{
    bool all = true;
    for (size_t i = 0; i < port_count(new) && all; i++) {
        int64_t port = port_field(new, i, "nodePort");
        all = port == 0 || uses_node_port(old, port);
    }
    return all;
}

static int carry_ports(struct object *new, const struct object *old)
{
    int rc = 0;
    if (has_node_ports(old) && has_node_ports(new)) {
        for (size_t i = 0; i < port_count(new) && rc == 0; i++) {
            int64_t before = port_before(new, i, old);
            if (port_field(new, i, "nodePort") == 0 && before != 0 &&
                !uses_node_port(new, before)) {
                rc = set_node_port(new, i, before);
            }
        }
    } else if (has_node_ports(old) && same_node_ports(new, old)) {
        for (size_t i = 0; i < port_count(new) && rc == 0; i++) {
            rc = set_node_port(new, i, 0);
        }
    }
    if (has_health_port(old) && has_health_port(new)) {
        return rc == 0 ? keep_if_open(new, old, "spec.healthCheckNodePort") : rc;
    }
    if (has_health_port(old)) {
        drop_if_same(new, old, "spec.healthCheckNodePort");
    }
    return rc;
}

int service_carry(struct object *new, const struct object *old)
{
    if (!is_service(new)) {
        return 0;
    }
    int rc = carry_address(new, old);
    rc = rc == 0 ? carry_ports(new, old) : rc;
    if (type_is(old, "LoadBalancer") && !type_is(new, "LoadBalancer")) {
        drop_if_same(new, old, "spec.allocateLoadBalancerNodePorts");
        drop_if_same(new, old, "spec.loadBalancerClass");
    }
    bool outside =
        type_is(new, "LoadBalancer") || type_is(new, "NodePort") ||
        (type_is(new, "ClusterIP") && value_len(object_get(new, "spec.externalIPs")) > 0);
    if (!outside) {
        drop_if_same(new, old, "spec.externalTrafficPolicy");
    }
    return rc;
}

/* ---- families ------------------------------------------------------------------------------ */

static int append_text(struct object *o, const char *path, const char *text)
{
    struct value *unused;
    return object_append(o, path, value_text(slice_str(text)), &unused);
}

/* The one family there is, of services without a choice; also the other one where the service only
 * names what others bring. */
static int complete_families(const struct service_ranges *r, struct object *o, struct causes *c)
{
    const struct place *spec = PLACE_FIELD(NULL, "spec");
    const char *ours = r->addresses.v6 ? "IPv6" : "IPv4";
    const char *other = r->addresses.v6 ? "IPv4" : "IPv6";
    bool free_form = slice_eq(object_text(o, "spec.clusterIP"), slice_str("None")) &&
                     value_len(object_get(o, "spec.selector")) == 0;
    struct slice policy = object_text(o, "spec.ipFamilyPolicy");
    const struct value *families = object_get(o, "spec.ipFamilies");
    if (policy.len == 0) {
        policy = slice_str(free_form ? "RequireDualStack" : "SingleStack");
        int rc = object_set_text(o, "spec.ipFamilyPolicy", policy);
        if (rc != 0) {
            return rc;
        }
    }
    for (size_t i = 0; i < value_len(families) && !free_form; i++) {
        if (!value_is_text(&families->items[i], ours)) {
            cause_invalid_text(c, PLACE_INDEX(PLACE_FIELD(spec, "ipFamilies"), i),
                               value_slice(&families->items[i]), "not configured on this cluster");
        }
    }
    if (!free_form && slice_eq(policy, slice_str("RequireDualStack"))) {
        cause_invalid_text(c, PLACE_FIELD(spec, "ipFamilyPolicy"), policy,
                           "this cluster is not configured for dual-stack services");
    }
    int rc = value_len(families) == 0 ? append_text(o, "spec.ipFamilies", ours) : 0;
    families = object_get(o, "spec.ipFamilies");
    if (rc == 0 && free_form && value_len(families) == 1 &&
        !slice_eq(policy, slice_str("SingleStack"))) {
        rc = append_text(o, "spec.ipFamilies",
                         value_is_text(&families->items[0], ours) ? other : ours);
    }
    return rc;
}

/* Both forms of the address say the same. */
static int complete_addresses(struct object *o, struct causes *c)
{
    const struct place *list = PLACE_FIELD(PLACE_FIELD(NULL, "spec"), "clusterIPs");
    struct slice one = object_text(o, "spec.clusterIP");
    const struct value *all = object_get(o, "spec.clusterIPs");
    const struct schema_field *f =
        schema_find(schema_type(SCHEMA_CORE_V1_SERVICE_SPEC), slice_str("clusterIPs"));
    bool v6;
    if (value_len(all) == 0) {
        struct value *unused;
        if (one.len == 0) {
            return 0;
        }
        int rc = object_append(o, "spec.clusterIPs", value_text(one), &unused);
        if (rc != 0) {
            return rc;
        }
        all = object_get(o, "spec.clusterIPs");
    } else if (one.len == 0) {
        cause_invalid(c, list, f, all, "must be empty when `clusterIP` is not specified");
    } else if (!slice_eq(value_slice(&all->items[0]), one)) {
        cause_invalid(c, list, f, all, "first value must match `clusterIP`");
    }
    if (value_len(all) > 1) {
        cause_invalid(c, list, f, all, "may only hold one value on a single-stack cluster");
    }
    for (size_t i = 0; i < value_len(all); i++) {
        struct slice text = value_slice(&all->items[i]);
        if (slice_eq(text, slice_str("None")) ? i > 0 : !address_is(text, &v6)) {
            cause_invalid_text(c, PLACE_INDEX(list, i), text,
                               "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
        }
    }
    return 0;
}

int service_complete(const struct service_ranges *r, struct object *o, struct causes *c)
{
    if (!is_service(o) || !has_address(o)) {
        return 0;
    }
    int rc = complete_addresses(o, c);
    return rc == 0 ? complete_families(r, o, c) : rc;
}
