/* http.c - plain HTTP exchanges as handlers use them: the parts of a request, answers; see http.h.
 * http_dispatch.c has the way to the handler. */
#include "rpc/http.h"

#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/assert.h"
#include "base/buf.h"
#include "rpc/conn.h"
#include "rpc/http_impl.h"
#include "rpc/secure.h"

/* ---- parts of a request ---------------------------------------------------------------------- */

struct slice http_method(const struct http_request *req)
{
    return req->method;
}

struct slice http_path(const struct http_request *req)
{
    return req->path;
}

struct slice http_query(const struct http_request *req)
{
    return req->query;
}

struct slice http_header_lines(const struct http_request *req)
{
    return req->lines;
}

bool http_has_body(const struct http_request *req)
{
    return !req->body_ended;
}

struct slice http_body(const struct http_request *req)
{
    return buf_slice(&req->body);
}

bool http_header_next(const struct http_request *req, size_t *position, struct slice *name,
                      struct slice *value)
{
    if (*position >= req->lines.len) {
        return false;
    }
    const uint8_t *line = req->lines.data + *position;
    size_t left = req->lines.len - *position;
    const uint8_t *end = memchr(line, '\n', left);
    size_t len = end != NULL ? (size_t)(end - line) : left;
    *position += len + (end != NULL);
    const uint8_t *colon = memchr(line, ':', len);
    size_t name_len = colon != NULL ? (size_t)(colon - line) : len;
    *name = slice_of(line, name_len);
    *value = colon != NULL ? slice_of(colon + 1, len - name_len - 1) : slice_of(line + len, 0);
    return true;
}

struct slice http_header(const struct http_request *req, const char *lowercase_name)
{
    struct slice wanted = slice_str(lowercase_name);
    struct slice name;
    struct slice value;
    size_t at = 0;
    while (http_header_next(req, &at, &name, &value)) {
        if (slice_eq(name, wanted)) {
            return value;
        }
    }
    return slice_of(NULL, 0);
}

int http_protocol(const struct http_request *req)
{
    return req->version;
}

const char *http_peer(struct http_request *req)
{
    return conn_peer(req->conn);
}

bool http_is_tls(const struct http_request *req)
{
    return req->conn->security != NULL;
}

const struct tls_peer *http_peer_identity(const struct http_request *req)
{
    return req->conn->security != NULL ? secure_peer(req->conn->security) : NULL;
}

void *http_server_data(const struct http_request *req)
{
    return req->server->options.data;
}

void http_set_data(struct http_request *req, void *data)
{
    req->data = data;
}

void *http_data(const struct http_request *req)
{
    return req->data;
}

void *http_route_data(const struct http_request *req)
{
    return req->route != NULL ? req->route->route.data : NULL;
}

void http_on_closed(struct http_request *req, void (*closed)(struct http_request *req))
{
    req->on_closed = closed;
}

void http_on_writable(struct http_request *req, void (*writable)(struct http_request *req))
{
    req->on_writable = writable;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes up to a delimiter into out; returns how many bytes of s were used. */
static size_t query_part(struct slice s, const char *delimiters, char *out, size_t size)
{
    size_t used = 0;
    size_t len = 0;
    while (used < s.len && strchr(delimiters, s.data[used]) == NULL) {
        uint8_t c = s.data[used++];
        if (c == '+') {
            c = ' ';
        } else if (c == '%' && s.len - used >= 2 && hex_digit(s.data[used]) >= 0 &&
                   hex_digit(s.data[used + 1]) >= 0) {
            c = (uint8_t)(hex_digit(s.data[used]) * 16 + hex_digit(s.data[used + 1]));
            used += 2;
        }
        if (len + 1 < size) {
            out[len++] = (char)c;
        }
    }
    if (size > 0) {
        out[len] = '\0';
    }
    return used;
}

bool http_query_next(const struct http_request *req, size_t *position, char *name, size_t name_size,
                     char *value, size_t value_size)
{
    struct slice q = req->query;
    /* Empty pairs ("a=1&&b=2") are nothing. */
    while (*position < q.len && q.data[*position] == '&') {
        (*position)++;
    }
    if (*position >= q.len) {
        return false;
    }
    *position += query_part(slice_of(q.data + *position, q.len - *position), "&=", name, name_size);
    if (value_size > 0) {
        value[0] = '\0';
    }
    if (*position < q.len && q.data[*position] == '=') {
        (*position)++;
        *position +=
            query_part(slice_of(q.data + *position, q.len - *position), "&", value, value_size);
    }
    return true;
}

/* ---- answers --------------------------------------------------------------------------------- */

const char *http_status_text(int status)
{
    static const struct {
        int status;
        const char *text;
    } texts[] = {
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {412, "Precondition Failed"},
        {413, "Request Entity Too Large"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {422, "Unprocessable Entity"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (texts[i].status == status) {
            return texts[i].text;
        }
    }
    return "";
}

/* A line break in a header would let whoever chose it write headers of their own. */
static bool http_name_clean(struct slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] <= ' ' || name.data[i] >= 0x7f || name.data[i] == ':') {
            return false;
        }
    }
    return name.len > 0;
}

static bool http_header_clean(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '\r' || text.data[i] == '\n' || text.data[i] == '\0') {
            return false;
        }
    }
    return true;
}

static bool http_header_is_ours(const char *name)
{
    static const char *const ours[] = {"connection", "keep-alive",     "transfer-encoding",
                                       "upgrade",    "content-length", "date"};
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
        if (strcasecmp(name, ours[i]) == 0) {
            return true;
        }
    }
    return false;
}

