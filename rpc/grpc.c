/* grpc.c - gRPC calls: from a stream's headers and bytes to a service's callbacks, and back.
 *
 * Happy path of a unary call: grpc_new, grpc_header for each field (the method is found here),
 * grpc_headers_end calls `open`; grpc_data hands the message to `message`; the service calls
 * rpc_call_send and rpc_call_finish; the framing fetches the bytes with grpc_output_ready and
 * _take, and with the last of them the trailers are submitted; grpc_closed calls `closed` and
 * frees.
 *
 * A refused call never reaches its service: it gets its trailers and is neither opened nor told
 * closed. Texts of refusals are grpc-go's, which clients and people know. */
#include "rpc/grpc.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/err.h"
#include "base/limits.h"
#include "rpc/conn.h"
#include "rpc/grpc_text.h"
#include "rpc/h2_exchange.h"
#include "rpc/secure.h"

#define H2_CANCEL            8u
#define H2_REFUSED_STREAM    7u
#define H2_ENHANCE_YOUR_CALM 11u

/* ---- life ------------------------------------------------------------------------------------ */

static void grpc_deadline_passed(struct rpc_timer *t);

struct rpc_call *grpc_new(struct rpc_server *s, struct conn *c)
{
    struct rpc_call *call = pool_zalloc(&s->pool, sizeof(*call));
    if (call == NULL) {
        return NULL;
    }
    call->server = s;
    call->conn = c;
    call->http = server_http_on_h2(s, c->security != NULL);
    call->kept_cap = sizeof(call->kept_inline);
    call->deadline.fire = grpc_deadline_passed;
    list_init(&call->writable);
    intake_init(&call->in);
    flow_init(&call->out);
    s->call_count++;
    return call;
}

/* The code for metrics when the peer or the connection ended the call. */
static int grpc_code_of_reset(uint32_t h2_code)
{
    switch (h2_code) {
    case H2_REFUSED_STREAM:
        return GRPC_UNAVAILABLE;
    case H2_ENHANCE_YOUR_CALM:
        return GRPC_RESOURCE_EXHAUSTED;
    default:
        return GRPC_CANCELED;
    }
}

static void grpc_account(struct rpc_call *call, size_t held_before)
{
    /* Unsigned arithmetic: the difference may be negative. */
    size_t delta = call->out.held - held_before;
    call->server->output_bytes += (uint64_t)(int64_t)(ptrdiff_t)delta;
    call->conn->output_bytes += (uint64_t)(int64_t)(ptrdiff_t)delta;
}

/* Inside a producer the queue it belongs to must stay; it is dropped when the producer returns. */
static void grpc_drop_output(struct rpc_call *call)
{
    if (call->producing) {
        call->drop_output = true;
        return;
    }
    size_t held = call->out.held;
    flow_clear(&call->out, &call->server->pool);
    grpc_account(call, held);
}

void grpc_closed(struct rpc_call *call, uint32_t h2_code)
{
    struct rpc_server *s = call->server;
    ASSERT(!call->closed);
    call->closed = true;
    timers_cancel(&s->timers, &call->deadline);
    list_remove(&call->writable);
    intake_close(call);
    grpc_drop_output(call);
    if (call->opened) {
        if (s->options.on_finished != NULL) {
            int code = call->finished ? call->status : grpc_code_of_reset(h2_code);
            s->options.on_finished(s->options.data, call->method, code);
        }
        if (call->method->closed != NULL) {
            call->method->closed(call);
        }
    }
    s->call_count--;
    pool_free(&s->pool, call->status_text);
    pool_free(&s->pool, call->kept_block);
    h2_head_free(call);
    pool_free(&s->pool, call);
}

/* ---- input ----------------------------------------------------------------------------------- */

void grpc_data(struct rpc_call *call, struct slice bytes, bool last)
{
    if (call->opened && !call->finished) {
        intake_data(call, bytes, last);
    }
}

void grpc_end(struct rpc_call *call)
{
    if (!call->opened || call->finished || !intake_end(call)) {
        return;
    }
    if (call->method->half_close != NULL) {
        call->method->half_close(call);
    }
}

void grpc_message(struct rpc_call *call, struct slice bytes)
{
    call->server->received_bytes += FLOW_PREFIX_BYTES + bytes.len;
    call->method->message(call, bytes);
}

/* ---- output ---------------------------------------------------------------------------------- */

static size_t grpc_status_fields(struct rpc_call *call, char code[12], struct h2_field *fields)
{
    size_t count = 0;
    if (call->status == GRPC_OK) {
        fields[count++] = (struct h2_field){"grpc-status", slice_str("0"), true};
    } else {
        int len = snprintf(code, 12, "%d", call->status);
        fields[count++] = (struct h2_field){"grpc-status", slice_of(code, (size_t)len), false};
    }
    if (call->status_text != NULL) {
        fields[count++] = (struct h2_field){"grpc-message", slice_str(call->status_text), false};
    }
    return count;
}

