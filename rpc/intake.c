/* intake.c - incoming messages of a call; see intake.h for the rules.
 *
 * A call that takes one message gets it when the stream has ended: only then is it certain that no
 * second one follows, which gRPC answers with INTERNAL and without running the method. The end
 * usually comes with the last bytes, so nothing is copied for it. */
#include "rpc/intake.h"

#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/limits.h"
#include "rpc/conn.h"
#include "rpc/grpc.h"
#include "rpc/h2.h"

#define INTAKE_NO_MEMORY   "kvd: too many bytes of unfinished requests, try again"
#define INTAKE_FIRST_BYTES 1024u /* smallest buffer */

static struct rpc_call *intake_call(struct intake *in)
{
    return LIST_ENTRY(in, struct rpc_call, in);
}

void intake_init(struct intake *in)
{
    memset(in, 0, sizeof(*in));
    list_init(&in->partial);
    list_init(&in->waiting);
}

/* ---- grants ---------------------------------------------------------------------------------- */

static bool intake_grant_fits(const struct rpc_server *s, const struct intake *in)
{
    /* Whatever the limits are set to, one message at a time must be able to pass. */
    return s->granted_bytes == 0 || s->granted_bytes + in->need <= s->options.input_bytes_max / 2;
}

static void intake_arm_stall_timer(struct rpc_server *s)
{
    if (!rpc_timer_is_set(&s->stall_timer)) {
        /* Without memory for the timer the waiting ones go on waiting for those before them. */
        (void)timers_set(&s->timers, &s->stall_timer, server_now_ms(s) + RPC_INPUT_STALL_MS / 10);
    }
}

static void intake_ask_grant(struct rpc_server *s, struct intake *in)
{
    if (list_empty(&s->waiting) && intake_grant_fits(s, in)) {
        in->has_grant = true;
        s->granted_bytes += in->need;
        return;
    }
    list_push_back(&s->waiting, &in->waiting);
    intake_arm_stall_timer(s);
}

static void intake_fed(struct rpc_server *s, struct intake *in)
{
    in->fed_ms = server_now_ms(s);
    list_remove(&in->partial);
    list_push_back(&s->partials, &in->partial);
}

static void intake_return_grant(struct rpc_server *s, struct intake *in)
{
    list_remove(&in->waiting);
    if (in->has_grant) {
        in->has_grant = false;
        s->granted_bytes -= in->need;
    }
    while (!list_empty(&s->waiting)) {
        struct intake *next = LIST_ENTRY(s->waiting.next, struct intake, waiting);
        if (!intake_grant_fits(s, next)) {
            return;
        }
        list_remove(&next->waiting);
        next->has_grant = true;
        s->granted_bytes += next->need;
        size_t held = next->held;
        next->held = 0;
        intake_fed(s, next);
        h2_consume(&intake_call(next)->stream, held);
    }
}

/* ---- collecting ------------------------------------------------------------------------------ */

/* Frees the buffer and the grant of the current message. */
static void intake_release(struct rpc_server *s, struct intake *in)
{
    list_remove(&in->partial);
    intake_return_grant(s, in);
    server_release_input(s, in->cap);
    mem_free(in->data);
    in->data = NULL;
    in->len = 0;
    in->cap = 0;
}

void intake_close(struct rpc_call *call)
{
    intake_release(call->server, &call->in);
}

static bool intake_stalled(const struct rpc_server *s, const struct intake *in)
{
    /* One that waits for a grant stands still because of us. */
    return list_empty(&in->waiting) && server_now_ms(s) - in->fed_ms >= RPC_INPUT_STALL_MS;
}

/* Ends calls whose message stands still; with `granted` only those that hold a grant. Returns
 * whether there was one. */
static bool intake_evict(struct rpc_server *s, const struct intake *except, bool granted)
{
    struct list *next;
    for (struct list *it = s->partials.next; it != &s->partials; it = next) {
        next = it->next;
        struct intake *in = LIST_ENTRY(it, struct intake, partial);
        if (server_now_ms(s) - in->fed_ms < RPC_INPUT_STALL_MS) {
            return false;
        }
        if (in != except && intake_stalled(s, in) && (!granted || in->has_grant)) {
            grpc_fail(intake_call(in), GRPC_RESOURCE_EXHAUSTED, INTAKE_NO_MEMORY);
            return true;
        }
    }
    return false;
}

void intake_stall_timer(struct rpc_server *s)
{
    while (!list_empty(&s->waiting) && intake_evict(s, NULL, true)) {
    }
    if (!list_empty(&s->waiting)) {
        intake_arm_stall_timer(s);
    }
}

static bool intake_grow(struct rpc_server *s, struct intake *in, size_t more)
{
    size_t want = in->len + more;
    size_t cap = in->cap * 2 < INTAKE_FIRST_BYTES ? INTAKE_FIRST_BYTES : in->cap * 2;
    /* One without a grant can get no more than its window: doubling past it would be waste. */
    size_t most = !in->has_grant && in->need > (uint32_t)RPC_STREAM_WINDOW_BYTES
                      ? (size_t)RPC_STREAM_WINDOW_BYTES
                      : in->need;
    cap = cap > most ? most : cap;
    cap = cap < want ? want : cap;
    size_t delta = cap - in->cap;
    while (!server_charge_input(s, delta)) {
        if (!intake_evict(s, in, false)) {
            return false;
        }
    }
    uint8_t *data = mem_realloc(in->data, cap);
    if (data == NULL) {
        server_release_input(s, delta);
        return false;
    }
    in->data = data;
    in->cap = cap;
    return true;
}

