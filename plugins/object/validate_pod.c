/* validate_pod.c - pods: what containers, volumes and placement say of each other, and what an
 * update may change. */
#include <stdio.h>
#include <string.h>

#include "plugins/object/validate_kinds.h"

static struct slice item_text(const struct schema_type *t, const struct value *list, size_t i,
                              const char *name)
{
    return value_slice(value_find(t, &list->items[i], name));
}

static bool list_has(const struct schema_type *t, const struct value *list, size_t before,
                     struct slice name)
{
    for (size_t i = 0; i < before && i < value_len(list); i++) {
        if (slice_eq(item_text(t, list, i, "name"), name)) {
            return true;
        }
    }
    return false;
}

/* A volume has one source: the fields besides its name. */
void validate_volume(const struct validate_at *at)
{
    const struct schema_field *fields = schema_fields(at->type);
    /* An empty directory is looked for first: it is never the one too many. */
    bool first = validate_get(at, "emptyDir") == NULL;
    for (size_t i = 0; i < value_len(at->message); i++) {
        const struct schema_field *f = fields + at->message->items[i].field;
        if (f->outer == 0 || strcmp(schema_field_name(f), "emptyDir") == 0) {
            continue;
        }
        if (!first) {
            cause_forbidden(at->causes, PLACE_FIELD(at->place, schema_field_name(f)),
                            "may not specify more than 1 volume type");
        }
        first = false;
    }
    if (first) {
        cause_required(at->causes, at->place, "must specify a volume type");
    }
    if (validate_get(at, "configMap") != NULL && validate_text(at, "configMap.name").len == 0) {
        cause_required(at->causes, PLACE_FIELD(PLACE_FIELD(at->place, "configMap"), "name"), "");
    }
}

static void validate_mounts(const struct validate_at *at, const struct place *container,
                            const struct schema_type *ct, const struct value *c,
                            const struct value *volumes)
{
    const struct schema_type *mt = schema_type(SCHEMA_CORE_V1_VOLUME_MOUNT);
    const struct schema_type *vt = schema_type(SCHEMA_CORE_V1_VOLUME);
    const struct value *mounts = value_find(ct, c, "volumeMounts");
    const struct place *p = PLACE_FIELD(container, "volumeMounts");
    for (size_t i = 0; i < value_len(mounts); i++) {
        struct slice name = item_text(mt, mounts, i, "name");
        struct slice path = item_text(mt, mounts, i, "mountPath");
        const struct place *here = PLACE_INDEX(p, i);
        if (!list_has(vt, volumes, value_len(volumes), name)) {
            cause_not_found(at->causes, PLACE_FIELD(here, "name"), name);
        }
        for (size_t k = 0; k < i; k++) {
            if (slice_eq(item_text(mt, mounts, k, "mountPath"), path)) {
                cause_invalid_text(at->causes, PLACE_FIELD(here, "mountPath"), path,
                                   "must be unique");
                break;
            }
        }
        if (item_text(mt, mounts, i, "subPath").len > 0 &&
            item_text(mt, mounts, i, "subPathExpr").len > 0) {
            cause_invalid_text(at->causes, PLACE_FIELD(here, "subPathExpr"),
                               item_text(mt, mounts, i, "subPathExpr"),
                               "subPathExpr and subPath are mutually exclusive");
        }
    }
}

/* A port of the node as text: what must be unique. */
static size_t host_port_text(const struct value *port, char out[128])
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_CONTAINER_PORT);
    struct slice protocol = value_slice(value_find(t, port, "protocol"));
    struct slice ip = value_slice(value_find(t, port, "hostIP"));
    const struct value *number = value_find(t, port, "hostPort");
    if (value_is_zero(number)) {
        return 0;
    }
    int n = snprintf(out, 128, "%.*s/%.*s/%lld", (int)protocol.len, (const char *)protocol.data,
                     (int)ip.len, (const char *)ip.data, (long long)number->integer);
    return n < 0 ? 0 : n < 128 ? (size_t)n : 127;
}

/* True when a port of an earlier container, or an earlier one of this, takes the same of the node.
 */
static bool host_port_taken(const struct value *containers, size_t ci, size_t pi, const char *text,
                            size_t len)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_CONTAINER);
    for (size_t i = 0; i <= ci; i++) {
        const struct value *ports = value_find(t, &containers->items[i], "ports");
        size_t end = i == ci ? pi : value_len(ports);
        for (size_t k = 0; k < end; k++) {
            char other[128];
            size_t n = host_port_text(&ports->items[k], other);
            if (n == len && memcmp(other, text, len) == 0) {
                return true;
            }
        }
    }
    return false;
}

