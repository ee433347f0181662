/* schema.h - the tables made from the schema files: types, their fields, the kinds served.
 *
 * Everything is constant and holds no pointers, so a process shares it with all others: a record
 * refers to another by the distance in bytes from itself (0 = none), which the functions here
 * resolve. Tables built while running (custom resources) have the same form in one block. Any
 * thread. */
#ifndef KVD_SCHEMA_SCHEMA_H
#define KVD_SCHEMA_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "schema_types.h"

/* What one value is; how many of them a field holds is its shape. */
enum schema_kind {
    SCHEMA_TEXT,
    SCHEMA_BYTES, /* base64 in JSON */
    SCHEMA_BOOL,
    SCHEMA_INT32,
    SCHEMA_INT64,
    SCHEMA_DOUBLE,
    SCHEMA_TIME,      /* RFC 3339, whole seconds */
    SCHEMA_MICROTIME, /* RFC 3339, six decimals */
    SCHEMA_QUANTITY,
    SCHEMA_INT_OR_TEXT,
    SCHEMA_RAW,     /* any JSON */
    SCHEMA_MESSAGE, /* has a type */
    SCHEMA_WRAPPER  /* a list of texts in JSON, a message with `items` in protobuf; has a type */
};

enum schema_shape { SCHEMA_ONE, SCHEMA_LIST, SCHEMA_MAP /* keys are texts */ };
enum schema_patch { SCHEMA_PATCH_REPLACE, SCHEMA_PATCH_MERGE };
/* How server-side apply sees a list or map. */
enum schema_merge {
    SCHEMA_MERGE_ATOMIC,
    SCHEMA_MERGE_SET,
    SCHEMA_MERGE_KEYED,
    SCHEMA_MERGE_GRANULAR
};
enum schema_format {
    SCHEMA_FORMAT_NONE,
    SCHEMA_FORMAT_LABEL,
    SCHEMA_FORMAT_SUBDOMAIN,
    SCHEMA_FORMAT_LABELKEY
};

enum schema_field_flags {
    SCHEMA_FIELD_POINTER = 1,       /* absent differs from zero */
    SCHEMA_FIELD_ALWAYS = 2,        /* JSON has it even when empty */
    SCHEMA_FIELD_REQUIRED = 4,      /* listed as required in OpenAPI */
    SCHEMA_FIELD_NEEDED = 8,        /* validation: may not be empty */
    SCHEMA_FIELD_IMMUTABLE = 16,    /* validation: an update may not change it */
    SCHEMA_FIELD_OMITZERO = 32,     /* a time that is left out when unset, instead of null */
    SCHEMA_FIELD_DEFAULT = 64,      /* has a default */
    SCHEMA_FIELD_MIN = 128,         /* validation: not less than min */
    SCHEMA_FIELD_RETAIN_KEYS = 256, /* strategic patches may say $retainKeys */
    SCHEMA_FIELD_UNCHECKED = 512    /* the values of its enum are checked by a C function */
};

struct schema_field {
    int32_t name; /* distances; see the accessors */
    int32_t go_name;
    int32_t about;
    int32_t type;
    int32_t fallback;
    int32_t merge_key;
    int32_t list_keys;
    int32_t fallback_number; /* default of integers and booleans */
    int32_t min;
    uint32_t max_items; /* 0 = no bound */
    uint16_t flags;     /* enum schema_field_flags */
    uint8_t number;     /* in protobuf; 0 = kind and apiVersion, which are not in the message */
    uint8_t outer;      /* the protobuf message with this number holds the field; 0 = none */
    uint8_t name_len;
    uint8_t kind;   /* enum schema_kind */
    uint8_t shape;  /* enum schema_shape */
    uint8_t patch;  /* enum schema_patch */
    uint8_t merge;  /* enum schema_merge */
    uint8_t format; /* enum schema_format */
};

enum schema_form { SCHEMA_FORM_TYPE, SCHEMA_FORM_ENUM, SCHEMA_FORM_TEXT, SCHEMA_FORM_WRAPPER };
enum schema_type_flags {
    SCHEMA_TYPE_TYPED = 1,     /* carries kind and apiVersion: its fields 0 and 1 */
    SCHEMA_TYPE_ATOMIC = 2,    /* server-side apply owns it as one */
    SCHEMA_TYPE_DEFAULTED = 4, /* something in it has a default, or a C function that sets some */
    SCHEMA_TYPE_CHECKED = 8    /* something in it is validated */
};

struct schema_type {
    int32_t name;
    int32_t go_name; /* as Go names it in messages: v1.PodSpec */
    int32_t group;
    int32_t version;
    int32_t about;
    int32_t fields;
    int32_t hash;
    int32_t values;
    int32_t resource;
    uint16_t field_count;
    uint16_t value_count;
    uint8_t form;  /* enum schema_form */
    uint8_t flags; /* enum schema_type_flags */
    uint8_t hash_bits;
    uint64_t hash_seed;
};