/* Copies part of a message aside. false: the call was ended. */
static bool intake_collect(struct rpc_call *call, struct slice part)
{
    struct intake *in = &call->in;
    struct rpc_server *s = call->server;
    if (in->len + part.len > in->cap && !intake_grow(s, in, part.len)) {
        grpc_fail(call, GRPC_RESOURCE_EXHAUSTED, INTAKE_NO_MEMORY);
        return false;
    }
    if (in->need > (uint32_t)RPC_STREAM_WINDOW_BYTES && !in->has_grant &&
        list_empty(&in->waiting) && in->len + part.len < in->need) {
        intake_ask_grant(s, in);
    }
    if (part.len > 0) {
        memcpy(in->data + in->len, part.data, part.len);
        in->len += part.len;
    }
    intake_fed(s, in);
    return true;
}

/* ---- messages -------------------------------------------------------------------------------- */

static bool intake_check_prefix(struct rpc_call *call)
{
    struct intake *in = &call->in;
    in->need = bytes_be32(in->prefix + 1);
    size_t max = call->server->options.message_bytes_max;
    if (in->need > max) {
        grpc_fail(call, GRPC_RESOURCE_EXHAUSTED,
                  "grpc: received message larger than max (%u vs. %zu)", in->need, max);
        return false;
    }
    if (in->prefix[0] == 1) {
        /* Other encodings were refused with the headers. */
        grpc_fail(call, GRPC_INTERNAL, "grpc: compressed flag set with identity or empty encoding");
        return false;
    }
    if (in->prefix[0] != 0) {
        grpc_fail(call, GRPC_INTERNAL, "grpc: received unexpected payload format %u",
                  in->prefix[0]);
        return false;
    }
    return true;
}

/* Hands on a message that lies in the caller's bytes. */
static void intake_deliver(struct rpc_call *call, struct slice message)
{
    struct intake *in = &call->in;
    in->messages++;
    in->prefix_len = 0;
    grpc_message(call, message);
}

/* Hands on the collected message. The service may end the call meanwhile, so the bytes are taken
 * out first and live until it returns. */
static void intake_deliver_collected(struct rpc_call *call)
{
    struct intake *in = &call->in;
    struct rpc_server *s = call->server;
    uint8_t *data = in->data;
    size_t len = in->len;
    size_t cap = in->cap;
    in->data = NULL;
    in->len = 0;
    in->cap = 0;
    intake_release(s, in);
    intake_deliver(call, slice_of(data, len));
    server_release_input(s, cap);
    mem_free(data);
}

static void intake_refuse_second(struct rpc_call *call)
{
    grpc_fail(
        call, GRPC_INTERNAL,
        "cardinality violation: received multiple request messages for non-client-streaming RPC");
}

/* Takes one step through *bytes. false: nothing more to do with them. */
static bool intake_step(struct rpc_call *call, struct slice *bytes, bool last)
{
    struct intake *in = &call->in;
    bool single = !call->method->client_streams;
    if (single && (in->complete || in->messages > 0)) {
        if (bytes->len > 0) {
            intake_refuse_second(call);
        }
        return false;
    }
    if (in->prefix_len < sizeof(in->prefix)) {
        size_t want = sizeof(in->prefix) - in->prefix_len;
        size_t n = bytes->len < want ? bytes->len : want;
        if (n > 0) {
            memcpy(in->prefix + in->prefix_len, bytes->data, n);
        }
        in->prefix_len = (uint8_t)(in->prefix_len + n);
        *bytes = slice_of(bytes->data + n, bytes->len - n);
        if (in->prefix_len < sizeof(in->prefix) || !intake_check_prefix(call)) {
            return false;
        }
    }
    size_t want = in->need - in->len;
    struct slice part = slice_of(bytes->data, bytes->len < want ? bytes->len : want);
    bool whole = part.len == want;
    struct slice rest = slice_of(bytes->data + part.len, bytes->len - part.len);
    if (single && whole && rest.len > 0) {
        intake_refuse_second(call);
        return false;
    }
    bool deliver = whole && (!single || last);
    *bytes = rest;
    if (deliver && in->len == 0) {
        intake_deliver(call, part);
        return true;
    }
    if ((part.len > 0 || whole) && !intake_collect(call, part)) {
        return false;
    }
    if (deliver) {
        intake_deliver_collected(call);
        return true;
    }
    in->complete = whole;
    return rest.len > 0;
}

void intake_data(struct rpc_call *call, struct slice bytes, bool last)
{
    struct intake *in = &call->in;
    size_t total = bytes.len;
    while (!call->finished && intake_step(call, &bytes, last)) {
    }
    if (call->finished || last) {
        return;
    }
    if (list_empty(&in->waiting)) {
        h2_consume(&call->stream, total);
    } else {
        in->held += total;
    }
}

bool intake_end(struct rpc_call *call)
{
    struct intake *in = &call->in;
    bool single = !call->method->client_streams;
    if (single && in->complete && in->messages == 0) {
        intake_deliver_collected(call);
    } else if (in->prefix_len > 0 && !(single && in->messages > 0)) {
        grpc_fail(call, GRPC_INTERNAL, "unexpected EOF");
    } else if (single && in->messages == 0) {
        grpc_fail(
            call, GRPC_INTERNAL,
            "cardinality violation: received no request message from non-client-streaming RPC");
    }
    return !call->finished;
}
