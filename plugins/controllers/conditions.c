/* conditions.c - one entry of status.conditions. */
#include "plugins/controllers/conditions.h"

#include <stdio.h>

#define CONDITION_PATH_BYTES 64u

static const struct schema_type *conditions_type(const struct object *o)
{
    if (o->type == schema_type(SCHEMA_CORE_V1_NODE)) {
        return schema_type(SCHEMA_CORE_V1_NODE_CONDITION);
    }
    return o->type == schema_type(SCHEMA_CORE_V1_POD)
               ? schema_type(SCHEMA_CORE_V1_POD_CONDITION)
               : schema_type(SCHEMA_CORE_V1_NAMESPACE_CONDITION);
}

/* Where it is in the list; the list's length when it is not there. */
static size_t conditions_index(const struct object *o, const char *type)
{
    const struct schema_type *t = conditions_type(o);
    const struct value *list = object_get(o, "status.conditions");
    size_t i = 0;
    while (i < value_len(list) && !value_is_text(value_find(t, &list->items[i], "type"), type)) {
        i++;
    }
    return i;
}

struct condition conditions_find(const struct object *o, const char *type)
{
    struct condition c = {conditions_type(o), NULL};
    const struct value *list = object_get(o, "status.conditions");
    size_t i = conditions_index(o, type);
    if (i < value_len(list)) {
        c.message = &list->items[i];
    }
    return c;
}

struct slice conditions_text(struct condition c, const char *member)
{
    return value_slice(value_find(c.type, c.message, member));
}

int64_t conditions_time(struct condition c, const char *member)
{
    const struct value *v = value_find(c.type, c.message, member);
    return v != NULL && v->kind == VALUE_INT ? v->integer : 0;
}

/* Sets a text member of condition number i unless it is that already. */
static int conditions_put(struct object *o, size_t i, const char *member, const char *text,
                          bool *changed)
{
    char path[CONDITION_PATH_BYTES];
    snprintf(path, sizeof path, "status.conditions[%zu].%s", i, member);
    if (text == NULL || slice_eq(object_text(o, path), slice_str(text))) {
        return 0;
    }
    *changed = true;
    return object_set_str(o, path, text);
}

int conditions_set(struct object *o, const struct condition_want *want, bool *changed)
{
    char path[CONDITION_PATH_BYTES];
    bool differs = false;
    bool moved = false;
    int rc = 0;
    size_t i = conditions_index(o, want->type);
    if (i == value_len(object_get(o, "status.conditions"))) {
        struct value *unused;
        rc = object_append(o, "status.conditions", value_empty(VALUE_MESSAGE), &unused);
        rc = rc == 0 ? conditions_put(o, i, "type", want->type, &differs) : rc;
    }
    rc = rc == 0 ? conditions_put(o, i, "status", want->status, &moved) : rc;
    rc = rc == 0 ? conditions_put(o, i, "reason", want->reason, &differs) : rc;
    rc = rc == 0 ? conditions_put(o, i, "message", want->message, &differs) : rc;
    if (rc == 0 && moved) {
        snprintf(path, sizeof path, "status.conditions[%zu].lastTransitionTime", i);
        rc = object_set_int(o, path, want->now_s);
    }
    if (changed != NULL) {
        *changed = differs || moved;
    }
    return rc;
}
