/* condition.c - setting one condition of a status. */
#include "plugins/apiserver/condition.h"

#include <stdio.h>

#define CONDITION_PATH_BYTES 80u

static int condition_field(struct object *o, size_t i, const char *field, const char *text)
{
    char path[CONDITION_PATH_BYTES];
    snprintf(path, sizeof path, "status.conditions[%zu].%s", i, field);
    if (text == NULL) {
        object_remove(o, path);
        return 0;
    }
    return object_set_str(o, path, text);
}

static bool condition_is(const struct object *o, size_t i, const char *field, const char *text)
{
    char path[CONDITION_PATH_BYTES];
    snprintf(path, sizeof path, "status.conditions[%zu].%s", i, field);
    return slice_eq(object_text(o, path), slice_str(text));
}

int condition_set(struct object *o, const struct condition *c, int64_t now_seconds)
{
    char path[CONDITION_PATH_BYTES];
    size_t count = value_len(object_get(o, "status.conditions"));
    size_t i = 0;
    struct value *unused;
    while (i < count && !condition_is(o, i, "type", c->type)) {
        i++;
    }
    int rc =
        i < count ? 0 : object_append(o, "status.conditions", value_empty(VALUE_MESSAGE), &unused);
    bool turns = i == count || !condition_is(o, i, "status", c->status);
    rc = rc == 0 ? condition_field(o, i, "type", c->type) : rc;
    rc = rc == 0 ? condition_field(o, i, "status", c->status) : rc;
    rc = rc == 0 ? condition_field(o, i, "reason", c->reason) : rc;
    rc = rc == 0 ? condition_field(o, i, "message", c->message) : rc;
    snprintf(path, sizeof path, "status.conditions[%zu].lastTransitionTime", i);
    return rc == 0 && turns ? object_set_int(o, path, now_seconds) : rc;
}
