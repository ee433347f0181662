/* openapi_proto.c - OpenAPI 2.0 in protobuf, as kubectl asks for it: the messages of openapi.v2.
 *
 * A table says of each message which member of the JSON is which field. What JSON leaves open the
 * messages say: a value that may be one of several things is wrapped in a message with a field for
 * each, a map is a list of names and values, and what has no fixed form is a text. */
#include "plugins/apiserver/openapi_doc.h"

#include <string.h>

#include "base/err.h"
#include "plugins/object/decode.h"
#include "plugins/object/encode.h"
#include "plugins/object/protobuf.h"

enum proto_kind {
    PROTO_TEXT,
    PROTO_TEXTS,   /* repeated */
    PROTO_WRAPPED, /* a message whose field 1 is the text, or the texts */
    PROTO_TRUTH,
    PROTO_ANY,  /* {yaml = 2}: JSON is YAML */
    PROTO_ANYS, /* repeated */
    PROTO_MESSAGE,
    PROTO_MESSAGES, /* repeated */
    PROTO_MAP,      /* a message with a repeated field of {name = 1, value = 2} */
    PROTO_SECURITY, /* repeated maps of names to lists of texts */
};

struct proto_message;

struct proto_field {
    const char *name;
    uint8_t number;
    uint8_t kind;                   /* enum proto_kind */
    uint8_t repeated;               /* of a map: the number of its repeated field */
    const struct proto_message *of; /* the message, or that of a map's values */
};

struct proto_message {
    const struct proto_field *fields; /* up to one without name */
    uint8_t extension;                /* the repeated field of x-...; 0 = none */
    /* What it is wrapped in, outermost first, by the value; 0 ends. NULL: nothing. */
    const struct proto_message *(*wrap)(const struct value *v, uint8_t numbers[4]);
};

/* ---- schemas ------------------------------------------------------------------------------- */

static const struct proto_message schema_message;

/* Schema or boolean; the documents have schemas only. */
static const struct proto_message *wrap_first(const struct value *v, uint8_t numbers[4])
{
    numbers[0] = 1;
    return &schema_message;
}

static const struct proto_message first_schema = {.wrap = wrap_first};

static const struct proto_field schema_table[] = {
    {"$ref", 1, PROTO_TEXT, 0, NULL},
    {"format", 2, PROTO_TEXT, 0, NULL},
    {"description", 4, PROTO_TEXT, 0, NULL},
    {"default", 5, PROTO_ANY, 0, NULL},
    {"required", 19, PROTO_TEXTS, 0, NULL},
    {"enum", 20, PROTO_ANYS, 0, NULL},
    {"additionalProperties", 21, PROTO_MESSAGE, 0, &first_schema},
    {"type", 22, PROTO_WRAPPED, 0, NULL},
    {"items", 23, PROTO_MESSAGE, 0, &first_schema},
    {"allOf", 24, PROTO_MESSAGES, 0, &schema_message},
    {"properties", 25, PROTO_MAP, 1, &schema_message},
    {0},
};
static const struct proto_message schema_message = {schema_table, 31, NULL};

/* ---- operations ---------------------------------------------------------------------------- */

static const struct proto_field body_table[] = {
    {"name", 2, PROTO_TEXT, 0, NULL},
    {"in", 3, PROTO_TEXT, 0, NULL},
    {"required", 4, PROTO_TRUTH, 0, NULL},
    {"schema", 5, PROTO_MESSAGE, 0, &schema_message},
    {0},
};
static const struct proto_field query_table[] = {
    {"required", 1, PROTO_TRUTH, 0, NULL},
    {"in", 2, PROTO_TEXT, 0, NULL},
    {"description", 3, PROTO_TEXT, 0, NULL},
    {"name", 4, PROTO_TEXT, 0, NULL},
    {"type", 6, PROTO_TEXT, 0, NULL},
    {"uniqueItems", 20, PROTO_TRUTH, 0, NULL},
    {0},
};
static const struct proto_field path_parameter_table[] = {
    {"required", 1, PROTO_TRUTH, 0, NULL},
    {"in", 2, PROTO_TEXT, 0, NULL},
    {"description", 3, PROTO_TEXT, 0, NULL},
    {"name", 4, PROTO_TEXT, 0, NULL},
    {"type", 5, PROTO_TEXT, 0, NULL},
    {"uniqueItems", 19, PROTO_TRUTH, 0, NULL},
    {0},
};
static const struct proto_message body_message = {body_table, 6, NULL};
static const struct proto_message query_message = {query_table, 23, NULL};
static const struct proto_message path_parameter_message = {path_parameter_table, 22, NULL};

