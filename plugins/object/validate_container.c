/* validate_container.c - one container: ports, environment, resources, probes. */
#include <string.h>

#include "plugins/object/quantity.h"
#include "plugins/object/validate_kinds.h"

void validate_port_number(struct causes *c, const struct place *p, int64_t port)
{
    if (port < 1 || port > 65535) {
        cause_invalid_int(c, p, port, "must be between 1 and 65535, inclusive");
    }
}

void validate_port_or_name(struct causes *c, const struct place *p, const struct value *v)
{
    if (v != NULL && v->kind == VALUE_TEXT) {
        validate_name(c, NAME_PORT, p, value_slice(v));
    } else {
        validate_port_number(c, p, v == NULL ? 0 : v->integer);
    }
}

/* The text of a member of a list of messages. */
static struct slice item_text(const struct schema_type *t, const struct value *list, size_t i,
                              const char *name)
{
    return value_slice(value_find(t, &list->items[i], name));
}

/* Complains of items whose field, when set, equals an earlier one's. */
static void validate_ports_unique(const struct validate_at *at)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_CONTAINER_PORT);
    const struct value *ports = validate_get(at, "ports");
    const struct place *p = PLACE_FIELD(at->place, "ports");
    for (size_t i = 1; i < value_len(ports); i++) {
        struct slice name = item_text(t, ports, i, "name");
        for (size_t k = 0; k < i && name.len > 0; k++) {
            if (slice_eq(item_text(t, ports, k, "name"), name)) {
                cause_duplicate(at->causes, PLACE_FIELD(PLACE_INDEX(p, i), "name"), name);
                break;
            }
        }
    }
}

void validate_container_port(const struct validate_at *at)
{
    struct slice name = validate_text(at, "name");
    int64_t port = validate_int(at, "containerPort", 0);
    int64_t host = validate_int(at, "hostPort", 0);
    if (name.len > 0) {
        validate_name(at->causes, NAME_PORT, PLACE_FIELD(at->place, "name"), name);
    }
    if (port == 0) {
        cause_required(at->causes, PLACE_FIELD(at->place, "containerPort"), "");
    } else {
        validate_port_number(at->causes, PLACE_FIELD(at->place, "containerPort"), port);
    }
    if (host != 0) {
        validate_port_number(at->causes, PLACE_FIELD(at->place, "hostPort"), host);
    }
}

void validate_env(const struct validate_at *at)
{
    struct slice name = validate_text(at, "name");
    if (name.len > 0) {
        validate_name(at->causes, NAME_ENV, PLACE_FIELD(at->place, "name"), name);
    }
    const struct value *from = validate_get(at, "valueFrom");
    if (from == NULL) {
        return;
    }
    const struct place *p = PLACE_FIELD(at->place, "valueFrom");
    if (from->len == 0) {
        cause_invalid_text(at->causes, p, slice_str(""),
                           "must specify one of: `fieldRef`, `resourceFieldRef`, "
                           "`configMapKeyRef` or `secretKeyRef`");
    } else if (validate_text(at, "value").len > 0) {
        cause_invalid_text(at->causes, p, slice_str(""),
                           "may not be specified when `value` is not empty");
    } else if (from->len > 1) {
        cause_invalid_text(at->causes, p, slice_str(""),
                           "may not have more than one field specified at a time");
    }
}

/* Resources that are no plain number may not be overcommitted. */
static bool resource_is_extended(struct slice name)
{
    bool domain = name.len > 0 && memchr(name.data, '/', name.len) != NULL;
    return domain && !slice_starts_with(name, slice_str("kubernetes.io/")) &&
           !slice_starts_with(name, slice_str("requests."));
}

static bool resource_is_huge(struct slice name)
{
    return slice_starts_with(name, slice_str("hugepages-"));
}

static bool resource_is_standard(struct slice name)
{
    return slice_eq(name, slice_str("cpu")) || slice_eq(name, slice_str("memory")) ||
           slice_eq(name, slice_str("ephemeral-storage")) || resource_is_huge(name);
}

static void validate_amounts(const struct validate_at *at, const char *field)
{
    const struct value *map = validate_get(at, field);
    const struct place *p = PLACE_FIELD(at->place, field);
    for (size_t i = 0; i < value_len(map); i++) {
        struct slice name = value_map_key(map, i);
        struct slice text = value_slice(value_map_at(map, i));
        const struct place *here = PLACE_KEY(p, name);
        struct quantity q;
        const char *why;
        validate_name(at->causes, NAME_QUALIFIED, here, name);
        if (name.len > 0 && memchr(name.data, '/', name.len) == NULL &&
            !resource_is_standard(name)) {
            if (name_is(NAME_QUALIFIED, name)) {
                cause_invalid_text(at->causes, here, name,
                                   "must be a standard resource type or fully qualified");
            }
            cause_invalid_text(at->causes, here, name,
                               "must be a standard resource for containers");
        }
        if (quantity_parse(text, &q, &why) != 0) {
            continue; /* decoding has checked it */
        }
        if (q.nano < 0) {
            cause_invalid_text(at->causes, here, text, "must be greater than or equal to 0");
        }
        if (resource_is_extended(name) && quantity_millis(&q) % 1000 != 0) {
            cause_invalid_text(at->causes, here, text, "must be an integer");
        }
    }
}

