/* web_home.c - exchanges on the store loop: requests copied to the lane, answers given to the
 * connection as it takes them; see web.h. */
#include "plugins/host/web.h"

#include <stdio.h>

void web_out_free(struct web_out *o)
{
    atomic_fetch_sub(&o->x->instance->web_bytes, o->bytes);
    for (size_t i = 0; i < o->count; i++) {
        blob_unref(o->parts[i].blob);
    }
    mem_free(o->headers);
    mem_free(o);
}

/* ---- the end -----------------------------------------------------------------------------------
 */

void web_over(struct kvp_http *x, bool complete, bool settled)
{
    for (struct list *it; (it = list_pop_front(&x->pending)) != NULL;) {
        web_out_free(LIST_ENTRY(it, struct web_out, link));
    }
    x->req = NULL;
    x->complete = complete;
    x->settled = settled;
    list_remove(&x->link);
    x->instance->web_exchange_count--;
    atomic_store(&x->gone, true);
    x->closed.run = web_on_closed;
    if (x->body_bytes + x->said_bytes > LANE_QUICK_BYTES_MAX) {
        lane_post(&x->instance->lane, &x->closed); /* there may be much to free */
    } else if (settled) {
        host_post_quietly(x->instance->host, &x->instance->lane, &x->closed);
    } else {
        lane_post_quick(&x->instance->lane, &x->closed);
    }
}

static void web_on_peer_gone(struct http_request *req)
{
    web_over(http_data(req), false, false);
}

void web_on_left(struct lane_msg *m)
{
    mem_free(LIST_ENTRY(m, struct kvp_http, left));
}

/* ---- answers -----------------------------------------------------------------------------------
 */

/* Some bytes were taken by the connection. */
static void web_taken(struct kvp_http *x, struct web_out *o)
{
    size_t n = o->bytes;
    atomic_fetch_sub(&x->instance->web_bytes, n);
    for (size_t i = 0; i < o->count; i++) {
        blob_unref(o->parts[i].blob);
    }
    o->bytes = 0;
    o->count = 0;
    if (lane_flow_taken(&x->answer, n)) {
        x->writable.run = web_on_writable;
        lane_post(&x->instance->lane, &x->writable);
    }
}

/* true: it was the whole answer. */
static bool web_begin(struct kvp_http *x, struct web_out *o)
{
    o->respond = false;
    x->begun = true;
    if (o->finish && o->bytes == 0 && o->length == HTTP_BYTES_UNKNOWN) {
        http_respond(x->req, o->status, NULL, o->headers, slice_of(NULL, 0));
        web_over(x, true, true); /* frees o */
        return true;
    }
    uint64_t length = o->finish && o->length == HTTP_BYTES_UNKNOWN ? o->bytes : o->length;
    http_begin(x->req, o->status, NULL, o->headers, length);
    return false;
}

/* Gives the connection what it takes. */
static void web_pump(struct kvp_http *x)
{
    while (!list_empty(&x->pending)) {
        struct web_out *o = LIST_ENTRY(x->pending.next, struct web_out, link);
        if (o->respond && web_begin(x, o)) {
            return;
        }
        if (o->bytes > 0) {
            /* FULL: writable follows. GONE: closed does. */
            if (http_write_parts(x->req, o->parts, o->count) != HTTP_WRITTEN) {
                return;
            }
            web_taken(x, o);
        }
        if (o->finish) {
            http_finish(x->req);
            web_over(x, true, true); /* frees o */
            return;
        }
        list_remove(&o->link);
        web_out_free(o);
    }
}

static void web_on_room(struct http_request *req)
{
    web_pump(http_data(req));
}

void web_on_out(struct lane_msg *m)
{
    struct web_out *o = LIST_ENTRY(m, struct web_out, msg);
    struct kvp_http *x = o->x;
    if (x->req == NULL) { /* over already: the lane hears, or has heard, of it */
        web_out_free(o);
        return;
    }
    x->said_bytes += o->bytes;
    list_push_back(&x->pending, &o->link);
    if (o->abort) {
        http_abort(x->req);
        web_over(x, false, true);
        return;
    }
    if (x->pending.next == &o->link) { /* else something before it waits for room */
        web_pump(x);
    }
}

/* ---- bodies ------------------------------------------------------------------------------------
 */

/* What the lane does with a body, it does when it is whole. */
static void web_post(struct kvp_http *x, struct lane_msg *m)
{
    if (x->body_bytes <= LANE_QUICK_BYTES_MAX) {
        lane_post_quick(&x->instance->lane, m);
    } else {
        lane_post(&x->instance->lane, m);
    }
}

