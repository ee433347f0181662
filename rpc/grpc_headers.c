/* grpc_headers.c - the request headers of a call: the method, kept values, and every reason to
 * refuse.
 *
 * The method is looked up as soon as :path is seen, so nothing of a good request but its metadata
 * is copied. Refusals have the texts, the order and the HTTP statuses of grpc-go. */
#include "rpc/grpc.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "rpc/conn.h"
#include "rpc/grpc_text.h"
#include "rpc/h2_exchange.h"

/* Copies a value aside; the first of several with one name counts. */
static void grpc_keep(struct rpc_call *call, enum grpc_kept which, struct slice value)
{
    if (call->kept[which].present) {
        return;
    }
    if (value.len > call->kept_cap - call->kept_len) {
        size_t cap = call->kept_len + value.len + CALL_KEPT_INLINE_BYTES;
        uint8_t *block = pool_alloc(&call->server->pool, cap);
        if (block == NULL) {
            call->headers_out_of_memory = true;
            return;
        }
        memcpy(block, call->kept_block != NULL ? call->kept_block : call->kept_inline,
               call->kept_len);
        pool_free(&call->server->pool, call->kept_block);
        call->kept_block = block;
        call->kept_cap = cap;
    }
    uint8_t *base = call->kept_block != NULL ? call->kept_block : call->kept_inline;
    if (value.len > 0) {
        memcpy(base + call->kept_len, value.data, value.len);
    }
    call->kept[which].offset = (uint32_t)call->kept_len;
    call->kept[which].len = (uint32_t)value.len;
    call->kept[which].present = true;
    call->kept_len += value.len;
}

struct slice grpc_kept_value(const struct rpc_call *call, enum grpc_kept which)
{
    if (!call->kept[which].present) {
        return slice_of(NULL, 0);
    }
    const uint8_t *base = call->kept_block != NULL ? call->kept_block : call->kept_inline;
    return slice_of(base + call->kept[which].offset, call->kept[which].len);
}

static bool is(struct slice s, const char *text, size_t len)
{
    return s.len == len && memcmp(s.data, text, len) == 0;
}
#define IS(s, text) is((s), (text), sizeof(text) - 1)

static void grpc_header_path(struct rpc_call *call, struct slice value)
{
    call->got_path = true;
    call->method = method_find(&call->server->methods, value);
    if (call->method != NULL) {
        return;
    }
    if (call->http) {
        h2_head_begin(call, value);
    }
    grpc_keep(call, KEPT_PATH, value);
}

static void grpc_header_content_type(struct rpc_call *call, struct slice value)
{
    if (grpc_content_type_ok(value)) {
        call->is_grpc = true;
    } else {
        grpc_keep(call, KEPT_CONTENT_TYPE, value);
    }
}

void grpc_header(struct rpc_call *call, struct slice name, struct slice value)
{
    call->header_count++;
    call->header_bytes += name.len + value.len + 32; /* as HTTP/2 counts a header list */
    if (call->header_count > RPC_HEADERS_MAX ||
        call->header_bytes > call->server->options.header_bytes_max) {
        call->headers_too_large = true;
        return;
    }
    if (call->head != NULL && name.data[0] != ':') {
        h2_head_add(call, name, value);
    }
    switch (name.len) {
    case 5:
        if (IS(name, ":path")) {
            grpc_header_path(call, value);
        } else if (IS(name, "token")) {
            grpc_keep(call, KEPT_TOKEN, value);
        }
        break;
    case 7:
        if (IS(name, ":method") && !IS(value, "POST")) {
            grpc_keep(call, KEPT_METHOD, value);
        }
        break;
    case 9:
        if (IS(name, "hasleader")) {
            grpc_keep(call, KEPT_HASLEADER, value);
        }
        break;
    case 10:
        if (IS(name, "user-agent")) {
            grpc_keep(call, KEPT_USER_AGENT, value);
        } else if (call->http && IS(name, ":authority")) {
            grpc_keep(call, KEPT_AUTHORITY, value);
        }
        break;
    case 12:
        if (IS(name, "content-type")) {
            grpc_header_content_type(call, value);
        } else if (IS(name, "grpc-timeout")) {
            grpc_keep(call, KEPT_GRPC_TIMEOUT, value);
        }
        break;
    case 13:
        if (IS(name, "authorization")) {
            grpc_keep(call, KEPT_AUTHORIZATION, value);
        } else if (IS(name, "grpc-encoding") && value.len > 0 && !IS(value, "identity")) {
            grpc_keep(call, KEPT_GRPC_ENCODING, value);
        }
        break;
    case 18:
        if (IS(name, "client-api-version")) {
            grpc_keep(call, KEPT_CLIENT_API_VERSION, value);
        }
        break;
    default:
        break;
    }
}

/* A refusal with the offending value quoted after `before`. */
static void grpc_refuse_quoted(struct rpc_call *call, const char *http_status, int code,
                               const char *before, enum grpc_kept which, const char *after)
{
    char quoted[512];
    char text[640];
    grpc_quote(grpc_kept_value(call, which), quoted, sizeof(quoted));
    snprintf(text, sizeof(text), "%s%s%s", before, quoted, after);
    grpc_finish(call, code, text, http_status);
}

