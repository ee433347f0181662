/* web_register.c - http_listen, http_route and http_certificate: what a plugin declares in init.
 *
 * All of it runs on the plugin's lane, where the answer is due at once: so sockets are bound and
 * certificates read here, and what the client port has already is kept in a table that lanes share
 * under a lock. web_port.c makes it effective. */
#include "plugins/host/web.h"

#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "rpc/server.h"

/* ---- the shared tables -------------------------------------------------------------------------
 */

bool web_host_init(struct plugin_host *h)
{
    struct errmsg e;
    pthread_mutex_init(&h->registry_lock, NULL);
    http_router_init(&h->client_routes);
    list_init(&h->web_addresses);
    const struct http_router *own =
        h->o.clients != NULL ? rpc_server_router(h->o.clients) : &h->client_routes;
    for (size_t i = 0; i < own->count; i++) {
        if (http_router_add(&h->client_routes, &own->entries[i]->route, NULL, &e) != 0) {
            return false;
        }
    }
    return true;
}

void web_host_close(struct plugin_host *h)
{
    http_router_close(&h->client_routes);
    pthread_mutex_destroy(&h->registry_lock);
}

void web_init(struct instance *in)
{
    list_init(&in->web_said);
    list_init(&in->web_routes);
    list_init(&in->web_listeners);
    list_init(&in->web_exchanges);
}

static void listener_free(struct kvp_listener *l)
{
    struct plugin_host *h = l->instance->host;
    pthread_mutex_lock(&h->registry_lock);
    list_remove(&l->address_link);
    pthread_mutex_unlock(&h->registry_lock);
    if (l->fd >= 0) {
        (void)close(l->fd);
    }
    tls_context_free(l->tls);
    mem_free(l->address);
    mem_free(l);
}

static void route_free(struct web_route *r)
{
    struct plugin_host *h = r->instance->host;
    if (r->claim != NULL) {
        pthread_mutex_lock(&h->registry_lock);
        http_router_remove(&h->client_routes, r->claim);
        pthread_mutex_unlock(&h->registry_lock);
    }
    mem_free(r);
}

void web_close(struct instance *in)
{
    for (struct list *it; (it = list_pop_front(&in->web_routes)) != NULL;) {
        route_free(LIST_ENTRY(it, struct web_route, link));
    }
    for (struct list *it; (it = list_pop_front(&in->web_listeners)) != NULL;) {
        listener_free(LIST_ENTRY(it, struct kvp_listener, link));
    }
}

/* In init, with the instance context. */
static int register_check(const struct kvp_ctx *ctx)
{
    int reason = ctx_check(ctx);
    return reason == 0 && ctx->instance->frozen ? KVP_INVALID : reason;
}

/* ---- http_listen -------------------------------------------------------------------------------
 */

static int listen_refuse(struct kvp_errmsg *e, int reason, const char *why)
{
    if (e != NULL) {
        snprintf(e->text, sizeof(e->text), "%s", why);
    }
    return reason;
}

static int listen_tls(struct kvp_bytes cert, struct kvp_bytes key, struct kvp_bytes ca,
                      bool required, struct tls_context **out, struct kvp_errmsg *e)
{
    struct errmsg why = {""};
    const struct tls_options options = {.cert_pem = bytes_slice(cert),
                                        .key_pem = bytes_slice(key),
                                        .ca_pem = bytes_slice(ca),
                                        .client_auth = ca.len == 0 ? TLS_CLIENT_NONE
                                                       : required  ? TLS_CLIENT_REQUIRE
                                                                   : TLS_CLIENT_REQUEST};
    if (cert.len == 0 || key.len == 0) {
        return listen_refuse(e, KVP_INVALID, "a certificate and its key come together");
    }
    if (required && ca.len == 0) {
        return listen_refuse(e, KVP_INVALID, "client certificates are required, but by which CA?");
    }
    *out = tls_context_new(&options, &why);
    return *out != NULL ? 0 : listen_refuse(e, KVP_INVALID, why.text);
}

/* Does a plugin of this process have the address already? Bound sockets that do not listen yet do
 * not hinder each other. */
static bool listen_claim(struct plugin_host *h, struct kvp_listener *l)
{
    bool taken = false;
    pthread_mutex_lock(&h->registry_lock);
    LIST_FOREACH (it, &h->web_addresses) {
        const struct kvp_listener *other = LIST_ENTRY(it, struct kvp_listener, address_link);
        taken = taken || (other->port == l->port && strcmp(other->address, l->address) == 0);
    }
    if (!taken) {
        list_push_back(&h->web_addresses, &l->address_link);
    }
    pthread_mutex_unlock(&h->registry_lock);
    return !taken;
}

