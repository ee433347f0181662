/* authorize.c - the rules, and how they are matched. */
#include "plugins/apiserver/authorize.h"

#include "plugins/object/encode.h"

/* Lists have commas between. Resources: "*" is everything, also subresources. */
struct rule {
    const char *subject; /* a user, or with `group` a group */
    bool group;
    const char *verbs;
    const char *groups, *resources; /* NULL: not about resources */
    const char *space;              /* NULL: everywhere */
    const char *urls;               /* NULL: not about paths */
};

#define EVERYBODY(list)                                                 \
    {"system:authenticated", true, "get", NULL, NULL, NULL, (list)},    \
    {                                                                   \
        "system:unauthenticated", true, "get", NULL, NULL, NULL, (list) \
    }
#define CONTROLLERS "kvd:plugin:controllers"
#define SCHEDULER   "kvd:plugin:scheduler"
#define HOLLOW      "kvd:plugin:hollow-node"
#define READ        "get,list,watch"

static const struct rule rules[] = {
    /* system:masters comes first in authorize_allows. */
    EVERYBODY("/healthz,/livez,/livez/*,/readyz,/readyz/*,/version,/version/"),
    {"system:authenticated", true, "get", NULL, NULL, NULL,
     "/api,/api/*,/apis,/apis/*,/openapi,/openapi/*"},
    {"system:authenticated", true, "create", "authentication.k8s.io", "selfsubjectreviews", NULL,
     NULL},
    {"system:authenticated", true, "create", "authorization.k8s.io",
     "selfsubjectaccessreviews,selfsubjectrulesreviews", NULL, NULL},
    {"system:serviceaccounts", true, "get", NULL, NULL, NULL,
     "/.well-known/openid-configuration,/.well-known/openid-configuration/,/openid/v1/jwks,"
     "/openid/v1/jwks/"},

    /* The controllers as the bootstrap roles have them together: collector and namespaces look at
     * and remove whatever there is; what is made and changed stands by name. */
    {CONTROLLERS, false, READ ",delete,deletecollection,patch,update", "*", "*", NULL, NULL},
    {CONTROLLERS, false, "create", "",
     "pods,endpoints,events,serviceaccounts,serviceaccounts/token,secrets,configmaps,"
     "pods/eviction",
     NULL, NULL},
    {CONTROLLERS, false, "create", "apps", "replicasets,controllerrevisions", NULL, NULL},
    {CONTROLLERS, false, "create", "discovery.k8s.io", "endpointslices", NULL, NULL},
    {CONTROLLERS, false, "create", "events.k8s.io", "events", NULL, NULL},
    {CONTROLLERS, false, "create", "coordination.k8s.io", "leases", NULL, NULL},
    {CONTROLLERS, false, "get", NULL, NULL, NULL, "/api,/api/*,/apis,/apis/*"},

    {SCHEDULER, false, READ, "",
     "nodes,pods,namespaces,services,replicationcontrollers,persistentvolumes,"
     "persistentvolumeclaims",
     NULL, NULL},
    {SCHEDULER, false, READ, "apps", "replicasets,statefulsets", NULL, NULL},
    {SCHEDULER, false, READ, "policy", "poddisruptionbudgets", NULL, NULL},
    {SCHEDULER, false, READ, "scheduling.k8s.io", "priorityclasses", NULL, NULL},
    {SCHEDULER, false, READ, "storage.k8s.io",
     "storageclasses,csinodes,csidrivers,csistoragecapacities", NULL, NULL},
    {SCHEDULER, false, "delete", "", "pods", NULL, NULL},
    {SCHEDULER, false, "create", "", "bindings,pods/binding", NULL, NULL},
    {SCHEDULER, false, "patch,update", "", "pods/status", NULL, NULL},
    {SCHEDULER, false, "create,patch,update", ",events.k8s.io", "events", NULL, NULL},
    {SCHEDULER, false, READ ",create,update", "coordination.k8s.io", "leases", "kube-system", NULL},

    {HOLLOW, false, READ ",create,update,patch,delete", "", "nodes", NULL, NULL},
    {HOLLOW, false, "get,update,patch", "", "nodes/status,pods/status", NULL, NULL},
    {HOLLOW, false, READ ",delete", "", "pods", NULL, NULL},
    {HOLLOW, false, READ, "", "services,namespaces", NULL, NULL},
    {HOLLOW, false, READ ",create,update,patch,delete", "coordination.k8s.io", "leases",
     "kube-node-lease", NULL},
    {HOLLOW, false, "create,patch,update", ",events.k8s.io", "events", NULL, NULL},
};
#define RULE_COUNT (sizeof rules / sizeof rules[0])

