/* router.c - see router.h. A sorted array: a server has some dozens of routes, and the first match
 * is the longest one. */
#include "rpc/router.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/limits.h"

void http_router_init(struct http_router *r)
{
    memset(r, 0, sizeof(*r));
}

struct router_entry *router_entry_ref(struct router_entry *entry)
{
    entry->refs++;
    return entry;
}

void router_entry_unref(struct router_entry *entry)
{
    if (entry != NULL && --entry->refs == 0) {
        mem_free(entry);
    }
}

void http_router_close(struct http_router *r)
{
    while (r->count > 0) {
        http_router_remove(r, r->entries[r->count - 1]);
    }
    mem_free(r->entries);
    memset(r, 0, sizeof(*r));
}

/* One block: the entry, then its texts. */
static struct router_entry *router_entry_new(const struct http_route *route)
{
    size_t size = sizeof(struct router_entry) + strlen(route->path) + 1;
    for (size_t i = 0; i < HTTP_ROUTE_METHODS && route->methods[i] != NULL; i++) {
        size += strlen(route->methods[i]) + 1;
    }
    struct router_entry *entry = mem_alloc(size);
    if (entry == NULL) {
        return NULL;
    }
    *entry = (struct router_entry){.route = *route, .path_len = strlen(route->path), .refs = 1};
    char *at = (char *)(entry + 1);
    entry->route.path = at;
    memcpy(at, route->path, entry->path_len + 1);
    at += entry->path_len + 1;
    for (size_t i = 0; i < HTTP_ROUTE_METHODS && route->methods[i] != NULL; i++) {
        size_t len = strlen(route->methods[i]) + 1;
        memcpy(at, route->methods[i], len);
        entry->route.methods[i] = at;
        at += len;
    }
    return entry;
}

static bool route_has_method(const struct http_route *route, struct slice method)
{
    for (size_t i = 0; i < HTTP_ROUTE_METHODS && route->methods[i] != NULL; i++) {
        if (slice_eq(slice_str(route->methods[i]), method)) {
            return true;
        }
    }
    return route->methods[0] == NULL;
}

static bool route_same_pattern(const struct http_route *a, const struct http_route *b)
{
    return a->prefix == b->prefix && strcmp(a->path, b->path) == 0;
}

static bool route_clashes(const struct http_route *a, const struct http_route *b)
{
    if (!route_same_pattern(a, b)) {
        return false;
    }
    bool clash = a->methods[0] == NULL || b->methods[0] == NULL;
    for (size_t i = 0; i < HTTP_ROUTE_METHODS && b->methods[i] != NULL; i++) {
        clash = clash || route_has_method(a, slice_str(b->methods[i]));
    }
    return clash;
}

static int router_check(const struct http_router *r, const struct http_route *route,
                        struct errmsg *e)
{
    if (route->path == NULL || route->path[0] != '/' || route->handler == NULL) {
        return errmsg_set(e, ERR_INVALID, "route %s: a path begins with '/' and needs a handler",
                          route->path != NULL ? route->path : "");
    }
    if (route->methods[HTTP_ROUTE_METHODS - 1] != NULL) {
        return errmsg_set(e, ERR_INVALID, "route %s: more than %d methods", route->path,
                          HTTP_ROUTE_METHODS - 1);
    }
    for (size_t i = 0; i < r->count; i++) {
        if (route_clashes(&r->entries[i]->route, route)) {
            return errmsg_set(e, ERR_INVALID, "route %s: there is one already", route->path);
        }
    }
    return 0;
}

/* Exact before prefix of the same length, longer before shorter. */
static bool router_before(const struct router_entry *a, const struct router_entry *b)
{
    if (a->path_len != b->path_len) {
        return a->path_len > b->path_len;
    }
    return !a->route.prefix && b->route.prefix;
}

int http_router_add(struct http_router *r, const struct http_route *route,
                    struct router_entry **out, struct errmsg *e)
{
    int err = router_check(r, route, e);
    if (err != 0) {
        return err;
    }
    if (r->count == RPC_ROUTES_MAX) {
        return errmsg_set(e, ERR_NOMEM, "route %s: more than %u routes", route->path,
                          RPC_ROUTES_MAX);
    }
    if (r->count == r->cap) {
        size_t cap = r->cap == 0 ? 16 : r->cap * 2;
        struct router_entry **entries = mem_realloc(r->entries, cap * sizeof(*entries));
        if (entries == NULL) {
            return errmsg_set(e, ERR_NOMEM, "route %s: out of memory", route->path);
        }
        r->entries = entries;
        r->cap = cap;
    }
    struct router_entry *entry = router_entry_new(route);
    if (entry == NULL) {
        return errmsg_set(e, ERR_NOMEM, "route %s: out of memory", route->path);
    }
    size_t at = r->count++;
    for (; at > 0 && router_before(entry, r->entries[at - 1]); at--) {
        r->entries[at] = r->entries[at - 1];
    }
    r->entries[at] = entry;
    if (out != NULL) {
        *out = entry;
    }
    return 0;
}

void http_router_remove(struct http_router *r, struct router_entry *entry)
{
    size_t at = 0;
    while (at < r->count && r->entries[at] != entry) {
        at++;
    }
    FATAL_IF(at == r->count, "a route was removed that is not there");
    r->count--;
    memmove(&r->entries[at], &r->entries[at + 1], (r->count - at) * sizeof(struct router_entry *));
    entry->removed = true;
    router_entry_unref(entry);
}

static bool router_matches(const struct router_entry *entry, struct slice path)
{
    if (entry->path_len > path.len || memcmp(path.data, entry->route.path, entry->path_len) != 0) {
        return false;
    }
    return entry->route.prefix || entry->path_len == path.len;
}

static void router_allow(const struct http_route *route, struct buf *allow)
{
    for (size_t i = 0; i < HTTP_ROUTE_METHODS && route->methods[i] != NULL; i++) {
        buf_append_str(allow, allow->len > 0 ? ", " : "");
        buf_append_str(allow, route->methods[i]);
    }
}

struct router_entry *http_router_find(const struct http_router *r, struct slice path,
                                      struct slice method, struct buf *allow)
{
    const struct http_route *best = NULL;
    bool head = slice_eq(method, slice_str("HEAD"));
    for (size_t i = 0; i < r->count; i++) {
        struct router_entry *entry = r->entries[i];
        if (!router_matches(entry, path)) {
            continue;
        }
        if (best != NULL && !route_same_pattern(best, &entry->route)) {
            break; /* shorter ones do not stand in for a method */
        }
        best = &entry->route;
        if (route_has_method(best, method) || (head && route_has_method(best, slice_str("GET")))) {
            return entry;
        }
        router_allow(best, allow);
    }
    return NULL;
}