static int listen_bind(struct kvp_listener *l, uint16_t port, struct kvp_errmsg *e)
{
    struct errmsg why = {""};
    int err = rpc_bind(l->address, port, &l->fd, &l->port, &why);
    if (err == 0 && !listen_claim(l->instance->host, l)) {
        err = errmsg_set(&why, ERR_IO, "listen tcp %s:%u: another plugin has that address",
                         l->address, l->port);
    }
    if (err == 0) {
        return 0;
    }
    LOG(LOG_WARN, "a plugin cannot listen", F_STR("plugin", l->instance->name),
        F_STR("error", why.text));
    return listen_refuse(e, err == ERR_INVALID ? KVP_INVALID : KVP_EXISTS, why.text);
}

static int host_http_listen(struct kvp_ctx *ctx, const struct kvp_listen_args *a,
                            struct kvp_listener **out, uint32_t *out_port, struct kvp_errmsg *e)
{
    int reason = register_check(ctx);
    if (reason != 0) {
        return reason;
    }
    struct instance *in = ctx->instance;
    if (a == NULL || a->size < sizeof(*a) || out == NULL || a->address == NULL ||
        a->port > UINT16_MAX || (a->flags & ~KVP_CLIENT_CERT_REQUIRED) != 0) {
        return listen_refuse(e, KVP_INVALID, "http_listen: an argument is wrong");
    }
    if (in->host->o.loop == NULL) {
        return listen_refuse(e, KVP_UNSUPPORTED, "there is no network here");
    }
    if (in->web_listener_count == PLUGIN_HTTP_LISTENERS_MAX) {
        return listen_refuse(e, KVP_BUSY, "a plugin has that many listeners already");
    }
    struct kvp_listener *l = mem_zalloc(sizeof(*l));
    if (l == NULL) {
        return KVP_NO_MEMORY;
    }
    l->instance = in;
    l->fd = -1;
    l->opened = a->opened;
    l->data = a->data;
    l->connections_max = a->connections_max;
    l->client_cert_required = (a->flags & KVP_CLIENT_CERT_REQUIRED) != 0;
    l->secure = a->cert_pem.len > 0 || a->key_pem.len > 0 || a->client_ca_pem.len > 0 ||
                l->client_cert_required;
    list_init(&l->link);
    list_init(&l->address_link);
    l->address = mem_strdup(a->address);
    reason = l->address == NULL ? KVP_NO_MEMORY : 0;
    if (reason == 0 && l->secure) {
        reason = listen_tls(a->cert_pem, a->key_pem, a->client_ca_pem, l->client_cert_required,
                            &l->tls, e);
    }
    if (reason == 0) {
        reason = listen_bind(l, (uint16_t)a->port, e);
    }
    if (reason != 0) {
        listener_free(l);
        return reason;
    }
    list_push_back(&in->web_listeners, &l->link);
    in->web_listener_count++;
    *out = l;
    if (out_port != NULL) {
        *out_port = l->port;
    }
    return 0;
}

/* ---- http_certificate --------------------------------------------------------------------------
 */

struct certificate {
    struct lane_msg msg;
    struct kvp_listener *listener;
    struct tls_context *tls;
};

static void certificate_on_home(struct lane_msg *m)
{
    struct certificate *c = LIST_ENTRY(m, struct certificate, msg);
    struct kvp_listener *l = c->listener;
    if (l->served != NULL) {
        tls_context_take(l->served->tls, c->tls);
    } else if (l->tls != NULL) {
        tls_context_take(l->tls, c->tls); /* not open yet */
    } else {
        tls_context_free(c->tls); /* could not be opened, or closed */
    }
    mem_free(c);
}

static int host_http_certificate(struct kvp_listener *l, struct kvp_bytes cert,
                                 struct kvp_bytes key, struct kvp_bytes ca, struct kvp_errmsg *e)
{
    if (l == NULL) {
        return KVP_INVALID;
    }
    int reason = ctx_check(&l->instance->root);
    if (reason != 0) {
        return reason;
    }
    if (!l->secure) {
        return listen_refuse(e, KVP_INVALID, "this listener has no certificate");
    }
    struct certificate *c = mem_zalloc(sizeof(*c));
    if (c == NULL) {
        return KVP_NO_MEMORY;
    }
    reason = listen_tls(cert, key, ca, l->client_cert_required, &c->tls, e);
    if (reason != 0) {
        mem_free(c);
        return reason;
    }
    c->listener = l;
    c->msg.run = certificate_on_home;
    lane_post(&l->instance->host->home, &c->msg);
    return 0;
}