enum schema_verb {
    SCHEMA_VERB_CREATE = 1,
    SCHEMA_VERB_DELETE = 2,
    SCHEMA_VERB_DELETECOLLECTION = 4,
    SCHEMA_VERB_GET = 8,
    SCHEMA_VERB_LIST = 16,
    SCHEMA_VERB_PATCH = 32,
    SCHEMA_VERB_UPDATE = 64,
    SCHEMA_VERB_WATCH = 128
};

enum schema_rule {
    SCHEMA_RULE_NAMESPACED = 1,
    SCHEMA_RULE_GENERATION = 2,         /* metadata.generation is counted */
    SCHEMA_RULE_CREATE_ON_UPDATE = 4,   /* PUT to a missing name creates */
    SCHEMA_RULE_CONDITIONAL_UPDATE = 8, /* PUT needs a resourceVersion */
};

enum schema_names {
    SCHEMA_NAMES_ANY,
    SCHEMA_NAMES_SUBDOMAIN,
    SCHEMA_NAMES_LABEL,
    SCHEMA_NAMES_DNS1035,
    SCHEMA_NAMES_PATH
};

struct schema_sub {
    int32_t name;
    int32_t type;   /* what it takes and answers */
    uint32_t verbs; /* enum schema_verb */
};

struct schema_column {
    int32_t name;
    int32_t type; /* string, integer, boolean */
    int32_t format;
    int32_t about;
    uint8_t priority; /* 1 = only with -o wide */
};

/* One line of discovery: a kind that is served. */
struct schema_resource {
    int32_t plural;
    int32_t singular;
    int32_t short_names; /* comma-separated, as are the next two */
    int32_t categories;
    int32_t selectors;    /* field selectors besides metadata.name and metadata.namespace */
    int32_t deprecated;   /* text of the warning; none when not deprecated */
    int32_t storage_hash; /* of the form it is stored in; none when it is not stored */
    int32_t type;
    int32_t list_type;
    int32_t subs;
    int32_t columns;
    uint32_t verbs;
    uint8_t rules; /* enum schema_rule */
    uint8_t names; /* enum schema_names */
    uint8_t sub_count;
    uint8_t column_count;
};

/* The built-in tables (generated). */
extern const struct schema_type *const schema_types;
extern const size_t schema_type_count;
extern const struct schema_resource *const schema_resources;
extern const size_t schema_resource_count;

/* What a record's distance leads to; NULL or "" when it is 0. */
static inline const void *schema_at(const void *record, int32_t distance)
{
    return distance == 0 ? NULL : (const char *)record + distance;
}

static inline const char *schema_text(const void *record, int32_t distance)
{
    return distance == 0 ? "" : (const char *)record + distance;
}

static inline const struct schema_type *schema_type(enum schema_type_id id)
{
    return schema_types + id;
}

static inline const struct schema_field *schema_fields(const struct schema_type *t)
{
    return (const struct schema_field *)schema_at(t, t->fields);
}

/* The type of a message, wrapper or named text; NULL for plain values. */
static inline const struct schema_type *schema_field_type(const struct schema_field *f)
{
    return (const struct schema_type *)schema_at(f, f->type);
}

static inline const char *schema_field_name(const struct schema_field *f)
{
    return schema_text(f, f->name);
}

static inline const char *schema_type_name(const struct schema_type *t)
{
    return schema_text(t, t->name);
}

/* The kind a type is served as; NULL for others. */
static inline const struct schema_resource *schema_resource_of(const struct schema_type *t)
{
    return (const struct schema_resource *)schema_at(t, t->resource);
}

/* True when the JSON form has the field even if it is unset: as null, zero or {}. */
static inline bool schema_field_always(const struct schema_field *f)
{
    if (f->flags & SCHEMA_FIELD_ALWAYS) {
        return true;
    }
    bool record = f->kind == SCHEMA_MESSAGE || (f->kind >= SCHEMA_TIME && f->kind <= SCHEMA_RAW);
    return record && f->shape == SCHEMA_ONE &&
           !(f->flags & (SCHEMA_FIELD_POINTER | SCHEMA_FIELD_OMITZERO));
}

/* A type's field by its JSON name; NULL when it has none. Constant time. */
const struct schema_field *schema_find(const struct schema_type *t, struct slice name);
/* The type of a group, version and kind ("", "v1", "Pod"), also of lists and options; NULL when
 * unknown. Linear: once per request. */
const struct schema_type *schema_find_kind(struct slice group, struct slice version,
                                           struct slice kind);
/* The resource of a group, version and plural name; NULL when unknown. Linear as well. */
const struct schema_resource *schema_find_resource(struct slice group, struct slice version,
                                                   struct slice plural);
/* Value number i of an enum. */
const char *schema_enum_value(const struct schema_type *t, size_t i);
/* True when text is one of an enum's values; anything is for other types. */
bool schema_enum_has(const struct schema_type *t, struct slice text);

#endif