static void http_append_header(struct buf *out, const char *name, struct slice value)
{
    struct slice n = slice_str(name);
    if (WARN_IF(!http_header_clean(value) || !http_name_clean(n),
                "a response header that is not one line was left out")) {
        return;
    }
    buf_append_slice(out, n);
    buf_append_str(out, ": ");
    buf_append_slice(out, value);
    buf_append_str(out, "\r\n");
}

static void http_append_date(struct buf *out)
{
    char text[40];
    struct tm tm;
    time_t now = time(NULL);
    gmtime_r(&now, &tm);
    size_t len = strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &tm);
    http_append_header(out, "Date", slice_of(text, len));
}

static void http_make_head(struct http_request *req, struct buf *head, const char *content_type,
                           const struct http_header_field *headers)
{
    if (req->cors.data != NULL) {
        http_append_header(head, "Access-Control-Allow-Origin", req->cors);
        http_append_header(head, "Access-Control-Allow-Methods",
                           slice_str("POST, GET, OPTIONS, PUT, DELETE"));
        http_append_header(head, "Access-Control-Allow-Headers",
                           slice_str("accept, content-type, authorization"));
    }
    if (content_type != NULL) {
        http_append_header(head, "Content-Type", slice_str(content_type));
    }
    for (size_t i = 0; headers != NULL && headers[i].name != NULL; i++) {
        if (!http_header_is_ours(headers[i].name)) {
            http_append_header(head, headers[i].name, slice_str(headers[i].value));
        }
    }
    http_append_date(head);
}

/* Sends the head. false: without memory for it the answer is an empty 503. */
static bool http_send_head(struct http_request *req, int status, const char *content_type,
                           const struct http_header_field *headers, uint64_t body_bytes, bool whole)
{
    struct buf head;
    buf_init(&head);
    http_make_head(req, &head, content_type, headers);
    bool ok = !head.failed;
    if (!ok) {
        buf_clear(&head);
        status = 503;
        body_bytes = 0;
    }
    req->begun = true;
    req->promised = body_bytes;
    req->bodiless = req->head_only || status == 204 || status == 304;
    req->carrier->begin(req, status, buf_slice(&head), body_bytes,
                        whole && (body_bytes == 0 || req->bodiless));
    buf_close(&head);
    return ok;
}

void http_begin(struct http_request *req, int status, const char *content_type,
                const struct http_header_field *headers, uint64_t body_bytes)
{
    if (WARN_IF(req->begun || req->finished, "an HTTP answer was begun twice")) {
        return;
    }
    http_send_head(req, status, content_type, headers, body_bytes, false);
}

bool http_is_full(const struct http_request *req)
{
    return req->full;
}

enum http_write_result http_write_parts(struct http_request *req, const struct rpc_part *parts,
                                        size_t count)
{
    if (WARN_IF(!req->begun, "an HTTP body was written before its head") || req->finished ||
        req->broken) {
        return HTTP_GONE;
    }
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        total += parts[i].bytes.len;
    }
    if (total == 0 || req->bodiless) {
        return HTTP_WRITTEN;
    }
    if (req->full) {
        return HTTP_FULL;
    }
    if (WARN_IF(req->promised != HTTP_BYTES_UNKNOWN && total > req->promised - req->sent,
                "an HTTP body is longer than was promised") ||
        !req->carrier->write(req, parts, count, total)) {
        /* The peer must not take what it has for a whole body: the end finds sent < promised, or
         * the carrier has given up already. */
        req->broken = true;
        req->carrier->abort(req);
        return HTTP_GONE;
    }
    req->sent += total;
    return HTTP_WRITTEN;
}

enum http_write_result http_write(struct http_request *req, struct slice bytes)
{
    const struct rpc_part part = {.bytes = bytes};
    return http_write_parts(req, &part, 1);
}

void http_finish(struct http_request *req)
{
    if (req->finished) {
        return;
    }
    bool whole =
        req->begun && !req->broken &&
        (req->bodiless || req->promised == HTTP_BYTES_UNKNOWN || req->promised == req->sent);
    if (WARN_IF(!whole && !req->broken, "an HTTP answer was finished before it was complete") ||
        req->broken) {
        http_abort(req);
        return;
    }
    http_end(req);
    req->carrier->finish(req);
}

void http_abort(struct http_request *req)
{
    if (req->finished) {
        return;
    }
    bool broken = req->broken;
    http_end(req);
    if (!broken) {
        req->carrier->abort(req);
    }
}

void http_respond(struct http_request *req, int status, const char *content_type,
                  const struct http_header_field *headers, struct slice body)
{
    if (WARN_IF(req->begun || req->finished, "an HTTP request was answered twice")) {
        http_abort(req); /* the handler has let go of it */
        return;
    }
    if (http_send_head(req, status, content_type, headers, body.len, true)) {
        (void)http_write(req, body);
    }
    http_finish(req);
}

void http_respond_error(struct http_request *req, int status, const char *text,
                        const struct http_header_field *headers)
{
    struct http_header_field all[4] = {{"X-Content-Type-Options", "nosniff"}};
    for (size_t i = 0; i < 2 && headers != NULL && headers[i].name != NULL; i++) {
        all[i + 1] = headers[i];
    }
    struct buf body;
    buf_init(&body);
    buf_append_str(&body, text);
    buf_append_byte(&body, '\n');
    http_respond(req, status, "text/plain; charset=utf-8", all, buf_slice(&body));
    buf_close(&body);
}
