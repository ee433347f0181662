/* openapi_path.c - what can be done at which path, in OpenAPI's words. */
#include "plugins/apiserver/openapi_doc.h"

#include <stdio.h>
#include <string.h>

#include "plugins/apiserver/media.h"
#include "plugins/apiserver/request.h"
#include "plugins/object/encode.h"

/* ---- parameters ---------------------------------------------------------------------------- */

enum parameter_place { PLACE_QUERY, PLACE_PATH };

struct parameter {
    const char *name, *type, *about;
};

static const struct parameter path_name = {"name", "string", "Name of the object."};
static const struct parameter path_namespace = {"namespace", "string",
                                                "Namespace the object is in."};
static const struct parameter pretty = {
    "pretty", "string",
    "Whether the answer is laid out for people; browsers, curl and wget need not ask."};
/* Each list ends with an empty entry. */
static const struct parameter list_parameters[] = {
    {"allowWatchBookmarks", "boolean", "A watch may have BOOKMARK events."},
    {"continue", "string", "Goes on behind the page whose answer had this."},
    {"fieldSelector", "string", "Only objects whose fields are so."},
    {"labelSelector", "string", "Only objects whose labels are so."},
    {"limit", "integer", "The most objects in an answer."},
    {"resourceVersion", "string", "The version to read at or to watch from."},
    {"resourceVersionMatch", "string", "How resourceVersion is meant: Exact or NotOlderThan."},
    {"sendInitialEvents", "boolean", "A watch begins with what is there."},
    {"timeoutSeconds", "integer", "A watch ends after so long."},
    {"watch", "boolean", "Tells changes as they come instead of a list."},
    {0},
};
static const struct parameter write_parameters[] = {
    {"dryRun", "string", "All: nothing is stored."},
    {"fieldManager", "string", "Who owns the fields set."},
    {"fieldValidation", "string", "What unknown and double fields mean: Ignore, Warn or Strict."},
    {0},
};
static const struct parameter patch_parameters[] = {
    {"dryRun", "string", "All: nothing is stored."},
    {"fieldManager", "string", "Who owns the fields set."},
    {"fieldValidation", "string", "What unknown and double fields mean: Ignore, Warn or Strict."},
    {"force", "boolean", "Apply: takes fields away from their owners."},
    {0},
};
static const struct parameter delete_parameters[] = {
    {"dryRun", "string", "All: nothing is deleted."},
    {"gracePeriodSeconds", "integer", "Time to end in."},
    {"orphanDependents", "boolean", "Old form of propagationPolicy."},
    {"propagationPolicy", "string",
     "What becomes of dependents: Orphan, Background or Foreground."},
    {0},
};
static const struct parameter collection_parameters[] = {
    {"continue", "string", "Goes on behind the page whose answer had this."},
    {"dryRun", "string", "All: nothing is deleted."},
    {"fieldSelector", "string", "Only objects whose fields are so."},
    {"gracePeriodSeconds", "integer", "Time to end in."},
    {"labelSelector", "string", "Only objects whose labels are so."},
    {"limit", "integer", "The most objects."},
    {"orphanDependents", "boolean", "Old form of propagationPolicy."},
    {"propagationPolicy", "string",
     "What becomes of dependents: Orphan, Background or Foreground."},
    {"resourceVersion", "string", "The version to read at."},
    {"resourceVersionMatch", "string", "How resourceVersion is meant: Exact or NotOlderThan."},
    {0},
};
static const struct parameter no_parameters[] = {{0}};

static void print_parameter(const struct openapi_doc *d, const struct parameter *p,
                            enum parameter_place place, struct buf *out)
{
    buf_printf(out, "{\"name\":\"%s\",\"in\":\"%s\",\"description\":", p->name,
               place == PLACE_PATH ? "path" : "query");
    encode_text(slice_str(p->about), out);
    buf_append_str(out, place == PLACE_PATH ? ",\"required\":true," : ",");
    buf_printf(out,
               d->v3 ? "\"schema\":{\"type\":\"%s\",\"uniqueItems\":true}}"
                     : "\"type\":\"%s\",\"uniqueItems\":true}",
               p->type);
}

