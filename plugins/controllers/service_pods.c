/* service_pods.c - services and the pods behind them. */
#include "plugins/controllers/service_pods.h"

#include "plugins/controllers/conditions.h"
#include "plugins/controllers/message.h"

bool service_is_selecting(const struct object *service)
{
    return value_len(object_get(service, "spec.selector")) > 0 &&
           !slice_eq(object_text(service, "spec.type"), slice_str("ExternalName"));
}

static bool service_selects_labels(const struct value *selector, const struct value *labels)
{
    for (size_t i = 0; i < value_len(selector); i++) {
        const struct value *have = value_map_get(labels, value_map_key(selector, i));
        if (have == NULL || !slice_eq(value_slice(have), value_slice(value_map_at(selector, i)))) {
            return false;
        }
    }
    return value_len(selector) > 0;
}

bool service_selects(const struct object *service, const struct object *pod)
{
    return slice_eq(object_namespace(service), object_namespace(pod)) &&
           service_selects_labels(object_get(service, "spec.selector"),
                                  object_get(pod, "metadata.labels"));
}

bool service_is_headless(const struct object *service)
{
    struct slice ip = object_text(service, "spec.clusterIP");
    return ip.len == 0 || slice_eq(ip, slice_str("None"));
}

bool service_pod_counts(const struct object *pod, bool with_ending)
{
    struct slice phase = object_text(pod, "status.phase");
    if (slice_eq(phase, slice_str("Failed")) || slice_eq(phase, slice_str("Succeeded"))) {
        return false;
    }
    if (object_text(pod, "status.podIP").len == 0 &&
        value_len(object_get(pod, "status.podIPs")) == 0) {
        return false;
    }
    return with_ending || !object_is_deleted(pod);
}

bool service_pod_ready(const struct object *pod)
{
    return conditions_is(conditions_find(pod, "Ready"), "True");
}

/* ---- addresses ------------------------------------------------------------------------------ */

enum service_family service_ip_family(struct slice ip)
{
    return ip.len > 0 && memchr(ip.data, ':', ip.len) != NULL ? SERVICE_IPV6 : SERVICE_IPV4;
}

struct service_families service_families(const struct object *service)
{
    struct service_families f = {0};
    const struct value *list = object_get(service, "spec.ipFamilies");
    for (size_t i = value_len(list); i-- > 0;) {
        bool ipv6 = value_is_text(&list->items[i], "IPv6");
        f.ipv6 = f.ipv6 || ipv6;
        f.ipv4 = f.ipv4 || !ipv6;
        f.first = ipv6 ? SERVICE_IPV6 : SERVICE_IPV4;
    }
    if (value_len(list) == 0) {
        f.first = service_ip_family(object_text(service, "spec.clusterIP"));
        f.ipv4 = f.first == SERVICE_IPV4;
        f.ipv6 = !f.ipv4;
    }
    return f;
}

struct slice service_pod_ip(const struct object *pod, enum service_family family)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_POD_IP);
    const struct value *list = object_get(pod, "status.podIPs");
    for (size_t i = 0; i < value_len(list); i++) {
        struct slice ip = value_slice(value_find(t, &list->items[i], "ip"));
        if (ip.len > 0 && service_ip_family(ip) == family) {
            return ip;
        }
    }
    struct slice ip = object_text(pod, "status.podIP");
    return ip.len > 0 && service_ip_family(ip) == family ? ip : slice_of(NULL, 0);
}

/* ---- ports ---------------------------------------------------------------------------------- */

struct slice service_port_text(const struct value *port, const char *member)
{
    return value_slice(value_find(schema_type(SCHEMA_CORE_V1_SERVICE_PORT), port, member));
}

static int64_t service_container_port(const struct value *container, struct slice name,
                                      struct slice protocol)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_CONTAINER_PORT);
    const struct value *ports =
        value_find(schema_type(SCHEMA_CORE_V1_CONTAINER), container, "ports");
    for (size_t i = 0; i < value_len(ports); i++) {
        const struct value *p = &ports->items[i];
        struct slice own = value_slice(value_find(t, p, "protocol"));
        own = own.len == 0 ? slice_str("TCP") : own;
        const struct value *number = value_find(t, p, "containerPort");
        if (number != NULL && slice_eq(value_slice(value_find(t, p, "name")), name) &&
            slice_eq(own, protocol)) {
            return number->integer;
        }
    }
    return 0;
}

