/* meta.c - what every controller needs of metadata. */
#include <stdio.h>

#include "plugins/client/client.h"

struct slice object_namespace(const struct object *o)
{
    return object_text(o, "metadata.namespace");
}

struct slice object_name(const struct object *o)
{
    return object_text(o, "metadata.name");
}

struct slice object_uid(const struct object *o)
{
    return object_text(o, "metadata.uid");
}

int64_t object_revision(const struct object *o)
{
    struct slice text = object_text(o, "metadata.resourceVersion");
    int64_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || n > (INT64_MAX - 9) / 10) {
            return 0;
        }
        n = n * 10 + (text.data[i] - '0');
    }
    return n;
}

bool object_is_deleted(const struct object *o)
{
    return object_get(o, "metadata.deletionTimestamp") != NULL;
}

int object_key(const struct object *o, struct buf *out)
{
    struct slice space = object_namespace(o);
    if (space.len > 0) {
        buf_append_slice(out, space);
        buf_append_byte(out, '/');
    }
    buf_append_slice(out, object_name(o));
    return out->failed ? ERR_NOMEM : 0;
}

void object_key_split(struct slice key, struct slice *space, struct slice *name)
{
    const uint8_t *slash = key.len > 0 ? memchr(key.data, '/', key.len) : NULL;
    size_t len = slash != NULL ? (size_t)(slash - key.data) : 0;
    size_t skip = slash != NULL ? len + 1 : 0;
    *space = slice_of(key.data, len);
    *name = slice_of(key.len > 0 ? key.data + skip : NULL, key.len - skip);
}

const struct value *object_controller(const struct object *o)
{
    const struct value *owners = object_get(o, "metadata.ownerReferences");
    const struct schema_type *type = schema_type(SCHEMA_META_V1_OWNER_REFERENCE);
    for (size_t i = 0; i < value_len(owners); i++) {
        const struct value *yes = value_find(type, &owners->items[i], "controller");
        if (yes != NULL && yes->kind == VALUE_BOOL && yes->boolean) {
            return &owners->items[i];
        }
    }
    return NULL;
}

struct slice reference_text(const struct value *reference, const char *member)
{
    const struct schema_type *type = schema_type(SCHEMA_META_V1_OWNER_REFERENCE);
    return value_slice(reference != NULL ? value_find(type, reference, member) : NULL);
}

int object_set_controller(struct object *o, const struct object *owner)
{
    char path[80];
    struct value *made;
    size_t at = value_len(object_get(o, "metadata.ownerReferences"));
    struct slice version = object_api_version(owner->type, o->arena);
    int err = version.data == NULL
                  ? ERR_NOMEM
                  : object_append(o, "metadata.ownerReferences", value_empty(VALUE_MESSAGE), &made);
    const struct {
        const char *name;
        struct slice text;
    } texts[] = {{"apiVersion", version},
                 {"kind", slice_str(schema_type_name(owner->type))},
                 {"name", object_name(owner)},
                 {"uid", object_uid(owner)}};
    for (size_t i = 0; err == 0 && i < sizeof(texts) / sizeof(texts[0]); i++) {
        snprintf(path, sizeof(path), "metadata.ownerReferences[%zu].%s", at, texts[i].name);
        err = object_set_text(o, path, texts[i].text);
    }
    static const char *const flags[] = {"controller", "blockOwnerDeletion"};
    for (size_t i = 0; err == 0 && i < 2; i++) {
        snprintf(path, sizeof(path), "metadata.ownerReferences[%zu].%s", at, flags[i]);
        err = object_set_bool(o, path, true);
    }
    return err;
}
