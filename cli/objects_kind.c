/* objects_kind.c - kinds by the names people give them. */
#include <string.h>
#include <strings.h>

#include "cli/objects.h"

/* Is text one of a comma-separated list? */
static bool listed(const char *list, struct slice text)
{
    while (*list != '\0') {
        size_t len = strcspn(list, ",");
        if (len == text.len && memcmp(list, text.data, len) == 0) {
            return true;
        }
        list += len + (list[len] == ',');
    }
    return false;
}

static bool same_word(const char *name, struct slice text)
{
    return strlen(name) == text.len && strncasecmp(name, (const char *)text.data, text.len) == 0;
}

/* "apps", "v1.apps": what follows a kind's name and a dot. */
static bool group_fits(const struct schema_type *t, struct slice text)
{
    const char *group = schema_text(t, t->group);
    const char *version = schema_text(t, t->version);
    size_t len = strlen(version);
    if (slice_eq(text, slice_str(group))) {
        return true;
    }
    return text.len >= len && memcmp(text.data, version, len) == 0 &&
           ((text.len == len && *group == '\0') ||
            (text.len > len && text.data[len] == '.' &&
             slice_eq(slice_of(text.data + len + 1, text.len - len - 1), slice_str(group))));
}

bool kind_find(struct slice word, struct kind *k)
{
    const uint8_t *dot = word.len == 0 ? NULL : memchr(word.data, '.', word.len);
    struct slice name = dot == NULL ? word : slice_of(word.data, (size_t)(dot - word.data));
    bool found = false;
    for (size_t i = 0; i < schema_resource_count && name.len > 0; i++) {
        const struct schema_resource *r = schema_resources + i;
        const struct schema_type *t = schema_at(r, r->type);
        bool named = same_word(schema_text(r, r->plural), name) ||
                     same_word(schema_text(r, r->singular), name) ||
                     same_word(schema_type_name(t), name) ||
                     listed(schema_text(r, r->short_names), name);
        if (!named || (dot != NULL && !group_fits(t, slice_of(dot + 1, word.len - name.len - 1)))) {
            continue;
        }
        if (!found || *schema_text(t, t->group) == '\0') {
            *k = (struct kind){.type = t, .resource = r};
        }
        found = true;
    }
    return found;
}

bool kind_is_short(const struct kind *k, struct slice word)
{
    return listed(schema_text(k->resource, k->resource->short_names), word);
}

bool kind_of(struct slice api_version, struct slice name, struct kind *k)
{
    const uint8_t *slash =
        api_version.len == 0 ? NULL : memchr(api_version.data, '/', api_version.len);
    size_t len = slash == NULL ? 0 : (size_t)(slash - api_version.data);
    size_t skip = slash == NULL ? 0 : len + 1;
    k->type = schema_find_kind(slice_of(api_version.data, len),
                               slice_of(api_version.data + skip, api_version.len - skip), name);
    k->resource = k->type == NULL ? NULL : schema_resource_of(k->type);
    return k->resource != NULL;
}

bool kind_is_namespaced(const struct kind *k)
{
    return (k->resource->rules & SCHEMA_RULE_NAMESPACED) != 0;
}

void kind_path(const struct kind *k, struct slice space, struct slice name, struct buf *out)
{
    const char *group = schema_text(k->type, k->type->group);
    buf_printf(out, *group == '\0' ? "/api%s" : "/apis/%s", group);
    buf_printf(out, "/%s", schema_text(k->type, k->type->version));
    if (space.len > 0) {
        buf_append_str(out, "/namespaces/");
        kube_escape(out, space);
    }
    buf_printf(out, "/%s", schema_text(k->resource, k->resource->plural));
    if (name.len > 0) {
        buf_append_byte(out, '/');
        kube_escape(out, name);
    }
}

void kind_name(const struct kind *k, struct buf *out)
{
    const char *group = schema_text(k->type, k->type->group);
    buf_append_str(out, schema_text(k->resource, k->resource->singular));
    if (*group != '\0') {
        buf_printf(out, ".%s", group);
    }
}
