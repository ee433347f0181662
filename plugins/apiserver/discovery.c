/* discovery.c - /, /version, and which groups, versions and resources there are. */
#include "plugins/apiserver/discovery.h"

#include <inttypes.h>
#include <stdio.h>

#include "plugins/apiserver/health.h"
#include "plugins/apiserver/media.h"
#include "plugins/apiserver/oidc.h"
#include "plugins/apiserver/openapi.h"
#include "plugins/object/encode.h"

/* Clients prefer earlier groups; those not served are left out. */
static const char *const groups[] = {
    "apiregistration.k8s.io",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
    "resource.k8s.io",
    "flowcontrol.apiserver.k8s.io",
};
#define GROUP_COUNT (sizeof groups / sizeof groups[0])

static const char version[] =
    "{\"major\":\"1\",\"minor\":\"35\",\"emulationMajor\":\"1\",\"emulationMinor\":\"35\","
    "\"minCompatibilityMajor\":\"1\",\"minCompatibilityMinor\":\"34\",\"gitVersion\":\"v1.35.4\","
    "\"gitCommit\":\"\",\"gitTreeState\":\"clean\",\"buildDate\":\"1970-01-01T00:00:00Z\","
    "\"goVersion\":\"none\",\"compiler\":\"gcc\",\"platform\":\"linux/amd64\"}";

static bool is(struct slice s, const char *text)
{
    return slice_eq(s, slice_str(text));
}

static const struct schema_type *type_of(const struct schema_resource *r)
{
    return schema_at(r, r->type);
}

static bool in_group(const struct schema_resource *r, struct slice group)
{
    return request_serves(r, NULL) && is(group, schema_text(type_of(r), type_of(r)->group));
}

/* The resource of a group that follows another one by name (NULL: the first); NULL: none does. */
static const struct schema_resource *next_resource(struct slice group,
                                                   const struct schema_resource *last)
{
    const struct schema_resource *next = NULL;
    for (size_t i = 0; i < schema_resource_count; i++) {
        const struct schema_resource *r = schema_resources + i;
        const char *name = schema_text(r, r->plural);
        if (in_group(r, group) &&
            (last == NULL || strcmp(name, schema_text(last, last->plural)) > 0) &&
            (next == NULL || strcmp(name, schema_text(next, next->plural)) < 0)) {
            next = r;
        }
    }
    return next;
}

/* The version of a group; NULL when nothing of it is served. There is one of each so far. */
static const char *group_version(struct slice group)
{
    for (size_t i = 0; i < schema_resource_count; i++) {
        const struct schema_resource *r = schema_resources + i;
        if (in_group(r, group)) {
            return schema_text(type_of(r), type_of(r)->version);
        }
    }
    return NULL;
}

static void print_words(const char *name, const char *list, struct buf *out)
{
    if (*list == 0) {
        return;
    }
    buf_printf(out, ",\"%s\":[", name);
    for (bool first = true; *list != 0; first = false) {
        size_t n = strcspn(list, ",");
        buf_append_str(out, first ? "" : ",");
        encode_text(slice_of(list, n), out);
        list += n + (list[n] == ',');
    }
    buf_append_byte(out, ']');
}

static void print_verbs(uint32_t verbs, struct buf *out)
{
    static const char *const names[] = {"create", "delete", "deletecollection", "get",
                                        "list",   "patch",  "update",           "watch"};
    bool first = true;
    buf_append_str(out, "\"verbs\":[");
    for (size_t i = 0; i < 8; i++) {
        if (verbs & 1u << i) {
            buf_printf(out, "%s\"%s\"", first ? "" : ",", names[i]);
            first = false;
        }
    }
    buf_append_byte(out, ']');
}

/* ---- plain --------------------------------------------------------------------------------- */

/* What a subresource takes or answers. */
static const struct schema_type *sub_type(const struct schema_resource *r,
                                          const struct schema_sub *sub)
{
    const struct schema_type *t = schema_at(sub, sub->type);
    return t == NULL ? type_of(r) : t;
}