/* A parameter (not a reference to one): of the body, or of the query or path. */
static const struct proto_message *wrap_parameter(const struct value *v, uint8_t numbers[4])
{
    const struct value *in = value_map_cget(v, "in");
    bool query = value_is_text(in, "query");
    numbers[0] = 1;
    numbers[1] = 1;
    if (value_is_text(in, "body")) {
        return &body_message;
    }
    numbers[1] = 2;
    numbers[2] = query ? 3 : 4;
    return query ? &query_message : &path_parameter_message;
}

static const struct proto_message parameter_message = {.wrap = wrap_parameter};

static const struct proto_field response_table[] = {
    {"description", 1, PROTO_TEXT, 0, NULL},
    {"schema", 2, PROTO_MESSAGE, 0, &first_schema},
    {0},
};
static const struct proto_message bare_response_message = {response_table, 5, NULL};

static const struct proto_message *wrap_response(const struct value *v, uint8_t numbers[4])
{
    numbers[0] = 1;
    return &bare_response_message;
}

static const struct proto_message response_message = {.wrap = wrap_response};

static const struct proto_field operation_table[] = {
    {"description", 3, PROTO_TEXT, 0, NULL},
    {"operationId", 5, PROTO_TEXT, 0, NULL},
    {"produces", 6, PROTO_TEXTS, 0, NULL},
    {"consumes", 7, PROTO_TEXTS, 0, NULL},
    {"parameters", 8, PROTO_MESSAGES, 0, &parameter_message},
    {"responses", 9, PROTO_MAP, 1, &response_message},
    {0},
};
static const struct proto_message operation_message = {operation_table, 13, NULL};

static const struct proto_field path_table[] = {
    {"get", 2, PROTO_MESSAGE, 0, &operation_message},
    {"put", 3, PROTO_MESSAGE, 0, &operation_message},
    {"post", 4, PROTO_MESSAGE, 0, &operation_message},
    {"delete", 5, PROTO_MESSAGE, 0, &operation_message},
    {"options", 6, PROTO_MESSAGE, 0, &operation_message},
    {"head", 7, PROTO_MESSAGE, 0, &operation_message},
    {"patch", 8, PROTO_MESSAGE, 0, &operation_message},
    {"parameters", 9, PROTO_MESSAGES, 0, &parameter_message},
    {0},
};
static const struct proto_message path_message = {path_table, 10, NULL};

/* ---- the document -------------------------------------------------------------------------- */

static const struct proto_field info_table[] = {
    {"title", 1, PROTO_TEXT, 0, NULL},
    {"version", 2, PROTO_TEXT, 0, NULL},
    {0},
};
static const struct proto_message info_message = {info_table, 7, NULL};

static const struct proto_field key_table[] = {
    {"type", 1, PROTO_TEXT, 0, NULL},
    {"name", 2, PROTO_TEXT, 0, NULL},
    {"in", 3, PROTO_TEXT, 0, NULL},
    {"description", 4, PROTO_TEXT, 0, NULL},
    {0},
};
static const struct proto_message bare_key_message = {key_table, 5, NULL};

static const struct proto_message *wrap_key(const struct value *v, uint8_t numbers[4])
{
    numbers[0] = 2;
    return &bare_key_message;
}

static const struct proto_message key_message = {.wrap = wrap_key};

static const struct proto_field document_table[] = {
    {"swagger", 1, PROTO_TEXT, 0, NULL},
    {"info", 2, PROTO_MESSAGE, 0, &info_message},
    {"paths", 8, PROTO_MAP, 2, &path_message},
    {"definitions", 9, PROTO_MAP, 1, &schema_message},
    {"security", 12, PROTO_SECURITY, 0, NULL},
    {"securityDefinitions", 13, PROTO_MAP, 1, &key_message},
    {0},
};
static const struct proto_message document_message = {document_table, 16, NULL};

/* ---- writing ------------------------------------------------------------------------------- */

static int put_message(unsigned number, const struct proto_message *m, const struct value *v,
                       struct buf *out);

static void put_any(unsigned number, const struct value *v, struct buf *out)
{
    size_t any = protobuf_begin(out, number);
    size_t yaml = protobuf_begin(out, 2);
    encode_json(NULL, v, out);
    protobuf_end(out, yaml);
    protobuf_end(out, any);
}

static void put_texts(unsigned number, const struct value *v, struct buf *out)
{
    if (v->kind == VALUE_TEXT) {
        protobuf_put_bytes(number, value_slice(v), out);
    }
    for (size_t i = 0; v->kind == VALUE_LIST && i < v->len; i++) {
        protobuf_put_bytes(number, value_slice(&v->items[i]), out);
    }
}