/* Sets the deadline. false: the call was refused. */
static bool grpc_start_deadline(struct rpc_call *call)
{
    struct rpc_server *s = call->server;
    if (!call->kept[KEPT_GRPC_TIMEOUT].present) {
        return true;
    }
    uint64_t ns = 0;
    switch (grpc_timeout_parse(grpc_kept_value(call, KEPT_GRPC_TIMEOUT), &ns)) {
    case GRPC_TIMEOUT_SHORT:
        grpc_refuse_quoted(call, "400", GRPC_INTERNAL,
                           "malformed grpc-timeout: transport: timeout string is too short: ",
                           KEPT_GRPC_TIMEOUT, "");
        return false;
    case GRPC_TIMEOUT_LONG:
        grpc_refuse_quoted(call, "400", GRPC_INTERNAL,
                           "malformed grpc-timeout: transport: timeout string is too long: ",
                           KEPT_GRPC_TIMEOUT, "");
        return false;
    case GRPC_TIMEOUT_UNIT:
        grpc_refuse_quoted(call, "400", GRPC_INTERNAL,
                           "malformed grpc-timeout: transport: timeout unit is not recognized: ",
                           KEPT_GRPC_TIMEOUT, "");
        return false;
    case GRPC_TIMEOUT_NUMBER:
        call->kept[KEPT_GRPC_TIMEOUT].len--; /* the text quotes the digits without the unit */
        grpc_refuse_quoted(call, "400", GRPC_INTERNAL,
                           "malformed grpc-timeout: strconv.ParseUint: parsing ", KEPT_GRPC_TIMEOUT,
                           ": invalid syntax");
        return false;
    case GRPC_TIMEOUT_OK:
        break;
    }
    call->has_deadline = true;
    call->deadline_ns = server_now_ms(s) * 1000000u + ns;
    /* Rounded up: a call is never ended before its time. */
    if (!timers_set(&s->timers, &call->deadline, (call->deadline_ns + 999999u) / 1000000u)) {
        grpc_finish(call, GRPC_RESOURCE_EXHAUSTED, err_text(ERR_NOMEM), "200");
        return false;
    }
    return true;
}

/* The checks of a request's headers, in grpc-go's order. false: refused. */
static bool grpc_check_headers(struct rpc_call *call)
{
    if (call->headers_too_large) {
        grpc_finish(call, GRPC_RESOURCE_EXHAUSTED, "kvd: request metadata is too large", "431");
        return false;
    }
    if (call->headers_out_of_memory) {
        grpc_finish(call, GRPC_RESOURCE_EXHAUSTED, err_text(ERR_NOMEM), "200");
        return false;
    }
    if (!call->is_grpc) {
        grpc_refuse_quoted(call, "415", GRPC_INVALID_ARGUMENT, "invalid gRPC request content-type ",
                           KEPT_CONTENT_TYPE, "");
        return false;
    }
    if (!grpc_start_deadline(call)) {
        return false;
    }
    if (call->kept[KEPT_METHOD].present) {
        grpc_refuse_quoted(call, "405", GRPC_INTERNAL, "Received a HEADERS frame with :method ",
                           KEPT_METHOD, " which should be POST");
        return false;
    }
    if (call->has_deadline && call->deadline_ns <= server_now_ms(call->server) * 1000000u) {
        grpc_finish(call, GRPC_DEADLINE_EXCEEDED, err_text(ERR_DEADLINE), "200");
        return false;
    }
    return true;
}

/* No such method: says which half of the path is wrong. */
static void grpc_refuse_unknown(struct rpc_call *call)
{
    struct slice path = grpc_kept_value(call, KEPT_PATH);
    const uint8_t *last = path.len > 1 ? memrchr(path.data + 1, '/', path.len - 1) : NULL;
    if (path.len == 0 || path.data[0] != '/' || last == NULL) {
        grpc_refuse_quoted(call, "200", GRPC_UNIMPLEMENTED, "malformed method name: ", KEPT_PATH,
                           "");
        return;
    }
    struct slice service = slice_of(path.data + 1, (size_t)(last - path.data) - 1);
    struct slice method = slice_of(last + 1, path.len - (size_t)(last - path.data) - 1);
    if (method_service_known(&call->server->methods, service)) {
        grpc_fail(call, GRPC_UNIMPLEMENTED, "unknown method %.*s for service %.*s", (int)method.len,
                  (const char *)method.data, (int)service.len, (const char *)service.data);
    } else {
        grpc_fail(call, GRPC_UNIMPLEMENTED, "unknown service %.*s", (int)service.len,
                  (const char *)service.data);
    }
}

void grpc_headers_end(struct rpc_call *call)
{
    if (call->head != NULL && (!call->is_grpc || call->server->methods.count == 0)) {
        h2_exchange_start(call);
        return;
    }
    h2_head_free(call);
    if (!grpc_check_headers(call)) {
        return;
    }
    if (call->method == NULL) {
        grpc_refuse_unknown(call);
        return;
    }
    if (call->kept[KEPT_GRPC_ENCODING].present) {
        grpc_refuse_quoted(call, "200", GRPC_UNIMPLEMENTED,
                           "grpc: Decompressor is not installed for grpc-encoding ",
                           KEPT_GRPC_ENCODING, "");
        return;
    }
    if (call->server->output_bytes > RPC_OUTPUT_BYTES_MAX ||
        call->conn->output_bytes > RPC_CONN_OUTPUT_BYTES_MAX) {
        grpc_fail(call, GRPC_RESOURCE_EXHAUSTED, "kvd: too many unsent answers, try again");
        return;
    }
    call->opened = true;
    if (call->method->open != NULL) {
        call->method->open(call);
    }
    if (call->stream.half_closed) {
        grpc_end(call);
    }
}
