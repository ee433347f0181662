/* request.c - paths and methods into requests. */
#include "plugins/apiserver/request.h"

#include "base/err.h"
#include "plugins/apiserver/url.h"

/* Parts of a path: a subresource needs eight, a proxy what is behind it. */
#define REQUEST_PARTS_MAX 64u

struct parts {
    struct slice items[REQUEST_PARTS_MAX];
    size_t count;
    size_t at;
    bool empty_last; /* a slash at the end */
};

static bool is(struct slice s, const char *text)
{
    return slice_eq(s, slice_str(text));
}

static int request_split(struct slice path, struct arena *a, struct parts *out)
{
    *out = (struct parts){0};
    for (size_t i = 1; i <= path.len;) {
        const uint8_t *end = i < path.len ? memchr(path.data + i, '/', path.len - i) : NULL;
        size_t len = end == NULL ? path.len - i : (size_t)(end - path.data) - i;
        if (len == 0) {
            out->empty_last = end == NULL;
            return end == NULL ? 0 : ERR_NOT_FOUND;
        }
        if (out->count == REQUEST_PARTS_MAX) {
            return ERR_NOT_FOUND;
        }
        struct slice *part = &out->items[out->count++];
        int rc = url_decode(slice_of(path.data + i, len), false, a, part);
        if (rc != 0) {
            return rc;
        }
        /* Parts become parts of keys: none may look like several, or like another place. */
        if (memchr(part->data, '/', part->len) != NULL || is(*part, ".") || is(*part, "..")) {
            return ERR_INVALID;
        }
        i += len + 1;
        if (end == NULL) {
            break;
        }
    }
    return 0;
}

static size_t parts_left(const struct parts *p)
{
    return p->count - p->at;
}

static struct slice parts_next(struct parts *p)
{
    return p->at < p->count ? p->items[p->at++] : slice_of("", 0);
}

const char *request_verb_name(enum request_verb verb)
{
    static const char *const names[] = {"other",  "get",   "list",   "watch",           "create",
                                        "update", "patch", "delete", "deletecollection"};
    return names[verb];
}

struct status_about request_about(const struct request *r)
{
    return (struct status_about){.group = r->group, .resource = r->resource, .name = r->name};
}

bool request_serves(const struct schema_resource *kind, const struct schema_sub *sub)
{
    static const char *const subs[] = {"status",      "finalize", "scale", "binding",
                                       "eviction",    "log",      "exec",  "attach",
                                       "portforward", "proxy",    "token"};
    if (!(kind->verbs & SCHEMA_VERB_GET)) {
        return sub == NULL; /* bindings and reviews: asked by creating one */
    }
    bool served = sub == NULL;
    for (size_t i = 0; i < sizeof subs / sizeof subs[0] && !served; i++) {
        served = strcmp(schema_text(sub, sub->name), subs[i]) == 0;
    }
    return served;
}

const struct schema_type *request_body_type(const struct request *r)
{
    const struct schema_type *t =
        r->subkind == NULL ? NULL : schema_at(r->subkind, r->subkind->type);
    return t == NULL ? r->type : t;
}

static const struct schema_sub *request_find_sub(const struct schema_resource *kind,
                                                 struct slice name)
{
    const struct schema_sub *subs = schema_at(kind, kind->subs);
    for (size_t i = 0; i < kind->sub_count; i++) {
        if (is(name, schema_text(subs + i, subs[i].name))) {
            return request_serves(kind, subs + i) ? subs + i : NULL;
        }
    }
    return NULL;
}

/* Which verb a method means; REQUEST_OTHER: none. */
static enum request_verb request_verb_of(const struct request *r, bool watch)
{
    bool named = r->name.len > 0;
    if (is(r->method, "GET") || is(r->method, "HEAD")) {
        if (watch && r->sub.len == 0) {
            return REQUEST_WATCH;
        }
        return named ? REQUEST_GET : REQUEST_LIST;
    }
    if (is(r->method, "POST")) {
        return named && r->sub.len == 0 ? REQUEST_OTHER : REQUEST_CREATE;
    }
    if (is(r->method, "DELETE")) {
        return named ? REQUEST_DELETE : REQUEST_DELETECOLLECTION;
    }
    if (!named) {
        return REQUEST_OTHER;
    }
    return is(r->method, "PUT")     ? REQUEST_UPDATE
           : is(r->method, "PATCH") ? REQUEST_PATCH
                                    : REQUEST_OTHER;
}