static void web_on_body(struct http_request *req, struct slice bytes, bool end)
{
    struct kvp_http *x = http_data(req);
    if (!x->wants_body) {
        return;
    }
    struct web_chunk *c = mem_alloc(sizeof(*c) + bytes.len);
    if (c == NULL) {
        if (x->begun) {
            http_abort(req);
        } else {
            http_respond_error(req, 503, "out of memory", NULL);
        }
        web_over(x, false, false);
        return;
    }
    c->msg.run = web_on_chunk;
    c->x = x;
    c->len = bytes.len;
    c->last = end;
    list_init(&c->link);
    if (bytes.len > 0) {
        memcpy(c->bytes, bytes.data, bytes.len);
    }
    lane_flow_add(&x->body, bytes.len);
    x->body_bytes += bytes.len;
    web_post(x, &c->msg);
    if (!end && !lane_flow_open(&x->body)) {
        http_pause_body(req);
    }
}

void web_on_resume(struct lane_msg *m)
{
    struct kvp_http *x = LIST_ENTRY(m, struct kvp_http, resume);
    lane_flow_told(&x->body);
    if (x->req != NULL) {
        http_resume_body(x->req);
    }
}

/* ---- requests ----------------------------------------------------------------------------------
 */

static struct slice web_copy(uint8_t **at, struct slice s)
{
    struct slice copy = slice_of(*at, s.len);
    if (s.len > 0) {
        memcpy(*at, s.data, s.len);
        *at += s.len;
    }
    return copy;
}

/* Bytes of an identity: the texts, and the array of groups in front of them. */
static size_t web_identity_bytes(const struct tls_peer *peer)
{
    size_t n = 0;
    if (peer != NULL && peer->verified) {
        n = strlen(peer->common_name);
        for (size_t i = 0; i < peer->organization_count; i++) {
            n += sizeof(struct kvp_bytes) + strlen(peer->organizations[i]);
        }
    }
    return n;
}

/* A certificate that nobody vouches for says nothing. groups: the array, aligned. */
static void web_identity(struct kvp_identity *out, const struct tls_peer *peer,
                         struct kvp_bytes *groups, uint8_t **at)
{
    out->size = sizeof(*out);
    if (peer == NULL || !peer->verified) {
        return;
    }
    struct slice name = web_copy(at, slice_str(peer->common_name));
    out->authenticated = 1;
    out->user = kvp_bytes_of(name.data, name.len);
    out->groups = groups;
    out->group_count = peer->organization_count;
    for (size_t i = 0; i < peer->organization_count; i++) {
        struct slice group = web_copy(at, slice_str(peer->organizations[i]));
        groups[i] = kvp_bytes_of(group.data, group.len);
    }
}

static struct kvp_http *web_new(struct http_request *req, const struct web_route *route)
{
    struct slice method = http_method(req), path = http_path(req), query = http_query(req);
    struct slice lines = http_header_lines(req), peer = slice_str(http_peer(req));
    const struct tls_peer *who = http_peer_identity(req);
    size_t groups = who != NULL && who->verified ? who->organization_count : 0;
    size_t texts = method.len + path.len + query.len + lines.len + peer.len;
    /* The groups stand first: bytes[] need not be aligned for them otherwise. */
    size_t front = sizeof(struct kvp_http) + sizeof(struct kvp_bytes); /* with room to align */
    struct kvp_http *x = mem_alloc(front + texts + web_identity_bytes(who));
    if (x == NULL) {
        return NULL;
    }
    memset(x, 0, sizeof(*x));
    uintptr_t align = _Alignof(struct kvp_bytes);
    struct kvp_bytes *array =
        (struct kvp_bytes *)(((uintptr_t)x->bytes + align - 1) / align * align);
    uint8_t *at = (uint8_t *)(array + groups);
    x->instance = route->instance;
    x->route = route;
    x->wants_body = route->args.body != NULL;
    x->has_body = http_has_body(req);
    list_init(&x->link);
    list_init(&x->pending);
    list_init(&x->said);
    list_init(&x->held);
    x->version = http_protocol(req);
    x->method = web_copy(&at, method);
    x->path = web_copy(&at, path);
    x->query = web_copy(&at, query);
    x->lines = web_copy(&at, lines);
    x->peer = web_copy(&at, peer);
    web_identity(&x->identity, who, array, &at);
    return x;
}

void web_on_request(struct http_request *req)
{
    const struct web_route *route = http_route_data(req);
    struct instance *in = route->instance;
    static const struct http_header_field later[] = {{"Retry-After", "1"}, {NULL, NULL}};
    struct kvp_http *x = NULL;
    if (in->web_exchange_count < PLUGIN_HTTP_EXCHANGES_MAX &&
        atomic_load(&in->web_bytes) < PLUGIN_HTTP_BYTES_MAX) {
        x = web_new(req, route);
    }
    if (x == NULL) {
        http_respond_error(req, 503, "the plugin behind this path has too much to do", later);
        return;
    }
    x->req = req;
    http_set_data(req, x);
    http_on_closed(req, web_on_peer_gone);
    http_on_writable(req, web_on_room);
    list_push_back(&in->web_exchanges, &x->link);
    in->web_exchange_count++;
    x->begin.run = web_on_begin;
    lane_post_quick(&in->lane, &x->begin);
    if (x->has_body) {
        http_read_body(req, route->args.body_bytes_max, web_on_body);
    }
}