/* Limits and requests of containers, and of pods. */
void validate_resources(const struct validate_at *at)
{
    const struct value *limits = validate_get(at, "limits");
    const struct value *requests = validate_get(at, "requests");
    const struct place *p = PLACE_FIELD(at->place, "requests");
    bool huge = false;
    for (size_t i = 0; i < value_len(limits); i++) {
        huge = huge || resource_is_huge(value_map_key(limits, i));
    }
    if (huge && value_map_cget(limits, "cpu") == NULL && value_map_cget(limits, "memory") == NULL &&
        value_map_cget(requests, "cpu") == NULL && value_map_cget(requests, "memory") == NULL) {
        cause_forbidden(at->causes, at->place, "HugePages require cpu or memory");
    }
    validate_amounts(at, "limits");
    validate_amounts(at, "requests");
    for (size_t i = 0; i < value_len(requests); i++) {
        struct slice name = value_map_key(requests, i);
        struct slice text = value_slice(value_map_at(requests, i));
        const struct value *limit = value_map_get(limits, name);
        struct slice most = value_slice(limit);
        struct quantity asked;
        struct quantity allowed;
        const char *why;
        bool whole = resource_is_extended(name) || resource_is_huge(name);
        if (limit == NULL) {
            if (whole) {
                cause_required(at->causes, PLACE_FIELD(at->place, "limits"),
                               "Limit must be set for non overcommitable resources");
            }
            continue;
        }
        if (quantity_parse(text, &asked, &why) != 0 || quantity_parse(most, &allowed, &why) != 0) {
            continue;
        }
        int order = quantity_cmp(&asked, &allowed);
        /* As Kubernetes has it: the place is the map's, not the key's. */
        if (whole && order != 0) {
            cause_invalid_text(at->causes, p, text, "must be equal to %.*s limit of %.*s",
                               (int)name.len, (const char *)name.data, (int)most.len,
                               (const char *)most.data);
        } else if (!whole && order > 0) {
            cause_invalid_text(at->causes, p, text,
                               "must be less than or equal to %.*s limit of %.*s", (int)name.len,
                               (const char *)name.data, (int)most.len, (const char *)most.data);
        }
    }
}

/* Exactly one way to act; probes and lifecycle hooks alike. */
void validate_handler(const struct validate_at *at)
{
    static const char *const names[] = {"exec", "httpGet", "tcpSocket", "grpc", "sleep"};
    size_t found = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (validate_get(at, names[i]) == NULL) {
            continue;
        }
        if (found++ > 0) {
            cause_forbidden(at->causes, PLACE_FIELD(at->place, names[i]),
                            "may not specify more than 1 handler type");
        }
    }
    if (found == 0) {
        cause_required(at->causes, at->place, "must specify a handler type");
    }
    const struct value *grace = validate_get(at, "terminationGracePeriodSeconds");
    if (grace != NULL && grace->integer <= 0) {
        cause_invalid_int(at->causes, PLACE_FIELD(at->place, "terminationGracePeriodSeconds"),
                          grace->integer, "must be greater than 0");
    }
}

void validate_http_get(const struct validate_at *at)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_HTTP_HEADER);
    const struct value *headers = validate_get(at, "httpHeaders");
    validate_port_or_name(at->causes, PLACE_FIELD(at->place, "port"), validate_get(at, "port"));
    for (size_t i = 0; i < value_len(headers); i++) {
        validate_name(at->causes, NAME_HTTP_HEADER, PLACE_FIELD(at->place, "httpHeaders"),
                      item_text(t, headers, i, "name"));
    }
}

void validate_tcp_socket(const struct validate_at *at)
{
    validate_port_or_name(at->causes, PLACE_FIELD(at->place, "port"), validate_get(at, "port"));
}

void validate_grpc(const struct validate_at *at)
{
    validate_port_number(at->causes, PLACE_FIELD(at->place, "port"), validate_int(at, "port", 0));
}

void validate_exec(const struct validate_at *at)
{
    if (value_len(validate_get(at, "command")) == 0) {
        cause_required(at->causes, PLACE_FIELD(at->place, "command"), "");
    }
}

/* A container of any sort, on its own; its pod checks what it says about volumes and others. */
void validate_container(const struct validate_at *at)
{
    struct slice image = validate_text(at, "image");
    validate_ports_unique(at);
    if (image.len > 0 && (image.data[0] == ' ' || image.data[image.len - 1] == ' ')) {
        cause_invalid_text(at->causes, PLACE_FIELD(at->place, "image"), image,
                           "must not have leading or trailing whitespace");
    }
    const struct value *policy = validate_get(at, "imagePullPolicy");
    if (value_is_zero(policy)) {
        cause_required(at->causes, PLACE_FIELD(at->place, "imagePullPolicy"), "");
    }
    if (validate_get(at, "readinessProbe.terminationGracePeriodSeconds") != NULL) {
        cause_invalid_int(
            at->causes,
            PLACE_FIELD(PLACE_FIELD(at->place, "readinessProbe"), "terminationGracePeriodSeconds"),
            validate_int(at, "readinessProbe.terminationGracePeriodSeconds", 0),
            "must not be set for readinessProbes");
    }
    const struct value *live = validate_get(at, "livenessProbe.successThreshold");
    if (live != NULL && live->integer != 1) {
        cause_invalid_int(at->causes,
                          PLACE_FIELD(PLACE_FIELD(at->place, "livenessProbe"), "successThreshold"),
                          live->integer, "must be 1");
    }
    live = validate_get(at, "startupProbe.successThreshold");
    if (live != NULL && live->integer != 1) {
        cause_invalid_int(at->causes,
                          PLACE_FIELD(PLACE_FIELD(at->place, "startupProbe"), "successThreshold"),
                          live->integer, "must be 1");
    }
}
