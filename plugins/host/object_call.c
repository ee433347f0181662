/* object_call.c - the provider's side of an object request, on its lane; see object.h. */
#include "plugins/host/object.h"

void call_on_begin(struct lane_msg *m)
{
    struct kvp_call *c = LIST_ENTRY(m, struct kvp_call, begin);
    const struct kvp_provide_args *a = &c->provider->args;
    callback_enter(c->instance, "object request", bytes_slice(c->words.request.name),
                   c->words.request.revision);
    a->request(a->data, c, &c->words.request, &c->words.identity);
    callback_leave(c->instance);
}

void call_on_writable(struct lane_msg *m)
{
    struct kvp_call *c = LIST_ENTRY(m, struct kvp_call, writable);
    const struct kvp_provide_args *a = &c->provider->args;
    lane_flow_told(&c->flow);
    if (a->writable != NULL && !c->answered) {
        callback_enter(c->instance, "object writable", bytes_slice(c->words.request.name), 0);
        a->writable(a->data, c);
        callback_leave(c->instance);
    }
}

void call_on_bye(struct lane_msg *m)
{
    struct kvp_call *c = LIST_ENTRY(m, struct kvp_call, bye);
    const struct kvp_provide_args *a = &c->provider->args;
    atomic_store(&c->ctx.closed, true);
    if (a->canceled != NULL && !c->answered) {
        callback_enter(c->instance, "object canceled", bytes_slice(c->words.request.name), 0);
        a->canceled(a->data, c);
        callback_leave(c->instance);
    }
    c->answered = true;
    c->gone.run = call_on_gone;
    lane_post(&c->instance->host->home, &c->gone);
}

static int call_check(const struct kvp_call *c)
{
    if (c == NULL) {
        return KVP_INVALID;
    }
    if (callback_current() != c->instance) {
        return KVP_WRONG_THREAD;
    }
    return c->answered ? KVP_INVALID : 0;
}

static struct kvp_ctx *host_call_ctx(struct kvp_call *c)
{
    if (call_check(c) != 0) {
        return NULL;
    }
    c->ctx_used = true;
    return &c->ctx;
}

static struct object_note *call_note(struct kvp_call *c, struct kvp_bytes type,
                                     struct kvp_bytes body)
{
    struct object_note *n = mem_zalloc(sizeof(*n));
    struct blob *blob = n != NULL ? blob_new(type.len + body.len) : NULL;
    if (blob == NULL) {
        mem_free(n);
        return NULL;
    }
    if (type.len > 0) {
        memcpy(blob->data, type.data, type.len);
    }
    if (body.len > 0) {
        memcpy(blob->data + type.len, body.data, body.len);
    }
    n->call = c;
    n->blob = blob;
    n->type = kvp_bytes_of(blob->data, type.len);
    n->body = kvp_bytes_of(blob->data + type.len, body.len);
    n->cost = blob->len + PLUGIN_OBJECT_EVENT_BYTES;
    n->msg.run = object_on_note;
    return n;
}

static int host_call_event(struct kvp_call *c, struct kvp_bytes type, struct kvp_bytes object,
                           int64_t revision)
{
    int reason = call_check(c);
    if (reason != 0) {
        return reason;
    }
    if (c->words.request.verb != KVP_VERB_WATCH || type.len == 0 || type.len > 64) {
        return KVP_INVALID;
    }
    if (object.len > PLUGIN_OBJECT_BYTES_MAX) {
        return KVP_TOO_LARGE;
    }
    if (!lane_flow_open(&c->flow)) {
        return KVP_BUSY;
    }
    struct object_note *n = call_note(c, type, object);
    if (n == NULL) {
        return KVP_NO_MEMORY;
    }
    n->revision = revision;
    lane_flow_add(&c->flow, n->cost);
    lane_post(&c->instance->host->home, &n->msg);
    return 0;
}

static int host_call_answer(struct kvp_call *c, const struct kvp_object_answer *a)
{
    int reason = call_check(c);
    if (reason != 0) {
        return reason;
    }
    if (a == NULL || a->size < sizeof(*a) || a->status < 100 || a->status > 599 ||
        a->content_type.len > 1024) {
        return KVP_INVALID;
    }
    if (a->body.len > PLUGIN_OBJECT_BYTES_MAX) {
        return KVP_TOO_LARGE;
    }
    struct object_note *n = call_note(c, a->content_type, a->body);
    if (n == NULL) {
        return KVP_NO_MEMORY;
    }
    n->is_answer = true;
    n->status = a->status;
    n->revision = a->revision;
    c->answered = true;
    atomic_store(&c->ctx.closed, true);
    lane_post(&c->instance->host->home, &n->msg);
    return 0;
}

void object_answer_calls(struct kvp_host *t)
{
    t->call_ctx = host_call_ctx;
    t->call_event = host_call_event;
    t->call_answer = host_call_answer;
}
