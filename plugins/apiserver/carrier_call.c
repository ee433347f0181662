/* carrier_call.c - answers to other plugins.
 *
 * A call is dead once it is answered, while the verb that answered is still at work with its
 * exchange: so that one is put on a list and freed in a callback of its own. Events of a watch wait
 * in out, each behind a head that says what it is. */
#include "plugins/apiserver/carrier.h"

#define CALL_TYPE_BYTES 16u

struct call_event_head {
    size_t len; /* of the object behind it */
    int64_t revision;
    char type[CALL_TYPE_BYTES];
};

static uint64_t call_hash(const struct kvp_call *c)
{
    return hash_u64((uint64_t)(uintptr_t)c);
}

static struct exchange *call_exchange(struct hash_node *n)
{
    return (struct exchange *)((char *)n - offsetof(struct exchange, call_node));
}

struct exchange *carrier_call_find(struct apiserver *api, struct kvp_call *c)
{
    uint64_t hash = call_hash(c);
    for (struct hash_node *n = hashmap_first(&api->calls, hash); n != NULL;
         n = hashmap_next(n, hash)) {
        struct exchange *ex = call_exchange(n);
        if (ex->peer == c) {
            return ex;
        }
    }
    return NULL;
}

/* ---- the end ------------------------------------------------------------------------------- */

static void call_sweep(struct apiserver *api)
{
    for (struct exchange *ex; (ex = api->answered) != NULL;) {
        api->answered = ex->next_answered;
        exchange_closed(ex);
    }
}

static void call_on_sweep(void *data)
{
    call_sweep(data);
}

/* When the post is refused, the next request or the plugin's end frees it. */
static void call_over(struct exchange *ex)
{
    struct apiserver *api = ex->api;
    bool first = api->answered == NULL;
    hashmap_remove(&api->calls, &ex->call_node);
    ex->next_answered = api->answered;
    api->answered = ex;
    if (first) {
        (void)api->host->post(api->ctx, call_on_sweep, api);
    }
}

void carrier_call_canceled(struct exchange *ex)
{
    hashmap_remove(&ex->api->calls, &ex->call_node);
    exchange_closed(ex);
}

void carrier_call_close(struct apiserver *api)
{
    call_sweep(api);
    hashmap_close(&api->calls);
}

/* ---- answers ------------------------------------------------------------------------------- */

static int call_say(struct exchange *ex, int code, const char *type, struct slice body)
{
    struct kvp_object_answer a = {.size = sizeof a,
                                  .status = code,
                                  .content_type = kvp_str(type),
                                  .body = kvp_of_slice(body),
                                  .revision = ex->revision};
    return ex->api->host->call_answer(ex->peer, &a);
}

static bool call_respond(struct exchange *ex, int code, const char *content_type)
{
    ex->code = code;
    ex->answer_type = content_type;
    return true;
}

static const char too_large[] =
    "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\"message\":"
    "\"the answer is too large\",\"reason\":\"RequestEntityTooLarge\",\"code\":413}";
static const char broken[] =
    "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\"message\":"
    "\"Internal error occurred: out of memory\",\"reason\":\"InternalError\",\"code\":500}";

/* An answer that cannot be given is told as such; when there is no memory for that either, the
 * exchange waits until its asker gives up. */
static void call_answer(struct exchange *ex, int code, const char *type, struct slice body)
{
    int reason = call_say(ex, code, type, body);
    if (reason != 0) {
        bool large = reason == KVP_TOO_LARGE;
        reason = call_say(ex, large ? 413 : 500, "application/json",
                          slice_str(large ? too_large : broken));
    }
    if (reason == 0) {
        call_over(ex);
    } else {
        KVP_LOG(ex->api->host, ex->api->ctx, KVP_ERROR, "a plugin was not answered",
                kvp_f_int("reason", reason));
    }
}

static void call_break_off(struct exchange *ex)
{
    call_answer(ex, 500, "application/json", slice_str(broken));
}

static void call_finish(struct exchange *ex)
{
    struct slice rest = ex->stream ? slice_of("", 0) : buf_slice(&ex->out);
    call_answer(ex, ex->code, ex->answer_type, rest);
}

static bool call_hand_on(struct exchange *ex)
{
    const struct kvp_host *host = ex->api->host;
    if (!ex->stream) {
        return true; /* finish tells all at once */
    }
    while (ex->sent < ex->out.len && !ex->finished) {
        struct call_event_head head;
        memcpy(&head, ex->out.data + ex->sent, sizeof head);
        int reason = host->call_event(ex->peer, kvp_str(head.type),
                                      kvp_bytes_of(ex->out.data + ex->sent + sizeof head, head.len),
                                      head.revision);
        if (reason == KVP_BUSY) {
            return false;
        }
        if (reason != 0) {
            ex->last = true;
            ex->finished = true;
            call_break_off(ex);
            return false;
        }
        ex->sent += sizeof head + head.len;
    }
    return !ex->finished;
}

static void call_event_begin(struct exchange *ex, const char *type, int64_t revision)
{
    struct call_event_head head = {.revision = revision};
    strncpy(head.type, type, sizeof head.type - 1);
    buf_append(&ex->out, &head, sizeof head);
}

static void call_event_end(struct exchange *ex)
{
    size_t len = ex->out.len - ex->event_at - sizeof(struct call_event_head);
    if (!ex->out.failed) {
        memcpy(ex->out.data + ex->event_at + offsetof(struct call_event_head, len), &len,
               sizeof len);
    }
}

static const struct carrier carrier_call = {.respond = call_respond,
                                            .hand_on = call_hand_on,
                                            .finish = call_finish,
                                            .break_off = call_break_off,
                                            .event_begin = call_event_begin,
                                            .event_end = call_event_end};

struct exchange *carrier_call_begin(struct apiserver *api, struct kvp_call *c,
                                    const struct kvp_object_request *r)
{
    call_sweep(api);
    struct kvp_ctx *ctx = api->host->call_ctx(c);
    struct exchange *ex = exchange_new(api, &carrier_call, c, ctx);
    if (ex == NULL) {
        return NULL;
    }
    if (!hashmap_insert(&api->calls, &ex->call_node, call_hash(c))) {
        exchange_closed(ex);
        return NULL;
    }
    ex->accept = arena_dup(&ex->arena, slice_of_kvp(r->accept));
    ex->content_type = arena_dup(&ex->arena, slice_of_kvp(r->content_type));
    buf_append_slice(&ex->body, slice_of_kvp(r->body));
    return ex;
}