/* ---- http_route --------------------------------------------------------------------------------
 */

/* "/a" is exact, "/a/" with a star behind it is "/a/" and all below. */
static bool route_pattern_ok(const char *pattern)
{
    size_t len = pattern != NULL ? strlen(pattern) : 0;
    const char *star = len > 0 ? strchr(pattern, '*') : NULL;
    return len > 0 && len < 1024 && pattern[0] == '/' &&
           (star == NULL || (star == pattern + len - 1 && star[-1] == '/'));
}

static bool route_method_ok(const char *method)
{
    size_t len = method != NULL ? strlen(method) : 0;
    if (len == 0 || len > 32) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if ((method[i] < 'A' || method[i] > 'Z') && method[i] != '-') {
            return strcmp(method, "*") == 0;
        }
    }
    return true;
}

static struct web_route *route_new(struct instance *in, const struct kvp_route_args *a)
{
    size_t pattern = strlen(a->pattern) + 1;
    size_t method = strlen(a->method) + 1;
    struct web_route *r = mem_zalloc(sizeof(*r) + pattern + method);
    if (r == NULL) {
        return NULL;
    }
    r->instance = in;
    r->args = *a;
    memcpy(r->text, a->pattern, pattern);
    memcpy(r->text + pattern, a->method, method);
    r->args.pattern = r->text;
    r->args.method = r->text + pattern;
    bool below = r->text[pattern - 2] == '*';
    if (below) {
        r->text[pattern - 2] = '\0';
    }
    if (a->body_bytes_max == 0) {
        r->args.body_bytes_max = PLUGIN_HTTP_BODY_BYTES;
    }
    r->route = (struct http_route){.path = r->text,
                                   .prefix = below,
                                   .streams_body = true,
                                   .methods = {a->method[0] == '*' ? NULL : r->args.method},
                                   .handler = web_on_request,
                                   .data = r};
    list_init(&r->link);
    return r;
}

/* Two routes of one own port. */
static bool route_meets(const struct web_route *a, const struct web_route *b)
{
    bool method = a->args.method[0] == '*' || b->args.method[0] == '*' ||
                  strcmp(a->args.method, b->args.method) == 0;
    return a->args.listener == b->args.listener && method && a->route.prefix == b->route.prefix &&
           strcmp(a->route.path, b->route.path) == 0;
}

static int route_claim(struct instance *in, struct web_route *r)
{
    struct plugin_host *h = in->host;
    struct errmsg e;
    if (r->args.listener != NULL) {
        LIST_FOREACH (it, &in->web_routes) {
            if (route_meets(LIST_ENTRY(it, struct web_route, link), r)) {
                return KVP_EXISTS;
            }
        }
        return 0;
    }
    pthread_mutex_lock(&h->registry_lock);
    int err = http_router_add(&h->client_routes, &r->route, &r->claim, &e);
    pthread_mutex_unlock(&h->registry_lock);
    return err == 0 ? 0 : err == ERR_INVALID ? KVP_EXISTS : KVP_NO_MEMORY;
}

static int host_http_route(struct kvp_ctx *ctx, const struct kvp_route_args *a)
{
    int reason = register_check(ctx);
    if (reason != 0) {
        return reason;
    }
    struct instance *in = ctx->instance;
    if (a == NULL || a->size < sizeof(*a) || a->begin == NULL || !route_pattern_ok(a->pattern) ||
        !route_method_ok(a->method) || (a->listener != NULL && a->listener->instance != in)) {
        return KVP_INVALID;
    }
    if (a->listener == NULL && in->host->o.clients == NULL) {
        return KVP_UNSUPPORTED;
    }
    if (in->web_route_count == PLUGIN_HTTP_ROUTES_MAX) {
        return KVP_BUSY;
    }
    struct web_route *r = route_new(in, a);
    if (r == NULL) {
        return KVP_NO_MEMORY;
    }
    reason = route_claim(in, r);
    if (reason != 0) {
        route_free(r);
        return reason;
    }
    list_push_back(&in->web_routes, &r->link);
    in->web_route_count++;
    return 0;
}

void web_register_calls(struct kvp_host *t)
{
    t->http_listen = host_http_listen;
    t->http_route = host_http_route;
    t->http_certificate = host_http_certificate;
}

void web_calls(struct kvp_host *t)
{
    web_register_calls(t);
    web_exchange_calls(t);
}
