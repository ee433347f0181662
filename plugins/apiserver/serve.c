/* serve.c - requests come in, are read, let pass or not, and given to their verb. */
#include "plugins/apiserver/serve.h"

#include <stdio.h>

#include "plugins/apiserver/authenticate.h"
#include "plugins/apiserver/body.h"
#include "plugins/apiserver/carrier.h"
#include "plugins/apiserver/deadline.h"
#include "plugins/apiserver/discovery.h"
#include "plugins/apiserver/gate.h"
#include "plugins/apiserver/pki.h"
#include "plugins/apiserver/review.h"
#include "plugins/apiserver/shape.h"
#include "plugins/apiserver/sub.h"
#include "plugins/apiserver/verbs.h"

/* A body may be one byte larger than allowed, so that the refusal is ours to word. */
#define SERVE_BODY_BYTES_MAX (3u * 1024u * 1024u)

static void serve_verb(void *data)
{
    struct exchange *ex = data;
    if (sub_answer(ex) || review_answer(ex)) {
        return;
    }
    switch (ex->request.verb) {
    case REQUEST_OTHER:
        discovery_answer(ex);
        return;
    case REQUEST_GET:
        verb_get(ex);
        return;
    case REQUEST_LIST:
        verb_list(ex);
        return;
    case REQUEST_WATCH:
        verb_watch(ex);
        return;
    case REQUEST_CREATE:
        verb_create(ex);
        return;
    case REQUEST_UPDATE:
    case REQUEST_PATCH:
        verb_update(ex);
        return;
    case REQUEST_DELETE:
        verb_delete(ex);
        return;
    case REQUEST_DELETECOLLECTION:
        verb_delete_collection(ex);
        return;
    }
}

bool serve_read(struct exchange *ex, struct slice method, struct slice path, struct slice query)
{
    struct arena *a = &ex->arena;
    struct errmsg e = {.text = ""};
    method = arena_dup(a, method);
    path = arena_dup(a, path);
    query = arena_dup(a, query);
    if (method.data == NULL || path.data == NULL || query.data == NULL) {
        exchange_no_memory(ex);
        return false;
    }
    ex->query_text = query;
    ex->bad_query = query_parse(&ex->query, query, a, &e);
    if (ex->bad_query != 0) {
        ex->query_why = arena_dup(a, slice_str(e.text));
    }
    ex->bad_path = request_parse(&ex->request, method, path, ex->query.watch, a);
    return true;
}

static void serve_refuse_method(struct exchange *ex)
{
    struct status_about about = request_about(&ex->request);
    const char *verb = request_verb_name(ex->request.verb);
    struct slice method = ex->request.method;
    char lower[16] = "";
    for (size_t i = 0; ex->request.verb == REQUEST_OTHER && i < method.len && i < 15; i++) {
        lower[i] = (char)(method.data[i] | 0x20);
    }
    exchange_fail(
        ex, status_method(&ex->arena, &about, ex->request.verb == REQUEST_OTHER ? lower : verb));
}

/* What is wrong with path and query is told to those who may ask only. False: answered. */
static bool serve_check(struct exchange *ex)
{
    struct status refusal;
    int rc = ex->bad_path;
    if (rc == ERR_NOMEM || ex->bad_query == ERR_NOMEM) {
        exchange_no_memory(ex);
    } else if (rc == ERR_INVALID) {
        exchange_fail(ex, status_bad_request(&ex->arena, "the path has an invalid part"));
    } else if (ex->impersonates) {
        struct status_about nothing = {0};
        exchange_fail(ex, status_forbidden(&ex->arena, &nothing,
                                           "this server does not let anybody act for others"));
    } else if (!gate_lets_pass(ex, &refusal)) {
        exchange_fail(ex, refusal);
    } else if (rc == ERR_NOT_FOUND) {
        exchange_no_path(ex);
    } else if (rc == ERR_REFUSED) {
        serve_refuse_method(ex);
    } else if (ex->bad_query != 0) {
        exchange_fail(ex, status_bad_request(&ex->arena, "%.*s", (int)ex->query_why.len,
                                             (const char *)ex->query_why.data));
    } else {
        return true;
    }
    return false;
}