/* Whether a subresource has a type of another group version than its resource. */
static bool is_foreign(const struct schema_resource *r, const struct schema_type *t)
{
    const struct schema_type *own = type_of(r);
    return !is(slice_str(schema_text(t, t->group)), schema_text(own, own->group)) ||
           !is(slice_str(schema_text(t, t->version)), schema_text(own, own->version));
}

static void print_subresource(const struct schema_resource *r, const struct schema_sub *sub,
                              struct buf *out)
{
    const struct schema_type *t = sub_type(r, sub);
    buf_printf(out, ",{\"name\":\"%s/%s\",\"singularName\":\"\",\"namespaced\":%s,",
               schema_text(r, r->plural), schema_text(sub, sub->name),
               r->rules & SCHEMA_RULE_NAMESPACED ? "true" : "false");
    if (is_foreign(r, t)) {
        buf_printf(out, "\"group\":\"%s\",\"version\":\"%s\",", schema_text(t, t->group),
                   schema_text(t, t->version));
    }
    buf_printf(out, "\"kind\":\"%s\",", schema_type_name(t));
    print_verbs(sub->verbs, out);
    buf_append_byte(out, '}');
}

static void print_resource(const struct schema_resource *r, struct buf *out)
{
    const struct schema_sub *subs = schema_at(r, r->subs);
    const char *hash = schema_text(r, r->storage_hash);
    buf_printf(out, "{\"name\":\"%s\",\"singularName\":\"%s\",\"namespaced\":%s,\"kind\":\"%s\",",
               schema_text(r, r->plural), schema_text(r, r->singular),
               r->rules & SCHEMA_RULE_NAMESPACED ? "true" : "false", schema_type_name(type_of(r)));
    print_verbs(r->verbs, out);
    print_words("shortNames", schema_text(r, r->short_names), out);
    print_words("categories", schema_text(r, r->categories), out);
    if (hash[0] != 0) {
        buf_printf(out, ",\"storageVersionHash\":\"%s\"", hash);
    }
    buf_append_byte(out, '}');
    for (size_t i = 0; i < r->sub_count; i++) {
        if (request_serves(r, subs + i)) {
            print_subresource(r, subs + i, out);
        }
    }
}

static void print_resources(struct slice group, const char *v, struct buf *out)
{
    bool first = true;
    buf_printf(out,
               "{\"kind\":\"APIResourceList\",\"apiVersion\":\"v1\",\"groupVersion\":\"%.*s%s%s\","
               "\"resources\":[",
               (int)group.len, (const char *)group.data, group.len > 0 ? "/" : "", v);
    for (const struct schema_resource *r = next_resource(group, NULL); r != NULL;
         r = next_resource(group, r)) {
        buf_append_str(out, first ? "" : ",");
        print_resource(r, out);
        first = false;
    }
    buf_append_str(out, "]}");
}

static void print_group(const char *group, const char *v, bool alone, struct buf *out)
{
    buf_printf(out,
               "{%s\"name\":\"%s\",\"versions\":[{\"groupVersion\":\"%s/%s\",\"version\":\"%s\"}],"
               "\"preferredVersion\":{\"groupVersion\":\"%s/%s\",\"version\":\"%s\"}}",
               alone ? "\"kind\":\"APIGroup\",\"apiVersion\":\"v1\"," : "", group, group, v, v,
               group, v, v);
}

static void print_groups(struct buf *out)
{
    bool first = true;
    buf_append_str(out, "{\"kind\":\"APIGroupList\",\"apiVersion\":\"v1\",\"groups\":[");
    for (size_t i = 0; i < GROUP_COUNT; i++) {
        const char *v = group_version(slice_str(groups[i]));
        if (v != NULL) {
            buf_append_str(out, first ? "" : ",");
            print_group(groups[i], v, false, out);
            first = false;
        }
    }
    buf_append_str(out, "]}");
}

