/* authorize.h - what a user may do. Denied unless a rule allows it. Pure; any thread.
 *
 * The rules are the table in authorize.c: what every cluster has for everybody, and what each
 * plugin of the control plane needs for its work. Roles and bindings of the store do not count yet.
 */
#ifndef KVD_APISERVER_AUTHORIZE_H
#define KVD_APISERVER_AUTHORIZE_H

#include "base/buf.h"
#include "plugins/apiserver/user.h"

/* What is to be done. Of a resource: verb, group, resource, sub, name, space; else verb and path.
 */
struct access {
    bool is_resource;
    struct slice verb;
    struct slice group, resource, sub, name, space;
    struct slice path;
};

/* True: allowed; *reason says by what, for reviews (static text). */
bool authorize_allows(const struct user *u, const struct access *a, const char **reason);
/* Appends the rules that hold for a user as members of a SubjectRulesReview's status:
 * "resourceRules":[...],"nonResourceRules":[...] */
void authorize_print_rules(const struct user *u, struct buf *out);

#endif