/* ---- operations ---------------------------------------------------------------------------- */

enum operation { LIST, POST, COLLECTION, GET, PUT, PATCH, DELETE, OPERATIONS };

static const struct {
    const char *method, *action, *prefix; /* prefix of the operation's id */
    uint32_t verb;
    const char *about;
    const struct parameter *parameters;
    bool creates; /* may answer 201 */
    bool later;   /* or 202 */
} operations[OPERATIONS] = {
    {"get", "list", "list", SCHEMA_VERB_LIST, "List or watch objects of kind", list_parameters,
     false, false},
    {"post", "post", "create", SCHEMA_VERB_CREATE, "Create a", write_parameters, true, true},
    {"delete", "deletecollection", "delete", SCHEMA_VERB_DELETECOLLECTION, "Delete all of kind",
     collection_parameters, false, false},
    {"get", "get", "read", SCHEMA_VERB_GET, "Read the", no_parameters, false, false},
    {"put", "put", "replace", SCHEMA_VERB_UPDATE, "Replace the", write_parameters, true, false},
    {"patch", "patch", "patch", SCHEMA_VERB_PATCH, "Change parts of the", patch_parameters, true,
     false},
    {"delete", "delete", "delete", SCHEMA_VERB_DELETE, "Delete the", delete_parameters, false,
     true},
};

/* One path: the kind it belongs to and the part of it. */
struct target {
    const struct schema_resource *kind;
    const struct schema_type *type; /* of the kind */
    const struct schema_type *body; /* what is read and written there */
    const char *sub;                /* "" = the object itself */
    bool everywhere;                /* all namespaces of a kind that has them */
};

static void print_title(const char *word, struct buf *out)
{
    buf_append_byte(out, word[0] >= 'a' && word[0] <= 'z' ? word[0] & ~0x20 : word[0]);
    buf_append_str(out, word + 1);
}

/* listAppsV1NamespacedDeployment, patchCoreV1NamespacedPodStatus, ... */
static void print_id(const struct target *t, enum operation op, struct buf *out)
{
    const char *group = schema_text(t->type, t->type->group);
    bool namespaced = (t->kind->rules & SCHEMA_RULE_NAMESPACED) != 0;
    char first[64];
    snprintf(first, sizeof first, "%.*s", (int)strcspn(group, "."), group);
    bool connects = openapi_connects(t->body);
    buf_append_str(out, connects ? "connect" : operations[op].prefix);
    print_title(group[0] == 0 ? "core" : first, out);
    print_title(schema_text(t->type, t->type->version), out);
    if (connects) {
        print_title(operations[op].method, out);
    }
    buf_append_str(out, op == COLLECTION ? "Collection" : "");
    buf_append_str(out, namespaced && !t->everywhere ? "Namespaced" : "");
    buf_append_str(out, schema_type_name(t->type));
    if (t->sub[0] != 0) {
        print_title(t->sub, out);
    }
    buf_append_str(out, t->everywhere ? "ForAllNamespaces" : "");
}

static const struct schema_type *answer_type(const struct target *t, enum operation op)
{
    bool status = op == DELETE || op == COLLECTION;
    return op == LIST ? schema_at(t->kind, t->kind->list_type)
           : status   ? schema_type(SCHEMA_META_V1_STATUS)
                      : t->body;
}

static void print_response(const struct openapi_doc *d, const char *code, const char *about,
                           const struct schema_type *type, struct buf *out)
{
    buf_printf(out, "\"%s\":{\"description\":\"%s\",%s", code, about,
               d->v3 ? "\"content\":{\"application/json\":{\"schema\":" : "\"schema\":");
    openapi_print_ref(d, type, out);
    buf_append_str(out, d->v3 ? "}}}," : "},");
}

/* Media types of the bodies of patches, each with its form. */
static void print_patch_body(const struct openapi_doc *d, struct buf *out)
{
    const char *types = MEDIA_PATCHES;
    buf_append_str(out, "\"requestBody\":{\"content\":{");
    for (bool first = true; *types != 0; first = false) {
        size_t n = strcspn(types, ",");
        buf_printf(out, "%s\"%.*s\":{\"schema\":", first ? "" : ",", (int)n, types);
        openapi_print_extra_ref(d, OPENAPI_PATCH, out);
        buf_append_byte(out, '}');
        types += n;
        types += strspn(types, ", ");
    }
    buf_append_str(out, "},\"required\":true},");
}