bool serve_admit(struct exchange *ex)
{
    if (!serve_check(ex)) {
        return false;
    }
    if (ex->query.manager.len > 0) {
        ex->manager = ex->query.manager;
    } else if (ex->manager.len == 0) {
        ex->manager = slice_str("unknown");
    }
    ex->pretty = ex->query.pretty == QUERY_UNSET ? ex->human : ex->query.pretty == QUERY_ON;
    if (ex->request.kind != NULL) {
        const char *deprecated = schema_text(ex->request.kind, ex->request.kind->deprecated);
        if (deprecated[0] != 0) {
            exchange_warn(ex, slice_str(deprecated));
        }
        if (!shape_choose(ex)) {
            return false;
        }
    }
    return deadline_begin(ex);
}

static bool serve_translate(struct exchange *ex, void *data)
{
    return body_translate(ex);
}

void serve_go(struct exchange *ex)
{
    if (ex->admitted && ex->body_done) {
        exchange_work(ex, body_translate_bytes(ex), serve_translate, serve_verb, ex);
    }
}

/* Whoever asks is known; the body may be there already, or not. */
static void serve_authenticated(struct exchange *ex)
{
    ex->admitted = serve_admit(ex);
    serve_go(ex);
}

static void serve_begin(void *data, struct kvp_http *x, const struct kvp_http_request *r)
{
    struct apiserver *api = data;
    struct exchange *ex = carrier_http_begin(api, x, r);
    api->host->http_set_data(x, ex);
    if (ex == NULL) {
        api->host->http_abort(x);
        return;
    }
    if (serve_read(ex, slice_of_kvp(r->method), slice_of_kvp(r->path), slice_of_kvp(r->query))) {
        authenticate_http(ex, r, serve_authenticated);
    }
}

static void serve_body(void *data, struct kvp_http *x, struct kvp_bytes bytes, int last)
{
    struct apiserver *api = data;
    struct exchange *ex = api->host->http_data(x);
    if (ex == NULL || ex->answered) {
        return;
    }
    buf_append_slice(&ex->body, slice_of_kvp(bytes));
    if (ex->body.failed) {
        exchange_no_memory(ex);
    } else if (ex->body.len > SERVE_BODY_BYTES_MAX) {
        exchange_fail(ex, status_too_large(&ex->arena, "limit is %u", SERVE_BODY_BYTES_MAX));
    } else if (last) {
        ex->body_done = true;
        serve_go(ex);
    }
}

static void serve_writable(void *data, struct kvp_http *x)
{
    struct apiserver *api = data;
    struct exchange *ex = api->host->http_data(x);
    if (ex != NULL) {
        exchange_writable(ex);
    }
}

static void serve_closed(void *data, struct kvp_http *x, int complete)
{
    struct apiserver *api = data;
    struct exchange *ex = api->host->http_data(x);
    if (ex != NULL) {
        exchange_closed(ex);
    }
}

int serve_open(struct apiserver *api, struct kvp_errmsg *e)
{
    struct kvp_listen_args listen = {
        .size = sizeof listen, .address = api->conf->address, .port = (uint32_t)api->conf->port};
    if (!api->conf->insecure_http) {
        listen.cert_pem = kvp_of_slice(pki_server_cert(api->pki));
        listen.key_pem = kvp_of_slice(pki_server_key(api->pki));
        listen.client_ca_pem = kvp_of_slice(pki_client_ca(api->pki));
    }
    int rc = api->host->http_listen(api->ctx, &listen, &api->listener, &api->port, e);
    if (rc == KVP_UNSUPPORTED) {
        return rc;
    }
    if (rc != 0) {
        if (e->text[0] == 0) {
            snprintf(e->text, sizeof e->text, "%s:%d cannot be opened (reason %d)",
                     api->conf->address, (int)api->conf->port, rc);
        }
        return rc;
    }
    struct kvp_route_args route = {
        .size = sizeof route,
        .body_bytes_max = SERVE_BODY_BYTES_MAX + 1,
        .listener = api->listener,
        .method = "*",
        .pattern = "/*",
        .begin = serve_begin,
        .body = serve_body,
        .writable = serve_writable,
        .closed = serve_closed,
        .data = api,
    };
    rc = api->host->http_route(api->ctx, &route);
    if (rc != 0) {
        snprintf(e->text, sizeof e->text, "the route /* was refused (reason %d)", rc);
    }
    return rc;
}
