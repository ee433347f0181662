/* validate_meta.c - metadata, labels and label selectors. */
#include <string.h>

#include "base/limits.h"
#include "plugins/object/validate_kinds.h"

#define ANNOTATIONS_BYTES_MAX (256u * 1024u)

void validate_labels(struct causes *c, const struct place *p, const struct value *map)
{
    for (size_t i = 0; i < value_len(map); i++) {
        validate_name(c, NAME_QUALIFIED, p, value_map_key(map, i));
        validate_name(c, NAME_LABEL_VALUE, p, value_slice(value_map_at(map, i)));
    }
}

/* Annotations are named like labels, in any case of letters. */
static void validate_annotation_key(struct causes *c, const struct place *p, struct slice key)
{
    uint8_t lower[512];
    const char *complaints[NAME_COMPLAINTS_MAX];
    struct slice shown = key;
    if (key.len <= sizeof lower) {
        for (size_t i = 0; i < key.len; i++) {
            uint8_t b = key.data[i];
            lower[i] = b >= 'A' && b <= 'Z' ? (uint8_t)(b + 32) : b;
        }
        key = slice_of(lower, key.len);
    }
    size_t n = name_check(NAME_QUALIFIED, key, complaints);
    for (size_t i = 0; i < n; i++) {
        cause_invalid_text(c, p, shown, "%s", complaints[i]);
    }
}

static void validate_annotations(struct causes *c, const struct place *p, const struct value *map)
{
    size_t bytes = 0;
    for (size_t i = 0; i < value_len(map); i++) {
        validate_annotation_key(c, p, value_map_key(map, i));
        bytes += value_map_key(map, i).len + value_slice(value_map_at(map, i)).len;
    }
    if (bytes > ANNOTATIONS_BYTES_MAX) {
        cause_too_long(c, p, ANNOTATIONS_BYTES_MAX);
    }
}

static void validate_owner(struct causes *c, const struct place *p, const struct value *owner)
{
    const struct schema_type *t = schema_type(SCHEMA_META_V1_OWNER_REFERENCE);
    struct slice version = value_slice(value_find(t, owner, "apiVersion"));
    const uint8_t *slash = version.len == 0 ? NULL : memchr(version.data, '/', version.len);
    if (version.len == 0 || slash == version.data + version.len - 1) {
        cause_invalid_text(c, PLACE_FIELD(p, "apiVersion"), version, "version must not be empty");
    }
    static const char *const names[] = {"kind", "name", "uid"};
    for (size_t i = 0; i < 3; i++) {
        if (value_is_zero(value_find(t, owner, names[i]))) {
            cause_invalid_text(c, PLACE_FIELD(p, names[i]), slice_str(""), "must not be empty");
        }
    }
    if (slice_eq(version, slice_str("v1")) &&
        value_is_text(value_find(t, owner, "kind"), "Event")) {
        const struct schema_type *mt = schema_type(SCHEMA_META_V1_OBJECT_META);
        cause_invalid(c, p, schema_find(mt, slice_str("ownerReferences")), owner,
                      "/v1, Kind=Event is disallowed from being an owner");
    }
}

static void validate_owners(const struct validate_at *at)
{
    const struct schema_type *t = schema_type(SCHEMA_META_V1_OWNER_REFERENCE);
    const struct value *owners = validate_get(at, "ownerReferences");
    const struct place *p = PLACE_FIELD(at->place, "ownerReferences");
    const struct value *first = NULL;
    for (size_t i = 0; i < value_len(owners); i++) {
        const struct value *owner = &owners->items[i];
        validate_owner(at->causes, p, owner);
        if (value_is_zero(value_find(t, owner, "controller"))) {
            continue;
        }
        if (first == NULL) {
            first = owner;
            continue;
        }
        struct slice k1 = value_slice(value_find(t, first, "kind"));
        struct slice n1 = value_slice(value_find(t, first, "name"));
        struct slice k2 = value_slice(value_find(t, owner, "kind"));
        struct slice n2 = value_slice(value_find(t, owner, "name"));
        cause_invalid(at->causes, p, schema_find(at->type, slice_str("ownerReferences")), owners,
                      "Only one reference can have Controller set to true. Found \"true\" in "
                      "references for %.*s/%.*s and %.*s/%.*s",
                      (int)k1.len, (const char *)k1.data, (int)n1.len, (const char *)n1.data,
                      (int)k2.len, (const char *)k2.data, (int)n2.len, (const char *)n2.data);
    }
}

