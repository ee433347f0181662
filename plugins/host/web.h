/* web.h - HTTP of plugins: routes and ports, and exchanges between the store loop and a lane.
 * Private to plugins/host.
 *
 *   home: rpc/http.h --begin, chunks, writable, closed--> lane: the plugin's callbacks
 *                    <--web_out (head, body, end), resume, left--
 *
 * An exchange (struct kvp_http) is made by home when a request arrives and belongs to both sides.
 * `closed` is the last message home sends for it. After that the lane lets go of it: when home has
 * seen its end (finish or abort: `settled`) nothing of it is under way and the lane frees it; else
 * the lane sends `left`, behind everything it said, and home frees it. So client, plugin and member
 * may go in any order.
 *
 * Bytes are copied once each way: a request's head into the exchange, its body into chunks, an
 * answer's bytes into blobs that HTTP/2 sends from where they lie. */
#ifndef KVD_PLUGINS_HOST_WEB_H
#define KVD_PLUGINS_HOST_WEB_H

#include "base/tls.h"
#include "plugins/host/host_impl.h"
#include "plugins/host/lane_flow.h"
#include "rpc/http.h"

/* A plugin's port: the handle it has. Made in init by the lane, home's from then on. */
struct kvp_listener {
    struct instance *instance;
    struct list link;         /* instance.web_listeners */
    struct list address_link; /* plugin_host.web_addresses, locked */
    char *address;
    uint16_t port;
    uint32_t connections_max;
    bool secure;
    bool client_cert_required;
    void (*opened)(void *data, struct kvp_listener *listener, const char *why);
    void *data;
    int fd;                  /* bound; -1: home has taken or closed it */
    struct tls_context *tls; /* until home takes it */
    bool tried;              /* home: opening was tried */
    struct web_port *served; /* home: open */
    struct lane_msg told;    /* home -> lane: opened */
    struct errmsg why;
};

/* What serves it. Outlives the instance: closing takes some turns of the loop. */
struct web_port {
    struct plugin_host *host;
    struct rpc_server *server;
    struct tls_context *tls;
};

struct web_route {
    struct instance *instance;
    struct list link;           /* instance.web_routes */
    struct kvp_route_args args; /* method and pattern point into text */
    struct http_route route;    /* path and method likewise */
    struct router_entry *claim; /* in plugin_host.client_routes, locked; NULL: of an own port */
    struct router_entry *entry; /* home: in a server's router */
    char text[];
};

/* A piece of a request's body. */
struct web_chunk {
    struct lane_msg msg;
    struct list link; /* kvp_http.held */
    struct kvp_http *x;
    size_t len;
    bool last;
    uint8_t bytes[];
};

#define WEB_PARTS_MAX 8

/* What a plugin said in one callback about one exchange. */
struct web_out {
    struct lane_msg msg;
    struct list link; /* kvp_http.pending (home) */
    struct kvp_http *x;
    bool respond, finish, abort;
    int status;
    uint64_t length;                   /* Content-Length it promised, or HTTP_BYTES_UNKNOWN */
    struct http_header_field *headers; /* one block with their texts; NULL = none */
    size_t bytes;                      /* of all parts */
    size_t room;                       /* left in the last part's blob */
    size_t count;
    struct rpc_part parts[WEB_PARTS_MAX];
};

struct kvp_http {
    struct instance *instance;
    const struct web_route *route;
    atomic_bool gone;         /* nothing can be said any more; `closed` is on its way */
    struct lane_flow answer;  /* bytes of the answer, from the lane to home */
    struct lane_flow body;    /* bytes of the request, from home to the lane */
    struct lane_msg begin;    /* home -> lane */
    struct lane_msg writable; /* home -> lane */
    struct lane_msg closed;   /* home -> lane, the last one */
    struct lane_msg resume;   /* lane -> home: the body may go on */
    struct lane_msg left;     /* lane -> home, the last one */
    struct lane_msg unhold;   /* lane -> lane: held pieces are due */
    bool wants_body;          /* the route has `body` */
    bool has_body;            /* bytes of a body may come */

    /* home */
    struct http_request *req; /* NULL: over */
    struct list link;         /* instance.web_exchanges */
    struct list pending;      /* of web_out, not yet taken by the connection */
    size_t body_bytes;        /* so far */
    size_t said_bytes;        /* of answers, so far */
    bool begun;
    bool complete; /* given to the lane with `closed` */
    bool settled;  /* likewise: the lane's last word has arrived */

    /* lane */
    void *data;
    struct web_out *saying; /* in this callback; NULL = nothing */
    struct list said;       /* instance.web_said, while `saying` */
    bool responded, finished;
    bool paused, unholding, dead;
    bool end_due; /* a request without a body: `body` must hear of its end */
    struct list held;
    size_t held_bytes; /* that ever stood in held */

    /* The request; constant. lines as in http_header_lines; slices point into bytes. */
    int version;
    struct slice method, path, query, peer, lines;
    struct kvp_identity identity;
    uint8_t bytes[];
};

/* Home: the handler of every route of plugins. */
void web_on_request(struct http_request *req);
/* Home: the exchange ends here, without the engine or after it: tells the lane. */
void web_over(struct kvp_http *x, bool complete, bool settled);
/* Home, as messages. */
void web_on_out(struct lane_msg *m);
void web_on_resume(struct lane_msg *m);
void web_on_left(struct lane_msg *m);
/* Lane, as messages. */
void web_on_begin(struct lane_msg *m);
void web_on_chunk(struct lane_msg *m);
void web_on_writable(struct lane_msg *m);
void web_on_closed(struct lane_msg *m);
void web_on_unhold(struct lane_msg *m);

void web_out_free(struct web_out *o);

/* Fills the table's calls of each file. */
void web_register_calls(struct kvp_host *t);
void web_exchange_calls(struct kvp_host *t);

#endif