static int put_map(const struct proto_field *f, const struct value *v, struct buf *out)
{
    int rc = 0;
    size_t map = protobuf_begin(out, f->number);
    for (size_t i = 0; i < value_len(v) && rc == 0; i++) {
        size_t named = protobuf_begin(out, f->repeated);
        protobuf_put_bytes(1, value_map_key(v, i), out);
        rc = put_message(2, f->of, value_map_at(v, i), out);
        protobuf_end(out, named);
    }
    protobuf_end(out, map);
    return rc;
}

static void put_security(unsigned number, const struct value *v, struct buf *out)
{
    for (size_t i = 0; i < value_len(v); i++) {
        size_t requirement = protobuf_begin(out, number);
        for (size_t k = 0; k < value_len(&v->items[i]); k++) {
            size_t named = protobuf_begin(out, 1);
            protobuf_put_bytes(1, value_map_key(&v->items[i], k), out);
            size_t texts = protobuf_begin(out, 2);
            put_texts(1, value_map_at(&v->items[i], k), out);
            protobuf_end(out, texts);
            protobuf_end(out, named);
        }
        protobuf_end(out, requirement);
    }
}

static int put_field(const struct proto_field *f, const struct value *v, struct buf *out)
{
    int rc = 0;
    size_t begin;
    switch (f->kind) {
    case PROTO_TEXT:
    case PROTO_TEXTS:
        put_texts(f->number, v, out);
        break;
    case PROTO_WRAPPED:
        begin = protobuf_begin(out, f->number);
        put_texts(1, v, out);
        protobuf_end(out, begin);
        break;
    case PROTO_TRUTH:
        protobuf_put_int(f->number, v->boolean, out);
        break;
    case PROTO_ANY:
        put_any(f->number, v, out);
        break;
    case PROTO_ANYS:
        for (size_t i = 0; i < value_len(v); i++) {
            put_any(f->number, &v->items[i], out);
        }
        break;
    case PROTO_MESSAGE:
        return put_message(f->number, f->of, v, out);
    case PROTO_MESSAGES:
        for (size_t i = 0; i < value_len(v) && rc == 0; i++) {
            rc = put_message(f->number, f->of, &v->items[i], out);
        }
        break;
    case PROTO_MAP:
        return put_map(f, v, out);
    default:
        put_security(f->number, v, out);
    }
    return rc;
}

static void put_extension(unsigned number, struct slice name, const struct value *v,
                          struct buf *out)
{
    size_t named = protobuf_begin(out, number);
    protobuf_put_bytes(1, name, out);
    put_any(2, v, out);
    protobuf_end(out, named);
}

/* The members of an object. ERR_INVALID: one that the message has no field for. */
static int put_members(const struct proto_message *m, const struct value *v, struct buf *out)
{
    if (v->kind != VALUE_MAP) {
        return ERR_INVALID;
    }
    for (size_t i = 0; i < v->len; i++) {
        struct slice name = value_map_key(v, i);
        const struct proto_field *f = m->fields;
        while (f->name != NULL && !slice_eq(name, slice_str(f->name))) {
            f++;
        }
        if (f->name != NULL) {
            int rc = put_field(f, value_map_at(v, i), out);
            if (rc != 0) {
                return rc;
            }
        } else if (slice_starts_with(name, slice_str("x-")) && m->extension != 0) {
            put_extension(m->extension, name, value_map_at(v, i), out);
        } else {
            return ERR_INVALID;
        }
    }
    return 0;
}

static int put_message(unsigned number, const struct proto_message *m, const struct value *v,
                       struct buf *out)
{
    uint8_t numbers[4] = {0};
    size_t begins[5];
    size_t depth = 0;
    begins[depth++] = protobuf_begin(out, number);
    if (m->wrap != NULL) {
        m = m->wrap(v, numbers);
        for (size_t i = 0; numbers[i] != 0; i++) {
            begins[depth++] = protobuf_begin(out, numbers[i]);
        }
    }
    int rc = put_members(m, v, out);
    while (depth > 0) {
        protobuf_end(out, begins[--depth]);
    }
    return rc;
}

int openapi_protobuf(struct slice json, struct buf *out)
{
    struct arena a;
    struct value v;
    struct errmsg e;
    arena_init(&a, 0);
    int rc = decode_json(json, NULL, &a, &v, NULL, &e);
    rc = rc == 0 ? put_members(&document_message, &v, out) : rc;
    arena_close(&a);
    return rc == 0 && out->failed ? ERR_NOMEM : rc;
}