static bool validate_list_has(const struct value *list, struct slice text)
{
    for (size_t i = 0; i < value_len(list); i++) {
        if (slice_eq(value_slice(&list->items[i]), text)) {
            return true;
        }
    }
    return false;
}

static void validate_finalizers(const struct validate_at *at)
{
    const struct value *list = validate_get(at, "finalizers");
    const struct place *p = PLACE_FIELD(at->place, "finalizers");
    for (size_t i = 0; i < value_len(list); i++) {
        validate_name(at->causes, NAME_QUALIFIED, p, value_slice(&list->items[i]));
    }
    if (validate_list_has(list, slice_str("orphan")) &&
        validate_list_has(list, slice_str("foregroundDeletion"))) {
        cause_invalid(at->causes, p, NULL, list,
                      "finalizer orphan and foregroundDeletion cannot be both set");
    }
}

/* Metadata of objects and of templates alike. */
void validate_object_meta(const struct validate_at *at)
{
    validate_labels(at->causes, PLACE_FIELD(at->place, "labels"), validate_get(at, "labels"));
    validate_annotations(at->causes, PLACE_FIELD(at->place, "annotations"),
                         validate_get(at, "annotations"));
    validate_owners(at);
    validate_finalizers(at);
}

void validate_label_requirement(const struct validate_at *at)
{
    struct causes *c = at->causes;
    struct slice op = validate_text(at, "operator");
    const struct value *values = validate_get(at, "values");
    const struct place *p = PLACE_FIELD(at->place, "values");
    bool set = slice_eq(op, slice_str("In")) || slice_eq(op, slice_str("NotIn"));
    bool presence = slice_eq(op, slice_str("Exists")) || slice_eq(op, slice_str("DoesNotExist"));
    if (set && value_len(values) == 0) {
        cause_required(c, p, "must be specified when `operator` is 'In' or 'NotIn'");
    } else if (presence && value_len(values) > 0) {
        cause_forbidden(c, p, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
    } else if (!set && !presence) {
        cause_invalid_text(c, PLACE_FIELD(at->place, "operator"), op,
                           "not a valid selector operator");
    }
    validate_name(c, NAME_QUALIFIED, PLACE_FIELD(at->place, "key"), validate_text(at, "key"));
    for (size_t i = 0; i < value_len(values); i++) {
        validate_name(c, NAME_LABEL_VALUE, PLACE_INDEX(p, i), value_slice(&values->items[i]));
    }
}

void validate_label_selector(const struct validate_at *at)
{
    validate_labels(at->causes, PLACE_FIELD(at->place, "matchLabels"),
                    validate_get(at, "matchLabels"));
}

static const enum name_rule meta_rules[] = {
    [SCHEMA_NAMES_SUBDOMAIN] = NAME_SUBDOMAIN,
    [SCHEMA_NAMES_LABEL] = NAME_LABEL,
    [SCHEMA_NAMES_DNS1035] = NAME_DNS1035,
    [SCHEMA_NAMES_PATH] = NAME_PATH,
};

/* A prefix is checked as if a letter followed: the server appends some. */
static void validate_generate_name(struct causes *c, enum name_rule rule, const struct place *p,
                                   struct slice text)
{
    uint8_t masked[512];
    const char *complaints[NAME_COMPLAINTS_MAX];
    size_t n;
    if (text.len > 1 && text.len <= sizeof masked && text.data[text.len - 1] == '-' &&
        rule != NAME_PATH) {
        /* Kubernetes takes off two characters for the one. */
        memcpy(masked, text.data, text.len);
        masked[text.len - 2] = 'a';
        n = name_check(rule, slice_of(masked, text.len - 1), complaints);
    } else {
        n = name_check(rule, text, complaints);
    }
    for (size_t i = 0; i < n; i++) {
        cause_invalid_text(c, p, text, "%s", complaints[i]);
    }
}

static void validate_namespace(const struct object *o, struct causes *c, const struct place *meta)
{
    const struct schema_resource *r = schema_resource_of(o->type);
    struct slice ns = object_text(o, "metadata.namespace");
    const struct place *p = PLACE_FIELD(meta, "namespace");
    if (!(r->rules & SCHEMA_RULE_NAMESPACED)) {
        if (ns.len > 0) {
            cause_forbidden(c, p, "not allowed on this type");
        }
    } else if (ns.len == 0) {
        cause_required(c, p, "");
    } else {
        validate_name(c, NAME_LABEL, p, ns);
    }
}

/* Without a slash only these are names of finalizers. */
static void validate_finalizer_words(const struct object *o, struct causes *c,
                                     const struct place *meta)
{
    const struct value *list = object_get(o, "metadata.finalizers");
    for (size_t i = 0; i < value_len(list); i++) {
        struct slice text = value_slice(&list->items[i]);
        bool plain = text.len == 0 || memchr(text.data, '/', text.len) == NULL;
        if (plain && name_is(NAME_QUALIFIED, text) && !slice_eq(text, slice_str("kubernetes")) &&
            !slice_eq(text, slice_str("orphan")) &&
            !slice_eq(text, slice_str("foregroundDeletion"))) {
            cause_invalid_text(c, PLACE_INDEX(PLACE_FIELD(meta, "finalizers"), i), text,
                               "name is neither a standard finalizer name nor is it fully "
                               "qualified");
        }
    }
}

void validate_meta_create(const struct object *o, struct causes *c)
{
    const struct schema_resource *r = schema_resource_of(o->type);
    const struct place *meta = PLACE_FIELD(NULL, "metadata");
    if (r == NULL || r->names == SCHEMA_NAMES_ANY) {
        return;
    }
    struct slice prefix = object_text(o, "metadata.generateName");
    struct slice name = object_text(o, "metadata.name");
    if (prefix.len > 0) {
        validate_generate_name(c, meta_rules[r->names], PLACE_FIELD(meta, "generateName"), prefix);
    }
    if (name.len == 0) {
        cause_required(c, PLACE_FIELD(meta, "name"), "name or generateName is required");
    } else {
        validate_name(c, meta_rules[r->names], PLACE_FIELD(meta, "name"), name);
    }
    validate_namespace(o, c, meta);
    validate_finalizer_words(o, c, meta);
}

/* No finalizer may come once the object is being deleted. */
static void validate_new_finalizers(const struct object *new, const struct object *old,
                                    struct causes *c, const struct place *meta)
{
    const struct value *list = object_get(new, "metadata.finalizers");
    const struct value *before = object_get(old, "metadata.finalizers");
    struct buf names;
    buf_init(&names);
    for (size_t i = 0; i < value_len(list); i++) {
        struct slice text = value_slice(&list->items[i]);
        if (!validate_list_has(before, text)) {
            buf_printf(&names, "%s\"%.*s\"", names.len > 0 ? ", " : "", (int)text.len,
                       (const char *)text.data);
        }
    }
    if (names.len > 0) {
        cause_forbidden(c, PLACE_FIELD(meta, "finalizers"),
                        "no new finalizers can be added if the object is being deleted, found new "
                        "finalizers []string{%.*s}",
                        (int)names.len, (const char *)names.data);
    }
    buf_close(&names);
}

void validate_meta_update(const struct object *new, const struct object *old, struct causes *c)
{
    const struct schema_type *t = schema_type(SCHEMA_META_V1_OBJECT_META);
    const struct place *meta = PLACE_FIELD(NULL, "metadata");
    const struct value *now = object_get(new, "metadata");
    const struct value *before = object_get(old, "metadata");
    if (object_get(old, "metadata.deletionTimestamp") != NULL) {
        validate_new_finalizers(new, old, c, meta);
    }
    if (object_text(new, "metadata.resourceVersion").len == 0) {
        cause_invalid_text(c, PLACE_FIELD(meta, "resourceVersion"), slice_str(""),
                           "must be specified for an update");
    }
    int64_t generation = object_int(new, "metadata.generation", 0);
    if (generation < object_int(old, "metadata.generation", 0)) {
        cause_invalid_int(c, PLACE_FIELD(meta, "generation"), generation,
                          "must not be decremented");
    }
    static const char *const fixed[] = {"name",
                                        "namespace",
                                        "uid",
                                        "creationTimestamp",
                                        "deletionTimestamp",
                                        "deletionGracePeriodSeconds"};
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) {
        const struct schema_field *f = schema_find(t, slice_str(fixed[i]));
        const struct value *v = value_find(t, now, fixed[i]);
        if (!value_equal_field(f, v, value_find(t, before, fixed[i]))) {
            cause_invalid(c, PLACE_FIELD(meta, fixed[i]), f, v, "field is immutable");
        }
    }
}