static void validate_host_ports(struct causes *c, const struct place *p,
                                const struct value *containers)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_CONTAINER);
    for (size_t i = 0; i < value_len(containers); i++) {
        const struct value *ports = value_find(t, &containers->items[i], "ports");
        const struct place *here = PLACE_FIELD(PLACE_INDEX(p, i), "ports");
        for (size_t k = 0; k < value_len(ports); k++) {
            char text[128];
            size_t n = host_port_text(&ports->items[k], text);
            if (n > 0 && host_port_taken(containers, i, k, text, n)) {
                cause_duplicate(c, PLACE_FIELD(PLACE_INDEX(here, k), "hostPort"),
                                slice_of(text, n));
            }
        }
    }
}

/* The containers of one list; names are unique over all lists before it, too. */
static void validate_container_list(const struct validate_at *at, const char *const lists[],
                                    size_t which, const struct value *volumes)
{
    const struct schema_type *t =
        schema_type(which == 2 ? SCHEMA_CORE_V1_EPHEMERAL_CONTAINER : SCHEMA_CORE_V1_CONTAINER);
    const struct value *list = validate_get(at, lists[which]);
    const struct place *p = PLACE_FIELD(at->place, lists[which]);
    for (size_t i = 0; i < value_len(list); i++) {
        struct slice name = item_text(t, list, i, "name");
        const struct place *here = PLACE_INDEX(p, i);
        bool twice = list_has(t, list, i, name);
        for (size_t l = 0; l < which && !twice; l++) {
            const struct value *other = validate_get(at, lists[l]);
            twice = list_has(schema_type(SCHEMA_CORE_V1_CONTAINER), other, value_len(other), name);
        }
        if (twice && name.len > 0) {
            cause_duplicate(at->causes, PLACE_FIELD(here, "name"), name);
        }
        validate_mounts(at, here, t, &list->items[i], volumes);
        bool restarts = value_is_text(value_find(t, &list->items[i], "restartPolicy"), "Always");
        if (which == 1 && !restarts) {
            static const char *const probes[] = {"livenessProbe", "readinessProbe", "startupProbe"};
            for (size_t k = 0; k < 3; k++) {
                if (value_find(t, &list->items[i], probes[k]) != NULL) {
                    cause_forbidden(at->causes, PLACE_FIELD(here, probes[k]),
                                    "may not be set for init containers without "
                                    "restartPolicy=Always");
                }
            }
        }
    }
    if (which < 2) {
        validate_host_ports(at->causes, p, list);
    }
}

/* On the node's network a port is the node's. */
static void validate_host_network(const struct validate_at *at)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_CONTAINER);
    const struct schema_type *pt = schema_type(SCHEMA_CORE_V1_CONTAINER_PORT);
    const struct value *list = validate_get(at, "containers");
    const struct place *p = PLACE_FIELD(at->place, "containers");
    if (value_is_zero(validate_get(at, "hostNetwork"))) {
        return;
    }
    for (size_t i = 0; i < value_len(list); i++) {
        const struct value *ports = value_find(t, &list->items[i], "ports");
        for (size_t k = 0; k < value_len(ports); k++) {
            const struct value *host = value_find(pt, &ports->items[k], "hostPort");
            const struct value *port = value_find(pt, &ports->items[k], "containerPort");
            if (host != NULL && port != NULL && host->integer != port->integer) {
                cause_invalid_int(
                    at->causes,
                    PLACE_FIELD(PLACE_INDEX(PLACE_FIELD(PLACE_INDEX(p, i), "ports"), k),
                                "hostPort"),
                    host->integer, "must match `containerPort` when `hostNetwork` is true");
            }
        }
    }
}

static void validate_optional_name(const struct validate_at *at, const char *field,
                                   enum name_rule rule)
{
    struct slice text = validate_text(at, field);
    if (text.len > 0) {
        validate_name(at->causes, rule, PLACE_FIELD(at->place, field), text);
    }
}

static void validate_names_unique(const struct validate_at *at, const char *field,
                                  enum schema_type_id type)
{
    const struct schema_type *t = schema_type(type);
    const struct value *list = validate_get(at, field);
    for (size_t i = 0; i < value_len(list); i++) {
        struct slice name = item_text(t, list, i, "name");
        if (name.len > 0 && list_has(t, list, i, name)) {
            cause_duplicate(at->causes,
                            PLACE_FIELD(PLACE_INDEX(PLACE_FIELD(at->place, field), i), "name"),
                            name);
        }
    }
}