static bool has_body(enum operation op)
{
    return op != LIST && op != GET;
}

static void print_body(const struct openapi_doc *d, const struct target *t, enum operation op,
                       struct buf *out)
{
    bool removes = op == DELETE || op == COLLECTION;
    if (!has_body(op) || !d->v3) {
        return;
    }
    if (op == PATCH) {
        print_patch_body(d, out);
        return;
    }
    buf_append_str(out, "\"requestBody\":{\"content\":{\"*/*\":{\"schema\":");
    openapi_print_ref(d, removes ? schema_type(SCHEMA_META_V1_DELETE_OPTIONS) : t->body, out);
    buf_append_str(out, removes ? "}}}," : "}},\"required\":true},");
}

/* In version 2 the body is a parameter. */
static bool print_body_parameter(const struct openapi_doc *d, const struct target *t,
                                 enum operation op, struct buf *out)
{
    bool removes = op == DELETE || op == COLLECTION;
    if (d->v3 || !has_body(op)) {
        return false;
    }
    buf_printf(out, "{\"name\":\"body\",\"in\":\"body\"%s,\"schema\":",
               removes ? "" : ",\"required\":true");
    if (op == PATCH) {
        openapi_print_extra_ref(d, OPENAPI_PATCH, out);
    } else {
        openapi_print_ref(d, removes ? schema_type(SCHEMA_META_V1_DELETE_OPTIONS) : t->body, out);
    }
    buf_append_byte(out, '}');
    return true;
}

static const char *field_type(const struct schema_field *f)
{
    return f->kind == SCHEMA_BOOL                               ? "boolean"
           : f->kind == SCHEMA_INT32 || f->kind == SCHEMA_INT64 ? "integer"
                                                                : "string";
}

/* A connection that is handed on: its parameters are the fields of the body's type, its answer is
 * what the other end says. */
static void print_connect(const struct openapi_doc *d, const struct target *t, enum operation op,
                          struct buf *out)
{
    const struct schema_field *fields = schema_fields(t->body);
    bool comma = false;
    buf_printf(out, "\"%s\":{\"description\":\"Connect to %s of %s\",\"operationId\":\"",
               operations[op].method, t->sub, schema_type_name(t->type));
    print_id(t, op, out);
    buf_append_str(out, "\",\"parameters\":[");
    for (size_t i = 0; i < t->body->field_count; i++) {
        struct parameter p = {schema_field_name(fields + i), field_type(fields + i),
                              schema_text(fields + i, fields[i].about)};
        if (fields[i].number > 0) {
            buf_append_str(out, comma ? "," : "");
            print_parameter(d, &p, PLACE_QUERY, out);
            comma = true;
        }
    }
    buf_printf(out,
               "],%s\"responses\":{\"200\":{\"description\":\"OK\",%s},\"401\":{\"description\":"
               "\"Unauthorized\"}},\"x-kubernetes-action\":\"connect\","
               "\"x-kubernetes-group-version-kind\":{\"group\":\"%s\",\"kind\":\"%s\",\"version\":"
               "\"%s\"}}",
               d->v3 ? "" : "\"consumes\":[\"*/*\"],\"produces\":[\"*/*\"],",
               d->v3 ? "\"content\":{\"*/*\":{\"schema\":{\"type\":\"string\"}}}"
                     : "\"schema\":{\"type\":\"string\"}",
               schema_text(t->body, t->body->group), schema_type_name(t->body),
               schema_text(t->body, t->body->version));
}