static bool request_allowed(const struct request *r)
{
    static const uint32_t verbs[] = {
        [REQUEST_OTHER] = 0,
        [REQUEST_GET] = SCHEMA_VERB_GET,
        [REQUEST_LIST] = SCHEMA_VERB_LIST,
        [REQUEST_WATCH] = SCHEMA_VERB_WATCH,
        [REQUEST_CREATE] = SCHEMA_VERB_CREATE,
        [REQUEST_UPDATE] = SCHEMA_VERB_UPDATE,
        [REQUEST_PATCH] = SCHEMA_VERB_PATCH,
        [REQUEST_DELETE] = SCHEMA_VERB_DELETE,
        [REQUEST_DELETECOLLECTION] = SCHEMA_VERB_DELETECOLLECTION,
    };
    uint32_t have = r->subkind != NULL ? r->subkind->verbs : r->kind->verbs;
    bool all_spaces = (r->kind->rules & SCHEMA_RULE_NAMESPACED) && r->space.len == 0;
    if (all_spaces && r->verb != REQUEST_LIST && r->verb != REQUEST_WATCH) {
        return false;
    }
    return (have & verbs[r->verb]) != 0;
}

/* Behind group and version. */
static int request_parse_resource(struct request *r, struct parts *p, bool watch)
{
    bool namespaced = false;
    bool prefix = is(p->items[p->at], "watch") && parts_left(p) > 1;
    p->at += prefix;
    if (is(p->items[p->at], "namespaces") && parts_left(p) > 2 &&
        !is(p->items[p->at + 2], "status") && !is(p->items[p->at + 2], "finalize")) {
        p->at++;
        r->space = parts_next(p);
        namespaced = true;
    }
    r->resource = parts_next(p);
    r->name = parts_next(p);
    r->sub = parts_next(p);
    r->kind = schema_find_resource(r->group, r->version, r->resource);
    bool proxy = is(r->sub, "proxy");
    if (r->kind == NULL || !request_serves(r->kind, NULL) ||
        (!proxy && (parts_left(p) > 0 || p->empty_last))) {
        return ERR_NOT_FOUND;
    }
    bool wants = (r->kind->rules & SCHEMA_RULE_NAMESPACED) != 0;
    if ((namespaced && !wants) || (!namespaced && wants && r->name.len > 0)) {
        return ERR_NOT_FOUND;
    }
    r->type = schema_at(r->kind, r->kind->type);
    if (r->sub.len > 0) {
        r->subkind = request_find_sub(r->kind, r->sub);
        if (r->subkind == NULL) {
            return ERR_NOT_FOUND;
        }
    }
    r->verb = request_verb_of(r, watch || prefix);
    if (prefix && r->verb != REQUEST_WATCH) {
        r->verb = REQUEST_OTHER; /* that prefix is there for watches alone */
        return ERR_REFUSED;
    }
    return request_allowed(r) ? 0 : ERR_REFUSED;
}

int request_parse(struct request *out, struct slice method, struct slice path, bool watch,
                  struct arena *a)
{
    struct parts p;
    *out = (struct request){.method = method, .path = path};
    if (path.len == 0 || path.data[0] != '/') {
        return ERR_NOT_FOUND;
    }
    int rc = request_split(path, a, &p);
    if (rc != 0) {
        return rc;
    }
    struct slice root = parts_next(&p);
    if (is(root, "api")) {
        out->version = parts_next(&p);
    } else if (is(root, "apis")) {
        out->group = parts_next(&p);
        out->version = parts_next(&p);
    } else {
        return 0;
    }
    return parts_left(&p) == 0 ? 0 : request_parse_resource(out, &p, watch);
}
