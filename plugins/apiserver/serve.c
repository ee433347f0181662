/* serve.c - requests come in, are read, let pass or not, and given to their verb. */
#include "plugins/apiserver/serve.h"

#include <stdio.h>

#include "plugins/apiserver/body.h"
#include "plugins/apiserver/carrier.h"
#include "plugins/apiserver/deadline.h"
#include "plugins/apiserver/discovery.h"
#include "plugins/apiserver/gate.h"
#include "plugins/apiserver/media.h"
#include "plugins/apiserver/pki.h"
#include "plugins/apiserver/shape.h"
#include "plugins/apiserver/sub.h"
#include "plugins/apiserver/verbs.h"

/* A body may be one byte larger than allowed, so that the refusal is ours to word. */
#define SERVE_BODY_BYTES_MAX (3u * 1024u * 1024u)

void serve_verb(struct exchange *ex)
{
    if (sub_answer(ex)) {
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

/* Path and query. False: answered. */
static bool serve_parse(struct exchange *ex, struct slice method, struct slice path,
                        struct slice query, const struct kvp_identity *identity)
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
    int bad_query = query_parse(&ex->query, query, a, &e);
    int rc = request_parse(&ex->request, method, path, ex->query.watch, a);
    struct status refusal;
    if (rc == 0 || rc == ERR_REFUSED || rc == ERR_NOT_FOUND) {
        if (!gate_lets_pass(ex, identity, &refusal)) {
            exchange_fail(ex, refusal);
            return false;
        }
    }
    if (rc == ERR_NOT_FOUND) {
        exchange_no_path(ex);
        return false;
    }
    if (rc == ERR_REFUSED) {
        struct status_about about = request_about(&ex->request);
        const char *verb = request_verb_name(ex->request.verb);
        char lower[16] = "";
        for (size_t i = 0; ex->request.verb == REQUEST_OTHER && i < method.len && i < 15; i++) {
            lower[i] = (char)(method.data[i] | 0x20);
        }
        exchange_fail(ex,
                      status_method(a, &about, ex->request.verb == REQUEST_OTHER ? lower : verb));
        return false;
    }
    if (rc == 0 && bad_query == 0) {
        return true;
    }
    if (rc == ERR_NOMEM || bad_query == ERR_NOMEM) {
        exchange_no_memory(ex);
    } else {
        exchange_fail(
            ex, status_bad_request(a, "%s",
                                   rc == ERR_INVALID ? "the path has an invalid part" : e.text));
    }
    return false;
}

bool serve_read(struct exchange *ex, struct slice method, struct slice path, struct slice query,
                const struct kvp_identity *identity)
{
    if (!serve_parse(ex, method, path, query, identity)) {
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

static void serve_begin(void *data, struct kvp_http *x, const struct kvp_http_request *r)
{
    struct apiserver *api = data;
    struct exchange *ex = carrier_http_begin(api, x, r);
    api->host->http_set_data(x, ex);
    if (ex == NULL) {
        api->host->http_abort(x);
        return;
    }
    serve_read(ex, slice_of_kvp(r->method), slice_of_kvp(r->path), slice_of_kvp(r->query),
               r->identity);
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
    } else if (last && body_translate(ex)) {
        serve_verb(ex);
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
        return rc;
    }
    return api->conf->insecure_http ? 0 : pki_port_known(api, e);
}
