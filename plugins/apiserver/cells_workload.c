/* cells_workload.c - the cells of what makes pods from a template. */
#include "plugins/apiserver/cells.h"

#include <inttypes.h>

#include "plugins/object/labels.h"

/* One field of each container, with commas. */
static void put_containers(struct cells *c, const char *path, const char *field)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_CONTAINER);
    const struct value *list = object_get(c->object, path);
    for (size_t i = 0; i < value_len(list); i++) {
        cells_put(c, i > 0 ? "," : "");
        cells_put_slice(c, value_slice(value_find(t, &list->items[i], field)));
    }
}

static void print_containers(struct cells *c)
{
    put_containers(c, "spec.template.spec.containers", "name");
}

static void print_images(struct cells *c)
{
    put_containers(c, "spec.template.spec.containers", "image");
}

/* What a selector says; bad and none: what stands for one that is broken or says nothing. */
static void put_selector(struct cells *c, const char *bad, const char *none)
{
    struct label_selector s;
    struct errmsg e;
    size_t before = c->out->len;
    int rc = label_selector_from(object_get(c->object, "spec.selector"), c->arena, &s, &e);
    if (rc == ERR_NOMEM) {
        c->out->failed = true;
        return;
    }
    if (rc != 0) {
        cells_put(c, bad);
        return;
    }
    label_selector_print(&s, c->out);
    cells_put(c, c->out->len == before ? none : "");
}

/* ---- pod templates ------------------------------------------------------------------------- */

static void print_template_containers(struct cells *c)
{
    put_containers(c, "template.spec.containers", "name");
}

static void print_template_images(struct cells *c)
{
    put_containers(c, "template.spec.containers", "image");
}

static void print_template_labels(struct cells *c)
{
    cells_put_labels(c, object_get(c->object, "template.metadata.labels"));
}

const struct cells_column cells_pod_template[] = {
    {"Containers", print_template_containers, false},
    {"Images", print_template_images, false},
    {"Pod Labels", print_template_labels, false},
    {0},
};

/* ---- replica sets and replication controllers ---------------------------------------------- */

static void print_desired(struct cells *c)
{
    cells_put_int_path(c, "spec.replicas");
}

static void print_current(struct cells *c)
{
    cells_put_int_path(c, "status.replicas");
}

static void print_ready(struct cells *c)
{
    cells_put_int_path(c, "status.readyReplicas");
}

static void print_selector(struct cells *c)
{
    if (c->object->type == schema_type(SCHEMA_CORE_V1_REPLICATION_CONTROLLER)) {
        cells_put_labels(c, object_get(c->object, "spec.selector"));
    } else {
        put_selector(c, "<error>", "<none>");
    }
}

const struct cells_column cells_replicas[] = {
    {"Desired", print_desired, true},
    {"Current", print_current, true},
    {"Ready", print_ready, true},
    {"Containers", print_containers, false},
    {"Images", print_images, false},
    {"Selector", print_selector, false},
    {0},
};

/* ---- deployments --------------------------------------------------------------------------- */

static void print_ready_of_desired(struct cells *c)
{
    buf_printf(c->out, "%" PRId64 "/%" PRId64, object_int(c->object, "status.readyReplicas", 0),
               object_int(c->object, "spec.replicas", 0));
}

static void print_updated(struct cells *c)
{
    cells_put_int_path(c, "status.updatedReplicas");
}

static void print_available(struct cells *c)
{
    cells_put_int_path(c, "status.availableReplicas");
}

static void print_deployment_selector(struct cells *c)
{
    put_selector(c, "<invalid>", "");
}

const struct cells_column cells_deployment[] = {
    {"Ready", print_ready_of_desired, false},
    {"Up-to-date", print_updated, true},
    {"Available", print_available, true},
    {"Containers", print_containers, false},
    {"Images", print_images, false},
    {"Selector", print_deployment_selector, false},
    {0},
};

/* ---- scales -------------------------------------------------------------------------------- */

const struct cells_column cells_scale[] = {
    {"Desired", print_desired, true},
    {"Available", print_current, true},
    {0},
};