/* Scheduling gates are qualified names, each once; the place is the item's. */
static void validate_gates(const struct validate_at *at)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_POD_SCHEDULING_GATE);
    const struct value *list = validate_get(at, "schedulingGates");
    const struct place *p = PLACE_FIELD(at->place, "schedulingGates");
    for (size_t i = 0; i < value_len(list); i++) {
        struct slice name = item_text(t, list, i, "name");
        validate_name(at->causes, NAME_QUALIFIED, PLACE_INDEX(p, i), name);
        if (list_has(t, list, i, name)) {
            cause_duplicate(at->causes, PLACE_INDEX(p, i), name);
        }
    }
    const struct schema_type *gt = schema_type(SCHEMA_CORE_V1_POD_READINESS_GATE);
    list = validate_get(at, "readinessGates");
    p = PLACE_FIELD(at->place, "readinessGates");
    for (size_t i = 0; i < value_len(list); i++) {
        validate_name(at->causes, NAME_QUALIFIED, PLACE_FIELD(PLACE_INDEX(p, i), "conditionType"),
                      item_text(gt, list, i, "conditionType"));
    }
}

/* The spec of a pod or of a template. */
void validate_pod_spec(const struct validate_at *at)
{
    static const char *const lists[] = {"containers", "initContainers", "ephemeralContainers"};
    const struct value *volumes = validate_get(at, "volumes");
    validate_names_unique(at, "volumes", SCHEMA_CORE_V1_VOLUME);
    for (size_t i = 0; i < 3; i++) {
        validate_container_list(at, lists, i, volumes);
    }
    validate_host_network(at);
    validate_labels(at->causes, PLACE_FIELD(at->place, "nodeSelector"),
                    validate_get(at, "nodeSelector"));
    validate_optional_name(at, "serviceAccountName", NAME_SUBDOMAIN);
    validate_optional_name(at, "nodeName", NAME_SUBDOMAIN);
    validate_optional_name(at, "hostname", NAME_LABEL);
    validate_optional_name(at, "subdomain", NAME_LABEL);
    validate_optional_name(at, "priorityClassName", NAME_SUBDOMAIN);
    validate_optional_name(at, "runtimeClassName", NAME_SUBDOMAIN);
    const struct value *deadline = validate_get(at, "activeDeadlineSeconds");
    if (deadline != NULL && (deadline->integer < 1 || deadline->integer > INT32_MAX)) {
        cause_invalid_int(at->causes, PLACE_FIELD(at->place, "activeDeadlineSeconds"),
                          deadline->integer, "must be between 1 and 2147483647, inclusive");
    }
    validate_gates(at);
    const struct value *os = validate_get(at, "os.name");
    if (os != NULL && !value_is_text(os, "linux") && !value_is_text(os, "windows")) {
        cause_not_supported(at->causes, PLACE_FIELD(at->place, "os"), value_slice(os),
                            "linux,windows");
    }
}

void validate_toleration(const struct validate_at *at)
{
    struct causes *c = at->causes;
    struct slice key = validate_text(at, "key");
    struct slice op = validate_text(at, "operator");
    struct slice value = validate_text(at, "value");
    struct slice effect = validate_text(at, "effect");
    const struct place *p = PLACE_FIELD(at->place, "operator");
    bool exists = slice_eq(op, slice_str("Exists"));
    if (key.len > 0) {
        validate_name(c, NAME_QUALIFIED, PLACE_FIELD(at->place, "key"), key);
    } else if (!exists) {
        cause_invalid_text(c, p, op,
                           "operator must be Exists when `key` is empty, which means \"match all "
                           "values and all keys\"");
    }
    if (validate_get(at, "tolerationSeconds") != NULL &&
        !slice_eq(effect, slice_str("NoExecute"))) {
        cause_invalid_text(c, PLACE_FIELD(at->place, "effect"), effect,
                           "effect must be 'NoExecute' when `tolerationSeconds` is set");
    }
    if (exists && value.len > 0) {
        cause_invalid_text(c, p, value, "value must be empty when `operator` is 'Exists'");
    } else if (op.len == 0 || slice_eq(op, slice_str("Equal"))) {
        validate_name(c, NAME_LABEL_VALUE, p, value);
    }
}