static int64_t service_named_port(const struct object *pod, struct slice name,
                                  struct slice protocol)
{
    const struct value *list = object_get(pod, "spec.containers");
    int64_t number = 0;
    for (size_t i = 0; i < value_len(list) && number == 0; i++) {
        number = service_container_port(&list->items[i], name, protocol);
    }
    list = object_get(pod, "spec.initContainers");
    for (size_t i = 0; i < value_len(list) && number == 0; i++) {
        if (value_is_text(
                value_find(schema_type(SCHEMA_CORE_V1_CONTAINER), &list->items[i], "restartPolicy"),
                "Always")) {
            number = service_container_port(&list->items[i], name, protocol);
        }
    }
    return number;
}

int64_t service_port_number(const struct value *port, const struct object *pod)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_SERVICE_PORT);
    const struct value *target = value_find(t, port, "targetPort");
    if (target != NULL && target->kind == VALUE_TEXT) {
        struct slice protocol = service_port_text(port, "protocol");
        protocol = protocol.len == 0 ? slice_str("TCP") : protocol;
        return service_named_port(pod, value_slice(target), protocol);
    }
    if (target == NULL || target->integer == 0) {
        target = value_find(t, port, "port");
    }
    return target == NULL ? 0 : target->integer;
}

struct slice service_hostname(const struct object *service, const struct object *pod)
{
    struct slice hostname = object_text(pod, "spec.hostname");
    bool own =
        hostname.len > 0 && slice_eq(object_text(pod, "spec.subdomain"), object_name(service));
    return own ? hostname : slice_of(NULL, 0);
}

int service_pod_reference(struct arena *a, const struct object *pod, struct value *out)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_OBJECT_REFERENCE);
    *out = value_empty(VALUE_MESSAGE);
    int rc = message_set_text(a, t, out, "kind", slice_str("Pod"));
    rc = rc == 0 ? message_set_text(a, t, out, "namespace", object_namespace(pod)) : rc;
    rc = rc == 0 ? message_set_text(a, t, out, "name", object_name(pod)) : rc;
    return rc == 0 ? message_set_text(a, t, out, "uid", object_uid(pod)) : rc;
}

/* ---- changes -------------------------------------------------------------------------------- */

static bool service_same_text(const struct object *a, const struct object *b, const char *path)
{
    return slice_eq(object_text(a, path), object_text(b, path));
}

bool service_pod_differs(const struct object *before, const struct object *now)
{
    static const char *const texts[] = {"status.podIP",  "status.phase",   "spec.nodeName",
                                        "spec.hostname", "spec.subdomain", "metadata.uid"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (!service_same_text(before, now, texts[i])) {
            return true;
        }
    }
    const struct schema_type *status = schema_type(SCHEMA_CORE_V1_POD_STATUS);
    const struct schema_type *meta = schema_type(SCHEMA_META_V1_OBJECT_META);
    return service_pod_ready(before) != service_pod_ready(now) ||
           object_is_deleted(before) != object_is_deleted(now) ||
           !value_equal_field(schema_find(status, slice_str("podIPs")),
                              object_get(before, "status.podIPs"),
                              object_get(now, "status.podIPs")) ||
           !value_equal_field(schema_find(meta, slice_str("labels")),
                              object_get(before, "metadata.labels"),
                              object_get(now, "metadata.labels"));
}

/* ---- trigger times -------------------------------------------------------------------------- */

void service_trigger_pod(const struct service_trigger *t, struct service_trigger_scan *scan,
                         const struct object *pod)
{
    int64_t at = conditions_time(conditions_find(pod, "Ready"), "lastTransitionTime");
    if (at == 0) {
        return;
    }
    if (at > scan->next.newest_s) {
        scan->next.newest_s = at;
        scan->next.count = 0;
    }
    scan->next.count += at == scan->next.newest_s;
    if (at > t->newest_s && (scan->oldest_s == 0 || at < scan->oldest_s)) {
        scan->oldest_s = at;
    }
}

int64_t service_trigger_time(struct service_trigger *t, const struct service_trigger_scan *scan,
                             const struct object *service)
{
    struct service_trigger was = *t;
    *t = scan->next;
    t->known = true;
    if (!was.known) {
        return object_int(service, "metadata.creationTimestamp", 0);
    }
    if (scan->oldest_s == 0 && scan->next.newest_s == was.newest_s &&
        scan->next.count > was.count) {
        return was.newest_s;
    }
    return scan->oldest_s;
}