static void print_core_versions(struct exchange *ex, struct buf *out)
{
    const struct apiserver *api = ex->api;
    char address[300];
    if (api->conf->advertise[0] != 0) {
        snprintf(address, sizeof address, "%s", api->conf->advertise);
    } else {
        snprintf(address, sizeof address, "%s:%" PRIu32, api->conf->address, api->port);
    }
    buf_append_str(out, "{\"kind\":\"APIVersions\",\"versions\":[\"v1\"],"
                        "\"serverAddressByClientCIDRs\":[{\"clientCIDR\":\"0.0.0.0/0\","
                        "\"serverAddress\":");
    encode_text(slice_str(address), out);
    buf_append_str(out, "}]}");
}

/* ---- aggregated ---------------------------------------------------------------------------- */

/* Group and version are told only where they are not those it stands in. */
static void print_response_kind(const struct schema_resource *r, const struct schema_type *t,
                                struct buf *out)
{
    bool foreign = is_foreign(r, t);
    buf_printf(out, "\"responseKind\":{\"group\":\"%s\",\"version\":\"%s\",\"kind\":\"%s\"}",
               foreign ? schema_text(t, t->group) : "", foreign ? schema_text(t, t->version) : "",
               schema_type_name(t));
}

static void print_discovered(const struct schema_resource *r, struct buf *out)
{
    const struct schema_sub *subs = schema_at(r, r->subs);
    bool first = true;
    buf_printf(out, "{\"resource\":\"%s\",", schema_text(r, r->plural));
    print_response_kind(r, type_of(r), out);
    buf_printf(out, ",\"scope\":\"%s\",\"singularResource\":\"%s\",",
               r->rules & SCHEMA_RULE_NAMESPACED ? "Namespaced" : "Cluster",
               schema_text(r, r->singular));
    print_verbs(r->verbs, out);
    print_words("shortNames", schema_text(r, r->short_names), out);
    print_words("categories", schema_text(r, r->categories), out);
    for (size_t i = 0; i < r->sub_count; i++) {
        if (request_serves(r, subs + i)) {
            buf_printf(out, "%s{\"subresource\":\"%s\",", first ? ",\"subresources\":[" : ",",
                       schema_text(subs + i, subs[i].name));
            print_response_kind(r, sub_type(r, subs + i), out);
            buf_append_byte(out, ',');
            print_verbs(subs[i].verbs, out);
            buf_append_byte(out, '}');
            first = false;
        }
    }
    buf_append_str(out, first ? "}" : "]}");
}

static void print_discovered_group(const char *group, struct buf *out)
{
    struct slice name = slice_str(group);
    bool first = true;
    if (name.len > 0) {
        buf_printf(out, "{\"metadata\":{\"name\":\"%s\"}", group);
    } else {
        buf_append_str(out, "{\"metadata\":{}");
    }
    buf_printf(out, ",\"versions\":[{\"version\":\"%s\",\"resources\":[", group_version(name));
    for (const struct schema_resource *r = next_resource(name, NULL); r != NULL;
         r = next_resource(name, r)) {
        buf_append_str(out, first ? "" : ",");
        print_discovered(r, out);
        first = false;
    }
    buf_append_str(out, "],\"freshness\":\"Current\"}]}");
}

static void print_aggregated(bool core, struct buf *out)
{
    bool first = true;
    buf_append_str(out, "{\"kind\":\"APIGroupDiscoveryList\",\"apiVersion\":"
                        "\"apidiscovery.k8s.io/v2\",\"metadata\":{},\"items\":[");
    if (core) {
        print_discovered_group("", out);
    }
    for (size_t i = 0; i < GROUP_COUNT && !core; i++) {
        if (group_version(slice_str(groups[i])) != NULL) {
            buf_append_str(out, first ? "" : ",");
            print_discovered_group(groups[i], out);
            first = false;
        }
    }
    buf_append_str(out, "]}");
}

/* ---- answers ------------------------------------------------------------------------------- */

/* FNV-1a: the tag only has to differ when the text does. */
static struct slice etag_of(struct exchange *ex, struct slice text)
{
    uint64_t h = 14695981039346656037ull;
    char tag[24];
    for (size_t i = 0; i < text.len; i++) {
        h = (h ^ text.data[i]) * 1099511628211ull;
    }
    snprintf(tag, sizeof tag, "\"%016" PRIX64 "\"", h);
    struct slice copy = arena_dup(&ex->arena, slice_str(tag));
    return copy.data == NULL ? slice_of("", 0) : copy;
}

