/* cells_plain.c - the cells of kinds that show a field or two. */
#include "plugins/apiserver/cells.h"

static void print_phase(struct cells *c)
{
    cells_put_path(c, "status.phase", "");
}

const struct cells_column cells_namespace[] = {
    {"Status", print_phase, false},
    {0},
};

static void print_config_data(struct cells *c)
{
    cells_put_int(c, (int64_t)(value_len(object_get(c->object, "data")) +
                               value_len(object_get(c->object, "binaryData"))));
}

const struct cells_column cells_config_map[] = {
    {"Data", print_config_data, true},
    {0},
};

static void print_secret_type(struct cells *c)
{
    cells_put_path(c, "type", "");
}

static void print_secret_data(struct cells *c)
{
    cells_put_int(c, (int64_t)value_len(object_get(c->object, "data")));
}

const struct cells_column cells_secret[] = {
    {"Type", print_secret_type, false},
    {"Data", print_secret_data, true},
    {0},
};

static void print_value(struct cells *c)
{
    cells_put_int_path(c, "value");
}

static void print_global_default(struct cells *c)
{
    cells_put(c, object_bool(c->object, "globalDefault", false) ? "true" : "false");
}

static void print_preemption(struct cells *c)
{
    cells_put_path(c, "preemptionPolicy", "");
}

const struct cells_column cells_priority_class[] = {
    {"Value", print_value, true},
    {"Global-Default", print_global_default, true},
    {"PreemptionPolicy", print_preemption, false},
    {0},
};

static void print_holder(struct cells *c)
{
    cells_put_path(c, "spec.holderIdentity", "");
}

const struct cells_column cells_lease[] = {
    {"Holder", print_holder, false},
    {0},
};
