/* web_port.c - routes and ports of plugins, from init's end to the plugin's (home). */
#include "plugins/host/web.h"

#include <unistd.h>

#include "base/log.h"
#include "rpc/server.h"

/* ---- opening -----------------------------------------------------------------------------------
 */

static void listener_on_told(struct lane_msg *m)
{
    struct kvp_listener *l = LIST_ENTRY(m, struct kvp_listener, told);
    struct instance *in = l->instance;
    if (l->opened != NULL && !atomic_load(&in->root.closed)) {
        callback_enter(in, "http opened", slice_of(NULL, 0), 0);
        l->opened(l->data, l, l->why.text[0] != '\0' ? l->why.text : NULL);
        callback_leave(in);
    }
}

static void port_on_closed(void *data)
{
    struct web_port *p = data;
    struct plugin_host *h = p->host;
    tls_context_free(p->tls);
    mem_free(p);
    h->web_ports--;
    host_settle(h);
}

static void port_close(struct web_port *p)
{
    rpc_server_close(p->server, port_on_closed, p);
}

static void port_on_shut_down(void *data)
{
    port_close(data);
}

static int port_add_routes(struct web_port *p, struct kvp_listener *l, struct errmsg *e)
{
    int err = 0;
    LIST_FOREACH (it, &l->instance->web_routes) {
        struct web_route *r = LIST_ENTRY(it, struct web_route, link);
        if (err == 0 && r->args.listener == l) {
            err = http_router_add(rpc_server_router(p->server), &r->route, &r->entry, e);
        }
    }
    return err;
}

static int port_open(struct kvp_listener *l, struct errmsg *e)
{
    static const struct rpc_method no_methods[] = {{.service = NULL}};
    static const struct http_route no_routes[] = {{.path = NULL}};
    struct plugin_host *h = l->instance->host;
    const struct rpc_server_options options = {.methods = no_methods,
                                               .routes = no_routes,
                                               .no_cors = true,
                                               .connections_max = l->connections_max};
    struct web_port *p = mem_zalloc(sizeof(*p));
    if (p == NULL) {
        return errmsg_set(e, ERR_NOMEM, "out of memory");
    }
    p->host = h;
    p->server = rpc_server_new(h->o.loop, &options);
    if (p->server == NULL) {
        mem_free(p);
        return errmsg_set(e, ERR_NOMEM, "out of memory");
    }
    p->tls = l->tls;
    l->tls = NULL;
    h->web_ports++;
    int err = port_add_routes(p, l, e);
    if (err == 0) {
        int fd = l->fd;
        l->fd = -1;
        err = rpc_server_listen_fd(p->server, fd, p->tls, e);
    }
    if (err != 0) {
        LIST_FOREACH (it, &l->instance->web_routes) {
            struct web_route *r = LIST_ENTRY(it, struct web_route, link);
            r->entry = r->args.listener == l ? NULL : r->entry; /* gone with the server */
        }
        port_close(p);
        return err;
    }
    l->served = p;
    return 0;
}

static void listener_open(struct kvp_listener *l)
{
    struct errmsg e = {""};
    l->tried = true;
    int err = port_open(l, &e);
    if (err == 0) {
        LOG(LOG_INFO, "a plugin listens", F_STR("plugin", l->instance->name),
            F_STR("address", l->address), F_UINT("port", l->port), F_BOOL("tls", l->secure));
    } else {
        (void)errmsg_set(&l->why, err, "listen tcp %s:%u: %s", l->address, l->port, e.text);
        LOG(LOG_ERROR, "a plugin cannot listen", F_STR("plugin", l->instance->name),
            F_STR("error", l->why.text));
    }
    l->told.run = listener_on_told;
    lane_post(&l->instance->lane, &l->told);
}

void web_serve(struct instance *in)
{
    struct plugin_host *h = in->host;
    struct errmsg e = {""};
    if (!in->web_serving) {
        in->web_serving = true;
        LIST_FOREACH (it, &in->web_routes) {
            struct web_route *r = LIST_ENTRY(it, struct web_route, link);
            if (r->args.listener == NULL &&
                http_router_add(rpc_server_router(h->o.clients), &r->route, &r->entry, &e) != 0) {
                LOG(LOG_ERROR, "a route of a plugin cannot be served", F_STR("plugin", in->name),
                    F_STR("error", e.text));
            }
        }
    }
    LIST_FOREACH (it, &in->web_listeners) {
        struct kvp_listener *l = LIST_ENTRY(it, struct kvp_listener, link);
        if (h->ready && !l->tried) {
            listener_open(l);
        }
    }
}

/* ---- the end -----------------------------------------------------------------------------------
 */

static void web_end_exchange(struct kvp_http *x)
{
    if (x->begun) {
        http_abort(x->req);
    } else {
        http_respond_error(x->req, 503, "the plugin behind this path has stopped", NULL);
    }
    web_over(x, false, false);
}

void web_home_end(struct instance *in)
{
    struct plugin_host *h = in->host;
    LIST_FOREACH (it, &in->web_routes) {
        struct web_route *r = LIST_ENTRY(it, struct web_route, link);
        if (r->entry != NULL) {
            struct rpc_server *server =
                r->args.listener != NULL ? r->args.listener->served->server : h->o.clients;
            http_router_remove(rpc_server_router(server), r->entry);
            r->entry = NULL;
        }
    }
    while (!list_empty(&in->web_exchanges)) {
        web_end_exchange(LIST_ENTRY(in->web_exchanges.next, struct kvp_http, link));
    }
    LIST_FOREACH (it, &in->web_listeners) {
        struct kvp_listener *l = LIST_ENTRY(it, struct kvp_listener, link);
        l->tried = true;
        if (l->served != NULL) {
            struct web_port *p = l->served;
            l->served = NULL;
            rpc_server_shutdown(p->server, PLUGIN_HTTP_GRACE_MS, port_on_shut_down, p);
        }
        if (l->fd >= 0) {
            (void)close(l->fd);
            l->fd = -1;
        }
    }
}