static void answer_aggregated(struct exchange *ex, bool core)
{
    static const char type[] =
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    struct buf out;
    buf_init(&out);
    print_aggregated(core, &out);
    if (out.failed) {
        exchange_no_memory(ex);
    } else {
        ex->etag = etag_of(ex, buf_slice(&out));
        bool same = ex->etag.len > 0 && slice_eq(ex->etag, ex->none_match);
        exchange_answer(ex, same ? 304 : 200, type, same ? slice_of("", 0) : buf_slice(&out));
    }
    buf_close(&out);
}

static bool print_root(struct buf *out)
{
    buf_append_str(out, "{\"paths\":[\"/api\",\"/api/v1\",\"/apis\"");
    for (size_t i = 0; i < GROUP_COUNT; i++) {
        const char *v = group_version(slice_str(groups[i]));
        if (v != NULL) {
            buf_printf(out, ",\"/apis/%s\",\"/apis/%s/%s\"", groups[i], groups[i], v);
        }
    }
    buf_append_str(
        out, ",\"/healthz\",\"/livez\",\"/openapi/v2\",\"/openapi/v3\",\"/readyz\",\"/version\"]}");
    return true;
}

/* A path without its last slash, apart from the root. */
static struct slice without_slash(struct slice path)
{
    bool has = path.len > 1 && path.data[path.len - 1] == '/';
    return slice_of(path.data, path.len - has);
}

/* False: there is nothing. */
static bool discovery_print(struct exchange *ex, struct slice path, struct buf *out)
{
    const struct request *r = &ex->request;
    /* These two are for people, whoever asks. */
    ex->pretty = ex->pretty || is(path, "/") || is(path, "/version");
    if (is(path, "/")) {
        return print_root(out);
    }
    if (is(path, "/version")) {
        return buf_append_str(out, version) || true;
    }
    if (is(path, "/api")) {
        print_core_versions(ex, out);
        return true;
    }
    if (is(path, "/apis")) {
        print_groups(out);
        return true;
    }
    bool core = slice_starts_with(path, slice_str("/api/"));
    if (!core && !slice_starts_with(path, slice_str("/apis/"))) {
        return false;
    }
    const char *v = core == (r->group.len == 0) ? group_version(r->group) : NULL;
    if (v == NULL || (r->version.len > 0 && !is(r->version, v))) {
        return false;
    }
    if (r->version.len == 0) {
        char group[256];
        snprintf(group, sizeof group, "%.*s", (int)r->group.len, (const char *)r->group.data);
        print_group(group, v, true, out);
    } else {
        print_resources(r->group, v, out);
    }
    return true;
}

void discovery_answer(struct exchange *ex)
{
    struct slice path = without_slash(ex->request.path);
    struct buf out;
    if (!is(ex->request.method, "GET") && !is(ex->request.method, "HEAD")) {
        struct status_about nothing = {0};
        exchange_fail(ex, status_method(&ex->arena, &nothing, "the method"));
        return;
    }
    if (health_answer(ex, path) || oidc_answer(ex, path) || openapi_answer(ex, path)) {
        return;
    }
    if ((is(path, "/api") || is(path, "/apis")) && media_accepts_discovery(ex->accept)) {
        answer_aggregated(ex, is(path, "/api"));
        return;
    }
    buf_init(&out);
    bool found = discovery_print(ex, path, &out);
    if (!found) {
        exchange_answer(ex, 404, "text/plain; charset=utf-8", slice_str("404 page not found\n"));
    } else if (out.failed) {
        exchange_no_memory(ex);
    } else if (!media_accepts_json(ex->accept)) {
        exchange_fail(ex, status_not_acceptable(&ex->arena, MEDIA_ANSWERS));
    } else {
        exchange_json(ex, 200, buf_slice(&out));
    }
    buf_close(&out);
}
