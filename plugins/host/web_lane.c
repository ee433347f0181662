/* web_lane.c - exchanges on the plugin's lane: callbacks, and the calls that answer; see web.h.
 *
 * What a plugin says in one callback is collected in one struct web_out per exchange and goes home
 * when the callback returns, so that a small answer costs one message. */
#include "plugins/host/web.h"

#include <strings.h>

/* ---- ends --------------------------------------------------------------------------------------
 */

/* Nothing of it calls back any more. */
static void web_let_go(struct kvp_http *x)
{
    if (x->settled) {
        mem_free(x);
        return;
    }
    x->left.run = web_on_left;
    lane_post(&x->instance->host->home, &x->left);
}

static void web_drop_held(struct kvp_http *x)
{
    for (struct list *it; (it = list_pop_front(&x->held)) != NULL;) {
        mem_free(LIST_ENTRY(it, struct web_chunk, link));
    }
}

void web_on_closed(struct lane_msg *m)
{
    struct kvp_http *x = LIST_ENTRY(m, struct kvp_http, closed);
    struct instance *in = x->instance;
    const struct kvp_route_args *a = &x->route->args;
    web_drop_held(x);
    if (a->closed != NULL) {
        callback_enter(in, "http closed", x->path, 0);
        a->closed(a->data, x, x->complete);
        callback_leave(in);
    }
    if (x->unholding) {
        x->dead = true; /* its message is in the mailbox still */
        return;
    }
    web_let_go(x);
}

/* ---- what is said ------------------------------------------------------------------------------
 */

void web_send(struct instance *in)
{
    for (struct list *it; (it = list_pop_front(&in->web_said)) != NULL;) {
        struct kvp_http *x = LIST_ENTRY(it, struct kvp_http, said);
        struct web_out *o = x->saying;
        x->saying = NULL;
        o->msg.run = web_on_out;
        lane_post(&in->host->home, &o->msg);
    }
}

static struct web_out *web_saying(struct kvp_http *x)
{
    struct web_out *o = x->saying;
    if (o != NULL) {
        return o;
    }
    o = mem_alloc(sizeof(*o));
    if (o == NULL) {
        return NULL;
    }
    memset(o, 0, offsetof(struct web_out, parts));
    list_init(&o->link);
    o->x = x;
    o->length = HTTP_BYTES_UNKNOWN;
    x->saying = o;
    list_push_back(&x->instance->web_said, &x->said);
    return o;
}

/* 0, or why x cannot be answered. */
static int web_check(const struct kvp_http *x)
{
    if (x == NULL) {
        return KVP_INVALID;
    }
    if (callback_current() != x->instance) {
        return KVP_WRONG_THREAD;
    }
    return atomic_load(&x->gone) ? KVP_STOPPED : x->finished ? KVP_INVALID : 0;
}

/* ---- http_respond ------------------------------------------------------------------------------
 */

static bool header_name_ok(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.data[i];
        bool token = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                     (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
        if (!token) {
            return false;
        }
    }
    return s.len > 0;
}

static bool header_value_ok(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if ((s.data[i] < 0x20 && s.data[i] != '\t') || s.data[i] == 0x7f) {
            return false;
        }
    }
    return true;
}

static bool header_is(struct slice name, const char *wanted)
{
    return name.len == strlen(wanted) &&
           strncasecmp((const char *)name.data, wanted, name.len) == 0;
}

static bool header_number(struct slice s, uint64_t *out)
{
    uint64_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9' || n > UINT64_MAX / 20) {
            return false;
        }
        n = n * 10 + (uint64_t)(s.data[i] - '0');
    }
    *out = n;
    return s.len > 0;
}

static const char *header_text(char **at, struct slice s)
{
    char *text = *at;
    if (s.len > 0) {
        memcpy(text, s.data, s.len);
    }
    text[s.len] = '\0';
    *at += s.len + 1;
    return text;
}

/* 0, or a reason. *out: one block, NULL without headers. */
static int web_headers(const struct kvp_pair *headers, size_t count, struct http_header_field **out,
                       uint64_t *length)
{
    size_t bytes = 0;
    if (count > PLUGIN_HTTP_HEADERS_MAX) {
        return KVP_TOO_LARGE;
    }
    for (size_t i = 0; i < count; i++) {
        struct slice name = bytes_slice(headers[i].name), value = bytes_slice(headers[i].value);
        if (!header_name_ok(name) || !header_value_ok(value) ||
            (header_is(name, "content-length") && !header_number(value, length))) {
            return KVP_INVALID;
        }
        bytes += name.len + value.len + 2;
        if (bytes > PLUGIN_HTTP_HEADER_BYTES_MAX) {
            return KVP_TOO_LARGE;
        }
    }
    if (count == 0) {
        *out = NULL;
        return 0;
    }
    struct http_header_field *fields = mem_alloc((count + 1) * sizeof(*fields) + bytes);
    if (fields == NULL) {
        return KVP_NO_MEMORY;
    }
    char *at = (char *)(fields + count + 1);
    for (size_t i = 0; i < count; i++) {
        fields[i].name = header_text(&at, bytes_slice(headers[i].name));
        fields[i].value = header_text(&at, bytes_slice(headers[i].value));
    }
    fields[count] = (struct http_header_field){NULL, NULL};
    *out = fields;
    return 0;
}

