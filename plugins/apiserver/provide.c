/* provide.c - requests of other plugins. */
#include "plugins/apiserver/provide.h"

#include <inttypes.h>

#include "plugins/apiserver/authenticate.h"
#include "plugins/apiserver/carrier.h"
#include "plugins/apiserver/serve.h"
#include "plugins/apiserver/url.h"

static const struct {
    const char *method;
    enum request_verb verb;
    bool named; /* must have a name */
} meanings[] = {
    [KVP_VERB_GET] = {"GET", REQUEST_GET, true},
    [KVP_VERB_LIST] = {"GET", REQUEST_LIST, false},
    [KVP_VERB_WATCH] = {"GET", REQUEST_WATCH, false},
    [KVP_VERB_CREATE] = {"POST", REQUEST_CREATE, false},
    [KVP_VERB_UPDATE] = {"PUT", REQUEST_UPDATE, true},
    [KVP_VERB_PATCH] = {"PATCH", REQUEST_PATCH, true},
    [KVP_VERB_DELETE] = {"DELETE", REQUEST_DELETE, false},
    [KVP_VERB_BIND] = {"POST", REQUEST_CREATE, true},
};

static void provide_part(struct buf *path, struct slice part)
{
    if (part.len > 0) {
        buf_append_byte(path, '/');
        url_encode(part, path);
    }
}

static void provide_path(const struct kvp_object_request *r, struct buf *path)
{
    struct slice sub = slice_of_kvp(r->subresource);
    buf_append_str(path, r->group.len > 0 ? "/apis" : "/api");
    provide_part(path, slice_of_kvp(r->group));
    provide_part(path, slice_of_kvp(r->version));
    if (r->space.len > 0) {
        buf_append_str(path, "/namespaces");
        provide_part(path, slice_of_kvp(r->space));
    }
    provide_part(path, slice_of_kvp(r->resource));
    if (r->verb == KVP_VERB_BIND && sub.len == 0) {
        sub = slice_str("binding");
    }
    if (r->verb != KVP_VERB_CREATE || sub.len > 0) {
        provide_part(path, slice_of_kvp(r->name));
    }
    provide_part(path, sub);
}

static void provide_query(const struct kvp_object_request *r, struct buf *query)
{
    buf_append_slice(query, slice_of_kvp(r->query));
    if (r->revision > 0) {
        buf_printf(query, "&resourceVersion=%" PRId64, r->revision);
    }
    if (r->verb == KVP_VERB_WATCH) {
        buf_append_str(query, "&watch=true");
    }
}

/* The name of the plugin, or who else it is. */
static void provide_set_manager(struct exchange *ex, const struct kvp_identity *identity)
{
    struct slice user = slice_of_kvp(identity->user);
    struct slice prefix = slice_str("kvd:plugin:");
    if (slice_starts_with(user, prefix)) {
        user = slice_of(user.data + prefix.len, user.len - prefix.len);
    }
    ex->manager = arena_dup(&ex->arena, user);
}

/* Names are there where they are needed. False: answered. */
static bool provide_check(struct exchange *ex, const struct kvp_object_request *r)
{
    bool named = r->name.len > 0;
    if ((!named && meanings[r->verb].named) || (named && r->verb == KVP_VERB_LIST)) {
        exchange_fail(ex, status_bad_request(&ex->arena, "%s",
                                             named ? "a list is not of one name: use a field "
                                                     "selector of metadata.name"
                                                   : "the request needs a name"));
        return false;
    }
    return true;
}

static void provide_request(void *data, struct kvp_call *c, const struct kvp_object_request *r,
                            const struct kvp_identity *identity)
{
    struct apiserver *api = data;
    struct exchange *ex = carrier_call_begin(api, c, r);
    struct buf path;
    struct buf query;
    if (ex == NULL) {
        struct kvp_object_answer a = {.size = sizeof a, .status = 500};
        (void)api->host->call_answer(c, &a);
        return;
    }
    buf_init(&path);
    buf_init(&query);
    provide_path(r, &path);
    provide_query(r, &query);
    provide_set_manager(ex, identity);
    if (path.failed || query.failed || ex->body.failed || ex->manager.data == NULL) {
        exchange_no_memory(ex);
    } else if (provide_check(ex, r) &&
               serve_read(ex, slice_str(meanings[r->verb].method), buf_slice(&path),
                          buf_slice(&query)) &&
               authenticate_plugin(ex, identity) && serve_admit(ex)) {
        bool fits = ex->request.verb == meanings[r->verb].verb ||
                    (r->verb == KVP_VERB_DELETE && r->name.len == 0 &&
                     ex->request.verb == REQUEST_DELETECOLLECTION);
        if (fits) {
            ex->admitted = true;
            ex->body_done = true;
            serve_go(ex);
        } else {
            exchange_fail(ex, status_bad_request(&ex->arena, "the options do not fit the verb"));
        }
    }
    buf_close(&path);
    buf_close(&query);
}

static void provide_writable(void *data, struct kvp_call *c)
{
    struct exchange *ex = carrier_call_find(data, c);
    if (ex != NULL) {
        exchange_writable(ex);
    }
}

static void provide_canceled(void *data, struct kvp_call *c)
{
    struct exchange *ex = carrier_call_find(data, c);
    if (ex != NULL) {
        carrier_call_canceled(ex);
    }
}

int provide_open(struct apiserver *api)
{
    struct kvp_provide_args all = {
        .size = sizeof all,
        .group = kvp_str("*"),
        .version = kvp_str("*"),
        .resource = kvp_str("*"),
        .request = provide_request,
        .writable = provide_writable,
        .canceled = provide_canceled,
        .data = api,
    };
    hashmap_init(&api->calls);
    return api->host->provide(api->ctx, &all);
}

void provide_close(struct apiserver *api)
{
    carrier_call_close(api);
}
