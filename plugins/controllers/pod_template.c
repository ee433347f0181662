/* pod_template.c - from template to pod. */
#include "plugins/controllers/pod_template.h"

#include <string.h>

#include "plugins/client/client.h"

/* Copies a part of the template's metadata. */
static int pod_take(struct object *pod, const struct value *template, const char *path)
{
    const struct schema_type *t = schema_type(SCHEMA_CORE_V1_POD_TEMPLATE_SPEC);
    const struct value *v = value_at(t, template, path);
    struct value copy;
    if (v == NULL) {
        return 0;
    }
    int rc = value_copy_shared(pod->arena, v, &copy);
    return rc == 0 ? object_set(pod, path, copy) : rc;
}

/* The owner's name and a dash; what is random comes from the server. A name that ends in a dot
 * would not be one with the dash behind it. */
static int pod_set_generate_name(struct object *pod, struct slice name)
{
    char *text = arena_alloc(pod->arena, name.len + 1);
    if (text == NULL) {
        return ERR_NOMEM;
    }
    if (name.len > 0) {
        memcpy(text, name.data, name.len);
    }
    text[name.len] = '-';
    bool dash = name.len == 0 || name.data[name.len - 1] != '.';
    return object_set_text(pod, "metadata.generateName", slice_of(text, name.len + dash));
}

int pod_from_template(const struct object *owner, const struct value *template, struct arena *arena,
                      struct object *pod)
{
    static const char *const parts[] = {"metadata.labels", "metadata.annotations",
                                        "metadata.finalizers", "spec"};
    int rc = object_new(pod, schema_type(SCHEMA_CORE_V1_POD), arena);
    rc = rc == 0 ? pod_set_generate_name(pod, object_text(owner, "metadata.name")) : rc;
    rc = rc == 0
             ? object_set_text(pod, "metadata.namespace", object_text(owner, "metadata.namespace"))
             : rc;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0] && rc == 0; i++) {
        rc = pod_take(pod, template, parts[i]);
    }
    return rc == 0 ? object_set_controller(pod, owner) : rc;
}