static void grpc_submit_trailers(struct rpc_call *call)
{
    char code[12];
    struct h2_field fields[H2_FIELDS_MAX];
    size_t count = grpc_status_fields(call, code, fields);
    call->trailers_sent = true;
    (void)h2_submit_trailers(&call->stream, fields, count);
}

static void grpc_submit_trailers_only(struct rpc_call *call, const char *http_status)
{
    char code[12];
    struct h2_field fields[H2_FIELDS_MAX] = {
        {":status", slice_str(http_status), true},
        {"content-type", slice_str("application/grpc"), true},
    };
    size_t count = 2 + grpc_status_fields(call, code, fields + 2);
    call->headers_sent = true;
    call->trailers_sent = true;
    (void)h2_submit_headers(&call->stream, fields, count, true);
}

static void grpc_submit_headers(struct rpc_call *call)
{
    static const char ok[] = "200";
    struct h2_field fields[] = {
        {":status", slice_of(ok, 3), true},
        {"content-type", slice_str("application/grpc"), true},
    };
    call->headers_sent = true;
    (void)h2_submit_headers(&call->stream, fields, 2, false);
}

static void grpc_set_status(struct rpc_call *call, int code, const char *text)
{
    call->finished = true;
    call->status = code;
    if (text == NULL || text[0] == '\0') {
        return;
    }
    size_t len = strnlen(text, RPC_STATUS_TEXT_BYTES_MAX);
    size_t size = len * 9 + 1; /* the worst: a byte that is not UTF-8 becomes nine characters */
    char *encoded = pool_alloc(&call->server->pool, size);
    if (encoded == NULL) {
        return; /* the code alone says most */
    }
    char *cut = NULL;
    if (text[len] != '\0') {
        cut = pool_alloc(&call->server->pool, len + 1);
        if (cut == NULL) {
            pool_free(&call->server->pool, encoded);
            return;
        }
        memcpy(cut, text, len);
        cut[len] = '\0';
    }
    grpc_message_encode(cut != NULL ? cut : text, encoded, size);
    pool_free(&call->server->pool, cut);
    call->status_text = encoded;
}

void grpc_finish(struct rpc_call *call, int code, const char *text, const char *http_status)
{
    if (call->finished || call->closed) {
        return;
    }
    grpc_set_status(call, code, text);
    timers_cancel(&call->server->timers, &call->deadline);
    list_remove(&call->writable);
    intake_close(call);
    if (!call->headers_sent && call->out.queued == 0) {
        grpc_submit_trailers_only(call, http_status);
    } else if (call->out.queued == 0) {
        grpc_submit_trailers(call);
    }
    /* Else the trailers follow the last queued byte. */
}

