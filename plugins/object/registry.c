/* registry.c - keys of objects. */
#include "plugins/object/registry.h"

static const struct {
    enum schema_type_id type;
    const char *folder;
} odd_folders[] = {
    {SCHEMA_CORE_V1_NODE, "minions"},
    {SCHEMA_CORE_V1_SERVICE, "services/specs"},
    {SCHEMA_CORE_V1_ENDPOINTS, "services/endpoints"},
    {SCHEMA_CORE_V1_REPLICATION_CONTROLLER, "controllers"},
};

void registry_key(const struct schema_type *type, struct slice space, struct slice name,
                  struct buf *out)
{
    const char *folder = NULL;
    for (size_t i = 0; i < sizeof odd_folders / sizeof odd_folders[0]; i++) {
        folder = type == schema_type(odd_folders[i].type) ? odd_folders[i].folder : folder;
    }
    if (folder == NULL) {
        const struct schema_resource *r = schema_resource_of(type);
        folder = schema_text(r, r->plural);
    }
    buf_printf(out, "/registry/%s/", folder);
    if (space.len > 0) {
        buf_append_slice(out, space);
        buf_append_byte(out, '/');
    }
    buf_append_slice(out, name);
}