static int host_http_respond(struct kvp_http *x, uint32_t status, const struct kvp_pair *headers,
                             size_t count)
{
    struct http_header_field *fields = NULL;
    uint64_t length = HTTP_BYTES_UNKNOWN;
    int reason = web_check(x);
    if (reason != 0) {
        return reason;
    }
    if (x->responded || status < 200 || status > 599 || (headers == NULL && count > 0)) {
        return KVP_INVALID;
    }
    reason = web_headers(headers, count, &fields, &length);
    if (reason != 0) {
        return reason;
    }
    struct web_out *o = web_saying(x);
    if (o == NULL) {
        mem_free(fields);
        return KVP_NO_MEMORY;
    }
    o->respond = true;
    o->status = (int)status;
    o->headers = fields;
    o->length = length;
    x->responded = true;
    return 0;
}

/* ---- http_write --------------------------------------------------------------------------------
 */

/* Small writes of one callback share a blob of this size. */
#define WEB_BLOB_BYTES 4096u

static int web_append(struct web_out *o, struct slice bytes)
{
    struct rpc_part *part = o->count > 0 ? &o->parts[o->count - 1] : NULL;
    if (part == NULL || o->room < bytes.len) {
        /* The first one exactly: mostly it is the only one. */
        size_t cap = part != NULL && bytes.len < WEB_BLOB_BYTES ? WEB_BLOB_BYTES : bytes.len;
        struct blob *blob = blob_new(cap);
        if (blob == NULL) {
            return KVP_NO_MEMORY;
        }
        part = &o->parts[o->count++];
        *part = (struct rpc_part){.bytes = slice_of(blob->data, 0), .blob = blob};
        o->room = cap;
    }
    memcpy(part->blob->data + part->bytes.len, bytes.data, bytes.len);
    part->bytes.len += bytes.len;
    o->room -= bytes.len;
    o->bytes += bytes.len;
    return 0;
}

static int host_http_write(struct kvp_http *x, struct kvp_bytes bytes)
{
    int reason = web_check(x);
    if (reason != 0) {
        return reason;
    }
    if (!x->responded || (bytes.data == NULL && bytes.len > 0)) {
        return KVP_INVALID;
    }
    if (bytes.len > PLUGIN_HTTP_WRITE_BYTES_MAX) {
        return KVP_TOO_LARGE;
    }
    if (bytes.len == 0) {
        return 0;
    }
    if (!lane_flow_open(&x->answer)) {
        return KVP_BUSY;
    }
    if (x->saying != NULL && x->saying->count == WEB_PARTS_MAX && x->saying->room < bytes.len) {
        web_send(x->instance); /* it holds no more parts */
    }
    struct web_out *o = web_saying(x);
    reason = o != NULL ? web_append(o, bytes_slice(bytes)) : KVP_NO_MEMORY;
    if (reason == 0) {
        lane_flow_add(&x->answer, bytes.len);
        atomic_fetch_add(&x->instance->web_bytes, bytes.len);
    }
    return reason;
}

void web_on_writable(struct lane_msg *m)
{
    struct kvp_http *x = LIST_ENTRY(m, struct kvp_http, writable);
    const struct kvp_route_args *a = &x->route->args;
    lane_flow_told(&x->answer);
    if (a->writable != NULL && !x->finished && !atomic_load(&x->gone)) {
        callback_enter(x->instance, "http writable", x->path, 0);
        a->writable(a->data, x);
        callback_leave(x->instance);
    }
}

/* ---- http_finish, http_abort -------------------------------------------------------------------
 */

static int host_http_finish(struct kvp_http *x)
{
    static const char text[] = "500 Internal Server Error\n";
    int reason = web_check(x);
    if (reason != 0) {
        return reason;
    }
    struct web_out *o = web_saying(x);
    if (o == NULL) {
        return KVP_NO_MEMORY;
    }
    if (!x->responded) {
        static const struct kvp_pair plain = {{"Content-Type", 12}, {"text/plain", 10}};
        reason = host_http_respond(x, 500, &plain, 1);
        if (reason != 0) {
            return reason;
        }
        (void)host_http_write(x, kvp_bytes_of(text, sizeof(text) - 1)); /* only a courtesy */
    }
    x->saying->finish = true;
    x->finished = true;
    return 0;
}

static void host_http_abort(struct kvp_http *x)
{
    if (web_check(x) != 0) {
        return;
    }
    struct web_out *o = web_saying(x);
    if (o == NULL) {
        return; /* the stream stays open until it is aborted again or its client goes */
    }
    o->abort = true;
    x->finished = true;
}

/* ---- the request -------------------------------------------------------------------------------
 */

