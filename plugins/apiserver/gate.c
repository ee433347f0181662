/* gate.c - who may do what: deny by default. */
#include "plugins/apiserver/gate.h"

#include <stdio.h>

/* What everybody may read, as system:public-info-viewer does. */
static bool gate_is_public(struct slice path)
{
    static const char *const paths[] = {"/version", "/version/", "/healthz", "/livez", "/readyz"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        if (slice_eq(path, slice_str(paths[i]))) {
            return true;
        }
    }
    return slice_starts_with(path, slice_str("/livez/")) ||
           slice_starts_with(path, slice_str("/readyz/"));
}

/* The other plugins of the control plane. */
static bool gate_is_ours(struct slice user)
{
    static const char *const ours[] = {"kvd:plugin:controllers", "kvd:plugin:scheduler",
                                       "kvd:plugin:hollow-node"};
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
        if (slice_eq(user, slice_str(ours[i]))) {
            return true;
        }
    }
    return false;
}

bool gate_lets_pass(struct exchange *ex, const struct kvp_identity *identity,
                    struct status *refusal)
{
    const struct request *r = &ex->request;
    struct arena *a = &ex->arena;
    struct slice user = slice_of_kvp(identity->user);
    if (ex->api->conf->insecure_allow_all || gate_is_public(r->path) || gate_is_ours(user)) {
        return true;
    }
    if (!identity->authenticated) {
        *refusal = status_unauthorized(a);
        return false;
    }
    if (r->kind == NULL) {
        struct status_about nothing = {0};
        *refusal = status_forbidden(a, &nothing, "User \"%.*s\" cannot %s path \"%.*s\"",
                                    (int)user.len, (const char *)user.data,
                                    slice_eq(r->method, slice_str("GET")) ? "get" : "use",
                                    (int)r->path.len, (const char *)r->path.data);
        return false;
    }
    struct status_about about = request_about(r);
    char scope[300] = "at the cluster scope";
    if (r->space.len > 0) {
        snprintf(scope, sizeof scope, "in the namespace \"%.*s\"", (int)r->space.len,
                 (const char *)r->space.data);
    }
    *refusal = status_forbidden(
        a, &about, "User \"%.*s\" cannot %s resource \"%.*s%s%.*s\" in API group \"%.*s\" %s",
        (int)user.len, (const char *)user.data, request_verb_name(r->verb), (int)r->resource.len,
        (const char *)r->resource.data, r->sub.len > 0 ? "/" : "", (int)r->sub.len,
        (const char *)r->sub.data, (int)r->group.len, (const char *)r->group.data, scope);
    return false;
}
