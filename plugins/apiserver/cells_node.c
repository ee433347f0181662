/* cells_node.c - the cells of nodes. */
#include "plugins/apiserver/cells.h"

static void print_status(struct cells *c)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_NODE_CONDITION);
    const struct value *list = object_get(c->object, "status.conditions");
    const char *status = "Unknown";
    for (size_t i = 0; i < value_len(list); i++) {
        if (value_is_text(value_find(t, &list->items[i], "type"), "Ready")) {
            bool ready = value_is_text(value_find(t, &list->items[i], "status"), "True");
            status = ready ? "Ready" : "NotReady";
        }
    }
    cells_put(c, status);
    cells_put(c, object_bool(c->object, "spec.unschedulable", false) ? ",SchedulingDisabled" : "");
}

/* The role a label gives; empty = none. */
static struct slice role_of(struct slice key, struct slice value)
{
    struct slice prefix = slice_str("node-role.kubernetes.io/");
    if (slice_starts_with(key, prefix)) {
        return slice_of(key.data + prefix.len, key.len - prefix.len);
    }
    return slice_eq(key, slice_str("kubernetes.io/role")) ? value : slice_of("", 0);
}

static void print_roles(struct cells *c)
{
    const struct value *labels = object_get(c->object, "metadata.labels");
    struct slice *roles = arena_alloc(c->arena, (value_len(labels) + 1) * sizeof *roles);
    size_t n = 0;
    bool first = true;
    if (roles == NULL) {
        c->out->failed = true;
        return;
    }
    for (size_t i = 0; i < value_len(labels); i++) {
        roles[n] = role_of(value_map_key(labels, i), value_slice(value_map_at(labels, i)));
        n += roles[n].len > 0;
    }
    cells_put_sorted(c, roles, n, &first);
    cells_put(c, first ? "<none>" : "");
}

static void put_address(struct cells *c, const char *type)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_NODE_ADDRESS);
    const struct value *list = object_get(c->object, "status.addresses");
    for (size_t i = 0; i < value_len(list); i++) {
        if (value_is_text(value_find(t, &list->items[i], "type"), type)) {
            cells_put_slice(c, value_slice(value_find(t, &list->items[i], "address")));
            return;
        }
    }
    cells_put(c, "<none>");
}

static void print_internal_ip(struct cells *c)
{
    put_address(c, "InternalIP");
}

static void print_external_ip(struct cells *c)
{
    put_address(c, "ExternalIP");
}

static void print_version(struct cells *c)
{
    cells_put_path(c, "status.nodeInfo.kubeletVersion", "");
}

static void print_os_image(struct cells *c)
{
    cells_put_path(c, "status.nodeInfo.osImage", "<unknown>");
}

static void print_kernel(struct cells *c)
{
    cells_put_path(c, "status.nodeInfo.kernelVersion", "<unknown>");
}

static void print_runtime(struct cells *c)
{
    cells_put_path(c, "status.nodeInfo.containerRuntimeVersion", "<unknown>");
}

const struct cells_column cells_node[] = {
    {"Status", print_status, false},
    {"Roles", print_roles, false},
    {"Version", print_version, false},
    {"Internal-IP", print_internal_ip, false},
    {"External-IP", print_external_ip, false},
    {"OS-Image", print_os_image, false},
    {"Kernel-Version", print_kernel, false},
    {"Container-Runtime", print_runtime, false},
    {0},
};