/* Tells what is held, as long as the plugin wants it. */
static void web_deliver(struct kvp_http *x)
{
    struct instance *in = x->instance;
    const struct kvp_route_args *a = &x->route->args;
    while (!x->paused && !list_empty(&x->held)) {
        struct web_chunk *c = LIST_ENTRY(list_pop_front(&x->held), struct web_chunk, link);
        if (!x->finished && !atomic_load(&x->gone)) {
            callback_enter(in, "http body", x->path, 0);
            a->body(a->data, x, kvp_bytes_of(c->bytes, c->len), c->last);
            callback_leave(in);
        }
        /* Nobody waits for the rest of a body that was answered already. */
        bool tell = lane_flow_taken(&x->body, c->len) && !x->finished;
        mem_free(c);
        if (tell) {
            x->resume.run = web_on_resume;
            lane_post(&in->host->home, &x->resume);
        }
    }
    if (x->end_due && !x->paused && !x->finished && !atomic_load(&x->gone)) {
        x->end_due = false;
        callback_enter(in, "http body", x->path, 0);
        a->body(a->data, x, kvp_bytes_of(NULL, 0), 1);
        callback_leave(in);
    }
}

void web_on_chunk(struct lane_msg *m)
{
    struct web_chunk *c = LIST_ENTRY(m, struct web_chunk, msg);
    struct kvp_http *x = c->x;
    list_push_back(&x->held, &c->link);
    x->held_bytes += c->len;
    if (!x->unholding) {
        web_deliver(x);
    }
}

void web_on_unhold(struct lane_msg *m)
{
    struct kvp_http *x = LIST_ENTRY(m, struct kvp_http, unhold);
    x->unholding = false;
    if (x->dead) {
        web_let_go(x);
    } else {
        web_deliver(x);
    }
}

static void host_http_pause(struct kvp_http *x, int pause)
{
    if (web_check(x) != 0) {
        return;
    }
    x->paused = pause != 0;
    if (!x->paused && !x->unholding && (!list_empty(&x->held) || x->end_due)) {
        x->unholding = true; /* never from inside this call */
        x->unhold.run = web_on_unhold;
        if (x->held_bytes <= LANE_QUICK_BYTES_MAX) {
            lane_post_quick(&x->instance->lane, &x->unhold);
        } else {
            lane_post(&x->instance->lane, &x->unhold);
        }
    }
}

static void host_http_set_data(struct kvp_http *x, void *data)
{
    x->data = data;
}

static void *host_http_data(struct kvp_http *x)
{
    return x->data;
}

/* "name:value\n" for each; returns how many. */
static size_t web_pairs(struct slice lines, struct kvp_pair *out, size_t max,
                        struct kvp_bytes *authority)
{
    size_t n = 0;
    while (lines.len > 0 && n < max) {
        const uint8_t *end = memchr(lines.data, '\n', lines.len);
        size_t len = end != NULL ? (size_t)(end - lines.data) : lines.len;
        const uint8_t *colon = memchr(lines.data, ':', len);
        size_t name = colon != NULL ? (size_t)(colon - lines.data) : len;
        size_t value = colon != NULL ? name + 1 : len;
        out[n].name = kvp_bytes_of(lines.data, name);
        out[n].value = kvp_bytes_of(lines.data + value, len - value);
        if (authority->data == NULL && slice_eq(bytes_slice(out[n].name), slice_str("host"))) {
            *authority = out[n].value;
        }
        n++;
        size_t used = len + (end != NULL);
        lines = slice_of(lines.data + used, lines.len - used);
    }
    return n;
}

static struct kvp_bytes web_bytes(struct slice s)
{
    return kvp_bytes_of(s.data, s.len);
}

void web_on_begin(struct lane_msg *m)
{
    struct kvp_http *x = LIST_ENTRY(m, struct kvp_http, begin);
    struct instance *in = x->instance;
    const struct kvp_route_args *a = &x->route->args;
    struct kvp_pair pairs[RPC_HEADERS_MAX + 1];
    struct kvp_http_request r = {.size = sizeof(r),
                                 .http_major = x->version >= 20 ? 2 : 1,
                                 .method = web_bytes(x->method),
                                 .path = web_bytes(x->path),
                                 .query = web_bytes(x->query),
                                 .headers = pairs,
                                 .identity = &x->identity,
                                 .peer = web_bytes(x->peer)};
    r.header_count = web_pairs(x->lines, pairs, RPC_HEADERS_MAX + 1, &r.authority);
    x->end_due = x->wants_body && !x->has_body;
    callback_enter(in, "http begin", x->path, 0);
    a->begin(a->data, x, &r);
    callback_leave(in);
    web_deliver(x);
}

void web_exchange_calls(struct kvp_host *t)
{
    t->http_set_data = host_http_set_data;
    t->http_data = host_http_data;
    t->http_respond = host_http_respond;
    t->http_write = host_http_write;
    t->http_finish = host_http_finish;
    t->http_abort = host_http_abort;
    t->http_pause = host_http_pause;
}