void grpc_fail(struct rpc_call *call, int code, const char *format, ...)
{
    char text[RPC_STATUS_TEXT_BYTES_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    grpc_drop_output(call);
    grpc_finish(call, code, text, "200");
}

static void grpc_deadline_passed(struct rpc_timer *t)
{
    struct rpc_call *call = LIST_ENTRY(t, struct rpc_call, deadline);
    grpc_fail(call, GRPC_DEADLINE_EXCEEDED, "%s", err_text(ERR_DEADLINE));
}

size_t grpc_output_ready(struct rpc_call *call, size_t wanted, bool *end, bool *blocked)
{
    *end = false;
    *blocked = false;
    if (call->trailers_sent) {
        *blocked = true;
        return 0;
    }
    size_t held = call->out.held;
    call->producing = true;
    size_t n = flow_ready(&call->out, wanted);
    call->producing = false;
    grpc_account(call, held);
    bool broken = call->out.broken && n == 0;
    if (broken || call->drop_output) {
        call->drop_output = false;
        grpc_drop_output(call);
        n = 0;
    }
    if (broken && (!call->finished || call->status == GRPC_OK)) {
        pool_free(&call->server->pool, call->status_text);
        call->status_text = NULL;
        grpc_set_status(call, GRPC_INTERNAL, "kvd: the answer could not be completed");
    }
    if (call->trailers_sent) {
        *blocked = true; /* reset by its own producer */
        return 0;
    }
    if (call->finished && n == call->out.queued) {
        *end = true;
        grpc_submit_trailers(call);
    } else if (n == 0) {
        *blocked = true;
    }
    return n;
}

void grpc_output_take(struct rpc_call *call, uint8_t *out, size_t n)
{
    size_t held = call->out.held;
    call->server->sent_bytes += n;
    bool low = flow_take(&call->out, &call->server->pool, out, n);
    grpc_account(call, held);
    if (low && !call->finished && call->method->writable != NULL && list_empty(&call->writable)) {
        list_push_back(&call->server->writable, &call->writable);
    }
}

void grpc_writable(struct rpc_call *call)
{
    list_remove(&call->writable);
    if (!call->finished) {
        call->method->writable(call);
    }
}

/* ---- what services call ---------------------------------------------------------------------- */

/* Something was queued: get it out. */
static void grpc_kick(struct rpc_call *call)
{
    if (!call->headers_sent) {
        grpc_submit_headers(call);
    } else {
        h2_resume(&call->stream);
    }
}

/* The queue refused a message: the call cannot be completed as its service meant it. */
static void grpc_send_failed(struct rpc_call *call, enum flow_result result, uint64_t bytes)
{
    if (result == FLOW_TOO_LARGE) {
        grpc_fail(call, GRPC_RESOURCE_EXHAUSTED,
                  "trying to send message larger than max (%llu vs. %u)", (unsigned long long)bytes,
                  RPC_SEND_BYTES_MAX);
    } else {
        grpc_fail(call, GRPC_RESOURCE_EXHAUSTED, "%s", err_text(ERR_NOMEM));
    }
}

bool rpc_call_send(struct rpc_call *call, const struct rpc_part *parts, size_t count)
{
    if (call->finished || call->closed) {
        return false;
    }
    size_t held = call->out.held;
    enum flow_result result = flow_send(&call->out, &call->server->pool, parts, count);
    grpc_account(call, held);
    if (result != FLOW_OK) {
        uint64_t bytes = 0;
        for (size_t i = 0; i < count; i++) {
            bytes += parts[i].bytes.len;
        }
        grpc_send_failed(call, result, bytes);
        return false;
    }
    grpc_kick(call);
    return true;
}

bool rpc_call_send_produced(struct rpc_call *call, uint64_t total,
                            bool (*produce)(void *data, struct buf *out, size_t room),
                            void (*done)(void *data), void *data)
{
    if (call->finished || call->closed) {
        done(data);
        return false;
    }
    size_t held = call->out.held;
    enum flow_result result =
        flow_produce(&call->out, &call->server->pool, total, produce, done, data);
    grpc_account(call, held);
    if (result != FLOW_OK) {
        done(data);
        grpc_send_failed(call, result, total);
        return false;
    }
    grpc_kick(call);
    return true;
}

void rpc_call_send_headers(struct rpc_call *call)
{
    if (!call->finished && !call->closed && !call->headers_sent) {
        grpc_submit_headers(call);
    }
}

void rpc_call_finish(struct rpc_call *call, int grpc_code, const char *text)
{
    grpc_finish(call, grpc_code, text, "200");
}

void rpc_call_finish_err(struct rpc_call *call, int err)
{
    grpc_finish(call, err_grpc(err), err == ERR_OK ? NULL : err_text(err), "200");
}

void rpc_call_reset(struct rpc_call *call, uint32_t h2_code)
{
    if (call->closed || call->trailers_sent) {
        return;
    }
    call->finished = true;
    call->trailers_sent = true;
    call->status = grpc_code_of_reset(h2_code);
    timers_cancel(&call->server->timers, &call->deadline);
    list_remove(&call->writable);
    intake_close(call);
    grpc_drop_output(call);
    h2_reset(&call->stream, h2_code);
}

bool rpc_call_above_high_water(const struct rpc_call *call)
{
    return call->out.above_high;
}

struct slice rpc_call_metadata(const struct rpc_call *call, const char *name)
{
    static const struct {
        const char *name;
        enum grpc_kept kept;
    } names[] = {
        {"token", KEPT_TOKEN},
        {"authorization", KEPT_AUTHORIZATION},
        {"hasleader", KEPT_HASLEADER},
        {"client-api-version", KEPT_CLIENT_API_VERSION},
        {"grpc-timeout", KEPT_GRPC_TIMEOUT},
        {"user-agent", KEPT_USER_AGENT},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i].name, name) == 0) {
            return grpc_kept_value(call, names[i].kept);
        }
    }
    return slice_of(NULL, 0);
}

uint64_t rpc_call_deadline_ns(const struct rpc_call *call)
{
    return call->deadline_ns;
}

const struct rpc_method *rpc_call_method(const struct rpc_call *call)
{
    return call->method;
}

const char *rpc_call_peer(const struct rpc_call *call)
{
    return conn_peer(call->conn);
}

const struct tls_peer *rpc_call_peer_identity(const struct rpc_call *call)
{
    return call->conn->security != NULL ? secure_peer(call->conn->security) : NULL;
}

void rpc_call_set_data(struct rpc_call *call, void *data)
{
    call->data = data;
}

void *rpc_call_data(const struct rpc_call *call)
{
    return call->data;
}

void *rpc_call_server_data(const struct rpc_call *call)
{
    return call->server->options.data;
}