void validate_node_requirement(const struct validate_at *at)
{
    struct causes *c = at->causes;
    struct slice op = validate_text(at, "operator");
    size_t n = value_len(validate_get(at, "values"));
    const struct place *p = PLACE_FIELD(at->place, "values");
    if (slice_eq(op, slice_str("In")) || slice_eq(op, slice_str("NotIn"))) {
        if (n == 0) {
            cause_required(c, p, "must be specified when `operator` is 'In' or 'NotIn'");
        }
    } else if (slice_eq(op, slice_str("Exists")) || slice_eq(op, slice_str("DoesNotExist"))) {
        if (n > 0) {
            cause_forbidden(c, p,
                            "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        }
    } else if (slice_eq(op, slice_str("Gt")) || slice_eq(op, slice_str("Lt"))) {
        if (n != 1) {
            cause_required(c, p, "must be specified single value when `operator` is 'Lt' or 'Gt'");
        }
    } else {
        cause_invalid_text(c, PLACE_FIELD(at->place, "operator"), op,
                           "not a valid selector operator");
    }
    validate_name(c, NAME_QUALIFIED, PLACE_FIELD(at->place, "key"), validate_text(at, "key"));
}

void validate_spread(const struct validate_at *at)
{
    int64_t skew = validate_int(at, "maxSkew", 0);
    struct slice when = validate_text(at, "whenUnsatisfiable");
    if (validate_text(at, "topologyKey").len == 0) {
        cause_required(at->causes, PLACE_FIELD(at->place, "topologyKey"), "can not be empty");
    }
    if (!slice_eq(when, slice_str("DoNotSchedule")) &&
        !slice_eq(when, slice_str("ScheduleAnyway"))) {
        cause_not_supported(at->causes, PLACE_FIELD(at->place, "whenUnsatisfiable"), when,
                            "DoNotSchedule,ScheduleAnyway");
    }
    const struct value *domains = validate_get(at, "minDomains");
    if (skew <= 0) {
        cause_invalid_int(at->causes, PLACE_FIELD(at->place, "maxSkew"), skew,
                          "must be greater than zero");
    }
    if (domains != NULL && domains->integer <= 0) {
        cause_invalid_int(at->causes, PLACE_FIELD(at->place, "minDomains"), domains->integer,
                          "must be greater than zero");
    }
}

void validate_affinity_term(const struct validate_at *at)
{
    struct slice key = validate_text(at, "topologyKey");
    const struct place *p = PLACE_FIELD(at->place, "topologyKey");
    if (key.len == 0) {
        cause_required(at->causes, p, "can not be empty");
    }
    validate_name(at->causes, NAME_QUALIFIED, p, key);
}

void validate_node_selector(const struct validate_at *at)
{
    if (value_len(validate_get(at, "nodeSelectorTerms")) == 0) {
        cause_required(at->causes, PLACE_FIELD(at->place, "nodeSelectorTerms"),
                       "must have at least one node selector term");
    }
}

void validate_host_alias(const struct validate_at *at)
{
    uint8_t address[16];
    bool v6;
    struct slice ip = validate_text(at, "ip");
    if (!validate_address(ip, address, &v6)) {
        cause_invalid_text(at->causes, PLACE_FIELD(at->place, "ip"), ip,
                           "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
    }
}

/* Preferences weigh 1 to 100. */
void validate_weighted(const struct validate_at *at)
{
    int64_t weight = validate_int(at, "weight", 0);
    if (weight < 1 || weight > 100) {
        cause_invalid_int(at->causes, PLACE_FIELD(at->place, "weight"), weight,
                          "must be in the range 1-100");
    }
}

/* Whether every toleration of old is still there; its seconds may change. */
static bool pod_tolerations_kept(const struct value *old, const struct value *new)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_TOLERATION);
    const struct schema_field *f = schema_find(t, slice_str("tolerationSeconds"));
    unsigned seconds = (unsigned)(f - schema_fields(t));
    for (size_t i = 0; i < value_len(old); i++) {
        bool found = false;
        for (size_t k = 0; k < value_len(new) && !found; k++) {
            found = true;
            for (unsigned m = 0; m < t->field_count && found; m++) {
                found = m == seconds ||
                        value_equal_field(schema_fields(t) + m, value_member(&old->items[i], m),
                                          value_member(&new->items[k], m));
            }
        }
        if (!found) {
            return false;
        }
    }
    return true;
}

/* Makes a copy of new's spec look like old's where a change is allowed. 0 or ERR_NOMEM. */
static int pod_disregard_allowed(struct object *copy, const struct object *old)
{
    static const char *const lists[] = {"spec.containers", "spec.initContainers"};
    for (size_t l = 0; l < 2; l++) {
        size_t n = value_len(object_get(copy, lists[l]));
        for (size_t i = 0; i < n && i < value_len(object_get(old, lists[l])); i++) {
            char path[64];
            snprintf(path, sizeof path, "%s[%zu].image", lists[l], i);
            int rc = object_set(copy, path, value_text(object_text(old, path)));
            if (rc != 0) {
                return rc;
            }
        }
    }
    static const char *const fields[] = {"spec.activeDeadlineSeconds", "spec.tolerations",
                                         "spec.schedulingGates"};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        const struct value *v = object_get(old, fields[i]);
        object_remove(copy, fields[i]);
        int rc = v == NULL ? 0 : object_set(copy, fields[i], *v);
        if (rc != 0) {
            return rc;
        }
    }
    int64_t before = object_int(old, "spec.terminationGracePeriodSeconds", 0);
    if (before < 0 && object_int(copy, "spec.terminationGracePeriodSeconds", 0) == 1) {
        return object_set_int(copy, "spec.terminationGracePeriodSeconds", before);
    }
    return 0;
}