static void print_operation(const struct openapi_doc *d, const struct target *t, enum operation op,
                            struct buf *out)
{
    const struct schema_type *about = t->body;
    if (openapi_connects(t->body)) {
        print_connect(d, t, op, out);
        return;
    }
    buf_printf(out, "\"%s\":{\"description\":\"%s %s\",\"operationId\":\"", operations[op].method,
               operations[op].about, schema_type_name(t->type));
    print_id(t, op, out);
    buf_append_str(out, "\",\"parameters\":[");
    bool comma = print_body_parameter(d, t, op, out);
    for (const struct parameter *p = operations[op].parameters; p->name != NULL; p++) {
        buf_append_str(out, comma ? "," : "");
        print_parameter(d, p, PLACE_QUERY, out);
        comma = true;
    }
    buf_append_str(out, "],");
    print_body(d, t, op, out);
    if (!d->v3) {
        buf_append_str(out, "\"consumes\":[\"*/*\"],\"produces\":[\"application/json\"],");
    }
    buf_append_str(out, "\"responses\":{");
    print_response(d, "200", "OK", answer_type(t, op), out);
    if (operations[op].creates) {
        print_response(d, "201", "Created", answer_type(t, op), out);
    }
    if (operations[op].later) {
        print_response(d, "202", "Accepted", answer_type(t, op), out);
    }
    buf_printf(out,
               "\"401\":{\"description\":\"Unauthorized\"}},\"x-kubernetes-action\":\"%s\","
               "\"x-kubernetes-group-version-kind\":{\"group\":\"%s\",\"kind\":\"%s\",\"version\":"
               "\"%s\"}}",
               operations[op].action, schema_text(about, about->group), schema_type_name(about),
               schema_text(about, about->version));
}

/* ---- paths --------------------------------------------------------------------------------- */

/* The operations of a path from first to last, as far as verbs allow; named: of one object. */
static void print_path(const struct openapi_doc *d, const struct target *t, uint32_t verbs,
                       bool named, enum operation first, enum operation last, struct buf *out)
{
    const char *group = schema_text(t->type, t->type->group);
    bool spaced = (t->kind->rules & SCHEMA_RULE_NAMESPACED) != 0 && !t->everywhere;
    buf_printf(out, "\"%s%s/%s%s/%s%s%s%s\":{", group[0] == 0 ? "/api" : "/apis/", group,
               schema_text(t->type, t->type->version), spaced ? "/namespaces/{namespace}" : "",
               schema_text(t->kind, t->kind->plural), named ? "/{name}" : "",
               t->sub[0] != 0 ? "/" : "", t->sub);
    for (int op = (int)first; op <= (int)last; op++) {
        if (verbs & operations[op].verb) {
            print_operation(d, t, (enum operation)op, out);
            buf_append_byte(out, ',');
        }
    }
    buf_append_str(out, "\"parameters\":[");
    if (named) {
        print_parameter(d, &path_name, PLACE_PATH, out);
        buf_append_byte(out, ',');
    }
    if (spaced) {
        print_parameter(d, &path_namespace, PLACE_PATH, out);
        buf_append_byte(out, ',');
    }
    print_parameter(d, &pretty, PLACE_QUERY, out);
    buf_append_str(out, "]}");
}

void openapi_print_paths(const struct openapi_doc *d, const struct schema_resource *kind,
                         struct buf *out)
{
    const struct schema_sub *subs = schema_at(kind, kind->subs);
    const struct schema_type *type = schema_at(kind, kind->type);
    struct target t = {.kind = kind, .type = type, .body = type, .sub = ""};
    bool listed = (kind->verbs & SCHEMA_VERB_LIST) != 0;
    if (listed && (kind->rules & SCHEMA_RULE_NAMESPACED) != 0) {
        t.everywhere = true;
        print_path(d, &t, kind->verbs, false, LIST, LIST, out);
        buf_append_byte(out, ',');
        t.everywhere = false;
    }
    print_path(d, &t, kind->verbs, false, LIST, COLLECTION, out);
    if (kind->verbs & SCHEMA_VERB_GET) {
        buf_append_byte(out, ',');
        print_path(d, &t, kind->verbs, true, GET, DELETE, out);
    }
    for (size_t i = 0; i < kind->sub_count; i++) {
        if (!request_serves(kind, subs + i)) {
            continue;
        }
        t.sub = schema_text(subs + i, subs[i].name);
        t.body = openapi_sub_type(kind, subs + i);
        buf_append_byte(out, ',');
        print_path(d, &t, subs[i].verbs, true, POST, DELETE, out);
    }
}