/* Whether a list has a word; "*" in it means any. */
static bool list_has(const char *list, struct slice word)
{
    for (;;) {
        size_t n = strcspn(list, ",");
        if ((n == 1 && list[0] == '*') || slice_eq(slice_of(list, n), word)) {
            return true;
        }
        if (list[n] == 0) {
            return false;
        }
        list += n + 1;
    }
}

/* resource, or resource/sub. */
static bool list_has_resource(const char *list, const struct access *a)
{
    if (a->sub.len == 0) {
        return list_has(list, a->resource);
    }
    for (;;) {
        size_t n = strcspn(list, ",");
        struct slice item = slice_of(list, n);
        bool both = n == a->resource.len + 1 + a->sub.len && slice_starts_with(item, a->resource) &&
                    list[a->resource.len] == '/' &&
                    slice_eq(slice_of(list + n - a->sub.len, a->sub.len), a->sub);
        if (both || (n == 1 && list[0] == '*')) {
            return true;
        }
        if (list[n] == 0) {
            return false;
        }
        list += n + 1;
    }
}

/* Paths; a star at the end stands for anything. */
static bool list_has_path(const char *list, struct slice path)
{
    for (;;) {
        size_t n = strcspn(list, ",");
        bool star = n > 0 && list[n - 1] == '*';
        if (star ? slice_starts_with(path, slice_of(list, n - 1))
                 : slice_eq(path, slice_of(list, n))) {
            return true;
        }
        if (list[n] == 0) {
            return false;
        }
        list += n + 1;
    }
}

static bool rule_is_for(const struct rule *r, const struct user *u)
{
    struct slice subject = slice_str(r->subject);
    return r->group ? user_has_group(u, subject) : slice_eq(u->name, subject);
}

static bool rule_allows(const struct rule *r, const struct access *a)
{
    if (!list_has(r->verbs, a->verb)) {
        return false;
    }
    if (!a->is_resource) {
        return r->urls != NULL && list_has_path(r->urls, a->path);
    }
    return r->resources != NULL && list_has(r->groups, a->group) &&
           list_has_resource(r->resources, a) &&
           (r->space == NULL || slice_eq(a->space, slice_str(r->space)));
}

bool authorize_allows(const struct user *u, const struct access *a, const char **reason)
{
    *reason = "";
    if (user_has_group(u, slice_str("system:masters"))) {
        *reason = "allowed to group system:masters";
        return true;
    }
    for (size_t i = 0; i < RULE_COUNT; i++) {
        if (rule_is_for(&rules[i], u) && rule_allows(&rules[i], a)) {
            *reason = rules[i].group ? "allowed to a group of the user" : "allowed to the user";
            return true;
        }
    }
    return false;
}

/* ---- telling ------------------------------------------------------------------------------- */

static void rules_print_list(const char *name, const char *list, struct buf *out)
{
    buf_printf(out, "\"%s\":[", name);
    for (bool first = true;; first = false) {
        size_t n = strcspn(list, ",");
        buf_append_str(out, first ? "" : ",");
        encode_text(slice_of(list, n), out);
        if (list[n] == 0) {
            break;
        }
        list += n + 1;
    }
    buf_append_byte(out, ']');
}

void authorize_print_rules(const struct user *u, struct buf *out)
{
    static const struct rule all[] = {
        {"system:masters", true, "*", "*", "*", NULL, NULL},
        {"system:masters", true, "*", NULL, NULL, NULL, "*"},
    };
    for (int paths = 0; paths < 2; paths++) {
        bool first = true;
        buf_append_str(out, paths ? ",\"nonResourceRules\":[" : "\"resourceRules\":[");
        for (size_t i = 0; i < RULE_COUNT + 2; i++) {
            const struct rule *r = i < 2 ? &all[i] : &rules[i - 2];
            if (!rule_is_for(r, u) || (r->urls != NULL) != paths) {
                continue;
            }
            buf_append_str(out, first ? "{" : ",{");
            first = false;
            rules_print_list("verbs", r->verbs, out);
            buf_append_byte(out, ',');
            if (paths) {
                rules_print_list("nonResourceURLs", r->urls, out);
            } else {
                rules_print_list("apiGroups", r->groups, out);
                buf_append_byte(out, ',');
                rules_print_list("resources", r->resources, out);
            }
            buf_append_byte(out, '}');
        }
        buf_append_byte(out, ']');
    }
}