static void pod_deadline_update(const struct validate_at *at, const struct object *old)
{
    const struct value *now = validate_get(at, "spec.activeDeadlineSeconds");
    const struct value *before = object_get(old, "spec.activeDeadlineSeconds");
    const struct place *p = PLACE_FIELD(PLACE_FIELD(at->place, "spec"), "activeDeadlineSeconds");
    if (before == NULL) {
        return;
    }
    if (now == NULL) {
        cause_invalid(at->causes, p, NULL, NULL,
                      "must not update from a positive integer to nil value");
    } else if (now->integer > before->integer) {
        cause_invalid_int(at->causes, p, now->integer,
                          "must be less than or equal to previous value");
    }
}

/* Scheduling gates only go, once the pod is there. */
static void pod_gates_update(const struct validate_at *at, const struct object *old)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_POD_SCHEDULING_GATE);
    const struct value *now = validate_get(at, "spec.schedulingGates");
    const struct value *before = object_get(old, "spec.schedulingGates");
    const struct place *p = PLACE_FIELD(PLACE_FIELD(at->place, "spec"), "schedulingGates");
    for (size_t i = 0; i < value_len(now); i++) {
        struct slice name = item_text(t, now, i, "name");
        if (!list_has(t, before, value_len(before), name)) {
            cause_forbidden(at->causes, PLACE_FIELD(PLACE_INDEX(p, i), "name"),
                            "only deletion is allowed, but found new scheduling gate '%.*s'",
                            (int)name.len, (const char *)name.data);
        }
    }
}

static void pod_update(const struct validate_at *at)
{
    struct arena *a = at->causes->arena;
    struct object copy = {.type = at->type, .arena = a};
    const struct object old = {.type = at->type, .root = *at->old, .arena = a};
    const struct place *p = PLACE_FIELD(at->place, "spec");
    pod_deadline_update(at, &old);
    pod_gates_update(at, &old);
    validate_pod_status_update(at, &old);
    if (!pod_tolerations_kept(object_get(&old, "spec.tolerations"),
                              validate_get(at, "spec.tolerations"))) {
        cause_forbidden(at->causes, PLACE_FIELD(p, "tolerations"),
                        "existing toleration can not be modified except its tolerationSeconds");
    }
    if (value_copy_shared(a, at->message, &copy.root) != 0 ||
        pod_disregard_allowed(&copy, &old) != 0) {
        at->causes->failed = true;
        return;
    }
    const struct schema_field *f = schema_find(at->type, slice_str("spec"));
    if (!value_equal_field(f, object_get(&copy, "spec"), object_get(&old, "spec"))) {
        cause_forbidden(
            at->causes, p,
            "pod updates may not change fields other than "
            "`spec.containers[*].image`,`spec.initContainers[*].image`,"
            "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
            "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was "
            "previously negative)");
    }
}

void validate_pod(const struct validate_at *at)
{
    if (at->old != NULL) {
        pod_update(at);
        return;
    }
    if (value_len(validate_get(at, "spec.ephemeralContainers")) > 0) {
        cause_forbidden(at->causes,
                        PLACE_FIELD(PLACE_FIELD(at->place, "spec"), "ephemeralContainers"),
                        "cannot be set on create");
    }
    if (value_len(validate_get(at, "spec.schedulingGates")) > 0 &&
        validate_text(at, "spec.nodeName").len > 0) {
        cause_forbidden(at->causes, PLACE_FIELD(PLACE_FIELD(at->place, "spec"), "nodeName"),
                        "cannot be set until all schedulingGates have been cleared");
    }
}
